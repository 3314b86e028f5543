//! Calls all that the lean schedule offers, on layers of each kind, with buffers of which the compiler knows nothing. A panic would call a
//! function that does not exist: that this links is the proof that there is none. It is not made to run.
#![no_std]
#![no_main]

use core::hint::black_box;
use core::panic::PanicInfo;
use microprop::{
    Adam, Delta, Isa, Layout, Loss, Mlp, Optimizer, Rng, Schedule, Sgd, StepError, Targets, Trainer, copy_params, hash,
    init, layout,
};

const SENSOR: Layout = layout!(60 => dense(32, Relu), dense(16, Relu), dense(4, Softmax));
const SEED: Layout = layout!(20 => dense(64, Relu), dense(1, Sigmoid));
const XOR: Layout = layout!(2 => dense(3, Sigmoid), dense(1, Sigmoid));
const SENSOR_BY_OUTPUT: Layout = layout!(60 => dense(32, Relu).by_output(), dense(16, Relu), dense(4, Softmax));
const SEED_BY_OUTPUT: Layout = layout!(20 => dense(64, Relu).by_output(), dense(1, Sigmoid));
const NARROW_BY_OUTPUT: Layout = layout!(300 => dense(7, Tanh).by_output(), dense(3, Linear));
const EACH: Layout = layout!(8 =>
    normalization(),
    embedding(2, 3, 4),
    dense(16, Gelu).with_dropout(0.2).with_penalty(Penalty::l2(0.01)),
    layer_norm(Linear),
    dense(16, Relu).with_residual(1).without_bias(),
    rms_norm(Linear),
    elementwise(Silu),
    dense(3, Softmax)
);
const CONTROL: Layout = layout!(17 => dense(33, Tanh), dense(6, Linear));

const fn trainer(layout: Layout<'static>, loss: Loss<'static>, optimizer: Optimizer) -> Trainer<'static> {
    match Trainer::new(Mlp::new(layout, Isa::SCALAR).with_schedule(Schedule::Lean), loss, optimizer) {
        Ok(trainer) => trainer,
        Err(_) => panic!("the loss fits the last activation"),
    }
}

/// Slices of the caller's.
struct Buffers<'a> {
    x: &'a [f32],
    classes: &'a [u32],
    values: &'a [f32],
    params: &'a mut [f32],
    state: &'a mut [f32],
    gradient: &'a mut [f32],
    workspace: &'a mut [f32],
    y: &'a mut [f32],
}

/// All entries, of one network.
macro_rules! network {
    ($name:ident, $layout:ident, $loss:expr, $optimizer:expr, $targets:ident of $labels:ident) => {
        mod $name {
            use super::*;

            static TRAINER: Trainer<'static> = trainer($layout, $loss, $optimizer);
            static OPTIMIZER: Optimizer = $optimizer;

            #[inline(never)]
            pub(super) fn all(step: u64, buffers: Buffers<'_>) -> Result<f32, StepError> {
                let targets = Targets::$targets(buffers.$labels);
                let Buffers { x, params, state, gradient, workspace, y, .. } = buffers;
                init(&$layout, step, params)?;
                let mut sum = TRAINER.train_step(step, x, targets, params, state, workspace)?;
                sum += TRAINER.loss(x, targets, params, workspace)?;
                sum += TRAINER.gradient(step, x, targets, params, gradient, workspace)?;
                TRAINER.apply(step, gradient, params, state)?;
                TRAINER.mlp().predict(params, x, y, workspace)?;
                let pass = TRAINER.mlp().forward(params, x, workspace)?;
                sum += pass.outputs().first().copied().unwrap_or_default();
                pass.backward(&OPTIMIZER, step, Delta::Outputs(y), params, state, Some(gradient))?;
                let pass = TRAINER.mlp().forward_training(step, params, x, workspace)?;
                pass.gradient(Delta::PreActivations(y), params, gradient, None)?;
                sum += TRAINER.penalty(params)?;
                let mut sliced = TRAINER.sliced_step(step, x, targets, params, state, workspace)?;
                loop {
                    if let Some(loss) = TRAINER.advance(&mut sliced, 64)? {
                        return Ok(sum + loss + sliced.params().map_or(0.0, |params| params.len() as f32));
                    }
                }
            }
        }
    };
}

const SGD: Optimizer = Optimizer::Sgd(Sgd::new(0.01));
network!(sensor, SENSOR, Loss::CrossEntropy, SGD, classes of classes);
network!(sensor_by_adam, SENSOR, Loss::CrossEntropy, Optimizer::Adam(Adam::new(0.001)), classes of classes);
network!(seed, SEED, Loss::BinaryCrossEntropy, SGD, values of values);
network!(seed_by_output, SEED_BY_OUTPUT, Loss::BinaryCrossEntropy, SGD, values of values);
network!(sensor_by_output, SENSOR_BY_OUTPUT, Loss::CrossEntropy, Optimizer::Adam(Adam::new(0.001)), classes of classes);
network!(narrow_by_output, NARROW_BY_OUTPUT, Loss::HalfMeanSquaredError, Optimizer::Sgd(Sgd::new(0.01).momentum(0.9)), values of values);
network!(xor, XOR, Loss::MeanSquaredError, SGD, values of values);
network!(control, CONTROL, Loss::MeanSquaredError, Optimizer::Sgd(Sgd::new(0.01).momentum(0.9)), values of values);
network!(each, EACH, Loss::CrossEntropy, SGD, classes of classes);

#[cortex_m_rt::entry]
fn main() -> ! {
    static mut WORDS: [f32; 2048] = [0.0; 2048];
    static mut CLASSES: [u32; 4] = [0; 4];
    let mut rng = Rng::new(u64::from(black_box(1_u32)));
    let mut sum = rng.uniform() + rng.below(black_box(3)) as f32;
    let by_output = [seed_by_output::all, sensor_by_output::all, narrow_by_output::all];
    let others = [sensor::all, sensor_by_adam::all, seed::all, xor::all, control::all, each::all];
    for all in by_output.into_iter().chain(others) {
        let mut rest = &mut WORDS[..];
        let mut next = || {
            let (part, after) = core::mem::take(&mut rest).split_at_mut_checked(black_box(100)).unwrap_or_default();
            rest = after;
            part
        };
        let (x, values, params, state) = (next(), next(), next(), next());
        let (gradient, workspace, y) = (next(), next(), next());
        sum += f32::from(copy_params(&SEED, values, &SEED_BY_OUTPUT, params).is_ok());
        let buffers = Buffers { x, classes: black_box(&*CLASSES), values, params, state, gradient, workspace, y };
        sum += all(u64::from(black_box(1_u32)), buffers).unwrap_or(0.0);
    }
    black_box((sum, hash(WORDS)));
    loop {
        cortex_m::asm::wfi();
    }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        fn a_panic_is_reachable() -> !;
    }
    // SAFETY: it is not there, so nothing that calls it links.
    unsafe { a_panic_is_reachable() }
}
