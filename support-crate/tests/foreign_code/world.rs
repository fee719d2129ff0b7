//! What a cell is played with: an engine, two tasks of it, a timer, a socket, wakers. All of it lies in slots on this thread, where foreign
//! code finds it from wherever it is called.

use super::Action;
use super::allocations::held_by_all;
use super::guests::{Guest, Output, Plan};
use pinlab::{Handle, JoinHandle, Runtime, Sleep, TcpStream};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

thread_local! {
    static WORLD: RefCell<Option<Rc<World>>> = const { RefCell::new(None) };
}

/// The cell that is being played on this thread.
pub(crate) fn world() -> Option<Rc<World>> {
    WORLD.try_with(|world| world.borrow().clone()).ok().flatten()
}

/// A place for one value. Nothing is dropped, and nothing foreign cloned, while it is borrowed.
pub(crate) struct Slot<T>(RefCell<Option<T>>);

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self(RefCell::new(None))
    }
}

impl<T> Slot<T> {
    pub(crate) fn put(&self, value: T) {
        let former = self.0.replace(Some(value));
        drop(former);
    }

    pub(crate) fn take(&self) -> Option<T> {
        self.0.take()
    }

    pub(crate) fn get(&self) -> Option<T>
    where
        T: Clone,
    {
        self.0.borrow().clone()
    }

    /// Uses what is there, and puts it back unless another has come meanwhile.
    pub(crate) fn lend<R>(&self, to: impl FnOnce(&mut T) -> R) -> Option<R> {
        let mut value = self.take()?;
        let used = to(&mut value);
        let is_empty = self.0.borrow().is_none();
        if is_empty {
            self.put(value);
        }
        Some(used)
    }
}

/// How many values were made and dropped, on all threads.
#[derive(Default)]
pub(crate) struct Ledger {
    made: AtomicUsize,
    dropped: AtomicUsize,
}

impl Ledger {
    pub(crate) fn made(&self) {
        self.made.fetch_add(1, SeqCst);
    }

    pub(crate) fn dropped(&self) {
        self.dropped.fetch_add(1, SeqCst);
    }
}

/// What came of the action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// There was nothing to do it with: what it needs is borrowed, or gone.
    Impossible,
    /// The engine panicked, as its documentation says.
    Refused,
    /// It panicked, as it was to.
    Panics,
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Returned,
    Cancelled,
    Panicked,
}

pub(crate) type Task = Rc<JoinHandle<Output>>;
pub(crate) type Reading = Pin<Box<dyn Future<Output = io::Result<()>>>>;

#[derive(Default)]
pub(crate) struct World {
    pub(crate) rt: Slot<Rc<Runtime>>,
    pub(crate) handle: Slot<Handle>,
    /// The task that most points belong to, and the waker that it was last polled with.
    pub(crate) own: Slot<Task>,
    pub(crate) own_waker: Slot<Waker>,
    /// Another task, which waits until it is woken twice.
    pub(crate) other: Slot<Task>,
    pub(crate) other_waker: Slot<Waker>,
    /// A timer that is armed, for an hour.
    pub(crate) sleep: Slot<Pin<Box<Sleep>>>,
    /// A socket, somebody who waits until it can be read, and its other end.
    pub(crate) stream: Slot<Rc<TcpStream>>,
    pub(crate) reading: Slot<Reading>,
    pub(crate) peer: Slot<std::net::TcpStream>,
    pub(crate) threads: RefCell<Vec<thread::JoinHandle<()>>>,
    action: Cell<Option<&'static Action>>,
    outcome: Cell<Option<Outcome>>,
    /// Whether the engine's loop is on the stack.
    pub(crate) driving: Cell<bool>,
    /// Whether what leads to the point is going on.
    leading: Cell<bool>,
    /// The panics that came out of the calls that lead to the point.
    unwound: Cell<usize>,
    /// Whether somebody was told to wait with a spy's waker, and whether one of those was called.
    waits: Cell<bool>,
    pub(crate) woken: Cell<bool>,
    faults: RefCell<Vec<String>>,
    pub(crate) ledger: Arc<Ledger>,
}

impl World {
    fn new(action: &'static Action, recorded: bool) -> Rc<Self> {
        let world = Rc::new(Self::default());
        WORLD.set(Some(world.clone()));
        let rt = super::common::runtime();
        if recorded {
            rt.record();
        }
        let handle = rt.handle();
        let mut sleep = Box::pin(handle.sleep(Duration::from_secs(3600)));
        assert!(sleep.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        world.sleep.put(sleep);
        world.other.put(Rc::new(rt.spawn(Guest::new(Plan::other()))));
        rt.run_until_stalled();
        world.handle.put(handle);
        world.rt.put(Rc::new(rt));
        if action.needs_socket {
            world.connect();
        }
        world.action.set(Some(action));
        world
    }

    /// A socket of this engine, and somebody who waits for it.
    pub(crate) fn connect(&self) {
        let handle = self.handle.get().expect("at the beginning there is a handle");
        let (ours, theirs) = super::common::tcp_pair(&handle);
        let ours = Rc::new(ours);
        let stream = ours.clone();
        let mut reading: Reading = Box::pin(async move {
            let source: &pinlab::Async<_> = (*stream).as_ref();
            source.readable().await
        });
        assert!(reading.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        self.stream.put(ours);
        self.reading.put(reading);
        self.peer.put(theirs);
    }

    /// Spawns the task that the point belongs to.
    pub(crate) fn spawn(&self, plan: Plan) {
        let handle = self.handle.get().expect("the setting has a handle");
        self.own.put(Rc::new(handle.spawn(Guest::new(plan))));
    }

    /// Nothing is armed any more, and no waker is about.
    pub(crate) fn leave_nothing_to_wait_for(&self) {
        drop((self.reading.take(), self.stream.take(), self.sleep.take()));
        drop((self.other.take().map(|other| other.abort()), self.other_waker.take(), self.own_waker.take()));
    }

    // ---- what leads to the point -----------------------------------------------------------------------------

    /// Drives the engine, on which no second loop can then run.
    pub(crate) fn drive<R>(&self, how: impl FnOnce(&Runtime) -> R) {
        let Some(rt) = self.rt.get() else { return };
        self.driving.set(true);
        self.call(|| how(&rt));
        self.driving.set(false);
        drop(rt);
    }

    pub(crate) fn run(&self) {
        self.drive(Runtime::run_until_stalled);
    }

    /// Runs the engine, to which an event is on its way.
    pub(crate) fn run_until_reached(&self) {
        while self.action.get().is_some() {
            self.run();
            thread::yield_now();
        }
    }

    /// Runs what leads to the point. A panic that comes out of it is noted.
    pub(crate) fn call<R>(&self, what: impl FnOnce() -> R) {
        self.leading.set(true);
        let called = catch_unwind(AssertUnwindSafe(|| drop(what())));
        self.leading.set(false);
        if let Err(payload) = called {
            self.unwound.set(self.unwound.get() + 1);
            forget(payload);
        }
    }

    /// The same, of a poll that is to wait: if the runtime has gone meanwhile it says so, by an error or, as a sleep does, by a panic.
    pub(crate) fn wait<T>(&self, poll: impl FnOnce() -> Poll<T>) {
        self.call(|| match catch_unwind(AssertUnwindSafe(poll)) {
            Ok(polled) => self.waits.set(polled.is_pending()),
            Err(payload) if text(&*payload).contains("polled after its Runtime had been dropped") => {}
            Err(payload) => resume_unwind(payload),
        });
    }

    /// Polls the own task's handle, which nobody else may hold meanwhile, with this waker.
    pub(crate) fn poll_own(&self, waker: &Waker) -> Option<Poll<()>> {
        let mut task = Rc::into_inner(self.own.take()?)?;
        let polled = Pin::new(&mut task).poll(&mut Context::from_waker(waker));
        Some(match polled {
            Poll::Pending => {
                self.own.put(Rc::new(task));
                Poll::Pending
            }
            Poll::Ready(_) => {
                drop(task);
                Poll::Ready(())
            }
        })
    }

    // ---- the point -------------------------------------------------------------------------------------------

    /// The point is reached: foreign code runs, and does what this cell is about. Once.
    pub(crate) fn strike(&self) {
        if !self.leading.get() {
            return;
        }
        let Some(action) = self.action.take() else { return };
        // A panic in a panic ends the process: the language's rule.
        let possible = !(thread::panicking() && (action.panics || action.drives && self.driving.get()));
        let driving = self.driving.get();
        if action.panics || !possible {
            self.outcome.replace(Some(if possible { Outcome::Panics } else { Outcome::Impossible }));
            if possible {
                let _ = (action.act)(self);
                self.fault("an action that should panic did not");
            }
            return;
        }
        let outcome = match catch_unwind(AssertUnwindSafe(|| (action.act)(self))) {
            Ok(Some(())) if action.drives && driving => {
                self.fault("a second loop ran inside the first");
                Outcome::Done
            }
            Ok(Some(())) => Outcome::Done,
            Ok(None) => Outcome::Impossible,
            Err(payload) => {
                let text = text(&*payload);
                let known = match action.drives && driving {
                    true => text.contains("running already"),
                    false => action.refusals.iter().any(|known| text.contains(known)),
                };
                if !known {
                    self.fault(format!("panics with {text:?}"));
                }
                Outcome::Refused
            }
        };
        self.outcome.replace(Some(outcome));
    }

    pub(crate) fn fault(&self, what: impl Into<String>) {
        self.faults.borrow_mut().push(what.into());
    }

    // ---- the end ---------------------------------------------------------------------------------------------

    /// Whatever was done: the engine goes on, if it is still there.
    fn expect_a_working_engine(&self, action: &Action) {
        self.threads.take().into_iter().for_each(|thread| thread.join().expect("a thread that wakes does not panic"));
        if let Some(rt) = self.rt.get() {
            let answer = rt.block_on(async { rt.spawn(async { 42 }).await });
            if !matches!(answer, Ok(42)) {
                self.fault(format!("afterwards a task ends like this: {answer:?}"));
            }
            for _ in 0..2 {
                if let Some(waker) = self.other_waker.take() {
                    waker.wake();
                }
                rt.run_until_stalled();
            }
            let ended = self.other.get().is_none_or(|other| other.is_finished());
            if !ended {
                self.fault("the other task did not go on when it was woken");
            }
        } else if let Some(handle) = self.handle.get()
            && action.ends_runtime
        {
            let late = handle.spawn(async {});
            if !late.is_finished() {
                self.fault("a runtime that is gone has taken a task");
            }
        }
    }

    fn end_of_own(&self) -> Option<End> {
        let task = Rc::into_inner(self.own.take()?)?;
        if !task.is_finished() {
            return None;
        }
        Some(match pinlab::block_on(task) {
            Ok(_) => End::Returned,
            Err(error) if error.is_cancelled() => End::Cancelled,
            Err(error) => {
                forget(error.into_panic());
                End::Panicked
            }
        })
    }

    /// Empties the slots, in one order or in the other.
    fn empty(&self, runtime_first: bool) {
        let runtime = || {
            drop(self.rt.take());
            drop(self.handle.take());
        };
        if runtime_first {
            runtime();
        }
        drop(self.reading.take());
        drop(self.stream.take());
        drop(self.peer.take());
        drop(self.sleep.take());
        drop(self.own.take());
        drop(self.other.take());
        drop(self.own_waker.take());
        drop(self.other_waker.take());
        runtime();
    }
}

/// What a panic says.
fn text(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or(payload.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// Lets a panic's payload go without running what may be in its drop: that was the engine's business, or is nobody's.
fn forget(payload: Box<dyn std::any::Any + Send>) {
    if payload.is::<&str>() || payload.is::<String>() {
        drop(payload)
    } else {
        drop(catch_unwind(AssertUnwindSafe(|| drop(payload))))
    }
}

/// Gives a value up without dropping it. It stays reachable, so that a leak checker has nothing to say about what is done on purpose.
pub(crate) fn forget_on_purpose<T: 'static>(value: T) {
    struct Forgotten(#[allow(dead_code)] *mut ());
    // SAFETY: nobody ever looks at it again.
    unsafe impl Send for Forgotten {}
    static FORGOTTEN: Mutex<Vec<Forgotten>> = Mutex::new(Vec::new());
    let forgotten = Forgotten(Box::into_raw(Box::new(value)).cast());
    FORGOTTEN.lock().expect("no panic under this lock").push(forgotten);
}

/// What a cell must be like, beside being sound.
#[derive(Clone, Copy)]
pub(crate) struct Rules {
    /// Whether a panic at the point comes out of the call that led there; if not, it is caught.
    pub(crate) panic_comes_out: bool,
    /// How the own task ends, if nothing is done to it.
    pub(crate) end: Option<End>,
}

/// Plays one cell on this thread; what was wrong with it.
///
/// It is played once for what is set up at the first use, and then counted. Other threads may get or give back memory just then: what leaks
/// does so every time.
pub(crate) fn play(lead: fn(&World), rules: Rules, action: &'static Action, recorded: bool) -> Result<Outcome, String> {
    let mut outcome = play_once(lead, rules, action, recorded)?;
    if action.forgets || is_watched() {
        return Ok(outcome); // what leaks, the tool will say
    }
    let mut wrong = String::new();
    for _ in 0..3 {
        let (before, open_before) = (held_by_all(), descriptors());
        outcome = play_once(lead, rules, action, recorded)?;
        let (after, open_after) = (held_by_all(), descriptors());
        if before == after && open_before == open_after {
            return Ok(outcome);
        }
        wrong = format!(
            "leaks {} bytes in {} blocks and {} descriptors",
            after.0 - before.0,
            after.1 - before.1,
            open_after - open_before
        );
    }
    Err(wrong)
}

fn play_once(lead: fn(&World), rules: Rules, action: &'static Action, recorded: bool) -> Result<Outcome, String> {
    let world = World::new(action, recorded);
    lead(&world);
    let outcome = world.outcome.take();
    world.driving.set(false);
    let unwound = world.unwound.get();
    world.expect_a_working_engine(action);
    let end = world.end_of_own();
    world.empty(recorded);
    WORLD.take();
    let mut faults = world.faults.take();
    let Some(outcome) = outcome else { return Err("the point was not reached".to_owned()) };

    let comes_out = usize::from(rules.panic_comes_out && outcome == Outcome::Panics);
    if unwound != comes_out {
        faults.push(format!("{unwound} panics came out instead of {comes_out}"));
    }
    if world.waits.get() && !world.woken.get() && action.ends_runtime && outcome == Outcome::Done {
        faults.push("somebody waits for a runtime that is gone, and will not be woken".to_owned());
    }
    if let (Some(expected), Some(end)) = (rules.end, end) {
        let allowed = match outcome {
            Outcome::Panics => [Some(expected), Some(End::Panicked)],
            Outcome::Done if action.cancels || action.ends_runtime => [Some(expected), Some(End::Cancelled)],
            _ => [Some(expected), None],
        };
        if !allowed.contains(&Some(end)) {
            faults.push(format!("the task {end:?} and not {expected:?}"));
        }
    }
    let (made, dropped) = (world.ledger.made.load(SeqCst), world.ledger.dropped.load(SeqCst));
    if dropped > made || (dropped < made && !action.forgets) {
        faults.push(format!("{made} values were made and {dropped} dropped"));
    }
    if faults.is_empty() { Ok(outcome) } else { Err(faults.join("; ")) }
}

/// Whether a tool watches that makes everything slow.
pub(crate) fn is_watched() -> bool {
    cfg!(miri) || std::env::var_os("PINLAB_PATIENCE").is_some()
}

/// How many descriptors this process has open.
fn descriptors() -> isize {
    if cfg!(target_os = "linux") { std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count) as isize } else { 0 }
}
