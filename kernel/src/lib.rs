//! What Jupyter starts in the Rust kernel's place.
//!
//! ```text
//! Jupyter ──▶ front ──▶ kernel (evcxr_jupyter) ──▶ the program that runs the cells
//! ```
//!
//! The kernel forwards what a cell prints in one thread and says in another that the cell is done, so that the last lines come
//! late or under the next cell (evcxr#353). The [`front`] passes every message on unchanged, and holds back "done" until the lines
//! are through. It also keeps from the kernel what ends it (a client that has gone before its answer), answers Jupyter while the
//! kernel loads, starts it again if it dies before its first answer, and ends it when Jupyter is gone.
//!
//! [`session`] and [`config`] are what the kernel finds when it starts, and [`progress`] what is kept of the reader's answers. `xtask` shares these, and
//! does without the rest.

pub mod config;
#[cfg(feature = "front")]
mod connection;
#[cfg(feature = "front")]
pub mod front;
#[cfg(feature = "front")]
mod mend;
#[cfg(feature = "front")]
mod message;
#[cfg(feature = "front")]
mod process;
pub mod progress;
pub mod session;
#[cfg(feature = "front")]
mod waiting;

/// Every file that decides what the program does: what an installed copy is keyed by.
pub const SOURCES: &[(&str, &str)] = &[
    ("Cargo.toml", include_str!("../Cargo.toml")),
    ("panic_hook.rs", config::HOOK),
    ("src/config.rs", include_str!("config.rs")),
    ("src/connection.rs", include_str!("connection.rs")),
    ("src/front.rs", include_str!("front.rs")),
    ("src/lib.rs", include_str!("lib.rs")),
    ("src/main.rs", include_str!("main.rs")),
    ("src/mend.rs", include_str!("mend.rs")),
    ("src/message.rs", include_str!("message.rs")),
    ("src/process.rs", include_str!("process.rs")),
    ("src/progress.rs", include_str!("progress.rs")),
    ("src/session.rs", include_str!("session.rs")),
    ("src/waiting.rs", include_str!("waiting.rs")),
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn every_source_file_counts() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut files: Vec<_> = std::fs::read_dir(folder.join("src"))
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.file_type().unwrap().is_file())
            .map(|entry| entry.file_name())
            .collect();
        files.sort();
        let files: Vec<String> = files.iter().map(|name| format!("src/{}", name.to_str().unwrap())).collect();
        let listed: Vec<&str> = super::SOURCES.iter().skip(2).map(|(name, _)| *name).collect();
        assert_eq!(listed, files);
    }
}
