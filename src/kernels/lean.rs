//! One layer for one sample; backwards, each row of W is read once, for the delta
//! below it and for its update.
#![forbid(unsafe_code)]

use super::apply::{update_lanes, update_products};
use super::reduce;
use super::rows::load_lanes;
use crate::activation::Activation;
use crate::optimizer::Rule;
use crate::parts;
use crate::penalty::Penalty;
use crate::simd::Simd;

/// Columns of W: as many as there are outputs to be written, `[inputs × width]` from column `first` on.
#[derive(Clone, Copy)]
pub(crate) struct Columns<'a> {
    /// All of W.
    pub(crate) weights: &'a [f32],
    pub(crate) width: usize,
    pub(crate) first: usize,
}

/// What feeds a layer.
pub(crate) enum Neurons<'a> {
    /// The network's inputs; nothing is wanted below them.
    Inputs(&'a [f32]),
    /// The network's inputs, and where ∂loss/∂inputs goes.
    InputsAndDelta(&'a [f32], &'a mut [f32]),
    /// The layer below: its values, which its deltas replace.
    Below(&'a mut [f32], Activation),
}

impl Neurons<'_> {
    /// Their number: a layer's inputs.
    #[inline(always)]
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Inputs(x) | Self::InputsAndDelta(x, _) => x.len(),
            Self::Below(values, _) => values.len(),
        }
    }
}

/// What becomes of a layer's gradient, to which penalties are added only where it updates. Slices are `[(in + 1) × out]`: weights, then bias.
pub(crate) enum Gradient<'a> {
    /// It updates the parameters, and is stored nowhere.
    Apply(Rule, &'a mut [f32], [&'a mut [f32]; 2]),
    /// It is added to the second slice, zeros before; the first is the parameters.
    Add(&'a [f32], &'a mut [f32]),
}

/// Passes a layer's delta on below, and lets its gradient `xᵀ·delta` do its work.
///
/// A delta below is the dot product of a row of W with `delta: [out]`, in 16
/// partial sums, with the row as it was before its update.
#[inline(always)]
pub(crate) fn layer<S: Simd>(s: S, delta: &[f32], neurons: Neurons<'_>, mut gradient: Gradient<'_>) {
    let inputs = neurons.count();
    // Each in a function of its own, where it has all registers.
    s.outline(
        #[inline(always)]
        |s| match neurons {
            neurons if delta.len() == 1 => one_output(s, delta[0], neurons, &mut gradient),
            Neurons::Inputs(x) => {
                for (i, &x) in x.iter().enumerate() {
                    gradient.row(s, delta, i, x, None);
                }
            }
            Neurons::InputsAndDelta(x, below) => {
                for (i, (&x, below)) in x.iter().zip(below).enumerate() {
                    *below = gradient.dot(s, delta, i);
                    gradient.row(s, delta, i, x, None);
                }
            }
            Neurons::Below(values, activation) => {
                for (i, value) in values.iter_mut().enumerate() {
                    let y = *value;
                    let dot = gradient.dot(s, delta, i);
                    *value = s.first(activation.delta(s, s.splat(dot), s.splat(y)));
                    gradient.row(s, delta, i, y, None);
                }
            }
        },
    );
    if gradient.has_bias(inputs, delta) {
        gradient.row(s, delta, inputs, 1.0, None);
    }
}

/// Values of a layer that are kept while their deltas replace them.
const KEPT: usize = 32;

/// The weights of a layer of one output, lanes over its inputs.
#[inline(always)]
fn one_output<S: Simd>(s: S, delta: f32, neurons: Neurons<'_>, gradient: &mut Gradient<'_>) {
    match neurons {
        Neurons::Inputs(x) => gradient.column(s, 0, x, delta),
        Neurons::InputsAndDelta(x, below) => {
            over_row(
                s,
                below,
                parts::part(gradient.params(), 0..x.len()),
                #[inline(always)]
                |_, w| dot_of_one(s, w, delta),
            );
            gradient.column(s, 0, x, delta);
        }
        Neurons::Below(values, activation) => {
            if let Gradient::Apply(Rule::Sgd { minus_rate }, params, _) = gradient {
                return over_both(
                    s,
                    values,
                    params,
                    #[inline(always)]
                    |y, w| {
                        let below = activation.delta(s, dot_of_one(s, w, delta), y);
                        (below, descend(s, *minus_rate, w, y, delta))
                    },
                );
            }
            for (piece, values) in values.chunks_mut(KEPT).enumerate() {
                let (at, mut kept) = (piece * KEPT, [0.0; KEPT]);
                let kept = parts::part_mut(&mut kept, 0..values.len());
                parts::copy(values, kept);
                over_row(
                    s,
                    values,
                    parts::span(gradient.params(), at, kept.len()),
                    #[inline(always)]
                    |y, w| activation.delta(s, dot_of_one(s, w, delta), y),
                );
                gradient.column(s, at, kept, delta);
            }
        }
    }
}

/// A dot product of one term; what the other partial sums add turns −0 into +0.
#[inline(always)]
fn dot_of_one<S: Simd>(s: S, w: S::Vector, delta: f32) -> S::Vector {
    s.add(s.mul_add(w, s.splat(delta), s.splat(0.0)), s.splat(0.0))
}

/// Weights of inputs x after a step of SGD.
#[inline(always)]
fn descend<S: Simd>(s: S, minus_rate: f32, w: S::Vector, x: S::Vector, delta: f32) -> S::Vector {
    let new = s.mul_add(s.mul(s.splat(minus_rate), x), s.splat(delta), w);
    // As in `row`. Nothing but ±0 lies below the smallest number above it.
    let is_zero = s.gt(s.splat(f32::from_bits(1)), s.abs(x));
    s.select(is_zero, w, new)
}

/// Where a gradient goes that is a whole sum: to parameters that a rule updates, or to numbers that it replaces.
pub(crate) struct Destination<'a> {
    pub(crate) rule: Rule,
    /// The parameters, if they aren't what is written.
    pub(crate) read: Option<&'a [f32]>,
    pub(crate) written: &'a mut [f32],
    pub(crate) state: [&'a mut [f32]; 2],
}

impl Destination<'_> {
    /// The layer's parameters.
    #[inline(always)]
    pub(crate) fn params(&self) -> &[f32] {
        self.read.unwrap_or(self.written)
    }
}

impl<'a> Gradient<'a> {
    /// Where it goes in the batch schedule, which adds to nothing.
    #[inline(always)]
    pub(crate) fn destination(self) -> Destination<'a> {
        match self {
            Self::Apply(rule, params, state) => Destination { rule, read: None, written: params, state },
            Self::Add(params, sums) => {
                Destination { rule: Rule::Gradient, read: Some(params), written: sums, state: [&mut [], &mut []] }
            }
        }
    }
}

impl Gradient<'_> {
    /// The layer's parameters.
    #[inline(always)]
    pub(super) fn params(&self) -> &[f32] {
        match self {
            Self::Apply(_, params, _) => params,
            Self::Add(params, _) => params,
        }
    }

    /// Whether a row of bias follows the weights of a dense layer.
    #[inline(always)]
    pub(super) fn has_bias(&self, inputs: usize, delta: &[f32]) -> bool {
        self.params().len() > inputs * delta.len()
    }

    /// Whether a parameter without penalty moves though its gradient is zero.
    #[inline(always)]
    pub(super) fn moves_by_nothing(&self) -> bool {
        matches!(self, Self::Apply(rule, ..) if !matches!(rule, Rule::Sgd { .. }))
    }

    /// The gradient of parameter `at`. A penalty is for weights.
    #[inline(always)]
    pub(super) fn element<S: Simd>(&mut self, s: S, at: usize, mut gradient: S::Vector, penalty: Option<Penalty>) {
        match self {
            Self::Apply(rule, params, state) => {
                if let Some(penalty) = penalty {
                    gradient = penalty.gradient(s, gradient, s.splat(parts::element(params, at)));
                }
                update_lanes(s, rule, params, state, at, 1, gradient);
            }
            // Not added: the gradient is a whole sum, and one that is −0 would turn into +0.
            Self::Add(_, sums) => parts::set(sums, at, s.first(gradient)),
        }
    }

    /// Row `i` of the weights times the delta.
    #[inline(always)]
    pub(super) fn dot<S: Simd>(&self, s: S, delta: &[f32], i: usize) -> f32 {
        reduce::dot_in(s, parts::span(self.params(), i * delta.len(), delta.len()), delta)
    }

    /// The gradient of the rows from `at` on, one element each, whose inputs are `x`.
    #[inline(always)]
    fn column<S: Simd>(&mut self, s: S, at: usize, x: &[f32], delta: f32) {
        match self {
            Self::Apply(Rule::Sgd { minus_rate }, params, _) => over_row(
                s,
                parts::from_mut(params, at),
                x,
                #[inline(always)]
                |w, x| descend(s, *minus_rate, w, x, delta),
            ),
            Self::Apply(rule, params, state) => rule.known(
                #[inline(always)]
                |rule| update_products(s, &rule, params, state, at, x, delta),
            ),
            Self::Add(_, sums) => over_row(
                s,
                parts::from_mut(sums, at),
                x,
                #[inline(always)]
                |sum, x| s.mul_add(x, s.splat(delta), sum),
            ),
        }
    }

    /// The gradient of row `i`, whose input is `x`. A penalty is for rows of weights.
    #[inline(always)]
    pub(super) fn row<S: Simd>(&mut self, s: S, delta: &[f32], i: usize, x: f32, penalty: Option<Penalty>) {
        let start = i * delta.len();
        match self {
            Self::Apply(Rule::Sgd { minus_rate }, params, _) if penalty.is_none() => {
                // An input of ±0 leaves its row alone: part of the arithmetic, not only a shortcut.
                if x != 0.0 {
                    let step = s.splat(*minus_rate * x);
                    over_row(
                        s,
                        parts::from_mut(params, start),
                        delta,
                        #[inline(always)]
                        |w, d| s.mul_add(step, d, w),
                    );
                }
            }
            Self::Apply(rule, params, state) if S::LANES > 1 && penalty.is_none() => {
                // One copy of each rule, as long as it is.
                s.outline(
                    #[inline(always)]
                    |s| {
                        rule.known(
                            #[inline(always)]
                            |rule| update_products(s, &rule, params, state, start, delta, x),
                        );
                    },
                );
            }
            Self::Apply(rule, params, state) => {
                let x = s.splat(x);
                for at in (0..delta.len()).step_by(S::LANES) {
                    let lanes = S::LANES.min(delta.len() - at);
                    let mut gradient = s.mul_add(x, load_lanes(s, parts::from(delta, at), lanes), s.splat(0.0));
                    if let Some(penalty) = penalty {
                        gradient = penalty.gradient(s, gradient, load_lanes(s, parts::from(params, start + at), lanes));
                    }
                    update_lanes(s, rule, params, state, start + at, lanes, gradient);
                }
            }
            Self::Add(_, sums) => {
                let x = s.splat(x);
                over_row(
                    s,
                    parts::from_mut(sums, start),
                    delta,
                    #[inline(always)]
                    |sum, d| s.mul_add(x, d, sum),
                );
            }
        }
    }
}

/// `row[j] = f(row[j], delta[j])`, for as many as there are deltas.
#[inline(always)]
pub(super) fn over_row<S: Simd>(s: S, row: &mut [f32], delta: &[f32], f: impl Fn(S::Vector, S::Vector) -> S::Vector) {
    let (row, end) = S::chunks_mut(parts::part_mut(row, 0..delta.len()));
    let (delta, delta_end) = S::chunks(delta);
    for (row, delta) in row.iter_mut().zip(delta) {
        s.store(f(s.load(row), s.load(delta)), row);
    }
    if !end.is_empty() {
        s.store_part_in_place(f(s.load_part(end), s.load_part(delta_end)), end);
    }
}

/// `(a[i], b[i]) = f(a[i], b[i])`, for as many as there are in `a`.
#[inline(always)]
fn over_both<S: Simd>(s: S, a: &mut [f32], b: &mut [f32], f: impl Fn(S::Vector, S::Vector) -> (S::Vector, S::Vector)) {
    let (b, b_end) = S::chunks_mut(parts::part_mut(b, 0..a.len()));
    let (a, a_end) = S::chunks_mut(a);
    for (a, b) in a.iter_mut().zip(b) {
        let (new_a, new_b) = f(s.load(a), s.load(b));
        s.store(new_a, a);
        s.store(new_b, b);
    }
    if !a_end.is_empty() {
        let (new_a, new_b) = f(s.load_part(a_end), s.load_part(b_end));
        s.store_part_in_place(new_a, a_end);
        s.store_part_in_place(new_b, b_end);
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::{Gradient, Neurons, layer};
    use crate::activation::Activation;
    use crate::kernels::dense_update::split_state;
    use crate::simd::dispatch;
    use crate::{Adam, Isa, Optimizer, Rng, Sgd};

    /// However many share a vector, or what is kept of them.
    #[test]
    fn weights_of_one_output_are_updated_as_by_themselves() {
        let sgd = Sgd::new(0.1);
        let optimizers: [Optimizer; 4] =
            [sgd.into(), sgd.momentum(0.9).into(), sgd.nesterov(0.9).into(), Adam::new(0.01).into()];
        let mut rng = Rng::new(1);
        let mut numbers = |len: usize| -> Vec<f32> { (0..len).map(|_| 2.0 * rng.uniform() - 1.0).collect() };
        for inputs in [1, 3, 8, 31, 33, 75] {
            let (mut x, params) = (numbers(inputs), numbers(inputs));
            x[inputs / 2] = 0.0;
            for (isa, optimizer) in Isa::available().flat_map(|isa| optimizers.map(|optimizer| (isa, optimizer))) {
                let states = optimizer.state_per_parameter();
                // Values or inputs, deltas of the inputs, parameters, state.
                let trained = |kind: u8, some: std::ops::Range<usize>| {
                    let (mut values, mut params) = (x[some.clone()].to_vec(), params[some.clone()].to_vec());
                    let (mut below, mut state) = (vec![0.0; some.len()], vec![0.5; states * some.len()]);
                    let neurons = match kind {
                        0 => Neurons::Inputs(&values),
                        1 => Neurons::InputsAndDelta(&values, &mut below),
                        _ => Neurons::Below(&mut values, Activation::Tanh),
                    };
                    let gradient = Gradient::Apply(optimizer.rule(3), &mut params, split_state(&mut state, states));
                    dispatch!(isa, s => layer(s, &[0.7], neurons, gradient));
                    [values, below, params, state]
                };
                for kind in 0..3 {
                    let all = trained(kind, 0..inputs);
                    for i in 0..inputs {
                        let own = trained(kind, i..i + 1);
                        for (all, own) in all.iter().zip(own) {
                            let of_all = all.iter().skip(i).step_by(inputs).map(|x| x.to_bits());
                            assert!(
                                of_all.eq(own.iter().map(|x| x.to_bits())),
                                "{isa}: {i} of {inputs}, {optimizer:?}, {kind}"
                            );
                        }
                    }
                }
            }
        }
    }
}
