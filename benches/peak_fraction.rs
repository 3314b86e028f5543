//! How near training and prediction come to the core's peak, what portable arithmetic costs, and what one sample does, in
//! some 25 seconds:
//!
//!     taskset -c 0 cargo bench --bench peak_fraction
//!     taskset -c 0 cargo bench --bench peak_fraction -- seed,digits avx512
//!
//! A row is measured if its name contains each argument; commas separate alternatives.
//! `ALL_ISAS=1` adds the instruction sets that are left out by default.
//!
//! The first table has, for a batch of each workload, the median and the least time, the rate of the median, the core's own peak of
//! multiply-adds in that instruction set, and the percentage of it, by medians and at best. The second has the
//! speed of portable arithmetic as a part of that of fused on the same vectors: the median over the rounds. The third is
//! about the seed network: predictions and online training steps of one sample (`batch` and `lean` are the schedules),
//! and predictions of 1,024, with millions of samples per second.

mod peak;
mod rounds;
mod workloads;

use microprop::Schedule;
use rounds::Candidate;
use workloads::Workload;

fn main() {
    let mut rows = Vec::new();
    let mut peaks = Vec::new();
    for (operation, is_step) in [("train_step", true), ("predict", false)] {
        for (shape, isa) in workloads::cases() {
            let name = format!("{operation}/{}/{isa}", shape.name);
            if !rounds::wanted(&name) {
                continue;
            }
            let mut workload = Workload::new(shape, isa);
            rows.push(if is_step {
                Candidate::new(name, shape.flops_per_step(), move || workload.step())
            } else {
                Candidate::new(name, shape.flops_per_predict(), move || workload.predict())
            });
            if peaks.iter().all(|peak: &Candidate<'_>| peak.name != isa.name()) {
                peaks.push(Candidate::new(isa.name().into(), peak::run(isa) as u64, move || {
                    peak::run(isa);
                }));
            }
        }
    }
    let first_peak = rows.len();
    rows.extend(peaks);
    rounds::alternate(&mut rows, rounds::budget(20));
    let (rows, peaks) = rows.split_at(first_peak);
    let (batches, mut samples) = sample_rows();
    rounds::alternate(&mut samples, rounds::budget(5));

    rounds::print_machine();
    println!("{:<34}{:>11}{:>11}{:>9}{:>8}{:>7}{:>8}", "", "µs median", "min", "GFLOP/s", "peak", "%", "% best");
    for row in rows {
        let peak = peaks.iter().find(|peak| row.name.ends_with(&peak.name)).expect("each row has its peak");
        let rate = |row: &Candidate<'_>, seconds: f64| row.flops as f64 / seconds * 1e-9;
        let (median, best) = (rate(row, row.median()), rate(row, row.min()));
        let (peak_median, peak_best) = (rate(peak, peak.median()), rate(peak, peak.min()));
        println!(
            "{:<34}{:>11.2}{:>11.2}{:>9.1}{:>8.1}{:>7.1}{:>8.1}",
            row.name,
            row.median() * 1e6,
            row.min() * 1e6,
            median,
            peak_median,
            100.0 * median / peak_median,
            100.0 * best / peak_best
        );
    }
    println!("\n{:<34}{:>20}", "", "portable / fused");
    for portable in rows {
        let fused = portable.name.strip_suffix("portable").map(|name| format!("{name}fused"));
        if let Some(fused) = rows.iter().find(|row| Some(&row.name) == fused.as_ref()) {
            println!("{:<34}{:>20.2}", portable.name, fused.ratio(portable));
        }
    }

    println!("\n{:<34}{:>11}{:>11}{:>12}", "", "ns median", "min", "M samples/s");
    for (row, batch) in samples.iter().zip(batches) {
        let (median, min) = (row.median(), row.min());
        println!("{:<34}{:>11.1}{:>11.1}{:>12.2}", row.name, median * 1e9, min * 1e9, batch as f64 / median * 1e-6);
    }
}

/// The seed network on one sample and on 1,024, with these numbers.
fn sample_rows() -> (Vec<usize>, Vec<Candidate<'static>>) {
    use Schedule::{Batch, Lean};
    let seed = workloads::shape("seed").expect("it is a workload");
    let (mut batches, mut rows) = (Vec::new(), Vec::new());
    for (operation, batch, schedule, is_step) in [
        ("predict/seed/1/batch", 1, Batch, false),
        ("predict/seed/1/lean", 1, Lean, false),
        ("predict/seed/1024/batch", 1024, Batch, false),
        ("train_step/seed/1/batch", 1, Batch, true),
        ("train_step/seed/1/lean", 1, Lean, true),
    ] {
        for isa in workloads::isas() {
            let name = format!("{operation}/{isa}");
            if !rounds::wanted(&name) {
                continue;
            }
            let shape = seed.with_batch(batch);
            let mut workload = Workload::with_schedule(shape, isa, schedule);
            batches.push(batch);
            rows.push(if is_step {
                Candidate::new(name, shape.flops_per_step(), move || workload.step())
            } else {
                Candidate::new(name, shape.flops_per_predict(), move || workload.predict())
            });
        }
    }
    (batches, rows)
}
