//! The batch schedule, in two phases.
//!
//! Phase 1 runs over the samples: forward, loss, deltas through all layers. Rows of
//! the batch are split among threads that never wait for one another. Phase 2 runs
//! over the weights: rows of W are split among threads, and each element's gradient
//! is summed over the whole batch in one order and meets the optimizer in registers.
//! No sum is split between threads, so their number changes no bit.
//!
//! Values and deltas of the hidden layers lie in banks: layer l in bank l mod 2, so
//! that a layer reads from one slice and writes to another. In a bank the sections
//! of a sample's layers are neighbours, each on a line of 64 bytes, and a sample's
//! stride is an odd number of lines: the column of a tile then never falls into one
//! set of a cache, as it would with strides that are powers of two.

use super::{Delta, Mlp, Trainer, Update, finite};
use crate::activation::Activation;
use crate::backend::Backend;
use crate::error::StepError;
use crate::kernels::{self, BLOCK, Band, Operands, Output, PANEL, Rows, RowsMut};
use crate::layout::Layout;
use crate::loss::Targets;
use crate::optimizer::Rule;

/// Floats in a line of 64 bytes.
const LINE: usize = 16;

/// Samples that [`predict`] takes through the layers at a time.
const PREDICT_ROWS: usize = 128;

/// Where everything lies in the workspace of a step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) batch: usize,
    outputs: usize,
    /// Floats from one sample to the next in each bank.
    strides: [usize; 2],
    /// Floats of scratch for each thread.
    scratch: usize,
    pub(super) workspace_len: usize,
}

/// `a · b` rounded up to whole lines, if it fits.
const fn lines(a: usize, b: usize) -> Option<usize> {
    let Some(product) = a.checked_mul(b) else { return None };
    product.checked_next_multiple_of(LINE)
}

/// An odd number of lines, none if there is nothing in them.
const fn odd_lines(floats: usize) -> usize {
    if (floats / LINE).is_multiple_of(2) && floats > 0 { floats + LINE } else { floats }
}

impl Plan {
    /// `None` if a length overflows.
    pub(super) const fn new(layout: &Layout<'_>, batch: usize, threads: usize, backend: Backend) -> Option<Self> {
        let layers = layout.layers();
        let (outputs, mut strides, mut widest, mut l) = (layout.outputs(), [0, 0], layout.inputs(), 0);
        while l < layers.len() {
            let units = layers[l].units();
            widest = if units > widest { units } else { widest };
            if l + 1 < layers.len() {
                strides[l % 2] += units.next_multiple_of(LINE);
            }
            l += 1;
        }
        let strides = [odd_lines(strides[0]), odd_lines(strides[1])];
        // A packed panel, a column of deltas, or a band of the gradient.
        let panel = PANEL * if widest < BLOCK { widest } else { BLOCK };
        let scratch = if batch > panel { batch } else { panel };
        let gradient = backend.scratch_len(widest);
        let scratch = if gradient > scratch { gradient } else { scratch };
        let Some(scratch) = scratch.checked_next_multiple_of(LINE) else { return None };
        let mut len = LINE;
        let parts = [
            (strides[0], batch),
            (strides[0], batch),
            (strides[1], batch),
            (strides[1], batch),
            (outputs, batch),
            (outputs, batch),
            (outputs, batch),
            (scratch, threads),
        ];
        let mut i = 0;
        while i < parts.len() {
            let Some(part) = lines(parts[i].0, parts[i].1) else { return None };
            let Some(sum) = len.checked_add(part) else { return None };
            len = sum;
            i += 1;
        }
        if len > isize::MAX as usize / 4 {
            return None;
        }
        Some(Self { batch, outputs, strides, scratch, workspace_len: len })
    }

    /// Cuts the workspace into its parts.
    fn split<'w>(&self, workspace: &'w mut [f32]) -> (Banks<'w>, &'w mut [f32]) {
        let start = padding(workspace);
        let mut rest = &mut workspace[start..];
        let mut cut = |width: usize| {
            let (part, after) = core::mem::take(&mut rest).split_at_mut((width * self.batch).next_multiple_of(LINE));
            rest = after;
            &mut part[..width * self.batch]
        };
        let [even, odd] = self.strides;
        let banks = Banks {
            values: [cut(even), cut(odd)],
            deltas: [cut(even), cut(odd)],
            outputs: cut(self.outputs),
            output_delta: cut(self.outputs),
            terms: cut(self.outputs),
        };
        (banks, rest)
    }

    /// The outputs that a pass has left in the workspace.
    pub(super) fn outputs<'w>(&self, workspace: &'w [f32]) -> &'w [f32] {
        self.output_bank(workspace, 0)
    }

    /// The addends of the loss.
    fn terms<'w>(&self, workspace: &'w [f32]) -> &'w [f32] {
        self.output_bank(workspace, 2)
    }

    /// Of the banks as wide as the outputs (values, deltas, addends), one.
    fn output_bank<'w>(&self, workspace: &'w [f32], index: usize) -> &'w [f32] {
        let len = |width: usize| (width * self.batch).next_multiple_of(LINE);
        let [even, odd] = self.strides.map(len);
        let start = padding(workspace) + 2 * (even + odd) + index * len(self.outputs);
        &workspace[start..][..self.outputs * self.batch]
    }
}

/// Floats from the start of `workspace` to the next line of 64 bytes. (The address
/// decides only where things lie, never what is computed.)
fn padding(workspace: &[f32]) -> usize {
    let address = workspace.as_ptr().addr() / size_of::<f32>();
    address.wrapping_neg() % LINE
}

/// The values and deltas of some samples.
struct Banks<'w> {
    values: [&'w mut [f32]; 2],
    deltas: [&'w mut [f32]; 2],
    outputs: &'w mut [f32],
    output_delta: &'w mut [f32],
    terms: &'w mut [f32],
}

impl<'w> Banks<'w> {
    /// The first `rows` samples, and the others; each has `terms` addends of the loss.
    fn split_at(self, rows: usize, plan: &Plan, terms: usize) -> (Self, Self) {
        let [v0, v1] = self.values;
        let [d0, d1] = self.deltas;
        let [even, odd] = plan.strides.map(|stride| stride * rows);
        let (v0, w0) = v0.split_at_mut(even);
        let (v1, w1) = v1.split_at_mut(odd);
        let (d0, e0) = d0.split_at_mut(even);
        let (d1, e1) = d1.split_at_mut(odd);
        let (outputs, other_outputs) = self.outputs.split_at_mut(rows * plan.outputs);
        let (output_delta, other_delta) = self.output_delta.split_at_mut(rows * plan.outputs);
        let (own_terms, other_terms) = self.terms.split_at_mut(rows * terms);
        (
            Self { values: [v0, v1], deltas: [d0, d1], outputs, output_delta, terms: own_terms },
            Self {
                values: [w0, w1],
                deltas: [e0, e1],
                outputs: other_outputs,
                output_delta: other_delta,
                terms: other_terms,
            },
        )
    }
}

/// How many of `rows` samples go to the first `first` of `pieces` pieces: at least one.
fn part(rows: usize, first: usize, pieces: usize) -> usize {
    // In 64 bits: the product of two lengths overflows 32.
    ((rows as u64 * first as u64 / pieces as u64) as usize).max(1)
}

/// A bank to read from and the other one to write to, for what goes from bank `from` to the next.
fn opposite<'b>(banks: &'b mut [&mut [f32]; 2], to: usize) -> (&'b [f32], &'b mut [f32]) {
    let [even, odd] = banks;
    if to.is_multiple_of(2) { (odd, even) } else { (even, odd) }
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
        let rows = share.x.len() / self.mlp.layout.inputs();
        if pieces <= 1 || rows < 2 {
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
    loss: Option<(&'w Trainer<'w>, Targets<'w>, f32)>,
    input_delta: Option<&'w mut [f32]>,
    banks: Banks<'w>,
    scratch: &'w mut [f32],
}

impl<'w> Share<'w> {
    fn split_at(self, rows: usize, context: &Context<'_>, pieces: usize) -> (Self, Self) {
        let (inputs, outputs) = (context.mlp.layout.inputs(), context.plan.outputs);
        let (x, other_x) = self.x.split_at(rows * inputs);
        let terms = self.loss.map_or(0, |(trainer, ..)| trainer.loss.terms_per_sample(outputs));
        let (loss, other_loss) = match self.loss {
            Some((trainer, targets, scale)) => {
                let (targets, others) = targets.split_at(rows, outputs);
                (Some((trainer, targets, scale)), Some((trainer, others, scale)))
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
            Self { x, loss, input_delta, banks, scratch },
            Self { x: other_x, loss: other_loss, input_delta: other_delta, banks: other_banks, scratch: other_scratch },
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

/// Runs both, at the same time where there are threads for it.
#[cfg(feature = "rayon")]
fn join(left: impl FnOnce() + Send, right: impl FnOnce() + Send) {
    rayon::join(left, right);
}

/// Runs both.
#[cfg(not(feature = "rayon"))]
fn join(left: impl FnOnce(), right: impl FnOnce()) {
    left();
    right();
}

/// Loss and deltas of a share.
fn loss_and_deltas(context: &Context<'_>, params: &[f32], mut share: Share<'_>) {
    loss_of(context, params, &mut share);
    context.deltas(params, &mut share.banks, share.input_delta, share.scratch);
}

/// Forward and loss of a share, with the delta at the outputs.
fn loss_of(context: &Context<'_>, params: &[f32], share: &mut Share<'_>) {
    context.forward(params, share.x, &mut share.banks, share.scratch);
    if let Some((trainer, targets, scale)) = share.loss {
        let output = Output {
            loss: trainer.loss,
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
    trainer: &Trainer<'_>,
    plan: Plan,
    x: &[f32],
    targets: Targets<'_>,
    target: Update<'_>,
    workspace: &mut [f32],
) -> Result<f32, StepError> {
    let loss = phase_one_with_loss(trainer, plan, x, targets, target.params(), workspace, &loss_and_deltas);
    let loss = finite(loss)?;
    phase_two(&trainer.mlp, plan, x, target, workspace);
    Ok(loss)
}

/// The loss alone.
pub(super) fn loss(
    trainer: &Trainer<'_>,
    plan: Plan,
    x: &[f32],
    targets: Targets<'_>,
    params: &[f32],
    workspace: &mut [f32],
) -> f32 {
    phase_one_with_loss(trainer, plan, x, targets, params, workspace, &|context, params, mut share| {
        loss_of(context, params, &mut share);
    })
}

fn phase_one_with_loss(
    trainer: &Trainer<'_>,
    plan: Plan,
    x: &[f32],
    targets: Targets<'_>,
    params: &[f32],
    workspace: &mut [f32],
    work: &(impl Fn(&Context<'_>, &[f32], Share<'_>) + Sync),
) -> f32 {
    let (mlp, batch, outputs) = (&trainer.mlp, plan.batch, plan.outputs);
    let activation = mlp.layout.output_activation();
    let from_logits = trainer.loss.is_fused() || !activation.is_elementwise();
    let context = Context { mlp, plan, top: if from_logits { Activation::Linear } else { activation } };
    let (banks, scratch) = plan.split(workspace);
    let loss = Some((trainer, targets, trainer.loss.delta_scale(batch, outputs)));
    context.phase_one(params, Share { x, loss, input_delta: None, banks, scratch }, mlp.pieces(batch), work);
    let terms = &plan.terms(workspace)[..batch * trainer.loss.terms_per_sample(outputs)];
    kernels::sum(mlp.engine.isa, terms) / trainer.loss.divisor(batch, outputs)
}

/// Updates or writes down all gradients, from the values and deltas in the workspace.
fn phase_two(mlp: &Mlp<'_>, plan: Plan, x: &[f32], target: Update<'_>, workspace: &mut [f32]) {
    let context = Context { mlp, plan, top: mlp.layout.output_activation() };
    let pieces = mlp.pieces(plan.batch);
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
    let share = Share { x, loss: None, input_delta: None, banks, scratch };
    context.phase_one(params, share, mlp.pieces(plan.batch), &|context: &Context<'_>, params, mut share| {
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
    let share = Share { x, loss: None, input_delta, banks, scratch };
    context.phase_one(target.params(), share, mlp.pieces(plan.batch), &|context: &Context<'_>, params, mut share| {
        context.deltas(params, &mut share.banks, share.input_delta, share.scratch);
    });
    phase_two(mlp, plan, x, target, workspace);
}

/// Floats of workspace for [`predict`]; `None` if that overflows.
pub(super) const fn predict_workspace_len(layout: &Layout<'_>, batch: usize, threads: usize) -> Option<usize> {
    let Some(share) = predict_share(layout, batch) else { return None };
    let Some(all) = share.checked_mul(threads) else { return None };
    let Some(len) = all.checked_add(LINE) else { return None };
    if len > isize::MAX as usize / 4 { None } else { Some(len) }
}

/// Workspace of one thread: values of two neighbouring layers, and a packed panel.
const fn predict_share(layout: &Layout<'_>, batch: usize) -> Option<usize> {
    let layers = layout.layers();
    let (mut widest, mut inputs, mut l) = (0, layout.inputs(), 0);
    while l + 1 < layers.len() {
        let units = layers[l].units();
        widest = if units > widest { units } else { widest };
        inputs = if units > inputs { units } else { inputs };
        l += 1;
    }
    let rows = if batch < PREDICT_ROWS { batch } else { PREDICT_ROWS };
    let Some(bank) = odd_lines(widest.next_multiple_of(LINE)).checked_mul(rows) else { return None };
    let Some(banks) = bank.checked_mul(2) else { return None };
    banks.checked_add(PANEL * if inputs < BLOCK { inputs } else { BLOCK })
}

/// Outputs only: a block of samples at a time through all layers.
pub(super) fn predict(mlp: &Mlp<'_>, params: &[f32], x: &[f32], y: &mut [f32], workspace: &mut [f32]) {
    let batch = x.len() / mlp.layout.inputs();
    let Some(share) = predict_share(&mlp.layout, batch) else {
        unreachable!("the caller has checked the workspace's length")
    };
    let start = padding(workspace);
    let workspace = &mut workspace[start..];
    predict_pieces(mlp, params, x, y, workspace, share, mlp.pieces(batch));
}

fn predict_pieces(
    mlp: &Mlp<'_>,
    params: &[f32],
    x: &[f32],
    y: &mut [f32],
    workspace: &mut [f32],
    share: usize,
    pieces: usize,
) {
    let (inputs, outputs) = (mlp.layout.inputs(), mlp.layout.outputs());
    let batch = x.len() / inputs;
    if pieces > 1 && batch > 1 {
        let first = pieces / 2;
        let rows = part(batch, first, pieces);
        let (x, other_x) = x.split_at(rows * inputs);
        let (y, other_y) = y.split_at_mut(rows * outputs);
        let (own, others) = workspace.split_at_mut(first * share);
        return join(
            || predict_pieces(mlp, params, x, y, own, share, first),
            || predict_pieces(mlp, params, other_x, other_y, others, share, pieces - first),
        );
    }
    let (x, y) = (x.chunks(PREDICT_ROWS.saturating_mul(inputs)), y.chunks_mut(PREDICT_ROWS.saturating_mul(outputs)));
    for (x, y) in x.zip(y) {
        predict_block(mlp, params, x, y, workspace);
    }
}

/// At most [`PREDICT_ROWS`] samples through all layers.
fn predict_block(mlp: &Mlp<'_>, params: &[f32], x: &[f32], y: &mut [f32], workspace: &mut [f32]) {
    let rows = x.len() / mlp.layout.inputs();
    let last = mlp.layout.layers().len() - 1;
    let widest = mlp.layout.layers()[..last].iter().map(|layer| layer.units()).max().unwrap_or(0);
    let stride = odd_lines(widest.next_multiple_of(LINE));
    let (even, rest) = workspace.split_at_mut(stride * rows);
    let (odd, scratch) = rest.split_at_mut(stride * rows);
    let mut banks = [even, odd];
    for place in mlp.layout.places() {
        let (weights, bias) = place.split(params);
        let (from, to) = opposite(&mut banks, place.index);
        let x = if place.index == 0 {
            Rows::dense(x, place.inputs)
        } else {
            Rows { data: from, stride, offset: 0, width: place.inputs }
        };
        let to = if place.index == last {
            RowsMut::dense(y, place.outputs)
        } else {
            RowsMut { data: to, stride, offset: 0, width: place.outputs }
        };
        kernels::forward(mlp.engine, x, weights, bias, place.activation, to, scratch);
    }
    if mlp.layout.output_activation() == Activation::Softmax {
        kernels::softmax(mlp.engine.isa, y, mlp.layout.outputs());
    }
}
