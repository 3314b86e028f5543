//! Activations: value and slope, side by side.
#![forbid(unsafe_code)]

use crate::math;
use crate::simd::{Lanes, Simd};
use core::fmt;

/// What a layer applies to its pre-activations `z = x·W + b`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Activation {
    /// `z`.
    Linear,
    /// `max(z, 0)`, as `if 0 > z { 0 } else { z }`: NaN and −0 pass. Its slope at 0 is 0.
    Relu,
    /// `z` above 0, else `slope · z`, with 0 ≤ slope ≤ 1. Its slope at 0 is `slope`.
    LeakyRelu {
        /// The slope below zero (Maas et al. 2013 use 0.01).
        slope: f32,
    },
    /// `z` above 0, else `alpha · (e^z − 1)`, with a finite alpha ≥ 0 (Clevert et al. 2015 use 1). Its slope
    /// above 0 is 1, else `alpha · e^z`, which is the value plus alpha.
    Elu {
        /// Minus the value at −∞.
        alpha: f32,
    },
    /// `λ · z` above 0, else `λ · α · (e^z − 1)`, λ = 1.0507009873554805 and α = 1.6732632423543772
    /// (Klambauer et al. 2017). Its slope above 0 is λ, else the value plus λα.
    Selu,
    /// `z · Φ(z)`, Φ the distribution function of the standard normal distribution (Hendrycks and Gimpel 2016).
    /// Its slope is `Φ(z) + z · φ(z)`, φ the density.
    Gelu,
    /// `½z · (1 + tanh(√(2/π) · (z + 0.044715z³)))`, GELU's approximation in the same paper: a function of
    /// its own, with its own slope.
    GeluTanh,
    /// `z · σ(z)` with the sigmoid σ (Elfwing et al. 2017; swish in Ramachandran et al. 2017). Its slope is
    /// `σ(z) · (1 + z · (1 − σ(z)))`.
    Silu,
    /// `z · tanh(ln(1 + e^z))` (Misra 2019). Its slope, with e = e^z, is
    /// `e · (4(z + 1) + (4z + 6) · e + 4e² + e³) / (e² + 2e + 2)²`.
    Mish,
    /// `ln(1 + e^z)` (Dugas et al. 2000). Its slope is the sigmoid, `1 − e^−y` of the value y.
    Softplus,
    /// `z / (1 + |z|)` (Bergstra et al. 2009). Its slope is `(1 − |y|)²` of the value y.
    Softsign,
    /// `1 / (1 + e^−z)`.
    Sigmoid,
    /// `min(max(z + 3, 0), 6) / 6`, as in PyTorch (Courbariaux et al. 2015 have other constants). Its slope is
    /// 1/6 where the value is neither 0 nor 1.
    HardSigmoid,
    /// `z · min(max(z + 3, 0), 6) / 6` (Howard et al. 2019). Its slope is 0 from −3 down, 1 from 3 up and
    /// `z / 3 + ½` between, as in PyTorch (before 2025 its slopes at ±3 were −½ and 1½).
    HardSwish,
    /// `tanh z`.
    Tanh,
    /// `e^zⱼ / Σₖ e^zₖ` over the outputs of a sample. For the last layer only.
    Softmax,
}

/// SELU's λ and λ · α.
const SELU_ABOVE: f32 = f32::from_bits(0x3f86_7d5f); // 0x1.0cfabep0
const SELU_BELOW: f32 = f32::from_bits(0x3fe1_0966); // 0x1.c212ccp0

impl Activation {
    const fn bit(self) -> u32 {
        match self {
            Self::Linear => 1,
            Self::Relu => 1 << 1,
            Self::LeakyRelu { .. } => 1 << 2,
            Self::Elu { .. } => 1 << 3,
            Self::Selu => 1 << 4,
            Self::Gelu => 1 << 5,
            Self::GeluTanh => 1 << 6,
            Self::Silu => 1 << 7,
            Self::Mish => 1 << 8,
            Self::Softplus => 1 << 9,
            Self::Softsign => 1 << 10,
            Self::Sigmoid => 1 << 11,
            Self::HardSigmoid => 1 << 12,
            Self::HardSwish => 1 << 13,
            Self::Tanh => 1 << 14,
            Self::Softmax => 1 << 15,
        }
    }

    /// Calls `f` with this activation where the compiler sees which one it is: the vectors of a loop don't pay for the choice.
    /// With one lane they do, once each, and the code is in the binary once.
    #[inline(always)]
    pub(crate) fn seen<S: Simd, R>(self, _: S, f: impl FnOnce(Self) -> R) -> R {
        if S::LANES == 1 {
            return f(self);
        }
        match self {
            Self::Linear => f(Self::Linear),
            Self::Relu => f(Self::Relu),
            Self::LeakyRelu { slope } => f(Self::LeakyRelu { slope }),
            Self::Elu { alpha } => f(Self::Elu { alpha }),
            Self::Selu => f(Self::Selu),
            Self::Gelu => f(Self::Gelu),
            Self::GeluTanh => f(Self::GeluTanh),
            Self::Silu => f(Self::Silu),
            Self::Mish => f(Self::Mish),
            Self::Softplus => f(Self::Softplus),
            Self::Softsign => f(Self::Softsign),
            Self::Sigmoid => f(Self::Sigmoid),
            Self::HardSigmoid => f(Self::HardSigmoid),
            Self::HardSwish => f(Self::HardSwish),
            Self::Tanh => f(Self::Tanh),
            Self::Softmax => f(Self::Softmax),
        }
    }

    /// Whether an element's value depends on that element alone.
    pub(crate) const fn is_elementwise(self) -> bool {
        !matches!(self, Self::Softmax)
    }

    /// Whether [`delta`](Self::delta) is told the pre-activation: the value does not determine the slope.
    pub(crate) const fn slopes_at_pre_activation(self) -> bool {
        matches!(self, Self::Gelu | Self::GeluTanh | Self::Silu | Self::Mish | Self::HardSwish)
    }

    /// The value at `z`. Softmax is not element-wise and passes through.
    #[inline(always)]
    pub(crate) fn value<S: Lanes>(self, s: S, z: S::Vector) -> S::Vector {
        match self {
            Self::Linear | Self::Softmax => z,
            Self::Relu => s.max(s.splat(0.0), z),
            Self::LeakyRelu { slope } => s.select(s.gt(z, s.splat(0.0)), z, s.mul(z, s.splat(slope))),
            Self::Elu { alpha } => s.select(s.gt(z, s.splat(0.0)), z, s.mul(math::expm1(s, z), s.splat(alpha))),
            Self::Selu => {
                let below = s.mul(math::expm1(s, z), s.splat(SELU_BELOW));
                s.select(s.gt(z, s.splat(0.0)), s.mul(z, s.splat(SELU_ABOVE)), below)
            }
            Self::Gelu => math::gelu(s, z),
            Self::GeluTanh => math::gelu_tanh(s, z),
            Self::Silu => math::silu(s, z),
            Self::Mish => math::mish(s, z),
            Self::Softplus => math::softplus(s, z),
            Self::Softsign => math::softsign(s, z),
            Self::Sigmoid => math::sigmoid(s, z),
            Self::HardSigmoid => math::hard_sigmoid(s, z),
            Self::HardSwish => math::hard_swish(s, z),
            Self::Tanh => math::tanh(s, z),
        }
    }

    /// `d · slope`, the slope at the point whose value is `at`, or whose pre-activation it is
    /// ([`slopes_at_pre_activation`](Self::slopes_at_pre_activation)). With y for the value:
    ///
    /// ReLU `if y > 0 { d } else { +0 }`; leaky ReLU `if y > 0 { d } else { d · slope }`;
    /// sigmoid `d · (y · (1 − y))`; tanh `d · (1 − y²)`, its bracket one `mul_add`;
    /// ELU `if y > 0 { d } else { d · (y + alpha) }`, SELU alike; softplus `d · −expm1(−y)`;
    /// softsign `d · (1 − |y|)²`; hard sigmoid `if 0 < y < 1 { d · ⅙ } else { +0 }`.
    #[inline(always)]
    pub(crate) fn delta<S: Lanes>(self, s: S, d: S::Vector, at: S::Vector) -> S::Vector {
        let zero = s.splat(0.0);
        match self {
            Self::Linear | Self::Softmax => d,
            Self::Relu => s.select(s.gt(at, zero), d, zero),
            Self::LeakyRelu { slope } => s.select(s.gt(at, zero), d, s.mul(d, s.splat(slope))),
            Self::Elu { alpha } => s.select(s.gt(at, zero), d, s.mul(d, s.add(at, s.splat(alpha)))),
            Self::Selu => {
                let below = s.add(at, s.splat(SELU_BELOW));
                s.mul(d, s.select(s.gt(at, zero), s.splat(SELU_ABOVE), below))
            }
            Self::Gelu => s.mul(d, math::gelu_slope(s, at)),
            Self::GeluTanh => s.mul(d, math::gelu_tanh_slope(s, at)),
            Self::Silu => s.mul(d, math::silu_slope(s, at)),
            Self::Mish => s.mul(d, math::mish_slope(s, at)),
            Self::Softplus => s.mul(d, s.neg(math::expm1(s, s.neg(at)))),
            Self::Softsign => {
                let rest = s.sub(s.splat(1.0), s.abs(at));
                s.mul(d, s.mul(rest, rest))
            }
            Self::Sigmoid => s.mul(d, s.mul(at, s.sub(s.splat(1.0), at))),
            Self::HardSigmoid => {
                let not_above = s.select(s.gt(s.splat(1.0), at), s.mul(d, s.splat(1.0 / 6.0)), zero);
                s.select(s.gt(at, zero), not_above, zero)
            }
            Self::HardSwish => s.mul(d, math::hard_swish_slope(s, at)),
            Self::Tanh => s.mul(d, s.mul_add(s.neg(at), at, s.splat(1.0))),
        }
    }
}

/// Some activations: those of a network's layers. A `static` network knows them at compile time, and leaves the others out of
/// the binary.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Activations(u32);

impl Activations {
    pub(crate) const NONE: Self = Self(0);

    /// These, and one more.
    pub(crate) const fn with(self, activation: Activation) -> Self {
        Self(self.0 | activation.bit())
    }

    #[inline(always)]
    const fn has(self, activation: Activation) -> bool {
        self.0 & activation.bit() != 0
    }

    /// The same activation, which is among these: what the compiler does not see among them it need not deal with.
    #[inline(always)]
    pub(crate) const fn known(self, activation: Activation) -> Activation {
        // Each by itself, or it would not see it.
        match activation {
            Activation::LeakyRelu { slope } if self.has(activation) => Activation::LeakyRelu { slope },
            Activation::Elu { alpha } if self.has(activation) => Activation::Elu { alpha },
            Activation::Relu if self.has(activation) => Activation::Relu,
            Activation::Selu if self.has(activation) => Activation::Selu,
            Activation::Gelu if self.has(activation) => Activation::Gelu,
            Activation::GeluTanh if self.has(activation) => Activation::GeluTanh,
            Activation::Silu if self.has(activation) => Activation::Silu,
            Activation::Mish if self.has(activation) => Activation::Mish,
            Activation::Softplus if self.has(activation) => Activation::Softplus,
            Activation::Softsign if self.has(activation) => Activation::Softsign,
            Activation::Sigmoid if self.has(activation) => Activation::Sigmoid,
            Activation::HardSigmoid if self.has(activation) => Activation::HardSigmoid,
            Activation::HardSwish if self.has(activation) => Activation::HardSwish,
            Activation::Tanh if self.has(activation) => Activation::Tanh,
            Activation::Softmax if self.has(activation) => Activation::Softmax,
            // No wildcard: one that is forgotten above would turn linear.
            Activation::Linear
            | Activation::LeakyRelu { .. }
            | Activation::Elu { .. }
            | Activation::Relu
            | Activation::Selu
            | Activation::Gelu
            | Activation::GeluTanh
            | Activation::Silu
            | Activation::Mish
            | Activation::Softplus
            | Activation::Softsign
            | Activation::Sigmoid
            | Activation::HardSigmoid
            | Activation::HardSwish
            | Activation::Tanh
            | Activation::Softmax => Activation::Linear,
        }
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Linear => "linear",
            Self::Relu => "ReLU",
            Self::LeakyRelu { .. } => "leaky ReLU",
            Self::Elu { .. } => "ELU",
            Self::Selu => "SELU",
            Self::Gelu => "GELU",
            Self::GeluTanh => "GELU (tanh form)",
            Self::Silu => "SiLU",
            Self::Mish => "mish",
            Self::Softplus => "softplus",
            Self::Softsign => "softsign",
            Self::Sigmoid => "sigmoid",
            Self::HardSigmoid => "hard sigmoid",
            Self::HardSwish => "hard swish",
            Self::Tanh => "tanh",
            Self::Softmax => "softmax",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;
    use crate::simd::dispatch;
    use core::f64::consts::{FRAC_1_SQRT_2, PI, TAU};

    /// The activations whose slope can be wrong.
    const CURVED: [Activation; 12] = [
        Activation::Elu { alpha: 0.7 },
        Activation::Selu,
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::Silu,
        Activation::Mish,
        Activation::Softplus,
        Activation::Softsign,
        Activation::Sigmoid,
        Activation::HardSigmoid,
        Activation::HardSwish,
        Activation::Tanh,
    ];

    fn sigmoid(z: f64) -> f64 {
        1.0 / (1.0 + (-z).exp())
    }

    /// The slope at z as a sum of two addends: where they cancel, the error is relative to them. For a slope
    /// found from the value, the first is also what the value's rounding is relative to.
    fn slope(activation: Activation, z: f64) -> (f64, f64) {
        match activation {
            Activation::Elu { .. } if z > 0.0 => (1.0, 0.0),
            Activation::Elu { alpha } => (f64::from(alpha), f64::from(alpha) * z.exp_m1()),
            Activation::Selu if z > 0.0 => (1.050_700_987_355_480_5, 0.0),
            Activation::Selu => (1.758_099_340_847_376_8, 1.758_099_340_847_376_8 * z.exp_m1()),
            Activation::Gelu => (0.5 * libm::erfc(-z * FRAC_1_SQRT_2), z * (-0.5 * z * z).exp() / TAU.sqrt()),
            Activation::GeluTanh => {
                let w = (8.0 / PI).sqrt() * (z + 0.044_715 * z * z * z);
                let slope = (8.0 / PI).sqrt() * (1.0 + 3.0 * 0.044_715 * z * z);
                (sigmoid(w), z * slope * sigmoid(w) * sigmoid(-w))
            }
            Activation::Silu => (sigmoid(z), z * sigmoid(z) * sigmoid(-z)),
            Activation::Mish => {
                let softplus = z.max(0.0) + (-z.abs()).exp().ln_1p();
                (softplus.tanh(), z * sigmoid(z) / softplus.cosh().powi(2))
            }
            Activation::Softplus => (sigmoid(z), 0.0),
            Activation::Softsign => (1.0, (1.0 + z.abs()).powi(-2) - 1.0),
            Activation::Sigmoid => (1.0, sigmoid(z) * sigmoid(-z) - 1.0),
            Activation::HardSigmoid => (if z.abs() < 3.0 { 1.0 / 6.0 } else { 0.0 }, 0.0),
            Activation::HardSwish if z.abs() < 3.0 => (0.5, z / 3.0),
            Activation::HardSwish => (if z > 0.0 { 1.0 } else { 0.0 }, 0.0),
            _ => (1.0, -z.tanh().powi(2)),
        }
    }

    /// d·slope by way of the value, as a step computes it.
    fn found(isa: Isa, activation: Activation, d: f32, z: f32) -> f32 {
        dispatch!(isa, s => delta_at(s, activation, d, z))
    }

    #[inline(always)]
    fn delta_at<S: Simd>(s: S, activation: Activation, d: f32, z: f32) -> f32 {
        let z = s.splat(z);
        let at = if activation.slopes_at_pre_activation() { z } else { activation.value(s, z) };
        let mut delta = [0.0];
        s.store_part(activation.delta(s, s.splat(d), at), &mut delta);
        delta[0]
    }

    #[test]
    fn slopes_are_right() {
        let sizes = (0..0x7f80_0000_u32).step_by(400_009).map(f32::from_bits);
        let moderate = (0..4000_u16).map(|i| f32::from(i) * 0.0037);
        let z: Vec<f32> = sizes.chain(moderate).flat_map(|z| [z, -z]).collect();
        for activation in CURVED {
            for isa in Isa::available() {
                for &z in &z {
                    let (a, b) = slope(activation, f64::from(z));
                    let bound = 10.0 * f64::from(f32::EPSILON) * (a.abs() + b.abs()) + 1e-44;
                    let found = found(isa, activation, 1.0, z);
                    let error = (f64::from(found) - (a + b)).abs();
                    assert!(error <= bound, "{activation} at {z:e} on {isa}: {found:e}, not {:e}", a + b);
                }
            }
        }
    }

    /// Limits are met, not passed by way of 0 · ∞.
    #[test]
    fn slopes_end() {
        for activation in CURVED {
            let above = match activation {
                Activation::Softsign | Activation::Sigmoid | Activation::HardSigmoid | Activation::Tanh => 0.0,
                Activation::Selu => SELU_ABOVE,
                _ => 1.0,
            };
            for isa in Isa::available() {
                for z in [1e30, f32::MAX, f32::INFINITY] {
                    assert_eq!(found(isa, activation, 1.0, z), above, "{activation} at {z:e} on {isa}");
                    assert_eq!(found(isa, activation, 1.0, -z), 0.0, "{activation} at {:e} on {isa}", -z);
                }
            }
        }
    }

    #[test]
    fn what_is_among_some_is_known() {
        let others = [Activation::Relu, Activation::LeakyRelu { slope: 0.3 }, Activation::Softmax];
        for activation in CURVED.into_iter().chain(others) {
            let some = Activations::NONE.with(Activation::Linear).with(activation);
            assert_eq!(some.known(activation), activation);
            assert_eq!(some.known(Activation::Linear), Activation::Linear);
            assert_eq!(Activations::NONE.known(activation), Activation::Linear, "{activation}");
        }
    }

    #[test]
    fn kinks_are_those_of_pytorch() {
        for isa in Isa::available() {
            for (activation, z, slope) in [
                (Activation::HardSigmoid, -3.0, 0.0),
                (Activation::HardSigmoid, 3.0, 0.0),
                (Activation::HardSwish, -3.0, 0.0),
                (Activation::HardSwish, 3.0, 1.0),
                (Activation::Elu { alpha: 0.5 }, 0.0, 0.5),
                (Activation::Selu, 0.0, SELU_BELOW),
            ] {
                assert_eq!(found(isa, activation, 1.0, z), slope, "{activation} at {z} on {isa}");
            }
        }
    }
}
