//! The runtime: the engine as readers hold it in their hands.
//!
//! [`Runtime`] owns an engine and drives it; a [`Handle`] lets tasks spawn, sleep and connect. Both are thin: what they do is in the
//! `executor`, and is written here only where it depends on a future's type.
//!
//! Invariant
//!
//! * **R1** A handle's pointer is that of an `Arc`, and all handles of an engine together own one count of it, which the last one gives back.

use crate::executor::{Local, Shared};
use crate::join::JoinHandle;
use crate::observe::timeline::{Recorder, Step, Timeline};
use crate::reactor::Reactor;
use crate::stall::Stalled;
use crate::task::Task;
use crate::timer::{Interval, Sleep, Timeout, Timers};
use futures::task::{LocalFutureObj, LocalSpawn, SpawnError};
use std::cell::RefMut;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::io;
use std::marker::PhantomData;
use std::panic::Location;
use std::pin::pin;
use std::ptr::NonNull;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// An engine that runs futures on the thread that made it: an executor, its timers and its reactor, in one value.
///
/// It is neither `Send` nor `Sync`; its wakers are both. It may be moved about, also between the cells of a notebook: all
/// that anybody points to is on the heap. Dropping it drops all its tasks' futures; their handles then say that they were cancelled.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// let rt = pinlab::Runtime::new()?;
/// let handle = rt.spawn(async { 6 * 7 });
/// assert_eq!(rt.block_on(handle).unwrap(), 42);
/// # Ok(()) }
/// ```
///
/// The names are those that readers know from Tokio and smol; `run_until_stalled` is the futures crate's.
pub struct Runtime {
    handle: Handle,
}

/// A reference to a [`Runtime`], to be cloned into tasks: spawn, sleep, bind and connect through it.
///
/// It does not keep the runtime open. What needs a runtime that is gone fails: a spawned task is cancelled at once, a socket
/// gives an error, a sleep panics.
// Counted by hand, and not by the `Arc` that it is: each timer has one, and a handle never leaves the engine's thread.
pub struct Handle {
    /// From `Arc::into_raw` (R1).
    shared: NonNull<Shared>,
}

impl Handle {
    /// The first handle of an engine.
    // `Arc`, though it is not `Sync`: other threads count references to it, and touch only what may be shared (E1 in `executor`).
    #[allow(clippy::arc_with_non_send_sync)]
    fn first(shared: Shared) -> Self {
        let shared = Arc::into_raw(Arc::new(shared));
        // SAFETY: an `Arc`'s pointer is not null.
        Self { shared: unsafe { NonNull::new_unchecked(shared.cast_mut()) } }
    }

    #[inline]
    pub(crate) fn shared(&self) -> &Shared {
        // SAFETY: R1: the handles' count keeps the engine alive.
        unsafe { self.shared.as_ref() }
    }
}

impl Clone for Handle {
    #[inline]
    fn clone(&self) -> Self {
        self.shared().local.handles.set(self.shared().local.handles.get() + 1);
        Self { shared: self.shared }
    }
}

impl Drop for Handle {
    #[inline]
    fn drop(&mut self) {
        let left = self.shared().local.handles.get() - 1;
        self.shared().local.handles.set(left);
        if left == 0 {
            // SAFETY: R1: this was the last handle, and the count is theirs.
            drop(unsafe { Arc::from_raw(self.shared.as_ptr()) });
        }
    }
}

/// The loop is running; at the end of the scope it no longer is, also when a panic unwinds through it.
struct Running<'a> {
    shared: &'a Shared,
    /// The task that stands for the future given to `block_on`.
    root: Option<Task>,
}

impl Drop for Running<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.root.is_some_and(|root| !root.is_fresh()) {
            self.shared.retire_root();
        }
        self.shared.local.running.set(false);
    }
}

impl Runtime {
    /// Makes an engine that belongs to the current thread.
    ///
    /// # Errors
    ///
    /// If the operating system has no poller left to give (on Linux: three descriptors).
    pub fn new() -> io::Result<Self> {
        Ok(Self { handle: Handle::first(Shared::new()?) })
    }

    fn shared(&self) -> &Shared {
        self.handle.shared()
    }

    fn local(&self) -> &Local {
        &self.shared().local
    }

    #[track_caller]
    #[inline]
    fn enter(&self, root: Option<Task>) -> Running<'_> {
        assert!(
            !self.local().running.replace(true),
            "this Runtime is running already: it cannot be driven from inside one of its own tasks; await the future there instead"
        );
        Running { shared: self.shared(), root }
    }

    /// Runs this future, and every spawned task beside it, until it is done.
    ///
    /// # Panics
    ///
    /// If the engine stalls, with the report as the message: see [`Runtime::try_block_on`], which returns it. If it is called
    /// inside a task of the same runtime. If the future panics; the runtime stays usable.
    #[track_caller]
    #[inline]
    pub fn block_on<F: IntoFuture>(&self, future: F) -> F::Output {
        match self.try_block_on(future) {
            Ok(output) => output,
            Err(stalled) => panic!("{stalled}"),
        }
    }

    /// Runs this future, and every spawned task beside it, until it is done, or until nothing can ever happen any more.
    ///
    /// # Errors
    ///
    /// [`Stalled`] when nothing is ready, no timer or socket is waited for, and nobody outside holds a waker. The future is dropped then;
    /// spawned tasks stay.
    ///
    /// # Panics
    ///
    /// If it is called inside a task of the same runtime, or if the future panics; the runtime stays usable.
    #[track_caller]
    #[inline]
    pub fn try_block_on<F: IntoFuture>(&self, future: F) -> Result<F::Output, Stalled> {
        let shared = self.shared();
        let root = match shared.local.root.get() {
            Some(root) => root,
            None => shared.adopt_root(Task::root(self.handle.shared)),
        };
        let _running = self.enter(Some(root));
        let mut future = pin!(future.into_future());
        if shared.local.recording.get() {
            shared.record(Step::Root { task: root, name: std::any::type_name::<F::IntoFuture>() });
        }
        shared.local.polls.set(shared.local.polls.get() + 1);
        let waker = root.borrowed_waker();
        let mut cx = Context::from_waker(&waker);
        loop {
            let polled = match shared.local.recording.get() {
                false => future.as_mut().poll(&mut cx),
                true => shared.recorded(root, || future.as_mut().poll(&mut cx), Poll::is_ready),
            };
            if let Poll::Ready(output) = polled {
                return Ok(output);
            }
            if let Err(stalled) = shared.run_until_woken(root) {
                return Err(stalled.blocked_at::<F::IntoFuture>(Location::caller()));
            }
        }
    }

    /// Spawns a task: it is polled as soon as the engine is driven. The future need not be `Send`.
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: IntoFuture,
        F::IntoFuture: 'static,
        F::Output: 'static,
    {
        self.handle.spawn(future)
    }

    /// Polls whatever is ready, again and again, until nothing is, without waiting for anything. Returns how many polls it made.
    ///
    /// A task that wakes itself for ever keeps it busy for ever.
    ///
    /// # Panics
    ///
    /// If it is called inside a task of the same runtime.
    #[track_caller]
    pub fn run_until_stalled(&self) -> usize {
        let mut polls = 0;
        while self.tick() {
            polls += 1;
        }
        polls
    }

    /// Polls at most one task, without waiting for anything; whether it polled one.
    ///
    /// # Panics
    ///
    /// If it is called inside a task of the same runtime.
    #[track_caller]
    pub fn tick(&self) -> bool {
        let _running = self.enter(None);
        self.shared().poll_one()
    }

    /// A reference to this runtime, for its tasks.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Starts to record what the engine does, afresh. See [`Runtime::trace`].
    pub fn record(&self) {
        self.local().recorder.replace(Some(Recorder::new()));
        self.local().recording.set(true);
    }

    /// What happened since [`Runtime::record`] was called; recording goes on. Empty if it never was.
    pub fn trace(&self) -> Timeline {
        self.local().recorder.borrow().as_ref().map(Recorder::timeline).unwrap_or_default()
    }

    /// Stops recording and gives what was recorded.
    pub fn stop_recording(&self) -> Timeline {
        self.local().recording.set(false);
        self.local().recorder.take().as_ref().map(Recorder::timeline).unwrap_or_default()
    }

    /// What the engine has done since it was made, and what it holds now.
    pub fn stats(&self) -> Stats {
        let Local { polls, parks, timers, reactor, .. } = self.local();
        Stats {
            polls: polls.get(),
            parks: parks.get(),
            waits: reactor.borrow().waits(),
            tasks: self.shared().tasks().count(),
            timers: timers.borrow().len(),
            sources: reactor.borrow().len(),
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.shared().close();
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// Counters of an engine, from [`Runtime::stats`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// How many polls it has made.
    pub polls: u64,
    /// How many times it slept because nothing was ready.
    pub parks: u64,
    /// How many times it asked the operating system for events.
    pub waits: u64,
    /// How many spawned tasks are not complete.
    pub tasks: usize,
    /// How many timers wait.
    pub timers: usize,
    /// How many sockets (or other sources) it knows.
    pub sources: usize,
}

// ---- the handle ----------------------------------------------------------------------------------------------

impl Handle {
    /// Spawns a task; see [`Runtime::spawn`]. If the runtime is gone, the task is cancelled at once.
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: IntoFuture,
        F::IntoFuture: 'static,
        F::Output: 'static,
    {
        let task = Task::new(future.into_future(), self.shared, Location::caller());
        let handle = JoinHandle::new(task, PhantomData::<F::IntoFuture>);
        self.shared().start(task);
        handle
    }

    /// A future that is done after this time. It counts from now. None at all is over at once, and [`Duration::MAX`] never.
    pub fn sleep(&self, time: Duration) -> Sleep {
        let now = if time.is_zero() { self.last_now() } else { Instant::now() };
        Sleep::until(self.clone(), now.checked_add(time))
    }

    /// A future that is done at this instant: at once if it has passed.
    pub fn sleep_until(&self, deadline: Instant) -> Sleep {
        Sleep::until(self.clone(), Some(deadline))
    }

    /// Sets a limit on a future's time, counted from the first poll.
    pub fn timeout<F: IntoFuture>(&self, limit: Duration, future: F) -> Timeout<F::IntoFuture> {
        Timeout::new(self.clone(), limit, future.into_future())
    }

    /// A stream of instants, one period apart; the first is one period from now.
    ///
    /// # Panics
    ///
    /// If the period is zero.
    pub fn interval(&self, period: Duration) -> Interval {
        Interval::new(self.clone(), period)
    }

    /// The engine's last look at the clock: free of charge, and never later than now.
    pub(crate) fn last_now(&self) -> Instant {
        self.shared().local.now.get()
    }

    pub(crate) fn timers(&self) -> RefMut<'_, Timers> {
        self.shared().local.timers.borrow_mut()
    }

    pub(crate) fn reactor(&self) -> RefMut<'_, Reactor> {
        self.shared().local.reactor.borrow_mut()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("closed", &self.shared().is_closed()).finish_non_exhaustive()
    }
}

/// So that the futures crate's `LocalSpawnExt` works on a handle.
impl LocalSpawn for Handle {
    fn spawn_local_obj(&self, future: LocalFutureObj<'static, ()>) -> Result<(), SpawnError> {
        self.status_local()?;
        drop(self.spawn(future));
        Ok(())
    }

    fn status_local(&self) -> Result<(), SpawnError> {
        if self.shared().is_closed() { Err(SpawnError::shutdown()) } else { Ok(()) }
    }
}
