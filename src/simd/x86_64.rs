//! AVX2 with FMA, and AVX-512F.

use super::{Lanes, Simd};
use core::arch::x86_64::*;

/// Defines a token: its lanes, the features it stands for, and its intrinsics, first those of [`Lanes`].
/// The features tested and the features enabled come from the same list.
macro_rules! token {
    ($(#[$doc:meta])* $name:ident { lanes: $lanes:literal, tile: [$rows:literal, $vectors:literal], vector: $v:ty, ints: $i:ty, mask: $m:ty,
      fold_rows: $fold_rows:ident, transpose: $transpose:ident, features: [$($feature:tt),+] }
     lanes { $($method:ident = |$($arg:ident: $kind:ident),*| -> $ret:ident $body:block)* }
     registers { $($memory:ident = |$($memory_arg:ident: $memory_kind:ident),*| -> $memory_ret:ident $memory_body:block)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) struct $name<const FUSED: bool> {
            #[cfg(any(feature = "std", all($(target_feature = $feature),+)))]
            _proof: (),
            // Nothing finds the instructions. No such token exists, and no kernel is compiled for it.
            #[cfg(not(any(feature = "std", all($(target_feature = $feature),+))))]
            _proof: core::convert::Infallible,
        }

        impl<const FUSED: bool> $name<FUSED> {
            /// The token, where this CPU has the instructions.
            pub(crate) fn new() -> Option<Self> {
                #[cfg(feature = "std")]
                let token = (true $(&& std::arch::is_x86_feature_detected!($feature))+).then_some(Self { _proof: () });
                #[cfg(all(not(feature = "std"), $(target_feature = $feature),+))]
                let token = Some(Self { _proof: () });
                #[cfg(not(any(feature = "std", all($(target_feature = $feature),+))))]
                let token = None;
                token
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

        impl<const FUSED: bool> Lanes for $name<FUSED> {
            type Vector = $v;
            type Ints = $i;
            type Mask = $m;
            $(
                #[inline(always)]
                fn $method(self, $($arg: token!(@kind $kind)),*) -> token!(@kind $ret) {
                    // SAFETY: `self` exists, so `new` found the features.
                    unsafe { $body }
                }
            )*
            #[inline(always)]
            fn mul_add(self, a: $v, b: $v, c: $v) -> $v {
                if FUSED { self.fused(a, b, c) } else { self.add(self.mul(a, b), c) }
            }
        }

        impl<const FUSED: bool> Simd for $name<FUSED> {
            const LANES: usize = $lanes;
            const TILE_ROWS: usize = $rows;
            const TILE_VECTORS: usize = $vectors;
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
            fn part<R>(self, f: impl FnOnce(Self) -> R) -> R {
                #[target_feature($(enable = $feature),+)]
                #[cfg_attr(debug_assertions, inline(never))]
                #[cfg_attr(not(debug_assertions), inline)]
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
                fn $memory(self, $($memory_arg: token!(@kind $memory_kind)),*) -> token!(@kind $memory_ret) {
                    // SAFETY: `self` exists, so `new` found the features. A pointer comes from
                    // an array of LANES elements, or from a slice under a mask of as many
                    // lanes as it has (`first_lanes` and `first_bits` check that it has no
                    // more than LANES); lanes that are masked out are not touched.
                    unsafe { $memory_body }
                }
            )*
            #[inline(always)]
            fn fold_rows(self, rows: [$v; 16], f: impl Fn($v, $v) -> $v) -> $v {
                // SAFETY: `self` exists, so `new` found the features.
                unsafe { $fold_rows(rows, f) }
            }
            #[inline(always)]
            fn transpose(self, rows: [$v; 16]) -> [$v; 16] {
                // SAFETY: `self` exists, so `new` found the features.
                unsafe { $transpose(rows) }
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
        first = |v: vector| -> float { _mm256_cvtss_f32(v) }
        fold = |sums: partials| -> float { fold8(_mm256_add_ps(sums[0], sums[1])) }
    }
}

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
        sqrt = |a: vector| -> vector { _mm512_sqrt_ps(a) }
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
        first = |v: vector| -> float { _mm512_cvtss_f32(v) }
        fold = |sums: partials| -> float {
            let upper = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(sums[0])));
            fold8(_mm256_add_ps(_mm512_castps512_ps256(sums[0]), upper))
        }
    }
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
