//! What a Cortex-M computes in assembly: `no_std_example/instructions/count.sh` runs the same module there, and
//! holds it against the same hash.

#[expect(unreachable_pub, reason = "it is a module of a library, too")]
mod widths;

use microprop::{Arithmetic, Isa};
use widths::{Memory, hash_of_all};

#[test]
fn lean_steps_of_all_widths_have_the_stored_hash() {
    for isa in Isa::available() {
        let stored = match isa.arithmetic() {
            Arithmetic::Fused => include_str!("widths-fused.txt"),
            Arithmetic::Portable => include_str!("widths.txt"),
        };
        let found = hash_of_all(isa, &mut Memory::new()).unwrap();
        assert_eq!(format!("{found:016x}"), stored.trim(), "{isa}");
    }
}
