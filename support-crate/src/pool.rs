//! Memory of tasks that have ended, kept for those to come.
//!
//! Spawning is one allocation and ending is one release, and with a general allocator the two cost more than all the rest of a short task's
//! life. An engine's tasks come in few sizes and live on one thread, so a shelf of blocks for each size does the same in a few steps.
//!
//! Invariants
//!
//! * **P1** A block on the shelf for `n` steps was allocated with the layout of `n` steps, and nobody else points to it.
//! * **P2** All shelves together hold at most [`MOST_BYTES`]; what is more goes back to the allocator at once.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;

/// Sizes are rounded up to multiples of this, which is also the alignment of every block. In bytes.
const STEP: usize = 8;
/// Blocks of more steps than this are not kept.
const MOST_STEPS: usize = 64;
/// How much is kept, in bytes. Nothing in debug builds: there, tools that watch the allocator are to see each task end.
const MOST_BYTES: usize = if cfg!(debug_assertions) { 0 } else { 16 << 20 };

#[derive(Debug)]
pub(crate) struct Pool {
    shelves: [Vec<NonNull<u8>>; MOST_STEPS + 1],
    kept: usize,
}

/// The layout of a block that serves for this one.
fn rounded(layout: Layout) -> Layout {
    match steps(layout) {
        Some(steps) => Layout::from_size_align(steps * STEP, STEP).expect("a few steps make a layout"),
        None => layout,
    }
}

/// On which shelf this layout is found; `None` if on no shelf.
#[inline]
fn steps(layout: Layout) -> Option<usize> {
    let steps = layout.size().div_ceil(STEP);
    (layout.align() <= STEP && (1..=MOST_STEPS).contains(&steps)).then_some(steps)
}

impl Default for Pool {
    fn default() -> Self {
        Self { shelves: [const { Vec::new() }; MOST_STEPS + 1], kept: 0 }
    }
}

impl Pool {
    /// A block for this layout, uninitialised.
    #[inline]
    pub(crate) fn take(&mut self, layout: Layout) -> NonNull<u8> {
        if let Some(steps) = steps(layout)
            && let Some(block) = self.shelves[steps].pop()
        {
            self.kept -= steps * STEP;
            return block;
        }
        let layout = rounded(layout);
        // SAFETY: no task is of size zero: each has a header.
        NonNull::new(unsafe { alloc(layout) }).unwrap_or_else(|| handle_alloc_error(layout))
    }

    /// Takes a block back.
    ///
    /// # Safety
    ///
    /// It came from [`Pool::take`], of any pool, with this layout, and nobody uses it any more.
    #[inline]
    pub(crate) unsafe fn give(&mut self, block: NonNull<u8>, layout: Layout) {
        match steps(layout) {
            Some(steps) if steps * STEP <= MOST_BYTES.saturating_sub(self.kept) => {
                self.kept += steps * STEP; // P2
                self.shelves[steps].push(block); // P1
            }
            // SAFETY: the caller's.
            _ => unsafe { release(block, layout) },
        }
    }
}

/// Gives a block back to the allocator, on any thread.
///
/// # Safety
///
/// As [`Pool::give`].
pub(crate) unsafe fn release(block: NonNull<u8>, layout: Layout) {
    // SAFETY: `take` allocated it with the rounded layout.
    unsafe { dealloc(block.as_ptr(), rounded(layout)) };
}

impl Drop for Pool {
    fn drop(&mut self) {
        for (steps, shelf) in self.shelves.iter_mut().enumerate() {
            for block in shelf.drain(..) {
                let layout = Layout::from_size_align(steps * STEP, STEP).expect("a few steps make a layout");
                // SAFETY: P1.
                unsafe { release(block, layout) };
            }
        }
    }
}
