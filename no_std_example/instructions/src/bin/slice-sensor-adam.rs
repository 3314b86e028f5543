//! The sensor's network in slices of 64 weights, by Adam.
#![no_std]
#![no_main]

use microprop::{Adam, Loss, Optimizer};

instructions::slices!(SCALAR, SENSOR, 64, Loss::CrossEntropy, Optimizer::Adam(Adam::new(0.001)), |rng| rng.below(4) => classes);
