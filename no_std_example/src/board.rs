//! The microcontroller: where a program begins and ends, where its text goes, and how much memory it took.

#[cfg_attr(target_arch = "arm", path = "board/cortex_m.rs")]
#[cfg_attr(target_arch = "riscv32", path = "board/riscv.rs")]
mod target;

pub(crate) use target::{Out, Ticks, entry, flash_used, ram_used, stop};

/// What a free word of the stack holds from the start.
const PAINT: u32 = 0xcccc_cccc;

/// Nanoseconds of a tick of the core's clock: `build.rs` knows its frequency.
const TICK: f32 = 1e9 / frequency(env!("CORE_HZ")) as f32;

const fn frequency(digits: &str) -> u64 {
    match u64::from_str_radix(digits, 10) {
        Ok(hertz) => hertz,
        Err(_) => panic!("the frequency is a number"),
    }
}

/// Bytes of stack that were in use at the deepest: those above the lowest word that has lost its paint.
pub(crate) fn stack_used() -> usize {
    let (mut word, top) = target::stack();
    // SAFETY: all the words from the end of the data to the top of the RAM are there, aligned; the reads are
    // volatile.
    unsafe {
        while word < top && word.read_volatile() == PAINT {
            word = word.add(1);
        }
    }
    bytes(word, top)
}

/// Bytes from one address to another above it.
fn bytes(from: *const u32, to: *const u32) -> usize {
    to as usize - from as usize
}
