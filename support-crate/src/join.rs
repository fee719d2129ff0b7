//! Waiting for a task: its handle, and what may have become of it instead of an output.

#[cfg(feature = "probes")]
use crate::probe::Address;
use crate::task::Task;
use std::any::Any;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Owns the right to a task's output. A future of `Result<T, JoinError>`.
///
/// Dropping it detaches the task, which goes on; what it returns is then dropped. (Tokio's convention; smol's
/// cancels instead.) Await it in another task, or give it to [`Runtime::block_on`](crate::Runtime::block_on).
///
/// # Panics
///
/// Polling it again after it gave its output panics.
#[must_use = "dropping the handle detaches the task; await it, or say `let _ =` or `drop`"]
pub struct JoinHandle<T> {
    task: Task,
    /// Reads the output out of the stage of the right type.
    take: unsafe fn(Task) -> Result<T, JoinError>,
    /// Not `Send`: the output need not be.
    local: PhantomData<*const T>,
}

impl<T> JoinHandle<T> {
    /// Takes over the reference that [`Task::new`] counted for it.
    pub(crate) fn new<F: Future<Output = T>>(task: Task, _: PhantomData<F>) -> Self {
        Self { task, take: Task::take::<F>, local: PhantomData }
    }

    /// Drops the task's future now, or, if it is being polled at this moment, right after that poll. The
    /// handle then gives a [`JoinError`] for which [`JoinError::is_cancelled`] holds. Does nothing to a
    /// task that is complete.
    pub fn abort(&self) {
        self.task.abort();
    }

    /// Whether the output (or the error) is there to be taken.
    pub fn is_finished(&self) -> bool {
        self.task.is_complete()
    }

    /// The address of the task's allocation. It is the same for as long as the task exists.
    #[cfg(feature = "probes")]
    pub fn task_address(&self) -> Address {
        Address::of_ptr(self.task.as_ptr())
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Storing a waker means cloning it and dropping the former one: foreign code, which may even have driven the engine. So look again.
        if self.task.is_complete() || self.task.wake_at_the_end(cx.waker()) {
            // SAFETY: complete, on the engine's thread since a handle is not `Send`; and `take` fits the future's type.
            return Poll::Ready(unsafe { (self.take)(self.task) });
        }
        Poll::Pending
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        self.task.leave();
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
        payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str))
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
