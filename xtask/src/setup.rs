//! What `cargo lab` installs, and how to start what it installed.
//!
//! ```text
//! $PINLAB_STORE, or <the user's cache folder>/pinlab/
//!   kernel-…      evcxr_jupyter
//!   python-…      a virtual environment with JupyterLab
//!   front-…       what Jupyter starts in the kernel's place, and the kernel spec that says so
//!   warm/…        what the first cell compiles, for each clone
//! <the user's cache folder>/pinlab/
//!   sessions/…    where kernels compile
//!   jupyter/      what Jupyter has signed
//! ```
//!
//! Each component is named after all that decides what is in it, so that clones of different versions share what is equal
//! and do not disturb each other. How they are made all or nothing: [`store`]. What is compiled from a clone's own support crate is kept
//! there under a name made of its path: [`warm`].

mod front;
pub(crate) mod kernel;
pub(crate) mod python;
pub(crate) mod store;
pub(crate) mod tools;
pub(crate) mod warm;

use std::path::{Path, PathBuf};

use anyhow::Result;
use pinlab_kernel::session;

use crate::digest::digest;
use crate::installed::Lab;
use crate::ui::Ui;
use store::Store;

/// The names of the components that this clone needs.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) kernel: String,
    pub(crate) python: String,
    pub(crate) front: String,
}

impl Names {
    pub(crate) fn needed() -> Self {
        let machine = machine();
        let kernel = format!("kernel-{}-{machine}", kernel::VERSION);
        Self {
            python: format!("python-{}-{machine}", digest(&[python::LOCK, python::SETTINGS])),
            front: format!("front-{}-{machine}", front::key(&kernel)),
            kernel,
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

/// An environment that not every lab needs: installed when it is first asked for.
pub(crate) fn environment(ui: &Ui, packages: &python::Packages) -> Result<PathBuf> {
    let store = Store::of_user()?;
    let name = format!("{}-{}-{}", packages.name, digest(&[packages.lock]), machine());
    let ready = || store.find(&name).filter(|folder| python::works(folder));
    if let Some(folder) = ready() {
        return Ok(folder);
    }
    let _lock = store.lock(ui)?;
    if let Some(folder) = ready() {
        return Ok(folder);
    }
    store.forget(&name)?;
    store.sweep()?;
    store.make(&name, |folder| python::environment(ui, folder, packages)).map_err(explained)
}

fn machine() -> String {
    format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH)
}

/// What is installed, whether or not this clone is ready.
pub(crate) fn found(store: &Store) -> Option<Lab> {
    let names = Names::needed();
    Some(Lab { python: store.find(&names.python)?, front: store.find(&names.front)? })
}

/// The lab, if every component is there and its Python still runs.
fn installed(store: &Store, names: &Names, project: &Path) -> Result<Option<Lab>> {
    let (Some(_), Some(lab)) = (store.find(&names.kernel), found(store)) else {
        return Ok(None);
    };
    Ok((warm::is_ready(store.root(), project) && python::works(&lab.python)).then_some(lab))
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
    let front = store.make(&names.front, |folder| front::install(ui, project, store.root(), folder, &kernel))?;
    let lab = Lab { python, front };
    warm::make(ui, store.root(), project, &lab)?;
    Ok(lab)
}

/// Adds what is most often behind a failed installation.
fn explained(error: anyhow::Error) -> anyhow::Error {
    if error.is::<tools::Missing>() {
        return error;
    }
    if session::online() {
        return error.context("The set-up did not finish. Nothing half-installed is left: the next run goes on from here");
    }
    error.context(
        "The set-up needs the network, and cargo does not reach its package registry.\n\
         Connect (or set the proxy: HTTPS_PROXY), then run the same command again: it goes on from here",
    )
}
