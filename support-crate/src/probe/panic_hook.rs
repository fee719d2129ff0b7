//! What a panic says in a notebook: on the standard output, in order with what was printed before it, and with the line of the cell.
//!
//! The front of the kernel brings [`install`] into every cell: from here, where a notebook has this crate, else as text.

/// Takes the place of the standard library's hook; one that a cell has set stays.
///
/// # Safety
/// FFI: the system calls it when the code of a cell is loaded. The first call in a process comes while that has one thread.
pub unsafe extern "C" fn install() {
    const DEFAULT: &str = "PINLAB_DEFAULT_HOOK";
    let hook = std::panic::take_hook();
    let pointer: *const (dyn Fn(&std::panic::PanicHookInfo<'_>) + Send + Sync) = &*hook;
    // SAFETY: FFI: rustc makes such a pointer of two words; of the second, the address of a table in std, nothing is asked but whether it is the same.
    let [_, table]: [usize; 2] = unsafe { std::mem::transmute(pointer) };
    let default = std::env::var(DEFAULT).ok();
    if default.is_none() {
        // The kernel asks for backtraces in every cell; here it is the reader who does.
        let calls = std::env::var_os("PINLAB_BACKTRACE").unwrap_or_else(|| "0".into());
        // SAFETY: FFI: nothing has set the variable yet, so that this is the first call in this process: our caller says that it has one thread.
        unsafe {
            std::env::set_var(DEFAULT, table.to_string());
            std::env::set_var("RUST_BACKTRACE", calls);
        }
    }
    // A cell that has silenced panics for a while leaves the standard library's hook behind. One that it has set for others stays.
    if default.is_some_and(|default| default != table.to_string()) {
        return std::panic::set_hook(hook);
    }
    let cells = std::thread::current().id();
    std::panic::set_hook(Box::new(move |panic| report(panic, std::thread::current().id() == cells)));
}

fn report(panic: &std::panic::PanicHookInfo<'_>, in_cell: bool) {
    let (file, line) = panic.location().map_or(("", 0), |location| (location.file(), location.line()));
    // What was compiled last is in here: this cell, if the place is in it.
    let session = std::env::var("EVCXR_TMPDIR").unwrap_or_default();
    let source = std::fs::read_to_string(std::path::Path::new(&session).join("src").join("lib.rs")).unwrap_or_default();
    let source = source.lines().nth((line as usize).saturating_sub(1)).unwrap_or_default().trim();
    let short = file.replace('\\', "/");
    let parts: Vec<&str> = short.split('/').collect();
    let place = match parts.iter().rposition(|part| *part == "src") {
        Some(0) => String::new(),
        Some(at) => format!("{}:{line}", parts[at - 1..].join("/")),
        None => format!("{short}:{line}"),
    };
    let who = if in_cell { "" } else { "a thread " };
    let message = panic.payload_as_str().unwrap_or("(the message is no text)");
    // The front knows the cell, and says where in it this is.
    let mut text = format!("\u{1}panic\t{who}\t{place}\t{source}\t{message}\n");
    if std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
        text.push_str("calls:\n");
        let calls = std::backtrace::Backtrace::force_capture().to_string();
        let after_the_panic = calls.lines().skip_while(|call| !call.contains("panicking::panic")).skip_while(|call| {
            call.contains("panicking::") || call.contains("begin_unwind") || call.trim_start().starts_with("at ")
        });
        let mut unknown = 0;
        for call in after_the_panic.take_while(|call| !call.contains("evcxr::")) {
            // The kernel's name for the code of a cell; what it calls that is outside of every item.
            if call.contains("run_user_code") {
                text.push_str(&format!("{}: this cell\n", call.split(':').next().unwrap_or_default()));
                break;
            }
            // The standard library looks for names once in a process: cells that are loaded later have none.
            if call.ends_with("<unknown>") {
                unknown += 1;
                continue;
            }
            // Lines in the file that the kernel makes of the cells say nothing to who wrote them.
            if !call.trim_start().starts_with("at ./src/") {
                text.push_str(&format!("{call}\n"));
            }
        }
        if unknown > 0 {
            text.push_str("(and calls without a name: only the first panic after a start has those of its cell)\n");
        }
    }
    // The cell may hold the lock of the standard output: its own thread gets it once more, another one that it waits for does not.
    if in_cell { print(&text) } else { print_past_the_lock(&text) }
}

fn print(text: &str) {
    use std::io::Write;
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Prints, whoever holds the lock of the standard output. (Here, and not with what else prints: this file stands alone where a notebook has it as text.) What was printed without an end of its line may come later.
pub(super) fn print_past_the_lock(text: &str) {
    use std::io::Write;
    #[cfg(unix)]
    use std::os::fd::AsFd;
    #[cfg(windows)]
    use std::os::windows::io::AsHandle;
    let stdout = std::io::stdout();
    #[cfg(unix)]
    let own = stdout.as_fd().try_clone_to_owned();
    #[cfg(windows)]
    let own = stdout.as_handle().try_clone_to_owned();
    match own {
        Ok(own) => drop(std::fs::File::from(own).write_all(text.as_bytes())),
        // There is no descriptor left.
        Err(_) => print(text),
    }
}
