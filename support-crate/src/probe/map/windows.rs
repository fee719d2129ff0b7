//! Windows: the kernel says of each part of the address space whether it belongs to an image (a program or a library).

use super::{Region, Span};
use windows_sys::Win32::System::{
    Memory::{
        MEM_COMMIT, MEM_IMAGE, MEM_MAPPED, MEM_RESERVE, MEMORY_BASIC_INFORMATION, PAGE_EXECUTE, PAGE_EXECUTE_READ,
        PAGE_EXECUTE_READWRITE, PAGE_EXECUTE_WRITECOPY, PAGE_GUARD, PAGE_READWRITE, VirtualQuery,
    },
    Threading::GetCurrentThreadStackLimits,
};

/// The bounds of the calling thread's stack, as the kernel knows them.
pub(super) fn own_stack() -> Option<(usize, usize)> {
    let (mut low, mut high) = (0, 0);
    // SAFETY: FFI: the call writes two pointer-sized words into the two locals.
    unsafe { GetCurrentThreadStackLimits(&mut low, &mut high) };
    Some((low, high))
}

/// Images are among the mappings.
pub(super) fn segments() -> Vec<Span> {
    Vec::new()
}

/// All that is in use, from the lowest address to the highest.
pub(super) fn mappings() -> Vec<Span> {
    let mut parts: Vec<MEMORY_BASIC_INFORMATION> = Vec::new();
    let mut at = 0_usize;
    loop {
        let mut part = MEMORY_BASIC_INFORMATION::default();
        let size = size_of::<MEMORY_BASIC_INFORMATION>();
        // SAFETY: FFI: the address is a number to the kernel, which writes at most `size` bytes into the local. It answers 0 at the end.
        let written = unsafe { VirtualQuery(std::ptr::without_provenance(at), &mut part, size) };
        let Some(end) = part.BaseAddress.addr().checked_add(part.RegionSize).filter(|end| written != 0 && *end > at) else {
            break;
        };
        at = end;
        if part.State & (MEM_COMMIT | MEM_RESERVE) != 0 {
            parts.push(part);
        }
    }
    let spans = parts.iter().filter(|part| part.State == MEM_COMMIT).map(|part| {
        let start = part.BaseAddress.addr();
        (start, start + part.RegionSize, region(part, &parts))
    });
    spans.collect()
}

fn region(part: &MEMORY_BASIC_INFORMATION, all: &[MEMORY_BASIC_INFORMATION]) -> Region {
    const EXECUTABLE: u32 = PAGE_EXECUTE | PAGE_EXECUTE_READ | PAGE_EXECUTE_READWRITE | PAGE_EXECUTE_WRITECOPY;
    // A thread's stack is one allocation, of which a page is a guard, and what is in use lies above it.
    let guarded = |other: &MEMORY_BASIC_INFORMATION| {
        other.AllocationBase == part.AllocationBase && other.State == MEM_COMMIT && other.Protect & PAGE_GUARD != 0
    };
    match part.Type {
        MEM_IMAGE if part.Protect & EXECUTABLE != 0 => Region::Code,
        MEM_IMAGE => Region::Static,
        MEM_MAPPED => Region::Mapped,
        _ if part.Protect & PAGE_READWRITE == 0 => Region::Mapped,
        _ if all.iter().any(guarded) => Region::Stack,
        _ => Region::Heap,
    }
}
