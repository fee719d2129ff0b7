//! What does it cost? Allocations, counted while a piece of code runs.
//!
//! Invariants:
//! 1. The allocator counts and does nothing else: all memory is the system's, so what was allocated with it may be freed
//!    without it and the other way round. In a notebook that happens all the time, since each cell has its own.
//! 2. Counters are the thread's own: another thread's allocations are not counted in.
//!
//! What is counted is what asks *this* program or library for memory: its own code and everything generic that is compiled into it, `Box`,
//! `Vec` and futures included. A cell of a notebook is a library that shares the ready-compiled part of the standard library, and what that part
//! allocates for itself (for a thread, a file, `str::to_uppercase`) goes past a cell's allocator. In a program it does not.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    fmt,
    hint::black_box,
};

thread_local! {
    static COUNTED: Cell<Allocations> = const { Cell::new(Allocations { count: 0, bytes: 0, freed: 0 }) };
}

/// The system's allocator, with a counter in front.
///
/// ```
/// use pinlab::probe::{CountingAllocator, count_allocations};
///
/// #[global_allocator]
/// static ALLOCATOR: CountingAllocator = CountingAllocator;
///
/// let cost = count_allocations(|| Box::new([0u8; 100]));
/// assert_eq!((cost.count(), cost.bytes()), (1, 100));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct CountingAllocator;

// SAFETY: every call goes to `System` as it is (invariant 1). Counting neither allocates nor unwinds: the counter is a
// constant-initialised `Cell` without a destructor, and wraps where it is full.
unsafe impl GlobalAlloc for CountingAllocator {
    // SAFETY: caller: what `GlobalAlloc::alloc` asks for.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(|a| Allocations { count: a.count.wrapping_add(1), bytes: a.bytes.wrapping_add(layout.size()), ..a });
        // SAFETY: caller: the promises are passed on.
        unsafe { System.alloc(layout) }
    }

    // SAFETY: caller: what `GlobalAlloc::alloc_zeroed` asks for.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(|a| Allocations { count: a.count.wrapping_add(1), bytes: a.bytes.wrapping_add(layout.size()), ..a });
        // SAFETY: caller: the promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    // SAFETY: caller: what `GlobalAlloc::realloc` asks for.
    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(|a| Allocations {
            count: a.count.wrapping_add(1),
            bytes: a.bytes.wrapping_add(size),
            freed: a.freed.wrapping_add(1),
        });
        // SAFETY: caller: the promises are passed on.
        unsafe { System.realloc(old, layout, size) }
    }

    // SAFETY: caller: what `GlobalAlloc::dealloc` asks for.
    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        note(|a| Allocations { freed: a.freed.wrapping_add(1), ..a });
        // SAFETY: caller: the promises are passed on.
        unsafe { System.dealloc(old, layout) }
    }
}

fn note(change: impl FnOnce(Allocations) -> Allocations) {
    COUNTED.set(change(COUNTED.get()));
}

/// What a piece of code asked the allocator for; made by [`count_allocations`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allocations {
    count: usize,
    bytes: usize,
    freed: usize,
}

impl Allocations {
    /// How often memory was asked for; growing a piece of memory counts as asking for another.
    pub fn count(self) -> usize {
        self.count
    }

    /// How many bytes were asked for, all told.
    pub fn bytes(self) -> usize {
        self.bytes
    }

    /// How often memory was given back.
    pub fn freed(self) -> usize {
        self.freed
    }
}

impl fmt::Display for Allocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = |n: usize| if n == 1 { "" } else { "s" };
        let Self { count, bytes, .. } = *self;
        f.pad(&match count {
            0 => "no allocation".to_owned(),
            _ => format!("{count} allocation{}, {bytes} byte{}", s(count), s(bytes)),
        })
    }
}

/// Counts the allocations of this thread while `work` runs. Its result is dropped after the count.
///
/// The optimiser may remove an allocation that nobody looks at: then none was made, and none is counted. The result of `work`
/// counts as looked at.
///
/// # Panics
/// When the program, or the cell, has no [`CountingAllocator`].
#[track_caller]
pub fn count_allocations<R>(work: impl FnOnce() -> R) -> Allocations {
    let empty = COUNTED.get();
    drop(black_box(Box::new(0_u8)));
    let before = COUNTED.get();
    assert!(
        before != empty,
        "nobody counts here: declare `#[global_allocator] static ALLOCATOR: CountingAllocator = CountingAllocator;` first"
    );
    let result = black_box(work());
    let after = COUNTED.get();
    drop(result);
    // The counters are of all that the thread has ever asked for, also in vain: they may have passed their end, and begun anew.
    Allocations {
        count: after.count.wrapping_sub(before.count),
        bytes: after.bytes.wrapping_sub(before.bytes),
        freed: after.freed.wrapping_sub(before.freed),
    }
}
