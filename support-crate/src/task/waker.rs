//! A task's wakers, and how another thread reaches the engine with one.
//!
//! Each of a waker's four duties is a few steps for the engine's own thread. For any other thread, and for everybody once the engine has closed, it is a
//! change of `remote_refs`; and at most two messages about a task are in the engine's inbox at a time, one that wakes it and one that gives a
//! reference back (IT4 in `task`), however many wakers are called and dropped meanwhile.

use super::state::Phase;
use super::tasks::Tasks;
use super::{BIAS, COUNT, Header, RETURNED, TaskRef, WOKEN, release_closed, too_many};
use crate::observe::recorder::By;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::task::{RawWaker, RawWakerVTable, Waker};

static WAKER: RawWakerVTable = RawWakerVTable::new(
    |data| {
        let clone = TaskRef::clone(&borrowed(data));
        RawWaker::new(clone.into_raw().as_ptr().cast_const().cast(), &WAKER)
    },
    |data| {
        let task = owned(data);
        match task.local() {
            Some(tasks) => {
                tasks.wake(&task, None);
                drop(task);
            }
            None => task.wake_and_return(),
        }
    },
    |data| {
        let task = borrowed(data);
        match task.local() {
            Some(tasks) => tasks.wake(&task, None),
            None => task.wake_remote(),
        }
    },
    |data| drop(owned(data)),
);

#[inline(always)]
fn owned(data: *const ()) -> TaskRef {
    // SAFETY: IT8: the pointer is a header's; the caller gives up the waker's reference, or never drops what it gets.
    unsafe { TaskRef::from_raw(NonNull::new_unchecked(data.cast_mut().cast())) }
}

#[inline(always)]
fn borrowed(data: *const ()) -> ManuallyDrop<TaskRef> {
    ManuallyDrop::new(owned(data)) // given back to nobody: the waker keeps it
}

/// A waker made of a reference.
///
/// # Safety
///
/// The waker owns the reference that the caller gives up; or the waker is not dropped, and is used only while the caller has one (IT8).
#[inline(always)]
pub(super) unsafe fn from_ref(header: NonNull<Header>) -> Waker {
    // SAFETY: IT8: the vtable keeps the contract of `RawWaker`; the rest is the caller's.
    unsafe { Waker::from_raw(RawWaker::new(header.as_ptr().cast_const().cast(), &WAKER)) }
}

pub(super) fn of_task(task: TaskRef) -> Waker {
    // SAFETY: IT8: the reference goes with it.
    unsafe { from_ref(task.into_raw()) }
}

/// Whether this is the waker of a task of this crate's, of whichever engine. (In a notebook each cell has a vtable of its own: then it is not, and is treated
/// as any other waker.)
#[inline]
pub(super) fn is_of_task(waker: &Waker) -> bool {
    ptr::eq(waker.vtable(), &WAKER)
}

/// Whether this is known to be the waker of a task that is over.
pub(crate) fn has_ended(waker: &Waker) -> bool {
    is_of_task(waker) && {
        let task = borrowed(waker.data());
        task.local().is_some() && task.is_over() // only its own thread may look (IT1)
    }
}

/// Whether this is the waker of a task of this engine's that is being polled; with `is_main`, of the one that stands for the future given to `block_on`.
pub(super) fn is_polled(waker: &Waker, tasks: &Tasks, is_main: bool) -> bool {
    is_of_task(waker) && {
        let task = borrowed(waker.data());
        task.local().is_some_and(|local| ptr::eq(local, tasks)) // only its own thread may look (IT1)
            && if is_main { task.is_main() && !task.is_over() } else { task.phase() == Phase::Polling }
    }
}

/// Those of tasks first: to call or to drop them runs nothing foreign. So when that of somebody else drives the engine, no task looks as if somebody were
/// about to wake it.
pub(crate) fn tasks_first(wakers: &mut [Waker]) {
    wakers.sort_by_key(|waker| !is_of_task(waker));
}

/// Turns a task's waker into the reference that it is.
pub(super) fn into_task(waker: Waker) -> Result<TaskRef, Waker> {
    if is_of_task(&waker) { Ok(owned(ManuallyDrop::new(waker).data())) } else { Err(waker) }
}

/// Another thread, or any after the engine has closed, gives its reference back: as a message, or, if there is one about this task already, by just
/// subtracting it (IT4).
///
/// # Safety
///
/// The caller owns a reference (IT3), which this gives back.
#[cold]
pub(super) unsafe fn release_remote(header: NonNull<Header>) {
    // SAFETY: IT3: the caller's reference, which it gives up.
    let task = unsafe { TaskRef::from_raw(header) };
    task.give_back(RETURNED | WOKEN, RETURNED);
}

impl TaskRef {
    #[cold]
    fn wake_and_return(self) {
        self.give_back(WOKEN, WOKEN);
    }

    /// Gives this reference back: if one of these flags is set, by subtracting it, else by a message, for which this flag is set.
    fn give_back(self, is_sent: u32, flag: u32) {
        let change = |refs: u32| Some(if refs & is_sent != 0 { refs - 1 } else { refs | flag });
        // Release: what this thread wrote is seen by the poll that follows, or by whoever frees the block.
        let before = self.header().remote_refs.fetch_update(AcqRel, Relaxed, change);
        if before.is_ok_and(|before| before & is_sent != 0) {
            let _ = ManuallyDrop::new(self); // no longer counted
        } else {
            self.send(flag);
        }
    }

    #[cold]
    fn wake_remote(&self) {
        let change = |refs: u32| Some(if refs & WOKEN != 0 { refs } else { (refs | WOKEN) + 1 });
        let before = self.header().remote_refs.fetch_update(AcqRel, Relaxed, change);
        if before.is_ok_and(|before| before & WOKEN == 0) {
            // SAFETY: IT3: the reference that was added just now.
            unsafe { Self::from_raw(self.0) }.send(WOKEN);
        }
    }

    /// Leaves this reference in the engine's inbox; the flag has been set for it.
    fn send(self, flag: u32) {
        // The engine may read it, free the block, close and go while we are still waking it.
        let remote = self.chunk().remote().clone();
        if let Err(Message { task, .. }) = remote.inbox.send(Message { task: self, flag }) {
            // SAFETY: IT3: the reference is given back by it; IB3: the inbox takes nothing, so the engine has closed.
            unsafe { release_closed(task.into_raw()) };
        }
    }
}

/// What another thread leaves in the engine's inbox: a reference to a task.
#[derive(Debug)]
pub(crate) struct Message {
    task: TaskRef,
    /// `WOKEN` or `RETURNED`.
    flag: u32,
}

// SAFETY: the receiver is the engine's thread, or nobody (then the sender keeps it): IT1. A `TaskRef` may be dropped anywhere.
unsafe impl Send for Message {}

impl Message {
    /// On the engine's thread: carries the message out.
    pub(crate) fn open(self, tasks: &Tasks) {
        let Header { state, remote_refs, .. } = self.task.header();
        // From here on the next one sends a message of its own. Acquire: what other threads wrote before they woke is seen by the poll that follows.
        let change = |refs: u32| Some((refs & !(COUNT | self.flag)) | BIAS);
        let before = remote_refs.fetch_update(AcqRel, Acquire, change).unwrap_or_else(|refs| refs);
        if !state.merge((before & COUNT) as i32 - BIAS as i32) {
            too_many();
        }
        if self.flag == WOKEN {
            tasks.wake(&self.task, Some(By::OtherThread));
        }
    }
}
