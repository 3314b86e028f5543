//! The forward pass: sums over the rows of W, and what follows them.

use core::arch::naked_asm;

/// Eight weights times `$x`, added to eight sums.
macro_rules! terms8 {
    ($x:literal: $a:literal $b:literal $c:literal $d:literal $e:literal $f:literal $g:literal $h:literal) => {
        concat!(
            "vldmia r8!, {{s16-s23}}\n",
            add_products!(
                $a "s16" $x "s16", $b "s17" $x "s17", $c "s18" $x "s18", $d "s19" $x "s19",
                $e "s20" $x "s20", $f "s21" $x "s21", $g "s22" $x "s22", $h "s23" $x "s23"
            ),
        )
    };
}

/// One row of sixteen weights times `$x`, added to the sums; r3 leads to the next row.
macro_rules! row16 {
    ($x:literal) => {
        concat!(
            terms8!($x: "s0" "s1" "s2" "s3" "s4" "s5" "s6" "s7"),
            terms8!($x: "s8" "s9" "s10" "s11" "s12" "s13" "s14" "s15"),
            "add     r8, r8, r3\n",
        )
    };
}

/// `sums[16b + j] = Σₖ x[k]·w[k·w_step + 16b + j]` for `blocks` blocks b, each sum one chain from +0. The step is in
/// bytes; `n` terms, at least one, and at least one block.
///
/// # Safety
/// All that the formula reads and writes is there.
#[unsafe(naked)]
pub(in crate::simd::vfp) unsafe extern "C" fn sums16(
    x: *const f32,
    n: usize,
    w: *const f32,
    w_step: usize,
    sums: *mut f32,
    blocks: usize,
) {
    naked_asm!(
        fpu!(),
        "push    {{r4-r10, lr}}",
        "vpush   {{s16-s27}}",
        "ldr     r5, [sp, #80]", // sums
        "ldr     r6, [sp, #84]", // blocks
        "sub     r3, r3, #64",
        "lsr     r10, r1, #2",
        "and     r1, r1, #3",
        "2:",
        "mov     r7, r0",
        "mov     r8, r2",
        zero16!(),
        "movs    r9, r10",
        "beq     4f",
        "3:",
        "vldmia  r7!, {{s24-s27}}",
        row16!("s24"),
        row16!("s25"),
        row16!("s26"),
        row16!("s27"),
        "subs    r9, r9, #1",
        "bne     3b",
        "4:",
        "movs    r9, r1",
        "beq     6f",
        "5:",
        "vldmia  r7!, {{s24}}",
        row16!("s24"),
        "subs    r9, r9, #1",
        "bne     5b",
        "6:",
        "vstmia  r5!, {{s0-s15}}",
        "add     r2, r2, #64",
        "subs    r6, r6, #1",
        "bne     2b",
        "vpop    {{s16-s27}}",
        "pop     {{r4-r10, pc}}",
    )
}

/// [`sums16`] for four columns.
///
/// # Safety
/// As there.
#[unsafe(naked)]
pub(in crate::simd::vfp) unsafe extern "C" fn sums4(
    x: *const f32,
    n: usize,
    w: *const f32,
    w_step: usize,
    sums: *mut f32,
) {
    naked_asm!(
        fpu!(),
        "mov     r12, #0",
        "vmov    d0, r12, r12",
        "vmov    d1, r12, r12",
        "2:",
        "vldmia  r0!, {{s8}}",
        "vldmia  r2, {{s4-s7}}",
        "add     r2, r2, r3",
        add_products!("s0" "s4" "s8" "s4", "s1" "s5" "s8" "s5", "s2" "s6" "s8" "s6", "s3" "s7" "s8" "s7"),
        "subs    r1, r1, #1",
        "bne     2b",
        "ldr     r12, [sp]",
        "vstmia  r12, {{s0-s3}}",
        "bx      lr",
    )
}

/// Four weights times `$x`, added to four sums.
macro_rules! terms4 {
    ($x:literal: $a:literal $b:literal $c:literal $d:literal) => {
        concat!(
            "vldmia r2, {{s20-s23}}\n",
            "add r2, r2, r3\n",
            add_products!($a "s20" $x "s20", $b "s21" $x "s21", $c "s22" $x "s22", $d "s23" $x "s23"),
        )
    };
}

/// `sums[j] = Σₖ x[k]·w[k·w_step + j]` for four columns j, each in four chains from +0 by k mod 4, joined
/// (0+1)+(2+3). The step is in bytes; any number of terms.
///
/// # Safety
/// All that the formula reads and writes is there.
#[unsafe(naked)]
pub(in crate::simd::vfp) unsafe extern "C" fn four_chains4(
    x: *const f32,
    n: usize,
    w: *const f32,
    w_step: usize,
    sums: *mut f32,
) {
    naked_asm!(
        fpu!(),
        "vpush   {{s16-s23}}",
        zero16!(),
        "subs    r1, r1, #4",
        "blt     3f",
        "2:",
        "vldmia  r0!, {{s16-s19}}",
        terms4!("s16": "s0" "s1" "s2" "s3"),
        terms4!("s17": "s4" "s5" "s6" "s7"),
        terms4!("s18": "s8" "s9" "s10" "s11"),
        terms4!("s19": "s12" "s13" "s14" "s15"),
        "subs    r1, r1, #4",
        "bge     2b",
        "3:",
        "adds    r1, r1, #4", // what is left: fewer than four
        "beq     4f",
        "vldmia  r0!, {{s16}}",
        terms4!("s16": "s0" "s1" "s2" "s3"),
        "subs    r1, r1, #1",
        "beq     4f",
        "vldmia  r0!, {{s16}}",
        terms4!("s16": "s4" "s5" "s6" "s7"),
        "subs    r1, r1, #1",
        "beq     4f",
        "vldmia  r0!, {{s16}}",
        terms4!("s16": "s8" "s9" "s10" "s11"),
        "4:",
        "vpop    {{s16-s23}}",
        "vadd.f32 s0, s0, s4",
        "vadd.f32 s1, s1, s5",
        "vadd.f32 s2, s2, s6",
        "vadd.f32 s3, s3, s7",
        "vadd.f32 s8, s8, s12",
        "vadd.f32 s9, s9, s13",
        "vadd.f32 s10, s10, s14",
        "vadd.f32 s11, s11, s15",
        "vadd.f32 s0, s0, s8",
        "vadd.f32 s1, s1, s9",
        "vadd.f32 s2, s2, s10",
        "vadd.f32 s3, s3, s11",
        "ldr     r12, [sp]",
        "vstmia  r12, {{s0-s3}}",
        "bx      lr",
    )
}

/// [`four_chains4`] for sixteen columns, chain after chain.
///
/// # Safety
/// As there.
#[unsafe(naked)]
pub(in crate::simd::vfp) unsafe extern "C" fn four_chains16(
    x: *const f32,
    n: usize,
    w: *const f32,
    w_step: usize,
    sums: *mut f32,
) {
    /// Sixteen sums and what another chain has left at `$at`.
    macro_rules! join {
        ($at:literal) => {
            concat!(
                "vldmia ", $at, ", {{s16-s31}}\n",
                each!("vadd.f32": "s0" "s16" "s0", "s1" "s17" "s1", "s2" "s18" "s2", "s3" "s19" "s3"),
                each!("vadd.f32": "s4" "s20" "s4", "s5" "s21" "s5", "s6" "s22" "s6", "s7" "s23" "s7"),
                each!("vadd.f32": "s8" "s24" "s8", "s9" "s25" "s9", "s10" "s26" "s10", "s11" "s27" "s11"),
                each!("vadd.f32": "s12" "s28" "s12", "s13" "s29" "s13", "s14" "s30" "s14", "s15" "s31" "s15"),
            )
        };
    }
    naked_asm!(
        fpu!(),
        "push    {{r4-r10, lr}}",
        "vpush   {{s16-s31}}",
        "ldr     r5, [sp, #96]", // sums
        "sub     sp, sp, #64",
        "mov     r4, r3",
        "lsl     r3, r3, #2",
        "sub     r3, r3, #64", // to the next row of a chain
        "add     r1, r1, #3",
        "mov     r6, #4", // chains that are to come
        "1:",
        "mov     r7, r0",
        "mov     r8, r2",
        zero16!(),
        "lsr     r9, r1, #2", // its terms
        "subs    r9, r9, #2",
        "blt     3f",
        "2:",
        "vldr    s24, [r7]",
        "vldr    s25, [r7, #16]",
        "add     r7, r7, #32",
        row16!("s24"),
        row16!("s25"),
        "subs    r9, r9, #2",
        "bge     2b",
        "3:",
        "adds    r9, r9, #1",
        "bne     4f",
        "vldr    s24, [r7]", // an odd one
        row16!("s24"),
        "4:",
        "add     r0, r0, #4",
        "add     r2, r2, r4",
        "sub     r1, r1, #1",
        "subs    r6, r6, #1",
        "beq     7f",
        "cmp     r6, #2",
        "blt     6f",
        "beq     5f",
        "vstmia  r5, {{s0-s15}}", // chain 0
        "b       1b",
        "5:", // chain 1
        join!("r5"),
        "vstmia  r5, {{s0-s15}}",
        "b       1b",
        "6:", // chain 2
        "vstmia  sp, {{s0-s15}}",
        "b       1b",
        "7:",
        join!("sp"),
        join!("r5"),
        "vstmia  r5, {{s0-s15}}",
        "add     sp, sp, #64",
        "vpop    {{s16-s31}}",
        "pop     {{r4-r10, pc}}",
    )
}

/// `y[j] = y[j] + bias[j]`, and where that is below zero, +0. `n` is a multiple of 8, at least 8; y are sums from +0.
///
/// # Safety
/// Both have `n` elements.
#[unsafe(naked)]
pub(in crate::simd::vfp) unsafe extern "C" fn add_bias_relu(y: *mut f32, bias: *const f32, n: usize) {
    naked_asm!(
        fpu!(),
        "push    {{r4-r11}}",
        nan_of_one_sign!("r3" "r12"),
        "2:",
        "vldmia  r0, {{s0-s7}}",
        "vldmia  r1!, {{s8-s15}}",
        bias_relu8!("s8" "s9" "s10" "s11" "s12" "s13" "s14" "s15" => "r4" "r5" "r6" "r7" "r8" "r9" "r10" "r11"),
        "stmia   r0!, {{r4-r11}}",
        "subs    r2, r2, #8",
        "bne     2b",
        "vmsr    FPSCR, r3",
        "pop     {{r4-r11}}",
        "bx      lr",
    )
}
