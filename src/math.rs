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
mod expm1;
mod gelu;
mod gelu_tanh;
mod hard;
mod ln;
mod mish;
mod sigmoid;
mod silu;
mod softplus;
mod softsign;
mod tanh;

pub(crate) use exp::exp;
pub(crate) use expm1::expm1;
pub(crate) use gelu::{gelu, gelu_slope};
pub(crate) use gelu_tanh::{gelu_tanh, gelu_tanh_slope};
pub(crate) use hard::{hard_sigmoid, hard_swish, hard_swish_slope};
pub(crate) use ln::ln;
pub(crate) use mish::{mish, mish_slope};
pub(crate) use sigmoid::sigmoid;
pub(crate) use silu::{silu, silu_slope};
pub(crate) use softplus::{softplus, softplus_of_negative};
pub(crate) use softsign::softsign;
pub(crate) use tanh::tanh;

pub use exp::MAX_EXP_ERROR_ULPS;
pub use expm1::MAX_EXPM1_ERROR_ULPS;
pub use gelu::MAX_GELU_ERROR_ULPS;
pub use gelu_tanh::MAX_GELU_TANH_ERROR_ULPS;
pub use hard::{MAX_HARD_SIGMOID_ERROR_ULPS, MAX_HARD_SWISH_ERROR_ULPS};
pub use ln::MAX_LN_ERROR_ULPS;
pub use mish::MAX_MISH_ERROR_ULPS;
pub use sigmoid::MAX_SIGMOID_ERROR_ULPS;
pub use silu::MAX_SILU_ERROR_ULPS;
pub use softplus::MAX_SOFTPLUS_ERROR_ULPS;
pub use softsign::MAX_SOFTSIGN_ERROR_ULPS;
pub use tanh::MAX_TANH_ERROR_ULPS;
