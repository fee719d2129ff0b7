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
//! 2. A number with a unit of time, or with `/s` after it, becomes `‹time›`.
//! 3. What the kernel adds by chance goes: colours, build chatter, thread numbers, positions in generated code.
//! 4. What a cell's own `mask` matches becomes `▒`. It sees the whole text; `^` and `$` are the ends of a line.
//! 5. Spaces are squeezed on a line where anything was replaced: columns are padded to the width of what stood there.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::LazyLock;

use anyhow::{Context, Result};
use regex::{Captures, Regex, RegexBuilder};
use serde_json::Value;

use crate::notebook::{Kind, Notebook, joined};

/// One text of a cell's output.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Section {
    /// `stdout`, `stderr`, `error`, or a mime type.
    pub(crate) title: String,
    pub(crate) text: String,
}

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
            let mut names = Names::default();
            let sections = sections(&cell.outputs)
                .into_iter()
                .filter(|section| cell.meant_to_fail || section.title != "stderr")
                .map(|section| Section { text: names.mask(&section, &extra), title: section.title })
                .collect();
            Ok(Masked { sections, places: names.0 })
        })
        .collect()
}

/// The texts of a cell's outputs as they are, without colours and build chatter.
///
/// The two streams race each other and the pictures, so each stream is put together whole: stdout comes first, stderr last.
/// What the kernel forwards may even come too late and be lost, the more easily the busier the machine is (see `judge::is_cut_short`).
pub(crate) fn sections(outputs: &[Value]) -> Vec<Section> {
    let stream = |name: &str| -> Option<Section> {
        let of_it = outputs.iter().filter(|output| output["output_type"] == "stream" && output["name"] == name);
        let text: String = of_it.map(|output| joined(&output["text"])).collect();
        let text = without_colours(&text);
        // A panic's empty first line comes by itself, and so sometimes not at all.
        let text = if name == "stderr" { without_chatter(&text).trim_matches('\n').to_owned() } else { text };
        (!text.trim().is_empty()).then(|| Section { title: name.to_owned(), text })
    };
    let mut sections: Vec<Section> = stream("stdout").into_iter().collect();
    for output in outputs {
        if output["output_type"] == "error" {
            // The traceback tells all, the value only its first line.
            let lines = output["traceback"].as_array().into_iter().flatten();
            let lines: Vec<&str> = lines.filter_map(Value::as_str).collect();
            let text = if lines.is_empty() { joined(&output["evalue"]) } else { lines.join("\n") };
            sections.push(Section { title: "error".into(), text: without_chatter(&without_colours(&text)) });
        }
        for (mime, data) in output["data"].as_object().into_iter().flatten() {
            let text = match data {
                Value::String(_) | Value::Array(_) => joined(data),
                other => other.to_string(),
            };
            sections.push(Section { title: mime.clone(), text: without_colours(&text) });
        }
    }
    sections.extend(stream("stderr"));
    sections
}

/// Drops what the kernel and cargo add to stderr: `   Compiling pinlab v0.1.0 (…)`, and the list of calls below a panic or a
/// crash, which says more about the kernel than about the cell.
pub(crate) fn without_chatter(text: &str) -> String {
    static CHATTER: LazyLock<Regex> = LazyLock::new(|| {
        let verbs = "Adding|Blocking|Checking|Compiling|Downloaded|Downloading|Dirty|Finished|Fresh|Locking|Updating";
        let calls = r"stack backtrace:|note: [Ss]ome details are omitted|note: run with `RUST_BACKTRACE|[ \t]+\d+: | +at ";
        regex(&format!(r"(?m)^(?: +(?:{verbs})\b|{calls}).*\n?"))
    });
    CHATTER.replace_all(text, "").into_owned()
}

fn without_colours(text: &str) -> String {
    static COLOUR: LazyLock<Regex> = LazyLock::new(|| regex(r"\x1b\[[0-9;]*[A-Za-z]"));
    COLOUR.replace_all(text, "").into_owned()
}

/// What stands where a cell's own mask matched.
const MASK: &str = "▒";

/// Addresses in order of appearance, which names them.
#[derive(Debug, Default)]
struct Names(Vec<u64>);

impl Names {
    fn mask(&mut self, section: &Section, extra: &[Regex]) -> String {
        static TIMED_PICTURE: LazyLock<Regex> = LazyLock::new(|| regex(r#"<svg\b[^>]*\bdata-timing="true""#));
        if TIMED_PICTURE.is_match(&section.text) {
            return "(a picture of times)".into();
        }
        let text = extra.iter().fold(section.text.clone(), |text, mask| mask.replace_all(&text, MASK).into_owned());
        text.lines().map(|line| self.mask_line(line)).collect::<Vec<_>>().join("\n")
    }

    fn mask_line(&mut self, line: &str) -> String {
        static KERNEL: LazyLock<[(Regex, &str); 3]> = LazyLock::new(|| {
            [
                (regex(r"(thread '[^']*') \(\d+\)"), "$1"),
                (regex(r"\bsrc/lib\.rs:\d+(?::\d+)?"), "src/lib.rs"),
                (regex(r"\bcommand_\d+(?::\d+)*"), "command"),
            ]
        });
        static RATE: LazyLock<Regex> =
            LazyLock::new(|| regex(r"\b\d[\d_,]*(?:\.\d+)?(?:e\d+)?(?: ?[kMG]\b)?(?: ?[\p{Alphabetic}-]+)?/s(?:ec|econd)?\b"));
        static TIME: LazyLock<Regex> =
            LazyLock::new(|| regex(r"\b\d[\d_,]*(?:\.\d+)?(?:e-?\d+)? ?(?:ns|µs|μs|us|ms|s|secs?|seconds?)\b"));
        static HEX: LazyLock<Regex> = LazyLock::new(|| regex(r"\b(?:0[xX]([0-9a-fA-F]+)|([0-9a-fA-F]{16}))\b"));

        let mut text = line.to_owned();
        for (pattern, plain) in KERNEL.iter() {
            text = pattern.replace_all(&text, *plain).into_owned();
        }
        text = RATE.replace_all(&text, "‹rate›").into_owned();
        text = TIME.replace_all(&text, "‹time›").into_owned();
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
        let known = self.0.iter().position(|known| *known == address);
        known.unwrap_or_else(|| {
            self.0.push(address);
            self.0.len() - 1
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
    fn times_and_rates_are_masked_and_other_numbers_are_not() {
        for text in ["1.5 ms", "12ms", "3 µs", "3 us", "1_000 ns", "2s", "1 second", "2.5 seconds"] {
            assert_eq!(mask(text), "‹time›", "{text}");
        }
        for text in ["1234/s", "1_234_567 polls/s", "12.3 M wakes/s", "9/second"] {
            assert_eq!(mask(text), "‹rate›", "{text}");
        }
        for text in ["3 polls", "8 bytes", "5 slots", "Suspend0", "1 / 2", "v1.2.3"] {
            assert_eq!(mask(text), text);
        }
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
        assert_eq!(mask(" ╭─[ command_6:1:1 ]"), mask(" ╭─[ command_7:1:1 ]"));
        assert_eq!(without_chatter("   Compiling pinlab v0.1.0 (/somewhere)\nhello\n    Updating index\n"), "hello\n");
        let panic = "panicked at src/lib.rs:\nboom\nstack backtrace:\n   0: a\n             at b\n\
                     note: Some details are omitted, run\nnext\n";
        assert_eq!(without_chatter(panic), "panicked at src/lib.rs:\nboom\nnext\n");
        assert_eq!(without_chatter("Compiling is what cargo does\n"), "Compiling is what cargo does\n");
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
        assert_eq!(mask("<svg data-timing=\"true\"><text x=\"1.7\"/></svg>"), "(a picture of times)");
    }

    #[test]
    fn each_stream_is_put_together_whole() {
        let outputs = [
            json!({"output_type": "stream", "name": "stderr", "text": "one\n"}),
            json!({"output_type": "stream", "name": "stdout", "text": ["a\n", "b\n"]}),
            json!({"output_type": "stream", "name": "stderr", "text": ["two\n", "\n"]}),
        ];
        let found = sections(&outputs);
        assert_eq!(found[0], Section { title: "stdout".into(), text: "a\nb\n".into() });
        assert_eq!(found[1], Section { title: "stderr".into(), text: "one\ntwo".into() });
    }

    #[test]
    fn colours_do_not_count() {
        let error = json!({"output_type": "error", "ename": "Error", "evalue": "x", "traceback": ["\u{1b}[31m[E0382] Error:\u{1b}[0m x"]});
        assert_eq!(sections(&[error])[0].text, "[E0382] Error: x");
    }
}
