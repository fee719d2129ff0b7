//! Reading memory that Rust's types say nothing about: padding, places that were moved out of, a stranger's pointee.
//!
//! Invariants:
//! 1. `snapshot` reads only memory that its caller vouches for: it is allocated and mapped. The load is made in assembly (x86-64 and AArch64 with
//!    pointers of 64 bits: it uses whole registers) or by the kernel (elsewhere): padding and moved-out bytes are uninitialised to the compiler, and a
//!    typed read of them as integers would be undefined behaviour. What an assembly load returns is some fixed byte. By the letter of the models a read of what somebody
//!    has borrowed exclusively, or writes at the same time, is not allowed to Rust code, nor so to assembly that stands for some. It is made all the same, as a
//!    debugger makes it: its bytes are shown, and nothing else ever depends on them.
//! 2. `peek` may be handed any address. Only the kernel touches it, and an address that is not mapped is an error code
//!    and not a crash.

/// Copies `len` bytes out of memory as they are at this moment.
///
/// Another thread that writes them meanwhile may be seen half-way.
///
/// # Safety
/// `from .. from + len` must be allocated and mapped for the whole call (invariant 1). It need not be initialised.
pub(crate) unsafe fn snapshot(from: *const u8, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len);
    // SAFETY: invariant 1: the caller vouches for the source, the vector has room for `len` bytes, and the load has
    // written every one of them when it returns. A fresh allocation does not overlap a live one.
    unsafe {
        load(from, bytes.as_mut_ptr(), len);
        bytes.set_len(len);
    }
    bytes
}

/// # Safety
/// As of `snapshot` (invariant 1); and `to .. to + len` is the caller's to write to.
#[cfg(all(target_arch = "x86_64", target_pointer_width = "64", not(miri)))]
unsafe fn load(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: invariant 1: `rep movsb` copies exactly `rcx` bytes upwards (the direction flag is clear by the calling convention);
    // the caller vouches for both ranges. To the compiler the block may have written any bytes: they are initialised.
    unsafe {
        std::arch::asm!(
            "rep movsb",
            inout("rcx") len => _, inout("rsi") from => _, inout("rdi") to => _,
            options(nostack, preserves_flags)
        );
    }
}

/// # Safety
/// As of `snapshot` (invariant 1); and `to .. to + len` is the caller's to write to.
#[cfg(all(target_arch = "aarch64", target_pointer_width = "64", not(miri)))]
unsafe fn load(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: invariant 1: the loop copies exactly `len` bytes upwards; the caller vouches for both ranges. To the compiler the
    // block may have written any bytes: they are initialised.
    unsafe {
        std::arch::asm!(
            "cbz {left}, 3f",
            "2:",
            "ldrb {byte:w}, [{from}], #1",
            "strb {byte:w}, [{to}], #1",
            "subs {left}, {left}, #1",
            "b.ne 2b",
            "3:",
            left = inout(reg) len => _, from = inout(reg) from => _, to = inout(reg) to => _, byte = out(reg) _,
            options(nostack)
        );
    }
}

/// # Safety
/// As of `snapshot` (invariant 1); and `to .. to + len` is the caller's to write to.
#[cfg(all(unix, not(miri), not(all(any(target_arch = "x86_64", target_arch = "aarch64"), target_pointer_width = "64"))))]
unsafe fn load(from: *const u8, to: *mut u8, len: usize) {
    for start in (0..len).step_by(PEEK) {
        let bytes = peek(from.addr() + start, PEEK.min(len - start)).expect("the kernel reads a live value");
        // SAFETY: caller: it vouches for `to .. to + len`; `start + bytes.len()` does not exceed `len`.
        unsafe { to.add(start).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }
}

/// Miri knows which bytes are not initialised, and lets nobody look at them: there they are all zero.
///
/// # Safety
/// As of `snapshot` (invariant 1); and `to .. to + len` is the caller's to write to.
#[cfg(miri)]
unsafe fn load(_: *const u8, to: *mut u8, len: usize) {
    // SAFETY: caller: the range is its own.
    unsafe { to.write_bytes(0, len) };
}

#[cfg(not(any(unix, all(any(target_arch = "x86_64", target_arch = "aarch64"), target_pointer_width = "64"))))]
compile_error!("pinlab reads live bytes by an assembly load and has none for this processor: add one to probe/memory.rs");

/// The most that one `peek` returns: POSIX promises that a pipe takes this much in one piece.
pub(crate) const PEEK: usize = 512;

/// Reads up to [`PEEK`] bytes at any address at all; `None` when they are not all readable.
#[cfg(unix)]
pub(crate) fn peek(address: usize, len: usize) -> Option<Vec<u8>> {
    use std::{io::Read, os::fd::AsRawFd};
    let (mut reader, writer) = std::io::pipe().ok()?;
    let mut bytes = vec![0; len.min(PEEK)];
    // SAFETY: invariant 2: `write` takes the address as a number, copies in the kernel and answers EFAULT when a byte
    // cannot be read. The descriptor is open, and the empty pipe holds PEEK bytes, so the call does not block.
    let written = unsafe { libc::write(writer.as_raw_fd(), std::ptr::without_provenance(address), bytes.len()) };
    if usize::try_from(written) != Ok(bytes.len()) {
        return None;
    }
    reader.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

/// Reads up to [`PEEK`] bytes at any address at all; `None` when they are not all readable.
#[cfg(windows)]
pub(crate) fn peek(address: usize, len: usize) -> Option<Vec<u8>> {
    use windows_sys::Win32::System::{Diagnostics::Debug::ReadProcessMemory, Threading::GetCurrentProcess};
    let mut bytes = vec![0; len.min(PEEK)];
    let mut read = 0;
    // SAFETY: invariant 2: the kernel copies, and answers 0 when a byte cannot be read; `bytes` has room for them all.
    let ok = unsafe {
        let from = std::ptr::without_provenance(address);
        ReadProcessMemory(GetCurrentProcess(), from, bytes.as_mut_ptr().cast(), bytes.len(), &mut read)
    };
    (ok != 0 && read == bytes.len()).then_some(bytes)
}

#[cfg(not(any(unix, windows)))]
pub(crate) fn peek(_address: usize, _len: usize) -> Option<Vec<u8>> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peek_reads_what_is_there_and_refuses_what_is_not() {
        let text = "some text";
        assert_eq!(peek(text.as_ptr().addr(), 4).as_deref(), Some(&b"some"[..]));
        assert_eq!(peek(0x10, 4), None);
        assert_eq!(peek(usize::MAX - 2, 8), None);
    }

    #[test]
    fn a_snapshot_is_byte_for_byte() {
        let bytes: Vec<u8> = (0..=255).cycle().take(100_003).collect();
        // SAFETY: invariant 1: the vector is alive.
        let copy = unsafe { snapshot(bytes[1..].as_ptr(), bytes.len() - 1) };
        assert_eq!(copy, bytes[1..]);
        // SAFETY: invariant 1: nothing is read.
        assert_eq!(unsafe { snapshot(std::ptr::without_provenance(1), 0) }, []);
    }
}
