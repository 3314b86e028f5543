//! The gradient of a dense layer from few samples, row by row.
#![forbid(unsafe_code)]

use super::apply::{as_it_is, update_span};
use super::rows::{load_lanes, store_lanes, store_lanes_in_place};
use crate::optimizer::Rule;
use crate::parts;
use crate::simd::Simd;

/// So many samples are few: their sums are too short to pay for the start and the end of a tile, or for a packed panel.
pub(super) const FEW: usize = 4;

/// Evaluates an expression with the number of samples, 1 to [`FEW`], as a constant.
macro_rules! with_few {
    ($count:expr, $n:ident => $body:expr) => {
        match $count {
            1 => with_few!(@ $n = 1, $body),
            2 => with_few!(@ $n = 2, $body),
            3 => with_few!(@ $n = 3, $body),
            _ => with_few!(@ $n = FEW, $body),
        }
    };
    (@ $n:ident = $count:expr, $body:expr) => {{
        const $n: usize = $count;
        $body
    }};
}
pub(super) use with_few;

/// Applies a rule without a state to rows from `at` on, with the gradient `xᵀ·delta` of N samples.
#[inline(always)]
pub(super) fn update_rows_by_few<S: Simd, const N: usize>(
    s: S,
    rule: &Rule,
    params: &mut [f32],
    at: usize,
    x: [&[f32]; N],
    delta: [&[f32]; N],
) {
    s.outline(
        #[inline(always)]
        |s| match *rule {
            Rule::Gradient => update_rows(s, &Rule::Gradient, params, at, x, delta),
            Rule::Sgd { minus_rate } => update_rows(s, &Rule::Sgd { minus_rate }, params, at, x, delta),
            // A copy of each for every N would take more room than it saves time.
            _ => unreachable!("rules with a state take gradients from memory"),
        },
    );
}

#[inline(always)]
fn update_rows<S: Simd, const N: usize>(
    s: S,
    rule: &Rule,
    params: &mut [f32],
    at: usize,
    x: [&[f32]; N],
    delta: [&[f32]; N],
) {
    let outputs = delta[0].len();
    if are_short::<S>(outputs) {
        return update_side_by_side(s, rule, params, &mut [&mut [], &mut []], at, x, delta);
    }
    let zero = s.splat(0.0);
    let (count, lanes) = (outputs / S::LANES, outputs % S::LANES);
    let (mut whole, mut last) = ([[].as_slice(); N], [zero; N]);
    for n in 0..N {
        let (vectors, part) = S::chunks(delta[n]);
        (whole[n], last[n]) = (parts::part(vectors, 0..count), s.load_part(part));
    }
    let params = parts::span_mut(params, at, x[0].len() * outputs);
    for (row, params) in params.chunks_exact_mut(outputs).enumerate() {
        let factors = splats(s, factors_of(x, row));
        let (own, part) = S::chunks_mut(params);
        let own = parts::part_mut(own, 0..count);
        let mut numbers = [zero; N];
        for v in 0..count {
            for n in 0..N {
                numbers[n] = s.load(&whole[n][v]);
            }
            let w = if matches!(rule, Rule::Gradient) { zero } else { s.load(&own[v]) };
            let (w, _) = rule.update(s, sum_of_products(s, factors, numbers), w, [zero; 2]);
            s.store(w, &mut own[v]);
        }
        if lanes > 0 {
            let w = if matches!(rule, Rule::Gradient) { zero } else { s.load_part(part) };
            let (w, _) = rule.update(s, sum_of_products(s, factors, last), w, [zero; 2]);
            store_lanes_in_place(s, w, part, lanes);
        }
    }
}

/// Whether rows of `outputs` are better off [side by side](update_side_by_side): those of less than two vectors, unless they
/// are one.
#[inline(always)]
pub(super) fn are_short<S: Simd>(outputs: usize) -> bool {
    outputs < 2 * S::LANES && !outputs.is_multiple_of(S::LANES)
}

/// Applies the rule to short rows, from `at` on, with the gradient `xᵀ·delta` of N samples: side by side, so that an optimizer's
/// divisions and roots meet full vectors.
#[inline(always)]
pub(super) fn update_side_by_side<S: Simd, const N: usize>(
    s: S,
    rule: &Rule,
    params: &mut [f32],
    state: &mut [&mut [f32]; 2],
    mut at: usize,
    x: [&[f32]; N],
    delta: [&[f32]; N],
) {
    let (rows, outputs) = (x[0].len(), delta[0].len());
    let first = outputs.min(S::LANES);
    let (mut firsts, mut seconds) = ([s.splat(0.0); N], [s.splat(0.0); N]);
    for n in 0..N {
        firsts[n] = load_lanes(s, delta[n], first);
        seconds[n] = s.load_part(&delta[n][first..]);
    }
    let mut products = [0.0; 256];
    let most = (products.len() - 2 * S::LANES) / outputs;
    for start in (0..rows).step_by(most) {
        let count = most.min(rows - start);
        for row in 0..count {
            let factors = splats(s, factors_of(x, start + row));
            // The next row writes over what this one does beyond its end.
            let row = &mut products[row * outputs..][..2 * S::LANES];
            store_lanes(s, sum_of_products(s, factors, firsts), row, S::LANES);
            if first < outputs {
                store_lanes(s, sum_of_products(s, factors, seconds), &mut row[S::LANES..], S::LANES);
            }
        }
        let products = &products[..count * outputs];
        update_span(s, rule, params, state, at, products, as_it_is);
        at += products.len();
    }
}

/// What row `row` of the weights meets of each sample.
#[inline(always)]
fn factors_of<const N: usize>(x: [&[f32]; N], row: usize) -> [f32; N] {
    let mut factors = [0.0; N];
    for n in 0..N {
        factors[n] = x[n][row];
    }
    factors
}

/// Each in all lanes of a vector.
#[inline(always)]
fn splats<S: Simd, const N: usize>(s: S, numbers: [f32; N]) -> [S::Vector; N] {
    let mut vectors = [s.splat(0.0); N];
    for n in 0..N {
        vectors[n] = s.splat(numbers[n]);
    }
    vectors
}

/// A chain from +0.
#[inline(always)]
fn sum_of_products<S: Simd, const N: usize>(s: S, a: [S::Vector; N], b: [S::Vector; N]) -> S::Vector {
    let mut sum = s.splat(0.0);
    for n in 0..N {
        sum = s.mul_add(a[n], b[n], sum);
    }
    sum
}
