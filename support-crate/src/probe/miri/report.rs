//! Reading what Miri prints.
//!
//! ```text
//! error: Undefined Behavior: memory access failed: …      the message, and below it the place
//!  --> <anon>:7:20
//! help: alloc1 was deallocated here:                      what led to it
//!  --> <anon>:6:5
//! ```

use super::{BorrowModel, Detail, Ending, Finding};
use crate::probe::rustc::run::Output;

/// Kinds of undefined behaviour: words of Miri's message, the kind, and what the rule expects.
const KINDS: &[(&[&str], &str, &str)] = &[
    (&["has been freed", "use-after-free"], "use after free", "memory that is still allocated"),
    (&["Data race"], "data race", "that one of the two accesses happens before the other"),
    (
        &["borrow stack", "is forbidden", "strongly protected", "weakly protected", "not granting access"],
        "aliasing",
        "a pointer that may still be used, in spite of the references made and used since",
    ),
    (&["uninitialized"], "uninitialised memory", "bytes that were written before"),
    (&["alignment", "unaligned"], "misaligned", "an address that is a multiple of the type's alignment"),
    (&["out-of-bounds", "in-bounds", "beyond the end"], "out of bounds", "an address inside the allocation"),
    (&["dangling", "no provenance", "null"], "dangling pointer", "a pointer to memory that is allocated"),
    (&["entering unreachable code"], "unreachable code", "that this place is never reached"),
    (&["overflow"], "overflow", "a result that fits"),
    (&["constructing invalid value"], "an invalid value", "a value that the type allows"),
];

/// `before` lines stand before the snippet.
pub(super) fn read(model: BorrowModel, snippet: &str, before: usize, output: &Output) -> Finding {
    let line = |number: usize| {
        let number = number.checked_sub(before)?;
        snippet.lines().nth(number.checked_sub(1)?).map(|text| (number, text.trim().to_owned()))
    };
    let finding = |ending, headline: &str, details| Finding { model, ending, headline: headline.to_owned(), details };
    if let Some(stopped) = output.stopped {
        return finding(Ending::Stopped, &stopped.to_string(), Vec::new());
    }
    // Whatever the program itself has printed, or has caught.
    if output.status.success() {
        return finding(Ending::Clean, "nothing undefined found", Vec::new());
    }
    let mut names = Names::default();
    let parts: Vec<Part<'_>> = parts(&output.stderr).collect();
    if let Some(&Part { head, message, place, .. }) = parts.iter().find(|part| part.head.starts_with("error") && part.is_placed) {
        let first = |what: String| Detail { line: place.and_then(line), what };
        if let Some(message) = message.strip_prefix("Undefined Behavior: ") {
            let kind = KINDS.iter().find(|(words, ..)| words.iter().any(|word| message.contains(word)));
            let mut details = vec![first(names.shorten(message))];
            if let Some((_, _, expected)) = kind {
                details.push(Detail { line: None, what: format!("expected: {expected}") });
            }
            for part in parts.iter().filter(|part| part.head == "help" && part.place.is_some()) {
                details.push(Detail { line: part.place.and_then(line), what: names.shorten(part.message.trim_end_matches(':')) });
            }
            let headline = kind.map_or("undefined behaviour".to_owned(), |(_, kind, _)| format!("undefined behaviour: {kind}"));
            return finding(Ending::Undefined, &headline, details);
        }
        let ours =
            ["unsupported operation", "the evaluated program", "abnormal termination", "memory leaked", "resource exhaustion"];
        return if ours.iter().any(|words| message.starts_with(words)) {
            finding(Ending::Stopped, "no verdict, it was stopped", vec![first(names.shorten(message))])
        } else {
            let code = head
                .strip_prefix("error[")
                .and_then(|rest| rest.strip_suffix(']'))
                .map_or(String::new(), |code| format!("{code}: "));
            finding(Ending::Refused, "does not compile", vec![first(format!("{code}{message}"))])
        };
    }
    let lines: Vec<&str> = output.stderr.lines().collect();
    let is_panic = |line: &&str| line.starts_with("thread 'main' ") && line.contains(" panicked at ");
    if let Some(at) = lines.iter().rposition(is_panic).filter(|_| output.status.code() == Some(PANICKED)) {
        let message = lines.get(at + 1).copied().unwrap_or_default().to_owned();
        let headline = "nothing undefined found, it panicked";
        return finding(Ending::Panicked, headline, vec![Detail { line: place_in(lines[at]).and_then(line), what: message }]);
    }
    let said = lines.iter().map(|said| said.trim_end().to_owned()).filter(|said| !said.is_empty());
    let mut details: Vec<Detail> = said.map(|what| Detail { line: None, what }).collect();
    if details.is_empty() {
        details.push(Detail { line: None, what: format!("it ended with {}", output.status) });
    }
    finding(Ending::Stopped, "no verdict, it was stopped", details)
}

/// With this code a program ends whose main thread has panicked.
const PANICKED: i32 = 101;

/// A message.
struct Part<'a> {
    /// `error` or `error[E0308]` or `help`.
    head: &'a str,
    message: &'a str,
    /// Whether a place is named below it, as below each error that is not the program's own text.
    is_placed: bool,
    /// The first line of the snippet that is named below it.
    place: Option<usize>,
}

fn parts(stderr: &str) -> impl Iterator<Item = Part<'_>> {
    let is_head = |line: &&str| ["error", "help: ", "warning", "note: "].iter().any(|word| line.starts_with(word));
    // The program may have left the line open that Miri goes on in.
    let found = |line: &'_ str| line.find("error: Undefined Behavior: ").unwrap_or(0);
    let lines: Vec<&str> = stderr.lines().map(|line| &line[found(line)..]).collect();
    let heads: Vec<usize> = (0..lines.len()).filter(|&at| is_head(&lines[at])).collect();
    let ends: Vec<usize> = heads.iter().skip(1).copied().chain([lines.len()]).collect();
    heads.into_iter().zip(ends).filter_map(move |(start, end)| {
        let (head, message) = lines[start].split_once(": ")?;
        let below = &lines[start + 1..end];
        let is_placed = below.iter().any(|line| line.trim_start().starts_with("--> "));
        Some(Part { head, message, is_placed, place: below.iter().find_map(|line| place_in(line)) })
    })
}

/// `12` in `--> <anon>:12:5` and in `at <anon>:12:5: 12:9`.
fn place_in(line: &str) -> Option<usize> {
    line.split_once("<anon>:")?.1.split(':').next()?.parse().ok()
}

/// Miri numbers allocations and pointers over the whole run; here they are numbered as they occur.
#[derive(Default)]
struct Names {
    allocations: Vec<String>,
    tags: Vec<String>,
}

impl Names {
    fn shorten(&mut self, message: &str) -> String {
        let mut text = String::new();
        let mut rest = message;
        while let Some(at) = rest.find(['<', 'a']) {
            let (before, found) = rest.split_at(at);
            text += before;
            let digits = |from: usize| found[from..].chars().take_while(char::is_ascii_digit).count();
            let is_word = |text: &str| text.ends_with(|c: char| c.is_alphanumeric() || c == '_');
            let (len, new) = if found.starts_with('<') && digits(1) > 0 && found[1 + digits(1)..].starts_with('>') {
                (digits(1) + 2, format!("<{}>", number(&mut self.tags, &found[1..1 + digits(1)])))
            } else if found.starts_with("alloc") && digits(5) > 0 && !is_word(&text) {
                (5 + digits(5), format!("alloc{}", number(&mut self.allocations, &found[5..5 + digits(5)])))
            } else {
                (1, found[..1].to_owned())
            };
            text += &new;
            rest = &found[len..];
        }
        text + rest
    }
}

fn number(known: &mut Vec<String>, name: &str) -> usize {
    let at = known.iter().position(|known| known == name).unwrap_or_else(|| {
        known.push(name.to_owned());
        known.len() - 1
    });
    at + 1
}
