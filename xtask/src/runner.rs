//! Runs one notebook in a fresh kernel, through the `jupyter` commands of the lab.
//!
//! Every cell is run, whatever the ones before it did; [`crate::judge`] says what that means. A cell that takes too long is
//! interrupted, which costs the kernel its variables but not its life.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, Write};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result};

use crate::notebook::{Kind, Notebook};
use crate::setup::Lab;

/// Why a run ended before its last cell.
#[derive(Debug)]
pub(crate) struct Death {
    /// Index of the cell that was running, if the kernel had started.
    pub(crate) cell: Option<usize>,
    pub(crate) message: String,
}

/// Runs `notebook` with `folder` as the working folder. `on_cell` is called with the index of each cell before it runs.
///
/// # Errors
/// The outer error: the command could not be run. The inner one: the kernel died.
pub(crate) fn execute(
    lab: &Lab,
    notebook: &Notebook,
    folder: &Path,
    on_cell: impl FnMut(usize),
) -> Result<Result<Notebook, Death>> {
    execute_in(lab, notebook, folder, None, on_cell)
}

/// The same with a kernel that compiles in the folder `session`, which is kept.
pub(crate) fn execute_in(
    lab: &Lab,
    notebook: &Notebook,
    folder: &Path,
    session: Option<&Path>,
    mut on_cell: impl FnMut(usize),
) -> Result<Result<Notebook, Death>> {
    let scratch = tempfile::tempdir()?;
    let mut input = tempfile::tempfile()?;
    input.write_all(notebook.text().as_bytes())?;
    input.rewind()?;
    let output = scratch.path().join("executed.ipynb");
    // The client knows one limit for all cells.
    let limit = notebook.code().map(|cell| cell.limit()).max().unwrap_or_default();

    let mut command = lab.jupyter("nbconvert");
    command
        .args(["--to", "notebook", "--execute", "--allow-errors", "--stdin", "--output"])
        .arg(&output)
        // The client tells which cell it runs only to those who ask for details.
        .arg("--log-level=DEBUG")
        .arg(format!("--ExecutePreprocessor.timeout={limit}"))
        .arg("--ExecutePreprocessor.interrupt_on_timeout=True")
        .arg("--ExecutePreprocessor.startup_timeout=120")
        .current_dir(folder)
        .stdin(Stdio::from(input))
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    // Nothing of this user's own settings may change what a notebook shows.
    let settings = scratch.path().join("settings");
    std::fs::create_dir(&settings)?;
    command.env("EVCXR_CONFIG_DIR", &settings).env("JUPYTER_CONFIG_DIR", &settings).env_remove("RUST_BACKTRACE");

    // What Miri says is the same wherever this runs: the verdict that is kept. (`refresh` makes it anew, `check` compares.)
    if std::env::var_os("PINLAB_MIRI").is_none() {
        command.env("PINLAB_MIRI", "kept");
    }

    if let Some(session) = session {
        command.env("EVCXR_TMPDIR", session);
    }

    let mut child = command.spawn().with_context(|| format!("cannot run {}", command.get_program().display()))?;
    // The client passes over empty cells without a word.
    let mut cells = notebook.cells.iter().filter(|cell| cell.kind == Kind::Code && !cell.source.trim().is_empty());
    let mut running = None;
    let mut complaints: Vec<String> = Vec::new();
    for line in BufReader::new(child.stderr.take().expect("it is piped")).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        if line.trim_end() == "[NbConvertApp] Executing cell:" {
            running = cells.next().map(|cell| cell.index);
            running.into_iter().for_each(&mut on_cell);
        } else if !line.starts_with("[NbConvertApp] ") || line.starts_with("[NbConvertApp] ERROR") {
            complaints.push(line);
        }
    }
    let status = child.wait()?;
    if !status.success() {
        // The last line of a Python traceback names the error.
        let last = complaints.iter().rev().find(|line| !line.trim().is_empty());
        let message = last.cloned().unwrap_or_else(|| status.to_string());
        return Ok(Err(Death { cell: running, message }));
    }
    let text = std::io::read_to_string(File::open(&output).context("the executed notebook was not written")?)?;
    Ok(Ok(Notebook::parse(&notebook.path, &text)?))
}
