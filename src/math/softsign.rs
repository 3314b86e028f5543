//! Softsign.
#![forbid(unsafe_code)]

use crate::simd::Lanes;

/// Largest error of [`softsign`](crate::kernels::softsign): see the [module](crate::math#accuracy).
pub const MAX_SOFTSIGN_ERROR_ULPS: u32 = 1;

/// `x / (1 + |x|)`.
#[inline(always)]
pub(crate) fn softsign<S: Lanes>(s: S, x: S::Vector) -> S::Vector {
    // ∞ / ∞ is NaN. NaN passes.
    let x = s.max(s.splat(f32::MIN), s.min(s.splat(f32::MAX), x));
    s.div(x, s.add(s.splat(1.0), s.abs(x)))
}
