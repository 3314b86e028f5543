//! What one lane does with the weights of a layer and one sample: loops over rows, sums in registers.
//!
//! Vectors leave these loops to kernels over [`Simd`]. With one lane they are where a microcontroller
//! spends its time, and what LLVM makes of them there depends on how they are cut: see `vfp.rs`, which has them in
//! assembly for Cortex-M with an FPU. What is here gives the same bits, everywhere.

use super::{Scalar, Simd, fold16};
use crate::optimizer::Rule;

/// Whether the last row of weights has a column for each sum. (No panic, so that a microcontroller needs no text for it.)
#[inline(always)]
fn fits(x: &[f32], w: &[f32], width: usize, sums: &[f32]) -> bool {
    let fits = !x.is_empty() && sums.len() <= width && (x.len() - 1) * width + sums.len() <= w.len();
    debug_assert!(fits, "a row for each input, a column for each sum");
    fits
}

/// Fills in the sums, as many side by side as registers hold: `$sums_of` gives those of N columns from the weights
/// on that begin with theirs.
macro_rules! over_columns {
    ($w:expr, $sums:expr, $n:ident => |$from:ident| $sums_of:expr) => {{
        let (w, mut column): (&[f32], usize) = ($w, 0);
        let (eights, rest) = $sums.as_chunks_mut::<8>();
        for sums in eights {
            const $n: usize = 8;
            let $from = &w[column..];
            *sums = $sums_of;
            column += $n;
        }
        let (fours, rest) = rest.as_chunks_mut::<4>();
        for sums in fours {
            const $n: usize = 4;
            let $from = &w[column..];
            *sums = $sums_of;
            column += $n;
        }
        for sum in rest {
            const $n: usize = 1;
            let $from = &w[column..];
            [*sum] = $sums_of;
            column += $n;
        }
    }};
}

impl<const FUSED: bool> Scalar<FUSED> {
    /// `sums[j] = Σₖ x[k]·w[k·width + j]`, each sum one chain from +0.
    ///
    /// `w: [x.len() × width]`, from the first column on that is wanted; at most `width` sums.
    #[inline(always)]
    pub(crate) fn column_sums(self, x: &[f32], w: &[f32], width: usize, sums: &mut [f32]) {
        if !fits(x, w, width, sums) {
            return;
        }
        #[cfg(all(target_arch = "arm", target_os = "none", target_abi = "eabihf"))]
        if !FUSED && sums.len() >= 4 {
            return vfp::column_sums(x, w, width, sums);
        }
        over_columns!(w, sums, N => |w| {
            let mut sums = [0.0; N];
            for (&x, w) in x.iter().zip(w.chunks(width)) {
                self.add_row(x, w, &mut sums);
            }
            sums
        });
    }

    /// The same sums in four chains by k mod 4, joined (0+1)+(2+3).
    #[inline(always)]
    pub(crate) fn four_chain_sums(self, x: &[f32], w: &[f32], width: usize, sums: &mut [f32]) {
        if !fits(x, w, width, sums) {
            return;
        }
        #[cfg(all(target_arch = "arm", target_os = "none", target_abi = "eabihf"))]
        if !FUSED && sums.len() >= 4 {
            return vfp::four_chain_sums(x, w, width, sums);
        }
        over_columns!(w, sums, N => |w| {
            let mut chains = [[0.0; N]; 4];
            for (x, w) in x.chunks(4).zip(w.chunks(4 * width)) {
                for ((chain, &x), w) in chains.iter_mut().zip(x).zip(w.chunks(width)) {
                    self.add_row(x, w, chain);
                }
            }
            let [a, b, c, d] = chains;
            core::array::from_fn(|j| (a[j] + b[j]) + (c[j] + d[j]))
        });
    }

    /// `sums[j] = mul_add(x, w[j], sums[j])`.
    #[inline(always)]
    fn add_row<const N: usize>(self, x: f32, w: &[f32], sums: &mut [f32; N]) {
        if let Some(w) = w.first_chunk::<N>() {
            for j in 0..N {
                sums[j] = self.mul_add(x, w[j], sums[j]);
            }
        }
    }

    /// `w[k·width + j] = mul_add(minus_rate·x[k], delta[j], w[k·width + j])` in the rows whose x is not ±0, and
    /// `bias[j] = mul_add(minus_rate, delta[j], bias[j])`.
    ///
    /// `w: [x.len() × width]`, `width` the length of `delta`, and of `bias` if it has any.
    #[inline(always)]
    pub(crate) fn update_rows(self, x: &[f32], minus_rate: f32, delta: &[f32], w: &mut [f32], bias: &mut [f32]) {
        let width = delta.len();
        debug_assert_eq!(w.len(), x.len() * width, "a row for each input");
        #[cfg(all(target_arch = "arm", target_os = "none", target_abi = "eabihf"))]
        let done = if FUSED { 0 } else { vfp::update_rows(x, minus_rate, delta, w, bias) };
        #[cfg(not(all(target_arch = "arm", target_os = "none", target_abi = "eabihf")))]
        let done = 0;
        if done == width {
            return;
        }
        for (&x, w) in x.iter().zip(w.chunks_exact_mut(width)) {
            if x != 0.0 {
                self.add_scaled(minus_rate * x, &delta[done..], &mut w[done..]);
            }
        }
        if let Some(bias) = bias.get_mut(done..) {
            self.add_scaled(minus_rate, &delta[done..], bias);
        }
    }

    /// One output above ReLUs: `values[i] = values[i] > 0 ? w[i]·delta : +0`, and where the value was not ±0
    /// `w[i] = mul_add(minus_rate·value, delta, w[i])`.
    #[inline(always)]
    pub(crate) fn one_output_relu(self, values: &mut [f32], minus_rate: f32, delta: f32, w: &mut [f32]) {
        #[cfg(all(target_arch = "arm", target_os = "none", target_abi = "eabihf"))]
        if !FUSED {
            return vfp::one_output_relu(values, minus_rate, delta, w);
        }
        for (value, w) in values.iter_mut().zip(w) {
            let y = *value;
            // What the other partial sums add turns −0 into +0.
            *value = if y > 0.0 { self.mul_add(*w, delta, 0.0) + 0.0 } else { 0.0 };
            if y != 0.0 {
                *w = self.mul_add(minus_rate * y, delta, *w);
            }
        }
    }

    /// `y[j] = mul_add(step, x[j], y[j])`; both have one length.
    #[inline(always)]
    pub(crate) fn add_scaled(self, step: f32, x: &[f32], y: &mut [f32]) {
        #[cfg(all(target_arch = "arm", target_os = "none", target_abi = "eabihf"))]
        let (x, y) = if FUSED { (x, y) } else { vfp::add_scaled(step, x, y) };
        for (&x, y) in x.iter().zip(y) {
            *y = self.mul_add(step, x, *y);
        }
    }

    /// Adam's step for rows of weights, as many as inputs `x`, with the moments m and v of each weight.
    ///
    /// `w`, `m`, `v`: `[x.len() × delta.len()]`.
    #[inline(always)]
    pub(crate) fn adam(self, rule: &Rule, x: &[f32], delta: &[f32], w: &mut [f32], m: &mut [f32], v: &mut [f32]) {
        let (width, len) = (delta.len(), x.len() * delta.len());
        debug_assert!(w.len() == len && m.len() == len && v.len() == len, "a row for each input");
        #[cfg(all(target_arch = "arm", target_os = "none", target_abi = "eabihf"))]
        if !FUSED && vfp::adam(rule, x, delta, w, m, v) {
            return;
        }
        let rows = w.chunks_exact_mut(width).zip(m.chunks_exact_mut(width)).zip(v.chunks_exact_mut(width));
        for (&x, ((w, m), v)) in x.iter().zip(rows) {
            for ((&delta, w), (m, v)) in delta.iter().zip(w).zip(m.iter_mut().zip(v)) {
                (*w, [*m, *v]) = rule.update(self, self.mul_add(x, delta, 0.0), *w, [*m, *v]);
            }
        }
    }

    /// `Σ a[i]·b[i]` in sixteen partial sums; both have one length.
    #[inline(always)]
    pub(crate) fn dot(self, a: &[f32], b: &[f32]) -> f32 {
        #[cfg(all(target_arch = "arm", target_os = "none", target_abi = "eabihf"))]
        if !FUSED
            && a.len().is_multiple_of(16)
            && let Some(sum) = vfp::dot(a, b)
        {
            return sum;
        }
        if let ([a], [b]) = (a, b) {
            return self.mul_add(*a, *b, 0.0) + 0.0; // What the other partial sums add turns −0 into +0.
        }
        if let (Some(a), Some(b), 4) = (a.first_chunk::<4>(), b.first_chunk::<4>(), a.len()) {
            // Partial sums that get no term are +0, and none is −0.
            let sums: [f32; 4] = core::array::from_fn(|i| self.mul_add(a[i], b[i], 0.0));
            return (sums[0] + sums[2]) + (sums[1] + sums[3]);
        }
        self.dot_of_any(a, b)
    }

    /// Apart, since those above are what matters.
    #[inline(never)]
    fn dot_of_any(self, a: &[f32], b: &[f32]) -> f32 {
        let mut sums = [0.0; 16];
        for (a, b) in a.chunks(16).zip(b.chunks(16)) {
            for ((sum, &a), &b) in sums.iter_mut().zip(a).zip(b) {
                *sum = self.mul_add(a, b, *sum);
            }
        }
        fold16(sums)
    }

    /// `y[j] = y[j] + bias[j]`, and +0 where `relu` and that is below zero; both have one length.
    #[inline(always)]
    pub(crate) fn add_bias(self, y: &mut [f32], bias: &[f32], relu: bool) {
        #[cfg(all(target_arch = "arm", target_os = "none", target_abi = "eabihf"))]
        let (y, bias) = if relu { vfp::add_bias_relu(y, bias) } else { (y, bias) };
        for (y, &bias) in y.iter_mut().zip(bias) {
            *y += bias;
            if relu && *y < 0.0 {
                *y = 0.0;
            }
        }
    }
}

/// Slices to the pointers of `vfp.rs`.
#[cfg(all(target_arch = "arm", target_os = "none", target_abi = "eabihf"))]
mod vfp {
    use crate::optimizer::Rule;
    use crate::simd::vfp::{
        adam as adam_of, add_bias_relu as add_bias_relu_of, add_scaled as add_scaled_of, dot16, four_chains4,
        one_output_relu as one_output_relu_of, sums4, sums16, update16,
    };
    use core::ptr::null_mut;

    /// Lengths as `fits` has checked them; at least four sums.
    #[inline(always)]
    pub(super) fn column_sums(x: &[f32], w: &[f32], width: usize, sums: &mut [f32]) {
        let blocks = sums.len() / 16;
        if blocks > 0 {
            // SAFETY: the caller has seen that the last row reaches the last sum; the others begin before it.
            unsafe { sums16(x.as_ptr(), x.len(), w.as_ptr(), 4 * width, sums.as_mut_ptr(), blocks) };
        }
        by_fours(16 * blocks, sums, |at, sums| {
            // SAFETY: as above; these four columns are among those.
            unsafe { sums4(x.as_ptr(), x.len(), w.as_ptr().add(at), 4 * width, sums) };
        });
    }

    /// As [`column_sums`].
    #[inline(always)]
    pub(super) fn four_chain_sums(x: &[f32], w: &[f32], width: usize, sums: &mut [f32]) {
        by_fours(0, sums, |at, sums| {
            // SAFETY: as above.
            unsafe { four_chains4(x.as_ptr(), x.len(), w.as_ptr().add(at), 4 * width, sums) };
        });
    }

    /// Calls `f` for four sums at a time, from column `from` on, with where they begin; the last four may take in some
    /// that are done.
    #[inline(always)]
    fn by_fours(from: usize, sums: &mut [f32], f: impl Fn(usize, *mut f32)) {
        let mut column = from;
        while column < sums.len() {
            let at = column.min(sums.len() - 4);
            f(at, sums[at..].as_mut_ptr());
            column += 4;
        }
    }

    /// Returns how many columns are done.
    #[inline(always)]
    pub(super) fn update_rows(x: &[f32], minus_rate: f32, delta: &[f32], w: &mut [f32], bias: &mut [f32]) -> usize {
        let (width, blocks) = (delta.len(), delta.len() / 16);
        if blocks == 0 || x.is_empty() || x.len() * width > w.len() {
            return 0;
        }
        let bias = if bias.len() == width { bias.as_mut_ptr() } else { null_mut() };
        // SAFETY: there is a row of `width` weights for each input, with at least 16 for each block, and so many in the bias.
        unsafe { update16(x.as_ptr(), x.len(), w.as_mut_ptr(), 4 * width, minus_rate, delta.as_ptr(), blocks, bias) };
        16 * blocks
    }

    #[inline(always)]
    pub(super) fn one_output_relu(values: &mut [f32], minus_rate: f32, delta: f32, w: &mut [f32]) {
        let count = values.len().min(w.len());
        if count > 0 {
            // SAFETY: both have `count` elements.
            unsafe { one_output_relu_of(values.as_mut_ptr(), w.as_mut_ptr(), count, delta, minus_rate) };
        }
    }

    /// Whether this was of a shape that it can do.
    #[inline(always)]
    pub(super) fn adam(rule: &Rule, x: &[f32], delta: &[f32], w: &mut [f32], m: &mut [f32], v: &mut [f32]) -> bool {
        let (width, len) = (delta.len(), x.len() * delta.len());
        let fits = len > 0 && width.is_multiple_of(4) && w.len() >= len && m.len() >= len && v.len() >= len;
        match *rule {
            Rule::Adam { beta1, rest1, beta2, rest2, minus_rate, root_scale, epsilon } if fits => {
                let scalars = [beta1, rest1, beta2, rest2, minus_rate, root_scale, epsilon];
                let (w, m, v) = (w.as_mut_ptr(), m.as_mut_ptr(), v.as_mut_ptr());
                // SAFETY: three times a row of `width` for each input.
                unsafe { adam_of(w, m, v, delta.as_ptr(), width, &scalars, x.as_ptr(), x.len()) };
                true
            }
            _ => false,
        }
    }

    /// Returns what is left to do.
    #[inline(always)]
    pub(super) fn add_scaled<'a>(step: f32, x: &'a [f32], y: &'a mut [f32]) -> (&'a [f32], &'a mut [f32]) {
        let count = x.len().min(y.len()) & !3;
        if count > 0 {
            // SAFETY: both have `count` elements.
            unsafe { add_scaled_of(y.as_mut_ptr(), x.as_ptr(), count, step) };
        }
        (&x[count..], &mut y[count..])
    }

    /// `None` where there is no group of 16, or where lengths differ.
    #[inline(always)]
    pub(super) fn dot(a: &[f32], b: &[f32]) -> Option<f32> {
        let groups = a.len() / 16;
        if groups == 0 || a.len() != b.len() {
            return None;
        }
        // SAFETY: both have `16·groups` elements.
        Some(unsafe { dot16(a.as_ptr(), b.as_ptr(), groups) })
    }

    /// Returns what is left to do.
    #[inline(always)]
    pub(super) fn add_bias_relu<'a>(y: &'a mut [f32], bias: &'a [f32]) -> (&'a mut [f32], &'a [f32]) {
        let count = y.len().min(bias.len()) & !7;
        if count > 0 {
            // SAFETY: both have `count` elements.
            unsafe { add_bias_relu_of(y.as_mut_ptr(), bias.as_ptr(), count) };
        }
        (&mut y[count..], &bias[count..])
    }
}
