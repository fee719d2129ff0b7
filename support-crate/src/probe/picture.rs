//! The memory strip: a row a word, and an arrow for every pointer that leads into a strip of the picture.
//!
//! Invariants:
//! 1. The picture and the text are made from the same rows, so they say the same.
//! 2. Where two strips show the same place, the later one is what is there now: arrows from elsewhere lead to it.
//! 3. A pointer is *stale* when it leads out of its own strip, and another strip has the same pointer at the same offset
//!    as a self-pointer: the bytes were copied, and the pointer did not follow. Stale is red, and dashed, and says so.

use super::{
    lowered::{Field, FieldKind, Lowered, future_name},
    xray::{Meaning, Row, WORD, Word, XRay, grouped, offset_label, offset_width},
};
use crate::show::{self, Svg, Type, colour};
use std::fmt::{self, Write as _};

/// Memory strips side by side; made by [`XRay::beside`].
#[derive(Debug, Clone)]
pub struct Strips {
    strips: Vec<(String, XRay)>,
}

/// Where a pointer of one strip leads, as far as the picture shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lead {
    Itself(usize),
    Other { strip: usize, offset: usize, stale: bool },
    Nowhere,
}

impl Strips {
    pub(crate) fn new(strips: &[(&str, &XRay)]) -> Self {
        Self { strips: strips.iter().map(|(label, xray)| ((*label).to_owned(), (*xray).clone())).collect() }
    }

    /// Where `value` leads, which stands `offset` bytes into a strip.
    fn lead(&self, strip: usize, offset: usize, value: usize) -> Lead {
        let xray = &self.strips[strip].1;
        if xray.covers(value) {
            return Lead::Itself(value - xray.address().usize());
        }
        let mut others = self.strips.iter().enumerate().filter(|(i, (_, other))| *i != strip && other.covers(value));
        // Invariant 3.
        let is_own = |other: &XRay| other.size() == xray.size() && other.pointer_at(offset) == Some(value);
        let stale = others.clone().any(|(_, (_, other))| is_own(other));
        // Invariant 2.
        match others.next_back() {
            Some((i, (_, other))) => Lead::Other { strip: i, offset: value - other.address().usize(), stale },
            None => Lead::Nowhere,
        }
    }

    fn lead_of(&self, strip: usize, word: &Word) -> Lead {
        let pointer = self.strips[strip].1.pointer_at(word.offset());
        pointer.map_or(Lead::Nowhere, |value| self.lead(strip, word.offset(), value))
    }

    /// What to call a strip in a sentence: its number when its label starts with one, else the label or title, quoted.
    fn label(&self, strip: usize) -> String {
        let (label, xray) = &self.strips[strip];
        match label.chars().next() {
            Some(number @ '①'..='⑳') => number.to_string(),
            Some(_) => format!("“{label}”"),
            None => format!("“{}”", xray.title.as_deref().unwrap_or(&xray.what)),
        }
    }

    fn says(&self, strip: usize, word: &Word, itself: &str) -> String {
        match self.lead_of(strip, word) {
            Lead::Other { strip, offset, stale: true } => format!("→ not {itself}: {} +{offset:#04x}", self.label(strip)),
            Lead::Other { strip, offset, stale: false } => format!("→ {} +{offset:#04x}", self.label(strip)),
            Lead::Itself(_) | Lead::Nowhere => word.says(itself),
        }
    }

    /// Where the strip stands, and whether an earlier one stood there.
    fn place(&self, strip: usize) -> String {
        let xray = &self.strips[strip].1;
        let earlier = (0..strip).find(|&i| self.strips[i].1.address() == xray.address() && xray.size() > 0);
        let earlier = earlier.map(|i| format!(", the place of {}", self.label(i))).unwrap_or_default();
        format!("{}{earlier}", xray.address())
    }

    /// A sentence for every stale pointer (invariant 3): where it leads, and where it would have to lead.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for (i, (_, xray)) in self.strips.iter().enumerate() {
            for (at, value) in xray.pointers() {
                let Lead::Other { strip, offset, stale: true } = self.lead(i, at, value) else {
                    continue;
                };
                let name = xray.span_at(at).map_or("the pointer", |span| &span.name);
                let (there, own) = (self.strips[strip].1.describe(offset), xray.address().usize() + offset);
                let (me, other) = (self.label(i), self.label(strip));
                notes.push(format!(
                    "{me}: {name} at +{at:#04x} holds {value:#x}. That is {there} of {other}, and not its own at {own:#x}."
                ));
            }
        }
        notes
    }

    /// Shows the strips in a notebook: as a picture, with the same in text beside it.
    pub fn evcxr_display(&self) {
        show::to_notebook(&[("image/svg+xml", &self.svg()), ("text/plain", &self.to_string())]);
    }

    /// The picture.
    pub fn svg(&self) -> String {
        Drawing::of(self).svg()
    }
}

impl fmt::Display for Strips {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (label, xray)) in self.strips.iter().enumerate() {
            if i > 0 {
                f.write_str("\n\n")?;
            }
            if !label.is_empty() {
                writeln!(f, "{label}")?;
            }
            f.write_str(&xray.headline(&self.place(i)))?;
            if let Some(warning) = &xray.warning {
                write!(f, "\n  ! {warning}")?;
            }
            let rows = xray.rows();
            let names = rows.iter().filter_map(|row| match row {
                Row::Word(word) => Some(word.name().chars().count()),
                Row::Gap { .. } => None,
            });
            let wide = names.max().unwrap_or(0);
            let digits = offset_width(xray.size());
            for row in rows {
                let mut line = String::new();
                match row {
                    Row::Word(word) => {
                        let offset = offset_label(word.offset());
                        let _ = write!(line, "  {offset:<digits$}  {:>16}", word.hex());
                        if wide > 0 {
                            let _ = write!(line, "  {:<wide$}", word.name());
                        }
                        let _ = write!(line, "  {}", self.says(i, &word, "itself"));
                    }
                    gap => {
                        let _ = write!(line, "  {:digits$}  {}", "", gap_says(&gap));
                    }
                }
                write!(f, "\n{}", line.trim_end())?;
            }
        }
        for (i, note) in self.notes().iter().enumerate() {
            write!(f, "{}! {note}", if i == 0 { "\n\n" } else { "\n" })?;
        }
        Ok(())
    }
}

fn gap_says(row: &Row) -> String {
    let Row::Gap { words, same, unused, name } = row else {
        return String::new();
    };
    let of = if name.is_empty() { String::new() } else { format!(" of {name}") };
    let all = match (same, unused) {
        (_, true) => ", not in use",
        (true, _) => ", all the same",
        _ => "",
    };
    format!("… {} more words{of}{all}", grouped(*words))
}

const ROW: f64 = 26.0;
const MARGIN: f64 = 30.0;
const TOP: f64 = 70.0;
/// Between two strips: room for the arrows.
const BETWEEN: f64 = 48.0;

/// The measures of a picture: strips stand side by side, each as wide as its longest row.
struct Drawing<'a> {
    strips: &'a Strips,
    rows: Vec<Vec<Row>>,
    left: Vec<f64>,
    width: f64,
    /// Where the bytes end, from the left edge of a strip.
    hex_end: f64,
}

impl<'a> Drawing<'a> {
    fn of(strips: &'a Strips) -> Self {
        let rows: Vec<Vec<Row>> = strips.strips.iter().map(|(_, xray)| xray.rows()).collect();
        let mut longest: f64 = 110.0;
        for (i, rows) in rows.iter().enumerate() {
            for row in rows {
                if let Row::Word(word) = row {
                    longest = longest.max(Type::sans(12.0).bold().width(&right_side(strips, i, word)));
                }
            }
        }
        let digits = strips.strips.iter().map(|(_, xray)| offset_width(xray.size())).max();
        let hex_end = (10.0 + 6.8 * digits.unwrap_or(0) as f64 + 14.0 + 16.0 * 7.35).round();
        // Three strips and more share a column of the page: they are narrower, so that they need not be drawn so small.
        let most = if rows.len() > 2 { 230.0 } else { 290.0 };
        let width = (hex_end + 20.0 + longest + 10.0).min(hex_end + most).round();
        let left = (0..rows.len()).map(|i| MARGIN + i as f64 * (width + BETWEEN)).collect();
        Self { strips, rows, left, width, hex_end }
    }

    /// The middle of the row that shows `offset`.
    fn row_y(&self, strip: usize, offset: usize) -> f64 {
        let mut best = 0;
        for (i, row) in self.rows[strip].iter().enumerate() {
            if matches!(row, Row::Word(word) if word.offset() <= offset) {
                best = i;
            }
        }
        TOP + best as f64 * ROW + ROW / 2.0
    }

    fn svg(&self) -> String {
        let count = self.strips.strips.len();
        let title = match self.strips.strips.as_slice() {
            [(_, only)] => format!("Memory strip of {}", only.what),
            _ => "Memory strips side by side".to_owned(),
        };
        let mut svg = Svg::new(title, self.strips.to_string());
        let most_rows = self.rows.iter().map(Vec::len).max().unwrap_or(0).max(1);
        let mut height = TOP + most_rows as f64 * ROW + 42.0;
        for strip in 0..count {
            self.strip(&mut svg, strip);
        }
        for strip in 0..count {
            self.arrows(&mut svg, strip);
        }
        let right = self.left.last().map_or(0.0, |left| left + self.width);
        let notes = self.strips.notes();
        if !notes.is_empty() {
            const MOST: usize = 4;
            let shown = notes.len().min(MOST);
            let tall = 18.0 + 20.0 * shown as f64;
            svg.rect(MARGIN, height, right - MARGIN, tall, 8.0, colour::RED_GROUND, "none");
            for (i, note) in notes.iter().take(shown).enumerate() {
                let most = ((right - MARGIN - 30.0) / 6.6) as usize;
                let y = height + 23.0 + 20.0 * i as f64;
                svg.text(MARGIN + 16.0, y, &show::elide(note, most), Type::sans(12.5).fill(colour::RED));
            }
            height += tall + 20.0;
        }
        svg.finish(right + MARGIN + 14.0, height)
    }

    fn strip(&self, svg: &mut Svg, strip: usize) {
        let (label, xray) = &self.strips.strips[strip];
        let (x, width, rows) = (self.left[strip], self.width, &self.rows[strip]);
        let heading = if label.is_empty() { xray.title.clone().unwrap_or_else(|| xray.what.clone()) } else { label.clone() };
        svg.text(x, 38.0, &show::elide(&heading, (width / 7.8) as usize), Type::sans(14.0).bold());
        let state = xray.state.as_deref().map(|state| format!("in state {state}"));
        let what = (heading != xray.what).then(|| xray.what.clone());
        let subtitle = what.into_iter().chain(state).collect::<Vec<_>>().join(", ");
        let (subtitle, ink) = match &xray.warning {
            Some(warning) => (warning, colour::RED),
            None => (&subtitle, colour::FAINT),
        };
        let most = (width / 6.2) as usize;
        svg.text(x, 57.0, &show::elide(subtitle, most), Type::sans(12.0).fill(ink));
        let targets = self.targets(strip);
        let tall = rows.len().max(1) as f64 * ROW;
        svg.rect(x, TOP, width, tall, 6.0, colour::PAPER, colour::LINE);
        if rows.is_empty() {
            svg.text(x + 10.0, TOP + 17.0, "no bytes at all", Type::sans(12.0).fill(colour::FAINT));
        }
        for (i, row) in rows.iter().enumerate() {
            let y = TOP + i as f64 * ROW;
            if i > 0 {
                svg.line((x, y), (x + width, y), colour::LINE);
            }
            let Row::Word(word) = row else {
                svg.text(x + 10.0, y + 17.0, &gap_says(row), Type::sans(12.0).fill(colour::FAINT));
                continue;
            };
            let lead = self.strips.lead_of(strip, word);
            let stale = matches!(lead, Lead::Other { stale: true, .. });
            let is_target = targets.iter().any(|target| target.start < word.offset() + word.size() && target.end > word.offset());
            let (ground, ink, bold) = match (lead, word.meaning()) {
                _ if stale => (colour::RED_GROUND, colour::RED, true),
                (Lead::Itself(_), _) => (colour::AMBER_GROUND, colour::AMBER, true),
                (Lead::Other { .. }, _) => (colour::BLUE_GROUND, colour::BLUE, true),
                _ if is_target => (colour::TEAL_GROUND, colour::TEAL, true),
                (_, Meaning::State(_)) => (colour::GREY, colour::INK, true),
                (_, Meaning::Unused) => (colour::GREY, colour::FAINT, false),
                _ => (colour::PAPER, colour::FAINT, false),
            };
            if ground != colour::PAPER {
                svg.rect(x + 1.0, y + 1.0, width - 2.0, ROW - 2.0, if rows.len() == 1 { 5.0 } else { 0.0 }, ground, "none");
            }
            let faint = Type::mono(11.0).fill(colour::FAINT);
            svg.text(x + 10.0, y + 17.0, &format!("+{:#04x}", word.offset()), faint);
            let hex_ink = if *word.meaning() == Meaning::Unused { colour::FAINT } else { colour::INK };
            svg.text(x + self.hex_end, y + 17.0, word.hex(), Type::mono(12.0).fill(hex_ink).end());
            let most = ((width - self.hex_end - 28.0) / 6.9) as usize;
            let right = right_side(self.strips, strip, word);
            let style = Type::sans(12.0).fill(ink).end();
            svg.text(x + width - 10.0, y + 17.0, &show::elide(&right, most), if bold { style.bold() } else { style });
        }
        let bytes = if xray.size() == 1 { "byte" } else { "bytes" };
        let title = xray.title.as_deref().filter(|_| !label.is_empty()).map(|title| format!("{title}  ")).unwrap_or_default();
        let foot = format!("{title}{}, {} {bytes}", self.strips.place(strip), grouped(xray.size()));
        svg.text(x, TOP + tall + 18.0, &foot, Type::mono(11.0).fill(colour::FAINT));
    }

    /// The byte ranges of a strip that some pointer of the picture leads to.
    fn targets(&self, strip: usize) -> Vec<std::ops::Range<usize>> {
        let xray = &self.strips.strips[strip].1;
        let mut targets = Vec::new();
        for from in 0..self.strips.strips.len() {
            for row in &self.rows[from] {
                let Row::Word(word) = row else { continue };
                match self.strips.lead_of(from, word) {
                    Lead::Itself(offset) if from == strip => targets.push(xray.field_at(offset)),
                    Lead::Other { strip: to, offset, .. } if to == strip => targets.push(xray.field_at(offset)),
                    _ => {}
                }
            }
        }
        targets
    }

    fn arrows(&self, svg: &mut Svg, strip: usize) {
        const MOST: usize = 8;
        let right = self.left[strip] + self.width;
        let mut drawn = 0;
        for row in &self.rows[strip] {
            let Row::Word(word) = row else { continue };
            let y = self.row_y(strip, word.offset());
            let bend = 30.0 + 5.0 * f64::from(u8::try_from(drawn % MOST).unwrap_or(0));
            match self.strips.lead_of(strip, word) {
                Lead::Itself(offset) => {
                    // Ends just above the middle, so that an arrow to its own row has two ends.
                    let to = self.row_y(strip, offset) - if self.row_y(strip, offset) == y { 6.0 } else { 0.0 };
                    svg.arrow((right, y), ((right + bend, y), (right + bend, to)), (right + 2.0, to), colour::TEAL, false);
                }
                Lead::Other { strip: other, offset, stale } => {
                    let ink = if stale { colour::RED } else { colour::BLUE };
                    let to_y = self.row_y(other, offset);
                    if other > strip {
                        let to_x = self.left[other] - 2.0;
                        svg.arrow((right, y), ((right + bend, y), (to_x - bend, to_y)), (to_x, to_y), ink, stale);
                    } else {
                        let (from_x, to_x) = (self.left[strip], self.left[other] + self.width + 2.0);
                        svg.arrow((from_x, y), ((from_x - bend, y), (to_x + bend, to_y)), (to_x, to_y), ink, stale);
                    }
                }
                Lead::Nowhere => continue,
            }
            drawn += 1;
            if drawn > MOST {
                break;
            }
        }
    }
}

/// What stands at the right of a row: the name, and what the word says.
fn right_side(strips: &Strips, strip: usize, word: &Word) -> String {
    let says = strips.says(strip, word, "me");
    match (word.name(), word.meaning()) {
        ("", _) => says,
        (names, Meaning::State(state)) => {
            let with_state = |name| {
                if name == "state" { format!("state: {state}") } else { String::from(name) }
            };
            names.split(", ").map(with_state).collect::<Vec<_>>().join(", ")
        }
        (name, Meaning::Number(number)) => format!("{name} = {number}"),
        (name, _) if says.is_empty() => name.to_owned(),
        (name, _) => format!("{name} {says}"),
    }
}

/// The layout of a state machine: a column for each state that keeps something, the offsets down the side.
pub(crate) fn layout(lowered: &Lowered) -> String {
    const MOST: usize = 6;
    const COLUMN: f64 = 210.0;
    const GAP: f64 = 16.0;
    let (alive, over): (Vec<_>, Vec<_>) = lowered.variants().iter().partition(|variant| !variant.is_over());
    let shown = &alive[..alive.len().min(MOST)];

    // A line wherever some field of some state begins or ends; what lies between two lines is as tall as it needs.
    let ends = |field: &Field| [field.offset(), field.offset() + field.size()];
    let mut lines: Vec<usize> = shown.iter().flat_map(|variant| variant.fields()).flat_map(ends).collect();
    lines.extend([0, lowered.size()]);
    lines.extend(lowered.tag.iter().flat_map(|tag| [tag.start, tag.end]));
    lines.sort_unstable();
    lines.dedup();
    let mut heights = vec![TOP];
    for pair in lines.windows(2) {
        let words = (pair[1] - pair[0]).div_ceil(WORD).max(1);
        heights.push(heights.last().unwrap_or(&TOP) + 24.0 + 12.0 * (words as f64).log2());
    }
    let y = |offset: usize| heights[lines.binary_search(&offset).unwrap_or(0)];
    let bottom = *heights.last().unwrap_or(&TOP);

    let mut svg = Svg::new(format!("What the compiler made of {}", lowered.name()), lowered.to_string());
    let size = format!("{} bytes, aligned to {}", grouped(lowered.size()), lowered.align());
    svg.text(MARGIN, 28.0, lowered.name(), Type::sans(14.0).bold());
    svg.text(MARGIN + Type::sans(14.0).bold().width(lowered.name()) + 14.0, 28.0, &size, Type::sans(12.0).fill(colour::FAINT));
    for offset in &lines {
        svg.text(MARGIN, y(*offset) + 4.0, &format!("+{offset:#04x}"), Type::mono(11.0).fill(colour::FAINT));
    }
    for (i, variant) in shown.iter().enumerate() {
        let x = MARGIN + 62.0 + i as f64 * (COLUMN + GAP);
        svg.text(x, 56.0, variant.name(), Type::sans(12.0).bold());
        svg.rect(x, TOP, COLUMN, bottom - TOP, 4.0, colour::GREY, colour::LINE);
        let tag = lowered.tag.iter().map(|tag| (tag.start, tag.len(), "state".to_owned(), String::new(), FieldKind::Field));
        let fields = variant.fields().iter().map(|field| {
            let ty = field.type_name().filter(|_| field.kind() != FieldKind::Awaited).map(future_name);
            (field.offset(), field.size(), field.label(), ty.unwrap_or_default(), field.kind())
        });
        for (offset, size, label, ty, kind) in fields.chain(tag).filter(|field| field.1 > 0) {
            let (ground, ink) = match kind {
                FieldKind::Local => (colour::TEAL_GROUND, colour::TEAL),
                FieldKind::Awaited => (colour::AMBER_GROUND, colour::AMBER),
                FieldKind::Argument if variant.name() != "Unresumed" => (colour::PAPER, colour::FAINT),
                _ => (colour::PAPER, colour::INK),
            };
            let (top, tall) = (y(offset), y(offset + size) - y(offset));
            svg.rect(x + 1.0, top + 1.0, COLUMN - 2.0, tall - 2.0, 3.0, ground, "none");
            let (middle, bytes) = (top + tall / 2.0 + 4.0, grouped(size));
            let ty = if ty.is_empty() { ty } else { format!(": {ty}") };
            let text = show::elide(&format!("{label}{ty}"), 24).into_owned();
            svg.text(x + 9.0, middle, &text, Type::sans(12.0).fill(ink).bold());
            svg.text(x + COLUMN - 9.0, middle, &bytes, Type::mono(11.0).fill(colour::FAINT).end());
        }
    }
    let mut foot = Vec::new();
    if !over.is_empty() {
        let names: Vec<&str> = over.iter().map(|variant| variant.name()).collect();
        foot.push(format!("{}: nothing is kept.", names.join(", ")));
    }
    if alive.len() > shown.len() {
        foot.push(format!("{} more states: print the layout to see them.", alive.len() - shown.len()));
    }
    if lowered.tag.is_some() {
        foot.push("Numbers are bytes; grey is room that the state does not use.".into());
    }
    let (foot, small) = (foot.join("  "), Type::sans(12.0).fill(colour::FAINT));
    svg.text(MARGIN, bottom + 30.0, &foot, small);
    let right = MARGIN + 62.0 + shown.len() as f64 * (COLUMN + GAP) - GAP;
    svg.finish((right + MARGIN).max(small.width(&foot) + 2.0 * MARGIN).round(), bottom + 48.0)
}
