//! AVX-512F.

use super::avx2::{fold8, store_pieces8};
use crate::simd::{Lanes, Simd};
use core::arch::x86_64::*;

token! {
    /// AVX-512F: sixteen lanes.
    Avx512 { lanes: 16, tile: [8, 3], vector: __m512, ints: __m512i, mask: __mmask16,
             fold_rows: fold_rows16, transpose: transpose16, features: ["avx512f", "avx2", "fma"] }
    lanes {
        splat = |x: float| -> vector { _mm512_set1_ps(x) }
        add = |a: vector, b: vector| -> vector { _mm512_add_ps(a, b) }
        sub = |a: vector, b: vector| -> vector { _mm512_sub_ps(a, b) }
        mul = |a: vector, b: vector| -> vector { _mm512_mul_ps(a, b) }
        div = |a: vector, b: vector| -> vector { _mm512_div_ps(a, b) }
        sqrt = |a: vector| -> vector { root(a) }
        neg = |a: vector| -> vector {
            _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(a), _mm512_set1_epi32(i32::MIN)))
        }
        abs = |a: vector| -> vector { _mm512_abs_ps(a) }
        max = |a: vector, b: vector| -> vector { _mm512_max_ps(a, b) }
        min = |a: vector, b: vector| -> vector { _mm512_min_ps(a, b) }
        gt = |a: vector, b: vector| -> mask { _mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b) }
        select = |mask: mask, a: vector, b: vector| -> vector { _mm512_mask_blend_ps(mask, b, a) }
        to_bits = |a: vector| -> ints { _mm512_castps_si512(a) }
        from_bits = |a: ints| -> vector { _mm512_castsi512_ps(a) }
        splat_int = |x: int| -> ints { _mm512_set1_epi32(x) }
        sub_int = |a: ints, b: ints| -> ints { _mm512_sub_epi32(a, b) }
        and_int = |a: ints, b: ints| -> ints { _mm512_and_si512(a, b) }
        or_int = |a: ints, b: ints| -> ints { _mm512_or_si512(a, b) }
        shl23 = |a: ints| -> ints { _mm512_slli_epi32::<23>(a) }
        shr23 = |a: ints| -> ints { _mm512_srai_epi32::<23>(a) }
        int_to_float = |a: ints| -> vector { _mm512_cvtepi32_ps(a) }
    }
    registers {
        load = |x: array| -> vector { _mm512_loadu_ps(x.as_ptr()) }
        store = |v: vector, to: array_mut| -> unit { _mm512_storeu_ps(to.as_mut_ptr(), v); }
        load_part = |x: slice| -> vector { _mm512_maskz_loadu_ps(first_bits(x.len()), x.as_ptr()) }
        store_part = |v: vector, to: slice_mut| -> unit {
            _mm512_mask_storeu_ps(to.as_mut_ptr(), first_bits(to.len()), v);
        }
        store_part_in_place = |v: vector, to: slice_mut| -> unit { store_pieces16(v, to) }
        first = |v: vector| -> float { _mm512_cvtss_f32(v) }
        fold = |sums: partials| -> float {
            let upper = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(sums[0])));
            fold8(_mm256_add_ps(_mm512_castps512_ps256(sums[0]), upper))
        }
    }
}

impl<const FUSED: bool> Avx512<FUSED> {
    #[inline(always)]
    fn fused(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: `self` exists, so `new` found AVX-512F.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
}

/// √a, correctly rounded. The square root's own unit takes twelve cycles for a vector, in which it can't divide; this is a
/// dozen instructions, of which two begin in a cycle.
///
/// # Safety
/// The CPU has AVX-512F.
#[inline(always)]
unsafe fn root(a: __m512) -> __m512 {
    // SAFETY: the caller has AVX-512F.
    unsafe {
        let bits = _mm512_castps_si512(a);
        let above = _mm512_sub_epi32(bits, _mm512_set1_epi32(LEAST_ROOT_OF));
        let usual = _mm512_cmplt_epu32_mask(above, _mm512_set1_epi32(INFINITY - LEAST_ROOT_OF));
        if _mm512_mask_test_epi32_mask(!usual, bits, _mm512_set1_epi32(i32::MAX)) != 0 {
            return _mm512_sqrt_ps(a);
        }
        // With an estimate of 0, a zero stays what it is.
        root_from(a, _mm512_maskz_rsqrt14_ps(usual, a))
    }
}

/// From here to infinity no difference of [`root_from`] is subnormal: 2^−100.
const LEAST_ROOT_OF: i32 = (127 - 100) << 23;
const INFINITY: i32 = f32::INFINITY.to_bits().cast_signed();

/// √a from an estimate of 1 / √a, of a relative error below 2^−14.
///
/// Goldschmidt's iteration, which comes to within an ulp, and the correction that P. Markstein ("Computation of elementary
/// functions on the IBM RISC System/6000 processor", 1990) ends with. That it is right for every a and every such estimate
/// has been seen by trying all: `cargo test --release --lib -- --ignored whatever_the_estimate`.
///
/// # Safety
/// The CPU has AVX-512F.
#[inline(always)]
unsafe fn root_from(a: __m512, estimate: __m512) -> __m512 {
    // SAFETY: the caller has AVX-512F.
    unsafe {
        let half = _mm512_set1_ps(0.5);
        let (g, h) = (_mm512_mul_ps(a, estimate), _mm512_mul_ps(half, estimate));
        let rest = _mm512_fnmadd_ps(g, h, half);
        let (g, h) = (_mm512_fmadd_ps(g, rest, g), _mm512_fmadd_ps(h, rest, h));
        _mm512_fmadd_ps(_mm512_fnmadd_ps(g, g, a), h, g)
    }
}

/// Writes the first `to.len()` lanes, at most 16, without a mask: see [`store_pieces8`].
///
/// # Safety
/// The CPU has AVX-512F.
#[inline(always)]
unsafe fn store_pieces16(v: __m512, to: &mut [f32]) {
    // SAFETY: the caller has AVX-512F; an array has the length it is split at.
    unsafe {
        let first = _mm512_castps512_ps256(v);
        let Some((to, rest)) = to.split_first_chunk_mut::<8>() else {
            return store_pieces8(first, to);
        };
        _mm256_storeu_ps(to.as_mut_ptr(), first);
        if !rest.is_empty() {
            store_pieces8(_mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(v))), rest);
        }
    }
}

/// Lane r: the sixteen lanes of `p[r]`, those 8, 4, 2 and 1 apart joined by `f`.
///
/// # Safety
/// The CPU has AVX-512F.
#[inline(always)]
unsafe fn fold_rows16(p: [__m512; 16], f: impl Fn(__m512, __m512) -> __m512) -> __m512 {
    macro_rules! eights {
        // of two rows
        ($a:expr, $b:expr) => {
            f(_mm512_shuffle_f32x4::<0x44>(p[$a], p[$b]), _mm512_shuffle_f32x4::<0xee>(p[$a], p[$b]))
        };
    }
    macro_rules! fours {
        // of four rows
        ($a:expr, $b:expr) => {{
            let (a, b) = ($a, $b);
            f(_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b))
        }};
    }
    macro_rules! twos {
        // of eight rows
        ($a:expr, $b:expr) => {{
            let (a, b) = (_mm512_castps_pd($a), _mm512_castps_pd($b));
            f(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)))
        }};
    }
    // SAFETY: the caller has AVX-512F.
    unsafe {
        let a = fours!(eights!(0, 4), eights!(8, 12));
        let b = fours!(eights!(1, 5), eights!(9, 13));
        let c = fours!(eights!(2, 6), eights!(10, 14));
        let d = fours!(eights!(3, 7), eights!(11, 15));
        let (a, b) = (twos!(a, b), twos!(c, d));
        f(_mm512_shuffle_ps::<0b10_00_10_00>(a, b), _mm512_shuffle_ps::<0b11_01_11_01>(a, b))
    }
}

/// Sixteen rows to sixteen columns.
///
/// # Safety
/// The CPU has AVX-512F.
#[inline(always)]
unsafe fn transpose16(mut p: [__m512; 16]) -> [__m512; 16] {
    // SAFETY: the caller has AVX-512F.
    unsafe {
        // 2 × 2 elements, then 4 × 4; then quarters, from rows 4 and 8 apart.
        for r in [0, 2, 4, 6, 8, 10, 12, 14] {
            (p[r], p[r + 1]) = (_mm512_unpacklo_ps(p[r], p[r + 1]), _mm512_unpackhi_ps(p[r], p[r + 1]));
        }
        for r in [0, 4, 8, 12] {
            let q = [p[r], p[r + 1], p[r + 2], p[r + 3]].map(
                #[inline(always)]
                |v| _mm512_castps_pd(v),
            );
            p[r] = _mm512_castpd_ps(_mm512_unpacklo_pd(q[0], q[2]));
            p[r + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(q[0], q[2]));
            p[r + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(q[1], q[3]));
            p[r + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(q[1], q[3]));
        }
        for c in 0..4 {
            let q = [p[c], p[c + 4], p[c + 8], p[c + 12]];
            let even = [_mm512_shuffle_f32x4::<0x88>(q[0], q[1]), _mm512_shuffle_f32x4::<0x88>(q[2], q[3])];
            let odd = [_mm512_shuffle_f32x4::<0xdd>(q[0], q[1]), _mm512_shuffle_f32x4::<0xdd>(q[2], q[3])];
            p[c] = _mm512_shuffle_f32x4::<0x88>(even[0], even[1]);
            p[c + 4] = _mm512_shuffle_f32x4::<0x88>(odd[0], odd[1]);
            p[c + 8] = _mm512_shuffle_f32x4::<0xdd>(even[0], even[1]);
            p[c + 12] = _mm512_shuffle_f32x4::<0xdd>(odd[0], odd[1]);
        }
    }
    p
}

/// The lowest `n` bits set.
#[inline(always)]
fn first_bits(n: usize) -> __mmask16 {
    assert!(n <= 16, "a part has at most as many elements as the vector has lanes");
    ((1_u32 << n) - 1) as __mmask16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Simd;

    /// Of every `stride`-th a from 1 to 4 (others differ by a power of 4, by which all is multiplied), from all estimates.
    fn roots_are_right(stride: usize) {
        let Some(s) = Avx512::<true>::new() else { return };
        s.run(
            #[inline(always)]
            |s| {
                let first = f32::to_bits(1.0);
                for a in (first..f32::to_bits(4.0)).step_by(stride).map(f32::from_bits) {
                    let exact = 1.0 / f64::from(a).sqrt();
                    let [least, most] = [1.0 - 2.0_f64.powi(-14), 1.0 + 2.0_f64.powi(-14)].map(|x| (x * exact) as f32);
                    for bits in (least.to_bits() - 1..=most.to_bits() + 1).step_by(16) {
                        let estimates: [f32; 16] = core::array::from_fn(|lane| f32::from_bits(bits + lane as u32));
                        let mut found = [0.0; 16];
                        // SAFETY: `s` exists, so there is AVX-512F.
                        s.store(unsafe { root_from(s.splat(a), s.load(&estimates)) }, &mut found);
                        assert_eq!(found, [a.sqrt(); 16], "√{a} from {estimates:?}");
                    }
                }
            },
        );
    }

    #[test]
    fn a_root_is_right_from_any_estimate() {
        roots_are_right(997);
    }

    #[test]
    #[ignore = "2³⁵ roots: half a minute"]
    fn a_root_is_right_whatever_the_estimate() {
        roots_are_right(1);
    }
}
