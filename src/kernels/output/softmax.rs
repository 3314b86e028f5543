//! Softmax and its slope.
#![forbid(unsafe_code)]

use crate::kernels::map::map;
use crate::kernels::reduce;
use crate::kernels::rows::{load_lanes, store_lanes};
use crate::math;
use crate::simd::Simd;

#[inline(always)]
pub(super) fn softmax_rows<S: Simd>(s: S, z: &mut [f32], width: usize) {
    for row in z.chunks_exact_mut(width) {
        softmax_row(s, row);
    }
}

/// Replaces z by `e^(z−m) / Σ e^(z−m)`; returns m, the largest, and the sum.
#[inline(always)]
pub(super) fn softmax_row<S: Simd>(s: S, z: &mut [f32]) -> (f32, f32) {
    let largest = largest(s, z);
    map(
        s,
        z,
        #[inline(always)]
        |z| math::exp(s, s.sub(z, s.splat(largest))),
    );
    let sum = reduce::sum_in(s, z);
    map(
        s,
        z,
        #[inline(always)]
        |e| s.div(e, s.splat(sum)),
    );
    (largest, sum)
}

/// The largest element; NaN where the comparison lets one through.
#[inline(always)]
pub(super) fn largest<S: Simd>(s: S, z: &[f32]) -> f32 {
    let mut largest = s.splat(f32::NEG_INFINITY);
    let (whole, rest) = S::chunks(z);
    for z in whole {
        largest = s.max(s.load(z), largest);
    }
    let mut lanes = [f32::NEG_INFINITY; 16];
    s.store(largest, &mut S::chunks_mut(&mut lanes).0[0]);
    let largest = lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |a, &b| if b > a { b } else { a });
    if largest == 0.0 { 0.0 } else { largest }
}

/// ∂loss/∂z of a softmax from ∂loss/∂y = d, in place: `yⱼ·(dⱼ − Σₖ dₖ·yₖ)`.
#[inline(always)]
pub(super) fn softmax_slope<S: Simd>(s: S, delta: &mut [f32], y: &[f32], width: usize) {
    for (delta, y) in delta.chunks_exact_mut(width).zip(y.chunks_exact(width)) {
        let mean = s.splat(reduce::dot_in(s, delta, y));
        for at in (0..width).step_by(S::LANES) {
            let lanes = S::LANES.min(width - at);
            let d = s.sub(load_lanes(s, &delta[at..], lanes), mean);
            let d = s.mul(load_lanes(s, &y[at..], lanes), d);
            store_lanes(s, d, &mut delta[at..], lanes);
        }
    }
}
