//! Running a process of a probe's: a compiler, an interpreter, or what one of them made.
//!
//! ```text
//! Command ──▶ a group of its own ──▶ Output      what it printed, and whether it was stopped
//!                   ▲
//!                 guard             ends the group when this process is gone
//! ```
//!
//! Invariants:
//! 1. Each process has a limit on its time and on what it prints. When it is over, for whatever reason, its whole group is killed: what it
//!    started itself goes with it. (But on Windows what it starts before it is put into its job, in the moment after its own start; and where this
//!    process ignores SIGCHLD what outlives it.)
//! 2. A group does not outlive the process that started it, however that ends. In a notebook ■ kills the cell without asking: on Unix a
//!    second process, which waits for nothing but our end, kills the group; on Windows the system does, with the last handle to the job.
//! 3. Nobody waits for a pipe longer than `GRACE` after the process has ended. A grandchild that has left the group may hold one open.

use std::{
    fmt,
    io::{self, Read, Write},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

/// What a process may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// From its start to its end.
    pub(crate) time: Duration,
    /// Bytes on each of its two outputs.
    pub(crate) output: usize,
}

/// For the compiler: what it prints is read by us, and may be long.
pub(crate) const COMPILER: Limits = Limits { time: Duration::from_secs(20), output: 256 << 20 };
/// For a program that a reader wrote: what it prints is shown.
pub(crate) const PROGRAM: Limits = Limits { time: Duration::from_secs(20), output: 64 << 10 };

/// How long the pipes of a process that has ended are waited for (invariant 3).
const GRACE: Duration = Duration::from_millis(500);

/// How a process ended, and what it printed.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) stopped: Option<Stopped>,
}

/// Which limit a process ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopped {
    OutOfTime(Duration),
    TooMuchOutput(usize),
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfTime(limit) => write!(f, "stopped: it was still running after {limit:?}"),
            Self::TooMuchOutput(limit) => write!(f, "stopped: it had printed more than {} KiB", limit / 1024),
        }
    }
}

/// Runs a process to its end, or to the end of what it may take.
///
/// # Errors
/// When it cannot be started; or when the system does not tell how it ended, since this program ignores SIGCHLD.
pub(crate) fn run(command: &mut Command, input: &str, limits: Limits) -> io::Result<Output> {
    let mut group = Group::start(command)?;
    if let Some(mut pipe) = group.child.stdin.take() {
        let input = input.to_owned();
        // A process that does not want to hear it all has its reasons, and gives them elsewhere.
        thread::spawn(move || pipe.write_all(input.as_bytes()));
    }
    let (done, over) = mpsc::channel();
    let stdout = Capture::start(group.child.stdout.take(), limits.output, done.clone());
    let stderr = Capture::start(group.child.stderr.take(), limits.output, done);
    let end = Instant::now() + limits.time;
    let mut stopped = None;
    while stopped.is_none() && !group.has_ended()? {
        if Instant::now() >= end {
            stopped = Some(Stopped::OutOfTime(limits.time));
        }
        match over.recv_timeout(Duration::from_millis(2)) {
            Ok(Full(true)) => stopped = Some(Stopped::TooMuchOutput(limits.output)),
            Ok(Full(false)) | Err(RecvTimeoutError::Timeout) => {}
            // Both pipes are closed, and there is nothing to do but to look again.
            Err(RecvTimeoutError::Disconnected) => thread::sleep(Duration::from_millis(1)),
        }
    }
    let status = group.end()?;
    let end = Instant::now() + GRACE;
    while let Ok(Full(full)) = over.recv_timeout(end.saturating_duration_since(Instant::now())) {
        if full {
            stopped = stopped.or(Some(Stopped::TooMuchOutput(limits.output)));
        }
    }
    Ok(Output { status, stdout: stdout.text(), stderr: stderr.text(), stopped })
}

/// A pipe has come to its end; whether that is because it printed too much.
struct Full(bool);

/// What has come out of a pipe so far. It is read by a thread, which may have to be left behind (invariant 3).
struct Capture(Arc<Mutex<Vec<u8>>>);

impl Capture {
    fn start(pipe: Option<impl Read + Send + 'static>, most: usize, done: mpsc::Sender<Full>) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&bytes);
        if let Some(mut pipe) = pipe {
            thread::spawn(move || {
                let mut chunk = [0; 16 * 1024];
                let full = loop {
                    let Ok(read @ 1..) = pipe.read(&mut chunk) else { break false };
                    let mut bytes = into.lock().unwrap_or_else(PoisonError::into_inner);
                    let room = most - bytes.len();
                    bytes.extend_from_slice(&chunk[..read.min(room)]);
                    if read > room {
                        break true;
                    }
                };
                let _ = done.send(Full(full));
            });
        }
        Self(bytes)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

/// A process, and all that it starts. Dropping it kills them all (invariant 1).
struct Group {
    child: Child,
    #[cfg(unix)]
    guard: Option<Child>,
    #[cfg(windows)]
    _job: Option<windows::Job>,
    ended: bool,
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

#[cfg(unix)]
impl Group {
    fn start(command: &mut Command) -> io::Result<Self> {
        use std::os::unix::process::CommandExt;
        let child = command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        // Invariant 2: `read` comes back when we are gone, since nobody else holds the other end of its pipe.
        let guard = Command::new("/bin/sh")
            .args(["-c", "read -r nothing; kill -9 \"-$0\"", &child.id().to_string()])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Ok(Self { child, guard: guard.ok(), ended: false })
    }

    /// Whether the process has ended. It is not reaped yet, so its number cannot be another's; where the system does that by itself, this is an error, and no
    /// signal is sent to the number any more.
    fn has_ended(&mut self) -> io::Result<bool> {
        let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        // SAFETY: FFI: the call writes into `info`, which has room for it; all zeroes are a valid `siginfo_t`.
        let info = unsafe {
            if libc::waitid(libc::P_PID, self.child.id() as libc::id_t, info.as_mut_ptr(), flags) != 0 {
                let error = io::Error::last_os_error();
                if error.raw_os_error() == Some(libc::ECHILD) {
                    self.ended = true;
                    self.end_guard();
                }
                return Err(Self::explained(error));
            }
            info.assume_init()
        };
        // With WNOHANG, a signal number of zero says that there is nothing to report.
        Ok(info.si_signo != 0)
    }

    fn end(&mut self) -> io::Result<ExitStatus> {
        if !std::mem::replace(&mut self.ended, true) {
            if let Ok(group) = libc::pid_t::try_from(self.child.id()) {
                // SAFETY: FFI: no memory is involved. The group is the child's own, whose number is not free before it is reaped below.
                unsafe { libc::kill(-group, libc::SIGKILL) };
            }
            self.end_guard();
        }
        self.child.wait().map_err(Self::explained)
    }

    /// No such child, though it was started: that has one reason.
    fn explained(error: io::Error) -> io::Error {
        match error.raw_os_error() {
            Some(libc::ECHILD) => {
                io::Error::other("the system does not tell how a program ended, since this one ignores the signal SIGCHLD")
            }
            _ => error,
        }
    }

    fn end_guard(&mut self) {
        if let Some(mut guard) = self.guard.take() {
            let _ = guard.kill().and_then(|()| guard.wait());
        }
    }
}

#[cfg(windows)]
impl Group {
    fn start(command: &mut Command) -> io::Result<Self> {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let job = windows::Job::of(&child);
        Ok(Self { child, _job: job, ended: false })
    }

    fn has_ended(&mut self) -> io::Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    fn end(&mut self) -> io::Result<ExitStatus> {
        if !std::mem::replace(&mut self.ended, true) {
            self._job = None;
            let _ = self.child.kill();
        }
        self.child.wait()
    }
}

#[cfg(not(any(unix, windows)))]
impl Group {
    fn start(command: &mut Command) -> io::Result<Self> {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        Ok(Self { child, ended: false })
    }

    fn has_ended(&mut self) -> io::Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    fn end(&mut self) -> io::Result<ExitStatus> {
        if !std::mem::replace(&mut self.ended, true) {
            let _ = self.child.kill();
        }
        self.child.wait()
    }
}

#[cfg(windows)]
mod windows {
    use std::{os::windows::io::AsRawHandle, process::Child};
    use windows_sys::Win32::{
        Foundation::{CloseHandle, HANDLE},
        System::JobObjects::{
            AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE, JOBOBJECT_EXTENDED_LIMIT_INFORMATION,
            JobObjectExtendedLimitInformation, SetInformationJobObject,
        },
    };

    /// A job of which all processes end when its handle is closed: by us, or by the system when we are gone.
    pub(super) struct Job(HANDLE);

    impl Job {
        pub(super) fn of(child: &Child) -> Option<Self> {
            // SAFETY: FFI: both arguments may be null: no attributes, no name.
            let job = unsafe { CreateJobObjectW(std::ptr::null(), std::ptr::null()) };
            if job.is_null() {
                return None;
            }
            let job = Self(job);
            let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
            limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
            // SAFETY: FFI: the pointer and the length are those of `limits`, which is of the kind that is named; both handles are open.
            let joined = unsafe {
                SetInformationJobObject(
                    job.0,
                    JobObjectExtendedLimitInformation,
                    (&raw const limits).cast(),
                    size_of_val(&limits) as u32,
                ) != 0
                    && AssignProcessToJobObject(job.0, child.as_raw_handle()) != 0
            };
            joined.then_some(job)
        }
    }

    impl Drop for Job {
        fn drop(&mut self) {
            // SAFETY: FFI: the handle is ours, and closed once.
            unsafe { CloseHandle(self.0) };
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn sh(script: &str, limits: Limits) -> Output {
        run(Command::new("/bin/sh").args(["-c", script]), "", limits).expect("a shell can be started")
    }

    fn is_alive(pid: &str) -> bool {
        Command::new("kill").args(["-0", pid.trim()]).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    /// Waits for the end of a process that was killed: whoever adopts it has to reap it.
    fn dies(pid: &str) -> bool {
        (0..200).any(|_| {
            let state = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
            let zombie = state.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'));
            zombie || !is_alive(pid) || {
                thread::sleep(Duration::from_millis(10));
                false
            }
        })
    }

    #[test]
    fn what_is_said_and_heard_comes_through() {
        let output = run(&mut Command::new("cat"), "some text", PROGRAM).unwrap();
        assert_eq!((output.stdout.as_str(), output.stopped), ("some text", None));
        assert!(output.status.success());
    }

    #[test]
    fn a_grandchild_is_not_waited_for_and_does_not_survive() {
        let start = Instant::now();
        let output = sh("sleep 41 & echo $!", PROGRAM);
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
        assert!(output.status.success() && output.stopped.is_none());
        assert!(dies(&output.stdout), "{}", output.stdout);
    }

    #[test]
    fn one_that_has_left_the_group_is_not_waited_for_either() {
        let start = Instant::now();
        sh("setsid sleep 3 & echo here", PROGRAM);
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    }

    #[test]
    fn the_limit_on_time_is_the_whole_groups() {
        let output = sh("sleep 41 & echo $!; wait", Limits { time: Duration::from_millis(300), ..PROGRAM });
        assert_eq!(output.stopped, Some(Stopped::OutOfTime(Duration::from_millis(300))));
        assert!(dies(&output.stdout), "{}", output.stdout);
    }

    #[test]
    fn what_prints_for_ever_is_stopped_and_the_start_is_kept() {
        let output = sh("while :; do echo on and on; done", Limits { output: 10_000, ..PROGRAM });
        assert_eq!(output.stopped, Some(Stopped::TooMuchOutput(10_000)));
        assert_eq!(output.stdout.len(), 10_000);
    }

    /// Where SIGCHLD is ignored nobody learns how a child has ended: this very test program, started again, ignores it.
    #[test]
    fn a_process_whose_end_the_system_does_not_tell_is_not_taken_for_another() {
        if std::env::var_os("PINLAB_TEST_IGNORES").is_some() {
            // SAFETY: FFI: no handler is installed.
            unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
            let error = run(Command::new("/bin/sh").args(["-c", "exit 0"]), "", PROGRAM).unwrap_err();
            assert!(error.to_string().contains("SIGCHLD"), "{error}");
            return;
        }
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "probe::rustc::run::tests::a_process_whose_end_the_system_does_not_tell_is_not_taken_for_another"])
            .env("PINLAB_TEST_IGNORES", "")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }

    /// Invariant 2. The one who starts is this very test program, which runs the test below and is killed.
    #[test]
    fn a_group_ends_with_the_one_who_started_it() {
        let folder = std::env::temp_dir().join(format!("pinlab-guard-{}", std::process::id()));
        let mut starter = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "probe::rustc::run::tests::starts_what_would_run_for_long", "--include-ignored", "--nocapture"])
            .env("PINLAB_TEST_PID", &folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let pid = (0..1000).find_map(|_| {
            thread::sleep(Duration::from_millis(10));
            std::fs::read_to_string(&folder).ok().filter(|pid| pid.ends_with('\n'))
        });
        starter.kill().unwrap();
        starter.wait().unwrap();
        let _ = std::fs::remove_file(&folder);
        assert!(dies(&pid.expect("it has started")));
    }

    #[test]
    #[ignore = "started by another test"]
    fn starts_what_would_run_for_long() {
        if let Ok(file) = std::env::var("PINLAB_TEST_PID") {
            sh(&format!("echo $$ > '{file}'; sleep 41"), PROGRAM);
        }
    }
}
