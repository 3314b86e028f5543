//! AVX2 with FMA, and AVX-512F: what their tokens have in common.

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
                    // more than LANES); lanes that are masked out are not touched. What is
                    // stored in pieces checks that, too.
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

// A file each: the compiler works on several at a time, and puts what a token runs beside the token.
mod avx2;
mod avx512;

pub(super) use avx2::Avx2;
pub(super) use avx512::Avx512;
