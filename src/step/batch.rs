//! The batch schedule, in two phases.
//!
//! Phase 1 runs over the samples: forward, loss, deltas through all layers. Rows of
//! the batch are split among threads that never wait for one another. Phase 2 runs
//! over the weights: rows of W are split among threads, and each element's gradient
//! is summed over the whole batch in one order and meets the optimizer in registers.
//! No sum is split between threads, so their number changes no bit.
//!
//! On one thread nothing waits for the end of phase 1: networks of plain layers take [a shorter way](super::plain), a single
//! sample [one of its own](super::single), and in both a layer's weights are updated once its deltas have met them. Each sum is the same.
//!
//! # Many threads, and more than one memory
//! A step meets twice: after phase 1, and at its end. In between nobody waits, and nobody writes what another reads:
//!
//! | | each thread reads | and writes |
//! |---|---|---|
//! | phase 1 | all parameters; its rows of x | its rows of values and deltas |
//! | phase 2 | all rows of x, values and deltas | its rows of parameters and state |
//!
//! So with T threads each line of the parameters that one core wrote goes to the T − 1 others once a step, and so does each line
//! of values and deltas: with P parameters and N neurons some 4P + 8·batch·N bytes into each core (or, where cores share a cache, into each cache), for
//! 6·batch·P / T operations there. Two measures bound the threads that are worth having:
//! - *Rows.* A tile takes up to 8 rows, of the batch in phase 1 and of W in phase 2. Pieces of fewer rows leave registers empty and pay
//!   for the same vectors of W: batch / T should be 8 at least. Pieces are of nearly the same size, and so end together.
//! - *Work.* A piece has [`GRAIN`](super::GRAIN) multiply-adds at least, some tens of microseconds, beside which waking a thread twice is little. The
//!   number of pieces follows from that and from the threads: a small step stays on one, whatever it may take.
//!
//! Between sockets (NUMA) the same 4P bytes cross the link once a step for each socket that did not write them, while its cores do
//! 6·batch·P / sockets operations: at batch 128 and two sockets that is 96 operations a byte, so 3 TFLOP/s ask for 32 GB/s, about what a
//! link gives. Larger batches cross it less often, smaller ones are better off on one socket. Nothing here pins a thread or places a
//! page: rayon's pool is the caller's. A step runs in the pool it is called from (`pool.install(|| …)`), so a pool whose threads were started
//! on one socket keeps the step there, and a network to each socket (as [`Ensemble`](crate::Ensemble) has members) crosses no link at all. An operating system
//! that gives a page to the socket that writes it first has all of a `Network` on that of the thread that built it: build it in the pool, too,
//! or interleave its pages (`numactl --interleave`) if it is to be on both. Two threads are measured (`cargo bench --bench threads`); what is said
//! of more is reckoned from the table.

use super::layers::{Context, Step};
use super::plan::{Banks, Parts, Plan, join, part};
use super::{Delta, Mlp, Mode, StepLoss, Update, plain, single};
use crate::activation::Activation;
use crate::error::StepError;
use crate::kernels::{self, Band, Operands, Output};
use crate::layer::Kind;
use crate::loss::Objective;
use crate::optimizer::Rule;

impl Context<'_> {
    /// Phase 2: updates the parameters `params`, which begin at `offset` among all,
    /// in `pieces` pieces of nearly the same size, cut between rows of W.
    fn update_all(&self, banks: &Banks<'_>, rule: &Rule, slice: ParamSlice<'_>, pieces: usize, scratch: &mut [f32]) {
        if pieces <= 1 {
            return self.update_piece(banks, rule, slice, scratch);
        }
        let first = pieces / 2;
        let middle = self.row_boundary(slice.offset + slice.params.len() / pieces * first);
        let (left, right) = slice.split_at(middle);
        let (left_scratch, right_scratch) = scratch.split_at_mut(first * self.step.plan.scratch);
        join(
            || self.update_all(banks, rule, left, first, left_scratch),
            || self.update_all(banks, rule, right, pieces - first, right_scratch),
        );
    }

    /// The start of the row of W or bias in which parameter `at` lies.
    fn row_boundary(&self, at: usize) -> usize {
        let places = self.step.mlp.layout.places();
        match places.take_while(|place| place.offset <= at).last() {
            Some(place) if place.params == 0 => at,
            Some(place) => place.offset + (at - place.offset) / place.row_len() * place.row_len(),
            None => at,
        }
    }

    /// One piece of phase 2: whole rows of one or more layers.
    fn update_piece(&self, banks: &Banks<'_>, rule: &Rule, slice: ParamSlice<'_>, scratch: &mut [f32]) {
        let ParamSlice { offset, params, state: [first_state, second_state] } = slice;
        let slice_end = offset + params.len();
        for place in self.step.mlp.layout.places() {
            let (start, end) = (place.offset.max(offset), (place.offset + place.params).min(slice_end));
            if start >= end {
                continue;
            }
            let rows = if end - start == place.params {
                0..place.rows()
            } else {
                let row_len = place.row_len();
                (start - place.offset) / row_len..(end - place.offset) / row_len
            };
            let operands = Operands { x: self.inputs_of(&place, banks), delta: self.delta_of(&place, banks) };
            // A gradient that is only written down is given its penalties afterwards.
            let penalty = if matches!(rule, Rule::Gradient) { None } else { self.step.mlp.layout.penalty(&place) };
            let own = start - offset..end - offset;
            // A state that the rule does not use is empty.
            let first = if first_state.is_empty() { &mut [][..] } else { &mut first_state[own.clone()] };
            let second = if second_state.is_empty() { &mut [][..] } else { &mut second_state[own.clone()] };
            let band = Band { rows, params: &mut params[own], state: [first, second], penalty };
            self.update(&place, operands, banks.moments, rule, band, scratch);
        }
    }

    /// Phase 1 on some of the samples, split further while there are pieces.
    fn phase_one(
        &self,
        params: &[f32],
        samples: Samples<'_>,
        banks: &mut Banks<'_>,
        scratch: &mut [f32],
        pieces: usize,
        work: &(impl Fn(&Self, &[f32], Samples<'_>, &mut Banks<'_>, &mut [f32]) + Sync),
    ) {
        let (inputs, outputs) = (self.step.mlp.layout.inputs(), self.step.plan.outputs);
        if pieces <= 1 || samples.x.len() < 2 * inputs {
            return work(self, params, samples, banks, scratch);
        }
        let Samples { x, first_row, objective, input_delta } = samples;
        let first = pieces / 2;
        let rows = part(x.len() / inputs, first, pieces);
        let (x, other_x) = x.split_at(rows * inputs);
        let terms = objective.map_or(outputs, |(objective, _)| objective.loss.terms_per_sample(outputs));
        let halves = objective.map(|(objective, scale)| (objective.split_at(rows, outputs), scale));
        let (own, others) = match &halves {
            Some(((own, others), scale)) => (Some((own, *scale)), Some((others, *scale))),
            None => (None, None),
        };
        let (own_delta, other_delta) = match input_delta {
            Some(delta) => {
                let (own, others) = delta.split_at_mut(rows * inputs);
                (Some(own), Some(others))
            }
            None => (None, None),
        };
        let left = Samples { x, first_row, objective: own, input_delta: own_delta };
        let right = Samples { x: other_x, first_row: first_row + rows, objective: others, input_delta: other_delta };
        let (mut left_banks, mut right_banks) = banks.split_at(rows, self.step.plan, terms);
        let (left_scratch, right_scratch) = scratch.split_at_mut(first * self.step.plan.scratch);
        join(
            || self.phase_one(params, left, &mut left_banks, left_scratch, first, work),
            || self.phase_one(params, right, &mut right_banks, right_scratch, pieces - first, work),
        );
    }
}

/// Some samples on their way through phase 1, and what is wanted of them.
struct Samples<'w> {
    x: &'w [f32],
    /// The first one's number in the batch.
    first_row: usize,
    /// With the scale of the deltas.
    objective: Option<(&'w Objective<'w>, f32)>,
    input_delta: Option<&'w mut [f32]>,
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

/// The loss of some samples, and its delta at the outputs, from what the last layer has left there.
#[inline]
fn loss_of(context: &Context<'_>, samples: &Samples<'_>, banks: &mut Banks<'_>, scratch: &mut [f32]) {
    if let Some((objective, scale)) = samples.objective {
        let output = Output {
            objective,
            activation: context.step.mlp.layout.output_activation(),
            width: context.step.plan.outputs,
            scale,
            values: banks.outputs,
            delta: banks.output_delta,
            terms: banks.terms,
            scratch,
        };
        kernels::loss_and_delta(context.step.mlp.engine.isa, output);
    }
}

impl Step<'_> {
    /// Runs `work` on all samples, in pieces.
    fn on_samples(
        &self,
        params: &[f32],
        objective: Option<(&Objective<'_>, f32)>,
        input_delta: Option<&mut [f32]>,
        parts: &mut Parts<'_>,
        work: &(impl Fn(&Context<'_>, &[f32], Samples<'_>, &mut Banks<'_>, &mut [f32]) + Sync),
    ) {
        let Parts { banks, statistics, scratch } = parts;
        let samples = Samples { x: self.x, first_row: 0, objective, input_delta };
        Context { step: self, statistics }.phase_one(params, samples, banks, scratch, self.plan.pieces, work);
    }

    /// The batch norms, first to last.
    fn batch_norms(&self) -> impl DoubleEndedIterator<Item = usize> {
        let layers = self.mlp.layout.layers();
        let is_batch_norm = move |&l: &usize| matches!(layers[l].kind, Kind::BatchNorm { .. });
        (0..layers.len()).filter(is_batch_norm)
    }

    /// Works out what batch norm `l` has to know of all samples before it can go on: moments on
    /// the way forward, sums on the way back.
    fn meet(&self, params: &[f32], l: usize, back: bool, parts: &mut Parts<'_>) {
        let Parts { banks, statistics, .. } = parts;
        let context = Context { step: self, statistics: &[] };
        let place = self.mlp.layout.place(l);
        let x = context.inputs_of(&place, banks);
        if back {
            let delta = context.delta_of(&place, banks);
            context.batch_sums(l, params, x, delta, statistics);
        } else {
            context.batch_moments(l, x, statistics);
        }
    }

    /// Forward through the layers below the last batch norm that has to wait for all samples; returns
    /// the first layer that is left.
    fn forward_to_last_meeting(&self, params: &[f32], parts: &mut Parts<'_>) -> usize {
        let mut start = 0;
        if self.mode != Mode::Inference {
            for l in self.batch_norms() {
                self.on_samples(params, None, None, parts, &|context, params, samples, banks, scratch| {
                    context.forward(start..l, params, samples.x, samples.first_row, banks, scratch);
                });
                self.meet(params, l, false, parts);
                start = l;
            }
        }
        start
    }

    /// Back through all layers, from the deltas at the outputs.
    fn backward(&self, params: &[f32], input_delta: Option<&mut [f32]>, parts: &mut Parts<'_>) {
        let mut end = self.mlp.layout.layers().len();
        for l in self.batch_norms().rev() {
            self.on_samples(params, None, None, parts, &|context, params, samples, banks, scratch| {
                context.deltas(l + 1..end, params, samples.first_row, banks, scratch);
            });
            self.meet(params, l, true, parts);
            end = l + 1;
        }
        self.on_samples(params, None, input_delta, parts, &|context, params, samples, banks, scratch| {
            back_to_inputs(context, params, samples, banks, scratch, end);
        });
    }
}

/// The deltas of some samples through the layers below `end` as far down as there are parameters, or, if it is
/// wanted, to that of their inputs.
#[inline]
fn back_to_inputs(
    context: &Context<'_>,
    params: &[f32],
    samples: Samples<'_>,
    banks: &mut Banks<'_>,
    scratch: &mut [f32],
    end: usize,
) {
    let lowest = if samples.input_delta.is_some() { 0 } else { context.step.mlp.layout.lowest() };
    context.deltas(lowest + 1..end, params, samples.first_row, banks, scratch);
    if let Some(to) = samples.input_delta {
        context.input_delta(params, samples.x, banks, to, scratch);
    }
}

/// A whole training step, or its gradient; returns the loss.
pub(super) fn run(
    mlp: &Mlp<'_>,
    plan: &Plan,
    mode: Mode,
    x: &[f32],
    objective: &Objective<'_>,
    target: Update<'_>,
    workspace: &mut [f32],
) -> Result<StepLoss, StepError> {
    if single::suits(mlp, plan) {
        return single::run(mlp, plan, x, objective, target, workspace);
    }
    if plain::suits(mlp, plan) {
        return plain::run(mlp, plan, x, objective, target, workspace);
    }
    let step = Step { mlp, plan, mode, top: objective.loss.top(mlp.layout.output_activation()), x };
    let mut parts = plan.split(workspace);
    let data = phase_one(&step, objective, target.params(), &mut parts, true);
    let loss = StepLoss::new(data, mlp.penalty_of(target.params()))?;
    phase_two(&step, target, parts);
    Ok(loss)
}

/// The loss of the data alone, of a pass that trains nothing.
pub(super) fn loss(
    mlp: &Mlp<'_>,
    plan: &Plan,
    x: &[f32],
    objective: &Objective<'_>,
    params: &[f32],
    workspace: &mut [f32],
) -> f32 {
    let top = objective.loss.top(mlp.layout.output_activation());
    let step = Step { mlp, plan, mode: Mode::Inference, top, x };
    phase_one(&step, objective, params, &mut plan.split(workspace), false)
}

/// Forward and loss of the data, and the deltas of all layers if they are wanted.
fn phase_one(step: &Step<'_>, objective: &Objective<'_>, params: &[f32], parts: &mut Parts<'_>, deltas: bool) -> f32 {
    let (loss, batch, outputs) = (&objective.loss, step.plan.batch, step.plan.outputs);
    let count = objective.count(batch, outputs);
    let scaled = Some((objective, loss.delta_scale(count)));
    let layers = step.mlp.layout.layers().len();
    let batch_norm = step.mlp.layout.has_batch_norm();
    let start = if batch_norm { step.forward_to_last_meeting(params, parts) } else { 0 };
    step.on_samples(params, scaled, None, parts, &|context, params, samples, banks, scratch| {
        context.forward(start..layers, params, samples.x, samples.first_row, banks, scratch);
        loss_of(context, &samples, banks, scratch);
        if deltas && !batch_norm {
            back_to_inputs(context, params, samples, banks, scratch, layers);
        }
    });
    if deltas && batch_norm {
        step.backward(params, None, parts);
    }
    let terms = &parts.banks.terms[..batch * loss.terms_per_sample(outputs)];
    kernels::sum(step.mlp.engine.isa, terms) / loss.divisor(count)
}

/// Updates or writes down all gradients, from the values and deltas in the workspace.
fn phase_two(step: &Step<'_>, target: Update<'_>, parts: Parts<'_>) {
    let Parts { banks, statistics, scratch } = parts;
    let context = Context { step, statistics };
    let (layout, pieces) = (&step.mlp.layout, step.plan.pieces);
    match target {
        Update::Apply { rule, params, state } => {
            let (params, running) = params.split_at_mut(layout.trainable_len());
            context.update_all(&banks, &rule, ParamSlice { offset: 0, params, state }, pieces, scratch);
            context.update_statistics(running);
        }
        Update::Store { params, gradient } => {
            let slice = ParamSlice { offset: 0, params: &mut *gradient, state: [&mut [], &mut []] };
            context.update_all(&banks, &Rule::Gradient, slice, pieces, scratch);
            step.mlp.penalize(params, gradient);
        }
    }
}

/// A forward pass that keeps everything.
pub(super) fn forward(mlp: &Mlp<'_>, plan: &Plan, mode: Mode, params: &[f32], x: &[f32], workspace: &mut [f32]) {
    let activation = mlp.layout.output_activation();
    let step = Step { mlp, plan, mode, top: above(activation), x };
    let mut parts = plan.split(workspace);
    let start = step.forward_to_last_meeting(params, &mut parts);
    let layers = mlp.layout.layers().len();
    step.on_samples(params, None, None, &mut parts, &|context, params, samples, banks, scratch| {
        context.forward(start..layers, params, samples.x, samples.first_row, banks, scratch);
        let Banks { outputs, terms, .. } = banks;
        if activation == Activation::Softmax {
            kernels::softmax(context.step.mlp.engine.isa, outputs, context.step.plan.outputs);
        } else if activation.slopes_at_pre_activation() {
            // There are no addends of a loss yet: their place keeps what the slope is taken at.
            terms.copy_from_slice(outputs);
            kernels::activate(context.step.mlp.engine.isa, activation, outputs);
        }
    });
}

/// What a last layer of this activation applies in [`forward`]; the rest follows.
fn above(activation: Activation) -> Activation {
    if activation.slopes_at_pre_activation() { Activation::Linear } else { activation }
}

/// Backward from a delta of the caller's, after [`forward`].
#[expect(clippy::too_many_arguments, reason = "a network, how it runs, what it is given, what is wanted")]
pub(super) fn backward(
    mlp: &Mlp<'_>,
    plan: &Plan,
    mode: Mode,
    x: &[f32],
    delta: Delta<'_>,
    target: Update<'_>,
    workspace: &mut [f32],
    input_delta: Option<&mut [f32]>,
) {
    let activation = mlp.layout.output_activation();
    let mut parts = plan.split(workspace);
    let Banks { outputs, output_delta, terms, .. } = &mut parts.banks;
    let (Delta::Outputs(given) | Delta::PreActivations(given)) = delta;
    output_delta.copy_from_slice(given);
    if let Delta::Outputs(_) = delta {
        let slope_at = if activation.slopes_at_pre_activation() { terms } else { outputs };
        kernels::slope(mlp.engine.isa, activation, output_delta, slope_at, plan.outputs);
    }
    let step = Step { mlp, plan, mode, top: above(activation), x };
    step.backward(target.params(), input_delta, &mut parts);
    phase_two(&step, target, parts);
}
