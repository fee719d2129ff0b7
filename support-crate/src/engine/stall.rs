//! A stall: an engine that can never make progress again says so, instead of hanging.

use super::Engine;
use crate::observe::names::short_name;
use crate::show;
use crate::task::TaskRef;
use std::collections::HashMap;
use std::fmt;
use std::panic::Location;

/// Nothing is ready and nothing is armed. If, besides, nobody outside holds a waker, nothing can ever happen.
pub(super) fn check(engine: &Engine, main: &TaskRef) -> Result<(), Stalled> {
    // A waker that waits for another task's output is no hope by itself: that task has to move first. But if there are more wakers
    // than outputs that anybody waits for, some of them wait for something else. That takes few steps to see, and is the rule.
    // One that waits for an instant that never comes is none either.
    let mut surplus = main.wakers() as isize - engine.tasks.joiners() - engine.timers().count_never() as isize;
    let mut is_surplus = |task: &TaskRef| {
        if !task.is_over() && !task.is_main() {
            surplus += task.wakers() as isize;
        }
        surplus > 0
    };
    if engine.tasks.any(&mut is_surplus) {
        return Ok(());
    }
    let mut awaiting: HashMap<*const (), usize> = HashMap::new();
    engine.tasks.any(|task| {
        if !task.is_over()
            && let Some(data) = task.joiner()
        {
            *awaiting.entry(data).or_default() += 1;
        }
        false
    });
    for data in engine.timers().never() {
        *awaiting.entry(data).or_default() += 1;
    }
    let is_hope = |task: &TaskRef| {
        (!task.is_over() && !task.is_main() || task == main)
            && task.wakers() > awaiting.get(&task.address()).copied().unwrap_or(0)
    };
    if engine.tasks.any(is_hope) {
        return Ok(());
    }
    Err(report(engine, main))
}

/// All that wait, the main future first, then the oldest.
fn report(engine: &Engine, main: &TaskRef) -> Stalled {
    let mut waiting = Vec::new();
    engine.tasks.any(|task| {
        if !task.is_over() && (!task.is_main() || task == main) {
            waiting.push((!task.is_main(), task.who().id, Waiting::new(task)));
        }
        false
    });
    waiting.sort_by_key(|(is_spawned, id, _)| (*is_spawned, *id));
    Stalled { waiting: waiting.into_iter().map(|(_, _, waiting)| waiting).collect() }
}

/// Nothing is ready, no timer or socket is waited for, and nobody outside holds a waker: an engine in this state has no
/// future. The report lists who waits, where each was spawned, and why nothing will wake it.
///
/// # When it can be given
///
/// At once, when the engine itself knows of every waker that there is: those of its timers and sockets, those that wait for a task's end, and none else.
///
/// After a second, when some are held by what it can call to find out: a read that was given up (`AsyncRead` has no way to say so), or tasks that
/// are awaited through wakers of a combinator's own, as in a `join_all` of many.
///
/// Never, when a waker is held by something else, because that could be another thread's: a channel whose sender the waiting future owns itself, a lock that
/// it holds already, a `FuturesUnordered` of futures that wait for nothing, two tasks that hold each other's wakers. Then the engine waits; see
/// [`Runtime::note_after`](crate::Runtime::note_after).
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
    fn new(task: &TaskRef) -> Self {
        Self { name: short_name((task.who().name)()), at: task.at(), blocks: task.is_main(), awaited: task.wakers() > 0 }
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
pub(super) fn is_notebook() -> bool {
    std::env::var_os("EVCXR_IS_RUNTIME").is_some()
}
