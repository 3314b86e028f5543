//! A number with the error that it would have in f32.

use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

/// Unit roundoff of f32: the largest relative error of one rounding.
const UNIT: f64 = 1.0 / (1 << 24) as f64;

/// Error of a rounding among f32's subnormals.
const SMALLEST: f64 = f32::MIN_POSITIVE as f64 * UNIT;

/// Roundings that exp, ln and tanh count for: they are at most 1 representable number
/// from the correctly rounded result, which is half of one from the exact result.
const FUNCTION_ROUNDINGS: f64 = 3.0;

/// The same for functions that are at most 2 representable numbers off.
const WIDER_FUNCTION_ROUNDINGS: f64 = 5.0;

/// An f64 value, and the variance of the error that an f32 computation of the same
/// formula has: a running error analysis (Wilkinson 1986, "Error analysis revisited") in
/// which roundings are independent and of mean 0, each with its largest possible
/// error as standard deviation, so that errors grow with the square root of a
/// sum's length (Higham and Mary 2019, "A new approach to probabilistic rounding
/// error analysis"). First order, operands taken as independent.
///
/// The value never depends on the variance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number {
    pub(crate) value: f64,
    pub(crate) variance: f64,
}

impl Number {
    /// The standard deviation of its error.
    pub(crate) fn deviation(self) -> f64 {
        self.variance.sqrt()
    }

    /// `value`, to be rounded `roundings` times, from operands that bring `variance`.
    fn rounded(value: f64, roundings: f64, variance: f64) -> Self {
        let own = roundings * UNIT * value.abs() + SMALLEST;
        Self { value, variance: variance + own * own }
    }

    /// x².
    pub(crate) fn square(self) -> Self {
        let slope = 2.0 * self.value;
        Self::rounded(self.value * self.value, 1.0, slope * slope * self.variance)
    }

    /// |x|.
    pub(crate) fn abs(self) -> Self {
        Self { value: self.value.abs(), ..self }
    }

    /// eˣ.
    pub(crate) fn exp(self) -> Self {
        let e = self.value.exp();
        Self::rounded(e, FUNCTION_ROUNDINGS, e * e * self.variance)
    }

    /// eˣ − 1.
    pub(crate) fn exp_m1(self) -> Self {
        let e = self.value.exp();
        Self::rounded(self.value.exp_m1(), WIDER_FUNCTION_ROUNDINGS, e * e * self.variance)
    }

    /// The distribution function of the standard normal distribution, erfc(−x/√2)/2.
    pub(crate) fn normal_distribution(self) -> Self {
        let density = (self.value * self.value / -2.0).exp() / std::f64::consts::TAU.sqrt();
        let distribution = libm::erfc(-self.value * std::f64::consts::FRAC_1_SQRT_2) / 2.0;
        Self::rounded(distribution, WIDER_FUNCTION_ROUNDINGS, density * density * self.variance)
    }

    /// ln x.
    pub(crate) fn ln(self) -> Self {
        Self::rounded(self.value.ln(), FUNCTION_ROUNDINGS, self.variance / (self.value * self.value))
    }

    /// tanh x.
    pub(crate) fn tanh(self) -> Self {
        let y = self.value.tanh();
        let slope = 1.0 - y * y;
        Self::rounded(y, FUNCTION_ROUNDINGS, slope * slope * self.variance)
    }

    /// ln cosh x.
    pub(crate) fn ln_cosh(self) -> Self {
        let half = (0.5 * self.value).sinh();
        let slope = self.value.tanh();
        Self::rounded((2.0 * half * half).ln_1p(), FUNCTION_ROUNDINGS, slope * slope * self.variance)
    }

    /// √x. Near 0, where its slope has no bound, |√(x + e) − √x| ≤ √|e| has.
    pub(crate) fn sqrt(self) -> Self {
        let root = self.value.sqrt();
        let by_slope = if root > 0.0 { self.variance / (4.0 * self.value) } else { f64::INFINITY };
        Self::rounded(root, 1.0, by_slope.min(self.deviation()))
    }
}

impl From<f64> for Number {
    /// An exact number.
    fn from(value: f64) -> Self {
        Self { value, variance: 0.0 }
    }
}

impl From<f32> for Number {
    fn from(value: f32) -> Self {
        Self::from(f64::from(value))
    }
}

impl Add for Number {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let value = self.value + other.value;
        if self.value == 0.0 || other.value == 0.0 {
            return Self { value, variance: self.variance + other.variance };
        }
        Self::rounded(value, 1.0, self.variance + other.variance)
    }
}

impl AddAssign for Number {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Neg for Number {
    type Output = Self;

    fn neg(self) -> Self {
        Self { value: -self.value, ..self }
    }
}

impl Sub for Number {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Mul for Number {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        let variance = self.value * self.value * other.variance + other.value * other.value * self.variance;
        Self::rounded(self.value * other.value, 1.0, variance)
    }
}

impl Div for Number {
    type Output = Self;

    fn div(self, other: Self) -> Self {
        let value = self.value / other.value;
        let variance = (self.variance + value * value * other.variance) / (other.value * other.value);
        Self::rounded(value, 1.0, variance)
    }
}
