//! smol: a `LocalExecutor`, driven by async-io's `block_on`.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use smol::LocalExecutor;
use smol::future::FutureExt;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::{TcpListener, TcpStream, UdpSocket};

use crate::runtime::{ECHO_BUFFER, Net, Rt, Spawn, Timers};

#[derive(Debug)]
pub(crate) struct Smol(Rc<LocalExecutor<'static>>);

impl Rt for Smol {
    const NAME: &'static str = "smol";

    fn new() -> Self {
        Self(Rc::new(LocalExecutor::new()))
    }

    fn block_on<F: Future>(&mut self, future: F) -> F::Output {
        smol::block_on(self.0.run(future))
    }
}

impl Spawn for Smol {
    type Spawner = Rc<LocalExecutor<'static>>;

    fn spawner(&self) -> Self::Spawner {
        self.0.clone()
    }

    fn spawn<T: 'static, F: Future<Output = T> + 'static>(
        spawner: &Self::Spawner,
        future: F,
    ) -> impl Future<Output = T> + use<T, F> + 'static {
        spawner.spawn(future)
    }

    fn yield_now() -> impl Future<Output = ()> + 'static {
        smol::future::yield_now()
    }
}

impl Timers for Smol {
    fn sleep(_: &Self::Spawner, duration: Duration) -> impl Future<Output = ()> + use<> + 'static {
        let timer = smol::Timer::after(duration);
        async move {
            timer.await;
        }
    }

    /// smol has no `timeout`: its documentation races the future against a timer.
    async fn timeout<F: Future>(_: &Self::Spawner, duration: Duration, future: F) -> Option<F::Output> {
        async { Some(future.await) }
            .or(async {
                smol::Timer::after(duration).await;
                None
            })
            .await
    }
}

impl Net for Smol {
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
