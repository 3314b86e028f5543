//! The penalty of a layer's weights: its value, and its part of a gradient that lies in memory.
#![forbid(unsafe_code)]

use super::reduce::{dot_in, partials};
use super::rows::{load_lanes, store_lanes};
use crate::Isa;
use crate::parts;
use crate::penalty::Penalty;
use crate::simd::{Simd, dispatch};

/// `l1·Σ|w| + ½·l2·Σw²`, the sums in 16 partial sums. One whose factor is 0 is left out.
pub(crate) fn penalty(isa: Isa, Penalty { l1, l2 }: Penalty, weights: &[f32]) -> f32 {
    let absolute = if l1 > 0.0 { l1 * dispatch!(isa, s => absolute_sum_in(s, weights)) } else { 0.0 };
    let square = if l2 > 0.0 { 0.5 * l2 * dispatch!(isa, s => dot_in(s, weights, weights)) } else { 0.0 };
    absolute + square
}

#[inline(always)]
fn absolute_sum_in<S: Simd>(s: S, x: &[f32]) -> f32 {
    partials(
        s,
        x,
        x,
        #[inline(always)]
        |x, _, sum| s.add(sum, s.abs(x)),
    )
}

/// Turns the gradient of `weights` without their penalty into that with it.
pub(crate) fn penalize(isa: Isa, penalty: Penalty, weights: &[f32], gradient: &mut [f32]) {
    dispatch!(isa, s => penalize_in(s, penalty, weights, gradient));
}

#[inline(always)]
pub(super) fn penalize_in<S: Simd>(s: S, penalty: Penalty, weights: &[f32], gradient: &mut [f32]) {
    for at in (0..gradient.len()).step_by(S::LANES) {
        let lanes = S::LANES.min(gradient.len() - at);
        let (g, w) = (load_lanes(s, parts::from(gradient, at), lanes), load_lanes(s, parts::from(weights, at), lanes));
        store_lanes(s, penalty.gradient(s, g, w), parts::from_mut(gradient, at), lanes);
    }
}
