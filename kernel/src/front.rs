//! Between Jupyter and the kernel: passes messages on, and "done" only after the last line.
//!
//! 1. One `execute_request` at a time is with the kernel: what it prints late carries the header of its latest request.
//! 2. The answer to it, and the status "idle", are held until the kernel has said both, [`QUIET`] has passed since its last line, and
//!    no thread of the kernel has work left. (The cause is in the kernel: evcxr#353.)
//! 3. Everything else is passed on at once and unchanged. A client that has gone costs its answer and nothing else: the kernel, which
//!    ends when it cannot answer on `control`, never sees that. (One that is there and does not read holds up all: the sockets wait for each client. To know
//!    which one it is would take other sockets.)
//! 4. Who Jupyter talks to is said by the front itself, at any time: so a notebook can be used while the kernel loads. Whether it is idle is said twice.
//! 5. An interrupt reaches the kernel only while a cell is with it: at any other time the kernel would end what runs the *next* cell.
//! 6. A cell that waits for long without anything happening is told what for, by a look at its program from outside ([`Watch`]).
//! 7. That the program of a cell has died is said below what it printed. A check that follows a cell that did not compile says so, and is not remembered:
//!    it may have tried an earlier answer.
//! 8. A kernel that dies before it has answered for the first time is started again, and nobody notices.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{Command, ExitCode, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::connection::{Channel, Clients, File, Inbox, Incoming, Kernel};
use crate::mend::{has, mended};
use crate::message::{Message, Signer};
use crate::process::{Process, Signal, Signals, parent_has_gone};
use crate::progress;
use crate::waiting::{self, Watch};

#[cfg(test)]
mod tests;

/// How long the kernel must have printed nothing before a cell counts as done: several of the milliseconds for which it waits for more
/// lines of one stream before it looks at the other. Where its threads cannot be seen, one that is late must be allowed for.
const QUIET: Duration = Duration::from_millis(if cfg!(target_os = "linux") { 4 } else { 8 });

/// How often a kernel that still has work is looked at again.
const AGAIN: Duration = Duration::from_millis(2);

/// How long this program waits for what the system has for it: long enough to be asked for in earnest.
const HANDOVER: Duration = Duration::from_millis(1);

/// How many tasks may have to run before all that has come in is in the inbox.
const READERS: usize = 8;

/// When a kernel that has answered and was not heard is asked once more.
const AGAIN_TO_ASK: Duration = Duration::from_millis(300);

/// When the state of the kernel is said once more to a client that has asked for it. JupyterLab hears nothing before the answer to its first
/// question, which comes by another socket: what overtakes that answer is lost to it, and its kernel "unknown" or "busy" for good. What is said the second
/// time belongs to no request: of what belongs to a question like that, JupyterLab 4.6 takes no notice.
const AGAIN_TO_SAY: Duration = Duration::from_millis(500);

/// The longest that a cell is held: a thread that it has started may print for ever.
const LONGEST: Duration = Duration::from_millis(500);

/// A cell that waits for so long because the kernel loads is told.
const SOME_SECONDS: Duration = Duration::from_secs(4);

/// How often a kernel is started that dies before its first answer.
const STARTS: usize = 3;

/// How many messages may wait to be looked at.
const INBOX: usize = 1024;

/// How the kernel is started.
#[derive(Debug)]
pub struct Started {
    /// It ends with the connection file, which is added here.
    pub command: Command,
    /// What is told below the first cell.
    pub notice: Option<&'static str>,
}

/// Prepares the start of the kernel, which may take a while; it is told how many starts have failed.
pub type Start = dyn Fn(usize) -> Started + Send + Sync;

/// Serves the clients of the connection file until the kernel, or whoever asked for it, has ended. How long the kernel loads is kept in
/// `loading_file`, for the next time.
///
/// # Errors
/// The connection file cannot be used, or the kernel not started.
pub fn run(connection_file: &Path, loading_file: Option<PathBuf>, start: Arc<Start>) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let code = runtime.block_on(serve(connection_file, loading_file, start));
    // What still waits for a socket is of no use to anybody.
    runtime.shutdown_background();
    code
}

async fn serve(connection_file: &Path, loading_file: Option<PathBuf>, start: Arc<Start>) -> Result<ExitCode> {
    let file = File::read(connection_file)?;
    let mut signals = Signals::listen()?;
    let (inbox, mut incoming) = mpsc::channel(INBOX);
    let mut front = Front::new(Clients::listen(&file, &inbox).await?, &file.key, loading_file);
    for failed in 0..STARTS {
        let start = start.clone();
        let started = tokio::task::spawn_blocking(move || start(failed));
        let ended = front.serve_kernel(&file, started, &inbox, &mut incoming, &mut signals).await?;
        match ended {
            Ended::BeforeItAnswered => {
                eprintln!("pinlab-kernel: the kernel died at its start (start {} of {STARTS})", failed + 1)
            }
            Ended::Died => return Ok(ExitCode::FAILURE),
            Ended::AsAsked => return Ok(ExitCode::SUCCESS),
        }
    }
    Ok(ExitCode::FAILURE)
}

/// Waits until the kernel has ended; for ever, if it has not started.
async fn ended(process: &mut Option<Process>) -> Result<ExitStatus> {
    match process {
        Some(process) => process.ended().await,
        None => std::future::pending().await,
    }
}

/// How long the kernel loads.
#[derive(Debug, Default)]
struct Loading {
    since: Option<Instant>,
    /// Where it is kept how long it took.
    file: Option<PathBuf>,
    /// How long it took last time.
    last: Option<Duration>,
    /// The header of the cell that has been told.
    said: Option<Bytes>,
}

impl Loading {
    fn begin(file: Option<&Path>) -> Self {
        let last = file.and_then(|file| std::fs::read_to_string(file).ok()?.trim().parse().ok()).map(Duration::from_secs);
        Self { since: Some(Instant::now()), file: file.map(Path::to_owned), last, said: None }
    }
}

/// Why a kernel is no longer there.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ended {
    BeforeItAnswered,
    Died,
    AsAsked,
}

/// Whether the kernel can be given work.
#[derive(Debug)]
enum Readiness {
    /// It loads.
    Starting,
    /// It was asked whether it is there. It has answered; it was heard by what it publishes.
    Asked {
        answered: bool,
        heard: bool,
    },
    Ready,
}

/// The `execute_request` that is with the kernel.
struct Running {
    id: String,
    /// The header of the request, as it was received.
    header: Bytes,
    /// The front's own: nobody hears of it.
    hidden: bool,
    reply: Option<Message>,
    idle: Option<Message>,
    /// When the kernel last said anything about it.
    last: Instant,
    /// When it was held for the first time.
    held: Option<Instant>,
    /// It was to be interrupted.
    interrupted: bool,
    /// The kernel has said that the program that runs the cells is gone.
    lost: Option<Message>,
    /// It has ended in an error.
    failed: bool,
    /// The exercise that it checks.
    exercise: Option<String>,
    /// It has printed ✓, and no ✗.
    right: Option<bool>,
    watch: Watch,
}

struct Front {
    clients: Clients,
    signer: Signer,
    kernel: Option<Kernel>,
    readiness: Readiness,
    /// The code of the latest cell.
    code: String,
    /// The latest cell that is no check has ended in an error.
    last_failed: bool,
    loading: Loading,
    loading_file: Option<PathBuf>,
    /// What the next cell is told.
    notice: Option<&'static str>,
    /// What waits for the kernel.
    queue: VecDeque<Message>,
    running: Option<Running>,
    /// Interrupts that the kernel has not yet confirmed.
    interrupts: usize,
    /// The latest question of a cell that has no answer yet.
    question: Option<Message>,
    /// Who has asked for the end.
    end: Option<Message>,
    /// When to look again at what is held.
    look: Option<Instant>,
    /// When to say again how the kernel is.
    say_again: Option<Instant>,
}

impl Front {
    fn new(clients: Clients, key: &str, loading_file: Option<PathBuf>) -> Self {
        Self {
            clients,
            signer: Signer::new(key),
            kernel: None,
            readiness: Readiness::Starting,
            code: String::new(),
            last_failed: false,
            loading: Loading::default(),
            loading_file,
            notice: None,
            queue: VecDeque::new(),
            running: None,
            interrupts: 0,
            question: None,
            end: None,
            look: None,
            say_again: None,
        }
    }

    /// Starts a kernel and stands before it for as long as it lives.
    async fn serve_kernel(
        &mut self,
        file: &File,
        mut started: JoinHandle<Started>,
        inbox: &Inbox,
        incoming: &mut mpsc::Receiver<Incoming>,
        signals: &mut Signals,
    ) -> Result<Ended> {
        let for_kernel = file.for_kernel()?;
        // Only this user can read it; it is removed with the kernel.
        let written = tempfile::Builder::new().prefix("pinlab-connection-").suffix(".json").tempfile()?;
        std::fs::write(written.path(), for_kernel.text())?;
        let mut process = None;
        let mut connecting = pin!(Kernel::connect(&for_kernel, inbox));
        let mut parent_has_gone = pin!(parent_has_gone());
        self.kernel = None;
        self.readiness = Readiness::Starting;
        self.loading = Loading::begin(self.loading_file.as_deref());
        let ended = loop {
            let look = self.look;
            tokio::select! {
                message = incoming.recv() => {
                    self.receive(message.expect("this function holds a sender")).await;
                    if self.end.is_some() {
                        break Ended::AsAsked;
                    }
                }
                started = &mut started, if process.is_none() => {
                    let Started { command, notice } = started?;
                    self.notice = notice;
                    process = Some(Process::start(&command, written.path())?);
                }
                kernel = &mut connecting, if process.is_some() && self.kernel.is_none() => {
                    self.kernel = Some(kernel?);
                    self.ask().await;
                }
                () = sleep_until(look.unwrap_or_else(Instant::now)), if look.is_some() => {
                    self.look = None;
                    self.look_again(process.as_ref(), incoming).await;
                }
                status = ended(&mut process) => {
                    status?;
                    break if matches!(self.readiness, Readiness::Ready) { Ended::Died } else { Ended::BeforeItAnswered };
                }
                signal = signals.next() => match signal {
                    Signal::Interrupt => self.interrupt(None).await,
                    Signal::End => break Ended::AsAsked,
                },
                () = &mut parent_has_gone => break Ended::AsAsked,
            }
        };
        match process {
            Some(process) if ended == Ended::AsAsked => self.end_kernel(process).await,
            _ => {}
        }
        if let Some(request) = self.end.take() {
            let restart = request.content()["restart"].as_bool().unwrap_or_default();
            self.reply(Channel::Control, &request, &json!({"status": "ok", "restart": restart})).await;
            // The answer is on its way when the sockets close.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(ended)
    }

    async fn receive(&mut self, incoming: Incoming) {
        let (Incoming::Client(_, frames) | Incoming::Kernel(_, frames) | Incoming::Published(frames)) = &incoming;
        let message = match Message::parse(frames.clone()) {
            Ok(message) => message,
            Err(error) => return eprintln!("pinlab-kernel: {error:#}"),
        };
        // Other users of this machine can reach the ports, too, or have taken one of them before the kernel could.
        if !self.signer.accepts(&message) {
            return eprintln!("pinlab-kernel: a message with a wrong signature was dropped");
        }
        match incoming {
            Incoming::Client(Channel::Shell, _) => self.asked(message).await,
            Incoming::Client(Channel::Control, _) => self.commanded(message).await,
            Incoming::Client(Channel::Stdin, _) => {
                self.question = None;
                self.pass(Channel::Stdin, message).await;
            }
            Incoming::Kernel(Channel::Shell, _) => self.answered(message).await,
            Incoming::Kernel(Channel::Control, _) => {
                if message.header.msg_type == "interrupt_reply" {
                    self.interrupts = self.interrupts.saturating_sub(1);
                    self.look_at(Instant::now());
                }
                self.answer(Channel::Control, message).await;
            }
            Incoming::Kernel(Channel::Stdin, _) => {
                self.question = Some(message.clone());
                if !self.clients.send(Channel::Stdin, message.frames()).await {
                    // Who could answer has gone; the kernel would wait for ever.
                    self.answer_question().await;
                }
            }
            Incoming::Published(_) => self.published(message).await,
        }
    }

    /// A client's request on `shell`.
    async fn asked(&mut self, request: Message) {
        match request.header.msg_type.as_str() {
            "kernel_info_request" => {
                self.publish_status(&request.parts[0], "busy").await;
                self.reply(Channel::Shell, &request, &kernel_info()).await;
                self.publish_state(&request.parts[0]).await;
                let time = Instant::now() + AGAIN_TO_SAY;
                self.say_again = Some(time);
                self.look_at(time);
            }
            "execute_request" => {
                self.queue.push_back(request);
                self.say_that_it_loads().await;
                self.work().await;
            }
            // What may be asked while a cell runs need not wait for those that come after it.
            _ if matches!(self.readiness, Readiness::Ready) => self.pass(Channel::Shell, request).await,
            _ => self.queue.push_back(request),
        }
    }

    /// A client's request on `control`.
    async fn commanded(&mut self, request: Message) {
        match request.header.msg_type.as_str() {
            "kernel_info_request" => self.reply(Channel::Control, &request, &kernel_info()).await,
            "interrupt_request" => self.interrupt(Some(request)).await,
            "shutdown_request" => self.end = Some(request),
            _ => self.pass(Channel::Control, request).await,
        }
    }

    /// Stops what is with the kernel, and drops what waits for it.
    async fn interrupt(&mut self, request: Option<Message>) {
        while let Some(waiting) = self.queue.pop_front() {
            if waiting.header.msg_type == "execute_request" {
                self.publish_status(&waiting.parts[0], "busy").await;
                self.reply(Channel::Shell, &waiting, &json!({"status": "aborted"})).await;
                self.publish_status(&waiting.parts[0], "idle").await;
            }
        }
        let with_kernel = self.running.as_mut().filter(|running| running.reply.is_none() && !running.hidden);
        let Some(running) = with_kernel else {
            if let Some(request) = &request {
                self.reply(Channel::Control, request, &json!({"status": "ok"})).await;
            }
            return;
        };
        running.interrupted = true;
        self.interrupts += 1;
        let request = request.unwrap_or_else(|| self.signer.make("interrupt_request", vec![], &no_header(), &json!({})));
        self.pass(Channel::Control, request).await;
        self.answer_question().await;
    }

    /// The kernel's answer on `shell`.
    async fn answered(&mut self, message: Message) {
        if let Readiness::Asked { answered, .. } = &mut self.readiness
            && self.signer.is_own(&message.parent)
        {
            *answered = true;
            self.look_at(Instant::now() + AGAIN_TO_ASK);
            return self.begin_if_ready().await;
        }
        match &mut self.running {
            Some(running) if running.id == message.parent.msg_id && message.header.msg_type == "execute_reply" => {
                running.reply = Some(message);
                running.last = Instant::now();
                self.hold();
            }
            _ => self.answer(Channel::Shell, message).await,
        }
    }

    /// What the kernel says to all.
    async fn published(&mut self, message: Message) {
        let own = self.signer.is_own(&message.parent);
        if let Readiness::Asked { heard, .. } = &mut self.readiness
            && own
        {
            *heard |= message.is_status("idle");
            return self.begin_if_ready().await;
        }
        if let Some(running) = self.running.as_mut().filter(|running| running.id == message.parent.msg_id) {
            running.last = Instant::now();
            if message.header.msg_type == "error" {
                running.failed = true;
                if running.lost.is_none() && has(&message.parts[3], TERMINATED) {
                    running.lost = Some(message);
                    return;
                }
            }
            if running.exercise.is_some() && message.header.msg_type == "stream" {
                let content = message.content();
                for line in content["text"].as_str().unwrap_or_default().lines().filter(|_| content["name"] == "stdout") {
                    match line.chars().next() {
                        Some('✓') => running.right = Some(running.right != Some(false)),
                        Some('✗') => running.right = Some(false),
                        _ => {}
                    }
                }
            }
            if message.is_status("idle") {
                running.idle = Some(message);
                return self.hold();
            }
        }
        if own {
            return;
        }
        let is_check = self.running.as_ref().is_some_and(|running| running.exercise.is_some());
        let coloured = is_check && Path::new(progress::FOLDER).is_dir();
        let message = mended(message, &self.code, coloured, &self.signer);
        self.clients.publish(message.frames()).await;
    }

    /// The kernel can be given work once it has answered, and what it publishes is heard.
    async fn begin_if_ready(&mut self) {
        if !matches!(self.readiness, Readiness::Asked { answered: true, heard: true }) {
            return;
        }
        self.readiness = Readiness::Ready;
        if let (Some(since), Some(file)) = (self.loading.since, &self.loading.file) {
            // A note for next time: no harm if it cannot be left.
            let _ = std::fs::write(file, since.elapsed().as_secs().to_string());
        }
        self.work().await;
    }

    /// Gives the kernel what waits, up to the next cell.
    async fn work(&mut self) {
        while matches!(self.readiness, Readiness::Ready) && self.running.is_none() {
            let Some(request) = self.queue.pop_front() else {
                return;
            };
            if request.header.msg_type == "execute_request" {
                self.running = Some(Running::new(&request, false));
                if self.loading.said.take().is_some_and(|said| said == request.parts[0]) {
                    // What it was told is true no longer.
                    let clear = self.signer.make("clear_output", vec![], &request.parts[0], &json!({"wait": false}));
                    self.clients.publish(clear.frames()).await;
                }
                if let Some(text) = self.notice.take() {
                    let told = self.signer.make("stream", vec![], &request.parts[0], &json!({"name": "stderr", "text": text}));
                    self.clients.publish(told.frames()).await;
                }
                self.code = request.content()["code"].as_str().unwrap_or_default().to_owned();
                self.look_at(Instant::now() + waiting::OFTEN);
            }
            self.pass(Channel::Shell, request).await;
        }
    }

    /// A cell that has waited for some seconds hears why.
    async fn say_that_it_loads(&mut self) {
        let Some(since) =
            self.loading.since.filter(|_| self.loading.said.is_none() && !matches!(self.readiness, Readiness::Ready))
        else {
            return;
        };
        let Some(request) = self.queue.iter().find(|request| request.header.msg_type == "execute_request") else {
            return;
        };
        if since.elapsed() < SOME_SECONDS {
            let time = since + SOME_SECONDS;
            return self.look_at(time);
        }
        let last = match self.loading.last {
            Some(last) => format!("Last time that took {} s.", last.as_secs().max(1)),
            None => "That can take a minute.".to_owned(),
        };
        let text = format!("The kernel loads. {last} This cell runs then.\n");
        let told = self.signer.make("stream", vec![], &request.parts[0], &json!({"name": "stderr", "text": text}));
        self.loading.said = Some(request.parts[0].clone());
        self.clients.publish(told.frames()).await;
    }

    /// A cell that has waited for long, without a question to its reader, is told what for.
    async fn say_what_it_waits_for(&mut self, process: Option<&Process>) {
        let Some(running) = self.running.as_mut().filter(|running| running.reply.is_none() && !running.hidden) else {
            return;
        };
        let id = process.and_then(Process::id).filter(|_| self.question.is_none() && !running.interrupted);
        let said = id.and_then(|id| running.watch.look(id));
        let header = running.header.clone();
        self.look_at(Instant::now() + waiting::OFTEN);
        if let Some(text) = said {
            let told = self.signer.make("stream", vec![], &header, &json!({"name": "stderr", "text": text}));
            self.clients.publish(told.frames()).await;
        }
    }

    /// Looks at what is held once the kernel can have been quiet.
    fn hold(&mut self) {
        if let Some(running) = self.running.as_mut().filter(|running| running.is_answered()) {
            let now = Instant::now();
            running.held.get_or_insert(now);
            self.look_at(now + QUIET);
        }
    }

    /// At this time at the latest, unless it is to be earlier.
    fn look_at(&mut self, time: Instant) {
        self.look = Some(self.look.map_or(time, |look| look.min(time)));
    }

    async fn look_again(&mut self, process: Option<&Process>, incoming: &mpsc::Receiver<Incoming>) {
        match self.say_again {
            Some(time) if time <= Instant::now() => {
                self.say_again = None;
                self.publish_state(&no_header()).await;
            }
            Some(time) => self.look_at(time),
            None => {}
        }
        if matches!(self.readiness, Readiness::Asked { answered: true, heard: false }) {
            // What it published came before it knew who listens.
            self.ask().await;
        }
        self.say_that_it_loads().await;
        self.say_what_it_waits_for(process).await;
        let Some(running) = self.running.as_ref().filter(|running| running.is_answered()) else {
            return;
        };
        let now = Instant::now();
        let quiet = running.last + QUIET;
        let longest = running.held.unwrap_or(now) + LONGEST;
        if now < longest {
            if now < quiet {
                return self.look_at(quiet);
            }
            if self.interrupts > 0 || process.is_some_and(|process| !process.is_at_rest()) {
                return self.look_at(now + AGAIN);
            }
            // What the kernel has sent is on this side of the sockets now. This lets the system hand it over, and the readers read it.
            tokio::time::sleep(HANDOVER).await;
            for _ in 0..READERS {
                tokio::task::yield_now().await;
            }
            if !incoming.is_empty() {
                return self.look_at(now + QUIET);
            }
        }
        self.interrupts = 0;
        self.done().await;
    }

    /// The cell is done: the held answer goes out, and the next cell in.
    async fn done(&mut self) {
        let Some(running) = self.running.take() else {
            return;
        };
        self.question = None;
        if let (Some(exercise), Some(true)) = (&running.exercise, running.right) {
            if self.last_failed {
                let told =
                    self.signer.make("stream", vec![], &running.header, &json!({"name": "stderr", "text": NOT_THE_LATEST}));
                self.clients.publish(told.frames()).await;
            } else if let Err(error) = progress::record(Path::new("."), exercise) {
                eprintln!("pinlab-kernel: cannot remember that {exercise} is solved: {error}");
            }
        }
        if !running.hidden && running.exercise.is_none() {
            self.last_failed = running.failed;
        }
        // The program that runs the cells was ended, and the kernel has not noticed: the next cell would be told, not this one.
        let unnoticed = running.interrupted && running.lost.is_none();
        if let Some(lost) = running.lost.filter(|_| !running.hidden) {
            self.clients.publish(mended(lost, &self.code, false, &self.signer).frames()).await;
        }
        if unnoticed {
            let told = json!({"name": "stderr", "text": "Interrupted. The variables are lost; the next cell works.\n"});
            let told = self.signer.make("stream", vec![], &running.header, &told);
            self.clients.publish(told.frames()).await;
        }
        for (channel, held) in [(Some(Channel::Shell), running.reply), (None, running.idle)] {
            match (channel, held) {
                (Some(channel), Some(reply)) => self.answer(channel, reply).await,
                (None, Some(idle)) if !running.hidden => self.clients.publish(idle.frames()).await,
                _ => {}
            }
        }
        if unnoticed {
            let content =
                json!({"code": NOTHING, "silent": true, "store_history": false, "allow_stdin": false, "stop_on_error": false});
            let request = self.signer.make("execute_request", vec![], &no_header(), &content);
            self.running = Some(Running::new(&request, true));
            self.pass(Channel::Shell, request).await;
        }
        self.work().await;
    }

    /// Asks the kernel whether it is there. It answers once it has loaded.
    async fn ask(&mut self) {
        let request = self.signer.make("kernel_info_request", vec![], &no_header(), &json!({}));
        self.readiness = Readiness::Asked { answered: false, heard: false };
        self.pass(Channel::Shell, request).await;
    }

    /// Frees a cell that asks and will not be answered.
    async fn answer_question(&mut self) {
        if let Some(question) = self.question.take() {
            let answer =
                self.signer.make("input_reply", question.route, &question.parts[0], &json!({"status": "ok", "value": ""}));
            self.pass(Channel::Stdin, answer).await;
        }
    }

    /// To the kernel. If it is gone, its process has ended: that is seen elsewhere.
    async fn pass(&mut self, channel: Channel, message: Message) {
        if let Some(kernel) = &mut self.kernel {
            kernel.send(channel, message.frames()).await;
        }
    }

    /// To the client that has asked, if it was not the front itself.
    async fn answer(&mut self, channel: Channel, message: Message) {
        if !message.route.is_empty() {
            self.clients.send(channel, message.frames()).await;
        }
    }

    /// The front's own answer.
    async fn reply(&mut self, channel: Channel, request: &Message, content: &Value) {
        let msg_type = request.header.msg_type.replace("_request", "_reply");
        let reply = self.signer.make(&msg_type, request.route.clone(), &request.parts[0], content);
        self.answer(channel, reply).await;
    }

    async fn publish_status(&mut self, parent: &Bytes, state: &str) {
        let status = self.signer.make("status", vec![], parent, &json!({"execution_state": state}));
        self.clients.publish(status.frames()).await;
    }

    /// Whether it is idle. Clients take the last status for that of the whole kernel.
    async fn publish_state(&mut self, parent: &Bytes) {
        self.publish_status(parent, "idle").await;
        if let Some(header) = self.running.as_ref().filter(|running| !running.hidden).map(|running| running.header.clone()) {
            self.publish_status(&header, "busy").await;
        }
    }

    async fn end_kernel(&mut self, process: Process) {
        // A kernel that is busy would not end before its cell does.
        let ask = matches!(self.readiness, Readiness::Ready) && self.running.is_none();
        if ask {
            let request = self.signer.make("shutdown_request", vec![], &no_header(), &json!({"restart": false}));
            self.pass(Channel::Control, request).await;
        }
        process.end(ask).await;
    }
}

impl Running {
    fn new(request: &Message, hidden: bool) -> Self {
        Self {
            id: request.header.msg_id.clone(),
            header: request.parts[0].clone(),
            hidden,
            reply: None,
            idle: None,
            last: Instant::now(),
            held: None,
            interrupted: false,
            lost: None,
            failed: false,
            exercise: progress::checked(request.content()["code"].as_str().unwrap_or_default()).map(str::to_owned),
            right: None,
            watch: Watch::default(),
        }
    }

    fn is_answered(&self) -> bool {
        self.reply.is_some() && self.idle.is_some()
    }
}

/// How the kernel says that what ran the cells is gone.
const TERMINATED: &str = "Subprocess terminated";

/// What is said below a check that follows a cell with an error.
const NOT_THE_LATEST: &str = "pinlab: the cell that was run before this check ended in an error. If that was your answer, an earlier one was checked: run it again.\n";

/// A cell that does nothing.
const NOTHING: &str = "();";

fn no_header() -> Bytes {
    Bytes::from_static(b"{}")
}

/// The kernel's own answer: what it says of its language is kept in every notebook that is opened.
fn kernel_info() -> Value {
    json!({
        "status": "ok",
        "protocol_version": "5.3",
        "implementation": env!("CARGO_PKG_NAME"),
        "implementation_version": env!("CARGO_PKG_VERSION"),
        "language_info": {
            "name": "Rust",
            "version": "",
            "mimetype": "text/rust",
            "file_extension": ".rs",
            "pygment_lexer": "rust",
            "codemirror_mode": "rust",
        },
        "banner": "Rust, by evcxr",
        "help_links": [{"text": "Rust std docs", "url": "https://doc.rust-lang.org/stable/std/"}],
    })
}
