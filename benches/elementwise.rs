//! The elementary functions over slices, in nanoseconds per element, in some 15 seconds:
//!
//!     taskset -c 0 cargo bench --bench elementwise
//!     taskset -c 0 cargo bench --bench elementwise -- tanh,gelu avx512
//!
//! There is a table for slices of 65,536 elements, and one for slices of 32, where the call counts. Columns are the instruction sets (`ALL_ISAS=1` adds those that
//! are left out by default); times are medians. A function works in place, each time on fresh inputs: they are copied
//! within the time, and the row `copy` is that alone. A function is measured on an instruction set if `function/set` contains
//! each argument; commas separate alternatives.

mod rounds;
mod workloads;

use microprop::{Isa, Rng, kernels};
use rounds::Candidate;
use std::hint::black_box;
use workloads::random;

type Kernel = fn(Isa, &mut [f32]);

/// Each function with the range of its inputs.
const KERNELS: [(&str, Kernel, f32, f32); 15] = [
    ("copy", |_, _| (), -1.0, 1.0),
    ("exp", kernels::exp, -10.0, 10.0),
    ("tanh", kernels::tanh, -5.0, 5.0),
    ("sigmoid", kernels::sigmoid, -10.0, 10.0),
    ("ln", kernels::ln, 0.01, 100.0),
    ("expm1", kernels::expm1, -10.0, 10.0),
    ("softplus", kernels::softplus, -10.0, 10.0),
    ("softplus_of_negative", kernels::softplus_of_negative, -10.0, 10.0),
    ("silu", kernels::silu, -5.0, 5.0),
    ("gelu", kernels::gelu, -5.0, 5.0),
    ("gelu_tanh", kernels::gelu_tanh, -5.0, 5.0),
    ("mish", kernels::mish, -5.0, 5.0),
    ("softsign", kernels::softsign, -5.0, 5.0),
    ("hard_sigmoid", kernels::hard_sigmoid, -5.0, 5.0),
    ("hard_swish", kernels::hard_swish, -5.0, 5.0),
];

fn main() {
    rounds::print_machine();
    for (len, seconds) in [(65_536, 10), (32, 5)] {
        print_table(len, seconds);
    }
}

/// Copies the inputs, a few at a time: many at once the C library may write past the caches, from where the function would
/// then have to fetch them.
fn refill(x: &mut [f32], source: &[f32]) {
    for (to, from) in x.chunks_mut(256).zip(source.chunks(256)) {
        black_box(to).copy_from_slice(from);
    }
}

/// Measures slices of `len` elements for so many seconds.
fn print_table(len: usize, seconds: u64) {
    let isas = workloads::isas();
    let mut rows = Vec::new();
    for (name, kernel, low, high) in KERNELS {
        let source = random(&mut Rng::new(1), len, low, high);
        for &isa in &isas {
            let name = format!("{name}/{isa}");
            if rounds::wanted(&name) || name.starts_with("copy/") {
                let (source, mut x) = (source.clone(), source.clone());
                rows.push(Candidate::new(name, 0, move || {
                    refill(&mut x, &source);
                    kernel(isa, black_box(&mut x));
                    black_box(&x);
                }));
            }
        }
    }
    rounds::alternate(&mut rows, rounds::budget(seconds));

    print!("{:<24}", format!("ns of each of {len}"));
    isas.iter().for_each(|isa| print!("{:>17}", isa.name()));
    println!();
    for (name, ..) in KERNELS {
        let cells = isas.iter().map(|isa| rows.iter().find(|row| row.name == format!("{name}/{isa}")));
        let cells: Vec<String> = cells
            .map(|row| row.map_or(String::new(), |row| format!("{:.3}", row.median() * 1e9 / len as f64)))
            .collect();
        if cells.iter().any(|cell| !cell.is_empty()) {
            print!("{name:<24}");
            cells.iter().for_each(|cell| print!("{cell:>17}"));
            println!();
        }
    }
    println!();
}
