//! The disaster that the course is about, the same at every optimisation level (run it with `--release` too), and
//! nothing dropped twice on the way.

use pinlab::probe::{FutureSlot, Slot};
use std::{
    cell::Cell,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

struct Pause(bool);

impl Future for Pause {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// A string that counts its drops.
struct Counted(String, Rc<Cell<usize>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.set(self.1.get() + 1);
    }
}

async fn process_data(text: &'static str, drops: Rc<Cell<usize>>) -> String {
    let val = Counted(String::from(text), drops);
    let val_ref = &val;
    Pause(false).await;
    val_ref.0.clone()
}

#[test]
fn a_future_moved_after_its_first_poll_reads_the_next_tenant() {
    let (hello, intruder) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let mut a = FutureSlot::with(process_data("Hello", hello.clone()));
    let mut b = FutureSlot::new();
    assert!(a.poll().is_pending());
    let before = a.xray();
    // SAFETY: none: this breaks the promise, as `move_to` describes.
    unsafe { a.move_to(&mut b) };
    assert!(a.is_vacant());
    let after = b.xray();
    assert!(before.diff(&after).is_empty());
    assert_eq!((before.self_pointers().len(), after.self_pointers().len()), (1, 0));
    assert_eq!(after.points_into(&before).len(), 1);

    a.put(process_data("INTRUDER", intruder.clone()));
    assert!(a.poll().is_pending());
    assert_eq!(b.poll(), Poll::Ready("INTRUDER".to_owned()));
    assert_eq!((hello.get(), intruder.get()), (1, 0));
    assert_eq!(a.poll(), Poll::Ready("INTRUDER".to_owned()));
    drop((a, b));
    assert_eq!((hello.get(), intruder.get()), (1, 1));
}

#[test]
fn a_future_moved_before_its_first_poll_is_well() {
    let drops = Rc::new(Cell::new(0));
    let mut a = FutureSlot::with(process_data("Hello", drops.clone()));
    let mut b = FutureSlot::new();
    // SAFETY: the tenant has never been polled.
    unsafe { a.move_to(&mut b) };
    a.put(process_data("INTRUDER", drops.clone()));
    assert!(a.poll().is_pending() && b.poll().is_pending());
    assert_eq!(b.poll(), Poll::Ready("Hello".to_owned()));
    assert_eq!(b.polls(), 2);
    drop((a, b));
    assert_eq!(drops.get(), 2);
}

#[test]
fn a_moved_future_that_nobody_polls_again_is_dropped_once() {
    let drops = Rc::new(Cell::new(0));
    let mut a = FutureSlot::with(process_data("Hello", drops.clone()));
    let mut b = FutureSlot::new();
    assert!(a.poll().is_pending());
    // SAFETY: none, but nothing reads the stale pointer.
    unsafe { a.move_to(&mut b) };
    b.evict();
    assert_eq!(drops.get(), 1);
    drop((a, b));
    assert_eq!(drops.get(), 1);
}

struct Tangled {
    data: String,
    pointer_to_data: *const String,
}

#[test]
fn a_struct_that_points_to_itself_reads_the_next_tenant() {
    let tangled = |text: &str| Tangled { data: text.to_owned(), pointer_to_data: std::ptr::null() };
    let mut a = Slot::with(tangled("Hello"));
    a.get_mut().pointer_to_data = &raw const a.get().data;
    assert_eq!(a.xray().self_pointers().len(), 1);
    let mut b = Slot::new();
    a.move_to(&mut b);
    a.put(tangled("INTRUDER"));
    // SAFETY: the pointer leads into slot A, which is alive and holds a tenant of the same type.
    assert_eq!(unsafe { &*b.get().pointer_to_data }, "INTRUDER");
    assert_eq!(b.get().data, "Hello");
}

#[test]
fn a_slot_drops_every_tenant_once() {
    let drops = Rc::new(Cell::new(0));
    let counted = || Counted(String::new(), drops.clone());
    let mut a = Slot::with(counted());
    a.put(counted());
    assert_eq!(drops.get(), 1, "the first tenant makes room");
    let taken = a.take();
    assert!(a.is_vacant() && drops.get() == 1);
    drop(taken);
    assert_eq!(drops.get(), 2);
    let mut b = Slot::with(counted());
    a.put(counted());
    a.move_to(&mut b);
    assert_eq!(drops.get(), 3, "the tenant of the other slot makes room");
    drop((a, b));
    assert_eq!(drops.get(), 4);
}

#[test]
fn a_slot_stays_where_it_is_when_it_is_moved_itself() {
    let slot = Slot::with([7u64; 4]);
    let address = slot.address();
    let boxed = Box::new(slot);
    assert_eq!(boxed.address(), address);
    assert_eq!(pinlab::probe::address_of(boxed.get()), address);
    let empty = (Slot::with(()), Slot::with(()));
    assert_ne!(empty.0.address(), empty.1.address());
}

#[test]
fn a_vacant_slot_and_one_that_is_too_small_say_so() {
    let message = |f: Box<dyn FnOnce() + std::panic::UnwindSafe>| {
        let payload = std::panic::catch_unwind(f).unwrap_err();
        payload.downcast_ref::<String>().cloned().unwrap_or_default()
    };
    let vacant = message(Box::new(|| drop(Slot::<String>::new().take())));
    assert!(vacant.contains("is vacant"), "{vacant}");
    let vacant = message(Box::new(|| drop(FutureSlot::<String>::new().poll())));
    assert!(vacant.contains("is vacant"), "{vacant}");
    let small = message(Box::new(|| FutureSlot::with_room(8).put(process_data("", Rc::default()))));
    assert!(small.contains("FutureSlot::with_room("), "{small}");
    let one_byte = message(Box::new(|| FutureSlot::with_room(0).put(std::future::ready(()))));
    assert!(one_byte.contains("FutureSlot::with_room("), "{one_byte}");
    FutureSlot::<()>::with_room(0).put(std::future::pending());
    // What 64 bits could name, no system has.
    for beyond in [usize::MAX / 4, usize::MAX].into_iter().skip(usize::from(!cfg!(target_pointer_width = "64"))) {
        let beyond = message(Box::new(move || drop(FutureSlot::<()>::with_room(beyond))));
        assert!(beyond.contains("no room"), "{beyond}");
    }
}

#[test]
fn what_the_last_tenant_left_can_still_be_seen() {
    let mut a = Slot::with(String::from("Hello"));
    let before = a.xray();
    let text = a.take();
    let left = a.xray();
    assert_eq!(before.bytes(), left.bytes());
    assert!(left.to_string().contains("vacant"), "{left}");
    assert_eq!(text, "Hello");
}

/// In a notebook the line that a panic names must be one of the cell.
#[test]
fn a_panic_names_the_line_of_whoever_asked() {
    thread_local! { static FILE: Cell<Option<String>> = const { Cell::new(None) } }
    let others = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        FILE.set(panic.location().map(|place| place.file().to_owned()));
        others(panic)
    }));
    let room = [0_u8; 8192];
    type Ask = Box<dyn FnOnce() + std::panic::UnwindSafe>;
    // More than any system has; and as a type of 64 bits only.
    #[cfg(target_pointer_width = "64")]
    type Beyond = [u8; 1 << 60];
    #[cfg(not(target_pointer_width = "64"))]
    type Beyond = [u8; 0x7fff_fff0];
    let asks: [(&str, Ask); 10] = [
        ("Slot::new", Box::new(|| drop(Slot::<Beyond>::new()))),
        ("Slot::default", Box::new(|| drop(Slot::<Beyond>::default()))),
        ("FutureSlot::with", Box::new(move || drop(FutureSlot::with(async move { room.len() })))),
        ("FutureSlot::with_room", Box::new(|| drop(FutureSlot::<()>::with_room(usize::MAX)))),
        ("FutureSlot::put", Box::new(|| FutureSlot::with_room(8).put(process_data("", Rc::default())))),
        ("FutureSlot::poll", Box::new(|| drop(FutureSlot::<String>::new().poll()))),
        ("Slot::take", Box::new(|| drop(Slot::<String>::new().take()))),
        ("Slot::get", Box::new(|| println!("{}", Slot::<u8>::new().get()))),
        ("Slot::get_mut", Box::new(|| println!("{}", Slot::<u8>::new().get_mut()))),
        ("Slot::move_to", Box::new(|| Slot::<u8>::new().move_to(&mut Slot::new()))),
    ];
    for (what, ask) in asks {
        std::panic::catch_unwind(ask).unwrap_err();
        assert_eq!(FILE.take().as_deref(), Some(file!()), "{what}");
    }
}
