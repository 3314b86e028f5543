//! The exponential, and the reduction that sigmoid, tanh and softplus share with it.
#![forbid(unsafe_code)]

use crate::simd::Lanes;

/// Largest error of [`exp`](crate::kernels::exp): see the [module](crate::math#accuracy).
pub const MAX_EXP_ERROR_ULPS: u32 = 1;

const LOG2_E: f32 = f32::from_bits(0x3fb8_aa3b); // 0x1.715476p0
/// ln 2 in two parts. The high one has 15 bits, so that its product with an
/// integer below 2⁹ is exact: both arithmetics reduce alike.
pub(super) const LN_2_HIGH: f32 = f32::from_bits(0x3f31_7200); // 0x1.62e4p-1
pub(super) const LN_2_LOW: f32 = f32::from_bits(0x35bf_be8e); // 0x1.7f7d1cp-20

/// (e^r − 1 − r) / r² = C₀ + C₁·r + … + C₄·r⁴ on |r| ≤ 0.3475, a little more than
/// ln 2 / 2. Sollya 8.0, `fpminimax` over singles; the error of e^r is at most 5.5e-9 = 2^−27.4.
const C: [f32; 5] = [
    f32::from_bits(0x3eff_fffa), // 0x1.fffff4p-2
    f32::from_bits(0x3e2a_aa46), // 0x1.55548cp-3
    f32::from_bits(0x3d2a_aee9), // 0x1.555dd2p-5
    f32::from_bits(0x3c09_1eb0), // 0x1.123d6p-7
    f32::from_bits(0x3ab3_90f4), // 0x1.6721e8p-10
];

/// 1.5·2²³: added to a small number, it leaves the nearest integer in the low bits.
const ROUND: f32 = 12_582_912.0;

/// What brings a small power of two into the range of normal numbers, taken back.
const TWO_POW_MINUS_25: f32 = f32::from_bits((127 - 25) << 23);

/// `e^x = 2^k · (1 + p)` with |p| < 0.42, for |x| ≤ 114: returns p and the bits of 2^(k + shift).
///
/// k is an integer near x / ln 2. The bits are `(k + shift + 127) << 23`, wrapping: those of
/// a power of two where its exponent is that of a normal number.
#[inline(always)]
pub(super) fn reduce<S: Lanes>(s: S, x: S::Vector, shift: i16) -> (S::Vector, S::Ints) {
    let (k, power) = nearest_power(s, x, shift);
    // The subtraction of the high part is exact.
    let r = s.mul_add(k, s.splat(-LN_2_HIGH), x);
    let r = s.mul_add(k, s.splat(-LN_2_LOW), r);
    (expm1_of_reduced(s, r), power)
}

/// As [`reduce`], for x = high + low, which may have more bits than one number holds. `high` has at
/// most 24 of them, |low| ≤ 0.2.
#[inline(always)]
pub(super) fn reduce_sum<S: Lanes>(s: S, high: S::Vector, low: S::Vector, shift: i16) -> (S::Vector, S::Ints) {
    let (k, power) = nearest_power(s, s.add(high, low), shift);
    let low = s.mul_add(k, s.splat(-LN_2_LOW), low);
    let r = s.add(s.mul_add(k, s.splat(-LN_2_HIGH), high), low);
    (expm1_of_reduced(s, r), power)
}

/// An integer k near x / ln 2, and the bits of 2^(k + shift).
#[inline(always)]
fn nearest_power<S: Lanes>(s: S, x: S::Vector, shift: i16) -> (S::Vector, S::Ints) {
    let round = s.splat(ROUND + f32::from(shift + 127));
    let shifted = s.mul_add(x, s.splat(LOG2_E), round);
    (s.sub(shifted, round), s.shl23(s.to_bits(shifted)))
}

/// `e^r − 1` for |r| ≤ 0.3475.
#[inline(always)]
fn expm1_of_reduced<S: Lanes>(s: S, r: S::Vector) -> S::Vector {
    // Estrin's scheme.
    let r2 = s.mul(r, r);
    let q01 = s.mul_add(s.splat(C[1]), r, s.splat(C[0]));
    let q23 = s.mul_add(s.splat(C[3]), r, s.splat(C[2]));
    let q24 = s.mul_add(s.splat(C[4]), r2, q23);
    let q = s.mul_add(q24, r2, q01);
    s.mul_add(q, r2, r)
}

/// The upper 12 bits of `x`'s significand. Two such numbers have an exact product; so the
/// roundings of others can be told apart without a fused multiply-add.
#[inline(always)]
pub(super) fn upper_half<S: Lanes>(s: S, x: S::Vector) -> S::Vector {
    s.from_bits(s.and_int(s.to_bits(x), s.splat_int(!0xfff)))
}

/// `e^x`.
#[inline(always)]
pub(crate) fn exp<S: Lanes>(s: S, x: S::Vector) -> S::Vector {
    // k runs from −150 to 128, further than the exponent of one normal factor. So there
    // are two, and the last product rounds to a subnormal or to infinity where it must.
    let outer = s.select(s.gt(x, s.splat(0.0)), s.splat(2.0), s.splat(TWO_POW_MINUS_25));
    // e^−104 rounds to 0 and e^89 to infinity. NaN passes.
    let x = s.max(s.splat(-104.0), s.min(s.splat(89.0), x));
    let (p, power) = reduce(s, x, 127);
    let inner = s.from_bits(s.sub_int(power, s.to_bits(outer)));
    s.mul(s.mul_add(p, inner, inner), outer)
}

/// `e^x` for x ≤ 0, or NaN.
#[inline(always)]
pub(super) fn exp_of_negative<S: Lanes>(s: S, x: S::Vector) -> S::Vector {
    let (p, power) = reduce(s, s.max(s.splat(-104.0), x), 25);
    let power = s.from_bits(power);
    s.mul(s.mul_add(p, power, power), s.splat(TWO_POW_MINUS_25))
}
