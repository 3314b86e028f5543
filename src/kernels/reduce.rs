//! Sums and dot products in 16 partial sums: element i goes into partial i mod 16,
//! the last group is filled up with zeros, and the partials fold 8-4-2-1.
#![forbid(unsafe_code)]

use crate::error::Buffer;
use crate::simd::{Simd, dispatch};
use crate::{Isa, StepError};

/// `Σ x[i]`, in 16 partial sums; +0 for an empty slice. The order of the
/// additions, and so every bit of the result, is the same on every machine.
///
/// ```
/// use microprop::{Isa, kernels};
///
/// assert_eq!(kernels::sum(Isa::detect(), &[1.0; 100]), 100.0);
/// ```
pub fn sum(isa: Isa, x: &[f32]) -> f32 {
    dispatch!(isa, s => sum_in(s, x))
}

/// `Σ x[i]·y[i]`, in 16 partial sums.
///
/// # Errors
/// [`StepError::Length`] if `y` is not as long as `x`.
pub fn dot(isa: Isa, x: &[f32], y: &[f32]) -> Result<f32, StepError> {
    StepError::check(Buffer::Inputs, x.len(), y.len())?;
    Ok(dispatch!(isa, s => dot_in(s, x, y)))
}

#[inline(always)]
pub(crate) fn sum_in<S: Simd>(s: S, x: &[f32]) -> f32 {
    partials(
        s,
        x,
        x,
        #[inline(always)]
        |x, _, sum| s.add(sum, x),
    )
}

#[inline(always)]
pub(crate) fn dot_in<S: Simd>(s: S, x: &[f32], y: &[f32]) -> f32 {
    partials(
        s,
        x,
        y,
        #[inline(always)]
        |x, y, sum| s.mul_add(x, y, sum),
    )
}

/// Folds `f(x, y, partial)` over both slices, 16 elements at a time.
#[inline(always)]
pub(crate) fn partials<S: Simd>(
    s: S,
    x: &[f32],
    y: &[f32],
    f: impl Fn(S::Vector, S::Vector, S::Vector) -> S::Vector,
) -> f32 {
    // 16 / LANES of these are used; the rest vanish in compilation.
    let mut sums = [s.splat(0.0); 16];
    let (xs, x_rest) = x.as_chunks::<16>();
    let (ys, y_rest) = y.as_chunks::<16>();
    for (x, y) in xs.iter().zip(ys) {
        let (x, y) = (S::chunks(x).0, S::chunks(y).0);
        for v in 0..16 / S::LANES {
            sums[v] = f(s.load(&x[v]), s.load(&y[v]), sums[v]);
        }
    }
    if !x_rest.is_empty() {
        let (mut x, mut y) = ([0.0; 16], [0.0; 16]);
        x[..x_rest.len()].copy_from_slice(x_rest);
        y[..y_rest.len()].copy_from_slice(y_rest);
        let (x, y) = (S::chunks(&x).0, S::chunks(&y).0);
        for v in 0..16 / S::LANES {
            sums[v] = f(s.load(&x[v]), s.load(&y[v]), sums[v]);
        }
    }
    s.fold(sums)
}
