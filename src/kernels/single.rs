//! One layer backwards for a batch of one sample: the sums of the batch schedule, on the way of the [lean](super::lean) one.
//! Each row of W is in the nearest cache from its part in the deltas below to its update.
#![forbid(unsafe_code)]

use super::apply::{update_products, update_rows, update_span};
use super::dense_delta::sums_of_few;
use super::lean::{Destination, Gradient, over_row};
use super::rows::{Rows, load_lanes, store_lanes};
use crate::activation::Activation;
use crate::parts;
use crate::simd::Simd;

/// So many values of a layer are kept while their deltas replace them.
const KEPT: usize = 64;

/// Floats of W that a first-level cache holds beside what else there is.
const NEAR: usize = 4096;

/// Lets the gradient `xᵀ·delta` of a layer do its work.
#[inline(always)]
pub(crate) fn first_layer<S: Simd>(s: S, delta: &[f32], x: &[f32], gradient: Gradient<'_>) {
    let mut to = gradient.destination();
    to.rows(s, delta, 0, x);
    to.bias(s, delta, x.len());
}

/// The same of a layer above another, whose values its deltas replace: each one chain over a row of W as it was before
/// its update.
#[inline(always)]
pub(crate) fn layer<S: Simd>(s: S, delta: &[f32], values: &mut [f32], activation: Activation, gradient: Gradient<'_>) {
    let (mut to, inputs) = (gradient.destination(), values.len());
    let most = if delta.len() * KEPT <= NEAR { KEPT } else { S::LANES };
    for (block, values) in values.chunks_mut(most).enumerate() {
        let (first, mut kept) = (block * most, [0.0; KEPT]);
        let x = &mut kept[..values.len()];
        x.copy_from_slice(values);
        let weights = parts::span(to.params(), first * delta.len(), x.len() * delta.len());
        s.outline(
            #[inline(always)]
            |s| deltas_below(s, delta, weights, activation, values),
        );
        to.rows(s, delta, first, x);
    }
    to.bias(s, delta, inputs);
}

/// Replaces values by their deltas.
#[inline(always)]
fn deltas_below<S: Simd>(s: S, delta: &[f32], weights: &[f32], activation: Activation, values: &mut [f32]) {
    if let [delta] = *delta {
        return over_row(
            s,
            values,
            weights,
            #[inline(always)]
            |y, w| activation.delta(s, s.mul_add(s.splat(delta), w, s.splat(0.0)), y),
        );
    }
    let weights = Rows::dense(weights, delta.len());
    for (block, values) in values.chunks_mut(S::LANES).enumerate() {
        let [sums] = sums_of_few(s, [delta], weights, block * S::LANES, values.len());
        let below = activation.delta(s, sums, load_lanes(s, values, values.len()));
        store_lanes(s, below, values, values.len());
    }
}

impl Destination<'_> {
    /// The gradient of the rows from `first` on, whose inputs are `x`.
    #[inline(always)]
    fn rows<S: Simd>(&mut self, s: S, delta: &[f32], first: usize, x: &[f32]) {
        let Self { rule, written, state, .. } = self;
        s.outline(
            #[inline(always)]
            |s| {
                rule.known(
                    #[inline(always)]
                    |rule| match *delta {
                        [delta] => update_products(s, &rule, written, state, first, x, delta),
                        _ => update_rows(s, &rule, written, state, first * delta.len(), x, delta),
                    },
                );
            },
        );
    }

    /// The gradient of the bias, which is row `row`.
    #[inline(always)]
    fn bias<S: Simd>(&mut self, s: S, delta: &[f32], row: usize) {
        let Self { rule, written, state, .. } = self;
        s.outline(
            #[inline(always)]
            |s| {
                rule.known(
                    #[inline(always)]
                    |rule| {
                        update_span(
                            s,
                            &rule,
                            written,
                            state,
                            row * delta.len(),
                            delta,
                            #[inline(always)]
                            |delta| s.add(s.splat(0.0), delta),
                        );
                    },
                );
            },
        );
    }
}
