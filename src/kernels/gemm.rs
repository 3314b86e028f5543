//! The product `A·B` by register tiles, epilogue included.
//!
//! An element is a sum over k, ascending, in blocks of [`BLOCK`]: each block is
//! one chain of `mul_add` from +0, and the blocks are added in order. Tiles,
//! lanes, packing and threads change which elements are computed together,
//! never the order within one.
#![forbid(unsafe_code)]

use super::rows::{BLOCK, Rows, RowsMut, columns_of, load_lanes, row_parts, steps, store_lanes};
use crate::simd::Simd;
use core::ops::Range;

/// Elements of B from which on its columns are packed. Below, B stays in the
/// first-level cache as it is, and a copy would cost more than it saves.
const PACK_FROM: usize = 32 * 1024;

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
    for (k, b) in (0..k).zip(steps(b, stride)) {
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
                Right::Transposed(b) => (panel.pack_transposed(s, b, k, self.scratch), panel.stride, 0),
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

    /// From Bᵀ, `bt: [n × k]`, a square of LANES × LANES at a time.
    #[inline(always)]
    fn pack_transposed<'s, S: Simd>(&self, s: S, bt: &[f32], k: usize, scratch: &'s mut [f32]) -> &'s [f32] {
        let panel = &mut scratch[..self.block.len() * self.stride];
        if S::LANES == 1 {
            let columns = bt[self.column * k..].chunks_exact(k).take(self.columns);
            for (j, from) in columns.enumerate() {
                for (to, &from) in panel.chunks_exact_mut(self.stride).zip(&from[self.block.clone()]) {
                    to[j] = from;
                }
            }
            return panel;
        }
        s.outline(
            #[inline(always)]
            |s| {
                for j in (0..self.columns).step_by(S::LANES) {
                    let columns = S::LANES.min(self.columns - j);
                    for term in (0..self.block.len()).step_by(S::LANES) {
                        let terms = S::LANES.min(self.block.len() - term);
                        let from = &bt[(self.column + j) * k + self.block.start + term..];
                        let to = &mut panel[term * self.stride + j..];
                        if columns == S::LANES && terms == S::LANES {
                            transpose_square::<S, true>(s, from, k, to, self.stride, columns, terms);
                        } else {
                            transpose_square::<S, false>(s, from, k, to, self.stride, columns, terms);
                        }
                    }
                }
            },
        );
        panel
    }
}

/// Turns `rows` rows of `columns` elements into columns. The square has LANES of both if `WHOLE`, else at most as many.
#[inline(always)]
fn transpose_square<S: Simd, const WHOLE: bool>(
    s: S,
    from: &[f32],
    from_stride: usize,
    to: &mut [f32],
    to_stride: usize,
    rows: usize,
    columns: usize,
) {
    let (rows, columns) = if WHOLE { (S::LANES, S::LANES) } else { (rows, columns) };
    let mut square = [s.splat(0.0); 16];
    // Indices the compiler can see keep the square in registers.
    for r in 0..S::LANES {
        if r < rows {
            square[r] = load_lanes(s, &from[r * from_stride..], columns);
        }
    }
    let square = s.transpose(square);
    for c in 0..S::LANES {
        if c < columns {
            store_lanes(s, square[c], &mut to[c * to_stride..], S::LANES);
        }
    }
}
