//! The microcontroller: where the memory lies, and where the text goes.

use core::fmt::Write;
use core::panic::PanicInfo;
use cortex_m_rt::entry;
use cortex_m_semihosting::{debug, hio, hprintln};
use microprop::{Isa, Trainer};
use motor_monitor::{Decimals, Memory, run, trainer};

static TRAINER: Trainer = trainer(Isa::SCALAR);

#[entry]
fn main() -> ! {
    // cortex-m-rt makes this a `&'static mut` that nobody else can reach.
    static mut MEMORY: Memory = Memory::new();
    let Ok(mut out) = hio::hstdout() else { stop(debug::EXIT_FAILURE) };
    match run(&TRAINER, MEMORY, &mut out) {
        Ok(report) => {
            let written = writeln!(
                out,
                "\nresult: hash={:016x} accuracy={} loss={} network_bytes={} memory_bytes={} stack_bytes={}",
                report.hash,
                Decimals(report.accuracy),
                Decimals(report.loss),
                report.network_bytes,
                report.memory_bytes,
                stack_used(),
            );
            stop(if written.is_ok() { debug::EXIT_SUCCESS } else { debug::EXIT_FAILURE })
        }
        Err(failure) => panic!("{failure:?}"),
    }
}

/// Bytes of stack that were in use at the deepest: what has lost the colour that
/// cortex-m-rt's `paint-stack` gave it at the start.
fn stack_used() -> usize {
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

fn stop(status: debug::ExitStatus) -> ! {
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
