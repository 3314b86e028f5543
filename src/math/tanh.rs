//! The hyperbolic tangent.
#![forbid(unsafe_code)]

use super::exp::reduce;
use crate::simd::Lanes;

/// Largest error of [`tanh`](crate::kernels::tanh): see the [module](crate::math#accuracy).
pub const MAX_TANH_ERROR_ULPS: u32 = 1;

/// (tanh a − a) / a³ = C₀ + C₁·a² + … + C₄·a⁸ on 0 ≤ a ≤ [`SPLIT`]. Sollya 8.0,
/// `fpminimax` over singles; the relative error of tanh is at most 4.6e-9 = 2^−27.6.
const C: [f32; 5] = [
    f32::from_bits(0xbeaa_aa99), // -0x1.555532p-2
    f32::from_bits(0x3e08_8382), // 0x1.110704p-3
    f32::from_bits(0xbd5c_1c50), // -0x1.b838ap-5
    f32::from_bits(0x3ca9_08e2), // 0x1.5211c4p-6
    f32::from_bits(0xbbba_c7d6), // -0x1.758facp-8
];

/// Up to here the polynomial, beyond it the exponential. Beyond 0.5493 tanh is above ½, where
/// the errors of the quotient in 1 − 2 / (e^2a + 1) count at most half.
const SPLIT: f32 = 0.625;

/// `tanh x`, from −1 to 1, odd to the bit.
#[inline(always)]
pub(crate) fn tanh<S: Lanes>(s: S, x: S::Vector) -> S::Vector {
    let a = s.abs(x);

    let y = s.mul(a, a);
    let y2 = s.mul(y, y);
    let q01 = s.mul_add(s.splat(C[1]), y, s.splat(C[0]));
    let q23 = s.mul_add(s.splat(C[3]), y, s.splat(C[2]));
    let q24 = s.mul_add(s.splat(C[4]), y2, q23);
    let q = s.mul_add(q24, y2, q01);
    let near = s.mul_add(s.mul(a, y), q, a);

    // tanh rounds to 1 from 9.02 on.
    let (p, power) = reduce(s, s.min(s.splat(20.0), s.add(a, a)), 0);
    let power = s.from_bits(power);
    let d = s.mul_add(p, power, s.add(power, s.splat(1.0)));
    let far = s.sub(s.splat(1.0), s.div(s.splat(2.0), d));

    // NaN takes the first branch, and stays.
    let magnitude = s.select(s.gt(a, s.splat(SPLIT)), far, near);
    let sign = s.and_int(s.to_bits(x), s.splat_int(i32::MIN));
    s.from_bits(s.or_int(s.to_bits(magnitude), sign))
}
