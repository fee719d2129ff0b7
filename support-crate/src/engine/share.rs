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
//! Where the engine does not know one poll from the next (a future is polled by hand, or by another executor), there is no end of a poll to wait for. There
//! some are let through, and then so many in a row are refused, up to thousands by a throw of dice: at some time there are enough for all those of a loop
//! that selects between many, which so lets others run. After them the next share begins. Inside of a poll of the engine's it may be such an executor,
//! too, or a combinator with wakers of its own, and cannot be told apart.

use super::{Engine, Loop};
use std::cell::Cell;
use std::task::Waker;

/// How many things may be done in one poll.
const SHARE: u32 = 128;
/// Of so many of a task's own, one is let through when the share is used up;
const ONE_IN: u32 = 8;
/// and of more, once so many times as many have asked.
const FEWER: u32 = 16;
/// As many as this are refused in a row at most.
const LONGEST_RUN: u32 = 1 << 13;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asker {
    /// The task that the engine is polling.
    Task,
    /// Somebody of whom the engine does not know when it is polled: another executor's, or with a waker that is not the task's.
    Other,
}

/// What is left of the share of the poll that is going on.
#[derive(Debug)]
pub(super) struct Share {
    /// In which poll, and how much.
    left: Cell<(u64, u32)>,
    /// In which poll, and how often its task has asked when nothing was left.
    asked: Cell<(u64, u32)>,
    /// How many more of the others are refused in a row.
    run: Cell<u32>,
    dice: Cell<u64>,
}

impl Share {
    pub(super) fn new() -> Self {
        const NONE: u64 = u64::MAX; // no poll
        Self { left: Cell::new((NONE, 0)), asked: Cell::new((NONE, 0)), run: Cell::new(0), dice: Cell::new(1) }
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
            Asker::Other => {
                let run = match self.run.get() {
                    0 if self.throw().is_multiple_of(2) => return false, // else it is the same one each time
                    0 => self.throw_run(),
                    run => run,
                };
                self.run.set(run - 1);
                if run == 1 {
                    self.left.set((polls, SHARE));
                }
                true
            }
        }
    }

    /// The length of a run: 1, 2, 4 and so on, each half as likely as the one before.
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
            _ => Asker::Other,
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
