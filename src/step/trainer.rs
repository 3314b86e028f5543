//! A training step: loss, gradient, update.

use super::batch;
use super::lean;
use super::plan::Plan;
use super::{Mlp, Mode, StepLoss, Update};
use crate::error::{Buffer, LayoutError, StepError, TrainerError};
use crate::identity;
use crate::kernels;
use crate::layout::Schedule;
use crate::loss::{Loss, Objective, Targets};
use crate::optimizer::Optimizer;
use crate::parts;

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
/// let targets = Targets::values(&[0.0, 1.0, 1.0, 0.0]);
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
    pub(super) loss: Loss<'a>,
    class_weights: Option<&'a [f32]>,
    optimizer: Optimizer,
    /// Whose step it is, worked out once: each slice compares it.
    pub(super) identity: u64,
}

impl<'a> Trainer<'a> {
    /// Joins a network with its loss and its optimizer.
    ///
    /// # Errors
    /// [`TrainerError`] if the loss makes no sense on the network's outputs, or
    /// a setting of it or of the optimizer is out of range.
    pub const fn new(mlp: Mlp<'a>, loss: Loss<'a>, optimizer: Optimizer) -> Result<Self, TrainerError> {
        if let Err(error) = loss.check(mlp.layout.output_activation()) {
            return Err(error);
        }
        if let Err(error) = optimizer.check() {
            return Err(error);
        }
        Ok(Self { mlp, loss, class_weights: None, optimizer, identity: identity::in_training(&mlp.layout) })
    }

    /// The same with a weight for each class, `[outputs]`: the factor of all that a sample of the class brings to the
    /// loss and to the gradient, beside the sample's own weight ([`Targets::with_sample_weights`]).
    /// The divisor of the mean stays, as in Keras.
    ///
    /// With several outputs targets are then class indices. With one output there are two weights: a target
    /// above 0.5 is of class 1, the others are of class 0.
    ///
    /// ```
    /// use microprop::{Activation::Softmax, Isa, Layer, Layout, Loss, Mlp, Sgd, Targets, Trainer};
    ///
    /// let layers = [Layer::dense(2, Softmax)];
    /// let mlp = Mlp::new(Layout::new(1, &layers)?, Isa::detect());
    /// let trainer = Trainer::new(mlp, Loss::CrossEntropy, Sgd::new(0.1).into())?;
    /// let rare_counts_more = trainer.with_class_weights(&[0.5, 4.0])?;
    ///
    /// let mut workspace = vec![0.0; trainer.workspace_len(1)?];
    /// let mut loss = |trainer: Trainer, class| trainer.loss(&[1.0], Targets::classes(&[class]), &[0.0; 4], &mut workspace);
    /// assert_eq!(loss(rare_counts_more, 0)?, 0.5 * loss(trainer, 0)?);
    /// assert_eq!(loss(rare_counts_more, 1)?, 4.0 * loss(trainer, 1)?);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`TrainerError::ClassWeights`] if there is not one for each class.
    pub const fn with_class_weights(self, weights: &'a [f32]) -> Result<Self, TrainerError> {
        let outputs = self.mlp.layout.outputs();
        let expected = if outputs == 1 { 2 } else { outputs };
        if weights.len() != expected {
            return Err(TrainerError::ClassWeights { expected, found: weights.len() });
        }
        Ok(Self { class_weights: Some(weights), ..self })
    }

    /// The same with another seed, learning rate and number of threads.
    pub(crate) const fn of_member(self, seed: u64, learning_rate: f32, threads: usize) -> Self {
        let mlp = self.mlp.with_seed(seed).with_threads(threads);
        Self { mlp, optimizer: self.optimizer.with_learning_rate(learning_rate), ..self }
    }

    /// Floats of workspace for a step over `batch` samples: those of [`Mlp::workspace_len`], and in
    /// the lean schedule with a [custom loss](Loss::Custom) room for the derivatives that it writes.
    ///
    /// # Errors
    /// [`LayoutError::TooLarge`] if that overflows.
    pub const fn workspace_len(&self, batch: usize) -> Result<usize, LayoutError> {
        match (self.mlp.workspace_len(batch), self.mlp.schedule) {
            (Ok(len), Schedule::Lean) => match len.checked_add(self.lean_scratch_len()) {
                Some(len) => Ok(len),
                None => Err(LayoutError::TooLarge),
            },
            (result, _) => result,
        }
    }

    const fn lean_scratch_len(&self) -> usize {
        self.loss.lean_scratch_len(self.mlp.layout.output_activation(), self.mlp.layout.outputs())
    }

    /// The network.
    pub const fn mlp(&self) -> &Mlp<'a> {
        &self.mlp
    }

    /// The optimizer.
    pub const fn optimizer(&self) -> &Optimizer {
        &self.optimizer
    }

    /// Takes one training step, and returns the loss that the batch had before it,
    /// with the [penalties](Self::penalty) on the weights as they were.
    ///
    /// `step` counts the steps from 0 (Adam's t is step + 1); `x: [batch × inputs]`,
    /// one sample in the lean schedule; `params`: [`Layout::params_len`](crate::Layout::params_len); `state`:
    /// [`Layout::optimizer_len`](crate::Layout::optimizer_len), zeros before step 0; `workspace`: at least [`workspace_len`](Self::workspace_len).
    ///
    /// # Errors
    /// [`StepError`]; parameters and state are then as they were. A loss that is not finite
    /// is an error too, found before any parameter is written. Only the loss is looked at: where
    /// tanh, sigmoid or ReLU flattens an infinite input, the loss is finite and the gradient is
    /// not, and it is the next step that says so.
    // On a device two networks are two functions, each with what it has. On a desktop they share one.
    #[cfg_attr(not(feature = "std"), inline(always))]
    pub fn train_step(
        &self,
        step: u64,
        x: &[f32],
        targets: Targets<'_>,
        params: &mut [f32],
        state: &mut [f32],
        workspace: &mut [f32],
    ) -> Result<f32, StepError> {
        Ok(self.train_step_in_parts(step, x, targets, params, state, workspace)?.total())
    }

    /// A training step, its loss in parts.
    #[cfg_attr(not(feature = "std"), inline(always))]
    pub(crate) fn train_step_in_parts(
        &self,
        step: u64,
        x: &[f32],
        targets: Targets<'_>,
        params: &mut [f32],
        state: &mut [f32],
        workspace: &mut [f32],
    ) -> Result<StepLoss, StepError> {
        let layout = &self.mlp.layout;
        let plan = self.check(params, x, targets, workspace.len())?;
        StepError::check(Buffer::OptimizerState, layout.optimizer_len(&self.optimizer), state.len())?;
        let rule = self.optimizer.rule(step);
        self.run(
            step,
            plan.as_ref(),
            x,
            targets,
            Update::Apply { rule, params, state: kernels::split_state(state, rule.states()) },
            workspace,
        )
    }

    /// Writes the gradient of the loss, penalties included, [`Layout::trainable_len`](crate::Layout::trainable_len) floats in the order
    /// of the parameters, and returns the loss. Arguments as in [`train_step`](Self::train_step); `step`
    /// decides what dropout drops, and nothing else.
    ///
    /// # Errors
    /// [`StepError`]; the gradient is then as it was.
    #[cfg_attr(not(feature = "std"), inline(always))]
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
        Ok(self.run(step, plan.as_ref(), x, targets, Update::Store { params, gradient }, workspace)?.total())
    }

    /// Updates the parameters with a gradient: after [`gradient`](Self::gradient),
    /// the same bits as [`train_step`](Self::train_step) in the batch schedule (which also moves the running
    /// statistics of batch normalisation). The gradient
    /// is taken as it is: no penalty is added.
    ///
    /// # Errors
    /// [`StepError::Length`]; parameters and state are then as they were. The gradient's
    /// values are not checked.
    #[cfg_attr(not(feature = "std"), inline(always))]
    pub fn apply(&self, step: u64, gradient: &[f32], params: &mut [f32], state: &mut [f32]) -> Result<(), StepError> {
        let layout = &self.mlp.layout;
        StepError::check(Buffer::Gradient, layout.trainable_len(), gradient.len())?;
        StepError::check(Buffer::Parameters, layout.params_len(), params.len())?;
        StepError::check(Buffer::OptimizerState, layout.optimizer_len(&self.optimizer), state.len())?;
        let rule = self.optimizer.rule(step);
        let params = parts::part_mut(params, 0..layout.trainable_len());
        kernels::apply(self.mlp.engine.isa, &rule, gradient, params, kernels::split_state(state, rule.states()));
        Ok(())
    }

    /// The penalties on the weights, added up: see [`Mlp::penalty`]. What [`train_step`](Self::train_step),
    /// [`gradient`](Self::gradient) and [`loss`](Self::loss) return is the loss of the data plus this.
    ///
    /// # Errors
    /// [`StepError::Length`].
    pub fn penalty(&self, params: &[f32]) -> Result<f32, StepError> {
        self.mlp.penalty(params)
    }

    /// Returns the loss over `x`, penalties included, and trains nothing. Arguments as in [`train_step`](Self::train_step).
    ///
    /// # Errors
    /// [`StepError`], as in `train_step`.
    #[cfg_attr(not(feature = "std"), inline(always))]
    pub fn loss(
        &self,
        x: &[f32],
        targets: Targets<'_>,
        params: &[f32],
        workspace: &mut [f32],
    ) -> Result<f32, StepError> {
        StepError::check(Buffer::Parameters, self.mlp.layout.params_len(), params.len())?;
        Ok(self.loss_beside(self.mlp.penalty_of(params), x, targets, params, workspace)?.total())
    }

    /// The loss over `x` where the penalty is known.
    #[cfg_attr(not(feature = "std"), inline(always))]
    pub(crate) fn loss_beside(
        &self,
        penalty: Option<f32>,
        x: &[f32],
        targets: Targets<'_>,
        params: &[f32],
        workspace: &mut [f32],
    ) -> Result<StepLoss, StepError> {
        let plan = self.check(params, x, targets, workspace.len())?;
        let objective = self.objective(targets);
        let data = match &plan {
            Some(plan) => batch::loss(&self.mlp, plan, x, &objective, params, workspace),
            None => lean::loss(&self.mlp, Mode::Inference, &objective, x, params, workspace),
        };
        StepLoss::new(data, penalty)
    }

    /// How many outputs or samples the mask of `targets` leaves, if there is one.
    #[cfg(feature = "alloc")]
    pub(crate) fn left(&self, targets: Targets<'_>) -> Option<usize> {
        Objective { loss: self.loss, targets, class_weights: None }.left(self.mlp.layout.outputs())
    }

    /// The outputs that the last `train_step`, `gradient` or `loss` over `batch`
    /// samples has left in the workspace: what a metric is worked out from. `None`
    /// in the lean schedule, where deltas have replaced them.
    #[cfg(feature = "alloc")]
    pub(crate) fn outputs_in<'w>(&self, batch: usize, workspace: &'w [f32]) -> Option<&'w [f32]> {
        let plan = if self.mlp.schedule == Schedule::Batch { self.mlp.plan(batch) } else { None };
        plan.map(|plan| plan.outputs(workspace))
    }

    /// Checks all that a step is given but the optimizer's state.
    #[cfg_attr(not(feature = "std"), inline(always))]
    pub(super) fn check(
        &self,
        params: &[f32],
        x: &[f32],
        targets: Targets<'_>,
        workspace: usize,
    ) -> Result<Option<Plan>, StepError> {
        let plan = self.mlp.check_step(params, x, workspace, self.lean_scratch_len())?;
        let batch = plan.as_ref().map_or(1, |plan| plan.batch);
        self.objective(targets).check(batch, self.mlp.layout.outputs())?;
        Ok(plan)
    }

    #[inline(always)]
    pub(crate) fn objective<'t>(&'t self, targets: Targets<'t>) -> Objective<'t> {
        Objective { loss: self.loss, targets, class_weights: self.class_weights }
    }

    // Inlined, so that in a `static` lean trainer the rule is a constant, and the kernels of the others stay out of the binary.
    #[inline(always)]
    fn run(
        &self,
        step: u64,
        plan: Option<&Plan>,
        x: &[f32],
        targets: Targets<'_>,
        target: Update<'_>,
        workspace: &mut [f32],
    ) -> Result<StepLoss, StepError> {
        let mode = self.mlp.training(step);
        let objective = &self.objective(targets);
        // With the schedule asked too, a `static` lean trainer leaves the batch schedule out of the
        // binary (`no_std_example`, Cortex-M0: 99 KB, where a trainer made at run time takes 300).
        match plan.filter(|_| self.mlp.schedule == Schedule::Batch) {
            Some(plan) => batch::run(&self.mlp, plan, mode, x, objective, target, workspace),
            None => {
                let data = lean::loss(&self.mlp, mode, objective, x, target.params(), workspace);
                let loss = StepLoss::new(data, self.mlp.penalty_of(target.params()))?;
                lean::backward(&self.mlp, mode, x, target, workspace, None);
                Ok(loss)
            }
        }
    }
}
