//! The natural logarithm.
#![forbid(unsafe_code)]

use super::exp::{LN_2_HIGH, LN_2_LOW};
use crate::simd::Lanes;

/// Largest error of [`ln`](crate::kernels::ln): see the [module](crate::math#accuracy).
pub const MAX_LN_ERROR_ULPS: u32 = 1;

/// (ln(1 + f) − f + f²/2) / f³ = C₀ + C₁·f + … + C₇·f⁷ on −0.29295 ≤ f ≤ 0.41425, a little more
/// than √½ − 1 to √2 − 1. Sollya 8.0, `fpminimax` over singles; the relative error of ln(1 + f)
/// is at most 6.9e-9 = 2^−27.1.
const C: [f32; 8] = [
    f32::from_bits(0x3eaa_aab1), // 0x1.555562p-2
    f32::from_bits(0xbe80_0117), // -0x1.00022ep-2
    f32::from_bits(0x3e4c_cd1e), // 0x1.999a3cp-3
    f32::from_bits(0xbe2a_3643), // -0x1.546c86p-3
    f32::from_bits(0x3e11_9d07), // 0x1.233a0ep-3
    f32::from_bits(0xbe07_06e2), // -0x1.0e0dc4p-3
    f32::from_bits(0x3e01_b22d), // 0x1.03645ap-3
    f32::from_bits(0xbd98_d622), // -0x1.31ac44p-4
];

/// √½, the least significand after the reduction.
const SQRT_HALF: i32 = 0x3f35_04f3;

/// `k · ln 2 + ln(1 + f)` for integers k and f from √½ − 1 to √2 − 1.
#[inline(always)]
pub(super) fn ln_of_reduced<S: Lanes>(s: S, k: S::Vector, f: S::Vector) -> S::Vector {
    // Estrin's scheme.
    let f2 = s.mul(f, f);
    let f4 = s.mul(f2, f2);
    let q01 = s.mul_add(s.splat(C[1]), f, s.splat(C[0]));
    let q23 = s.mul_add(s.splat(C[3]), f, s.splat(C[2]));
    let q45 = s.mul_add(s.splat(C[5]), f, s.splat(C[4]));
    let q67 = s.mul_add(s.splat(C[7]), f, s.splat(C[6]));
    let q03 = s.mul_add(q23, f2, q01);
    let q47 = s.mul_add(q67, f2, q45);
    let q = s.mul_add(q47, f4, q03);

    // From the smallest addend to the largest; k · LN_2_HIGH is exact.
    let small = s.mul_add(s.mul(f, f2), q, s.mul(k, s.splat(LN_2_LOW)));
    let small = s.mul_add(f2, s.splat(-0.5), small);
    s.mul_add(k, s.splat(LN_2_HIGH), s.add(f, small))
}

/// `ln x`: −∞ at ±0, NaN below.
#[inline(always)]
pub(crate) fn ln<S: Lanes>(s: S, x: S::Vector) -> S::Vector {
    let zero = s.splat(0.0);
    // x = 2^k · (1 + f). A subnormal is made normal first.
    let subnormal = s.gt(s.splat(f32::MIN_POSITIVE), x);
    let normal = s.select(subnormal, s.mul(x, s.splat(8_388_608.0)), x);
    let bits = s.to_bits(normal);
    let exponent = s.shr23(s.sub_int(bits, s.splat_int(SQRT_HALF)));
    let significand = s.from_bits(s.sub_int(bits, s.shl23(exponent)));
    let k = s.add(s.int_to_float(exponent), s.select(subnormal, s.splat(-23.0), zero));
    let f = s.sub(significand, s.splat(1.0));
    let y = ln_of_reduced(s, k, f);

    let y = s.select(s.gt(x, s.splat(f32::MAX)), x, y);
    // ±0 − ∞ = −∞, and NaN − ∞ = NaN.
    let below = s.select(s.gt(zero, x), s.splat(f32::NAN), s.sub(x, s.splat(f32::INFINITY)));
    s.select(s.gt(x, zero), y, below)
}
