//! The loops in portable arithmetic: multiply, round, and add.

/// `sum = sum + a·b` for some triples, each with a register for its product; all products, then all sums.
macro_rules! add_products {
    ($($sum:literal $a:literal $b:literal $product:literal),+) => {
        concat!(
            $("vmul.f32 ", $product, ", ", $a, ", ", $b, "\n",)+
            $("vadd.f32 ", $sum, ", ", $sum, ", ", $product, "\n",)+
        )
    };
}

/// The same for one, in one instruction: what is worth it where a cycle more than by two does not matter.
macro_rules! add_product {
    () => {
        "vmla.f32 "
    };
}

/// `w[j] = w[j] + step·delta[j]` for eight at r8, the step in s24, half of them by a multiply and an add.
macro_rules! update8 {
    ($a:literal $b:literal $c:literal $d:literal $e:literal $f:literal $g:literal $h:literal) => {
        concat!(
            "vldmia r8, {{s16-s23}}\n",
            each!("vmul.f32": "s26" "s24" $a, "s27" "s24" $b, "s28" "s24" $c, "s29" "s24" $d),
            each!("vmla.f32": "s20" "s24" $e, "s21" "s24" $f, "s22" "s24" $g, "s23" "s24" $h),
            each!("vadd.f32": "s16" "s16" "s26", "s17" "s17" "s27", "s18" "s18" "s28", "s19" "s19" "s29"),
            "vstmia r8!, {{s16-s23}}\n",
        )
    };
}

/// The first sixteen terms of sums, of r9 and r10 on, without the +0 that such a sum begins at: see [`from_zero`].
macro_rules! first16 {
    () => {
        concat!(
            "vldmia r9!, {{s16-s23}}\n",
            "vldmia r10!, {{s24-s31}}\n",
            each!("vmul.f32": "s0" "s16" "s24", "s1" "s17" "s25", "s2" "s18" "s26", "s3" "s19" "s27"),
            each!("vmul.f32": "s4" "s20" "s28", "s5" "s21" "s29", "s6" "s22" "s30", "s7" "s23" "s31"),
            "vldmia r9!, {{s16-s23}}\n",
            "vldmia r10!, {{s24-s31}}\n",
            each!("vmul.f32": "s8" "s16" "s24", "s9" "s17" "s25", "s10" "s18" "s26", "s11" "s19" "s27"),
            each!("vmul.f32": "s12" "s20" "s28", "s13" "s21" "s29", "s14" "s22" "s30", "s15" "s23" "s31"),
        )
    };
}

/// The sum in s0, had it begun at +0: that shows only in the sign of one that is zero.
macro_rules! from_zero {
    () => {
        "mov r12, #0\nvmov s1, r12\nvadd.f32 s0, s0, s1\n"
    };
}

/// `w[k] = w[k] + x[k]·delta` for eight at r8, the delta in s28, three of them by a multiply and an add.
macro_rules! weights8 {
    ($a:literal $b:literal $c:literal $d:literal $e:literal $f:literal $g:literal $h:literal) => {
        concat!(
            "vldmia r8, {{s20-s27}}\n",
            each!("vmul.f32": "s29" "s28" $a, "s30" "s28" $b, "s31" "s28" $c),
            each!("vmla.f32": "s23" "s28" $d, "s24" "s28" $e, "s25" "s28" $f, "s26" "s28" $g, "s27" "s28" $h),
            each!("vadd.f32": "s20" "s20" "s29", "s21" "s21" "s30", "s22" "s22" "s31"),
            "vstmia r8!, {{s20-s27}}\n",
        )
    };
}

/// The same for four.
macro_rules! weights4 {
    ($a:literal $b:literal $c:literal $d:literal) => {
        concat!(
            "vldmia r8, {{s20-s23}}\n",
            each!("vmul.f32": "s29" "s28" $a, "s30" "s28" $b, "s31" "s28" $c),
            each!("vmla.f32": "s23" "s28" $d),
            each!("vadd.f32": "s20" "s20" "s29", "s21" "s21" "s30", "s22" "s22" "s31"),
            "vstmia r8!, {{s20-s23}}\n",
        )
    };
}

/// The gradient of eight parameters in s8 to s15, of the deltas at `$delta` and x in s0, without the +0 that it is added to: that shows only in
/// the sign of one that is zero, and this in nothing. Its square has none, and m = β₁·m + β₁′·g is −0 only where β₁·m is, too, which
/// takes an m of −0 or, if β₁ is above 1/2, is never the case. So m is not −0, if it was not to begin with.
macro_rules! gradient8 {
    ($delta:literal, $zero:literal) => {
        concat!(
            "vldmia ", $delta, "!, {{s8-s15}}\n",
            each!("vmul.f32": "s8" "s0" "s8", "s9" "s0" "s9", "s10" "s0" "s10", "s11" "s0" "s11"),
            each!("vmul.f32": "s12" "s0" "s12", "s13" "s0" "s13", "s14" "s0" "s14", "s15" "s0" "s15"),
        )
    };
}

/// The same of four, in s8 to s11.
macro_rules! gradient4 {
    ($delta:literal, $zero:literal) => {
        concat!(
            "vldmia ", $delta, "!, {{s8-s11}}\n",
            each!("vmul.f32": "s8" "s0" "s8", "s9" "s0" "s9", "s10" "s0" "s10", "s11" "s0" "s11"),
        )
    };
}

/// Four divisors, of some roots: each times s6, plus s7.
macro_rules! divisor4 {
    ($a:literal $b:literal $c:literal $d:literal, $ra:literal $rb:literal $rc:literal $rd:literal) => {
        concat!(
            each!("vmul.f32": $a $ra "s6", $b $rb "s6", $c $rc "s6", $d $rd "s6"),
            each!("vadd.f32": $a $a "s7", $b $b "s7", $c $c "s7", $d $d "s7"),
        )
    };
}

/// ReLU of the bits of some numbers. Sums of rounded products from +0 are not −0, and neither are they with a bias.
macro_rules! relu {
    ($($r:literal)+) => {
        concat!($("bic ", $r, ", ", $r, ", ", $r, ", asr #31\n",)+)
    };
}

#[path = "backward.rs"]
pub(super) mod backward;
#[path = "by_output.rs"]
pub(super) mod by_output;
#[path = "forward.rs"]
pub(super) mod forward;
#[macro_use]
#[path = "rows.rs"]
pub(super) mod rows;
#[path = "adam.rs"]
pub(super) mod adam;
