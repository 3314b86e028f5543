//! Kernels whose lanes are members of an ensemble: 16 networks side by side, one number of each in a [`Row`].
//!
//! No lane knows of another, and each does what its solo run does, in that order: chains, four chains and sixteen
//! partial sums run over rows where a solo kernel runs over elements. Where a vector has fewer than 16 lanes, a row is
//! several of them, one after the other.
#![forbid(unsafe_code)]

mod backward;
mod forward;

use super::activate::activate_in;
use super::dropout::Dropout;
use crate::Isa;
use crate::activation::Activation;
use crate::ensemble::Member;
use crate::penalty::Penalty;
use crate::simd::{Simd, dispatch};
pub(crate) use backward::{Backward, backward as members_backward};
pub(crate) use forward::forward as members_forward;

/// One number of each of 16 members.
pub(crate) type Row = [f32; 16];

/// Vector `v` of a row.
#[inline(always)]
pub(super) fn get<S: Simd>(s: S, row: &Row, v: usize) -> S::Vector {
    s.load(&S::chunks(row).0[v])
}

#[inline(always)]
pub(super) fn set<S: Simd>(s: S, row: &mut Row, v: usize, x: S::Vector) {
    s.store(x, &mut S::chunks_mut(row).0[v]);
}

/// Vectors in a row.
pub(super) const fn vectors<S: Simd>() -> usize {
    16 / S::LANES
}

/// Folds `term(k, partial)` over k in 16 partial sums, k mod 16, and adds these 8-4-2-1.
#[inline(always)]
pub(super) fn partials<S: Simd>(s: S, count: usize, term: impl Fn(usize, S::Vector) -> S::Vector) -> S::Vector {
    let zero = s.splat(0.0);
    let mut p = [zero; 16];
    let whole = count / 16 * 16;
    for k in (0..whole).step_by(16) {
        for (i, p) in p.iter_mut().enumerate() {
            *p = term(k + i, *p);
        }
    }
    for (i, p) in p.iter_mut().enumerate() {
        if whole + i < count {
            *p = term(whole + i, *p);
        }
    }
    // Partials that no term has reached are +0: what they would add is at most the sign of a zero, see below.
    for half in [8, 4, 2, 1] {
        if count > half {
            for i in 0..half {
                p[i] = s.add(p[i], p[i + half]);
            }
        }
    }
    // A solo kernel fills the last group up with zeros: a sum of nothing but −0 becomes +0.
    if count.is_multiple_of(16) { p[0] } else { s.add(p[0], zero) }
}

/// What dropout does to a layer in a training step.
#[derive(Clone, Copy)]
pub(crate) struct MemberDropout<'a> {
    pub(crate) rate: f32,
    pub(crate) layer: usize,
    pub(crate) step: u64,
    /// Up to 16; the last one's seed is that of the lanes that are left.
    pub(crate) members: &'a [Member],
}

impl MemberDropout<'_> {
    /// The factors of the elements from `first` on, at most four.
    fn factors(self, first: usize, to: &mut [Row]) {
        for lane in 0..16 {
            let seed = self.members[lane.min(self.members.len() - 1)].seed;
            let mut own = [0.0; 4];
            let own = &mut own[..to.len()];
            Dropout::new(self.rate, self.layer, seed, self.step).factors(first as u64, own);
            for (to, own) in to.iter_mut().zip(own) {
                to[lane] = *own;
            }
        }
    }
}

/// Turns pre-activations `z: [samples × units]`, in place, into values. `kept` (empty if it isn't wanted) becomes what
/// the slope is taken at. Softmax is left to the caller.
pub(crate) fn members_follow(
    isa: Isa,
    activation: Activation,
    dropout: Option<MemberDropout<'_>>,
    z: &mut [Row],
    kept: &mut [Row],
) {
    dispatch!(isa, s => follow_in(s, activation, dropout, z, kept));
}

#[inline(always)]
fn follow_in<S: Simd>(
    s: S,
    activation: Activation,
    dropout: Option<MemberDropout<'_>>,
    z: &mut [Row],
    kept: &mut [Row],
) {
    let at_z = activation.slopes_at_pre_activation();
    if at_z && !kept.is_empty() {
        kept.copy_from_slice(z);
    }
    activate_in(s, activation, z.as_flattened_mut());
    if !at_z && !kept.is_empty() {
        kept.copy_from_slice(z);
    }
    drop_in(s, dropout, z);
}

/// Turns `d: [samples × units]`, ∂loss/∂values, into ∂loss/∂pre-activations, `delta`, which holds what the slope is
/// taken at, unless `kept` does.
pub(crate) fn members_back(
    isa: Isa,
    activation: Activation,
    dropout: Option<MemberDropout<'_>>,
    d: &mut [Row],
    kept: Option<&[Row]>,
    delta: &mut [Row],
) {
    dispatch!(isa, s => back_in(s, activation, dropout, d, kept, delta));
}

#[inline(always)]
fn back_in<S: Simd>(
    s: S,
    activation: Activation,
    dropout: Option<MemberDropout<'_>>,
    d: &mut [Row],
    kept: Option<&[Row]>,
    delta: &mut [Row],
) {
    drop_in(s, dropout, d);
    let d = S::chunks(d.as_flattened()).0;
    if let Some(kept) = kept {
        delta.copy_from_slice(kept);
    }
    for (delta, d) in S::chunks_mut(delta.as_flattened_mut()).0.iter_mut().zip(d) {
        let at = s.load(delta);
        s.store(activation.delta(s, s.load(d), at), delta);
    }
}

/// `factor > 0 ? x × factor : +0`.
#[inline(always)]
fn drop_in<S: Simd>(s: S, dropout: Option<MemberDropout<'_>>, x: &mut [Row]) {
    let Some(dropout) = dropout else { return };
    for (group, x) in x.chunks_mut(4).enumerate() {
        let mut factors = [[0.0; 16]; 4];
        dropout.factors(4 * group, &mut factors[..x.len()]);
        for (x, factor) in x.iter_mut().zip(&factors) {
            for v in 0..vectors::<S>() {
                let factor = get(s, factor, v);
                let left = s.select(s.gt(factor, s.splat(0.0)), s.mul(get(s, x, v), factor), s.splat(0.0));
                set(s, x, v, left);
            }
        }
    }
}

/// The penalty on a layer's weights in each lane: see [`penalty`](super::penalty::penalty).
pub(crate) fn members_penalty(isa: Isa, penalty: Penalty, weights: &[Row], to: &mut Row) {
    dispatch!(isa, s => penalty_in(s, penalty, weights, to));
}

#[inline(always)]
fn penalty_in<S: Simd>(s: S, Penalty { l1, l2 }: Penalty, weights: &[Row], to: &mut Row) {
    for v in 0..vectors::<S>() {
        let (mut absolute, mut square) = (s.splat(0.0), s.splat(0.0));
        if l1 > 0.0 {
            let sum = partials(
                s,
                weights.len(),
                #[inline(always)]
                |k, sum| s.add(sum, s.abs(get(s, &weights[k], v))),
            );
            absolute = s.mul(s.splat(l1), sum);
        }
        if l2 > 0.0 {
            let sum = partials(
                s,
                weights.len(),
                #[inline(always)]
                |k, sum| {
                    let w = get(s, &weights[k], v);
                    s.mul_add(w, w, sum)
                },
            );
            square = s.mul(s.splat(0.5 * l2), sum);
        }
        set(s, to, v, s.add(absolute, square));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::reduce;

    /// Sums of nothing but −0 too: a tiny negative product rounds to it.
    #[test]
    fn partials_are_those_of_a_solo_sum() {
        for isa in Isa::available() {
            for count in 0..70 {
                for tiny in [false, true] {
                    let value = |k: usize| if tiny { -1e-30 } else { ((7 * k) as f32).sin() };
                    let x: Vec<f32> = (0..count).map(value).collect();
                    let y: Vec<f32> = (0..count).map(|k| if tiny { 1e-30 } else { value(k + 1) }).collect();
                    let solo = dispatch!(isa, s => reduce::dot_in(s, &x, &y));
                    let rows = |x: &[f32]| x.iter().map(|&x| [x; 16]).collect::<Vec<Row>>();
                    let lanes = dispatch!(isa, s => dot(s, &rows(&x), &rows(&y)));
                    assert_eq!(lanes.map(f32::to_bits), [solo.to_bits(); 16], "{count} on {isa}");
                }
            }
        }
    }

    #[inline(always)]
    fn dot<S: Simd>(s: S, x: &[Row], y: &[Row]) -> Row {
        let mut sum = [f32::NAN; 16];
        for v in 0..vectors::<S>() {
            let dot = partials(
                s,
                x.len(),
                #[inline(always)]
                |k, sum| s.mul_add(get(s, &x[k], v), get(s, &y[k], v), sum),
            );
            set(s, &mut sum, v, dot);
        }
        sum
    }
}
