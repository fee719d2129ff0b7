//! The blocks of an engine's tasks: chunks that are cut into blocks of one size, and that know their engine.
//!
//! ```text
//!   chunk, at a multiple of its size        ┌─────── Chunk ────────┬── block ──┬── block ──┬── block ──┬── …
//!                                           │ remote  tasks  free  │  in use   │   free ───┼─▶ free    │  not yet used
//!                                           └──────────────────────┴───────────┴───────────┴───────────┴── …
//! ```
//!
//! An engine's tasks come in few sizes and live on one thread. Cutting blocks from a chunk is a few steps, where a general allocator takes more
//! than all the rest of a short task's life; blocks that were made one after the other lie one after the other, so that a million tasks are read as a
//! stream; and what all tasks of an engine share, the way to it and the list of them, is found from a block's address: no task pays for it.
//! What is too large, or too aligned, has a chunk alone. In debug builds everything has, so that tools that watch the allocator see each task end.
//!
//! Invariants
//!
//! * **IM1** A chunk that is shared begins at a multiple of [`CHUNK`] and is no larger. The one of a block alone ends where the block begins. The block's
//!   `remote_refs` says which (`ALONE`).
//! * **IM2** `live` counts a chunk's blocks in use; a chunk lives at least as long as one is. While the engine is open only its thread changes it.
//! * **IM3** A block in use has another phase than `Free`. Free ones are in their chunk's list, or beyond `fresh`.
//! * **IM4** `chunks[chunk.index] == chunk`; `rooms[chunk.stride / STEP][chunk.room] == chunk` if it has room, and `room` is `NO_ROOM` otherwise.
//! * **IM5** At most [`KEPT`] empty chunks are kept for later.
//! * **IM6** A chunk's memory has room for its head, and for the blocks after it: `slots` of them, or the one that is alone. Head and blocks are aligned
//!   as they have to be, and a block is as large as [`Memory::take`] was asked for. The memory is given back with the layout with which it was asked for.
//!   (`tests/lifetime.rs`: "a future stays where it was pinned and as aligned as it asks", and Miri over it.)
//! * **IM7** A block that was used since its chunk was cut has a header that can be read, until the chunk is given back: the end of a task leaves it
//!   there. It is written right after [`Memory::take`], with nothing in between. (`tests/foreign_code`, in a release build: there memory is used again.)
//! * **IM8** While the engine is open, a chunk in `chunks`, `rooms` or `empty` is alive: it leaves them before it is given back. When the engine has closed,
//!   [`Memory::close`] goes through `chunks` once, and `empty` is given back; nobody looks into them afterwards. (`tests/many.rs`: a million tasks, in a
//!   release build.)

use super::state::Phase;
use super::tasks::Tasks;
use super::{ALONE, BIAS, Header, Remote};
use crate::sync::AtomicU32;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

/// The size of a shared chunk, and its alignment. In bytes.
const CHUNK: usize = 32 << 10;
/// So much less is asked for, so that what the allocator puts between two chunks does not push the second one to the next multiple.
const SPARED: usize = 64;
/// What a chunk needs for itself; blocks begin after it.
const HEAD: usize = size_of::<Chunk>().next_multiple_of(64);
/// Sizes are rounded up to multiples of this.
const STEP: usize = 8;
/// Larger blocks are alone.
const LARGEST: usize = 1024;
/// More aligned ones are, too.
const ALIGN: usize = 16;
/// How many empty chunks are kept: 16 MiB.
const KEPT: usize = (16 << 20) / CHUNK;
/// Whether blocks share chunks at all.
const SHARED: bool = cfg!(not(debug_assertions));

const NO_ROOM: usize = usize::MAX;

/// What all blocks of a chunk share.
#[repr(C, align(16))]
pub(super) struct Chunk {
    remote: Arc<Remote>,
    tasks: NonNull<Tasks>,
    /// Of a block, in bytes.
    stride: usize,
    /// How many blocks have ever been used since it was cut.
    fresh: Cell<u32>,
    /// IM2.
    live: AtomicU32,
    /// The first of the free blocks, which are chained through `link`.
    free: Cell<Option<NonNull<Header>>>,
    /// IM4.
    index: Cell<usize>,
    room: Cell<usize>,
}

impl Chunk {
    /// The chunk of a block.
    ///
    /// # Safety
    ///
    /// The block is in use, and `alone` says whether it is alone (IM1).
    #[inline(always)]
    pub(super) unsafe fn of(block: NonNull<Header>, alone: bool) -> NonNull<Self> {
        let head = match alone {
            // SAFETY: IM1: the chunk is right before it.
            true => unsafe { block.as_ptr().byte_sub(HEAD) },
            false => block.as_ptr().map_addr(|address| address & !(CHUNK - 1)),
        };
        // SAFETY: IM1: that is where a chunk begins, and none does at address zero.
        unsafe { NonNull::new_unchecked(head.cast()) }
    }

    #[inline(always)]
    pub(super) fn remote(&self) -> &Arc<Remote> {
        &self.remote
    }

    /// Good while the engine is open.
    #[inline(always)]
    pub(super) fn tasks(&self) -> NonNull<Tasks> {
        self.tasks
    }

    fn slots(&self) -> u32 {
        ((CHUNK - SPARED - HEAD) / self.stride) as u32
    }

    /// On the engine's thread, while it is open: nobody else counts.
    #[inline]
    fn count(&self, change: i32) -> u32 {
        let live = self.live.load(Relaxed).wrapping_add_signed(change);
        self.live.store(live, Relaxed);
        live
    }
}

fn is_alone(block: NonNull<Header>) -> bool {
    // SAFETY: IM7: the callers' blocks are in use; this part of the word never changes.
    unsafe { block.as_ref() }.remote_refs.load(Relaxed) & ALONE != 0
}

/// Where a block that is alone begins in what was allocated for it, and the layout of that.
fn alone(block: Layout) -> (usize, Layout) {
    let start = HEAD.next_multiple_of(block.align());
    let layout = Layout::from_size_align(start + block.size(), block.align().max(align_of::<Chunk>()));
    (start, layout.expect("a future that fits into memory"))
}

fn shared() -> Layout {
    Layout::from_size_align(CHUNK - SPARED, CHUNK).expect("a constant")
}

fn allocate(layout: Layout) -> NonNull<u8> {
    // SAFETY: IM6: neither layout is of size zero, since each has room for a chunk's head.
    NonNull::new(unsafe { alloc(layout) }).unwrap_or_else(|| handle_alloc_error(layout))
}

/// All chunks of an engine.
#[derive(Debug, Default)]
pub(super) struct Memory {
    chunks: Vec<NonNull<Chunk>>,
    /// By the blocks' size in steps, up to the largest that was ever asked for: the chunks that have a block to give.
    rooms: Vec<Vec<NonNull<Chunk>>>,
    empty: Vec<NonNull<Chunk>>,
}

impl Memory {
    /// A block of this layout, for the caller to write a task to, and what its `remote_refs` has to begin with.
    #[inline]
    pub(super) fn take(&mut self, layout: Layout, tasks: NonNull<Tasks>, remote: &Arc<Remote>) -> (NonNull<Header>, u32) {
        let class = layout.size().div_ceil(STEP);
        if !SHARED || class * STEP > LARGEST || layout.align() > ALIGN || remote.is_closed() {
            return (self.take_alone(layout, tasks, remote), ALONE | BIAS);
        }
        let chunk = match self.rooms.get(class).and_then(|room| room.last()) {
            Some(chunk) => *chunk,
            None => self.add_chunk(class, tasks, remote),
        };
        // SAFETY: IM8: it is in a list, so alive.
        let Chunk { stride, fresh, free, room, .. } = unsafe { chunk.as_ref() };
        let block = match free.get() {
            Some(block) => {
                // SAFETY: IM7: a free block's header is there; IM3: its `link` says which is next.
                free.set(unsafe { block.as_ref() }.link.get());
                block
            }
            None => {
                let index = fresh.get();
                fresh.set(index + 1);
                // SAFETY: IM4, IM6: a chunk in `rooms` with no free block has one that is not yet used: within what was allocated.
                unsafe { chunk.byte_add(HEAD + index as usize * stride).cast() }
            }
        };
        // SAFETY: IM8: as above.
        let chunk = unsafe { chunk.as_ref() };
        chunk.count(1);
        if free.get().is_none() && fresh.get() == chunk.slots() {
            self.rooms[class].pop(); // it was the last one of the list
            room.set(NO_ROOM);
        }
        (block, BIAS)
    }

    #[cold]
    fn take_alone(&mut self, layout: Layout, tasks: NonNull<Tasks>, remote: &Arc<Remote>) -> NonNull<Header> {
        let (start, layout) = alone(layout);
        // SAFETY: IM6: within what was allocated.
        let block = unsafe { allocate(layout).byte_add(start) };
        let chunk = block.cast::<Chunk>();
        // SAFETY: IM6: `HEAD` bytes before the block are the chunk's (IM1).
        let chunk = unsafe { chunk.byte_sub(HEAD) };
        self.write_chunk(chunk, 0, tasks, remote.clone());
        // SAFETY: IM6: ours, and written just now.
        let Chunk { fresh, live, room, .. } = unsafe { chunk.as_ref() };
        fresh.set(1);
        live.store(1, Relaxed);
        room.set(NO_ROOM);
        if remote.is_closed() {
            self.chunks.pop(); // it is freed on any thread, and nobody lists it
        }
        block.cast()
    }

    /// A chunk for blocks of this size, first in its list.
    #[cold]
    fn add_chunk(&mut self, class: usize, tasks: NonNull<Tasks>, remote: &Arc<Remote>) -> NonNull<Chunk> {
        let (chunk, remote) = match self.empty.pop() {
            // SAFETY: IM8: an empty chunk is alive. What is read here moves to the head that is written anew below.
            Some(chunk) => (chunk, unsafe { (&raw const (*chunk.as_ptr()).remote).read() }),
            None => (allocate(shared()).cast(), remote.clone()),
        };
        self.write_chunk(chunk, class * STEP, tasks, remote);
        if self.rooms.len() <= class {
            self.rooms.resize_with(class + 1, Vec::new);
        }
        // SAFETY: IM8: in the list of all, where `write_chunk` has just put it.
        unsafe { chunk.as_ref() }.room.set(self.rooms[class].len());
        self.rooms[class].push(chunk);
        chunk
    }

    fn write_chunk(&mut self, chunk: NonNull<Chunk>, stride: usize, tasks: NonNull<Tasks>, remote: Arc<Remote>) {
        let index = Cell::new(self.chunks.len());
        self.chunks.push(chunk);
        let (fresh, free, room) = (Cell::new(0), Cell::new(None), Cell::new(0));
        // SAFETY: IM6: the callers' memory, which has room for a head and is aligned for it.
        unsafe { chunk.write(Chunk { remote, tasks, stride, fresh, live: AtomicU32::new(0), free, index, room }) };
    }

    /// Takes a block back.
    ///
    /// # Safety
    ///
    /// It came from [`Memory::take`] of this memory; its task is over and empty (IT6), and nobody refers to it any more (IT4).
    #[inline]
    pub(super) unsafe fn give(&mut self, block: NonNull<Header>) {
        let is_alone = is_alone(block);
        // SAFETY: IM1: the block is in use until now.
        let place = unsafe { Chunk::of(block, is_alone) };
        // SAFETY: IM2: one of its blocks is in use until now.
        let chunk = unsafe { place.as_ref() };
        let live = chunk.count(-1);
        if is_alone {
            self.unlist(place);
            // SAFETY: IM2, IM8: it had but this block, which is no longer in use, and is in no list any more.
            unsafe { release(place, Some(block)) };
            return;
        }
        // SAFETY: IM7: the block is nobody's any more; its header can still be read.
        let Header { state, link, .. } = unsafe { block.as_ref() };
        state.set_free();
        link.set(chunk.free.replace(Some(block)));
        let room = &mut self.rooms[chunk.stride / STEP];
        if chunk.room.get() == NO_ROOM {
            chunk.room.set(room.len());
            room.push(place);
        } else if live == 0 && room.len() > 1 {
            self.retire(place);
        }
    }

    /// A chunk has become empty, and there is another one of its size with room.
    #[cold]
    fn retire(&mut self, place: NonNull<Chunk>) {
        // SAFETY: IM8: in the lists, so alive.
        let chunk = unsafe { place.as_ref() };
        let room = &mut self.rooms[chunk.stride / STEP];
        room.swap_remove(chunk.room.get());
        if let Some(moved) = room.get(chunk.room.get()) {
            // SAFETY: IM8: as above.
            unsafe { moved.as_ref() }.room.set(chunk.room.get());
        }
        self.unlist(place);
        if self.empty.len() < KEPT {
            self.empty.push(place); // IM5
        } else {
            // SAFETY: IM2, IM8: no block of it is in use, and it is in no list any more.
            unsafe { release(place, None) };
        }
    }

    fn unlist(&mut self, place: NonNull<Chunk>) {
        // SAFETY: IM8: in the list, so alive.
        let index = unsafe { place.as_ref() }.index.get();
        self.chunks.swap_remove(index);
        if self.chunks.capacity() > KEPT && self.chunks.len() < self.chunks.capacity() / 4 {
            self.chunks.shrink_to(self.chunks.capacity() / 2);
        }
        if let Some(moved) = self.chunks.get(index) {
            // SAFETY: IM8: as above.
            unsafe { moved.as_ref() }.index.set(index);
        }
    }

    /// Whether this holds for one of the blocks in use. It must neither take nor give any.
    pub(super) fn any(&self, mut is_it: impl FnMut(NonNull<Header>) -> bool) -> bool {
        // SAFETY: IM8: each chunk of the list is alive; IK1: this is the engine's thread.
        self.chunks.iter().any(|&chunk| unsafe { blocks(chunk) }.any(&mut is_it))
    }

    /// The engine has closed: calls this with each block in use; what is still in use afterwards goes with its last block.
    ///
    /// # Safety
    ///
    /// `detach` gives each block up to whoever counts in `remote_refs` (IT5), or to [`free_closed`].
    pub(super) unsafe fn close(mut self, mut detach: impl FnMut(NonNull<Header>)) {
        for place in self.chunks.drain(..) {
            // SAFETY: IM8: it was in the list, so it is alive. IM2: held by one more while its blocks are given up, each of which other threads may then free.
            let live = unsafe { &place.as_ref().live };
            live.fetch_add(1, Relaxed);
            // SAFETY: IM2: as above; IK1: this is the engine's thread.
            unsafe { blocks(place) }.for_each(&mut detach);
            // SAFETY: IM2: the one more is given back.
            unsafe { let_go(place) };
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // Chunks with blocks in use are those of an engine that was forgotten.
        for place in self.empty.drain(..) {
            // SAFETY: IM8: empty, and in no list any more.
            unsafe { release(place, None) };
        }
    }
}

/// The blocks of a chunk that are in use.
///
/// # Safety
///
/// The chunk is alive while the iterator is used (IM2, IM8), and this is the engine's thread; no block is taken or given meanwhile, except that other
/// threads may free one that the iterator has given.
unsafe fn blocks(place: NonNull<Chunk>) -> impl Iterator<Item = NonNull<Header>> {
    // SAFETY: caller: it is alive.
    let Chunk { stride, fresh, .. } = unsafe { place.as_ref() };
    let all = (0..fresh.get() as usize).map(move |index| {
        // SAFETY: IM6: within the chunk; of a block that is alone there is one.
        unsafe { place.byte_add(HEAD + index * stride).cast::<Header>() }
    });
    // SAFETY: IM7: a block that was ever used has a header.
    all.filter(|block| unsafe { block.as_ref() }.state.phase() != Phase::Free)
}

/// The engine has closed: frees a block, on any thread.
///
/// # Safety
///
/// IT5 holds of it: nobody refers to it any more.
pub(super) unsafe fn free_closed(block: NonNull<Header>) {
    // SAFETY: IM1, IM2: the block is in use until now, and is one of those that are counted.
    unsafe { let_go(Chunk::of(block, is_alone(block))) };
}

/// # Safety
///
/// The engine has closed, and the caller gives up one of those that `live` counts (IM2).
unsafe fn let_go(place: NonNull<Chunk>) {
    // SAFETY: IM2: the caller's one keeps it alive.
    let Chunk { live, stride, .. } = unsafe { place.as_ref() };
    if live.fetch_sub(1, AcqRel) == 1 {
        let _ = live.load(Acquire);
        // SAFETY: IM1: the block of a chunk that has no stride is alone, right after it.
        let alone = (*stride == 0).then(|| unsafe { place.byte_add(HEAD).cast() });
        // SAFETY: IM2: no block is in use; IM8: the engine has closed, so it is in no list.
        unsafe { release(place, alone) };
    }
}

/// Gives a chunk back to the allocator.
///
/// # Safety
///
/// None of its blocks is in use (IM2), and it is in no list (IM8); `alone_block` is its block, if it has but one.
unsafe fn release(place: NonNull<Chunk>, alone_block: Option<NonNull<Header>>) {
    // SAFETY: caller: none of it is in use; IM7: a block's header can be read until the memory is given back; IM6: the layouts are those of `take`.
    unsafe {
        let (base, layout) = match alone_block {
            Some(block) => {
                let (start, layout) = alone(block.as_ref().vtable.layout);
                (block.cast::<u8>().byte_sub(start), layout)
            }
            None => (place.cast(), shared()),
        };
        place.drop_in_place();
        dealloc(base.as_ptr(), layout);
    }
}
