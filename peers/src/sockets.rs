//! What a message costs over TCP and UDP on the loopback.
//!
//! In N5 the server runs in its own thread on the runtime under test. Its client is the same for all: one thread with blocking sockets of
//! the standard library, one request under way on each connection; it takes the reply of one connection, sends the next request there, and
//! goes on to the next connection. That is one read and one write a request, the least that a client can do, so that the server is what
//! limits, and while the client waits for one connection the others' requests are there for the server to find.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use socket2::SockRef;

use crate::meter::{Budget, Sample, cpu_time, measure, measure_async};
use crate::runtime::Net;
use crate::table::{FLOOR, Table};

pub(crate) fn add<R: Net>(table: &mut Table) {
    table.add("N3", R::NAME, datagrams::<R>);
    table.add("N5-1", R::NAME, |budget| echo::<R>(budget, 1));
    table.add("N5-50", R::NAME, |budget| echo::<R>(budget, 50));
    table.add("N5-1000", R::NAME, |budget| echo::<R>(budget, 1_000));
    table.add("one-thread", R::NAME, |budget| echo_in_one_thread::<R>(budget, 50));
}

pub(crate) fn add_floor(table: &mut Table) {
    table.add("N3", FLOOR, floor_of_datagrams);
    #[cfg(target_os = "linux")]
    {
        table.add("N5-1", FLOOR, |budget| ask_server(budget, 1, bare_epoll_server));
        table.add("N5-50", FLOOR, |budget| ask_server(budget, 50, bare_epoll_server));
        table.add("N5-1000", FLOOR, |budget| ask_server(budget, 1_000, bare_epoll_server));
    }
    table.add("one-thread", FLOOR, |budget| floor_of_one_thread(budget, 50));
}

/// Lets this process have the descriptors that N5 wants, as far as the system allows.
pub(crate) fn raise_descriptor_limit() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let now = getrlimit(Resource::Nofile);
        let want = now.maximum.unwrap_or(4_096).min(4_096);
        if now.current.is_some_and(|current| current < want) {
            _ = setrlimit(Resource::Nofile, Rlimit { current: Some(want), maximum: now.maximum });
        }
    }
}

const DATAGRAM: usize = 1024;
const DATAGRAMS: usize = 100;

/// One socket sends a datagram to another, which receives it.
fn datagrams<R: Net>(budget: Budget) -> Sample {
    let mut rt = R::new();
    let spawner = rt.spawner();
    rt.block_on(async {
        let (from, _) = R::udp(&spawner).await;
        let (to, address) = R::udp(&spawner).await;
        let (from, to) = (&from, &to);
        measure_async(budget, DATAGRAMS as u64, async || {
            R::datagrams(from, to, address, vec![b'u'; DATAGRAM], DATAGRAMS).await;
        })
        .await
    })
}

fn floor_of_datagrams(budget: Budget) -> Sample {
    let from = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let to = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let address = to.local_addr().expect("its address");
    measure(budget, DATAGRAMS as u64, || {
        let message = vec![b'u'; DATAGRAM];
        let mut buffer = vec![0; DATAGRAM];
        for _ in 0..DATAGRAMS {
            from.send_to(&message, address).expect("a datagram sent");
            let (read, _) = to.recv_from(&mut buffer).expect("a datagram received");
            assert_eq!(read, DATAGRAM);
        }
    })
}

/// What a server did: the bytes it sent back, and the time of its thread from the last accept on.
struct Served {
    bytes: u64,
    cpu: Option<Duration>,
}

const MESSAGE: [u8; 128] = [b'm'; 128];

/// A server on the runtime under test, in a thread of its own, with the client that is the same for all.
fn echo<R: Net>(budget: Budget, connections: usize) -> Sample {
    ask_server(budget, connections, |connections, tell| {
        let mut rt = R::new();
        let spawner = rt.spawner();
        rt.block_on(async {
            let (listener, address) = R::listen(&spawner).await;
            tell.send(address).expect("the client listens");
            let mut tasks = Vec::with_capacity(connections);
            for _ in 0..connections {
                tasks.push(R::spawn(&spawner, R::echo(R::accept(&listener).await)));
            }
            let before = cpu_time();
            let mut bytes = 0;
            for task in tasks {
                bytes += task.await;
            }
            Served { bytes, cpu: since(before) }
        })
    })
}

fn since(before: Option<Duration>) -> Option<Duration> {
    before.and_then(|before| Some(cpu_time()? - before))
}

fn ask_server(
    budget: Budget,
    connections: usize,
    server: impl FnOnce(usize, mpsc::Sender<SocketAddr>) -> Served + Send + 'static,
) -> Sample {
    let (tell, told) = mpsc::channel();
    let server = thread::spawn(move || server(connections, tell));
    let address = told.recv().expect("the server's address");

    let mut requests: u64 = 0;
    let mut clients = Vec::with_capacity(connections);
    for _ in 0..connections {
        let mut client = TcpStream::connect(address).expect("a connection");
        client.set_nodelay(true).expect("no delay");
        // Close by reset, so that thousands of connections leave nothing behind in the system.
        SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("no lingering");
        // The first round trip makes sure that it is accepted: no listener's backlog is ever full.
        send(&mut client);
        take(&mut client);
        requests += 1;
        clients.push(client);
    }

    clients.iter_mut().for_each(send);
    let turns = (2_000 / connections).max(5);
    let mut sample = measure(budget, (connections * turns) as u64, || {
        for _ in 0..turns {
            for client in &mut clients {
                take(client);
                send(client);
            }
        }
        requests += (connections * turns) as u64;
    });
    clients.iter_mut().for_each(take);
    requests += connections as u64;
    drop(clients);

    let served = server.join().expect("the server ends");
    assert_eq!(served.bytes, requests * MESSAGE.len() as u64);
    sample.cpu = served.cpu.map(|cpu| cpu.as_nanos() as f64 / requests as f64);
    sample
}

fn send(client: &mut TcpStream) {
    client.write_all(&MESSAGE).expect("a request");
}

fn take(client: &mut TcpStream) {
    let mut reply = [0; MESSAGE.len()];
    client.read_exact(&mut reply).expect("a reply");
    assert_eq!(reply, MESSAGE);
}

/// The least server: `epoll_wait`, then a read and a write for each event.
#[cfg(target_os = "linux")]
fn bare_epoll_server(connections: usize, tell: mpsc::Sender<SocketAddr>) -> Served {
    use rustix::event::epoll;

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
    tell.send(listener.local_addr().expect("its address")).expect("the client listens");
    let poller = epoll::create(epoll::CreateFlags::CLOEXEC).expect("an epoll");
    let add = |source: &dyn rustix::fd::AsFd, key| {
        let data = epoll::EventData::new_u64(key);
        epoll::add(&poller, source.as_fd(), data, epoll::EventFlags::IN).expect("registered");
    };
    let mut streams: Vec<TcpStream> = Vec::with_capacity(connections);
    add(&listener, connections as u64);

    let mut events = Vec::with_capacity(1_024);
    let mut buffer = [0; crate::runtime::ECHO_BUFFER];
    let mut open = connections;
    let mut bytes = 0;
    let mut before = None;
    while open > 0 {
        events.clear();
        epoll::wait(&poller, rustix::buffer::spare_capacity(&mut events), None).expect("events");
        for event in &events {
            let key = event.data.u64() as usize;
            if key == connections {
                let (stream, _) = listener.accept().expect("a connection");
                add(&stream, streams.len() as u64);
                streams.push(stream);
                if streams.len() == connections {
                    before = cpu_time();
                }
                continue;
            }
            let mut stream = &streams[key];
            match stream.read(&mut buffer) {
                Ok(read @ 1..) => {
                    stream.write_all(&buffer[..read]).expect("an echo");
                    bytes += read as u64;
                }
                _ => {
                    epoll::delete(&poller, stream).expect("registered before");
                    open -= 1;
                }
            }
        }
    }
    Served { bytes, cpu: since(before) }
}

const SHORT: usize = 64;
const ROUNDS: usize = 40;

/// Server and clients as tasks of the same runtime in one thread.
fn echo_in_one_thread<R: Net>(budget: Budget, connections: usize) -> Sample {
    let mut rt = R::new();
    let spawner = rt.spawner();
    let spawner = &spawner;
    rt.block_on(async {
        let (listener, address) = R::listen(spawner).await;
        let mut servers = Vec::with_capacity(connections);
        let mut clients = Vec::with_capacity(connections);
        for _ in 0..connections {
            let own = spawner.clone();
            let client = R::spawn(spawner, async move { R::connect(&own, address).await });
            servers.push(R::spawn(spawner, R::echo(R::accept(&listener).await)));
            clients.push(client.await);
        }
        let mut iterations = 0;
        let clients = &mut clients;
        let sample = measure_async(budget, (connections * ROUNDS) as u64, async || {
            let mut asking = Vec::with_capacity(connections);
            for client in clients.drain(..) {
                asking.push(R::spawn(spawner, R::ask(client, vec![b's'; SHORT], ROUNDS)));
            }
            for client in asking {
                clients.push(client.await);
            }
            iterations += 1;
        })
        .await;
        clients.clear();
        let mut bytes = 0;
        for server in servers {
            bytes += server.await;
        }
        assert_eq!(bytes, (iterations * connections * ROUNDS * SHORT) as u64);
        sample
    })
}

/// Two reads and two writes a round trip, in an order that never waits.
fn floor_of_one_thread(budget: Budget, connections: usize) -> Sample {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
    let address = listener.local_addr().expect("its address");
    let mut pairs = Vec::with_capacity(connections);
    for _ in 0..connections {
        let client = TcpStream::connect(address).expect("a connection");
        pairs.push((client, listener.accept().expect("a connection").0));
    }
    measure(budget, (connections * ROUNDS) as u64, || {
        let message = [b's'; SHORT];
        let mut reply = [0; SHORT];
        let mut buffer = [0; crate::runtime::ECHO_BUFFER];
        for _ in 0..ROUNDS {
            for (client, _) in &mut pairs {
                client.write_all(&message).expect("a request");
            }
            for (_, server) in &mut pairs {
                let read = server.read(&mut buffer).expect("a request");
                server.write_all(&buffer[..read]).expect("an echo");
            }
            for (client, _) in &mut pairs {
                client.read_exact(&mut reply).expect("a reply");
                assert_eq!(reply, message);
            }
        }
    })
}
