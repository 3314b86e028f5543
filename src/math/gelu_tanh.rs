//! GELU's tanh form: x · ½(1 + tanh(√(2/π) · (x + 0.044715x³))), which is x · sigmoid(w) with
//! w = x · (c₁ + c₃x²), c₁ = 2√(2/π) and c₃ = 0.044715c₁.
#![forbid(unsafe_code)]

use super::exp::{reduce_sum, upper_half};
use super::silu::{UNIT, exp_and_one_more};
use crate::simd::Lanes;

/// Largest error of [`gelu_tanh`](crate::kernels::gelu_tanh), as a function of its own: see the
/// [module](crate::math#accuracy).
pub const MAX_GELU_TANH_ERROR_ULPS: u32 = 2;

/// The coefficients rounded, and the upper 12 bits of each with what they lack.
const C1: f32 = f32::from_bits(0x3fcc_422a); // 0x1.988454p0
const C1_HIGH: f32 = f32::from_bits(0x3fcc_4000); // 0x1.988p0
const C1_LOW: f32 = f32::from_bits(0x388a_67a8); // 0x1.14cf5p-14
const C3: f32 = f32::from_bits(0x3d92_2279); // 0x1.2444f2p-4
const C3_HIGH: f32 = f32::from_bits(0x3d92_2000); // 0x1.244p-4
const C3_LOW: f32 = f32::from_bits(0x369e_549b); // 0x1.3ca936p-18
const C3_TIMES_3: f32 = f32::from_bits(0x3e5b_33b6); // 0x1.b6676cp-3

/// At −11 the result rounds to −0, from 5.5 on to x.
const START: f32 = -11.0;
const END: f32 = 6.0;

/// `e^−w` and `1 + e^−w` in units of 2^−40, and x², for x from [`START`] to [`END`].
///
/// w reaches 106 before e^w leaves the range of `f32`, and its rounding would then cost 64 ulp. So
/// x², the bracket and w are each taken in two parts, the first exact.
#[inline(always)]
fn parts<S: Lanes>(s: S, x: S::Vector) -> (S::Vector, S::Vector, S::Vector) {
    let x_high = upper_half(s, x);
    let x_low = s.sub(x, x_high);
    let square = s.mul(x, x);
    let square_high = upper_half(s, square);
    let square_low = s.sub(s.mul(x_high, x_high), square_high);
    let square_low = s.mul_add(x_low, s.add(x, x_high), square_low);

    let bracket_high = upper_half(s, s.mul_add(square, s.splat(C3), s.splat(C1)));
    let bracket_low = s.mul_add(square, s.splat(C3_LOW), s.splat(C1_LOW));
    let bracket_low = s.mul_add(square_low, s.splat(C3_HIGH), bracket_low);
    let rest = s.mul_add(square_high, s.splat(C3_HIGH), s.sub(s.splat(C1_HIGH), bracket_high));
    let bracket_low = s.add(rest, bracket_low);

    let high = s.mul(s.neg(x_high), bracket_high);
    let low = s.mul_add(x_low, bracket_high, s.mul(x, bracket_low));
    let (e, d) = exp_and_one_more(s, reduce_sum(s, high, s.neg(low), -40));
    (e, d, square)
}

/// `x · sigmoid(w)`.
#[inline(always)]
pub(crate) fn gelu_tanh<S: Lanes>(s: S, x: S::Vector) -> S::Vector {
    // NaN passes.
    let inside = s.max(s.splat(START), s.min(s.splat(END), x));
    let (_, d, _) = parts(s, inside);
    let y = s.mul(s.div(inside, d), s.splat(UNIT));
    s.select(s.gt(x, s.splat(END)), x, y)
}

/// Its slope: `σ · (1 + x · w′ · (1 − σ))` with σ = sigmoid(w), 1 − σ = e^−w · σ and
/// w′ = c₁ + 3c₃x².
#[inline(always)]
pub(crate) fn gelu_tanh_slope<S: Lanes>(s: S, x: S::Vector) -> S::Vector {
    let x = s.max(s.splat(START), s.min(s.splat(END), x));
    let (e, d, square) = parts(s, x);
    let reciprocal = s.div(s.splat(1.0), d);
    let inner = s.mul(x, s.mul_add(square, s.splat(C3_TIMES_3), s.splat(C1)));
    let bracket = s.mul_add(inner, s.mul(e, reciprocal), s.splat(1.0));
    s.mul(s.mul(bracket, reciprocal), s.splat(UNIT))
}
