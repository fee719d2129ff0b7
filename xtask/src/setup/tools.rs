//! The tools that must be there before the lab can be set up, and what to say when one is not.

use std::fmt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::ui::Ui;

/// The oldest compiler that the course works with; the workspace's `rust-version` says the same.
pub(crate) const OLDEST_RUST: (u32, u32) = (1, 95);

/// Something that the user has to install.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Missing {
    pub(crate) what: String,
    pub(crate) how: String,
}

impl Missing {
    pub(crate) fn new(what: impl Into<String>, how: impl Into<String>) -> Self {
        Self { what: what.into(), how: how.into() }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "missing: {}\n  to get it: {}", self.what, self.how)
    }
}

impl std::error::Error for Missing {}

/// The advice for the system this program was built for.
pub(crate) fn how_to_get(linux: &str, macos: &str, windows: &str) -> String {
    if cfg!(target_os = "macos") {
        macos
    } else if cfg!(windows) {
        windows
    } else {
        linux
    }
    .to_owned()
}

/// Runs a command silently; true if it could be run and succeeded.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// As [`succeeds`], for a program by its name.
pub(crate) fn runs(program: &str, arguments: &[&str]) -> bool {
    succeeds(Command::new(program).args(arguments))
}

/// What the compiler says of itself, all lines.
pub(crate) fn rustc_version() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").stdin(Stdio::null()).output().map_err(|_| missing_rust(None))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match parse_version(&text) {
        Some(version) if version >= OLDEST_RUST => Ok(text),
        found => Err(missing_rust(found).into()),
    }
}

/// The first two numbers of `rustc 1.95.0 (…)`.
pub(crate) fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split_whitespace().nth(1)?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// No compiler, or one that is too old.
pub(crate) fn missing_rust(found: Option<(u32, u32)>) -> Missing {
    let (major, minor) = OLDEST_RUST;
    match found {
        Some((a, b)) => Missing::new(
            format!("Rust {major}.{minor} or newer (the kernel would use {a}.{b})"),
            "rustup update stable && rustup default stable",
        ),
        None => Missing::new(format!("Rust {major}.{minor} or newer"), "install rustup, then: rustup default stable"),
    }
}

/// Cells are linked into shared libraries, so the compiler alone is not enough.
pub(crate) fn check_linker() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let source = folder.path().join("main.rs");
    std::fs::write(&source, "fn main() {}")?;
    let mut command = Command::new("rustc");
    // Who has a linker of another name (conda's) says so to cargo by a variable.
    if let Some(linker) = linker_for_cargo() {
        command.arg(linker);
    }
    let output =
        command.arg(&source).arg("--out-dir").arg(folder.path()).stdin(Stdio::null()).output().map_err(|_| missing_rust(None))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.contains("linker") || said.contains("link.exe") {
        return Err(missing_linker().into());
    }
    bail!("rustc cannot compile an empty program:\n{said}")
}

/// What cargo would tell rustc of a linker that a variable names, for this machine.
fn linker_for_cargo() -> Option<std::ffi::OsString> {
    let version = rustc_version().ok()?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "))?;
    let name = format!("CARGO_TARGET_{}_LINKER", host.replace(['-', '.'], "_").to_uppercase());
    let mut argument = std::ffi::OsString::from("-Clinker=");
    argument.push(std::env::var_os(name)?);
    Some(argument)
}

pub(crate) fn missing_linker() -> Missing {
    Missing::new(
        "a C linker (rustc needs one to make programs)",
        how_to_get(
            "apt install build-essential, or your system's equal",
            "xcode-select --install",
            "install the Build Tools for Visual Studio with the C++ workload",
        ),
    )
}

/// The kernel reads the standard library's source to learn the types of variables.
pub(crate) fn check_rust_source(ui: &Ui) -> Result<()> {
    if rust_source()?.is_dir() {
        return Ok(());
    }
    let mut command = Command::new("rustup");
    command.args(["component", "add", "rust-src"]).stdin(Stdio::null());
    if runs("rustup", &["--version"]) && ui.run("adding the standard library's source", &mut command)?.status.success() {
        return Ok(());
    }
    Err(missing_rust_source().into())
}

pub(crate) fn missing_rust_source() -> Missing {
    Missing::new(
        "the source of the standard library (the kernel learns the types of your variables from it)",
        "rustup component add rust-src, or the package rust-src of your system",
    )
}

/// Where the standard library's source is, if it is installed.
pub(crate) fn rust_source() -> Result<PathBuf> {
    let output =
        Command::new("rustc").args(["--print", "sysroot"]).stdin(Stdio::null()).output().map_err(|_| missing_rust(None))?;
    let sysroot = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    Ok(sysroot.join("lib/rustlib/src/rust/library"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_compiler_is_told_apart_from_a_new_one() {
        assert_eq!(parse_version("rustc 1.95.0 (59807616e 2026-04-14)\nbinary: rustc"), Some((1, 95)));
        assert!(parse_version("rustc 1.80.1-nightly").unwrap() < OLDEST_RUST);
        assert_eq!(parse_version("command not found"), None);
        assert!(missing_rust(Some((1, 80))).to_string().contains("1.80"));
    }

    #[test]
    fn the_oldest_compiler_is_the_workspaces() {
        let manifest = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")).unwrap();
        assert!(manifest.contains(&format!("rust-version = \"{}.{}\"", OLDEST_RUST.0, OLDEST_RUST.1)));
    }

    #[test]
    fn every_message_says_what_is_missing_and_how_to_get_it() {
        for missing in [missing_rust(None), missing_linker(), missing_rust_source()] {
            let text = missing.to_string();
            assert!(text.starts_with("missing: ") && text.contains("\n  to get it: "), "{text}");
        }
    }
}
