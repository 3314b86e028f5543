//! AVX2 with FMA, and AVX-512F.

use super::Simd;
use core::arch::x86_64::*;

/// Defines a token: its lanes, the features it stands for, and its intrinsics.
/// The features tested and the features enabled come from the same list.
macro_rules! token {
    ($(#[$doc:meta])* $name:ident { lanes: $lanes:literal, tile_rows: $rows:literal, vector: $v:ty, ints: $i:ty, mask: $m:ty,
      features: [$($feature:tt),+] }
     $($method:ident = |$($arg:ident: $kind:ident),*| -> $ret:ident $body:block)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) struct $name<const FUSED: bool> {
            _proof: (),
        }

        impl<const FUSED: bool> $name<FUSED> {
            /// The token, where this CPU has the instructions.
            pub(crate) fn new() -> Option<Self> {
                #[cfg(feature = "std")]
                let found = true $(&& std::arch::is_x86_feature_detected!($feature))+;
                #[cfg(not(feature = "std"))]
                let found = true $(&& cfg!(target_feature = $feature))+;
                found.then_some(Self { _proof: () })
            }

            /// Runs `f`, compiled for this instruction set.
            #[inline(always)]
            pub(crate) fn run<R>(self, f: impl FnOnce(Self) -> R) -> R {
                #[target_feature($(enable = $feature),+)]
                #[inline]
                fn entry<T, R>(token: T, f: impl FnOnce(T) -> R) -> R {
                    f(token)
                }
                // SAFETY: `self` exists, so `new` found the features.
                unsafe { entry(self, f) }
            }
        }

        impl<const FUSED: bool> Simd for $name<FUSED> {
            const LANES: usize = $lanes;
            const TILE_ROWS: usize = $rows;
            type Vector = $v;
            type Ints = $i;
            type Mask = $m;
            type Array = [f32; $lanes];

            #[inline(always)]
            fn outline<R>(self, f: impl FnOnce(Self) -> R) -> R {
                #[target_feature($(enable = $feature),+)]
                #[inline(never)]
                fn entry<T, R>(token: T, f: impl FnOnce(T) -> R) -> R {
                    f(token)
                }
                // SAFETY: `self` exists, so `new` found the features.
                unsafe { entry(self, f) }
            }
            #[inline(always)]
            fn prefetch(self, x: &[f32]) {
                // SAFETY: a prefetch reads nothing and faults nowhere, and SSE is in every x86-64.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(x.as_ptr().cast()) };
            }
            #[inline(always)]
            fn chunks(x: &[f32]) -> (&[Self::Array], &[f32]) {
                x.as_chunks()
            }
            #[inline(always)]
            fn chunks_mut(x: &mut [f32]) -> (&mut [Self::Array], &mut [f32]) {
                x.as_chunks_mut()
            }
            $(
                #[inline(always)]
                fn $method(self, $($arg: token!(@kind $kind)),*) -> token!(@kind $ret) {
                    // SAFETY: `self` exists, so `new` found the features. A pointer comes from
                    // an array of LANES elements, or from a slice under a mask of as many
                    // lanes as it has (`first_lanes` and `first_bits` check that it has no
                    // more than LANES); lanes that are masked out are not touched.
                    unsafe { $body }
                }
            )*
            #[inline(always)]
            fn mul_add(self, a: $v, b: $v, c: $v) -> $v {
                if FUSED { self.fused(a, b, c) } else { self.add(self.mul(a, b), c) }
            }
        }
    };
    (@kind float) => { f32 };
    (@kind int) => { i32 };
    (@kind vector) => { Self::Vector };
    (@kind ints) => { Self::Ints };
    (@kind mask) => { Self::Mask };
    (@kind array) => { &Self::Array };
    (@kind array_mut) => { &mut Self::Array };
    (@kind slice) => { &[f32] };
    (@kind slice_mut) => { &mut [f32] };
    (@kind partials) => { [Self::Vector; 16] };
    (@kind unit) => { () };
}

token! {
    /// AVX2 and FMA: eight lanes.
    Avx2 { lanes: 8, tile_rows: 6, vector: __m256, ints: __m256i, mask: __m256,
           features: ["avx2", "fma"] }
    splat = |x: float| -> vector { _mm256_set1_ps(x) }
    load = |x: array| -> vector { _mm256_loadu_ps(x.as_ptr()) }
    store = |v: vector, to: array_mut| -> unit { _mm256_storeu_ps(to.as_mut_ptr(), v); }
    load_part = |x: slice| -> vector { _mm256_maskload_ps(x.as_ptr(), first_lanes(x.len())) }
    store_part = |v: vector, to: slice_mut| -> unit {
        _mm256_maskstore_ps(to.as_mut_ptr(), first_lanes(to.len()), v);
    }
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
    fold = |sums: partials| -> float { fold8(_mm256_add_ps(sums[0], sums[1])) }
    fold_rows = |rows: partials| -> vector { fold_rows8(rows) }
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

token! {
    /// AVX-512F: sixteen lanes.
    Avx512 { lanes: 16, tile_rows: 8, vector: __m512, ints: __m512i, mask: __mmask16,
             features: ["avx512f", "avx2", "fma"] }
    splat = |x: float| -> vector { _mm512_set1_ps(x) }
    load = |x: array| -> vector { _mm512_loadu_ps(x.as_ptr()) }
    store = |v: vector, to: array_mut| -> unit { _mm512_storeu_ps(to.as_mut_ptr(), v); }
    load_part = |x: slice| -> vector { _mm512_maskz_loadu_ps(first_bits(x.len()), x.as_ptr()) }
    store_part = |v: vector, to: slice_mut| -> unit {
        _mm512_mask_storeu_ps(to.as_mut_ptr(), first_bits(to.len()), v);
    }
    add = |a: vector, b: vector| -> vector { _mm512_add_ps(a, b) }
    sub = |a: vector, b: vector| -> vector { _mm512_sub_ps(a, b) }
    mul = |a: vector, b: vector| -> vector { _mm512_mul_ps(a, b) }
    div = |a: vector, b: vector| -> vector { _mm512_div_ps(a, b) }
    sqrt = |a: vector| -> vector { _mm512_sqrt_ps(a) }
    neg = |a: vector| -> vector {
        _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(a), _mm512_set1_epi32(i32::MIN)))
    }
    abs = |a: vector| -> vector { _mm512_abs_ps(a) }
    max = |a: vector, b: vector| -> vector { _mm512_max_ps(a, b) }
    min = |a: vector, b: vector| -> vector { _mm512_min_ps(a, b) }
    gt = |a: vector, b: vector| -> mask { _mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b) }
    select = |mask: mask, a: vector, b: vector| -> vector { _mm512_mask_blend_ps(mask, b, a) }
    fold = |sums: partials| -> float {
        let upper = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(sums[0])));
        fold8(_mm256_add_ps(_mm512_castps512_ps256(sums[0]), upper))
    }
    fold_rows = |rows: partials| -> vector { fold_rows16(rows) }
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

impl<const FUSED: bool> Avx2<FUSED> {
    #[inline(always)]
    fn fused(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: `self` exists, so `new` found FMA.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
}

impl<const FUSED: bool> Avx512<FUSED> {
    #[inline(always)]
    fn fused(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: `self` exists, so `new` found AVX-512F.
        unsafe { _mm512_fmadd_ps(a, b, c) }
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

/// Adds eight lanes: those 4 apart, then 2, then 1.
///
/// # Safety
/// The CPU has AVX.
#[inline(always)]
unsafe fn fold8(p: __m256) -> f32 {
    // SAFETY: the caller has AVX.
    unsafe {
        let fours = _mm_add_ps(_mm256_castps256_ps128(p), _mm256_extractf128_ps::<1>(p));
        let twos = _mm_add_ps(fours, _mm_movehl_ps(fours, fours));
        _mm_cvtss_f32(_mm_add_ss(twos, _mm_shuffle_ps::<1>(twos, twos)))
    }
}

/// Lane r: the eight lanes of `p[r]`, added as [`fold8`] adds them.
///
/// # Safety
/// The CPU has AVX.
#[inline(always)]
unsafe fn fold_rows8(p: [__m256; 16]) -> __m256 {
    /// Lanes 4 apart, of two rows.
    #[inline(always)]
    unsafe fn fours(a: __m256, b: __m256) -> __m256 {
        // SAFETY: the caller has AVX.
        unsafe { _mm256_add_ps(_mm256_permute2f128_ps::<0x20>(a, b), _mm256_permute2f128_ps::<0x31>(a, b)) }
    }
    /// Lanes 2 apart, of four rows.
    #[inline(always)]
    unsafe fn twos(a: __m256, b: __m256) -> __m256 {
        // SAFETY: the caller has AVX.
        unsafe {
            let (a, b) = (_mm256_castps_pd(a), _mm256_castps_pd(b));
            let (even, odd) = (_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b));
            _mm256_add_ps(_mm256_castpd_ps(even), _mm256_castpd_ps(odd))
        }
    }
    // SAFETY: the caller has AVX.
    unsafe {
        let a = twos(fours(p[0], p[4]), fours(p[1], p[5]));
        let b = twos(fours(p[2], p[6]), fours(p[3], p[7]));
        _mm256_add_ps(_mm256_shuffle_ps::<0b10_00_10_00>(a, b), _mm256_shuffle_ps::<0b11_01_11_01>(a, b))
    }
}

/// Lane r: the sixteen lanes of `p[r]`, added 8, 4, 2 and 1 apart.
///
/// # Safety
/// The CPU has AVX-512F.
#[inline(always)]
unsafe fn fold_rows16(p: [__m512; 16]) -> __m512 {
    /// Lanes 8 apart, of two rows.
    #[inline(always)]
    unsafe fn eights(a: __m512, b: __m512) -> __m512 {
        // SAFETY: the caller has AVX-512F.
        unsafe { _mm512_add_ps(_mm512_shuffle_f32x4::<0x44>(a, b), _mm512_shuffle_f32x4::<0xee>(a, b)) }
    }
    /// Lanes 4 apart, of four rows.
    #[inline(always)]
    unsafe fn fours(a: __m512, b: __m512) -> __m512 {
        // SAFETY: the caller has AVX-512F.
        unsafe { _mm512_add_ps(_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b)) }
    }
    /// Lanes 2 apart, of eight rows.
    #[inline(always)]
    unsafe fn twos(a: __m512, b: __m512) -> __m512 {
        // SAFETY: the caller has AVX-512F.
        unsafe {
            let (a, b) = (_mm512_castps_pd(a), _mm512_castps_pd(b));
            let (even, odd) = (_mm512_unpacklo_pd(a, b), _mm512_unpackhi_pd(a, b));
            _mm512_add_ps(_mm512_castpd_ps(even), _mm512_castpd_ps(odd))
        }
    }
    // SAFETY: the caller has AVX-512F.
    unsafe {
        let a = fours(eights(p[0], p[4]), eights(p[8], p[12]));
        let b = fours(eights(p[1], p[5]), eights(p[9], p[13]));
        let c = fours(eights(p[2], p[6]), eights(p[10], p[14]));
        let d = fours(eights(p[3], p[7]), eights(p[11], p[15]));
        let (a, b) = (twos(a, b), twos(c, d));
        _mm512_add_ps(_mm512_shuffle_ps::<0b10_00_10_00>(a, b), _mm512_shuffle_ps::<0b11_01_11_01>(a, b))
    }
}

/// The lowest `n` bits set.
#[inline(always)]
fn first_bits(n: usize) -> __mmask16 {
    assert!(n <= 16, "a part has at most as many elements as the vector has lanes");
    ((1_u32 << n) - 1) as __mmask16
}
