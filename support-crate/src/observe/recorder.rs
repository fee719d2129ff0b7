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
//! * **IL3** At most [`MOST_STEPS`] are kept; how many were not is counted. Snapshots are kept of few tasks only, and at most [`MOST_SNAPSHOTS`].

use super::names::short_name;
use super::snapshot::Snapshot;
use super::timeline::{Entry, Source, Timeline, What};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How many steps are kept: a recording that is forgotten must not eat the machine.
const MOST_STEPS: usize = 100_000;
/// How many snapshots, and of how many tasks at most: they are for those who step through.
const MOST_SNAPSHOTS: usize = 2_000;
/// See there.
const MOST_TASKS: usize = 64;

/// A task, as far as a record knows it (IL2).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Who {
    pub(crate) id: u64,
    /// Of the future's type.
    pub(crate) name: fn() -> &'static str,
}

/// Something the engine did, as it tells the recorder.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// A future was given to `block_on`; this task stands for it.
    Main {
        task: Who,
        name: &'static str,
    },
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

    /// The number of a task in this recording; one that was not met yet gets one. Zero while there is none.
    pub(crate) fn number(&self, task: Who) -> usize {
        self.recording.borrow_mut().as_mut().map_or(0, |recording| recording.lane(task))
    }

    /// How long the recording has gone on, and how many entries there are.
    pub(crate) fn now(&self) -> (Duration, usize) {
        let recording = self.recording.borrow();
        recording.as_ref().map_or((Duration::ZERO, 0), |recording| (recording.start.elapsed(), recording.entries.len()))
    }

    /// The number of the task that was polled last.
    pub(crate) fn last_polled(&self) -> Option<usize> {
        self.recording.borrow().as_ref().and_then(|recording| recording.last_polled)
    }

    /// Whether a snapshot of now would be kept (IL3).
    pub(crate) fn wants_snapshot(&self) -> bool {
        let recording = self.recording.borrow();
        recording.as_ref().is_some_and(|recording| {
            recording.names.len() <= MOST_TASKS && recording.snapshots.len() < MOST_SNAPSHOTS && recording.left_out == 0
        })
    }

    pub(crate) fn keep(&self, snapshot: Snapshot) {
        if let Some(recording) = &mut *self.recording.borrow_mut() {
            recording.snapshots.push(snapshot);
        }
    }

    pub(crate) fn current(&self) -> By {
        self.current.get()
    }

    /// From here to the end of the scope this is who is at work; also when a panic unwinds through it.
    pub(crate) fn at_work(&self, by: By) -> AtWork<'_> {
        self.current.set(by);
        AtWork(self)
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
    last_polled: Option<usize>,
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
            last_polled: None,
            left_out: 0,
        }
    }

    fn record(&mut self, step: Step) {
        let at = self.start.elapsed();
        if let Step::End { done } = step {
            return self.complete(at, done);
        }
        if self.entries.len() >= MOST_STEPS {
            if let Step::Begin { task } = step {
                self.last_polled = self.lanes.get(&task.id).copied(); // no new one: nothing grows any more (IL3)
            }
            self.left_out += 1;
            return;
        }
        if let Step::Begin { task } = step {
            self.last_polled = Some(self.lane(task));
        }
        let what = match step {
            Step::Main { task, name } => {
                self.new_lane(task, format!("block_on {}", short_name(name)));
                return;
            }
            Step::Spawn { task, by } => {
                What::Spawned { task: self.new_lane(task, short_name((task.name)())), by: self.source(by) }
            }
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

    fn new_lane(&mut self, task: Who, name: String) -> usize {
        self.names.push(name);
        self.lanes.insert(task.id, self.names.len() - 1);
        self.names.len() - 1
    }

    fn lane(&mut self, task: Who) -> usize {
        match self.lanes.get(&task.id) {
            Some(&lane) => lane,
            None => self.new_lane(task, short_name((task.name)())), // spawned before the recording
        }
    }

    fn source(&mut self, by: By) -> Source {
        match by {
            By::Task(task) => Source::Task(self.lane(task)),
            By::Timer => Source::Timer,
            By::Socket => Source::Socket,
            By::OtherThread => Source::OtherThread,
            By::Outside => Source::Outside,
        }
    }

    fn timeline(&self) -> Timeline {
        Timeline {
            names: self.names.clone(),
            entries: self.entries.clone(),
            snapshots: self.snapshots.clone(),
            total: self.start.elapsed(),
            left_out: self.left_out,
        }
    }
}
