//! Prints the hashes of many networks of many widths, in order and by output, in fused arithmetic.
#![no_std]
#![no_main]

use instructions::widths::{Memory, hash_of_all};
use microprop::Isa;

#[instructions::cortex_m_rt::entry]
fn main() -> ! {
    static mut MEMORY: Memory = Memory::new();
    for by_output in [false, true] {
        let Ok(hash) = hash_of_all(Isa::SCALAR_FUSED, by_output, MEMORY) else { instructions::stop(false) };
        instructions::hprintln!("hash={:016x}", hash);
    }
    instructions::stop(true)
}
