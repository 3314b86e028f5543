//! The rows of a layer above another: what each passes on below, and then its update.

use core::arch::naked_asm;

/// Eight weights from r9 on times eight deltas from r10 on, added to eight sums.
macro_rules! terms8 {
    ($a:literal $b:literal $c:literal $d:literal $e:literal $f:literal $g:literal $h:literal) => {
        concat!(
            "vldmia r9!, {{s16-s23}}\n",
            "vldmia r10!, {{s24-s31}}\n",
            add_products!(
                $a "s16" "s24" "s16", $b "s17" "s25" "s17", $c "s18" "s26" "s18", $d "s19" "s27" "s19",
                $e "s20" "s28" "s20", $f "s21" "s29" "s21", $g "s22" "s30" "s22", $h "s23" "s31" "s23"
            ),
        )
    };
}

/// The same for four.
macro_rules! terms4 {
    ($a:literal $b:literal $c:literal $d:literal) => {
        concat!(
            "vldmia r9!, {{s16-s19}}\n",
            "vldmia r10!, {{s24-s27}}\n",
            add_products!($a "s16" "s24" "s16", $b "s17" "s25" "s17", $c "s18" "s26" "s18", $d "s19" "s27" "s19"),
        )
    };
}

/// The row at r2, as long as r3 says, plus those at r4 times r11 times r7; r2 is at the next row then.
macro_rules! update_row {
    () => {
        concat!(
            "vmov s30, r7\n",
            "vmov s31, r11\n",
            "vmul.f32 s31, s31, s30\n",
            "mov r10, r4\n",
            "subs r8, r3, #8\n",
            "blt 62f\n",
            "61:\n",
            "vldmia r10!, {{s0-s7}}\n",
            "vldmia r2, {{s8-s15}}\n",
            add_products!("s8" "s31" "s0" "s0", "s9" "s31" "s1" "s1", "s10" "s31" "s2" "s2", "s11" "s31" "s3" "s3"),
            add_products!("s12" "s31" "s4" "s4", "s13" "s31" "s5" "s5", "s14" "s31" "s6" "s6", "s15" "s31" "s7" "s7"),
            "vstmia r2!, {{s8-s15}}\n",
            "subs r8, r8, #8\n",
            "bge 61b\n",
            "62:\n",
            "adds r8, r8, #4\n",
            "blt 63f\n",
            "vldmia r10, {{s0-s3}}\n",
            "vldmia r2, {{s8-s11}}\n",
            add_products!("s8" "s31" "s0" "s0", "s9" "s31" "s1" "s1", "s10" "s31" "s2" "s2", "s11" "s31" "s3" "s3"),
            "vstmia r2!, {{s8-s11}}\n",
            "63:\n",
        )
    };
}

/// The product of the row at r2, as long as r3 says, and the delta at r4: to r5. Labels 3 to 5 and 22 are used, and r8 to r10 and r12.
macro_rules! product {
    () => {
        concat!(
            "mov     r9, r2\n",
            "mov     r10, r4\n",
            "lsrs    r8, r3, #4\n",
            "beq     3f\n",
            first16!(),
            "subs    r8, r8, #1\n",
            "beq     4f\n",
            "22:\n",
            terms8!("s0" "s1" "s2" "s3" "s4" "s5" "s6" "s7"),
            terms8!("s8" "s9" "s10" "s11" "s12" "s13" "s14" "s15"),
            "subs    r8, r8, #1\n",
            "bne     22b\n",
            "b       4f\n",
            "3:\n",
            zero16!(),
            "4:\n",
            "ands    r8, r3, #12\n",
            "beq     5f\n",
            terms4!("s0" "s1" "s2" "s3"),
            "subs    r8, r8, #4\n",
            "beq     5f\n",
            terms4!("s4" "s5" "s6" "s7"),
            "subs    r8, r8, #4\n",
            "beq     5f\n",
            terms4!("s8" "s9" "s10" "s11"),
            "5:\n",
            each!("vadd.f32": "s0" "s0" "s8", "s1" "s1" "s9", "s2" "s2" "s10", "s3" "s3" "s11"),
            each!("vadd.f32": "s4" "s4" "s12", "s5" "s5" "s13", "s6" "s6" "s14", "s7" "s7" "s15"),
            each!("vadd.f32": "s0" "s0" "s4", "s1" "s1" "s5", "s2" "s2" "s6", "s3" "s3" "s7"),
            each!("vadd.f32": "s0" "s0" "s2", "s1" "s1" "s3", "s0" "s0" "s1"),
            from_zero!(),
            "vstmia  r5!, {{s0}}\n",
        )
    };
}

/// For `n` rows of `width` weights: `products[k] = Σⱼ w[k][j]·delta[j]`, in sixteen partial sums from +0 by j mod 16
/// which fold 8-4-2-1, but +0 unless `x[k]` is above zero. Then `w[k][j] += (minus_rate·x[k])·delta[j]` where `x[k]` is not ±0.
/// `width` is a multiple of 4; it and `n` are at least 1.
///
/// # Safety
/// All that this reads and writes is there. Products may lie where x is.
#[unsafe(naked)]
pub(in crate::simd::vfp) unsafe extern "C" fn products_and_update(
    x: *const f32,
    n: usize,
    w: *mut f32,
    width: usize,
    minus_rate: f32,
    delta: *const f32,
    products: *mut f32,
) {
    naked_asm!(
        fpu!(),
        "push    {{r4-r11, lr}}",
        "vpush   {{s16-s31}}",
        "vmov    r11, s0",
        "ldrd    r4, r5, [sp, #100]", // delta, products
        "1:",
        "ldr     r7, [r0], #4",
        "cmp     r7, #0x7f800000", // above that are negative numbers and NaNs
        "bhi     8f",
        "cbnz    r7, 2f",
        "str     r7, [r5], #4",
        "9:", // without an update
        "add     r2, r2, r3, lsl #2",
        "subs    r1, r1, #1",
        "bne     1b",
        "b       10f",
        "8:",
        "mov     r12, #0",
        "str     r12, [r5], #4",
        "lsls    r12, r7, #1",
        "beq     9b",
        "b       6f",
        "2:",
        product!(),
        "6:",
        update_row!(),
        "subs    r1, r1, #1",
        "bne     1b",
        "10:",
        "vpop    {{s16-s31}}",
        "pop     {{r4-r11, pc}}",
    )
}
