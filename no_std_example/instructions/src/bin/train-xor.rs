//! The XOR network, by SGD.
#![no_std]
#![no_main]

use microprop::{Loss, Optimizer, Sgd};

instructions::train!(SCALAR, XOR, Loss::MeanSquaredError, Optimizer::Sgd(Sgd::new(0.5)), |rng| rng.below(2) as f32 => values);
