//! How long a notebook is: its code cells, and an estimate of its screens.

use std::sync::LazyLock;

use regex::Regex;

use crate::notebook::{Cell, Kind, Notebook};
use crate::outputs::sections;

/// The most code cells that a notebook may have.
const CELLS: usize = 40;

/// The most screens that it may have.
const SCREENS: f64 = 20.0;

// Heights in pixels, as JupyterLab draws a notebook on a screen of 1440×900 with its files beside it.
const SCREEN: usize = 900 - 140;
const LINE: usize = 17;
const PROSE_LINE: usize = 22;
const GAP: usize = 14;
/// Around a cell: its own padding, and that of its editor.
const CELL: usize = 24;

/// How wide a picture is drawn at most.
const WIDTH: usize = 1000;

/// How many letters of prose fit on a line.
const LETTERS: usize = 130;

/// What is wrong with the length of a notebook.
pub(super) fn check(notebook: &Notebook) -> Vec<String> {
    let (cells, screens) = (notebook.code().count(), screens(notebook));
    let mut wrong = Vec::new();
    if cells > CELLS {
        wrong.push(format!("it has {cells} code cells, and may have {CELLS}"));
    }
    if screens > SCREENS {
        wrong.push(format!("it is about {screens:.2} screens long, and may be {SCREENS:.0}"));
    }
    wrong
}

/// How many screens a notebook takes after Run All, with its answers folded: an estimate from its lines of code, prose and text and from
/// the sizes that its pictures state. Measured in a browser, the notebooks were between a tenth shorter and a tenth longer.
pub(super) fn screens(notebook: &Notebook) -> f64 {
    notebook.cells.iter().map(height).sum::<usize>() as f64 / SCREEN as f64
}

fn height(cell: &Cell) -> usize {
    match cell.kind {
        Kind::Code if cell.hidden => CELL + LINE + shown(cell),
        Kind::Code => CELL + cell.source.lines().count() * LINE + shown(cell),
        Kind::Markdown => CELL / 2 + prose(&cell.source),
    }
}

fn shown(cell: &Cell) -> usize {
    static BOX: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#"^\s*<svg\b[^>]*\bviewBox="0 0 (\d+)[\d.]* (\d+)"#).expect("the pattern is ours and is tested")
    });
    let picture = |text: &str| -> Option<usize> {
        let found = BOX.captures(text)?;
        let (width, height) = (found[1].parse::<usize>().ok()?, found[2].parse::<usize>().ok()?);
        Some(height * WIDTH / width.max(WIDTH))
    };
    let sections = sections(&cell.outputs);
    let has_picture = sections.iter().any(|section| section.title == "image/svg+xml");
    let heights = sections.iter().map(|section| match section.title.as_str() {
        "image/svg+xml" => picture(&section.text).unwrap_or(0),
        // It shows the same as the picture.
        "text/html" => 0,
        // The picture is shown instead.
        "text/plain" if has_picture => 0,
        _ => section.text.trim_end().lines().count() * LINE + GAP / 2,
    });
    heights.sum()
}

/// Blocks are apart by a blank line. What is folded is one line.
fn prose(text: &str) -> usize {
    static FOLDED: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"(?s)<details>.*?</details>").expect("the pattern is ours and is tested"));
    let text = FOLDED.replace_all(text, "folded");
    let blocks = text.split("\n\n").filter(|block| !block.trim().is_empty());
    blocks
        .map(|block| {
            let one_each = block.starts_with(['|', '*', '-', '`']) || block.starts_with("1.");
            let lines = if one_each {
                block.lines().map(|line| line.chars().count().div_ceil(LETTERS)).sum()
            } else {
                block.chars().count().div_ceil(LETTERS)
            };
            lines * PROSE_LINE + GAP
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crafted::{code, notebook, printed};

    #[test]
    fn too_many_cells_and_too_many_screens_are_found() {
        let cells = |number: usize| notebook((1..number).map(|_| code("x", vec![])).collect());
        assert!(check(&cells(40)).is_empty());
        assert!(check(&cells(41))[0].contains("41 code cells"));
        let long = notebook(vec![code("x", vec![printed(&"line\n".repeat(1000))])]);
        assert!(check(&long)[0].contains("screens long"), "{:?}", check(&long));
    }

    #[test]
    fn a_cell_whose_source_is_folded_away_counts_as_a_line() {
        let mut long = code(&"let x = 1;\n".repeat(2000), vec![]);
        assert!(screens(&notebook(vec![long.clone()])) > SCREENS);
        long["metadata"]["jupyter"] = serde_json::json!({"source_hidden": true});
        assert!(screens(&notebook(vec![long])) < 1.0);
    }

    #[test]
    fn a_picture_counts_with_its_height_and_a_folded_answer_with_a_line() {
        let svg = serde_json::json!({"output_type": "display_data", "metadata": {}, "data": {
            "image/svg+xml": "<svg viewBox=\"0 0 2000 1520.5\"/>", "text/plain": "a\n".repeat(50)}});
        let with_picture = screens(&notebook(vec![code("x", vec![svg])])) - screens(&notebook(vec![code("x", vec![])]));
        assert_eq!(with_picture, 1.0);
        let folded = format!("<details><summary>Answer</summary>\n\n{}</details>", "long\n\n".repeat(100));
        assert_eq!(prose(&folded), prose("one line"));
        assert_eq!(prose(&"a".repeat(131)) - prose(&"a".repeat(130)), PROSE_LINE);
    }
}
