//! A notebook as the runner sees it: cells, their rules, their outputs; and the file it is kept in.
//!
//! The file is the truth. [`Notebook`] keeps its JSON whole and hands out typed views of the cells, so that writing a
//! notebook back changes nothing but what was asked for. The form is the one `nbformat` writes (keys sorted, one space of
//! indent, a newline at the end), so that JupyterLab and `--bless` do not fight over it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::digest::digest;
use crate::outputs::{End, Ran, joined, lines};

/// The first code cell of every notebook: all the set-up there is.
pub(crate) const FIRST_CELL: &str = r#":cache 1024
:dep pinlab = { path = "../support-crate" }
:dep pin-project = "=1.1.13"
use pinlab::prelude::*;"#;

/// Seconds that a cell may take if its metadata does not say otherwise.
pub(crate) const DEFAULT_LIMIT: u64 = 60;

/// Seconds that the first cell may take, which compiles the support crate: a slow or busy machine needs them.
pub(crate) const FIRST_LIMIT: u64 = 300;

/// What a cell's metadata tells the runner, under the key `pinlab`. A key that is not listed here is a typing error.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rules {
    /// The text that the failure of this cell must contain. Only cells tagged `raises-exception` have it.
    pub(crate) error: Option<String>,
    /// Regular expressions for what else may differ from run to run in this cell's output.
    #[serde(default)]
    pub(crate) mask: Vec<String>,
    /// The exercise that this cell belongs to.
    pub(crate) exercise: Option<String>,
    /// Its part in that exercise.
    pub(crate) role: Option<Role>,
    /// Seconds that this cell may take; [`DEFAULT_LIMIT`] if not given.
    pub(crate) limit: Option<u64>,
    /// The times that it shows are measured, even where they are whole numbers.
    #[serde(default)]
    pub(crate) measured: bool,
    /// What Miri must say of it, run with the cells that it needs.
    pub(crate) miri: Option<Claim>,
    /// The ids of the cells that it needs to be a program.
    #[serde(default)]
    pub(crate) needs: Vec<String>,
    /// It is meant to fail so early that rustfmt cannot read it, either.
    #[serde(default)]
    pub(crate) unparsed: bool,
}

/// The three cells that make an exercise.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// What the reader edits.
    Starter,
    /// Prints ✓ or ✗ with a hint.
    Check,
    /// Markdown: one `rust` block folded in `<details>`.
    Solution,
}

/// What a cell claims to be.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Claim {
    /// It breaks no rule; and if it is the check of an exercise, each right answer gets its ✓.
    Sound,
    /// It breaks no rule; what the check says of an answer is up to times, which are others under Miri: of what.
    Timed(String),
    /// Its behaviour is undefined.
    Ub,
    /// Miri cannot play it, for this reason.
    Out(String),
}

/// What a cell holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// Rust for the kernel.
    Code,
    /// Prose (raw cells count as prose: nothing is run).
    Markdown,
}

/// A view of one cell.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    /// Position among all cells, from 0.
    pub(crate) index: usize,
    /// The identity that it keeps when it is moved.
    pub(crate) id: String,
    /// For code cells: the number the reader sees in `[n]` after Run All, from 1.
    pub(crate) number: Option<usize>,
    pub(crate) kind: Kind,
    pub(crate) source: String,
    pub(crate) outputs: Vec<Value>,
    pub(crate) execution_count: Option<u64>,
    /// Tagged `raises-exception`: it is meant to fail.
    pub(crate) meant_to_fail: bool,
    /// Its source is folded away, as that of the checks is.
    pub(crate) hidden: bool,
    pub(crate) rules: Rules,
    /// How long its execution took; only in a notebook that was just run.
    pub(crate) seconds: Option<f64>,
    /// It was interrupted at its limit; only in a notebook that was just run.
    pub(crate) late: bool,
}

impl Cell {
    /// `cell [7] let x = …`: how messages name a cell.
    pub(crate) fn label(&self) -> String {
        let first = self.source.lines().find(|line| !line.trim().is_empty()).unwrap_or("(empty)").trim();
        match self.number {
            Some(number) => format!("cell [{number}]  {first}"),
            None => format!("text at position {}  {first}", self.index + 1),
        }
    }

    /// Seconds that this cell may take.
    pub(crate) fn limit(&self) -> u64 {
        let default = if self.number == Some(1) { FIRST_LIMIT } else { DEFAULT_LIMIT };
        self.rules.limit.unwrap_or(default)
    }
}

/// One exercise: where its cells are, and the code of its solution.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Exercise {
    pub(crate) name: String,
    /// Index of the starter among all cells.
    pub(crate) starter: usize,
    /// Index of the check among all cells.
    pub(crate) check: usize,
    /// The `rust` block of the solution cell.
    pub(crate) solution: String,
}

impl Exercise {
    /// The index of its cell of this role, for those that are code.
    pub(crate) fn cell(&self, role: Role) -> Option<usize> {
        match role {
            Role::Starter => Some(self.starter),
            Role::Check => Some(self.check),
            Role::Solution => None,
        }
    }
}

/// A notebook and where it is kept.
#[derive(Clone, Debug)]
pub(crate) struct Notebook {
    /// File name without its extension.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) cells: Vec<Cell>,
    json: Value,
    /// The file as it was read, with `\n` line ends.
    raw: String,
}

impl Notebook {
    /// Reads a notebook file.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(path, &text).with_context(|| format!("{} is not a notebook of this course", path.display()))
    }

    /// Reads the text of a notebook file that is, or will be, at `path`.
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self> {
        let json: Value = serde_json::from_str(text)?;
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("notebook").to_owned();
        Ok(Self { name, path: path.to_owned(), cells: cells(&json)?, json, raw: text.replace("\r\n", "\n") })
    }

    /// The code cells, in order.
    pub(crate) fn code(&self) -> impl Iterator<Item = &Cell> {
        self.cells.iter().filter(|cell| cell.kind == Kind::Code)
    }

    /// The notebook as a value to send to the kernel's client.
    pub(crate) fn json(&self) -> &Value {
        &self.json
    }

    /// The text of the file in the form in which notebooks are kept.
    pub(crate) fn text(&self) -> String {
        let mut bytes = Vec::new();
        let one_space = serde_json::ser::PrettyFormatter::with_indent(b" ");
        let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, one_space);
        self.json.serialize(&mut serializer).expect("a JSON value can be written to memory");
        bytes.push(b'\n');
        String::from_utf8(bytes).expect("JSON is UTF-8")
    }

    /// True if the file this notebook was read from already says what `other` would.
    pub(crate) fn is_written_as(&self, other: &Self) -> bool {
        self.raw == other.text()
    }

    /// Writes the file, all of it or nothing.
    pub(crate) fn write(&self) -> Result<()> {
        let folder = self.path.parent().context("a notebook is kept in a folder")?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(self.text().as_bytes())?;
        if let Ok(old) = fs::metadata(&self.path) {
            fs::set_permissions(file.path(), old.permissions())?;
        }
        file.persist(&self.path).with_context(|| format!("cannot write {}", self.path.display()))?;
        Ok(())
    }

    /// The same with what its code cells showed in a run.
    pub(crate) fn with_runs(&self, runs: Vec<(usize, Ran)>) -> Result<Self> {
        let outputs: Vec<_> = runs.iter().map(|(index, ran)| (*index, ran.outputs.clone())).collect();
        let mut fresh = self.with_outputs(outputs)?;
        for (index, ran) in runs {
            (fresh.cells[index].seconds, fresh.cells[index].late) = (Some(ran.seconds), ran.end == End::TooLate);
        }
        Ok(fresh)
    }

    /// This notebook with other outputs for the cells at these places.
    pub(crate) fn with_outputs(&self, outputs: impl IntoIterator<Item = (usize, Vec<Value>)>) -> Result<Self> {
        let mut json = self.json.clone();
        for (index, outputs) in outputs {
            json["cells"][index]["outputs"] = Value::Array(outputs);
        }
        Self::from_json(&self.path, json)
    }

    /// This notebook with these sources, one a cell; code that rustfmt cannot read is marked so.
    pub(crate) fn with_sources(&self, sources: &[String], unparsed: &[bool]) -> Result<Self> {
        let mut json = self.json.clone();
        let cells = json["cells"].as_array_mut().into_iter().flatten();
        for (cell, (source, unparsed)) in cells.zip(sources.iter().zip(unparsed)) {
            cell["source"] = lines(source);
            if *unparsed {
                cell["metadata"]["pinlab"]["unparsed"] = json!(true);
            } else if let Some(rules) = cell["metadata"].get_mut("pinlab").and_then(Value::as_object_mut) {
                rules.remove("unparsed");
            }
        }
        Self::from_json(&self.path, json)
    }

    /// A digest of the code cells: what the outputs are of.
    fn digest(&self) -> String {
        digest(&self.code().map(|cell| cell.source.as_str()).collect::<Vec<_>>())
    }

    /// True if it says of which cells its outputs are.
    pub(crate) fn says_its_cells(&self) -> bool {
        self.json["metadata"]["pinlab"]["cells"].is_string()
    }

    /// True if the outputs are of a run of these very cells.
    pub(crate) fn is_of_its_cells(&self) -> bool {
        self.json["metadata"]["pinlab"]["cells"] == self.digest().as_str()
    }

    /// This notebook, said to show what its cells show.
    pub(crate) fn of_its_cells(&self) -> Result<Self> {
        let mut json = self.json.clone();
        json["metadata"]["pinlab"] = json!({"cells": self.digest()});
        Self::from_json(&self.path, json)
    }

    /// This notebook with executions numbered from 1 and without the metadata of a run. Kernel and language are named as Jupyter names
    /// them when it opens the notebook, so that opening changes nothing.
    pub(crate) fn tidy(&self) -> Result<Self> {
        let mut json = self.json.clone();
        json["metadata"]["kernelspec"] = json!({"display_name": "Rust", "language": "rust", "name": "rust"});
        json["metadata"]["language_info"] = json!({
            "codemirror_mode": "rust", "file_extension": ".rs", "mimetype": "text/rust",
            "name": "Rust", "pygment_lexer": "rust", "version": "",
        });
        let mut number = 0_u64;
        for cell in json["cells"].as_array_mut().into_iter().flatten() {
            if let Some(metadata) = cell["metadata"].as_object_mut() {
                metadata.remove("execution");
            }
            if cell["cell_type"] == "code" {
                number += 1;
                cell["execution_count"] = json!(number);
                for output in cell["outputs"].as_array_mut().into_iter().flatten() {
                    if output["output_type"] == "execute_result" {
                        output["execution_count"] = json!(number);
                    }
                }
            }
        }
        Self::from_json(&self.path, json)
    }

    fn from_json(path: &Path, json: Value) -> Result<Self> {
        let mut notebook = Self::parse(path, &json.to_string())?;
        notebook.raw = notebook.text();
        Ok(notebook)
    }

    /// The exercises, in order of their starters.
    ///
    /// # Errors
    /// If one lacks a starter, a check or a solution, has one of them twice, or its solution is not one `rust` block.
    pub(crate) fn exercises(&self) -> Result<Vec<Exercise>> {
        let mut names: Vec<&str> = Vec::new();
        for cell in &self.cells {
            match (&cell.rules.exercise, cell.rules.role) {
                (Some(name), Some(_)) if !names.contains(&name.as_str()) => names.push(name),
                (Some(_), Some(_)) | (None, None) => {}
                _ => bail!("{}: an exercise needs both `exercise` and `role`", cell.label()),
            }
        }
        names.into_iter().map(|name| self.exercise(name)).collect()
    }

    fn exercise(&self, name: &str) -> Result<Exercise> {
        let the_one = |role: Role, kind: Kind| -> Result<&Cell> {
            let mut found =
                self.cells.iter().filter(|cell| cell.rules.exercise.as_deref() == Some(name) && cell.rules.role == Some(role));
            let cell = found.next().ok_or_else(|| anyhow!("exercise `{name}` has no {role:?} cell"))?;
            ensure!(found.next().is_none(), "exercise `{name}` has more than one {role:?} cell");
            ensure!(cell.kind == kind, "exercise `{name}`: its {role:?} must be a {kind:?} cell");
            Ok(cell)
        };
        let starter = the_one(Role::Starter, Kind::Code)?;
        let check = the_one(Role::Check, Kind::Code)?;
        let solution = the_one(Role::Solution, Kind::Markdown)?;
        ensure!(starter.index < check.index, "exercise `{name}`: the check must come after the starter");
        ensure!(
            solution.source.contains("<details>") && solution.source.contains("</details>"),
            "exercise `{name}`: the solution must be folded in <details>…</details>"
        );
        let mut blocks = crate::markdown::rust_blocks(&solution.source);
        ensure!(blocks.len() == 1, "exercise `{name}`: the solution must hold one ```rust block, found {}", blocks.len());
        Ok(Exercise { name: name.to_owned(), starter: starter.index, check: check.index, solution: blocks.remove(0) })
    }
}

/// The paths of all notebooks in `folder`, in reading order.
pub(crate) fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    if folder.is_dir() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "ipynb") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    Ok(paths)
}

fn cells(json: &Value) -> Result<Vec<Cell>> {
    let list = json["cells"].as_array().ok_or_else(|| anyhow!("there is no list of cells"))?;
    let has_metadata = |of: &Value| of["metadata"].is_object() || of["metadata"].is_null();
    ensure!(has_metadata(json), "its `metadata` is not an object");
    let mut number = 0;
    list.iter()
        .enumerate()
        .map(|(index, cell)| {
            ensure!(cell.is_object() && has_metadata(cell), "cell {index} (from 0), or its `metadata`, is not an object");
            let kind = if cell["cell_type"] == "code" { Kind::Code } else { Kind::Markdown };
            let metadata = cell["metadata"].as_object().cloned().unwrap_or_default();
            let rules = match metadata.get("pinlab") {
                Some(value) => serde_json::from_value(value.clone())
                    .with_context(|| format!("cell {} (from 0): its `pinlab` metadata is wrong", index))?,
                None => Rules::default(),
            };
            Ok(Cell {
                index,
                id: cell["id"].as_str().unwrap_or_default().to_owned(),
                number: (kind == Kind::Code).then(|| {
                    number += 1;
                    number
                }),
                kind,
                source: joined(&cell["source"]),
                outputs: cell["outputs"].as_array().cloned().unwrap_or_default(),
                execution_count: cell["execution_count"].as_u64(),
                meant_to_fail: metadata
                    .get("tags")
                    .and_then(Value::as_array)
                    .is_some_and(|tags| tags.iter().any(|tag| tag == "raises-exception")),
                hidden: cell["metadata"]["jupyter"]["source_hidden"] == true,
                rules,
                seconds: None,
                late: false,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crafted::*;

    #[test]
    fn a_notebook_is_written_in_the_form_of_nbformat() {
        let text = "{\n \"cells\": [\n  {\n   \"cell_type\": \"markdown\",\n   \"id\": \"a\",\n   \"metadata\": {},\n   \
                    \"source\": [\n    \"✓ one\\n\",\n    \"two\"\n   ]\n  }\n ],\n \"metadata\": {},\n \
                    \"nbformat\": 4,\n \"nbformat_minor\": 5\n}\n";
        assert_eq!(Notebook::parse("a.ipynb".as_ref(), text).unwrap().text(), text);
    }

    #[test]
    fn a_tidy_notebook_is_numbered_from_one_and_does_not_say_when_it_ran() {
        let mut json = notebook(vec![code("x", vec![])]).json().clone();
        json["cells"][1]["execution_count"] = json!(17);
        json["cells"][1]["metadata"]["execution"] = json!({"iopub.status.busy": "now"});
        let ran = Notebook::parse("a.ipynb".as_ref(), &json.to_string()).unwrap();
        let tidy = ran.tidy().unwrap();
        assert_eq!(tidy.cells[1].execution_count, Some(2));
        assert_eq!(tidy.json()["cells"][1]["metadata"], json!({}));
    }

    #[test]
    fn a_typing_error_in_the_rules_is_an_error() {
        let mut json = notebook(vec![code("x", vec![])]).json().clone();
        json["cells"][1]["metadata"]["pinlab"] = json!({"eror": "E0382"});
        let error = Notebook::parse("a.ipynb".as_ref(), &json.to_string()).unwrap_err();
        assert!(format!("{error:#}").contains("eror"), "{error:#}");
    }

    #[test]
    fn what_has_not_the_form_of_a_notebook_is_an_error_and_no_panic_later() {
        let parse = |json: Value| Notebook::parse("a.ipynb".as_ref(), &json.to_string());
        for cells in [json!([1]), json!(["text"]), json!([[]]), json!([null]), json!([{"metadata": 1}]), json!({}), json!(null)] {
            assert!(parse(json!({"cells": cells})).is_err(), "{cells}");
        }
        assert!(parse(json!({"cells": [], "metadata": []})).is_err());
        parse(json!({"cells": [{}, {"metadata": null}]})).unwrap().tidy().unwrap();
    }

    #[test]
    fn cells_are_numbered_as_the_reader_sees_them() {
        let notebook = notebook(vec![prose("text"), code("\nlet x = 1;", vec![])]);
        assert_eq!(notebook.cells[2].label(), "cell [2]  let x = 1;");
        assert_eq!(notebook.cells[2].limit(), DEFAULT_LIMIT);
    }

    #[test]
    fn the_first_cell_names_the_version_that_is_locked() {
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let lock = fs::read_to_string(project.join("Cargo.lock")).unwrap();
        let (_, locked) = lock.split_once("name = \"pin-project\"\nversion = ").unwrap();
        let line = format!(":dep pin-project = \"={}", locked.trim_start_matches('"').lines().next().unwrap());
        assert!(FIRST_CELL.contains(&line), "{line}");
    }
}
