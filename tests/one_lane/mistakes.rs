//! Calls that cannot be right: each is refused by an error of its own, and leaves what was learnt as it was. Also a module of the
//! firmware in `no_std_example/instructions`.

use microprop::{
    Adam, Buffer, Isa, Layout, Loss, Mlp, Optimizer, Rng, Schedule, StepError, Targets, Trainer, hash, init, layout,
};

const LAYOUT: Layout = layout!(3 => dense(5, Relu), dense(4, Softmax));
const CATEGORIES: Layout = layout!(2 => embedding(1, 3, 2), dense(2, Linear));
const ADAM: Optimizer = Optimizer::Adam(Adam::new(0.01));

/// Returns the first mistake that is not refused as it should be, or that has changed something.
///
/// # Errors
/// [`StepError`], if a step or a prediction without mistake is refused.
pub fn first_that_passes(isa: Isa) -> Result<Option<&'static str>, StepError> {
    Ok(of_lengths_and_values(isa)?.or(of_categories(isa)?))
}

fn trainer(layout: Layout<'static>, loss: Loss<'static>, isa: Isa) -> Result<Trainer<'static>, StepError> {
    Trainer::new(Mlp::new(layout, isa).with_schedule(Schedule::Lean), loss, ADAM).map_err(|_| StepError::TooLarge)
}

// Each is compiled once, and not at each call: without `std` the entries of the lean schedule become part of what calls them.

#[inline(never)]
fn train(
    trainer: &Trainer<'_>,
    step: u64,
    x: &[f32],
    targets: Targets<'_>,
    params: &mut [f32],
    state: &mut [f32],
    workspace: &mut [f32],
) -> Result<f32, StepError> {
    trainer.train_step(step, x, targets, params, state, workspace)
}

#[inline(never)]
fn train_in_slices(
    trainer: &Trainer<'_>,
    x: &[f32],
    targets: Targets<'_>,
    params: &mut [f32],
    state: &mut [f32],
    workspace: &mut [f32],
) -> Result<f32, StepError> {
    let mut step = trainer.sliced_step(1, x, targets, params, state, workspace)?;
    loop {
        if let Some(loss) = trainer.advance(&mut step, 1)? {
            return Ok(loss);
        }
    }
}

#[inline(never)]
fn predict(
    trainer: &Trainer<'_>,
    params: &[f32],
    x: &[f32],
    y: &mut [f32],
    workspace: &mut [f32],
) -> Result<(), StepError> {
    trainer.mlp().predict(params, x, y, workspace)
}

/// Returns from the function, with a mistake's name, if the call has another outcome than this error or changes one of these buffers.
macro_rules! refuse {
    ($name:literal: $call:expr => $error:pat, $($buffer:expr),+) => {
        let before = [$(hash(&*$buffer)),+];
        let is_refused = matches!($call, Err($error));
        if !is_refused || before != [$(hash(&*$buffer)),+] {
            return Ok(Some($name));
        }
    };
}

fn of_lengths_and_values(isa: Isa) -> Result<Option<&'static str>, StepError> {
    use StepError::{Batch, Class, LeanBatch, Length, NonFiniteLoss};
    let trainer = trainer(LAYOUT, Loss::CrossEntropy, isa)?;
    let (mut p, mut s, mut w) =
        ([0.0; LAYOUT.params_len()], [0.0; LAYOUT.optimizer_len(&ADAM)], [0.0; LAYOUT.lean_workspace_len()]);
    let (p, s, w) = (&mut p[..], &mut s[..], &mut w[..]);
    let (x, y) = ([0.5, -1.0, 0.25], &mut [7.0; 4]);
    let class = Targets::classes(&[2]);
    init(&LAYOUT, 1, p)?;
    train(&trainer, 0, &x, class, p, s, w)?;

    macro_rules! step {
        ($name:literal: $x:expr, $targets:expr, $p:expr, $s:expr, $w:expr => $error:pat) => {
            refuse!($name: train(&trainer, 1, $x, $targets, $p, $s, $w) => $error, p, s);
            refuse!($name: train_in_slices(&trainer, $x, $targets, $p, $s, $w) => $error, p, s);
        };
    }
    step!("few parameters": &x, class, &mut p[1..], s, w => Length { buffer: Buffer::Parameters, expected: 44, found: 43 });
    step!("little state": &x, class, p, &mut s[1..], w => Length { buffer: Buffer::OptimizerState, expected: 88, found: 87 });
    step!("a small workspace": &x, class, p, s, &mut w[1..] => Length { buffer: Buffer::Workspace, found: 8, .. });
    step!("no workspace": &x, class, p, s, &mut [] => Length { buffer: Buffer::Workspace, found: 0, .. });
    step!("few inputs": &x[1..], class, p, s, w => Batch { inputs: 3, found: 2 });
    step!("no inputs": &[], class, p, s, w => Batch { inputs: 3, found: 0 });
    step!("two samples": &[0.5; 6], Targets::classes(&[2, 2]), p, s, w => LeanBatch { found: 2 });
    step!("no target": &x, Targets::classes(&[]), p, s, w => Length { buffer: Buffer::Targets, expected: 1, found: 0 });
    step!("few target values": &x, Targets::values(&[1.0; 3]), p, s, w => Length { buffer: Buffer::Targets, expected: 4, found: 3 });
    step!("a class too high": &x, Targets::classes(&[4]), p, s, w => Class { sample: 0, found: 4, classes: 4 });
    refuse!("a NaN among the inputs":
        train(&trainer, 1, &[0.5, f32::NAN, 0.25], class, p, s, w) => NonFiniteLoss { .. }, p, s);
    refuse!("an infinite input":
        train(&trainer, 1, &[f32::INFINITY, 1.0, 0.25], class, p, s, w) => NonFiniteLoss { .. }, p, s);
    refuse!("a NaN among the inputs of slices":
        train_in_slices(&trainer, &[0.5, f32::NAN, 0.25], class, p, s, w) => NonFiniteLoss { .. }, p, s);
    refuse!("prediction by few parameters":
        predict(&trainer, &p[1..], &x, y, w) => Length { buffer: Buffer::Parameters, .. }, p, y);
    refuse!("prediction into few outputs":
        predict(&trainer, p, &x, &mut y[1..], w) => Length { buffer: Buffer::Outputs, expected: 4, found: 3 }, p, y);
    refuse!("prediction in a small workspace":
        predict(&trainer, p, &x, y, &mut w[1..]) => Length { buffer: Buffer::Workspace, .. }, p, y);
    refuse!("init of few parameters":
        init(&LAYOUT, 1, &mut p[1..]) => Length { buffer: Buffer::Parameters, .. }, p);

    // All of it was as it should be, but for the one mistake.
    train(&trainer, 1, &x, class, p, s, w)?;
    predict(&trainer, p, &x, y, w)?;
    Ok(None)
}

fn of_categories(isa: Isa) -> Result<Option<&'static str>, StepError> {
    use StepError::Category;
    let trainer = trainer(CATEGORIES, Loss::MeanSquaredError, isa)?;
    let (p, s) = (&mut [0.0; CATEGORIES.params_len()], &mut [0.0; CATEGORIES.optimizer_len(&ADAM)]);
    let (w, y) = (&mut [0.0; CATEGORIES.lean_workspace_len()], &mut [7.0; 2]);
    let targets = Targets::values(&[0.5, 1.5]);
    init(&CATEGORIES, 1, p)?;
    let number = Rng::new(1).uniform();
    train(&trainer, 0, &[number, 2.0], targets, p, s, w)?;
    for found in [3.0, -1.0, 0.5, f32::NAN, f32::INFINITY] {
        let x = &[number, found];
        refuse!("training on a category that is none":
            train(&trainer, 1, x, targets, p, s, w) => Category { input: 1, categories: 3, .. }, p, s);
        refuse!("slices on a category that is none":
            train_in_slices(&trainer, x, targets, p, s, w) => Category { input: 1, categories: 3, .. }, p, s);
        refuse!("prediction of a category that is none":
            predict(&trainer, p, x, y, w) => Category { input: 1, categories: 3, .. }, p, y);
    }
    predict(&trainer, p, &[number, 2.0], y, w)?;
    Ok(None)
}
