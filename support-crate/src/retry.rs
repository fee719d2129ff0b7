//! `Retry`: the article's wrapper around a future that may fail, with pin projection doing the careful part.
//!
//! ```text
//!              ┌─ Ready(Ok) ────────────────────────────▶ Ready(Ok)
//!   attempt ───┼─ Pending ──────────────────────────────▶ Pending
//!      ▲       └─ Ready(Err) ──┬─ none left, refused ───▶ Ready(Err)
//!      │                       └─ else: dropped ────────▶ pause, if there is a delay ──┐
//!      └── set: the next one takes its place; wake ◀───────────────────────────────────┘
//! ```
//!
//! Invariants
//!
//! * **IA1** The attempt is pinned with the `Retry`: it is polled and dropped where it stands, and only [`Pin::set`] puts another into its
//!   place.
//! * **IA2** An attempt that has failed is dropped at once: during a pause there is none, and what it held (a connection, say) is free.
//! * **IA3** `Pending` is returned only when the attempt or the pause holds the waker, or it has been called.
//! * **IA4** With no attempt and no pause it is over, and must not be polled.

use crate::runtime::Handle;
use crate::time::Sleep;
use futures::TryFuture;
use pin_project::pin_project;
use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// Runs a future made by a factory; if it fails, makes another, at most `retries` times more.
///
/// The attempt is pinned inside the `Retry`: [`Pin::set`] drops the failed one where it stands and puts the next one into the same place. So
/// attempts may be `!Unpin`, as the futures of async functions are.
///
/// After a failure it drops the attempt, wakes itself and returns `Pending`, so that the next attempt is first polled in a turn of its own and a task
/// whose attempts fail at once leaves room for others. With [`Retry::with_delay`] it sleeps first; the others of its kind say how long, and whether at all.
///
/// ```
/// use pinlab::{Retry, Runtime};
/// use std::cell::Cell;
/// use std::time::Duration;
///
/// # fn main() -> std::io::Result<()> {
/// let tries = Cell::new(0);
/// let flaky = || async {
///     tries.set(tries.get() + 1);
///     if tries.get() < 3 { Err("not yet") } else { Ok("done") }
/// };
/// let rt = Runtime::new()?;
/// assert_eq!(rt.block_on(Retry::new(flaky, 5)), Ok("done"));
/// assert_eq!(tries.get(), 3);
///
/// // 1, 2, 4 ms, each of them or up to half less; and only for some failures.
/// let retry = Retry::new(|| async { Err::<(), _>("refused") }, 5)
///     .with_delay(&rt.handle(), Duration::from_millis(1))
///     .growing(2.0)
///     .at_most(Duration::from_millis(4))
///     .with_jitter(0.5)
///     .retry_if(|error| *error != "refused");
/// assert_eq!(rt.block_on(retry), Err("refused"));
/// # Ok(()) }
/// ```
///
/// # Panics
///
/// When polled again after it was ready, as an `async fn` does; with a delay, as a [`Sleep`] does.
#[pin_project]
#[must_use = "a future does nothing unless it is awaited or polled"]
pub struct Retry<F, Fut: TryFuture> {
    factory: F,
    /// `None` in a pause, and at the end (IA2, IA4).
    #[pin]
    attempt: Option<Fut>,
    retries_left: usize,
    delay: Option<Delay>,
    wanted: Option<fn(&Fut::Error) -> bool>,
    /// Between two attempts.
    pause: Option<Sleep>,
}

/// How long the pauses are.
struct Delay {
    handle: Handle,
    next: Duration,
    factor: f64,
    most: Duration,
    jitter: f64,
}

impl Delay {
    /// The next pause; the one after it is longer.
    fn pause(&mut self) -> Sleep {
        let whole = self.next.min(self.most);
        if !whole.is_zero() {
            // What is too long for a number of seconds is never.
            self.next = Duration::try_from_secs_f64(whole.as_secs_f64() * self.factor).unwrap_or(Duration::MAX);
        }
        let share = if self.jitter > 0.0 { 1.0 - self.jitter * random() } else { 1.0 };
        // The same, with a share off or without.
        self.handle.sleep(Duration::try_from_secs_f64(whole.as_secs_f64() * share).unwrap_or(whole))
    }
}

/// From 0 up to, but without, 1; good enough to keep those who fail together from trying again together.
fn random() -> f64 {
    (RandomState::new().hash_one(0) >> 11) as f64 / (1_u64 << 53) as f64
}

impl<F, Fut, T, E> Retry<F, Fut>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    /// Makes the first attempt; after it fails there are this many more.
    pub fn new(mut factory: F, retries: usize) -> Self {
        let attempt = Some(factory());
        Self { factory, attempt, retries_left: retries, delay: None, wanted: None, pause: None }
    }

    /// Waits this long between a failure and the next attempt. The failed attempt is dropped before.
    pub fn with_delay(self, handle: &Handle, delay: Duration) -> Self {
        let delay = Delay { handle: handle.clone(), next: delay, factor: 1.0, most: Duration::MAX, jitter: 0.0 };
        Self { delay: Some(delay), ..self }
    }

    /// Each pause is `factor` times as long as the one before.
    ///
    /// # Panics
    ///
    /// Without a delay; or if the factor is below 1, or no number.
    pub fn growing(self, factor: f64) -> Self {
        assert!(factor >= 1.0, "pauses do not shrink");
        self.delayed(|delay| delay.factor = factor)
    }

    /// No pause is longer than this.
    ///
    /// # Panics
    ///
    /// Without a delay.
    pub fn at_most(self, longest: Duration) -> Self {
        self.delayed(|delay| delay.most = longest)
    }

    /// Each pause is shorter by a random share of itself, of at most this: with 1 it is anything from nothing to all of it.
    ///
    /// # Panics
    ///
    /// Without a delay; or if the share is not from 0 to 1.
    pub fn with_jitter(self, share: f64) -> Self {
        assert!((0.0..=1.0).contains(&share), "a share is from 0 to 1");
        self.delayed(|delay| delay.jitter = share)
    }

    fn delayed(mut self, set: impl FnOnce(&mut Delay)) -> Self {
        set(self.delay.as_mut().expect("only a Retry with a delay has pauses: call with_delay first"));
        self
    }

    /// Tries again only after failures of which this holds; another one is the result.
    pub fn retry_if(self, wanted: fn(&E) -> bool) -> Self {
        Self { wanted: Some(wanted), ..self }
    }

    /// How many more attempts there may be after the one that is under way, or, in a pause, after the next one. At the end: how many were not needed.
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
            this.attempt.set(Some((this.factory)()));
        }
        let attempt = this.attempt.as_mut().as_pin_mut().expect("a Retry was polled again after it was ready"); // IA4
        let result = std::task::ready!(attempt.poll(cx));
        this.attempt.set(None); // IA2
        match result {
            Err(ref error) if *this.retries_left > 0 && this.wanted.is_none_or(|wanted| wanted(error)) => *this.retries_left -= 1,
            result => return Poll::Ready(result),
        }
        match this.delay {
            Some(delay) => {
                let pause = this.pause.insert(delay.pause());
                if Pin::new(pause).poll(cx).is_pending() {
                    return Poll::Pending;
                }
                *this.pause = None;
                this.attempt.set(Some((this.factory)()));
            }
            None => this.attempt.set(Some((this.factory)())),
        }
        // Nobody holds a waker of an attempt that has not been polled yet.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<F, Fut: TryFuture> fmt::Debug for Retry<F, Fut> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("retries_left", &self.retries_left)
            .field("delay", &self.delay.as_ref().map(|delay| delay.next))
            .field("pausing", &self.pause.is_some())
            .finish_non_exhaustive()
    }
}
