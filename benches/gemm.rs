//! The two products of a dense layer with its weights, `dense_forward` and `dense_delta`, against `matrixmultiply::sgemm`
//! followed by a pass for bias and ReLU, or for ReLU's derivative, in turns:
//!
//!     taskset -c 0 cargo bench --bench gemm
//!     taskset -c 0 cargo bench --bench gemm -- forward/32x20x64 avx512,matrixmultiply

mod rounds;
mod workloads;

use microprop::{Activation, Rng, kernels};
use rounds::Candidate;
use std::hint::black_box;
use workloads::random;

/// Batch, inputs, outputs: the first layers of seed, digits, mnist (in small batches, too) and wide.
const SHAPES: [[usize; 3]; 5] = [[32, 20, 64], [32, 64, 128], [32, 784, 512], [128, 784, 512], [256, 1024, 2048]];

fn main() {
    let mut rows = Vec::new();
    for shape in SHAPES {
        forward(shape, &mut rows);
        delta(shape, &mut rows);
    }
    rounds::alternate(&mut rows, rounds::budget(16));

    rounds::print_machine();
    println!("{:<42}{:>11}{:>11}{:>9}", "", "µs median", "min", "GFLOP/s");
    for row in rows {
        let (median, min) = (row.median(), row.min());
        println!("{:<42}{:>11.2}{:>11.2}{:>9.1}", row.name, median * 1e6, min * 1e6, row.flops as f64 / median * 1e-9);
    }
}

/// `y = relu(x·W + b)`.
fn forward([m, k, n]: [usize; 3], rows: &mut Vec<Candidate>) {
    let flops = 2 * (m * k * n) as u64;
    let mut rng = Rng::new(1);
    let mut operands = || (random(&mut rng, m * k, -1.0, 1.0), random(&mut rng, k * n, -1.0, 1.0), vec![0.1; n]);
    let name = format!("forward/{m}x{k}x{n}/matrixmultiply");
    if rounds::wanted(&name) {
        let ((x, weights, bias), mut y) = (operands(), vec![0.0; m * n]);
        rows.push(Candidate::new(name, flops, move || {
            sgemm([m, k, n], &x, &weights, [n, 1], &mut y);
            for row in y.chunks_exact_mut(n) {
                for (y, b) in row.iter_mut().zip(&bias) {
                    *y = (*y + b).max(0.0);
                }
            }
            black_box(&y);
        }));
    }
    for isa in workloads::isas() {
        let name = format!("forward/{m}x{k}x{n}/{isa}");
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

/// `delta·Wᵀ`, 0 where y is 0.
fn delta([m, k, n]: [usize; 3], rows: &mut Vec<Candidate>) {
    let flops = 2 * (m * k * n) as u64;
    let mut rng = Rng::new(1);
    let mut operands = || {
        let y = random(&mut rng, m * k, -1.0, 1.0).iter().map(|y| y.max(0.0)).collect::<Vec<_>>();
        (random(&mut rng, m * n, -1.0, 1.0), random(&mut rng, k * n, -1.0, 1.0), y)
    };
    let name = format!("delta/{m}x{k}x{n}/matrixmultiply");
    if rounds::wanted(&name) {
        let ((delta, weights, y), mut below) = (operands(), vec![0.0; m * k]);
        rows.push(Candidate::new(name, flops, move || {
            sgemm([m, n, k], &delta, &weights, [1, n], &mut below);
            for (below, &y) in below.iter_mut().zip(&y) {
                *below = if y > 0.0 { *below } else { 0.0 };
            }
            black_box(&below);
        }));
    }
    for isa in workloads::isas() {
        let name = format!("delta/{m}x{k}x{n}/{isa}");
        if rounds::wanted(&name) {
            let ((delta, weights, y), mut below) = (operands(), vec![0.0; m * k]);
            let mut scratch = vec![0.0; kernels::product_scratch_len(m, n, k)];
            rows.push(Candidate::new(name, flops, move || {
                kernels::dense_delta(isa, &delta, n, &weights, &y, Activation::Relu, &mut below, &mut scratch)
                    .expect("the lengths fit");
                black_box(&below);
            }));
        }
    }
}

/// `c = a·b`, with `a: [m × k]` and `c: [m × n]` row-major, and b with the strides of its rows and columns.
fn sgemm([m, k, n]: [usize; 3], a: &[f32], b: &[f32], [row, column]: [usize; 2], c: &mut [f32]) {
    let (rs_a, rs_b, cs_b, rs_c) = (k as isize, row as isize, column as isize, n as isize);
    assert!(a.len() == m * k && b.len() == k * n && c.len() == m * n && (row == 1 || column == 1));
    // SAFETY: the lengths are those of matrices of these shapes without gaps.
    unsafe {
        let (a, b, c) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr());
        matrixmultiply::sgemm(m, k, n, 1.0, a, rs_a, 1, b, rs_b, cs_b, 0.0, c, rs_c, 1);
    }
}
