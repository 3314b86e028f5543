//! The forward pass of a dense layer: product, bias and activation in one pass.
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
use super::gemm::finish;
use super::gemm::product;
use super::pack::Right;
use super::reduce;
use super::rows::{BLOCK, PANEL, Rows, RowsMut, chain, load_lanes, store_lanes};
use super::tiles::Epilogue;
use crate::Isa;
use crate::activation::Activation;
use crate::backend::Engine;
#[cfg(feature = "alloc")]
use crate::backend::{Matrix, sgemm};
use crate::error::{Buffer, StepError};
use crate::simd::{Simd, Strided, dispatch, walk};
use core::ops::Range;

/// Layers of 2 to this many outputs sum each block in four chains, by k mod 4.
pub(crate) const NARROW: usize = 16;

/// Writes `y = activation(x·W + b)`.
///
/// `x: [batch × in]`, `weights: [in × out]`, `bias: [out]`, `y: [batch × out]`,
/// all row-major; in and out follow from the lengths of `x`, `bias` and `weights`.
/// `scratch` holds packed columns of W: [`forward_scratch_len`] floats, or
/// [`product_scratch_len`](super::product_scratch_len)`(batch, in, out)`, with which large layers are faster. Softmax is
/// applied to each row of y.
///
/// # Errors
/// [`StepError::Length`] or [`StepError::Batch`] if the lengths don't fit together,
/// [`StepError::NoOutputs`] if `bias` is empty; `y` is then as it was.
///
/// ```
/// use microprop::{Activation, Isa, kernels};
///
/// let (x, weights, bias) = ([1.0, 2.0], [1.0, 0.0, -1.0, 0.0, 1.0, -1.0], [0.5, 0.5, 0.5]);
/// let mut y = [0.0; 3];
/// let mut scratch = [0.0; kernels::forward_scratch_len(2)];
/// kernels::dense_forward(Isa::detect(), &x, &weights, &bias, Activation::Relu, &mut y, &mut scratch)?;
/// assert_eq!(y, [1.5, 2.5, 0.0]);
/// # Ok::<(), microprop::StepError>(())
/// ```
pub fn dense_forward(
    isa: Isa,
    x: &[f32],
    weights: &[f32],
    bias: &[f32],
    activation: Activation,
    y: &mut [f32],
    scratch: &mut [f32],
) -> Result<(), StepError> {
    let inputs = super::rows_of(Buffer::Weights, weights, bias.len(), 1)?;
    let batch = super::batch_of(x, inputs)?;
    StepError::check(Buffer::Outputs, super::length(batch, bias.len())?, y.len())?;
    StepError::check_at_least(Buffer::Workspace, forward_scratch_len(inputs), scratch.len())?;
    let out = RowsMut::dense(y, bias.len());
    forward(Engine::own(isa), Rows::dense(x, inputs), weights, bias, activation, out, scratch);
    if activation == Activation::Softmax {
        super::output::softmax(isa, y, bias.len());
    }
    Ok(())
}

/// Floats of scratch that [`dense_forward`] needs for a layer of `inputs` inputs.
pub const fn forward_scratch_len(inputs: usize) -> usize {
    PANEL * if inputs < BLOCK { inputs } else { BLOCK }
}

/// `y = activation(x·W + b)`, or without b if `bias` is empty, lengths checked by the caller. Softmax is left to the caller.
pub(crate) fn forward(
    engine: Engine,
    x: Rows<'_>,
    weights: &[f32],
    bias: &[f32],
    activation: Activation,
    y: RowsMut<'_>,
    scratch: &mut [f32],
) {
    if bias.is_empty() {
        return without_bias(engine, x, weights, activation, y, scratch);
    }
    with_bias(engine, x, weights, bias, activation, y, scratch);
}

/// The same where there is a bias. (What knows that leaves the other out of the binary.)
pub(crate) fn with_bias(
    engine: Engine,
    x: Rows<'_>,
    weights: &[f32],
    bias: &[f32],
    activation: Activation,
    mut y: RowsMut<'_>,
    scratch: &mut [f32],
) {
    let epilogue = BiasActivation::new(bias, activation);
    let (isa, y) = (engine.isa, &mut y);
    #[cfg(feature = "alloc")]
    if y.width > NARROW && engine.leaves(y.count(), x.width, y.width) {
        sgemm(x.matrix(), Matrix::rows_of(weights, x.width, y.width, y.width), &mut y.data[y.offset..], y.stride);
        return dispatch!(isa, s => finish(s, y, &epilogue));
    }
    match y.width {
        1 => dispatch!(isa, s => one_output(s, x, weights, &epilogue, y)),
        2..=NARROW => dispatch!(isa, s => narrow(s, x, weights, &epilogue, y, scratch)),
        _ => dispatch!(isa, s => product(s, x, Right::Plain(Rows::dense(weights, y.width)), y, scratch, &epilogue)),
    }
}

/// What a layer without bias adds to as many columns.
pub(crate) const NO_BIAS: [f32; NARROW] = [-0.0; NARROW];

/// The same for a layer without bias: with one of −0, since x − 0 is x whatever the sign of a zero.
fn without_bias(
    engine: Engine,
    x: Rows<'_>,
    weights: &[f32],
    activation: Activation,
    mut y: RowsMut<'_>,
    scratch: &mut [f32],
) {
    if y.width <= NARROW {
        return with_bias(engine, x, weights, &NO_BIAS[..y.width], activation, y, scratch);
    }
    if scratch.len() >= without_bias_scratch_len(x.width, y.width) {
        let (nothing, scratch) = scratch.split_at_mut(y.width);
        nothing.fill(-0.0);
        return with_bias(engine, x, weights, nothing, activation, y, scratch);
    }
    // One sample on a microcontroller, say.
    dispatch!(engine.isa, s => {
        for row in 0..y.count() {
            row_without_bias(s, x.row(row), weights, y.row_mut(row));
        }
        let rows = 0..y.count();
        apply(s, activation, &mut y, rows, 0..weights.len() / x.width);
    });
}

/// Floats of scratch with which a layer without bias runs as fast as others.
pub(crate) const fn without_bias_scratch_len(inputs: usize, outputs: usize) -> usize {
    forward_scratch_len(inputs) + outputs
}

/// One sample through a layer of more than [`NARROW`] outputs.
#[inline(always)]
fn row_without_bias<S: Simd>(s: S, x: &[f32], weights: &[f32], y: &mut [f32]) {
    let n = y.len();
    for at in (0..n).step_by(S::LANES) {
        let lanes = S::LANES.min(n - at);
        let sum = chain(
            s,
            x.len(),
            #[inline(always)]
            |k, sum| s.mul_add(s.splat(x[k]), load_lanes(s, &weights[k * n + at..], lanes), sum),
        );
        store_lanes(s, sum, &mut y[at..], lanes);
    }
}

/// Adds the bias, then applies the activation: ReLU in registers, others in a
/// pass over what was just stored.
pub(super) struct BiasActivation<'a> {
    bias: &'a [f32],
    activation: Activation,
    /// Values are at least this.
    floor: f32,
}

impl<'a> BiasActivation<'a> {
    #[inline(always)]
    pub(super) fn new(bias: &'a [f32], activation: Activation) -> Self {
        let floor = if activation == Activation::Relu { 0.0 } else { f32::NEG_INFINITY };
        Self { bias, activation, floor }
    }

    /// The bias of some columns.
    #[inline(always)]
    pub(super) fn bias(&self, columns: Range<usize>) -> &'a [f32] {
        &self.bias[columns]
    }

    #[inline(always)]
    pub(super) fn finish<S: Simd>(&self, s: S, sum: S::Vector, bias: S::Vector) -> S::Vector {
        // Nothing is below −∞, so without ReLU this passes every z on, NaN too.
        s.max(s.splat(self.floor), s.add(sum, bias))
    }
}

impl<S: Simd> Epilogue<S> for BiasActivation<'_> {
    #[inline(always)]
    fn value(&self, s: S, _: usize, column: usize, lanes: usize, sum: S::Vector) -> S::Vector {
        self.finish(s, sum, load_lanes(s, &self.bias[column..], lanes))
    }

    #[inline(always)]
    fn settle(&self, s: S, stored: &mut RowsMut<'_>, rows: Range<usize>, columns: Range<usize>) {
        if has_own_pass(self.activation) {
            s.outline(
                #[inline(always)]
                |s| apply(s, self.activation, stored, rows, columns),
            );
        }
    }
}

/// Whether values take a pass over the pre-activations, by the layer.
#[inline(always)]
pub(super) const fn has_own_pass(activation: Activation) -> bool {
    !matches!(activation, Activation::Linear | Activation::Relu | Activation::Softmax)
}

/// Replaces pre-activations by values.
#[inline(always)]
fn apply<S: Simd>(s: S, activation: Activation, z: &mut RowsMut<'_>, rows: Range<usize>, columns: Range<usize>) {
    activation.seen(
        s,
        #[inline(always)]
        |activation| {
            if columns.len() == z.stride {
                // Nothing between the rows: narrow ones share vectors.
                return super::map::map(
                    s,
                    &mut z.data[rows.start * z.stride..rows.end * z.stride],
                    #[inline(always)]
                    |z| activation.value(s, z),
                );
            }
            for row in rows {
                super::map::map(
                    s,
                    z.part_mut(row, columns.clone()),
                    #[inline(always)]
                    |z| activation.value(s, z),
                );
            }
        },
    );
}

/// One output: each sample is a dot product, in 16 partial sums.
#[inline(always)]
fn one_output<S: Simd>(s: S, x: Rows<'_>, weights: &[f32], epilogue: &BiasActivation<'_>, y: &mut RowsMut<'_>) {
    let bias = s.splat(epilogue.bias[0]);
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
fn narrow<S: Simd>(
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
