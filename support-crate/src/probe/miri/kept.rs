//! Verdicts that are kept for those who do not have Miri: a file for each snippet.
//!
//! ```text
//! snippet                                      the text, for whoever reads the file
//!     let owner = Box::new(7);
//! Miri of rustc 1.97.0-nightly (e50aa6fba 2026-05-19)     who said it
//! date 2026-11-26                              and when
//! finding Stacked Borrows, undefined           one for each model
//!     undefined behaviour: use after free
//!     7 | println!("{}", unsafe { *dangling });
//!       memory access failed: alloc1 has been freed, so this pointer is dangling
//!       expected: memory that is still allocated
//! ```

use super::{BorrowModel, Detail, Ending, Finding, MODELS};
use std::{
    env, fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Verdicts on one snippet, with their origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) miri: String,
    pub(super) date: String,
    pub(super) findings: Vec<Finding>,
}

/// The folder `miri` beside the notebooks: where this program runs, or in the clone that this crate is of.
pub(super) fn folder() -> Option<PathBuf> {
    let here = env::current_dir().unwrap_or_default();
    let notebooks = Path::new(env!("CARGO_MANIFEST_DIR")).join("../notebooks");
    [here.join("miri"), here.join("notebooks/miri"), notebooks.join("miri")].into_iter().find(|folder| folder.is_dir())
}

impl Kept {
    pub(super) fn read(folder: &Path, snippet: &str) -> Option<Self> {
        let file = fs::read_to_string(folder.join(name(snippet))).ok()?;
        let (text, kept) = Self::parse(&file)?;
        // Two texts could have one number.
        (text == snippet).then_some(kept)
    }

    /// Writes it under another name first: whoever reads meanwhile sees the old one or the new one.
    pub(super) fn write(&self, folder: &Path, snippet: &str) -> io::Result<()> {
        let unfinished = folder.join(format!("{}.{}", name(snippet), std::process::id()));
        fs::write(&unfinished, self.format(snippet))?;
        fs::rename(unfinished, folder.join(name(snippet)))
    }

    fn format(&self, snippet: &str) -> String {
        let mut text = String::from("snippet\n");
        let mut inside = |line: &str| text += &if line.is_empty() { "\n".to_owned() } else { format!("    {line}\n") };
        snippet.lines().for_each(&mut inside);
        text += &format!("{}\ndate {}\n", self.miri, self.date);
        for finding in &self.findings {
            let ending = Ending::ALL.iter().find(|(ending, _)| *ending == finding.ending).map_or("", |(_, name)| name);
            text += &format!("finding {}, {ending}\n    {}\n", finding.model, finding.headline);
            for Detail { line, what } in &finding.details {
                if let Some((number, line)) = line {
                    text += &format!("    {number} | {line}\n");
                }
                text += &format!("      {what}\n");
            }
        }
        text
    }

    fn parse(file: &str) -> Option<(String, Self)> {
        let mut lines = file.lines().peekable();
        if lines.next()? != "snippet" {
            return None;
        }
        let mut snippet = Vec::new();
        while let Some(line) = lines.next_if(|line| line.is_empty() || line.starts_with("    ")) {
            snippet.push(line.get(4..).unwrap_or_default());
        }
        let miri = lines.next()?.to_owned();
        let date = lines.next()?.strip_prefix("date ")?.to_owned();
        let mut findings = Vec::new();
        while let Some(head) = lines.next() {
            let (model, ending) = head.strip_prefix("finding ")?.split_once(", ")?;
            let model = MODELS.into_iter().find(|known: &BorrowModel| known.to_string() == model)?;
            let ending = Ending::ALL.into_iter().find(|(_, name)| *name == ending)?.0;
            let headline = lines.next()?.strip_prefix("    ")?.to_owned();
            let mut details = Vec::new();
            let mut place = None;
            while let Some(line) = lines.next_if(|line| line.starts_with("    ")) {
                if let Some(what) = line.strip_prefix("      ") {
                    details.push(Detail { line: place.take(), what: what.to_owned() });
                } else {
                    let (number, text) = line.trim_start().split_once(" | ")?;
                    place = Some((number.parse().ok()?, text.to_owned()));
                }
            }
            findings.push(Finding { model, ending, headline, details });
        }
        Some((snippet.join("\n"), Self { miri, date, findings }))
    }
}

/// The name of a snippet's file: a number made of its text (invariant 1 of `miri`), by FNV-1a.
fn name(snippet: &str) -> String {
    let number =
        snippet.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |number, byte| (number ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{number:016x}.txt")
}

/// The day, in Greenwich, as in `2026-11-26`.
pub(super) fn date(now: SystemTime) -> String {
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let (mut day, mut year) = (seconds / 86_400, 1970);
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    while day >= 365 + u64::from(is_leap(year)) {
        day -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while day >= lengths[month] {
        day -= lengths[month];
        month += 1;
    }
    format!("{year}-{:02}-{:02}", month + 1, day + 1)
}
