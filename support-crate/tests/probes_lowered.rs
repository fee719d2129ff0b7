//! `lowered!` tells what the compiler made of the functions in this very file.

use pinlab::{
    layout_of, lowered,
    probe::{FieldKind, FutureSlot, LoweredError, Meaning, Slot, XRay},
};
use std::{
    future::Future,
    hash::{Hash, Hasher},
    mem,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

/// Pending once, then ready.
struct Pause(bool);

impl Future for Pause {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if mem::replace(&mut self.0, true) { Poll::Ready(()) } else { Poll::Pending }
    }
}

async fn process_data(s: &'static str) -> String {
    let val = String::from(s);
    let val_ref = &val;
    Pause(false).await;
    val_ref.clone()
}

async fn branches(flag: bool, numbers: Vec<u32>) -> u64 {
    let first = 1u32;
    if flag {
        let buffer = [1u8; 100];
        Pause(false).await;
        u64::from(buffer[0]) + u64::from(first)
    } else {
        let odd = [3u8; 3];
        Pause(false).await;
        let inner = process_data("inner").await;
        Pause(false).await;
        (inner.len() + numbers.len()) as u64 + u64::from(odd[0]) + u64::from(first)
    }
}

async fn nothing_kept() {
    Pause(false).await;
}

async fn never_waits(a: u8, b: u16) -> u16 {
    u16::from(a) + b
}

async fn aligned(text: &'static str) -> usize {
    #[repr(align(32))]
    struct Wide([u8; 32]);
    let wide = Wide([1; 32]);
    let wide_ref = &wide;
    Pause(false).await;
    wide_ref.0.len() + text.len()
}

struct Tangled {
    data: String,
    pointer_to_data: *const String,
    numbers: Vec<u16>,
    flag: bool,
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// The discriminant as a number: what a `Discriminant` hands to a hasher.
fn state_number<T>(value: &T) -> u64 {
    #[derive(Default)]
    struct Catch(u64);
    impl Hasher for Catch {
        fn finish(&self) -> u64 {
            self.0
        }
        fn write(&mut self, bytes: &[u8]) {
            self.0 = bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
        }
    }
    let mut catch = Catch::default();
    mem::discriminant(value).hash(&mut catch);
    catch.finish()
}

#[test]
fn the_layout_has_the_sizes_of_the_live_futures() {
    let layouts = [lowered!(process_data), lowered!(branches), lowered!(nothing_kept), lowered!(never_waits), lowered!(aligned)];
    let sizes = [
        size_of_val(&process_data("")),
        size_of_val(&branches(true, vec![])),
        size_of_val(&nothing_kept()),
        size_of_val(&never_waits(1, 2)),
        size_of_val(&aligned("")),
    ];
    assert_eq!(layouts.each_ref().map(|layout| layout.size()), sizes);
    assert_eq!(layouts[4].align(), 32);
}

#[test]
fn the_states_and_what_they_keep_have_the_names_of_the_source() {
    let layout = lowered!(process_data);
    let names: Vec<&str> = layout.variants().iter().map(|variant| variant.name()).collect();
    assert_eq!(names, ["Unresumed", "Suspend0", "Returned", "Panicked"]);
    let waiting = layout.variant("Suspend0").unwrap();
    let val = waiting.field("val").unwrap();
    assert_eq!((val.kind(), val.size()), (FieldKind::Local, size_of::<String>()));
    assert!(val.type_name().unwrap().ends_with("String"));
    assert_eq!(waiting.field("__awaitee").unwrap().kind(), FieldKind::Awaited);
    assert!(layout.saves("val_ref") && !layout.saves("s"));
    assert!(lowered!(branches).saves("buffer") && !lowered!(nothing_kept).saves("buffer"));
}

/// Invariant 2 of `lowered`: the byte that is taken for the state is the one that the compiler reads.
#[test]
fn the_state_is_the_compilers_own_discriminant() {
    fn run<F: Future>(future: F, layout: &pinlab::probe::Lowered) -> Vec<String> {
        let mut future = pin!(future);
        let mut seen = Vec::new();
        loop {
            let xray = XRay::named(&*future, layout);
            assert_eq!(xray.warning(), None);
            let state = xray.state().unwrap().to_owned();
            let number = match state.as_str() {
                "Unresumed" => 0,
                "Returned" => 1,
                "Panicked" => 2,
                suspended => 3 + suspended["Suspend".len()..].parse::<u64>().unwrap(),
            };
            assert_eq!(number, state_number(&*future), "{xray}");
            seen.push(state);
            if seen.last().unwrap() == "Returned" {
                return seen;
            }
            let _ = poll(future.as_mut());
        }
    }
    assert_eq!(run(process_data("x"), &lowered!(process_data)), ["Unresumed", "Suspend0", "Returned"]);
    let layout = lowered!(branches);
    assert_eq!(run(branches(true, vec![1]), &layout), ["Unresumed", "Suspend0", "Returned"]);
    assert_eq!(run(branches(false, vec![1]), &layout), ["Unresumed", "Suspend1", "Suspend2", "Suspend3", "Returned"]);
    assert_eq!(run(nothing_kept(), &lowered!(nothing_kept)), ["Unresumed", "Suspend0", "Returned"]);
    assert_eq!(run(never_waits(1, 2), &lowered!(never_waits)), ["Unresumed", "Returned"]);
    assert_eq!(run(aligned("x"), &lowered!(aligned)), ["Unresumed", "Suspend0", "Returned"]);
}

#[test]
fn the_words_of_a_live_future_carry_the_names() {
    let layout = lowered!(process_data);
    let mut future = pin!(process_data("Hello"));
    let _ = poll(future.as_mut());
    let xray = XRay::named(&*future, &layout);
    let word = |name: &str| xray.words().find(|word| word.name() == name).unwrap_or_else(|| panic!("no {name} in\n{xray}"));
    assert_eq!((word("val.len").value(), word("val.cap").value()), (5, 5));
    assert!(matches!(word("val.ptr").meaning(), Meaning::Elsewhere { text: Some(text), .. } if text == "Hello"), "{xray}");
    let val = layout.variant("Suspend0").unwrap().field("val").unwrap().offset();
    assert_eq!(*word("val_ref").meaning(), Meaning::Itself { offset: val });
    assert!(xray.to_string().contains("in state Suspend0"), "{xray}");
}

#[test]
fn an_async_fn_that_is_awaited_is_opened_up() {
    let layout = lowered!(branches);
    let mut future = pin!(branches(false, vec![1, 2]));
    let _ = poll(future.as_mut());
    let _ = poll(future.as_mut());
    let xray = XRay::named(&*future, &layout);
    assert_eq!(xray.state(), Some("Suspend2"));
    let text = xray.to_string();
    for name in ["await process_data.val.ptr", "await process_data.val_ref", "await process_data.state", "numbers.len", "odd"] {
        assert!(text.contains(name), "no {name} in\n{text}");
    }
}

#[test]
fn bytes_that_no_field_owns_are_not_shown() {
    let layout = lowered!(process_data);
    let slot = FutureSlot::with(process_data("Hello"));
    let fresh = slot.named(&layout).to_string();
    assert!(fresh.contains("················"), "{fresh}");
    assert!(fresh.contains("not in use"), "{fresh}");
    let mut slot = slot;
    while slot.poll().is_pending() {}
    let over = slot.named(&layout);
    assert_eq!(over.state(), Some("Returned"));
    assert!(over.words().all(|word| word.name().is_empty() || word.name() == "state"), "{over}");
}

#[test]
fn a_layout_of_something_else_is_refused_aloud() {
    let layout = lowered!(branches);
    let xray = XRay::named(&process_data(""), &layout);
    assert!(xray.warning().unwrap().contains("not a value of branches"), "{xray}");
    assert!(xray.words().all(|word| word.name().is_empty()));
    assert!(xray.to_string().contains("! this is not a value of branches"));
    // The same size, but a state that does not exist.
    let layout = lowered!(nothing_kept);
    let xray = XRay::named(&[77u8, 77], &layout);
    assert_eq!(layout.size(), 2);
    assert!(xray.warning().unwrap().contains("state byte is 77") || xray.warning().unwrap().contains("Suspend74"), "{xray}");
}

#[test]
fn a_snippet_is_looked_at_where_it_stands() {
    let layout = lowered! {
        async fn only_here(word: u32) {
            let buffer = [0u8; 40];
            Pause(false).await;
            println!("{buffer:?} {word}");
        }
    };
    assert_eq!(layout.name(), "only_here");
    assert!(layout.saves("buffer"));
}

#[test]
fn a_struct_has_names_too() {
    let layout = layout_of!(Tangled);
    assert_eq!(layout.size(), size_of::<Tangled>());
    let field = |name| layout.variants()[0].field(name).unwrap().offset();
    assert_eq!(field("data"), mem::offset_of!(Tangled, data));
    assert_eq!(field("flag"), mem::offset_of!(Tangled, flag));
    let mut slot =
        Slot::with(Tangled { data: "Hello".into(), pointer_to_data: std::ptr::null(), numbers: vec![1, 2], flag: true });
    slot.get_mut().pointer_to_data = &raw const slot.get().data;
    let (value, xray) = (slot.get(), slot.named(&layout));
    let word = |name: &str| xray.words().find(|word| word.name() == name).unwrap_or_else(|| panic!("no {name} in\n{xray}"));
    assert_eq!(word("data.len").value(), value.data.len());
    assert_eq!(word("data.ptr").value(), value.data.as_ptr().addr());
    assert_eq!(word("numbers.ptr").value(), value.numbers.as_ptr().addr());
    assert_eq!(word("numbers.cap").value(), value.numbers.capacity());
    assert_eq!(word("pointer_to_data").value(), value.pointer_to_data.addr());
    assert!(value.flag && xray.self_pointers().len() == 1);
    assert_eq!(word("flag").hex(), "··············01");
}

#[test]
fn what_cannot_be_told_is_an_error_in_words() {
    let asked = pinlab::probe::hidden::ask_function(&process_data, "process_data");
    let site = pinlab::__site!();
    let mut missing = asked.clone();
    (missing.name, missing.future) = ("probes_lowered::no_such_function", "probes_lowered::no_such_function::{{closure}}");
    missing.spelled = "no_such_function";
    let error = pinlab::probe::Lowered::ask(&site, &missing).unwrap_err();
    assert!(matches!(error, LoweredError::Missing(_)) && error.to_string().contains("no_such_function"), "{error}");
    let mut other_size = asked.clone();
    other_size.size += 8;
    let error = pinlab::probe::Lowered::ask(&site, &other_size).unwrap_err();
    assert!(matches!(error, LoweredError::OtherSize { .. }), "{error}");
    let mut site = pinlab::__site!();
    site.file = "src/no_such_file.rs";
    let error = pinlab::probe::Lowered::ask(&site, &asked).unwrap_err();
    assert!(matches!(error, LoweredError::Source(..)), "{error}");
    let mut site = pinlab::__site!();
    site.file = "Cargo.toml";
    let error = pinlab::probe::Lowered::ask(&site, &asked).unwrap_err();
    assert!(matches!(error, LoweredError::Rejected(_)) && error.to_string().contains("error"), "{error}");
}

#[test]
fn the_layout_shows_itself() {
    let layout = lowered!(branches);
    let text = layout.to_string();
    for fact in ["buffer", "100 bytes", "Suspend3", "Returned", "nothing is kept", "[u8; 100]", "argument, Vec<u32>"] {
        assert!(text.contains(fact), "no {fact} in\n{text}");
    }
    let svg = layout.svg();
    assert!(svg.contains("buffer") && svg.contains("Suspend3"), "{svg}");
}
