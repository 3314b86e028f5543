//! Gradient and update of a dense layer in one pass: a gradient is stored for as long as its rows are at hand, if at all.
#![forbid(unsafe_code)]

use super::ahead::Joined;
#[cfg(feature = "alloc")]
use super::apply::apply;
use super::apply::{as_it_is, update_lanes, update_rows, update_span};
use super::few::{FEW, update_rows_by_few, with_few};
#[cfg(feature = "alloc")]
use super::penalty::penalize;
use super::penalty::penalize_in;
use super::rows::{BLOCK, Rows, blocks, columns_of, load_lanes, steps, store_lanes};
use super::transposed::{Sink, transposed_product, transposed_scratch_len};
use crate::Isa;
use crate::backend::Engine;
#[cfg(feature = "alloc")]
use crate::backend::sgemm;
use crate::error::{Buffer, StepError};
use crate::optimizer::{Optimizer, Rule};
use crate::penalty::Penalty;
use crate::simd::{Simd, dispatch, tile_rows};
use core::ops::Range;

/// Updates a dense layer from its inputs and its delta: the gradient of the
/// weights is `xᵀ·delta`, that of the bias the sum of `delta` over the batch, and
/// each element meets `optimizer` where it was summed: in registers or the nearest cache.
///
/// `x: [batch × in]`, `delta: [batch × out]` (∂loss/∂pre-activation, already
/// divided by whatever the loss averages over), `params: [in × out]` weights, then
/// `[out]` bias; `state`: the optimizer's, [state × params], zeros before step 0.
/// `scratch` needs `batch` floats; with [`update_scratch_len`] large layers are faster. in and out follow from the
/// lengths and `outputs`.
///
/// # Errors
/// [`StepError::Length`] if the lengths don't fit together, [`StepError::NoOutputs`]
/// if `outputs` is 0, [`StepError::Trainer`] if a setting of the optimizer is out of
/// range; everything is then as it was.
///
/// ```
/// use microprop::{Isa, Sgd, kernels};
///
/// let (x, delta) = ([1.0, 2.0], [10.0]); // one sample, two inputs, one output
/// let mut params = [0.0, 0.0, 0.0];
/// kernels::dense_update(Isa::detect(), &x, &delta, 1, &Sgd::new(0.5).into(), 0, &mut params, &mut [], &mut [0.0])?;
/// assert_eq!(params, [-5.0, -10.0, -5.0]);
/// # Ok::<(), microprop::StepError>(())
/// ```
#[expect(
    clippy::too_many_arguments,
    reason = "three matrices, an optimizer and its two buffers; a kernel owns nothing"
)]
pub fn dense_update(
    isa: Isa,
    x: &[f32],
    delta: &[f32],
    outputs: usize,
    optimizer: &Optimizer,
    step: u64,
    params: &mut [f32],
    state: &mut [f32],
    scratch: &mut [f32],
) -> Result<(), StepError> {
    optimizer.check()?;
    // At least one row of weights, and the bias.
    let rows = super::rows_of(Buffer::Parameters, params, outputs, 2)?;
    let batch = super::rows_of(Buffer::OutputDelta, delta, outputs, 1)?;
    StepError::check(Buffer::Inputs, super::length(batch, rows - 1)?, x.len())?;
    let states = optimizer.state_per_parameter();
    StepError::check(Buffer::OptimizerState, super::length(states, params.len())?, state.len())?;
    StepError::check_at_least(Buffer::Workspace, batch, scratch.len())?;
    let operands = Operands { x: Rows::dense(x, rows - 1), delta: Rows::dense(delta, outputs) };
    let band = Band { rows: 0..rows, params, state: split_state(state, states), penalty: None };
    update(Engine::own(isa), operands, &optimizer.rule(step), band, scratch);
    Ok(())
}

/// Floats of scratch with which [`dense_update`] is fastest for `batch` samples of a layer of `inputs` and `outputs`:
/// room to pack what a large layer reads.
pub const fn update_scratch_len(batch: usize, inputs: usize, outputs: usize) -> usize {
    let packed = transposed_scratch_len(batch, inputs, outputs);
    if packed > batch { packed } else { batch }
}

/// A layer's inputs and its delta, over the whole batch.
#[derive(Clone, Copy)]
pub(crate) struct Operands<'a> {
    /// `[batch × in]`.
    pub(crate) x: Rows<'a>,
    /// `[batch × out]`.
    pub(crate) delta: Rows<'a>,
}

/// Some rows of a layer's parameters and of their state. Row `in` is the bias.
pub(crate) struct Band<'a> {
    pub(crate) rows: Range<usize>,
    /// `[rows × out]`.
    pub(crate) params: &'a mut [f32],
    /// `[rows × out]` each; those that the rule does not use are empty.
    pub(crate) state: [&'a mut [f32]; 2],
    /// That of its weights; the bias has none. Not with [`Rule::Gradient`], which has no weights at hand.
    pub(crate) penalty: Option<Penalty>,
}

/// The optimizer's state as one slice per state float.
pub(crate) fn split_state(state: &mut [f32], states: usize) -> [&mut [f32]; 2] {
    let each = state.len().checked_div(states).unwrap_or(0);
    let (first, second) = state.split_at_mut(each);
    [first, second]
}

/// Applies `rule` to a band with the gradient `xᵀ·delta`, lengths checked by the caller.
pub(crate) fn update(engine: Engine, operands: Operands<'_>, rule: &Rule, band: Band<'_>, scratch: &mut [f32]) {
    #[cfg(feature = "alloc")]
    {
        let Operands { x, delta } = operands;
        let weights = band.rows.start..band.rows.end.min(x.width);
        if delta.width > 1 && engine.leaves(weights.len(), delta.count(), delta.width) {
            let bias = update_by_matrixmultiply(engine.isa, operands, rule, weights, band, scratch);
            return dispatch!(engine.isa, s => update_in(s, operands, rule, bias, scratch));
        }
    }
    dispatch!(engine.isa, s => update_in(s, operands, rule, band, scratch));
}

/// Updates the rows `weights` of a band from gradients that lie in `scratch`, as
/// many rows at a time as it holds; returns what is left of the band.
#[cfg(feature = "alloc")]
fn update_by_matrixmultiply<'b>(
    isa: Isa,
    operands: Operands<'_>,
    rule: &Rule,
    weights: Range<usize>,
    band: Band<'b>,
    scratch: &mut [f32],
) -> Band<'b> {
    let Operands { x, delta } = operands;
    let outputs = delta.width;
    let most = scratch.len() / outputs;
    let Band { rows, mut params, state: [mut first, mut second], penalty } = band;
    let mut start = weights.start;
    while start < weights.end {
        let count = most.min(weights.end - start);
        let gradient = &mut scratch[..count * outputs];
        sgemm(x.columns(start..start + count).matrix().transposed(), delta.matrix(), gradient, outputs);
        let (own, rest) = params.split_at_mut(gradient.len());
        params = rest;
        // A state that the rule does not use is empty.
        let (own_first, rest) = first.split_at_mut(gradient.len().min(first.len()));
        first = rest;
        let (own_second, rest) = second.split_at_mut(gradient.len().min(second.len()));
        second = rest;
        if let Some(penalty) = penalty {
            penalize(isa, penalty, own, gradient);
        }
        apply(isa, rule, gradient, own, [own_first, own_second]);
        start += count;
    }
    Band { rows: start..rows.end, params, state: [first, second], penalty }
}

#[inline(always)]
fn update_in<S: Simd>(s: S, operands: Operands<'_>, rule: &Rule, mut band: Band<'_>, scratch: &mut [f32]) {
    let Operands { x, delta } = operands;
    let (start, end) = (band.rows.start, band.rows.end);
    let (batch, weights) = (delta.count(), start..end.min(x.width));
    let cheap = matches!(rule, Rule::Gradient | Rule::Sgd { .. }) && band.penalty.is_none();
    let mut target = Target { rule, first_row: start, outputs: delta.width, cheap, band: &mut band };
    if delta.width == 1 {
        // A column of weights: lanes over the inputs, the delta as the single row of a product.
        let column = if delta.stride == 1 {
            delta.data
        } else {
            let column = &mut scratch[..delta.count()];
            for (to, delta) in column.iter_mut().zip(delta.iter()) {
                *to = delta[0];
            }
            column
        };
        transposed_row(s, column, x.columns(weights), &mut target);
    } else if S::LANES > 1 && batch == 1 && target.band.penalty.is_none() {
        of_one_sample(s, operands, rule, weights, target.band);
    } else if S::LANES > 1 && batch <= FEW && cheap {
        let (at, x) = ((weights.start - start) * delta.width, x.columns(weights));
        with_few!(batch, N => update_rows_by_few::<S, N>(s, rule, target.band.params, at, x.first(), delta.first()));
    } else {
        let rows = if cheap { 0 } else { chunk_rows::<S>(batch, weights.len(), delta.width) };
        if rows > 0 {
            update_in_chunks(s, operands, rule, weights, rows, target.band);
        } else {
            transposed_product(s, x, delta, weights, &mut target, scratch);
        }
    }
    if end > x.width {
        bias_sums(s, x.width, delta, &mut target);
    }
}

/// Updates the rows `weights` of a band from a single sample, whose gradients are products by themselves.
#[inline(always)]
fn of_one_sample<S: Simd>(
    s: S,
    Operands { x, delta }: Operands<'_>,
    rule: &Rule,
    weights: Range<usize>,
    band: &mut Band<'_>,
) {
    let Band { rows, params, state, .. } = band;
    let (first, delta) = (rows.start, delta.row(0));
    s.outline(
        #[inline(always)]
        |s| {
            rule.known(
                #[inline(always)]
                |rule| {
                    let x = &x.row(0)[weights.clone()];
                    update_rows(s, &rule, params, state, (weights.start - first) * delta.len(), x, delta);
                },
            );
        },
    );
}

/// Floats of gradient that lie in a first-level cache, with room for what they are made of.
const CHUNK: usize = 4096;

/// Those of a small layer: to clear more would take longer than to compute them.
const SMALL_CHUNK: usize = 512;

/// So many rows of weights at a time are updated in one go once their gradient is known, where that is faster than an
/// update with each tile: none with one lane, nor if the layer is so large that it is packed, or hardly fits.
const fn chunk_rows<S: Simd>(batch: usize, rows: usize, outputs: usize) -> usize {
    let most = CHUNK / outputs / S::TILE_ROWS * S::TILE_ROWS;
    if S::LANES == 1 || most < 2 * S::TILE_ROWS || rows == 0 || transposed_scratch_len(batch, rows, outputs) > 0 {
        return 0;
    }
    // Of nearly the same size, in whole tiles.
    rows.div_ceil(rows.div_ceil(most)).next_multiple_of(S::TILE_ROWS)
}

/// Updates the rows `weights` of a band, `rows` at a time: one long run checks its bounds once and goes through memory in
/// order, which the rows of a tile, two vectors each, do not.
#[inline(always)]
fn update_in_chunks<S: Simd>(
    s: S,
    Operands { x, delta }: Operands<'_>,
    rule: &Rule,
    weights: Range<usize>,
    rows: usize,
    band: &mut Band<'_>,
) {
    let outputs = delta.width;
    let (mut small, mut large);
    let room = if rows.min(weights.len()) * outputs <= SMALL_CHUNK {
        small = [0.0; SMALL_CHUNK];
        small.as_mut_slice()
    } else {
        large = [0.0; CHUNK];
        large.as_mut_slice()
    };
    for first in weights.clone().step_by(rows) {
        let rows = first..weights.end.min(first + rows);
        let gradients = &mut room[..rows.len() * outputs];
        let rule_of_chunk = &Rule::Gradient;
        if delta.count() <= FEW {
            let x = x.columns(rows);
            with_few!(delta.count(), N => update_rows_by_few::<S, N>(s, rule_of_chunk, gradients, 0, x.first(), delta.first()));
        } else {
            let mut own = Band { rows: rows.clone(), params: gradients, state: [&mut [], &mut []], penalty: None };
            let mut target = Target { rule: rule_of_chunk, first_row: first, outputs, cheap: true, band: &mut own };
            transposed_product(s, x, delta, rows, &mut target, &mut []);
        }
        let Band { rows: Range { start, .. }, params, state, penalty } = &mut *band;
        let at = (first - *start) * outputs;
        s.outline(
            #[inline(always)]
            |s| {
                if let Some(penalty) = *penalty {
                    penalize_in(s, penalty, &params[at..], gradients);
                }
                rule.known(
                    #[inline(always)]
                    |rule| update_span(s, &rule, params, state, at, gradients, as_it_is),
                );
            },
        );
    }
}

/// The gradient of a column of weights: `Σ delta[k] · x[k][..]`, lanes over the inputs.
#[inline(always)]
fn transposed_row<S: Simd>(s: S, column: &[f32], x: Rows<'_>, target: &mut Target<'_, '_>) {
    let mut at = 0;
    macro_rules! vectors {
        ($($count:literal)*) => {$(
            while at + $count * S::LANES <= x.width {
                let sums = chained::<S, $count, false>(s, x, at, $count * S::LANES, #[inline(always)] |k, x, sum| s.mul_add(s.splat(column[k]), x, sum));
                for (v, &sum) in sums.iter().enumerate() {
                    target.take_weights(s, at + v * S::LANES, S::LANES, sum);
                }
                at += $count * S::LANES;
            }
        )*};
    }
    vectors!(4 1);
    if at < x.width {
        let lanes = x.width - at;
        let [sum] = chained::<S, 1, true>(
            s,
            x,
            at,
            lanes,
            #[inline(always)]
            |k, x, sum| s.mul_add(s.splat(column[k]), x, sum),
        );
        target.take_weights(s, at, lanes, sum);
    }
}

/// The gradient of the bias: `Σ delta[k][..]`, lanes over the outputs.
#[inline(always)]
fn bias_sums<S: Simd>(s: S, row: usize, delta: Rows<'_>, target: &mut Target<'_, '_>) {
    let start = (row - target.first_row) * target.outputs;
    if delta.width == 1 {
        let mut total = None;
        for block in blocks(delta.data, delta.stride) {
            let terms = Rows { data: block, ..delta };
            let sum = terms.iter().fold(0.0, |sum, delta| sum + delta[0]);
            total = Some(total.map_or(sum, |total: f32| total + sum));
        }
        return target.take_flat(s, start, 1, s.splat(total.unwrap_or(0.0)));
    }
    let mut at = 0;
    macro_rules! vectors {
        ($($count:literal)*) => {$(
            while at + $count * S::LANES <= delta.width {
                let sums = chained::<S, $count, false>(s, delta, at, $count * S::LANES, #[inline(always)] |_, d, sum| s.add(sum, d));
                for (v, &sum) in sums.iter().enumerate() {
                    target.take_flat(s, start + at + v * S::LANES, S::LANES, sum);
                }
                at += $count * S::LANES;
            }
        )*};
    }
    vectors!(4 1);
    if at < delta.width {
        let lanes = delta.width - at;
        let [sum] = chained::<S, 1, true>(
            s,
            delta,
            at,
            lanes,
            #[inline(always)]
            |_, d, sum| s.add(sum, d),
        );
        target.take_flat(s, start + at, lanes, sum);
    }
}

/// Folds `term(k, row k from at, sum)` over the batch, each block from +0, blocks added in order.
#[inline(always)]
fn chained<S: Simd, const NV: usize, const PART: bool>(
    s: S,
    x: Rows<'_>,
    at: usize,
    width: usize,
    term: impl Fn(usize, S::Vector, S::Vector) -> S::Vector,
) -> [S::Vector; NV] {
    let mut total = [s.splat(0.0); NV];
    let from = x.offset + at;
    for (index, block) in blocks(x.data, x.stride).enumerate() {
        let mut sums = [s.splat(0.0); NV];
        for (k, row) in (index * BLOCK..).zip(steps(block, x.stride)) {
            let x = columns_of::<S, NV, PART>(s, &row[from..from + width]);
            for v in 0..NV {
                sums[v] = term(k, x[v], sums[v]);
            }
        }
        for v in 0..NV {
            total[v] = if index == 0 { sums[v] } else { s.add(total[v], sums[v]) };
        }
    }
    total
}

/// Where finished gradients meet the rule.
struct Target<'r, 'b> {
    rule: &'r Rule,
    first_row: usize,
    outputs: usize,
    /// Whether a product's vectors go through [`take`](Sink::take).
    cheap: bool,
    band: &'r mut Band<'b>,
}

impl Target<'_, '_> {
    /// Updates the weights from `at` on, counted within the band.
    #[inline(always)]
    fn take_weights<S: Simd>(&mut self, s: S, at: usize, lanes: usize, mut gradient: S::Vector) {
        if let Some(penalty) = self.band.penalty {
            gradient = penalty.gradient(s, gradient, load_lanes(s, &self.band.params[at..], lanes));
        }
        self.take_flat(s, at, lanes, gradient);
    }

    /// Updates the parameters from `at` on, counted within the band.
    #[inline(always)]
    fn take_flat<S: Simd>(&mut self, s: S, at: usize, lanes: usize, gradient: S::Vector) {
        update_lanes(s, self.rule, self.band.params, &mut self.band.state, at, lanes, gradient);
    }
}

impl<S: Simd> Sink<S> for Target<'_, '_> {
    #[inline(always)]
    fn is_cheap(&self) -> bool {
        self.cheap
    }

    #[inline(always)]
    fn is_large(&self) -> bool {
        // A quarter of a megabyte: part of a second-level cache, which x and delta share.
        self.band.params.len() >= 1 << 16
    }

    #[inline(always)]
    fn joined(&self, rows: Range<usize>, column: usize, columns: usize) -> Joined<'_> {
        let at = (rows.start - self.first_row) * self.outputs + column;
        // A state that the rule does not use is empty.
        let [first, second] = &self.band.state;
        Joined::new([self.band.params, first, second], at, rows.len(), columns, self.outputs)
    }

    #[inline(always)]
    fn take<const MR: usize, const NV: usize>(&mut self, s: S, row: usize, column: usize, sums: [[S::Vector; NV]; MR]) {
        let at = (row - self.first_row) * self.outputs + column;
        let params = tile_rows::<MR>(self.band.params, at, self.outputs, NV * S::LANES);
        let Rule::Sgd { minus_rate } = *self.rule else {
            // The gradient itself.
            for r in 0..MR {
                for v in 0..NV {
                    store_lanes(s, sums[r][v], &mut params[r][v * S::LANES..], S::LANES);
                }
            }
            return;
        };
        let minus_rate = s.splat(minus_rate);
        for r in 0..MR {
            for v in 0..NV {
                let w = &mut params[r][v * S::LANES..];
                let new = s.mul_add(sums[r][v], minus_rate, load_lanes(s, w, S::LANES));
                store_lanes(s, new, w, S::LANES);
            }
        }
    }

    #[inline(always)]
    fn take_tile(&mut self, s: S, row: usize, column: usize, columns: usize, sums: &mut [f32]) {
        let start = (row - self.first_row) * self.outputs + column;
        // Rows that the tile covers from end to end lie one after the other. (Short vectors
        // side by side would each wait for the store of the one before.)
        let span = if columns == self.outputs { sums.len() } else { columns };
        let Band { params, state, penalty, .. } = &mut *self.band;
        // By itself: in `update_lanes` it cost steps without a penalty 11% more instructions (Adam, AVX2).
        if let Some(penalty) = *penalty {
            s.outline(
                #[inline(always)]
                |s| {
                    for (r, sums) in sums.chunks_exact_mut(span).enumerate() {
                        penalize_in(s, penalty, &params[start + r * self.outputs..], sums);
                    }
                },
            );
        }
        s.outline(
            #[inline(always)]
            |s| {
                self.rule.known(
                    #[inline(always)]
                    |rule| {
                        for (r, sums) in sums.chunks_exact(span).enumerate() {
                            update_span(s, &rule, params, state, start + r * self.outputs, sums, as_it_is);
                        }
                    },
                );
            },
        );
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::{Band, Operands, split_state, update, update_scratch_len};
    use crate::backend::Engine;
    use crate::kernels::Rows;
    use crate::{Adam, Arithmetic, Isa, Optimizer, Penalty, Rng, Sgd};

    /// In one chunk and in several, with columns that fill their vectors and not, and layers that are too wide for chunks,
    /// too narrow for vectors or so large that they are packed; whole and as two bands.
    #[test]
    fn chunks_change_no_bit() {
        let sgd = Sgd::new(0.1);
        let optimizers: [Optimizer; 4] =
            [sgd.into(), sgd.momentum(0.9).into(), sgd.nesterov(0.9).into(), Adam::new(0.01).into()];
        let sizes = [
            [(5, 200, 40), (33, 64, 128), (9, 131, 17), (3, 26, 170), (4, 30, 400), (7, 90, 2), (1, 40, 1)],
            // One sample, rows side by side.
            [(1, 70, 10), (1, 500, 3), (1, 90, 13), (1, 100, 23), (1, 9, 31), (1, 1, 2), (1, 41, 17)],
            // Few samples, rows side by side and one by one.
            [(2, 70, 10), (4, 500, 3), (3, 90, 13), (2, 100, 23), (4, 9, 31), (3, 41, 16), (2, 20, 45)],
            // One sample; what is packed, with a whole chunk at the end and less than a tile; and more than the near caches hold.
            [(1, 70, 45), (1, 33, 64), (1, 5, 3), (90, 216, 203), (85, 147, 200), (73, 300, 230), (2, 300, 230)],
        ];
        for (batch, inputs, outputs) in sizes.into_iter().flatten() {
            let mut rng = Rng::new(1);
            let mut numbers = |len: usize| -> Vec<f32> { (0..len).map(|_| 2.0 * rng.uniform() - 1.0).collect() };
            let (x, delta) = (numbers(batch * inputs), numbers(batch * outputs));
            let initial = numbers((inputs + 1) * outputs);
            for optimizer in optimizers {
                for penalty in [None, Some(Penalty::elastic_net(0.01, 0.1))] {
                    let trained = |isa: Isa, cut: usize| {
                        let (mut params, states) = (initial.clone(), optimizer.state_per_parameter());
                        let mut state = vec![0.0; states * params.len()];
                        let operands = Operands { x: Rows::dense(&x, inputs), delta: Rows::dense(&delta, outputs) };
                        let mut scratch = vec![f32::NAN; update_scratch_len(batch, inputs, outputs)];
                        for step in 0..2 {
                            let (upper, lower) = params.split_at_mut(cut * outputs);
                            let [first, second] = split_state(&mut state, states);
                            let [at_first, at_second] = [first.len().min(upper.len()), second.len().min(upper.len())];
                            let (first, second) = (first.split_at_mut(at_first), second.split_at_mut(at_second));
                            for (rows, params, state) in
                                [(0..cut, upper, [first.0, second.0]), (cut..inputs + 1, lower, [first.1, second.1])]
                            {
                                let band = Band { rows, params, state, penalty };
                                update(Engine::own(isa), operands, &optimizer.rule(step), band, &mut scratch);
                            }
                        }
                        (params, state)
                    };
                    for arithmetic in [Arithmetic::Portable, Arithmetic::Fused] {
                        let mut instances = Isa::available().filter(|isa| isa.arithmetic() == arithmetic);
                        let first = trained(instances.next().expect("there is software for both"), 0);
                        for isa in instances {
                            for cut in [0, inputs / 3] {
                                let what =
                                    format!("{isa}: {batch}x{inputs}x{outputs}, {optimizer:?}, {penalty:?}, {cut}");
                                assert!(trained(isa, cut) == first, "{what}");
                            }
                        }
                    }
                }
            }
        }
    }
}
