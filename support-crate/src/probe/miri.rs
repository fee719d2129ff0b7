//! Is it undefined behaviour? The verdict of Miri, the interpreter that watches each access to memory.
//!
//! ```text
//! miri!{ … } ──▶ Miri, if it is installed ──▶ report ──▶ Judgement      the kind, the line, what was expected
//!        └─────▶ kept: a file for each snippet ──────────────┘          marked as kept, with Miri's version and the day
//! ```
//!
//! What a program with undefined behaviour prints proves nothing: it may look well today. Miri knows the rules, and says which one was broken,
//! and where. It judges one run: "nothing found" is no proof that other inputs are sound.
//!
//! Invariants:
//! 1. A verdict belongs to one text. It is kept under a number made of all of it, spaces and comments included: whoever edits the
//!    snippet is not given the verdict of what it was before, but is told that it cannot be judged here.
//! 2. A verdict that is kept says so, with the version of Miri that gave it, and the day.
//! 3. Nothing is installed. Miri prepares its standard library by itself, in the user's cache, and only if the sources are there.

mod interpreter;
mod kept;
mod report;

use super::rustc::{Site, snippet};
use crate::show::to_notebook;
use interpreter::Interpreter;
use kept::Kept;
use std::{env, fmt, time::SystemTime};

/// The rules for which pointer may still be used when others were made since. Rust has not settled on one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BorrowModel {
    /// Each place has a stack of those who may use it; whoever uses it takes away all that came later. The older, stricter rules.
    StackedBorrows,
    /// Those who may use a place form a tree, and lose their rights step by step. The newer rules, which allow more.
    TreeBorrows,
}

impl fmt::Display for BorrowModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::StackedBorrows => "Stacked Borrows",
            Self::TreeBorrows => "Tree Borrows",
        })
    }
}

/// How a run under Miri ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ending {
    /// It came to its end, and broke no rule.
    Clean,
    /// A rule was broken.
    Undefined,
    /// It panicked, and broke no rule until then.
    Panicked,
    /// The compiler does not accept it.
    Refused,
    /// Anything else: it aborted, was deadlocked, took too long, or did what Miri has no means to watch.
    Stopped,
}

impl Ending {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Clean, "clean"),
        (Self::Undefined, "undefined"),
        (Self::Panicked, "panicked"),
        (Self::Refused, "refused"),
        (Self::Stopped, "stopped"),
    ];
}

/// What Miri says of a snippet under one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    model: BorrowModel,
    ending: Ending,
    headline: String,
    details: Vec<Detail>,
}

/// A place in the snippet, if it has one, and what happened there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Detail {
    /// Its number in the snippet, from one, and its text.
    line: Option<(usize, String)>,
    what: String,
}

impl Finding {
    /// The rules it was judged by.
    pub fn model(&self) -> BorrowModel {
        self.model
    }

    /// How the run ended.
    pub fn ending(&self) -> Ending {
        self.ending
    }

    /// The verdict in a few words, such as `undefined behaviour: use after free`.
    pub fn headline(&self) -> &str {
        &self.headline
    }

    /// The line of the snippet, counted from one, where it ended, and its text; `None` where no line is named.
    pub fn line(&self) -> Option<(usize, &str)> {
        self.details.iter().find_map(|detail| detail.line.as_ref().map(|(number, text)| (*number, text.as_str())))
    }
}

/// What Miri says of a snippet; made by [`miri!`](crate::miri!).
#[derive(Debug, Clone)]
pub struct Judgement {
    findings: Result<Vec<Finding>, String>,
    origin: String,
}

impl Judgement {
    #[doc(hidden)]
    pub fn ask(site: &Site, models: &[BorrowModel], tokens: &str) -> Self {
        let text = snippet::text(site, tokens);
        Self::decide(Mode::of_environment(), Interpreter::find, models, &text, kept::folder().as_deref())
    }

    fn decide(
        mode: Mode,
        find: impl FnOnce() -> Result<Interpreter, String>,
        models: &[BorrowModel],
        text: &str,
        folder: Option<&std::path::Path>,
    ) -> Self {
        let kept = folder.and_then(|folder| Kept::read(folder, text));
        let shown = |kept: &Kept| Self {
            findings: Ok(kept.findings.iter().filter(|finding| models.contains(&finding.model)).cloned().collect()),
            origin: format!("kept: {}, on {}", kept.miri, kept.date),
        };
        if let (Mode::Kept, Some(kept)) = (mode, &kept) {
            return shown(kept);
        }
        let interpreter = if mode == Mode::Kept {
            Err("only kept verdicts are shown (PINLAB_MIRI=kept; PINLAB_MIRI=refresh keeps new ones)".into())
        } else {
            find()
        };
        match (interpreter, kept) {
            (Ok(interpreter), kept) if mode == Mode::Live => {
                let _ = kept;
                let findings = models.iter().map(|&model| interpreter.judge(text, model)).collect();
                Self { findings, origin: interpreter.version }
            }
            (Ok(interpreter), kept) => {
                // Both models are kept, whichever is asked for, so that the file does not depend on the question.
                let findings = MODELS.iter().map(|&model| interpreter.judge(text, model)).collect::<Result<Vec<_>, _>>();
                let findings = match findings {
                    Ok(findings) => findings,
                    Err(why) => panic!("Miri gave no verdict: {why}"),
                };
                let same = kept.filter(|kept| kept.findings == findings);
                let now = || Kept {
                    miri: interpreter.version.clone(),
                    date: kept::date(SystemTime::now()),
                    findings: findings.clone(),
                };
                match (same, mode, folder) {
                    (Some(kept), ..) => shown(&kept),
                    (None, Mode::Refresh, Some(folder)) => {
                        let now = now();
                        if let Err(error) = now.write(folder, text) {
                            panic!("the verdict could not be kept in {}: {error}", folder.display());
                        }
                        shown(&now)
                    }
                    (None, ..) => panic!(
                        "the verdict that is kept is not Miri's, or none is kept. Run this with PINLAB_MIRI=refresh. Miri says:\n{}",
                        shown(&now())
                    ),
                }
            }
            (Err(why), _) if matches!(mode, Mode::Refresh | Mode::Check) => panic!("Miri cannot be asked here: {why}"),
            (Err(_), Some(kept)) => shown(&kept),
            (Err(why), None) => {
                let why = format!("{why}, and no verdict is kept for exactly this text");
                Self { findings: Err(why), origin: String::new() }
            }
        }
    }

    /// What Miri says, once for each model that was asked for; empty when it cannot be judged here.
    pub fn findings(&self) -> &[Finding] {
        self.findings.as_deref().unwrap_or_default()
    }

    /// Whether a rule was broken under this model; `None` when it was not judged.
    pub fn is_undefined(&self, model: BorrowModel) -> Option<bool> {
        self.findings().iter().find(|finding| finding.model == model).map(|finding| finding.ending == Ending::Undefined)
    }

    /// Whether it came to its end under each model that was asked for, and broke no rule; `None` when it was not judged.
    pub fn is_clean(&self) -> Option<bool> {
        self.findings.as_ref().ok().map(|findings| findings.iter().all(|finding| finding.ending == Ending::Clean))
    }

    /// Shows the verdict in a notebook.
    pub fn evcxr_display(&self) {
        to_notebook(&[("text/plain", &self.to_string())]);
    }
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let findings = match &self.findings {
            Ok(findings) => findings,
            Err(why) => return write!(f, "Miri cannot be asked here: {why}."),
        };
        let same = |a: &Finding, b: &Finding| (a.ending, &a.headline, &a.details) == (b.ending, &b.headline, &b.details);
        let mut rest = &findings[..];
        while let [first, others @ ..] = rest {
            // What they agree on is said once.
            let agree = others.iter().take_while(|other| same(first, other)).count();
            let names: Vec<String> = rest[..=agree].iter().map(|finding| finding.model.to_string()).collect();
            writeln!(f, "{}: {}", names.join(" and "), first.headline)?;
            for Detail { line, what } in &first.details {
                match line {
                    Some((number, text)) => {
                        writeln!(f, "  {:<9} {}\n  {:9}   {what}", format!("line {number}"), text.trim(), "")?
                    }
                    None => writeln!(f, "  {:<9} {what}", "")?,
                }
            }
            rest = &rest[agree + 1..];
        }
        write!(f, "({})", self.origin)
    }
}

const MODELS: [BorrowModel; 2] = [BorrowModel::StackedBorrows, BorrowModel::TreeBorrows];

/// What is asked: Miri, or the files. The variable `PINLAB_MIRI` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Miri where it is, else what is kept. The default.
    Live,
    /// What is kept, wherever this runs.
    Kept,
    /// Miri; what differs from its verdict is kept anew.
    Refresh,
    /// Miri; what differs from its verdict is a panic.
    Check,
}

impl Mode {
    fn of_environment() -> Self {
        match env::var("PINLAB_MIRI").as_deref() {
            Ok("kept") => Self::Kept,
            Ok("refresh") => Self::Refresh,
            Ok("check") => Self::Check,
            _ => Self::Live,
        }
    }
}

/// The verdict of Miri, the interpreter that finds undefined behaviour, on a snippet.
///
/// The snippet is what would stand in `main`: statements and items, with the names that the prelude takes from the standard library, and
/// nothing else: no crate, nothing that the cell itself declares. Its memory is Miri's: it may break every rule about that. Files and the environment
/// are the real ones. It has 30 seconds under each model.
///
/// ```
/// use pinlab::{miri, probe::BorrowModel};
///
/// let judgement = miri! {
///     let owner = Box::new(7);
///     let dangling = &raw const *owner;
///     drop(owner);
///     println!("{}", unsafe { *dangling });
/// };
/// println!("{judgement}");
/// // `None` where Miri is not installed, and no verdict is kept for this text.
/// assert_ne!(judgement.is_undefined(BorrowModel::TreeBorrows), Some(false));
/// ```
///
/// It is judged by both models of what references may do; where they agree, that is said once. To ask for one of them:
///
/// ```
/// let judgement = pinlab::miri!(tree_borrows {
///     let mut number = 1;
///     let pointer = &raw mut number;
///     unsafe { *pointer = 2 };
/// });
/// assert_ne!(judgement.is_clean(), Some(false));
/// ```
///
/// A snippet may begin with `#![feature(…)]`, as for [`compiles!`](crate::compiles!).
///
/// # Where Miri is not installed
/// Miri comes with the nightly toolchain (`rustup toolchain install nightly --component miri,rust-src`); nothing is installed by this macro.
/// Without it, a verdict that was kept before is shown, marked as kept, with the version of Miri that gave it, and the day. It is looked
/// up by the exact text of the snippet: after any edit it says that Miri cannot be asked here.
///
/// Verdicts are kept in the folder `miri` beside the notebooks, a file for each snippet. The variable `PINLAB_MIRI` decides who is asked:
///
/// | value | what is shown |
/// |---|---|
/// | not set | Miri's verdict if it is installed, else the kept one |
/// | `kept` | the kept one, wherever this runs |
/// | `refresh` | Miri's verdict, which is kept if it differs from what was kept |
/// | `check` | the kept one, after Miri has confirmed it |
///
/// # Panics
/// With `refresh` or `check`, when Miri cannot be asked; with `refresh`, when the verdict cannot be kept; with `check`, when Miri's verdict is not the one
/// that is kept.
#[macro_export]
macro_rules! miri {
    (stacked_borrows { $($snippet:tt)* }) => { $crate::miri!(@ask [StackedBorrows] $($snippet)*) };
    (tree_borrows { $($snippet:tt)* }) => { $crate::miri!(@ask [TreeBorrows] $($snippet)*) };
    (@ask [$($model:ident)+] $($snippet:tt)*) => {
        $crate::probe::Judgement::ask(
            &$crate::__site!(),
            &[$($crate::probe::BorrowModel::$model),+],
            ::std::stringify!($($snippet)*),
        )
    };
    ($($snippet:tt)*) => { $crate::miri!(@ask [StackedBorrows TreeBorrows] $($snippet)*) };
}

#[cfg(test)]
mod tests;
