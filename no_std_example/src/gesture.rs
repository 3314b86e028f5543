//! A watch that learns how its wearer moves: a network that a desktop has trained on other people lies in flash, and only
//! its last layer is copied to RAM and trained on, with a few recordings of the wearer.
//!
//! The data is BasicMotions of the UEA archive: see `gesture/README.md`. It says nobody's name. So the wearer here is
//! one who has the watch a quarter turn further round the wrist: the y axis of the sensors is where the z axis was. The
//! network tells half of what such a wearer does, until it has learnt.

use crate::recording::{FEATURES, MOTIONS, Recording, features};
use crate::{Clock, Decimals, Failure, nanoseconds_each};
use core::fmt::Write;
use microprop::{Isa, Layout, Loss, Mlp, Optimizer, Rng, Schedule, Sgd, Targets, Trainer, hash, layout};

const WIDTH: usize = 16;
/// What stays as it is.
const BACKBONE: Layout = layout!(FEATURES => dense(32, Relu), dense(WIDTH, Relu));
/// What learns.
const HEAD: Layout = layout!(WIDTH => dense(MOTIONS.len(), Softmax));
const SEED: u64 = 7;
const EPOCHS: u32 = 40;

/// What `gesture/prepare.sh` has made.
mod made {
    use super::{BACKBONE, HEAD, Recording};

    pub(super) static BACKBONE_PARAMS: [f32; BACKBONE.params_len()] =
        floats(include_bytes!(concat!(env!("GESTURE"), "/backbone.f32")));
    pub(super) static HEAD_PARAMS: [f32; HEAD.params_len()] =
        floats(include_bytes!(concat!(env!("GESTURE"), "/head.f32")));
    /// Those of the wearer.
    pub(super) static RECORDINGS: &[Recording] = {
        let (recordings, rest) = include_bytes!(concat!(env!("GESTURE"), "/wearer.bin")).as_chunks();
        assert!(rest.is_empty() && recordings.len() > 1, "whole recordings, to learn from and to hold out");
        recordings
    };

    const fn floats<const N: usize>(bytes: &[u8]) -> [f32; N] {
        let (words, rest) = bytes.as_chunks();
        assert!(words.len() == N && rest.is_empty(), "the file has a float for each parameter");
        let (mut floats, mut i) = ([0.0; N], 0);
        while i < N {
            floats[i] = f32::from_le_bytes(words[i]);
            i += 1;
        }
        floats
    }
}
use made::{BACKBONE_PARAMS, HEAD_PARAMS, RECORDINGS};

/// Every other recording is learnt from, the rest is held out.
const TRAINING: usize = RECORDINGS.len().div_ceil(2);
const HELD_OUT: usize = RECORDINGS.len() / 2;

/// All that training on the device needs, apart from a little stack.
pub struct Memory {
    head: [f32; HEAD.params_len()],
    /// First the backbone's, then the head's.
    workspace: [f32; longer(BACKBONE.lean_workspace_len(), HEAD.lean_workspace_len())],
    order: [u8; TRAINING],
}

const fn longer(a: usize, b: usize) -> usize {
    if a > b { a } else { b }
}

impl Memory {
    /// Zeros, so that a `static` of it lies in `.bss`.
    pub const fn new() -> Self {
        Self {
            head: [0.0; HEAD.params_len()],
            workspace: [0.0; longer(BACKBONE.lean_workspace_len(), HEAD.lean_workspace_len())],
            order: [0; TRAINING],
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

const _: () = assert!(size_of::<Memory>() <= 1024, "the backbone's parameters, 10 KB, stay in flash");

/// What came of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    /// Hash of the head's parameters.
    pub hash: u64,
    /// Share of the held-out recordings whose motion is told as the network comes from the desktop.
    pub before: f32,
    /// The same after training.
    pub accuracy: f32,
    /// Bytes of [`Memory`].
    pub memory_bytes: usize,
    /// Nanoseconds of a training step, the backbone's forward pass included: in an emulator that counts them so, instructions.
    pub step_ns: u32,
}

/// Both parts of the network: with an [`Isa`] that is known at compile time they are constants.
pub struct Networks {
    backbone: Mlp<'static>,
    head: Trainer<'static>,
}

impl Networks {
    /// The networks, and how the head learns.
    pub const fn new(isa: Isa) -> Self {
        let head = Mlp::new(HEAD, isa).with_schedule(Schedule::Lean);
        Self {
            backbone: Mlp::new(BACKBONE, isa).with_schedule(Schedule::Lean),
            head: match Trainer::new(head, Loss::CrossEntropy, Optimizer::Sgd(Sgd::new(0.02))) {
                Ok(trainer) => trainer,
                Err(_) => panic!("cross-entropy fits softmax, and the learning rate is positive"),
            },
        }
    }
}

/// Trains, tests before and after, and writes what happens to `out`.
///
/// # Errors
/// Those of a training step (a loss that is not finite), and of `out`.
pub fn run<C: Clock>(
    networks: &Networks,
    memory: &mut Memory,
    out: &mut impl Write,
    clock: &mut C,
) -> Result<Report, Failure> {
    let Networks { backbone, head } = networks;
    let Memory { head: params, workspace, order } = memory;
    params.copy_from_slice(&HEAD_PARAMS);
    let bytes = size_of_val(params) + size_of_val(workspace);
    writeln!(
        out,
        "{} parameters stay in flash; {} are trained on {TRAINING} recordings, with {bytes} bytes",
        BACKBONE_PARAMS.len(),
        HEAD_PARAMS.len(),
    )?;
    let before = told(networks, params, workspace)?;
    writeln!(out, "before: tells {before} of {HELD_OUT} recordings that it has not seen")?;
    for (i, index) in (0..).zip(order.iter_mut()) {
        *index = 2 * i;
    }
    let mut shuffle = Rng::with_stream(SEED, 1 << 32);
    let (mut step, mut ticks) = (0, 0);
    for epoch in 1..=EPOCHS {
        shuffle.shuffle(order);
        let mut sum = 0.0;
        for &i in order.iter() {
            let (x, motion) = features(&RECORDINGS[usize::from(i)]);
            clock.lap();
            let mut y = [0.0; WIDTH];
            backbone.predict(&BACKBONE_PARAMS, &x, &mut y, workspace)?;
            sum += head.train_step(step, &y, Targets::classes(&[motion]), params, &mut [], workspace)?;
            ticks += u64::from(clock.lap());
            step += 1;
        }
        if epoch % 10 == 0 {
            writeln!(out, "epoch {epoch:2}  loss {}", Decimals(sum / TRAINING as f32))?;
        }
    }
    let after = told(networks, params, workspace)?;
    writeln!(out, "after: tells {after} of {HELD_OUT}")?;
    Ok(Report {
        hash: hash(params),
        before: before as f32 / HELD_OUT as f32,
        accuracy: after as f32 / HELD_OUT as f32,
        memory_bytes: size_of::<Memory>(),
        step_ns: nanoseconds_each::<C>(ticks, EPOCHS as usize * TRAINING),
    })
}

/// How many of the held-out recordings are told.
fn told(networks: &Networks, params: &[f32], workspace: &mut [f32]) -> Result<usize, Failure> {
    let mut told = 0;
    for recording in RECORDINGS.iter().skip(1).step_by(2) {
        let (x, motion) = features(recording);
        let (mut y, mut p) = ([0.0; WIDTH], [0.0; MOTIONS.len()]);
        networks.backbone.predict(&BACKBONE_PARAMS, &x, &mut y, workspace)?;
        networks.head.mlp().predict(params, &y, &mut p, workspace)?;
        let best = (1..p.len()).fold(0, |best, i| if p[i] > p[best] { i } else { best });
        told += usize::from(best == motion as usize);
    }
    Ok(told)
}
