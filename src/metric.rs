//! Metrics: what is reported beside the loss, and trains nothing.
#![forbid(unsafe_code)]

use crate::activation::Activation;
use crate::loss::Targets;
use core::fmt;

/// A figure of merit over samples, as Keras defines it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Metric {
    /// The share of samples that are classified right. With several outputs the
    /// class is the largest of them (the first of equals), and so it is among target
    /// values; with one output (that is no softmax) it is whether that is above 0.5.
    Accuracy,
    /// The share of outputs that are on the right side of 0.5: for samples that may
    /// have several labels at once.
    BinaryAccuracy,
}

impl Metric {
    /// How many of `outputs: [samples × width]`, of a last layer with this activation,
    /// are right, and of how many.
    pub(crate) fn count(
        self,
        outputs: &[f32],
        activation: Activation,
        targets: Targets<'_>,
        width: usize,
    ) -> (usize, usize) {
        let class_of = |values: &[f32]| class_of(values, activation);
        match (self, targets) {
            (Self::Accuracy, Targets::Classes(classes)) => {
                let right = outputs.chunks_exact(width).zip(classes).filter(|&(y, &class)| class_of(y) == class);
                (right.count(), classes.len())
            }
            (Self::Accuracy, Targets::Values(values)) => {
                let samples = outputs.chunks_exact(width).zip(values.chunks_exact(width));
                (samples.filter(|(y, t)| class_of(y) == class_of(t)).count(), outputs.len() / width)
            }
            (Self::BinaryAccuracy, Targets::Values(values)) => {
                (outputs.iter().zip(values).filter(|&(&y, &t)| (y > 0.5) == (t > 0.5)).count(), outputs.len())
            }
            (Self::BinaryAccuracy, Targets::Classes(classes)) => {
                let right = |(y, &class): (&[f32], &u32)| {
                    (0..).zip(y).filter(|&(index, &y)| (y > 0.5) == (index == class)).count()
                };
                (outputs.chunks_exact(width).zip(classes).map(right).sum(), outputs.len())
            }
        }
    }
}

/// The class that a sample's outputs, or its target values, name: see [`Metric::Accuracy`].
pub(crate) fn class_of(values: &[f32], activation: Activation) -> u32 {
    match *values {
        [probability] if activation != Activation::Softmax => u32::from(probability > 0.5),
        _ => {
            let mut best = (0, f32::NEG_INFINITY);
            for (class, &y) in (0..).zip(values) {
                if y > best.1 {
                    best = (class, y);
                }
            }
            best.0
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accuracy => "accuracy",
            Self::BinaryAccuracy => "binary_accuracy",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accuracy_counts_samples_and_binary_accuracy_outputs() {
        let outputs = [0.1, 0.7, 0.2, 0.6, 0.3, 0.6];
        let classes = Targets::Classes(&[1, 2]);
        let one_hot = Targets::Values(&[0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
        for targets in [classes, one_hot] {
            // Of two equal outputs the first is the class.
            assert_eq!(Metric::Accuracy.count(&outputs, Activation::Softmax, targets, 3), (1, 2));
            assert_eq!(Metric::BinaryAccuracy.count(&outputs, Activation::Sigmoid, targets, 3), (5, 6));
        }
        let column = Targets::Values(&[1.0, 0.0, 1.0]);
        for metric in [Metric::Accuracy, Metric::BinaryAccuracy] {
            assert_eq!(metric.count(&[0.9, 0.5, 0.5], Activation::Sigmoid, column, 1), (2, 3));
        }
        // A softmax over one output has one class, and is always right.
        let only = Targets::Classes(&[0]);
        assert_eq!(Metric::Accuracy.count(&[1.0], Activation::Softmax, only, 1), (1, 1));
    }
}
