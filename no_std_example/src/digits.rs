//! A 64-16-10 network that learns handwritten digits in the 16 KiB of a micro:bit.
//!
//! The images lie in flash, 41 bytes each, and are unpacked one at a time: the training set is never in RAM. What is
//! in RAM are the parameters, a float for each neuron, one image, and the order of the images.

#[path = "../../examples/data/record.rs"]
mod record;

use crate::{Clock, Decimals, Failure, nanoseconds_each};
use core::fmt::Write;
use microprop::{Isa, Layout, Loss, Mlp, Optimizer, Rng, Schedule, Sgd, Targets, Trainer, hash, init, layout};
use record::{RECORDS, unpack};

const PIXELS: usize = 8 * 8;
const CLASSES: usize = 10;
const LAYOUT: Layout = layout!(PIXELS => dense(16, Tanh), dense(CLASSES, Softmax));
const SEED: u64 = 7;
const EPOCHS: u32 = 12;

const COUNT: usize = RECORDS.len();
/// Every fifth is held out, as in the crate's example of the same name.
const HELD_OUT: usize = COUNT / 5;
const TRAINING: usize = COUNT - HELD_OUT;

/// All that training needs, apart from a little stack. No allocator takes part.
pub struct Memory {
    params: [f32; LAYOUT.params_len()],
    workspace: [f32; LAYOUT.lean_workspace_len()],
    order: [u16; TRAINING],
}

impl Memory {
    /// Zeros, so that a `static` of it lies in `.bss`.
    pub const fn new() -> Self {
        Self { params: [0.0; LAYOUT.params_len()], workspace: [0.0; LAYOUT.lean_workspace_len()], order: [0; TRAINING] }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

// On a board that is too small this is a compile error, not a night in the debugger.
const _: () = assert!(size_of::<Memory>() <= 12 * 1024, "4 of the 16 KiB are left for the stack");

/// What came of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    /// Hash of the trained parameters.
    pub hash: u64,
    /// Mean loss over the last epoch.
    pub loss: f32,
    /// Share of the held-out images that it reads.
    pub accuracy: f32,
    /// Bytes of parameters and workspace.
    pub network_bytes: usize,
    /// Bytes of [`Memory`].
    pub memory_bytes: usize,
    /// Nanoseconds of a training step: in an emulator that counts them so, instructions.
    pub step_ns: u32,
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

/// Trains, tests, and writes what happens to `out`.
///
/// # Errors
/// Those of a training step (a loss that is not finite), and of `out`.
pub fn run<C: Clock>(
    trainer: &Trainer<'_>,
    memory: &mut Memory,
    out: &mut impl Write,
    clock: &mut C,
) -> Result<Report, Failure> {
    let Memory { params, workspace, order } = memory;
    init(&LAYOUT, SEED, params)?;
    let network_bytes = size_of_val(params) + size_of_val(workspace);
    writeln!(out, "training on {TRAINING} images, {} parameters, {network_bytes} bytes", LAYOUT.params_len())?;
    for (i, index) in order.iter_mut().enumerate() {
        *index = (i / 4 * 5 + i % 4) as u16;
    }
    let mut shuffle = Rng::with_stream(SEED, 1 << 32);
    let (mut step, mut loss, mut ticks) = (0, 0.0, 0);
    for epoch in 1..=EPOCHS {
        shuffle.shuffle(order);
        let mut sum = 0.0;
        for &i in order.iter() {
            let (pixels, label) = unpack(&RECORDS[usize::from(i)]);
            clock.lap();
            sum += trainer.train_step(step, &pixels, Targets::classes(&[label]), params, &mut [], workspace)?;
            ticks += u64::from(clock.lap());
            step += 1;
        }
        loss = sum / TRAINING as f32;
        writeln!(out, "epoch {epoch:2}  loss {}", Decimals(loss))?;
    }

    let mut correct = 0;
    for image in RECORDS.iter().skip(4).step_by(5) {
        let (pixels, label) = unpack(image);
        let mut y = [0.0; CLASSES];
        trainer.mlp().predict(params, &pixels, &mut y, workspace)?;
        correct += usize::from(largest(&y) == label);
    }
    writeln!(out, "reads {correct} of {HELD_OUT} images that it has not seen")?;
    let accuracy = correct as f32 / HELD_OUT as f32;
    let step_ns = nanoseconds_each::<C>(ticks, EPOCHS as usize * TRAINING);
    Ok(Report { hash: hash(params), loss, accuracy, network_bytes, memory_bytes: size_of::<Memory>(), step_ns })
}

/// The index of the largest.
fn largest(y: &[f32; CLASSES]) -> u32 {
    (1..CLASSES).fold(0, |best, i| if y[i] > y[best] { i } else { best }) as u32
}
