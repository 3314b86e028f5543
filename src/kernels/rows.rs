//! Rows of a matrix where they lie, and how registers and tiles are cut from them.
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
use crate::backend::Matrix;
use crate::parts;
use crate::simd::{Simd, tile_rows};
use core::ops::Range;

/// Terms of a product's element that are summed in one chain.
pub(crate) const BLOCK: usize = 256;

/// Columns of a packed panel: three vectors of the widest instruction set.
pub(crate) const PANEL: usize = 48;

/// Floats in a line of 64 bytes.
pub(super) const LINE: usize = 16;

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
        self.data.len().checked_div(self.stride).unwrap_or(0)
    }

    /// What `matrixmultiply` reads.
    #[cfg(feature = "alloc")]
    pub(crate) fn matrix(&self) -> Matrix<'a> {
        Matrix::rows_of(&self.data[self.offset..], self.count(), self.width, self.stride)
    }

    #[inline(always)]
    pub(crate) fn row(&self, r: usize) -> &'a [f32] {
        parts::span(self.data, r * self.stride + self.offset, self.width)
    }

    /// The first N rows.
    #[inline(always)]
    pub(super) fn first<const N: usize>(&self) -> [&'a [f32]; N] {
        let mut rows = [[].as_slice(); N];
        for (r, row) in rows.iter_mut().enumerate() {
            *row = self.row(r);
        }
        rows
    }

    /// The columns `columns` of all rows.
    #[inline(always)]
    pub(super) fn columns(&self, columns: Range<usize>) -> Self {
        Self { offset: self.offset + columns.start, width: columns.len(), ..*self }
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
        steps(self.data, self.stride).map(
            #[inline(always)]
            move |row| parts::part(row, start..end),
        )
    }
}

/// Consecutive pieces of `step` elements; a shorter rest is left out. Unlike
/// `chunks_exact` it divides nothing, which the short loop of a small tile feels.
#[inline(always)]
pub(super) fn steps(data: &[f32], step: usize) -> impl Iterator<Item = &[f32]> {
    let mut rest = data;
    core::iter::from_fn(
        #[inline(always)]
        move || {
            let (piece, after) = rest.split_at_checked(step)?;
            rest = after;
            Some(piece)
        },
    )
}

/// Consecutive blocks of [`BLOCK`] rows; the last may be shorter.
#[inline(always)]
pub(super) fn blocks(data: &[f32], stride: usize) -> impl Iterator<Item = &[f32]> {
    // Where 256 strides overflow (on 32 bits), all rows lie in the first block.
    let most = BLOCK.saturating_mul(stride);
    let mut rest = data;
    core::iter::from_fn(
        #[inline(always)]
        move || {
            if rest.is_empty() {
                return None;
            }
            let (block, after) = rest.split_at(rest.len().min(most));
            rest = after;
            Some(block)
        },
    )
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
        self.data.len().checked_div(self.stride).unwrap_or(0)
    }

    #[inline(always)]
    pub(crate) fn row_mut(&mut self, r: usize) -> &mut [f32] {
        parts::span_mut(self.data, r * self.stride + self.offset, self.width)
    }

    /// Some columns of row r.
    #[inline(always)]
    pub(crate) fn part_mut(&mut self, r: usize, columns: Range<usize>) -> &mut [f32] {
        let start = r * self.stride + self.offset;
        &mut self.data[start + columns.start..start + columns.end]
    }

    /// Some columns of MR rows from row r on.
    #[inline(always)]
    pub(crate) fn tile<const MR: usize>(&mut self, r: usize, columns: Range<usize>) -> [&mut [f32]; MR] {
        let start = r * self.stride + self.offset + columns.start;
        tile_rows(self.data, start, self.stride, columns.len())
    }

    /// All rows, first to last.
    #[inline(always)]
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        let (start, end) = (self.offset, self.offset + self.width);
        self.data.chunks_exact_mut(self.stride.max(1)).map(
            #[inline(always)]
            move |row| parts::part_mut(row, start..end),
        )
    }
}

/// Copies rows of one width.
pub(crate) fn copy_rows(from: Rows<'_>, mut to: RowsMut<'_>) {
    for (to, from) in to.iter_mut().zip(from.iter()) {
        parts::copy(from, to);
    }
}

/// Loads `lanes` elements from `x`, through a whole vector when they fill one.
#[inline(always)]
pub(crate) fn load_lanes<S: Simd>(s: S, x: &[f32], lanes: usize) -> S::Vector {
    match lanes {
        // One lane has no part of a vector.
        _ if S::LANES == 1 && !parts::PANICS => s.load_part(x),
        lanes if lanes == S::LANES => s.load(&S::chunks(x).0[0]),
        lanes => s.load_part(&x[..lanes]),
    }
}

/// Stores the first `lanes` lanes into `to`.
#[inline(always)]
pub(crate) fn store_lanes<S: Simd>(s: S, v: S::Vector, to: &mut [f32], lanes: usize) {
    match lanes {
        _ if S::LANES == 1 && !parts::PANICS => s.store_part(v, to),
        lanes if lanes == S::LANES => s.store(v, &mut S::chunks_mut(to).0[0]),
        lanes => s.store_part(v, &mut to[..lanes]),
    }
}

/// [`store_lanes`], where what lies beside is read soon: in an update in place.
#[inline(always)]
pub(crate) fn store_lanes_in_place<S: Simd>(s: S, v: S::Vector, to: &mut [f32], lanes: usize) {
    match lanes {
        _ if S::LANES == 1 && !parts::PANICS => s.store_part_in_place(v, to),
        lanes if lanes == S::LANES => s.store(v, &mut S::chunks_mut(to).0[0]),
        lanes => s.store_part_in_place(v, &mut to[..lanes]),
    }
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

/// NV vectors to `to`; with `PART` the last may be short.
#[inline(always)]
pub(super) fn store_columns<S: Simd, const NV: usize, const PART: bool>(
    s: S,
    vectors: [S::Vector; NV],
    to: &mut [f32],
) {
    let whole = if PART { NV - 1 } else { NV };
    let (to, last) = to.split_at_mut(whole * S::LANES);
    for (&vector, to) in vectors.iter().zip(S::chunks_mut(to).0) {
        s.store(vector, to);
    }
    if PART {
        s.store_part(vectors[NV - 1], last);
    }
}

/// Folds `term(k, sum)` over `count` terms: each block from +0, blocks added in order.
#[inline(always)]
pub(super) fn chain<S: Simd>(s: S, count: usize, term: impl Fn(usize, S::Vector) -> S::Vector) -> S::Vector {
    let mut total = s.splat(0.0);
    for start in (0..count).step_by(BLOCK) {
        let mut sum = s.splat(0.0);
        for k in start..count.min(start + BLOCK) {
            sum = term(k, sum);
        }
        total = if start == 0 { sum } else { s.add(total, sum) };
    }
    total
}

/// `total` in parts of `most`, the last two of nearly the same size.
#[inline(always)]
pub(super) fn row_parts(total: usize, most: usize) -> impl Iterator<Item = usize> {
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

/// Vectors of the next panel or tile where `columns` are left: as many as the instruction set takes side by side, but
/// not one by itself where two times two will do.
#[inline(always)]
pub(super) fn panel_vectors<S: Simd>(columns: usize) -> usize {
    match columns.div_ceil(S::LANES) {
        4 if S::TILE_VECTORS == 3 => 2,
        left => left.min(S::TILE_VECTORS),
    }
}

/// Columns of the same.
#[inline(always)]
pub(super) fn panel_columns<S: Simd>(columns: usize) -> usize {
    columns.min(panel_vectors::<S>(columns) * S::LANES)
}

/// Fetches all lines of `x`.
#[inline(always)]
pub(super) fn prefetch<S: Simd>(s: S, x: &[f32]) {
    for at in (0..x.len()).step_by(LINE) {
        s.prefetch(&x[at..]);
    }
}
