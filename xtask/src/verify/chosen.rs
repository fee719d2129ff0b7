//! Which notebooks are meant.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::notebook;

/// The course, and the notebooks that test what only a real kernel can: those whose names begin with one of `wanted`, or all.
pub(super) fn all(project: &Path, wanted: &[String]) -> Result<Vec<PathBuf>> {
    let mut paths = notebook::list(&project.join("notebooks"))?;
    paths.extend(notebook::list(&project.join("support-crate").join("tests"))?);
    select(&paths, wanted)
}

/// The notebooks of the course whose names begin with one of `wanted`, or all.
pub(super) fn course(project: &Path, wanted: &[String]) -> Result<Vec<PathBuf>> {
    select(&notebook::list(&project.join("notebooks"))?, wanted)
}

fn select(paths: &[PathBuf], wanted: &[String]) -> Result<Vec<PathBuf>> {
    let name = |path: &PathBuf| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    if paths.is_empty() {
        bail!("there are no notebooks in notebooks/");
    }
    for prefix in wanted {
        if !paths.iter().any(|path| name(path).starts_with(prefix.trim_end_matches(".ipynb"))) {
            let names: Vec<String> = paths.iter().map(name).collect();
            bail!("no notebook's name begins with `{prefix}`; there are:\n  {}", names.join("\n  "));
        }
    }
    let is_wanted = |path: &&PathBuf| {
        wanted.is_empty() || wanted.iter().any(|prefix| name(path).starts_with(prefix.trim_end_matches(".ipynb")))
    };
    Ok(paths.iter().filter(is_wanted).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notebooks_are_chosen_by_how_their_names_begin() {
        let paths: Vec<PathBuf> = ["n/00-a.ipynb", "n/01-b.ipynb", "n/10-c.ipynb"].map(PathBuf::from).into();
        let chosen = |wanted: &[&str]| {
            let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
            select(&paths, &wanted).map(|paths| paths.len())
        };
        assert_eq!(chosen(&[]).unwrap(), 3);
        assert_eq!(chosen(&["1", "01-b.ipynb"]).unwrap(), 2);
        assert!(chosen(&["7"]).unwrap_err().to_string().contains("00-a"));
        assert!(select(&[], &[]).is_err());
    }
}
