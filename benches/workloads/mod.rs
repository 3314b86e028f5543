//! The five workloads that every benchmark means by these names, and what else they share.
#![allow(dead_code, reason = "each bench uses a part of it")]

use microprop::{
    Adam, Arithmetic, Isa, Layout, Loss, Mlp, Optimizer, Rng, Schedule, Sgd, Targets, Trainer, init, layout,
};
use std::hint::black_box;

/// Batches that are cycled, at least.
const BATCHES: usize = 8;

/// Samples that are cycled, at least.
const SAMPLES: usize = 256;

/// Steps after which training starts again from its initial parameters. However
/// long a benchmark runs, no state decays into subnormals (0.9^512 ≈ 4e−24), which
/// some CPUs work on a hundred times slower, and nothing is learnt by heart.
const RESTART: u64 = 512;

/// A network and how it is trained.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) batch: usize,
    pub(crate) layout: Layout<'static>,
    pub(crate) loss: Loss<'static>,
    pub(crate) optimizer: Optimizer,
}

pub(crate) const SHAPES: [Shape; 5] = [
    Shape {
        name: "seed",
        batch: 32,
        layout: layout!(20 => dense(64, Relu), dense(1, Sigmoid)),
        loss: Loss::BinaryCrossEntropy,
        optimizer: Optimizer::Sgd(Sgd::new(0.01)),
    },
    Shape {
        name: "digits",
        batch: 32,
        layout: layout!(64 => dense(128, Relu), dense(10, Softmax)),
        loss: Loss::CrossEntropy,
        optimizer: Optimizer::Adam(Adam::new(1e-3)),
    },
    Shape {
        name: "mnist",
        batch: 128,
        layout: layout!(784 => dense(512, Relu), dense(256, Relu), dense(10, Softmax)),
        loss: Loss::CrossEntropy,
        optimizer: Optimizer::Sgd(Sgd::new(0.01).momentum(0.9)),
    },
    Shape {
        name: "wide",
        batch: 256,
        layout: layout!(1024 => dense(2048, Relu), dense(2048, Relu), dense(1000, Softmax)),
        loss: Loss::CrossEntropy,
        optimizer: Optimizer::Sgd(Sgd::new(0.01)),
    },
    Shape {
        name: "control",
        batch: 256,
        layout: layout!(17 => dense(64, Tanh), dense(64, Tanh), dense(6, Linear)),
        loss: Loss::MeanSquaredError,
        optimizer: Optimizer::Adam(Adam::new(1e-3)),
    },
];

/// The instruction sets to measure: the fused ones of this CPU and its widest
/// portable one; with `ALL_ISAS=1` in the environment every one but software FMA.
pub(crate) fn isas() -> Vec<Isa> {
    let widest = Isa::new(Arithmetic::Portable).unwrap_or(Isa::SCALAR);
    let all = std::env::var_os("ALL_ISAS").is_some();
    Isa::available()
        .filter(|isa| isa.name() != "scalar-fused")
        .filter(|&isa| all || isa.arithmetic() == Arithmetic::Fused || isa == widest)
        .collect()
}

/// Every shape on every instruction set to measure; wide, which is slow, on the widest of each arithmetic.
pub(crate) fn cases() -> Vec<(Shape, Isa)> {
    let pairs = SHAPES.into_iter().flat_map(|shape| isas().into_iter().map(move |isa| (shape, isa)));
    pairs.filter(|&(shape, isa)| shape.name != "wide" || Isa::new(isa.arithmetic()) == Ok(isa)).collect()
}

/// The shape of this name.
pub(crate) fn shape(name: &str) -> Option<Shape> {
    SHAPES.into_iter().find(|shape| shape.name == name)
}

enum Labels {
    Values(Vec<f32>),
    Classes(Vec<u32>),
}

/// A shape in training, with all buffers.
pub(crate) struct Workload {
    shape: Shape,
    batches: usize,
    trainer: Trainer<'static>,
    x: Vec<f32>,
    labels: Labels,
    initial: Vec<f32>,
    params: Vec<f32>,
    /// Where the parameters begin.
    start: usize,
    state: Vec<f32>,
    workspace: Vec<f32>,
    y: Vec<f32>,
    step: u64,
}

impl Workload {
    /// On one thread, in the batch schedule.
    pub(crate) fn new(shape: Shape, isa: Isa) -> Self {
        Self::with_mlp(shape, Mlp::new(shape.layout, isa))
    }

    /// On one thread, in another schedule.
    pub(crate) fn with_schedule(shape: Shape, isa: Isa, schedule: Schedule) -> Self {
        Self::with_mlp(shape, Mlp::new(shape.layout, isa).with_schedule(schedule))
    }

    /// On so many threads, in the batch schedule.
    pub(crate) fn with_threads(shape: Shape, isa: Isa, threads: usize) -> Self {
        Self::with_mlp(shape, Mlp::new(shape.layout, isa).with_threads(threads))
    }

    /// Inputs are uniform in −1 ≤ x < 1, values in 0 ≤ t < 1, classes random.
    fn with_mlp(shape: Shape, mlp: Mlp<'static>) -> Self {
        let Shape { layout, loss, optimizer, batch, .. } = shape;
        let batches = SAMPLES.div_ceil(batch).max(BATCHES);
        let mut rng = Rng::new(1);
        let x = random(&mut rng, batches * batch * layout.inputs(), -1.0, 1.0);
        let labels = match loss {
            Loss::CrossEntropy => {
                Labels::Classes((0..batches * batch).map(|_| rng.below(layout.outputs() as u32)).collect())
            }
            _ => Labels::Values(random(&mut rng, batches * batch * layout.outputs(), 0.0, 1.0)),
        };
        // On a line of 64 bytes, as those of a `Network`.
        let mut params = vec![0.0; layout.params_len() + 15];
        let start = params.as_ptr().align_offset(64);
        let initial = params[start..start + layout.params_len()].as_mut();
        init(&layout, 7, initial).expect("the length is the layout's");
        let workspace = mlp.workspace_len(batch).expect("fits").max(mlp.predict_workspace_len(batch).expect("fits"));
        Self {
            shape,
            batches,
            trainer: Trainer::new(mlp, loss, optimizer).expect("the loss fits the outputs"),
            x,
            labels,
            initial: initial.to_vec(),
            params,
            start,
            state: vec![0.0; layout.optimizer_len(&optimizer)],
            workspace: vec![0.0; workspace],
            y: vec![0.0; batch * layout.outputs()],
            step: 0,
        }
    }

    /// Trains on the next batch.
    pub(crate) fn step(&mut self) {
        if self.step == RESTART {
            self.params[self.start..][..self.initial.len()].copy_from_slice(&self.initial);
            self.state.fill(0.0);
            self.step = 0;
        }
        let Shape { batch, layout, .. } = self.shape;
        let at = self.step as usize % self.batches;
        let targets = match &self.labels {
            Labels::Values(t) => Targets::values(part(t, at, batch * layout.outputs())),
            Labels::Classes(t) => Targets::classes(part(t, at, batch)),
        };
        let x = part(&self.x, at, batch * layout.inputs());
        let params = &mut self.params[self.start..][..self.initial.len()];
        let loss = self.trainer.train_step(self.step, x, targets, params, &mut self.state, &mut self.workspace);
        black_box(loss).expect("the lengths fit and the loss is finite");
        self.step += 1;
    }

    /// Predicts the next batch.
    pub(crate) fn predict(&mut self) {
        self.predict_rows(self.shape.batch);
    }

    /// Predicts one sample.
    pub(crate) fn predict_one(&mut self) {
        self.predict_rows(1);
    }

    fn predict_rows(&mut self, rows: usize) {
        let Shape { batch, layout, .. } = self.shape;
        let x = &part(&self.x, self.step as usize % self.batches, batch * layout.inputs())[..rows * layout.inputs()];
        let y = &mut self.y[..rows * layout.outputs()];
        let params = &self.params[self.start..][..self.initial.len()];
        self.trainer.mlp().predict(params, x, y, &mut self.workspace).expect("the lengths fit");
        black_box(y);
        self.step = (self.step + 1) % RESTART;
    }
}

impl Shape {
    /// The same on batches of another size.
    pub(crate) fn with_batch(self, batch: usize) -> Self {
        Self { batch, ..self }
    }

    /// 2mnk of each forward product of a batch.
    pub(crate) fn flops_per_predict(&self) -> u64 {
        self.products().sum()
    }

    /// 2mnk of each forward and gradient product, and of each delta product below
    /// the top layer; all else counts zero.
    pub(crate) fn flops_per_step(&self) -> u64 {
        // The first layer needs no delta at its inputs.
        self.products().zip([2, 3, 3]).map(|(product, times)| product * times).sum()
    }

    /// 2mnk of each layer.
    fn products(&self) -> impl Iterator<Item = u64> {
        let units = self.layout.layers().iter().map(|layer| layer.units().unwrap());
        let inputs = [self.layout.inputs()].into_iter().chain(units.clone());
        inputs.zip(units).map(|(k, n)| 2 * (self.batch * k * n) as u64)
    }
}

/// Numbers uniform in `low ≤ x < high`.
pub(crate) fn random(rng: &mut Rng, len: usize, low: f32, high: f32) -> Vec<f32> {
    (0..len).map(|_| low + (high - low) * rng.uniform()).collect()
}

/// The `index`th piece of `len` elements.
fn part<T>(all: &[T], index: usize, len: usize) -> &[T] {
    &all[index * len..(index + 1) * len]
}
