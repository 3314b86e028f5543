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
use crate::Arithmetic;
use crate::activation::Activation;
use crate::backend::Engine;
use crate::kernels::{
    self, Addend, Below, Columns, Embedded, Follow, Gradient, LeanKind, NO_BIAS, Neurons, Residuals, Rows, RowsMut,
    Values,
};
use crate::layer::Kind;
use crate::layout::{Layout, Place, Source};
use crate::loss::Objective;
use crate::optimizer::Rule;
use crate::parts;
use crate::simd::{Scalar, Simd, dispatch, on_one_lane};
use core::ops::Range;

impl Layout<'_> {
    /// Where the values of layer `index` begin in the workspace.
    pub(crate) const fn lean_offset(&self, index: usize) -> usize {
        let (mut place, mut offset) = (self.first(), 0);
        while place.index < index && place.index + 1 < self.layers().len() {
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
        s => one_lane_forward(s, mlp, mode, params, x, workspace, stop_short);
        vectors_forward(mlp, mode, params, x, workspace, stop_short)
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

/// [`forward`] on one lane.
#[cfg_attr(feature = "std", inline(never))]
#[cfg_attr(not(feature = "std"), inline(always))]
fn one_lane_forward<const FUSED: bool>(
    s: Scalar<FUSED>,
    mlp: &Mlp<'_>,
    mode: Mode,
    params: &[f32],
    x: &[f32],
    workspace: &mut [f32],
    stop_short: bool,
) {
    layers_forward(
        mlp,
        mode,
        params,
        x,
        workspace,
        stop_short,
        #[inline(always)]
        |x, w, b, activation, y| kernels::one_lane_forward(s, x, w, b, activation, mlp.layout.activations(), y),
    );
}

/// [`forward`] on vectors.
#[inline(always)]
fn vectors_forward(mlp: &Mlp<'_>, mode: Mode, params: &[f32], x: &[f32], workspace: &mut [f32], stop_short: bool) {
    if mlp.layout.is_all_plain() && !mlp.layout.is_by_output() {
        dispatch!(mlp.engine.isa, s => plain_forward(s, &mlp.layout, params, x, workspace, stop_short));
    } else {
        any_layers_forward(mlp, mode, params, x, workspace, stop_short);
    }
}

/// [`forward`] on vectors, of layers of any kind.
#[inline(never)]
fn any_layers_forward(mlp: &Mlp<'_>, mode: Mode, params: &[f32], x: &[f32], workspace: &mut [f32], stop_short: bool) {
    layers_forward(mlp, mode, params, x, workspace, stop_short, |x, w, b, activation, y| {
        some_columns(mlp, x, w, b, activation, y);
    });
}

/// [`forward`] of plain layers on vectors. What other layers ask of a walk through them would take as long as
/// the vectors of a small network.
#[inline(always)]
pub(super) fn plain_forward<S: Simd>(
    s: S,
    layout: &Layout<'_>,
    params: &[f32],
    x: &[f32],
    workspace: &mut [f32],
    stop_short: bool,
) {
    let (mut feed, mut params, mut workspace) = (parts::part(x, 0..layout.inputs()), params, workspace);
    let mut layers = layout.layers();
    while let [layer, above @ ..] = layers {
        let Some(width) = layer.units() else { return };
        let (weights, rest) = parts::split(params, feed.len() * width);
        let (bias, rest) = parts::split(rest, width);
        let (y, free) = parts::split_mut(workspace, width);
        let activation = if stop_short && above.is_empty() { Activation::Linear } else { layer.activation };
        kernels::one_sample_forward(s, feed, Columns { weights, width, first: 0 }, bias, activation, y);
        (feed, params, workspace, layers) = (y, rest, free, above);
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
    // Where the layout is a constant, so are these lengths, and nothing below is out of range.
    let (inputs, neurons) = (mlp.layout.inputs(), mlp.layout.lean_workspace_len());
    let (Some(x), Some(params)) = (x.get(..inputs), params.get(..mlp.layout.params_len())) else { return };
    let Some(workspace) = workspace.get_mut(..neurons) else { return };
    let last = mlp.layout.layers().len() - 1;
    let (mut at, mut before) = (0, 0);
    let mut place = mlp.layout.first();
    if mlp.layout.is_by_output() {
        // Before the loop, where sizes are constants, too.
        let activation = if stop_short && last == 0 { Activation::Linear } else { place.layer.activation };
        let (weights, bias) = place.split(params);
        let Some(y) = workspace.get_mut(..place.outputs) else { return };
        some_outputs(mlp, x, weights, place.outputs, bias, activation, y);
        at = block_len(&mlp.layout, &place);
        let Some(above) = mlp.layout.above(&place) else { return };
        place = above;
    }
    loop {
        let Some((below, block)) = workspace.split_at_mut_checked(at) else { return };
        let feed = if place.index == 0 { Some(x) } else { below.get(before..before + place.inputs) };
        let Some(feed) = feed else { return };
        let activation = if stop_short && place.index == last { Activation::Linear } else { place.layer.activation };
        if mlp.layout.is_plain(&place) {
            let (weights, bias) = place.split(params);
            let weights = Columns { weights, width: place.outputs, first: 0 };
            let Some(y) = block.get_mut(..place.outputs) else { return };
            plain(feed, weights, bias, activation, y);
        } else {
            let block = parts::part_mut(block, 0..block_len(&mlp.layout, &place));
            any_forward(mlp, mode, &place, params, x, feed, below, block, activation);
        }
        before = at;
        at += block_len(&mlp.layout, &place);
        let Some(above) = mlp.layout.above(&place) else { return };
        place = above;
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
    let (values, moments) = parts::split_mut(block, kept_end(place));
    let moments = RowsMut::dense(if moments.is_empty() { &mut unused } else { moments }, 2);
    let z = parts::part_mut(values, 0..width);
    if let Kind::Dense { .. } = place.layer.kind {
        dense_sums(mlp, place, params, feed, z);
    } else {
        let (x, z) = (Rows::dense(feed, place.inputs), RowsMut::dense(z, width));
        pre_activations(Engine::own(mlp.engine.isa), place, params, x, z, moments, &mut []);
    }
    follow(mlp, mode, place, x, below, values, activation);
}

/// The pre-activations of a dense layer.
fn dense_sums(mlp: &Mlp<'_>, place: &Place<'_>, params: &[f32], x: &[f32], z: &mut [f32]) {
    let (weights, bias) = place.split(params);
    let most = if bias.is_empty() { NO_BIAS.len() } else { z.len().max(1) };
    for (part, z) in z.chunks_mut(most).enumerate() {
        let columns = Columns { weights, width: place.outputs, first: part * most };
        let bias = if bias.is_empty() { parts::part(&NO_BIAS, 0..z.len()) } else { bias };
        some_columns(mlp, x, columns, bias, Activation::Linear, z);
    }
}

/// Some columns of a dense layer, forwards.
#[inline(always)]
pub(super) fn some_columns(
    mlp: &Mlp<'_>,
    x: &[f32],
    columns: Columns<'_>,
    bias: &[f32],
    activation: Activation,
    y: &mut [f32],
) {
    on_one_lane!(
        mlp.engine.isa,
        s => kernels::one_lane_forward(s, x, columns, bias, activation, mlp.layout.activations(), y);
        dispatch!(mlp.engine.isa, s => kernels::one_sample_forward(s, x, columns, bias, activation, y))
    );
}

/// On one lane, whatever the instruction set: the arithmetic is that of `$isa`.
macro_rules! on_any_lane {
    ($isa:expr, $s:ident => $call:expr) => {
        on_one_lane!(
            $isa,
            $s => $call;
            match $isa.arithmetic() {
                Arithmetic::Portable => { let $s = Scalar::<false>; $call }
                Arithmetic::Fused => { let $s = Scalar::<true>; $call }
            }
        )
    };
}

/// Some outputs of the first layer, of `width` outputs in all, whose weights are stored by output.
#[inline(always)]
pub(super) fn some_outputs(
    mlp: &Mlp<'_>,
    x: &[f32],
    weights: &[f32],
    width: usize,
    bias: &[f32],
    activation: Activation,
    y: &mut [f32],
) {
    let among = mlp.layout.activations();
    on_any_lane!(mlp.engine.isa, s => kernels::forward_by_output(s, x, weights, width, bias, activation, among, y));
}

/// The same backwards: see [`kernels::layer_by_output`].
#[inline(always)]
pub(super) fn some_outputs_back(
    mlp: &Mlp<'_>,
    delta: &[f32],
    all: &[f32],
    x: &[f32],
    below: Option<&mut [f32]>,
    gradient: Gradient<'_>,
) {
    on_any_lane!(mlp.engine.isa, s => kernels::layer_by_output(s, delta, all, x, below, gradient));
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
        Source::Layer(k) => Addend::Rows(Rows::dense(parts::span(below, mlp.layout.lean_offset(k), width), width)),
    });
    let kept = place.layer.keeps().then_some(width);
    let follow = Follow { residual, activation, kept, dropout: mode.dropout(place.index, place.layer), first_row: 0 };
    let stride = values.len();
    kernels::follow(mlp.engine.isa, RowsMut { data: values, stride, offset: 0, width }, follow);
}

/// The values that [`forward`] has left.
#[cfg_attr(not(feature = "std"), inline(always))]
pub(super) fn outputs<'w>(mlp: &Mlp<'_>, workspace: &'w [f32]) -> &'w [f32] {
    parts::span(workspace, mlp.layout.lean_top(), mlp.layout.outputs())
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
    let stop_short = objective.loss.stops_short(mlp.layout.output_activation());
    forward(mlp, mode, params, x, workspace, stop_short);
    loss_of_outputs(mlp, objective, workspace)
}

/// Turns what [`forward`] has left of the last layer into its delta; returns the loss of the data.
#[inline(always)]
pub(super) fn loss_of_outputs(mlp: &Mlp<'_>, objective: &Objective<'_>, workspace: &mut [f32]) -> f32 {
    let (start, neurons) = (mlp.layout.lean_top(), mlp.layout.lean_workspace_len());
    let Some((neurons, scratch)) = workspace.split_at_mut_checked(neurons) else { return f32::NAN };
    let Some(top) = neurons.get_mut(start..start + mlp.layout.outputs()) else { return f32::NAN };
    kernels::lean_loss(mlp.engine.isa, objective, mlp.layout.output_activation(), top, scratch)
}

/// Replaces the outputs in the workspace by the delta that the caller brings.
#[cfg_attr(not(feature = "std"), inline(always))]
pub(super) fn set_delta(mlp: &Mlp<'_>, delta: Delta<'_>, workspace: &mut [f32]) {
    let activation = mlp.layout.output_activation();
    let (outputs, start) = (mlp.layout.outputs(), mlp.layout.lean_top());
    let (top, kept) = parts::split_mut(parts::from_mut(workspace, start), outputs);
    match delta {
        Delta::PreActivations(delta) => parts::copy(delta, top),
        Delta::Outputs(delta) => {
            if activation.slopes_at_pre_activation() {
                parts::copy(parts::part(kept, 0..outputs), top);
            }
            kernels::lean_slope(mlp.engine.isa, activation, delta, top);
        }
    }
}

#[cfg_attr(not(feature = "std"), inline(always))]
fn top<'w>(mlp: &Mlp<'_>, workspace: &'w mut [f32]) -> &'w mut [f32] {
    parts::span_mut(workspace, mlp.layout.lean_top(), mlp.layout.outputs())
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
    // As in `layers_forward`.
    let Some(x) = x.get(..layout.inputs()) else { return };
    let Some(workspace) = workspace.get_mut(..layout.lean_workspace_len()) else { return };
    let (mut end, mut params_end) = (layout.lean_workspace_len(), layout.trainable_len());
    for l in (usize::from(layout.is_by_output())..layout.layers().len()).rev() {
        let place = layout.below(l, params_end);
        params_end = place.offset;
        end -= block_len(layout, &place);
        if !is_simple(layout, &place) {
            let rows = 0..place.inputs + 1;
            any_backward(mlp, mode, &place, rows, x, &mut target, workspace, end, &mut input_delta);
            continue;
        }
        let Some((below, delta)) = workspace.split_at_mut_checked(end) else { return };
        let neurons = match (l, input_delta.take()) {
            (0, None) => Neurons::Inputs(x),
            (0, Some(below)) => Neurons::InputsAndDelta(x, below),
            (_, kept) => {
                input_delta = kept;
                let Some(values) = below.get_mut(end - place.inputs..) else { return };
                Neurons::Below(values, layout.activation_of(l - 1))
            }
        };
        let Some(delta) = delta.get(..place.outputs) else { return };
        plain(delta, neurons, target.of(place.range()));
    }
    if layout.is_by_output() {
        let place = layout.first();
        let Some(delta) = workspace.get(..place.outputs) else { return };
        some_outputs_back(mlp, delta, delta, x, input_delta.take(), target.of(place.range()));
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
    let (below, above) = parts::split_mut(workspace, start);
    let above = &*above;
    let residuals = |source| Residuals { layout, source, above, start };
    let below = match (l, input_delta.take()) {
        (0, None) => Below::Inputs(x),
        (0, Some(to)) => Below::InputsAndDelta(x, to, residuals(Source::Inputs)),
        // Nothing below has parameters.
        (_, None) if l <= layout.lowest() => {
            let block = block_len(&layout, &layout.place(l - 1));
            Below::Inputs(parts::span(below, start - block, place.inputs))
        }
        (_, wanted) => {
            *input_delta = wanted;
            let place = layout.place(l - 1);
            let block = parts::from_mut(below, start - block_len(&layout, &place));
            let (values, kept) = parts::split_mut(block, place.outputs);
            Below::Values(Values {
                values,
                kept: place.layer.keeps().then(|| parts::part(kept, 0..place.outputs)),
                activation: place.layer.activation,
                dropout: mode.dropout(place.index, place.layer),
                residuals: residuals(Source::Layer(l - 1)),
            })
        }
    };
    if matches!(place.layer.kind, Kind::Normalization) {
        let (_, scale) = place.statistics(target.params());
        let nothing = Gradient::Add(&[], &mut []);
        let delta = parts::part(above, 0..place.outputs);
        return kernels::lean_any_layer(mlp.engine.isa, LeanKind::Standardize(scale), rows, delta, below, nothing);
    }
    let moments = || [0, 1].map(|i| parts::element(above, kept_end(place) + i));
    let kind = match place.layer.kind {
        Kind::Dense { .. } => LeanKind::Dense(layout.penalty(place)),
        Kind::Activation => LeanKind::Activation,
        Kind::LayerNorm { .. } => LeanKind::SampleNorm(moments(), true),
        Kind::RmsNorm { .. } => LeanKind::SampleNorm(moments(), false),
        Kind::Embedding { column, categories, dimensions } => {
            LeanKind::Embedding(Embedded { column, categories, dimensions }, layout.penalty(place))
        }
        Kind::BatchNorm { .. } | Kind::Normalization => {
            return parts::mistake(
                "check_step has refused batch norm in the lean schedule, and the other has returned",
            );
        }
    };
    let delta = parts::part(above, 0..place.outputs);
    kernels::lean_any_layer(mlp.engine.isa, kind, rows, delta, below, target.of(place.range()));
}

impl Update<'_> {
    /// The part of it that concerns these parameters. (Inlined, so that a `static` trainer leaves the other optimizers out of the binary.)
    #[inline(always)]
    pub(super) fn of(&mut self, range: Range<usize>) -> Gradient<'_> {
        match self {
            Self::Apply { rule, params, state: [first, second] } => update_of(*rule, params, [first, second], range),
            Self::Store { params, gradient } => {
                Gradient::Add(parts::part(params, range.clone()), parts::part_mut(gradient, range))
            }
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
        if count > 0 { parts::part_mut(first, range.clone()) } else { &mut [][..] },
        if count > 1 { parts::part_mut(second, range.clone()) } else { &mut [][..] },
    ];
    Gradient::Apply(rule, parts::part_mut(params, range), state)
}
