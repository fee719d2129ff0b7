//! Reading memory that Rust's types say nothing about: padding, places that were moved out of, a stranger's pointee.
//!
//! Invariants:
//! 1. `snapshot` reads only memory that its caller vouches for. The load is made in assembly (x86-64, AArch64) or by
//!    the kernel (elsewhere): padding and moved-out bytes are uninitialised to the compiler, and a typed read of
//!    them as integers would be undefined behaviour. What an assembly load returns is some fixed byte.
//! 2. `peek` may be handed any address. Only the kernel touches it, and an address that is not mapped is an error code
//!    and not a crash.
//! 3. A `Map` is a picture of one moment. Mappings change; nothing is decided by an old map, only shown.

use super::Region;

/// Copies `len` bytes out of memory as they are at this moment.
///
/// Another thread that writes them meanwhile may be seen half-way.
///
/// # Safety
/// `from .. from + len` must be allocated and mapped for the whole call. It need not be initialised.
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

#[cfg(target_arch = "x86_64")]
unsafe fn load(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: `rep movsb` copies exactly `rcx` bytes upwards (the direction flag is clear by the calling convention);
    // the caller vouches for both ranges. To the compiler the block may have written any bytes: they are initialised.
    unsafe {
        std::arch::asm!(
            "rep movsb",
            inout("rcx") len => _, inout("rsi") from => _, inout("rdi") to => _,
            options(nostack, preserves_flags)
        );
    }
}

#[cfg(target_arch = "aarch64")]
unsafe fn load(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: the loop copies exactly `len` bytes upwards; the caller vouches for both ranges. To the compiler the
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

#[cfg(all(unix, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
unsafe fn load(from: *const u8, to: *mut u8, len: usize) {
    for start in (0..len).step_by(PEEK) {
        let bytes = peek(from.addr() + start, PEEK.min(len - start)).expect("the kernel reads a live value");
        // SAFETY: the caller vouches for `to .. to + len`; `start + bytes.len()` does not exceed `len`.
        unsafe { to.add(start).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }
}

#[cfg(not(any(unix, target_arch = "x86_64", target_arch = "aarch64")))]
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
    #[link(name = "kernel32")]
    unsafe extern "system" {
        fn GetCurrentProcess() -> isize;
        fn ReadProcessMemory(process: isize, from: usize, to: *mut u8, len: usize, read: *mut usize) -> i32;
    }
    let mut bytes = vec![0; len.min(PEEK)];
    let mut read = 0;
    // SAFETY: invariant 2: the kernel copies, and answers 0 when a byte cannot be read; `bytes` has room for them all.
    let ok = unsafe { ReadProcessMemory(GetCurrentProcess(), address, bytes.as_mut_ptr(), bytes.len(), &mut read) };
    (ok != 0 && read == bytes.len()).then_some(bytes)
}

#[cfg(not(any(unix, windows)))]
pub(crate) fn peek(_address: usize, _len: usize) -> Option<Vec<u8>> {
    None
}

/// Which part of the address space is what, at one moment (invariant 3). The most exact source is asked first.
#[derive(Debug, Clone)]
pub(crate) struct Map {
    /// The calling thread's stack.
    stack: Option<(usize, usize)>,
    /// The segments of the program and of every loaded library, by address.
    segments: Vec<Span>,
    /// All mappings, by address.
    mappings: Vec<Span>,
}

/// From an address up to, and not including, another.
type Span = (usize, usize, Region);

impl Map {
    /// Asks the operating system how this process's memory is laid out.
    pub(crate) fn now() -> Self {
        #[cfg(target_os = "linux")]
        let (mut segments, mut mappings) = (linux::segments(), linux::mappings());
        #[cfg(not(target_os = "linux"))]
        let (mut segments, mut mappings) = (Vec::new(), Vec::new());
        for spans in [&mut segments, &mut mappings] {
            spans.sort_by_key(|&(start, end, _): &Span| (start, end));
        }
        Self { stack: own_stack(), segments, mappings }
    }

    /// What the memory at `address` is for.
    pub(crate) fn region(&self, address: usize) -> Region {
        if self.stack.is_some_and(|(low, high)| (low..high).contains(&address)) {
            return Region::Stack;
        }
        // Neither segments nor mappings overlap among themselves, so only the last that starts below can reach so far.
        let find = |spans: &[Span]| {
            let &(_, end, region) = spans[..spans.partition_point(|&(start, ..)| start <= address)].last()?;
            (address < end).then_some(region)
        };
        find(&self.segments).or_else(|| find(&self.mappings)).unwrap_or(Region::Unknown)
    }
}

/// The bounds of the calling thread's stack, as the thread library knows them.
#[cfg(target_os = "linux")]
fn own_stack() -> Option<(usize, usize)> {
    let mut attributes = std::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
    let (mut low, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: `pthread_getattr_np` initialises the attributes when it answers 0; they are read, then destroyed once.
    let found = unsafe {
        libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) == 0 && {
            let found = libc::pthread_attr_getstack(attributes.as_ptr(), &mut low, &mut size) == 0;
            libc::pthread_attr_destroy(attributes.as_mut_ptr());
            found
        }
    };
    found.then(|| (low.addr(), low.addr() + size))
}

/// The bounds of the calling thread's stack, as the thread library knows them.
#[cfg(target_vendor = "apple")]
fn own_stack() -> Option<(usize, usize)> {
    // SAFETY: both calls only read what the thread library keeps about the calling thread, which is alive.
    let (high, size) = unsafe {
        let me = libc::pthread_self();
        (libc::pthread_get_stackaddr_np(me).addr(), libc::pthread_get_stacksize_np(me))
    };
    Some((high.checked_sub(size)?, high))
}

/// The bounds of the calling thread's stack, as the kernel knows them.
#[cfg(windows)]
fn own_stack() -> Option<(usize, usize)> {
    #[link(name = "kernel32")]
    unsafe extern "system" {
        fn GetCurrentThreadStackLimits(low: *mut usize, high: *mut usize);
    }
    let (mut low, mut high) = (0, 0);
    // SAFETY: the call writes two pointer-sized words into the two locals.
    unsafe { GetCurrentThreadStackLimits(&mut low, &mut high) };
    Some((low, high))
}

#[cfg(not(any(target_os = "linux", target_vendor = "apple", windows)))]
fn own_stack() -> Option<(usize, usize)> {
    None
}

#[cfg(target_os = "linux")]
mod linux {
    use super::{Region, Span};

    /// The mappings as `/proc/self/maps` lists them.
    pub(super) fn mappings() -> Vec<Span> {
        parse(&std::fs::read_to_string("/proc/self/maps").unwrap_or_default())
    }

    /// Lines of the form `low-high access offset device inode   name`.
    pub(super) fn parse(maps: &str) -> Vec<Span> {
        // Another thread's stack is an anonymous mapping over a small guard that nobody may touch. (What `malloc` keeps
        // in reserve is untouchable too, but far larger.)
        const GUARD: usize = 64 * 1024;
        let mut guard = None;
        let mut spans = Vec::new();
        for line in maps.lines() {
            let mut words = line.split_whitespace();
            let Some((low, high)) = words.next().and_then(|range| range.split_once('-')) else {
                continue;
            };
            let (Ok(low), Ok(high)) = (usize::from_str_radix(low, 16), usize::from_str_radix(high, 16)) else {
                continue;
            };
            let access = words.next().unwrap_or_default();
            let name = words.nth(3).unwrap_or_default();
            let anonymous = name.is_empty() || name.starts_with("[anon");
            let region = match name {
                "[stack]" => Region::Stack,
                "[heap]" => Region::Heap,
                _ if !anonymous || !access.starts_with("rw") => Region::Mapped,
                _ if guard == Some(low) => Region::Stack,
                _ => Region::Heap,
            };
            guard = (anonymous && access.starts_with("---") && high - low <= GUARD).then_some(high);
            spans.push((low, high, region));
        }
        spans
    }

    /// The segments of the program and of every library that is loaded: a cell of a notebook is such a library.
    pub(super) fn segments() -> Vec<Span> {
        unsafe extern "C" fn add(info: *mut libc::dl_phdr_info, _: usize, spans: *mut libc::c_void) -> libc::c_int {
            // SAFETY: the loader hands a valid `info` for the length of the call, with `dlpi_phnum` headers; `spans` is
            // the vector of the call below, which nobody else uses meanwhile.
            let (base, headers, spans) = unsafe {
                let info = &*info;
                let headers = std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum));
                (info.dlpi_addr as usize, headers, &mut *spans.cast::<Vec<Span>>())
            };
            for header in headers.iter().filter(|header| header.p_type == libc::PT_LOAD) {
                let low = base.wrapping_add(header.p_vaddr as usize);
                let region = if header.p_flags & libc::PF_X != 0 { Region::Code } else { Region::Static };
                spans.push((low, low.wrapping_add(header.p_memsz as usize), region));
            }
            0
        }
        let mut spans: Vec<Span> = Vec::new();
        // SAFETY: `add` gets the vector that outlives the call. It cannot unwind: where memory runs out, it aborts.
        unsafe { libc::dl_iterate_phdr(Some(add), (&raw mut spans).cast()) };
        spans
    }
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
    fn the_own_stack_holds_the_locals_of_each_thread_and_nothing_else() {
        let bounds = || {
            let (low, high) = own_stack().expect("the thread library knows");
            let local = 7;
            assert!((low..high).contains(&(&raw const local).addr()));
            assert!(!(low..high).contains(&(&raw const *Box::new(local)).addr()));
            (low, high)
        };
        assert_ne!(bounds(), std::thread::scope(|scope| scope.spawn(bounds).join().unwrap()));
    }

    #[test]
    fn a_snapshot_is_byte_for_byte() {
        let bytes: Vec<u8> = (0..=255).cycle().take(100_003).collect();
        // SAFETY: the vector is alive.
        let copy = unsafe { snapshot(bytes[1..].as_ptr(), bytes.len() - 1) };
        assert_eq!(copy, bytes[1..]);
        // SAFETY: nothing is read.
        assert_eq!(unsafe { snapshot(std::ptr::without_provenance(1), 0) }, []);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn mappings_are_told_apart_by_name_access_and_guard() {
        let maps = "1000-2000 r--p 00000000 fe:00 12 /usr/lib/a file\n3000-4000 rw-p 0 00:00 0 [heap]\n\
                    5000-6000 ---p 0 00:00 0 \n6000-9000 rw-p 0 00:00 0 \n9000-a000 rw-p 0 00:00 0\n\
                    10000000-14000000 ---p 0 00:00 0\n14000000-14001000 rw-p 0 00:00 0\nffff0-ffff1 r-xp 0 00:00 0 [vdso]";
        let regions: Vec<Region> = linux::parse(maps).into_iter().map(|span| span.2).collect();
        use Region::{Heap, Mapped, Stack};
        assert_eq!(regions, [Mapped, Heap, Mapped, Stack, Heap, Mapped, Heap, Mapped]);
    }
}
