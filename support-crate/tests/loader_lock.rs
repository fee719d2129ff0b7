//! An allocator may have a lock of its own, and hold it while it asks the loader something: a profiler of the heap takes a backtrace. So a probe must not ask for
//! memory while it holds the loader's lock. The allocator is for the whole program, so this is a file of its own.
#![cfg(all(target_os = "linux", feature = "probes", not(miri)))]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    ffi::{c_int, c_void},
    hint,
    ptr::null_mut,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

thread_local! {
    static WATCHED: Cell<bool> = const { Cell::new(false) };
}

/// How often the loader's lock was asked for, and how often another thread has had it since.
static ASKED: AtomicUsize = AtomicUsize::new(0);
static HAD: AtomicUsize = AtomicUsize::new(0);
/// Longer than any other thread has it.
const LIMIT: Duration = Duration::from_secs(10);

extern "C" fn nothing(_: *mut libc::dl_phdr_info, _: usize, _: *mut c_void) -> c_int {
    1
}

/// The watched thread waits until another one has had the loader's lock: for ever, if it holds that itself.
fn check() {
    if !WATCHED.try_with(Cell::get).unwrap_or(false) {
        return;
    }
    let (ask, start) = (ASKED.fetch_add(1, SeqCst) + 1, Instant::now());
    while HAD.load(SeqCst) < ask {
        if start.elapsed() > LIMIT {
            WATCHED.set(false); // seen below
            return;
        }
        thread::yield_now();
    }
}

struct Locking;

// SAFETY: all is left to the system's allocator; what is done beside asks for no memory and does not unwind.
unsafe impl GlobalAlloc for Locking {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        check();
        // SAFETY: as this function's caller vouches.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        check();
        // SAFETY: as this function's caller vouches.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static LOCKING: Locking = Locking;

#[test]
fn no_probe_asks_for_memory_under_the_loaders_lock() {
    thread::spawn(|| {
        loop {
            let asked = ASKED.load(SeqCst);
            if HAD.load(SeqCst) < asked {
                // SAFETY: the function that is called does nothing.
                unsafe { libc::dl_iterate_phdr(Some(nothing), null_mut()) };
                HAD.store(asked, SeqCst);
            }
            hint::spin_loop();
        }
    });
    WATCHED.set(true);
    let region = pinlab::probe::address_of(&LIMIT).region();
    let xray = pinlab::probe::XRay::of(&1);
    let free = WATCHED.replace(false);
    assert!(ASKED.load(SeqCst) > 0, "there was nothing to see");
    assert!(free, "another thread never had the loader's lock");
    assert_eq!((region, xray.size()), (pinlab::probe::Region::Static, 4));
}
