//! The lean schedule: one sample, one float of workspace per neuron, each row of
//! weights touched once on the way back.
//!
//! The workspace holds the values of layer after layer. Backwards, a layer's
//! deltas replace its values as soon as these have fed the layer's own update.

use super::{Delta, Mlp, Update};
use crate::activation::Activation;
use crate::backend::Engine;
use crate::kernels::{self, Gradient, Neurons, Rows, RowsMut};
use crate::layout::{Layout, Place};
use crate::loss::{Loss, Targets};

impl Layout<'_> {
    /// Floats of workspace in the lean schedule: one per neuron.
    pub const fn lean_workspace_len(&self) -> usize {
        let (mut neurons, mut l) = (0, 0);
        while l < self.layers().len() {
            neurons += self.layers()[l].units();
            l += 1;
        }
        neurons
    }
}

/// Runs one sample forward; returns the values of the last layer, or its
/// pre-activations where `stop_short`.
pub(super) fn forward<'w>(
    mlp: &Mlp<'_>,
    params: &[f32],
    x: &[f32],
    workspace: &'w mut [f32],
    stop_short: bool,
) -> &'w [f32] {
    let last = mlp.layout.layers().len() - 1;
    let mut at = 0;
    for place in mlp.layout.places() {
        let (below, own) = workspace.split_at_mut(at);
        let below = if place.index == 0 { x } else { &below[at - place.inputs..] };
        let own = &mut own[..place.outputs];
        let (weights, bias) = place.split(params);
        let activation = if stop_short && place.index == last { Activation::Linear } else { place.activation };
        let y = RowsMut::dense(own, place.outputs);
        kernels::forward(
            Engine::own(mlp.engine.isa),
            Rows::dense(below, place.inputs),
            weights,
            bias,
            activation,
            y,
            &mut [],
        );
        at += place.outputs;
    }
    let top = &mut workspace[at - mlp.layout.outputs()..at];
    if mlp.layout.output_activation() == Activation::Softmax && !stop_short {
        kernels::softmax(mlp.engine.isa, top, top.len());
    }
    top
}

/// The values that [`forward`] has left.
pub(super) fn outputs<'w>(mlp: &Mlp<'_>, workspace: &'w [f32]) -> &'w [f32] {
    let end = mlp.layout.lean_workspace_len();
    &workspace[end - mlp.layout.outputs()..end]
}

/// Runs one sample forward, and leaves the delta of the last layer in the workspace; returns the loss.
pub(super) fn loss(
    mlp: &Mlp<'_>,
    loss: Loss,
    x: &[f32],
    targets: Targets<'_>,
    params: &[f32],
    workspace: &mut [f32],
) -> f32 {
    let activation = mlp.layout.output_activation();
    forward(mlp, params, x, workspace, loss.top(activation) != activation);
    kernels::lean_loss(mlp.engine.isa, loss, activation, targets, top(mlp, workspace))
}

/// Replaces the outputs in the workspace by the delta that the caller brings.
pub(super) fn set_delta(mlp: &Mlp<'_>, delta: Delta<'_>, workspace: &mut [f32]) {
    let top = top(mlp, workspace);
    match delta {
        Delta::PreActivations(delta) => top.copy_from_slice(delta),
        Delta::Outputs(delta) => kernels::lean_slope(mlp.engine.isa, mlp.layout.output_activation(), delta, top),
    }
}

fn top<'w>(mlp: &Mlp<'_>, workspace: &'w mut [f32]) -> &'w mut [f32] {
    let end = mlp.layout.lean_workspace_len();
    &mut workspace[end - mlp.layout.outputs()..end]
}

/// Runs the delta in the workspace backward, updating each layer on the way.
pub(super) fn backward(
    mlp: &Mlp<'_>,
    x: &[f32],
    mut target: Update<'_>,
    workspace: &mut [f32],
    mut input_delta: Option<&mut [f32]>,
) {
    if let Update::Store { gradient, .. } = &mut target {
        gradient.fill(0.0);
    }
    let mut end = mlp.layout.lean_workspace_len();
    for l in (0..mlp.layout.layers().len()).rev() {
        let place = mlp.layout.place(l);
        let (below, delta) = workspace[..end].split_at_mut(end - place.outputs);
        end -= place.outputs;
        let neurons = match (l, input_delta.take()) {
            (0, None) => Neurons::Inputs(x),
            (0, Some(below)) => Neurons::InputsAndDelta(x, below),
            (_, kept) => {
                input_delta = kept;
                Neurons::Below(&mut below[end - place.inputs..], mlp.layout.layers()[l - 1].activation())
            }
        };
        kernels::lean_layer(mlp.engine.isa, delta, neurons, target.of_layer(&place));
    }
}

impl Update<'_> {
    /// The part of it that concerns one layer.
    fn of_layer(&mut self, place: &Place) -> Gradient<'_> {
        let range = place.offset..place.offset + place.params();
        match self {
            Self::Apply { rule, params, state } => {
                let [first, second] = state;
                let count = rule.states();
                let state = [
                    if count > 0 { &mut first[range.clone()] } else { &mut [][..] },
                    if count > 1 { &mut second[range.clone()] } else { &mut [][..] },
                ];
                Gradient::Apply(rule, &mut params[range], state)
            }
            Self::Store { params, gradient } => Gradient::Add(&params[range.clone()], &mut gradient[range]),
        }
    }
}
