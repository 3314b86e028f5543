//! A dense layer forward for one sample, on vectors: what a prediction by itself and an online step run.
//!
//! The same sums as in [`dense_forward`](super::dense_forward), without what a batch asks of its tiles, which would
//! take as long as the sums of a small network. [`one_lane`](super::one_lane) is its twin for CPUs without vectors.
#![forbid(unsafe_code)]

use super::activate::activate_in;
use super::dense_forward::{BiasActivation, has_own_pass};
use super::lean::Columns;
use super::narrow::NARROW;
use super::reduce;
use super::rows::{BLOCK, blocks, columns_of, load_lanes, steps, store_columns, store_lanes};
use super::tiles::Epilogue;
use crate::activation::Activation;
use crate::simd::{Simd, Strided, walk};
use core::ops::Range;

/// `y = activation(x·W + b)`, for some columns of W, one at least. Softmax is left to the caller.
#[inline(always)]
pub(crate) fn forward<S: Simd>(
    s: S,
    x: &[f32],
    columns: Columns<'_>,
    bias: &[f32],
    activation: Activation,
    y: &mut [f32],
) {
    if columns.width == 1 {
        y[0] = one_output(s, x, columns.weights, bias[0], activation);
        return;
    }
    let mut layer = Layer { x, columns, epilogue: BiasActivation::new(bias, activation), y };
    match columns.width {
        ..=NARROW => {
            let count = layer.y.len();
            for column in (0..count).step_by(S::LANES) {
                layer.narrow(s, column, S::LANES.min(count - column));
            }
        }
        _ => layer.wide(s),
    }
    if has_own_pass(activation) {
        activate_in(s, activation, y);
    }
}

/// The only output of a layer, in registers to its end: loading a vector of which one lane was just stored waits until the
/// store has left the core, and with it all that the CPU could begin of the next sample.
#[inline(always)]
fn one_output<S: Simd>(s: S, x: &[f32], weights: &[f32], bias: f32, activation: Activation) -> f32 {
    let sum = s.splat(reduce::dot_in(s, x, weights));
    let z = s.first(BiasActivation::new(&[], activation).finish(s, sum, s.splat(bias)));
    if !has_own_pass(activation) {
        return z;
    }
    // With what two registers hold: in a larger closure z would go through memory.
    let activation = &activation;
    s.outline(
        #[inline(always)]
        move |s| s.first(activation.value(s, s.splat(z))),
    )
}

struct Layer<'a> {
    x: &'a [f32],
    columns: Columns<'a>,
    epilogue: BiasActivation<'a>,
    y: &'a mut [f32],
}

impl Layer<'_> {
    /// `lanes` pre-activations from `column` on, whose sums are given.
    #[inline(always)]
    fn finish<S: Simd>(&mut self, s: S, column: usize, lanes: usize, sum: S::Vector) {
        let z = self.epilogue.value(s, 0, column, lanes, sum);
        store_lanes(s, z, &mut self.y[column..], lanes);
    }

    /// More than [`NARROW`] outputs.
    #[inline(always)]
    fn wide<S: Simd>(&mut self, s: S) {
        let (n, mut column) = (self.y.len(), 0);
        // Side by side, as a chain by itself would wait for each of its multiply-adds.
        while n - column >= 8 * S::LANES {
            self.strip::<S, 8, false>(s, column);
            column += 8 * S::LANES;
        }
        while n - column >= 4 * S::LANES {
            self.strip::<S, 4, false>(s, column);
            column += 4 * S::LANES;
        }
        if column == n {
            return;
        }
        match (n - column).div_ceil(S::LANES) {
            1 => self.strip::<S, 1, true>(s, column),
            2 => self.strip::<S, 2, true>(s, column),
            3 => self.strip::<S, 3, true>(s, column),
            _ => self.strip::<S, 4, true>(s, column),
        }
    }

    /// Some of them from `column` on: NV vectors, or with `PART` all that are left, the last vector short. Each block of k
    /// is one chain.
    ///
    /// In a function of its own, as a compiler works out ahead of a loop over strips whatever they share: more
    /// instructions than a strip of a small layer has beside its sums.
    #[inline(always)]
    fn strip<S: Simd, const NV: usize, const PART: bool>(&mut self, s: S, column: usize) {
        s.outline(
            #[inline(always)]
            |s| {
                let width = if PART { self.y.len() - column } else { NV * S::LANES };
                let columns = column..column + width;
                let mut sums = self.block::<S, NV, PART>(s, 0, columns.clone());
                let mut begin = BLOCK;
                while begin < self.x.len() {
                    let more = self.block::<S, NV, PART>(s, begin, columns.clone());
                    for v in 0..NV {
                        sums[v] = s.add(sums[v], more[v]);
                    }
                    begin += BLOCK;
                }
                let bias = columns_of::<S, NV, PART>(s, self.epilogue.bias(columns.clone()));
                for v in 0..NV {
                    sums[v] = self.epilogue.finish(s, sums[v], bias[v]);
                }
                store_columns::<S, NV, PART>(s, sums, &mut self.y[columns]);
            },
        );
    }

    /// The sums of some columns over the block of k that begins at `begin`.
    #[inline(always)]
    fn block<S: Simd, const NV: usize, const PART: bool>(
        &self,
        s: S,
        begin: usize,
        columns: Range<usize>,
    ) -> [S::Vector; NV] {
        let Columns { weights, width, first } = self.columns;
        let terms = (self.x.len() - begin).min(BLOCK);
        let x = Strided { data: self.x, start: begin, step: 1, across: 0 };
        let w = Strided { data: weights, start: begin * width + first + columns.start, step: width, across: 0 };
        let mut sums = [s.splat(0.0); NV];
        // Four at a time: counting takes as many instructions as a term of four vectors.
        walk::<1>(
            true,
            terms,
            x,
            w,
            columns.len(),
            #[inline(always)]
            |_, [x], w| add_term::<S, NV, PART>(s, x, w, &mut sums),
        );
        sums
    }

    /// `lanes` columns from `column` on, of at most [`NARROW`]: each block of k in four chains by k mod 4, joined
    /// (0+1)+(2+3).
    #[inline(always)]
    fn narrow<S: Simd>(&mut self, s: S, column: usize, lanes: usize) {
        let Columns { weights, width: n, first } = self.columns;
        let from = first + column;
        let mut total = s.splat(0.0);
        for (index, (x, weights)) in blocks(self.x, 1).zip(blocks(weights, n)).enumerate() {
            let mut chains = [s.splat(0.0); 4];
            let (fours, rest) = x.as_chunks::<4>();
            for (x, rows) in fours.iter().zip(steps(weights, 4 * n)) {
                for c in 0..4 {
                    chains[c] = s.mul_add(s.splat(x[c]), load_lanes(s, &rows[c * n + from..], lanes), chains[c]);
                }
            }
            let last = &weights[4 * n * fours.len()..];
            for c in 0..3 {
                if c < rest.len() {
                    chains[c] = s.mul_add(s.splat(rest[c]), load_lanes(s, &last[c * n + from..], lanes), chains[c]);
                }
            }
            let sum = s.add(s.add(chains[0], chains[1]), s.add(chains[2], chains[3]));
            total = if index == 0 { sum } else { s.add(total, sum) };
        }
        self.finish(s, column, lanes, total);
    }
}

/// `sums = x·w + sums`.
#[inline(always)]
fn add_term<S: Simd, const NV: usize, const PART: bool>(s: S, x: f32, w: &[f32], sums: &mut [S::Vector; NV]) {
    let (x, w) = (s.splat(x), columns_of::<S, NV, PART>(s, w));
    for v in 0..NV {
        sums[v] = s.mul_add(x, w[v], sums[v]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{dense_forward, forward_scratch_len};
    use crate::simd::dispatch;
    use crate::{Isa, Rng};

    /// All widths around whole vectors and strips, on each instruction set, against the kernel of a batch.
    #[test]
    fn a_sample_by_itself_has_the_bits_it_has_in_a_batch() {
        const WIDEST: usize = 150;
        for inputs in [1, 3, 6, 20, 256, 259, 515] {
            let mut numbers = Rng::new(inputs as u64);
            let mut draw = |len: usize| (0..len).map(|_| numbers.uniform() - 0.5).collect::<Vec<_>>();
            let (x, all_weights, all_bias) = (draw(inputs), draw(inputs * WIDEST), draw(WIDEST));
            let mut scratch = vec![0.0; forward_scratch_len(inputs)];
            for outputs in (1..=35).chain([47, 48, 49, 63, 64, 65, 79, 95, 96, 112, 127, 128, 129, 144, WIDEST]) {
                let (weights, bias) = (&all_weights[..inputs * outputs], &all_bias[..outputs]);
                for activation in [Activation::Linear, Activation::Relu, Activation::Tanh] {
                    for isa in Isa::available() {
                        let (mut own, mut expected) = (vec![f32::NAN; outputs], vec![f32::NAN; outputs]);
                        // In two pieces, of which each may be short.
                        let first = inputs % outputs;
                        let (left, right) = own.split_at_mut(first);
                        for (first, y) in [(0, left), (first, right)] {
                            let (columns, bias) =
                                (Columns { weights, width: outputs, first }, &bias[first..][..y.len()]);
                            if !y.is_empty() {
                                dispatch!(isa, s => forward(s, &x, columns, bias, activation, y));
                            }
                        }
                        dense_forward(isa, &x, weights, bias, activation, &mut expected, &mut scratch).unwrap();
                        let bits = |y: &[f32]| y.iter().map(|y| y.to_bits()).collect::<Vec<_>>();
                        assert_eq!(bits(&own), bits(&expected), "{inputs} × {outputs}, {activation}, {isa}");
                    }
                }
            }
        }
    }
}
