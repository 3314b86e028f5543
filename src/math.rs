//! Elementary functions of our own, so that a result has the same bits on every machine.
//!
//! Each is written once over the lanes of an instruction set, from additions,
//! multiplications, correctly rounded divisions and shifts of the exponent: no
//! tables, no approximate reciprocals, no platform library, no flushing of
//! subnormals. Both [arithmetics](crate::Arithmetic) run the same formula: their
//! results differ only where a multiply-add rounds once or twice.
//!
//! # Accuracy
//! The error is the distance, counted in representable `f32`, from the
//! correctly rounded result. The constants below bound it over all 2³² inputs
//! in both arithmetics; `tests/math.rs` checks them. NaN gives NaN, infinities
//! give the limit, subnormal inputs and results are not special.
//!
//! The functions on slices are in [`kernels`](crate::kernels).
#![forbid(unsafe_code)]

mod exp;
mod ln;
mod sigmoid;
mod softplus;
mod tanh;

pub(crate) use exp::exp;
pub(crate) use ln::ln;
pub(crate) use sigmoid::sigmoid;
pub(crate) use softplus::softplus_of_negative;
pub(crate) use tanh::tanh;

pub use exp::MAX_EXP_ERROR_ULPS;
pub use ln::MAX_LN_ERROR_ULPS;
pub use sigmoid::MAX_SIGMOID_ERROR_ULPS;
pub use softplus::MAX_SOFTPLUS_ERROR_ULPS;
pub use tanh::MAX_TANH_ERROR_ULPS;
