//! How near training and prediction come to the core's peak, in some 15 seconds:
//!
//!     taskset -c 0 cargo bench --bench peak_fraction
//!     taskset -c 0 cargo bench --bench peak_fraction -- seed,digits avx512
//!
//! A row is measured if its name contains each argument; commas separate alternatives.
//! `ALL_ISAS=1` adds the instruction sets that are left out by default.

mod peak;
mod rounds;
mod workloads;

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
    rounds::alternate(&mut rows, rounds::budget(15));
    let (rows, peaks) = rows.split_at(first_peak);

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
}
