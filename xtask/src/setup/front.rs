//! The kernel's front, compiled from this clone's `kernel/`, and the kernel spec that names it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, bail};
use pinlab_kernel::SOURCES;
use pinlab_kernel::session::STORE;
use serde_json::json;

use super::kernel;
use crate::digest::digest;
use crate::installed::{jupyter_data, kernel_spec};
use crate::setup::store::write_whole;
use crate::ui::Ui;

/// What decides what is in the component: the front's source, and the kernel that its spec names.
pub(crate) fn key(kernel: &str) -> String {
    let mut texts = vec![kernel];
    texts.extend(SOURCES.iter().flat_map(|(name, text)| [*name, *text]));
    digest(&texts)
}

fn program(folder: &Path) -> PathBuf {
    folder.join("bin").join(format!("pinlab-kernel{}", std::env::consts::EXE_SUFFIX))
}

/// Installs it into `folder`, to stand before the kernel in the component `kernel`.
pub(crate) fn install(ui: &Ui, project: &Path, store: &Path, folder: &Path, kernel: &Path) -> Result<()> {
    let mut command = Command::new("cargo");
    // Unoptimised it costs a cell a millisecond, and a first start a minute less; and it shares what `cargo lab` itself has compiled.
    command
        .args(["install", "--debug", "--locked", "--no-track", "--path"])
        .arg(project.join("kernel"))
        .arg("--root")
        .arg(folder)
        .current_dir(project)
        .stdin(Stdio::null());
    let finished = ui.run("compiling the kernel's front", &mut command)?;
    if !finished.status.success() {
        bail!("cargo could not build the kernel's front:\n{}", finished.tail());
    }
    ui.say(format!("ok      the kernel's front, compiled  ({:.1} s)", finished.seconds));
    let data = jupyter_data(folder);
    kernel::install_spec_files(kernel, &data)?;
    let text = serde_json::to_string_pretty(&json!({
        "argv": [program(folder), "{connection_file}", kernel::program(kernel), "--control_file"],
        "display_name": "Rust",
        "language": "rust",
        "interrupt_mode": "message",
        // On each start the kernel mends what it takes for its own installation: it must find it here, and not
        // change one that the user has.
        "env": {"JUPYTER_PATH": data, STORE: store},
    }))?;
    write_whole(&kernel_spec(folder).join("kernel.json"), &text)
}

#[cfg(test)]
mod tests {
    #[test]
    fn another_source_or_kernel_is_another_component() {
        assert_ne!(super::key("kernel-1"), super::key("kernel-2"));
        assert!(pinlab_kernel::SOURCES.iter().any(|(name, text)| *name == "src/front.rs" && text.contains("evcxr#353")));
    }
}
