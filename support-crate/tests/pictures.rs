//! Pictures are well formed and all of their text has its place, whatever it is that they show.

use pinlab::{
    pictures::{Places, Projection, cheat_sheet},
    prelude::*,
    probe::Strips,
    show::{Svg, Type},
};
use roxmltree::{Document, Node};

/// A box of text: left, top, right, bottom.
#[derive(Debug, Clone, Copy)]
struct Area(f64, f64, f64, f64);

fn number(node: Node<'_, '_>, name: &str) -> f64 {
    node.attribute(name).and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {node:?}"))
}

fn areas(document: &Document<'_>) -> Vec<(Area, String)> {
    let texts = document.descendants().filter(|node| node.has_tag_name("text"));
    let areas = texts.filter_map(|node| {
        let text = node.text().unwrap_or_default().to_owned();
        let size = number(node, "font-size");
        assert!(size >= Type::LEAST, "{text:?} in {size}");
        let mut style = if node.attribute("font-family").is_some() { Type::mono(size) } else { Type::sans(size) };
        if node.attribute("font-weight").is_some() {
            style = style.bold();
        }
        let wide = node.attribute("textLength").map_or_else(|| style.width(&text), |wide| wide.parse().unwrap());
        let (x, y) = (number(node, "x"), number(node, "y"));
        let left = match node.attribute("text-anchor") {
            Some("end") => x - wide,
            Some("middle") => x - wide / 2.0,
            _ => x,
        };
        (!text.trim().is_empty()).then_some((Area(left, y - size * 0.75, left + wide, y + size * 0.2), text))
    });
    areas.collect()
}

/// Every line of text lies within the picture, and on no other.
#[track_caller]
fn well_laid_out(svg: &str) {
    let document = Document::parse(svg).unwrap_or_else(|error| panic!("{error} in\n{svg}"));
    let root = document.root_element();
    let (width, height) = (number(root, "width"), number(root, "height"));
    let areas = areas(&document);
    for (i, (one, text)) in areas.iter().enumerate() {
        let inside = one.0 >= 0.0 && one.1 >= 0.0 && one.2 <= width && one.3 <= height;
        assert!(inside, "{text:?} at {one:?} is not within {width} × {height}\n{svg}");
        for (other, beside) in &areas[i + 1..] {
            let apart = one.2 <= other.0 + 0.6 || other.2 <= one.0 + 0.6 || one.3 <= other.1 || other.3 <= one.1;
            assert!(apart, "{text:?} at {one:?} lies on {beside:?} at {other:?}\n{svg}");
        }
    }
}

/// Names of any length, of any script, with markup, marks and control characters in them.
fn name(random: &mut fastrand::Rng) -> String {
    const SCRIPTS: [(u32, u32); 14] = [
        (0x20, 0x7e),
        (0x20, 0x7e),
        (0xa0, 0x24f),
        (0x300, 0x36f),
        (0x400, 0x4ff),
        (0x590, 0x6ff),
        (0x900, 0x97f),
        (0xe00, 0xfff),
        (0x2000, 0x2fff),
        (0x4e00, 0x9fff),
        (0xac00, 0xd7a3),
        (0xfdf0, 0xffff),
        (0x12000, 0x123ff),
        (0x1f300, 0x1faff),
    ];
    let length = [0, 1, 3, 12, 40, 200][random.usize(..6)];
    let one = random.bool();
    let script = SCRIPTS[random.usize(..SCRIPTS.len())];
    let mut text = String::new();
    for _ in 0..length {
        let (from, to) = if one { script } else { SCRIPTS[random.usize(..SCRIPTS.len())] };
        text.push(char::from_u32(random.u32(from..=to)).unwrap_or('\u{0}'));
    }
    if random.u8(..8) == 0 {
        text.push_str("</text><script>alert(1)</script>&amp;\u{202e}\u{0}");
    }
    text
}

/// X-rays to put names to: one with a text of its own, and one that was moved, and that points into itself.
fn xrays(random: &mut fastrand::Rng) -> [XRay; 3] {
    let value = (name(random), random.usize(..), [random.u64(..); 2]);
    let mut words = [0usize, random.usize(..), 7, 0];
    words[0] = (&raw const words[random.usize(..4)]).addr();
    let moved = Box::new(words);
    [XRay::of(&value), XRay::of(&words), XRay::of(&*moved)]
}

/// Three pictures with ten names.
fn strips(random: &mut fastrand::Rng, [value, old, new]: &[XRay; 3]) -> Vec<Strips> {
    let names: Vec<String> = (0..7).map(|_| name(random)).collect();
    let (titled, other) = (old.clone().titled(name(random)), new.clone().titled(name(random)));
    let value = value.clone().titled(name(random));
    vec![
        XRay::beside(&[(&names[0], &value)]),
        XRay::beside(&[(&names[1], &titled), (&names[2], &other)]),
        XRay::beside(&[(&names[3], &titled), (&names[4], &other), (&names[5], &value), (&names[6], old)]),
    ]
}

#[test]
fn names_of_any_length_script_and_number_keep_their_place() {
    let mut random = fastrand::Rng::with_seed(12);
    for _ in 0..50 {
        let xrays = xrays(&mut random);
        // 50 times 20 times ten names.
        for _ in 0..20 {
            for strips in strips(&mut random, &xrays) {
                well_laid_out(&strips.svg());
            }
        }
    }
}

#[test]
fn a_page_has_no_markup_but_its_own() {
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..60 {
        let xrays = xrays(&mut random);
        for strips in strips(&mut random, &xrays) {
            let html = strips.figure().html();
            assert!(!html.contains("alert(1)</script>"), "{html}");
            assert!(html.matches("<script").count() <= 2);
            assert!(html.contains("aria-label=") && html.contains("alt="));
        }
    }
}

#[test]
fn a_vacant_slot_is_leftovers_and_leads_nowhere() {
    let mut slot = Slot::with([0usize, 1, 2]);
    slot.get_mut()[0] = (&raw const slot.get()[2]).addr();
    let let_to = slot.xray();
    let _ = slot.take();
    let vacant = slot.xray();
    assert!(vacant.is_vacant() && !let_to.is_vacant());
    let text = vacant.to_string();
    assert!(text.contains("vacant: leftover bytes") && !text.contains('→'), "{text}");
    let picture = XRay::beside(&[("let", &let_to), ("left", &vacant)]).figure();
    assert!(picture.svg().contains("vacant, leftover bytes"));
    assert!(picture.svg().contains("stroke-dasharray"));
}

#[test]
fn what_a_word_is_stands_beside_it_in_words() {
    let text = String::from("Hello");
    let svg = XRay::of(&text).figure().svg().to_owned();
    let document = Document::parse(&svg).unwrap();
    let said: Vec<&str> = document.descendants().filter_map(|node| node.attribute("data-say")).collect();
    assert_eq!(said.len(), 3);
    assert!(said.iter().any(|said| said.contains("where \"Hello\" stands")), "{said:?}");
}

#[test]
fn places_that_are_shown_twice_can_be_stepped_and_others_not() {
    let one = [1usize, 2];
    let (before, other) = (XRay::of(&one), XRay::of(&Box::new(3usize)));
    let still = XRay::beside(&[("a", &before), ("b", &other)]).figure().html();
    assert!(!still.contains("\"frames\""));
    let story = XRay::beside(&[("a", &before), ("a again", &before)]).figure().html();
    assert!(story.contains("\"frames\""));
}

/// An engine with a second wake, one that is too late, and a waker that is dropped without being called.
fn faults() -> Timeline {
    let rt = Runtime::new().unwrap();
    rt.record();
    let handle = rt.handle();
    let wakers = std::rc::Rc::new(std::cell::RefCell::new(Vec::<Waker>::new()));
    let (kept, limit) = (wakers.clone(), handle.clone());
    drop(rt.spawn(async move {
        let waits = std::future::poll_fn(|cx| {
            kept.borrow_mut().push(cx.waker().clone());
            Poll::<()>::Pending
        });
        let _ = limit.timeout(Duration::from_millis(40), waits).await;
    }));
    rt.block_on(async {
        handle.sleep(Duration::from_millis(2)).await;
        wakers.borrow()[0].wake_by_ref();
        wakers.borrow()[0].wake_by_ref();
        handle.sleep(Duration::from_millis(2)).await;
        wakers.borrow_mut().pop();
        handle.sleep(Duration::from_millis(80)).await;
        wakers.borrow()[0].wake_by_ref();
    });
    rt.stop_recording()
}

#[test]
fn wakes_that_go_wrong_have_marks_of_their_own() {
    let timeline = faults();
    let svg = timeline.svg();
    well_laid_out(&svg);
    for means in
        ["woken, and queued already", "woken, and complete already", "a waker dropped, never called: lost", "a timer fires"]
    {
        assert!(svg.contains(means), "no {means:?}\n{timeline}");
    }
    assert!(!svg.contains("nobody holds its waker"), "{timeline}");
    let html = timeline.figure().html();
    for said in ["A second wake adds nothing", "The wake is too late", "its waker is with a timer"] {
        assert!(html.contains(said), "no {said:?}");
    }
}

#[test]
fn a_poll_that_blocks_is_seen_and_told() {
    let rt = Runtime::new().unwrap();
    rt.record();
    rt.block_on(async { std::thread::sleep(Duration::from_millis(30)) });
    let timeline = rt.stop_recording();
    assert!(timeline.svg().contains("nobody else ran meanwhile"), "{timeline}");
}

#[test]
fn a_hundred_thousand_events_are_drawn_small_and_say_what_is_left_out() {
    let rt = Runtime::new().unwrap();
    rt.record();
    for _ in 0..40 {
        drop(rt.spawn(async {
            for _ in 0..1_500 {
                yield_now().await;
            }
        }));
    }
    rt.run_until_stalled();
    let timeline = rt.stop_recording();
    assert_eq!(timeline.entries().len(), 100_000);
    let figure = timeline.figure();
    // How many bytes a step takes is up to which are drawn: those of note are, and a slow machine has more.
    assert_eq!(figure.svg().matches("<g class=\"e\"").count(), 80, "steps of the still picture");
    assert!(figure.html().len() < 2_500_000, "{}", figure.html().len());
    assert!(figure.svg().contains("steps are left out"), "{}", figure.svg());
    well_laid_out(figure.svg());
}

#[test]
fn a_page_lists_the_first_of_a_long_queue_and_counts_the_rest() {
    let rt = Runtime::new().unwrap();
    rt.record();
    for _ in 0..100_000 {
        drop(rt.spawn(async {}));
    }
    let html = rt.stop_recording().figure().html();
    assert!(html.len() < 2_500_000, "{}", html.len());
    assert!(html.contains(", and 99960 more"));
}

#[test]
fn the_state_of_an_engine_counts_what_is_too_much_to_be_listed() {
    let rt = Runtime::new().unwrap();
    let handle = rt.handle();
    for _ in 0..20 {
        let mut sleeps: Vec<_> = (0..100).map(|_| Box::pin(handle.sleep(Duration::from_secs(60)))).collect();
        drop(rt.spawn(std::future::poll_fn(move |cx| {
            sleeps.iter_mut().for_each(|sleep| assert!(sleep.as_mut().poll(cx).is_pending()));
            Poll::<()>::Pending
        })));
    }
    rt.record();
    for _ in 0..20 {
        rt.step();
    }
    let text = rt.snapshot().to_string();
    for more in [", and 60 more", "…: 4 more tasks", ", and 1992 more"] {
        assert!(text.contains(more), "no {more:?} in\n{text}");
    }
    assert!(text.len() < 32_000, "{}", text.len());
}

#[test]
fn the_events_are_json_that_other_tools_open() {
    let json = faults().to_json();
    assert!(json.starts_with("{\"displayTimeUnit\":\"ms\",\"traceEvents\":["), "{json}");
    for part in ["\"ph\":\"X\"", "\"ph\":\"M\"", "thread_name", "wakes #0 for nothing", "\"dur\":"] {
        assert!(json.contains(part), "no {part}");
    }
}

#[pin_project::pin_project]
struct Counted<F> {
    #[pin]
    future: F,
    polls: u32,
}

#[test]
fn the_pictures_of_the_course_say_what_is_so() {
    let boxed = Box::pin(async { 7 });
    let places = Places::new().with("the future", &*boxed).with("its box", &boxed).with("a literal", "text");
    let text = places.to_string();
    assert!(text.contains("its box: 0x") && text.contains("leads to the future"), "{text}");
    let pair = Box::new((String::from("a"), [1u8; 9]));
    let nested = Places::new().with("all", &*pair).with("part", &pair.1);
    assert!(nested.to_string().contains("inside all at +0x"), "{nested}");

    let mut counted = Box::pin(Counted { future: async { 7 }, polls: 0 });
    let picture = Projection::of("Counted", &*counted);
    let this = counted.as_mut().project();
    let picture = picture.field("future", &this.future).field("polls", &this.polls);
    let text = picture.to_string();
    assert!(text.contains(", pinned") && text.contains("polls: &mut u32, free"), "{text}");

    let sheet = cheat_sheet(&[["i32", "Unpin", "not pinned", "yes"], ["Tangled", "!Unpin", "Pin<Box<_>>", "no: refused, E0596"]]);
    // What is drawn is said, too.
    for way in ["Box::pin, pin!", "no way back", "drop, in its place"] {
        assert_eq!(sheet.svg().matches(way).count(), 2, "{way} in {}", sheet.svg());
        assert!(sheet.words().contains(way), "{way} in {sheet}");
    }
    let timeline = faults();
    for figure in [places.figure(), nested.figure(), picture.figure(), sheet, timeline.reactor(), timeline.turns()] {
        well_laid_out(figure.svg());
    }
    assert!(timeline.reactor().words().contains("The wake: "), "{}", timeline.reactor());
}

#[test]
fn a_recording_of_nothing_has_no_polls_in_a_row() {
    let rt = Runtime::new().unwrap();
    rt.record();
    let turns = rt.stop_recording().turns();
    assert!(turns.svg().contains("0 polls in all, at most 0 in a row"), "{}", turns.svg());
    assert!(turns.svg().contains("0 rows of polls; at most 0 in one."), "{}", turns.svg());
    well_laid_out(turns.svg());
}

/// A picture is drawn with whatever type it is asked for, and none is too small to be read.
#[test]
fn no_text_is_smaller_than_can_be_read() {
    for size in [0.0, -3.0, 10.0, f64::NAN, f64::NEG_INFINITY, Type::LEAST, 14.0] {
        for style in [Type::sans(size), Type::mono(size).bold().end()] {
            let mut svg = Svg::new();
            svg.text(200.0, 20.0, "text", style);
            svg.digits(20.0, 60.0, "0f", 9.0, style);
            svg.paragraph(200.0, 90.0, 120.0, 20.0, "more of it in lines", style);
            well_laid_out(&svg.finish("small", "text"));
        }
    }
}

#[test]
fn an_engine_shows_how_it_stands_after_a_step() {
    let rt = Runtime::new().unwrap();
    drop(rt.spawn(yield_now()));
    drop(rt.spawn(std::future::pending::<()>()));
    let step = rt.step();
    assert!(step.to_string().contains("queue: #1, then #0"), "{step}");
    well_laid_out(step.figure().svg());
    rt.step();
    assert!(rt.step().to_string().contains("nobody has its waker"), "{}", rt.snapshot());
}
