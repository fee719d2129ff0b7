//! Arrows into the strip, into other strips, and to the text outside, with the boxes that hold it.

use super::{Drawing, HEAD, Lead, MOST_TEXTS, Placed, ROW, SMALL, TEXT, id, outside_id};
use crate::probe::xray::{Meaning, Row};
use crate::show::{Svg, Type, colour};

impl Drawing<'_> {
    /// The text that a strip leads to, each once: the pointer's offset, the address, the text.
    pub(super) fn texts(&self, strip: usize) -> Vec<(usize, usize, &str)> {
        let xray = self.strips.xray(strip);
        let mut texts: Vec<(usize, usize, &str)> = Vec::new();
        for text in xray.texts().filter(|_| !xray.vacant) {
            if texts.len() < MOST_TEXTS && !texts.iter().any(|known| known.1 == text.1) {
                texts.push(text);
            }
        }
        texts
    }

    /// The middle of the row that shows `offset`.
    fn row_y(&self, at: &Placed, offset: usize) -> f64 {
        let row = self.rows[at.strip].iter().rposition(|row| matches!(row, Row::Word(word) if word.offset() <= offset));
        at.y + HEAD + row.unwrap_or(0) as f64 * ROW + ROW / 2.0
    }

    pub(super) fn arrows(&self, svg: &mut Svg, at: &Placed, placed: &[Placed]) {
        const MOST: usize = 10;
        let (left, right) = (at.x, at.x + self.width);
        let mut drawn = 0;
        for row in &self.rows[at.strip] {
            let Row::Word(word) = row else { continue };
            let y = self.row_y(at, word.offset());
            let bend = 26.0 + 4.0 * (drawn % 4) as f64;
            let from = id(at.strip, word.offset());
            let arrow = |svg: &mut Svg, start, bends, end, colour, dashed, to: &str| {
                svg.group(&[("class", "a"), ("data-from", &from), ("data-to", to)]);
                svg.arrow(start, bends, end, colour, dashed).end();
            };
            match self.strips.lead_of(at.strip, word, self.now) {
                Lead::Itself(offset) => {
                    // Ends just above the middle, so that an arrow to its own row has two ends.
                    let to = self.row_y(at, offset) - if self.row_y(at, offset) == y { 6.0 } else { 0.0 };
                    let bends = ((left - bend, y), (left - bend, to));
                    arrow(svg, (left, y), bends, (left - 1.0, to), colour::TEAL, false, &id(at.strip, offset / 8 * 8));
                }
                Lead::Other { strip, offset, stale } => {
                    let Some(other) = placed.iter().find(|other| other.strip == strip) else { continue };
                    let (ink, to) = (if stale { colour::RED } else { colour::BLUE }, self.row_y(other, offset));
                    let (start, end) = match other.column.cmp(&at.column) {
                        std::cmp::Ordering::Greater => (right, other.x - 1.0),
                        std::cmp::Ordering::Less => (left, other.x + self.width + 1.0),
                        std::cmp::Ordering::Equal => (left, other.x - 1.0),
                    };
                    let out = if start == left { -bend } else { bend };
                    let back = if other.column < at.column { bend } else { -bend };
                    let bends = ((start + out, y), (end + back, to));
                    arrow(svg, (start, y), bends, (end, to), ink, stale, &id(strip, offset / 8 * 8));
                }
                Lead::Nowhere => continue,
            }
            drawn += 1;
            if drawn >= MOST {
                break;
            }
        }
        self.outside(svg, at);
    }

    /// The texts outside of the strip, each in a box of its own, a cell a letter.
    fn outside(&self, svg: &mut Svg, at: &Placed) {
        let xray = self.strips.xray(at.strip);
        let mut y = at.y + HEAD + self.rows_tall(at.strip) + 26.0;
        let right = at.x + self.width;
        let mut lane = 8.0 * self.texts(at.strip).len() as f64;
        for (offset, address, text) in self.texts(at.strip) {
            let region = match xray.word(offset).meaning() {
                Meaning::Elsewhere { region, .. } => region.to_string(),
                _ => String::new(),
            };
            let me = outside_id(at.strip, address);
            svg.group(&[("class", "h"), ("data-at", &me), ("data-v", ""), ("data-name", "")]);
            let label = Type::mono(11.0).fill(colour::FAINT);
            let name = format!("{region} {address:#x}");
            svg.text(at.x, y + 15.0, &name, label);
            let mut x = at.x + label.width(&name) + 10.0;
            let letter = Type::mono(12.0).middle();
            for c in text.chars() {
                let shown = if c.is_control() { "·".to_owned() } else { c.to_string() };
                let wide = letter.width(&shown).max(7.0) + 7.0;
                if x + wide > right - 16.0 {
                    svg.text(x + 3.0, y + 15.0, "…", SMALL);
                    x += 16.0;
                    break;
                }
                if c != '…' {
                    svg.box_("b", (x, y), (wide, 22.0), 0.0, colour::BLUE_GROUND, colour::LINE);
                }
                svg.text(x + wide / 2.0, y + 15.0, &shown, letter.fill(colour::BLUE));
                x += wide;
            }
            svg.end();
            let from = self.row_y(at, offset);
            svg.group(&[("class", "a"), ("data-from", &id(at.strip, offset)), ("data-to", &me)]);
            svg.elbow((right, from), right + lane, (x + 3.0, y + 11.0), colour::BLUE);
            lane -= 8.0;
            svg.end();
            y += TEXT;
        }
    }
}
