//! A sensor's network, by SGD, in fused arithmetic.
#![no_std]
#![no_main]

use microprop::{Loss, Optimizer, Sgd};

instructions::train!(SCALAR_FUSED, SENSOR, Loss::CrossEntropy, Optimizer::Sgd(Sgd::new(0.01)), |rng| rng.below(4) => classes);
