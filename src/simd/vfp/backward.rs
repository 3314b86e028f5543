//! The backward pass: deltas below, and the optimizer's step in each row of W.

use core::arch::naked_asm;

/// A row of sixteen, whose x is in `$x`; one of ±0 goes to `$zero`, which comes back to `$next`.
macro_rules! update_row16 {
    ($x:literal, $zero:literal, $next:literal) => {
        concat!(
            "lsls r12, ", $x, ", #1\n",
            "beq ", $zero, "f\n",
            "vmov s24, ", $x, "\n",
            "vmul.f32 s24, s25, s24\n",
            update8!("s0" "s1" "s2" "s3" "s4" "s5" "s6" "s7"),
            update8!("s8" "s9" "s10" "s11" "s12" "s13" "s14" "s15"),
            "add r8, r8, r10\n",
            $next, ":\n",
        )
    };
}

/// `w[k·w_step + 16b + j] += (minus_rate·x[k])·delta[16b + j]` for `n` rows k whose x is not ±0, and `blocks` blocks b;
/// at least one of each. Then `bias[16b + j] += minus_rate·delta[16b + j]`, unless `bias` is null. The step is in bytes.
///
/// # Safety
/// All that the formulas read and write is there.
#[unsafe(naked)]
pub(in crate::simd::vfp) unsafe extern "C" fn update16(
    x: *const f32,
    n: usize,
    w: *mut f32,
    w_step: usize,
    minus_rate: f32,
    delta: *const f32,
    blocks: usize,
    bias: *mut f32,
) {
    naked_asm!(
        fpu!(),
        "push    {{r4-r11, lr}}",
        "vpush   {{s16-s29}}",
        "vmov    s25, s0",
        "ldr     r4, [sp, #92]", // delta
        "sub     r10, r3, #64",
        "20:",
        "vldmia  r4!, {{s0-s15}}",
        "mov     r8, r2",
        "mov     r6, r0",
        "subs    r7, r1, #2",
        "blt     22f",
        "21:",
        "ldrd    r9, r11, [r6], #8",
        update_row16!("r9", "31", "41"),
        update_row16!("r11", "32", "42"),
        "subs    r7, r7, #2",
        "bge     21b",
        "22:",
        "adds    r7, r7, #1",
        "bne     23f",
        "ldr     r9, [r6]", // an odd one
        update_row16!("r9", "23", "43"),
        "23:",
        "ldr     r5, [sp, #100]", // bias
        "cbz     r5, 24f",
        "mov     r8, r5",
        "vmov.f32 s24, s25",
        update8!("s0" "s1" "s2" "s3" "s4" "s5" "s6" "s7"),
        update8!("s8" "s9" "s10" "s11" "s12" "s13" "s14" "s15"),
        "str     r8, [sp, #100]",
        "24:",
        "ldr     r5, [sp, #96]", // blocks
        "add     r2, r2, #64",
        "subs    r5, r5, #1",
        "str     r5, [sp, #96]",
        "bne     20b",
        "vpop    {{s16-s29}}",
        "pop     {{r4-r11, pc}}",
        "31: add r8, r8, r3",
        "b       41b",
        "32: add r8, r8, r3",
        "b       42b",
    )
}

/// One output above ReLUs: for `n` values y, at least one, `y = y > 0 ? w·delta : +0`, and where y was not ±0,
/// `w += (minus_rate·y)·delta`.
///
/// # Safety
/// Both slices have `n` elements.
#[unsafe(naked)]
pub(in crate::simd::vfp) unsafe extern "C" fn one_output_relu(
    values: *mut f32,
    w: *mut f32,
    n: usize,
    delta: f32,
    minus_rate: f32,
) {
    naked_asm!(
        fpu!(),
        "mov     r12, #0",
        "vmov    s6, r12",
        "2:",
        "ldr     r3, [r0]",
        "cbz     r3, 4f",
        "vmov    s3, r3",
        "vldr    s2, [r1]",
        "cmp     r3, #0x7f800000", // above that are negative numbers and NaNs
        "vmul.f32 s4, s2, s0",
        "vadd.f32 s4, s4, s6", // +0 for −0
        "bhi     5f",
        "3:",
        "vmul.f32 s5, s1, s3",
        concat!(add_product!(), "s2, s5, s0"),
        "vstmia  r0!, {{s4}}",
        "vstmia  r1!, {{s2}}",
        "subs    r2, r2, #1",
        "bne     2b",
        "bx      lr",
        "4:",
        "adds    r0, r0, #4",
        "adds    r1, r1, #4",
        "subs    r2, r2, #1",
        "bne     2b",
        "bx      lr",
        "5:",
        "vmov.f32 s4, s6",
        "lsls    r3, r3, #1",
        "bne     3b",
        "str     r12, [r0]",
        "b       4b",
    )
}

/// `w[j] = w[j] + step·delta[j]` for `n` elements, a multiple of 4, at least 4.
///
/// # Safety
/// Both have `n` elements.
#[unsafe(naked)]
pub(in crate::simd::vfp) unsafe extern "C" fn add_scaled(w: *mut f32, delta: *const f32, n: usize, step: f32) {
    naked_asm!(
        fpu!(),
        "2:",
        "vldmia  r1!, {{s4-s7}}",
        "vldmia  r0, {{s8-s11}}",
        add_products!("s8" "s0" "s4" "s4", "s9" "s0" "s5" "s5", "s10" "s0" "s6" "s6", "s11" "s0" "s7" "s7"),
        "vstmia  r0!, {{s8-s11}}",
        "subs    r2, r2, #4",
        "bne     2b",
        "bx      lr",
    )
}

/// The dot product of `groups` groups of 16, at least one: sixteen partial sums from +0, which fold 8-4-2-1.
///
/// # Safety
/// Both have `16·groups` elements.
#[unsafe(naked)]
pub(in crate::simd::vfp) unsafe extern "C" fn dot16(a: *const f32, b: *const f32, groups: usize) -> f32 {
    macro_rules! terms8 {
        ($a:literal $b:literal $c:literal $d:literal $e:literal $f:literal $g:literal $h:literal) => {
            concat!(
                "vldmia r0!, {{s16-s23}}\n",
                "vldmia r1!, {{s24-s31}}\n",
                add_products!(
                    $a "s16" "s24" "s16", $b "s17" "s25" "s17", $c "s18" "s26" "s18", $d "s19" "s27" "s19",
                    $e "s20" "s28" "s20", $f "s21" "s29" "s21", $g "s22" "s30" "s22", $h "s23" "s31" "s23"
                ),
            )
        };
    }
    naked_asm!(
        fpu!(),
        "vpush   {{s16-s31}}",
        zero16!(),
        "2:",
        terms8!("s0" "s1" "s2" "s3" "s4" "s5" "s6" "s7"),
        terms8!("s8" "s9" "s10" "s11" "s12" "s13" "s14" "s15"),
        "subs    r2, r2, #1",
        "bne     2b",
        "vpop    {{s16-s31}}",
        "vadd.f32 s0, s0, s8",
        "vadd.f32 s1, s1, s9",
        "vadd.f32 s2, s2, s10",
        "vadd.f32 s3, s3, s11",
        "vadd.f32 s4, s4, s12",
        "vadd.f32 s5, s5, s13",
        "vadd.f32 s6, s6, s14",
        "vadd.f32 s7, s7, s15",
        "vadd.f32 s0, s0, s4",
        "vadd.f32 s1, s1, s5",
        "vadd.f32 s2, s2, s6",
        "vadd.f32 s3, s3, s7",
        "vadd.f32 s0, s0, s2",
        "vadd.f32 s1, s1, s3",
        "vadd.f32 s0, s0, s1",
        "bx      lr",
    )
}
