//! How the checks of the exercises run an answer: apart, with a limit, so that whatever it does, the cell comes to its end.

use super::panic_hook::print_past_the_lock;
use crate::foreign;
use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook},
    sync::mpsc,
    thread,
    time::Duration,
};

/// As much as a program's first thread usually has: an answer that is big is not wrong for it.
const STACK: usize = 8 << 20;

/// Under Miri, where everything takes a hundred times as long, limits are longer.
const PATIENCE: u32 = if cfg!(miri) { 100 } else { 1 };

/// Why there is no result.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unfinished {
    /// It panicked, with this message.
    Panicked(String),
    /// It was not done after this time. Its thread goes on.
    NotDone(Duration),
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(message) => write!(f, "it panicked: {message}"),
            Self::NotDone(limit) => write!(f, "not done after {limit:?}: does it block the thread, or loop for ever?"),
        }
    }
}

impl std::error::Error for Unfinished {}

/// Runs `trial` in a thread of its own and prints the line that it gives, which begins with ✓ or ✗. If it panics, or is not done after
/// `limit`, the line is made here, and begins with ✗.
///
/// ```
/// # use std::time::Duration;
/// pinlab::probe::check(Duration::from_secs(5), || match 40 + 2 {
///     42 => "✓ that is the answer".into(),
///     other => format!("✗ {other} is not the answer"),
/// });
/// ```
///
/// # Panics
/// If the line begins with neither mark, no thread can be started, or this thread is panicking.
pub fn check(limit: Duration, trial: impl FnOnce() -> String + Send + 'static) {
    let result = in_time(limit, trial);
    // What is not done may hold the lock of the standard output for ever.
    let is_done = !matches!(result, Err(Unfinished::NotDone(_)));
    let line = line(result);
    if is_done { println!("{line}") } else { print_past_the_lock(&format!("{line}\n")) }
}

fn line(result: Result<String, Unfinished>) -> String {
    match result {
        Ok(line) => {
            assert!(line.starts_with(['✓', '✗']), "a check says ✓ or ✗, and not {line:?}");
            line
        }
        Err(unfinished) => format!("✗ {unfinished}"),
    }
}

/// Runs `work` in a thread of its own, and waits for `limit` at most (under Miri a hundred times as long). Meanwhile no panic of this process prints anything.
///
/// A thread cannot be ended from outside: what is not done in time goes on, and holds what it has, be it the lock that `println!` waits for. The panic hook
/// is the whole process's: of two calls at the same time the one that began first must end last, or no panic prints anything any more.
///
/// # Errors
/// If it panics, or is not done in time.
///
/// # Panics
/// If no thread can be started, or this thread is panicking.
pub fn in_time<T: Send + 'static>(limit: Duration, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Unfinished> {
    let (done, result) = mpsc::channel();
    let hook = take_hook();
    set_hook(Box::new(|_| {})); // a panic is told by the result
    let started = thread::Builder::new().stack_size(STACK).spawn(move || {
        // What the work has borrowed is not looked at afterwards.
        let _ = done.send(catch_unwind(AssertUnwindSafe(work)).map_err(message));
    });
    let result = started.map(|_| result.recv_timeout(limit.saturating_mul(PATIENCE)));
    set_hook(hook);
    match result.expect("the system has a thread to spare") {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(message)) => Err(Unfinished::Panicked(message)),
        Err(mpsc::RecvTimeoutError::Timeout) => Err(Unfinished::NotDone(limit)),
        // What the panic carries has panicked in its own drop.
        Err(mpsc::RecvTimeoutError::Disconnected) => Err(Unfinished::Panicked("(and again, when that panic was dropped)".into())),
    }
}

/// What a panic says, in words.
fn message(panic: foreign::Payload) -> String {
    foreign::message(&*panic).unwrap_or("(the message is no text)").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::{panic_hook, rustc::run};
    use std::{
        env,
        io::{Write as _, stdout},
        process::{Command, exit},
        sync::Mutex,
    };

    /// The hook is the whole process's: one test at a time.
    static ONE: Mutex<()> = Mutex::new(());

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn whatever_the_work_does_the_caller_goes_on() {
        let _one = ONE.lock();
        assert_eq!(in_time(LONG, || 42), Ok(42));
        assert_eq!(in_time(LONG, || -> u32 { panic!("no {}", 7) }), Err(Unfinished::Panicked("no 7".into())));
        assert_eq!(in_time(LONG, || -> u32 { panic!("none") }), Err(Unfinished::Panicked("none".into())));
        let odd = in_time(LONG, || -> u32 { std::panic::panic_any(7) });
        assert_eq!(odd, Err(Unfinished::Panicked("(the message is no text)".into())));
        assert_eq!(in_time(Duration::MAX, || 42), Ok(42));
        let short = Duration::from_millis(20);
        let parked = in_time(short, || {
            loop {
                thread::park()
            }
        });
        assert_eq!(parked, Err::<u32, _>(Unfinished::NotDone(short)));
    }

    #[test]
    fn a_panic_whose_message_panics_when_dropped_is_told_too() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("and again")
            }
        }
        let _one = ONE.lock();
        let ended = in_time(LONG, || -> u32 { std::panic::panic_any(Bomb) });
        assert!(matches!(&ended, Err(Unfinished::Panicked(message)) if message.contains("again")), "{ended:?}");
    }

    #[test]
    fn the_hook_is_as_it_was_and_silent_meanwhile() {
        let _one = ONE.lock();
        let (seen, heard) = mpsc::channel();
        let before = take_hook();
        set_hook(Box::new(move |panic| drop(seen.send(panic.to_string()))));
        let _ = in_time(LONG, || panic!("in the work"));
        let _ = catch_unwind(|| panic!("afterwards"));
        set_hook(before);
        let heard: Vec<String> = heard.try_iter().filter(|heard| heard.contains("check.rs")).collect();
        assert!(matches!(&heard[..], [one] if one.contains("afterwards")), "{heard:?}");
    }

    #[test]
    fn the_line_of_the_trial_is_given_or_one_that_says_why_there_is_none() {
        let _one = ONE.lock();
        assert_eq!(line(in_time(LONG, || "✓ yes".into())), "✓ yes");
        assert_eq!(line(in_time(LONG, || panic!("no"))), "✗ it panicked: no");
        let short = Duration::from_millis(20);
        let late = line(in_time(short, || {
            loop {
                thread::park()
            }
        }));
        assert_eq!(late, "✗ not done after 20ms: does it block the thread, or loop for ever?");
        assert!(catch_unwind(|| line(in_time(LONG, || "yes".into()))).is_err());
    }

    /// Names one of the two below, which run in processes of their own.
    const CHILD: &str = "PINLAB_TEST_OF_THE_LOCK";

    #[test]
    fn who_holds_the_standard_output_hides_neither_a_verdict_nor_a_panic() {
        for (name, says) in [("an_answer_holds_the_output", "✗ not done after 20ms"), ("a_cell_holds_the_output", "\tboom\n")] {
            let mut command = Command::new(env::current_exe().unwrap());
            command.args(["--exact", &format!("probe::check::tests::{name}"), "--include-ignored", "--nocapture"]);
            let output = run::run(command.env(CHILD, name), "", run::PROGRAM).unwrap();
            assert!(output.status.code() == Some(7) && output.stdout.contains(says), "{name}: {output:?}");
        }
    }

    #[test]
    #[ignore = "started by another test"]
    fn an_answer_holds_the_output() {
        if env::var_os(CHILD).is_some() {
            check(Duration::from_millis(20), || {
                let _out = stdout().lock();
                loop {
                    thread::park()
                }
            });
            exit(7);
        }
    }

    #[test]
    #[ignore = "started by another test"]
    fn a_cell_holds_the_output() {
        if env::var_os(CHILD).is_some() {
            // SAFETY: FFI: it is the only test of this process, whose other thread waits for it.
            unsafe { panic_hook::install() };
            let mut out = stdout().lock();
            writeln!(out, "begin").unwrap();
            let died = thread::spawn(|| panic!("boom")).join();
            exit(if died.is_err() { 7 } else { 8 });
        }
    }
}
