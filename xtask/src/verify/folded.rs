//! Folded answers that are code: the `rust` blocks in `<details>` below a "Change it".

use anyhow::{Result, bail};

use crate::markdown;
use crate::notebook::{Kind, Notebook, Role};

/// A change that the text asks for, as the author makes it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Folded {
    /// Index of the code cell above it, after which it is run.
    pub(super) after: usize,
    pub(super) code: String,
    pub(super) end: Ending,
    /// Lines that it must show, in this order.
    pub(super) shows: Vec<String>,
}

/// How such a change must end.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ending {
    /// ```` ```rust ````
    Well,
    /// ```` ```rust E0382 ````: the compiler refuses it with this code.
    Refused(String),
    /// ```` ```rust panics ````
    Panics,
    /// ```` ```rust crashes ````: the variables are lost, so what comes after it runs in a fresh kernel.
    Crashes,
}

impl Ending {
    fn parse(language: &str) -> Result<Option<Self>> {
        Ok(Some(match language.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["rust"] => Self::Well,
            ["rust", "panics"] => Self::Panics,
            ["rust", "crashes"] => Self::Crashes,
            ["rust", code] if code.starts_with('E') && code[1..].parse::<u16>().is_ok() => Self::Refused((*code).to_owned()),
            ["rust", ..] => bail!("```{language}: a folded answer is `rust`, `rust E0382`, `rust panics` or `rust crashes`"),
            _ => return Ok(None),
        }))
    }
}

/// All of a notebook, in order; errors name the cell.
pub(super) fn all(notebook: &Notebook) -> Result<Vec<Folded>> {
    let mut found = Vec::new();
    let mut after = None;
    for cell in &notebook.cells {
        match (cell.kind, cell.rules.role) {
            (Kind::Code, _) => after = Some(cell.index),
            (Kind::Markdown, Some(Role::Solution)) => {}
            (Kind::Markdown, _) => match (of_text(&cell.source), after) {
                (Err(error), _) => bail!("{}: {error}", cell.label()),
                (Ok(folded), Some(after)) => found.extend(folded.into_iter().map(|folded| Folded { after, ..folded })),
                (Ok(_), None) => {}
            },
        }
    }
    Ok(found)
}

fn of_text(text: &str) -> Result<Vec<Folded>> {
    let mut found: Vec<Folded> = Vec::new();
    // Where the last answer ended, for the text that it must show.
    let mut last_end = None;
    for block in markdown::blocks(text) {
        let before = &text[..block.inside.start];
        let is_folded = before.matches("<details").count() > before.matches("</details>").count();
        let asks_for_change = before.rfind("Change it").is_some_and(|at| !before[at..].contains("**Predict"));
        if !is_folded || !asks_for_change {
            last_end = None;
            continue;
        }
        if let Some(end) = Ending::parse(&block.language)? {
            found.push(Folded { after: 0, code: text[block.inside.clone()].trim_end().to_owned(), end, shows: Vec::new() });
            last_end = Some(block.inside.end);
        } else if block.language == "text"
            && let (Some(end), Some(folded)) = (last_end.take(), found.last_mut())
        {
            // Between the two there are two fences and nothing else.
            if text[end..block.inside.start].chars().all(|c| c.is_whitespace() || "`text".contains(c)) {
                let lines = text[block.inside].lines().map(str::trim).filter(|line| !line.is_empty());
                folded.shows = lines.map(str::to_owned).collect();
            }
        } else {
            last_end = None;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crafted::*;

    const TEXT: &str = "**What you saw.** It.\n\n**Change it.** Swap them.\n\n<details><summary>Answer</summary>\n\n\
                        ```rust\nswap();\n```\n\n```text\n  a 1\n\nb 2\n```\n\nOr:\n\n```rust E0382\nlet x;\n```\n\n</details>\n";

    #[test]
    fn the_blocks_below_a_change_it_are_found_with_what_they_must_show() {
        let found = all(&notebook(vec![code("a", vec![]), prose(TEXT)])).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].after, found[0].code.as_str(), &found[0].end), (1, "swap();", &Ending::Well));
        assert_eq!(found[0].shows, ["a 1", "b 2"]);
        assert_eq!((&found[1].end, found[1].shows.len()), (&Ending::Refused("E0382".into()), 0));
    }

    #[test]
    fn other_blocks_are_left_alone() {
        let predicted = TEXT.replace("**Change it.**", "**Predict.**");
        let open = TEXT.replace("<details><summary>Answer</summary>\n", "").replace("</details>\n", "");
        for text in [predicted, open] {
            assert!(all(&notebook(vec![prose(&text)])).unwrap().is_empty(), "{text}");
        }
        assert!(all(&notebook(exercise("✗"))).unwrap().is_empty());
    }

    #[test]
    fn an_unknown_ending_is_an_error() {
        let wrong = TEXT.replace("rust E0382", "rust fails");
        assert!(all(&notebook(vec![prose(&wrong)])).unwrap_err().to_string().contains("```rust fails"));
    }
}
