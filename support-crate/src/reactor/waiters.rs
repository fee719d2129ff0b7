//! Who waits at one side of a source.
//!
//! Most say when they no longer do: they have a number. Poll-style callers (`AsyncRead` and the like) do not, for a trait's method has no place
//! to say it. Each of those is kept once for each task; and so that those who have gone are not kept for ever, the list is looked through when it has
//! doubled since the last time: whose task has ended goes, and if those were few, whoever else is there without a number is woken. Who still waits
//! comes again.
//!
//! Invariant
//!
//! * **IV1** Between two such wakes of everybody the list has to double. So however many wait, after a few of them all have room, and they stop: nobody keeps
//!   the engine busy by waiting.

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

#[derive(Debug)]
pub(super) struct Waiters {
    list: Vec<(Waiter, Waker)>,
    /// How many there were after the list was last looked through; until those who were woken then have had their turn, how many before.
    looked: usize,
    is_settled: bool,
}

impl Default for Waiters {
    fn default() -> Self {
        Self { list: Vec::new(), looked: 0, is_settled: true }
    }
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

    /// Puts one in. The waker that it had before is for the caller to drop; those after it, to wake.
    pub(super) fn store(&mut self, waiter: Waiter, waker: Waker) -> (Option<Waker>, Vec<Waker>) {
        let mut former = None;
        let mut others = Vec::new();
        if let Waiter::Known(_) = waiter {
            former = self.forget(waiter);
        } else if self.list.len() >= FEW.max(2 * self.looked) {
            self.look_through(&mut others);
        }
        self.list.push((waiter, waker));
        (former, others)
    }

    #[cold]
    fn look_through(&mut self, others: &mut Vec<Waker>) {
        let before = self.list.len();
        let ended = self.list.extract_if(.., |(who, waker)| *who == Waiter::Anybody && task::has_ended(waker));
        others.extend(ended.map(|(_, waker)| waker)); // to wake what has ended does nothing
        if self.list.len() > before / 2 {
            self.take_anybody(others);
            self.looked = before;
            self.is_settled = false;
        }
    }

    /// Everybody who was woken has had a turn, and is back if still waiting.
    pub(super) fn settle(&mut self) {
        self.looked = self.list.len();
        self.is_settled = true;
    }

    pub(super) fn is_settled(&self) -> bool {
        self.is_settled
    }

    pub(super) fn forget(&mut self, waiter: Waiter) -> Option<Waker> {
        let place = self.list.iter().position(|(who, _)| *who == waiter)?;
        Some(self.list.swap_remove(place).1)
    }

    pub(super) fn are_all_anybody(&self) -> bool {
        self.list.iter().all(|(who, _)| *who == Waiter::Anybody)
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
        if self.list.capacity() > FEW {
            self.list = Vec::new();
        }
    }
}
