//! Tries answers in a running notebook: those to exercises, in the starters' places, and the folded ones below "Change it".
//!
//! ```text
//! cell, cell, starter, check, answer, check, answer, check, …, solution, check, starter, cell, folded answer, cell, …
//! ```
//!
//! One kernel tries them all, like a reader who does not give up. One that takes the kernel's variables with it, by a crash or
//! by having to be interrupted, must not hide the others: they go on in a fresh kernel, with the notebook's cells up to there.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};

use super::answers::Answer;
use super::folded::{Ending, Folded};
use super::judge::{self, Failure};
use super::mask;
use crate::jupyter::{Kernel, Server};
use crate::notebook::{Cell, Exercise, Notebook};
use crate::outputs::{End, Ran, joined, sections};
use crate::runner::Death;

/// The longest that an answer or a check may take, if the cell's rules do not say otherwise.
const LIMIT: Duration = Duration::from_secs(60);

/// How many answers are tried in one cell: most of the time that a cell takes is the compiler's, and hardly more for several.
const TOGETHER: usize = 6;

/// Printed after each of them.
const NEXT: &str = "-- the next answer --";

/// What is tried in a notebook.
#[derive(Clone, Debug, Default)]
pub(super) struct Trials {
    pub(super) exercises: Vec<Exercise>,
    pub(super) answers: Vec<Answer>,
    pub(super) folded: Vec<Folded>,
}

impl Trials {
    pub(super) fn is_empty(&self) -> bool {
        self.exercises.is_empty() && self.folded.is_empty()
    }
}

/// One answer that was tried, and what was wrong with it or with its check.
#[derive(Debug)]
pub(super) struct Tried {
    pub(super) failure: Option<Failure>,
    /// How long it took, and what it was.
    pub(super) time: (f64, String),
}

/// Runs the notebook and tries them all. `on_step` is told what comes next. Of each cell, what it showed as it is; or why the kernel died.
pub(super) fn run(
    server: &Server,
    notebook: &Notebook,
    trials: &Trials,
    mut on_step: impl FnMut(&str),
) -> Result<(Vec<Tried>, Result<Notebook, Death>)> {
    let folder = notebook.path.parent().unwrap_or(Path::new("."));
    let mut bench = Bench { kernel: server.kernel(folder)?, cells: Vec::new(), again: None };
    let (mut tried, mut shown) = (Vec::new(), Vec::new());
    for cell in notebook.code() {
        on_step(&cell.label());
        let ran = bench.cell(cell)?;
        if let End::Death(message) = ran.end {
            return Ok((tried, Err(Death { cell: cell.index, message })));
        }
        shown.push((cell.index, ran));
        if let Some(exercise) = trials.exercises.iter().find(|exercise| exercise.check == cell.index) {
            let solution = Answer {
                exercise: exercise.name.clone(),
                title: "the solution below it".to_owned(),
                code: exercise.solution.clone(),
                hint: None,
            };
            let answers: Vec<&Answer> = trials.answers.iter().filter(|answer| answer.exercise == exercise.name).collect();
            on_step(&format!("{}, several answers at once", exercise.name));
            let well = bench.several(notebook, exercise, &answers)?;
            let (known, open): (Vec<_>, Vec<_>) = answers.iter().zip(well).partition(|(_, well)| well.is_some());
            tried.extend(known.into_iter().filter_map(|(answer, seconds)| {
                Some(Tried { failure: None, time: (seconds?, format!("{}, {}", answer.exercise, answer.title)) })
            }));
            // The solution comes last: the kernel keeps an `impl` that no later one stands for, and answers need not go together. It is run as the
            // reader runs it, a cell at a time.
            for (answer, at_once) in open.into_iter().map(|(answer, _)| (*answer, true)).chain([(&solution, false)]) {
                let name = format!("{}, {}", answer.exercise, answer.title);
                on_step(&name);
                let started = Instant::now();
                let wrong = bench.answer(notebook, exercise, answer, at_once)?;
                let again = bench.again.take().map_or(String::new(), |(why, kernels)| {
                    let why: String = why.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(200).collect();
                    format!("\n          tried again (fresh kernels: {kernels}): {why}")
                });
                let time = (started.elapsed().as_secs_f64(), name + &again);
                let what = |why: String| format!("exercise `{}`, answer `{}`: {why}", answer.exercise, answer.title);
                tried.push(Tried { failure: wrong.map(|why| Failure::of(cell, what(why))), time });
            }
            // What comes later finds what it finds in a notebook that nobody has solved.
            for cell in notebook.code().filter(|cell| (exercise.starter..exercise.check).contains(&cell.index)) {
                bench.attempt(cell, &cell.source)?;
            }
        }
        for folded in trials.folded.iter().filter(|folded| folded.after == cell.index) {
            let name = format!("a change to {}", cell.label());
            on_step(&name);
            let started = Instant::now();
            let wrong = bench.folded(cell, folded)?;
            let time = (started.elapsed().as_secs_f64(), name);
            let what = |why| format!("the folded answer below it:\n{}\n{why}", indented(&folded.code));
            tried.push(Tried { failure: wrong.map(|why| Failure::of(cell, what(why))), time });
        }
    }
    Ok((tried, Ok(notebook.with_runs(shown)?)))
}

/// A kernel, and the cells of the notebook that have been run in it.
struct Bench<'a> {
    kernel: Kernel<'a>,
    /// Code, id and limit of each.
    cells: Vec<(String, String, Duration)>,
    /// Why the latest answer was tried again, and in how many fresh kernels: that takes as long as the notebook.
    again: Option<(String, usize)>,
}

impl Bench<'_> {
    /// Runs a cell of the notebook.
    fn cell(&mut self, cell: &Cell) -> Result<Ran> {
        let limit = Duration::from_secs(cell.limit());
        self.cells.push((cell.source.clone(), cell.id.clone(), limit));
        self.kernel.run(&cell.source, &cell.id, limit)
    }

    /// Runs something in the place of a cell.
    fn attempt(&mut self, cell: &Cell, code: &str) -> Result<Ran> {
        let limit = cell.rules.limit.map_or(LIMIT, Duration::from_secs);
        self.kernel.run(code, &cell.id, limit)
    }

    /// A fresh kernel in which the notebook has come as far as here.
    fn afresh(&mut self) -> Result<()> {
        if let Some((_, kernels)) = &mut self.again {
            *kernels += 1;
        }
        self.kernel.restart()?;
        for (code, id, limit) in &self.cells {
            self.kernel.run(code, id, *limit)?;
        }
        Ok(())
    }

    /// Tries some answers in one cell, then the next ones. Of each that was as it must be, its share
    /// of the cell's time; of the others nothing is known yet.
    fn several(&mut self, notebook: &Notebook, exercise: &Exercise, answers: &[&Answer]) -> Result<Vec<Option<f64>>> {
        let mut well = vec![None; answers.len()];
        let check = &notebook.cells[exercise.check];
        let codes = answers.iter().enumerate().filter_map(|(number, answer)| {
            let code = together(cells_with(notebook, exercise, answer).iter().map(|(_, _, code)| *code))?;
            Some((number, format!("{code}\nprintln!(\"{NEXT}\");\n")))
        });
        let codes: Vec<(usize, String)> = codes.collect();
        for group in codes.chunks(TOGETHER).filter(|group| group.len() > 1) {
            let code: String = group.iter().map(|(_, code)| code.as_str()).collect();
            let limit = check.rules.limit.map_or(LIMIT, Duration::from_secs) * TOGETHER as u32;
            let started = Instant::now();
            let ran = self.kernel.run(&code, &check.id, limit)?;
            let seconds = started.elapsed().as_secs_f64() / group.len() as f64;
            if is_lost(&ran) {
                self.afresh()?;
            }
            let parts = parts(&ran.outputs);
            // They do not go together: each by itself.
            if failed(&ran).is_some() || parts.len() != group.len() + 1 {
                continue;
            }
            for ((number, _), outputs) in group.iter().zip(parts) {
                well[*number] = misjudged(answers[*number], &outputs).is_none().then_some(seconds);
            }
        }
        Ok(well)
    }

    /// What is wrong with an answer to an exercise, or with what the check says of it.
    fn answer(&mut self, notebook: &Notebook, exercise: &Exercise, answer: &Answer, at_once: bool) -> Result<Option<String>> {
        let steps = cells_with(notebook, exercise, answer);
        let check = &notebook.cells[exercise.check];
        // One cell of both takes half the time. What it finds wrong is looked at again, a cell at a time: that is what counts.
        if let Some(code) = together(steps.iter().map(|(_, _, code)| *code)).filter(|_| at_once) {
            let ran = self.attempt(check, &code)?;
            let Some(why) = failed(&ran).or_else(|| misjudged(answer, &ran.outputs)) else { return Ok(None) };
            self.again = Some((why, 0));
            if is_lost(&ran) {
                self.afresh()?;
            }
        }
        let mut wrong = self.steps(answer, &steps)?;
        if let Some(why) = &wrong {
            self.again.get_or_insert((why.clone(), 0));
            // The kernel keeps an `impl` of the answer before, if the type looks the same (E0592, E0119): what counts is an answer of its own.
            self.afresh()?;
            wrong = self.steps(answer, &steps)?;
        }
        if wrong.is_some() {
            self.afresh()?;
        }
        Ok(wrong)
    }

    /// What is wrong with an answer and its check, a cell at a time.
    fn steps(&mut self, answer: &Answer, steps: &[(&str, &Cell, &str)]) -> Result<Option<String>> {
        let mut outputs = Vec::new();
        for (who, cell, code) in steps {
            let ran = self.attempt(cell, code)?;
            if let Some(how) = failed(&ran) {
                return Ok(Some(format!("{who} {how}")));
            }
            outputs = ran.outputs;
        }
        Ok(misjudged(answer, &outputs))
    }

    /// What is wrong with a folded answer.
    fn folded(&mut self, cell: &Cell, folded: &Folded) -> Result<Option<String>> {
        let ran = self.attempt(cell, &folded.code)?;
        let shown = sections(&ran.outputs);
        let how = failed(&ran);
        if is_lost(&ran) {
            self.afresh()?;
        }
        let text: String = shown.iter().map(|section| section.text.clone() + "\n").collect();
        let failed_as = |way: &str| judge::failure(&shown).is_some_and(|(how, _)| how == way) && ran.end == End::Reply;
        let as_it_must = match &folded.end {
            Ending::Well => how.is_none(),
            Ending::Refused(code) => failed_as("fails") && text.contains(code.as_str()),
            Ending::Panics => failed_as("panics"),
            Ending::Crashes => failed_as("crashes"),
        };
        if !as_it_must {
            let wanted = match &folded.end {
                Ending::Well => "it must work".to_owned(),
                Ending::Refused(code) => format!("it must be refused with {code}"),
                Ending::Panics => "it must panic".to_owned(),
                Ending::Crashes => "it must crash".to_owned(),
            };
            let how = how.unwrap_or_else(|| format!("shows:\n{}", text.trim()));
            return Ok(Some(format!("{wanted}, but it {how}")));
        }
        Ok(not_shown(&folded.shows, &text)
            .map(|line| format!("it must show, in this order,\n  {line}\nbut shows:\n{}", text.trim())))
    }
}

/// The cells of an exercise with this answer in it: who each is, for messages; where its limits are; its code.
fn cells_with<'a>(notebook: &'a Notebook, exercise: &Exercise, answer: &'a Answer) -> Vec<(&'static str, &'a Cell, &'a str)> {
    let mut steps = vec![("the answer", &notebook.cells[exercise.starter], answer.code.as_str())];
    let between = notebook.code().filter(|cell| (exercise.starter + 1..exercise.check).contains(&cell.index));
    steps.extend(between.map(|cell| ("a cell between it and the check", cell, cell.source.as_str())));
    let check = &notebook.cells[exercise.check];
    steps.push(("the check", check, check.source.as_str()));
    steps
}

/// What a cell of several answers shows of each, and what comes after the last.
fn parts(outputs: &[Value]) -> Vec<Vec<Value>> {
    let end = format!("{NEXT}\n");
    let mut parts = vec![Vec::new()];
    for output in outputs {
        let text = joined(&output["text"]);
        for (number, piece) in text.split(&end).enumerate() {
            if number > 0 {
                parts.push(Vec::new());
            }
            let piece = if text.contains(&end) {
                json!({"name": output["name"], "output_type": "stream", "text": piece})
            } else {
                output.clone()
            };
            parts.last_mut().expect("there is one at the beginning").push(piece);
        }
    }
    parts
}

/// Cells as one, where that means the same: no commands to the kernel, and no variables, which it moves from a cell to the next. In a block, so that the kernel
/// keeps nothing of them, which might not go together with the next answer (E0592, E0119).
fn together<'a>(cells: impl Iterator<Item = &'a str>) -> Option<String> {
    let cells: Vec<&str> = cells.collect();
    let (last, before) = cells.split_last()?;
    let of_one_cell = |line: &str| line.starts_with(':') || line.starts_with("let ");
    let is_apart = before.iter().any(|code| code.lines().any(of_one_cell)) || last.lines().any(|line| line.starts_with(':'));
    (!is_apart).then(|| format!("{{\n{}\n}};", cells.join("\n")))
}

/// Why what a check says of an answer is not what it must say.
fn misjudged(answer: &Answer, outputs: &[Value]) -> Option<String> {
    judge::verdict(outputs, answer.hint.is_none()).or_else(|| {
        let hint = answer.hint.as_deref()?;
        let said: String = sections(outputs).into_iter().map(|section| section.text + "\n").collect();
        let is_said = mask::loosely(&said).contains(&mask::loosely(hint));
        (!is_said).then(|| format!("the check must give the hint\n  {hint}\nbut says:\n{}", said.trim()))
    })
}

/// True if the kernel's variables are gone.
fn is_lost(ran: &Ran) -> bool {
    ran.end != End::Reply || judge::failure(&sections(&ran.outputs)).is_some_and(|(how, _)| how == "crashes")
}

/// How something has failed, as the end of a sentence.
fn failed(ran: &Ran) -> Option<String> {
    match &ran.end {
        End::TooLate => Some(format!("takes longer than {:.0} s", ran.seconds.floor())),
        End::Death(message) => Some(format!("kills the kernel: {message}")),
        End::Reply => {
            let shown = sections(&ran.outputs);
            // A cell may have several errors; the one that matters need not come first.
            let errors = || shown.iter().filter(|section| section.title == "error").map(|section| section.text.trim());
            judge::failure(&shown).map(|(how, text)| {
                let all = errors().collect::<Vec<_>>().join("\n");
                format!("{how}:\n{}", if all.is_empty() { text.trim() } else { &all })
            })
        }
    }
}

/// The first of these lines that is not in the text, after those before it. Addresses and times are all alike.
fn not_shown<'a>(lines: &'a [String], text: &str) -> Option<&'a String> {
    let mut shown = text.lines().map(mask::loosely);
    lines.iter().find(|line| {
        let line = mask::loosely(line);
        !shown.any(|shown| shown.contains(&line))
    })
}

fn indented(code: &str) -> String {
    code.lines().map(|line| format!("  {line}\n")).collect::<String>().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crafted::{complained, printed};

    fn ran(outputs: Vec<serde_json::Value>, end: End) -> Ran {
        Ran { outputs, seconds: 30.4, end }
    }

    #[test]
    fn an_answer_may_not_hang_crash_or_panic() {
        assert_eq!(failed(&ran(vec![printed("✗ no")], End::Reply)), None);
        assert_eq!(failed(&ran(vec![], End::TooLate)).unwrap(), "takes longer than 30 s");
        assert!(failed(&ran(vec![], End::Death("gone".into()))).unwrap().contains("kills the kernel: gone"));
        assert!(failed(&ran(vec![failed_with_crash()], End::Reply)).unwrap().starts_with("crashes"));
        let panic = complained("thread '<unnamed>' panicked at src/lib.rs:1:1:\nboom");
        assert!(failed(&ran(vec![panic], End::Reply)).unwrap().starts_with("panics"));
    }

    fn failed_with_crash() -> serde_json::Value {
        crate::crafted::failed("Subprocess terminated with status: signal: 11 (SIGSEGV)")
    }

    #[test]
    fn cells_are_run_as_one_only_where_that_means_the_same() {
        let one = |cells: &[&str]| together(cells.iter().copied());
        assert_eq!(one(&["fn f() {}", "{\n    let a = f();\n}"]).unwrap(), "{\nfn f() {}\n{\n    let a = f();\n}\n};");
        assert_eq!(one(&["fn f() {}", "let a = f();"]).unwrap(), "{\nfn f() {}\nlet a = f();\n};");
        assert_eq!(one(&["let a = Box::new(1);", "a"]), None);
        assert_eq!(one(&["fn f() {}", ":opt 0\nf()"]), None);
        assert_eq!(one(&[":dep x = \"1\"\nfn f() {}", "f()"]), None);
    }

    #[test]
    fn of_several_answers_each_has_its_part_of_what_is_shown() {
        let shown = [printed(&format!("one\n{NEXT}\ntwo\n")), complained("aside"), printed(&format!("{NEXT}\n{NEXT}\n"))];
        let text = |part: &Vec<Value>| part.iter().map(|output| joined(&output["text"])).collect::<String>();
        assert_eq!(parts(&shown).iter().map(text).collect::<Vec<_>>(), ["one\n", "two\naside", "", ""]);
        assert_eq!(parts(&[]).len(), 1);
    }

    #[test]
    fn lines_must_be_shown_in_their_order_and_addresses_and_times_do_not_count() {
        let text = "first   0x7f1234567890\nsecond in 3.25 ms, all of it\nthird\n";
        let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        assert_eq!(not_shown(&lines(&["first 0x55ff00000010", "second in 1.5 ms"]), text), None);
        assert_eq!(not_shown(&lines(&["third", "first 0x55ff00000010"]), text).unwrap(), "first 0x55ff00000010");
        assert_eq!(not_shown(&lines(&["fourth"]), text).unwrap(), "fourth");
    }
}
