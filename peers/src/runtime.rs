//! What a workload may ask of a runtime.
//!
//! A workload is generic over these traits, so that each runtime does the same work; a runtime implements those that it can,
//! each with its own idiom. Nothing here allocates, boxes or wraps: what a runtime does not cost, this does not add.

use std::future::Future;
use std::hint::black_box;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// The bytes that an echo server is ready to take at once: more than any message here, so that one read takes a message whole.
pub(crate) const ECHO_BUFFER: usize = 1024;

/// Runs one future to its end.
pub(crate) trait Rt: Sized + 'static {
    /// The column of the table.
    const NAME: &'static str;

    fn new() -> Self;

    fn block_on<F: Future>(&mut self, future: F) -> F::Output;
}

/// Runs tasks beside it.
pub(crate) trait Spawn: Rt {
    /// What a task needs to spawn another one: nothing where the runtime keeps itself in a thread-local.
    type Spawner: Clone + 'static;

    fn spawner(&self) -> Self::Spawner;

    /// Starts a task. Dropping what this returns may cancel it: keep it and await it.
    fn spawn<T: 'static, F: Future<Output = T> + 'static>(
        spawner: &Self::Spawner,
        future: F,
    ) -> impl Future<Output = T> + use<Self, T, F> + 'static;

    /// Lets the others go first: the runtime's own way where it has one, else a future that wakes itself once.
    fn yield_now() -> impl Future<Output = ()> + 'static {
        SelfWake::times(1)
    }
}

/// Knows the time.
pub(crate) trait Timers: Spawn {
    fn sleep(spawner: &Self::Spawner, duration: Duration) -> impl Future<Output = ()> + use<Self> + 'static;

    /// `None` when the time was up first.
    fn timeout<F: Future>(spawner: &Self::Spawner, duration: Duration, future: F) -> impl Future<Output = Option<F::Output>>;
}

/// Talks to the network. Addresses are on the loopback, ports are the system's choice; what goes wrong here panics.
pub(crate) trait Net: Spawn {
    type Listener: 'static;
    type Stream: 'static;
    type Udp: 'static;

    fn listen(spawner: &Self::Spawner) -> impl Future<Output = (Self::Listener, SocketAddr)>;

    fn accept(listener: &Self::Listener) -> impl Future<Output = Self::Stream>;

    fn connect(spawner: &Self::Spawner, address: SocketAddr) -> impl Future<Output = Self::Stream>;

    /// Sends back what comes, until the peer goes away; how many bytes that were. Reads into [`ECHO_BUFFER`] bytes.
    fn echo(stream: Self::Stream) -> impl Future<Output = u64> + use<Self> + 'static;

    /// Sends `message` and reads as many bytes back, `rounds` times; checks the last reply.
    fn ask(stream: Self::Stream, message: Vec<u8>, rounds: usize) -> impl Future<Output = Self::Stream> + use<Self> + 'static;

    fn udp(spawner: &Self::Spawner) -> impl Future<Output = (Self::Udp, SocketAddr)>;

    /// Sends `message` from one socket to the other and receives it there, `rounds` times; checks each length.
    fn datagrams(
        from: &Self::Udp,
        to: &Self::Udp,
        address: SocketAddr,
        message: Vec<u8>,
        rounds: usize,
    ) -> impl Future<Output = ()>;
}

/// Wakes itself and stays pending, so many times; then is ready. The least future that makes an executor work.
#[derive(Debug)]
pub(crate) struct SelfWake {
    left: usize,
}

impl SelfWake {
    pub(crate) fn times(left: usize) -> Self {
        Self { left }
    }
}

impl Future for SelfWake {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.left == 0 {
            return Poll::Ready(());
        }
        // Hidden from the compiler: where it sees through a runtime's waker it leaves out the whole loop.
        self.left = black_box(self.left) - 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
