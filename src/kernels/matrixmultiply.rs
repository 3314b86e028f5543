//! Whether the crate `matrixmultiply` sums in the order of this crate's arithmetic.
#![forbid(unsafe_code)]

use super::{dense_forward, forward_scratch_len};
use crate::backend::{Backend, Matrix, sgemm};
use crate::{Activation, Arithmetic, Isa, Rng};
use alloc::vec;
use alloc::vec::Vec;

impl Backend {
    /// The crate `matrixmultiply`, which allocates on every call. In portable
    /// arithmetic, which it does not have, and for small products it stands aside for ours.
    ///
    /// `None` where its sums don't have the order of this crate's arithmetic: on a CPU
    /// without a fused multiply-add, or built with another block size (a probe finds out).
    ///
    /// ```
    /// use microprop::{Activation::*, Backend, Network};
    ///
    /// let backend = Backend::matrixmultiply().unwrap_or(Backend::OWN);
    /// let net = Network::new(1000).dense(1000, Relu).dense(10, Softmax).backend(backend).build()?;
    /// # Ok::<(), microprop::LayoutError>(())
    /// ```
    pub fn matrixmultiply() -> Option<Self> {
        let isa = Isa::new(Arithmetic::Fused).ok()?;
        agrees(isa).then_some(Self::MATRIX_MULTIPLY)
    }
}

/// Compares one product that is more than two blocks deep, bit by bit.
fn agrees(isa: Isa) -> bool {
    const M: usize = 9;
    const K: usize = 2 * super::rows::BLOCK + 37;
    const N: usize = 35;
    let mut rng = Rng::new(0);
    let mut random = |len: usize| -> Vec<f32> { (0..len).map(|_| rng.uniform() - 0.5).collect() };
    let (a, b, bias) = (random(M * K), random(K * N), [0.0; N]);
    let (mut own, mut theirs) = (vec![0.0; M * N], vec![0.0; M * N]);
    let mut scratch = [0.0; forward_scratch_len(K)];
    let product = dense_forward(isa, &a, &b, &bias, Activation::Linear, &mut own, &mut scratch);
    sgemm(Matrix::rows_of(&a, M, K, K), Matrix::rows_of(&b, K, N, N), &mut theirs, N);
    product.is_ok() && own.iter().zip(&theirs).all(|(own, theirs)| own.to_bits() == theirs.to_bits())
}
