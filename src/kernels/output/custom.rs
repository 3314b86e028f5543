//! A loss that the user has written.
#![forbid(unsafe_code)]

use super::weights::weigh;
use crate::activation::Activation;
use crate::kernels::activate::activate_in;
use crate::loss::LossFunction;
use crate::parts;
use crate::simd::Simd;

/// Addend and ∂loss/∂outputs of each sample, +0 where it is masked; `values` are as in
/// [`Output::values`](super::Output::values), softmax applied.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "the parts of an Output, most of them borrowed from it mutably")]
pub(super) fn custom<S: Simd>(
    s: S,
    function: &dyn LossFunction,
    activation: Activation,
    values: &[f32],
    targets: &[f32],
    mask: Option<&[f32]>,
    delta: &mut [f32],
    terms: &mut [f32],
    width: usize,
    scale: f32,
    scratch: &mut [f32],
) {
    let rows =
        values.chunks_exact(width).zip(targets.chunks_exact(width)).zip(delta.chunks_exact_mut(width)).zip(terms);
    for (row, (((values, targets), delta), term)) in rows.enumerate() {
        if is_masked(mask, row * width) {
            delta.fill(0.0);
            *term = 0.0;
            continue;
        }
        *term = if activation.slopes_at_pre_activation() {
            let y = parts::part_mut(scratch, 0..width);
            parts::copy(values, y);
            activate_in(s, activation, y);
            sample(s, function, y, targets, scale, delta)
        } else {
            sample(s, function, values, targets, scale, delta)
        };
    }
}

/// Whether the sample whose mask begins at `at` is left out.
#[inline(always)]
pub(super) fn is_masked(mask: Option<&[f32]>, at: usize) -> bool {
    mask.is_some_and(|mask| parts::element(mask, at) == 0.0)
}

/// Writes ∂loss/∂outputs of one sample; returns its addend.
#[inline(always)]
pub(super) fn sample<S: Simd>(
    s: S,
    function: &dyn LossFunction,
    outputs: &[f32],
    targets: &[f32],
    scale: f32,
    delta: &mut [f32],
) -> f32 {
    delta.fill(0.0);
    function.derivative(outputs, targets, delta);
    weigh(s, scale, delta);
    function.value(outputs, targets)
}
