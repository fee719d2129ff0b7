//! All tasks of one engine, and what is done with them on its thread.
//!
//! ```text
//!   spawn ──▶ queue ──▶ poll ──▶ Ready: output to the join handle
//!               ▲        │
//!               │        └────▶ Pending: the future has left its waker somewhere
//!               └── wake ◀── another task, a timer, a socket, another thread (through the inbox)
//! ```
//!
//! Invariants
//!
//! * **IK1** A `Tasks` lives in an `Rc`, and only its thread has it: a task leads to it by [`TaskRef::local`], which asks for the thread.
//! * **IK2** Once the engine is closing, a task that is spawned is cancelled at once.
//! * **IK3** Tasks are polled in the order of their wakes. The main one, when it is woken while nobody is queued, is not put into the queue but
//!   marked as ready: it is then the first. That is what a main future costs that wakes itself.

use super::join::JoinHandle;
use super::joiner::Joiner;
use super::memory::Memory;
use super::queue::Queue;
use super::state::{Phase, State};
use super::{BIAS, COUNT, Header, Remote, TaskRef, memory, release_local, stage, waker};
use crate::foreign;
use crate::observe::recorder::{By, Recorder, Step};
use std::cell::{Cell, RefCell};
use std::future::{Future, Pending, pending};
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::ptr::NonNull;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering::AcqRel;
use std::task::{Context, Waker};

/// The half of an engine that its tasks reach.
#[derive(Debug)]
pub(crate) struct Tasks {
    this: Weak<Self>,
    pub(crate) remote: Arc<Remote>,
    queue: Queue,
    /// The main future was woken when nobody was queued: it comes before all who are (IK3).
    main_ready: Cell<bool>,
    /// Of the type of the future that the main task stands for, or has last stood for.
    main_name: Cell<fn() -> &'static str>,
    memory: RefCell<Memory>,
    /// How many join handles are being awaited: with what is known as a task's waker, and with a boxed one (IJ1).
    joiners: [Cell<isize>; 2],
    closing: Cell<bool>,
    last_id: Cell<u64>,
    pub(crate) recorder: Recorder,
}

impl Tasks {
    pub(crate) fn new(remote: Arc<Remote>) -> Rc<Self> {
        Rc::new_cyclic(|this| Self {
            this: this.clone(),
            remote,
            queue: Queue::default(),
            main_ready: Cell::new(false),
            main_name: Cell::new(earlier),
            memory: RefCell::default(),
            joiners: Default::default(),
            closing: Cell::new(false),
            last_id: Cell::new(0),
            recorder: Recorder::default(),
        })
    }

    /// This, to be kept; `None` only while it is being dropped.
    pub(super) fn this(&self) -> Option<Rc<Self>> {
        self.this.upgrade()
    }

    // ---- spawn -----------------------------------------------------------------------------------------------

    /// Makes a task of this future and queues it.
    #[inline]
    pub(crate) fn spawn<F: Future>(&self, future: F, at: &'static Location<'static>) -> JoinHandle<F::Output> {
        let task = self.make(future, State::spawned(), at);
        self.start(&task);
        JoinHandle::new(task)
    }

    /// A task to stand for the futures given to `block_on`; the only reference is the engine's.
    #[cold]
    pub(crate) fn spawn_main(&self) -> TaskRef {
        self.make(pending::<()>() as Pending<()>, State::main(), Location::caller())
    }

    /// The name of the type of the future that the main task stands for from here on.
    #[inline]
    pub(crate) fn set_main_name(&self, name: fn() -> &'static str) {
        self.main_name.set(name);
    }

    pub(super) fn main_name(&self, main: &TaskRef) -> fn() -> &'static str {
        if main.is_over() { earlier } else { self.main_name.get() }
    }

    #[inline(always)]
    fn make<F: Future>(&self, future: F, state: State, at: &'static Location<'static>) -> TaskRef {
        let id = self.last_id.get() + 1;
        self.last_id.set(id);
        let layout = stage::layout::<F>();
        // SAFETY: IK1: `Weak::as_ptr` of an `Rc` that is alive, since we are in it.
        let this = unsafe { NonNull::new_unchecked(self.this.as_ptr().cast_mut()) };
        let (memory, remote_refs) = self.memory.borrow_mut().take(layout, this, &self.remote);
        // SAFETY: IM6: the memory is of this layout, and ours. IT3: one of the references that the state counts is for the caller.
        unsafe {
            stage::write(memory, future, (state, remote_refs, id), at);
            TaskRef::from_raw(memory)
        }
    }

    /// Not generic: compiled once, not in every cell.
    fn start(&self, task: &TaskRef) {
        if self.recorder.is_on() {
            self.recorder.record(Step::Spawn { task: task.who(), by: self.recorder.current() });
        }
        if self.remote.is_closed() {
            self.abort(task);
            // SAFETY: IT5: the engine has closed, and this block was made since; its future has just been dropped.
            unsafe { detach(task.0) };
        } else if self.closing.get() {
            self.abort(task); // IK2
        } else {
            self.enqueue(task);
        }
    }

    // ---- wake ------------------------------------------------------------------------------------------------

    /// Puts a task that was woken at the back of the queue, once. By whom, if not by what is going on here.
    #[inline(always)]
    pub(crate) fn wake(&self, task: &TaskRef, by: Option<By>) {
        if task.is_main() && self.wake_main(task, by) {
            return;
        }
        let fresh = self.enqueue(task);
        if self.recorder.is_on() {
            self.record_wake(task, by, fresh);
        }
    }

    #[cold]
    #[inline(never)]
    fn record_wake(&self, task: &TaskRef, by: Option<By>, fresh: bool) {
        let by = by.unwrap_or_else(|| self.recorder.current());
        self.recorder.record(Step::Wake { task: task.who(), by, fresh });
    }

    /// Whether the main task is marked as ready, or was already (IK3). A recording wants it in the queue.
    #[inline(always)]
    fn wake_main(&self, task: &TaskRef, by: Option<By>) -> bool {
        if task.phase() != Phase::Idle {
            return false; // of an earlier `block_on`: another one may be ready
        }
        if self.queue.is_empty() && !self.recorder.is_on() {
            self.main_ready.set(true);
            return true;
        }
        let is_ready = self.main_ready.get();
        if is_ready && self.recorder.is_on() {
            self.record_wake(task, by, false); // it was marked before the recording began
        }
        is_ready
    }

    #[inline(always)]
    fn enqueue(&self, task: &TaskRef) -> bool {
        let fresh = task.header().state.enqueue();
        if fresh {
            // SAFETY: IT3: the reference that `enqueue` has counted.
            self.queue.push(unsafe { TaskRef::from_raw(task.0) });
        }
        fresh
    }

    /// Whether the main future is the next to be polled; it is no longer then.
    #[inline(always)]
    pub(crate) fn take_main_ready(&self) -> bool {
        self.main_ready.get() && self.main_ready.replace(false)
    }

    /// Whether the main future is the next to be polled, before all who are queued.
    pub(crate) fn is_main_ready(&self) -> bool {
        self.main_ready.get()
    }

    /// The next task to be polled.
    #[inline(always)]
    pub(crate) fn pop(&self) -> Option<TaskRef> {
        self.queue.pop()
    }

    #[inline(always)]
    pub(crate) fn is_queue_empty(&self) -> bool {
        self.queue.is_empty() && !self.main_ready.get()
    }

    /// A round begins: it is over when all who are queued now have had their turn, or have left.
    #[inline]
    pub(crate) fn begin_round(&self) {
        self.queue.begin_round();
    }

    #[inline]
    pub(crate) fn is_round_over(&self) -> bool {
        self.queue.is_round_over()
    }

    // ---- poll, abort, end ------------------------------------------------------------------------------------

    /// Polls a task that was taken from the queue; whether it was ready, or `None` if there was nothing to poll.
    ///
    /// # Safety
    ///
    /// The task is one of this engine's, whose `Runtime` is borrowed by whoever runs the loop, so that it cannot close meanwhile (IE3).
    #[inline]
    pub(crate) unsafe fn poll(&self, task: TaskRef) -> Option<bool> {
        let Header { state, vtable, .. } = task.header();
        let mut polled = None;
        if state.begin_poll() {
            let waker = task.borrowed_waker();
            let mut cx = Context::from_waker(&waker);
            // SAFETY: IK1: the engine's thread; IT6: the phase is `Polling`.
            let ready = unsafe { (vtable.poll)(task.0, &mut cx) };
            let aborted = !ready && !state.end_poll();
            if aborted {
                // SAFETY: IK1, as above; IT6: the phase is `Cancelling`, and it was not before.
                unsafe { (vtable.cancel)(task.0) };
            }
            if ready || aborted {
                self.end(&task);
            }
            polled = Some(ready);
        }
        // SAFETY: IT3: the reference that came with the task; IE3: the engine is open.
        unsafe { release_local(task.into_raw(), self) };
        polled
    }

    /// Whether this is the waker of the task of this engine's that is being polled; or of the main one, if that is.
    pub(crate) fn is_being_polled(&self, waker: &Waker, is_main: bool) -> bool {
        waker::is_polled(waker, self, is_main)
    }

    /// Drops the future now, or right after the poll that is going on. Nothing if it is over, or is being dropped.
    pub(crate) fn abort(&self, task: &TaskRef) {
        let state = &task.header().state;
        if state.begin_cancel() {
            if state.is_queued() {
                self.queue.count_aborted();
            }
            // SAFETY: IK1: the engine's thread; IT6: the phase is `Cancelling`, and it was not before.
            unsafe { (task.header().vtable.cancel)(task.0) };
            self.end(task);
        }
    }

    /// The output is in its place: wake who waits for it, and let go of the engine's reference. Foreign code may have closed the engine when it returns.
    fn end(&self, task: &TaskRef) {
        let Header { state, vtable, joiner, .. } = task.header();
        state.end();
        // SAFETY: the engine's reference, which ends with this phase (IT3), and so once.
        let engines = unsafe { TaskRef::from_raw(task.0) };
        if !state.is_joined() && state.take_output() {
            // SAFETY: IK1: the engine's thread; IT6: the output is ours, and the phase is `Empty`.
            unsafe { (vtable.discard)(task.0) };
        }
        if joiner.is_somebody()
            && let Some(waker) = self.swap_joiner(task, None)
        {
            foreign::wake(waker);
        }
        drop(engines);
    }

    /// Says who awaits the task; who did before is for the caller to drop.
    pub(super) fn swap_joiner(&self, task: &TaskRef, waker: Option<Waker>) -> Option<Waker> {
        let joiner = &task.header().joiner;
        self.count_joiner(joiner, -1);
        let former = joiner.replace(waker);
        self.count_joiner(joiner, 1);
        former
    }

    fn count_joiner(&self, joiner: &Joiner, change: isize) {
        if joiner.is_somebody() {
            self.joiners[usize::from(joiner.is_boxed())].update(|count| count + change);
        }
    }

    // ---- all of them -----------------------------------------------------------------------------------------

    /// How many join handles are awaited, with what is known as a task's waker or with another one.
    pub(crate) fn joiners(&self, boxed: bool) -> isize {
        self.joiners[usize::from(boxed)].get()
    }

    /// Whether this holds for one of the tasks, in no order; the main future's is one. It may look, and take references, but give none back: that could free a block.
    pub(crate) fn any(&self, mut is_it: impl FnMut(&TaskRef) -> bool) -> bool {
        self.memory.borrow().any(|header| {
            // SAFETY: IM3, IM8: a block in use stays so at least until the memory is no longer borrowed; IT8: not dropped, so not counted.
            let task = ManuallyDrop::new(unsafe { TaskRef::from_raw(header) });
            is_it(&task)
        })
    }

    /// All that are not over, the oldest first; without the main future's.
    pub(crate) fn all(&self) -> Vec<TaskRef> {
        let mut all = Vec::new();
        self.any(|task| {
            if !task.is_over() && !task.is_main() {
                all.push(task.clone());
            }
            false
        });
        all.sort_unstable_by_key(|task: &TaskRef| task.header().id);
        all
    }

    /// Of how many tasks this holds; the main future's is one.
    pub(crate) fn count(&self, is_it: impl Fn(&TaskRef) -> bool) -> usize {
        let mut count = 0;
        self.any(|task| {
            count += usize::from(is_it(task));
            false
        });
        count
    }

    /// The queue's tasks, in order, for somebody to look at.
    pub(crate) fn for_each_queued(&self, mut each: impl FnMut(&TaskRef)) {
        self.queue.for_each(|header| {
            // SAFETY: IT8: not dropped, so not counted; the queue's own reference is (IQ1).
            let task = ManuallyDrop::new(unsafe { TaskRef::from_raw(header) });
            each(&task);
        });
    }

    // ---- the end ---------------------------------------------------------------------------------------------

    /// Drops every future, here and now, the youngest first.
    pub(crate) fn cancel_all(&self) {
        self.closing.set(true); // IK2: nothing that a drop spawns is left over
        let mut all = self.all();
        while let Some(task) = all.pop() {
            self.abort(&task);
        }
    }

    /// Empties the queue of what is over.
    pub(crate) fn clear_queue(&self) {
        self.main_ready.set(false);
        while let Some(task) = self.pop() {
            drop(task);
        }
    }

    /// The engine has closed (IB4 in `remote`), no task has a future that somebody is not dropping, and none is queued: lets go of what wakers and join handles still hold (IT5).
    pub(crate) fn let_go(&self) {
        let memory = self.memory.take();
        // SAFETY: IT5: every block in use is detached, once, and the memory is not used any more.
        unsafe { memory.close(|header| detach(header)) };
    }

    /// Takes the block of a task that nobody refers to back.
    ///
    /// # Safety
    ///
    /// IT4 holds of it: the engine is open, and there is no reference.
    #[inline]
    pub(super) unsafe fn free(&self, header: NonNull<Header>) {
        // SAFETY: IT4: the caller's; IT6: the task is over and empty.
        unsafe { self.memory.borrow_mut().give(header) };
    }
}

/// The name of a future that was given to a `block_on` which is over.
fn earlier() -> &'static str {
    "an earlier future"
}

/// Moves what the state counts to where all threads count (IT5), and frees the block if that is nothing.
///
/// # Safety
///
/// The engine has closed. The task is not queued, and is over, or its future is being dropped by somebody who holds a reference (IT5); this is done once,
/// and the block may be gone afterwards.
unsafe fn detach(header: NonNull<Header>) {
    // SAFETY: IT5: the bias keeps the block until here.
    let Header { state, remote_refs, .. } = unsafe { header.as_ref() };
    debug_assert!(matches!(state.phase(), Phase::Cancelling | Phase::Done | Phase::Empty));
    let change = state.take_refs().wrapping_sub(BIAS);
    if remote_refs.fetch_add(change, AcqRel).wrapping_add(change) & COUNT == 0 {
        // SAFETY: IT5: nobody refers to it.
        unsafe { memory::free_closed(header) };
    }
}
