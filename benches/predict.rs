//! Prediction of a batch and of one sample in each workload. Gelem/s are GFLOP/s.
//!
//!     taskset -c 0 cargo bench --bench predict
//!     taskset -c 0 cargo bench --bench predict -- predict_one/seed

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
    for (name, is_batch) in [("predict", true), ("predict_one", false)] {
        let mut group = criterion.benchmark_group(name);
        for (shape, isa) in workloads::cases() {
            let samples = if is_batch { 1 } else { shape.batch as u64 };
            group.throughput(Throughput::Elements(shape.flops_per_predict() / samples));
            let mut workload = None;
            group.bench_function(BenchmarkId::new(shape.name, isa), |b| {
                let workload = workload.get_or_insert_with(|| Workload::new(shape, isa));
                if is_batch { b.iter(|| workload.predict()) } else { b.iter(|| workload.predict_one()) }
            });
        }
        group.finish();
    }
    criterion.final_summary();
}
