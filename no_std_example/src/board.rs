//! The microcontroller: how much stack was used, and how a program ends.

use core::panic::PanicInfo;
use cortex_m_semihosting::{debug, hprintln};

/// Bytes of stack that were in use at the deepest: what has lost the colour that
/// cortex-m-rt's `paint-stack` gave it at the start.
pub fn stack_used() -> usize {
    unsafe extern "C" {
        static _stack_start: u32;
        static _stack_end: u32;
    }
    let (top, mut word) = (&raw const _stack_start, &raw const _stack_end);
    // SAFETY: the linker script puts both symbols at the ends of the RAM above
    // `.bss`, word-aligned; the reads are volatile and stay below the top.
    unsafe {
        while word < top && word.read_volatile() == cortex_m_rt::STACK_PAINT_VALUE {
            word = word.add(1);
        }
    }
    top as usize - word as usize
}

/// Ends the emulation; a board waits.
pub fn stop(status: debug::ExitStatus) -> ! {
    debug::exit(status);
    loop {
        cortex_m::asm::wfi();
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    hprintln!("{}", info); // a lone literal is printed as it stands
    stop(debug::EXIT_FAILURE)
}
