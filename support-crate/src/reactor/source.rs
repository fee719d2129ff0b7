//! One source of the reactor: what is known of its two sides, and what the poller is told of it.

use super::waiters::Waiters;
use super::{BorrowedSource, RawSource, Side};
use polling::{Event, PollMode, Poller};
use std::io;

/// A source as the poller knows it.
pub(super) struct Source {
    pub(super) raw: RawSource,
    pub(super) mode: PollMode,
    pub(super) sides: [SideState; 2],
}

/// What the last who tried has found (IS3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Hint {
    /// Nothing to the contrary, since the last event.
    #[default]
    Ready,
    /// It would block.
    WouldBlock,
    /// Less than was asked for.
    Less,
}

#[derive(Default)]
pub(super) struct SideState {
    pub(super) hint: Hint,
    pub(super) armed: bool,
    /// How many events there have been.
    pub(super) events: u64,
    pub(super) waiters: Waiters,
}

impl Source {
    pub(super) fn is_armed(&self) -> bool {
        self.sides.iter().any(|side| side.armed)
    }

    pub(super) fn borrow(&self) -> BorrowedSource<'_> {
        // SAFETY: the descriptor is open for as long as the source is in the reactor (IS4).
        unsafe { BorrowedSource::borrow_raw(self.raw) }
    }

    pub(super) fn set_armed(&mut self, poller: &Poller, key: usize, side: Side, armed: bool) -> io::Result<()> {
        let was_armed = self.is_armed();
        let before = std::mem::replace(&mut self.sides[side as usize].armed, armed);
        let told = self.tell(poller, key, was_armed);
        if told.is_err() {
            self.sides[side as usize].armed = before;
        }
        told
    }

    /// Tells the poller what is wanted from now on (IS1).
    pub(super) fn tell(&self, poller: &Poller, key: usize, was_armed: bool) -> io::Result<()> {
        let interest = Event::new(key, self.sides[0].armed, self.sides[1].armed);
        match (was_armed, self.is_armed()) {
            (false, true) => {
                // SAFETY: it is removed before the descriptor is closed (IS4).
                let added = unsafe { poller.add_with_mode(self.raw, interest, self.mode) };
                added.inspect_err(|_| drop(poller.delete(self.borrow()))) // where it fails half-way (kqueue, IOCP), the poller has kept the number
            }
            (true, true) => poller.modify_with_mode(self.borrow(), interest, self.mode),
            (true, false) => poller.delete(self.borrow()),
            (false, false) => Ok(()),
        }
    }
}
