//! The task that stands for the future given to `block_on`: taken, polled, and put back for the next one.

use super::{Engine, Loop};
use crate::task::TaskRef;

/// See [`Engine::main_polls`].
pub(crate) struct MainPolls<'a>(&'a Engine);

impl Drop for MainPolls<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.main_is_over();
    }
}

impl Engine {
    /// A task to stand for a future given to `block_on`, whose type has this name. The loop is running, so nobody else has it.
    #[inline]
    pub(crate) fn take_main(&self, name: fn() -> &'static str) -> TaskRef {
        self.quiet.end();
        self.tasks.set_main_name(name);
        let main = self.main.take().unwrap_or_else(|| self.tasks.spawn_main());
        if self.recorder().is_on() {
            self.recorder().forget(main.who());
        }
        self.at.set(Loop::Main);
        main
    }

    /// Its future is gone. If somebody has kept a waker of it, or it is queued, it must not wake, nor look like a hope to, whoever blocks next.
    #[inline]
    pub(crate) fn put_main_back(&self, main: TaskRef) {
        self.tasks.take_main_ready();
        if main.is_fresh_main() {
            std::mem::forget(self.main.replace(Some(main))); // `None`, as the loop is running: nothing is forgotten
        } else {
            self.give_up_main(main);
        }
    }

    #[cold]
    fn give_up_main(&self, main: TaskRef) {
        self.tasks.abort(&main);
        self.read_inbox(); // the loop may not come to it: the next future may be ready at once, too
    }

    /// The main future has stalled: it is dropped now.
    #[cold]
    pub(crate) fn main_is_cancelled(&self) {
        self.at.set(Loop::MainIsCancelled);
    }

    /// The main future is polled until the end of this scope, also by a panic, and is dropped then.
    #[inline(always)]
    pub(crate) fn main_polls(&self) -> MainPolls<'_> {
        MainPolls(self)
    }

    #[inline(always)]
    pub(super) fn main_is_over(&self) {
        if self.at.get() == Loop::Main {
            self.at.set(Loop::MainIsOver);
        }
    }

    /// Counts a poll of the main future, and records it if that is on.
    #[inline]
    pub(crate) fn poll_main<R>(&self, main: &TaskRef, poll: impl FnOnce() -> R, is_done: impl FnOnce(&R) -> bool) -> R {
        self.clock.count_poll();
        match self.recorder().is_on() {
            false => poll(),
            true => self.recorded(main.who(), poll, is_done),
        }
    }

    /// Whether there is nothing to do but to poll the main future again.
    #[inline(always)]
    pub(crate) fn is_main_next(&self) -> bool {
        !self.clock.is_turn_over() && !self.tasks.remote.inbox.has_mail() && self.tasks.take_main_ready()
    }
}
