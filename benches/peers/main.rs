//! Training and prediction by this crate and by other programs, in turn on one core. `benches/peers/run` installs and
//! builds the others and then starts this; see there. Without a list of programs it measures this crate alone:
//!
//!     taskset -c 0 cargo bench --bench peers -- seed digits
//!
//! `--programs FILE` has a program on each line, between tabs: its name, `run`, and the words of a command; or its name, `missing`, and why.
//! `--rounds N` (5): each other program measures each workload so many times, for 0.3 s or one run, and this crate before and after each. `--test`: two steps of each.
//! `--write FOLDER`: where RESULTS.md and results.svg go. It fails if a program fails, or comes to another loss.
//!
//! Every program reads the same parameters and data from files, answers as `serve.rs` says, and times runs of some
//! hundred steps, each from the initial parameters: their median is what is measured, and the median of that the result.

mod data;
mod ours;
mod plot;
mod program;
mod report;
mod serve;
#[path = "../workloads/mod.rs"]
mod workloads;

use program::{Answer, Program};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// A program measures a workload for so long in a round, in seconds.
const SECONDS: f64 = 0.3;

/// A relative difference of losses that rounding does not explain.
const TOLERANCE: f64 = 1e-4;

/// What is measured.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) unit: Unit,
    /// Steps of a run.
    steps: u64,
    /// The step whose loss all must share.
    checked: u64,
}

#[derive(Clone, Copy)]
pub(crate) enum Unit {
    Nanoseconds,
    Microseconds,
    Milliseconds,
    /// From a call on `data::MANY` samples: millions per second.
    Samples,
}

const ROWS: [Row; 9] = {
    use Unit::{Microseconds, Milliseconds, Nanoseconds, Samples};
    const fn row(name: &'static str, title: &'static str, unit: Unit, steps: u64, checked: u64) -> Row {
        Row { name, title, unit, steps, checked }
    }
    [
        row("seed", "a training step of 20-64-1, ReLU, sigmoid, BCE, SGD, batch 32", Microseconds, 512, 32),
        row("digits", "a training step of 64-128-10, ReLU, CE, Adam, batch 32", Microseconds, 512, 32),
        row("mnist", "a training step of 784-512-256-10, ReLU, CE, momentum, batch 128", Milliseconds, 64, 32),
        row("wide", "a training step of 1024-2048-2048-1000, ReLU, CE, SGD, batch 256", Milliseconds, 4, 4),
        row("control", "a training step of 17-64-64-6, tanh, MSE, Adam, batch 256", Microseconds, 512, 32),
        row("predict1", "one prediction by the network of seed", Nanoseconds, 4096, 100),
        row("predict1024", "1,024 predictions at once by the network of seed", Samples, 64, 3),
        row(
            "script",
            "the first script of Keras's users, whole: build, compile, 20 epochs of 32 steps",
            Milliseconds,
            1,
            1,
        ),
        row("fit", "`fit` of that script, once more, of the same model", Milliseconds, 1, 1),
    ]
};

/// What a program has done of a row.
#[derive(Default)]
pub(crate) struct Cell {
    /// Nanoseconds per step, measurement by measurement.
    pub(crate) times: Vec<f64>,
    /// Those of each round over ours just before and just after.
    ratios: Vec<f64>,
    /// The relative difference from our loss.
    pub(crate) difference: Option<f64>,
    /// Why there is nothing.
    pub(crate) reason: Option<String>,
}

impl Cell {
    pub(crate) fn median(&self) -> Option<f64> {
        median(self.times.clone())
    }

    /// How many times longer than ours: the median over the rounds.
    pub(crate) fn ratio(&self) -> Option<f64> {
        median(self.ratios.clone())
    }
}

/// The time that a program takes for a row, if it can do it.
fn measure(program: &mut Program, cell: &mut Cell, row: &Row) -> Option<f64> {
    if cell.reason.is_some() {
        return None;
    }
    match program.ask(row.name, row.steps, SECONDS) {
        Answer::Measured(time, _) => {
            cell.times.push(time);
            Some(time)
        }
        Answer::No(reason) => {
            cell.reason = Some(reason);
            None
        }
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// The ratios of the fastest program of each family (what stands before the comma in the name), for each row.
fn families<'a>(programs: &'a [Program], cells: &[Vec<Cell>]) -> Vec<(&'a str, Vec<Option<f64>>)> {
    let mut families: Vec<(&str, Vec<Option<f64>>)> = Vec::new();
    for (program, theirs) in programs.iter().zip(cells).skip(1) {
        let name = program.name.split(',').next().unwrap_or_default();
        let ratios = theirs.iter().map(Cell::ratio);
        match families.iter_mut().find(|(family, _)| *family == name) {
            None => families.push((name, ratios.collect())),
            Some((_, best)) => {
                for (best, ratio) in best.iter_mut().zip(ratios) {
                    *best = [*best, ratio].into_iter().flatten().min_by(f64::total_cmp);
                }
            }
        }
    }
    families.retain(|(_, ratios)| ratios.iter().any(Option::is_some));
    families
}

struct Options {
    programs: Option<PathBuf>,
    write: Option<PathBuf>,
    rounds: usize,
    rows: Vec<&'static Row>,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    if std::env::args().nth(1).as_deref() == Some("ours") {
        ours::answer()?;
        return Ok(ExitCode::SUCCESS);
    }
    let options = options()?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers/data");
    data::write(&folder)?;
    let started = report::load();
    let mut programs = start(&options, &folder)?;

    // The cells of a program, by rows. The first program is ours.
    let mut cells: Vec<Vec<Cell>> =
        programs.iter().map(|_| options.rows.iter().map(|_| Cell::default()).collect()).collect();
    let mut sound = true;
    for (at, row) in options.rows.iter().enumerate() {
        let mut ours = f64::NAN;
        for (program, cells) in programs.iter_mut().zip(&mut cells) {
            // The second loss has an update behind it.
            let steps = if options.rounds == 0 { row.checked.min(2) } else { row.checked };
            match program.ask(row.name, steps, 0.0) {
                Answer::No(reason) => cells[at].reason = Some(reason),
                Answer::Measured(_, check) => {
                    ours = if ours.is_nan() { check } else { ours };
                    let difference = ((check - ours) / ours).abs();
                    cells[at].difference = (!difference.is_nan()).then_some(difference);
                    let differs = difference > TOLERANCE && !matches!(row.name, "script" | "fit");
                    sound &= !differs;
                    let verdict = if differs { "DIFFERS" } else { "done" };
                    println!("{:<12}{:<22}{verdict:>8}{check:>14.6}", row.name, program.name);
                }
            }
        }
    }
    for round in 0..options.rounds {
        eprintln!("round {} of {}", round + 1, options.rounds);
        for (at, row) in options.rows.iter().enumerate() {
            // A machine that others share is now fast, now slow: each program has ours at its side.
            let mut before = measure(&mut programs[0], &mut cells[0][at], row);
            for turn in 1..programs.len() {
                let turn = 1 + (turn + round) % (programs.len() - 1);
                let Some(theirs) = measure(&mut programs[turn], &mut cells[turn][at], row) else { continue };
                let after = measure(&mut programs[0], &mut cells[0][at], row);
                if let (Some(before), Some(after)) = (before, after) {
                    cells[turn][at].ratios.push(2.0 * theirs / (before + after));
                }
                before = after;
            }
        }
    }
    sound &= programs.iter().all(|program| !program.failed);
    if options.rounds > 0 {
        let report = report::write(&options, &programs, &cells, &started)?;
        println!("{report}");
        if let Some(folder) = &options.write {
            std::fs::write(folder.join("RESULTS.md"), report)?;
            plot::draw(&folder.join("results.svg"), &options.rows, &programs, &cells)?;
        }
    }
    println!("{}", if sound { "all programs agree" } else { "FAILED: a program stopped, or came to another loss" });
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options { programs: None, write: None, rounds: 5, rows: Vec::new() };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--bench" => {}
            "--test" => options.rounds = 0,
            "--programs" => options.programs = Some(value()?.into()),
            "--write" => options.write = Some(value()?.into()),
            "--rounds" => options.rounds = value()?.parse()?,
            name => {
                let row = ROWS.iter().find(|row| row.name == name).ok_or_else(|| format!("no workload {name}"))?;
                options.rows.push(row);
            }
        }
    }
    if options.rows.is_empty() {
        options.rows = ROWS.iter().collect();
    }
    Ok(options)
}

fn start(options: &Options, data: &Path) -> Result<Vec<Program>, Box<dyn Error>> {
    let mut programs = vec![Program::start("microprop", Command::new(std::env::current_exe()?).arg("ours"))];
    let list = options.programs.as_ref().map(std::fs::read_to_string).transpose()?.unwrap_or_default();
    for line in list.lines() {
        let words: Vec<&str> = line.split('\t').collect();
        programs.push(match words[..] {
            [name, "missing", reason] => Program::missing(name, reason),
            [name, "run", command, ref args @ ..] => Program::start(name, Command::new(command).args(args).arg(data)),
            _ => return Err(format!("not a program: {line}").into()),
        });
    }
    Ok(programs)
}
