//! What an engine does that has slept for long with nothing armed that is sure to wake it.
//!
//! Poll-style waiters of sockets do not say when they give up. So after [`LOOK_AFTER`] without any event all of them are woken; who still waits comes back, and
//! then there is something to wait for. Who is woken may give up another read, so that is done again in the same silence, after twice as long each time.
//!
//! What remains is what cannot be known. A future may own the sender for which it waits. And a combinator with wakers of its own (`FuturesUnordered`,
//! `join_all` of many) may hold stuck tasks only, or one more future whose waker another thread has: from here both mostly look the same (see `stall`). Then a note says, once, who
//! waits and what that means.

use super::Engine;
use super::stall;
use crate::foreign;
use crate::observe::names::short_name;
use crate::observe::recorder::By;
use crate::show::{
    self,
    text::{brief, counted},
};
use std::cell::Cell;
use std::fmt::Write as _;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// After so long a silence the engine looks closer.
const LOOK_AFTER: Duration = Duration::from_secs(1);

/// After so long a silence a note is written to stderr, if nobody says otherwise: in a notebook, where nobody can attach a debugger to what
/// hangs. Elsewhere there is none, unless the variable asks for it.
pub(crate) fn default_note() -> Option<Duration> {
    static DEFAULT: OnceLock<Option<Duration>> = OnceLock::new();
    *DEFAULT.get_or_init(|| match std::env::var("PINLAB_NOTE_AFTER").map(|seconds| seconds.parse::<f64>()) {
        Ok(Ok(seconds)) => Duration::try_from_secs_f64(seconds).ok().filter(|after| !after.is_zero()),
        _ => stall::is_notebook().then_some(Duration::from_secs(3)),
    })
}

/// How long it has been quiet.
#[derive(Debug)]
pub(super) struct Quiet {
    /// Counts what came from outside of the tasks: messages, events, timers, calls of `block_on`.
    happened: Cell<u64>,
    /// Since when nothing has, and at what count.
    since: Cell<Option<(Instant, u64)>>,
    /// At which count the engine has looked closer, and how often.
    looked: Cell<(u64, u32)>,
    note_after: Cell<Option<Duration>>,
    has_noted: Cell<bool>,
}

impl Quiet {
    pub(super) fn new() -> Self {
        Self {
            happened: Cell::new(1),
            since: Cell::new(None),
            looked: Cell::new((0, 0)),
            note_after: Cell::new(default_note()),
            has_noted: Cell::new(false),
        }
    }

    /// Something came from outside.
    #[inline]
    pub(super) fn end(&self) {
        self.happened.set(self.happened.get() + 1);
    }

    pub(super) fn note_after(&self, after: Option<Duration>) {
        self.note_after.set(after);
        self.has_noted.set(false);
    }

    /// How long it has been quiet.
    fn lasts(&self) -> Duration {
        let happened = self.happened.get();
        match self.since.get() {
            Some((since, at)) if at == happened => since.elapsed(),
            _ => {
                self.since.set(Some((Instant::now(), happened)));
                Duration::ZERO
            }
        }
    }

    /// How often the engine has looked closer in this silence.
    fn looks(&self) -> u32 {
        let (happened, looks) = self.looked.get();
        if happened == self.happened.get() { looks } else { 0 }
    }

    /// How long it has to last for the next look: twice as long each time.
    fn look_after(&self) -> Duration {
        LOOK_AFTER.saturating_mul(1 << self.looks().min(20))
    }
}

/// The engine is about to sleep with no timer armed. For how long at most, before it should come here again?
pub(super) fn limit(engine: &Engine, sockets: bool) -> Option<Duration> {
    if cfg!(pinlab_loom) || sockets && !engine.reactor().may_all_be_gone() {
        return None;
    }
    let quiet = &engine.quiet;
    let lasts = quiet.lasts();
    let next = match sockets {
        true => Some(quiet.look_after()),
        false => quiet.note_after.get().filter(|_| !quiet.has_noted.get()),
    }?;
    Some(next.saturating_sub(lasts).max(Duration::from_millis(1)))
}

/// The queue is empty, and no timer is armed: if it has been quiet for long, looks closer. Whether it has woken anybody: then foreign code has run, and nothing is
/// as it was.
pub(super) fn look_closer(engine: &Engine, sockets: bool) -> bool {
    let quiet = &engine.quiet;
    if cfg!(pinlab_loom) || sockets && !engine.reactor().may_all_be_gone() {
        return false;
    }
    let lasts = quiet.lasts();
    if sockets {
        if lasts >= quiet.look_after() {
            quiet.looked.set((quiet.happened.get(), quiet.looks() + 1));
            let wakers = engine.reactor().take_anybody();
            for waker in wakers {
                let _at_work = engine.recorder().is_on().then(|| engine.recorder().at_work(By::Engine));
                foreign::wake(waker);
            }
            quiet.since.set(None); // the time with a socket to wait for does not count for a note
            return true;
        }
    } else if engine.tasks.is_queue_empty()
        && quiet.note_after.get().is_some_and(|after| lasts >= after)
        && !quiet.has_noted.replace(true)
    {
        show::to_stderr(&note(engine, lasts));
    }
    false
}

/// Who waits, and what that means.
fn note(engine: &Engine, lasts: Duration) -> String {
    let mut wakers = 0;
    let mut lines = Vec::new();
    engine.tasks.any(|task| {
        if task.waits() {
            let held = task.wakers();
            wakers += held;
            let who = task.who();
            let name = if task.is_main() {
                "the future given to block_on".to_owned()
            } else {
                format!("{}, spawned at {}", short_name((who.name)()), task.at())
            };
            let held = match held {
                0 => "nobody holds its waker: nothing can wake it".to_owned(),
                held => format!("{held} of its wakers held"),
            };
            lines.push((who.id, format!("  {name}: {held}\n")));
        }
        false
    });
    lines.sort();
    let mut note = format!(
        "pinlab: asleep for {}, with no timer and no socket to wait for, and {} held somewhere:\n",
        brief(lasts),
        counted(wakers, "waker", "wakers")
    );
    lines.iter().for_each(|(_, line)| note.push_str(line));
    let _ = write!(
        note,
        "Only another thread can call one of them now. If none will, this waits for ever: as a future does that owns the sender it \
         receives from, that wants a lock which it holds itself, or that awaits many stuck tasks through one combinator. (Runtime::note_after(None) silences \
         this.)"
    );
    note
}
