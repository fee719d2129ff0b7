//! Runs one notebook in a fresh kernel.
//!
//! Every cell is run, whatever the ones before it did; what that means is for others to judge. A cell that takes too long is
//! interrupted, which costs the kernel its variables but not its life.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::installed::Lab;
use crate::jupyter::Server;
use crate::notebook::Notebook;
use crate::outputs::End;

/// Why a run ended before its last cell.
#[derive(Debug)]
pub(crate) struct Death {
    /// Index of the cell that was running.
    pub(crate) cell: usize,
    pub(crate) message: String,
}

/// Runs `notebook` with `folder` as the working folder. `on_cell` is called with the index of each cell before it runs.
///
/// # Errors
/// The outer error: nothing could be run. The inner one: the kernel died.
pub(crate) fn execute(
    server: &Server,
    notebook: &Notebook,
    folder: &Path,
    mut on_cell: impl FnMut(usize),
) -> Result<Result<Notebook, Death>> {
    let mut kernel = server.kernel(folder)?;
    let mut runs = Vec::new();
    for cell in notebook.code() {
        on_cell(cell.index);
        let ran = kernel.run(&cell.source, &cell.id, Duration::from_secs(cell.limit()))?;
        if let End::Death(message) = ran.end {
            return Ok(Err(Death { cell: cell.index, message }));
        }
        runs.push((cell.index, ran));
    }
    Ok(Ok(notebook.with_runs(runs)?))
}

/// The same in a server of its own, whose kernel compiles in the folder `session`, which is kept.
pub(crate) fn execute_in(
    lab: &Lab,
    notebook: &Notebook,
    folder: &Path,
    session: Option<&Path>,
    on_cell: impl FnMut(usize),
) -> Result<Result<Notebook, Death>> {
    let environment: Vec<_> = session.map(|session| ("EVCXR_TMPDIR", session.as_os_str())).into_iter().collect();
    execute(&Server::start(lab, folder, &environment)?, notebook, folder, on_cell)
}
