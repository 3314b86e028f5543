//! A training step in slices, between which something else can run.
//!
//! Forwards a slice is some columns of a layer's weights, backwards some rows: the sums of a column, and all that becomes
//! of a row, ask nothing of the others, so wherever a step is cut, the bits are those of the whole. Of a layer that
//! is stored by output it is some outputs either way, and last the bias.

use super::lean::{self, block_len, kept_end};
use super::{Mlp, StepLoss, Trainer, Update};
use crate::activation::Activation;
use crate::error::{Buffer, StepError};
use crate::kernels::{self, Columns, Gradient, NO_BIAS, Neurons};
use crate::layer::Kind;
use crate::layout::{Place, Schedule};
use crate::loss::Targets;
use crate::parts;
use crate::simd::{dispatch, on_one_lane};

/// A training step in the lean schedule that is taken in slices, so that a control loop, the frame of a game or an interrupt can
/// have its turn in between: see [`Trainer::sliced_step`].
///
/// While it lives nobody else reads the parameters, of which some layers may be new and some old: [`params`](Self::params)
/// has them until the first of them is written. If it is dropped before that, nothing has changed; if it is dropped
/// later, the step stays half done.
#[derive(Debug)]
#[must_use = "a step is taken by calls of `Trainer::advance`"]
pub struct SlicedStep<'p> {
    /// Whose step it is.
    identity: u64,
    step: u64,
    /// Of the optimizer, at this step.
    scalars: [f32; 2],
    x: &'p [f32],
    targets: Targets<'p>,
    params: &'p mut [f32],
    state: [&'p mut [f32]; 2],
    workspace: &'p mut [f32],
    at: At,
    /// Whether the parameters are all of before the step, or all of after it.
    is_whole: bool,
}

/// What comes next.
#[derive(Clone, Copy, Debug)]
enum At {
    /// Columns of a layer's weights, from this one on: its outputs.
    Forward { layer: usize, column: usize },
    /// The loss of the data.
    Loss,
    /// A layer's penalty, to be added to the sum of those before.
    Penalty { layer: usize, data: f32, sum: f32 },
    /// Rows of a layer's weights as they are stored, from this one on; the last is the bias.
    Backward { layer: usize, row: usize, loss: f32 },
    /// Nothing.
    End(Result<f32, StepError>),
}

impl SlicedStep<'_> {
    /// The parameters, if they are those of before the step, or all those of after it: what a prediction meanwhile can be made from,
    /// with a workspace of its own.
    pub fn params(&self) -> Option<&[f32]> {
        self.is_whole.then_some(self.params)
    }
}

impl Trainer<'_> {
    /// Begins a training step that is taken in slices, by calls of [`advance`](Self::advance). Arguments are those of
    /// [`train_step`](Self::train_step), in the lean schedule: one sample. The bits that come out are the same, too, however the
    /// step is cut.
    ///
    /// ```
    /// use microprop::{Isa, Layout, Loss, Mlp, Optimizer, Schedule, Sgd, Targets, Trainer, layout};
    ///
    /// const LAYOUT: Layout = layout!(3 => dense(16, Tanh), dense(1, Sigmoid));
    /// const MLP: Mlp = Mlp::new(LAYOUT, Isa::SCALAR).with_schedule(Schedule::Lean);
    /// static TRAINER: Trainer = match Trainer::new(MLP, Loss::BinaryCrossEntropy, Optimizer::Sgd(Sgd::new(0.02))) {
    ///     Ok(trainer) => trainer,
    ///     Err(_) => panic!("binary cross-entropy fits sigmoid"),
    /// };
    /// # fn control_the_motor() {}
    /// let mut params = [0.1; LAYOUT.params_len()];
    /// let mut workspace = [0.0; LAYOUT.lean_workspace_len()];
    /// let (x, targets) = ([0.3, -0.2, 0.5], Targets::values(&[1.0]));
    /// let mut step = TRAINER.sliced_step(0, &x, targets, &mut params, &mut [], &mut workspace)?;
    /// let loss = loop {
    ///     control_the_motor();
    ///     if let Some(loss) = TRAINER.advance(&mut step, 20)? {
    ///         break loss;
    ///     }
    /// };
    /// assert!(loss > 0.0);
    /// # Ok::<(), microprop::StepError>(())
    /// ```
    ///
    /// # Errors
    /// [`StepError`], as of `train_step`, and [`StepError::BatchSlices`] in the batch schedule; parameters and state
    /// are then as they were. It is `advance` that finds a loss that is not finite.
    #[cfg_attr(not(feature = "std"), inline(always))]
    pub fn sliced_step<'p>(
        &self,
        step: u64,
        x: &'p [f32],
        targets: Targets<'p>,
        params: &'p mut [f32],
        state: &'p mut [f32],
        workspace: &'p mut [f32],
    ) -> Result<SlicedStep<'p>, StepError> {
        self.check_sliced(x, targets, params, state.len(), workspace.len())?;
        let (identity, scalars) = (self.identity, self.optimizer().scalars(step));
        let state = kernels::split_state(state, self.optimizer().state_per_parameter());
        let at = At::Forward { layer: 0, column: 0 };
        Ok(SlicedStep { identity, step, scalars, x, targets, params, state, workspace, at, is_whole: true })
    }

    /// Takes the next slice of a step, and returns the loss (that of the sample before the step, penalties included) if it was the last.
    ///
    /// A slice is at most `weights` weights of one layer, but at least those of one neuron: forwards of one of the layer's own (a column
    /// of W), backwards of one of those that feed it (a row; of the layer's own where it is stored by output). The loss (with softmax) is a slice. So is, as a whole, a layer that is not
    /// dense; what follows the sums of a dense layer where that is more than an activation whose slope its value gives (GELU and
    /// its like, dropout, a residual connection); and a layer's penalty. The number of slices depends on the layout and on
    /// `weights` alone.
    ///
    /// The trainer is not kept in the step, so that where it is a constant the compiler still sees through it, and leaves
    /// out what it does not have.
    ///
    /// # Errors
    /// [`StepError::NonFiniteLoss`], before any parameter is written; it stays at that. When a step has ended, so does its
    /// loss. [`StepError::OtherLayout`] if a trainer of another layout, or with other dropout, has begun the step, and what
    /// [`sliced_step`](Self::sliced_step) finds where the rest of it does not fit.
    #[cfg_attr(not(feature = "std"), inline(always))]
    pub fn advance(&self, step: &mut SlicedStep<'_>, weights: usize) -> Result<Option<f32>, StepError> {
        if step.identity != self.identity {
            return Err(StepError::OtherLayout);
        }
        let state = step.state[0].len() + step.state[1].len();
        self.check_sliced(step.x, step.targets, step.params, state, step.workspace.len())?;
        let is_update = matches!(step.at, At::Backward { .. });
        step.at = match step.at {
            At::Forward { layer, column } => self.forward_slice(step, layer, column, weights),
            At::Loss => self.loss_slice(step),
            At::Penalty { layer, data, sum } => self.penalty_slice(step, layer, data, sum),
            At::Backward { layer, row, loss } => self.backward_slice(step, layer, row, loss, weights),
            end @ At::End(_) => end,
        };
        step.is_whole = match step.at {
            At::End(_) => true,
            _ => step.is_whole && !is_update,
        };
        match step.at {
            At::End(result) => result.map(Some),
            _ => Ok(None),
        }
    }

    #[cfg_attr(not(feature = "std"), inline(always))]
    fn check_sliced(
        &self,
        x: &[f32],
        targets: Targets<'_>,
        params: &[f32],
        state: usize,
        workspace: usize,
    ) -> Result<(), StepError> {
        if self.mlp.schedule() != Schedule::Lean {
            return Err(StepError::BatchSlices);
        }
        self.check(params, x, targets, workspace)?;
        StepError::check(Buffer::OptimizerState, self.mlp.layout.optimizer_len(self.optimizer()), state)
    }

    // Inlined, or a constant trainer would be none in what follows.
    #[inline(always)]
    fn forward_slice(&self, step: &mut SlicedStep<'_>, layer: usize, column: usize, weights: usize) -> At {
        let (mlp, layout, mode) = (&self.mlp, &self.mlp.layout, self.mlp.training(step.step));
        let SlicedStep { x, params, workspace, .. } = step;
        let (place, is_last) = (layout.place(layer), layer + 1 == layout.layers().len());
        let next = if is_last { At::Loss } else { At::Forward { layer: layer + 1, column: 0 } };
        if layer == 0 && layout.is_by_output() {
            // Where the layout is a constant, this is one.
            let place = layout.first();
            let count = columns_of_slice(weights, place.inputs, place.outputs - column);
            let (rows, bias) = place.split(params);
            let rows = parts::span(rows, column * place.inputs, count * place.inputs);
            let (bias, y) = (parts::span(bias, column, count), parts::span_mut(workspace, column, count));
            lean::some_outputs(mlp, x, rows, place.outputs, bias, self.activation(0), y);
            return if column + count == place.outputs { next } else { At::Forward { layer, column: column + count } };
        }
        let (below, block) = parts::split_mut(workspace, layout.lean_offset(layer));
        let feed = match layer.checked_sub(1) {
            None => x,
            Some(before) => parts::span(below, layout.lean_offset(before), place.inputs),
        };
        let activation = self.activation(layer);
        let is_plain = layout.is_plain(&place);
        if !is_plain && !is_dense(&place) {
            let block = parts::part_mut(block, 0..block_len(layout, &place));
            lean::any_forward(mlp, mode, &place, params, x, feed, below, block, activation);
            return next;
        }
        if !is_plain && column == place.outputs {
            lean::follow(mlp, mode, &place, x, below, parts::part_mut(block, 0..kept_end(&place)), activation);
            return next;
        }
        let count = columns_of_slice(weights, place.inputs, place.outputs - column);
        let (matrix, bias) = place.split(params);
        let (count, bias) = if bias.is_empty() {
            let count = count.min(NO_BIAS.len());
            (count, parts::part(&NO_BIAS, 0..count))
        } else {
            (count, parts::span(bias, column, count))
        };
        let columns = Columns { weights: matrix, width: place.outputs, first: column };
        let activation = if is_plain { activation } else { Activation::Linear };
        lean::some_columns(mlp, feed, columns, bias, activation, parts::span_mut(block, column, count));
        match column + count {
            column if is_plain && column == place.outputs => next,
            column => At::Forward { layer, column },
        }
    }

    /// What follows a layer's sums in training.
    #[inline(always)]
    fn activation(&self, layer: usize) -> Activation {
        let layers = self.mlp.layout.layers();
        match layers.get(layer) {
            Some(_) if layer + 1 == layers.len() && self.stops_short() => Activation::Linear,
            Some(layer) => layer.activation,
            None => Activation::Linear,
        }
    }

    /// Whether the loss is worked out from pre-activations.
    #[inline(always)]
    fn stops_short(&self) -> bool {
        self.loss.stops_short(self.mlp.layout.output_activation())
    }

    #[inline(always)]
    fn loss_slice(&self, step: &mut SlicedStep<'_>) -> At {
        let Self { mlp, .. } = self;
        lean::softmax(mlp, step.workspace, self.stops_short());
        let data = lean::loss_of_outputs(mlp, &self.objective(step.targets), step.workspace);
        if mlp.layout.is_penalized() { At::Penalty { layer: 0, data, sum: 0.0 } } else { self.turn(data, None) }
    }

    #[inline(always)]
    fn penalty_slice(&self, step: &SlicedStep<'_>, layer: usize, data: f32, sum: f32) -> At {
        let Mlp { layout, .. } = &self.mlp;
        let sum = self.mlp.penalty_of_layer(&layout.place(layer), step.params).map_or(sum, |p| sum + p);
        match layer + 1 {
            layer if layer == layout.layers().len() => self.turn(data, Some(sum)),
            layer => At::Penalty { layer, data, sum },
        }
    }

    /// Turns back, if the loss is finite.
    #[inline(always)]
    fn turn(&self, data: f32, penalty: Option<f32>) -> At {
        match StepLoss::new(data, penalty) {
            Ok(loss) => At::Backward { layer: self.mlp.layout.layers().len() - 1, row: 0, loss: loss.total() },
            Err(error) => At::End(Err(error)),
        }
    }

    #[inline(always)]
    fn backward_slice(&self, step: &mut SlicedStep<'_>, layer: usize, row: usize, loss: f32, weights: usize) -> At {
        let (mlp, layout, mode) = (&self.mlp, &self.mlp.layout, self.mlp.training(step.step));
        let rule = self.optimizer().rule_of(step.scalars);
        let SlicedStep { x, params, state: [first, second], workspace, .. } = step;
        if layer == 0 && layout.is_by_output() {
            let place = layout.first();
            let row_end = row + rows_of_slice(weights, place.inputs, place.outputs + 1 - row);
            let delta = parts::part(workspace, 0..place.outputs);
            let rows = row.min(place.outputs)..row_end.min(place.outputs);
            let bias = if row_end > place.outputs { place.outputs } else { 0 };
            let range = place.offset + rows.start * place.inputs..place.offset + rows.end * place.inputs + bias;
            let gradient = lean::update_of(rule, params, [first, second], range);
            lean::some_outputs_back(mlp, parts::part(delta, rows), delta, x, None, gradient);
            return if bias > 0 { At::End(Ok(loss)) } else { At::Backward { layer, row: row_end, loss } };
        }
        let (place, start) = (layout.place(layer), layout.lean_offset(layer));
        let is_simple = lean::is_simple(layout, &place);
        let all = if is_simple || is_dense(&place) { place.inputs + 1 } else { 1 };
        let end = row + rows_of_slice(weights, place.outputs, all - row);
        if is_simple {
            let (below, delta) = parts::split_mut(workspace, start);
            let inputs = row.min(place.inputs)..end.min(place.inputs);
            let neurons = match layer.checked_sub(1) {
                None => Neurons::Inputs(parts::part(x, inputs)),
                Some(l) => {
                    let values = parts::from_mut(below, start - place.inputs);
                    Neurons::Below(parts::part_mut(values, inputs), layout.activation_of(l))
                }
            };
            let from = place.offset + row * place.outputs;
            let range = from..from + (end - row) * place.outputs;
            some_rows(
                mlp,
                parts::part(delta, 0..place.outputs),
                neurons,
                lean::update_of(rule, params, [first, second], range),
            );
        } else {
            let mut target = Update::Apply { rule, params, state: [first, second] };
            lean::any_backward(mlp, mode, &place, row..end, x, &mut target, workspace, start, &mut None);
        }
        match layer.checked_sub(1) {
            _ if end < all => At::Backward { layer, row: end, loss },
            Some(layer) => At::Backward { layer, row: 0, loss },
            None => At::End(Ok(loss)),
        }
    }
}

const fn is_dense(place: &Place<'_>) -> bool {
    matches!(place.layer.kind, Kind::Dense { .. })
}

/// How many columns of `inputs` weights are a slice, of those that are `left`: one at least. Two or three take longer than four.
fn columns_of_slice(weights: usize, inputs: usize, left: usize) -> usize {
    let count = match weights / inputs.max(1) {
        ..4 => 1,
        count @ 4..16 => count & !3,
        count => count & !15,
    };
    count.min(left)
}

/// How many rows of `outputs` weights are a slice, of those that are `left`: one at least.
fn rows_of_slice(weights: usize, outputs: usize, left: usize) -> usize {
    let count = match weights / outputs.max(1) {
        count @ ..16 => count.max(1),
        count => count & !15,
    };
    count.min(left)
}

/// Some rows of a dense layer, backwards, with those of `neurons`. Where there are more parameters, the last are the bias.
#[inline(always)]
fn some_rows(mlp: &Mlp<'_>, delta: &[f32], neurons: Neurons<'_>, gradient: Gradient<'_>) {
    on_one_lane!(
        mlp.engine.isa,
        s => kernels::one_lane_layer(s, delta, neurons, mlp.layout.activations(), gradient);
        dispatch!(mlp.engine.isa, s => kernels::lean_layer(s, delta, neurons, gradient))
    );
}
