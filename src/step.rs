//! What a step is: forward, loss, backward, update, in two schedules.
#![forbid(unsafe_code)]

mod batch;
mod layers;
mod lean;
mod plain;
mod plan;
mod predict;
mod single;
mod sliced;
mod trainer;

use crate::backend::{Backend, Engine};
use crate::error::{Buffer, LayoutError, StepError};
use crate::kernels::{self, Dropout};
use crate::layer::Layer;
use crate::layout::{Layout, Place, Schedule};
use crate::optimizer::{Optimizer, Rule};
use crate::parts;
use crate::simd::Isa;
use plan::Plan;
pub(crate) use plan::{join, padding, part};
pub use sliced::SlicedStep;
pub use trainer::Trainer;

/// A network to compute: its layout, and how and where it runs. It holds no
/// numbers of the network; parameters and workspace are slices of the caller's.
///
/// Any slices will do. Parameters that begin on a line of 64 bytes, as those of a
/// `Network` do, are a few percent faster with AVX-512.
///
/// A [`Trainer`] adds loss and optimizer. `Mlp` is a plain `Copy` value, and a
/// `const` one where the instruction set is known ([`Isa::SCALAR`]).
///
/// ```
/// use microprop::{Isa, Layout, Mlp, init, layout};
///
/// const LAYOUT: Layout = layout!(2 => dense(3, Tanh), dense(1, Sigmoid));
/// let mlp = Mlp::new(LAYOUT, Isa::detect());
/// let mut params = [0.0; LAYOUT.params_len()];
/// init(&LAYOUT, 7, &mut params)?;
///
/// let x = [0.0, 1.0, 1.0, 1.0]; // two samples
/// let mut y = [0.0; 2];
/// let mut workspace = vec![0.0; mlp.predict_workspace_len(2)?];
/// mlp.predict(&params, &x, &mut y, &mut workspace)?;
/// assert!(y.iter().all(|&p| p > 0.0 && p < 1.0));
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mlp<'a> {
    layout: Layout<'a>,
    engine: Engine,
    schedule: Schedule,
    threads: usize,
    grain: usize,
    seed: u64,
}

/// What a pass is for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    /// Everything stays; batch norms take their running statistics.
    Inference,
    /// Dropout drops what seed and step say; batch norms take the statistics of the batch.
    Training { seed: u64, step: u64 },
}

impl Mode {
    /// What this pass drops of the values of layer `index`.
    fn dropout(self, index: usize, layer: &Layer) -> Option<Dropout> {
        match self {
            Self::Training { seed, step } if layer.dropout > 0.0 => {
                Some(Dropout::new(layer.dropout, index, seed, step))
            }
            _ => None,
        }
    }
}

/// Multiply-adds below which a piece of a step is not worth a thread of its own:
/// see [`Mlp::with_grain`].
pub(crate) const GRAIN: usize = 1 << 21;

impl<'a> Mlp<'a> {
    /// A network on one thread, in the batch schedule.
    pub const fn new(layout: Layout<'a>, isa: Isa) -> Self {
        Self { layout, engine: Engine::own(isa), schedule: Schedule::Batch, threads: 1, grain: GRAIN, seed: 0 }
    }

    /// The same in another schedule.
    #[must_use]
    pub const fn with_schedule(self, schedule: Schedule) -> Self {
        Self { schedule, ..self }
    }

    /// The same split into up to `threads` pieces, run on rayon's current pool
    /// (feature `rayon`; without it one after the other), if there is work for them:
    /// see [`with_grain`](Self::with_grain). The bits of the results don't depend on
    /// it; the workspace's length does.
    #[must_use]
    pub const fn with_threads(self, threads: usize) -> Self {
        Self { threads: if threads == 0 { 1 } else { threads }, ..self }
    }

    /// The same with at least `multiply_adds` of work in each piece, by default 2²¹:
    /// a thread that is given less costs more than it saves. It decides the number of
    /// pieces, and so the workspace's length.
    #[must_use]
    pub const fn with_grain(self, multiply_adds: usize) -> Self {
        Self { grain: if multiply_adds == 0 { 1 } else { multiply_adds }, ..self }
    }

    /// The same with this seed of dropout's masks, by default 0.
    #[must_use]
    pub const fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// The same with large products left to `backend`, in the batch schedule. The
    /// bits of the results don't depend on it; the workspace's length does.
    #[must_use]
    pub const fn with_backend(self, backend: Backend) -> Self {
        Self { engine: Engine { backend, ..self.engine }, ..self }
    }

    /// Its layout.
    pub const fn layout(&self) -> &Layout<'a> {
        &self.layout
    }

    /// What it runs on.
    pub const fn isa(&self) -> Isa {
        self.engine.isa
    }

    /// The threads that it may take.
    pub(crate) const fn threads(&self) -> usize {
        self.threads
    }

    /// Its schedule.
    pub const fn schedule(&self) -> Schedule {
        self.schedule
    }

    /// Floats of workspace for a step (or a [`forward`](Self::forward)) over `batch` samples.
    ///
    /// In the lean schedule one per neuron: [`Layout::lean_workspace_len`].
    ///
    /// # Errors
    /// [`LayoutError::TooLarge`] if that overflows.
    #[cfg_attr(not(feature = "std"), inline(always))]
    pub const fn workspace_len(&self, batch: usize) -> Result<usize, LayoutError> {
        match self.schedule {
            Schedule::Lean => Ok(self.layout.lean_workspace_len()),
            Schedule::Batch => match self.plan(batch) {
                Some(plan) => Ok(plan.workspace_len),
                None => Err(LayoutError::TooLarge),
            },
        }
    }

    /// Floats of workspace for [`predict`](Self::predict) over `batch` samples. With this crate's kernels one sample asks for
    /// no more than in the lean schedule: [`Layout::lean_workspace_len`].
    ///
    /// # Errors
    /// [`LayoutError::TooLarge`] if that overflows.
    #[cfg_attr(not(feature = "std"), inline(always))]
    pub const fn predict_workspace_len(&self, batch: usize) -> Result<usize, LayoutError> {
        match self.schedule {
            Schedule::Lean => Ok(self.layout.lean_workspace_len()),
            Schedule::Batch => match predict::workspace_len(&self.layout, batch, self.pieces(batch)) {
                // The smaller one: of many narrow layers a batch keeps two, one sample by itself all.
                Some(len) if len < self.layout.lean_workspace_len() => Ok(len),
                _ if self.is_alone(batch) => Ok(self.layout.lean_workspace_len()),
                Some(len) => Ok(len),
                None => Err(LayoutError::TooLarge),
            },
        }
    }

    /// Whether a batch is one sample that [`predict`](Self::predict) can take through the layers as the lean schedule
    /// does: that asks for nothing that a batch needs, and the sums are the same.
    const fn is_alone(&self, batch: usize) -> bool {
        batch == 1 && self.engine.is_own()
    }

    /// Writes the network's outputs for `x`.
    ///
    /// `params`: [`Layout::params_len`]; `x: [batch × inputs]`; `y: [batch × outputs]`;
    /// `workspace`: at least [`predict_workspace_len`](Self::predict_workspace_len).
    /// Any number of threads may predict from the same parameters at once, each with its own workspace.
    ///
    /// # Errors
    /// [`StepError::Length`] or [`StepError::Batch`]; `y` is then as it was.
    // On a device two networks are two functions, each with what it has. On a desktop they share one.
    #[cfg_attr(not(feature = "std"), inline(always))]
    pub fn predict(&self, params: &[f32], x: &[f32], y: &mut [f32], workspace: &mut [f32]) -> Result<(), StepError> {
        let batch = self.check(params, x)?;
        StepError::check(Buffer::Outputs, kernels::length(batch, self.layout.outputs())?, y.len())?;
        let neurons = self.layout.lean_workspace_len();
        let is_lean = self.schedule == Schedule::Lean || self.is_alone(batch) && neurons <= workspace.len();
        if !is_lean {
            return self.predict_batch(batch, params, x, y, workspace);
        }
        StepError::check_at_least(Buffer::Workspace, neurons, workspace.len())?;
        let (inputs, outputs) = (self.layout.inputs(), self.layout.outputs());
        let (mut x, mut y) = (x, y);
        while !x.is_empty() {
            let (sample, x_above) = parts::split(x, inputs);
            let (own, y_above) = parts::split_mut(y, outputs);
            let values = lean::forward(self, Mode::Inference, params, sample, workspace, false);
            match (values, own) {
                // Not worth a call.
                ([value], [own]) => *own = *value,
                (values, own) => parts::copy(values, own),
            }
            (x, y) = (x_above, y_above);
        }
        Ok(())
    }

    /// Predictions in the batch schedule, when only the workspace is not checked yet. (Apart, so that one sample does not
    /// feel it.)
    #[cfg_attr(feature = "std", inline(never))]
    #[cfg_attr(not(feature = "std"), inline(always))]
    fn predict_batch(
        &self,
        batch: usize,
        params: &[f32],
        x: &[f32],
        y: &mut [f32],
        workspace: &mut [f32],
    ) -> Result<(), StepError> {
        let needed = self.predict_workspace_len(batch).or(Err(StepError::TooLarge))?;
        StepError::check_at_least(Buffer::Workspace, needed, workspace.len())?;
        predict::predict(self, params, x, y, workspace);
        Ok(())
    }

    /// Runs `x` forward, as [`predict`](Self::predict) does, and keeps in `workspace` what a backward pass needs.
    /// In training, dropout and batch normalisation want [`forward_training`](Self::forward_training).
    ///
    /// `params`: [`Layout::params_len`]; `x: [batch × inputs]`, one sample in the lean
    /// schedule; `workspace`: at least [`workspace_len`](Self::workspace_len).
    /// With [`Pass::outputs`] the caller works out a delta of its own, with
    /// [`Pass::backward`] it trains on it:
    ///
    /// ```
    /// use microprop::{Delta, Isa, Layout, Mlp, Optimizer, Sgd, init, layout};
    ///
    /// const LAYOUT: Layout = layout!(1 => dense(8, Tanh), dense(1, Linear));
    /// let mlp = Mlp::new(LAYOUT, Isa::detect());
    /// let mut params = [0.0; LAYOUT.params_len()];
    /// init(&LAYOUT, 1, &mut params)?;
    /// let mut workspace = vec![0.0; mlp.workspace_len(1)?];
    /// let sgd = Optimizer::Sgd(Sgd::new(0.1));
    /// for step in 0..200 {
    ///     let pass = mlp.forward(&params, &[0.3], &mut workspace)?;
    ///     let error = pass.outputs()[0].powi(3) - 0.5; // any function of the outputs
    ///     let delta = [error * 3.0 * pass.outputs()[0].powi(2) + 0.01 * error];
    ///     pass.backward(&sgd, step, Delta::Outputs(&delta), &mut params, &mut [], None)?;
    /// }
    /// let pass = mlp.forward(&params, &[0.3], &mut workspace)?;
    /// assert!((pass.outputs()[0].powi(3) - 0.5).abs() < 1e-3);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`StepError`]: a length, a batch or a category that doesn't fit the layout or the schedule.
    #[cfg_attr(not(feature = "std"), inline(always))]
    pub fn forward<'p>(
        &self,
        params: &[f32],
        x: &'p [f32],
        workspace: &'p mut [f32],
    ) -> Result<Pass<'a, 'p>, StepError> {
        self.forward_in(Mode::Inference, params, x, workspace)
    }

    /// The same as training step `step` does it: dropout drops what the [seed](Self::with_seed) and
    /// the step say, and batch normalisation takes the statistics of the batch (which [`Pass::backward`] then
    /// adds to the running ones).
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    #[cfg_attr(not(feature = "std"), inline(always))]
    pub fn forward_training<'p>(
        &self,
        step: u64,
        params: &[f32],
        x: &'p [f32],
        workspace: &'p mut [f32],
    ) -> Result<Pass<'a, 'p>, StepError> {
        self.forward_in(self.training(step), params, x, workspace)
    }

    #[cfg_attr(not(feature = "std"), inline(always))]
    fn forward_in<'p>(
        &self,
        mode: Mode,
        params: &[f32],
        x: &'p [f32],
        workspace: &'p mut [f32],
    ) -> Result<Pass<'a, 'p>, StepError> {
        let plan = self.check_step(params, x, workspace.len(), 0)?;
        match &plan {
            Some(plan) => batch::forward(self, plan, mode, params, x, workspace),
            None => {
                lean::forward(self, mode, params, x, workspace, false);
            }
        }
        Ok(Pass { mlp: *self, plan, mode, x, workspace })
    }

    const fn training(&self, step: u64) -> Mode {
        Mode::Training { seed: self.seed, step }
    }

    /// The penalties on the weights in `params`, added up, 0 if no layer has one: a part of the loss that a
    /// [`Trainer`] reports, and of the loss that is meant where a gradient is the network's whole.
    ///
    /// # Errors
    /// [`StepError::Length`].
    pub fn penalty(&self, params: &[f32]) -> Result<f32, StepError> {
        StepError::check(Buffer::Parameters, self.layout.params_len(), params.len())?;
        Ok(self.penalty_of(params).unwrap_or(0.0))
    }

    /// The penalties on the weights in `params`, added up; `None` if no layer has one.
    #[cfg_attr(not(feature = "std"), inline(always))]
    pub(crate) fn penalty_of(&self, params: &[f32]) -> Option<f32> {
        if !self.layout.is_penalized() {
            return None;
        }
        let terms = self.layout.places().filter_map(|place| self.penalty_of_layer(&place, params));
        Some(terms.fold(0.0, |sum, term| sum + term))
    }

    /// The penalty on the weights of a layer; `None` if it has none.
    fn penalty_of_layer(&self, place: &Place<'_>, params: &[f32]) -> Option<f32> {
        let penalty = self.layout.penalty(place)?;
        Some(kernels::penalty(self.engine.isa, penalty, parts::part(params, place.weights())))
    }

    /// Adds to a gradient that of the penalties.
    #[cfg_attr(not(feature = "std"), inline(always))]
    fn penalize(&self, params: &[f32], gradient: &mut [f32]) {
        if !self.layout.is_penalized() {
            return;
        }
        for place in self.layout.places() {
            if let Some(penalty) = self.layout.penalty(&place) {
                let weights = place.weights();
                kernels::penalize(
                    self.engine.isa,
                    penalty,
                    parts::part(params, weights.clone()),
                    parts::part_mut(gradient, weights),
                );
            }
        }
    }

    /// Checks parameters and inputs; returns the number of samples.
    #[cfg_attr(not(feature = "std"), inline(always))]
    fn check(&self, params: &[f32], x: &[f32]) -> Result<usize, StepError> {
        StepError::check(Buffer::Parameters, self.layout.params_len(), params.len())?;
        self.check_order()?;
        let batch = kernels::batch_of(x, self.layout.inputs())?;
        self.layout.check_categories(x)?;
        Ok(batch)
    }

    /// Checks that the schedule takes weights in the order in which they are stored.
    #[inline(always)]
    pub(crate) fn check_order(&self) -> Result<(), StepError> {
        match self.schedule {
            Schedule::Batch if self.layout.is_by_output() => Err(StepError::BatchByOutput),
            _ => Ok(()),
        }
    }

    /// Checks what a step is given; returns the plan of the batch schedule. `lean_scratch` floats of the workspace
    /// are wanted beside the neurons in the lean schedule.
    #[cfg_attr(not(feature = "std"), inline(always))]
    fn check_step(
        &self,
        params: &[f32],
        x: &[f32],
        workspace: usize,
        lean_scratch: usize,
    ) -> Result<Option<Plan>, StepError> {
        let batch = self.check(params, x)?;
        let (needed, plan) = match self.schedule {
            Schedule::Lean if batch != 1 => return Err(StepError::LeanBatch { found: batch }),
            Schedule::Lean if self.layout.has_batch_norm() => return Err(StepError::LeanBatchNorm),
            Schedule::Lean => {
                let neurons = self.layout.lean_workspace_len();
                (neurons.checked_add(lean_scratch).ok_or(StepError::TooLarge)?, None)
            }
            Schedule::Batch => {
                let plan = self.plan(batch).ok_or(StepError::TooLarge)?;
                (plan.workspace_len, Some(plan))
            }
        };
        StepError::check_at_least(Buffer::Workspace, needed, workspace)?;
        Ok(plan)
    }

    /// `None` if a length overflows.
    const fn plan(&self, batch: usize) -> Option<Plan> {
        Plan::new(&self.layout, batch, self.pieces(batch), self.engine.backend)
    }

    /// In how many pieces a step over `batch` samples is run.
    const fn pieces(&self, batch: usize) -> usize {
        if self.threads == 1 {
            return 1; // A small step feels a division.
        }
        match batch.saturating_mul(self.layout.params_len()) / self.grain {
            0 => 1,
            pieces if pieces > self.threads => self.threads,
            pieces => pieces,
        }
    }
}

/// The derivative of a loss, by what the caller has differentiated it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Delta<'a> {
    /// ∂loss/∂outputs, `[batch × outputs]`: after the last activation.
    Outputs(&'a [f32]),
    /// ∂loss/∂pre-activations of the last layer, `[batch × outputs]`: before its activation.
    PreActivations(&'a [f32]),
}

/// A forward pass that can be followed by a backward pass: see [`Mlp::forward`].
#[derive(Debug)]
pub struct Pass<'a, 'p> {
    mlp: Mlp<'a>,
    /// `None` in the lean schedule.
    plan: Option<Plan>,
    mode: Mode,
    x: &'p [f32],
    workspace: &'p mut [f32],
}

impl Pass<'_, '_> {
    /// The network's outputs, `[batch × outputs]`.
    #[cfg_attr(not(feature = "std"), inline(always))]
    pub fn outputs(&self) -> &[f32] {
        match &self.plan {
            Some(plan) => plan.outputs(self.workspace),
            None => lean::outputs(&self.mlp, self.workspace),
        }
    }

    /// Runs `delta` backward and updates the parameters, which must be those of the forward pass.
    /// Penalties are part of the gradient, and not of `delta`.
    ///
    /// `step` counts the updates from 0 (Adam's t is step + 1); `state` is the
    /// optimizer's, [`Layout::optimizer_len`] floats, zeros before step 0. Where
    /// `input_delta` is given, ∂loss/∂inputs is written there, `[batch × inputs]`.
    ///
    /// # Errors
    /// [`StepError::Length`] or [`StepError::Trainer`]; parameters, state and
    /// `input_delta` are then as they were. The delta is taken as it is: the loss
    /// is the caller's, and so is the check that it is finite.
    #[cfg_attr(not(feature = "std"), inline(always))]
    pub fn backward(
        self,
        optimizer: &Optimizer,
        step: u64,
        delta: Delta<'_>,
        params: &mut [f32],
        state: &mut [f32],
        input_delta: Option<&mut [f32]>,
    ) -> Result<(), StepError> {
        optimizer.check()?;
        let layout = &self.mlp.layout;
        StepError::check(Buffer::Parameters, layout.params_len(), params.len())?;
        StepError::check(Buffer::OptimizerState, layout.optimizer_len(optimizer), state.len())?;
        self.check_deltas(delta, &input_delta)?;
        let rule = optimizer.rule(step);
        let state = kernels::split_state(state, rule.states());
        let target = Update::Apply { rule, params, state };
        self.run(delta, target, input_delta);
        Ok(())
    }

    /// Runs `delta` backward and writes the gradient, [`Layout::trainable_len`]
    /// floats in the order of the parameters, instead of updating them. Penalties are part of it.
    ///
    /// # Errors
    /// [`StepError::Length`]; `gradient` and `input_delta` are then as they were.
    #[cfg_attr(not(feature = "std"), inline(always))]
    pub fn gradient(
        self,
        delta: Delta<'_>,
        params: &[f32],
        gradient: &mut [f32],
        input_delta: Option<&mut [f32]>,
    ) -> Result<(), StepError> {
        let layout = &self.mlp.layout;
        StepError::check(Buffer::Parameters, layout.params_len(), params.len())?;
        StepError::check(Buffer::Gradient, layout.trainable_len(), gradient.len())?;
        self.check_deltas(delta, &input_delta)?;
        self.run(delta, Update::Store { params, gradient }, input_delta);
        Ok(())
    }

    #[cfg_attr(not(feature = "std"), inline(always))]
    fn check_deltas(&self, delta: Delta<'_>, input_delta: &Option<&mut [f32]>) -> Result<(), StepError> {
        let (Delta::Outputs(given) | Delta::PreActivations(given)) = delta;
        let batch = self.plan.as_ref().map_or(1, |plan| plan.batch);
        StepError::check(Buffer::OutputDelta, batch * self.mlp.layout.outputs(), given.len())?;
        match input_delta {
            Some(below) => StepError::check(Buffer::InputDelta, self.x.len(), below.len()),
            None => Ok(()),
        }
    }

    #[cfg_attr(not(feature = "std"), inline(always))]
    fn run(self, delta: Delta<'_>, target: Update<'_>, input_delta: Option<&mut [f32]>) {
        match &self.plan {
            Some(plan) => {
                batch::backward(&self.mlp, plan, self.mode, self.x, delta, target, self.workspace, input_delta);
            }
            None => {
                lean::set_delta(&self.mlp, delta, self.workspace);
                lean::backward(&self.mlp, self.mode, self.x, target, self.workspace, input_delta);
            }
        }
    }
}

/// What a backward pass does with the gradient.
#[derive(Debug)]
enum Update<'a> {
    /// Updates the parameters with it.
    Apply { rule: Rule, params: &'a mut [f32], state: [&'a mut [f32]; 2] },
    /// Writes it down. (The lean schedule needs the buffer to be zero and adds to it.)
    Store { params: &'a [f32], gradient: &'a mut [f32] },
}

impl Update<'_> {
    /// The parameters of the forward pass.
    fn params(&self) -> &[f32] {
        match self {
            Self::Apply { params, .. } => params,
            Self::Store { params, .. } => params,
        }
    }
}

/// A loss in its two parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StepLoss {
    data: f32,
    /// That of the weights, if a layer has one.
    pub(crate) penalty: Option<f32>,
}

impl StepLoss {
    /// An error if the sum is not finite.
    fn new(data: f32, penalty: Option<f32>) -> Result<Self, StepError> {
        let loss = Self { data, penalty };
        let found = loss.total();
        if found.is_finite() { Ok(loss) } else { Err(StepError::NonFiniteLoss { found }) }
    }

    /// The loss as it is reported.
    pub(crate) fn total(&self) -> f32 {
        self.penalty.map_or(self.data, |penalty| self.data + penalty)
    }
}
