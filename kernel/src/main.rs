//! `pinlab-kernel CONNECTION-FILE KERNEL [ARGUMENTS]`: starts the kernel and stands between it and Jupyter.

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::{Arc, OnceLock};

use pinlab_kernel::front;
use pinlab_kernel::session::{self, Session};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(connection_file), Some(program)) = (arguments.next().map(PathBuf::from), arguments.next()) else {
        eprintln!("pinlab-kernel: Jupyter starts this program with a connection file and the kernel's command");
        return ExitCode::FAILURE;
    };
    let arguments: Vec<_> = arguments.collect();
    // Without one the first cell takes longer, and that is all. It is removed at the end.
    let session = Arc::new(OnceLock::new());
    let place = session.clone();
    let start = move |_failed: usize| {
        let mut kernel = Command::new(&program);
        kernel.args(&arguments);
        session::prepare(&mut kernel);
        if let Some(session) = place.get_or_init(Session::begin) {
            kernel.env("EVCXR_TMPDIR", session.folder());
        }
        kernel
    };
    let code = front::run(&connection_file, Arc::new(start));
    drop(session);
    code.unwrap_or_else(|error| {
        eprintln!("pinlab-kernel: {error:#}");
        ExitCode::FAILURE
    })
}
