//! TCP: listeners.

use super::no_address;
use super::source::{Async, Waiting};
use super::tcp::TcpStream;
use crate::reactor::{Side, closed};
use crate::runtime::Handle;
use futures::stream::{FusedStream, Stream};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// How many connections may wait to be accepted.
const QUEUE: i32 = 1024;

/// A TCP socket that accepts connections.
///
/// Several tasks may accept from one listener: each event wakes all of them, and those who come too late wait again.
#[derive(Debug)]
pub struct TcpListener(Async<std::net::TcpListener>);

impl TcpListener {
    /// Binds and listens. Port 0 lets the system choose; [`TcpListener::local_addr`] tells which.
    ///
    /// The system keeps up to 1024 connections (or fewer, if that is its limit) for whom `accept` has not been called yet. On Unix an address can be
    /// bound again while connections of a former listener are still ending (`SO_REUSEADDR`).
    ///
    /// # Errors
    ///
    /// Those of the system (`AddrInUse`, `PermissionDenied`, …), for the last of the addresses tried; `InvalidInput` if the name has none;
    /// `NotConnected` if the runtime is gone. A name is looked up on this thread, which waits meanwhile.
    pub fn bind(handle: &Handle, addr: impl ToSocketAddrs) -> io::Result<Self> {
        let mut failed = no_address();
        for address in addr.to_socket_addrs()? {
            match listen(address) {
                Ok(listener) => return Self::from_std(handle, listener),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// Hands a listener of the standard library's to the engine.
    ///
    /// # Errors
    ///
    /// As [`Async::new`].
    pub fn from_std(handle: &Handle, listener: std::net::TcpListener) -> io::Result<Self> {
        Ok(Self(Async::new(handle, listener)?))
    }

    /// Accepts one connection. Safe to cancel: none is lost.
    ///
    /// # Errors
    ///
    /// Those of the system: among them that the process has no more descriptors. `NotConnected` if the runtime is gone: then no connection is taken, not even
    /// one that waits.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.0.read_with(|listener| self.try_accept(listener)).await
    }

    /// What is tried. A connection that nobody could watch is not taken from the system.
    fn try_accept(&self, listener: &std::net::TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
        let handle = self.0.handle();
        if handle.engine().is_closed() {
            return Err(closed());
        }
        let (stream, peer) = listener.accept()?;
        Ok((TcpStream::from_std(handle, stream)?, peer))
    }

    /// The connections, one after another, for ever.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self, waiting: Waiting::new(&self.0, Side::Read) }
    }

    /// The address that it is bound to.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.get_ref().local_addr()
    }

    /// How many hops a packet of this listener's connections may take.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn ttl(&self) -> io::Result<u32> {
        self.0.get_ref().ttl()
    }

    /// Sets how many hops a packet may take.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn set_ttl(&self, hops: u32) -> io::Result<()> {
        self.0.get_ref().set_ttl(hops)
    }

    /// Takes the error that the system keeps for the socket, if there is one (`SO_ERROR`).
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.0.get_ref().take_error()
    }

    /// The standard library's listener, for its options: all but `set_nonblocking`, see [`Async`].
    pub fn get_ref(&self) -> &std::net::TcpListener {
        self.0.get_ref()
    }

    /// Takes the standard library's listener back, still non-blocking.
    pub fn into_inner(self) -> std::net::TcpListener {
        self.0.into_inner()
    }
}

/// As the standard library does it, with a longer queue: its own holds 128, and those who come when it is full try again a second later.
fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(QUEUE)?;
    Ok(socket.into())
}

impl AsRef<Async<std::net::TcpListener>> for TcpListener {
    fn as_ref(&self) -> &Async<std::net::TcpListener> {
        &self.0
    }
}

/// The stream of [`TcpListener::incoming`]. It never ends; an error does not end it either.
#[must_use = "a stream does nothing unless it is polled"]
pub struct Incoming<'a> {
    listener: &'a TcpListener,
    waiting: Waiting<'a, std::net::TcpListener>,
}

impl fmt::Debug for Incoming<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Incoming").field(self.listener).finish()
    }
}

impl Stream for Incoming<'_> {
    type Item = io::Result<TcpStream>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let accepted = ready!(self.waiting.poll_with(cx, |listener| self.listener.try_accept(listener)));
        Poll::Ready(Some(accepted.map(|(stream, _)| stream)))
    }
}

impl FusedStream for Incoming<'_> {
    fn is_terminated(&self) -> bool {
        false
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for TcpListener {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}

#[cfg(windows)]
impl std::os::windows::io::AsSocket for TcpListener {
    fn as_socket(&self) -> std::os::windows::io::BorrowedSocket<'_> {
        self.0.get_ref().as_socket()
    }
}
