//! How long single calls take, the slowest included, as games and trading engines count it: a million predictions and a
//! million online training steps of the seed network (20-64-1, ReLU and sigmoid), one sample each, every call timed by itself.
//!
//!     taskset -c 0 cargo bench --bench latency            # 15 seconds
//!     taskset -c 0 cargo bench --bench latency -- step    # rows whose name contains it
//!
//! Columns, in nanoseconds: median, 99.9th percentile and maximum of the single calls, each as `std::time::Instant`
//! before and after it tells. That has the cost of the clock in it, which the row `clock` shows: two readings with nothing
//! between. `mean` is that of a million calls in a row without a clock between them, of the time that the thread ran.
//!
//! The maximum is the machine's more than the program's: an interrupt, or another program on the core, counts.

mod rounds;
mod workloads;

use microprop::Schedule;
use std::time::{Duration, Instant};
use workloads::Workload;

const CALLS: usize = 1_000_000;

fn main() {
    let calls = if rounds::budget(1) > Duration::ZERO { CALLS } else { 1000 };
    let seed = workloads::shape("seed").expect("it is a workload").with_batch(1);
    rounds::print_machine();
    println!("{:<32}{:>10}{:>10}{:>10}{:>10}", "", "p50 ns", "p99.9", "max", "mean");
    measure("clock", calls, || {});
    for isa in workloads::isas() {
        for (schedule, name) in [(Schedule::Batch, "batch"), (Schedule::Lean, "lean")] {
            let mut workload = Workload::with_schedule(seed, isa, schedule);
            measure(&format!("predict/{name}/{isa}"), calls, || workload.predict());
        }
        for (schedule, name) in [(Schedule::Batch, "batch"), (Schedule::Lean, "lean")] {
            let mut workload = Workload::with_schedule(seed, isa, schedule);
            measure(&format!("step/{name}/{isa}"), calls, || workload.step());
        }
    }
}

/// Measures `call` and prints its row.
fn measure(name: &str, calls: usize, mut call: impl FnMut()) {
    if !rounds::wanted(name) && name != "clock" {
        return;
    }
    for _ in 0..calls / 10 {
        call();
    }
    let start = rounds::cpu_time();
    for _ in 0..calls {
        call();
    }
    let mean = (rounds::cpu_time() - start).as_secs_f64() * 1e9 / calls as f64;
    // Written once beforehand: no page is touched for the first time within a measurement.
    let mut times = vec![Duration::MAX; calls];
    for time in &mut times {
        let start = Instant::now();
        call();
        *time = start.elapsed();
    }
    times.sort_unstable();
    let at = |part: f64| times[((part * calls as f64) as usize).min(calls - 1)].as_nanos();
    println!("{name:<32}{:>10}{:>10}{:>10}{mean:>10.1}", at(0.5), at(0.999), at(1.0));
}
