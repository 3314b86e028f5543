//! Runs the check of `layers.rs`: as firmware, and on the desktop.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
#[path = "../board.rs"]
mod board;

#[cfg(target_os = "none")]
mod firmware {
    use crate::board::{Out, entry, flash_used, ram_used, stack_used, stop};
    use core::fmt::Write;
    use learns_on_device::layers::{Memory, run, trainer};
    use microprop::{Isa, Trainer};

    static TRAINER: Trainer = trainer(Isa::SCALAR);

    fn check(memory: &'static mut Memory) -> ! {
        match run(&TRAINER, memory) {
            Ok(hash) => {
                let (ram, stack, flash) = (ram_used(), stack_used(), flash_used());
                let written = writeln!(
                    Out::new(),
                    "result: hash={hash:016x} ram_bytes={ram} stack_bytes={stack} flash_bytes={flash}"
                );
                stop(written.is_ok())
            }
            Err(failure) => panic!("{failure:?}"),
        }
    }

    entry!(Memory, check);
}

/// Fails unless one lane and the widest vectors in portable arithmetic end with the same.
#[cfg(not(target_os = "none"))]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use learns_on_device::layers::{Memory, run, trainer};
    use microprop::{Arithmetic, Isa};
    let run_on = |isa| run(&trainer(isa), &mut Memory::new()).map_err(|failure| format!("{failure:?}"));
    let (scalar, widest) = (run_on(Isa::SCALAR)?, run_on(Isa::new(Arithmetic::Portable)?)?);
    if scalar != widest {
        return Err(format!("{scalar:016x} on one lane, {widest:016x} on many").into());
    }
    println!("result: hash={scalar:016x} memory_bytes={}", size_of::<Memory>());
    Ok(())
}
