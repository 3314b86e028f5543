//! Softplus, for the tail that binary cross-entropy needs.
#![forbid(unsafe_code)]

use super::exp::exp_of_negative;
use super::ln::ln_of_reduced;
use crate::simd::Lanes;

/// Largest error of [`softplus_of_negative`](crate::kernels::softplus_of_negative): see the
/// [module](crate::math#accuracy).
pub const MAX_SOFTPLUS_ERROR_ULPS: u32 = 2;

/// √2 − 1: above it 1 + e is halved.
const SPLIT: f32 = f32::from_bits(0x3ed4_13cd); // 0x1.a8279ap-2

/// `ln(1 + e^−|x|)`: softplus at −|x|, from 0 to ln 2.
#[inline(always)]
pub(crate) fn softplus_of_negative<S: Lanes>(s: S, x: S::Vector) -> S::Vector {
    let negative = s.from_bits(s.or_int(s.to_bits(x), s.splat_int(i32::MIN)));
    let e = exp_of_negative(s, negative);
    // 1 + e = 2^k · (1 + f), without rounding 1 + e.
    let halved = s.gt(e, s.splat(SPLIT));
    let k = s.select(halved, s.splat(1.0), s.splat(0.0));
    let f = s.select(halved, s.mul_add(e, s.splat(0.5), s.splat(-0.5)), e);
    ln_of_reduced(s, k, f)
}

/// `ln(1 + e^x)`.
#[inline(always)]
pub(crate) fn softplus<S: Lanes>(s: S, x: S::Vector) -> S::Vector {
    s.add(s.max(s.splat(0.0), x), softplus_of_negative(s, x))
}
