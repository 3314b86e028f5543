//! The elementary functions over slices, in place, each time from fresh inputs
//! (copied, within the time). Elements per second.
//!
//!     taskset -c 0 cargo bench --bench elementwise
//!     taskset -c 0 cargo bench --bench elementwise -- tanh/4096

mod workloads;

use criterion::{BenchmarkId, Criterion, Throughput};
use microprop::{Isa, Rng, kernels};
use std::hint::black_box;
use std::time::Duration;
use workloads::{isas, random};

type Kernel = fn(Isa, &mut [f32]);

/// Each function with the range of its inputs.
const KERNELS: [(&str, Kernel, f32, f32); 13] = [
    ("exp", kernels::exp, -10.0, 10.0),
    ("tanh", kernels::tanh, -5.0, 5.0),
    ("sigmoid", kernels::sigmoid, -10.0, 10.0),
    ("ln", kernels::ln, 0.01, 100.0),
    ("expm1", kernels::expm1, -10.0, 10.0),
    ("softplus", kernels::softplus, -10.0, 10.0),
    ("silu", kernels::silu, -5.0, 5.0),
    ("gelu", kernels::gelu, -5.0, 5.0),
    ("gelu_tanh", kernels::gelu_tanh, -5.0, 5.0),
    ("mish", kernels::mish, -5.0, 5.0),
    ("softsign", kernels::softsign, -5.0, 5.0),
    ("hard_sigmoid", kernels::hard_sigmoid, -5.0, 5.0),
    ("hard_swish", kernels::hard_swish, -5.0, 5.0),
];

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(500))
        .sample_size(20)
        .configure_from_args();
    for (name, kernel, low, high) in KERNELS {
        let mut group = criterion.benchmark_group(name);
        for len in [32, 4096] {
            let source = random(&mut Rng::new(1), len, low, high);
            let mut x = source.clone();
            group.throughput(Throughput::Elements(len as u64));
            for isa in isas() {
                group.bench_function(BenchmarkId::new(len.to_string(), isa), |b| {
                    b.iter(|| {
                        x.copy_from_slice(&source);
                        kernel(isa, black_box(&mut x));
                    });
                });
            }
        }
        group.finish();
    }
    criterion.final_summary();
}
