//! Functions of each element, in place.
#![forbid(unsafe_code)]

use crate::Isa;
use crate::activation::Activation;
use crate::math;
use crate::simd::{Simd, dispatch};

/// Replaces each element by e to its power: `x = e^x`, for a slice of any length.
///
/// At most [`MAX_EXP_ERROR_ULPS`](math::MAX_EXP_ERROR_ULPS) from the correctly rounded
/// result. 0 below −103.98, subnormal below −87.33, +∞ above 88.73.
///
/// ```
/// use microprop::{Isa, kernels};
///
/// let mut x = [0.0, 1.0, f32::NEG_INFINITY];
/// kernels::exp(Isa::detect(), &mut x);
/// assert_eq!(x, [1.0, std::f32::consts::E, 0.0]);
/// ```
pub fn exp(isa: Isa, x: &mut [f32]) {
    dispatch!(isa, s => map(
        s,
        x,
        #[inline(always)]
        |x| math::exp(s, x),
    ));
}

/// Replaces each element by its natural logarithm: `x = ln x`, for a slice of any length.
///
/// At most [`MAX_LN_ERROR_ULPS`](math::MAX_LN_ERROR_ULPS) from the correctly rounded
/// result. −∞ at ±0, NaN below.
///
/// ```
/// use microprop::{Isa, kernels};
///
/// let mut x = [1.0, 2.0, 0.0];
/// kernels::ln(Isa::detect(), &mut x);
/// assert_eq!(x, [0.0, std::f32::consts::LN_2, f32::NEG_INFINITY]);
/// ```
pub fn ln(isa: Isa, x: &mut [f32]) {
    dispatch!(isa, s => map(
        s,
        x,
        #[inline(always)]
        |x| math::ln(s, x),
    ));
}

/// Replaces each element by its logistic function: `x = 1 / (1 + e^−x)`, for a slice of any length.
///
/// At most [`MAX_SIGMOID_ERROR_ULPS`](math::MAX_SIGMOID_ERROR_ULPS) from the correctly
/// rounded result, and from 0 to 1.
///
/// ```
/// use microprop::{Isa, kernels};
///
/// let mut x = [0.0, 100.0, f32::NEG_INFINITY];
/// kernels::sigmoid(Isa::detect(), &mut x);
/// assert_eq!(x, [0.5, 1.0, 0.0]);
/// ```
pub fn sigmoid(isa: Isa, x: &mut [f32]) {
    dispatch!(isa, s => map(
        s,
        x,
        #[inline(always)]
        |x| math::sigmoid(s, x),
    ));
}

/// Replaces each element by softplus at minus its magnitude: `x = ln(1 + e^−|x|)`, for a
/// slice of any length.
///
/// It is what binary cross-entropy and softplus `max(x, 0) + ln(1 + e^−|x|)` need, however large
/// |x| is. At most [`MAX_SOFTPLUS_ERROR_ULPS`](math::MAX_SOFTPLUS_ERROR_ULPS) from the
/// correctly rounded result.
///
/// ```
/// use microprop::{Isa, kernels};
///
/// let mut x = [0.0, -200.0, 200.0];
/// kernels::softplus_of_negative(Isa::detect(), &mut x);
/// assert_eq!(x, [std::f32::consts::LN_2, 0.0, 0.0]);
/// ```
pub fn softplus_of_negative(isa: Isa, x: &mut [f32]) {
    dispatch!(isa, s => map(
        s,
        x,
        #[inline(always)]
        |x| math::softplus_of_negative(s, x),
    ));
}

/// Replaces each element by its hyperbolic tangent: `x = tanh x`, for a slice of any length.
///
/// At most [`MAX_TANH_ERROR_ULPS`](math::MAX_TANH_ERROR_ULPS) from the correctly rounded
/// result, from −1 to 1, and odd: `tanh(−x) = −tanh x`, to the bit.
///
/// ```
/// use microprop::{Isa, kernels};
///
/// let mut x = [0.0, 100.0, f32::NEG_INFINITY];
/// kernels::tanh(Isa::detect(), &mut x);
/// assert_eq!(x, [0.0, 1.0, -1.0]);
/// ```
pub fn tanh(isa: Isa, x: &mut [f32]) {
    dispatch!(isa, s => map(
        s,
        x,
        #[inline(always)]
        |x| math::tanh(s, x),
    ));
}

/// Replaces pre-activations by values. (Not for softmax, which is not element-wise.)
pub(crate) fn activate(isa: Isa, activation: Activation, z: &mut [f32]) {
    dispatch!(isa, s => map(
        s,
        z,
        #[inline(always)]
        |z| activation.value(s, z),
    ));
}

/// `x = f(x)`, a register at a time.
#[inline(always)]
pub(crate) fn map<S: Simd>(s: S, x: &mut [f32], f: impl Fn(S::Vector) -> S::Vector) {
    let (whole, rest) = S::chunks_mut(x);
    for x in whole {
        let y = f(s.load(x));
        s.store(y, x);
    }
    if !rest.is_empty() {
        let y = f(s.load_part(rest));
        s.store_part(y, rest);
    }
}
