//! `cargo lab`: opens JupyterLab on the notebooks, `lab clean` removes what it installed.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::setup::{self, Lab, store::Store, warm};
use crate::ui::Ui;

/// The folder whose `custom.css` JupyterLab adds to its own.
const STYLE: &str = "xtask/lab";

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
    let notebooks = project.join("notebooks");
    if !notebooks.is_dir() {
        bail!("there is no folder {}: is this clone complete?", notebooks.display());
    }
    if let Some(port) = options.port {
        check_port(port)?;
    }
    let lab = setup::ensure(&ui, project)?;
    let mut command = command(&lab, project, &notebooks);
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

/// JupyterLab on the notebooks in `folder`, as a reader has it; whether it opens a browser, and on which port, is left open.
pub(crate) fn command(lab: &Lab, project: &Path, folder: &Path) -> Command {
    let mut command = lab.jupyter("lab");
    command.arg(format!("--ServerApp.root_dir={}", folder.display())).current_dir(folder);
    command.arg("--custom-css").arg(format!("--ServerApp.tornado_settings=static_custom_path={}", project.join(STYLE).display()));
    command
}

/// Removes what was installed for all clones, and what was compiled for this one.
pub(crate) fn clean(project: &Path) -> Result<bool> {
    let ui = Ui::new();
    let store = Store::of_user()?;
    warm::remove(project)?;
    if store.clean(&ui)? {
        ui.say(format!("Removed {}.", store.root().display()));
    } else {
        ui.say(format!("Nothing to remove: there is no {}.", store.root().display()));
    }
    ui.say("What the kernel keeps of its own (compiled crates, at most 1 GiB) is in the folder `evcxr` beside it.");
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
        let style = std::fs::read_to_string(project.join(STYLE).join("custom.css")).unwrap();
        assert!(style.contains("[data-jp-theme-light='false']"), "it follows the theme");
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
