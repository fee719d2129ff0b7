//! The kernel as a process: how it starts, whether it has work left, how it ends; and the process that started us.

use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::process::Child;

/// How long a kernel that was asked to end may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// A kernel that was started. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts the kernel with the connection file as its last argument.
    pub(crate) fn start(command: &Command, connection_file: &Path) -> Result<Self> {
        let mut kernel = Command::new(command.get_program());
        kernel.args(command.get_args()).arg(connection_file).stdin(Stdio::null());
        if let Some(folder) = command.get_current_dir() {
            kernel.current_dir(folder);
        }
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => kernel.env(name, value),
                None => kernel.env_remove(name),
            };
        }
        end_with_us(&mut kernel);
        let mut kernel = tokio::process::Command::from(kernel);
        kernel.kill_on_drop(true);
        let child = kernel.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Self { child })
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&mut self) -> Result<ExitStatus> {
        Ok(self.child.wait().await?)
    }

    /// Its number; `None` if it has ended.
    pub(crate) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// False if a thread of the kernel has something to do: it may be a line that is on its way.
    ///
    /// Elsewhere than on Linux nothing is known, and the answer is true.
    pub(crate) fn is_at_rest(&self) -> bool {
        let Some(id) = self.child.id() else {
            return true;
        };
        let threads = std::fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
        // In `stat` the state follows the name, which is in parentheses and may have any letters in it.
        let states = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok());
        let mut states = states.filter_map(|stat| stat.rsplit(')').next()?.trim_start().chars().next());
        !states.any(|state| matches!(state, 'R' | 'D'))
    }

    /// Ends it, and all that it has started: gently if it has been asked to end already, else at once.
    pub(crate) async fn end(mut self, asked: bool) {
        if !asked || tokio::time::timeout(PATIENCE, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
        end_group();
    }
}

/// On Linux the system ends the kernel if we are killed. (Elsewhere that needs somebody who is left to see it.)
fn end_with_us(command: &mut Command) {
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::process::CommandExt;
        let end = || Ok(rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?);
        // SAFETY: FFI: between fork and exec the closure makes one system call, which is async-signal-safe, and touches no memory.
        unsafe { command.pre_exec(end) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = command;
}

/// Asks what the kernel has left behind to end: the program that ran the cells, if one of them does not return.
///
/// Only where this process leads its group, as it does when Jupyter has started it. It is in that group itself, and does not die by
/// this signal, for which it listens.
fn end_group() {
    #[cfg(unix)]
    if rustix::process::getpgrp() == rustix::process::getpid() {
        let _ = rustix::process::kill_process_group(rustix::process::getpgrp(), rustix::process::Signal::TERM);
    }
}

/// Returns once the process that has started us is gone.
///
/// Only where Jupyter has said that the kernel is its own: kernels that are meant to stay are not ended. Elsewhere than on Unix it
/// never returns.
pub(crate) async fn parent_has_gone() {
    #[cfg(unix)]
    if std::env::var_os("JPY_PARENT_PID").is_some() {
        let parent = rustix::process::getppid();
        while rustix::process::getppid() == parent {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        return;
    }
    std::future::pending().await
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Signal {
    /// Stop what is running.
    Interrupt,
    /// End.
    #[cfg_attr(not(unix), expect(dead_code, reason = "elsewhere Jupyter speaks by messages"))]
    End,
}

/// Signals that have come in.
#[derive(Debug)]
pub(crate) struct Signals {
    #[cfg(unix)]
    streams: [tokio::signal::unix::Signal; 3],
}

impl Signals {
    pub(crate) fn listen() -> Result<Self> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            Ok(Self {
                streams: [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?],
            })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    /// The next one. Elsewhere than on Unix Jupyter speaks by messages, and this waits for Ctrl-C.
    pub(crate) async fn next(&mut self) -> Signal {
        #[cfg(unix)]
        {
            let [interrupt, terminate, hangup] = &mut self.streams;
            tokio::select! {
                _ = interrupt.recv() => Signal::Interrupt,
                _ = terminate.recv() => Signal::End,
                _ = hangup.recv() => Signal::End,
            }
        }
        #[cfg(not(unix))]
        {
            let _ = tokio::signal::ctrl_c().await;
            Signal::Interrupt
        }
    }
}
