//! `Retry`: the article's wrapper around a future that may fail, with pin projection doing the careful part.
//!
//! ```text
//!              ┌─ Ready(Ok) ──────────────────▶ Ready(Ok)
//!   attempt ───┼─ Pending ────────────────────▶ Pending
//!      ▲       └─ Ready(Err) ──┬─ none left ──▶ Ready(Err)
//!      │                       └─ else ───────▶ pause, if there is a delay ──┐
//!      └── set: the failed one is dropped, the next takes its place; wake ◀──┘
//! ```
//!
//! Invariants
//!
//! * **A1** The attempt is pinned with the `Retry`: it is polled and dropped where it stands, and only [`Pin::set`] puts another into its
//!   place.
//! * **A2** An attempt that has failed is not polled again: while there is a pause it is not looked at, and after it another stands there.
//! * **A3** `Pending` is returned only when the attempt or the pause holds the waker, or it has been called.

use crate::runtime::Handle;
use crate::time::Sleep;
use pin_project::pin_project;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// Runs a future made by a factory; if it fails, makes another, at most so many times more.
///
/// The attempt is pinned inside the `Retry`: [`Pin::set`] drops the failed one where it stands and puts the next one into the same place. So
/// attempts may be `!Unpin`, as the futures of async functions are.
///
/// After a failure it wakes itself and returns `Pending`, so that the next attempt is first polled in a turn of its own and a task whose
/// attempts fail at once leaves room for others. With [`Retry::with_delay`] it sleeps first.
///
/// ```
/// use pinlab::{Retry, Runtime};
/// use std::cell::Cell;
///
/// # fn main() -> std::io::Result<()> {
/// let tries = Cell::new(0);
/// let flaky = || async {
///     tries.set(tries.get() + 1);
///     if tries.get() < 3 { Err("not yet") } else { Ok("done") }
/// };
/// assert_eq!(Runtime::new()?.block_on(Retry::new(flaky, 5)), Ok("done"));
/// assert_eq!(tries.get(), 3);
/// # Ok(()) }
/// ```
#[pin_project]
#[must_use = "a future does nothing unless it is awaited or polled"]
pub struct Retry<F, Fut> {
    factory: F,
    #[pin]
    attempt: Fut,
    retries_left: usize,
    delay: Option<(Handle, Duration)>,
    /// Between two attempts.
    pause: Option<Sleep>,
}

impl<F, Fut, T, E> Retry<F, Fut>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    /// Makes the first attempt; after it fails there are this many more.
    pub fn new(mut factory: F, retries: usize) -> Self {
        let attempt = factory();
        Self { factory, attempt, retries_left: retries, delay: None, pause: None }
    }

    /// Waits this long between a failure and the next attempt.
    pub fn with_delay(self, handle: &Handle, delay: Duration) -> Self {
        Self { delay: Some((handle.clone(), delay)), ..self }
    }

    /// How many more attempts there may be.
    pub fn retries_left(&self) -> usize {
        self.retries_left
    }
}

impl<F, Fut, T, E> Future for Retry<F, Fut>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    /// The first success, or the last failure.
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some(pause) = this.pause {
            std::task::ready!(Pin::new(pause).poll(cx));
            *this.pause = None;
            this.attempt.set((this.factory)());
        }
        match std::task::ready!(this.attempt.as_mut().poll(cx)) {
            Err(_) if *this.retries_left > 0 => *this.retries_left -= 1,
            result => return Poll::Ready(result),
        }
        match this.delay {
            Some((handle, delay)) => {
                *this.pause = Some(handle.sleep(*delay));
                let pause = this.pause.as_mut().expect("it was put there just now");
                if Pin::new(pause).poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
            None => this.attempt.set((this.factory)()),
        }
        // Nobody holds a waker of an attempt that has not been polled yet.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<F, Fut> fmt::Debug for Retry<F, Fut> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("retries_left", &self.retries_left)
            .field("delay", &self.delay.as_ref().map(|(_, delay)| delay))
            .field("pausing", &self.pause.is_some())
            .finish_non_exhaustive()
    }
}
