//! A source that is watched by an engine: tries, else waits.

use crate::foreign;
use crate::reactor::{AsSource, RawSource, Side, Waiter};
use crate::runtime::Handle;
use crate::task::tasks_first;
use socket2::SockRef;
use std::cell::Cell;
use std::fmt;
use std::io::{self, ErrorKind};
use std::task::{Context, Poll};

/// A source, made non-blocking, and watched by an engine's reactor.
///
/// Any type that has a descriptor (on Windows: a socket) of a kind that the system's poller watches: sockets, pipes, terminals, but
/// not files. With `&T: Read` and `&T: Write`, as for sockets, it is `AsyncRead` and `AsyncWrite`, and so is a shared reference to it:
/// one task may read while another one writes. A source that keeps bytes of its own (a codec, TLS) is read until it says `WouldBlock`.
///
/// An operation that says `WouldBlock` though the system would not (one that looks for a whole line with `peek`, say) waits for the next event. Since what
/// it has left is still there, that mostly comes at once, again and again; but of a socket that has had an error, perhaps only with more data. So let an
/// operation take what there is. A Unix datagram socket that is not connected has the same fault: to Linux it always has room. Connect it. On
/// Linux two more have it: a datagram socket that is shut down while somebody receives, and a terminal whose other end has gone while somebody writes.
///
/// Single operations are safe to cancel: a future that is dropped has either done nothing or was ready. Combinations that keep
/// bytes of their own, such as `read_exact`, are not.
///
/// # Non-blocking is shared
///
/// It is a property of what a descriptor stands for, not of the descriptor. Whoever makes a source blocking again, or a duplicate of it (`try_clone`), makes operations
/// on it block the engine's thread. A terminal's stdin, stdout and stderr are mostly one thing: with
/// `Async` on stdin, a long `println!` can fail with `WouldBlock`, and so can that of another process on the same terminal. It stays so after `into_inner`.
pub struct Async<T: AsSource> {
    handle: Handle,
    key: usize,
    /// `None` only inside `into_inner`.
    io: Option<T>,
}

impl<T: AsSource> Async<T> {
    /// Hands a source to the engine. It is owned (`'static`), or shared by owners (`Rc`, `Arc`): then its descriptor stays open as long as it is watched, even
    /// if the `Async` is forgotten.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if this very descriptor is watched by the runtime already (a duplicate of it is another one); `NotConnected` if the runtime is
    /// gone; or if it cannot be made non-blocking. That the system cannot watch it (a file, say) shows at the first wait.
    pub fn new(handle: &Handle, io: T) -> io::Result<Self>
    where
        T: 'static,
    {
        let raw = raw(&io); // foreign code: before anything is borrowed
        let key = handle.engine().reactor().insert(raw)?;
        let source = Self { handle: handle.clone(), key, io: Some(io) }; // leaves again if what follows fails
        SockRef::from(source.get_ref()).set_nonblocking(true)?;
        Ok(source)
    }

    /// The source.
    pub fn get_ref(&self) -> &T {
        self.io.as_ref().expect("the source is there until into_inner")
    }

    /// The source, to be changed.
    ///
    /// # Safety
    ///
    /// It must not be replaced, nor its descriptor be closed: the reactor would go on watching the old one (IN2, IS4).
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
        let mut wakers = self.handle.engine().reactor().remove(self.key);
        tasks_first(&mut wakers);
        wakers.into_iter().for_each(foreign::discard);
    }

    /// Waits until there is something to read, or to accept, or an end or error to be told.
    ///
    /// Readiness is a hint: somebody else may be faster, so be ready for `WouldBlock`. Each call asks the system afresh.
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
        let before = self.handle.engine().reactor().ask_afresh(self.key, side)?; // an earlier event may have been read away
        let waiting = Waiting::new(self, side);
        std::future::poll_fn(|cx| match self.wait(side, waiting.waiter, before, cx) {
            Ok(true) => Poll::Pending,
            Ok(false) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(error)),
        })
        .await
    }

    /// Tries an operation that reads, and waits whenever it would block.
    ///
    /// # Errors
    ///
    /// Those of the operation; and if the system cannot watch the source, or the runtime is gone.
    pub async fn read_with<R>(&self, operation: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        Waiting::new(self, Side::Read).operate(operation).await
    }

    /// Tries an operation that writes, and waits whenever it would block.
    ///
    /// # Errors
    ///
    /// Those of the operation; and if the system cannot watch the source, or the runtime is gone.
    pub async fn write_with<R>(&self, operation: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        Waiting::new(self, Side::Write).operate(operation).await
    }

    /// An operation of somebody of whom nothing is known but the task.
    pub(super) fn poll_with<R>(
        &self,
        side: Side,
        cx: &mut Context<'_>,
        operation: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.poll_as(side, Waiter::Anybody, None, cx, operation)
    }

    /// The heart of it: tries what is worth a try, and waits when it would block. Where `told` is, it has the events that there had been when this waiter was last
    /// told `WouldBlock` (IS3).
    fn poll_as<R>(
        &self,
        side: Side,
        waiter: Waiter,
        told: Option<&Cell<Option<u64>>>,
        cx: &mut Context<'_>,
        mut operation: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        let engine = self.handle.engine();
        let mut cannot_wait = false;
        loop {
            let was_told = told.and_then(Cell::get);
            // What a read has found out is said of streams, not of somebody's own operation.
            let this_poll = if told.is_none() { engine.this_poll() } else { None };
            let (is_worth_a_try, events) = engine.reactor().is_worth_a_try(self.key, side, was_told, this_poll);
            let tries = is_worth_a_try || cannot_wait;
            if tries {
                if !engine.has_share() && engine.refuses(cx.waker()) {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                match operation(self.get_ref()) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) if error.kind() == ErrorKind::Interrupted => {
                        engine.has_done();
                        continue;
                    }
                    result => {
                        engine.has_done();
                        return Poll::Ready(result);
                    }
                }
            }
            match self.wait(side, waiter, events, cx) {
                Ok(true) => {
                    told.inspect(|told| told.set(Some(events)));
                    return Poll::Pending;
                }
                Ok(false) => {}
                Err(error) if tries => return Poll::Ready(Err(error)),
                Err(_) => cannot_wait = true,
            }
        }
    }

    /// Waits for the event after so many; whether it has to. (Operations and wakers are foreign code: they may drive the engine, and with it comes an event.)
    fn wait(&self, side: Side, waiter: Waiter, events: u64, cx: &mut Context<'_>) -> io::Result<bool> {
        let engine = self.handle.engine();
        let has_come = || engine.reactor().events(self.key, side) != events;
        if has_come() {
            return Ok(false);
        }
        if engine.reactor().knows(self.key, side, waiter, cx.waker()) {
            return Ok(true);
        }
        let waker = cx.waker().clone(); // foreign code: before anything is borrowed
        if has_come() {
            return Ok(false);
        }
        engine.reactor().arm(self.key, side)?;
        let (former, mut displaced) = engine.reactor().store(self.key, side, waiter, waker);
        tasks_first(&mut displaced);
        displaced.into_iter().for_each(foreign::wake);
        foreign::discard(former);
        Ok(true)
    }

    /// For streams: what was read was less than was asked for.
    pub(super) fn had_less(&self) {
        let engine = self.handle.engine();
        if let Some(poll) = engine.this_poll() {
            engine.reactor().had_less(self.key, poll);
        }
    }
}

/// Somebody who waits for a source, and stops doing so when dropped.
pub(super) struct Waiting<'a, T: AsSource> {
    source: &'a Async<T>,
    side: Side,
    waiter: Waiter,
    /// See [`Async::poll_as`].
    told: Cell<Option<u64>>,
}

impl<'a, T: AsSource> Waiting<'a, T> {
    pub(super) fn new(source: &'a Async<T>, side: Side) -> Self {
        let waiter = source.handle.engine().reactor().next_waiter();
        Self { source, side, waiter, told: Cell::new(None) }
    }

    pub(super) fn poll_with<R>(&self, cx: &mut Context<'_>, operation: impl FnMut(&T) -> io::Result<R>) -> Poll<io::Result<R>> {
        self.source.poll_as(self.side, self.waiter, Some(&self.told), cx, operation)
    }

    async fn operate<R>(self, mut operation: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        std::future::poll_fn(|cx| self.poll_with(cx, &mut operation)).await
    }
}

impl<T: AsSource> Drop for Waiting<'_, T> {
    fn drop(&mut self) {
        let waker = self.source.handle.engine().reactor().forget_waiter(self.source.key, self.side, self.waiter);
        foreign::discard(waker);
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

#[cfg(unix)]
fn raw(io: &impl AsSource) -> RawSource {
    use crate::reactor::AsRawFd;
    io.as_fd().as_raw_fd()
}

#[cfg(windows)]
fn raw(io: &impl AsSource) -> RawSource {
    use crate::reactor::AsRawSocket;
    io.as_socket().as_raw_socket()
}
