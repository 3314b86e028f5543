//! A dense layer forward, in 16 networks at once.

use super::{Row, get, partials, set, vectors};
use crate::Isa;
use crate::kernels::narrow::NARROW;
use crate::kernels::rows::BLOCK;
use crate::simd::{Simd, dispatch};

/// `z = max(floor, x·W + b)` of one sample, `x: [in]`, `weights: [in × out]`, `bias: [out]` or empty, `z: [out]`. A
/// floor of 0 is ReLU, one of −∞ none.
pub(crate) fn forward(isa: Isa, x: &[Row], weights: &[Row], bias: &[Row], floor: f32, z: &mut [Row]) {
    let layer = Dense { x, weights, bias, floor };
    match z.len() {
        1 => dispatch!(isa, s => layer.one_output(s, z)),
        2..=NARROW => dispatch!(isa, s => layer.narrow(s, z)),
        _ => dispatch!(isa, s => layer.wide(s, z)),
    }
}

struct Dense<'a> {
    x: &'a [Row],
    weights: &'a [Row],
    bias: &'a [Row],
    floor: f32,
}

impl Dense<'_> {
    /// The sum of output j becomes its pre-activation.
    #[inline(always)]
    fn finish<S: Simd>(&self, s: S, z: &mut [Row], j: usize, v: usize, sum: S::Vector) {
        let z_j = if self.bias.is_empty() { sum } else { s.add(sum, get(s, &self.bias[j], v)) };
        set(s, &mut z[j], v, s.max(s.splat(self.floor), z_j));
    }

    /// Blocks of terms: their inputs and rows of weights.
    #[inline(always)]
    fn blocks(&self, out: usize) -> impl Iterator<Item = (usize, (&[Row], &[Row]))> {
        self.x.chunks(BLOCK).zip(self.weights.chunks(BLOCK * out)).enumerate()
    }

    /// Sixteen partial sums.
    #[inline(always)]
    fn one_output<S: Simd>(&self, s: S, z: &mut [Row]) {
        for v in 0..vectors::<S>() {
            let sum = partials(
                s,
                self.x.len(),
                #[inline(always)]
                |k, sum| s.mul_add(get(s, &self.x[k], v), get(s, &self.weights[k], v), sum),
            );
            self.finish(s, z, 0, v, sum);
        }
    }

    /// Four chains.
    #[inline(always)]
    fn narrow<S: Simd>(&self, s: S, z: &mut [Row]) {
        let mut at = 0;
        // 4 outputs × 4 chains in 32 registers, 2 × 4 in 16.
        if S::LANES == 16 {
            while at + 4 <= z.len() {
                self.narrow_tile::<S, 4>(s, z, at);
                at += 4;
            }
        }
        while at + 2 <= z.len() {
            self.narrow_tile::<S, 2>(s, z, at);
            at += 2;
        }
        if at < z.len() {
            self.narrow_tile::<S, 1>(s, z, at);
        }
    }

    #[inline(always)]
    fn narrow_tile<S: Simd, const N: usize>(&self, s: S, z: &mut [Row], at: usize) {
        let out = z.len();
        for v in 0..vectors::<S>() {
            let mut total = [s.splat(0.0); N];
            for (index, (x, weights)) in self.blocks(out) {
                let mut chains = [[s.splat(0.0); N]; 4];
                let (x_fours, x_rest) = x.as_chunks::<4>();
                let fours = weights.chunks_exact(4 * out);
                let rest = fours.remainder();
                for (x, w) in x_fours.iter().zip(fours) {
                    for c in 0..4 {
                        let (x, w) = (get(s, &x[c], v), &w[c * out + at..][..N]);
                        for n in 0..N {
                            chains[c][n] = s.mul_add(x, get(s, &w[n], v), chains[c][n]);
                        }
                    }
                }
                for c in 0..3 {
                    if c < x_rest.len() {
                        let (x, w) = (get(s, &x_rest[c], v), &rest[c * out + at..][..N]);
                        for n in 0..N {
                            chains[c][n] = s.mul_add(x, get(s, &w[n], v), chains[c][n]);
                        }
                    }
                }
                for n in 0..N {
                    let sum = s.add(s.add(chains[0][n], chains[1][n]), s.add(chains[2][n], chains[3][n]));
                    total[n] = if index == 0 { sum } else { s.add(total[n], sum) };
                }
            }
            for (n, &sum) in total.iter().enumerate() {
                self.finish(s, z, at + n, v, sum);
            }
        }
    }

    /// One chain.
    #[inline(always)]
    fn wide<S: Simd>(&self, s: S, z: &mut [Row]) {
        let mut at = 0;
        while at + 8 <= z.len() {
            self.wide_tile::<S, 8>(s, z, at);
            at += 8;
        }
        while at < z.len() {
            self.wide_tile::<S, 1>(s, z, at);
            at += 1;
        }
    }

    #[inline(always)]
    fn wide_tile<S: Simd, const N: usize>(&self, s: S, z: &mut [Row], at: usize) {
        let out = z.len();
        for v in 0..vectors::<S>() {
            let mut total = [s.splat(0.0); N];
            for (index, (x, weights)) in self.blocks(out) {
                let mut sums = [s.splat(0.0); N];
                for (x, w) in x.iter().zip(weights.chunks_exact(out)) {
                    let (x, w) = (get(s, x, v), &w[at..at + N]);
                    for n in 0..N {
                        sums[n] = s.mul_add(x, get(s, &w[n], v), sums[n]);
                    }
                }
                for n in 0..N {
                    total[n] = if index == 0 { sums[n] } else { s.add(total[n], sums[n]) };
                }
            }
            for (n, &sum) in total.iter().enumerate() {
                self.finish(s, z, at + n, v, sum);
            }
        }
    }
}
