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
            if let Some(last) = canonical
                .last()
                .filter(|last| last["output_type"] == "stream" && last["name"] == output["name"])
            {
                text = joined(&last["text"]) + &text;
                canonical.pop();
            }
            text = mask::without_chatter(&text);
            if text.is_empty() {
                continue;
            }
            output["text"] = lines(&text);
        }
        canonical.push(output);
    }
    canonical
}

/// The committed notebook with the outputs of `fresh` wherever the masked text differs, and nowhere else.
///
/// Names of addresses run through the whole notebook, so an output that was taken over can rename what follows: repeat
/// until nothing differs. In the worst case all outputs are taken over, and then nothing can.
pub(crate) fn bless(committed: &Notebook, fresh: &Notebook) -> Result<Notebook> {
    let mut blessed = committed.tidy()?;
    let wanted = mask::masked(fresh)?;
    let mut taken = vec![false; wanted.len()];
    loop {
        let now = mask::masked(&blessed)?;
        let mut changed = false;
        for (index, (now, wanted)) in now.iter().zip(&wanted).enumerate() {
            if now != wanted && !taken[index] {
                blessed = blessed.with_outputs(index, canonical(&fresh.cells[index].outputs))?;
                taken[index] = true;
                changed = true;
            }
        }
        if !changed {
            return blessed.tidy();
        }
    }
}
