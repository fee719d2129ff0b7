//! Who awaits a task's join handle: a waker in one word.
//!
//! Invariant
//!
//! * **IJ1** The word is null, or a reference to a task of this crate's (its waker, as a pointer), or a boxed waker, with the lowest bit set. Both are
//!   owned, and both are aligned to more than one byte.

use super::TaskRef;
use super::waker;
use std::cell::Cell;
use std::ptr::{self, NonNull};
use std::task::Waker;

/// In the word: it points to a box.
const BOXED: usize = 1;

/// IJ1.
#[derive(Debug)]
pub(super) struct Joiner(Cell<*mut ()>);

impl Joiner {
    pub(super) const fn nobody() -> Self {
        Self(Cell::new(ptr::null_mut()))
    }

    /// Puts a waker there and takes out the one before, for the caller to call or to drop when nothing is borrowed.
    pub(super) fn replace(&self, waker: Option<Waker>) -> Option<Waker> {
        let word = match waker.map(waker::into_task) {
            None => ptr::null_mut(),
            Some(Ok(task)) => task.into_raw().as_ptr().cast(),
            Some(Err(waker)) => Box::into_raw(Box::new(waker)).cast::<()>().map_addr(|address| address | BOXED),
        };
        let word = NonNull::new(self.0.replace(word))?;
        Some(match boxed(word.as_ptr()) {
            // SAFETY: IJ1, and it is no longer in the cell.
            Some(waker) => *unsafe { Box::from_raw(waker) },
            // SAFETY: IJ1: as above, with the reference that the word is.
            None => waker::of_task(unsafe { TaskRef::from_raw(word.cast()) }),
        })
    }

    pub(super) fn is_somebody(&self) -> bool {
        !self.0.get().is_null()
    }

    /// Whether the waker that is there is not known as a task's. It is the same for all cells of a notebook, unlike what each makes of a waker.
    pub(super) fn is_boxed(&self) -> bool {
        boxed(self.0.get()).is_some()
    }

    /// The data pointer of the waker that is there.
    pub(super) fn data(&self) -> Option<*const ()> {
        let word = NonNull::new(self.0.get())?.as_ptr();
        // SAFETY: IJ1: the box is alive as long as it is in the cell, and `data` runs no foreign code.
        Some(boxed(word).map_or(word.cast_const(), |waker| unsafe { &*waker }.data()))
    }

    pub(super) fn will_wake(&self, other: &Waker) -> bool {
        let word = self.0.get();
        match boxed(word) {
            // SAFETY: IJ1; comparing runs no foreign code.
            Some(waker) => unsafe { &*waker }.will_wake(other),
            None => !word.is_null() && waker::is_of_task(other) && other.data() == word.cast_const(),
        }
    }
}

fn boxed(word: *mut ()) -> Option<*mut Waker> {
    (word.addr() & BOXED != 0).then(|| word.map_addr(|address| address & !BOXED).cast())
}
