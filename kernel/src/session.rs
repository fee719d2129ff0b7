//! What a kernel finds when it starts.
//!
//! The kernel resolves dependencies afresh in each session, which asks the network and fails without one, although all that
//! is needed was downloaded long ago. Forbidding the network for good would take from readers the `:dep` lines of their own.
//! So it is tried at each start: if the registry does not answer, cargo is told to make do with what is there.
//!
//! And each session compiles its crates in a folder of its own, from nothing. So it is given one that is filled already: a copy
//! of what the set-up has compiled for the clone in which the notebook is.

use std::env;
use std::fs::{self, File, FileTimes};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The longest that the registry may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where a clone keeps what its first cell compiled.
pub const WARM: &str = "target/warm-kernel";
/// The file in there that is written last.
pub const READY: &str = "ready";
/// The folder in there that a kernel gets a copy of.
pub const SESSION: &str = "session";

/// How the folders of sessions are named, in the system's folder for temporary files.
const PREFIX: &str = "pinlab-kernel-";
/// The file in such a folder that is locked for as long as the session lives.
const LOCK: &str = "in-use";

/// Makes the surroundings of a kernel that is about to start as it needs them.
pub fn prepare(kernel: &mut Command) {
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
    // Inlining across a cell's codegen units is a fifth of the time that a cell takes, and no notebook is about it.
    kernel.env("CARGO_PROFILE_DEV_LTO", "off");
}

/// Asks cargo, with the user's own settings for mirrors and proxies, whether it reaches its registry.
pub fn online() -> bool {
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

/// A folder for one kernel.
#[derive(Debug)]
pub struct Session {
    folder: PathBuf,
    /// Locked while this process lives, however it dies: the system lets go of it.
    _lock: File,
}

impl Session {
    /// `None` if the notebook's clone has nothing to copy, or it cannot be copied, or the user has chosen a folder.
    pub fn begin() -> Option<Self> {
        if env::var_os("EVCXR_TMPDIR").is_some() {
            return None;
        }
        let here = env::current_dir().ok()?;
        let warm = here.ancestors().map(|folder| folder.join(WARM)).find(|warm| warm.join(READY).is_file())?;
        let parent = env::temp_dir();
        sweep(&parent);
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(&parent).ok()?;
        // Locked under another name, so that nobody finds it unlocked.
        let lock = File::create(folder.path().join("new")).ok()?;
        lock.lock().ok()?;
        fs::rename(folder.path().join("new"), folder.path().join(LOCK)).ok()?;
        copy(&warm.join(SESSION), folder.path()).ok()?;
        Some(Self { folder: folder.keep(), _lock: lock })
    }

    /// Where the kernel is to compile.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Removes the folders of sessions that were killed.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX)
            && let Ok(lock) = File::open(entry.path().join(LOCK))
            && lock.try_lock().is_ok()
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Copies what is in a folder. Cargo tells by the times of files whether they are stale, so the copies have them, too.
///
/// # Errors
/// What cannot be read or written.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (entry, metadata) = entry.and_then(|entry| entry.metadata().map(|metadata| (entry, metadata)))?;
        let to = to.join(entry.file_name());
        if metadata.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), &to)?;
            File::options().write(true).open(&to)?.set_times(FileTimes::new().set_modified(metadata.modified()?))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_the_times_of_the_original() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(from.path().join("deps")).unwrap();
        let file = from.path().join("deps/a.rlib");
        fs::write(&file, "a").unwrap();
        let then = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        File::options().write(true).open(&file).unwrap().set_times(FileTimes::new().set_modified(then)).unwrap();
        copy(from.path(), to.path()).unwrap();
        let copied = to.path().join("deps/a.rlib");
        assert_eq!(fs::read_to_string(&copied).unwrap(), "a");
        assert_eq!(fs::metadata(&copied).unwrap().modified().unwrap(), then);
    }

    #[test]
    fn what_ended_sessions_left_is_swept_and_what_is_in_use_stays() {
        let parent = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let folder = parent.path().join(name);
            fs::create_dir(&folder).unwrap();
            File::create(folder.join(LOCK)).unwrap()
        };
        let in_use = make("pinlab-kernel-a");
        in_use.lock().unwrap();
        drop(make("pinlab-kernel-b"));
        drop(make("somebody-elses"));
        fs::create_dir(parent.path().join("pinlab-kernel-new")).unwrap();
        sweep(parent.path());
        let left = |name: &str| parent.path().join(name).exists();
        assert!(left("pinlab-kernel-a") && left("somebody-elses") && left("pinlab-kernel-new") && !left("pinlab-kernel-b"));
        drop(in_use);
        sweep(parent.path());
        assert!(!left("pinlab-kernel-a"));
    }
}
