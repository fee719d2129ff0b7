//! The tasks that were woken, first in, first out: a list through their own headers, so that no wake ever allocates.
//!
//! Invariant
//!
//! * **IQ1** The list from `first` over each header's `link` ends in `last`, and each entry owns a reference. A task is in it exactly while it is
//!   `QUEUED`, hence once.

use super::{Header, TaskRef};
use std::cell::Cell;
use std::ptr::NonNull;

#[derive(Debug, Default)]
pub(super) struct Queue {
    first: Cell<Option<NonNull<Header>>>,
    last: Cell<Option<NonNull<Header>>>,
    len: Cell<usize>,
}

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
        self.len.set(self.len.get() + 1);
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
        self.len.set(self.len.get() - 1);
        // SAFETY: the entry's reference, given up with it (IQ1).
        Some(unsafe { TaskRef::from_raw(entry) })
    }

    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.first.get().is_none()
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len.get()
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
