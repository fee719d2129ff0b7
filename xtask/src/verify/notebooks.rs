//! Checks notebooks: their files, then a run of each in a fresh kernel, then the answers to their exercises.
//!
//! Runs and trials go side by side, each in a kernel of its own, all in one Jupyter server.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Mutex, mpsc};
use std::thread;

use anyhow::{Context, Result};

use super::answers;
use super::bless::bless;
use super::chosen;
use super::folded;
use super::format;
use super::judge::{self, Failure, Places};
use super::miri;
use super::page;
use super::terms::Terms;
use super::trials::{self, Trials};
use super::{Tally, outcome};
use crate::jupyter::Server;
use crate::notebook::{self, Notebook};
use crate::runner::{self, Death};
use crate::setup;
use crate::ui::{Activity, Ui};

/// Whether what the course still lacks (answers to exercises, the form of its files, their length, the order of terms) is an error.
/// As long as it is not, it is said and not counted.
const COURSE_IS_COMPLETE: bool = true;

/// What a kernel needs at most, measured: 650 to 770 MB.
const KERNEL_BYTES: u64 = 800 << 20;

/// How many of the slowest answers are named.
const SLOWEST: usize = 10;

/// How many lines of one failure are shown.
const LINES: usize = 60;

/// What is done with the notebooks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Wish {
    /// How often each is run as it is.
    pub(super) times: usize,
    /// Write outputs back where they differ. The answers are not tried then.
    pub(super) bless: bool,
    /// Try the answers and nothing else.
    pub(super) only_answers: bool,
    /// Run each in a kernel of its own, and its answers in another, even where one kernel shows the same.
    pub(super) apart: bool,
}

/// One run of one notebook.
#[derive(Debug)]
enum Job {
    /// As it is: what it shows is compared with its file.
    Run(Notebook),
    /// With answers in it.
    Trials(Notebook, Trials),
    /// Both in one kernel: that takes half the time. If anything differs, the run is done again, as it is: that is what counts.
    Both(Notebook, Trials),
}

/// What came of a [`Job`].
#[derive(Debug, Default)]
struct Verdict {
    failures: Vec<Failure>,
    /// How many checks there were.
    checks: usize,
    /// Seconds and label of every cell of a run.
    times: Vec<(f64, String)>,
    /// Seconds and name of every answer that was tried.
    answers: Vec<(f64, String)>,
    seconds: f64,
    /// Set if `--bless` rewrote the file.
    blessed: bool,
}

/// What is shared by all that run.
struct Stage<'a> {
    ui: &'a Ui,
    server: &'a Server,
    places: &'a Places,
    /// Two kernels that fetch the same crate from the compile cache at once can make each other fail (the cache counts its
    /// uses in a file without a lock), so first cells, which fetch, take turns.
    first_cell: &'a Mutex<()>,
    bless: bool,
}

/// Checks the notebooks whose names begin with one of `wanted` (all, if it is empty); returns the count and the table of times.
pub(super) fn run(ui: &Ui, project: &Path, wanted: &[String], wish: Wish) -> Result<(Tally, String)> {
    let home = etcetera::home_dir().ok();
    let places = Places::new([Some(project), home.as_deref()].into_iter().flatten());

    let mut tally = Tally::default();
    let mut jobs = VecDeque::new();
    for path in chosen::all(project, wanted)? {
        let checked = Notebook::read(&path).and_then(|notebook| Ok((check_file(ui, &notebook, &places, wish)?, notebook)));
        match checked {
            Ok(((failures, trials), notebook)) => {
                let verdict = Verdict { failures, checks: 1, ..Verdict::default() };
                let to_bless = wish.bless && verdict.failures.iter().all(|failure| failure.blessable);
                if !(wish.only_answers || to_bless) {
                    report(ui, &notebook.name, &format!("{}: its file", notebook.name), &verdict);
                    tally.add(verdict.count());
                }
                let together = !(trials.is_empty() || wish.only_answers || wish.apart || wish.bless) && wish.times == 1;
                if together {
                    jobs.push_back(Job::Both(notebook, trials));
                    continue;
                }
                if !wish.only_answers {
                    jobs.extend((0..wish.times).map(|_| Job::Run(notebook.clone())));
                }
                if !(trials.is_empty() || wish.bless) {
                    jobs.push_back(Job::Trials(notebook, trials));
                }
            }
            Err(error) => {
                outcome(ui, false, &path.display().to_string(), 0.0, &format!("{error:#}"));
                tally.count(false);
            }
        }
    }
    if wanted.is_empty() && !wish.only_answers {
        tally.add(check_terms(ui, project)?);
    }

    let lab = setup::ensure(ui, project)?;
    let server = Server::start(&lab, project, &[])?;
    let first_cell = Mutex::new(());
    let stage = Stage { ui, server: &server, places: &places, first_cell: &first_cell, bless: wish.bless };
    let mut cell_times: BTreeMap<String, Vec<(f64, String)>> = BTreeMap::new();
    let mut answers = Vec::new();
    // What takes longest comes first, so that at the end nobody waits for it.
    jobs.make_contiguous().sort_by_key(|job| Reverse(job.answers()));
    let workers = workers(jobs.len(), jobs.iter().any(|job| job.answers() > 0));
    let queue = Mutex::new(jobs);
    thread::scope(|scope| -> Result<()> {
        let (sender, verdicts) = mpsc::channel();
        for _ in 0..workers {
            let (sender, queue, stage) = (sender.clone(), &queue, &stage);
            scope.spawn(move || {
                loop {
                    let Some(job) = queue.lock().expect("no holder panics").pop_front() else {
                        break;
                    };
                    if stage.play(job).into_iter().any(|done| sender.send(done).is_err()) {
                        break;
                    }
                }
            });
        }
        drop(sender);
        for (job, verdict) in verdicts {
            let verdict = verdict.with_context(|| format!("while running {}", job.title()))?;
            report(ui, &job.notebook().name, &job.done(&verdict), &verdict);
            tally.add(verdict.count());
            answers
                .extend(verdict.answers.into_iter().map(|(seconds, name)| (seconds, format!("{}  {name}", job.notebook().name))));
            if !verdict.times.is_empty() {
                cell_times.entry(job.notebook().name.clone()).or_default().extend(verdict.times);
            }
        }
        Ok(())
    })?;
    Ok((tally, table(&cell_times) + &slowest(answers)))
}

/// What is wrong with a notebook's file, and what is to be tried in it.
fn check_file(ui: &Ui, notebook: &Notebook, places: &Places, wish: Wish) -> Result<(Vec<Failure>, Trials)> {
    let folder = notebook.path.parent().context("a notebook is in a folder")?;
    let mut failures = page::check(notebook, folder, places)?;
    let mut missing = page::missing(notebook)?;
    // A notebook whose exercises are malformed is still run; its file is what fails.
    let exercises = notebook.exercises().unwrap_or_default();
    let path = format::answers_of(&notebook.path);
    let mut found = Vec::new();
    if path.is_file() {
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        missing
            .extend(format::check_markdown(&text, &notebook.name)?.into_iter().map(|(place, what)| format!("{place}: {what}")));
        match answers::of(notebook) {
            Ok(answers) => found = answers,
            Err(error) => failures.push(Failure::whole(format!("{error:#}"))),
        }
        let strangers = answers::strangers(&found, &exercises).into_iter();
        failures
            .extend(strangers.map(|name| Failure::whole(format!("answers/{}.md: there is no exercise `{name}`", notebook.name))));
    }
    missing.extend(answers::missing(&found, &exercises));
    failures.extend(miri::check(notebook, &found));
    let folded = folded::all(notebook).unwrap_or_else(|error| {
        failures.push(Failure::whole(error.to_string()));
        Vec::new()
    });
    if COURSE_IS_COMPLETE {
        failures.extend(missing.into_iter().map(Failure::whole));
    } else if !missing.is_empty() && !wish.bless {
        say_missing(ui, &notebook.name, &missing);
    }
    Ok((failures, Trials { exercises, answers: found, folded }))
}

/// One check: the order of terms in the whole course.
fn check_terms(ui: &Ui, project: &Path) -> Result<Tally> {
    let mut tally = Tally::default();
    let folder = project.join("notebooks");
    let Some(terms) = Terms::read(&folder)? else {
        say_missing(ui, "notebooks", &["there is no terms.toml".to_owned()]);
        return Ok(tally);
    };
    let notebooks: Vec<Notebook> = notebook::list(&folder)?.iter().map(|path| Notebook::read(path)).collect::<Result<_>>()?;
    let wrong = terms.check(&notebooks);
    if COURSE_IS_COMPLETE {
        outcome(ui, wrong.is_empty(), "terms are introduced before they are used", 0.0, &wrong.join("\n"));
        tally.count(wrong.is_empty());
    } else if !wrong.is_empty() {
        say_missing(ui, "terms", &wrong);
    }
    Ok(tally)
}

fn say_missing(ui: &Ui, name: &str, missing: &[String]) {
    ui.say(format!("missing {name}  (not counted yet)"));
    for what in missing {
        ui.say(format!("  {}", what.replace('\n', "\n  ")));
    }
}

impl Job {
    fn notebook(&self) -> &Notebook {
        match self {
            Self::Run(notebook) | Self::Trials(notebook, _) | Self::Both(notebook, _) => notebook,
        }
    }

    /// How many answers are tried in it.
    fn answers(&self) -> usize {
        match self {
            Self::Run(_) => 0,
            Self::Trials(_, trials) | Self::Both(_, trials) => trials.answers.len(),
        }
    }

    fn title(&self) -> String {
        match self {
            Self::Run(notebook) | Self::Both(notebook, _) => notebook.name.clone(),
            Self::Trials(notebook, _) => format!("{} with answers", notebook.name),
        }
    }

    fn done(&self, verdict: &Verdict) -> String {
        match (self, verdict.blessed) {
            (Self::Run(_), true) => format!("{}: outputs written back", self.title()),
            (Self::Run(_) | Self::Both(..), _) => self.title(),
            (Self::Trials(..), _) => format!("{} ({})", self.title(), verdict.checks),
        }
    }
}

impl Verdict {
    fn count(&self) -> Tally {
        let failed = self.failures.len().min(self.checks);
        Tally { passed: self.checks - failed, failed }
    }
}

impl Stage<'_> {
    fn play(&self, job: Job) -> Vec<(Job, Result<Verdict>)> {
        match job {
            Job::Run(ref notebook) => {
                let verdict = self.judge_run(notebook);
                vec![(job, verdict)]
            }
            Job::Trials(ref notebook, ref trials) => {
                let verdict = self.judge_trials(&job.title(), notebook, trials).map(|(mut verdict, fresh)| {
                    let cells = fresh.iter().flat_map(Notebook::code);
                    verdict.failures.extend(cells.flat_map(|cell| judge::conduct(cell, &cell.outputs, self.places)));
                    verdict
                });
                vec![(job, verdict)]
            }
            Job::Both(notebook, trials) => {
                let tried = self.judge_trials(&notebook.name, &notebook, &trials);
                let (tried, run) = match tried {
                    Ok((tried, fresh)) => (Ok(tried), self.judge_shown(&notebook, fresh)),
                    Err(error) => (Err(error), self.judge_run(&notebook)),
                };
                vec![(Job::Run(notebook.clone()), run), (Job::Trials(notebook, trials), tried)]
            }
        }
    }

    /// What a notebook showed among its answers, if that is what it must show; else what it shows in a kernel of its own.
    fn judge_shown(&self, committed: &Notebook, fresh: Result<Notebook, Death>) -> Result<Verdict> {
        if let Ok(fresh) = fresh
            && judge::run(committed, &fresh, self.places)?.is_empty()
        {
            return Ok(Verdict { checks: 1, times: times(&fresh), ..Verdict::default() });
        }
        self.judge_run(committed)
    }

    fn judge_run(&self, committed: &Notebook) -> Result<Verdict> {
        let (fresh, seconds) = self.execute(committed)?;
        let mut verdict = Verdict { checks: 1, seconds, ..Verdict::default() };
        let fresh = match fresh {
            Ok(fresh) => fresh,
            Err(death) => {
                verdict.failures.push(died(committed, &death));
                return Ok(verdict);
            }
        };
        verdict.times = times(&fresh);
        verdict.failures = judge::run(committed, &fresh, self.places)?;
        if self.bless && verdict.failures.iter().all(|failure| failure.blessable) {
            self.bless(committed, &fresh, &mut verdict)?;
        }
        Ok(verdict)
    }

    /// Writes the outputs of `fresh` back, if what becomes the expectation holds of two more runs, too. Of runs of which one has a place that came back by
    /// chance, another one is written.
    fn bless(&self, committed: &Notebook, fresh: &Notebook, verdict: &mut Verdict) -> Result<()> {
        let mut chosen = fresh.clone();
        let is_news = !std::mem::take(&mut verdict.failures).is_empty();
        let more_runs = if is_news || !judge::differences(fresh, committed)?.is_empty() { 2 } else { 0 };
        for _ in 0..more_runs {
            let (again, more) = self.execute(committed)?;
            verdict.seconds += more;
            let differences = match again {
                Ok(again) => {
                    let differences = judge::differences(&chosen, &again)?;
                    if !differences.is_empty() && judge::differences(&again, &chosen)?.is_empty() {
                        chosen = again;
                        Vec::new()
                    } else {
                        differences
                    }
                }
                Err(death) => vec![died(committed, &death)],
            };
            if !differences.is_empty() {
                let unsteady = |failure: Failure| Failure { blessable: false, ..failure };
                verdict.failures = differences.into_iter().map(unsteady).collect();
                verdict.failures.push(Failure::whole("two runs differ (- one, + the other): nothing was written back"));
                return Ok(());
            }
        }
        let blessed = bless(committed, &chosen)?;
        let folder = committed.path.parent().context("a notebook is in a folder")?;
        verdict.failures = page::check(&blessed, folder, self.places)?;
        if verdict.failures.is_empty() && !committed.is_written_as(&blessed) {
            blessed.write()?;
            verdict.blessed = true;
        }
        Ok(())
    }

    /// The answers, and what the notebook showed among them.
    fn judge_trials(&self, title: &str, notebook: &Notebook, trials: &Trials) -> Result<(Verdict, Result<Notebook, Death>)> {
        let activity = self.ui.start(title);
        let mut turn = Some(self.first_cell.lock().expect("no holder panics"));
        let mut steps = 0;
        let (tried, fresh) = trials::run(self.server, notebook, trials, |step| {
            steps += 1;
            if steps > 1 {
                turn.take();
            }
            activity.tell(step);
        })?;
        let checks = tried.len();
        let (mut failures, mut answers) = (Vec::new(), Vec::new());
        for tried in tried {
            failures.extend(tried.failure);
            answers.push(tried.time);
        }
        failures.extend(fresh.as_ref().err().map(|death| died(notebook, death)));
        Ok((Verdict { failures, checks, answers, seconds: activity.end(), ..Verdict::default() }, fresh))
    }

    /// A run in a fresh kernel, and how long it took.
    fn execute(&self, notebook: &Notebook) -> Result<(Result<Notebook, Death>, f64)> {
        let folder = notebook.path.parent().context("a notebook is in a folder")?;
        let cells = notebook.code().count();
        let activity: Activity = self.ui.start(&notebook.name);
        let mut turn = Some(self.first_cell.lock().expect("no holder panics"));
        let run = runner::execute(self.server, notebook, folder, |index| {
            let number = notebook.cells[index].number.unwrap_or_default();
            if number > 1 {
                turn.take();
            }
            activity.tell(&format!("cell {number} of {cells}"));
        })?;
        Ok((run, activity.end()))
    }
}

/// Seconds and label of every cell of a run.
fn times(fresh: &Notebook) -> Vec<(f64, String)> {
    fresh.code().filter_map(|cell| Some((cell.seconds?, cell.label()))).collect()
}

fn died(committed: &Notebook, death: &Death) -> Failure {
    let cell = &committed.cells[death.cell];
    Failure::of(cell, format!("the kernel died here, and the cells after it were not run:\n{}", death.message))
}

fn report(ui: &Ui, name: &str, what: &str, verdict: &Verdict) {
    let mut details = String::new();
    for failure in &verdict.failures {
        let place = failure.cell.as_deref().unwrap_or("the notebook");
        details.push_str(&format!("\n  {name} · {place}\n"));
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
            details.push_str(&format!("\n  If this is what it should show: cargo verify notebooks {name} --bless\n"));
        }
        details.push('\n');
    }
    outcome(ui, verdict.failures.is_empty(), what, verdict.seconds, &details);
}

/// How many kernels run side by side: one a core, as far as memory goes; with answers one more, since one that waits leaves its core free.
fn workers(jobs: usize, answers: bool) -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from) + usize::from(answers);
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

/// The answers that took longest, of so many, and what all took.
fn slowest(mut answers: Vec<(f64, String)>) -> String {
    if answers.is_empty() {
        return String::new();
    }
    answers.sort_by(|a, b| b.0.total_cmp(&a.0));
    let sum: f64 = answers.iter().map(|(seconds, _)| seconds).sum();
    let mut lines = format!("\n{} answers in {sum:.0} s; the slowest:\n", answers.len());
    for (seconds, name) in answers.iter().take(SLOWEST) {
        lines.push_str(&format!("{seconds:6.1} s  {name}\n"));
    }
    lines
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
    fn percentiles_are_nearest_ranks() {
        let seconds: Vec<f64> = (1..=20).map(f64::from).collect();
        assert_eq!([50, 95, 100].map(|percent| percentile(&seconds, percent)), [10.0, 19.0, 20.0]);
        assert_eq!(percentile(&[], 50), 0.0);
        assert_eq!(percentile(&[3.0], 95), 3.0);
    }

    #[test]
    fn the_slowest_answers_are_named_first() {
        let answers = (0..20).map(|n| (f64::from(n), format!("answer {n}"))).collect();
        let said = slowest(answers);
        assert!(said.starts_with("\n20 answers in 190 s; the slowest:\n  19.0 s  answer 19\n"), "{said}");
        assert_eq!(said.lines().count(), 2 + SLOWEST);
        assert_eq!(slowest(Vec::new()), "");
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
