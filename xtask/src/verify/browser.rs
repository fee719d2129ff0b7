//! The course in a real browser: JupyterLab in Chromium, as a reader has it, on a copy of the notebooks.
//!
//! ```text
//! a copy of notebooks/ ── JupyterLab ── Chromium ── WebDriver ── here
//! ```
//!
//! Each notebook is opened and run; what it shows is held to the same rules as elsewhere ([`judge`]). One of them is then edited,
//! restarted, interrupted and reloaded in the middle of a run. What is asked of its figures: [`figures`]. Of those who
//! cannot see them, or see them badly: [`access`].

pub(super) mod access;
mod figures;
mod lab;
pub(super) mod webdriver;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use pinlab_kernel::session;
use serde_json::json;

use super::judge::{self, Places};
use super::{Tally, outcome};
use crate::notebook::{self, Notebook, Role};
use crate::setup;
use crate::ui::Ui;
use lab::Page;
use webdriver::Browser;

/// The notebooks of the short form: one with cells that fail on purpose, one with pictures and exercises.
const SHORT: [&str; 2] = ["00", "02"];

/// The notebook that is edited, interrupted and reloaded, and looked at in both themes.
const MODEL: &str = "02";

/// What is taken from a reader's hands, in this order: the page is left as the next one needs it.
type Check = fn(&Page<'_>, &Notebook) -> Result<()>;
const READER: [(&str, Check); 7] = [
    ("how long a cell has run is shown", seconds),
    ("no line is lost, or in the wrong cell", lines),
    ("a cell is added and edited", edit),
    ("an exercise is solved", solve),
    ("a cell is interrupted", interrupt),
    ("the kernel is restarted", restart),
    ("the page is loaded again in the middle of a run", reload),
];

/// Runs the short form, or `all`. Where there is no browser nothing is counted.
pub(super) fn run(ui: &Ui, project: &Path, all: bool) -> Result<Tally> {
    let mut tally = Tally::default();
    let Some(driver) = webdriver::find_driver() else {
        ui.say("skip    the browser  (no chromedriver; to get it: Debian's packages chromium and chromium-driver, or your system's equal)");
        return Ok(tally);
    };
    let lab = setup::ensure(ui, project)?;
    let copy = copy(project)?;
    let home = etcetera::home_dir().ok();
    let places = Places::new([Some(project), home.as_deref()].into_iter().flatten());
    let server = lab::Jupyter::start(&lab, project, copy.path())?;
    let browser = Browser::start(driver)?;
    let page = Page::new(&browser, &server)?;

    let mut check = |what: &str, check: &dyn Fn() -> Result<()>| {
        let activity = ui.start(&format!("in the browser: {what}"));
        let result = check();
        let seconds = activity.end();
        let mut details = String::new();
        if let Err(error) = &result {
            details = format!("  {}", format!("{error:#}").replace('\n', "\n  "));
            if let Ok(picture) = keep_picture(project, &browser, what) {
                details.push_str(&format!("\n  what was to be seen: {}", picture.display()));
            }
        }
        outcome(ui, result.is_ok(), &format!("in the browser: {what}"), seconds, &details);
        tally.count(result.is_ok());
    };
    check("who has no token, or comes by another name, is refused", &|| server.refuses_strangers());
    check("a script in a notebook that somebody has put there does not run", &|| planted(&page, copy.path()));
    for path in notebook::list(&project.join("notebooks"))? {
        let notebook = Notebook::read(&path)?;
        if !all && !SHORT.iter().any(|start| notebook.name.starts_with(start)) {
            continue;
        }
        check(&format!("{} is opened and run", notebook.name), &|| open_and_run(&page, &notebook, &places));
        check(&format!("{}: its figures can be read", notebook.name), &|| figures::readable(&page));
        if notebook.name.starts_with(MODEL) {
            figures::CHECKS.iter().for_each(|(what, figure)| check(what, &|| figure(&page)));
            for theme in access::THEMES {
                if let Some(axe) = access::axe(ui, project)? {
                    check(&format!("{} in {theme}, by axe", notebook.name), &|| access::check(&page, &axe, theme));
                }
            }
            check("figures are there when it is opened again, trusted or not", &|| {
                figures::opened_again(&page, &notebook, copy.path())
            });
            page.run_all()?; // what is not trusted stays so until it is run
            READER.iter().for_each(|(what, reader)| check(what, &|| reader(&page, &notebook)));
        }
        page.close()?;
    }
    Ok(tally)
}

/// A copy of the notebooks, beside them: their first cell finds the support crate where it is.
fn copy(project: &Path) -> Result<tempfile::TempDir> {
    let copy = tempfile::Builder::new().prefix("browser-test.").tempdir_in(project)?;
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        fs::create_dir_all(copy.path().join(&folder))?;
        for entry in fs::read_dir(project.join("notebooks").join(&folder))? {
            let entry = entry?;
            let below = folder.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                folders.push(below);
            } else {
                session::copy_file(&entry.path(), &copy.path().join(&below))
                    .with_context(|| format!("cannot copy {}", below.display()))?;
            }
        }
    }
    Ok(copy)
}

fn keep_picture(project: &Path, browser: &Browser, what: &str) -> Result<PathBuf> {
    let folder = project.join("target").join("browser-test");
    fs::create_dir_all(&folder)?;
    let name: String = what.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
    let path = folder.join(format!("{name}.png"));
    browser.screenshot(&path)?;
    Ok(path)
}

fn open_and_run(page: &Page<'_>, committed: &Notebook, places: &Places) -> Result<()> {
    page.open(&committed.name)?;
    ensure!(!page.is_dirty()?, "it is changed by being opened");
    page.run_all()?;
    let shown = page.notebook(committed)?;
    let mut wrong: Vec<String> = Vec::new();
    for cell in shown.code() {
        let failures = judge::conduct(cell, &cell.outputs, places).into_iter();
        wrong.extend(failures.map(|failure| format!("{}: {}", cell.label(), failure.what)));
    }
    for exercise in shown.exercises()? {
        let check = &shown.cells[exercise.check];
        wrong.extend(judge::verdict(&check.outputs, false).map(|why| format!("{}: {why}", check.label())));
    }
    wrong
        .extend(page.pictures_that_are_not_there()?.into_iter().map(|cell| format!("the picture of cell [{cell}] is not there")));
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// A notebook with an output that runs a script, if it may.
fn planted(page: &Page<'_>, folder: &Path) -> Result<()> {
    let output = json!({"output_type": "display_data", "metadata": {},
        "data": {"text/html": "<b>planted</b><script>window.pinlabPlanted = true</script><img src=x onerror='window.pinlabPlanted = true'>"}});
    let text = json!({
        "cells": [{"cell_type": "code", "id": "planted", "metadata": {}, "execution_count": 1, "outputs": [output], "source": "1"}],
        "metadata": {"kernelspec": {"name": "rust", "display_name": "Rust", "language": "rust"}}, "nbformat": 4, "nbformat_minor": 5,
    });
    fs::write(folder.join("99-planted.ipynb"), text.to_string())?;
    page.open("99-planted")?;
    let ran = page
        .script("await new Promise(resolve => setTimeout(resolve, 1000)); return window.pinlabPlanted === true", json!(null))?;
    page.close()?;
    ensure!(ran == false, "it has run");
    Ok(())
}

fn seconds(page: &Page<'_>, _: &Notebook) -> Result<()> {
    page.type_and_run("std::thread::sleep(Duration::from_millis(1200));")?;
    let shown = page.script(
        "return [...document.querySelectorAll('.execute-time')].map(line => line.textContent).join('\\n')",
        json!(null),
    )?;
    let shown = shown.as_str().unwrap_or_default();
    ensure!(shown.lines().any(|line| line.contains("1.") && line.contains('s')), "it shows:\n{shown}");
    Ok(())
}

/// How often each of the cells is run whose lines the kernel alone loses more often than not.
const TIMES: usize = 10;

/// What such cells print, by JupyterLab's own client: all of it, each line in its cell, a panic after what came before it.
fn lines(page: &Page<'_>, _: &Notebook) -> Result<()> {
    let times = std::env::var("PINLAB_TIMES").ok().and_then(|times| times.parse().ok()).unwrap_or(TIMES);
    let mut wrong = Vec::new();
    for number in 0..times {
        let panicked = format!("panicked at line 1 of this cell: boom {number}\n");
        let cells = json!([
            [format!("panic!(\"boom {number}\")"), panicked, ""],
            [
                format!("{{ println!(\"a {number}\"); eprintln!(\"b {number}\"); }};"),
                format!("a {number}\n"),
                format!("b {number}\n")
            ],
            [
                format!(
                    "println!(\"first {number}\"); eprintln!(\"error {number}\"); println!(\"second {number}\"); panic!(\"boom {number}\");"
                ),
                format!("first {number}\nsecond {number}\n{panicked}"),
                format!("error {number}\n"),
            ],
        ]);
        let found = page.run_aside(cells)?;
        wrong.extend(found.as_array().into_iter().flatten().map(ToString::to_string));
    }
    ensure!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), 3 * times, wrong.join("\n"));
    Ok(())
}

fn edit(page: &Page<'_>, _: &Notebook) -> Result<()> {
    // Brackets and quotation marks close themselves: the letters that close them are typed over.
    let said = page.type_and_run("let edited = 6 * 7;\nprintln!(\"edited {edited}\");")?;
    ensure!(said.contains("edited 42"), "it shows:\n{said}");
    Ok(())
}

fn solve(page: &Page<'_>, notebook: &Notebook) -> Result<()> {
    let exercises = notebook.exercises()?;
    let exercise = exercises.first().context("it has an exercise")?;
    let index = |role: Role| exercise.cell(role).context("an exercise has code");
    page.replace_and_run(index(Role::Starter)?, Some(&exercise.solution))?;
    let said = page.replace_and_run(index(Role::Check)?, None)?;
    ensure!(said.contains('✓') && !said.contains('✗'), "the check says:\n{said}");
    Ok(())
}

fn interrupt(page: &Page<'_>, _: &Notebook) -> Result<()> {
    let started = Instant::now();
    let said = page.type_run_and_interrupt("loop { std::hint::spin_loop() }")?;
    ensure!(started.elapsed().as_secs() < 30, "it took {:.0} s", started.elapsed().as_secs_f64());
    ensure!(!said.contains("finished"), "it shows:\n{said}");
    // What runs all cells later must not run this one.
    page.empty_last()?;
    let after = page.type_and_run("println!(\"after the interrupt\");")?;
    ensure!(after.contains("after the interrupt"), "the next cell shows:\n{after}");
    Ok(())
}

fn restart(page: &Page<'_>, notebook: &Notebook) -> Result<()> {
    page.restart()?;
    let first = notebook.code().next().context("it has a first cell")?;
    page.replace_and_run(first.index, None)?;
    let said = page.type_and_run("println!(\"after the restart\");")?;
    ensure!(said.contains("after the restart"), "it shows:\n{said}");
    Ok(())
}

fn reload(page: &Page<'_>, notebook: &Notebook) -> Result<()> {
    page.start_run_all()?;
    page.reload(&notebook.name)?;
    // Whatever was still to run has gone with the page, or has ended. A new cell must work, and no picture of a busy kernel stay.
    let said = page.type_and_run("println!(\"after the reload\");")?;
    ensure!(said.contains("after the reload"), "it shows:\n{said}");
    page.wait_until_idle()
}
