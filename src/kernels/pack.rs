//! The right-hand side of a product, and copies of its columns: a panel has one row for each term, a whole number of
//! vectors wide.
#![forbid(unsafe_code)]

use super::rows::{Ahead, Rows, columns_of, load_lanes, store_lanes};
use crate::simd::Simd;
use core::ops::Range;

/// B of a product `A·B`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Right<'a> {
    /// B itself, `[k × n]`.
    Plain(Rows<'a>),
    /// Bᵀ, `[n × k]`: its rows are B's columns.
    Transposed(Rows<'a>),
}

impl Right<'_> {
    /// Copies some terms of at most NV vectors of columns to a panel. Beyond the last column stand zeros.
    #[inline(always)]
    pub(super) fn pack<S: Simd, const NV: usize>(
        self,
        s: S,
        terms: Range<usize>,
        columns: Range<usize>,
        panel: &mut [f32],
    ) {
        match self {
            Self::Plain(b) => s.outline(
                #[inline(always)]
                |s| copy::<S, NV>(s, b, terms, columns, panel),
            ),
            Self::Transposed(b) if S::LANES == 1 => turn(b, terms, columns, panel, NV),
            Self::Transposed(b) => s.outline(
                #[inline(always)]
                |s| transpose(s, b, terms, columns, panel, NV * S::LANES),
            ),
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

#[inline(always)]
fn copy<S: Simd, const NV: usize>(s: S, b: Rows<'_>, terms: Range<usize>, columns: Range<usize>, panel: &mut [f32]) {
    let stride = NV * S::LANES;
    for (to, term) in panel.chunks_exact_mut(stride).zip(terms) {
        let from = b.part(term, columns.clone());
        let vectors =
            if from.len() == stride { columns_of::<S, NV, false>(s, from) } else { columns_of::<S, NV, true>(s, from) };
        for v in 0..NV {
            store_lanes(s, vectors[v], &mut to[v * S::LANES..], S::LANES);
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
#[expect(clippy::needless_range_loop, reason = "r indexes registers")]
#[inline(always)]
fn transpose_square<S: Simd, const WHOLE: bool>(s: S, from: Rows<'_>, to: &mut [f32], to_stride: usize, rows: usize) {
    let (rows, columns) = if WHOLE { (S::LANES, S::LANES) } else { (rows, from.width) };
    let mut square = [s.splat(0.0); 16];
    // Indices the compiler can see keep the square in registers.
    for r in 0..S::LANES {
        if r < rows {
            square[r] = load_lanes(s, from.row(r), columns);
        }
    }
    let square = s.transpose(square);
    for c in 0..S::LANES {
        if c < columns {
            store_lanes(s, square[c], &mut to[c * to_stride..], S::LANES);
        }
    }
}
