//! Ensembles of 64 networks against solo steps:
//!
//!     cargo bench --bench ensemble             # 40 seconds; on a quiet machine, not pinned to a core
//!     cargo bench --bench ensemble -- seed
//!
//! First, members one after the other: the workload `seed`, on one thread and on two. Columns: nanoseconds of a solo
//! step (its parameters in the first-level cache, which those of 64 do not fit in), of a member's step, and how many
//! solo steps the members take in the time of one on each thread, as a share of the 0.95 that are asked for. Times
//! are by the clock on the wall. The row `peak` has nothing but multiply-adds in registers: what two threads of this
//! machine do.
//!
//! Then, members side by side, a lane each: 6-64-8-4, one sample, against a loop over solo steps of the same 64
//! networks, on one thread.
//!
//! It fails if members side by side are less than 2 times as fast as the loop (with Adam 1.5 times), and if 64 `seed`
//! networks on two threads stay below their 0.95 though `peak` reaches 0.95: less says that the cores are not idle.

mod peak;
mod rounds;
mod workloads;

use microprop::{
    Adam, Ensemble, Isa, Layout, Loss, Member, MemberInputs, MemberTargets, Mlp, Optimizer, Rng, Schedule, Sgd,
    Targets, Trainer, layout,
};
use rounds::Candidate;
use std::error::Error;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::Duration;
use workloads::{Workload, random};

const MEMBERS: usize = 64;
const THREADS: usize = 2;

/// The share of each core that an ensemble shall have of it.
const SHARE: f64 = 0.95;

/// How many times faster than a loop members side by side shall be.
const FASTER: f64 = 2.0;

/// The same with Adam, whose roots and quotients fill whole vectors in either, and take the divider as long.
const FASTER_WITH_ADAM: f64 = 1.5;

/// Batches that are cycled.
const BATCHES: usize = 8;

/// Steps after which training starts again: see `workloads`.
const RESTART: u64 = 512;

/// What all members are.
#[derive(Clone, Copy)]
struct Kind {
    layout: Layout<'static>,
    loss: Loss<'static>,
    optimizer: Optimizer,
    schedule: Schedule,
    batch: usize,
}

const SEED: Kind = Kind {
    layout: layout!(20 => dense(64, Relu), dense(1, Sigmoid)),
    loss: Loss::BinaryCrossEntropy,
    optimizer: Optimizer::Sgd(Sgd::new(0.01)),
    schedule: Schedule::Batch,
    batch: 32,
};

const SMALL: Kind = Kind {
    layout: layout!(6 => dense(64, Relu), dense(8, Relu), dense(4, Linear)),
    loss: Loss::HalfMeanSquaredError,
    batch: 1,
    ..SEED
};

const SMALL_TANH: Kind = Kind { layout: layout!(6 => dense(64, Tanh), dense(8, Tanh), dense(4, Linear)), ..SMALL };

/// Rows of the second table.
fn small() -> [(&'static str, Kind); 5] {
    let lean = Kind { schedule: Schedule::Lean, ..SMALL };
    let momentum = Optimizer::Sgd(Sgd::new(0.01).momentum(0.9));
    let adam = Optimizer::Adam(Adam::new(1e-3));
    [
        ("6-64-8-4 relu, SGD", SMALL),
        ("  lean", lean),
        ("  tanh", SMALL_TANH),
        ("  tanh, momentum", Kind { optimizer: momentum, ..SMALL_TANH }),
        ("  tanh, Adam", Kind { optimizer: adam, ..SMALL_TANH }),
    ]
}

/// Floats that begin on a line of 64 bytes.
struct Aligned(Vec<f32>);

impl Aligned {
    fn zeros(len: usize) -> Self {
        Self(vec![0.0; len + 15])
    }

    fn get(&mut self, len: usize) -> &mut [f32] {
        let start = self.0.as_ptr().align_offset(64);
        &mut self.0[start..start + len]
    }
}

/// An ensemble in training, or a loop over its members.
struct Training<'a> {
    ensemble: Ensemble<'a>,
    batch: usize,
    x: Vec<f32>,
    t: Vec<f32>,
    params: Aligned,
    initial: Vec<f32>,
    state: Aligned,
    workspace: Vec<f32>,
    losses: [f32; MEMBERS],
    step: u64,
}

impl<'a> Training<'a> {
    fn new(kind: Kind, isa: Isa, members: &'a [Member], threads: usize, interleaved: bool) -> Self {
        let Kind { layout, loss, optimizer, schedule, batch } = kind;
        let mlp = Mlp::new(layout, isa).with_schedule(schedule).with_threads(threads);
        let trainer = Trainer::new(mlp, loss, optimizer).expect("the loss fits the outputs");
        let ensemble = Ensemble::new(trainer, members).expect("there are members");
        let ensemble = if interleaved { ensemble.interleaved().expect("the layers are dense") } else { ensemble };
        let mut rng = Rng::new(1);
        let mut params = Aligned::zeros(ensemble.params_len());
        ensemble.init(params.get(ensemble.params_len())).expect("the length is the ensemble's");
        let solo = trainer.workspace_len(batch).expect("fits");
        Self {
            ensemble,
            batch,
            x: random(&mut rng, BATCHES * batch * layout.inputs(), -1.0, 1.0),
            t: random(&mut rng, BATCHES * batch * layout.outputs(), 0.0, 1.0),
            initial: params.get(ensemble.params_len()).to_vec(),
            params,
            state: Aligned::zeros(ensemble.state_len()),
            workspace: vec![0.0; ensemble.workspace_len(batch).expect("fits").max(solo)],
            losses: [0.0; MEMBERS],
            step: 0,
        }
    }

    /// Trains all members on the next batch, together or one by one.
    fn step(&mut self, together: bool) {
        let Self { ensemble, batch, x, t, params, initial, state, workspace, losses, step } = self;
        let (params, state) = (params.get(ensemble.params_len()), state.get(ensemble.state_len()));
        if *step == RESTART {
            params.copy_from_slice(initial);
            state.fill(0.0);
            *step = 0;
        }
        let layout = ensemble.trainer().mlp().layout();
        let part =
            |width: usize| *step as usize % BATCHES * *batch * width..(*step as usize % BATCHES + 1) * *batch * width;
        let (x, targets) = (&x[part(layout.inputs())], Targets::values(&t[part(layout.outputs())]));
        if together {
            let (inputs, targets) = (MemberInputs::Shared(x), MemberTargets::Shared(targets));
            let trained = ensemble.train_step(*step, inputs, targets, params, state, workspace, losses);
            assert_eq!(trained, Ok(MEMBERS), "the lengths fit and the losses are finite");
        } else {
            let trainer = ensemble.trainer();
            let len = layout.params_len();
            let state_len = layout.optimizer_len(trainer.optimizer());
            for (m, params) in params.chunks_exact_mut(len).enumerate() {
                let state = &mut state[m * state_len..][..state_len];
                let loss = trainer.train_step(*step, x, targets, params, state, workspace);
                losses[m] = loss.expect("the lengths fit and the loss is finite");
            }
        }
        black_box(losses);
        *step += 1;
    }
}

fn members() -> Vec<Member> {
    (0..MEMBERS).map(|m| Member { seed: m as u64, learning_rate: 0.01 }).collect()
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    rounds::print_machine();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(THREADS).build()?;
    let mut failures = Vec::new();
    if rounds::wanted("seed") {
        failures.extend(pool.install(one_after_the_other));
    }
    if rounds::wanted("6-64-8-4") {
        failures.extend(side_by_side());
    }
    failures.iter().for_each(|failure| println!("FAILED: {failure}"));
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn one_after_the_other() -> Option<String> {
    let (isa, members) = (Isa::detect(), members());
    let repeat = || {
        for _ in 0..50 {
            peak::run(isa);
        }
    };
    let mut solo = Workload::new(workloads::shape("seed").expect("it is a workload"), isa);
    let mut rows = vec![
        Candidate::new("peak".into(), 1, repeat).on_the_wall(),
        Candidate::new("peak".into(), THREADS as u64, move || {
            rayon::join(repeat, repeat);
        })
        .on_the_wall(),
        Candidate::new("seed".into(), 1, move || solo.step()).on_the_wall(),
    ];
    for threads in [1, THREADS] {
        let mut training = Training::new(SEED, isa, &members, threads, false);
        rows.push(Candidate::new("seed".into(), MEMBERS as u64, move || training.step(true)).on_the_wall());
    }
    let budget = rounds::budget(20);
    rounds::alternate(&mut rows, budget);
    let [alone, both, solo, one, two] = &rows[..] else { unreachable!("there are five rows") };
    println!("{:<24}{:>12}{:>12}{:>12}{:>16}", isa.name(), "ns, solo", "1 thread", "2 threads", "of 0.95 a core");
    let faster = |candidate: &Candidate, than: &Candidate, threads: usize| {
        than.ratio(candidate) * candidate.flops as f64 / threads as f64 / SHARE
    };
    let (idle, on_one, on_two) = (faster(both, alone, THREADS), faster(one, solo, 1), faster(two, solo, THREADS));
    println!("{:<24}{:>12}{:>12}{:>12}{idle:>16.3}", "peak", "", "", "");
    let ns = |candidate: &Candidate| candidate.median() * 1e9 / candidate.flops as f64;
    println!("{:<24}{:>12.0}{:>12.0}{:>12}{on_one:>16.3}", "64 × seed", ns(solo), ns(one), "");
    println!("{:<24}{:>12.0}{:>12}{:>12.0}{on_two:>16.3}\n", "64 × seed", ns(solo), "", ns(two));
    if budget == Duration::ZERO || idle < 1.0 {
        println!("NOT CHECKED: a test run, or cores that are not idle, say nothing of two threads\n");
        return None;
    }
    (on_two < 1.0).then(|| format!("64 × seed on two threads: {on_two:.3} of the {SHARE} of a core for each"))
}

fn side_by_side() -> Vec<String> {
    let members = members();
    let mut failures = Vec::new();
    let budget = rounds::budget(20);
    println!("{:<24}{:>14}{:>14}{:>14}{:>10}", "one sample", "", "ns, loop", "side by side", "faster");
    for isa in workloads::isas() {
        for (name, kind) in small() {
            let mut alone = Training::new(kind, isa, &members, 1, false);
            let mut together = Training::new(kind, isa, &members, 1, true);
            let mut rows = [
                Candidate::new(name.into(), MEMBERS as u64, move || alone.step(false)),
                Candidate::new(name.into(), MEMBERS as u64, move || together.step(true)),
            ];
            rounds::alternate(&mut rows, budget / (small().len() * workloads::isas().len()) as u32);
            let [alone, together] = &rows;
            let ns = |candidate: &Candidate| candidate.median() * 1e9 / MEMBERS as f64;
            let faster = alone.ratio(together);
            println!("{name:<24}{:>14}{:>14.1}{:>14.1}{faster:>10.2}", isa.name(), ns(alone), ns(together));
            let least = if matches!(kind.optimizer, Optimizer::Adam(_)) { FASTER_WITH_ADAM } else { FASTER };
            if budget > Duration::ZERO && faster < least {
                failures.push(format!("{name} on {isa}: {faster:.2} times as fast as a loop, not {least}"));
            }
        }
    }
    println!();
    failures
}
