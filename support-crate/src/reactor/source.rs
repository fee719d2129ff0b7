//! One source of the reactor: what is known of its two sides, and what the poller is told of it.

use super::waiters::Waiters;
use super::{BorrowedSource, RawSource, Side};
use polling::{Event, PollMode, Poller};
use std::io;
use std::task::Waker;

/// A source as the poller knows it.
pub(super) struct Source {
    pub(super) raw: RawSource,
    pub(super) mode: PollMode,
    pub(super) sides: [SideState; 2],
}

#[derive(Default)]
pub(super) struct SideState {
    /// In this poll a stream socket gave less than was asked for: in it, it has no more for those without a number, who are its readers (IS3).
    pub(super) exhausted: Option<u64>,
    pub(super) armed: bool,
    /// How many events there have been.
    pub(super) events: u64,
    pub(super) waiters: Waiters,
}

impl SideState {
    /// Whether an operation is worth a try, in this poll, by somebody who was last told `WouldBlock` after so many events (IS3).
    #[inline]
    pub(super) fn is_worth_a_try(&self, told: Option<u64>, poll: Option<u64>) -> bool {
        (self.exhausted.is_none() || self.exhausted != poll) && told != Some(self.events)
    }

    /// An event: moves the wakers of all who wait to `wakers`.
    pub(super) fn happen(&mut self, wakers: &mut Vec<Waker>) {
        self.exhausted = None;
        self.events += 1;
        self.waiters.take(wakers);
    }
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
