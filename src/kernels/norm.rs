//! Normalisation: of a sample over its features (layer norm, RMS norm), and of a feature
//! over the samples (batch norm, and that of the inputs).
//!
//! Throughout, x̂ = (x − mean) · inv with inv = 1 / √(variance + ε).
#![forbid(unsafe_code)]

use super::apply::update_lanes;
use super::dense_update::Band;
use super::reduce;
use super::rows::{Rows, RowsMut, chain, load_lanes, store_lanes};
use crate::Isa;
use crate::optimizer::Rule;
use crate::parts;
use crate::simd::{Simd, dispatch};

/// Scale and shift; without shift the mean is not taken off either.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Affine<'a> {
    pub(crate) gamma: &'a [f32],
    pub(crate) beta: Option<&'a [f32]>,
}

impl<'a> Affine<'a> {
    /// Those of a layer with `width` inputs: rows γ and, unless its norm is RMS, β.
    pub(crate) fn of(params: &'a [f32], width: usize) -> Self {
        let (gamma, beta) = parts::split(params, width);
        Self { gamma, beta: (!beta.is_empty()).then_some(beta) }
    }

    /// `x̂ ⊙ γ + β` for `lanes` features from `at` on.
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, x_hat: S::Vector, at: usize, lanes: usize) -> S::Vector {
        let gamma = load_lanes(s, parts::from(self.gamma, at), lanes);
        match self.beta {
            Some(beta) => s.mul_add(x_hat, gamma, load_lanes(s, parts::from(beta, at), lanes)),
            None => s.mul(x_hat, gamma),
        }
    }
}

/// `lanes` numbers of row `row` from `at` on.
#[inline(always)]
fn lanes_of<S: Simd>(s: S, rows: Rows<'_>, row: usize, at: usize, lanes: usize) -> S::Vector {
    load_lanes(s, parts::from(rows.row(row), at), lanes)
}

/// Normalises each row of x over its features; writes z, and mean and inv of each row to `moments: [rows × 2]`.
pub(crate) fn sample_norm(
    isa: Isa,
    x: Rows<'_>,
    affine: Affine<'_>,
    epsilon: f32,
    z: RowsMut<'_>,
    moments: RowsMut<'_>,
) {
    dispatch!(isa, s => sample_norm_in(s, x, affine, epsilon, z, moments));
}

#[inline(always)]
fn sample_norm_in<S: Simd>(
    s: S,
    x: Rows<'_>,
    affine: Affine<'_>,
    epsilon: f32,
    mut z: RowsMut<'_>,
    mut moments: RowsMut<'_>,
) {
    for r in 0..x.count() {
        let x = x.row(r);
        let [mean, inv] = moments_of(s, x, affine.beta.is_some(), epsilon);
        parts::copy(&[mean, inv], moments.row_mut(r));
        normalize_row(s, x, [mean, inv], affine, z.row_mut(r));
    }
}

/// Mean and inv of one sample's features, in 16 partial sums.
#[inline(always)]
fn moments_of<S: Simd>(s: S, x: &[f32], centered: bool, epsilon: f32) -> [f32; 2] {
    let count = x.len() as f32;
    let mean = if centered { reduce::sum_in(s, x) / count } else { 0.0 };
    let squares = reduce::squares_in(s, x, mean);
    [mean, inverse_root(s, squares / count, epsilon)]
}

/// `1 / √(variance + ε)`.
#[inline(always)]
fn inverse_root<S: Simd>(s: S, variance: f32, epsilon: f32) -> f32 {
    let root = s.sqrt(s.splat(variance + epsilon));
    s.first(s.div(s.splat(1.0), root))
}

#[inline(always)]
fn normalize_row<S: Simd>(s: S, x: &[f32], moments: [f32; 2], affine: Affine<'_>, z: &mut [f32]) {
    for at in (0..x.len()).step_by(S::LANES) {
        let lanes = S::LANES.min(x.len() - at);
        let x_hat = hat(s, load_lanes(s, parts::from(x, at), lanes), moments);
        store_lanes(s, affine.apply(s, x_hat, at, lanes), parts::from_mut(z, at), lanes);
    }
}

/// `x̂`.
#[inline(always)]
pub(super) fn hat<S: Simd>(s: S, x: S::Vector, [mean, inv]: [f32; 2]) -> S::Vector {
    s.mul(s.sub(x, s.splat(mean)), s.splat(inv))
}

/// Takes δ back through [`sample_norm`]: with `g = δ ⊙ γ`,
/// `below = inv · ((g − mean of g) − x̂ · mean of g ⊙ x̂)`; RMS norm has no mean of g.
pub(crate) fn sample_norm_delta(
    isa: Isa,
    delta: Rows<'_>,
    x: Rows<'_>,
    affine: Affine<'_>,
    moments: Rows<'_>,
    below: RowsMut<'_>,
) {
    dispatch!(isa, s => sample_norm_delta_in(s, delta, x, affine, moments, below));
}

#[inline(always)]
fn sample_norm_delta_in<S: Simd>(
    s: S,
    delta: Rows<'_>,
    x: Rows<'_>,
    affine: Affine<'_>,
    moments: Rows<'_>,
    mut below: RowsMut<'_>,
) {
    for r in 0..x.count() {
        let moments = [moments.row(r)[0], moments.row(r)[1]];
        let means = means_of(s, delta.row(r), x.row(r), affine, moments);
        let below = below.row_mut(r);
        for at in (0..below.len()).step_by(S::LANES) {
            let lanes = S::LANES.min(below.len() - at);
            let (d, x) = (lanes_of(s, delta, r, at, lanes), lanes_of(s, x, r, at, lanes));
            let gamma = load_lanes(s, parts::from(affine.gamma, at), lanes);
            store_lanes(s, delta_below(s, d, x, gamma, moments, means), parts::from_mut(below, at), lanes);
        }
    }
}

/// The means of g and of `g ⊙ x̂` over a sample's features; the first +0 for RMS norm.
#[inline(always)]
pub(super) fn means_of<S: Simd>(s: S, delta: &[f32], x: &[f32], affine: Affine<'_>, moments: [f32; 2]) -> [f32; 2] {
    let count = x.len() as f32;
    let mean = if affine.beta.is_some() { reduce::dot_in(s, delta, affine.gamma) / count } else { 0.0 };
    let product = reduce::partials_of(
        s,
        [delta, affine.gamma, x],
        [0.0; 3],
        #[inline(always)]
        |[d, gamma, x], sum| s.mul_add(s.mul(d, gamma), hat(s, x, moments), sum),
    );
    [mean, product / count]
}

#[inline(always)]
pub(super) fn delta_below<S: Simd>(
    s: S,
    d: S::Vector,
    x: S::Vector,
    gamma: S::Vector,
    moments: [f32; 2],
    [mean, product]: [f32; 2],
) -> S::Vector {
    let centered = s.sub(s.mul(d, gamma), s.splat(mean));
    let rest = s.sub(centered, s.mul(hat(s, x, moments), s.splat(product)));
    s.mul(s.splat(moments[1]), rest)
}

/// What is known of each feature: its mean and its variance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Features<'a> {
    pub(crate) mean: &'a [f32],
    pub(crate) variance: &'a [f32],
    pub(crate) epsilon: f32,
}

impl Features<'_> {
    /// Mean and inv of `lanes` features from `at` on.
    #[inline(always)]
    fn moments<S: Simd>(&self, s: S, at: usize, lanes: usize) -> [S::Vector; 2] {
        let variance = load_lanes(s, parts::from(self.variance, at), lanes);
        let root = s.sqrt(s.add(variance, s.splat(self.epsilon)));
        [load_lanes(s, parts::from(self.mean, at), lanes), s.div(s.splat(1.0), root)]
    }
}

/// Mean and (biased) variance of each feature over all rows of x: sums in the order of a product's element.
pub(crate) fn feature_moments(isa: Isa, x: Rows<'_>, mean: &mut [f32], variance: &mut [f32]) {
    dispatch!(isa, s => feature_moments_in(s, x, mean, variance));
}

#[inline(always)]
fn feature_moments_in<S: Simd>(s: S, x: Rows<'_>, mean: &mut [f32], variance: &mut [f32]) {
    let count = s.splat(x.count() as f32);
    for at in (0..x.width).step_by(S::LANES) {
        let lanes = S::LANES.min(x.width - at);
        let sum = chain(
            s,
            x.count(),
            #[inline(always)]
            |r, sum| s.add(sum, lanes_of(s, x, r, at, lanes)),
        );
        let center = s.div(sum, count);
        let squares = chain(
            s,
            x.count(),
            #[inline(always)]
            |r, sum| {
                let d = s.sub(lanes_of(s, x, r, at, lanes), center);
                s.mul_add(d, d, sum)
            },
        );
        store_lanes(s, center, parts::from_mut(mean, at), lanes);
        store_lanes(s, s.div(squares, count), parts::from_mut(variance, at), lanes);
    }
}

/// Moves `running` towards `batch`: `running + momentum · (batch − running)`.
pub(crate) fn approach(isa: Isa, running: &mut [f32], batch: &[f32], momentum: f32) {
    dispatch!(isa, s => approach_in(s, running, batch, momentum));
}

#[inline(always)]
fn approach_in<S: Simd>(s: S, running: &mut [f32], batch: &[f32], momentum: f32) {
    for at in (0..running.len()).step_by(S::LANES) {
        let lanes = S::LANES.min(running.len() - at);
        let old = load_lanes(s, parts::from(running, at), lanes);
        let distance = s.sub(load_lanes(s, parts::from(batch, at), lanes), old);
        store_lanes(s, s.mul_add(s.splat(momentum), distance, old), parts::from_mut(running, at), lanes);
    }
}

/// Normalises each feature of x; writes z.
pub(crate) fn feature_norm(isa: Isa, x: Rows<'_>, features: Features<'_>, affine: Affine<'_>, z: RowsMut<'_>) {
    dispatch!(isa, s => feature_norm_in(s, x, features, affine, z));
}

#[inline(always)]
fn feature_norm_in<S: Simd>(s: S, x: Rows<'_>, features: Features<'_>, affine: Affine<'_>, mut z: RowsMut<'_>) {
    for at in (0..x.width).step_by(S::LANES) {
        let lanes = S::LANES.min(x.width - at);
        let [mean, inv] = features.moments(s, at, lanes);
        for r in 0..x.count() {
            let x_hat = s.mul(s.sub(lanes_of(s, x, r, at, lanes), mean), inv);
            store_lanes(s, affine.apply(s, x_hat, at, lanes), parts::from_mut(z.row_mut(r), at), lanes);
        }
    }
}

/// The gradients of γ and β: Σ δ·x̂ and Σ δ over all rows, in the order of a product's element.
pub(crate) fn feature_sums(
    isa: Isa,
    delta: Rows<'_>,
    x: Rows<'_>,
    features: Features<'_>,
    gamma: &mut [f32],
    beta: &mut [f32],
) {
    dispatch!(isa, s => feature_sums_in(s, delta, x, features, gamma, beta));
}

#[inline(always)]
fn feature_sums_in<S: Simd>(
    s: S,
    delta: Rows<'_>,
    x: Rows<'_>,
    features: Features<'_>,
    gamma: &mut [f32],
    beta: &mut [f32],
) {
    for at in (0..x.width).step_by(S::LANES) {
        let lanes = S::LANES.min(x.width - at);
        let [mean, inv] = features.moments(s, at, lanes);
        let products = chain(
            s,
            x.count(),
            #[inline(always)]
            |r, sum| {
                let x_hat = s.mul(s.sub(lanes_of(s, x, r, at, lanes), mean), inv);
                s.mul_add(x_hat, lanes_of(s, delta, r, at, lanes), sum)
            },
        );
        let sums = chain(
            s,
            x.count(),
            #[inline(always)]
            |r, sum| s.add(sum, lanes_of(s, delta, r, at, lanes)),
        );
        store_lanes(s, products, parts::from_mut(gamma, at), lanes);
        store_lanes(s, sums, parts::from_mut(beta, at), lanes);
    }
}

/// Takes δ back through [`feature_norm`]. Where the moments are those of the rows themselves, `sums` are
/// Σ δ·x̂ and Σ δ over all `count` rows: `below = (γ · inv) · ((δ − Σδ / count) − x̂ · (Σδ·x̂ / count))`;
/// else `below = (γ · inv) · δ`.
#[expect(clippy::too_many_arguments, reason = "three matrices and what is known of their columns")]
pub(crate) fn feature_norm_delta(
    isa: Isa,
    delta: Rows<'_>,
    x: Rows<'_>,
    features: Features<'_>,
    gamma: &[f32],
    sums: Option<[&[f32]; 2]>,
    count: usize,
    below: RowsMut<'_>,
) {
    dispatch!(isa, s => feature_norm_delta_in(s, delta, x, features, gamma, sums, count, below));
}

#[expect(clippy::too_many_arguments, reason = "three matrices and what is known of their columns")]
#[inline(always)]
fn feature_norm_delta_in<S: Simd>(
    s: S,
    delta: Rows<'_>,
    x: Rows<'_>,
    features: Features<'_>,
    gamma: &[f32],
    sums: Option<[&[f32]; 2]>,
    count: usize,
    mut below: RowsMut<'_>,
) {
    let count = s.splat(count as f32);
    for at in (0..x.width).step_by(S::LANES) {
        let lanes = S::LANES.min(x.width - at);
        let [mean, inv] = features.moments(s, at, lanes);
        let factor = s.mul(load_lanes(s, parts::from(gamma, at), lanes), inv);
        let means = sums.map(
            #[inline(always)]
            |[product, sum]| {
                [
                    s.div(load_lanes(s, parts::from(product, at), lanes), count),
                    s.div(load_lanes(s, parts::from(sum, at), lanes), count),
                ]
            },
        );
        for r in 0..x.count() {
            let mut d = lanes_of(s, delta, r, at, lanes);
            if let Some([product, sum]) = means {
                let x_hat = s.mul(s.sub(lanes_of(s, x, r, at, lanes), mean), inv);
                d = s.sub(s.sub(d, sum), s.mul(x_hat, product));
            }
            store_lanes(s, s.mul(factor, d), parts::from_mut(below.row_mut(r), at), lanes);
        }
    }
}

/// `z = (x − mean) · scale`, both per feature.
pub(crate) fn standardize(isa: Isa, x: Rows<'_>, mean: &[f32], scale: &[f32], z: RowsMut<'_>) {
    dispatch!(isa, s => standardize_in(s, x, mean, scale, z));
}

#[inline(always)]
fn standardize_in<S: Simd>(s: S, x: Rows<'_>, mean: &[f32], scale: &[f32], mut z: RowsMut<'_>) {
    for r in 0..x.count() {
        let (x, z) = (x.row(r), z.row_mut(r));
        for at in (0..x.len()).step_by(S::LANES) {
            let lanes = S::LANES.min(x.len() - at);
            let d = s.sub(load_lanes(s, parts::from(x, at), lanes), load_lanes(s, parts::from(mean, at), lanes));
            store_lanes(s, s.mul(d, load_lanes(s, parts::from(scale, at), lanes)), parts::from_mut(z, at), lanes);
        }
    }
}

/// `below = δ · scale`.
pub(crate) fn standardize_delta(isa: Isa, delta: Rows<'_>, scale: &[f32], below: RowsMut<'_>) {
    dispatch!(isa, s => standardize_delta_in(s, delta, scale, below));
}

#[inline(always)]
fn standardize_delta_in<S: Simd>(s: S, delta: Rows<'_>, scale: &[f32], mut below: RowsMut<'_>) {
    for r in 0..delta.count() {
        let (d, below) = (delta.row(r), below.row_mut(r));
        for at in (0..d.len()).step_by(S::LANES) {
            let lanes = S::LANES.min(d.len() - at);
            let v = s.mul(load_lanes(s, parts::from(d, at), lanes), load_lanes(s, parts::from(scale, at), lanes));
            store_lanes(s, v, parts::from_mut(below, at), lanes);
        }
    }
}

/// Updates γ and β, rows 0 and 1 of a norm over features, whose gradients Σ δ·x̂ and Σ δ are summed over the rows
/// in the order of a product's element.
pub(crate) fn sample_norm_update(
    isa: Isa,
    delta: Rows<'_>,
    x: Rows<'_>,
    moments: Rows<'_>,
    rule: &Rule,
    band: Band<'_>,
) {
    dispatch!(isa, s => sample_norm_update_in(s, delta, x, moments, rule, band));
}

#[inline(always)]
fn sample_norm_update_in<S: Simd>(s: S, delta: Rows<'_>, x: Rows<'_>, moments: Rows<'_>, rule: &Rule, band: Band<'_>) {
    let Band { rows, params, mut state, .. } = band;
    for (index, row) in rows.enumerate() {
        for at in (0..x.width).step_by(S::LANES) {
            let lanes = S::LANES.min(x.width - at);
            let gradient = chain(
                s,
                x.count(),
                #[inline(always)]
                |r, sum| {
                    if row == 1 {
                        return s.add(sum, lanes_of(s, delta, r, at, lanes));
                    }
                    let moments = [moments.row(r)[0], moments.row(r)[1]];
                    s.mul_add(hat(s, lanes_of(s, x, r, at, lanes), moments), lanes_of(s, delta, r, at, lanes), sum)
                },
            );
            update_lanes(s, rule, params, &mut state, index * x.width + at, lanes, gradient);
        }
    }
}
