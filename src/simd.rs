//! One register of `f32` lanes, whatever the instruction set.
//!
//! A type that implements [`Simd`] is a token: a value of it exists only where
//! its instructions run, so its methods are safe, and the kernels written over
//! it stand under `forbid(unsafe_code)`. Memory is reached through arrays of
//! `LANES` elements and through slices whose length is checked.
//!
//! Each token comes in two arithmetics. In *fused* arithmetic
//! [`mul_add`](Simd::mul_add) rounds once, in *portable* arithmetic it
//! multiplies, rounds, and adds: two operations that every CPU has. Nothing
//! else differs between them, and for one arithmetic all tokens give the same
//! bits (NaN payloads aside).

mod isa;
mod scalar;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub use isa::{Arithmetic, Isa};
pub(crate) use isa::{Level, dispatch};
pub(crate) use scalar::Scalar;

/// `f32` lanes and the operations that kernels need of them.
///
/// Lane-wise unless said otherwise. All floating-point operations round to
/// nearest, ties to even, and keep subnormals.
pub(crate) trait Simd: Copy + Send + Sync {
    /// Number of lanes: a power of two, at most 16.
    const LANES: usize;
    /// Rows of a GEMM tile that is two vectors wide: what the registers hold
    /// beside two vectors of B and one of A.
    const TILE_ROWS: usize;
    /// A register of `f32` lanes.
    type Vector: Copy;
    /// A register of `i32` lanes, as many as in `Vector`.
    type Ints: Copy;
    /// One truth value per lane.
    type Mask: Copy;
    /// `[f32; LANES]`: what a `Vector` is loaded from and stored to.
    type Array: Copy + AsRef<[f32]> + AsMut<[f32]>;

    /// Runs `f` in a function of its own, compiled for this instruction set: for
    /// what is called from many places and need not be inlined into each.
    fn outline<R>(self, f: impl FnOnce(Self) -> R) -> R;

    /// Splits `x` into whole arrays and the rest.
    fn chunks(x: &[f32]) -> (&[Self::Array], &[f32]);
    /// Splits `x` into whole arrays and the rest, mutably.
    fn chunks_mut(x: &mut [f32]) -> (&mut [Self::Array], &mut [f32]);

    /// Asks for the start of `x` to be brought into the cache. It changes no result.
    fn prefetch(self, x: &[f32]);

    /// `x` in every lane.
    fn splat(self, x: f32) -> Self::Vector;
    /// The lanes of `x`.
    fn load(self, x: &Self::Array) -> Self::Vector;
    /// Writes all lanes.
    fn store(self, v: Self::Vector, to: &mut Self::Array);
    /// The first `x.len()` lanes from `x`, the others +0; `x` has at most `LANES` elements.
    fn load_part(self, x: &[f32]) -> Self::Vector;
    /// Writes the first `to.len()` lanes; `to` has at most `LANES` elements.
    fn store_part(self, v: Self::Vector, to: &mut [f32]);

    /// `a + b`.
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a - b`.
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a * b`.
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a / b`, correctly rounded.
    fn div(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a * b + c`: rounded once in fused arithmetic, twice in portable.
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// √a, correctly rounded.
    fn sqrt(self, a: Self::Vector) -> Self::Vector;
    /// `-a`: flips the sign bit.
    fn neg(self, a: Self::Vector) -> Self::Vector;
    /// `|a|`: clears the sign bit.
    fn abs(self, a: Self::Vector) -> Self::Vector;
    /// `if a > b { a } else { b }`: the second when either is NaN or both are zero.
    fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `if a < b { a } else { b }`: the second when either is NaN or both are zero.
    fn min(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a > b`; false where either is NaN.
    fn gt(self, a: Self::Vector, b: Self::Vector) -> Self::Mask;
    /// `if mask { a } else { b }`.
    fn select(self, mask: Self::Mask, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// Adds 16 partial sums, which lie in the first `16 / LANES` vectors, in the order of [`fold16`].
    fn fold(self, sums: [Self::Vector; 16]) -> f32;
    /// Lane r: the lanes of `rows[r]` joined by `f`, those LANES / 2 apart, then those half as far, down to 1. The
    /// first LANES rows are used.
    fn fold_rows(
        self,
        rows: [Self::Vector; 16],
        f: impl Fn(Self::Vector, Self::Vector) -> Self::Vector,
    ) -> Self::Vector;

    /// Rows to columns: lane r of vector c is lane c of `rows[r]`. The first LANES rows are used and given.
    fn transpose(self, rows: [Self::Vector; 16]) -> [Self::Vector; 16];

    /// The bits of each lane.
    fn to_bits(self, a: Self::Vector) -> Self::Ints;
    /// The lanes that have these bits.
    #[expect(clippy::wrong_self_convention, reason = "the token comes first, as in every operation")]
    fn from_bits(self, a: Self::Ints) -> Self::Vector;
    /// `x` in every lane.
    fn splat_int(self, x: i32) -> Self::Ints;
    /// `a - b`, wrapping.
    fn sub_int(self, a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// `a & b`.
    fn and_int(self, a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// `a | b`.
    fn or_int(self, a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// `a << 23`: an integer into the exponent's place.
    fn shl23(self, a: Self::Ints) -> Self::Ints;
    /// `a >> 23`, sign-extending: the exponent's place into an integer.
    fn shr23(self, a: Self::Ints) -> Self::Ints;
    /// Each integer as an `f32`, rounded to nearest.
    fn int_to_float(self, a: Self::Ints) -> Self::Vector;
}

/// Adds 16 partial sums in the fixed order 8-4-2-1: `p[i] + p[i+8]`, then 4, 2, 1 apart.
#[inline(always)]
pub(crate) fn fold16(mut p: [f32; 16]) -> f32 {
    for i in 0..8 {
        p[i] += p[i + 8];
    }
    for i in 0..4 {
        p[i] += p[i + 4];
    }
    (p[0] + p[2]) + (p[1] + p[3])
}
