//! The state of an engine at one moment, as data: who is queued, who waits for what, and who holds whose waker.

use std::time::Duration;

/// The state of an engine at one moment. From [`Runtime::snapshot`](crate::Runtime::snapshot), [`Runtime::step`](crate::Runtime::step) and
/// [`Timeline::snapshots`](crate::Timeline::snapshots).
///
/// Tasks have the numbers of the [`Timeline`](crate::Timeline) of the same recording. When that has as many entries as are kept, a task that it has not met
/// has a number beyond those, and no name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// When, counted from the start of the recording.
    pub at: Duration,
    /// How many entries the timeline had by then: this is the state right after the last of them.
    pub entries: usize,
    /// The tasks that are queued, the next one to be polled first.
    pub queue: Vec<usize>,
    /// The tasks that are there, by their numbers: those that are not done, and those that are and whose handle or wakers are still about.
    pub tasks: Vec<TaskState>,
    /// The timers that wait, the earliest first, and those that are never due last.
    pub timers: Vec<TimerState>,
    /// The sources (sockets, say) that the reactor knows.
    pub sources: Vec<SourceState>,
}

impl Snapshot {
    /// How many timers, sockets and wakers it shows.
    pub(crate) fn places(&self) -> usize {
        let waiting = |source: &SourceState| 1 + source.read.waiting.len() + source.write.waiting.len();
        let wakers: usize = self.tasks.iter().map(|task| task.wakers.len()).sum();
        self.timers.len() + wakers + self.sources.iter().map(waiting).sum::<usize>()
    }
}

/// One task of a [`Snapshot`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskState {
    /// Its number.
    pub task: usize,
    /// What it is at.
    pub phase: TaskPhase,
    /// Where its wakers are, as far as the engine can know.
    pub wakers: Vec<WakerPlace>,
}

/// What a task is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskPhase {
    /// It waits to be woken.
    Waiting,
    /// It was woken, and is in the queue.
    Queued,
    /// It is being polled.
    Polled,
    /// Its future is being dropped, unfinished.
    Cancelled,
    /// Its future is gone; the output is in its place, or has been taken.
    Done,
}

/// Where a waker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum WakerPlace {
    /// In a timer: its place in [`Snapshot::timers`].
    Timer(usize),
    /// At a source: its number.
    Source(usize),
    /// In a task, to be called at that task's end: somebody awaits its handle.
    Task(usize),
    /// Somewhere that the engine does not know: in a channel, a lock, a combinator, another thread; the number is how many.
    Elsewhere(usize),
}

/// One timer of a [`Snapshot`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TimerState {
    /// How much later than the snapshot it is due; zero if it is overdue, and [`Duration::MAX`] if it never is.
    pub due_in: Duration,
    /// Which task its waker wakes; `None` if that is not the waker of a task.
    pub wakes: Option<usize>,
}

/// One source of a [`Snapshot`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceState {
    /// The reactor's number for it, as in [`What::SocketReady`](crate::What::SocketReady).
    pub source: usize,
    /// The side for reading (and accepting).
    pub read: SideState,
    /// The side for writing.
    pub write: SideState,
}

/// One side of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SideState {
    /// Nobody waits for it.
    pub ready: bool,
    /// The system has been asked to tell when it is ready.
    pub armed: bool,
    /// Who waits for that; `None` for a waker that is not a task's.
    pub waiting: Vec<Option<usize>>,
}

/// One step of an engine: see [`Runtime::step`](crate::Runtime::step).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step {
    /// Which task was polled; `None` if none was ready.
    pub polled: Option<usize>,
    /// The state after it.
    pub state: Snapshot,
}
