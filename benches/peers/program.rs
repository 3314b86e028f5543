//! A program that answers on its standard output what it is asked on its standard input.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

/// So long an answer may take; some compile their step first.
const PATIENCE: Duration = Duration::from_secs(400);

/// What it says of a workload.
pub(crate) enum Answer {
    /// The nanoseconds of a step, and a number to check it by: NaN if it has none to compare.
    Measured(f64, f64),
    /// Why it doesn't have the workload.
    No(String),
}

pub(crate) struct Program {
    pub(crate) name: String,
    /// What it says of itself: version, how it was compiled; or why it is missing.
    pub(crate) about: String,
    child: Option<(Child, ChildStdin, Receiver<String>)>,
    /// It had begun, and failed.
    pub(crate) failed: bool,
}

impl Program {
    pub(crate) fn missing(name: &str, reason: &str) -> Self {
        Self { name: name.into(), about: reason.into(), child: None, failed: false }
    }

    /// Starts it, which says what it is in its first line.
    pub(crate) fn start(name: &str, command: &mut Command) -> Self {
        let mut program = Self::missing(name, "");
        match spawn(command) {
            Ok(child) => program.child = Some(child),
            Err(error) => program.fail(&format!("can't be started: {error}")),
        }
        if let Some(about) = program.line() {
            program.about = about;
        }
        program
    }

    pub(crate) fn runs(&self) -> bool {
        self.child.is_some()
    }

    /// Has it work on a workload. A program that fails is not asked again.
    pub(crate) fn ask(&mut self, workload: &str, steps: u64, seconds: f64) -> Answer {
        if let Some((_, stdin, _)) = &mut self.child
            && let Err(error) = writeln!(stdin, "{workload} {steps} {seconds}")
        {
            self.fail(&format!("stopped: {error}"));
        }
        let Some(line) = self.line() else { return Answer::No(self.about.clone()) };
        let (first, rest) = line.split_once(' ').unwrap_or_default();
        if first == "-" {
            return Answer::No(rest.into());
        }
        if let (Ok(time), Ok(check)) = (first.parse(), rest.parse()) {
            return Answer::Measured(time, check);
        }
        self.fail(&format!("an answer that makes no sense: {line}"));
        Answer::No(self.about.clone())
    }

    fn line(&mut self) -> Option<String> {
        let (_, _, lines) = self.child.as_ref()?;
        match lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(error) => {
                self.fail(&format!("no answer: {error}"));
                None
            }
        }
    }

    fn fail(&mut self, reason: &str) {
        eprintln!("{}: {reason}", self.name);
        self.about = if self.about.is_empty() { reason.into() } else { format!("{}; {reason}", self.about) };
        self.failed = true;
        self.stop();
    }

    fn stop(&mut self) {
        if let Some((mut child, stdin, _)) = self.child.take() {
            drop(stdin);
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.stop();
    }
}

fn spawn(command: &mut Command) -> io::Result<(Child, ChildStdin, Receiver<String>)> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::ErrorKind::BrokenPipe.into());
    };
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    Ok((child, stdin, lines))
}
