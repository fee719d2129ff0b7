//! `cargo lab book`: the course as a site that is read without running anything.
//!
//! ```text
//!   notebooks ──▶ run in the lab's kernel ──▶ prepared: errors in eight colours, "run this" ──▶ Sphinx ──▶ a folder of pages
//! ```
//!
//! The pages open from the folder, with no server, and ask nobody for anything. What makes them (Sphinx and its theme, at the versions
//! of `xtask/book/requirements.lock`) is installed when the book is first asked for, in an environment of its own.

mod colours;
mod prepare;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::notebook::{self, Notebook};
use crate::runner;
use crate::setup::{self, python};
use crate::ui::Ui;

/// Every package with its version.
const LOCK: &str = include_str!("../book/requirements.lock");
const CONF: &str = include_str!("../book/conf.py");
const STYLE: &str = include_str!("../book/course.css");

/// What the book is made from, and where.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The folder of the pages: `target/book` if none is given.
    pub(crate) output: Option<PathBuf>,
    /// Take the outputs that are committed, and run nothing: pictures then stand still.
    pub(crate) as_committed: bool,
}

/// Makes the book; true if it was made without a warning.
pub(crate) fn make(project: &Path, options: &Options) -> Result<bool> {
    let ui = Ui::new();
    let output = options.output.clone().unwrap_or_else(|| project.join("target").join("book"));
    check_output(&output)?;
    let environment = setup::component(&ui, &setup::named("book", &[LOCK]), |folder| {
        python::environment(&ui, folder, "Sphinx, which makes the book", LOCK)
    })?;

    let source = tempfile::tempdir()?;
    write_source(&ui, project, source.path(), options.as_committed)?;

    // Made beside the old one and put into its place: a book is old or new, and never half of each.
    let parent = output.parent().context("the book's folder has a parent")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot make the folder {}", parent.display()))?;
    let fresh = tempfile::Builder::new().prefix("book.").tempdir_in(parent)?;
    let mut sphinx = python::command(&environment);
    sphinx.args(["-m", "sphinx", "-b", "html", "-q", "-W", "--keep-going"]).arg(source.path()).arg(fresh.path());
    let finished = ui.run("making the pages", sphinx.stdin(Stdio::null()))?;
    if !finished.status.success() {
        bail!("Sphinx is not content with the notebooks:\n{}", finished.tail());
    }
    if output.exists() {
        fs::remove_dir_all(&output).with_context(|| format!("cannot remove the old book in {}", output.display()))?;
    }
    fs::rename(fresh.keep(), &output).with_context(|| format!("cannot write {}", output.display()))?;
    ui.say(format!("The book is made: open {}", output.join("index.html").display()));
    Ok(true)
}

/// What stands where the book is to be is removed: it must be a book.
fn check_output(output: &Path) -> Result<()> {
    let is_empty = |folder: &Path| fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
    if output.exists() && !output.join("searchindex.js").is_file() && !is_empty(output) {
        bail!("{} is there and is not a book: give an empty folder, or one that does not exist", output.display());
    }
    Ok(())
}

/// The folder that Sphinx reads: notebooks, pictures, an index and its settings.
fn write_source(ui: &Ui, project: &Path, source: &Path, as_committed: bool) -> Result<()> {
    let notebooks = project.join("notebooks");
    let paths = notebook::list(&notebooks)?;
    let lab = if as_committed { None } else { Some(setup::ensure(ui, project)?) };
    let mut names = Vec::new();
    for path in &paths {
        let committed = Notebook::read(path)?;
        let shown = match &lab {
            None => committed,
            Some(lab) => {
                let activity = ui.start(&committed.name);
                let cells = committed.code().count();
                let run = runner::execute(lab, &committed, &notebooks, |index| {
                    activity.tell(&format!("cell {} of {cells}", committed.cells[index].number.unwrap_or_default()));
                })?;
                let seconds = activity.end();
                match run {
                    Ok(fresh) => {
                        ui.say(format!("ok      {}  ({seconds:.1} s)", committed.name));
                        fresh
                    }
                    Err(death) => bail!("the kernel died while it ran {}: {}", committed.name, death.message),
                }
            }
        };
        let name = shown.name.clone();
        fs::write(source.join(&name).with_extension("ipynb"), prepare::page(&shown)?)?;
        names.push(name);
    }
    fs::write(source.join("README.md"), prepare::links_to_pages(&fs::read_to_string(notebooks.join("README.md"))?))?;
    fs::write(source.join("index.md"), prepare::index(&fs::read_to_string(project.join("README.md"))?, &names))?;
    fs::write(source.join("conf.py"), CONF)?;
    fs::create_dir(source.join("_static"))?;
    fs::write(source.join("_static").join("course.css"), STYLE)?;
    fs::create_dir(source.join("pictures"))?;
    for entry in fs::read_dir(notebooks.join("pictures"))? {
        let entry = entry?;
        fs::copy(entry.path(), source.join("pictures").join(entry.file_name()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_book_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("book");
        check_output(&output).unwrap();
        fs::create_dir(&output).unwrap();
        check_output(&output).unwrap();
        fs::write(output.join("letter.txt"), "mine").unwrap();
        let error = check_output(&output).unwrap_err().to_string();
        assert!(error.contains("is not a book"), "{error}");
        fs::write(output.join("searchindex.js"), "").unwrap();
        check_output(&output).unwrap();
    }

    #[test]
    fn every_package_of_the_book_has_one_exact_version_and_no_address() {
        for line in LOCK.lines() {
            assert!(line.contains("==") && !line.contains("://"), "{line}");
        }
    }
}
