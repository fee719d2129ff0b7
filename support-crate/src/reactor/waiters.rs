//! Who waits at one side of a source.
//!
//! Most say when they no longer do: they have a number. Poll-style callers (`AsyncRead` and the like) do not, for a trait's method has no place
//! to say it. Each of those is kept once for each task; and so that those who have gone are not kept for ever, the list is looked through when it has
//! doubled since the last time: whose task has ended goes, and if those were few, whoever else is there without a number is woken. Who still waits
//! comes again.
//!
//! Invariant
//!
//! * **IV1** Between two such wakes of everybody the list has to double; and who is back is counted only when all who were woken have had their turn. So however
//!   many wait, after a few of them all have room, and they stop: nobody keeps the engine busy by waiting.

use crate::task;
use std::task::Waker;

/// Who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiter {
    /// One that says when it no longer waits.
    Known(u64),
    /// A poll-style caller.
    Anybody,
}

/// So many are kept without looking.
const FEW: usize = 32;

#[derive(Debug, Default)]
pub(super) struct Waiters {
    list: Vec<(Waiter, Waker)>,
    /// How many of them have a number.
    numbered: usize,
    /// How many there were after the list was last looked through; until those who were woken then have had their turn, how many before.
    looked: usize,
    /// After which wait they were woken, if they may not have had their turn.
    woken: Option<u64>,
}

impl Waiters {
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    #[inline]
    pub(super) fn knows(&self, waiter: Waiter, waker: &Waker) -> bool {
        self.list.iter().any(|(who, known)| *who == waiter && known.will_wake(waker))
    }

    /// Puts one in, after so many waits. The waker that it had before is for the caller to drop; those after it, to wake.
    pub(super) fn store(&mut self, waiter: Waiter, waker: Waker, waits: u64) -> (Option<Waker>, Vec<Waker>) {
        let mut former = None;
        let mut others = Vec::new();
        if let Waiter::Known(_) = waiter {
            former = self.forget(waiter);
            self.numbered += 1;
        } else if self.list.len() >= FEW.max(2 * self.looked) {
            self.look_through(&mut others, waits);
        }
        self.list.push((waiter, waker));
        (former, others)
    }

    #[cold]
    fn look_through(&mut self, others: &mut Vec<Waker>, waits: u64) {
        let before = self.list.len();
        let ended = self.list.extract_if(.., |(who, waker)| *who == Waiter::Anybody && task::has_ended(waker));
        others.extend(ended.map(|(_, waker)| waker)); // to wake what has ended does nothing
        if self.list.len() > before / 2 {
            self.take_anybody(others);
            self.looked = before;
            self.woken = Some(waits);
        }
    }

    /// There are so many waits now. If everybody who was woken has had a turn, and so is back if still waiting, they are counted; else this is to be asked
    /// again. A wait comes when all have had a turn who were queued at the last one: who was woken between two of them, by the third.
    pub(super) fn settle(&mut self, waits: u64) -> bool {
        let have_had_their_turn = self.woken.is_none_or(|woken| woken + 2 <= waits);
        if have_had_their_turn && self.woken.take().is_some() {
            self.looked = self.list.len();
        }
        have_had_their_turn
    }

    pub(super) fn is_settled(&self) -> bool {
        self.woken.is_none()
    }

    pub(super) fn forget(&mut self, waiter: Waiter) -> Option<Waker> {
        let place = self.list.iter().position(|(who, _)| *who == waiter)?;
        self.numbered -= usize::from(waiter != Waiter::Anybody);
        Some(self.list.swap_remove(place).1)
    }

    /// How many have a number, and say when they no longer wait.
    pub(super) fn numbered(&self) -> usize {
        self.numbered
    }

    /// Takes out those without a number.
    pub(super) fn take_anybody(&mut self, wakers: &mut Vec<Waker>) {
        let all = self.list.extract_if(.., |(who, _)| *who == Waiter::Anybody);
        wakers.extend(all.map(|(_, waker)| waker));
    }

    /// The data pointers of their wakers.
    pub(super) fn data(&self) -> impl Iterator<Item = *const ()> {
        self.list.iter().map(|(_, waker)| waker.data())
    }

    /// Takes all of them out: their event has come.
    pub(super) fn take(&mut self, wakers: &mut Vec<Waker>) {
        wakers.extend(self.list.drain(..).map(|(_, waker)| waker));
        self.numbered = 0;
        if self.list.capacity() > FEW {
            self.list = Vec::new();
        }
    }
}
