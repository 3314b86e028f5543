//! `dense_forward` against `matrixmultiply::sgemm` followed by a pass for bias and
//! ReLU, in turns:
//!
//!     taskset -c 0 cargo bench --bench gemm
//!     taskset -c 0 cargo bench --bench gemm -- 32x20x64 avx512,matrixmultiply

mod rounds;
mod workloads;

use microprop::{Activation, Rng, kernels};
use rounds::Candidate;
use std::hint::black_box;
use workloads::random;

/// Batch, inputs, outputs: the first layers of seed, digits, mnist and wide.
const SHAPES: [[usize; 3]; 4] = [[32, 20, 64], [32, 64, 128], [128, 784, 512], [256, 1024, 2048]];

fn main() {
    let mut rows = Vec::new();
    for [m, k, n] in SHAPES {
        let flops = 2 * (m * k * n) as u64;
        let mut rng = Rng::new(1);
        let mut operands = || (random(&mut rng, m * k, -1.0, 1.0), random(&mut rng, k * n, -1.0, 1.0), vec![0.1; n]);
        let name = format!("matrixmultiply/{m}x{k}x{n}");
        if rounds::wanted(&name) {
            let ((x, weights, bias), mut y) = (operands(), vec![0.0; m * n]);
            rows.push(Candidate::new(name, flops, move || sgemm(&x, &weights, &bias, &mut y)));
        }
        for isa in workloads::isas() {
            let name = format!("dense_forward/{m}x{k}x{n}/{isa}");
            if rounds::wanted(&name) {
                let ((x, weights, bias), mut y) = (operands(), vec![0.0; m * n]);
                let mut scratch = vec![0.0; kernels::product_scratch_len(m, k, n)];
                rows.push(Candidate::new(name, flops, move || {
                    kernels::dense_forward(isa, &x, &weights, &bias, Activation::Relu, &mut y, &mut scratch)
                        .expect("the lengths fit");
                    black_box(&y);
                }));
            }
        }
    }
    rounds::alternate(&mut rows, rounds::budget(8));

    rounds::print_machine();
    println!("{:<42}{:>11}{:>11}{:>9}", "", "µs median", "min", "GFLOP/s");
    for row in rows {
        let (median, min) = (row.median(), row.min());
        println!("{:<42}{:>11.2}{:>11.2}{:>9.1}", row.name, median * 1e6, min * 1e6, row.flops as f64 / median * 1e-9);
    }
}

/// `y = relu(x·W + b)` in two passes.
fn sgemm(x: &[f32], weights: &[f32], bias: &[f32], y: &mut [f32]) {
    let n = bias.len();
    let (m, k) = (y.len() / n, weights.len() / n);
    let (rs_x, rs_y) = (k as isize, n as isize);
    // SAFETY: x is [m × k], weights [k × n] and y [m × n], each row-major.
    unsafe {
        let (x, weights, y) = (x.as_ptr(), weights.as_ptr(), y.as_mut_ptr());
        matrixmultiply::sgemm(m, k, n, 1.0, x, rs_x, 1, weights, rs_y, 1, 0.0, y, rs_y, 1);
    }
    for row in y.chunks_exact_mut(n) {
        for (y, b) in row.iter_mut().zip(bias) {
            *y = (*y + b).max(0.0);
        }
    }
    black_box(y);
}
