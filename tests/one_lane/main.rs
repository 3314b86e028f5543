//! What a Cortex-M computes in assembly, and what it refuses: `no_std_example/instructions/count.sh` runs the same modules there, and
//! holds the one against the same hash.

#[expect(unreachable_pub, reason = "it is a module of a library, too")]
mod mistakes;
#[expect(unreachable_pub, reason = "it is a module of a library, too")]
mod widths;

use microprop::{Arithmetic, Isa};
use widths::{Memory, hash_of_all, hash_of_tiny};

#[test]
fn lean_steps_of_all_widths_have_the_stored_hash() {
    for isa in Isa::available() {
        let stored = match isa.arithmetic() {
            Arithmetic::Fused => include_str!("widths-fused.txt"),
            Arithmetic::Portable => include_str!("widths.txt"),
        };
        let [in_order, by_output] = [false, true].map(|order| hash_of_all(isa, order, &mut Memory::new()).unwrap());
        let tiny = hash_of_tiny(isa, &mut Memory::new()).unwrap();
        assert_eq!(format!("{in_order:016x}\n{by_output:016x}\n{tiny:016x}"), stored.trim(), "{isa}");
    }
}

#[test]
fn mistakes_are_refused_and_change_nothing() {
    for isa in Isa::available() {
        assert_eq!(mistakes::first_that_passes(isa), Ok(None), "{isa}");
    }
}
