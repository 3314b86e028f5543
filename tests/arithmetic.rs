//! Whole training runs: the naive program of docs/ARITHMETIC.md against the crate, hash by hash.
//!
//! Three things are tied together here: the crate, the program in `naive/`, and
//! the tables in the document. `cargo test --test arithmetic -- --ignored --nocapture print`
//! prints what belongs into the document and into [`HASHES`].

#[expect(unreachable_pub, reason = "a program of its own: what it shows is not this test's to restrict")]
mod naive;

use microprop::{
    Activation, Adam, Arithmetic, Delta, EpsilonPlacement, Initializer, Isa, Layer, Layout, Loss, Mlp, Optimizer, Rng,
    Schedule, Sgd, Targets, Trainer, kernels,
};
use naive::math::Arithmetic as NaiveArithmetic;
use naive::random::Random;
use naive::{Activation as Act, Dense, Goal, Init, Network, Penalty, Sample, Target};
use std::fmt::Write;

const DOCUMENT: &str = include_str!("../docs/ARITHMETIC.md");

/// Initial weights of every run, and its data, come from this seed.
const SEED: u64 = 7;
/// Data come from this stream: no layer has that index.
const DATA_STREAM: u64 = 1000;

/// A training run. `batch` is what a step takes of `samples` samples, one after the other, over and over.
struct Run {
    name: &'static str,
    inputs: usize,
    layers: &'static [Dense],
    penalties: &'static [Penalty],
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

#[rustfmt::skip]
const RUNS: &[Run] = &[
    Run { name: "one", inputs: 20, layers: &[Dense(64, Act::Relu, Init::GlorotUniform), Dense(1, Act::Sigmoid, Init::GlorotUniform)],
          penalties: &[], loss: BinaryCrossEntropy, classes: false, optimizer: Plain { rate: 0.1 }, samples: 96, batch: 32, steps: 12, weighed: false },
    Run { name: "dot", inputs: 603, layers: &[Dense(1, Act::Linear, Init::LecunNormal)],
          penalties: &[], loss: HalfMeanSquaredError, classes: false, optimizer: Plain { rate: 0.002 }, samples: 10, batch: 5, steps: 10, weighed: false },
    Run { name: "two", inputs: 5, layers: &[Dense(17, Act::Tanh, Init::LecunUniform), Dense(2, Act::Tanh, Init::GlorotNormal)],
          penalties: &[], loss: MeanSquaredError, classes: false, optimizer: Momentum { rate: 0.05, decay: 0.9, nesterov: false }, samples: 62, batch: 31, steps: 12, weighed: false },
    Run { name: "ten", inputs: 64, layers: &[Dense(33, Act::Relu, Init::HeUniform), Dense(10, Act::Softmax, Init::GlorotUniform)],
          penalties: &[], loss: CrossEntropy, classes: true, optimizer: AdamW { rate: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, corrected: true }, samples: 66, batch: 33, steps: 12, weighed: false },
    Run { name: "sixteen", inputs: 301, layers: &[Dense(16, Act::LeakyRelu(0.01), Init::HeNormal), Dense(33, Act::Sigmoid, Init::GlorotNormal), Dense(3, Act::Linear, Init::LecunNormal)],
          penalties: &[], loss: HalfMeanSquaredError, classes: false, optimizer: Momentum { rate: 0.02, decay: 0.8, nesterov: true }, samples: 14, batch: 7, steps: 10, weighed: false },
    Run { name: "wide", inputs: 270, layers: &[Dense(290, Act::Relu, Init::HeNormal), Dense(19, Act::Sigmoid, Init::GlorotUniform)],
          penalties: &[], loss: BinaryCrossEntropy, classes: false, optimizer: Plain { rate: 0.5 }, samples: 6, batch: 3, steps: 6, weighed: false },
    Run { name: "outputs", inputs: 9, layers: &[Dense(17, Act::Tanh, Init::GlorotUniform), Dense(300, Act::Softmax, Init::GlorotUniform)],
          penalties: &[], loss: CrossEntropy, classes: false, optimizer: Plain { rate: 0.05 }, samples: 8, batch: 4, steps: 8, weighed: false },
    Run { name: "tall", inputs: 7, layers: &[Dense(18, Act::Tanh, Init::LecunNormal), Dense(1, Act::Linear, Init::LecunNormal)],
          penalties: &[], loss: MeanSquaredError, classes: false, optimizer: AdamW { rate: 0.01, beta1: 0.8, beta2: 0.99, epsilon: 1e-7, corrected: false }, samples: 600, batch: 300, steps: 4, weighed: false },
    Run { name: "squared", inputs: 8, layers: &[Dense(20, Act::LeakyRelu(0.2), Init::HeUniform), Dense(5, Act::Softmax, Init::Zeros)],
          penalties: &[], loss: MeanSquaredError, classes: false, optimizer: Plain { rate: 0.5 }, samples: 40, batch: 20, steps: 12, weighed: false },
    Run { name: "absolute", inputs: 6, layers: &[Dense(20, Act::Tanh, Init::GlorotUniform), Dense(5, Act::Linear, Init::LecunNormal)],
          penalties: &[], loss: MeanAbsoluteError, classes: false, optimizer: Plain { rate: 0.1 }, samples: 24, batch: 12, steps: 10, weighed: false },
    Run { name: "huber", inputs: 7, layers: &[Dense(18, Act::Tanh, Init::GlorotUniform), Dense(1, Act::LeakyRelu(0.1), Init::LecunNormal)],
          penalties: &[], loss: Huber(0.25), classes: false, optimizer: Momentum { rate: 0.05, decay: 0.9, nesterov: false }, samples: 24, batch: 12, steps: 10, weighed: false },
    Run { name: "log_cosh", inputs: 9, layers: &[Dense(33, Act::Relu, Init::HeUniform), Dense(19, Act::Linear, Init::HeNormal)],
          penalties: &[], loss: LogCosh, classes: false, optimizer: Plain { rate: 0.5 }, samples: 20, batch: 10, steps: 10, weighed: false },
    Run { name: "quantile", inputs: 5, layers: &[Dense(17, Act::Tanh, Init::LecunUniform), Dense(3, Act::Sigmoid, Init::GlorotNormal)],
          penalties: &[], loss: Quantile(0.8), classes: false, optimizer: Plain { rate: 0.5 }, samples: 24, batch: 8, steps: 10, weighed: true },
    Run { name: "counts", inputs: 5, layers: &[Dense(17, Act::Tanh, Init::LecunUniform), Dense(4, Act::Sigmoid, Init::GlorotNormal)],
          penalties: &[], loss: Poisson, classes: false, optimizer: Plain { rate: 0.1 }, samples: 24, batch: 8, steps: 10, weighed: false },
    Run { name: "margin", inputs: 8, layers: &[Dense(18, Act::Relu, Init::HeNormal), Dense(17, Act::Linear, Init::HeNormal)],
          penalties: &[], loss: Hinge, classes: false, optimizer: Plain { rate: 0.5 }, samples: 24, batch: 8, steps: 10, weighed: true },
    Run { name: "smooth", inputs: 8, layers: &[Dense(20, Act::Relu, Init::HeUniform), Dense(10, Act::Softmax, Init::GlorotUniform)],
          penalties: &[], loss: SmoothedCrossEntropy(0.1), classes: true, optimizer: Plain { rate: 0.5 }, samples: 24, batch: 8, steps: 10, weighed: true },
    Run { name: "soft", inputs: 8, layers: &[Dense(20, Act::Relu, Init::HeUniform), Dense(33, Act::Softmax, Init::GlorotUniform)],
          penalties: &[], loss: SmoothedCrossEntropy(0.3), classes: false, optimizer: Plain { rate: 0.05 }, samples: 24, batch: 8, steps: 10, weighed: false },
    Run { name: "labels", inputs: 8, layers: &[Dense(20, Act::Relu, Init::HeUniform), Dense(7, Act::Sigmoid, Init::GlorotUniform)],
          penalties: &[], loss: SmoothedBinaryCrossEntropy(0.2), classes: false, optimizer: Plain { rate: 0.5 }, samples: 24, batch: 8, steps: 10, weighed: true },
    Run { name: "binary", inputs: 8, layers: &[Dense(20, Act::Relu, Init::HeUniform), Dense(18, Act::Sigmoid, Init::GlorotUniform)],
          penalties: &[], loss: BinaryCrossEntropyOfProbabilities, classes: false, optimizer: Plain { rate: 0.5 }, samples: 24, batch: 8, steps: 10, weighed: true },
    Run { name: "categorical", inputs: 8, layers: &[Dense(20, Act::Relu, Init::HeUniform), Dense(20, Act::Softmax, Init::GlorotUniform)],
          penalties: &[], loss: CrossEntropyOfProbabilities, classes: false, optimizer: Plain { rate: 0.05 }, samples: 24, batch: 8, steps: 10, weighed: false },
    Run { name: "divergence", inputs: 8, layers: &[Dense(20, Act::Relu, Init::HeUniform), Dense(17, Act::Softmax, Init::GlorotUniform)],
          penalties: &[], loss: KullbackLeibler, classes: false, optimizer: Plain { rate: 0.05 }, samples: 24, batch: 8, steps: 10, weighed: true },
    Run { name: "masked", inputs: 8, layers: &[Dense(20, Act::LeakyRelu(0.2), Init::HeUniform), Dense(5, Act::Softmax, Init::GlorotNormal)],
          penalties: &[], loss: HalfMeanSquaredError, classes: false, optimizer: Plain { rate: 0.5 }, samples: 24, batch: 8, steps: 10, weighed: true },
    Run { name: "classes", inputs: 8, layers: &[Dense(20, Act::Relu, Init::HeUniform), Dense(3, Act::Softmax, Init::GlorotUniform)],
          penalties: &[], loss: CrossEntropy, classes: true, optimizer: AdamW { rate: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, corrected: true }, samples: 24, batch: 8, steps: 10, weighed: true },
    Run { name: "rows", inputs: 8, layers: &[Dense(20, Act::Relu, Init::HeUniform), Dense(18, Act::Softmax, Init::GlorotUniform)],
          penalties: &[], loss: CrossEntropy, classes: false, optimizer: Plain { rate: 0.05 }, samples: 24, batch: 8, steps: 10, weighed: true },
    Run { name: "elastic", inputs: 37, layers: &[Dense(35, Act::Tanh, Init::GlorotUniform), Dense(11, Act::Relu, Init::HeNormal), Dense(1, Act::Linear, Init::LecunNormal)],
          penalties: &[Penalty { l1: 0.01, l2: 0.02 }, Penalty { l1: 0.0, l2: 0.0 }, Penalty { l1: 0.03, l2: 0.0 }],
          loss: MeanSquaredError, classes: false, optimizer: Plain { rate: 0.1 }, samples: 24, batch: 12, steps: 12, weighed: false },
    Run { name: "decay", inputs: 19, layers: &[Dense(17, Act::LeakyRelu(0.1), Init::HeUniform), Dense(5, Act::Softmax, Init::Zeros)],
          penalties: &[Penalty { l1: 0.0, l2: 0.1 }, Penalty { l1: 0.004, l2: 0.05 }],
          loss: CrossEntropy, classes: true, optimizer: AdamW { rate: 0.01, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, corrected: true }, samples: 40, batch: 20, steps: 12, weighed: false },
];

/// What a run ends with.
#[derive(Debug, PartialEq)]
struct End {
    /// Bits of the loss before each step.
    losses: Vec<u32>,
    params: u64,
    state: u64,
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
}

impl Run {
    fn outputs(&self) -> usize {
        self.layers.last().unwrap().0
    }

    /// Inputs 2u − 1, every sixth +0; then targets: classes, bits, signs, counts, else u; then weights and mask.
    fn data(&self) -> Data {
        let mut random = Random::new(SEED, DATA_STREAM);
        let x = (0..self.samples * self.inputs).map(|i| {
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
        Data { x, values, classes, sample_weights, mask, class_weights }
    }

    /// Steps of a run, and the samples each takes.
    fn schedule(&self, lean: bool) -> (usize, usize) {
        if lean { (self.steps * self.batch, 1) } else { (self.steps, self.batch) }
    }

    fn network(&self, arithmetic: NaiveArithmetic, lean: bool) -> Network<'static> {
        let Run { inputs, layers, penalties, loss, optimizer, .. } = *self;
        Network { arithmetic, lean, inputs, layers, penalties, loss, optimizer }
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
        let mut state = vec![0.0; params.len() * self.optimizer().state_per_parameter()];
        let (steps, batch) = self.schedule(lean);
        let losses = (0..steps).map(|step| {
            let from = step * batch % self.samples;
            let x = &data.x[from * self.inputs..][..batch * self.inputs];
            network.train_step(step as u64, x, &goals[from..from + batch], &mut params, &mut state).to_bits()
        });
        let losses = losses.collect();
        (End { losses, params: naive::hash(&params), state: naive::hash(&state) }, params)
    }

    fn layers(&self) -> Vec<Layer> {
        let mut layers: Vec<Layer> =
            self.layers.iter().map(|&Dense(units, activation, init)| layer(units, activation, init)).collect();
        for (layer, &Penalty { l1, l2 }) in layers.iter_mut().zip(self.penalties) {
            *layer = layer.with_penalty(microprop::Penalty { l1, l2 });
        }
        layers
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
        let mlp = Mlp::new(layout, isa).with_schedule(if lean { Schedule::Lean } else { Schedule::Batch });
        let trainer = Trainer::new(mlp, self.loss(), self.optimizer()).unwrap();
        let (steps, batch) = self.schedule(lean);
        let data = self.data();
        let trainer = match data.class_weights.as_slice() {
            [] => trainer,
            weights => trainer.with_class_weights(weights).unwrap(),
        };
        let mut params = vec![f32::NAN; layout.params_len()];
        microprop::init(&layout, SEED, &mut params).unwrap();
        let mut state = vec![0.0; layout.optimizer_len(&self.optimizer())];
        let mut workspace = vec![f32::NAN; mlp.workspace_len(batch).unwrap()];
        let losses = (0..steps).map(|step| {
            let from = step * batch % self.samples;
            let x = &data.x[from * self.inputs..][..batch * self.inputs];
            let targets = match self.classes {
                true => Targets::classes(&data.classes[from..from + batch]),
                false => Targets::values(&data.values[from * self.outputs()..][..batch * self.outputs()]),
            };
            let targets = match self.weighed {
                true => targets
                    .with_sample_weights(&data.sample_weights[from..from + batch])
                    .with_mask(&data.mask[from * self.outputs()..][..batch * self.outputs()]),
                false => targets,
            };
            trainer.train_step(step as u64, x, targets, &mut params, &mut state, &mut workspace).unwrap().to_bits()
        });
        let losses = losses.collect();
        (End { losses, params: microprop::hash(&params), state: microprop::hash(&state) }, params)
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

fn layer(units: usize, act: Act, init: Init) -> Layer {
    Layer::dense(units, activation(act)).with_init(match init {
        Init::GlorotUniform => Initializer::GlorotUniform,
        Init::GlorotNormal => Initializer::GlorotNormal,
        Init::HeUniform => Initializer::HeUniform,
        Init::HeNormal => Initializer::HeNormal,
        Init::LecunUniform => Initializer::LecunUniform,
        Init::LecunNormal => Initializer::LecunNormal,
        Init::Zeros => Initializer::Zeros,
    })
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

/// Hashes of the final weights: batch portable, batch fused, lean portable, lean fused.
#[rustfmt::skip]
const HASHES: &[(&str, [u64; 4])] = &[
    ("one", [0x8b333f50f1378d80, 0x27d28a8c5de4f89a, 0x69dc8079b8cccb3e, 0xa8caaa23d7f41d75]),
    ("dot", [0x7a39f59cd98e04a9, 0x2c1eaf407c79d7b5, 0x5824b37f73fa961e, 0x440115b11a2cf84f]),
    ("two", [0x791efef818469aaa, 0x703328649df53d6d, 0xad17207ed5ee9db8, 0x61dcaa4f7cba4ea9]),
    ("ten", [0x21e25fb880ee5d1a, 0xf833b75df2c4dbad, 0xaa83e8673147f666, 0x6926961875c0ddce]),
    ("sixteen", [0xfa9bfddd3b878721, 0xe0ffa4a824323270, 0x2284a5da4f417406, 0xf0a2df00d7e7f99b]),
    ("wide", [0x75233dd8bd39ea18, 0x234fc65dd0a908dc, 0x77bc3c5982612529, 0xd5bf8bc60a7b1088]),
    ("outputs", [0x4bba3ff96cc430f5, 0x0084294dbeff023e, 0xad05027237e69f98, 0x3f34f5961cfdc2d0]),
    ("tall", [0xc8537dd484f021fd, 0x82f118586716ca16, 0xf85d5f6eff35d72e, 0x47b10a4fb6c0b93f]),
    ("squared", [0xa7a45281813bddb8, 0x13151c0bd0b363a2, 0xd03a8567482baac9, 0x2fb36db6e2b325c6]),
    ("absolute", [0xa64f4a6dab6f294d, 0xceb2474b273fb7a3, 0xf80031b825aa8d03, 0x07defe25f4002211]),
    ("huber", [0xd944ebce74c463ea, 0x56d359526a25377a, 0x1db12b25d241c256, 0x0884dcf2d3b35d89]),
    ("log_cosh", [0x060d25bda840ef4b, 0x42035b194b683a4a, 0xcabe4b82ad0d0576, 0xddccb7df6acf656d]),
    ("quantile", [0xc4df5934ba96516c, 0xf1e840b25c586062, 0xd996fc2d0d67b089, 0x049009232f111f86]),
    ("counts", [0xf12d3eccb0a70e0a, 0x1162086c10833d67, 0x60769ebb751f36bf, 0x568c05b92221d679]),
    ("margin", [0xc9c461e4dc63bd4b, 0x5aa56284f196e39f, 0x09472ac0f7d9ab03, 0x9d3a37671dae0a0f]),
    ("smooth", [0x05971b4f3a807966, 0x1d2040cf7b791f03, 0x79c0474d3b09fa95, 0xd906b1f111b7ec63]),
    ("soft", [0x0c1664fd0f6bb2ba, 0x4978ca0bf683d371, 0x431a6bdffbba5274, 0x29f383db62ad90fe]),
    ("labels", [0x27e756ca1188d2ef, 0xa42b21ea7b0b28bd, 0x586d311132394464, 0xd6a05d34830fe742]),
    ("binary", [0x4c8cd0729094835a, 0xdd13ec68bf314c58, 0x31e3b4618a1a0076, 0x23742271e27b84b0]),
    ("categorical", [0xa0e5a2b20a3fd20b, 0xa00fac7a4b25f426, 0x9463b0e8ba3a103c, 0xd525ed758003fe7f]),
    ("divergence", [0x664e78c2f40931fd, 0x55a1747aaf31e3fd, 0xffd28b4839bbb480, 0x9183d471c8d01a5e]),
    ("masked", [0xf2f6031581971a0c, 0xce34c85367bbd506, 0xce2630e1aae53293, 0xd8520bf5641e48ab]),
    ("classes", [0x7f13daeb30c57adc, 0xe3d8ba157dcca7b9, 0x769536dd85d09e7d, 0x69672a82a2d931c7]),
    ("rows", [0x7534b5cb837be9e7, 0xcaa6843063d29f53, 0x5dac32ddaad4d714, 0xaddb502a9878423d]),
    ("elastic", [0x789cbc805d280c56, 0x7637fc98c71d5e78, 0xf40d80d8126e92fa, 0xd3e00a156dc36d51]),
    ("decay", [0x5a455bb2b0d0fffa, 0xcfb40c581a5b27b0, 0x431cc31b19ccfb0c, 0x002daefddf034c9d]),
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

/// The columns of [`HASHES`].
fn columns() -> impl Iterator<Item = (bool, NaiveArithmetic)> {
    [false, true].into_iter().flat_map(|lean| BOTH.map(|arithmetic| (lean, arithmetic)))
}

#[test]
fn whole_runs_have_the_naive_programs_bits() {
    for run in RUNS {
        let stored = HASHES.iter().find(|(name, _)| *name == run.name).map_or([0; 4], |&(_, hashes)| hashes);
        let mut ends = vec![];
        for ((lean, arithmetic), stored) in columns().zip(stored) {
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
        // The four columns are four different results, or the comparison above says little.
        for (i, a) in ends.iter().enumerate() {
            assert!(!ends[..i].contains(a), "{}: columns {ends:x?} should all differ", run.name);
        }
    }
}

/// A network of one layer for each initializer.
fn init_hash(init: Init) -> u64 {
    let layers = [Dense(17, Act::Linear, init)];
    let network = Network { inputs: 33, layers: &layers, ..RUNS[0].network(NaiveArithmetic::Portable, false) };
    let params = network.init(SEED);
    let layers = [layer(17, Act::Linear, init)];
    let layout = Layout::new(33, &layers).unwrap();
    let mut other_params = vec![f32::NAN; layout.params_len()];
    microprop::init(&layout, SEED, &mut other_params).unwrap();
    assert_eq!(naive::hash(&params), microprop::hash(&other_params), "{init:?}");
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

/// Gradients and input deltas from a delta of the caller's, for every activation at the output.
#[test]
fn a_callers_delta_has_the_naive_programs_bits() {
    for activation in [Act::Linear, Act::Relu, Act::LeakyRelu(0.1), Act::Sigmoid, Act::Tanh, Act::Softmax] {
        for (inputs, outputs, batch) in [(5, 1, 3), (5, 10, 3), (7, 300, 2)] {
            let dense = [Dense(17, Act::Tanh, Init::GlorotUniform), Dense(outputs, activation, Init::HeNormal)];
            let layers = dense.map(|Dense(units, activation, init)| layer(units, activation, init));
            let layout = Layout::new(inputs, &layers).unwrap();
            let mut random = Random::new(SEED, DATA_STREAM);
            let mut uniform = |n: usize| -> Vec<f32> { (0..n).map(|_| 2.0 * random.uniform() - 1.0).collect() };
            // The second time all is so small that products and sums are subnormal or vanish.
            for ((lean, arithmetic), small) in columns().flat_map(|column| [(column, false), (column, true)]) {
                let batch = if lean { 1 } else { batch };
                let (mut x, mut delta) = (uniform(batch * inputs), uniform(batch * outputs));
                if small {
                    x.iter_mut().for_each(|x| *x *= 1e-38);
                    delta.iter_mut().for_each(|d| *d *= 1e-6);
                }
                let network = Network { inputs, layers: &dense, ..RUNS[0].network(arithmetic, lean) };
                let params = network.init(SEED);
                let samples: Vec<Sample> = (x.chunks(inputs).zip(delta.chunks(outputs)))
                    .map(|(x, delta)| network.sample(&params, x, Target::Delta(delta), 1.0))
                    .collect();
                let outputs_expected: Vec<f32> = x.chunks(inputs).flat_map(|x| network.predict(&params, x)).collect();
                let below: Vec<f32> = samples.iter().flat_map(|sample| sample.deltas[0].clone()).collect();
                let gradient: Vec<f32> = (0..2)
                    .flat_map(|l| (0..=[inputs, 17][l]).map(move |i| (l, i)))
                    .flat_map(|(l, i)| (0..[17, outputs][l]).map(move |j| (l, i, j)))
                    .map(|(l, i, j)| network.gradient(&samples, l, i, j, 0.0))
                    .collect();
                for isa in isas(arithmetic) {
                    let mlp = Mlp::new(layout, isa).with_schedule(if lean { Schedule::Lean } else { Schedule::Batch });
                    let mut workspace = vec![f32::NAN; mlp.workspace_len(batch).unwrap()];
                    let mut found = vec![f32::NAN; layout.trainable_len()];
                    let mut found_below = vec![f32::NAN; x.len()];
                    let pass = mlp.forward(&params, &x, &mut workspace).unwrap();
                    let context =
                        format!("{activation:?} {inputs}-17-{outputs} on {isa}, lean: {lean}, small: {small}");
                    assert_eq!(bits(pass.outputs()), bits(&outputs_expected), "outputs of {context}");
                    pass.gradient(Delta::Outputs(&delta), &params, &mut found, Some(&mut found_below)).unwrap();
                    assert_eq!(bits(&found_below), bits(&below), "input delta of {context}");
                    assert_eq!(bits(&found), bits(&gradient), "gradient of {context}");
                }
            }
        }
    }
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// Rule 6.4: a row of weights whose input is ±0 keeps its bits, −0 too.
#[test]
fn the_lean_schedule_skips_rows_of_zero_inputs() {
    let dense = [Dense(3, Act::Linear, Init::Zeros)];
    let layers = [layer(3, Act::Linear, Init::Zeros)];
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

/// Rule 6.5 where signs and zeros matter: weights of ±0 and subnormal ones, inputs of ±0, a factor of 0.
#[test]
fn penalties_have_the_naive_programs_bits() {
    let dense = [Dense(3, Act::Linear, Init::Zeros)];
    let before = [0.0, -0.0, 1e-45, -1e-45, 0.5, -0.5, -0.0, -0.0, -0.0, -0.0, 0.0, 0.25_f32];
    let targets = [1.0, -1.0, 0.5];
    for (lean, arithmetic) in columns() {
        for (l1, l2) in [(0.125, 0.0), (0.0, 0.25), (0.125, 0.25), (1e-45, 1e-45), (-0.0, 0.25), (0.0, -0.0)] {
            for x in [[1.0, 0.5, 0.0], [0.0, -0.0, -1.0], [0.0, 0.0, 0.0]] {
                let penalties = [Penalty { l1, l2 }];
                let network = Network {
                    inputs: 3,
                    layers: &dense,
                    penalties: &penalties,
                    loss: HalfMeanSquaredError,
                    optimizer: Plain { rate: 0.5 },
                    ..RUNS[0].network(arithmetic, lean)
                };
                let mut expected = before;
                let sample = [network.sample(&before, &x, Target::Values(&targets), 1.0)];
                let gradient = (0..12).map(|p| network.gradient(&sample, 0, p / 3, p % 3, before[p]));
                let gradient: Vec<f32> = gradient.collect();
                let loss = network.train_step(0, &x, &[Target::Values(&targets).into()], &mut expected, &mut []);
                let layers = [layer(3, Act::Linear, Init::Zeros).with_penalty(microprop::Penalty { l1, l2 })];
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
                    assert_eq!(penalty == 0.0, penalties[0] == Penalty { l1: 0.0, l2: 0.0 }, "{context}");
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
    let layers = [Dense(2, Act::Tanh, Init::GlorotUniform), Dense(1, Act::Sigmoid, Init::GlorotUniform)];
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
    let sample = network.sample(&params, &x, Target::Values(&t), 1.0);
    line("x", &x);
    line("values of layer 1", &sample.values[1]);
    line("output", &network.predict(&params, &x));
    line("delta of layer 2", &sample.deltas[2]);
    line("delta of layer 1", &sample.deltas[1]);
    let loss = network.train_step(0, &x, &[Target::Values(&t).into()], &mut params, &mut []);
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
fn row(run: &Run, hashes: &[u64; 4]) -> String {
    let [a, b, c, d] = hashes;
    format!("| {} | `{a:016x}` | `{b:016x}` | `{c:016x}` | `{d:016x}` |", run.name)
}

/// A line of the document's table of what the runs are.
fn description(run: &Run) -> String {
    let layer = |(l, Dense(units, activation, init)): (usize, &Dense)| {
        let penalty = run.penalties.get(l).filter(|p| p.l1 > 0.0 || p.l2 > 0.0);
        let penalty = penalty.map_or(String::new(), |Penalty { l1, l2 }| format!(" l1 {l1} l2 {l2}"));
        format!("{units} {activation:?} {init:?}{penalty}")
    };
    let layers: Vec<String> = run.layers.iter().enumerate().map(layer).collect();
    let Run { name, inputs, loss, classes, optimizer, samples, batch, steps, weighed, .. } = run;
    let classes = if *classes { ", classes" } else { "" };
    let weighed = if *weighed { ", weighed" } else { "" };
    let layers = layers.join(", ");
    format!(
        "| {name} | {inputs}, {layers} | {loss:?}{classes}{weighed} | {optimizer:?} | {samples} | {batch} | {steps} |"
    )
}

fn init_row(init: Init, hash: u64) -> String {
    format!("| {init:?} | `{hash:016x}` |")
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
        let ends: Vec<u64> = columns().map(|(lean, arithmetic)| run.naive(arithmetic, lean).0.params).collect();
        println!("{}", row(run, &ends.try_into().unwrap()));
    }
    for init in INITS {
        println!("{}", init_row(init, init_hash(init)));
    }
    for run in RUNS {
        let ends = columns().map(|(lean, arithmetic)| run.naive(arithmetic, lean).0.params);
        let ends: Vec<String> = ends.map(|hash| format!("{hash:#018x}")).collect();
        println!("    ({:?}, [{}]),", run.name, ends.join(", "));
    }
    for init in INITS {
        println!("    (Init::{init:?}, {:#018x}),", init_hash(init));
    }
}
