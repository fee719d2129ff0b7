//! The page of states: what a task can be in, and who may change it.
//!
//! ```text
//!              spawn             loop                     loop: it is Ready, or panicked
//!   Free ─────────────▶ Idle ◀─────────▶ Polling ───────────────────────────┐
//!    ▲                    │                 │ loop: an abort was asked for   ▼
//!    │                    └──▶ Cancelling ◀─┘                              Done
//!    │       abort, or close        └────── who began it ──────────────────▶│ join handle takes or drops the output,
//!    └────────────────────────────── last reference ────────────── Empty ◀──┘ or the end of a task that has no handle
//! ```
//!
//! | phase | what its place holds | who may touch that |
//! |---|---|---|
//! | `Free` | nothing: the memory is no task's | the engine's memory |
//! | `Idle` | the future | the engine's thread: to begin a poll or a drop |
//! | `Polling` | the future, which is being polled; when it is done, its drop, and then the output | that poll alone |
//! | `Cancelling` | the future, which is being dropped, and then the output | that drop alone |
//! | `Done` | the output | the join handle, while there is one; else the end of the task |
//! | `Empty` | nothing | nobody |
//!
//! So a future is polled and dropped by one caller at a time, whatever the foreign code in it does: a second one finds another phase than `Idle`
//! and goes away. No phase is entered twice but `Idle` and `Polling`, and none is left for an earlier one but `Polling` for `Idle`.
//!
//! The word is touched by the engine's thread only; after the engine has closed, by the join handle's, which is the same.

use std::cell::Cell;

/// Where in its life a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Phase {
    Free = 0,
    Idle = 1,
    Polling = 2,
    Cancelling = 3,
    Done = 4,
    Empty = 5,
}

const PHASE: u32 = 0b111;
/// An entry of the queue is this task's; there is at most one. Set by a wake, cleared when the loop takes the entry, before
/// the poll: so a wake during the poll queues the task again.
const QUEUED: u32 = 1 << 3;
/// The join handle exists: somebody wants the output. Cleared when it is dropped.
const JOINED: u32 = 1 << 4;
/// `abort` was called during the poll: the loop drops the future as soon as that returns.
const ABORTED: u32 = 1 << 5;
/// It stands for the future given to `block_on`, which lives in that function's frame: queued like others, but never polled here.
const MAIN: u32 = 1 << 6;
/// One reference; the bits from here up count those that the engine's thread made (see `task`).
const REF: u32 = 1 << 7;
/// A main task that nobody but the engine refers to.
const MAIN_FRESH: u32 = Phase::Idle as u32 | MAIN | (2 * REF);
/// Past this many references something leaks them in a loop.
pub(super) const MAX_REFS: u32 = 1 << 24;

/// A task's state word.
#[derive(Debug)]
pub(super) struct State(Cell<u32>);

impl State {
    /// Idle, with the references of the engine and of the join handle.
    pub(super) const fn spawned() -> Self {
        Self(Cell::new(Phase::Idle as u32 | JOINED | (2 * REF)))
    }

    /// Idle, with the engine's reference and that of the place where it keeps this task.
    pub(super) const fn main() -> Self {
        Self(Cell::new(MAIN_FRESH))
    }

    pub(super) fn set_free(&self) {
        self.0.set(Phase::Free as u32);
    }

    #[inline]
    pub(super) fn phase(&self) -> Phase {
        match self.0.get() & PHASE {
            0 => Phase::Free,
            1 => Phase::Idle,
            2 => Phase::Polling,
            3 => Phase::Cancelling,
            4 => Phase::Done,
            _ => Phase::Empty,
        }
    }

    #[inline]
    fn set_phase(&self, phase: Phase) {
        self.0.set(self.0.get() & !PHASE | phase as u32);
    }

    fn has(&self, flag: u32) -> bool {
        self.0.get() & flag != 0
    }

    // ---- the queue -------------------------------------------------------------------------------------------

    /// A wake: marks the task as queued and counts the entry's reference; `false` if it is queued already, or its future will not be polled again: it
    /// is being dropped, or gone.
    #[inline]
    pub(super) fn enqueue(&self) -> bool {
        let bits = self.0.get();
        if bits & QUEUED != 0 || bits & PHASE >= Phase::Cancelling as u32 {
            return false;
        }
        self.0.set((bits | QUEUED) + REF);
        true
    }

    /// The loop has taken the entry.
    #[inline]
    pub(super) fn dequeue(&self) {
        self.0.set(self.0.get() & !QUEUED);
    }

    /// It is queued again, with the reference that the loop has taken out.
    pub(super) fn requeue(&self) {
        self.0.set(self.0.get() | QUEUED);
    }

    pub(super) fn is_queued(&self) -> bool {
        self.has(QUEUED)
    }

    // ---- the future ------------------------------------------------------------------------------------------

    /// The loop begins a poll; `false` if the future is not there to be polled.
    #[inline]
    pub(super) fn begin_poll(&self) -> bool {
        let idle = self.0.get() & PHASE == Phase::Idle as u32;
        if idle {
            self.set_phase(Phase::Polling);
        }
        idle
    }

    /// The poll returned `Pending`; `false` if an abort was asked for meanwhile: then the future is now to be dropped.
    #[inline]
    pub(super) fn end_poll(&self) -> bool {
        debug_assert_eq!(self.phase(), Phase::Polling);
        let aborted = self.has(ABORTED);
        self.set_phase(if aborted { Phase::Cancelling } else { Phase::Idle });
        !aborted
    }

    /// An abort: `true` if the caller is now to drop the future. If it is being polled, the loop will.
    pub(super) fn begin_cancel(&self) -> bool {
        match self.phase() {
            Phase::Idle => self.set_phase(Phase::Cancelling),
            Phase::Polling => {
                self.0.set(self.0.get() | ABORTED);
                return false;
            }
            _ => return false,
        }
        true
    }

    /// Whether the loop is at it: it polls the future, or drops it since an abort was asked for during the poll.
    pub(super) fn is_driven(&self) -> bool {
        match self.phase() {
            Phase::Polling => true,
            Phase::Cancelling => self.has(ABORTED),
            _ => false,
        }
    }

    /// The future is gone and the output in its place. Happens once, and with it the engine's reference ends.
    #[inline]
    pub(super) fn end(&self) {
        debug_assert!(matches!(self.phase(), Phase::Polling | Phase::Cancelling));
        self.set_phase(Phase::Done);
    }

    // ---- the output ------------------------------------------------------------------------------------------

    #[inline]
    pub(super) fn is_over(&self) -> bool {
        self.0.get() & PHASE >= Phase::Done as u32
    }

    /// Whoever this says `true` to has the output for itself, and the place counts as empty.
    #[inline]
    pub(super) fn take_output(&self) -> bool {
        let done = self.phase() == Phase::Done;
        if done {
            self.set_phase(Phase::Empty);
        }
        done
    }

    #[inline]
    pub(super) fn is_joined(&self) -> bool {
        self.has(JOINED)
    }

    pub(super) fn leave(&self) {
        self.0.set(self.0.get() & !JOINED);
    }

    // ---- the main future's stand-in --------------------------------------------------------------------------

    #[inline]
    pub(super) fn is_main(&self) -> bool {
        self.has(MAIN)
    }

    /// Nobody but the engine refers to it, as far as its own thread has counted; and it is not queued.
    #[inline]
    pub(super) fn is_fresh_main(&self) -> bool {
        self.0.get() == MAIN_FRESH
    }

    // ---- references ------------------------------------------------------------------------------------------

    /// How many references were counted here.
    #[inline]
    pub(super) fn refs(&self) -> u32 {
        self.0.get() / REF
    }

    /// Those that are the engine's own: of a future that is not over, of a main task's place, of the queue's entry, of the loop that is at it; and the
    /// join handle's.
    pub(super) fn own_refs(&self) -> u32 {
        let engine = if self.is_over() { 0 } else { 1 + u32::from(self.is_main()) };
        // The loop has the reference of the entry that it took from the queue.
        let driven = u32::from(self.is_driven());
        engine + driven + u32::from(self.has(QUEUED)) + u32::from(self.is_joined())
    }

    #[inline]
    pub(super) fn add_ref(&self) {
        self.0.set(self.0.get() + REF);
    }

    #[inline]
    pub(super) fn sub_ref(&self) {
        self.0.set(self.0.get() - REF);
    }

    /// Counts so many more (or fewer): what other threads counted. `false` if those are too many.
    #[must_use]
    pub(super) fn merge(&self, change: i32) -> bool {
        let fits = self.refs().checked_add_signed(change).is_some_and(|refs| refs <= MAX_REFS);
        if fits {
            // Whatever the signs: the sum fits, so it is right although its parts wrap.
            self.0.set(self.0.get().wrapping_add((change as u32).wrapping_mul(REF)));
        }
        fits
    }

    /// Takes all that was counted here.
    pub(super) fn take_refs(&self) -> u32 {
        let refs = self.refs();
        self.0.set(self.0.get() & (REF - 1));
        refs
    }
}
