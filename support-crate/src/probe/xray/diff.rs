//! What differs between two X-rays.

use super::Word;
use crate::show::text::grouped;
use std::fmt;

/// What differs between two X-rays; see [`XRay::diff`](super::XRay::diff).
#[derive(Debug, Clone)]
pub struct Diff {
    pub(super) words: usize,
    pub(super) changes: Vec<Change>,
}

/// A word that differs between two X-rays.
#[derive(Debug, Clone)]
pub struct Change {
    pub(super) offset: usize,
    pub(super) before: Option<Word>,
    pub(super) after: Option<Word>,
}

impl Change {
    /// Bytes from the start of the value.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// The word as it was; `None` where the first value had already ended.
    pub fn before(&self) -> Option<&Word> {
        self.before.as_ref()
    }

    /// The word as it is; `None` where the second value has already ended.
    pub fn after(&self) -> Option<&Word> {
        self.after.as_ref()
    }
}

impl Diff {
    /// The words that differ.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Shows the differences in a notebook.
    pub fn evcxr_display(&self) {
        crate::show::to_notebook(&[("text/plain", &self.to_string())]);
    }
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 24;
        let differ = if self.changes.len() == 1 { "differs" } else { "differ" };
        write!(f, "{} of {} words {differ}", grouped(self.changes.len()), grouped(self.words))?;
        for change in self.changes.iter().take(MOST) {
            let hex = |word: &Option<Word>| word.as_ref().map_or("(no such word)".to_owned(), |word| word.hex().to_owned());
            write!(f, "\n  +{:#04x}  {:>16} → {:>16}", change.offset, hex(&change.before), hex(&change.after))?;
            if let Some(name) = change.after.as_ref().or(change.before.as_ref()).map(Word::name).filter(|n| !n.is_empty()) {
                write!(f, "  {name}")?;
            }
        }
        if self.changes.len() > MOST {
            write!(f, "\n  … and {} more", grouped(self.changes.len() - MOST))?;
        }
        Ok(())
    }
}
