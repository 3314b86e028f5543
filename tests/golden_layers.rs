//! Golden training runs of every kind of layer, activation and loss: 30 steps as PyTorch and Keras take them.
//! `golden/make_layers.py` has made the files, says what is in them and how to make them again.
//!
//! The bar is that of `golden.rs`. Running statistics have one of their own, worked out the same way. One thing is added: the
//! losses may always be off by [`LOSS_UNITS`] units in the last place of the largest, whatever the framework's
//! float32 was lucky enough to hit. (Only `layer_norm_adam` needs it, whose loss of 5.4 is a few units wide there.)

#[path = "golden/file.rs"]
mod file;

use file::{BAR, Golden, norm, within};
use microprop::{Activation, Isa, Layer, Layout, Loss, Mlp, Penalty, Targets, Trainer};
use std::collections::BTreeSet;

const DIRECTORY: &str = "golden/layers";

/// Units in the last place of the largest loss.
const LOSS_UNITS: f64 = 3.0;

/// The case, its optimizer, and whether Keras has it too.
const CASES: [(&str, bool); 17] = [
    ("mae_sgd", true),
    ("huber_momentum", true),
    ("log_cosh_adam", true),
    ("quantile_sgd", false),
    ("bce_probabilities_momentum", true),
    ("ce_smoothed_adam", true),
    ("ce_class_smoothed_sgd", false),
    ("ce_probabilities_momentum", true),
    ("residual_sgd", true),
    ("hinge_momentum", true),
    ("kl_adam", true),
    ("poisson_sgd", true),
    ("penalties_momentum", true),
    ("layer_norm_adam", true),
    ("batch_norm_sgd", true),
    ("dropout_momentum", true),
    ("mixed_adam", true),
];

fn activation(word: &str) -> Activation {
    let (name, constant) = word.split_once('=').unwrap_or((word, "0"));
    let constant: f32 = constant.parse().unwrap();
    match name {
        "linear" => Activation::Linear,
        "leaky_relu" => Activation::LeakyRelu { slope: constant },
        "sigmoid" => Activation::Sigmoid,
        "tanh" => Activation::Tanh,
        "softmax" => Activation::Softmax,
        "elu" => Activation::Elu { alpha: constant },
        "selu" => Activation::Selu,
        "gelu" => Activation::Gelu,
        "gelu_tanh" => Activation::GeluTanh,
        "silu" => Activation::Silu,
        "softplus" => Activation::Softplus,
        "softsign" => Activation::Softsign,
        "hard_sigmoid" => Activation::HardSigmoid,
        "hard_swish" => Activation::HardSwish,
        "mish" => Activation::Mish,
        other => panic!("activation {other}"),
    }
}

/// The layer that a word of a `layers` line means.
fn layer(word: &str) -> Layer {
    let mut words = word.split(':');
    let mut next = || words.next().unwrap();
    let mut layer = match next() {
        "dense" => {
            let units = next().parse().unwrap();
            Layer::dense(units, activation(next()))
        }
        "activation" => Layer::elementwise(activation(next())),
        "layer_norm" => Layer::layer_norm(activation(next())),
        "rms_norm" => Layer::rms_norm(activation(next())),
        "batch_norm" => Layer::batch_norm(activation(next())),
        "normalization" => Layer::normalization(),
        "embedding" => {
            let [column, categories, dimensions] = [(); 3].map(|()| next().parse().unwrap());
            Layer::embedding(column, categories, dimensions)
        }
        other => panic!("layer {other}"),
    };
    let mut penalty = Penalty::NONE;
    for attribute in words {
        let (name, value) = attribute.split_once('=').unwrap_or((attribute, "0"));
        match name {
            "nobias" => layer = layer.without_bias(),
            "residual" => layer = layer.with_residual(value.parse().unwrap()),
            "dropout" => layer = layer.with_dropout(value.parse().unwrap()),
            "l1" => penalty.l1 = value.parse().unwrap(),
            "l2" => penalty.l2 = value.parse().unwrap(),
            other => panic!("attribute {other}"),
        }
    }
    if penalty == Penalty::NONE { layer } else { layer.with_penalty(penalty) }
}

/// What only these files have.
impl Golden {
    /// Whether there is such a line.
    fn has(&self, key: &str) -> bool {
        self.lines.contains_key(key)
    }

    /// The numbers of a line, none if it is not there.
    fn numbers_if_any(&self, key: &str) -> Vec<f32> {
        if self.has(key) { self.numbers(key, 0) } else { Vec::new() }
    }

    fn layers(&self) -> Vec<Layer> {
        self.words("layers").iter().map(|word| layer(word)).collect()
    }

    fn loss(&self) -> Loss<'static> {
        let constants: Vec<f32> = self.numbers("loss", 1);
        match (self.words("loss")[0].as_str(), constants.as_slice()) {
            ("half_mse", []) => Loss::HalfMeanSquaredError,
            ("mse", []) => Loss::MeanSquaredError,
            ("mae", []) => Loss::MeanAbsoluteError,
            ("huber", &[delta]) => Loss::Huber { delta },
            ("log_cosh", []) => Loss::LogCosh,
            ("quantile", &[quantile]) => Loss::Quantile { quantile },
            ("hinge", []) => Loss::Hinge,
            ("poisson", []) => Loss::Poisson,
            ("bce", &[smoothing]) => Loss::SmoothedBinaryCrossEntropy { smoothing },
            ("bce_probabilities", []) => Loss::BinaryCrossEntropyOfProbabilities,
            ("ce_class", []) => Loss::CrossEntropy,
            ("ce_class" | "ce_onehot", &[smoothing]) => Loss::SmoothedCrossEntropy { smoothing },
            ("ce_probabilities", []) => Loss::CrossEntropyOfProbabilities,
            ("kl", []) => Loss::KullbackLeibler,
            other => panic!("{}: loss {other:?}", self.name),
        }
    }

    /// The seed of dropout, 0 if there is none.
    fn seed(&self) -> u64 {
        if self.has("seed") { self.number("seed") } else { 0 }
    }

    /// How far our run on `isa` is from the float64 one: in losses, in final parameters, and in final statistics.
    fn distances(&self, seed: u64, isa: Isa) -> ([f64; 2], f64) {
        let (batch, batches): (usize, usize) = (self.number("batch"), self.number("batches"));
        let layers = self.layers();
        let layout = Layout::new(self.number("inputs"), &layers).unwrap();
        let mlp = Mlp::new(layout, isa).with_seed(seed);
        let mut trainer = Trainer::new(mlp, self.loss(), self.optimizer()).unwrap();
        let class_weights = self.numbers_if_any("class_weights");
        if !class_weights.is_empty() {
            trainer = trainer.with_class_weights(&class_weights).unwrap();
        }
        let x: Vec<f32> = self.numbers("x", 0);
        assert_eq!(x.len(), batches * batch * layout.inputs());
        let classes: Vec<u32> = if self.words("loss")[0] == "ce_class" { self.numbers("t", 0) } else { Vec::new() };
        let values: Vec<f32> = if classes.is_empty() { self.numbers("t", 0) } else { Vec::new() };
        let weights = self.numbers_if_any("weights");
        let mask = self.numbers_if_any("mask");

        let mut params: Vec<f32> = self.numbers("initial", 0);
        assert_eq!(params.len(), layout.trainable_len(), "{}", self.name);
        params.extend(self.numbers_if_any("statistics_initial"));
        let mut state = vec![0.0; layout.optimizer_len(trainer.optimizer())];
        let mut workspace = vec![0.0; trainer.mlp().workspace_len(batch).unwrap()];
        let mut losses = Vec::new();
        for step in 0..self.words("losses").len() {
            let rows = |width: usize| step % batches * batch * width..(step % batches + 1) * batch * width;
            let mut targets = if classes.is_empty() {
                Targets::values(&values[rows(layout.outputs())])
            } else {
                Targets::classes(&classes[rows(1)])
            };
            if !weights.is_empty() {
                targets = targets.with_sample_weights(&weights[rows(1)]);
            }
            if !mask.is_empty() {
                targets = targets.with_mask(&mask[rows(layout.outputs())]);
            }
            let x = &x[rows(layout.inputs())];
            losses.push(trainer.train_step(step as u64, x, targets, &mut params, &mut state, &mut workspace).unwrap());
        }
        let (trained, statistics) = params.split_at(layout.trainable_len());
        let of_statistics =
            if statistics.is_empty() { 0.0 } else { norm(statistics, &self.numbers("statistics_final", 0)) };
        (self.distances_of(&losses, trained), of_statistics)
    }

    /// How far final statistics may be from the float64 run's.
    fn statistics_bar(&self, all: &[Self]) -> f64 {
        let key = "f32_statistics_distance_of_5";
        let same = all.iter().filter(|other| other.case() == self.case() && other.has(key));
        same.map(|other| BAR * other.numbers::<f64>(key, 0)[1]).reduce(f64::min).unwrap_or(0.0)
    }
}

#[test]
fn every_case_from_the_frameworks_that_have_it() {
    let mut expected = BTreeSet::new();
    for (case, keras_too) in CASES {
        expected.insert(format!("torch_{case}"));
        if keras_too {
            expected.insert(format!("keras_{case}"));
        }
    }
    let all = Golden::all(DIRECTORY);
    assert_eq!(expected.len(), 32);
    assert_eq!(all.iter().map(|golden| golden.name.clone()).collect::<BTreeSet<_>>(), expected);

    // Every kind of layer and every attribute, every activation, every loss.
    let mut words = BTreeSet::new();
    for golden in &all {
        let parts = golden.words("layers").iter().flat_map(|word| word.split([':', '=']));
        words.extend(parts.chain([golden.words("loss")[0].as_str()]).map(str::to_owned));
    }
    let kinds = "dense activation layer_norm rms_norm batch_norm normalization embedding nobias residual dropout l1 l2";
    let activations = "linear leaky_relu elu selu gelu gelu_tanh silu softplus softsign sigmoid tanh hard_sigmoid \
                       hard_swish mish softmax";
    let losses = "half_mse mse mae huber log_cosh quantile bce bce_probabilities ce_class ce_onehot ce_probabilities \
                  hinge kl poisson";
    for word in [kinds, activations, losses].iter().flat_map(|words| words.split_whitespace()) {
        assert!(words.contains(word), "{word} is in no file");
    }
}

#[test]
fn our_runs_are_as_close_as_the_frameworks() {
    let header = format!("{:>9} {:>10}", "ours", "/median");
    println!("{:36} {:16} {:>20} {:>20} {:>20}", "", "", "losses", "final parameters", "statistics");
    println!("{:36} {:16} {header} {header} {header}", "run", "isa");
    let all = Golden::all(DIRECTORY);
    let mut failures = Vec::new();
    let mut worst = 0.0_f64;
    for golden in &all {
        let ([loss_bar, final_bar], statistics_bar) = (golden.bar(&all), golden.statistics_bar(&all));
        let largest = golden.numbers("losses", 0).into_iter().fold(0.0, f64::max);
        let unit = 2_f64.powi(largest.log2().floor() as i32 - 23);
        let bar = [loss_bar.max(LOSS_UNITS * unit), final_bar];
        for isa in Isa::available() {
            let (ours, statistics) = golden.distances(golden.seed(), isa);
            let mut row = format!("{:36} {:16}", golden.name, isa.name());
            for (distance, bar) in [(ours[0], bar[0]), (ours[1], bar[1]), (statistics, statistics_bar)] {
                // Nothing moves the statistics of a normalisation of inputs.
                let ratio = if bar > 0.0 { BAR * distance / bar } else { 0.0 };
                row += &format!(" {distance:9.2e} {ratio:10.2}");
                worst = worst.max(ratio);
            }
            println!("{row}");
            if !within(ours, bar) || statistics > statistics_bar {
                failures.push(row);
            }
        }
    }
    println!("worst ratio to the closer framework: {worst:.2} of {BAR}");
    assert!(failures.is_empty(), "farther than {BAR} times the frameworks' own float32:\n{}", failures.join("\n"));
}

/// Dropout's masks are those of the file's seed and of no other.
#[test]
fn other_seed_of_dropout_is_caught() {
    let all = Golden::all(DIRECTORY);
    let dropped: Vec<_> = all.iter().filter(|golden| golden.has("seed")).collect();
    assert_eq!(dropped.len(), 4);
    for golden in dropped {
        // One bit of the lower half, one of the upper.
        for seed in [golden.seed() ^ 1, golden.seed() ^ (1 << 32)] {
            let (distances, _) = golden.distances(seed, Isa::SCALAR);
            assert!(!within(distances, golden.bar(&all)), "{}: the seed makes no difference", golden.name);
        }
    }
}
