//! Programs that learn on a microcontroller, the same on every target: `src/bin/` gives them a place to run and
//! somewhere to write.
#![no_std]
#![forbid(unsafe_code)]

pub mod digits;
#[cfg(feature = "gesture")]
pub mod gesture;
pub mod layers;
pub mod recording;

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

/// What tells how long something took.
pub trait Clock {
    /// Nanoseconds of a tick.
    const TICK: f32;

    /// Ticks since the last call.
    fn lap(&mut self) -> u32;
}

/// No clock: everything takes no time.
pub struct NoClock;

impl Clock for NoClock {
    const TICK: f32 = 0.0;

    fn lap(&mut self) -> u32 {
        0
    }
}

/// Nanoseconds for each of `count` things that took so many ticks together.
pub(crate) fn nanoseconds_each<C: Clock>(ticks: u64, count: usize) -> u32 {
    (ticks as f32 / count as f32 * C::TICK + 0.5) as u32
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
