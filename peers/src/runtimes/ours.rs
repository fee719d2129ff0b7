//! The runtime of this crate, through what anybody else can use of it; and its `block_on` alone.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt};
use pinlab::{Handle, Runtime, TcpListener, TcpStream, UdpSocket};

use crate::runtime::{ECHO_BUFFER, Net, Rt, Spawn, Timers};

#[derive(Debug)]
pub(crate) struct Ours(Runtime);

impl Rt for Ours {
    const NAME: &'static str = "pinlab";

    fn new() -> Self {
        Self(Runtime::new().expect("a runtime"))
    }

    fn block_on<F: Future>(&mut self, future: F) -> F::Output {
        self.0.block_on(future)
    }
}

impl Spawn for Ours {
    type Spawner = Handle;

    fn spawner(&self) -> Handle {
        self.0.handle()
    }

    fn spawn<T: 'static, F: Future<Output = T> + 'static>(
        handle: &Handle,
        future: F,
    ) -> impl Future<Output = T> + use<T, F> + 'static {
        let task = handle.spawn(future);
        async move { task.await.expect("a task does not panic") }
    }

    fn yield_now() -> impl Future<Output = ()> + 'static {
        pinlab::yield_now()
    }
}

impl Timers for Ours {
    fn sleep(handle: &Handle, duration: Duration) -> impl Future<Output = ()> + use<> + 'static {
        handle.sleep(duration)
    }

    async fn timeout<F: Future>(handle: &Handle, duration: Duration, future: F) -> Option<F::Output> {
        handle.timeout(duration, future).await.ok()
    }
}

impl Net for Ours {
    type Listener = TcpListener;
    type Stream = TcpStream;
    type Udp = UdpSocket;

    async fn listen(handle: &Handle) -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind(handle, (Ipv4Addr::LOCALHOST, 0)).expect("a listener");
        let address = listener.local_addr().expect("its address");
        (listener, address)
    }

    async fn accept(listener: &TcpListener) -> TcpStream {
        listener.accept().await.expect("a connection").0
    }

    async fn connect(handle: &Handle, address: SocketAddr) -> TcpStream {
        TcpStream::connect(handle, address).await.expect("a connection")
    }

    async fn echo(mut stream: TcpStream) -> u64 {
        let mut buffer = vec![0; ECHO_BUFFER];
        let mut total = 0;
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            stream.write_all(&buffer[..read]).await.expect("an echo");
            total += read as u64;
        }
        total
    }

    async fn ask(mut stream: TcpStream, message: Vec<u8>, rounds: usize) -> TcpStream {
        let mut reply = vec![0; message.len()];
        for _ in 0..rounds {
            stream.write_all(&message).await.expect("a request");
            stream.read_exact(&mut reply).await.expect("a reply");
        }
        assert_eq!(reply, message);
        stream
    }

    async fn udp(handle: &Handle) -> (UdpSocket, SocketAddr) {
        let socket = UdpSocket::bind(handle, (Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        let address = socket.local_addr().expect("its address");
        (socket, address)
    }

    async fn datagrams(from: &UdpSocket, to: &UdpSocket, address: SocketAddr, message: Vec<u8>, rounds: usize) {
        let mut buffer = vec![0; message.len()];
        for _ in 0..rounds {
            from.send_to(&message, address).await.expect("a datagram sent");
            let (read, _) = to.recv_from(&mut buffer).await.expect("a datagram received");
            assert_eq!(read, message.len());
        }
    }
}

#[derive(Debug)]
pub(crate) struct BlockOn;

impl Rt for BlockOn {
    const NAME: &'static str = "pinlab::block_on";

    fn new() -> Self {
        Self
    }

    fn block_on<F: Future>(&mut self, future: F) -> F::Output {
        pinlab::block_on(future)
    }
}
