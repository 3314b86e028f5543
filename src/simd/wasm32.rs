//! WebAssembly's 128-bit SIMD, where the program is compiled with it (`-C target-feature=+simd128`). It has no fused multiply-add that is
//! the same everywhere, so its arithmetic is portable.

use super::{Lanes, Simd};
use core::arch::wasm32::*;

/// WebAssembly's SIMD: four lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Simd128;

impl Simd128 {
    /// Runs `f` in a function of its own, which `dispatch!` has for each of the vector instruction sets.
    #[inline(always)]
    pub(crate) fn run<R>(self, f: impl FnOnce(Self) -> R) -> R {
        self.outline(f)
    }
}

/// Defines methods by their intrinsics.
macro_rules! methods {
    ($($method:ident = |$($arg:ident: $type:ty),*| -> $ret:ty $body:block)*) => {
        $(
            #[inline(always)]
            fn $method(self, $($arg: $type),*) -> $ret $body
        )*
    };
}

impl Lanes for Simd128 {
    type Vector = v128;
    type Ints = v128;
    type Mask = v128;

    methods! {
        splat = |x: f32| -> v128 { f32x4_splat(x) }
        add = |a: v128, b: v128| -> v128 { f32x4_add(a, b) }
        sub = |a: v128, b: v128| -> v128 { f32x4_sub(a, b) }
        mul = |a: v128, b: v128| -> v128 { f32x4_mul(a, b) }
        div = |a: v128, b: v128| -> v128 { f32x4_div(a, b) }
        mul_add = |a: v128, b: v128, c: v128| -> v128 { f32x4_add(f32x4_mul(a, b), c) }
        sqrt = |a: v128| -> v128 { f32x4_sqrt(a) }
        neg = |a: v128| -> v128 { f32x4_neg(a) }
        abs = |a: v128| -> v128 { f32x4_abs(a) }
        // Of the pseudo-maximum and -minimum the second operand is taken if it is the greater or the less.
        max = |a: v128, b: v128| -> v128 { f32x4_pmax(b, a) }
        min = |a: v128, b: v128| -> v128 { f32x4_pmin(b, a) }
        gt = |a: v128, b: v128| -> v128 { f32x4_gt(a, b) }
        select = |mask: v128, a: v128, b: v128| -> v128 { v128_bitselect(a, b, mask) }
        to_bits = |a: v128| -> v128 { a }
        from_bits = |a: v128| -> v128 { a }
        splat_int = |x: i32| -> v128 { i32x4_splat(x) }
        sub_int = |a: v128, b: v128| -> v128 { i32x4_sub(a, b) }
        and_int = |a: v128, b: v128| -> v128 { v128_and(a, b) }
        or_int = |a: v128, b: v128| -> v128 { v128_or(a, b) }
        shl23 = |a: v128| -> v128 { i32x4_shl(a, 23) }
        shr23 = |a: v128| -> v128 { i32x4_shr(a, 23) }
        int_to_float = |a: v128| -> v128 { f32x4_convert_i32x4(a) }
    }
}

impl Simd for Simd128 {
    const LANES: usize = 4;
    // 8 sums, two vectors of B, one of A and a product: less than the 16 registers that an x86-64 has under it.
    const TILE_ROWS: usize = 4;
    const TILE_VECTORS: usize = 2;
    type Array = [f32; 4];

    #[inline(always)]
    fn chunks(x: &[f32]) -> (&[[f32; 4]], &[f32]) {
        x.as_chunks()
    }
    #[inline(always)]
    fn chunks_mut(x: &mut [f32]) -> (&mut [[f32; 4]], &mut [f32]) {
        x.as_chunks_mut()
    }
    #[inline(always)]
    fn prefetch(self, _: &[f32]) {}
    #[inline(always)]
    fn fold_rows(self, p: [v128; 16], f: impl Fn(v128, v128) -> v128) -> v128 {
        // Lanes 2 apart of two rows, then neighbours.
        let ab = f(i32x4_shuffle::<0, 1, 4, 5>(p[0], p[1]), i32x4_shuffle::<2, 3, 6, 7>(p[0], p[1]));
        let cd = f(i32x4_shuffle::<0, 1, 4, 5>(p[2], p[3]), i32x4_shuffle::<2, 3, 6, 7>(p[2], p[3]));
        f(i32x4_shuffle::<0, 2, 4, 6>(ab, cd), i32x4_shuffle::<1, 3, 5, 7>(ab, cd))
    }
    #[inline(always)]
    fn transpose(self, mut p: [v128; 16]) -> [v128; 16] {
        // 2 × 2 elements, then halves.
        let pairs = [
            i32x4_shuffle::<0, 4, 2, 6>(p[0], p[1]),
            i32x4_shuffle::<1, 5, 3, 7>(p[0], p[1]),
            i32x4_shuffle::<0, 4, 2, 6>(p[2], p[3]),
            i32x4_shuffle::<1, 5, 3, 7>(p[2], p[3]),
        ];
        p[0] = i32x4_shuffle::<0, 1, 4, 5>(pairs[0], pairs[2]);
        p[1] = i32x4_shuffle::<0, 1, 4, 5>(pairs[1], pairs[3]);
        p[2] = i32x4_shuffle::<2, 3, 6, 7>(pairs[0], pairs[2]);
        p[3] = i32x4_shuffle::<2, 3, 6, 7>(pairs[1], pairs[3]);
        p
    }
    methods! {
        load = |x: &[f32; 4]| -> v128 {
            // SAFETY: the array has as many bytes as the vector.
            unsafe { v128_load(x.as_ptr().cast()) }
        }
        store = |v: v128, to: &mut [f32; 4]| -> () {
            // SAFETY: the array has as many bytes as the vector.
            unsafe { v128_store(to.as_mut_ptr().cast(), v) }
        }
        load_part = |x: &[f32]| -> v128 {
            match *x {
                [] => f32x4_splat(0.0),
                [a] => f32x4(a, 0.0, 0.0, 0.0),
                [a, b] => f32x4(a, b, 0.0, 0.0),
                [a, b, c] => f32x4(a, b, c, 0.0),
                [a, b, c, d] => f32x4(a, b, c, d),
                _ => too_long(),
            }
        }
        store_part = |v: v128, to: &mut [f32]| -> () {
            match to {
                [] => {}
                [a] => *a = f32x4_extract_lane::<0>(v),
                [a, b] => {
                    *a = f32x4_extract_lane::<0>(v);
                    *b = f32x4_extract_lane::<1>(v);
                }
                [a, b, c] => {
                    *a = f32x4_extract_lane::<0>(v);
                    *b = f32x4_extract_lane::<1>(v);
                    *c = f32x4_extract_lane::<2>(v);
                }
                [a, b, c, d] => {
                    *a = f32x4_extract_lane::<0>(v);
                    *b = f32x4_extract_lane::<1>(v);
                    *c = f32x4_extract_lane::<2>(v);
                    *d = f32x4_extract_lane::<3>(v);
                }
                _ => too_long(),
            }
        }
        first = |v: v128| -> f32 { f32x4_extract_lane::<0>(v) }
        fold = |sums: [v128; 16]| -> f32 {
            let fours = f32x4_add(f32x4_add(sums[0], sums[2]), f32x4_add(sums[1], sums[3]));
            let twos = f32x4_add(fours, i32x4_shuffle::<2, 3, 0, 1>(fours, fours));
            f32x4_extract_lane::<0>(twos) + f32x4_extract_lane::<1>(twos)
        }
    }
}

#[cold]
#[inline(never)]
fn too_long() -> ! {
    panic!("a part has at most as many elements as the vector has lanes")
}
