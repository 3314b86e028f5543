//! Trains multi-layer perceptrons by back-propagation.
#![cfg_attr(not(any(test, feature = "std")), no_std)]

#[cfg(feature = "alloc")]
extern crate alloc;

mod activation;
mod error;
mod hash;
mod init;
pub mod kernels;
mod layout;
mod loss;
pub mod math;
mod optimizer;
mod rng;
mod simd;
mod step;

pub use activation::Activation;
pub use error::{Buffer, IsaError, LayoutError, StepError, TrainerError};
pub use hash::hash;
pub use init::{Initializer, init};
pub use layout::{Layer, Layout, Schedule};
pub use loss::{Loss, Targets};
pub use optimizer::{Adam, EpsilonPlacement, Optimizer, Sgd};
pub use rng::Rng;
pub use simd::{Arithmetic, Isa};
pub use step::{Delta, Mlp, Pass, Trainer};
