//! Makes what a notebook shows now what it is expected to show.
//!
//! All outputs of a notebook are from one run: if one of them differs, all are written, so that an address that two cells show is
//! the same in both. If none differs, none is: addresses change with every run and would churn in the history.

use anyhow::Result;
use serde_json::Value;

use super::mask;
use crate::notebook::Notebook;
use crate::outputs::without_chatter;
use crate::outputs::{joined, lines};

/// The outputs that `--bless` writes: neighbouring texts of one stream joined, build chatter gone, and what is only shown live.
fn canonical(outputs: &[Value]) -> Vec<Value> {
    let mut canonical: Vec<Value> = Vec::new();
    for output in outputs {
        let mut output = output.clone();
        if output["output_type"] == "stream" {
            let mut text = joined(&output["text"]);
            if let Some(last) = canonical.last().filter(|last| last["output_type"] == "stream" && last["name"] == output["name"])
            {
                text = joined(&last["text"]) + &text;
                canonical.pop();
            }
            if output["name"] == "stderr" {
                text = without_chatter(&text);
            }
            output["text"] = lines(&text);
        }
        if let Some(data) = output.get_mut("data").and_then(Value::as_object_mut) {
            data.retain(|mime, _| !mask::LIVE_ONLY.contains(&mime.as_str()));
        }
        canonical.push(output);
    }
    canonical.retain(|output| output["output_type"] != "stream" || !joined(&output["text"]).trim().is_empty());
    canonical
}

/// The committed notebook with the outputs of `fresh`, if any of them differs.
pub(crate) fn bless(committed: &Notebook, fresh: &Notebook) -> Result<Notebook> {
    let (now, wanted) = (mask::masked(committed)?, mask::masked(fresh)?);
    let differs = now.iter().zip(&wanted).any(|(now, wanted)| now.sections != wanted.sections);
    if !differs && mask::lost_returns(&now, &wanted).is_empty() && committed.is_of_its_cells() {
        return committed.tidy();
    }
    let outputs = fresh.code().map(|cell| (cell.index, canonical(&cell.outputs)));
    committed.with_outputs(outputs)?.of_its_cells()?.tidy()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crafted::*;

    /// Two cells that show the same place, and one that shows a number.
    fn shows(address: &str, number: u32) -> Notebook {
        notebook(vec![
            code("a", vec![printed(&format!("p {address}\n"))]),
            code("b", vec![printed(&format!("{number}\n"))]),
            code("c", vec![printed(&format!("p {address}\n"))]),
        ])
    }

    fn says(notebook: &Notebook, index: usize) -> String {
        joined(&notebook.cells[index].outputs[0]["text"])
    }

    #[test]
    fn nothing_changes_when_only_addresses_differ() {
        let committed = shows("0x55ff00000010", 1);
        let blessed = bless(&committed, &shows("0x7fff00000020", 1)).unwrap();
        assert_eq!(blessed.text(), committed.text());
        assert!(committed.is_written_as(&blessed));
    }

    #[test]
    fn all_outputs_are_of_one_run_if_one_differs() {
        let committed = shows("0x55ff00000010", 1);
        let blessed = bless(&committed, &shows("0x7fff00000020", 2)).unwrap();
        assert_eq!(says(&blessed, 1), "p 0x7fff00000020\n");
        assert_eq!(says(&blessed, 2), "2\n");
        assert_eq!(says(&blessed, 3), "p 0x7fff00000020\n");
    }

    #[test]
    fn all_are_written_when_only_the_cells_have_changed() {
        let mut json = shows("0x55ff00000010", 1).json().clone();
        json["cells"][2]["source"] = serde_json::json!("another text");
        let changed = parse(&json);
        assert!(!changed.is_of_its_cells());
        let mut ran = json.clone();
        for cell in [1, 3] {
            ran["cells"][cell]["outputs"][0]["text"] = serde_json::json!("p 0x7fff00000020\n");
        }
        let blessed = bless(&changed, &parse(&ran)).unwrap();
        assert!(blessed.is_of_its_cells());
        assert_eq!(says(&blessed, 1), "p 0x7fff00000020\n");
    }

    #[test]
    fn what_is_only_shown_live_is_not_kept() {
        let picture = serde_json::json!({"output_type": "execute_result", "execution_count": 2, "metadata": {},
            "data": {"text/html": "<svg/>", "image/svg+xml": "<svg/>", "text/plain": "x"}});
        let blessed = bless(&shows("0x55ff00000010", 1), &notebook(vec![code("a", vec![picture])])).unwrap();
        let data = blessed.json()["cells"][1]["outputs"][0]["data"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(data, ["image/svg+xml", "text/plain"]);
    }

    #[test]
    fn what_a_run_leaves_behind_is_not_written() {
        let mut json = shows("0x55ff00000010", 1).json().clone();
        json["cells"][1]["metadata"]["execution"] = serde_json::json!({"iopub.status.busy": "now"});
        json["cells"][1]["execution_count"] = serde_json::json!(17);
        json["cells"][1]["outputs"] = serde_json::json!([
            {"output_type": "stream", "name": "stderr", "text": "   Compiling pinlab v0.1.0 (/somewhere)\n"},
            {"output_type": "stream", "name": "stdout", "text": ["new\n"]},
            {"output_type": "stream", "name": "stdout", "text": ["er\n"]},
        ]);
        let fresh = Notebook::parse("folder/a.ipynb".as_ref(), &json.to_string()).unwrap();
        let blessed = bless(&shows("0x55ff00000010", 1), &fresh).unwrap();
        let cell = &blessed.json()["cells"][1];
        assert_eq!(cell["execution_count"], 2);
        assert_eq!(cell["metadata"], serde_json::json!({}));
        assert_eq!(cell["outputs"].as_array().unwrap().len(), 1);
        assert_eq!(cell["outputs"][0]["text"], serde_json::json!(["new\n", "er\n"]));
    }

    #[test]
    fn blessing_twice_changes_nothing_more() {
        let fresh = shows("0x7fff00000020", 2);
        let once = bless(&shows("0x55ff00000010", 1), &fresh).unwrap();
        assert_eq!(bless(&once, &fresh).unwrap().text(), once.text());
    }
}
