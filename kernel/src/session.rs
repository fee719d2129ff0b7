//! What a kernel finds when it starts.
//!
//! The kernel resolves dependencies afresh in each session, which asks the network and fails without one, although all that
//! is needed was downloaded long ago. Forbidding the network for good would take from readers the `:dep` lines of their own.
//! So it is tried at each start: if the registry does not answer, cargo is told to make do with what is there.
//!
//! The kernel's analyser reads the source of the standard library at each start, and again for each change of the dependencies. It is shown less of it.
//!
//! And each session compiles its crates in a folder of its own, from nothing. So it is given one that is filled already: a copy
//! of what the set-up has compiled for the clone in which the notebook is.
//!
//! A kernel starts when a notebook is opened, before its reader has seen it. So nothing that lies beside the notebook may run at that: not a crate that the
//! set-up has not compiled, not a toolchain that a `rust-toolchain.toml` names, not what the kernel's own configuration file has for its start.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File, FileTimes};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use etcetera::BaseStrategy;
use sha2::{Digest, Sha256};

/// The longest that the registry may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The variable that names the store, if it is not in the user's own cache.
pub const STORE: &str = "PINLAB_STORE";

/// Where in the store it is kept what the first cell compiled, for each clone.
pub const WARM: &str = "warm";
/// The file in there that says what the support crate was like: its [`state`].
pub const COMPILED: &str = "compiled";
/// The file in there that is written last.
pub const READY: &str = "ready";
/// The folder in there that a kernel gets a copy of.
pub const SESSION: &str = "session";

/// Where in the user's own cache the folders of sessions are.
pub const SESSIONS: &str = "sessions";
/// How the folder of a session is named.
const PREFIX: &str = "kernel-";
/// The file in such a folder that is locked for as long as the session lives.
const LOCK: &str = "in-use";

/// The user's own folder of this course; `None` if the system does not say where a user's caches are.
pub fn own_folder() -> Option<PathBuf> {
    Some(etcetera::base_strategy::choose_native_strategy().ok()?.cache_dir().join("pinlab"))
}

/// Makes the user's own folder, for nobody else to look into. One that is a link to another place is left as it is.
pub fn make_own_folder() {
    if let Some(folder) = own_folder() {
        let _ = private(&folder);
    }
}

/// Where what the lab installs is: [`STORE`] if that is set, else the user's own folder.
pub fn store() -> Option<PathBuf> {
    named_store().or_else(own_folder)
}

/// Whether somebody has named the store: then others may be meant to use what is in it.
pub fn is_named() -> bool {
    named_store().is_some()
}

fn named_store() -> Option<PathBuf> {
    env::var_os(STORE).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Where in the store it is kept what was compiled for this support crate.
pub fn warm_folder(store: &Path, support_crate: &Path) -> PathBuf {
    let path = fs::canonicalize(support_crate).unwrap_or_else(|_| support_crate.to_owned());
    let digest = Sha256::digest(path.as_os_str().as_encoded_bytes());
    store.join(WARM).join(digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// The files of a support crate that are compiled, with their lengths and times, as one text. It is with the time as with cargo: that counts, and not what is
/// in the file. (In whole seconds: an image keeps no more.)
///
/// # Errors
/// What cannot be read.
pub fn state(support_crate: &Path) -> io::Result<String> {
    let support_crate = fs::canonicalize(support_crate)?;
    let mut files = vec![support_crate.join("Cargo.toml")];
    // What need not be there: a program that cargo runs first, and what the crate's manifest takes from the project's.
    let more = [Some(support_crate.join("build.rs")), support_crate.parent().map(|project| project.join("Cargo.toml"))];
    files.extend(more.into_iter().flatten().filter(|file| file.exists()));
    let mut folders: Vec<_> =
        ["figure", "src"].map(|name| support_crate.join(name)).into_iter().filter(|folder| folder.is_dir()).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    let mut state = String::new();
    for file in files {
        let about = fs::metadata(&file)?;
        let seconds = about.modified()?.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        state +=
            &format!("{} {} {seconds}\n", file.strip_prefix(&support_crate).unwrap_or(Path::new("..")).display(), about.len());
    }
    Ok(state)
}

/// A folder for the sessions of this user: nobody else can write in it or above it, and the kernel can use its name.
///
/// # Errors
/// It cannot be made.
pub fn sessions() -> io::Result<PathBuf> {
    make_own_folder();
    let own = own_folder().map(|folder| folder.join(SESSIONS));
    // The kernel speaks to the program that runs the cells in lines with spaces between the words.
    let candidates = own.into_iter().chain(runtime()).filter(|path| is_plain(path));
    for folder in candidates {
        if private(&folder).is_ok() {
            return Ok(folder);
        }
    }
    let folder = shared();
    private(&folder)?;
    // Cargo reads its configuration from the folders above, too.
    match foreign_configuration(&folder) {
        Some(file) => Err(io::Error::other(format!("{} is not yours, and would be obeyed", file.display()))),
        None => Ok(folder),
    }
}

/// The folders of this user's that are there because the kernel could not use the name of the user's own cache.
pub fn elsewhere() -> Vec<PathBuf> {
    runtime().into_iter().chain([shared()]).filter(|folder| is_own(folder, true)).collect()
}

fn runtime() -> Option<PathBuf> {
    env::var_os("XDG_RUNTIME_DIR").map(|folder| PathBuf::from(folder).join("pinlab"))
}

fn shared() -> PathBuf {
    let shared = env::temp_dir();
    let shared = if is_plain(&shared) { shared } else { PathBuf::from(if cfg!(windows) { "C:\\Users\\Public" } else { "/tmp" }) };
    shared.join(format!("pinlab-{}", user()))
}

/// Letters, digits and a few signs only.
fn is_plain(path: &Path) -> bool {
    path.to_str().is_some_and(|text| text.chars().all(|letter| letter.is_ascii_alphanumeric() || "/\\:.-_~+@".contains(letter)))
}

/// Makes the folder, for this user alone.
///
/// # Errors
/// It cannot be made, or is another user's, or a link.
pub fn private(folder: &Path) -> io::Result<()> {
    if let Some(above) = folder.parent() {
        fs::create_dir_all(above)?;
    }
    #[cfg_attr(not(unix), expect(unused_mut, reason = "rights are given where there are such"))]
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    if !is_own(folder, true) {
        return Err(io::Error::other(format!("{} is not a folder of this user's own", folder.display())));
    }
    #[cfg(unix)]
    fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    Ok(())
}

/// True if this is a folder (or a file), and nobody but this user, or the system's administrator, can have made it.
fn is_own(path: &Path, folder: bool) -> bool {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return false;
    };
    let right_kind = if folder { metadata.is_dir() } else { metadata.is_file() };
    #[cfg(unix)]
    {
        let owner = std::os::unix::fs::MetadataExt::uid(&metadata);
        right_kind && (owner == rustix::process::geteuid().as_raw() || owner == 0)
    }
    #[cfg(not(unix))]
    right_kind
}

#[cfg(unix)]
fn user() -> String {
    rustix::process::geteuid().as_raw().to_string()
}

#[cfg(not(unix))]
fn user() -> String {
    env::var("USERNAME").unwrap_or_default().chars().filter(char::is_ascii_alphanumeric).collect()
}

/// A file above this folder that cargo would read although somebody else has put it there.
fn foreign_configuration(folder: &Path) -> Option<PathBuf> {
    let files = folder.ancestors().flat_map(|above| ["config.toml", "config"].map(|name| above.join(".cargo").join(name)));
    files.into_iter().find(|file| fs::symlink_metadata(file).is_ok() && !is_own(file, false))
}

/// Makes the surroundings of a kernel that is about to start as it needs them. Where it is to compile the compiler is asked, and what is made for it goes
/// into the folder of its session.
pub fn prepare(kernel: &mut Command, compiles: &Path, session: Option<&Session>) {
    // The kernel's compile cache takes what is not compiled incrementally for a library that never changes, cells included;
    // and profiles from outside would change the optimisation that the notebooks speak of.
    for (name, _) in env::vars_os() {
        if name == "CARGO_INCREMENTAL" || name.to_string_lossy().starts_with("CARGO_PROFILE_") {
            kernel.env_remove(name);
        }
    }
    // Inlining across a cell's codegen units is a fifth of the time that a cell takes, and no notebook is about it.
    kernel.env("CARGO_PROFILE_DEV_LTO", "off");
    choose_toolchain(kernel, compiles);
    if let Some(libraries) = standard_library(compiles) {
        let (variable, source) = (env::var_os(SOURCE), source_of(&libraries));
        if let (Some(session), None, Some(source)) = (session, variable, source)
            && let Ok(lighter) = lighter(&source, &session.folder)
        {
            kernel.env(SOURCE, lighter);
        }
        find_standard_library(kernel, libraries);
    }
}

/// Lets a kernel do with what was downloaded, if the registry does not answer.
pub fn prepare_offline(kernel: &mut Command) {
    if env::var_os("CARGO_NET_OFFLINE").is_none() && !online() {
        kernel.env("CARGO_NET_OFFLINE", "true");
    }
}

/// What a program says in a folder. Where the program is rustup's, the folder decides which one it is.
fn said(program: &str, arguments: [&str; 2], folder: &Path) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The folder of the compiled standard library.
fn standard_library(compiles: &Path) -> Option<PathBuf> {
    said("rustc", ["--print", "target-libdir"], compiles).map(PathBuf::from)
}

/// The variable that decides which toolchain rustup takes. Cargo sets it for what it starts.
const TOOLCHAIN: &str = "RUSTUP_TOOLCHAIN";

/// The kernel asks rustup for a compiler in the notebook's folder, and runs it: there a `rust-toolchain.toml` may name any program. So it is told to take
/// the one that is taken where it compiles.
fn choose_toolchain(kernel: &mut Command, compiles: &Path) {
    if env::var_os(TOOLCHAIN).is_some() {
        return;
    }
    // `stable-x86_64-unknown-linux-gnu (default)`
    let said = said("rustup", ["show", "active-toolchain"], compiles).unwrap_or_default();
    if let Some(name) = said.split(" (").next().filter(|name| !name.is_empty()) {
        kernel.env(TOOLCHAIN, name);
    }
}

/// The variable that tells the kernel's analyser where the source of the standard library is.
const SOURCE: &str = "RUST_SRC_PATH";

/// The crates of the standard library that the kernel's analyser is shown. Half of the source is not among them: `stdarch`, what `core::arch` has for each
/// processor. Without it a kernel starts in half the time and with half the memory. Variables of its types then need their types written out.
const SHOWN: [&str; 11] = [
    "alloc",
    "backtrace",
    "core",
    "panic_abort",
    "panic_unwind",
    "proc_macro",
    "std",
    "std_detect",
    "test",
    "unwind",
    "windows_link",
];

/// The source that belongs to a compiled standard library, if it is installed.
fn source_of(libraries: &Path) -> Option<PathBuf> {
    let source = libraries.ancestors().nth(2)?.join("src").join("rust").join("library");
    source.join("core").is_dir().then_some(source)
}

/// A folder with links to the crates that are [`SHOWN`]. Where links need a privilege, on Windows, the analyser reads everything.
///
/// # Errors
/// The links cannot be made.
fn lighter(source: &Path, folder: &Path) -> io::Result<PathBuf> {
    let lighter = folder.join("library");
    #[cfg(unix)]
    {
        fs::create_dir_all(&lighter)?;
        for name in SHOWN.iter().filter(|name| source.join(name).is_dir() && !lighter.join(name).exists()) {
            std::os::unix::fs::symlink(source.join(name), lighter.join(name))?;
        }
        Ok(lighter)
    }
    #[cfg(not(unix))]
    Err(io::Error::other(format!("no links to {} and its like in {}", source.join(SHOWN[0]).display(), lighter.display())))
}

/// Lets the kernel find the standard library that its cells are linked with. A cell whose text was compiled before is not compiled again, and evcxr 0.22
/// loads it from a folder from which the path that is written in it leads nowhere. Cargo sets the variable for what it starts; Jupyter, VS Code and a hub do
/// not.
fn find_standard_library(kernel: &mut Command, folder: PathBuf) {
    let Some(variable) = LIBRARY_PATH else { return };
    if let Some(path) = library_path(folder, env::var_os(variable)) {
        kernel.env(variable, path);
    }
}

/// Where the system looks for shared libraries. On Windows the kernel takes care of it itself.
const LIBRARY_PATH: Option<&str> = if cfg!(target_os = "macos") {
    Some("DYLD_FALLBACK_LIBRARY_PATH")
} else if cfg!(unix) {
    Some("LD_LIBRARY_PATH")
} else {
    None
};

/// This folder first, then those of before. An empty one is the working folder to the system, in which anybody may have put a library: it is left out.
fn library_path(first: PathBuf, before: Option<OsString>) -> Option<OsString> {
    // What macOS looks through when the variable is not set is no longer looked through when it is.
    let unset = if cfg!(target_os = "macos") { "/usr/local/lib:/usr/lib" } else { "" };
    let before = before.unwrap_or_else(|| unset.into());
    let folders = std::iter::once(first).chain(env::split_paths(&before));
    env::join_paths(folders.filter(|folder| !folder.as_os_str().is_empty())).ok()
}

/// Asks cargo, with the user's own settings for mirrors and proxies, whether it reaches its registry.
pub fn online() -> bool {
    // Not in a folder that others can write in: cargo reads its configuration from there.
    let Ok((folder, _in_use)) = scratch() else {
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
    /// True if it has the crate that the first cell names, compiled as it is now.
    warm: bool,
    /// Locked while this process lives, however it dies: the system lets go of it.
    _lock: File,
}

impl Session {
    /// With a copy of what was compiled for the notebook's clone, if that is there. `None` if the user has chosen a folder.
    ///
    /// # Errors
    /// No folder can be had that is this user's alone.
    pub fn begin() -> io::Result<Option<Self>> {
        if env::var_os("EVCXR_TMPDIR").is_some() {
            return Ok(None);
        }
        let parent = sessions()?;
        sweep(&parent);
        let (folder, lock) = in_use(&parent)?;
        let warm = support_crate().is_some_and(|support_crate| {
            let warm = warm(&support_crate).filter(|warm| fill(&warm.join(SESSION), folder.path()));
            warm.is_some_and(|warm| is_same(&support_crate, Path::new(SUPPORT_CRATE)) && is_as_compiled(&support_crate, &warm))
        });
        Ok(Some(Self { folder: folder.keep(), warm, _lock: lock }))
    }

    /// Where the kernel is to compile.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// True if the set-up has compiled the crate that the first cell of the course's notebooks names, and the crate has not changed since.
    pub fn is_warm(&self) -> bool {
        self.warm
    }
}

/// Where a notebook of the course looks for the support crate.
pub const SUPPORT_CRATE: &str = "../support-crate";

/// The support crate of the clone in which the notebook is.
pub fn support_crate() -> Option<PathBuf> {
    let here = env::current_dir().ok()?;
    here.ancestors().map(|folder| folder.join("support-crate")).find(|folder| folder.join("Cargo.toml").is_file())
}

/// What the set-up has compiled for it.
fn warm(support_crate: &Path) -> Option<PathBuf> {
    let warm = warm_folder(&store()?, support_crate);
    (is_own(&warm, true) && warm.join(READY).is_file()).then_some(warm)
}

/// Whether two paths lead to one folder.
fn is_same(one: &Path, other: &Path) -> bool {
    matches!((fs::canonicalize(one), fs::canonicalize(other)), (Ok(one), Ok(other)) if one == other)
}

/// Whether the crate is as it was when the set-up compiled it.
fn is_as_compiled(support_crate: &Path, warm: &Path) -> bool {
    matches!((state(support_crate), fs::read_to_string(warm.join(COMPILED))), (Ok(state), Ok(compiled)) if state == compiled)
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A folder for a while, where the kernel can compile: the next session removes it if we are killed.
///
/// # Errors
/// No folder can be had that is this user's alone.
pub fn scratch() -> io::Result<(tempfile::TempDir, File)> {
    let parent = sessions()?;
    sweep(&parent);
    in_use(&parent)
}

/// A new folder, and its lock.
fn in_use(parent: &Path) -> io::Result<(tempfile::TempDir, File)> {
    let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
    // Locked under another name, so that nobody finds it unlocked.
    let lock = File::create(folder.path().join("new"))?;
    lock.lock()?;
    fs::rename(folder.path().join("new"), folder.path().join(LOCK))?;
    Ok((folder, lock))
}

/// Removes the folders of sessions that were killed.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if is_abandoned(&entry.path()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// True if this is the folder of a session that has ended and could not remove it.
pub fn is_abandoned(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let lock = folder.join(LOCK);
    name.starts_with(PREFIX)
        // Not a pipe, which would not open before somebody writes to it.
        && is_own(&lock, false)
        && File::open(lock).is_ok_and(|lock| lock.try_lock().is_ok())
}

/// Fills the folder of a session with a copy of what was compiled. False if it cannot be had whole; then there is nothing of it: cargo takes a file that was
/// cut off, and is newer than its source, for a fresh one.
fn fill(from: &Path, folder: &Path) -> bool {
    if copy(from, folder).is_ok() {
        return true;
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten().filter(|entry| entry.file_name() != LOCK) {
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let _ = if is_folder { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) };
    }
    false
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
            copy_file(&entry.path(), &to)?;
            File::options().write(true).open(&to)?.set_times(FileTimes::new().set_modified(metadata.modified()?))?;
        }
    }
    Ok(())
}

/// Copies a file. Its owner may write to the copy, also where the file is read-only, as in a clone that belongs to somebody else.
///
/// # Errors
/// What cannot be read or written.
pub fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    fs::copy(from, to)?;
    let mut permissions = fs::metadata(to)?.permissions();
    if permissions.readonly() {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            permissions.set_mode(permissions.mode() | 0o200);
        }
        #[cfg(not(unix))]
        #[expect(clippy::permissions_set_readonly_false, reason = "it is about Unix, where that would let everybody write")]
        permissions.set_readonly(false);
        fs::set_permissions(to, permissions)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn the_copy_of_a_read_only_file_can_be_written_to() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| folder.path().join(name));
        fs::create_dir(&from).unwrap();
        for (name, mode) in [("a.lock", 0o444), ("program", 0o555), ("own", 0o640)] {
            fs::write(from.join(name), name).unwrap();
            fs::set_permissions(from.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        copy(&from, &to).unwrap();
        let mode = |name| fs::metadata(to.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(["a.lock", "program", "own"].map(mode), [0o644, 0o755, 0o640]);
    }

    #[test]
    fn a_kernel_finds_the_standard_library_whoever_starts_it() {
        let mut kernel = Command::new("kernel");
        find_standard_library(&mut kernel, standard_library(Path::new(".")).unwrap());
        let path = kernel.get_envs().find(|(name, _)| LIBRARY_PATH.is_some_and(|path| *name == path)).and_then(|(_, path)| path);
        let is_std = |entry: fs::DirEntry| entry.file_name().to_string_lossy().starts_with("libstd-");
        let found =
            path.and_then(|path| env::split_paths(path).next()).map(|first| fs::read_dir(first).unwrap().flatten().any(is_std));
        assert_eq!(found, cfg!(unix).then_some(true));
    }

    #[test]
    #[cfg(unix)]
    fn the_analyser_is_shown_half_of_the_standard_library() {
        let folder = tempfile::tempdir().unwrap();
        let source = source_of(&standard_library(Path::new(".")).unwrap())
            .expect("the kernel needs the source of the standard library, and so does this test");
        for _ in 0..2 {
            let shown = lighter(&source, folder.path()).unwrap();
            let there = |file: &str| shown.join(file).is_file();
            assert!(
                there("core/src/lib.rs")
                    && there("alloc/src/lib.rs")
                    && there("std/src/lib.rs")
                    && there("proc_macro/src/lib.rs")
            );
            assert!(source.join("stdarch").is_dir() && !shown.join("stdarch").exists());
        }
        // With a manifest the analyser would ask cargo for all that is in it.
        assert!(!folder.path().join("library/Cargo.toml").exists());
    }

    #[test]
    #[cfg(unix)]
    fn no_library_is_looked_for_in_the_working_folder() {
        for before in [None, Some(""), Some("/a::/b:")] {
            let path = library_path("/std".into(), before.map(OsString::from)).unwrap();
            let folders: Vec<PathBuf> = env::split_paths(&path).collect();
            assert_eq!(folders[0], Path::new("/std"));
            assert!(folders.iter().all(|folder| folder.is_absolute()), "{folders:?}");
        }
    }

    #[test]
    fn a_copy_has_the_times_of_the_original() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(from.path().join("deps")).unwrap();
        let file = from.path().join("deps/a.rlib");
        fs::write(&file, "a").unwrap();
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        File::options().write(true).open(&file).unwrap().set_times(FileTimes::new().set_modified(then)).unwrap();
        copy(from.path(), to.path()).unwrap();
        let copied = to.path().join("deps/a.rlib");
        assert_eq!(fs::read_to_string(&copied).unwrap(), "a");
        assert_eq!(fs::metadata(&copied).unwrap().modified().unwrap(), then);
    }

    #[test]
    fn a_copy_that_fails_half_way_leaves_nothing_but_the_lock() {
        let (from, parent) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for file in ["Cargo.lock", "target/a.rlib", "work/a.rs"] {
            let file = from.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "whole").unwrap();
        }
        let (folder, _lock) = in_use(parent.path()).unwrap();
        let names = || fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
        // A file is where a folder must be.
        fs::write(folder.path().join("work"), "").unwrap();
        assert!(!fill(from.path(), folder.path()));
        assert_eq!(names(), [LOCK]);
        assert!(fill(from.path(), folder.path()));
        assert_eq!(names().len(), 4);
    }

    #[test]
    fn what_ended_sessions_left_is_swept_and_what_is_in_use_stays() {
        let parent = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let folder = parent.path().join(name);
            fs::create_dir(&folder).unwrap();
            File::create(folder.join(LOCK)).unwrap()
        };
        let in_use = make("kernel-a");
        in_use.lock().unwrap();
        drop(make("kernel-b"));
        drop(make("somebody-elses"));
        fs::create_dir(parent.path().join("kernel-new")).unwrap();
        sweep(parent.path());
        let left = |name: &str| parent.path().join(name).exists();
        assert!(left("kernel-a") && left("somebody-elses") && left("kernel-new") && !left("kernel-b"));
        drop(in_use);
        sweep(parent.path());
        assert!(!left("kernel-a"));
    }

    #[test]
    fn what_a_killed_set_up_left_is_swept_too() {
        let parent = tempfile::tempdir().unwrap();
        let (folder, lock) = in_use(parent.path()).unwrap();
        let folder = folder.keep();
        fs::write(folder.join("libpinlab.rlib"), "").unwrap();
        sweep(parent.path());
        assert!(folder.exists());
        drop(lock);
        sweep(parent.path());
        assert!(!folder.exists());
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_in_a_locks_place_blocks_nobody() {
        let parent = tempfile::tempdir().unwrap();
        let trap = parent.path().join("kernel-trap");
        fs::create_dir(&trap).unwrap();
        // A program of POSIX: not every system has the call that Linux has.
        let made = std::process::Command::new("mkfifo").arg(trap.join(LOCK)).status();
        assert!(made.unwrap().success());
        sweep(parent.path());
        assert!(trap.exists());
    }

    #[cfg(unix)]
    #[test]
    fn the_folder_of_sessions_is_this_users_alone() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("a").join("sessions");
        private(&folder).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700);
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        private(&folder).unwrap();
        assert_eq!(mode(&folder), 0o700);
        symlink(&folder, base.path().join("link")).unwrap();
        assert!(private(&base.path().join("link")).is_err(), "a link may lead anywhere");
        if rustix::process::geteuid().is_root() {
            let theirs = base.path().join("theirs");
            fs::create_dir(&theirs).unwrap();
            std::os::unix::fs::chown(&theirs, Some(12345), None).unwrap();
            assert!(private(&theirs).is_err(), "it is somebody else's");
            fs::create_dir(base.path().join(".cargo")).unwrap();
            let planted = base.path().join(".cargo/config.toml");
            fs::write(&planted, "").unwrap();
            assert_eq!(foreign_configuration(&folder), None);
            std::os::unix::fs::chown(&planted, Some(12345), None).unwrap();
            assert_eq!(foreign_configuration(&folder), Some(planted));
        }
    }

    #[test]
    fn names_that_the_kernel_cannot_use_are_known() {
        assert!(is_plain(Path::new("/home/user/.cache/pinlab")));
        assert!(!is_plain(Path::new("/home/Jürgen/.cache")) && !is_plain(Path::new("/tmp/with space")));
    }

    #[test]
    fn each_support_crate_has_a_warm_folder_of_its_own_under_any_name() {
        let (store, one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folder = |path: &Path| warm_folder(store.path(), path);
        assert_ne!(folder(one.path()), folder(two.path()));
        assert_eq!(folder(&one.path().join(".")), folder(one.path()));
    }
}
