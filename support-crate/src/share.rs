//! How much a task may do in one poll before the others have their turn.
//!
//! What is ready at once (an operation on a socket, a sleep of no length) lets a future go on without ever being `Pending`. So a poll has a share of such things.
//! Who asks for more is refused: it is `Pending`, and has called its waker.
//!
//! * Who was refused in a poll is so to its end: a loop that selects between two that are ready must not go on with the other one for ever.
//! * Others in the same poll are let through for another share: what comes after the one that is refused may be a limit on its time.
//! * So are, for a third one, those who were refused in an earlier poll: the order within a poll is mostly the same, and with it who comes when the share is used up.
//!
//! Where a future is polled by hand or by another executor, the engine does not know one poll from the next: there a refusal is the end of a share, and the next one
//! begins. Inside of a task it sees that the same ones ask again and again.

use std::cell::Cell;

/// How many things may be done in one poll.
const SHARE: u32 = 128;
/// When the same ones ask so often in one poll, with nothing done in between, another share begins: somebody polls again and again inside of it.
const MOST_REFUSALS: u32 = 16;

/// What is left of the share of the poll that is going on.
#[derive(Debug)]
pub(crate) struct Share {
    /// In which poll, and how much.
    left: Cell<(u64, u32)>,
    /// In which poll somebody was refused, or let through; and how often others still are, and those who were refused in an earlier one.
    more: Cell<(u64, More)>,
    /// How many things were ever done.
    done: Cell<u64>,
    /// How often one that was refused has asked again since.
    again: Cell<u32>,
}

/// How often somebody is still let through in a poll whose share is used up.
#[derive(Clone, Copy, Debug)]
struct More {
    /// `None` before the first refusal.
    others: Option<u32>,
    earlier: u32,
}

impl More {
    const ALL: Self = Self { others: None, earlier: SHARE };
}

/// How often somebody was refused in one poll: so often it is let through in later ones.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Refused {
    poll: Option<u64>,
    /// How many things had been done then.
    done: u64,
    times: u32,
}

impl Share {
    pub(crate) fn new() -> Self {
        const NONE: u64 = u64::MAX; // no poll
        Self { left: Cell::new((NONE, 0)), more: Cell::new((NONE, More::ALL)), done: Cell::new(0), again: Cell::new(0) }
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
    pub(crate) fn is_left(&self, polls: u64) -> bool {
        self.left(polls) > 0
    }

    /// Something was done without having to wait.
    #[inline]
    pub(crate) fn use_up(&self, polls: u64) {
        self.left.set((polls, self.left(polls).saturating_sub(1)));
        self.done.set(self.done.get() + 1);
        self.again.set(0);
    }

    /// Nothing is left: whether one that is ready is refused, in the last of so many polls. It may not be going on any more, or be none of the engine's.
    #[cold]
    pub(crate) fn refuses(&self, polls: u64, is_going_on: bool, refused: &mut Refused) -> bool {
        let poll = is_going_on.then_some(polls);
        let was_refused = refused.times > 0;
        let in_this_poll = is_going_on && refused.poll == poll;
        let mut more = match self.more.get() {
            (poll, more) if poll == polls => more,
            _ => More::ALL,
        };
        if was_refused && !in_this_poll && (more.earlier > 0 || !is_going_on) {
            refused.times -= 1;
            more.earlier = more.earlier.saturating_sub(1);
            self.more.set((polls, more));
            return false;
        }
        if let Some(others @ 1..) = more.others
            && is_going_on
            && !was_refused
        {
            more.others = Some(others - 1);
            self.more.set((polls, more));
            return false;
        }
        more.others = more.others.or(Some(SHARE));
        self.more.set((polls, more));
        let done = self.done.get();
        let again = self.again.get() + u32::from(was_refused && refused.done == done);
        *refused = match (was_refused, in_this_poll) {
            (true, false) => Refused { done, ..*refused }, // it is let through in a later poll than this
            (true, true) => Refused { done, times: refused.times + 1, ..*refused },
            (false, _) => Refused { poll, done, times: 1 },
        };
        let is_enough = !is_going_on || again == MOST_REFUSALS;
        self.again.set(if is_enough { 0 } else { again });
        self.left.set((polls, if is_enough { SHARE } else { 0 }));
        true
    }
}
