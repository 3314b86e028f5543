//! Hard sigmoid and hard swish.
#![forbid(unsafe_code)]

use crate::simd::Lanes;

/// Largest error of [`hard_sigmoid`](crate::kernels::hard_sigmoid): see the [module](crate::math#accuracy).
pub const MAX_HARD_SIGMOID_ERROR_ULPS: u32 = 1;
/// Largest error of [`hard_swish`](crate::kernels::hard_swish): see the [module](crate::math#accuracy).
pub const MAX_HARD_SWISH_ERROR_ULPS: u32 = 2;

/// `min(max(x + 3, 0), 6) / 6`.
#[inline(always)]
pub(crate) fn hard_sigmoid<S: Lanes>(s: S, x: S::Vector) -> S::Vector {
    // NaN passes.
    let clipped = s.min(s.splat(6.0), s.max(s.splat(0.0), s.add(x, s.splat(3.0))));
    s.div(clipped, s.splat(6.0))
}

/// `x · hard_sigmoid(x)`.
#[inline(always)]
pub(crate) fn hard_swish<S: Lanes>(s: S, x: S::Vector) -> S::Vector {
    // −∞ · 0 is NaN.
    s.mul(s.max(s.splat(-3.0), x), hard_sigmoid(s, x))
}

/// Hard swish's slope: 0 from −3 down, 1 from 3 up, `x / 3 + ½` between.
#[inline(always)]
pub(crate) fn hard_swish_slope<S: Lanes>(s: S, x: S::Vector) -> S::Vector {
    let between = s.add(s.div(x, s.splat(3.0)), s.splat(0.5));
    let not_above = s.select(s.gt(s.splat(3.0), x), between, s.splat(1.0));
    s.select(s.gt(x, s.splat(-3.0)), not_above, s.splat(0.0))
}
