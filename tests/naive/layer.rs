//! Layers of docs/ARITHMETIC.md: what each kind makes of what feeds it, and the way back.

use super::math::select;
use super::random::{Random, philox};
use super::{Activation, Network, Sample, at, sixteen, sum};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    GlorotUniform,
    GlorotNormal,
    HeUniform,
    HeNormal,
    LecunUniform,
    LecunNormal,
    Zeros,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Dense { units: usize, bias: bool, init: Init },
    Elementwise,
    LayerNorm { epsilon: f32 },
    RmsNorm { epsilon: f32 },
    BatchNorm { epsilon: f32, momentum: f32 },
    Normalization,
    Embedding { column: usize, categories: usize, dimensions: usize },
}
use Kind::*;

#[derive(Clone, Copy, Debug)]
pub struct Layer {
    pub kind: Kind,
    pub activation: Activation,
    /// Layers that a residual connection spans, or 0.
    pub residual: usize,
    /// The share of values that training drops.
    pub dropout: f32,
    pub penalty: Penalty,
}

/// Rule 6.5: l1·Σ|w| + ½·l2·Σw².
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Penalty {
    pub l1: f32,
    pub l2: f32,
}

pub const fn layer(kind: Kind, activation: Activation) -> Layer {
    Layer { kind, activation, residual: 0, dropout: 0.0, penalty: Penalty { l1: 0.0, l2: 0.0 } }
}

pub const fn dense(units: usize, activation: Activation, init: Init) -> Layer {
    layer(Dense { units, bias: true, init }, activation)
}

impl Layer {
    pub const fn residual(self, span: usize) -> Self {
        Self { residual: span, ..self }
    }

    pub const fn dropout(self, rate: f32) -> Self {
        Self { dropout: rate, ..self }
    }

    pub const fn penalty(self, l1: f32, l2: f32) -> Self {
        Self { penalty: Penalty { l1, l2 }, ..self }
    }
}

/// Whether a pass trains, and in which step.
#[derive(Clone, Copy, Debug)]
pub enum Mode {
    Prediction,
    Training { step: u64 },
}

/// Where a layer stands.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub index: usize,
    pub layer: Layer,
    pub inputs: usize,
    pub outputs: usize,
    /// Where its parameters begin, and its statistics.
    pub offset: usize,
    pub statistics: usize,
}

impl Place {
    /// Rows and columns of its parameters.
    pub fn shape(&self) -> (usize, usize) {
        match self.layer.kind {
            Dense { units, bias, .. } => (self.inputs + usize::from(bias), units),
            LayerNorm { .. } | BatchNorm { .. } => (2, self.inputs),
            RmsNorm { .. } => (1, self.inputs),
            Embedding { categories, dimensions, .. } => (categories, dimensions),
            Elementwise | Normalization => (0, self.inputs),
        }
    }

    /// How many of its rows are weights.
    pub fn weight_rows(&self) -> usize {
        match self.layer.kind {
            Dense { .. } => self.inputs,
            Embedding { categories, .. } => categories,
            _ => 0,
        }
    }

    /// Rule 6.5: the penalty of a row, if it is one of weights and there is any.
    pub fn penalty_of(&self, row: usize) -> Option<Penalty> {
        let Penalty { l1, l2 } = self.layer.penalty;
        (row < self.weight_rows() && (l1 > 0.0 || l2 > 0.0)).then_some(self.layer.penalty)
    }

    fn statistics_len(&self) -> usize {
        if matches!(self.layer.kind, BatchNorm { .. } | Normalization) { 2 * self.inputs } else { 0 }
    }

    /// Rule 3.5: the category that a sample's column holds.
    fn category(&self, x: &[f32]) -> usize {
        let Embedding { column, categories, .. } = self.layer.kind else { panic!("categories are for embeddings") };
        (0..categories).rev().find(|&c| c as f32 <= x[column]).unwrap_or(0)
    }

    /// Rules 5.2 and 5.4: the input of row `row` of the parameters, as their gradient meets it, and δ in column `j`.
    /// (None: the row is another category's.)
    pub fn term(&self, sample: &Sample, row: usize, j: usize) -> Option<(f32, f32)> {
        let (x, delta) = (&sample.values[self.index], &sample.deltas[self.index + 1]);
        match self.layer.kind {
            Dense { .. } => Some((x.get(row).copied().unwrap_or(1.0), delta[j])),
            Embedding { column, .. } => (row == self.category(x)).then_some((1.0, delta[column + j])),
            _ if row == 1 => Some((1.0, delta[j])),
            _ => Some((hat(x[j], sample.moments[self.index][j]), delta[j])),
        }
    }
}

/// Rule 3.6: x̂.
fn hat(x: f32, [mean, inv]: [f32; 2]) -> f32 {
    (x - mean) * inv
}

fn inverse_root(variance: f32, epsilon: f32) -> f32 {
    1.0 / (variance + epsilon).sqrt()
}

impl Network<'_> {
    pub fn places(&self) -> Vec<Place> {
        let mut next = (0, self.inputs, 0);
        let places = self.layers.iter().enumerate().map(|(index, &layer)| {
            let (offset, inputs, statistics) = next;
            let outputs = match layer.kind {
                Dense { units, .. } => units,
                Embedding { dimensions, .. } => inputs - 1 + dimensions,
                _ => inputs,
            };
            let place = Place { index, layer, inputs, outputs, offset, statistics };
            let (rows, columns) = place.shape();
            next = (offset + rows * columns, outputs, statistics + place.statistics_len());
            place
        });
        let mut places: Vec<Place> = places.collect();
        // Statistics stand behind all parameters.
        places.iter_mut().for_each(|place| place.statistics += next.0);
        places
    }

    /// Parameters without statistics.
    pub fn trainable_len(&self) -> usize {
        self.places().iter().map(|place| place.shape().0 * place.shape().1).sum()
    }

    /// The network's inputs that embeddings read, with their numbers of categories.
    pub fn categories(&self) -> Vec<(usize, usize)> {
        let mut found = vec![];
        for (index, layer) in self.layers.iter().enumerate() {
            let Embedding { mut column, categories, .. } = layer.kind else { continue };
            for below in self.layers[..index].iter().rev() {
                if let Embedding { column: other, dimensions, .. } = below.kind {
                    column = if column > other { column + 1 - dimensions } else { column };
                }
            }
            found.push((column, categories));
        }
        found
    }

    /// Rules 8.5 and 8.8.
    pub fn init(&self, seed: u64) -> Vec<f32> {
        let places = self.places();
        let statistics: usize = places.iter().map(Place::statistics_len).sum();
        let mut params = vec![0.0; self.trainable_len() + statistics];
        for place in places {
            let (mut random, (rows, columns)) = (Random::new(seed, place.index as u64), place.shape());
            let own = &mut params[place.offset..place.offset + rows * columns];
            match place.layer.kind {
                Dense { init, .. } => init.draw(place.inputs, place.outputs, &mut random, own),
                LayerNorm { .. } | RmsNorm { .. } | BatchNorm { .. } => own[..columns].fill(1.0),
                Embedding { .. } => own.fill_with(|| 0.05 * (2.0 * random.uniform() - 1.0)),
                Elementwise | Normalization => {}
            }
            let half = place.statistics_len() / 2;
            params[place.statistics + half..place.statistics + 2 * half].fill(1.0);
        }
        params
    }

    /// Rules 3.6 and 3.7: mean and inv of each input of a layer, for each sample.
    pub(super) fn moments(&self, place: &Place, params: &[f32], samples: &[Sample], mode: Mode) -> Vec<Vec<[f32; 2]>> {
        let x = |s: usize| &samples[s].values[place.index];
        match place.layer.kind {
            LayerNorm { epsilon } | RmsNorm { epsilon } => {
                let of_sample = |s: usize| {
                    let (x, n) = (x(s), place.inputs as f32);
                    let mean = match place.layer.kind {
                        LayerNorm { .. } => sum(x) / n,
                        _ => 0.0,
                    };
                    let square = |p: f32, k: usize| {
                        let d = x.get(k).copied().unwrap_or(mean) - mean;
                        self.mul_add(d, d, p)
                    };
                    let variance = sixteen(x.len(), square) / n;
                    vec![[mean, inverse_root(variance, epsilon)]; place.inputs]
                };
                (0..samples.len()).map(of_sample).collect()
            }
            BatchNorm { epsilon, .. } => {
                let of_feature = |i: usize| {
                    let [mean, variance] = match mode {
                        Mode::Training { .. } => self.batch_statistics(place, samples, i),
                        Mode::Prediction => [0, place.inputs].map(|row| params[place.statistics + row + i]),
                    };
                    [mean, inverse_root(variance, epsilon)]
                };
                vec![(0..place.inputs).map(of_feature).collect(); samples.len()]
            }
            Normalization => {
                let of_feature = |i: usize| [0, place.inputs].map(|row| params[place.statistics + row + i]);
                vec![(0..place.inputs).map(of_feature).collect(); samples.len()]
            }
            _ => vec![vec![]; samples.len()],
        }
    }

    /// Rule 3.7: mean and variance of feature i over the samples.
    pub(super) fn batch_statistics(&self, place: &Place, samples: &[Sample], i: usize) -> [f32; 2] {
        let (x, n) = (|s: usize| samples[s].values[place.index][i], samples.len() as f32);
        let mean = self.product::<1>(samples.len(), |s| (1.0, x(s))) / n;
        [mean, self.product::<1>(samples.len(), |s| (x(s) - mean, x(s) - mean)) / n]
    }

    /// Rules 3.1 and 3.5: pre-activation j of one sample, without what a residual connection adds.
    pub(super) fn pre_activation(&self, place: &Place, params: &[f32], sample: &Sample, j: usize) -> f32 {
        let (x, n) = (&sample.values[place.index], place.inputs);
        let parameter = |row: usize, column: usize| params[place.offset + row * place.shape().1 + column];
        let x_hat = || hat(x[j], sample.moments[place.index][j]);
        match place.layer.kind {
            Dense { units, bias, .. } => {
                let sum = match units {
                    1 => self.dot(x, &params[place.offset..place.offset + n]),
                    2..=16 => self.product::<4>(n, |k| (x[k], parameter(k, j))),
                    _ => self.product::<1>(n, |k| (x[k], parameter(k, j))),
                };
                if bias { sum + parameter(n, j) } else { sum }
            }
            Elementwise => x[j],
            LayerNorm { .. } | BatchNorm { .. } => self.mul_add(x_hat(), parameter(0, j), parameter(1, j)),
            RmsNorm { .. } => x_hat() * parameter(0, j),
            Normalization => x_hat(),
            Embedding { column, dimensions, .. } => match j {
                _ if j < column => x[j],
                _ if j < column + dimensions => parameter(place.category(x), j - column),
                _ => x[j + 1 - dimensions],
            },
        }
    }

    /// Rules 5.1 and 5.3: ∂loss/∂(what feeds the layer), for one sample; `sums`: Σ δ·x̂ and Σ δ over
    /// all samples, where those are what a batch norm has normalised by.
    pub(super) fn below(&self, place: &Place, params: &[f32], sample: &Sample, sums: &[[f32; 2]]) -> Vec<f32> {
        let l = place.index;
        let (x, delta, n) = (&sample.values[l], &sample.deltas[l + 1], place.inputs);
        let moments = |i: usize| sample.moments[l][i];
        match place.layer.kind {
            Dense { units, .. } => {
                let row = |i: usize| &params[place.offset + i * units..][..units];
                let product = |i: usize| match self.lean {
                    true => self.dot(row(i), delta),
                    false => self.product::<1>(units, |k| (delta[k], row(i)[k])),
                };
                (0..n).map(product).collect()
            }
            Elementwise => delta.clone(),
            LayerNorm { .. } | RmsNorm { .. } => {
                let gamma = &params[place.offset..place.offset + n];
                let is_rms = matches!(place.layer.kind, RmsNorm { .. });
                let mean = if is_rms { 0.0 } else { self.dot(delta, gamma) / n as f32 };
                let term = |p: f32, k: usize| {
                    self.mul_add(at(delta, k) * at(gamma, k), hat(at(x, k), sample.moments[l][0]), p)
                };
                let product = sixteen(n, term) / n as f32;
                let below = |i: usize| moments(i)[1] * ((delta[i] * gamma[i] - mean) - hat(x[i], moments(i)) * product);
                (0..n).map(below).collect()
            }
            BatchNorm { .. } => {
                let below = |i: usize| {
                    let factor = params[place.offset + i] * moments(i)[1];
                    match sums.get(i) {
                        Some([product, sum]) => factor * ((delta[i] - sum) - hat(x[i], moments(i)) * product),
                        None => factor * delta[i],
                    }
                };
                (0..n).map(below).collect()
            }
            Normalization => (0..n).map(|i| delta[i] * moments(i)[1]).collect(),
            Embedding { column, dimensions, .. } => {
                let right = &delta[column + dimensions..];
                [&delta[..column], &[0.0], right].concat()
            }
        }
    }

    /// Rule 8.7: v, or +0 where the step drops value `unit` of sample `s`.
    pub(super) fn drop(&self, place: &Place, mode: Mode, s: usize, unit: usize, v: f32) -> f32 {
        let (Mode::Training { step }, true) = (mode, place.layer.dropout > 0.0) else { return v };
        let element = s as u64 * place.outputs as u64 + unit as u64;
        let stream = 1 << 30 | place.index as u32;
        let counter = [(element / 4) as u32, step as u32, (step >> 32) as u32, stream];
        let word = philox(counter, [self.seed as u32, (self.seed >> 32) as u32])[(element % 4) as usize];
        let is_kept = (word >> 8) as f32 / 16_777_216.0 >= place.layer.dropout;
        select(is_kept, v * (1.0 / (1.0 - place.layer.dropout)), 0.0)
    }
}

impl Init {
    /// Rule 8.5: weights in their order; the bias behind them stays.
    fn draw(self, inputs: usize, outputs: usize, random: &mut Random, params: &mut [f32]) {
        let (fan_in, fan_out) = (inputs as f32, outputs as f32);
        let (gain, fan) = match self {
            Self::GlorotUniform | Self::GlorotNormal => (2.0, fan_in + fan_out),
            Self::HeUniform | Self::HeNormal => (2.0, fan_in),
            Self::LecunUniform | Self::LecunNormal => (1.0, fan_in),
            Self::Zeros => return,
        };
        for w in &mut params[..inputs * outputs] {
            *w = match self {
                Self::GlorotNormal | Self::HeNormal | Self::LecunNormal => (gain / fan).sqrt() * random.normal(),
                _ => (3.0 * gain / fan).sqrt() * (2.0 * random.uniform() - 1.0),
            };
        }
    }
}
