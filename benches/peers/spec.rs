//! The workloads and their data, as burn, candle and dfdx read them.
#![allow(dead_code, reason = "each program uses a part of it")]

use std::path::PathBuf;

pub(crate) const BATCHES: usize = 8;

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    BinaryCrossEntropy,
    CrossEntropy,
    MeanSquaredError,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Optimizer {
    Sgd,
    Momentum,
    Adam,
}

#[derive(Clone, Copy)]
pub(crate) struct Spec {
    pub(crate) name: &'static str,
    pub(crate) sizes: &'static [usize],
    pub(crate) tanh: bool,
    pub(crate) loss: Kind,
    pub(crate) optimizer: Optimizer,
    pub(crate) batch: usize,
}

pub(crate) const SPECS: [Spec; 5] = {
    use Kind::{BinaryCrossEntropy, CrossEntropy, MeanSquaredError};
    use Optimizer::{Adam, Momentum, Sgd};
    const fn spec(
        name: &'static str,
        sizes: &'static [usize],
        tanh: bool,
        loss: Kind,
        optimizer: Optimizer,
        batch: usize,
    ) -> Spec {
        Spec { name, sizes, tanh, loss, optimizer, batch }
    }
    [
        spec("seed", &[20, 64, 1], false, BinaryCrossEntropy, Sgd, 32),
        spec("digits", &[64, 128, 10], false, CrossEntropy, Adam, 32),
        spec("mnist", &[784, 512, 256, 10], false, CrossEntropy, Momentum, 128),
        spec("wide", &[1024, 2048, 2048, 1000], false, CrossEntropy, Sgd, 256),
        spec("control", &[17, 64, 64, 6], true, MeanSquaredError, Adam, 256),
    ]
};

impl Spec {
    pub(crate) fn find(name: &str) -> Option<Self> {
        SPECS.into_iter().find(|spec| spec.name == name)
    }

    pub(crate) fn outputs(&self) -> usize {
        self.sizes[self.sizes.len() - 1]
    }

    /// Of each layer the weights `[in × out]` and the bias `[out]`.
    pub(crate) fn params(&self) -> Vec<(Vec<f32>, Vec<f32>)> {
        let mut flat = read(&format!("{}.params", self.name));
        let mut layers = Vec::new();
        for sizes in self.sizes.windows(2) {
            let weights = flat.drain(..sizes[0] * sizes[1]).collect();
            layers.push((weights, flat.drain(..sizes[1]).collect()));
        }
        layers
    }

    /// The inputs of each batch.
    pub(crate) fn x(&self) -> Vec<Vec<f32>> {
        pieces(&read(&format!("{}.x", self.name)), self.batch * self.sizes[0])
    }

    /// The values of each batch, or the numbers of its classes.
    pub(crate) fn y(&self) -> Vec<Vec<f32>> {
        let values = if self.loss == Kind::CrossEntropy { 1 } else { self.outputs() };
        pieces(&read(&format!("{}.y", self.name)), self.batch * values)
    }
}

/// Inputs of predictions, in pieces of so many rows: 256 pieces of one, or all of several.
pub(crate) fn samples(rows: usize) -> Vec<Vec<f32>> {
    let mut all = pieces(&read("predict.x"), rows * 20);
    all.truncate(256);
    all
}

/// The rows of `predict1` and `predict1024`.
pub(crate) fn rows_of(workload: &str) -> Option<usize> {
    workload.strip_prefix("predict")?.parse().ok()
}

/// `[rows × columns]` to `[columns × rows]`.
pub(crate) fn transposed(matrix: &[f32], columns: usize) -> Vec<f32> {
    let rows = matrix.len() / columns;
    (0..columns).flat_map(|column| (0..rows).map(move |row| matrix[row * columns + column])).collect()
}

fn pieces(numbers: &[f32], len: usize) -> Vec<Vec<f32>> {
    numbers.chunks_exact(len).map(<[f32]>::to_vec).collect()
}

fn read(name: &str) -> Vec<f32> {
    let folder = PathBuf::from(std::env::args_os().next_back().expect("the last argument is the folder of the data"));
    let bytes = std::fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).collect()
}
