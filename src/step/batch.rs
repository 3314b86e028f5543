//! The batch schedule, in two phases.
//!
//! Phase 1 runs over the samples: forward, loss, deltas through all layers. Rows of
//! the batch are split among threads that never wait for one another. Phase 2 runs
//! over the weights: rows of W are split among threads, and each element's gradient
//! is summed over the whole batch in one order and meets the optimizer in registers.
//! No sum is split between threads, so their number changes no bit.

use super::plan::{Banks, LINE, Plan, join, opposite, part};
use super::{Delta, Mlp, Update, finite};
use crate::activation::Activation;
use crate::error::StepError;
use crate::kernels::{self, Band, Operands, Output, Rows, RowsMut};
use crate::loss::{Loss, Targets};
use crate::optimizer::Rule;

/// What a loss is worked out from, beside the outputs.
#[derive(Clone, Copy)]
pub(super) struct Objective<'a> {
    pub(super) loss: Loss,
    pub(super) targets: Targets<'a>,
}

/// What all pieces of a step share.
struct Context<'a> {
    mlp: &'a Mlp<'a>,
    plan: Plan,
    /// Where the last layer stops: before its activation if the loss takes it from there.
    top: Activation,
}

impl Context<'_> {
    /// The section of hidden layer `l` in its bank.
    fn section(&self, l: usize) -> (usize, usize, usize) {
        let layers = self.mlp.layout.layers();
        let offset = (l % 2..l).step_by(2).map(|below| layers[below].units().next_multiple_of(LINE)).sum();
        (self.plan.strides[l % 2], offset, layers[l].units())
    }

    fn rows<'b>(&self, bank: &'b [f32], l: usize) -> Rows<'b> {
        let (stride, offset, width) = self.section(l);
        Rows { data: bank, stride, offset, width }
    }

    fn rows_mut<'b>(&self, bank: &'b mut [f32], l: usize) -> RowsMut<'b> {
        let (stride, offset, width) = self.section(l);
        RowsMut { data: bank, stride, offset, width }
    }

    /// Phase 1, forward: the values of all layers.
    fn forward(&self, params: &[f32], x: &[f32], banks: &mut Banks<'_>, scratch: &mut [f32]) {
        let last = self.mlp.layout.layers().len() - 1;
        for place in self.mlp.layout.places() {
            let (weights, bias) = place.split(params);
            let l = place.index;
            let (from, to) = opposite(&mut banks.values, l);
            let x = if l == 0 { Rows::dense(x, place.inputs) } else { self.rows(from, l - 1) };
            let (y, activation) = if l == last {
                (RowsMut::dense(banks.outputs, place.outputs), self.top)
            } else {
                (self.rows_mut(to, l), place.activation)
            };
            kernels::forward(self.mlp.engine, x, weights, bias, activation, y, scratch);
        }
    }

    /// Phase 1, backward: the deltas of all layers from those at the outputs.
    fn deltas(&self, params: &[f32], banks: &mut Banks<'_>, input_delta: Option<&mut [f32]>, scratch: &mut [f32]) {
        let layout = &self.mlp.layout;
        let last = layout.layers().len() - 1;
        for l in (1..=last).rev() {
            let place = layout.place(l);
            let (from, to) = opposite(&mut banks.deltas, l - 1);
            let delta = if l == last { Rows::dense(banks.output_delta, place.outputs) } else { self.rows(from, l) };
            let below = self.rows(banks.values[(l - 1) % 2], l - 1);
            let activation = layout.layers()[l - 1].activation();
            let to = self.rows_mut(to, l - 1);
            kernels::delta(self.mlp.engine, delta, place.split(params).0, below, activation, to, scratch);
        }
        if let Some(to) = input_delta {
            let place = layout.place(0);
            let delta =
                if last == 0 { Rows::dense(banks.output_delta, place.outputs) } else { self.rows(banks.deltas[0], 0) };
            let to = RowsMut::dense(to, place.inputs);
            let nothing = Rows::dense(&[], place.inputs);
            kernels::delta(self.mlp.engine, delta, place.split(params).0, nothing, Activation::Linear, to, scratch);
        }
    }

    /// Phase 2: updates the parameters `params`, which begin at `offset` among all,
    /// in `pieces` pieces of nearly the same size, cut between rows of W.
    fn update(
        &self,
        operands: &OperandBanks<'_>,
        rule: &Rule,
        slice: ParamSlice<'_>,
        pieces: usize,
        scratch: &mut [f32],
    ) {
        if pieces <= 1 {
            return self.update_piece(operands, rule, slice, scratch);
        }
        let first = pieces / 2;
        let middle = self.row_boundary(slice.offset + slice.params.len() / pieces * first);
        let (left, right) = slice.split_at(middle);
        let (left_scratch, right_scratch) = scratch.split_at_mut(first * self.plan.scratch);
        join(
            || self.update(operands, rule, left, first, left_scratch),
            || self.update(operands, rule, right, pieces - first, right_scratch),
        );
    }

    /// The start of the row of W or bias in which parameter `at` lies.
    fn row_boundary(&self, at: usize) -> usize {
        let places = self.mlp.layout.places();
        match places.take_while(|place| place.offset <= at).last() {
            Some(place) => place.offset + (at - place.offset) / place.outputs * place.outputs,
            None => at,
        }
    }

    /// One piece of phase 2: whole rows of one or more layers.
    fn update_piece(&self, operands: &OperandBanks<'_>, rule: &Rule, mut slice: ParamSlice<'_>, scratch: &mut [f32]) {
        let last = self.mlp.layout.layers().len() - 1;
        for place in self.mlp.layout.places() {
            let (start, end) = (place.offset, place.offset + place.params());
            let slice_end = slice.offset + slice.params.len();
            if end <= slice.offset || slice_end <= start {
                continue;
            }
            let (own, rest) = slice.split_at(end.min(slice_end));
            slice = rest;
            let first = (own.offset - start) / place.outputs;
            let rows = first..first + own.params.len() / place.outputs;
            let l = place.index;
            let x = if l == 0 {
                Rows::dense(operands.x, place.inputs)
            } else {
                self.rows(operands.values[(l - 1) % 2], l - 1)
            };
            let delta = if l == last {
                Rows::dense(operands.output_delta, place.outputs)
            } else {
                self.rows(operands.deltas[l % 2], l)
            };
            let band = Band { rows, params: own.params, state: own.state };
            kernels::update(self.mlp.engine, Operands { x, delta }, rule, band, scratch);
        }
    }

    /// Phase 1 on a share of the rows, split further while there are pieces.
    fn phase_one(
        &self,
        params: &[f32],
        share: Share<'_>,
        pieces: usize,
        work: &(impl Fn(&Self, &[f32], Share<'_>) + Sync),
    ) {
        if pieces <= 1 {
            return work(self, params, share);
        }
        let rows = share.x.len() / self.mlp.layout.inputs();
        if rows < 2 {
            return work(self, params, share);
        }
        let first = pieces / 2;
        let (left, right) = share.split_at(part(rows, first, pieces), self, first);
        join(|| self.phase_one(params, left, first, work), || self.phase_one(params, right, pieces - first, work));
    }
}

/// Some samples on their way through phase 1.
struct Share<'w> {
    x: &'w [f32],
    /// With the scale of the deltas.
    objective: Option<(Objective<'w>, f32)>,
    input_delta: Option<&'w mut [f32]>,
    banks: Banks<'w>,
    scratch: &'w mut [f32],
}

impl<'w> Share<'w> {
    fn split_at(self, rows: usize, context: &Context<'_>, pieces: usize) -> (Self, Self) {
        let (inputs, outputs) = (context.mlp.layout.inputs(), context.plan.outputs);
        let (x, other_x) = self.x.split_at(rows * inputs);
        let terms = self.objective.map_or(0, |(objective, _)| objective.loss.terms_per_sample(outputs));
        let (objective, other_objective) = match self.objective {
            Some((Objective { loss, targets }, scale)) => {
                let (targets, others) = targets.split_at(rows, outputs);
                (Some((Objective { loss, targets }, scale)), Some((Objective { loss, targets: others }, scale)))
            }
            None => (None, None),
        };
        let (input_delta, other_delta) = match self.input_delta {
            Some(delta) => {
                let (own, others) = delta.split_at_mut(rows * inputs);
                (Some(own), Some(others))
            }
            None => (None, None),
        };
        let (banks, other_banks) = self.banks.split_at(rows, &context.plan, terms);
        let (scratch, other_scratch) = self.scratch.split_at_mut(pieces * context.plan.scratch);
        (
            Self { x, objective, input_delta, banks, scratch },
            Self {
                x: other_x,
                objective: other_objective,
                input_delta: other_delta,
                banks: other_banks,
                scratch: other_scratch,
            },
        )
    }
}

/// What phase 2 reads.
struct OperandBanks<'w> {
    x: &'w [f32],
    values: [&'w [f32]; 2],
    deltas: [&'w [f32]; 2],
    output_delta: &'w [f32],
}

/// Consecutive parameters with their state.
struct ParamSlice<'a> {
    /// Where they begin among all parameters.
    offset: usize,
    params: &'a mut [f32],
    state: [&'a mut [f32]; 2],
}

impl<'a> ParamSlice<'a> {
    /// The parameters before and from `at` on, counted among all parameters.
    fn split_at(self, at: usize) -> (Self, Self) {
        let own = at - self.offset;
        let (params, others) = self.params.split_at_mut(own);
        let [first, second] = self.state;
        // A state that the rule does not use is empty.
        let (first, other_first) = first.split_at_mut(own.min(first.len()));
        let (second, other_second) = second.split_at_mut(own.min(second.len()));
        (
            Self { offset: self.offset, params, state: [first, second] },
            Self { offset: at, params: others, state: [other_first, other_second] },
        )
    }
}

/// Loss and deltas of a share.
fn loss_and_deltas(context: &Context<'_>, params: &[f32], mut share: Share<'_>) {
    loss_of(context, params, &mut share);
    context.deltas(params, &mut share.banks, share.input_delta, share.scratch);
}

/// Forward and loss of a share, with the delta at the outputs.
fn loss_of(context: &Context<'_>, params: &[f32], share: &mut Share<'_>) {
    context.forward(params, share.x, &mut share.banks, share.scratch);
    if let Some((Objective { loss, targets }, scale)) = share.objective {
        let output = Output {
            loss,
            activation: context.mlp.layout.output_activation(),
            targets,
            width: context.plan.outputs,
            scale,
            values: share.banks.outputs,
            delta: share.banks.output_delta,
            terms: share.banks.terms,
        };
        kernels::loss_and_delta(context.mlp.engine.isa, output);
    }
}

/// A whole training step, or its gradient; returns the loss.
pub(super) fn run(
    mlp: &Mlp<'_>,
    plan: Plan,
    x: &[f32],
    objective: Objective<'_>,
    target: Update<'_>,
    workspace: &mut [f32],
) -> Result<f32, StepError> {
    let loss = phase_one_with_loss(mlp, plan, x, objective, target.params(), workspace, &loss_and_deltas);
    let loss = finite(loss)?;
    phase_two(mlp, plan, x, target, workspace);
    Ok(loss)
}

/// The loss alone.
pub(super) fn loss(
    mlp: &Mlp<'_>,
    plan: Plan,
    x: &[f32],
    objective: Objective<'_>,
    params: &[f32],
    workspace: &mut [f32],
) -> f32 {
    phase_one_with_loss(mlp, plan, x, objective, params, workspace, &|context, params, mut share| {
        loss_of(context, params, &mut share);
    })
}

fn phase_one_with_loss(
    mlp: &Mlp<'_>,
    plan: Plan,
    x: &[f32],
    objective: Objective<'_>,
    params: &[f32],
    workspace: &mut [f32],
    work: &(impl Fn(&Context<'_>, &[f32], Share<'_>) + Sync),
) -> f32 {
    let (loss, batch, outputs) = (objective.loss, plan.batch, plan.outputs);
    let context = Context { mlp, plan, top: loss.top(mlp.layout.output_activation()) };
    let (banks, scratch) = plan.split(workspace);
    let objective = Some((objective, loss.delta_scale(batch, outputs)));
    context.phase_one(params, Share { x, objective, input_delta: None, banks, scratch }, plan.pieces, work);
    let terms = &plan.terms(workspace)[..batch * loss.terms_per_sample(outputs)];
    kernels::sum(mlp.engine.isa, terms) / loss.divisor(batch, outputs)
}

/// Updates or writes down all gradients, from the values and deltas in the workspace.
fn phase_two(mlp: &Mlp<'_>, plan: Plan, x: &[f32], target: Update<'_>, workspace: &mut [f32]) {
    let context = Context { mlp, plan, top: mlp.layout.output_activation() };
    let pieces = plan.pieces;
    let (banks, scratch) = plan.split(workspace);
    let operands = OperandBanks {
        x,
        values: banks.values.map(|bank| &*bank),
        deltas: banks.deltas.map(|bank| &*bank),
        output_delta: banks.output_delta,
    };
    match target {
        Update::Apply { rule, params, state } => {
            let params = &mut params[..mlp.layout.trainable_len()];
            context.update(&operands, rule, ParamSlice { offset: 0, params, state }, pieces, scratch);
        }
        Update::Store { gradient, .. } => {
            let slice = ParamSlice { offset: 0, params: gradient, state: [&mut [], &mut []] };
            context.update(&operands, &Rule::Gradient, slice, pieces, scratch);
        }
    }
}

/// A forward pass that keeps everything.
pub(super) fn forward(mlp: &Mlp<'_>, plan: Plan, params: &[f32], x: &[f32], workspace: &mut [f32]) {
    let activation = mlp.layout.output_activation();
    let context = Context { mlp, plan, top: activation };
    let (banks, scratch) = plan.split(workspace);
    let share = Share { x, objective: None, input_delta: None, banks, scratch };
    context.phase_one(params, share, plan.pieces, &|context: &Context<'_>, params, mut share| {
        loss_of(context, params, &mut share);
        if activation == Activation::Softmax {
            kernels::softmax(context.mlp.engine.isa, share.banks.outputs, context.plan.outputs);
        }
    });
}

/// Backward from a delta of the caller's, after [`forward`].
pub(super) fn backward(
    mlp: &Mlp<'_>,
    plan: Plan,
    x: &[f32],
    delta: Delta<'_>,
    target: Update<'_>,
    workspace: &mut [f32],
    input_delta: Option<&mut [f32]>,
) {
    let activation = mlp.layout.output_activation();
    let context = Context { mlp, plan, top: activation };
    let (banks, scratch) = plan.split(workspace);
    let (Delta::Outputs(given) | Delta::PreActivations(given)) = delta;
    banks.output_delta.copy_from_slice(given);
    if let Delta::Outputs(_) = delta {
        kernels::slope(mlp.engine.isa, activation, banks.output_delta, banks.outputs, plan.outputs);
    }
    let share = Share { x, objective: None, input_delta, banks, scratch };
    context.phase_one(target.params(), share, plan.pieces, &|context: &Context<'_>, params, mut share| {
        context.deltas(params, &mut share.banks, share.input_delta, share.scratch);
    });
    phase_two(mlp, plan, x, target, workspace);
}
