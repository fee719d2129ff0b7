//! The order of terms: each is introduced, in bold letters, before it is used. `notebooks/terms.toml` lists them.

use std::path::Path;

use anyhow::{Context, Result};
use pulldown_cmark::{Event, Tag, TagEnd};
use regex::Regex;
use serde::Deserialize;

use crate::markdown;
use crate::notebook::{Kind, Notebook};

/// The list of terms.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Terms {
    #[serde(default)]
    term: Vec<Term>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Term {
    name: String,
    /// Other forms of it.
    #[serde(default)]
    also: Vec<String>,
}

/// What a text cell says in bold letters, and what else it says in its sentences: no code, headings or links.
#[derive(Debug, Default)]
struct Prose {
    bold: Vec<String>,
    plain: String,
}

impl Terms {
    /// The list, or `None` if there is none.
    pub(super) fn read(notebooks: &Path) -> Result<Option<Self>> {
        let path = notebooks.join("terms.toml");
        if !path.is_file() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Some(toml::from_str(&text).with_context(|| format!("{} is no list of terms", path.display()))?))
    }

    /// What is used too early in these notebooks, which are in reading order, and what is introduced nowhere.
    pub(super) fn check(&self, notebooks: &[Notebook]) -> Vec<String> {
        let prose: Vec<(String, Prose)> = notebooks
            .iter()
            .flat_map(|notebook| notebook.cells.iter().map(move |cell| (notebook, cell)))
            .filter(|(_, cell)| cell.kind == Kind::Markdown)
            .map(|(notebook, cell)| (format!("{}, {}", notebook.name, cell.label()), prose(&cell.source)))
            .collect();
        self.term.iter().filter_map(|term| term.check(&prose)).collect()
    }
}

impl Term {
    fn check(&self, prose: &[(String, Prose)]) -> Option<String> {
        let forms: Vec<String> = std::iter::once(&self.name).chain(&self.also).map(|form| regex::escape(form)).collect();
        let pattern = format!(r"(?i)\b(?:{})s?\b", forms.join("|"));
        let form = Regex::new(&pattern).expect("escaped words make a pattern");
        let Some(introduced) = prose.iter().position(|(_, prose)| prose.bold.iter().any(|bold| form.is_match(bold))) else {
            return Some(format!("`{}` is introduced nowhere: it must be bold where it is explained", self.name));
        };
        let (early, _) = prose[..introduced].iter().find(|(_, prose)| form.is_match(&prose.plain))?;
        Some(format!("`{}` is used in {early}\n  and introduced only in {}", self.name, prose[introduced].0))
    }
}

fn prose(text: &str) -> Prose {
    let mut prose = Prose::default();
    let (mut bold, mut skipped) = (0, 0);
    for (event, _) in markdown::events(text) {
        let tag = match &event {
            Event::Start(tag) => Some((tag.to_end(), true)),
            Event::End(tag) => Some((*tag, false)),
            _ => None,
        };
        match tag {
            Some((TagEnd::Strong, opens)) => {
                bold = if opens { bold + 1 } else { bold - 1 };
                if opens {
                    prose.bold.push(String::new());
                }
            }
            Some((TagEnd::Heading(_) | TagEnd::CodeBlock | TagEnd::Link | TagEnd::Image, opens)) => {
                skipped = if opens { skipped + 1 } else { skipped - 1 };
            }
            Some(_) => prose.plain.push('\n'),
            None => {}
        }
        let said = match &event {
            Event::Text(text) if skipped == 0 => text.as_ref(),
            // Code is no prose, but a term may be written as code where it is introduced.
            Event::Code(code) if bold > 0 => code.as_ref(),
            Event::Code(_) | Event::SoftBreak | Event::HardBreak => " ",
            _ => "",
        };
        match prose.bold.last_mut().filter(|_| bold > 0) {
            Some(last) => last.push_str(said),
            None => prose.plain.push_str(said),
        }
        if let Event::Start(Tag::Strong) = event {
            prose.plain.push(' ');
        }
    }
    prose
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crafted::{notebook, prose};

    fn said(list: &str, texts: &[&str]) -> Vec<String> {
        let terms: Terms = toml::from_str(list).unwrap();
        let notebooks: Vec<Notebook> = texts.iter().map(|text| notebook(vec![prose(text)])).collect();
        terms.check(&notebooks)
    }

    const LIST: &str = "[[term]]\nname = \"waker\"\nalso = [\"wake up\"]\n";

    #[test]
    fn a_term_that_is_introduced_first_passes() {
        assert!(said(LIST, &["Look.", "A **waker** wakes. The waker is small.", "Two wakers."]).is_empty());
        assert!(said(LIST, &["**`Waker`** is its name.", "A waker."]).is_empty());
    }

    #[test]
    fn a_term_that_is_used_first_fails_in_any_form() {
        for early in ["A waker.", "Wakers wake.", "they wake up", "a *waker*", "> a waker"] {
            let said = said(LIST, &[early, "A **waker** is this."]);
            assert!(said.len() == 1 && said[0].contains("and introduced only in"), "{early}: {said:?}");
        }
    }

    #[test]
    fn code_headings_links_and_other_words_do_not_count() {
        for early in ["`waker`", "# The waker", "[the waker](a.ipynb)", "```rust\nwaker\n```", "an awaker"] {
            assert!(said(LIST, &[early, "A **waker** is this."]).is_empty(), "{early}");
        }
    }

    #[test]
    fn a_term_that_is_introduced_nowhere_fails() {
        assert!(said(LIST, &["A waker."])[0].contains("nowhere"));
    }

    #[test]
    fn a_typing_error_in_the_list_is_an_error() {
        assert!(toml::from_str::<Terms>("[[term]]\nnmae = \"x\"\n").is_err());
    }
}
