//! macOS: the thread library, the loader, and the kernel, which keeps a tag with each mapping.
//!
//! This was checked by the compiler, for want of a Mac, and has not been run on one yet.

use super::{Region, Span};
use libc::{LC_SEGMENT_64, VM_PROT_EXECUTE, load_command, segment_command_64};

/// The bounds of the calling thread's stack, as the thread library knows them.
pub(super) fn own_stack() -> Option<(usize, usize)> {
    // SAFETY: FFI: both calls only read what the thread library keeps about the calling thread, which is alive.
    let (high, size) = unsafe {
        let me = libc::pthread_self();
        (libc::pthread_get_stackaddr_np(me).addr(), libc::pthread_get_stacksize_np(me))
    };
    Some((high.checked_sub(size)?, high))
}

/// How an image begins, on all of Apple's 64-bit systems: `mach_header_64`.
#[repr(C)]
struct Header {
    before: [u32; 4],
    ncmds: u32,
    after: [u32; 3],
}

// SAFETY: FFI: declared as in <mach-o/dyld.h>, <mach/mach_init.h> and <mach/mach_vm.h>.
unsafe extern "C" {
    fn _dyld_image_count() -> u32;
    fn _dyld_get_image_header(image: u32) -> *const Header;
    fn _dyld_get_image_vmaddr_slide(image: u32) -> isize;
    /// This process, as the kernel knows it. Set once, before `main`.
    static mach_task_self_: u32;
    fn mach_vm_region(
        task: u32,
        address: *mut u64,
        size: *mut u64,
        flavor: i32,
        info: *mut ExtendedInfo,
        words: *mut u32,
        object: *mut u32,
    ) -> i32;
}

/// The segments of the program and of every library that is loaded: a cell of a notebook is such a library.
pub(super) fn segments() -> Vec<Span> {
    let mut spans = Vec::new();
    // SAFETY: FFI: the loader only counts.
    for image in 0..unsafe { _dyld_image_count() } {
        // SAFETY: FFI: an image that is gone by now has no header and a slide of 0.
        let (header, slide) = unsafe { (_dyld_get_image_header(image), _dyld_get_image_vmaddr_slide(image)) };
        if header.is_null() {
            continue;
        }
        // SAFETY: FFI: a header that the loader gives is mapped for as long as its image is loaded. Nobody unloads one meanwhile: a notebook's
        // kernel never does, and a program that does so in another thread while its memory is drawn races with the loader anyway.
        let commands = unsafe { (*header).ncmds };
        // SAFETY: FFI: the commands follow the header, each with its own length.
        let mut command = unsafe { header.add(1) }.cast::<load_command>();
        for _ in 0..commands {
            // SAFETY: FFI: there are `ncmds` commands, and this is one of them.
            let (kind, len) = unsafe { ((*command).cmd, (*command).cmdsize) };
            if kind == LC_SEGMENT_64 {
                // SAFETY: FFI: a command of this kind is a segment's.
                let segment = unsafe { &*command.cast::<segment_command_64>() };
                spans.extend(span(segment, slide));
            }
            // SAFETY: FFI: `cmdsize` leads to the next command, or to the end after the last.
            command = unsafe { command.byte_add(len as usize) };
        }
    }
    spans
}

fn span(segment: &segment_command_64, slide: isize) -> Option<Span> {
    let name = segment.segname.map(|c| c as u8);
    // The zero page is not mapped, and what the linker left for the loader is shared by many images.
    if name.starts_with(b"__PAGEZERO") || name.starts_with(b"__LINKEDIT") {
        return None;
    }
    let start = (segment.vmaddr as usize).wrapping_add_signed(slide);
    let region = if segment.initprot & VM_PROT_EXECUTE != 0 { Region::Code } else { Region::Static };
    Some((start, start.wrapping_add(segment.vmsize as usize), region))
}

/// What the kernel writes for the flavor `EXTENDED_INFO`.
#[repr(C)]
#[derive(Default)]
struct ExtendedInfo {
    protection: i32,
    user_tag: u32,
    pages: [u32; 4],
    ref_count: u32,
    shadow_depth: u16,
    external_pager: u8,
    share_mode: u8,
    pages_reusable: u32,
}

const EXTENDED_INFO: i32 = 13;
/// Tags 1 to 13 are those of the system's allocator.
const MALLOC: std::ops::RangeInclusive<u32> = 1..=13;
const STACK: u32 = 30;

/// All mappings, from the lowest address to the highest.
pub(super) fn mappings() -> Vec<Span> {
    let mut spans = Vec::new();
    let (mut address, mut size) = (0_u64, 0_u64);
    loop {
        let mut info = ExtendedInfo::default();
        let (mut words, mut object) = ((size_of::<ExtendedInfo>() / 4) as u32, 0);
        // SAFETY: FFI: each pointer is to a local of the right type, and `words` says how much room there is in `info`.
        let failed = unsafe {
            mach_vm_region(mach_task_self_, &mut address, &mut size, EXTENDED_INFO, &mut info, &mut words, &mut object)
        };
        let (false, Some(end)) = (failed != 0, address.checked_add(size)) else { break };
        let region = match info.user_tag {
            STACK => Region::Stack,
            tag if MALLOC.contains(&tag) => Region::Heap,
            _ => Region::Mapped,
        };
        spans.push((address as usize, end as usize, region));
        address = end;
    }
    spans
}
