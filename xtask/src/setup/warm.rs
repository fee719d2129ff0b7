//! The first cell of the notebooks, run once for this clone: what it compiled is where every new kernel starts from.
//!
//! ```text
//! <store>/warm/<name made of the support crate's path>/
//!   ready     the key of all that decides what is compiled
//!   compiled  the state of the crate that was: a kernel loads it by itself only while it is so
//!   session/  the kernel's crate: Cargo.lock, and in target/ the compiled dependencies
//! ```
//!
//! Nothing in it comes from the notebooks themselves: one that somebody has put into the folder decides nothing that is compiled.
//!
//! The kernel's own compile cache leaves out what it finds by a path, so that without this the support crate is compiled again
//! in every notebook that is opened. The kernel's front copies `session` for each kernel; cargo looks whether anything is stale,
//! as it always does, so that a wrong copy costs time and nothing else.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use pinlab_kernel::session::{self, COMPILED, READY, SESSION};
use serde_json::json;

use super::{kernel, store, tools};
use crate::digest::digest;
use crate::installed::Lab;
use crate::notebook::{FIRST_CELL, Notebook};
use crate::runner;
use crate::ui::Ui;

/// The crates that single notebooks bring in besides those of the first cell. They are fetched and compiled beforehand, so that all of the
/// course works without a network. (Written here, and not read from the notebooks: a `:dep` line can run a program.)
const MORE_CRATES: &[&str] = &[
    ":dep http-body-util = \"=0.1.5\"",
    ":dep hyper = { version = \"=1.12.0\", features = [\"http1\", \"server\"] }",
    ":dep pin-project-lite = \"=0.2.18\"",
    ":dep polling = \"=3.11.0\"",
    ":dep tokio = { version = \"=1.54.1\", features = [\"rt\", \"net\", \"time\", \"io-util\"] }",
    AGAIN,
];

/// A crate that is in the list already, as another notebook wants it: that has a cell of its own.
const AGAIN: &str = ":dep tokio = { version = \"=1.54.1\", features = [\"rt-multi-thread\"] }";

/// What is run: first with the crates that single notebooks bring in besides; then for level 0, which a reader may type (`:opt 0`), and for
/// the usual one. That comes last: of two libraries the probes take the newer.
fn cells() -> Vec<String> {
    let (before_use, after) = FIRST_CELL.rsplit_once('\n').expect("it ends in a `use`");
    let once: Vec<&str> = MORE_CRATES.iter().copied().filter(|line| *line != AGAIN).collect();
    vec![
        format!("{before_use}\n{}\n{after}", once.join("\n")),
        format!("{AGAIN}\nprintln!(\"again\");"),
        ":clear".to_owned(),
        ":opt 0".to_owned(),
        FIRST_CELL.to_owned(),
        ":opt 2\nlet warm = 1_u8;\nprintln!(\"{warm}\");".to_owned(),
    ]
}

/// Where it is kept.
fn place(store: &Path, project: &Path) -> PathBuf {
    session::warm_folder(store, &support_crate(project))
}

fn support_crate(project: &Path) -> PathBuf {
    project.join("support-crate")
}

/// True if a new kernel of this clone has nothing to compile.
pub(crate) fn is_ready(store: &Path, project: &Path) -> bool {
    let ready = fs::read_to_string(place(store, project).join(READY));
    matches!((ready, key(project)), (Ok(ready), Ok(key)) if ready == key)
}

/// Runs the first cell, if what the last run left is stale. Also downloads what the kernel's cargo needs.
pub(crate) fn make(ui: &Ui, store: &Path, project: &Path, lab: &Lab) -> Result<()> {
    if is_ready(store, project) {
        return Ok(());
    }
    let key = key(project)?;
    let state = state(project)?;
    let place = place(store, project);
    let parent = place.parent().context("it is in a folder")?;
    fs::create_dir_all(parent)?;
    remove(&place)?;
    // Not in the clone: cargo would take the kernel's crate for a part of our workspace.
    let (scratch, _in_use) = session::scratch().context("there is no folder for what the first cell compiles")?;
    let compiled = scratch.path().join(SESSION);
    fs::create_dir(&compiled)?;
    // The kernel resolves the support crate's dependencies afresh: it is given the versions that the clone is tested with.
    let lock = project.join("Cargo.lock");
    session::copy_file(&lock, &compiled.join("Cargo.lock")).with_context(|| format!("cannot copy {}", lock.display()))?;
    run(ui, project, lab, &compiled)?;
    strip(&compiled)?;
    let name = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let new = tempfile::Builder::new().prefix(&format!("{name}.")).tempdir_in(parent)?;
    session::copy(&compiled, &new.path().join(SESSION)).context("cannot keep what the first cell compiled")?;
    store::write_whole(&new.path().join(COMPILED), &state)?;
    store::write_whole(&new.path().join(READY), &key)?;
    store::let_others_read(new.path())?;
    fs::rename(new.keep(), &place).with_context(|| format!("cannot make {}", place.display()))
}

/// Removes it, and what a set-up that was killed left beside it; kernels that run have copies of their own.
fn remove(place: &Path) -> Result<()> {
    let name = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let beside = place.parent().map(fs::read_dir).and_then(Result::ok);
    for entry in beside.into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&name) {
            fs::remove_dir_all(entry.path()).with_context(|| format!("cannot remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}

/// Of the compiler, the kernel, the cells, the lock, and the support crate's state.
fn key(project: &Path) -> Result<String> {
    let mut texts = vec![tools::rustc_version()?, kernel::VERSION.to_owned(), cells().concat()];
    let lock = project.join("Cargo.lock");
    texts.push(fs::read_to_string(&lock).with_context(|| format!("cannot read {}", lock.display()))?);
    texts.push(state(project)?);
    Ok(digest(&texts.iter().map(String::as_str).collect::<Vec<_>>()))
}

fn state(project: &Path) -> Result<String> {
    let support = support_crate(project);
    session::state(&support).with_context(|| format!("cannot read {}", support.display()))
}

fn run(ui: &Ui, project: &Path, lab: &Lab, session: &Path) -> Result<()> {
    let code = |(number, source): (usize, String)| {
        json!({"cell_type": "code", "id": format!("cell-{number}"), "metadata": {"pinlab": {"limit": 900}},
               "execution_count": null, "outputs": [], "source": source})
    };
    let text = json!({
        "cells": cells().into_iter().enumerate().map(code).collect::<Vec<_>>(),
        "metadata": {"kernelspec": {"name": "rust", "display_name": "Rust", "language": "rust"}},
        "nbformat": 4, "nbformat_minor": 5,
    });
    let folder = project.join("notebooks");
    let notebook = Notebook::parse(&folder.join("warm.ipynb"), &text.to_string())?;
    let activity = ui.start("running the first cell once, to compile the support crate");
    let run = runner::execute_in(lab, &notebook, &folder, Some(session), |_| {});
    let seconds = activity.end();
    let fresh = run?.map_err(|death| anyhow!("the kernel died: {}", death.message))?;
    let last = fresh.code().last().map(|cell| crate::outputs::sections(&cell.outputs));
    let printed = last.iter().flatten().any(|section| section.title == "stdout" && section.text.trim() == "1");
    if !printed {
        let said = fresh.code().flat_map(|cell| crate::outputs::sections(&cell.outputs)).map(|section| section.text);
        bail!("the first cell of the notebooks does not work:\n{}", said.collect::<Vec<_>>().join("\n"));
    }
    ui.say(format!("ok      the first cell runs  ({seconds:.1} s)"));
    Ok(())
}

/// Takes away what no other session can use: the cells themselves, and what is kept to compile them again in parts.
fn strip(session: &Path) -> Result<()> {
    let mut folders = vec![session.join("target")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_cell = ["libctx", "ctx-", "libcode_", "code_"].iter().any(|start| name.starts_with(start));
            match path.is_dir() {
                true if is_cell || name == "incremental" => fs::remove_dir_all(&path)?,
                true => folders.push(path),
                false if is_cell => fs::remove_file(&path)?,
                false => {}
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notebook;

    fn project() -> tempfile::TempDir {
        let project = tempfile::tempdir().unwrap();
        fs::create_dir_all(project.path().join("support-crate/src/net")).unwrap();
        fs::write(project.path().join("support-crate/Cargo.toml"), "[package]").unwrap();
        fs::write(project.path().join("Cargo.lock"), "version = 4").unwrap();
        fs::write(project.path().join("support-crate/src/net/tcp.rs"), "// one").unwrap();
        fs::create_dir(project.path().join("notebooks")).unwrap();
        project
    }

    #[test]
    fn the_crates_of_every_notebook_are_fetched() {
        let notebooks = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("notebooks");
        for path in notebook::list(&notebooks).unwrap() {
            let notebook = Notebook::read(&path).unwrap();
            for line in notebook.code().flat_map(|cell| cell.source.lines()).filter(|line| line.starts_with(":dep ")) {
                let known = FIRST_CELL.contains(line) || MORE_CRATES.contains(&line);
                assert!(known, "{}: `{line}` is not in MORE_CRATES: the course would need the network for it", notebook.name);
            }
        }
        assert!(cells()[0].contains(":dep hyper") && cells()[0].ends_with("use pinlab::prelude::*;"), "{}", cells()[0]);
    }

    #[test]
    fn a_notebook_that_somebody_has_put_there_decides_nothing() {
        let project = project();
        let before = key(project.path()).unwrap();
        for (name, text) in [
            (
                "99-evil.ipynb",
                r#"{"cells": [{"cell_type": "code", "metadata": {}, "source": ":dep evil = { path = \"/tmp/evil\" }",
            "outputs": [], "execution_count": null, "id": "a"}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}"#,
            ),
            ("Untitled.ipynb", ""),
        ] {
            fs::write(project.path().join("notebooks").join(name), text).unwrap();
        }
        assert_eq!(key(project.path()).unwrap(), before);
    }

    #[test]
    fn it_is_stale_once_the_support_crate_changes_or_only_looks_as_if_it_had() {
        let (project, store) = (project(), tempfile::tempdir().unwrap());
        let folder = place(store.path(), project.path());
        let is_ready = || is_ready(store.path(), project.path());
        assert!(!is_ready());
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(READY), key(project.path()).unwrap()).unwrap();
        assert!(is_ready());
        let file = fs::File::options().write(true).open(project.path().join("support-crate/src/net/tcp.rs")).unwrap();
        file.set_modified(std::time::SystemTime::now() + std::time::Duration::from_secs(1)).unwrap();
        assert!(!is_ready());
        fs::create_dir(folder.with_extension("half")).unwrap();
        remove(&folder).unwrap();
        remove(&folder).unwrap();
        assert_eq!(fs::read_dir(folder.parent().unwrap()).unwrap().count(), 0);
    }

    #[test]
    fn what_belongs_to_cells_is_stripped() {
        let session = tempfile::tempdir().unwrap();
        let deps = session.path().join("target/some-triple/debug/deps");
        fs::create_dir_all(&deps).unwrap();
        fs::create_dir_all(deps.parent().unwrap().join("incremental/pinlab-1")).unwrap();
        fs::create_dir_all(deps.parent().unwrap().join(".fingerprint/ctx-1")).unwrap();
        for name in ["libctx.so", "libcode_1.so", "ctx-1.d", "libpinlab-1.rlib"] {
            fs::write(deps.join(name), "").unwrap();
        }
        strip(session.path()).unwrap();
        let names = |folder: &Path| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
        assert_eq!(names(&deps), ["libpinlab-1.rlib"]);
        assert!(!deps.parent().unwrap().join("incremental").exists());
        assert!(names(&deps.parent().unwrap().join(".fingerprint")).is_empty());
    }
}
