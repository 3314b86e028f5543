//! AVX2 with FMA.

use crate::simd::{Lanes, Simd};
use core::arch::x86_64::*;

token! {
    /// AVX2 and FMA: eight lanes.
    Avx2 { lanes: 8, tile: [6, 2], vector: __m256, ints: __m256i, mask: __m256,
           fold_rows: fold_rows8, transpose: transpose8, features: ["avx2", "fma"] }
    lanes {
        splat = |x: float| -> vector { _mm256_set1_ps(x) }
        add = |a: vector, b: vector| -> vector { _mm256_add_ps(a, b) }
        sub = |a: vector, b: vector| -> vector { _mm256_sub_ps(a, b) }
        mul = |a: vector, b: vector| -> vector { _mm256_mul_ps(a, b) }
        div = |a: vector, b: vector| -> vector { _mm256_div_ps(a, b) }
        sqrt = |a: vector| -> vector { _mm256_sqrt_ps(a) }
        neg = |a: vector| -> vector { _mm256_xor_ps(a, _mm256_set1_ps(-0.0)) }
        abs = |a: vector| -> vector { _mm256_andnot_ps(_mm256_set1_ps(-0.0), a) }
        max = |a: vector, b: vector| -> vector { _mm256_max_ps(a, b) }
        min = |a: vector, b: vector| -> vector { _mm256_min_ps(a, b) }
        gt = |a: vector, b: vector| -> mask { _mm256_cmp_ps::<_CMP_GT_OQ>(a, b) }
        select = |mask: mask, a: vector, b: vector| -> vector { _mm256_blendv_ps(b, a, mask) }
        to_bits = |a: vector| -> ints { _mm256_castps_si256(a) }
        from_bits = |a: ints| -> vector { _mm256_castsi256_ps(a) }
        splat_int = |x: int| -> ints { _mm256_set1_epi32(x) }
        sub_int = |a: ints, b: ints| -> ints { _mm256_sub_epi32(a, b) }
        and_int = |a: ints, b: ints| -> ints { _mm256_and_si256(a, b) }
        or_int = |a: ints, b: ints| -> ints { _mm256_or_si256(a, b) }
        shl23 = |a: ints| -> ints { _mm256_slli_epi32::<23>(a) }
        shr23 = |a: ints| -> ints { _mm256_srai_epi32::<23>(a) }
        int_to_float = |a: ints| -> vector { _mm256_cvtepi32_ps(a) }
    }
    registers {
        load = |x: array| -> vector { _mm256_loadu_ps(x.as_ptr()) }
        store = |v: vector, to: array_mut| -> unit { _mm256_storeu_ps(to.as_mut_ptr(), v); }
        load_part = |x: slice| -> vector { _mm256_maskload_ps(x.as_ptr(), first_lanes(x.len())) }
        store_part = |v: vector, to: slice_mut| -> unit {
            _mm256_maskstore_ps(to.as_mut_ptr(), first_lanes(to.len()), v);
        }
        store_part_in_place = |v: vector, to: slice_mut| -> unit { store_pieces8(v, to) }
        first = |v: vector| -> float { _mm256_cvtss_f32(v) }
        fold = |sums: partials| -> float { fold8(_mm256_add_ps(sums[0], sums[1])) }
    }
}

impl<const FUSED: bool> Avx2<FUSED> {
    #[inline(always)]
    fn fused(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: `self` exists, so `new` found FMA.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
}

/// A mask of the first `n` lanes, at most 8.
///
/// # Safety
/// The CPU has AVX.
#[inline(always)]
unsafe fn first_lanes(n: usize) -> __m256i {
    const ROW: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
    assert!(n <= 8, "a part has at most as many elements as the vector has lanes");
    // SAFETY: the caller has AVX; `n <= 8` was checked, so 8 - n .. 16 - n lies in ROW.
    unsafe { _mm256_loadu_si256(ROW.as_ptr().add(8 - n).cast()) }
}

/// Writes the first `to.len()` lanes, at most 8, without a mask. Loads wait for a masked store that is on its way as if it
/// wrote the whole vector, though what they read is beside its lanes: 8 ns a row, where rows of few numbers are updated
/// one after the other.
///
/// # Safety
/// The CPU has AVX.
#[inline(always)]
pub(super) unsafe fn store_pieces8(v: __m256, to: &mut [f32]) {
    let len = to.len();
    assert!(len <= 8, "a part has at most as many elements as the vector has lanes");
    let to = to.as_mut_ptr();
    // SAFETY: the caller has AVX; the pieces are as long as `to`, together.
    unsafe {
        if len == 8 {
            return _mm256_storeu_ps(to, v);
        }
        let (mut rest, mut at) = (_mm256_castps256_ps128(v), 0);
        if len & 4 != 0 {
            _mm_storeu_ps(to, rest);
            rest = _mm256_extractf128_ps::<1>(v);
            at = 4;
        }
        if len & 2 != 0 {
            _mm_storel_pd(to.add(at).cast(), _mm_castps_pd(rest));
            rest = _mm_movehl_ps(rest, rest);
            at += 2;
        }
        if len & 1 != 0 {
            _mm_store_ss(to.add(at), rest);
        }
    }
}

/// Adds eight lanes: those 4 apart, then 2, then 1.
///
/// # Safety
/// The CPU has AVX.
#[inline(always)]
pub(super) unsafe fn fold8(p: __m256) -> f32 {
    // SAFETY: the caller has AVX.
    unsafe {
        let fours = _mm_add_ps(_mm256_castps256_ps128(p), _mm256_extractf128_ps::<1>(p));
        let twos = _mm_add_ps(fours, _mm_movehl_ps(fours, fours));
        _mm_cvtss_f32(_mm_add_ss(twos, _mm_shuffle_ps::<1>(twos, twos)))
    }
}

/// Lane r: the eight lanes of `p[r]`, those 4, 2 and 1 apart joined by `f`.
///
/// # Safety
/// The CPU has AVX.
#[inline(always)]
unsafe fn fold_rows8(p: [__m256; 16], f: impl Fn(__m256, __m256) -> __m256) -> __m256 {
    macro_rules! fours {
        // of two rows
        ($a:expr, $b:expr) => {
            f(_mm256_permute2f128_ps::<0x20>(p[$a], p[$b]), _mm256_permute2f128_ps::<0x31>(p[$a], p[$b]))
        };
    }
    macro_rules! twos {
        // of four rows
        ($a:expr, $b:expr) => {{
            let (a, b) = (_mm256_castps_pd($a), _mm256_castps_pd($b));
            f(_mm256_castpd_ps(_mm256_unpacklo_pd(a, b)), _mm256_castpd_ps(_mm256_unpackhi_pd(a, b)))
        }};
    }
    // SAFETY: the caller has AVX.
    unsafe {
        let a = twos!(fours!(0, 4), fours!(1, 5));
        let b = twos!(fours!(2, 6), fours!(3, 7));
        f(_mm256_shuffle_ps::<0b10_00_10_00>(a, b), _mm256_shuffle_ps::<0b11_01_11_01>(a, b))
    }
}

/// Eight rows to eight columns.
///
/// # Safety
/// The CPU has AVX.
#[inline(always)]
unsafe fn transpose8(mut p: [__m256; 16]) -> [__m256; 16] {
    // SAFETY: the caller has AVX.
    unsafe {
        // 2 × 2 elements, then 4 × 4, then halves.
        for r in [0, 2, 4, 6] {
            (p[r], p[r + 1]) = (_mm256_unpacklo_ps(p[r], p[r + 1]), _mm256_unpackhi_ps(p[r], p[r + 1]));
        }
        for r in [0, 4] {
            let q = [p[r], p[r + 1], p[r + 2], p[r + 3]].map(
                #[inline(always)]
                |v| _mm256_castps_pd(v),
            );
            p[r] = _mm256_castpd_ps(_mm256_unpacklo_pd(q[0], q[2]));
            p[r + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(q[0], q[2]));
            p[r + 2] = _mm256_castpd_ps(_mm256_unpacklo_pd(q[1], q[3]));
            p[r + 3] = _mm256_castpd_ps(_mm256_unpackhi_pd(q[1], q[3]));
        }
        for c in 0..4 {
            (p[c], p[c + 4]) =
                (_mm256_permute2f128_ps::<0x20>(p[c], p[c + 4]), _mm256_permute2f128_ps::<0x31>(p[c], p[c + 4]));
        }
    }
    p
}
