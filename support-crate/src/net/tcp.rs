//! TCP: listeners and streams.

use super::{Async, addresses};
use crate::runtime::Handle;
use futures::io::{AsyncRead, AsyncWrite, IoSlice, IoSliceMut};
use futures::stream::{FusedStream, Stream};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use std::io;
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
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
    /// Those of the system (`AddrInUse`, `PermissionDenied`, …), for the last of the addresses tried.
    pub fn bind(handle: &Handle, addr: impl ToSocketAddrs) -> io::Result<Self> {
        let mut failed = None;
        for address in addresses(addr)? {
            match listen(address) {
                Ok(listener) => return Self::from_std(handle, listener),
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.expect("there is at least one address"))
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
    /// Those of the system: among them that the process has no more descriptors.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = self.0.read_with(std::net::TcpListener::accept).await?;
        Ok((TcpStream::from_std(self.0.handle(), stream)?, peer))
    }

    /// The connections, one after another, for ever.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming(self)
    }

    /// The address that it is bound to.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.get_ref().local_addr()
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
#[derive(Debug)]
#[must_use = "a stream does nothing unless it is polled"]
pub struct Incoming<'a>(&'a TcpListener);

impl Stream for Incoming<'_> {
    type Item = io::Result<TcpStream>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let accepted = ready!(self.0.0.poll_read_with(cx, std::net::TcpListener::accept));
        Poll::Ready(Some(accepted.and_then(|(stream, _)| TcpStream::from_std(self.0.0.handle(), stream))))
    }
}

impl FusedStream for Incoming<'_> {
    fn is_terminated(&self) -> bool {
        false
    }
}

/// A TCP connection: [`AsyncRead`] and [`AsyncWrite`], also through a shared reference, so that it can be read and written at once.
///
/// Nagle's algorithm is off (`TCP_NODELAY`), as a latency-minded reader expects; [`TcpStream::get_ref`] leads to the socket.
#[derive(Debug)]
pub struct TcpStream(Async<std::net::TcpStream>);

impl TcpStream {
    /// Connects; tries the addresses in turn. Names are looked up on this thread, which waits meanwhile: give a literal address where
    /// that matters.
    ///
    /// # Errors
    ///
    /// What the system says of the last address: `ConnectionRefused`, `TimedOut`, …
    pub async fn connect(handle: &Handle, addr: impl ToSocketAddrs) -> io::Result<Self> {
        let mut result = Err(io::ErrorKind::AddrNotAvailable.into());
        for addr in addresses(addr)? {
            result = Self::connect_one(handle, addr).await;
            if result.is_ok() {
                break;
            }
        }
        result
    }

    async fn connect_one(handle: &Handle, addr: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        let started = socket.connect(&SockAddr::from(addr));
        let stream = Async::new(handle, std::net::TcpStream::from(socket))?;
        match started {
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

    /// Gives what has arrived without taking it.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub async fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_with(|io| io.peek(buf)).await
    }

    /// The standard library's socket, for its options.
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

impl AsyncRead for &TcpStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut &self.0).poll_read(cx, buf)
    }

    fn poll_read_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &mut [IoSliceMut<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut &self.0).poll_read_vectored(cx, bufs)
    }
}

impl AsyncWrite for &TcpStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut &self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut &self.0).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(())) // a socket keeps nothing back
    }

    /// Says to the other end that nothing more will come. Reading goes on.
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(match SockRef::from(self.get_ref()).shutdown(Shutdown::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()), // the other end was faster
            result => result,
        })
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_read(cx, buf)
    }

    fn poll_read_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &mut [IoSliceMut<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_read_vectored(cx, bufs)
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_write(cx, buf)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self).poll_close(cx)
    }
}

#[cfg(unix)]
mod descriptors {
    use super::{TcpListener, TcpStream};
    use std::os::fd::{AsFd, BorrowedFd};

    impl AsFd for TcpListener {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.get_ref().as_fd()
        }
    }

    impl AsFd for TcpStream {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.get_ref().as_fd()
        }
    }
}

#[cfg(windows)]
mod descriptors {
    use super::{TcpListener, TcpStream};
    use std::os::windows::io::{AsSocket, BorrowedSocket};

    impl AsSocket for TcpListener {
        fn as_socket(&self) -> BorrowedSocket<'_> {
            self.0.get_ref().as_socket()
        }
    }

    impl AsSocket for TcpStream {
        fn as_socket(&self) -> BorrowedSocket<'_> {
            self.0.get_ref().as_socket()
        }
    }
}
