//! The motor monitor on the microcontroller: where the memory lies, and where the text goes.

use crate::board::{stack_used, stop};
use core::fmt::Write;
use cortex_m_rt::entry;
use cortex_m_semihosting::{debug, hio};
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
