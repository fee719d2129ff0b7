//! All of an engine that other threads may touch: whose it is, and an inbox with a way to wake its reader.
//!
//! ```text
//!  other threads                                     the engine's thread
//!  ─────────────                                     ───────────────────
//!  send ── under the lock: push ─┐                ┌─ take: swap(QUIET), empty the list
//!                  swap(MAIL) ───┴── one state ───┤
//!          was PARKED or WAITING? wake it         └─ sleep: QUIET → PARKED or WAITING, or stay up
//! ```
//!
//! Invariants
//!
//! * **IB1** A message is in the list before the state says `MAIL`, and the state leaves `MAIL` before the list
//!   is emptied: whoever finds `QUIET` has missed nothing.
//! * **IB2** The engine sleeps only after it changed `QUIET` into `PARKED` or `WAITING` in one step; a sender
//!   whose swap returns one of the two wakes it. So no message is left behind a sleeping engine, and none wakes it
//!   twice.
//! * **IB3** Once closed, the list takes nothing more, and what wakes the reader is let go.
//! * **IB4** `owner` is the token of the engine's thread while the engine is open, and zero afterwards.
//! * **IB5** Under the lock no memory is asked for or given back, and no message is dropped: an allocator is foreign code, and may leave a message itself.

use crate::sync::{AtomicU8, AtomicUsize, Mutex, thread, thread_token};
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

/// Awake, and nothing has come since the last [`Inbox::take`].
const QUIET: u8 = 0;
/// Awake, and there is something in the list.
const MAIL: u8 = 1;
/// Asleep in `thread::park`.
const PARKED: u8 = 2;
/// Asleep in the operating system's wait for events.
const WAITING: u8 = 3;

/// What other threads know of an engine.
#[derive(Debug)]
pub(crate) struct Remote<M, N> {
    /// IB4.
    owner: AtomicUsize,
    pub(crate) inbox: Inbox<M, N>,
}

impl<M, N: Notify> Remote<M, N> {
    /// Of an open engine of the current thread.
    pub(crate) fn new(notify: Arc<N>) -> Self {
        Self { owner: AtomicUsize::new(thread_token()), inbox: Inbox::new(notify) }
    }

    /// Whether the current thread is the engine's, and the engine is open.
    #[inline(always)]
    pub(crate) fn is_local(&self) -> bool {
        self.owner.load(Relaxed) == thread_token()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.owner.load(Acquire) == 0
    }

    /// From here on nobody is local (IB4).
    pub(crate) fn set_closed(&self) {
        self.owner.store(0, Release);
    }
}

/// What gets a reader out of its wait for events.
pub(crate) trait Notify {
    /// Ends the wait that is going on, or else the next one.
    fn notify(&self);
}

impl Notify for polling::Poller {
    fn notify(&self) {
        // Fails only if the poller's own descriptor is broken: then nothing can be done here.
        let _ = Self::notify(self);
    }
}

/// How the engine's thread is going to sleep, and thus how it must be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asleep {
    /// `thread::park`: there is no event to wait for.
    Parked,
    /// The poller's wait: sockets are armed.
    Waiting,
}

/// A list of messages, the state of its reader, and the reader's thread.
#[derive(Debug)]
pub(crate) struct Inbox<M, N> {
    state: AtomicU8,
    /// `None` once closed (IB3).
    open: Mutex<Option<Open<M, N>>>,
    reader: thread::Thread,
}

#[derive(Debug)]
struct Open<M, N> {
    list: Vec<M>,
    notify: Arc<N>,
}

impl<M, N: Notify> Inbox<M, N> {
    /// An open inbox that is read by the current thread.
    pub(crate) fn new(notify: Arc<N>) -> Self {
        let open = Mutex::new(Some(Open { list: Vec::new(), notify }));
        Self { state: AtomicU8::new(QUIET), open, reader: thread::current() }
    }

    /// Leaves a message; gives it back if the inbox is closed.
    pub(crate) fn send(&self, message: M) -> Result<(), M> {
        let mut larger = Vec::new();
        let mut open = self.lock();
        while let Some(Open { list, .. }) = &mut *open
            && !has_room(list, &mut larger)
        {
            let more = 2 * list.len().max(2);
            drop(open); // the allocator is foreign code: it may leave a message, too
            larger = Vec::with_capacity(more);
            open = self.lock();
        }
        let Some(Open { list, notify }) = &mut *open else { return Err(message) };
        list.push(message);
        // IB1: pushed first, said afterwards. IB2: only one sender sees the sleeper.
        match self.state.swap(MAIL, AcqRel) {
            PARKED => self.reader.unpark(),
            WAITING => {
                let notify = notify.clone();
                drop(open); // not a system call under the lock
                notify.notify();
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether there may be something to take. One relaxed look: cheap enough for every turn of a loop.
    #[inline]
    pub(crate) fn has_mail(&self) -> bool {
        self.state.load(Relaxed) == MAIL
    }

    /// Exchanges the list for the empty one in `spare`.
    pub(crate) fn take(&self, spare: &mut Vec<M>) {
        self.state.swap(QUIET, AcqRel);
        if let Some(open) = &mut *self.lock() {
            std::mem::swap(&mut open.list, spare);
        }
    }

    /// Announces sleep; `false` if there is mail, and then the reader must not sleep (IB2).
    pub(crate) fn fall_asleep(&self, how: Asleep) -> bool {
        let sleeping = match how {
            Asleep::Parked => PARKED,
            Asleep::Waiting => WAITING,
        };
        self.state.compare_exchange(QUIET, sleeping, AcqRel, Acquire).is_ok()
    }

    /// Back from sleep, for whatever reason. Mail that came meanwhile stays announced.
    pub(crate) fn wake_up(&self) {
        for sleeping in [PARKED, WAITING] {
            let _ = self.state.compare_exchange(sleeping, QUIET, AcqRel, Acquire);
        }
    }

    /// Closes, and hands over what was still in the list (IB3).
    pub(crate) fn close(&self) -> Vec<M> {
        let open = self.lock().take();
        open.map(|open| open.list).unwrap_or_default()
    }

    fn lock(&self) -> impl std::ops::DerefMut<Target = Option<Open<M, N>>> + '_ {
        // Nothing foreign runs under the lock (IB5), and nothing that can panic: poison carries no meaning here.
        self.open.lock().unwrap_or_else(|poison| poison.into_inner())
    }
}

/// Whether the list has room for one more message: its own, or that of a larger list, for which it is then exchanged.
#[inline]
fn has_room<M>(list: &mut Vec<M>, larger: &mut Vec<M>) -> bool {
    if list.len() == list.capacity() && larger.capacity() > list.len() {
        larger.append(list);
        std::mem::swap(list, larger);
    }
    list.len() < list.capacity()
}
