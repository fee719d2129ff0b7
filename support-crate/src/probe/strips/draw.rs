//! Strips as a picture: all at once, or the places of one moment.
//!
//! ```text
//! heading
//! what it is, its state                   ╭ arrows into itself run on the left,
//! ┌ +0x10  0000…05  val.cap   5 ┐ ─╮      ╰ to text outside on the right
//! └─────────────────────────────┘  │
//! address, size                    │
//! heap 0x55… ┌H┬e┬l┬l┬o┐ ◀─────────╯
//! ```

mod arrows;

use super::{Lead, Strips, explain, gap_says};
use crate::probe::xray::{Meaning, Row, Word, XRay, offset_label, offset_width};
use crate::show::{
    Svg, Type,
    colour::{self, Colour},
    text::counted,
};
use std::ops::Range;

const ROW: f64 = 24.0;
/// Above the rows of a strip: its heading and what it is.
const HEAD: f64 = 44.0;
/// Each digit of a word.
const DIGIT: f64 = 7.1;
const LEFT: f64 = 34.0;
const RIGHT: f64 = 28.0;
/// Above this the strips go on below.
const PAGE: f64 = 1000.0;
/// A box of text that a strip leads to, with its label.
const TEXT: f64 = 30.0;
const MOST_TEXTS: usize = 3;

const SMALL: Type = Type::sans(12.0).fill(colour::FAINT);
const NOTE: Type = Type::sans(12.0).fill(colour::RED);

/// A strip at its place in a picture.
#[derive(Clone, Copy)]
struct Placed {
    strip: usize,
    column: usize,
    x: f64,
    y: f64,
}

/// What all strips of a picture share: the columns of a row, and when "now" is.
pub(super) struct Drawing<'a> {
    strips: &'a Strips,
    now: usize,
    rows: Vec<Vec<Row>>,
    /// Left edges, counted from that of the strip.
    hex: f64,
    name: f64,
    says: f64,
    width: f64,
}

/// All strips at once, side by side as far as there is room.
pub(super) fn all(strips: &Strips) -> Svg {
    let drawing = Drawing::of(strips, strips.last(), strips.strips.len() == 1);
    let mut svg = Svg::new();
    let shown: Vec<usize> = (0..strips.strips.len()).collect();
    let placed = drawing.arrange(&shown, drawing.columns());
    drawing.draw(&mut svg, &placed);
    svg
}

/// One picture for each strip: every place as it was when that strip was taken.
pub(super) fn positions(strips: &Strips) -> Vec<Svg> {
    let mut places: Vec<usize> = Vec::new();
    for i in 0..strips.strips.len() {
        if !places.iter().any(|&first| same_place(strips.xray(first), strips.xray(i))) {
            places.push(i);
        }
    }
    let mut drawing = Drawing::of(strips, strips.last(), places.len() == 1);
    (0..strips.strips.len())
        .map(|now| {
            drawing.now = now;
            let mut svg = Svg::new();
            let there = |first: usize| (first..=now).rev().find(|&i| same_place(strips.xray(first), strips.xray(i)));
            // As tall as the tallest that is ever here, so that nothing jumps.
            let mut placed = drawing.arrange(&places, drawing.columns());
            for (at, &first) in placed.iter_mut().zip(&places) {
                match there(first) {
                    Some(strip) => at.strip = strip,
                    None => drawing.nothing_yet(&mut svg, at, first),
                }
            }
            placed.retain(|at| at.strip <= now && places.iter().any(|&first| there(first) == Some(at.strip)));
            drawing.draw(&mut svg, &placed);
            svg
        })
        .collect()
}

fn same_place(one: &XRay, other: &XRay) -> bool {
    one.address() == other.address()
}

impl<'a> Drawing<'a> {
    fn of(strips: &'a Strips, now: usize, alone: bool) -> Self {
        let digits = strips.strips.iter().map(|(_, xray)| offset_width(xray.size())).max().unwrap_or(0);
        let (mut name, mut says): (f64, f64) = (0.0, 60.0);
        let rows: Vec<Vec<Row>> = strips.strips.iter().map(|(_, xray)| xray.rows()).collect();
        for (i, rows) in rows.iter().enumerate() {
            for row in rows {
                let Row::Word(word) = row else { continue };
                name = name.max(SMALL.bold().width(&short(word)));
                says = says.max(SMALL.bold().width(&strips.drawn(i, word, now)));
            }
        }
        // Two strips have room beside each other on a page.
        let (most_name, most_says) = if alone { (260.0, 220.0) } else { (122.0, 112.0) };
        let name = name.min(most_name);
        let hex = 8.0 + Type::mono(11.0).width("0") * digits as f64 + 8.0;
        let name_at = hex + 16.0 * DIGIT + 10.0;
        let says_at = name_at + name + if name > 0.0 { 8.0 } else { 0.0 };
        Self { strips, now, rows, hex, name: name_at, says: says_at, width: (says_at + says.min(most_says) + 8.0).round() }
    }

    fn columns(&self) -> usize {
        ((PAGE - Svg::MARGIN) / (LEFT + self.width + RIGHT)).floor().max(1.0) as usize
    }

    fn rows_tall(&self, strip: usize) -> f64 {
        self.rows[strip].len().max(1) as f64 * ROW
    }

    fn tall(&self, strip: usize) -> f64 {
        HEAD + self.rows_tall(strip) + 26.0 + self.texts(strip).len() as f64 * TEXT
    }

    /// Puts strips into columns, row by row.
    fn arrange(&self, shown: &[usize], columns: usize) -> Vec<Placed> {
        let mut placed = Vec::new();
        let mut y = 14.0;
        for line in shown.chunks(columns) {
            for (column, &strip) in line.iter().enumerate() {
                let x = LEFT + column as f64 * (LEFT + self.width + RIGHT);
                placed.push(Placed { strip, column, x, y });
            }
            let ever_here = |strip: usize| {
                (0..self.strips.strips.len()).filter(move |&i| same_place(self.strips.xray(i), self.strips.xray(strip)))
            };
            y += line.iter().flat_map(|&strip| ever_here(strip)).map(|strip| self.tall(strip)).fold(0.0, f64::max) + 14.0;
        }
        placed
    }

    fn draw(&self, svg: &mut Svg, placed: &[Placed]) {
        let targets = self.targets(placed);
        for at in placed {
            self.strip(svg, at, &targets);
        }
        for at in placed {
            self.arrows(svg, at, placed);
        }
        let notes: Vec<String> = placed.iter().flat_map(|at| self.strips.notes(at.strip, self.now)).take(4).collect();
        let right = placed.iter().map(|at| at.x + self.width).fold(360.0, f64::max);
        let mut y = svg.bottom() + 16.0;
        if placed.iter().any(|at| self.marks(at.strip)) {
            svg.rect((LEFT, y - 2.0), (22.0, 2.5), 0.0, colour::AMBER, None);
            svg.text(LEFT + 30.0, y + 2.0, "bytes that differ", SMALL);
            y += 18.0;
        }
        let room = right - LEFT - 32.0;
        let lines: Vec<String> = notes.iter().flat_map(|note| NOTE.wrap(note, room)).collect();
        if !lines.is_empty() {
            svg.rect((LEFT, y), (right - LEFT, 18.0 * lines.len() as f64 + 16.0), 6.0, colour::RED_GROUND, colour::RED);
            for (i, line) in lines.iter().enumerate() {
                svg.text(LEFT + 16.0, y + 21.0 + 18.0 * i as f64, line, NOTE);
            }
        }
    }

    fn marks(&self, strip: usize) -> bool {
        self.strips.xray(strip).words().take(512).any(|word| self.strips.changed(strip, &word).contains(&true))
    }

    fn nothing_yet(&self, svg: &mut Svg, at: &mut Placed, first: usize) {
        let tall = self.rows_tall(first);
        svg.box_("dashed", (at.x, at.y + HEAD), (self.width, tall), 6.0, None, colour::LINE);
        svg.text(at.x + 12.0, at.y + HEAD + 20.0, "nothing has been looked at here yet", SMALL);
        let foot = self.strips.xray(first).address().to_string();
        svg.text(at.x, at.y + HEAD + tall + 17.0, &foot, Type::mono(11.0).fill(colour::FAINT));
        at.strip = usize::MAX;
    }

    fn strip(&self, svg: &mut Svg, at: &Placed, targets: &[(usize, Range<usize>)]) {
        let (strip, x, xray) = (at.strip, at.x, self.strips.xray(at.strip));
        let rows = &self.rows[strip];
        let heading = Type::sans(14.0).bold();
        svg.text(x, at.y + 16.0, &heading.fit(&self.strips.heading(strip), self.width), heading);
        let (what, ink) = self.subtitle(strip);
        let style = SMALL.fill(ink);
        svg.text(x, at.y + 34.0, &style.fit(&what, self.width), style);

        let top = at.y + HEAD;
        let tall = self.rows_tall(strip);
        let border = if self.strips.strips.len() > 1 && strip == self.now { colour::FAINT } else { colour::LINE };
        let class = if xray.vacant { "dashed" } else { "" };
        svg.box_(class, (x, top), (self.width, tall), 6.0, colour::PAPER, if xray.vacant { colour::FAINT } else { border });
        if rows.is_empty() {
            svg.text(x + 10.0, top + 16.0, "no bytes at all", SMALL);
        }
        for (i, row) in rows.iter().enumerate() {
            let y = top + i as f64 * ROW;
            match row {
                Row::Word(word) => self.word(svg, strip, word, (x, y), targets),
                gap => drop(svg.text(x + 10.0, y + 16.0, &SMALL.fit(&gap_says(gap), self.width - 20.0), SMALL)),
            }
            if i > 0 {
                svg.line((x, y), (x + self.width, y), colour::LINE);
            }
        }
        let title = xray.title.as_deref().filter(|_| !self.strips.label(strip).is_empty());
        let title = title.map(|title| format!("{title}  ")).unwrap_or_default();
        let foot = format!("{title}{}, {}", self.strips.place(strip), counted(xray.size(), "byte", "bytes"));
        let mono = Type::mono(11.0).fill(colour::FAINT);
        svg.text(x, top + tall + 17.0, &mono.fit(&foot, self.width), mono);
    }

    /// What stands under the heading.
    fn subtitle(&self, strip: usize) -> (String, Colour) {
        let xray = self.strips.xray(strip);
        if let Some(warning) = &xray.warning {
            return (warning.clone(), colour::RED);
        }
        let what = (self.strips.heading(strip) != xray.what).then(|| xray.what.clone());
        let state = match (&xray.state, xray.vacant) {
            (_, true) => Some("vacant, leftover bytes".to_owned()),
            (Some(state), _) => Some(format!("in state {state}")),
            (None, _) => None,
        };
        let then = (strip < self.now && self.now < self.strips.last()).then(|| "as it was".to_owned());
        (what.into_iter().chain(state).chain(then).collect::<Vec<_>>().join(", "), colour::FAINT)
    }

    fn word(&self, svg: &mut Svg, strip: usize, word: &Word, (x, y): (f64, f64), targets: &[(usize, Range<usize>)]) {
        let (xray, lead) = (self.strips.xray(strip), self.strips.lead_of(strip, word, self.now));
        let is_target = targets
            .iter()
            .any(|(to, field)| *to == strip && field.start < word.offset() + word.size() && field.end > word.offset());
        let (ground, ink, bold) = match (lead, word.meaning()) {
            _ if xray.vacant => (colour::GREY, colour::FAINT, false),
            (Lead::Other { stale: true, .. }, _) => (colour::RED_GROUND, colour::RED, true),
            (Lead::Itself(_), _) => (colour::AMBER_GROUND, colour::AMBER, true),
            (Lead::Other { .. }, _) => (colour::BLUE_GROUND, colour::BLUE, true),
            _ if is_target => (colour::TEAL_GROUND, colour::TEAL, true),
            (_, Meaning::State(_)) => (colour::GREY, colour::INK, true),
            (_, Meaning::Unused) => (colour::GREY, colour::FAINT, false),
            _ => (colour::PAPER, colour::FAINT, false),
        };
        let name = explain::name(self.strips, strip, word);
        let used = *word.meaning() != Meaning::Unused && word.value() != 0 && !xray.vacant;
        let value = if used { format!("{:x}", word.value()) } else { String::new() };
        let say = explain::word(self.strips, strip, word, self.now);
        svg.group(&[
            ("class", "w"),
            ("data-at", &id(strip, word.offset())),
            ("data-to", &self.leads_to(strip, word, lead)),
            ("data-v", &value),
            ("data-name", &name),
            ("data-say", &say),
        ]);
        svg.box_("b", (x + 1.0, y + 1.0), (self.width - 2.0, ROW - 2.0), 3.0, ground, None);
        svg.text(x + 8.0, y + 16.0, &offset_label(word.offset()), Type::mono(11.0).fill(colour::FAINT));
        let digits = word.hex().chars().count();
        let hex = x + self.hex + (16 - digits.min(16)) as f64 * DIGIT;
        let hex_ink = if value.is_empty() && word.value() == 0 || xray.vacant { colour::FAINT } else { colour::INK };
        svg.digits(hex, y + 16.0, word.hex(), DIGIT, Type::mono(12.0).fill(hex_ink));
        for (i, _) in self.strips.changed(strip, word).iter().enumerate().filter(|(_, changed)| **changed) {
            svg.rect((hex + 2.0 * DIGIT * i as f64, y + 19.0), (2.0 * DIGIT, 2.5), 0.0, colour::AMBER, None);
        }
        let style = SMALL.fill(ink);
        let style = if bold { style.bold() } else { style };
        svg.text(x + self.name, y + 16.0, &style.fit(&short(word), self.says - self.name - 6.0), style);
        let says = self.strips.drawn(strip, word, self.now);
        svg.text(x + self.says, y + 16.0, &style.fit(&says, self.width - self.says - 6.0), style);
        svg.end();
    }

    /// What the arrows of the picture lead to: a strip, and the bytes of a field in it.
    fn targets(&self, placed: &[Placed]) -> Vec<(usize, Range<usize>)> {
        let mut targets = Vec::new();
        for from in placed {
            for row in &self.rows[from.strip] {
                let Row::Word(word) = row else { continue };
                let (to, offset) = match self.strips.lead_of(from.strip, word, self.now) {
                    Lead::Itself(offset) => (from.strip, offset),
                    Lead::Other { strip, offset, .. } => (strip, offset),
                    Lead::Nowhere => continue,
                };
                targets.push((to, self.strips.xray(to).field_at(offset)));
            }
        }
        targets
    }

    /// The ids of what a word leads to: each word of the field, or the box with the text.
    fn leads_to(&self, strip: usize, word: &Word, lead: Lead) -> String {
        let (to, offset) = match lead {
            Lead::Itself(offset) => (strip, offset),
            Lead::Other { strip, offset, .. } => (strip, offset),
            Lead::Nowhere => return outside_id(strip, word.value()),
        };
        let field = self.strips.xray(to).field_at(offset);
        let words = field.step_by(8).map(|at| id(to, at / 8 * 8));
        words.take(64).collect::<Vec<_>>().join(" ")
    }
}

/// The name of a word as there is room for it.
fn short(word: &Word) -> String {
    let name = word.name().replace(" (argument)", " (arg)");
    match (word.meaning(), name.strip_suffix(", state")) {
        (Meaning::State(_), Some(others)) => format!("state, {others}"),
        _ => name,
    }
}

fn id(strip: usize, offset: usize) -> String {
    format!("s{strip}-{offset}")
}

fn outside_id(strip: usize, address: usize) -> String {
    format!("h{strip}-{address:x}")
}
