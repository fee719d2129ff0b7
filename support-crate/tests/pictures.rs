//! Pictures are well formed and all of their text has its place, whatever it is that they show.

use pinlab::{prelude::*, probe::Strips, show::Type};
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
