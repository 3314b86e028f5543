//! What one lane does with the weights of a layer and one sample: loops over rows, sums in registers.
//!
//! Vectors leave these loops to kernels over [`Simd`]. With one lane they are where a microcontroller
//! spends its time, and what LLVM makes of them there depends on how they are cut: see [`vfp`], which has them in
//! assembly for Cortex-M with an FPU. What is here gives the same bits, everywhere.

use super::{Lanes, Scalar, fold16, vfp};
use crate::optimizer::{AdamScalars, Rule};
use crate::parts;

/// Whether the last row of weights has a column for each sum. (No panic, so that a microcontroller needs no text for it.)
#[inline(always)]
fn fits(x: &[f32], w: &[f32], width: usize, sums: &[f32]) -> bool {
    let last = x.len().checked_sub(1).and_then(|last| last.checked_mul(width)?.checked_add(sums.len()));
    let fits = sums.len() <= width && last.is_some_and(|last| last <= w.len());
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
            let $from = parts::from(w, column);
            *sums = $sums_of;
            column += $n;
        }
        let (fours, rest) = rest.as_chunks_mut::<4>();
        for sums in fours {
            const $n: usize = 4;
            let $from = parts::from(w, column);
            *sums = $sums_of;
            column += $n;
        }
        for sum in rest {
            const $n: usize = 1;
            let $from = parts::from(w, column);
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
        if vfp::column_sums::<FUSED>(x, w, width, sums) {
            return;
        }
        over_columns!(w, sums, N => |w| {
            let mut sums = [0.0; N];
            for (&x, w) in x.iter().zip(w.chunks(width.max(1))) {
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
        if vfp::four_chain_sums::<FUSED>(x, w, width, sums) {
            return;
        }
        over_columns!(w, sums, N => |w| {
            let mut chains = [[0.0; N]; 4];
            let mut rows = w.chunks(width.max(1));
            for x in x.chunks(4) {
                for (chain, &x) in chains.iter_mut().zip(x) {
                    let Some(w) = rows.next() else { break };
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
        let done = vfp::update_rows::<FUSED>(x, minus_rate, delta, w, bias);
        if done == width {
            return;
        }
        for (&x, w) in x.iter().zip(w.chunks_exact_mut(width.max(1))) {
            if x != 0.0 {
                self.add_scaled(minus_rate * x, parts::from(delta, done), parts::from_mut(w, done));
            }
        }
        if let Some(bias) = bias.get_mut(done..) {
            self.add_scaled(minus_rate, parts::from(delta, done), bias);
        }
    }

    /// Rows above ReLUs: `values[k] = values[k] > 0 ? w[k]·delta : +0` for each row of `w: [values.len() × delta.len()]`, and
    /// where the value was not ±0 `w[k][j] = mul_add(minus_rate·value, delta[j], w[k][j])`.
    #[inline(always)]
    pub(crate) fn relu_rows(self, values: &mut [f32], minus_rate: f32, delta: &[f32], w: &mut [f32]) {
        if vfp::relu_rows::<FUSED>(values, minus_rate, delta, w) {
            return;
        }
        for (value, w) in values.iter_mut().zip(w.chunks_exact_mut(delta.len().max(1))) {
            let y = *value;
            *value = if y > 0.0 { self.dot(w, delta) } else { 0.0 };
            if y != 0.0 {
                self.add_scaled(minus_rate * y, delta, w);
            }
        }
    }

    /// One output above ReLUs: `values[i] = values[i] > 0 ? w[i]·delta : +0`, and where the value was not ±0
    /// `w[i] = mul_add(minus_rate·value, delta, w[i])`.
    #[inline(always)]
    pub(crate) fn one_output_relu(self, values: &mut [f32], minus_rate: f32, delta: f32, w: &mut [f32]) {
        if vfp::one_output_relu::<FUSED>(values, minus_rate, delta, w) {
            return;
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
        let done = vfp::add_scaled::<FUSED>(step, x, y);
        for (&x, y) in parts::from(x, done).iter().zip(parts::from_mut(y, done)) {
            *y = self.mul_add(step, x, *y);
        }
    }

    /// Adam's step for rows of weights, as many as inputs `x`, with the moments m and v of each weight.
    ///
    /// `w`, `m`, `v`: `[x.len() × delta.len()]`.
    #[inline(always)]
    pub(crate) fn adam(
        self,
        rule: &AdamScalars,
        x: &[f32],
        delta: &[f32],
        w: &mut [f32],
        m: &mut [f32],
        v: &mut [f32],
    ) {
        let len = x.len() * delta.len();
        debug_assert!(w.len() == len && m.len() == len && v.len() == len, "a row for each input");
        if vfp::adam::<FUSED>(rule, x, delta, w, m, v) {
            return;
        }
        self.adam_of_any(rule, x, delta, w, m, v);
    }

    /// Rows above ReLUs, as [`relu_rows`](Self::relu_rows), by Adam.
    #[inline(always)]
    pub(crate) fn adam_relu_rows(
        self,
        rule: &AdamScalars,
        values: &mut [f32],
        delta: &[f32],
        [w, m, v]: [&mut [f32]; 3],
    ) {
        if !vfp::adam_relu_rows::<FUSED>(rule, values, delta, [&mut *w, &mut *m, &mut *v]) {
            self.adam_relu_rows_of_any(rule, values, delta, [w, m, v]);
        }
    }

    /// Apart, as [`adam_of_any`](Self::adam_of_any).
    #[inline(never)]
    fn adam_relu_rows_of_any(self, rule: &AdamScalars, values: &mut [f32], delta: &[f32], [w, m, v]: [&mut [f32]; 3]) {
        let [w, m, v] = [w, m, v].map(|all| all.chunks_exact_mut(delta.len().max(1)));
        for (value, ((w, m), v)) in values.iter_mut().zip(w.zip(m).zip(v)) {
            let product = if *value > 0.0 { self.dot(w, delta) } else { 0.0 };
            self.adam_of_any(rule, &[*value], delta, w, m, v);
            *value = product;
        }
    }

    /// Rows above other neurons: [`adam`](Self::adam), and the rows' products with the delta from before.
    #[inline(always)]
    pub(crate) fn adam_rows(
        self,
        rule: &AdamScalars,
        x: &[f32],
        delta: &[f32],
        [w, m, v]: [&mut [f32]; 3],
        products: &mut [f32],
    ) {
        if vfp::adam_rows::<FUSED>(rule, x, delta, [&mut *w, &mut *m, &mut *v], products) {
            return;
        }
        let [w, m, v] = [w, m, v].map(|all| all.chunks_exact_mut(delta.len().max(1)));
        for ((x, product), ((w, m), v)) in x.iter().zip(products).zip(w.zip(m).zip(v)) {
            *product = self.dot(w, delta);
            self.adam_of_any(rule, core::slice::from_ref(x), delta, w, m, v);
        }
    }

    /// Apart, since its registers would be everybody's.
    #[inline(never)]
    fn adam_of_any(self, rule: &AdamScalars, x: &[f32], delta: &[f32], w: &mut [f32], m: &mut [f32], v: &mut [f32]) {
        let (rule, width) = (Rule::Adam(*rule), delta.len());
        let [w, m, v] = [w, m, v].map(|all| all.chunks_exact_mut(width.max(1)));
        let rows = w.zip(m).zip(v);
        for (&x, ((w, m), v)) in x.iter().zip(rows) {
            for ((&delta, w), (m, v)) in delta.iter().zip(w).zip(m.iter_mut().zip(v)) {
                (*w, [*m, *v]) = rule.update(self, self.mul_add(x, delta, 0.0), *w, [*m, *v]);
            }
        }
    }

    /// `Σ a[i]·b[i]` in sixteen partial sums; both have one length.
    #[inline(always)]
    pub(crate) fn dot(self, a: &[f32], b: &[f32]) -> f32 {
        if let Some(sum) = vfp::dot::<FUSED>(a, b) {
            return sum;
        }
        if a.len() <= 4 {
            // Partial sums that get no term are +0.
            let product = |i| match (a.get(i), b.get(i)) {
                // A product that fused underflows to −0 is +0 in a sum.
                (Some(&a), Some(&b)) if FUSED => self.mul_add(a, b, 0.0) + 0.0,
                (Some(&a), Some(&b)) => self.mul_add(a, b, 0.0),
                _ => 0.0,
            };
            return (product(0) + product(2)) + (product(1) + product(3));
        }
        self.dot_of_any(a, b)
    }

    /// Apart, since those above are what matters.
    #[inline(never)]
    fn dot_of_any(self, a: &[f32], b: &[f32]) -> f32 {
        let mut sums = [0.0; 16];
        for (i, (&a, &b)) in a.iter().zip(b).enumerate() {
            sums[i % 16] = self.mul_add(a, b, sums[i % 16]);
        }
        fold16(sums)
    }

    /// `y[j] = y[j] + bias[j]`, and +0 where `relu` and that is below zero; both have one length.
    #[inline(always)]
    pub(crate) fn add_bias(self, y: &mut [f32], bias: &[f32], relu: bool) {
        let done = if relu { vfp::add_bias_relu::<FUSED>(y, bias) } else { 0 };
        for (y, &bias) in parts::from_mut(y, done).iter_mut().zip(parts::from(bias, done)) {
            *y += bias;
            if relu && *y < 0.0 {
                *y = 0.0;
            }
        }
    }
}
