//! Prints the hashes of many networks of many widths, in order and by output, and of tiny numbers, in fused arithmetic.
#![no_std]
#![no_main]

use instructions::widths::{Memory, hash_of_all, hash_of_tiny};
use microprop::Isa;

#[instructions::cortex_m_rt::entry]
fn main() -> ! {
    static mut MEMORY: Memory = Memory::new();
    for by_output in [false, true] {
        let Ok(hash) = hash_of_all(Isa::SCALAR_FUSED, by_output, MEMORY) else { instructions::stop(false) };
        instructions::hprintln!("hash={:016x}", hash);
    }
    let tiny = hash_of_tiny(Isa::SCALAR_FUSED, MEMORY);
    if let Ok(tiny) = tiny {
        instructions::hprintln!("hash={:016x}", tiny);
    }
    instructions::stop(tiny.is_ok())
}
