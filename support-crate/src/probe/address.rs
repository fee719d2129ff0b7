//! Where a value lives: its address, and what the memory there is for.
//!
//! Invariants:
//! 1. An [`Address`] is a number with a note. It borrows nothing, so it can be printed after the value has moved away.
//! 2. Two addresses are equal when the numbers are; the region is what was found there when the address was taken.

use super::map::{Map, Region};
use crate::JoinHandle;
use std::{cmp::Ordering, fmt, hash};

/// An address and the [`Region`] it lies in.
///
/// `{}` prints both (`0x7ffd5a62f040 stack`) and honours a width; `{:p}` prints the address alone, as it does for a reference.
#[derive(Clone, Copy)]
pub struct Address {
    address: usize,
    region: Region,
}

/// The address of a value, unsized ones included, and the region that it lies in.
///
/// ```
/// # use pinlab::probe::{address_of, Region};
/// let local = 7;
/// let boxed = Box::new(7);
/// println!("{}\n{}", address_of(&local), address_of(&*boxed));
/// assert_eq!(address_of(&local).region(), Region::Stack);
/// ```
pub fn address_of<T: ?Sized>(value: &T) -> Address {
    Address::of_ptr(value)
}

impl Address {
    /// The address that a raw pointer holds. The pointer is not followed: a dangling one is fine.
    pub fn of_ptr<T: ?Sized>(pointer: *const T) -> Self {
        Self::in_map(pointer.addr(), &Map::now())
    }

    pub(crate) fn in_map(address: usize, map: &Map) -> Self {
        Self { address, region: map.region(address) }
    }

    /// The address as a number.
    pub fn usize(self) -> usize {
        self.address
    }

    /// What the memory there was for when this address was taken.
    pub fn region(self) -> Region {
        self.region
    }

    /// How many bytes this address lies beyond `origin`; negative when it lies before.
    pub fn offset_from(self, origin: Address) -> isize {
        self.address.wrapping_sub(origin.address).cast_signed()
    }
}

impl<T> JoinHandle<T> {
    /// The address of the task's allocation. It is the same for as long as the task exists.
    pub fn task_address(&self) -> Address {
        Address::of_ptr(self.task().address())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:#x} {}", self.address, self.region))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Pointer for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:#x}", self.address))
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.address == other.address
    }
}

impl Eq for Address {}

impl PartialOrd for Address {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Address {
    fn cmp(&self, other: &Self) -> Ordering {
        self.address.cmp(&other.address)
    }
}

impl hash::Hash for Address {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.address.hash(state);
    }
}
