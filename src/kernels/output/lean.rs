//! Losses of one sample in place, for the lean schedule.
#![forbid(unsafe_code)]

use super::elementwise::{binary_cross_entropy, derivatives, elementwise, smoothed, squared_error};
use super::softmax::softmax_row;
use super::weights::Weighing;
use super::{cross_entropy, custom, slope_in};
use crate::Isa;
use crate::activation::Activation;
use crate::kernels::activate::activate_in;
use crate::kernels::reduce;
use crate::kernels::rows::{load_lanes, store_lanes};
use crate::loss::{Labels, Loss, LossFunction, Objective};
use crate::parts;
use crate::simd::{Lanes, Simd, dispatch, fold16};
use core::ops::Range;

/// One sample's loss from its top layer, whose contents (see [`Output::values`](super::Output::values))
/// its delta replaces. The same bits as [`loss_and_delta`](super::loss_and_delta) on a batch of one.
/// `scratch` is as long as [`Loss::lean_scratch_len`] says.
///
/// Inlined for the sake of a loss that is a constant; the kernels are not.
#[inline(always)]
pub(crate) fn lean_loss(
    isa: Isa,
    objective: &Objective<'_>,
    activation: Activation,
    top: &mut [f32],
    scratch: &mut [f32],
) -> f32 {
    let (loss, labels, weighing) = (objective.loss, objective.targets.labels, Weighing::new(objective));
    let count = objective.count(1, top.len());
    let scale = loss.delta_scale(count);
    let total = match (loss, labels) {
        (Loss::BinaryCrossEntropy, Labels::Values(targets)) => logistic(isa, 0.0, targets, weighing, scale, top),
        (Loss::SmoothedBinaryCrossEntropy { smoothing }, Labels::Values(targets)) => {
            logistic(isa, smoothing, targets, weighing, scale, top)
        }
        (Loss::CrossEntropy, Labels::Classes(classes)) if weighing.mask.is_none() => {
            class(isa, parts::element(classes, 0), weighing, scale, top)
        }
        (Loss::CrossEntropy, Labels::Values(targets)) if weighing.mask.is_none() => {
            categorical(isa, targets, weighing, scale, top)
        }
        (Loss::CrossEntropy, labels) => soft_categorical(isa, 0.0, labels, weighing, scale, top),
        (Loss::SmoothedCrossEntropy { smoothing }, labels) => {
            soft_categorical(isa, smoothing, labels, weighing, scale, top)
        }
        (Loss::Custom(function), Labels::Values(targets)) => {
            let scratch = parts::part_mut(scratch, 0..loss.lean_scratch_len(activation, top.len()));
            custom_loss(isa, function, activation, targets, weighing, scale, top, scratch)
        }
        (Loss::HalfMeanSquaredError | Loss::MeanSquaredError, Labels::Values(targets))
            if activation.is_elementwise() && !activation.slopes_at_pre_activation() =>
        {
            squared(isa, activation, targets, weighing, scale, top)
        }
        (_, Labels::Values(targets)) => by_element(isa, loss, activation, targets, weighing, scale, top),
        (_, Labels::Classes(_)) => {
            parts::mistake("Objective::check has refused classes for this loss");
            f32::NAN
        }
    };
    total / loss.divisor(count)
}

/// Binary cross-entropy, smoothed or not.
fn logistic(isa: Isa, smoothing: f32, t: &[f32], weighing: Weighing<'_>, scale: f32, top: &mut [f32]) -> f32 {
    dispatch!(isa, s => in_place(
        s,
        top,
        t,
        weighing,
        #[inline(always)]
        |z, t| binary_cross_entropy(s, z, if smoothing > 0.0 { smoothed(s, t, smoothing) } else { t }, s.splat(scale)),
    ))
}

/// A squared error, on an activation that takes its slope at the value.
fn squared(isa: Isa, on: Activation, t: &[f32], weighing: Weighing<'_>, scale: f32, top: &mut [f32]) -> f32 {
    dispatch!(isa, s => in_place(
        s,
        top,
        t,
        weighing,
        #[inline(always)]
        |y, t| squared_error(s, on, y, t, s.splat(scale)),
    ))
}

/// Cross-entropy with a class index.
// Apart on a device too, whose stack then has no room for it when the pass goes back.
#[cfg_attr(not(feature = "std"), inline(never))]
fn class(isa: Isa, class: u32, weighing: Weighing<'_>, scale: f32, top: &mut [f32]) -> f32 {
    dispatch!(isa, s => {
        let term = cross_entropy::lean_of_class(s, top, class, scale);
        weighing.weigh(s, top);
        weighing.weigh_term(term)
    })
}

/// Cross-entropy with a distribution.
#[cfg_attr(not(feature = "std"), inline(never))]
fn categorical(isa: Isa, targets: &[f32], weighing: Weighing<'_>, scale: f32, top: &mut [f32]) -> f32 {
    dispatch!(isa, s => {
        let term = cross_entropy::lean(s, top, targets, scale);
        weighing.weigh(s, top);
        weighing.weigh_term(term)
    })
}

/// Cross-entropy, smoothed or masked.
fn soft_categorical(
    isa: Isa,
    smoothing: f32,
    labels: Labels<'_>,
    weighing: Weighing<'_>,
    scale: f32,
    top: &mut [f32],
) -> f32 {
    let soft = cross_entropy::SoftTargets::new(smoothing, labels, weighing.mask, top.len());
    dispatch!(isa, s => {
        let term = cross_entropy::lean_of_soft_targets(s, top, soft, scale);
        weighing.weigh(s, top);
        weighing.weigh_term(term)
    })
}

#[expect(clippy::too_many_arguments, reason = "what the other losses take, and the function and its room")]
fn custom_loss(
    isa: Isa,
    function: &dyn LossFunction,
    activation: Activation,
    targets: &[f32],
    weighing: Weighing<'_>,
    scale: f32,
    top: &mut [f32],
    scratch: &mut [f32],
) -> f32 {
    dispatch!(isa, s => custom_loss_in(s, function, activation, targets, weighing, scale, top, scratch))
}

#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "as above")]
fn custom_loss_in<S: Simd>(
    s: S,
    function: &dyn LossFunction,
    activation: Activation,
    targets: &[f32],
    weighing: Weighing<'_>,
    scale: f32,
    top: &mut [f32],
    scratch: &mut [f32],
) -> f32 {
    softmax_if(s, activation, top);
    let (delta, y) = parts::split_mut(scratch, top.len());
    let term = if custom::is_masked(weighing.mask, 0) {
        delta.fill(0.0);
        0.0
    } else if activation.slopes_at_pre_activation() {
        parts::copy(top, y);
        activate_in(s, activation, y);
        custom::sample(s, function, y, targets, scale, delta)
    } else {
        custom::sample(s, function, top, targets, scale, delta)
    };
    slope(s, activation, delta, top);
    if activation.is_elementwise() {
        weighing.leave_out(s, 0, top);
    }
    weighing.weigh(s, top);
    weighing.weigh_term(term)
}

/// The losses that work element by element, on any activation: replaces the top layer by its delta;
/// returns the sum of the addends.
fn by_element(
    isa: Isa,
    loss: Loss<'_>,
    activation: Activation,
    targets: &[f32],
    weighing: Weighing<'_>,
    scale: f32,
    top: &mut [f32],
) -> f32 {
    dispatch!(isa, s => by_element_in(s, loss, activation, targets, weighing, scale, top))
}

#[inline(always)]
fn by_element_in<S: Simd>(
    s: S,
    loss: Loss<'_>,
    activation: Activation,
    targets: &[f32],
    weighing: Weighing<'_>,
    scale: f32,
    top: &mut [f32],
) -> f32 {
    let softmax = activation == Activation::Softmax;
    softmax_if(s, activation, top);
    // The slope of a softmax needs the sum of d·y before its first element.
    let mean = if softmax {
        let mut sums = [0.0; 16];
        for at in (0..top.len()).step_by(16) {
            let (mut y, mut d, mut terms) = ([0.0; 16], [0.0; 16], [0.0; 16]);
            let len = (top.len() - at).min(16);
            let (top, targets) = (parts::span(top, at, len), parts::span(targets, at, len));
            parts::copy(top, parts::part_mut(&mut y, 0..len));
            let part = parts::part_mut(&mut d, 0..len);
            parts::copy(top, part);
            derivatives(s, loss, scale, part, targets, parts::part_mut(&mut terms, 0..len));
            weighing.leave_out(s, at, part);
            for i in (0..16).step_by(S::LANES) {
                let sum = load_lanes(s, &sums[i..], S::LANES);
                let (d, y) = (load_lanes(s, &d[i..], S::LANES), load_lanes(s, &y[i..], S::LANES));
                store_lanes(s, s.mul_add(d, y, sum), &mut sums[i..], S::LANES);
            }
        }
        s.splat(fold16(sums))
    } else {
        s.splat(0.0)
    };
    block_sum(
        top.len(),
        #[inline(always)]
        |block, terms| {
            let (at, len) = (block.start, block.len());
            let mut d = [0.0; 16];
            let (d, top) = (parts::part_mut(&mut d, 0..len), parts::part_mut(top, block.clone()));
            parts::copy(top, d);
            if activation.slopes_at_pre_activation() {
                activate_in(s, activation, d);
            }
            derivatives(s, loss, scale, d, parts::part(targets, block), terms);
            if softmax {
                weighing.leave_out(s, at, d);
                for i in (0..len).step_by(S::LANES) {
                    let lanes = S::LANES.min(len - i);
                    let (d_i, y) = (load_lanes(s, parts::from(d, i), lanes), load_lanes(s, parts::from(top, i), lanes));
                    store_lanes(s, s.mul(y, s.sub(d_i, mean)), parts::from_mut(d, i), lanes);
                }
            } else {
                slope_in(s, activation, d, top, len);
                weighing.leave_out(s, at, d);
            }
            weighing.leave_out(s, at, terms);
            weighing.weigh(s, d);
            weighing.weigh(s, terms);
            parts::copy(d, top);
        },
    )
}

#[inline(always)]
fn softmax_if<S: Simd>(s: S, activation: Activation, top: &mut [f32]) {
    if activation == Activation::Softmax {
        softmax_row(s, top);
    }
}

/// Replaces values by the deltas of [`elementwise`]; returns the sum of its addends.
#[inline(always)]
fn in_place<S: Simd>(
    s: S,
    values: &mut [f32],
    targets: &[f32],
    weighing: Weighing<'_>,
    f: impl Fn(S::Vector, S::Vector) -> (S::Vector, S::Vector, S::Vector) + Copy,
) -> f32 {
    // One output needs no buffers. The other partial sums turn a term of −0 into +0.
    if let ([value], [target], true) = (&mut *values, targets, weighing.is_plain()) {
        let (_, delta, term) = f(s.splat(*value), s.splat(*target));
        *value = s.first(delta);
        return s.first(s.add(s.splat(0.0), term));
    }
    block_sum(
        values.len(),
        #[inline(always)]
        |block, terms| {
            let mut delta = [0.0; 16];
            let delta = parts::part_mut(&mut delta, 0..terms.len());
            let (values, targets) = (parts::part_mut(values, block.clone()), parts::part(targets, block.clone()));
            // A copy: a call through a reference would be in a function of its own, which has no vectors.
            elementwise(s, values, targets, delta, terms, f);
            weighing.leave_out(s, block.start, delta);
            weighing.leave_out(s, block.start, terms);
            weighing.weigh(s, delta);
            weighing.weigh(s, terms);
            parts::copy(delta, values);
        },
    )
}

/// The sum of `len` addends in 16 partial sums; `fill` writes 16 of them at a time.
#[inline(always)]
pub(super) fn block_sum(len: usize, mut fill: impl FnMut(Range<usize>, &mut [f32])) -> f32 {
    let mut sums = [0.0; 16];
    for at in (0..len).step_by(16) {
        let mut terms = [0.0; 16];
        let block = at..len.min(at + 16);
        fill(block.clone(), parts::part_mut(&mut terms, 0..block.len()));
        for (sum, term) in sums.iter_mut().zip(terms) {
            *sum += term;
        }
    }
    fold16(sums)
}

#[inline(always)]
pub(super) fn slope<S: Simd>(s: S, activation: Activation, delta: &[f32], at: &mut [f32]) {
    let mean = if activation == Activation::Softmax { reduce::dot_in(s, delta, at) } else { 0.0 };
    for i in (0..at.len()).step_by(S::LANES) {
        let lanes = S::LANES.min(at.len() - i);
        let (d, value) = (load_lanes(s, parts::from(delta, i), lanes), load_lanes(s, parts::from(at, i), lanes));
        let d = match activation {
            Activation::Softmax => s.mul(value, s.sub(d, s.splat(mean))),
            activation => activation.delta(s, d, value),
        };
        store_lanes(s, d, parts::from_mut(at, i), lanes);
    }
}
