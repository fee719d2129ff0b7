//! `address_of` names the place of every kind of value.

use pinlab::probe::{Region, address_of};

#[test]
fn a_local_is_on_the_stack_of_whichever_thread_runs() {
    let local = 7;
    assert_eq!(address_of(&local).region(), Region::Stack);
    let elsewhere = std::thread::spawn(|| {
        let local = 7;
        address_of(&local).region()
    });
    assert_eq!(elsewhere.join().unwrap(), Region::Stack);
}

/// On these systems the regions of memory can be asked for.
#[cfg(any(target_os = "linux", target_vendor = "apple", windows))]
mod where_regions_are_known {
    use super::*;
    use pinlab::probe::Address;

    static STATIC: i32 = 7;
    static mut ZEROED: [u8; 4096] = [0; 4096];

    fn a_function() {}

    #[test]
    fn heap_static_and_code_are_told_apart() {
        assert_eq!(address_of(&*Box::new(7)).region(), Region::Heap);
        assert_eq!(address_of(&STATIC).region(), Region::Static);
        assert_eq!(address_of("a literal").region(), Region::Static);
        assert_eq!(Address::of_ptr(&raw const ZEROED).region(), Region::Static);
        assert_eq!(Address::of_ptr(a_function as *const ()).region(), Region::Code);
        assert_eq!(Address::of_ptr(std::ptr::null::<u8>()).region(), Region::Unknown);
    }

    #[test]
    fn a_large_allocation_that_is_mapped_by_itself_is_heap() {
        let large = vec![0u8; 1 << 20];
        assert_eq!(address_of(&large[..]).region(), Region::Heap);
        assert_eq!(address_of(&large[large.len() - 1]).region(), Region::Heap);
        // On another thread too, whose stack is a mapping of the same kind.
        let region = std::thread::spawn(|| address_of(&*vec![0u8; 1 << 20]).region()).join();
        assert_eq!(region.unwrap(), Region::Heap);
    }

    #[test]
    fn a_local_of_another_thread_is_known_by_the_guard_below_its_stack() {
        let (tell, hear) = std::sync::mpsc::channel();
        let (let_go, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            let local = 7;
            tell.send((&raw const local).addr()).unwrap();
            let _ = wait.recv();
            std::hint::black_box(&local);
        });
        let there = hear.recv().unwrap();
        assert_eq!(Address::of_ptr(there as *const i32).region(), Region::Stack);
        drop(let_go);
        thread.join().unwrap();
    }
}

#[test]
fn it_prints_in_columns_and_its_digits_are_those_of_a_reference() {
    let local = 7;
    let address = address_of(&local);
    assert_eq!(format!("{address}"), format!("{:p} stack", &raw const local));
    assert_eq!(format!("{address:p}"), format!("{:p}", &raw const local));
    assert_eq!(format!("{address:>30}|").chars().count(), 31);
    assert_eq!(format!("{address:<30}|").find('|'), Some(30));
}

#[test]
fn addresses_compare_as_numbers() {
    let pair = [1u32, 2];
    let (first, second) = (address_of(&pair[0]), address_of(&pair[1]));
    assert!(first < second);
    assert_eq!((second.offset_from(first), first.offset_from(second)), (4, -4));
    assert_eq!(first, address_of(&pair));
    assert_eq!(first.usize(), pair.as_ptr().addr());
}
