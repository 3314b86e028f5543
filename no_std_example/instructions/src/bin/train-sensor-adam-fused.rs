//! A sensor's network, by Adam, in fused arithmetic.
#![no_std]
#![no_main]

use microprop::{Adam, Loss, Optimizer};

instructions::train!(SCALAR_FUSED, SENSOR, Loss::CrossEntropy, Optimizer::Adam(Adam::new(0.001)), |rng| rng.below(4) => classes);
