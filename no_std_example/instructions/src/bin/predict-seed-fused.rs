//! The seed script's network, in fused arithmetic.
#![no_std]
#![no_main]

instructions::predict!(SCALAR_FUSED, SEED);
