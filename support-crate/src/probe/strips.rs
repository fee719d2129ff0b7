//! The memory strip: a row a word, and an arrow for every pointer that leads into a strip of the picture.
//!
//! ```text
//! strips.rs   which strip has which number, where a pointer leads, and all of it in words
//! explain     what a word is, in a sentence            draw   the picture: one strip, several, one position of several
//! ```
//!
//! Invariants:
//! 1. The picture and the text are made from the same rows, so they say the same.
//! 2. Where two strips show the same place, the later one is what is there now: arrows from elsewhere lead to it.
//! 3. A pointer is *stale* when it leads out of its own strip, and another strip has the same pointer at the same offset
//!    as a self-pointer: the bytes were copied, and the pointer did not follow. Stale is red, and dashed, and says so.
//! 4. Bytes in a vacant slot are leftovers: they are grey, they lead nowhere, and each of them says so.

mod draw;
mod explain;

pub(crate) use explain::state_says;

use super::WIDEST;
use super::xray::{Row, WORD, Word, XRay, offset_label, offset_width};
use crate::show::{
    Figure, Frame, Svg,
    text::{counted, grouped},
};
use std::fmt::{self, Write as _};

/// Memory strips side by side; made by [`XRay::beside`].
///
/// In a notebook each word answers the pointer of a mouse and the keyboard, and strips that show one place at different times can be
/// stepped through.
#[derive(Debug, Clone)]
pub struct Strips {
    strips: Vec<(String, XRay)>,
    /// What else is known of each strip, in a line or two: none, or one for each.
    remarks: Vec<Vec<String>>,
    /// In a film the polls before each of them, of which some may have been left out; none elsewhere.
    polls: Vec<usize>,
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
        let strips = strips.iter().map(|(label, xray)| ((*label).to_owned(), (*xray).clone())).collect();
        Self { strips, remarks: Vec::new(), polls: Vec::new() }
    }

    /// Of one place at several times, with what else is known of each, and how often it had been polled.
    pub(super) fn in_time(strips: Vec<(String, XRay)>, remarks: Vec<Vec<String>>, polls: Vec<usize>) -> Self {
        Self { strips, remarks, polls }
    }

    fn remarks(&self, strip: usize) -> &[String] {
        self.remarks.get(strip).map_or(&[], Vec::as_slice)
    }

    fn xray(&self, strip: usize) -> &XRay {
        &self.strips[strip].1
    }

    /// Where `value` leads, which stands `offset` bytes into a strip, when the strips up to `now` have been taken.
    fn lead(&self, strip: usize, offset: usize, value: usize, now: usize) -> Lead {
        let xray = self.xray(strip);
        if xray.vacant {
            return Lead::Nowhere; // Invariant 4.
        }
        if xray.covers(value) {
            return Lead::Itself(value - xray.address().usize());
        }
        let known = self.strips[..=now].iter().enumerate();
        let mut others = known.filter(|(i, (_, other))| *i != strip && other.covers(value));
        // Invariant 3.
        let is_own = |other: &XRay| other.size() == xray.size() && other.pointer_at(offset) == Some(value);
        let stale = others.clone().any(|(_, (_, other))| is_own(other));
        // Invariant 2.
        match others.next_back() {
            Some((i, (_, other))) => Lead::Other { strip: i, offset: value - other.address().usize(), stale },
            None => Lead::Nowhere,
        }
    }

    fn lead_of(&self, strip: usize, word: &Word, now: usize) -> Lead {
        let pointer = self.xray(strip).pointer_at(word.offset());
        pointer.map_or(Lead::Nowhere, |value| self.lead(strip, word.offset(), value, now))
    }

    fn last(&self) -> usize {
        self.strips.len().saturating_sub(1)
    }

    /// The number of a strip, where there are several: `①`.
    fn number(&self, strip: usize) -> String {
        let number = self.polls.get(strip).copied().unwrap_or(strip + 1);
        // Many fonts have ① and no zero like it.
        let circled = u32::try_from(number).ok().filter(|n| (1..=20).contains(n)).and_then(|n| char::from_u32(0x2460 + n - 1));
        circled.map_or_else(|| format!("({number})"), String::from)
    }

    /// The label without a number that somebody typed before it.
    fn label(&self, strip: usize) -> &str {
        let (label, _) = &self.strips[strip];
        label.trim_start_matches(|c: char| ('①'..='⑳').contains(&c)).trim_start()
    }

    /// What stands above a strip: its number and its label.
    fn heading(&self, strip: usize) -> String {
        let xray = self.xray(strip);
        let label = match self.label(strip) {
            "" => xray.title.as_deref().unwrap_or(&xray.what),
            label => label,
        };
        if self.strips.len() > 1 { format!("{} {label}", self.number(strip)).trim_end().to_owned() } else { label.to_owned() }
    }

    fn says(&self, strip: usize, word: &Word, itself: &str, now: usize) -> String {
        match self.lead_of(strip, word, now) {
            _ if self.xray(strip).vacant => "leftover".into(),
            Lead::Other { strip, offset, stale } => {
                let whose = if stale { format!("not {itself}: ") } else { String::new() };
                let vacant = if self.xray(strip).vacant { ", vacant" } else { "" };
                format!("→ {whose}{} {}{vacant}", self.number(strip), offset_label(offset))
            }
            Lead::Itself(_) | Lead::Nowhere => word.says(itself),
        }
    }

    /// The same as briefly as a row of the picture has it; there a stale pointer has a `✗`.
    fn drawn(&self, strip: usize, word: &Word, now: usize) -> String {
        match self.lead_of(strip, word, now) {
            Lead::Other { strip: to, offset, stale: true } => format!("✗ → {} {}", self.number(to), offset_label(offset)),
            _ => self.says(strip, word, "me", now),
        }
    }

    /// The strip that showed the same place before this one.
    fn earlier(&self, strip: usize) -> Option<usize> {
        let xray = self.xray(strip);
        (0..strip).rev().find(|&i| self.xray(i).address() == xray.address() && xray.size() > 0)
    }

    /// The strip to compare with: of the same place before, or else the one before, if it is as large.
    fn compared(&self, strip: usize) -> Option<usize> {
        let before = strip.checked_sub(1).filter(|&i| self.xray(i).size() == self.xray(strip).size());
        self.earlier(strip).or(before).filter(|&i| self.xray(i).what == self.xray(strip).what)
    }

    /// Which bytes of a word differ from those of the strip to compare with, in the order in which they are shown.
    fn changed(&self, strip: usize, word: &Word) -> Vec<bool> {
        let Some(before) = self.compared(strip).map(|before| self.xray(before)).filter(|b| b.size() > word.offset()) else {
            return Vec::new();
        };
        let before = before.word(word.offset());
        let pairs = |word: &Word| word.hex().as_bytes().to_vec();
        let (old, new) = (before.hex().chars().collect::<Vec<_>>(), word.hex().chars().collect::<Vec<_>>());
        if pairs(&before) == pairs(word) || old.len() != new.len() {
            return Vec::new();
        }
        old.chunks(2).zip(new.chunks(2)).map(|(old, new)| old != new && new != ['·', '·']).collect()
    }

    /// Where the strip stands, and whether an earlier one stood there.
    fn place(&self, strip: usize) -> String {
        let earlier = (0..strip).find(|&i| self.xray(i).address() == self.xray(strip).address() && self.xray(strip).size() > 0);
        let earlier = earlier.map(|i| format!(", the place of {}", self.number(i))).unwrap_or_default();
        format!("{}{earlier}", self.xray(strip).address())
    }

    /// A sentence for every stale pointer of a strip (invariant 3): where it leads, and where it would have to lead.
    fn notes(&self, i: usize, now: usize) -> Vec<String> {
        let xray = self.xray(i);
        let stale = xray.pointers().filter_map(|(at, value)| {
            let Lead::Other { strip, offset, stale: true } = self.lead(i, at, value, now) else {
                return None;
            };
            let name = xray.span_at(at).map_or("the pointer", |span| &span.name);
            let (there, own) = (self.xray(strip).describe(offset), xray.address().usize() + offset);
            let (me, other) = (self.number(i), self.number(strip));
            let left = if self.xray(strip).vacant { ", which is vacant" } else { "" };
            Some(format!(
                "{me}: {name} at {} holds {value:#x}. That is {there} of {other}{left}, and not its own at {own:#x}.",
                offset_label(at)
            ))
        });
        stale.collect()
    }

    /// What changed in a strip since the one that it is compared with, in words.
    fn change(&self, strip: usize) -> Option<String> {
        let before = self.compared(strip)?;
        let words = self.xray(strip).size().div_ceil(WORD);
        let may_differ = self.xray(strip).may_differ(self.xray(before));
        let differ = may_differ.filter(|word| self.changed(strip, word).contains(&true)).count();
        let since = self.number(before);
        let elsewhere = self.xray(before).address() != self.xray(strip).address();
        Some(match (differ, elsewhere) {
            (0, true) => format!("Another address, and not one byte differs from {since}: to move is to copy."),
            (0, false) => format!("Not one byte has changed since {since}."),
            (1, true) => format!("Another address; 1 of {words} words differs from {since}."),
            (1, false) => format!("The same address; 1 of {words} words has changed since {since}."),
            (n, true) => format!("Another address; {n} of {words} words differ from {since}."),
            (n, false) => format!("The same address; {n} of {words} words have changed since {since}."),
        })
    }

    /// Whether these are positions in time: some place is shown twice, or something moved.
    fn is_a_story(&self) -> bool {
        self.strips.len() > 1
            && (0..self.strips.len()).any(|i| self.earlier(i).is_some() || !self.notes(i, self.last()).is_empty())
    }

    fn title(&self) -> String {
        match self.strips.as_slice() {
            [(_, only)] => format!("Memory strip of {}", only.what),
            strips => format!("{} of {}", counted(strips.len(), "memory strip", "memory strips"), self.kinds()),
        }
    }

    fn kinds(&self) -> String {
        let mut kinds: Vec<&str> = Vec::new();
        for (_, xray) in &self.strips {
            if !kinds.contains(&xray.what.as_str()) {
                kinds.push(&xray.what);
            }
        }
        kinds.join(", ")
    }

    fn description(&self) -> String {
        let mut all = String::new();
        for i in 0..self.strips.len() {
            let xray = self.xray(i);
            let own = xray.self_pointers().len();
            let own = if own == 0 || xray.vacant {
                String::new()
            } else {
                format!(", {} into itself", counted(own, "pointer", "pointers"))
            };
            let _ = write!(all, "{}{own}. ", xray.headline(&self.place(i)));
        }
        let notes: Vec<String> = (0..self.strips.len()).flat_map(|i| self.notes(i, self.last())).collect();
        all += &notes.join(" ");
        all.trim_end().to_owned()
    }

    /// The picture with all that is known about it.
    pub fn figure(&self) -> Figure {
        let figure = Figure::new(self.title(), self.description(), self.to_string(), self.svg());
        if !self.is_a_story() {
            return figure;
        }
        figure.with_frames(self.frames(draw::positions(self)))
    }

    /// The positions as they are stepped through, in one size.
    pub(super) fn frames(&self, positions: Vec<Svg>) -> Vec<Frame> {
        let size = positions.iter().map(Svg::size).fold((0.0, 0.0), |(w, h): (f64, f64), size| (w.max(size.0), h.max(size.1)));
        let frames = positions.iter().enumerate().map(|(strip, svg)| {
            let mut says: Vec<String> = self.remarks(strip).to_vec();
            says.extend(self.change(strip));
            says.extend((0..=strip).flat_map(|i| self.notes(i, strip)).take(2));
            let heading = self.heading(strip);
            Frame { svg: svg.finish_sized(&heading, &self.title(), size), says: says.join(" "), label: heading }
        });
        frames.collect()
    }

    /// All strips as a picture that is not finished yet.
    pub(super) fn all_at_once(&self) -> Svg {
        draw::all(self)
    }

    /// Every position as a picture that is not finished yet.
    pub(super) fn positions(&self) -> Vec<Svg> {
        draw::positions(self)
    }

    /// Shows the strips in a notebook: as a picture, with the same in text beside it.
    pub fn evcxr_display(&self) {
        self.figure().evcxr_display();
    }

    /// The picture: all strips at once.
    pub fn svg(&self) -> String {
        draw::all(self).finish(&self.title(), &self.description())
    }
}

impl fmt::Display for Strips {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (label, xray)) in self.strips.iter().enumerate() {
            if i > 0 {
                f.write_str("\n\n")?;
            }
            if self.strips.len() > 1 || !label.is_empty() {
                writeln!(f, "{}", self.heading(i))?;
            }
            f.write_str(&xray.headline(&self.place(i)))?;
            if let Some(warning) = &xray.warning {
                write!(f, "\n  ! {warning}")?;
            }
            for remark in self.remarks(i) {
                write!(f, "\n  {remark}")?;
            }
            let rows = xray.rows();
            let names = rows.iter().filter_map(|row| match row {
                Row::Word(word) => Some(word.name().chars().count()),
                Row::Gap { .. } => None,
            });
            let wide = names.max().unwrap_or(0).min(WIDEST);
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
                        let _ = write!(line, "  {}", self.says(i, &word, "itself", self.last()));
                    }
                    gap => {
                        let _ = write!(line, "  {:digits$}  {}", "", gap_says(&gap));
                    }
                }
                write!(f, "\n{}", line.trim_end())?;
            }
            if let Some(change) = self.change(i) {
                write!(f, "\n  {change}")?;
            }
        }
        let notes: Vec<String> = (0..self.strips.len()).flat_map(|i| self.notes(i, self.last())).collect();
        for (i, note) in notes.iter().enumerate() {
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
