//! Whole training runs: the naive program of docs/ARITHMETIC.md against the crate, hash by hash.
//!
//! Three things are tied together here: the crate, the program in `naive/`, and
//! the tables in the document. `cargo test --test arithmetic -- --ignored --nocapture print`
//! prints what belongs into the document and into [`HASHES`].

#[expect(unreachable_pub, reason = "a program of its own: what it shows is not this test's to restrict")]
mod naive;

use microprop::{
    Activation, Adam, Arithmetic, Delta, EpsilonPlacement, Initializer, Isa, Layer, Layout, Loss, Mlp, Optimizer, Pass,
    Rng, Schedule, Sgd, Targets, Trainer, kernels,
};
use naive::math::Arithmetic as NaiveArithmetic;
use naive::random::Random;
use naive::{Activation as Act, Goal, Init, Kind, Mode, Network, Sample, Target, dense, layer as of};
use std::fmt::{Debug, Write};

const DOCUMENT: &str = include_str!("../docs/ARITHMETIC.md");

/// Initial weights of every run, and its data, come from this seed.
const SEED: u64 = 7;
/// Data come from this stream: no layer has that index.
const DATA_STREAM: u64 = 1000;

/// A training run. `batch` is what a step takes of `samples` samples, one after the other, over and over.
struct Run {
    name: &'static str,
    inputs: usize,
    layers: &'static [naive::Layer],
    loss: naive::Loss,
    /// Targets of cross-entropy are classes.
    classes: bool,
    optimizer: naive::Optimizer,
    samples: usize,
    batch: usize,
    steps: usize,
    /// With sample weights and a mask, and with class weights where targets are classes.
    weighed: bool,
}

use naive::Loss::*;
use naive::Optimizer::{Adam as AdamW, Momentum, Sgd as Plain};

const WITHOUT_BIAS_18: naive::Layer = of(Kind::Dense { units: 18, bias: false, init: Init::GlorotNormal }, Act::Linear);

#[rustfmt::skip]
const RUNS: &[Run] = &[
    Run { name: "one", inputs: 20, layers: &[dense(64, Act::Relu, Init::GlorotUniform), dense(1, Act::Sigmoid, Init::GlorotUniform)],
          loss: BinaryCrossEntropy, classes: false, optimizer: Plain { rate: 0.1 }, samples: 96, batch: 32, steps: 12, weighed: false },
    Run { name: "dot", inputs: 603, layers: &[dense(1, Act::Linear, Init::LecunNormal)],
          loss: HalfMeanSquaredError, classes: false, optimizer: Plain { rate: 0.002 }, samples: 10, batch: 5, steps: 10, weighed: false },
    Run { name: "two", inputs: 5, layers: &[dense(17, Act::Tanh, Init::LecunUniform), dense(2, Act::Tanh, Init::GlorotNormal)],
          loss: MeanSquaredError, classes: false, optimizer: Momentum { rate: 0.05, decay: 0.9, nesterov: false }, samples: 62, batch: 31, steps: 12, weighed: false },
    Run { name: "ten", inputs: 64, layers: &[dense(33, Act::Relu, Init::HeUniform), dense(10, Act::Softmax, Init::GlorotUniform)],
          loss: CrossEntropy, classes: true, optimizer: AdamW { rate: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, corrected: true }, samples: 66, batch: 33, steps: 12, weighed: false },
    Run { name: "sixteen", inputs: 301, layers: &[dense(16, Act::LeakyRelu(0.01), Init::HeNormal), dense(33, Act::Sigmoid, Init::GlorotNormal), dense(3, Act::Linear, Init::LecunNormal)],
          loss: HalfMeanSquaredError, classes: false, optimizer: Momentum { rate: 0.02, decay: 0.8, nesterov: true }, samples: 14, batch: 7, steps: 10, weighed: false },
    Run { name: "wide", inputs: 270, layers: &[dense(290, Act::Relu, Init::HeNormal), dense(19, Act::Sigmoid, Init::GlorotUniform)],
          loss: BinaryCrossEntropy, classes: false, optimizer: Plain { rate: 0.5 }, samples: 6, batch: 3, steps: 6, weighed: false },
    Run { name: "outputs", inputs: 9, layers: &[dense(17, Act::Tanh, Init::GlorotUniform), dense(300, Act::Softmax, Init::GlorotUniform)],
          loss: CrossEntropy, classes: false, optimizer: Plain { rate: 0.05 }, samples: 8, batch: 4, steps: 8, weighed: false },
    Run { name: "tall", inputs: 7, layers: &[dense(18, Act::Tanh, Init::LecunNormal), dense(1, Act::Linear, Init::LecunNormal)],
          loss: MeanSquaredError, classes: false, optimizer: AdamW { rate: 0.01, beta1: 0.8, beta2: 0.99, epsilon: 1e-7, corrected: false }, samples: 600, batch: 300, steps: 4, weighed: false },
    Run { name: "squared", inputs: 8, layers: &[dense(20, Act::LeakyRelu(0.2), Init::HeUniform), dense(5, Act::Softmax, Init::Zeros)],
          loss: MeanSquaredError, classes: false, optimizer: Plain { rate: 0.5 }, samples: 40, batch: 20, steps: 12, weighed: false },
    Run { name: "absolute", inputs: 6, layers: &[dense(20, Act::Tanh, Init::GlorotUniform), dense(5, Act::Linear, Init::LecunNormal)],
          loss: MeanAbsoluteError, classes: false, optimizer: Plain { rate: 0.1 }, samples: 24, batch: 12, steps: 10, weighed: false },
    Run { name: "huber", inputs: 7, layers: &[dense(18, Act::Tanh, Init::GlorotUniform), dense(1, Act::LeakyRelu(0.1), Init::LecunNormal)],
          loss: Huber(0.25), classes: false, optimizer: Momentum { rate: 0.05, decay: 0.9, nesterov: false }, samples: 24, batch: 12, steps: 10, weighed: false },
    Run { name: "log_cosh", inputs: 9, layers: &[dense(33, Act::Relu, Init::HeUniform), dense(19, Act::Linear, Init::HeNormal)],
          loss: LogCosh, classes: false, optimizer: Plain { rate: 0.5 }, samples: 20, batch: 10, steps: 10, weighed: false },
    Run { name: "quantile", inputs: 5, layers: &[dense(17, Act::Tanh, Init::LecunUniform), dense(3, Act::Sigmoid, Init::GlorotNormal)],
          loss: Quantile(0.8), classes: false, optimizer: Plain { rate: 0.5 }, samples: 24, batch: 8, steps: 10, weighed: true },
    Run { name: "counts", inputs: 5, layers: &[dense(17, Act::Tanh, Init::LecunUniform), dense(4, Act::Sigmoid, Init::GlorotNormal)],
          loss: Poisson, classes: false, optimizer: Plain { rate: 0.1 }, samples: 24, batch: 8, steps: 10, weighed: false },
    Run { name: "margin", inputs: 8, layers: &[dense(18, Act::Relu, Init::HeNormal), dense(17, Act::Linear, Init::HeNormal)],
          loss: Hinge, classes: false, optimizer: Plain { rate: 0.5 }, samples: 24, batch: 8, steps: 10, weighed: true },
    Run { name: "smooth", inputs: 8, layers: &[dense(20, Act::Relu, Init::HeUniform), dense(10, Act::Softmax, Init::GlorotUniform)],
          loss: SmoothedCrossEntropy(0.1), classes: true, optimizer: Plain { rate: 0.5 }, samples: 24, batch: 8, steps: 10, weighed: true },
    Run { name: "soft", inputs: 8, layers: &[dense(20, Act::Relu, Init::HeUniform), dense(33, Act::Softmax, Init::GlorotUniform)],
          loss: SmoothedCrossEntropy(0.3), classes: false, optimizer: Plain { rate: 0.05 }, samples: 24, batch: 8, steps: 10, weighed: false },
    Run { name: "labels", inputs: 8, layers: &[dense(20, Act::Relu, Init::HeUniform), dense(7, Act::Sigmoid, Init::GlorotUniform)],
          loss: SmoothedBinaryCrossEntropy(0.2), classes: false, optimizer: Plain { rate: 0.5 }, samples: 24, batch: 8, steps: 10, weighed: true },
    Run { name: "binary", inputs: 8, layers: &[dense(20, Act::Relu, Init::HeUniform), dense(18, Act::Sigmoid, Init::GlorotUniform)],
          loss: BinaryCrossEntropyOfProbabilities, classes: false, optimizer: Plain { rate: 0.5 }, samples: 24, batch: 8, steps: 10, weighed: true },
    Run { name: "categorical", inputs: 8, layers: &[dense(20, Act::Relu, Init::HeUniform), dense(20, Act::Softmax, Init::GlorotUniform)],
          loss: CrossEntropyOfProbabilities, classes: false, optimizer: Plain { rate: 0.05 }, samples: 24, batch: 8, steps: 10, weighed: false },
    Run { name: "divergence", inputs: 8, layers: &[dense(20, Act::Relu, Init::HeUniform), dense(17, Act::Softmax, Init::GlorotUniform)],
          loss: KullbackLeibler, classes: false, optimizer: Plain { rate: 0.05 }, samples: 24, batch: 8, steps: 10, weighed: true },
    Run { name: "masked", inputs: 8, layers: &[dense(20, Act::LeakyRelu(0.2), Init::HeUniform), dense(5, Act::Softmax, Init::GlorotNormal)],
          loss: HalfMeanSquaredError, classes: false, optimizer: Plain { rate: 0.5 }, samples: 24, batch: 8, steps: 10, weighed: true },
    Run { name: "classes", inputs: 8, layers: &[dense(20, Act::Relu, Init::HeUniform), dense(3, Act::Softmax, Init::GlorotUniform)],
          loss: CrossEntropy, classes: true, optimizer: AdamW { rate: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, corrected: true }, samples: 24, batch: 8, steps: 10, weighed: true },
    Run { name: "rows", inputs: 8, layers: &[dense(20, Act::Relu, Init::HeUniform), dense(18, Act::Softmax, Init::GlorotUniform)],
          loss: CrossEntropy, classes: false, optimizer: Plain { rate: 0.05 }, samples: 24, batch: 8, steps: 10, weighed: true },
    Run { name: "elastic", inputs: 37, layers: &[dense(35, Act::Tanh, Init::GlorotUniform).penalty(0.01, 0.02), dense(11, Act::Relu, Init::HeNormal), dense(1, Act::Linear, Init::LecunNormal).penalty(0.03, 0.0)],
          loss: MeanSquaredError, classes: false, optimizer: Plain { rate: 0.1 }, samples: 24, batch: 12, steps: 12, weighed: false },
    Run { name: "decay", inputs: 19, layers: &[dense(17, Act::LeakyRelu(0.1), Init::HeUniform).penalty(0.0, 0.1), dense(5, Act::Softmax, Init::Zeros).penalty(0.004, 0.05)],
          loss: CrossEntropy, classes: true, optimizer: AdamW { rate: 0.01, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, corrected: true }, samples: 40, batch: 20, steps: 12, weighed: false },
    Run { name: "norms", inputs: 18, layers: &[of(Kind::LayerNorm { epsilon: 1e-5 }, Act::Tanh).residual(1), dense(18, Act::Gelu, Init::HeNormal), of(Kind::LayerNorm { epsilon: 1e-5 }, Act::Silu),
          WITHOUT_BIAS_18.residual(2), of(Kind::RmsNorm { epsilon: 1e-5 }, Act::Mish).residual(3), dense(5, Act::Tanh, Init::GlorotUniform)],
          loss: MeanSquaredError, classes: false, optimizer: Momentum { rate: 0.05, decay: 0.9, nesterov: true }, samples: 24, batch: 8, steps: 10, weighed: false },
    Run { name: "skips", inputs: 10, layers: &[dense(33, Act::Gelu, Init::HeNormal).dropout(0.2), dense(33, Act::Mish, Init::HeNormal).residual(1).dropout(0.5), dense(33, Act::Selu, Init::LecunNormal).residual(2),
          dense(33, Act::GeluTanh, Init::HeNormal).residual(3), of(Kind::Elementwise, Act::Softsign).residual(3).dropout(0.1), dense(4, Act::Gelu, Init::HeNormal)],
          loss: HalfMeanSquaredError, classes: false, optimizer: Plain { rate: 0.1 }, samples: 24, batch: 8, steps: 10, weighed: false },
    Run { name: "tables", inputs: 5, layers: &[of(Kind::Normalization, Act::Linear), of(Kind::Embedding { column: 1, categories: 7, dimensions: 3 }, Act::Linear), of(Kind::Embedding { column: 5, categories: 4, dimensions: 17 }, Act::Linear),
          of(Kind::Elementwise, Act::Linear).dropout(0.3), dense(19, Act::Softplus, Init::GlorotUniform), dense(2, Act::Sigmoid, Init::GlorotUniform)],
          loss: BinaryCrossEntropy, classes: false, optimizer: Plain { rate: 0.5 }, samples: 24, batch: 8, steps: 10, weighed: true },
    Run { name: "categories", inputs: 3, layers: &[of(Kind::Embedding { column: 2, categories: 3, dimensions: 18 }, Act::Linear).dropout(0.25), of(Kind::Elementwise, Act::HardSigmoid), of(Kind::LayerNorm { epsilon: 1e-3 }, Act::Linear),
          dense(20, Act::HardSwish, Init::HeNormal).residual(2), dense(3, Act::Mish, Init::GlorotUniform)],
          loss: LogCosh, classes: false, optimizer: AdamW { rate: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, corrected: true }, samples: 600, batch: 300, steps: 3, weighed: false },
    Run { name: "features", inputs: 270, layers: &[of(Kind::LayerNorm { epsilon: 1e-3 }, Act::Linear), of(Kind::Dense { units: 300, bias: false, init: Init::HeNormal }, Act::Relu), of(Kind::RmsNorm { epsilon: 1e-5 }, Act::Silu).dropout(0.3),
          of(Kind::Dense { units: 10, bias: false, init: Init::LecunNormal }, Act::Elu(0.7)), of(Kind::Dense { units: 1, bias: false, init: Init::LecunNormal }, Act::Silu)],
          loss: MeanAbsoluteError, classes: false, optimizer: Plain { rate: 0.05 }, samples: 8, batch: 4, steps: 5, weighed: false },
    Run { name: "top", inputs: 9, layers: &[dense(9, Act::Tanh, Init::GlorotUniform).residual(1).dropout(0.5), dense(9, Act::LeakyRelu(0.1), Init::HeUniform).dropout(0.25), of(Kind::RmsNorm { epsilon: 1e-5 }, Act::Softmax).residual(2)],
          loss: CrossEntropy, classes: true, optimizer: Plain { rate: 0.2 }, samples: 24, batch: 8, steps: 10, weighed: false },
    Run { name: "batches", inputs: 7, layers: &[WITHOUT_BIAS_18, of(Kind::BatchNorm { epsilon: 1e-5, momentum: 0.1 }, Act::Relu).dropout(0.25), WITHOUT_BIAS_18, of(Kind::BatchNorm { epsilon: 1e-3, momentum: 0.25 }, Act::HardSwish).residual(2),
          dense(18, Act::Tanh, Init::GlorotUniform).residual(3), dense(3, Act::Softmax, Init::GlorotUniform)],
          loss: CrossEntropy, classes: true, optimizer: AdamW { rate: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, corrected: true }, samples: 40, batch: 20, steps: 10, weighed: false },
    Run { name: "running", inputs: 5, layers: &[of(Kind::BatchNorm { epsilon: 1e-5, momentum: 0.1 }, Act::Linear), dense(17, Act::Elu(0.7), Init::HeNormal), of(Kind::BatchNorm { epsilon: 1e-5, momentum: 1.0 }, Act::Gelu).residual(1), dense(1, Act::GeluTanh, Init::LecunNormal)],
          loss: MeanSquaredError, classes: false, optimizer: Plain { rate: 0.1 }, samples: 600, batch: 300, steps: 4, weighed: false },
];

/// What a run ends with.
#[derive(Debug, PartialEq)]
struct End {
    /// Bits of the loss before each step.
    losses: Vec<u32>,
    params: u64,
    state: u64,
    /// Then, without training: the outputs of all samples, and the bits of the loss of the first batch.
    outputs: u64,
    loss: u32,
}

/// What a run learns.
struct Data {
    x: Vec<f32>,
    /// NaN where they are masked.
    values: Vec<f32>,
    classes: Vec<u32>,
    sample_weights: Vec<f32>,
    mask: Vec<f32>,
    class_weights: Vec<f32>,
    /// Of a normalization: means, then scales.
    statistics: Vec<f32>,
}

impl Run {
    fn outputs(&self) -> usize {
        self.network(NaiveArithmetic::Portable, false).places().last().unwrap().outputs
    }

    /// Inputs: categories, else 2u − 1, every sixth +0; then targets: classes, bits, signs, counts, else u; then weights and mask.
    fn data(&self) -> Data {
        let mut random = Random::new(SEED, DATA_STREAM);
        let columns = self.network(NaiveArithmetic::Portable, false).categories();
        let x = (0..self.samples * self.inputs).map(|i| {
            if let Some(&(_, categories)) = columns.iter().find(|(column, _)| i % self.inputs == *column) {
                return random.below(categories as u32) as f32;
            }
            let u = random.uniform();
            if i % 6 == 5 { 0.0 } else { 2.0 * u - 1.0 }
        });
        let x = x.collect();
        let (mut values, mut classes) = (vec![], vec![]);
        if self.classes {
            classes.extend((0..self.samples).map(|_| random.below(self.outputs() as u32)));
        } else {
            values.extend((0..self.samples * self.outputs()).map(|_| match self.loss {
                BinaryCrossEntropy | SmoothedBinaryCrossEntropy(_) => random.below(2) as f32,
                Hinge => 2.0 * random.below(2) as f32 - 1.0,
                Poisson => random.below(4) as f32,
                _ => random.uniform(),
            }));
        }
        let (mut sample_weights, mut mask, mut class_weights) = (vec![], vec![], vec![]);
        if self.weighed {
            sample_weights.extend((0..self.samples).map(|_| random.uniform()));
            mask.extend((0..self.samples * self.outputs()).map(|_| f32::from(random.below(4) > 0)));
            if self.classes {
                class_weights.extend((0..self.outputs()).map(|_| random.uniform()));
            }
            values.iter_mut().zip(&mask).filter(|(_, m)| **m == 0.0).for_each(|(t, _)| *t = f32::NAN);
        }
        let mut statistics = vec![];
        if self.layers[0].kind == Kind::Normalization {
            let is_category = |column: usize| columns.iter().any(|(other, _)| *other == column);
            let means = (0..self.inputs).map(|column| (column, 2.0 * random.uniform() - 1.0));
            statistics.extend(means.map(|(column, mean)| if is_category(column) { 0.0 } else { mean }));
            let scales = (0..self.inputs).map(|column| (column, 0.5 + random.uniform()));
            statistics.extend(scales.map(|(column, scale)| if is_category(column) { 1.0 } else { scale }));
        }
        Data { x, values, classes, sample_weights, mask, class_weights, statistics }
    }

    /// Steps of a run, and the samples each takes.
    fn schedule(&self, lean: bool) -> (usize, usize) {
        if lean { (self.steps * self.batch, 1) } else { (self.steps, self.batch) }
    }

    /// Schedules and arithmetics it runs in.
    fn columns(&self) -> impl Iterator<Item = (bool, NaiveArithmetic)> {
        columns().filter(|(lean, _)| !lean || !is_over_the_batch(self.layers))
    }

    fn network(&self, arithmetic: NaiveArithmetic, lean: bool) -> Network<'static> {
        let Run { inputs, layers, loss, optimizer, .. } = *self;
        Network { arithmetic, lean, inputs, layers, loss, optimizer, seed: SEED }
    }

    fn naive(&self, arithmetic: NaiveArithmetic, lean: bool) -> (End, Vec<f32>) {
        let network = self.network(arithmetic, lean);
        let data = self.data();
        let goal = |sample: usize| -> Goal<'_> {
            let outputs = sample * self.outputs()..(sample + 1) * self.outputs();
            let class = data.classes.get(sample);
            Goal {
                target: class
                    .map_or_else(|| Target::Values(&data.values[outputs.clone()]), |&class| Target::Class(class)),
                weight: data.sample_weights.get(sample).copied(),
                class_weight: class.and_then(|&class| data.class_weights.get(class as usize)).copied(),
                mask: data.mask.get(outputs),
            }
        };
        let goals: Vec<Goal<'_>> = (0..self.samples).map(goal).collect();
        let mut params = network.init(SEED);
        let trainable = network.trainable_len();
        params[trainable..][..data.statistics.len()].copy_from_slice(&data.statistics);
        let mut state = vec![0.0; trainable * self.optimizer().state_per_parameter()];
        let (steps, batch) = self.schedule(lean);
        let losses = (0..steps).map(|step| {
            let from = step * batch % self.samples;
            let x = &data.x[from * self.inputs..][..batch * self.inputs];
            network.train_step(step as u64, x, &goals[from..from + batch], &mut params, &mut state).to_bits()
        });
        let losses = losses.collect();
        let loss = network.evaluate(&params, &data.x[..batch * self.inputs], &goals[..batch]).to_bits();
        let outputs = naive::hash(&network.predict(&params, &data.x));
        (End { losses, params: naive::hash(&params), state: naive::hash(&state), outputs, loss }, params)
    }

    fn layers(&self) -> Vec<Layer> {
        self.layers.iter().map(layer).collect()
    }

    fn optimizer(&self) -> Optimizer {
        optimizer(self.optimizer)
    }

    fn loss(&self) -> Loss<'static> {
        match self.loss {
            HalfMeanSquaredError => Loss::HalfMeanSquaredError,
            MeanSquaredError => Loss::MeanSquaredError,
            MeanAbsoluteError => Loss::MeanAbsoluteError,
            Huber(delta) => Loss::Huber { delta },
            LogCosh => Loss::LogCosh,
            Quantile(quantile) => Loss::Quantile { quantile },
            Poisson => Loss::Poisson,
            Hinge => Loss::Hinge,
            BinaryCrossEntropy => Loss::BinaryCrossEntropy,
            SmoothedBinaryCrossEntropy(smoothing) => Loss::SmoothedBinaryCrossEntropy { smoothing },
            BinaryCrossEntropyOfProbabilities => Loss::BinaryCrossEntropyOfProbabilities,
            CrossEntropy => Loss::CrossEntropy,
            SmoothedCrossEntropy(smoothing) => Loss::SmoothedCrossEntropy { smoothing },
            CrossEntropyOfProbabilities => Loss::CrossEntropyOfProbabilities,
            KullbackLeibler => Loss::KullbackLeibler,
        }
    }

    fn microprop(&self, isa: Isa, lean: bool) -> (End, Vec<f32>) {
        let layers = self.layers();
        let layout = Layout::new(self.inputs, &layers).unwrap();
        let mlp = mlp(layout, isa, lean);
        let trainer = Trainer::new(mlp, self.loss(), self.optimizer()).unwrap();
        let (steps, batch) = self.schedule(lean);
        let data = self.data();
        let trainer = match data.class_weights.as_slice() {
            [] => trainer,
            weights => trainer.with_class_weights(weights).unwrap(),
        };
        let mut params = vec![f32::NAN; layout.params_len()];
        microprop::init(&layout, SEED, &mut params).unwrap();
        params[layout.trainable_len()..][..data.statistics.len()].copy_from_slice(&data.statistics);
        let mut state = vec![0.0; layout.optimizer_len(&self.optimizer())];
        let mut workspace = vec![f32::NAN; mlp.workspace_len(batch).unwrap()];
        let targets = |from: usize| {
            let targets = match self.classes {
                true => Targets::classes(&data.classes[from..from + batch]),
                false => Targets::values(&data.values[from * self.outputs()..][..batch * self.outputs()]),
            };
            match self.weighed {
                true => targets
                    .with_sample_weights(&data.sample_weights[from..from + batch])
                    .with_mask(&data.mask[from * self.outputs()..][..batch * self.outputs()]),
                false => targets,
            }
        };
        let losses = (0..steps).map(|step| {
            let from = step * batch % self.samples;
            let x = &data.x[from * self.inputs..][..batch * self.inputs];
            trainer
                .train_step(step as u64, x, targets(from), &mut params, &mut state, &mut workspace)
                .unwrap()
                .to_bits()
        });
        let losses = losses.collect();
        let loss = trainer.loss(&data.x[..batch * self.inputs], targets(0), &params, &mut workspace).unwrap().to_bits();
        let mut outputs = vec![f32::NAN; self.samples * self.outputs()];
        let mut workspace = vec![f32::NAN; mlp.predict_workspace_len(self.samples).unwrap()];
        mlp.predict(&params, &data.x, &mut outputs, &mut workspace).unwrap();
        let [hash_of_params, state, outputs] = [&params, &state, &outputs].map(|x| microprop::hash(x));
        (End { losses, params: hash_of_params, state, outputs, loss }, params)
    }
}

fn activation(act: Act) -> Activation {
    match act {
        Act::Linear => Activation::Linear,
        Act::Relu => Activation::Relu,
        Act::LeakyRelu(slope) => Activation::LeakyRelu { slope },
        Act::Elu(alpha) => Activation::Elu { alpha },
        Act::Selu => Activation::Selu,
        Act::Gelu => Activation::Gelu,
        Act::GeluTanh => Activation::GeluTanh,
        Act::Silu => Activation::Silu,
        Act::Mish => Activation::Mish,
        Act::Softplus => Activation::Softplus,
        Act::Softsign => Activation::Softsign,
        Act::Sigmoid => Activation::Sigmoid,
        Act::HardSigmoid => Activation::HardSigmoid,
        Act::HardSwish => Activation::HardSwish,
        Act::Tanh => Activation::Tanh,
        Act::Softmax => Activation::Softmax,
    }
}

fn initializer(init: Init) -> Initializer {
    match init {
        Init::GlorotUniform => Initializer::GlorotUniform,
        Init::GlorotNormal => Initializer::GlorotNormal,
        Init::HeUniform => Initializer::HeUniform,
        Init::HeNormal => Initializer::HeNormal,
        Init::LecunUniform => Initializer::LecunUniform,
        Init::LecunNormal => Initializer::LecunNormal,
        Init::Zeros => Initializer::Zeros,
    }
}

/// The crate's layer.
fn layer(layer: &naive::Layer) -> Layer {
    let activation = activation(layer.activation);
    let found = match layer.kind {
        Kind::Dense { units, bias: true, init } => Layer::dense(units, activation).with_init(initializer(init)),
        Kind::Dense { units, bias: false, init } => {
            Layer::dense(units, activation).with_init(initializer(init)).without_bias()
        }
        Kind::Elementwise => Layer::elementwise(activation),
        Kind::LayerNorm { epsilon } => Layer::layer_norm(activation).with_epsilon(epsilon),
        Kind::RmsNorm { epsilon } => Layer::rms_norm(activation).with_epsilon(epsilon),
        Kind::BatchNorm { epsilon, momentum } => {
            Layer::batch_norm(activation).with_epsilon(epsilon).with_momentum(momentum)
        }
        Kind::Normalization => Layer::normalization(),
        Kind::Embedding { column, categories, dimensions } => Layer::embedding(column, categories, dimensions),
    };
    assert_eq!(found.activation(), activation, "{layer:?} has an activation in the crate");
    let naive::Penalty { l1, l2 } = layer.penalty;
    found.with_residual(layer.residual).with_dropout(layer.dropout).with_penalty(microprop::Penalty { l1, l2 })
}

fn mlp(layout: Layout<'_>, isa: Isa, lean: bool) -> Mlp<'_> {
    Mlp::new(layout, isa).with_schedule(if lean { Schedule::Lean } else { Schedule::Batch }).with_seed(SEED)
}

fn optimizer(optimizer: naive::Optimizer) -> Optimizer {
    match optimizer {
        Plain { rate } => Sgd::new(rate).into(),
        Momentum { rate, decay, nesterov: false } => Sgd::new(rate).momentum(decay).into(),
        Momentum { rate, decay, nesterov: true } => Sgd::new(rate).nesterov(decay).into(),
        AdamW { rate, beta1, beta2, epsilon, corrected } => {
            let placement = if corrected { EpsilonPlacement::Corrected } else { EpsilonPlacement::Uncorrected };
            Adam::new(rate).betas(beta1, beta2).epsilon(epsilon, placement).into()
        }
    }
}

const BOTH: [NaiveArithmetic; 2] = [NaiveArithmetic::Portable, NaiveArithmetic::Fused];

fn isas(arithmetic: NaiveArithmetic) -> impl Iterator<Item = Isa> {
    let arithmetic = match arithmetic {
        NaiveArithmetic::Fused => Arithmetic::Fused,
        NaiveArithmetic::Portable => Arithmetic::Portable,
    };
    Isa::available().filter(move |isa| isa.arithmetic() == arithmetic)
}

/// Hashes of the final parameters: batch portable, batch fused, lean portable, lean fused (not with a batch norm).
#[rustfmt::skip]
const HASHES: &[(&str, &[u64])] = &[
    ("one", &[0x8b333f50f1378d80, 0x27d28a8c5de4f89a, 0x69dc8079b8cccb3e, 0xa8caaa23d7f41d75]),
    ("dot", &[0x7a39f59cd98e04a9, 0x2c1eaf407c79d7b5, 0x5824b37f73fa961e, 0x440115b11a2cf84f]),
    ("two", &[0x791efef818469aaa, 0x703328649df53d6d, 0xad17207ed5ee9db8, 0x61dcaa4f7cba4ea9]),
    ("ten", &[0x21e25fb880ee5d1a, 0xf833b75df2c4dbad, 0xaa83e8673147f666, 0x6926961875c0ddce]),
    ("sixteen", &[0xfa9bfddd3b878721, 0xe0ffa4a824323270, 0x2284a5da4f417406, 0xf0a2df00d7e7f99b]),
    ("wide", &[0x75233dd8bd39ea18, 0x234fc65dd0a908dc, 0x77bc3c5982612529, 0xd5bf8bc60a7b1088]),
    ("outputs", &[0x4bba3ff96cc430f5, 0x0084294dbeff023e, 0xad05027237e69f98, 0x3f34f5961cfdc2d0]),
    ("tall", &[0xc8537dd484f021fd, 0x82f118586716ca16, 0xf85d5f6eff35d72e, 0x47b10a4fb6c0b93f]),
    ("squared", &[0xa7a45281813bddb8, 0x13151c0bd0b363a2, 0xd03a8567482baac9, 0x2fb36db6e2b325c6]),
    ("absolute", &[0xa64f4a6dab6f294d, 0xceb2474b273fb7a3, 0xf80031b825aa8d03, 0x07defe25f4002211]),
    ("huber", &[0xd944ebce74c463ea, 0x56d359526a25377a, 0x1db12b25d241c256, 0x0884dcf2d3b35d89]),
    ("log_cosh", &[0x060d25bda840ef4b, 0x42035b194b683a4a, 0xcabe4b82ad0d0576, 0xddccb7df6acf656d]),
    ("quantile", &[0xc4df5934ba96516c, 0xf1e840b25c586062, 0xd996fc2d0d67b089, 0x049009232f111f86]),
    ("counts", &[0xf12d3eccb0a70e0a, 0x1162086c10833d67, 0x60769ebb751f36bf, 0x568c05b92221d679]),
    ("margin", &[0xc9c461e4dc63bd4b, 0x5aa56284f196e39f, 0x09472ac0f7d9ab03, 0x9d3a37671dae0a0f]),
    ("smooth", &[0x05971b4f3a807966, 0x1d2040cf7b791f03, 0x79c0474d3b09fa95, 0xd906b1f111b7ec63]),
    ("soft", &[0x0c1664fd0f6bb2ba, 0x4978ca0bf683d371, 0x431a6bdffbba5274, 0x29f383db62ad90fe]),
    ("labels", &[0x27e756ca1188d2ef, 0xa42b21ea7b0b28bd, 0x586d311132394464, 0xd6a05d34830fe742]),
    ("binary", &[0x4c8cd0729094835a, 0xdd13ec68bf314c58, 0x31e3b4618a1a0076, 0x23742271e27b84b0]),
    ("categorical", &[0xa0e5a2b20a3fd20b, 0xa00fac7a4b25f426, 0x9463b0e8ba3a103c, 0xd525ed758003fe7f]),
    ("divergence", &[0x664e78c2f40931fd, 0x55a1747aaf31e3fd, 0xffd28b4839bbb480, 0x9183d471c8d01a5e]),
    ("masked", &[0xf2f6031581971a0c, 0xce34c85367bbd506, 0xce2630e1aae53293, 0xd8520bf5641e48ab]),
    ("classes", &[0x7f13daeb30c57adc, 0xe3d8ba157dcca7b9, 0x769536dd85d09e7d, 0x69672a82a2d931c7]),
    ("rows", &[0x7534b5cb837be9e7, 0xcaa6843063d29f53, 0x5dac32ddaad4d714, 0xaddb502a9878423d]),
    ("elastic", &[0x789cbc805d280c56, 0x7637fc98c71d5e78, 0xf40d80d8126e92fa, 0xd3e00a156dc36d51]),
    ("decay", &[0x5a455bb2b0d0fffa, 0xcfb40c581a5b27b0, 0x431cc31b19ccfb0c, 0x002daefddf034c9d]),
    ("norms", &[0xaad1499da786dfff, 0xce076d679d3ba69e, 0xccc0274a6608f071, 0x50e09d17b3407866]),
    ("skips", &[0xbad5951ef524f0a5, 0x4acbafd7e32aa81f, 0xc03057c4ff46577b, 0xda8417b829488390]),
    ("tables", &[0x38b412e6e7e2a585, 0xbf3869ee096e37c5, 0x62aeaf6c65af396c, 0xcf9d71bbddebdeca]),
    ("categories", &[0x0d046f343bf68d98, 0xd58d00d3d358a51a, 0xc1b0f53d9dba9e27, 0x79be416f1eee43c0]),
    ("features", &[0x85fc5f5e7cdaf65d, 0x33963745cf39c061, 0x95f340757231e6c7, 0x70489cf5ed67e005]),
    ("top", &[0xb420b6f1ff561b75, 0x2aa16a8674b6fdea, 0x89bede680a50aeb5, 0x03e85565d79cc278]),
    ("batches", &[0x5ead585061f3837f, 0xb08f71e7d12e78a7]),
    ("running", &[0xc66dca1b12e0c3b1, 0xfc2f4f8804e880e0]),
];

/// Hashes of the initial weights of a 33-17 layer, see [`init_hash`].
#[rustfmt::skip]
const INIT_HASHES: &[(Init, u64)] = &[
    (Init::GlorotUniform, 0x7298bdf26fd3249f),
    (Init::GlorotNormal, 0x0391cdcb56453e4b),
    (Init::HeUniform, 0x54e50d755d378eb1),
    (Init::HeNormal, 0x2e9f2833d3261015),
    (Init::LecunUniform, 0xbff7a9379e1f2bc7),
    (Init::LecunNormal, 0x0c6b1066db385169),
    (Init::Zeros, 0x83175c4256beedc5),
];

/// Whether the lean schedule refuses these layers.
fn is_over_the_batch(layers: &[naive::Layer]) -> bool {
    layers.iter().any(|layer| matches!(layer.kind, Kind::BatchNorm { .. }))
}

/// Hashes of the initial parameters of runs that together have every kind of layer.
const RUN_INIT_HASHES: &[(&str, u64)] =
    &[("norms", 0xc00bf83569f031fc), ("tables", 0x70ea0dc926f868fa), ("batches", 0x07ef818d809699f0)];

/// The columns of [`HASHES`].
fn columns() -> impl Iterator<Item = (bool, NaiveArithmetic)> {
    [false, true].into_iter().flat_map(|lean| BOTH.map(|arithmetic| (lean, arithmetic)))
}

#[test]
fn whole_runs_have_the_naive_programs_bits() {
    for run in RUNS {
        let stored = HASHES.iter().find(|(name, _)| *name == run.name).map_or(&[][..], |&(_, hashes)| hashes);
        let mut ends = vec![];
        for (column, (lean, arithmetic)) in run.columns().enumerate() {
            let stored = stored.get(column).copied().unwrap_or_default();
            let (expected, params) = run.naive(arithmetic, lean);
            let name = format!("{}, {arithmetic:?}, lean: {lean}", run.name);
            assert!(params.iter().all(|w| w.is_finite()), "{name} diverges");
            assert!(f32::from_bits(expected.losses[0]) > 0.0, "{name} has nothing to learn");
            for isa in isas(arithmetic) {
                let (found, other_params) = run.microprop(isa, lean);
                let first = params.iter().zip(&other_params).position(|(a, b)| a.to_bits() != b.to_bits());
                assert_eq!(first, None, "{name} on {isa}: the first parameter that differs");
                assert_eq!(found, expected, "{name} on {isa}");
            }
            assert_eq!(expected.params, stored, "{name}: the stored hash was {stored:#018x}");
            ends.push(expected.params);
        }
        // The columns are different results, or the comparison above says little.
        for (i, a) in ends.iter().enumerate() {
            assert!(!ends[..i].contains(a), "{}: columns {ends:x?} should all differ", run.name);
        }
    }
}

/// A network of one layer for each initializer.
fn init_hash(init: Init) -> u64 {
    let layers = [dense(17, Act::Linear, init)];
    hash_of_initial(Network { inputs: 33, layers: &layers, ..RUNS[0].network(NaiveArithmetic::Portable, false) })
}

fn run_init_hash(name: &str) -> u64 {
    let run = RUNS.iter().find(|run| run.name == name).unwrap();
    hash_of_initial(run.network(NaiveArithmetic::Portable, false))
}

fn hash_of_initial(network: Network<'_>) -> u64 {
    let params = network.init(SEED);
    let layers: Vec<Layer> = network.layers.iter().map(layer).collect();
    let layout = Layout::new(network.inputs, &layers).unwrap();
    let mut other_params = vec![f32::NAN; layout.params_len()];
    microprop::init(&layout, SEED, &mut other_params).unwrap();
    assert_eq!(bits(&params), bits(&other_params), "{layers:?}");
    naive::hash(&params)
}

const INITS: [Init; 7] = [
    Init::GlorotUniform,
    Init::GlorotNormal,
    Init::HeUniform,
    Init::HeNormal,
    Init::LecunUniform,
    Init::LecunNormal,
    Init::Zeros,
];

#[test]
fn initial_weights_have_the_naive_programs_bits() {
    let found: Vec<(Init, u64)> = INITS.iter().map(|&init| (init, init_hash(init))).collect();
    assert_eq!(found, INIT_HASHES, "{found:#x?}");
    let found: Vec<(&str, u64)> = RUN_INIT_HASHES.iter().map(|&(name, _)| (name, run_init_hash(name))).collect();
    assert_eq!(found, RUN_INIT_HASHES, "{found:#x?}");
}

#[test]
fn the_generator_is_the_naive_programs() {
    for (seed, stream) in [(0, 0), (7, 1), (u64::MAX, 1 << 40)] {
        let (mut naive, mut rng) = (Random::new(seed, stream), Rng::with_stream(seed, stream));
        for bound in (1..200).chain([u32::MAX, u32::MAX / 2 + 2]) {
            assert_eq!(naive.word(), rng.next_u32());
            assert_eq!(naive.uniform().to_bits(), rng.uniform().to_bits());
            assert_eq!(naive.below(bound), rng.below(bound));
        }
        // Rule 8.4's shuffle.
        let (mut a, mut b): (Vec<u32>, Vec<u32>) = ((0..100).collect(), (0..100).collect());
        for last in (1..100).rev() {
            a.swap(last, naive.below(last as u32 + 1) as usize);
        }
        rng.shuffle(&mut b);
        assert_eq!(a, b);
    }
}

/// Gradients, updates and input deltas from a delta of the caller's: for every activation at the output, and for
/// every kind of layer below it.
#[test]
fn a_callers_delta_has_the_naive_programs_bits() {
    for activation in [Act::Linear, Act::Relu, Act::LeakyRelu(0.1), Act::Sigmoid, Act::Tanh, Act::Softmax, Act::Gelu] {
        for (inputs, outputs, batch) in [(5, 1, 3), (5, 10, 3), (7, 300, 2)] {
            let layers = [dense(17, Act::Tanh, Init::GlorotUniform), dense(outputs, activation, Init::HeNormal)];
            check_callers_delta(inputs, &layers, batch, &[]);
        }
    }
    for run in RUNS {
        let is_dense = |layer: &naive::Layer| matches!(layer.kind, Kind::Dense { bias: true, .. });
        if !run.layers.iter().all(|layer| is_dense(layer) && layer.residual == 0) {
            check_callers_delta(run.inputs, run.layers, 3, &run.data().statistics);
        }
    }
}

fn check_callers_delta(inputs: usize, naive_layers: &[naive::Layer], batch: usize, statistics: &[f32]) {
    // Both halves of a step and of a seed tell in dropout's masks.
    let (step, seed) = (5 << 32 | 9, 3 << 40 | 2);
    let layers: Vec<Layer> = naive_layers.iter().map(layer).collect();
    let layout = Layout::new(inputs, &layers).unwrap();
    let outputs = layout.outputs();
    let mut random = Random::new(SEED, DATA_STREAM);
    // The second time all is so small that products and sums are subnormal or vanish.
    let cases = columns().flat_map(|column| [(column, false), (column, true)]);
    let cases = cases.filter(|((lean, _), _)| !lean || !is_over_the_batch(naive_layers));
    for (((lean, arithmetic), small), mode) in
        cases.flat_map(|case| [(case, Mode::Prediction), (case, Mode::Training { step })])
    {
        let batch = if lean { 1 } else { batch };
        let mut uniform = |n: usize| -> Vec<f32> { (0..n).map(|_| 2.0 * random.uniform() - 1.0).collect() };
        let (mut x, mut delta) = (uniform(batch * inputs), uniform(batch * outputs));
        if small {
            x.iter_mut().for_each(|x| *x *= 1e-38);
            delta.iter_mut().for_each(|d| *d *= 1e-6);
        }
        let network = Network {
            inputs,
            layers: naive_layers,
            seed,
            optimizer: Plain { rate: 0.5 },
            ..RUNS[0].network(arithmetic, lean)
        };
        for (column, categories) in network.categories() {
            x.chunks_mut(inputs).for_each(|x| x[column] = random.below(categories as u32) as f32);
        }
        let mut params = network.init(SEED);
        params[layout.trainable_len()..][..statistics.len()].copy_from_slice(statistics);
        // Statistics and betas that have moved.
        for p in params.iter_mut().filter(|p| statistics.is_empty() && (**p == 0.0 || **p == 1.0)) {
            *p += 0.5 * random.uniform();
        }
        let goals: Vec<Goal<'_>> = delta.chunks(outputs).map(|delta| Target::Delta(delta).into()).collect();
        let samples = network.samples(&params, &x, &goals, 1.0, mode);
        let expected_outputs = network.outputs(&params, &x, mode);
        let below: Vec<f32> = samples.iter().flat_map(|sample: &Sample| sample.deltas[0].clone()).collect();
        let gradient = network.gradients(&params, &samples);
        let mut updated = params.clone();
        network.train_step(step, &x, &goals, &mut updated, &mut []);
        for isa in isas(arithmetic) {
            let mlp = mlp(layout, isa, lean).with_seed(seed);
            let mut workspace = vec![f32::NAN; mlp.workspace_len(batch).unwrap()];
            let mut found = vec![f32::NAN; layout.trainable_len()];
            let mut found_below = vec![f32::NAN; x.len()];
            let context = format!("{naive_layers:?} of {inputs} on {isa}, lean: {lean}, small: {small}, {mode:?}");
            let pass = pass_of(&mlp, mode, &params, &x, &mut workspace);
            assert_eq!(bits(pass.outputs()), bits(&expected_outputs), "outputs of {context}");
            pass.gradient(Delta::Outputs(&delta), &params, &mut found, Some(&mut found_below)).unwrap();
            assert_eq!(bits(&found_below), bits(&below), "input delta of {context}");
            assert_eq!(bits(&found), bits(&gradient), "gradient of {context}");
            if let Mode::Training { step } = mode {
                let mut found = params.clone();
                let pass = pass_of(&mlp, mode, &params, &x, &mut workspace);
                let sgd = Sgd::new(0.5).into();
                pass.backward(&sgd, step, Delta::Outputs(&delta), &mut found, &mut [], None).unwrap();
                assert_eq!(bits(&found), bits(&updated), "updated parameters of {context}");
            }
        }
    }
}

fn pass_of<'a, 'p>(mlp: &Mlp<'a>, mode: Mode, params: &[f32], x: &'p [f32], workspace: &'p mut [f32]) -> Pass<'a, 'p> {
    match mode {
        Mode::Prediction => mlp.forward(params, x, workspace).unwrap(),
        Mode::Training { step } => mlp.forward_training(step, params, x, workspace).unwrap(),
    }
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// Rule 6.4: a row of weights whose input is ±0 keeps its bits, −0 too.
#[test]
fn the_lean_schedule_skips_rows_of_zero_inputs() {
    let dense = [dense(3, Act::Linear, Init::Zeros)];
    let layers = dense.each_ref().map(layer);
    let layout = Layout::new(2, &layers).unwrap();
    let targets = [1.0, -1.0, 0.5];
    for (lean, arithmetic) in columns() {
        for x in [[0.0, 1.0], [-0.0, 1.0]] {
            let network = Network {
                inputs: 2,
                layers: &dense,
                loss: HalfMeanSquaredError,
                optimizer: Plain { rate: 0.5 },
                ..RUNS[0].network(arithmetic, lean)
            };
            let before = [-0.0_f32; 9];
            let mut expected = before;
            network.train_step(0, &x, &[Target::Values(&targets).into()], &mut expected, &mut []);
            for isa in isas(arithmetic) {
                let mlp = Mlp::new(layout, isa).with_schedule(if lean { Schedule::Lean } else { Schedule::Batch });
                let trainer = Trainer::new(mlp, Loss::HalfMeanSquaredError, Sgd::new(0.5).into()).unwrap();
                let mut workspace = vec![0.0; mlp.workspace_len(1).unwrap()];
                let mut params = before;
                trainer.train_step(0, &x, Targets::values(&targets), &mut params, &mut [], &mut workspace).unwrap();
                assert_eq!(bits(&params), bits(&expected), "{x:?} on {isa}, lean: {lean}");
                assert_eq!(bits(&params[..3]), bits(&before[..3]), "{x:?} on {isa}, lean: {lean}");
            }
        }
    }
}

/// Rule 6.5: so does the row of an embedding's table whose category does not occur. A row that does occur is
/// updated from −η and δ: where both w and δ are −0, rule 6.2 would give −0.
#[test]
fn rule_6_4_is_about_embeddings_too() {
    let naive_layers = [of(Kind::Embedding { column: 0, categories: 2, dimensions: 2 }, Act::Linear)];
    let layers = naive_layers.each_ref().map(layer);
    let layout = Layout::new(1, &layers).unwrap();
    for (lean, arithmetic) in columns() {
        let network = Network {
            inputs: 1,
            layers: &naive_layers,
            loss: HalfMeanSquaredError,
            optimizer: Plain { rate: 0.5 },
            ..RUNS[0].network(arithmetic, lean)
        };
        let mut expected = [-0.0; 4];
        network.train_step(0, &[1.0], &[Target::Values(&[0.0; 2]).into()], &mut expected, &mut []);
        let occurring = if lean { 0.0 } else { -0.0 };
        assert_eq!(bits(&expected), bits(&[-0.0, -0.0, occurring, occurring]));
        for isa in isas(arithmetic) {
            let mlp = mlp(layout, isa, lean);
            let trainer = Trainer::new(mlp, Loss::HalfMeanSquaredError, Sgd::new(0.5).into()).unwrap();
            let mut workspace = vec![0.0; mlp.workspace_len(1).unwrap()];
            let mut params = [-0.0; 4];
            trainer.train_step(0, &[1.0], Targets::values(&[0.0; 2]), &mut params, &mut [], &mut workspace).unwrap();
            assert_eq!(bits(&params), bits(&expected), "on {isa}, lean: {lean}");
        }
    }
}

/// Rule 3.5: not even +0, which would turn a sum that has underflowed to −0 into +0.
#[test]
fn nothing_is_added_without_a_bias() {
    for units in [1, 5, 40] {
        let naive_layers = [of(Kind::Dense { units, bias: false, init: Init::Zeros }, Act::Linear)];
        let layers = naive_layers.each_ref().map(layer);
        let layout = Layout::new(1, &layers).unwrap();
        let params = vec![-1e-30; units];
        for (lean, arithmetic) in columns() {
            let network = Network { inputs: 1, layers: &naive_layers, ..RUNS[0].network(arithmetic, lean) };
            let expected = network.predict(&params, &[1e-30]);
            // A chain of four ends with −0 + 0, sixteen partials too.
            let is_minus = units > 16 && arithmetic == NaiveArithmetic::Fused;
            assert!(expected.iter().all(|y| y.is_sign_negative() == is_minus), "{units}: {expected:?}");
            for isa in isas(arithmetic) {
                let mlp = mlp(layout, isa, lean);
                let mut workspace = vec![0.0; mlp.predict_workspace_len(1).unwrap()];
                let mut y = vec![f32::NAN; units];
                mlp.predict(&params, &[1e-30], &mut y, &mut workspace).unwrap();
                assert_eq!(bits(&y), bits(&expected), "{units} units on {isa}, lean: {lean}");
            }
        }
    }
}

/// Rule 8.7: a value whose number is the rate itself is kept.
#[test]
fn dropout_keeps_the_rate_itself() {
    let word = naive::random::philox([0, 0, 0, 0x4000_0000], [SEED as u32, 0])[0];
    let number = (word >> 8) as f32 / 16_777_216.0;
    for (rate, is_kept) in [(number, true), (number.next_up(), false)] {
        let plain = of(Kind::Elementwise, Act::Linear);
        let naive_layers = [plain.dropout(rate), plain];
        let network = Network { inputs: 1, layers: &naive_layers, ..RUNS[0].network(NaiveArithmetic::Portable, false) };
        let expected = if is_kept { 1.0 / (1.0 - rate) } else { 0.0 };
        assert_eq!(network.outputs(&[], &[1.0], Mode::Training { step: 0 }), [expected]);
        let layers = naive_layers.each_ref().map(layer);
        let layout = Layout::new(1, &layers).unwrap();
        for (lean, isa) in [false, true].into_iter().flat_map(|lean| Isa::available().map(move |isa| (lean, isa))) {
            let mlp = mlp(layout, isa, lean);
            let mut workspace = vec![0.0; mlp.workspace_len(1).unwrap()];
            let y = mlp.forward_training(0, &[], &[1.0], &mut workspace).unwrap().outputs()[0];
            assert_eq!(y.to_bits(), expected.to_bits(), "rate {rate} on {isa}, lean: {lean}");
        }
    }
}

/// Rule 6.5 where signs and zeros matter: weights of ±0 and subnormal ones, inputs of ±0, a factor of 0.
#[test]
fn penalties_have_the_naive_programs_bits() {
    let before = [0.0, -0.0, 1e-45, -1e-45, 0.5, -0.5, -0.0, -0.0, -0.0, -0.0, 0.0, 0.25_f32];
    let targets = [1.0, -1.0, 0.5];
    for (lean, arithmetic) in columns() {
        for (l1, l2) in [(0.125, 0.0), (0.0, 0.25), (0.125, 0.25), (1e-45, 1e-45), (-0.0, 0.25), (0.0, -0.0)] {
            for x in [[1.0, 0.5, 0.0], [0.0, -0.0, -1.0], [0.0, 0.0, 0.0]] {
                let naive_layers = [dense(3, Act::Linear, Init::Zeros).penalty(l1, l2)];
                let network = Network {
                    inputs: 3,
                    layers: &naive_layers,
                    loss: HalfMeanSquaredError,
                    optimizer: Plain { rate: 0.5 },
                    ..RUNS[0].network(arithmetic, lean)
                };
                let mut expected = before;
                let goals = [Target::Values(&targets).into()];
                let samples = network.samples(&before, &x, &goals, 1.0, Mode::Training { step: 0 });
                let gradient = network.gradients(&before, &samples);
                let loss = network.train_step(0, &x, &goals, &mut expected, &mut []);
                let layers = naive_layers.each_ref().map(layer);
                let layout = Layout::new(3, &layers).unwrap();
                for isa in isas(arithmetic) {
                    let context = format!("l1 {l1} l2 {l2}, {x:?} on {isa}, lean: {lean}");
                    let mlp = Mlp::new(layout, isa).with_schedule(if lean { Schedule::Lean } else { Schedule::Batch });
                    let trainer = Trainer::new(mlp, Loss::HalfMeanSquaredError, Sgd::new(0.5).into()).unwrap();
                    let mut workspace = vec![0.0; mlp.workspace_len(1).unwrap()];
                    let (mut params, mut found) = (before, [f32::NAN; 12]);
                    let targets = Targets::values(&targets);
                    let written = trainer.gradient(0, &x, targets, &params, &mut found, &mut workspace).unwrap();
                    assert_eq!(bits(&found), bits(&gradient), "gradient, {context}");
                    let penalty = trainer.penalty(&params).unwrap();
                    assert_eq!(penalty == 0.0, l1 <= 0.0 && l2 <= 0.0, "{context}");
                    let alone = trainer.loss(&x, targets, &params, &mut workspace).unwrap();
                    let step = trainer.train_step(0, &x, targets, &mut params, &mut [], &mut workspace).unwrap();
                    assert_eq!(bits(&[step, alone, written]), bits(&[loss; 3]), "{context}");
                    assert_eq!(bits(&params), bits(&expected), "{context}");
                }
            }
        }
    }
}

#[test]
fn elementary_functions_have_the_naive_programs_bits() {
    type Function = (&'static str, fn(Isa, &mut [f32]), fn(NaiveArithmetic, f32) -> f32);
    let functions: [Function; 14] = [
        ("exp", kernels::exp, NaiveArithmetic::exp),
        ("ln", kernels::ln, NaiveArithmetic::ln),
        ("sigmoid", kernels::sigmoid, NaiveArithmetic::sigmoid),
        ("tanh", kernels::tanh, NaiveArithmetic::tanh),
        ("softplus_of_negative", kernels::softplus_of_negative, NaiveArithmetic::softplus_of_negative),
        ("expm1", kernels::expm1, NaiveArithmetic::expm1),
        ("softplus", kernels::softplus, NaiveArithmetic::softplus),
        ("silu", kernels::silu, NaiveArithmetic::silu),
        ("gelu", kernels::gelu, NaiveArithmetic::gelu),
        ("gelu_tanh", kernels::gelu_tanh, NaiveArithmetic::gelu_tanh),
        ("mish", kernels::mish, NaiveArithmetic::mish),
        ("softsign", kernels::softsign, NaiveArithmetic::softsign),
        ("hard_sigmoid", kernels::hard_sigmoid, NaiveArithmetic::hard_sigmoid),
        ("hard_swish", kernels::hard_swish, NaiveArithmetic::hard_swish),
    ];
    let x = sample(40_009);
    for (name, function, naive) in functions {
        for arithmetic in BOTH {
            let expected: Vec<f32> = x.iter().map(|&x| naive(arithmetic, x)).collect();
            for isa in isas(arithmetic) {
                let mut y = x.clone();
                function(isa, &mut y);
                let differ = |i: &usize| naive::hash(&[y[*i]]) != naive::hash(&[expected[*i]]);
                if let Some(i) = (0..x.len()).find(differ) {
                    panic!("{name}({:e}) on {isa} is {:e}, the naive program's {:e}", x[i], y[i], expected[i]);
                }
            }
        }
    }
}

/// Numbers of all sizes, a prime number of bits apart, and what is special.
fn sample(step: usize) -> Vec<f32> {
    let special = [0.0, -0.0, 1.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 88.8, -103.9, f32::MIN_POSITIVE];
    (0..=u32::MAX).step_by(step).map(f32::from_bits).chain(special).collect()
}

/// Rule 3.3 through a layer of one weight, 1, and no bias: values of z, and slopes times 0.7 at the
/// values or, where the slope is taken there, at z.
#[test]
fn activations_have_the_naive_programs_bits() {
    let z = sample(100_003);
    let elementwise = [Act::Linear, Act::Relu, Act::LeakyRelu(0.1), Act::Elu(1.0), Act::Elu(0.3), Act::Selu];
    let smooth = [Act::Softplus, Act::Softsign, Act::Sigmoid, Act::HardSigmoid, Act::Tanh];
    let at_z = [Act::Gelu, Act::GeluTanh, Act::Silu, Act::Mish, Act::HardSwish];
    for act in elementwise.into_iter().chain(smooth).chain(at_z) {
        for arithmetic in BOTH {
            let network = RUNS[0].network(arithmetic, false);
            let values: Vec<f32> = z.iter().map(|&z| network.activate(act, z + 0.0)).collect();
            let slopes = z.iter().zip(&values).map(|(&z, &y)| network.slope(act, 0.7, y, z));
            let slopes: Vec<f32> = slopes.collect();
            for isa in isas(arithmetic) {
                let (mut y, mut d) = (vec![f32::NAN; z.len()], vec![f32::NAN; z.len()]);
                let mut scratch = [0.0; kernels::forward_scratch_len(1)];
                kernels::dense_forward(isa, &z, &[1.0], &[0.0], activation(act), &mut y, &mut scratch).unwrap();
                let (delta, at) = (vec![0.7; z.len()], if at_z.contains(&act) { &z } else { &y });
                kernels::dense_delta(isa, &delta, 1, &[1.0], at, activation(act), &mut d, &mut scratch).unwrap();
                for i in 0..z.len() {
                    let same = |a: f32, b: f32| naive::hash(&[a]) == naive::hash(&[b]);
                    assert!(same(y[i], values[i]), "{act:?} of {:e} on {isa}: {:e}, {:e}", z[i], y[i], values[i]);
                    assert!(same(d[i], slopes[i]), "{act:?}' at {:e} on {isa}: {:e}, {:e}", z[i], d[i], slopes[i]);
                }
            }
        }
    }
}

#[test]
fn the_hash_is_the_naive_programs() {
    for values in [&[][..], &[0.0], &[-0.0], &[1.0, -1.5e-40, f32::INFINITY], &[-f32::NAN, f32::from_bits(0x7f80_0001)]]
    {
        assert_eq!(naive::hash(values), microprop::hash(values), "{values:?}");
    }
}

/// The document's worked example: one step of a 2-2-1 network in numbers and bits.
fn example() -> String {
    let layers = [dense(2, Act::Tanh, Init::GlorotUniform), dense(1, Act::Sigmoid, Init::GlorotUniform)];
    let mut text = String::new();
    let mut line = |name: &str, values: &[f32]| {
        let number = |v: &f32| format!("{v:<14} {:08x}", v.to_bits());
        let numbers: Vec<String> = values.iter().map(number).collect();
        writeln!(text, "{name:<18} {}", numbers.join("   ")).unwrap();
    };
    let network = Network { inputs: 2, layers: &layers, ..RUNS[0].network(NaiveArithmetic::Portable, false) };
    let (x, t) = ([1.0, -0.5], [1.0]);
    let mut params = network.init(SEED);
    line("W1 row 0", &params[..2]);
    line("W1 row 1", &params[2..4]);
    line("W2", &params[6..8]);
    let goals = [Target::Values(&t).into()];
    let sample = &network.samples(&params, &x, &goals, 1.0, Mode::Training { step: 0 })[0];
    line("x", &x);
    line("values of layer 1", &sample.values[1]);
    line("output", &network.predict(&params, &x));
    line("delta of layer 2", &sample.deltas[2]);
    line("delta of layer 1", &sample.deltas[1]);
    let loss = network.train_step(0, &x, &goals, &mut params, &mut []);
    line("loss", &[loss]);
    line("new W1 row 0", &params[..2]);
    line("new W1 row 1", &params[2..4]);
    line("new b1", &params[4..6]);
    line("new W2", &params[6..8]);
    line("new b2", &params[8..]);
    writeln!(text, "{:<18} {:016x}", "hash of params", naive::hash(&params)).unwrap();
    text.lines().map(|line| line.trim_end().to_string() + "\n").collect()
}

/// A line of the document's table of runs.
fn row(run: &Run, hashes: &[u64]) -> String {
    let cells = (0..4).map(|column| hashes.get(column).map_or("–".to_string(), |hash| format!("`{hash:016x}`")));
    let cells: Vec<String> = cells.collect();
    format!("| {} | {} |", run.name, cells.join(" | "))
}

/// A line of the document's table of what the runs are.
fn description(run: &Run) -> String {
    let layers: Vec<String> = run.layers.iter().map(describe).collect();
    let Run { name, inputs, loss, classes, optimizer, samples, batch, steps, weighed, .. } = run;
    let classes = if *classes { ", classes" } else { "" };
    let weighed = if *weighed { ", weighed" } else { "" };
    let layers = layers.join(", ");
    format!(
        "| {name} | {inputs}, {layers} | {loss:?}{classes}{weighed} | {optimizer:?} | {samples} | {batch} | {steps} |"
    )
}

/// `64 Relu GlorotUniform`, `LayerNorm(1e-5) Silu + residual 2 + dropout 0.1`.
fn describe(layer: &naive::Layer) -> String {
    let mut text = match layer.kind {
        Kind::Dense { units, bias: true, init } => format!("{units} {:?} {init:?}", layer.activation),
        Kind::Dense { units, bias: false, init } => format!("{units} {:?} {init:?} without bias", layer.activation),
        Kind::Elementwise => format!("{:?}", layer.activation),
        Kind::LayerNorm { epsilon } => format!("LayerNorm({epsilon:?}) {:?}", layer.activation),
        Kind::RmsNorm { epsilon } => format!("RmsNorm({epsilon:?}) {:?}", layer.activation),
        Kind::BatchNorm { epsilon, momentum } => format!("BatchNorm({epsilon:?}, {momentum}) {:?}", layer.activation),
        Kind::Normalization => "Normalization".to_string(),
        Kind::Embedding { column, categories, dimensions } => {
            format!("Embedding({column}, {categories}, {dimensions})")
        }
    };
    if layer.residual > 0 {
        write!(text, " + residual {}", layer.residual).unwrap();
    }
    if layer.dropout > 0.0 {
        write!(text, " + dropout {}", layer.dropout).unwrap();
    }
    let naive::Penalty { l1, l2 } = layer.penalty;
    if l1 > 0.0 || l2 > 0.0 {
        write!(text, " + l1 {l1} + l2 {l2}").unwrap();
    }
    text
}

fn init_row(name: impl Debug, hash: u64) -> String {
    format!("| {name:?} | `{hash:016x}` |").replace('"', "")
}

#[test]
fn the_document_has_these_hashes() {
    assert_eq!(HASHES.len(), RUNS.len());
    for (run, (name, hashes)) in RUNS.iter().zip(HASHES) {
        assert_eq!(run.name, *name);
        for line in [description(run), row(run, hashes)] {
            assert!(DOCUMENT.contains(&line), "docs/ARITHMETIC.md lacks\n{line}");
        }
    }
    for &(init, hash) in INIT_HASHES {
        assert!(DOCUMENT.contains(&init_row(init, hash)), "docs/ARITHMETIC.md lacks\n{}", init_row(init, hash));
    }
    for &(name, hash) in RUN_INIT_HASHES {
        assert!(DOCUMENT.contains(&init_row(name, hash)), "docs/ARITHMETIC.md lacks\n{}", init_row(name, hash));
    }
    let example = example();
    assert!(DOCUMENT.contains(&example), "docs/ARITHMETIC.md lacks the example\n{example}");
}

/// What belongs into the document and into the constants above.
#[test]
#[ignore = "prints: cargo test --test arithmetic -- --ignored --nocapture print"]
fn print_the_tables() {
    println!("{}", example());
    for run in RUNS {
        println!("{}", description(run));
    }
    for run in RUNS {
        let ends: Vec<u64> = run.columns().map(|(lean, arithmetic)| run.naive(arithmetic, lean).0.params).collect();
        println!("{}", row(run, &ends));
    }
    for init in INITS {
        println!("{}", init_row(init, init_hash(init)));
    }
    for &(name, _) in RUN_INIT_HASHES {
        println!("{}", init_row(name, run_init_hash(name)));
    }
    for run in RUNS {
        let ends = run.columns().map(|(lean, arithmetic)| run.naive(arithmetic, lean).0.params);
        let ends: Vec<String> = ends.map(|hash| format!("{hash:#018x}")).collect();
        println!("    ({:?}, &[{}]),", run.name, ends.join(", "));
    }
    for init in INITS {
        println!("    (Init::{init:?}, {:#018x}),", init_hash(init));
    }
    for &(name, _) in RUN_INIT_HASHES {
        println!("    ({name:?}, {:#018x}),", run_init_hash(name));
    }
}
