//! GELU: x · Φ(x), with the distribution function Φ of the standard normal distribution.
#![forbid(unsafe_code)]

use super::exp::{reduce_sum, upper_half};
use crate::simd::Lanes;

/// Largest error of [`gelu`](crate::kernels::gelu): see the [module](crate::math#accuracy).
pub const MAX_GELU_ERROR_ULPS: u32 = 2;

/// (Φ(x) − ½) / x = C₀ + C₁·x² + … + C₄·x⁸ on |x| ≤ [`SPLIT`]. Sollya 8.0, `fpminimax` over
/// singles; the relative error is at most 2.9e-8 = 2^−25.
const NEAR: [f32; 5] = [
    f32::from_bits(0x3ecc_422a), // 0x1.988454p-2
    f32::from_bits(0xbd88_2c4d), // -0x1.10589ap-4
    f32::from_bits(0x3c23_753d), // 0x1.46ea7ap-7
    f32::from_bits(0xba9c_cf2e), // -0x1.399e5cp-10
    f32::from_bits(0x38fc_1a49), // 0x1.f83492p-14
];

/// a · Φ(−a) · e^(a²/2) = C₀ + C₁·v + … + C₁₀·v¹⁰ with v = (a − 1.5625) / (a + 1.5625), on
/// 0.55 ≤ a ≤ 14.5. Sollya 8.0, `fpminimax` over singles; the relative error is at most
/// 3.9e-9 = 2^−27.9. (Such a variable: Shepherd and Laframboise 1981, for erfc.)
const FAR: [f32; 11] = [
    f32::from_bits(0x3ea0_37f2), // 0x1.406fe4p-2
    f32::from_bits(0x3e52_cc01), // 0x1.a59802p-3
    f32::from_bits(0xbe06_b771), // -0x1.0d6ee2p-3
    f32::from_bits(0xbc54_ed1f), // -0x1.a9da3ep-7
    f32::from_bits(0x3ca2_2da1), // 0x1.445b42p-6
    f32::from_bits(0x3c17_ef87), // 0x1.2fdf0ep-7
    f32::from_bits(0xba19_bb64), // -0x1.3376c8p-11
    f32::from_bits(0xbb39_2303), // -0x1.724606p-9
    f32::from_bits(0xbae5_edc3), // -0x1.cbdb86p-10
    f32::from_bits(0x35a8_7c2b), // 0x1.50f856p-20
    f32::from_bits(0x3a55_44da), // 0x1.aa89b4p-11
];
const CENTRE: f32 = 1.5625;

/// Up to here Φ from its odd part, beyond it from its tail.
const SPLIT: f32 = 0.625;
/// From here on Φ(−a) is nothing beside what it is added to, a · Φ(−a) rounds to 0, and the slope too.
const END: f32 = 14.75;
/// 1 / √(2π), the density at 0.
const DENSITY: f32 = f32::from_bits(0x3ecc_422a); // 0x1.988454p-2
const TWO_POW_MINUS_40: f32 = f32::from_bits((127 - 40) << 23);

/// (Φ(x) − ½) / x for |x| ≤ [`SPLIT`].
#[inline(always)]
fn near<S: Lanes>(s: S, x: S::Vector) -> S::Vector {
    let y = s.mul(x, x);
    let y2 = s.mul(y, y);
    let q01 = s.mul_add(s.splat(NEAR[1]), y, s.splat(NEAR[0]));
    let q23 = s.mul_add(s.splat(NEAR[3]), y, s.splat(NEAR[2]));
    s.mul_add(s.mul_add(s.splat(NEAR[4]), y2, q23), y2, q01)
}

/// a · Φ(−a) · e^(a²/2) − C₀ for a from [`SPLIT`] to [`END`].
#[inline(always)]
fn far<S: Lanes>(s: S, a: S::Vector) -> S::Vector {
    let v = s.div(s.sub(a, s.splat(CENTRE)), s.add(a, s.splat(CENTRE)));
    let v2 = s.mul(v, v);
    let v4 = s.mul(v2, v2);
    let q12 = s.mul_add(s.splat(FAR[2]), v, s.splat(FAR[1]));
    let q34 = s.mul_add(s.splat(FAR[4]), v, s.splat(FAR[3]));
    let q56 = s.mul_add(s.splat(FAR[6]), v, s.splat(FAR[5]));
    let q78 = s.mul_add(s.splat(FAR[8]), v, s.splat(FAR[7]));
    let q90 = s.mul_add(s.splat(FAR[10]), v, s.splat(FAR[9]));
    let q14 = s.mul_add(q34, v2, q12);
    let q58 = s.mul_add(q78, v2, q56);
    s.mul(s.mul_add(s.mul_add(q90, v4, q58), v4, q14), v)
}

/// `e^(−a²/2) = 2^k · (1 + p)` for a from 0 to [`END`]: p, and 2^(k + 40).
///
/// a² rounded would cost 24 ulp at the end: it is taken in two parts, the first of them exact.
#[inline(always)]
fn bell<S: Lanes>(s: S, a: S::Vector) -> (S::Vector, S::Vector) {
    let upper = upper_half(s, a);
    let minus_half = s.splat(-0.5);
    let half = s.mul(upper, minus_half);
    let high = s.mul(half, upper);
    let low = s.mul(s.sub(a, upper), s.mul_add(a, minus_half, half));
    let (p, power) = reduce_sum(s, high, low, 40);
    (p, s.from_bits(power))
}

/// `x · Φ(x)`.
#[inline(always)]
pub(crate) fn gelu<S: Lanes>(s: S, x: S::Vector) -> S::Vector {
    // NaN passes.
    let a = s.min(s.splat(END), s.abs(x));
    let inner = s.mul(x, s.mul_add(x, near(s, x), s.splat(0.5)));
    // tail = a · Φ(−a). x below zero has −tail, above x − tail. C₀ is added last, so that one
    // rounding counts in full.
    let (p, power) = bell(s, a);
    let (c, rest) = (s.splat(FAR[0]), far(s, a));
    let tail = s.add(c, s.mul_add(p, s.add(c, rest), rest));
    // Normal up to the last product, which rounds to a subnormal where it must. Above 0 that is nothing beside x; −0 has
    // no part in a sum, but for its sign.
    let above = s.max(s.splat(-0.0), x);
    let outer = s.mul_add(s.mul(tail, power), s.splat(-TWO_POW_MINUS_40), above);
    s.select(s.gt(a, s.splat(SPLIT)), outer, inner)
}

/// GELU's slope: `Φ(x) + x · φ(x)` with the density φ(x) = e^(−x²/2) / √(2π).
#[inline(always)]
pub(crate) fn gelu_slope<S: Lanes>(s: S, x: S::Vector) -> S::Vector {
    let a = s.min(s.splat(END), s.abs(x));
    let density = s.splat(DENSITY);
    let split = s.gt(a, s.splat(SPLIT));
    // The slope at −a, Φ(−a) − a · φ(a), in units of e^(−a²/2); near 0 the density alone.
    let tail = s.mul_add(s.neg(a), density, s.div(s.add(s.splat(FAR[0]), far(s, a)), a));
    let tail = s.select(split, tail, density);
    let (p, power) = bell(s, a);
    let tail = s.mul(s.mul(s.mul_add(p, tail, tail), power), s.splat(TWO_POW_MINUS_40));
    let inner = s.mul_add(x, s.add(near(s, x), tail), s.splat(0.5));
    let outer = s.select(s.gt(x, s.splat(0.0)), s.sub(s.splat(1.0), tail), tail);
    s.select(split, outer, inner)
}
