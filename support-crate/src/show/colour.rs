//! The colours of all pictures, for the light and for the dark; the page's own where the page has a theme.
//!
//! The contrast of what is written on each ground is at least 4.5 in both themes (a test computes it). No colour carries a fact alone:
//! not everybody tells them apart.

use std::fmt::Write as _;

/// A colour of the pictures: what it is in the light, in the dark, and which variables of a page's theme stand before both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour {
    /// The end of its class names and of its variable.
    pub(crate) name: &'static str,
    /// As `#rrggbb`.
    pub(crate) light: &'static str,
    /// As `#rrggbb`.
    pub(crate) dark: &'static str,
    /// Custom properties of JupyterLab's and of VS Code's themes, in the order in which they are asked.
    theme: &'static [&'static str],
}

const fn own(name: &'static str, light: &'static str, dark: &'static str) -> Colour {
    Colour { name, light, dark, theme: &[] }
}

/// The card under a picture.
pub const CARD: Colour =
    Colour { name: "card", light: "#fcfcfa", dark: "#1b1f24", theme: &["--jp-layout-color1", "--vscode-editor-background"] };
/// The ground of a strip or a lane.
pub const PAPER: Colour =
    Colour { name: "paper", light: "#ffffff", dark: "#14171b", theme: &["--jp-layout-color0", "--vscode-editor-background"] };
/// Text.
pub const INK: Colour =
    Colour { name: "ink", light: "#1f2933", dark: "#e6eaee", theme: &["--jp-content-font-color1", "--vscode-editor-foreground"] };
/// Lines between rows, and borders.
pub const LINE: Colour = own("line", "#d5dbe1", "#3a424c");
/// Text that steps back.
pub const FAINT: Colour = own("faint", "#56616c", "#a9b3bd");
/// What stays as it is, or is not in use: ground.
pub const GREY: Colour = own("grey", "#eef1f4", "#262c33");
/// What is well: line and text.
pub const TEAL: Colour = own("teal", "#0d6a62", "#6fd6c8");
/// What is well: ground.
pub const TEAL_GROUND: Colour = own("teal-ground", "#d9f0ec", "#12352f");
/// What deserves a look: line and text.
pub const AMBER: Colour = own("amber", "#805305", "#f0c466");
/// What deserves a look: ground.
pub const AMBER_GROUND: Colour = own("amber-ground", "#fbeecb", "#3b2e0d");
/// What went wrong: line and text.
pub const RED: Colour = own("red", "#b42318", "#ffa79c");
/// What went wrong: ground.
pub const RED_GROUND: Colour = own("red-ground", "#fbe3df", "#471f1b");
/// A neutral second voice: line and text.
pub const BLUE: Colour = own("blue", "#1d5fa8", "#93c4f7");
/// A neutral second voice: ground.
pub const BLUE_GROUND: Colour = own("blue-ground", "#dfeaf7", "#1b3049");

/// All of them.
pub(crate) const ALL: [Colour; 14] =
    [CARD, PAPER, INK, LINE, FAINT, GREY, TEAL, TEAL_GROUND, AMBER, AMBER_GROUND, RED, RED_GROUND, BLUE, BLUE_GROUND];

/// What a picture that stands alone knows of the dark: its classes, where the reader's system asks for dark pages.
pub(crate) fn dark_style() -> String {
    let mut style = String::from("@media (prefers-color-scheme:dark){");
    for Colour { name, dark, .. } in ALL {
        let _ = write!(style, ".f-{name}{{fill:{dark}}}.s-{name}{{stroke:{dark}}}");
    }
    style + "}"
}

/// What a page knows: a variable for each colour, and what the classes do with it.
///
/// The page's theme decides where it says whether it is light; else the reader's system does.
pub(crate) fn page_style() -> String {
    let variables = |dark: bool| {
        ALL.iter().fold(String::new(), |mut all, colour| {
            let own = if dark { colour.dark } else { colour.light };
            let asked: String = colour.theme.iter().map(|variable| format!("var({variable},")).collect();
            let _ = write!(all, "--{}:{asked}{own}{};", colour.name, ")".repeat(colour.theme.len()));
            all
        })
    };
    let (light, dark) = (variables(false), variables(true));
    let mut style = format!(
        ".pinlab{{{light}}}\n@media (prefers-color-scheme:dark){{.pinlab{{{dark}}}}}\n\
         [data-jp-theme-light=true] .pinlab,.vscode-light .pinlab{{{light}}}\n\
         [data-jp-theme-light=false] .pinlab,.vscode-dark .pinlab,.vscode-high-contrast .pinlab{{{dark}}}\n"
    );
    for Colour { name, .. } in ALL {
        let _ = write!(style, ".pinlab .f-{name}{{fill:var(--{name})}}.pinlab .s-{name}{{stroke:var(--{name})}}");
    }
    style + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn luminance(hex: &str) -> f64 {
        let part = |at: usize| {
            let value = f64::from(u8::from_str_radix(&hex[at..at + 2], 16).expect("two hex digits")) / 255.0;
            if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
    }

    fn contrast(one: &str, other: &str) -> f64 {
        let (one, other) = (luminance(one), luminance(other));
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    #[test]
    fn text_can_be_read_on_every_ground_that_it_is_put_on() {
        let everywhere = [CARD, PAPER, GREY, TEAL_GROUND, AMBER_GROUND, RED_GROUND, BLUE_GROUND];
        let pairs = [(TEAL, TEAL_GROUND), (AMBER, AMBER_GROUND), (RED, RED_GROUND), (BLUE, BLUE_GROUND)];
        let plain = [INK, FAINT].into_iter().flat_map(|ink| everywhere.map(|ground| (ink, ground)));
        let alone = [TEAL, AMBER, RED, BLUE].into_iter().flat_map(|ink| [CARD, PAPER, GREY].map(|ground| (ink, ground)));
        for (ink, ground) in pairs.into_iter().chain(plain).chain(alone) {
            for (theme, value) in [("light", contrast(ink.light, ground.light)), ("dark", contrast(ink.dark, ground.dark))] {
                assert!(value >= 4.5, "{} on {} in the {theme}: {value:.2}", ink.name, ground.name);
            }
        }
    }
}
