//! The batch schedule through plain layers, on one thread: each is dense with a bias and without a penalty, above another whose
//! value gives its slope.
//!
//! What other layers and several threads ask of [a walk](super::layers) would take as long as the sums of a small network. And a
//! layer's weights are updated as soon as its deltas have met them, while they are near.

use super::plan::{Banks, LINE, Parts, Plan, Section, opposite};
use super::{Mlp, StepLoss, Update};
use crate::activation::Activation;
use crate::error::StepError;
use crate::kernels::{self, Band, Operands, Output, Rows, RowsMut};
use crate::loss::Objective;
use crate::parts;

/// Whether a step is one that [`run`] takes.
pub(super) fn suits(mlp: &Mlp<'_>, plan: &Plan) -> bool {
    plan.pieces == 1 && mlp.layout.is_all_plain() && !mlp.layout.is_penalized()
}

/// A whole training step, or its gradient; returns the loss.
pub(super) fn run(
    mlp: &Mlp<'_>,
    plan: &Plan,
    x: &[f32],
    objective: &Objective<'_>,
    target: Update<'_>,
    workspace: &mut [f32],
) -> Result<StepLoss, StepError> {
    let Parts { mut banks, scratch, .. } = plan.split(workspace);
    let top = objective.loss.top(mlp.layout.output_activation());
    let ends = forward(mlp, plan, top, target.params(), x, &mut banks, scratch);
    let loss = loss(mlp, objective, plan.batch, banks.outputs, banks.output_delta, banks.terms, scratch)?;
    backward(mlp, plan, x, target, &mut banks, scratch, ends);
    Ok(loss)
}

/// The loss of all samples, and its delta at the outputs, from what the last layer has left in `values`. (Inlined: the call takes
/// 2 % of a step of 20-64-1 on 32 samples.)
#[inline(always)]
pub(super) fn loss(
    mlp: &Mlp<'_>,
    objective: &Objective<'_>,
    batch: usize,
    values: &mut [f32],
    delta: &mut [f32],
    terms: &mut [f32],
    scratch: &mut [f32],
) -> Result<StepLoss, StepError> {
    let (isa, activation, width) = (mlp.engine.isa, mlp.layout.output_activation(), mlp.layout.outputs());
    let count = objective.count(batch, width);
    let scale = objective.loss.delta_scale(count);
    let terms = parts::part_mut(terms, 0..batch * objective.loss.terms_per_sample(width));
    let output = Output { objective, activation, width, scale, values, delta, terms, scratch };
    kernels::loss_and_delta(isa, output);
    StepLoss::new(kernels::sum(isa, terms) / objective.loss.divisor(count), None)
}

/// Runs all samples forward, the last layer as far as `top`; returns where the sections of each bank end.
fn forward(
    mlp: &Mlp<'_>,
    plan: &Plan,
    top: Activation,
    params: &[f32],
    x: &[f32],
    banks: &mut Banks<'_>,
    scratch: &mut [f32],
) -> [usize; 2] {
    let (inputs, layers) = (mlp.layout.inputs(), mlp.layout.layers());
    let (mut params, mut ends) = (params, [0, 0]);
    let mut below = Section { stride: inputs, offset: 0, width: inputs };
    for (l, layer) in layers.iter().enumerate() {
        let Some(width) = layer.units() else { break };
        let (weights, rest) = parts::split(params, below.width * width);
        let (bias, rest) = parts::split(rest, width);
        let (from, to) = opposite(&mut banks.values, l);
        let x = below.rows(if l == 0 { x } else { from });
        let (y, activation) = if l + 1 == layers.len() {
            (RowsMut::dense(banks.outputs, width), top)
        } else {
            below = Section { stride: plan.strides[l % 2], offset: ends[l % 2], width };
            ends[l % 2] += width.next_multiple_of(LINE);
            (below.rows_mut(to), layer.activation)
        };
        kernels::with_bias(mlp.engine, x, weights, bias, activation, y, scratch);
        params = rest;
    }
    ends
}

/// Runs the deltas at the outputs back through all layers, updating each on the way. The sections of each bank end at `ends`.
fn backward(
    mlp: &Mlp<'_>,
    plan: &Plan,
    x: &[f32],
    mut target: Update<'_>,
    banks: &mut Banks<'_>,
    scratch: &mut [f32],
    mut ends: [usize; 2],
) {
    let layout = &mlp.layout;
    let (mut params_end, mut own) =
        (layout.trainable_len(), Section { stride: plan.outputs, offset: 0, width: plan.outputs });
    for l in (0..layout.layers().len()).rev() {
        let place = layout.below(l, params_end);
        params_end = place.offset;
        let to = target.of(place.range()).destination();
        let top = l + 1 == layout.layers().len();
        let mut below = Section { stride: place.inputs, offset: 0, width: place.inputs };
        let mut x = Rows::dense(x, place.inputs);
        if l > 0 {
            let bank = (l - 1) % 2;
            ends[bank] -= place.inputs.next_multiple_of(LINE);
            below = Section { stride: plan.strides[bank], offset: ends[bank], width: place.inputs };
            x = below.rows(banks.values[bank]);
            let (from, delta_below) = opposite(&mut banks.deltas, l - 1);
            let delta = own.rows(if top { banks.output_delta } else { from });
            let weights = parts::part(to.params(), 0..place.inputs * place.outputs);
            kernels::delta(
                mlp.engine,
                delta,
                weights,
                x,
                layout.activation_of(l - 1),
                below.rows_mut(delta_below),
                scratch,
            );
        }
        let delta = own.rows(if top { banks.output_delta } else { banks.deltas[l % 2] });
        let band = Band { rows: 0..place.inputs + 1, params: to.written, state: to.state, penalty: None };
        kernels::update(mlp.engine, Operands { x, delta }, &to.rule, band, scratch);
        own = below;
    }
}
