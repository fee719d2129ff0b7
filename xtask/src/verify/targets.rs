//! `cargo verify --targets`: this code as it is for other systems, as far as this machine can tell.
//!
//! Lints for another system need the source of the standard library and nothing else (`-Zbuild-std`): no linker, no SDK. The crate's tests run as
//! Windows programs under wine, where it is installed, with a linker for Windows. What is not there is skipped, with a word for it.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::steps::{self, Step};
use super::{Tally, outcome};
use crate::ui::Ui;

/// Everything that is built for other systems; each target has a folder in it.
const FOLDER: &str = "target/targets";
const WINDOWS: &str = "x86_64-pc-windows-gnu";

const LINTS: &[Step] = &[
    lint("clippy for Windows", &lints(WINDOWS)),
    lint("clippy for macOS on Apple silicon", &lints("aarch64-apple-darwin")),
    lint("clippy for macOS on Intel", &lints("x86_64-apple-darwin")),
    lint("clippy for Linux on ARM", &lints("aarch64-unknown-linux-gnu")),
    lint("clippy for FreeBSD", &lints("x86_64-unknown-freebsd")),
];

/// Test programs that need neither `rustc` nor what wine does not imitate well (sockets, timing).
const TESTS: &[&str] =
    &["allocations", "probes_address", "probes_disaster", "probes_traits", "probes_xray", "scheduling", "trace", "wakeups"];

/// wine 8 lacks this library, from which the standard library has its random numbers.
const RANDOM: &str = "#include <windows.h>
BOOLEAN NTAPI SystemFunction036(PVOID, ULONG);
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE to, SIZE_T len) { return SystemFunction036(to, (ULONG)len); }
";

const fn lint(name: &'static str, arguments: &'static [&'static str]) -> Step {
    Step {
        environment: &[("RUSTC_BOOTSTRAP", "1")],
        needs: &["sh", "-c", "test -f \"$(rustc --print sysroot)/lib/rustlib/src/rust/library/Cargo.toml\""],
        ..steps::cargo(name, arguments)
    }
}

const fn lints(target: &'static str) -> [&'static str; 19] {
    [
        "clippy",
        "-Zbuild-std",
        "--target",
        target,
        "--target-dir",
        FOLDER,
        "--package",
        "pinlab",
        "--package",
        "pinlab-kernel",
        "--package",
        "xtask",
        "--all-targets",
        "--",
        "-D",
        "warnings",
        // Where thread locals are keys it does not see that the initializer is `const` already.
        "-A",
        "clippy::missing_const_for_thread_local",
        "--no-deps",
    ]
}

pub(super) fn run(ui: &Ui, project: &Path) -> Result<Tally> {
    let mut tally = steps::run(ui, project, LINTS)?;
    tally.add(windows(ui, project)?);
    Ok(tally)
}

/// The crate's tests as Windows programs.
fn windows(ui: &Ui, project: &Path) -> Result<Tally> {
    let name = "tests as Windows programs";
    let skip = |why: &str| ui.say(format!("skip    {name}  ({why})"));
    let linker = "x86_64-w64-mingw32-gcc";
    let Some(wine) = ["wine64", "/usr/lib/wine/wine64", "wine"].into_iter().find(|wine| works(wine)) else {
        skip("there is no wine");
        return Ok(Tally::default());
    };
    if !works(linker) {
        skip("there is no linker for Windows: mingw-w64");
        return Ok(Tally::default());
    }
    let programs = project.join(FOLDER).join(WINDOWS).join("debug/deps");
    fs::create_dir_all(&programs).with_context(|| format!("cannot make {}", programs.display()))?;
    let source = programs.join("random.c");
    fs::write(&source, RANDOM).with_context(|| format!("cannot write {}", source.display()))?;
    let mut library = Command::new(linker);
    library.arg("-shared").arg("-o").arg(programs.join("bcryptprimitives.dll")).arg(&source).arg("-ladvapi32");
    let built = ui.run("a library that wine lacks", &mut library)?;
    if !built.status.success() {
        outcome(ui, false, name, built.seconds, &built.output);
        return Ok(Tally { passed: 0, failed: 1 });
    }
    let mut command = Command::new("cargo");
    command
        .args(["test", "-Zbuild-std=std,panic_unwind,test", "--target", WINDOWS, "--target-dir", FOLDER])
        .args(["--package", "pinlab", "--no-fail-fast", "--lib"])
        .args(TESTS.iter().flat_map(|test| ["--test", test]))
        // There is no compiler under wine.
        .args(["--", "--skip", "rustc::", "--skip", "miri::", "--skip", "lowered"])
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER", wine)
        .env("WINEPREFIX", project.join(FOLDER).join("wine"))
        .env("WINEDEBUG", "-all")
        .current_dir(project)
        .stdin(Stdio::null());
    let finished = ui.run(name, &mut command)?;
    let mut tally = steps::tests(&finished.output);
    let passed = finished.status.success();
    if passed != (tally.failed == 0) || tally == Tally::default() {
        tally.count(passed);
    }
    let what = format!("{name}: {} passed, {} failed", tally.passed, tally.failed);
    outcome(ui, passed, &what, finished.seconds, if passed { "" } else { &finished.output });
    Ok(tally)
}

fn works(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
