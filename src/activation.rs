//! Activations: value and slope, side by side.
#![forbid(unsafe_code)]

use crate::math;
use crate::simd::Simd;
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
    pub(crate) fn value<S: Simd>(self, s: S, z: S::Vector) -> S::Vector {
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
    pub(crate) fn delta<S: Simd>(self, s: S, d: S::Vector, at: S::Vector) -> S::Vector {
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
