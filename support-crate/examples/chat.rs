//! A chat over TCP: a room, and a client for it.
//!
//! ```text
//! cargo run --example chat                                open a room on a free port, and print the address
//! cargo run --example chat -- 127.0.0.1:7000              open it there
//! cargo run --example chat -- --join 127.0.0.1:7000       come in (so do nc and telnet)
//! ```
//!
//! What to look at: each end waits for two things at once, with `select_biased!`. The branch that loses is dropped, half-way
//! through or not. So both branches must be safe to drop: a channel's `next` is, and `next_line` is because it keeps
//! what it has read in the caller's variable and not in its own.

use clap::Parser;
use futures::channel::mpsc;
use futures::io::{AsyncBufRead, AsyncBufReadExt, AsyncWriteExt, BufReader};
use futures::{FutureExt, StreamExt, select_biased};
use pinlab::{Handle, Runtime, TcpListener, TcpStream, yield_now};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

/// A chat over TCP: a room, and a client for it. The first line that a client sends is its name. Ctrl-C ends it.
#[derive(Parser)]
struct Arguments {
    /// Where to open the room, or which to join; port 0 lets the system choose one
    #[arg(default_value = "127.0.0.1:0")]
    address: SocketAddr,
    /// Be a client: send what is typed, show what the others say
    #[arg(long, requires = "address")]
    join: bool,
}

/// How many bytes a line may have.
const LONGEST_LINE: usize = 4096;
/// How many messages may wait for a client that reads slowly, and for how long it may read nothing at all.
const MOST_WAITING: usize = 100;
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}: {error}", arguments.address);
            ExitCode::FAILURE
        }
    }
}

fn run(&Arguments { address, join }: &Arguments) -> io::Result<()> {
    let rt = Runtime::new()?;
    let handle = rt.handle();
    if join {
        return rt.block_on(client(&handle, address));
    }
    let listener = TcpListener::bind(&handle, address)?;
    println!("listening on {}", listener.local_addr()?);
    rt.block_on(serve(&handle, &listener))
}

// ---- the room ------------------------------------------------------------------------------------------------

/// Who is here, by name, and the way to each. All tasks are on one thread, so an `Rc` and a `RefCell` do: no lock.
/// The one rule is that no borrow is held across an `.await`.
type Room = Rc<RefCell<BTreeMap<String, mpsc::Sender<String>>>>;

fn tell_others(room: &Room, speaker: &str, message: &str) {
    for (_, way) in room.borrow_mut().iter_mut().filter(|(name, _)| *name != speaker) {
        if way.try_send(message.to_owned()).is_err() {
            // Who does not keep up is sent nothing more. The end of the inbox then ends the visit.
            way.close_channel();
        }
    }
}

/// A name in the room's list. It leaves the list however the visit ends: by a goodbye, an error or a panic.
struct Seat<'a> {
    room: &'a Room,
    name: String,
}

impl<'a> Seat<'a> {
    fn take(room: &'a Room, name: String, way: mpsc::Sender<String>) -> Self {
        tell_others(room, &name, &format!("* {name} has joined\n"));
        room.borrow_mut().insert(name.clone(), way);
        Self { room, name }
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.room.borrow_mut().remove(&self.name);
        tell_others(self.room, &self.name, &format!("* {} has left\n", self.name));
    }
}

async fn serve(handle: &Handle, listener: &TcpListener) -> ! {
    let room = Room::default();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let (handle, room) = (handle.clone(), room.clone());
                drop(handle.clone().spawn(async move {
                    if let Err(error) = visit(&handle, &stream, &room).await {
                        eprintln!("{peer}: {error}");
                    }
                }));
            }
            Err(error) => {
                // No descriptors left, most likely: wait for somebody to leave.
                eprintln!("accept: {error}");
                handle.sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn visit(handle: &Handle, stream: &TcpStream, room: &Room) -> io::Result<()> {
    // A shared reference to a stream reads and writes, so this one is read while another one is written.
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    let (way, mut inbox) = mpsc::channel(MOST_WAITING);

    send(handle, stream, "* your name?\n").await?;
    let seat = loop {
        let Some(name) = next_line(&mut reader, &mut line).await? else { return Ok(()) };
        if !name.is_empty() && !room.borrow().contains_key(&name) {
            break Seat::take(room, name, way);
        }
        send(handle, stream, "* that name is taken; another?\n").await?;
    };
    let others: Vec<_> = room.borrow().keys().filter(|name| **name != seat.name).cloned().collect();
    send(handle, stream, &format!("* here: {}\n", if others.is_empty() { "nobody else".into() } else { others.join(", ") }))
        .await?;

    loop {
        // Biased: what others said comes first, so that one who talks without end still hears them.
        select_biased! {
            message = inbox.next() => match message {
                Some(message) => send(handle, stream, &message).await?,
                None => return Err(io::Error::new(ErrorKind::TimedOut, format!("{} reads too slowly", seat.name))),
            },
            line = next_line(&mut reader, &mut line).fuse() => match line? {
                Some(text) => {
                    if !text.is_empty() {
                        tell_others(room, &seat.name, &format!("{}: {text}\n", seat.name));
                    }
                    // Many lines may have come at once. The others are to hear each before the next is said.
                    yield_now().await;
                }
                None => return Ok(()),
            },
        }
    }
}

/// Sends to somebody who may have stopped reading, and must not keep the task for ever.
async fn send(handle: &Handle, mut stream: &TcpStream, text: &str) -> io::Result<()> {
    handle.timeout(PATIENCE, stream.write_all(text.as_bytes())).await?
}

/// The next line without its end, or `None` where there is no more.
///
/// Safe to drop at any time: `fill_buf` takes nothing from the reader, and what is taken is in `line` before the next `.await`.
async fn next_line(reader: &mut (impl AsyncBufRead + Unpin), line: &mut Vec<u8>) -> io::Result<Option<String>> {
    loop {
        let chunk = reader.fill_buf().await?;
        if chunk.is_empty() {
            return Ok(None);
        }
        let end = chunk.iter().position(|&byte| byte == b'\n');
        let taken = end.map_or(chunk.len(), |end| end + 1);
        line.extend_from_slice(&chunk[..taken]);
        reader.consume_unpin(taken);
        if line.len() > LONGEST_LINE {
            return Err(io::Error::new(ErrorKind::InvalidData, format!("a line of more than {LONGEST_LINE} bytes")));
        }
        if end.is_some() {
            // Without the controls, with which one client could play on another one's terminal.
            let text = String::from_utf8_lossy(line).chars().filter(|c| !c.is_control()).collect::<String>();
            line.clear();
            return Ok(Some(text.trim().to_owned()));
        }
    }
}

// ---- the client ----------------------------------------------------------------------------------------------

async fn client(handle: &Handle, address: SocketAddr) -> io::Result<()> {
    let mut stream = &TcpStream::connect(handle, address).await?;
    let mut typed = typed_lines();
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        select_biased! {
            heard = next_line(&mut reader, &mut line).fuse() => match heard? {
                Some(text) => println!("{text}"),
                None => return Ok(()),
            },
            said = typed.next() => match said {
                Some(text) => stream.write_all(text.as_bytes()).await?,
                // Nothing more to say: tell so, and go on listening until the room has said its goodbye. Once a channel has
                // ended, `select_biased!` does not ask it again.
                None => stream.close().await?,
            },
        }
    }
}

/// What is typed, line by line. A terminal cannot be waited for on every system, so a thread does it in the old way; the
/// channel carries its lines over, and its waker wakes our task from there.
fn typed_lines() -> mpsc::UnboundedReceiver<String> {
    let (to, typed) = mpsc::unbounded();
    std::thread::spawn(move || {
        for line in io::stdin().lines() {
            let Ok(line) = line else { return };
            if to.unbounded_send(line + "\n").is_err() {
                return;
            }
        }
    });
    typed
}
