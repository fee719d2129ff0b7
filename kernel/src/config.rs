//! What the kernel runs before the first cell: a folder with an `init.evcxr` and a `prelude.rs`.
//!
//! 1. What the user has for the kernel (the folder in `EVCXR_CONFIG_DIR`, else the one of this system's) comes first, and whole.
//! 2. `prelude.rs` loads the crates of the first cell, where a notebook of the course is opened and the set-up has compiled them: the first cell then has
//!    nothing to wait for. Nowhere else: what it loads is compiled, and runs, before the reader has seen the notebook. It brings the panic hook into every
//!    cell, and makes one variable: what the kernel learns about the standard library for that takes seconds, once. All of it is one piece of code to the
//!    kernel, so that it reads the standard library once and not twice.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The variable that names the user's own folder.
pub const VARIABLE: &str = "EVCXR_CONFIG_DIR";

/// The file by which the kernel is configured as well. One in the working folder comes before all that is in the user's own.
pub const FILE: &str = "evcxr.toml";

/// The lines of the first cell of each notebook, but for the last one: what is in scope is for the cell to say.
const CRATES: &str = ":cache 1024\n:dep pinlab = { path = \"../support-crate\" }\n:dep pin-project = \"=1.1.13\"\n";

/// The panic hook. A cell that has the support crate takes it from there: to compile it takes as long as a fifth of what a short cell takes.
pub(crate) const HOOK: &str = include_str!("../../support-crate/src/probe/panic_hook.rs");

/// Runs the hook's `install` whenever a cell is loaded. The kernel compiles this into every cell.
const INSTALL: &str = r#"#[used]
#[cfg_attr(target_vendor = "apple", unsafe(link_section = "__DATA,__mod_init_func"))]
#[cfg_attr(windows, unsafe(link_section = ".CRT$XCU"))]
#[cfg_attr(not(any(target_vendor = "apple", windows)), unsafe(link_section = ".init_array"))]
static INSTALL: unsafe extern "C" fn() = install;
"#;

/// One variable, which goes again: what is moved away is not kept.
const VARIABLE_MADE: &str = "let pinlab_warm = String::new();\ndrop(pinlab_warm);\n";

/// One whose type the kernel learns from the support crate, for which it reads all that this crate depends on.
const VARIABLE_OF_CRATE: &str = "let pinlab_warm = Box::new(pinlab::prelude::address_of(&()));\ndrop(pinlab_warm);\n";

/// Makes the folder.
///
/// # Errors
/// What cannot be read or written.
pub fn write(folder: &Path, crates: bool) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let users = users_folder();
    let mut files: Vec<(std::ffi::OsString, String)> = Vec::new();
    for entry in users.iter().flat_map(fs::read_dir).flatten().flatten() {
        // Whatever else is in there is not read by the kernel.
        if let Ok(text) = fs::read_to_string(entry.path()) {
            files.push((entry.file_name(), text));
        }
    }
    let mut add = |name: &str, text: &str| match files.iter_mut().find(|(known, _)| known == OsStr::new(name)) {
        Some((_, users)) => *users = format!("{}\n{text}", users.trim_end()),
        None => files.push((name.into(), text.to_owned())),
    };
    let (crates, hook, variable) = if crates {
        (CRATES, "use pinlab::probe::hidden::install_panic_hook as install;\n", VARIABLE_OF_CRATE)
    } else {
        ("", HOOK, VARIABLE_MADE)
    };
    add("prelude.rs", &format!("{crates}mod pinlab_notebook {{\n{hook}{INSTALL}}}\n{variable}"));
    for (name, text) in files {
        fs::write(folder.join(name), text)?;
    }
    Ok(())
}

fn users_folder() -> Option<PathBuf> {
    match std::env::var_os(VARIABLE) {
        Some(folder) => Some(PathBuf::from(folder)),
        None => users_folder_of_this_system(),
    }
}

/// Where the kernel itself looks.
fn users_folder_of_this_system() -> Option<PathBuf> {
    use etcetera::BaseStrategy;
    let folders = etcetera::base_strategy::choose_native_strategy().ok()?;
    // On macOS the kernel takes Library/Application Support, which is the folder for data here.
    let folder = if cfg!(target_os = "macos") { folders.data_dir() } else { folders.config_dir() };
    Some(folder.join("evcxr"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_user_has_comes_first() {
        let (users, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(users.path().join("prelude.rs"), "use std::rc::Rc;\n").unwrap();
        fs::write(users.path().join("init.evcxr"), ":opt 1\n").unwrap();
        fs::write(users.path().join("evcxr.toml"), "[evcxr]\n").unwrap();
        // SAFETY: FFI: the other tests ask for the environment through the standard library alone, which locks it, and none of them for this variable.
        unsafe { std::env::set_var(VARIABLE, users.path()) };
        write(folder.path(), true).unwrap();
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(
            read("prelude.rs").starts_with(&format!("use std::rc::Rc;\n{CRATES}mod pinlab_notebook")),
            "{}",
            read("prelude.rs")
        );
        assert_eq!((read("init.evcxr").as_str(), read("evcxr.toml").as_str()), (":opt 1\n", "[evcxr]\n"));
        write(folder.path(), false).unwrap();
        assert!(read("prelude.rs").starts_with("use std::rc::Rc;\nmod pinlab_notebook"), "{}", read("prelude.rs"));
    }

    /// The hook in a program of its own, which has the kernel's name for a cell's code; its output, with calls or without.
    fn says(main: &str, calls: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let program = format!(
            "mod pinlab_notebook {{\n{HOOK}{INSTALL}}}\n#[inline(never)] fn inner(boom: bool) {{ if boom {{ panic!(\"boom\") }} }}\n\
             #[inline(never)] fn outer() {{ inner(true); std::hint::black_box(()); }}\n\
             #[inline(never)] fn run_user_code_7() {{ outer(); std::hint::black_box(()); }}\n\
             fn main() {{ {main} run_user_code_7() }}"
        );
        fs::create_dir(folder.path().join("src")).unwrap();
        fs::write(folder.path().join("src/lib.rs"), program).unwrap();
        let built = folder.path().join(format!("program{}", std::env::consts::EXE_SUFFIX));
        let mut rustc = std::process::Command::new("rustc");
        rustc.args(["--edition=2024", "src/lib.rs", "--crate-type=bin", "-o"]).arg(&built).current_dir(folder.path());
        let made = rustc.output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let output = std::process::Command::new(&built).env("PINLAB_BACKTRACE", calls).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    #[test]
    fn the_calls_are_shown_on_demand_from_the_panic_to_the_cell() {
        assert_eq!(says("", "0").lines().count(), 1);
        let said = says("", "1");
        let places: Vec<_> = ["\tboom\n", "calls:\n", "inner", "outer", ": this cell\n"].map(|name| said.find(name)).into();
        assert!(places.iter().all(Option::is_some) && places.is_sorted() && said.ends_with("this cell\n"), "{said}");
        assert!(!said.contains("panicking") && !said.contains("src/lib.rs:"), "{said}");
    }

    /// A cell is loaded after one that has silenced panics and gone back to the default, or has set a hook that is to stay.
    #[test]
    fn the_hook_comes_back_after_a_cell_that_has_taken_it_and_leaves_the_readers_own() {
        let silent = "std::panic::set_hook(Box::new(|_| {})); drop(std::panic::take_hook());";
        assert_eq!(says(silent, "0"), "");
        assert!(says(&format!("{silent} unsafe {{ pinlab_notebook::install() }};"), "0").ends_with("\tboom\n"));
        let own = "std::panic::set_hook(Box::new(|_| println!(\"mine\"))); unsafe { pinlab_notebook::install() };";
        assert_eq!(says(own, "0"), "mine\n");
        assert!(says("unsafe { pinlab_notebook::install() }; unsafe { pinlab_notebook::install() };", "0").ends_with("\tboom\n"));
    }
}
