//! How a probe shows itself: a picture for whoever can draw, and the same facts in words for whoever cannot.
//!
//! Invariants:
//! 1. Every picture brings its own light card. A front end may draw an SVG as an image, which sees neither the page's
//!    colours nor its theme: only a card of one's own is legible in the light and in the dark.
//! 2. No colour carries a fact alone: a dash, a word or a place says it too.
//! 3. All text goes through [`escape`].

use std::{borrow::Cow, fmt::Write as _, io::Write as _};

/// The colours of all pictures: ink and paper, and three pairs that stay apart for every kind of colour vision.
pub mod colour {
    /// The card under a picture.
    pub const CARD: &str = "#fcfcfa";
    /// The ground of a strip or a lane.
    pub const PAPER: &str = "#ffffff";
    /// Lines between rows, and borders.
    pub const LINE: &str = "#d5dbe1";
    /// Text.
    pub const INK: &str = "#1f2933";
    /// Text that steps back.
    pub const FAINT: &str = "#5c6773";
    /// What stays as it is, or is not in use: ground.
    pub const GREY: &str = "#eef1f4";
    /// What is well: line and text.
    pub const TEAL: &str = "#0f766e";
    /// What is well: ground.
    pub const TEAL_GROUND: &str = "#d9f0ec";
    /// What deserves a look: line and text.
    pub const AMBER: &str = "#8a5a06";
    /// What deserves a look: ground.
    pub const AMBER_GROUND: &str = "#fbeecb";
    /// What went wrong: line and text.
    pub const RED: &str = "#b42318";
    /// What went wrong: ground.
    pub const RED_GROUND: &str = "#fbe3df";
    /// A neutral second voice: line and text.
    pub const BLUE: &str = "#1d5fa8";
    /// A neutral second voice: ground.
    pub const BLUE_GROUND: &str = "#dfeaf7";
}

/// The fonts of running text in pictures.
pub const SANS: &str = "system-ui, -apple-system, Segoe UI, Roboto, sans-serif";
/// The fonts of addresses and bytes in pictures.
pub const MONO: &str = "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace";

/// Makes text safe inside SVG and HTML, in an attribute too.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'']) && !text.chars().any(char::is_control) {
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
            '\n' | '\t' => safe.push(' '),
            // XML has no place for the other control characters, not even escaped.
            c if c.is_control() => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

/// Shortens text to `most` characters by leaving out its middle.
pub fn elide(text: &str, most: usize) -> Cow<'_, str> {
    let count = text.chars().count();
    if count <= most {
        return Cow::Borrowed(text);
    }
    let (head, tail) = (most.saturating_sub(1).div_ceil(2), most.saturating_sub(1) / 2);
    let mut short: String = text.chars().take(head).collect();
    short.push('…');
    short.extend(text.chars().skip(count - tail));
    Cow::Owned(short)
}

/// Hands one result to the notebook kernel in several forms: `(mime type, content)`. The front end shows the richest
/// that it can; to a plain terminal it is noise.
///
/// The kernel reads the standard output for these blocks. A failure to write is ignored: there is nobody left to tell.
pub fn to_notebook(forms: &[(&str, &str)]) {
    let mut message = String::new();
    for (mime, content) in forms {
        let _ = writeln!(message, "EVCXR_BEGIN_CONTENT {mime}\n{}\nEVCXR_END_CONTENT", content.trim_end());
    }
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(message.as_bytes()).and_then(|()| out.flush());
}

/// An SVG picture in the making: a card, a title and a description for whoever cannot see it, and shapes.
///
/// Coordinates and lengths are in pixels at normal size; the picture shrinks with the page.
#[derive(Debug, Clone)]
pub struct Svg {
    attributes: String,
    title: String,
    description: String,
    body: String,
}

impl Svg {
    /// An empty picture. `description` should say in words what the picture shows.
    pub fn new(title: impl Into<String>, description: impl Into<String>) -> Self {
        Self { attributes: String::new(), title: title.into(), description: description.into(), body: String::new() }
    }

    /// Adds an attribute to the root element.
    pub fn attribute(&mut self, name: &str, value: &str) -> &mut Self {
        let _ = write!(self.attributes, " {name}=\"{}\"", escape(value));
        self
    }

    /// Adds a rectangle with rounded corners. `stroke` may be `"none"`.
    #[expect(clippy::too_many_arguments, reason = "a rectangle has that many sides to it")]
    pub fn rect(&mut self, x: f64, y: f64, width: f64, height: f64, radius: f64, fill: &str, stroke: &str) -> &mut Self {
        let _ = writeln!(
            self.body,
            r#"<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="{radius}" fill="{fill}" stroke="{stroke}"/>"#
        );
        self
    }

    /// Adds a straight line.
    pub fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), stroke: &str) -> &mut Self {
        let _ = writeln!(self.body, r#"<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{stroke}"/>"#);
        self
    }

    /// Adds a line of text; `x` is where it starts, or ends, or has its middle, as its [`Type`] says.
    pub fn text(&mut self, x: f64, y: f64, text: &str, type_: Type) -> &mut Self {
        let Type { size, fill, mono, bold, anchor } = type_;
        let _ = writeln!(
            self.body,
            r#"<text x="{x}" y="{y}" font-family="{}" font-size="{size}" fill="{fill}" text-anchor="{anchor}" font-weight="{}" xml:space="preserve">{}</text>"#,
            if mono { MONO } else { SANS },
            if bold { "600" } else { "normal" },
            escape(text)
        );
        self
    }

    /// Adds an arrow along a cubic curve. A dashed one is red by convention: it leads where it should not.
    pub fn arrow(
        &mut self,
        from: (f64, f64),
        bend: ((f64, f64), (f64, f64)),
        to: (f64, f64),
        stroke: &str,
        dashed: bool,
    ) -> &mut Self {
        let dash = if dashed { r#" stroke-dasharray="6 4""# } else { "" };
        let _ = writeln!(
            self.body,
            r#"<path d="M {} {} C {} {}, {} {}, {} {}" fill="none" stroke="{stroke}" stroke-width="2"{dash}/>"#,
            from.0, from.1, bend.0.0, bend.0.1, bend.1.0, bend.1.1, to.0, to.1
        );
        // The head is drawn by hand: a marker needs an id, and ids clash between the pictures of one page.
        let (dx, dy) = (to.0 - bend.1.0, to.1 - bend.1.1);
        let long = dx.hypot(dy).max(1e-9);
        let (dx, dy) = (dx / long, dy / long);
        let base = (to.0 - 9.0 * dx, to.1 - 9.0 * dy);
        let _ = writeln!(
            self.body,
            r#"<path d="M {:.1} {:.1} L {:.1} {:.1} L {:.1} {:.1} Z" fill="{stroke}"/>"#,
            to.0,
            to.1,
            base.0 - 5.0 * dy,
            base.1 + 5.0 * dx,
            base.0 + 5.0 * dy,
            base.1 - 5.0 * dx
        );
        self
    }

    /// Adds markup as it is. The caller escapes.
    pub fn raw(&mut self, markup: &str) -> &mut Self {
        self.body.push_str(markup);
        self
    }

    /// The whole picture, on its card (invariant 1).
    pub fn finish(&self, width: f64, height: f64) -> String {
        // JupyterLab draws an SVG as an image and lets a wide one overflow. One without a width of its own fills the column.
        const COLUMN: f64 = 760.0;
        let room = if width > COLUMN {
            format!(r#"width="100%" style="max-width:{width}px""#)
        } else {
            format!(r#"width="{width}" height="{height}" style="max-width:100%;height:auto""#)
        };
        format!(
            concat!(
                r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" {room} role="img"{a}>"#,
                "\n<title>{t}</title>\n<desc>{d}</desc>\n",
                r#"<rect x="0.5" y="0.5" width="{iw}" height="{ih}" rx="8" fill="{card}" stroke="{line}"/>"#,
                "\n{b}</svg>"
            ),
            w = width,
            h = height,
            room = room,
            iw = width - 1.0,
            ih = height - 1.0,
            a = self.attributes,
            t = escape(&self.title),
            d = escape(&self.description),
            card = colour::CARD,
            line = colour::LINE,
            b = self.body
        )
    }
}

/// How a line of text in an [`Svg`] looks.
#[derive(Debug, Clone, Copy)]
pub struct Type {
    size: f64,
    fill: &'static str,
    mono: bool,
    bold: bool,
    anchor: &'static str,
}

impl Type {
    /// Running text, `size` pixels high.
    pub const fn sans(size: f64) -> Self {
        Self { size, fill: colour::INK, mono: false, bold: false, anchor: "start" }
    }

    /// Text in columns: addresses, bytes.
    pub const fn mono(size: f64) -> Self {
        Self { size, fill: colour::INK, mono: true, bold: false, anchor: "start" }
    }

    /// In another colour.
    pub const fn fill(mut self, fill: &'static str) -> Self {
        self.fill = fill;
        self
    }

    /// In bold.
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

    /// About how wide `text` will be, in pixels: fonts differ, so leave some air.
    pub fn width(&self, text: &str) -> f64 {
        let each = if self.mono {
            0.61
        } else if self.bold {
            0.60
        } else {
            0.56
        };
        text.chars().count() as f64 * self.size * each
    }
}
