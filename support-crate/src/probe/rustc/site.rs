//! Where a macro stands, and what the compiler has to be handed to see what it saw there.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Where a macro stands: enough to find its source and its crate's dependencies again.
#[doc(hidden)]
#[derive(Debug, Clone)]
pub struct Site {
    /// The folder of the crate's manifest, as cargo tells the compiler.
    pub manifest: Option<&'static str>,
    /// The source file, as the compiler was given it.
    pub file: &'static str,
    /// The line of the macro in that file.
    pub line: u32,
    /// The module: its path begins with the name of the crate.
    pub module: &'static str,
    /// Whether debug assertions were on: they are code, so they may change what is kept.
    pub debug_assertions: bool,
    /// Whether it is the crate's tests that are being compiled: their functions exist only there.
    pub test: bool,
}

#[doc(hidden)]
#[macro_export]
macro_rules! __site {
    () => {
        $crate::probe::hidden::Site {
            manifest: ::std::option_env!("CARGO_MANIFEST_DIR"),
            file: ::std::file!(),
            line: ::std::line!(),
            module: ::std::module_path!(),
            debug_assertions: ::std::cfg!(debug_assertions),
            test: ::std::cfg!(test),
        }
    };
}

impl Site {
    /// The name of the crate that the macro stands in.
    pub(super) fn crate_name(&self) -> &'static str {
        self.module.split("::").next().unwrap_or_default()
    }

    pub(super) fn source(&self) -> PathBuf {
        let manifest = Path::new(self.manifest.unwrap_or("."));
        // Cargo names files relative to the workspace, which is the manifest's folder or one above it.
        manifest.ancestors().map(|folder| folder.join(self.file)).find(|path| path.is_file()).unwrap_or_else(|| self.file.into())
    }

    /// The folders with the compiled dependencies: beside a program of cargo's, or under the crate that the notebook
    /// kernel builds its cells in.
    fn dependencies(&self) -> Vec<PathBuf> {
        let program = env::current_exe().unwrap_or_default();
        let beside = program.ancestors().skip(1).take(2).flat_map(|at| [at.to_owned(), at.join("deps")]);
        let beside: Vec<PathBuf> = beside.filter(|folder| !rlibs(folder).is_empty()).collect();
        if !beside.is_empty() {
            return beside;
        }
        // `target/<triple>` has what the code links with, `target` itself the procedural macros.
        let target = Path::new(self.manifest.unwrap_or(".")).join("target");
        let triples = fs::read_dir(&target).into_iter().flatten().flatten().map(|entry| entry.path());
        let profiles = triples.chain([target.clone()]).flat_map(|at| ["debug", "release"].map(|profile| at.join(profile)));
        profiles.map(|profile| profile.join("deps")).filter(|folder| folder.is_dir()).collect()
    }

    /// Hands the compiler the crates whose names stand in `source`, as the cell has them.
    pub(super) fn lend_dependencies(&self, source: &str, command: &mut Command) {
        let mut known = Vec::new();
        for folder in self.dependencies() {
            command.arg("-L").arg(format!("dependency={}", folder.display()));
            for (name, path) in rlibs(&folder) {
                if source.contains(&name) && !known.contains(&name) {
                    command.arg("--extern").arg(format!("{name}={}", path.display()));
                    known.push(name);
                }
            }
        }
    }

    pub(super) fn edition(&self) -> String {
        let manifest = fs::read_to_string(Path::new(self.manifest.unwrap_or(".")).join("Cargo.toml")).unwrap_or_default();
        let edition = manifest.lines().find_map(|line| line.trim().strip_prefix("edition")?.trim().strip_prefix('='));
        edition.map_or("2024", |edition| edition.trim().trim_matches('"')).to_owned()
    }
}

/// The compiler: the one that the variable `RUSTC` names, or the one on the PATH.
pub(super) fn compiler() -> PathBuf {
    env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()).into()
}

/// The compiled libraries in a folder: crate name, path, newest first.
fn rlibs(folder: &Path) -> Vec<(String, PathBuf)> {
    let mut found: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let path = entry.path();
            let name = path.file_name()?.to_str()?.strip_prefix("lib")?.strip_suffix(".rlib")?.rsplit_once('-')?.0.to_owned();
            let age = entry.metadata().ok()?.modified().ok()?;
            Some((age, name, path))
        })
        .collect();
    found.sort_by_key(|(age, ..)| std::cmp::Reverse(*age));
    found.into_iter().map(|(_, name, path)| (name, path)).collect()
}
