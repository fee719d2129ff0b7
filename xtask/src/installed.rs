//! A lab that is installed: where its parts are, and how they are started.

use std::path::{Path, PathBuf};
use std::process::Command;

/// An installed lab.
#[derive(Clone, Debug)]
pub(crate) struct Lab {
    /// The virtual environment.
    pub(crate) python: PathBuf,
    /// The component with the kernel spec.
    pub(crate) front: PathBuf,
}

impl Lab {
    /// The command `jupyter <application>` of this lab.
    pub(crate) fn jupyter(&self, application: &str) -> Command {
        let mut command = python(&self.python);
        // By module, not by script: a script names its interpreter in its first line, which systems cut when it is long.
        command.args(["-m", if application == "lab" { "jupyterlab" } else { application }]);
        // Another kernel of the same name that this user has must not come first.
        let own = jupyter_data(&self.front);
        let others = std::env::var_os("JUPYTER_PATH").unwrap_or_default();
        let paths = std::env::split_paths(&others).filter(|path| !path.as_os_str().is_empty());
        if let Ok(paths) = std::env::join_paths(std::iter::once(own).chain(paths)) {
            command.env("JUPYTER_PATH", paths);
        }
        command
    }

    /// The folder of the kernel spec.
    pub(crate) fn kernel_spec(&self) -> PathBuf {
        kernel_spec(&self.front)
    }
}

/// A command that runs the environment's Python, undisturbed by the user's own packages.
pub(crate) fn python(folder: &Path) -> Command {
    let mut command = Command::new(interpreter(folder));
    command.env_remove("PYTHONHOME").env_remove("PYTHONPATH").env("PYTHONNOUSERSITE", "1");
    command
}

/// The interpreter of the environment.
pub(crate) fn interpreter(folder: &Path) -> PathBuf {
    if cfg!(windows) { folder.join("Scripts").join("python.exe") } else { folder.join("bin").join("python") }
}

/// Where Jupyter looks for the kernel spec.
pub(crate) fn jupyter_data(folder: &Path) -> PathBuf {
    folder.join("jupyter")
}

/// The folder of the kernel spec.
pub(crate) fn kernel_spec(folder: &Path) -> PathBuf {
    jupyter_data(folder).join("kernels").join("rust")
}
