//! The cheat sheet: who may move, and the three states of a value.

use crate::show::{Colour, Figure, Svg, Type, colour};

const SMALL: Type = Type::sans(12.0).fill(colour::FAINT);
const BOLD: Type = Type::sans(13.0).bold();

/// The ways between the states, as they are drawn and as they are said.
const IN: &str = "Box::pin, pin!";
const END: &str = "drop, in its place";
const NO_WAY_BACK: &str = "no way back";

/// The cheat sheet as a picture: a row for each `[type, Unpin or !Unpin, how it is held, may it move?]`, as the compiler answered them,
/// and above it the states of a value: not pinned, pinned, dropped.
///
/// An answer that begins with `no` is drawn as a refusal, one with `yes` and nothing more as a move that is well, any other as one to
/// look at. What may be left again (a pin on an `Unpin` type) is taken from the rows.
///
/// ```
/// let rows = [
///     ["i32", "Unpin", "not pinned", "yes"],
///     ["i32", "Unpin", "Pin<Box<_>>", "yes"],
///     ["Tangled", "!Unpin", "not pinned", "yes, and it breaks"],
///     ["Tangled", "!Unpin", "Pin<Box<_>>", "no: refused, E0596"],
/// ];
/// pinlab::pictures::cheat_sheet(&rows).evcxr_display();
/// ```
pub fn cheat_sheet<S: AsRef<str>>(rows: &[[S; 4]]) -> Figure {
    let rows: Vec<[&str; 4]> = rows.iter().map(|row| row.each_ref().map(AsRef::as_ref)).collect();
    let mut svg = Svg::new();
    let back = way_back(&rows);
    states(&mut svg, back.as_deref());
    table(&mut svg, &rows);
    let way_back = back.as_deref().unwrap_or(NO_WAY_BACK);
    let mut words = format!("not pinned → pinned: {IN}\npinned → not pinned: {way_back}\npinned → dropped: {END}");
    for [what, unpin, held, moves] in &rows {
        words += &format!("\n{what}, {unpin}, {held}: may it move? {moves}");
    }
    let title = "The cheat sheet of Pin";
    let description = words.replace('\n', ". ");
    Figure::new(title, description.clone(), words, svg.finish(title, &description))
}

fn held_pinned(held: &str) -> bool {
    held.contains("Pin") || held.contains("pin!") || held.starts_with("pinned")
}

/// What the answer is worth: its colours, and its sign.
fn verdict(moves: &str) -> (Colour, Colour, &'static str) {
    match moves.trim() {
        "yes" => (colour::TEAL_GROUND, colour::TEAL, "✓"),
        no if no.starts_with("no") => (colour::BLUE_GROUND, colour::BLUE, "∅"),
        _ => (colour::RED_GROUND, colour::RED, "✗"),
    }
}

/// How those come back that the rows say may move though they are pinned.
fn way_back(rows: &[[&str; 4]]) -> Option<String> {
    let mut who: Vec<&str> = Vec::new();
    for [_, unpin, held, moves] in rows {
        if held_pinned(held) && moves.starts_with("yes") && !who.contains(unpin) {
            who.push(unpin);
        }
    }
    (!who.is_empty()).then(|| format!("{}: get_mut, and out again", who.join(", ")))
}

/// The states of a value, and the ways between them.
fn states(svg: &mut Svg, back: Option<&str>) {
    let (y, wide, tall) = (52.0, 150.0, 46.0);
    let xs = [20.0, 320.0, 620.0];
    let boxes = [
        ("not pinned", "may move", colour::PAPER, colour::INK),
        ("pinned", "stays, to the end", colour::AMBER_GROUND, colour::AMBER),
        ("dropped", "where it was pinned", colour::GREY, colour::FAINT),
    ];
    for ((name, what, ground, ink), x) in boxes.into_iter().zip(xs) {
        svg.rect((x, y), (wide, tall), 8.0, ground, ink);
        svg.text(x + wide / 2.0, y + 20.0, name, BOLD.fill(ink).middle());
        svg.text(x + wide / 2.0, y + 37.0, what, SMALL.fill(ink).middle());
    }
    let middle = y + tall / 2.0;
    for (pair, name) in xs.windows(2).zip([IN, END]) {
        let (from, to) = (pair[0] + wide, pair[1]);
        svg.straight((from + 2.0, middle), (to - 3.0, middle), colour::AMBER, false);
        svg.text((from + to) / 2.0, middle - 9.0, name, SMALL.middle());
    }
    let (from, to) = (xs[1] + 20.0, xs[0] + wide - 20.0);
    if back.is_some() {
        let low = y + tall + 26.0;
        svg.arrow((from, y + tall + 1.0), ((from, low), (to, low)), (to, y + tall + 2.0), colour::TEAL, true);
    }
    svg.text((from + to) / 2.0, y + tall + 38.0, back.unwrap_or(NO_WAY_BACK), SMALL.fill(colour::TEAL).middle());
    svg.text(20.0, 32.0, "The states of a value", Type::sans(14.0).bold());
}

fn table(svg: &mut Svg, rows: &[[&str; 4]]) {
    let heads = ["type", "is it Unpin?", "held", "may it move?"];
    let widths: Vec<f64> = (0..4)
        .map(|column| {
            let longest = rows.iter().map(|row| BOLD.width(row[column])).fold(BOLD.width(heads[column]), f64::max);
            longest.min([190.0, 110.0, 170.0, 340.0][column]) + 26.0
        })
        .collect();
    let wide: f64 = widths.iter().sum::<f64>() + 24.0;
    let mut y = svg.bottom() + 22.0;
    svg.text(20.0, y + 12.0, "Who may move", Type::sans(14.0).bold());
    y += 26.0;
    let mut x = 20.0;
    for (head, width) in heads.into_iter().zip(&widths) {
        svg.text(x + 12.0, y + 14.0, head, SMALL);
        x += width;
    }
    y += 22.0;
    for row in rows {
        let (ground, ink, sign) = verdict(row[3]);
        svg.rect((20.0, y), (wide, 32.0), 4.0, colour::PAPER, colour::LINE);
        let last: f64 = widths[..3].iter().sum();
        svg.rect((20.0 + last + 2.0, y + 2.0), (wide - last - 4.0, 28.0), 4.0, ground, None);
        let mut x = 20.0;
        for (column, (text, width)) in row.iter().zip(&widths).enumerate() {
            let style = match column {
                3 => BOLD.fill(ink),
                2 if held_pinned(text) => BOLD.fill(colour::AMBER),
                _ => Type::sans(13.0),
            };
            let (text, at) = if column == 3 { (format!("{sign} {text}"), x + 10.0) } else { ((*text).to_owned(), x + 12.0) };
            let room = width - 14.0 + if column == 3 { 24.0 } else { 0.0 };
            svg.text(at, y + 21.0, &style.fit(&text, room), style);
            x += width;
        }
        y += 36.0;
    }
}
