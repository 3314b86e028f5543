//! Matrix products by register tiles: `A·B` and `Aᵀ·B`, epilogue included.
//!
//! An element is a sum over k, ascending, in blocks of [`BLOCK`]: each block is
//! one chain of `mul_add` from +0, and the blocks are added in order. Tiles,
//! lanes, packing and threads change which elements are computed together,
//! never the order within one.
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
use crate::backend::Matrix;
use crate::simd::Simd;
use core::ops::Range;

/// Terms of a product's element that are summed in one chain.
pub(crate) const BLOCK: usize = 256;

/// Columns of a packed panel: two vectors of the widest instruction set.
pub(crate) const PANEL: usize = 32;

/// Elements of B from which on its columns are packed. Below, B stays in the
/// first-level cache as it is, and a copy would cost more than it saves.
const PACK_FROM: usize = 32 * 1024;

/// Rows of a matrix inside a larger buffer: row r is
/// `data[r·stride + offset ..][.. width]`, and `data` is a whole number of strides long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) stride: usize,
    pub(crate) offset: usize,
    pub(crate) width: usize,
}

impl<'a> Rows<'a> {
    /// A matrix of its own, row after row.
    #[inline(always)]
    pub(crate) fn dense(data: &'a [f32], width: usize) -> Self {
        Self { data, stride: width, offset: 0, width }
    }

    /// Number of rows.
    #[inline(always)]
    pub(crate) fn count(&self) -> usize {
        self.data.len() / self.stride
    }

    /// What `matrixmultiply` reads.
    #[cfg(feature = "alloc")]
    pub(crate) fn matrix(&self) -> Matrix<'a> {
        Matrix::rows_of(&self.data[self.offset..], self.count(), self.width, self.stride)
    }

    #[inline(always)]
    pub(crate) fn row(&self, r: usize) -> &'a [f32] {
        &self.data[r * self.stride + self.offset..][..self.width]
    }

    /// Some columns of row r: one check of bounds, which a tile feels.
    #[inline(always)]
    pub(crate) fn part(&self, r: usize, columns: Range<usize>) -> &'a [f32] {
        let start = r * self.stride + self.offset;
        &self.data[start + columns.start..start + columns.end]
    }

    /// All rows, first to last.
    #[inline(always)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'a [f32]> + use<'a> {
        let (start, end) = (self.offset, self.offset + self.width);
        self.data.chunks_exact(self.stride).map(
            #[inline(always)]
            move |row| &row[start..end],
        )
    }
}

/// [`Rows`] that are written.
#[derive(Debug)]
pub(crate) struct RowsMut<'a> {
    pub(crate) data: &'a mut [f32],
    pub(crate) stride: usize,
    pub(crate) offset: usize,
    pub(crate) width: usize,
}

impl<'a> RowsMut<'a> {
    /// A matrix of its own, row after row.
    #[inline(always)]
    pub(crate) fn dense(data: &'a mut [f32], width: usize) -> Self {
        Self { data, stride: width, offset: 0, width }
    }

    /// Number of rows.
    #[inline(always)]
    pub(crate) fn count(&self) -> usize {
        self.data.len() / self.stride
    }

    #[inline(always)]
    pub(crate) fn row_mut(&mut self, r: usize) -> &mut [f32] {
        &mut self.data[r * self.stride + self.offset..][..self.width]
    }

    /// Some columns of row r.
    #[inline(always)]
    pub(crate) fn part_mut(&mut self, r: usize, columns: Range<usize>) -> &mut [f32] {
        let start = r * self.stride + self.offset;
        &mut self.data[start + columns.start..start + columns.end]
    }

    /// All rows, first to last.
    #[inline(always)]
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        let (start, end) = (self.offset, self.offset + self.width);
        self.data.chunks_exact_mut(self.stride).map(
            #[inline(always)]
            move |row| &mut row[start..end],
        )
    }
}

/// The right-hand side of [`product`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Right<'a> {
    /// B itself, `[k × n]`.
    Plain(&'a [f32]),
    /// Bᵀ, `[n × k]`: its rows are B's columns.
    Transposed(&'a [f32]),
}

/// What becomes of a product's elements.
///
/// [`value`](Self::value) is compiled into every vector of every tile, so it is a
/// few instructions; what needs more has its place in [`settle`](Self::settle).
pub(crate) trait Epilogue<S: Simd> {
    /// The values to store for the elements in `row` from `column` on, `lanes` of them.
    fn value(&self, s: S, row: usize, column: usize, lanes: usize, sum: S::Vector) -> S::Vector;

    /// Passes over `columns` of all rows once they are stored.
    fn settle(&self, s: S, stored: &mut RowsMut<'_>, columns: Range<usize>);
}

/// The epilogue of a product that lies in `out` without it.
#[cfg(feature = "alloc")]
#[inline(always)]
pub(crate) fn finish<S: Simd, E: Epilogue<S>>(s: S, out: &mut RowsMut<'_>, epilogue: &E) {
    for r in 0..out.count() {
        let row = out.row_mut(r);
        for at in (0..row.len()).step_by(S::LANES) {
            let lanes = S::LANES.min(row.len() - at);
            let value = epilogue.value(s, r, at, lanes, load_lanes(s, &row[at..], lanes));
            store_lanes(s, value, &mut row[at..], lanes);
        }
    }
    epilogue.settle(s, out, 0..out.width);
}

/// Loads `lanes` elements from `x`, through a whole vector when they fill one.
#[inline(always)]
pub(crate) fn load_lanes<S: Simd>(s: S, x: &[f32], lanes: usize) -> S::Vector {
    if lanes == S::LANES { s.load(&S::chunks(x).0[0]) } else { s.load_part(&x[..lanes]) }
}

/// Stores the first `lanes` lanes into `to`.
#[inline(always)]
pub(crate) fn store_lanes<S: Simd>(s: S, v: S::Vector, to: &mut [f32], lanes: usize) {
    if lanes == S::LANES { s.store(v, &mut S::chunks_mut(to).0[0]) } else { s.store_part(v, &mut to[..lanes]) }
}

/// One tile: `acc[r][v] = Σ a[r][k] · b[k][column + v·LANES ..]` over one block,
/// `columns` wide: NV whole vectors, or fewer elements in the last (`PART`).
#[inline(always)]
fn tile<S: Simd, const MR: usize, const NV: usize, const PART: bool>(
    s: S,
    a: [&[f32]; MR],
    b: &[f32],
    stride: usize,
    column: usize,
    columns: usize,
) -> [[S::Vector; NV]; MR] {
    let mut acc = [[s.splat(0.0); NV]; MR];
    let k = a[0].len();
    let a: [&[f32]; MR] = core::array::from_fn(|r| &a[r][..k]);
    for (k, b) in b.chunks_exact(stride).take(k).enumerate() {
        let b = columns_of::<S, NV, PART>(s, &b[column..column + columns]);
        for r in 0..MR {
            let a = s.splat(a[r][k]);
            for v in 0..NV {
                acc[r][v] = s.mul_add(a, b[v], acc[r][v]);
            }
        }
    }
    acc
}

/// NV vectors from `x`; with `PART` the last may be short.
#[inline(always)]
pub(super) fn columns_of<S: Simd, const NV: usize, const PART: bool>(s: S, x: &[f32]) -> [S::Vector; NV] {
    // A loop, not `array::from_fn`: its closures are not always inlined.
    let whole = S::chunks(x).0;
    let mut vectors = [s.splat(0.0); NV];
    for v in 0..NV {
        vectors[v] = if PART && v + 1 == NV { s.load_part(&x[v * S::LANES..]) } else { s.load(&whole[v]) };
    }
    vectors
}

/// `out = epilogue(A·B)`, with `A: [m × k]`, `B: [k × n]` and `out: [m × n]`.
///
/// `scratch` holds a panel of B when it is packed: min(k, [`BLOCK`]) × [`PANEL`] floats.
#[inline(always)]
pub(crate) fn product<S: Simd, E: Epilogue<S>>(
    s: S,
    a: Rows<'_>,
    b: Right<'_>,
    out: &mut RowsMut<'_>,
    scratch: &mut [f32],
    epilogue: &E,
) {
    let m = out.count();
    let mut columns = Columns {
        a,
        b,
        packed: !matches!(b, Right::Plain(b) if b.len() < PACK_FROM || m <= 3),
        out,
        scratch,
        epilogue,
        next: 0,
    };
    if !columns.packed && m <= 3 {
        // A few rows: more vectors each, or the chains would wait on themselves.
        if m == 1 {
            while columns.left() >= 8 * S::LANES {
                columns.group::<S, 8, false>(s, 8 * S::LANES);
            }
        }
        while columns.left() >= 4 * S::LANES {
            columns.group::<S, 4, false>(s, 4 * S::LANES);
        }
    }
    while columns.left() >= 2 * S::LANES {
        columns.group::<S, 2, false>(s, 2 * S::LANES);
    }
    let left = columns.left();
    if left > S::LANES {
        columns.group::<S, 2, true>(s, left);
    } else if left > 0 {
        columns.group::<S, 1, true>(s, left);
    }
}

/// A product on its way from the first column to the last.
struct Columns<'a, 'o, E> {
    a: Rows<'a>,
    b: Right<'a>,
    packed: bool,
    out: &'a mut RowsMut<'o>,
    scratch: &'a mut [f32],
    epilogue: &'a E,
    next: usize,
}

impl<E> Columns<'_, '_, E> {
    /// Columns that are still to come.
    #[inline(always)]
    fn left(&self) -> usize {
        self.out.width - self.next
    }

    /// The next `columns` columns over all blocks of k: NV vectors, the last one short if `PART`.
    #[inline(always)]
    fn group<S: Simd, const NV: usize, const PART: bool>(&mut self, s: S, columns: usize)
    where
        E: Epilogue<S>,
    {
        let (k, n, column) = (self.a.width, self.out.width, self.next);
        for start in (0..k).step_by(BLOCK) {
            let block = start..k.min(start + BLOCK);
            let panel = Panel { block: block.clone(), column, columns, stride: NV * S::LANES };
            let (b, stride, b_column) = match self.b {
                Right::Plain(b) if !self.packed => (&b[start * n..block.end * n], n, column),
                Right::Plain(b) => (panel.pack(b, n, self.scratch), panel.stride, 0),
                Right::Transposed(b) => (panel.pack_transposed(b, k, self.scratch), panel.stride, 0),
            };
            let source = Source { a: self.a, block, b, stride, b_column };
            row_tiles::<S, E, NV, PART>(s, &source, self.out, self.epilogue, column, columns);
        }
        self.epilogue.settle(s, self.out, column..column + columns);
        self.next += columns;
    }
}

/// One block of a product's terms: `a[.., block] · b[.., b_column ..]`.
struct Source<'a> {
    a: Rows<'a>,
    block: Range<usize>,
    b: &'a [f32],
    stride: usize,
    b_column: usize,
}

/// One group of columns, one block of k, all rows.
#[inline(always)]
fn row_tiles<S: Simd, E: Epilogue<S>, const NV: usize, const PART: bool>(
    s: S,
    source: &Source<'_>,
    out: &mut RowsMut<'_>,
    epilogue: &E,
    column: usize,
    columns: usize,
) {
    let mut row = 0;
    for rows in row_parts(out.count(), most_rows::<S>(NV)) {
        macro_rules! of_height {
            ($($height:literal)*) => {
                match rows {
                    $($height if $height <= most_rows::<S>(NV) => {
                        one_tile::<S, E, $height, NV, PART>(s, source, out, epilogue, row, column, columns);
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
#[inline(always)]
fn most_rows<S: Simd>(vectors: usize) -> usize {
    match vectors {
        8 => 1,
        4 => 3,
        _ => S::TILE_ROWS,
    }
}

/// `total` in parts of `most`, the last two of nearly the same size.
#[inline(always)]
fn row_parts(total: usize, most: usize) -> impl Iterator<Item = usize> {
    let mut left = total;
    core::iter::from_fn(
        #[inline(always)]
        move || {
            let part = match left {
                0 => return None,
                _ if left <= most => left,
                _ if left <= 2 * most => left.div_ceil(2),
                _ => most,
            };
            left -= part;
            Some(part)
        },
    )
}

/// One tile: its sums joined to those of the blocks before, then stored or finished.
#[expect(clippy::needless_range_loop, reason = "r and v index registers, and say where they lie")]
#[inline(always)]
fn one_tile<S: Simd, E: Epilogue<S>, const MR: usize, const NV: usize, const PART: bool>(
    s: S,
    source: &Source<'_>,
    out: &mut RowsMut<'_>,
    epilogue: &E,
    row: usize,
    column: usize,
    columns: usize,
) {
    let Source { a, ref block, b, stride, b_column } = *source;
    let columns = if PART { columns } else { NV * S::LANES };
    let lanes = |v: usize| if PART && v + 1 == NV { columns - v * S::LANES } else { S::LANES };
    let rows: [&[f32]; MR] = core::array::from_fn(|r| a.part(row + r, block.clone()));
    let mut acc = tile::<S, MR, NV, PART>(s, rows, b, stride, b_column, columns);
    if block.start > 0 {
        for r in 0..MR {
            let before = out.part_mut(row + r, column..column + columns);
            for v in 0..NV {
                acc[r][v] = s.add(load_lanes(s, &before[v * S::LANES..], lanes(v)), acc[r][v]);
            }
        }
    }
    if block.end == a.width {
        for r in 0..MR {
            for v in 0..NV {
                acc[r][v] = epilogue.value(s, row + r, column + v * S::LANES, lanes(v), acc[r][v]);
            }
        }
    }
    for r in 0..MR {
        let to = out.part_mut(row + r, column..column + columns);
        for v in 0..NV {
            store_lanes(s, acc[r][v], &mut to[v * S::LANES..], lanes(v));
        }
    }
}

/// Some columns of one block of B, packed into rows of `stride` floats.
struct Panel {
    block: Range<usize>,
    column: usize,
    columns: usize,
    stride: usize,
}

impl Panel {
    /// From `b: [k × n]`.
    #[inline(always)]
    fn pack<'s>(&self, b: &[f32], n: usize, scratch: &'s mut [f32]) -> &'s [f32] {
        let panel = &mut scratch[..self.block.len() * self.stride];
        let rows = b[self.block.start * n..self.block.end * n].chunks_exact(n);
        for (to, from) in panel.chunks_exact_mut(self.stride).zip(rows) {
            to[..self.columns].copy_from_slice(&from[self.column..self.column + self.columns]);
        }
        panel
    }

    /// From Bᵀ, `bt: [n × k]`.
    #[inline(always)]
    fn pack_transposed<'s>(&self, bt: &[f32], k: usize, scratch: &'s mut [f32]) -> &'s [f32] {
        let panel = &mut scratch[..self.block.len() * self.stride];
        let columns = bt[self.column * k..(self.column + self.columns) * k].chunks_exact(k);
        for (j, from) in columns.enumerate() {
            for (to, &from) in panel.chunks_exact_mut(self.stride).zip(&from[self.block.clone()]) {
                to[j] = from;
            }
        }
        panel
    }
}

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

    /// Takes the sums of some rows from `row` on, `columns` of each from `column` on, row after row.
    fn take_tile(&mut self, s: S, row: usize, column: usize, columns: usize, sums: &[f32]);
}

/// `sink(Aᵀ·B)` for rows `rows` of the result, with `A: [k × m]` and `B: [k × n]`:
/// both are read along their rows, so neither needs packing.
#[inline(always)]
pub(crate) fn transposed_product<S: Simd, K: Sink<S>>(
    s: S,
    a: Rows<'_>,
    b: Rows<'_>,
    rows: Range<usize>,
    sink: &mut K,
) {
    /// Rows of the result whose columns of A are kept in cache while B passes by.
    const BAND: usize = 128;
    let mut start = rows.start;
    while start < rows.end {
        let band = start..rows.end.min(start + BAND);
        let mut column = 0;
        while column < b.width {
            let columns = (2 * S::LANES).min(b.width - column);
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
    a: Rows<'_>,
    b: Rows<'_>,
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
    a: Rows<'_>,
    b: Rows<'_>,
    row: usize,
    column: usize,
    columns: usize,
    sink: &mut K,
) {
    if sink.is_large() {
        sink.prefetch(s, row..row + MR, column, columns);
    }
    let mut total = [[s.splat(0.0); NV]; MR];
    let (from, b_from) = (a.offset + row, b.offset + column);
    let columns = if PART { columns } else { NV * S::LANES };
    // Where 256 strides overflow (on 32 bits), all rows lie in the first block.
    let blocks = a.data.chunks(BLOCK.saturating_mul(a.stride)).zip(b.data.chunks(BLOCK.saturating_mul(b.stride)));
    for (index, (a_block, b_block)) in blocks.enumerate() {
        let mut acc = [[s.splat(0.0); NV]; MR];
        for (a, b) in a_block.chunks_exact(a.stride).zip(b_block.chunks_exact(b.stride)) {
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
        sink.take_tile(s, row, column, columns, &sums[..MR * columns]);
    }
}
