//! Layers of each kind, forward and back.

use super::{Fault, Matrix, Number, sum};
use microprop::{Activation, Penalty};

/// A layer without its numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spec {
    pub(crate) kind: Kind,
    pub(crate) activation: Activation,
    /// Layers that a residual connection spans, or 0.
    pub(crate) residual: usize,
    pub(crate) dropout: f32,
    pub(crate) penalty: Penalty,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Dense { units: usize, bias: bool },
    Elementwise,
    LayerNorm,
    RmsNorm,
    BatchNorm,
    Normalization,
    Embedding { column: usize, categories: usize, dimensions: usize },
}

/// ε of each norm, and the momentum of batch norm, as the crate's documentation gives them.
const EPSILON: f64 = 1e-5_f32 as f64;
const MOMENTUM: f64 = 0.1_f32 as f64;

impl Spec {
    pub(crate) fn new(kind: Kind, activation: Activation) -> Self {
        Self { kind, activation, residual: 0, dropout: 0.0, penalty: Penalty::NONE }
    }

    /// That of one of the crate's dense layers.
    pub(crate) fn of_dense(layer: &microprop::Layer) -> Self {
        let kind = Kind::Dense { units: layer.units().unwrap(), bias: true };
        Self { penalty: layer.penalty(), ..Self::new(kind, layer.activation()) }
    }

    /// The crate's layer.
    pub(crate) fn layer(self) -> microprop::Layer {
        use microprop::Layer;
        let layer = match self.kind {
            Kind::Dense { units, bias: true } => Layer::dense(units, self.activation),
            Kind::Dense { units, bias: false } => Layer::dense(units, self.activation).without_bias(),
            Kind::Elementwise => Layer::elementwise(self.activation),
            Kind::LayerNorm => Layer::layer_norm(self.activation),
            Kind::RmsNorm => Layer::rms_norm(self.activation),
            Kind::BatchNorm => Layer::batch_norm(self.activation),
            Kind::Normalization => Layer::normalization(),
            Kind::Embedding { column, categories, dimensions } => Layer::embedding(column, categories, dimensions),
        };
        layer.with_residual(self.residual).with_dropout(self.dropout).with_penalty(self.penalty)
    }

    /// Its outputs, given its inputs.
    pub(crate) fn outputs(self, inputs: usize) -> usize {
        match self.kind {
            Kind::Dense { units, .. } => units,
            Kind::Embedding { dimensions, .. } => inputs - 1 + dimensions,
            _ => inputs,
        }
    }

    /// Rows of its parameters, and their length.
    pub(crate) fn rows(self, inputs: usize) -> (usize, usize) {
        match self.kind {
            Kind::Dense { units, bias } => (inputs + usize::from(bias), units),
            Kind::LayerNorm | Kind::BatchNorm => (2, inputs),
            Kind::RmsNorm => (1, inputs),
            Kind::Embedding { categories, dimensions, .. } => (categories, dimensions),
            Kind::Elementwise | Kind::Normalization => (0, inputs),
        }
    }

    /// Rows of its statistics, as long as it has inputs.
    pub(crate) fn statistics(self) -> usize {
        if matches!(self.kind, Kind::BatchNorm | Kind::Normalization) { 2 } else { 0 }
    }
}

/// A layer.
pub(super) struct Layer {
    pub(super) spec: Spec,
    inputs: usize,
    /// Dense: W, then b; norms: γ, then β; embeddings: the table.
    rows: Matrix,
    /// Running mean and variance, or mean and scale.
    statistics: Matrix,
}

/// What normalises an element: its mean, and 1/√(variance + ε).
type Moments = (Number, Number);

impl Layer {
    pub(super) fn new(spec: Spec, inputs: usize, params: &mut impl Iterator<Item = Number>) -> Self {
        let (rows, len) = spec.rows(inputs);
        let rows = (0..rows).map(|_| params.by_ref().take(len).collect()).collect();
        Self { spec, inputs, rows, statistics: Vec::new() }
    }

    pub(super) fn take_statistics(&mut self, params: &mut impl Iterator<Item = Number>) {
        let rows = 0..self.spec.statistics();
        self.statistics = rows.map(|_| params.by_ref().take(self.inputs).collect()).collect();
    }

    pub(super) fn outputs(&self) -> usize {
        self.spec.outputs(self.inputs)
    }

    /// The rows of its parameters that are weights.
    pub(super) fn weights(&self) -> &[Vec<Number>] {
        match self.spec.kind {
            Kind::Dense { .. } => &self.rows[..self.inputs],
            Kind::Embedding { .. } => &self.rows,
            _ => &[],
        }
    }

    /// l1·Σ|w| + ½·l2·Σw².
    pub(super) fn penalty(&self) -> Number {
        let (Penalty { l1, l2, .. }, weights) = (self.spec.penalty, self.weights().concat());
        let mut total = Number::from(0.0);
        if l1 > 0.0 {
            total += Number::from(l1) * sum(&weights.iter().map(|w| w.abs()).collect::<Vec<_>>());
        }
        if l2 > 0.0 {
            total += Number::from(0.5 * l2) * sum(&weights.iter().map(|w| w.square()).collect::<Vec<_>>());
        }
        total
    }

    /// ∂/∂w of the penalty is l1·sign(w) + l2·w.
    fn penalize(&self, gradient: &mut Matrix, fault: Option<Fault>) {
        let Penalty { l1, l2, .. } = self.spec.penalty;
        let l2 = if fault == Some(Fault::DoubleL2) { 2.0 * l2 } else { l2 };
        let rows = if fault == Some(Fault::PenalizedBias) { self.rows.len() } else { self.weights().len() };
        for (g, &w) in gradient.iter_mut().zip(&self.rows[..rows]).flat_map(|(g, w)| g.iter_mut().zip(w)) {
            let sign = if w.value < 0.0 && fault != Some(Fault::UnsignedL1) { -1.0 } else { 1.0 };
            if l2 > 0.0 {
                *g += Number::from(l2) * w;
            }
            if l1 > 0.0 && w.value != 0.0 {
                *g += Number::from(l1) * Number::from(sign);
            }
        }
    }

    fn category(&self, column: usize, x: &[Number]) -> usize {
        assert!(matches!(self.spec.kind, Kind::Embedding { .. }));
        x[column].value as usize
    }

    /// z of each sample, from its inputs.
    pub(super) fn pre_activations(&self, x: &Matrix, training: bool) -> Matrix {
        match self.spec.kind {
            Kind::Dense { units, bias } => {
                let of = |x: &Vec<Number>, j: usize| {
                    let mut z = Number::from(0.0);
                    for (&x, weights) in x.iter().zip(&self.rows) {
                        z += x * weights[j];
                    }
                    if bias { z + self.rows[self.inputs][j] } else { z }
                };
                x.iter().map(|x| (0..units).map(|j| of(x, j)).collect()).collect()
            }
            Kind::Elementwise => x.clone(),
            Kind::LayerNorm | Kind::RmsNorm | Kind::BatchNorm => {
                let mut z = self.normalized(x, training);
                for z in &mut z {
                    for (j, z) in z.iter_mut().enumerate() {
                        *z = *z * self.rows[0][j];
                        if self.rows.len() > 1 {
                            *z += self.rows[1][j];
                        }
                    }
                }
                z
            }
            Kind::Normalization => {
                let of = |(j, &x): (usize, &Number)| (x - self.statistics[0][j]) * self.statistics[1][j];
                x.iter().map(|x| x.iter().enumerate().map(of).collect()).collect()
            }
            Kind::Embedding { column, .. } => {
                let embedded = |x: &Vec<Number>| {
                    let coordinates = &self.rows[self.category(column, x)];
                    [&x[..column], coordinates, &x[column + 1..]].concat()
                };
                x.iter().map(embedded).collect()
            }
        }
    }

    /// Mean and 1/√(variance + ε) of each element's group: its sample's features, or its feature's samples.
    fn moments(&self, x: &Matrix, training: bool) -> Vec<Vec<Moments>> {
        let of = |group: &[Number]| -> Moments {
            let n = Number::from(group.len() as f64);
            let mean = if self.spec.kind == Kind::RmsNorm { Number::from(0.0) } else { sum(group) / n };
            let squares: Vec<Number> = group.iter().map(|&x| (x - mean).square()).collect();
            (mean, inverse_root(sum(&squares) / n))
        };
        match self.spec.kind {
            Kind::BatchNorm if training => {
                let columns = (0..self.inputs).map(|j| of(&x.iter().map(|x| x[j]).collect::<Vec<_>>()));
                vec![columns.collect(); x.len()]
            }
            Kind::BatchNorm => {
                let running = self.statistics[0].iter().zip(&self.statistics[1]);
                vec![running.map(|(&mean, &variance)| (mean, inverse_root(variance))).collect(); x.len()]
            }
            _ => x.iter().map(|x| vec![of(x); x.len()]).collect(),
        }
    }

    /// x̂.
    fn normalized(&self, x: &Matrix, training: bool) -> Matrix {
        let rows = x.iter().zip(self.moments(x, training));
        rows.map(|(x, moments)| x.iter().zip(moments).map(|(&x, (mean, inv))| (x - mean) * inv).collect()).collect()
    }

    /// ∂loss/∂parameters, row by row.
    pub(super) fn gradient(&self, x: &Matrix, delta: &Matrix, training: bool, fault: Option<Fault>) -> Matrix {
        let samples = if fault == Some(Fault::LastSample) { x.len() - 1 } else { x.len() };
        let mut gradient = vec![vec![Number::from(0.0); self.spec.rows(self.inputs).1]; self.rows.len()];
        let factors = match self.spec.kind {
            Kind::LayerNorm | Kind::RmsNorm | Kind::BatchNorm if fault != Some(Fault::NormScale) => {
                self.normalized(x, training)
            }
            _ => x.clone(),
        };
        for s in 0..samples {
            match self.spec.kind {
                Kind::Dense { .. } => {
                    for (i, row) in gradient.iter_mut().enumerate() {
                        let bias = i == self.inputs;
                        for (g, &d) in row.iter_mut().zip(&delta[s]) {
                            if !bias {
                                *g += x[s][i] * d;
                            } else if fault != Some(Fault::NoBias) {
                                *g += d;
                            }
                        }
                    }
                }
                Kind::LayerNorm | Kind::RmsNorm | Kind::BatchNorm => {
                    for (i, row) in gradient.iter_mut().enumerate() {
                        for (j, g) in row.iter_mut().enumerate() {
                            *g += if i == 0 { factors[s][j] * delta[s][j] } else { delta[s][j] };
                        }
                    }
                }
                Kind::Embedding { column, .. } => {
                    let row = &mut gradient[self.category(column, &x[s])];
                    for (g, &d) in row.iter_mut().zip(&delta[s][column..]) {
                        if fault == Some(Fault::LastCategory) {
                            *g = Number::from(0.0);
                        }
                        *g += d;
                    }
                }
                Kind::Elementwise | Kind::Normalization => {}
            }
        }
        self.penalize(&mut gradient, fault);
        gradient
    }

    /// ∂loss/∂x, from this layer's z alone.
    pub(super) fn delta_below(&self, x: &Matrix, delta: &Matrix, training: bool, fault: Option<Fault>) -> Matrix {
        match self.spec.kind {
            Kind::Dense { .. } => {
                let transposed = fault == Some(Fault::TransposedWeights) && self.inputs == delta[0].len();
                let of = |delta: &Vec<Number>, i: usize| {
                    let mut d = Number::from(0.0);
                    for (j, &delta) in delta.iter().enumerate() {
                        d += delta * if transposed { self.rows[j][i] } else { self.rows[i][j] };
                    }
                    d
                };
                delta.iter().map(|delta| (0..self.inputs).map(|i| of(delta, i)).collect()).collect()
            }
            Kind::Elementwise => delta.clone(),
            Kind::Normalization if fault == Some(Fault::Standardized) => delta.clone(),
            Kind::Normalization => {
                delta.iter().map(|d| d.iter().zip(&self.statistics[1]).map(|(&d, &s)| d * s).collect()).collect()
            }
            Kind::Embedding { column, dimensions, .. } => {
                let of = |d: &Vec<Number>| [&d[..column], &[Number::from(0.0)], &d[column + dimensions..]].concat();
                delta.iter().map(of).collect()
            }
            Kind::LayerNorm | Kind::RmsNorm | Kind::BatchNorm => self.norm_delta(x, delta, training, fault),
        }
    }

    /// With g = ∂loss/∂x̂ and x̂ = (x − mean)·inv over a group of n: ∂loss/∂x = inv·(g − Σg/n − x̂·Σg·x̂/n), where
    /// Σg/n comes from the mean and x̂·Σg·x̂/n from the variance.
    fn norm_delta(&self, x: &Matrix, delta: &Matrix, training: bool, fault: Option<Fault>) -> Matrix {
        let (hat, moments) = (self.normalized(x, training), self.moments(x, training));
        let g: Matrix = delta
            .iter()
            .map(|d| {
                let unscaled = fault == Some(Fault::NormUnscaled);
                d.iter().zip(&self.rows[0]).map(|(&d, &gamma)| if unscaled { d } else { d * gamma }).collect()
            })
            .collect();
        let by_feature = self.spec.kind == Kind::BatchNorm;
        let mut below = g.clone();
        for s in 0..x.len() {
            for j in 0..self.inputs {
                let group: Vec<(usize, usize)> = match by_feature {
                    true => (0..x.len()).map(|s| (s, j)).collect(),
                    false => (0..self.inputs).map(|j| (s, j)).collect(),
                };
                let n = Number::from(group.len() as f64);
                let mut d = g[s][j];
                let constant = by_feature && !training;
                if self.spec.kind != Kind::RmsNorm && !constant && fault != Some(Fault::NormMeanConstant) {
                    d += -(sum(&group.iter().map(|&(s, j)| g[s][j]).collect::<Vec<_>>()) / n);
                }
                if !constant && fault != Some(Fault::NormVarianceConstant) {
                    let products: Vec<Number> = group.iter().map(|&(s, j)| g[s][j] * hat[s][j]).collect();
                    d += -(hat[s][j] * (sum(&products) / n));
                }
                below[s][j] = moments[s][j].1 * d;
            }
        }
        below
    }

    /// What a step in training makes of the running statistics.
    pub(super) fn moved_statistics(&self, x: &Matrix) -> Matrix {
        if self.spec.kind != Kind::BatchNorm {
            return self.statistics.clone();
        }
        let n = Number::from(x.len() as f64);
        let mut moved = self.statistics.clone();
        for j in 0..self.inputs {
            let column: Vec<Number> = x.iter().map(|x| x[j]).collect();
            let mean = sum(&column) / n;
            let squares: Vec<Number> = column.iter().map(|&x| (x - mean).square()).collect();
            for (moved, batch) in moved.iter_mut().zip([mean, sum(&squares) / n]) {
                moved[j] = moved[j] + Number::from(MOMENTUM) * (batch - moved[j]);
            }
        }
        moved
    }
}

/// 1/√(variance + ε).
fn inverse_root(variance: Number) -> Number {
    Number::from(1.0) / (variance + Number::from(EPSILON)).sqrt()
}
