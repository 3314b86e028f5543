//! A layer whose weights are stored by output: sums along rows, and the update of rows whose delta is not ±0.

use core::arch::naked_asm;

/// Weights of two rows, in some registers each, times x, added to `$a` and `$b`, term by term.
macro_rules! two_rows {
    ($a:literal $b:literal: $($x:literal $wa:literal $wb:literal),+) => {
        concat!($(add_products!($a $wa $x $wa, $b $wb $x $wb)),+)
    };
}

/// Eight terms of two rows; x is in s8 to s15.
macro_rules! eight {
    ($a:literal $ra:literal, $b:literal $rb:literal) => {
        concat!(
            "vldmia ", $ra, "!, {{s16-s23}}\n",
            "vldmia ", $rb, "!, {{s24-s31}}\n",
            two_rows!($a $b: "s8" "s16" "s24", "s9" "s17" "s25", "s10" "s18" "s26", "s11" "s19" "s27",
                "s12" "s20" "s28", "s13" "s21" "s29", "s14" "s22" "s30", "s15" "s23" "s31"),
        )
    };
}

/// Four terms of four rows; x is in s8 to s11.
macro_rules! four {
    ($a:literal $ra:literal, $b:literal $rb:literal, $c:literal $rc:literal, $d:literal $rd:literal) => {
        concat!(
            "vldmia ", $ra, "!, {{s16-s19}}\n",
            "vldmia ", $rb, "!, {{s20-s23}}\n",
            "vldmia ", $rc, "!, {{s24-s27}}\n",
            "vldmia ", $rd, "!, {{s28-s31}}\n",
            add_products!($a "s16" "s8" "s16", $b "s20" "s8" "s20", $c "s24" "s8" "s24", $d "s28" "s8" "s28"),
            add_products!($a "s17" "s9" "s17", $b "s21" "s9" "s21", $c "s25" "s9" "s25", $d "s29" "s9" "s29"),
            add_products!($a "s18" "s10" "s18", $b "s22" "s10" "s22", $c "s26" "s10" "s26", $d "s30" "s10" "s30"),
            add_products!($a "s19" "s11" "s19", $b "s23" "s11" "s23", $c "s27" "s11" "s27", $d "s31" "s11" "s31"),
        )
    };
}

/// `sums[j] = Σₖ x[k]·w[j·w_step + k]` for four rows j, each sum one chain from +0. The step is in bytes; any number of terms.
///
/// # Safety
/// All that the formula reads and writes is there.
#[unsafe(naked)]
pub(in crate::simd::vfp) unsafe extern "C" fn row_sums4(
    x: *const f32,
    n: usize,
    w: *const f32,
    w_step: usize,
    sums: *mut f32,
) {
    naked_asm!(
        fpu!(),
        "push    {{r4, r5}}",
        "vpush   {{s16-s31}}",
        "add     r4, r2, r3",
        "add     r5, r4, r3",
        "add     r3, r5, r3",
        "mov     r12, #0",
        "vmov    d0, r12, r12",
        "vmov    d1, r12, r12",
        "subs    r1, r1, #4",
        "blt     3f",
        "2:",
        "vldmia  r0!, {{s8-s11}}",
        four!("s0" "r2", "s1" "r4", "s2" "r5", "s3" "r3"),
        "subs    r1, r1, #4",
        "bge     2b",
        "3:",
        "adds    r1, r1, #4", // what is left: fewer than four
        "beq     6f",
        "5:",
        "vldmia  r0!, {{s8}}",
        "vldmia  r2!, {{s16}}",
        "vldmia  r4!, {{s17}}",
        "vldmia  r5!, {{s18}}",
        "vldmia  r3!, {{s19}}",
        add_products!("s0" "s16" "s8" "s16", "s1" "s17" "s8" "s17", "s2" "s18" "s8" "s18", "s3" "s19" "s8" "s19"),
        "subs    r1, r1, #1",
        "bne     5b",
        "6:",
        "ldr     r12, [sp, #72]", // sums
        "vstmia  r12, {{s0-s3}}",
        "vpop    {{s16-s31}}",
        "pop     {{r4, r5}}",
        "bx      lr",
    )
}

/// The sums of eight rows from r2 on, in s0 to s7, and the rest of the loop over `eights`: `$store` is what becomes of them.
macro_rules! eights {
    ($store:expr) => {
        concat!(
            "1:\n",
            "add     r4, r2, r3\n",
            "add     r5, r4, r3\n",
            "add     r6, r5, r3\n",
            "add     r7, r6, r3\n",
            "add     r8, r7, r3\n",
            "add     r9, r8, r3\n",
            "add     r10, r9, r3\n",
            "add     r11, r10, r3\n", // where the next eight begin
            "mov     r12, #0\n",
            "vmov    d0, r12, r12\n",
            "vmov    d1, r12, r12\n",
            "vmov    d2, r12, r12\n",
            "vmov    d3, r12, r12\n",
            "mov     r12, r0\n",
            "subs    lr, r1, #8\n",
            "blt     3f\n",
            "2:\n",
            "vldmia  r12!, {{s8-s15}}\n",
            eight!("s0" "r2", "s1" "r4"),
            eight!("s2" "r5", "s3" "r6"),
            eight!("s4" "r7", "s5" "r8"),
            eight!("s6" "r9", "s7" "r10"),
            "subs    lr, lr, #8\n",
            "bge     2b\n",
            "3:\n",
            "adds    lr, lr, #4\n", // what is left: fewer than eight
            "blt     4f\n",
            "vldmia  r12!, {{s8-s11}}\n",
            four!("s0" "r2", "s1" "r4", "s2" "r5", "s3" "r6"),
            four!("s4" "r7", "s5" "r8", "s6" "r9", "s7" "r10"),
            "subs    lr, lr, #4\n",
            "4:\n",
            "adds    lr, lr, #4\n",
            "beq     6f\n",
            "5:\n",
            "vldmia  r12!, {{s8}}\n",
            "vldmia  r2!, {{s16}}\n",
            "vldmia  r4!, {{s17}}\n",
            "vldmia  r5!, {{s18}}\n",
            "vldmia  r6!, {{s19}}\n",
            "vldmia  r7!, {{s20}}\n",
            "vldmia  r8!, {{s21}}\n",
            "vldmia  r9!, {{s22}}\n",
            "vldmia  r10!, {{s23}}\n",
            add_products!("s0" "s16" "s8" "s16", "s1" "s17" "s8" "s17", "s2" "s18" "s8" "s18", "s3" "s19" "s8" "s19"),
            add_products!("s4" "s20" "s8" "s20", "s5" "s21" "s8" "s21", "s6" "s22" "s8" "s22", "s7" "s23" "s8" "s23"),
            "subs    lr, lr, #1\n",
            "bne     5b\n",
            "6:\n",
            $store,
            "bne 1b\n",
        )
    };
}

/// [`row_sums4`] for `eights` times eight rows, at least once.
///
/// # Safety
/// As there.
#[unsafe(naked)]
pub(in crate::simd::vfp) unsafe extern "C" fn row_sums8(
    x: *const f32,
    n: usize,
    w: *const f32,
    w_step: usize,
    sums: *mut f32,
    eights: usize,
) {
    naked_asm!(
        fpu!(),
        "push    {{r4-r11, lr}}",
        "vpush   {{s16-s31}}",
        // Sums at [sp, #100], eights at [sp, #104].
        eights!(concat!(
            "ldrd    r12, lr, [sp, #100]\n",
            "mov     r2, r11\n",
            "vstmia  r12!, {{s0-s7}}\n",
            "subs    lr, lr, #1\n",
            "strd    r12, lr, [sp, #100]\n",
        )),
        "vpop    {{s16-s31}}",
        "pop     {{r4-r11, pc}}",
    )
}

/// The same, and then a bias and ReLU.
///
/// # Safety
/// As there; there are `8·eights` elements in `bias`.
#[unsafe(naked)]
pub(in crate::simd::vfp) unsafe extern "C" fn row_sums8_relu(
    x: *const f32,
    n: usize,
    w: *const f32,
    w_step: usize,
    y: *mut f32,
    eights: usize,
    bias: *const f32,
) {
    naked_asm!(
        fpu!(),
        "push    {{r4-r11, lr}}",
        "vpush   {{s16-s31}}",
        nan_of_one_sign!("r4" "r12"),
        "push    {{r3, r4}}", // eight bytes; r3 is not looked at
        // y at [sp, #108], eights at [sp, #112], bias at [sp, #116].
        eights!(concat!(
            "ldr     r12, [sp, #116]\n",
            "vldmia  r12!, {{s8-s15}}\n",
            "str     r12, [sp, #116]\n",
            bias_relu8!("s8" "s9" "s10" "s11" "s12" "s13" "s14" "s15" => "r2" "r4" "r5" "r6" "r7" "r8" "r9" "r10"),
            "ldrd    r12, lr, [sp, #108]\n",
            "stmia   r12!, {{r2, r4-r10}}\n",
            "mov     r2, r11\n",
            "subs    lr, lr, #1\n",
            "strd    r12, lr, [sp, #108]\n",
        )),
        "pop     {{r3, r4}}",
        "vmsr    FPSCR, r4",
        "vpop    {{s16-s31}}",
        "pop     {{r4-r11, pc}}",
    )
}

/// `sums[j] = Σₖ x[k]·w[j·w_step + k]` for two rows j, each in four chains from +0 by k mod 4, joined (0+1)+(2+3). The step
/// is in bytes; any number of terms.
///
/// # Safety
/// All that the formula reads and writes is there.
#[unsafe(naked)]
pub(in crate::simd::vfp) unsafe extern "C" fn row_four_chains2(
    x: *const f32,
    n: usize,
    w: *const f32,
    w_step: usize,
    sums: *mut f32,
) {
    /// A term of both rows: chains `$a` and `$b`.
    macro_rules! term {
        ($a:literal $b:literal) => {
            concat!(
                "vldmia r0!, {{s8}}\n",
                "vldmia r2!, {{s16}}\n",
                "vldmia r3!, {{s20}}\n",
                add_products!($a "s16" "s8" "s16", $b "s20" "s8" "s20"),
            )
        };
    }
    naked_asm!(
        fpu!(),
        "vpush   {{s16-s23}}",
        "add     r3, r2, r3",
        "mov     r12, #0",
        "vmov    d0, r12, r12",
        "vmov    d1, r12, r12",
        "vmov    d2, r12, r12",
        "vmov    d3, r12, r12",
        "subs    r1, r1, #4",
        "blt     3f",
        "2:",
        "vldmia  r0!, {{s8-s11}}",
        "vldmia  r2!, {{s16-s19}}",
        "vldmia  r3!, {{s20-s23}}",
        add_products!(
            "s0" "s16" "s8" "s16", "s1" "s17" "s9" "s17", "s2" "s18" "s10" "s18", "s3" "s19" "s11" "s19",
            "s4" "s20" "s8" "s20", "s5" "s21" "s9" "s21", "s6" "s22" "s10" "s22", "s7" "s23" "s11" "s23"
        ),
        "subs    r1, r1, #4",
        "bge     2b",
        "3:",
        "adds    r1, r1, #4", // what is left: fewer than four
        "beq     4f",
        term!("s0" "s4"),
        "subs    r1, r1, #1",
        "beq     4f",
        term!("s1" "s5"),
        "subs    r1, r1, #1",
        "beq     4f",
        term!("s2" "s6"),
        "4:",
        "vpop    {{s16-s23}}",
        "vadd.f32 s0, s0, s1",
        "vadd.f32 s2, s2, s3",
        "vadd.f32 s4, s4, s5",
        "vadd.f32 s6, s6, s7",
        "vadd.f32 s0, s0, s2",
        "vadd.f32 s1, s4, s6",
        "ldr     r12, [sp]",
        "vstmia  r12, {{s0-s1}}",
        "bx      lr",
    )
}

/// A row whose delta is in `$delta`, at r8: `$update` moves r8 to its end, unless the delta is ±0.
macro_rules! update_row {
    ($delta:literal, $zero:literal, $next:literal, $update:expr) => {
        concat!(
            "lsls r12, ",
            $delta,
            ", #1\n",
            "beq ",
            $zero,
            "f\n",
            "vmov s28, ",
            $delta,
            "\n",
            $update,
            "add r8, r8, r10\n",
            $next,
            ":\n",
        )
    };
}

/// Defines the update of some columns: how many bytes they take in a row, the registers that hold x, what multiplies them by minus
/// the rate (in s28), and what updates a row.
macro_rules! update_rows {
    ($name:ident, $bytes:literal, $x:literal, $scale:expr, $update:expr) => {
        /// `w[j·w_step + k] += (minus_rate·x[k])·delta[j]` for `n` rows j whose delta is not ±0, and as many k as the name says,
        /// `blocks` times side by side; at least one of each. The step is in bytes.
        ///
        /// # Safety
        /// All that the formula reads and writes is there.
        #[unsafe(naked)]
        pub(in crate::simd::vfp) unsafe extern "C" fn $name(
            delta: *const f32,
            n: usize,
            w: *mut f32,
            w_step: usize,
            minus_rate: f32,
            x: *const f32,
            blocks: usize,
        ) {
            naked_asm!(
                fpu!(),
                "push    {{r4-r11, lr}}",
                "vpush   {{s16-s31}}",
                "vmov    r9, s0",
                "ldrd    r4, r5, [sp, #100]", // x, blocks
                concat!("sub r10, r3, #", $bytes),
                "20:",
                "vmov    s28, r9",
                concat!("vldmia r4!, {{", $x, "}}"),
                $scale,
                "mov     r8, r2",
                "mov     r6, r0",
                "mov     r7, r1",
                "tst     r7, #1",
                "bne     23f",
                "21:",
                "ldrd    r11, lr, [r6], #8",
                update_row!("r11", "31", "41", $update),
                "22:",
                update_row!("lr", "32", "42", $update),
                "subs    r7, r7, #2",
                "bgt     21b",
                concat!("add r2, r2, #", $bytes),
                "subs    r5, r5, #1",
                "bne     20b",
                "vpop    {{s16-s31}}",
                "pop     {{r4-r11, pc}}",
                "23:", // an odd one first
                "ldr     lr, [r6], #4",
                "add     r7, r7, #1",
                "b       22b",
                "31:",
                "add     r8, r8, r3",
                "b       41b",
                "32:",
                "add     r8, r8, r3",
                "b       42b",
            )
        }
    };
}

/// x times minus the rate.
macro_rules! scale4 {
    ($a:literal $b:literal $c:literal $d:literal) => {
        each!("vmul.f32": $a "s28" $a, $b "s28" $b, $c "s28" $c, $d "s28" $d)
    };
}

update_rows!(
    update20,
    "80",
    "s0-s19",
    concat!(
        scale4!("s0" "s1" "s2" "s3"),
        scale4!("s4" "s5" "s6" "s7"),
        scale4!("s8" "s9" "s10" "s11"),
        scale4!("s12" "s13" "s14" "s15"),
        scale4!("s16" "s17" "s18" "s19"),
    ),
    concat!(
        weights8!("s0" "s1" "s2" "s3" "s4" "s5" "s6" "s7"),
        weights8!("s8" "s9" "s10" "s11" "s12" "s13" "s14" "s15"),
        weights4!("s16" "s17" "s18" "s19"),
    )
);
update_rows!(
    update16,
    "64",
    "s0-s15",
    concat!(
        scale4!("s0" "s1" "s2" "s3"),
        scale4!("s4" "s5" "s6" "s7"),
        scale4!("s8" "s9" "s10" "s11"),
        scale4!("s12" "s13" "s14" "s15"),
    ),
    concat!(
        weights8!("s0" "s1" "s2" "s3" "s4" "s5" "s6" "s7"),
        weights8!("s8" "s9" "s10" "s11" "s12" "s13" "s14" "s15"),
    )
);
update_rows!(
    update12,
    "48",
    "s0-s11",
    concat!(scale4!("s0" "s1" "s2" "s3"), scale4!("s4" "s5" "s6" "s7"), scale4!("s8" "s9" "s10" "s11")),
    concat!(weights8!("s0" "s1" "s2" "s3" "s4" "s5" "s6" "s7"), weights4!("s8" "s9" "s10" "s11"))
);
update_rows!(
    update8,
    "32",
    "s0-s7",
    concat!(scale4!("s0" "s1" "s2" "s3"), scale4!("s4" "s5" "s6" "s7")),
    weights8!("s0" "s1" "s2" "s3" "s4" "s5" "s6" "s7")
);
update_rows!(update4, "16", "s0-s3", scale4!("s0" "s1" "s2" "s3"), weights4!("s0" "s1" "s2" "s3"));
