//! Losses: value, and delta at the output.
#![forbid(unsafe_code)]

use crate::activation::Activation;
use crate::error::{Buffer, StepError, TrainerError};
#[cfg(feature = "alloc")]
use alloc::vec::Vec;
use core::fmt;

/// What training makes small. n is the number of samples, y an output, t its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Loss {
    /// `1/(2n) · Σ (y − t)²` over samples and outputs: the textbook's (Nielsen 2015, eq. 6).
    HalfMeanSquaredError,
    /// The mean of `(y − t)²` over samples and outputs.
    MeanSquaredError,
    /// The mean of `−t·ln y − (1 − t)·ln(1 − y)` over samples and outputs, for
    /// sigmoid outputs. Targets are probabilities, 0 ≤ t ≤ 1: outside, the loss has
    /// no minimum, and they are an error (as in PyTorch's `BCELoss`). Worked out from the pre-activations, so it is accurate however large a logit is.
    BinaryCrossEntropy,
    /// The mean of `−Σⱼ tⱼ·ln yⱼ` over samples, for softmax outputs. Targets are
    /// class indices, or values: one-hot rows, probabilities, or rows scaled by
    /// weights of any sign, as policy gradients have them. Worked out from the
    /// pre-activations, so it is accurate however large a logit is.
    CrossEntropy,
}

/// What the outputs should have been.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Targets<'a> {
    /// Values, `[batch × outputs]`, row-major.
    Values(&'a [f32]),
    /// The index of the right class for each sample, `[batch]`; for [`Loss::CrossEntropy`].
    Classes(&'a [u32]),
}

impl Loss {
    /// Checks that this loss makes sense on outputs of `activation`.
    ///
    /// The squared errors go with every activation, binary cross-entropy with
    /// sigmoid, cross-entropy with softmax.
    ///
    /// # Errors
    /// [`TrainerError::LossOnActivation`].
    pub const fn check(self, activation: Activation) -> Result<(), TrainerError> {
        match (self, activation) {
            (Self::HalfMeanSquaredError | Self::MeanSquaredError, _)
            | (Self::BinaryCrossEntropy, Activation::Sigmoid)
            | (Self::CrossEntropy, Activation::Softmax) => Ok(()),
            (loss, activation) => Err(TrainerError::LossOnActivation { loss, activation }),
        }
    }

    /// Whether it starts from pre-activations, the output activation fused into it.
    pub(crate) const fn is_fused(self) -> bool {
        matches!(self, Self::BinaryCrossEntropy | Self::CrossEntropy)
    }

    /// Where the last layer stops: before its activation if the loss takes it from there.
    pub(crate) const fn top(self, activation: Activation) -> Activation {
        if self.is_fused() || !activation.is_elementwise() { Activation::Linear } else { activation }
    }

    /// How many addends a sample brings to the sum of the loss.
    pub(crate) const fn terms_per_sample(self, outputs: usize) -> usize {
        match self {
            Self::CrossEntropy => 1,
            _ => outputs,
        }
    }

    /// The number that the sum of the addends is divided by.
    pub(crate) fn divisor(self, batch: usize, outputs: usize) -> f32 {
        match self {
            Self::HalfMeanSquaredError => 2.0 * batch as f32,
            Self::MeanSquaredError | Self::BinaryCrossEntropy => batch as f32 * outputs as f32,
            Self::CrossEntropy => batch as f32,
        }
    }

    /// The factor of the raw delta (y − t): the derivative's constant over the divisor.
    pub(crate) fn delta_scale(self, batch: usize, outputs: usize) -> f32 {
        match self {
            Self::HalfMeanSquaredError | Self::CrossEntropy => 1.0 / batch as f32,
            Self::MeanSquaredError => 2.0 / (batch as f32 * outputs as f32),
            Self::BinaryCrossEntropy => 1.0 / (batch as f32 * outputs as f32),
        }
    }

    /// Checks the targets of a batch.
    pub(crate) fn check_targets(self, targets: Targets<'_>, batch: usize, outputs: usize) -> Result<(), StepError> {
        match targets {
            Targets::Values(values) => {
                StepError::check(Buffer::Targets, batch * outputs, values.len())?;
                // No early exit, so that it is a few vector operations.
                let outside = |t: f32| !(0.0..=1.0).contains(&t);
                if self == Self::BinaryCrossEntropy && values.iter().fold(false, |any, &t| any | outside(t)) {
                    let index = values.iter().position(|&t| outside(t)).unwrap_or(0);
                    return Err(StepError::Probability { index, found: values[index] });
                }
                Ok(())
            }
            Targets::Classes(_) if self != Self::CrossEntropy => Err(StepError::ClassTargets { loss: self }),
            Targets::Classes(classes) => {
                StepError::check(Buffer::Targets, batch, classes.len())?;
                match classes.iter().position(|&class| class as u64 >= outputs as u64) {
                    Some(sample) => Err(StepError::Class { sample, found: classes[sample], classes: outputs }),
                    None => Ok(()),
                }
            }
        }
    }
}

macro_rules! targets_from {
    ($kind:ident, $element:ty) => {
        impl<'a> From<&'a [$element]> for Targets<'a> {
            fn from(targets: &'a [$element]) -> Self {
                Self::$kind(targets)
            }
        }

        impl<'a, const N: usize> From<&'a [$element; N]> for Targets<'a> {
            fn from(targets: &'a [$element; N]) -> Self {
                Self::$kind(targets)
            }
        }

        #[cfg(feature = "alloc")]
        impl<'a> From<&'a Vec<$element>> for Targets<'a> {
            fn from(targets: &'a Vec<$element>) -> Self {
                Self::$kind(targets)
            }
        }
    };
}

targets_from!(Values, f32);
targets_from!(Classes, u32);

impl<'a> Targets<'a> {
    /// The targets before and from sample `sample` on.
    pub(crate) fn split_at(self, sample: usize, outputs: usize) -> (Self, Self) {
        match self {
            Self::Values(values) => {
                let (before, after) = values.split_at(sample * outputs);
                (Self::Values(before), Self::Values(after))
            }
            Self::Classes(classes) => {
                let (before, after) = classes.split_at(sample);
                (Self::Classes(before), Self::Classes(after))
            }
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HalfMeanSquaredError => "half mean squared error",
            Self::MeanSquaredError => "mean squared error",
            Self::BinaryCrossEntropy => "binary cross-entropy",
            Self::CrossEntropy => "cross-entropy",
        })
    }
}
