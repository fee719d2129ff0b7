//! What Miri, the interpreter that knows the rules of memory, says of cells that claim to be sound, or not to be.
//!
//! A cell with `unsafe` in it makes a claim in its rules: `"miri": "sound"` or `"ub"`; `{"timed": "of what"}` for a check that judges times; or
//! `{"out": "why it cannot be played"}`. Where another cell uses what it declares, that one makes the claim, and `needs` it. Out of them programs are made (`program`), which are run under Miri with both
//! models of borrowing.

mod program;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use pinlab_kernel::session;

use self::program::Program;
use super::answers::{self, Answer};
use super::judge::Failure;
use super::steps::{self, MIRI_POLLER};
use super::{Tally, chosen, outcome};
use crate::notebook::{Claim, Notebook};
use crate::ui::{Finished, Ui};

/// The models of borrowing: how Miri is asked for each, and what it is called.
const MODELS: [(&str, &str); 2] = [("", "stacked borrows"), ("-Zmiri-tree-borrows", "tree borrows")];

/// Runs those of these notebooks (of all, if no name is given); one check each. Where there is no Miri nothing is counted.
pub(super) fn run(ui: &Ui, project: &Path, names: &[String]) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut programs = Vec::new();
    for path in chosen::course(project, names)? {
        let notebook = Notebook::read(&path)?;
        let answers = answers::of(&notebook)?;
        for failure in check(&notebook, &answers) {
            let place = failure.cell.map_or_else(|| notebook.name.clone(), |cell| format!("{}, {cell}", notebook.name));
            outcome(ui, false, &place, 0.0, &failure.what);
            tally.count(false);
        }
        programs.extend(program::all(&notebook, &answers).unwrap_or_default()); // an error was told by `check`
    }
    if programs.is_empty() {
        let what =
            "no cell says what Miri must say of it, so none is played: in a cell's metadata, {\"pinlab\": {\"miri\": \"sound\"}}";
        outcome(ui, false, "cells under Miri", 0.0, what);
        tally.count(false);
        return Ok(tally);
    }
    if !has_miri() {
        let get = "rustup toolchain install nightly --component miri,rust-src";
        ui.say(format!("skip    {} programs made of cells, under Miri  ({get})", programs.len()));
        return Ok(tally);
    }
    let folder = project.join("target").join("miri-cells");
    write(project, &folder, &programs)?;
    let numbered: Vec<(usize, Program)> = programs.into_iter().enumerate().collect();
    tally.add(steps::side_by_side(&numbered, |(number, program)| {
        let mut tally = Tally::default();
        let mut said = Vec::new();
        for (flag, model) in MODELS {
            said.push((model, play(ui, &folder, &bin(*number), &format!("{}, {model}", program.title), flag)?));
        }
        let wrong = wrong(program, &said);
        let seconds = said.iter().map(|(_, finished)| finished.seconds).sum();
        outcome(ui, wrong.is_none(), &format!("Miri: {}", program.title), seconds, &wrong.clone().unwrap_or_default());
        tally.count(wrong.is_none());
        Ok(tally)
    })?);
    Ok(tally)
}

fn has_miri() -> bool {
    let mut command = Command::new("cargo");
    command.args(["+nightly", "miri", "--version"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn play(ui: &Ui, folder: &Path, bin: &str, what: &str, flag: &str) -> Result<Finished> {
    let mut command = Command::new("cargo");
    command
        .args(["+nightly", "miri", "run", "--quiet", "--bin", bin])
        .current_dir(folder)
        // Readers make pointers of numbers to ask what is there; what is never read needs no provenance.
        .env("MIRIFLAGS", format!("-Zmiri-disable-isolation -Zmiri-ignore-leaks -Zmiri-permissive-provenance {flag}"))
        .env("RUSTFLAGS", MIRI_POLLER)
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .stdin(Stdio::null());
    ui.run(&format!("Miri: {what}"), &mut command)
}

/// Why what Miri says, with each model, is not what is claimed. What is sound is so with both; what is not, with one of them.
fn wrong(program: &Program, said: &[(&str, Finished)]) -> Option<String> {
    let is_undefined = |finished: &Finished| finished.output.contains("Undefined Behavior");
    let told = |(model, finished): &(&str, Finished)| format!("with {model} it says:\n{}", finished.output.trim_end());
    if !program.claims_to_be_sound {
        let seen = said.iter().any(|(_, finished)| is_undefined(finished));
        let last = said.last().filter(|_| !seen)?;
        return Some(format!("it claims that its behaviour is undefined, but Miri does not say so; {}", told(last)));
    }
    if let Some(refused) = said.iter().find(|(_, finished)| !finished.status.success()) {
        return Some(format!("it claims to be sound, but Miri does not say so; {}", told(refused)));
    }
    let unsolved = said.iter().find(|(_, finished)| program.gets_its_tick && !finished.output.contains('✓'))?;
    Some(format!("it is a right answer, but the check does not say so under Miri; {}", told(unsolved)))
}

fn bin(number: usize) -> String {
    format!("cell_{number:03}")
}

/// A package of all programs.
fn write(project: &Path, folder: &Path, programs: &[Program]) -> Result<()> {
    let source = folder.join("src").join("bin");
    let _ = fs::remove_dir_all(&source);
    fs::create_dir_all(&source)?;
    fs::write(folder.join("Cargo.toml"), manifest(project, programs)?)?;
    session::copy_file(&project.join("Cargo.lock"), &folder.join("Cargo.lock")).context("the lock file of the project")?;
    let ppoll = support_crate(project)?.join("tests").join("common").join("miri.rs");
    for (number, program) in programs.iter().enumerate() {
        let text = format!("{}#[path = {:?}]\nmod ppoll;\n", program.text(), ppoll.display().to_string());
        fs::write(source.join(format!("{}.rs", bin(number))), text)?;
    }
    Ok(())
}

fn support_crate(project: &Path) -> Result<PathBuf> {
    Ok(project.canonicalize()?.join("support-crate"))
}

/// With the crates that their cells name, and what `ppoll` needs: it stands in for a call of the system that Miri does not have.
fn manifest(project: &Path, programs: &[Program]) -> Result<String> {
    let head = "[package]\nname = \"miri-cells\"\nedition = \"2024\"\n[workspace]\n[dependencies]\nlibc = \"0.2\"\n";
    let mut manifest = head.to_owned();
    let path = format!("'{}'", support_crate(project)?.display());
    let crates: BTreeSet<&str> = programs.iter().flat_map(|program| program.crates.iter().map(String::as_str)).collect();
    for line in crates {
        manifest.push_str(&line.replace("\"../support-crate\"", &path));
        manifest.push('\n');
    }
    Ok(manifest)
}

/// What is wrong with the claims themselves, whether Miri is there or not.
pub(super) fn check(notebook: &Notebook, answers: &[Answer]) -> Vec<Failure> {
    let mut failures = program::unclaimed(notebook, answers);
    for cell in notebook.code() {
        if !cell.rules.needs.is_empty() && !matches!(cell.rules.miri, Some(Claim::Sound | Claim::Timed(_) | Claim::Ub)) {
            failures.push(Failure::of(cell, "it `needs` cells, but makes no claim to `miri`"));
        }
    }
    if let Err(error) = program::all(notebook, answers) {
        failures.push(Failure::whole(format!("{error:#}")));
    }
    failures
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::crafted::{code, notebook, with};

    #[test]
    fn a_need_without_a_claim_is_found() {
        let lonely = notebook(vec![with(code("x", vec![]), json!({"needs": ["cell-0"]}))]);
        assert!(check(&lonely, &[])[0].what.contains("no claim"));
    }

    #[cfg(unix)]
    #[test]
    fn a_claim_that_miri_does_not_share_is_found() {
        use std::os::unix::process::ExitStatusExt as _;

        let program = |claims_to_be_sound, gets_its_tick| Program { claims_to_be_sound, gets_its_tick, ..Program::default() };
        let said = |outputs: [&str; 2], code: [i32; 2]| {
            let finished = |at: usize| {
                let status = std::process::ExitStatus::from_raw(code[at] << 8);
                (MODELS[at].1, Finished { status, output: outputs[at].to_owned(), seconds: 0.0 })
            };
            [finished(0), finished(1)]
        };
        let undefined = "error: Undefined Behavior: out-of-bounds pointer use";
        let (sound, ub, answer) = (program(true, false), program(false, false), program(true, true));
        assert_eq!(wrong(&sound, &said(["", ""], [0, 0])), None);
        assert!(wrong(&sound, &said(["", undefined], [0, 1])).unwrap().contains("with tree borrows it says"));
        assert!(wrong(&sound, &said(["error: unsupported", ""], [1, 0])).unwrap().contains("with stacked borrows"));
        assert_eq!(wrong(&ub, &said([undefined, ""], [1, 0])), None);
        assert!(wrong(&ub, &said(["", ""], [0, 0])).unwrap().contains("does not say so"));
        assert!(wrong(&ub, &said(["error: unsupported", "error"], [1, 1])).is_some());
        assert_eq!(wrong(&answer, &said(["✓ done", "✓ done"], [0, 0])), None);
        assert!(wrong(&answer, &said(["✓ done", "✗ late"], [0, 0])).unwrap().contains("tree borrows it says:\n✗ late"));
    }
}
