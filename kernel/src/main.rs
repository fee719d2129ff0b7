//! `pinlab-kernel CONNECTION-FILE KERNEL [ARGUMENTS]`: starts the kernel and stands between it and Jupyter.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::{Arc, OnceLock};

use pinlab_kernel::config;
use pinlab_kernel::front;
use pinlab_kernel::session::{self, Session};

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
        session::prepare(&mut kernel, session.as_ref().ok().and_then(Option::as_ref).map(Session::folder));
        match session {
            Ok(Some(session)) => {
                kernel.env("EVCXR_TMPDIR", session.folder());
                // A crate that does not compile, or a configuration that the kernel does not like, must not keep it from starting.
                let folder = session.folder().join("config");
                let crates = failed == 0 && Path::new("../support-crate/Cargo.toml").is_file();
                if failed < 2 && config::write(&folder, crates).is_ok() {
                    kernel.env(config::VARIABLE, folder);
                }
            }
            Ok(None) => {}
            Err(error) => eprintln!("pinlab-kernel: no folder for this session: {error}"),
        }
        kernel
    };
    let loading_file = session::own_folder().map(|folder| folder.join(session::SESSIONS).join("seconds-to-load"));
    let code = front::run(&connection_file, loading_file, Arc::new(start));
    drop(session);
    code.unwrap_or_else(|error| {
        eprintln!("pinlab-kernel: {error:#}");
        ExitCode::FAILURE
    })
}
