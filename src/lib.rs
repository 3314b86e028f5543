//! Trains multi-layer perceptrons by back-propagation: forward pass, loss, backward
//! pass, weight update, on flat `f32` slices, in a handful of fused SIMD kernels.
//! The same training runs on a microcontroller without a heap, and gives the same bits.
//!
//! # With a heap: `Network`
//! ```
//! use microprop::{Activation::*, Adam, Fit, Loss::CrossEntropy, Metric::Accuracy, Network, Rng};
//!
//! // Points in the plane, and whether they lie within the unit circle.
//! let mut rng = Rng::new(1);
//! let x: Vec<f32> = (0..2 * 1000).map(|_| 3.0 * rng.uniform() - 1.5).collect();
//! let classes: Vec<u32> = x.chunks(2).map(|p| u32::from(p[0].hypot(p[1]) < 1.0)).collect();
//!
//! let mut net = Network::new(2).dense(32, Relu).dense(2, Softmax).seed(7).build()?;
//! let fit = Fit::new(CrossEntropy, Adam::new(0.01)).epochs(30).metric(Accuracy).validation_split(0.2);
//! let history = net.fit(&x, &classes, fit)?;
//! assert!(history.last().unwrap().validation.unwrap().metric.unwrap() > 0.95);
//! assert_eq!(net.predict_classes(&[0.1, 0.2, 1.4, 1.4])?, [1, 0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Without: slices of your own
//! A [`Layout`] describes a network and says at compile time how long its buffers are;
//! an [`Mlp`] computes it, a [`Trainer`] trains it. They own nothing and allocate nothing.
//! ```
//! use microprop::{Isa, Layout, Loss, Mlp, Optimizer, Schedule, Sgd, Targets, Trainer, init, layout};
//!
//! const LAYOUT: Layout = layout!(3 => dense(8, Tanh), dense(1, Linear));
//! const MLP: Mlp = Mlp::new(LAYOUT, Isa::SCALAR).with_schedule(Schedule::Lean);
//!
//! let mut params = [0.0; LAYOUT.params_len()];
//! let mut workspace = [0.0; LAYOUT.lean_workspace_len()]; // one float per neuron
//! init(&LAYOUT, 7, &mut params)?;
//!
//! let trainer = Trainer::new(MLP, Loss::HalfMeanSquaredError, Optimizer::Sgd(Sgd::new(0.05)))?;
//! let (mut first, mut last) = (None, 0.0);
//! for step in 0..200 {
//!     let (x, target) = ([0.5, -0.2, 0.1], [0.7]); // a sensor's readings
//!     last = trainer.train_step(step, &x, Targets::values(&target), &mut params, &mut [], &mut workspace)?;
//!     first.get_or_insert(last);
//! }
//! assert!(last < 1e-6 && last < first.unwrap());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it promises
//! - **The same bits everywhere.** How every sum is ordered is part of the interface:
//!   `docs/ARITHMETIC.md`, version 1. Training gives the same parameters for any instruction
//!   set, any number of threads, any batch sharding. There are two arithmetics, [`Arithmetic::Fused`]
//!   and [`Arithmetic::Portable`]; [`hash()`] compares runs.
//! - **Nothing is lost to bad input.** Lengths, targets and settings are checked before the
//!   first write and return a typed error; a loss that is NaN or infinite is found before any
//!   parameter is written.
//! - **No hidden state.** A step is a function of its arguments; nothing is global.
//!
//! # Accuracy
//! exp, ln, tanh and sigmoid are the crate's own, within [`math`]'s bounds of the correctly rounded result
//! over all `f32`. Gradients are tested against an `f64` reference, training runs against
//! PyTorch and Keras.
//!
//! # Features
//! - `std` (default): run-time detection of AVX2 and AVX-512, wall-clock times in a [`History`],
//!   and the software-FMA instance that tests compare with. Without it, x86 uses what
//!   `target-feature` names. Brings `alloc`.
//! - `rayon` (default): splits large batches over rayon's current thread pool. Without it everything
//!   runs on the calling thread. Brings `std`.
//! - `alloc`: [`Network`] and the `matrixmultiply` backend. Without it the crate is `no_std` and
//!   needs no allocator.
//! - `flash`: `flash::Store` keeps a model in NOR flash through power cuts, over the traits of `embedded-storage`.
//!   Needs no allocator.
#![cfg_attr(not(any(test, feature = "std")), no_std)]

#[cfg(feature = "alloc")]
extern crate alloc;

mod activation;
mod adapt;
#[cfg(feature = "alloc")]
mod aligned;
mod backend;
#[cfg(feature = "alloc")]
mod data;
mod ensemble;
mod error;
#[cfg(feature = "alloc")]
mod fit;
#[cfg(feature = "flash")]
pub mod flash;
mod fold;
mod hash;
#[cfg(feature = "alloc")]
mod history;
mod identity;
mod init;
pub mod kernels;
mod layer;
mod layout;
mod loss;
pub mod math;
mod memory;
#[cfg(feature = "alloc")]
mod metric;
#[cfg(feature = "alloc")]
mod network;
mod optimizer;
mod order;
mod parts;
mod penalty;
mod rng;
mod simd;
mod step;

pub use activation::Activation;
pub use adapt::adapt;
pub use backend::Backend;
pub use ensemble::{Ensemble, Member, MemberInputs, MemberTargets};
#[cfg(feature = "alloc")]
pub use error::FitError;
pub use error::{Buffer, EnsembleError, IsaError, LayoutError, StepError, TrainerError};
#[cfg(feature = "alloc")]
pub use fit::Fit;
pub use fold::fold_batch_norm;
pub use hash::hash;
#[cfg(feature = "alloc")]
pub use history::{Epoch, History, Score};
pub use init::{Initializer, init};
pub use layer::Layer;
pub use layout::{Layout, Schedule};
pub use loss::{Loss, LossFunction, Targets};
pub use memory::{Memory, Summary};
#[cfg(feature = "alloc")]
pub use metric::Metric;
#[cfg(feature = "alloc")]
pub use network::{Network, NetworkBuilder};
pub use optimizer::{Adam, EpsilonPlacement, Optimizer, Sgd};
pub use order::copy_params;
pub use penalty::Penalty;
pub use rng::Rng;
pub use simd::{Arithmetic, Isa};
pub use step::{Delta, Mlp, Pass, SlicedStep, Trainer};

/// The README's examples are tests.
#[cfg(all(doctest, feature = "alloc"))]
#[doc = include_str!("../README.md")]
struct Readme;

/// So are those of the guide to devices.
#[cfg(all(doctest, feature = "alloc"))]
#[doc = include_str!("../docs/EMBEDDED.md")]
struct Embedded;
