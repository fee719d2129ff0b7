//! How much a task may do in one poll before the others have their turn.
//!
//! What is ready at once (an operation on a socket, a sleep whose time has passed already) lets a future go on without ever being `Pending`. So a poll has a share
//! of such things. Who asks for more is mostly refused: it is `Pending`, and has called its waker.
//!
//! Mostly, because the order within a poll is mostly the same: if everybody were refused who comes when the share is used up, it would be the same ones in each
//! poll (a limit on time, behind what is always ready). So some are let through, by a throw of dice: one in eight, and fewer the more have asked. The number that is
//! let through so grows only with the logarithm of the number of those who ask: a loop that selects between many that are ready comes to its end, and yet nobody
//! is without a chance.
//!
//! Where the engine does not know one poll from the next (a future is polled by hand, or by another executor), there is no end of a poll to wait for. There it is
//! up to chance whether one is let through, or a run of refusals begins, how long that is (mostly short, at times thousands), and so who comes after it: that one
//! is let through, and the next share begins. A loop that selects between many comes to its end in a run that is long enough. Inside of a poll of the engine's it
//! may be such an executor, too, or a combinator with wakers of its own, and cannot be told apart: there the next share is a small one, and a run ends with
//! the poll.

use super::{Engine, Loop};
use std::cell::Cell;
use std::task::Waker;

/// How many things may be done in one poll.
const SHARE: u32 = 128;
/// Of so many of a task's own, one is let through when the share is used up;
const ONE_IN: u32 = 8;
/// and of more, once so many times as many have asked.
const FEWER: u32 = 16;
/// So long are the longest runs, in the mean.
const LONGEST_RUN: u32 = 1 << 13;
/// How many things may be done after a run, in a poll of the engine's.
const AFTER_RUN: u32 = 8;

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
    /// In which poll, and how often its task has asked when nothing was left.
    asked: Cell<(u64, u32)>,
    /// In which poll, and how long the run is in the mean that is going on; 0 is none.
    run: Cell<(u64, u32)>,
    dice: Cell<u64>,
}

impl Share {
    pub(super) fn new() -> Self {
        const NONE: u64 = u64::MAX; // no poll
        Self { left: Cell::new((NONE, 0)), asked: Cell::new((NONE, 0)), run: Cell::new((NONE, 0)), dice: Cell::new(1) }
    }

    /// How much is left in the last of so many polls.
    #[inline]
    fn left(&self, polls: u64) -> u32 {
        match self.left.get() {
            (poll, left) if poll == polls => left,
            _ => SHARE,
        }
    }

    /// Whether something more may be done in the last of so many polls.
    #[inline]
    fn is_left(&self, polls: u64) -> bool {
        self.left(polls) > 0
    }

    /// Something was done without having to wait. Whether that was the last for which there was a share.
    #[inline]
    fn use_up(&self, polls: u64) -> bool {
        let Some(left) = self.left(polls).checked_sub(1) else { return false };
        self.left.set((polls, left));
        left == 0
    }

    /// Nothing is left: whether one that is ready is refused.
    #[cold]
    fn refuses(&self, polls: u64, asker: Asker) -> bool {
        match asker {
            Asker::Task => {
                let asked = match self.asked.get() {
                    (poll, asked) if poll == polls => asked.saturating_add(1),
                    _ => 1,
                };
                self.asked.set((polls, asked));
                !self.throw().is_multiple_of(u64::from(ONE_IN.max(asked / FEWER)))
            }
            Asker::Inside | Asker::Elsewhere => {
                let mean = match self.run.get() {
                    (poll, mean) if poll == polls && mean > 0 => mean,
                    _ if self.throw().is_multiple_of(2) => return false,
                    _ => self.throw_run(),
                };
                let is_over = self.throw().is_multiple_of(u64::from(mean));
                self.run.set((polls, if is_over { 0 } else { mean }));
                if is_over {
                    self.left.set((polls, if asker == Asker::Inside { AFTER_RUN } else { SHARE }));
                }
                !is_over
            }
        }
    }

    /// The mean length of a run: 1, 2, 4 and so on, each half as likely as the one before.
    fn throw_run(&self) -> u32 {
        1 << (self.throw() | u64::from(LONGEST_RUN)).trailing_zeros()
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
            at @ (Loop::Task | Loop::Main) if self.tasks.is_being_polled(waker, at == Loop::Main) => Asker::Task,
            Loop::Task | Loop::Main => Asker::Inside,
            _ => Asker::Elsewhere,
        };
        self.share.refuses(self.clock.polls(), asker)
    }

    /// A task has done something without having to wait: that is a part of its share. A whole share may have taken long, so then the loop looks at the clock.
    #[inline]
    pub(crate) fn has_done(&self) {
        if self.share.use_up(self.clock.polls()) {
            self.clock.end_turn();
        }
    }
}
