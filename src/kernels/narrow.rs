//! The forward pass of a layer of few outputs: a tile of the product would leave most of its lanes idle.
#![forbid(unsafe_code)]

use super::dense_forward::BiasActivation;
use super::reduce;
use super::rows::{BLOCK, Rows, RowsMut, load_lanes, store_lanes};
use super::tiles::Epilogue;
use crate::simd::{Simd, Strided, walk};

/// Layers of 2 to this many outputs sum each block in four chains, by k mod 4.
pub(crate) const NARROW: usize = 16;

/// One output: each sample is a dot product, in 16 partial sums.
#[inline(always)]
pub(super) fn one_output<S: Simd>(
    s: S,
    x: Rows<'_>,
    weights: &[f32],
    epilogue: &BiasActivation<'_>,
    y: &mut RowsMut<'_>,
) {
    let bias = s.splat(epilogue.bias(0..1)[0]);
    let m = y.count();
    let mut row = 0;
    // As many samples as a vector has lanes fold together.
    while S::LANES > 1 && row + S::LANES <= m {
        let values = epilogue.finish(s, lanes_of_dots(s, x, weights, row), bias);
        if y.stride == 1 {
            store_lanes(s, values, &mut y.data[row..], S::LANES);
        } else {
            let mut of_rows = [0.0; 16];
            store_lanes(s, values, &mut of_rows, S::LANES);
            for (r, value) in of_rows[..S::LANES].iter().enumerate() {
                y.row_mut(row + r)[0] = *value;
            }
        }
        row += S::LANES;
    }
    let whole = row;
    // Four at a time: a single one would wait on its own chain.
    while row + 4 <= m {
        dots::<S, 4>(s, x, weights, row, y);
        row += 4;
    }
    while row < m {
        dots::<S, 1>(s, x, weights, row, y);
        row += 1;
    }
    if y.stride == 1 {
        super::map::map(
            s,
            &mut y.data[whole..],
            #[inline(always)]
            |sum| epilogue.finish(s, sum, bias),
        );
    } else {
        for row in whole..m {
            let [y, ..] = y.row_mut(row) else { continue };
            *y = s.first(epilogue.finish(s, s.splat(*y), bias));
        }
    }
    let rows = 0..y.count();
    epilogue.settle(s, y, rows, 0..1);
}

/// The dot products of LANES samples from `row` on with one column of weights.
#[inline(always)]
fn lanes_of_dots<S: Simd>(s: S, x: Rows<'_>, weights: &[f32], row: usize) -> S::Vector {
    /// MR samples' partial sums, each joined into one vector.
    #[inline(always)]
    fn joined<S: Simd, const MR: usize>(s: S, x: Rows<'_>, weights: &[f32], row: usize, to: &mut [S::Vector]) {
        let sums = partial_sums::<S, MR>(s, x, row, weights);
        for r in 0..MR {
            to[r] = reduce::join(s, sums[r]);
        }
    }
    let mut rows = [s.splat(0.0); 16];
    // Eight accumulators at a time, which is what the latency of a multiply-add asks for.
    if S::LANES == 16 {
        joined::<S, 8>(s, x, weights, row, &mut rows[..8]);
        joined::<S, 8>(s, x, weights, row + 8, &mut rows[8..]);
    } else {
        joined::<S, 4>(s, x, weights, row, &mut rows[..4]);
        if S::LANES == 8 {
            joined::<S, 4>(s, x, weights, row + 4, &mut rows[4..8]);
        }
    }
    s.fold_rows(
        rows,
        #[inline(always)]
        |a, b| s.add(a, b),
    )
}

/// The dot products of MR samples with one column of weights.
#[inline(always)]
fn dots<S: Simd, const MR: usize>(s: S, x: Rows<'_>, weights: &[f32], row: usize, y: &mut RowsMut<'_>) {
    for (r, sums) in partial_sums::<S, MR>(s, x, row, weights).into_iter().enumerate() {
        y.row_mut(row + r)[0] = s.fold(sums);
    }
}

/// 16 partial sums of each of MR dot products, in the first 16 / LANES vectors.
#[inline(always)]
fn partial_sums<S: Simd, const MR: usize>(s: S, x: Rows<'_>, row: usize, weights: &[f32]) -> [[S::Vector; 16]; MR] {
    let mut sums = [[s.splat(0.0); 16]; MR];
    let (weight_groups, _) = weights.as_chunks::<16>();
    let groups = weight_groups.len();
    let mut rows = [[].as_slice(); MR];
    let mut x_groups = [[].as_slice(); MR];
    for r in 0..MR {
        rows[r] = x.row(row + r);
        x_groups[r] = &rows[r].as_chunks::<16>().0[..groups];
    }
    for at in 0..groups {
        let w = S::chunks(&weight_groups[at]).0;
        for r in 0..MR {
            let x = S::chunks(&x_groups[r][at]).0;
            for v in 0..16 / S::LANES {
                sums[r][v] = s.mul_add(s.load(&x[v]), s.load(&w[v]), sums[r][v]);
            }
        }
    }
    let whole = 16 * groups;
    if whole < weights.len() {
        let mut w = [0.0; 16];
        w[..weights.len() - whole].copy_from_slice(&weights[whole..]);
        for r in 0..MR {
            let mut x_rest = [0.0; 16];
            x_rest[..weights.len() - whole].copy_from_slice(&rows[r][whole..]);
            let (x, w) = (S::chunks(&x_rest).0, S::chunks(&w).0);
            for v in 0..16 / S::LANES {
                sums[r][v] = s.mul_add(s.load(&x[v]), s.load(&w[v]), sums[r][v]);
            }
        }
    }
    sums
}

/// 2 to [`NARROW`] outputs: each block of k in four chains by k mod 4, joined
/// (0+1)+(2+3); lanes over the outputs.
#[inline(always)]
pub(super) fn narrow<S: Simd>(
    s: S,
    x: Rows<'_>,
    weights: &[f32],
    epilogue: &BiasActivation<'_>,
    y: &mut RowsMut<'_>,
    scratch: &mut [f32],
) {
    let n = y.width;
    // Samples from which on whole vectors of packed weights save more than the packing costs.
    let pack_from = S::LANES.max(4);
    for column in (0..n).step_by(S::LANES) {
        let lanes = S::LANES.min(n - column);
        let packed = x.width * S::LANES;
        if n == S::LANES {
            let source = Narrow { x, weights, stride: n, from: 0, column, lanes };
            narrow_rows::<S, true>(s, source, epilogue, y);
        } else if y.count() >= pack_from && packed <= scratch.len() {
            let (rows, _) = S::chunks_mut(&mut scratch[..packed]);
            for (to, from) in rows.iter_mut().zip(weights.chunks_exact(n)) {
                s.store(load_lanes(s, &from[column..], lanes), to);
            }
            let source = Narrow { x, weights: &scratch[..packed], stride: S::LANES, from: 0, column, lanes };
            narrow_rows::<S, true>(s, source, epilogue, y);
        } else {
            let source = Narrow { x, weights, stride: n, from: column, column, lanes };
            narrow_rows::<S, false>(s, source, epilogue, y);
        }
    }
    let rows = 0..y.count();
    epilogue.settle(s, y, rows, 0..n);
}

/// What goes into one vector of outputs: those from `column` on, `lanes` of them.
#[derive(Clone, Copy)]
struct Narrow<'a> {
    x: Rows<'a>,
    /// In rows of `stride`, the vector's own from `from` on.
    weights: &'a [f32],
    stride: usize,
    from: usize,
    column: usize,
    lanes: usize,
}

/// All samples; `WHOLE`: rows of weights are vectors.
#[inline(always)]
fn narrow_rows<S: Simd, const WHOLE: bool>(
    s: S,
    source: Narrow<'_>,
    epilogue: &BiasActivation<'_>,
    y: &mut RowsMut<'_>,
) {
    let m = y.count();
    let mut row = 0;
    // 6 samples × 4 chains and what they meet fill 32 registers; 16 registers hold 2 × 4.
    if S::LANES == 16 {
        while row + 6 <= m {
            narrow_tile::<S, 6, WHOLE>(s, source, epilogue, row, y);
            row += 6;
        }
        while row + 4 <= m {
            narrow_tile::<S, 4, WHOLE>(s, source, epilogue, row, y);
            row += 4;
        }
    }
    while row + 2 <= m {
        narrow_tile::<S, 2, WHOLE>(s, source, epilogue, row, y);
        row += 2;
    }
    if row < m {
        narrow_tile::<S, 1, WHOLE>(s, source, epilogue, row, y);
    }
}

/// MR samples, one vector of outputs.
#[expect(clippy::needless_range_loop, reason = "c and r index registers")]
#[inline(always)]
fn narrow_tile<S: Simd, const MR: usize, const WHOLE: bool>(
    s: S,
    source: Narrow<'_>,
    epilogue: &BiasActivation<'_>,
    row: usize,
    y: &mut RowsMut<'_>,
) {
    let Narrow { x, weights, from: from_column, column, lanes, .. } = source;
    let stride = if WHOLE { S::LANES } else { source.stride };
    let width = if WHOLE { S::LANES } else { lanes };
    let mut total = [s.splat(0.0); MR];
    for (index, weights) in weights.chunks(BLOCK * stride).enumerate() {
        let first = index * BLOCK;
        let terms = BLOCK.min(x.width - first);
        let mut chains = [[s.splat(0.0); MR]; 4];
        let (whole, rest) = (terms / 4, terms % 4);
        let start = row * x.stride + x.offset + first;
        let from = Strided { data: x.data, start, step: 1, across: x.stride };
        let w = Strided { data: weights, start: from_column, step: stride, across: 0 };
        // Indices the compiler can see, or the chains would live in memory.
        walk::<MR>(
            true,
            4 * whole,
            from,
            w,
            width,
            #[inline(always)]
            |c, x, w| {
                let w = load_lanes(s, w, width);
                for r in 0..MR {
                    chains[c][r] = s.mul_add(s.splat(x[r]), w, chains[c][r]);
                }
            },
        );
        for c in 0..3 {
            if c < rest {
                let k = 4 * whole + c;
                let w = load_lanes(s, &weights[k * stride + from_column..], width);
                for r in 0..MR {
                    chains[c][r] = s.mul_add(s.splat(x.row(row + r)[first + k]), w, chains[c][r]);
                }
            }
        }
        for r in 0..MR {
            let sum = s.add(s.add(chains[0][r], chains[1][r]), s.add(chains[2][r], chains[3][r]));
            total[r] = if index == 0 { sum } else { s.add(total[r], sum) };
        }
    }
    for (r, &sum) in total.iter().enumerate() {
        let value = epilogue.value(s, row + r, column, lanes, sum);
        store_lanes(s, value, &mut y.row_mut(row + r)[column..], lanes);
    }
}
