//! The logistic function.
#![forbid(unsafe_code)]

use super::exp::reduce;
use crate::simd::Lanes;

/// Largest error of [`sigmoid`](crate::kernels::sigmoid): see the [module](crate::math#accuracy).
pub const MAX_SIGMOID_ERROR_ULPS: u32 = 1;

const TWO_POW_24: f32 = 16_777_216.0;
/// 2^−24: everything is smaller by this factor, so that 1 + e^104 does not overflow.
const UNIT: f32 = 1.0 / TWO_POW_24;

/// `1 / (1 + e^−x)`, from 0 to 1.
///
/// The denominator `d = 1 + 2^k + 2^k·p` alone, rounded once, would cost up to 1
/// ulp. What its roundings lose is found exactly while the division runs, and taken
/// off the quotient to first order: `1 / (d + lost) ≈ y − y²·lost`.
#[inline(always)]
pub(crate) fn sigmoid<S: Lanes>(s: S, x: S::Vector) -> S::Vector {
    let unit = s.splat(UNIT);
    // 1 / (1 + e^104) rounds to 0 and 1 / (1 + e^−30) to 1. NaN passes.
    let x = s.max(s.splat(-30.0), s.min(s.splat(104.0), s.neg(x)));
    let (p, power) = reduce(s, x, -24);
    let power = s.from_bits(power);
    let d = s.mul_add(p, power, s.add(power, unit));
    let y = s.div(unit, d);

    let (large, small) = (s.max(power, unit), s.min(power, unit));
    let lost = s.add(small, s.mul_add(p, power, s.sub(large, d)));
    let excess = s.mul(y, s.mul(lost, s.splat(-TWO_POW_24)));
    s.mul_add(excess, y, y)
}
