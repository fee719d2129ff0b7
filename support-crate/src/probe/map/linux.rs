//! Linux: the thread library, the loader, and `/proc/self/maps`.

use super::{Region, Span};

/// The bounds of the calling thread's stack, as the thread library knows them.
pub(super) fn own_stack() -> Option<(usize, usize)> {
    let mut attributes = std::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
    let (mut low, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: FFI: `pthread_getattr_np` initialises the attributes when it answers 0; they are read, then destroyed once.
    let found = unsafe {
        libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) == 0 && {
            let found = libc::pthread_attr_getstack(attributes.as_ptr(), &mut low, &mut size) == 0;
            libc::pthread_attr_destroy(attributes.as_mut_ptr());
            found
        }
    };
    found.then(|| (low.addr(), low.addr() + size))
}

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
///
/// The loader holds its lock while it calls back. There no memory is asked for: an allocator may have a lock of its own, which another thread holds while it waits
/// for the loader's.
pub(super) fn segments() -> Vec<Span> {
    /// What was found, as far as there was room, and how much was not.
    struct Found {
        spans: Vec<Span>,
        missed: usize,
    }
    // SAFETY: FFI: only the loader calls it, as `dl_iterate_phdr` says; the call is below.
    unsafe extern "C" fn add(info: *mut libc::dl_phdr_info, _: usize, found: *mut libc::c_void) -> libc::c_int {
        // SAFETY: FFI: the loader hands a valid `info` for the length of the call, with `dlpi_phnum` headers; `found` is
        // what the call below gives it, which nobody else uses meanwhile.
        let (base, headers, found) = unsafe {
            let info = &*info;
            let headers = std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum));
            (info.dlpi_addr as usize, headers, &mut *found.cast::<Found>())
        };
        for header in headers.iter().filter(|header| header.p_type == libc::PT_LOAD) {
            let low = base.wrapping_add(header.p_vaddr as usize);
            let region = if header.p_flags & libc::PF_X != 0 { Region::Code } else { Region::Static };
            if found.spans.len() < found.spans.capacity() {
                found.spans.push((low, low.wrapping_add(header.p_memsz as usize), region));
            } else {
                found.missed += 1;
            }
        }
        0
    }
    let mut found = Found { spans: Vec::new(), missed: 0 };
    loop {
        // SAFETY: FFI: `add` gets what outlives the call. It cannot unwind: it neither asks for memory nor panics.
        unsafe { libc::dl_iterate_phdr(Some(add), (&raw mut found).cast()) };
        if found.missed == 0 {
            return found.spans;
        }
        let all = found.spans.len() + std::mem::take(&mut found.missed);
        found.spans.clear();
        found.spans.reserve(all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_are_told_apart_by_name_access_and_guard() {
        let maps = "1000-2000 r--p 00000000 fe:00 12 /usr/lib/a file\n3000-4000 rw-p 0 00:00 0 [heap]\n\
                    5000-6000 ---p 0 00:00 0 \n6000-9000 rw-p 0 00:00 0 \n9000-a000 rw-p 0 00:00 0\n\
                    10000000-14000000 ---p 0 00:00 0\n14000000-14001000 rw-p 0 00:00 0\nffff0-ffff1 r-xp 0 00:00 0 [vdso]";
        let regions: Vec<Region> = parse(maps).into_iter().map(|span| span.2).collect();
        use Region::{Heap, Mapped, Stack};
        assert_eq!(regions, [Mapped, Heap, Mapped, Stack, Heap, Mapped, Heap, Mapped]);
    }
}
