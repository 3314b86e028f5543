//! The sensor's network.
#![no_std]
#![no_main]

instructions::predict!(SCALAR, SENSOR);
