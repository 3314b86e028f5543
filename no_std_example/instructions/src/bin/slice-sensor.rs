//! The sensor's network in slices of 64 weights, by SGD.
#![no_std]
#![no_main]

use microprop::{Loss, Optimizer, Sgd};

instructions::slices!(SCALAR, SENSOR, 64, Loss::CrossEntropy, Optimizer::Sgd(Sgd::new(0.01)), |rng| rng.below(4) => classes);
