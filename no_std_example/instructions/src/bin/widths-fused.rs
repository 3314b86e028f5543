//! Prints the hash of many networks of many widths, in fused arithmetic.
#![no_std]
#![no_main]

use instructions::widths::{Memory, hash_of_all};
use microprop::Isa;

#[instructions::cortex_m_rt::entry]
fn main() -> ! {
    static mut MEMORY: Memory = Memory::new();
    let hash = hash_of_all(Isa::SCALAR_FUSED, MEMORY);
    if let Ok(hash) = hash {
        instructions::hprintln!("hash={:016x}", hash);
    }
    instructions::stop(hash.is_ok())
}
