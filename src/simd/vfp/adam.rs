//! Adam's step.

use crate::optimizer::AdamScalars;
use core::arch::naked_asm;

/// Four divisors, of some roots: each times s6, plus `$epsilon`. It takes two instructions less than [`divisor4`], and with VMLA
/// more cycles.
macro_rules! short_divisor4 {
    ($epsilon:literal, $d:literal $e:literal, $($divisor:literal)+, $($root:literal)+) => {
        concat!(
            "vmov ", $d, ", ", $epsilon, ", ", $epsilon, "\n",
            "vmov ", $e, ", ", $epsilon, ", ", $epsilon, "\n",
            $(add_product!(), $divisor, ", s6, ", $root, "\n",)+
        )
    };
}

/// The same instruction on some registers, one after the other.
macro_rules! all {
    ($($instruction:expr => $($registers:literal)+;)+) => {
        concat!($($($instruction, $registers, "\n",)+)+)
    };
}

/// Eight parameters on, x in s0 and the scalars in s1 to s7; the registers lead to δ, m, v and w, each to what is next in the end.
macro_rules! eight {
    ($delta:literal $m:literal $v:literal $w:literal, $epsilon:literal $zero:literal) => {
        concat!(
            gradient8!($delta, $zero),
            "vldmia ", $m, ", {{s16-s23}}\n",
            all!(
                "vmul.f32 " => "s24, s2, s8" "s25, s2, s9" "s26, s2, s10" "s27, s2, s11"
                    "s28, s2, s12" "s29, s2, s13" "s30, s2, s14" "s31, s2, s15";
                add_product!() => "s24, s1, s16" "s25, s1, s17" "s26, s1, s18" "s27, s1, s19"
                    "s28, s1, s20" "s29, s1, s21" "s30, s1, s22" "s31, s1, s23"; // m
            ),
            "vstmia ", $m, "!, {{s24-s31}}\n",
            all!(
                "vmul.f32 " => "s16, s4, s8" "s17, s4, s9" "s18, s4, s10" "s19, s4, s11"
                    "s20, s4, s12" "s21, s4, s13" "s22, s4, s14" "s23, s4, s15"
                    "s8, s16, s8" "s9, s17, s9" "s10, s18, s10" "s11, s19, s11"
                    "s12, s20, s12" "s13, s21, s13" "s14, s22, s14" "s15, s23, s15";
            ),
            "vldmia ", $v, ", {{s16-s23}}\n",
            all!(
                add_product!() => "s8, s3, s16" "s9, s3, s17" "s10, s3, s18" "s11, s3, s19"
                    "s12, s3, s20" "s13, s3, s21" "s14, s3, s22" "s15, s3, s23"; // v
            ),
            "vstmia ", $v, "!, {{s8-s15}}\n",
            all!(
                "vsqrt.f32 " => "s8, s8" "s9, s9" "s10, s10" "s11, s11" "s12, s12" "s13, s13" "s14, s14" "s15, s15";
                "vmul.f32 " => "s24, s5, s24" "s25, s5, s25" "s26, s5, s26" "s27, s5, s27"
                    "s28, s5, s28" "s29, s5, s29" "s30, s5, s30" "s31, s5, s31";
            ),
            divisor4!("s16" "s17" "s18" "s19", "s8" "s9" "s10" "s11"),
            short_divisor4!($epsilon, "d10" "d11", "s20" "s21" "s22" "s23", "s12" "s13" "s14" "s15"),
            "vldmia ", $w, ", {{s8-s15}}\n",
            all!(
                "vdiv.f32 " => "s24, s24, s16" "s25, s25, s17" "s26, s26, s18" "s27, s27, s19"
                    "s28, s28, s20" "s29, s29, s21" "s30, s30, s22" "s31, s31, s23";
                "vadd.f32 " => "s8, s8, s24" "s9, s9, s25" "s10, s10, s26" "s11, s11, s27"
                    "s12, s12, s28" "s13, s13, s29" "s14, s14, s30" "s15, s15, s31";
            ),
            "vstmia ", $w, "!, {{s8-s15}}\n",
        )
    };
}

/// The same for four.
macro_rules! four {
    ($delta:literal $m:literal $v:literal $w:literal, $zero:literal) => {
        concat!(
            gradient4!($delta, $zero),
            "vldmia ", $m, ", {{s16-s19}}\n",
            all!(
                "vmul.f32 " => "s24, s2, s8" "s25, s2, s9" "s26, s2, s10" "s27, s2, s11";
                add_product!() => "s24, s1, s16" "s25, s1, s17" "s26, s1, s18" "s27, s1, s19";
            ),
            "vstmia ", $m, "!, {{s24-s27}}\n",
            "vldmia ", $v, ", {{s16-s19}}\n",
            all!(
                "vmul.f32 " => "s12, s4, s8" "s13, s4, s9" "s14, s4, s10" "s15, s4, s11"
                    "s8, s12, s8" "s9, s13, s9" "s10, s14, s10" "s11, s15, s11";
                add_product!() => "s8, s3, s16" "s9, s3, s17" "s10, s3, s18" "s11, s3, s19";
            ),
            "vstmia ", $v, "!, {{s8-s11}}\n",
            all!(
                "vsqrt.f32 " => "s8, s8" "s9, s9" "s10, s10" "s11, s11";
                "vmul.f32 " => "s24, s5, s24" "s25, s5, s25" "s26, s5, s26" "s27, s5, s27";
            ),
            divisor4!("s16" "s17" "s18" "s19", "s8" "s9" "s10" "s11"),
            "vldmia ", $w, ", {{s8-s11}}\n",
            all!(
                "vdiv.f32 " => "s24, s24, s16" "s25, s25, s17" "s26, s26, s18" "s27, s27, s19";
                "vadd.f32 " => "s8, s8, s24" "s9, s9, s25" "s10, s10, s26" "s11, s11, s27";
            ),
            "vstmia ", $w, "!, {{s8-s11}}\n",
        )
    };
}

/// Adam's step for `rows` rows of `n` parameters w that lie one after the other, with their moments m and v: row k has the
/// gradient g = `x[k]·delta[j] + 0`, and the rest is as [`Rule::Adam`](crate::optimizer::Rule) says. `n` is a multiple of
/// 4, at least 4, and there is at least one row; in portable arithmetic no m is −0, and β₁ is above 1/2.
///
/// # Safety
/// All that is named is there.
#[unsafe(naked)]
pub(in crate::simd::vfp) unsafe extern "C" fn adam(
    w: *mut f32,
    m: *mut f32,
    v: *mut f32,
    delta: *const f32,
    n: usize,
    scalars: *const AdamScalars,
    x: *const f32,
    rows: usize,
) {
    naked_asm!(
        fpu!(),
        "push    {{r4-r9}}",
        "vpush   {{s16-s31}}",
        "ldrd    r5, r8, [sp, #88]", // n, scalars
        "ldrd    r6, r7, [sp, #96]", // x, rows
        "vldmia  r8, {{s1-s7}}",
        "vmov    r8, s7",
        "mov     r9, #0",
        "1:",
        "vldmia  r6!, {{s0}}",
        "mov     r4, r3",
        "subs    r12, r5, #8",
        "blt     4f", // four only
        "2:",
        eight!("r4" "r1" "r2" "r0", "r8" "r9"),
        "subs    r12, r12, #8",
        "bge     2b",
        "cmp     r12, #-8", // what is left: four, or none
        "bne     4f",
        "3:",
        "subs    r7, r7, #1",
        "bne     1b",
        "vpop    {{s16-s31}}",
        "pop     {{r4-r9}}",
        "bx      lr",
        "4:",
        four!("r4" "r1" "r2" "r0", "r9"),
        "b       3b",
    )
}

/// The rows of a layer above another: [`adam`], and before a row is updated its product with the delta, see
/// [`products_and_update`](super::rows::products_and_update). Here `width` is what is `n` there.
///
/// # Safety
/// All that is named is there. Products may lie where x is.
#[unsafe(naked)]
pub(in crate::simd::vfp) unsafe extern "C" fn products_and_adam(
    x: *const f32,
    n: usize,
    w: *mut f32,
    width: usize,
    delta: *const f32,
    products: *mut f32,
    all: bool,
    m: *mut f32,
    v: *mut f32,
    scalars: *const AdamScalars,
) {
    naked_asm!(
        fpu!(),
        "push    {{r4-r11, lr}}",
        "vpush   {{s16-s31}}",
        "ldrd    r4, r5, [sp, #100]",  // delta, products
        "ldrb    r6, [sp, #108]",      // whether all are wanted
        "ldrd    r11, lr, [sp, #112]", // m, v; scalars at [sp, #120]
        "1:",
        "ldr     r7, [r0], #4",
        "cbnz    r6, 2f",
        "mov     r12, #0",
        "cmp     r7, #0x7f800000", // above that are negative numbers and NaNs
        "bhi     7f",
        "cmp     r7, #0",
        "beq     7f",
        "2:",
        product!(),
        "6:",
        "ldr     r12, [sp, #120]",
        "vmov    s0, r7",
        "vldmia  r12, {{s1-s7}}",
        "vmov    r9, s7",
        "mov     r12, #0",
        "mov     r10, r4",
        "subs    r8, r3, #8",
        "blt     72f", // four only
        "71:",
        eight!("r10" "r11" "lr" "r2", "r9" "r12"),
        "subs    r8, r8, #8",
        "bge     71b",
        "cmp     r8, #-8", // what is left: four, or none
        "beq     73f",
        "72:",
        four!("r10" "r11" "lr" "r2", "r12"),
        "73:",
        "subs    r1, r1, #1",
        "bne     1b",
        "vpop    {{s16-s31}}",
        "pop     {{r4-r11, pc}}",
        "7:",
        "str     r12, [r5], #4",
        "b       6b",
    )
}
