//! What the compiler says, as text: which errors are in it, and the same in the lines of the snippet.

use crate::probe::WIDEST;
use std::fmt;

/// One error of the compiler's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompileError {
    code: Option<String>,
    pub(super) message: String,
}

impl CompileError {
    /// Such as `E0277`; `rustc --explain E0277` tells more. Some errors, those of syntax among them, have none.
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// What the compiler says, in one line.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            Some(code) => write!(f, "{code}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// The errors in what the compiler says, each with its first line of the snippet:
///
/// ```text
/// error[E0277]: the message, which may go on
///               in more lines
///  --> <anon>:3:57
/// ```
pub(super) fn errors_in(stderr: &str) -> Vec<(Option<usize>, CompileError)> {
    let lines: Vec<&str> = stderr.lines().collect();
    let is_head = |line: &str| line.starts_with("error[") || line.starts_with("error: ");
    let heads: Vec<usize> = (0..lines.len()).filter(|&at| is_head(lines[at])).collect();
    let ends = heads.iter().skip(1).copied().chain([lines.len()]);
    let error = |(start, end): (usize, usize)| {
        let (head, first) = lines[start].split_once(": ")?;
        if first.starts_with("aborting due to") {
            return None;
        }
        let code = head.strip_prefix("error[").and_then(|code| code.strip_suffix(']')).map(str::to_owned);
        let below = &lines[start + 1..end];
        let more = below.iter().take_while(|line| line.starts_with("       ") && !line.trim_start().starts_with("--> "));
        let message = [first].into_iter().chain(more.map(|line| line.trim())).filter(|line| !line.is_empty()).collect::<Vec<_>>();
        let line = below.iter().find_map(|line| Some(place(line.trim_start().strip_prefix("--> ")?.strip_prefix(PROGRAM)?)?.0.0));
        Some((line, CompileError { code, message: message.join(" ") }))
    };
    heads.iter().copied().zip(ends).filter_map(error).collect()
}

/// Names the lines of the program by their numbers in the snippet, which comes after `head` other lines. Those have no number then.
pub(super) fn counted_from_the_snippet(said: &str, head: usize) -> String {
    let in_snippet = |number: usize| number.checked_sub(head).filter(|number| *number > 0);
    let mut in_program = false;
    let counted = |line: &str| -> String {
        if let Some(place) = ["--> ", "::: "].iter().find_map(|arrow| line.trim_start().strip_prefix(arrow)) {
            in_program = place.starts_with(PROGRAM);
        }
        let indent = (line.len() - line.trim_start().len()).min(WIDEST);
        match leading_number(line.trim_start()) {
            Some((number, after)) if in_program && after.starts_with(' ') => {
                // As wide as before, so that the columns stay below each other.
                let width = line.len() - indent - after.len();
                let number = in_snippet(number).map(|number| number.to_string()).unwrap_or_default();
                format!("{:indent$}{number:>width$}{after}", "")
            }
            _ => with_places(line, in_snippet),
        }
    };
    said.lines().map(counted).collect::<Vec<_>>().join("\n")
}

/// How the compiler names a program that it was not given as a file; a line, a column, and perhaps the same of an end, follow.
const PROGRAM: &str = "<anon>:";

/// Names the places of the program in a line by the lines of the snippet.
fn with_places(line: &str, in_snippet: impl Fn(usize) -> Option<usize>) -> String {
    let mut parts = line.split(PROGRAM);
    let mut named = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let Some((start, rest)) = place(part) else {
            named += part;
            continue;
        };
        // `:6:6: 6:11` is where it starts and where it ends.
        let end = rest.strip_prefix(": ").and_then(place);
        let rest = end.map_or(rest, |(_, rest)| rest);
        named += &match in_snippet(start.0) {
            Some(line) => format!("snippet:{line}:{}", start.1),
            None => "before the snippet".to_owned(),
        };
        if let Some((line, column)) = end.and_then(|((line, column), _)| Some((in_snippet(line)?, column))) {
            named += &format!(": {line}:{column}");
        }
        named += rest;
    }
    named
}

/// A line and a column that a text begins with, as `6:11`, and what comes after them.
fn place(text: &str) -> Option<((usize, usize), &str)> {
    let (line, rest) = leading_number(text)?;
    let (column, rest) = leading_number(rest.strip_prefix(':')?)?;
    Some(((line, column), rest))
}

/// A number that a text begins with, and what comes after it.
fn leading_number(text: &str) -> Option<(usize, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    Some((text[..digits].parse().ok()?, &text[digits..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_other_files_stay() {
        let said = "error: no\n  --> <anon>:5:9\n   |\n 5 | a\n...\n12 | b\n   = {c@<anon>:5:6: 7:11} {d@<anon>:2:1: 2:9}\n  ::: /lib.rs:5:1\n   |\n 5 | c\n  --> <anon>:2:1\n 2 | d";
        let counted = "error: no\n  --> snippet:1:9\n   |\n 1 | a\n...\n 8 | b\n   = {c@snippet:1:6: 3:11} {d@before the snippet}\n  ::: /lib.rs:5:1\n   |\n 5 | c\n  --> before the snippet\n   | d";
        assert_eq!(counted_from_the_snippet(said, 4), counted);
    }

    #[test]
    fn a_line_may_be_indented_by_any_width() {
        let said = format!(" --> <anon>:5:9\n{}7 | a", " ".repeat(70_000));
        assert!(counted_from_the_snippet(&said, 4).ends_with("  3 | a"));
    }
}
