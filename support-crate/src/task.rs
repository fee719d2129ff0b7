//! One spawned future: a single allocation that holds the future, and afterwards its output.
//!
//! ```text
//!            ┌───────────────────────── one block, never moved ─────────────────────────┐
//!            │ Header                                             │ Stage               │
//!  Waker ──▶ │ state  remote_refs  vtable  at  joiner  link  id   │ the future, then T  │ ◀── JoinHandle<T>
//!            └──────────────────────────────────────────────────────────────────────────┘
//!                 ▲ an entry of the engine's queue
//! ```
//!
//! A [`Waker`] is a pointer to this block, and it may be kept anywhere, for as long as anyone likes. That
//! is why the future has to stay where it is: the engine finds it again through an address that is out in the
//! world. Here is the one place where the crate pins a spawned future, and the article's rule is its rule.
//!
//! | file | what is in it |
//! |---|---|
//! | `state` | the page of states: what a task can be in, and who may change it |
//! | `stage` | the only code that knows the future's type: poll, drop, take the output |
//! | `waker` | what a waker of the engine is, and what other threads do with one |
//! | `join` | [`JoinHandle`](crate::JoinHandle) and [`JoinError`](crate::JoinError); `joiner`: who awaits one |
//! | `tasks` | all tasks of one engine: spawn, wake, poll, abort, end |
//! | `queue` | those that were woken, in order |
//! | `memory` | the blocks, in chunks that know their engine |
//!
//! # Who counts
//!
//! [`TaskRef`] owns one reference: `Clone` takes one and `Drop` gives it back. An entry of the queue is one, a join handle has one, a waker is one,
//! a message from another thread carries one; and the engine has one until the future is over. Nothing refers to a task but these.
//!
//! Counting is the costliest part of waking, so there are two counts. The engine's own
//! thread, where nearly everything happens, adds and subtracts in a plain integer, `state`. Other threads use an atomic one, `remote_refs`; the
//! first of them that gives one back leaves it, with a message, in the engine's inbox, and until the engine has read that, others just subtract. (The
//! idea is biased reference counting: Choi, Shull and Torrellas, PACT 2018.) One more thing follows from it
//! for free: a future that is not `Send` is dropped on its own thread, whoever drops the last waker.
//!
//! # Invariants
//!
//! * **IT1** While the engine is open, only its thread touches a header's cells; other threads touch `remote_refs` and what never changes (`vtable`,
//!   `at`, `id`, the chunk). After it has closed, the cells are the join handle's, which cannot leave that thread.
//! * **IT2** The future is written into its block once and stays at that address until it is dropped there.
//! * **IT3** The references to a task are `state.refs() + (remote_refs - BIAS)`. There is one for each [`TaskRef`] but those that IT8 lets be
//!   made without, and the engine's, which ends with [`State::end`](state::State::end).
//! * **IT4** While the inbox is open, `remote_refs` is below `BIAS` only while `RETURNED` or `WOKEN` is set, and each of them is set only while a message holds a
//!   reference. So the sum is zero only when the engine's thread finds its own count at zero, neither flag, and exactly `BIAS`; a reference is only made from
//!   another one, so then nobody can make one any more. Between the inbox's close and the move that IT5 tells of the flags mean nothing,
//!   since whoever finds the inbox closed clears both. The sum (IT3) is right all the same: while somebody has a reference and `state` counts none, `remote_refs`
//!   is above `BIAS`; and a sum of zero that is split between the two is found by that move, and only there.
//! * **IT5** When the engine closes, every future is over (or being dropped by somebody who holds a reference, in whose drop the engine closes), and what `state` counts is moved into `remote_refs` together with the bias. From then on all
//!   threads count there, and whoever takes it to zero frees the block: no future is in it, and no output unless a join handle
//!   still holds a reference.
//! * **IT6** What the stage holds is what the phase says (see `state`). A block is freed only when it is empty.
//! * **IT7** A task's vtable was made for the type of the future that was written into its block, and a join handle's `T` is what that future gives.
//!   (`tests/combinations.rs`, and Miri over it.)
//! * **IT8** A waker with the vtable of `waker` points to the header and owns a reference, as a [`TaskRef`] does. One of either that is made of a pointer
//!   without a reference is never dropped, and is used only while a reference that somebody else owns keeps the block. (`tests/lifetime.rs`: "wakers may
//!   fire, be cloned and be dropped while the runtime is dropped".)

pub(crate) mod join;
mod joiner;
mod memory;
mod queue;
mod stage;
pub(crate) mod state;
pub(crate) mod tasks;
mod waker;

use crate::observe::recorder::Who;
use crate::show;
use crate::sync::AtomicU32;
use joiner::Joiner;
use memory::Chunk;
use stage::Vtable;
use state::{MAX_REFS, Phase, State};
use std::cell::Cell;
use std::fmt;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::task::Waker;
use tasks::Tasks;
pub(crate) use waker::{Message, has_ended, tasks_first};

/// What other threads know of an engine.
pub(crate) type Remote = crate::remote::Remote<Message, polling::Poller>;

// ---- in `remote_refs` ----------------------------------------------------------------------------------------

/// A message that gives a reference back is in the engine's inbox (IT4).
const RETURNED: u32 = 1 << 31;
/// A message that wakes this task is in the engine's inbox (IT4).
const WOKEN: u32 = 1 << 30;
/// The block has a chunk to itself (see `memory`). Never changes.
const ALONE: u32 = 1 << 29;
/// The bits of the count.
const COUNT: u32 = ALONE - 1;
/// In the count, while the engine is open: keeps it from reaching zero (IT5).
const BIAS: u32 = 1 << 27;

/// The part of a task that does not depend on its future's type. 48 bytes on 64-bit systems.
#[repr(C)]
pub(crate) struct Header {
    /// The phase, flags, and the references counted by the engine's thread.
    state: State,
    /// The references counted by other threads, and their flags.
    remote_refs: AtomicU32,
    /// What the engine must know of a future whose type it has forgotten.
    vtable: &'static Vtable,
    /// Where `spawn` was called.
    at: &'static Location<'static>,
    /// Who awaits the join handle.
    joiner: Joiner,
    /// The next entry of the queue; of free memory, the next free block.
    link: Cell<Option<NonNull<Header>>>,
    /// Counts the tasks of an engine.
    id: u64,
}

/// An owned reference to a task.
pub(crate) struct TaskRef(NonNull<Header>);

impl TaskRef {
    /// # Safety
    ///
    /// The caller owns a reference and gives it up to what it gets (IT3).
    #[inline(always)]
    unsafe fn from_raw(header: NonNull<Header>) -> Self {
        Self(header)
    }

    /// The reference is the caller's from here on, to be given to [`TaskRef::from_raw`].
    #[inline(always)]
    fn into_raw(self) -> NonNull<Header> {
        ManuallyDrop::new(self).0
    }

    #[inline(always)]
    fn header(&self) -> &Header {
        // SAFETY: this owns a reference (IT3), and the block lives as long as there is one (IT4, IT5). Only `&Header` is ever made of it: all that
        // changes sits in cells.
        unsafe { self.0.as_ref() }
    }

    #[inline(always)]
    fn chunk(&self) -> &Chunk {
        let alone = self.header().remote_refs.load(Relaxed) & ALONE != 0;
        // SAFETY: the block is in use, since this owns a reference; a chunk outlives its blocks (IM2 in `memory`).
        unsafe { Chunk::of(self.0, alone).as_ref() }
    }

    /// The engine, if this is its thread and it is open: the one way from a task to what only that thread may touch (IT1).
    ///
    /// Nothing foreign may run while the caller has it, for it could drop the runtime: who calls foreign code takes [`TaskRef::hold`].
    #[inline(always)]
    fn local(&self) -> Option<&Tasks> {
        let chunk = self.chunk();
        // SAFETY: local means that the engine is open (IB4 in `remote`), so that its `Runtime` holds it; and that this is its thread, so that it cannot
        // close before the caller has returned, or run foreign code.
        chunk.remote().is_local().then(|| unsafe { chunk.tasks().as_ref() })
    }

    /// The same, to be kept while foreign code runs.
    fn hold(&self) -> Option<Rc<Tasks>> {
        self.local()?.this()
    }

    /// A waker that counts no reference: good for as long as this is.
    #[inline(always)]
    pub(crate) fn borrowed_waker(&self) -> ManuallyDrop<Waker> {
        // SAFETY: IT8: never dropped, so it gives no reference back; its user has it no longer than `self`, which owns one.
        ManuallyDrop::new(unsafe { waker::from_ref(self.0) })
    }

    // ---- to look at ------------------------------------------------------------------------------------------

    pub(crate) fn is_over(&self) -> bool {
        self.header().state.is_over()
    }

    /// On the engine's thread, as all that follows.
    pub(crate) fn phase(&self) -> Phase {
        self.header().state.phase()
    }

    /// Whether it can be woken, and polled: the future is there, and nobody polls or drops it at this moment.
    pub(crate) fn waits(&self) -> bool {
        self.phase() == Phase::Idle
    }

    /// Whether the loop is at it.
    pub(crate) fn is_driven(&self) -> bool {
        self.header().state.is_driven()
    }

    pub(crate) fn is_queued(&self) -> bool {
        self.header().state.is_queued()
    }

    #[inline(always)]
    pub(crate) fn is_main(&self) -> bool {
        self.header().state.is_main()
    }

    /// Whether no waker of this main task is about: it can serve the next `block_on`.
    #[inline]
    pub(crate) fn is_fresh_main(&self) -> bool {
        self.header().state.is_fresh_main() && self.header().remote_refs.load(Acquire) & !ALONE == BIAS
    }

    /// How many references there are beside those of the engine and the join handle, this one included if it is counted: wakers and messages. On the
    /// engine's thread; the task is not over.
    pub(crate) fn wakers(&self) -> usize {
        let Header { state, remote_refs, .. } = self.header();
        let sum = state.refs() + (remote_refs.load(Acquire) & COUNT) - BIAS;
        (sum - state.own_refs()) as usize
    }

    /// For the recorder and the reports. On the engine's thread.
    pub(crate) fn who(&self) -> Who {
        let Header { id, vtable, .. } = self.header();
        let blocks = self.is_main();
        let name = if blocks && let Some(tasks) = self.local() { tasks.main_name(self) } else { vtable.name };
        Who { id: *id, name, blocks }
    }

    /// Where it was spawned.
    pub(crate) fn at(&self) -> &'static Location<'static> {
        self.header().at
    }

    /// The block: the data pointer of its wakers.
    pub(crate) fn address(&self) -> *const () {
        self.0.as_ptr().cast_const().cast()
    }

    /// The data pointer of the waker that waits for this task's output. On the engine's thread.
    pub(crate) fn joiner(&self) -> Option<*const ()> {
        self.header().joiner.data()
    }
}

impl Clone for TaskRef {
    #[inline(always)]
    fn clone(&self) -> Self {
        let Header { state, remote_refs, .. } = self.header();
        match self.local() {
            Some(_) if state.refs() < MAX_REFS => state.add_ref(),
            None if remote_refs.fetch_add(1, Relaxed) & COUNT < BIAS + MAX_REFS => {}
            _ => too_many(),
        }
        Self(self.0)
    }
}

impl Drop for TaskRef {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: IT3: the reference is ours, and this is its end. IB4: what `local` gives is of this task's engine, which is open.
        unsafe {
            match self.local() {
                Some(tasks) => release_local(self.0, tasks),
                None => waker::release_remote(self.0),
            }
        }
    }
}

/// The engine's thread gives a reference back (IT4).
///
/// # Safety
///
/// The caller owns one (IT3), which this gives back; it is a task of this engine, which is open.
#[inline(always)]
unsafe fn release_local(header: NonNull<Header>, tasks: &Tasks) {
    // SAFETY: IT3, IT4: the caller's reference is still counted, so the block is alive.
    let Header { state, remote_refs, .. } = unsafe { header.as_ref() };
    if state.refs() == 0 {
        remote_refs.fetch_sub(1, Relaxed); // made by another thread, given back here: the sum counts it, so what is left is not below the bias (IT3)
    } else {
        state.sub_ref();
    }
    if state.refs() == 0 && remote_refs.load(Acquire) & !ALONE == BIAS {
        // SAFETY: IT4: nobody refers to it any more; IT6: it is over, since the engine's reference is gone, and its output was taken or dropped with
        // the join handle.
        unsafe { tasks.free(header) };
    }
}

impl PartialEq for TaskRef {
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl fmt::Debug for TaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Task({:p})", self.0)
    }
}

/// Something clones wakers in a loop and leaks them: stop before a count overflows.
#[cold]
fn too_many() -> ! {
    show::to_stderr(&format!(
        "pinlab: a task has {MAX_REFS} wakers, and room for no more; is there something that clones them without end? Aborting before the count overflows"
    ));
    std::process::abort()
}

/// The engine is closed: counting is in `remote_refs` (IT5).
///
/// # Safety
///
/// The caller owns a reference (IT3), which this gives back.
unsafe fn release_closed(header: NonNull<Header>) {
    // SAFETY: IT3, IT5: the caller's reference keeps the block.
    let remote_refs = unsafe { &header.as_ref().remote_refs };
    // It may be that we set a flag and found the inbox closed; while it is set, others only subtract.
    let before = remote_refs.fetch_update(AcqRel, Acquire, |refs| Some((refs & !(RETURNED | WOKEN)) - 1));
    let before = before.unwrap_or_else(|refs| refs);
    if before & COUNT == 1 {
        // SAFETY: IT5: the count is zero.
        unsafe { memory::free_closed(header) };
    }
}
