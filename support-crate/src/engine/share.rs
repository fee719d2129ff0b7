//! How much a task may do in one poll before the others have their turn.
//!
//! What is ready at once (an operation on a socket, a sleep whose time has passed already) lets a future go on without ever being `Pending`. So a poll has a share
//! of such things. Who asks for more is mostly refused: it is `Pending`, and has called its waker.
//!
//! Mostly, because the order within a poll is mostly the same: if everybody were refused who comes when the share is used up, it would be the same ones in each
//! poll (a limit on time, behind what is always ready). So one in eight is let through, by a throw of dice; and when that has been another share, nobody:
//! a loop that selects between several that are ready must come to its end.
//!
//! Where the engine does not know one poll from the next (a future is polled by hand, or by another executor), a refusal ends one share, and the next one begins. Inside of a
//! poll of the engine's it may be such an executor, too, or a combinator with wakers of its own, and cannot be told apart: there every other one is let through.

use super::{Engine, Loop};
use std::cell::Cell;
use std::task::Waker;

/// How many things may be done in one poll.
const SHARE: u32 = 128;
/// Of so many, one is let through when the share is used up.
const ONE_IN: u64 = 8;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asker {
    /// The task that the engine is polling.
    Task,
    /// Somebody with another waker, while the engine polls a task.
    Inside,
    /// Somebody whom the engine does not poll.
    Elsewhere,
}

/// What is left of the share of the poll that is going on.
#[derive(Debug)]
pub(super) struct Share {
    /// In which poll, and how much.
    left: Cell<(u64, u32)>,
    /// In which poll, and how many more were done when nothing was left.
    more: Cell<(u64, u32)>,
    dice: Cell<u64>,
}

impl Share {
    pub(super) fn new() -> Self {
        const NONE: u64 = u64::MAX; // no poll
        Self { left: Cell::new((NONE, 0)), more: Cell::new((NONE, 0)), dice: Cell::new(1) }
    }

    /// How much is left in the last of so many polls.
    #[inline]
    fn left(&self, polls: u64) -> u32 {
        match self.left.get() {
            (poll, left) if poll == polls => left,
            _ => SHARE,
        }
    }

    fn more(&self, polls: u64) -> u32 {
        match self.more.get() {
            (poll, more) if poll == polls => more,
            _ => 0,
        }
    }

    /// Whether something more may be done in the last of so many polls.
    #[inline]
    fn is_left(&self, polls: u64) -> bool {
        self.left(polls) > 0
    }

    /// Something was done without having to wait.
    #[inline]
    fn use_up(&self, polls: u64) {
        match self.left(polls) {
            0 => self.more.set((polls, self.more(polls).saturating_add(1))),
            left => self.left.set((polls, left - 1)),
        }
    }

    /// Nothing is left: whether one that is ready is refused.
    #[cold]
    fn refuses(&self, polls: u64, asker: Asker) -> bool {
        let refuses = match asker {
            Asker::Task => self.more(polls) >= SHARE || !self.throw().is_multiple_of(ONE_IN),
            Asker::Inside | Asker::Elsewhere => !self.throw().is_multiple_of(2),
        };
        if refuses && asker == Asker::Elsewhere {
            self.left.set((polls, SHARE));
        }
        refuses
    }

    /// Numbers without a pattern that a program could fall in step with (xorshift).
    fn throw(&self) -> u64 {
        let mut dice = self.dice.get();
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        self.dice.set(dice);
        dice >> 32
    }
}

impl Engine {
    /// The poll that is going on. Where futures are polled by hand, or by another executor, the engine does not know one poll from the next: then there is none.
    #[inline]
    pub(crate) fn this_poll(&self) -> Option<u64> {
        matches!(self.at.get(), Loop::Task | Loop::Main).then(|| self.clock.polls())
    }

    /// Whether a task may do something more without having to wait.
    #[inline]
    pub(crate) fn has_share(&self) -> bool {
        self.share.is_left(self.clock.polls())
    }

    /// Whether one that is ready is refused, now that the task has done its share; this is its waker.
    #[cold]
    pub(crate) fn refuses(&self, waker: &Waker) -> bool {
        let asker = match self.at.get() {
            Loop::Task | Loop::Main if self.tasks.is_being_polled(waker, self.at.get() == Loop::Main) => Asker::Task,
            Loop::Task | Loop::Main => Asker::Inside,
            _ => Asker::Elsewhere,
        };
        self.share.refuses(self.clock.polls(), asker)
    }

    /// A task has done something without having to wait: that is a part of its share.
    #[inline]
    pub(crate) fn has_done(&self) {
        self.share.use_up(self.clock.polls());
    }
}
