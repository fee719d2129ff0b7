//! Notebooks for the tests: made in memory, with the outputs that a kernel would have given.

use serde_json::{Value, json};

use crate::notebook::{FIRST_CELL, Notebook};

/// A notebook of these cells, after the first one that all have.
pub(crate) fn notebook(cells: Vec<Value>) -> Notebook {
    let mut all = vec![code(FIRST_CELL, vec![])];
    all.extend(cells);
    for (index, cell) in all.iter_mut().enumerate() {
        cell["id"] = json!(format!("cell-{index}"));
    }
    let json = json!({
        "cells": all,
        "metadata": {"kernelspec": {"name": "rust", "display_name": "Rust", "language": "rust"}},
        "nbformat": 4, "nbformat_minor": 5,
    });
    parse(parse(&json).of_its_cells().unwrap().json())
}

/// Reads a notebook as from a file in the form in which notebooks are kept.
pub(crate) fn parse(json: &Value) -> Notebook {
    let path = "folder/01-crafted.ipynb".as_ref();
    let notebook = Notebook::parse(path, &json.to_string()).unwrap().tidy().unwrap();
    Notebook::parse(path, &notebook.text()).unwrap()
}

pub(crate) fn code(source: &str, outputs: Vec<Value>) -> Value {
    json!({"cell_type": "code", "metadata": {}, "execution_count": null, "source": source, "outputs": outputs})
}

pub(crate) fn prose(source: &str) -> Value {
    json!({"cell_type": "markdown", "metadata": {}, "source": source})
}

/// The cell with this metadata under the key `pinlab`.
pub(crate) fn with(mut cell: Value, rules: Value) -> Value {
    cell["metadata"]["pinlab"] = rules;
    cell
}

/// The cell, meant to fail with `error`.
pub(crate) fn meant_to_fail(mut cell: Value, error: &str) -> Value {
    cell["metadata"]["tags"] = json!(["raises-exception"]);
    with(cell, json!({"error": error}))
}

pub(crate) fn printed(text: &str) -> Value {
    json!({"output_type": "stream", "name": "stdout", "text": text})
}

pub(crate) fn complained(text: &str) -> Value {
    json!({"output_type": "stream", "name": "stderr", "text": text})
}

pub(crate) fn failed(text: &str) -> Value {
    json!({"output_type": "error", "ename": "Error", "evalue": "failed", "traceback": [text]})
}

/// An exercise: starter, check (which said `verdict`), solution.
pub(crate) fn exercise(verdict: &str) -> Vec<Value> {
    let part = |role: &str| json!({"exercise": "double", "role": role});
    let solution = "<details><summary>Solution</summary>\n\n```rust\nfn double(x: u8) -> u8 { x * 2 }\n```\n\n</details>";
    vec![
        with(code("fn double(x: u8) -> u8 { x }", vec![]), part("starter")),
        with(code("check(double(2) == 4);", vec![printed(verdict)]), part("check")),
        with(prose(solution), part("solution")),
    ]
}
