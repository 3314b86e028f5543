//! Programs that learn on a microcontroller, the same on every target: `src/bin/` gives them a place to run and
//! somewhere to write.
#![no_std]
#![forbid(unsafe_code)]

pub mod digits;
pub mod layers;

use core::fmt;
use microprop::StepError;

/// A number in 0 to 99 with four decimals: `f32`'s own formatting costs a
/// microcontroller over ten kilobytes of flash.
pub struct Decimals(pub f32);

impl fmt::Display for Decimals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = (self.0 * 10_000.0 + 0.5) as u32;
        write!(f, "{}.{:04}", n / 10_000, n % 10_000)
    }
}

/// Why a run ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The loss became infinite or NaN.
    NonFiniteLoss,
    /// A buffer has the wrong length.
    Length,
    /// The output can't be written.
    Output,
}

impl From<StepError> for Failure {
    fn from(error: StepError) -> Self {
        match error {
            StepError::NonFiniteLoss { .. } => Self::NonFiniteLoss,
            _ => Self::Length,
        }
    }
}

impl From<fmt::Error> for Failure {
    fn from(_: fmt::Error) -> Self {
        Self::Output
    }
}
