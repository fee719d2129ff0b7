//! The recorder: puts down what an engine does, step by step.
//!
//! While it is off, each place that could record looks at one flag and goes on. While it is on, each step is put down
//! with the time since the start; [`Timeline`] is a copy of that.
//!
//! ```text
//!   tasks, timers, reactor ── Step ──▶ Recorder ── a copy ──▶ Timeline ──▶ lanes (SVG), lines (text)
//! ```
//!
//! Invariants
//!
//! * **IL1** Entries are in the order of time. At most one of them, a poll or a sleep, is still open: an engine does one thing at a time.
//! * **IL2** A task is an id and a name here, never a reference.
//! * **IL3** At most [`MOST_STEPS`] are kept; how many were not is counted, and no task that is met later has a lane. Of
//!   snapshots at most [`MOST_SNAPSHOTS`] are kept, and none any more once one would show more than [`MOST_TASKS`] or [`MOST_PLACES`].

use super::names::short_name;
use super::snapshot::Snapshot;
use super::timeline::{Entry, Source, Timeline, What};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How many steps are kept: a recording that is forgotten must not eat the machine.
const MOST_STEPS: usize = 100_000;
/// How many snapshots are kept: they are for those who step through.
const MOST_SNAPSHOTS: usize = 2_000;
/// How many tasks the recording has met, or the engine has, at most, while they are kept.
const MOST_TASKS: usize = 64;
/// How many timers, sockets and wakers one of them shows at most.
const MOST_PLACES: usize = 256;

/// A task, as far as a record knows it (IL2).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Who {
    pub(crate) id: u64,
    /// Of the future's type.
    pub(crate) name: fn() -> &'static str,
    /// It stands for a future given to `block_on`, one after the other.
    pub(crate) blocks: bool,
}

/// Something the engine did, as it tells the recorder.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Spawn {
        task: Who,
        by: By,
    },
    Begin {
        task: Who,
    },
    Park,
    /// Of the poll or the sleep.
    End {
        done: bool,
    },
    Wake {
        task: Who,
        by: By,
        fresh: bool,
    },
    Timer {
        late: Duration,
    },
    /// The reactor's number of the source, and which sides the event found.
    Event {
        source: usize,
        readable: bool,
        writable: bool,
    },
}

/// Who is at work, and so who wakes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum By {
    Task(Who),
    Timer,
    Socket,
    OtherThread,
    /// The engine itself, which asks who still waits.
    Engine,
    /// Code on the engine's thread, outside of any task.
    Outside,
}

/// An engine's recorder.
#[derive(Debug)]
pub(crate) struct Recorder {
    /// Whether there is a recording: the only thing about it that is looked at while it is off.
    on: Cell<bool>,
    /// What is going on. Kept up to date only while recording.
    current: Cell<By>,
    recording: RefCell<Option<Recording>>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self { on: Cell::new(false), current: Cell::new(By::Outside), recording: RefCell::new(None) }
    }
}

impl Recorder {
    #[inline(always)]
    pub(crate) fn is_on(&self) -> bool {
        self.on.get()
    }

    /// Begins afresh.
    pub(crate) fn start(&self) {
        self.recording.replace(Some(Recording::new()));
        self.on.set(true);
    }

    pub(crate) fn stop(&self) -> Timeline {
        self.on.set(false);
        self.recording.take().as_ref().map(Recording::timeline).unwrap_or_default()
    }

    pub(crate) fn timeline(&self) -> Timeline {
        self.recording.borrow().as_ref().map(Recording::timeline).unwrap_or_default()
    }

    #[cold]
    pub(crate) fn record(&self, step: Step) {
        if let Some(recording) = &mut *self.recording.borrow_mut() {
            recording.record(step);
        }
    }

    /// The number of a task in this recording (see [`Recording::lane`]). Zero while there is none.
    pub(crate) fn number(&self, task: Who) -> usize {
        self.recording.borrow_mut().as_mut().map_or(0, |recording| recording.lane(task))
    }

    /// How long the recording has gone on, and how many entries there are.
    pub(crate) fn now(&self) -> (Duration, usize) {
        let recording = self.recording.borrow();
        recording.as_ref().map_or((Duration::ZERO, 0), |recording| (recording.start.elapsed(), recording.entries.len()))
    }

    /// A main task stands for another future from here on, which has a lane of its own.
    pub(crate) fn forget(&self, task: Who) {
        if let Some(recording) = &mut *self.recording.borrow_mut() {
            recording.lanes.remove(&task.id);
        }
    }

    /// Whether a snapshot of now is wanted, of an engine with that number of tasks (IL3).
    pub(crate) fn wants_snapshot(&self, tasks: impl FnOnce() -> usize) -> bool {
        let mut recording = self.recording.borrow_mut();
        let Some(recording) = &mut *recording else { return false };
        if recording.snapshots_end.is_none()
            && (recording.names.len() > MOST_TASKS
                || recording.snapshots.len() >= MOST_SNAPSHOTS
                || recording.is_full()
                || tasks() > MOST_TASKS)
        {
            recording.snapshots_end = Some(recording.entries.len());
        }
        recording.snapshots_end.is_none()
    }

    /// Keeps it, if it is not too large (IL3).
    pub(crate) fn keep(&self, snapshot: Snapshot) {
        let Some(recording) = &mut *self.recording.borrow_mut() else { return };
        if snapshot.places() > MOST_PLACES {
            recording.snapshots_end = Some(recording.entries.len());
        } else {
            recording.snapshots.push(snapshot);
        }
    }

    pub(crate) fn current(&self) -> By {
        self.current.get()
    }

    /// From here to the end of the scope this is who is at work; also when a panic unwinds through it.
    pub(crate) fn at_work(&self, by: By) -> AtWork<'_> {
        self.begin_work(by);
        AtWork(self)
    }

    /// The same, until [`Recorder::end_work`].
    pub(crate) fn begin_work(&self, by: By) {
        self.current.set(by);
    }

    #[inline(always)]
    pub(crate) fn end_work(&self) {
        if self.is_on() {
            self.current.set(By::Outside);
        }
    }
}

/// See [`Recorder::at_work`].
pub(crate) struct AtWork<'a>(&'a Recorder);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.current.set(By::Outside);
    }
}

#[derive(Debug)]
struct Recording {
    start: Instant,
    /// Which lane a task has.
    lanes: HashMap<u64, usize>,
    names: Vec<String>,
    /// The poll or sleep that is going on: its entry is completed when it ends.
    open: Option<usize>,
    entries: Vec<Entry>,
    snapshots: Vec<Snapshot>,
    /// From this number of entries on no more of them are kept.
    snapshots_end: Option<usize>,
    left_out: usize,
}

impl Recording {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            lanes: HashMap::new(),
            names: Vec::new(),
            open: None,
            entries: Vec::new(),
            snapshots: Vec::new(),
            snapshots_end: None,
            left_out: 0,
        }
    }

    fn record(&mut self, step: Step) {
        let at = self.start.elapsed();
        if let Step::End { done } = step {
            return self.complete(at, done);
        }
        if self.is_full() {
            self.left_out += 1;
            return;
        }
        let what = match step {
            Step::Spawn { task, by } => What::Spawned { task: self.lane(task), by: self.source(by) },
            Step::Begin { task } => {
                self.open = Some(self.entries.len());
                What::Polled { task: self.lane(task), took: Duration::ZERO, ready: false }
            }
            Step::Park => {
                self.open = Some(self.entries.len());
                What::Parked { took: Duration::ZERO }
            }
            Step::End { .. } => return,
            Step::Wake { task, by, fresh } => What::Woken { task: self.lane(task), by: self.source(by), queued: fresh },
            Step::Timer { late } => What::TimerFired { late },
            Step::Event { source, readable, writable } => What::SocketReady { source, readable, writable },
        };
        self.entries.push(Entry { at, what });
    }

    /// The open poll or sleep has ended.
    fn complete(&mut self, now: Duration, done: bool) {
        let Some(open) = self.open.take() else { return };
        let Entry { at, what } = &mut self.entries[open];
        match what {
            What::Polled { took, ready, .. } => (*took, *ready) = (now - *at, done),
            What::Parked { took } => *took = now - *at,
            _ => {}
        }
    }

    /// Whether nothing new is kept any more, be it an entry or a name (IL3).
    fn is_full(&self) -> bool {
        self.entries.len() >= MOST_STEPS
    }

    /// A task's lane, which is its number. One that is met for the first time gets one, with its name; when nothing new is kept, it gets a number beyond
    /// all lanes instead, the same each time.
    fn lane(&mut self, task: Who) -> usize {
        if let Some(&lane) = self.lanes.get(&task.id) {
            return lane;
        }
        let lane = self.names.len();
        if self.is_full() {
            return lane.saturating_add(task.id as usize);
        }
        let name = short_name((task.name)());
        self.names.push(if task.blocks { format!("block_on {name}") } else { name });
        self.lanes.insert(task.id, lane);
        lane
    }

    fn source(&mut self, by: By) -> Source {
        match by {
            By::Task(task) => Source::Task(self.lane(task)),
            By::Timer => Source::Timer,
            By::Socket => Source::Socket,
            By::OtherThread => Source::OtherThread,
            By::Engine => Source::Engine,
            By::Outside => Source::Outside,
        }
    }

    fn timeline(&self) -> Timeline {
        Timeline {
            names: self.names.clone(),
            entries: self.entries.clone(),
            snapshots: self.snapshots.clone(),
            snapshots_end: self.snapshots_end,
            total: self.start.elapsed(),
            left_out: self.left_out,
        }
    }
}
