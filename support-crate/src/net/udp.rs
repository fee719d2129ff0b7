//! UDP: datagrams.

use super::source::Async;
use crate::runtime::Handle;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket as Socket};

/// A UDP socket. Each operation takes or gives one datagram whole, and is safe to cancel.
///
/// It is non-blocking; all else is the system's default (broadcast is off, for one). [`UdpSocket::get_ref`] leads to the standard library's socket for what has
/// no method here, multicast above all.
///
/// On Windows a datagram that is larger than the buffer is an error (`WSAEMSGSIZE`, 10040): `recv`, `recv_from` and `peek_from` then give neither its length nor its
/// sender, and after the first two it is gone.
#[derive(Debug)]
pub struct UdpSocket(Async<Socket>);

impl UdpSocket {
    /// Binds. Port 0 lets the system choose. A name is looked up on this thread, which waits meanwhile.
    ///
    /// # Errors
    ///
    /// Those of the system; `NotConnected` if the runtime is gone.
    pub fn bind(handle: &Handle, addr: impl ToSocketAddrs) -> io::Result<Self> {
        Self::from_std(handle, Socket::bind(addr)?)
    }

    /// Hands a socket of the standard library's to the engine.
    ///
    /// # Errors
    ///
    /// As [`Async::new`].
    pub fn from_std(handle: &Handle, socket: Socket) -> io::Result<Self> {
        Ok(Self(Async::new(handle, socket)?))
    }

    /// Sets the peer for [`UdpSocket::send`] and [`UdpSocket::recv`]. Nothing is sent by it.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn connect(&self, addr: impl ToSocketAddrs) -> io::Result<()> {
        self.0.get_ref().connect(addr)
    }

    /// Sends a datagram.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub async fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.0.write_with(|socket| socket.send_to(datagram, to)).await
    }

    /// Receives a datagram: its length, and who sent it. What does not fit is lost.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub async fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.0.read_with(|socket| socket.recv_from(buf)).await
    }

    /// Sends a datagram to the peer that [`UdpSocket::connect`] set.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub async fn send(&self, datagram: &[u8]) -> io::Result<usize> {
        self.0.write_with(|socket| socket.send(datagram)).await
    }

    /// Receives a datagram from the peer that [`UdpSocket::connect`] set. What does not fit is lost.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub async fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_with(|socket| socket.recv(buf)).await
    }

    /// The address that it is bound to.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.get_ref().local_addr()
    }

    /// The peer that [`UdpSocket::connect`] set.
    ///
    /// # Errors
    ///
    /// `NotConnected` if it was not; else those of the system.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.get_ref().peer_addr()
    }

    /// Gives the next datagram without taking it. What does not fit is not given.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub async fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.0.read_with(|socket| socket.peek_from(buf)).await
    }

    /// Whether datagrams may go to broadcast addresses.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn broadcast(&self) -> io::Result<bool> {
        self.0.get_ref().broadcast()
    }

    /// Allows datagrams to broadcast addresses, or forbids them.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn set_broadcast(&self, allowed: bool) -> io::Result<()> {
        self.0.get_ref().set_broadcast(allowed)
    }

    /// How many hops a datagram may take.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn ttl(&self) -> io::Result<u32> {
        self.0.get_ref().ttl()
    }

    /// Sets how many hops a datagram may take.
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

    /// The standard library's socket, for its options: all but `set_nonblocking`, see [`Async`].
    pub fn get_ref(&self) -> &Socket {
        self.0.get_ref()
    }

    /// Takes the standard library's socket back, still non-blocking.
    pub fn into_inner(self) -> Socket {
        self.0.into_inner()
    }
}

impl AsRef<Async<Socket>> for UdpSocket {
    fn as_ref(&self) -> &Async<Socket> {
        &self.0
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for UdpSocket {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}

#[cfg(windows)]
impl std::os::windows::io::AsSocket for UdpSocket {
    fn as_socket(&self) -> std::os::windows::io::BorrowedSocket<'_> {
        self.0.get_ref().as_socket()
    }
}
