//! Training steps on two threads against one, where the machine has two idle cores:
//!
//!     cargo bench --bench threads              # 20 seconds; on a quiet machine, not pinned to a core
//!     cargo bench --bench threads -- mnist
//!
//! The one and the two take turns in the same pool; times are by the clock on the wall. Columns: median times, how many
//! times faster two threads are (the median over the rounds), and that per thread. The row `peak` has nothing but multiply-adds in registers
//! on each thread: what the machine itself gives.
//!
//! It fails if a thread of mnist or wide does less than 90 % of what it does alone, or if seed, whose steps are too small
//! for a second thread, is slower by more than 5 %. If even `peak` stays below 95 %, the cores are not idle
//! (or share a clock or a unit), and nothing is checked.

mod peak;
mod rounds;
mod workloads;

use microprop::Isa;
use rounds::Candidate;
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;
use workloads::Workload;

const THREADS: usize = 2;

/// Workloads, and the least that two threads must do for each that one does.
const LEAST: [(&str, f64); 3] = [("mnist", 1.8), ("wide", 1.8), ("seed", 0.95)];

/// The least that two idle cores do for each that one does.
const IDLE: f64 = 1.9;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(THREADS).build()?;
    Ok(pool.install(compare))
}

fn compare() -> ExitCode {
    let isa = Isa::detect();
    let repeat = || {
        for _ in 0..50 {
            peak::run(isa);
        }
    };
    let mut rows = vec![
        Candidate::new("peak".into(), 1, repeat).on_the_wall(),
        Candidate::new("peak".into(), THREADS as u64, move || {
            rayon::join(repeat, repeat);
        })
        .on_the_wall(),
    ];
    for (name, _) in LEAST {
        if rounds::wanted(name) {
            let shape = workloads::shape(name).expect("it is a workload");
            for threads in [1, THREADS] {
                let mut workload = Workload::with_threads(shape, isa, threads);
                rows.push(Candidate::new(name.into(), 1, move || workload.step()).on_the_wall());
            }
        }
    }
    let budget = rounds::budget(20);
    rounds::alternate(&mut rows, budget);

    rounds::print_machine();
    println!("{:<24}{:>14}{:>14}{:>10}{:>14}", isa.name(), "µs, 1 thread", "2 threads", "faster", "per thread %");
    let mut speedups = Vec::new();
    for pair in rows.chunks_exact(2) {
        let [one, two] = pair else { unreachable!("the pairs have two rows") };
        let faster = one.ratio(two) * two.flops as f64;
        let percent = 100.0 * faster / THREADS as f64;
        println!(
            "{:<24}{:>14.2}{:>14.2}{faster:>10.2}{percent:>14.1}",
            one.name,
            one.median() * 1e6,
            two.median() * 1e6
        );
        speedups.push((one.name.as_str(), faster));
    }
    println!();
    if budget == Duration::ZERO {
        println!("NOT CHECKED: a test run measures nothing");
        return ExitCode::SUCCESS;
    }
    if speedups[0].1 < IDLE {
        println!("NOT CHECKED: two idle cores would do {IDLE} times what one does, these do {:.2}", speedups[0].1);
        return ExitCode::SUCCESS;
    }
    let mut code = ExitCode::SUCCESS;
    for (name, least) in LEAST {
        for (_, faster) in speedups.iter().filter(|(other, faster)| *other == name && *faster < least) {
            println!("FAILED: {name} on two threads is {faster:.2} times as fast, not {least}");
            code = ExitCode::FAILURE;
        }
    }
    code
}
