//! An allocator may park its thread, for a lock of its own; std allows it. So it may take what a wake has left for that thread to find, and no wake may be lost by it.
//! It is for the whole program, so this is a file of its own.
#![cfg(not(miri))] // it is about times

mod common;

use common::{SOON, runtime, within};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::sync::{Once, mpsc};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

struct Parking;

thread_local! {
    /// After so many allocations of this thread the next one parks.
    static LEFT: Cell<Option<u32>> = const { Cell::new(None) };
}

/// How long it parks, and when in that time the wake comes.
const PARKS: Duration = Duration::from_millis(60);
const WAKES: Duration = Duration::from_millis(20);

fn park() {
    let Ok(Some(left)) = LEFT.try_with(Cell::get) else { return };
    let _ = LEFT.try_with(|all| all.set(left.checked_sub(1)));
    if left == 0 {
        let start = Instant::now();
        while start.elapsed() < PARKS {
            thread::park_timeout(PARKS.saturating_sub(start.elapsed()));
        }
    }
}

// SAFETY: all is left to the system's allocator; what is done beside asks for no memory and does not unwind.
unsafe impl GlobalAlloc for Parking {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        park();
        // SAFETY: as this function's caller vouches.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as this function's caller vouches.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static PARKING: Parking = Parking;

/// Waits once, and is woken by another thread while the allocation after so many parks.
fn waits(allocations: u32) -> impl Future<Output = ()> {
    let mut is_woken = false;
    poll_fn(move |cx| {
        if std::mem::replace(&mut is_woken, true) {
            LEFT.set(None);
            return Poll::Ready(());
        }
        let waker = cx.waker().clone();
        let (go, gone) = mpsc::channel();
        thread::spawn(move || {
            let _ = gone.recv();
            thread::sleep(WAKES);
            waker.wake();
        });
        go.send(()).expect("it listens");
        LEFT.set(Some(allocations));
        Poll::Pending
    })
}

/// The free `block_on` writes a note soon: that asks for memory.
fn notes_soon() {
    static ONCE: Once = Once::new();
    // SAFETY: both tests come here before anything else looks at the environment, and one of them waits for the other.
    ONCE.call_once(|| unsafe { std::env::set_var("PINLAB_NOTE_AFTER", "0.01") });
}

#[test]
fn a_wake_that_an_allocator_has_taken_while_a_runtime_falls_asleep_is_not_lost() {
    notes_soon();
    for allocations in 0..20 {
        within(SOON, move || {
            let rt = runtime();
            rt.note_after(None);
            rt.record(); // so that there is something to ask memory for
            rt.block_on(waits(allocations));
        });
    }
}

#[test]
fn a_wake_that_an_allocator_has_taken_while_block_on_falls_asleep_is_not_lost() {
    notes_soon();
    for allocations in 0..20 {
        within(SOON, move || pinlab::block_on(waits(allocations)));
    }
}
