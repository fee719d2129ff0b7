//! Makes what a notebook shows now what it is expected to show, and changes nothing else in the file.
//!
//! Outputs are rewritten only where the masked text differs: addresses change with every run and would churn in the history.

use anyhow::Result;
use serde_json::Value;

use crate::mask;
use crate::notebook::{Notebook, joined, lines};

/// The outputs that `--bless` writes: neighbouring texts of one stream joined, build chatter gone.
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
                text = mask::without_chatter(&text);
            }
            output["text"] = lines(&text);
        }
        canonical.push(output);
    }
    canonical.retain(|output| output["output_type"] != "stream" || !joined(&output["text"]).trim().is_empty());
    canonical
}

/// The committed notebook with the outputs of `fresh` wherever the masked text differs, and nowhere else.
pub(crate) fn bless(committed: &Notebook, fresh: &Notebook) -> Result<Notebook> {
    let (now, wanted) = (mask::masked(committed)?, mask::masked(fresh)?);
    let mut taken: Vec<bool> = now.iter().zip(&wanted).map(|(now, wanted)| now.sections != wanted.sections).collect();
    for ((first, _), (later, _)) in mask::lost_returns(&now, &wanted) {
        (taken[first], taken[later]) = (true, true);
    }
    // Cells that show the same place are taken over together: half of them would say that it is another.
    let together = mask::returns(&wanted);
    while let Some(((first, _), (later, _))) = together.iter().find(|((first, _), (later, _))| taken[*first] != taken[*later]) {
        (taken[*first], taken[*later]) = (true, true);
    }
    let mut blessed = committed.tidy()?;
    for (index, _) in taken.iter().enumerate().filter(|(_, taken)| **taken) {
        blessed = blessed.with_outputs(index, canonical(&fresh.cells[index].outputs))?;
    }
    blessed.tidy()
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
    fn only_the_cell_that_differs_changes() {
        let committed = shows("0x55ff00000010", 1);
        let blessed = bless(&committed, &shows("0x7fff00000020", 2)).unwrap();
        assert_eq!(says(&blessed, 1), "p 0x55ff00000010\n");
        assert_eq!(says(&blessed, 2), "2\n");
        assert_eq!(says(&blessed, 3), "p 0x55ff00000010\n");
    }

    #[test]
    fn outputs_that_share_an_address_with_a_changed_one_change_with_it() {
        let fresh = notebook(vec![
            code("a", vec![printed("now at 0x7fff00000020\n")]),
            code("b", vec![printed("1\n")]),
            code("c", vec![printed("p 0x7fff00000020\n")]),
        ]);
        let blessed = bless(&shows("0x55ff00000010", 1), &fresh).unwrap();
        let returns = |notebook: &Notebook| mask::returns(&mask::masked(notebook).unwrap());
        assert_eq!(returns(&blessed), returns(&fresh));
        assert!(says(&blessed, 1).starts_with("now at"));
        assert_eq!(says(&blessed, 3), "p 0x7fff00000020\n");
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
