//! One training step of each workload (`train_step`), and one online step: one sample, in the lean schedule
//! (`online_step`). Two or three minutes, a few seconds for each row.
//!
//!     taskset -c 0 cargo bench --bench train_step
//!     taskset -c 0 cargo bench --bench train_step -- seed            # all rows of a workload
//!     taskset -c 0 cargo bench --bench train_step -- seed/avx512
//!
//! A row is named operation/workload/instruction set. Its columns are the time of a step and the
//! throughput: lowest, best estimate, highest. Gelem/s are GFLOP/s. `peak_fraction` sets them beside the core's peak.

mod workloads;

use criterion::{BenchmarkId, Criterion, Throughput};
use microprop::Schedule;
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
    let mut group = criterion.benchmark_group("online_step");
    for (shape, isa) in workloads::cases() {
        let shape = shape.with_batch(1);
        group.throughput(Throughput::Elements(shape.flops_per_step()));
        let mut workload = None;
        group.bench_function(BenchmarkId::new(shape.name, isa), |b| {
            let workload = workload.get_or_insert_with(|| Workload::with_schedule(shape, isa, Schedule::Lean));
            b.iter(|| workload.step());
        });
    }
    group.finish();
    criterion.final_summary();
}
