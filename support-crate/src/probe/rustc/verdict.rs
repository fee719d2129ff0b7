//! Does it compile?
//!
//! A cell that must not compile can be shown as such by the notebook itself. These macros are for where several verdicts
//! stand side by side, or a verdict is data: rustc is handed the snippet as a program of its own.

use super::{
    program::{NAMES, Ran, rustc},
    site::Site,
    snippet::features,
};
use crate::show::to_notebook;
use std::fmt;

/// What the compiler says of a snippet; made by [`compiles!`](crate::compiles!).
#[derive(Debug, Clone)]
pub struct Verdict {
    program: String,
    site: Site,
    errors: Vec<CompileError>,
}

/// One error of the compiler's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompileError {
    code: Option<String>,
    message: String,
}

impl CompileError {
    /// Such as `E0277`; `rustc --explain E0277` tells more. Some errors, those of syntax among them, have none.
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// What the compiler says, in one line.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            Some(code) => write!(f, "{code}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
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
        let (features, snippet) = features(snippet);
        Self::of_program(site, format!("{features}{NAMES}\nfn main() {{\n{snippet}\n;}}\n"))
    }

    #[track_caller]
    fn of_program(site: &Site, program: String) -> Self {
        let errors = check(site, &program).into_iter().map(|(_, error)| error).collect();
        Self { program, site: site.clone(), errors }
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

    /// The same at another level of optimisation: `"0"` to `"3"`, `"s"` or `"z"`. A program without undefined behaviour
    /// does the same at each of them.
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
        let verdict = |snippet: &str| Verdict {
            program: format!("{NAMES}\nfn main() {{\n{given}\n{snippet}\n;}}\n"),
            site: site.clone(),
            errors: Vec::new(),
        };
        let mut rows: Vec<_> = snippets.iter().map(|(name, snippet)| ((*name).to_owned(), verdict(snippet))).collect();
        loop {
            let left: Vec<usize> = (0..rows.len()).filter(|&i| rows[i].1.compiles()).collect();
            let (mut program, mut main, mut ends) = (NAMES.to_owned() + "\n", String::new(), Vec::new());
            for &i in &left {
                program += &format!("fn snippet_{i}() {{\n{given}\n{}\n;}}\n", snippets[i].1);
                // What nobody refers to would be left out when code is generated, and some errors are found only then.
                main += &format!("let _ = snippet_{i} as fn();");
                ends.push((i, program.lines().count()));
            }
            let errors = check(site, &format!("{program}fn main() {{ {main} }}\n"));
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
                    rows[i].1 = Verdict::of_program(site, rows[i].1.program.clone());
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
        let width = self.rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
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

/// What the compiler objects to in a program, with the line that it names. No code is generated, but it is found out which code would be: an
/// assertion in a `const` block of a generic function fails only then.
#[track_caller]
fn check(site: &Site, program: &str) -> Vec<(Option<usize>, CompileError)> {
    let output = rustc(site, program, ["--crate-type=bin", "--emit=mir=-"]);
    let errors = errors_in(&output.stderr);
    assert_eq!(errors.is_empty(), output.status.success(), "what the compiler said is not understood:\n{}", output.stderr);
    errors
}

/// The errors in what the compiler says, each with its first line of the snippet:
///
/// ```text
/// error[E0277]: the message, which may go on
///               in more lines
///  --> <anon>:3:57
/// ```
pub(super) fn errors_in(stderr: &str) -> Vec<(Option<usize>, CompileError)> {
    let lines: Vec<&str> = stderr.lines().collect();
    let is_head = |line: &str| line.starts_with("error[") || line.starts_with("error: ");
    let heads: Vec<usize> = (0..lines.len()).filter(|&at| is_head(lines[at])).collect();
    let ends = heads.iter().skip(1).copied().chain([lines.len()]);
    let error = |(start, end): (usize, usize)| {
        let (head, first) = lines[start].split_once(": ")?;
        if first.starts_with("aborting due to") {
            return None;
        }
        let code = head.strip_prefix("error[").and_then(|code| code.strip_suffix(']')).map(str::to_owned);
        let below = &lines[start + 1..end];
        let more = below.iter().take_while(|line| line.starts_with("       ") && !line.trim_start().starts_with("--> "));
        let message = [first].into_iter().chain(more.map(|line| line.trim())).filter(|line| !line.is_empty()).collect::<Vec<_>>();
        let place = below.iter().find_map(|line| line.split_once("--> <anon>:")?.1.split(':').next()?.parse().ok());
        Some((place, CompileError { code, message: message.join(" ") }))
    };
    heads.iter().copied().zip(ends).filter_map(error).collect()
}

#[cfg(test)]
mod tests {
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
