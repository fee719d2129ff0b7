//! The allocations that `count_allocations` counts, in a program that has the allocator for it.

use pinlab::probe::{CountingAllocator, count_allocations};
use std::{pin::pin, thread};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[test]
fn a_box_is_one_allocation_of_its_size() {
    let cost = count_allocations(|| Box::pin([0_u8; 300]));
    assert_eq!((cost.count(), cost.bytes(), cost.freed()), (1, 300, 0));
    assert_eq!(cost.to_string(), "1 allocation, 300 bytes");
}

#[test]
fn a_pinned_local_is_none() {
    let cost = count_allocations(|| {
        std::hint::black_box(pin!([0_u8; 300]));
    });
    assert_eq!(cost.to_string(), "no allocation");
}

#[test]
fn growing_counts_each_time() {
    let cost = count_allocations(|| {
        let mut list = Vec::with_capacity(1);
        for i in 0..4_u64 {
            list.push(std::hint::black_box(i));
        }
        list
    });
    assert_eq!((cost.count(), cost.bytes(), cost.freed()), (2, 8 + 32, 1));
}

#[test]
fn another_thread_is_not_counted_in() {
    let mine = count_allocations(|| {
        let worker = thread::spawn(|| count_allocations(|| vec![Box::new(1); 1000]).count());
        assert_eq!(worker.join().expect("the worker counts"), 1 + 1000);
    });
    assert!(mine.count() < 100, "{mine}");
}

/// Each request fails, and adds half of what the counter can count: an allocator must not unwind.
#[test]
fn the_counter_passes_its_end_and_nothing_happens() {
    let cost = count_allocations(|| {
        let mut list: Vec<u8> = Vec::new();
        for _ in 0..5 {
            assert!(std::hint::black_box(&mut list).try_reserve_exact(isize::MAX as usize).is_err());
        }
        Box::new(7)
    });
    assert_eq!(cost.count(), 6);
}
