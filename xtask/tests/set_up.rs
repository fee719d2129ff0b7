//! Machines on which something is missing: `cargo lab setup` ends with a message that says what to do, and leaves nothing behind.
//!
//! Each test gives the set-up a search path of its own, a store that is empty, and a home. Where a part of the system itself must be missing, it is hidden in a
//! mount namespace; where there are none, the test says so and is skipped.

#![cfg(target_os = "linux")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What a machine has on which the lab can be set up.
const TOOLS: [&str; 10] = ["rustc", "cargo", "cc", "ld", "as", "python3", "sh", "mount", "sleep", "mkdir"];

/// A machine, as far as the set-up can see.
struct Machine {
    base: tempfile::TempDir,
    environment: Vec<(&'static str, String)>,
    /// Run by a shell before the set-up, as root of a namespace of its own.
    hidden: Option<String>,
}

impl Machine {
    /// All tools are there, and nothing is installed.
    fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        for folder in ["bin", "home", "store"] {
            fs::create_dir(base.path().join(folder)).unwrap();
        }
        for tool in TOOLS {
            if let Some(program) = found(tool) {
                symlink(program, base.path().join("bin").join(tool)).unwrap();
            }
        }
        // What Rust needs is in the home that is hidden.
        let home = std::env::var("HOME").unwrap();
        let kept = |name, folder: &str| (name, std::env::var(name).unwrap_or_else(|_| format!("{home}/{folder}")));
        let environment = vec![kept("CARGO_HOME", ".cargo"), kept("RUSTUP_HOME", ".rustup"), ("PIP_RETRIES", "0".to_owned())];
        Self { base, environment, hidden: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.base.path().join(name)
    }

    fn without(self, tool: &str) -> Self {
        fs::remove_file(self.path("bin").join(tool)).unwrap();
        self
    }

    /// A program of this name that is a shell script. `$REAL` is the one that it stands for.
    fn with(self, tool: &str, script: &str) -> Self {
        let real = found(tool).unwrap_or_default();
        let program = self.path("bin").join(tool);
        let _ = fs::remove_file(&program);
        fs::write(&program, format!("#!/bin/sh\nREAL='{}'\n{script}\n", real.display())).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    fn set(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.to_owned()));
        self
    }

    fn hiding(mut self, script: &str) -> Self {
        self.hidden = Some(script.to_owned());
        self
    }

    /// What `cargo lab setup` says there, once it has failed; `None` if the machine cannot be had.
    fn set_up(&self) -> Option<String> {
        let Output { status, stdout, stderr } = self.command()?.output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert_eq!(status.code(), Some(1), "it must fail, with a message:\n{said}");
        Some(said)
    }

    /// The set-up; `None` if the machine cannot be had.
    fn command(&self) -> Option<Command> {
        let xtask = env!("CARGO_BIN_EXE_xtask");
        let mut command = match &self.hidden {
            None => Command::new(xtask),
            Some(script) => {
                if !succeeds(Command::new("unshare").args(["--map-root-user", "--mount", "true"])) {
                    eprintln!("skipped: this system gives no mount namespaces");
                    return None;
                }
                let mut command = Command::new(found("unshare").unwrap_or_default());
                command.args(["--map-root-user", "--mount", "sh", "-ec", &format!("{script}\nexec \"$@\""), "sh", xtask]);
                command
            }
        };
        command.args(["lab", "setup"]);
        command.env_clear().env("PATH", self.path("bin")).env("HOME", self.path("home")).env("PINLAB_STORE", self.path("store"));
        command.env("STORE", self.path("store")).envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null());
        Some(command)
    }

    /// What is in the store, but for what is always there.
    fn installed(&self) -> Vec<String> {
        let names = fs::read_dir(self.path("store")).into_iter().flatten().flatten();
        let names = names.map(|entry| entry.file_name().into_string().unwrap());
        names.filter(|name| name != "lock" && name != "sessions").collect()
    }

    /// The set-up fails, says all of this, and nothing half-installed is left. (What was mounted in a namespace is gone with it.)
    #[track_caller]
    fn says(self, words: &[&str]) {
        let Some(said) = self.set_up() else { return };
        for word in words {
            assert!(said.contains(word), "`{word}` is not in\n{said}");
        }
        assert!(!said.contains("panicked"), "{said}");
        assert_eq!(self.installed(), [""; 0], "is left");
    }
}

/// Where this program is on the search path.
fn found(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(tool)).find(|program| program.is_file())
}

fn succeeds(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// A Python as `found` in the set-up asks for it: this version, and whether it can make environments.
fn python(version: &str, venv: bool) -> String {
    let ends = u8::from(!venv);
    format!("case \"$2\" in *version_info*) echo {version} /usr/bin/python3;; *venv*) exit {ends};; *) exit 1;; esac")
}

#[test]
fn no_rust() {
    Machine::new().without("rustc").says(&["missing: Rust 1.95 or newer", "install rustup"]);
}

#[test]
fn a_rust_that_is_too_old() {
    let old = "echo 'rustc 1.80.1 (3f5fd8dd4 2024-08-06)'";
    Machine::new().with("rustc", old).says(&["Rust 1.95 or newer (the kernel would use 1.80)", "rustup update stable"]);
}

#[test]
fn no_linker() {
    Machine::new().without("cc").says(&["missing: a C linker", "apt install build-essential"]);
}

#[test]
fn no_source_of_the_standard_library() {
    let elsewhere = "case \"$*\" in *sysroot*) echo /nowhere;; *) exec \"$REAL\" \"$@\";; esac";
    Machine::new()
        .with("rustc", elsewhere)
        .says(&["missing: the source of the standard library", "rustup component add rust-src"]);
}

#[test]
fn no_python() {
    let hides = "real=$(/usr/bin/readlink -f /usr/bin/python3) && mount --bind /dev/null \"$real\"";
    let machine = Machine::new().without("python3");
    let machine = if Path::new("/usr/bin/python3").exists() { machine.hiding(hides) } else { machine };
    machine.says(&["missing: Python 3.10 or newer (none was found", "apt install python3 python3-venv"]);
}

#[test]
fn a_python_that_cannot_make_environments() {
    Machine::new().with("python3", &python("3 11", false)).says(&["missing: ", "venv"]);
}

#[test]
fn killed_in_the_middle_and_run_again() {
    let slow =
        format!("case \"$1\" in -m) mkdir -p \"$4\"; echo > \"$4/begun\"; sleep 2; exit 1;; esac\n{}", python("3 11", true));
    let machine = Machine::new().with("python3", &slow);
    let mut first = machine.command().unwrap().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    // Not before it has made its folder: an orphan that makes it later would do so after the second run has swept.
    let has_begun = || machine.installed().iter().any(|name| machine.path("store").join(name).join("begun").is_file());
    while !has_begun() {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing is being installed");
        thread::sleep(Duration::from_millis(10));
    }
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(machine.installed().len(), 1, "what was half-installed");
    machine.says(&["Python could not make a virtual environment"]);
}

#[test]
fn no_network() {
    let nobody = "http://127.0.0.1:9";
    Machine::new()
        .set("HTTPS_PROXY", nobody)
        .set("HTTP_PROXY", nobody)
        .set("ALL_PROXY", nobody)
        .set("PIP_NO_INDEX", "1")
        .says(&["The set-up needs the network", "HTTPS_PROXY", "run the same command again"]);
}

#[test]
fn a_full_disk() {
    Machine::new().hiding("mount -t tmpfs -o size=1m tmpfs \"$STORE\"").says(&[
        "The disk is full",
        "PINLAB_STORE",
        "run the same command again",
    ]);
}

#[test]
fn a_store_that_can_only_be_read() {
    Machine::new()
        .hiding("mount --bind \"$STORE\" \"$STORE\" && mount -o remount,bind,ro \"$STORE\"")
        .says(&["can only be read", "PINLAB_STORE name a folder that you may write in"]);
}

/// Found by reading: all that was in such a folder was removed.
#[test]
fn a_store_in_which_there_is_something_of_the_users() {
    let machine = Machine::new();
    let theirs = machine.path("store/photos");
    fs::create_dir(&theirs).unwrap();
    fs::write(theirs.join("letter.txt"), "mine").unwrap();
    let said = machine.set_up().unwrap();
    assert!(said.contains("`photos` is in it") && said.contains("Let PINLAB_STORE name a folder that is empty"), "{said}");
    assert_eq!(machine.installed(), ["photos"]);
    assert_eq!(fs::read_to_string(theirs.join("letter.txt")).unwrap(), "mine");
}

#[test]
fn a_store_that_is_a_file() {
    let machine = Machine::new();
    fs::remove_dir(machine.path("store")).unwrap();
    fs::write(machine.path("store"), "somebody's").unwrap();
    let said = machine.set_up().unwrap();
    assert!(said.contains("There is a file where a folder must be"), "{said}");
    assert_eq!(fs::read_to_string(machine.path("store")).unwrap(), "somebody's");
}
