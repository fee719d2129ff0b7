//! What Miri, the interpreter that knows the rules of memory, says of cells that claim to be sound, or not to be.
//!
//! Such a cell has `"miri": "sound"` or `"miri": "ub"` in its rules, and `"needs"` names the cells that it cannot do without. Out of
//! them a program is made, which is run under Miri. Commands to the kernel are left out: the crates are those of the first cell.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::judge::Failure;
use super::{Tally, outcome};
use crate::notebook::{self, Cell, FIRST_CELL, Notebook, Verdict};
use crate::ui::Ui;

/// A cell as a program.
#[derive(Debug)]
struct Program {
    /// The notebook, and the cell.
    title: String,
    code: String,
    verdict: Verdict,
}

/// Runs them all; one check each. Where there is no Miri nothing is counted.
pub(super) fn run(ui: &Ui, project: &Path) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut programs = Vec::new();
    for path in notebook::list(&project.join("notebooks"))? {
        let notebook = Notebook::read(&path)?;
        for cell in notebook.code().filter(|cell| cell.rules.miri.is_some()) {
            match program(&notebook, cell) {
                Ok(program) => programs.push(program),
                Err(error) => {
                    outcome(ui, false, &format!("{}, {}", notebook.name, cell.label()), 0.0, &format!("{error:#}"));
                    tally.count(false);
                }
            }
        }
    }
    let works = |command: &mut Command| {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    if programs.is_empty() {
        return Ok(tally);
    }
    if !works(Command::new("cargo").args(["+nightly", "miri", "--version"])) {
        ui.say(format!(
            "skip    {} cells under Miri  (rustup toolchain install nightly --component miri,rust-src)",
            programs.len()
        ));
        return Ok(tally);
    }
    let folder = project.join("target").join("miri-cells");
    write(project, &folder, &programs)?;
    for (number, program) in programs.iter().enumerate() {
        let mut command = Command::new("cargo");
        command
            .args(["+nightly", "miri", "run", "--quiet", "--bin"])
            .arg(bin(number))
            .current_dir(&folder)
            .env("MIRIFLAGS", "-Zmiri-disable-isolation -Zmiri-ignore-leaks")
            .env("CARGO_TARGET_DIR", folder.join("target"))
            .stdin(Stdio::null());
        let finished = ui.run(&format!("{} under Miri", program.title), &mut command)?;
        let wrong = wrong(program.verdict, finished.status.success(), &finished.output);
        outcome(
            ui,
            wrong.is_none(),
            &format!("{} under Miri", program.title),
            finished.seconds,
            &wrong.clone().unwrap_or_default(),
        );
        tally.count(wrong.is_none());
    }
    Ok(tally)
}

fn wrong(verdict: Verdict, ended_well: bool, output: &str) -> Option<String> {
    let undefined = output.contains("Undefined Behavior");
    let as_claimed = match verdict {
        Verdict::Sound => ended_well,
        Verdict::Ub => undefined,
    };
    let claim = match verdict {
        Verdict::Sound => "it claims to be sound, but Miri says:",
        Verdict::Ub => "it claims that its behaviour is undefined, but Miri does not say so:",
    };
    (!as_claimed).then(|| format!("{claim}\n{}", output.trim_end()))
}

fn program(notebook: &Notebook, cell: &Cell) -> Result<Program> {
    let mut cells = Vec::new();
    for id in &cell.rules.needs {
        let found = notebook.code().find(|cell| cell.id == *id);
        cells.push(found.with_context(|| format!("it needs `{id}`, and there is no such cell"))?);
    }
    if let Some(later) = cells.iter().find(|needed| needed.index >= cell.index) {
        bail!("it needs `{}`, which comes later", later.id);
    }
    cells.push(cell);
    cells.sort_by_key(|cell| cell.index);
    let mut code = String::new();
    for cell in cells {
        let lines: Vec<&str> = cell.source.lines().filter(|line| !line.starts_with(':')).collect();
        code.push_str(&lines.join("\n"));
        // The value of a cell's last expression is shown there, and dropped here.
        code.push_str(";\n");
    }
    Ok(Program {
        title: format!("{}, {}", notebook.name, cell.label()),
        code,
        verdict: cell.rules.miri.unwrap_or(Verdict::Sound),
    })
}

fn bin(number: usize) -> String {
    format!("cell_{number:03}")
}

/// A package of all programs.
fn write(project: &Path, folder: &Path, programs: &[Program]) -> Result<()> {
    let source = folder.join("src").join("bin");
    let _ = fs::remove_dir_all(&source);
    fs::create_dir_all(&source)?;
    fs::write(folder.join("Cargo.toml"), manifest(project)?)?;
    for (number, program) in programs.iter().enumerate() {
        let text = format!(
            "#![allow(unused, redundant_semicolons)]\nuse pinlab::prelude::*;\n\
             fn main() -> Result<(), Box<dyn std::error::Error>> {{\n{}Ok(())\n}}\n",
            program.code
        );
        fs::write(source.join(format!("{}.rs", bin(number))), text)?;
    }
    Ok(())
}

/// With the crates that the first cell of the notebooks names.
fn manifest(project: &Path) -> Result<String> {
    let mut manifest = "[package]\nname = \"miri-cells\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n".to_owned();
    let notebooks = project.join("notebooks").canonicalize()?;
    let crate_folder = notebooks.parent().context("it is in the clone")?.join("support-crate");
    for line in FIRST_CELL.lines().filter_map(|line| line.strip_prefix(":dep ")) {
        let path = format!("'{}'", crate_folder.display());
        manifest.push_str(&line.replace("\"../support-crate\"", &path));
        manifest.push('\n');
    }
    Ok(manifest)
}

/// What is wrong with the claims themselves, whether Miri is there or not.
pub(super) fn check(notebook: &Notebook) -> Vec<Failure> {
    let claims = notebook.code().filter(|cell| cell.rules.miri.is_some() || !cell.rules.needs.is_empty());
    claims
        .filter_map(|cell| match (cell.rules.miri, program(notebook, cell)) {
            (None, _) => Some(Failure::of(cell, "it `needs` cells, but makes no claim to `miri`")),
            (Some(_), Err(error)) => Some(Failure::of(cell, format!("{error:#}"))),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::crafted::{code, notebook, with};

    fn claims(needs: &[&str]) -> Notebook {
        let claim = json!({"miri": "sound", "needs": needs});
        notebook(vec![code(":opt 0\nfn f() -> u8 { 1 }", vec![]), with(code("let x = f();\nx", vec![]), claim)])
    }

    #[test]
    fn a_cell_becomes_a_program_with_the_cells_that_it_needs() {
        let notebook = claims(&["cell-1"]);
        let program = program(&notebook, &notebook.cells[2]).unwrap();
        assert_eq!(program.code, "fn f() -> u8 { 1 };\nlet x = f();\nx;\n");
        assert!(check(&notebook).is_empty());
    }

    #[test]
    fn a_need_that_is_not_there_or_comes_later_is_found() {
        assert!(check(&claims(&["nowhere"]))[0].what.contains("no such cell"));
        assert!(check(&claims(&["cell-2"]))[0].what.contains("comes later"));
        let lonely = notebook(vec![with(code("x", vec![]), json!({"needs": ["cell-0"]}))]);
        assert!(check(&lonely)[0].what.contains("no claim"));
    }

    #[test]
    fn a_claim_that_miri_does_not_share_is_found() {
        let undefined = "error: Undefined Behavior: out-of-bounds pointer use";
        assert_eq!(wrong(Verdict::Sound, true, ""), None);
        assert_eq!(wrong(Verdict::Ub, false, undefined), None);
        assert!(wrong(Verdict::Sound, false, undefined).unwrap().contains("claims to be sound"));
        assert!(wrong(Verdict::Ub, true, "").unwrap().contains("does not say so"));
        assert!(wrong(Verdict::Ub, false, "error: unsupported operation").is_some());
    }
}
