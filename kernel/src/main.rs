//! `pinlab-kernel CONNECTION-FILE KERNEL [ARGUMENTS]`: starts the kernel and stands between it and Jupyter.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::{Arc, OnceLock};

use pinlab_kernel::config;
use pinlab_kernel::front::{self, Started};
use pinlab_kernel::session::{self, Session};

/// What is told below the first cell beside a crate that is not compiled.
const NOT_COMPILED: &str = "The support crate beside this notebook has changed since `cargo lab setup`, or was never set up: \
    it is compiled by the first cell that names it, which may take a minute.\n";

/// And where the kernel's own configuration file lies beside the notebook.
const CONFIGURED: &str = "There is a file evcxr.toml beside this notebook. What it says would run when a notebook is opened, before any of its cells: so it \
    is not obeyed, and this kernel runs in a folder of its own. If the file is yours, move it to the folder `evcxr` of your configuration \
    (~/.config/evcxr on Linux), else delete it; then restart the kernel.\n";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(connection_file), Some(program)) = (arguments.next().map(PathBuf::from), arguments.next()) else {
        eprintln!("pinlab-kernel: Jupyter starts this program with a connection file and the kernel's command");
        return ExitCode::FAILURE;
    };
    let arguments: Vec<_> = arguments.collect();
    // It is removed at the end.
    let session = Arc::new(OnceLock::new());
    let place = session.clone();
    let start = move |failed: usize| {
        let mut kernel = Command::new(&program);
        kernel.args(&arguments);
        // The kernel sets its own for every cell.
        if let Some(calls) = std::env::var_os("RUST_BACKTRACE") {
            kernel.env("PINLAB_BACKTRACE", calls);
        }
        // Neither of the two needs the other: what is compiled already is copied, and the network is asked.
        let session = std::thread::scope(|scope| {
            let session = scope.spawn(|| place.get_or_init(Session::begin));
            session::prepare_offline(&mut kernel);
            session.join().expect("what copies does not panic")
        });
        if let Err(error) = session {
            eprintln!("pinlab-kernel: no folder for this session: {error}");
        }
        let session = session.as_ref().ok().and_then(Option::as_ref);
        // Without a session of ours the kernel compiles where the user says, or in a folder of its own. The root is nobody else's.
        let chosen = || std::env::var_os("EVCXR_TMPDIR").map_or_else(|| PathBuf::from("/"), PathBuf::from);
        let compiles = session.map_or_else(chosen, |session| session.folder().to_owned());
        session::prepare(&mut kernel, &compiles, session);
        let configured = Path::new(config::FILE).exists();
        if configured {
            kernel.current_dir(&compiles);
        }
        let warm = !configured && session.is_some_and(Session::is_warm);
        if let Some(session) = session {
            kernel.env("EVCXR_TMPDIR", session.folder());
            // A crate that does not compile, or a configuration that the kernel does not like, must not keep it from starting.
            let folder = session.folder().join("config");
            if failed < 2 && config::write(&folder, warm && failed == 0).is_ok() {
                kernel.env(config::VARIABLE, folder);
            }
        }
        let is_cold = session.is_some() && !warm && Path::new(session::SUPPORT_CRATE).join("Cargo.toml").is_file();
        let notice = if configured { Some(CONFIGURED) } else { is_cold.then_some(NOT_COMPILED) };
        Started { command: kernel, notice }
    };
    let loading_file = session::own_folder().map(|folder| folder.join(session::SESSIONS).join("seconds-to-load"));
    let code = front::run(&connection_file, loading_file, Arc::new(start));
    drop(session);
    code.unwrap_or_else(|error| {
        eprintln!("pinlab-kernel: {error:#}");
        ExitCode::FAILURE
    })
}
