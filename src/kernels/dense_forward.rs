//! The forward pass of a dense layer: product, bias and activation in one pass.
#![forbid(unsafe_code)]

use super::activate::activate_in;
#[cfg(feature = "alloc")]
use super::gemm::finish;
use super::gemm::product;
use super::narrow::{NARROW, narrow, one_output};
use super::pack::Right;
use super::rows::{BLOCK, PANEL, Rows, RowsMut, chain, load_lanes, store_lanes};
use super::tiles::Epilogue;
use crate::Isa;
use crate::activation::Activation;
use crate::backend::Engine;
#[cfg(feature = "alloc")]
use crate::backend::{Matrix, sgemm};
use crate::error::{Buffer, StepError};
use crate::simd::{Simd, dispatch};
use core::ops::Range;

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
            apply(s, self.activation, stored, rows, columns);
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
    // With nothing between them all rows are one: narrow ones share vectors.
    let together = if columns.len() == z.stride { rows.len().max(1) } else { 1 };
    let columns = columns.start..columns.end + (together - 1) * z.stride;
    for row in rows.step_by(together) {
        activate_in(s, activation, z.part_mut(row, columns.clone()));
    }
}
