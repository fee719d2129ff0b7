//! A user whose folders have names with a space and an umlaut: the lab works for them, too.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use pinlab_kernel::session;

use super::{Tally, outcome};
use crate::jupyter::Server;
use crate::notebook::FIRST_CELL;
use crate::outputs::End;
use crate::outputs::sections;
use crate::setup;
use crate::ui::Ui;

/// What is run there: a variable, a program of a probe's, the compiler's layout, the variable once more; and what each prints.
const CELLS: [(&str, &str); 4] = [
    ("let text = String::from(\"Grüße\");\nprintln!(\"{text}\");", "Grüße"),
    ("println!(\"{}\", compiles! { println!(\"from a program\") }.run());", "from a program"),
    (
        "async fn odd() { std::future::pending::<()>().await }\nprintln!(\"the same: {}\", lowered!(odd).size() == size_of_val(&odd()));",
        "the same: true",
    ),
    ("println!(\"{text} again\");", "Grüße again"),
];

/// Runs them with such folders for what is temporary and for what is cached; one check.
pub(super) fn run(ui: &Ui, project: &Path) -> Result<Tally> {
    let lab = setup::ensure(ui, project)?;
    let what = "a temporary folder and a cache with a space and an umlaut";
    let activity = ui.start(what);
    let folder = tempfile::Builder::new().prefix("Jürgen Müller ").tempdir()?;
    let (temporary, cache, runtime) =
        (folder.path().join("täglich neu"), folder.path().join("ca che"), folder.path().join("lauf"));
    for folder in [&temporary, &cache, &runtime] {
        fs::create_dir(folder)?;
    }
    let store = session::store().unwrap_or_default();
    let environment = [
        ("TMPDIR", temporary.as_os_str()),
        ("TMP", temporary.as_os_str()),
        ("XDG_CACHE_HOME", cache.as_os_str()),
        ("XDG_RUNTIME_DIR", runtime.as_os_str()),
        (session::STORE, store.as_os_str()),
    ];
    let mut wrong = Vec::new();
    {
        let server = Server::start(&lab, project, &environment)?;
        let mut kernel = server.kernel(&project.join("notebooks"))?;
        for (code, expected) in [(FIRST_CELL, "")].into_iter().chain(CELLS) {
            let ran = kernel.run(code, "odd", Duration::from_secs(180))?;
            let mut shown = sections(&ran.outputs);
            // The first cell tells how large the kernel's cache is.
            shown.retain(|section| section.title != "text/plain");
            let printed = shown.iter().find(|section| section.title == "stdout").map_or("", |section| section.text.trim());
            if ran.end != End::Reply || printed != expected || shown.len() > usize::from(!expected.is_empty()) {
                wrong.push(format!("  {code}\n  ends with {:?} and shows\n{shown:?}", ran.end));
            }
        }
    }
    // The kernel has ended with its server.
    let left = fs::read_dir(&temporary)?.flatten().map(|entry| format!("  left behind: {}", entry.path().display()));
    wrong.extend(left);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let folder = cache.join("pinlab");
        let mode = fs::metadata(&folder).map(|about| about.permissions().mode() & 0o777);
        if !matches!(mode, Ok(0o700)) {
            wrong.push(format!("  {} is not for this user alone: {mode:?}", folder.display()));
        }
    }
    outcome(ui, wrong.is_empty(), what, activity.end(), &wrong.join("\n"));
    let mut tally = Tally::default();
    tally.count(wrong.is_empty());
    Ok(tally)
}
