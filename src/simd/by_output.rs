//! What one lane does with weights that are stored by output: loops along rows, each a sum.
//!
//! As in [`columns`](super::columns), [`vfp`] has them in assembly for Cortex-M with an FPU, and what is here gives the same bits.

use super::{Lanes, Scalar, vfp};
use crate::parts;

impl<const FUSED: bool> Scalar<FUSED> {
    /// `sums[j] = Σₖ x[k]·w[j·width + k]`, each sum one chain from +0.
    ///
    /// `w: [sums.len() × width]`, from the first weight on that is wanted; at most `width` inputs.
    #[inline(always)]
    pub(crate) fn row_sums(self, x: &[f32], w: &[f32], width: usize, sums: &mut [f32]) {
        let done = vfp::row_sums::<FUSED>(x, w, width, sums);
        for (j, sum) in sums.iter_mut().enumerate().skip(done) {
            let row = parts::from(w, j * width);
            *sum = x.iter().zip(row).fold(0.0, |sum, (&x, &w)| self.mul_add(x, w, sum));
        }
    }

    /// The same sums, and then a bias and ReLU.
    #[inline(always)]
    pub(crate) fn row_sums_relu(self, x: &[f32], w: &[f32], width: usize, bias: &[f32], y: &mut [f32]) {
        let done = vfp::row_sums_relu::<FUSED>(x, w, width, bias, y);
        let y = parts::from_mut(y, done);
        if !y.is_empty() {
            self.row_sums(x, parts::from(w, done * width), width, y);
            self.add_bias(y, parts::from(bias, done), true);
        }
    }

    /// The same sums in four chains by k mod 4, joined (0+1)+(2+3).
    #[inline(always)]
    pub(crate) fn row_four_chain_sums(self, x: &[f32], w: &[f32], width: usize, sums: &mut [f32]) {
        let done = vfp::row_four_chain_sums::<FUSED>(x, w, width, sums);
        for (j, sum) in sums.iter_mut().enumerate().skip(done) {
            let mut chains = [0.0; 4];
            for (x, w) in x.chunks(4).zip(parts::from(w, j * width).chunks(4)) {
                for ((chain, &x), &w) in chains.iter_mut().zip(x).zip(w) {
                    *chain = self.mul_add(x, w, *chain);
                }
            }
            let [a, b, c, d] = chains;
            *sum = (a + b) + (c + d);
        }
    }

    /// `w[j·inputs + k] = mul_add(minus_rate·x[k], delta[j], w[j·inputs + k])` in the rows whose delta is not ±0.
    ///
    /// `w: [delta.len() × x.len()]`.
    #[inline(always)]
    pub(crate) fn update_rows_by_output(self, x: &[f32], minus_rate: f32, delta: &[f32], w: &mut [f32]) {
        let inputs = x.len();
        debug_assert_eq!(w.len(), delta.len() * inputs, "a row for each output");
        let done = vfp::update_rows_by_output::<FUSED>(x, minus_rate, delta, w);
        if done == inputs {
            return;
        }
        for (&delta, w) in delta.iter().zip(w.chunks_exact_mut(inputs.max(1))) {
            if delta != 0.0 {
                for (&x, w) in parts::from(x, done).iter().zip(parts::from_mut(w, done)) {
                    *w = self.mul_add(minus_rate * x, delta, *w);
                }
            }
        }
    }
}
