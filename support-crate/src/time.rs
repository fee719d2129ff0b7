//! Time: futures that wait for an instant.
//!
//! ```text
//!   Sleep::poll ── early ──▶ timers: waker and deadline ── the loop: due ──▶ wake ──▶ Sleep::poll ──▶ Ready
//! ```
//!
//! A timer costs nothing until it is polled and found to be early; then it is one of the engine's `timers` until it fires, or is dropped.

use crate::engine::Engine;
use crate::foreign;
use futures::stream::{FusedStream, Stream};
use pin_project::pin_project;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// A future that is done at its deadline, never before it. Made by [`Handle::sleep`](crate::Handle::sleep) and
/// [`Handle::sleep_until`](crate::Handle::sleep_until).
///
/// Dropping it takes it out of the engine's timers.
///
/// # Panics
///
/// When polled after its runtime has been dropped, and before its deadline: nothing would ever wake it.
#[must_use = "a future does nothing unless it is awaited or polled"]
pub struct Sleep {
    engine: Rc<Engine>,
    /// `None`: later than any instant the system can tell, so never.
    deadline: Option<Instant>,
    key: Option<usize>,
}

impl Sleep {
    /// Counts from now; `None` is never.
    #[inline]
    pub(crate) fn after(engine: Rc<Engine>, time: Duration) -> Self {
        let deadline = engine.look().checked_add(time);
        Self { engine, deadline, key: None }
    }

    #[inline]
    pub(crate) fn until(engine: Rc<Engine>, deadline: Option<Instant>) -> Self {
        Self { engine, deadline, key: None }
    }

    /// When it will be done; `None` if that is later than the system can tell, and so never.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Starts it again, with another deadline. Who awaits it now will be woken then.
    pub fn reset(&mut self, deadline: Instant) {
        self.deadline = Some(deadline);
        if let Some(key) = self.key.take() {
            let mut timers = self.engine.timers();
            // One that has fired has called its waker: whoever that woke will poll this again.
            self.key = timers.remove(key).map(|waker| timers.insert(self.deadline, waker));
        }
    }

    #[inline]
    fn cancel(&mut self) {
        if let Some(key) = self.key.take() {
            let waker = self.engine.timers().remove(key);
            foreign::discard(waker);
        }
    }

    /// Whether the deadline has passed.
    fn is_over(&self) -> bool {
        let Some(deadline) = self.deadline else { return false };
        self.key.is_some_and(|key| self.engine.timers().has_fired(key)) || self.engine.has_passed(deadline)
    }
}

impl Sleep {
    /// Stores the waker of one that is not over; whether it waits now, or is to be looked at again.
    fn wait(&mut self, cx: &mut Context<'_>) -> bool {
        assert!(!self.engine.is_closed(), "a Sleep was polled after its Runtime had been dropped");
        if self.key.is_some_and(|key| self.engine.timers().will_wake(key, cx.waker())) {
            return true;
        }
        let waker = cx.waker().clone(); // foreign code: it may have driven the engine, or dropped it
        if self.engine.is_closed() || self.key.is_some_and(|key| self.engine.timers().has_fired(key)) {
            return false;
        }
        match self.key {
            Some(key) => {
                let former = self.engine.timers().set_waker(key, waker);
                foreign::discard(former);
            }
            None => self.key = Some(self.engine.timers().insert(self.deadline, waker)),
        }
        true
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.is_over() {
                let this = &mut *self;
                // Else it may be one of many that are over at once, one after the other.
                let has_waited = this.key.is_some_and(|key| this.engine.timers().has_fired(key));
                if !has_waited && !this.engine.has_share() && this.engine.refuses(cx.waker()) {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                if !has_waited {
                    this.engine.has_done();
                }
                this.cancel();
                return Poll::Ready(());
            }
            if self.wait(cx) {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for Sleep {
    #[inline]
    fn drop(&mut self) {
        self.cancel();
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep").field("deadline", &self.deadline).field("waiting", &self.key.is_some()).finish()
    }
}

/// A future with a limit on its time. Made by [`Handle::timeout`](crate::Handle::timeout).
///
/// The limit counts from the end of the first poll: like every `async fn`, it does nothing before. A future that is ready at
/// once costs no look at the clock.
///
/// # Panics
///
/// As a [`Sleep`] does.
#[pin_project]
#[must_use = "a future does nothing unless it is awaited or polled"]
pub struct Timeout<F> {
    #[pin]
    future: F,
    limit: Duration,
    sleep: Sleep,
    started: bool,
}

impl<F> Timeout<F> {
    pub(crate) fn new(engine: Rc<Engine>, limit: Duration, future: F) -> Self {
        Self { future, limit, sleep: Sleep::until(engine, None), started: false }
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        if !*this.started {
            *this.started = true;
            this.sleep.deadline = this.sleep.engine.look().checked_add(*this.limit);
        }
        Pin::new(this.sleep).poll(cx).map(|()| Err(Elapsed(*this.limit)))
    }
}

impl<F> fmt::Debug for Timeout<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeout").field("limit", &self.limit).field("sleep", &self.sleep).finish_non_exhaustive()
    }
}

/// The limit on time was over before the future was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed(Duration);

impl Elapsed {
    /// The limit that was set.
    pub fn limit(&self) -> Duration {
        self.0
    }
}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not done within {:?}", self.0)
    }
}

impl std::error::Error for Elapsed {}

impl From<Elapsed> for std::io::Error {
    fn from(elapsed: Elapsed) -> Self {
        std::io::Error::new(std::io::ErrorKind::TimedOut, elapsed)
    }
}

/// A stream of instants, one period apart. Made by [`Handle::interval`](crate::Handle::interval).
///
/// The first comes one period after it was made. Each is due one period after the one before was *due*, so that
/// delays do not add up; a reader that is late gets what it missed at once.
///
/// # Panics
///
/// As a [`Sleep`] does.
#[must_use = "a stream does nothing unless it is polled"]
#[derive(Debug)]
pub struct Interval {
    sleep: Sleep,
    period: Duration,
}

impl Interval {
    pub(crate) fn new(engine: Rc<Engine>, period: Duration) -> Self {
        assert!(!period.is_zero(), "an interval needs a period that is longer than zero");
        Self { sleep: Sleep::after(engine, period), period }
    }

    /// Waits for the next instant, and gives when it was due.
    pub async fn tick(&mut self) -> Instant {
        std::future::poll_fn(|cx| self.poll_tick(cx)).await
    }

    fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        std::task::ready!(Pin::new(&mut self.sleep).poll(cx));
        let due = self.sleep.deadline.expect("a sleep that is done has a deadline");
        self.sleep.deadline = due.checked_add(self.period);
        Poll::Ready(due)
    }
}

impl Stream for Interval {
    type Item = Instant;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Instant>> {
        self.poll_tick(cx).map(Some)
    }
}

impl FusedStream for Interval {
    fn is_terminated(&self) -> bool {
        false
    }
}
