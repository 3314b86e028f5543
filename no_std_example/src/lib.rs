//! A motor monitor that learns where it is mounted.
//!
//! An accelerometer on a motor records windows of 128 samples at 1 kHz. While
//! someone who knows the motor's state stands by, 192 windows are kept as eight
//! features each; the network then learns from them, on the device, and names
//! the state of windows that it has not seen.
//!
//! Here the windows come from a small model of a motor, in integers, so that
//! every target records the same. This file is the whole program; `main.rs` gives it a
//! place to run and somewhere to write. (`layers.rs` is no part of it: see there.)
#![no_std]
#![forbid(unsafe_code)]

pub mod layers;

use core::fmt::{self, Write};
use microprop::{
    Isa, Layout, Loss, Mlp, Optimizer, Rng, Schedule, Sgd, StepError, Targets, Trainer, hash, init, layout,
};

const WINDOW: usize = 128;
const FEATURES: usize = 8;
const CLASSES: usize = 4;
const NAMES: [&str; CLASSES] = ["stopped", "healthy", "unbalanced", "worn bearing"];

const LAYOUT: Layout = layout!(FEATURES => dense(16, Tanh), dense(CLASSES, Softmax));
const SEED: u64 = 7;
const TRAINING: usize = 192;
const HELD_OUT: usize = 400;
const EPOCHS: u32 = 30;

/// All that training needs, apart from a little stack. No allocator takes part.
pub struct Memory {
    params: [f32; LAYOUT.params_len()],
    workspace: [f32; LAYOUT.lean_workspace_len()],
    samples: [[f32; FEATURES]; TRAINING],
    order: [u8; TRAINING],
}

impl Memory {
    /// Zeros, so that a `static` of it lies in `.bss`.
    pub const fn new() -> Self {
        Self {
            params: [0.0; LAYOUT.params_len()],
            workspace: [0.0; LAYOUT.lean_workspace_len()],
            samples: [[0.0; FEATURES]; TRAINING],
            order: [0; TRAINING],
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

/// What came of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    /// Hash of the trained parameters.
    pub hash: u64,
    /// Mean loss over the last epoch.
    pub loss: f32,
    /// Share of the held-out windows whose state it named.
    pub accuracy: f32,
    /// Bytes of parameters and workspace.
    pub network_bytes: usize,
    /// Bytes of [`Memory`], the recordings included.
    pub memory_bytes: usize,
}

/// The network and how it learns. With an [`Isa`] that is known at compile time
/// this is a constant, and what it does not use stays out of the firmware.
pub const fn trainer(isa: Isa) -> Trainer<'static> {
    let mlp = Mlp::new(LAYOUT, isa).with_schedule(Schedule::Lean);
    match Trainer::new(mlp, Loss::CrossEntropy, Optimizer::Sgd(Sgd::new(0.05))) {
        Ok(trainer) => trainer,
        Err(_) => panic!("cross-entropy fits softmax, and the learning rate is positive"),
    }
}

/// Records, trains, tests, and writes what happens to `out`.
///
/// # Errors
/// Those of a training step (a loss that is not finite), and of `out`.
pub fn run(trainer: &Trainer<'_>, memory: &mut Memory, out: &mut impl Write) -> Result<Report, Failure> {
    let Memory { params, workspace, samples, order } = memory;
    init(&LAYOUT, SEED, params)?;
    let network_bytes = size_of_val(params) + size_of_val(workspace);

    // Window i shows state i mod 4. Windows 0 .. 192 are for training.
    for (i, sample) in samples.iter_mut().enumerate() {
        *sample = features(&record(i));
    }
    writeln!(out, "training on {TRAINING} windows, {} parameters, {network_bytes} bytes", LAYOUT.params_len())?;
    for (i, index) in order.iter_mut().enumerate() {
        *index = i as u8;
    }
    let mut shuffle = Rng::with_stream(SEED, 1 << 32);
    let (mut step, mut loss) = (0, 0.0);
    for epoch in 1..=EPOCHS {
        shuffle.shuffle(order);
        let mut sum = 0.0;
        for &i in order.iter() {
            let i = usize::from(i);
            let class = [(i % CLASSES) as u32];
            sum += trainer.train_step(step, &samples[i], Targets::classes(&class), params, &mut [], workspace)?;
            step += 1;
        }
        loss = sum / TRAINING as f32;
        writeln!(out, "epoch {epoch:2}  loss {}", Decimals(loss))?;
    }

    let mut confusion = [[0_u32; CLASSES]; CLASSES];
    for i in TRAINING..TRAINING + HELD_OUT {
        let mut y = [0.0; CLASSES];
        trainer.mlp().predict(params, &features(&record(i)), &mut y, workspace)?;
        confusion[i % CLASSES][largest(&y)] += 1;
    }
    writeln!(out, "\n{HELD_OUT} windows it has not seen; rows: what was, columns: what it says")?;
    writeln!(out, "{:12} stop heal unba worn", "")?;
    for (row, name) in confusion.iter().zip(NAMES) {
        writeln!(out, "{name:>12} {:4} {:4} {:4} {:4}", row[0], row[1], row[2], row[3])?;
    }
    let correct: u32 = (0..CLASSES).map(|c| confusion[c][c]).sum();
    let accuracy = correct as f32 / HELD_OUT as f32;
    Ok(Report { hash: hash(params), loss, accuracy, network_bytes, memory_bytes: size_of::<Memory>() })
}

/// The index of the largest.
fn largest(y: &[f32; CLASSES]) -> usize {
    (1..CLASSES).fold(0, |best, i| if y[i] > y[best] { i } else { best })
}

/// Window `i`, of a motor in state `i % 4`: what the accelerometer would give.
///
/// Each has its own shaft speed (25 to 50 Hz), load and noise. A worn
/// bearing knocks 3.57 times in a turn and the housing rings at 300 Hz; any
/// motor is knocked from outside now and then.
fn record(i: usize) -> [i32; WINDOW] {
    let mut rng = Rng::with_stream(SEED + 1, i as u64);
    let speed = 1638 + rng.below(1639) as u16; // 65536 is a turn
    let noise = 6 + rng.below(18) as i32;
    let (shaft, knock) = match i % CLASSES {
        0 => (0, 0),
        1 => (50 + rng.below(90), 0),
        2 => (130 + rng.below(300), 0),
        _ => (50 + rng.below(150), 70 + rng.below(250)),
    };
    let stray = if rng.below(4) == 0 { rng.below(WINDOW as u32) as usize } else { WINDOW };
    let mut turn = rng.next_u32() as u16;
    let mut cage = rng.next_u32() as u16;
    let (mut ring, mut ring_before) = (0_i32, 0_i32);
    core::array::from_fn(|t| {
        turn = turn.wrapping_add(speed);
        let (next, knocked) = cage.overflowing_add((u32::from(speed) * 357 / 100) as u16);
        cage = next;
        let hit = if knocked { knock as i32 } else { 0 } + if t == stray { 200 } else { 0 };
        // A resonator: poles at radius 0.85, 0.3 of the sampling rate.
        (ring, ring_before) = (hit - ((134 * ring + 185 * ring_before) >> 8), ring);
        let hiss = ((rng.next_u32().to_le_bytes().map(i32::from).iter().sum::<i32>() - 510) * noise) >> 8;
        ((shaft as i32 * sine(turn)) >> 8) + ring + hiss
    })
}

/// A sine in parabolas: a whole turn is 65536, the amplitude 256.
fn sine(turn: u16) -> i32 {
    let half = i32::from(turn & 0x7fff);
    let arch = (half * (0x8000 - half)) >> 20;
    if turn < 0x8000 { arch } else { -arch }
}

/// Eight numbers of a window, each a logarithm to base 2: how much it moves in six
/// octaves (a Haar transform), its mean and its peak deflection.
fn features(window: &[i32; WINDOW]) -> [f32; FEATURES] {
    let mut w = *window;
    let mut features = [0.0; FEATURES];
    features[6] = log2(window.iter().map(|x| x.unsigned_abs()).sum());
    features[7] = log2(window.iter().map(|x| x.unsigned_abs()).max().unwrap_or(0) << 6);
    let mut len = WINDOW;
    for feature in &mut features[..6] {
        let mut moved = 0;
        len /= 2;
        for k in 0..len {
            let (a, b) = (w[2 * k], w[2 * k + 1]);
            moved += (a - b).unsigned_abs();
            w[k] = a + b;
        }
        *feature = log2(moved);
    }
    features
}

/// log₂(x + 1), straight between powers of two, then shifted and scaled to about −1 … 1. Exact in `f32`.
fn log2(x: u32) -> f32 {
    let x = x + 1;
    let power = x.ilog2();
    let fraction = ((u64::from(x) << 8) >> power) as i32 - 256;
    (power as i32 * 256 + fraction - 3072) as f32 / 1024.0
}

/// A number in 0 to 99 with four decimals: `f32`'s own formatting costs a
/// microcontroller over ten kilobytes of flash.
pub struct Decimals(pub f32);

impl fmt::Display for Decimals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = (self.0 * 10_000.0 + 0.5) as u32;
        write!(f, "{}.{:04}", n / 10_000, n % 10_000)
    }
}

/// Why a run ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The loss became infinite or NaN.
    NonFiniteLoss,
    /// A buffer has the wrong length.
    Length,
    /// The output can't be written.
    Output,
}

impl From<StepError> for Failure {
    fn from(error: StepError) -> Self {
        match error {
            StepError::NonFiniteLoss { .. } => Self::NonFiniteLoss,
            _ => Self::Length,
        }
    }
}

impl From<fmt::Error> for Failure {
    fn from(_: fmt::Error) -> Self {
        Self::Output
    }
}
