//! The tasks that were woken, first in, first out: a list through their own headers, so that no wake ever allocates.
//!
//! Invariants
//!
//! * **IQ1** The list from `first` over each header's `link` ends in `last`, and each entry owns a reference. A task is in it exactly while it is
//!   `QUEUED`, hence once.
//! * **IQ2** Of what was in the list at the last abort of a queued task, no more than half, but for a few, has been aborted: what is over keeps its memory as long
//!   as it is queued, and it may be long before the loop takes it out.

use super::state::Phase;
use super::{Header, TaskRef};
use std::cell::Cell;
use std::ptr::NonNull;

#[derive(Debug, Default)]
pub(super) struct Queue {
    first: Cell<Option<NonNull<Header>>>,
    last: Cell<Option<NonNull<Header>>>,
    /// How many have ever been put in, and taken out.
    pushed: Cell<u64>,
    popped: Cell<u64>,
    /// When so many have been taken out, all have had their turn who were in the list when the round began.
    end_of_round: Cell<u64>,
    /// How many were in it when they were aborted, since it was last looked through (IQ2).
    aborted: Cell<u64>,
}

/// So many may be in it that are over, without a look (IQ2).
const FEW: u64 = 32;

impl Queue {
    /// Puts at the end a task that the caller has just marked as queued.
    #[inline(always)]
    pub(super) fn push(&self, task: TaskRef) {
        let entry = task.into_raw();
        // SAFETY: IQ1: the entries own references, so they are alive; the same for the former last.
        unsafe { entry.as_ref() }.link.set(None);
        match self.last.replace(Some(entry)) {
            // SAFETY: IQ1: as above.
            Some(last) => unsafe { last.as_ref() }.link.set(Some(entry)),
            None => self.first.set(Some(entry)),
        }
        self.pushed.set(self.pushed.get() + 1);
    }

    /// Takes the first one out; it is no longer queued.
    #[inline(always)]
    pub(super) fn pop(&self) -> Option<TaskRef> {
        let entry = self.first.get()?;
        // SAFETY: IQ1: alive.
        let Header { link, state, .. } = unsafe { entry.as_ref() };
        let next = link.get();
        self.first.set(next);
        if next.is_none() {
            self.last.set(None);
        }
        state.dequeue();
        self.popped.set(self.popped.get() + 1);
        // SAFETY: the entry's reference, given up with it (IQ1).
        Some(unsafe { TaskRef::from_raw(entry) })
    }

    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.first.get().is_none()
    }

    fn len(&self) -> u64 {
        self.pushed.get() - self.popped.get()
    }

    /// A round begins: it is over when all who are in the list now have had their turn.
    #[inline]
    pub(super) fn begin_round(&self) {
        self.end_of_round.set(self.pushed.get());
    }

    #[inline]
    pub(super) fn is_round_over(&self) -> bool {
        self.popped.get() >= self.end_of_round.get()
    }

    /// One that is in the list will not be polled any more: if that is so of many, they are taken out (IQ2).
    #[cold]
    pub(super) fn count_aborted(&self) {
        let (aborted, len) = (self.aborted.get() + 1, self.len());
        self.aborted.set(aborted);
        if aborted < FEW.max(len / 2) {
            return;
        }
        self.aborted.set(0);
        let of_round = self.end_of_round.get().saturating_sub(self.popped.get());
        let mut kept = 0; // of those
        for place in 0..len {
            let Some(task) = self.pop() else { break };
            if matches!(task.phase(), Phase::Idle | Phase::Polling) {
                kept += u64::from(place < of_round);
                task.header().state.requeue();
                self.push(task);
            }
        }
        self.end_of_round.set(self.popped.get() + kept);
    }

    /// The entries, for somebody to look at; nothing may change meanwhile.
    pub(super) fn for_each(&self, mut each: impl FnMut(NonNull<Header>)) {
        let mut at = self.first.get();
        while let Some(entry) = at {
            each(entry);
            // SAFETY: IQ1: alive.
            at = unsafe { entry.as_ref() }.link.get();
        }
    }
}
