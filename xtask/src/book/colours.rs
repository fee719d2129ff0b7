//! The kernel draws the compiler's errors in 256 colours, in greys and purples that are meant for a dark terminal. The book's theme knows
//! the eight colours of old, and has a light and a dark shade of each.

use std::sync::LazyLock;

use regex::{Captures, Regex};

static COLOUR: LazyLock<Regex> = LazyLock::new(|| Regex::new("\x1b\\[38;5;(\\d+)m").expect("it is a constant"));

/// The same text in the eight colours.
pub(super) fn reduced(text: &str) -> String {
    COLOUR.replace_all(text, |found: &Captures| format!("\x1b[{}m", basic(&found[1]))).into_owned()
}

/// The nearest of the eight, as the number of its escape; greys are the text's own colour.
fn basic(colour: &str) -> u8 {
    let Ok(number) = colour.parse::<u8>() else { return 39 };
    let [red, green, blue] = match number {
        0..=15 => return if number % 8 == 0 || number % 8 == 7 { 39 } else { 30 + number % 8 },
        16..=231 => [(number - 16) / 36, (number - 16) / 6 % 6, (number - 16) % 6],
        232..=255 => return 39,
    };
    let (most, least) = (red.max(green).max(blue), red.min(green).min(blue));
    if most == least {
        return 39;
    }
    // What all three have is grey.
    let has = |part: u8, bit: u8| if 2 * (part - least) >= most - least { bit } else { 0 };
    30 + (has(red, 1) | has(green, 2) | has(blue, 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greys_become_the_texts_own_colour_and_others_the_nearest() {
        for (colour, expected) in
            [("249", 39), ("240", 39), ("231", 39), ("9", 31), ("7", 39), ("54", 35), ("115", 36), ("196", 31), ("46", 32)]
        {
            assert_eq!(basic(colour), expected, "{colour}");
        }
    }

    #[test]
    fn other_escapes_and_the_text_stay() {
        assert_eq!(
            reduced("\x1b[31merror\x1b[0m \x1b[38;5;54mhere\x1b[0m 38;5;54m"),
            "\x1b[31merror\x1b[0m \x1b[35mhere\x1b[0m 38;5;54m"
        );
    }
}
