//! Does it compile?
//!
//! A cell that must not compile can be shown as such by the notebook itself. These macros are for where several verdicts
//! stand side by side, or a verdict is data: rustc is handed the snippet as a program of its own.

use super::{
    program::{NAMES, Ran, rustc},
    said::{CompileError, counted_from_the_snippet, errors_in},
    site::Site,
    snippet::{self, features},
};
use crate::probe::WIDEST;
use crate::show::to_notebook;
use std::fmt;

/// What the compiler says of a snippet; made by [`compiles!`](crate::compiles!).
#[derive(Debug, Clone)]
pub struct Verdict {
    program: String,
    /// The tokens of what comes before the snippet, and of the snippet.
    given: String,
    snippet: String,
    site: Site,
    errors: Vec<CompileError>,
}

impl Verdict {
    /// Asks about statements, as they would stand in `main`. The names that a cell has from the standard library are there
    /// too; the reader's own are not.
    ///
    /// # Panics
    /// When the compiler cannot be asked, or has not answered in time.
    #[doc(hidden)]
    #[track_caller]
    pub fn ask(site: &Site, snippet: &str) -> Self {
        let mut verdict = Self::unasked(site, "", snippet);
        verdict.find_errors();
        verdict
    }

    fn unasked(site: &Site, given: &str, snippet: &str) -> Self {
        let program = program(given, snippet);
        Self { program, given: given.to_owned(), snippet: snippet.to_owned(), site: site.clone(), errors: Vec::new() }
    }

    #[track_caller]
    fn find_errors(&mut self) {
        self.errors = errors_in(&without_main(&check(&self.site, &self.program))).into_iter().map(|(_, error)| error).collect();
    }

    /// Whether it compiles.
    pub fn compiles(&self) -> bool {
        self.errors.is_empty()
    }

    /// The code of the first error; `None` when it compiles.
    pub fn code(&self) -> Option<&str> {
        self.errors.first().and_then(CompileError::code)
    }

    /// All errors, in the order of the compiler's.
    pub fn errors(&self) -> &[CompileError] {
        &self.errors
    }

    /// All that the compiler says, as in a terminal: each error with the lines that it is about, its notes and its help. The lines of the snippet are
    /// counted from one. Nothing, when it compiles.
    ///
    /// The compiler is asked once more.
    ///
    /// # Panics
    /// As [`compiles!`](crate::compiles!) does.
    #[track_caller]
    pub fn in_full(&self) -> String {
        let said = without_main(&check(&self.site, &program(&self.given, &snippet::text(&self.site, &self.snippet))));
        let head = program(&self.given, "").lines().count() - 2;
        let end = said.find("error: aborting due to").unwrap_or(said.len());
        counted_from_the_snippet(said[..end].trim_end(), head)
    }

    /// Builds the snippet as a program, with the optimisation that cells have, and runs it in a process of its own: it may crash without
    /// harm. It has 20 seconds and may print 64 KiB; what it starts itself ends with it.
    ///
    /// Where there is no linker, nothing is run, and the [`Ran`] says why.
    ///
    /// # Panics
    /// When the snippet does not compile, or the compiler or the folder for temporary files cannot be used.
    #[track_caller]
    pub fn run(&self) -> Ran {
        self.run_at("2")
    }

    /// The same at another level of optimisation: `"0"` to `"3"`, `"s"` or `"z"`. What differs between them need not
    /// be undefined behaviour: level `"0"` also checks overflow and `debug_assert!`, and what nobody promises, such as addresses, may differ.
    ///
    /// # Panics
    /// As [`run`](Verdict::run), and when there is no such level.
    #[track_caller]
    pub fn run_at(&self, level: &str) -> Ran {
        assert!(self.compiles(), "there is nothing to run: the snippet does not compile. {self}");
        Ran::build_and_run(&self.site, &self.program, level)
    }

    /// Shows the verdict in a notebook.
    pub fn evcxr_display(&self) {
        to_notebook(&[("text/plain", &self.to_string())]);
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, more)) = self.errors.split_first() else { return f.pad("compiles") };
        let text = match first.code() {
            Some(_) => format!("refused, {first}"),
            None => format!("refused: {first}"),
        };
        f.pad(&match more.len() {
            0 => text,
            1 => format!("{text} (and one more error)"),
            n => format!("{text} (and {n} more errors)"),
        })
    }
}

/// Verdicts under names, side by side; made by [`verdicts!`](crate::verdicts!).
#[derive(Debug, Clone)]
pub struct Verdicts {
    rows: Vec<(String, Verdict)>,
}

impl Verdicts {
    /// Asks about several snippets, each with the same statements before it.
    ///
    /// One run of the compiler finds errors in many of them, but an early one (an unknown name, say) may keep it from looking at
    /// the rest. So those without an error are asked about again, until nothing is left to refuse.
    #[doc(hidden)]
    #[track_caller]
    pub fn ask(site: &Site, given: &str, snippets: &[(&str, &str)]) -> Self {
        let row = |(name, snippet): &(&str, &str)| ((*name).to_owned(), Verdict::unasked(site, given, snippet));
        let mut rows: Vec<_> = snippets.iter().map(row).collect();
        loop {
            let left: Vec<usize> = (0..rows.len()).filter(|&i| rows[i].1.compiles()).collect();
            let (mut program, mut main, mut ends) = (NAMES.to_owned() + "\n", String::new(), Vec::new());
            for &i in &left {
                program += &format!("fn snippet_{i}() {{\n{given}\n{}\n;}}\n", snippets[i].1);
                // What nobody refers to would be left out when code is generated, and some errors are found only then.
                main += &format!("let _ = snippet_{i} as fn();");
                ends.push((i, program.lines().count()));
            }
            let errors = errors_in(&check(site, &format!("{program}fn main() {{ {main} }}\n")));
            if errors.is_empty() {
                return Self { rows };
            }
            for (line, mut error) in errors {
                if let Some((i, _)) = ends.iter().find(|(_, end)| line.is_some_and(|line| line <= *end)) {
                    // The function around a snippet is ours; the reader has not written it.
                    error.message = error.message.replace(&format!("snippet_{i}::"), "");
                    rows[*i].1.errors.push(error);
                }
            }
            if left.iter().all(|&i| rows[i].1.compiles()) {
                // No error says which snippet it is about: each is asked about by itself.
                for i in left {
                    rows[i].1.find_errors();
                }
                return Self { rows };
            }
        }
    }

    /// The names and the verdicts, in the order of the question.
    pub fn rows(&self) -> &[(String, Verdict)] {
        &self.rows
    }

    /// Shows the verdicts in a notebook.
    pub fn evcxr_display(&self) {
        to_notebook(&[("text/plain", &self.to_string())]);
    }
}

impl fmt::Display for Verdicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).min(WIDEST);
        for (i, (name, verdict)) in self.rows.iter().enumerate() {
            write!(f, "{}{name:<width$}   {verdict}", if i == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

/// Whether a snippet compiles, and if not, which error the compiler gives.
///
/// The snippet is what would stand in `main`: statements and items. It sees the standard library, the names that the prelude
/// takes from it, and the crates that the cell has; nothing of what the cell itself declares.
///
/// ```
/// let moved_twice = pinlab::compiles! {
///     let text = String::from("Hello");
///     let (a, b) = (text, text);
/// };
/// assert_eq!(moved_twice.code(), Some("E0382"));
/// ```
///
/// What is not stable can be asked about, too. The snippet then begins with its `#![feature(…)]`, and the compiler is run with
/// `RUSTC_BOOTSTRAP=1`, so that a stable one accepts it.
///
/// ```
/// let not_yet = pinlab::compiles! { #![feature(super_let)] let text = { super let t = String::from("Hello"); &t }; };
/// assert!(not_yet.compiles());
/// ```
///
/// # Panics
/// When the compiler cannot be asked, or has not answered within 20 seconds.
#[macro_export]
macro_rules! compiles {
    ($($snippet:tt)*) => { $crate::probe::Verdict::ask(&$crate::__site!(), ::std::stringify!($($snippet)*)) };
}

/// The same question about several snippets at once: a table of verdicts.
///
/// What stands after `given` comes before each of them.
///
/// ```
/// let table = pinlab::verdicts! {
///     given { let mut value = PhantomPinned; let mut pin = pin!(value); }
///     "look at it"  => { let seen: &PhantomPinned = &pin; }
///     "get_mut"     => { pin.get_mut(); }
/// };
/// assert!(table.rows()[0].1.compiles());
/// assert_eq!(table.rows()[1].1.code(), Some("E0277"));
/// ```
///
/// # Panics
/// As [`compiles!`](crate::compiles!) does.
#[macro_export]
macro_rules! verdicts {
    (given { $($given:tt)* } $($name:expr => { $($snippet:tt)* } $(,)?)+) => {
        $crate::probe::Verdicts::ask(
            &$crate::__site!(),
            ::std::stringify!($($given)*),
            &[$(($name, ::std::stringify!($($snippet)*))),+],
        )
    };
    ($($name:expr => { $($snippet:tt)* } $(,)?)+) => {
        $crate::verdicts! { given {} $($name => { $($snippet)* })+ }
    };
}

/// The function around a snippet is ours; the reader has not written it.
fn without_main(said: &str) -> String {
    let mut parts = said.split("main::");
    let mut without = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let is_end_of_a_name = without.ends_with(|letter: char| letter.is_alphanumeric() || "_:".contains(letter));
        without += if is_end_of_a_name { "main::" } else { "" };
        without += part;
    }
    without
}

/// A snippet as a program of its own. What comes before it has its line of its own.
fn program(given: &str, snippet: &str) -> String {
    let (features, rest) = features(snippet);
    format!("{features}{NAMES}\nfn main() {{\n{given}\n{rest}\n;}}\n")
}

/// What the compiler says of a program. No code is generated, but it is found out which code would be: an assertion in a `const` block of a generic
/// function fails only then.
#[track_caller]
fn check(site: &Site, program: &str) -> String {
    let output = rustc(site, program, ["--crate-type=bin", "--emit=mir=-"]);
    let understood = errors_in(&output.stderr).is_empty() == output.status.success();
    assert!(understood, "what the compiler said is not understood:\n{}", output.stderr);
    output.stderr
}

#[cfg(test)]
mod tests {
    #[test]
    fn in_full_it_has_the_notes_and_the_lines_of_the_snippet() {
        let sent = crate::compiles! {
            fn send(_: impl Send) {}
            send(async {
                let shared = std::rc::Rc::new(5);
                std::future::ready(()).await;
                drop(shared);
            });
        };
        let said = sent.in_full();
        assert!(said.starts_with("error: future cannot be sent between threads safely\n"), "{said}");
        for part in [
            "--> snippet:2:",
            "has type `Rc<i32>` which is not `Send`",
            "note: required by a bound in `send`",
            "\n 3 |     let",
            "block@snippet:2:6: 2:11}",
        ] {
            assert!(said.contains(part), "{part:?} is not in\n{said}");
        }
        assert!(!said.contains("<anon>") && !said.contains("aborting"), "{said}");
        assert_eq!(crate::compiles! { let number = 1; }.in_full(), "");
    }

    #[test]
    fn in_full_a_row_of_a_table_counts_its_own_lines() {
        let table = crate::verdicts! {
            given { let text = String::from("Hello"); drop(text); }
            "again" => {
                let one = 1;
                drop(text);
            }
        };
        let said = table.rows()[0].1.in_full();
        assert!(said.contains("--> snippet:2:"), "{said}");
        assert!(said.contains("let text = String::from") && !said.contains("4 | let text"), "{said}");
    }

    #[test]
    fn the_function_around_a_snippet_is_not_named() {
        assert_eq!(super::without_main("`main::f` in `a::main::g`, `domain::h<main::T>`"), "`f` in `a::main::g`, `domain::h<T>`");
    }

    #[test]
    fn a_name_may_be_of_any_length() {
        let name = "x".repeat(70_000);
        let table = crate::verdicts! { &*name => { let a = 1; } };
        assert_eq!(table.to_string(), name + "   compiles");
    }

    #[test]
    fn a_verdict_names_the_code() {
        assert!(crate::compiles! { let text = String::from("Hello"); text }.compiles());
        let verdict = crate::compiles! { let mut here = PhantomPinned; Pin::new(&mut here); };
        assert_eq!(verdict.code(), Some("E0277"));
        assert!(verdict.to_string().starts_with("refused, E0277: `PhantomPinned` cannot be unpinned"), "{verdict}");
    }

    #[test]
    fn a_feature_is_there_only_for_the_snippet_that_asks_for_it() {
        let with = crate::compiles! { #![feature(super_let)] let text = { super let t = 7; &t }; assert_eq!(*text, 7); };
        assert!(with.run().succeeded(), "{with}");
        let without = crate::compiles! { let text = { super let t = 7; &t }; };
        assert_eq!(without.code(), Some("E0658"), "{without}");
    }

    #[test]
    fn an_error_without_a_code_is_one_too() {
        let verdict = crate::compiles! { let text = ; };
        assert!(!verdict.compiles());
        assert_eq!(verdict.code(), None);
    }

    #[test]
    fn an_error_of_several_lines_is_one_error() {
        let verdict = crate::compiles! { compile_error!("one\ntwo") };
        assert_eq!(verdict.errors().len(), 1);
        assert_eq!(verdict.to_string(), "refused: one two");
    }

    #[test]
    fn a_borrow_that_lasts_too_long_is_found_without_generating_code() {
        let verdict = crate::compiles! { let r; { let local = 7; r = &local; } println!("{r}"); };
        assert_eq!(verdict.code(), Some("E0597"));
    }

    #[test]
    fn what_fails_only_when_code_is_generated_is_refused() {
        let verdict = crate::compiles! {
            fn many<const N: usize>() { const { assert!(N > 3) } }
            many::<2>();
        };
        assert_eq!(verdict.code(), Some("E0080"), "{verdict}");
        let table = crate::verdicts! {
            given { fn many<const N: usize>() { const { assert!(N > 3) } } }
            "two" => { many::<2>(); }
            "four" => { many::<4>(); }
        };
        let compiles: Vec<bool> = table.rows().iter().map(|(_, verdict)| verdict.compiles()).collect();
        assert_eq!(compiles, [false, true], "{table}");
    }

    #[test]
    fn an_error_in_one_snippet_hides_none_in_the_others() {
        let table = crate::verdicts! {
            given { let text = String::from("Hello"); }
            "moved twice" => { let (a, b) = (text, text); }
            "unknown name" => { no_such_name }
            "well" => { text.len() }
            "wrong type" => { let n: u8 = text; }
            "no syntax" => { let = ; }
        };
        let codes: Vec<_> = table.rows().iter().map(|(_, verdict)| verdict.code()).collect();
        assert_eq!(codes, [Some("E0382"), Some("E0425"), None, Some("E0308"), None]);
        assert_eq!(table.rows().iter().filter(|(_, verdict)| verdict.compiles()).count(), 1);
    }

    #[test]
    fn a_snippet_may_use_the_crates_that_its_cell_has() {
        assert!(crate::compiles! { #[pin_project::pin_project] struct Wrapper<F>(#[pin] F); }.compiles());
        assert_eq!(crate::compiles! { use no_such_crate::Thing; }.code(), Some("E0432"));
    }
}
