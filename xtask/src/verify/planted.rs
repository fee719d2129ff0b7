//! A notebook that somebody else has put into the folder: nothing in it, or beside it, runs, and nothing of it is trusted, before the reader runs it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{Tally, outcome};
use crate::copy;
use crate::jupyter::Server;
use crate::notebook::FIRST_CELL;
use crate::setup;
use crate::ui::Ui;

const PLANTED: &str = "99-planted.ipynb";
/// Longer than a small crate takes to be compiled.
const LIMIT: Duration = Duration::from_secs(180);

/// Makes a reader's copy beside such a notebook, starts the server and a kernel there, and then runs the notebook's cell; one check.
pub(super) fn run(ui: &Ui, project: &Path) -> Result<Tally> {
    let lab = setup::ensure(ui, project)?;
    let what = "a notebook that somebody has put there";
    let activity = ui.start(what);
    let scratch = tempfile::tempdir()?;
    let folder = scratch.path();
    let mark = folder.join("it has run");
    let dependency = folder.join("planted");
    // The second one is where a kernel looks for the course's own crate.
    for (name, place) in [("planted", dependency.clone()), ("pinlab", folder.join("support-crate"))] {
        fs::create_dir_all(place.join("src"))?;
        fs::write(
            place.join("Cargo.toml"),
            format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n"),
        )?;
        fs::write(place.join("src/lib.rs"), "")?;
        fs::write(place.join("build.rs"), format!("fn main() {{ std::fs::write({mark:?}, \"\").unwrap(); }}"))?;
    }
    let cell = format!(":dep planted = {{ path = {dependency:?} }}");
    // The lab's own crate, where a copy of the course has it; beside it the course, with what was planted.
    fs::create_dir(folder.join("notebooks"))?;
    let text = fs::read_to_string(project.join("notebooks/00-start-here.ipynb"))?;
    fs::write(folder.join("notebooks/00-start-here.ipynb"), text)?;
    fs::write(folder.join("notebooks/Untitled.ipynb"), "")?;
    fs::write(folder.join("notebooks/02-conflict.ipynb"), "<<<<<<< ours\n")?;
    fs::write(folder.join("notebooks").join(PLANTED), notebook(&cell).to_string())?;
    let mut wrong = Vec::new();
    if let Err(error) = copy::update(folder) {
        wrong.push(format!("  the reader's copy cannot be made: {error:#}"));
    }
    let copied = folder.join(copy::FOLDER);
    // Even as it is, with what it shows, in the folder that the lab opens.
    fs::write(copied.join(PLANTED), notebook(&cell).to_string())?;
    {
        let signatures = folder.join("signatures");
        let server = Server::start(&lab, folder, &[("JUPYTER_DATA_DIR", signatures.as_os_str())])?;
        let opened = server.contents(&format!("{}/{PLANTED}", copy::FOLDER))?;
        let trusted = &opened["content"]["cells"][0]["metadata"]["trusted"];
        if *trusted != json!(false) {
            wrong.push(format!("  its script would run when it is opened: trusted is {trusted}"));
        }
        let mut kernel = server.kernel(&copied)?;
        kernel.run(FIRST_CELL.lines().last().context("it has lines")?, "first", LIMIT)?;
        if mark.exists() {
            wrong.push("  a build script has run before its cell".to_owned());
        }
        let ran = kernel.run(&cell, "planted", LIMIT)?;
        if !mark.exists() {
            wrong.push(format!(
                "  its build script does not run even with its cell, so this check shows nothing:\n{:?}",
                ran.outputs
            ));
        }
    }
    outcome(ui, wrong.is_empty(), what, activity.end(), &wrong.join("\n"));
    let mut tally = Tally::default();
    tally.count(wrong.is_empty());
    Ok(tally)
}

/// One cell that has a dependency, and shows a script.
fn notebook(cell: &str) -> Value {
    json!({
        "cells": [{
            "cell_type": "code", "id": "planted", "metadata": {}, "execution_count": 1, "source": cell,
            "outputs": [{"output_type": "display_data", "metadata": {}, "data": {"text/html": "<script>document.title = 'it has run'</script>"}}],
        }],
        "metadata": {"kernelspec": {"name": "rust", "display_name": "Rust", "language": "rust"}},
        "nbformat": 4, "nbformat_minor": 5,
    })
}
