//! Parts of slices that are known to be there, without a panic on a device.
//!
//! An index that is out of range is a mistake in this crate. Where tests run and on a desktop it panics, as any other. A
//! release build without `std` has an empty slice instead (and the walk over the layers, whose lengths the step has checked, returns): firmware must not stop in the middle of a step, and links
//! without a panic (`no_std_example/instructions/src/bin/no-panic.rs` is the proof).
#![forbid(unsafe_code)]

use core::ops::Range;

/// Whether a mistake is to be heard.
pub(crate) const PANICS: bool = cfg!(any(feature = "std", debug_assertions));

/// `x[range]`.
#[inline(always)]
pub(crate) fn part<T>(x: &[T], range: Range<usize>) -> &[T] {
    if PANICS { &x[range] } else { x.get(range).unwrap_or_default() }
}

/// `x[range]`.
#[inline(always)]
pub(crate) fn part_mut<T>(x: &mut [T], range: Range<usize>) -> &mut [T] {
    if PANICS { &mut x[range] } else { x.get_mut(range).unwrap_or_default() }
}

/// `x[start..][..len]`.
#[inline(always)]
pub(crate) fn span<T>(x: &[T], start: usize, len: usize) -> &[T] {
    part(from(x, start), 0..len)
}

/// `x[start..][..len]`.
#[inline(always)]
pub(crate) fn span_mut<T>(x: &mut [T], start: usize, len: usize) -> &mut [T] {
    part_mut(from_mut(x, start), 0..len)
}

/// `x[start..]`.
#[inline(always)]
pub(crate) fn from<T>(x: &[T], start: usize) -> &[T] {
    if PANICS { &x[start..] } else { x.get(start..).unwrap_or_default() }
}

/// `x[start..]`.
#[inline(always)]
pub(crate) fn from_mut<T>(x: &mut [T], start: usize) -> &mut [T] {
    if PANICS { &mut x[start..] } else { x.get_mut(start..).unwrap_or_default() }
}

/// `x[index]`.
#[inline(always)]
pub(crate) fn element<T: Copy + Default>(x: &[T], index: usize) -> T {
    if PANICS { x[index] } else { x.get(index).copied().unwrap_or_default() }
}

/// `x[index]`.
#[inline(always)]
pub(crate) fn chunk<const N: usize>(x: &[[f32; N]], index: usize) -> &[f32; N] {
    if PANICS { &x[index] } else { x.get(index).unwrap_or(&[0.0; N]) }
}

/// `x[..at]` and `x[at..]`.
#[inline(always)]
pub(crate) fn split<T>(x: &[T], at: usize) -> (&[T], &[T]) {
    if PANICS { x.split_at(at) } else { x.split_at_checked(at).unwrap_or_default() }
}

/// `x[..at]` and `x[at..]`.
#[inline(always)]
pub(crate) fn split_mut<T>(x: &mut [T], at: usize) -> (&mut [T], &mut [T]) {
    if PANICS { x.split_at_mut(at) } else { x.split_at_mut_checked(at).unwrap_or_default() }
}

/// Copies a slice into one of its length.
#[inline(always)]
pub(crate) fn copy<T: Copy>(x: &[T], to: &mut [T]) {
    if PANICS || x.len() == to.len() {
        to.copy_from_slice(x);
    }
}

/// `x[index] = value`.
#[inline(always)]
pub(crate) fn set<T>(x: &mut [T], index: usize, value: T) {
    if PANICS {
        x[index] = value;
    } else if let Some(element) = x.get_mut(index) {
        *element = value;
    }
}

/// Says that the caller can't be here.
#[inline(always)]
pub(crate) fn mistake(why: &str) {
    if PANICS {
        unreachable!("{why}");
    }
}
