//! A dense layer backward, in 16 networks at once: each row of W is read for the delta below it, then updated.

use super::{Row, get, partials, set, vectors};
use crate::Isa;
use crate::kernels::rows::{BLOCK, chain};
use crate::optimizer::Rule;
use crate::penalty::Penalty;
use crate::simd::{Simd, dispatch};

/// A dense layer, what has gone through it, and what becomes of its gradient.
pub(crate) struct Backward<'a> {
    /// Whether in the lean schedule.
    pub(crate) lean: bool,
    /// ∂loss/∂pre-activations, `[samples × out]`.
    pub(crate) delta: &'a [Row],
    /// `[samples × in]`.
    pub(crate) x: &'a [Row],
    /// Where ∂loss/∂x goes, `[samples × in]`, if it is wanted.
    pub(crate) below: Option<&'a mut [Row]>,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// Weights `[in × out]`, then the bias `[out]` if there is one.
    pub(crate) params: &'a mut [Row],
    /// As long each; those that the rule does not use are empty.
    pub(crate) state: [&'a mut [Row]; 2],
    pub(crate) penalty: Option<Penalty>,
    /// Its rate is not read.
    pub(crate) rule: &'a Rule,
    /// Minus each member's rate.
    pub(crate) minus_rates: &'a Row,
    /// Above 0 where a member is trained, if not all are.
    pub(crate) trained: Option<&'a Row>,
}

/// Passes a layer's delta on below, and updates its parameters.
pub(crate) fn backward(isa: Isa, layer: Backward<'_>) {
    dispatch!(isa, s => layer.run(s));
}

/// Rows of W whose delta is worked out at a time: a chain waits for itself.
const ROWS: usize = 4;

impl Backward<'_> {
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let mut below = self.below.take();
        let whole = self.inputs / ROWS * ROWS;
        for i in 0..self.inputs {
            match &mut below {
                None => {}
                Some(below) if self.lean => self.lean_dot(s, i, &mut below[i]),
                Some(below) if i >= whole => self.dots::<S, 1>(s, i, below),
                Some(below) if i.is_multiple_of(ROWS) => self.dots::<S, ROWS>(s, i, below),
                Some(_) => {}
            }
            self.update_row(s, i);
        }
        if self.params.len() > self.inputs * self.outputs {
            self.update_bias(s);
        }
    }

    /// Row i of W times the delta of the only sample, in 16 partial sums.
    #[inline(always)]
    fn lean_dot<S: Simd>(&self, s: S, i: usize, to: &mut Row) {
        let (w, delta) = (&self.params[i * self.outputs..][..self.outputs], &self.delta[..self.outputs]);
        for v in 0..vectors::<S>() {
            let dot = partials(
                s,
                self.outputs,
                #[inline(always)]
                |j, sum| s.mul_add(get(s, &w[j], v), get(s, &delta[j], v), sum),
            );
            set(s, to, v, dot);
        }
    }

    /// Rows of W from i on times the delta of each sample, in chains.
    #[inline(always)]
    fn dots<S: Simd, const N: usize>(&self, s: S, i: usize, below: &mut [Row]) {
        let out = self.outputs;
        let rows: [&[Row]; N] = core::array::from_fn(|n| &self.params[(i + n) * out..][..out]);
        for (delta, below) in self.delta.chunks_exact(out).zip(below.chunks_exact_mut(self.inputs)) {
            for v in 0..vectors::<S>() {
                let mut total = [s.splat(0.0); N];
                for start in (0..out).step_by(BLOCK) {
                    let mut sums = [s.splat(0.0); N];
                    let end = out.min(start + BLOCK);
                    let rows: [&[Row]; N] = core::array::from_fn(|n| &rows[n][start..end]);
                    for (j, d) in delta[start..end].iter().enumerate() {
                        let d = get(s, d, v);
                        for n in 0..N {
                            sums[n] = s.mul_add(d, get(s, &rows[n][j], v), sums[n]);
                        }
                    }
                    for n in 0..N {
                        total[n] = if start == 0 { sums[n] } else { s.add(total[n], sums[n]) };
                    }
                }
                for n in 0..N {
                    set(s, &mut below[i + n], v, total[n]);
                }
            }
        }
    }

    /// Updates row i of W.
    #[inline(always)]
    fn update_row<S: Simd>(&mut self, s: S, i: usize) {
        if !(self.lean && matches!(self.rule, Rule::Sgd { .. }) && self.penalty.is_none()) {
            return self.apply::<S, false>(s, i);
        }
        for v in 0..vectors::<S>() {
            let x = get(s, &self.x[i], v);
            // An input of ±0 leaves its row alone: nothing else is below the smallest number.
            let still = s.gt(s.splat(f32::from_bits(1)), s.abs(x));
            let step = s.mul(get(s, self.minus_rates, v), x);
            self.lean_sgd(
                s,
                i,
                v,
                #[inline(always)]
                |w, d| s.select(still, w, s.mul_add(step, d, w)),
            );
        }
    }

    /// Updates the bias: a row whose input is 1.
    #[inline(always)]
    fn update_bias<S: Simd>(&mut self, s: S) {
        if !(self.lean && matches!(self.rule, Rule::Sgd { .. })) {
            return self.apply::<S, true>(s, self.inputs);
        }
        for v in 0..vectors::<S>() {
            let step = get(s, self.minus_rates, v);
            self.lean_sgd(
                s,
                self.inputs,
                v,
                #[inline(always)]
                |w, d| s.mul_add(step, d, w),
            );
        }
    }

    /// `w = f(w, δ)` in row i of the parameters.
    #[inline(always)]
    fn lean_sgd<S: Simd>(&mut self, s: S, i: usize, v: usize, f: impl Fn(S::Vector, S::Vector) -> S::Vector) {
        let row = &mut self.params[i * self.outputs..][..self.outputs];
        let trained = self.trained.map(
            #[inline(always)]
            |trained| s.gt(get(s, trained, v), s.splat(0.0)),
        );
        for (w, d) in row.iter_mut().zip(self.delta) {
            let old = get(s, w, v);
            let new = f(old, get(s, d, v));
            set(s, w, v, if let Some(trained) = trained { s.select(trained, new, old) } else { new });
        }
    }

    /// Applies the rule to row i of the parameters.
    #[inline(always)]
    fn apply<S: Simd, const BIAS: bool>(&mut self, s: S, i: usize) {
        let (start, outputs) = (i * self.outputs, self.outputs);
        let (rule, trained, penalty) = (self.rule, self.trained, if BIAS { None } else { self.penalty });
        let (x, delta, inputs, minus_rates) = (self.x, self.delta, self.inputs, self.minus_rates);
        let params = &mut self.params[start..][..outputs];
        // A state that the rule does not use is empty.
        let [first, second] = &mut self.state;
        let first = if rule.states() > 0 { &mut first[start..][..outputs] } else { &mut [][..] };
        let second = if rule.states() > 1 { &mut second[start..][..outputs] } else { &mut [][..] };
        let terms = Terms { x, delta, inputs, outputs, i };
        let samples = delta.len() / outputs;
        rule.known(
            #[inline(always)]
            |rule| {
                let zero = s.splat(0.0);
                for v in 0..vectors::<S>() {
                    let rate = get(s, minus_rates, v);
                    let trained = trained.map(
                        #[inline(always)]
                        |trained| s.gt(get(s, trained, v), zero),
                    );
                    for (j, w) in params.iter_mut().enumerate() {
                        let mut g = if samples == 1 {
                            terms.add::<S, BIAS>(s, 0, j, v, zero)
                        } else {
                            chain(
                                s,
                                samples,
                                #[inline(always)]
                                |sample, sum| terms.add::<S, BIAS>(s, sample, j, v, sum),
                            )
                        };
                        let old = get(s, w, v);
                        if let Some(penalty) = penalty {
                            g = penalty.gradient(s, g, old);
                        }
                        let old_state = [
                            if rule.states() > 0 { get(s, &first[j], v) } else { zero },
                            if rule.states() > 1 { get(s, &second[j], v) } else { zero },
                        ];
                        let (mut new, mut state) = rule.update_at(s, rate, g, old, old_state);
                        if let Some(trained) = trained {
                            new = s.select(trained, new, old);
                            state =
                                [s.select(trained, state[0], old_state[0]), s.select(trained, state[1], old_state[1])];
                        }
                        set(s, w, v, new);
                        if rule.states() > 0 {
                            set(s, &mut first[j], v, state[0]);
                        }
                        if rule.states() > 1 {
                            set(s, &mut second[j], v, state[1]);
                        }
                    }
                }
            },
        );
    }
}

/// The terms of the gradient of row i of W.
#[derive(Clone, Copy)]
struct Terms<'a> {
    x: &'a [Row],
    delta: &'a [Row],
    inputs: usize,
    outputs: usize,
    i: usize,
}

impl Terms<'_> {
    /// The sum, and that of a sample in column j.
    #[inline(always)]
    fn add<S: Simd, const BIAS: bool>(self, s: S, sample: usize, j: usize, v: usize, sum: S::Vector) -> S::Vector {
        let d = get(s, &self.delta[sample * self.outputs + j], v);
        if BIAS { s.add(sum, d) } else { s.mul_add(get(s, &self.x[sample * self.inputs + self.i], v), d, sum) }
    }
}
