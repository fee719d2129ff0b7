//! `AsyncRead` and `AsyncWrite`, for what can be read and written through a shared reference: for the reference, and so for the value.

use super::source::Async;
use super::tcp::TcpStream;
use crate::reactor::{AsSource, Side};
use futures::io::{AsyncRead, AsyncWrite, IoSlice, IoSliceMut};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll};

type Polled<T> = Poll<io::Result<T>>;

// ---- any source ----------------------------------------------------------------------------------------------

impl<T: AsSource> AsyncRead for &Async<T>
where
    for<'a> &'a T: Read,
{
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Polled<usize> {
        self.poll_with(Side::Read, cx, |mut io| io.read(buf))
    }

    fn poll_read_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &mut [IoSliceMut<'_>]) -> Polled<usize> {
        self.poll_with(Side::Read, cx, |mut io| io.read_vectored(bufs))
    }
}

impl<T: AsSource> AsyncWrite for &Async<T>
where
    for<'a> &'a T: Write,
{
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Polled<usize> {
        self.poll_with(Side::Write, cx, |mut io| io.write(buf))
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Polled<usize> {
        self.poll_with(Side::Write, cx, |mut io| io.write_vectored(bufs))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled<()> {
        self.poll_with(Side::Write, cx, |mut io| io.flush())
    }

    /// Flushes. A socket's own end is said by [`TcpStream`], or by dropping the source.
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled<()> {
        self.poll_flush(cx)
    }
}

// ---- TCP: as above, and what only a socket can know ----------------------------------------------------------

impl AsyncRead for &TcpStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Polled<usize> {
        let polled = self.0.poll_with(Side::Read, cx, |mut io| io.read(buf));
        self.look_at_size(&polled, buf.len());
        polled
    }

    fn poll_read_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &mut [IoSliceMut<'_>]) -> Polled<usize> {
        let polled = self.0.poll_with(Side::Read, cx, |mut io| io.read_vectored(bufs));
        self.look_at_size(&polled, bufs.iter().map(|buf| buf.len()).sum());
        polled
    }
}

impl TcpStream {
    /// A stream socket that gave less than it was asked for has no more for now: the next read need not ask.
    #[inline]
    fn look_at_size(&self, polled: &Polled<usize>, wanted: usize) {
        if let Poll::Ready(Ok(got)) = polled
            && (1..wanted).contains(got)
        {
            self.0.had_less();
        }
    }
}

impl AsyncWrite for &TcpStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Polled<usize> {
        self.0.poll_with(Side::Write, cx, |mut io| io.write(buf))
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Polled<usize> {
        self.0.poll_with(Side::Write, cx, |mut io| io.write_vectored(bufs))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Polled<()> {
        Poll::Ready(Ok(())) // a socket keeps nothing back
    }

    /// Says to the other end that nothing more will come. Reading goes on.
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Polled<()> {
        Poll::Ready(match self.shutdown(Shutdown::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()), // the other end was faster
            result => result,
        })
    }
}

// ---- the values ----------------------------------------------------------------------------------------------

/// What a reference can do, the value can.
macro_rules! by_reference {
    ([$($generics:tt)*] $type:ty, where [$($reads:tt)*], where [$($writes:tt)*]) => {
        impl<$($generics)*> AsyncRead for $type where $($reads)* {
            fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Polled<usize> {
                Pin::new(&mut &*self).poll_read(cx, buf)
            }

            fn poll_read_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &mut [IoSliceMut<'_>]) -> Polled<usize> {
                Pin::new(&mut &*self).poll_read_vectored(cx, bufs)
            }
        }

        impl<$($generics)*> AsyncWrite for $type where $($writes)* {
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Polled<usize> {
                Pin::new(&mut &*self).poll_write(cx, buf)
            }

            fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Polled<usize> {
                Pin::new(&mut &*self).poll_write_vectored(cx, bufs)
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled<()> {
                Pin::new(&mut &*self).poll_flush(cx)
            }

            fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled<()> {
                Pin::new(&mut &*self).poll_close(cx)
            }
        }
    };
}

by_reference!([T: AsSource] Async<T>, where [for<'a> &'a T: Read], where [for<'a> &'a T: Write]);
by_reference!([] TcpStream, where [], where []);
