//! monoio on its epoll driver ("legacy"), with its timer, without its `sync` feature.
//!
//! That feature makes its wakers work from other threads, and makes its main future a task; the fastest monoio does without,
//! and panics where a waker is used from elsewhere.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use monoio::io::{AsyncReadRent, AsyncReadRentExt, AsyncWriteRentExt};
use monoio::net::udp::UdpSocket;
use monoio::net::{TcpListener, TcpStream};
use monoio::time::TimeDriver;
use monoio::{LegacyDriver, Runtime, RuntimeBuilder};

use crate::runtime::{ECHO_BUFFER, Net, Rt, Spawn, Timers};

pub(crate) struct Monoio(Runtime<TimeDriver<LegacyDriver>>);

impl Rt for Monoio {
    const NAME: &'static str = "monoio";

    fn new() -> Self {
        Self(RuntimeBuilder::<LegacyDriver>::new().enable_timer().build().expect("a monoio runtime"))
    }

    fn block_on<F: Future>(&mut self, future: F) -> F::Output {
        self.0.block_on(future)
    }
}

impl Spawn for Monoio {
    type Spawner = ();

    fn spawner(&self) {}

    fn spawn<T: 'static, F: Future<Output = T> + 'static>((): &(), future: F) -> impl Future<Output = T> + use<T, F> + 'static {
        monoio::spawn(future)
    }
}

impl Timers for Monoio {
    fn sleep((): &(), duration: Duration) -> impl Future<Output = ()> + use<> + 'static {
        monoio::time::sleep(duration)
    }

    async fn timeout<F: Future>((): &(), duration: Duration, future: F) -> Option<F::Output> {
        monoio::time::timeout(duration, future).await.ok()
    }
}

impl Net for Monoio {
    type Listener = TcpListener;
    type Stream = TcpStream;
    type Udp = UdpSocket;

    async fn listen((): &()) -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
        let address = listener.local_addr().expect("its address");
        (listener, address)
    }

    async fn accept(listener: &TcpListener) -> TcpStream {
        listener.accept().await.expect("a connection").0
    }

    async fn connect((): &(), address: SocketAddr) -> TcpStream {
        TcpStream::connect_addr(address).await.expect("a connection")
    }

    async fn echo(mut stream: TcpStream) -> u64 {
        let mut buffer = Vec::with_capacity(ECHO_BUFFER);
        let mut total = 0;
        loop {
            let (read, filled) = stream.read(buffer).await;
            let Ok(read @ 1..) = read else { return total };
            let (written, emptied) = stream.write_all(filled).await;
            written.expect("an echo");
            total += read as u64;
            buffer = emptied;
            buffer.clear();
        }
    }

    async fn ask(mut stream: TcpStream, message: Vec<u8>, rounds: usize) -> TcpStream {
        let mut request = message.clone();
        let mut reply = vec![0; message.len()];
        for _ in 0..rounds {
            let (written, back) = stream.write_all(request).await;
            written.expect("a request");
            request = back;
            let (read, back) = stream.read_exact(reply).await;
            read.expect("a reply");
            reply = back;
        }
        assert_eq!(reply, message);
        stream
    }

    async fn udp((): &()) -> (UdpSocket, SocketAddr) {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        let address = socket.local_addr().expect("its address");
        (socket, address)
    }

    async fn datagrams(from: &UdpSocket, to: &UdpSocket, address: SocketAddr, message: Vec<u8>, rounds: usize) {
        let length = message.len();
        let mut request = message;
        let mut buffer = Vec::with_capacity(length);
        for _ in 0..rounds {
            let (sent, back) = from.send_to(request, address).await;
            sent.expect("a datagram sent");
            request = back;
            let (received, back) = to.recv_from(buffer).await;
            assert_eq!(received.expect("a datagram received").0, length);
            buffer = back;
            buffer.clear();
        }
    }
}
