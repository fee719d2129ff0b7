//! Runs notebooks side by side, each in kernels of its own, and reports what does not hold.
//!
//! A notebook is run twice if it has exercises: as it is, and with the solutions in the starters' places.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, mpsc};
use std::thread;

use anyhow::{Context, Result, bail};

use super::{Tally, outcome};
use crate::bless::bless;
use crate::judge::{self, Failure, Places};
use crate::notebook::{self, Exercise, Notebook};
use crate::runner;
use crate::setup::{self, Lab};
use crate::ui::Ui;

/// What a kernel needs at most, measured: 650 to 770 MB.
const KERNEL_BYTES: u64 = 800 << 20;

/// How often a notebook is run before what the kernel has spoilt counts as a failure.
const TRIES: usize = 3;

/// How many lines of one failure are shown.
const LINES: usize = 60;

/// One run of one notebook.
#[derive(Debug)]
struct Job {
    committed: Notebook,
    /// The exercises that are solved in this run; `None` for the plain run.
    solved: Option<Vec<Exercise>>,
}

/// What came of a [`Job`].
#[derive(Debug)]
struct Verdict {
    failures: Vec<Failure>,
    /// Seconds and label of every cell of a plain run.
    times: Vec<(f64, String)>,
    seconds: f64,
    /// Set if `--bless` rewrote the file.
    blessed: bool,
}

/// Runs the notebooks whose names begin with one of `wanted` (all, if it is empty), `times` over; returns the count and the table of times.
pub(super) fn run(ui: &Ui, project: &Path, wanted: &[String], times: usize, bless: bool) -> Result<(Tally, String)> {
    // The course, and the notebooks that test what only a real kernel can.
    let mut paths = notebook::list(&project.join("notebooks"))?;
    paths.extend(notebook::list(&project.join("support-crate").join("tests"))?);
    let paths = select(&paths, wanted)?;
    let lab = setup::ensure(ui, project)?;
    let home = etcetera::home_dir().ok();
    let places = Places::new([Some(project), home.as_deref()].into_iter().flatten());

    let mut tally = Tally::default();
    let mut jobs = VecDeque::new();
    for path in &paths {
        match Notebook::read(path) {
            Ok(committed) => {
                // A notebook whose exercises are malformed is still run once, and is told so by its plain run.
                let exercises = committed.exercises().unwrap_or_default();
                jobs.extend((0..times).map(|_| Job { committed: committed.clone(), solved: None }));
                if !exercises.is_empty() {
                    jobs.push_back(Job { committed, solved: Some(exercises) });
                }
            }
            Err(error) => {
                outcome(ui, false, &path.display().to_string(), 0.0, &format!("{error:#}"));
                tally.count(false);
            }
        }
    }

    let workers = workers(jobs.len());
    let queue = Mutex::new(jobs);
    // Two kernels that fetch the same crate from the compile cache at once can make each other fail (the cache counts its
    // uses in a file without a lock), so first cells, which fetch, take turns.
    let first_cell = Mutex::new(());
    let mut cell_times: BTreeMap<String, Vec<(f64, String)>> = BTreeMap::new();
    thread::scope(|scope| -> Result<()> {
        let (sender, verdicts) = mpsc::channel();
        for _ in 0..workers {
            let sender = sender.clone();
            let (queue, first_cell, lab, places) = (&queue, &first_cell, &lab, &places);
            scope.spawn(move || {
                loop {
                    let Some(job) = queue.lock().expect("no holder panics").pop_front() else {
                        break;
                    };
                    let verdict = judge_run(ui, lab, places, first_cell, &job, bless);
                    if sender.send((job, verdict)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        for (job, verdict) in verdicts {
            let verdict = verdict.with_context(|| format!("while running {}", job.committed.name))?;
            report(ui, &job, &verdict);
            tally.add(count(&job, &verdict));
            if job.solved.is_none() && !verdict.times.is_empty() {
                cell_times.entry(job.committed.name).or_default().extend(verdict.times);
            }
        }
        Ok(())
    })?;
    Ok((tally, table(&cell_times)))
}

/// The notebooks of the course whose names begin with one of `wanted`, or all.
pub(super) fn course(project: &Path, wanted: &[String]) -> Result<Vec<PathBuf>> {
    select(&notebook::list(&project.join("notebooks"))?, wanted)
}

fn select(paths: &[PathBuf], wanted: &[String]) -> Result<Vec<PathBuf>> {
    let name = |path: &PathBuf| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    if paths.is_empty() {
        bail!("there are no notebooks in notebooks/");
    }
    for prefix in wanted {
        if !paths.iter().any(|path| name(path).starts_with(prefix.trim_end_matches(".ipynb"))) {
            let names: Vec<String> = paths.iter().map(name).collect();
            bail!("no notebook's name begins with `{prefix}`; there are:\n  {}", names.join("\n  "));
        }
    }
    let is_wanted = |path: &&PathBuf| {
        wanted.is_empty() || wanted.iter().any(|prefix| name(path).starts_with(prefix.trim_end_matches(".ipynb")))
    };
    Ok(paths.iter().filter(is_wanted).cloned().collect())
}

/// How many kernels run side by side: one a core, as far as memory goes.
fn workers(jobs: usize) -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let by_memory = available_memory().map_or(usize::MAX, |bytes| (bytes / KERNEL_BYTES) as usize);
    cores.min(by_memory).min(jobs).max(1)
}

/// Free memory in bytes, where the system says so in a file (Linux); elsewhere cores alone decide.
fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemAvailable:"))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes * 1024)
}

fn judge_run(ui: &Ui, lab: &Lab, places: &Places, first_cell: &Mutex<()>, job: &Job, bless_it: bool) -> Result<Verdict> {
    let committed = &job.committed;
    let folder = committed.path.parent().context("a notebook is in a folder")?;
    let notebook = if job.solved.is_some() { committed.solved()? } else { committed.clone() };
    let cells = notebook.code().count();
    let execute = || -> Result<_> {
        let mut turn = Some(first_cell.lock().expect("no holder panics"));
        let activity = ui.start(&title(job));
        let run = runner::execute(lab, &notebook, folder, |index| {
            let number = notebook.cells[index].number.unwrap_or_default();
            if number > 1 {
                turn.take();
            }
            activity.tell(&format!("cell {number} of {cells}"));
        })?;
        Ok((run, activity.end()))
    };
    let execute = || -> Result<_> {
        for _ in 1..TRIES {
            let (run, seconds) = execute()?;
            let spoilt = match &run {
                Ok(fresh) => spoilt(job, fresh, places)?,
                Err(_) => None,
            };
            let Some(why) = spoilt else { return Ok((run, seconds)) };
            ui.say(format!("again   {}  ({why})", title(job)));
        }
        execute()
    };
    let (run, mut seconds) = execute()?;
    let mut verdict = Verdict { failures: Vec::new(), times: Vec::new(), seconds, blessed: false };
    let mut fresh = match run {
        Ok(fresh) => fresh,
        Err(death) => {
            verdict.failures.push(died(committed, &death));
            return Ok(verdict);
        }
    };
    if let Some(exercises) = &job.solved {
        verdict.failures = judge::solved(&fresh, exercises, places);
        return Ok(verdict);
    }
    verdict.times = fresh.code().filter_map(|cell| Some((cell.seconds?, cell.label()))).collect();
    verdict.failures = judge::run(committed, &fresh, places)?;
    let to_bless = bless_it && verdict.failures.iter().all(|failure| failure.blessable);
    if to_bless && !verdict.failures.is_empty() {
        // What becomes the expectation must hold of another run, too. In one of the two a place may have come back by chance, or the kernel
        // may have cut it short: then the other one will do.
        let (again, more) = execute()?;
        seconds += more;
        match again {
            Err(death) => verdict.failures = vec![died(committed, &death)],
            Ok(again) => {
                let only_cut = |failures: &[Failure]| failures.iter().all(|failure| failure.cut_short);
                verdict.failures = judge::differences(&fresh, &again)?;
                if only_cut(&verdict.failures) {
                    verdict.failures.clear();
                } else if only_cut(&judge::differences(&again, &fresh)?) {
                    (fresh, verdict.failures) = (again, Vec::new());
                }
            }
        }
        verdict.seconds = seconds;
        if !verdict.failures.is_empty() {
            let unsteady = |failure: &Failure| Failure { blessable: false, ..failure.clone() };
            verdict.failures = verdict.failures.iter().map(unsteady).collect();
            verdict.failures.push(Failure::whole("two runs differ (- one, + the other): nothing was written back"));
            return Ok(verdict);
        }
    }
    if to_bless {
        let blessed = bless(committed, &fresh)?;
        verdict.failures = judge::file(&blessed, folder, places)?;
        if verdict.failures.is_empty() && !committed.is_written_as(&blessed) {
            blessed.write()?;
            verdict.blessed = true;
        }
    } else {
        verdict.failures.extend(judge::file(committed, folder, places)?);
        if !judge::never_run(committed) && !committed.is_written_as(&committed.tidy()?) {
            let what = "its file is not as a single Run All and --bless would leave it (numbers of cells, form of the JSON)";
            verdict.failures.push(Failure { blessable: true, ..Failure::whole(what) });
        }
    }
    Ok(verdict)
}

/// What the kernel has done to a run that says nothing about the notebook.
fn spoilt(job: &Job, fresh: &Notebook, places: &Places) -> Result<Option<String>> {
    if judge::set_up_broke(fresh) {
        return Ok(Some("a dependency's build script broke in its first cell, as it can on a busy machine".into()));
    }
    let failures = match &job.solved {
        Some(exercises) => judge::solved(fresh, exercises, places),
        None => judge::run(&job.committed, fresh, places)?,
    };
    let all_cut = !failures.is_empty() && failures.iter().all(|failure| failure.cut_short);
    let cells: Vec<&str> = failures.iter().filter_map(|failure| failure.cell.as_deref()).collect();
    Ok(all_cut.then(|| format!("the kernel did not wait for the last lines of {}", cells.join("; "))))
}

fn died(committed: &Notebook, death: &runner::Death) -> Failure {
    Failure {
        cell: death.cell.map(|index| committed.cells[index].label()),
        what: format!("the kernel died here, and the cells after it were not run:\n{}", death.message),
        blessable: false,
        cut_short: false,
    }
}

fn title(job: &Job) -> String {
    match &job.solved {
        None => job.committed.name.clone(),
        Some(_) => format!("{} with solutions", job.committed.name),
    }
}

/// A plain run is one check. With solutions, each exercise is one; and the run itself, if something besides them failed.
fn count(job: &Job, verdict: &Verdict) -> Tally {
    let mut tally = Tally::default();
    let Some(exercises) = &job.solved else {
        tally.count(verdict.failures.is_empty());
        return tally;
    };
    let mut others = verdict.failures.len();
    for exercise in exercises {
        let check = job.committed.cells[exercise.check].label();
        let failed = verdict.failures.iter().filter(|failure| failure.cell.as_ref() == Some(&check)).count();
        others -= failed.min(others);
        tally.count(failed == 0);
    }
    if others > 0 {
        tally.count(false);
    }
    tally
}

fn report(ui: &Ui, job: &Job, verdict: &Verdict) {
    let mut details = String::new();
    for failure in &verdict.failures {
        let place = failure.cell.as_deref().unwrap_or("the notebook");
        details.push_str(&format!("\n  {} · {place}\n", job.committed.name));
        let lines: Vec<&str> = failure.what.lines().collect();
        for line in lines.iter().take(LINES) {
            details.push_str(&format!("    {}\n", shortened(line, 160)));
        }
        if lines.len() > LINES {
            details.push_str(&format!("    … and {} lines more\n", lines.len() - LINES));
        }
    }
    if !verdict.failures.is_empty() {
        if verdict.failures.iter().all(|failure| failure.blessable) {
            let name = &job.committed.name;
            details.push_str(&format!("\n  If this is what it should show: cargo verify notebooks {name} --bless\n"));
        }
        details.push('\n');
    }
    let what = match (&job.solved, verdict.blessed) {
        (None, true) => format!("{}: outputs written back", title(job)),
        (None, false) => title(job),
        (Some(exercises), _) => format!("{} ({})", title(job), exercises.len()),
    };
    outcome(ui, verdict.failures.is_empty(), &what, verdict.seconds, &details);
}

/// The table of cell times: median, 95th percentile and slowest, of each notebook and of all.
fn table(times: &BTreeMap<String, Vec<(f64, String)>>) -> String {
    let width = times.keys().map(|name| name.len()).max().unwrap_or_default().max("cell times".len());
    let mut rows = format!("{:width$}  cells   median     95th  slowest\n", "cell times");
    let mut row = |name: &str, times: &[(f64, String)]| {
        let mut seconds: Vec<f64> = times.iter().map(|(seconds, _)| *seconds).collect();
        seconds.sort_by(f64::total_cmp);
        let slowest = times.iter().max_by(|a, b| a.0.total_cmp(&b.0)).map_or("", |(_, label)| label);
        rows.push_str(&format!(
            "{name:width$}  {:5}  {:5.2} s  {:5.2} s  {:5.2} s  {}\n",
            times.len(),
            percentile(&seconds, 50),
            percentile(&seconds, 95),
            percentile(&seconds, 100),
            shortened(slowest, 60),
        ));
    };
    let mut all = Vec::new();
    for (name, times) in times {
        row(name, times);
        all.extend(times.iter().map(|(seconds, label)| (*seconds, format!("{name} {label}"))));
    }
    if times.len() > 1 {
        row("all", &all);
    }
    if all.is_empty() { String::new() } else { rows }
}

/// The nearest-rank percentile of an ascending list; 0 if it is empty.
fn percentile(ascending: &[f64], percent: usize) -> f64 {
    let rank = (ascending.len() * percent).div_ceil(100);
    ascending.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width - 1).collect::<String>() + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notebooks_are_chosen_by_how_their_names_begin() {
        let paths: Vec<PathBuf> = ["n/00-a.ipynb", "n/01-b.ipynb", "n/10-c.ipynb"].map(PathBuf::from).into();
        let chosen = |wanted: &[&str]| {
            let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
            select(&paths, &wanted).map(|paths| paths.len())
        };
        assert_eq!(chosen(&[]).unwrap(), 3);
        assert_eq!(chosen(&["1", "01-b.ipynb"]).unwrap(), 2);
        assert!(chosen(&["7"]).unwrap_err().to_string().contains("00-a"));
        assert!(select(&[], &[]).is_err());
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        let seconds: Vec<f64> = (1..=20).map(f64::from).collect();
        assert_eq!([50, 95, 100].map(|percent| percentile(&seconds, percent)), [10.0, 19.0, 20.0]);
        assert_eq!(percentile(&[], 50), 0.0);
        assert_eq!(percentile(&[3.0], 95), 3.0);
    }

    #[test]
    fn the_table_has_a_row_a_notebook_and_one_for_all() {
        let cell = |seconds, label: &str| (seconds, label.to_owned());
        let times = BTreeMap::from([
            ("00-a".to_owned(), vec![cell(1.0, "cell [1]  x"), cell(0.5, "cell [2]  y")]),
            ("01-b".to_owned(), vec![cell(2.0, "cell [1]  z")]),
        ]);
        let table = table(&times);
        let last = table.lines().last().unwrap();
        assert!(last.starts_with("all") && last.contains("2.00 s") && last.ends_with("01-b cell [1]  z"), "{table}");
        assert_eq!(table.lines().count(), 4);
    }
}
