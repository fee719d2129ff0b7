//! The per-user folder that holds what the lab installs, and the rules that keep it whole.
//!
//! 1. A component is built in a folder of its own with a random end to its name, `python-….x7Qf`, where nobody looks.
//! 2. It exists once the file `python-….ready` names that folder. That file comes by one rename, after everything else. (The
//!    folder itself is not renamed: a virtual environment knows its own path.)
//! 3. Whoever builds holds the lock. The system lets go of it when the holder dies, however it dies.
//! 4. A folder that no ready-file names is what a killed set-up left behind. The next set-up sweeps it away; should a
//!    left-over process still write into it, it writes where nobody looks.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use pinlab_kernel::session::{self, SESSIONS, WARM};

use crate::ui::Ui;

/// The folder of installed components.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    root: PathBuf,
}

const READY: &str = "ready";
const LOCK: &str = "lock";
const BUILD: &str = "build";
/// What Jupyter keeps of this lab's notebooks: its signatures.
pub(crate) const JUPYTER: &str = "jupyter";

impl Store {
    /// The store of the user who runs us, or the one that `PINLAB_STORE` names; the folder may not exist yet.
    pub(crate) fn of_user() -> Result<Self> {
        let root = session::store().context("this system does not say where your home folder is: set HOME")?;
        Ok(Self { root })
    }

    #[cfg(test)]
    pub(crate) fn at(root: PathBuf) -> Self {
        Self { root }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of a finished component.
    pub(crate) fn find(&self, name: &str) -> Option<PathBuf> {
        let folder = self.root.join(fs::read_to_string(self.ready_file(name)).ok()?.trim());
        folder.is_dir().then_some(folder)
    }

    /// Waits until no other set-up runs, and keeps others waiting while the returned file lives.
    pub(crate) fn lock(&self, ui: &Ui) -> Result<File> {
        session::make_own_folder();
        fs::create_dir_all(&self.root).with_context(|| format!("cannot make the folder {}", self.root.display()))?;
        let path = self.root.join(LOCK);
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.with_context(|| format!("cannot write in {}", self.root.display()))?;
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => {
                return Err(error).context("cannot lock the lab's folder");
            }
        }
        let waiting = ui.start("another set-up of the lab is running: waiting for it");
        file.lock()?;
        waiting.end();
        Ok(file)
    }

    /// The finished component `name`, built by `build` in the folder it is given if there is none yet. Needs the lock.
    pub(crate) fn make(&self, name: &str, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        if let Some(folder) = self.find(name) {
            return Ok(folder);
        }
        // Removed on every way out but the last.
        let folder = tempfile::Builder::new().prefix(&format!("{name}.")).rand_bytes(4).tempdir_in(&self.root)?;
        if let Err(error) = build(folder.path()) {
            // Not every program that is run for it says that it has found the disk full.
            return Err(match takes_more(folder.path()) {
                Err(full) => error.context(full),
                Ok(()) => error,
            });
        }
        let folder = folder.keep();
        let_others_read(&folder)?;
        let folder_name = folder.file_name().context("a folder has a name")?.to_string_lossy().into_owned();
        write_whole(&self.ready_file(name), &folder_name)?;
        Ok(folder)
    }

    /// Makes `name` a component that is not there. Its folder stays until it is swept: someone may be using it.
    pub(crate) fn forget(&self, name: &str) -> Result<()> {
        ignore_missing(fs::remove_file(self.ready_file(name)))
    }

    /// Removes what killed set-ups left behind. Needs the lock.
    pub(crate) fn sweep(&self) -> Result<()> {
        let mut kept = [LOCK, BUILD, WARM, SESSIONS, JUPYTER].map(str::to_owned).to_vec();
        for entry in fs::read_dir(&self.root)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == READY) {
                kept.extend(path.file_name().map(|name| name.to_string_lossy().into_owned()));
                kept.push(fs::read_to_string(&path)?.trim().to_owned());
            }
        }
        for entry in fs::read_dir(&self.root)? {
            let path = entry?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if !kept.contains(&name) {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// Removes everything; true if there was something.
    pub(crate) fn clean(&self, ui: &Ui) -> Result<bool> {
        if !self.root.exists() {
            return Ok(false);
        }
        let lock = self.lock(ui)?;
        for entry in fs::read_dir(&self.root)? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name != LOCK) {
                remove(&path)?;
            }
        }
        drop(lock);
        remove(&self.root)?;
        Ok(true)
    }

    /// Where the kernel is compiled: kept between set-ups, so that a killed one goes on where it stopped.
    pub(crate) fn build_folder(&self) -> PathBuf {
        self.root.join(BUILD)
    }

    pub(crate) fn remove_build_folder(&self) -> Result<()> {
        remove(&self.build_folder())
    }

    fn ready_file(&self, name: &str) -> PathBuf {
        self.root.join(format!("{name}.{READY}"))
    }
}

/// Writes a file so that nobody ever sees half of it.
pub(crate) fn write_whole(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().context("a file is in a folder")?;
    fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    let_others_read(file.path())?;
    file.persist(path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}

/// A store can be shared: files that were made under a name of their own, for this user alone, are opened to all for reading.
pub(crate) fn let_others_read(path: &Path) -> Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = if path.is_dir() { 0o755 } else { 0o644 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
            .with_context(|| format!("cannot open {} to others", path.display()))?;
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// Whether there is room in a folder for a file of some size.
///
/// # Errors
/// There is none.
fn takes_more(folder: &Path) -> std::io::Result<()> {
    let mut file = tempfile::tempfile_in(folder)?;
    file.write_all(&[0; 1 << 20])?;
    file.sync_all()
}

fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    ignore_missing(removed).with_context(|| format!("cannot remove {}", path.display()))
}

fn ignore_missing(result: std::io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use anyhow::bail;

    use super::*;

    fn store() -> (tempfile::TempDir, Store, Ui) {
        let base = tempfile::tempdir().unwrap();
        let root = base.path().join("pinlab");
        (base, Store { root }, Ui::new())
    }

    fn names(store: &Store) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(&store.root).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_component_is_built_once_and_found_ever_after() {
        let (_base, store, ui) = store();
        let _lock = store.lock(&ui).unwrap();
        let made = store.make("thing-1", |folder| Ok(fs::write(folder.join("a"), "b")?)).unwrap();
        assert_eq!(store.find("thing-1"), Some(made.clone()));
        assert_eq!(store.make("thing-1", |_| panic!("it is there already")).unwrap(), made);
        assert_eq!(store.find("thing-2"), None);
    }

    #[test]
    fn a_failed_build_leaves_nothing() {
        let (_base, store, ui) = store();
        let _lock = store.lock(&ui).unwrap();
        let failed = store.make("thing-1", |folder| {
            fs::write(folder.join("half"), "")?;
            bail!("no network")
        });
        assert!(failed.is_err());
        assert_eq!(store.find("thing-1"), None);
        assert_eq!(names(&store), ["lock"]);
    }

    #[test]
    fn what_a_killed_set_up_left_is_swept_and_what_is_ready_stays() {
        let (_base, store, ui) = store();
        let _lock = store.lock(&ui).unwrap();
        let ready = store.make("thing-1", |_| Ok(())).unwrap();
        fs::create_dir(store.root.join("thing-2.abcd")).unwrap();
        fs::write(store.root.join(".tmpXYZ"), "half a ready-file").unwrap();
        fs::create_dir(store.build_folder()).unwrap();
        for name in [WARM, SESSIONS, JUPYTER] {
            fs::create_dir(store.root.join(name)).unwrap();
        }
        store.sweep().unwrap();
        for name in [WARM, SESSIONS, JUPYTER] {
            fs::remove_dir(store.root.join(name)).unwrap();
        }
        assert_eq!(store.find("thing-1"), Some(ready));
        assert_eq!(names(&store).len(), 4, "the lock, the build folder, the component and its ready-file");
        store.remove_build_folder().unwrap();
        store.forget("thing-1").unwrap();
        store.sweep().unwrap();
        assert_eq!(names(&store), ["lock"]);
    }

    #[test]
    fn a_second_set_up_waits_for_the_first() {
        let (_base, store, ui) = store();
        let first = store.lock(&ui).unwrap();
        thread::scope(|scope| {
            let second = scope.spawn(|| {
                let _lock = store.lock(&Ui::new()).unwrap();
                store.find("thing-1")
            });
            thread::sleep(Duration::from_millis(50));
            assert!(!second.is_finished());
            let made = store.make("thing-1", |_| Ok(())).unwrap();
            drop(first);
            assert_eq!(second.join().unwrap(), Some(made));
        });
    }

    #[test]
    fn clean_removes_everything() {
        let (base, store, ui) = store();
        assert!(!store.clean(&ui).unwrap());
        drop(store.lock(&ui).unwrap());
        assert!(store.clean(&ui).unwrap());
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
    }
}
