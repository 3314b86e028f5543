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
    /// `1 / (1 + e^−z)`.
    Sigmoid,
    /// `tanh z`.
    Tanh,
    /// `e^zⱼ / Σₖ e^zₖ` over the outputs of a sample. For the last layer only.
    Softmax,
}

impl Activation {
    /// Whether an element's value depends on that element alone.
    pub(crate) const fn is_elementwise(self) -> bool {
        !matches!(self, Self::Softmax)
    }

    /// Whether its slope is taken at the pre-activation: it does not follow from the value.
    pub(crate) const fn slopes_at_pre_activation(self) -> bool {
        false
    }

    /// The value at `z`. Softmax is not element-wise and passes through.
    #[inline(always)]
    pub(crate) fn value<S: Simd>(self, s: S, z: S::Vector) -> S::Vector {
        match self {
            Self::Linear | Self::Softmax => z,
            Self::Relu => s.max(s.splat(0.0), z),
            Self::LeakyRelu { slope } => s.select(s.gt(z, s.splat(0.0)), z, s.mul(z, s.splat(slope))),
            Self::Sigmoid => math::sigmoid(s, z),
            Self::Tanh => math::tanh(s, z),
        }
    }

    /// `d · slope`, where the slope is that at the point whose value is `y`:
    ///
    /// ReLU `if y > 0 { d } else { +0 }`; leaky ReLU `if y > 0 { d } else { d · slope }`;
    /// sigmoid `d · (y · (1 − y))`; tanh `d · (1 − y²)`, its bracket one `mul_add`.
    #[inline(always)]
    pub(crate) fn delta<S: Simd>(self, s: S, d: S::Vector, y: S::Vector) -> S::Vector {
        match self {
            Self::Linear | Self::Softmax => d,
            Self::Relu => s.select(s.gt(y, s.splat(0.0)), d, s.splat(0.0)),
            Self::LeakyRelu { slope } => s.select(s.gt(y, s.splat(0.0)), d, s.mul(d, s.splat(slope))),
            Self::Sigmoid => s.mul(d, s.mul(y, s.sub(s.splat(1.0), y))),
            Self::Tanh => s.mul(d, s.mul_add(s.neg(y), y, s.splat(1.0))),
        }
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Linear => "linear",
            Self::Relu => "ReLU",
            Self::LeakyRelu { .. } => "leaky ReLU",
            Self::Sigmoid => "sigmoid",
            Self::Tanh => "tanh",
            Self::Softmax => "softmax",
        })
    }
}
