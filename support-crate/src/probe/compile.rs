//! Does it compile? Questions to the reader's own compiler, asked while a cell runs.
//!
//! ```text
//! compiles!{ … }  ──▶ rustc, checks only  ──▶ Verdict    compiles, or the code of the error; verdicts!{ … } is a table of them
//!                           └─ .run() ─────▶ Ran        what the program printed, and how it ended
//! assembly!{ … }  ──▶ rustc, to assembly  ──▶ Assembly   the instructions of one function
//! expanded!{ … }  ──▶ rustc, macros only  ──▶ Expanded   the code that the macros wrote
//! ```
//!
//! A cell that must not compile can be shown as such by the notebook itself. These macros are for where several verdicts
//! stand side by side, or a verdict is data: rustc is handed the snippet as a program of its own.
//!
//! Invariants:
//! 1. A verdict is what `rustc` said about this snippet at this moment. A compiler that cannot be asked is a panic, never a verdict.
//! 2. Whatever is started ends: each process has a limit on its time, and is killed when it is over.
//! 3. Nothing is left behind: the compiler reads from a pipe and writes to one; a program to run lies in a folder that
//!    is removed with its [`Workshop`].

use super::rustc::{
    Site,
    run::{self, Output},
};
use crate::show::to_notebook;
use std::{
    env, fmt, fs,
    path::PathBuf,
    process::{self, Command},
    sync::atomic::{AtomicU64, Ordering},
};

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
        let program = format!("{NAMES}\nfn main() {{\n{snippet}\n;}}\n");
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
    /// harm.
    ///
    /// # Panics
    /// When the snippet does not compile, or the compiler, the linker or the folder for temporary files cannot be used.
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
        let workshop = Workshop::open();
        let program = workshop.0.join(format!("snippet{}", env::consts::EXE_SUFFIX));
        let (level, out) = (format!("-Copt-level={level}"), format!("-o{}", program.display()));
        let built = rustc(&self.site, &self.program, ["--crate-type=bin", &level, &out]);
        assert!(built.status.success(), "the compiler could not build the program. It said:\n{}", built.stderr);
        let output = run::run(Command::new(&program).env_remove("RUST_BACKTRACE"), "", run::PROGRAM);
        let output = output.unwrap_or_else(|error| panic!("the program could not be started: {error}"));
        Ran(output)
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
            let mut program = NAMES.to_owned() + "\nfn main() {}\n";
            let mut ends = Vec::new();
            for (i, (_, snippet)) in snippets.iter().enumerate().filter(|(i, _)| rows[*i].1.compiles()) {
                program += &format!("fn snippet_{i}() {{\n{given}\n{snippet}\n;}}\n");
                ends.push((i, program.lines().count()));
            }
            let errors = check(site, &program);
            if errors.is_empty() {
                return Self { rows };
            }
            for (line, mut error) in errors {
                let (i, _) = ends.iter().find(|(_, end)| line <= *end).expect("the error is in one of the snippets");
                // The function around a snippet is ours; the reader has not written it.
                error.message = error.message.replace(&format!("snippet_{i}::"), "");
                rows[*i].1.errors.push(error);
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

/// How a program ended, and what it printed; made by [`Verdict::run`].
#[derive(Debug, Clone)]
pub struct Ran(Output);

impl Ran {
    /// Whether it came to its end: no panic, no crash, no limit.
    pub fn succeeded(&self) -> bool {
        self.0.stopped.is_none() && self.0.status.success()
    }

    /// What it printed.
    pub fn stdout(&self) -> &str {
        &self.0.stdout
    }

    /// What it complained of.
    pub fn stderr(&self) -> &str {
        &self.0.stderr
    }

    /// Shows the output in a notebook.
    pub fn evcxr_display(&self) {
        to_notebook(&[("text/plain", &self.to_string())]);
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.stdout().trim_end())?;
        if self.succeeded() {
            return Ok(());
        }
        let complaint = self.stderr().trim();
        let gap = |text: &str| if text.trim_end().is_empty() { "" } else { "\n" };
        write!(f, "{}{complaint}{}", gap(self.stdout()), if complaint.is_empty() { gap(self.stdout()) } else { "\n" })?;
        match self.0.stopped {
            Some(stopped) => write!(f, "{stopped}"),
            None => write!(f, "ended with {}", self.0.status),
        }
    }
}

/// The instructions that the compiler makes of one function; made by [`assembly!`](crate::assembly!).
///
/// Two are equal when the instructions are, one by one. What does not compile is equal to nothing.
#[derive(Debug, Clone)]
pub struct Assembly {
    instructions: Result<Vec<String>, CompileError>,
}

impl Assembly {
    /// Asks for the instructions of a function that is written out and has no type parameters.
    ///
    /// # Panics
    /// When the compiler cannot be asked.
    #[doc(hidden)]
    #[track_caller]
    pub fn ask(site: &Site, function: &str) -> Self {
        // A small public function would not be compiled by itself but only where it is used; one with a fixed name is.
        let program = format!("{NAMES}\n#[unsafe(no_mangle)] pub {function}\n");
        let output = rustc(site, &program, ["--crate-type=lib", "-Copt-level=2", "-Cdebuginfo=0", "--emit=asm=-"]);
        if let Some((_, error)) = errors_in(&output.stderr).next() {
            return Self { instructions: Err(error) };
        }
        assert!(output.status.success(), "the compiler gave no instructions. It said:\n{}", output.stderr);
        Self { instructions: Ok(instructions_in(&output.stdout)) }
    }

    /// The instructions, in this processor's own language; none when the function does not compile.
    pub fn instructions(&self) -> &[String] {
        self.instructions.as_deref().unwrap_or_default()
    }

    /// Shows the instructions in a notebook.
    pub fn evcxr_display(&self) {
        to_notebook(&[("text/plain", &self.to_string())]);
    }
}

impl PartialEq for Assembly {
    fn eq(&self, other: &Self) -> bool {
        matches!((&self.instructions, &other.instructions), (Ok(mine), Ok(theirs)) if mine == theirs)
    }
}

impl fmt::Display for Assembly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.instructions {
            Ok(lines) => f.write_str(&lines.iter().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")),
            Err(error) => write!(f, "    refused, {error}"),
        }
    }
}

/// Code after its macros have run; made by [`expanded!`](crate::expanded!).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expanded {
    lines: Vec<String>,
}

impl Expanded {
    /// Asks for the items with all macros expanded.
    ///
    /// # Panics
    /// When a macro refuses the items, or the compiler cannot be asked.
    #[doc(hidden)]
    #[track_caller]
    pub fn ask(site: &Site, items: &str) -> Self {
        let output = rustc(site, items, ["--crate-type=lib", "-Zunpretty=expanded"]);
        if let Some((_, error)) = errors_in(&output.stderr).next() {
            panic!("there is nothing to show: the snippet is refused. {error}");
        }
        assert!(output.status.success(), "the compiler did not expand the snippet. It said:\n{}", output.stderr);
        Self { lines: code_in(&output.stdout) }
    }

    /// The items whose first line contains these words, with all that is in them; empty where there is none.
    pub fn part(&self, words: &str) -> String {
        let indent = |line: &str| line.len() - line.trim_start().len();
        let mut part = Vec::new();
        let mut open = None;
        for line in &self.lines {
            match open {
                Some(start) if indent(line) > start => {}
                Some(start) if line.trim_start().starts_with('}') && indent(line) == start => open = None,
                _ if line.contains(words) => open = Some(indent(line)),
                _ => {
                    open = None;
                    continue;
                }
            }
            part.push(line.as_str());
        }
        let margin = part.iter().map(|line| indent(line)).min().unwrap_or(0);
        part.iter().map(|line| &line[margin..]).collect::<Vec<_>>().join("\n")
    }

    /// Shows the code in a notebook.
    pub fn evcxr_display(&self) {
        to_notebook(&[("text/plain", &self.to_string())]);
    }
}

impl fmt::Display for Expanded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("\n"))
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

/// The instructions that the compiler makes of a function, with the optimisation that cells have.
///
/// ```
/// use pinlab::assembly;
/// let plain = assembly! { fn bump(n: &mut u64) { *n += 1 } };
/// let pinned = assembly! { fn bump(mut n: Pin<&mut u64>) { *n += 1 } };
/// let other = assembly! { fn bump(n: &mut u64) { *n *= 3 } };
/// assert!(plain == pinned && plain != other);
/// ```
///
/// # Panics
/// When the compiler cannot be asked.
#[macro_export]
macro_rules! assembly {
    ($($function:tt)*) => { $crate::probe::Assembly::ask(&$crate::__site!(), ::std::stringify!($($function)*)) };
}

/// The code that the macros in these items wrote. Attributes, most of them lists of lints, are left out, and so are paths into
/// what a macro keeps private.
///
/// The flag for this is unstable, so `RUSTC_BOOTSTRAP=1` is set for that one process.
///
/// ```
/// let code = pinlab::expanded! { #[derive(Clone)] struct Point { x: i32 } };
/// assert!(code.part("fn clone(").contains("self.x"));
/// ```
///
/// # Panics
/// When a macro refuses the items, or the compiler cannot be asked.
#[macro_export]
macro_rules! expanded {
    ($($items:tt)*) => { $crate::probe::Expanded::ask(&$crate::__site!(), ::std::stringify!($($items)*)) };
}

/// What the prelude has from the standard library.
const NAMES: &str = "#![allow(warnings)]
use std::{future::Future, marker::PhantomPinned, pin::{Pin, pin}, task::{Context, Poll, Waker}, time::{Duration, Instant}};";

/// Hands a program to the compiler.
#[track_caller]
fn rustc<const N: usize>(site: &Site, program: &str, arguments: [&str; N]) -> Output {
    let rustc = PathBuf::from(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    let mut command = Command::new(&rustc);
    command.args(["--edition=2024", "--crate-name=snippet", "--color=never"]).args(arguments).arg("-");
    if arguments.iter().any(|argument| argument.starts_with("-Z")) {
        command.env("RUSTC_BOOTSTRAP", "1");
    }
    site.lend_dependencies(program, &mut command);
    let output = run::run(&mut command, program, run::COMPILER).unwrap_or_else(|error| {
        panic!(
            "the compiler could not be started ({}: {error}). Put `rustc` on the PATH, or its path into the variable RUSTC.",
            rustc.display()
        )
    });
    if let Some(stopped) = output.stopped {
        panic!("the compiler has given no answer: the snippet keeps it busy. It was {stopped}");
    }
    output
}

/// A folder for one program; it goes when this does (invariant 3).
struct Workshop(PathBuf);

impl Workshop {
    #[track_caller]
    fn open() -> Self {
        // Each cell has a counter of its own, so the time tells two cells apart.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
        let name = format!("pinlab-{}-{now:x}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = env::temp_dir().join(name);
        fs::create_dir(&folder).unwrap_or_else(|error| panic!("no folder for a program ({}): {error}", folder.display()));
        Self(folder)
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What the compiler objects to in a program, with the line that it names. It checks as far as an error can be found in
/// code without type parameters, and generates nothing.
#[track_caller]
fn check(site: &Site, program: &str) -> Vec<(usize, CompileError)> {
    let output = rustc(site, program, ["--crate-type=bin", "--emit=metadata=-"]);
    let errors: Vec<_> = errors_in(&output.stderr).collect();
    assert_eq!(errors.is_empty(), output.status.success(), "what the compiler said is not understood:\n{}", output.stderr);
    errors
}

/// The errors, each with its line, in what the compiler says in pairs of lines such as
/// `error[E0277]: message` and `  --> <anon>:3:57`. An error that is nowhere (`aborting due to…`) only counts the others.
fn errors_in(stderr: &str) -> impl Iterator<Item = (usize, CompileError)> + '_ {
    let mut lines = stderr.lines();
    std::iter::from_fn(move || {
        loop {
            let Some((code, message)) = lines.next()?.strip_prefix("error").and_then(|rest| rest.split_once(": ")) else {
                continue;
            };
            let place = lines.next()?.trim_start().strip_prefix("--> <anon>:").and_then(|place| place.split(':').next());
            if let Some(line) = place.and_then(|line| line.parse().ok()) {
                let code = code.strip_prefix('[').and_then(|code| code.strip_suffix(']')).map(str::to_owned);
                return Some((line, CompileError { code, message: message.to_owned() }));
            }
        }
    })
}

/// The instructions in a file of assembly: what is neither a directive, nor a label, nor a comment.
fn instructions_in(assembly: &str) -> Vec<String> {
    let is_instruction = |line: &&str| {
        !(line.is_empty() || line.ends_with(':') || line.starts_with(['.', '#', ';', '@']) || line.starts_with("//"))
    };
    assembly
        .lines()
        .map(str::trim)
        .filter(is_instruction)
        .map(|line| without_hash(&line.split_whitespace().collect::<Vec<_>>().join(" ")))
        .collect()
}

/// The lines of expanded code that somebody might have written: without attributes, the compiler's own imports, and private paths.
fn code_in(expanded: &str) -> Vec<String> {
    let mut open_brackets = 0;
    let mut lines = Vec::new();
    for line in expanded.lines() {
        let code = line.trim_start();
        if open_brackets > 0 || code.starts_with("#[") || code.starts_with("#![") {
            open_brackets += code.matches('[').count();
            open_brackets -= code.matches(']').count().min(open_brackets);
        } else if !(code.starts_with("extern crate") || code.starts_with("use std::prelude::")) {
            lines.push(without_private_paths(line));
        }
    }
    lines
}

/// `_pin_project::__private::Pin` is `Pin`.
fn without_private_paths(line: &str) -> String {
    let mut parts = line.split("__private::");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let path = text.trim_end_matches(|c: char| c.is_alphanumeric() || c == '_' || c == ':').len();
        text.truncate(path);
        text += part;
    }
    text
}

/// `.Lanon.8c6b0ae4….1` names a constant by a hash over the whole program; which constant it is, the number at the end says.
fn without_hash(instruction: &str) -> String {
    let Some((before, rest)) = instruction.split_once("anon.") else { return instruction.to_owned() };
    let end = rest.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len());
    format!("{before}anon{}", &rest[end..])
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
    fn an_error_without_a_code_is_one_too() {
        let verdict = crate::compiles! { let text = ; };
        assert!(!verdict.compiles());
        assert_eq!(verdict.code(), None);
    }

    #[test]
    fn a_borrow_that_lasts_too_long_is_found_without_generating_code() {
        let verdict = crate::compiles! { let r; { let local = 7; r = &local; } println!("{r}"); };
        assert_eq!(verdict.code(), Some("E0597"));
    }

    #[test]
    fn a_snippet_runs_at_the_level_that_it_is_given() {
        let verdict = crate::compiles! { println!("{}", if cfg!(debug_assertions) { "checked" } else { "unchecked" }) };
        assert_eq!(verdict.run_at("0").stdout().trim(), "checked");
        assert_eq!(verdict.run_at("3").stdout().trim(), "unchecked");
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
    fn a_program_may_crash_without_harm() {
        let ran = crate::compiles! { println!("before"); std::process::abort() }.run();
        assert!(!ran.succeeded());
        assert_eq!(ran.stdout().trim(), "before");
        assert!(ran.to_string().contains("ended with"), "{ran}");
        assert!(crate::compiles! { println!("well"); }.run().succeeded());
    }

    #[test]
    fn a_snippet_may_use_the_crates_that_its_cell_has() {
        assert!(crate::compiles! { #[pin_project::pin_project] struct Wrapper<F>(#[pin] F); }.compiles());
        assert_eq!(crate::compiles! { use no_such_crate::Thing; }.code(), Some("E0432"));
    }

    #[test]
    fn what_a_macro_wrote_is_shown_without_its_lints() {
        let code = crate::expanded! { #[pin_project::pin_project] struct Wrapper<F> { #[pin] inner: F, count: u32 } };
        let project = code.part("fn project<");
        assert!(project.contains("inner: Pin::new_unchecked(inner),") && project.ends_with('}'), "{project}");
        assert_eq!(code.part("trait WrapperMustNotImplDrop"), "trait WrapperMustNotImplDrop {}");
        assert!(!code.to_string().contains("clippy") && !code.to_string().contains("__private"), "{code}");
        assert_eq!(code.part("no such words"), "");
    }

    #[test]
    fn nothing_of_a_hash_is_left_in_an_instruction() {
        let with = "leaq .Lanon.8c6b0ae4ba3cb4d4716e166d1c1540f0.1(%rip), %rax";
        assert_eq!(super::without_hash(with), "leaq .Lanon.1(%rip), %rax");
    }

    #[test]
    fn constants_and_panics_compare_by_what_they_are() {
        let plain = crate::assembly! { fn pick(from: &mut [u64], i: usize) -> u64 { from[i] } };
        let pinned = crate::assembly! { fn pick(from: Pin<&mut [u64]>, i: usize) -> u64 { from[i] } };
        assert_eq!(plain, pinned);
        assert!(!plain.instructions().is_empty());
    }

    #[test]
    fn a_function_that_does_not_compile_has_no_instructions_and_equals_nothing() {
        let refused = crate::assembly! { fn wrong(n: &u64) -> u64 { n } };
        assert!(refused.to_string().contains("refused, E0308"), "{refused}");
        assert_ne!(refused, refused.clone());
    }
}
