//! Sockets, and any other source that the operating system can watch.
//!
//! [`Async`] tries the operation first and waits only when it would block. What is here is thin: the knowledge is in the
//! [reactor](crate::Runtime), and TCP and UDP add names to `Async` over the sockets of the standard library.
//!
//! ```text
//!   TcpStream, UdpSocket, … ──▶ Async ── try ──▶ the system ── an answer ──▶ Ready
//!                                 ▲                  │ WouldBlock
//!                                 └── wake ◀── reactor: waker stored
//! ```
//!
//! Invariants
//!
//! * **N1** A source is non-blocking from the moment it is handed over: no operation keeps the engine's thread.
//! * **N2** It leaves the reactor before its descriptor is closed or given back (S4 in `reactor`).
//! * **N3** Each future that waits does so under a number of its own and withdraws when it is dropped. Poll-style callers share one number,
//!   since nobody says when one of them has gone.
//! * **N4** No foreign code (a waker's clone, wake or drop) runs while the reactor is borrowed (S5 in `reactor`).

mod tcp;
mod udp;

pub use tcp::{Incoming, TcpListener, TcpStream};
pub use udp::UdpSocket;

use crate::reactor::{ANYBODY, AsSource, Side};
use crate::runtime::Handle;
use crate::task::wake_quietly;
use futures::io::{AsyncRead, AsyncWrite, IoSlice, IoSliceMut};
use socket2::SockRef;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::task::{Context, Poll};

/// A source, made non-blocking, and watched by an engine's reactor.
///
/// Any type that has a descriptor (on Windows: a socket) of a kind that the system's poller watches: sockets, pipes, terminals, but
/// not files. With `&T: Read` and `&T: Write`, as for sockets, it is `AsyncRead` and `AsyncWrite`, and so is a shared reference to it:
/// one task may read while another one writes.
///
/// Single operations are safe to cancel: a future that is dropped has either done nothing or was ready. Combinations that keep
/// bytes of their own, such as `read_exact`, are not.
pub struct Async<T: AsSource> {
    handle: Handle,
    key: usize,
    /// `None` only inside `into_inner`.
    io: Option<T>,
}

impl<T: AsSource> Async<T> {
    /// Hands a source to the engine.
    ///
    /// # Errors
    ///
    /// If it cannot be made non-blocking, or the runtime is gone. That the system cannot watch it (a file, say) shows at the first wait.
    ///
    /// # A promise
    ///
    /// The type must go on giving the same open descriptor for as long as it is shared: one that swaps it behind `&self` would have the reactor
    /// watch another's. No memory is at stake, only whose events are seen; the standard library's types keep the promise.
    pub fn new(handle: &Handle, io: T) -> io::Result<Self> {
        if handle.shared().is_closed() {
            return Err(closed());
        }
        SockRef::from(&io).set_nonblocking(true)?;
        Ok(Self::from_nonblocking(handle, io))
    }

    fn from_nonblocking(handle: &Handle, io: T) -> Self {
        let key = handle.reactor().insert(raw(&io));
        Self { handle: handle.clone(), key, io: Some(io) }
    }

    /// The source.
    pub fn get_ref(&self) -> &T {
        self.io.as_ref().expect("the source is there until into_inner")
    }

    /// The source, to be changed.
    ///
    /// # Safety
    ///
    /// It must not be replaced, nor its descriptor be closed: the reactor would go on watching the old one.
    pub unsafe fn get_mut(&mut self) -> &mut T {
        self.io.as_mut().expect("the source is there until into_inner")
    }

    /// Takes the source back, still non-blocking.
    pub fn into_inner(mut self) -> T {
        self.leave();
        self.io.take().expect("the source is there until into_inner")
    }

    /// The handle of the engine that watches it.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    fn leave(&mut self) {
        let waiters = self.handle.reactor().remove(&self.handle.shared().poller, self.key);
        drop(waiters);
    }

    /// Waits until there is something to read, or to accept, or an end or error to be told.
    ///
    /// Readiness is a hint: somebody else may be faster, so be ready for `WouldBlock`. (That also makes this wait afresh.)
    ///
    /// # Errors
    ///
    /// If the system cannot watch the source, or the runtime is gone.
    pub async fn readable(&self) -> io::Result<()> {
        self.ready(Side::Read).await
    }

    /// Waits until there is room to write. See [`Async::readable`].
    ///
    /// # Errors
    ///
    /// If the system cannot watch the source, or the runtime is gone.
    pub async fn writable(&self) -> io::Result<()> {
        self.ready(Side::Write).await
    }

    async fn ready(&self, side: Side) -> io::Result<()> {
        // Ask the system afresh: the hint may be stale.
        self.handle.reactor().clear_ready(self.key, side);
        let mut waiter = Waiter { source: self, side, id: self.handle.shared().next_waiter() };
        std::future::poll_fn(|cx| waiter.poll(cx)).await
    }

    /// Tries an operation that reads, and waits whenever it would block.
    ///
    /// # Errors
    ///
    /// Those of the operation; and if the system cannot watch the source, or the runtime is gone.
    pub async fn read_with<R>(&self, operation: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        self.with(Side::Read, operation).await
    }

    /// Tries an operation that writes, and waits whenever it would block.
    ///
    /// # Errors
    ///
    /// Those of the operation; and if the system cannot watch the source, or the runtime is gone.
    pub async fn write_with<R>(&self, operation: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        self.with(Side::Write, operation).await
    }

    async fn with<R>(&self, side: Side, mut operation: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        let waiter = Waiter { source: self, side, id: self.handle.shared().next_waiter() };
        std::future::poll_fn(|cx| self.poll_with(side, waiter.id, cx, &mut operation)).await
    }

    /// For poll-style callers: [`Async::read_with`] with the waker of this context.
    pub(crate) fn poll_read_with<R>(
        &self,
        cx: &mut Context<'_>,
        operation: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.poll_with(Side::Read, ANYBODY, cx, operation)
    }

    /// The heart of it: tries while the side looks ready, waits when it does not.
    fn poll_with<R>(
        &self,
        side: Side,
        waiter: usize,
        cx: &mut Context<'_>,
        mut operation: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        loop {
            if !self.handle.reactor().is_ready(self.key, side) {
                return self.poll_wait(side, waiter, cx).map(Err);
            }
            if !self.handle.shared().may_go_on() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            match operation(self.get_ref()) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.handle.reactor().clear_ready(self.key, side),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return Poll::Ready(result),
            }
        }
    }

    /// Stores the waker. Ready only with an error.
    fn poll_wait(&self, side: Side, waiter: usize, cx: &mut Context<'_>) -> Poll<io::Error> {
        if self.handle.shared().is_closed() {
            return Poll::Ready(closed());
        }
        if !self.handle.reactor().knows(self.key, side, waiter, cx.waker()) {
            let waker = cx.waker().clone(); // foreign code: not while the reactor is borrowed
            let armed = self.handle.reactor().arm(&self.handle.shared().poller, self.key, side);
            if let Err(error) = armed {
                return Poll::Ready(error);
            }
            let (replaced, displaced) = self.handle.reactor().store(self.key, side, waiter, waker);
            drop(replaced);
            displaced.into_iter().for_each(wake_quietly);
        }
        Poll::Pending
    }
}

/// Somebody who waits for a source, and stops doing so when dropped.
struct Waiter<'a, T: AsSource> {
    source: &'a Async<T>,
    side: Side,
    id: usize,
}

impl<T: AsSource> Waiter<'_, T> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.source.handle.reactor().is_ready(self.source.key, self.side) {
            return Poll::Ready(Ok(()));
        }
        self.source.poll_wait(self.side, self.id, cx).map(Err)
    }
}

impl<T: AsSource> Drop for Waiter<'_, T> {
    fn drop(&mut self) {
        let waker = self.source.handle.reactor().forget_waiter(self.source.key, self.side, self.id);
        drop(waker);
    }
}

impl<T: AsSource> Drop for Async<T> {
    fn drop(&mut self) {
        if self.io.is_some() {
            self.leave(); // before the descriptor is closed
        }
    }
}

impl<T: AsSource + fmt::Debug> fmt::Debug for Async<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Async").field("key", &self.key).field("io", &self.io).finish_non_exhaustive()
    }
}

/// A source is not moved about by being polled: nothing points into it.
impl<T: AsSource> Unpin for Async<T> {}

fn closed() -> io::Error {
    io::Error::new(ErrorKind::NotConnected, "the Runtime that watches this source has been dropped")
}

#[cfg(unix)]
fn raw(io: &impl AsSource) -> crate::reactor::RawSource {
    use crate::reactor::AsRawFd;
    io.as_fd().as_raw_fd()
}

#[cfg(windows)]
fn raw(io: &impl AsSource) -> crate::reactor::RawSource {
    use crate::reactor::AsRawSocket;
    io.as_socket().as_raw_socket()
}

// ---- AsyncRead, AsyncWrite -----------------------------------------------------------------------------------

impl<T: AsSource> Async<T>
where
    for<'a> &'a T: Read,
{
    fn poll_stream(
        &self,
        cx: &mut Context<'_>,
        wanted: usize,
        read: impl FnMut(&T) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let polled = self.poll_with(Side::Read, ANYBODY, cx, read);
        if let Poll::Ready(Ok(got)) = polled
            && (1..wanted).contains(&got)
        {
            // A stream that gave less than it was asked for has no more for now; if an end follows, level mode tells of it.
            self.handle.reactor().clear_ready(self.key, Side::Read);
        }
        polled
    }
}

impl<T: AsSource> AsyncRead for &Async<T>
where
    for<'a> &'a T: Read,
{
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll_stream(cx, buf.len(), |mut io| io.read(buf))
    }

    fn poll_read_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &mut [IoSliceMut<'_>]) -> Poll<io::Result<usize>> {
        let wanted = bufs.iter().map(|buf| buf.len()).sum();
        self.poll_stream(cx, wanted, |mut io| io.read_vectored(bufs))
    }
}

impl<T: AsSource> AsyncWrite for &Async<T>
where
    for<'a> &'a T: Write,
{
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_with(Side::Write, ANYBODY, cx, |mut io| io.write(buf))
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.poll_with(Side::Write, ANYBODY, cx, |mut io| io.write_vectored(bufs))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_with(Side::Write, ANYBODY, cx, |mut io| io.flush())
    }

    /// Flushes. A socket's own end is said by [`TcpStream`], or by dropping the source.
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

impl<T: AsSource> AsyncRead for Async<T>
where
    for<'a> &'a T: Read,
{
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_read(cx, buf)
    }

    fn poll_read_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &mut [IoSliceMut<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_read_vectored(cx, bufs)
    }
}

impl<T: AsSource> AsyncWrite for Async<T>
where
    for<'a> &'a T: Write,
{
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

/// Looks up addresses. A literal costs nothing; a name is looked up on this thread, which waits.
fn addresses(addr: impl ToSocketAddrs) -> io::Result<Vec<SocketAddr>> {
    let found: Vec<_> = addr.to_socket_addrs()?.collect();
    if found.is_empty() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "the name has no address"));
    }
    Ok(found)
}
