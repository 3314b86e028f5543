//! The exponential less one.
#![forbid(unsafe_code)]

use super::exp::reduce;
use crate::simd::Lanes;

/// Largest error of [`expm1`](crate::kernels::expm1): see the [module](crate::math#accuracy).
pub const MAX_EXPM1_ERROR_ULPS: u32 = 2;

/// `e^x − 1`.
#[inline(always)]
pub(crate) fn expm1<S: Lanes>(s: S, x: S::Vector) -> S::Vector {
    // 2^128 is out of reach of one normal factor: it is halved, and the result doubled. Near 0 nothing
    // may be halved. Where it is, 1 is nothing beside it.
    let large = s.gt(x, s.splat(64.0));
    // e^−30 − 1 rounds to −1 and e^89 to infinity. NaN passes.
    let x = s.max(s.splat(-30.0), s.min(s.splat(89.0), x));
    let (p, power) = reduce(s, x, -1);
    let (one, two) = (s.splat(1.0), s.splat(2.0));
    let power = s.mul(s.from_bits(power), s.select(large, one, two));
    let y = s.mul_add(p, power, s.sub(power, one));
    let y = s.mul(y, s.select(large, two, one));
    // −0 has lost its sign.
    let sign = s.and_int(s.to_bits(x), s.splat_int(i32::MIN));
    s.from_bits(s.or_int(s.to_bits(y), sign))
}
