//! A real kernel is up to chance: these are run against one that does what it is told, and does the worst.
//!
//! It is this test program, started again with [`kernel`] as its only test.

use std::sync::Mutex;

use zeromq::util::PeerIdentity;
use zeromq::{DealerRecvHalf, DealerSendHalf, DealerSocket, Socket, SocketOptions, SocketRecv, SocketSend, SubSocket};

use super::*;

const KEY: &str = "a key for the tests";

/// The kernel. The last argument is its connection file.
#[test]
#[ignore = "the other tests start it"]
fn kernel() {
    let file = PathBuf::from(std::env::args().next_back().unwrap());
    if let Some(starts) = std::env::var_os("TEST_DIES_AT_FIRST") {
        let before = std::fs::read_to_string(&starts).unwrap_or_default().len();
        std::fs::write(&starts, "x".repeat(before + 1)).unwrap();
        if before == 0 {
            std::process::exit(1);
        }
    }
    let loads = std::env::var("TEST_LOADS").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    runtime().block_on(async {
        let file = File::read(&file).unwrap();
        let (inbox, mut incoming) = mpsc::channel(100);
        let clients = Clients::listen(&file, &inbox).await.unwrap();
        let mut kernel = Fake { clients, signer: Signer::new(&file.key), latest: None, interrupts: 0 };
        tokio::time::sleep(Duration::from_millis(loads)).await;
        while let Some(message) = incoming.recv().await {
            if let Incoming::Client(channel, frames) = message {
                kernel.receive(channel, Message::parse(frames).unwrap()).await;
            }
        }
    });
}

struct Fake {
    clients: Clients,
    signer: Signer,
    latest: Option<Message>,
    interrupts: usize,
}

impl Fake {
    async fn receive(&mut self, channel: Channel, request: Message) {
        let content = request.content();
        match (channel, request.header.msg_type.as_str()) {
            (Channel::Control, "shutdown_request") => std::process::exit(0),
            (Channel::Control, "interrupt_request") => {
                self.interrupts += 1;
                self.answer(Channel::Control, &request, &json!({"status": "ok"})).await;
            }
            (Channel::Shell, "execute_request") => {
                self.latest = Some(request.clone());
                self.status(&request, "busy").await;
                self.execute(&request, content["code"].as_str().unwrap()).await;
            }
            (Channel::Shell, _) => {
                self.status(&request, "busy").await;
                self.answer(Channel::Shell, &request, &json!({"status": "ok"})).await;
                self.status(&request, "idle").await;
            }
            (Channel::Stdin, "input_reply") => {
                let request = self.latest.clone().unwrap();
                self.print(&format!("read {}", content["value"])).await;
                self.done(&request).await;
            }
            _ => {}
        }
    }

    async fn execute(&mut self, request: &Message, code: &str) {
        let (what, number) = code.split_once(' ').unwrap_or((code, "0"));
        let time = Duration::from_millis(number.parse().unwrap_or(0));
        match what {
            // The line comes so long after everything else.
            "late" => {
                self.done(request).await;
                std::thread::sleep(time);
                self.print(code).await;
            }
            "lines" => {
                for line in 0..number.parse().unwrap() {
                    self.print(&format!("{line}")).await;
                }
                self.done(request).await;
            }
            "interrupts" => {
                self.print(&self.interrupts.to_string()).await;
                self.done(request).await;
            }
            "ask" => {
                let question =
                    self.signer.make("input_request", request.route.clone(), &request.parts[0], &json!({"prompt": "?"}));
                self.clients.send(Channel::Stdin, question.frames()).await;
            }
            "spin" => loop {
                std::thread::sleep(Duration::from_secs(1));
            },
            "die" => std::process::exit(3),
            // An error, and what the cell printed before it.
            "crashes" | "wrong" => {
                let text =
                    if what == "wrong" { "mismatched types" } else { "Subprocess terminated with status: signal: 6 (SIGABRT)" };
                let error = json!({"ename": "Error", "evalue": text, "traceback": [text]});
                let error = self.signer.make("error", vec![], &request.parts[0], &error);
                self.clients.publish(error.frames()).await;
                self.print("printed before").await;
                self.done(request).await;
            }
            // Somebody who has no key prints, asks and says that the cell is done.
            "forged" => {
                let key = std::mem::replace(&mut self.signer, Signer::new("a guess"));
                self.print(code).await;
                let question =
                    self.signer.make("input_request", request.route.clone(), &request.parts[0], &json!({"prompt": "?"}));
                self.clients.send(Channel::Stdin, question.frames()).await;
                self.done(request).await;
                self.signer = key;
                self.print("the kernel's own").await;
                self.done(request).await;
            }
            // A check.
            "//" => {
                self.print("✓ right").await;
                self.done(request).await;
            }

            _ => self.done(request).await,
        }
    }

    /// The header is that of the latest request, as with the real one.
    async fn print(&mut self, line: &str) {
        let parent = self.latest.as_ref().unwrap().parts[0].clone();
        let text = self.signer.make("stream", vec![], &parent, &json!({"name": "stdout", "text": format!("{line}\n")}));
        self.clients.publish(text.frames()).await;
    }

    async fn done(&mut self, request: &Message) {
        self.answer(Channel::Shell, request, &json!({"status": "ok"})).await;
        self.status(request, "idle").await;
    }

    async fn answer(&mut self, channel: Channel, request: &Message, content: &Value) {
        let msg_type = request.header.msg_type.replace("_request", "_reply");
        let reply = self.signer.make(&msg_type, request.route.clone(), &request.parts[0], content);
        self.clients.send(channel, reply.frames()).await;
    }

    async fn status(&mut self, request: &Message, state: &str) {
        let status = self.signer.make("status", vec![], &request.parts[0], &json!({"execution_state": state}));
        self.clients.publish(status.frames()).await;
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// A client of Jupyter's, with the front running beside it.
struct Client {
    signer: Signer,
    shell: (DealerSendHalf, DealerRecvHalf),
    control: (DealerSendHalf, DealerRecvHalf),
    stdin: (DealerSendHalf, DealerRecvHalf),
    iopub: SubSocket,
    file: File,
    front: JoinHandle<Result<ExitCode>>,
}

/// Only one test at a time: they are about times.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn with_front(environment: &[(&'static str, String)], test: impl AsyncFnOnce(&mut Client)) {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let environment = environment.to_vec();
    let notice = environment.iter().any(|(name, _)| *name == "TEST_NOTICE").then_some("a notice\n");
    let started = move |_| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["front::tests::kernel", "--exact", "--ignored", "--nocapture"]).envs(environment.clone());
        Started { command, notice }
    };
    runtime().block_on(async move {
        let given = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(given.path(), json!({"ip": "127.0.0.1", "transport": "tcp", "key": KEY}).to_string()).unwrap();
        let file = File::read(given.path()).unwrap().for_kernel().unwrap();
        std::fs::write(given.path(), file.text()).unwrap();
        let path = given.path().to_owned();
        let front = tokio::spawn(async move { serve(&path, None, Arc::new(started)).await });
        let mut client = Client::connect(&file, "client", front).await;
        tokio::time::timeout(Duration::from_secs(60), test(&mut client)).await.expect("the test took longer than a minute");
        client.front.abort();
    });
}

impl Client {
    async fn connect(file: &File, name: &str, front: JoinHandle<Result<ExitCode>>) -> Self {
        let port = file.endpoint("iopub").unwrap();
        while tokio::net::TcpStream::connect(port.trim_start_matches("tcp://")).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut iopub = SubSocket::new();
        iopub.connect(&port).await.unwrap();
        iopub.subscribe("").await.unwrap();
        let dealer = async |channel| {
            let mut options = SocketOptions::default();
            options.peer_identity(name.parse::<PeerIdentity>().unwrap());
            let mut socket = DealerSocket::with_options(options);
            socket.connect(&file.endpoint(channel).unwrap()).await.unwrap();
            socket.split()
        };
        let mut client = Self {
            signer: Signer::new(&file.key),
            shell: dealer("shell").await,
            control: dealer("control").await,
            stdin: dealer("stdin").await,
            iopub,
            file: file.clone(),
            front,
        };
        // What is published before the front knows of the subscription is lost, as with every such socket.
        loop {
            let id = client.ask("kernel_info_request", &json!({})).await;
            client.reply().await;
            let heard = tokio::time::timeout(Duration::from_millis(300), client.published_until_idle(&id)).await;
            if heard.is_ok() {
                return client;
            }
        }
    }

    /// Another client of the same kernel.
    async fn another(&self) -> Self {
        Self::connect(&self.file, "another", tokio::spawn(std::future::pending())).await
    }

    async fn ask(&mut self, msg_type: &str, content: &Value) -> String {
        let request = self.signer.make(msg_type, vec![], &no_header(), content);
        let id = request.header.msg_id.clone();
        let socket =
            if ["interrupt_request", "shutdown_request"].contains(&msg_type) { &mut self.control } else { &mut self.shell };
        socket.0.send(request.frames()).await.unwrap();
        id
    }

    async fn execute(&mut self, code: &str) -> String {
        self.ask("execute_request", &json!({"code": code, "allow_stdin": true})).await
    }

    async fn reply(&mut self) -> Message {
        Message::parse(self.shell.1.recv().await.unwrap()).unwrap()
    }

    /// All that is published up to the "idle" of this request, as `name of the request, what`.
    async fn published_until_idle(&mut self, request: &str) -> Vec<(String, String)> {
        let mut all = Vec::new();
        loop {
            let message = Message::parse(self.iopub.recv().await.unwrap()).unwrap();
            assert!(self.signer.accepts(&message));
            let content = message.content();
            let what = match message.header.msg_type.as_str() {
                "status" => content["execution_state"].as_str().unwrap().to_owned(),
                "error" => content["evalue"].as_str().unwrap_or_default().to_owned(),
                _ => content["text"].as_str().unwrap_or_default().trim_end().to_owned(),
            };
            let end = what == "idle" && message.parent.msg_id == request;
            all.push((message.parent.msg_id, what));
            if end {
                return all;
            }
        }
    }

    /// What a cell has printed.
    async fn lines(&mut self, code: &str) -> Vec<String> {
        let id = self.execute(code).await;
        let all = self.published_until_idle(&id).await;
        assert_eq!(self.reply().await.parent.msg_id, id);
        let of_this = all.into_iter().filter(|(parent, what)| *parent == id && !["busy", "idle"].contains(&what.as_str()));
        of_this.map(|(_, what)| what).collect()
    }
}

#[test]
fn a_line_that_comes_late_is_in_its_cell_and_before_its_end() {
    with_front(&[], async |client| {
        for _ in 0..20 {
            assert_eq!(client.lines("late 2").await, ["late 2"]);
        }
    });
}

#[test]
fn a_notice_is_in_the_first_cell_and_in_no_other() {
    with_front(&[("TEST_NOTICE", String::new())], async |client| {
        assert_eq!(client.lines("late 1").await, ["a notice", "late 1"]);
        assert_eq!(client.lines("late 1").await, ["late 1"]);
    });
}

#[test]
fn that_a_cells_program_has_died_is_said_below_what_it_printed() {
    with_front(&[], async |client| {
        let died = "Subprocess terminated with status: signal: 6 (SIGABRT)";
        assert_eq!(client.lines("crashes").await, ["printed before", died]);
        assert_eq!(client.lines("wrong").await, ["mismatched types", "printed before"], "any other error stays where it was");
    });
}

#[test]
fn a_check_after_a_cell_with_an_error_says_that_it_may_have_tried_an_earlier_answer() {
    with_front(&[], async |client| {
        let check = "// Check: some-exercise";
        assert_eq!(client.lines(check).await, ["✓ right"]);
        client.lines("wrong").await;
        assert_eq!(client.lines(check).await, ["✓ right", NOT_THE_LATEST.trim_end()]);
        assert_eq!(client.lines(check).await.len(), 2, "to check once more makes it no later");
        client.lines("nothing").await;
        assert_eq!(client.lines(check).await, ["✓ right"]);
    });
}

#[test]
fn cells_that_are_asked_for_at_once_have_their_own_lines() {
    with_front(&[], async |client| {
        let mut ids = Vec::new();
        for number in 0..6 {
            let code = format!("late {}", number % 3);
            ids.push((client.execute(&code).await, code));
        }
        for (id, line) in ids {
            let all = client.published_until_idle(&id).await;
            let printed: Vec<_> = all.iter().filter(|(_, what)| !["busy", "idle"].contains(&what.as_str())).collect();
            assert_eq!(printed, [&(id.clone(), line)]);
            assert_eq!(client.reply().await.parent.msg_id, id);
        }
    });
}

#[test]
fn many_lines_come_whole_and_in_order() {
    with_front(&[], async |client| {
        let expected: Vec<String> = (0..5000).map(|line| line.to_string()).collect();
        assert_eq!(client.lines("lines 5000").await, expected);
    });
}

#[test]
fn a_cell_costs_little() {
    with_front(&[], async |client| {
        client.lines("nothing").await;
        // The best of many, beside the best of as many sleeps: the machine may be busy.
        let (mut best, mut best_sleep) = (Duration::MAX, Duration::MAX);
        for _ in 0..40 {
            let start = Instant::now();
            client.lines("nothing").await;
            best = best.min(start.elapsed());
            let start = Instant::now();
            tokio::time::sleep(QUIET + HANDOVER).await;
            best_sleep = best_sleep.min(start.elapsed());
        }
        assert!(best < 3 * best_sleep + Duration::from_millis(5), "{best:?} beside {best_sleep:?}");
    });
}

#[test]
fn it_is_answered_while_the_kernel_loads_and_the_cell_is_run_after() {
    with_front(&[("TEST_LOADS", "1500".into())], async |client| {
        let start = Instant::now();
        let id = client.ask("kernel_info_request", &json!({})).await;
        assert_eq!(client.reply().await.content()["language_info"]["name"], "Rust");
        assert!(start.elapsed() < Duration::from_secs(1));
        client.published_until_idle(&id).await;
        assert_eq!(client.lines("late 1").await, ["late 1"]);
        assert!(start.elapsed() > Duration::from_secs(1));
    });
}

#[test]
fn a_cell_that_waits_for_long_is_told_why() {
    with_front(&[("TEST_LOADS", "5500".into())], async |client| {
        let lines = client.lines("late 1").await;
        // And it is taken back when the cell runs.
        assert!(
            lines.len() == 3 && lines[0].starts_with("The kernel loads") && lines[1].is_empty() && lines[2] == "late 1",
            "{lines:?}"
        );
    });
}

#[test]
fn a_kernel_that_dies_at_its_start_is_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let starts = folder.path().join("starts");
    with_front(&[("TEST_DIES_AT_FIRST", starts.to_str().unwrap().to_owned())], async |client| {
        assert_eq!(client.lines("late 1").await, ["late 1"]);
        assert_eq!(std::fs::read_to_string(&starts).unwrap(), "xx");
    });
}

#[test]
fn a_kernel_that_dies_later_is_jupyters_to_see() {
    with_front(&[], async |client| {
        assert_eq!(client.lines("late 1").await, ["late 1"]);
        client.execute("die").await;
        assert_eq!((&mut client.front).await.unwrap().unwrap(), ExitCode::FAILURE);
    });
}

#[test]
fn an_interrupt_between_cells_does_not_reach_the_kernel() {
    with_front(&[], async |client| {
        assert_eq!(client.lines("interrupts").await, ["0"]);
        client.ask("interrupt_request", &json!({})).await;
        let reply = Message::parse(client.control.1.recv().await.unwrap()).unwrap();
        assert_eq!((reply.header.msg_type.as_str(), &reply.content()["status"]), ("interrupt_reply", &json!("ok")));
        assert_eq!(client.lines("interrupts").await, ["0"]);
    });
}

#[test]
fn an_interrupt_drops_the_cells_that_wait_and_frees_one_that_asks() {
    with_front(&[], async |client| {
        assert_eq!(client.lines("interrupts").await, ["0"]);
        let asks = client.execute("ask").await;
        let waits = client.execute("late 1").await;
        let question = Message::parse(client.stdin.1.recv().await.unwrap()).unwrap();
        assert_eq!((question.header.msg_type.as_str(), question.parent.msg_id == asks), ("input_request", true));
        client.ask("interrupt_request", &json!({})).await;
        client.published_until_idle(&waits).await;
        let reply = client.reply().await;
        assert_eq!((reply.parent.msg_id == waits, &reply.content()["status"]), (true, &json!("aborted")));
        let all = client.published_until_idle(&asks).await;
        // The fake does not say that what ran the cells is gone, so the front says it, and has it looked after.
        assert!(all.iter().any(|(_, what)| what.starts_with("Interrupted")), "{all:?}");
        assert_eq!(client.reply().await.parent.msg_id, asks);
        assert_eq!(client.lines("interrupts").await, ["1"]);
    });
}

#[test]
fn what_is_typed_reaches_the_cell_that_asks() {
    with_front(&[], async |client| {
        let id = client.execute("ask").await;
        let question = Message::parse(client.stdin.1.recv().await.unwrap()).unwrap();
        let answer = client.signer.make("input_reply", vec![], &question.parts[0], &json!({"value": "42"}));
        client.stdin.0.send(answer.frames()).await.unwrap();
        let all = client.published_until_idle(&id).await;
        assert!(all.contains(&(id, "read \"42\"".into())), "{all:?}");
    });
}

#[test]
fn nobody_without_the_key_is_heard() {
    with_front(&[], async |client| {
        let key = std::mem::replace(&mut client.signer, Signer::new("a guess"));
        client.ask("shutdown_request", &json!({})).await;
        client.execute("die").await;
        client.signer = key;
        assert_eq!(client.lines("late 1").await, ["late 1"]);
    });
}

/// Connects as a client does, and sends a command that is none.
async fn send_nonsense(file: &File, channel: &str, kind: &str) {
    use std::io::Write;
    let mut sent = vec![0; 64];
    (sent[0], sent[9], sent[10]) = (0xff, 0x7f, 3);
    sent[12..16].copy_from_slice(b"NULL");
    let ready = [b"\x05READY\x0bSocket-Type\0\0\0".as_slice(), &[kind.len() as u8], kind.as_bytes()].concat();
    sent.extend([4, ready.len() as u8]);
    sent.extend(ready);
    // A command without a name.
    sent.extend([4, 0]);
    let mut socket = std::net::TcpStream::connect(file.endpoint(channel).unwrap().trim_start_matches("tcp://")).unwrap();
    socket.write_all(&sent).unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
}

#[test]
fn a_strangers_nonsense_makes_no_channel_deaf() {
    with_front(&[], async |client| {
        for (channel, kind) in [("shell", "DEALER"), ("control", "DEALER"), ("stdin", "DEALER"), ("hb", "REQ")] {
            send_nonsense(&client.file, channel, kind).await;
        }
        assert_eq!(client.lines("late 1").await, ["late 1"]);
        client.ask("interrupt_request", &json!({})).await;
        assert_eq!(Message::parse(client.control.1.recv().await.unwrap()).unwrap().header.msg_type, "interrupt_reply");
        let mut heart = zeromq::ReqSocket::new();
        heart.connect(&client.file.endpoint("hb").unwrap()).await.unwrap();
        heart.send("beats".into()).await.unwrap();
        assert_eq!(heart.recv().await.unwrap().into_vec(), ["beats"]);
    });
}

#[test]
fn nobody_without_the_key_is_taken_for_the_kernel() {
    with_front(&[], async |client| {
        assert_eq!(client.lines("forged").await, ["the kernel's own"]);
        assert_eq!(client.lines("late 1").await, ["late 1"]);
    });
}

#[test]
fn it_ends_when_it_is_asked_to_even_in_the_middle_of_a_cell() {
    for code in ["late 1", "spin"] {
        with_front(&[], async |client| {
            client.lines("nothing").await;
            client.execute(code).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
            let start = Instant::now();
            client.ask("shutdown_request", &json!({"restart": true})).await;
            let reply = Message::parse(client.control.1.recv().await.unwrap()).unwrap();
            assert_eq!(reply.content(), json!({"status": "ok", "restart": true}));
            assert_eq!((&mut client.front).await.unwrap().unwrap(), ExitCode::SUCCESS);
            assert!(start.elapsed() < Duration::from_secs(3));
        });
    }
}

#[test]
fn two_clients_have_their_own_answers_and_both_hear_all() {
    with_front(&[], async |client| {
        let mut other = client.another().await;
        for _ in 0..10 {
            let (first, second) = (client.execute("late 3").await, other.execute("late 1").await);
            for client in [&mut *client, &mut other] {
                let mut heard = client.published_until_idle(&first).await;
                heard.extend(client.published_until_idle(&second).await);
                for (id, line) in [(&first, "late 3"), (&second, "late 1")] {
                    let printed: Vec<_> = heard.iter().filter(|(_, what)| what == line).collect();
                    assert_eq!(printed, [&(id.clone(), line.to_owned())]);
                }
            }
            assert_eq!(client.reply().await.parent.msg_id, first);
            assert_eq!(other.reply().await.parent.msg_id, second);
        }
    });
}

#[test]
fn a_client_that_vanishes_costs_its_answer_and_nothing_else() {
    with_front(&[], async |client| {
        for code in ["late 50", "lines 2000", "ask"] {
            let mut other = client.another().await;
            other.execute(code).await;
            if code != "ask" {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            drop(other);
            if code == "ask" {
                // Nobody is left who could answer it; what frees it in any case is an interrupt.
                tokio::time::sleep(Duration::from_millis(100)).await;
                client.ask("interrupt_request", &json!({})).await;
            }
            assert_eq!(client.lines("late 1").await, ["late 1"]);
        }
    });
}

#[test]
fn a_completion_is_answered_while_a_cell_runs_and_others_wait() {
    with_front(&[], async |client| {
        client.lines("nothing").await;
        let asks = client.execute("ask").await;
        let waits = client.execute("late 1").await;
        let question = Message::parse(client.stdin.1.recv().await.unwrap()).unwrap();
        let completes = client.ask("complete_request", &json!({"code": "a", "cursor_pos": 1})).await;
        assert_eq!(client.reply().await.parent.msg_id, completes);
        let answer = client.signer.make("input_reply", vec![], &question.parts[0], &json!({"value": "42"}));
        client.stdin.0.send(answer.frames()).await.unwrap();
        assert_eq!(client.reply().await.parent.msg_id, asks);
        assert_eq!(client.reply().await.parent.msg_id, waits);
    });
}

#[test]
fn the_state_is_said_again_to_who_has_not_heard_it_at_once() {
    with_front(&[], async |client| {
        let id = client.ask("kernel_info_request", &json!({})).await;
        client.reply().await;
        let first = client.published_until_idle(&id).await;
        // Of what belongs to such a question JupyterLab takes no notice.
        let again = client.published_until_idle("").await;
        let states = |all: Vec<(String, String)>, asked: &str| {
            all.into_iter().filter(|(of, _)| of == asked).map(|(_, what)| what).collect::<Vec<_>>()
        };
        assert_eq!(
            (states(first, &id), states(again, "")),
            (vec!["busy".to_owned(), "idle".to_owned()], vec!["idle".to_owned()])
        );
        // In the middle of a cell the last word is that it is busy.
        let asks = client.execute("ask").await;
        let question = Message::parse(client.stdin.1.recv().await.unwrap()).unwrap();
        let id = client.ask("kernel_info_request", &json!({})).await;
        client.reply().await;
        client.published_until_idle(&id).await;
        client.published_until_idle("").await;
        let answer = client.signer.make("input_reply", vec![], &question.parts[0], &json!({"value": "42"}));
        client.stdin.0.send(answer.frames()).await.unwrap();
        let rest = client.published_until_idle(&asks).await;
        assert_eq!(rest.first().unwrap(), &(asks, "busy".to_owned()));
    });
}
