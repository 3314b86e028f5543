//! The product `Aᵀ·B` by register tiles, whose elements go straight to what consumes them.
//!
//! An element is summed in the order that [`gemm`](super::gemm) gives. Both sides are read along
//! their rows, so that only large ones need packing: for their strides, which spread a tile's
//! numbers over more pages and fewer cache sets than are good.
#![forbid(unsafe_code)]

use super::rows::{PANEL, Rows, blocks, columns_of, load_lanes, row_parts, steps, store_lanes};
use crate::simd::Simd;
use core::ops::Range;

/// What becomes of the elements of [`transposed_product`].
pub(crate) trait Sink<S: Simd> {
    /// Whether [`take`](Self::take) is short enough to be inlined for every vector of a tile.
    fn is_cheap(&self) -> bool;

    /// Whether what [`take`](Self::take) reads is too much for the near caches.
    fn is_large(&self) -> bool;

    /// Fetches what will be read with the sums of `rows` from `column` on, `columns` of each.
    fn prefetch(&self, s: S, rows: Range<usize>, column: usize, columns: usize);

    /// Takes a vector of sums: those of `row` from `column` on.
    fn take(&mut self, s: S, row: usize, column: usize, sum: S::Vector);

    /// Takes the sums of some rows from `row` on, `columns` of each from `column` on, row after row, and may change them.
    fn take_tile(&mut self, s: S, row: usize, column: usize, columns: usize, sums: &mut [f32]);
}

/// Rows of the result whose columns of A are kept in cache while B passes by.
const BAND: usize = 128;

/// Floats of scratch with which [`transposed_product`] packs its operands: none where that would not pay.
pub(crate) const fn transposed_scratch_len(k: usize, rows: usize, columns: usize) -> usize {
    let large = rows >= BAND && columns >= 4 * PANEL && k.saturating_mul(columns) >= PACK_FROM;
    if large { k.saturating_mul(BAND + PANEL) } else { 0 }
}

/// Elements of B from which on packing pays: what fills a first-level cache.
const PACK_FROM: usize = 16 * 1024;

/// A matrix, or a copy of some of its columns in rows of their own.
#[derive(Clone, Copy)]
struct Columns<'a> {
    data: &'a [f32],
    stride: usize,
    /// Where in a row column 0 lies; modulo 2ʷ, since of a copy it may lie before the row.
    zero: usize,
}

impl<'a> Columns<'a> {
    #[inline(always)]
    fn of(rows: Rows<'a>) -> Self {
        Self { data: rows.data, stride: rows.stride, zero: rows.offset }
    }

    /// Where in a row column `column` lies.
    #[inline(always)]
    fn at(&self, column: usize) -> usize {
        self.zero.wrapping_add(column)
    }

    /// Copies `columns` of `from` into rows of `stride` floats, a whole number of vectors.
    #[inline(always)]
    fn pack<S: Simd>(s: S, from: Rows<'_>, columns: Range<usize>, stride: usize, to: &'a mut [f32]) -> Self {
        let data = &mut to[..from.count() * stride];
        s.outline(
            #[inline(always)]
            |s| {
                for (to, from) in data.chunks_exact_mut(stride).zip(from.iter()) {
                    let from = &from[columns.clone()];
                    for at in (0..from.len()).step_by(S::LANES) {
                        let lanes = S::LANES.min(from.len() - at);
                        store_lanes(s, load_lanes(s, &from[at..], lanes), &mut to[at..], S::LANES);
                    }
                }
            },
        );
        Self { data, stride, zero: columns.start.wrapping_neg() }
    }
}

/// `sink(Aᵀ·B)` for rows `rows` of the result, with `A: [k × m]` and `B: [k × n]`. With
/// [`transposed_scratch_len`] floats of scratch large ones are packed.
#[inline(always)]
pub(crate) fn transposed_product<S: Simd, K: Sink<S>>(
    s: S,
    a: Rows<'_>,
    b: Rows<'_>,
    rows: Range<usize>,
    sink: &mut K,
    scratch: &mut [f32],
) {
    let k = a.count();
    let needed = transposed_scratch_len(k, rows.len(), b.width);
    let packs = S::LANES > 1 && needed > 0 && needed <= scratch.len();
    let (a_scratch, b_scratch) = scratch.split_at_mut(if packs { k * BAND } else { 0 });
    let mut start = rows.start;
    while start < rows.end {
        let band = start..rows.end.min(start + BAND);
        let a = if packs { Columns::pack(s, a, band.clone(), BAND, a_scratch) } else { Columns::of(a) };
        let mut column = 0;
        while column < b.width {
            let columns = (2 * S::LANES).min(b.width - column);
            let b = if packs {
                Columns::pack(s, b, column..column + columns, 2 * S::LANES, b_scratch)
            } else {
                Columns::of(b)
            };
            if columns == 2 * S::LANES {
                band_tiles::<S, K, 2, false>(s, a, b, band.clone(), column, columns, sink);
            } else if columns > S::LANES {
                band_tiles::<S, K, 2, true>(s, a, b, band.clone(), column, columns, sink);
            } else {
                band_tiles::<S, K, 1, true>(s, a, b, band.clone(), column, columns, sink);
            }
            column += columns;
        }
        start = band.end;
    }
}

#[inline(always)]
fn band_tiles<S: Simd, K: Sink<S>, const NV: usize, const PART: bool>(
    s: S,
    a: Columns<'_>,
    b: Columns<'_>,
    band: Range<usize>,
    column: usize,
    columns: usize,
    sink: &mut K,
) {
    let mut row = band.start;
    for rows in row_parts(band.len(), S::TILE_ROWS) {
        macro_rules! of_height {
            ($($height:literal)*) => {
                match rows {
                    $($height if $height <= S::TILE_ROWS => {
                        transposed_tile::<S, K, $height, NV, PART>(s, a, b, row, column, columns, sink);
                    })*
                    _ => unreachable!("a tile has 1 to TILE_ROWS rows"),
                }
            };
        }
        of_height!(1 2 3 4 5 6 7 8);
        row += rows;
    }
}

/// One tile of Aᵀ·B: `Σ a[k][row + r] · b[k][column ..]`, over all blocks of k.
#[inline(always)]
fn transposed_tile<S: Simd, K: Sink<S>, const MR: usize, const NV: usize, const PART: bool>(
    s: S,
    a: Columns<'_>,
    b: Columns<'_>,
    row: usize,
    column: usize,
    columns: usize,
    sink: &mut K,
) {
    if sink.is_large() {
        sink.prefetch(s, row..row + MR, column, columns);
    }
    let mut total = [[s.splat(0.0); NV]; MR];
    let (from, b_from) = (a.at(row), b.at(column));
    let columns = if PART { columns } else { NV * S::LANES };
    let blocks = blocks(a.data, a.stride).zip(blocks(b.data, b.stride));
    for (index, (a_block, b_block)) in blocks.enumerate() {
        let mut acc = [[s.splat(0.0); NV]; MR];
        for (a, b) in steps(a_block, a.stride).zip(steps(b_block, b.stride)) {
            let b = columns_of::<S, NV, PART>(s, &b[b_from..b_from + columns]);
            let a = &a[from..from + MR];
            for r in 0..MR {
                let a = s.splat(a[r]);
                for v in 0..NV {
                    acc[r][v] = s.mul_add(a, b[v], acc[r][v]);
                }
            }
        }
        if index == 0 {
            total = acc;
        } else {
            for r in 0..MR {
                for v in 0..NV {
                    total[r][v] = s.add(total[r][v], acc[r][v]);
                }
            }
        }
    }
    if sink.is_cheap() && !PART {
        for (r, total) in total.iter().enumerate() {
            for (v, &sum) in total.iter().enumerate() {
                sink.take(s, row + r, column + v * S::LANES, sum);
            }
        }
    } else {
        // Row after row without gaps: a store runs over into the next row, which then overwrites it.
        let mut sums = [[0.0; PANEL]; MR];
        let sums = sums.as_flattened_mut();
        for r in 0..MR {
            for v in 0..NV {
                store_lanes(s, total[r][v], &mut sums[r * columns + v * S::LANES..], S::LANES);
            }
        }
        sink.take_tile(s, row, column, columns, &mut sums[..MR * columns]);
    }
}
