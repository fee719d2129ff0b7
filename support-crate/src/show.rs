//! How a probe shows itself: a picture that answers, for whoever can draw, and the same facts in words for whoever cannot.
//!
//! ```text
//! show/text     escaped, measured, shortened text          show/colour   one palette, for the light and the dark
//! show/svg      shapes, and a picture as large as they are  show/figure   the page's form of a picture: HTML, SVG, words
//! ```
//!
//! Invariants:
//! 1. Every picture is legible wherever it is drawn: alone it brings a card of its own, in a page it takes the page's colours.
//! 2. No colour carries a fact alone: a dash, a word or a place says it too.
//! 3. No text is smaller than [`Type::LEAST`], nothing is scaled, and nothing lies beyond the picture's edge.

pub mod colour;
mod figure;
pub(crate) mod json;
mod svg;
pub(crate) mod text;

pub use colour::Colour;
pub use figure::{Figure, Frame};
pub use svg::Svg;
pub use text::{MONO, SANS, Type, elide, escape};

use std::{fmt::Write as _, io::Write as _};

/// Writes a line to stderr, if it can be written to: who has something to say is not to be ended by that (`eprintln!` panics).
pub(crate) fn to_stderr(line: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{line}\n").as_bytes());
}

/// Hands one result to the notebook kernel in several forms: `(mime type, content)`. The front end shows the richest
/// that it can; to a plain terminal it is noise.
///
/// The kernel reads the standard output for these blocks. It drops what `print!` has begun a line with right before one: end that line first. A failure
/// to write is ignored: there is nobody left to tell.
pub fn to_notebook(forms: &[(&str, &str)]) {
    let mut message = String::new();
    for (mime, content) in forms {
        let content = without_signals(content.trim_end());
        let _ = writeln!(message, "EVCXR_BEGIN_CONTENT {mime}\n{content}\nEVCXR_END_CONTENT");
    }
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(message.as_bytes()).and_then(|()| out.flush());
}

/// The line that ends a block cannot be part of what it holds, nor can the one that tells of a panic.
fn without_signals(content: &str) -> String {
    ["END_CONTENT", "PANIC_NOTIFICATION"].iter().fold(content.to_owned(), |content, signal| {
        content.replace(&format!("EVCXR_{signal}"), &format!("EVCXR-{}", signal.replace('_', "-")))
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_shown_gives_the_kernel_no_signal() {
        let shown = super::without_signals("a\nEVCXR_END_CONTENT\nEVCXR_PANIC_NOTIFICATION\nb");
        assert_eq!(shown, "a\nEVCXR-END-CONTENT\nEVCXR-PANIC-NOTIFICATION\nb");
    }
}
