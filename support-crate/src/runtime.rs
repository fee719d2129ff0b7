//! The runtime: the engine as readers hold it in their hands.
//!
//! [`Runtime`] owns an engine and drives it; a [`Handle`] lets tasks spawn, sleep and connect. Both are thin: what they do is in the
//! `engine`, and is written here only where it depends on a future's type.

use crate::engine::Engine;
use crate::engine::stall::Stalled;
use crate::observe::snapshot::{Snapshot, Step};
use crate::observe::timeline::Timeline;
use crate::task::TaskRef;
use crate::task::join::JoinHandle;
use crate::time::{Interval, Sleep, Timeout};
use futures::task::{LocalFutureObj, LocalSpawn, SpawnError};
use std::fmt;
use std::future::{Future, IntoFuture};
use std::io;
use std::panic::Location;
use std::pin::pin;
use std::rc::Rc;
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
/// # Driving it
///
/// `block_on`, `try_block_on`, `run_until_stalled`, `tick` and `step` drive it, one at a time: while one of them is on the stack, each of them panics. So a task, or any
/// code that runs inside one of them (a drop, a waker), cannot drive its own runtime: it awaits instead. Anywhere else they may be called, also by a drop or
/// a waker that runs because a handle outside of them aborts a task; a future that is being dropped is not polled by that.
///
/// The names are those that readers know from Tokio and smol; `run_until_stalled` is the futures crate's.
///
/// # Turns
///
/// A task that was woken is polled once, and then the others have their turn. So that they do, even beside one that never has to wait, a poll has a share: 128 things
/// that were ready at once (a read, a write or another operation on a socket, but not the flush and close of a [`TcpStream`](crate::net::TcpStream); a sleep whose time has passed already). Who asks for more
/// in that poll is mostly refused: it is `Pending`, and has called its waker. Which ones are not (one in eight, and fewer the more have asked), and who is refused
/// where a future is polled by hand or by another executor, is up to chance, so that it is not the same one each time. A future that in one poll polls others again
/// and again, with the task's own waker, until each is ready, practically never returns: let it return `Pending` instead.
///
/// # Aborts
///
/// A task has room for some sixteen million wakers; one more ends the process, after a line on stderr. Those that are alive count, and those that other threads
/// have dropped since the engine was last at its turn: in the middle of a poll it does not see that they are gone.
pub struct Runtime {
    handle: Handle,
}

/// A reference to a [`Runtime`], to be cloned into tasks: spawn, sleep, bind and connect through it.
///
/// It does not keep the runtime open. What needs a runtime that is gone fails: a spawned task is cancelled at once, a socket
/// that would have to wait gives an error (what can be read or written at once still is), a sleep panics.
#[derive(Clone)]
pub struct Handle {
    engine: Rc<Engine>,
}

/// The future given to `block_on` ends here, however it does: its task is put back.
struct Main<'a> {
    engine: &'a Engine,
    /// `None` only at the end.
    task: Option<TaskRef>,
}

impl Main<'_> {
    #[inline(always)]
    fn end(&mut self) {
        if let Some(task) = self.task.take() {
            self.engine.put_main_back(task);
        }
    }
}

impl Drop for Main<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

impl Runtime {
    /// Makes an engine that belongs to the current thread.
    ///
    /// # Errors
    ///
    /// If the operating system has no poller left to give (on Linux: three descriptors).
    pub fn new() -> io::Result<Self> {
        Ok(Self { handle: Handle { engine: Engine::new()? } })
    }

    fn engine(&self) -> &Engine {
        &self.handle.engine
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

    /// Runs this future, and every spawned task beside it, until it is done, or until the engine knows that nothing can happen any more.
    ///
    /// # Errors
    ///
    /// [`Stalled`] when nothing is ready, no socket and no timer that will fire is waited for, and the engine knows of every waker that there is (its docs say when). The
    /// future is dropped then; spawned tasks stay. A waker that is somewhere else could be another thread's: then this waits.
    ///
    /// # Panics
    ///
    /// If it is called inside a task of the same runtime, or if the future panics; the runtime stays usable.
    #[track_caller]
    #[inline]
    pub fn try_block_on<F: IntoFuture>(&self, future: F) -> Result<F::Output, Stalled> {
        let engine = self.engine();
        let _running = engine.enter();
        let future = future.into_future();
        let mut main = Main { engine, task: Some(engine.take_main(std::any::type_name::<F::IntoFuture>)) };
        let task = main.task.as_ref().expect("there until it is dropped");
        let waker = task.borrowed_waker();
        // The result is there before the future is dropped: should that panic, it is not forgotten (rust-lang/rust#47949).
        let result;
        {
            let mut future = pin!(future);
            let _polls = engine.main_polls(); // ends before the future is dropped
            let mut cx = Context::from_waker(&waker);
            result = loop {
                if let Poll::Ready(output) = engine.poll_main(task, || future.as_mut().poll(&mut cx), Poll::is_ready) {
                    break Ok(output);
                }
                if !engine.is_main_next()
                    && let Err(stalled) = engine.run_until_woken(task)
                {
                    engine.main_is_cancelled();
                    break Err(stalled.blocked_at(Location::caller()));
                }
            };
        }
        main.end(); // as its drop would, which a panic still does: this one is compiled in place
        std::mem::forget(main);
        result
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
        let _running = self.engine().enter();
        self.engine().poll_one(|_| ()).is_some()
    }

    /// The same, and what there is then: at most one poll, and the engine's state after it. Begins to record, if that is not on; what was spawned before is
    /// met then, and numbered.
    ///
    /// # Panics
    ///
    /// As [`Runtime::tick`].
    #[track_caller]
    pub fn step(&self) -> Step {
        self.record_on();
        let polled = {
            let _running = self.engine().enter();
            self.engine().poll_one(TaskRef::who)
        };
        self.record_on(); // the task may have stopped that
        Step { polled: polled.map(|who| self.engine().recorder().number(who)), state: self.engine().snapshot() }
    }

    /// The engine's state now. Begins to record, if that is not on: see [`Runtime::step`].
    pub fn snapshot(&self) -> Snapshot {
        self.record_on();
        self.engine().snapshot()
    }

    fn record_on(&self) {
        if !self.engine().recorder().is_on() {
            self.record();
        }
    }

    /// A reference to this runtime, for its tasks.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Starts to record what the engine does, afresh. In the middle of a poll that poll is not one of the entries, but what it does from here on is. See
    /// [`Runtime::trace`].
    pub fn record(&self) {
        self.engine().record();
    }

    /// What happened since [`Runtime::record`] was called; recording goes on. Empty if it never was, or was stopped. Of what happened the first 100,000 entries are kept.
    pub fn trace(&self) -> Timeline {
        self.engine().recorder().timeline()
    }

    /// Stops recording and gives what was recorded.
    pub fn stop_recording(&self) -> Timeline {
        self.engine().recorder().stop()
    }

    /// A thread that sleeps in `block_on` with nothing to wait for but that somebody calls a waker writes a note to stderr, once for a runtime, after `silence`: who waits,
    /// and what that means. `None`: never. The default is 3 s in a notebook and never elsewhere; the environment variable `PINLAB_NOTE_AFTER` sets
    /// another, in seconds, also for [`block_on`](crate::block_on), which writes it once a call. What the engine can know it tells by [`Stalled`], note or not.
    pub fn note_after(&self, silence: Option<Duration>) {
        self.engine().note_after(silence);
    }

    /// What the engine has done since it was made, and what it holds now.
    pub fn stats(&self) -> Stats {
        let engine = self.engine();
        let (reactor, timers) = (engine.reactor(), engine.timers());
        Stats {
            polls: engine.polls(),
            parks: engine.parks(),
            waits: reactor.waits(),
            tasks: engine.tasks.count(|task| !task.is_over() && !task.is_main()),
            timers: timers.len() + timers.count_never(),
            sources: reactor.len(),
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.handle.engine.close();
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
    /// How many timers wait, also for a time that never comes.
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
        self.engine.tasks.spawn(future.into_future(), Location::caller())
    }

    /// A future that is done after this time. It counts from now. None at all is over at once (see [`Runtime`], "Turns"), and [`Duration::MAX`] never.
    pub fn sleep(&self, time: Duration) -> Sleep {
        Sleep::after(self.engine.clone(), time)
    }

    /// A future that is done at this instant: at once if it has passed (as [`Handle::sleep`] says).
    pub fn sleep_until(&self, deadline: Instant) -> Sleep {
        Sleep::until(self.engine.clone(), Some(deadline))
    }

    /// Sets a limit on a future's time, counted from the end of the first poll.
    pub fn timeout<F: IntoFuture>(&self, limit: Duration, future: F) -> Timeout<F::IntoFuture> {
        Timeout::new(self.engine.clone(), limit, future.into_future())
    }

    /// A stream of instants, one period apart; the first is one period from now.
    ///
    /// # Panics
    ///
    /// If the period is zero.
    pub fn interval(&self, period: Duration) -> Interval {
        Interval::new(self.engine.clone(), period)
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("closed", &self.engine.is_closed()).finish_non_exhaustive()
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
        if self.engine.is_closed() { Err(SpawnError::shutdown()) } else { Ok(()) }
    }
}
