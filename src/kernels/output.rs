//! The top of a network: softmax, the losses with their deltas, and deltas that a caller brings.
#![forbid(unsafe_code)]

use super::reduce;
use super::rows::{load_lanes, store_lanes};
use crate::Isa;
use crate::activation::Activation;
use crate::loss::{Loss, Targets};
use crate::math;
use crate::simd::{Simd, dispatch, fold16};
use core::ops::Range;

/// What a loss is worked out from and into, for some samples of a batch.
pub(crate) struct Output<'a> {
    pub(crate) loss: Loss,
    /// The activation of the last layer.
    pub(crate) activation: Activation,
    pub(crate) targets: Targets<'a>,
    /// Outputs per sample.
    pub(crate) width: usize,
    /// See [`Loss::delta_scale`].
    pub(crate) scale: f32,
    /// Before: pre-activations where the loss is fused or the activation is
    /// softmax, else values. After: values. `[samples × width]`.
    pub(crate) values: &'a mut [f32],
    /// ∂loss/∂pre-activation, `[samples × width]`.
    pub(crate) delta: &'a mut [f32],
    /// The addends of the loss, [`Loss::terms_per_sample`] for each sample.
    pub(crate) terms: &'a mut [f32],
}

/// Fills in values, deltas and the addends of the loss.
pub(crate) fn loss_and_delta(isa: Isa, output: Output<'_>) {
    dispatch!(isa, s => loss_and_delta_in(s, output));
}

/// Replaces each row of `width` pre-activations by its softmax.
pub(crate) fn softmax(isa: Isa, z: &mut [f32], width: usize) {
    dispatch!(isa, s => softmax_rows(s, z, width));
}

/// One sample's loss from its top layer, whose contents (see [`Output::values`])
/// its delta replaces. The same bits as [`loss_and_delta`] on a batch of one.
pub(crate) fn lean_loss(isa: Isa, loss: Loss, activation: Activation, targets: Targets<'_>, top: &mut [f32]) -> f32 {
    dispatch!(isa, s => lean_loss_in(s, loss, activation, targets, top))
}

/// Turns one sample's outputs `y` into ∂loss/∂pre-activations, given ∂loss/∂outputs.
pub(crate) fn lean_slope(isa: Isa, activation: Activation, delta: &[f32], y: &mut [f32]) {
    dispatch!(isa, s => lean_slope_in(s, activation, delta, y));
}

/// Turns ∂loss/∂outputs into ∂loss/∂pre-activations, in place; `y` are the outputs.
pub(crate) fn slope(isa: Isa, activation: Activation, delta: &mut [f32], y: &[f32], width: usize) {
    dispatch!(isa, s => slope_in(s, activation, delta, y, width));
}

#[inline(always)]
fn loss_and_delta_in<S: Simd>(s: S, output: Output<'_>) {
    let Output { loss, activation, targets, width, scale, values, delta, terms } = output;
    match (loss, targets) {
        (Loss::BinaryCrossEntropy, Targets::Values(targets)) => {
            elementwise(
                s,
                values,
                targets,
                delta,
                terms,
                #[inline(always)]
                |z, t| binary_cross_entropy(s, z, t, s.splat(scale)),
            );
        }
        (Loss::CrossEntropy, targets) => cross_entropy(s, values, targets, delta, terms, width, scale),
        (_, Targets::Values(targets)) => {
            if activation == Activation::Softmax {
                softmax_rows(s, values, width);
            }
            elementwise(
                s,
                values,
                targets,
                delta,
                terms,
                #[inline(always)]
                |y, t| squared_error(s, activation, y, t, s.splat(scale)),
            );
            if activation == Activation::Softmax {
                softmax_slope(s, delta, values, width);
            }
        }
        (_, Targets::Classes(_)) => unreachable!("check_targets has refused classes for this loss"),
    }
}

/// `(value, delta, term)` of each element and target.
#[inline(always)]
fn elementwise<S: Simd>(
    s: S,
    values: &mut [f32],
    targets: &[f32],
    delta: &mut [f32],
    terms: &mut [f32],
    f: impl Fn(S::Vector, S::Vector) -> (S::Vector, S::Vector, S::Vector),
) {
    let len = values.len();
    for at in (0..len).step_by(S::LANES) {
        let lanes = S::LANES.min(len - at);
        let (y, t) = (load_lanes(s, &values[at..], lanes), load_lanes(s, &targets[at..], lanes));
        let (y, d, term) = f(y, t);
        store_lanes(s, y, &mut values[at..], lanes);
        store_lanes(s, d, &mut delta[at..], lanes);
        store_lanes(s, term, &mut terms[at..], lanes);
    }
}

/// Value y, delta (y − t)·scale times the activation's slope, term (y − t)².
#[inline(always)]
fn squared_error<S: Simd>(
    s: S,
    activation: Activation,
    y: S::Vector,
    t: S::Vector,
    scale: S::Vector,
) -> (S::Vector, S::Vector, S::Vector) {
    let error = s.sub(y, t);
    (y, activation.delta(s, s.mul(error, scale), y), s.mul(error, error))
}

/// With p = sigmoid(z): value p, delta (p − t)·scale, term
/// `(max(z, 0) − z·t) + ln(1 + e^−|z|)`, which is exact however large |z| is.
#[inline(always)]
fn binary_cross_entropy<S: Simd>(
    s: S,
    z: S::Vector,
    t: S::Vector,
    scale: S::Vector,
) -> (S::Vector, S::Vector, S::Vector) {
    let p = math::sigmoid(s, z);
    let delta = s.mul(s.sub(p, t), scale);
    let linear = s.sub(s.max(s.splat(0.0), z), s.mul(z, t));
    (p, delta, s.add(linear, math::softplus_of_negative(s, z)))
}

/// Softmax, then delta `(p·T − t)·scale` with T = Σ t, and the term
/// `Σ tⱼ·(ln Σ e^(z−m) + (m − zⱼ))`, m being the largest z of the row.
#[inline(always)]
fn cross_entropy<S: Simd>(
    s: S,
    values: &mut [f32],
    targets: Targets<'_>,
    delta: &mut [f32],
    terms: &mut [f32],
    width: usize,
    scale: f32,
) {
    let rows = values.chunks_exact_mut(width).zip(delta.chunks_exact_mut(width)).zip(terms);
    let scale = s.splat(scale);
    for (row, ((z, delta), term)) in rows.enumerate() {
        // Until the deltas are known, their place holds the pre-activations.
        delta.copy_from_slice(z);
        let (largest, sum) = softmax_row(s, z);
        let ln_sum = lane(s, math::ln(s, s.splat(sum)));
        match targets {
            Targets::Classes(classes) => {
                let class = classes[row] as usize;
                *term = ln_sum + (largest - delta[class]);
                delta_of(
                    s,
                    z,
                    delta,
                    #[inline(always)]
                    |p, _| s.mul(p, scale),
                );
                let right = s.mul(s.sub(s.splat(z[class]), s.splat(1.0)), scale);
                delta[class] = lane(s, right);
            }
            Targets::Values(targets) => {
                let targets = &targets[row * width..(row + 1) * width];
                *term = weighted(s, targets, delta, ln_sum, largest);
                let total = reduce::sum_in(s, targets);
                delta_of(
                    s,
                    z,
                    delta,
                    #[inline(always)]
                    |p, at| {
                        let t = load_lanes(s, &targets[at..], S::LANES.min(width - at));
                        s.mul(s.sub(s.mul(p, s.splat(total)), t), scale)
                    },
                );
            }
        }
    }
}

/// `delta = f(p, index of p's first lane)`.
#[inline(always)]
fn delta_of<S: Simd>(s: S, p: &[f32], delta: &mut [f32], f: impl Fn(S::Vector, usize) -> S::Vector) {
    for at in (0..p.len()).step_by(S::LANES) {
        let lanes = S::LANES.min(p.len() - at);
        let d = f(load_lanes(s, &p[at..], lanes), at);
        store_lanes(s, d, &mut delta[at..], lanes);
    }
}

/// `Σ tⱼ·(ln_sum + (largest − zⱼ))` in 16 partial sums.
#[inline(always)]
fn weighted<S: Simd>(s: S, targets: &[f32], z: &[f32], ln_sum: f32, largest: f32) -> f32 {
    reduce::partials(
        s,
        targets,
        z,
        #[inline(always)]
        |t, z, sum| s.add(sum, s.mul(t, s.add(s.splat(ln_sum), s.sub(s.splat(largest), z)))),
    )
}

#[inline(always)]
fn softmax_rows<S: Simd>(s: S, z: &mut [f32], width: usize) {
    for row in z.chunks_exact_mut(width) {
        softmax_row(s, row);
    }
}

/// Replaces z by `e^(z−m) / Σ e^(z−m)`; returns m, the largest, and the sum.
#[inline(always)]
fn softmax_row<S: Simd>(s: S, z: &mut [f32]) -> (f32, f32) {
    let largest = largest(s, z);
    super::map::map(
        s,
        z,
        #[inline(always)]
        |z| math::exp(s, s.sub(z, s.splat(largest))),
    );
    let sum = reduce::sum_in(s, z);
    super::map::map(
        s,
        z,
        #[inline(always)]
        |e| s.div(e, s.splat(sum)),
    );
    (largest, sum)
}

/// The largest element; NaN where the comparison lets one through.
#[inline(always)]
fn largest<S: Simd>(s: S, z: &[f32]) -> f32 {
    let mut largest = s.splat(f32::NEG_INFINITY);
    let (whole, rest) = S::chunks(z);
    for z in whole {
        largest = s.max(s.load(z), largest);
    }
    let mut lanes = [f32::NEG_INFINITY; 16];
    s.store(largest, &mut S::chunks_mut(&mut lanes).0[0]);
    let largest = lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |a, &b| if b > a { b } else { a });
    if largest == 0.0 { 0.0 } else { largest }
}

/// ∂loss/∂z of a softmax from ∂loss/∂y = d, in place: `yⱼ·(dⱼ − Σₖ dₖ·yₖ)`.
#[inline(always)]
fn softmax_slope<S: Simd>(s: S, delta: &mut [f32], y: &[f32], width: usize) {
    for (delta, y) in delta.chunks_exact_mut(width).zip(y.chunks_exact(width)) {
        let mean = s.splat(reduce::dot_in(s, delta, y));
        for at in (0..width).step_by(S::LANES) {
            let lanes = S::LANES.min(width - at);
            let d = s.sub(load_lanes(s, &delta[at..], lanes), mean);
            let d = s.mul(load_lanes(s, &y[at..], lanes), d);
            store_lanes(s, d, &mut delta[at..], lanes);
        }
    }
}

#[inline(always)]
fn lean_loss_in<S: Simd>(s: S, loss: Loss, activation: Activation, targets: Targets<'_>, top: &mut [f32]) -> f32 {
    let scale = s.splat(loss.delta_scale(1, top.len()));
    let total = match (loss, targets) {
        (Loss::BinaryCrossEntropy, Targets::Values(targets)) => in_place(
            s,
            top,
            targets,
            #[inline(always)]
            |z, t| binary_cross_entropy(s, z, t, scale),
        ),
        (Loss::CrossEntropy, Targets::Classes(classes)) => {
            let class = classes[0] as usize;
            let z = top[class];
            let (largest, sum) = softmax_row(s, top);
            let right = s.mul(s.sub(s.splat(top[class]), s.splat(1.0)), scale);
            super::map::map(
                s,
                top,
                #[inline(always)]
                |p| s.mul(p, scale),
            );
            top[class] = lane(s, right);
            lane(s, math::ln(s, s.splat(sum))) + (largest - z)
        }
        (Loss::CrossEntropy, Targets::Values(targets)) => {
            // The addends need z and the sum of the exponentials, the deltas need the
            // exponentials: in place, these are worked out twice.
            let largest = largest(s, top);
            let sum = block_sum(
                top.len(),
                #[inline(always)]
                |block, terms| {
                    terms.copy_from_slice(&top[block]);
                    super::map::map(
                        s,
                        terms,
                        #[inline(always)]
                        |z| math::exp(s, s.sub(z, s.splat(largest))),
                    );
                },
            );
            let ln_sum = lane(s, math::ln(s, s.splat(sum)));
            let term = weighted(s, targets, top, ln_sum, largest);
            softmax_row(s, top);
            let all = s.splat(reduce::sum_in(s, targets));
            in_place(
                s,
                top,
                targets,
                #[inline(always)]
                |p, t| (p, s.mul(s.sub(s.mul(p, all), t), scale), s.splat(0.0)),
            );
            term
        }
        (_, Targets::Values(targets)) if activation == Activation::Softmax => {
            softmax_row(s, top);
            let mean = reduce::partials(
                s,
                top,
                targets,
                #[inline(always)]
                |y, t, sum| s.mul_add(s.mul(s.sub(y, t), scale), y, sum),
            );
            in_place(
                s,
                top,
                targets,
                #[inline(always)]
                |y, t| {
                    let e = s.sub(y, t);
                    (y, s.mul(y, s.sub(s.mul(e, scale), s.splat(mean))), s.mul(e, e))
                },
            )
        }
        (_, Targets::Values(targets)) => in_place(
            s,
            top,
            targets,
            #[inline(always)]
            |y, t| squared_error(s, activation, y, t, scale),
        ),
        (_, Targets::Classes(_)) => unreachable!("check_targets has refused classes for this loss"),
    };
    total / loss.divisor(1, top.len())
}

/// Replaces values by the deltas of [`elementwise`]; returns the sum of its addends.
#[inline(always)]
fn in_place<S: Simd>(
    s: S,
    values: &mut [f32],
    targets: &[f32],
    f: impl Fn(S::Vector, S::Vector) -> (S::Vector, S::Vector, S::Vector),
) -> f32 {
    block_sum(
        values.len(),
        #[inline(always)]
        |block, terms| {
            let mut delta = [0.0; 16];
            let delta = &mut delta[..terms.len()];
            elementwise(s, &mut values[block.clone()], &targets[block.clone()], delta, terms, &f);
            values[block].copy_from_slice(delta);
        },
    )
}

/// The sum of `len` addends in 16 partial sums; `fill` writes 16 of them at a time.
#[inline(always)]
fn block_sum(len: usize, mut fill: impl FnMut(Range<usize>, &mut [f32])) -> f32 {
    let mut sums = [0.0; 16];
    for at in (0..len).step_by(16) {
        let mut terms = [0.0; 16];
        let block = at..len.min(at + 16);
        fill(block.clone(), &mut terms[..block.len()]);
        for (sum, term) in sums.iter_mut().zip(terms) {
            *sum += term;
        }
    }
    fold16(sums)
}

#[inline(always)]
fn lean_slope_in<S: Simd>(s: S, activation: Activation, delta: &[f32], y: &mut [f32]) {
    let mean = if activation == Activation::Softmax { reduce::dot_in(s, delta, y) } else { 0.0 };
    for at in (0..y.len()).step_by(S::LANES) {
        let lanes = S::LANES.min(y.len() - at);
        let (d, value) = (load_lanes(s, &delta[at..], lanes), load_lanes(s, &y[at..], lanes));
        let d = match activation {
            Activation::Softmax => s.mul(value, s.sub(d, s.splat(mean))),
            activation => activation.delta(s, d, value),
        };
        store_lanes(s, d, &mut y[at..], lanes);
    }
}

#[inline(always)]
fn slope_in<S: Simd>(s: S, activation: Activation, delta: &mut [f32], y: &[f32], width: usize) {
    if activation == Activation::Softmax {
        return softmax_slope(s, delta, y, width);
    }
    for at in (0..y.len()).step_by(S::LANES) {
        let lanes = S::LANES.min(y.len() - at);
        let d = activation.delta(s, load_lanes(s, &delta[at..], lanes), load_lanes(s, &y[at..], lanes));
        store_lanes(s, d, &mut delta[at..], lanes);
    }
}

/// The first lane.
#[inline(always)]
pub(crate) fn lane<S: Simd>(s: S, v: S::Vector) -> f32 {
    let mut lane = [0.0];
    s.store_part(v, &mut lane);
    lane[0]
}
