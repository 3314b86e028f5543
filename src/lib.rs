//! Trains multi-layer perceptrons by back-propagation.
#![cfg_attr(not(any(test, feature = "std")), no_std)]

#[cfg(feature = "alloc")]
extern crate alloc;

mod activation;
#[cfg(feature = "alloc")]
mod data;
mod error;
#[cfg(feature = "alloc")]
mod fit;
mod hash;
mod init;
pub mod kernels;
mod layout;
mod loss;
pub mod math;
#[cfg(feature = "alloc")]
mod metric;
#[cfg(feature = "alloc")]
mod network;
mod optimizer;
mod rng;
mod simd;
mod step;

pub use activation::Activation;
#[cfg(feature = "alloc")]
pub use error::FitError;
pub use error::{Buffer, IsaError, LayoutError, StepError, TrainerError};
#[cfg(feature = "alloc")]
pub use fit::{Epoch, Fit, History, Score};
pub use hash::hash;
pub use init::{Initializer, init};
pub use layout::{Layer, Layout, Schedule};
pub use loss::{Loss, Targets};
#[cfg(feature = "alloc")]
pub use metric::Metric;
#[cfg(feature = "alloc")]
pub use network::{Network, NetworkBuilder};
pub use optimizer::{Adam, EpsilonPlacement, Optimizer, Sgd};
pub use rng::Rng;
pub use simd::{Arithmetic, Isa};
pub use step::{Delta, Mlp, Pass, Trainer};
