//! docs/ARITHMETIC.md as a program: plain loops over f32, one sample and one
//! element at a time, and nothing from the crate. "Rule 2.3" is the document's.

mod loss;
pub mod math;
pub mod random;

use math::{Arithmetic, select};
use random::Random;

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
pub enum Init {
    GlorotUniform,
    GlorotNormal,
    HeUniform,
    HeNormal,
    LecunUniform,
    LecunNormal,
    Zeros,
}

#[derive(Clone, Copy, Debug)]
pub struct Dense(pub usize, pub Activation, pub Init);

/// Rule 6.5: factors of the absolute values and of half the squares of a layer's weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Penalty {
    pub l1: f32,
    pub l2: f32,
}

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
    pub layers: &'a [Dense],
    /// One for each layer, or none at all.
    pub penalties: &'a [Penalty],
    pub loss: Loss,
    pub optimizer: Optimizer,
}

/// What one sample leaves behind: `values[l]` feeds layer l, `deltas[l]` is
/// ∂loss/∂values[l], before the activation that made it.
pub struct Sample {
    pub values: Vec<Vec<f32>>,
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

    /// Where the parameters of each layer begin, and its inputs.
    fn places(&self) -> Vec<(usize, usize, Dense)> {
        let mut next = (0, self.inputs);
        let place = |&layer: &Dense| {
            let (offset, inputs) = next;
            next = (offset + (inputs + 1) * layer.0, layer.0);
            (offset, inputs, layer)
        };
        self.layers.iter().map(place).collect()
    }

    pub fn params_len(&self) -> usize {
        self.places().iter().map(|(_, inputs, layer)| (inputs + 1) * layer.0).sum()
    }

    /// Rule 8.5.
    pub fn init(&self, seed: u64) -> Vec<f32> {
        let mut params = vec![0.0; self.params_len()];
        for (l, (offset, inputs, Dense(outputs, _, init))) in self.places().into_iter().enumerate() {
            let mut random = Random::new(seed, l as u64);
            let (fan_in, fan_out) = (inputs as f32, outputs as f32);
            let (gain, fan) = match init {
                Init::GlorotUniform | Init::GlorotNormal => (2.0, fan_in + fan_out),
                Init::HeUniform | Init::HeNormal => (2.0, fan_in),
                Init::LecunUniform | Init::LecunNormal => (1.0, fan_in),
                Init::Zeros => continue,
            };
            for w in &mut params[offset..offset + inputs * outputs] {
                *w = match init {
                    Init::GlorotNormal | Init::HeNormal | Init::LecunNormal => (gain / fan).sqrt() * random.normal(),
                    _ => (3.0 * gain / fan).sqrt() * (2.0 * random.uniform() - 1.0),
                };
            }
        }
        params
    }

    /// Rules 3.1 to 3.3: the values that feed each layer, and the pre-activations of each.
    fn forward(&self, params: &[f32], x: &[f32]) -> (Vec<Vec<f32>>, Vec<Vec<f32>>) {
        let (mut values, mut pre_activations) = (vec![x.to_vec()], vec![]);
        for (l, (offset, inputs, Dense(outputs, activation, _))) in self.places().into_iter().enumerate() {
            let x = &values[l];
            let w = |k: usize, j: usize| params[offset + k * outputs + j];
            let z = (0..outputs).map(|j| {
                let sum = match outputs {
                    1 => self.dot(x, &params[offset..offset + inputs]),
                    2..=16 => self.product::<4>(inputs, |k| (x[k], w(k, j))),
                    _ => self.product::<1>(inputs, |k| (x[k], w(k, j))),
                };
                sum + w(inputs, j)
            });
            let z: Vec<f32> = z.collect();
            if l + 1 < self.layers.len() {
                let y = z.iter().map(|&z| self.activate(activation, z)).collect();
                values.push(y);
            }
            pre_activations.push(z);
        }
        (values, pre_activations)
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

    /// The network's outputs for one sample.
    pub fn predict(&self, params: &[f32], x: &[f32]) -> Vec<f32> {
        self.output(&self.forward(params, x).1[self.layers.len() - 1])
    }

    fn output(&self, z: &[f32]) -> Vec<f32> {
        match self.layers[self.layers.len() - 1].1 {
            Softmax => self.softmax(z).0,
            activation => z.iter().map(|&z| self.activate(activation, z)).collect(),
        }
    }

    /// One sample forward and backward; `count` is what the step's mean is over (rule 4.1).
    pub fn sample<'g>(&self, params: &[f32], x: &[f32], goal: impl Into<Goal<'g>>, count: f32) -> Sample {
        let (values, pre_activations) = self.forward(params, x);
        let z = &pre_activations[self.layers.len() - 1];
        let (delta, terms) = self.top(z, goal.into(), self.scale(count));
        let mut deltas = vec![delta];
        // Rule 5.1.
        for (l, (offset, inputs, Dense(outputs, ..))) in self.places().into_iter().enumerate().rev() {
            let delta = &deltas[0];
            let slope = |d: f32, i: usize| match l {
                0 => d,
                _ => self.slope(self.layers[l - 1].1, d, values[l][i], pre_activations[l - 1][i]),
            };
            let row = |i: usize| &params[offset + i * outputs..][..outputs];
            let product = |i: usize| match self.lean {
                true => self.dot(row(i), delta),
                false => self.product::<1>(outputs, |k| (delta[k], row(i)[k])),
            };
            deltas.insert(0, (0..inputs).map(|i| slope(product(i), i)).collect());
        }
        Sample { values, deltas, terms }
    }

    /// The penalty of layer l, unless it has none.
    fn penalty(&self, l: usize) -> Option<Penalty> {
        self.penalties.get(l).copied().filter(|p| p.l1 > 0.0 || p.l2 > 0.0)
    }

    /// Rule 6.5: the penalties of all layers, added in order.
    fn penalties(&self, params: &[f32]) -> Option<f32> {
        let places = self.places().into_iter().enumerate();
        let penalties = places.filter_map(|(l, (offset, inputs, Dense(outputs, ..)))| {
            let (Penalty { l1, l2 }, w) = (self.penalty(l)?, &params[offset..][..inputs * outputs]);
            let absolute = sixteen(w.len(), |p, k| p + at(w, k).abs());
            let square = self.dot(w, w);
            Some(select(l1 > 0.0, l1 * absolute, 0.0) + select(l2 > 0.0, 0.5 * l2 * square, 0.0))
        });
        penalties.reduce(|total, penalty| total + penalty)
    }

    /// Rules 5.2 and 6.5: parameter (i, j) of layer l, which is w; the bias is a row whose input is 1.
    pub fn gradient(&self, samples: &[Sample], l: usize, i: usize, j: usize, w: f32) -> f32 {
        let x = |s: usize| samples[s].values[l].get(i).copied().unwrap_or(1.0);
        let g = self.product::<1>(samples.len(), |s| (x(s), samples[s].deltas[l + 1][j]));
        match self.penalty(l) {
            Some(Penalty { l1, l2 }) if i < samples[0].values[l].len() => {
                self.mul_add(l2, w, g) + select(w > 0.0, l1, select(w < 0.0, -l1, 0.0))
            }
            _ => g,
        }
    }

    /// One step on the samples in `x`; returns the loss before it. `state`: all first floats, then all second.
    pub fn train_step(&self, step: u64, x: &[f32], goals: &[Goal<'_>], params: &mut [f32], state: &mut [f32]) -> f32 {
        let over = self.count(goals);
        let samples = x.chunks(self.inputs).zip(goals).map(|(x, &goal)| self.sample(params, x, goal, over));
        let samples: Vec<Sample> = samples.collect();
        let loss = self.loss(&samples, over);
        let loss = self.penalties(params).map_or(loss, |penalty| loss + penalty);
        let count = params.len();
        for (l, (offset, inputs, Dense(outputs, ..))) in self.places().into_iter().enumerate() {
            for (i, j) in (0..=inputs).flat_map(|i| (0..outputs).map(move |j| (i, j))) {
                let p = offset + i * outputs + j;
                let w = &mut params[p];
                let penalized = i < inputs && self.penalty(l).is_some();
                if let (true, false, Optimizer::Sgd { rate }) = (self.lean, penalized, self.optimizer) {
                    // Rule 6.4.
                    let x = samples[0].values[l].get(i).copied().unwrap_or(1.0);
                    if x != 0.0 {
                        *w = self.mul_add(-rate * x, samples[0].deltas[l + 1][j], *w);
                    }
                    continue;
                }
                let g = self.gradient(&samples, l, i, j, *w);
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
