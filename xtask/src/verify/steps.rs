//! The checks that are one command each.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Result;
use regex::Regex;

use super::{Tally, outcome};
use crate::ui::Ui;

/// One command that must succeed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) program: &'static str,
    pub(super) arguments: &'static [&'static str],
    pub(super) environment: &'static [(&'static str, &'static str)],
    /// A command that must succeed for this step to be possible here; if it does not, the step is skipped and says so.
    pub(super) needs: &'static [&'static str],
}

pub(super) const fn cargo(name: &'static str, arguments: &'static [&'static str]) -> Step {
    Step { name, program: "cargo", arguments, environment: &[], needs: &[] }
}

/// What every run checks.
pub(super) const CRATES: &[Step] = &[
    cargo("fmt", &["fmt", "--all", "--check"]),
    cargo("clippy", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    Step { environment: &[("RUSTDOCFLAGS", "-D warnings")], ..cargo("rustdoc", &["doc", "--workspace", "--no-deps"]) },
    cargo("test", &["test", "--workspace", "--no-fail-fast"]),
];

/// What `--full` checks besides. Each step that takes long has its line here.
pub(super) const FULL: &[Step] = &[
    cargo(
        "tests that take minutes",
        &["test", "--release", "--package", "pinlab", "--test", "many", "--test", "model", "--", "--ignored"],
    ),
    Step {
        environment: &[("RUSTFLAGS", "--cfg pinlab_loom")],
        ..cargo("loom", &["test", "--release", "--package", "pinlab", "--lib", "--target-dir", "target/loom", "models"])
    },
    Step {
        environment: &[
            ("RUSTC_BOOTSTRAP", "1"),
            ("RUSTFLAGS", "-Zsanitizer=address"),
            ("ASAN_OPTIONS", "detect_stack_use_after_return=0"),
            PATIENCE,
        ],
        needs: &["rustc", "-Zsanitizer=address", "--print=cfg"],
        ..cargo("address and leak sanitizer", &sanitized("target/asan"))
    },
    Step {
        environment: &[("RUSTC_BOOTSTRAP", "1"), ("RUSTFLAGS", "-Zsanitizer=thread"), PATIENCE],
        needs: &["rustc", "-Zsanitizer=thread", "--print=cfg"],
        ..cargo("thread sanitizer", &sanitized("target/tsan"))
    },
    Step {
        environment: &[
            (
                "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER",
                "valgrind --quiet --fair-sched=yes --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite",
            ),
            PATIENCE,
        ],
        needs: &["valgrind", "--version"],
        ..cargo(
            "valgrind",
            &[
                "test",
                "--package",
                "pinlab",
                "--no-fail-fast",
                "--test",
                "lifetime",
                "--test",
                "panics",
                "--test",
                "combinations",
                "--",
                "--skip",
                LEAKS,
            ],
        )
    },
];

/// These tools make everything slow.
const PATIENCE: (&str, &str) = ("PINLAB_PATIENCE", "30");

/// The test that leaks on purpose: what a panic carries may panic in its own drop, and then nothing can be done but to let it be.
const LEAKS: &str = "a_panic_payload_that_panics_when_dropped_stops_nothing";

/// The engine's tests with a standard library that is instrumented like them (its source is there: the kernel needs it, too). The machine is
/// named as a target, so that build scripts are left as they are.
const fn sanitized(target_dir: &'static str) -> [&'static str; 20] {
    [
        "test",
        "-Zbuild-std",
        "--package",
        "pinlab",
        "--no-fail-fast",
        "--target",
        "host-tuple",
        "--target-dir",
        target_dir,
        "--test",
        "lifetime",
        "--test",
        "panics",
        "--test",
        "wakeups",
        "--test",
        "combinations",
        "--",
        "--skip",
        LEAKS,
    ]
}

/// Runs the steps one after the other. A test counts as one check, and so does a step that runs no tests.
pub(super) fn run(ui: &Ui, project: &Path, steps: &[Step]) -> Result<Tally> {
    let mut tally = Tally::default();
    for step in steps {
        if let [program, arguments @ ..] = step.needs {
            let found = Command::new(program)
                .args(arguments)
                .envs(step.environment.iter().copied())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success());
            if !found {
                ui.say(format!("skip    {}  (`{}` does not work here)", step.name, step.needs.join(" ")));
                continue;
            }
        }
        let mut command = Command::new(step.program);
        command.args(step.arguments).envs(step.environment.iter().copied()).current_dir(project).stdin(Stdio::null());
        let finished = ui.run(step.name, &mut command)?;
        let passed = finished.status.success();
        let tests = tests(&finished.output);
        let what = match tests.passed + tests.failed {
            0 => step.name.to_owned(),
            _ => format!("{}: {} passed, {} failed", step.name, tests.passed, tests.failed),
        };
        if tests == Tally::default() || (passed != (tests.failed == 0)) {
            tally.count(passed);
        }
        tally.add(tests);
        outcome(ui, passed, &what, finished.seconds, if passed { "" } else { &finished.output });
    }
    Ok(tally)
}

/// Adds up the summaries that the test harness prints.
pub(super) fn tests(output: &str) -> Tally {
    let summary = Regex::new(r"(?m)^test result: \w+\. (\d+) passed; (\d+) failed;").expect("the pattern is ours and is tested");
    let mut tally = Tally::default();
    for found in summary.captures_iter(output) {
        let number = |group: usize| found[group].parse().unwrap_or_default();
        tally.add(Tally { passed: number(1), failed: number(2) });
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summaries_of_all_test_binaries_are_added_up() {
        let output = "running 2 tests\ntest result: ok. 2 passed; 0 failed; 0 ignored\n\
                      test result: FAILED. 3 passed; 1 failed; 0 ignored\n";
        assert_eq!(tests(output), Tally { passed: 5, failed: 1 });
        assert_eq!(tests("no tests here"), Tally::default());
    }
}
