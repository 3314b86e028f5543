//! SiLU, and the denominator that it shares with GELU's tanh form.
#![forbid(unsafe_code)]

use super::exp::reduce;
use crate::simd::Lanes;

/// Largest error of [`silu`](crate::kernels::silu): see the [module](crate::math#accuracy).
pub const MAX_SILU_ERROR_ULPS: u32 = 2;

/// 2^−40: denominators are smaller by this factor, so that 1 + e^114 does not overflow.
pub(super) const UNIT: f32 = f32::from_bits((127 - 40) << 23);

/// `e^w` and `1 + e^w`, both times [`UNIT`], from what [`reduce`] returns with shift −40.
#[inline(always)]
pub(super) fn exp_and_one_more<S: Lanes>(s: S, (p, power): (S::Vector, S::Ints)) -> (S::Vector, S::Vector) {
    let power = s.from_bits(power);
    let unit = s.splat(UNIT);
    // The larger addend last: it alone is rounded at the sum's size.
    let (large, small) = (s.max(power, unit), s.min(power, unit));
    (s.mul_add(p, power, power), s.add(large, s.mul_add(p, power, small)))
}

/// `x · sigmoid(x)`.
#[inline(always)]
pub(crate) fn silu<S: Lanes>(s: S, x: S::Vector) -> S::Vector {
    // At −110 the result rounds to −0. NaN passes.
    let inside = s.max(s.splat(-110.0), s.min(s.splat(30.0), x));
    let (_, d) = exp_and_one_more(s, reduce(s, s.neg(inside), -40));
    // The quotient is normal; the product rounds to a subnormal where it must.
    let y = s.mul(s.div(inside, d), s.splat(UNIT));
    // From 18 on the result rounds to x.
    s.select(s.gt(x, s.splat(30.0)), x, y)
}

/// SiLU's slope: `σ · (1 + x · (1 − σ))` with σ = sigmoid(x), and 1 − σ = e^−x · σ.
#[inline(always)]
pub(crate) fn silu_slope<S: Lanes>(s: S, x: S::Vector) -> S::Vector {
    let x = s.max(s.splat(-110.0), s.min(s.splat(30.0), x));
    let (e, d) = exp_and_one_more(s, reduce(s, s.neg(x), -40));
    let reciprocal = s.div(s.splat(1.0), d);
    let bracket = s.mul_add(x, s.mul(e, reciprocal), s.splat(1.0));
    s.mul(s.mul(bracket, reciprocal), s.splat(UNIT))
}
