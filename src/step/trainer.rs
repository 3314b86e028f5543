//! A training step: loss, gradient, update.

use super::batch;
use super::batch::Objective;
use super::lean;
use super::plan::Plan;
use super::{Mlp, Mode, Update, finite};
use crate::error::{Buffer, StepError, TrainerError};
use crate::kernels;
use crate::layout::Schedule;
use crate::loss::{Loss, Targets};
use crate::optimizer::Optimizer;

/// A network that learns: an [`Mlp`] with its loss and its optimizer, checked once.
///
/// ```
/// use microprop::{Isa, Layout, Loss, Mlp, Sgd, Targets, Trainer, init, layout};
///
/// // XOR, without a heap.
/// const LAYOUT: Layout = layout!(2 => dense(8, Tanh), dense(1, Sigmoid));
/// const TRAINER: Trainer = match Trainer::new(
///     Mlp::new(LAYOUT, Isa::SCALAR),
///     Loss::BinaryCrossEntropy,
///     microprop::Optimizer::Sgd(Sgd::new(0.5).momentum(0.9)),
/// ) {
///     Ok(trainer) => trainer,
///     Err(_) => panic!("the loss fits the outputs"),
/// };
/// const WORKSPACE: usize = match TRAINER.mlp().workspace_len(4) {
///     Ok(len) => len,
///     Err(_) => panic!("fits in memory"),
/// };
/// let (mut params, mut state) = ([0.0; LAYOUT.params_len()], [0.0; LAYOUT.params_len()]);
/// let mut workspace = [0.0; WORKSPACE];
/// init(&LAYOUT, 7, &mut params)?;
///
/// let x = [0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0];
/// let targets = Targets::Values(&[0.0, 1.0, 1.0, 0.0]);
/// let mut loss = f32::NAN;
/// for step in 0..300 {
///     loss = TRAINER.train_step(step, &x, targets, &mut params, &mut state, &mut workspace)?;
/// }
/// assert!(loss < 0.05, "{loss}");
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trainer<'a> {
    pub(super) mlp: Mlp<'a>,
    pub(super) loss: Loss,
    optimizer: Optimizer,
}

impl<'a> Trainer<'a> {
    /// Joins a network with its loss and its optimizer.
    ///
    /// # Errors
    /// [`TrainerError`] if the loss makes no sense on the network's outputs, or
    /// a setting of the optimizer is out of range.
    pub const fn new(mlp: Mlp<'a>, loss: Loss, optimizer: Optimizer) -> Result<Self, TrainerError> {
        if let Err(error) = loss.check(mlp.layout.output_activation()) {
            return Err(error);
        }
        if let Err(error) = optimizer.check() {
            return Err(error);
        }
        Ok(Self { mlp, loss, optimizer })
    }

    /// The network.
    pub const fn mlp(&self) -> &Mlp<'a> {
        &self.mlp
    }

    /// The optimizer.
    pub const fn optimizer(&self) -> &Optimizer {
        &self.optimizer
    }

    /// Takes one training step, and returns the loss that the batch had before it.
    ///
    /// `step` counts the steps from 0 (Adam's t is step + 1); `x: [batch × inputs]`,
    /// one sample in the lean schedule; `params`: [`Layout::params_len`](crate::Layout::params_len); `state`:
    /// [`Layout::optimizer_len`](crate::Layout::optimizer_len), zeros before step 0; `workspace`: at least [`Mlp::workspace_len`].
    ///
    /// # Errors
    /// [`StepError`]; parameters and state are then as they were. A loss that is not finite
    /// is an error too, found before any parameter is written. Only the loss is looked at: where
    /// tanh, sigmoid or ReLU flattens an infinite input, the loss is finite and the gradient is
    /// not, and it is the next step that says so.
    pub fn train_step(
        &self,
        step: u64,
        x: &[f32],
        targets: Targets<'_>,
        params: &mut [f32],
        state: &mut [f32],
        workspace: &mut [f32],
    ) -> Result<f32, StepError> {
        let layout = &self.mlp.layout;
        let plan = self.check(params, x, targets, workspace.len())?;
        StepError::check(Buffer::OptimizerState, layout.optimizer_len(&self.optimizer), state.len())?;
        let rule = &self.optimizer.rule(step);
        self.run(
            step,
            plan,
            x,
            targets,
            Update::Apply { rule, params, state: kernels::split_state(state, rule.states()) },
            workspace,
        )
    }

    /// Writes the gradient of the loss, [`Layout::trainable_len`](crate::Layout::trainable_len) floats in the order
    /// of the parameters, and returns the loss. Arguments as in [`train_step`](Self::train_step); `step`
    /// decides what dropout drops, and nothing else.
    ///
    /// # Errors
    /// [`StepError`]; the gradient is then as it was.
    pub fn gradient(
        &self,
        step: u64,
        x: &[f32],
        targets: Targets<'_>,
        params: &[f32],
        gradient: &mut [f32],
        workspace: &mut [f32],
    ) -> Result<f32, StepError> {
        let plan = self.check(params, x, targets, workspace.len())?;
        StepError::check(Buffer::Gradient, self.mlp.layout.trainable_len(), gradient.len())?;
        self.run(step, plan, x, targets, Update::Store { params, gradient }, workspace)
    }

    /// Updates the parameters with a gradient: after [`gradient`](Self::gradient),
    /// the same bits as [`train_step`](Self::train_step) in the batch schedule.
    ///
    /// # Errors
    /// [`StepError::Length`]; parameters and state are then as they were. The gradient's
    /// values are not checked.
    pub fn apply(&self, step: u64, gradient: &[f32], params: &mut [f32], state: &mut [f32]) -> Result<(), StepError> {
        let layout = &self.mlp.layout;
        StepError::check(Buffer::Gradient, layout.trainable_len(), gradient.len())?;
        StepError::check(Buffer::Parameters, layout.params_len(), params.len())?;
        StepError::check(Buffer::OptimizerState, layout.optimizer_len(&self.optimizer), state.len())?;
        let rule = self.optimizer.rule(step);
        let params = &mut params[..layout.trainable_len()];
        kernels::apply(self.mlp.engine.isa, &rule, gradient, params, kernels::split_state(state, rule.states()));
        Ok(())
    }

    /// Returns the loss over `x`, which trains nothing. Arguments as in [`train_step`](Self::train_step).
    ///
    /// # Errors
    /// [`StepError`], as in `train_step`.
    pub fn loss(
        &self,
        x: &[f32],
        targets: Targets<'_>,
        params: &[f32],
        workspace: &mut [f32],
    ) -> Result<f32, StepError> {
        let plan = self.check(params, x, targets, workspace.len())?;
        let loss = match plan {
            Some(plan) => batch::loss(&self.mlp, plan, x, Objective { loss: self.loss, targets }, params, workspace),
            None => lean::loss(&self.mlp, Mode::Inference, self.loss, x, targets, params, workspace),
        };
        finite(loss)
    }

    /// The outputs that the last `train_step`, `gradient` or `loss` over `batch`
    /// samples has left in the workspace: what a metric is worked out from. `None`
    /// in the lean schedule, where deltas have replaced them.
    #[cfg(feature = "alloc")]
    pub(crate) fn outputs_in<'w>(&self, batch: usize, workspace: &'w [f32]) -> Option<&'w [f32]> {
        let plan = if self.mlp.schedule == Schedule::Batch { self.mlp.plan(batch) } else { None };
        plan.map(|plan| plan.outputs(workspace))
    }

    fn check(
        &self,
        params: &[f32],
        x: &[f32],
        targets: Targets<'_>,
        workspace: usize,
    ) -> Result<Option<Plan>, StepError> {
        let plan = self.mlp.check_step(params, x, workspace)?;
        let batch = plan.map_or(1, |plan| plan.batch);
        self.loss.check_targets(targets, batch, self.mlp.layout.outputs())?;
        Ok(plan)
    }

    fn run(
        &self,
        step: u64,
        plan: Option<Plan>,
        x: &[f32],
        targets: Targets<'_>,
        target: Update<'_>,
        workspace: &mut [f32],
    ) -> Result<f32, StepError> {
        let mode = self.mlp.training(step);
        // With the schedule asked too, a `static` lean trainer leaves the batch schedule out of the
        // binary: 33 KB instead of 95 KB for `no_std_example` on a Cortex-M0.
        match plan.filter(|_| self.mlp.schedule == Schedule::Batch) {
            Some(plan) => {
                batch::run(&self.mlp, plan, mode, x, Objective { loss: self.loss, targets }, target, workspace)
            }
            None => {
                let loss = finite(lean::loss(&self.mlp, mode, self.loss, x, targets, target.params(), workspace))?;
                lean::backward(&self.mlp, mode, x, target, workspace, None);
                Ok(loss)
            }
        }
    }
}
