//! The reactor: it waits for the operating system's events and turns each into wakes. It never polls a task.
//!
//! ```text
//!   poll_io ── WouldBlock ──▶ side: waker stored, armed ──▶ operating system
//!      ▲                                                         │ event
//!      └──── task polled ◀── wake ◀── side: ready ◀──────────────┘
//! ```
//!
//! A source has two sides, reading and writing. Sources are watched in *level* mode: while there is something to read,
//! every wait says so. That is robust (nothing is lost when a reader stops half-way, or when data and the end of the
//! stream come together) and would be dear if each operation armed and disarmed its side. So nothing is disarmed until it
//! proves idle: a side stays armed while its events find a waiter, and is disarmed at the first event that finds none. In a
//! conversation of requests and responses that never happens, and a message costs a read, a write and a share of a wait.
//!
//! Invariants
//!
//! * **S1** A source is registered with the poller exactly while a side of it is armed. (One with nothing armed would
//!   still be told of hang-ups, again and again.)
//! * **S2** A side with a waiter is armed.
//! * **S3** `ready` is a hint: it is cleared only when the system said `WouldBlock`, or gave less than was asked for. While
//!   it is clear, no operation is tried.
//! * **S4** A source leaves the reactor before its descriptor is closed: [`Async`](crate::Async) owns both.
//! * **S5** No foreign code (a waker's clone, wake or drop) runs while the reactor is borrowed.

use polling::{Event, Events, PollMode, Poller};
use std::io;
use std::num::NonZeroUsize;
use std::task::Waker;
use std::time::Duration;

#[cfg(unix)]
pub(crate) use std::os::fd::{AsFd as AsSource, AsRawFd, BorrowedFd as BorrowedSource, RawFd as RawSource};
#[cfg(windows)]
pub(crate) use std::os::windows::io::{
    AsRawSocket, AsSocket as AsSource, BorrowedSocket as BorrowedSource, RawSocket as RawSource,
};

/// The waiter that all poll-style callers are.
pub(crate) const ANYBODY: usize = 0;
/// How many of them are kept at one side.
const MOST_ANYBODIES: usize = 32;
/// How many events one wait can bring.
const EVENTS: usize = 1024;

/// One half of what can be done with a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Read = 0,
    Write = 1,
}

const SIDES: [Side; 2] = [Side::Read, Side::Write];

/// All sources of one engine, and the buffer that the system writes its events to.
pub(crate) struct Reactor {
    sources: Vec<Source>,
    free: Vec<usize>,
    /// How many wakers wait for events.
    waiting: usize,
    waits: u64,
    events: EventBuffer,
}

struct Source {
    raw: RawSource,
    sides: [SideState; 2],
}

#[derive(Default)]
struct SideState {
    ready: bool,
    armed: bool,
    /// Who waits, under the number that the waiter gave itself. Mostly one.
    waiters: Vec<(usize, Waker)>,
}

/// What an event meant, for the trace: the source's key, and which sides it found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) key: usize,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
}

impl Reactor {
    pub(crate) fn new() -> Self {
        Self { sources: Vec::new(), free: Vec::new(), waiting: 0, waits: 0, events: EventBuffer::new() }
    }

    /// Takes a source in. Both sides count as ready until the system says otherwise.
    pub(crate) fn insert(&mut self, raw: RawSource) -> usize {
        let ready = || SideState { ready: true, ..SideState::default() };
        let source = Source { raw, sides: [ready(), ready()] };
        match self.free.pop() {
            Some(key) => {
                self.sources[key] = source;
                key
            }
            None => {
                self.sources.push(source);
                self.sources.len() - 1
            }
        }
    }

    /// Lets a source go (S4); its wakers are for the caller to drop (S5).
    pub(crate) fn remove(&mut self, poller: &Poller, key: usize) -> Vec<(usize, Waker)> {
        let source = &mut self.sources[key];
        if source.is_armed() {
            // An error says that the system has forgotten the descriptor already: nothing left to do.
            let _ = poller.delete(source.borrow());
        }
        let mut waiters = Vec::new();
        for side in &mut source.sides {
            self.waiting -= side.waiters.len();
            waiters.append(&mut side.waiters);
            *side = SideState::default();
        }
        self.free.push(key);
        waiters
    }

    pub(crate) fn is_ready(&self, key: usize, side: Side) -> bool {
        self.sources[key].sides[side as usize].ready
    }

    pub(crate) fn clear_ready(&mut self, key: usize, side: Side) {
        self.sources[key].sides[side as usize].ready = false;
    }

    /// Whether this very waiter waits with a waker for the same task already.
    pub(crate) fn knows(&self, key: usize, side: Side, waiter: usize, waker: &Waker) -> bool {
        let waiters = &self.sources[key].sides[side as usize].waiters;
        waiters.iter().any(|(id, known)| *id == waiter && known.will_wake(waker))
    }

    /// Arms a side, if it is not.
    pub(crate) fn arm(&mut self, poller: &Poller, key: usize, side: Side) -> io::Result<()> {
        let source = &mut self.sources[key];
        if source.sides[side as usize].armed { Ok(()) } else { source.set_armed(poller, key, side, true) }
    }

    /// Stores a waker at an armed side (S2). What it replaces is for the caller to drop, and whom it displaces, to wake (S5).
    pub(crate) fn store(&mut self, key: usize, side: Side, waiter: usize, waker: Waker) -> (Option<Waker>, Vec<Waker>) {
        let waiters = &mut self.sources[key].sides[side as usize].waiters;
        let mut replaced = None;
        let mut displaced = Vec::new();
        if waiter == ANYBODY {
            // Poll-style callers may be several, so theirs are kept side by side; but nobody says when one has gone. Past some number
            // all are woken: who is still there comes again.
            if waiters.len() >= MOST_ANYBODIES {
                displaced.extend(waiters.extract_if(.., |(id, _)| *id == ANYBODY).map(|(_, waker)| waker));
            }
        } else if let Some(place) = waiters.iter().position(|(id, _)| *id == waiter) {
            replaced = Some(waiters.swap_remove(place).1);
        }
        waiters.push((waiter, waker));
        self.waiting = self.waiting + 1 - displaced.len() - usize::from(replaced.is_some());
        (replaced, displaced)
    }

    /// This waiter waits no longer.
    pub(crate) fn forget_waiter(&mut self, key: usize, side: Side, waiter: usize) -> Option<Waker> {
        let waiters = &mut self.sources[key].sides[side as usize].waiters;
        let place = waiters.iter().position(|(id, _)| *id == waiter)?;
        self.waiting -= 1;
        Some(waiters.swap_remove(place).1)
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
        self.sources.len() - self.free.len()
    }

    /// Waits for events, at most this long (`None`: until there is one, or a ring), and moves the wakers of those who
    /// waited for them to `wakers`, for the caller to wake (S5).
    pub(crate) fn wait(
        &mut self,
        poller: &Poller,
        timeout: Option<Duration>,
        wakers: &mut Vec<Waker>,
        mut seen: impl FnMut(Seen),
    ) -> io::Result<()> {
        self.waits += 1;
        self.events.wait(poller, timeout)?;
        let Self { sources, events, waiting, .. } = self;
        events.for_each(|event| {
            // An event of the batch may belong to a source that is gone, or to its successor under the same key:
            // then it is a false hint, which S3 allows.
            let Some(source) = sources.get_mut(event.key) else { return };
            seen(Seen { key: event.key, readable: event.readable, writable: event.writable });
            for side in SIDES {
                let happened = match side {
                    Side::Read => event.readable,
                    Side::Write => event.writable,
                };
                let state = &mut source.sides[side as usize];
                if !happened || !state.armed {
                    continue;
                }
                state.ready = true;
                if state.waiters.is_empty() {
                    // An error says that the descriptor is gone, and so is the registration.
                    let _ = source.set_armed(poller, event.key, side, false);
                } else {
                    *waiting -= state.waiters.len();
                    wakers.extend(state.waiters.drain(..).map(|(_, waker)| waker));
                }
            }
        });
        Ok(())
    }

    /// Takes all wakers out: the engine is closing.
    pub(crate) fn clear(&mut self) -> Vec<(usize, Waker)> {
        self.waiting = 0;
        let sides = self.sources.iter_mut().flat_map(|source| &mut source.sides);
        sides.flat_map(|side| std::mem::take(&mut side.waiters)).collect()
    }
}

impl Source {
    fn is_armed(&self) -> bool {
        self.sides.iter().any(|side| side.armed)
    }

    fn borrow(&self) -> BorrowedSource<'_> {
        // SAFETY: the descriptor is open for as long as the source is in the reactor (S4).
        unsafe { BorrowedSource::borrow_raw(self.raw) }
    }

    /// Tells the poller what is wanted from now on (S1).
    fn set_armed(&mut self, poller: &Poller, key: usize, side: Side, armed: bool) -> io::Result<()> {
        let was_armed = self.is_armed();
        let mut wanted = [self.sides[0].armed, self.sides[1].armed];
        wanted[side as usize] = armed;
        let [read, write] = wanted;
        let interest = Event::new(key, read, write);
        match (was_armed, read || write) {
            // SAFETY: it is removed before the descriptor is closed (S4).
            (false, true) => unsafe { poller.add_with_mode(self.raw, interest, PollMode::Level)? },
            (true, true) => poller.modify_with_mode(self.borrow(), interest, PollMode::Level)?,
            (true, false) => poller.delete(self.borrow())?,
            (false, false) => {}
        }
        self.sides[side as usize].armed = armed;
        Ok(())
    }
}

// ---- the wait itself -----------------------------------------------------------------------------------------

/// The portable way: `polling`'s own wait.
struct EventBuffer {
    portable: Events,
    #[cfg(all(target_os = "linux", not(polling_test_poll_backend)))]
    linux: linux::EventBuffer,
}

impl EventBuffer {
    fn new() -> Self {
        Self {
            portable: Events::with_capacity(NonZeroUsize::new(EVENTS).expect("more than none")),
            #[cfg(all(target_os = "linux", not(polling_test_poll_backend)))]
            linux: linux::EventBuffer::new(),
        }
    }

    fn wait(&mut self, poller: &Poller, timeout: Option<Duration>) -> io::Result<()> {
        self.portable.clear();
        #[cfg(all(target_os = "linux", not(polling_test_poll_backend)))]
        if let Some(rung) = self.linux.wait(poller, timeout)? {
            if rung {
                // Only `polling` can reset its own bell; its wait brings the other events once more.
                self.linux.list.clear();
                poller.wait(&mut self.portable, Some(Duration::ZERO))?;
            }
            return Ok(());
        }
        match poller.wait(&mut self.portable, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }

    fn for_each(&mut self, mut each: impl FnMut(Event)) {
        #[cfg(all(target_os = "linux", not(polling_test_poll_backend)))]
        self.linux.drain(&mut each);
        self.portable.iter().for_each(&mut each);
    }
}

/// On Linux, `polling` 3.11 makes five system calls a wait: it sets a timer's descriptor, arms it, waits, clears its bell
/// and arms that. Here it is one, on the same epoll instance. The events carry `polling`'s keys, as its documentation of
/// [`Event::key`] and its `AsFd` suggest but do not promise: the version is pinned, and a test watches it.
#[cfg(all(target_os = "linux", not(polling_test_poll_backend)))]
mod linux {
    use super::{Duration, EVENTS, Event, Poller, io};
    use rustix::buffer::spare_capacity;
    use rustix::event::{Timespec, epoll};
    use rustix::io::Errno;

    pub(super) struct EventBuffer {
        pub(super) list: Vec<epoll::Event>,
    }

    impl EventBuffer {
        pub(super) fn new() -> Self {
            Self { list: Vec::with_capacity(EVENTS) }
        }

        /// `Some(whether the bell rang)`, or `None` where the portable way must be taken.
        ///
        /// This wait counts in whole milliseconds. So it ends in the last one before the deadline; the loop looks at the clock, comes back, and
        /// is sent the portable way, which is exact, for the rest.
        pub(super) fn wait(&mut self, poller: &Poller, timeout: Option<Duration>) -> io::Result<Option<bool>> {
            self.list.clear();
            let timeout = match timeout {
                None => None,
                Some(timeout) if timeout.is_zero() || timeout >= Duration::from_millis(1) => {
                    // At most some weeks at a time, which is what the system can count.
                    let whole = timeout.as_millis().min(1 << 30) as i64;
                    Some(Timespec { tv_sec: whole / 1000, tv_nsec: whole % 1000 * 1_000_000 })
                }
                Some(_) => return Ok(None),
            };
            match epoll::wait(poller, spare_capacity(&mut self.list), timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => Ok(Some(self.list.iter().any(|event| event.data.u64() == usize::MAX as u64))),
                Err(error) => Err(error.into()),
            }
        }

        pub(super) fn drain(&mut self, each: &mut impl FnMut(Event)) {
            use epoll::EventFlags as Flag;
            for event in self.list.drain(..) {
                let flags = event.flags;
                let readable = flags.intersects(Flag::IN | Flag::PRI | Flag::HUP | Flag::ERR);
                let writable = flags.intersects(Flag::OUT | Flag::HUP | Flag::ERR);
                // The bell's key, `usize::MAX`, is beyond every source's.
                each(Event::new(event.data.u64() as usize, readable, writable));
            }
        }
    }
}

impl std::fmt::Debug for Reactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reactor").field("sources", &self.len()).field("waiting", &self.waiting).finish_non_exhaustive()
    }
}
