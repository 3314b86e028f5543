//! NEON: part of every AArch64 that has floating-point registers, so it is known at compile time.

use super::{Lanes, Simd};
use core::arch::{aarch64::*, asm};

/// NEON: four lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Neon<const FUSED: bool>;

impl<const FUSED: bool> Neon<FUSED> {
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
            fn $method(self, $($arg: $type),*) -> $ret {
                // SAFETY: this module is compiled only where NEON is enabled for the whole
                // program. A pointer comes from an array of LANES elements, or from a slice
                // whose length the arm of the match names.
                unsafe { $body }
            }
        )*
    };
}

impl<const FUSED: bool> Lanes for Neon<FUSED> {
    type Vector = float32x4_t;
    type Ints = int32x4_t;
    type Mask = uint32x4_t;

    methods! {
        splat = |x: f32| -> float32x4_t { vdupq_n_f32(x) }
        add = |a: float32x4_t, b: float32x4_t| -> float32x4_t { vaddq_f32(a, b) }
        sub = |a: float32x4_t, b: float32x4_t| -> float32x4_t { vsubq_f32(a, b) }
        mul = |a: float32x4_t, b: float32x4_t| -> float32x4_t { vmulq_f32(a, b) }
        div = |a: float32x4_t, b: float32x4_t| -> float32x4_t { vdivq_f32(a, b) }
        mul_add = |a: float32x4_t, b: float32x4_t, c: float32x4_t| -> float32x4_t {
            if FUSED { vfmaq_f32(c, a, b) } else { vaddq_f32(vmulq_f32(a, b), c) }
        }
        sqrt = |a: float32x4_t| -> float32x4_t { vsqrtq_f32(a) }
        neg = |a: float32x4_t| -> float32x4_t { vnegq_f32(a) }
        abs = |a: float32x4_t| -> float32x4_t { vabsq_f32(a) }
        // FMAX and FMIN return a NaN that either operand holds, and tell the zeros apart.
        max = |a: float32x4_t, b: float32x4_t| -> float32x4_t { vbslq_f32(vcgtq_f32(a, b), a, b) }
        min = |a: float32x4_t, b: float32x4_t| -> float32x4_t { vbslq_f32(vcltq_f32(a, b), a, b) }
        gt = |a: float32x4_t, b: float32x4_t| -> uint32x4_t { vcgtq_f32(a, b) }
        select = |mask: uint32x4_t, a: float32x4_t, b: float32x4_t| -> float32x4_t { vbslq_f32(mask, a, b) }
        to_bits = |a: float32x4_t| -> int32x4_t { vreinterpretq_s32_f32(a) }
        from_bits = |a: int32x4_t| -> float32x4_t { vreinterpretq_f32_s32(a) }
        splat_int = |x: i32| -> int32x4_t { vdupq_n_s32(x) }
        sub_int = |a: int32x4_t, b: int32x4_t| -> int32x4_t { vsubq_s32(a, b) }
        and_int = |a: int32x4_t, b: int32x4_t| -> int32x4_t { vandq_s32(a, b) }
        or_int = |a: int32x4_t, b: int32x4_t| -> int32x4_t { vorrq_s32(a, b) }
        shl23 = |a: int32x4_t| -> int32x4_t { vshlq_n_s32::<23>(a) }
        shr23 = |a: int32x4_t| -> int32x4_t { vshrq_n_s32::<23>(a) }
        int_to_float = |a: int32x4_t| -> float32x4_t { vcvtq_f32_s32(a) }
    }
}

impl<const FUSED: bool> Simd for Neon<FUSED> {
    const LANES: usize = 4;
    // 16 sums and 4 operands (FMLA takes a lane of A, which needs no splat): a tile's loop over k
    // spills nothing. 12 rows would fit as well; the kernels have no such tile.
    const TILE_ROWS: usize = 8;
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
    fn prefetch(self, x: &[f32]) {
        // The intrinsic is not stable.
        // SAFETY: a prefetch reads nothing and faults nowhere.
        unsafe { asm!("prfm pldl1keep, [{}]", in(reg) x.as_ptr(), options(nomem, nostack, preserves_flags)) };
    }
    #[inline(always)]
    fn fold_rows(self, p: [float32x4_t; 16], f: impl Fn(float32x4_t, float32x4_t) -> float32x4_t) -> float32x4_t {
        // SAFETY: this module is compiled only where NEON is enabled for the whole program.
        unsafe {
            // Lanes 2 apart of two rows, then neighbours.
            let [a, b, c, d] = [p[0], p[1], p[2], p[3]].map(
                #[inline(always)]
                |v| vreinterpretq_f64_f32(v),
            );
            let ab = f(vreinterpretq_f32_f64(vtrn1q_f64(a, b)), vreinterpretq_f32_f64(vtrn2q_f64(a, b)));
            let cd = f(vreinterpretq_f32_f64(vtrn1q_f64(c, d)), vreinterpretq_f32_f64(vtrn2q_f64(c, d)));
            f(vuzp1q_f32(ab, cd), vuzp2q_f32(ab, cd))
        }
    }
    #[inline(always)]
    fn transpose(self, mut p: [float32x4_t; 16]) -> [float32x4_t; 16] {
        // SAFETY: this module is compiled only where NEON is enabled for the whole program.
        unsafe {
            // 2 × 2 elements, then halves.
            let pairs =
                [vtrn1q_f32(p[0], p[1]), vtrn2q_f32(p[0], p[1]), vtrn1q_f32(p[2], p[3]), vtrn2q_f32(p[2], p[3])];
            let pairs = pairs.map(
                #[inline(always)]
                |v| vreinterpretq_f64_f32(v),
            );
            p[0] = vreinterpretq_f32_f64(vtrn1q_f64(pairs[0], pairs[2]));
            p[1] = vreinterpretq_f32_f64(vtrn1q_f64(pairs[1], pairs[3]));
            p[2] = vreinterpretq_f32_f64(vtrn2q_f64(pairs[0], pairs[2]));
            p[3] = vreinterpretq_f32_f64(vtrn2q_f64(pairs[1], pairs[3]));
        }
        p
    }
    methods! {
        load = |x: &[f32; 4]| -> float32x4_t { vld1q_f32(x.as_ptr()) }
        store = |v: float32x4_t, to: &mut [f32; 4]| -> () { vst1q_f32(to.as_mut_ptr(), v); }
        load_part = |x: &[f32]| -> float32x4_t {
            let (zeros, from) = (vdupq_n_f32(0.0), x.as_ptr());
            let two = || vcombine_f32(vld1_f32(from), vget_high_f32(zeros));
            match x.len() {
                0 => zeros,
                1 => vld1q_lane_f32::<0>(from, zeros),
                2 => two(),
                3 => vld1q_lane_f32::<2>(from.add(2), two()),
                4 => vld1q_f32(from),
                _ => too_long(),
            }
        }
        store_part = |v: float32x4_t, to: &mut [f32]| -> () {
            let (len, to) = (to.len(), to.as_mut_ptr());
            match len {
                0 => {}
                1 => vst1q_lane_f32::<0>(to, v),
                2 => vst1_f32(to, vget_low_f32(v)),
                3 => {
                    vst1_f32(to, vget_low_f32(v));
                    vst1q_lane_f32::<2>(to.add(2), v);
                }
                4 => vst1q_f32(to, v),
                _ => too_long(),
            }
        }
        first = |v: float32x4_t| -> f32 { vgetq_lane_f32::<0>(v) }
        fold = |sums: [float32x4_t; 16]| -> f32 {
            let fours = vaddq_f32(vaddq_f32(sums[0], sums[2]), vaddq_f32(sums[1], sums[3]));
            vpadds_f32(vadd_f32(vget_low_f32(fours), vget_high_f32(fours)))
        }
    }
}

#[cold]
#[inline(never)]
fn too_long() -> ! {
    panic!("a part has at most as many elements as the vector has lanes")
}
