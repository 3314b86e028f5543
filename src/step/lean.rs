//! The lean schedule: one sample, one float of workspace per neuron, each row of
//! weights touched once on the way back.
//!
//! The workspace holds the values of layer after layer. Backwards, a layer's
//! deltas replace its values as soon as these have fed the layer's own update. Behind its
//! values a layer has what its slope is taken at, if that is something else, and
//! the moments of its norm.

use super::layers::pre_activations;
use super::plan::moments_len;
use super::{Delta, Mlp, Mode, Update};
use crate::activation::Activation;
use crate::backend::Engine;
use crate::kernels::{
    self, Addend, Below, Columns, Embedded, Follow, Gradient, LeanKind, Neurons, Residuals, Rows, RowsMut, Values,
};
use crate::layer::Kind;
use crate::layout::{Layout, Place, Source};
use crate::loss::Objective;
use crate::optimizer::Rule;
use crate::simd::{dispatch, on_one_lane};
use core::ops::Range;

impl Layout<'_> {
    /// Where the values of layer `index` begin in the workspace.
    pub(crate) const fn lean_offset(&self, index: usize) -> usize {
        let (mut place, mut offset) = (self.first(), 0);
        while place.index < index {
            offset += block_len(self, &place);
            place = self.next(&place);
        }
        offset
    }

    /// Where the block of layer `index` ends.
    pub(crate) const fn lean_end(&self, index: usize) -> usize {
        self.lean_offset(index) + block_len(self, &self.place(index))
    }
}

/// Floats of a layer's block in the workspace.
pub(super) const fn block_len(layout: &Layout<'_>, place: &Place<'_>) -> usize {
    if layout.is_plain(place) { place.outputs } else { kept_end(place) + moments_len(place) }
}

/// Where a block's values, and what is kept beside them, end.
pub(super) const fn kept_end(place: &Place<'_>) -> usize {
    place.outputs * if place.layer.keeps() { 2 } else { 1 }
}

/// Runs one sample forward; returns the values of the last layer, or its
/// pre-activations where `stop_short`.
#[cfg_attr(not(feature = "std"), inline(always))]
pub(super) fn forward<'w>(
    mlp: &Mlp<'_>,
    mode: Mode,
    params: &[f32],
    x: &[f32],
    workspace: &'w mut [f32],
    stop_short: bool,
) -> &'w [f32] {
    // Chosen once for all layers: by itself, one of a small network takes no longer than the choice.
    on_one_lane!(
        mlp.engine.isa,
        s => layers_forward(mlp, mode, params, x, workspace, stop_short, #[inline(always)] |x, w, b, activation, y| {
            kernels::one_lane_forward(s, x, w, b, activation, mlp.layout.activations(), y);
        });
        dispatch!(
            mlp.engine.isa,
            s => layers_forward(mlp, mode, params, x, workspace, stop_short, #[inline(always)] |x, w, b, activation, y| {
                kernels::one_sample_forward(s, x, w, b, activation, y);
            })
        )
    );
    softmax(mlp, workspace, stop_short);
    top(mlp, workspace)
}

/// Takes the softmax of the last layer, if it is one, unless the pass is to `stop_short` of it.
#[inline(always)]
pub(super) fn softmax(mlp: &Mlp<'_>, workspace: &mut [f32], stop_short: bool) {
    if mlp.layout.output_activation() == Activation::Softmax && !stop_short {
        let top = top(mlp, workspace);
        kernels::softmax(mlp.engine.isa, top, top.len());
    }
}

/// [`forward`], given the kernel of a plain layer.
#[inline(always)]
fn layers_forward(
    mlp: &Mlp<'_>,
    mode: Mode,
    params: &[f32],
    x: &[f32],
    workspace: &mut [f32],
    stop_short: bool,
    plain: impl Fn(&[f32], Columns<'_>, &[f32], Activation, &mut [f32]),
) {
    let last = mlp.layout.layers().len() - 1;
    let (mut at, mut before) = (0, 0);
    let mut place = mlp.layout.first();
    loop {
        let (below, block) = workspace.split_at_mut(at);
        let feed = if place.index == 0 { x } else { &below[before..][..place.inputs] };
        let activation = if stop_short && place.index == last { Activation::Linear } else { place.layer.activation };
        if mlp.layout.is_plain(&place) {
            let (weights, bias) = place.split(params);
            let weights = Columns { weights, width: place.outputs, first: 0 };
            plain(feed, weights, bias, activation, &mut block[..place.outputs]);
        } else {
            let block = &mut block[..block_len(&mlp.layout, &place)];
            any_forward(mlp, mode, &place, params, x, feed, below, block, activation);
        }
        if place.index == last {
            return;
        }
        before = at;
        at += block_len(&mlp.layout, &place);
        place = mlp.layout.next(&place);
    }
}

/// One layer of any kind forward, with all that may follow.
#[expect(clippy::too_many_arguments, reason = "a layer, what feeds it, what a connection may bring, where it writes")]
pub(super) fn any_forward(
    mlp: &Mlp<'_>,
    mode: Mode,
    place: &Place<'_>,
    params: &[f32],
    x: &[f32],
    feed: &[f32],
    below: &[f32],
    block: &mut [f32],
    activation: Activation,
) {
    let width = place.outputs;
    let mut unused = [0.0; 2];
    let (values, moments) = block.split_at_mut(kept_end(place));
    let moments = RowsMut::dense(if moments.is_empty() { &mut unused } else { moments }, 2);
    let z = RowsMut::dense(&mut values[..width], width);
    pre_activations(Engine::own(mlp.engine.isa), place, params, Rows::dense(feed, place.inputs), z, moments, &mut []);
    follow(mlp, mode, place, x, below, values, activation);
}

/// What follows the pre-activations in `values`, which have room for what is kept beside them.
pub(super) fn follow(
    mlp: &Mlp<'_>,
    mode: Mode,
    place: &Place<'_>,
    x: &[f32],
    below: &[f32],
    values: &mut [f32],
    activation: Activation,
) {
    let width = place.outputs;
    let residual = mlp.layout.residual_source(place.index).map(|source| match source {
        Source::Inputs => Addend::Rows(Rows::dense(x, width)),
        Source::Layer(k) => Addend::Rows(Rows::dense(&below[mlp.layout.lean_offset(k)..][..width], width)),
    });
    let kept = place.layer.keeps().then_some(width);
    let follow = Follow { residual, activation, kept, dropout: mode.dropout(place.index, place.layer), first_row: 0 };
    let stride = values.len();
    kernels::follow(mlp.engine.isa, RowsMut { data: values, stride, offset: 0, width }, follow);
}

/// The values that [`forward`] has left.
pub(super) fn outputs<'w>(mlp: &Mlp<'_>, workspace: &'w [f32]) -> &'w [f32] {
    &workspace[mlp.layout.lean_top()..][..mlp.layout.outputs()]
}

/// Runs one sample forward, and leaves the delta of the last layer in the workspace; returns the loss of the data.
///
/// Inlined, so that the loss of a `static` trainer is a constant here, and the kernels of the others stay out
/// of the binary: 35 KB of x86-64 code.
#[inline(always)]
pub(super) fn loss(
    mlp: &Mlp<'_>,
    mode: Mode,
    objective: &Objective<'_>,
    x: &[f32],
    params: &[f32],
    workspace: &mut [f32],
) -> f32 {
    let activation = mlp.layout.output_activation();
    forward(mlp, mode, params, x, workspace, objective.loss.top(activation) != activation);
    loss_of_outputs(mlp, objective, workspace)
}

/// Turns what [`forward`] has left of the last layer into its delta; returns the loss of the data.
#[inline(always)]
pub(super) fn loss_of_outputs(mlp: &Mlp<'_>, objective: &Objective<'_>, workspace: &mut [f32]) -> f32 {
    let (neurons, scratch) = workspace.split_at_mut(mlp.layout.lean_workspace_len());
    kernels::lean_loss(mlp.engine.isa, objective, mlp.layout.output_activation(), top(mlp, neurons), scratch)
}

/// Replaces the outputs in the workspace by the delta that the caller brings.
pub(super) fn set_delta(mlp: &Mlp<'_>, delta: Delta<'_>, workspace: &mut [f32]) {
    let activation = mlp.layout.output_activation();
    let (outputs, start) = (mlp.layout.outputs(), mlp.layout.lean_top());
    let (top, kept) = workspace[start..].split_at_mut(outputs);
    match delta {
        Delta::PreActivations(delta) => top.copy_from_slice(delta),
        Delta::Outputs(delta) => {
            if activation.slopes_at_pre_activation() {
                top.copy_from_slice(&kept[..outputs]);
            }
            kernels::lean_slope(mlp.engine.isa, activation, delta, top);
        }
    }
}

fn top<'w>(mlp: &Mlp<'_>, workspace: &'w mut [f32]) -> &'w mut [f32] {
    &mut workspace[mlp.layout.lean_top()..][..mlp.layout.outputs()]
}

/// Runs the delta in the workspace backward, updating each layer on the way.
#[inline(always)]
pub(super) fn backward(
    mlp: &Mlp<'_>,
    mode: Mode,
    x: &[f32],
    target: Update<'_>,
    workspace: &mut [f32],
    input_delta: Option<&mut [f32]>,
) {
    on_one_lane!(
        mlp.engine.isa,
        s => layers_backward(mlp, mode, x, target, workspace, input_delta, #[inline(always)] |delta, neurons, gradient| {
            kernels::one_lane_layer(s, delta, neurons, mlp.layout.activations(), gradient);
        });
        dispatch!(
            mlp.engine.isa,
            s => layers_backward(mlp, mode, x, target, workspace, input_delta, #[inline(always)] |delta, neurons, gradient| {
                kernels::lean_layer(s, delta, neurons, gradient);
            })
        )
    );
}

/// [`backward`], given the kernel of a dense layer without penalty above another whose value gives its slope.
#[inline(always)]
fn layers_backward(
    mlp: &Mlp<'_>,
    mode: Mode,
    x: &[f32],
    mut target: Update<'_>,
    workspace: &mut [f32],
    mut input_delta: Option<&mut [f32]>,
    plain: impl Fn(&[f32], Neurons<'_>, Gradient<'_>),
) {
    if let Update::Store { gradient, .. } = &mut target {
        gradient.fill(0.0);
    }
    let layout = &mlp.layout;
    let (mut end, mut params_end) = (layout.lean_workspace_len(), layout.trainable_len());
    for l in (0..layout.layers().len()).rev() {
        let place = layout.below(l, params_end);
        params_end = place.offset;
        end -= block_len(layout, &place);
        if !is_simple(layout, &place) {
            let rows = 0..place.inputs + 1;
            any_backward(mlp, mode, &place, rows, x, &mut target, workspace, end, &mut input_delta);
            continue;
        }
        let (below, delta) = workspace.split_at_mut(end);
        let neurons = match (l, input_delta.take()) {
            (0, None) => Neurons::Inputs(x),
            (0, Some(below)) => Neurons::InputsAndDelta(x, below),
            (_, kept) => {
                input_delta = kept;
                let values = &mut below[end - place.inputs..];
                Neurons::Below(values, layout.layers()[l - 1].activation)
            }
        };
        plain(&delta[..place.outputs], neurons, target.of(place.range()));
    }
    if let Update::Store { params, gradient } = target {
        mlp.penalize(params, gradient);
    }
}

/// Whether a layer is dense without penalty, above another whose value gives its slope.
#[inline(always)]
pub(super) fn is_simple(layout: &Layout<'_>, place: &Place<'_>) -> bool {
    let l = place.index;
    layout.is_plain(place)
        && (l == 0 || layout.is_plain(&layout.place(l - 1)))
        && !layout.has_residual()
        && layout.penalty(place).is_none()
}

/// One layer of any kind backward, whatever lies below it, or some rows of a dense one (of which the bias is the last).
/// Its block begins at `start`.
#[expect(clippy::too_many_arguments, reason = "a layer, where its numbers lie, what becomes of its gradient")]
pub(super) fn any_backward(
    mlp: &Mlp<'_>,
    mode: Mode,
    place: &Place<'_>,
    rows: Range<usize>,
    x: &[f32],
    target: &mut Update<'_>,
    workspace: &mut [f32],
    start: usize,
    input_delta: &mut Option<&mut [f32]>,
) {
    let (layout, l) = (mlp.layout, place.index);
    let (below, above) = workspace.split_at_mut(start);
    let above = &*above;
    let residuals = |source| Residuals { layout, source, above, start };
    let below = match (l, input_delta.take()) {
        (0, None) => Below::Inputs(x),
        (0, Some(to)) => Below::InputsAndDelta(x, to, residuals(Source::Inputs)),
        // Nothing below has parameters.
        (_, None) if l <= layout.lowest() => {
            Below::Inputs(&below[start - block_len(&layout, &layout.place(l - 1))..][..place.inputs])
        }
        (_, wanted) => {
            *input_delta = wanted;
            let place = layout.place(l - 1);
            let (values, kept) = below[start - block_len(&layout, &place)..].split_at_mut(place.outputs);
            Below::Values(Values {
                values,
                kept: place.layer.keeps().then(|| &kept[..place.outputs]),
                activation: place.layer.activation,
                dropout: mode.dropout(place.index, place.layer),
                residuals: residuals(Source::Layer(l - 1)),
            })
        }
    };
    if matches!(place.layer.kind, Kind::Normalization) {
        let (_, scale) = place.statistics(target.params());
        let nothing = Gradient::Add(&[], &mut []);
        let delta = &above[..place.outputs];
        return kernels::lean_any_layer(mlp.engine.isa, LeanKind::Standardize(scale), rows, delta, below, nothing);
    }
    let moments = || [above[kept_end(place)], above[kept_end(place) + 1]];
    let kind = match place.layer.kind {
        Kind::Dense { .. } => LeanKind::Dense(layout.penalty(place)),
        Kind::Activation => LeanKind::Activation,
        Kind::LayerNorm { .. } => LeanKind::SampleNorm(moments(), true),
        Kind::RmsNorm { .. } => LeanKind::SampleNorm(moments(), false),
        Kind::Embedding { column, categories, dimensions } => {
            LeanKind::Embedding(Embedded { column, categories, dimensions }, layout.penalty(place))
        }
        Kind::BatchNorm { .. } | Kind::Normalization => {
            unreachable!("check_step has refused batch norm in the lean schedule, and the other has returned")
        }
    };
    let delta = &above[..place.outputs];
    kernels::lean_any_layer(mlp.engine.isa, kind, rows, delta, below, target.of(place.range()));
}

impl Update<'_> {
    /// The part of it that concerns these parameters. (Inlined, so that a `static` trainer leaves the other optimizers out of the binary.)
    #[inline(always)]
    pub(super) fn of(&mut self, range: Range<usize>) -> Gradient<'_> {
        match self {
            Self::Apply { rule, params, state: [first, second] } => update_of(*rule, params, [first, second], range),
            Self::Store { params, gradient } => Gradient::Add(&params[range.clone()], &mut gradient[range]),
        }
    }
}

/// What updates these parameters.
#[inline(always)]
pub(super) fn update_of<'p>(
    rule: Rule,
    params: &'p mut [f32],
    [first, second]: [&'p mut [f32]; 2],
    range: Range<usize>,
) -> Gradient<'p> {
    let count = rule.states();
    let state = [
        if count > 0 { &mut first[range.clone()] } else { &mut [][..] },
        if count > 1 { &mut second[range.clone()] } else { &mut [][..] },
    ];
    Gradient::Apply(rule, &mut params[range], state)
}
