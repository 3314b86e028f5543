//! The functions in f64, each off by at most 4 ulp of f64. The argument is an f32, so its square is exact.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

pub(crate) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

pub(crate) fn softplus_of_negative(x: f64) -> f64 {
    (-x.abs()).exp().ln_1p()
}

pub(crate) fn softplus(x: f64) -> f64 {
    if x > 0.0 { x + softplus_of_negative(x) } else { x.exp().ln_1p() }
}

/// x · f, and its limit −0 where f is 0 at −∞.
fn times(x: f64, f: f64) -> f64 {
    if x == f64::NEG_INFINITY { -0.0 } else { x * f }
}

pub(crate) fn silu(x: f64) -> f64 {
    times(x, sigmoid(x))
}

/// x · erfc(−x/√2) / 2. Near the end of its tail erfc is a hundred times as sensitive as its
/// argument is exact: what the rounding of x/√2 loses is taken to first order.
pub(crate) fn gelu(x: f64) -> f64 {
    /// 1/√2 less its f64.
    const LOW: f64 = -4.833_646_656_726_457e-17;
    let z = -x * FRAC_1_SQRT_2;
    let lost = (-x).mul_add(FRAC_1_SQRT_2, -z) - x * LOW;
    let slope = -FRAC_2_SQRT_PI * (-z * z).exp();
    let tail = libm::erfc(z);
    times(x, 0.5 * if slope == 0.0 { tail } else { tail + slope * lost })
}

/// x · sigmoid(w), w = x · (c₁ + c₃x²), where w is the sum of two f64.
pub(crate) fn gelu_tanh(x: f64) -> f64 {
    /// 2√(2/π), and 0.044715 of it: each an f64 and what it lacks.
    const C1: (f64, f64) = (1.595_769_121_605_730_8, -9.969_308_809_110_92e-17);
    const C3: (f64, f64) = (0.071_354_816_272_600_25, -6.175_149_918_155_315e-19);
    if x.is_infinite() {
        return x.max(-0.0);
    }
    let square = x * x;
    let product = square * C3.0;
    let product_lost = square.mul_add(C3.0, -product);
    let bracket = product + C1.0;
    let (large, small) = if product > C1.0 { (product, C1.0) } else { (C1.0, product) };
    let bracket_lost = (small - (bracket - large)) + product_lost + square * C3.1 + C1.1;
    let w = x * bracket;
    let lost = x.mul_add(bracket, -w) + x * bracket_lost;
    let e = (-w).exp();
    if e == f64::INFINITY { -0.0 } else { x / (1.0 + (e - e * lost)) }
}

pub(crate) fn mish(x: f64) -> f64 {
    let e = (-x.abs()).exp();
    let ratio =
        if x > 0.0 { (1.0 + 2.0 * e) / (1.0 + 2.0 * e * (1.0 + e)) } else { e * (2.0 + e) / (2.0 + e * (2.0 + e)) };
    times(x, ratio)
}

pub(crate) fn softsign(x: f64) -> f64 {
    if x.is_infinite() { x.signum() } else { x / (1.0 + x.abs()) }
}

pub(crate) fn hard_sigmoid(x: f64) -> f64 {
    if x.is_nan() { x } else { (x + 3.0).clamp(0.0, 6.0) / 6.0 }
}

pub(crate) fn hard_swish(x: f64) -> f64 {
    times(x, hard_sigmoid(x))
}
