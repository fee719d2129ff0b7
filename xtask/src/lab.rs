//! `cargo lab`: opens JupyterLab on the reader's own copy of the notebooks; and the chores about what it installed.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use etcetera::BaseStrategy as _;
use pinlab_kernel::session::{self, SESSIONS};

use crate::copy;
use crate::digest::digest;
use crate::installed::Lab;
use crate::setup;
use crate::setup::store::{JUPYTER, Store, write_whole};
use crate::ui::Ui;

/// The folder whose `custom.css` JupyterLab adds to its own, and which it searches for settings (`labconfig/`).
const SETTINGS: &str = "xtask/lab";

/// The notebook that is opened first.
const FIRST: &str = "00-start-here.ipynb";

/// The file that says that a kernel spec among the user's own is ours.
const MARKER: &str = "pinlab.txt";

/// JupyterLab's variable for the folder of what it calls workspaces.
const TABS: &str = "JUPYTERLAB_WORKSPACES_DIR";

/// How JupyterLab is started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Open it in the user's browser.
    pub(crate) browser: bool,
    /// The port to listen on; Jupyter's own choice if not given.
    pub(crate) port: Option<u16>,
}

/// Sets up what is missing, then becomes JupyterLab. True if that ended well.
pub(crate) fn open(project: &Path, options: Options) -> Result<bool> {
    let ui = Ui::new();
    check_clone(project)?;
    if let Some(port) = options.port {
        check_port(port)?;
    }
    let lab = setup::ensure(&ui, project)?;
    let update = copy::update(project)?;
    update.told.iter().for_each(|line| ui.say(line));
    let mut command = command(&lab, project, &project.join(copy::FOLDER));
    let page = if update.first { FIRST } else { "README.md" };
    command.arg(format!("--LabApp.default_url=/lab/tree/{page}"));
    if !options.browser {
        command.arg("--no-browser");
    }
    if let Some(port) = options.port {
        command.arg(format!("--ServerApp.port={port}")).arg("--ServerApp.port_retries=0");
    }
    if runs_as_root() {
        ui.say("You are root: Jupyter is told that this is meant (--allow-root).");
        command.arg("--allow-root");
    }
    become_it(command)
}

/// Sets up what is missing, and starts nothing.
pub(crate) fn set_up(project: &Path) -> Result<bool> {
    let ui = Ui::new();
    check_clone(project)?;
    setup::ensure(&ui, project)?;
    // What a class's students are given is a copy of this one.
    copy::update(project)?.told.iter().for_each(|line| ui.say(line));
    ui.say(format!("The lab is set up in {}.", Store::of_user()?.root().display()));
    Ok(true)
}

/// JupyterLab on the notebooks in `folder`, as a reader has it; whether it opens a browser, on which port and at which file is left open.
pub(crate) fn command(lab: &Lab, project: &Path, folder: &Path) -> Command {
    let settings = project.join(SETTINGS);
    let mut command = lab.jupyter("lab");
    command.current_dir(folder).env("JUPYTER_CONFIG_PATH", search_path(&settings));
    let option = |name: &str, value: &dyn std::fmt::Display| format!("--{name}={value}");
    command.args([
        option("ServerApp.root_dir", &folder.display()),
        "--custom-css".to_owned(),
        option("ServerApp.tornado_settings", &format!("static_custom_path={}", settings.display())),
        // Only the course's kernel: no tile for a Python that the lab brings for itself.
        option("KernelSpecManager.ensure_native_kernel", &"False"),
        option("KernelSpecManager.allowed_kernelspecs", &"{'rust'}"),
    ]);
    // What is signed here is not signed for the user's other notebooks, and goes with `cargo lab clean`.
    if let Some(own) = session::own_folder().map(|own| own.join(JUPYTER))
        && session::private(&own).is_ok()
    {
        command.arg(option("NotebookNotary.data_dir", &own.display()));
        if std::env::var_os(TABS).is_none_or(|named| named.is_empty()) {
            command.env(TABS, tabs(&own, folder));
        }
    }
    command
}

/// Where JupyterLab remembers which tabs were open on these notebooks. It has one place for all that a user opens, so that a second clone would begin with
/// the tabs, and the kernels, of the first.
fn tabs(own: &Path, folder: &Path) -> PathBuf {
    own.join("workspaces").join(digest(&[&folder.to_string_lossy()]))
}

/// The folder first, then those that the user has named.
fn search_path(folder: &Path) -> OsString {
    let others = std::env::var_os("JUPYTER_CONFIG_PATH").unwrap_or_default();
    let others = std::env::split_paths(&others).filter(|path| !path.as_os_str().is_empty());
    // A folder with the separator in its name cannot be in a list: then the lab looks as Jupyter has it.
    std::env::join_paths(std::iter::once(folder.to_owned()).chain(others)).unwrap_or_default()
}

fn check_clone(project: &Path) -> Result<()> {
    let notebooks = project.join("notebooks");
    if !notebooks.is_dir() {
        bail!("there is no folder {}: is this clone complete?", notebooks.display());
    }
    Ok(())
}

/// Puts the kernel spec where other programs look for one: VS Code, or a Jupyter of the user's own.
pub(crate) fn register(project: &Path) -> Result<bool> {
    let ui = Ui::new();
    check_clone(project)?;
    let lab = setup::ensure(&ui, project)?;
    let kernels = user_data(&lab)?.join("kernels");
    // A kernel of the user's own stays. Notebooks ask for `rust`.
    let is_free = |name: &&str| !kernels.join(name).exists() || kernels.join(name).join(MARKER).is_file();
    let name =
        ["rust", "pinlab"].into_iter().find(is_free).context("both `rust` and `pinlab` are kernels that you have already")?;
    let (from, to) = (lab.kernel_spec(), kernels.join(name));
    fs::create_dir_all(&to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in fs::read_dir(&from)? {
        let path = entry?.path();
        session::copy_file(&path, &to.join(path.file_name().unwrap_or_default()))
            .with_context(|| format!("cannot write in {}", to.display()))?;
    }
    let mut spec: serde_json::Value = serde_json::from_str(&fs::read_to_string(from.join("kernel.json"))?)?;
    spec["display_name"] = "Rust (pinlab)".into();
    write_whole(&to.join("kernel.json"), &serde_json::to_string_pretty(&spec)?)?;
    write_whole(&to.join(MARKER), "`cargo lab register` has made this folder, and `cargo lab clean` removes it.\n")?;
    ui.say(format!("The kernel `{name}` (\"Rust (pinlab)\") is registered in {}.", to.display()));
    Ok(true)
}

/// Where Jupyter keeps this user's kernels.
fn user_data(lab: &Lab) -> Result<PathBuf> {
    let output = lab.jupyter("jupyter").arg("--data-dir").stdin(Stdio::null()).output().context("cannot run Jupyter")?;
    let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() || path.is_empty() {
        bail!("Jupyter does not say where your kernels are:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(PathBuf::from(path))
}

/// Where Jupyter has what is the user's, by its own rule.
fn usual_data() -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os("JUPYTER_DATA_DIR").filter(|folder| !folder.is_empty()) {
        return Some(folder.into());
    }
    if cfg!(target_os = "macos") {
        return Some(etcetera::home_dir().ok()?.join("Library").join("Jupyter"));
    }
    Some(etcetera::choose_base_strategy().ok()?.data_dir().join("jupyter"))
}

/// Removes what was installed, compiled, signed and registered.
pub(crate) fn clean() -> Result<bool> {
    let ui = Ui::new();
    let store = Store::of_user()?;
    // Where the kernels for other programs are is known to the Python that is about to go; if it is there, and still runs.
    let asked = setup::found(&store).and_then(|lab| user_data(&lab).ok());
    let kernels: BTreeSet<_> = asked.into_iter().chain(usual_data()).map(|data| data.join("kernels")).collect();
    // What is the user's own even where the store is shared: sessions, and what Jupyter has signed and remembers.
    let own = session::own_folder().map(Store::own);
    match remove_all(&ui, &store, own, &kernels, &session::elsewhere())?.as_slice() {
        [] => ui.say(format!("Nothing to remove: the lab has set up nothing in {}.", store.root().display())),
        removed => removed.iter().for_each(|line| ui.say(format!("Removed {line}."))),
    }
    ui.say(format!("What you have written, in {}, stays: it is yours.", copy::FOLDER));
    ui.say(
        "What the kernel keeps of its own (compiled crates, at most 1 GiB), in the folder `evcxr` of your cache, stays as well.",
    );
    Ok(true)
}

/// What was removed, as the end of a sentence each.
fn remove_all(
    ui: &Ui,
    store: &Store,
    own: Option<Store>,
    kernels: &BTreeSet<PathBuf>,
    elsewhere: &[PathBuf],
) -> Result<Vec<String>> {
    store.check().context("nothing was removed")?;
    let own = own.filter(|own| own.root().exists());
    let mut removed = Vec::new();
    let mut remove = |folder: &Path, what: &str| -> Result<()> {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        removed.push(format!("{} ({what})", folder.display()));
        Ok(())
    };
    let registered = kernels.iter().flat_map(|kernels| ["rust", "pinlab"].map(|name| kernels.join(name)));
    for folder in registered.filter(|folder| folder.join(MARKER).is_file()) {
        remove(&folder, "the kernel for other programs")?;
    }
    let ended = elsewhere.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten().map(|entry| entry.path());
    for folder in ended.filter(|folder| session::is_abandoned(folder)) {
        remove(&folder, "a session")?;
    }
    for folder in elsewhere {
        // Only if nothing is in it any more.
        let _ = fs::remove_dir(folder);
    }
    for (name, what) in [(SESSIONS, "sessions"), (JUPYTER, "signatures and open tabs")] {
        if let Some(folder) = own.as_ref().map(|own| own.root().join(name)).filter(|folder| folder.exists()) {
            remove(&folder, what)?;
        }
    }
    // The same one, most often: then the second time there is nothing.
    let own = own.filter(|own| own.check().is_ok());
    for store in [Some(store), own.as_ref()].into_iter().flatten() {
        let root = store.root().display();
        match store.clean(ui)? {
            None => {}
            Some(others) if others.is_empty() => removed.push(format!("{root} (all that was installed and compiled)")),
            Some(others) => removed.push(format!(
                "what was installed and compiled in {root}; what the lab has not made stays there: {}",
                others.join(", ")
            )),
        }
    }
    Ok(removed)
}

/// Gives fresh copies of notebooks.
pub(crate) fn reset(project: &Path, names: &[String], all: bool, yes: bool) -> Result<bool> {
    let ui = Ui::new();
    check_clone(project)?;
    if all {
        let done = copy::reset_all(project, yes)?;
        ui.say(if done { "Your copy is as it was at first." } else { "Nothing was changed." });
        return Ok(done);
    }
    if names.is_empty() {
        bail!("which notebook? `cargo lab reset 02` resets 02, `cargo lab reset --all` the whole copy");
    }
    for name in names {
        copy::reset(project, name)?.told.iter().for_each(|line| ui.say(line));
    }
    Ok(true)
}

/// Jupyter would take another port than the one that was asked for, or fail with a page of text.
fn check_port(port: u16) -> Result<()> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AddrInUse => bail!(
            "port {port} is taken by another program\n  give another one with --port, or leave --port out: Jupyter then finds a free one"
        ),
        Err(error) => Err(error).with_context(|| format!("cannot listen on port {port}: give another one with --port")),
    }
}

#[cfg(unix)]
fn runs_as_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(not(unix))]
fn runs_as_root() -> bool {
    false
}

/// On Unix this process becomes JupyterLab: Ctrl-C, and any other signal, reaches it as if it had been started by hand.
#[cfg(unix)]
fn become_it(mut command: Command) -> Result<bool> {
    use std::os::unix::process::CommandExt;
    let error = command.exec();
    Err(error).with_context(|| format!("cannot start {}", command.get_program().display()))
}

/// Elsewhere this process waits. The console sends Ctrl-C to both; Jupyter asks before it stops, as it always does.
#[cfg(not(unix))]
fn become_it(mut command: Command) -> Result<bool> {
    let status = command.status().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    Ok(status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_style_is_where_jupyterlab_is_told_to_look() {
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let style = fs::read_to_string(project.join(SETTINGS).join("custom.css")).unwrap();
        assert!(style.contains("[data-jp-theme-light='false']"), "it follows the theme");
    }

    #[test]
    fn each_copy_of_the_notebooks_has_tabs_of_its_own() {
        let of = |folder: &str| tabs(Path::new("own"), Path::new(folder));
        assert_eq!(of("one/my-notebooks"), of("one/my-notebooks"));
        assert_ne!(of("one/my-notebooks"), of("two/my-notebooks"));
        assert!(of("one/my-notebooks").starts_with("own"), "it goes with `cargo lab clean`");
    }

    #[test]
    fn clean_removes_all_that_was_made_and_names_it_and_nothing_of_the_users_own() {
        let base = tempfile::tempdir().unwrap();
        let file = |path: &str| {
            let path = base.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        };
        let made = [
            "store/kernel-1-linux-x86_64.abcd/bin/evcxr_jupyter",
            "store/kernel-1-linux-x86_64.ready",
            "store/lock",
            "store/warm/0123/ready",
            "store/build/release/half",
            "own/front-1-linux-x86_64.abcd/bin/pinlab-kernel",
            "own/lock",
            "own/sessions/kernel-y/in-use",
            "own/jupyter/nbsignatures.db",
            "own/jupyter/workspaces/0123/default.jupyterlab-workspace",
            "elsewhere/kernel-z/in-use",
            "kernels/pinlab/pinlab.txt",
        ];
        made.iter().for_each(|path| file(path));
        let users = ["kernels/rust/kernel.json", "evcxr/cache", "my-notebooks/00.ipynb"];
        users.iter().for_each(|path| file(path));
        let store = Store::at(base.path().join("store"));
        let elsewhere = ["elsewhere", "never-made"].map(|name| base.path().join(name));
        let kernels = BTreeSet::from([base.path().join("kernels")]);
        let own = || Some(Store::own(base.path().join("own")));
        let clean = || remove_all(&Ui::new(), &store, own(), &kernels, &elsewhere).unwrap();
        let said = clean().join("\n");
        for path in made {
            let top = path.split('/').take(if path.starts_with("kernels") { 2 } else { 1 }).collect::<Vec<_>>().join("/");
            assert!(!base.path().join(&top).exists(), "{top}");
            assert!(said.contains(&base.path().join(&top).display().to_string()), "{top} is not named in\n{said}");
        }
        assert!(said.contains("signatures"), "{said}");
        assert!(users.iter().all(|path| base.path().join(path).is_file()));
        assert!(clean().is_empty(), "the second time there is nothing");
    }

    #[test]
    fn clean_leaves_what_somebody_else_has_put_into_the_folders_and_a_folder_that_is_not_the_labs() {
        let base = tempfile::tempdir().unwrap();
        let letter = |folder: &str| {
            fs::create_dir_all(base.path().join(folder)).unwrap();
            fs::write(base.path().join(folder).join("letter.txt"), "").unwrap();
        };
        ["own/jupyter", "elsewhere/kernel-of-a-nut", "home/jupyter"].iter().for_each(|folder| letter(folder));
        let clean = |store: &str| {
            let own = Some(Store::own(base.path().join("own")));
            remove_all(&Ui::new(), &Store::at(base.path().join(store)), own, &BTreeSet::new(), &[base.path().join("elsewhere")])
        };
        let said = format!("{:#}", clean("home").unwrap_err());
        assert!(said.contains("nothing was removed") && said.contains("`jupyter`"), "{said}");
        assert!(base.path().join("own/jupyter").exists());
        ["own", "store"].iter().for_each(|folder| letter(folder));
        fs::create_dir(base.path().join("store/kernel-1-linux-x86_64.abcd")).unwrap();
        fs::write(base.path().join("store/lock"), "").unwrap();
        let said = clean("store").unwrap().join("\n");
        assert!(said.contains("stays there: letter.txt"), "{said}");
        for folder in ["own", "store", "elsewhere/kernel-of-a-nut", "home/jupyter"] {
            assert!(base.path().join(folder).join("letter.txt").is_file(), "{folder}");
        }
        assert!(!base.path().join("own/jupyter").exists() && !base.path().join("store/kernel-1-linux-x86_64.abcd").exists());
    }

    #[test]
    fn a_taken_port_is_told_by_its_number() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = check_port(port).unwrap_err().to_string();
        assert!(error.contains(&port.to_string()) && error.contains("--port"), "{error}");
        drop(taken);
        check_port(port).unwrap();
    }
}
