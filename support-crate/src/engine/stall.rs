//! A stall: an engine that can never make progress again says so, instead of hanging.

use super::Engine;
use crate::JoinHandle;
use crate::observe::names::short_name;
use crate::show;
use crate::task::TaskRef;
use futures::future::{JoinAll, TryJoinAll};
use std::any::type_name;
use std::collections::HashMap;
use std::fmt;
use std::future::Ready;
use std::panic::Location;

/// Nothing is ready and nothing is armed. If, besides, nobody outside holds a waker, nothing can ever happen.
///
/// Who counts is who can be polled. A future that is being dropped, in whose drop this is called, cannot; and who awaits its task waits in vain. Of main
/// tasks there is only this one: earlier ones are over.
pub(super) fn check(engine: &Engine, main: &TaskRef) -> Result<(), Stalled> {
    // One that awaits handles only has its waker itself: it passes on the wakes of those that it gave to them, and they are counted.
    let own = |task: &TaskRef| usize::from(awaits_handles_only((task.who().name)()));
    // A waker that waits for another task's output is no hope by itself: that task has to move first. But if there are more wakers
    // than outputs that a task waits for, some of them wait for something else. That takes few steps to see, and is the rule.
    // One that waits for an instant that never comes is none either. In a notebook a boxed one may be a task's, of another cell.
    let boxed = engine.tasks.joiners(true);
    let joiners = engine.tasks.joiners(false) + if boxed > 0 && is_notebook() { boxed } else { 0 };
    debug_assert!(joiners >= 0);
    let mut surplus = -joiners - engine.timers().count_never() as isize;
    let mut add = |task: &TaskRef| {
        if task.wakers() > 0 {
            surplus += (task.wakers() - own(task)) as isize;
        }
        surplus > 0
    };
    if add(main) || engine.tasks.any(|task| task.waits() && task != main && add(task)) {
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
    let mut sleeping: HashMap<*const (), usize> = HashMap::new();
    for data in engine.timers().never() {
        *sleeping.entry(data).or_default() += 1;
    }
    let is_hope = |task: &TaskRef| {
        let at = |places: &HashMap<*const (), usize>| places.get(&task.address()).copied().unwrap_or(0);
        let in_vain = at(&awaiting) + at(&sleeping);
        task.waits() && task.wakers() > in_vain && task.wakers() > in_vain + own(task) // asks for names: only then
    };
    if engine.tasks.any(is_hope) {
        return Ok(());
    }
    // All that wait, the main future first, then the oldest.
    let mut waiting = Vec::new();
    engine.tasks.any(|task| {
        if task.waits() {
            let why = match task.wakers() {
                0 => Why::Nothing,
                wakers if Some(&wakers) == sleeping.get(&task.address()) => Why::Never,
                _ => Why::Task,
            };
            waiting.push((task != main, task.who().id, Waiting::new(task, why)));
        }
        false
    });
    waiting.sort_by_key(|(is_spawned, id, _)| (*is_spawned, *id));
    Err(Stalled { waiting: waiting.into_iter().map(|(_, _, waiting)| waiting).collect() })
}

/// Whether a future with this name awaits join handles and nothing else: then nobody but their tasks' ends has the wakers that it makes of its own.
fn awaits_handles_only(name: &str) -> bool {
    let before_bracket = |name: &'static str| name.split('<').next().unwrap_or(name);
    let combinators = [type_name::<JoinAll<Ready<()>>>(), type_name::<TryJoinAll<Ready<Result<(), ()>>>>()];
    combinators.into_iter().any(|combinator| {
        let inside = name.strip_prefix(before_bracket(combinator)).and_then(|rest| rest.strip_prefix('<'));
        inside
            .and_then(|inside| inside.strip_prefix(before_bracket(type_name::<JoinHandle<()>>())))
            .is_some_and(|rest| rest.starts_with('<'))
    })
}

/// Nothing is ready, no timer that will fire and no socket is waited for, and nobody outside holds a waker: an engine in this state has no
/// future. The report lists who waits, where each was spawned, and why nothing will wake it.
///
/// # When it can be given
///
/// At once, when the engine itself knows of every waker that there is: those of its timers and sockets, those that wait for a task's end, and none else. A `join_all`
/// or `try_join_all` of more than thirty futures makes wakers of its own: those are known if they are all of [`JoinHandle`]s, and it is what was spawned or blocked on.
///
/// After a second or more, when some are held by what it can call to find out: a read that was given up (`AsyncRead` has no way to say so).
///
/// Never, when a waker is held by something else, because that could be another thread's: a channel whose sender the waiting future owns itself, a lock that
/// it holds already, two tasks that hold each other's wakers; nor when a combinator with wakers of its own holds more than join handles (`FuturesUnordered`, a large
/// `join_all`), or is part of another future. Then the engine waits; see [`Runtime::note_after`](crate::Runtime::note_after).
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
    why: Why,
}

/// Why nothing will wake it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// A task has its waker, to call it at its end.
    Task,
    /// A timer has it that never fires; and nobody else.
    Never,
    /// Nobody has it.
    Nothing,
}

impl Waiting {
    fn new(task: &TaskRef, why: Why) -> Self {
        Self { name: short_name((task.who().name)()), at: task.at(), blocks: task.is_main(), why }
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

    /// Whether it waits for another task to end: for one of the list, or for one whose future is being dropped, by a drop that has called `block_on`.
    pub fn awaits_a_task(&self) -> bool {
        self.why == Why::Task
    }

    /// Whether it waits only for a time that never comes: a sleep of [`Duration::MAX`](std::time::Duration::MAX), say. If neither this nor
    /// [`Waiting::awaits_a_task`] holds, nothing holds its waker at all.
    pub fn sleeps_for_ever(&self) -> bool {
        self.why == Why::Never
    }
}

impl Stalled {
    /// Fills in what only `block_on` knows: where it was called.
    pub(crate) fn blocked_at(mut self, at: &'static Location<'static>) -> Self {
        for waiting in self.waiting.iter_mut().filter(|waiting| waiting.blocks) {
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
        for Waiting { name, at, blocks, why } in &self.waiting {
            let how = if *blocks { "blocked on" } else { "spawned" };
            let why = match why {
                Why::Task => "waits for a task that is waiting, too",
                Why::Never => "waits for a time that never comes",
                Why::Nothing => "nothing holds its waker",
            };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_combinator_of_handles_alone_is_known() {
        type Other = Ready<Result<(), ()>>;
        assert!(awaits_handles_only(type_name::<JoinAll<JoinHandle<()>>>()));
        assert!(awaits_handles_only(type_name::<TryJoinAll<JoinHandle<u8>>>()));
        for other in [
            type_name::<JoinAll<Other>>(),
            type_name::<JoinAll<Box<JoinHandle<()>>>>(),
            type_name::<JoinHandle<()>>(),
            type_name::<Other>(),
        ] {
            assert!(!awaits_handles_only(other), "{other}");
        }
    }
}
