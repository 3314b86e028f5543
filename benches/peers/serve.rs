//! The dialogue of a Rust program with the table's (`main.rs`).

use std::io::{self, BufRead, Write};
use std::time::{Duration, Instant};

/// Trains so many steps from the initial parameters, or predicts so many times: how long that took, and a number to
/// check it by.
pub(crate) type Run = Box<dyn FnMut(u64) -> (Duration, f32)>;

/// Answers each line `WORKLOAD STEPS SECONDS` with `NANOSECONDS CHECK`, or `- REASON`.
pub(crate) fn serve(about: &str, prepare: impl Fn(&str) -> Result<Run, String>) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "{about}")?;
    let mut runs: Vec<(String, Result<Run, String>)> = Vec::new();
    for line in io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        let [workload, steps, seconds] = words[..] else { return Err(io::ErrorKind::InvalidInput.into()) };
        let (Ok(steps), Ok(seconds)) = (steps.parse(), seconds.parse()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let at = runs.iter().position(|(name, _)| name == workload).unwrap_or_else(|| {
            runs.push((workload.into(), prepare(workload)));
            runs.len() - 1
        });
        match &mut runs[at].1 {
            Ok(run) => writeln!(out, "{}", measure(run, steps, seconds))?,
            Err(reason) => writeln!(out, "- {reason}")?,
        }
    }
    Ok(())
}

/// The median of runs that last so many seconds together, after a tenth of that to warm up; of one run if that is none.
fn measure(run: &mut Run, steps: u64, seconds: f64) -> String {
    let start = Instant::now();
    while start.elapsed().as_secs_f64() < seconds / 10.0 {
        run(steps);
    }
    let (mut times, mut total) = (Vec::new(), Duration::ZERO);
    let check = loop {
        let (time, check) = run(steps);
        total += time;
        times.push(time);
        if total.as_secs_f64() >= seconds {
            break check;
        }
    };
    times.sort_unstable();
    format!("{:.3} {check:e}", times[times.len() / 2].as_secs_f64() / steps as f64 * 1e9)
}
