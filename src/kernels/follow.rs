//! What follows a layer's pre-activations beyond a product's epilogue: a residual, an activation
//! whose argument is kept, dropout; and the way back through them.
#![forbid(unsafe_code)]

use super::dropout::Dropout;
use super::rows::{Rows, RowsMut, load_lanes, store_lanes};
use crate::Isa;
use crate::activation::Activation;
use crate::parts;
use crate::simd::{Simd, dispatch};
use core::ops::Range;

/// Columns of a row that are worked on at a time: as many factors of dropout lie on the stack.
const COLUMNS: usize = 64;

/// What is added to rows.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Addend<'a> {
    /// Columns of the same buffer, from this one on.
    Within(usize),
    /// Rows of another buffer.
    Rows(Rows<'a>),
}

/// What a layer's pre-activations go through.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Follow<'a> {
    pub(crate) residual: Option<Addend<'a>>,
    pub(crate) activation: Activation,
    /// Where, in the same buffer, what the slope is taken at is kept.
    pub(crate) kept: Option<usize>,
    pub(crate) dropout: Option<Dropout>,
    /// The first row's number in the batch.
    pub(crate) first_row: usize,
}

/// What ∂loss/∂values go back through, to become ∂loss/∂pre-activations.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Back<'a> {
    pub(crate) activation: Activation,
    /// What the slope is taken at.
    pub(crate) at: Rows<'a>,
    pub(crate) dropout: Option<Dropout>,
    /// The first row's number in the batch.
    pub(crate) first_row: usize,
}

/// Turns pre-activations `z`, in place, into values. Softmax is left to the caller.
pub(crate) fn follow(isa: Isa, z: RowsMut<'_>, with: Follow<'_>) {
    dispatch!(isa, s => follow_in(s, z, with));
}

/// Adds `addend` to rows.
pub(crate) fn add(isa: Isa, to: RowsMut<'_>, addend: Addend<'_>) {
    let nothing =
        Follow { residual: Some(addend), activation: Activation::Linear, kept: None, dropout: None, first_row: 0 };
    dispatch!(isa, s => follow_in(s, to, nothing));
}

/// Turns ∂loss/∂values, in place, into ∂loss/∂pre-activations.
pub(crate) fn back(isa: Isa, delta: RowsMut<'_>, with: Back<'_>) {
    dispatch!(isa, s => back_in(s, delta, with));
}

#[inline(always)]
fn follow_in<S: Simd>(s: S, z: RowsMut<'_>, with: Follow<'_>) {
    let RowsMut { data, stride, offset: at, width } = z;
    let Follow { residual, activation, kept, dropout, first_row } = with;
    for (r, row) in data.chunks_exact_mut(stride.max(1)).enumerate() {
        for columns in pieces(width) {
            let mut factors = [0.0; COLUMNS];
            fill(dropout, first_row + r, width, &columns, &mut factors);
            for j in columns.clone().step_by(S::LANES) {
                let lanes = S::LANES.min(columns.end - j);
                let mut v = load_lanes(s, parts::from(row, at + j), lanes);
                match residual {
                    Some(Addend::Within(from)) => v = s.add(v, load_lanes(s, parts::from(row, from + j), lanes)),
                    Some(Addend::Rows(rows)) => v = s.add(v, load_lanes(s, parts::from(rows.row(r), j), lanes)),
                    None => {}
                }
                let z = v;
                v = activation.value(s, z);
                if let Some(kept) = kept {
                    let keep = if activation.slopes_at_pre_activation() { z } else { v };
                    store_lanes(s, keep, parts::from_mut(row, kept + j), lanes);
                }
                if dropout.is_some() {
                    v = dropped(s, v, &factors, j - columns.start, lanes);
                }
                store_lanes(s, v, parts::from_mut(row, at + j), lanes);
            }
        }
    }
}

#[inline(always)]
fn back_in<S: Simd>(s: S, delta: RowsMut<'_>, with: Back<'_>) {
    let RowsMut { data, stride, offset: at, width } = delta;
    let Back { activation, at: slope_at, dropout, first_row } = with;
    for (r, row) in data.chunks_exact_mut(stride).enumerate() {
        let slope_at = slope_at.row(r);
        for columns in pieces(width) {
            let mut factors = [0.0; COLUMNS];
            fill(dropout, first_row + r, width, &columns, &mut factors);
            for j in columns.clone().step_by(S::LANES) {
                let lanes = S::LANES.min(columns.end - j);
                let mut d = load_lanes(s, parts::from(row, at + j), lanes);
                if dropout.is_some() {
                    d = dropped(s, d, &factors, j - columns.start, lanes);
                }
                let d = activation.delta(s, d, load_lanes(s, parts::from(slope_at, j), lanes));
                store_lanes(s, d, parts::from_mut(row, at + j), lanes);
            }
        }
    }
}

/// `width` columns in parts of [`COLUMNS`].
#[inline(always)]
fn pieces(width: usize) -> impl Iterator<Item = Range<usize>> {
    (0..width).step_by(COLUMNS).map(
        #[inline(always)]
        move |start| start..width.min(start + COLUMNS),
    )
}

/// The factors of some columns of row `row`.
#[inline(always)]
fn fill(dropout: Option<Dropout>, row: usize, width: usize, columns: &Range<usize>, factors: &mut [f32]) {
    if let Some(dropout) = dropout {
        dropout.factors(row as u64 * width as u64 + columns.start as u64, parts::part_mut(factors, 0..columns.len()));
    }
}

/// `factor > 0 ? v × factor : +0`.
#[inline(always)]
fn dropped<S: Simd>(s: S, v: S::Vector, factors: &[f32], at: usize, lanes: usize) -> S::Vector {
    let factor = load_lanes(s, parts::from(factors, at), lanes);
    s.select(s.gt(factor, s.splat(0.0)), s.mul(v, factor), s.splat(0.0))
}
