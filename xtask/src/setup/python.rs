//! Python environments. The lab's own: JupyterLab and the commands that run notebooks, at the versions of `requirements.lock`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, bail};
use pinlab_kernel::session;

use crate::installed;
use crate::setup::store;
use crate::setup::tools::{self, Missing, how_to_get};
use crate::ui::Ui;

/// Every package with its version, for every system and every Python that the lab supports.
pub(crate) const LOCK: &str = include_str!("../../requirements.lock");

/// JupyterLab's settings for this lab: no pop-up about news, no look-up of newer versions.
pub(crate) const SETTINGS: &str = r#"{
  "@jupyterlab/apputils-extension:notification": {
    "checkForUpdates": false,
    "fetchNews": "false"
  }
}
"#;

/// The oldest Python that works for the lab.
pub(crate) const OLDEST: (u32, u32) = (3, 10);

/// What is installed into an environment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packages {
    /// What the component is called.
    pub(crate) name: &'static str,
    /// What it is to its user.
    pub(crate) what: &'static str,
    /// Every package with its version.
    pub(crate) lock: &'static str,
    /// The oldest Python that these packages run on.
    pub(crate) oldest: (u32, u32),
}

/// The lab's own.
pub(crate) const LAB: Packages = Packages { name: "python", what: "JupyterLab", lock: LOCK, oldest: OLDEST };

/// A Python interpreter that was found on this machine.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Python {
    /// How to start it: a program and its first arguments.
    pub(crate) command: Vec<OsString>,
    pub(crate) version: (u32, u32),
    /// The file that runs.
    pub(crate) program: PathBuf,
}

/// Installs the lab's environment into `folder`.
pub(crate) fn install(ui: &Ui, folder: &Path) -> Result<()> {
    environment(ui, folder, &LAB)?;
    store::write_whole(&jupyter_data(folder).join("lab").join("settings").join("overrides.json"), SETTINGS)
}

/// Makes an environment of these packages in `folder`.
pub(crate) fn environment(ui: &Ui, folder: &Path, packages: &Packages) -> Result<()> {
    let lock = tempfile::Builder::new().suffix(".txt").tempfile()?;
    std::fs::write(lock.path(), packages.lock)?;
    // A store that others share needs a Python that others can start; uv keeps its own in the home of whoever runs it.
    let shared = session::is_named();
    if shared || !(tools::runs("uv", &["--version"]) && with_uv(ui, folder, lock.path(), packages)?) {
        with_pip(ui, folder, lock.path(), packages, shared)?;
    }
    Ok(())
}

/// True if it worked; if not, pip has its turn.
fn with_uv(ui: &Ui, folder: &Path, lock: &Path, packages: &Packages) -> Result<bool> {
    let (what, (major, minor)) = (packages.what, packages.oldest);
    let mut make = Command::new("uv");
    make.args(["venv", "--allow-existing", "--python"]).arg(format!(">={major}.{minor}")).arg(folder);
    let mut fill = Command::new("uv");
    fill.args(["pip", "install", "--python"]).arg(installed::interpreter(folder)).arg("--requirement").arg(lock);
    for command in [&mut make, &mut fill] {
        let finished = ui.run(&format!("installing {what} with uv"), command.stdin(Stdio::null()))?;
        if !finished.status.success() {
            ui.say(format!("uv could not install {what}; trying pip.\n{}", finished.tail().trim_end()));
            return Ok(false);
        }
    }
    ui.say(format!("ok      {what}, with uv"));
    Ok(true)
}

fn with_pip(ui: &Ui, folder: &Path, lock: &Path, packages: &Packages, shared: bool) -> Result<()> {
    let what = packages.what;
    let found = found();
    let python = if shared { choose_for_all(&found, packages.oldest) } else { choose(&found, packages.oldest) };
    let python = python.map_err(anyhow::Error::new)?;
    if shared && !for_all(&python.program) {
        ui.say(format!(
            "note    others who share this store cannot start its Python: {} is in a folder of yours",
            python.program.display()
        ));
    }
    if !python.runs("import venv, ensurepip") {
        return Err(missing_venv(python.version).into());
    }
    let mut make = python.start();
    make.args(["-m", "venv", "--clear"]).arg(folder).stdin(Stdio::null());
    let finished = ui.run("making a Python environment", &mut make)?;
    if !finished.status.success() {
        bail!("Python could not make a virtual environment:\n{}", finished.tail());
    }
    let mut fill = installed::python(folder);
    fill.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar", "off", "--requirement"]);
    let finished = ui.run(&format!("installing {what} with pip"), fill.arg(lock).stdin(Stdio::null()))?;
    if !finished.status.success() {
        bail!("pip could not install {what}:\n{}", finished.tail());
    }
    ui.say(format!("ok      {what}, with pip  ({:.1} s)", finished.seconds));
    Ok(())
}

impl Python {
    fn start(&self) -> Command {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]);
        command
    }

    pub(crate) fn runs(&self, code: &str) -> bool {
        tools::succeeds(self.start().args(["-c", code]))
    }
}

/// Every Python on the search path, in the order in which they are tried.
pub(crate) fn found() -> Vec<Python> {
    let names: [&[&str]; 9] = [
        &["python3"],
        &["python"],
        &["py", "-3"],
        &["python3.14"],
        &["python3.13"],
        &["python3.12"],
        &["python3.11"],
        &["python3.10"],
        &["/usr/bin/python3"],
    ];
    names.into_iter().filter_map(probe).collect()
}

fn probe(command: &[&str]) -> Option<Python> {
    let output = Command::new(command[0])
        .args(&command[1..])
        .args(["-c", "import os, sys; print(*sys.version_info[:2], os.path.realpath(sys.executable))"])
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut parts = text.trim().splitn(3, ' ');
    let version = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let program = PathBuf::from(parts.next()?);
    Some(Python { command: command.iter().map(OsString::from).collect(), version, program })
}

/// The first that is as new as `oldest`.
pub(crate) fn choose(found: &[Python], oldest: (u32, u32)) -> Result<Python, Missing> {
    if let Some(python) = found.iter().find(|python| python.version >= oldest) {
        return Ok(python.clone());
    }
    let (major, minor) = oldest;
    let what = match found.first() {
        None => {
            format!("Python {major}.{minor} or newer (none was found as python3, python or py)")
        }
        Some(old) => format!("Python {major}.{minor} or newer (found {}.{})", old.version.0, old.version.1),
    };
    Err(Missing::new(
        what,
        how_to_get(
            "apt install python3 python3-venv, or your system's equal; or, if PINLAB_STORE is not set, install uv, which brings its own Python",
            "brew install python; or, if PINLAB_STORE is not set, install uv, which brings its own Python",
            "winget install Python.Python.3.13; or, if PINLAB_STORE is not set, install uv, which brings its own Python",
        ),
    ))
}

/// As [`choose`], from those that every user of this machine can start, if one is new enough.
fn choose_for_all(found: &[Python], oldest: (u32, u32)) -> Result<Python, Missing> {
    let open: Vec<Python> = found.iter().filter(|python| for_all(&python.program)).cloned().collect();
    choose(&open, oldest).or_else(|_| choose(found, oldest))
}

/// Whether others than its owner can get to this file. Off Unix, where it is not asked for, it is taken for granted.
fn for_all(file: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.ancestors().all(|path| path.metadata().is_ok_and(|about| about.permissions().mode() & 0o001 != 0))
    }
    #[cfg(not(unix))]
    {
        file.exists()
    }
}

/// Debian and its kin ship Python without the module that makes environments.
pub(crate) fn missing_venv((major, minor): (u32, u32)) -> Missing {
    Missing::new(
        format!("the `venv` module of Python {major}.{minor}"),
        format!(
            "apt install python{major}.{minor}-venv (or python3-venv); or, if PINLAB_STORE is not set, install uv, which does without"
        ),
    )
}

/// True if the environment's Python still starts: it needs the Python that it was made with.
pub(crate) fn works(folder: &Path) -> bool {
    tools::succeeds(installed::python(folder).args(["-c", ""]))
}

/// Where Jupyter looks for kernels and settings in this environment.
pub(crate) fn jupyter_data(folder: &Path) -> PathBuf {
    folder.join("share").join("jupyter")
}

/// The version of a package in the lock.
pub(crate) fn pinned(package: &str) -> &'static str {
    let line = LOCK.lines().find_map(|line| line.strip_prefix(package)?.strip_prefix("=="));
    line.and_then(|rest| rest.split([' ', ';']).next()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::Path;

    use serde_yaml_ng::Value;

    use super::*;
    use crate::setup::kernel;

    fn project() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
    }

    /// The lines of environment.yml: the name, and what follows it.
    fn conda() -> BTreeMap<String, String> {
        let text = fs::read_to_string(project().join("environment.yml")).unwrap();
        let yaml: Value = serde_yaml_ng::from_str(&text).unwrap();
        let list = yaml["dependencies"].as_sequence().unwrap();
        let split = |line: &Value| {
            let line = line.as_str().unwrap();
            let at = line.find(['=', '>', '<']).unwrap_or(line.len());
            (line[..at].to_owned(), line[at..].to_owned())
        };
        list.iter().map(split).collect()
    }

    fn numbers(version: &str) -> Vec<u32> {
        version.split('.').map(|part| part.parse().unwrap()).collect()
    }

    /// Found in a trial: an administrator's own Python, which no student could start, became the lab's.
    #[cfg(unix)]
    #[test]
    fn what_students_share_is_made_with_a_python_that_they_can_start() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        let own = home.path().join("python3");
        fs::write(&own, "").unwrap();
        fs::set_permissions(&own, fs::Permissions::from_mode(0o755)).unwrap();
        let python = |program: &Path| Python { command: vec![program.into()], version: (3, 11), program: program.to_owned() };
        let (own, common) = (python(&own), python(Path::new("/bin/sh")));
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(choose_for_all(&[own.clone(), common.clone()], OLDEST), Ok(common.clone()));
        assert_eq!(choose(&[own.clone(), common], OLDEST), Ok(own.clone()));
        assert!(!for_all(&own.program));
        assert_eq!(
            choose_for_all(std::slice::from_ref(&own), OLDEST),
            Ok(own),
            "better than none: the store may be for one only"
        );
        assert!(choose_for_all(&[], OLDEST).unwrap_err().what.contains("none was found"));
    }

    #[test]
    fn conda_may_take_the_versions_that_the_lab_installs_and_some_older_ones() {
        let conda = conda();
        let oldest = |name: &str| numbers(conda[name].strip_prefix(">=").unwrap_or_else(|| panic!("{name}{}", conda[name])));
        for package in ["jupyterlab", "nbclient", "nbconvert"] {
            assert!(!pinned(package).is_empty(), "{package} is in the lock");
            assert!(oldest(package) <= numbers(pinned(package)), "{package}");
        }
        assert!(oldest("evcxr") <= numbers(kernel::VERSION));
        let (major, minor) = tools::OLDEST_RUST;
        assert_eq!(oldest("rust"), [major, minor]);
        assert_eq!(oldest("rust-src"), [major, minor]);
        assert!(
            numbers(conda["python"].strip_prefix('=').unwrap()) >= vec![OLDEST.0, OLDEST.1],
            "one version, which repo2docker reads"
        );
    }

    #[test]
    fn binder_builds_from_the_same_file() {
        let read = |path: &str| fs::read_to_string(project().join(path)).unwrap();
        assert_eq!(read(".binder/environment.yml"), read("environment.yml"));
    }

    #[test]
    fn every_package_in_the_lock_has_one_exact_version_and_no_address() {
        for line in LOCK.lines() {
            assert!(line.contains("==") && !line.contains("://"), "{line}");
        }
    }

    #[test]
    fn the_lab_settings_are_json() {
        let settings: serde_json::Value = serde_json::from_str(SETTINGS).unwrap();
        assert_eq!(settings["@jupyterlab/apputils-extension:notification"]["fetchNews"], "false");
    }
}
