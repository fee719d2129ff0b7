//! The text of a macro's argument as it stands in the source, line by line.
//!
//! `stringify!` gives the tokens and forgets where the lines end. The source file has them, and the compiler says where the macro stands: so
//! its text is looked up there, and used only if it has the very tokens that `stringify!` gave.

use super::Site;
use std::fs;

/// The source text of a snippet: without the indentation that all of its lines share, and without blank lines around it. Where it is not to
/// be found, one line with the tokens.
pub(crate) fn text(site: &Site, tokens: &str) -> String {
    let source = fs::read_to_string(site.source()).unwrap_or_default();
    // A macro that was defined further up, with the snippet in it, names the line where it was called.
    let found = find(&source, site.line as usize, tokens).or_else(|| find(&source, 1, tokens));
    found.unwrap_or_else(|| tokens.trim().to_owned())
}

/// What a snippet begins with that must stand at the head of a crate, its `#![feature(…)]`, and the rest.
///
/// The line of the features stays, and is empty, so that what comes after them has the number that it had.
pub(crate) fn features(snippet: &str) -> (&str, &str) {
    let start = snippet.trim_start();
    // Tokens that have come through a macro have other spaces between them.
    let next = |rest: &'_ str, sign| rest.trim_start().strip_prefix(sign).map(str::len);
    let inside =
        ["#", "!", "[", "feature"].into_iter().try_fold(start.len(), |left, sign| next(&start[start.len() - left..], sign));
    let end = inside.and_then(|_| start.find(']')).map_or(0, |at| at + 1);
    start.split_at(end)
}

/// Looks for a bracket whose content has these tokens, from a line on.
fn find(source: &str, line: usize, tokens: &str) -> Option<String> {
    let wanted = bare(tokens);
    let start: usize = source.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let pieces: Vec<Piece<'_>> = pieces(&source[start..]).collect();
    let opening = |piece: &Piece<'_>| piece.kind == Kind::Code && matches!(piece.text, "{" | "(" | "[");
    (0..pieces.len()).filter(|&at| opening(&pieces[at])).find_map(|at| {
        let mut depth = 0_usize;
        let end = pieces[at..].iter().position(|piece| {
            match (piece.kind, piece.text) {
                (Kind::Code, "{" | "(" | "[") => depth += 1,
                (Kind::Code, "}" | ")" | "]") => depth -= 1,
                _ => {}
            }
            depth == 0
        })?;
        let inside = &pieces[at + 1..at + end];
        let is_it = bare_pieces(inside.iter().copied()) == wanted;
        is_it.then(|| dedent(inside))
    })
}

fn dedent(pieces: &[Piece<'_>]) -> String {
    let lines = lines(pieces.iter().copied());
    let lines: Vec<&str> = lines.iter().map(|line| line.trim_end()).collect();
    let first = lines.iter().position(|line| !line.is_empty()).unwrap_or(0);
    let last = lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
    // The first line may stand beside the bracket: it has no indentation to speak of.
    let rest = lines[first..last].iter().skip(usize::from(first == 0)).filter(|line| !line.is_empty());
    let margin = rest.map(|line| indent(line)).min().unwrap_or(0);
    let cut = |(at, line): (usize, &&str)| match at + first {
        0 => line.trim_start().to_owned(),
        _ => line[margin.min(indent(line))..].to_owned(),
    };
    lines[first..last].iter().enumerate().map(cut).collect::<Vec<_>>().join("\n")
}

/// The lines of code. One that ends inside of a literal is not at its end: what is in a literal is nobody's indentation.
pub(super) fn lines<'a>(pieces: impl Iterator<Item = Piece<'a>>) -> Vec<String> {
    let (mut lines, mut line) = (Vec::new(), String::new());
    for piece in pieces {
        let mut rest = piece.text;
        while let Some((end, next)) = rest.split_once('\n').filter(|_| piece.kind != Kind::Literal) {
            line.push_str(end);
            lines.push(std::mem::take(&mut line));
            rest = next;
        }
        line.push_str(rest);
    }
    lines.push(line);
    lines
}

/// The spaces and tabs that a line begins with, each of which is a byte.
pub(super) fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches([' ', '\t']).len()
}

/// The tokens alone: no comments, no spaces but in literals. (A comment for documentation is an attribute to the compiler, so such a
/// snippet is not found, and is handled as its tokens.)
fn bare(text: &str) -> String {
    bare_pieces(pieces(text))
}

fn bare_pieces<'a>(pieces: impl Iterator<Item = Piece<'a>>) -> String {
    pieces.filter(|piece| matches!(piece.kind, Kind::Code | Kind::Literal)).map(|piece| piece.text).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Code,
    Literal,
    Comment,
    Space,
}

#[derive(Clone, Copy)]
pub(super) struct Piece<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
}

/// Takes a text apart into literals, comments, spaces, and what is left: words, and single signs.
pub(super) fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let (kind, len) = piece(rest, first);
        let (text, more) = rest.split_at(len);
        rest = more;
        Some(Piece { kind, text })
    })
}

fn piece(rest: &str, first: char) -> (Kind, usize) {
    let up_to = |end: Option<usize>| end.unwrap_or(rest.len());
    if first.is_whitespace() {
        return (Kind::Space, up_to(rest.find(|c: char| !c.is_whitespace())));
    }
    if rest.starts_with("//") {
        return (Kind::Comment, up_to(rest.find('\n')));
    }
    if rest.starts_with("/*") {
        return (Kind::Comment, block_comment(rest));
    }
    let word = up_to(rest.find(|c: char| !(c.is_alphanumeric() || c == '_')));
    let after = &rest[word..];
    if matches!(&rest[..word], "r" | "br" | "cr") && after.starts_with(['"', '#']) {
        let hashes = after.len() - after.trim_start_matches('#').len();
        if after[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let start = word + hashes + 1;
            return (Kind::Literal, up_to(rest[start..].find(&end).map(|at| start + at + end.len())));
        }
    }
    if matches!(&rest[..word], "" | "b" | "c") && after.starts_with('"') {
        return (Kind::Literal, quoted(rest, word, '"'));
    }
    if matches!(&rest[..word], "" | "b") && after.starts_with('\'') {
        let mut inside = after[1..].chars();
        let is_char = match inside.next() {
            Some('\\') => true,
            Some(_) => inside.next() == Some('\''),
            None => false,
        };
        if is_char {
            return (Kind::Literal, quoted(rest, word, '\''));
        }
        // A lifetime.
        let end = after[1..].find(|c: char| !(c.is_alphanumeric() || c == '_')).map_or(after.len(), |end| end + 1);
        if word == 0 && end > 1 {
            return (Kind::Code, end);
        }
    }
    (Kind::Code, if word == 0 { first.len_utf8() } else { word })
}

/// The length of a literal whose opening quote is at `open`.
fn quoted(text: &str, open: usize, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text[open + 1..].char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return open + 1 + at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of a comment, and of those inside it.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_are_those_of_the_source() {
        let source = "fn main() {\n    let a = 1;\n    show(ask! {\n        let s = \"}  {\"; // a } brace\n\n        \
                      let c = '{'; /* { /* nested */ */\n            f::<'static>(r#\"\"}\"#, b'\\'');\n    });\n}\n";
        let tokens = "let s = \"}  {\"; let c = '{'; f::<'static>(r#\"\"}\"#, b'\\'');";
        let text = find(source, 3, tokens).expect("it is there");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert_eq!(lines[0], "let s = \"}  {\"; // a } brace");
        assert_eq!(lines[3], "    f::<'static>(r#\"\"}\"#, b'\\'');");
    }

    #[test]
    fn features_are_taken_off_and_nothing_else() {
        assert_eq!(features("#![feature(a, b)]\nlet x = [1];"), ("#![feature(a, b)]", "\nlet x = [1];"));
        assert_eq!(features("#! [feature(a)] let x = [1];"), ("#! [feature(a)]", " let x = [1];"));
        assert_eq!(features("let x = [1];"), ("", "let x = [1];"));
        assert_eq!(features("#![allow(unused)] let x = [1];").0, "");
    }

    #[test]
    fn other_tokens_are_not_found_and_neither_is_what_stands_before() {
        let source = "ask! { a + b }\nask! { a + c }\n";
        assert_eq!(find(source, 1, "a + c").as_deref(), Some("a + c"));
        assert_eq!(find(source, 2, "a + b"), None);
        assert_eq!(find(source, 1, "\"a + b\""), None);
    }

    #[test]
    fn a_literal_of_several_lines_stays_what_it_is() {
        let text = "\"one  \n        two\n\n  three\"";
        let source = format!("ask! {{\n        let text = {text};\n        drop(text);\n    }}\n");
        let found = find(&source, 1, &format!("let text = {text}; drop(text);"));
        assert_eq!(found, Some(format!("let text = {text};\ndrop(text);")));
    }

    #[test]
    fn a_wide_space_is_no_indentation() {
        let source = "ask! {\n    /* 一\n　　二 */\n    let text = \"一\n　\u{a0}二\";\n}\n";
        let text = find(source, 1, "let text = \"一\n　\u{a0}二\";").expect("it is there");
        assert_eq!(text, "    /* 一\n　　二 */\n    let text = \"一\n　\u{a0}二\";");
        let source = "ask! {\n    /* 一\n　　二 */ drop(1) }\n";
        assert_eq!(find(source, 1, "drop(1)").as_deref(), Some("    /* 一\n　　二 */ drop(1)"));
    }
}
