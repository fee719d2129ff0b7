//! The waker of a film: it writes down what is done with it.

use std::{
    mem,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

/// The wakes since the last poll.
#[derive(Debug, Default)]
pub(super) struct Calls {
    during: usize,
    after: usize,
    other_thread: usize,
    /// Between the end of the poll and the first wake.
    waited: Option<Duration>,
}

impl Calls {
    pub(super) fn any(&self) -> bool {
        self.during + self.after + self.other_thread > 0
    }

    /// What the waker saw, in words (invariant 3 of the film).
    pub(super) fn says(&self) -> String {
        let times = |n: usize| if n == 1 { String::new() } else { format!(" {n} times") };
        let waited = self.waited.map(|time| format!(", {:.1} ms after it", time.as_secs_f64() * 1e3)).unwrap_or_default();
        let mut said = Vec::new();
        if self.during > 0 {
            said.push(format!("woken{} during its last poll, by what ran in it", times(self.during)));
        }
        if self.other_thread > 0 {
            said.push(format!("woken{} by another thread{waited}", times(self.other_thread)));
        }
        if self.after > 0 {
            said.push(format!("woken{} on this thread, between two polls{waited}", times(self.after)));
        }
        said.join("; ")
    }
}

#[derive(Debug)]
pub(super) struct Wakes {
    calls: Mutex<(Calls, Instant, Option<Waker>)>,
    called: Condvar,
    polling: AtomicBool,
    thread: ThreadId,
}

impl Wakes {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            calls: Mutex::new((Calls::default(), Instant::now(), None)),
            called: Condvar::new(),
            polling: AtomicBool::new(false),
            thread: thread::current().id(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, (Calls, Instant, Option<Waker>)> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A poll begins, or has ended.
    pub(super) fn polling(&self, now: bool) {
        self.lock().1 = Instant::now();
        self.polling.store(now, Ordering::Relaxed);
    }

    /// Whom to wake besides.
    pub(super) fn forward_to(&self, waker: &Waker) {
        self.lock().2 = Some(waker.clone());
    }

    /// Whether it was woken since the last [`take`](Wakes::take).
    pub(super) fn any(&self) -> bool {
        self.lock().0.any()
    }

    pub(super) fn take(&self) -> Calls {
        mem::take(&mut self.lock().0)
    }

    /// Waits for a wake, so long at most.
    pub(super) fn wait(&self, most: Duration) -> Calls {
        let (mut guard, _) =
            self.called.wait_timeout_while(self.lock(), most, |(calls, ..)| !calls.any()).unwrap_or_else(PoisonError::into_inner);
        mem::take(&mut guard.0)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let forward = {
            let mut guard = self.lock();
            let (calls, since, forward) = &mut *guard;
            let here = thread::current().id() == self.thread;
            match (here, self.polling.load(Ordering::Relaxed)) {
                (true, true) => calls.during += 1,
                (true, false) => calls.after += 1,
                (false, _) => calls.other_thread += 1,
            }
            if calls.during == 0 {
                calls.waited.get_or_insert(since.elapsed());
            }
            forward.clone()
        };
        self.called.notify_all();
        if let Some(waker) = forward {
            waker.wake();
        }
    }
}
