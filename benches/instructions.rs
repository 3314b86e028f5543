//! Runs some training steps of a workload and nothing else: to count their instructions.
//!
//!     cargo build --release --bench instructions    # prints nothing; the program is target/release/deps/instructions-*
//!     valgrind --tool=callgrind --callgrind-out-file=/dev/null PROGRAM seed avx2-fused 100
//!     valgrind --tool=callgrind --callgrind-out-file=/dev/null PROGRAM seed avx2-fused 200
//!
//! The difference of the two counts is that of 100 steps. (Valgrind knows no AVX-512.)

mod workloads;

use microprop::Isa;
use workloads::{SHAPES, Workload};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let [name, isa, steps] = args.as_slice() else { return eprintln!("usage: instructions WORKLOAD ISA STEPS") };
    let shape = SHAPES.into_iter().find(|shape| shape.name == name).expect("a workload: seed, digits, …");
    let isa = Isa::available().find(|candidate| candidate.name() == isa).expect("an instruction set: avx2-fused, …");
    let steps: usize = steps.parse().expect("a number of steps");
    let mut workload = Workload::new(shape, isa);
    for _ in 0..steps {
        workload.step();
    }
}
