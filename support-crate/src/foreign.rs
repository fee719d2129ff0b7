//! Where the engine calls code that is not ours. (What a future calls inside of its own poll, it calls itself.)
//!
//! A future's poll and drop, the drop of an output or of a panic's payload, and all that can be done with a waker may run anything: it may
//! panic, drive the engine, spawn and abort tasks, drop a socket, a handle or the runtime. Whatever it does must find the engine whole.
//!
//! Invariants
//!
//! * **IF1** Nothing of the engine is borrowed while foreign code runs, but for the two kinds named below. What it is to be given is taken out first;
//!   what is to be kept afterwards is looked at afresh, since foreign code may have changed it.
//! * **IF2** Foreign code about a task runs only while the task's state says so: `Polling`, `Cancelling`, or (for its output) `Empty`.
//! * **IF3** A panic in it does not unwind through the engine. Of a poll, or the drop of a future, it becomes the task's result; elsewhere the panic
//!   hook has reported it, and it goes no further. (A waker that panics in its `wake`, and again when it is dropped by that panic, ends the process: so it
//!   does wherever it is called.)
//!
//! Two kinds of foreign code cannot be kept out of where something is borrowed, and so must leave an engine alone:
//!
//! * The global allocator, on the engine's own thread: lists grow, and blocks come and go, while they are borrowed. There it may not use the engine in any
//!   way, nor call, clone or drop a waker of its tasks. On other threads it may do that with wakers: no lock is held while memory is asked for or given
//!   back (IB5 in `remote`). It may park its thread anywhere, as std allows it.
//! * With the feature `tracing` of `polling`, which any crate of the program can ask for, the program's subscriber: it is called within each call of the
//!   poller, while the reactor is borrowed; and a panic of its leaves that call half done. This feature is not supported.
//!
//! The waker of the caller's own `Context` is an exception to IF3: cloning it, calling it by reference, and dropping a clone that turns out not to be needed are
//! done where it is at hand, with nothing borrowed, and a panic in them unwinds to that caller, as it would from any future.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// What a panic carries.
pub(crate) type Payload = Box<dyn Any + Send>;

/// The message of a panic that carries this, where that is text.
pub(crate) fn message(payload: &(dyn Any + Send)) -> Option<&str> {
    payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str))
}

/// So many panics of payloads' drops are followed, one inside the other.
const PAYLOADS: usize = 8;

/// Where stopping half-way would leave what others rely on: a panic that comes through here, against IF3, ends the process.
pub(crate) struct NoUnwind;

impl Drop for NoUnwind {
    fn drop(&mut self) {
        std::process::abort();
    }
}

/// Polls a future; a panic is a result like another.
#[inline(always)]
pub(crate) fn poll<F: Future>(future: Pin<&mut F>, cx: &mut Context<'_>) -> Result<Poll<F::Output>, Payload> {
    // Unwind safety: a future that has panicked is not polled again, only dropped.
    catch_unwind(AssertUnwindSafe(|| future.poll(cx)))
}

/// Runs a drop of somebody else's; a panic is for the caller to keep.
#[inline(always)]
pub(crate) fn drop_in_place(drop: impl FnOnce()) -> Result<(), Payload> {
    catch_unwind(AssertUnwindSafe(drop))
}

/// Drops somebody else's value.
#[inline(always)]
pub(crate) fn discard<T>(value: T) {
    if std::mem::needs_drop::<T>() {
        quietly(|| drop(value));
    }
}

/// Calls somebody else's waker: the others still have to be woken, whatever it does.
pub(crate) fn wake(waker: Waker) {
    quietly(|| waker.wake());
}

/// The same in two steps, where it is to be expected that a waker finds its engine gone: one that panics, and panics again when it is dropped, would end the process.
pub(crate) fn wake_and_discard(waker: Waker) {
    quietly(|| waker.wake_by_ref());
    discard(waker);
}

/// What a panic carries may panic in its own drop, and what that carries again. Past some depth that is taken for a joke, and its contents leak.
fn quietly(foreign: impl FnOnce()) {
    let Err(mut payload) = catch_unwind(AssertUnwindSafe(foreign)) else { return };
    for _ in 0..PAYLOADS {
        match catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            Ok(()) => return,
            Err(next) => payload = next,
        }
    }
    std::mem::forget(payload);
}
