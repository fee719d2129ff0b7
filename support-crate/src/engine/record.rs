//! What the engine tells its recorder, and what it shows of itself while it is recorded.

use super::{Engine, Loop, snapshot};
use crate::observe::recorder::{By, Step, Who};
use crate::observe::snapshot::Snapshot;
use crate::task::TaskRef;

/// A poll that is being recorded. Its end is recorded by the drop: a main future's panic unwinds through the poll.
struct Recorded<'a> {
    engine: &'a Engine,
    done: bool,
}

impl Drop for Recorded<'_> {
    fn drop(&mut self) {
        if self.done {
            self.engine.main_is_over(); // if it is its poll
        }
        self.engine.recorder().end_work();
        self.engine.recorder().record(Step::End { done: self.done });
        self.engine.keep_snapshot();
    }
}

impl Engine {
    /// Begins to record, afresh. Inside of a poll, what happens from here on is that task's work.
    pub(crate) fn record(&self) {
        if !self.recorder().is_on() {
            let polls_main = matches!(self.at.get(), Loop::Main | Loop::MainIsOver | Loop::MainIsCancelled);
            let is_at_work = |task: &TaskRef| if task.is_main() { polls_main && task.waits() } else { task.is_driven() };
            let mut by = By::Outside;
            self.tasks.any(|task| {
                let found = is_at_work(task);
                if found {
                    by = By::Task(task.who());
                }
                found
            });
            self.recorder().begin_work(by);
            self.clock.end_turn(); // the loop looks around after this poll, and ends that work
        }
        self.recorder().start();
    }

    /// Holds no reference to the task: the snapshot would take it for a waker.
    #[cold]
    pub(super) fn recorded<R>(&self, who: Who, poll: impl FnOnce() -> R, is_done: impl FnOnce(&R) -> bool) -> R {
        self.recorder().record(Step::Begin { task: who });
        self.recorder().begin_work(By::Task(who));
        let mut recorded = Recorded { engine: self, done: true }; // if it does not return, it panics
        let polled = poll();
        recorded.done = is_done(&polled);
        polled
    }

    pub(super) fn keep_snapshot(&self) {
        // Also those that are over: a snapshot shows them as long as somebody has their handle.
        if self.recorder().wants_snapshot(|| self.tasks.count(|task| !task.is_main())) {
            self.recorder().keep(self.snapshot());
        }
    }

    /// The state now; of an engine that is recorded.
    pub(crate) fn snapshot(&self) -> Snapshot {
        snapshot::take(self)
    }
}
