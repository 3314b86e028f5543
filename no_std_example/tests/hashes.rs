//! A desktop learns what the boards learn: `run.sh` holds them against the same file.

use learns_on_device::{NoClock, digits, layers};
use microprop::{Arithmetic, Isa};

fn stored(program: &str) -> u64 {
    let line = include_str!("../hashes.txt").lines().find_map(|line| line.strip_prefix(program));
    u64::from_str_radix(line.unwrap().trim(), 16).unwrap()
}

fn isas() -> impl Iterator<Item = Isa> {
    Isa::available().filter(|isa| isa.arithmetic() == Arithmetic::Portable)
}

#[test]
fn digits_are_learnt_to_the_same_bits() {
    for isa in isas() {
        let report =
            digits::run(&digits::trainer(isa), &mut digits::Memory::new(), &mut String::new(), &mut NoClock).unwrap();
        assert_eq!(report.hash, stored("digits"), "{isa}");
        assert!(report.accuracy >= 0.93, "{isa}: {}", report.accuracy);
    }
}

#[test]
fn layers_are_learnt_to_the_same_bits() {
    for isa in isas() {
        let hash = layers::run(&layers::trainer(isa), &mut layers::Memory::new()).unwrap();
        assert_eq!(hash, stored("layers"), "{isa}");
    }
}

/// `gesture/prepare.sh` has trained the rest of the network on this desktop, or on another.
#[cfg(feature = "gesture")]
#[test]
fn gestures_are_learnt_to_the_same_bits() {
    use learns_on_device::gesture::{Memory, Networks, run};
    for isa in isas() {
        let report = run(&Networks::new(isa), &mut Memory::new(), &mut String::new(), &mut NoClock).unwrap();
        assert_eq!(report.hash, stored("gesture"), "{isa}");
        assert!(report.before <= 0.6 && report.accuracy >= 0.9, "{isa}: {report:?}");
    }
}
