//! What the memory of this process is for: stack, heap, data, code.
//!
//! ```text
//!              the thread's stack      segments of the program and its libraries    all mappings
//! Linux        the thread library      the loader                                   /proc/self/maps
//! macOS        the thread library      the loader                                   the kernel, with the tag of each
//! Windows      the kernel              the kernel: VirtualQuery says which are images, with all mappings
//! elsewhere    –                       –                                            –         (and under Miri)
//! ```
//!
//! Invariant: a [`Map`] is a picture of one moment. Mappings change; nothing is decided by an old map, only shown.

#[cfg(all(target_vendor = "apple", not(miri)))]
#[path = "map/apple.rs"]
mod system;
#[cfg(all(target_os = "linux", not(miri)))]
#[path = "map/linux.rs"]
mod system;
#[cfg(all(windows, not(miri)))]
#[path = "map/windows.rs"]
mod system;

use std::fmt;

/// What the memory at an address is for, as far as the operating system tells.
///
/// Linux, macOS (not tried on one yet) and Windows tell them apart; elsewhere everything is [`Unknown`](Region::Unknown).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Region {
    /// The stack of a thread. The calling thread's own is known exactly; another thread's by its tag, or by the mapping below
    /// it that guards it: where there is none (glibc 2.42 on Linux 6.13, and newer), it looks like heap.
    Stack,
    /// Memory from the allocator, large allocations that it maps one by one included.
    Heap,
    /// Data of the program or of a library (each cell of a notebook is one): statics, literals, constants.
    Static,
    /// Machine code of the program or of a library.
    Code,
    /// Some other mapping: a file, or what the kernel lends every process.
    Mapped,
    /// Not mapped at all, or the operating system does not tell.
    Unknown,
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Stack => "stack",
            Self::Heap => "heap",
            Self::Static => "static",
            Self::Code => "code",
            Self::Mapped => "mapped",
            Self::Unknown => "unknown",
        })
    }
}

/// Which part of the address space is what, at one moment. The most exact source is asked first.
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

/// Where nobody has written down how to ask; and under Miri, whose memory is no system's.
#[cfg(any(miri, not(any(target_os = "linux", target_vendor = "apple", windows))))]
mod system {
    pub(super) fn own_stack() -> Option<(usize, usize)> {
        None
    }

    pub(super) fn segments() -> Vec<super::Span> {
        Vec::new()
    }

    pub(super) fn mappings() -> Vec<super::Span> {
        Vec::new()
    }
}

impl Map {
    /// Asks the operating system how this process's memory is laid out.
    pub(crate) fn now() -> Self {
        let (mut segments, mut mappings) = (system::segments(), system::mappings());
        for spans in [&mut segments, &mut mappings] {
            spans.sort_by_key(|&(start, end, _): &Span| (start, end));
        }
        Self { stack: system::own_stack(), segments, mappings }
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

#[cfg(all(test, not(miri), any(target_os = "linux", target_vendor = "apple", windows)))]
mod tests {
    use super::*;

    #[test]
    fn the_own_stack_holds_the_locals_of_each_thread_and_nothing_else() {
        let bounds = || {
            let (low, high) = system::own_stack().expect("the system knows");
            let local = 7;
            assert!((low..high).contains(&(&raw const local).addr()));
            assert!(!(low..high).contains(&(&raw const *Box::new(local)).addr()));
            (low, high)
        };
        assert_ne!(bounds(), std::thread::scope(|scope| scope.spawn(bounds).join().unwrap()));
    }
}
