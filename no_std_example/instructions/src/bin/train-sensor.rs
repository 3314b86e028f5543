//! The sensor's network, by SGD.
#![no_std]
#![no_main]

use microprop::{Loss, Optimizer, Sgd};

instructions::train!(SCALAR, SENSOR, Loss::CrossEntropy, Optimizer::Sgd(Sgd::new(0.01)), |rng| rng.below(4) => classes);
