//! Counts that hardly vary: instructions (valgrind) and system calls (strace) per operation.
//!
//! A sample of few iterations and one of more run under the tool; the difference is what the further iterations cost, start-up and warm-up
//! left out.

use std::process::{Command, Stdio};

use crate::sampling::{Results, child, operations, progress_bar};
use crate::table::{Cell, Kind};

/// Instructions of user code. Rows that depend on the system's answers, or on other threads, are left out.
pub(crate) fn instructions(cells: &[Vec<&Cell>], results: &mut Results) {
    let tool = Tool {
        name: "valgrind",
        iterations: (1, 3),
        arguments: &["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"],
        total: |stderr| {
            let line = stderr.lines().find(|line| line.contains("refs:"))?;
            line.rsplit(':').next()?.trim().replace(',', "").parse().ok()
        },
    };
    for cell in tool.cells(cells, |kind| kind == Kind::Computes, "instructions", results) {
        match tool.per_operation(cell) {
            Ok(count) => _ = results.instructions.insert((cell.row.id, cell.column), count),
            Err(why) => results.notes.push(format!("instructions of {} on {}: {why}", cell.row.id, cell.column)),
        }
    }
}

/// System calls of the whole process: in N5 this includes the client's two a request.
pub(crate) fn syscalls(cells: &[Vec<&Cell>], results: &mut Results) {
    let tool = Tool {
        name: "strace",
        iterations: (2, 12),
        arguments: &["-f", "-c", "-U", "calls,name", "--"],
        total: |stderr| {
            let line = stderr.lines().rev().find(|line| line.trim_end().ends_with("total"))?;
            line.split_whitespace().next()?.parse().ok()
        },
    };
    for cell in tool.cells(cells, |kind| kind != Kind::Computes, "system calls", results) {
        match tool.per_operation(cell) {
            Ok(count) => _ = results.syscalls.insert((cell.row.id, cell.column), count),
            Err(why) => results.notes.push(format!("system calls of {} on {}: {why}", cell.row.id, cell.column)),
        }
    }
}

/// A program that runs another one and reports a total on its standard error.
struct Tool {
    name: &'static str,
    /// Of the two samples.
    iterations: (u64, u64),
    arguments: &'static [&'static str],
    total: fn(&str) -> Option<f64>,
}

impl Tool {
    /// The cells to count, with a progress bar; none, and a failure, when the tool is not there.
    fn cells<'a>(
        &self,
        cells: &'a [Vec<&'a Cell>],
        wanted: fn(Kind) -> bool,
        what: &str,
        results: &mut Results,
    ) -> impl Iterator<Item = &'a Cell> + use<'a> {
        let there = Command::new(self.name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        let mut all: Vec<&Cell> = Vec::new();
        if there.is_ok_and(|status| status.success()) {
            all = cells.iter().flatten().copied().filter(|cell| wanted(cell.row.kind)).collect();
        } else {
            results.failures.push(format!("{what} are not counted: {} is not installed", self.name));
        }
        let bar = progress_bar(all.len() as u64);
        bar.set_message(what.to_owned());
        all.into_iter().inspect(move |_| bar.inc(1))
    }

    fn per_operation(&self, cell: &Cell) -> Result<f64, String> {
        let (few, few_operations) = self.run(cell, self.iterations.0)?;
        let (more, more_operations) = self.run(cell, self.iterations.1)?;
        if more_operations == few_operations {
            return Err("it has a single iteration".to_owned());
        }
        let count = (more - few) / (more_operations - few_operations) as f64;
        // Where threads beside it do as they please, the difference says nothing.
        if count >= 0.0 { Ok(count) } else { Err("more iterations cost less".to_owned()) }
    }

    fn run(&self, cell: &Cell, iterations: u64) -> Result<(f64, u64), String> {
        let inner = child(cell);
        let output = Command::new(self.name)
            .args(self.arguments)
            .arg(inner.get_program())
            .args(inner.get_args())
            .args(["--iterations", &iterations.to_string()])
            .stdin(Stdio::null())
            .output()
            .map_err(|error| error.to_string())?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        let total = (self.total)(&stderr).ok_or_else(|| format!("{} reported no total", self.name))?;
        let operations = operations(&output.stdout).ok_or_else(|| format!("no sample under {}", self.name))?;
        Ok((total, operations))
    }
}
