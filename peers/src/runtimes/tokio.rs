//! tokio on one thread, in its two forms: `current_thread` with a `LocalSet`, and the `LocalRuntime`.

use std::future::Future;
use std::marker::PhantomData;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::{Builder, LocalOptions, LocalRuntime, Runtime};
use tokio::task::LocalSet;

use crate::runtime::{ECHO_BUFFER, Net, Rt, Spawn, Timers};

/// What the two forms do not share.
pub(crate) trait Form: 'static {
    const NAME: &'static str;

    fn new() -> Self;

    fn block_on<F: Future>(&mut self, future: F) -> F::Output;
}

#[derive(Debug)]
pub(crate) struct CurrentThread {
    runtime: Runtime,
    tasks: LocalSet,
}

impl Form for CurrentThread {
    const NAME: &'static str = "tokio LocalSet";

    fn new() -> Self {
        Self { runtime: Builder::new_current_thread().enable_all().build().expect("a tokio runtime"), tasks: LocalSet::new() }
    }

    fn block_on<F: Future>(&mut self, future: F) -> F::Output {
        self.tasks.block_on(&self.runtime, future)
    }
}

#[derive(Debug)]
pub(crate) struct Local(LocalRuntime);

impl Form for Local {
    const NAME: &'static str = "tokio LocalRuntime";

    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        Self(runtime.expect("a tokio local runtime"))
    }

    fn block_on<F: Future>(&mut self, future: F) -> F::Output {
        self.0.block_on(future)
    }
}

/// tokio in one of its forms.
#[derive(Debug)]
pub(crate) struct Tokio<F>(F);

impl<Shape: Form> Rt for Tokio<Shape> {
    const NAME: &'static str = Shape::NAME;

    fn new() -> Self {
        Self(Shape::new())
    }

    fn block_on<F: Future>(&mut self, future: F) -> F::Output {
        self.0.block_on(future)
    }
}

impl<Shape: Form> Spawn for Tokio<Shape> {
    type Spawner = PhantomData<Shape>;

    fn spawner(&self) -> Self::Spawner {
        PhantomData
    }

    fn spawn<T: 'static, F: Future<Output = T> + 'static>(
        _: &Self::Spawner,
        future: F,
    ) -> impl Future<Output = T> + use<Shape, T, F> + 'static {
        let task = tokio::task::spawn_local(future);
        async move { task.await.expect("a task does not panic") }
    }

    fn yield_now() -> impl Future<Output = ()> + 'static {
        tokio::task::yield_now()
    }
}

impl<Shape: Form> Timers for Tokio<Shape> {
    fn sleep(_: &Self::Spawner, duration: Duration) -> impl Future<Output = ()> + use<Shape> + 'static {
        tokio::time::sleep(duration)
    }

    async fn timeout<F: Future>(_: &Self::Spawner, duration: Duration, future: F) -> Option<F::Output> {
        tokio::time::timeout(duration, future).await.ok()
    }
}

impl<Shape: Form> Net for Tokio<Shape> {
    type Listener = TcpListener;
    type Stream = TcpStream;
    type Udp = UdpSocket;

    async fn listen(_: &Self::Spawner) -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a listener");
        let address = listener.local_addr().expect("its address");
        (listener, address)
    }

    async fn accept(listener: &TcpListener) -> TcpStream {
        listener.accept().await.expect("a connection").0
    }

    async fn connect(_: &Self::Spawner, address: SocketAddr) -> TcpStream {
        TcpStream::connect(address).await.expect("a connection")
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

    async fn udp(_: &Self::Spawner) -> (UdpSocket, SocketAddr) {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a socket");
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
