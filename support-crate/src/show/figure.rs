//! A picture as a page shows it: one that stands still, and one that answers.
//!
//! ```text
//! Figure ──▶ text/html       <figure>: the picture as an image, the same in words, and a script that brings both to life
//!        ├─▶ image/svg+xml   the picture, for hosts that draw no HTML
//!        └─▶ text/plain      the same in words
//! ```
//!
//! Invariants:
//! 1. What is seen without the script is complete. A host that strips scripts and styles (a notebook that is not trusted) shows an
//!    `<img>` with its alternative text; the script puts the same picture in its place, drawn in the page's colours.
//! 2. The script and the stylesheet are files of their own, `figure/figure.js` and `figure/figure.css`. They fetch nothing, evaluate
//!    nothing, and touch nothing outside of their figure. Together they have at most 20 kB (a test counts).
//! 3. What is read aloud is short: a name and a sentence or two. All the rest is text in the page.

use super::{colour, elide, escape, json::Json, text::escape_lines, to_notebook};
use std::{
    fmt::Write as _,
    hash::{BuildHasher, RandomState},
    io,
    path::Path,
};

const SCRIPT: &str = include_str!("../../figure/figure.js");
const STYLE: &str = include_str!("../../figure/figure.css");

/// A picture with all that is known about it: see the [module](crate::show).
#[derive(Debug, Clone, Default)]
pub struct Figure {
    title: String,
    description: String,
    words: String,
    still: String,
    frames: Vec<Frame>,
    /// The position that is shown first; none where all are, if they have room.
    first: Option<usize>,
    /// What the player of a timeline plays.
    player: Option<Json>,
}

/// One position of a picture that can be stepped.
#[derive(Debug, Clone)]
pub struct Frame {
    /// What the position is called: short.
    pub label: String,
    /// What is to be seen in it: a sentence.
    pub says: String,
    /// The picture.
    pub svg: String,
}

impl Figure {
    /// A picture. `title` is its accessible name; `description` says in a sentence or two what it shows (what is
    /// longer than can be listened to is shortened); `words` say all of it.
    pub fn new(title: impl Into<String>, description: impl Into<String>, words: impl Into<String>, svg: String) -> Self {
        let description = elide(&description.into(), 400).into_owned();
        Self { title: title.into(), description, words: words.into(), still: svg, ..Self::default() }
    }

    /// With positions that are stepped through, instead of the still picture, where there is a script.
    pub fn with_frames(mut self, frames: Vec<Frame>) -> Self {
        self.frames = frames;
        self
    }

    /// Shows this position first.
    pub fn starting_at(mut self, position: usize) -> Self {
        self.first = Some(position);
        self
    }

    pub(crate) fn with_player(mut self, player: Json) -> Self {
        self.player = Some(player);
        self
    }

    /// The accessible name.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The same in words.
    pub fn words(&self) -> &str {
        &self.words
    }

    /// The still picture: a file of its own.
    pub fn svg(&self) -> &str {
        &self.still
    }

    /// The figure for a page: what [`to_notebook`] hands over as `text/html`.
    pub fn html(&self) -> String {
        let id = format!("pl-{:x}", RandomState::new().hash_one(self.still.len()));
        let (title, description) = (escape(&self.title), escape(&self.description));
        let mut html = format!(
            concat!(
                r#"<figure class="pinlab" aria-label="{title}" aria-describedby="{id}" data-lm-suppress-shortcuts="true">"#,
                "\n<style>{style}</style>\n",
                r#"<div class="view" style="overflow-x:auto"><img alt="{title}. {description}" style="max-width:none" src="{src}"></div>"#,
                "\n",
                r#"<p id="{id}" hidden>{description}</p>"#,
                "\n<details><summary>The same in words</summary><pre>{words}</pre></details>\n",
            ),
            title = title,
            description = description,
            id = id,
            style = style(),
            src = data_uri(&self.still),
            words = escape_lines(&self.words),
        );
        if let Some(data) = self.data() {
            let _ = writeln!(html, r#"<script type="application/json">{data}</script>"#);
        }
        let _ = write!(html, "<script>{}</script>\n</figure>", script());
        html
    }

    fn data(&self) -> Option<Json> {
        let frames = self.frames.iter().map(|frame| {
            Json::object([
                ("label", Json::from(frame.label.as_str())),
                ("says", Json::from(frame.says.as_str())),
                ("svg", Json::from(without_style(&frame.svg).as_str())),
            ])
        });
        match (&self.player, self.frames.is_empty()) {
            (None, true) => None,
            (None, false) => Some(Json::object([("frames", Json::list(frames)), ("first", self.first.into())])),
            (Some(player), _) => Some(Json::object([("player", player.clone())])),
        }
    }

    /// A page of its own, in one file: it fetches nothing.
    pub fn page(&self) -> String {
        format!(
            concat!(
                "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n",
                "<meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n",
                "<style>:root{{color-scheme:light dark}}body{{margin:1rem;font-family:{font};background:{light};color:{ink}}}",
                "@media (prefers-color-scheme:dark){{body{{background:{dark};color:{pale}}}}}</style>\n</head>\n",
                "<body>\n<main>\n<h1 style=\"font-size:1.2rem\">{title}</h1>\n{figure}\n</main>\n</body>\n</html>\n"
            ),
            title = escape(&self.title),
            font = super::SANS,
            light = colour::PAPER.light,
            ink = colour::INK.light,
            dark = colour::PAPER.dark,
            pale = colour::INK.dark,
            figure = self.html()
        )
    }

    /// Writes [`page`](Figure::page) to a file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> io::Result<()> {
        std::fs::write(path, self.page())
    }

    /// Shows it in a notebook.
    pub fn evcxr_display(&self) {
        to_notebook(&[("text/html", &self.html()), ("image/svg+xml", &self.still), ("text/plain", &self.words)]);
    }
}

impl std::fmt::Display for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.words)
    }
}

/// Lines of code without the room before them and without comments that have a line of their own.
fn slim(code: &str) -> String {
    let lines = code.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//") && !line.starts_with("/*"));
    lines.filter(|line| !line.starts_with('*') || line.starts_with("*{")).collect::<Vec<_>>().join("\n")
}

fn style() -> String {
    colour::page_style() + &slim(STYLE)
}

fn script() -> String {
    slim(SCRIPT)
}

fn without_style(svg: &str) -> String {
    match (svg.find("<style>"), svg.find("</style>\n")) {
        (Some(from), Some(to)) if from < to => format!("{}{}", &svg[..from], &svg[to + "</style>\n".len()..]),
        _ => svg.to_owned(),
    }
}

/// The picture as an address that holds it. Its attributes are in single quotes, so that most of it needs no escape.
fn data_uri(svg: &str) -> String {
    let mut uri = String::from("data:image/svg+xml;charset=utf-8,");
    for byte in svg.replace('"', "'").bytes() {
        match byte {
            b'a'..=b'z'
            | b'A'..=b'Z'
            | b'0'..=b'9'
            | b' '
            | b'\''
            | b'='
            | b'-'
            | b'_'
            | b'.'
            | b','
            | b';'
            | b':'
            | b'/'
            | b'('
            | b')' => {
                uri.push(byte.into());
            }
            other => {
                let _ = write!(uri, "%{other:02X}");
            }
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn script_and_style_are_small_and_fetch_nothing() {
        assert!(script().len() + style().len() <= 20_000, "{} + {}", script().len(), style().len());
        for word in [
            "eval(",
            "Function(",
            "fetch(",
            "XMLHttpRequest",
            "import(",
            "innerHTML",
            "setAttribute('on",
            "http:",
            "https:",
            "url(",
        ] {
            assert!(!script().contains(word) && !style().contains(word), "{word}");
        }
        assert!(!script().contains("</script") && !style().contains("</style"));
    }

    #[test]
    fn everything_is_escaped_wherever_it_stands() {
        let nasty = "</script><script>alert(1)</script>\"'&<!--";
        let mut svg = super::super::Svg::new();
        svg.text(20.0, 20.0, nasty, super::super::Type::sans(12.0));
        let svg = svg.finish(nasty, nasty);
        let frame = Frame { label: nasty.into(), says: nasty.into(), svg: svg.clone() };
        let html = Figure::new(nasty, nasty, nasty, svg).with_frames(vec![frame]).html();
        assert_eq!(html.matches("<script").count(), 2, "its own two");
        assert_eq!(html.matches("</script").count(), 2);
        assert!(!html.contains("<!--"));
    }
}
