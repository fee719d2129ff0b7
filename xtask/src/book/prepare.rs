//! What is changed in a notebook on its way into the book.

use anyhow::Result;
use regex::{Captures, Regex};
use serde_json::{Value, json};

use super::colours;
use crate::copy;
use crate::notebook::Notebook;
use crate::outputs::{joined, lines};

/// How a reader of the book gets to run what it shows.
fn run_this(name: &str) -> String {
    format!(
        "```{{admonition}} Run this\n:class: run-this\n\
         This page is a notebook, {{download}}`{name}.ipynb <{name}.ipynb>`. To run it and to change it, get the project and type `cargo lab`: \
         [the first page](index.md#Start) says how.\n```"
    )
}

/// The text of a notebook's page.
pub(super) fn page(notebook: &Notebook) -> Result<String> {
    let mut json = notebook.json().clone();
    let cells = json["cells"].as_array_mut().map(std::mem::take).unwrap_or_default();
    let mut pages: Vec<Value> = cells.into_iter().map(prepared).collect();
    let note = json!({"cell_type": "markdown", "id": "run-this", "metadata": {}, "source": lines(&run_this(&notebook.name))});
    pages.insert(1.min(pages.len()), note);
    json["cells"] = Value::Array(pages);
    Ok(serde_json::to_string_pretty(&json)?)
}

fn prepared(mut cell: Value) -> Value {
    if cell["cell_type"] == "markdown" {
        cell["source"] = lines(&copy::with_parts(&joined(&cell["source"])));
    }
    if cell["metadata"]["jupyter"]["source_hidden"] == true {
        // What is folded in JupyterLab is folded here.
        let mut tags = cell["metadata"]["tags"].as_array().cloned().unwrap_or_default();
        tags.push(json!("hide-input"));
        cell["metadata"]["tags"] = Value::Array(tags);
    }
    for output in cell["outputs"].as_array_mut().into_iter().flatten() {
        if output["output_type"] == "error" {
            // As a stream: of an error's text the renderer takes the colours away.
            let text: Vec<&str> = output["traceback"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            *output = json!({"output_type": "stream", "name": "stderr", "text": text.join("\n") + "\n"});
        }
        if output["output_type"] == "stream" {
            output["text"] = lines(&colours::reduced(&joined(&output["text"])));
        }
    }
    cell
}

/// The first page: what the project says of itself, and the table of contents.
pub(super) fn index(readme: &str, names: &[&str]) -> String {
    let text = links_to_pages(readme).replace("](notebooks/", "](");
    format!("{text}\n\n```{{toctree}}\n:maxdepth: 1\n:hidden:\n\n{}\nREADME\n```\n", names.join("\n"))
}

/// Links to what is not in the book are left as the words they stand on.
pub(super) fn links_to_pages(text: &str) -> String {
    let link = Regex::new(r"(!?)\[([^\[\]]*)\]\(([^()\s]+)\)").expect("it is a constant");
    let in_book = |target: &str| {
        let target = target.trim_start_matches("notebooks/").split('#').next().unwrap_or_default();
        target.contains("://")
            || target.is_empty()
            || target.ends_with(".ipynb")
            || target.starts_with("pictures/")
            || target == "README.md"
    };
    let replaced = link.replace_all(text, |found: &Captures| match in_book(&found[3]) {
        true => found[0].to_owned(),
        false => found[2].to_owned(),
    });
    replaced.into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crafted::*;

    #[test]
    fn a_page_has_the_note_after_its_title_and_colours_that_the_theme_knows() {
        let mut failing = code("x", vec![failed("\u{1b}[38;5;54mhere\u{1b}[0m")]);
        failing["metadata"]["tags"] = json!(["raises-exception"]);
        let mut folded = code("fn helper() {}", vec![]);
        folded["metadata"]["jupyter"] = json!({"source_hidden": true});
        let text = page(&notebook(vec![failing, prose("**Predict.** What?"), folded])).unwrap();
        let page: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(page["cells"][1]["id"], "run-this");
        assert!(text.contains("\\u001b[35mhere") && !text.contains("38;5"), "{text}");
        assert!(text.contains("course-predict"), "{text}");
        let folds = |cell: &&Value| cell["metadata"]["tags"].as_array().is_some_and(|tags| tags.contains(&json!("hide-input")));
        let sources: Vec<&str> =
            page["cells"].as_array().unwrap().iter().filter(folds).filter_map(|cell| cell["source"].as_str()).collect();
        assert_eq!(sources, ["fn helper() {}"]);
    }

    #[test]
    fn links_lead_to_pages_or_are_words() {
        let index = index(
            "See [00](notebooks/00-a.ipynb), [why](notebooks/README.md), [MIT](LICENSE-MIT), [R](https://x.org).",
            &["00-a"],
        );
        assert!(index.starts_with("See [00](00-a.ipynb), [why](README.md), MIT, [R](https://x.org)."), "{index}");
        assert!(index.contains("\n00-a\nREADME\n"));
    }
}
