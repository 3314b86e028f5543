//! The product `Aᵀ·B` by register tiles, whose elements go straight to what consumes them.
//!
//! An element is summed in the order that [`gemm`](super::gemm) gives. Both sides are read along
//! their rows, so that only large ones need packing: for their strides, which spread a tile's
//! numbers over more pages and fewer cache sets than are good.
#![forbid(unsafe_code)]

use super::ahead::{Ahead, Beside, Joined, Nothing};
use super::pack::{GROUP, Right};
use super::rows::{BLOCK, PANEL, Rows, panel_columns, panel_vectors, row_parts, store_lanes};
use super::tiles::{shares_turns, tile};
use crate::simd::{Simd, Strided, apart, tile_rows, within};
use core::ops::Range;

/// What becomes of the elements of [`transposed_product`].
pub(crate) trait Sink<S: Simd> {
    /// Whether [`take`](Self::take) is short enough to be inlined for every vector of a tile.
    fn is_cheap(&self) -> bool;

    /// Whether what [`take`](Self::take) reads is too much for the near caches.
    fn is_large(&self) -> bool;

    /// What will be read with the sums of `rows` from `column` on, `columns` of each.
    fn joined(&self, rows: Range<usize>, column: usize, columns: usize) -> Joined<'_>;

    /// Takes the sums of MR rows from `row` on, NV vectors of each from `column` on.
    fn take<const MR: usize, const NV: usize>(&mut self, s: S, row: usize, column: usize, sums: [[S::Vector; NV]; MR]);

    /// Takes the sums of some rows from `row` on, `columns` of each from `column` on, row after row, and may change them.
    fn take_tile(&mut self, s: S, row: usize, column: usize, columns: usize, sums: &mut [f32]);
}

/// Floats of A that are kept in cache while B passes by.
const BAND: usize = 96 * 1024;

/// Floats of the largest tile.
const TILE: usize = 8 * PANEL;

/// Rows of the result from which on packing pays.
const LEAST_ROWS: usize = 128;

/// Rows that are a whole number of tiles on all instruction sets.
const TILES: usize = 24;

/// Rows of the result whose columns of A are packed at a time: bands of nearly the same size, but for the last of a
/// whole number of tiles on all instruction sets.
const fn band_rows(k: usize, rows: usize) -> usize {
    // Few rows, and B would be packed too often for what they compute with it.
    let most = if k > BAND / LEAST_ROWS { LEAST_ROWS } else { BAND / k };
    rows.div_ceil(rows.div_ceil(most)).next_multiple_of(TILES)
}

/// Floats of scratch with which [`transposed_product`] packs its operands: none where that would not pay.
pub(crate) const fn transposed_scratch_len(k: usize, rows: usize, columns: usize) -> usize {
    let large = rows >= LEAST_ROWS && columns >= 4 * PANEL && k.saturating_mul(columns) >= PACK_FROM;
    if large { k.saturating_mul(band_rows(k, rows) + GROUP) } else { 0 }
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

    /// A copy of some columns from `first` on, in rows of `stride` floats.
    #[inline(always)]
    fn packed(data: &'a [f32], first: usize, stride: usize) -> Self {
        Self { data, stride, zero: first.wrapping_neg() }
    }
}

/// The columns of A that a band of rows of the result is made of.
#[derive(Clone, Copy)]
enum Band<'a> {
    /// Where they lie.
    Plain(Columns<'a>),
    /// In tiles, one behind the other: of each all terms, and of a term a number for each row.
    Packed { data: &'a [f32], first_row: usize },
}

impl<'a> Band<'a> {
    /// Copies the columns `rows` of `a`, in the tiles that each `together` of them are parted into.
    #[inline(always)]
    fn pack<S: Simd>(s: S, a: Rows<'_>, rows: Range<usize>, together: usize, to: &'a mut [f32]) -> Self {
        let k = a.count();
        let data = &mut to[..k * rows.len()];
        s.outline(
            #[inline(always)]
            |_| {
                for first in (0..k).step_by(PACK_TERMS) {
                    let terms = first..k.min(first + PACK_TERMS);
                    let mut row = rows.start;
                    while row < rows.end {
                        for height in row_parts(together.min(rows.end - row), S::TILE_ROWS) {
                            let tile = &mut data[(row - rows.start) * k..][..k * height];
                            macro_rules! of_height {
                                ($($height:literal)*) => {
                                    match height {
                                        $($height => copy_columns::<$height>(a, terms.clone(), row, tile),)*
                                        _ => unreachable!("a tile has 1 to TILE_ROWS rows"),
                                    }
                                };
                            }
                            of_height!(1 2 3 4 5 6 7 8);
                            row += height;
                        }
                    }
                }
            },
        );
        Self::Packed { data, first_row: rows.start }
    }

    /// `height` rows of the result from `row` on, over k terms.
    #[inline(always)]
    fn tile(&self, k: usize, row: usize, height: usize) -> Strided<'a> {
        match *self {
            Self::Plain(a) => Strided { data: a.data, start: a.at(row), step: a.stride, across: 1 },
            Self::Packed { data, first_row } => Strided { data, start: (row - first_row) * k, step: height, across: 1 },
        }
    }
}

/// Rows of A that are packed together: their lines stay in cache from one tile to the next.
const PACK_TERMS: usize = 16;

/// MR columns of some terms of A, to where they belong in a tile of all terms.
#[inline(always)]
fn copy_columns<const MR: usize>(a: Rows<'_>, terms: Range<usize>, column: usize, tile: &mut [f32]) {
    let tile = &mut tile[terms.start * MR..terms.end * MR];
    for (to, term) in tile.chunks_exact_mut(MR).zip(terms) {
        to.copy_from_slice(a.part(term, column..column + MR));
    }
}

/// The columns of B that a group of columns of the result is made of.
#[derive(Clone, Copy)]
enum Group<'a> {
    /// Where they lie.
    Plain(Columns<'a>),
    /// In panels, one behind the other, from column `first` on.
    Packed { data: &'a [f32], first: usize },
}

/// Rows of the result whose sums are taken together where that is better than a tile at a time: whole tiles on all
/// instruction sets.
const CHUNK_ROWS: usize = TILES;

/// Some rows of the result on their way to another sink: a group of columns wide, what that does with them goes through
/// memory in longer runs than the rows of a tile.
struct Chunk<'a, K> {
    rows: Range<usize>,
    columns: Range<usize>,
    /// `[rows × columns]`.
    sums: &'a mut [f32],
    above: &'a K,
}

impl<K> Chunk<'_, K> {
    /// Where in the sums an element lies.
    #[inline(always)]
    fn at(&self, row: usize, column: usize) -> usize {
        (row - self.rows.start) * self.columns.len() + column - self.columns.start
    }
}

impl<S: Simd, K: Sink<S>> Sink<S> for Chunk<'_, K> {
    #[inline(always)]
    fn is_cheap(&self) -> bool {
        true
    }

    #[inline(always)]
    fn is_large(&self) -> bool {
        self.above.is_large()
    }

    #[inline(always)]
    fn joined(&self, rows: Range<usize>, column: usize, columns: usize) -> Joined<'_> {
        self.above.joined(rows, column, columns)
    }

    #[inline(always)]
    fn take<const MR: usize, const NV: usize>(&mut self, s: S, row: usize, column: usize, sums: [[S::Vector; NV]; MR]) {
        let at = self.at(row, column);
        let to = tile_rows::<MR>(self.sums, at, self.columns.len(), NV * S::LANES);
        for r in 0..MR {
            for v in 0..NV {
                store_lanes(s, sums[r][v], &mut to[r][v * S::LANES..], S::LANES);
            }
        }
    }

    #[inline(always)]
    fn take_tile(&mut self, _: S, row: usize, column: usize, columns: usize, sums: &mut [f32]) {
        for (r, sums) in sums.chunks_exact(columns).enumerate() {
            let at = self.at(row + r, column);
            self.sums[at..][..columns].copy_from_slice(sums);
        }
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
    // The scratch is for all rows of a layer; some of them may come in larger bands.
    let fits = (scratch.len() / k).saturating_sub(GROUP) / TILES * TILES;
    let packs = S::LANES > 1 && fits > 0 && transposed_scratch_len(k, rows.len(), b.width) > 0;
    let most = if packs { band_rows(k, rows.len()).min(fits) } else { rows.len() };
    let (a_scratch, b_scratch) = scratch.split_at_mut(if packs { k * most } else { 0 });
    let chunked = packs && !sink.is_cheap();
    // A tile never belongs to two chunks.
    let together = if chunked { CHUNK_ROWS } else { most };
    let mut chunk_room;
    let chunk_room = if chunked {
        chunk_room = [0.0; CHUNK_ROWS * GROUP];
        chunk_room.as_mut_slice()
    } else {
        [].as_mut_slice()
    };
    let mut room;
    let sums = if sink.is_cheap() && b.width.is_multiple_of(S::LANES) {
        [].as_mut_slice()
    } else {
        room = [0.0; TILE];
        room.as_mut_slice()
    };
    let mut start = rows.start;
    while start < rows.end {
        let band = start..rows.end.min(start + most);
        let a = if packs { Band::pack(s, a, band.clone(), together, a_scratch) } else { Band::Plain(Columns::of(a)) };
        let group = if packs { GROUP } else { b.width };
        for first in (0..b.width).step_by(group) {
            let columns = first..b.width.min(first + group);
            let mut ahead = packs.then(|| {
                // Behind the last columns come the first again, with the next band.
                let next = if columns.end < b.width { columns.end } else { 0 };
                let next = next..b.width.min(next + group);
                let tiles = band.len().div_ceil(S::TILE_ROWS) * columns.len().div_ceil(S::TILE_VECTORS * S::LANES);
                Ahead::new(b, 0..k, next, tiles)
            });
            if packs {
                Right::Plain(b).pack(s, 0..k, columns.clone(), b_scratch);
            }
            let b = if packs { Group::Packed { data: b_scratch, first } } else { Group::Plain(Columns::of(b)) };
            if !chunked {
                panels(s, k, a, b, band.clone(), columns, &mut ahead, sink, sums);
                continue;
            }
            for chunk in band.clone().step_by(together) {
                let rows = chunk..band.end.min(chunk + together);
                let mut chunk = Chunk { rows: rows.clone(), columns: columns.clone(), sums: chunk_room, above: sink };
                panels(s, k, a, b, rows.clone(), columns.clone(), &mut ahead, &mut chunk, sums);
                let sums = &mut chunk_room[..rows.len() * columns.len()];
                sink.take_tile(s, rows.start, first, columns.len(), sums);
            }
        }
        start = band.end;
    }
}

/// Some rows of the result, for some columns, a panel of B at a time.
#[expect(clippy::too_many_arguments, reason = "two matrices, the part of them that is meant, and what comes next")]
#[inline(always)]
fn panels<S: Simd, K: Sink<S>>(
    s: S,
    k: usize,
    a: Band<'_>,
    b: Group<'_>,
    rows: Range<usize>,
    columns: Range<usize>,
    ahead: &mut Option<Ahead<'_>>,
    sink: &mut K,
    sums: &mut [f32],
) {
    let mut column = columns.start;
    while column < columns.end {
        let vectors = panel_vectors::<S>(columns.end - column);
        let columns = column..column + panel_columns::<S>(columns.end - column);
        let panel = match b {
            Group::Plain(b) => b,
            Group::Packed { data, first } => Columns::packed(&data[(column - first) * k..], column, vectors * S::LANES),
        };
        column = columns.end;
        macro_rules! of_width {
            ($($width:literal)*) => {
                match vectors {
                    $($width if const { $width <= S::TILE_VECTORS } => {
                        if columns.len() == $width * S::LANES {
                            apart!(s => band_tiles::<S, K, $width, false>(s, k, a, panel, rows.clone(), columns, ahead, sink, sums));
                        } else {
                            apart!(s => band_tiles::<S, K, $width, true>(s, k, a, panel, rows.clone(), columns, ahead, sink, sums));
                        }
                    })*
                    _ => unreachable!("a panel has 1 to TILE_VECTORS vectors"),
                }
            };
        }
        of_width!(1 2 3);
    }
}

#[expect(clippy::too_many_arguments, reason = "two matrices, the part of them that is meant, and what comes next")]
#[inline(always)]
fn band_tiles<S: Simd, K: Sink<S>, const NV: usize, const PART: bool>(
    s: S,
    k: usize,
    a: Band<'_>,
    b: Columns<'_>,
    band: Range<usize>,
    columns: Range<usize>,
    ahead: &mut Option<Ahead<'_>>,
    sink: &mut K,
    sums: &mut [f32],
) {
    let mut row = band.start;
    for rows in row_parts(band.len(), S::TILE_ROWS) {
        let lines = ahead.as_mut().map(Ahead::share);
        macro_rules! of_height {
            ($($height:literal)*) => {
                match (rows, lines) {
                    $(($height, Some(lines)) if const { !PART && $height == S::TILE_ROWS } => {
                        within!(s => transposed_tile::<S, K, $height, NV, PART, _>(s, k, a.tile(k, row, $height), b, row, columns.clone(), sink, sums, lines));
                    }
                    ($height, None) if const { !PART && $height == S::TILE_ROWS } => {
                        within!(s => transposed_tile::<S, K, $height, NV, PART, _>(s, k, a.tile(k, row, $height), b, row, columns.clone(), sink, sums, Nothing));
                    }
                    ($height, lines) if const { $height <= S::TILE_ROWS && (PART || $height != S::TILE_ROWS) } => {
                        if let Some(mut lines) = lines {
                            lines.fetch_all(s);
                        }
                        within!(s => transposed_tile::<S, K, $height, NV, PART, _>(s, k, a.tile(k, row, $height), b, row, columns.clone(), sink, sums, Nothing));
                    })*
                    _ => unreachable!("a tile has 1 to TILE_ROWS rows"),
                }
            };
        }
        of_height!(1 2 3 4 5 6 7 8);
        row += rows;
    }
}

/// One tile of Aᵀ·B: `Σ a[k][r] · b[k][column ..]`, over all blocks of k.
#[expect(clippy::too_many_arguments, reason = "two matrices, the part of them that is meant, and what comes next")]
#[inline(always)]
fn transposed_tile<S: Simd, K: Sink<S>, const MR: usize, const NV: usize, const PART: bool, B: Beside<S>>(
    s: S,
    terms: usize,
    a: Strided<'_>,
    b: Columns<'_>,
    row: usize,
    columns: Range<usize>,
    sink: &mut K,
    sums: &mut [f32],
    mut beside: B,
) {
    let column = columns.start;
    let columns = if PART { columns.len() } else { NV * S::LANES };
    let mut total = [[s.splat(0.0); NV]; MR];
    let (b_from, fours) = (b.at(column), B::SOME && shares_turns::<S>());
    for first in (0..terms).step_by(BLOCK) {
        let terms = BLOCK.min(terms - first);
        let a = Strided { start: a.start + first * a.step, ..a };
        let b = Strided { data: b.data, start: first * b.stride + b_from, step: b.stride, across: 0 };
        let (mut acc, mut done) = ([[s.splat(0.0); NV]; MR], 0);
        if first == 0 && sink.is_large() {
            let mut joined = sink.joined(row..row + MR, column, columns);
            done = joined.terms(s, fours, if B::SOME { terms } else { 0 });
            if B::SOME {
                acc = tile::<S, MR, NV, PART, _>(s, acc, fours, done, a, b, columns, &mut joined);
            }
        }
        let a = Strided { start: a.start + done * a.step, ..a };
        let b = Strided { start: b.start + done * b.step, ..b };
        acc = tile::<S, MR, NV, PART, B>(s, acc, fours, terms - done, a, b, columns, &mut beside);
        if first == 0 {
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
        sink.take(s, row, column, total);
    } else {
        // Row after row without gaps: a store runs over into the next row, which then overwrites it.
        for r in 0..MR {
            for v in 0..NV {
                store_lanes(s, total[r][v], &mut sums[r * columns + v * S::LANES..], S::LANES);
            }
        }
        sink.take_tile(s, row, column, columns, &mut sums[..MR * columns]);
    }
}
