//! What a run of training has come to, epoch by epoch.
#![forbid(unsafe_code)]

use crate::metric::Metric;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

/// Loss and metric over some samples.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Score {
    /// The mean loss of the samples, the penalty on the weights included.
    pub loss: f32,
    /// The part of the loss that is the penalty: `loss − penalty` is what the data alone cost. 0 where no
    /// layer has one. (In training the mean over the steps, like the loss.)
    pub penalty: f32,
    /// The metric, if one was asked for.
    pub metric: Option<f32>,
}

/// What an epoch has come to.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Epoch {
    /// Its number, counted from 1.
    pub number: usize,
    /// How many were asked for.
    pub epochs: usize,
    /// Over the batches as they were trained on, each before its update: it lags
    /// behind what the network can do at the end of the epoch.
    pub training: Score,
    /// Over the samples of validation, at the end of the epoch.
    pub validation: Option<Score>,
    /// Wall-clock time of the training steps (feature `std`; else `None`).
    pub duration: Option<Duration>,
    pub(crate) metric: Option<Metric>,
}

/// Much as Keras prints it: `Epoch  1/20 -  146.1µs - loss: 0.6956 - accuracy: 0.5110`.
impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = if self.epochs < 10 { 1 } else { self.epochs.ilog10() as usize + 1 };
        write!(f, "Epoch {:width$}/{}", self.number, self.epochs)?;
        if let Some(duration) = self.duration {
            write!(f, " - {duration:>8.1?}")?;
        }
        let scores = [("", Some(self.training)), ("val_", self.validation)];
        for (prefix, score) in scores.into_iter().filter_map(|(prefix, score)| Some((prefix, score?))) {
            write!(f, " - {prefix}loss: {:.4}", score.loss)?;
            if let (Some(metric), Some(value)) = (self.metric, score.metric) {
                write!(f, " - {prefix}{metric}: {value:.4}")?;
            }
        }
        Ok(())
    }
}

/// What [`Network::fit`](crate::Network::fit) has done, epoch by epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    pub(crate) epochs: Vec<Epoch>,
    pub(crate) best: Option<usize>,
}

impl History {
    /// All epochs that were run, first to last.
    pub fn epochs(&self) -> &[Epoch] {
        &self.epochs
    }

    /// The last epoch that was run.
    pub fn last(&self) -> Option<&Epoch> {
        self.epochs.last()
    }

    /// The epoch whose parameters the network has: with [`Fit::patience`](crate::Fit::patience) the one of
    /// the smallest loss, else the last.
    pub fn best(&self) -> Option<&Epoch> {
        self.best.map_or(self.epochs.last(), |index| self.epochs.get(index))
    }

    /// The training loss of each epoch.
    pub fn losses(&self) -> impl Iterator<Item = f32> + '_ {
        self.epochs.iter().map(|epoch| epoch.training.loss)
    }
}
