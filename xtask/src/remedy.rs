//! What to do about what a system says in one line of its own: an error without a remedy is half an error.

/// How systems, and the programs that the set-up runs, say it; and what helps.
const REMEDIES: [(&[&str], &str); 4] = [
    (
        &["No space left on device", "(os error 28)", "not enough space on the disk", "Disk quota exceeded"],
        "The disk is full. The lab keeps about 0.7 gigabytes in its folder, another 0.2 for each open notebook, and needs more while the kernel is \
         compiled: make room, or let PINLAB_STORE name a new folder on another disk. Then run the same command again: it goes on from here",
    ),
    (
        &["Read-only file system", "(os error 30)"],
        "That folder can only be read. If it is in the clone: clone the project to where you may write. If it is the lab's: let PINLAB_STORE name \
         a folder that you may write in, and CARGO_HOME, if cargo's own cannot be written either",
    ),
    (
        &["Permission denied", "(os error 13)", "Access is denied"],
        "That folder is somebody else's. Do not start the lab as root once and as yourself later: what root has made is root's. Give it to yourself \
         (chown), or let PINLAB_STORE name a new folder of your own; a clone that is not yours, clone again",
    ),
    (
        &["File exists", "(os error 17)", "Not a directory", "(os error 20)", "when that file already exists"],
        "There is a file where a folder must be. Move it away; or, if it is where the lab's folder should be, let PINLAB_STORE name another one",
    ),
];

/// What helps, if this text of an error says what is known.
pub(crate) fn of(error: &str) -> Option<&'static str> {
    REMEDIES.iter().find(|(signs, _)| signs.iter().any(|sign| error.contains(sign))).map(|(_, remedy)| *remedy)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn what_the_system_says_of_a_full_disk_or_a_folder_that_cannot_be_written_gets_a_remedy() {
        for (kind, word) in [
            (io::ErrorKind::StorageFull, "another disk"),
            (io::ErrorKind::ReadOnlyFilesystem, "where you may write"),
            (io::ErrorKind::PermissionDenied, "chown"),
            (io::ErrorKind::AlreadyExists, "Move it away"),
        ] {
            let number = match kind {
                io::ErrorKind::StorageFull => 28,
                io::ErrorKind::ReadOnlyFilesystem => 30,
                io::ErrorKind::AlreadyExists => 17,
                _ => 13,
            };
            if cfg!(target_os = "linux") {
                let error = io::Error::from_raw_os_error(number);
                assert_eq!(error.kind(), kind);
                assert!(of(&error.to_string()).unwrap().contains(word), "{error}");
            }
        }
        let pip = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device";
        assert!(of(pip).unwrap().contains("PINLAB_STORE"));
        assert_eq!(of("no network"), None);
    }

    /// A folder that cannot be written, for real; root can write everywhere.
    #[cfg(unix)]
    #[test]
    fn a_home_that_cannot_be_written_ends_in_a_message_that_says_what_to_do() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o500)).unwrap();
        let made = std::fs::create_dir(home.path().join("pinlab"));
        std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        if let Err(error) = made {
            assert!(of(&error.to_string()).is_some(), "{error}");
        }
    }
}
