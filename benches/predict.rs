//! Prediction of a batch (`predict`) and of one sample (`predict_one`) in each workload, and of 1,024 samples by
//! the seed network (`predict_1024`): two minutes, a few seconds for each row.
//!
//!     taskset -c 0 cargo bench --bench predict
//!     taskset -c 0 cargo bench --bench predict -- seed               # all rows of a workload
//!     taskset -c 0 cargo bench --bench predict -- predict_one/seed
//!
//! A row is named operation/workload/instruction set. Its columns are the time of a call and the
//! throughput: lowest, best estimate, highest. Gelem/s are GFLOP/s, of `predict_1024` Melem/s are millions of samples per second.
//! `peak_fraction` sets these rows beside one another.

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
    let shape = workloads::shape("seed").expect("it is a workload").with_batch(1024);
    let mut group = criterion.benchmark_group("predict_1024");
    group.throughput(Throughput::Elements(shape.batch as u64));
    for isa in workloads::isas() {
        let mut workload = None;
        group.bench_function(BenchmarkId::new(shape.name, isa), |b| {
            let workload = workload.get_or_insert_with(|| Workload::new(shape, isa));
            b.iter(|| workload.predict());
        });
    }
    group.finish();
    criterion.final_summary();
}
