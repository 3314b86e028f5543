//! A check, not a program: a small network with layers of all kinds that one sample at a time can train, dropout's
//! masks among them, has to end with the same bits on every target. It is a binary of its own, so that the
//! other firmware need not carry what it does not use.

use crate::Failure;
use microprop::{Adam, Isa, Layout, Loss, Mlp, Optimizer, Rng, Schedule, Targets, Trainer, hash, init, layout};

const CATEGORIES: usize = 5;
const INPUTS: usize = 4;
const STEPS: u64 = 100;

const LAYOUT: Layout = layout!(
    INPUTS => embedding(0, CATEGORIES, 5),
    dropout(0.2),
    dense(8, Gelu).with_dropout(0.3),
    layer_norm(Mish).with_residual(1),
    dense(8, Elu { alpha: 1.0 }).with_residual(2).with_dropout(0.25),
    rms_norm(Softsign),
    dense(3, Softmax)
);
const OPTIMIZER: Optimizer = Optimizer::Adam(Adam::new(0.01));

/// What training needs.
pub struct Memory {
    params: [f32; LAYOUT.params_len()],
    state: [f32; LAYOUT.optimizer_len(&OPTIMIZER)],
    workspace: [f32; LAYOUT.lean_workspace_len()],
}

impl Memory {
    /// Zeros.
    pub const fn new() -> Self {
        Self {
            params: [0.0; LAYOUT.params_len()],
            state: [0.0; LAYOUT.optimizer_len(&OPTIMIZER)],
            workspace: [0.0; LAYOUT.lean_workspace_len()],
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

/// The network and how it learns.
pub const fn trainer(isa: Isa) -> Trainer<'static> {
    let mlp = Mlp::new(LAYOUT, isa).with_schedule(Schedule::Lean).with_seed(0x0123_4567_89ab_cdef);
    match Trainer::new(mlp, Loss::CrossEntropy, OPTIMIZER) {
        Ok(trainer) => trainer,
        Err(_) => panic!("cross-entropy fits softmax, and the learning rate is positive"),
    }
}

/// Trains, predicts, and returns a hash of parameters, optimizer state and workspace.
///
/// # Errors
/// Those of a training step.
pub fn run(trainer: &Trainer<'_>, memory: &mut Memory) -> Result<u64, Failure> {
    let Memory { params, state, workspace } = memory;
    init(&LAYOUT, 7, params)?;
    let mut rng = Rng::new(11);
    let mut sample = || -> ([f32; INPUTS], u32) {
        let category = rng.below(CATEGORIES as u32);
        ([category as f32, rng.uniform(), rng.uniform(), rng.uniform()], category % 3)
    };
    for step in 0..STEPS {
        let (x, class) = sample();
        trainer.train_step(step, &x, Targets::classes(&[class]), params, state, workspace)?;
    }
    let mut outputs = [0.0; 3];
    trainer.mlp().predict(params, &sample().0, &mut outputs, workspace)?;
    Ok(hash(params) ^ hash(state).rotate_left(1) ^ hash(workspace).rotate_left(2))
}
