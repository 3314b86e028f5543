//! The seed script's network, by SGD, in fused arithmetic.
#![no_std]
#![no_main]

use microprop::{Loss, Optimizer, Sgd};

instructions::train!(SCALAR_FUSED, SEED, Loss::BinaryCrossEntropy, Optimizer::Sgd(Sgd::new(0.01)), |rng| rng.below(2) as f32 => values);
