//! Loops over the weights of a layer for the single-precision FPU of a Cortex-M4F, M7, M33 or M55, in assembly.
//!
//! LLVM loads and stores one number at a time there; a load or store of eight (VLDM, VSTM) takes nine cycles
//! instead of sixteen, and one instruction instead of eight. Sums stay in registers over all inputs. By the timings that
//! Arm publishes for the Cortex-M4 a multiply and an add take two cycles, and VMLA, which rounds the product too,
//! three: it gives the same bits, and is here where an instruction less is worth a cycle. So does VFMA, which rounds once:
//! in fused arithmetic a step takes fewer instructions, and more cycles. Each loop is there for both (`portable.rs`, `fused.rs`).
//!
//! The functions give the bits of their twins in [`columns`](super::columns), whose module this is on
//! `thumbv7em-none-eabihf` and `thumbv8m.main-none-eabihf`; elsewhere it is `without_vfp.rs`, which does nothing.

/// What rustc does not tell LLVM's assembler of a hard-float target.
macro_rules! fpu {
    () => {
        ".fpu fpv4-sp-d16"
    };
}

/// A loop of the arithmetic that is asked for.
macro_rules! of {
    ($fused:ident, $module:ident::$function:ident ($($argument:expr),+ $(,)?)) => {
        if $fused { fused::$module::$function($($argument),+) } else { portable::$module::$function($($argument),+) }
    };
}

/// One instruction, on each of some triples of registers.
macro_rules! each {
    ($instruction:literal: $($to:literal $a:literal $b:literal),+) => {
        concat!($($instruction, " ", $to, ", ", $a, ", ", $b, "\n"),+)
    };
}

/// `s0 … s15 = +0`.
macro_rules! zero16 {
    () => {
        concat!(
            "mov r12, #0\n",
            each!("vmov": "d0" "r12" "r12", "d1" "r12" "r12", "d2" "r12" "r12", "d3" "r12" "r12"),
            each!("vmov": "d4" "r12" "r12", "d5" "r12" "r12", "d6" "r12" "r12", "d7" "r12" "r12"),
        )
    };
}

/// What is not a number is a NaN without a sign from here on, so that a sign is that of a number. What FPSCR was is in the
/// first register, the other is free.
macro_rules! nan_of_one_sign {
    ($before:literal $free:literal) => {
        concat!(
            "vmrs ",
            $before,
            ", FPSCR\n",
            "orr ",
            $free,
            ", ",
            $before,
            ", #0x2000000\n",
            "vmsr FPSCR, ",
            $free,
            "\n",
        )
    };
}

/// ReLU of s0 … s7 and a bias, in core registers; see [`nan_of_one_sign`]. r12 is overwritten.
macro_rules! bias_relu8 {
    ($a:literal $b:literal $c:literal $d:literal $e:literal $f:literal $g:literal $h:literal =>
        $ra:literal $rb:literal $rc:literal $rd:literal $re:literal $rf:literal $rg:literal $rh:literal) => {
        concat!(
            each!("vadd.f32": "s0" "s0" $a, "s1" "s1" $b, "s2" "s2" $c, "s3" "s3" $d),
            each!("vadd.f32": "s4" "s4" $e, "s5" "s5" $f, "s6" "s6" $g, "s7" "s7" $h),
            each!("vmov": $ra $rb "d0", $rc $rd "d1", $re $rf "d2", $rg $rh "d3"),
            relu!($ra $rb $rc $rd $re $rf $rg $rh),
        )
    };
}

mod fused;
mod portable;

use crate::optimizer::AdamScalars;
use crate::parts;
use core::arch::naked_asm;
use core::ptr::null_mut;

/// The sums of [`Scalar::column_sums`](super::Scalar::column_sums), whose lengths have been checked, if it can do so few.
#[inline(always)]
pub(super) fn column_sums<const FUSED: bool>(x: &[f32], w: &[f32], width: usize, sums: &mut [f32]) -> bool {
    let blocks = sums.len() / 16;
    if blocks > 0 {
        // SAFETY: the caller has seen that the last row reaches the last sum; the others begin before it.
        unsafe { of!(FUSED, forward::sums16(x.as_ptr(), x.len(), w.as_ptr(), 4 * width, sums.as_mut_ptr(), blocks)) };
    }
    by_some::<4>(16 * blocks, sums, |at, sums| {
        // SAFETY: as above; these four columns are among those.
        unsafe { of!(FUSED, forward::sums4(x.as_ptr(), x.len(), w.as_ptr().add(at), 4 * width, sums)) };
    })
}

/// As [`column_sums`], in four chains.
#[inline(always)]
pub(super) fn four_chain_sums<const FUSED: bool>(x: &[f32], w: &[f32], width: usize, sums: &mut [f32]) -> bool {
    if sums.len() == 16 {
        // SAFETY: as above, of as many columns.
        unsafe { of!(FUSED, forward::four_chains16(x.as_ptr(), x.len(), w.as_ptr(), 4 * width, sums.as_mut_ptr())) };
        return true;
    }
    by_some::<4>(0, sums, |at, sums| {
        // SAFETY: as above.
        unsafe { of!(FUSED, forward::four_chains4(x.as_ptr(), x.len(), w.as_ptr().add(at), 4 * width, sums)) };
    })
}

/// Calls `f` for N sums at a time, from number `from` on, with where they begin; the last N may take in some
/// that are done. False if there are fewer than N in all.
#[inline(always)]
fn by_some<const N: usize>(from: usize, sums: &mut [f32], f: impl Fn(usize, *mut f32)) -> bool {
    let Some(last) = sums.len().checked_sub(N) else { return false };
    let mut next = from;
    while next < sums.len() {
        let at = next.min(last);
        f(at, parts::from_mut(sums, at).as_mut_ptr());
        next += N;
    }
    true
}

/// Returns how many columns are done.
#[inline(always)]
pub(super) fn update_rows<const FUSED: bool>(
    x: &[f32],
    minus_rate: f32,
    delta: &[f32],
    w: &mut [f32],
    bias: &mut [f32],
) -> usize {
    let (width, blocks) = (delta.len(), delta.len() / 16);
    let reach = x.len().checked_mul(width);
    if blocks == 0 || x.is_empty() || reach.is_none_or(|reach| reach > w.len()) {
        return 0;
    }
    let bias = if bias.len() == width { bias.as_mut_ptr() } else { null_mut() };
    let (x, rows, w) = (x.as_ptr(), x.len(), w.as_mut_ptr());
    // SAFETY: there is a row of `width` weights for each input, with at least 16 for each block, and so many in the bias.
    unsafe { of!(FUSED, backward::update16(x, rows, w, 4 * width, minus_rate, delta.as_ptr(), blocks, bias)) };
    16 * blocks
}

/// The sums of [`Scalar::row_sums`](super::Scalar::row_sums); returns how many are done.
#[inline(always)]
pub(super) fn row_sums<const FUSED: bool>(x: &[f32], w: &[f32], width: usize, sums: &mut [f32]) -> usize {
    if !reaches(x, w, width, sums) {
        return 0;
    }
    let Some(last) = sums.len().checked_sub(4) else { return 0 };
    let eights = sums.len() / 8;
    if eights > 0 {
        // SAFETY: the last row reaches the last term; the others begin before it.
        unsafe {
            of!(FUSED, by_output::row_sums8(x.as_ptr(), x.len(), w.as_ptr(), 4 * width, sums.as_mut_ptr(), eights))
        };
    }
    // The last four may take in some that are done.
    let mut next = 8 * eights;
    while next < sums.len() {
        let at = next.min(last);
        let (w, sums) = (parts::from(w, at * width), parts::from_mut(sums, at));
        // SAFETY: as above, four of these rows.
        unsafe { of!(FUSED, by_output::row_sums4(x.as_ptr(), x.len(), w.as_ptr(), 4 * width, sums.as_mut_ptr())) };
        next += 4;
    }
    sums.len()
}

/// As [`row_sums`], with bias and ReLU.
#[inline(always)]
pub(super) fn row_sums_relu<const FUSED: bool>(
    x: &[f32],
    w: &[f32],
    width: usize,
    bias: &[f32],
    y: &mut [f32],
) -> usize {
    let eights = y.len() / 8;
    if eights == 0 || bias.len() < y.len() || !reaches(x, w, width, y) {
        return 0;
    }
    let (x, terms, w, y, bias) = (x.as_ptr(), x.len(), w.as_ptr(), y.as_mut_ptr(), bias.as_ptr());
    // SAFETY: the last row reaches the last term, the others begin before it, and there is a bias for each.
    unsafe { of!(FUSED, by_output::row_sums8_relu(x, terms, w, 4 * width, y, eights, bias)) };
    8 * eights
}

/// As [`row_sums`], in four chains.
#[inline(always)]
pub(super) fn row_four_chain_sums<const FUSED: bool>(x: &[f32], w: &[f32], width: usize, sums: &mut [f32]) -> usize {
    if !reaches(x, w, width, sums) {
        return 0;
    }
    let is_done = by_some::<2>(0, sums, |at, sums| {
        // SAFETY: as above, of two.
        let w = unsafe { w.as_ptr().add(at * width) };
        // SAFETY: as above, of two.
        unsafe { of!(FUSED, by_output::row_four_chains2(x.as_ptr(), x.len(), w, 4 * width, sums)) };
    });
    if is_done { sums.len() } else { 0 }
}

/// Whether the last row of weights has one for each x.
#[inline(always)]
fn reaches(x: &[f32], w: &[f32], width: usize, sums: &[f32]) -> bool {
    let last = sums.len().checked_sub(1).and_then(|last| last.checked_mul(width)?.checked_add(x.len()));
    last.is_some_and(|last| last <= w.len())
}

/// Returns how many inputs' weights are done.
#[inline(always)]
pub(super) fn update_rows_by_output<const FUSED: bool>(
    x: &[f32],
    minus_rate: f32,
    delta: &[f32],
    w: &mut [f32],
) -> usize {
    let inputs = x.len();
    if inputs < 4 || delta.is_empty() || delta.len().checked_mul(inputs).is_none_or(|all| all > w.len()) {
        return 0;
    }
    let (blocks, rest) = (inputs / 20, inputs % 20 & !3);
    let (delta, outputs, step) = (delta.as_ptr(), delta.len(), 4 * inputs);
    // SAFETY: there is a row of weights, one for each input, for each delta.
    unsafe {
        if blocks > 0 {
            of!(FUSED, by_output::update20(delta, outputs, w.as_mut_ptr(), step, minus_rate, x.as_ptr(), blocks));
        }
        let (x, w) = (x.as_ptr().add(20 * blocks), w.as_mut_ptr().add(20 * blocks));
        match rest {
            16 => of!(FUSED, by_output::update16(delta, outputs, w, step, minus_rate, x, 1)),
            12 => of!(FUSED, by_output::update12(delta, outputs, w, step, minus_rate, x, 1)),
            8 => of!(FUSED, by_output::update8(delta, outputs, w, step, minus_rate, x, 1)),
            4 => of!(FUSED, by_output::update4(delta, outputs, w, step, minus_rate, x, 1)),
            _ => {}
        }
    }
    inputs & !3
}

/// Whether [`Scalar::relu_rows`](super::Scalar::relu_rows) is done: if rows are of whole fours.
#[inline(always)]
pub(super) fn relu_rows<const FUSED: bool>(values: &mut [f32], minus_rate: f32, delta: &[f32], w: &mut [f32]) -> bool {
    let fits = rows_fit(values.len(), delta, w);
    if fits {
        let (n, values, w) = (values.len(), values.as_mut_ptr(), w.as_mut_ptr());
        let (delta, width) = (delta.as_ptr(), delta.len());
        // SAFETY: for each value there is a row of `width` weights; products may lie where x is.
        unsafe { of!(FUSED, rows::products_and_update(values, n, w, width, minus_rate, delta, values)) };
    }
    fits
}

/// Whether [`Scalar::adam_relu_rows`](super::Scalar::adam_relu_rows) is done: as [`adam`].
#[inline(always)]
pub(super) fn adam_relu_rows<const FUSED: bool>(
    rule: &AdamScalars,
    values: &mut [f32],
    delta: &[f32],
    [w, m, v]: [&mut [f32]; 3],
) -> bool {
    let fits = adam_fits(rule, values.len(), delta, [&*w, &*m, &*v]);
    if fits {
        let (n, values, delta, width) = (values.len(), values.as_mut_ptr(), delta.as_ptr(), delta.len());
        let (w, m, v) = (w.as_mut_ptr(), m.as_mut_ptr(), v.as_mut_ptr());
        // SAFETY: three times a row of `width` for each value; products may lie where x is.
        unsafe { of!(FUSED, adam::products_and_adam(values, n, w, width, delta, values, false, m, v, rule)) };
    }
    fits
}

/// Whether [`Scalar::adam_rows`](super::Scalar::adam_rows) is done: as [`adam`].
#[inline(always)]
pub(super) fn adam_rows<const FUSED: bool>(
    rule: &AdamScalars,
    x: &[f32],
    delta: &[f32],
    [w, m, v]: [&mut [f32]; 3],
    products: &mut [f32],
) -> bool {
    let fits = products.len() >= x.len() && adam_fits(rule, x.len(), delta, [&*w, &*m, &*v]);
    if fits {
        let (n, x, delta, width) = (x.len(), x.as_ptr(), delta.as_ptr(), delta.len());
        let (w, m, v, products) = (w.as_mut_ptr(), m.as_mut_ptr(), v.as_mut_ptr(), products.as_mut_ptr());
        // SAFETY: three times a row of `width` for each x, and a product.
        unsafe { of!(FUSED, adam::products_and_adam(x, n, w, width, delta, products, true, m, v, rule)) };
    }
    fits
}

/// Whether there are `rows` rows of whole fours three times, and β₁ is above 1/2.
#[inline(always)]
fn adam_fits(rule: &AdamScalars, rows: usize, delta: &[f32], [w, m, v]: [&[f32]; 3]) -> bool {
    rule.beta1 > 0.5 && rows_fit(rows, delta, w) && m.len() >= w.len() && v.len() >= w.len()
}

/// Whether there are `rows` rows of whole fours.
#[inline(always)]
fn rows_fit(rows: usize, delta: &[f32], w: &[f32]) -> bool {
    let len = rows.checked_mul(delta.len()).unwrap_or(usize::MAX);
    len > 0 && delta.len().is_multiple_of(4) && w.len() >= len
}

/// Whether it is done: here it is.
#[inline(always)]
pub(super) fn one_output_relu<const FUSED: bool>(
    values: &mut [f32],
    minus_rate: f32,
    delta: f32,
    w: &mut [f32],
) -> bool {
    let count = values.len().min(w.len());
    if count > 0 {
        // SAFETY: both have `count` elements.
        unsafe { of!(FUSED, backward::one_output_relu(values.as_mut_ptr(), w.as_mut_ptr(), count, delta, minus_rate)) };
    }
    true
}

/// Whether it is done: if rows are of whole fours, and β₁ is above 1/2.
#[inline(always)]
pub(super) fn adam<const FUSED: bool>(
    rule: &AdamScalars,
    x: &[f32],
    delta: &[f32],
    w: &mut [f32],
    m: &mut [f32],
    v: &mut [f32],
) -> bool {
    let fits = adam_fits(rule, x.len(), delta, [&*w, &*m, &*v]);
    if fits {
        let (w, m, v) = (w.as_mut_ptr(), m.as_mut_ptr(), v.as_mut_ptr());
        // SAFETY: three times a row of the delta's length for each input.
        unsafe { of!(FUSED, adam::adam(w, m, v, delta.as_ptr(), delta.len(), rule, x.as_ptr(), x.len())) };
    }
    fits
}

/// Returns how many elements are done.
#[inline(always)]
pub(super) fn add_scaled<const FUSED: bool>(step: f32, x: &[f32], y: &mut [f32]) -> usize {
    let count = x.len().min(y.len()) & !3;
    if count > 0 {
        // SAFETY: both have `count` elements.
        unsafe { of!(FUSED, backward::add_scaled(y.as_mut_ptr(), x.as_ptr(), count, step)) };
    }
    count
}

/// The dot product, if there are whole sixteens.
#[inline(always)]
pub(super) fn dot<const FUSED: bool>(a: &[f32], b: &[f32]) -> Option<f32> {
    if a.is_empty() || !a.len().is_multiple_of(16) || a.len() != b.len() {
        return None;
    }
    // SAFETY: both have that many elements.
    Some(unsafe { of!(FUSED, backward::dot16(a.as_ptr(), b.as_ptr(), a.len() / 16)) })
}

/// Returns how many elements are done.
#[inline(always)]
pub(super) fn add_bias_relu<const FUSED: bool>(y: &mut [f32], bias: &[f32]) -> usize {
    let count = y.len().min(bias.len()) & !7;
    if count > 0 {
        // SAFETY: both have `count` elements.
        unsafe { of!(FUSED, forward::add_bias_relu(y.as_mut_ptr(), bias.as_ptr(), count)) };
    }
    count
}

/// `a·b + c`, rounded once.
#[unsafe(naked)]
pub(super) extern "C" fn fma(a: f32, b: f32, c: f32) -> f32 {
    naked_asm!(fpu!(), "vfma.f32 s2, s0, s1", "vmov.f32 s0, s2", "bx lr")
}

/// √x, correctly rounded.
#[unsafe(naked)]
pub(super) extern "C" fn sqrt(x: f32) -> f32 {
    naked_asm!(fpu!(), "vsqrt.f32 s0, s0", "bx lr")
}
