//! Finding Miri, and running a program in it.

use super::{BorrowModel, Finding, report};
use crate::probe::rustc::{
    run::{self, Limits},
    snippet::features,
};
use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// For Miri's own preparation: the first time ever, it compiles a standard library, which takes a minute or two.
const PREPARATION: Limits = Limits { time: Duration::from_secs(300), output: 4 << 20 };
const RUN: Limits = Limits { time: Duration::from_secs(30), output: 1 << 20 };

/// What stands before a snippet, and after it.
const BEFORE: &str = "#![allow(warnings)]
use std::{future::Future, marker::PhantomPinned, pin::{Pin, pin}, task::{Context, Poll, Waker}, time::{Duration, Instant}};
fn main() {
";
const AFTER: &str = "\n;}\n";

pub(super) struct Interpreter {
    program: PathBuf,
    /// The standard library that it can look into.
    sysroot: String,
    pub(super) version: String,
}

impl Interpreter {
    /// Finds Miri in the nightly toolchain, or in the one that is used, where that is a nightly one. In words, why there is none.
    pub(super) fn find() -> Result<Self, String> {
        let not_here = || "Miri is not installed".to_owned();
        for toolchain in ["+nightly", ""] {
            let Some(home) = printed("rustc", toolchain, &["--print", "sysroot"]) else { continue };
            let program = Path::new(&home).join("bin").join(format!("miri{}", env::consts::EXE_SUFFIX));
            if !program.is_file() {
                continue;
            }
            // Asked to prepare itself without these, it would install them (invariant 3 of `miri`).
            if !Path::new(&home).join("lib/rustlib/src/rust/library/Cargo.toml").is_file() {
                return Err("Miri has no sources of the standard library (the component rust-src)".into());
            }
            let version = run::run(Command::new(&program).arg("--version"), "", RUN).map_err(|_| not_here())?;
            let sysroot =
                printed("cargo", toolchain, &["miri", "setup", "--print-sysroot"]).ok_or("Miri could not prepare itself")?;
            return Ok(Self { program, sysroot, version: format!("Miri of {}", version.stdout.trim()) });
        }
        Err(not_here())
    }

    pub(super) fn judge(&self, snippet: &str, model: BorrowModel) -> Result<Finding, String> {
        let mut command = Command::new(&self.program);
        command
            .args(["--edition=2024", "--crate-name=snippet", "--color=never", "-Zmiri-disable-isolation", "-Zmiri-ignore-leaks"])
            .args((model == BorrowModel::TreeBorrows).then_some("-Zmiri-tree-borrows"))
            .args(["--sysroot", &self.sysroot, "-"])
            .env("RUST_BACKTRACE", "0");
        clear(&mut command);
        let (features, statements) = features(snippet);
        let output = run::run(&mut command, &format!("{features}{BEFORE}{statements}{AFTER}"), RUN)
            .map_err(|error| format!("Miri could not be started ({error})"))?;
        Ok(report::read(model, snippet, BEFORE.lines().count(), &output))
    }
}

/// What a tool of a toolchain prints, if it is there and content.
fn printed(tool: &str, toolchain: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(tool);
    command.args((!toolchain.is_empty()).then_some(toolchain)).args(arguments);
    clear(&mut command);
    let output = run::run(&mut command, "", PREPARATION).ok()?;
    (output.status.success() && output.stopped.is_none()).then(|| output.stdout.trim().to_owned())
}

/// What is meant for the cell's own compiler is not meant for Miri; and nothing is to be installed for it.
fn clear(command: &mut Command) {
    for name in ["RUSTC", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_BOOTSTRAP"] {
        command.env_remove(name);
    }
    command.env("RUSTUP_AUTO_INSTALL", "0");
}
