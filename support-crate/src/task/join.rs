//! Waiting for a task: its handle, and what may have become of it instead of an output.

use super::TaskRef;
use crate::foreign;
use std::any::Any;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// Owns the right to a task's output. A future of `Result<T, JoinError>`.
///
/// Dropping it detaches the task, which goes on; what it returns is then dropped. (Tokio's convention; smol's
/// cancels instead.) Await it in another task, or give it to [`Runtime::block_on`](crate::Runtime::block_on).
///
/// An output that owns the handle of its own task is a cycle, as one of `Rc`s is: it is never dropped, not even with the runtime.
///
/// # Panics
///
/// Polling it again after it gave its output panics.
#[must_use = "dropping the handle detaches the task; await it, or say `let _ =` or `drop`"]
pub struct JoinHandle<T> {
    task: TaskRef,
    /// Not `Send`: the output need not be.
    local: PhantomData<*const T>,
}

impl<T> JoinHandle<T> {
    /// Takes the reference that was counted for it. The task's output is a `T`.
    pub(super) fn new(task: TaskRef) -> Self {
        Self { task, local: PhantomData }
    }

    /// Drops the task's future now, or, if it is being polled at this moment, right after that poll, if that is not its last one. The
    /// handle then gives a [`JoinError`] for which [`JoinError::is_cancelled`] holds, or, if that drop panics, one with the panic. Does nothing to a
    /// task that is complete, or whose future is being dropped at this moment.
    pub fn abort(&self) {
        if let Some(tasks) = self.task.hold() {
            tasks.abort(&self.task);
        }
    }

    /// Whether the task is over: its output (or the error) is there to be taken, or was taken.
    pub fn is_finished(&self) -> bool {
        self.task.is_over()
    }

    #[cfg(feature = "probes")]
    pub(crate) fn task(&self) -> &TaskRef {
        &self.task
    }

    /// Has this waker called at the end; whether the end has come.
    fn wake_at_the_end(&self, waker: &Waker) -> bool {
        let task = &self.task;
        if !task.header().joiner.will_wake(waker) {
            // Foreign code, which may even have driven the engine, or dropped the runtime.
            let waker = waker.clone();
            if let Some(tasks) = task.hold() {
                foreign::discard(tasks.swap_joiner(task, Some(waker)));
                if task.is_over() {
                    foreign::discard(tasks.swap_joiner(task, None)); // nobody will call it any more
                }
            }
        }
        task.is_over()
    }

    /// `None` if the output has been taken.
    fn take(&self) -> Option<Result<T, JoinError>> {
        self.task.header().state.take_output().then(|| {
            let mut output = MaybeUninit::<Result<T, JoinError>>::uninit();
            // SAFETY: IT1: a handle is on the engine's thread; the task's output is of this type (IT7), and now ours alone (IT6), and written by this.
            unsafe {
                (self.task.header().vtable.take)(self.task.0, output.as_mut_ptr().cast());
                output.assume_init()
            }
        })
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.task.is_over() || self.wake_at_the_end(cx.waker()) {
            return Poll::Ready(self.take().expect("a JoinHandle was polled again after it gave its output"));
        }
        Poll::Pending
    }
}

impl<T> Drop for JoinHandle<T> {
    #[inline]
    fn drop(&mut self) {
        let header = self.task.header();
        if header.joiner.is_somebody()
            && let Some(tasks) = self.task.hold()
        {
            // Foreign code: the task may be over afterwards. Our reference still counts as a join handle's.
            foreign::discard(tasks.swap_joiner(&self.task, None));
        }
        header.state.leave();
        if header.state.take_output() {
            // SAFETY: IT1: the engine's thread; the output is ours, and the phase is `Empty` (IT6).
            unsafe { (header.vtable.discard)(self.task.0) };
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("task", &self.task)
            .field("spawned_at", &format_args!("{}", self.task.at()))
            .field("is_finished", &self.is_finished())
            .finish()
    }
}

// A handle refers to its task, never into it: it may be moved at will, whatever `T` is.
impl<T> Unpin for JoinHandle<T> {}

/// Why a task gave no output: it panicked, or it was cancelled.
// One word wide: it is part of every task's allocation.
pub struct JoinError(Box<Cause>);

enum Cause {
    Cancelled,
    Panicked(Box<dyn Any + Send>),
}

impl JoinError {
    pub(crate) fn panicked(payload: Box<dyn Any + Send>) -> Self {
        Self(Box::new(Cause::Panicked(payload)))
    }

    pub(crate) fn cancelled() -> Self {
        Self(Box::new(Cause::Cancelled))
    }

    /// Whether the future panicked, in a poll or in its drop.
    pub fn is_panic(&self) -> bool {
        matches!(*self.0, Cause::Panicked(_))
    }

    /// Whether it was dropped before it was done: by [`JoinHandle::abort`], or because its runtime was dropped.
    pub fn is_cancelled(&self) -> bool {
        matches!(*self.0, Cause::Cancelled)
    }

    /// The panic's payload, for [`std::panic::resume_unwind`].
    ///
    /// # Panics
    ///
    /// If the task was cancelled: ask [`JoinError::is_panic`] first.
    pub fn into_panic(self) -> Box<dyn Any + Send> {
        match *self.0 {
            Cause::Panicked(payload) => payload,
            Cause::Cancelled => panic!("the task was cancelled; it did not panic"),
        }
    }

    /// The panic's message, where its payload is text.
    pub fn message(&self) -> Option<&str> {
        let Cause::Panicked(payload) = &*self.0 else { return None };
        foreign::message(&**payload)
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.is_panic(), self.message()) {
            (false, _) => f.write_str("the task was cancelled"),
            (true, Some(message)) => write!(f, "the task panicked: {message}"),
            (true, None) => f.write_str("the task panicked"),
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinError({self})")
    }
}

impl std::error::Error for JoinError {}
