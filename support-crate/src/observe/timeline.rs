//! The timeline: what an engine did, as data and as text.

use super::snapshot::Snapshot;
use crate::show::text::counted;
use std::fmt;
use std::time::Duration;

/// What an engine did while it was recording: see [`Runtime::record`](crate::Runtime::record).
///
/// In a notebook it shows itself as lanes over time; `{}` gives the same as text, and `{:#}` without any times: that is the
/// same from run to run where no thread, socket or clock decides the order.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    pub(super) names: Vec<String>,
    pub(super) entries: Vec<Entry>,
    pub(super) snapshots: Vec<Snapshot>,
    pub(super) snapshots_end: Option<usize>,
    pub(super) total: Duration,
    pub(super) left_out: usize,
}

/// One thing that happened.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Entry {
    /// When, counted from the start of the recording.
    pub at: Duration,
    /// What.
    pub what: What,
}

/// What happened. Tasks are numbered in the order in which the recording met them. An abort is no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// A task was spawned.
    Spawned {
        /// Which.
        task: usize,
        /// By whom.
        by: Source,
    },
    /// A task was polled.
    Polled {
        /// Which.
        task: usize,
        /// How long the poll took.
        took: Duration,
        /// Whether that completed it (also by a panic). A task that was aborted during the poll was not: its future was dropped right after it.
        ready: bool,
    },
    /// A waker was called.
    Woken {
        /// Whose.
        task: usize,
        /// By whom.
        by: Source,
        /// Whether that queued the task. If not, it was queued already, or over, or its future was being dropped.
        queued: bool,
    },
    /// The engine had nothing to do and slept.
    Parked {
        /// How long, until the system let it go on: not what the wakers took that it called then.
        took: Duration,
    },
    /// A timer fired.
    TimerFired {
        /// How long after its deadline.
        late: Duration,
    },
    /// The operating system reported a socket.
    SocketReady {
        /// The reactor's number for it.
        source: usize,
        /// There is something to read, or an end or an error to be told.
        readable: bool,
        /// There is room to write, or an error to be told.
        writable: bool,
    },
}

/// Who did it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// A task, while it was polled.
    Task(usize),
    /// A timer that fired.
    Timer,
    /// A socket that became ready.
    Socket,
    /// Another thread.
    OtherThread,
    /// The engine itself: after a long silence it asks who still waits for a socket.
    Engine,
    /// Code on the engine's thread outside of any task: a cell, say.
    Outside,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Task(task) => write!(f, "#{task}"),
            Source::Timer => f.write_str("a timer"),
            Source::Socket => f.write_str("a socket"),
            Source::OtherThread => f.write_str("another thread"),
            Source::Engine => f.write_str("the engine"),
            Source::Outside => f.write_str("code outside any task"),
        }
    }
}

impl Timeline {
    /// What happened, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The engine's state after each poll, and before each sleep, in order; [`Snapshot::entries`] says after which entry. They are kept for the
    /// first 2000 such moments, until there are more than 64 tasks, or more than 256 timers, sockets and wakers.
    pub fn snapshots(&self) -> &[Snapshot] {
        &self.snapshots
    }

    /// The state of the engine after this many entries: the last snapshot that is no later. None before the first, and where none are kept any more.
    pub fn snapshot_after(&self, entries: usize) -> Option<&Snapshot> {
        if self.snapshots_end.is_some_and(|end| entries >= end) {
            return None;
        }
        let later = self.snapshots.partition_point(|snapshot| snapshot.entries <= entries);
        self.snapshots[..later].last()
    }

    /// The name of a task: its future's type, shortened; of a future given to `block_on` with that word before it.
    ///
    /// # Panics
    ///
    /// If there is no task of this number.
    pub fn name(&self, task: usize) -> &str {
        &self.names[task]
    }

    /// How many tasks the recording met.
    pub fn tasks(&self) -> usize {
        self.names.len()
    }

    /// How many polls there were among the entries, of one task or of all.
    pub fn polls(&self, task: Option<usize>) -> usize {
        let is_it = |entry: &&Entry| matches!(entry.what, What::Polled { task: one, .. } if task.is_none_or(|task| task == one));
        self.entries.iter().filter(is_it).count()
    }

    /// How much time the engine slept, by the entries.
    pub fn parked(&self) -> Duration {
        self.entries.iter().filter_map(|entry| if let What::Parked { took } = entry.what { Some(took) } else { None }).sum()
    }

    /// How much time went by from the start of the recording.
    pub fn total(&self) -> Duration {
        self.total
    }

    /// How many entries were too many to keep.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    pub(super) fn headline(&self) -> String {
        let parks = self.entries.iter().filter(|entry| matches!(entry.what, What::Parked { .. })).count();
        let more = if self.left_out > 0 { format!(", {} more steps not kept", self.left_out) } else { String::new() };
        let (tasks, polls) = (counted(self.names.len(), "task", "tasks"), counted(self.polls(None), "poll", "polls"));
        format!("{tasks}, {polls}, {}{more}", counted(parks, "sleep", "sleeps"))
    }

    fn describe(&self, what: What, timed: bool) -> String {
        let took = |time: Duration| if timed { format!(" {}", milliseconds(time)) } else { String::new() };
        match what {
            What::Spawned { task, by } => format!("spawn  #{task} {}  by {by}", self.names[task]),
            What::Polled { task, took: time, ready } => {
                format!("poll   #{task}  {}{}", if ready { "Ready" } else { "Pending" }, took(time))
            }
            What::Woken { task, by, queued } => {
                format!("wake   #{task}  by {by}{}", if queued { "" } else { "  (queued already, or complete)" })
            }
            What::Parked { took: time } => format!("sleep {}", took(time)),
            What::TimerFired { late } => {
                format!("timer  fired{}", if timed { format!(" {} late", milliseconds(late)) } else { String::new() })
            }
            What::SocketReady { source, readable, writable } => {
                let sides = match (readable, writable) {
                    (true, true) => "readable and writable",
                    (true, false) => "readable",
                    _ => "writable",
                };
                format!("event  socket {source} is {sides}")
            }
        }
    }
}

pub(super) fn milliseconds(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1e3)
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.headline())?;
        for (task, name) in self.names.iter().enumerate() {
            writeln!(f, "  #{task} {name}")?;
        }
        for Entry { at, what } in &self.entries {
            if f.alternate() {
                writeln!(f, "{}", self.describe(*what, false))?;
            } else {
                writeln!(f, "{:>12}  {}", milliseconds(*at), self.describe(*what, true))?;
            }
        }
        Ok(())
    }
}
