//! One spawned future: a single allocation that holds the future, and afterwards its output.
//!
//! ```text
//!            ┌──────────────────────── one Box, never moved ───────────────────────┐
//!            │ Header                                        │ Stage               │
//!  Waker ──▶ │ state  away  engine  vtable  joiner  at  links│ the future, then T  │ ◀── JoinHandle<T>
//!            └──────────────────────────────────────────────────────────────────────┘
//!                 ▲ a thin pointer in the engine's queue
//! ```
//!
//! A [`Waker`] is a pointer to this allocation, and it may be kept anywhere, for as long as anyone likes. That
//! is why the future has to stay where it is: the engine finds it again through an address that is out in the
//! world. Here is the one place where the crate pins a spawned future, and the article's rule is its rule.
//!
//! Counting who still points here is the dearest part of waking, so there are two counts. The engine's own
//! thread, where nearly everything happens, adds and subtracts in a plain integer. Other threads only ever
//! *add* to an atomic one; what they give back goes through the engine's inbox, and the engine subtracts. (The
//! idea is biased reference counting: Choi, Shull and Torrellas, PACT 2018.) One more thing follows from it
//! for free: a future that is not `Send` is dropped on its own thread, whoever drops the last waker.
//!
//! # Invariants
//!
//! * **T1** While the engine is open, only its thread touches a header's fields, save `away` and the immutable
//!   `engine`, `vtable` and `at`.
//! * **T2** The future is written into its allocation once and stays at that address until it is dropped there.
//! * **T3** The engine holds one reference while the task is incomplete or queued; the join handle holds one;
//!   each waker and each message in the inbox holds one. All of them together are `refs + (away - BIAS)`, and neither part is ever negative.
//! * **T4** An increment by another thread happens before the decrement of the reference that it was cloned
//!   from is carried out (a clone borrows its original). So when the engine sees a sum of zero, no reference
//!   is left anywhere, and it frees the allocation.
//! * **T5** When the engine closes, every future has been dropped, and what `refs` counts is moved into `away`
//!   together with the bias. From then on all threads count in `away`, and whoever takes it to zero frees what
//!   is by then a husk: no future in it, and no output unless a join handle (which cannot leave the thread)
//!   still owns it.
//! * **T6** The stage holds the future until `COMPLETE` is set, then the output until `TAKEN` is set, then nothing; neither flag is ever
//!   cleared. From `COMPLETE` on the engine leaves the stage to the join handle, if there is one. A task is freed only when it is empty.

use crate::executor::Shared;
use crate::join::JoinError;
use crate::pool;
use crate::sync::AtomicU32;
use std::alloc::Layout;
use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

// ---- the state word ------------------------------------------------------------------------------------------

/// An entry in the engine's queue points to this task; there is at most one. Cleared when it is taken out, before the
/// poll: a wake during the poll queues the task again.
const QUEUED: u32 = 1;
/// The future is being polled now. Never together with `COMPLETE`.
const RUNNING: u32 = 1 << 1;
/// The future is gone; the stage holds the output, until it is `TAKEN`.
const COMPLETE: u32 = 1 << 2;
/// The join handle exists: somebody wants the output.
const JOINED: u32 = 1 << 3;
/// `abort` was called during the poll: drop the future as soon as it returns.
const ABORTED: u32 = 1 << 4;
/// Stands for the future given to `block_on`, which lives in that function's frame: never run, only queued.
const ROOT: u32 = 1 << 5;
/// The output has been taken or dropped: the stage is empty. Only together with `COMPLETE`.
const TAKEN: u32 = 1 << 6;
/// One reference; the bits from here up are the count.
const REF: u32 = 1 << 7;

/// In `away`: a wake from another thread is in the inbox, so a second one need not go there.
const WOKEN: u32 = 1 << 31;
/// In `away`, while the engine is open: keeps the count from reaching zero (T5).
const BIAS: u32 = 1 << 29;
/// Past this many references something leaks them in a loop. Stop before the count overflows.
const MAX_REFS: u32 = 1 << 24;

// ---- the allocation ------------------------------------------------------------------------------------------

/// The part of a task that does not depend on its future's type. 64 bytes on 64-bit systems.
#[repr(C)]
pub(crate) struct Header {
    /// The flags above and the references counted by the engine's thread.
    state: Cell<u32>,
    /// `WOKEN`, `BIAS`, and the references that other threads made.
    away: AtomicU32,
    /// The engine: alive while this is (see [`Task::detach`]).
    engine: NonNull<Shared>,
    vtable: &'static Vtable,
    /// Who awaits the join handle.
    joiner: UnsafeCell<Option<Waker>>,
    /// Where `spawn` was called.
    at: &'static Location<'static>,
    /// The neighbours in the engine's list of tasks.
    links: Links,
}

#[derive(Default)]
struct Links {
    previous: Cell<Option<Task>>,
    next: Cell<Option<Task>>,
}

/// What the engine must know of a future whose type it has forgotten.
struct Vtable {
    /// Polls the future; `true` once the output is in its place. Catches panics.
    poll: unsafe fn(Task, &mut Context<'_>) -> bool,
    /// Drops the future and puts this in its place. Catches panics.
    finish: unsafe fn(Task, JoinError),
    /// Drops the output, if it is still there. Catches panics.
    clear: unsafe fn(Task),
    /// The allocation's.
    layout: Layout,
    /// The future's type.
    name: fn() -> &'static str,
}

/// The whole of it. `Header` comes first, so that a pointer to one is a pointer to the other.
#[repr(C)]
struct Allocation<F: Future> {
    header: Header,
    stage: UnsafeCell<Stage<F>>,
}

impl<F: Future> Allocation<F> {
    const VTABLE: Vtable = Vtable {
        poll: poll::<F>,
        finish: finish::<F>,
        clear: clear::<F>,
        layout: Layout::new::<Self>(),
        name: std::any::type_name::<F>,
    };
}

/// The future, and when it is gone its output, in the same place. Which of the two, the state word says (T6).
union Stage<F: Future> {
    future: ManuallyDrop<F>,
    output: ManuallyDrop<Result<F::Output, JoinError>>,
}

/// A thin pointer to a task. Copying it counts nothing: who keeps one says which reference it stands for.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Task(NonNull<Header>);

impl Task {
    /// Allocates a task with two references: the engine's and the join handle's.
    pub(crate) fn new<F: Future>(future: F, engine: NonNull<Shared>, at: &'static Location<'static>) -> Self {
        let vtable = &Allocation::<F>::VTABLE;
        // SAFETY: the caller's engine is alive, and this is its thread: only there are there handles to spawn with.
        let block = unsafe { engine.as_ref() }.take_block(vtable.layout).cast::<Allocation<F>>();
        let header = Header {
            state: Cell::new((2 * REF) | JOINED),
            away: AtomicU32::new(BIAS),
            engine,
            vtable,
            joiner: UnsafeCell::new(None),
            at,
            links: Links::default(),
        };
        // SAFETY: the block is of this layout, and ours. The future is written to where it stays (T2).
        unsafe { block.write(Allocation { header, stage: UnsafeCell::new(Stage { future: ManuallyDrop::new(future) }) }) };
        Self(block.cast())
    }

    fn header(&self) -> &Header {
        // SAFETY: a `Task` is used only by holders of a reference (T3), and the allocation lives as long as they do
        // (T4, T5). Only `&Header` is ever made of it: all that changes sits in cells.
        unsafe { self.0.as_ref() }
    }

    fn has(self, flag: u32) -> bool {
        self.header().state.get() & flag != 0
    }

    fn set(self, flag: u32) {
        let state = &self.header().state;
        state.set(state.get() | flag);
    }

    fn unset(self, flag: u32) {
        let state = &self.header().state;
        state.set(state.get() & !flag);
    }

    // ---- queued and run: on the engine's thread --------------------------------------------------------------

    /// Marks the task as queued; `false` if it is already, or is complete, and must not be queued.
    #[inline]
    pub(crate) fn enqueue(self) -> bool {
        let state = &self.header().state;
        let bits = state.get();
        if bits & (QUEUED | COMPLETE) != 0 {
            return false;
        }
        state.set(bits | QUEUED);
        true
    }

    /// The entry has been taken from the queue. `false` if there is nothing to poll any more.
    #[inline]
    pub(crate) fn dequeue(self) -> bool {
        self.unset(QUEUED);
        if self.has(COMPLETE) {
            self.release_here(); // T3: complete, and no longer queued.
            return false;
        }
        true
    }

    /// Polls once; `true` if that completed the task. The caller has called [`Task::dequeue`].
    pub(crate) fn run(self) -> bool {
        self.set(RUNNING);
        let waker = self.borrowed_waker();
        // SAFETY: the engine's thread (T1); the task is incomplete, so the stage holds the future (T6).
        let mut done = unsafe { (self.header().vtable.poll)(self, &mut Context::from_waker(&waker)) };
        self.unset(RUNNING);
        if !done && self.has(ABORTED) {
            // SAFETY: as above.
            unsafe { (self.header().vtable.finish)(self, JoinError::cancelled()) };
            done = true;
        }
        if done {
            self.complete();
        }
        done
    }

    /// Drops the future now, or right after the poll that is going on. Nothing if it is complete.
    pub(crate) fn abort(self) {
        if self.has(RUNNING) {
            self.set(ABORTED);
        } else if !self.has(COMPLETE) {
            // While the future is dropped nobody may start to poll it.
            self.set(RUNNING);
            // SAFETY: the engine's thread (T1); not complete and not being polled.
            unsafe { (self.header().vtable.finish)(self, JoinError::cancelled()) };
            self.unset(RUNNING);
            self.complete();
        }
    }

    /// The output is there: tell who waits, and give up the engine's reference.
    fn complete(self) {
        self.set(COMPLETE);
        if !self.has(JOINED) {
            // SAFETY: the engine's thread; complete, and no join handle that could look (T6).
            unsafe { (self.header().vtable.clear)(self) };
            self.set(TAKEN);
        }
        if self.joiner_data().is_some()
            && let Some(joiner) = self.swap_joiner(None)
        {
            wake_quietly(joiner);
        }
        if !self.has(QUEUED) {
            self.release_here(); // T3
        }
    }

    // ---- for its join handle ---------------------------------------------------------------------------------

    /// Has this waker called at the end. `true` if the end came meanwhile: then it is not kept.
    pub(crate) fn wake_at_the_end(self, waker: &Waker) -> bool {
        // SAFETY: the engine's thread (T1); comparing wakers runs no foreign code.
        let known = unsafe { &*self.header().joiner.get() }.as_ref().is_some_and(|known| known.will_wake(waker));
        if !known {
            drop(self.swap_joiner(Some(waker.clone())));
            if self.is_complete() {
                drop(self.swap_joiner(None));
            }
        }
        self.is_complete()
    }

    /// Takes the output out.
    ///
    /// # Safety
    ///
    /// The task is complete and of this future's type; the caller is its join handle.
    pub(crate) unsafe fn take<F: Future>(self) -> Result<F::Output, JoinError> {
        assert!(!self.has(TAKEN), "a JoinHandle was polled again after it gave its output");
        self.set(TAKEN);
        // SAFETY: the caller's, and T6.
        unsafe { ManuallyDrop::take(&mut (*stage::<F>(self)).output) }
    }

    /// The join handle is gone: nobody wants the output, now or later.
    pub(crate) fn leave(self) {
        self.unset(JOINED);
        if !self.has(COMPLETE) {
            drop(self.swap_joiner(None));
        } else if !self.has(TAKEN) {
            self.set(TAKEN);
            // SAFETY: the output is there, and the handle was the only one that could look (T6).
            unsafe { (self.header().vtable.clear)(self) };
        }
        self.release_here();
    }

    fn swap_joiner(self, waker: Option<Waker>) -> Option<Waker> {
        let now = isize::from(waker.is_some());
        // SAFETY: the engine's thread (T1), and no foreign code runs between reading and writing.
        let former = unsafe { self.header().joiner.get().replace(waker) };
        self.shared().count_joiners(now - isize::from(former.is_some()));
        former
    }

    // ---- references ------------------------------------------------------------------------------------------

    /// Whether the current thread is the open engine's.
    #[inline]
    fn is_home(self) -> bool {
        // SAFETY: the engine outlives its tasks (see `detach`), and `is_home` reads an atomic.
        unsafe { self.header().engine.as_ref() }.is_home()
    }

    /// A waker that counts no reference: good for as long as the caller holds one.
    #[inline]
    pub(crate) fn borrowed_waker(self) -> ManuallyDrop<Waker> {
        // SAFETY: the vtable keeps the contract of `RawWaker` (its functions say how); not dropped, so not counted.
        ManuallyDrop::new(unsafe { Waker::from_raw(RawWaker::new(self.0.as_ptr().cast(), &WAKER)) })
    }

    #[inline]
    pub(crate) fn retain(self) {
        if self.is_home() {
            let state = &self.header().state;
            if state.get() / REF >= MAX_REFS {
                std::process::abort();
            }
            state.set(state.get() + REF);
        } else if self.header().away.fetch_add(1, Relaxed) & !WOKEN >= BIAS + MAX_REFS {
            std::process::abort();
        }
    }

    /// Gives up a reference.
    #[inline]
    pub(crate) fn release(self) {
        if self.is_home() { self.release_at_home() } else { self.give_back(false) }
    }

    /// The same on the engine's thread, where only the open engine and the join handles, which cannot leave it, come from.
    #[inline]
    fn release_here(self) {
        if self.shared().is_closed() { self.give_back(false) } else { self.release_at_home() }
    }

    #[inline]
    fn release_at_home(self) {
        let Header { state, away, .. } = self.header();
        if state.get() < REF {
            away.fetch_sub(1, Relaxed); // made by another thread, given back here
        } else {
            state.set(state.get() - REF);
        }
        if state.get() < REF && away.load(Acquire) & !WOKEN == BIAS {
            let (engine, vtable) = (self.header().engine, self.header().vtable);
            self.shared().forget_task(self);
            // SAFETY: nobody points here any more (T4), it is out of the engine's list, and nothing in it wants to be dropped (T6; `complete`
            // took the joiner). The engine outlives its tasks.
            unsafe { engine.as_ref().give_block(self.0.cast(), vtable.layout) };
        }
    }

    /// Another thread (or any, once the engine has closed) gives up its reference, perhaps with a wake.
    #[cold]
    fn give_back(self, wake: bool) {
        // The engine may close and go while we ring its bell: hold it.
        // SAFETY: we hold a reference to the task, and the engine outlives its tasks; it is an `Arc` (`Shared::new`).
        let shared = unsafe {
            Arc::increment_strong_count(self.header().engine.as_ptr());
            Arc::from_raw(self.header().engine.as_ptr())
        };
        if shared.send(Message { task: self, wake }).is_err() {
            self.release_closed();
        }
    }

    /// The engine is closed: count in `away` (T5).
    fn release_closed(self) {
        if self.header().away.fetch_sub(1, AcqRel) & !WOKEN == 1 {
            self.bury();
        }
    }

    /// Frees a husk and the reference to the engine that came with it.
    fn bury(self) {
        let (engine, vtable) = (self.header().engine.as_ptr(), self.header().vtable);
        // SAFETY: the count is zero (T5): nobody points here, and nothing in it wants to be dropped (T6). `detach` took a count on the
        // engine for this task.
        unsafe {
            pool::release(self.0.cast(), vtable.layout);
            Arc::decrement_strong_count(engine);
        }
    }

    /// The engine closes: it lets go of this task, which is complete and not in its queue (T5).
    pub(crate) fn detach(self) {
        // SAFETY: the engine is alive: its `Runtime` is closing it. From here on the task keeps it alive.
        unsafe { Arc::increment_strong_count(self.header().engine.as_ptr()) };
        let refs = self.header().state.get() / REF;
        let unbias = refs.wrapping_sub(BIAS);
        if self.header().away.fetch_add(unbias, AcqRel).wrapping_add(unbias) & !WOKEN == 0 {
            self.bury();
        }
    }

    /// References beside those of the engine and the join handle: how many wakers and messages are about.
    pub(crate) fn wakers(self) -> usize {
        let state = self.header().state.get();
        let away = (self.header().away.load(Acquire) & !WOKEN) - BIAS;
        let engine = u32::from(state & QUEUED != 0 || state & COMPLETE == 0);
        let handle = u32::from(state & JOINED != 0);
        (state / REF + away - engine - handle) as usize
    }

    fn shared(&self) -> &Shared {
        // SAFETY: the engine outlives its tasks: its `Runtime` keeps it while open, `detach` afterwards.
        unsafe { self.header().engine.as_ref() }
    }

    // ---- to look at ------------------------------------------------------------------------------------------

    pub(crate) fn is_complete(self) -> bool {
        self.has(COMPLETE)
    }

    /// Where it was spawned.
    pub(crate) fn at(self) -> &'static Location<'static> {
        self.header().at
    }

    /// The future's type.
    pub(crate) fn name(self) -> &'static str {
        (self.header().vtable.name)()
    }

    /// The allocation: the data pointer of its wakers.
    pub(crate) fn as_ptr(self) -> *const Header {
        self.0.as_ptr()
    }

    /// The data pointer of the waker that waits for this task's output.
    pub(crate) fn joiner_data(self) -> Option<usize> {
        // SAFETY: the engine's thread (T1), read only.
        unsafe { &*self.header().joiner.get() }.as_ref().map(|waker| waker.data() as usize)
    }

    pub(crate) fn previous(&self) -> &Cell<Option<Task>> {
        &self.header().links.previous
    }

    pub(crate) fn next(&self) -> &Cell<Option<Task>> {
        &self.header().links.next
    }

    /// A task to stand for the future given to `block_on`; its only reference is the engine's.
    pub(crate) fn root(engine: NonNull<Shared>) -> Self {
        let task = Self::new(std::future::pending::<()>(), engine, Location::caller());
        task.header().state.set(REF | ROOT);
        task
    }

    pub(crate) fn is_root(self) -> bool {
        self.has(ROOT)
    }

    /// Whether no waker of this root is about: it can serve the next `block_on`.
    #[inline]
    pub(crate) fn is_fresh(self) -> bool {
        self.header().state.get() == REF | ROOT && self.header().away.load(Acquire) == BIAS
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Task({:p})", self.0)
    }
}

/// What another thread leaves in the engine's inbox. It owns a reference to the task (T3).
#[derive(Debug)]
pub(crate) struct Message {
    task: Task,
    wake: bool,
}

// SAFETY: the receiver is the engine's thread, or nobody (then the sender keeps it): T1, T3.
unsafe impl Send for Message {}

impl Message {
    /// On the engine's thread: carries the message out.
    pub(crate) fn open(self) {
        let task = self.task;
        if self.wake {
            // Acquire: what the waker's thread wrote before it woke is seen by the poll that follows.
            task.header().away.fetch_and(!WOKEN, AcqRel);
            task.shared().schedule(task, true);
        }
        task.release();
    }

    /// The engine closed with this still in the inbox.
    pub(crate) fn discard(self) {
        self.task.release();
    }
}

// ---- the functions that know the future's type ---------------------------------------------------------------

fn stage<F: Future>(task: Task) -> *mut Stage<F> {
    let allocation = task.0.cast::<Allocation<F>>().as_ptr();
    // SAFETY: the vtable that led here was made for this `F` by `Task::new`; the task is alive.
    unsafe { UnsafeCell::raw_get(&raw const (*allocation).stage) }
}

unsafe fn poll<F: Future>(task: Task, cx: &mut Context<'_>) -> bool {
    let stage = stage::<F>(task);
    let polled = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the caller vouches for T1 and that the stage holds the future. T2: it is never moved out of its stage, only dropped in
        // it. This is the pin that the whole engine rests on.
        let future = unsafe { Pin::new_unchecked(&mut *(*stage).future) };
        future.poll(cx)
    }));
    let output = match polled {
        Ok(Poll::Pending) => return false,
        Ok(Poll::Ready(output)) => Ok(output),
        Err(panic) => Err(JoinError::panicked(panic)),
    };
    // SAFETY: as above.
    unsafe { replace_future(stage, output) };
    true
}

unsafe fn finish<F: Future>(task: Task, error: JoinError) {
    // SAFETY: the caller vouches for T1 and that the stage holds the future, which is not being polled.
    unsafe { replace_future(stage::<F>(task), Err(error)) };
}

/// Drops the future where it stands (T2) and writes what takes its place. A panic in its drop becomes the result.
unsafe fn replace_future<F: Future>(stage: *mut Stage<F>, mut output: Result<F::Output, JoinError>) {
    // SAFETY: the caller vouches that the stage holds the future and that nobody else looks. Its drop runs once, in place.
    let dropped = catch_unwind(AssertUnwindSafe(|| unsafe { ManuallyDrop::drop(&mut (*stage).future) }));
    // Until the output is written the place holds nothing, and the state word does not say so: nothing may unwind here.
    let bomb = AbortOnDrop;
    let unwanted = match dropped {
        Ok(()) => None,
        Err(panic) => Some(std::mem::replace(&mut output, Err(JoinError::panicked(panic)))),
    };
    // SAFETY: as above.
    unsafe { stage.write(Stage { output: ManuallyDrop::new(output) }) };
    std::mem::forget(bomb);
    drop_quietly(unwanted);
}

unsafe fn clear<F: Future>(task: Task) {
    // SAFETY: the caller vouches that the output is there and that nobody else looks (T6); it is gone afterwards.
    let output = unsafe { ManuallyDrop::take(&mut (*stage::<F>(task)).output) };
    drop_quietly(output);
}

struct AbortOnDrop;

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        std::process::abort();
    }
}

/// Drops somebody else's value.
fn drop_quietly<T>(value: T) {
    quietly(|| drop(value));
}

/// Wakes somebody else's waker, which may panic: the others still have to be woken.
pub(crate) fn wake_quietly(waker: Waker) {
    quietly(|| waker.wake());
}

/// Runs foreign code; a panic in it has been reported by the panic hook and goes no further. What it carries may panic in its own drop:
/// then that is the end of it, and its contents leak.
fn quietly(foreign: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(foreign))
        && let Err(worse) = catch_unwind(AssertUnwindSafe(|| drop(payload)))
    {
        std::mem::forget(worse);
    }
}

// ---- the waker -----------------------------------------------------------------------------------------------

/// The four duties of a waker. Each is a few steps for the engine's own thread, and a message from any other.
static WAKER: RawWakerVTable = RawWakerVTable::new(
    |data| {
        let task = from_data(data);
        task.retain();
        RawWaker::new(task.0.as_ptr().cast(), &WAKER)
    },
    |data| {
        let task = from_data(data);
        if task.is_home() {
            task.shared().schedule(task, false);
            task.release();
        } else if task.header().away.fetch_or(WOKEN, AcqRel) & WOKEN == 0 {
            task.give_back(true);
        } else {
            task.give_back(false);
        }
    },
    |data| {
        let task = from_data(data);
        if task.is_home() {
            task.shared().schedule(task, false);
        } else if task.header().away.fetch_or(WOKEN, AcqRel) & WOKEN == 0 {
            task.retain(); // T3: the message's own reference
            task.give_back(true);
        }
    },
    |data| from_data(data).release(),
);

#[inline(always)]
fn from_data(data: *const ()) -> Task {
    // SAFETY: only `borrowed_waker` and the clone above make such wakers, of a pointer that is not null.
    Task(unsafe { NonNull::new_unchecked(data.cast_mut().cast()) })
}
