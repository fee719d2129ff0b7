//! The end of an engine.

use super::{Engine, Loop};
use crate::foreign;
use crate::task::{has_ended, tasks_first};
use std::rc::Rc;

impl Engine {
    /// Drops every future, here and now, and lets go of what wakers and join handles still hold, and of every descriptor.
    pub(crate) fn close(self: &Rc<Self>) {
        if self.at.get() != Loop::Stopped {
            std::mem::forget(self.clone()); // `exit` inside of a task drops what is in thread-locals: the loop's frames are still there (IE3)
            return;
        }
        let whole = foreign::NoUnwind;
        if let Some(main) = self.main.take() {
            self.tasks.abort(&main);
        }
        self.tasks.cancel_all();
        let mut others = Vec::new();
        loop {
            let sleepers = self.timers.borrow_mut().clear();
            let waiters = self.reactor.borrow_mut().clear();
            for waker in sleepers.into_iter().chain(waiters) {
                // All tasks of this engine are over.
                if has_ended(&waker) { foreign::discard(waker) } else { others.push(waker) }
            }
            if self.tasks.is_queue_empty() {
                break;
            }
            self.tasks.clear_queue();
        }
        for message in self.tasks.remote.inbox.close() {
            message.open(&self.tasks); // to a task that is over
        }
        self.recorder().stop();
        self.tasks.remote.set_closed();
        self.reactor.borrow_mut().close();
        self.tasks.let_go();
        // Tasks of another engine wait here, too. They are to find that this one is gone.
        tasks_first(&mut others);
        others.into_iter().for_each(foreign::wake_and_discard);
        std::mem::forget(whole);
    }
}
