//! What the file of a notebook must be, whatever a run says.

use std::path::Path;

use anyhow::Result;
use percent_encoding::percent_decode_str;

use super::judge::{Failure, Places, machine_path, no_verdict};
use super::{again, format, mask, shape};
use crate::markdown;
use crate::notebook::{Cell, FIRST_CELL, Kind, Notebook};

/// What the file must be, whatever a run says. `folder` is where links start from.
pub(super) fn check(notebook: &Notebook, folder: &Path, places: &Places) -> Result<Vec<Failure>> {
    let mut failures = Vec::new();
    let json = notebook.json();
    if (json["nbformat"].as_u64(), json["nbformat_minor"].as_u64()) != (Some(4), Some(5)) {
        failures.push(Failure::whole("it must be in notebook format 4.5"));
    }
    if notebook.says_its_cells() {
        if !notebook.is_of_its_cells() {
            let what = "its cells have changed since its outputs were written";
            failures.push(Failure { blessable: true, ..Failure::whole(what) });
        } else if !notebook.is_written_as(&notebook.tidy()?) {
            let what = "its file is not as a single Run All and --bless would leave it (numbers of cells, names of kernel and language, \
                        form of the JSON)";
            failures.push(Failure { blessable: true, ..Failure::whole(what) });
        }
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
        let kept = cell.outputs.iter().filter_map(|output| output["data"].as_object()).flat_map(|data| data.keys());
        for mime in kept.filter(|mime| mask::LIVE_ONLY.contains(&mime.as_str())) {
            failures.push(Failure {
                blessable: true,
                ..Failure::of(cell, format!("its output keeps {mime}, which is only shown live"))
            });
        }
        failures.extend(machine_path(&cell.outputs, places).map(|what| Failure::of(cell, what)));
        failures.extend(no_verdict(&cell.outputs).map(|what| Failure::of(cell, what)));
    }
    Ok(failures)
}

/// The first cell of every notebook in this folder. A notebook among the support crate's tests finds the crate elsewhere.
fn first_cell(folder: &Path) -> String {
    if folder.ends_with("support-crate/tests") { FIRST_CELL.replace("../support-crate", "..") } else { FIRST_CELL.to_owned() }
}

/// How many places that are not in form are named.
const SHOWN: usize = 3;

/// What runs an answer in a thread of its own, with a limit.
const APART: [&str; 2] = ["pinlab::probe::check(", "in_time("];

/// Whether what a reader writes there is run by the check: it has a body. Such are functions and methods.
fn runs_code(starter: &str) -> bool {
    starter.lines().any(|line| line.split("//").next().is_some_and(|code| code.contains("fn ")))
}

/// What it still lacks of what the course shall have: its form, its length, the first lines of its checks.
pub(super) fn missing(notebook: &Notebook) -> Result<Vec<String>> {
    let mut missing = shape::check(notebook);
    if !notebook.says_its_cells() {
        missing.push("it does not say of which cells its outputs are (--bless)".into());
    }
    for text in notebook.cells.iter().filter(|cell| cell.kind == Kind::Markdown) {
        if asks_without_an_answer(&text.source) {
            missing.push(format!("{}: a prediction without its answer", text.label()));
        }
        missing.extend(mislabelled(&text.source));
    }
    for cell in notebook.code() {
        let kept = again::kept(&cell.source);
        missing.extend(kept.map(|line| format!("{}: it runs only once: a named item must stand above `{line}`", cell.label())));
    }
    let form = format::check(notebook)?;
    missing.extend(form.iter().take(SHOWN).map(|(place, what)| format!("{place}: {what}")));
    if form.len() > SHOWN {
        missing.push(format!("… and {} more places (cargo verify format --check {})", form.len() - SHOWN, notebook.name));
    }
    let exercises = notebook.exercises().unwrap_or_default();
    let says = notebook.cells.first().is_some_and(|title| title.kind == Kind::Markdown && title.source.contains("folded"));
    let folds = |(index, cell): (usize, &Cell)| {
        cell.kind == Kind::Code && cell.hidden && exercises.iter().all(|exercise| exercise.check != index)
    };
    if !says && notebook.cells.iter().enumerate().any(folds) {
        missing.push("it folds cells that are no checks, and its first cell does not say so".into());
    }
    for exercise in exercises {
        let (check, first) = (&notebook.cells[exercise.check], format!("// Check: {}", exercise.name));
        if check.source.lines().next() != Some(first.as_str()) {
            missing.push(format!("{}: a check begins with `{first}`", check.label()));
        }
        if !check.hidden {
            missing
                .push(format!("{}: what a check asks is folded away (\"jupyter\": {{\"source_hidden\": true}})", check.label()));
        }
        if runs_code(&notebook.cells[exercise.starter].source) && !APART.iter().any(|call| check.source.contains(call)) {
            missing.push(format!("{}: an answer may panic or never return: run it with one of {APART:?}", check.label()));
        }
    }
    Ok(missing)
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

/// Links that name another notebook than the one they lead to.
fn mislabelled(text: &str) -> Vec<String> {
    let number = |text: &str| -> Option<String> {
        let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
        (digits.len() == 2).then_some(digits)
    };
    let links = markdown::labelled_links(text).into_iter();
    links
        .filter(|(label, target)| {
            let file = target.split('#').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
            let to = if file.ends_with(".ipynb") { number(file) } else { None };
            number(label).zip(to).is_some_and(|(label, to)| label != to)
        })
        .map(|(label, target)| format!("the link [{label}] leads to {target}"))
        .collect()
}

/// True if a question is asked here whose answer is not folded beside it.
fn asks_without_an_answer(text: &str) -> bool {
    let questions = text.split("\n**Predict.**").skip(usize::from(!text.starts_with("**Predict.**")));
    questions.into_iter().any(|question| !question.contains("<details>"))
}

fn has_anchor(notebook: &Notebook, anchor: &str) -> bool {
    let prose = notebook.cells.iter().filter(|cell| cell.kind == Kind::Markdown);
    prose.flat_map(|cell| markdown::anchors(&cell.source)).any(|name| name == anchor)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::{Value, json};

    use super::super::judge::NO_VERDICT;
    use super::*;
    use crate::crafted::*;

    fn places() -> Places {
        Places::new([Path::new("/srv/pinlab"), Path::new("/srv/ann")])
    }

    fn said_of_file(cells: Vec<Value>) -> Vec<String> {
        let failures = check(&notebook(cells), Path::new("folder"), &places()).unwrap();
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
    fn a_good_file_passes() {
        assert!(said_of_file(exercise("✗")).is_empty());
    }

    #[test]
    fn a_verdict_of_miri_that_nobody_kept_is_found() {
        let mut cells = exercise("✗");
        cells[0]["outputs"] = json!([printed(&format!("{NO_VERDICT}: none is installed."))]);
        assert_one(&said_of_file(cells), "no verdict of Miri is kept");
        assert!(include_str!("../../../support-crate/src/probe/miri.rs").contains(NO_VERDICT), "the crate says it otherwise");
    }

    #[test]
    fn a_check_that_does_not_begin_with_its_exercise_is_found() {
        let missing = missing(&notebook(exercise("✗"))).unwrap();
        assert!(missing.iter().any(|what| what.contains("`// Check: double`")), "{missing:?}");
        let mut cells = exercise("✗");
        cells[1]["source"] = json!("// Check: double\ncheck(double(2) == 4);");
        let missing = super::missing(&notebook(cells)).unwrap();
        assert!(!missing.iter().any(|what| what.contains("begins with")), "{missing:?}");
    }

    #[test]
    fn a_check_that_shows_what_it_asks_is_found() {
        let folded = |cells| missing(&notebook(cells)).unwrap().iter().filter(|what| what.contains("folded away")).count();
        let mut cells = exercise("✗");
        assert_eq!(folded(cells.clone()), 1);
        cells[1]["metadata"]["jupyter"] = json!({"source_hidden": true});
        assert_eq!(folded(cells), 0);
    }

    #[test]
    fn a_check_that_an_answer_could_hang_is_found() {
        let at_risk = |starter: &str, check: &str| {
            let mut cells = exercise("✗");
            cells[0]["source"] = json!(starter);
            cells[1]["source"] = json!(check);
            missing(&notebook(cells)).unwrap().iter().any(|what| what.contains("never return"))
        };
        let function = "fn double(n: u32) -> u32 {\n    n\n}";
        assert!(at_risk(function, "// Check: double\nprintln!(\"✗ {}\", double(2));"));
        assert!(!at_risk(function, "// Check: double\npinlab::probe::check(LIMIT, || format!(\"✗ {}\", double(2)));"));
        assert!(!at_risk("let guess = [true]; // fn", "// Check: double\nprintln!(\"✗ {guess:?}\");"));
    }

    #[test]
    fn a_notebook_that_folds_other_cells_says_so_at_its_top() {
        let mut folded = code("fn helper() {}", vec![]);
        folded["metadata"]["jupyter"] = json!({"source_hidden": true});
        let says = |cells: Vec<Value>| {
            let mut json = notebook(cells).json().clone();
            let title =
                json!({"cell_type": "markdown", "id": "title", "metadata": {}, "source": "# 01 A\n\nSome cells are folded."});
            let before = missing(&parse(&json)).unwrap();
            json["cells"].as_array_mut().unwrap().insert(0, title);
            [before, missing(&parse(&json)).unwrap()].map(|missing| missing.iter().any(|what| what.contains("folds cells")))
        };
        assert_eq!(says(vec![folded]), [true, false]);
        assert_eq!(says(exercise("✗")), [false, false]);
    }

    #[test]
    fn another_first_cell_fails() {
        let mut json = notebook(vec![]).json().clone();
        json["cells"][0]["source"] = json!(":cache 512");
        let failures = check(&parse(&json), Path::new("folder"), &places()).unwrap();
        assert!(failures.iter().any(|failure| failure.what.contains("first code cell")), "{failures:?}");
    }

    #[test]
    fn another_format_kernel_or_a_doubled_id_fails() {
        let mut json = notebook(vec![code("x", vec![])]).json().clone();
        json["nbformat_minor"] = json!(4);
        json["cells"][1]["id"] = json!("cell-0");
        let failures = check(&parse(&json), Path::new("folder"), &places()).unwrap();
        assert_eq!(failures.len(), 2, "{failures:?}");
        json["metadata"]["language_info"]["name"] = json!("rust");
        let as_it_is = Notebook::parse("a.ipynb".as_ref(), &json.to_string()).unwrap();
        let failures = check(&as_it_is, Path::new("folder"), &places()).unwrap();
        assert!(failures.iter().any(|failure| failure.blessable && failure.what.contains("names of kernel")), "{failures:?}");
    }

    #[test]
    fn cells_that_changed_after_the_run_fail() {
        let mut json = notebook(vec![code("x", vec![printed("1")])]).json().clone();
        json["cells"][1]["source"] = json!("y");
        let failures = check(&parse(&json), Path::new("folder"), &places()).unwrap();
        assert!(failures.len() == 1 && failures[0].blessable, "{failures:?}");
        assert!(failures[0].what.contains("have changed since"), "{failures:?}");
    }

    #[test]
    fn what_is_only_shown_live_is_not_kept() {
        let picture = json!({"output_type": "execute_result", "execution_count": 2, "metadata": {},
            "data": {"text/html": "<p/>", "text/plain": "x"}});
        assert_one(&said_of_file(vec![code("x", vec![picture])]), "text/html");
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
            assert_eq!(mislabelled(&text), Vec::<String>::new(), "{name}");
        }
    }

    #[test]
    fn a_link_with_another_notebooks_number_is_found() {
        assert_eq!(mislabelled("[13: The executor](12-a.ipynb#b)"), ["the link [13: The executor] leads to 12-a.ipynb#b"]);
        assert!(mislabelled("[12](notebooks/12-a.ipynb) [here](12-a.ipynb) [2024](12-a.ipynb) [13](https://a.b/12)").is_empty());
    }

    #[test]
    fn a_prediction_without_an_answer_is_found() {
        let answer = "<details><summary>Answer</summary>\n\nYes.\n\n</details>";
        assert!(
            !asks_without_an_answer(&format!("**Predict.** *Does it?*\n\n{answer}")) && !asks_without_an_answer("No question.")
        );
        assert!(asks_without_an_answer("**Predict.** *Does it?*"));
        assert!(asks_without_an_answer(&format!("Text.\n\n**Predict.** One?\n\n**Predict.** Two?\n\n{answer}")));
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
            let failures = check(&Notebook::read(&path).unwrap(), folder.path(), &places()).unwrap();
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
