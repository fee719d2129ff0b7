//! What is run when a notebook is opened, before any of its cells: the program itself, with a notebook's folder as its working folder and a kernel that writes
//! down what it is given.

#![cfg(unix)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use pinlab_kernel::session;

/// A user's machine: their programs, their home, a store, and a clone with notebooks.
struct Machine {
    base: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let machine = Self { base: tempfile::tempdir().unwrap() };
        for folder in ["bin", "home", "store", "clone/my-notebooks"] {
            fs::create_dir_all(machine.path(folder)).unwrap();
        }
        machine.crate_in("clone");
        // The compiler writes down where it was asked.
        machine.program("rustc", &format!("pwd >> '{}'; echo /nowhere", machine.path("asked").display()));
        machine.program("rustup", "echo 'chosen-toolchain (default)'");
        // The kernel writes down what it is given, and dies.
        machine.program(
            "kernel",
            &format!(
                "cat \"$EVCXR_CONFIG_DIR/prelude.rs\" >> '{0}'; pwd >> '{0}'; echo \"$RUSTUP_TOOLCHAIN\" >> '{0}'; exit 1",
                machine.path("given").display()
            ),
        );
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.base.path().canonicalize().unwrap().join(name)
    }

    fn program(&self, name: &str, script: &str) {
        let path = self.path("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A support crate in this folder.
    fn crate_in(&self, folder: &str) {
        let support_crate = self.path(folder).join("support-crate");
        fs::create_dir_all(support_crate.join("src")).unwrap();
        fs::write(support_crate.join("Cargo.toml"), "[package]\nname = \"pinlab\"\n").unwrap();
        fs::write(support_crate.join("src/lib.rs"), "").unwrap();
    }

    /// The set-up has compiled the clone's crate.
    fn set_up(self) -> Self {
        let support_crate = self.path("clone/support-crate");
        let warm = session::warm_folder(&self.path("store"), &support_crate);
        fs::create_dir_all(warm.join(session::SESSION)).unwrap();
        fs::write(warm.join(session::COMPILED), session::state(&support_crate).unwrap()).unwrap();
        fs::write(warm.join(session::READY), "").unwrap();
        self
    }

    /// What the kernel is given at its first start, when a notebook in this folder is opened: what it loads, where it is, and its toolchain.
    fn opened(&self, folder: &str) -> String {
        let folder = self.path(folder);
        fs::create_dir_all(&folder).unwrap();
        let connection = self.path("connection.json");
        let ports = ["hb", "shell", "control", "stdin", "iopub"].map(|channel| format!("\"{channel}_port\": 0"));
        fs::write(
            &connection,
            format!("{{\"ip\": \"127.0.0.1\", \"transport\": \"tcp\", \"key\": \"k\", {}}}", ports.join(", ")),
        )
        .unwrap();
        let _ = fs::remove_file(self.path("given"));
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        let status = Command::new(env!("CARGO_BIN_EXE_pinlab-kernel"))
            .arg(connection)
            .arg(self.path("bin/kernel"))
            .current_dir(folder)
            .env_clear()
            .envs([("PATH", path.as_str()), ("CARGO_NET_OFFLINE", "true")])
            .envs([("HOME", self.path("home")), (session::STORE, self.path("store"))])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(!status.unwrap().success(), "its kernel dies");
        // It is started three times; the second time without the crate.
        let given = fs::read_to_string(self.path("given")).unwrap();
        given.split_inclusive("chosen-toolchain\n").next().unwrap().to_owned()
    }
}

/// Whether a kernel that is given this compiles the support crate.
fn loads_crate(given: &str) -> bool {
    given.contains(":dep pinlab")
}

#[test]
fn the_crate_is_loaded_where_the_set_up_has_compiled_it_and_nowhere_else() {
    let machine = Machine::new();
    assert!(!loads_crate(&machine.opened("clone/my-notebooks")), "it was never set up");
    let machine = machine.set_up();
    assert!(loads_crate(&machine.opened("clone/my-notebooks")));
    // As a class has it: a copy in the student's home, with a link beside it.
    fs::create_dir_all(machine.path("home/pinlab")).unwrap();
    symlink(machine.path("clone/support-crate"), machine.path("home/pinlab/support-crate")).unwrap();
    assert!(loads_crate(&machine.opened("home/pinlab/my-notebooks")));
    // Somebody else's crate beside somebody else's notebook, and a link to the reader's own that lies nearer.
    machine.crate_in("clone/my-notebooks/from-a-friend");
    assert!(!loads_crate(&machine.opened("clone/my-notebooks/from-a-friend/notebooks")));
    symlink(machine.path("clone/support-crate"), machine.path("clone/my-notebooks/from-a-friend/notebooks/support-crate"))
        .unwrap();
    assert!(!loads_crate(&machine.opened("clone/my-notebooks/from-a-friend/notebooks")));
}

#[test]
fn a_crate_that_has_changed_since_the_set_up_is_not_loaded() {
    // A file that is longer, a new one, and a program that cargo would run.
    for (file, text) in [("src/lib.rs", "// longer"), ("src/new.rs", ""), ("build.rs", "fn main() {}")] {
        let machine = Machine::new().set_up();
        fs::write(machine.path("clone/support-crate").join(file), text).unwrap();
        assert!(!loads_crate(&machine.opened("clone/my-notebooks")), "{file}");
    }
    let machine = Machine::new().set_up();
    let file = fs::File::options().write(true).open(machine.path("clone/support-crate/src/lib.rs")).unwrap();
    file.set_modified(SystemTime::now() + Duration::from_secs(2)).unwrap();
    assert!(!loads_crate(&machine.opened("clone/my-notebooks")), "its time is another");
}

#[test]
fn the_notebooks_folder_decides_neither_the_compiler_nor_what_the_kernel_begins_with() {
    let machine = Machine::new().set_up();
    let notebooks = machine.path("clone/my-notebooks");
    let given = machine.opened("clone/my-notebooks");
    assert!(given.ends_with(&format!("{}\nchosen-toolchain\n", notebooks.display())), "{given}");
    let asked = fs::read_to_string(machine.path("asked")).unwrap();
    assert!(!asked.is_empty() && asked.lines().all(|folder| Path::new(folder) != notebooks), "asked in {asked}");
    fs::write(notebooks.join("evcxr.toml"), "[evcxr]\nprelude = \"evil()\"\n").unwrap();
    let given = machine.opened("clone/my-notebooks");
    assert!(!loads_crate(&given) && !given.contains(&format!("{}\n", notebooks.display())), "{given}");
}
