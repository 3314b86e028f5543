//! The same bits whatever runs them: instruction sets, threads, shards of the
//! batch, packed and plain kernels, the place of the workspace in memory.
//!
//! Each case is run once on the scalar instance of an arithmetic; whatever else
//! computes it must end with the same hash. Set `MICROPROP_REQUIRE_ISA=avx2,avx512`
//! (on AArch64 `neon`, on WebAssembly `simd128`) to make a missing instruction set a failure rather than a message.

use microprop::Activation::*;
use microprop::Loss::{
    BinaryCrossEntropy, BinaryCrossEntropyOfProbabilities, CrossEntropy, CrossEntropyOfProbabilities,
    HalfMeanSquaredError, Hinge, Huber, KullbackLeibler, LogCosh, MeanAbsoluteError, MeanSquaredError, Poisson,
    Quantile, SmoothedBinaryCrossEntropy, SmoothedCrossEntropy,
};
use microprop::{
    Activation, Adam, Arithmetic, Delta, Isa, Layer, Layout, Loss, Mlp, Optimizer, Penalty, Rng, Schedule, Sgd,
    Targets, Trainer, hash,
};

/// A network, what it learns and for how long.
struct Case {
    name: String,
    inputs: usize,
    layers: Vec<Layer>,
    /// Inputs that are categories, and how many of them there are.
    categories: Vec<(usize, u32)>,
    loss: Loss<'static>,
    optimizer: Optimizer,
    batch: usize,
    steps: u64,
}

impl Case {
    fn new(
        name: impl Into<String>,
        inputs: usize,
        layers: &[Layer],
        loss: Loss<'static>,
        optimizer: impl Into<Optimizer>,
        batch: usize,
        steps: u64,
    ) -> Self {
        let (name, layers, categories) = (name.into(), layers.to_vec(), vec![]);
        Self { name, inputs, layers, categories, loss, optimizer: optimizer.into(), batch, steps }
    }

    fn with_categories(self, categories: &[(usize, u32)]) -> Self {
        Self { categories: categories.to_vec(), ..self }
    }

    fn has_batch_norm(&self) -> bool {
        self.layers.iter().any(|layer| layer.to_string().starts_with("batch norm"))
    }
}

fn dense(units: usize, activation: Activation) -> Layer {
    Layer::dense(units, activation)
}

/// The five workloads of the benches, the two large ones with smaller batches and `wide` in a third of its width.
fn workloads() -> Vec<Case> {
    vec![
        Case::new("seed", 20, &[dense(64, Relu), dense(1, Sigmoid)], BinaryCrossEntropy, Sgd::new(0.1), 32, 4),
        Case::new("digits", 64, &[dense(128, Relu), dense(10, Softmax)], CrossEntropy, Adam::new(0.01), 32, 3),
        Case::new(
            "mnist",
            784,
            &[dense(512, Relu), dense(256, Relu), dense(10, Softmax)],
            CrossEntropy,
            Sgd::new(0.05).momentum(0.9),
            9,
            2,
        ),
        Case::new(
            "wide",
            341,
            &[dense(682, Relu), dense(682, Relu), dense(333, Softmax)],
            CrossEntropy,
            Sgd::new(0.05),
            9,
            2,
        ),
        Case::new(
            "control",
            17,
            &[dense(64, Tanh), dense(64, Tanh), dense(6, Linear)],
            MeanSquaredError,
            Adam::new(0.01),
            256,
            2,
        ),
    ]
}

/// What the workloads don't reach: short vectors, edges of tiles and blocks, one layer, one sample, many.
fn odd_shapes() -> Vec<Case> {
    let leaky = LeakyRelu { slope: 0.1 };
    let nesterov = Sgd::new(0.05).nesterov(0.9);
    vec![
        Case::new("1-1", 1, &[dense(1, Sigmoid)], BinaryCrossEntropy, Sgd::new(0.5), 1, 3),
        Case::new("31-1", 31, &[dense(1, Linear)], MeanSquaredError, nesterov, 5, 3),
        Case::new("2-3-2", 2, &[dense(3, Tanh), dense(2, Tanh)], HalfMeanSquaredError, Adam::new(0.1), 3, 4),
        Case::new("7-16-17", 7, &[dense(16, leaky), dense(17, Sigmoid)], BinaryCrossEntropy, nesterov, 13, 3),
        Case::new("257-15-33", 257, &[dense(15, Sigmoid), dense(33, Softmax)], CrossEntropy, Sgd::new(0.1), 6, 3),
        Case::new("512-65-5", 512, &[dense(65, Tanh), dense(5, Softmax)], MeanSquaredError, Sgd::new(0.1), 4, 3),
        Case::new("5-49-1, batch 600", 5, &[dense(49, leaky), dense(1, Linear)], MeanSquaredError, nesterov, 600, 2),
        Case::new(
            "300-150-277-3, batch 270",
            300,
            &[dense(150, Relu), dense(277, Tanh), dense(3, Softmax)],
            CrossEntropy,
            Sgd::new(0.1),
            270,
            1,
        ),
        Case::new(
            "four layers",
            3,
            &[dense(47, Relu), dense(18, Tanh), dense(100, Sigmoid), dense(31, Linear)],
            HalfMeanSquaredError,
            Adam::new(0.01),
            11,
            3,
        ),
        // B is packed from 32 Ki elements and 4 rows on: both sides of both edges.
        Case::new("packed", 300, &[dense(110, Relu), dense(2, Linear)], MeanSquaredError, Sgd::new(0.05), 4, 2),
        Case::new("three rows", 300, &[dense(110, Relu), dense(2, Linear)], MeanSquaredError, Sgd::new(0.05), 3, 2),
        Case::new("one row", 300, &[dense(310, Relu), dense(2, Linear)], MeanSquaredError, Sgd::new(0.05), 1, 2),
        Case::new("plain", 300, &[dense(109, Relu), dense(2, Linear)], MeanSquaredError, Sgd::new(0.05), 4, 2),
        // The gradient packs both sides from 128 rows, 128 columns and 16 Ki elements of delta on.
        Case::new("packed gradient", 130, &[dense(150, Tanh), dense(2, Linear)], MeanSquaredError, nesterov, 131, 2),
        Case::new("two blocks", 133, &[dense(128, Relu), dense(2, Linear)], MeanSquaredError, Adam::new(0.01), 300, 2),
    ]
}

/// Penalties on weights: whole tiles and parts, one output, products that a backend takes.
fn penalized() -> Vec<Case> {
    let dense = |units, activation, penalty| dense(units, activation).with_penalty(penalty);
    let (l1, l2, both) = (Penalty::l1(0.01), Penalty::l2(0.1), Penalty::elastic_net(0.01, 0.1));
    let momentum = Sgd::new(0.05).momentum(0.9);
    vec![
        Case::new("19-33-1, L1", 19, &[dense(33, Tanh, both), dense(1, Linear, l1)], MeanSquaredError, momentum, 9, 3),
        Case::new("20-64-5, L2", 20, &[dense(64, Relu, l2), dense(5, Softmax, l2)], CrossEntropy, Sgd::new(0.1), 32, 3),
        Case::new(
            "300-300-17, elastic net",
            300,
            &[dense(300, Tanh, both), dense(17, Sigmoid, Penalty::NONE)],
            BinaryCrossEntropy,
            Adam::new(0.01),
            20,
            2,
        ),
    ]
}

/// Layers of every kind where they meet, some of them wider, and batches larger, than a block of a sum.
fn kinds_of_layers() -> Vec<Case> {
    let leaky = LeakyRelu { slope: 0.1 };
    let nesterov = Sgd::new(0.02).nesterov(0.9);
    let normalization = Layer::normalization();
    vec![
        Case::new(
            "norms",
            19,
            &[
                normalization,
                dense(33, Gelu).without_bias(),
                Layer::batch_norm(Relu),
                dense(33, Silu).with_residual(1),
                Layer::layer_norm(Mish).with_dropout(0.2),
                Layer::rms_norm(HardSwish).with_residual(3),
                dense(5, Softmax),
            ],
            CrossEntropy,
            Adam::new(0.01),
            70,
            3,
        ),
        Case::new(
            "embeddings",
            5,
            &[
                normalization,
                Layer::embedding(1, 7, 3),
                Layer::embedding(6, 4, 5),
                Layer::dropout(0.2),
                dense(17, Selu).with_dropout(0.3),
                dense(17, Softplus).with_residual(1),
                dense(1, Softplus),
            ],
            Poisson,
            nesterov,
            13,
            3,
        )
        .with_categories(&[(1, 7), (4, 4)]),
        Case::new(
            "residual connections",
            16,
            &[
                Layer::layer_norm(Linear),
                dense(16, GeluTanh),
                dense(16, Elu { alpha: 0.8 }).with_residual(2).with_dropout(0.5),
                Layer::elementwise(HardSigmoid),
                dense(16, Softsign).with_residual(5),
                Layer::rms_norm(Linear),
                dense(3, Tanh),
            ],
            Hinge,
            Sgd::new(0.02).momentum(0.9),
            31,
            3,
        ),
        Case::new(
            "wide norms",
            515,
            &[Layer::layer_norm(leaky), Layer::rms_norm(Tanh).with_residual(2), dense(7, Sigmoid)],
            BinaryCrossEntropyOfProbabilities,
            Adam::new(0.001),
            5,
            2,
        ),
        Case::new(
            "batch norms of 600",
            5,
            &[Layer::batch_norm(Linear), dense(18, leaky).with_dropout(0.1), Layer::batch_norm(Softsign)],
            LogCosh,
            nesterov,
            600,
            2,
        ),
        Case::new(
            "one sample",
            6,
            &[Layer::dropout(0.3), dense(19, HardSwish).with_dropout(0.5), dense(4, Gelu)],
            Quantile { quantile: 0.7 },
            Sgd::new(0.1),
            1,
            4,
        ),
        Case::new(
            "one embedding",
            1,
            &[Layer::embedding(0, 300, 40), dense(3, Linear)],
            HalfMeanSquaredError,
            Adam::new(0.01),
            270,
            2,
        )
        .with_categories(&[(0, 300)]),
    ]
}

/// Every activation in a hidden layer, under dropout and not, and at the outputs.
fn activations() -> Vec<Case> {
    let all = [
        LeakyRelu { slope: 0.3 },
        Elu { alpha: 1.0 },
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
    ];
    let case = |activation: Activation| {
        let layers = [
            dense(33, activation).with_dropout(0.25),
            dense(20, activation),
            Layer::elementwise(activation),
            dense(5, activation),
        ];
        Case::new(format!("{activation}"), 10, &layers, MeanAbsoluteError, Sgd::new(0.1).momentum(0.9), 7, 3)
    };
    all.into_iter().map(case).collect()
}

/// Every loss that the others leave out, or have only once.
fn losses() -> Vec<Case> {
    let all = [
        (Linear, Huber { delta: 0.3 }),
        (HardSwish, LogCosh),
        (Sigmoid, Poisson),
        (Mish, Hinge),
        (Gelu, HalfMeanSquaredError),
        (Sigmoid, SmoothedBinaryCrossEntropy { smoothing: 0.1 }),
        (Softmax, SmoothedCrossEntropy { smoothing: 0.2 }),
        (Softmax, CrossEntropyOfProbabilities),
        (Softmax, KullbackLeibler),
        (Sigmoid, KullbackLeibler),
    ];
    let case = |(activation, loss): (Activation, Loss<'static>)| {
        let name = format!("{loss} on {activation}");
        Case::new(name, 6, &[dense(20, Tanh), dense(18, activation)], loss, Adam::new(0.01), 9, 3)
    };
    all.into_iter().map(case).collect()
}

fn all_cases() -> impl Iterator<Item = Case> {
    let dense = workloads().into_iter().chain(odd_shapes());
    let dense = dense.chain(penalized());
    dense.chain(kinds_of_layers()).chain(activations()).chain(losses())
}

/// Products that another library may compute. A backend is a line here.
type Backend = (&'static str, for<'a> fn(Mlp<'a>) -> Mlp<'a>);
const BACKENDS: &[Backend] = &[
    ("own kernels", |mlp| mlp),
    #[cfg(feature = "alloc")]
    ("matrixmultiply", |mlp| match microprop::Backend::matrixmultiply() {
        Some(backend) => mlp.with_backend(backend),
        None => {
            println!("SKIPPED: matrixmultiply, whose sums have another order on this machine");
            mlp
        }
    }),
];

/// How a case is run. None of it may change a bit.
#[derive(Clone, Copy, Debug)]
struct How {
    isa: Isa,
    threads: usize,
    grain: usize,
    /// Floats between the start of an allocation and the workspace.
    offset: usize,
    /// `gradient`, then `apply`, instead of `train_step`.
    in_two: bool,
    backend: Backend,
}

impl How {
    fn plain(isa: Isa) -> Self {
        Self { isa, threads: 1, grain: 1, offset: 0, in_two: false, backend: BACKENDS[0] }
    }
}

/// Hashes of what a case ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End {
    losses: u64,
    params: u64,
    state: u64,
    /// Predictions and loss of the trained network.
    outputs: u64,
    /// Gradient from a delta at the outputs, and the delta at the inputs.
    backward: u64,
}

impl Case {
    fn layout(&self) -> Layout<'_> {
        Layout::new(self.inputs, &self.layers).unwrap()
    }

    fn params(&self) -> Vec<f32> {
        let mut params = vec![0.0; self.layout().params_len()];
        microprop::init(&self.layout(), 7, &mut params).unwrap();
        params
    }

    /// Inputs and targets of `batch` samples.
    fn data(&self, batch: usize) -> (Vec<f32>, Vec<f32>, Vec<u32>) {
        let outputs = self.layout().outputs();
        let mut rng = Rng::with_stream(7, 1000);
        let mut x: Vec<f32> = (0..batch * self.inputs).map(|_| 2.0 * rng.uniform() - 1.0).collect();
        let sign = |t: f32| if t < 0.5 { -1.0 } else { 1.0 };
        let values = (0..batch * outputs).map(|_| rng.uniform());
        let values = values.map(|t| if self.loss == Hinge { sign(t) } else { t }).collect();
        for x in x.chunks_mut(self.inputs) {
            self.categories.iter().for_each(|&(column, categories)| x[column] = rng.below(categories) as f32);
        }
        (x, values, (0..batch).map(|_| rng.below(outputs as u32)).collect())
    }

    /// Cross-entropies have classes where the batch is odd, values where it is even.
    fn targets<'t>(&self, values: &'t [f32], classes: &'t [u32]) -> Targets<'t> {
        let takes_classes = matches!(self.loss, CrossEntropy | SmoothedCrossEntropy { .. });
        if takes_classes && self.batch % 2 == 1 { Targets::classes(classes) } else { Targets::values(values) }
    }

    /// The parameters and what else it ends with.
    fn run_from(&self, how: How, mut params: Vec<f32>) -> (Vec<f32>, End) {
        let (layout, batch) = (self.layout(), self.batch);
        let mlp = how.backend.1(Mlp::new(layout, how.isa).with_threads(how.threads).with_grain(how.grain));
        let trainer = Trainer::new(mlp, self.loss, self.optimizer).unwrap();
        let (x, values, classes) = self.data(batch);
        let targets = self.targets(&values, &classes);
        let mut state = vec![0.0; layout.optimizer_len(&self.optimizer)];
        // NaN shows where something is read that was never written.
        let len = mlp.workspace_len(batch).unwrap().max(mlp.predict_workspace_len(batch).unwrap());
        let mut workspace = vec![f32::NAN; len + how.offset];
        let workspace = &mut workspace[how.offset..];
        let mut gradient = vec![f32::NAN; layout.trainable_len()];
        let mut losses = vec![];
        for step in 0..self.steps {
            losses.push(if how.in_two {
                let loss = trainer.gradient(step, &x, targets, &params, &mut gradient, workspace).unwrap();
                trainer.apply(step, &gradient, &mut params, &mut state).unwrap();
                loss
            } else {
                trainer.train_step(step, &x, targets, &mut params, &mut state, workspace).unwrap()
            });
        }
        let mut outputs = vec![f32::NAN; batch * layout.outputs()];
        mlp.predict(&params, &x, &mut outputs, workspace).unwrap();
        let pass = mlp.forward(&params, &x, workspace).unwrap();
        assert_eq!(hash(pass.outputs()), hash(&outputs), "{}: forward and predict, {how:?}", self.name);
        let mut below = vec![f32::NAN; x.len()];
        pass.gradient(Delta::Outputs(&values), &params, &mut gradient, Some(&mut below)).unwrap();
        gradient.extend(below);
        outputs.push(trainer.loss(&x, targets, &params, workspace).unwrap());
        let all = [&losses, &params, &state, &outputs, &gradient];
        assert!(all.iter().all(|x| x.iter().all(|x| x.is_finite())), "{}: not finite, {how:?}", self.name);
        let [losses, params_hash, state, outputs, backward] = all.map(|x| hash(x));
        (params, End { losses, params: params_hash, state, outputs, backward })
    }

    fn run(&self, how: How) -> End {
        self.run_from(how, self.params()).1
    }

    /// What the scalar instance ends with.
    fn reference(&self, arithmetic: Arithmetic) -> End {
        let scalar = isas(arithmetic).next().expect("`arithmetics` has asked");
        self.run(How::plain(scalar))
    }

    fn check(&self, how: How, expected: End) {
        let found = self.run(how);
        assert_eq!(found, expected, "{} with {how:?}", self.name);
    }
}

/// Those with an instance here: without `std`, a target without FMA has portable arithmetic alone.
fn arithmetics() -> impl Iterator<Item = Arithmetic> {
    [Arithmetic::Portable, Arithmetic::Fused].into_iter().filter(|&arithmetic| isas(arithmetic).next().is_some())
}

/// Narrowest first.
fn isas(arithmetic: Arithmetic) -> impl Iterator<Item = Isa> {
    Isa::available().filter(move |isa| isa.arithmetic() == arithmetic)
}

/// The fastest of an arithmetic: what the other tests vary.
fn widest(arithmetic: Arithmetic) -> Isa {
    isas(arithmetic).last().expect("`arithmetics` has asked")
}

/// Runs `f` in a pool of so many threads.
#[cfg(feature = "rayon")]
fn in_pool<R: Send>(threads: usize, f: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(f)
}

/// Without rayon the pieces run one after the other.
#[cfg(not(feature = "rayon"))]
fn in_pool<R>(_: usize, f: impl FnOnce() -> R) -> R {
    f()
}

#[test]
fn instruction_sets_are_here() {
    let here: Vec<String> = Isa::available().map(|isa| isa.to_string()).collect();
    println!("tested: {}", here.join(", "));
    let required = std::env::var("MICROPROP_REQUIRE_ISA").unwrap_or_default();
    let known: &[&str] = match std::env::consts::ARCH {
        "aarch64" => &["neon-portable", "neon-fused"],
        "wasm32" => &["simd128-portable"],
        _ => &["avx2-portable", "avx2-fused", "avx512-portable", "avx512-fused"],
    };
    let is_of = |name: &str, required: &str| name.split('-').next() == Some(required.trim());
    for required in required.split(',').filter(|required| !required.trim().is_empty()) {
        let is_known = known.iter().any(|name| is_of(name, required));
        assert!(is_known, "MICROPROP_REQUIRE_ISA names {required}, but there are {known:?}");
    }
    for name in known.iter().filter(|name| !here.iter().any(|here| here == *name)) {
        eprintln!("\n*** NOT TESTED: this CPU lacks {name}, so nothing here says anything about it. ***\n");
        let is_required = required.split(',').any(|required| is_of(name, required));
        assert!(!is_required, "MICROPROP_REQUIRE_ISA={required}, but this CPU lacks {name}");
    }
}

#[test]
fn every_instruction_set() {
    for case in all_cases() {
        for arithmetic in arithmetics() {
            let expected = case.reference(arithmetic);
            for isa in isas(arithmetic).skip(1) {
                for &backend in BACKENDS {
                    case.check(How { backend, ..How::plain(isa) }, expected);
                }
            }
        }
    }
}

#[test]
fn every_number_of_threads() {
    for threads in [1, 2, 3, 4, 8] {
        in_pool(threads, || {
            for case in all_cases() {
                for arithmetic in arithmetics() {
                    let plain = How::plain(widest(arithmetic));
                    let expected = case.run(plain);
                    for &backend in BACKENDS {
                        case.check(How { threads, backend, ..plain }, expected);
                    }
                }
            }
        });
    }
}

/// Pieces are cut by threads and grain; run here by a pool of two.
#[test]
fn every_shard_of_the_batch() {
    let plain = [dense(19, Tanh), dense(33, LeakyRelu { slope: 0.2 }), dense(3, Softmax)];
    let others = [
        Layer::normalization(),
        Layer::embedding(2, 5, 10),
        dense(19, Gelu).with_residual(1).with_dropout(0.3),
        Layer::batch_norm(Softplus).with_dropout(0.1),
        Layer::layer_norm(Linear).with_residual(2),
        Layer::rms_norm(Mish),
        dense(3, Softmax),
    ];
    in_pool(2, || {
        for batch in 1..=40 {
            for (name, layers) in [("19-33-3", &plain[..]), ("layers of all kinds", &others)] {
                let case = Case::new(name, 10, layers, CrossEntropy, Adam::new(0.01), batch, 2);
                let case = if name == "19-33-3" { case } else { case.with_categories(&[(2, 5)]) };
                for arithmetic in arithmetics() {
                    let plain = How::plain(widest(arithmetic));
                    let expected = case.run(plain);
                    for threads in [2, 3, 5, 13] {
                        // From a piece per thread to a single piece.
                        for grain in [1, 1000, 5000, 1 << 30] {
                            case.check(How { threads, grain, ..plain }, expected);
                        }
                    }
                }
            }
        }
    });
}

#[test]
fn every_place_of_the_workspace() {
    for case in all_cases() {
        for arithmetic in arithmetics() {
            let plain = How::plain(widest(arithmetic));
            let expected = case.run(plain);
            for offset in [1, 3, 8, 15] {
                case.check(How { offset, ..plain }, expected);
            }
        }
    }
}

/// But for running statistics, which only a step moves.
#[test]
fn a_step_is_its_gradient_applied() {
    for case in all_cases().filter(|case| !case.has_batch_norm()) {
        for isa in arithmetics().map(widest) {
            let plain = How::plain(isa);
            case.check(How { in_two: true, threads: 3, ..plain }, case.run(plain));
        }
    }
}

/// One sample runs through other kernels than many: other tiles, nothing packed.
#[test]
fn a_batch_of_predictions_is_its_samples_predictions() {
    for case in all_cases() {
        let (layout, params, batch) = (case.layout(), case.params(), 2 * case.batch + 5);
        let (x, ..) = case.data(batch);
        for isa in arithmetics().map(widest) {
            let mlp = Mlp::new(layout, isa);
            let mut workspace = vec![f32::NAN; mlp.predict_workspace_len(batch).unwrap()];
            let mut predict = |rows: usize, mlp: Mlp<'_>| {
                let mut y = vec![f32::NAN; batch * layout.outputs()];
                for (x, y) in x.chunks(rows * case.inputs).zip(y.chunks_mut(rows * layout.outputs())) {
                    mlp.predict(&params, x, y, &mut workspace).unwrap();
                }
                hash(&y)
            };
            let expected = predict(batch, mlp);
            for rows in [1, 2, 3, 4, 7] {
                assert_eq!(predict(rows, mlp), expected, "{} on {isa}, {rows} samples at a time", case.name);
            }
            assert_eq!(predict(1, mlp.with_schedule(Schedule::Lean)), expected, "{} on {isa}, lean", case.name);
        }
    }
}

/// How a step of the lean schedule is taken.
#[derive(Clone, Copy)]
enum Way {
    Whole,
    /// `gradient`, then `apply`.
    InTwo,
    InSlices,
}

/// The lean schedule, one sample after the other.
#[test]
fn every_instruction_set_in_the_lean_schedule() {
    for case in all_cases().filter(|case| !case.has_batch_norm()) {
        let layout = case.layout();
        let (x, values, classes) = case.data(case.batch.min(9));
        let run = |isa: Isa, way: Way| {
            let mlp = Mlp::new(layout, isa).with_schedule(Schedule::Lean);
            let trainer = Trainer::new(mlp, case.loss, case.optimizer).unwrap();
            let (mut params, mut state) = (case.params(), vec![0.0; layout.optimizer_len(&case.optimizer)]);
            let mut workspace = vec![f32::NAN; mlp.workspace_len(1).unwrap()];
            let mut gradient = vec![f32::NAN; layout.trainable_len()];
            let samples = x.chunks(case.inputs).zip(values.chunks(layout.outputs())).zip(classes.chunks(1));
            let mut losses = vec![];
            for (step, ((x, values), class)) in (0..).zip(samples) {
                let targets = case.targets(values, class);
                let workspace = &mut workspace;
                losses.push(match way {
                    Way::Whole => trainer.train_step(step, x, targets, &mut params, &mut state, workspace).unwrap(),
                    Way::InTwo => {
                        let loss = trainer.gradient(step, x, targets, &params, &mut gradient, workspace).unwrap();
                        trainer.apply(step, &gradient, &mut params, &mut state).unwrap();
                        loss
                    }
                    Way::InSlices => {
                        let slices = trainer.sliced_step(step, x, targets, &mut params, &mut state, workspace);
                        let mut slices = slices.unwrap();
                        // Small networks by the neuron, large ones in pieces of all sizes.
                        let mut weights = layout.params_len() / 1000;
                        loop {
                            weights = (weights * 3 + 7) % layout.params_len().max(8);
                            if let Some(loss) = trainer.advance(&mut slices, weights).unwrap() {
                                break loss;
                            }
                        }
                    }
                });
            }
            assert!(losses.iter().chain(&params).all(|x| x.is_finite()), "{} on {isa}: not finite", case.name);
            [hash(&losses), hash(&params), hash(&state)]
        };
        for arithmetic in arithmetics() {
            let mut isas = isas(arithmetic);
            let first = isas.next().expect("`arithmetics` has asked");
            let expected = run(first, Way::Whole);
            let in_two = run(first, Way::InTwo);
            assert_eq!(run(first, Way::InSlices), expected, "{} on {first}, in slices", case.name);
            // Rule 6.4 of docs/ARITHMETIC.md: plain SGD does not go through the gradient.
            if case.optimizer.state_per_parameter() > 0 {
                assert_eq!(in_two, expected, "{} on {first}, gradient then apply", case.name);
            }
            for isa in isas {
                assert_eq!(run(isa, Way::Whole), expected, "{} on {isa}", case.name);
                assert_eq!(run(isa, Way::InTwo), in_two, "{} on {isa}, gradient then apply", case.name);
                assert_eq!(run(isa, Way::InSlices), expected, "{} on {isa}, in slices", case.name);
            }
        }
    }
}

/// A table with a penalty learns as the weights of a dense layer on one-hot inputs do: rows of categories that
/// a step does not meet too.
#[test]
fn a_penalized_embedding_is_a_penalized_layer_on_one_hot_inputs() {
    let (categories, dimensions, penalty) = (7, 19, Penalty::elastic_net(0.01, 0.1));
    let tables = [
        [Layer::embedding(0, categories, dimensions).with_penalty(penalty), dense(3, Linear).with_penalty(penalty)],
        [dense(dimensions, Linear).without_bias().with_penalty(penalty), dense(3, Linear).with_penalty(penalty)],
    ];
    let column = [0.0, 3.0, 3.0, 6.0, 0.0, 2.0];
    let one_hot: Vec<f32> =
        column.iter().flat_map(|&c| (0..categories).map(move |k| f32::from(k as f32 == c))).collect();
    for optimizer in [Sgd::new(0.1).into(), Sgd::new(0.1).momentum(0.9).into(), Optimizer::from(Adam::new(0.01))] {
        for (isa, schedule) in Isa::available().flat_map(|isa| [(isa, Schedule::Batch), (isa, Schedule::Lean)]) {
            let batch = if schedule == Schedule::Batch { column.len() } else { 1 };
            let [embedded, dense] =
                [(1, &tables[0], &column[..]), (categories, &tables[1], &one_hot)].map(|(inputs, layers, x)| {
                    let layout = Layout::new(inputs, layers).unwrap();
                    let mlp = Mlp::new(layout, isa).with_schedule(schedule).with_threads(2).with_grain(1);
                    let trainer = Trainer::new(mlp, MeanSquaredError, optimizer).unwrap();
                    let mut rng = Rng::new(3);
                    let mut params: Vec<f32> = (0..layout.params_len()).map(|_| rng.uniform() - 0.5).collect();
                    let mut state = vec![0.0; layout.optimizer_len(&optimizer)];
                    let mut workspace = vec![f32::NAN; mlp.workspace_len(batch).unwrap()];
                    let targets: Vec<f32> = (0..column.len() * 3).map(|_| rng.uniform()).collect();
                    let mut seen = vec![];
                    for (x, targets) in x.chunks(batch * inputs).zip(targets.chunks(batch * 3)).cycle().take(12) {
                        let (targets, step) = (Targets::values(targets), seen.len() as u64);
                        let mut gradient = vec![f32::NAN; params.len()];
                        trainer.gradient(step, x, targets, &params, &mut gradient, &mut workspace).unwrap();
                        let loss = trainer.train_step(step, x, targets, &mut params, &mut state, &mut workspace);
                        seen.push([hash(&[loss.unwrap()]), hash(&gradient), hash(&params), hash(&state)]);
                    }
                    seen
                });
            assert_eq!(embedded, dense, "{optimizer:?} on {isa} in {schedule:?}");
        }
    }
}

/// A comparison that can't fail says nothing: what should change the bits does.
#[test]
fn the_comparison_can_fail() {
    for case in all_cases() {
        // A few short sums may round alike, and an update may swallow a nudge; many don't.
        if case.layout().params_len() < 50 {
            continue;
        }
        let mut ends = arithmetics().map(|arithmetic| case.run(How::plain(widest(arithmetic))));
        let portable = ends.next().expect("portable arithmetic is everywhere");
        for fused in ends {
            assert_ne!(portable.params, fused.params, "{}", case.name);
            assert_ne!(portable.outputs, fused.outputs, "{}", case.name);
            assert_ne!(portable.backward, fused.backward, "{}", case.name);
        }
        // One weight, one representable float away: the largest, which changes its binade last.
        let mut params = case.params();
        let largest = params.iter_mut().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap();
        *largest = largest.next_up();
        assert_ne!(hash(&params), hash(&case.params()), "{}", case.name);
        let (_, nudged) = case.run_from(How::plain(widest(Arithmetic::Portable)), params);
        assert_ne!(nudged.params, portable.params, "{}", case.name);
    }
}
