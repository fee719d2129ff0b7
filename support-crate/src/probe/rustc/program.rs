//! Does it run, and what does it print?

use super::{
    run::{self, Output},
    site::{Site, compiler},
    snippet::features,
};
use crate::show::to_notebook;
use std::{
    env, fmt, fs,
    path::PathBuf,
    process::{self, Command},
    sync::atomic::{AtomicU64, Ordering},
};

/// What the prelude has from the standard library.
pub(super) const NAMES: &str = "#![allow(warnings)]
use std::{future::Future, marker::PhantomPinned, pin::{Pin, pin}, task::{Context, Poll, Waker}, time::{Duration, Instant}};";

/// How a program ended, and what it printed; made by [`Verdict::run`](super::Verdict::run).
#[derive(Debug, Clone)]
pub struct Ran {
    /// Or why it was not run.
    outcome: Result<Output, String>,
}

impl Ran {
    #[track_caller]
    pub(super) fn build_and_run(site: &Site, program: &str, level: &str) -> Self {
        let folder = Folder::new();
        let built = folder.0.join(format!("snippet{}", env::consts::EXE_SUFFIX));
        let (level, out) = (format!("-Copt-level={level}"), format!("-o{}", built.display()));
        let linker = linker().map(|linker| format!("-Clinker={linker}"));
        let arguments = ["--crate-type=bin", &level, &out].into_iter().chain(linker.as_deref());
        let output = rustc(site, program, arguments);
        if output.stderr.contains("linker `") && output.stderr.contains("` not found") {
            let name = output.stderr.split('`').nth(1).unwrap_or_default();
            let why = format!(
                "a program needs a linker, and `{name}` was not found. It comes with a C compiler. Another one can be named in the \
                 variable CARGO_TARGET_<TARGET>_LINKER, as for cargo."
            );
            return Self { outcome: Err(why) };
        }
        assert!(output.status.success(), "the compiler could not build the program. It said:\n{}", output.stderr);
        let output = run::run(Command::new(&built).env_remove("RUST_BACKTRACE"), "", run::PROGRAM);
        Self { outcome: Ok(output.unwrap_or_else(|error| panic!("the program could not be started: {error}"))) }
    }

    /// Whether it came to its end: no panic, no crash, no limit.
    pub fn succeeded(&self) -> bool {
        self.outcome.as_ref().is_ok_and(|output| output.stopped.is_none() && output.status.success())
    }

    /// What it printed.
    pub fn stdout(&self) -> &str {
        self.outcome.as_ref().map_or("", |output| &output.stdout)
    }

    /// What it complained of; where it could not be run, why.
    pub fn stderr(&self) -> &str {
        self.outcome.as_ref().map_or_else(|why| why, |output| &output.stderr)
    }

    /// Shows the output in a notebook.
    pub fn evcxr_display(&self) {
        to_notebook(&[("text/plain", &self.to_string())]);
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let output = match &self.outcome {
            Ok(output) => output,
            Err(why) => return write!(f, "not run: {why}"),
        };
        let end = match output.stopped {
            Some(stopped) => stopped.to_string(),
            None if self.succeeded() => String::new(),
            None => format!("ended with {}", output.status),
        };
        let complaint = if self.succeeded() { "" } else { output.stderr.trim() };
        let parts = [output.stdout.trim_end(), complaint, &end];
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        f.write_str(&parts.join("\n"))
    }
}

/// Hands a program to the compiler.
#[track_caller]
pub(super) fn rustc<'a>(site: &Site, program: &str, arguments: impl IntoIterator<Item = &'a str>) -> Output {
    let rustc = compiler();
    let mut command = Command::new(&rustc);
    command.args(["--edition=2024", "--crate-name=snippet", "--color=never"]);
    for argument in arguments {
        command.arg(argument);
        if argument.starts_with("-Z") {
            command.env("RUSTC_BOOTSTRAP", "1");
        }
    }
    if !features(program).0.is_empty() {
        command.env("RUSTC_BOOTSTRAP", "1");
    }
    site.lend_dependencies(program, &mut command);
    let output = run::run(command.arg("-"), program, run::COMPILER).unwrap_or_else(|error| {
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

/// The linker that cargo would use: it may be named in a variable, and `rustc` alone does not look there.
fn linker() -> Option<String> {
    let is_linker = |name: &str| name.starts_with("CARGO_TARGET_") && name.ends_with("_LINKER");
    env::vars_os().find(|(name, _)| name.to_str().is_some_and(is_linker))?;
    let host = run::run(Command::new(compiler()).args(["--print", "host-tuple"]), "", run::COMPILER).ok()?.stdout;
    env::var(format!("CARGO_TARGET_{}_LINKER", host.trim().to_uppercase().replace(['-', '.'], "_"))).ok()
}

/// A folder for one program; it goes when this does.
struct Folder(PathBuf);

impl Folder {
    #[track_caller]
    fn new() -> Self {
        // Each cell has a counter of its own, so the time tells two cells apart.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
        let name = format!("pinlab-{}-{now:x}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        // In a notebook it goes with the session, even if the cell is killed first.
        let folder = env::var_os("EVCXR_TMPDIR").map_or_else(env::temp_dir, PathBuf::from).join(name);
        fs::create_dir(&folder).unwrap_or_else(|error| panic!("no folder for a program ({}): {error}", folder.display()));
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_crash_without_harm() {
        let ran = crate::compiles! { println!("before"); std::process::abort() }.run();
        assert!(!ran.succeeded());
        assert_eq!(ran.stdout().trim(), "before");
        assert!(ran.to_string().contains("ended with"), "{ran}");
        assert!(crate::compiles! { println!("well"); }.run().succeeded());
    }

    #[test]
    fn a_snippet_runs_at_the_level_that_it_is_given() {
        let verdict = crate::compiles! { println!("{}", if cfg!(debug_assertions) { "checked" } else { "unchecked" }) };
        assert_eq!(verdict.run_at("0").stdout().trim(), "checked");
        assert_eq!(verdict.run_at("3").stdout().trim(), "unchecked");
    }

    #[test]
    fn a_program_that_prints_for_ever_is_stopped_soon() {
        let ran = crate::compiles! { loop { println!("on and on") } }.run();
        assert!(!ran.succeeded() && ran.stdout().len() <= 64 << 10);
        assert!(ran.to_string().ends_with("stopped: it had printed more than 64 KiB"), "{ran}");
    }

    /// In a process of its own, whose variables nobody else sees.
    #[test]
    fn the_linker_is_the_one_that_cargo_would_use_and_a_missing_one_is_no_panic() {
        let host = run::run(Command::new(compiler()).args(["--print", "host-tuple"]), "", run::COMPILER).unwrap().stdout;
        let name = format!("CARGO_TARGET_{}_LINKER", host.trim().to_uppercase().replace('-', "_"));
        let this = env::current_exe().unwrap();
        let arguments = ["--exact", "probe::rustc::program::tests::says_how_it_ran", "--include-ignored", "--nocapture"];
        let output = Command::new(this).args(arguments).env(name, "no-such-linker").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("not run: a program needs a linker, and `no-such-linker` was not found"), "{said}");
    }

    #[test]
    #[ignore = "started by another test"]
    fn says_how_it_ran() {
        println!("{}", crate::compiles! { println!("well") }.run());
    }
}
