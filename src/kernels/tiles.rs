//! Register tiles of a product, epilogue included: one group of columns at a time, one block of terms, some rows.
#![forbid(unsafe_code)]

use super::ahead::{Ahead, Beside, Nothing};
use super::rows::{Rows, RowsMut, columns_of, load_lanes, prefetch, row_parts, store_lanes};
use crate::simd::{Simd, Strided, walk, within};
use core::ops::Range;
use core::sync::atomic::{Ordering, compiler_fence};

/// What becomes of a product's elements.
///
/// [`value`](Self::value) is compiled into every vector of every tile, so it is a
/// few instructions; what needs more has its place in [`settle`](Self::settle).
pub(crate) trait Epilogue<S: Simd> {
    /// The values to store for the elements in `row` from `column` on, `lanes` of them.
    fn value(&self, s: S, row: usize, column: usize, lanes: usize, sum: S::Vector) -> S::Vector;

    /// Passes over `columns` of `rows` once they are stored.
    fn settle(&self, s: S, stored: &mut RowsMut<'_>, rows: Range<usize>, columns: Range<usize>);
}

/// Where a product goes.
pub(super) struct Target<'a, 'o, E> {
    pub(super) out: &'a mut RowsMut<'o>,
    pub(super) epilogue: &'a E,
}

/// Some rows of A, and one block of their terms.
pub(super) struct Left<'a> {
    pub(super) a: Rows<'a>,
    /// The product's row that is a's first.
    pub(super) first_row: usize,
    /// Of the product.
    pub(super) rows: Range<usize>,
    /// In a's columns.
    pub(super) terms: Range<usize>,
    pub(super) is_first: bool,
    pub(super) is_last: bool,
}

/// The same terms of B: row k of a group of columns is `b[k·stride + from ..]`.
#[derive(Clone, Copy)]
pub(super) struct Tiled<'a> {
    pub(super) b: &'a [f32],
    pub(super) stride: usize,
    pub(super) from: usize,
}

/// Whether four terms of a tile should share a turn of the loop: where vectors have several lanes and a term takes so few
/// multiply-adds that counting shows. (The compiler mixes those of AVX-512, which leaves it without a register.)
#[inline(always)]
pub(super) const fn shares_turns<S: Simd>() -> bool {
    S::LANES > 1 && S::TILE_ROWS * S::TILE_VECTORS <= 12
}

/// Some terms of a tile: `acc[r][v] += a[r][k] · b[k][v·LANES ..]`, `columns` wide: NV whole vectors, or fewer elements in
/// the last (`PART`). Four terms share a turn of the loop if `fours`; with each `beside` does some of what it has. `acc` goes in and out by value, or the compiler keeps
/// it in memory.
#[expect(clippy::too_many_arguments, reason = "a tile, what it is made of, and what is done beside it")]
#[inline(always)]
pub(super) fn tile<S: Simd, const MR: usize, const NV: usize, const PART: bool, B: Beside<S>>(
    s: S,
    mut acc: [[S::Vector; NV]; MR],
    fours: bool,
    terms: usize,
    a: Strided<'_>,
    b: Strided<'_>,
    columns: usize,
    beside: &mut B,
) -> [[S::Vector; NV]; MR] {
    let columns = if PART { columns } else { NV * S::LANES };
    walk::<MR>(
        fours,
        terms,
        a,
        b,
        columns,
        #[inline(always)]
        |place, a, b| {
            let b = columns_of::<S, NV, PART>(s, b);
            for r in 0..MR {
                let a = s.splat(a[r]);
                for v in 0..NV {
                    acc[r][v] = s.mul_add(a, b[v], acc[r][v]);
                }
            }
            // Behind the loads of a, which become operands with their broadcasts.
            beside.turn(s, place);
            if fours {
                // Or the compiler mixes the four, has no register left, and keeps the sums in memory.
                compiler_fence(Ordering::SeqCst);
            }
        },
    );
    acc
}

/// One group of columns, one block of k, all rows.
#[inline(always)]
pub(super) fn row_tiles<S: Simd, E: Epilogue<S>, const NV: usize, const PART: bool, const OUT_PART: bool>(
    s: S,
    left: &Left<'_>,
    right: Tiled<'_>,
    target: &mut Target<'_, '_, E>,
    rows: Range<usize>,
    columns: Range<usize>,
    ahead: &mut Option<Ahead<'_>>,
) {
    let mut row = rows.start;
    for rows in row_parts(rows.len(), most_rows::<S>(NV)) {
        let lines = ahead.as_mut().map(Ahead::share);
        if lines.is_some() {
            for r in 0..rows {
                prefetch(s, target.out.part_mut(row + r, columns.clone()));
            }
        }
        macro_rules! of_height {
            ($($height:literal)*) => {
                match (rows, lines) {
                    $(($height, Some(lines)) if const { !PART && !OUT_PART && $height == S::TILE_ROWS } => {
                        within!(s => one_tile::<S, E, $height, NV, PART, OUT_PART, _>(s, left, right, target, row, columns.clone(), lines));
                    }
                    ($height, None) if const { !PART && !OUT_PART && $height == most_rows::<S>(NV) } => {
                        within!(s => one_tile::<S, E, $height, NV, PART, OUT_PART, _>(s, left, right, target, row, columns.clone(), Nothing));
                    }
                    ($height, lines) if const { $height <= most_rows::<S>(NV) && (PART || OUT_PART || $height != S::TILE_ROWS) } => {
                        if let Some(mut lines) = lines {
                            lines.fetch_all(s);
                        }
                        within!(s => one_tile::<S, E, $height, NV, PART, OUT_PART, _>(s, left, right, target, row, columns.clone(), Nothing));
                    })*
                    _ => unreachable!("a tile has 1 to most_rows rows"),
                }
            };
        }
        of_height!(1 2 3 4 5 6 7 8);
        row += rows;
    }
}

/// Rows of a tile `vectors` wide. Wider ones serve products of few rows.
const fn most_rows<S: Simd>(vectors: usize) -> usize {
    match vectors {
        8 => 1,
        4 => 3,
        _ => S::TILE_ROWS,
    }
}

/// One tile: its sums joined to those of the blocks before, then stored or finished.
#[expect(clippy::needless_range_loop, reason = "r and v index registers, and say where they lie")]
#[inline(always)]
fn one_tile<
    S: Simd,
    E: Epilogue<S>,
    const MR: usize,
    const NV: usize,
    const PART: bool,
    const OUT_PART: bool,
    B: Beside<S>,
>(
    s: S,
    left: &Left<'_>,
    right: Tiled<'_>,
    target: &mut Target<'_, '_, E>,
    row: usize,
    columns: Range<usize>,
    mut beside: B,
) {
    let Left { a, ref terms, .. } = *left;
    let column = columns.start;
    let width = if OUT_PART { columns.len() } else { NV * S::LANES };
    let lanes = |v: usize| if OUT_PART && v + 1 == NV { width - v * S::LANES } else { S::LANES };
    let start = (row - left.first_row) * a.stride + a.offset + terms.start;
    let from = Strided { data: a.data, start, step: 1, across: a.stride };
    let b = Strided { data: right.b, start: right.from, step: right.stride, across: 0 };
    let zeros = [[s.splat(0.0); NV]; MR];
    let mut acc = tile::<S, MR, NV, PART, B>(s, zeros, shares_turns::<S>(), terms.len(), from, b, width, &mut beside);
    let to = target.out.tile::<MR>(row, column..column + width);
    if !left.is_first {
        for r in 0..MR {
            for v in 0..NV {
                acc[r][v] = s.add(load_lanes(s, &to[r][v * S::LANES..], lanes(v)), acc[r][v]);
            }
        }
    }
    if left.is_last {
        for r in 0..MR {
            for v in 0..NV {
                acc[r][v] = target.epilogue.value(s, row + r, column + v * S::LANES, lanes(v), acc[r][v]);
            }
        }
    }
    for r in 0..MR {
        for v in 0..NV {
            store_lanes(s, acc[r][v], &mut to[r][v * S::LANES..], lanes(v));
        }
    }
}
