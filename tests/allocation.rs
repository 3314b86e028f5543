//! Once warm, nothing allocates: 10,000 training steps of each workload, and
//! predictions, in both schedules and both arithmetics, on one thread and inside a
//! rayon pool.
//!
//! Excepted by name are products that go to the `matrixmultiply` crate, which
//! allocates its packing buffers on every call: see the end of the file.

use microprop::{
    Adam, Arithmetic, Ensemble, Isa, Layout, Loss, LossFunction, Member, MemberInputs, MemberTargets, Mlp, Optimizer,
    Rng, Schedule, Sgd, Targets, Trainer, init, layout,
};
use std::alloc::{GlobalAlloc, Layout as Memory, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// The system's allocator, which counts the calls of all threads.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to `System` as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, memory: Memory) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, SeqCst);
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(memory) }
    }

    unsafe fn alloc_zeroed(&self, memory: Memory) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, SeqCst);
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc_zeroed(memory) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, memory: Memory, len: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, SeqCst);
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.realloc(pointer, memory, len) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, memory: Memory) {
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.dealloc(pointer, memory) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The count is the whole process's, so one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// How many allocations `f` makes, in all threads.
///
/// The test harness's main thread may allocate once in a while; what a step
/// allocates it allocates at every step. So a count above 0 is taken again, twice.
fn allocations(mut f: impl FnMut()) -> usize {
    let mut count = || {
        let before = ALLOCATIONS.load(SeqCst);
        f();
        ALLOCATIONS.load(SeqCst) - before
    };
    let mut least = count();
    for _ in 0..2 {
        if least > 0 {
            least = least.min(count());
        }
    }
    least
}

/// Steps of a small batch that are counted, unless `MICROPROP_ALLOCATION_STEPS` has another number (for an emulator).
fn steps() -> u64 {
    std::env::var("MICROPROP_ALLOCATION_STEPS").map_or(10_000, |steps| steps.parse().unwrap())
}

/// What is trained, on made-up data.
struct Workload {
    name: &'static str,
    layout: Layout<'static>,
    loss: Loss<'static>,
    optimizer: Optimizer,
    batch: usize,
    classes: bool,
}

const fn plain(name: &'static str, layout: Layout<'static>, loss: Loss<'static>, optimizer: Optimizer) -> Workload {
    Workload { name, layout, loss, optimizer, batch: 8, classes: false }
}

const WORKLOADS: [Workload; 8] = [
    // The seed workload and a small one of each other kind; narrow, wide and one output; odd sizes.
    plain(
        "seed",
        layout!(20 => dense(64, Relu), dense(1, Sigmoid)),
        Loss::BinaryCrossEntropy,
        Optimizer::Sgd(Sgd::new(0.01)),
    ),
    Workload {
        classes: true,
        ..plain(
            "classes",
            layout!(16 => dense(33, Relu), dense(17, LeakyRelu { slope: 0.1 }), dense(10, Softmax)),
            Loss::CrossEntropy,
            Optimizer::Adam(Adam::new(0.001)),
        )
    },
    plain(
        "one-hot",
        layout!(7 => dense(20, Sigmoid), dense(5, Softmax)),
        Loss::CrossEntropy,
        Optimizer::Sgd(Sgd::new(0.01).momentum(0.9)),
    ),
    plain(
        "control",
        layout!(17 => dense(24, Tanh), dense(24, Tanh), dense(6, Linear)),
        Loss::MeanSquaredError,
        Optimizer::Adam(Adam::new(0.001)),
    ),
    // More than one block of 256 terms, in the inputs and in the batch.
    Workload {
        batch: 260,
        ..plain(
            "blocks",
            layout!(260 => dense(3, Tanh), dense(2, Sigmoid)),
            Loss::HalfMeanSquaredError,
            Optimizer::Sgd(Sgd::new(0.01).nesterov(0.9)),
        )
    },
    // Layers of all kinds; batch norms, which the lean schedule does not train.
    Workload {
        classes: true,
        ..plain(
            "layers",
            layout!(
                6 => normalization(),
                embedding(1, 2, 4),
                dropout(0.1),
                dense(9, Gelu).with_dropout(0.2).with_residual(1),
                layer_norm(Mish),
                dense(9, Elu { alpha: 1.0 }).with_residual(3),
                rms_norm(Softsign),
                elementwise(HardSwish),
                dense(5, Softmax),
            ),
            Loss::SmoothedCrossEntropy { smoothing: 0.1 },
            Optimizer::Adam(Adam::new(0.001)),
        )
    },
    plain(
        "batch norms",
        layout!(7 => batch_norm(Linear), dense(17, Silu).without_bias(), batch_norm(Relu), dense(3, Softplus)),
        Loss::Poisson,
        Optimizer::Sgd(Sgd::new(0.01).momentum(0.9)),
    ),
    plain(
        "custom loss",
        layout!(7 => dense(9, Selu), dense(3, HardSigmoid)),
        Loss::Custom(&Distance),
        Optimizer::Sgd(Sgd::new(0.01)),
    ),
];

/// The squared distance.
struct Distance;

impl LossFunction for Distance {
    fn value(&self, outputs: &[f32], targets: &[f32]) -> f32 {
        outputs.iter().zip(targets).map(|(y, t)| (y - t) * (y - t)).sum()
    }

    fn derivative(&self, outputs: &[f32], targets: &[f32], derivative: &mut [f32]) {
        derivative.iter_mut().zip(outputs.iter().zip(targets)).for_each(|(d, (y, t))| *d = 2.0 * (y - t));
    }
}

/// Whether the lean schedule trains it.
fn takes_one_sample(workload: &Workload) -> bool {
    workload.name != "batch norms"
}

/// Trains `steps` steps twice, the first time to get warm, then predicts, takes
/// losses, gradients and passes; returns the allocations of each after warming up.
fn count(workload: &Workload, mlp: Mlp<'_>, steps: u64) -> [usize; 3] {
    let Workload { layout, loss, optimizer, .. } = *workload;
    let lean = mlp.workspace_len(2) == Ok(layout.lean_workspace_len());
    let batch = if lean { 1 } else { workload.batch };
    let trainer = Trainer::new(mlp, loss, optimizer).unwrap();
    let mut rng = Rng::new(3);
    let mut x: Vec<f32> = (0..batch * layout.inputs()).map(|_| rng.uniform()).collect();
    if workload.name == "layers" {
        x.chunks_mut(layout.inputs()).for_each(|x| x[1] = x[1].round());
    }
    let values: Vec<f32> = (0..batch * layout.outputs()).map(|_| rng.uniform()).collect();
    let classes: Vec<u32> = (0..batch).map(|_| rng.below(layout.outputs() as u32)).collect();
    let targets = if workload.classes { Targets::classes(&classes) } else { Targets::values(&values) };
    let (weights, ones) = (vec![0.5; batch], vec![1.0; values.len()]);
    let mut params = vec![0.0; layout.params_len()];
    init(&layout, 7, &mut params).unwrap();
    let mut state = vec![0.0; layout.optimizer_len(&optimizer)];
    let mut gradient = vec![0.0; layout.trainable_len()];
    let mut y = vec![0.0; batch * layout.outputs()];
    let len = trainer.workspace_len(batch).unwrap().max(mlp.predict_workspace_len(batch).unwrap());
    let mut workspace = vec![0.0; len];
    let mut train = |steps: u64| {
        for step in 0..steps {
            trainer.train_step(step, &x, targets, &mut params, &mut state, &mut workspace).unwrap();
        }
    };
    train(200);
    let training = allocations(|| train(steps));
    let mut predict = |times: u64| {
        for _ in 0..times {
            mlp.predict(&params, &x, &mut y, &mut workspace).unwrap();
        }
    };
    predict(200);
    let predicting = allocations(|| predict(steps / 10));
    let mut other = |times: u64| {
        for step in 0..times {
            trainer.loss(&x, targets, &params, &mut workspace).unwrap();
            trainer.gradient(step, &x, targets, &params, &mut gradient, &mut workspace).unwrap();
            trainer.apply(step, &gradient, &mut params, &mut state).unwrap();
            let pass = mlp.forward(&params, &x, &mut workspace).unwrap();
            pass.gradient(microprop::Delta::Outputs(&y), &params, &mut gradient, None).unwrap();
            let weighted = targets.with_sample_weights(&weights).with_mask(&ones);
            trainer.gradient(step, &x, weighted, &params, &mut gradient, &mut workspace).unwrap();
            mlp.forward_training(step, &params, &x, &mut workspace).unwrap();
        }
    };
    other(200);
    [training, predicting, allocations(|| other(steps / 10))]
}

/// The instruction sets that training is counted on: the best in each arithmetic, and scalar.
fn isas() -> Vec<Isa> {
    let mut isas = vec![Isa::SCALAR];
    for arithmetic in [Arithmetic::Portable, Arithmetic::Fused] {
        match Isa::new(arithmetic) {
            Ok(isa) if isas.contains(&isa) => {}
            Ok(isa) => isas.push(isa),
            Err(error) => println!("skipped: {error}"),
        }
    }
    isas
}

#[test]
fn an_allocation_is_counted() {
    let _alone = ALONE.lock();
    assert_eq!(allocations(|| ()), 0);
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1_u8)))), 1);
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![0.0_f32; 100]))), 1);
    // In another thread too; starting it costs some more.
    let elsewhere = || {
        let thread = std::thread::spawn(|| (0..100).for_each(|_| drop(std::hint::black_box(Box::new(1_u8)))));
        thread.join().unwrap();
    };
    assert!(allocations(elsewhere) >= 100);
    // And in the midst of training steps: the network is fine, the caller is not.
    let workload = &WORKLOADS[0];
    let mlp = Mlp::new(workload.layout, Isa::detect());
    let trainer = Trainer::new(mlp, workload.loss, workload.optimizer).unwrap();
    let mut params = vec![0.1; workload.layout.params_len()];
    let in_the_loop = allocations(|| {
        for step in 0..50 {
            let mut workspace = vec![0.0; mlp.workspace_len(1).unwrap()];
            let targets = Targets::values(&[1.0]);
            trainer.train_step(step, &[0.5; 20], targets, &mut params, &mut [], &mut workspace).unwrap();
        }
    });
    assert_eq!(in_the_loop, 50);
}

#[test]
fn one_thread_allocates_nothing() {
    let _alone = ALONE.lock();
    for isa in isas() {
        // Scalar shows it with fewer; the vectors take the 10,000.
        let scale = if isa == Isa::SCALAR { 20 } else { 1 };
        for workload in &WORKLOADS {
            let mlp = Mlp::new(workload.layout, isa);
            for mlp in [mlp, mlp.with_schedule(Schedule::Lean)] {
                if mlp.schedule() == Schedule::Lean && !takes_one_sample(workload) {
                    continue;
                }
                let steps = if workload.batch > 100 { steps() / 20 } else { steps() / scale };
                assert_eq!(count(workload, mlp, steps), [0; 3], "{}, {mlp:?}", workload.name);
            }
        }
    }
}

/// In a pool of two threads with a grain so small that every step is split: phase 1,
/// phase 2 and predictions.
#[cfg(feature = "rayon")]
#[test]
fn a_pool_allocates_nothing() {
    let _alone = ALONE.lock();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    for arithmetic in [Arithmetic::Portable, Arithmetic::Fused] {
        let Ok(isa) = Isa::new(arithmetic) else { continue };
        for workload in &WORKLOADS {
            let mlp = Mlp::new(workload.layout, isa).with_threads(2).with_grain(1);
            let steps = if workload.batch > 100 { steps() / 20 } else { steps() };
            let counted = pool.install(|| count(workload, mlp, steps));
            assert_eq!(counted, [0; 3], "{}, {mlp:?}", workload.name);
        }
    }
    // Joins, and nothing but joins, were counted: a `spawn` is not free.
    let spawning = allocations(|| {
        pool.install(|| rayon::scope(|scope| (0..10).for_each(|_| scope.spawn(|_| ()))));
    });
    assert!(spawning >= 10, "{spawning}");
}

/// Trains and predicts with 20 members, side by side where their layers allow it.
fn count_ensemble(workload: &Workload, mlp: Mlp<'_>, interleaved: bool, steps: u64) -> [usize; 2] {
    let Workload { layout, loss, optimizer, batch, .. } = *workload;
    let members: [Member; 20] = std::array::from_fn(|m| Member { seed: m as u64, learning_rate: 0.001 });
    let mut ensemble = Ensemble::new(Trainer::new(mlp, loss, optimizer).unwrap(), &members).unwrap().with_grain(1);
    if interleaved {
        ensemble = ensemble.interleaved().unwrap_or(ensemble);
    }
    let mut rng = Rng::new(3);
    let mut x: Vec<f32> = (0..20 * batch * layout.inputs()).map(|_| rng.uniform()).collect();
    if workload.name == "layers" {
        x.chunks_mut(layout.inputs()).for_each(|x| x[1] = x[1].round());
    }
    let values: Vec<f32> = (0..batch * layout.outputs()).map(|_| rng.uniform()).collect();
    let classes: Vec<u32> = (0..batch).map(|_| rng.below(layout.outputs() as u32)).collect();
    let targets = if workload.classes { Targets::classes(&classes) } else { Targets::values(&values) };
    let (inputs, targets) = (MemberInputs::Own(&x), MemberTargets::Shared(targets));
    let (mut params, mut state) = (vec![0.0; ensemble.params_len()], vec![0.0; ensemble.state_len()]);
    ensemble.init(&mut params).unwrap();
    let (mut losses, mut y) = (vec![0.0; 20], vec![0.0; 20 * batch * layout.outputs()]);
    let len = ensemble.workspace_len(batch).unwrap().max(ensemble.predict_workspace_len(batch).unwrap());
    let mut workspace = vec![0.0; len];
    let mut train = |steps: u64| {
        for step in 0..steps {
            ensemble.train_step(step, inputs, targets, &mut params, &mut state, &mut workspace, &mut losses).unwrap();
        }
    };
    train(20);
    let training = allocations(|| train(steps));
    let mut predict = |times: u64| {
        for _ in 0..times {
            ensemble.predict(inputs, &params, &mut y, &mut workspace).unwrap();
        }
    };
    predict(20);
    [training, allocations(|| predict(steps / 10))]
}

#[test]
fn ensembles_allocate_nothing() {
    let _alone = ALONE.lock();
    let count = || {
        for workload in &WORKLOADS {
            for interleaved in [false, true] {
                let mlp = Mlp::new(workload.layout, Isa::detect()).with_threads(2);
                let steps = if workload.batch > 100 { steps() / 200 } else { steps() / 20 };
                let counted = count_ensemble(workload, mlp, interleaved, steps);
                assert_eq!(counted, [0; 2], "{}, {interleaved}", workload.name);
            }
        }
    };
    #[cfg(feature = "rayon")]
    rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap().install(count);
    #[cfg(not(feature = "rayon"))]
    count();
}

/// The exception, by name: products that are left to `matrixmultiply` allocate, one
/// forward, one below and one for each layer's gradient; small ones beside them don't.
#[cfg(feature = "alloc")]
#[test]
fn matrixmultiply_allocates() {
    let _alone = ALONE.lock();
    let Some(backend) = microprop::Backend::matrixmultiply() else {
        println!("SKIPPED: matrixmultiply, whose sums have another order on this machine");
        return;
    };
    let large = Workload {
        batch: 64,
        ..plain(
            "large",
            layout!(128 => dense(128, Relu), dense(128, Relu), dense(4, Linear)),
            Loss::MeanSquaredError,
            Optimizer::Sgd(Sgd::new(0.01)),
        )
    };
    let mlp = Mlp::new(large.layout, Isa::detect());
    assert_eq!(count(&large, mlp, 20), [0; 3]);
    let [training, predicting, _] = count(&large, mlp.with_backend(backend), 20);
    assert_eq!((training, predicting), (20 * (2 + 1 + 2), 2 * 2));
}
