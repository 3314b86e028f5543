//! Cross-entropy, fused with softmax: for the batch schedule, and in place for the lean one.
#![forbid(unsafe_code)]

use super::lean::block_sum;
use super::softmax::{GROUP, Sums, largest, softmax_group, softmax_row};
use crate::kernels::map::map;
use crate::kernels::reduce;
use crate::kernels::rows::{load_lanes, store_lanes};
use crate::loss::Labels;
use crate::math;
use crate::parts;
use crate::simd::Simd;
use core::ops::Range;

/// Softmax, then delta `(p·T − t)·scale` with T = Σ t, and the term
/// `Σ tⱼ·(ln Σ e^(z−m) + (m − zⱼ))`, m being the largest z of the row.
#[inline(always)]
pub(super) fn cross_entropy<S: Simd>(
    s: S,
    values: &mut [f32],
    labels: Labels<'_>,
    delta: &mut [f32],
    terms: &mut [f32],
    width: usize,
    scale: f32,
) {
    // Until the deltas are known, their place holds the pre-activations.
    delta.copy_from_slice(values);
    let scale = s.splat(scale);
    for (first, group) in (0..).step_by(GROUP).zip(values.chunks_mut(GROUP * width)) {
        let Sums { largest, sum: ln_sum } = with_logarithms(s, softmax_group(s, group, width));
        let rows = first..first + group.len() / width;
        let (delta, terms) = (&mut delta[rows.start * width..rows.end * width], &mut terms[rows.clone()]);
        match labels {
            Labels::Classes(classes) => {
                for (r, (term, &class)) in terms.iter_mut().zip(&classes[rows.clone()]).enumerate() {
                    *term = ln_sum[r] + (largest[r] - delta[r * width + class as usize]);
                }
                // All rows as one, which is whole vectors of narrow ones.
                delta_of(
                    s,
                    group,
                    delta,
                    #[inline(always)]
                    |p, _| s.mul(p, scale),
                );
                for (r, &class) in classes[rows].iter().enumerate() {
                    let at = r * width + class as usize;
                    let right = s.mul(s.sub(s.splat(group[at]), s.splat(1.0)), scale);
                    delta[at] = s.first(right);
                }
            }
            Labels::Values(targets) => {
                let targets = targets[rows.start * width..rows.end * width].chunks_exact(width);
                let rows = group.chunks_exact(width).zip(delta.chunks_exact_mut(width)).zip(targets);
                for (r, (((p, delta), targets), term)) in rows.zip(terms).enumerate() {
                    *term = weighted(s, targets, delta, ln_sum[r], largest[r]);
                    let total = reduce::sum_in(s, targets);
                    delta_of(
                        s,
                        p,
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
}

/// The logarithms of the sums in their place.
#[inline(always)]
fn with_logarithms<S: Simd>(s: S, mut sums: Sums) -> Sums {
    map(
        s,
        &mut sums.sum,
        #[inline(always)]
        |sum| math::ln(s, sum),
    );
    sums
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

/// [`cross_entropy`] in place, of one sample with a class index; returns its addend.
#[inline(always)]
pub(super) fn lean_of_class<S: Simd>(s: S, top: &mut [f32], class: u32, scale: f32) -> f32 {
    let (class, c) = (class as usize, s.splat(scale));
    let Some(&z) = top.get(class) else { return f32::NAN };
    let (largest, sum) = softmax_row(s, top);
    let right = s.mul(s.sub(s.splat(parts::element(top, class)), s.splat(1.0)), c);
    map(
        s,
        top,
        #[inline(always)]
        |p| s.mul(p, c),
    );
    parts::set(top, class, s.first(right));
    s.first(math::ln(s, s.splat(sum))) + (largest - z)
}

/// The same with a distribution.
#[inline(always)]
pub(super) fn lean<S: Simd>(s: S, top: &mut [f32], targets: &[f32], scale: f32) -> f32 {
    let c = s.splat(scale);
    let (largest, ln_sum) = logarithm_of_sum(s, top);
    let term = weighted(s, targets, top, ln_sum, largest);
    softmax_row(s, top);
    let total = s.splat(reduce::sum_in(s, targets));
    for at in (0..top.len()).step_by(S::LANES) {
        let lanes = S::LANES.min(top.len() - at);
        let (p, t) = (load_lanes(s, parts::from(top, at), lanes), load_lanes(s, parts::from(targets, at), lanes));
        store_lanes(s, s.mul(s.sub(s.mul(p, total), t), c), parts::from_mut(top, at), lanes);
    }
    term
}

/// The largest z, and the logarithm of the sum of the exponentials of the others relative to it.
///
/// The addends need z and that sum, the deltas need the exponentials: in place, these are worked out twice.
#[inline(always)]
fn logarithm_of_sum<S: Simd>(s: S, z: &[f32]) -> (f32, f32) {
    let largest = largest(s, z);
    let sum = block_sum(
        z.len(),
        #[inline(always)]
        |block, terms| {
            parts::copy(parts::part(z, block), terms);
            map(
                s,
                terms,
                #[inline(always)]
                |z| math::exp(s, s.sub(z, s.splat(largest))),
            );
        },
    );
    (largest, s.first(math::ln(s, s.splat(sum))))
}

/// Targets of a cross-entropy that are smoothed or masked: `tⱼ·(1 − smoothing) + smoothing/outputs`, +0 where masked.
/// A class index stands for its one-hot row.
#[derive(Clone, Copy)]
pub(super) struct SoftTargets<'a> {
    labels: Labels<'a>,
    mask: Option<&'a [f32]>,
    width: usize,
    /// `1 − smoothing` and `smoothing/outputs`.
    own: f32,
    share: f32,
}

impl<'a> SoftTargets<'a> {
    #[inline(always)]
    pub(super) fn new(smoothing: f32, labels: Labels<'a>, mask: Option<&'a [f32]>, width: usize) -> Self {
        Self { labels, mask, width, own: 1.0 - smoothing, share: smoothing / width as f32 }
    }

    /// Writes those of some outputs of sample `row`, at most 16: once in the binary, not in each loop over them.
    #[inline(never)]
    fn fill(self, row: usize, outputs: Range<usize>, to: &mut [f32]) {
        let start = row * self.width;
        for (output, to) in outputs.zip(to) {
            let t = match self.labels {
                Labels::Values(values) => parts::element(values, start + output),
                Labels::Classes(classes) => f32::from(u8::from(parts::element(classes, row) as usize == output)),
            };
            let masked = self.mask.is_some_and(
                #[inline(always)]
                |mask| parts::element(mask, start + output) == 0.0,
            );
            *to = if masked { 0.0 } else { t * self.own + self.share };
        }
    }

    /// The addend of sample `row`, and the sum of its targets: see [`cross_entropy`].
    #[inline(always)]
    fn term_and_total(self, row: usize, z: &[f32], largest: f32, ln_sum: f32) -> (f32, f32) {
        let term = block_sum(
            self.width,
            #[inline(always)]
            |block, terms| {
                self.fill(row, block.clone(), terms);
                for (t, z) in terms.iter_mut().zip(parts::part(z, block)) {
                    *t *= ln_sum + (largest - z);
                }
            },
        );
        let total = block_sum(
            self.width,
            #[inline(always)]
            |block, targets| self.fill(row, block, targets),
        );
        (term, total)
    }

    /// Replaces the softmax p of sample `row` by its delta `(p·T − t)·scale`.
    #[inline(always)]
    fn delta(self, row: usize, p: &mut [f32], total: f32, scale: f32) {
        for at in (0..self.width).step_by(16) {
            let block = at..self.width.min(at + 16);
            let mut t = [0.0; 16];
            self.fill(row, block.clone(), parts::part_mut(&mut t, 0..block.len()));
            for (p, t) in parts::part_mut(p, block).iter_mut().zip(t) {
                *p = (*p * total - t) * scale;
            }
        }
    }
}

/// [`cross_entropy`] of targets that are smoothed or masked.
#[inline(always)]
pub(super) fn of_soft_targets<S: Simd>(
    s: S,
    values: &mut [f32],
    targets: SoftTargets<'_>,
    delta: &mut [f32],
    terms: &mut [f32],
    scale: f32,
) {
    let width = targets.width;
    delta.copy_from_slice(values);
    for (first, group) in (0..).step_by(GROUP).zip(values.chunks_mut(GROUP * width)) {
        let Sums { largest, sum: ln_sum } = with_logarithms(s, softmax_group(s, group, width));
        let rows = group.chunks_exact(width).zip(delta[first * width..].chunks_exact_mut(width));
        for (r, ((p, delta), term)) in rows.zip(&mut terms[first..]).enumerate() {
            let total;
            (*term, total) = targets.term_and_total(first + r, delta, largest[r], ln_sum[r]);
            delta.copy_from_slice(p);
            targets.delta(first + r, delta, total, scale);
        }
    }
}

/// [`of_soft_targets`] in place, of one sample; returns its addend.
#[inline(always)]
pub(super) fn lean_of_soft_targets<S: Simd>(s: S, top: &mut [f32], targets: SoftTargets<'_>, scale: f32) -> f32 {
    let (largest, ln_sum) = logarithm_of_sum(s, top);
    let (term, total) = targets.term_and_total(0, top, largest, ln_sum);
    softmax_row(s, top);
    targets.delta(0, top, total, scale);
    term
}
