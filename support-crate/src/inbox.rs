//! Where other threads leave word for the engine's thread, and the bell that rings it out of its sleep.
//!
//! ```text
//!  other threads                                     the engine's thread
//!  ─────────────                                     ───────────────────
//!  send ── push under the lock ─┐                 ┌─ take: swap(QUIET), empty the list
//!          swap(MAIL) ──────────┴── one state ────┤
//!          was PARKED / WAITING? ring             └─ sleep: QUIET → PARKED or WAITING, or stay up
//! ```
//!
//! Invariants
//!
//! * **B1** A message is in the list before the state says `MAIL`, and the state leaves `MAIL` before the list
//!   is emptied: whoever finds `QUIET` has missed nothing.
//! * **B2** The engine sleeps only after it changed `QUIET` into `PARKED` or `WAITING` in one step; a sender
//!   whose swap returns one of the two rings. So no message is left behind a sleeping engine, and none rings
//!   twice.
//! * **B3** Once closed, the list takes nothing more.

use crate::sync::{AtomicU8, Mutex, thread};
use std::sync::atomic::Ordering::{AcqRel, Acquire};

/// Awake, and nothing has come since the last [`Inbox::take`].
const QUIET: u8 = 0;
/// Awake, and there is something in the list.
const MAIL: u8 = 1;
/// Asleep in `thread::park`.
const PARKED: u8 = 2;
/// Asleep in the operating system's wait for events.
const WAITING: u8 = 3;

/// How the engine's thread is going to sleep, and thus how it must be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sleep {
    /// `thread::park`: there is no event to wait for.
    Parked,
    /// The poller's wait: sockets are armed.
    Waiting,
}

/// A list of messages, the state of its reader, and the reader's thread.
#[derive(Debug)]
pub(crate) struct Inbox<M> {
    state: AtomicU8,
    /// `None` once closed (B3).
    list: Mutex<Option<Vec<M>>>,
    reader: thread::Thread,
}

impl<M> Inbox<M> {
    /// An open inbox that is read by the current thread.
    pub(crate) fn new() -> Self {
        Self { state: AtomicU8::new(QUIET), list: Mutex::new(Some(Vec::new())), reader: thread::current() }
    }

    /// Leaves a message; gives it back if the inbox is closed. `ring` wakes a reader that waits for events.
    pub(crate) fn send(&self, message: M, ring: impl FnOnce()) -> Result<(), M> {
        match &mut *self.lock() {
            Some(list) => list.push(message),
            None => return Err(message),
        }
        // B1: pushed first, said afterwards. B2: only one sender sees the sleeper.
        match self.state.swap(MAIL, AcqRel) {
            PARKED => self.reader.unpark(),
            WAITING => ring(),
            _ => {}
        }
        Ok(())
    }

    /// Whether there may be something to take. One relaxed look: cheap enough for every turn of a loop.
    #[inline]
    pub(crate) fn has_mail(&self) -> bool {
        self.state.load(std::sync::atomic::Ordering::Relaxed) == MAIL
    }

    /// Exchanges the list for the empty one in `spare`.
    pub(crate) fn take(&self, spare: &mut Vec<M>) {
        self.state.swap(QUIET, AcqRel);
        if let Some(list) = &mut *self.lock() {
            std::mem::swap(list, spare);
        }
    }

    /// Announces sleep; `false` if there is mail, and then the reader must not sleep (B2).
    pub(crate) fn fall_asleep(&self, how: Sleep) -> bool {
        let sleeping = match how {
            Sleep::Parked => PARKED,
            Sleep::Waiting => WAITING,
        };
        self.state.compare_exchange(QUIET, sleeping, AcqRel, Acquire).is_ok()
    }

    /// Back from sleep, for whatever reason. Mail that came meanwhile stays announced.
    pub(crate) fn wake_up(&self) {
        for sleeping in [PARKED, WAITING] {
            let _ = self.state.compare_exchange(sleeping, QUIET, AcqRel, Acquire);
        }
    }

    /// Closes, and hands over what was still in the list.
    pub(crate) fn close(&self) -> Vec<M> {
        self.lock().take().unwrap_or_default()
    }

    fn lock(&self) -> impl std::ops::DerefMut<Target = Option<Vec<M>>> + '_ {
        // Nothing that can panic runs under the lock, so poison carries no meaning here.
        self.list.lock().unwrap_or_else(|poison| poison.into_inner())
    }
}
