//! Answers to exercises, right ones and wrong ones, which the checks are tried with: `notebooks/answers/NN-name.md`.
//!
//! ```text
//! ## the-exercise
//!
//! ### right: with a loop
//! (a `rust` block: it takes the starter's place)
//!
//! ### wrong: a constant
//! (a `rust` block)
//! > ✗ a part of the hint that it must get
//! ```

use std::fs;
use std::ops::Range;

use anyhow::{Context, Result, bail, ensure};
use pulldown_cmark::{Event, HeadingLevel, Tag, TagEnd};

use super::format;
use crate::markdown::{self, Block};
use crate::notebook::{Exercise, Notebook};

/// How many answers an exercise has at least.
const RIGHT: usize = 2;
const WRONG: usize = 4;

/// One answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    /// The exercise that it is for.
    pub(super) exercise: String,
    /// What it is, in a few words.
    pub(super) title: String,
    pub(super) code: String,
    /// What the check must say, at least; `None` for a right answer, which gets a ✓.
    pub(super) hint: Option<String>,
}

/// The answers that are kept beside a notebook; none, if there is no such file.
pub(super) fn of(notebook: &Notebook) -> Result<Vec<Answer>> {
    let path = format::answers_of(&notebook.path);
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text).with_context(|| format!("answers/{}.md", notebook.name))
}

/// Reads a file of answers.
fn parse(text: &str) -> Result<Vec<Answer>> {
    let headings = headings(text);
    let blocks = markdown::blocks(text);
    let quotes = quotes(text);
    let mut answers = Vec::new();
    let mut exercise: Option<&str> = None;
    for (position, (level, title, range)) in headings.iter().enumerate() {
        let end = headings.get(position + 1).map_or(text.len(), |(_, _, next)| next.start);
        match level {
            HeadingLevel::H1 => {}
            HeadingLevel::H2 => exercise = Some(title),
            HeadingLevel::H3 => {
                let Some(exercise) = exercise else { bail!("`### {title}` stands under no `## exercise`") };
                answers.push(answer(text, exercise, title, range.end..end, &blocks, &quotes)?);
            }
            _ => bail!("`{title}`: only ## for exercises and ### for answers"),
        }
    }
    Ok(answers)
}

fn answer(
    text: &str,
    exercise: &str,
    title: &str,
    part: Range<usize>,
    blocks: &[Block],
    quotes: &[(usize, String)],
) -> Result<Answer> {
    let place = format!("{exercise}, `{title}`");
    let Some((kind, words)) = title.split_once(':') else { bail!("{place}: it must begin with `right:` or `wrong:`") };
    let mut code = blocks.iter().filter(|block| part.contains(&block.inside.start));
    let (Some(block), None) = (code.next(), code.next()) else { bail!("{place}: it must hold one ```rust block") };
    ensure!(block.language == "rust", "{place}: it must hold one ```rust block, not ```{}", block.language);
    let mut hints = quotes.iter().filter(|(at, _)| part.contains(at)).map(|(_, hint)| hint.trim_start_matches('✗').trim());
    let hint = match (kind, hints.next(), hints.next()) {
        ("right", None, None) => None,
        ("wrong", Some(hint), None) => Some(hint.to_owned()),
        ("right", ..) => bail!("{place}: a right answer gets no hint"),
        ("wrong", ..) => bail!("{place}: a wrong answer needs one line `> ✗ …`, a part of the hint that it must get"),
        _ => bail!("{place}: it must begin with `right:` or `wrong:`"),
    };
    let code = text[block.inside.clone()].trim_end().to_owned();
    Ok(Answer { exercise: exercise.to_owned(), title: format!("{kind}: {}", words.trim()), code, hint })
}

/// What is missing: exercises with too few answers; and answers to exercises that are not there.
pub(super) fn missing(answers: &[Answer], exercises: &[Exercise]) -> Vec<String> {
    let mut missing = Vec::new();
    for exercise in exercises {
        let of_it = || answers.iter().filter(|answer| answer.exercise == exercise.name);
        let (right, wrong) =
            (of_it().filter(|answer| answer.hint.is_none()).count(), of_it().filter(|answer| answer.hint.is_some()).count());
        if right < RIGHT || wrong < WRONG {
            missing.push(format!(
                "exercise `{}` has {right} right and {wrong} wrong answers, and needs {RIGHT} and {WRONG}",
                exercise.name
            ));
        }
    }
    missing
}

/// The names of exercises that are answered but not there.
pub(super) fn strangers<'a>(answers: &'a [Answer], exercises: &[Exercise]) -> Vec<&'a str> {
    let is_there = |answer: &&Answer| exercises.iter().any(|exercise| exercise.name == answer.exercise);
    let mut names: Vec<&str> = answers.iter().filter(|answer| !is_there(answer)).map(|answer| answer.exercise.as_str()).collect();
    names.dedup();
    names
}

fn headings(text: &str) -> Vec<(HeadingLevel, String, Range<usize>)> {
    let mut headings = Vec::new();
    for (event, range) in markdown::events(text) {
        if let Event::Start(Tag::Heading { level, .. }) = event {
            headings.push((level, text[range.clone()].trim_matches(['#', ' ', '\n']).to_owned(), range));
        }
    }
    headings
}

/// Where each quotation is, and what it says, in one line.
fn quotes(text: &str) -> Vec<(usize, String)> {
    let mut quotes = Vec::new();
    for (event, range) in markdown::events(text) {
        if event == Event::End(TagEnd::BlockQuote(None)) {
            let lines = text[range.clone()].lines().map(|line| line.trim_start_matches(['>', ' ']));
            quotes.push((range.start, lines.collect::<Vec<_>>().join(" ").trim().to_owned()));
        }
    }
    quotes
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# Answers to 03\n\n## swap-them\n\n### right: with swap\n\n```rust\nfn f() {\n    1\n}\n```\n\n\
                        ### wrong: a constant\n\n```rust\nfn f() {}\n```\n\n> ✗ the sum of `a`\n> is typed in\n\nWords.\n\n\
                        ## other\n\n### right: x\n\n```rust\nlet y = 1;\n```\n";

    #[test]
    fn a_file_of_answers_is_read() {
        let answers = parse(FILE).unwrap();
        assert_eq!(answers.len(), 3);
        assert_eq!(answers[0].code, "fn f() {\n    1\n}");
        assert_eq!((answers[0].title.as_str(), &answers[0].hint), ("right: with swap", &None));
        assert_eq!(answers[1].hint.as_deref(), Some("the sum of `a` is typed in"));
        assert_eq!(answers[2].exercise, "other");
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for (from, to, says) in [
            ("> ✗ the sum of `a`\n> is typed in", "", "needs one line"),
            ("### right: x\n", "### right: x\n\n> ✗ no\n", "gets no hint"),
            ("### right: x", "### good: x", "must begin with"),
            ("### right: x", "### right x", "must begin with"),
            ("```rust\nlet y", "```text\nlet y", "not ```text"),
            ("```rust\nlet y = 1;\n```\n", "", "one ```rust block"),
            ("## swap-them\n", "", "under no"),
        ] {
            assert!(FILE.contains(from), "{from}");
            let error = parse(&FILE.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.contains(says), "{from}: {error}");
        }
    }

    #[test]
    fn too_few_answers_and_answers_to_nothing_are_found() {
        let exercise = |name: &str| Exercise { name: name.into(), starter: 0, check: 1, solution: String::new() };
        let answers = parse(FILE).unwrap();
        let missing = missing(&answers, &[exercise("swap-them")]);
        assert!(missing.len() == 1 && missing[0].contains("1 right and 1 wrong"), "{missing:?}");
        assert_eq!(strangers(&answers, &[exercise("swap-them")]), ["other"]);
        let answer = |hint: Option<&str>| Answer {
            exercise: "full".into(),
            title: String::new(),
            code: String::new(),
            hint: hint.map(str::to_owned),
        };
        let enough: Vec<_> = [None, None, Some("a"), Some("b"), Some("c"), Some("d")].map(answer).into();
        assert!(super::missing(&enough, &[exercise("full")]).is_empty());
        assert_eq!(super::missing(&enough[1..], &[exercise("full")]).len(), 1);
    }
}
