//! What `vfp.rs` is where there is no such FPU: nothing is done, and all is left to the loops that call it.

use crate::optimizer::Rule;

#[inline(always)]
pub(super) fn column_sums(_: &[f32], _: &[f32], _: usize, _: &mut [f32]) -> bool {
    false
}

#[inline(always)]
pub(super) fn four_chain_sums(_: &[f32], _: &[f32], _: usize, _: &mut [f32]) -> bool {
    false
}

#[inline(always)]
pub(super) fn update_rows(_: &[f32], _: f32, _: &[f32], _: &mut [f32], _: &mut [f32]) -> usize {
    0
}

#[inline(always)]
pub(super) fn one_output_relu(_: &mut [f32], _: f32, _: f32, _: &mut [f32]) -> bool {
    false
}

#[inline(always)]
pub(super) fn adam(_: &Rule, _: &[f32], _: &[f32], _: &mut [f32], _: &mut [f32], _: &mut [f32]) -> bool {
    false
}

#[inline(always)]
pub(super) fn add_scaled(_: f32, _: &[f32], _: &mut [f32]) -> usize {
    0
}

#[inline(always)]
pub(super) fn dot(_: &[f32], _: &[f32]) -> Option<f32> {
    None
}

#[inline(always)]
pub(super) fn add_bias_relu(_: &mut [f32], _: &[f32]) -> usize {
    0
}

#[inline(always)]
pub(super) fn sqrt(x: f32) -> f32 {
    libm::sqrtf(x)
}
