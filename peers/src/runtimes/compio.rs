//! compio on its polling driver: the io_uring one is another machine altogether.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use compio::BufResult;
use compio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use compio::net::{TcpListener, TcpStream, UdpSocket};
use compio::runtime::Runtime;

use crate::runtime::{ECHO_BUFFER, Net, Rt, Spawn, Timers};

#[derive(Debug)]
pub(crate) struct Compio(Runtime);

impl Rt for Compio {
    const NAME: &'static str = "compio";

    fn new() -> Self {
        let runtime = Runtime::new().expect("a compio runtime");
        assert!(runtime.driver_type().is_polling());
        Self(runtime)
    }

    fn block_on<F: Future>(&mut self, future: F) -> F::Output {
        self.0.block_on(future)
    }
}

impl Spawn for Compio {
    type Spawner = ();

    fn spawner(&self) {}

    fn spawn<T: 'static, F: Future<Output = T> + 'static>((): &(), future: F) -> impl Future<Output = T> + use<T, F> + 'static {
        let task = compio::runtime::spawn(future);
        async move { task.await.expect("a task does not panic") }
    }
}

impl Timers for Compio {
    fn sleep((): &(), duration: Duration) -> impl Future<Output = ()> + use<> + 'static {
        compio::time::sleep(duration)
    }

    async fn timeout<F: Future>((): &(), duration: Duration, future: F) -> Option<F::Output> {
        compio::time::timeout(duration, future).await.ok()
    }
}

impl Net for Compio {
    type Listener = TcpListener;
    type Stream = TcpStream;
    type Udp = UdpSocket;

    async fn listen((): &()) -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a listener");
        let address = listener.local_addr().expect("its address");
        (listener, address)
    }

    async fn accept(listener: &TcpListener) -> TcpStream {
        listener.accept().await.expect("a connection").0
    }

    async fn connect((): &(), address: SocketAddr) -> TcpStream {
        TcpStream::connect(address).await.expect("a connection")
    }

    async fn echo(mut stream: TcpStream) -> u64 {
        let mut buffer = Vec::with_capacity(ECHO_BUFFER);
        let mut total = 0;
        loop {
            let BufResult(read, filled) = stream.read(buffer).await;
            let Ok(read @ 1..) = read else { return total };
            let BufResult(written, emptied) = stream.write_all(filled).await;
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
            let BufResult(written, back) = stream.write_all(request).await;
            written.expect("a request");
            request = back;
            let BufResult(read, back) = stream.read_exact(reply).await;
            read.expect("a reply");
            reply = back;
        }
        assert_eq!(reply, message);
        stream
    }

    async fn udp((): &()) -> (UdpSocket, SocketAddr) {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a socket");
        let address = socket.local_addr().expect("its address");
        (socket, address)
    }

    async fn datagrams(from: &UdpSocket, to: &UdpSocket, address: SocketAddr, message: Vec<u8>, rounds: usize) {
        let length = message.len();
        let mut request = message;
        let mut buffer = Vec::with_capacity(length);
        for _ in 0..rounds {
            let BufResult(sent, back) = from.send_to(request, address).await;
            sent.expect("a datagram sent");
            request = back;
            let BufResult(received, back) = to.recv_from(buffer).await;
            assert_eq!(received.expect("a datagram received").0, length);
            buffer = back;
            buffer.clear();
        }
    }
}
