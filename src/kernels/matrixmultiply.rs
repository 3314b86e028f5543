//! Whether the crate `matrixmultiply` sums in the order of this crate's arithmetic.
#![forbid(unsafe_code)]

use super::{dense_forward, forward_scratch_len};
use crate::backend::{Matrix, sgemm};
use crate::{Activation, Isa, Rng};
use alloc::vec;
use alloc::vec::Vec;

/// Compares one product that is more than two blocks deep, bit by bit.
pub(crate) fn agrees(isa: Isa) -> bool {
    const M: usize = 9;
    const K: usize = 2 * super::BLOCK + 37;
    const N: usize = 35;
    let mut rng = Rng::new(0);
    let mut random = |len: usize| -> Vec<f32> { (0..len).map(|_| rng.uniform() - 0.5).collect() };
    let (a, b, bias) = (random(M * K), random(K * N), [0.0; N]);
    let (mut own, mut theirs) = (vec![0.0; M * N], vec![0.0; M * N]);
    let mut scratch = [0.0; forward_scratch_len(K)];
    let product = dense_forward(isa, &a, &b, &bias, Activation::Linear, &mut own, &mut scratch);
    sgemm(Matrix::rows_of(&a, M, K, K), Matrix::rows_of(&b, K, N, N), &mut theirs, N);
    product.is_ok() && own == theirs
}
