//! The stage: the place in a task's block that holds the future, and when that is gone its output. All that knows the future's type.

use super::join::JoinError;
use super::{Header, Joiner, State};
use crate::foreign;
use crate::sync::AtomicU32;
use std::alloc::Layout;
use std::cell::{Cell, UnsafeCell};
use std::future::Future;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll};

/// What the engine must know of a future whose type it has forgotten. Each function wants the header of a task of its own future's type, the engine's
/// thread (IT1), and the phase that is named (IT6); so each is called through the task's own vtable (IT7).
pub(super) struct Vtable {
    /// `Polling`: polls the future; `true` once the output is in its place. Panics become results.
    pub(super) poll: unsafe fn(NonNull<Header>, &mut Context<'_>) -> bool,
    /// `Cancelling`: drops the future and puts this in its place.
    pub(super) cancel: unsafe fn(NonNull<Header>),
    /// `Empty`, from `Done`: moves the output to where this points: an uninitialised `Result<T, JoinError>`.
    pub(super) take: unsafe fn(NonNull<Header>, *mut ()),
    /// `Empty`, from `Done`: drops the output.
    pub(super) discard: unsafe fn(NonNull<Header>),
    /// The block's.
    pub(super) layout: Layout,
    /// The future's type.
    pub(super) name: fn() -> &'static str,
}

/// The whole block. `Header` comes first, so that a pointer to one is a pointer to the other.
#[repr(C)]
struct Block<F: Future> {
    header: Header,
    stage: UnsafeCell<Stage<F>>,
}

/// Which of the two it is, the phase says (IT6).
union Stage<F: Future> {
    future: ManuallyDrop<F>,
    output: ManuallyDrop<Result<F::Output, JoinError>>,
}

impl<F: Future> Block<F> {
    const VTABLE: Vtable = Vtable {
        poll: poll::<F>,
        cancel: cancel::<F>,
        take: take::<F>,
        discard: discard::<F>,
        layout: Layout::new::<Self>(),
        name: std::any::type_name::<F>,
    };
}

/// Of the block of such a future.
pub(super) fn layout<F: Future>() -> Layout {
    Block::<F>::VTABLE.layout
}

/// Writes a task to its block: the future comes to where it stays (IT2).
///
/// # Safety
///
/// The memory is of [`layout`] (IM6), and the caller's.
#[inline(always)]
pub(super) unsafe fn write<F: Future>(
    memory: NonNull<Header>,
    future: F,
    (state, remote_refs, id): (State, u32, u64),
    at: &'static Location<'static>,
) {
    let header = Header {
        state,
        remote_refs: AtomicU32::new(remote_refs),
        vtable: &Block::<F>::VTABLE,
        at,
        joiner: Joiner::nobody(),
        link: Cell::new(None),
        id,
    };
    // SAFETY: IM6: the memory is a block of this layout; caller: and nobody else has it.
    unsafe {
        memory.cast::<Block<F>>().write(Block { header, stage: UnsafeCell::new(Stage { future: ManuallyDrop::new(future) }) });
    }
}

fn stage<F: Future>(task: NonNull<Header>) -> *mut Stage<F> {
    let block = task.cast::<Block<F>>().as_ptr();
    // SAFETY: IT7: the vtable that led here was made for this `F` by `write`; the task is alive.
    unsafe { UnsafeCell::raw_get(&raw const (*block).stage) }
}

/// # Safety
///
/// As [`Vtable`] says of `poll` (IT1, IT6, IT7).
unsafe fn poll<F: Future>(task: NonNull<Header>, cx: &mut Context<'_>) -> bool {
    let stage = stage::<F>(task);
    // SAFETY: the phase is `Polling`: the future is here and nobody else touches it (IT6). IT2: it is never moved out of its stage, only dropped in
    // it. This is the pin that the whole engine rests on.
    let future = unsafe { Pin::new_unchecked(&mut *(*stage).future) };
    let output = match foreign::poll(future, cx) {
        Ok(Poll::Pending) => return false,
        Ok(Poll::Ready(output)) => Ok(output),
        Err(panic) => Err(JoinError::panicked(panic)),
    };
    // SAFETY: IT6: as above, and the poll is over.
    unsafe { replace_future(stage, output) };
    true
}

/// # Safety
///
/// As [`Vtable`] says of `cancel` (IT1, IT6, IT7).
unsafe fn cancel<F: Future>(task: NonNull<Header>) {
    // SAFETY: the phase is `Cancelling`: the future is here and nobody else touches it (IT6).
    unsafe { replace_future(stage::<F>(task), Err(JoinError::cancelled())) };
}

/// Drops the future where it stands (IT2) and writes what takes its place. A panic in its drop becomes the result.
///
/// # Safety
///
/// The stage holds the future, and nobody else touches it (IT6).
unsafe fn replace_future<F: Future>(stage: *mut Stage<F>, mut output: Result<F::Output, JoinError>) {
    // SAFETY: IT6: the caller's. Its drop runs once, in place (IT2).
    let dropped = foreign::drop_in_place(|| unsafe { ManuallyDrop::drop(&mut (*stage).future) });
    let unwanted = match dropped {
        Ok(()) => None,
        Err(panic) => Some(std::mem::replace(&mut output, Err(JoinError::panicked(panic)))),
    };
    // SAFETY: IT6: as above; the future is gone. Nothing between the drop and this can unwind.
    unsafe { stage.write(Stage { output: ManuallyDrop::new(output) }) };
    foreign::discard(unwanted); // the phase still says that the future is being dropped: nobody touches the place (IT6)
}

/// # Safety
///
/// As [`Vtable`] says of `take` (IT1, IT6, IT7).
unsafe fn take<F: Future>(task: NonNull<Header>, to: *mut ()) {
    // SAFETY: IT6: the caller has just made the phase `Empty`, so the output is the caller's alone; IT7: `to` is of its type.
    unsafe { to.cast::<Result<F::Output, JoinError>>().write(ManuallyDrop::take(&mut (*stage::<F>(task)).output)) };
}

/// # Safety
///
/// As [`Vtable`] says of `discard` (IT1, IT6, IT7).
unsafe fn discard<F: Future>(task: NonNull<Header>) {
    // SAFETY: IT6: as in `take`.
    foreign::discard(unsafe { ManuallyDrop::take(&mut (*stage::<F>(task)).output) });
}
