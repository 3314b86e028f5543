//! docs/ARITHMETIC.md as a program: plain loops over f32, one layer, one sample and one
//! element at a time, and nothing from the crate. "Rule 2.3" is the document's.

mod layer;
mod loss;
pub mod math;
pub mod random;

pub use layer::{Init, Kind, Layer, Mode, Penalty, Place, dense, layer};
use math::{Arithmetic, select};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    Linear,
    Relu,
    LeakyRelu(f32),
    Elu(f32),
    Selu,
    Gelu,
    GeluTanh,
    Silu,
    Mish,
    Softplus,
    Softsign,
    Sigmoid,
    HardSigmoid,
    HardSwish,
    Tanh,
    Softmax,
}
use Activation::*;

/// SELU's λ and λα.
const SELU: [f32; 2] = [f32::from_bits(0x3f86_7d5f), f32::from_bits(0x3fe1_0966)];

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    HalfMeanSquaredError,
    MeanSquaredError,
    MeanAbsoluteError,
    Huber(f32),
    LogCosh,
    Quantile(f32),
    Poisson,
    Hinge,
    BinaryCrossEntropy,
    SmoothedBinaryCrossEntropy(f32),
    BinaryCrossEntropyOfProbabilities,
    CrossEntropy,
    SmoothedCrossEntropy(f32),
    CrossEntropyOfProbabilities,
    KullbackLeibler,
}

/// What one sample's outputs are compared with, or told.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    Values(&'a [f32]),
    Class(u32),
    /// ∂loss/∂outputs from the caller.
    Delta(&'a [f32]),
}

/// A target with what weighs it: the sample's own weight, that of its class, and a mask over the outputs.
#[derive(Clone, Copy, Debug)]
pub struct Goal<'a> {
    pub target: Target<'a>,
    pub weight: Option<f32>,
    pub class_weight: Option<f32>,
    pub mask: Option<&'a [f32]>,
}

impl<'a> From<Target<'a>> for Goal<'a> {
    fn from(target: Target<'a>) -> Self {
        Self { target, weight: None, class_weight: None, mask: None }
    }
}

#[derive(Clone, Copy, Debug)]
pub enum Optimizer {
    Sgd { rate: f32 },
    Momentum { rate: f32, decay: f32, nesterov: bool },
    Adam { rate: f32, beta1: f32, beta2: f32, epsilon: f32, corrected: bool },
}

#[derive(Clone, Copy, Debug)]
pub struct Network<'a> {
    pub arithmetic: Arithmetic,
    pub lean: bool,
    pub inputs: usize,
    pub layers: &'a [Layer],
    pub loss: Loss,
    pub optimizer: Optimizer,
    /// Of dropout's masks.
    pub seed: u64,
}

/// What one sample leaves behind: `values[l]` feeds layer l, which makes of it the pre-activations `z[l]` and, by its
/// activation, `a[l]`; `deltas[l]` is ∂loss/∂values[l] taken back through what made it: ∂loss/∂z[l − 1].
pub struct Sample {
    pub values: Vec<Vec<f32>>,
    z: Vec<Vec<f32>>,
    a: Vec<Vec<f32>>,
    /// Mean and inv of each input of a norm.
    moments: Vec<Vec<[f32; 2]>>,
    pub deltas: Vec<Vec<f32>>,
    terms: Vec<f32>,
}

/// Rule 2.3: 16 partial sums by k mod 16, folded 8-4-2-1. The last sixteen may reach beyond `n`.
fn sixteen(n: usize, add: impl Fn(f32, usize) -> f32) -> f32 {
    let mut p = [0.0; 16];
    for k in 0..n.next_multiple_of(16) {
        p[k % 16] = add(p[k % 16], k);
    }
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            p[i] += p[i + half];
        }
    }
    p[0]
}

/// Element k, +0 beyond the last.
fn at(x: &[f32], k: usize) -> f32 {
    x.get(k).copied().unwrap_or(0.0)
}

fn sum(x: &[f32]) -> f32 {
    sixteen(x.len(), |p, k| p + at(x, k))
}

impl Network<'_> {
    fn mul_add(&self, a: f32, b: f32, c: f32) -> f32 {
        self.arithmetic.mul_add(a, b, c)
    }

    fn dot(&self, x: &[f32], y: &[f32]) -> f32 {
        sixteen(x.len(), |p, k| self.mul_add(at(x, k), at(y, k), p))
    }

    /// Rules 2.1 and 2.2: blocks of 256 terms, each in one chain or in four; the blocks in order.
    fn product<const CHAINS: usize>(&self, n: usize, term: impl Fn(usize) -> (f32, f32)) -> f32 {
        let block = |start: usize| {
            let mut p = [0.0; CHAINS];
            for k in start..n.min(start + 256) {
                let (a, b) = term(k);
                p[k % CHAINS] = self.mul_add(a, b, p[k % CHAINS]);
            }
            if CHAINS == 4 { (p[0] + p[1]) + (p[2] + p[3]) } else { p[0] }
        };
        (0..n).step_by(256).map(block).reduce(|total, block| total + block).unwrap()
    }

    /// Rules 3.1 to 3.8 up to the last layer's pre-activations.
    fn forward(&self, params: &[f32], x: &[f32], mode: Mode) -> Vec<Sample> {
        let sample = |x: &[f32]| Sample {
            values: vec![x.to_vec()],
            z: vec![],
            a: vec![],
            moments: vec![],
            deltas: vec![vec![]; self.layers.len() + 1],
            terms: vec![],
        };
        let mut samples: Vec<Sample> = x.chunks(self.inputs).map(sample).collect();
        for place in self.places() {
            let Place { index: l, layer, outputs, .. } = place;
            let moments = self.moments(&place, params, &samples, mode);
            for (s, (sample, moments)) in samples.iter_mut().zip(moments).enumerate() {
                sample.moments.push(moments);
                let z = |j: usize| {
                    let z = self.pre_activation(&place, params, sample, j);
                    if layer.residual > 0 { z + sample.values[l + 1 - layer.residual][j] } else { z }
                };
                let z: Vec<f32> = (0..outputs).map(z).collect();
                let a: Vec<f32> = z.iter().map(|&z| self.activate(layer.activation, z)).collect();
                if l + 1 < self.layers.len() {
                    let y = a.iter().enumerate().map(|(j, &a)| self.drop(&place, mode, s, j, a)).collect();
                    sample.values.push(y);
                }
                sample.z.push(z);
                sample.a.push(a);
            }
        }
        samples
    }

    /// Rule 3.3.
    pub fn activate(&self, activation: Activation, z: f32) -> f32 {
        match activation {
            Linear | Softmax => z,
            Relu => select(0.0 > z, 0.0, z),
            LeakyRelu(slope) => select(z > 0.0, z, z * slope),
            Elu(alpha) => select(z > 0.0, z, self.arithmetic.expm1(z) * alpha),
            Selu => select(z > 0.0, z * SELU[0], self.arithmetic.expm1(z) * SELU[1]),
            Gelu => self.arithmetic.gelu(z),
            GeluTanh => self.arithmetic.gelu_tanh(z),
            Silu => self.arithmetic.silu(z),
            Mish => self.arithmetic.mish(z),
            Softplus => self.arithmetic.softplus(z),
            Softsign => self.arithmetic.softsign(z),
            Sigmoid => self.arithmetic.sigmoid(z),
            HardSigmoid => self.arithmetic.hard_sigmoid(z),
            HardSwish => self.arithmetic.hard_swish(z),
            Tanh => self.arithmetic.tanh(z),
        }
    }

    /// Rule 3.3: d times the slope where the value is y and the pre-activation z.
    pub fn slope(&self, activation: Activation, d: f32, y: f32, z: f32) -> f32 {
        match activation {
            Linear | Softmax => d,
            Relu => select(y > 0.0, d, 0.0),
            LeakyRelu(slope) => select(y > 0.0, d, d * slope),
            Elu(alpha) => select(y > 0.0, d, d * (y + alpha)),
            Selu => d * select(y > 0.0, SELU[0], y + SELU[1]),
            Gelu => d * self.arithmetic.gelu_slope(z),
            GeluTanh => d * self.arithmetic.gelu_tanh_slope(z),
            Silu => d * self.arithmetic.silu_slope(z),
            Mish => d * self.arithmetic.mish_slope(z),
            Softplus => d * -self.arithmetic.expm1(-y),
            Softsign => d * ((1.0 - y.abs()) * (1.0 - y.abs())),
            Sigmoid => d * (y * (1.0 - y)),
            HardSigmoid => select(y > 0.0 && y < 1.0, d * (1.0 / 6.0), 0.0),
            HardSwish => d * self.arithmetic.hard_swish_slope(z),
            Tanh => d * self.mul_add(-y, y, 1.0),
        }
    }

    /// Rule 3.4: the values, the largest pre-activation, the sum of the exponentials.
    fn softmax(&self, z: &[f32]) -> (Vec<f32>, f32, f32) {
        let largest = z.iter().fold(f32::NEG_INFINITY, |m, &z| select(z > m, z, m));
        let e: Vec<f32> = z.iter().map(|z| self.arithmetic.exp(z - largest)).collect();
        let total = sum(&e);
        (e.iter().map(|e| e / total).collect(), largest, total)
    }

    /// The network's outputs, sample after sample.
    pub fn outputs(&self, params: &[f32], x: &[f32], mode: Mode) -> Vec<f32> {
        let samples = self.forward(params, x, mode);
        samples.iter().flat_map(|sample| self.output(&sample.z[self.layers.len() - 1])).collect()
    }

    pub fn predict(&self, params: &[f32], x: &[f32]) -> Vec<f32> {
        self.outputs(params, x, Mode::Prediction)
    }

    fn output_activation(&self) -> Activation {
        self.layers[self.layers.len() - 1].activation
    }

    fn output(&self, z: &[f32]) -> Vec<f32> {
        match self.output_activation() {
            Softmax => self.softmax(z).0,
            activation => z.iter().map(|&z| self.activate(activation, z)).collect(),
        }
    }

    /// A step's samples forward and backward; `count` is what the step's mean is over (rule 4.1).
    pub fn samples(&self, params: &[f32], x: &[f32], goals: &[Goal<'_>], count: f32, mode: Mode) -> Vec<Sample> {
        let (last, mut samples) = (self.layers.len() - 1, self.forward(params, x, mode));
        for (sample, &goal) in samples.iter_mut().zip(goals) {
            (sample.deltas[last + 1], sample.terms) = self.top(&sample.z[last], goal, self.scale(count));
        }
        let places = self.places();
        for place in places.iter().rev() {
            let l = place.index;
            let sums = self.batch_sums(place, &samples, mode);
            for (s, sample) in samples.iter_mut().enumerate() {
                let mut d = self.below(place, params, sample, &sums);
                // Rule 5.5: what residual connections bring, then dropout, then the slope.
                for m in (l..=last).filter(|&m| m + 1 == l + self.layers[m].residual) {
                    d.iter_mut().zip(&sample.deltas[m + 1]).for_each(|(d, delta)| *d += delta);
                }
                if l > 0 {
                    for (i, d) in d.iter_mut().enumerate() {
                        let (a, z) = (sample.a[l - 1][i], sample.z[l - 1][i]);
                        *d = self.slope(self.layers[l - 1].activation, self.drop(&places[l - 1], mode, s, i, *d), a, z);
                    }
                }
                sample.deltas[l] = d;
            }
        }
        samples
    }

    /// Rule 5.3: the means of δ·x̂ and of δ over the samples, for each feature of a batch norm that trains.
    fn batch_sums(&self, place: &Place, samples: &[Sample], mode: Mode) -> Vec<[f32; 2]> {
        match (place.layer.kind, mode) {
            (Kind::BatchNorm { .. }, Mode::Training { .. }) => {
                let mean = |row: usize, i: usize| self.gradient(samples, place, row, i) / samples.len() as f32;
                (0..place.inputs).map(|i| [mean(0, i), mean(1, i)]).collect()
            }
            _ => vec![],
        }
    }

    /// Rules 5.2 and 5.4: parameter (i, j) of a layer.
    pub fn gradient(&self, samples: &[Sample], place: &Place, i: usize, j: usize) -> f32 {
        self.product::<1>(samples.len(), |s| place.term(&samples[s], i, j).unwrap_or((0.0, 0.0)))
    }

    /// Rule 6.5: gradient g of w, in row `row` of a layer, with the layer's penalty.
    fn penalized(&self, place: &Place, row: usize, w: f32, g: f32) -> f32 {
        match place.penalty_of(row) {
            Some(Penalty { l1, l2 }) => self.mul_add(l2, w, g) + select(w > 0.0, l1, select(w < 0.0, -l1, 0.0)),
            None => g,
        }
    }

    /// Rules 4.6 and 6.5: the loss with all penalties.
    fn penalized_loss(&self, params: &[f32], samples: &[Sample], over: f32) -> f32 {
        let penalties = self.places().into_iter().filter_map(|place| {
            let Penalty { l1, l2 } = place.penalty_of(0)?;
            let w = &params[place.offset..][..place.weight_rows() * place.shape().1];
            let absolute = sixteen(w.len(), |p, k| p + at(w, k).abs());
            Some(select(l1 > 0.0, l1 * absolute, 0.0) + select(l2 > 0.0, 0.5 * l2 * self.dot(w, w), 0.0))
        });
        let loss = self.loss(samples, over);
        penalties.reduce(|total, penalty| total + penalty).map_or(loss, |penalty| loss + penalty)
    }

    /// The gradients of all parameters in their order.
    pub fn gradients(&self, params: &[f32], samples: &[Sample]) -> Vec<f32> {
        let of_layer = |place: Place| {
            let (rows, columns) = place.shape();
            let elements = (0..rows).flat_map(move |i| (0..columns).map(move |j| (i, j)));
            elements.map(move |(i, j)| {
                let w = params[place.offset + i * columns + j];
                self.penalized(&place, i, w, self.gradient(samples, &place, i, j))
            })
        };
        self.places().into_iter().flat_map(of_layer).collect()
    }

    /// The loss of a pass that trains nothing.
    pub fn evaluate(&self, params: &[f32], x: &[f32], goals: &[Goal<'_>]) -> f32 {
        let over = self.count(goals);
        self.penalized_loss(params, &self.samples(params, x, goals, over, Mode::Prediction), over)
    }

    /// One step on the samples in `x`; returns the loss before it. `state`: all first floats, then all second.
    pub fn train_step(&self, step: u64, x: &[f32], goals: &[Goal<'_>], params: &mut [f32], state: &mut [f32]) -> f32 {
        let (over, mode) = (self.count(goals), Mode::Training { step });
        let samples = self.samples(params, x, goals, over, mode);
        let loss = self.penalized_loss(params, &samples, over);
        let count = self.trainable_len();
        for place in self.places() {
            let (rows, columns) = place.shape();
            for (i, j) in (0..rows).flat_map(|i| (0..columns).map(move |j| (i, j))) {
                let p = place.offset + i * columns + j;
                let w = &mut params[p];
                let is_product = matches!(place.layer.kind, Kind::Dense { .. } | Kind::Embedding { .. });
                let skips = self.lean && is_product && place.penalty_of(i).is_none();
                if let (true, Optimizer::Sgd { rate }) = (skips, self.optimizer) {
                    // Rules 6.4 and 6.6.
                    let (x, delta) = place.term(&samples[0], i, j).unwrap_or((0.0, 0.0));
                    if x != 0.0 {
                        *w = self.mul_add(-rate * x, delta, *w);
                    }
                    continue;
                }
                let g = self.penalized(&place, i, *w, self.gradient(&samples, &place, i, j));
                match self.optimizer {
                    Optimizer::Sgd { rate } => *w = self.mul_add(g, -rate, *w),
                    Optimizer::Momentum { rate, decay, nesterov } => {
                        let v = self.mul_add(decay, state[p], g);
                        state[p] = v;
                        *w = self.mul_add(if nesterov { self.mul_add(decay, v, g) } else { v }, -rate, *w);
                    }
                    Optimizer::Adam { rate, beta1, beta2, epsilon, corrected } => {
                        let [rest1, rest2] = [beta1, beta2].map(|beta| (1.0 - f64::from(beta)) as f32);
                        let [power1, power2] = [beta1, beta2].map(|beta| random::power(f64::from(beta), step + 1));
                        let (rate, root) = (f64::from(rate) / (1.0 - power1), (1.0 - power2).sqrt());
                        let (rate, scale) = if corrected { (rate, 1.0 / root) } else { (rate * root, 1.0) };
                        let m = self.mul_add(beta1, state[p], rest1 * g);
                        let v = self.mul_add(beta2, state[count + p], rest2 * g * g);
                        (state[p], state[count + p]) = (m, v);
                        *w += -rate as f32 * m / self.mul_add(v.sqrt(), scale as f32, epsilon);
                    }
                }
            }
            if let Kind::BatchNorm { momentum, .. } = place.layer.kind {
                // Rule 6.7.
                for i in 0..place.inputs {
                    for (row, batch) in self.batch_statistics(&place, &samples, i).into_iter().enumerate() {
                        let running = &mut params[place.statistics + row * place.inputs + i];
                        *running = self.mul_add(momentum, batch - *running, *running);
                    }
                }
            }
        }
        loss
    }
}

/// Rule 9: FNV-1a, 64 bits.
pub fn hash(values: &[f32]) -> u64 {
    let bits = values.iter().map(|v| if v.is_nan() { 0x7fc0_0000 } else { v.to_bits() });
    bits.flat_map(u32::to_le_bytes)
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}
