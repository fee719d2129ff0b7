//! What the user sees while they wait: spinners on a terminal, plain lines elsewhere.

use std::io::{self, BufRead, BufReader, IsTerminal};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Where progress and results are shown. Shared by threads.
#[derive(Debug)]
pub(crate) struct Ui {
    bars: MultiProgress,
    terminal: bool,
}

/// Something that is under way.
#[derive(Debug)]
pub(crate) struct Activity {
    bar: ProgressBar,
    started: Instant,
}

impl Ui {
    pub(crate) fn new() -> Self {
        Self { bars: MultiProgress::new(), terminal: io::stderr().is_terminal() }
    }

    /// Prints lines that stay.
    pub(crate) fn say(&self, text: impl AsRef<str>) {
        self.bars.suspend(|| println!("{}", text.as_ref()));
    }

    /// Shows that `what` has begun: a spinner on a terminal, a line elsewhere.
    pub(crate) fn start(&self, what: &str) -> Activity {
        let bar = if self.terminal {
            let style = ProgressStyle::with_template("{spinner} {prefix}  {elapsed:>4}  {wide_msg:.dim}");
            let bar = ProgressBar::new_spinner().with_style(style.expect("the template is ours")).with_prefix(what.to_owned());
            bar.enable_steady_tick(Duration::from_millis(120));
            self.bars.add(bar)
        } else {
            self.say(format!("...   {what}"));
            ProgressBar::hidden()
        };
        Activity { bar, started: Instant::now() }
    }

    /// Runs a command to its end and returns what it wrote to both its streams; its last line is shown meanwhile.
    pub(crate) fn run(&self, what: &str, command: &mut Command) -> Result<Finished> {
        self.run_and(what, command, |_| {})
    }

    /// The same, and does something with each line at once.
    pub(crate) fn run_and(&self, what: &str, command: &mut Command, on_line: impl Fn(&str)) -> Result<Finished> {
        let activity = self.start(what);
        let program = command.get_program().display().to_string();
        let (reader, writer) = io::pipe()?;
        command.stdout(writer.try_clone()?).stderr(writer);
        let mut child = command.spawn().with_context(|| format!("cannot run {program}"))?;
        // Our ends of the pipe are closed, so that reading ends when the child does.
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let mut output = String::new();
        for line in BufReader::new(reader).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            activity.tell(&line);
            on_line(&line);
            output.push_str(&line);
            output.push('\n');
        }
        let status = child.wait()?;
        Ok(Finished { status, output, seconds: activity.end() })
    }
}

impl Activity {
    /// Shows what is being done right now.
    pub(crate) fn tell(&self, detail: &str) {
        if !detail.trim().is_empty() {
            self.bar.set_message(detail.trim().to_owned());
        }
    }

    /// Takes the spinner away; returns the seconds since the start.
    pub(crate) fn end(self) -> f64 {
        self.bar.finish_and_clear();
        self.started.elapsed().as_secs_f64()
    }
}

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) output: String,
    pub(crate) seconds: f64,
}

impl Finished {
    /// The last lines of the output, indented, for an error message.
    pub(crate) fn tail(&self) -> String {
        let told = |line: &&str| !line.trim().is_empty() && !line.starts_with("Ignoring ");
        let lines: Vec<&str> = self.output.lines().filter(told).collect();
        let last = &lines[lines.len().saturating_sub(6)..];
        last.iter().map(|line| format!("    {}\n", line.chars().take(200).collect::<String>())).collect()
    }
}
