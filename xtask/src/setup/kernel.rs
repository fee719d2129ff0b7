//! The notebook kernel: `evcxr_jupyter`, prebuilt where `cargo binstall` is installed, else from source.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::setup::tools;
use crate::ui::Ui;

/// The version that the course is written against; `environment.yml` allows it.
pub(crate) const VERSION: &str = "0.22.0";

/// One crate of the kernel's, the types of its analyser, is 257 of the 1,473 processor seconds that it takes to compile. Unoptimised it is 110 less, and
/// twenty cells took as long as before. The whole kernel unoptimised is ten times slower.
const UNOPTIMISED: &str = "profile.release.package.ra_ap_hir_ty.opt-level=0";

/// The kernel's program in its component's folder.
pub(crate) fn program(folder: &Path) -> PathBuf {
    folder.join("bin").join(format!("evcxr_jupyter{}", std::env::consts::EXE_SUFFIX))
}

/// Installs the kernel into `folder`, compiling in `build` if it must be compiled.
pub(crate) fn install(ui: &Ui, folder: &Path, build: &Path) -> Result<()> {
    if tools::runs("cargo", &["binstall", "-V"]) {
        let mut command = Command::new("cargo");
        command
            .args(["binstall", "--no-confirm", "--disable-strategies", "compile", "--root"])
            .arg(folder)
            .arg(format!("evcxr_jupyter@{VERSION}"))
            .stdin(Stdio::null());
        let finished = ui.run("fetching the prebuilt kernel with cargo binstall", &mut command)?;
        if finished.status.success() && program(folder).exists() {
            ui.say(format!("ok      the kernel, prebuilt  ({:.1} s)", finished.seconds));
            return Ok(());
        }
        ui.say("cargo binstall gave no kernel: compiling it.");
    }
    ui.say(format!("Compiling the kernel, evcxr_jupyter {VERSION}: about six minutes on two cores."));
    let started = std::time::Instant::now();
    // A set-up that was killed has left its cargo running, which then takes the result away from the next one: once more mends that.
    let others = build.exists();
    let compile = || {
        // Cargo shows its own progress.
        Command::new("cargo")
            .args(["install", "--locked", "evcxr_jupyter", "--version", VERSION])
            .args(["--config", UNOPTIMISED])
            .arg("--root")
            .arg(folder)
            .env("CARGO_TARGET_DIR", build)
            .stdin(Stdio::null())
            .status()
            .context("cannot run cargo")
    };
    let mut status = compile()?;
    if !status.success() && others {
        ui.say("An earlier set-up was killed in the middle of this. Once more:");
        status = compile()?;
    }
    ensure!(status.success(), "cargo could not build the kernel; what it says is above");
    ui.say(format!("ok      the kernel, compiled  ({:.1} s)", started.elapsed().as_secs_f64()));
    Ok(())
}

/// Lets the kernel put its logo and its version file beside its spec. Without the version file it would take its own
/// installation for an old one and write over the spec.
pub(crate) fn install_spec_files(folder: &Path, jupyter_data: &Path) -> Result<()> {
    let output = Command::new(program(folder))
        .arg("--install")
        .env("JUPYTER_PATH", jupyter_data)
        .stdin(Stdio::null())
        .output()
        .context("the kernel does not start")?;
    ensure!(output.status.success(), "the kernel does not install itself:\n{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
