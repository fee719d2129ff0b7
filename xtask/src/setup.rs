//! What `cargo lab` installs, and how to start what it installed.
//!
//! ```text
//! <the user's cache folder>/pinlab/
//!   kernel-…      evcxr_jupyter
//!   python-…      a virtual environment with JupyterLab; the kernel spec is inside it
//!   launcher-…    a copy of this program: what Jupyter starts in the kernel's place
//! ```
//!
//! Each component is named after all that decides what is in it, so that clones of different versions share what is equal
//! and do not disturb each other. How they are made all or nothing: [`store`]. What is compiled from the clone's own support
//! crate stays in the clone: [`warm`].

pub(crate) mod kernel;
pub(crate) mod python;
pub(crate) mod store;
pub(crate) mod tools;
pub(crate) mod warm;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::launcher;
use crate::notebook;
use crate::ui::Ui;
use store::Store;

/// An installed lab.
#[derive(Clone, Debug)]
pub(crate) struct Lab {
    /// The virtual environment.
    python: PathBuf,
}

impl Lab {
    /// The command `jupyter <application>` of this lab.
    pub(crate) fn jupyter(&self, application: &str) -> Command {
        let mut command = python::command(&self.python);
        // By module, not by script: a script names its interpreter in its first line, which systems cut when it is long.
        command.args(["-m", if application == "lab" { "jupyterlab" } else { application }]);
        // Another kernel of the same name that this user has must not come first.
        let own = python::jupyter_data(&self.python);
        let others = std::env::var_os("JUPYTER_PATH").unwrap_or_default();
        let paths = std::env::split_paths(&others).filter(|path| !path.as_os_str().is_empty());
        if let Ok(paths) = std::env::join_paths(std::iter::once(own).chain(paths)) {
            command.env("JUPYTER_PATH", paths);
        }
        command
    }
}

/// The names of the components that this clone needs.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) kernel: String,
    pub(crate) python: String,
    pub(crate) launcher: String,
}

impl Names {
    pub(crate) fn needed() -> Self {
        let machine = format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH);
        Self {
            kernel: format!("kernel-{}-{machine}", kernel::VERSION),
            python: format!("python-{}-{machine}", digest(&[python::LOCK, python::SETTINGS])),
            launcher: format!("launcher-{}-{machine}", digest(&[launcher::SOURCE])),
        }
    }
}

/// Sets up whatever is missing. Does nothing, and is fast, when nothing is.
pub(crate) fn ensure(ui: &Ui, project: &Path) -> Result<Lab> {
    tools::rustc_version()?;
    let store = Store::of_user()?;
    let names = Names::needed();
    if let Some(lab) = installed(&store, &names, project)? {
        return Ok(lab);
    }
    let _lock = store.lock(ui)?;
    // Another set-up may have done all of it while this one waited.
    if let Some(lab) = installed(&store, &names, project)? {
        return Ok(lab);
    }
    ui.say(format!("Setting up the lab in {} (once; later starts need none of this).", store.root().display()));
    store.sweep()?;
    install(ui, project, &store, &names).map_err(explained)
}

/// The lab, if every component is there and its Python still runs.
fn installed(store: &Store, names: &Names, project: &Path) -> Result<Option<Lab>> {
    let found = (store.find(&names.kernel), store.find(&names.launcher), store.find(&names.python));
    let (Some(kernel), Some(launcher), Some(python)) = found else {
        return Ok(None);
    };
    if !warm::is_ready(project) || !python::works(&python) {
        return Ok(None);
    }
    write_kernel_spec(&python, &launcher, &kernel)?;
    Ok(Some(Lab { python }))
}

fn install(ui: &Ui, project: &Path, store: &Store, names: &Names) -> Result<Lab> {
    tools::check_linker()?;
    tools::check_rust_source(ui)?;
    // Python comes first: it takes a minute and its absence is the likeliest failure; the kernel takes six.
    if store.find(&names.python).is_some_and(|python| !python::works(&python)) {
        ui.say("The Python that the lab was installed with is gone: installing the environment anew.");
        store.forget(&names.python)?;
    }
    let python = store.make(&names.python, |folder| python::install(ui, folder))?;
    let kernel = store.make(&names.kernel, |folder| kernel::install(ui, folder, &store.build_folder()))?;
    store.remove_build_folder()?;
    let launcher = store.make(&names.launcher, |folder| {
        fs::copy(std::env::current_exe()?, launcher_program(folder)).context("cannot copy this program")?;
        Ok(())
    })?;
    kernel::install_spec_files(&kernel, &python::jupyter_data(&python))?;
    write_kernel_spec(&python, &launcher, &kernel)?;
    let lab = Lab { python };
    warm::make(ui, project, &lab)?;
    trust(ui, project, &lab)?;
    Ok(lab)
}

/// Signs the notebooks as Jupyter does when a user saves them: without that it shows their pictures only once they have been run here.
fn trust(ui: &Ui, project: &Path, lab: &Lab) -> Result<()> {
    let mut command = lab.jupyter("nbformat.sign");
    command.args(notebook::list(&project.join("notebooks"))?).stdin(Stdio::null());
    let finished = ui.run("signing the notebooks, so that their pictures are shown", &mut command)?;
    if !finished.status.success() {
        ui.say(format!(
            "The notebooks could not be signed: their pictures are shown once they have been run.\n{}",
            finished.tail()
        ));
    }
    Ok(())
}

/// Writes the kernel spec named `rust` into the environment, if it is not there already as it must be.
fn write_kernel_spec(python: &Path, launcher: &Path, kernel: &Path) -> Result<()> {
    let data = python::jupyter_data(python);
    let text = serde_json::to_string_pretty(&json!({
        "argv": [launcher_program(launcher), "kernel", kernel::program(kernel), "--control_file", "{connection_file}"],
        "display_name": "Rust",
        "language": "rust",
        "interrupt_mode": "message",
        // On each start the kernel mends what it takes for its own installation: it must find it here, and not
        // change one that the user has.
        "env": {"JUPYTER_PATH": data},
    }))?;
    let path = data.join("kernels").join("rust").join("kernel.json");
    if fs::read_to_string(&path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    store::write_whole(&path, &text)
}

fn launcher_program(folder: &Path) -> PathBuf {
    folder.join(format!("launcher{}", std::env::consts::EXE_SUFFIX))
}

/// Adds what is most often behind a failed installation.
fn explained(error: anyhow::Error) -> anyhow::Error {
    if error.is::<tools::Missing>() {
        return error;
    }
    if launcher::online() {
        return error.context("The set-up did not finish. Nothing half-installed is left: the next run goes on from here");
    }
    error.context(
        "The set-up needs the network, and cargo does not reach its package registry.\n\
         Connect (or set the proxy: HTTPS_PROXY), then run the same command again: it goes on from here",
    )
}

fn digest(texts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for text in texts {
        hasher.update(text.replace("\r\n", "\n"));
        hasher.update([0]);
    }
    hasher.finalize().iter().take(5).map(|byte| format!("{byte:02x}")).collect()
}
