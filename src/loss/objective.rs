//! A loss with its targets and weights: what a batch is checked for, and what its mean is over.
#![forbid(unsafe_code)]

use super::{Labels, Loss, TargetRange, Targets};
use crate::error::{Buffer, StepError};
use crate::parts;

/// What a loss is worked out from, beside the outputs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Objective<'a> {
    pub(crate) loss: Loss<'a>,
    pub(crate) targets: Targets<'a>,
    /// The weight of each class; of one output two, for targets up to 0.5 and above.
    pub(crate) class_weights: Option<&'a [f32]>,
}

impl Objective<'_> {
    /// Checks the targets of a batch and their weights.
    pub(crate) fn check(&self, batch: usize, outputs: usize) -> Result<(), StepError> {
        let Self { loss, targets: Targets { labels, sample_weights, mask }, class_weights } = *self;
        match labels {
            Labels::Classes(_) if !loss.takes_classes() => return Err(StepError::ClassTargets { loss: loss.name() }),
            Labels::Classes(classes) => {
                StepError::check(Buffer::Targets, batch, classes.len())?;
                let outside = |&(_, &class): &(usize, &u32)| class as u64 >= outputs as u64;
                if let Some((sample, &found)) = classes.iter().enumerate().find(outside) {
                    return Err(StepError::Class { sample, found, classes: outputs });
                }
            }
            Labels::Values(_) if class_weights.is_some() && outputs > 1 => {
                return Err(StepError::ClassWeights { outputs });
            }
            Labels::Values(values) => StepError::check(Buffer::Targets, batch * outputs, values.len())?,
        }
        if let Some(weights) = sample_weights {
            StepError::check(Buffer::SampleWeights, batch, weights.len())?;
        }
        if let Some(mask) = mask {
            self.check_mask(mask, batch, outputs)?;
        }
        let Labels::Values(values) = labels else { return Ok(()) };
        match loss.target_range() {
            TargetRange::Any => Ok(()),
            TargetRange::Probability => self.check_values(
                values,
                |t| !(0.0..=1.0).contains(&t),
                |index, found| StepError::Probability { index, found },
            ),
            TargetRange::Sign => {
                self.check_values(values, |t| t.abs() != 1.0, |index, found| StepError::Sign { index, found })
            }
            TargetRange::NotNegative => self.check_values(
                values,
                |t| t.is_nan() || t < 0.0,
                |index, found| StepError::Negative { index, found },
            ),
        }
    }

    fn check_mask(&self, mask: &[f32], batch: usize, outputs: usize) -> Result<(), StepError> {
        StepError::check(Buffer::Mask, batch * outputs, mask.len())?;
        if let Some(index) = mask.iter().position(|&m| m != 0.0 && m != 1.0) {
            return Err(StepError::Mask { index, found: mask[index] });
        }
        let partial = |row: &[f32]| row.iter().any(|&m| m != row[0]);
        match mask.chunks_exact(outputs).position(partial) {
            Some(sample) if matches!(self.loss, Loss::Custom(_)) => Err(StepError::PartialMask { sample }),
            _ => Ok(()),
        }
    }

    /// An error for the first of the targets, masked ones left out, that is `outside`.
    fn check_values(
        &self,
        values: &[f32],
        outside: impl Fn(f32) -> bool,
        error: impl Fn(usize, f32) -> StepError,
    ) -> Result<(), StepError> {
        // No early exit, so that it is a few vector operations.
        let index = match self.targets.mask {
            None if !values.iter().fold(false, |any, &t| any | outside(t)) => None,
            None => values.iter().position(|&t| outside(t)),
            Some(mask) => values.iter().zip(mask).position(|(&t, &m)| m > 0.0 && outside(t)),
        };
        index.map_or(Ok(()), |index| Err(error(index, parts::element(values, index))))
    }

    /// Of how many samples, or of how many outputs of all samples, the mean is; at least 1.
    pub(crate) fn count(&self, batch: usize, outputs: usize) -> f32 {
        match (self.left(outputs), self.loss.is_mean_over_samples()) {
            (Some(left), _) => left.max(1) as f32,
            (None, true) => batch as f32,
            (None, false) => batch as f32 * outputs as f32,
        }
    }

    /// How many samples or outputs a mask leaves, if there is one.
    pub(crate) fn left(&self, outputs: usize) -> Option<usize> {
        let mask = self.targets.mask?;
        Some(match self.loss.is_mean_over_samples() {
            true => mask.chunks_exact(outputs).filter(|row| row.iter().any(|&m| m > 0.0)).count(),
            false => mask.iter().filter(|&&m| m > 0.0).count(),
        })
    }

    /// Whether samples have weights.
    pub(crate) fn is_weighted(&self) -> bool {
        self.targets.sample_weights.is_some() || self.class_weights.is_some()
    }

    /// The weight of a sample: its own times that of its class.
    pub(crate) fn weight(&self, sample: usize) -> f32 {
        let of_class = |weights: &[f32]| match self.targets.labels {
            Labels::Classes(classes) => weights[classes[sample] as usize],
            Labels::Values(values) => weights[usize::from(values[sample] > 0.5)],
        };
        match (self.targets.sample_weights, self.class_weights) {
            (Some(weights), Some(classes)) => weights[sample] * of_class(classes),
            (Some(weights), None) => weights[sample],
            (None, Some(classes)) => of_class(classes),
            (None, None) => 1.0,
        }
    }

    /// The samples before and from `sample` on.
    pub(crate) fn split_at(self, sample: usize, outputs: usize) -> (Self, Self) {
        let (targets, others) = self.targets.split_at(sample, outputs);
        (Self { targets, ..self }, Self { targets: others, ..self })
    }
}
