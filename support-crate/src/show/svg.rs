//! An SVG picture in the making.
//!
//! Invariants:
//! 1. A picture is as large as what is on it: whatever is drawn moves the right and the lower edge, so nothing is cut.
//! 2. Each shape has its colour twice: as an attribute (the light theme's, for whoever draws the file alone) and as a class (for a page
//!    with a theme).
//! 3. All text goes through [`escape`].

use super::{
    colour::{self, Colour},
    text::{MONO, SANS, Type, escape, is_plain},
};
use std::fmt::Write as _;

/// An SVG picture in the making: a card, a title and a description for whoever cannot see it, and shapes.
///
/// Coordinates and lengths are in pixels, which is what they are on the page: a picture is not scaled.
#[derive(Debug, Clone, Default)]
pub struct Svg {
    body: String,
    right: f64,
    bottom: f64,
    timed: bool,
}

/// A number as short as a tenth of a pixel allows.
pub(crate) struct Px(pub(crate) f64);

impl std::fmt::Display for Px {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", (self.0 * 10.0).round() / 10.0)
    }
}

fn fill(colour: Option<Colour>) -> String {
    colour.map_or_else(|| r#" fill="none""#.to_owned(), |c| format!(r#" fill="{}""#, c.light))
}

fn stroke(colour: Option<Colour>) -> String {
    colour.map(|c| format!(r#" stroke="{}""#, c.light)).unwrap_or_default()
}

fn classes(filled: Option<Colour>, stroked: Option<Colour>, more: &str) -> String {
    let mut all: Vec<String> = Vec::new();
    all.extend(filled.map(|c| format!("f-{}", c.name)));
    all.extend(stroked.map(|c| format!("s-{}", c.name)));
    all.extend((!more.is_empty()).then(|| more.to_owned()));
    if all.is_empty() { String::new() } else { format!(r#" class="{}""#, all.join(" ")) }
}

impl Svg {
    /// Room between the card's edge and what is on it.
    pub const MARGIN: f64 = 20.0;

    /// An empty picture.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says that times are drawn on it: no two runs give the same picture.
    pub fn timed(&mut self) -> &mut Self {
        self.timed = true;
        self
    }

    fn reach(&mut self, x: f64, y: f64) {
        self.right = self.right.max(x);
        self.bottom = self.bottom.max(y);
    }

    /// The lower edge of what is on it so far.
    pub fn bottom(&self) -> f64 {
        self.bottom
    }

    /// The right edge of what is on it so far.
    pub fn right(&self) -> f64 {
        self.right
    }

    /// Adds a rectangle: its left, upper corner, its width and height, the radius of its corners.
    pub fn rect(
        &mut self,
        (x, y): (f64, f64),
        (width, height): (f64, f64),
        radius: f64,
        ground: impl Into<Option<Colour>>,
        border: impl Into<Option<Colour>>,
    ) -> &mut Self {
        self.box_("", (x, y), (width, height), radius, ground, border)
    }

    /// The same, with a class of its own: what a stylesheet or a script finds it by.
    pub fn box_(
        &mut self,
        class: &str,
        (x, y): (f64, f64),
        (width, height): (f64, f64),
        radius: f64,
        ground: impl Into<Option<Colour>>,
        border: impl Into<Option<Colour>>,
    ) -> &mut Self {
        let (ground, border) = (ground.into(), border.into());
        self.reach(x + width, y + height);
        let rounded = if radius > 0.0 { format!(r#" rx="{radius}""#) } else { String::new() };
        let dashed = if class.contains("dashed") { r#" stroke-dasharray="5 4""# } else { "" };
        let _ = writeln!(
            self.body,
            r#"<rect x="{}" y="{}" width="{}" height="{}"{rounded}{dashed}{}{}{}/>"#,
            Px(x),
            Px(y),
            Px(width.max(0.0)),
            Px(height.max(0.0)),
            fill(ground),
            stroke(border),
            classes(ground, border, class)
        );
        self
    }

    /// Adds a straight line.
    pub fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), colour: Colour) -> &mut Self {
        self.reach(x1.max(x2), y1.max(y2));
        let _ = writeln!(
            self.body,
            r#"<line x1="{}" y1="{}" x2="{}" y2="{}"{}{}/>"#,
            Px(x1),
            Px(y1),
            Px(x2),
            Px(y2),
            stroke(Some(colour)),
            classes(None, Some(colour), "")
        );
        self
    }

    /// Adds a line of text; `x` is where it starts, or ends, or has its middle, as its [`Type`] says; `y` is its base line.
    pub fn text(&mut self, x: f64, y: f64, text: &str, style: Type) -> &mut Self {
        let Type { size, fill: ink, mono, bold, anchor } = style;
        let wide = style.width(text);
        let right = match anchor {
            "end" => x,
            "middle" => x + wide / 2.0,
            _ => x + wide,
        };
        self.reach(right, y + size * 0.3);
        // A script that cannot be measured here is given its length.
        let length = if is_plain(text) || text.is_empty() {
            String::new()
        } else {
            format!(r#" textLength="{}" lengthAdjust="spacingAndGlyphs""#, Px(wide))
        };
        let anchor = if anchor == "start" { String::new() } else { format!(r#" text-anchor="{anchor}""#) };
        let class = if mono { "m" } else { "" };
        let family = if mono { format!(r#" font-family="{MONO}""#) } else { String::new() };
        let weight = if bold { r#" font-weight="600""# } else { "" };
        let _ = writeln!(
            self.body,
            r#"<text x="{}" y="{}"{family} font-size="{size}"{weight}{anchor}{length}{}{} xml:space="preserve">{}</text>"#,
            Px(x),
            Px(y),
            fill(Some(ink)),
            classes(Some(ink), None, class),
            escape(text)
        );
        self
    }

    /// Adds text in lines no wider than `room`, a line every `step` pixels; gives the base line of the last.
    pub fn paragraph(&mut self, x: f64, y: f64, room: f64, step: f64, text: &str, style: Type) -> f64 {
        let lines = style.wrap(text, room);
        for (i, line) in lines.iter().enumerate() {
            self.text(x, y + step * i as f64, line, style);
        }
        y + step * lines.len().saturating_sub(1) as f64
    }

    /// Adds digits of which each has the same, given width, whatever the font.
    pub fn digits(&mut self, x: f64, y: f64, text: &str, each: f64, style: Type) -> &mut Self {
        let wide = each * text.chars().count() as f64;
        self.reach(x + wide, y + 4.0);
        let _ = writeln!(
            self.body,
            r#"<text x="{}" y="{}" font-family="{MONO}" font-size="{}" textLength="{}"{}{} xml:space="preserve">{}</text>"#,
            Px(x),
            Px(y),
            style.size,
            Px(wide),
            fill(Some(style.fill)),
            classes(Some(style.fill), None, "m"),
            escape(text)
        );
        self
    }

    /// Adds an arrow along a cubic curve. What dashes mean is for the picture to say.
    pub fn arrow(
        &mut self,
        from: (f64, f64),
        bend: ((f64, f64), (f64, f64)),
        to: (f64, f64),
        colour: Colour,
        dashed: bool,
    ) -> &mut Self {
        let dash = if dashed { r#" stroke-dasharray="6 4""# } else { "" };
        for (x, y) in [from, to, bend.0, bend.1] {
            // A curve stays within three quarters of what bends it.
            let reach = |edge: f64, at: f64| edge + (at - edge).max(0.0) * 0.76;
            self.reach(reach(from.0.max(to.0), x) + 2.0, reach(from.1.max(to.1), y) + 2.0);
        }
        let _ = writeln!(
            self.body,
            r#"<path d="M{} {}C{} {} {} {} {} {}"{} stroke-width="2"{dash}{}{}/>"#,
            Px(from.0),
            Px(from.1),
            Px(bend.0.0),
            Px(bend.0.1),
            Px(bend.1.0),
            Px(bend.1.1),
            Px(to.0),
            Px(to.1),
            fill(None),
            stroke(Some(colour)),
            classes(None, Some(colour), "")
        );
        self.head(to, (to.0 - bend.1.0, to.1 - bend.1.1), colour)
    }

    /// Adds an arrow that leaves to the side, runs down or up along `lane`, and comes back.
    pub fn elbow(&mut self, from: (f64, f64), lane: f64, to: (f64, f64), colour: Colour) -> &mut Self {
        self.reach(lane + 2.0, from.1.max(to.1) + 5.0);
        let round = 7.0_f64.min((to.1 - from.1).abs() / 2.0);
        let (out, back, down) = ((lane - from.0).signum(), (to.0 - lane).signum(), (to.1 - from.1).signum());
        let _ = writeln!(
            self.body,
            r#"<path d="M{} {}H{}Q{} {} {} {}V{}Q{} {} {} {}H{}"{} stroke-width="2"{}{}/>"#,
            Px(from.0),
            Px(from.1),
            Px(lane - out * round),
            Px(lane),
            Px(from.1),
            Px(lane),
            Px(from.1 + down * round),
            Px(to.1 - down * round),
            Px(lane),
            Px(to.1),
            Px(lane + back * round),
            Px(to.1),
            Px(to.0),
            fill(None),
            stroke(Some(colour)),
            classes(None, Some(colour), "")
        );
        self.head(to, (back, 0.0), colour)
    }

    /// The head of an arrow, drawn by hand: a marker needs an id, and ids clash between the pictures of one page.
    fn head(&mut self, to: (f64, f64), (dx, dy): (f64, f64), colour: Colour) -> &mut Self {
        let long = dx.hypot(dy).max(1e-9);
        let (dx, dy) = (dx / long, dy / long);
        let base = (to.0 - 8.0 * dx, to.1 - 8.0 * dy);
        let _ = writeln!(
            self.body,
            r#"<path d="M{} {}L{} {}L{} {}Z"{}{}/>"#,
            Px(to.0),
            Px(to.1),
            Px(base.0 - 4.5 * dy),
            Px(base.1 + 4.5 * dx),
            Px(base.0 + 4.5 * dy),
            Px(base.1 - 4.5 * dx),
            fill(Some(colour)),
            classes(Some(colour), None, "")
        );
        self
    }

    /// Adds a straight arrow.
    pub fn straight(&mut self, from: (f64, f64), to: (f64, f64), colour: Colour, dashed: bool) -> &mut Self {
        let third = |a: f64, b: f64| (a + (b - a) / 3.0, b - (b - a) / 3.0);
        let ((x1, x2), (y1, y2)) = (third(from.0, to.0), third(from.1, to.1));
        self.arrow(from, ((x1, y1), (x2, y2)), to, colour, dashed)
    }

    /// Opens a group with these attributes, `(name, value)`; [`end`](Svg::end) closes it.
    pub fn group(&mut self, attributes: &[(&str, &str)]) -> &mut Self {
        self.body.push_str("<g");
        for (name, value) in attributes {
            let _ = write!(self.body, r#" {name}="{}""#, escape(value));
        }
        self.body.push_str(">\n");
        self
    }

    /// Closes a group.
    pub fn end(&mut self) -> &mut Self {
        self.body.push_str("</g>\n");
        self
    }

    /// The whole picture, on its card, with what a screen reader says of it.
    pub fn finish(&self, title: &str, description: &str) -> String {
        let (width, height) = ((self.right + Self::MARGIN).ceil(), (self.bottom + Self::MARGIN).ceil());
        self.finish_sized(title, description, (width, height))
    }

    /// The same in a size that is given: for several pictures of which one takes the place of another.
    pub fn finish_sized(&self, title: &str, description: &str, (width, height): (f64, f64)) -> String {
        format!(
            concat!(
                r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img"{timed} font-family="{f}">"#,
                "\n<title>{t}</title>\n<desc>{d}</desc>\n<style>{s}</style>\n",
                r##"<rect x="0.5" y="0.5" width="{iw}" height="{ih}" rx="8" fill="{card}" stroke="{line}" class="f-card s-line"/>"##,
                "\n{b}</svg>"
            ),
            w = width,
            h = height,
            timed = if self.timed { r#" data-timing="true""# } else { "" },
            f = SANS,
            t = escape(title),
            d = escape(description),
            s = colour::dark_style(),
            iw = width - 1.0,
            ih = height - 1.0,
            card = colour::CARD.light,
            line = colour::LINE.light,
            b = self.body
        )
    }

    /// The size that [`finish`](Svg::finish) gives it.
    pub fn size(&self) -> (f64, f64) {
        ((self.right + Self::MARGIN).ceil(), (self.bottom + Self::MARGIN).ceil())
    }
}
