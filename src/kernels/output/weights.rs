//! Masks and weights, over deltas and addends that are worked out without them.
#![forbid(unsafe_code)]

use crate::kernels::map::map;
use crate::kernels::rows::{load_lanes, store_lanes};
use crate::loss::Objective;
use crate::parts;
use crate::simd::Simd;

/// Replaces what the mask leaves out by +0, whatever it is.
#[inline(always)]
pub(super) fn leave_out<S: Simd>(s: S, mask: Option<&[f32]>, x: &mut [f32]) {
    let Some(mask) = mask else { return };
    for at in (0..x.len()).step_by(S::LANES) {
        let lanes = S::LANES.min(x.len() - at);
        let stays = s.gt(load_lanes(s, parts::from(mask, at), lanes), s.splat(0.0));
        let left = s.select(stays, load_lanes(s, parts::from(x, at), lanes), s.splat(0.0));
        store_lanes(s, left, parts::from_mut(x, at), lanes);
    }
}

/// `x · weight`.
#[inline(always)]
pub(super) fn weigh<S: Simd>(s: S, weight: f32, x: &mut [f32]) {
    map(
        s,
        x,
        #[inline(always)]
        |x| s.mul(x, s.splat(weight)),
    );
}

/// Multiplies each sample's deltas and addends by its weight.
#[inline(always)]
pub(super) fn weigh_samples<S: Simd>(
    s: S,
    objective: &Objective<'_>,
    delta: &mut [f32],
    terms: &mut [f32],
    width: usize,
) {
    let rows = delta.chunks_exact_mut(width).zip(terms.chunks_exact_mut(objective.loss.terms_per_sample(width)));
    for (sample, (delta, terms)) in rows.enumerate() {
        let weight = objective.weight(sample);
        weigh(s, weight, delta);
        weigh(s, weight, terms);
    }
}

/// The mask and the weight of one sample.
#[derive(Clone, Copy)]
pub(super) struct Weighing<'a> {
    pub(super) mask: Option<&'a [f32]>,
    weight: Option<f32>,
}

impl<'a> Weighing<'a> {
    /// Those of the first sample.
    #[inline(always)]
    pub(super) fn new(objective: &Objective<'a>) -> Self {
        Self { mask: objective.targets.mask, weight: objective.is_weighted().then(|| objective.weight(0)) }
    }

    /// Whether there is neither.
    #[inline(always)]
    pub(super) fn is_plain(self) -> bool {
        self.mask.is_none() && self.weight.is_none()
    }

    /// Its outputs from `at` on: what the mask leaves of `x`.
    #[inline(always)]
    pub(super) fn leave_out<S: Simd>(self, s: S, at: usize, x: &mut [f32]) {
        let part = self.mask.map(
            #[inline(always)]
            |mask| parts::part(mask, at..at + x.len()),
        );
        leave_out(s, part, x);
    }

    /// `x` times the sample's weight.
    #[inline(always)]
    pub(super) fn weigh<S: Simd>(self, s: S, x: &mut [f32]) {
        if let Some(weight) = self.weight {
            weigh(s, weight, x);
        }
    }

    /// A sample's only addend times its weight.
    #[inline(always)]
    pub(super) fn weigh_term(self, term: f32) -> f32 {
        self.weight.map_or(term, |weight| term * weight)
    }
}
