//! Which words of an X-ray are worth a row, and how the whole is called.

use super::{WORD, Word, XRay};
use crate::show::text::counted;

/// A line of a strip.
#[derive(Debug, Clone)]
pub(crate) enum Row {
    Word(Word),
    Gap { words: usize, same: bool, unused: bool, name: String },
}

impl XRay {
    /// The rows worth showing: all of them, or the ends and whatever points somewhere, with the rest counted.
    pub(crate) fn rows(&self) -> Vec<Row> {
        const MOST: usize = 24;
        let count = self.bytes.len().div_ceil(WORD);
        let mut keep = vec![count <= MOST; count];
        if count > MOST {
            for (i, keep) in keep.iter_mut().enumerate() {
                *keep = i < 6 || i + 4 >= count;
            }
            for word in self.self_pointers().iter().take(8) {
                keep[word.offset / WORD] = true;
            }
            // The first word of each named field, as far as they fit.
            let named: Vec<usize> = self.spans.iter().map(|span| span.offset / WORD).take(MOST).collect();
            for i in named {
                keep[i] = true;
            }
        }
        let mut rows = Vec::new();
        let mut i = 0;
        while i < count {
            let end = if keep[i] { i } else { (i..count).find(|&j| keep[j]).unwrap_or(count) };
            match end - i {
                0 | 1 => {
                    rows.push(Row::Word(self.word(i * WORD)));
                    i += 1;
                }
                skipped => {
                    // The same as the word above the gap, which is shown; and all part of one field.
                    let same = i > 0 && (i..end).all(|j| self.raw(j * WORD) == self.raw((i - 1) * WORD));
                    let field = |j: usize| self.span_at(j * WORD).map(|span| span.field.as_str());
                    let name = field(i).filter(|name| (i..end).all(|j| field(j) == Some(name)));
                    let name = name.unwrap_or_default().to_owned();
                    let unused = (i * WORD..(end * WORD).min(self.bytes.len())).all(|byte| !self.in_use(byte, 1));
                    rows.push(Row::Gap { words: skipped, same: same && !unused, unused, name });
                    i = end;
                }
            }
        }
        rows
    }

    /// What it is, how large, where (`place`) and in which state.
    pub(crate) fn headline(&self, place: &str) -> String {
        let title = self.title.as_deref().map(|title| format!("{title}: ")).unwrap_or_default();
        let state = self.state.as_deref().map(|state| format!(", in state {state}")).unwrap_or_default();
        let state = if self.vacant { ", vacant: leftover bytes".to_owned() } else { state };
        format!("{title}{}, {} at {place}{state}", self.what, counted(self.size(), "byte", "bytes"))
    }

    /// The field at `offset` in words, with the text that it leads to: `val "Hello"`; without a layout `+0x10`.
    pub(crate) fn describe(&self, offset: usize) -> String {
        let field = self.field_at(offset);
        let name = self.span_at(offset).map_or_else(|| format!("+{offset:#04x}"), |span| span.field.clone());
        let text = self.texts.range(field).next().map(|(_, text)| format!(" {text:?}")).unwrap_or_default();
        format!("{name}{text}")
    }
}
