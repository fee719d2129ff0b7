//! The rules a notebook is held to: what a run must show.
//!
//! A panic is no error to Jupyter, and a cell that should have failed but did not is no error to anybody; so the runner lets
//! every cell run and judges the outputs here.

use std::path::Path;
use std::sync::LazyLock;

use anyhow::Result;
use regex::Regex;
use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use super::mask;
use crate::notebook::{Cell, Notebook};
use crate::outputs::{Section, sections};

/// Something that does not hold.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Failure {
    /// The cell, as [`Cell::label`] names it; `None` for the notebook as a whole.
    pub(crate) cell: Option<String>,
    pub(crate) what: String,
    /// True if all that is wrong is that the outputs differ from the committed ones: `--bless` cures that.
    pub(crate) blessable: bool,
}

impl Failure {
    pub(crate) fn of(cell: &Cell, what: impl Into<String>) -> Self {
        Self { cell: Some(cell.label()), what: what.into(), blessable: false }
    }

    pub(crate) fn whole(what: impl Into<String>) -> Self {
        Self { cell: None, what: what.into(), blessable: false }
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

/// What a plain run must show: every cell does what it says, every starter gets a ✗, and the outputs are the committed ones.
pub(crate) fn run(committed: &Notebook, fresh: &Notebook, places: &Places) -> Result<Vec<Failure>> {
    let mut failures: Vec<Failure> = fresh.code().flat_map(|cell| conduct(cell, &cell.outputs, places)).collect();
    for exercise in fresh.exercises()? {
        let check = &fresh.cells[exercise.check];
        failures
            .extend(verdict(&check.outputs, false).map(|why| Failure::of(check, format!("with the starter as it is, {why}"))));
    }
    if never_run(committed) {
        failures.push(Failure { blessable: true, ..Failure::whole("it was never run: its outputs are not in the file") });
        return Ok(failures);
    }
    // What a cell that misbehaves shows is said above.
    let said: Vec<_> = failures.iter().map(|failure| failure.cell.clone()).collect();
    failures.extend(differences(committed, fresh)?.into_iter().filter(|failure| !said.contains(&failure.cell)));
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
            failures.push(Failure { blessable: true, ..Failure::of(cell, what) });
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

/// What holds of a cell in any run.
pub(crate) fn conduct(cell: &Cell, outputs: &[Value], places: &Places) -> Vec<Failure> {
    let texts = sections(outputs);
    let mut wrong: Vec<String> = Vec::new();
    if cell.late {
        wrong.push(format!("it took longer than the {} s it may take", cell.limit()));
    }
    match (cell.meant_to_fail, failure(&texts)) {
        (false, Some((how, text))) if !cell.late => wrong.push(format!("it {how}:\n{}", text.trim())),
        (false, None) if texts.iter().any(|section| section.title == "stderr") => {
            wrong.push("it writes to stderr, which keeps no order with stdout: print it to stdout".into());
        }
        (true, None) => wrong.push("it is tagged `raises-exception`, but nothing in it failed".into()),
        (true, Some(_)) => {
            // A cell may have several errors; in which order they come is the compiler's affair.
            let named = |code: &str| {
                let of_one = |section| failure(std::slice::from_ref(section)).is_some_and(|(_, text)| text.contains(code));
                texts.iter().any(of_one)
            };
            if let Some(code) = cell.rules.error.as_ref().filter(|code| !named(code)) {
                let said: Vec<_> = texts.iter().map(|section| section.text.trim()).collect();
                wrong.push(format!("it must fail with `{code}`, but says:\n{}", said.join("\n")));
            }
        }
        _ => {}
    }
    wrong.extend(machine_path(outputs, places));
    wrong.into_iter().map(|what| Failure::of(cell, what)).collect()
}

/// How a cell that shows these texts has failed, if it has, and what it says of that.
pub(crate) fn failure(texts: &[Section]) -> Option<(&'static str, &str)> {
    static PANIC: LazyLock<Regex> = LazyLock::new(|| {
        // As the front's hook says it, and as the standard library does.
        Regex::new(r"(?m)^(?:.* )?panicked at (?:line \d+ of this cell|`.*`|a place that is not known|[\w./\\-]+:\d+)")
            .expect("the pattern is ours and is tested")
    });
    let error = texts.iter().find(|section| section.title == "error").map(|section| ("fails", section));
    let panic =
        || texts.iter().find(|section| ["stdout", "stderr"].contains(&section.title.as_str()) && PANIC.is_match(&section.text));
    let (how, section) = error.or_else(|| panic().map(|section| ("panics", section)))?;
    let crashed = how == "fails" && section.text.contains("Subprocess terminated");
    Some((if crashed { "crashes" } else { how }, &section.text))
}

/// What is wrong with what a check says of an answer that is right, or of one that is not.
pub(crate) fn verdict(outputs: &[Value], right: bool) -> Option<String> {
    let said: String = sections(outputs).into_iter().map(|section| section.text + "\n").collect();
    let (wanted, unwanted) = if right { ('✓', '✗') } else { ('✗', '✓') };
    (!said.contains(wanted) || said.contains(unwanted))
        .then(|| format!("the check must say {wanted}, but says:\n{}", said.trim()))
}

/// Says where an output names a place on this machine.
pub(super) fn machine_path(outputs: &[Value], places: &Places) -> Option<String> {
    let found = sections(outputs).iter().find_map(|section| places.find(&section.text))?;
    Some(format!("its output names a place on this machine: {found}"))
}

/// How the crate begins to say that it has no verdict of Miri.
pub(super) const NO_VERDICT: &str = "Miri cannot be asked here";

/// A verdict of Miri that is missing: readers without Miri would see none.
pub(super) fn no_verdict(outputs: &[Value]) -> Option<&'static str> {
    let missing = |section: &Section| section.text.contains(NO_VERDICT);
    sections(outputs).iter().any(missing).then_some(
        "no verdict of Miri is kept for its snippet: PINLAB_MIRI=refresh cargo verify notebooks NN --bless, and delete the file in \
         notebooks/miri that kept the one for its old text",
    )
}

/// True if the notebook is as its author wrote it: no run has left anything in it.
pub(crate) fn never_run(notebook: &Notebook) -> bool {
    notebook.code().all(|cell| cell.outputs.is_empty() && cell.execution_count.is_none())
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

    #[track_caller]
    fn assert_one(said: &[String], text: &str) {
        assert!(said.len() == 1 && said[0].contains(text), "wanted one failure with {text:?}, got {said:#?}");
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
        let both = vec![failed("[E0505] Error: borrowed"), failed("[E0515] Error: returned")];
        assert!(said_of(meant_to_fail(code("x", both), "E0515")).is_empty(), "in whatever order they come");
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
        assert_one(&plain("✓ doubled"), "the check must say ✗");
        assert_one(&plain("nothing"), "the check must say ✗");
        assert_one(&plain("✗ and ✓"), "the check must say ✗");
        assert_eq!(verdict(&[printed("✓ doubled")], true), None);
        for wrong in ["✗ not yet", "✓ and ✗", ""] {
            assert!(verdict(&[printed(wrong)], true).unwrap().contains("must say ✓"), "{wrong}");
        }
    }

    #[test]
    fn the_ways_to_fail_are_told_apart() {
        let how = |output: Value| failure(&sections(&[output])).map(|(how, _)| how);
        assert_eq!(how(failed("[E0382] Error: moved")), Some("fails"));
        assert_eq!(how(failed("Subprocess terminated with status: signal: 11 (SIGSEGV)")), Some("crashes"));
        assert_eq!(how(complained("thread '<unnamed>' (7) panicked at src/lib.rs:9:1:\nboom")), Some("panics"));
        for said in [
            "before\npanicked at line 3 of this cell: boom",
            "a thread panicked at `v[k]` (of an earlier cell): boom",
            "panicked at core/src/a.rs:7: boom",
        ] {
            assert_eq!(how(printed(said)), Some("panics"), "{said}");
        }
        assert_eq!(how(printed("the task panicked at once\nit panicked: boom")), None);
    }

    #[test]
    fn a_cell_that_takes_too_long_fails_even_if_it_was_meant_to_fail() {
        let mut cell = notebook(vec![with(code("loop {}", vec![]), json!({"limit": 2}))]).cells[1].clone();
        cell.late = true;
        let failures = conduct(&cell, &[failed("Subprocess terminated")], &places());
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
}
