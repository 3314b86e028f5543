//! Functions of each element, in place.
#![forbid(unsafe_code)]

use crate::Isa;
use crate::math;
use crate::simd::{Four, Lanes, Simd, dispatch};

/// A public function over a slice for each of [`math`]'s that are named.
macro_rules! over_slices {
    ($($(#[$doc:meta])+ $name:ident;)+) => {$(
        $(#[$doc])+
        pub fn $name(isa: Isa, x: &mut [f32]) {
            struct Named;
            impl Function for Named {
                #[inline(always)]
                fn at<L: Lanes>(&self, l: L, x: L::Vector) -> L::Vector {
                    math::$name(l, x)
                }
            }
            dispatch!(isa, s => map_fours(s, x, &Named));
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

/// A function of each element by itself.
pub(super) trait Function {
    /// Its values at the lanes of `x`.
    fn at<L: Lanes>(&self, l: L, x: L::Vector) -> L::Vector;
}

/// `x = f(x)`, four registers at a time, since one waits for itself most of the time. (A compiler makes vectors of a
/// single lane's loop, and would not of such.)
#[inline(always)]
pub(super) fn map_fours<S: Simd>(s: S, mut x: &mut [f32], f: &impl Function) {
    if const { S::LANES > 1 } {
        let (fours, rest) = x.split_at_mut(x.len() - x.len() % (4 * S::LANES));
        for four in S::chunks_mut(fours).0.as_chunks_mut::<4>().0 {
            let [a, b, c, d] = four;
            let y = f.at(Four(s), [s.load(a), s.load(b), s.load(c), s.load(d)]);
            s.store(y[0], a);
            s.store(y[1], b);
            s.store(y[2], c);
            s.store(y[3], d);
        }
        x = rest;
    }
    map(
        s,
        x,
        #[inline(always)]
        |x| f.at(s, x),
    );
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

#[cfg(test)]
mod tests {
    use super::{exp, gelu, tanh};
    use crate::{Isa, Rng};

    /// Alone, beside others of its register, and beside other registers; lengths with a rest of each kind.
    #[test]
    fn where_an_element_lies_changes_no_bit() {
        let mut rng = Rng::new(1);
        let numbers: Vec<f32> =
            (0..200).map(|n| if n % 50 == 49 { f32::NAN } else { 16.0 * rng.uniform() - 8.0 }).collect();
        let bits = |x: &[f32]| -> Vec<u32> { x.iter().map(|x| x.to_bits()).collect() };
        for isa in Isa::available() {
            for function in [exp, gelu, tanh] {
                let mut alone = numbers.clone();
                alone.chunks_mut(1).for_each(|x| function(isa, x));
                for len in (0..=numbers.len()).rev().step_by(7) {
                    let mut together = numbers[..len].to_vec();
                    function(isa, &mut together);
                    assert_eq!(bits(&together), bits(&alone[..len]), "{isa}, {len}");
                }
            }
        }
    }
}
