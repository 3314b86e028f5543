//! Whose kernels compute large products: ours, or the crate `matrixmultiply`'s.

use crate::Isa;
#[cfg(feature = "alloc")]
use crate::simd::Arithmetic;

/// Whose kernels compute products of at least 2²⁰ multiply-adds.
///
/// The choice changes no bit of a result. Ours fuse what follows the product and
/// allocate nothing; `matrixmultiply` packs both sides, which may be faster on a
/// machine that ours have not been measured on. Measure with `cargo bench --bench gemm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Own,
    #[cfg(feature = "alloc")]
    MatrixMultiply,
}

impl Backend {
    /// This crate's kernels: the default.
    pub const OWN: Self = Self(Kind::Own);

    /// The crate `matrixmultiply`, if its sums have the order of this crate's.
    #[cfg(feature = "alloc")]
    pub(crate) const MATRIX_MULTIPLY: Self = Self(Kind::MatrixMultiply);

    /// Floats of scratch that an update of rows of `outputs` parameters needs.
    #[cfg_attr(not(feature = "alloc"), allow(unused_variables, reason = "our kernels need none"))]
    pub(crate) const fn scratch_len(self, outputs: usize) -> usize {
        match self.0 {
            Kind::Own => 0,
            #[cfg(feature = "alloc")]
            Kind::MatrixMultiply if outputs < GRADIENT_BAND => GRADIENT_BAND,
            #[cfg(feature = "alloc")]
            Kind::MatrixMultiply => outputs,
        }
    }
}

/// What a kernel of a step runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Engine {
    pub(crate) isa: Isa,
    pub(crate) backend: Backend,
}

impl Engine {
    /// This crate's kernels.
    pub(crate) const fn own(isa: Isa) -> Self {
        Self { isa, backend: Backend::OWN }
    }

    /// Whether all is done by this crate's kernels.
    pub(crate) const fn is_own(self) -> bool {
        matches!(self.backend.0, Kind::Own)
    }

    /// Whether a product of `m × k` by `k × n` is matrixmultiply's work.
    #[cfg(feature = "alloc")]
    pub(crate) fn leaves(self, m: usize, k: usize, n: usize) -> bool {
        const LARGE: usize = 1 << 20;
        self.backend.0 == Kind::MatrixMultiply
            && self.isa.arithmetic() == Arithmetic::Fused
            && m.saturating_mul(k).saturating_mul(n) >= LARGE
    }
}

/// Floats of a gradient that are computed at a time before the optimizer walks
/// them: a quarter of a megabyte stays in the second-level cache.
#[cfg(feature = "alloc")]
const GRADIENT_BAND: usize = 1 << 16;

/// A matrix in memory: element (r, c) is `data[r·row_stride + c·column_stride]`.
#[cfg(feature = "alloc")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matrix<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) row_stride: usize,
    pub(crate) column_stride: usize,
}

#[cfg(feature = "alloc")]
impl<'a> Matrix<'a> {
    /// `width` columns of rows that are `stride` floats apart.
    pub(crate) fn rows_of(data: &'a [f32], rows: usize, width: usize, stride: usize) -> Self {
        Self { data, rows, columns: width, row_stride: stride, column_stride: 1 }
    }

    /// The same read by its columns.
    pub(crate) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// One past the largest index of a matrix; `None` if that overflows.
#[cfg(feature = "alloc")]
fn extent(rows: usize, columns: usize, row_stride: usize, column_stride: usize) -> Option<usize> {
    if rows == 0 || columns == 0 {
        return Some(0);
    }
    let last_row = (rows - 1).checked_mul(row_stride)?;
    let last_column = (columns - 1).checked_mul(column_stride)?;
    last_row.checked_add(last_column)?.checked_add(1)
}

/// `c = a·b`: rows of `c` are `stride` floats apart.
#[cfg(feature = "alloc")]
pub(crate) fn sgemm(a: Matrix<'_>, b: Matrix<'_>, c: &mut [f32], stride: usize) {
    let (m, k, n) = (a.rows, a.columns, b.columns);
    assert_eq!(k, b.rows, "the inner sizes agree");
    assert!(stride >= n, "rows of the result don't overlap");
    let fits = |len: usize, extent: Option<usize>| extent.is_some_and(|extent| extent <= len);
    assert!(fits(a.data.len(), extent(m, k, a.row_stride, a.column_stride)), "a lies in its slice");
    assert!(fits(b.data.len(), extent(k, n, b.row_stride, b.column_stride)), "b lies in its slice");
    assert!(fits(c.len(), extent(m, n, stride, 1)), "c lies in its slice");
    // SAFETY: the assertions above: every element of the three matrices lies in its
    // slice (whose length fits isize, and so do strides below it), `c` is borrowed
    // mutably and its elements don't overlap.
    unsafe {
        matrixmultiply::sgemm(
            m,
            k,
            n,
            1.0,
            a.data.as_ptr(),
            a.row_stride as isize,
            a.column_stride as isize,
            b.data.as_ptr(),
            b.row_stride as isize,
            b.column_stride as isize,
            0.0,
            c.as_mut_ptr(),
            stride as isize,
            1,
        );
    }
}
