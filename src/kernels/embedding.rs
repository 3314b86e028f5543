//! An embedding: a column of categories replaced by rows of a table.
#![forbid(unsafe_code)]

use super::apply::update_lanes;
use super::dense_update::Band;
use super::rows::{BLOCK, Rows, RowsMut, load_lanes};
use crate::Isa;
use crate::optimizer::Rule;
use crate::parts;
use crate::simd::{Simd, dispatch};
use core::ops::Range;

/// Where an embedding's coordinates stand in its values, and how many categories it has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Embedded {
    pub(crate) column: usize,
    pub(crate) categories: usize,
    pub(crate) dimensions: usize,
}

impl Embedded {
    /// The category that a sample's column holds. (The step has checked the network's inputs; what a
    /// normalisation with strange statistics makes of them is still some category.)
    pub(crate) fn category(&self, x: &[f32]) -> usize {
        (parts::element(x, self.column) as usize).min(self.categories - 1)
    }

    /// The columns of its values that come from the table.
    fn coordinates(&self) -> Range<usize> {
        self.column..self.column + self.dimensions
    }
}

/// Writes z: x with its column replaced by that category's row of `table: [categories × dimensions]`.
pub(crate) fn embed(x: Rows<'_>, embedded: Embedded, table: &[f32], mut z: RowsMut<'_>) {
    let start = embedded.column;
    for (z, x) in z.iter_mut().zip(x.iter()) {
        let row = embedded.category(x) * embedded.dimensions;
        let ((before, z), (x, from)) = (parts::split_mut(z, start), parts::split(x, start));
        let (coordinates, after) = parts::split_mut(z, embedded.dimensions);
        parts::copy(x, before);
        parts::copy(parts::span(table, row, embedded.dimensions), coordinates);
        parts::copy(parts::from(from, 1), after);
    }
}

/// Takes δ back through [`embed`]: a category has no derivative, +0; the other columns pass.
pub(crate) fn embed_delta(delta: Rows<'_>, embedded: Embedded, mut below: RowsMut<'_>) {
    let Range { start, end } = embedded.coordinates();
    for (below, delta) in below.iter_mut().zip(delta.iter()) {
        below[..start].copy_from_slice(&delta[..start]);
        below[start] = 0.0;
        below[start + 1..].copy_from_slice(parts::from(delta, end));
    }
}

/// Updates rows of the table. A category's gradient is the sum of δ over its samples, in the order of a
/// product's element: as if the column were one-hot and the table the weights of a dense layer.
pub(crate) fn embedding_update(
    isa: Isa,
    x: Rows<'_>,
    delta: Rows<'_>,
    embedded: Embedded,
    rule: &Rule,
    band: Band<'_>,
) {
    dispatch!(isa, s => embedding_update_in(s, x, delta, embedded, rule, band));
}

#[inline(always)]
fn embedding_update_in<S: Simd>(s: S, x: Rows<'_>, delta: Rows<'_>, embedded: Embedded, rule: &Rule, band: Band<'_>) {
    let Band { rows, params, mut state, penalty } = band;
    let coordinates = Rows { offset: delta.offset + embedded.column, width: embedded.dimensions, ..delta };
    for (index, row) in rows.enumerate() {
        let occurs = x.iter().any(|x| embedded.category(x) == row);
        // Without momentum and penalty a gradient of zero changes nothing.
        if !occurs && matches!(rule, Rule::Sgd { .. }) && penalty.is_none() {
            continue;
        }
        for at in (0..embedded.dimensions).step_by(S::LANES) {
            let lanes = S::LANES.min(embedded.dimensions - at);
            let mut gradient = category_sum(s, x, coordinates, embedded, row, at, lanes);
            let at = index * embedded.dimensions + at;
            if let Some(penalty) = penalty {
                gradient = penalty.gradient(s, gradient, load_lanes(s, parts::from(params, at), lanes));
            }
            update_lanes(s, rule, params, &mut state, at, lanes, gradient);
        }
    }
}

/// Σ δ over the samples of one category.
#[inline(always)]
fn category_sum<S: Simd>(
    s: S,
    x: Rows<'_>,
    delta: Rows<'_>,
    embedded: Embedded,
    category: usize,
    at: usize,
    lanes: usize,
) -> S::Vector {
    let mut total = s.splat(0.0);
    for start in (0..x.count()).step_by(BLOCK) {
        let mut sum = s.splat(0.0);
        for r in start..x.count().min(start + BLOCK) {
            if embedded.category(x.row(r)) == category {
                sum = s.add(sum, load_lanes(s, parts::from(delta.row(r), at), lanes));
            }
        }
        total = s.add(total, sum);
    }
    total
}
