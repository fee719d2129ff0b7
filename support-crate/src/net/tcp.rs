//! TCP: streams. Reading and writing is in `streams`.

use super::no_address;
use super::source::Async;
use crate::runtime::Handle;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
use std::time::Duration;

/// So many seconds can each system count: Windows in 16 bits, Apple's in hundredths and 15 bits.
const MOST_LINGER: u64 = if cfg!(target_vendor = "apple") { 327 } else { 65_535 };

/// So many bytes can each system count: in an `int`, of which socket2 keeps the lower bits only.
const MOST_BYTES: usize = i32::MAX as usize;

/// A TCP connection: [`AsyncRead`](futures::io::AsyncRead) and [`AsyncWrite`](futures::io::AsyncWrite), also through a shared reference, so that it can be read and written at once.
///
/// A read that gave less than was asked for has taken all there was: a second one in the same poll of its runtime waits for an event, without
/// asking the system.
///
/// Set by default: Nagle's algorithm is off (`TCP_NODELAY`), as a latency-minded reader expects, and the socket is non-blocking. All else is the system's
/// default; [`TcpStream::get_ref`] leads to the standard library's socket for what has no method here.
#[derive(Debug)]
pub struct TcpStream(pub(super) Async<std::net::TcpStream>);

impl TcpStream {
    /// Connects; tries the addresses in turn. Names are looked up on this thread, which waits meanwhile: give a literal address where
    /// that matters.
    ///
    /// # Errors
    ///
    /// What the system says of the last address: `ConnectionRefused`, `TimedOut`, …; `InvalidInput` if the name has none; `NotConnected` if the runtime is gone.
    pub async fn connect(handle: &Handle, addr: impl ToSocketAddrs) -> io::Result<Self> {
        let mut result = Err(no_address());
        for addr in addr.to_socket_addrs()? {
            result = Self::connect_one(handle, addr).await;
            if result.is_ok() {
                break;
            }
        }
        result
    }

    async fn connect_one(handle: &Handle, addr: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        let stream = Async::new(handle, std::net::TcpStream::from(socket))?; // first: nobody is called for a runtime that is gone
        match SockRef::from(stream.get_ref()).connect(&SockAddr::from(addr)) {
            Ok(()) => {}
            Err(error) if is_in_progress(&error) => {
                // Writable means that the attempt is over; only the socket's error says how.
                stream.writable().await?;
                if let Some(error) = stream.get_ref().take_error()? {
                    return Err(error);
                }
                // Some systems report writable too early (mio #1942): only a peer proves it.
                while let Err(error) = stream.get_ref().peer_addr() {
                    if error.kind() != io::ErrorKind::NotConnected {
                        return Err(error);
                    }
                    stream.writable().await?;
                    if let Some(error) = stream.get_ref().take_error()? {
                        return Err(error);
                    }
                }
            }
            Err(error) => return Err(error),
        }
        Self::ready(stream)
    }

    /// Hands a stream of the standard library's to the engine.
    ///
    /// # Errors
    ///
    /// As [`Async::new`].
    pub fn from_std(handle: &Handle, stream: std::net::TcpStream) -> io::Result<Self> {
        Self::ready(Async::new(handle, stream)?)
    }

    fn ready(stream: Async<std::net::TcpStream>) -> io::Result<Self> {
        // A connection that has been reset meanwhile tells so at the first read: no reason to fail here.
        let _ = stream.get_ref().set_nodelay(true);
        Ok(Self(stream))
    }

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.get_ref().local_addr()
    }

    /// The address of the other end.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.get_ref().peer_addr()
    }

    /// Ends one direction, or both.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.0.get_ref().shutdown(how)
    }

    /// Whether Nagle's algorithm is off (`TCP_NODELAY`): if so, small writes are sent at once. It is, unless it was set otherwise.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.get_ref().nodelay()
    }

    /// Turns Nagle's algorithm off or on.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.get_ref().set_nodelay(nodelay)
    }

    /// How many hops a packet may take.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn ttl(&self) -> io::Result<u32> {
        self.get_ref().ttl()
    }

    /// Sets how many hops a packet may take.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn set_ttl(&self, hops: u32) -> io::Result<()> {
        self.get_ref().set_ttl(hops)
    }

    /// How long the system goes on sending what is left when the socket is dropped (`SO_LINGER`); `None`, the default: in the background.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        SockRef::from(self.get_ref()).linger()
    }

    /// Sets what [`TcpStream::linger`] gives: in whole seconds, rounded up, and at most as many as the system can count (65,535; on Apple's systems 327). With
    /// zero, dropping the socket resets the connection, and what was written and has not gone is lost.
    ///
    /// With any other time it depends on the system, for all sockets here are non-blocking. On Linux, dropping the socket blocks this thread until all has
    /// gone or the time is over. On macOS and the BSDs it does not wait. On Windows the system may refuse to close such a socket (`WSAEWOULDBLOCK`): it then
    /// stays open until the process ends.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn set_linger(&self, time: Option<Duration>) -> io::Result<()> {
        let whole = |time: Duration| {
            let seconds = time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0)); // a part of one is not zero, which is a reset
            Duration::from_secs(seconds.min(MOST_LINGER))
        };
        SockRef::from(self.get_ref()).set_linger(time.map(whole))
    }

    /// After this long without a word the system asks the other end whether it is still there (`SO_KEEPALIVE`); `None`, the default: never. In whole
    /// seconds (a part of one is left off, except on Windows), at least one.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn set_keepalive(&self, after: Option<Duration>) -> io::Result<()> {
        let socket = SockRef::from(self.get_ref());
        match after {
            Some(after) => socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(after.max(Duration::from_secs(1)))),
            None => socket.set_keepalive(false),
        }
    }

    /// Asks for room for this many bytes that have come and were not read (`SO_RCVBUF`), or for as many as the system can count. It may give another size.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn set_recv_buffer_size(&self, bytes: usize) -> io::Result<()> {
        SockRef::from(self.get_ref()).set_recv_buffer_size(bytes.min(MOST_BYTES))
    }

    /// Asks for room for this many bytes that were written and have not gone (`SO_SNDBUF`), or for as many as the system can count. It may give another size.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn set_send_buffer_size(&self, bytes: usize) -> io::Result<()> {
        SockRef::from(self.get_ref()).set_send_buffer_size(bytes.min(MOST_BYTES))
    }

    /// Takes the error that the system keeps for the socket, if there is one (`SO_ERROR`).
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.get_ref().take_error()
    }

    /// Gives what has arrived without taking it.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub async fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_with(|io| io.peek(buf)).await
    }

    /// The standard library's socket, for its options: all but `set_nonblocking`, see [`Async`].
    pub fn get_ref(&self) -> &std::net::TcpStream {
        self.0.get_ref()
    }

    /// Takes the standard library's stream back, still non-blocking.
    pub fn into_inner(self) -> std::net::TcpStream {
        self.0.into_inner()
    }
}

impl AsRef<Async<std::net::TcpStream>> for TcpStream {
    fn as_ref(&self) -> &Async<std::net::TcpStream> {
        &self.0
    }
}

/// Whether a connect that did not succeed at once may still do so.
fn is_in_progress(error: &io::Error) -> bool {
    #[cfg(unix)]
    if error.raw_os_error() == Some(libc::EINPROGRESS) {
        return true;
    }
    error.kind() == io::ErrorKind::WouldBlock
}

#[cfg(unix)]
impl std::os::fd::AsFd for TcpStream {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}

#[cfg(windows)]
impl std::os::windows::io::AsSocket for TcpStream {
    fn as_socket(&self) -> std::os::windows::io::BorrowedSocket<'_> {
        self.0.get_ref().as_socket()
    }
}
