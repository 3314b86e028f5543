//! ln cosh, for the log-cosh loss.
#![forbid(unsafe_code)]

use crate::math;
use crate::simd::Simd;
use core::f32::consts::LN_2;

/// ln(cosh e) / e² = C₀ + C₁·e² + … + C₇·e¹⁴ on |e| ≤ 1: interpolated at the Chebyshev nodes of 0 ≤ e² ≤ 1, C₀ and C₁
/// rounded to singles before the others are found. The relative error is at most 3.0e-9 = 2^−28.3.
const C: [f32; 8] = [
    0.5,
    f32::from_bits(0xbdaa_aaaa), // -0x1.555554p-4
    f32::from_bits(0x3cb6_0a9d), // 0x1.6c153ap-6
    f32::from_bits(0xbbdc_e71c), // -0x1.b9ce38p-8
    f32::from_bits(0x3b0d_cf90), // 0x1.1b9f2p-9
    f32::from_bits(0xba32_62b8), // -0x1.64c57p-11
    f32::from_bits(0x3937_cadc), // 0x1.6f95b8p-13
    f32::from_bits(0xb7d1_27aa), // -0x1.a24f54p-16
];

/// `ln cosh e`, at least 0, even to the bit: the polynomial up to 1, beyond it `(|e| − ln 2) + ln(1 + e^−2|e|)`,
/// which would cancel near 0.
#[inline(always)]
pub(super) fn log_cosh<S: Simd>(s: S, e: S::Vector) -> S::Vector {
    let a = s.abs(e);
    let far = s.add(s.sub(a, s.splat(LN_2)), math::softplus_of_negative(s, s.add(a, a)));

    let x = s.mul(e, e);
    let x2 = s.mul(x, x);
    let p0 = s.mul_add(s.splat(C[1]), x, s.splat(C[0]));
    let p1 = s.mul_add(s.splat(C[3]), x, s.splat(C[2]));
    let p2 = s.mul_add(s.splat(C[5]), x, s.splat(C[4]));
    let p3 = s.mul_add(s.splat(C[7]), x, s.splat(C[6]));
    let low = s.mul_add(p1, x2, p0);
    let high = s.mul_add(p3, x2, p2);
    let near = s.mul(x, s.mul_add(high, s.mul(x2, x2), low));
    // NaN takes the polynomial, and stays.
    s.select(s.gt(a, s.splat(1.0)), far, near)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;
    use crate::simd::{Lanes, dispatch};

    /// The largest error, in representable numbers, from the correctly rounded result.
    const MAX_ERROR_ULPS: i64 = 2;

    #[test]
    fn log_cosh_is_accurate_for_every_magnitude() {
        let mut worst = 0;
        for isa in Isa::available() {
            for bits in (0..f32::INFINITY.to_bits()).step_by(20_011).chain([1.0_f32.to_bits(), 1.0_f32.to_bits() + 1]) {
                let e = f32::from_bits(bits);
                let of = |e| dispatch!(isa, s => s.first(log_cosh(s, s.splat(e))));
                let (y, x) = (of(e), f64::from(e));
                // cosh e = 1 + 2·sinh²(e/2).
                let half = (0.5 * x.min(300.0)).sinh();
                let exact = if x < 300.0 { (2.0 * half * half).ln_1p() } else { x - std::f64::consts::LN_2 };
                let error = (i64::from(y.to_bits()) - i64::from((exact as f32).to_bits())).abs();
                assert!(error <= MAX_ERROR_ULPS, "{e:e} on {isa}: {y:e}, not {exact:e}");
                assert_eq!(y.to_bits(), of(-e).to_bits());
                worst = worst.max(error);
            }
        }
        assert_eq!(worst, MAX_ERROR_ULPS, "the bound could be tighter");
    }
}
