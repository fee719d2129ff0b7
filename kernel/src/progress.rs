//! What the reader has solved, and the index that shows it.
//!
//! ```text
//! <the reader's copy of the notebooks>/
//!   README.md          the index, as it is shown; what the reader has written in it is kept as README.mine.md
//!   .pinlab/index.md   the same with a mark in the place of all that depends on what is solved
//!   .pinlab/solved     the names of the exercises that are, one a line
//! ```
//!
//! The front adds a name when a check prints ✓. Where there is no `.pinlab`, nothing is kept.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// The folder in the reader's copy that is not for reading.
pub const FOLDER: &str = ".pinlab";

/// The index, as it is shown.
pub const INDEX: &str = "README.md";

/// The first words of a cell that checks an exercise, before its name.
const CHECK: &str = "// Check: ";

/// The exercise that this cell checks.
pub fn checked(code: &str) -> Option<&str> {
    let name = code.lines().next()?.strip_prefix(CHECK)?.trim();
    let is_name = !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-');
    is_name.then_some(name)
}

/// Where the index is before what is solved is filled in.
pub fn template(copy: &Path) -> PathBuf {
    copy.join(FOLDER).join("index.md")
}

/// The exercises that were solved in this copy.
pub fn solved(copy: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(copy.join(FOLDER).join("solved")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Remembers that an exercise was solved, and shows it in the index.
///
/// # Errors
/// What cannot be written.
pub fn record(copy: &Path, exercise: &str) -> io::Result<()> {
    let folder = copy.join(FOLDER);
    if !folder.is_dir() || solved(copy).contains(exercise) {
        return Ok(());
    }
    // One write of one line: two kernels do not mix theirs.
    File::options().create(true).append(true).open(folder.join("solved"))?.write_all(format!("{exercise}\n").as_bytes())?;
    write_index(copy)
}

/// Fills in the index. One that the reader has changed is kept beside it.
///
/// # Errors
/// What cannot be read or written.
pub fn write_index(copy: &Path) -> io::Result<()> {
    keep_index(copy)?;
    let text = sealed(&render(&fs::read_to_string(template(copy))?, &solved(copy)));
    let mut file = tempfile::NamedTempFile::new_in(copy.join(FOLDER))?;
    file.write_all(text.as_bytes())?;
    #[cfg(unix)]
    fs::set_permissions(file.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    file.persist(copy.join(INDEX))?;
    Ok(())
}

/// Moves the index aside if the reader has changed it. Its new name.
///
/// # Errors
/// It cannot be read or moved.
pub fn keep_index(copy: &Path) -> io::Result<Option<String>> {
    let text = match fs::read(copy.join(INDEX)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        read => String::from_utf8_lossy(&read?).into_owned(),
    };
    // 0.2.0 has not sealed it.
    let as_filled_in = || fs::read_to_string(template(copy)).is_ok_and(|template| render(&template, &solved(copy)) == text);
    if text.rsplit_once(SEAL).is_some_and(|(above, _)| sealed(above) == text) || as_filled_in() {
        return Ok(None);
    }
    let kept = beside(copy, "README", "md");
    fs::rename(copy.join(INDEX), copy.join(&kept))?;
    Ok(Some(kept))
}

/// The name `stem.mine.extension` for what is kept, or the first such with a number that is free.
pub fn beside(copy: &Path, stem: &str, extension: &str) -> String {
    let names = std::iter::once(format!("{stem}.mine.{extension}"))
        .chain((2..).map(|number| format!("{stem}.mine-{number}.{extension}")));
    names.into_iter().find(|name| !copy.join(name).exists()).expect("there is no end to them")
}

/// How the last line of the index begins, which Markdown does not show.
const SEAL: &str = "<!-- `cargo lab` has written this page: ";

/// With a last line by which it can be told whether somebody has changed it.
fn sealed(text: &str) -> String {
    let digest: String = Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{text}{SEAL}{digest} -->\n")
}

/// The mark of one exercise in the template.
pub fn mark(exercise: &str) -> String {
    format!("⟦{exercise}⟧")
}

/// The mark of a notebook with these exercises.
pub fn mark_all<'a>(exercises: impl IntoIterator<Item = &'a str>) -> String {
    format!("⟦all {}⟧", exercises.into_iter().collect::<Vec<_>>().join(" "))
}

/// `✓` or `○` for an exercise; `✓ done`, `→ next` or nothing for a notebook.
fn render(template: &str, solved: &BTreeSet<String>) -> String {
    let mut text = String::new();
    let mut rest = template;
    let mut next_is_known = false;
    while let Some((before, after)) = rest.split_once('⟦') {
        let Some((mark, after)) = after.split_once('⟧') else {
            break;
        };
        text.push_str(before);
        match mark.strip_prefix("all ") {
            Some(exercises) if exercises.split_whitespace().all(|name| solved.contains(name)) => text.push_str("✓ done"),
            Some(_) if !next_is_known => {
                next_is_known = true;
                text.push_str("**→ next**");
            }
            Some(_) => {}
            None => text.push_str(if solved.contains(mark) { "✓" } else { "○" }),
        }
        rest = after;
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_told_by_its_first_line() {
        assert_eq!(checked("// Check: swap-tied\nlet a = 1;"), Some("swap-tied"));
        assert_eq!(checked("let a = 1;\n// Check: swap-tied"), None);
        assert_eq!(checked("// Check: ../../evil"), None);
        assert_eq!(checked(""), None);
    }

    #[test]
    fn what_is_solved_is_remembered_once_and_shown() {
        let copy = tempfile::tempdir().unwrap();
        record(copy.path(), "a").unwrap();
        assert!(fs::read_dir(copy.path()).unwrap().next().is_none(), "not the reader's copy: nothing is kept");
        fs::create_dir(copy.path().join(FOLDER)).unwrap();
        let rows = [["a", "b"], ["c", "d"]].map(|names| format!("{} {} {}\n", mark_all(names), mark(names[0]), mark(names[1])));
        fs::write(template(copy.path()), rows.concat()).unwrap();
        let index = || fs::read_to_string(copy.path().join(INDEX)).unwrap().split_once(SEAL).unwrap().0.to_owned();
        for name in ["a", "c", "a"] {
            record(copy.path(), name).unwrap();
        }
        assert_eq!(index(), "**→ next** ✓ ○\n ✓ ○\n");
        record(copy.path(), "b").unwrap();
        assert_eq!(index(), "✓ done ✓ ✓\n**→ next** ✓ ○\n");
        assert_eq!(solved(copy.path()).into_iter().collect::<String>(), "abc");
    }
}
