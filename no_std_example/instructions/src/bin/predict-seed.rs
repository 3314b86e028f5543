//! The seed script's network.
#![no_std]
#![no_main]

instructions::predict!(SCALAR, SEED);
