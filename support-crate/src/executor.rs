//! The executor: a queue of tasks that were woken, and the loop that polls them.
//!
//! ```text
//!   spawn ──▶ task ──▶ queue ──▶ poll ──▶ Ready: output to the join handle
//!                        ▲         │
//!                        │         └────▶ Pending: the future has left its waker somewhere
//!                        └── wake ◀── another task, a timer, a socket, another thread (through the inbox)
//! ```
//!
//! An engine is a value. Nothing of it is in a `static` or a thread-local, so that a notebook's cells, each of which has
//! its own copy of those, can drive one engine between them.
//!
//! Each turn of the loop takes one task from the queue's front and polls it once; a wake puts a task at the back, so nobody is
//! starved by one who wakes itself. Every [`TURN`] polls the loop looks at the clock and, not more often than every
//! [`IO_EVERY`], at the sockets. When the queue is empty it sleeps until a timer, an event or another thread has work for
//! it; and when none of these can ever come it says so ([`Stalled`]) instead of sleeping for ever.
//!
//! Invariants
//!
//! * **E1** `Local` is touched by the engine's own thread only: a [`Runtime`] and its handles are not `Send`, and wakers ask
//!   [`Shared::is_home`] first.
//! * **E2** No foreign code (a future's poll or drop, a waker's clone, wake or drop) runs while anything in `Local` is borrowed.
//! * **E3** An entry of the queue is a task with `QUEUED` set; there is one entry for each such task.
//! * **E4** Every task that is not freed is in the list of tasks, until the engine has closed.
//! * **E5** `home` is the thread's token while the engine is open and zero afterwards.

use crate::inbox::{Inbox, Sleep as Asleep};
use crate::reactor::Reactor;
use crate::stall::{Stalled, Waiting};
use crate::sync::{AtomicUsize, thread, thread_token};
use crate::task::{JoinHandle, Message, Task, wake_quietly};
use crate::timer::{Interval, Sleep, Timeout, Timers};
use crate::trace::{By, Recorder, Step, Timeline};
use futures::task::{LocalFutureObj, LocalSpawn, SpawnError};
use polling::Poller;
use std::cell::{Cell, RefCell, RefMut};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::{Future, IntoFuture};
use std::io;
use std::marker::PhantomData;
use std::panic::Location;
use std::pin::pin;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// How many polls between two looks at the clock.
const TURN: u32 = 61;
/// How often a busy engine asks the system for events: often enough for a socket, seldom enough that a system call does
/// not weigh on polls that take nanoseconds.
const IO_EVERY: Duration = Duration::from_micros(100);
/// How many operations on sockets may succeed in a row before the task has to let others run.
const IO_BUDGET: u32 = 128;

// ---- what an engine consists of ------------------------------------------------------------------------------

/// An engine: what its runtime, its handles and its tasks point to.
pub(crate) struct Shared {
    /// E5.
    home: AtomicUsize,
    inbox: Inbox<Message>,
    poller: Poller,
    /// E1.
    local: Local,
}

struct Local {
    queue: RefCell<VecDeque<Task>>,
    /// The first of the list of tasks (E4).
    tasks: Cell<Option<Task>>,
    timers: RefCell<Timers>,
    reactor: RefCell<Reactor>,
    recorder: RefCell<Option<Recorder>>,
    /// Whether there is a recorder: the only thing about it that is looked at while it is off.
    recording: Cell<bool>,
    /// What is going on, and so who wakes whom. Kept up to date only while recording.
    current: Cell<By>,
    /// The task that stands for the future given to `block_on`, kept for the next one.
    root: Cell<Option<Task>>,
    /// The loop is running: `block_on` or one of its like is on the stack.
    running: Cell<bool>,
    polls: Cell<u64>,
    /// Polls until the loop looks at clock and sockets.
    until_turn: Cell<u32>,
    parks: Cell<u64>,
    /// The last look at the clock: never later than now.
    now: Cell<Instant>,
    last_events: Cell<Instant>,
    io_budget: Cell<u32>,
    spare_messages: Cell<Vec<Message>>,
    spare_wakers: Cell<Vec<Waker>>,
    last_waiter: Cell<usize>,
}

impl Shared {
    /// Whether the current thread is the engine's, and the engine is open.
    #[inline(always)]
    pub(crate) fn is_home(&self) -> bool {
        self.home.load(Relaxed) == thread_token()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.home.load(Relaxed) == 0
    }

    /// On the engine's thread: puts a task that was woken at the back of the queue, once.
    #[inline]
    pub(crate) fn schedule(&self, task: Task, from_elsewhere: bool) {
        let fresh = task.enqueue();
        if self.local.recording.get() {
            let by = if from_elsewhere { By::OtherThread } else { self.local.current.get() };
            self.record(Step::Wake { task, by, fresh });
        }
        if fresh {
            self.local.queue.borrow_mut().push_back(task); // E3
        }
    }

    /// On any other thread: leaves word.
    pub(crate) fn send(&self, message: Message) -> Result<(), Message> {
        self.inbox.send(message, || {
            // Fails only if the bell's own descriptor is broken: then nothing can be done here.
            let _ = self.poller.notify();
        })
    }

    /// A task to stand for the futures given to `block_on`.
    #[cold]
    fn new_root(&self) -> Task {
        let root = Task::root(NonNull::from(self));
        self.adopt(root);
        self.local.root.set(Some(root));
        root
    }

    /// Somebody has kept a waker of the root, or it is queued: it must not wake, nor look like a hope to, whoever blocks next.
    #[cold]
    fn retire_root(&self) {
        if let Some(root) = self.local.root.take() {
            root.abort();
        }
    }

    fn adopt(&self, task: Task) {
        let first = self.local.tasks.replace(Some(task));
        task.next().set(first);
        if let Some(first) = first {
            first.previous().set(Some(task));
        }
    }

    /// Takes a task that is about to be freed out of the list.
    pub(crate) fn forget_task(&self, task: Task) {
        let (previous, next) = (task.previous().get(), task.next().get());
        match previous {
            Some(previous) => previous.next().set(next),
            None => self.local.tasks.set(next),
        }
        if let Some(next) = next {
            next.previous().set(previous);
        }
    }

    #[cold]
    fn record(&self, step: Step) {
        if let Some(recorder) = &mut *self.local.recorder.borrow_mut() {
            recorder.record(step);
        }
    }

    // ---- the loop --------------------------------------------------------------------------------------------

    fn pop(&self) -> Option<Task> {
        self.local.queue.borrow_mut().pop_front()
    }

    fn is_queue_empty(&self) -> bool {
        self.local.queue.borrow().is_empty()
    }

    /// Polls tasks until `root` is woken, sleeping where there is nothing to do.
    fn run_until_woken(&self, root: Task) -> Result<(), Stalled> {
        loop {
            self.look_around();
            match self.pop() {
                Some(task) if task == root => {
                    task.dequeue();
                    self.count_poll();
                    return Ok(());
                }
                Some(task) => self.poll_task(task),
                None => self.idle(Some(root))?,
            }
        }
    }

    /// Polls one task that was taken from the queue.
    #[inline]
    fn poll_task(&self, task: Task) {
        if !task.dequeue() {
            return;
        }
        self.count_poll();
        match self.local.recording.get() {
            false => task.run(),
            true => self.recorded(task, || task.run(), |done| *done),
        };
    }

    #[inline]
    fn count_poll(&self) {
        let local = &self.local;
        local.polls.set(local.polls.get() + 1);
        local.until_turn.set(local.until_turn.get().saturating_sub(1));
        local.io_budget.set(IO_BUDGET);
    }

    #[cold]
    fn recorded<R>(&self, task: Task, poll: impl FnOnce() -> R, is_done: impl FnOnce(&R) -> bool) -> R {
        /// Also when the poll panics.
        struct Current<'a>(&'a Cell<By>);
        impl Drop for Current<'_> {
            fn drop(&mut self) {
                self.0.set(By::Outside);
            }
        }
        self.record(Step::Begin);
        self.local.current.set(By::Task(task));
        let current = Current(&self.local.current);
        let polled = poll();
        drop(current);
        self.record(Step::End { task, done: is_done(&polled) });
        polled
    }

    /// What a busy loop must not forget: other threads at every turn, clock and sockets now and then.
    #[inline]
    fn look_around(&self) {
        if self.inbox.has_mail() {
            self.read_inbox();
        }
        if self.local.until_turn.get() == 0 {
            self.local.until_turn.set(TURN);
            self.fire_and_fetch();
        }
    }

    #[cold]
    fn fire_and_fetch(&self) {
        let sockets = self.local.reactor.borrow().waiting() > 0;
        if !sockets && self.local.timers.borrow().len() == 0 {
            return;
        }
        let now = Instant::now();
        self.fire_timers(now);
        if sockets && now.saturating_duration_since(self.local.last_events.get()) >= IO_EVERY {
            self.local.last_events.set(now);
            self.fetch_events(Some(Duration::ZERO));
        }
    }

    #[cold]
    fn read_inbox(&self) {
        let mut messages = self.local.spare_messages.take();
        self.inbox.take(&mut messages);
        messages.drain(..).for_each(Message::open);
        self.local.spare_messages.set(messages);
    }

    fn fire_timers(&self, now: Instant) {
        self.local.now.set(now);
        loop {
            // One at a time, and not borrowed while it wakes (E2): what is woken may drop other timers of the batch.
            let Some((deadline, waker)) = self.local.timers.borrow_mut().fire(now) else { return };
            if self.local.recording.get() {
                self.local.current.set(By::Timer);
                self.record(Step::Timer { late: now - deadline });
            }
            if let Some(waker) = waker {
                wake_quietly(waker);
            }
            self.local.current.set(By::Outside);
        }
    }

    fn fetch_events(&self, timeout: Option<Duration>) {
        let mut wakers = self.local.spare_wakers.take();
        let fetched = self.local.reactor.borrow_mut().wait(&self.poller, timeout, &mut wakers, |seen| {
            if self.local.recording.get() {
                self.record(Step::Event(seen));
            }
        });
        // `EINTR` is dealt with; what remains (a closed or foreign descriptor of our own) is a bug, not a condition.
        fetched.expect("waiting for the operating system's events failed");
        let recording = self.local.recording.get();
        if recording {
            self.local.current.set(By::Socket);
        }
        wakers.drain(..).for_each(wake_quietly);
        if recording {
            self.local.current.set(By::Outside);
        }
        self.local.spare_wakers.set(wakers);
    }

    /// The queue is empty: sleep until that may have changed.
    #[cold]
    fn idle(&self, root: Option<Task>) -> Result<(), Stalled> {
        let next = self.local.timers.borrow().next_deadline();
        let timeout = match next {
            None => None,
            Some(deadline) => {
                let now = Instant::now();
                if deadline <= now {
                    self.fire_timers(now);
                    return Ok(());
                }
                Some(deadline - now)
            }
        };
        let sockets = self.local.reactor.borrow().waiting() > 0;
        if timeout.is_none() && !sockets {
            self.read_inbox(); // a reference given back counts, even one that nobody rang for
            if self.is_queue_empty() && !self.inbox.has_mail() {
                self.check_stalled(root)?;
            }
        }
        let how = if sockets { Asleep::Waiting } else { Asleep::Parked };
        if !self.is_queue_empty() || !self.inbox.fall_asleep(how) {
            return Ok(());
        }
        self.local.parks.set(self.local.parks.get() + 1);
        let recording = self.local.recording.get();
        if recording {
            self.record(Step::Park);
        }
        match (how, timeout) {
            (Asleep::Parked, None) => thread::park(),
            (Asleep::Parked, Some(timeout)) => park_timeout(timeout),
            (Asleep::Waiting, timeout) => self.fetch_events(timeout),
        }
        self.inbox.wake_up();
        if recording {
            self.record(Step::Unpark);
        }
        Ok(())
    }

    // ---- stalls ----------------------------------------------------------------------------------------------

    /// Nothing is ready and nothing is armed. If, besides, nobody outside holds a waker, nothing can ever happen.
    fn check_stalled(&self, root: Option<Task>) -> Result<(), Stalled> {
        // A waker that waits for another task's output is no hope by itself: that task has to move first.
        let mut awaiting: HashMap<usize, usize> = HashMap::new();
        for task in self.tasks() {
            if let Some(data) = task.joiner_data() {
                *awaiting.entry(data).or_default() += 1;
            }
        }
        let hope = |task: &Task| task.wakers() > awaiting.get(&task.address()).copied().unwrap_or(0);
        if self.tasks().chain(root).any(|task| hope(&task)) {
            return Ok(());
        }
        Err(self.stalled(root))
    }

    fn stalled(&self, root: Option<Task>) -> Stalled {
        let mut waiting: Vec<_> = self.tasks().chain(root).map(Waiting::new).collect();
        waiting.reverse(); // the list has the youngest first, and the root comes before all
        Stalled::new(waiting)
    }

    /// All spawned tasks that are not complete, the youngest first. Nothing may be freed meanwhile.
    fn tasks(&self) -> impl Iterator<Item = Task> {
        let all = std::iter::successors(self.local.tasks.get(), |task| task.next().get());
        all.filter(|task| !task.is_complete() && !task.is_root())
    }

    // ---- the end ---------------------------------------------------------------------------------------------

    /// Drops every future, here and now, and lets go of what wakers and join handles still hold (T5 in `task`).
    fn close(&self) {
        self.local.root.set(None); // it is in the list, too
        // Each task is held while it is aborted: whatever its drop does, the list can be walked on from it.
        let mut at = self.local.tasks.get().inspect(|task| task.retain());
        while let Some(task) = at {
            task.abort();
            at = task.next().get().inspect(|next| next.retain());
            task.release();
        }
        loop {
            let sleepers = self.local.timers.borrow_mut().clear();
            let readers = self.local.reactor.borrow_mut().clear();
            drop((sleepers, readers));
            let Some(task) = self.pop() else { break };
            task.dequeue(); // complete: gives up its entry's reference
        }
        self.inbox.close().into_iter().for_each(Message::discard);
        self.local.recording.set(false);
        self.home.store(0, Relaxed); // E5
        let mut at = self.local.tasks.take();
        while let Some(task) = at {
            at = task.next().get();
            task.detach();
        }
    }
}

#[cfg(not(pinlab_loom))]
fn park_timeout(timeout: Duration) {
    thread::park_timeout(timeout);
}

#[cfg(pinlab_loom)]
fn park_timeout(_: Duration) {
    thread::yield_now(); // loom knows no time
}

// ---- the runtime ---------------------------------------------------------------------------------------------

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
#[derive(Clone)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
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
    // `Arc`, though it is not `Sync`: other threads count references to it, and touch only what may be shared (E1).
    #[allow(clippy::arc_with_non_send_sync)]
    pub fn new() -> io::Result<Self> {
        let shared = Arc::new(Shared {
            home: AtomicUsize::new(thread_token()),
            inbox: Inbox::new(),
            poller: Poller::new()?,
            local: Local {
                queue: RefCell::default(),
                tasks: Cell::new(None),
                timers: RefCell::default(),
                reactor: RefCell::new(Reactor::new()),
                recorder: RefCell::new(None),
                recording: Cell::new(false),
                current: Cell::new(By::Outside),
                root: Cell::new(None),
                running: Cell::new(false),
                polls: Cell::new(0),
                until_turn: Cell::new(TURN),
                parks: Cell::new(0),
                now: Cell::new(Instant::now()),
                last_events: Cell::new(Instant::now()),
                io_budget: Cell::new(IO_BUDGET),
                spare_messages: Cell::default(),
                spare_wakers: Cell::default(),
                last_waiter: Cell::new(0),
            },
        });
        Ok(Self { handle: Handle { shared } })
    }

    fn shared(&self) -> &Shared {
        &self.handle.shared
    }

    fn local(&self) -> &Local {
        &self.handle.shared.local
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
            None => shared.new_root(),
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
        let shared = self.shared();
        if shared.is_queue_empty() {
            shared.read_inbox();
            shared.fire_timers(Instant::now());
            if shared.local.reactor.borrow().waiting() > 0 {
                shared.fetch_events(Some(Duration::ZERO));
            }
        } else {
            shared.look_around();
        }
        while let Some(task) = shared.pop() {
            let before = shared.local.polls.get();
            shared.poll_task(task);
            if shared.local.polls.get() != before {
                return true;
            }
        }
        false
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
        let shared = &*self.shared;
        let task = Task::new(future.into_future(), NonNull::from(shared), Location::caller());
        let handle = JoinHandle::new(task, PhantomData::<F::IntoFuture>);
        shared.start(task);
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

    pub(crate) fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }

    /// The engine's last look at the clock: free of charge, and never later than now.
    pub(crate) fn last_now(&self) -> Instant {
        self.shared.local.now.get()
    }

    pub(crate) fn timers(&self) -> RefMut<'_, Timers> {
        self.shared.local.timers.borrow_mut()
    }

    pub(crate) fn reactor(&self) -> RefMut<'_, Reactor> {
        self.shared.local.reactor.borrow_mut()
    }

    pub(crate) fn poller(&self) -> &Poller {
        &self.shared.poller
    }

    /// A number for one that waits for a source; never zero, which poll-style callers share.
    pub(crate) fn next_waiter(&self) -> usize {
        let next = self.shared.local.last_waiter.get() + 1;
        self.shared.local.last_waiter.set(next);
        next
    }

    /// Counts an operation on a socket; `false` when the task has had its share and should let others run.
    #[inline]
    pub(crate) fn may_go_on(&self) -> bool {
        let left = self.shared.local.io_budget.get();
        self.shared.local.io_budget.set(if left == 0 { IO_BUDGET } else { left - 1 });
        left > 0
    }
}

impl Shared {
    /// Takes a new task in and queues it. Not generic: compiled once, not in every cell.
    fn start(&self, task: Task) {
        if self.is_closed() {
            task.abort();
            return task.detach();
        }
        self.adopt(task);
        if self.local.recording.get() {
            self.record(Step::Spawn { task, by: self.local.current.get() });
        }
        task.enqueue();
        self.local.queue.borrow_mut().push_back(task); // E3
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("closed", &self.is_closed()).finish_non_exhaustive()
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
        if self.is_closed() { Err(SpawnError::shutdown()) } else { Ok(()) }
    }
}
