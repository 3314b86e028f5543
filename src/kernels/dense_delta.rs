//! The backward pass of a dense layer to its inputs: product with Wᵀ and the
//! slope of the activation below, in one pass.
#![forbid(unsafe_code)]

use super::activate::slopes;
use super::few::{FEW, with_few};
#[cfg(feature = "alloc")]
use super::gemm::finish;
use super::gemm::product;
use super::pack::{Right, load_square};
use super::rows::{BLOCK, Rows, RowsMut, columns_of, load_lanes, store_lanes};
use super::swapped::{should_swap, swapped};
use super::tiles::Epilogue;
use crate::Isa;
use crate::activation::Activation;
use crate::backend::Engine;
#[cfg(feature = "alloc")]
use crate::backend::{Matrix, sgemm};
use crate::error::{Buffer, StepError};
use crate::parts;
use crate::simd::{Simd, dispatch};
use core::ops::Range;

/// Writes `delta_below = (delta·Wᵀ) ⊙ slope`, the chain rule through one dense layer.
///
/// `delta: [batch × outputs]` is ∂loss/∂pre-activation of the layer, `weights: [in × outputs]`
/// its weights, `y: [batch × in]` its inputs, that is, the values of the layer
/// below, whose `activation` gives the slope (of GELU, SiLU, mish and hard swish its pre-activations: they take
/// their slope there); `delta_below: [batch × in]`. For
/// ∂loss/∂inputs of a network let `activation` be linear: `y` is then not read. (Softmax, which no layer below another has, counts as linear.)
/// `scratch` needs [`forward_scratch_len`](super::forward_scratch_len)`(outputs)` floats; with
/// [`product_scratch_len`](super::product_scratch_len)`(batch, outputs, in)` large layers are faster.
///
/// # Errors
/// [`StepError::Length`] if the lengths don't fit together, [`StepError::NoOutputs`]
/// if `outputs` is 0; `delta_below` is then as it was.
///
/// ```
/// use microprop::{Activation, Isa, kernels};
///
/// // One sample, two inputs, one output.
/// let (delta, weights, y) = ([2.0], [3.0, -1.0], [0.0, 5.0]);
/// let mut below = [0.0; 2];
/// let mut scratch = [0.0; kernels::forward_scratch_len(1)];
/// kernels::dense_delta(Isa::detect(), &delta, 1, &weights, &y, Activation::Relu, &mut below, &mut scratch)?;
/// assert_eq!(below, [0.0, -2.0]); // the first unit below was off
/// # Ok::<(), microprop::StepError>(())
/// ```
#[expect(clippy::too_many_arguments, reason = "four matrices and a size that can't follow from their lengths")]
pub fn dense_delta(
    isa: Isa,
    delta: &[f32],
    outputs: usize,
    weights: &[f32],
    y: &[f32],
    activation: Activation,
    delta_below: &mut [f32],
    scratch: &mut [f32],
) -> Result<(), StepError> {
    let inputs = super::rows_of(Buffer::Weights, weights, outputs, 1)?;
    let batch = super::rows_of(Buffer::OutputDelta, delta, outputs, 1)?;
    let below = super::length(batch, inputs)?;
    StepError::check(Buffer::InputDelta, below, delta_below.len())?;
    if activation != Activation::Linear {
        StepError::check(Buffer::Inputs, below, y.len())?;
    }
    StepError::check_at_least(Buffer::Workspace, super::forward_scratch_len(outputs), scratch.len())?;
    let (delta, y) = (Rows::dense(delta, outputs), Rows::dense(y, inputs));
    self::delta(Engine::own(isa), delta, weights, y, activation, RowsMut::dense(delta_below, inputs), scratch);
    Ok(())
}

/// `out = (delta·Wᵀ) ⊙ slope(y)`, lengths checked by the caller.
pub(crate) fn delta(
    engine: Engine,
    delta: Rows<'_>,
    weights: &[f32],
    y: Rows<'_>,
    activation: Activation,
    mut out: RowsMut<'_>,
    scratch: &mut [f32],
) {
    let isa = engine.isa;
    let out = &mut out;
    let epilogue = Slope { y, activation };
    #[cfg(feature = "alloc")]
    if engine.leaves(out.count(), delta.width, out.width) {
        let transposed = Matrix::rows_of(weights, out.width, delta.width, delta.width).transposed();
        sgemm(delta.matrix(), transposed, &mut out.data[out.offset..], out.stride);
        return dispatch!(isa, s => finish(s, out, &epilogue));
    }
    if delta.width == 1 {
        return dispatch!(isa, s => outer(s, delta, weights, out, &epilogue));
    }
    let weights = Rows::dense(weights, delta.width);
    dispatch!(isa, s => turned(s, delta, weights, out, scratch, &epilogue));
}

/// The product with Wᵀ: columns of it are packed, or those of deltaᵀ, whichever is less to turn.
#[inline(always)]
fn turned<S: Simd>(
    s: S,
    delta: Rows<'_>,
    weights: Rows<'_>,
    out: &mut RowsMut<'_>,
    scratch: &mut [f32],
    epilogue: &Slope<'_>,
) {
    if S::LANES > 1 && out.count() <= FEW {
        with_few!(out.count(), N => of_few_samples::<S, N>(s, delta.first(), weights, out, epilogue));
        let (rows, columns) = (0..out.count(), 0..out.width);
        epilogue.settle(s, out, rows, columns);
    } else if should_swap::<S>(out.count(), delta.width, out.width, scratch.len()) {
        swapped(s, delta, weights, out, scratch, epilogue);
    } else {
        product(s, delta, Right::Transposed(weights), out, scratch, epilogue);
    }
}

/// N samples, but for what settles them: squares of the weights are turned, and meet their deltas, in registers.
#[inline(always)]
fn of_few_samples<S: Simd, const N: usize>(
    s: S,
    delta: [&[f32]; N],
    weights: Rows<'_>,
    out: &mut RowsMut<'_>,
    epilogue: &Slope<'_>,
) {
    let inputs = out.width;
    s.outline(
        #[inline(always)]
        |s| {
            for column in (0..inputs).step_by(S::LANES) {
                let lanes = S::LANES.min(inputs - column);
                let sums = sums_of_few(s, delta, weights, column, lanes);
                for (n, &sum) in sums.iter().enumerate() {
                    let value = epilogue.value(s, n, column, lanes, sum);
                    store_lanes(s, value, out.part_mut(n, column..column + lanes), lanes);
                }
            }
        },
    );
}

/// The sums of `lanes` inputs from `first` on, of as many as there are rows of weights, for each of N samples.
#[inline(always)]
pub(super) fn sums_of_few<S: Simd, const N: usize>(
    s: S,
    delta: [&[f32]; N],
    weights: Rows<'_>,
    first: usize,
    lanes: usize,
) -> [S::Vector; N] {
    let rows = Rows { data: &weights.data[first * weights.stride..], ..weights };
    let mut totals = [s.splat(0.0); N];
    for start in (0..weights.width).step_by(BLOCK) {
        let block = start..weights.width.min(start + BLOCK);
        let mut terms = delta;
        for n in 0..N {
            terms[n] = &delta[n][block.clone()];
        }
        let sums = products_of_squares(s, terms, Rows { offset: start, ..rows }, lanes);
        for n in 0..N {
            totals[n] = if start == 0 { sums[n] } else { s.add(totals[n], sums[n]) };
        }
    }
    totals
}

/// `Σ delta[n][k] · w[r][k]` in lane r, for the first `rows` rows of `w`, at most LANES.
#[inline(always)]
fn products_of_squares<S: Simd, const N: usize>(s: S, delta: [&[f32]; N], w: Rows<'_>, rows: usize) -> [S::Vector; N] {
    let mut sums = [s.splat(0.0); N];
    for start in (0..delta[0].len()).step_by(S::LANES) {
        let mut columns = S::LANES.min(delta[0].len() - start);
        let mut terms = delta;
        for n in 0..N {
            terms[n] = parts::span(delta[n], start, columns);
            // As many as they are: the compiler sees that no index is out of bounds.
            columns = columns.min(terms[n].len());
        }
        let from = Rows { offset: w.offset + start, width: columns, ..w };
        let mut whole = rows == S::LANES;
        for terms in terms {
            whole &= terms.len() == S::LANES;
        }
        if whole {
            let square = load_square(s, from, S::LANES, S::LANES);
            for k in 0..S::LANES {
                for n in 0..N {
                    sums[n] = s.mul_add(s.splat(terms[n][k]), square[k], sums[n]);
                }
            }
        } else {
            let square = load_square(s, from, rows, columns);
            for k in 0..S::LANES {
                if k < columns {
                    for n in 0..N {
                        sums[n] = s.mul_add(s.splat(terms[n][k]), square[k], sums[n]);
                    }
                }
            }
        }
    }
    sums
}

/// A product of a single term: a column of deltas times a column of weights.
#[inline(always)]
fn outer<S: Simd>(s: S, delta: Rows<'_>, weights: &[f32], out: &mut RowsMut<'_>, epilogue: &Slope<'_>) {
    if epilogue.activation == Activation::Relu {
        outer_columns::<S, true>(s, delta, weights, out, epilogue.y);
    } else {
        // What stands for y is not read.
        outer_columns::<S, false>(s, delta, weights, out, delta);
        let rows = 0..out.count();
        epilogue.pass(s, out, rows, 0..weights.len());
    }
}

/// Weights stay in registers while the rows pass by.
#[inline(always)]
fn outer_columns<S: Simd, const RELU: bool>(
    s: S,
    delta: Rows<'_>,
    weights: &[f32],
    out: &mut RowsMut<'_>,
    y: Rows<'_>,
) {
    let mut at = 0;
    while at + 4 * S::LANES <= weights.len() {
        outer_group::<S, 4, false, RELU>(s, delta, weights, out, y, at..at + 4 * S::LANES);
        at += 4 * S::LANES;
    }
    while at < weights.len() {
        let end = weights.len().min(at + S::LANES);
        outer_group::<S, 1, true, RELU>(s, delta, weights, out, y, at..end);
        at = end;
    }
}

#[expect(clippy::needless_range_loop, reason = "v indexes registers")]
#[inline(always)]
fn outer_group<S: Simd, const NV: usize, const PART: bool, const RELU: bool>(
    s: S,
    delta: Rows<'_>,
    weights: &[f32],
    out: &mut RowsMut<'_>,
    y: Rows<'_>,
    columns: Range<usize>,
) {
    let w = columns_of::<S, NV, PART>(s, &weights[columns.clone()]);
    for ((to, delta), y) in out.iter_mut().zip(delta.iter()).zip(y.iter()) {
        let (d, to) = (s.splat(delta[0]), &mut to[columns.clone()]);
        let y = if RELU { &y[columns.clone()] } else { y };
        for v in 0..NV {
            let at = v * S::LANES;
            let lanes = if PART { to.len() } else { S::LANES };
            let mut sum = s.mul_add(d, w[v], s.splat(0.0));
            if RELU {
                sum = Activation::Relu.delta(s, sum, load_lanes(s, &y[at..], lanes));
            }
            store_lanes(s, sum, &mut to[at..], lanes);
        }
    }
}

/// Multiplies by the slope of the activation whose values are `y`: in registers where
/// it is short, else in a pass over what was just stored.
struct Slope<'a> {
    y: Rows<'a>,
    activation: Activation,
}

impl Slope<'_> {
    /// The values where `lanes` of the elements in `row` are, from `column` on.
    #[inline(always)]
    fn values<S: Simd>(&self, s: S, row: usize, column: usize, lanes: usize) -> S::Vector {
        load_lanes(s, self.y.part(row, column..column + lanes), lanes)
    }

    /// Multiplies what was stored.
    #[inline(always)]
    fn pass<S: Simd>(&self, s: S, stored: &mut RowsMut<'_>, rows: Range<usize>, columns: Range<usize>) {
        if self.activation == Activation::Linear {
            return;
        }
        // With nothing between them all rows are one: narrow ones share vectors.
        let dense = columns.len() == stored.stride && columns.len() == self.y.stride;
        let together = if dense { rows.len().max(1) } else { 1 };
        let columns = columns.start..columns.end + (together - 1) * stored.stride;
        for row in rows.step_by(together) {
            slopes(s, self.activation, stored.part_mut(row, columns.clone()), self.y.part(row, columns.clone()));
        }
    }
}

impl<S: Simd> Epilogue<S> for Slope<'_> {
    #[inline(always)]
    fn value(&self, s: S, row: usize, column: usize, lanes: usize, sum: S::Vector) -> S::Vector {
        match self.activation {
            Activation::Relu => Activation::Relu.delta(s, sum, self.values(s, row, column, lanes)),
            Activation::Tanh => Activation::Tanh.delta(s, sum, self.values(s, row, column, lanes)),
            _ => sum,
        }
    }

    #[inline(always)]
    fn settle(&self, s: S, stored: &mut RowsMut<'_>, rows: Range<usize>, columns: Range<usize>) {
        if !matches!(self.activation, Activation::Relu | Activation::Tanh) {
            self.pass(s, stored, rows, columns);
        }
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::{FEW, dense_delta};
    use crate::kernels::forward_scratch_len;
    use crate::{Activation, Isa, Rng};

    /// Whole squares of weights and parts of such, one block of terms and two, for every kind of slope.
    #[test]
    fn few_samples_have_the_bits_they_have_in_a_batch() {
        const BATCH: usize = 9;
        for outputs in (1..=19).chain([31, 32, 33, 48, 256, 259]) {
            for inputs in (1..=19).chain([31, 32, 33, 40, 64, 100]) {
                let mut rng = Rng::new((outputs * inputs) as u64);
                let mut numbers = |len: usize| -> Vec<f32> { (0..len).map(|_| 2.0 * rng.uniform() - 1.0).collect() };
                let (delta, weights, y) =
                    (numbers(BATCH * outputs), numbers(inputs * outputs), numbers(BATCH * inputs));
                let mut scratch = vec![f32::NAN; forward_scratch_len(outputs)];
                for activation in [Activation::Linear, Activation::Relu, Activation::Tanh, Activation::Sigmoid] {
                    for isa in Isa::available() {
                        let mut below = |samples: usize| {
                            let mut below = vec![f32::NAN; samples * inputs];
                            let (delta, y) = (&delta[..samples * outputs], &y[..samples * inputs]);
                            dense_delta(isa, delta, outputs, &weights, y, activation, &mut below, &mut scratch)
                                .unwrap();
                            below
                        };
                        let batch = below(BATCH);
                        for samples in 1..=FEW {
                            let what = format!("{isa}: {samples}, {outputs} to {inputs}, {activation:?}");
                            assert!(below(samples) == batch[..samples * inputs], "{what}");
                        }
                    }
                }
            }
        }
    }
}
