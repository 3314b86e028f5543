//! Samples: rows of inputs with their targets, borrowed; whole, split, or batch by batch.
#![forbid(unsafe_code)]

use crate::error::StepError;
use crate::kernels;
use crate::layout::Layout;
use crate::loss::{Labels, Objective, Targets};
use crate::rng::Rng;
use alloc::vec::Vec;
use core::ops::Range;

/// Inputs and targets that fit a network and its loss.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Samples<'a> {
    /// `[len × inputs]`.
    x: &'a [f32],
    targets: Targets<'a>,
    inputs: usize,
    outputs: usize,
}

impl<'a> Samples<'a> {
    /// Checks that there is at least one sample, that each has its categories and a target, and that
    /// the loss can do something with it.
    pub(crate) fn new(x: &'a [f32], objective: Objective<'a>, layout: &Layout<'_>) -> Result<Self, StepError> {
        let (inputs, outputs) = (layout.inputs(), layout.outputs());
        let len = kernels::batch_of(x, inputs)?;
        layout.check_categories(x)?;
        objective.check(len, outputs)?;
        Ok(Self { x, targets: objective.targets, inputs, outputs })
    }

    /// Number of samples.
    pub(crate) fn len(&self) -> usize {
        self.x.len() / self.inputs
    }

    pub(crate) fn x(&self) -> &'a [f32] {
        self.x
    }

    pub(crate) fn targets(&self) -> Targets<'a> {
        self.targets
    }

    /// Consecutive samples.
    pub(crate) fn range(&self, range: Range<usize>) -> Self {
        let x = &self.x[range.start * self.inputs..range.end * self.inputs];
        let (_, from) = self.targets.split_at(range.start, self.outputs);
        let (targets, _) = from.split_at(range.len(), self.outputs);
        Self { x, targets, ..*self }
    }
}

/// An epoch's order of samples, and the rows of one batch put together.
pub(crate) struct Batches {
    order: Vec<usize>,
    shuffle: Option<Rng>,
    x: Vec<f32>,
    values: Vec<f32>,
    classes: Vec<u32>,
    sample_weights: Vec<f32>,
    mask: Vec<f32>,
}

impl Batches {
    /// The stream of a seed that shuffles; layers draw from the low ones.
    const STREAM: u64 = 1 << 63;

    /// In the order of `samples`, or shuffled anew each epoch under `seed`.
    pub(crate) fn new(samples: &Samples<'_>, batch_size: usize, shuffle: Option<u64>) -> Self {
        let rows = if shuffle.is_some() { batch_size.min(samples.len()) } else { 0 };
        let Targets { labels, sample_weights, mask } = samples.targets;
        let (values, classes) = match labels {
            Labels::Values(_) => (rows * samples.outputs, 0),
            Labels::Classes(_) => (0, rows),
        };
        Self {
            order: if shuffle.is_some() { (0..samples.len()).collect() } else { Vec::new() },
            shuffle: shuffle.map(|seed| Rng::with_stream(seed, Self::STREAM)),
            x: Vec::with_capacity(rows * samples.inputs),
            values: Vec::with_capacity(values),
            classes: Vec::with_capacity(classes),
            sample_weights: Vec::with_capacity(sample_weights.map_or(0, |_| rows)),
            mask: Vec::with_capacity(mask.map_or(0, |_| rows * samples.outputs)),
        }
    }

    /// Begins an epoch.
    pub(crate) fn start_epoch(&mut self) {
        if let Some(rng) = &mut self.shuffle {
            rng.shuffle(&mut self.order);
        }
    }

    /// The samples that stand at `range` in the epoch's order.
    pub(crate) fn batch<'b>(&'b mut self, samples: &Samples<'b>, range: Range<usize>) -> Samples<'b> {
        if self.shuffle.is_none() {
            return samples.range(range);
        }
        let order = &self.order[range];
        gather(order, samples.x, samples.inputs, &mut self.x);
        let Targets { labels, sample_weights, mask } = samples.targets;
        let labels = match labels {
            Labels::Values(values) => Labels::Values(gather(order, values, samples.outputs, &mut self.values)),
            Labels::Classes(classes) => Labels::Classes(gather(order, classes, 1, &mut self.classes)),
        };
        let sample_weights = sample_weights.map(|weights| gather(order, weights, 1, &mut self.sample_weights));
        let mask = mask.map(|mask| gather(order, mask, samples.outputs, &mut self.mask));
        Samples { x: &self.x, targets: Targets { labels, sample_weights, mask }, ..*samples }
    }
}

/// The rows of `from` that `order` names, one after the other.
fn gather<'b, T: Copy>(order: &[usize], from: &[T], width: usize, to: &'b mut Vec<T>) -> &'b [T] {
    to.clear();
    for &row in order {
        to.extend_from_slice(&from[row * width..(row + 1) * width]);
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::Activation::Linear;
    use crate::layer::Layer;
    use crate::loss::Loss;

    fn samples<'a>(x: &'a [f32], targets: Targets<'a>, inputs: usize, outputs: usize, loss: Loss<'a>) -> Samples<'a> {
        let layers = [Layer::dense(outputs, Linear)];
        let layout = Layout::new(inputs, &layers).unwrap();
        Samples::new(x, Objective { loss, targets, class_weights: None }, &layout).unwrap()
    }

    #[test]
    fn a_shuffled_epoch_has_every_sample_once_with_its_target_and_weights() {
        let x: Vec<f32> = (0..14).map(|i| i as f32).collect();
        let classes: Vec<u32> = (0..7).collect();
        let weights: Vec<f32> = (0..7).map(|i| 0.5 + i as f32).collect();
        // Sample i has its first i outputs.
        let mask: Vec<f32> = (0..49).map(|i| f32::from(u8::from(i % 7 < i / 7))).collect();
        let targets = Targets::classes(&classes).with_sample_weights(&weights).with_mask(&mask);
        let samples = samples(&x, targets, 2, 7, Loss::CrossEntropy);
        let mut batches = Batches::new(&samples, 3, Some(5));
        let mut epochs = Vec::new();
        for _ in 0..2 {
            batches.start_epoch();
            let mut seen = Vec::new();
            for range in [0..3, 3..6, 6..7] {
                let batch = batches.batch(&samples, range);
                let Targets { labels: Labels::Classes(classes), sample_weights: Some(weights), mask: Some(mask) } =
                    batch.targets()
                else {
                    panic!("classes stay classes, and keep weights and mask")
                };
                let rows = batch.x().chunks(2).zip(classes).zip(weights).zip(mask.chunks(7));
                for (((x, &class), &weight), mask) in rows {
                    assert_eq!(x, [2.0 * class as f32, 2.0 * class as f32 + 1.0]);
                    assert_eq!(weight, 0.5 + class as f32);
                    assert_eq!(mask.iter().sum::<f32>(), class as f32);
                    seen.push(class);
                }
            }
            epochs.push(seen);
        }
        assert_ne!(epochs[0], epochs[1]);
        for mut seen in epochs {
            assert_ne!(seen, classes);
            seen.sort_unstable();
            assert_eq!(seen, classes);
        }
    }

    #[test]
    fn without_shuffling_batches_are_borrowed() {
        let (x, values, weights) = ([1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0], [0.1, 0.2, 0.3, 0.4]);
        let targets = Targets::values(&values).with_sample_weights(&weights);
        let samples = samples(&x, targets, 1, 1, Loss::MeanSquaredError);
        let mut batches = Batches::new(&samples, 3, None);
        batches.start_epoch();
        let batch = batches.batch(&samples, 1..3);
        let expected = Targets::values(&values[1..3]).with_sample_weights(&weights[1..3]);
        assert_eq!((batch.x(), batch.targets()), (&x[1..3], expected));
    }
}
