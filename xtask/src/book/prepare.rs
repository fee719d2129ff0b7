//! What is changed in a notebook on its way into the book.

use anyhow::Result;
use serde_json::{Value, json};

use super::colours;
use crate::notebook::{Notebook, joined, lines};

/// How a reader of the book gets to run what it shows.
const RUN_THIS: &str = "\
```{admonition} Run this
:class: run-this
This page is a Jupyter notebook: the download button above has it. To run it and to change it, get the project and type `cargo lab`; \
[the first page](index.md) says how.
```";

/// The text of a notebook's page.
pub(super) fn page(notebook: &Notebook) -> Result<String> {
    let mut json = notebook.json().clone();
    let cells = json["cells"].as_array_mut().map(std::mem::take).unwrap_or_default();
    let mut pages: Vec<Value> = cells.into_iter().map(prepared).collect();
    pages.insert(1.min(pages.len()), json!({"cell_type": "markdown", "id": "run-this", "metadata": {}, "source": lines(RUN_THIS)}));
    json["cells"] = Value::Array(pages);
    Ok(serde_json::to_string_pretty(&json)?)
}

fn prepared(mut cell: Value) -> Value {
    if let Some(outputs) = cell["outputs"].as_array_mut() {
        for output in outputs {
            if let Some(traceback) = output["traceback"].as_array_mut() {
                for line in traceback {
                    *line = json!(colours::reduced(line.as_str().unwrap_or_default()));
                }
            }
            if output["output_type"] == "stream" {
                output["text"] = lines(&colours::reduced(&joined(&output["text"])));
            }
        }
    }
    cell
}

/// The first page: what the project says of itself, and the table of contents.
pub(super) fn index(readme: &str, names: &[String]) -> String {
    let mut contents = String::from("\n\n```{toctree}\n:maxdepth: 1\n:hidden:\n\n");
    for name in names {
        contents.push_str(name);
        contents.push('\n');
    }
    contents.push_str("README\n```\n");
    let text = links_to_pages(readme).replace("](notebooks/README.md", "](README.md").replace("](notebooks/", "](");
    text + &contents
}

/// Links to what is not in the book are left as the words they stand on.
pub(super) fn links_to_pages(text: &str) -> String {
    let link = regex::Regex::new(r"\[([^\[\]]*)\]\(([^()\s]+)\)").expect("it is a constant");
    let in_book = |target: &str| {
        let target = target.trim_start_matches("notebooks/").split('#').next().unwrap_or_default();
        target.contains("://") || target.is_empty() || target.ends_with(".ipynb") || target.starts_with("pictures/") || target == "README.md"
    };
    link.replace_all(text, |found: &regex::Captures| match in_book(&found[2]) {
        true => found[0].to_owned(),
        false => found[1].to_owned(),
    })
    .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crafted::*;

    #[test]
    fn a_page_has_the_note_after_its_title_and_colours_that_the_theme_knows() {
        let mut failing = code("x", vec![failed("\u{1b}[38;5;54mhere\u{1b}[0m")]);
        failing["metadata"]["tags"] = json!(["raises-exception"]);
        let text = page(&notebook(vec![failing])).unwrap();
        let page: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(page["cells"][1]["id"], "run-this");
        assert!(text.contains("\\u001b[35mhere") && !text.contains("38;5"), "{text}");
    }

    #[test]
    fn links_lead_to_pages_or_are_words() {
        let index = index("See [00](notebooks/00-a.ipynb), [why](notebooks/README.md), [MIT](LICENSE-MIT), [R](https://x.org).", &["00-a".into()]);
        assert!(index.starts_with("See [00](00-a.ipynb), [why](README.md), MIT, [R](https://x.org)."), "{index}");
        assert!(index.contains("\n00-a\nREADME\n"));
    }
}
