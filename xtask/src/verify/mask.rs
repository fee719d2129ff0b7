//! What two runs of one cell must have in common: its outputs with everything replaced that may rightly differ.
//!
//! ```text
//! "a lives at 0x00007ffd3c1a0b48, polled in 1.8 µs"   one run
//! "a lives at A1, polled in ‹time›"                   every run
//! ```
//!
//! 1. An address becomes a name, `A1`, `A2`, … in order of first appearance in its cell. Equal addresses get equal names,
//!    however they are written, so "the same place" and "another place" stay checkable. Between cells only "the same" can be
//!    checked ([`returns`]): whether a place that has become free is used again by a later cell is up to the allocator.
//! 2. A time with a fraction becomes `‹time›`, a number with `/s` after it `‹rate›`: they were measured. A time that is a whole
//!    number was decided by somebody, and is compared, and so is one that the cell's own text has; unless the cell's rules
//!    say that what it shows is `measured`.
//! 3. What the kernel adds by chance goes: colours, build chatter, thread numbers, positions in generated code.
//! 4. What a cell's own `mask` matches becomes `▒`. It sees the whole text; `^` and `$` are the ends of a line.
//! 5. A check tries what it is given with numbers that are made up by chance: which numbers it shows is not compared, its words
//!    and its verdict are.
//! 6. Spaces are squeezed on a line where anything was replaced: columns are padded to the width of what stood there.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::LazyLock;

use anyhow::{Context, Result};
use regex::{Captures, Regex, RegexBuilder};

use crate::notebook::{Cell, Kind, Notebook, Role};
use crate::outputs::{Section, sections};

/// What one cell shows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Masked {
    pub(crate) sections: Vec<Section>,
    /// The addresses behind its names: `A1` first.
    pub(crate) places: Vec<u64>,
}

/// A place by its name: the cell's index, and the name's.
pub(crate) type Place = (usize, usize);

/// The places that one cell shows and a later one shows again.
pub(crate) fn returns(cells: &[Masked]) -> Vec<(Place, Place)> {
    let mut first_seen: HashMap<u64, Place> = HashMap::new();
    let mut returns = Vec::new();
    for (cell, masked) in cells.iter().enumerate() {
        for (name, address) in masked.places.iter().enumerate() {
            match first_seen.entry(*address) {
                Entry::Occupied(first) => returns.push((*first.get(), (cell, name))),
                Entry::Vacant(new) => {
                    new.insert((cell, name));
                }
            }
        }
    }
    returns
}

/// The returns of `before` that are none in `after`: what was the same place is another one now.
pub(crate) fn lost_returns(before: &[Masked], after: &[Masked]) -> Vec<(Place, Place)> {
    let now = |(cell, name): Place| after.get(cell).and_then(|masked| masked.places.get(name));
    returns(before).into_iter().filter(|&(first, later)| now(first) != now(later)).collect()
}

/// The texts of every cell of a notebook, masked.
pub(crate) fn masked(notebook: &Notebook) -> Result<Vec<Masked>> {
    notebook
        .cells
        .iter()
        .map(|cell| {
            let extra: Vec<Regex> = cell
                .rules
                .mask
                .iter()
                .map(|mask| {
                    let regex = RegexBuilder::new(mask).multi_line(true).build();
                    regex.with_context(|| format!("{}: `mask` is no regular expression", cell.label()))
                })
                .collect::<Result<_>>()?;
            if cell.kind == Kind::Markdown {
                return Ok(Masked::default());
            }
            let check = cell.rules.role == Some(Role::Check);
            let mut names = Names { constant: Constant::of(cell), numbers_are_chance: check, ..Names::default() };
            let sections = sections(&cell.outputs)
                .into_iter()
                .filter(|section| cell.meant_to_fail || section.title != "stderr")
                .filter(|section| !LIVE_ONLY.contains(&section.title.as_str()))
                .map(|section| Section { text: names.mask(&section, &extra), title: section.title })
                .collect();
            Ok(Masked { sections, places: names.addresses })
        })
        .collect()
}

/// What stands where a cell's own mask matched.
const MASK: &str = "▒";

/// A text to look for in another one: addresses are all alike, so are times, and spaces do not count.
pub(super) fn loosely(text: &str) -> String {
    static ADDRESS: LazyLock<Regex> = LazyLock::new(|| regex(r"\bA\d+\b"));
    let mut names = Names { constant: Constant { none: true, ..Constant::default() }, ..Names::default() };
    let masked: Vec<String> = text.lines().map(|line| names.mask_line(line)).collect();
    let masked = ADDRESS.replace_all(&masked.join(" "), "‹address›").into_owned();
    masked.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What is shown by a cell that was just run, and not kept in its file.
pub(super) const LIVE_ONLY: [&str; 1] = ["text/html"];

/// Which times are no measurements.
#[derive(Debug, Default)]
struct Constant {
    /// All times in this cell are measured.
    none: bool,
    /// The text of the cell.
    source: String,
}

impl Constant {
    fn of(cell: &Cell) -> Self {
        Self { none: cell.rules.measured, source: cell.source.clone() }
    }

    /// `number` is as it is written before the unit.
    fn is(&self, number: &str) -> bool {
        !self.none && (!number.contains(['.', 'e']) || self.source.contains(number))
    }
}

/// The names of addresses, and what else decides how a line is masked.
#[derive(Debug, Default)]
struct Names {
    /// In order of appearance.
    addresses: Vec<u64>,
    constant: Constant,
    /// The cell is a check.
    numbers_are_chance: bool,
}

impl Names {
    fn mask(&mut self, section: &Section, extra: &[Regex]) -> String {
        static TIMED_PICTURE: LazyLock<Regex> = LazyLock::new(|| regex(r#"<svg\b[^>]*\bdata-timing="true""#));
        if TIMED_PICTURE.is_match(&section.text) {
            return "(a picture of times)".into();
        }
        let text = extra.iter().fold(section.text.clone(), |text, mask| mask.replace_all(&text, MASK).into_owned());
        // In a picture: the marks below bytes that have changed. Which bytes of an address those are is chance; which words have changed is said in text.
        static CHANGED: LazyLock<Regex> = LazyLock::new(|| regex(r#"^<rect [^>]*height="2.5"[^>]*class="f-amber"/>$"#));
        text.lines().filter(|line| !CHANGED.is_match(line.trim())).map(|line| self.mask_line(line)).collect::<Vec<_>>().join("\n")
    }

    fn mask_line(&mut self, line: &str) -> String {
        static KERNEL: LazyLock<[(Regex, &str); 3]> = LazyLock::new(|| {
            [
                (regex(r"(thread '[^']*') \(\d+\)"), "$1"),
                (regex(r"\bsrc/lib\.rs(?:: ?\d+(?::\d+)?)+"), "src/lib.rs"),
                (regex(r"\bcommand_\d+(?::\d+)*"), "command"),
            ]
        });
        static RATE: LazyLock<Regex> =
            LazyLock::new(|| regex(r"\b\d[\d_,]*(?:\.\d+)?(?:e\d+)?(?: ?[kMG]\b)?(?: ?[\p{Alphabetic}-]+)?/s(?:ec|econd)?\b"));
        static TIME: LazyLock<Regex> =
            LazyLock::new(|| regex(r"\b(\d[\d_,]*(?:\.\d+)?(?:e-?\d+)?) ?(?:ns|µs|μs|us|ms|s|secs?|seconds?)\b"));
        // Pictures that can be asked carry addresses in attributes, as bare digits.
        static ATTRIBUTE: LazyLock<Regex> = LazyLock::new(|| regex(r#"(\bdata-[a-z]+="(?:[a-z]\d+-)?)([0-9a-f]{9,16})""#));
        static HEX: LazyLock<Regex> = LazyLock::new(|| regex(r"\b(?:0[xX]([0-9a-fA-F]+)|([0-9a-fA-F]{16}))\b"));

        static NUMBER: LazyLock<Regex> = LazyLock::new(|| regex(r"-?\b(?:0x[0-9a-f]+|[0-9a-f]{16}\b|\d[\d_]*(?:\.\d+)?)"));
        if self.numbers_are_chance {
            return NUMBER.replace_all(line, MASK).split_whitespace().collect::<Vec<_>>().join(" ");
        }
        let mut text = line.to_owned();
        for (pattern, plain) in KERNEL.iter() {
            text = pattern.replace_all(&text, *plain).into_owned();
        }
        text = RATE.replace_all(&text, "‹rate›").into_owned();
        text = TIME
            .replace_all(
                &text,
                |found: &Captures<'_>| {
                    if self.constant.is(&found[1]) { found[0].to_owned() } else { "‹time›".to_owned() }
                },
            )
            .into_owned();
        text = ATTRIBUTE.replace_all(&text, "${1}0x${2}\"").into_owned();
        text = HEX
            .replace_all(&text, |found: &Captures<'_>| {
                // A zero-padded small number is a size or an offset, and must not differ: leading zeros do not count.
                let (digits, least) = match (found.get(1), found.get(2)) {
                    (Some(digits), _) => (digits.as_str(), 0x1_0000),
                    (None, Some(digits)) => (digits.as_str(), 1 << 20),
                    (None, None) => unreachable!("one of the two alternatives matched"),
                };
                match u64::from_str_radix(digits, 16) {
                    Ok(address) if address >= least => format!("A{}", self.name(address)),
                    _ => found[0].to_owned(),
                }
            })
            .into_owned();
        if text == line && !line.contains(MASK) { text } else { text.split_whitespace().collect::<Vec<_>>().join(" ") }
    }

    fn name(&mut self, address: u64) -> usize {
        let known = self.addresses.iter().position(|known| *known == address);
        known.unwrap_or_else(|| {
            self.addresses.push(address);
            self.addresses.len() - 1
        }) + 1
    }
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is ours and is tested")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mask(text: &str) -> String {
        let section = Section { title: "stdout".into(), text: text.into() };
        Names::default().mask(&section, &[])
    }

    #[test]
    fn the_same_address_gets_the_same_name_however_it_is_written() {
        assert_eq!(mask("0x7ffd3c1a0b48 0x00007ffd3c1a0b48 00007ffd3c1a0b48"), "A1 A1 A1");
        assert_eq!(mask("0x7FFD3C1A0B48 0x7ffd3c1a0b48"), "A1 A1");
    }

    #[test]
    fn different_addresses_get_different_names_in_order_of_appearance() {
        assert_eq!(mask("b 0x55ff00000010\na 0x55ff00000008\nb 0x55ff00000010"), "b A1\na A2\nb A1");
        assert_ne!(mask("0x55ff00000010 0x55ff00000010"), mask("0x55ff00000010 0x55ff00000008"));
    }

    fn three_cells(texts: [&str; 3]) -> Vec<Masked> {
        let cell = |text: &str| {
            json!({"cell_type": "code", "metadata": {}, "source": [],
            "outputs": [{"output_type": "stream", "name": "stdout", "text": [text]}]})
        };
        let text = json!({"cells": texts.map(cell)});
        masked(&Notebook::parse("n.ipynb".as_ref(), &text.to_string()).unwrap()).unwrap()
    }

    #[test]
    fn names_are_of_one_cell_and_places_that_come_back_are_known_through_the_whole_notebook() {
        let cells = three_cells(["0x55ff00000010", "0x55ff00000020", "0x55ff00000030 0x55ff00000010"]);
        let texts: Vec<_> = cells.iter().map(|cell| cell.sections[0].text.clone()).collect();
        assert_eq!(texts, ["A1", "A1", "A1 A2"]);
        assert_eq!(returns(&cells), [((0, 0), (2, 1))]);
    }

    #[test]
    fn a_place_may_come_back_by_chance_and_must_where_it_did() {
        let stays = three_cells(["0x55ff00000010", "", "0x55ff00000010"]);
        let moves = three_cells(["0x55ff00000010", "", "0x55ff00000020"]);
        assert_eq!(lost_returns(&stays, &moves), [((0, 0), (2, 0))]);
        assert_eq!(lost_returns(&moves, &stays), []);
        assert_eq!(lost_returns(&stays, &stays), []);
    }

    #[test]
    fn short_and_small_hex_words_are_left_alone() {
        for text in ["0x10", "0xffff", "0x0000000000000008", "0000000000000018", "deadbeef", "00000000000fffff"] {
            assert_eq!(mask(text), text);
        }
        assert_eq!(mask("0000000000100000"), "A1");
    }

    #[test]
    fn measured_times_and_rates_are_masked_and_other_numbers_are_not() {
        for text in ["1.5 ms", "12.25ms", "3.0 µs", "3.1 us", "1_000.5 ns", "2.5 seconds", "1e-3 s"] {
            assert_eq!(mask(text), "‹time›", "{text}");
        }
        for text in ["1234/s", "1_234_567 polls/s", "12.3 M wakes/s", "9/second"] {
            assert_eq!(mask(text), "‹rate›", "{text}");
        }
        for text in ["3 polls", "8 bytes", "5 slots", "Suspend0", "1 / 2", "v1.2.3", "600ms", "1 second", "2 s"] {
            assert_eq!(mask(text), text);
        }
    }

    #[test]
    fn a_time_of_the_cells_own_text_is_compared_and_in_a_cell_that_measures_none_is() {
        let mask = |none: bool, text: &str| {
            let constant = Constant { none, source: "Duration::from_secs_f32(0.5)".into() };
            let section = Section { title: "stdout".into(), text: text.into() };
            Names { constant, ..Names::default() }.mask(&section, &[])
        };
        assert_eq!(mask(false, "0.5 s, 0.7 s, 2 s"), "0.5 s, ‹time›, 2 s");
        assert_eq!(mask(true, "0.5 s, 0.7 s, 2 s"), "‹time›, ‹time›, ‹time›");
    }

    #[test]
    fn which_bytes_of_an_address_have_changed_is_chance() {
        let mark =
            |x: u32| format!("<text>a</text>\n<rect x=\"{x}\" y=\"461\" width=\"14.2\" height=\"2.5\" class=\"f-amber\"/>");
        assert_eq!(mask(&mark(1)), "<text>a</text>");
        assert_ne!(mask(&mark(1).replace("2.5", "20")), "<text>a</text>");
    }

    #[test]
    fn the_numbers_of_a_check_are_chance_and_its_words_are_not() {
        let section = |text: &str| Section { title: "stdout".into(), text: text.into() };
        let mask = |text: &str| Names { numbers_are_chance: true, ..Names::default() }.mask(&section(text), &[]);
        assert_eq!(mask("polled at [1407, 0x7ffd3c1a0b48]: -3, 2.5 ✗ where?"), "polled at [▒, ▒]: ▒, ▒ ✗ where?");
        assert_ne!(mask("3 ✓"), mask("3 ✗"));
    }

    #[test]
    fn padding_around_something_masked_does_not_count() {
        assert_eq!(mask("poll     9.1 µs  a"), mask("poll   110.1 µs  a"));
        assert_ne!(mask("poll  a"), mask("poll a"));
    }

    #[test]
    fn what_the_kernel_adds_by_chance_is_dropped() {
        assert_eq!(
            mask("thread '<unnamed>' (15192) panicked at src/lib.rs:114:2:"),
            mask("thread '<unnamed>' (77) panicked at src/lib.rs:98:2:")
        );
        assert_eq!(mask("{async block@src/lib.rs:226:16: 226:21}"), mask("{async block@src/lib.rs:251:16: 251:21}"));
        assert_eq!(mask(" ╭─[ command_6:1:1 ]"), mask(" ╭─[ command_7:1:1 ]"));
    }

    #[test]
    fn a_cells_own_masks_hide_what_they_match() {
        let section = Section { title: "stdout".into(), text: "port 40123 open".into() };
        assert_eq!(Names::default().mask(&section, &[regex(r"port \d+")]), "▒ open");
        let section = Section { title: "stdout".into(), text: "kept\n3 tasks\n   1.2  a\n   2.3  b".into() };
        assert_eq!(Names::default().mask(&section, &[regex(r"(?ms)^\d+ tasks.*")]), "kept\n▒");
    }

    #[test]
    fn pictures_are_compared_unless_they_show_times() {
        assert_eq!(mask("<svg><text>0x55ff00000010</text></svg>"), "<svg><text>A1</text></svg>");
        assert_eq!(
            mask("<g data-to=\"h0-55a2b8b9f590\" data-v=\"55a2b8b9f590\" data-at=\"s0-8\"/>"),
            "<g data-to=\"h0-A1\" data-v=\"A1\" data-at=\"s0-8\"/>"
        );
        assert_eq!(mask("<svg data-timing=\"true\"><text x=\"1.7\"/></svg>"), "(a picture of times)");
    }
}
