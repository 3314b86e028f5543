//! What `vfp.rs` is where there is no such FPU: nothing is done, and all is left to the loops that call it.

use crate::optimizer::AdamScalars;

#[inline(always)]
pub(super) fn column_sums<const FUSED: bool>(_: &[f32], _: &[f32], _: usize, _: &mut [f32]) -> bool {
    false
}

#[inline(always)]
pub(super) fn four_chain_sums<const FUSED: bool>(_: &[f32], _: &[f32], _: usize, _: &mut [f32]) -> bool {
    false
}

#[inline(always)]
pub(super) fn update_rows<const FUSED: bool>(_: &[f32], _: f32, _: &[f32], _: &mut [f32], _: &mut [f32]) -> usize {
    0
}

#[inline(always)]
pub(super) fn row_sums<const FUSED: bool>(_: &[f32], _: &[f32], _: usize, _: &mut [f32]) -> usize {
    0
}

#[inline(always)]
pub(super) fn row_sums_relu<const FUSED: bool>(_: &[f32], _: &[f32], _: usize, _: &[f32], _: &mut [f32]) -> usize {
    0
}

#[inline(always)]
pub(super) fn row_four_chain_sums<const FUSED: bool>(_: &[f32], _: &[f32], _: usize, _: &mut [f32]) -> usize {
    0
}

#[inline(always)]
pub(super) fn update_rows_by_output<const FUSED: bool>(_: &[f32], _: f32, _: &[f32], _: &mut [f32]) -> usize {
    0
}

#[inline(always)]
pub(super) fn relu_rows<const FUSED: bool>(_: &mut [f32], _: f32, _: &[f32], _: &mut [f32]) -> bool {
    false
}

#[inline(always)]
pub(super) fn adam_relu_rows<const FUSED: bool>(_: &AdamScalars, _: &mut [f32], _: &[f32], _: [&mut [f32]; 3]) -> bool {
    false
}

#[inline(always)]
pub(super) fn adam_rows<const FUSED: bool>(
    _: &AdamScalars,
    _: &[f32],
    _: &[f32],
    _: [&mut [f32]; 3],
    _: &mut [f32],
) -> bool {
    false
}

#[inline(always)]
pub(super) fn one_output_relu<const FUSED: bool>(_: &mut [f32], _: f32, _: f32, _: &mut [f32]) -> bool {
    false
}

#[inline(always)]
pub(super) fn adam<const FUSED: bool>(
    _: &AdamScalars,
    _: &[f32],
    _: &[f32],
    _: &mut [f32],
    _: &mut [f32],
    _: &mut [f32],
) -> bool {
    false
}

#[inline(always)]
pub(super) fn add_scaled<const FUSED: bool>(_: f32, _: &[f32], _: &mut [f32]) -> usize {
    0
}

#[inline(always)]
pub(super) fn dot<const FUSED: bool>(_: &[f32], _: &[f32]) -> Option<f32> {
    None
}

#[inline(always)]
pub(super) fn add_bias_relu<const FUSED: bool>(_: &mut [f32], _: &[f32]) -> usize {
    0
}

/// `a·b + c`, rounded once: in software.
#[inline(always)]
pub(super) fn fma(a: f32, b: f32, c: f32) -> f32 {
    libm::fmaf(a, b, c)
}

/// √x, rounded once: an instruction where the standard library has one, so that loops over it become vectors.
#[cfg(feature = "std")]
#[inline(always)]
pub(super) fn sqrt(x: f32) -> f32 {
    x.sqrt()
}

#[cfg(not(feature = "std"))]
#[inline(always)]
pub(super) fn sqrt(x: f32) -> f32 {
    libm::sqrtf(x)
}
