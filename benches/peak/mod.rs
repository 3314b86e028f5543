//! The most that one core computes: independent multiply-adds in registers.

use microprop::Isa;
use std::hint::black_box;

const ITERATIONS: usize = 4096;

/// Defines a function that runs `chains` chains of a multiply and an add, `c ← a·c + b` where nothing else is said.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! chains {
    ($name:ident: $chains:literal of $splat:ident, $enable:literal, |$a:ident, $b:ident, $c:ident| $next:expr) => {
        #[target_feature(enable = $enable)]
        fn $name() -> usize {
            let ($a, $b) = ($splat(black_box(0.75)), $splat(black_box(0.25)));
            let mut chains = [$a; $chains];
            for (i, chain) in chains.iter_mut().enumerate() {
                *chain = $splat(black_box(i as f32)); // equal ones would be merged
            }
            for _ in 0..ITERATIONS {
                for chain in &mut chains {
                    let $c = *chain;
                    *chain = $next;
                }
            }
            black_box(chains);
            2 * ITERATIONS * size_of_val(&chains) / size_of::<f32>()
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use super::{ITERATIONS, black_box};
    use core::arch::x86_64::*;

    // Two units of latency 4 need 8 chains; where the multiply comes apart from the add, 14 or so.
    chains! { avx2_fused: 12 of _mm256_set1_ps, "avx2,fma", |a, b, c| _mm256_fmadd_ps(a, c, b) }
    chains! { avx2_portable: 13 of _mm256_set1_ps, "avx2,fma", |a, b, c| _mm256_add_ps(_mm256_mul_ps(a, c), b) }
    chains! { avx512_fused: 16 of _mm512_set1_ps, "avx512f", |a, b, c| _mm512_fmadd_ps(a, c, b) }
    chains! { avx512_portable: 24 of _mm512_set1_ps, "avx512f", |a, b, c| _mm512_add_ps(_mm512_mul_ps(a, c), b) }

    pub(super) fn run(isa: &str) -> Option<usize> {
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let avx512 = is_x86_feature_detected!("avx512f");
        match isa {
            // SAFETY: AVX2 and FMA were just detected.
            "avx2-fused" if avx2 => Some(unsafe { avx2_fused() }),
            // SAFETY: AVX2 and FMA were just detected.
            "avx2-portable" if avx2 => Some(unsafe { avx2_portable() }),
            // SAFETY: AVX-512F was just detected.
            "avx512-fused" if avx512 => Some(unsafe { avx512_fused() }),
            // SAFETY: AVX-512F was just detected.
            "avx512-portable" if avx512 => Some(unsafe { avx512_portable() }),
            _ => None,
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod aarch64 {
    use super::{ITERATIONS, black_box};
    use core::arch::aarch64::*;

    // Up to four units of latency 4. FMLA overwrites its addend, so c ← c + a·b: what multiplies stays where it is.
    chains! { neon_fused: 24 of vdupq_n_f32, "neon", |a, b, c| vfmaq_f32(c, a, b) }
    chains! { neon_portable: 24 of vdupq_n_f32, "neon", |a, b, c| vaddq_f32(vmulq_f32(a, c), b) }

    pub(super) fn run(isa: &str) -> Option<usize> {
        match isa {
            // SAFETY: the instruction set's name stands only where NEON is part of the compile target.
            "neon-fused" => Some(unsafe { neon_fused() }),
            // SAFETY: as above.
            "neon-portable" => Some(unsafe { neon_portable() }),
            _ => None,
        }
    }
}

/// Runs for some microseconds at full speed, in the arithmetic of `isa`, and returns
/// the floating-point operations done: one for each multiply and each add.
pub(crate) fn run(isa: Isa) -> usize {
    #[cfg(target_arch = "x86_64")]
    if let Some(flops) = x86_64::run(isa.name()) {
        return flops;
    }
    #[cfg(target_arch = "aarch64")]
    if let Some(flops) = aarch64::run(isa.name()) {
        return flops;
    }
    let _ = isa;
    scalar()
}

/// The same in plain Rust, which LLVM vectorises for the compile target.
fn scalar() -> usize {
    let (a, b) = (black_box(0.75), black_box(0.25));
    let mut chains: [f32; 48] = core::array::from_fn(|i| black_box(i as f32));
    for _ in 0..ITERATIONS {
        for chain in &mut chains {
            *chain = a * *chain + b;
        }
    }
    black_box(chains);
    2 * ITERATIONS * chains.len()
}
