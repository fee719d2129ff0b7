//! Cells as a curious reader changes them: what they print must stay true. Each of these once printed a sentence that the change had made false, or waited
//! for ever without a word. And the cell as it is must run again after its change: of an `impl` the kernel may keep both (see `again`).

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::chosen::course;
use super::{Tally, outcome};
use crate::jupyter::Server;
use crate::notebook::Notebook;
use crate::outputs::sections;
use crate::setup;
use crate::ui::Ui;

/// One change to a cell, and a part of what the cell shows then; or, after a `!`, what it does not show.
#[derive(Debug)]
struct Edit {
    /// How the notebook's name begins.
    notebook: &'static str,
    cell: &'static str,
    from: &'static str,
    to: &'static str,
    shows: &'static str,
}

const fn edit(notebook: &'static str, cell: &'static str, from: &'static str, to: &'static str, shows: &'static str) -> Edit {
    Edit { notebook, cell, from, to, shows }
}

/// In the order of the notebooks.
const EDITS: &[Edit] = &[
    edit("01", "vec-moves", "        shelf.push(String::from(\"one more\"));\n", "", "pushes       0"),
    edit("01", "swap", "    std::mem::swap(x, y); // try it twice, or not at all\n", "", "!swapped"),
    edit("02", "plain-move-cell", "started(\"Hello\")", "started(\"Other\")", "!Hello"),
    edit("06", "tied-too-early", "tied_before = true", "tied_before = false", "   the same"),
    edit("08", "retry-wake-run", "run_sleepy(true);", "run_sleepy(false);", "it wakes itself: no\n"),
    edit("09", "real-tcp-run", "    rt.spawn(server(listener, rude));\n", "", "to read from the socket 127.0.0.1:"),
    edit("09", "cancel-run", "let polls = 2", "let polls = 1", "no waker was kept"),
    edit("12", "flag-run", "let unparked = true", "let unparked = false", "unparked before: false"),
    edit("13", "dropped-handle", "let keep = false", "let keep = true", "ours, handle kept "),
    edit("14", "after-done-cell", "let keep = false", "let keep = true", "is there an engine: true"),
    edit("15", "lost-stalled", "    drop(rt.spawn(messenger(rt.handle(), send)));\n", "", "pinlab: asleep for"),
    edit("15", "deadlock", "from_millis(100)", "from_millis(30)", "within 30ms"),
    edit("15", "blocking-cell", "blocks(WORK_TIME)", "waits(rt.handle(), WORK_TIME)", "asleep for most of the time: true"),
    edit("17", "turn-cell", "        self.waits.fetch_add(1, SeqCst);\n", "", ""),
    edit("18", "echo-run", "    listener.set_nonblocking(true)?;\n", "", "for somebody to connect to the listener at 127.0.0.1:"),
];

/// What the compiler says of two `impl`s where one should have taken the other's place.
const TWICE: [&str; 2] = ["duplicate definitions", "conflicting implementations"];

/// The longest that a changed cell may take: longer than the kernel's front waits before it says what a cell waits for.
const LIMIT: Duration = Duration::from_secs(16);

/// Runs each notebook up to its changed cells, and these besides; a check for each change.
pub(super) fn run(ui: &Ui, project: &Path) -> Result<Tally> {
    let lab = setup::ensure(ui, project)?;
    let server = Server::start(&lab, project, &[])?;
    let folder = project.join("notebooks");
    let mut tally = Tally::default();
    for edits in EDITS.chunk_by(|one, next| one.notebook == next.notebook) {
        let notebook = find(project, edits[0].notebook)?;
        let what = format!("{} with {} changes of a reader's", notebook.name, edits.len());
        let activity = ui.start(&what);
        let mut kernel = server.kernel(&folder)?;
        let (mut wrong, mut left) = (Vec::new(), edits.len());
        for cell in notebook.code() {
            if left == 0 {
                break;
            }
            for edit in edits.iter().filter(|edit| edit.cell == cell.id) {
                left -= 1;
                let code = cell.source.replacen(edit.from, edit.to, 1);
                let ran = kernel.run(&code, &cell.id, LIMIT)?;
                let shown: String = sections(&ran.outputs).into_iter().map(|section| section.text + "\n").collect();
                let as_it_should = match edit.shows.strip_prefix('!') {
                    Some(part) => !shown.is_empty() && !shown.contains(part),
                    None => shown.contains(edit.shows),
                };
                let right = code != cell.source && as_it_should;
                tally.count(right);
                if !right {
                    wrong.push(format!("  {} is not as it should be (`{}`):\n{}", cell.label(), edit.shows, shown.trim_end()));
                }
            }
            let ran = kernel.run(&cell.source, &cell.id, Duration::from_secs(cell.limit()))?;
            let shown: String = sections(&ran.outputs).into_iter().map(|section| section.text + "\n").collect();
            if TWICE.iter().any(|error| shown.contains(error)) {
                tally.count(false);
                wrong.push(format!("  {} does not run again:\n{}", cell.label(), shown.trim_end()));
            }
        }
        if left > 0 {
            tally.count(false);
            wrong.push(format!("  {left} of the cells are not there"));
        }
        outcome(ui, wrong.is_empty(), &what, activity.end(), &wrong.join("\n"));
    }
    Ok(tally)
}

fn find(project: &Path, number: &str) -> Result<Notebook> {
    Notebook::read(&course(project, &[number.to_owned()])?[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_can_be_made() {
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for edit in EDITS {
            let notebook = find(project, edit.notebook).unwrap();
            let cell = notebook.code().find(|cell| cell.id == edit.cell).unwrap_or_else(|| panic!("{edit:?}"));
            assert!(cell.source.contains(edit.from), "{edit:?}");
        }
    }
}
