//! The loops in fused arithmetic: a multiply and an add that round once, in an instruction that takes as many cycles as
//! the two and one more. See [`portable`](super::portable) for what the macros are about.

macro_rules! add_products {
    ($($sum:literal $a:literal $b:literal $product:literal),+) => {
        concat!($("vfma.f32 ", $sum, ", ", $a, ", ", $b, "\n"),+)
    };
}

macro_rules! add_product {
    () => {
        "vfma.f32 "
    };
}

macro_rules! update8 {
    ($a:literal $b:literal $c:literal $d:literal $e:literal $f:literal $g:literal $h:literal) => {
        concat!(
            "vldmia r8, {{s16-s23}}\n",
            each!("vfma.f32": "s16" "s24" $a, "s17" "s24" $b, "s18" "s24" $c, "s19" "s24" $d),
            each!("vfma.f32": "s20" "s24" $e, "s21" "s24" $f, "s22" "s24" $g, "s23" "s24" $h),
            "vstmia r8!, {{s16-s23}}\n",
        )
    };
}

macro_rules! first16 {
    () => {
        concat!(
            zero16!(),
            "vldmia r9!, {{s16-s23}}\n",
            "vldmia r10!, {{s24-s31}}\n",
            each!("vfma.f32": "s0" "s16" "s24", "s1" "s17" "s25", "s2" "s18" "s26", "s3" "s19" "s27"),
            each!("vfma.f32": "s4" "s20" "s28", "s5" "s21" "s29", "s6" "s22" "s30", "s7" "s23" "s31"),
            "vldmia r9!, {{s16-s23}}\n",
            "vldmia r10!, {{s24-s31}}\n",
            each!("vfma.f32": "s8" "s16" "s24", "s9" "s17" "s25", "s10" "s18" "s26", "s11" "s19" "s27"),
            each!("vfma.f32": "s12" "s20" "s28", "s13" "s21" "s29", "s14" "s22" "s30", "s15" "s23" "s31"),
        )
    };
}

/// It has begun at +0.
macro_rules! from_zero {
    () => {
        ""
    };
}

macro_rules! weights8 {
    ($a:literal $b:literal $c:literal $d:literal $e:literal $f:literal $g:literal $h:literal) => {
        concat!(
            "vldmia r8, {{s20-s27}}\n",
            each!("vfma.f32": "s20" "s28" $a, "s21" "s28" $b, "s22" "s28" $c, "s23" "s28" $d),
            each!("vfma.f32": "s24" "s28" $e, "s25" "s28" $f, "s26" "s28" $g, "s27" "s28" $h),
            "vstmia r8!, {{s20-s27}}\n",
        )
    };
}

macro_rules! weights4 {
    ($a:literal $b:literal $c:literal $d:literal) => {
        concat!(
            "vldmia r8, {{s20-s23}}\n",
            each!("vfma.f32": "s20" "s28" $a, "s21" "s28" $b, "s22" "s28" $c, "s23" "s28" $d),
            "vstmia r8!, {{s20-s23}}\n",
        )
    };
}

/// Here m can become −0, being rounded from what is too small, so that the sign of a gradient of zero matters: it is added to +0, which
/// is in `$zero`.
macro_rules! gradient8 {
    ($delta:literal, $zero:literal) => {
        concat!(
            "vldmia ", $delta, "!, {{s24-s31}}\n",
            each!("vmov": "d4" $zero $zero, "d5" $zero $zero, "d6" $zero $zero, "d7" $zero $zero),
            each!("vfma.f32": "s8" "s0" "s24", "s9" "s0" "s25", "s10" "s0" "s26", "s11" "s0" "s27"),
            each!("vfma.f32": "s12" "s0" "s28", "s13" "s0" "s29", "s14" "s0" "s30", "s15" "s0" "s31"),
        )
    };
}

macro_rules! gradient4 {
    ($delta:literal, $zero:literal) => {
        concat!(
            "vldmia ", $delta, "!, {{s24-s27}}\n",
            each!("vmov": "d4" $zero $zero, "d5" $zero $zero),
            each!("vfma.f32": "s8" "s0" "s24", "s9" "s0" "s25", "s10" "s0" "s26", "s11" "s0" "s27"),
        )
    };
}

macro_rules! divisor4 {
    ($a:literal $b:literal $c:literal $d:literal, $ra:literal $rb:literal $rc:literal $rd:literal) => {
        concat!(
            "vmov.f32 ", $a, ", s7\nvmov.f32 ", $b, ", s7\nvmov.f32 ", $c, ", s7\nvmov.f32 ", $d, ", s7\n",
            each!("vfma.f32": $a $ra "s6", $b $rb "s6", $c $rc "s6", $d $rd "s6"),
        )
    };
}

/// Here a sum can be −0, for what is too small has a sign when it is rounded: it stays −0, being not below zero.
macro_rules! relu {
    ($($r:literal)+) => {
        concat!($("sub r12, ", $r, ", #1\nbic ", $r, ", ", $r, ", r12, asr #31\n",)+)
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
