//! This runtime and its peers, side by side, in one run. `cargo bench -p pinlab` builds this package and runs it.
//!
//! ```text
//! cargo bench -p pinlab                                  all of it, some minutes; writes support-crate/BENCHMARKS.md
//! cargo bench -p pinlab -- --filter N5 --only monoio     some rows, some runtimes; writes nothing
//! cargo bench -p pinlab -- --quick                       once each, shortly: does it all work?
//! cargo bench -p pinlab -- --instructions --syscalls     counts as well (wants valgrind and strace)
//! cargo bench -p pinlab -- --help
//! ```
//!
//! Every sample runs in a process of its own, so that no runtime inherits the heap, the threads or the thread-locals of another; a
//! sample that fails or hangs is a hole in the table and an error at the end. Samples of the runtimes alternate, so that whatever else
//! the machine does meets them all alike.

mod blocking;
mod chart;
mod counts;
mod machine;
mod meter;
mod report;
mod runtime;
mod runtimes;
mod sampling;
mod scheduling;
mod sockets;
mod table;
mod timers;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::meter::{Budget, Length};
use crate::table::{Cell, Row, Table, all_rows};

#[global_allocator]
static ALLOCATOR: meter::Counting = meter::Counting;

/// Measures the runtime beside its peers.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --", disable_help_subcommand = true)]
struct Options {
    /// Only rows whose id or title contains this (may be given more than once)
    #[arg(long, value_name = "TEXT")]
    filter: Vec<String>,

    /// Only runtimes whose name contains this (may be given more than once)
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,

    /// How many samples of each: the medians are reported
    #[arg(long, value_name = "N", default_value_t = 9)]
    rounds: usize,

    /// The least time of a sample, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 25)]
    sample_time: u64,

    /// What the time of a row that does not wait is taken by: on a machine that has other things to do, `cpu` says more
    #[arg(long, value_enum, default_value_t = Clock::Wall)]
    clock: Clock,

    /// One short sample of each, to see that all works; writes nothing
    #[arg(long)]
    quick: bool,

    /// Do not write BENCHMARKS.md. (A run of some rows or some runtimes never does)
    #[arg(long)]
    no_write: bool,

    /// Count instructions as well, with valgrind
    #[arg(long)]
    instructions: bool,

    /// Count system calls as well, with strace
    #[arg(long)]
    syscalls: bool,

    /// List rows and runtimes, and measure nothing
    #[arg(long)]
    list: bool,

    /// Take one sample in this process and print it bare: what the harness runs, and what to put under a profiler
    #[arg(long, num_args = 2, value_names = ["ROW", "RUNTIME"])]
    sample: Option<Vec<String>>,

    /// With --sample: N iterations instead of a time
    #[arg(long, value_name = "N", requires = "sample")]
    iterations: Option<u64>,

    /// With --sample: count allocations
    #[arg(long, requires = "sample")]
    allocations: bool,

    /// Cargo says so when it benches; without it (`cargo test --benches`) the run is a quick one
    #[arg(long, hide = true)]
    bench: bool,

    /// Nothing to say to: `cargo test -- --nocapture` and the like
    #[arg(long, hide = true)]
    nocapture: bool,
}

/// How time is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Clock {
    /// The clock on the wall
    Wall,
    /// The processor time of the thread that runs the runtime
    Cpu,
}

impl Options {
    fn wants_row(&self, row: &Row) -> bool {
        self.filter.is_empty() || self.filter.iter().any(|text| contains(row.id, text) || contains(row.title, text))
    }

    fn wants_column(&self, column: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|text| contains(column, text))
    }

    fn budget(&self) -> Budget {
        let time = if self.quick { 1 } else { self.sample_time };
        let length = match self.iterations {
            Some(iterations) => Length::Iterations(iterations),
            None => Length::Time(Duration::from_millis(time)),
        };
        Budget { length, quick: self.quick }
    }
}

fn contains(text: &str, part: &str) -> bool {
    text.to_lowercase().contains(&part.to_lowercase())
}

fn main() -> ExitCode {
    let mut options = Options::parse();
    let table = runtimes::table();
    if let Some(cell) = &options.sample {
        return sample(&options, &table, cell);
    }
    if !options.bench {
        options.quick = true;
    }
    if options.list {
        list(&table);
        return ExitCode::SUCCESS;
    }
    run(&options, &table)
}

/// The child's side: one cell, one sample.
fn sample(options: &Options, table: &Table, cell: &[String]) -> ExitCode {
    let Some(cell) = table.cell(&cell[0], &cell[1]) else {
        eprintln!("error: no workload `{}` on `{}`; `cargo bench -p pinlab -- --list` shows what there is", cell[0], cell[1]);
        return ExitCode::FAILURE;
    };
    sockets::raise_descriptor_limit();
    let run = || (cell.run)(options.budget());
    let sample = if options.allocations { meter::counting(run) } else { run() };
    println!("{}", sampling::to_line(&sample));
    ExitCode::SUCCESS
}

fn list(table: &Table) {
    println!("rows:");
    for row in all_rows() {
        println!("  {:12} {} (per: {})", row.id, row.title, row.operation);
    }
    println!("runtimes:");
    for column in table.columns() {
        println!("  {column}");
    }
}

fn run(options: &Options, table: &Table) -> ExitCode {
    let rows: Vec<&Row> = all_rows().filter(|row| options.wants_row(row)).collect();
    let cells: Vec<Vec<&Cell>> =
        rows.iter().map(|row| table.row(row.id).filter(|cell| options.wants_column(cell.column)).collect()).collect();
    if cells.iter().all(Vec::is_empty) {
        eprintln!("error: nothing to measure; `cargo bench -p pinlab -- --list` shows the rows and the runtimes");
        return ExitCode::FAILURE;
    }

    let mut results = sampling::take(options, &cells);
    if options.instructions {
        counts::instructions(&cells, &mut results);
    }
    if options.syscalls {
        counts::syscalls(&cells, &mut results);
    }

    let report = report::tables(&results, &table.columns(), options.clock);
    println!("{report}");
    let whole = options.filter.is_empty() && options.only.is_empty();
    if whole && !options.quick && !options.no_write {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../support-crate/BENCHMARKS.md");
        if let Err(error) = std::fs::write(&path, report::page(&report, options)) {
            eprintln!("error: cannot write {}: {error}", path.display());
            return ExitCode::FAILURE;
        }
        if let Err(error) = std::fs::write(path.with_extension("svg"), chart::draw(&report::bars(&results))) {
            eprintln!("error: cannot write the picture: {error}");
            return ExitCode::FAILURE;
        }
        println!("written to {}, with its picture", path.display());
    }
    for note in &results.notes {
        eprintln!("note: {note}");
    }
    for failure in &results.failures {
        eprintln!("error: {failure}");
    }
    if results.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
