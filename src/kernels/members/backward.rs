//! A dense layer backward, in 16 networks at once: each row of W is read for the delta below it, then updated.

use super::{Row, get, partials, set, vectors};
use crate::Isa;
use crate::kernels::rows::{BLOCK, chain};
use crate::optimizer::Rule;
use crate::penalty::Penalty;
use crate::simd::{Simd, dispatch};
use core::ops::Range;

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
        for start in (0..self.inputs).step_by(ROWS) {
            let rows = start..self.inputs.min(start + ROWS);
            match &mut below {
                None => {}
                Some(below) if self.lean => rows.clone().for_each(
                    #[inline(always)]
                    |i| self.lean_dot(s, i, &mut below[i]),
                ),
                Some(below) if rows.len() == ROWS => self.dots::<S, ROWS>(s, start, below),
                Some(below) => rows.clone().for_each(
                    #[inline(always)]
                    |i| self.dots::<S, 1>(s, i, below),
                ),
            }
            self.update_rows(s, rows);
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

    /// Updates rows of W.
    #[inline(always)]
    fn update_rows<S: Simd>(&mut self, s: S, rows: Range<usize>) {
        if !(self.lean && matches!(self.rule, Rule::Sgd { .. }) && self.penalty.is_none()) {
            return self.apply::<S, false>(s, rows);
        }
        for i in rows {
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
    }

    /// Updates the bias: a row whose input is 1.
    #[inline(always)]
    fn update_bias<S: Simd>(&mut self, s: S) {
        if !(self.lean && matches!(self.rule, Rule::Sgd { .. })) {
            return self.apply::<S, true>(s, self.inputs..self.inputs + 1);
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

    /// Applies the rule to rows of the parameters.
    #[expect(clippy::needless_range_loop, reason = "v indexes registers")]
    #[inline(always)]
    fn apply<S: Simd, const BIAS: bool>(&mut self, s: S, rows: Range<usize>) {
        let (outputs, rule) = (self.outputs, self.rule);
        let penalty = if BIAS { None } else { self.penalty };
        let by_itself = self.delta.len() == outputs && self.trained.is_none() && penalty.is_none();
        let span = rows.start * outputs..rows.end * outputs;
        let terms = Terms { x: self.x, delta: self.delta, inputs: self.inputs, outputs };
        let (minus_rates, trained) = (self.minus_rates, self.trained);
        let params = &mut self.params[span.clone()];
        // A state that the rule does not use is empty.
        let [first, second] = &mut self.state;
        let first = if rule.states() > 0 { &mut first[span.clone()] } else { &mut [][..] };
        let second = if rule.states() > 1 { &mut second[span] } else { &mut [][..] };
        rule.known(
            #[inline(always)]
            |rule| {
                let mut rates = [s.splat(0.0); 16];
                for v in 0..vectors::<S>() {
                    rates[v] = get(s, minus_rates, v);
                }
                for (r, i) in rows.clone().enumerate() {
                    let start = r * outputs;
                    let params = &mut params[start..][..outputs];
                    let first = if rule.states() > 0 { &mut first[start..][..outputs] } else { &mut [][..] };
                    let second = if rule.states() > 1 { &mut second[start..][..outputs] } else { &mut [][..] };
                    if by_itself {
                        // Nothing is asked in this loop, and each line is met once.
                        let (mut x, delta) = (rates, &terms.delta[..outputs]);
                        for v in 0..vectors::<S>() {
                            x[v] = terms.x::<S, BIAS>(s, 0, i, v);
                        }
                        for (j, param) in params.iter_mut().enumerate() {
                            for v in 0..vectors::<S>() {
                                let g = term::<S, BIAS>(s, x[v], get(s, &delta[j], v), s.splat(0.0));
                                let old = load(s, &rule, [first, second], j, v);
                                let (w, new) = rule.update_at(s, rates[v], g, get(s, param, v), old);
                                set(s, param, v, w);
                                store(s, &rule, [first, second], j, v, new);
                            }
                        }
                        continue;
                    }
                    for v in 0..vectors::<S>() {
                        let trained = trained.map(
                            #[inline(always)]
                            |trained| s.gt(get(s, trained, v), s.splat(0.0)),
                        );
                        for (j, param) in params.iter_mut().enumerate() {
                            let (mut g, w) = (terms.gradient::<S, BIAS>(s, i, j, v), get(s, param, v));
                            if let Some(penalty) = penalty {
                                g = penalty.gradient(s, g, w);
                            }
                            let old = load(s, &rule, [first, second], j, v);
                            let (mut new_w, mut new) = rule.update_at(s, rates[v], g, w, old);
                            if let Some(trained) = trained {
                                new_w = s.select(trained, new_w, w);
                                new = [s.select(trained, new[0], old[0]), s.select(trained, new[1], old[1])];
                            }
                            set(s, param, v, new_w);
                            store(s, &rule, [first, second], j, v, new);
                        }
                    }
                }
            },
        );
    }
}

/// What the rule keeps of parameter j.
#[inline(always)]
fn load<S: Simd>(s: S, rule: &Rule, state: [&[Row]; 2], j: usize, v: usize) -> [S::Vector; 2] {
    let [first, second] = state;
    [
        if rule.states() > 0 { get(s, &first[j], v) } else { s.splat(0.0) },
        if rule.states() > 1 { get(s, &second[j], v) } else { s.splat(0.0) },
    ]
}

#[inline(always)]
fn store<S: Simd>(s: S, rule: &Rule, state: [&mut [Row]; 2], j: usize, v: usize, new: [S::Vector; 2]) {
    let [first, second] = state;
    if rule.states() > 0 {
        set(s, &mut first[j], v, new[0]);
    }
    if rule.states() > 1 {
        set(s, &mut second[j], v, new[1]);
    }
}

/// What the gradients of a layer are made of.
#[derive(Clone, Copy)]
struct Terms<'a> {
    x: &'a [Row],
    delta: &'a [Row],
    inputs: usize,
    outputs: usize,
}

impl Terms<'_> {
    /// Input i of a sample; the bias has none.
    #[inline(always)]
    fn x<S: Simd, const BIAS: bool>(self, s: S, sample: usize, i: usize, v: usize) -> S::Vector {
        if BIAS { s.splat(1.0) } else { get(s, &self.x[sample * self.inputs + i], v) }
    }

    /// The gradient in row i and column j.
    #[inline(always)]
    fn gradient<S: Simd, const BIAS: bool>(self, s: S, i: usize, j: usize, v: usize) -> S::Vector {
        chain(
            s,
            self.delta.len() / self.outputs,
            #[inline(always)]
            |sample, sum| {
                let d = get(s, &self.delta[sample * self.outputs + j], v);
                term::<S, BIAS>(s, self.x::<S, BIAS>(s, sample, i, v), d, sum)
            },
        )
    }
}

/// The sum, and a sample's term of a gradient.
#[inline(always)]
fn term<S: Simd, const BIAS: bool>(s: S, x: S::Vector, d: S::Vector, sum: S::Vector) -> S::Vector {
    if BIAS { s.add(sum, d) } else { s.mul_add(x, d, sum) }
}
