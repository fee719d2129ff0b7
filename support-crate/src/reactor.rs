//! The reactor: it waits for the operating system's events and turns each into wakes. It never polls a task.
//!
//! ```text
//!   an operation ── WouldBlock ──▶ side: waker stored, armed ──▶ operating system
//!        ▲                                                            │ event
//!        └────── task polled ◀── wake ◀── side: ready ◀───────────────┘
//! ```
//!
//! A source has two sides, reading and writing. Sources are watched in *level* mode: while there is something to read,
//! every wait says so. That is robust (nothing is lost when a reader stops half-way, or when data and the end of the
//! stream come together) and would be costly if each operation armed and disarmed its side. So nothing is disarmed until it
//! proves idle: a side stays armed while its events find a waiter, and is disarmed at the first event that finds none. In a
//! conversation of requests and responses that never happens, and a message costs a read, a write and a share of a wait.
//!
//! | file | what is in it |
//! |---|---|
//! | `source` | one source: what is known of its sides, what the poller is told |
//! | `waiters` | who waits at one side of a source |
//! | `events` | the wait itself; what only Linux has |
//!
//! Invariants
//!
//! * **IS1** A source is registered with the poller exactly while a side of it is armed. (One with nothing armed would
//!   still be told of hang-ups, again and again.)
//! * **IS2** A side with a waiter is armed.
//! * **IS3** Each event gives each waiter a try. What one is told holds for that one alone, since an operation may say `WouldBlock` for reasons of its own: each
//!   waiter that has a number remembers after how many events it was told so, is not tried again before the next one, and has been told nothing when it
//!   begins. One without a number, which is a stream's reader or writer, always tries, but where a stream socket in level mode gave less than was asked for: it has
//!   no more for its readers, until an event or the next poll. A try may be in vain.
//! * **IS4** A source leaves the reactor before its descriptor is closed: [`Async`](crate::Async) owns both. And no descriptor is in it twice. So what is
//!   registered under a number is never another's.
//! * **IS5** An error that is not an end, which only reading it away would silence (a socket's error queue), or the mark of data out of band, which only a read
//!   passes over, would be reported by every wait in level mode: such a source is watched in edge mode from then on. (On Linux and
//!   Android, of the mark on Linux only: no other poller tells them apart and has that mode.)

mod events;
mod source;
mod waiters;

use events::EventBuffer;
use polling::{PollMode, Poller};
use slab::Slab;
use source::{SideState, Source};
use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;
pub(crate) use waiters::Waiter;

#[cfg(unix)]
pub(crate) use std::os::fd::{AsFd as AsSource, AsRawFd, BorrowedFd as BorrowedSource, RawFd as RawSource};
#[cfg(windows)]
pub(crate) use std::os::windows::io::{
    AsRawSocket, AsSocket as AsSource, BorrowedSocket as BorrowedSource, RawSocket as RawSource,
};

/// One half of what can be done with a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Read = 0,
    Write = 1,
}

const SIDES: [Side; 2] = [Side::Read, Side::Write];

/// All sources of one engine, and the buffer that the system writes its events to.
pub(crate) struct Reactor {
    /// `None` once the engine has closed.
    poller: Option<Arc<Poller>>,
    sources: Slab<Source>,
    /// The descriptors in it (IS4).
    known: HashSet<RawSource>,
    /// Whose waiters were woken to see who is still there, and not yet counted afresh.
    unsettled: Vec<(usize, Side)>,
    /// How many wakers wait for events.
    waiting: usize,
    /// How many of them say when they no longer do.
    numbered: usize,
    last_waiter: u64,
    waits: u64,
    events: EventBuffer,
}

impl Reactor {
    pub(crate) fn new(poller: Arc<Poller>) -> Self {
        Self {
            poller: Some(poller),
            sources: Slab::new(),
            known: HashSet::new(),
            unsettled: Vec::new(),
            waiting: 0,
            numbered: 0,
            last_waiter: 0,
            waits: 0,
            events: EventBuffer::new(),
        }
    }

    /// Takes a source in. Both sides count as ready until the system says otherwise.
    ///
    /// # Errors
    ///
    /// If the engine has closed, or this very descriptor is in it already (IS4).
    pub(crate) fn insert(&mut self, raw: RawSource) -> io::Result<usize> {
        if self.poller.is_none() {
            return Err(closed());
        }
        if !self.known.insert(raw) {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "this descriptor is watched by the Runtime already"));
        }
        Ok(self.sources.insert(Source { raw, mode: PollMode::Level, sides: Default::default() }))
    }

    /// Lets a source go (IS4); its wakers are for the caller to drop (IF1).
    pub(crate) fn remove(&mut self, key: usize) -> Vec<Waker> {
        let mut source = self.sources.remove(key);
        self.known.remove(&source.raw);
        if let Some(poller) = &self.poller
            && source.is_armed()
        {
            // An error says that the system has forgotten the descriptor already: nothing left to do.
            let _ = poller.delete(source.borrow());
        }
        let mut wakers = Vec::new();
        for side in &mut source.sides {
            self.waiting -= side.waiters.len();
            self.numbered -= side.waiters.numbered();
            side.waiters.take(&mut wakers);
        }
        self.unsettled.retain(|(of, _)| *of != key);
        if self.sources.is_empty() {
            self.sources.shrink_to_fit();
            self.unsettled.shrink_to_fit();
            self.known.shrink_to_fit();
        }
        wakers
    }

    /// How many events there have been at this side.
    #[inline]
    pub(crate) fn events(&self, key: usize, side: Side) -> u64 {
        self.sources[key].sides[side as usize].events
    }

    /// Whether an operation is worth a try, in this poll, by somebody who was last told `WouldBlock` after so many events (IS3), and how many there have been. When
    /// the engine has closed there will be none, so then each is tried.
    #[inline]
    pub(crate) fn is_worth_a_try(&self, key: usize, side: Side, told: Option<u64>, poll: Option<u64>) -> (bool, u64) {
        let state = &self.sources[key].sides[side as usize];
        (state.is_worth_a_try(told, poll) || self.poller.is_none(), state.events)
    }

    /// The next event is to tell how it is now: the next wait does that in level mode; in edge mode (IS5) the system has to be told, or it would not repeat what
    /// it has said. How many events there have been before.
    ///
    /// # Errors
    ///
    /// If the system cannot watch the source.
    pub(crate) fn ask_afresh(&mut self, key: usize, side: Side) -> io::Result<u64> {
        let source = &self.sources[key];
        if let Some(poller) = &self.poller
            && matches!(source.mode, PollMode::Edge)
        {
            source.tell(poller, key, source.is_armed())?;
        }
        Ok(source.sides[side as usize].events)
    }

    /// In this poll a stream socket gave less than it was asked for: it has no more for now. If an end follows, level mode tells of it (IS3).
    #[inline]
    pub(crate) fn had_less(&mut self, key: usize, poll: u64) {
        let source = &mut self.sources[key];
        if matches!(source.mode, PollMode::Level) {
            source.sides[Side::Read as usize].exhausted = Some(poll);
        }
    }

    /// A number for one that waits and says when it no longer does.
    pub(crate) fn next_waiter(&mut self) -> Waiter {
        self.last_waiter += 1;
        Waiter::Known(self.last_waiter)
    }

    /// Whether this waiter waits with a waker for the same task already.
    #[inline]
    pub(crate) fn knows(&self, key: usize, side: Side, waiter: Waiter, waker: &Waker) -> bool {
        self.sources[key].sides[side as usize].waiters.knows(waiter, waker)
    }

    /// Arms a side, if it is not.
    ///
    /// # Errors
    ///
    /// If the engine has closed, or the system cannot watch the source.
    pub(crate) fn arm(&mut self, key: usize, side: Side) -> io::Result<()> {
        let Some(poller) = &self.poller else { return Err(closed()) };
        let source = &mut self.sources[key];
        if source.sides[side as usize].armed { Ok(()) } else { source.set_armed(poller, key, side, true) }
    }

    /// Stores a waker at an armed side (IS2). What it replaces is for the caller to drop, and whom it displaces, to wake (IF1).
    pub(crate) fn store(&mut self, key: usize, side: Side, waiter: Waiter, waker: Waker) -> (Option<Waker>, Vec<Waker>) {
        let waiters = &mut self.sources[key].sides[side as usize].waiters;
        let (before, numbered, was_settled) = (waiters.len(), waiters.numbered(), waiters.is_settled());
        let out = waiters.store(waiter, waker, self.waits);
        if was_settled && !waiters.is_settled() {
            self.unsettled.push((key, side));
        }
        self.waiting = self.waiting + waiters.len() - before;
        self.numbered = self.numbered + waiters.numbered() - numbered;
        out
    }

    /// This waiter waits no longer; its waker is for the caller to drop (IF1).
    pub(crate) fn forget_waiter(&mut self, key: usize, side: Side, waiter: Waiter) -> Option<Waker> {
        let state = &mut self.sources[key].sides[side as usize];
        let numbered = state.waiters.numbered();
        let waker = state.waiters.forget(waiter)?;
        self.waiting -= 1;
        self.numbered -= numbered - state.waiters.numbered();
        Some(waker)
    }

    /// Whether all who wait are poll-style callers: then each of them may have given up.
    pub(crate) fn may_all_be_gone(&self) -> bool {
        self.numbered == 0
    }

    /// Takes out the wakers of all poll-style callers, to wake and so to see who is still there.
    pub(crate) fn take_anybody(&mut self) -> Vec<Waker> {
        let mut wakers = Vec::new();
        for (_, source) in &mut self.sources {
            source.sides.iter_mut().for_each(|side| side.waiters.take_anybody(&mut wakers));
        }
        self.waiting -= wakers.len();
        wakers
    }

    /// How many wakers wait for an event.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many times the system was asked for events.
    pub(crate) fn waits(&self) -> u64 {
        self.waits
    }

    /// How many sources there are.
    pub(crate) fn len(&self) -> usize {
        self.sources.len()
    }

    /// Makes something of each source: of its number, and for each side whether nobody waits, whether it is armed, and the data pointers of those
    /// who wait.
    pub(crate) fn states<R>(&self, mut make: impl FnMut(usize, [(bool, bool, Vec<*const ()>); 2]) -> R) -> Vec<R> {
        let side = |side: &SideState| (side.waiters.is_empty(), side.armed, side.waiters.data().collect());
        self.sources.iter().map(|(key, source)| make(key, [side(&source.sides[0]), side(&source.sides[1])])).collect()
    }

    /// Waits for events, at most this long (`None`: until there is one, or a notification), and moves the wakers of those who
    /// waited for them to `wakers`, for the caller to wake (IF1). Tells of each event: the source, whether it is readable, whether it is writable.
    pub(crate) fn wait(
        &mut self,
        timeout: Option<Duration>,
        wakers: &mut Vec<Waker>,
        mut tell: impl FnMut(usize, bool, bool),
    ) -> io::Result<()> {
        let Self { poller, sources, unsettled, waiting, numbered, waits, events, .. } = self;
        let Some(poller) = poller else { return Err(closed()) };
        *waits += 1;
        unsettled.retain(|(key, side)| !sources[*key].sides[*side as usize].waiters.settle(*waits));
        events.wait(poller, timeout)?;
        events.for_each(|event, lasts| {
            // An event of the batch may belong to a source that is gone, or to its successor under the same key:
            // then there is a try in vain, which IS3 allows.
            let Some(source) = sources.get_mut(event.key) else { return };
            tell(event.key, event.readable, event.writable);
            for side in SIDES {
                let happened = match side {
                    Side::Read => event.readable,
                    Side::Write => event.writable,
                };
                let state = &mut source.sides[side as usize];
                if !happened || !state.armed {
                    continue;
                }
                let finds_nobody = state.waiters.is_empty();
                *waiting -= state.waiters.len();
                *numbered -= state.waiters.numbered();
                state.happen(wakers);
                if finds_nobody {
                    // An error says that the descriptor is gone, and so is the registration.
                    let _ = source.set_armed(poller, event.key, side, false);
                }
            }
            if lasts && poller.supports_edge() && matches!(source.mode, PollMode::Level) {
                source.mode = PollMode::Edge; // IS5
                let _ = source.tell(poller, event.key, source.is_armed());
            }
        });
        Ok(())
    }

    /// Takes all wakers out: the engine is closing.
    pub(crate) fn clear(&mut self) -> Vec<Waker> {
        self.waiting = 0;
        self.numbered = 0;
        let mut wakers = Vec::new();
        for (_, source) in &mut self.sources {
            source.sides.iter_mut().for_each(|side| side.waiters.take(&mut wakers));
        }
        wakers
    }

    /// The engine has closed: nothing is watched any more, and no descriptor of its own is left.
    pub(crate) fn close(&mut self) {
        let Some(poller) = self.poller.take() else { return };
        for (_, source) in self.sources.iter_mut().filter(|(_, source)| source.is_armed()) {
            let _ = poller.delete(source.borrow()); // another thread may still have the poller, to notify it
            source.sides.iter_mut().for_each(|side| side.armed = false);
        }
    }
}

/// What operations on a source say once its runtime has gone.
pub(crate) fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the Runtime that watches this source has been dropped")
}

impl std::fmt::Debug for Reactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reactor").field("sources", &self.len()).field("waiting", &self.waiting).finish_non_exhaustive()
    }
}
