//! Timers: a heap of deadlines, and the futures that wait in it.
//!
//! ```text
//!   Sleep ──key──▶ slots: [ waker, place ]     place ─┬▶ recent: [ (deadline, order, key) ]  in no order
//!                                                     └▶ heap:   [ (deadline, order, key) ]  the earliest at the top
//! ```
//!
//! A timer costs nothing until it is polled and found to be early. It is then put into the heap, and its slot
//! remembers the place, so that a dropped timer is taken out at once. The commonest timer of all, the limit on an
//! operation that ends long before it, often dies before the engine has looked at the clock once more. So a new timer is
//! put beside the heap, and goes into it only when the engine next asks which one is due first.
//!
//! Invariants
//!
//! * **H1** No entry is later than its children, which for the one at `i` are those at `4i + 1` to `4i + 4`.
//! * **H2** `slots[heap[i].key].place == i` for each entry of the heap, and `RECENT + i` for the recent one at `i`; a slot without
//!   an entry has fired (`FIRED`).
//! * **H3** Deadlines that are equal fire in the order in which they were put in.
//! * **H4** Nothing fires before its deadline.

use crate::runtime::Handle;
use futures::stream::{FusedStream, Stream};
use pin_project::pin_project;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// The place of a timer that has fired (H2).
const FIRED: usize = usize::MAX;
/// Added to the place of a timer that is not in the heap yet, but among the recent ones (H2).
const RECENT: usize = 1 << (usize::BITS - 2);
/// How many children an entry of the heap has: four keep it shallow, and side by side in memory.
const CHILDREN: usize = 4;

/// All timers of one engine that wait.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: Vec<Entry>,
    recent: Vec<Entry>,
    slots: Vec<Slot>,
    /// The first of the free slots, which are chained through `place`.
    free: Option<usize>,
    /// How many were ever put in (H3).
    count: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    deadline: Instant,
    order: u64,
    key: usize,
}

#[derive(Debug)]
struct Slot {
    place: usize,
    waker: Option<Waker>,
}

impl Timers {
    /// Puts a timer in; the key is the caller's until [`Timers::remove`].
    pub(crate) fn insert(&mut self, deadline: Instant, waker: Waker) -> usize {
        let place = RECENT + self.recent.len();
        let slot = Slot { place, waker: Some(waker) };
        let key = match self.free {
            Some(key) => {
                let next = std::mem::replace(&mut self.slots[key], slot).place;
                self.free = (next != FIRED).then_some(next);
                key
            }
            None => {
                self.slots.push(slot);
                self.slots.len() - 1
            }
        };
        self.count += 1;
        self.recent.push(Entry { deadline, order: self.count, key });
        key
    }

    /// Takes a timer out, fired or not. The waker is for the caller to drop, outside of any borrow.
    pub(crate) fn remove(&mut self, key: usize) -> Option<Waker> {
        let Slot { place, waker } = &mut self.slots[key];
        let (place, waker) = (*place, waker.take());
        if (RECENT..FIRED).contains(&place) {
            let place = place - RECENT;
            self.recent.swap_remove(place);
            if let Some(moved) = self.recent.get(place) {
                self.slots[moved.key].place = RECENT + place;
            }
        } else if place != FIRED {
            self.remove_entry(place);
        }
        self.slots[key].place = self.free.unwrap_or(FIRED);
        self.free = Some(key);
        waker
    }

    /// Whether the timer has fired.
    pub(crate) fn has_fired(&self, key: usize) -> bool {
        self.slots[key].place == FIRED
    }

    /// The waker to be called is this one; the former one is given back.
    pub(crate) fn set_waker(&mut self, key: usize, waker: Waker) -> Option<Waker> {
        self.slots[key].waker.replace(waker)
    }

    /// Whether the waker to be called would wake the same task.
    pub(crate) fn will_wake(&self, key: usize, waker: &Waker) -> bool {
        self.slots[key].waker.as_ref().is_some_and(|known| known.will_wake(waker))
    }

    /// When the next timer is due.
    pub(crate) fn next_deadline(&mut self) -> Option<Instant> {
        while let Some(entry) = self.recent.pop() {
            self.heap.push(entry);
            self.rise(self.heap.len() - 1);
        }
        self.heap.first().map(|entry| entry.deadline)
    }

    /// Takes the earliest timer out if it is due at `now` (H4): its deadline, and the waker to call.
    pub(crate) fn fire(&mut self, now: Instant) -> Option<(Instant, Option<Waker>)> {
        if self.next_deadline()? > now {
            return None;
        }
        let Entry { deadline, key, .. } = self.heap[0];
        self.remove_entry(0);
        self.slots[key].place = FIRED;
        Some((deadline, self.slots[key].waker.take()))
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.heap.len() + self.recent.len()
    }

    /// Takes all wakers out: the engine is closing.
    pub(crate) fn clear(&mut self) -> Vec<Waker> {
        self.slots.iter_mut().filter_map(|slot| slot.waker.take()).collect()
    }

    fn remove_entry(&mut self, place: usize) {
        self.heap.swap_remove(place);
        if place < self.heap.len() {
            // What came from the end belongs further up or further down.
            self.sink(place);
            self.rise(place);
        }
    }

    fn rise(&mut self, mut place: usize) {
        let entry = self.heap[place];
        while place > 0 {
            let parent = (place - 1) / CHILDREN;
            if self.heap[parent] <= entry {
                break;
            }
            self.set(place, self.heap[parent]);
            place = parent;
        }
        self.set(place, entry);
    }

    fn sink(&mut self, mut place: usize) {
        let entry = self.heap[place];
        loop {
            let first = place * CHILDREN + 1;
            let children = first..self.heap.len().min(first + CHILDREN);
            match children.min_by_key(|&child| self.heap[child]) {
                Some(child) if self.heap[child] < entry => {
                    self.set(place, self.heap[child]);
                    place = child;
                }
                _ => break,
            }
        }
        self.set(place, entry);
    }

    /// Writes an entry to its place, and the place to its slot (H2).
    fn set(&mut self, place: usize, entry: Entry) {
        self.heap[place] = entry;
        self.slots[entry.key].place = place;
    }
}

/// A future that is done at its deadline, never before it. Made by [`Handle::sleep`] and [`Handle::sleep_until`].
///
/// Dropping it takes it out of the engine's timers.
///
/// # Panics
///
/// When polled after its runtime has been dropped: nothing would ever wake it.
#[must_use = "a future does nothing unless it is awaited or polled"]
pub struct Sleep {
    handle: Handle,
    /// `None`: later than any instant the system can tell, so never.
    deadline: Option<Instant>,
    key: Option<usize>,
}

impl Sleep {
    #[inline]
    pub(crate) fn until(handle: Handle, deadline: Option<Instant>) -> Self {
        Self { handle, deadline, key: None }
    }

    /// When it will be done; `None` if that is later than the system can tell, and so never.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Starts it again, with another deadline.
    pub fn reset(&mut self, deadline: Instant) {
        self.cancel();
        self.deadline = Some(deadline);
    }

    #[inline]
    fn cancel(&mut self) {
        if let Some(key) = self.key.take() {
            self.take_out(key);
        }
    }

    fn take_out(&self, key: usize) {
        let waker = self.handle.timers().remove(key);
        drop(waker);
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.key.is_some_and(|key| this.handle.timers().has_fired(key)) {
            this.cancel();
            return Poll::Ready(());
        }
        // The loop's own look at the clock will do: what has passed since then fires at its next turn.
        if this.key.is_none() && this.deadline.is_some_and(|deadline| deadline <= this.handle.last_now()) {
            return Poll::Ready(());
        }
        assert!(!this.handle.shared().is_closed(), "a Sleep was polled after its Runtime had been dropped");
        if this.key.is_some_and(|key| this.handle.timers().will_wake(key, cx.waker())) {
            return Poll::Pending;
        }
        let waker = cx.waker().clone(); // foreign code: it may even have driven the engine
        match (this.key, this.deadline) {
            (Some(key), _) if this.handle.timers().has_fired(key) => return self.poll(cx),
            (Some(key), _) => {
                let former = this.handle.timers().set_waker(key, waker);
                drop(former);
            }
            (None, Some(deadline)) => this.key = Some(this.handle.timers().insert(deadline, waker)),
            // One that can never fire is not kept: an engine that has nothing else to wait for has stalled.
            (None, None) => {}
        }
        Poll::Pending
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

/// A future with a limit on its time. Made by [`Handle::timeout`].
///
/// The limit counts from the first poll: like every `async fn`, it does nothing before. A future that is ready at
/// once costs no look at the clock.
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
    pub(crate) fn new(handle: Handle, limit: Duration, future: F) -> Self {
        Self { future, limit, sleep: Sleep::until(handle, None), started: false }
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
            this.sleep.deadline = Instant::now().checked_add(*this.limit);
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

/// A stream of instants, one period apart. Made by [`Handle::interval`].
///
/// The first comes one period after it was made. Each is due one period after the one before was *due*, so that
/// delays do not add up; a reader that is late gets what it missed at once.
#[must_use = "a stream does nothing unless it is polled"]
#[derive(Debug)]
pub struct Interval {
    sleep: Sleep,
    period: Duration,
}

impl Interval {
    pub(crate) fn new(handle: Handle, period: Duration) -> Self {
        assert!(!period.is_zero(), "an interval needs a period that is longer than zero");
        Self { sleep: Sleep::until(handle, Instant::now().checked_add(period)), period }
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
