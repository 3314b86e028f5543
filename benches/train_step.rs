//! One training step of each workload. Gelem/s are GFLOP/s.
//!
//!     taskset -c 0 cargo bench --bench train_step
//!     taskset -c 0 cargo bench --bench train_step -- seed/avx512
//!
//! `peak_fraction` sets them beside the core's peak.

mod workloads;

use criterion::{BenchmarkId, Criterion, Throughput};
use std::time::Duration;
use workloads::Workload;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20)
        .configure_from_args();
    let mut group = criterion.benchmark_group("train_step");
    for (shape, isa) in workloads::cases() {
        group.throughput(Throughput::Elements(shape.flops_per_step()));
        let mut workload = None;
        group.bench_function(BenchmarkId::new(shape.name, isa), |b| {
            let workload = workload.get_or_insert_with(|| Workload::new(shape, isa));
            b.iter(|| workload.step());
        });
    }
    group.finish();
    criterion.final_summary();
}
