//! The layout of a state machine as a picture: a column for each state that keeps something, the offsets down the side.
//!
//! A line is drawn wherever some field of some state begins or ends. What lies between two lines is as tall as it needs to be read, and
//! grows with the logarithm of its bytes: that is not to scale, and the numbers say how much it is.

use super::{
    rustc::{Field, FieldKind, Lowered, Variant, future_name},
    strips::state_says,
    xray::{WORD, offset_label, offset_width},
};
use crate::show::{Figure, Svg, Type, colour, text::counted, text::grouped};
use std::collections::BTreeMap;

/// Columns of one picture; more states are left to the text.
const MOST: usize = 12;
const PAGE: f64 = 1000.0;
const GAP: f64 = 14.0;
const SMALL: Type = Type::sans(12.0).fill(colour::FAINT);

impl Lowered {
    /// Shows the layout in a notebook: a column for each state, with the same in text beside it.
    pub fn evcxr_display(&self) {
        self.figure().evcxr_display();
    }

    /// The picture with all that is known about it.
    pub fn figure(&self) -> Figure {
        figure(self)
    }

    /// The picture.
    pub fn svg(&self) -> String {
        draw(self)
    }
}

/// The picture.
fn draw(lowered: &Lowered) -> String {
    figure(lowered).svg().to_owned()
}

/// The picture with all that is known about it.
fn figure(lowered: &Lowered) -> Figure {
    let (alive, over): (Vec<&Variant>, Vec<&Variant>) = lowered.variants().iter().partition(|variant| !variant.is_over());
    let shown = &alive[..alive.len().min(MOST)];
    let title = format!("What the compiler made of {}", lowered.name());
    let states = if lowered.tag.is_some() {
        counted(alive.len(), "state keeps", "states keep") + " something"
    } else {
        "one layout".into()
    };
    let description =
        format!("{}, {}, aligned to {}; {states}.", lowered.name(), counted(lowered.size(), "byte", "bytes"), lowered.align());

    let mut svg = Svg::new();
    let heading = Type::sans(14.0).bold();
    let name = heading.fit(lowered.name(), 560.0);
    svg.text(Svg::MARGIN, 28.0, &name, heading);
    let size = format!("{}, aligned to {}", counted(lowered.size(), "byte", "bytes"), lowered.align());
    svg.text(Svg::MARGIN + heading.width(&name) + 14.0, 28.0, &size, SMALL);

    let columns = Columns::of(lowered, shown);
    let mut top = 48.0;
    for band in shown.chunks(columns.in_a_band) {
        top = columns.band(&mut svg, lowered, shown, band, top) + 26.0;
    }
    let mut foot = Vec::new();
    if !over.is_empty() {
        let names: Vec<&str> = over.iter().map(|variant| variant.name()).collect();
        foot.push(format!("{}: nothing is kept.", names.join(", ")));
    }
    if alive.len() > shown.len() {
        foot.push(format!(
            "{} are left out here: print the layout to see them.",
            counted(alive.len() - shown.len(), "state", "states")
        ));
    }
    if lowered.tag.is_some() {
        foot.push("Numbers are bytes; grey is room that the state does not use.".into());
    }
    svg.paragraph(Svg::MARGIN, top - 2.0, svg.right().max(360.0) - Svg::MARGIN, 17.0, &foot.join(" "), SMALL);
    let picture = svg.finish(&title, &description);
    Figure::new(title, description, lowered.to_string(), picture)
}

/// A part of a column: a field, or the state itself.
struct Part {
    offset: usize,
    size: usize,
    label: String,
    text: String,
    kind: FieldKind,
}

fn parts(lowered: &Lowered, variant: &Variant) -> Vec<Part> {
    let fields = variant.fields().iter().map(|field: &Field| {
        let ty = field.type_name().filter(|_| field.kind() != FieldKind::Awaited).map(future_name);
        let label = field.label();
        let text = ty.map_or_else(|| label.clone(), |ty| format!("{label}: {ty}"));
        Part { offset: field.offset(), size: field.size(), label, text, kind: field.kind() }
    });
    let tag = lowered.tag.iter().map(|tag| Part {
        offset: tag.start,
        size: tag.len(),
        label: "state".into(),
        text: "state".into(),
        kind: FieldKind::Field,
    });
    fields.chain(tag).filter(|part| part.size > 0).collect()
}

struct Columns {
    /// The height of every offset where something begins or ends, counted from the top of a band.
    at: BTreeMap<usize, f64>,
    left: f64,
    width: f64,
    in_a_band: usize,
}

impl Columns {
    fn of(lowered: &Lowered, shown: &[&Variant]) -> Self {
        let parts: Vec<Part> = shown.iter().flat_map(|variant| parts(lowered, variant)).collect();
        let mut lines: Vec<usize> = parts.iter().flat_map(|part| [part.offset, part.offset + part.size]).collect();
        lines.extend([0, lowered.size()]);
        lines.sort_unstable();
        lines.dedup();
        let mut at = BTreeMap::from([(0, 0.0)]);
        let mut y = 0.0;
        for pair in lines.windows(2) {
            let words = (pair[1] - pair[0]).div_ceil(WORD).max(1);
            y += 24.0 + 12.0 * (words as f64).log2();
            at.insert(pair[1], y);
        }
        let text = parts.iter().map(|part| SMALL.bold().width(&part.text)).fold(110.0, f64::max);
        let bytes = parts.iter().map(|part| Type::mono(11.0).width(&grouped(part.size))).fold(0.0, f64::max);
        let width = (9.0 + text.min(250.0) + 14.0 + bytes + 9.0).round();
        let left = Svg::MARGIN + Type::mono(11.0).width("0") * offset_width(lowered.size() + 1) as f64 + 10.0;
        let in_a_band = ((PAGE - left + GAP) / (width + GAP)).floor().max(1.0) as usize;
        Self { at, left, width, in_a_band }
    }

    /// Draws some of the columns, and gives their lower edge.
    fn band(&self, svg: &mut Svg, lowered: &Lowered, shown: &[&Variant], band: &[&Variant], top: f64) -> f64 {
        let top = top + 16.0;
        let y = |offset: usize| top + self.at.get(&offset).copied().unwrap_or(0.0);
        let bottom = y(lowered.size());
        for offset in self.at.keys() {
            svg.text(Svg::MARGIN, y(*offset) + 4.0, &offset_label(*offset), Type::mono(11.0).fill(colour::FAINT));
        }
        for (i, variant) in band.iter().enumerate() {
            let x = self.left + i as f64 * (self.width + GAP);
            let style = SMALL.fill(colour::INK).bold();
            svg.text(x, top - 8.0, &style.fit(variant.name(), self.width), style);
            svg.rect((x, top), (self.width, bottom - top), 4.0, colour::GREY, colour::LINE);
            for part in parts(lowered, variant) {
                let (ground, ink) = match part.kind {
                    FieldKind::Local => (colour::TEAL_GROUND, colour::TEAL),
                    FieldKind::Awaited => (colour::AMBER_GROUND, colour::AMBER),
                    FieldKind::Argument if variant.name() != "Unresumed" => (colour::PAPER, colour::FAINT),
                    _ => (colour::PAPER, colour::INK),
                };
                let (from, to) = (y(part.offset), y(part.offset + part.size));
                let at = format!("{}-{}", variant.name(), part.offset);
                let name = format!("{} {}", variant.name(), part.label).trim().to_owned();
                svg.group(&[
                    ("class", "w"),
                    ("data-at", &at),
                    ("data-to", ""),
                    ("data-v", &format!("{} {}", part.label, part.offset)),
                    ("data-twin", "The same field, at the same place, is kept in"),
                    ("data-name", &name),
                    ("data-say", &says(lowered, shown, variant, &part)),
                ]);
                svg.box_("b", (x + 1.0, from + 1.0), (self.width - 2.0, to - from - 2.0), 3.0, ground, None);
                let middle = (from + to) / 2.0 + 4.0;
                let bytes = grouped(part.size);
                let mono = Type::mono(11.0).fill(colour::FAINT);
                let style = SMALL.fill(ink).bold();
                svg.text(x + 9.0, middle, &style.fit(&part.text, self.width - 32.0 - mono.width(&bytes)), style);
                svg.text(x + self.width - 9.0, middle, &bytes, mono.end());
                svg.end();
            }
        }
        bottom
    }
}

/// What a part is, in a sentence or two.
fn says(lowered: &Lowered, shown: &[&Variant], variant: &Variant, part: &Part) -> String {
    let state = if variant.name().is_empty() { String::new() } else { format!("{}, ", variant.name()) };
    let what = match part.kind {
        FieldKind::Argument => "an argument, as it was passed",
        FieldKind::Local => "a local that lives across an .await, or a temporary that does",
        FieldKind::Awaited => "the future that is being awaited",
        FieldKind::Field if part.label == "state" && lowered.tag.is_some() => "the number of the state",
        FieldKind::Field => "a field",
    };
    let end = part.offset + part.size;
    let shares: Vec<String> = shown
        .iter()
        .filter(|other| other.name() != variant.name())
        .flat_map(|other| parts(lowered, other).into_iter().map(move |part| (other.name(), part)))
        .filter(|(_, other)| other.offset < end && part.offset < other.offset + other.size)
        .filter(|(_, other)| (other.offset, &other.label) != (part.offset, &part.label))
        .map(|(name, other)| format!("{} in {name}", other.label))
        .take(4)
        .collect();
    let shares = if shares.is_empty() { String::new() } else { format!(" It shares bytes with {}.", shares.join(", ")) };
    let of_state = state_says(variant.name());
    let of_state = if part.label == "state" && !of_state.is_empty() { format!(" {of_state}") } else { String::new() };
    let (text, bytes, at) = (&part.text, counted(part.size, "byte", "bytes"), offset_label(part.offset));
    format!("{state}{text}: {what}, {bytes} at {at}.{shares}{of_state}")
}
