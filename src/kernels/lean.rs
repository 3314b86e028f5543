//! One layer for one sample; backwards, each row of W is read once, for the delta
//! below it and for its update.
#![forbid(unsafe_code)]

use super::apply::update_lanes;
use super::reduce;
use super::rows::{load_lanes, store_lanes};
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
    let inputs = match neurons {
        neurons if delta.len() == 1 => one_output(s, delta[0], neurons, &mut gradient),
        Neurons::Inputs(x) => {
            for (i, &x) in x.iter().enumerate() {
                gradient.row(s, delta, i, x, None);
            }
            x.len()
        }
        Neurons::InputsAndDelta(x, below) => {
            for (i, (&x, below)) in x.iter().zip(below).enumerate() {
                *below = gradient.dot(s, delta, i);
                gradient.row(s, delta, i, x, None);
            }
            x.len()
        }
        Neurons::Below(values, activation) => {
            for (i, value) in values.iter_mut().enumerate() {
                let y = *value;
                let dot = gradient.dot(s, delta, i);
                *value = s.first(activation.delta(s, s.splat(dot), s.splat(y)));
                gradient.row(s, delta, i, y, None);
            }
            values.len()
        }
    };
    if gradient.has_bias(inputs, delta) {
        gradient.row(s, delta, inputs, 1.0, None);
    }
}

/// The weights of a layer of one output, lanes over its inputs; returns their number.
#[inline(always)]
fn one_output<S: Simd>(s: S, delta: f32, mut neurons: Neurons<'_>, gradient: &mut Gradient<'_>) -> usize {
    let inputs = neurons.count();
    let (delta, zero) = (s.splat(delta), s.splat(0.0));
    for at in (0..inputs).step_by(S::LANES) {
        let lanes = S::LANES.min(inputs - at);
        // A dot product of one term; what the other partial sums add turns −0 into +0.
        let dot = s.add(s.mul_add(load_lanes(s, parts::from(gradient.params(), at), lanes), delta, zero), zero);
        let x = match &mut neurons {
            Neurons::Inputs(x) => load_lanes(s, parts::from(x, at), lanes),
            Neurons::InputsAndDelta(x, below) => {
                store_lanes(s, dot, parts::from_mut(below, at), lanes);
                load_lanes(s, parts::from(x, at), lanes)
            }
            Neurons::Below(values, activation) => {
                let y = load_lanes(s, parts::from(values, at), lanes);
                store_lanes(s, activation.delta(s, dot, y), parts::from_mut(values, at), lanes);
                y
            }
        };
        gradient.column(s, at, lanes, x, delta);
    }
    inputs
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

    /// The gradient of `lanes` rows from `at` on, one element each, whose inputs are `x`.
    #[inline(always)]
    fn column<S: Simd>(&mut self, s: S, at: usize, lanes: usize, x: S::Vector, delta: S::Vector) {
        match self {
            Self::Apply(Rule::Sgd { minus_rate }, params, _) => {
                let params = parts::from_mut(params, at);
                let w = load_lanes(s, params, lanes);
                let new = s.mul_add(s.mul(s.splat(*minus_rate), x), delta, w);
                // As in `row`. Nothing but ±0 lies below the smallest number above it.
                let is_zero = s.gt(s.splat(f32::from_bits(1)), s.abs(x));
                store_lanes(s, s.select(is_zero, w, new), params, lanes);
            }
            Self::Apply(rule, params, state) => {
                update_lanes(s, rule, params, state, at, lanes, s.mul_add(x, delta, s.splat(0.0)));
            }
            Self::Add(_, sums) => {
                let sums = parts::from_mut(sums, at);
                store_lanes(s, s.mul_add(x, delta, load_lanes(s, sums, lanes)), sums, lanes);
            }
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

/// `row[j] = f(row[j], delta[j])`.
#[inline(always)]
fn over_row<S: Simd>(s: S, row: &mut [f32], delta: &[f32], f: impl Fn(S::Vector, S::Vector) -> S::Vector) {
    let (row, end) = S::chunks_mut(parts::part_mut(row, 0..delta.len()));
    let (delta, delta_end) = S::chunks(delta);
    for (row, delta) in row.iter_mut().zip(delta) {
        s.store(f(s.load(row), s.load(delta)), row);
    }
    if !end.is_empty() {
        s.store_part(f(s.load_part(end), s.load_part(delta_end)), end);
    }
}
