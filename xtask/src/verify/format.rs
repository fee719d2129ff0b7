//! The form of the course's files: cells as rustfmt has them at [`rust::WIDTH`] columns, prose with one sentence a line.
//!
//! One sentence a line keeps changes small: to change a sentence is to change one line of the file. What a reader sees stays
//! the same, and that is checked: prose that would be shown otherwise is left as it is.

mod prose;
mod rust;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::notebook::{Kind, Notebook};
use crate::ui::Ui;
use rust::Formatted;

/// What a formatted text is, and what no formatter can cure.
#[derive(Debug)]
struct Outcome<T> {
    value: T,
    /// The place (a cell, a line) and what is wrong there.
    complaints: Vec<(String, String)>,
}

/// Rewrites the notebooks whose names begin with one of `wanted` (all, if it is empty), and their answers; or only says what it would
/// change. True if nothing was left over.
pub(crate) fn run(project: &Path, wanted: &[String], only_check: bool) -> Result<bool> {
    let ui = Ui::new();
    let mut complete = true;
    for path in super::chosen::all(project, wanted)? {
        let notebook = Notebook::read(&path)?;
        let answers = answers_of(&path);
        if !only_check {
            let formatted = of_notebook(&notebook)?.value;
            if !notebook.is_written_as(&formatted) {
                formatted.write()?;
                ui.say(format!("changed  {}", notebook.name));
            }
            let text = if answers.is_file() { read(&answers)? } else { String::new() };
            let formatted = of_markdown(&text)?.value;
            if formatted != text {
                fs::write(&answers, formatted).with_context(|| format!("cannot write {}", answers.display()))?;
                ui.say(format!("changed  answers/{}", notebook.name));
            }
        }
        let mut left = check(&Notebook::read(&path)?)?;
        if answers.is_file() {
            left.extend(check_markdown(&read(&answers)?, &notebook.name)?);
        }
        for (place, what) in &left {
            ui.say(format!("{} · {place}\n    {}", notebook.name, what.replace('\n', "\n    ")));
        }
        complete &= left.is_empty();
    }
    Ok(complete)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// What of a notebook's file is not as [`run`] would leave it: the place and what is wrong.
pub(super) fn check(notebook: &Notebook) -> Result<Vec<(String, String)>> {
    let formatted = of_notebook(notebook)?;
    let command = format!("cargo verify format {}", notebook.name);
    let pairs = notebook.cells.iter().zip(&formatted.value.cells);
    let differing = pairs.filter(|(is, should)| is.source != should.source || is.rules != should.rules);
    let mut found: Vec<_> = differing
        .map(|(is, should)| {
            let what = match is.kind {
                Kind::Code => format!("it is not as rustfmt has it (`{command}`)"),
                Kind::Markdown => format!("it has not one sentence a line, or code that is not as rustfmt has it (`{command}`)"),
            };
            (is.label(), format!("{what}:\n{}", first_difference(&is.source, &should.source)))
        })
        .collect();
    found.extend(formatted.complaints);
    Ok(found)
}

/// The same of a file of answers.
pub(super) fn check_markdown(text: &str, name: &str) -> Result<Vec<(String, String)>> {
    let formatted = of_markdown(text)?;
    let mut found = formatted.complaints;
    if formatted.value != text {
        let what = first_difference(text, &formatted.value);
        found.push((format!("answers/{name}.md"), format!("it is not in form (`cargo verify format {name}`):\n{what}")));
    }
    Ok(found)
}

/// Where the answers to a notebook's exercises are kept.
pub(super) fn answers_of(notebook: &Path) -> PathBuf {
    let name = notebook.file_stem().unwrap_or_default().to_string_lossy();
    notebook.with_file_name("answers").join(format!("{name}.md"))
}

fn of_notebook(notebook: &Notebook) -> Result<Outcome<Notebook>> {
    let cells: Vec<&str> = notebook.code().map(|cell| cell.source.as_str()).collect();
    let mut formatted = rust::format(&cells)?.into_iter();
    let mut complaints = Vec::new();
    let mut sources = Vec::new();
    let mut unparsed = Vec::new();
    for cell in &notebook.cells {
        let (source, parses) = match cell.kind {
            Kind::Markdown => {
                let formatted = of_markdown(&cell.source)?;
                complaints.extend(formatted.complaints.into_iter().map(|(_, what)| (cell.label(), what)));
                (formatted.value, true)
            }
            Kind::Code => match formatted.next().context("each code cell has a form")? {
                Formatted::As(text) => {
                    complaints.extend(too_wide(&text).map(|what| (cell.label(), what)));
                    (text, true)
                }
                Formatted::Unparsed(_) if cell.meant_to_fail => (cell.source.clone(), false),
                Formatted::Unparsed(why) => {
                    complaints.push((cell.label(), format!("rustfmt cannot read it:\n{why}")));
                    (cell.source.clone(), true)
                }
            },
        };
        sources.push(source);
        unparsed.push(!parses);
    }
    Ok(Outcome { value: notebook.with_sources(&sources, &unparsed)?, complaints })
}

/// Prose and its `rust` blocks. Blocks that do not parse are left alone: prose may show fragments.
fn of_markdown(text: &str) -> Result<Outcome<String>> {
    let text = prose::one_sentence_a_line(text);
    let blocks = crate::markdown::blocks(&text);
    let is_rust = |language: &str| language.split([' ', ',']).next() == Some("rust");
    let blocks: Vec<_> = blocks.into_iter().filter(|block| is_rust(&block.language)).collect();
    let sources: Vec<&str> = blocks.iter().map(|block| &text[block.inside.clone()]).collect();
    let formatted = rust::format(&sources)?;
    let (mut out, mut complaints, mut done) = (String::new(), Vec::new(), 0);
    for (block, formatted) in blocks.iter().zip(formatted) {
        let Formatted::As(code) = formatted else { continue };
        complaints.extend(too_wide(&code).map(|what| (first_line(&code), what)));
        out.push_str(&text[done..block.inside.start]);
        out.push_str(&code);
        if !code.ends_with('\n') {
            out.push('\n');
        }
        done = block.inside.end;
    }
    out.push_str(&text[done..]);
    Ok(Outcome { value: out, complaints })
}

/// What rustfmt does not break: comments, strings, macros of unusual form.
fn too_wide(code: &str) -> Option<String> {
    let wide: Vec<_> = code.lines().filter(|line| line.chars().count() > rust::WIDTH && !line.starts_with(":dep ")).collect();
    (!wide.is_empty()).then(|| format!("wider than {} columns, where rustfmt cannot break:\n{}", rust::WIDTH, wide.join("\n")))
}

fn first_line(code: &str) -> String {
    code.lines().next().unwrap_or_default().to_owned()
}

fn first_difference(is: &str, should: &str) -> String {
    let (mut is, mut should) = (is.lines(), should.lines());
    loop {
        match (is.next(), should.next()) {
            (None, None) => return "- (the ends of lines)".to_owned(),
            (is, should) if is != should => {
                let line = |line: Option<&str>| line.unwrap_or("(nothing)").chars().take(150).collect::<String>();
                return format!("- {}\n+ {}", line(is), line(should));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::crafted::*;

    #[test]
    fn a_cell_that_is_not_as_rustfmt_has_it_is_found_and_cured() {
        let before = notebook(vec![code("let  x=1;", vec![printed("1\n")]), prose("One. Two.")]);
        let found = check(&before).unwrap();
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].0.contains("cell [2]") && found[0].1.contains("+ let x = 1;"), "{found:?}");
        let after = of_notebook(&before).unwrap().value;
        assert_eq!(after.cells[1].source, "let x = 1;");
        assert_eq!(after.cells[2].source, "One.\nTwo.");
        assert_eq!(after.cells[1].outputs, before.cells[1].outputs);
        assert!(check(&after).unwrap().is_empty());
    }

    #[test]
    fn a_cell_that_must_fail_and_cannot_be_parsed_is_marked_and_left_alone() {
        let before = notebook(vec![meant_to_fail(code("let  x = ;", vec![]), "expected expression")]);
        assert_eq!(check(&before).unwrap().len(), 1);
        let after = of_notebook(&before).unwrap().value;
        assert_eq!(after.cells[1].source, "let  x = ;");
        assert_eq!(after.json()["cells"][1]["metadata"]["pinlab"]["unparsed"], json!(true));
        assert!(check(&after).unwrap().is_empty());
        let cured = notebook(vec![with(code("let x = 1;", vec![]), json!({"unparsed": true}))]);
        assert_eq!(check(&cured).unwrap().len(), 1, "a mark that is not needed is found");
    }

    #[test]
    fn a_cell_without_the_tag_that_cannot_be_parsed_is_a_complaint() {
        let found = check(&notebook(vec![code("let x = ;", vec![])])).unwrap();
        assert!(found.len() == 1 && found[0].1.contains("expected expression"), "{found:?}");
    }

    #[test]
    fn what_is_too_wide_is_found() {
        let wide = format!("// {}", "a ".repeat(60).trim());
        let found = check(&notebook(vec![code(&wide, vec![])])).unwrap();
        assert!(found.len() == 1 && found[0].1.contains("wider than 90"), "{found:?}");
    }

    #[test]
    fn rust_blocks_of_prose_are_formatted_and_fragments_are_not() {
        let text = "Look:\n\n```rust E0382\nlet  x=1;\n```\n\n```rust\nlet  x = …\n```\n\n```text\na  b\n```\n";
        let formatted = of_markdown(text).unwrap().value;
        assert_eq!(formatted, text.replace("let  x=1;", "let x = 1;"));
    }

    #[test]
    fn answers_are_beside_the_notebooks() {
        assert_eq!(answers_of(Path::new("notebooks/03-a.ipynb")), Path::new("notebooks/answers/03-a.md"));
    }
}
