//! The elementary functions against f64, against MPFR, and the instruction sets against each other.
//!
//! The suite takes every 4099th `f32`, the neighbours of every branch and of every special value,
//! and the table that `tests/math/make.py` had MPFR write. All 2³² inputs, in about an hour
//! of processor time, shared among all cores:
//!
//! ```text
//! cargo test --release --test math -- --ignored --nocapture
//! ```
//!
//! With `MICROPROP_SWEEP_STRIDE=7` in the environment only the first five functions, on which the others and all
//! training rest, are swept in full, and the others on every seventh input.

#[path = "math/truth.rs"]
mod truth;

use microprop::{Arithmetic, Isa, kernels, math};
use std::f32::consts::{FRAC_1_SQRT_2, LN_2, LOG2_E, SQRT_2};

struct Function {
    name: &'static str,
    kernel: fn(Isa, &mut [f32]),
    /// Off by at most [`TRUTH_ERROR_ULPS`] of f64.
    truth: fn(f64) -> f64,
    max_error: u32,
    /// Where the formula takes another branch or a clamp sets in, and where the result leaves a range.
    edges: &'static [f32],
}

const FUNCTIONS: [Function; 14] = [
    Function {
        name: "exp",
        kernel: kernels::exp,
        truth: f64::exp,
        max_error: math::MAX_EXP_ERROR_ULPS,
        edges: &[89.0, 88.722_84, -87.336_54, -103.278_93, -103.972_08, -104.0],
    },
    Function {
        name: "ln",
        kernel: kernels::ln,
        truth: f64::ln,
        max_error: math::MAX_LN_ERROR_ULPS,
        edges: &[FRAC_1_SQRT_2, SQRT_2, 2.0 * SQRT_2, 1.0],
    },
    Function {
        name: "tanh",
        kernel: kernels::tanh,
        truth: f64::tanh,
        max_error: math::MAX_TANH_ERROR_ULPS,
        edges: &[0.625, -0.625, 0.549_306_15, 9.010_913, -9.010_913, 10.0, -10.0],
    },
    Function {
        name: "sigmoid",
        kernel: kernels::sigmoid,
        truth: truth::sigmoid,
        max_error: math::MAX_SIGMOID_ERROR_ULPS,
        edges: &[-104.0, 30.0, -103.972_08, -103.278_93, -87.336_54, 16.635_532, 17.328_68, -1.098_612_3],
    },
    Function {
        name: "softplus_of_negative",
        kernel: kernels::softplus_of_negative,
        truth: truth::softplus_of_negative,
        max_error: math::MAX_SOFTPLUS_ERROR_ULPS,
        edges: &[104.0, 103.972_08, 103.278_93, 87.336_54, 0.881_373_6, -0.881_373_6, LN_2, 16.635_532],
    },
    Function {
        name: "expm1",
        kernel: kernels::expm1,
        truth: f64::exp_m1,
        max_error: math::MAX_EXPM1_ERROR_ULPS,
        edges: &[64.0, 88.722_84, 89.0, -30.0, 0.346_573_6, -0.346_573_6, -17.328_68],
    },
    Function {
        name: "softplus",
        kernel: kernels::softplus,
        truth: truth::softplus,
        max_error: math::MAX_SOFTPLUS_ERROR_ULPS,
        edges: &[-104.0, -103.972_08, -87.336_54, -0.881_373_6, 0.881_373_6, 16.635_532, 17.0],
    },
    Function {
        name: "silu",
        kernel: kernels::silu,
        truth: truth::silu,
        max_error: math::MAX_SILU_ERROR_ULPS,
        edges: &[-110.0, 30.0, -108.6, -91.85, 17.328_68, -1.278_464_5],
    },
    Function {
        name: "gelu",
        kernel: kernels::gelu,
        truth: truth::gelu,
        max_error: math::MAX_GELU_ERROR_ULPS,
        edges: &[-14.75, 14.75, -14.5, 0.625, -0.625, -14.35, -13.1, 5.6, 1.5625, -0.751_791_6],
    },
    Function {
        name: "gelu_tanh",
        kernel: kernels::gelu_tanh,
        truth: truth::gelu_tanh,
        max_error: math::MAX_GELU_TANH_ERROR_ULPS,
        edges: &[-11.0, 6.0, -10.7, -10.06, 5.0, -0.752_461_4],
    },
    Function {
        name: "mish",
        kernel: kernels::mish,
        truth: truth::mish,
        max_error: math::MAX_MISH_ERROR_ULPS,
        edges: &[-110.0, LN_2, -LN_2, -108.6, -91.85, 9.0, -1.192_499_6],
    },
    Function {
        name: "softsign",
        kernel: kernels::softsign,
        truth: truth::softsign,
        max_error: math::MAX_SOFTSIGN_ERROR_ULPS,
        edges: &[1.0, 8_388_608.0, 16_777_216.0],
    },
    Function {
        name: "hard_sigmoid",
        kernel: kernels::hard_sigmoid,
        truth: truth::hard_sigmoid,
        max_error: math::MAX_HARD_SIGMOID_ERROR_ULPS,
        edges: &[-3.0, 3.0],
    },
    Function {
        name: "hard_swish",
        kernel: kernels::hard_swish,
        truth: truth::hard_swish,
        max_error: math::MAX_HARD_SWISH_ERROR_ULPS,
        edges: &[-3.0, 3.0, -1.5],
    },
];

/// The libraries' f64 exp, ln, ln_1p, exp_m1 and erfc are off by less than 1 ulp, tanh by less than 3.
const TRUTH_ERROR_ULPS: u64 = 4;

/// What a result is held against: the correctly rounded one or, where f64 can't tell which
/// of two neighbours that is, both.
#[derive(Clone, Copy)]
struct Rounded(f32, f32);

impl Rounded {
    fn of(truth: f64) -> Self {
        let magnitude = truth.abs();
        if magnitude == 0.0 || !magnitude.is_finite() {
            return Self(truth as f32, truth as f32);
        }
        let bits = magnitude.to_bits();
        let (low, high) = (bits.saturating_sub(TRUTH_ERROR_ULPS), bits + TRUTH_ERROR_ULPS);
        Self(f64::from_bits(low).copysign(truth) as f32, f64::from_bits(high).copysign(truth) as f32)
    }

    /// The distance of `found` in representable numbers; none where one of the two is NaN, or
    /// a zero has the wrong sign.
    fn distance(self, found: f32) -> Option<u32> {
        if self.0.is_nan() || found.is_nan() {
            return (self.0.is_nan() && found.is_nan()).then_some(0);
        }
        if self.0 == self.1 && self.0 == 0.0 && found == 0.0 {
            return (self.0.is_sign_negative() == found.is_sign_negative()).then_some(0);
        }
        Some(position(self.0).abs_diff(position(found)).min(position(self.1).abs_diff(position(found))))
    }
}

/// The number of `x` when all `f32` are counted in order, from zero.
fn position(x: f32) -> i32 {
    let magnitude = (x.to_bits() & 0x7fff_ffff).cast_signed();
    if x.is_sign_negative() { -magnitude } else { magnitude }
}

/// The largest error over some inputs, by arithmetic.
#[derive(Clone, Default)]
struct Errors {
    fused: Worst,
    portable: Worst,
}

#[derive(Clone, Copy, Default)]
struct Worst {
    ulps: u32,
    at: f32,
}

impl Errors {
    fn of(&mut self, arithmetic: Arithmetic) -> &mut Worst {
        match arithmetic {
            Arithmetic::Fused => &mut self.fused,
            Arithmetic::Portable => &mut self.portable,
        }
    }

    fn join(&mut self, other: &Self) {
        for arithmetic in [Arithmetic::Fused, Arithmetic::Portable] {
            let found = *other.clone().of(arithmetic);
            if found.ulps > self.of(arithmetic).ulps {
                *self.of(arithmetic) = found;
            }
        }
    }
}

/// Runs `kernel` on `inputs` in every ISA: the errors, or the first result that is wrong. The
/// ISAs of one arithmetic must agree to the bit. `skip_software` takes only every 13th
/// input in scalar fused arithmetic, whose multiply-add is emulated.
fn check(function: &Function, inputs: &[f32], skip_software: bool) -> Result<Errors, String> {
    let truth: Vec<Rounded> = inputs.iter().map(|&x| Rounded::of((function.truth)(f64::from(x)))).collect();
    let mut errors = Errors::default();
    let mut results = Vec::new();
    // Widest first: its results are measured, those of the others compared with them.
    let mut isas: Vec<Isa> = Isa::available().collect();
    isas.reverse();
    for arithmetic in [Arithmetic::Fused, Arithmetic::Portable] {
        let mut first: Option<Vec<f32>> = None;
        for &isa in isas.iter().filter(|isa| isa.arithmetic() == arithmetic) {
            let software = isa.name() == "scalar-fused";
            let step = if software && skip_software && first.is_some() { 13 } else { 1 };
            results.clear();
            results.extend(inputs.iter().step_by(step));
            (function.kernel)(isa, &mut results);
            match &first {
                Some(first) => {
                    for ((&x, &expected), &found) in inputs.iter().zip(first).step_by(step).zip(&results) {
                        if expected.to_bits() != found.to_bits() && !(expected.is_nan() && found.is_nan()) {
                            return Err(format!("{}({x:e}): {found:e} in {isa}, else {expected:e}", function.name));
                        }
                    }
                }
                None => {
                    let worst = errors.of(arithmetic);
                    for ((&x, truth), &found) in inputs.iter().zip(&truth).zip(&results) {
                        match truth.distance(found) {
                            Some(ulps) if ulps <= worst.ulps => {}
                            Some(ulps) if ulps <= function.max_error => *worst = Worst { ulps, at: x },
                            _ => {
                                let (name, bits) = (function.name, x.to_bits());
                                return Err(format!(
                                    "{name}({x:e} = {bits:#x}): {found:e} in {isa}, not {:e}",
                                    truth.0
                                ));
                            }
                        }
                    }
                    first = Some(results.clone());
                }
            }
        }
    }
    Ok(errors)
}

fn strided(stride: usize) -> Vec<f32> {
    (0..=u32::MAX).step_by(stride).map(f32::from_bits).collect()
}

/// The special values and 300 numbers on both sides of each, of every power of two and of `edges`.
fn neighbourhoods(edges: &[f32]) -> Vec<f32> {
    let powers = (0..=255).map(|exponent| f32::from_bits(exponent << 23));
    let special = [0.0, f32::from_bits(1), f32::MIN_POSITIVE, f32::MAX, f32::INFINITY, f32::NAN];
    let halves = (-300..=300).map(|k: i16| (f64::from(k) * 0.5 * std::f64::consts::LN_2) as f32);
    let wide = edges.iter().copied().chain(powers).chain(special);
    let wide = wide.flat_map(|x| (-300..=300).map(move |i| f32::from_bits(x.to_bits().wrapping_add_signed(i))));
    let narrow = halves.flat_map(|x| (-20..=20).map(move |i| f32::from_bits(x.to_bits().wrapping_add_signed(i))));
    wide.chain(narrow).flat_map(|x| [x, -x]).collect()
}

fn report(name: &str, errors: &mut Errors) {
    for arithmetic in [Arithmetic::Fused, Arithmetic::Portable] {
        let Worst { ulps, at } = *errors.of(arithmetic);
        println!("{name} {arithmetic:?}: at most {ulps} ulp, first at {at:e}");
    }
}

#[test]
fn every_4099th_input_is_within_the_bounds() {
    let inputs = strided(4099);
    for function in &FUNCTIONS {
        let mut errors = check(function, &inputs, false).unwrap_or_else(|error| panic!("{error}"));
        report(function.name, &mut errors);
    }
}

#[test]
fn edges_and_special_values_are_within_the_bounds() {
    for function in &FUNCTIONS {
        let inputs = neighbourhoods(function.edges);
        check(function, &inputs, false).unwrap_or_else(|error| panic!("{error}"));
    }
}

/// `cargo test --release --test math -- --ignored --nocapture`
#[test]
#[ignore = "2³² inputs for each function: minutes"]
fn all_inputs_are_within_the_bounds() {
    const BLOCK: u32 = 1 << 16;
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let stride: u32 = std::env::var("MICROPROP_SWEEP_STRIDE").map_or(1, |stride| stride.parse().unwrap());
    for (index, function) in FUNCTIONS.iter().enumerate() {
        let stride = if index < 5 { 1 } else { stride };
        let next = std::sync::atomic::AtomicU32::new(0);
        let mut errors = Errors::default();
        let of_threads: Vec<Result<Errors, String>> = std::thread::scope(|scope| {
            let work = || {
                let mut errors = Errors::default();
                let mut inputs = vec![0.0; BLOCK as usize];
                loop {
                    let block = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if block >= (1 << 16) / stride {
                        return Ok(errors);
                    }
                    for (i, x) in (0..).zip(&mut inputs) {
                        *x = f32::from_bits((block * BLOCK + i) * stride);
                    }
                    errors.join(&check(function, &inputs, true)?);
                }
            };
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no check panics")).collect()
        });
        for result in of_threads {
            errors.join(&result.unwrap_or_else(|error| panic!("{error}")));
        }
        report(function.name, &mut errors);
    }
}

#[test]
fn tanh_is_odd_and_ranges_hold() {
    let inputs = strided(4099);
    for isa in Isa::available() {
        let [mut tanh, mut mirrored, mut sigmoid] =
            [inputs.clone(), inputs.iter().map(|x| -x).collect(), inputs.clone()];
        kernels::tanh(isa, &mut tanh);
        kernels::tanh(isa, &mut mirrored);
        kernels::sigmoid(isa, &mut sigmoid);
        for ((x, y), (mirrored, sigmoid)) in inputs.iter().zip(&tanh).zip(mirrored.iter().zip(&sigmoid)) {
            assert!(x.is_nan() || y.to_bits() == (-mirrored).to_bits(), "tanh({x:e}) in {isa}");
            assert!(x.is_nan() || (-1.0..=1.0).contains(y), "tanh({x:e}) in {isa}");
            assert!(x.is_nan() || (0.0..=1.0).contains(sigmoid), "sigmoid({x:e}) in {isa}");
        }
    }
}

/// Every length up to two registers and a bit: the tail computes what the whole registers do.
#[test]
fn an_element_does_not_depend_on_its_place() {
    for function in &FUNCTIONS {
        for isa in Isa::available() {
            let inputs: Vec<f32> = (0..35).map(|i| (i as f32 - 17.3) * 0.37).collect();
            for len in 0..=inputs.len() {
                let mut together = inputs[..len].to_vec();
                (function.kernel)(isa, &mut together);
                for (x, y) in inputs.iter().zip(&together) {
                    let mut alone = [*x];
                    (function.kernel)(isa, &mut alone);
                    assert!(alone[0].to_bits() == y.to_bits() || x.is_nan(), "{}({x}) in {isa}", function.name);
                }
            }
        }
    }
}

/// Against results that MPFR rounded, among them those that are hardest to round.
#[test]
fn results_agree_with_mpfr() {
    let table = include_str!("math/table.txt");
    let mut entries = 0;
    for line in table.lines() {
        let mut fields = line.split(' ');
        let mut next = || fields.next().expect("a line has three fields");
        let function = next();
        let function = FUNCTIONS.iter().find(|f| f.name == function).expect("the table names our functions");
        let bits = |field: &str| u32::from_str_radix(field, 16).map_or(f32::NAN, f32::from_bits);
        let (x, expected) = (bits(next()), bits(next()));
        for isa in Isa::available() {
            let mut y = [x];
            (function.kernel)(isa, &mut y);
            let distance = Rounded(expected, expected).distance(y[0]);
            let within = distance.is_some_and(|ulps| ulps <= function.max_error);
            assert!(within, "{}({x:e}): {:e} in {isa}, not {expected:e}", function.name, y[0]);
        }
        // The f64 functions that stand in for MPFR elsewhere are right here too.
        let truth = Rounded::of((function.truth)(f64::from(x)));
        let right = [truth.0, truth.1].iter().any(|t| t.to_bits() == expected.to_bits() || x < 0.0 && t.is_nan());
        assert!(right, "{}({x:e}) is {expected:e}, f64 says {:e}", function.name, truth.0);
        entries += 1;
    }
    assert!(entries > 300 * FUNCTIONS.len());
}

/// The check is itself checked: it must refuse what is wrong.
mod wrong {
    use super::*;

    fn refused(function: &Function) -> bool {
        check(function, &strided(4099), false).is_err()
    }

    /// The formula of `exp` in portable arithmetic where nothing overflows, given one of its coefficients.
    fn exp_with(c1: f32, x: f32) -> f32 {
        let (high, low) = (0.693_145_75, 1.428_606_8e-6);
        let k = (x * LOG2_E + 12_582_912.0) - 12_582_912.0;
        let r = (x - k * high) - k * low;
        let r2 = r * r;
        let q24 = 0.001_369_968_2 * r2 + (0.008_369_132 * r + 0.041_671_667);
        let p = (q24 * r2 + (c1 * r + 0.499_999_82)) * r2 + r;
        (p + 1.0) * f32::from_bits(((k as i32 + 127) as u32) << 23)
    }

    const C1: f32 = 0.166_665_17;

    fn exp_of_moderate<const ULPS: u32>(_: Isa, x: &mut [f32]) {
        for x in x {
            let c1 = f32::from_bits(C1.to_bits() + ULPS);
            *x = if x.abs() < 80.0 { exp_with(c1, *x) } else { f64::from(*x).exp() as f32 };
        }
    }

    fn two_ulps_off(isa: Isa, x: &mut [f32]) {
        kernels::exp(isa, x);
        for y in x.iter_mut().filter(|y| **y > 1.0e5 && **y < 1.1e5) {
            *y = f32::from_bits(y.to_bits() + 2);
        }
    }

    fn one_isa_off(isa: Isa, x: &mut [f32]) {
        kernels::exp(isa, x);
        if isa == Isa::SCALAR {
            for y in x.iter_mut().filter(|y| **y > 1.0e5 && **y < 1.1e5) {
                *y = f32::from_bits(y.to_bits() + 1);
            }
        }
    }

    fn exp(kernel: fn(Isa, &mut [f32])) -> Function {
        Function { name: "exp", kernel, truth: f64::exp, max_error: math::MAX_EXP_ERROR_ULPS, edges: &[] }
    }

    #[test]
    fn a_coefficient_is_noticed() {
        assert!(!refused(&exp(exp_of_moderate::<0>)));
        assert!(refused(&exp(exp_of_moderate::<1024>)));
    }

    #[test]
    fn a_result_is_noticed() {
        assert!(refused(&exp(two_ulps_off)));
    }

    #[test]
    fn a_difference_between_instruction_sets_is_noticed() {
        let vectors = Isa::available().any(|isa| isa != Isa::SCALAR && isa.arithmetic() == Arithmetic::Portable);
        assert!(refused(&exp(one_isa_off)) || !vectors);
    }

    #[test]
    fn a_sign_or_a_nan_is_noticed() {
        let tanh = |kernel| Function { name: "tanh", kernel, truth: f64::tanh, max_error: 1, edges: &[] };
        let positive_zero = |isa: Isa, x: &mut [f32]| {
            kernels::tanh(isa, x);
            x.iter_mut().for_each(|x| *x += 0.0);
        };
        let no_nan = |isa: Isa, x: &mut [f32]| {
            kernels::tanh(isa, x);
            x.iter_mut().for_each(|x| *x = x.max(-1.0));
        };
        assert!(check(&tanh(positive_zero), &[-0.0], false).is_err());
        assert!(check(&tanh(no_nan), &[f32::NAN], false).is_err());
        assert!(check(&tanh(kernels::tanh), &[-0.0, f32::NAN], false).is_ok());
    }
}
