//! Softmax and its slope.
#![forbid(unsafe_code)]

use crate::kernels::map::map;
use crate::kernels::reduce;
use crate::kernels::rows::{load_lanes, store_lanes};
use crate::math;
use crate::parts;
use crate::simd::Simd;

/// Rows whose exponents and sums are known together.
pub(super) const GROUP: usize = 16;

/// The largest z of each row of a group, and the sum of `e^(z−m)`.
pub(super) struct Sums {
    pub(super) largest: [f32; GROUP],
    pub(super) sum: [f32; GROUP],
}

#[inline(always)]
pub(super) fn softmax_rows<S: Simd>(s: S, z: &mut [f32], width: usize) {
    for group in z.chunks_mut(GROUP * width) {
        softmax_group(s, group, width);
    }
}

/// [`softmax_row`] of each row of at most [`GROUP`].
#[inline(always)]
pub(super) fn softmax_group<S: Simd>(s: S, z: &mut [f32], width: usize) -> Sums {
    let mut sums = Sums { largest: [0.0; GROUP], sum: [0.0; GROUP] };
    if S::LANES > 1 && width <= 16 {
        s.outline(
            #[inline(always)]
            |s| {
                for (index, rows) in z.chunks_mut(S::LANES * width).enumerate() {
                    narrow_rows(s, rows, width, index * S::LANES, &mut sums);
                }
            },
        );
    } else {
        for (r, row) in z.chunks_exact_mut(width).enumerate() {
            let (largest, sum) = softmax_row(s, row);
            parts::set(&mut sums.largest, r, largest);
            parts::set(&mut sums.sum, r, sum);
        }
    }
    sums
}

/// At most LANES rows of at most 16 elements, which fold together.
#[inline(always)]
fn narrow_rows<S: Simd>(s: S, z: &mut [f32], width: usize, first: usize, sums: &mut Sums) {
    /// The lanes of vector v that a row fills.
    #[inline(always)]
    fn own<S: Simd>(s: S, width: usize, v: usize) -> S::Mask {
        const INDEX: [f32; 16] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0];
        s.gt(s.splat(width as f32), s.load(&S::chunks(&INDEX).0[v]))
    }
    let (zero, lowest) = (s.splat(0.0), s.splat(f32::NEG_INFINITY));
    let mut rows = [lowest; 16];
    for (z, joined) in z.chunks_exact(width).zip(&mut rows) {
        for (v, z) in z.chunks(S::LANES).enumerate() {
            // A NaN is not above −∞.
            *joined = s.max(s.select(own(s, width, v), load_lanes(s, z, z.len()), lowest), *joined);
        }
    }
    // The sum of −0 and +0 is +0.
    let largest = s.add(
        s.fold_rows(
            rows,
            #[inline(always)]
            |a, b| s.max(a, b),
        ),
        zero,
    );
    store_lanes(s, largest, &mut sums.largest[first..], S::LANES);
    rows = [zero; 16];
    // In whole vectors: a part of one that was just stored is long in coming back.
    let (mut powers, each) = ([zero; 16], 16 / S::LANES);
    for (r, (z, joined)) in z.chunks_exact(width).zip(&mut rows).enumerate() {
        let largest = s.splat(sums.largest[first + r]);
        let mut partials = [zero; 16];
        for v in 0..each {
            let from = v * S::LANES;
            if from < width {
                let z = &z[from..width.min(from + S::LANES)];
                let e = math::exp(s, s.sub(load_lanes(s, z, z.len()), largest));
                partials[v] = s.select(own(s, width, v), e, zero);
                powers[r * each + v] = e;
            }
        }
        *joined = reduce::join(s, partials);
    }
    let sum = s.fold_rows(
        rows,
        #[inline(always)]
        |a, b| s.add(a, b),
    );
    store_lanes(s, sum, &mut sums.sum[first..], S::LANES);
    for (r, (z, &sum)) in z.chunks_exact_mut(width).zip(&sums.sum[first..]).enumerate() {
        for (v, z) in z.chunks_mut(S::LANES).enumerate() {
            store_lanes(s, s.div(powers[r * each + v], s.splat(sum)), z, z.len());
        }
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
