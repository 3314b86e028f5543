//! Learns how the wearer of a watch moves: as firmware, and on the desktop.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
#[path = "../board.rs"]
mod board;

#[cfg(target_os = "none")]
mod firmware {
    use crate::board::{Out, Ticks, entry, flash_used, ram_used, stack_used, stop};
    use core::fmt::Write;
    use learns_on_device::Decimals;
    use learns_on_device::gesture::{Memory, Networks, run};
    use microprop::Isa;

    static NETWORKS: Networks = Networks::new(Isa::SCALAR);

    fn learn(memory: &'static mut Memory) -> ! {
        let mut out = Out::new();
        match run(&NETWORKS, memory, &mut out, &mut Ticks::new()) {
            Ok(report) => {
                let written = writeln!(
                    out,
                    "\nresult: hash={:016x} before={} accuracy={} step_ns={} ram_bytes={} stack_bytes={} flash_bytes={}",
                    report.hash,
                    Decimals(report.before),
                    Decimals(report.accuracy),
                    report.step_ns,
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
    use learns_on_device::gesture::{Memory, Networks, run};
    use learns_on_device::{Decimals, NoClock};
    use microprop::{Arithmetic, Isa};
    let widest = Isa::new(Arithmetic::Portable)?;
    let run_on = |isa, text: &mut String| {
        run(&Networks::new(isa), &mut Memory::new(), text, &mut NoClock).map_err(|failure| format!("{failure:?}"))
    };
    let mut text = [String::new(), String::new()];
    let (scalar, vector) = (run_on(Isa::SCALAR, &mut text[0])?, run_on(widest, &mut text[1])?);
    print!("{}", text[0]);
    println!("\n{:016x} on {}\n{:016x} on {widest}", scalar.hash, Isa::SCALAR, vector.hash);
    if scalar != vector || text[0] != text[1] {
        return Err("the two runs differ".into());
    }
    println!(
        "result: hash={:016x} before={} accuracy={} memory_bytes={}",
        scalar.hash,
        Decimals(scalar.before),
        Decimals(scalar.accuracy),
        scalar.memory_bytes,
    );
    Ok(())
}
