//! Learns to read digits: as firmware, and on the desktop.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
#[path = "../board.rs"]
mod board;

#[cfg(target_os = "none")]
mod firmware {
    use crate::board::{Out, Ticks, entry, flash_used, ram_used, stack_used, stop};
    use core::fmt::Write;
    use learns_on_device::Decimals;
    use learns_on_device::digits::{Memory, run, trainer};
    use microprop::{Isa, Trainer};

    static TRAINER: Trainer = trainer(Isa::SCALAR);

    fn learn(memory: &'static mut Memory) -> ! {
        let mut out = Out::new();
        match run(&TRAINER, memory, &mut out, &mut Ticks::new()) {
            Ok(report) => {
                let written = writeln!(
                    out,
                    "\nresult: hash={:016x} accuracy={} loss={} step_ns={} network_bytes={} ram_bytes={} stack_bytes={} flash_bytes={}",
                    report.hash,
                    Decimals(report.accuracy),
                    Decimals(report.loss),
                    report.step_ns,
                    report.network_bytes,
                    ram_used(),
                    stack_used(),
                    flash_used(),
                );
                stop(written.is_ok())
            }
            Err(failure) => panic!("{failure:?}"),
        }
    }

    entry!(Memory, learn);
}

/// On one lane and on the widest vectors in portable arithmetic; fails unless both learn the same.
#[cfg(not(target_os = "none"))]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use learns_on_device::digits::{Memory, run, trainer};
    use learns_on_device::{Decimals, NoClock};
    use microprop::{Arithmetic, Isa};
    let widest = Isa::new(Arithmetic::Portable)?;
    let mut text = [String::new(), String::new()];
    let scalar =
        run(&trainer(Isa::SCALAR), &mut Memory::new(), &mut text[0], &mut NoClock).map_err(|e| format!("{e:?}"))?;
    let vector = run(&trainer(widest), &mut Memory::new(), &mut text[1], &mut NoClock).map_err(|e| format!("{e:?}"))?;
    print!("{}", text[0]);
    println!("\n{:016x} on {}\n{:016x} on {widest}", scalar.hash, Isa::SCALAR, vector.hash);
    if scalar != vector || text[0] != text[1] {
        return Err("the two runs differ".into());
    }
    println!(
        "result: hash={:016x} accuracy={} loss={} network_bytes={} memory_bytes={}",
        scalar.hash,
        Decimals(scalar.accuracy),
        Decimals(scalar.loss),
        scalar.network_bytes,
        scalar.memory_bytes,
    );
    Ok(())
}
