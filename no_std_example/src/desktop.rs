//! The same program on the desktop, on one lane and on the widest vectors in portable arithmetic.

use microprop::{Arithmetic, Isa};
use motor_monitor::{Decimals, Memory, run, trainer};
use std::error::Error;

/// Fails unless both learn the same.
pub fn compare() -> Result<(), Box<dyn Error>> {
    let widest = Isa::new(Arithmetic::Portable)?;
    let mut text = [String::new(), String::new()];
    let scalar = run(&trainer(Isa::SCALAR), &mut Memory::new(), &mut text[0]).map_err(|e| format!("{e:?}"))?;
    let vector = run(&trainer(widest), &mut Memory::new(), &mut text[1]).map_err(|e| format!("{e:?}"))?;
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
