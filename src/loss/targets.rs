//! Targets: what outputs should have been, and how much each counts.
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
use alloc::vec::Vec;

/// What the outputs should have been, and how much each sample and each output counts.
///
/// ```
/// # #[cfg(feature = "alloc")] {
/// use microprop::{Activation::*, Fit, Loss, Network, Sgd, Targets};
///
/// // Two outputs; the second was not measured in the first sample, and the last sample counts double.
/// let x = [0.0, 0.5, 1.0];
/// let measured = [0.1, f32::NAN, 0.2, 0.7, 0.3, 0.9];
/// let targets = Targets::values(&measured)
///     .with_mask(&[1.0, 0.0, 1.0, 1.0, 1.0, 1.0])
///     .with_sample_weights(&[1.0, 1.0, 2.0]);
/// let mut net = Network::new(1).dense(2, Linear).build()?;
/// net.fit(&x, targets, Fit::new(Loss::MeanSquaredError, Sgd::new(0.3)).epochs(1000))?;
/// let y = net.predict(&[0.75])?;
/// assert!((y[0] - 0.25).abs() < 0.02 && (y[1] - 0.8).abs() < 0.02, "{y:?}");
/// # }
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Targets<'a> {
    pub(crate) labels: Labels<'a>,
    /// `[batch]`.
    pub(crate) sample_weights: Option<&'a [f32]>,
    /// `[batch × outputs]`.
    pub(crate) mask: Option<&'a [f32]>,
}

/// The targets themselves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Labels<'a> {
    /// `[batch × outputs]`.
    Values(&'a [f32]),
    /// `[batch]`.
    Classes(&'a [u32]),
}

impl<'a> Targets<'a> {
    /// Values, `[batch × outputs]`, row-major.
    pub const fn values(values: &'a [f32]) -> Self {
        Self { labels: Labels::Values(values), sample_weights: None, mask: None }
    }

    /// The index of the right class for each sample, `[batch]`; for [`Loss::CrossEntropy`](crate::Loss::CrossEntropy).
    pub const fn classes(classes: &'a [u32]) -> Self {
        Self { labels: Labels::Classes(classes), sample_weights: None, mask: None }
    }

    /// The same with a weight for each sample, `[batch]`: the factor of all that the sample brings to the loss and to
    /// the gradient. The divisor of the mean stays, as in Keras: weights that do not average 1 change the step's size.
    #[must_use]
    pub const fn with_sample_weights(self, weights: &'a [f32]) -> Self {
        Self { sample_weights: Some(weights), ..self }
    }

    /// The same with a mask over the outputs, `[batch × outputs]`: 1 where a target counts, 0 where it does not.
    ///
    /// A masked target is not looked at (it may be NaN), brings nothing to the loss and nothing to the gradient, and a mean
    /// over outputs is over those that are left. A loss that is a mean over samples leaves out a sample only if all
    /// its outputs are masked; the cross-entropies take a masked target for 0, and a [custom loss](crate::LossFunction) has
    /// its samples left out whole or not at all. If nothing is left in a batch, its loss and its gradient are 0.
    #[must_use]
    pub const fn with_mask(self, mask: &'a [f32]) -> Self {
        Self { mask: Some(mask), ..self }
    }

    /// The targets before and from sample `sample` on.
    pub(crate) fn split_at(self, sample: usize, outputs: usize) -> (Self, Self) {
        let (labels, other_labels) = match self.labels {
            Labels::Values(values) => {
                let (before, after) = values.split_at(sample * outputs);
                (Labels::Values(before), Labels::Values(after))
            }
            Labels::Classes(classes) => {
                let (before, after) = classes.split_at(sample);
                (Labels::Classes(before), Labels::Classes(after))
            }
        };
        let split = |slice: Option<&'a [f32]>, at| slice.map(|slice| slice.split_at(at)).unzip();
        let (sample_weights, other_weights) = split(self.sample_weights, sample);
        let (mask, other_mask) = split(self.mask, sample * outputs);
        (
            Self { labels, sample_weights, mask },
            Self { labels: other_labels, sample_weights: other_weights, mask: other_mask },
        )
    }
}

macro_rules! targets_from {
    ($constructor:ident, $element:ty) => {
        impl<'a> From<&'a [$element]> for Targets<'a> {
            fn from(targets: &'a [$element]) -> Self {
                Self::$constructor(targets)
            }
        }

        impl<'a, const N: usize> From<&'a [$element; N]> for Targets<'a> {
            fn from(targets: &'a [$element; N]) -> Self {
                Self::$constructor(targets)
            }
        }

        #[cfg(feature = "alloc")]
        impl<'a> From<&'a Vec<$element>> for Targets<'a> {
            fn from(targets: &'a Vec<$element>) -> Self {
                Self::$constructor(targets)
            }
        }
    };
}

targets_from!(values, f32);
targets_from!(classes, u32);
