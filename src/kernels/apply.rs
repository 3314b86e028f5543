//! The rule of an optimizer, applied to gradients that lie in registers or in memory.
#![forbid(unsafe_code)]

use super::few::{are_short, update_side_by_side};
use super::rows::{load_lanes, store_lanes_in_place};
use crate::Isa;
use crate::optimizer::Rule;
use crate::parts;
use crate::simd::{Simd, dispatch};

/// Applies the rule to `lanes` parameters from `at` on.
#[inline(always)]
pub(super) fn update_lanes<S: Simd>(
    s: S,
    rule: &Rule,
    params: &mut [f32],
    state: &mut [&mut [f32]; 2],
    at: usize,
    lanes: usize,
    gradient: S::Vector,
) {
    let params = parts::part_mut(params, at..at + lanes);
    let zero = s.splat(0.0);
    let w = if matches!(rule, Rule::Gradient) { zero } else { load_lanes(s, params, lanes) };
    let old = match rule.states() {
        0 => [zero; 2],
        1 => [load_lanes(s, parts::from(state[0], at), lanes), zero],
        _ => [load_lanes(s, parts::from(state[0], at), lanes), load_lanes(s, parts::from(state[1], at), lanes)],
    };
    let (w, new) = rule.update(s, gradient, w, old);
    store_lanes_in_place(s, w, params, lanes);
    for (state, new) in state.iter_mut().zip(new).take(rule.states()) {
        store_lanes_in_place(s, new, parts::from_mut(state, at), lanes);
    }
}

/// Applies the rule to the parameters from `at` on, whose gradients are `gradient` of these numbers.
#[inline(always)]
pub(super) fn update_span<S: Simd>(
    s: S,
    rule: &Rule,
    params: &mut [f32],
    state: &mut [&mut [f32]; 2],
    at: usize,
    numbers: &[f32],
    gradient: impl Fn(S::Vector) -> S::Vector,
) {
    let (whole, part) = S::chunks(numbers);
    let (count, len) = (whole.len(), whole.len() * S::LANES);
    let states = rule.states();
    let own_params = vectors::<S>(params, at, count);
    let [first, second] = &mut *state;
    let own_first = if states > 0 { vectors::<S>(first, at, count) } else { &mut [] };
    let own_second = if states > 1 { vectors::<S>(second, at, count) } else { &mut [] };
    // As many as they are: the compiler sees that no index is out of bounds.
    let mut count = count.min(own_params.len());
    if states > 0 {
        count = count.min(own_first.len());
    }
    if states > 1 {
        count = count.min(own_second.len());
    }
    let zero = s.splat(0.0);
    for v in 0..count {
        let w = if matches!(rule, Rule::Gradient) { zero } else { s.load(&own_params[v]) };
        let old = [
            if states > 0 { s.load(&own_first[v]) } else { zero },
            if states > 1 { s.load(&own_second[v]) } else { zero },
        ];
        let (w, new) = rule.update(s, gradient(s.load(&whole[v])), w, old);
        s.store(w, &mut own_params[v]);
        if states > 0 {
            s.store(new[0], &mut own_first[v]);
        }
        if states > 1 {
            s.store(new[1], &mut own_second[v]);
        }
    }
    if !part.is_empty() {
        update_lanes(s, rule, params, state, at + len, part.len(), gradient(s.load_part(part)));
    }
}

/// Applies the rule to the parameters from `at` on, whose gradients are these numbers times `factor`, as a sum of one term:
/// weights that a single sample updates.
#[inline(always)]
pub(super) fn update_products<S: Simd>(
    s: S,
    rule: &Rule,
    params: &mut [f32],
    state: &mut [&mut [f32]; 2],
    at: usize,
    numbers: &[f32],
    factor: f32,
) {
    update_span(
        s,
        rule,
        params,
        state,
        at,
        numbers,
        #[inline(always)]
        |number| s.mul_add(s.splat(factor), number, s.splat(0.0)),
    );
}

/// Applies the rule to rows from `at` on with the products of `x` and `delta`: weights that a single sample updates.
#[inline(always)]
pub(super) fn update_rows<S: Simd>(
    s: S,
    rule: &Rule,
    params: &mut [f32],
    state: &mut [&mut [f32]; 2],
    at: usize,
    x: &[f32],
    delta: &[f32],
) {
    let outputs = delta.len();
    if are_short::<S>(outputs) {
        return update_side_by_side(s, rule, params, state, at, [x], [delta]);
    }
    for (row, &x) in x.iter().enumerate() {
        update_products(s, rule, params, state, at + row * outputs, delta, x);
    }
}

/// The gradient of numbers that are gradients.
#[inline(always)]
pub(super) fn as_it_is<V>(gradient: V) -> V {
    gradient
}

/// `count` vectors of `x` from `at` on: checked here, no loop over them is.
#[inline(always)]
fn vectors<S: Simd>(x: &mut [f32], at: usize, count: usize) -> &mut [S::Array] {
    parts::part_mut(S::chunks_mut(parts::part_mut(x, at..at + count * S::LANES)).0, 0..count)
}

/// Applies `rule` to all of `params` with a gradient that was stored before.
pub(crate) fn apply(isa: Isa, rule: &Rule, gradient: &[f32], params: &mut [f32], state: [&mut [f32]; 2]) {
    dispatch!(isa, s => apply_in(s, rule, gradient, params, state));
}

#[inline(always)]
fn apply_in<S: Simd>(s: S, rule: &Rule, gradient: &[f32], params: &mut [f32], mut state: [&mut [f32]; 2]) {
    rule.known(
        #[inline(always)]
        |rule| update_span(s, &rule, params, &mut state, 0, gradient, as_it_is),
    );
}
