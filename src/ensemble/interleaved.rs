//! Members side by side: a block of 16 takes its step as one, each in its lane.
//!
//! The workspace of a block is rows of 16: the inputs of all samples, then each layer's values and what its slope is
//! taken at, if that is something else, then scratch. Backwards, a layer's deltas replace its values as soon as these
//! have fed the layer's own update.

use super::Member;
use super::share::{MemberInputs, MemberTargets, Prediction, Training};
use crate::activation::Activation;
use crate::kernels::{self, Backward, MemberDropout, MembersOutput, Row};
use crate::layer::{Kind, Layer};
use crate::layout::{Layout, Place, Schedule};
use crate::optimizer::Rule;
use crate::step::{Mlp, Trainer, padding};

/// Members in a block.
pub(super) const BLOCK: usize = 16;

/// Whether a block of members can compute it.
pub(super) const fn takes(layer: &Layer) -> bool {
    matches!(layer.kind, Kind::Dense { by_output: false, .. } | Kind::Activation) && layer.residual == 0
}

/// Floats of workspace for a step of a block.
pub(super) const fn workspace_len(layout: &Layout<'_>, batch: usize) -> Option<usize> {
    let last = layout.layers().len() - 1;
    let Some(mut rows) = batch.checked_mul(layout.inputs()) else { return None };
    let (mut place, mut widest) = (layout.first(), 0);
    loop {
        let Some(own) = batch.checked_mul(kept_end(&place, last)) else { return None };
        let Some(sum) = rows.checked_add(own) else { return None };
        rows = sum;
        widest = if place.inputs > widest { place.inputs } else { widest };
        if place.index == last {
            break;
        }
        place = layout.next(&place);
    }
    let Some(loss) = kernels::members_scratch_len(batch, layout.outputs()) else { return None };
    let Some(deltas) = batch.checked_mul(widest) else { return None };
    let Some(rows) = rows.checked_add(if loss > deltas { loss } else { deltas }) else { return None };
    let Some(floats) = rows.checked_mul(BLOCK) else { return None };
    floats.checked_add(BLOCK - 1)
}

/// Rows of a layer's values in a sample, and of what is kept beside them.
const fn kept_end(place: &Place<'_>, last: usize) -> usize {
    // `Layout` keeps the neurons below an eighth of `usize`.
    place.outputs * if place.layer.keeps() && place.index < last { 2 } else { 1 }
}

/// What a step is for all blocks.
pub(super) struct Step<'a, R> {
    pub(super) trainer: &'a Trainer<'a>,
    pub(super) step: u64,
    pub(super) batch: usize,
    /// Its rate is not read.
    pub(super) rule: Rule,
    /// Minus the rate that follows from a learning rate: see [`minus_rates`](crate::Optimizer::minus_rates).
    pub(super) minus_rate: R,
}

impl<R: Fn(f32) -> f32> Step<'_, R> {
    /// Trains a block of members.
    pub(super) fn train(&self, share: Training<'_>, workspace: &mut [f32]) {
        let Training { members, inputs, targets, params, state, losses } = share;
        let (mlp, batch) = (self.trainer.mlp(), self.batch);
        let (layout, isa, lean) = (mlp.layout(), mlp.isa(), mlp.schedule() == Schedule::Lean);
        let objective = self.trainer.objective(targets.all());
        let activation = layout.output_activation();
        let params = params.as_chunks_mut().0;
        let (neurons, scratch) = cut(layout, batch, workspace);
        fill(inputs, members.len(), batch * layout.inputs(), neurons);
        let training = Some((self.step, members));
        forward(mlp, training, params, batch, objective.loss.top(activation), neurons);

        let top = neurons.len() - batch * layout.outputs();
        let mut loss = [0.0; BLOCK];
        let output = MembersOutput {
            objective: &objective,
            members: members.len(),
            own: matches!(targets, MemberTargets::Own(_)),
            batch,
            lean,
            activation,
            top: &mut neurons[top..],
            scratch: &mut *scratch,
            losses: &mut loss,
        };
        kernels::members_loss(isa, output);
        if layout.is_penalized() {
            for (loss, penalty) in loss.iter_mut().zip(penalty(mlp, params)) {
                *loss += penalty;
            }
        }
        losses.copy_from_slice(&loss[..losses.len()]);
        let trained = loss.map(|loss| f32::from(u8::from(loss.is_finite())));
        let minus_rates = lanes(members).map(|member| (self.minus_rate)(member.learning_rate));
        let state = kernels::split_state(state, self.rule.states()).map(|state| state.as_chunks_mut().0);
        let update = Update {
            rule: &self.rule,
            minus_rates: &minus_rates,
            trained: if trained == [1.0; BLOCK] { None } else { Some(&trained) },
            params,
            state,
        };
        backward(mlp, training, batch, update, neurons, scratch);
    }
}

/// Predicts with a block of members.
pub(super) fn predict(mlp: &Mlp<'_>, batch: usize, share: Prediction<'_>, workspace: &mut [f32]) {
    let Prediction { members, inputs, params, outputs } = share;
    let layout = mlp.layout();
    let (neurons, _) = cut(layout, batch, workspace);
    fill(inputs, members, batch * layout.inputs(), neurons);
    let activation = layout.output_activation();
    forward(mlp, None, params.as_chunks().0, batch, activation, neurons);
    let top = neurons.len() - batch * layout.outputs();
    let top = &mut neurons[top..];
    if activation == Activation::Softmax {
        kernels::members_softmax(mlp.isa(), top, layout.outputs());
    }
    for (lane, outputs) in outputs.chunks_exact_mut(top.len()).enumerate() {
        for (to, row) in outputs.iter_mut().zip(&*top) {
            *to = row[lane];
        }
    }
}

/// The members of all lanes: those that are left over do as the last member does.
fn lanes(members: &[Member]) -> [&Member; BLOCK] {
    core::array::from_fn(|lane| &members[lane.min(members.len() - 1)])
}

/// The neurons and the scratch in a block's workspace.
fn cut<'w>(layout: &Layout<'_>, batch: usize, workspace: &'w mut [f32]) -> (&'w mut [Row], &'w mut [Row]) {
    let last = layout.layers().len() - 1;
    let neurons: usize = layout.places().map(|place| kept_end(&place, last)).sum();
    let start = padding(workspace);
    workspace[start..].as_chunks_mut().0.split_at_mut(batch * (layout.inputs() + neurons))
}

/// Writes the inputs of a block's members into rows; each sees `len` floats.
fn fill(inputs: MemberInputs<'_>, members: usize, len: usize, to: &mut [Row]) {
    match inputs {
        MemberInputs::Shared(x) => {
            for (to, &x) in to.iter_mut().zip(x) {
                *to = [x; BLOCK];
            }
        }
        MemberInputs::Own(x) => {
            for lane in 0..BLOCK {
                let own = &x[lane.min(members - 1) * len..][..len];
                for (to, &x) in to.iter_mut().zip(own) {
                    to[lane] = x;
                }
            }
        }
    }
}

/// The dropout of a layer in training step `training.0` of these members.
fn dropout<'m>(training: Option<(u64, &'m [Member])>, place: &Place<'_>) -> Option<MemberDropout<'m>> {
    let (step, members) = training.filter(|_| place.layer.dropout > 0.0)?;
    Some(MemberDropout { rate: place.layer.dropout, layer: place.index, step, members })
}

/// Runs all samples forward, the last layer as far as `top`.
fn forward(
    mlp: &Mlp<'_>,
    training: Option<(u64, &[Member])>,
    params: &[Row],
    batch: usize,
    top: Activation,
    neurons: &mut [Row],
) {
    let (layout, isa) = (mlp.layout(), mlp.isa());
    let last = layout.layers().len() - 1;
    let (mut before, mut at) = (0, batch * layout.inputs());
    for place in layout.places() {
        let (below, block) = neurons.split_at_mut(at);
        let x = &below[before..][..batch * place.inputs];
        let (z, rest) = block.split_at_mut(batch * place.outputs);
        let block_end = batch * kept_end(&place, last);
        let kept = &mut rest[..block_end - z.len()];
        let mut activation = if place.index == last { top } else { place.layer.activation };
        if let Kind::Dense { .. } = place.layer.kind {
            let floor = if activation == Activation::Relu { 0.0 } else { f32::NEG_INFINITY };
            let own = &params[place.offset..][..place.params];
            let (weights, bias) = own.split_at(place.inputs * place.outputs);
            for (x, z) in x.chunks_exact(place.inputs).zip(z.chunks_exact_mut(place.outputs)) {
                kernels::members_forward(isa, x, weights, bias, floor, z);
            }
            if activation == Activation::Relu {
                activation = Activation::Linear;
            }
        } else {
            z.copy_from_slice(x);
        }
        let dropout = dropout(training, &place);
        let bare = matches!(activation, Activation::Linear | Activation::Softmax);
        if !bare || dropout.is_some() || !kept.is_empty() {
            kernels::members_follow(isa, activation, dropout, z, kept);
        }
        before = at;
        at += block_end;
    }
}

/// The penalties on each member's weights, added up.
fn penalty(mlp: &Mlp<'_>, params: &[Row]) -> Row {
    let mut sums = [0.0; BLOCK];
    for place in mlp.layout().places() {
        if let Some(penalty) = mlp.layout().penalty(&place) {
            let mut own = [0.0; BLOCK];
            kernels::members_penalty(mlp.isa(), penalty, &params[place.weights()], &mut own);
            sums.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
        }
    }
    sums
}

/// What becomes of the gradients of a block.
struct Update<'a> {
    rule: &'a Rule,
    minus_rates: &'a Row,
    trained: Option<&'a Row>,
    params: &'a mut [Row],
    state: [&'a mut [Row]; 2],
}

/// Runs the deltas at the top backward, updating each layer on the way.
fn backward(
    mlp: &Mlp<'_>,
    training: Option<(u64, &[Member])>,
    batch: usize,
    update: Update<'_>,
    neurons: &mut [Row],
    scratch: &mut [Row],
) {
    let (layout, isa, lean) = (mlp.layout(), mlp.isa(), mlp.schedule() == Schedule::Lean);
    let last = layout.layers().len() - 1;
    let Update { rule, minus_rates, trained, params, state: [first, second] } = update;
    let mut start = neurons.len();
    for place in layout.places_down(0..last + 1) {
        start -= batch * kept_end(&place, last);
        let (below, own) = neurons.split_at_mut(start);
        let delta = &own[..batch * place.outputs];
        let under = if place.index > 0 { Some(layout.place(place.index - 1)) } else { None };
        let rows = batch * under.map_or(place.inputs, |under| kept_end(&under, last));
        let (x, kept) = below[start - rows..].split_at_mut(batch * place.inputs);
        let under = under.filter(|_| place.index > layout.lowest());
        let d = &mut scratch[..x.len()];
        if let Kind::Dense { .. } = place.layer.kind {
            let range = place.offset..place.offset + place.params;
            let layer = Backward {
                lean,
                delta,
                x,
                below: under.is_some().then_some(&mut *d),
                inputs: place.inputs,
                outputs: place.outputs,
                params: &mut params[range.clone()],
                // A state that the rule does not use is empty.
                state: [
                    if rule.states() > 0 { &mut first[range.clone()] } else { &mut [] },
                    if rule.states() > 1 { &mut second[range] } else { &mut [] },
                ],
                penalty: layout.penalty(&place),
                rule,
                minus_rates,
                trained,
            };
            kernels::members_backward(isa, layer);
        } else if under.is_some() {
            d.copy_from_slice(delta);
        }
        if let Some(under) = under {
            let kept = under.layer.keeps().then_some(&*kept);
            kernels::members_back(isa, under.layer.activation, dropout(training, &under), d, kept, x);
        }
    }
}
