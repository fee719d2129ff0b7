//! `cargo lab book`: the course as a site that is read without running anything.
//!
//! ```text
//!   notebooks ──▶ run in the lab's kernel ──▶ prepared: errors in eight colours, "run this" ──▶ Sphinx ──▶ a folder of pages
//! ```
//!
//! The pages open from the folder, with no server, and ask nobody for anything. What makes them (Sphinx and its theme, at the versions
//! of `xtask/book/requirements.lock`) is installed when the book is first asked for, in an environment of its own.
//! The notebooks are run, because the pictures that can be asked are shown live only and are not in the files.

mod colours;
mod prepare;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use pinlab_kernel::session;

use crate::installed;
use crate::jupyter::Server;
use crate::notebook::{self, Notebook};
use crate::runner;
use crate::setup::{self, python};
use crate::ui::Ui;

/// What makes the pages.
const SPHINX: python::Packages = python::Packages {
    name: "book",
    what: "Sphinx, which makes the book",
    lock: include_str!("../book/requirements.lock"),
    oldest: (3, 11),
};

/// What is written beside the notebooks for Sphinx.
const FILES: [(&str, &str); 4] = [
    ("conf.py", include_str!("../book/conf.py")),
    ("_static/lab.css", include_str!("../lab/custom.css")),
    ("_static/course.css", include_str!("../book/course.css")),
    ("_static/theme.js", include_str!("../book/theme.js")),
];

/// Where the book is, if nobody says otherwise.
pub(crate) const FOLDER: &str = "target/book";

/// What the book is made from, and where.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// The folder of the pages: [`FOLDER`] if none is given.
    pub(crate) output: Option<PathBuf>,
    /// Take the outputs that are committed, and run nothing: pictures then stand still.
    pub(crate) as_committed: bool,
}

/// Makes the book.
///
/// # Errors
/// If a notebook's kernel dies, or if Sphinx has but a warning.
pub(crate) fn make(project: &Path, options: &Options) -> Result<bool> {
    let ui = Ui::new();
    let output = options.output.clone().unwrap_or_else(|| project.join(FOLDER));
    check_output(&output)?;
    let environment = setup::environment(&ui, &SPHINX)?;

    let source = tempfile::tempdir()?;
    let notebooks = notebooks(&ui, project, options.as_committed)?;
    write_source(project, source.path(), &notebooks)?;

    // Made beside the old one and put into its place: a book is old or new, and never half of each.
    let output = std::path::absolute(&output)?;
    let parent = output.parent().context("the book's folder has a parent")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot make the folder {}", parent.display()))?;
    let fresh = tempfile::Builder::new().prefix("book.").tempdir_in(parent)?;
    let mut sphinx = installed::python(&environment);
    sphinx.args(["-m", "sphinx", "-b", "html", "-d"]).arg(source.path().join("_doctrees")).args(["-q", "-W", "--keep-going"]);
    sphinx.arg(source.path()).arg(fresh.path()).stdin(Stdio::null());
    let finished = ui.run("making the pages", &mut sphinx)?;
    if !finished.status.success() {
        bail!("Sphinx is not content with the notebooks:\n{}", finished.tail());
    }
    remove_templates(fresh.path())?;
    give_notebooks(project, fresh.path())?;
    setup::store::let_others_read(fresh.path())?;
    // Once more: it has taken minutes.
    check_output(&output)?;
    if output.exists() {
        fs::remove_dir_all(&output).with_context(|| format!("cannot remove the old book in {}", output.display()))?;
    }
    fs::rename(fresh.keep(), &output).with_context(|| format!("cannot write {}", output.display()))?;
    ui.say(format!("The book is made: open {}", output.join("index.html").display()));
    Ok(true)
}

/// What is in a book besides its pages.
const PARTS: [&str; 7] = [".buildinfo", "_downloads", "_images", "_sources", "_static", "objects.inv", "searchindex.js"];

/// What stands where the book is to be is removed: it must be a book, with nothing else in it.
fn check_output(output: &Path) -> Result<()> {
    if !output.exists() {
        return Ok(());
    }
    // Others make pages with Sphinx, too.
    let is_book = output.join("searchindex.js").is_file() && output.join("_static").join("course.css").is_file();
    for entry in fs::read_dir(output).with_context(|| format!("cannot read {}", output.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !is_book || !(PARTS.contains(&name.as_str()) || name.ends_with(".html")) {
            bail!(
                "{} is there, and `{name}` in it is not a book's: give an empty folder, or one that does not exist",
                output.display()
            );
        }
    }
    Ok(())
}

/// The themes' templates, which Sphinx copies with their other files: they end in `.html` and are no pages.
fn remove_templates(book: &Path) -> Result<()> {
    for entry in fs::read_dir(book.join("_static")).context("the book has a folder `_static`")? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "html") {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// The notebooks with what they show.
fn notebooks(ui: &Ui, project: &Path, as_committed: bool) -> Result<Vec<Notebook>> {
    let folder = project.join("notebooks");
    let committed: Vec<Notebook> = notebook::list(&folder)?.iter().map(|path| Notebook::read(path)).collect::<Result<_>>()?;
    if as_committed {
        return Ok(committed);
    }
    let lab = setup::ensure(ui, project)?;
    let server = Server::start(&lab, project, &[])?;
    let (mut shown, all) = (Vec::new(), committed.len());
    for notebook in committed {
        let activity = ui.start(&format!("running {} ({} of {all})", notebook.name, shown.len() + 1));
        let cells = notebook.code().count();
        let run = runner::execute(&server, &notebook, &folder, |index| {
            activity.tell(&format!("cell {} of {cells}", notebook.cells[index].number.unwrap_or_default()));
        })?;
        let seconds = activity.end();
        match run {
            Ok(fresh) => {
                ui.say(format!("ok      {}  ({seconds:.1} s)", notebook.name));
                shown.push(fresh);
            }
            Err(death) => bail!("the kernel died while it ran {}: {}", notebook.name, death.message),
        }
    }
    Ok(shown)
}

/// Fills the folder that Sphinx reads: notebooks, pictures, an index and its settings.
fn write_source(project: &Path, source: &Path, notebooks: &[Notebook]) -> Result<()> {
    for folder in ["_static", "pictures"] {
        fs::create_dir(source.join(folder))?;
    }
    for notebook in notebooks {
        fs::write(source.join(&notebook.name).with_extension("ipynb"), prepare::page(notebook)?)?;
    }
    let folder = project.join("notebooks");
    let names: Vec<&str> = notebooks.iter().map(|notebook| notebook.name.as_str()).collect();
    fs::write(source.join("README.md"), prepare::links_to_pages(&fs::read_to_string(folder.join("README.md"))?))?;
    fs::write(source.join("index.md"), prepare::index(&fs::read_to_string(project.join("README.md"))?, &names))?;
    for (name, text) in FILES {
        fs::write(source.join(name), text)?;
    }
    for entry in fs::read_dir(folder.join("pictures"))? {
        let entry = entry?;
        session::copy_file(&entry.path(), &source.join("pictures").join(entry.file_name()))?;
    }
    Ok(())
}

/// What a page gives to download is the notebook as it is in the project, without what was added for the book.
fn give_notebooks(project: &Path, book: &Path) -> Result<()> {
    // Sphinx keeps what is linked to as a download in folders named by digests.
    let mut folders = vec![book.join("_sources")];
    for entry in fs::read_dir(book.join("_downloads"))? {
        folders.push(entry?.path());
    }
    for path in notebook::list(&project.join("notebooks"))? {
        let name = path.file_name().context("a notebook has a name")?;
        for to in folders.iter().map(|folder| folder.join(name)).filter(|to| to.exists()) {
            session::copy_file(&path, &to).with_context(|| format!("cannot write {}", to.display()))?;
        }
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
        assert!(error.contains("`letter.txt`") && error.contains("not a book"), "{error}");
        fs::remove_file(output.join("letter.txt")).unwrap();
        // A book, by its signs; then one that somebody publishes from where it is.
        for (name, is_ours) in
            [("searchindex.js", false), ("_static/course.css", true), ("index.html", true), (".git/HEAD", false)]
        {
            let file = output.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
            assert_eq!(check_output(&output).is_ok(), is_ours, "{name}");
        }
    }

    #[test]
    fn every_package_of_the_book_has_one_exact_version_and_no_address() {
        for line in SPHINX.lock.lines() {
            assert!(line.contains("==") && !line.contains("://"), "{line}");
        }
    }

    #[test]
    fn what_sphinx_reads_is_whole() {
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let source = tempfile::tempdir().unwrap();
        let notebooks = notebooks(&Ui::new(), project, true).unwrap();
        write_source(project, source.path(), &notebooks).unwrap();
        for name in
            ["index.md", "README.md", "conf.py", "_static/course.css", "pictures/disaster.svg", "02-inside-an-async-fn.ipynb"]
        {
            assert!(source.path().join(name).is_file(), "{name}");
        }
    }
}
