//! The engine: the loop that polls the tasks that were woken, and sleeps when there is nothing to do.
//!
//! An engine is a value. Nothing of it is in a `static` or a thread-local, so that a notebook's cells, each of which has
//! its own copy of those, can drive one engine between them.
//!
//! Each turn of the loop takes one task from the queue's front and polls it once; a wake puts a task at the back, so nobody is
//! starved by one who wakes itself. Every so many polls the loop looks at the clock and, once all who were queued at the last
//! look have had their turn, at the sockets (`clock` says when). When the queue is empty it sleeps until a timer, an event or another thread has work for
//! it; and when it can know that none of these will ever come, it says so ([`Stalled`]) instead of sleeping for ever (`stall`).
//!
//! Invariants
//!
//! * **IE1** An engine is in an `Rc`: only its thread has it. Other threads have its [`Remote`].
//! * **IE2** The loop runs once at a time: while it does, driving the engine again panics. Outside of the loop an engine may be driven from anywhere,
//!   be it a drop or a waker that an `abort` runs.
//! * **IE3** While the loop runs the engine does not close: its `Runtime` is borrowed. (A process that ends inside of a task may drop one that is in a
//!   thread-local all the same: then nothing is closed, and nothing freed.)

mod clock;
mod close;
mod main_task;
pub(crate) mod quiet;
mod record;
mod share;
mod snapshot;
pub(crate) mod stall;

use crate::foreign;
use crate::observe::recorder::{By, Recorder, Step};
use crate::reactor::Reactor;
use crate::remote::Asleep;
use crate::sync::{park_timeout, thread};
use crate::task::state::Phase;
use crate::task::tasks::Tasks;
use crate::task::{Message, Remote, TaskRef};
use crate::timers::Timers;
use clock::Clock;
use polling::Poller;
use quiet::Quiet;
use share::Share;
use stall::Stalled;
use std::cell::{Cell, RefCell, RefMut};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

/// Room for so many messages is kept in any case.
const KEPT_MESSAGES: usize = 1024;

/// An engine: what its runtime, its handles, its sleeps and its sockets have.
pub(crate) struct Engine {
    pub(crate) tasks: Rc<Tasks>,
    timers: RefCell<Timers>,
    reactor: RefCell<Reactor>,
    clock: Clock,
    share: Share,
    quiet: Quiet,
    /// The task that stands for the future given to `block_on`, kept for the next one.
    main: Cell<Option<TaskRef>>,
    /// IE2.
    at: Cell<Loop>,
    parks: Cell<u64>,
    spare_messages: Cell<Vec<Message>>,
    spare_wakers: Cell<Vec<Waker>>,
}

/// What the loop is at (IE2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loop {
    Stopped,
    Runs,
    /// It runs, and a task is being polled.
    Task,
    /// It runs, and the main future is being polled.
    Main,
    /// It runs, and the main future has had its last poll: it is done, or has panicked.
    MainIsOver,
    /// It runs, and the main future is being dropped, unfinished: a stall.
    MainIsCancelled,
}

/// The loop is running; at the end of the scope it no longer is, also when a panic unwinds through it (IE2).
pub(crate) struct Running<'a>(&'a Engine);

impl Drop for Running<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.at.set(Loop::Stopped);
        self.0.recorder().end_work();
    }
}

impl Engine {
    /// An open engine of the current thread.
    pub(crate) fn new() -> io::Result<Rc<Self>> {
        let poller = Arc::new(Poller::new()?);
        let remote = Arc::new(Remote::new(poller.clone()));
        Ok(Rc::new(Self {
            tasks: Tasks::new(remote),
            timers: RefCell::default(),
            reactor: RefCell::new(Reactor::new(poller)),
            clock: Clock::new(),
            share: Share::new(),
            quiet: Quiet::new(),
            main: Cell::new(None),
            at: Cell::new(Loop::Stopped),
            parks: Cell::new(0),
            spare_messages: Cell::default(),
            spare_wakers: Cell::default(),
        }))
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.tasks.remote.is_closed()
    }

    pub(crate) fn recorder(&self) -> &Recorder {
        &self.tasks.recorder
    }

    pub(crate) fn timers(&self) -> RefMut<'_, Timers> {
        self.timers.borrow_mut()
    }

    pub(crate) fn reactor(&self) -> RefMut<'_, Reactor> {
        self.reactor.borrow_mut()
    }

    pub(crate) fn polls(&self) -> u64 {
        self.clock.polls()
    }

    pub(crate) fn parks(&self) -> u64 {
        self.parks.get()
    }

    /// After how long a silence to write a note.
    pub(crate) fn note_after(&self, after: Option<Duration>) {
        self.quiet.note_after(after);
    }

    /// Looks at the clock.
    pub(crate) fn look(&self) -> Instant {
        self.clock.look()
    }

    /// Whether this instant has passed, by the loop's last look at the clock or else by one of our own: the loop may not have looked for long.
    #[inline]
    pub(crate) fn has_passed(&self, instant: Instant) -> bool {
        self.clock.has_passed(instant)
    }

    // ---- the loop --------------------------------------------------------------------------------------------

    /// The loop begins (IE2).
    #[track_caller]
    #[inline]
    pub(crate) fn enter(&self) -> Running<'_> {
        assert!(
            self.at.get() == Loop::Stopped,
            "this Runtime is running already: it cannot be driven from inside one of its own tasks; await the future there instead"
        );
        self.at.set(Loop::Runs);
        Running(self)
    }

    /// Polls tasks until the main one is woken, sleeping where there is nothing to do.
    #[inline]
    pub(crate) fn run_until_woken(&self, main: &TaskRef) -> Result<(), Stalled> {
        self.at.set(Loop::Runs);
        let woken = self.run_others(main);
        self.at.set(Loop::Main);
        woken
    }

    #[inline]
    fn run_others(&self, main: &TaskRef) -> Result<(), Stalled> {
        loop {
            self.look_around();
            if self.tasks.take_main_ready() {
                return Ok(());
            }
            match self.tasks.pop() {
                Some(task) if task == *main => return Ok(()),
                Some(task) => self.poll_task(task),
                None => self.idle(main)?,
            }
        }
    }

    /// Polls one task, if one is ready or becomes so at a look around; what is to be told of it, looked at before.
    #[inline]
    pub(crate) fn poll_one<T>(&self, tell: impl Fn(&TaskRef) -> T) -> Option<T> {
        self.look_around();
        let (before, mut has_looked) = (self.clock.polls(), false);
        loop {
            match self.tasks.pop() {
                Some(task) => {
                    let told = tell(&task);
                    self.poll_task(task); // or not, if it is over
                    if self.clock.polls() != before {
                        return Some(told);
                    }
                }
                None if has_looked => return None,
                None => {
                    has_looked = true;
                    self.read_inbox();
                    self.fire_timers(self.clock.look());
                    self.fetch_ready_events();
                }
            }
        }
    }

    /// Polls one task that was taken from the queue, if there is something to poll.
    #[inline]
    fn poll_task(&self, task: TaskRef) {
        if task.phase() != Phase::Idle {
            return; // it is over, or being dropped
        }
        self.clock.count_poll();
        self.at.set(Loop::Task);
        // SAFETY: IQ1: it came from this engine's queue; IE3: the loop runs, so the engine stays open.
        let poll = |task| unsafe { self.tasks.poll(task) };
        match self.recorder().is_on() {
            false => poll(task),
            true => self.recorded(task.who(), || poll(task), |ready| *ready == Some(true)),
        };
        self.at.set(Loop::Runs);
    }

    /// What a busy loop must not forget: other threads at every turn, clock and sockets now and then.
    #[inline(always)]
    fn look_around(&self) {
        if self.tasks.remote.inbox.has_mail() {
            self.read_inbox();
        }
        if self.clock.is_turn_over() {
            self.clock.begin_turn();
            self.recorder().end_work(); // a recording may have begun in a poll (`Engine::record`)
            self.fire_and_fetch();
        }
    }

    #[cold]
    fn fire_and_fetch(&self) {
        let sockets = self.reactor.borrow().waiting() > 0;
        if !sockets && self.timers.borrow().len() == 0 {
            return;
        }
        let now = self.clock.look();
        self.fire_timers(now);
        if sockets && self.clock.may_fetch(now, self.tasks.is_round_over()) {
            self.fetch_events(Some(Duration::ZERO));
        }
    }

    #[cold]
    fn read_inbox(&self) {
        let mut messages = self.spare_messages.take();
        self.tasks.remote.inbox.take(&mut messages);
        let read = messages.len();
        for message in messages.drain(..) {
            message.open(&self.tasks);
            self.quiet.end();
        }
        if read < messages.capacity() / 4 {
            messages.shrink_to(KEPT_MESSAGES.max(messages.capacity() / 2)); // what has grown for many shrinks when few come
        }
        self.spare_messages.set(messages);
    }

    fn fire_timers(&self, now: Instant) {
        self.timers.borrow_mut().gather();
        loop {
            // One at a time, and not borrowed while it wakes (IF1): what is woken may drop other timers of the batch.
            let Some((deadline, waker)) = self.timers.borrow_mut().fire(now) else { return };
            self.quiet.end();
            let at_work = self.recorder().is_on().then(|| {
                self.recorder().record(Step::Timer { late: now - deadline });
                self.recorder().at_work(By::Timer)
            });
            if let Some(waker) = waker {
                foreign::wake(waker);
            }
            drop(at_work);
        }
    }

    fn fetch_ready_events(&self) {
        if self.reactor.borrow().waiting() > 0 {
            self.fetch_events(Some(Duration::ZERO));
        }
    }

    fn fetch_events(&self, timeout: Option<Duration>) {
        let mut wakers = self.spare_wakers.take();
        let fetched = self.reactor.borrow_mut().wait(timeout, &mut wakers, |source, readable, writable| {
            if self.recorder().is_on() {
                self.recorder().record(Step::Event { source, readable, writable });
            }
        });
        // `EINTR` is dealt with; what remains (a closed or foreign descriptor of our own) is a bug, not a condition.
        if fetched.is_err() {
            self.tasks.remote.inbox.wake_up(); // for whoever catches the panic
        }
        fetched.expect("waiting for the operating system's events failed");
        if self.recorder().is_on() {
            self.recorder().record(Step::End { done: false }); // of a sleep, if this is one: whom it wakes may take their time
        }
        for waker in wakers.drain(..) {
            let at_work = self.recorder().is_on().then(|| self.recorder().at_work(By::Socket));
            foreign::wake(waker);
            drop(at_work);
            self.quiet.end();
        }
        self.spare_wakers.set(wakers);
        self.tasks.begin_round();
    }

    /// The queue is empty: sleep until that may have changed.
    #[cold]
    fn idle(&self, main: &TaskRef) -> Result<(), Stalled> {
        let next = self.timers.borrow_mut().next_deadline();
        let timeout = match next {
            None => None,
            Some(deadline) => {
                let now = self.clock.look();
                if deadline <= now {
                    self.fire_timers(now);
                    if self.tasks.is_queue_empty() {
                        self.fetch_ready_events(); // who is due again and again, and wakes nobody, must not keep it from the sockets
                    }
                    return Ok(());
                }
                Some(deadline - now)
            }
        };
        let sockets = self.reactor.borrow().waiting() > 0;
        if timeout.is_none() && !sockets {
            self.read_inbox(); // a reference given back counts, even one that nobody was woken for
            if self.tasks.is_queue_empty() && !self.tasks.remote.inbox.has_mail() {
                stall::check(self, main)?;
            }
        }
        let timeout = match timeout {
            Some(timeout) => Some(timeout),
            None => {
                if quiet::look_closer(self, sockets) {
                    return Ok(());
                }
                quiet::limit(self, sockets)
            }
        };
        let how = if sockets { Asleep::Waiting } else { Asleep::Parked };
        if self.tasks.is_queue_empty() && self.tasks.remote.inbox.fall_asleep(how) {
            self.sleep(how, timeout);
        }
        Ok(())
    }

    fn sleep(&self, how: Asleep, timeout: Option<Duration>) {
        self.parks.set(self.parks.get() + 1);
        let recording = self.recorder().is_on();
        if recording {
            self.keep_snapshot();
            self.recorder().record(Step::Park);
        }
        match (how, timeout) {
            // An allocator may park, too, for a lock of its own, and so take what a wake has left for this thread to find.
            (Asleep::Parked, _) if self.tasks.remote.inbox.has_mail() => {}
            (Asleep::Parked, None) => thread::park(),
            (Asleep::Parked, Some(timeout)) => park_timeout(timeout),
            (Asleep::Waiting, timeout) => self.fetch_events(timeout),
        }
        self.tasks.remote.inbox.wake_up();
        if recording {
            self.recorder().record(Step::End { done: false });
        }
    }
}
