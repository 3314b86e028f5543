//! Mish: x · tanh(softplus(x)).
#![forbid(unsafe_code)]

use super::exp::reduce;
use crate::simd::Lanes;

/// Largest error of [`mish`](crate::kernels::mish): see the [module](crate::math#accuracy).
pub const MAX_MISH_ERROR_ULPS: u32 = 2;

const TWO_POW_MINUS_40: f32 = f32::from_bits((127 - 40) << 23);

/// `x · tanh(ln(1 + e^x))`.
///
/// The hyperbolic tangent is (e² + 2e) / (e² + 2e + 2) with e = e^x. With a = e^−|x| it is, split so
/// that the quotient weighs little where it has most roundings,
/// a · (½ + (1 − a²/2) / (2 + 2a + a²)) below zero, ½ + (½ + a − a²) / (1 + 2a + 2a²) above.
#[inline(always)]
pub(crate) fn mish<S: Lanes>(s: S, x: S::Vector) -> S::Vector {
    let below = s.gt(s.splat(0.0), x);
    // At −110 the result rounds to −0, and ∞ · 0 must not be met above. NaN passes.
    let not_below = s.max(s.splat(-110.0), x);
    let inside = s.min(s.splat(110.0), not_below);
    let (p, power) = reduce(s, s.neg(s.abs(inside)), 40);
    let power = s.from_bits(power);
    let a = s.mul(s.mul_add(p, power, power), s.splat(TWO_POW_MINUS_40));
    let (half, one, two) = (s.splat(0.5), s.splat(1.0), s.splat(2.0));
    let numerator = s.select(below, s.mul(a, s.splat(-0.5)), s.sub(one, a));
    let numerator = s.mul_add(a, numerator, s.select(below, one, half));
    let denominator = s.add(two, s.select(below, a, s.add(a, a)));
    let denominator = s.mul_add(a, denominator, s.select(below, two, one));
    let q = s.div(numerator, denominator);
    // Below zero comes the factor a = 2^k · (1 + p), of which 1 + p goes into the quotient's part. Where the
    // whole is nearer to 1 than to ½, its distance from 1 is what gets multiplied.
    let near_one = s.gt(half, a);
    let rest = s.sub(q, s.select(near_one, half, s.splat(0.0)));
    let rest = s.select(below, s.mul_add(p, s.add(q, half), rest), rest);
    let y = s.mul_add(inside, rest, s.mul(not_below, s.select(near_one, one, half)));
    // Normal up to the last product, which rounds to a subnormal where it must.
    s.select(below, s.mul(s.mul(y, power), s.splat(TWO_POW_MINUS_40)), y)
}

/// Mish's slope, from the same e: with D = e² + 2e + 2 it is
/// `e · (4(x + 1) + (4x + 6) · e + 4e² + e³) / D²`, and for x > 0 that divided by e⁴ above and below.
#[inline(always)]
pub(crate) fn mish_slope<S: Lanes>(s: S, x: S::Vector) -> S::Vector {
    let below = s.gt(s.splat(0.0), x);
    let x = s.max(s.splat(-110.0), s.min(s.splat(110.0), x));
    let (p, power) = reduce(s, s.neg(s.abs(x)), 40);
    let power = s.from_bits(power);
    let a = s.mul(s.mul_add(p, power, power), s.splat(TWO_POW_MINUS_40));
    let (one, two, four) = (s.splat(1.0), s.splat(2.0), s.splat(4.0));
    let (c0, c1) = (s.mul_add(x, four, four), s.mul_add(x, four, s.splat(6.0)));
    let numerator = s.mul_add(a, s.select(below, one, c0), s.select(below, four, c1));
    let numerator = s.mul_add(a, numerator, s.select(below, c1, four));
    let numerator = s.mul_add(a, numerator, s.select(below, c0, one));
    let denominator = s.mul_add(a, s.select(below, one, two), two);
    let denominator = s.mul_add(a, denominator, s.select(below, two, one));
    let above = s.div(numerator, s.mul(denominator, denominator));
    let tail = s.mul(s.mul(s.mul_add(p, above, above), power), s.splat(TWO_POW_MINUS_40));
    s.select(below, tail, above)
}
