//! A key-value server that speaks a little Redis: something to leave running.
//!
//! ```text
//! cargo run --release --example keyvalue                                       serve on a free port, and print the address
//! cargo run --release --example keyvalue -- 127.0.0.1:6380 --trace 127.0.0.1:6381
//! redis-cli -p 6380 set colour teal                                             (or nc: type `set colour teal`)
//! redis-benchmark -p 6380 -t get,set -c 50 -n 100000
//! a browser on http://127.0.0.1:6381/                                           what the engine did in the last moment, as a picture
//! ```
//!
//! What to look at: everything has a limit. How many clients, how many bytes they may store, how long a command may be, how long a client may say
//! nothing, how long it may not read what it asked for. And the end is in good order: at Ctrl-C (or SIGTERM) no new client is
//! let in, what has arrived is answered, and who is not done after [`GRACE`] is cut off. How a connection learns of the end: its
//! socket's reading side is shut, so that it sees the end of what it is sent, as if the client had gone. Nothing is asked in each turn.

mod store;

use clap::Parser;
use futures::channel::mpsc;
use futures::future::{Either, select};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use futures::{FutureExt, StreamExt, select_biased};
use pinlab::{Handle, Runtime, TcpListener, TcpStream};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr};
use std::pin::pin;
use std::process::ExitCode;
use std::rc::{Rc, Weak};
use std::time::Duration;
use store::{Next, Store};

/// A key-value server that speaks a little Redis. Ctrl-C ends it, on Unix once what has arrived is answered; a second one at once.
#[derive(Parser)]
struct Arguments {
    /// Where to listen; port 0 lets the system choose one
    #[arg(default_value = "127.0.0.1:0")]
    address: SocketAddr,
    /// Where to show, as a page, what the engine does
    #[arg(long)]
    trace: Option<SocketAddr>,
    /// The most clients at once
    #[arg(long, default_value_t = 1000)]
    clients: usize,
    /// The most that is stored, keys and values together, in MiB
    #[arg(long, default_value_t = 64, value_name = "MIB", value_parser = clap::value_parser!(u16).range(1..))]
    memory: u16,
    /// How long a client may say nothing
    #[arg(long, default_value = "5m")]
    idle: humantime::Duration,
}

/// How long a client may not read what it has asked for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the clients have to come to an end.
const GRACE: Duration = Duration::from_secs(5);
/// How much is read at once.
const CHUNK: usize = 16 << 10;
/// How long the trace page looks.
const LOOK: Duration = Duration::from_millis(200);

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

fn run(arguments: &Arguments) -> io::Result<()> {
    let rt = Rc::new(Runtime::new()?);
    let handle = rt.handle();
    let listener = TcpListener::bind(&handle, arguments.address)?;
    println!("listening on {}", listener.local_addr()?);
    if let Some(address) = arguments.trace {
        let pages = TcpListener::bind(&handle, address)?;
        println!("its trace is on http://{}/", pages.local_addr()?);
        // A weak one: the page does not keep the runtime alive of which it is a task.
        drop(rt.spawn(trace(Rc::downgrade(&rt), handle.clone(), pages)));
    }
    rt.block_on(serve(&handle, listener, arguments))
}

// ---- the server ----------------------------------------------------------------------------------------------

/// What the connections share. All are on one thread: no lock.
struct Shared {
    store: RefCell<Store>,
    /// Those who are here, so that they can be told of the end.
    clients: RefCell<BTreeMap<usize, Rc<TcpStream>>>,
    idle: Duration,
}

/// A client in the list; it leaves the list however its visit ends.
struct Client {
    shared: Rc<Shared>,
    number: usize,
    stream: Rc<TcpStream>,
    /// While one of these exists, somebody is here.
    _here: mpsc::Sender<Infallible>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.shared.clients.borrow_mut().remove(&self.number);
    }
}

async fn serve(handle: &Handle, listener: TcpListener, arguments: &Arguments) -> io::Result<()> {
    let shared = Rc::new(Shared {
        store: RefCell::new(Store::new(usize::from(arguments.memory) << 20)),
        clients: RefCell::default(),
        idle: *arguments.idle,
    });
    let mut signal = Signal::new(handle)?;
    let (here, mut all_gone) = mpsc::channel(0);
    let mut number = 0;
    loop {
        select_biased! {
            () = signal.comes().fuse() => break,
            accepted = listener.accept().fuse() => match accepted {
                Ok((stream, _)) if shared.clients.borrow().len() >= arguments.clients => turn_away(handle, stream),
                Ok((stream, peer)) => {
                    // Replies are small and go out at once.
                    let _ = stream.set_nodelay(true);
                    let stream = Rc::new(stream);
                    number += 1;
                    shared.clients.borrow_mut().insert(number, stream.clone());
                    let client = Client { shared: shared.clone(), number, stream, _here: here.clone() };
                    let visit = visit(handle.clone(), client);
                    drop(handle.spawn(async move {
                        if let Err(error) = visit.await {
                            eprintln!("{peer}: {error}");
                        }
                    }));
                }
                Err(error) => {
                    // No descriptors left, most likely: wait for somebody to leave.
                    eprintln!("accept: {error}");
                    handle.sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    // The end. Nobody new; those who are here see the end of what they are sent, once they have read what has arrived.
    drop(listener);
    drop(here);
    let clients = shared.clients.borrow().len();
    eprintln!("ending: {clients} clients");
    for stream in shared.clients.borrow().values() {
        let _ = stream.shutdown(Shutdown::Read);
    }
    let gone = pin!(handle.timeout(GRACE, all_gone.next()));
    let again = pin!(signal.comes());
    if let Either::Left((Ok(_), _)) = select(gone, again).await {
        eprintln!("ended: all clients have gone");
    } else {
        eprintln!("ended: {} clients were cut off", shared.clients.borrow().len());
    }
    Ok(())
}

fn turn_away(handle: &Handle, stream: TcpStream) {
    let clock = handle.clone();
    drop(handle.spawn(async move {
        let _ = clock.timeout(PATIENCE, (&stream).write_all(b"-ERR max number of clients reached\r\n")).await;
    }));
}

async fn visit(handle: Handle, client: Client) -> io::Result<()> {
    let mut stream = &*client.stream;
    let (mut input, mut replies) = (Vec::new(), Vec::new());
    let mut chunk = vec![0; CHUNK].into_boxed_slice();
    loop {
        let next = client.shared.store.borrow_mut().answer(&mut input, &mut replies);
        if !replies.is_empty() {
            handle.timeout(PATIENCE, stream.write_all(&replies)).await??;
            replies.clear();
        }
        match next {
            Next::Answer => continue,
            Next::Part => return Ok(()),
            Next::Read => {}
        }
        match handle.timeout(client.shared.idle, stream.read(&mut chunk)).await {
            Ok(Ok(0)) => return Ok(()),
            Ok(Ok(got)) => input.extend_from_slice(&chunk[..got]),
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionReset => return Ok(()),
            Ok(Err(error)) => return Err(error),
            Err(elapsed) => return Err(elapsed.into()),
        }
    }
}

// ---- the trace page ------------------------------------------------------------------------------------------

/// Answers whatever is asked with a page of what the engine did in the next moment.
async fn trace(rt: Weak<Runtime>, handle: Handle, pages: TcpListener) {
    loop {
        match pages.accept().await {
            // One after the other: there is one recording.
            Ok((stream, _)) => {
                if let Err(error) = show(&rt, &handle, &stream).await {
                    eprintln!("trace: {error}");
                }
            }
            Err(error) => {
                eprintln!("trace: {error}");
                handle.sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn show(rt: &Weak<Runtime>, handle: &Handle, mut stream: &TcpStream) -> io::Result<()> {
    let mut request = [0; 4096];
    handle.timeout(PATIENCE, stream.read(&mut request)).await??;
    let Some(rt) = rt.upgrade() else { return Ok(()) };
    rt.record();
    handle.sleep(LOOK).await;
    let page = rt.stop_recording().figure().page();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        page.len()
    );
    let answer = [head.as_bytes(), page.as_bytes()].concat();
    handle.timeout(PATIENCE, stream.write_all(&answer)).await?
}

// ---- Ctrl-C --------------------------------------------------------------------------------------------------

/// SIGINT and SIGTERM. The handler writes a byte into one end of a pair of sockets; the other is a source like any other.
#[cfg(unix)]
struct Signal(pinlab::Async<std::os::unix::net::UnixStream>);

#[cfg(unix)]
impl Signal {
    fn new(handle: &Handle) -> io::Result<Self> {
        use signal_hook::{consts, low_level::pipe};
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        pipe::register(consts::SIGINT, theirs.try_clone()?)?;
        pipe::register(consts::SIGTERM, theirs)?;
        Ok(Self(pinlab::Async::new(handle, ours)?))
    }

    async fn comes(&mut self) {
        use std::io::Read;
        let mut byte = [0];
        let _ = self.0.read_with(|mut ours| ours.read(&mut byte)).await;
    }
}

/// Elsewhere Ctrl-C ends the process at once.
#[cfg(not(unix))]
struct Signal;

#[cfg(not(unix))]
impl Signal {
    fn new(_: &Handle) -> io::Result<Self> {
        Ok(Self)
    }

    async fn comes(&mut self) {
        std::future::pending().await
    }
}
