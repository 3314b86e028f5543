//! Metrics: what is reported beside the loss, and trains nothing.
#![forbid(unsafe_code)]

use crate::activation::Activation;
use crate::loss::{Labels, Targets};
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
        let labels = targets.labels;
        if let Some(mask) = targets.mask {
            return self.count_left(outputs, activation, labels, mask, width);
        }
        let class_of = |values: &[f32]| class_of(values, activation);
        match (self, labels) {
            (Self::Accuracy, Labels::Classes(classes)) => {
                let right = outputs.chunks_exact(width).zip(classes).filter(|&(y, &class)| class_of(y) == class);
                (right.count(), classes.len())
            }
            (Self::Accuracy, Labels::Values(values)) => {
                let samples = outputs.chunks_exact(width).zip(values.chunks_exact(width));
                (samples.filter(|(y, t)| class_of(y) == class_of(t)).count(), outputs.len() / width)
            }
            (Self::BinaryAccuracy, Labels::Values(values)) => {
                (outputs.iter().zip(values).filter(|&(&y, &t)| (y > 0.5) == (t > 0.5)).count(), outputs.len())
            }
            (Self::BinaryAccuracy, Labels::Classes(classes)) => {
                let right = |(y, &class): (&[f32], &u32)| {
                    (0..).zip(y).filter(|&(index, &y)| (y > 0.5) == (index == class)).count()
                };
                (outputs.chunks_exact(width).zip(classes).map(right).sum(), outputs.len())
            }
        }
    }

    /// [`count`](Self::count) under a mask: of the outputs it leaves, or of the samples of which it leaves any.
    fn count_left(
        self,
        outputs: &[f32],
        activation: Activation,
        labels: Labels<'_>,
        mask: &[f32],
        width: usize,
    ) -> (usize, usize) {
        let (mut right, mut of) = (0, 0);
        for (sample, (y, mask)) in outputs.chunks_exact(width).zip(mask.chunks_exact(width)).enumerate() {
            let target = |index: usize| match labels {
                Labels::Values(values) => values[sample * width + index],
                Labels::Classes(classes) => f32::from(u8::from(classes[sample] as usize == index)),
            };
            let left = |&index: &usize| mask[index] > 0.0;
            match self {
                Self::BinaryAccuracy => {
                    of += (0..width).filter(left).count();
                    right += (0..width).filter(left).filter(|&index| (y[index] > 0.5) == (target(index) > 0.5)).count();
                }
                Self::Accuracy if (0..width).any(|index| left(&index)) => {
                    let class = |value: &dyn Fn(usize) -> f32| match width {
                        1 if activation != Activation::Softmax => usize::from(value(0) > 0.5),
                        // The first of the largest.
                        _ => (0..width)
                            .filter(left)
                            .fold(None, |best: Option<usize>, index| match best {
                                Some(best) if value(index) > value(best) => Some(index),
                                best => best.or(Some(index)),
                            })
                            .unwrap_or(0),
                    };
                    of += 1;
                    right += usize::from(class(&|index| y[index]) == class(&target));
                }
                Self::Accuracy => {}
            }
        }
        (right, of)
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
        let classes = Targets::classes(&[1, 2]);
        let one_hot = Targets::values(&[0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
        for targets in [classes, one_hot] {
            // Of two equal outputs the first is the class.
            assert_eq!(Metric::Accuracy.count(&outputs, Activation::Softmax, targets, 3), (1, 2));
            assert_eq!(Metric::BinaryAccuracy.count(&outputs, Activation::Sigmoid, targets, 3), (5, 6));
        }
        let column = Targets::values(&[1.0, 0.0, 1.0]);
        for metric in [Metric::Accuracy, Metric::BinaryAccuracy] {
            assert_eq!(metric.count(&[0.9, 0.5, 0.5], Activation::Sigmoid, column, 1), (2, 3));
        }
        // Of the first sample the right output is masked, of the third all.
        let targets = one_hot.with_mask(&[1.0, 0.0, 1.0, 0.0, 1.0, 1.0]);
        assert_eq!(Metric::Accuracy.count(&outputs, Activation::Softmax, targets, 3), (1, 2));
        assert_eq!(Metric::BinaryAccuracy.count(&outputs, Activation::Sigmoid, targets, 3), (4, 4));
        let targets = classes.with_mask(&[0.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
        assert_eq!(Metric::Accuracy.count(&outputs, Activation::Softmax, targets, 3), (0, 1));
        assert_eq!(Metric::BinaryAccuracy.count(&outputs, Activation::Sigmoid, targets, 3), (2, 3));
        // A softmax over one output has one class, and is always right.
        let only = Targets::classes(&[0]);
        assert_eq!(Metric::Accuracy.count(&[1.0], Activation::Softmax, only, 1), (1, 1));
    }
}
