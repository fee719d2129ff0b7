//! The few things that two threads share, in one place, so that a model checker can stand in for them.
//!
//! Built with `--cfg pinlab_loom`, the same engine runs on [loom](https://docs.rs/loom), which tries every
//! interleaving of these operations: see `sync/models.rs`, which says how.

#[cfg(all(test, pinlab_loom))]
mod models;

#[cfg(not(pinlab_loom))]
pub(crate) use std::{
    sync::{
        Mutex,
        atomic::{AtomicU8, AtomicU32, AtomicUsize},
    },
    thread,
};

#[cfg(pinlab_loom)]
pub(crate) use loom::{
    sync::{
        Mutex,
        atomic::{AtomicU8, AtomicU32, AtomicUsize},
    },
    thread,
};

#[cfg(not(pinlab_loom))]
pub(crate) fn park_timeout(timeout: std::time::Duration) {
    thread::park_timeout(timeout);
}

/// Loom knows no time.
#[cfg(pinlab_loom)]
pub(crate) fn park_timeout(_: std::time::Duration) {
    thread::yield_now();
}

/// A number that no other living thread has: what tells the owner of an engine from everybody else.
///
/// It comes from the operating system and not from a thread-local of this crate: in a notebook each cell has
/// a copy of the crate's thread-locals, but all cells run on one thread of the system. It is never zero.
///
/// The number of a thread that has ended may be given to a new one. That is harmless: an engine does not leave its thread, so one whose
/// thread has ended is closed, or was forgotten and is driven by nobody; and no two living threads ever take themselves for its owner.
#[cfg(all(
    unix,
    not(pinlab_loom),
    any(miri, not(all(target_os = "linux", target_arch = "x86_64", target_pointer_width = "64")))
))]
#[inline(always)]
pub(crate) fn thread_token() -> usize {
    // SAFETY: FFI: `pthread_self` has no preconditions.
    let number = unsafe { libc::pthread_self() } as usize;
    number.wrapping_add(1) // where threads are numbered, the first one may be zero; where they are pointers, none is the last address
}

/// The same without a call: the x86-64 ABI has a thread's control block begin with its own address.
#[cfg(all(not(pinlab_loom), not(miri), target_os = "linux", target_arch = "x86_64", target_pointer_width = "64"))]
#[inline(always)]
pub(crate) fn thread_token() -> usize {
    let token;
    // SAFETY: FFI: reads one word that every thread of a Linux program has ("ELF Handling For Thread-Local Storage", section 3.4.6).
    unsafe { std::arch::asm!("mov {}, fs:0", out(reg) token, options(nostack, readonly, preserves_flags)) };
    token
}

#[cfg(all(windows, not(pinlab_loom)))]
pub(crate) fn thread_token() -> usize {
    #[link(name = "kernel32")]
    // SAFETY: FFI: this is its signature in "Win32 API, processthreadsapi.h"; it has no preconditions. No identifier is zero.
    unsafe extern "system" {
        safe fn GetCurrentThreadId() -> u32;
    }
    GetCurrentThreadId() as usize
}

/// The same for a model checker, whose threads are of its own making, and few.
#[cfg(pinlab_loom)]
pub(crate) fn thread_token() -> usize {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    thread::current().id().hash(&mut hasher);
    (hasher.finish() as usize).max(1)
}
