//! What a word is, in a sentence: what the pointer of a mouse and a screen reader are answered.

use super::{Lead, Strips};
use crate::probe::xray::{Meaning, Word, offset_label};

/// What a field's last part says about it: what std calls the words of its own types.
const PARTS: [(&str, &str); 4] = [
    (".ptr", "a pointer to what it owns or borrows"),
    (".len", "a length, in elements"),
    (".cap", "a capacity: how many elements its memory has room for"),
    (".vtable", "the address of the table with the type's methods"),
];

/// Where a word stands and what it is called: `② +0x28 val_ref`.
pub(super) fn name(strips: &Strips, strip: usize, word: &Word) -> String {
    let number = if strips.strips.len() > 1 { format!("{} ", strips.number(strip)) } else { String::new() };
    let name = if word.name().is_empty() { String::new() } else { format!(" {}", word.name()) };
    format!("{number}{}{name}", offset_label(word.offset()))
}

/// The whole answer.
pub(super) fn word(strips: &Strips, strip: usize, word: &Word, now: usize) -> String {
    let xray = strips.xray(strip);
    let name = name(strips, strip, word);
    if xray.vacant {
        return format!("{name}: vacant, leftover bytes. Nobody lives here: a move copies bytes and does not wipe them.");
    }
    let argument = if word.name().contains("(argument)") && xray.state() != Some("Unresumed") {
        " An argument as it was passed: the body took it out at its first poll, so these may be leftovers."
    } else {
        ""
    };
    let changed = if strips.changed(strip, word).contains(&true) {
        strips.compared(strip).map(|before| difference(strips, before, strip)).unwrap_or_default()
    } else {
        String::new()
    };
    format!("{name}: {}{argument}{changed}", meaning(strips, strip, word, now))
}

/// Bytes at one address have changed; those of another place just differ.
fn difference(strips: &Strips, before: usize, strip: usize) -> String {
    let is_one_place = strips.xray(before).address() == strips.xray(strip).address();
    let verb = if is_one_place { "Changed since" } else { "Differs from" };
    format!(" {verb} {}.", strips.number(before))
}

fn meaning(strips: &Strips, strip: usize, word: &Word, now: usize) -> String {
    let xray = strips.xray(strip);
    let part = PARTS.iter().find(|(end, _)| word.name().ends_with(end)).map(|(_, what)| *what);
    let part = |otherwise: &str| part.unwrap_or(otherwise).to_owned();
    match (strips.lead_of(strip, word, now), word.meaning()) {
        (Lead::Other { strip: other, offset, stale: true }, _) => format!(
            "the address of {} in {}, where its own value was before it moved. The number was copied and did not follow.{}",
            strips.xray(other).describe(offset),
            strips.number(other),
            if strips.xray(other).vacant { " That place is vacant." } else { "" }
        ),
        (Lead::Other { strip: other, offset, .. }, _) => {
            format!("the address of {} in {}.", strips.xray(other).describe(offset), strips.number(other))
        }
        (Lead::Itself(offset), _) => format!(
            "the address of {}, a part of this very value. A move would copy this number and not change it.",
            xray.describe(offset)
        ),
        (_, Meaning::Unused) => "no live field lies here. Padding, or room that another state uses.".into(),
        (_, Meaning::State(state)) => format!("the state: {state}. {}", state_says(state)),
        (_, Meaning::Text(text)) => format!("bytes that read as text: {text:?}."),
        (_, Meaning::Number(number)) => format!("{}: {number}.", part("a number")),
        (_, Meaning::Elsewhere { region, text: Some(text) }) => {
            format!("{}: an address in the {region}, where {text:?} stands.", part("a pointer"))
        }
        (_, Meaning::Elsewhere { region, text: None }) => format!("{}: an address in the {region}.", part("a pointer, it seems")),
        (_, Meaning::Itself { offset }) => format!("an address {} into this very value.", offset_label(*offset)),
        (_, Meaning::Bytes) => format!("{}.", part("bytes that read neither as an address nor as text")),
    }
}

/// What a state of an `async fn` means.
pub(crate) fn state_says(state: &str) -> String {
    match state {
        "Unresumed" => "It has not been polled yet.".into(),
        "Returned" => "It has returned; nothing is kept.".into(),
        "Panicked" => "It has panicked; nothing is kept.".into(),
        suspended => match suspended.strip_prefix("Suspend").and_then(|number| number.parse::<usize>().ok()) {
            Some(number) => format!("It waits at .await number {} of its code.", number + 1),
            None => String::new(),
        },
    }
}
