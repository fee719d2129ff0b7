//! Cells that wait for ever are told what for; cells that are busy are not.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::{Tally, outcome};
use crate::jupyter::Server;
use crate::notebook::FIRST_CELL;
use crate::outputs::sections;
use crate::setup;
use crate::ui::Ui;

/// Longer than the kernel's front waits before it says something.
const LIMIT: Duration = Duration::from_secs(15);

/// The cells, and a part of what must be said below each; `None`: nothing.
const CELLS: [(&str, Option<&str>); 5] = [
    (
        "{ let door = std::net::TcpListener::bind(\"127.0.0.1:0\").unwrap(); let _ = door.accept(); };",
        Some("for somebody to connect to the listener at 127.0.0.1:"),
    ),
    (
        "{ let rt = Runtime::new().unwrap();\n\
         let door = TcpListener::bind(&rt.handle(), \"127.0.0.1:0\").unwrap();\n\
         let _ = rt.block_on(door.accept()); };",
        Some("to read from the listener at 127.0.0.1:"),
    ),
    ("{ let (_sender, receiver) = std::sync::mpsc::channel::<()>(); let _ = receiver.recv(); };", Some("for another thread")),
    ("std::thread::sleep(std::time::Duration::from_secs(13));", Some("for a time to pass")),
    ("loop { std::hint::black_box(1); }", None),
];

/// Runs them; one check.
pub(super) fn run(ui: &Ui, project: &Path) -> Result<Tally> {
    let what = "cells that wait for ever are told what for";
    let mut tally = Tally::default();
    if cfg!(not(target_os = "linux")) {
        ui.say(format!("skip    {what}  (only Linux tells)"));
        return Ok(tally);
    }
    let lab = setup::ensure(ui, project)?;
    let activity = ui.start(what);
    let mut wrong = Vec::new();
    {
        let server = Server::start(&lab, project, &[])?;
        let mut kernel = server.kernel(&project.join("notebooks"))?;
        kernel.run(FIRST_CELL, "first", Duration::from_secs(180))?;
        for (code, expected) in CELLS {
            let ran = kernel.run(code, "waits", LIMIT)?;
            let shown = sections(&ran.outputs).iter().map(|section| section.text.clone()).collect::<Vec<_>>().join("\n");
            let right = match expected {
                Some(part) => shown.contains(part),
                None => !shown.contains("pinlab: this cell has waited"),
            };
            if !right {
                wrong.push(format!("  {code}\n  ends with {:?} and shows\n{shown}", ran.end));
            }
        }
    }
    outcome(ui, wrong.is_empty(), what, activity.end(), &wrong.join("\n"));
    tally.count(wrong.is_empty());
    Ok(tally)
}
