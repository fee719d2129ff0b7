//! What axe, the usual tool for it, finds against those who cannot see a page, or see it badly.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

use super::lab::Page;
use crate::ui::Ui;

/// axe-core is fetched by npm where the tests run, and not kept: its licence is not ours.
const AXE: &str = "axe-core@4.10.3";

/// JupyterLab's own names for its themes.
pub(super) const THEMES: [&str; 2] = ["JupyterLab Light", "JupyterLab Dark"];

/// How grave a finding must be to count.
const GRAVE: [&str; 2] = ["serious", "critical"];

/// What is JupyterLab's own: rules, and what marks the elements that they are broken by there. (The editor of a cell has no name, and the list of
/// cells is of a role that asks for other children.)
const NOT_OURS: [(&str, &str); 2] =
    [("aria-input-field-name", "cm-content"), ("aria-required-children", "jp-WindowedPanel-viewport")];

/// The text of axe; `None`, and a word about it, where npm is not there or reaches nothing.
pub(in crate::verify) fn axe(ui: &Ui, project: &Path) -> Result<Option<String>> {
    let folder = project.join("target").join("browser-test");
    let script = folder.join("node_modules/axe-core/axe.min.js");
    if !script.is_file() {
        fs::create_dir_all(&folder)?;
        let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
        let mut command = Command::new(npm);
        command.args(["install", "--no-save", "--no-audit", "--no-fund", "--prefix"]).arg(&folder).arg(AXE).stdin(Stdio::null());
        match ui.run("fetching axe-core with npm", &mut command) {
            Ok(finished) if finished.status.success() => {}
            Ok(finished) => {
                ui.say(format!("skip    axe  (npm could not fetch {AXE})\n{}", finished.tail().trim_end()));
                return Ok(None);
            }
            Err(_) => {
                ui.say("skip    axe  (there is no npm)");
                return Ok(None);
            }
        }
    }
    Ok(Some(fs::read_to_string(script)?))
}

/// A function of a script that knows `args.axe`: what axe finds in a part of the page. Text that has nearly the colour of its ground it calls undecided
/// (`equalRatio`), since that may be meant; nowhere is it meant here.
pub(in crate::verify) const LOOK: &str = "
    if (!window.axe) { const tag = document.createElement('script'); tag.textContent = args.axe; document.head.append(tag); }
    if (!window.axe) throw new Error('axe was not loaded');
    const ours = rule => rule.nodes.filter(
        node => !(args.others || []).some(([id, mark]) => rule.id === id && node.html.includes(mark)));
    const look = async part => {
        const found = await axe.run(part, {resultTypes: ['violations', 'incomplete']});
        const unseen = node => node.any.some(check => check.data?.messageKey === 'equalRatio');
        const undecided = found.incomplete.map(rule => ({...rule, nodes: rule.nodes.filter(unseen)}));
        return [...found.violations, ...undecided].map(rule => ({...rule, nodes: ours(rule)})).filter(rule => rule.nodes.length > 0).map(rule => ({
            id: rule.id, impact: rule.impact, help: rule.help, nodes: rule.nodes.length,
            first: rule.nodes[0].html.slice(0, 200) + '\\n' + rule.nodes[0].failureSummary,
        }));
    };";

/// Looks at the open notebook in one of the [`THEMES`].
pub(super) fn check(page: &Page<'_>, axe: &str, theme: &str) -> Result<()> {
    page.set_theme(theme)?;
    let found =
        page.script(&format!("{LOOK} return await look(panel.content.node);"), json!({"axe": axe, "others": NOT_OURS}))?;
    let grave = grave(&found)?;
    ensure!(grave.is_empty(), "{}", grave.join("\n"));
    Ok(())
}

/// What of it is grave, one text for each rule.
pub(in crate::verify) fn grave(found: &Value) -> Result<Vec<String>> {
    let Some(found) = found.as_array() else { bail!("axe gave no list: {found}") };
    let grave = found
        .iter()
        .filter(|rule| GRAVE.iter().any(|impact| rule["impact"] == *impact))
        .map(|rule| format!("{} ({}, {} times): {}\n{}", rule["id"], rule["impact"], rule["nodes"], rule["help"], rule["first"]))
        .collect();
    Ok(grave)
}
