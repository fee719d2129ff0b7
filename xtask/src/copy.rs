//! The reader's own copy of the notebooks: without outputs, so that a prediction is one, and free to be changed.
//!
//! ```text
//! my-notebooks/                    beside `notebooks/`: what a notebook names by a path from there is found from here, too
//!   NN-name.ipynb                  the reader's
//!   NN-name.mine.ipynb             what the reader had changed when the course's changed, or when it was reset
//!   README.md                      the index, with what is solved; README.mine.md, what the reader had written in it
//!   .pinlab/                       what was given, what is solved ([`pinlab_kernel::progress`]), and the lock of who makes the copy
//! ```
//!
//! A notebook that the reader has only run is theirs to run again; one in which they have changed a cell is never written over.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use pinlab_kernel::{progress, session};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::digest::digest;
use crate::notebook::{self, Kind, Notebook};
use crate::outputs;
use crate::setup::store::write_whole;

/// The copy's folder in the clone; git ignores it.
pub(crate) const FOLDER: &str = "my-notebooks";

/// What was given to the reader.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
struct Given {
    /// Of the whole notebook, to see whether the course has changed.
    text: String,
    /// Of its cells without their outputs, to see whether the reader has changed it.
    cells: String,
}

/// What an update has done that the reader should know, a line each; and whether this is the first one.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Update {
    pub(crate) told: Vec<String>,
    pub(crate) first: bool,
}

/// Makes the copy, or brings it up to date.
pub(crate) fn update(project: &Path) -> Result<Update> {
    let _lock = lock(&project.join(FOLDER))?;
    bring_up_to_date(project)
}

/// Waits until nobody else makes this copy. Without it, of two at once one would take for the reader's what the other has just given.
fn lock(copy: &Path) -> Result<File> {
    let folder = copy.join(progress::FOLDER);
    let file = fs::create_dir_all(&folder).and_then(|()| File::create(folder.join(LOCK)));
    let file = file.with_context(|| format!("cannot write to {}, your own copy of the notebooks", copy.display()))?;
    file.lock().with_context(|| format!("cannot lock {}", folder.display()))?;
    Ok(file)
}

/// Needs the lock.
fn bring_up_to_date(project: &Path) -> Result<Update> {
    let copy = project.join(FOLDER);
    let mut update = Update { first: !copy.join(progress::FOLDER).join(GIVEN).exists(), ..Update::default() };
    let mut given = read_given(&copy);
    let (mut fresh, mut left_out) = (BTreeMap::new(), BTreeSet::new());
    for path in notebook::list(&project.join("notebooks"))? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // The course's own are named by their place in it.
        if name.as_bytes().first_chunk().is_none_or(|[a, b, c]| !a.is_ascii_digit() || !b.is_ascii_digit() || *c != b'-') {
            continue;
        }
        match Notebook::read(&path).and_then(|notebook| Ok((plain(&notebook)?, notebook))) {
            Ok(notebooks) => drop(fresh.insert(name, notebooks)),
            Err(error) => {
                let stays = if given.contains_key(&name) { "; yours stays as it is" } else { "" };
                update.told.push(format!("{name} is left out{stays}: {error:#}"));
                left_out.insert(name);
            }
        }
    }
    for (name, (notebook, _)) in &fresh {
        let now = Given { text: digest(&[&notebook.text()]), cells: cells(notebook) };
        if give(&copy, name, &notebook.text(), &now, given.get(name), &mut update.told)? {
            given.insert(name.clone(), now);
        }
    }
    // What the course no longer has goes, unless the reader has changed it.
    for (name, old) in given.clone() {
        if !fresh.contains_key(&name) && !left_out.contains(&name) {
            if is_as_given(&copy.join(&name), &old) {
                fs::remove_file(copy.join(&name))?;
            } else if copy.join(&name).exists() {
                update.told.push(format!("{name}: the course has it no longer, or under another name; yours stays as it is"));
            }
            given.remove(&name);
        }
    }
    copy_files(&project.join("notebooks/pictures"), &copy.join("pictures"))?;
    write_whole(&copy.join(progress::FOLDER).join(GIVEN), &serde_json::to_string_pretty(&given)?)?;
    let course = fs::read_to_string(project.join("notebooks/README.md")).unwrap_or_default();
    let notebooks: Vec<&Notebook> = fresh.values().map(|(_, notebook)| notebook).collect();
    if let Some(kept) = progress::keep_index(&copy).context("cannot keep the index")? {
        update.told.push(format!("{} is made anew; what you had written in it is in {kept}", progress::INDEX));
    }
    write_whole(&progress::template(&copy), &index(&notebooks, &course))?;
    progress::write_index(&copy).context("cannot write the index")?;
    Ok(update)
}

/// Gives fresh copies of the notebooks whose names begin so. What the reader has changed is kept beside.
pub(crate) fn reset(project: &Path, beginning: &str) -> Result<Update> {
    let copy = project.join(FOLDER);
    let _lock = lock(&copy)?;
    bring_up_to_date(project)?;
    let mut given = read_given(&copy);
    let names: Vec<String> =
        given.keys().filter(|name| name.starts_with(beginning.trim_end_matches(".ipynb"))).cloned().collect();
    if names.is_empty() || beginning.is_empty() {
        let all: Vec<&str> = given.keys().map(String::as_str).collect();
        bail!("no notebook's name begins with `{beginning}`; there are:\n  {}", all.join("\n  "));
    }
    // Nothing is taken away before there is a fresh one.
    for name in &names {
        Notebook::read(&project.join("notebooks").join(name))?;
    }
    let mut told = Vec::new();
    for name in &names {
        if let Some(kept) = keep_beside(&copy, name, &given[name])? {
            told.push(format!("{name}: what you had changed is in {kept}"));
        }
        given.remove(name);
        let path = copy.join(name);
        if path.exists() {
            fs::remove_file(path)?;
        }
        told.push(format!("{name} is as it was at first"));
    }
    write_whole(&copy.join(progress::FOLDER).join(GIVEN), &serde_json::to_string_pretty(&given)?)?;
    told.extend(bring_up_to_date(project)?.told);
    Ok(Update { told, first: false })
}

/// Removes the whole copy, and what was solved, after asking; true if it was done.
pub(crate) fn reset_all(project: &Path, yes: bool) -> Result<bool> {
    let copy = project.join(FOLDER);
    if !yes {
        print!("This removes {} with all that you have written there, and what you have solved. Go on? [y/N] ", copy.display());
        io::stdout().flush()?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        if !["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) {
            return Ok(false);
        }
    }
    if copy.exists() {
        fs::remove_dir_all(&copy).with_context(|| format!("cannot remove {}", copy.display()))?;
    }
    update(project)?;
    Ok(true)
}

const GIVEN: &str = "given.json";
const LOCK: &str = "lock";

fn read_given(copy: &Path) -> BTreeMap<String, Given> {
    let text = fs::read_to_string(copy.join(progress::FOLDER).join(GIVEN)).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// Writes one notebook, if the course has another one than the reader was given. False if the reader's stays as it is.
fn give(copy: &Path, name: &str, text: &str, now: &Given, old: Option<&Given>, told: &mut Vec<String>) -> Result<bool> {
    let path = copy.join(name);
    if path.exists() {
        if old == Some(now) {
            return Ok(false);
        }
        // One that nobody has given is the reader's own; but who gave it may have been killed before it was noted.
        if !is_as_given(&path, now)
            && let Some(kept) = keep_beside(copy, name, old.unwrap_or(&Given::default()))?
        {
            told.push(format!("{name} has changed in the course. Yours is kept beside it: {kept}"));
        }
    }
    write_whole(&path, text)?;
    Ok(true)
}

/// Moves the reader's notebook aside if they have changed it; returns its new name.
fn keep_beside(copy: &Path, name: &str, given: &Given) -> Result<Option<String>> {
    let path = copy.join(name);
    if !path.exists() || is_as_given(&path, given) {
        return Ok(None);
    }
    let kept = progress::beside(copy, name.trim_end_matches(".ipynb"), "ipynb");
    fs::rename(&path, copy.join(&kept)).with_context(|| format!("cannot keep {} as {kept}", path.display()))?;
    Ok(Some(kept))
}

/// True if the reader has at most run it.
fn is_as_given(path: &Path, given: &Given) -> bool {
    Notebook::read(path).is_ok_and(|notebook| cells(&notebook) == given.cells)
}

fn cells(notebook: &Notebook) -> String {
    let texts = notebook.cells.iter().flat_map(|cell| [if cell.kind == Kind::Code { "code" } else { "text" }, &cell.source]);
    digest(&texts.collect::<Vec<_>>())
}

/// The first words of the parts of a section, and the class under which the lab's stylesheet knows them.
const PARTS: [(&str, &str); 3] = [("Predict.", "predict"), ("What you saw.", "saw"), ("Change it.", "change")];

/// A text with classes for the parts of its section.
pub(crate) fn with_parts(text: &str) -> String {
    let with_class = |line: &str| {
        let part = PARTS.iter().find_map(|(words, class)| {
            Some(format!("<b class=\"course-{class}\">{words}</b>{}", line.strip_prefix(&format!("**{words}**"))?))
        });
        part.unwrap_or_else(|| line.to_owned())
    };
    text.split_inclusive('\n').map(with_class).collect()
}

/// The notebook as nobody has run it yet, with classes for the parts of its sections.
fn plain(notebook: &Notebook) -> Result<Notebook> {
    let mut json = notebook.json().clone();
    for cell in json["cells"].as_array_mut().into_iter().flatten().filter(|cell| cell["cell_type"] == "markdown") {
        cell["source"] = outputs::lines(&with_parts(&outputs::joined(&cell["source"])));
    }
    for cell in json["cells"].as_array_mut().into_iter().flatten().filter(|cell| cell["cell_type"] == "code") {
        cell["outputs"] = json!([]);
        cell["execution_count"] = Value::Null;
        if let Some(metadata) = cell["metadata"].as_object_mut() {
            metadata.remove("execution");
        }
    }
    Notebook::parse(&notebook.path, &json.to_string())
}

fn copy_files(from: &Path, to: &Path) -> Result<()> {
    if !from.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path: PathBuf = entry?.path();
        let name = path.file_name().context("a file has a name")?;
        if path.is_file() && fs::read(&path)? != fs::read(to.join(name)).unwrap_or_default() {
            session::copy_file(&path, &to.join(name)).with_context(|| format!("cannot copy {}", path.display()))?;
        }
    }
    Ok(())
}

/// The index of the copy: what is done, what is next, about how long each takes; then the course's own index.
fn index(notebooks: &[&Notebook], course: &str) -> String {
    let mut text = String::from(
        "# Your way through the course\n\n\
         This is your own copy: change what you like. (But not the pictures, nor this page, which is made anew at each ✓: what you have written \
         here is then in `README.mine.md`.) In a clone of your own, `cargo lab reset 02` gives a fresh 02 and keeps yours beside it.\n\n\
         | | Notebook | about | Exercises |\n|---|---|---|---|\n",
    );
    for notebook in notebooks {
        let exercises = notebook.exercises().unwrap_or_default();
        let names: Vec<&str> = exercises.iter().map(|exercise| exercise.name.as_str()).collect();
        let status = if names.is_empty() { String::new() } else { progress::mark_all(names.iter().copied()) };
        let list: Vec<String> = names.iter().map(|name| format!("{} {name}", progress::mark(name))).collect();
        let row = format!(
            "| {status} | [{}]({}.ipynb) | {} min | {} |\n",
            notebook.name.replacen('-', " ", 1).replace('-', " "),
            notebook.name,
            minutes(notebook, names.len()),
            list.join("<br>")
        );
        text.push_str(&row);
    }
    let (_, rest) = course.split_once('\n').unwrap_or_default();
    text + rest
}

/// About how long a notebook takes, in minutes: reading, running, and trying the exercises.
fn minutes(notebook: &Notebook, exercises: usize) -> usize {
    let prose = notebook.cells.iter().filter(|cell| cell.kind == Kind::Markdown);
    let words: usize = prose.map(|cell| cell.source.split_whitespace().count()).sum();
    let minutes = words / 180 + notebook.code().count() * 2 / 3 + exercises * 8;
    minutes.div_ceil(5) * 5
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crafted;

    /// A clone with one notebook, whose second cell is `source`.
    fn course(project: &Path, source: &str) {
        fs::create_dir_all(project.join("notebooks/pictures")).unwrap();
        fs::write(project.join("notebooks/pictures/a.svg"), "<svg/>").unwrap();
        fs::write(project.join("notebooks/README.md"), "# The notebooks\n\nThe map.\n").unwrap();
        let output = json!({"output_type": "stream", "name": "stdout", "text": ["1\n"]});
        let notebook = crafted::notebook(vec![crafted::code(source, vec![output])]);
        fs::write(project.join("notebooks/01-a.ipynb"), notebook.text()).unwrap();
    }

    fn source(path: &Path) -> String {
        Notebook::read(path).unwrap().cells[1].source.clone()
    }

    /// As the reader's editor would: another source, and an output.
    fn edit(path: &Path, source: &str) {
        let mut json = Notebook::read(path).unwrap().json().clone();
        json["cells"][1]["source"] = json!(source);
        json["cells"][1]["outputs"] = json!([{"output_type": "stream", "name": "stdout", "text": ["2\n"]}]);
        fs::write(path, json.to_string()).unwrap();
    }

    #[test]
    fn the_copy_has_no_outputs_and_a_run_of_it_is_no_change() {
        let project = tempfile::tempdir().unwrap();
        let mine = project.path().join(FOLDER).join("01-a.ipynb");
        course(project.path(), "one();");
        assert_eq!(update(project.path()).unwrap(), Update { first: true, told: vec![] });
        assert!(
            Notebook::read(&mine).unwrap().cells.iter().all(|cell| cell.outputs.is_empty() && cell.execution_count.is_none())
        );
        assert!(project.path().join(FOLDER).join("pictures/a.svg").exists());
        edit(&mine, "one();");
        let run = fs::read(&mine).unwrap();
        assert_eq!(update(project.path()).unwrap(), Update::default());
        assert_eq!(fs::read(&mine).unwrap(), run, "what it shows stays while the course is the same");
        course(project.path(), "two();");
        assert_eq!(update(project.path()).unwrap(), Update::default());
        assert_eq!(source(&mine), "two();");
    }

    #[test]
    fn what_the_reader_has_changed_is_kept_beside_when_the_course_changes() {
        let project = tempfile::tempdir().unwrap();
        let folder = project.path().join(FOLDER);
        course(project.path(), "one();");
        update(project.path()).unwrap();
        edit(&folder.join("01-a.ipynb"), "mine();");
        assert_eq!(update(project.path()).unwrap(), Update::default());
        for (new, kept) in [("two();", "01-a.mine.ipynb"), ("three();", "01-a.mine-2.ipynb")] {
            course(project.path(), new);
            let told = update(project.path()).unwrap().told;
            assert!(told[0].contains(kept), "{told:?}");
            assert_eq!((source(&folder.join("01-a.ipynb")).as_str(), source(&folder.join(kept)).as_str()), (new, "mine();"));
            edit(&folder.join("01-a.ipynb"), "mine();");
        }
        fs::remove_file(project.path().join("notebooks/01-a.ipynb")).unwrap();
        let told = update(project.path()).unwrap().told;
        assert!(told.len() == 1 && told[0].contains("yours stays"), "{told:?}");
        assert!(folder.join("01-a.ipynb").exists(), "it left the course, but the reader has changed it");
        assert_eq!(update(project.path()).unwrap(), Update::default(), "and it is said once");
    }

    #[test]
    fn two_at_once_and_one_that_was_killed_take_nothing_for_the_readers() {
        let project = tempfile::tempdir().unwrap();
        course(project.path(), "one();");
        let copy = project.path().join(FOLDER);
        for _ in 0..20 {
            let both = std::thread::scope(|scope| {
                [(), ()].map(|()| scope.spawn(|| update(project.path()).unwrap())).map(|one| one.join().unwrap())
            });
            assert!(both.iter().all(|update| update.told.is_empty()), "{both:?}");
            assert_eq!(both.iter().filter(|update| update.first).count(), 1);
            fs::remove_file(copy.join(progress::FOLDER).join(GIVEN)).unwrap(); // as if it had been killed before it wrote this
        }
        assert!(!copy.join("01-a.mine.ipynb").exists());
    }

    #[test]
    fn the_parts_of_a_section_have_a_class() {
        let text = json!({"cell_type": "markdown", "metadata": {}, "id": "t", "source": "**Predict.** *Which?*\n\nNot **Predict.** here.\n**Change it.** Do."});
        let shown = plain(&crafted::notebook(vec![text])).unwrap().cells[1].source.clone();
        assert_eq!(
            shown,
            "<b class=\"course-predict\">Predict.</b> *Which?*\n\nNot **Predict.** here.\n<b class=\"course-change\">Change it.</b> Do."
        );
    }

    #[test]
    fn a_reset_gives_a_fresh_one_and_keeps_what_was_changed() {
        let project = tempfile::tempdir().unwrap();
        let folder = project.path().join(FOLDER);
        course(project.path(), "one();");
        update(project.path()).unwrap();
        edit(&folder.join("01-a.ipynb"), "mine();");
        let told = reset(project.path(), "01").unwrap().told;
        assert!(told[0].contains("01-a.mine.ipynb"), "{told:?}");
        assert_eq!(source(&folder.join("01-a.ipynb")), "one();");
        assert!(reset(project.path(), "7").unwrap_err().to_string().contains("01-a"));
        progress::record(&folder, "an-exercise").unwrap();
        assert!(reset_all(project.path(), true).unwrap());
        assert!(!folder.join("01-a.mine.ipynb").exists() && progress::solved(&folder).is_empty());
    }

    #[test]
    fn what_is_no_notebook_of_the_course_is_left_out_and_stops_nothing() {
        let project = tempfile::tempdir().unwrap();
        course(project.path(), "one();");
        for name in ["Untitled.ipynb", "evil.ipynb", "02-conflict.ipynb"] {
            fs::write(project.path().join("notebooks").join(name), "<<<<<<<").unwrap();
        }
        let told = update(project.path()).unwrap().told;
        assert!(told.len() == 1 && told[0].starts_with("02-conflict.ipynb is left out"), "{told:?}");
        assert!(!project.path().join(FOLDER).join("evil.ipynb").exists());
    }

    #[test]
    fn a_notebook_of_the_course_that_cannot_be_read_takes_nothing_away() {
        let project = tempfile::tempdir().unwrap();
        let mine = project.path().join(FOLDER).join("01-a.ipynb");
        course(project.path(), "one();");
        update(project.path()).unwrap();
        edit(&mine, "one();");
        let run = fs::read(&mine).unwrap();
        fs::write(project.path().join("notebooks/01-a.ipynb"), "<<<<<<<").unwrap();
        let told = update(project.path()).unwrap().told;
        assert!(told.len() == 1 && told[0].starts_with("01-a.ipynb is left out; yours stays as it is"), "{told:?}");
        assert!(reset(project.path(), "01").is_err(), "there is no fresh one");
        assert_eq!(fs::read(&mine).unwrap(), run);
        // It is still known for what was given, and not for the reader's work.
        course(project.path(), "two();");
        assert_eq!(update(project.path()).unwrap(), Update::default());
        assert_eq!(source(&mine), "two();");
    }

    #[test]
    fn what_the_reader_has_written_in_the_index_is_kept_beside() {
        let project = tempfile::tempdir().unwrap();
        let (copy, file) = (project.path().join(FOLDER), |name: &str| project.path().join(FOLDER).join(name));
        course(project.path(), "one();");
        update(project.path()).unwrap();
        let index = fs::read_to_string(file("README.md")).unwrap();
        assert_eq!(update(project.path()).unwrap(), Update::default());
        fs::write(file("README.md"), index.replace("The map.", "My notes.")).unwrap();
        let told = update(project.path()).unwrap().told;
        assert!(told.len() == 1 && told[0].contains("README.mine.md"), "{told:?}");
        assert!(fs::read_to_string(file("README.mine.md")).unwrap().contains("My notes."));
        fs::write(file("README.md"), "More notes.").unwrap();
        progress::record(&copy, "ex-one").unwrap();
        assert_eq!(fs::read_to_string(file("README.mine-2.md")).unwrap(), "More notes.");
        assert_eq!(fs::read_to_string(file("README.md")).unwrap(), index);
        // As 0.2.0 has written it: without a line that says so.
        fs::write(file("README.md"), index.rsplit_once("<!--").unwrap().0).unwrap();
        assert_eq!(update(project.path()).unwrap(), Update::default());
    }

    #[test]
    fn the_index_shows_what_is_done_and_what_is_next() {
        let project = tempfile::tempdir().unwrap();
        course(project.path(), "one();");
        let role = |role: &str, cell: &str, source: &str| {
            json!({"cell_type": cell, "source": source, "metadata": {"pinlab": {"exercise": "ex-one", "role": role}}, "id": role,
                   "outputs": [], "execution_count": null})
        };
        let cells = vec![
            role("starter", "code", "todo!()"),
            role("check", "code", "// Check: ex-one"),
            role("solution", "markdown", "<details>\n\n```rust\n1\n```\n\n</details>"),
        ];
        fs::write(project.path().join("notebooks/02-b.ipynb"), crafted::notebook(cells).text()).unwrap();
        update(project.path()).unwrap();
        let folder = project.path().join(FOLDER);
        let index = || fs::read_to_string(folder.join("README.md")).unwrap();
        assert!(index().contains("| **→ next** | [02 b](02-b.ipynb) |") && index().contains("○ ex-one"), "{}", index());
        assert!(index().contains("The map."));
        progress::record(&folder, "ex-one").unwrap();
        update(project.path()).unwrap();
        assert!(index().contains("| ✓ done | [02 b](02-b.ipynb) |") && index().contains("✓ ex-one"), "{}", index());
    }
}
