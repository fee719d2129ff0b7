//! The rules a notebook is held to: what a run must show, what its file must be.
//!
//! A panic is no error to Jupyter, and a cell that should have failed but did not is no error to anybody; so the runner lets
//! every cell run and judges the outputs here.

use std::path::Path;
use std::sync::LazyLock;

use anyhow::Result;
use percent_encoding::percent_decode_str;
use regex::Regex;
use similar::{ChangeTag, TextDiff};

use crate::markdown;
use crate::mask::{self, Section};
use crate::notebook::{Cell, Exercise, FIRST_CELL, Kind, Notebook};

/// Something that does not hold.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Failure {
    /// The cell, as [`Cell::label`] names it; `None` for the notebook as a whole.
    pub(crate) cell: Option<String>,
    pub(crate) what: String,
    /// True if all that is wrong is that the outputs differ from the committed ones: `--bless` mends that.
    pub(crate) blessable: bool,
    /// True if all that is wrong is that the end of what the cell printed is missing.
    pub(crate) cut_short: bool,
}

impl Failure {
    fn of(cell: &Cell, what: impl Into<String>) -> Self {
        Self { cell: Some(cell.label()), what: what.into(), blessable: false, cut_short: false }
    }

    pub(crate) fn whole(what: impl Into<String>) -> Self {
        Self { cell: None, what: what.into(), blessable: false, cut_short: false }
    }
}

/// The folders whose names must not appear in an output: this clone and the user's home.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places(Vec<String>);

impl Places {
    pub(crate) fn new<'a>(folders: impl IntoIterator<Item = &'a Path>) -> Self {
        let names = folders.into_iter().filter(|folder| folder.parent().is_some()).map(|folder| folder.display().to_string());
        Self(names.collect())
    }

    /// The first machine path in `text`.
    fn find(&self, text: &str) -> Option<String> {
        static HOMES: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new(r#"(?:/home/|/Users/|[A-Za-z]:\\{1,2}Users\\{1,2})[\w.-]+"#).expect("the pattern is ours and is tested")
        });
        let known = self.0.iter().find(|place| {
            text.match_indices(place.as_str()).any(|(at, found)| {
                let next = text[at + found.len()..].chars().next();
                !next.is_some_and(|next| next.is_alphanumeric() || next == '_' || next == '-')
            })
        });
        known.cloned().or_else(|| HOMES.find(text).map(|found| found.as_str().to_owned()))
    }
}

/// What the file must be, whatever a run says. `folder` is where links start from.
pub(crate) fn file(notebook: &Notebook, folder: &Path, places: &Places) -> Result<Vec<Failure>> {
    let mut failures = Vec::new();
    let json = notebook.json();
    if (json["nbformat"].as_u64(), json["nbformat_minor"].as_u64()) != (Some(4), Some(5)) {
        failures.push(Failure::whole("it must be in notebook format 4.5"));
    }
    if json["metadata"]["kernelspec"]["name"] != "rust" {
        failures.push(Failure::whole("its kernel must be named `rust`"));
    }
    let mut ids: Vec<&str> = Vec::new();
    for cell in json["cells"].as_array().into_iter().flatten() {
        match cell["id"].as_str() {
            Some(id) if ids.contains(&id) => failures.push(Failure::whole(format!("two cells have the id `{id}`"))),
            Some(id) => ids.push(id),
            None => failures.push(Failure::whole("a cell has no id")),
        }
    }
    let expected = first_cell(folder);
    match notebook.code().next() {
        Some(first) if first.source.trim_end() != expected => {
            failures.push(Failure::of(first, format!("the first code cell must be, in every notebook:\n{expected}")));
        }
        Some(_) => {}
        None => failures.push(Failure::whole("it has no code cell")),
    }
    if let Err(error) = notebook.exercises() {
        failures.push(Failure::whole(error.to_string()));
    }
    for cell in &notebook.cells {
        if cell.kind == Kind::Markdown {
            let what = |link| format!("its link leads nowhere: {link}");
            let broken = broken_links(&cell.source, &notebook.path, folder);
            failures.extend(broken.into_iter().map(|link| Failure::of(cell, what(link))));
        }
        match (&cell.rules.error, cell.meant_to_fail) {
            (Some(_), false) => failures.push(Failure::of(cell, "it names an `error` but has no tag `raises-exception`")),
            (None, true) => failures.push(Failure::of(
                cell,
                "it is tagged `raises-exception` but its metadata names no `error`: {\"pinlab\": {\"error\": \"E0…\"}}",
            )),
            _ => {}
        }
        failures.extend(machine_path(cell, places).map(|what| Failure::of(cell, what)));
    }
    Ok(failures)
}

/// The first cell of every notebook in this folder. A notebook among the support crate's tests finds the crate elsewhere.
fn first_cell(folder: &Path) -> String {
    if folder.ends_with("support-crate/tests") { FIRST_CELL.replace("../support-crate", "..") } else { FIRST_CELL.to_owned() }
}

/// What a plain run must show: every cell does what it says, every starter is told ✗, and the outputs are the committed ones.
pub(crate) fn run(committed: &Notebook, fresh: &Notebook, places: &Places) -> Result<Vec<Failure>> {
    let mut failures = conduct(fresh, places);
    for exercise in fresh.exercises()? {
        failures.extend(verdict(fresh, &exercise, '✗', '✓', "the starter"));
    }
    if never_run(committed) {
        failures.push(Failure { blessable: true, ..Failure::whole("it was never run: its outputs are not in the file") });
        return Ok(failures);
    }
    // What a cell that misbehaves shows is told above.
    let told: Vec<_> = failures.iter().map(|failure| failure.cell.clone()).collect();
    failures.extend(differences(committed, fresh)?.into_iter().filter(|failure| !told.contains(&failure.cell)));
    Ok(failures)
}

/// Where `after` shows something else than `before`.
pub(crate) fn differences(before: &Notebook, after: &Notebook) -> Result<Vec<Failure>> {
    let cells = &after.cells;
    let (before, after) = (mask::masked(before)?, mask::masked(after)?);
    let mut failures = Vec::new();
    for (cell, (before, after)) in cells.iter().zip(before.iter().zip(&after)) {
        if before.sections != after.sections {
            let what = format!(
                "it shows something else than the file has (- file, + now; addresses are named in order of appearance):\n{}",
                diff(&before.sections, &after.sections)
            );
            let cut_short = is_cut_short(&before.sections, &after.sections);
            failures.push(Failure { blessable: true, cut_short, ..Failure::of(cell, what) });
        }
    }
    let same = |cell: usize| before[cell].sections == after[cell].sections;
    for ((first, was), (later, is)) in mask::lost_returns(&before, &after) {
        if same(first) && same(later) {
            let (was, is, first) = (was + 1, is + 1, cells[first].label());
            let what = format!("its address number {is} is that of another place now; in the file it is number {was} of {first}");
            failures.push(Failure { blessable: true, ..Failure::of(&cells[later], what) });
        }
    }
    Ok(failures)
}

/// Whether `after` is what the kernel makes of `before` when it is late: it forwards what a cell prints in one thread, says in another that
/// the cell is done, and whoever listens stops listening then. So lines at the end can be missing, and nothing else.
fn is_cut_short(before: &[Section], after: &[Section]) -> bool {
    let is_stream = |section: &&Section| ["stdout", "stderr"].contains(&section.title.as_str());
    let text = |sections: &[Section], title: &str| {
        let found = sections.iter().find(|section| section.title == title);
        found.map(|section| section.text.trim_end().lines().map(str::to_owned).collect::<Vec<_>>()).unwrap_or_default()
    };
    let others = |sections: &[Section]| sections.iter().filter(|section| !is_stream(section)).cloned().collect::<Vec<_>>();
    others(before) == others(after)
        && ["stdout", "stderr"].iter().all(|title| text(before, title).starts_with(&text(after, title)))
}

/// What a run with the solutions in the starters' places must show: every cell does what it says, every check is told ✓.
pub(crate) fn solved(fresh: &Notebook, exercises: &[Exercise], places: &Places) -> Vec<Failure> {
    let mut failures = conduct(fresh, places);
    for exercise in exercises {
        failures.extend(verdict(fresh, exercise, '✓', '✗', "the solution"));
    }
    failures
}

/// What holds of each cell in any run.
fn conduct(fresh: &Notebook, places: &Places) -> Vec<Failure> {
    let mut failures = Vec::new();
    for cell in fresh.code() {
        let texts = mask::sections(&cell.outputs);
        let error = texts.iter().find(|section| section.title == "error");
        let panic = texts.iter().find(|section| section.title == "stderr" && section.text.contains("panicked at"));
        let late = cell.seconds.is_some_and(|seconds| seconds >= cell.limit() as f64);
        if late {
            failures.push(Failure::of(cell, format!("it took longer than the {} s it may take", cell.limit())));
        }
        match (cell.meant_to_fail, error.or(panic)) {
            (false, Some(section)) if !late => {
                let how = if section.title == "error" { "it fails" } else { "it panics" };
                failures.push(Failure::of(cell, format!("{how}:\n{}", section.text.trim())));
            }
            (false, None) if texts.iter().any(|section| section.title == "stderr") => {
                let what = "it writes to stderr, of which the kernel loses what comes late: print it to stdout";
                failures.push(Failure::of(cell, what));
            }
            (true, None) => {
                // Or it panicked, and the text of that came too late.
                let cut_short = cell.rules.error.as_ref().is_some_and(|error| error.contains("panicked"));
                let what = "it is tagged `raises-exception`, but nothing in it failed";
                failures.push(Failure { cut_short, ..Failure::of(cell, what) });
            }
            (true, Some(_)) => {
                let failed_with = |code: &String| {
                    let told = |section: &&Section| ["error", "stderr"].contains(&section.title.as_str());
                    texts.iter().filter(told).any(|section| section.text.contains(code.as_str()))
                };
                if let Some(code) = cell.rules.error.as_ref().filter(|code| !failed_with(code)) {
                    let said: Vec<_> = texts.iter().map(|section| section.text.trim()).collect();
                    failures.push(Failure::of(cell, format!("it must fail with `{code}`, but says:\n{}", said.join("\n"))));
                }
            }
            _ => {}
        }
        failures.extend(machine_path(cell, places).map(|what| Failure::of(cell, what)));
    }
    failures
}

fn verdict(fresh: &Notebook, exercise: &Exercise, wanted: char, unwanted: char, who: &str) -> Option<Failure> {
    let check = &fresh.cells[exercise.check];
    let said: String = mask::sections(&check.outputs).into_iter().map(|section| section.text).collect();
    (!said.contains(wanted) || said.contains(unwanted)).then(|| {
        let what = format!("exercise `{}`: {who} must be told {wanted}, but the check says:\n{}", exercise.name, said.trim());
        // Its last line is the verdict, and that is the line that may come too late.
        let cut_short = !said.contains(['✓', '✗']);
        Failure { cut_short, ..Failure::of(check, what) }
    })
}

fn machine_path(cell: &Cell, places: &Places) -> Option<String> {
    let texts = mask::sections(&cell.outputs);
    let found = texts.iter().find_map(|section| places.find(&section.text))?;
    Some(format!("its output names a place on this machine: {found}"))
}

/// True if the first cell failed for a reason that is not the notebook's: the kernel wraps the compiler in a program that
/// does not read its standard input, and a build script that writes there (rustix's does) may find nobody listening.
pub(crate) fn set_up_broke(fresh: &Notebook) -> bool {
    let first = fresh.code().next();
    let texts = first.map(|cell| mask::sections(&cell.outputs)).unwrap_or_default();
    texts.iter().any(|section| section.title == "error" && section.text.contains("kind: BrokenPipe"))
}

/// True if the notebook is as its author wrote it: no run has left anything in it.
pub(crate) fn never_run(notebook: &Notebook) -> bool {
    notebook.code().all(|cell| cell.outputs.is_empty() && cell.execution_count.is_none())
}

/// The links of a text that lead nowhere. It stands in the file at `path`, whose links start from `folder`.
fn broken_links(text: &str, path: &Path, folder: &Path) -> Vec<String> {
    let broken = |link: &String| -> bool {
        if link.contains("://") || link.starts_with("mailto:") || link.starts_with("attachment:") {
            return false;
        }
        let link = percent_decode_str(link).decode_utf8_lossy();
        let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
        let target = if file.is_empty() { path.to_owned() } else { folder.join(file) };
        if !target.exists() {
            return true;
        }
        let is_notebook = target.extension().is_some_and(|extension| extension == "ipynb");
        !anchor.is_empty() && is_notebook && !Notebook::read(&target).is_ok_and(|target| has_anchor(&target, anchor))
    };
    markdown::links(text).into_iter().filter(broken).collect()
}

fn has_anchor(notebook: &Notebook, anchor: &str) -> bool {
    let prose = notebook.cells.iter().filter(|cell| cell.kind == Kind::Markdown);
    prose.flat_map(|cell| markdown::anchors(&cell.source)).any(|name| name == anchor)
}

/// The lines that differ, each with the section it is in and a line of context.
fn diff(before: &[Section], after: &[Section]) -> String {
    let text = |sections: &[Section]| -> String {
        sections.iter().map(|section| format!("[{}]\n{}\n", section.title, section.text)).collect()
    };
    let (before, after) = (text(before), text(after));
    let diff = TextDiff::from_lines(&before, &after);
    let mut out = String::new();
    for (position, group) in diff.grouped_ops(1).iter().enumerate() {
        if position > 0 {
            out.push_str("  …\n");
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let sign = match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            };
            out.push_str(&format!("{sign} {}\n", change.value().trim_end_matches('\n')));
        }
    }
    out.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::{Value, json};

    use super::*;
    use crate::crafted::*;

    fn places() -> Places {
        Places::new([Path::new("/srv/pinlab"), Path::new("/srv/ann")])
    }

    /// What a plain run says that shows `now`, if the file has `before`.
    fn said(before: Vec<Value>, now: Vec<Value>) -> Vec<String> {
        let failures = run(&notebook(before), &notebook(now), &places()).unwrap();
        failures.into_iter().map(|failure| failure.what).collect()
    }

    /// What a plain run says of one cell that shows what the file has.
    fn said_of(cell: Value) -> Vec<String> {
        said(vec![cell.clone()], vec![cell])
    }

    fn said_of_file(cells: Vec<Value>) -> Vec<String> {
        let failures = file(&notebook(cells), Path::new("folder"), &places()).unwrap();
        failures.into_iter().map(|failure| failure.what).collect()
    }

    #[track_caller]
    fn assert_one(said: &[String], text: &str) {
        assert!(said.len() == 1 && said[0].contains(text), "wanted one failure with {text:?}, got {said:#?}");
    }

    #[test]
    fn the_first_cell_names_the_crate_from_where_the_notebook_is() {
        assert_eq!(first_cell(Path::new("clone/notebooks")), FIRST_CELL);
        assert!(first_cell(Path::new("clone/support-crate/tests")).contains("path = \"..\""));
    }

    #[test]
    fn a_cell_that_shows_what_the_file_has_passes() {
        assert!(said_of(code("x", vec![printed("1\n")])).is_empty());
    }

    #[test]
    fn another_run_at_other_addresses_passes() {
        let at = |a: &str, b: &str| vec![code("x", vec![printed(&format!("{a} {b} {a} in 3 ms"))])];
        assert!(said(at("0x55ff00000010", "0x55ff00000020"), at("0x7fff12345678", "0x7fff12345670")).is_empty());
    }

    #[test]
    fn an_address_that_differs_where_it_must_be_the_same_fails() {
        let cells =
            |second: &str| vec![code("a", vec![printed("p 0x55ff00000010")]), code("b", vec![printed(&format!("p {second}"))])];
        assert_one(&said(cells("0x55ff00000010"), cells("0x55ff00000018")), "number 1 of cell [2]  a");
        // Chance: a place that has become free, used again.
        assert!(said(cells("0x55ff00000018"), cells("0x55ff00000010")).is_empty());
        let one_cell = |second: &str| vec![code("a", vec![printed(&format!("p 0x55ff00000010 {second}"))])];
        let within = said(one_cell("0x55ff00000010"), one_cell("0x55ff00000018"));
        assert_one(&within, "- p A1 A1\n+ p A1 A2");
        assert_one(&said(one_cell("0x55ff00000018"), one_cell("0x55ff00000010")), "+ p A1 A1");
    }

    #[test]
    fn another_text_fails_and_can_be_blessed() {
        let failures = run(
            &notebook(vec![code("x", vec![printed("a\nold\nz")])]),
            &notebook(vec![code("x", vec![printed("a\nnew\nz")])]),
            &places(),
        )
        .unwrap();
        assert_eq!(failures.len(), 1);
        assert!(failures[0].blessable);
        assert!(failures[0].what.contains("- old\n+ new"), "{}", failures[0].what);
        assert_eq!(failures[0].cell.as_deref(), Some("cell [2]  x"));
    }

    #[test]
    fn missing_lines_at_the_end_are_told_from_other_lines() {
        let is_cut = |now: &str| {
            let shows = |text: &str| notebook(vec![code("x", vec![printed(text)])]);
            run(&shows("a\nb\nc\n"), &shows(now), &places()).unwrap()[0].cut_short
        };
        assert!(is_cut("a\nb\n") && is_cut(""));
        let verdict = |now: &str| run(&notebook(exercise("size 3\n✗ no")), &notebook(exercise(now)), &places()).unwrap();
        assert!(verdict("size 3").iter().all(|failure| failure.cut_short) && !verdict("size 3").is_empty());
        assert!(verdict("size 3\n✓ yes").iter().any(|failure| !failure.cut_short));
        let count = |text: &str| notebook(vec![code("x", vec![printed(text)])]);
        assert!(!run(&count("a\nb 12\n"), &count("a\nb 1\n"), &places()).unwrap()[0].cut_short, "a line is whole or missing");
        assert!(!is_cut("a\nc\n") && !is_cut("b\nc\n") && !is_cut("a\nb\nc\nd\n") && !is_cut("x"));
    }

    #[test]
    fn a_failed_assertion_fails_although_jupyter_calls_it_fine() {
        let panic = "\nthread '<unnamed>' (7) panicked at src/lib.rs:9:1:\nassertion failed\n";
        assert_one(&said_of(code("assert!(false);", vec![complained(panic)])), "it panics");
    }

    #[test]
    fn a_cell_that_writes_to_stderr_fails_because_that_may_get_lost() {
        assert_one(&said_of(code("eprintln!(1)", vec![complained("1\n")])), "it writes to stderr");
    }

    #[test]
    fn an_error_in_a_cell_without_the_tag_fails() {
        assert_one(&said_of(code("x", vec![failed("[E0382] Error: moved")])), "it fails:\n[E0382]");
    }

    #[test]
    fn a_tagged_cell_that_fails_as_it_should_passes() {
        assert!(said_of(meant_to_fail(code("x", vec![failed("[E0382] Error: moved")]), "E0382")).is_empty());
        let panic = complained("thread 'main' panicked at src/lib.rs:1:1:\nboom");
        assert!(said_of(meant_to_fail(code("x", vec![panic]), "panicked at")).is_empty());
    }

    #[test]
    fn a_tagged_cell_that_works_fails() {
        assert_one(&said_of(meant_to_fail(code("x", vec![printed("fine")]), "E0382")), "nothing in it failed");
    }

    #[test]
    fn a_tagged_cell_that_fails_otherwise_fails() {
        let cell = meant_to_fail(code("x", vec![printed("E0382"), failed("[E0505] Error: borrowed")]), "E0382");
        assert_one(&said_of(cell), "it must fail with `E0382`");
    }

    #[test]
    fn a_starter_that_passes_fails_and_so_does_a_solution_that_does_not() {
        let plain = |verdict: &str| said(exercise(verdict), exercise(verdict));
        assert!(plain("✗ not yet").is_empty());
        assert_one(&plain("✓ doubled"), "the starter must be told ✗");
        assert_one(&plain("nothing"), "the starter must be told ✗");
        assert_one(&plain("✗ and ✓"), "the starter must be told ✗");

        let with_solution = |verdict: &str| {
            let fresh = notebook(exercise(verdict));
            let exercises = fresh.exercises().unwrap();
            let failures = solved(&fresh, &exercises, &places());
            failures.into_iter().map(|failure| failure.what).collect::<Vec<_>>()
        };
        assert!(with_solution("✓ doubled").is_empty());
        assert_one(&with_solution("✗ not yet"), "the solution must be told ✓");
        assert_one(&with_solution("✓ and ✗"), "the solution must be told ✓");
    }

    #[test]
    fn a_cell_that_takes_too_long_fails_even_if_it_was_meant_to_fail() {
        let mut cell = with(code("loop {}", vec![failed("Subprocess terminated")]), json!({"limit": 2}));
        let mut json = notebook(vec![cell.clone()]).json().clone();
        cell["id"] = json!("cell-1");
        cell["metadata"]["execution"] = json!({
            "iopub.status.busy": "2026-01-01T00:00:00.000000Z",
            "shell.execute_reply": "2026-01-01T00:00:02.500000Z",
        });
        json["cells"][1] = cell;
        let fresh = Notebook::parse("folder/a.ipynb".as_ref(), &json.to_string()).unwrap();
        let failures = conduct(&fresh, &places());
        assert_eq!(failures.len(), 1);
        assert!(failures[0].what.contains("longer than the 2 s"), "{failures:?}");
    }

    #[test]
    fn a_machine_path_in_an_output_fails() {
        for path in ["/srv/ann/.cargo", "at /srv/pinlab", "/home/ann/x", "/Users/ann/x", r"C:\Users\ann"] {
            assert_one(&said_of(code("x", vec![printed(path)])), "a place on this machine");
        }
        for text in ["/srv/anna", "/srv/pinlab-course", "/usr/lib", "/rustc/abc/library"] {
            assert!(said_of(code("x", vec![printed(text)])).is_empty(), "{text}");
        }
        let chatter = complained("   Compiling pinlab v0.1.0 (/srv/pinlab/support-crate)\n");
        assert!(said_of(code("x", vec![chatter])).is_empty());
    }

    #[test]
    fn a_notebook_that_was_never_run_is_told_so_once() {
        let mut json = notebook(vec![code("x", vec![])]).json().clone();
        for cell in json["cells"].as_array_mut().unwrap() {
            cell["execution_count"] = Value::Null;
        }
        let bare = Notebook::parse("folder/a.ipynb".as_ref(), &json.to_string()).unwrap();
        let failures = run(&bare, &notebook(vec![code("x", vec![printed("1")])]), &places()).unwrap();
        assert_eq!(failures.len(), 1);
        assert!(failures[0].blessable && failures[0].what.contains("never run"));
    }

    #[test]
    fn a_good_file_passes() {
        assert!(said_of_file(exercise("✗")).is_empty());
    }

    #[test]
    fn another_first_cell_fails() {
        let mut json = notebook(vec![]).json().clone();
        json["cells"][0]["source"] = json!(":cache 512");
        let failures = file(&parse(&json), Path::new("folder"), &places()).unwrap();
        assert!(failures.len() == 1 && failures[0].what.contains("first code cell"), "{failures:?}");
    }

    #[test]
    fn another_format_kernel_or_a_doubled_id_fails() {
        let mut json = notebook(vec![code("x", vec![])]).json().clone();
        json["nbformat_minor"] = json!(4);
        json["metadata"]["kernelspec"]["name"] = json!("evcxr");
        json["cells"][1]["id"] = json!("cell-0");
        let failures = file(&parse(&json), Path::new("folder"), &places()).unwrap();
        assert_eq!(failures.len(), 3, "{failures:?}");
    }

    #[test]
    fn a_tag_without_an_error_and_an_error_without_a_tag_fail() {
        let mut tagged = code("x", vec![]);
        tagged["metadata"]["tags"] = json!(["raises-exception"]);
        assert_one(&said_of_file(vec![tagged]), "names no `error`");
        assert_one(&said_of_file(vec![with(code("x", vec![]), json!({"error": "E0382"}))]), "no tag");
    }

    #[test]
    fn an_exercise_without_one_of_its_parts_fails() {
        for (missing, part) in [(0, "Starter"), (1, "Check"), (2, "Solution")] {
            let mut cells = exercise("✗");
            cells.remove(missing);
            assert_one(&said_of_file(cells), part);
        }
    }

    #[test]
    fn every_link_of_the_readmes_leads_somewhere() {
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for name in ["README.md", "notebooks/README.md"] {
            let path = project.join(name);
            let text = fs::read_to_string(&path).unwrap();
            assert!(markdown::links(&text).len() > 10, "{name} has links");
            assert_eq!(broken_links(&text, &path, path.parent().unwrap()), Vec::<String>::new(), "{name}");
        }
    }

    #[test]
    fn a_link_that_leads_nowhere_fails() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("01-a.ipynb");
        let text = |link: &str| {
            let cells = vec![prose(&format!("# The `first` thing\n\n[next]({link})"))];
            notebook(cells).text()
        };
        let said = |link: &str| {
            fs::write(&path, text(link)).unwrap();
            let failures = file(&Notebook::read(&path).unwrap(), folder.path(), &places()).unwrap();
            failures.into_iter().map(|failure| failure.what).collect::<Vec<_>>()
        };
        for good in ["01-a.ipynb", "01-a.ipynb#The-first-thing", "#The-first-thing", "https://example.org/x"] {
            assert!(said(good).is_empty(), "{good}: {:?}", said(good));
        }
        for bad in ["02-b.ipynb", "01-a.ipynb#Nothing", "#Nothing"] {
            assert_one(&said(bad), "leads nowhere");
        }
    }
}
