//! Takes the samples: each in a process of its own, the runtimes in turn.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::Options;
use crate::meter::Sample;
use crate::table::Cell;

/// A row and a column.
pub(crate) type Place = (&'static str, &'static str);

/// What was measured.
#[derive(Debug, Default)]
pub(crate) struct Results {
    /// The timed samples of each cell.
    pub(crate) samples: BTreeMap<Place, Vec<Sample>>,
    /// A sample of each cell with its allocations counted.
    pub(crate) allocations: BTreeMap<Place, Sample>,
    /// Instructions per operation, if counted.
    pub(crate) instructions: BTreeMap<Place, f64>,
    /// System calls per operation, if counted.
    pub(crate) syscalls: BTreeMap<Place, f64>,
    /// What could not be counted, a sentence each: no fault of what is measured.
    pub(crate) notes: Vec<String>,
    /// What went wrong, a sentence each.
    pub(crate) failures: Vec<String>,
}

/// Takes all samples: round after round, row after row, and in a row one runtime after another, each round beginning with the next.
pub(crate) fn take(options: &Options, cells: &[Vec<&Cell>]) -> Results {
    let rounds = if options.quick { 1 } else { options.rounds.max(1) };
    let all: usize = cells.iter().map(Vec::len).sum();
    let bar = progress_bar((all * (rounds + 1)) as u64);
    let mut results = Results::default();
    for round in 0..=rounds {
        // The last round counts allocations.
        let counts = round == rounds;
        for row in cells {
            for turn in 0..row.len() {
                let cell = row[(turn + round) % row.len()];
                let place = (cell.row.id, cell.column);
                bar.set_message(format!("{} on {}", cell.row.id, cell.column));
                let mut command = child(cell);
                command.args(options.quick.then_some("--quick"));
                if counts {
                    command.args(["--allocations", "--iterations", "1"]);
                } else {
                    command.args(["--sample-time", &options.sample_time.to_string()]);
                }
                match ask(command) {
                    Ok(sample) if counts => _ = results.allocations.insert(place, sample),
                    Ok(sample) => results.samples.entry(place).or_default().push(sample),
                    Err(why) => results.failures.push(format!("{} on {}: {why}", cell.row.id, cell.column)),
                }
                bar.inc(1);
            }
        }
    }
    bar.finish_and_clear();
    results
}

pub(crate) fn progress_bar(steps: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed_precise} (left: {eta}) {msg}");
    let bar = ProgressBar::new(steps).with_style(style.expect("the template is right"));
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

/// This program, as the child that samples `cell`.
pub(crate) fn child(cell: &Cell) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("the path of this program"));
    command.args(["--sample", cell.row.id, cell.column]);
    command
}

/// Runs a child and reads its sample.
fn ask(mut command: Command) -> Result<Sample, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        // A panic says in its first line where it was, and in the second what.
        let stderr = String::from_utf8_lossy(&output.stderr);
        let said: Vec<&str> = stderr.trim().lines().take(2).collect();
        return Err(format!("{}: {}", output.status, said.join(" ")));
    }
    from_line(&String::from_utf8_lossy(&output.stdout)).ok_or_else(|| "it printed no sample".to_owned())
}

/// How a child tells its sample.
pub(crate) fn to_line(sample: &Sample) -> String {
    let Sample { ops, wall, cpu, allocations, bytes } = sample;
    let cpu = cpu.map_or("none".to_owned(), |cpu| cpu.to_string());
    format!("ops={ops} wall={wall} cpu={cpu} allocations={allocations} bytes={bytes}")
}

fn from_line(line: &str) -> Option<Sample> {
    let mut fields = BTreeMap::new();
    for field in line.split_whitespace() {
        let (name, value) = field.split_once('=')?;
        fields.insert(name, value);
    }
    Some(Sample {
        ops: fields.get("ops")?.parse().ok()?,
        wall: fields.get("wall")?.parse().ok()?,
        cpu: fields.get("cpu")?.parse().ok(),
        allocations: fields.get("allocations")?.parse().ok()?,
        bytes: fields.get("bytes")?.parse().ok()?,
    })
}

/// The operations of a child's sample, from what it printed.
pub(crate) fn operations(stdout: &[u8]) -> Option<u64> {
    from_line(&String::from_utf8_lossy(stdout)).map(|sample| sample.ops)
}
