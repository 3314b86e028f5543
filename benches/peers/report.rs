//! The table, as Markdown.

use crate::program::Program;
use crate::{Cell, Options, Row, Unit, data, families};
use std::fmt::{self, Write};
use std::process::Command;

const HEAD: &str = "\
# Results

Written by `benches/peers/run`. It installs and builds the programs, then has them work in turn on one core, one thread each, on the same numbers;
each workload is measured for 0.3 s a round, and microprop just before and just after each of the others. A ratio is the median, over the rounds, of a
program's time over the mean of those two: **above 1, microprop is faster**.
";

/// What the programs measured, as the rows and programs of a table.
pub(crate) fn write(
    options: &Options,
    programs: &[Program],
    cells: &[Vec<Cell>],
    started: &str,
) -> Result<String, fmt::Error> {
    let mut out = String::from(HEAD);
    machine(&mut out, options.rounds, started)?;
    ratios(&mut out, &options.rows, programs, cells)?;
    for (at, row) in options.rows.iter().enumerate() {
        times(&mut out, row, at, programs, cells)?;
    }
    abouts(&mut out, programs)?;
    Ok(out)
}

fn machine(out: &mut String, rounds: usize, started: &str) -> fmt::Result {
    let cpuinfo = file("/proc/cpuinfo");
    let field = |name: &str| {
        let value = cpuinfo.lines().find_map(|line| line.strip_prefix(name)?.split_once(": "));
        value.map_or("unknown", |(_, value)| value)
    };
    let status = file("/proc/self/status");
    let core = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or("unknown").trim();
    let release = file("/etc/os-release");
    let system = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or(std::env::consts::OS);
    writeln!(
        out,
        "\n- CPU: {} (family {}, model {}); pinned to core {core}",
        field("model name"),
        field("cpu family"),
        field("model\t")
    )?;
    writeln!(
        out,
        "- System: {}; {}; gcc {}",
        system.trim_matches('"'),
        output("rustc", "-V"),
        output("gcc", "-dumpfullversion")
    )?;
    writeln!(out, "- Commit: {}", output("git", "rev-parse --short HEAD"))?;
    writeln!(
        out,
        "- Rounds: {rounds}; load average before {started}, after {} (the measured program is 1 of it)",
        load()
    )
}

/// A column for each workload; a row for the fastest program of each family, then one for each program.
fn ratios(out: &mut String, rows: &[&Row], programs: &[Program], cells: &[Vec<Cell>]) -> fmt::Result {
    writeln!(out, "\n## Times over those of microprop: the fastest of each family\n")?;
    head(out, rows, &cells[0])?;
    for (family, ratios) in families(programs, cells) {
        ratio_row(out, family, ratios.into_iter())?;
    }
    writeln!(out)?;
    for row in rows {
        writeln!(out, "- **{}**: {}", row.name, row.title)?;
    }
    writeln!(out, "\n![the same as a drawing](results.svg)\n\n## Times over those of microprop: all\n")?;
    head(out, rows, &cells[0])?;
    for (program, theirs) in programs.iter().zip(cells).skip(1) {
        if theirs.iter().all(|cell| cell.times.is_empty()) {
            writeln!(out, "| {} | not measured: {} |{}", program.name, program.about, " |".repeat(rows.len() - 1))?;
        } else {
            ratio_row(out, &program.name, theirs.iter().map(Cell::ratio))?;
        }
    }
    Ok(())
}

fn head(out: &mut String, rows: &[&Row], ours: &[Cell]) -> fmt::Result {
    let names: Vec<&str> = rows.iter().map(|row| row.name).collect();
    writeln!(out, "| | {} |\n|---|{}", names.join(" | "), "---:|".repeat(rows.len()))?;
    let show = |(row, cell): (&&Row, &Cell)| cell.median().map_or("–".into(), |time| row.unit.show(time));
    let times: Vec<String> = rows.iter().zip(ours).map(show).collect();
    writeln!(out, "| microprop | {} |", times.join(" | "))
}

fn ratio_row(out: &mut String, name: &str, ratios: impl Iterator<Item = Option<f64>>) -> fmt::Result {
    let ratios: Vec<String> = ratios.map(|ratio| ratio.map_or("–".into(), three_digits)).collect();
    writeln!(out, "| {name} | {} |", ratios.join(" | "))
}

fn times(out: &mut String, row: &Row, at: usize, programs: &[Program], cells: &[Vec<Cell>]) -> fmt::Result {
    writeln!(out, "\n## {}\n", row.name)?;
    writeln!(out, "| {} | median | least to most | ratio | difference of the loss |", row.unit.title())?;
    writeln!(out, "|---|---:|---:|---:|---:|")?;
    for (program, cells_of) in programs.iter().zip(cells) {
        let cell = &cells_of[at];
        let Some(median) = cell.median() else { continue };
        let ratio = cell.ratio().unwrap_or(1.0); // ours has none
        let mut ends =
            [cell.times.iter().copied().fold(f64::INFINITY, f64::min), cell.times.iter().copied().fold(0.0, f64::max)];
        if let Unit::Samples = row.unit {
            ends.reverse();
        }
        let [least, most] = ends.map(|time| row.unit.number(time));
        let difference = cell.difference.map_or("–".into(), |difference| format!("{difference:.0e}"));
        writeln!(
            out,
            "| {} | {} | {least} to {most} | {} | {difference} |",
            program.name,
            row.unit.show(median),
            three_digits(ratio)
        )?;
    }
    let absent = programs.iter().zip(cells).filter(|(program, _)| program.runs());
    let absent =
        absent.filter_map(|(program, cells)| Some(format!("{} ({})", program.name, cells[at].reason.as_ref()?)));
    let absent: Vec<String> = absent.collect();
    if !absent.is_empty() {
        writeln!(out, "\nNot measured: {}.", absent.join("; "))?;
    }
    Ok(())
}

fn abouts(out: &mut String, programs: &[Program]) -> fmt::Result {
    writeln!(out, "\n## Programs\n")?;
    for program in programs {
        writeln!(out, "- **{}**: {}", program.name, program.about)?;
    }
    Ok(())
}

impl Unit {
    fn title(self) -> &'static str {
        match self {
            Self::Nanoseconds => "ns",
            Self::Microseconds => "µs",
            Self::Milliseconds => "ms",
            Self::Samples => "millions of samples a second",
        }
    }

    fn number(self, nanoseconds: f64) -> String {
        let value = match self {
            Self::Nanoseconds => nanoseconds,
            Self::Microseconds => nanoseconds * 1e-3,
            Self::Milliseconds => nanoseconds * 1e-6,
            Self::Samples => data::MANY as f64 / nanoseconds * 1e3,
        };
        three_digits(value)
    }

    fn show(self, nanoseconds: f64) -> String {
        let unit = if let Self::Samples = self { "M/s" } else { self.title() };
        format!("{} {unit}", self.number(nanoseconds))
    }
}

/// To three digits, or all of those before the point.
fn three_digits(value: f64) -> String {
    let decimals = (2 - value.abs().log10().floor() as i32).clamp(0, 3) as usize;
    format!("{value:.decimals$}")
}

/// The load averages over 1 and 5 minutes.
pub(crate) fn load() -> String {
    file("/proc/loadavg").split(' ').take(2).collect::<Vec<_>>().join(" and ")
}

fn file(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn output(program: &str, args: &str) -> String {
    let output = Command::new(program).args(args.split(' ')).output().ok().filter(|output| output.status.success());
    output.map_or("unknown".into(), |output| String::from_utf8_lossy(&output.stdout).trim().into())
}
