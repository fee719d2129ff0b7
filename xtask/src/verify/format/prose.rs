//! Prose with one sentence a line.

use std::ops::Range;

use pulldown_cmark::{Event, Tag, TagEnd};

use crate::markdown;

/// Words with a full stop that ends no sentence.
const ABBREVIATIONS: [&str; 7] = ["e.g.", "i.e.", "vs.", "cf.", "no.", "fig.", "approx."];

/// The text with a line for each sentence of its paragraphs and list items, if that shows the same.
pub(super) fn one_sentence_a_line(text: &str) -> String {
    let mut out = String::new();
    let mut done = 0;
    for run in runs(text) {
        out.push_str(&text[done..run.range.start]);
        out.push_str(&rebroken(text, &run));
        done = run.range.end;
    }
    out.push_str(&text[done..]);
    if shown(&out) == shown(text) { out } else { text.to_owned() }
}

/// A stretch of prose: the inside of a paragraph, or of an item of a list without paragraphs.
#[derive(Debug)]
struct Run {
    range: Range<usize>,
    /// What is not broken: code, links, pictures, tags.
    whole: Vec<Range<usize>>,
    /// It has line breaks that are shown.
    hard: bool,
}

fn runs(text: &str) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut open: Option<Run> = None;
    // How deep we are in what is no prose: headings, tables, code, HTML.
    let mut closed = 0_usize;
    for (event, range) in markdown::events(text) {
        let is_block = match &event {
            Event::Start(tag) => is_block(&tag.to_end()),
            Event::End(tag) => is_block(tag),
            Event::Rule | Event::Html(_) => true,
            _ => false,
        };
        if is_block {
            runs.extend(open.take());
            match &event {
                Event::Start(tag) if !holds_prose(&tag.to_end()) => closed += 1,
                Event::End(tag) if !holds_prose(tag) => closed -= 1,
                _ => {}
            }
            continue;
        }
        if closed > 0 {
            continue;
        }
        let run = open.get_or_insert_with(|| Run { range: range.clone(), whole: Vec::new(), hard: false });
        run.range.end = run.range.end.max(range.end);
        match event {
            Event::HardBreak => run.hard = true,
            Event::Code(_) | Event::InlineHtml(_) | Event::Start(Tag::Link { .. } | Tag::Image { .. }) => run.whole.push(range),
            _ => {}
        }
    }
    runs.extend(open);
    runs
}

fn is_block(tag: &TagEnd) -> bool {
    !matches!(tag, TagEnd::Emphasis | TagEnd::Strong | TagEnd::Strikethrough | TagEnd::Link | TagEnd::Image)
}

/// The blocks whose text is prose, at any depth.
fn holds_prose(tag: &TagEnd) -> bool {
    matches!(tag, TagEnd::Paragraph | TagEnd::Item | TagEnd::List(_) | TagEnd::BlockQuote(_))
}

fn rebroken(text: &str, run: &Run) -> String {
    let old = &text[run.range.clone()];
    if run.hard {
        return old.to_owned();
    }
    // What stands before the run on its first line decides what its other lines begin with.
    let line = text[..run.range.start].rfind('\n').map_or(0, |at| at + 1);
    let prefix: String = text[line..run.range.start].chars().map(|c| if c == '>' { '>' } else { ' ' }).collect();
    let quoted = prefix.contains('>');

    // The run on one line, with what must stay whole marked.
    let mut joined: Vec<(char, bool)> = Vec::new();
    let mut skipping = false;
    for (at, c) in old.char_indices() {
        let at = run.range.start + at;
        if c == '\n' {
            while joined.last().is_some_and(|(c, _)| *c == ' ') {
                joined.pop();
            }
            joined.push((' ', run.whole.iter().any(|range| range.contains(&at))));
            skipping = true;
        } else if !(skipping && (c.is_whitespace() || (quoted && c == '>'))) {
            skipping = false;
            joined.push((c, run.whole.iter().any(|range| range.contains(&at))));
        }
    }
    sentences(&joined).join(&format!("\n{prefix}"))
}

fn sentences(text: &[(char, bool)]) -> Vec<String> {
    let string = |range: Range<usize>| text[range].iter().map(|(c, _)| *c).collect::<String>();
    let (mut sentences, mut start) = (Vec::new(), 0);
    for space in 1..text.len() {
        if text[space] != (' ', false) || space < start {
            continue;
        }
        let before = string(start..space);
        let after = string(space + 1..text.len());
        if ends(&before) && begins(&after) {
            sentences.push(before);
            start = space + 1;
        }
    }
    sentences.push(string(start..text.len()));
    sentences
}

/// Whether a sentence ends here: not a label in bold letters, not an abbreviation, not in the middle of a quotation.
fn ends(before: &str) -> bool {
    let bare = before.trim_end_matches(['"', '”', '\'', ')', ']', '*', '_']);
    let last = bare.rsplit(' ').next().unwrap_or_default().trim_start_matches(['(', '"', '*', '_']);
    let is_label = before.starts_with("**") && before.ends_with("**") && before.matches("**").count() == 2;
    bare.ends_with(['.', '!', '?'])
        && !is_label
        && !ABBREVIATIONS.contains(&last.to_lowercase().as_str())
        && before.matches('"').count().is_multiple_of(2)
}

/// Whether a sentence can begin with this, and Markdown would not take it for the beginning of a list, a heading or a rule.
fn begins(after: &str) -> bool {
    let first_word = after.split(' ').next().unwrap_or_default();
    let looks_like_a_block = match first_word.chars().next() {
        Some('0'..='9') => {
            first_word.ends_with(['.', ')']) && first_word.trim_end_matches(['.', ')']).chars().all(|c| c.is_ascii_digit())
        }
        Some('-' | '+' | '*' | '#' | '=' | '>' | '|' | '<' | '~') => !(first_word.starts_with('*') && first_word.len() > 1),
        _ => false,
    };
    let inner = after.trim_start_matches(['"', '“', '(', '[', '*', '_', '\'']);
    !looks_like_a_block && inner.chars().next().is_some_and(|c| !c.is_lowercase() && !c.is_whitespace() && c != '&')
}

/// What is shown: the events, with breaks of lines as the spaces that they are.
fn shown(text: &str) -> Vec<Event<'static>> {
    let mut shown: Vec<Event<'static>> = Vec::new();
    for (event, _) in markdown::events(text) {
        let event = if event == Event::SoftBreak { Event::Text(" ".into()) } else { event };
        match (shown.last_mut(), event.into_static()) {
            (Some(Event::Text(last)), Event::Text(more)) => *last = format!("{last}{more}").into(),
            (_, event) => shown.push(event),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_becomes(text: &str, expected: &str) {
        assert_eq!(one_sentence_a_line(text), expected);
        assert_eq!(one_sentence_a_line(expected), expected, "a second time nothing changes");
    }

    #[test]
    fn each_sentence_gets_a_line() {
        assert_becomes("One two.\nThree, four! Five\nsix? `seven` eight.", "One two.\nThree, four!\nFive six?\n`seven` eight.");
        assert_becomes("Slot A. Then 3 of them. 4 more.", "Slot A.\nThen 3 of them.\n4 more.");
        assert_becomes(
            "(One. Two.) Three. \"Four. Five.\" Six.",
            "(One.\nTwo.) Three.\n\"Four. Five.\" Six.".replace(") T", ")\nT").replace("\" S", "\"\nS").as_str(),
        );
    }

    #[test]
    fn a_label_stands_before_its_sentence() {
        assert_becomes("**Predict.** How many? And why?", "**Predict.** How many?\nAnd why?");
        assert_becomes("It is **so.** Next.", "It is **so.**\nNext.");
    }

    #[test]
    fn what_ends_no_sentence_breaks_no_line() {
        for text in ["See e.g. Tokio.", "In 0.5 s.", "`a. B`", "a… B", "[One. Two](x)", "so: Three", "and so on. etc"] {
            assert_becomes(text, text);
        }
    }

    #[test]
    fn lists_and_quotations_keep_their_form() {
        assert_becomes(
            "* One. Two.\n* Three.\n  1. Four.\n     Five. Six.",
            "* One.\n  Two.\n* Three.\n  1. Four.\n     Five.\n     Six.",
        );
        assert_becomes("> One. Two\n> three.", "> One.\n> Two three.");
    }

    #[test]
    fn what_is_no_prose_is_left_alone() {
        for text in [
            "# A. B. C",
            "| A. B | C. D |\n|---|---|\n| E. F | G. H |",
            "```text\nA. B. C\n```",
            "<details><summary>A. B</summary>\nC. D\n</details>",
            "One.  \nTwo. Three.",
        ] {
            assert_becomes(text, text);
        }
        let folded = "<details><summary>Answer</summary>\n\nOne. Two.\n\n</details>";
        assert_becomes(folded, "<details><summary>Answer</summary>\n\nOne.\nTwo.\n\n</details>");
    }

    #[test]
    fn nothing_becomes_a_list_or_a_heading() {
        for text in ["It is 1. 2. is next.", "Yes. - No.", "Yes. # No."] {
            assert_becomes(text, text);
        }
    }
}
