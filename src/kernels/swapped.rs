//! The product `A·Bᵀ` as the transpose of `B·Aᵀ`: instead of a large B, A and the result are turned.
//!
//! An element is summed in the order that [`gemm`](super::gemm) gives.
#![forbid(unsafe_code)]

use super::ahead::Ahead;
use super::gemm::is_large;
use super::pack::{Right, load_square};
use super::rows::{BLOCK, PANEL, Rows, RowsMut, panel_columns, panel_vectors, store_lanes};
use super::tiles::{Epilogue, Left, Target, Tiled, row_tiles};
use crate::simd::Simd;
use core::ops::Range;

/// Rows of B whose sums are turned together, at most.
const BAND_ROWS: usize = 240;

/// Floats of B that are kept in cache while the columns of Aᵀ pass by.
const BAND: usize = 96 * 1024;

/// Rows that are a whole number of tiles on all instruction sets.
const TILES: usize = 24;

/// Lanes of the narrowest and of the widest instruction set that has vectors.
const LANES: [usize; 2] = [4, 16];

/// Whether fewer numbers are turned than B has, with vectors of `lanes` samples in which at most one lane in seven stands
/// empty.
const fn pays(m: usize, k: usize, n: usize, lanes: usize) -> bool {
    let turned = m.saturating_mul(k.saturating_add(n));
    let empty = (lanes - m % lanes) % lanes;
    is_large(k, n) && turned < k.saturating_mul(n) && empty * 6 <= m
}

/// Floats of scratch with which [`swapped`] may be used for m rows of A, k terms and n rows of B: 0 if it wouldn't pay.
pub(super) const fn swapped_scratch_len(m: usize, k: usize, n: usize) -> usize {
    if m < 8 || !pays(m, k, n, LANES[0]) {
        return 0;
    }
    // Whole vectors of samples.
    k.saturating_mul(m.saturating_add(LANES[1] - 1)).saturating_add(BAND_ROWS * PANEL)
}

/// Whether [`swapped`] is the better way, and has the room it needs.
#[inline(always)]
pub(super) fn should_swap<S: Simd>(m: usize, k: usize, n: usize, scratch: usize) -> bool {
    S::LANES > 1 && pays(m, k, n, S::LANES) && (1..=scratch).contains(&swapped_scratch_len(m, k, n))
}

/// Sums that are turned later.
struct Sums;

impl<S: Simd> Epilogue<S> for Sums {
    #[inline(always)]
    fn value(&self, _: S, _: usize, _: usize, _: usize, sum: S::Vector) -> S::Vector {
        sum
    }

    #[inline(always)]
    fn settle(&self, _: S, _: &mut RowsMut<'_>, _: Range<usize>, _: Range<usize>) {}
}

/// `out = epilogue(A·Bᵀ)`, with `A: [m × k]`, `B: [n × k]` and `out: [m × n]`, and [`swapped_scratch_len`] floats of scratch.
#[inline(always)]
pub(super) fn swapped<S: Simd, E: Epilogue<S>>(
    s: S,
    a: Rows<'_>,
    b: Rows<'_>,
    out: &mut RowsMut<'_>,
    scratch: &mut [f32],
    epilogue: &E,
) {
    let (m, k, n) = (out.count(), a.width, out.width);
    let (turned, sums) = scratch.split_at_mut(k * m.next_multiple_of(S::LANES));
    Right::Transposed(a).pack(s, 0..k, 0..m, turned);
    let most = (BAND / k / TILES * TILES).clamp(TILES, BAND_ROWS);
    for first in (0..n).step_by(most) {
        let columns = first..n.min(first + most);
        let band = Rows { data: &b.data[columns.start * b.stride..columns.end * b.stride], ..b };
        let mut sample = 0;
        while sample < m {
            let vectors = panel_vectors::<S>(m - sample);
            let panel = &turned[sample * k..][..vectors * S::LANES * k];
            let samples = sample..sample + panel_columns::<S>(m - sample);
            sample = samples.end;
            let sums = &mut sums[..columns.len() * vectors * S::LANES];
            macro_rules! of_width {
                ($($vectors:literal)*) => {
                    match vectors {
                        $($vectors if const { $vectors <= S::TILE_VECTORS } => band_sums::<S, $vectors>(s, band, panel, sums),)*
                        _ => unreachable!("a panel has 1 to TILE_VECTORS vectors"),
                    }
                };
            }
            of_width!(1 2 3);
            s.outline(
                #[inline(always)]
                |s| turn_back(s, sums, out, samples, columns.clone(), epilogue),
            );
        }
        epilogue.settle(s, out, 0..m, columns);
    }
}

/// The sums of a band of rows of B and NV vectors of samples: a row of sums for each row of the band.
#[inline(always)]
fn band_sums<S: Simd, const NV: usize>(s: S, b: Rows<'_>, panel: &[f32], sums: &mut [f32]) {
    let (rows, k, width) = (0..b.count(), b.width, NV * S::LANES);
    let mut out = RowsMut::dense(sums, width);
    let mut target = Target { out: &mut out, epilogue: &Sums };
    for start in (0..k).step_by(BLOCK) {
        let terms = start..k.min(start + BLOCK);
        let right = Tiled { b: &panel[start * width..], stride: width, from: 0 };
        // With each tile, what the next one reads.
        let next = rows.end.min(S::TILE_ROWS)..rows.end;
        let mut ahead = Some(Ahead::new(b, next, terms.clone(), (rows.len().div_ceil(S::TILE_ROWS) - 1).max(1)));
        let (is_first, is_last) = (start == 0, terms.end == k);
        let left = Left { a: b, first_row: 0, rows: rows.clone(), terms, is_first, is_last };
        row_tiles::<S, Sums, NV, false, false>(s, &left, right, &mut target, rows.clone(), 0..width, &mut ahead);
    }
}

/// Finishes the elements of `columns` of `samples`, whose sums lie in `sums`, a row for each column.
#[expect(clippy::needless_range_loop, reason = "r indexes registers")]
#[inline(always)]
fn turn_back<S: Simd, E: Epilogue<S>>(
    s: S,
    sums: &[f32],
    out: &mut RowsMut<'_>,
    samples: Range<usize>,
    columns: Range<usize>,
    epilogue: &E,
) {
    let stride = samples.len().next_multiple_of(S::LANES);
    let sums = Rows::dense(sums, stride);
    for column in columns.clone().step_by(S::LANES) {
        let lanes = S::LANES.min(columns.end - column);
        for sample in samples.clone().step_by(S::LANES) {
            let rows = S::LANES.min(samples.end - sample);
            let data = &sums.data[(column - columns.start) * stride..];
            let from = Rows { data, offset: sample - samples.start, width: S::LANES, ..sums };
            let square = load_square(s, from, lanes, S::LANES);
            for r in 0..S::LANES {
                if r < rows {
                    let value = epilogue.value(s, sample + r, column, lanes, square[r]);
                    store_lanes(s, value, out.part_mut(sample + r, column..column + lanes), lanes);
                }
            }
        }
    }
}
