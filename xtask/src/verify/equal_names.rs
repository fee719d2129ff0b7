//! Items of equal names in cells: a probe shows the one that is meant where it stands, or refuses.
//!
//! What cells add to the crate's own tests of this kind (`support-crate/tests/probes_items.rs`): each cell is a source of its own, and
//! the kernel writes what was defined before into the next one.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use fastrand::Rng;

use super::{Tally, outcome};
use crate::jupyter::Server;
use crate::notebook::FIRST_CELL;
use crate::outputs::End;
use crate::outputs::sections;
use crate::setup;
use crate::ui::Ui;

/// How many cells; each has five items, and each item two questions.
const CELLS: usize = 40;

/// The longest that a cell may take: each question is a run of the compiler.
const LIMIT: Duration = Duration::from_secs(120);

/// What each cell needs once.
const PREAMBLE: &str = "async fn item_pause() { std::future::pending::<()>().await }
fn item_check(shown: impl FnOnce() -> pinlab::probe::Lowered, state: &str, name: &str, own: usize) {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(shown)) {
        Ok(layout) => match layout.variant(state).and_then(|variant| variant.field(name)) {
            Some(field) if field.size() == own => println!(\"right\"),
            other => println!(\"WRONG: {other:?} for {name} of {own} in {layout}\"),
        },
        Err(why) => {
            let why = why.downcast_ref::<String>().cloned().unwrap_or_default();
            println!(\"{}\", if why.contains(\"could be one of several\") { \"refused\" } else { why.as_str() });
        }
    }
}";

/// Runs them; one check.
pub(super) fn run(ui: &Ui, project: &Path, seed: u64) -> Result<Tally> {
    let lab = setup::ensure(ui, project)?;
    let what = format!("{} items of equal names in {CELLS} cells", CELLS * 5);
    let activity = ui.start(&what);
    let server = Server::start(&lab, project, &[])?;
    let mut kernel = server.kernel(&project.join("notebooks"))?;
    let mut chance = Rng::with_seed(seed);
    let (mut right, mut refused, mut wrong) = (0, 0, Vec::new());
    for (number, code) in
        [FIRST_CELL.to_owned(), PREAMBLE.to_owned()].into_iter().chain((0..CELLS).map(|cell| code(cell, &mut chance))).enumerate()
    {
        activity.tell(&format!("cell {number} of {}", CELLS + 2));
        let ran = kernel.run(&code, &format!("cell-{number}"), LIMIT)?;
        let before = right + refused;
        let shown = sections(&ran.outputs);
        for line in shown.iter().filter(|section| section.title != "text/plain").flat_map(|section| section.text.lines()) {
            match line {
                "right" => right += 1,
                "refused" => refused += 1,
                // A refusal is a panic, which the notebook's hook prints before it is caught.
                _ if line.starts_with("panicked at line") && line.contains("could be one of several") => {}
                _ => wrong.push(format!("  cell {number}: {line}")),
            }
        }
        if ran.end != End::Reply || (number > 1 && right + refused != before + 10) {
            wrong.push(format!("  cell {number} ({:?}) has {} answers of 10:\n{code}", ran.end, right + refused - before));
        }
    }
    let seconds = activity.end();
    if right < refused {
        wrong.push(format!("  {refused} were refused, and only {right} shown"));
    }
    outcome(ui, wrong.is_empty(), &format!("{what}: {right} shown right, {refused} refused"), seconds, &wrong.join("\n"));
    let mut tally = Tally::default();
    tally.count(wrong.is_empty());
    Ok(tally)
}

/// A cell with its own `work` and `P`: at its top, in a module, in a module in that, in a block, and in a block in that.
fn code(cell: usize, chance: &mut Rng) -> String {
    let mut item = |name: &str, path: &str| {
        let bytes = chance.usize(1..=40);
        let own = format!("own_{cell}_{name}");
        let item = format!(
            "pub async fn work() {{ let {own} = std::hint::black_box([0u8; {bytes}]); std::future::pending::<()>().await; drop({own}); }}\n\
             pub struct P {{ {own}: [u8; {bytes}] }}\n"
        );
        let ask = format!(
            "item_check(|| lowered!({path}work), \"Suspend0\", \"{own}\", {bytes});\n\
             item_check(|| layout_of!({path}P), \"\", \"{own}\", {bytes});\n"
        );
        (item, ask)
    };
    let (top, ask_top) = item("top", "");
    let (module, ask_module) = item("module", "items::");
    let (inner, ask_inner) = item("inner", "items::deep::");
    let (block, ask_block) = item("block", "");
    let (deep, ask_deep) = item("deep", "");
    format!(
        "{top}pub mod items {{\n{module}pub mod deep {{\n{inner}}}\n}}\n{ask_top}{ask_module}{ask_inner}\
         {{\n{block}{ask_block}{{\n{deep}{ask_deep}}}\n}};\n"
    )
}
