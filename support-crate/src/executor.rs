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
//! starved by one who wakes itself. Every [`TURN`] polls the loop looks at the clock and, once all who were queued at the last
//! look have had their turn and [`IO_EVERY`] is over, at the sockets. When the queue is empty it sleeps until a timer, an event or another thread has work for
//! it; and when none of these can ever come it says so ([`Stalled`]) instead of sleeping for ever.
//!
//! Invariants
//!
//! * **E1** `Local` is touched by the engine's own thread only: a [`Runtime`](crate::Runtime) and its handles are not `Send`, and wakers
//!   ask [`Shared::is_home`] first.
//! * **E2** No foreign code (a future's poll or drop, a waker's clone, wake or drop) runs while anything in `Local` is borrowed.
//! * **E3** An entry of the queue is a task with `QUEUED` set; there is one entry for each such task.
//! * **E4** Every task that is not freed is in the list of tasks, until the engine has closed.
//! * **E5** `home` is the thread's token while the engine is open and zero afterwards.
//! * **E6** Once the engine is closing, a task that is spawned is cancelled at once.

use crate::inbox::{Inbox, Sleep as Asleep};
use crate::observe::timeline::{By, Recorder, Step};
use crate::pool::Pool;
use crate::reactor::Reactor;
use crate::stall::{Stalled, Waiting};
use crate::sync::{AtomicUsize, thread, thread_token};
use crate::task::{Message, Task, wake_quietly};
use crate::timer::Timers;
use polling::Poller;
use std::alloc::Layout;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Waker;
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
    pub(crate) poller: Poller,
    /// E1.
    pub(crate) local: Local,
}

/// What only the engine's thread touches.
pub(crate) struct Local {
    queue: RefCell<VecDeque<Task>>,
    /// The first of the list of tasks (E4).
    tasks: Cell<Option<Task>>,
    /// How many join handles are being awaited.
    joiners: Cell<isize>,
    pool: RefCell<Pool>,
    pub(crate) timers: RefCell<Timers>,
    pub(crate) reactor: RefCell<Reactor>,
    pub(crate) recorder: RefCell<Option<Recorder>>,
    /// Whether there is a recorder: the only thing about it that is looked at while it is off.
    pub(crate) recording: Cell<bool>,
    /// What is going on, and so who wakes whom. Kept up to date only while recording.
    current: Cell<By>,
    /// The task that stands for the future given to `block_on`, kept for the next one.
    pub(crate) root: Cell<Option<Task>>,
    /// The loop is running: `block_on` or one of its like is on the stack.
    pub(crate) running: Cell<bool>,
    closing: Cell<bool>,
    /// How many handles there are: together they own one count of the engine's `Arc`.
    pub(crate) handles: Cell<usize>,
    pub(crate) polls: Cell<u64>,
    pub(crate) parks: Cell<u64>,
    /// Polls until the loop looks at clock and sockets.
    until_turn: Cell<u32>,
    /// The last look at the clock: never later than now.
    pub(crate) now: Cell<Instant>,
    last_fetch: Cell<Instant>,
    /// At so many polls, all who were queued at the last look at the sockets have been polled.
    end_of_round: Cell<u64>,
    /// How many operations on sockets the task that is being polled may still do in a row.
    io_budget: Cell<u32>,
    spare_messages: Cell<Vec<Message>>,
    spare_wakers: Cell<Vec<Waker>>,
    last_waiter: Cell<usize>,
}

impl Shared {
    /// An open engine of the current thread.
    pub(crate) fn new() -> io::Result<Self> {
        let now = Instant::now();
        Ok(Self {
            home: AtomicUsize::new(thread_token()),
            inbox: Inbox::new(),
            poller: Poller::new()?,
            local: Local {
                queue: RefCell::default(),
                tasks: Cell::new(None),
                joiners: Cell::new(0),
                pool: RefCell::default(),
                timers: RefCell::default(),
                reactor: RefCell::new(Reactor::new()),
                recorder: RefCell::new(None),
                recording: Cell::new(false),
                current: Cell::new(By::Outside),
                root: Cell::new(None),
                running: Cell::new(false),
                closing: Cell::new(false),
                handles: Cell::new(1),
                polls: Cell::new(0),
                parks: Cell::new(0),
                until_turn: Cell::new(TURN),
                now: Cell::new(now),
                last_fetch: Cell::new(now),
                end_of_round: Cell::new(0),
                io_budget: Cell::new(IO_BUDGET),
                spare_messages: Cell::default(),
                spare_wakers: Cell::default(),
                last_waiter: Cell::new(0),
            },
        })
    }

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

    // ---- tasks -----------------------------------------------------------------------------------------------

    pub(crate) fn take_block(&self, layout: Layout) -> NonNull<u8> {
        self.local.pool.borrow_mut().take(layout)
    }

    /// # Safety
    ///
    /// As `Pool::give`.
    pub(crate) unsafe fn give_block(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { self.local.pool.borrow_mut().give(block, layout) };
    }

    pub(crate) fn count_joiners(&self, change: isize) {
        self.local.joiners.set(self.local.joiners.get() + change);
    }

    /// Takes a new task in and queues it. Not generic: compiled once, not in every cell.
    pub(crate) fn start(&self, task: Task) {
        if self.is_closed() {
            task.abort();
            return task.detach();
        }
        self.adopt(task);
        if self.local.recording.get() {
            self.record(Step::Spawn { task, by: self.local.current.get() });
        }
        if self.local.closing.get() {
            return task.abort(); // E6
        }
        task.enqueue();
        self.local.queue.borrow_mut().push_back(task); // E3
    }

    /// This task stands for the futures given to `block_on`.
    #[cold]
    pub(crate) fn adopt_root(&self, root: Task) -> Task {
        self.adopt(root);
        self.local.root.set(Some(root));
        root
    }

    /// Somebody has kept a waker of the root, or it is queued: it must not wake, nor look like a hope to, whoever blocks next.
    #[cold]
    pub(crate) fn retire_root(&self) {
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
    pub(crate) fn record(&self, step: Step) {
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
    pub(crate) fn run_until_woken(&self, root: Task) -> Result<(), Stalled> {
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
    pub(crate) fn recorded<R>(&self, task: Task, poll: impl FnOnce() -> R, is_done: impl FnOnce(&R) -> bool) -> R {
        /// Also when the poll panics.
        struct Current<'a>(&'a Cell<By>);
        impl Drop for Current<'_> {
            fn drop(&mut self) {
                self.0.set(By::Outside);
            }
        }
        self.record(Step::Begin { task });
        self.local.current.set(By::Task(task));
        let current = Current(&self.local.current);
        let polled = poll(); // after which the task may be gone
        drop(current);
        self.record(Step::End { done: is_done(&polled) });
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
        // Not in the middle of a round: who is queued because of an event has not yet read what the next look would report again.
        let round_is_over = self.local.polls.get() >= self.local.end_of_round.get();
        if sockets && round_is_over && now.saturating_duration_since(self.local.last_fetch.get()) >= IO_EVERY {
            self.local.last_fetch.set(now);
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
        self.local.end_of_round.set(self.local.polls.get() + self.local.queue.borrow().len() as u64);
    }

    /// Polls one task, if one is ready or becomes so at a look around; whether it did.
    pub(crate) fn poll_one(&self) -> bool {
        if self.is_queue_empty() {
            self.read_inbox();
            self.fire_timers(Instant::now());
            if self.local.reactor.borrow().waiting() > 0 {
                self.fetch_events(Some(Duration::ZERO));
            }
        } else {
            self.look_around();
        }
        let before = self.local.polls.get();
        while self.local.polls.get() == before {
            match self.pop() {
                Some(task) => self.poll_task(task),
                None => return false,
            }
        }
        true
    }

    /// The queue is empty: sleep until that may have changed.
    #[cold]
    fn idle(&self, root: Option<Task>) -> Result<(), Stalled> {
        let next = self.local.timers.borrow_mut().next_deadline();
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
            self.record(Step::End { done: false });
        }
        Ok(())
    }

    // ---- for sockets -----------------------------------------------------------------------------------------

    /// A number for one that waits for a source.
    pub(crate) fn next_waiter(&self) -> usize {
        let next = self.local.last_waiter.get() + 1;
        self.local.last_waiter.set(next);
        next
    }

    /// Counts an operation on a socket; `false` when the task has had its share and should let others run.
    #[inline]
    pub(crate) fn may_go_on(&self) -> bool {
        let left = self.local.io_budget.get();
        self.local.io_budget.set(if left == 0 { IO_BUDGET } else { left - 1 });
        left > 0
    }

    // ---- stalls ----------------------------------------------------------------------------------------------

    /// Nothing is ready and nothing is armed. If, besides, nobody outside holds a waker, nothing can ever happen.
    fn check_stalled(&self, root: Option<Task>) -> Result<(), Stalled> {
        // A waker that waits for another task's output is no hope by itself: that task has to move first. But if there are more wakers
        // than outputs that anybody waits for, some of them wait for something else. That takes few steps to see, and is the rule.
        let mut surplus = -self.local.joiners.get();
        for task in root.into_iter().chain(self.tasks()) {
            surplus += task.wakers() as isize;
            if surplus > 0 {
                return Ok(());
            }
        }
        let mut awaiting: HashMap<usize, usize> = HashMap::new();
        for data in self.tasks().filter_map(Task::joiner_data) {
            *awaiting.entry(data).or_default() += 1;
        }
        let is_hope = |task: Task| task.wakers() > awaiting.get(&(task.as_ptr() as usize)).copied().unwrap_or(0);
        if self.tasks().chain(root).any(is_hope) {
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
    pub(crate) fn tasks(&self) -> impl Iterator<Item = Task> {
        let all = std::iter::successors(self.local.tasks.get(), |task| task.next().get());
        all.filter(|task| !task.is_complete() && !task.is_root())
    }

    // ---- the end ---------------------------------------------------------------------------------------------

    /// Drops every future, here and now, and lets go of what wakers and join handles still hold (T5 in `task`).
    pub(crate) fn close(&self) {
        self.local.closing.set(true); // E6
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
