//! Times several candidates in turn, so that whatever slows the machine slows them all.
#![allow(dead_code, reason = "each bench uses a part of it")]

use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A sample lasts about this long: the median of many short samples tells more than that of a few long ones.
const SAMPLE: f64 = 1e-3;

/// What is timed.
pub(crate) struct Candidate<'a> {
    pub(crate) name: String,
    /// Floating-point operations of one call.
    pub(crate) flops: u64,
    run: Box<dyn FnMut() + 'a>,
    clock: fn() -> Duration,
    calls: u32,
    samples: Vec<f64>,
}

impl<'a> Candidate<'a> {
    pub(crate) fn new(name: String, flops: u64, run: impl FnMut() + 'a) -> Self {
        Self { name, flops, run: Box::new(run), clock: cpu_time, calls: 0, samples: Vec::new() }
    }

    /// The same by the clock on the wall: for what runs on several threads.
    pub(crate) fn on_the_wall(self) -> Self {
        Self { clock: wall_time, ..self }
    }

    /// Seconds per call in each round, sorted.
    fn sorted(&self) -> Vec<f64> {
        let mut samples = self.samples.clone();
        samples.sort_by(f64::total_cmp);
        samples
    }

    /// Median of the seconds per call.
    pub(crate) fn median(&self) -> f64 {
        self.sorted()[self.samples.len() / 2]
    }

    /// Least seconds per call.
    pub(crate) fn min(&self) -> f64 {
        self.sorted()[0]
    }

    /// How many times slower than `other` it is: the median over the rounds.
    pub(crate) fn ratio(&self, other: &Self) -> f64 {
        let mut ratios: Vec<f64> = self.samples.iter().zip(&other.samples).map(|(a, b)| a / b).collect();
        ratios.sort_by(f64::total_cmp);
        ratios[ratios.len() / 2]
    }

    fn time(&mut self, calls: u32) -> f64 {
        let start = (self.clock)();
        for _ in 0..calls {
            (self.run)();
        }
        ((self.clock)() - start).as_secs_f64() / f64::from(calls)
    }
}

/// Time that this thread has run: what others take of a shared core doesn't count.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub(crate) fn cpu_time() -> Duration {
    use std::ffi::{c_int, c_long};
    #[repr(C)]
    struct Timespec {
        seconds: i64,
        nanoseconds: c_long,
    }
    unsafe extern "C" {
        fn clock_gettime(clock: c_int, time: *mut Timespec) -> c_int;
    }
    const CLOCK_THREAD_CPUTIME_ID: c_int = 3;
    let mut time = Timespec { seconds: 0, nanoseconds: 0 };
    // SAFETY: `time` is a `struct timespec` of this target, and is written to only during the call.
    let status = unsafe { clock_gettime(CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(status, 0, "the clock exists since Linux 2.6.12");
    Duration::new(time.seconds as u64, time.nanoseconds as u32)
}

/// Wall-clock time: run it on a quiet machine.
#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
pub(crate) fn cpu_time() -> Duration {
    wall_time()
}

/// Time since the first call.
fn wall_time() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

/// Takes a sample of each candidate in turn, until the time is up.
pub(crate) fn alternate(candidates: &mut [Candidate<'_>], budget: Duration) {
    for candidate in &mut *candidates {
        let call = (0..3).map(|_| candidate.time(1)).fold(f64::INFINITY, f64::min);
        candidate.calls = (SAMPLE / call).clamp(1.0, 1e6) as u32;
    }
    let start = Instant::now();
    loop {
        for candidate in &mut *candidates {
            if candidate.calls > 8 {
                candidate.time(8); // the others have been in the cache
            }
            let sample = candidate.time(candidate.calls);
            candidate.samples.push(sample);
        }
        if start.elapsed() > budget {
            return;
        }
    }
}

/// How long to measure: not at all where only a test run is asked for.
pub(crate) fn budget(seconds: u64) -> Duration {
    let asked = |flag| std::env::args().any(|arg| arg == flag);
    Duration::from_secs(if asked("--bench") && !asked("--test") { seconds } else { 0 })
}

/// Whether the command line asks for `name`: it contains each argument, or one of
/// the argument's alternatives between commas.
pub(crate) fn wanted(name: &str) -> bool {
    let mut filters = std::env::args().skip(1).filter(|arg| !arg.starts_with('-'));
    filters.all(|filter| filter.split(',').any(|part| name.contains(part)))
}

/// Prints what the numbers depend on: CPU, compiler, commit.
pub(crate) fn print_machine() {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let output = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
    };
    let unknown = || "unknown".to_string();
    println!("CPU: {}", model.map_or(std::env::consts::ARCH, |(_, name)| name));
    println!("compiler: {}", output("rustc", &["-V"]).unwrap_or_else(unknown));
    println!("commit: {}\n", output("git", &["describe", "--always", "--dirty"]).unwrap_or_else(unknown));
}
