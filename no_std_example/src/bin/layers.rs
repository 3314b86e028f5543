//! Runs the check of `layers.rs`: as firmware, and on the desktop.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
#[path = "../board.rs"]
mod board;

#[cfg(target_os = "none")]
mod firmware {
    use crate::board::{stack_used, stop};
    use cortex_m_rt::entry;
    use cortex_m_semihosting::{debug, hprintln};
    use microprop::{Isa, Trainer};
    use motor_monitor::layers::{Memory, run, trainer};

    static TRAINER: Trainer = trainer(Isa::SCALAR);

    #[entry]
    fn main() -> ! {
        static mut MEMORY: Memory = Memory::new();
        match run(&TRAINER, MEMORY) {
            Ok(hash) => {
                let bytes = (size_of::<Memory>(), stack_used());
                hprintln!("result: hash={:016x} memory_bytes={} stack_bytes={}", hash, bytes.0, bytes.1);
                stop(debug::EXIT_SUCCESS)
            }
            Err(failure) => panic!("{failure:?}"),
        }
    }
}

/// Fails unless one lane and the widest vectors in portable arithmetic end with the same.
#[cfg(not(target_os = "none"))]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use microprop::{Arithmetic, Isa};
    use motor_monitor::layers::{Memory, run, trainer};
    let run_on = |isa| run(&trainer(isa), &mut Memory::new()).map_err(|failure| format!("{failure:?}"));
    let (scalar, widest) = (run_on(Isa::SCALAR)?, run_on(Isa::new(Arithmetic::Portable)?)?);
    if scalar != widest {
        return Err(format!("{scalar:016x} on one lane, {widest:016x} on many").into());
    }
    println!("result: hash={scalar:016x} memory_bytes={}", size_of::<Memory>());
    Ok(())
}
