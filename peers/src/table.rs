//! The rows (workloads) and columns (runtimes) of the benchmark, and the function that samples each cell.

use crate::meter::{Budget, Sample};

/// The column of the work done without a runtime.
pub(crate) const FLOOR: &str = "no runtime";

/// Our own columns: what the ratios compare with the best of the others.
pub(crate) const OURS: [&str; 2] = ["pinlab", "pinlab::block_on"];

/// A workload.
#[derive(Debug)]
pub(crate) struct Row {
    /// Short name: the id in the design notes where it has one.
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    /// What is counted as one operation.
    pub(crate) operation: &'static str,
    pub(crate) kind: Kind,
}

/// What besides time a row is measured by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It computes, always the same: instructions can be counted.
    Computes,
    /// It computes in a way that depends on what the system answers, or for too long to be counted.
    Calls,
    /// It waits for a clock or for another thread: the processor time of the runtime's thread says more than the clock.
    Waits,
}

/// Rows that belong together in one table of the report.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) title: &'static str,
    pub(crate) rows: &'static [Row],
}

const fn row(id: &'static str, kind: Kind, title: &'static str, operation: &'static str) -> Row {
    Row { id, title, operation, kind }
}

use Kind::{Calls, Computes, Waits};

/// All there is to measure, in the order of the report.
pub(crate) const SECTIONS: &[Section] = &[
    Section {
        title: "Tasks",
        rows: &[
            row("spawn-1000", Computes, "spawn 1 000 tasks, join each", "one task spawned, run and joined"),
            row("S3", Computes, "spawn 25 000 tasks, join each", "one task spawned, run and joined"),
            row("spawn", Computes, "spawn 100 000 tasks, join each", "one task spawned, run and joined"),
            row("spawn-million", Calls, "spawn 1 000 000 tasks, join each", "one task spawned, run and joined"),
            row("spawn-cold", Calls, "the same, the first time in a process", "one task spawned, run and joined"),
            row("yield", Computes, "one task yields 10 000 times", "one yield, in the runtime's own way"),
            row("S5", Computes, "300 tasks yield 300 times", "one yield, in the runtime's own way"),
            row("S12", Computes, "200 tasks yield 1 000 times", "one yield, in the runtime's own way"),
            row("yield-1000", Computes, "1 000 tasks yield 100 times", "one yield, in the runtime's own way"),
            row("S16", Computes, "one task wakes itself 10 000 times", "one wake and poll"),
            row("S6", Computes, "ring of 300 tasks over channels, 300 rounds", "one hop: receive, send, wake the next task"),
            row("ping-pong", Computes, "two tasks over two `mpsc::channel(0)`", "one round trip"),
        ],
    },
    Section {
        title: "block_on of a runtime",
        rows: &[
            row("ready", Computes, "`block_on` of a ready future", "one `block_on`"),
            row("K1", Computes, "one `block_on`, 10 000 wakes of itself", "one wake and poll"),
            row("K2", Computes, "10 000 `block_on`, one wake each", "one `block_on`"),
            row("K3", Waits, "1 000 `block_on`, each woken by another thread", "one hop there and back"),
        ],
    },
    Section {
        title: "block_on alone: no tasks, no timers, no sockets",
        rows: &[
            row("ready-alone", Computes, "`block_on` of a ready future", "one `block_on`"),
            row("K1-alone", Computes, "one `block_on`, 10 000 wakes of itself", "one wake and poll"),
            row("K2-alone", Computes, "10 000 `block_on`, one wake each", "one `block_on`"),
            row("K3-alone", Waits, "1 000 `block_on`, each woken by another thread", "one hop there and back"),
        ],
    },
    Section {
        title: "Timers",
        rows: &[
            row("T1", Computes, "make a timer, poll it once, drop it", "one timer"),
            row("T1-million", Calls, "the same beside 1 000 000 armed timers", "one timer"),
            row("T2", Computes, "`timeout(1 s, ready)`", "one timeout"),
            row("sleeps", Waits, "10 000 tasks sleep, none above 10 ms", "all of them"),
        ],
    },
    Section {
        title: "Sockets",
        rows: &[
            row("N3", Calls, "UDP: 1 KiB sent and received", "one datagram"),
            row("N5-1", Waits, "TCP echo server, 1 connection, 128 B", "one request"),
            row("N5-50", Waits, "TCP echo server, 50 connections, 128 B", "one request"),
            row("N5-1000", Waits, "TCP echo server, 1 000 connections, 128 B", "one request"),
            row("one-thread", Calls, "TCP echo, server and 50 clients in one thread, 64 B", "one round trip"),
        ],
    },
];

/// Takes one sample of a workload on a runtime.
pub(crate) type Workload = fn(Budget) -> Sample;

/// Which runtime does which workload.
#[derive(Debug, Default)]
pub(crate) struct Table {
    cells: Vec<Cell>,
}

#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) row: &'static Row,
    pub(crate) column: &'static str,
    pub(crate) run: Workload,
}

impl Table {
    /// Adds a cell. The row must be one of [`SECTIONS`].
    pub(crate) fn add(&mut self, id: impl AsRef<str>, column: &'static str, run: Workload) {
        let row = all_rows().find(|row| row.id == id.as_ref()).expect("the row has a title");
        self.cells.push(Cell { row, column, run });
    }

    pub(crate) fn cell(&self, id: &str, column: &str) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.row.id == id && cell.column == column)
    }

    /// The cells of a row, in the order of the columns.
    pub(crate) fn row(&self, id: &str) -> impl Iterator<Item = &Cell> {
        self.cells.iter().filter(move |cell| cell.row.id == id)
    }

    /// The columns, each once.
    pub(crate) fn columns(&self) -> Vec<&'static str> {
        let mut columns = Vec::new();
        for cell in &self.cells {
            if !columns.contains(&cell.column) {
                columns.push(cell.column);
            }
        }
        columns
    }
}

pub(crate) fn all_rows() -> impl Iterator<Item = &'static Row> {
    SECTIONS.iter().flat_map(|section| section.rows)
}
