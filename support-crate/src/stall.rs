//! What an engine says when it can never make progress again, instead of hanging.

use crate::observe::timeline::short_name;
use crate::show;
use crate::task::Task;
use std::fmt;
use std::panic::Location;

/// Nothing is ready, no timer or socket is waited for, and nobody outside holds a waker: an engine in this state has no
/// future. The report lists who waits, where each was spawned, and why nothing will wake it.
///
/// Two tasks that hold each other's wakers cannot be told from a task whose waker is held elsewhere: in such a circle the
/// engine waits.
#[derive(Clone, Debug)]
pub struct Stalled {
    waiting: Vec<Waiting>,
}

/// One that waits, in the report of a stall.
#[derive(Clone, Debug)]
pub struct Waiting {
    name: String,
    at: &'static Location<'static>,
    blocks: bool,
    awaited: bool,
}

impl Waiting {
    pub(crate) fn new(task: Task) -> Self {
        Self { name: short_name(task.name()), at: task.at(), blocks: task.is_root(), awaited: task.wakers() > 0 }
    }

    /// The future's type, shortened.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it was spawned, or where `block_on` was called.
    pub fn location(&self) -> &'static Location<'static> {
        self.at
    }

    /// Whether it is the future that `block_on` was called with.
    pub fn is_blocking(&self) -> bool {
        self.blocks
    }

    /// Whether it waits for another task of the list to end. If not, nothing holds its waker at all.
    pub fn awaits_a_task(&self) -> bool {
        self.awaited
    }
}

impl Stalled {
    pub(crate) fn new(waiting: Vec<Waiting>) -> Self {
        Self { waiting }
    }

    /// Fills in what only `block_on` knows of the future that it was given.
    pub(crate) fn blocked_at<F>(mut self, at: &'static Location<'static>) -> Self {
        for waiting in self.waiting.iter_mut().filter(|waiting| waiting.blocks) {
            waiting.name = short_name(std::any::type_name::<F>());
            waiting.at = at;
        }
        self
    }

    /// Who waits; the future given to `block_on` comes first.
    pub fn waiting(&self) -> &[Waiting] {
        &self.waiting
    }
}

impl Stalled {
    /// Shows the report in a notebook.
    pub fn evcxr_display(&self) {
        show::to_notebook(&[("text/plain", &self.to_string())]);
    }
}

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "stalled: nothing is ready, no timer or socket is waited for, and nobody holds a waker that could change it"
        )?;
        for Waiting { name, at, blocks, awaited } in &self.waiting {
            let how = if *blocks { "blocked on" } else { "spawned" };
            let why = if *awaited { "waits for a task that waits itself" } else { "nothing holds its waker" };
            // The file and the line of a cell are those of a file that the kernel makes up.
            if is_notebook() {
                writeln!(f, "  {name}, {how} in a cell, at column {}: {why}", at.column())?;
            } else {
                writeln!(f, "  {name}, {how} at {at}: {why}")?;
            }
        }
        write!(f, "A future that returns Pending must first have put its waker where somebody will wake it.")
    }
}

impl std::error::Error for Stalled {}

/// Whether this process is a notebook's: the kernel says so to the processes in which it runs cells.
fn is_notebook() -> bool {
    std::env::var_os("EVCXR_IS_RUNTIME").is_some()
}
