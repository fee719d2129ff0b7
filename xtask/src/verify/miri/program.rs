//! Programs made of the cells of a notebook.
//!
//! ```text
//! a cell that makes a claim    the cells that it needs, in their order, then it
//! the check of an exercise     the cells that it needs, an answer in the starter's place, what stands between, then it: for each right answer
//! ```
//!
//! Of a cell with a `compiles!` the program is what stands in the last one: the kernel's compiler makes a program of that, too. Commands to the kernel
//! are left out: the crates are those that these cells and the first one name.

use std::ops::Range;
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::notebook::{Cell, Claim, Exercise, Notebook};
use crate::verify::answers::Answer;
use crate::verify::judge::Failure;

/// A program, and what it claims to be.
#[derive(Debug, Default)]
pub(super) struct Program {
    /// The notebook, and the cell, or the answer.
    pub(super) title: String,
    /// The crates that it needs, as the manifest of a package names them.
    pub(super) crates: Vec<String>,
    /// `#![feature(…)]`, or nothing.
    pub(super) features: String,
    /// What stands in `main`.
    pub(super) body: String,
    /// If not, its behaviour is undefined.
    pub(super) claims_to_be_sound: bool,
    /// It must get a ✓.
    pub(super) gets_its_tick: bool,
}

impl Program {
    /// The text of its file.
    pub(super) fn text(&self) -> String {
        let Self { features, body, .. } = self;
        format!(
            "#![allow(warnings)]\n{features}\nuse pinlab::prelude::*;\n\
             fn main() -> Result<(), Box<dyn std::error::Error>> {{\n{body}Ok(())\n}}\n"
        )
    }
}

/// The programs of a notebook.
pub(super) fn all(notebook: &Notebook, answers: &[Answer]) -> Result<Vec<Program>> {
    let exercises = notebook.exercises().unwrap_or_default();
    let mut programs = Vec::new();
    for cell in notebook.code() {
        let (claims_to_be_sound, is_timed) = match cell.rules.miri {
            Some(Claim::Sound) => (true, false),
            Some(Claim::Timed(_)) => (true, true),
            Some(Claim::Ub) => (false, false),
            Some(Claim::Out(_)) | None => continue,
        };
        let place = || format!("{}, {}", notebook.name, cell.label());
        let needs = needs(notebook, cell).with_context(place)?;
        let mut add = |title: String, features: &str, cells: &[&str], gets_its_tick| {
            let (crates, body) =
                (crates(notebook.code().next().into_iter().chain(needs.iter().copied()).chain([cell])), together(cells));
            programs.push(Program { title, crates, features: features.to_owned(), body, claims_to_be_sound, gets_its_tick });
        };
        let mut cells: Vec<&str> = needs.iter().map(|cell| cell.source.as_str()).collect();
        let Some(exercise) = exercises.iter().find(|exercise| exercise.check == cell.index) else {
            let (features, body) = snippet(&cell.source).map_or(("", cell.source.as_str()), split_features);
            cells.push(body);
            add(place(), features, &cells, false);
            continue;
        };
        ensure!(claims_to_be_sound, "{}: the check of an exercise claims to be sound, or is left out", place());
        let is_after = |after: &&Cell| (exercise.starter + 1..=exercise.check).contains(&after.index);
        let after: Vec<&str> = notebook.code().filter(is_after).map(|cell| cell.source.as_str()).collect();
        for (title, answer) in right(exercise, answers) {
            let title = format!("{}, exercise `{}`, `{title}`", notebook.name, exercise.name);
            add(title, "", &[&cells[..], &[answer], &after].concat(), !is_timed);
        }
    }
    Ok(programs)
}

/// The right answers to an exercise, its solution among them.
fn right<'a>(exercise: &'a Exercise, answers: &'a [Answer]) -> impl Iterator<Item = (&'a str, &'a str)> {
    let of_it = answers.iter().filter(|answer| answer.exercise == exercise.name && answer.hint.is_none());
    of_it.map(|answer| (answer.title.as_str(), answer.code.as_str())).chain([("the solution", exercise.solution.as_str())])
}

/// The cells with `unsafe` in them of which nobody says what Miri must say.
pub(super) fn unclaimed(notebook: &Notebook, answers: &[Answer]) -> Vec<Failure> {
    let exercises = notebook.exercises().unwrap_or_default();
    let of_exercise = |cell: &Cell| exercises.iter().find(|exercise| (exercise.starter..=exercise.check).contains(&cell.index));
    let needed = |cell: &Cell| notebook.code().any(|other| other.rules.needs.contains(&cell.id));
    let mut failures = Vec::new();
    for cell in notebook.code() {
        let is_unsafe = match of_exercise(cell) {
            // The check speaks for all of them.
            Some(exercise) if exercise.check != cell.index => false,
            Some(exercise) => {
                let cells = notebook.code().filter(|cell| (exercise.starter..=exercise.check).contains(&cell.index));
                let mut codes = cells.map(|cell| cell.source.as_str()).chain(right(exercise, answers).map(|(_, code)| code));
                codes.any(has_unsafe)
            }
            None => has_unsafe(&cell.source) && !needed(cell),
        };
        if is_unsafe && cell.rules.miri.is_none() {
            let what = "it has `unsafe`, and nothing says what Miri must say of it: in its metadata, {\"pinlab\": {\"miri\": \"sound\"}} (or \
                        \"ub\", or {\"out\": \"why it cannot be played\"}), or in the `needs` of a cell that uses it";
            failures.push(Failure::of(cell, what));
        }
    }
    failures
}

/// The cells that a cell needs, in the order of the notebook.
fn needs<'a>(notebook: &'a Notebook, cell: &Cell) -> Result<Vec<&'a Cell>> {
    let mut cells = Vec::new();
    for id in &cell.rules.needs {
        let found = notebook.code().find(|cell| cell.id == *id);
        cells.push(found.with_context(|| format!("it needs `{id}`, and there is no such cell"))?);
    }
    if let Some(later) = cells.iter().find(|needed| needed.index >= cell.index) {
        bail!("it needs `{}`, which comes later", later.id);
    }
    cells.sort_by_key(|cell| cell.index);
    Ok(cells)
}

/// The crates that these cells name.
fn crates<'a>(cells: impl Iterator<Item = &'a Cell>) -> Vec<String> {
    let lines = cells.flat_map(|cell| cell.source.lines());
    lines.filter_map(|line| line.strip_prefix(":dep ")).map(str::to_owned).collect()
}

/// Cells as one. What a cell takes into scope again is taken once; the value of its last expression is shown there, and dropped here.
fn together(cells: &[&str]) -> String {
    let mut code = String::new();
    let mut taken: Vec<&str> = Vec::new();
    for cell in cells {
        for line in cell.lines().filter(|line| !line.starts_with(':')) {
            let is_use = line.starts_with("use ") && line.ends_with(';');
            if is_use && taken.contains(&line) {
                continue;
            }
            taken.extend(is_use.then_some(line));
            code.push_str(line);
            code.push('\n');
        }
        code.push_str(";\n");
    }
    code
}

/// Macros whose snippets are asked about where they stand, and not run by the cell itself.
const ASKED: [&str; 2] = ["miri", "verdicts"];

/// Whether there is `unsafe` in what a cell itself runs.
fn has_unsafe(code: &str) -> bool {
    fn in_tokens(tokens: TokenStream) -> bool {
        let mut before = [None, None];
        for token in tokens {
            let is_asked = ASKED.iter().any(|name| before == [Some((*name).to_owned()), Some("!".to_owned())]);
            let found = match &token {
                TokenTree::Ident(name) => name == "unsafe",
                TokenTree::Group(group) => !is_asked && in_tokens(group.stream()),
                _ => false,
            };
            if found {
                return true;
            }
            let [_, last] = before;
            before = [last, Some(token.to_string())];
        }
        false
    }
    TokenStream::from_str(code).map_or_else(|_| code.contains("unsafe"), in_tokens)
}

/// What stands in the last `compiles! { … }` of a cell.
fn snippet(code: &str) -> Option<&str> {
    fn in_tokens(tokens: TokenStream, found: &mut Option<Range<usize>>) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        for (at, token) in tokens.iter().enumerate() {
            let TokenTree::Group(group) = token else { continue };
            let is_asked = at >= 2
                && tokens[at - 2].to_string() == "compiles"
                && tokens[at - 1].to_string() == "!"
                && group.delimiter() == Delimiter::Brace;
            if is_asked {
                *found = Some(group.span_open().byte_range().end..group.span_close().byte_range().start);
            } else {
                in_tokens(group.stream(), found);
            }
        }
    }
    let mut found = None;
    in_tokens(TokenStream::from_str(code).ok()?, &mut found);
    code.get(found?)
}

/// The `#![feature(…)]` that a snippet begins with, and the rest.
fn split_features(snippet: &str) -> (&str, &str) {
    let start = snippet.trim_start();
    let end = if start.starts_with("#![") { start.find(']').map_or(0, |at| at + 1) } else { 0 };
    start.split_at(end)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::crafted::{code, exercise, notebook, with};

    fn claims(needs: &[&str]) -> Notebook {
        let claim = json!({"miri": "sound", "needs": needs});
        notebook(vec![code(":opt 0\nfn f() -> u8 { 1 }", vec![]), with(code("let x = f();\nx // it", vec![]), claim)])
    }

    /// An exercise whose check says this of itself.
    fn exercise_with(check: Value, starter: &str) -> Notebook {
        let mut cells = exercise("✗");
        cells[0]["source"] = json!(starter);
        cells[1]["metadata"]["pinlab"]["miri"] = check;
        notebook(cells)
    }

    fn right_answer() -> Answer {
        let (exercise, title) = ("double".into(), "right: a sum".into());
        Answer { exercise, title, code: "fn double(x: u8) -> u8 { x + x }".into(), hint: None }
    }

    #[test]
    fn a_cell_becomes_a_program_with_the_cells_that_it_needs() {
        let programs = all(&claims(&["cell-1"]), &[]).unwrap();
        let [program] = &programs[..] else { panic!("{programs:?}") };
        assert_eq!(program.body, "fn f() -> u8 { 1 }\n;\nlet x = f();\nx // it\n;\n");
        assert!(program.crates.len() == 2 && program.crates[0].starts_with("pinlab"), "{:?}", program.crates);
        assert!(program.claims_to_be_sound && program.text().contains("x // it\n;\nOk(())"));
    }

    #[test]
    fn what_is_taken_into_scope_twice_is_taken_once() {
        let cells = ["use std::rc::Rc;\nlet a = 1;", "use std::rc::Rc;\nlet a = 1;"];
        assert_eq!(together(&cells), "use std::rc::Rc;\nlet a = 1;\n;\nlet a = 1;\n;\n");
    }

    #[test]
    fn a_need_that_is_not_there_or_comes_later_is_found() {
        let error = |notebook| format!("{:#}", all(&notebook, &[]).unwrap_err());
        assert!(error(claims(&["nowhere"])).contains("no such cell"));
        assert!(error(claims(&["cell-2"])).contains("comes later"));
    }

    #[test]
    fn each_right_answer_is_played_with_the_check() {
        let notebook = exercise_with(json!("sound"), "fn double(x: u8) -> u8 { x }");
        let wrong = Answer { hint: Some("no".into()), ..right_answer() };
        let programs = all(&notebook, &[right_answer(), wrong]).unwrap();
        let titles: Vec<_> = programs.iter().map(|program| program.title.as_str()).collect();
        assert!(titles.len() == 2 && titles[0].contains("a sum") && titles[1].contains("the solution"), "{titles:?}");
        assert_eq!(programs[0].body, "fn double(x: u8) -> u8 { x + x }\n;\ncheck(double(2) == 4);\n;\n");
        let error = all(&exercise_with(json!("ub"), ""), &[]).unwrap_err().to_string();
        assert!(error.contains("sound, or is left out"), "{error}");
    }

    #[test]
    fn a_snippet_is_a_program_of_its_own() {
        let source = "{\n    let a = compiles! { one(); };\n    compiles! {\n        #![feature(x)]\n        two();\n    };\n}";
        let notebook = notebook(vec![with(code(source, vec![]), json!({"miri": "ub"}))]);
        let program = &all(&notebook, &[]).unwrap()[0];
        assert_eq!((program.features.as_str(), program.body.trim()), ("#![feature(x)]", "two();\n    \n;"));
        assert!(!program.claims_to_be_sound);
    }

    #[test]
    fn a_cell_with_unsafe_that_nobody_speaks_for_is_found() {
        let unsafe_cell = || code("fn f() { unsafe { g() } }", vec![]);
        let speaks = |needs: &[&str]| with(code("f()", vec![]), json!({"miri": "sound", "needs": needs}));
        assert_eq!(unclaimed(&notebook(vec![unsafe_cell()]), &[]).len(), 1);
        assert_eq!(unclaimed(&notebook(vec![unsafe_cell(), speaks(&[])]), &[]).len(), 1);
        assert_eq!(unclaimed(&notebook(vec![unsafe_cell(), speaks(&["cell-1"])]), &[]), []);
        let out = json!({"miri": {"out": "it calls the system"}});
        assert_eq!(unclaimed(&notebook(vec![with(unsafe_cell(), out)]), &[]), []);
        let asked = "// unsafe\nmiri! { unsafe { f() } }\nprintln!(\"unsafe\")";
        assert_eq!(unclaimed(&notebook(vec![code(asked, vec![])]), &[]), []);
    }

    #[test]
    fn the_check_of_an_exercise_speaks_for_its_starter_and_its_answers() {
        let starter = "fn double(x: u8) -> u8 { unsafe { g(x) } }";
        assert_eq!(unclaimed(&exercise_with(Value::Null, starter), &[]).len(), 1);
        assert_eq!(unclaimed(&exercise_with(json!("sound"), starter), &[]), []);
        let plain = exercise_with(Value::Null, "fn double(x: u8) -> u8 { x }");
        assert_eq!(unclaimed(&plain, &[right_answer()]), []);
        let clever = Answer { code: starter.into(), ..right_answer() };
        assert_eq!(unclaimed(&plain, &[clever]).len(), 1);
    }
}
