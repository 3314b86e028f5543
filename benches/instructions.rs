//! Counts the instructions of a training step, which other programs on the machine don't change, and holds the counts against
//! `benches/instructions.txt`. It needs valgrind (`apt install valgrind`), and 10 seconds.
//!
//!     cargo bench --bench instructions                # compares; fails where a step takes 1 % more than in the file
//!     cargo bench --bench instructions -- --update    # counts anew, and writes the file
//!     cargo bench --bench instructions -- digits      # rows whose workload and instruction set contain this
//!
//! What is not checked begins with NOT CHECKED: all counts if the file's are of another compiler (whose code differs) or
//! of another architecture, or `RUSTFLAGS` are set, and rows whose instruction set this CPU lacks. Valgrind knows no AVX-512.
//!
//! With three arguments it is the program that is counted, and only trains; a count is the difference between two of its runs:
//!
//!     valgrind --tool=callgrind --callgrind-out-file=/dev/null target/release/deps/instructions-… seed avx2-fused 100

mod rounds;
mod workloads;

use microprop::Isa;
use std::error::Error;
use std::fmt::Write;
use std::process::{Command, ExitCode};
use std::{env, fs};
use workloads::Workload;

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.txt");

/// Workloads, instruction sets, and the steps that are counted: what takes valgrind some seconds.
/// It emulates fused multiply-adds slowly, so that mnist is portable.
/// `seed@2` is seed with a batch of two.
const ROWS: [(&str, &str, u64); 10] = [
    ("seed", "avx2-fused", 100),
    ("seed", "scalar-portable", 50),
    ("seed@1", "avx2-fused", 500),
    ("seed@2", "avx2-fused", 500),
    ("digits", "avx2-fused", 20),
    ("digits", "scalar-portable", 10),
    ("digits@3", "avx2-fused", 50),
    ("control", "avx2-fused", 5),
    ("control", "scalar-portable", 3),
    ("mnist", "avx2-portable", 1),
];

/// How many percent a count may differ from the file's.
const TOLERANCE: f64 = 1.0;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let asked = |flag: &str| args.iter().any(|arg| arg == flag);
    let words: Vec<&str> = args.iter().map(String::as_str).filter(|arg| !arg.starts_with('-')).collect();
    if let [workload, isa, steps] = words[..] {
        train(workload, isa, steps.parse()?)?;
    } else if asked("--test") {
        ROWS.into_iter()
            .filter(|(_, isa, _)| find(isa).is_some())
            .try_for_each(|(name, isa, _)| train(name, isa, 1))?;
    } else if Command::new("valgrind").arg("--version").output().is_err() {
        println!("NOT CHECKED: there is no valgrind here");
    } else if asked("--update") {
        update()?;
    } else {
        return check();
    }
    Ok(ExitCode::SUCCESS)
}

/// Some training steps and nothing else.
fn train(workload: &str, isa: &str, steps: u64) -> Result<(), Box<dyn Error>> {
    let (name, batch) = workload.split_once('@').unwrap_or((workload, ""));
    let mut shape = workloads::shape(name).ok_or("the workload is one of seed, digits, mnist, wide, control")?;
    if !batch.is_empty() {
        shape = shape.with_batch(batch.parse()?);
    }
    let isa = find(isa).ok_or("this CPU has no such instruction set; they are avx2-fused, scalar-portable, …")?;
    let mut workload = Workload::new(shape, isa);
    (0..steps).for_each(|_| workload.step());
    Ok(())
}

fn find(isa: &str) -> Option<Isa> {
    Isa::available().find(|candidate| candidate.name() == isa)
}

/// A line of the file.
struct Stored<'a> {
    workload: &'a str,
    isa: &'a str,
    instructions: u64,
    /// Architecture and compiler.
    made_by: &'a str,
}

impl<'a> Stored<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (row, made_by) = line.split_once(" | ")?;
        let mut cells = row.split_whitespace();
        let (workload, isa, instructions) = (cells.next()?, cells.next()?, cells.next()?.parse().ok()?);
        Some(Self { workload, isa, instructions, made_by })
    }
}

fn parse(table: &str) -> Result<Vec<Stored<'_>>, Box<dyn Error>> {
    let lines = table.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| Stored::parse(line).ok_or_else(|| format!("not a row of {TABLE}: {line}").into())).collect()
}

/// This architecture and this compiler.
fn made_by() -> Result<String, Box<dyn Error>> {
    let output = Command::new("rustc").arg("-V").output()?;
    Ok(format!("{} {}", env::consts::ARCH, String::from_utf8(output.stdout)?.trim()))
}

/// Counts, and compares with the file.
fn check() -> Result<ExitCode, Box<dyn Error>> {
    let (table, made_by) = (fs::read_to_string(TABLE)?, made_by()?);
    let stored = parse(&table)?;
    if env::var_os("RUSTFLAGS").is_some() {
        println!("NOT CHECKED: RUSTFLAGS are set, with which the code is another");
        return Ok(ExitCode::SUCCESS);
    }
    let mut code = ExitCode::SUCCESS;
    println!("{:<10}{:<18}{:>12}{:>12}{:>9}", "", "instructions", "stored", "counted", "%");
    for (workload, isa, steps) in ROWS.into_iter().filter(is_wanted) {
        let Some(row) = stored.iter().find(|row| (row.workload, row.isa) == (workload, isa)) else {
            println!("FAILED: {workload} {isa} is not in the file; `-- --update` counts it");
            code = ExitCode::FAILURE;
            continue;
        };
        if row.made_by != made_by {
            println!("NOT CHECKED: instructions of {workload} {isa}: counted with {}, this is {made_by}", row.made_by);
            continue;
        }
        if find(isa).is_none() {
            println!("NOT CHECKED: instructions of {workload} {isa}: this CPU has no {isa}");
            continue;
        }
        let counted = count(workload, isa, steps)?;
        let percent = 100.0 * (counted as f64 / row.instructions as f64 - 1.0);
        println!("{workload:<10}{isa:<18}{:>12}{counted:>12}{percent:>+9.2}", row.instructions);
        if percent > TOLERANCE {
            println!(
                "FAILED: {workload} {isa} takes {percent:.2} % more instructions; if that is meant, keep it with `-- --update`"
            );
            code = ExitCode::FAILURE;
        } else if percent < -TOLERANCE {
            println!("{workload} {isa} takes {:.2} % fewer; keep that with `-- --update`", -percent);
        }
    }
    Ok(code)
}

/// Counts anew what this CPU can run and the arguments ask for; other rows stay.
fn update() -> Result<(), Box<dyn Error>> {
    let (table, made_by) = (fs::read_to_string(TABLE).unwrap_or_default(), made_by()?);
    let stored = parse(&table)?;
    let mut new = String::from(
        "# Instructions of a training step, as `cargo bench --bench instructions -- --update` counts them:\n\
         # workload, instruction set, instructions | architecture and compiler.\n",
    );
    for row in ROWS {
        let (workload, isa, steps) = row;
        let stored = stored.iter().find(|row| (row.workload, row.isa) == (workload, isa));
        let (instructions, made_by) = if is_wanted(&row) && find(isa).is_some() {
            (count(workload, isa, steps)?, made_by.as_str())
        } else if let Some(stored) = stored {
            println!("NOT COUNTED: {workload} {isa} stays as it was");
            (stored.instructions, stored.made_by)
        } else {
            println!("NOT COUNTED: {workload} {isa} is not in the file");
            continue;
        };
        writeln!(new, "{workload:<9}{isa:<16}{instructions:>12} | {made_by}")?;
    }
    print!("{new}");
    Ok(fs::write(TABLE, new)?)
}

fn is_wanted((workload, isa, _): &(&str, &str, u64)) -> bool {
    rounds::wanted(&format!("{workload}/{isa}"))
}

/// Instructions of one step.
fn count(workload: &str, isa: &str, steps: u64) -> Result<u64, Box<dyn Error>> {
    let run = |steps: u64| -> Result<u64, Box<dyn Error>> {
        let mut command = Command::new("valgrind");
        command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
        command.arg(env::current_exe()?).args([workload, isa, &steps.to_string()]);
        let report = String::from_utf8_lossy(&command.output()?.stderr).into_owned();
        let collected = report.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
        Ok(collected.ok_or_else(|| format!("{command:?} has counted nothing:\n{report}"))?)
    };
    Ok((run(2 * steps)? - run(steps)?) / steps)
}
