//! Text in pictures: made safe, measured, and shortened to the room that it has.
//!
//! Fonts differ from machine to machine, so a width here is that of the widest of the usual ones. Of scripts whose widths nobody can
//! tell without the font, the picture sets the length itself (`textLength`), and the font gives way.

use super::colour::{Colour, INK};
use std::borrow::Cow;
use std::time::Duration;

/// The fonts of running text in pictures.
pub const SANS: &str = "system-ui, -apple-system, Segoe UI, Roboto, sans-serif";
/// The fonts of addresses and bytes in pictures.
pub const MONO: &str = "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace";

/// Makes text safe inside SVG and HTML, in an attribute too: markup is text, and what XML cannot hold or what turns the direction
/// of the text around it is shown as `�`.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(|c| matches!(c, '&' | '<' | '>' | '"' | '\'') || is_unfit(c)) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\n' | '\t' | '\r' => safe.push(' '),
            c if is_unfit(c) => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

/// A time as briefly as it can be read.
pub(crate) fn brief(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        _ if seconds < 1e-6 => format!("{:.0} ns", seconds * 1e9),
        _ if seconds < 1e-3 => format!("{:.0} µs", seconds * 1e6),
        _ if seconds < 1.0 => format!("{:.1} ms", seconds * 1e3),
        _ => format!("{seconds:.2} s"),
    }
}

/// The same, with its line ends: for a `<pre>`.
pub(crate) fn escape_lines(text: &str) -> String {
    text.lines().map(escape).collect::<Vec<_>>().join("\n")
}

/// Control characters, what Unicode says is no character, and the marks that reorder what stands beside them.
fn is_unfit(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{fffe}' | '\u{ffff}' | '\u{fdd0}'..='\u{fdef}')
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Shortens text to `most` characters: the beginning, and `…`.
pub fn elide(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        None => Cow::Borrowed(text),
        Some(_) if most == 0 => Cow::Borrowed(""),
        Some(_) => {
            let end = text.char_indices().nth(most - 1).map_or(0, |(at, _)| at);
            Cow::Owned(with_dots(&text[..end]))
        }
    }
}

fn with_dots(head: &str) -> String {
    // Not in the middle of what is drawn as one: a joiner or a mark would then be drawn upon the dots.
    let head = head.trim_end_matches(|c: char| c == '\u{200d}' || c.is_whitespace() || matches!(c, '.' | ',' | ':'));
    format!("{head}…")
}

/// How a line of text in a picture looks.
#[derive(Debug, Clone, Copy)]
pub struct Type {
    pub(crate) size: f64,
    pub(crate) fill: Colour,
    pub(crate) mono: bool,
    pub(crate) bold: bool,
    pub(crate) anchor: &'static str,
}

impl Type {
    /// The least size of any text in any picture, in pixels.
    pub const LEAST: f64 = 11.0;

    /// Running text of this size in pixels, or of [`LEAST`](Type::LEAST) if that is more.
    pub const fn sans(size: f64) -> Self {
        Self { size: size.max(Self::LEAST), fill: INK, mono: false, bold: false, anchor: "start" }
    }

    /// Addresses and bytes, of this size in pixels, or of [`LEAST`](Type::LEAST) if that is more.
    pub const fn mono(size: f64) -> Self {
        Self { mono: true, ..Self::sans(size) }
    }

    /// In another colour than ink.
    pub const fn fill(mut self, fill: Colour) -> Self {
        self.fill = fill;
        self
    }

    /// Heavier.
    pub const fn bold(mut self) -> Self {
        self.bold = true;
        self
    }

    /// Ending at the given point.
    pub const fn end(mut self) -> Self {
        self.anchor = "end";
        self
    }

    /// With its middle at the given point.
    pub const fn middle(mut self) -> Self {
        self.anchor = "middle";
        self
    }

    /// How wide `text` is at most, in pixels.
    pub fn width(&self, text: &str) -> f64 {
        let weight = if self.bold && !self.mono { 1.13 } else { 1.0 };
        text.chars().map(|c| em(c, self.mono)).sum::<f64>() * self.size * weight
    }

    /// The text in lines no wider than `room`, in pixels, broken between words; a word that is wider itself is shortened.
    pub fn wrap(&self, text: &str, room: f64) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for word in text.split(' ') {
            match lines.last_mut() {
                Some(line) if self.width(line) + self.width(" ") + self.width(word) <= room => {
                    line.push(' ');
                    line.push_str(word);
                }
                _ => lines.push(self.fit(word, room).into_owned()),
            }
        }
        lines
    }

    /// As much of the text, from its beginning, as there is room for, in pixels; a `…` says that there is more.
    pub fn fit<'t>(&self, text: &'t str, room: f64) -> Cow<'t, str> {
        if self.width(text) <= room {
            return Cow::Borrowed(text);
        }
        let each = self.width("…");
        let (mut end, mut wide) = (0, each);
        for (at, c) in text.char_indices() {
            wide += self.width(c.encode_utf8(&mut [0; 4]));
            if wide > room {
                break;
            }
            end = at + c.len_utf8();
        }
        if each > room { Cow::Borrowed("") } else { Cow::Owned(with_dots(&text[..end])) }
    }
}

/// The width of a character in the widest of the usual fonts, in em.
fn em(c: char, mono: bool) -> f64 {
    match c {
        '\u{300}'..='\u{36f}' | '\u{200b}'..='\u{200d}' | '\u{fe00}'..='\u{fe0f}' => 0.0,
        '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}' | '\u{ff00}'..='\u{ff60}' => 1.05,
        '\u{2460}'..='\u{24ff}' => 1.05,
        _ if !is_measured(c) => 1.3,
        _ if mono => 0.625,
        ' ' | '\u{a0}' | '\u{2009}' | '\u{202f}' | '\'' | 'i' | 'j' | 'l' | 'I' | '|' | '.' | ',' | ':' | ';' | '·' => 0.35,
        'f' | 't' | 'r' | '(' | ')' | '[' | ']' | '/' | '\\' | '-' | '!' | '"' | '‘' | '’' => 0.46,
        'm' | 'w' | 'W' | 'M' | '@' | '%' | '…' | '—' | '→' | '←' | '⇒' | '∅' | '↺' | '⇢' | '✓' | '✗' => 1.02,
        '+' | '=' | '<' | '>' | '~' | '#' | '±' | '×' | 'Q' | 'O' | 'G' | 'D' | 'H' | 'N' => 0.86,
        'a'..='z' | '0'..='9' | '_' | '?' | '$' | '*' => 0.65,
        'A'..='Z' => 0.78,
        _ => 0.9,
    }
}

/// Whether the width of such a character is known without asking the font.
fn is_measured(c: char) -> bool {
    matches!(c, ' '..='~' | '\u{a0}'..='\u{24f}' | '\u{370}'..='\u{3ff}' | '\u{400}'..='\u{45f}')
        || matches!(c, '\u{2009}' | '\u{2010}'..='\u{2026}' | '\u{202f}' | '\u{2190}'..='\u{2193}' | '⇒' | '✓' | '✗' | '�' | '∅' | '↺' | '⇢')
}

/// Whether all of the text is of characters whose width is known.
pub(crate) fn is_plain(text: &str) -> bool {
    text.chars().all(|c| is_measured(c) || matches!(c, '\u{300}'..='\u{36f}' | '\u{2460}'..='\u{24ff}'))
}

/// `131072` as `131 072`.
pub(crate) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// `1 poll`, `2 polls`.
pub(crate) fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_markup_or_turns_the_text_around_is_text() {
        assert_eq!(escape("a<b>\"&'"), "a&lt;b&gt;&quot;&amp;&#39;");
        assert_eq!(escape("x\u{202e}y\u{0}z\u{ffff}\n"), "x\u{fffd}y\u{fffd}z\u{fffd} ");
        assert!(matches!(escape("plain, ü and 漢字"), Cow::Borrowed(_)));
    }

    #[test]
    fn shortened_text_keeps_its_beginning_and_its_room() {
        assert_eq!(elide("abcdef", 4), "abc…");
        assert_eq!(elide("abcd", 4), "abcd");
        let style = Type::sans(12.0);
        for room in 0..200 {
            let room = f64::from(room);
            assert!(style.width(&style.fit("await process_data.val.ptr → heap", room)) <= room);
        }
        assert_eq!(style.fit("abc, def", style.width("abc, …")), "abc…");
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!((grouped(7), grouped(131_072)), ("7".to_owned(), "131\u{202f}072".to_owned()));
        assert_eq!((counted(1, "poll", "polls"), counted(2, "poll", "polls")), ("1 poll".to_owned(), "2 polls".to_owned()));
    }
}
