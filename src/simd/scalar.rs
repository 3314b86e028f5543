//! One lane: the microcontroller's backend, the fallback, and what the others are tested against.

use super::{Lanes, Simd, fold16, vfp};

/// One lane. Its loops are plain, so LLVM vectorises them to the target's
/// baseline (SSE2, NEON, simd128). Fused, it multiplies and adds in one instruction on a Cortex-M with an FPU; elsewhere
/// through `libm::fmaf` in software: slow, and there to test the other backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scalar<const FUSED: bool>;

impl<const FUSED: bool> Lanes for Scalar<FUSED> {
    type Vector = f32;
    type Ints = i32;
    type Mask = bool;

    #[inline(always)]
    fn splat(self, x: f32) -> f32 {
        x
    }
    #[inline(always)]
    fn add(self, a: f32, b: f32) -> f32 {
        a + b
    }
    #[inline(always)]
    fn sub(self, a: f32, b: f32) -> f32 {
        a - b
    }
    #[inline(always)]
    fn mul(self, a: f32, b: f32) -> f32 {
        a * b
    }
    #[inline(always)]
    fn div(self, a: f32, b: f32) -> f32 {
        a / b
    }
    #[inline(always)]
    fn mul_add(self, a: f32, b: f32, c: f32) -> f32 {
        if FUSED { vfp::fma(a, b, c) } else { a * b + c }
    }
    #[inline(always)]
    fn sqrt(self, a: f32) -> f32 {
        vfp::sqrt(a)
    }
    #[inline(always)]
    fn neg(self, a: f32) -> f32 {
        -a
    }
    #[inline(always)]
    fn abs(self, a: f32) -> f32 {
        f32::from_bits(a.to_bits() & 0x7fff_ffff)
    }
    #[inline(always)]
    fn max(self, a: f32, b: f32) -> f32 {
        if a > b { a } else { b }
    }
    #[inline(always)]
    fn min(self, a: f32, b: f32) -> f32 {
        if a < b { a } else { b }
    }
    #[inline(always)]
    fn gt(self, a: f32, b: f32) -> bool {
        a > b
    }
    #[inline(always)]
    fn select(self, mask: bool, a: f32, b: f32) -> f32 {
        if mask { a } else { b }
    }
    #[inline(always)]
    fn to_bits(self, a: f32) -> i32 {
        a.to_bits().cast_signed()
    }
    #[inline(always)]
    fn from_bits(self, a: i32) -> f32 {
        f32::from_bits(a.cast_unsigned())
    }
    #[inline(always)]
    fn splat_int(self, x: i32) -> i32 {
        x
    }
    #[inline(always)]
    fn sub_int(self, a: i32, b: i32) -> i32 {
        a.wrapping_sub(b)
    }
    #[inline(always)]
    fn and_int(self, a: i32, b: i32) -> i32 {
        a & b
    }
    #[inline(always)]
    fn or_int(self, a: i32, b: i32) -> i32 {
        a | b
    }
    #[inline(always)]
    fn shl23(self, a: i32) -> i32 {
        a << 23
    }
    #[inline(always)]
    fn shr23(self, a: i32) -> i32 {
        a >> 23
    }
    #[inline(always)]
    fn int_to_float(self, a: i32) -> f32 {
        a as f32
    }
}

impl<const FUSED: bool> Simd for Scalar<FUSED> {
    const LANES: usize = 1;
    const TILE_ROWS: usize = 4;
    const TILE_VECTORS: usize = 2;
    type Array = [f32; 1];

    #[inline(always)]
    fn chunks(x: &[f32]) -> (&[[f32; 1]], &[f32]) {
        x.as_chunks()
    }
    #[inline(always)]
    fn chunks_mut(x: &mut [f32]) -> (&mut [[f32; 1]], &mut [f32]) {
        x.as_chunks_mut()
    }
    #[inline(always)]
    fn prefetch(self, _: &[f32]) {}
    #[inline(always)]
    fn load(self, x: &[f32; 1]) -> f32 {
        x[0]
    }
    #[inline(always)]
    fn store(self, v: f32, to: &mut [f32; 1]) {
        to[0] = v;
    }
    #[inline(always)]
    fn load_part(self, x: &[f32]) -> f32 {
        x.first().copied().unwrap_or(0.0)
    }
    #[inline(always)]
    fn store_part(self, v: f32, to: &mut [f32]) {
        if let Some(to) = to.first_mut() {
            *to = v;
        }
    }
    #[inline(always)]
    fn first(self, v: f32) -> f32 {
        v
    }
    #[inline(always)]
    fn fold(self, sums: [f32; 16]) -> f32 {
        fold16(sums)
    }
    #[inline(always)]
    fn fold_rows(self, rows: [f32; 16], _: impl Fn(f32, f32) -> f32) -> f32 {
        rows[0]
    }
    #[inline(always)]
    fn transpose(self, rows: [f32; 16]) -> [f32; 16] {
        rows
    }
}
