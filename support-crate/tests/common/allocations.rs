//! An allocator that counts, by thread, what it gave and what it got back: other tests on other threads do not disturb.
//! What it gets back it overwrites, so that a use after that does not go unnoticed.
#![allow(dead_code)] // not every test file uses all of this

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicIsize, Ordering::Relaxed};

struct Counting;

thread_local! {
    static BYTES: Cell<isize> = const { Cell::new(0) };
    static BLOCKS: Cell<isize> = const { Cell::new(0) };
}

thread_local! {
    /// What the next allocation of this thread does beside.
    static NEXT: Cell<Option<fn()>> = const { Cell::new(None) };
}

/// At its next allocation this thread does that, as an allocator may that tells somebody how much is left.
pub(crate) fn at_the_next(what: fn()) {
    NEXT.set(Some(what));
}

fn next() {
    if let Ok(Some(what)) = NEXT.try_with(Cell::take) {
        what();
    }
}

/// What all threads hold.
static ALL: (AtomicIsize, AtomicIsize) = (AtomicIsize::new(0), AtomicIsize::new(0));

fn count(bytes: isize, blocks: isize) {
    if cfg!(miri) {
        return; // it finds by itself what leaks, and is slow enough
    }
    ALL.0.fetch_add(bytes, Relaxed);
    ALL.1.fetch_add(blocks, Relaxed);
    // At a thread's end there is nowhere to count any more.
    let _ = BYTES.try_with(|all| all.set(all.get() + bytes));
    let _ = BLOCKS.try_with(|all| all.set(all.get() + blocks));
}

// SAFETY: all is left to the system's allocator; counting allocates nothing (the thread-locals need neither memory nor a destructor), and what is done
// beside does not unwind.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        next();
        count(layout.size() as isize, 1);
        // SAFETY: as this function's caller vouches.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize), -1);
        // SAFETY: as this function's caller vouches: the block is still ours, and nobody reads it any more.
        unsafe {
            at.write_bytes(0xDD, layout.size());
            System.dealloc(at, layout);
        }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        next();
        count(size as isize - layout.size() as isize, 0);
        // SAFETY: as this function's caller vouches.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Bytes and blocks that this thread holds, counted from its start.
pub(crate) fn held() -> (isize, isize) {
    (BYTES.get(), BLOCKS.get())
}

/// Bytes and blocks that all threads together hold, counted from the start.
pub(crate) fn held_by_all() -> (isize, isize) {
    (ALL.0.load(Relaxed), ALL.1.load(Relaxed))
}

/// What is held more after this than before: (bytes, blocks). Run once beforehand, for what is set up at the first use.
pub(crate) fn leaked(test: impl Fn()) -> (isize, isize) {
    test();
    let before = held();
    test();
    let after = held();
    (after.0 - before.0, after.1 - before.1)
}
