//! The checks that are one command each.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;

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

/// `cargo test` for some of the engine's tests, which tools watch that make everything slow.
macro_rules! watched {
    ([$($command:literal),*] [$($option:expr),*] $($test:literal)*) => {
        &[$($command,)* "--package", "pinlab", "--no-fail-fast", $($option,)* $("--test", $test,)* "--", "--skip", LEAKS]
    };
}

/// With a standard library that is instrumented like the tests (its source is there: the kernel needs it, too). The machine is named as a target, so that
/// build scripts are left as they are.
macro_rules! sanitized {
    ($target_dir:literal $(, $option:literal)*) => {
        watched!(
            ["test"]
            ["-Zbuild-std", "--target", "host-tuple", "--target-dir", $target_dir $(, $option)*]
            "foreign_code" "once_broken" "lifetime" "panics" "combinations" "wakeups"
        )
    };
}

/// On the poller that Miri can run; and without the probes, which look at memory as Miri has none.
macro_rules! miri {
    () => {
        watched!(
            ["+nightly", "miri", "test"]
            ["--target-dir", "target/miri"]
            "foreign_code" "once_broken" "lifetime" "panics" "combinations" "scheduling"
        )
    };
}

const ADDRESS: Step = Step {
    environment: &[
        ("RUSTC_BOOTSTRAP", "1"),
        ("RUSTFLAGS", "-Zsanitizer=address"),
        ("ASAN_OPTIONS", "detect_stack_use_after_return=0"),
        PATIENCE,
    ],
    needs: &["rustc", "-Zsanitizer=address", "--print=cfg"],
    ..cargo("address and leak sanitizer", sanitized!("target/asan"))
};

const THREAD: Step = Step {
    environment: &[("RUSTC_BOOTSTRAP", "1"), ("RUSTFLAGS", "-Zsanitizer=thread"), PATIENCE],
    needs: &["rustc", "-Zsanitizer=thread", "--print=cfg"],
    ..cargo("thread sanitizer", sanitized!("target/tsan"))
};

const VALGRIND: Step = Step {
    environment: &[
        (
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER",
            "valgrind --quiet --fair-sched=yes --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite",
        ),
        PATIENCE,
    ],
    needs: &["valgrind", "--version"],
    ..cargo("valgrind", watched!(["test"] [] "foreign_code" "once_broken" "lifetime" "panics" "combinations"))
};

const MIRI: Step = Step {
    environment: &[("RUSTFLAGS", MIRI_POLLER), ("MIRIFLAGS", "-Zmiri-disable-isolation"), PATIENCE],
    needs: &["cargo", "+nightly", "miri", "--version"],
    ..cargo("Miri, stacked borrows", miri!())
};

/// What `--full` checks besides. Each step that takes long has its line here. In debug builds each task has a block of its own, so that tools see it end;
/// in release builds tasks share chunks and use memory again: so the tools watch both. What takes longest comes first.
pub(super) const FULL: &[Step] = &[
    MIRI,
    Step {
        name: "Miri, tree borrows",
        environment: &[("RUSTFLAGS", MIRI_POLLER), ("MIRIFLAGS", "-Zmiri-disable-isolation -Zmiri-tree-borrows"), PATIENCE],
        ..MIRI
    },
    cargo(
        "tests that take minutes",
        &["test", "--release", "--package", "pinlab", "--no-fail-fast", "--test", "many", "--test", "model", "--", "--ignored"],
    ),
    cargo("other items by chance", &["test", "--package", "pinlab", "--test", "probes_items", "--", "--ignored", "--nocapture"]),
    cargo(
        "memory used again",
        watched!(["test"] ["--release"] "foreign_code" "once_broken" "lifetime" "panics" "combinations" "wakeups" "scheduling"),
    ),
    Step {
        environment: &[("RUSTFLAGS", "--cfg pinlab_loom")],
        ..cargo("loom", &["test", "--release", "--package", "pinlab", "--lib", "--target-dir", "target/loom", "models"])
    },
    ADDRESS,
    Step { name: "address and leak sanitizer, memory used again", arguments: sanitized!("target/asan", "--release"), ..ADDRESS },
    THREAD,
    Step { name: "thread sanitizer, memory used again", arguments: sanitized!("target/tsan", "--release"), ..THREAD },
    VALGRIND,
    Step {
        name: "valgrind, memory used again",
        arguments: watched!(["test"] ["--release"] "foreign_code" "once_broken" "lifetime" "panics" "combinations"),
        ..VALGRIND
    },
];

/// These tools make everything slow.
const PATIENCE: (&str, &str) = ("PINLAB_PATIENCE", "30");

/// Miri has neither timers as descriptors nor events that tell of levels, so `polling` is told to use `poll`, which the tests bring along.
pub(super) const MIRI_POLLER: &str = "--cfg polling_test_poll_backend";

/// The test that leaks on purpose: what a panic carries may panic in its own drop, and so on without end; then it is let be.
const LEAKS: &str = "a_panic_payload_that_panics_when_dropped_stops_nothing";

/// Runs the steps one after the other. A test counts as one check, and so does a step that runs no tests.
pub(super) fn run(ui: &Ui, project: &Path, steps: &[Step]) -> Result<Tally> {
    let mut tally = Tally::default();
    for step in steps {
        tally.add(run_one(ui, project, step)?);
    }
    Ok(tally)
}

/// The same, as many at a time as there are cores: most of them use one.
pub(super) fn run_side_by_side(ui: &Ui, project: &Path, steps: &[Step]) -> Result<Tally> {
    side_by_side(steps, |step| run_one(ui, project, step))
}

/// Does something with each of these, as many at a time as there are processors.
pub(super) fn side_by_side<T: Sync>(items: &[T], work: impl Fn(&T) -> Result<Tally> + Sync) -> Result<Tally> {
    let lanes = thread::available_parallelism().map_or(1, usize::from);
    let rest = Mutex::new(items.iter());
    let next = || rest.lock().expect("no holder panics").next();
    let lane = || -> Result<Tally> {
        let mut tally = Tally::default();
        while let Some(item) = next() {
            tally.add(work(item)?);
        }
        Ok(tally)
    };
    thread::scope(|scope| {
        let lanes: Vec<_> = (0..lanes).map(|_| scope.spawn(lane)).collect();
        let mut tally = Tally::default();
        for lane in lanes {
            tally.add(lane.join().expect("no lane panics")?);
        }
        Ok(tally)
    })
}

/// Runs a step, or says that it is not possible here.
fn run_one(ui: &Ui, project: &Path, step: &Step) -> Result<Tally> {
    let mut tally = Tally::default();
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
            return Ok(tally);
        }
    }
    let mut command = Command::new(step.program);
    command.args(step.arguments).envs(step.environment.iter().copied()).current_dir(project).stdin(Stdio::null());
    // Some steps take an hour: what is wrong is told when it is found, and again at their end.
    let failed = |line: &str| line.starts_with("test ") && line.ends_with(" ... FAILED");
    let finished = ui.run_and(step.name, &mut command, |line| {
        if failed(line) {
            ui.say(format!("...   {}: {line}", step.name));
        }
    })?;
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
