//! `XRay` finds what points into itself, and survives whatever it is handed.

use pinlab::probe::{Meaning, Region, XRay};
use std::{
    future::Future,
    marker::PhantomPinned,
    pin::{Pin, pin},
    task::{Context, Waker},
};

fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) {
    let _ = future.poll(&mut Context::from_waker(Waker::noop()));
}

async fn pause() {
    let mut first = true;
    std::future::poll_fn(|_| if std::mem::take(&mut first) { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }).await
}

async fn borrows() -> usize {
    let text = String::from("Hello");
    let text_ref = &text;
    std::future::pending::<()>().await;
    text_ref.len()
}

async fn borrows_nothing(number: u64) -> u64 {
    std::future::pending::<()>().await;
    number
}

#[test]
fn a_future_that_borrows_its_own_local_points_into_itself_once_it_was_polled() {
    let mut future = pin!(borrows());
    let fresh = XRay::of(&*future);
    poll_once(future.as_mut());
    let polled = XRay::of(&*future);
    let pointers = polled.self_pointers();
    assert_eq!(pointers.len(), 1, "{polled}");
    let Meaning::Itself { offset } = pointers[0].meaning() else { panic!("{polled}") };
    assert_eq!(pointers[0].value(), polled.address().usize() + offset);
    // It points to the local: the word there is a part of the `String` "Hello".
    let target = polled.words().find(|word| word.offset() == *offset);
    assert!(target.is_some());
    assert!(!fresh.diff(&polled).is_empty());
    assert!(polled.to_string().contains("→ itself"), "{polled}");
}

#[test]
fn a_future_that_borrows_nothing_points_nowhere_into_itself() {
    let mut future = pin!(borrows_nothing(u64::MAX));
    poll_once(future.as_mut());
    let xray = XRay::of(&*future);
    assert_eq!(xray.self_pointers(), [], "{xray}");
}

#[test]
fn a_future_without_a_name_is_seen_through_dyn() {
    let mut future: Pin<Box<dyn Future<Output = usize>>> = Box::pin(borrows());
    poll_once(future.as_mut());
    assert_eq!(XRay::of(&*future).self_pointers().len(), 1);
    assert_eq!(XRay::of(&*future).size(), size_of_val(&*future));
    // The box itself is two words, and neither points into the box.
    let the_box = XRay::of(&future);
    assert_eq!((the_box.size(), the_box.self_pointers().len()), (16, 0));
    assert_eq!(the_box.points_into(&XRay::of(&*future)).len(), 1);
}

#[test]
fn padding_is_copied_without_being_read_as_a_number() {
    #[repr(C)]
    struct Padded(u8, u64, u8);
    let xray = XRay::of(&Padded(0xaa, 0x1122_3344_5566_7788, 0xbb));
    assert_eq!(xray.size(), 24);
    assert_eq!((xray.bytes()[0], xray.bytes()[16]), (0xaa, 0xbb));
    assert_eq!(xray.words().count(), 3);
}

#[test]
fn values_without_bytes_have_no_words() {
    struct Empty;
    for xray in [XRay::of(&Empty), XRay::of(&PhantomPinned), XRay::of(&()), XRay::of(&[0u64; 0]), XRay::of("")] {
        assert_eq!((xray.size(), xray.words().count(), xray.self_pointers().len()), (0, 0, 0));
        assert!(xray.at(xray.address()).is_none());
        assert!(xray.to_string().contains("0 bytes"), "{xray}");
    }
}

#[test]
fn odd_sizes_and_alignments_are_shown_to_the_last_byte() {
    let three = XRay::of(&[1u8, 2, 3]);
    let words: Vec<_> = three.words().collect();
    assert_eq!((words.len(), words[0].size(), words[0].value()), (1, 3, 0x030201));
    assert_eq!(words[0].hex(), "030201");

    #[repr(align(64))]
    struct Wide(#[expect(dead_code, reason = "it is there to be seen")] u8);
    let wide = XRay::of(&Wide(5));
    assert_eq!((wide.size(), wide.address().usize() % 64, wide.bytes()[0]), (64, 0, 5));

    #[repr(C, packed)]
    struct Packed {
        _tag: u8,
        number: u64,
    }
    let packed = Packed { _tag: 1, number: u64::MAX };
    let xray = XRay::of(&packed);
    assert_eq!((xray.size(), xray.words().count()), (9, 2));
    assert_eq!(xray.bytes()[1..], [0xff; 8]);
    assert_eq!({ packed.number }, u64::MAX);
    assert_eq!(xray.words().last().map(|word| (word.offset(), word.size())), Some((8, 1)));
}

#[test]
fn a_value_on_a_threads_own_stack_is_found_there() {
    let region = std::thread::spawn(|| {
        let mut future = pin!(borrows());
        poll_once(future.as_mut());
        let xray = XRay::of(&*future);
        assert_eq!(xray.self_pointers().len(), 1);
        xray.address().region()
    });
    assert_eq!(region.join().unwrap(), Region::Stack);
}

#[test]
fn a_megabyte_is_shown_on_one_screen_without_losing_its_self_pointer() {
    let mut large: Box<[usize]> = vec![7; (1 << 20) / size_of::<usize>()].into();
    let text = XRay::of(&*large).to_string();
    assert!(text.lines().count() < 30, "{text}");
    assert!(text.contains("all the same"), "{text}");
    assert!(text.contains("1\u{202f}048\u{202f}576 bytes"), "{text}");

    large[70_000] = (&raw const large[90_000]).addr();
    let xray = XRay::of(&*large);
    assert_eq!(xray.self_pointers().len(), 1);
    let text = xray.to_string();
    assert!(text.contains("→ itself +0xafc80"), "{text}");
    assert!(text.lines().count() < 30, "{text}");
    assert!(XRay::beside(&[("", &xray)]).svg().len() < 20_000);
}

#[test]
fn closures_references_and_trait_objects_are_values_like_any_other() {
    let number = 5u64;
    let closure = move |more: u64| number + more;
    assert_eq!(closure(1), 6);
    assert_eq!(XRay::of(&closure).bytes(), 5u64.to_ne_bytes());
    let reference = &number;
    let xray = XRay::of(&reference);
    assert_eq!(xray.points_into(&XRay::of(&number)).len(), 1);
    let object: &dyn std::fmt::Debug = &number;
    assert_eq!(XRay::of(object).bytes(), 5u64.to_ne_bytes());
    let text = XRay::of("exactly sixteen!");
    assert!(text.words().all(|word| matches!(word.meaning(), Meaning::Text(_))), "{text}");
}

#[test]
fn text_behind_a_pointer_is_shown_when_a_length_stands_beside_it() {
    for text in [XRay::of(&String::from("Hello")).to_string(), XRay::of(&"Hello").to_string()] {
        assert!(text.contains("\"Hello\""), "{text}");
    }
    // Bytes that are not text are not shown as if they were, and nor are pointers that nothing is behind.
    let no_text = XRay::of(&vec![0xffu8, 0xfe, 0xfd]).to_string();
    assert!(no_text.contains("→ heap\n"), "{no_text}");
    let nothing = XRay::of(&[5usize, 0x5555_5555_5555, 5]).to_string();
    assert!(!nothing.contains('→'), "{nothing}");
}

#[test]
fn a_copy_that_kept_its_pointer_is_told_from_one_that_follows() {
    let mut old = [0usize, 1, 2, 3];
    old[0] = (&raw const old[2]).addr();
    let new = Box::new(old);
    let (before, after) = (XRay::of(&old), XRay::of(&*new));
    assert!(before.diff(&after).is_empty(), "a move copies bytes");
    assert_eq!(after.self_pointers(), []);
    assert_eq!(after.points_into(&before).len(), 1);
    let picture = XRay::beside(&[("before", &before), ("after", &after)]);
    let text = picture.to_string();
    assert!(text.contains("→ itself +0x10"), "{text}");
    assert!(text.contains("→ not itself: ① +0x10"), "{text}");
    let svg = picture.svg();
    assert!(svg.contains("stroke-dasharray") && svg.contains("✗ → ① +0x10"), "{svg}");
    // A pointer that was never its own is no stale one.
    let reference = &old;
    let picture = XRay::beside(&[("reference", &XRay::of(&reference)), ("array", &before)]);
    assert!(!picture.svg().contains("stroke-dasharray"), "{picture}");
    assert!(picture.to_string().contains("→ ② +0x00"), "{picture}");
}

#[test]
fn an_arrow_leads_to_whoever_is_there_now() {
    let mut place = [0usize, 1, 2];
    place[0] = (&raw const place[1]).addr();
    let first = XRay::of(&place);
    let moved = Box::new(place);
    let moved = XRay::of(&*moved);
    place[2] = 9;
    let tenant = XRay::of(&place);
    let text = XRay::beside(&[("①", &first), ("②", &moved), ("③", &tenant)]).to_string();
    assert!(text.contains("→ not itself: ③ +0x08"), "{text}");
    assert!(text.contains("the place of ①"), "{text}");
}

/// Who hears a picture hears sentences with a space between them.
#[test]
fn what_is_said_of_two_strips_does_not_run_together() {
    let [mut one, mut other] = [[0_usize; 2]; 2].map(Box::new);
    one[0] = (&raw const one[1]).addr();
    other[0] = (&raw const other[1]).addr();
    let before = [&one, &other].map(|place| XRay::of(&**place));
    std::mem::swap(&mut *one, &mut *other);
    let strips = XRay::beside(&[("①", &before[0]), ("②", &before[1]), ("③", &XRay::of(&*one)), ("④", &XRay::of(&*other))]);
    let svg = strips.svg();
    let said = svg.split("<desc>").nth(1).and_then(|rest| rest.split("</desc>").next()).expect("it is described");
    assert!(said.contains(" ③: ") && said.contains(" ④: "), "{said}");
}

#[test]
fn a_diff_names_the_words_that_changed() {
    let (one, two) = ([1usize, 2, 3], [1usize, 9, 3]);
    let diff = XRay::of(&one).diff(&XRay::of(&two));
    assert_eq!(diff.changes().len(), 1);
    assert_eq!(diff.changes()[0].offset(), size_of::<usize>());
    let longer = XRay::of(&one).diff(&XRay::of(&[1usize, 2, 3, 4]));
    assert!(longer.changes()[0].before().is_none());
    assert_eq!(longer.to_string().lines().next(), Some("1 of 4 words differs"));
}

#[test]
fn at_finds_the_word_by_its_address() {
    let words = [1usize, 2, 3];
    let xray = XRay::of(&words);
    let found = xray.at(pinlab::probe::address_of(&words[1])).unwrap();
    assert_eq!((found.offset(), found.value()), (size_of::<usize>(), 2));
    assert!(xray.at(pinlab::probe::address_of(&xray)).is_none());
}

#[test]
fn pictures_are_well_formed_whatever_the_text_says() {
    let nasty = String::from("<b>\"&']]>");
    let xray = XRay::of(&nasty).titled("a \u{1}\"title\"");
    let svg = XRay::beside(&[("<i> & co", &xray)]).svg();
    assert!(svg.contains("&lt;b&gt;") && svg.contains("&lt;i&gt; &amp; co"), "{svg}");
    for raw in ["<b>", "<i>", " & ", "\u{1}"] {
        assert!(!svg.contains(raw), "{raw:?} in {svg}");
    }
    assert!(svg.contains("<title>") && svg.contains("<desc>"));
    assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
}

#[test]
fn one_past_the_end_is_not_inside() {
    let mut pair = [0usize; 2];
    pair[0] = pair.as_ptr_range().end.addr();
    assert_eq!(XRay::of(&pair).self_pointers(), []);
    pair[0] -= 1;
    assert_eq!(XRay::of(&pair).self_pointers().len(), 1);
}

#[test]
fn a_value_that_suspends_twice_keeps_its_pointer() {
    async fn twice() {
        let number = [7u64; 2];
        let borrowed = &number;
        pause().await;
        pause().await;
        assert_eq!(borrowed[0], 7);
    }
    let mut future = pin!(twice());
    poll_once(future.as_mut());
    let first = XRay::of(&*future);
    poll_once(future.as_mut());
    let second = XRay::of(&*future);
    let value = |xray: &XRay| xray.self_pointers().iter().map(|word| word.value()).collect::<Vec<_>>();
    assert!(!value(&first).is_empty());
    assert!(value(&second).contains(&value(&first)[0]));
}
