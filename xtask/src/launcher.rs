//! What Jupyter starts in the kernel's place: it makes the surroundings right, then becomes the kernel.
//!
//! The kernel resolves dependencies afresh in each session, which asks the network and fails without one, although all that
//! is needed was downloaded long ago. Forbidding the network for good would take from readers the `:dep` lines of their own.
//! So it is tried at each start: if the registry does not answer, cargo is told to make do with what is there.
//!
//! A copy of this program is kept in the lab's folder, under a name made of this file's text: it must not reach into the
//! rest of the program, or a change there would go unnoticed.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// The text of this file: what the installed copy is keyed by.
pub(crate) const SOURCE: &str = include_str!("launcher.rs");

/// The longest that the registry may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Becomes the kernel: `arguments` are its program and its arguments.
pub(crate) fn launch(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(program) = arguments.next() else {
        eprintln!("xtask kernel: no program to start");
        return ExitCode::FAILURE;
    };
    let mut kernel = Command::new(program);
    kernel.args(arguments);
    if env::var_os("CARGO_NET_OFFLINE").is_none() && !online() {
        kernel.env("CARGO_NET_OFFLINE", "true");
    }
    // The kernel's compile cache takes what is not compiled incrementally for a library that never changes, cells included;
    // and profiles from outside would change the optimisation that the notebooks speak of.
    for (name, _) in env::vars_os() {
        if name == "CARGO_INCREMENTAL" || name.to_string_lossy().starts_with("CARGO_PROFILE_") {
            kernel.env_remove(name);
        }
    }
    run(kernel)
}

/// Asks cargo, with the user's own settings for mirrors and proxies, whether it reaches its registry.
pub(crate) fn online() -> bool {
    let Ok(folder) = tempfile::tempdir() else {
        return true;
    };
    let manifest = "[package]\nname = \"probe\"\nedition = \"2024\"\n[lib]\npath = \"lib.rs\"\n\
                    [dependencies]\npin-project = \"1\"\n[workspace]\n";
    let prepared =
        fs::write(folder.path().join("Cargo.toml"), manifest).and_then(|()| fs::write(folder.path().join("lib.rs"), ""));
    let child = Command::new("cargo")
        .arg("generate-lockfile")
        .current_dir(folder.path())
        .env("CARGO_NET_RETRY", "0")
        .env("CARGO_HTTP_TIMEOUT", "3")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let (Ok(()), Ok(mut child)) = (prepared, child) else {
        // Without cargo nothing works, and the kernel says so better than a guess from here.
        return true;
    };
    let started = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) if started.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(10)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return false;
            }
        }
    }
}

/// On Unix this process becomes the kernel, so that Jupyter's signals reach it.
#[cfg(unix)]
fn run(mut kernel: Command) -> ExitCode {
    use std::os::unix::process::CommandExt;
    let error = kernel.exec();
    eprintln!("cannot start {}: {error}", kernel.get_program().display());
    ExitCode::FAILURE
}

/// Elsewhere this process waits for the kernel; Jupyter interrupts and ends it by message.
#[cfg(not(unix))]
fn run(mut kernel: Command) -> ExitCode {
    match kernel.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cannot start {}: {error}", kernel.get_program().display());
            ExitCode::FAILURE
        }
    }
}
