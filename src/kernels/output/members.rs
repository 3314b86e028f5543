//! The top of 16 networks of an ensemble at once: softmax, and the losses with their deltas.
#![forbid(unsafe_code)]

use super::elementwise::{binary_cross_entropy, derivatives, elementwise, smoothed, squared_error};
use super::{Output, lean_loss, loss_and_delta, slope_in};
use crate::Isa;
use crate::activation::Activation;
use crate::kernels::activate::activate_in;
use crate::kernels::members::{Row, get, partials, set, vectors};
use crate::kernels::reduce::sum;
use crate::loss::{Labels, Loss, Objective};
use crate::math;
use crate::simd::{Simd, dispatch, fold16};

/// What the losses of 16 members are worked out from and into.
pub(crate) struct MembersOutput<'a> {
    /// With the targets of all members.
    pub(crate) objective: &'a Objective<'a>,
    /// Up to 16; the lanes that are left do as the last one does.
    pub(crate) members: usize,
    /// Whether each member has targets of its own; else all have the same.
    pub(crate) own: bool,
    pub(crate) batch: usize,
    /// Whether in the lean schedule.
    pub(crate) lean: bool,
    /// The activation of the last layer.
    pub(crate) activation: Activation,
    /// Before: pre-activations where [`Loss::top`] is not the activation, else values. After: ∂loss/∂pre-activations.
    /// `[batch × outputs]`.
    pub(crate) top: &'a mut [Row],
    /// At least [`members_scratch_len`] rows.
    pub(crate) scratch: &'a mut [Row],
    /// Where the losses of the data go.
    pub(crate) losses: &'a mut Row,
}

/// Rows of scratch for the losses: a sample's targets, deltas and addends and the partial sums, or one member's values,
/// deltas and addends.
pub(crate) const fn members_scratch_len(batch: usize, outputs: usize) -> Option<usize> {
    let (Some(lanes), Some(samples)) = (outputs.checked_mul(3), batch.checked_add(1)) else { return None };
    let (Some(lanes), Some(floats)) = (lanes.checked_add(16), lanes.checked_mul(samples)) else { return None };
    Some(if lanes > floats / 16 + 1 { lanes } else { floats / 16 + 1 })
}

/// Replaces the pre-activations of each sample, `z: [samples × width]`, by their softmax.
pub(crate) fn members_softmax(isa: Isa, z: &mut [Row], width: usize) {
    dispatch!(isa, s => softmax_in(s, z, width));
}

/// Works out losses and deltas.
pub(crate) fn members_loss(isa: Isa, output: MembersOutput<'_>) {
    let (loss, mask) = (output.objective.loss, output.objective.targets.mask);
    let by_lanes = match loss {
        Loss::Custom(_) | Loss::SmoothedCrossEntropy { .. } => false,
        Loss::CrossEntropy => mask.is_none(),
        _ => mask.is_none() && output.activation != Activation::Softmax,
    };
    if by_lanes {
        dispatch!(isa, s => output.by_lanes(s));
    } else {
        output.one_by_one(isa);
    }
}

impl MembersOutput<'_> {
    /// The first sample of a lane's member, counted through all targets.
    #[inline(always)]
    fn first_sample(&self, lane: usize) -> usize {
        if self.own { lane.min(self.members - 1) * self.batch } else { 0 }
    }

    /// Each member as a solo run does it: what has no kernel of its own.
    fn one_by_one(self, isa: Isa) {
        let outputs = self.top.len() / self.batch;
        let (loss, activation) = (self.objective.loss, self.activation);
        let firsts: [usize; 16] = core::array::from_fn(|lane| self.first_sample(lane));
        let (values, rest) = self.scratch.as_flattened_mut().split_at_mut(self.top.len());
        for (lane, first) in firsts.into_iter().enumerate() {
            for (value, top) in values.iter_mut().zip(&*self.top) {
                *value = top[lane];
            }
            let (_, from) = self.objective.split_at(first, outputs);
            let (objective, _) = from.split_at(self.batch, outputs);
            if self.lean {
                self.losses[lane] = lean_loss(isa, &objective, activation, values, rest);
            } else {
                let (delta, rest) = rest.split_at_mut(values.len());
                let (terms, scratch) = rest.split_at_mut(values.len());
                let terms = &mut terms[..self.batch * loss.terms_per_sample(outputs)];
                let count = objective.count(self.batch, outputs);
                let output = Output {
                    objective: &objective,
                    activation,
                    width: outputs,
                    scale: loss.delta_scale(count),
                    values: &mut *values,
                    delta: &mut *delta,
                    terms: &mut *terms,
                    scratch,
                };
                loss_and_delta(isa, output);
                self.losses[lane] = sum(isa, terms) / loss.divisor(count);
                values.copy_from_slice(delta);
            }
            for (top, delta) in self.top.iter_mut().zip(&*values) {
                top[lane] = *delta;
            }
        }
    }

    /// All members at once, sample after sample.
    #[inline(always)]
    fn by_lanes<S: Simd>(self, s: S) {
        let outputs = self.top.len() / self.batch;
        let loss = self.objective.loss;
        let count = self.objective.count(self.batch, outputs);
        let (scale, divisor) = (loss.delta_scale(count), loss.divisor(count));
        let firsts: [usize; 16] = core::array::from_fn(|lane| self.first_sample(lane));
        let (sums, rest) = self.scratch.split_at_mut(16);
        let (targets, rest) = rest.split_at_mut(outputs);
        let (delta, rest) = rest.split_at_mut(outputs);
        let per_sample = loss.terms_per_sample(outputs);
        let terms = &mut rest[..per_sample];
        sums.fill([0.0; 16]);
        for (sample, z) in self.top.chunks_exact_mut(outputs).enumerate() {
            fill(self.objective, &firsts, sample, self.own, targets);
            let target_rows = &*targets;
            match loss {
                Loss::CrossEntropy => {
                    let classes = matches!(self.objective.targets.labels, Labels::Classes(_));
                    cross_entropy(s, z, target_rows, classes, scale, delta, &mut terms[0]);
                }
                _ => {
                    let (z, t) = (z.as_flattened_mut(), target_rows.as_flattened());
                    let (delta, terms) = (delta.as_flattened_mut(), terms.as_flattened_mut());
                    by_element(s, loss, self.activation, scale, z, t, delta, terms);
                }
            }
            if self.objective.is_weighted() {
                let weights = firsts.map(|first| self.objective.weight(first + sample));
                weigh(s, &weights, delta);
                weigh(s, &weights, terms);
            }
            for (j, term) in terms.iter().enumerate() {
                let partial = &mut sums[(sample * per_sample + j) % 16];
                for v in 0..vectors::<S>() {
                    set(s, partial, v, s.add(get(s, partial, v), get(s, term, v)));
                }
            }
            z.copy_from_slice(delta);
        }
        for (lane, loss) in self.losses.iter_mut().enumerate() {
            // The lean schedule takes a single addend as it is.
            let total = if self.lean && per_sample == 1 && matches!(self.objective.loss, Loss::CrossEntropy) {
                terms[0][lane]
            } else {
                fold16(core::array::from_fn(|i| sums[i][lane]))
            };
            *loss = total / divisor;
        }
    }
}

/// The targets of one sample of each lane; a class becomes its one-hot row.
#[inline(always)]
fn fill(objective: &Objective<'_>, firsts: &[usize; 16], sample: usize, own: bool, to: &mut [Row]) {
    let outputs = to.len();
    match objective.targets.labels {
        Labels::Values(values) if !own => {
            for (to, &t) in to.iter_mut().zip(&values[sample * outputs..]) {
                *to = [t; 16];
            }
        }
        Labels::Values(values) => {
            for (lane, first) in firsts.iter().enumerate() {
                for (to, &t) in to.iter_mut().zip(&values[(first + sample) * outputs..]) {
                    to[lane] = t;
                }
            }
        }
        Labels::Classes(classes) => {
            to.fill([0.0; 16]);
            for (lane, first) in firsts.iter().enumerate() {
                to[classes[first + sample] as usize][lane] = 1.0;
            }
        }
    }
}

/// `x · weight` in each lane.
#[inline(always)]
fn weigh<S: Simd>(s: S, weights: &Row, x: &mut [Row]) {
    for x in x {
        for v in 0..vectors::<S>() {
            set(s, x, v, s.mul(get(s, x, v), get(s, weights, v)));
        }
    }
}

/// The losses that work element by element: what [`loss_and_delta`] does without a mask, over any number of elements.
#[expect(clippy::too_many_arguments, reason = "a loss, what it is worked out from, where it goes")]
#[inline(always)]
fn by_element<S: Simd>(
    s: S,
    loss: Loss<'_>,
    activation: Activation,
    scale: f32,
    z: &mut [f32],
    targets: &[f32],
    delta: &mut [f32],
    terms: &mut [f32],
) {
    match loss {
        Loss::BinaryCrossEntropy => elementwise(
            s,
            z,
            targets,
            delta,
            terms,
            #[inline(always)]
            |z, t| binary_cross_entropy(s, z, t, s.splat(scale)),
        ),
        Loss::SmoothedBinaryCrossEntropy { smoothing } => elementwise(
            s,
            z,
            targets,
            delta,
            terms,
            #[inline(always)]
            |z, t| binary_cross_entropy(s, z, smoothed(s, t, smoothing), s.splat(scale)),
        ),
        Loss::HalfMeanSquaredError | Loss::MeanSquaredError if !activation.slopes_at_pre_activation() => elementwise(
            s,
            z,
            targets,
            delta,
            terms,
            #[inline(always)]
            |y, t| squared_error(s, activation, y, t, s.splat(scale)),
        ),
        _ => {
            delta.copy_from_slice(z);
            if activation.slopes_at_pre_activation() {
                activate_in(s, activation, delta);
            }
            derivatives(s, loss, scale, delta, targets, terms);
            slope_in(s, activation, delta, z, z.len());
        }
    }
}

/// Softmax and cross-entropy of one sample: delta and addend. Targets are one-hot rows if they are `classes`.
#[inline(always)]
fn cross_entropy<S: Simd>(
    s: S,
    z: &[Row],
    targets: &[Row],
    classes: bool,
    scale: f32,
    delta: &mut [Row],
    term: &mut Row,
) {
    let c = s.splat(scale);
    for v in 0..vectors::<S>() {
        let largest = largest(s, z, v);
        let sum = exponentials(s, z, largest, v, delta);
        let ln_sum = math::ln(s, sum);
        if classes {
            let mut right = s.splat(0.0);
            for ((delta, z), t) in delta.iter_mut().zip(z).zip(targets) {
                let is_right = s.gt(get(s, t, v), s.splat(0.5));
                right = s.select(is_right, get(s, z, v), right);
                let y = s.div(get(s, delta, v), sum);
                let d = s.select(is_right, s.mul(s.sub(y, s.splat(1.0)), c), s.mul(y, c));
                set(s, delta, v, d);
            }
            set(s, term, v, s.add(ln_sum, s.sub(largest, right)));
        } else {
            let weighted = partials(
                s,
                z.len(),
                #[inline(always)]
                |j, sum| {
                    let (z, t) = (get(s, &z[j], v), get(s, &targets[j], v));
                    s.add(sum, s.mul(t, s.add(ln_sum, s.sub(largest, z))))
                },
            );
            set(s, term, v, weighted);
            let total = partials(
                s,
                z.len(),
                #[inline(always)]
                |j, sum| s.add(sum, get(s, &targets[j], v)),
            );
            for (delta, t) in delta.iter_mut().zip(targets) {
                let y = s.div(get(s, delta, v), sum);
                set(s, delta, v, s.mul(s.sub(s.mul(y, total), get(s, t, v)), c));
            }
        }
    }
}

#[inline(always)]
fn softmax_in<S: Simd>(s: S, z: &mut [Row], width: usize) {
    for z in z.chunks_exact_mut(width) {
        for v in 0..vectors::<S>() {
            let largest = largest(s, z, v);
            for z in z.iter_mut() {
                set(s, z, v, math::exp(s, s.sub(get(s, z, v), largest)));
            }
            let sum = sum_of(s, z, v);
            for z in z.iter_mut() {
                set(s, z, v, s.div(get(s, z, v), sum));
            }
        }
    }
}

/// The largest z of each lane, +0 for −0.
#[inline(always)]
fn largest<S: Simd>(s: S, z: &[Row], v: usize) -> S::Vector {
    let largest = z.iter().fold(
        s.splat(f32::NEG_INFINITY),
        #[inline(always)]
        |largest, z| s.max(get(s, z, v), largest),
    );
    s.add(largest, s.splat(0.0))
}

/// Writes `e^(z − largest)`; returns their sum.
#[inline(always)]
fn exponentials<S: Simd>(s: S, z: &[Row], largest: S::Vector, v: usize, to: &mut [Row]) -> S::Vector {
    for (to, z) in to.iter_mut().zip(z) {
        set(s, to, v, math::exp(s, s.sub(get(s, z, v), largest)));
    }
    sum_of(s, to, v)
}

#[inline(always)]
fn sum_of<S: Simd>(s: S, x: &[Row], v: usize) -> S::Vector {
    partials(
        s,
        x.len(),
        #[inline(always)]
        |j, sum| s.add(sum, get(s, &x[j], v)),
    )
}
