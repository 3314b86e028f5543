//! The right-hand side of a product, and copies of its columns: a panel has one row for each term, a whole number of
//! vectors wide.
#![forbid(unsafe_code)]

use super::ahead::Ahead;
use super::rows::{PANEL, Rows, load_lanes, panel_columns, store_lanes};
use crate::simd::{Simd, rows_at};
use core::ops::Range;

/// Columns that are packed together where there is room: 192 KB with a block of terms, a share of a second-level cache.
pub(super) const GROUP: usize = 4 * PANEL;

/// B of a product `A·B`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Right<'a> {
    /// B itself, `[k × n]`.
    Plain(Rows<'a>),
    /// Bᵀ, `[n × k]`: its rows are B's columns.
    Transposed(Rows<'a>),
}

impl Right<'_> {
    /// Copies some terms of at most [`GROUP`] columns to panels, one behind the other. Beyond the last column stand zeros.
    #[inline(always)]
    pub(super) fn pack<S: Simd>(self, s: S, terms: Range<usize>, columns: Range<usize>, panels: &mut [f32]) {
        match self {
            Self::Plain(b) => s.outline(
                #[inline(always)]
                |s| copy(s, b, terms, columns, panels),
            ),
            Self::Transposed(b) => s.outline(
                #[inline(always)]
                |s| {
                    let mut column = columns.start;
                    while column < columns.end {
                        let panel = &mut panels[(column - columns.start) * terms.len()..];
                        let columns = column..column + panel_columns::<S>(columns.end - column);
                        let stride = columns.len().next_multiple_of(S::LANES);
                        column = columns.end;
                        if S::LANES == 1 {
                            turn(b, terms.clone(), columns, panel, stride);
                        } else {
                            transpose(s, b, terms.clone(), columns, panel, stride);
                        }
                    }
                },
            ),
        }
    }

    /// Columns to pack together where there is room. Of Bᵀ a panel's rows are whole runs of lines as they are.
    #[inline(always)]
    pub(super) fn group(&self) -> usize {
        match self {
            Self::Plain(_) => GROUP,
            Self::Transposed(_) => PANEL,
        }
    }

    /// What [`pack`](Self::pack) will read, a share of it with each of `tiles` tiles.
    #[inline(always)]
    pub(super) fn ahead(&self, terms: Range<usize>, columns: Range<usize>, tiles: usize) -> Ahead<'_> {
        match *self {
            Self::Plain(b) => Ahead::new(b, terms, columns, tiles),
            Self::Transposed(b) => Ahead::new(b, columns, terms, tiles),
        }
    }
}

/// Row by row, so that lines and pages are read through.
#[inline(always)]
fn copy<S: Simd>(s: S, b: Rows<'_>, terms: Range<usize>, columns: Range<usize>, panels: &mut [f32]) {
    let (depth, panel) = (terms.len(), S::TILE_VECTORS * S::LANES);
    let mut whole = 0;
    while panel_columns::<S>(columns.len() - whole) == panel {
        whole += panel;
    }
    let (panels, narrow) = panels.split_at_mut(whole * depth);
    for (i, term) in terms.enumerate() {
        let (from, rest) = b.part(term, columns.clone()).split_at(whole);
        for (from, panel) in from.chunks_exact(panel).zip(panels.chunks_exact_mut(panel * depth)) {
            let to = &mut panel[i * from.len()..][..from.len()];
            for v in 0..S::TILE_VECTORS {
                let v = v * S::LANES;
                store_lanes(s, load_lanes(s, &from[v..], S::LANES), &mut to[v..], S::LANES);
            }
        }
        let mut column = 0;
        while column < rest.len() {
            let from = &rest[column..][..panel_columns::<S>(rest.len() - column)];
            let stride = from.len().next_multiple_of(S::LANES);
            let to = &mut narrow[column * depth + i * stride..][..stride];
            for at in (0..from.len()).step_by(S::LANES) {
                let lanes = S::LANES.min(from.len() - at);
                store_lanes(s, load_lanes(s, &from[at..], lanes), &mut to[at..], S::LANES);
            }
            column += from.len();
        }
    }
}

/// Number by number.
#[inline(always)]
fn turn(bt: Rows<'_>, terms: Range<usize>, columns: Range<usize>, panel: &mut [f32], stride: usize) {
    for (j, column) in columns.enumerate() {
        for (to, &from) in panel.chunks_exact_mut(stride).zip(bt.part(column, terms.clone())) {
            to[j] = from;
        }
    }
}

/// A square of LANES × LANES at a time.
#[inline(always)]
fn transpose<S: Simd>(
    s: S,
    bt: Rows<'_>,
    terms: Range<usize>,
    columns: Range<usize>,
    panel: &mut [f32],
    stride: usize,
) {
    for column in columns.clone().step_by(S::LANES) {
        let width = S::LANES.min(columns.end - column);
        for term in terms.clone().step_by(S::LANES) {
            let height = S::LANES.min(terms.end - term);
            let from = Rows { data: &bt.data[column * bt.stride..], offset: bt.offset + term, width: height, ..bt };
            let to = &mut panel[(term - terms.start) * stride + column - columns.start..];
            if width == S::LANES && height == S::LANES {
                transpose_square::<S, true>(s, from, to, stride, width);
            } else {
                transpose_square::<S, false>(s, from, to, stride, width);
            }
        }
    }
}

/// Turns the first `rows` rows of `from` into columns. The square has LANES of both if `WHOLE`, else at most as many.
#[inline(always)]
fn transpose_square<S: Simd, const WHOLE: bool>(s: S, from: Rows<'_>, to: &mut [f32], to_stride: usize, rows: usize) {
    let (rows, columns) = if WHOLE { (S::LANES, S::LANES) } else { (rows, from.width) };
    let square = load_square(s, from, rows, columns);
    for c in 0..S::LANES {
        if c < columns {
            store_lanes(s, square[c], &mut to[c * to_stride..], S::LANES);
        }
    }
}

/// The first `columns` columns of the first `rows` rows of `from`, at most LANES of both: vector c holds column c.
#[expect(clippy::needless_range_loop, reason = "r indexes registers")]
#[inline(always)]
pub(super) fn load_square<S: Simd>(s: S, from: Rows<'_>, rows: usize, columns: usize) -> [S::Vector; 16] {
    let mut square = [s.splat(0.0); 16];
    // Indices the compiler can see keep the square in registers.
    if rows == S::LANES {
        // Their bounds are checked once.
        let rows = rows_at(from.data, from.offset, from.stride, S::LANES, columns);
        for r in 0..S::LANES {
            square[r] = load_lanes(s, rows[r], columns);
        }
    } else {
        for r in 0..S::LANES {
            if r < rows {
                square[r] = load_lanes(s, from.row(r), columns);
            }
        }
    }
    s.transpose(square)
}
