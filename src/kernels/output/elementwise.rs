//! Losses that work element by element.
#![forbid(unsafe_code)]

use super::log_cosh::log_cosh;
use crate::activation::Activation;
use crate::kernels::rows::{load_lanes, store_lanes};
use crate::loss::Loss;
use crate::math;
use crate::parts;
use crate::simd::Simd;

/// Where the losses of probabilities and Kullback-Leibler limit them, and what Poisson adds: Keras's epsilon.
const EPSILON: f32 = 1e-7;

/// `(value, delta, term)` of each element and target.
#[inline(always)]
pub(super) fn elementwise<S: Simd>(
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
        let (y, t) = (load_lanes(s, parts::from(values, at), lanes), load_lanes(s, parts::from(targets, at), lanes));
        let (y, d, term) = f(y, t);
        store_lanes(s, y, parts::from_mut(values, at), lanes);
        store_lanes(s, d, parts::from_mut(delta, at), lanes);
        store_lanes(s, term, parts::from_mut(terms, at), lanes);
    }
}

/// Value y, delta (y − t)·scale times the activation's slope, term (y − t)².
#[inline(always)]
pub(super) fn squared_error<S: Simd>(
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
pub(super) fn binary_cross_entropy<S: Simd>(
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

/// The target of a smoothed binary cross-entropy: `t·(1 − smoothing) + smoothing/2`.
#[inline(always)]
pub(super) fn smoothed<S: Simd>(s: S, t: S::Vector, smoothing: f32) -> S::Vector {
    s.add(s.mul(t, s.splat(1.0 - smoothing)), s.splat(smoothing * 0.5))
}

/// Replaces each output y by the derivative of its addend, times `scale` (see [`Loss::delta_scale`]);
/// writes the addends. For all losses that are neither fused nor custom.
///
/// One function for both schedules: inlined into each it would be there dozens of times.
pub(super) fn derivatives<S: Simd>(
    s: S,
    loss: Loss<'_>,
    scale: f32,
    y: &mut [f32],
    targets: &[f32],
    terms: &mut [f32],
) {
    s.outline(
        #[inline(always)]
        move |s| derivatives_in(s, loss, scale, y, targets, terms),
    );
}

#[inline(always)]
fn derivatives_in<S: Simd>(s: S, loss: Loss<'_>, scale: f32, y: &mut [f32], targets: &[f32], terms: &mut [f32]) {
    let c = s.splat(scale);
    match loss {
        Loss::HalfMeanSquaredError | Loss::MeanSquaredError => each(
            s,
            y,
            targets,
            terms,
            #[inline(always)]
            |y, t| {
                let e = s.sub(y, t);
                (s.mul(e, c), s.mul(e, e))
            },
        ),
        Loss::MeanAbsoluteError => each(
            s,
            y,
            targets,
            terms,
            #[inline(always)]
            |y, t| {
                let e = s.sub(y, t);
                (by_sign(s, e, c, s.neg(c)), s.abs(e))
            },
        ),
        Loss::Huber { delta } => each(
            s,
            y,
            targets,
            terms,
            #[inline(always)]
            |y, t| huber(s, s.sub(y, t), delta, c),
        ),
        Loss::LogCosh => each(
            s,
            y,
            targets,
            terms,
            #[inline(always)]
            |y, t| {
                let e = s.sub(y, t);
                (s.mul(math::tanh(s, e), c), log_cosh(s, e))
            },
        ),
        Loss::Quantile { quantile } => each(
            s,
            y,
            targets,
            terms,
            #[inline(always)]
            |y, t| {
                let e = s.sub(y, t);
                let (above, below) = (s.splat(1.0 - quantile), s.splat(-quantile));
                (by_sign(s, e, s.mul(above, c), s.mul(below, c)), s.max(s.mul(above, e), s.mul(below, e)))
            },
        ),
        Loss::Poisson => each(
            s,
            y,
            targets,
            terms,
            #[inline(always)]
            |y, t| {
                let mean = s.add(y, s.splat(EPSILON));
                let derivative = s.sub(s.splat(1.0), s.div(t, mean));
                (s.mul(derivative, c), s.sub(y, s.mul(t, math::ln(s, mean))))
            },
        ),
        Loss::Hinge => each(
            s,
            y,
            targets,
            terms,
            #[inline(always)]
            |y, t| {
                let (zero, margin) = (s.splat(0.0), s.sub(s.splat(1.0), s.mul(t, y)));
                (s.select(s.gt(margin, zero), s.mul(s.neg(t), c), zero), s.max(zero, margin))
            },
        ),
        Loss::BinaryCrossEntropyOfProbabilities => each(
            s,
            y,
            targets,
            terms,
            #[inline(always)]
            |y, t| binary_cross_entropy_of_probability(s, y, t, c),
        ),
        Loss::CrossEntropyOfProbabilities => each(
            s,
            y,
            targets,
            terms,
            #[inline(always)]
            |y, t| {
                let highest = 1.0 - EPSILON;
                let derivative = within(s, y, highest, s.mul(s.div(s.neg(t), y), c));
                (derivative, s.mul(s.neg(t), math::ln(s, limited(s, y, highest))))
            },
        ),
        Loss::KullbackLeibler => each(
            s,
            y,
            targets,
            terms,
            #[inline(always)]
            |y, t| {
                let t = limited(s, t, 1.0);
                let derivative = within(s, y, 1.0, s.mul(s.div(s.neg(t), y), c));
                (derivative, s.mul(t, math::ln(s, s.div(t, limited(s, y, 1.0)))))
            },
        ),
        Loss::BinaryCrossEntropy
        | Loss::SmoothedBinaryCrossEntropy { .. }
        | Loss::CrossEntropy
        | Loss::SmoothedCrossEntropy { .. }
        | Loss::Custom(_) => parts::mistake("fused and custom losses have kernels of their own"),
    }
}

/// `(y, term) = f(y, t)`, element by element.
#[inline(always)]
fn each<S: Simd>(
    s: S,
    y: &mut [f32],
    targets: &[f32],
    terms: &mut [f32],
    f: impl Fn(S::Vector, S::Vector) -> (S::Vector, S::Vector),
) {
    for at in (0..y.len()).step_by(S::LANES) {
        let lanes = S::LANES.min(y.len() - at);
        let (d, term) = f(load_lanes(s, parts::from(y, at), lanes), load_lanes(s, parts::from(targets, at), lanes));
        store_lanes(s, d, parts::from_mut(y, at), lanes);
        store_lanes(s, term, parts::from_mut(terms, at), lanes);
    }
}

/// `if e > 0 { above } else if 0 > e { below } else { +0 }`.
#[inline(always)]
fn by_sign<S: Simd>(s: S, e: S::Vector, above: S::Vector, below: S::Vector) -> S::Vector {
    let zero = s.splat(0.0);
    s.select(s.gt(e, zero), above, s.select(s.gt(zero, e), below, zero))
}

/// Derivative e limited to −delta … delta, times c; term e²/2, or linear beyond.
#[inline(always)]
fn huber<S: Simd>(s: S, e: S::Vector, delta: f32, c: S::Vector) -> (S::Vector, S::Vector) {
    let limited = s.min(s.splat(delta), s.max(s.splat(-delta), e));
    let a = s.abs(e);
    let linear = s.mul(s.splat(delta), s.sub(a, s.splat(0.5 * delta)));
    let squared = s.mul(s.mul(s.splat(0.5), e), e);
    (s.mul(limited, c), s.select(s.gt(a, s.splat(delta)), linear, squared))
}

/// Derivative `(y − t)/(y·(1 − y))` where y is not limited, times c; term `−(t·ln p + (1 − t)·ln(1 − p))` with p, y limited.
#[inline(always)]
fn binary_cross_entropy_of_probability<S: Simd>(
    s: S,
    y: S::Vector,
    t: S::Vector,
    c: S::Vector,
) -> (S::Vector, S::Vector) {
    let (one, highest) = (s.splat(1.0), 1.0 - EPSILON);
    let p = limited(s, y, highest);
    let (wrong, not_t) = (s.sub(one, p), s.sub(one, t));
    let derivative = s.div(s.sub(y, t), s.mul(y, s.sub(one, y)));
    let term = s.add(s.mul(t, math::ln(s, p)), s.mul(not_t, math::ln(s, wrong)));
    (within(s, y, highest, s.mul(derivative, c)), s.neg(term))
}

/// `min(highest, max(ε, y))`; NaN passes.
#[inline(always)]
fn limited<S: Simd>(s: S, y: S::Vector, highest: f32) -> S::Vector {
    s.min(s.splat(highest), s.max(s.splat(EPSILON), y))
}

/// d where ε ≤ y ≤ highest, else +0.
#[inline(always)]
fn within<S: Simd>(s: S, y: S::Vector, highest: f32, d: S::Vector) -> S::Vector {
    let zero = s.splat(0.0);
    s.select(s.gt(s.splat(EPSILON), y), zero, s.select(s.gt(y, s.splat(highest)), zero, d))
}
