//! Makes mistakes, and prints the first that the device does not refuse.
#![no_std]
#![no_main]

use instructions::mistakes::first_that_passes;
use microprop::Isa;

#[instructions::cortex_m_rt::entry]
fn main() -> ! {
    let passes = first_that_passes(Isa::SCALAR);
    match passes {
        Ok(None) => {}
        Ok(Some(name)) => instructions::hprintln!("{} is not refused, or has changed something", name),
        Err(error) => instructions::hprintln!("{}", error),
    }
    instructions::stop(passes == Ok(None))
}
