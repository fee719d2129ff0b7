//! The trace: what an engine did, as a timeline.
//!
//! While recording is off, each place that could record looks at one flag and goes on. While it is on, each step is put down
//! with the time since the start; [`Timeline`] is a copy of that, which shows itself as lanes: the engine, each task, the reactor.
//!
//! ```text
//!   executor, timers, reactor ── Step ──▶ Recorder ── a copy ──▶ Timeline ──▶ lanes (SVG), lines (text)
//! ```
//!
//! Invariants
//!
//! * **L1** Entries are in the order of time. At most one of them, a poll or a sleep, is still open: an engine does one thing at a time.
//! * **L2** A task is looked into only in the step that tells of it, when it is alive; afterwards it is a key, and when a later task gets the
//!   same address, its spawn gives it a lane of its own.
//! * **L3** At most [`MOST_STEPS`] are kept; how many were not is counted.

use super::picture;
use crate::reactor::Seen;
use crate::show;
use crate::task::Task;
use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::time::{Duration, Instant};

/// How many steps are kept: a recording that is forgotten must not eat the machine.
const MOST_STEPS: usize = 100_000;

/// Something the engine did, as it tells the recorder.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Root {
        task: Task,
        name: &'static str,
    },
    Spawn {
        task: Task,
        by: By,
    },
    Begin {
        task: Task,
    },
    Park,
    /// Of the poll or the sleep.
    End {
        done: bool,
    },
    Wake {
        task: Task,
        by: By,
        fresh: bool,
    },
    Timer {
        late: Duration,
    },
    Event(Seen),
}

/// Who is at work, and so who wakes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum By {
    Task(Task),
    Timer,
    Socket,
    OtherThread,
    /// Code on the engine's thread, outside of any task.
    Outside,
}

#[derive(Debug)]
pub(crate) struct Recorder {
    start: Instant,
    /// Which lane a task has. An address is used again by a later task, which then gets a lane of its own.
    lanes: HashMap<Task, usize>,
    names: Vec<String>,
    /// The poll or sleep that is going on: its entry is completed when it ends.
    open: Option<usize>,
    entries: Vec<Entry>,
    left_out: usize,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), lanes: HashMap::new(), names: Vec::new(), open: None, entries: Vec::new(), left_out: 0 }
    }

    pub(crate) fn record(&mut self, step: Step) {
        let at = self.start.elapsed();
        if let Step::End { done } = step {
            return self.complete(at, done);
        }
        if self.entries.len() >= MOST_STEPS {
            self.left_out += 1;
            return;
        }
        let what = match step {
            Step::Root { task, name } => {
                self.new_lane(task, format!("block_on {}", short_name(name)));
                return;
            }
            Step::Spawn { task, by } => What::Spawned { task: self.new_lane(task, short_name(task.name())), by: self.source(by) },
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
            Step::Event(Seen { key, readable, writable }) => What::SocketReady { source: key, readable, writable },
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

    fn new_lane(&mut self, task: Task, name: String) -> usize {
        self.names.push(name);
        self.lanes.insert(task, self.names.len() - 1);
        self.names.len() - 1
    }

    fn lane(&mut self, task: Task) -> usize {
        match self.lanes.get(&task) {
            Some(&lane) => lane,
            None => self.new_lane(task, short_name(task.name())), // spawned before the recording
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

    pub(crate) fn timeline(&self) -> Timeline {
        Timeline {
            names: self.names.clone(),
            entries: self.entries.clone(),
            total: self.start.elapsed(),
            left_out: self.left_out,
        }
    }
}

/// What an engine did while it was recording: see [`Runtime::record`](crate::Runtime::record).
///
/// In a notebook it shows itself as lanes over time; `{}` gives the same as text, and `{:#}` without any times, which is the
/// same from run to run.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    names: Vec<String>,
    entries: Vec<Entry>,
    total: Duration,
    left_out: usize,
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

/// What happened. Tasks are numbered in the order in which the recording met them.
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
        /// Whether that completed it (also by a panic).
        ready: bool,
    },
    /// A waker was called.
    Woken {
        /// Whose.
        task: usize,
        /// By whom.
        by: Source,
        /// Whether that queued the task. If not, it was queued already, or complete.
        queued: bool,
    },
    /// The engine had nothing to do and slept.
    Parked {
        /// How long.
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
            Source::Outside => f.write_str("code outside any task"),
        }
    }
}

impl Timeline {
    /// What happened, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The name of a task: its future's type, shortened.
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

    /// How many polls there were, of one task or of all.
    pub fn polls(&self, task: Option<usize>) -> usize {
        let is_it = |entry: &&Entry| matches!(entry.what, What::Polled { task: one, .. } if task.is_none_or(|task| task == one));
        self.entries.iter().filter(is_it).count()
    }

    /// How much time the engine slept.
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

    /// The picture, as SVG.
    pub fn svg(&self) -> String {
        picture::draw(self)
    }

    /// Shows it in a notebook.
    pub fn evcxr_display(&self) {
        show::to_notebook(&[("image/svg+xml", &self.svg()), ("text/plain", &self.to_string())]);
    }

    pub(super) fn headline(&self) -> String {
        let parks = self.entries.iter().filter(|entry| matches!(entry.what, What::Parked { .. })).count();
        let tasks = self.names.len();
        let more = if self.left_out > 0 { format!(", {} more steps not kept", self.left_out) } else { String::new() };
        format!("{tasks} tasks, {} polls, {parks} sleeps{more}", self.polls(None))
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

/// A type's name without the paths: `app::fetch::{{closure}}` is what an `async fn fetch` returns, and is shown as `fetch()`.
pub(crate) fn short_name(full: &str) -> String {
    let mut short = String::new();
    let mut rest = full;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !(c.is_alphanumeric() || "_:{}#".contains(c))).unwrap_or(rest.len());
        let (path, after) = rest.split_at(end);
        let mut parts: Vec<&str> = path.split("::").filter(|part| !part.is_empty()).collect();
        let mut closures = 0;
        while parts.last().is_some_and(|part| part.starts_with("{{") || part.starts_with('{')) {
            parts.pop();
            closures += 1;
        }
        match (parts.last(), closures) {
            // What a notebook's cell is compiled into is a function of this name. Its number is the kernel's, not always the cell's.
            (Some(name), 1..) if name.starts_with("run_user_code_") => short.push_str("async block of a cell"),
            (Some(name), 0) => short.push_str(name),
            (Some(name), 1) => write!(short, "{name}()").expect("a String takes everything"),
            (Some(name), _) => write!(short, "{name}(){{async}}").expect("a String takes everything"),
            (None, 0) => short.push_str(path),
            (None, _) => short.push_str("{async}"),
        }
        let next = after.find(|c: char| c.is_alphanumeric() || c == '_' || c == '{').unwrap_or(after.len());
        short.push_str(&after[..next]);
        rest = &after[next..];
    }
    short
}

#[cfg(test)]
mod tests {
    use super::short_name;

    #[test]
    fn names_lose_their_paths_and_keep_their_arguments() {
        assert_eq!(short_name("app::fetch::{{closure}}"), "fetch()");
        assert_eq!(short_name("core::future::pending::Pending<()>"), "Pending<()>");
        assert_eq!(short_name("a::Retry<b::make::{{closure}}, c::D>"), "Retry<make(), D>");
        assert_eq!(short_name("ctx::run::{{closure}}::{{closure}}"), "run(){async}");
        assert_eq!(short_name("ctx::run_user_code_33::{{closure}}"), "async block of a cell");
    }
}
