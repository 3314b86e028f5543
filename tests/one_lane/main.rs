//! What a Cortex-M computes in assembly: `no_std_example/instructions/count.sh` runs the same module there, and
//! holds it against the same hash.

#[expect(unreachable_pub, reason = "it is a module of a library, too")]
mod widths;

use microprop::{Arithmetic, Isa};
use widths::{Memory, hash_of_all};

#[test]
fn lean_steps_of_all_widths_have_the_stored_hash() {
    let stored = include_str!("widths.txt").trim();
    for isa in Isa::available().filter(|isa| isa.arithmetic() == Arithmetic::Portable) {
        let found = hash_of_all(isa, &mut Memory::new()).unwrap();
        assert_eq!(format!("{found:016x}"), stored, "{isa}");
    }
}
