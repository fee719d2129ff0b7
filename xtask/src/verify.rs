//! `cargo verify`: everything that must hold, counted.
//!
//! Each check is one line, `ok` or `FAILED`, with its time; a failed one is followed by what was seen. The last line is
//! always `N passed, N failed` and nothing else.

mod again;
mod answers;
mod bless;
mod book;
mod browser;
mod chosen;
mod edits;
mod equal_names;
mod folded;
pub(crate) mod format;
mod judge;
mod mask;
mod miri;
mod mutator;
mod notebooks;
mod odd_folders;
mod page;
mod planted;
mod shape;
mod steps;
mod targets;
mod terms;
mod trials;
mod waits;

use std::path::Path;

use anyhow::Result;

use crate::ui::Ui;

/// What to verify.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Formatting, lints, documentation and tests of all packages.
    pub(crate) crates: bool,
    /// What takes long: of the crates the steps of [`steps::FULL`], of notebooks cells under Miri, and changed ones.
    pub(crate) full: bool,
    /// Run notebooks: all if the list is empty, else those whose names begin with one of these.
    pub(crate) notebooks: Option<Vec<String>>,
    /// How often each notebook is run as it is.
    pub(crate) times: usize,
    /// Write outputs back where they differ.
    pub(crate) bless: bool,
    /// Open notebooks in a real browser.
    pub(crate) browser: Option<Browser>,
    /// Of the notebooks, try the answers and nothing else.
    pub(crate) only_answers: bool,
}

/// How many cells are changed and run by `--full`, over all notebooks.
pub(crate) const MUTATIONS: usize = 200;

/// How much is tried in a browser.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Browser {
    /// Two notebooks, and all that a reader may do in one of them.
    Short,
    /// All notebooks.
    All,
}

/// How many checks passed and how many did not.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
}

impl Tally {
    pub(crate) fn count(&mut self, passed: bool) {
        if passed {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// Verifies all of `plan`; true if everything passed.
pub(crate) fn verify(project: &Path, plan: &Plan) -> Result<bool> {
    let ui = Ui::new();
    let mut tally = Tally::default();
    if plan.crates {
        tally.add(steps::run(&ui, project, steps::CRATES)?);
    }
    let mut times = String::new();
    if let Some(wanted) = &plan.notebooks {
        // Where there is a browser, it runs each in a kernel of its own.
        let apart = plan.full && (plan.browser != Some(Browser::All) || browser::webdriver::find_driver().is_none());
        let (notebooks, table) = notebooks::run(
            &ui,
            project,
            wanted,
            notebooks::Wish { times: plan.times, bless: plan.bless, only_answers: plan.only_answers, apart },
        )?;
        tally.add(notebooks);
        times = table;
    }
    if let Some(browser) = plan.browser {
        tally.add(browser::run(&ui, project, browser == Browser::All)?);
    }
    if plan.full && plan.crates {
        tally.add(steps::run_side_by_side(&ui, project, steps::FULL)?);
    }
    if let Some(wanted) = plan.notebooks.as_ref().filter(|_| plan.full) {
        tally.add(miri::run(&ui, project, wanted)?);
        tally.add(mutator::run(&ui, project, wanted, MUTATIONS, fastrand::u64(..))?);
        if wanted.is_empty() {
            tally.add(as_readers_do(&ui, project, fastrand::u64(..))?);
        }
    }
    if !times.is_empty() {
        ui.say(format!("\n{times}"));
    }
    ui.say(format!("{} passed, {} failed", tally.passed, tally.failed));
    Ok(tally.failed == 0)
}

/// Verifies the book that was made.
pub(crate) fn book(project: &Path) -> Result<bool> {
    let ui = Ui::new();
    let tally = book::run(&ui, project)?;
    ui.say(format!("{} passed, {} failed", tally.passed, tally.failed));
    Ok(tally.failed == 0)
}

/// Runs the cells of these notebooks under Miri that say what it must say of them, and nothing else.
pub(crate) fn under_miri(project: &Path, names: &[String]) -> Result<bool> {
    let ui = Ui::new();
    let tally = miri::run(&ui, project, names)?;
    ui.say(format!("{} passed, {} failed", tally.passed, tally.failed));
    Ok(tally.failed == 0)
}

/// Runs changed cells of these notebooks, and nothing else; true if the lab survived them.
pub(crate) fn mutate(project: &Path, names: &[String], times: usize, seed: Option<u64>) -> Result<bool> {
    let ui = Ui::new();
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    let mut tally = mutator::run(&ui, project, names, times, seed)?;
    if names.is_empty() || times == 0 {
        tally.add(as_readers_do(&ui, project, seed)?);
    }
    ui.say(format!("{} passed, {} failed", tally.passed, tally.failed));
    Ok(tally.failed == 0)
}

/// What readers do, and what is done to them, that is not up to chance but for the names: 200 items of equal names, odd folders, a notebook that somebody
/// has planted, cells that wait for ever, changes that once made a sentence false.
fn as_readers_do(ui: &Ui, project: &Path, seed: u64) -> Result<Tally> {
    let mut tally = equal_names::run(ui, project, seed)?;
    tally.add(odd_folders::run(ui, project)?);
    tally.add(planted::run(ui, project)?);
    tally.add(waits::run(ui, project)?);
    tally.add(edits::run(ui, project)?);
    Ok(tally)
}

/// Verifies that the code holds on other systems, as far as this machine can tell.
pub(crate) fn targets(project: &Path) -> Result<bool> {
    let ui = Ui::new();
    let tally = targets::run(&ui, project)?;
    ui.say(format!("{} passed, {} failed", tally.passed, tally.failed));
    Ok(tally.failed == 0)
}

/// The line that says how a check ended.
fn outcome(ui: &Ui, passed: bool, what: &str, seconds: f64, details: &str) {
    let word = if passed { "ok    " } else { "FAILED" };
    ui.say(format!("{word}  {what}  ({seconds:.1} s)"));
    if !details.is_empty() {
        ui.say(details.trim_end());
    }
}
