//! The per-user folder that holds what the lab installs, and the rules that keep it whole.
//!
//! 1. A component is built in a folder of its own with a random end to its name, `python-….x7Qf`, where nobody looks.
//! 2. It exists once the file `python-….ready` names that folder. That file comes by one rename, after everything else. (The
//!    folder itself is not renamed: a virtual environment knows its own path.)
//! 3. Whoever builds holds the lock. The system lets go of it when the holder dies, however it dies.
//! 4. A folder that no ready-file names is what a killed set-up left behind. The next set-up sweeps it away; should a
//!    left-over process still write into it, it writes where nobody looks.
//! 5. A set-up begins only in a folder that is empty, or that it knows as a store by what is written in the lock. Of what is in
//!    there only that is removed which has a name that the store makes.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use pinlab_kernel::session::{self, SESSIONS, WARM};

use crate::ui::Ui;

/// The folder of installed components.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    root: PathBuf,
    /// True if it is the folder in the user's own cache, in which sessions and what Jupyter keeps are, too.
    own: bool,
}

const READY: &str = "ready";
const LOCK: &str = "lock";
const BUILD: &str = "build";
/// What Jupyter keeps of this lab's notebooks: its signatures.
pub(crate) const JUPYTER: &str = "jupyter";
/// The kinds of components: what their names begin with.
const KINDS: [&str; 4] = ["book", "front", "kernel", "python"];
/// The systems for which there are components: the last part but one of their names.
const SYSTEMS: [&str; 4] = ["linux", "macos", "windows", std::env::consts::OS];

/// What is written in the lock. It never changes: stores are known by it. (In those of 0.2.0 the lock is empty.)
const MARK: &str = "`cargo lab` has set up what is in this folder, and `cargo lab clean` removes it.\n";

impl Store {
    /// The store of the user who runs us, or the one that `PINLAB_STORE` names; the folder may not exist yet.
    pub(crate) fn of_user() -> Result<Self> {
        let root = session::store().context("this system does not say where your home folder is: set HOME")?;
        let own = session::own_folder().is_some_and(|own| own == root);
        Ok(Self { root, own })
    }

    /// The one that is, or may be, in the user's own cache.
    pub(crate) fn own(root: PathBuf) -> Self {
        Self { root, own: true }
    }

    #[cfg(test)]
    pub(crate) fn at(root: PathBuf) -> Self {
        Self { root, own: false }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of a finished component.
    pub(crate) fn find(&self, name: &str) -> Option<PathBuf> {
        let folder = self.root.join(fs::read_to_string(self.ready_file(name)).ok()?.trim());
        folder.is_dir().then_some(folder)
    }

    /// Refuses a folder in which there is something, if no set-up has begun there.
    pub(crate) fn check(&self) -> Result<()> {
        let Some(stranger) = self.stranger()? else { return Ok(()) };
        bail!(
            "{} is not the lab's: `{stranger}` is in it, and the lab has set up nothing there. Let PINLAB_STORE name a folder that is empty \
             or does not exist, such as {}, or the one in which the lab was set up",
            self.root.display(),
            self.root.join("pinlab").display()
        )
    }

    /// Something in the folder that shows that it is somebody else's.
    fn stranger(&self) -> Result<Option<String>> {
        // First: another set-up may begin meanwhile, and what it makes is no stranger.
        let names = self.names()?;
        let path = self.root.join(LOCK);
        let is_begun = match path.is_file().then(|| fs::read(path)) {
            None => false,
            Some(Ok(text)) if text == MARK.as_bytes() => return Ok(None),
            // Without the mark, or killed while it was written.
            Some(Ok(text)) => MARK.as_bytes().starts_with(&text),
            // Where a file that is locked cannot be read, on Windows, a set-up is running. Elsewhere it cannot be opened for writing, either.
            Some(Err(_)) => return Ok(None),
        };
        if is_begun && names.iter().any(|name| is_component(name)) {
            return Ok(None);
        }
        Ok(names.into_iter().find(|name| !(is_begun && name == LOCK || self.is_own(name))))
    }

    /// What is in the folder, in order.
    fn names(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        if self.root.exists() {
            let entries = fs::read_dir(&self.root).with_context(|| format!("cannot read {}", self.root.display()))?;
            for entry in entries {
                names.push(entry?.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// True for what is beside a store in the user's own folder; it can be there before any set-up.
    fn is_own(&self, name: &str) -> bool {
        self.own && [SESSIONS, JUPYTER].contains(&name)
    }

    /// Waits until no other set-up runs, and keeps others waiting while the returned file lives. Refuses a folder that is somebody else's.
    pub(crate) fn lock(&self, ui: &Ui) -> Result<File> {
        if self.own {
            session::make_own_folder();
        }
        fs::create_dir_all(&self.root).with_context(|| format!("cannot make the folder {}", self.root.display()))?;
        self.check()?;
        let path = self.root.join(LOCK);
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let mut file = file.with_context(|| format!("cannot write in {}", self.root.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let waiting = ui.start("another set-up of the lab is running: waiting for it");
                file.lock()?;
                waiting.end();
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).context("cannot lock the lab's folder");
            }
        }
        // What is there is its beginning, if anything.
        if file.metadata()?.len() < MARK.len() as u64 {
            file.write_all(MARK.as_bytes()).with_context(|| format!("cannot write in {}", self.root.display()))?;
        }
        Ok(file)
    }

    /// The finished component `name`, built by `build` in the folder it is given if there is none yet. Needs the lock.
    pub(crate) fn make(&self, name: &str, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        if let Some(folder) = self.find(name) {
            return Ok(folder);
        }
        debug_assert!(is_component(&format!("{name}.{READY}")), "{name}: a component of this name would never be removed");
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
        let names = self.names()?;
        // One that cannot be read names nothing.
        let ready = names.iter().filter(|name| name.ends_with(&format!(".{READY}")));
        let kept: Vec<String> = ready.filter_map(|name| fs::read_to_string(self.root.join(name)).ok()).collect();
        for name in &names {
            let path = self.root.join(name);
            let is_left = is_component(name) && path.is_dir() || is_temporary(name);
            if is_left && self.has_made(name) && !kept.iter().any(|kept| kept.trim() == name) {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// Removes all that the store has made, and the folder, if nothing else is in it. What else is in it; `None` if there was nothing to remove.
    pub(crate) fn clean(&self, ui: &Ui) -> Result<Option<Vec<String>>> {
        if !self.root.exists() {
            return Ok(None);
        }
        let lock = self.lock(ui)?;
        let (made, others): (Vec<String>, Vec<String>) = self.names()?.into_iter().partition(|name| self.has_made(name));
        for name in made.iter().filter(|name| *name != LOCK) {
            remove(&self.root.join(name))?;
        }
        drop(lock);
        if others.is_empty() {
            remove(&self.root.join(LOCK))?;
            // One that is a link, or a disk of its own, stays: there is nothing in it.
            let _ = fs::remove_dir(&self.root);
        } else if made == [LOCK] {
            return Ok(None);
        }
        Ok(Some(others))
    }

    /// True for what is of the store's making, by its name and its kind.
    fn has_made(&self, name: &str) -> bool {
        let is_ready = Path::new(name).extension().is_some_and(|extension| extension == READY);
        match self.root.join(name).is_dir() {
            true => [BUILD, WARM].contains(&name) || self.is_own(name) || is_component(name) && !is_ready,
            false => name == LOCK || is_component(name) && is_ready || is_temporary(name),
        }
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

/// True for a name that the store gives to components: `kernel-0.22.0-linux-x86_64.x7Qf`, or with `.ready` at its end.
fn is_component(name: &str) -> bool {
    let Some((stem, end)) = name.rsplit_once('.') else { return false };
    let parts: Vec<&str> = stem.split('-').collect();
    matches!(parts[..], [kind, _, .., system, _] if KINDS.contains(&kind) && SYSTEMS.contains(&system))
        && (end == READY || is_random(end, 4))
}

/// True for the name of a file that [`write_whole`] has not finished.
fn is_temporary(name: &str) -> bool {
    name.strip_prefix(".tmp").is_some_and(|end| is_random(end, 6))
}

fn is_random(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|letter| letter.is_ascii_alphanumeric())
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
        (base, Store::at(root), Ui::new())
    }

    fn names(store: &Store) -> Vec<String> {
        store.names().unwrap()
    }

    const ONE: &str = "python-1-linux-x86_64";
    const TWO: &str = "kernel-2-linux-x86_64";

    #[test]
    fn a_component_is_built_once_and_found_ever_after() {
        let (_base, store, ui) = store();
        let _lock = store.lock(&ui).unwrap();
        let made = store.make(ONE, |folder| Ok(fs::write(folder.join("a"), "b")?)).unwrap();
        assert_eq!(store.find(ONE), Some(made.clone()));
        assert_eq!(store.make(ONE, |_| panic!("it is there already")).unwrap(), made);
        assert_eq!(store.find(TWO), None);
    }

    #[test]
    fn a_failed_build_leaves_nothing() {
        let (_base, store, ui) = store();
        let _lock = store.lock(&ui).unwrap();
        let failed = store.make(ONE, |folder| {
            fs::write(folder.join("half"), "")?;
            bail!("no network")
        });
        assert!(failed.is_err());
        assert_eq!(store.find(ONE), None);
        assert_eq!(names(&store), ["lock"]);
    }

    #[test]
    fn what_a_killed_set_up_left_is_swept_and_what_is_ready_stays() {
        let (_base, store, ui) = store();
        let _lock = store.lock(&ui).unwrap();
        let ready = store.make(ONE, |_| Ok(())).unwrap();
        fs::create_dir(store.root.join(format!("{TWO}.abcd"))).unwrap();
        fs::write(store.root.join(".tmpUVWXYZ"), "half a ready-file").unwrap();
        fs::create_dir(store.build_folder()).unwrap();
        for name in [WARM, SESSIONS, JUPYTER] {
            fs::create_dir(store.root.join(name)).unwrap();
        }
        store.sweep().unwrap();
        for name in [WARM, SESSIONS, JUPYTER] {
            fs::remove_dir(store.root.join(name)).unwrap();
        }
        assert_eq!(store.find(ONE), Some(ready));
        assert_eq!(names(&store).len(), 4, "the lock, the build folder, the component and its ready-file");
        store.remove_build_folder().unwrap();
        store.forget(ONE).unwrap();
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
                store.find(ONE)
            });
            thread::sleep(Duration::from_millis(50));
            assert!(!second.is_finished());
            let made = store.make(ONE, |_| Ok(())).unwrap();
            drop(first);
            assert_eq!(second.join().unwrap(), Some(made));
        });
    }

    #[test]
    fn clean_removes_everything() {
        let (base, store, ui) = store();
        assert_eq!(store.clean(&ui).unwrap(), None);
        drop(store.lock(&ui).unwrap());
        assert_eq!(store.clean(&ui).unwrap(), Some(vec![]));
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
    }

    /// Found by reading: all that was in a folder that PINLAB_STORE named was removed by the set-up.
    #[test]
    fn a_folder_with_something_in_it_is_refused_and_left_as_it_is() {
        let (_base, store, ui) = store();
        fs::create_dir_all(store.root.join("photos")).unwrap();
        for clean in [false, true] {
            let refused = if clean { store.clean(&ui).map(drop) } else { store.lock(&ui).map(drop) };
            let said = refused.unwrap_err().to_string();
            assert!(said.contains("`photos`") && said.contains("PINLAB_STORE"), "{said}");
            assert_eq!(names(&store), ["photos"]);
        }
        // Another program's lock; and ours, of a set-up that has made nothing else.
        for lock in ["another program's", "", &MARK[..9]] {
            fs::write(store.root.join(LOCK), lock).unwrap();
            assert!(store.lock(&ui).is_err());
            assert_eq!(fs::read_to_string(store.root.join(LOCK)).unwrap(), lock);
        }
    }

    #[test]
    fn a_store_without_the_mark_is_known_by_what_is_in_it() {
        for (own, there, is_store) in [
            (false, &[LOCK][..], true),
            (false, &[LOCK, "python-1-linux-x86_64.abcd", BUILD, "letter.txt"], true),
            (false, &[LOCK, "python-1-linux-x86_64.ready", SESSIONS], true),
            (false, &[LOCK, BUILD], false),
            (false, &[LOCK, "python-1.abcd"], false),
            (false, &[SESSIONS, JUPYTER], false),
            (true, &[SESSIONS, JUPYTER], true),
            (true, &[LOCK, JUPYTER], true),
            (true, &[SESSIONS, "letter.txt"], false),
        ] {
            let (_base, mut store, ui) = store();
            store.own = own;
            fs::create_dir(&store.root).unwrap();
            there.iter().for_each(|name| fs::write(store.root.join(name), "").unwrap());
            assert_eq!(store.lock(&ui).is_ok(), is_store, "{there:?}");
            assert_eq!(is_store, fs::read_to_string(store.root.join(LOCK)).is_ok_and(|text| text == MARK), "{there:?}");
        }
    }

    #[test]
    fn what_somebody_else_has_put_into_a_store_outlives_a_set_up_and_a_clean() {
        let (_base, store, ui) = store();
        drop(store.lock(&ui).unwrap());
        store.make(ONE, |_| Ok(())).unwrap();
        let theirs = [
            "jupyter",
            "kernel-1-linux-notes.html",
            "kernel-of-the-year.2024",
            "letter.txt",
            "my.ready",
            "photos",
            "python-notes.2024",
        ];
        for name in theirs {
            if [".txt", ".html", ".ready"].iter().any(|end| name.ends_with(end)) {
                fs::write(store.root.join(name), "theirs").unwrap();
            } else {
                fs::create_dir(store.root.join(name)).unwrap();
                fs::write(store.root.join(name).join("letter.txt"), "theirs").unwrap();
            }
        }
        store.sweep().unwrap();
        assert!(store.find(ONE).is_some());
        assert_eq!(store.clean(&ui).unwrap(), Some(theirs.map(str::to_owned).to_vec()));
        assert_eq!(store.clean(&ui).unwrap(), None);
        assert_eq!(names(&store).len(), theirs.len() + 1, "what is theirs, and the lock: it can be set up again");
        assert_eq!(fs::read_to_string(store.root.join("photos/letter.txt")).unwrap(), "theirs");
        drop(store.lock(&ui).unwrap());
    }

    #[test]
    fn a_ready_file_that_cannot_be_read_is_none() {
        let (_base, store, ui) = store();
        let _lock = store.lock(&ui).unwrap();
        let made = store.make(ONE, |_| Ok(())).unwrap();
        fs::write(store.ready_file(ONE), [0xff]).unwrap();
        store.sweep().unwrap();
        assert!(!made.exists() && store.find(ONE).is_none());
        store.make(ONE, |_| Ok(())).unwrap();
        store.sweep().unwrap();
        assert!(store.find(ONE).is_some());
    }

    #[test]
    fn the_components_have_names_that_the_store_knows() {
        let names = crate::setup::Names::needed();
        for name in [names.kernel, names.python, names.front] {
            assert!(is_component(&format!("{name}.{READY}")) && is_component(&format!("{name}.x7Qf")), "{name}");
        }
    }
}
