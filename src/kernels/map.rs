//! Functions of each element, in place.
#![forbid(unsafe_code)]

use crate::Isa;
use crate::activation::Activation;
use crate::math;
use crate::simd::{Simd, dispatch};

/// A public function over a slice for each of [`math`]'s that are named.
macro_rules! over_slices {
    ($($(#[$doc:meta])+ $name:ident;)+) => {$(
        $(#[$doc])+
        pub fn $name(isa: Isa, x: &mut [f32]) {
            dispatch!(isa, s => map(
                s,
                x,
                #[inline(always)]
                |x| math::$name(s, x),
            ));
        }
    )+};
}

over_slices! {
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
    exp;

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
    ln;

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
    sigmoid;

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
    softplus_of_negative;

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
    tanh;

    /// Replaces each element by e to its power, less one: `x = e^x − 1`, for a slice of any length.
    ///
    /// At most [`MAX_EXPM1_ERROR_ULPS`](math::MAX_EXPM1_ERROR_ULPS) from the correctly rounded
    /// result. −1 at −∞, +∞ above 88.73; near 0 it keeps the digits that `e^x` loses.
    ///
    /// ```
    /// use microprop::{Isa, kernels};
    ///
    /// let mut x = [0.0, 1e-10, f32::NEG_INFINITY];
    /// kernels::expm1(Isa::detect(), &mut x);
    /// assert_eq!(x, [0.0, 1e-10, -1.0]);
    /// ```
    expm1;

    /// Replaces each element by its softplus: `x = ln(1 + e^x)`, for a slice of any length.
    ///
    /// At most [`MAX_SOFTPLUS_ERROR_ULPS`](math::MAX_SOFTPLUS_ERROR_ULPS) from the correctly rounded
    /// result.
    ///
    /// ```
    /// use microprop::{Isa, kernels};
    ///
    /// let mut x = [0.0, -200.0, 200.0];
    /// kernels::softplus(Isa::detect(), &mut x);
    /// assert_eq!(x, [std::f32::consts::LN_2, 0.0, 200.0]);
    /// ```
    softplus;

    /// Replaces each element by its SiLU: `x = x / (1 + e^−x)`, for a slice of any length.
    ///
    /// At most [`MAX_SILU_ERROR_ULPS`](math::MAX_SILU_ERROR_ULPS) from the correctly rounded
    /// result.
    ///
    /// ```
    /// use microprop::{Isa, kernels};
    ///
    /// let mut x = [0.0, 200.0, f32::NEG_INFINITY];
    /// kernels::silu(Isa::detect(), &mut x);
    /// assert_eq!(x, [0.0, 200.0, 0.0]);
    /// ```
    silu;

    /// Replaces each element by its GELU: `x = x · Φ(x)`, with the distribution function Φ of the
    /// standard normal distribution, for a
    /// slice of any length.
    ///
    /// At most [`MAX_GELU_ERROR_ULPS`](math::MAX_GELU_ERROR_ULPS) from the correctly rounded
    /// result.
    ///
    /// ```
    /// use microprop::{Isa, kernels};
    ///
    /// let mut x = [0.0, 200.0, f32::NEG_INFINITY];
    /// kernels::gelu(Isa::detect(), &mut x);
    /// assert_eq!(x, [0.0, 200.0, 0.0]);
    /// ```
    gelu;

    /// Replaces each element by GELU's tanh form: `x = ½x · (1 + tanh(√(2/π) · (x + 0.044715x³)))`, for a
    /// slice of any length.
    ///
    /// At most [`MAX_GELU_TANH_ERROR_ULPS`](math::MAX_GELU_TANH_ERROR_ULPS) from the correctly rounded
    /// result. It differs from [`gelu`] by up to 4.8e-4.
    ///
    /// ```
    /// use microprop::{Isa, kernels};
    ///
    /// let mut x = [0.0, 200.0, f32::NEG_INFINITY];
    /// kernels::gelu_tanh(Isa::detect(), &mut x);
    /// assert_eq!(x, [0.0, 200.0, 0.0]);
    /// ```
    gelu_tanh;

    /// Replaces each element by its mish: `x = x · tanh(ln(1 + e^x))`, for a slice of any length.
    ///
    /// At most [`MAX_MISH_ERROR_ULPS`](math::MAX_MISH_ERROR_ULPS) from the correctly rounded
    /// result.
    ///
    /// ```
    /// use microprop::{Isa, kernels};
    ///
    /// let mut x = [0.0, 200.0, f32::NEG_INFINITY];
    /// kernels::mish(Isa::detect(), &mut x);
    /// assert_eq!(x, [0.0, 200.0, 0.0]);
    /// ```
    mish;

    /// Replaces each element by its softsign: `x = x / (1 + |x|)`, for a slice of any length.
    ///
    /// At most [`MAX_SOFTSIGN_ERROR_ULPS`](math::MAX_SOFTSIGN_ERROR_ULPS) from the correctly rounded
    /// result.
    ///
    /// ```
    /// use microprop::{Isa, kernels};
    ///
    /// let mut x = [0.0, -1.0, f32::INFINITY];
    /// kernels::softsign(Isa::detect(), &mut x);
    /// assert_eq!(x, [0.0, -0.5, 1.0]);
    /// ```
    softsign;

    /// Replaces each element by its hard sigmoid: `x = min(max(x + 3, 0), 6) / 6`, for a slice of any length.
    ///
    /// At most [`MAX_HARD_SIGMOID_ERROR_ULPS`](math::MAX_HARD_SIGMOID_ERROR_ULPS) from the correctly rounded
    /// result.
    ///
    /// ```
    /// use microprop::{Isa, kernels};
    ///
    /// let mut x = [0.0, -3.0, 4.0];
    /// kernels::hard_sigmoid(Isa::detect(), &mut x);
    /// assert_eq!(x, [0.5, 0.0, 1.0]);
    /// ```
    hard_sigmoid;

    /// Replaces each element by its hard swish: `x = x · min(max(x + 3, 0), 6) / 6`, for a slice of any length.
    ///
    /// At most [`MAX_HARD_SWISH_ERROR_ULPS`](math::MAX_HARD_SWISH_ERROR_ULPS) from the correctly rounded
    /// result.
    ///
    /// ```
    /// use microprop::{Isa, kernels};
    ///
    /// let mut x = [1.5, -3.0, 4.0];
    /// kernels::hard_swish(Isa::detect(), &mut x);
    /// assert_eq!(x, [1.125, 0.0, 4.0]);
    /// ```
    hard_swish;
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
