//! The top of a network: softmax, the losses with their deltas, and deltas that a caller brings.
#![forbid(unsafe_code)]

mod cross_entropy;
mod custom;
mod elementwise;
mod lean;
mod log_cosh;
mod members;
mod softmax;
mod weights;

use super::activate::{activate_in, slopes};
use crate::Isa;
use crate::activation::Activation;
use crate::loss::{Labels, Loss, Objective};
use crate::simd::{Simd, apart, dispatch};
use elementwise::{binary_cross_entropy, derivatives, elementwise, smoothed, squared_error};
pub(crate) use lean::lean_loss;
pub(crate) use members::{MembersOutput, members_loss, members_scratch_len, members_softmax};
use softmax::{softmax_rows, softmax_slope};
use weights::{leave_out, weigh_samples};

/// What a loss is worked out from and into, for some samples of a batch.
pub(crate) struct Output<'a> {
    pub(crate) objective: &'a Objective<'a>,
    /// The activation of the last layer.
    pub(crate) activation: Activation,
    /// Outputs per sample.
    pub(crate) width: usize,
    /// See [`Loss::delta_scale`].
    pub(crate) scale: f32,
    /// Before: pre-activations where [`Loss::top`] is not the activation, else values. After: values.
    /// `[samples × width]`.
    pub(crate) values: &'a mut [f32],
    /// ∂loss/∂pre-activation, `[samples × width]`.
    pub(crate) delta: &'a mut [f32],
    /// The addends of the loss, [`Loss::terms_per_sample`] for each sample.
    pub(crate) terms: &'a mut [f32],
    /// At least `width` floats.
    pub(crate) scratch: &'a mut [f32],
}

/// Fills in values, deltas and the addends of the loss.
pub(crate) fn loss_and_delta(isa: Isa, output: Output<'_>) {
    dispatch!(isa, s => loss_and_delta_in(s, output));
}

/// Replaces each row of `width` pre-activations by its softmax.
pub(crate) fn softmax(isa: Isa, z: &mut [f32], width: usize) {
    dispatch!(isa, s => softmax_rows(s, z, width));
}

/// Turns one sample's outputs `y` into ∂loss/∂pre-activations, given ∂loss/∂outputs.
pub(crate) fn lean_slope(isa: Isa, activation: Activation, delta: &[f32], y: &mut [f32]) {
    dispatch!(isa, s => lean::slope(s, activation, delta, y));
}

/// Turns ∂loss/∂outputs into ∂loss/∂pre-activations, in place; `y` are the outputs.
pub(crate) fn slope(isa: Isa, activation: Activation, delta: &mut [f32], y: &[f32], width: usize) {
    dispatch!(isa, s => slope_in(s, activation, delta, y, width));
}

#[inline(always)]
fn loss_and_delta_in<S: Simd>(s: S, output: Output<'_>) {
    let Output { objective, activation, width, scale, values, delta, terms, scratch } = output;
    let (loss, labels, mask) = (objective.loss, objective.targets.labels, objective.targets.mask);
    match (loss, labels) {
        (Loss::BinaryCrossEntropy, Labels::Values(targets)) => {
            elementwise(
                s,
                values,
                targets,
                delta,
                terms,
                #[inline(always)]
                |z, t| binary_cross_entropy(s, z, t, s.splat(scale)),
            );
            leave_out(s, mask, delta);
            leave_out(s, mask, terms);
        }
        (Loss::SmoothedBinaryCrossEntropy { smoothing }, Labels::Values(targets)) => {
            elementwise(
                s,
                values,
                targets,
                delta,
                terms,
                #[inline(always)]
                |z, t| binary_cross_entropy(s, z, smoothed(s, t, smoothing), s.splat(scale)),
            );
            leave_out(s, mask, delta);
            leave_out(s, mask, terms);
        }
        (Loss::CrossEntropy, labels) if mask.is_none() => {
            apart!(s => cross_entropy::cross_entropy(s, values, labels, delta, terms, width, scale));
        }
        (Loss::CrossEntropy, labels) => {
            let soft = cross_entropy::SoftTargets::new(0.0, labels, mask, width);
            apart!(s => cross_entropy::of_soft_targets(s, values, soft, delta, terms, scale));
        }
        (Loss::SmoothedCrossEntropy { smoothing }, labels) => {
            let soft = cross_entropy::SoftTargets::new(smoothing, labels, mask, width);
            apart!(s => cross_entropy::of_soft_targets(s, values, soft, delta, terms, scale));
        }
        (Loss::Custom(function), Labels::Values(targets)) => {
            if activation == Activation::Softmax {
                softmax_rows(s, values, width);
            }
            custom::custom(s, function, activation, values, targets, mask, delta, terms, width, scale, scratch);
            apart!(s => through_activation(s, activation, mask, delta, values, width));
        }
        (Loss::HalfMeanSquaredError | Loss::MeanSquaredError, Labels::Values(targets))
            if !activation.slopes_at_pre_activation() =>
        {
            if activation == Activation::Softmax {
                softmax_rows(s, values, width);
            }
            apart!(s => {
                elementwise(
                    s,
                    values,
                    targets,
                    delta,
                    terms,
                    #[inline(always)]
                    |y, t| squared_error(s, activation, y, t, s.splat(scale)),
                );
            });
            leave_out(s, mask, delta);
            leave_out(s, mask, terms);
            if activation == Activation::Softmax {
                softmax_slope(s, delta, values, width);
            }
        }
        (_, Labels::Values(targets)) => {
            if activation == Activation::Softmax {
                softmax_rows(s, values, width);
            }
            delta.copy_from_slice(values);
            if activation.slopes_at_pre_activation() {
                apart!(s => activate_in(s, activation, delta));
            }
            derivatives(s, loss, scale, delta, targets, terms);
            leave_out(s, mask, terms);
            apart!(s => through_activation(s, activation, mask, delta, values, width));
        }
        (_, Labels::Classes(_)) => unreachable!("Objective::check has refused classes for this loss"),
    }
    if objective.is_weighted() {
        weigh_samples(s, objective, delta, terms, width);
    }
}

/// Turns ∂loss/∂outputs into ∂loss/∂pre-activations where the mask leaves them, and `values` that
/// are pre-activations into outputs.
#[inline(always)]
fn through_activation<S: Simd>(
    s: S,
    activation: Activation,
    mask: Option<&[f32]>,
    delta: &mut [f32],
    values: &mut [f32],
    width: usize,
) {
    if activation == Activation::Softmax {
        // An output that is left out still moves with the others.
        leave_out(s, mask, delta);
        softmax_slope(s, delta, values, width);
    } else {
        slope_in(s, activation, delta, values, width);
        leave_out(s, mask, delta);
    }
    if activation.slopes_at_pre_activation() {
        activate_in(s, activation, values);
    }
}

/// `at`: the outputs, or the pre-activations where the activation takes its slope there.
#[inline(always)]
fn slope_in<S: Simd>(s: S, activation: Activation, delta: &mut [f32], at: &[f32], width: usize) {
    if activation == Activation::Softmax {
        return softmax_slope(s, delta, at, width);
    }
    slopes(s, activation, delta, at);
}
