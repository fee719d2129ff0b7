//! Cells as rustfmt has them.
//!
//! A cell is no file: it holds items and statements, may begin with commands of the kernel and end in an expression. So its
//! code goes to rustfmt as the body of a function, and comes back out of it.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};
use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use proc_macro2::{TokenStream, TokenTree};

/// The widest that a line may be.
pub(super) const WIDTH: usize = 90;

/// What the body of a function is indented by.
const INDENT: &str = "    ";

/// What rustfmt makes of a cell.
#[derive(Debug, PartialEq)]
pub(super) enum Formatted {
    As(String),
    /// It is no Rust: what the parser says.
    Unparsed(String),
}

/// Formats all of `cells` with one run of rustfmt.
pub(super) fn format(cells: &[&str]) -> Result<Vec<Formatted>> {
    if cells.is_empty() {
        return Ok(Vec::new());
    }
    let folder = tempfile::tempdir()?;
    let file = |index: usize| folder.path().join(format!("cell-{index:04}.rs"));
    for (index, cell) in cells.iter().enumerate() {
        fs::write(file(index), wrap(split(cell).1))?;
    }
    // Without a configuration of the user's: what is right must not depend on who asks.
    fs::write(folder.path().join("rustfmt.toml"), "")?;
    let output = Command::new("rustfmt")
        .args(["--edition", "2024", "--config"])
        .arg(format!("max_width={},use_small_heuristics=Max", WIDTH + INDENT.len()))
        .args((0..cells.len()).map(file))
        .stdin(Stdio::null())
        .output()
        .context("cannot run rustfmt (to get it: rustup component add rustfmt)")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() || said.contains("cell-"), "rustfmt failed:\n{said}");
    let mut formatted = Vec::new();
    for (index, cell) in cells.iter().enumerate() {
        let name = format!("cell-{index:04}.rs");
        formatted.push(match complaint(&said, &name) {
            Some(why) => Formatted::Unparsed(why),
            None => Formatted::As(assemble(cell, &fs::read_to_string(file(index))?)),
        });
    }
    Ok(formatted)
}

/// The kernel's commands at the top, and the code below them.
fn split(cell: &str) -> (&str, &str) {
    let mut at = 0;
    for line in cell.split_inclusive('\n') {
        if !line.starts_with(':') && !line.trim().is_empty() {
            break;
        }
        at += line.len();
    }
    cell.split_at(at)
}

/// What the parser says of the file `name`, if it could not read it. (`error[internal]` is about what rustfmt left as it was.)
fn complaint(said: &str, name: &str) -> Option<String> {
    let mut blocks: Vec<String> = Vec::new();
    for line in said.lines() {
        if ["error", "warning"].iter().any(|start| line.starts_with(start)) {
            blocks.push(String::new());
        }
        if let Some(block) = blocks.last_mut() {
            block.push_str(line);
            block.push('\n');
        }
    }
    let is_of_it = |block: &&String| block.contains(name) && !block.starts_with("error[internal]") && block.starts_with("error");
    let block = blocks.iter().find(is_of_it)?;
    let shown = block.lines().filter(|line| !line.trim_start().starts_with("-->"));
    Some(shown.collect::<Vec<_>>().join("\n").trim_end().to_owned())
}

fn wrap(code: &str) -> String {
    let inside = literal_lines(code);
    let mut wrapped = String::from("fn cell() {\n");
    for (number, line) in code.trim_end().lines().enumerate() {
        if !line.is_empty() && !inside.contains(&number) {
            wrapped.push_str(INDENT);
        }
        wrapped.push_str(line);
        wrapped.push('\n');
    }
    wrapped + "}\n"
}

/// The cell again, its code from what rustfmt made of the function.
fn assemble(cell: &str, formatted: &str) -> String {
    let (commands, code) = split(cell);
    let mut body = unwrap(formatted);
    // rustfmt takes the semicolon from a loop. A cell that ends in one without it shows `()`.
    if code.trim_end().ends_with(';') && body.ends_with('}') {
        body.push(';');
    }
    let commands = commands.trim_end();
    match (commands.is_empty(), body.is_empty()) {
        (true, _) => body,
        (false, true) => commands.to_owned(),
        (false, false) => format!("{commands}\n{body}"),
    }
}

fn unwrap(formatted: &str) -> String {
    let inside = literal_lines(formatted);
    let lines: Vec<&str> = formatted.lines().collect();
    let Some(last) = lines.iter().rposition(|line| *line == "}") else {
        // `fn cell() {}`: there is no code.
        return String::new();
    };
    let body = (1..last).map(|number| match lines[number].strip_prefix(INDENT) {
        Some(line) if !inside.contains(&number) => line,
        _ => lines[number],
    });
    body.collect::<Vec<_>>().join("\n")
}

/// The lines that begin inside of a string: their spaces belong to it.
fn literal_lines(code: &str) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    if let Ok(tokens) = TokenStream::from_str(code) {
        collect(tokens, &mut found);
    }
    found
}

fn collect(tokens: TokenStream, found: &mut BTreeSet<usize>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => collect(group.stream(), found),
            TokenTree::Literal(literal) => {
                // Lines are counted from 1: these are the ones after the literal's first, counted from 0.
                let span = literal.span();
                found.extend(span.start().line..span.end().line);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(cell: &str) -> String {
        match format(&[cell]).unwrap().remove(0) {
            Formatted::As(text) => text,
            Formatted::Unparsed(why) => panic!("{why}"),
        }
    }

    #[track_caller]
    fn assert_becomes(cell: &str, expected: &str) {
        let text = one(cell);
        assert_eq!(text, expected);
        assert_eq!(one(&text), text, "a second time nothing changes");
    }

    #[test]
    fn items_statements_and_a_last_expression_are_formatted_together() {
        assert_becomes(
            "struct A(u8);   // one\nfn f()->u8{1}\n\nlet a=A(f()) ;\na.0+1",
            "struct A(u8); // one\nfn f() -> u8 {\n    1\n}\n\nlet a = A(f());\na.0 + 1",
        );
    }

    #[test]
    fn the_kernels_commands_stay_as_they_are() {
        assert_becomes(
            ":cache 1024\n:dep a = { path = \"..\" }\nuse a::b ;",
            ":cache 1024\n:dep a = { path = \"..\" }\nuse a::b;",
        );
        assert_becomes(":opt 0", ":opt 0");
        assert_becomes("", "");
    }

    #[test]
    fn the_semicolon_that_keeps_a_cell_quiet_stays() {
        assert_becomes("for _ in 0..3 { f() };", "for _ in 0..3 {\n    f()\n};");
        assert_becomes("{ f(); };", "{\n    f();\n};");
        assert_becomes("{ f() }", "{ f() }");
        assert_becomes("struct A;", "struct A;");
    }

    #[test]
    fn the_lines_of_a_string_keep_their_spaces() {
        assert_becomes(
            "let a = \"x\n    y\n  z\";\nlet b=r#\"p\n      q\"#;",
            "let a = \"x\n    y\n  z\";\nlet b = r#\"p\n      q\"#;",
        );
    }

    #[test]
    fn what_is_not_formatted_does_not_wander() {
        assert_becomes("lowered! { async fn f() {\n      g()\n    }\n}", "lowered! { async fn f() {\n      g()\n    }\n}");
        assert_becomes(
            "#[rustfmt::skip]\nfn f() {\n    let a = 1;\n        let b = 2;\n}",
            "#[rustfmt::skip]\nfn f() {\n    let a = 1;\n        let b = 2;\n}",
        );
    }

    #[test]
    fn no_line_is_wider_than_the_width() {
        let long = format!("f({});", ["argument"; 12].join(", "));
        let text = one(&long);
        assert!(text.lines().count() > 1 && text.lines().all(|line| line.len() <= WIDTH), "{text}");
        let fits = format!("f({});", "a".repeat(WIDTH - 4));
        assert_eq!((one(&fits).lines().count(), fits.len()), (1, WIDTH));
    }

    #[test]
    fn one_cell_that_is_no_rust_does_not_hide_the_others() {
        let formatted = format(&["let  a = 1;", "let a = ;", "let  b = 2;"]).unwrap();
        assert_eq!(formatted[0], Formatted::As("let a = 1;".into()));
        assert!(matches!(&formatted[1], Formatted::Unparsed(why) if why.contains("expected expression")), "{formatted:?}");
        assert_eq!(formatted[2], Formatted::As("let b = 2;".into()));
    }
}
