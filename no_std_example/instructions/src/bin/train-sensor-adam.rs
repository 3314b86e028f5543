//! The sensor's network, by Adam.
#![no_std]
#![no_main]

use microprop::{Adam, Loss, Optimizer};

instructions::train!(SCALAR, SENSOR, Loss::CrossEntropy, Optimizer::Adam(Adam::new(0.001)), |rng| rng.below(4) => classes);
