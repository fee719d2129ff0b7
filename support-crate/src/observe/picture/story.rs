//! What each step means: what led to it, and how the engine stands after it.
//!
//! The queue is played back from the events alone. What else is known of the engine's state (who holds whose waker, which timers and
//! sockets are armed) comes from the snapshots of the recording, as far as it kept any.

use super::{LIVE, brief, shown, took};
use crate::observe::{
    snapshot::{SideState, Snapshot, SourceState, TaskPhase, TaskState, TimerState, WakerPlace},
    timeline::{Source, Timeline, What},
};
use crate::show::{json::Json, text::counted};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// A poll that takes longer holds up everybody else: it is told.
const LONG: Duration = Duration::from_millis(10);

/// What became of a wake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It queued the task.
    Queued,
    /// The task queued itself, while it was polled.
    Itself,
    /// The task was queued already.
    Doubled,
    /// The task was over, or its future was being dropped.
    TooLate,
}

pub(super) struct Story<'t> {
    pub(super) timeline: &'t Timeline,
    /// Of each wake, by the number of its step.
    fates: Vec<Option<Fate>>,
    /// The step that led to a poll.
    causes: Vec<Option<usize>>,
    /// After each step of the player: who is first in the queue, and how many are in it.
    queues: BTreeMap<usize, (Vec<usize>, usize)>,
    /// After a step: the tasks of which a waker was dropped that nobody had called, and those whose waker nobody holds any more.
    losses: BTreeMap<usize, Vec<(usize, Loss)>>,
}

/// What can go wrong with a waker and is not an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// One of them was dropped, and the task was not woken.
    Dropped,
    /// Nobody holds one: the task can never be woken.
    Nowhere,
}

/// Of a queue, of the wakers of one task, and of those who wait for one thing so many are listed; more are counted.
pub(super) const LISTED: usize = 40;
/// Of the tasks of a step, and of the timers and the sockets.
const ALIVE: usize = 12;
const ARMED: usize = 8;

impl<'t> Story<'t> {
    pub(super) fn of(timeline: &'t Timeline) -> Self {
        let entries = timeline.entries();
        let mut complete = vec![false; timeline.tasks()];
        let mut known = vec![false; timeline.tasks()];
        let mut woken: Vec<Option<usize>> = vec![None; timeline.tasks()];
        let (mut fates, mut causes, mut queues) = (Vec::new(), Vec::new(), BTreeMap::new());
        let mut queue: Vec<usize> = Vec::new();
        let mut polled = None;
        let mut moments = shown(entries.len(), LIVE).into_iter().peekable();
        for (step, entry) in entries.iter().enumerate() {
            let (mut fate, mut cause) = (None, None);
            match entry.what {
                What::Spawned { task, .. } => {
                    woken[task] = Some(step);
                    known[task] = true;
                }
                What::Polled { task, ready, .. } => {
                    cause = woken[task].take();
                    known[task] = true;
                    complete[task] |= ready;
                    polled = Some(task);
                }
                What::Woken { task, by, queued } => {
                    fate = Some(match (queued, by) {
                        (true, Source::Task(waker)) if waker == task && polled == Some(task) => Fate::Itself,
                        (true, _) => Fate::Queued,
                        (false, _) if complete[task] && polled != Some(task) => Fate::TooLate,
                        (false, _) if known[task] && woken[task].is_none() => Fate::TooLate, // not queued: it was aborted
                        (false, _) => Fate::Doubled,
                    });
                    if queued {
                        woken[task] = Some(step);
                    }
                }
                _ => {}
            }
            play(&mut queue, entry.what);
            if moments.next_if_eq(&step).is_some() {
                queues.insert(step, (queue.iter().take(LISTED).copied().collect(), queue.len()));
            }
            fates.push(fate);
            causes.push(cause);
        }
        Self { timeline, fates, causes, queues, losses: losses(timeline) }
    }

    pub(super) fn fate(&self, step: usize) -> Option<Fate> {
        self.fates[step]
    }

    /// What a reader should be told before all else: a poll that held up everything.
    pub(super) fn warning(&self) -> Option<String> {
        let polls = self.timeline.entries().iter().filter_map(|entry| match entry.what {
            What::Polled { task, took, .. } => Some((took, task)),
            _ => None,
        });
        let (longest, task) = polls.max()?;
        (longest >= LONG).then(|| format!("One poll of #{task} took {}: nobody else ran meanwhile.", brief(longest)))
    }

    /// What went wrong with wakers at a step.
    pub(super) fn losses(&self, step: usize) -> &[(usize, Loss)] {
        self.losses.get(&step).map_or(&[], Vec::as_slice)
    }

    fn task(&self, task: usize) -> String {
        format!("#{task} {}", self.timeline.name(task))
    }

    /// The event that led to a wake by a socket: the only one since the engine last slept or polled, or the one that the task waited for.
    /// None where the recording does not tell.
    pub(super) fn event_of(&self, wake: usize) -> Option<usize> {
        let entries = self.timeline.entries();
        let What::Woken { task, by: Source::Socket, .. } = entries[wake].what else { return None };
        let since = entries[..wake].iter().rposition(|entry| took(entry.what).is_some()).map_or(0, |at| at + 1);
        let events: Vec<usize> = (since..wake).filter(|&at| matches!(entries[at].what, What::SocketReady { .. })).collect();
        if let [only] = events.as_slice() {
            return Some(*only);
        }
        let before = self.timeline.snapshot_after(since)?;
        events.into_iter().find(|&at| {
            let What::SocketReady { source, readable, writable } = entries[at].what else { return false };
            before.sources.iter().filter(|known| known.source == source).any(|known| {
                let waits = |side: &SideState| side.waiting.contains(&Some(task));
                (readable && waits(&known.read)) || (writable && waits(&known.write))
            })
        })
    }

    fn source(&self, step: usize, by: Source) -> String {
        match by {
            Source::Task(task) => self.task(task),
            Source::Timer => "a timer that fired".into(),
            Source::Socket => match self.event_of(step).map(|event| self.timeline.entries()[event].what) {
                Some(What::SocketReady { source, readable, writable }) => {
                    format!("socket {source}, which is {}", sides(readable, writable))
                }
                _ => "a socket that is ready".into(),
            },
            Source::OtherThread => "another thread".into(),
            Source::Engine => "the engine, which asks who still waits".into(),
            Source::Outside => "code outside of any task".into(),
        }
    }

    /// A step in words, with what led to it.
    pub(super) fn says(&self, step: usize) -> String {
        let lost = self.losses(step).iter().map(|&(task, loss)| match loss {
            Loss::Dropped => {
                format!(" A waker of {} was dropped, and nobody has called it: a wake may be lost.", self.task(task))
            }
            Loss::Nowhere => format!(" Nobody holds a waker of {} any more: nothing can wake it.", self.task(task)),
        });
        self.event(step) + &lost.collect::<String>()
    }

    fn event(&self, step: usize) -> String {
        match self.timeline.entries()[step].what {
            What::Spawned { task, by } => {
                format!("{} is spawned by {}, and so is queued.", self.task(task), self.source(step, by))
            }
            What::Polled { task, took, ready } => {
                let because = self.causes[step].map_or_else(
                    || "It was queued before the recording, or is what block_on drives.".to_owned(),
                    |cause| match self.timeline.entries()[cause].what {
                        What::Woken { by, .. } => format!("It was woken by {}.", self.source(cause, by)),
                        _ => "It was spawned.".to_owned(),
                    },
                );
                let long = if took >= LONG { " Nobody else ran meanwhile." } else { "" };
                let outcome = if ready { "Ready" } else { "Pending" };
                format!("{} is polled for {}: {outcome}. {because}{long}", self.task(task), brief(took))
            }
            What::Woken { task, by, .. } => {
                let (task, by) = (self.task(task), self.source(step, by));
                let by = format!("woken by {by}");
                match self.fate(step) {
                    Some(Fate::Itself) => {
                        format!("{task} wakes itself while it is polled: it is queued again, behind the others.")
                    }
                    Some(Fate::Doubled) => format!("{task}: {by}, and it is queued already. A second wake adds nothing."),
                    Some(Fate::TooLate) => format!("{task}: {by}, and it is over. The wake is too late, and does nothing."),
                    _ => format!("{task}: {by}, so it is queued."),
                }
            }
            What::Parked { took } => {
                format!("Nothing is queued: the engine sleeps for {}, until the system has something to tell.", brief(took))
            }
            What::TimerFired { late } => format!("A timer fires, {} after its deadline.", brief(late)),
            What::SocketReady { source, readable, writable } => {
                format!("The system says: socket {source} is {}.", sides(readable, writable))
            }
        }
    }

    /// What the player shows at one of its steps.
    pub(super) fn moment(&self, step: usize) -> Json {
        let entry = &self.timeline.entries()[step];
        let state =
            self.state(step).into_iter().map(|(what, how)| Json::list([Json::from(what.as_str()), Json::from(how.as_str())]));
        let end = entry.at + took(entry.what).unwrap_or_default();
        Json::object([
            ("step", step.into()),
            ("at", entry.at.as_secs_f64().into()),
            ("end", end.as_secs_f64().into()),
            ("time", Json::from(super::brief(entry.at).as_str())),
            ("says", Json::from(self.says(step).as_str())),
            ("state", Json::list(state)),
        ])
    }

    /// How the engine stands after a step.
    fn state(&self, step: usize) -> Vec<(String, String)> {
        let (first, all) = &self.queues[&step];
        let queue = listed(first.iter().map(|&task| self.task(task)), *all, LISTED, ", then ");
        let mut rows = vec![("queue".to_owned(), queue.unwrap_or_else(|| "empty".into()))];
        // A poll is an entry at its beginning; its snapshot is taken at its end.
        let snapshots = self.timeline.snapshots();
        let polled = matches!(self.timeline.entries()[step].what, What::Polled { .. });
        let at = snapshots.partition_point(|snapshot| snapshot.entries <= step);
        let snapshot = if polled { snapshots.get(at) } else { self.timeline.snapshot_after(step + 1) };
        let Some(snapshot) = snapshot else {
            rows.push(("the rest".into(), "not known: the recording kept no snapshot of this moment".into()));
            return rows;
        };
        rows.extend(alive(snapshot, ALIVE, |task| self.task(task)));
        rows.extend(armed(snapshot));
        rows
    }

    /// What the engine waits for when it goes to sleep at a step: its timers and its sockets.
    pub(super) fn waits(&self, step: usize) -> Option<String> {
        let snapshot = self.timeline.snapshot_after(step)?;
        let rows: Vec<String> = armed(snapshot).into_iter().map(|(what, how)| format!("{what}: {how}.")).collect();
        Some(rows.join(" "))
    }
}

/// The first of a list, and how many more there are of `all`; `None` for an empty one.
pub(super) fn listed(list: impl Iterator<Item = String>, all: usize, most: usize, between: &str) -> Option<String> {
    let first: Vec<String> = list.take(most).collect();
    let more = all.saturating_sub(first.len());
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    (!first.is_empty()).then(|| first.join(between) + &more)
}

/// The tasks that are not done, by their names, and how many more there are.
pub(super) fn alive(snapshot: &Snapshot, most: usize, name: impl Fn(usize) -> String) -> Vec<(String, String)> {
    let alive: Vec<_> = snapshot.tasks.iter().filter(|task| task.phase != TaskPhase::Done).collect();
    let mut rows: Vec<_> = alive.iter().take(most).map(|task| (name(task.task), task_says(task, snapshot))).collect();
    if alive.len() > most {
        rows.push(("…".into(), counted(alive.len() - most, "more task", "more tasks")));
    }
    rows
}

/// The timers and sockets that somebody waits for.
pub(super) fn armed(snapshot: &Snapshot) -> Vec<(String, String)> {
    let timers = snapshot.timers.iter().map(|timer| {
        let whose = timer.wakes.map_or_else(|| "somebody".to_owned(), |task| format!("#{task}"));
        format!("due {}, for {whose}", when(timer))
    });
    let side = |side: &SideState, what: &str| {
        let who = side.waiting.iter().map(|task| task.map_or_else(|| "somebody".into(), |task| format!("#{task}")));
        listed(who, side.waiting.len(), LISTED, ", ").map(|who| format!("{who} waits until it is {what}"))
    };
    let awaited = |source: &&SourceState| !source.read.waiting.is_empty() || !source.write.waiting.is_empty();
    let sources: Vec<&SourceState> = snapshot.sources.iter().filter(awaited).collect();
    let sockets = sources.iter().map(|source| {
        let sides: Vec<String> =
            [side(&source.read, "readable"), side(&source.write, "writable")].into_iter().flatten().collect();
        format!("socket {}: {}", source.source, sides.join(", "))
    });
    let timers = listed(timers, snapshot.timers.len(), ARMED, "; ");
    let sockets = listed(sockets, sources.len(), ARMED, "; ");
    vec![
        ("timers".into(), timers.unwrap_or_else(|| "none".into())),
        ("sockets".into(), sockets.unwrap_or_else(|| "nobody waits for one".into())),
    ]
}

fn when(timer: &TimerState) -> String {
    if timer.due_in == Duration::MAX { "never".to_owned() } else { format!("in {}", brief(timer.due_in)) }
}

/// What a task is at, and where its wakers are.
fn task_says(task: &TaskState, snapshot: &Snapshot) -> String {
    let phase = match task.phase {
        TaskPhase::Waiting => "waits to be woken",
        TaskPhase::Queued => "is queued",
        TaskPhase::Polled => "is being polled",
        TaskPhase::Cancelled => "is being dropped, unfinished",
        TaskPhase::Done => "is done",
    };
    let places = task.wakers.iter().map(|place| match *place {
        WakerPlace::Timer(timer) => match snapshot.timers.get(timer) {
            Some(timer) => format!("with a timer ({})", when(timer)),
            None => "with a timer".into(),
        },
        WakerPlace::Source(source) => format!("with socket {source}"),
        WakerPlace::Task(other) => format!("with #{other}, until that ends"),
        WakerPlace::Elsewhere(n) => format!("{} elsewhere (a channel, a lock, a thread)", counted(n, "waker", "wakers")),
    });
    match listed(places, task.wakers.len(), LISTED, ", ") {
        Some(places) => format!("{phase}; its waker is {places}"),
        None => format!("{phase}; nobody has its waker"),
    }
}

/// What the snapshots say of wakers that went away without a wake.
fn losses(timeline: &Timeline) -> BTreeMap<usize, Vec<(usize, Loss)>> {
    let mut losses: BTreeMap<usize, Vec<(usize, Loss)>> = BTreeMap::new();
    let elsewhere = |task: &TaskState| -> usize {
        let counts = task.wakers.iter().map(|place| if let WakerPlace::Elsewhere(n) = place { *n } else { 0 });
        counts.sum()
    };
    let mut ended = BTreeSet::new();
    for pair in timeline.snapshots().windows(2) {
        let (before, after) = (&pair[0], &pair[1]);
        let Some(step) = after.entries.checked_sub(1) else { continue };
        let between = &timeline.entries()[before.entries.min(after.entries)..after.entries];
        ended.extend(between.iter().filter_map(|entry| match entry.what {
            What::Polled { task, ready: true, .. } => Some(task),
            _ => None,
        }));
        let waits = |task: &&TaskState| task.phase == TaskPhase::Waiting && !ended.contains(&task.task);
        for task in after.tasks.iter().filter(waits) {
            let touched = between.iter().any(|entry| match entry.what {
                What::Polled { task: one, .. } | What::Woken { task: one, .. } => one == task.task,
                _ => false,
            });
            let was = before.tasks.iter().find(|was| was.task == task.task && was.phase == TaskPhase::Waiting);
            if !touched && was.is_some_and(|was| elsewhere(was) > elsewhere(task)) {
                losses.entry(step).or_default().push((task.task, Loss::Dropped));
            }
            if task.wakers.is_empty() && was.is_none_or(|was| !was.wakers.is_empty()) {
                losses.entry(step).or_default().push((task.task, Loss::Nowhere));
            }
        }
    }
    losses
}

/// What a step does to the queue.
fn play(queue: &mut Vec<usize>, what: What) {
    match what {
        What::Spawned { task, .. } | What::Woken { task, queued: true, .. } => queue.push(task),
        What::Polled { task, .. } => queue.retain(|&queued| queued != task),
        _ => {}
    }
}

fn sides(readable: bool, writable: bool) -> &'static str {
    match (readable, writable) {
        (true, true) => "readable and writable",
        (true, false) => "readable",
        _ => "writable",
    }
}
