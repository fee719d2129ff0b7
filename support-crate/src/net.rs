//! Sockets, and any other source that the operating system can watch.
//!
//! [`Async`] tries the operation first and waits only when it would block. TCP and UDP are `Async` over the standard library's sockets.
//!
//! ```text
//!   TcpStream, UdpSocket, … ──▶ Async ── try ──▶ the system ── an answer ──▶ Ready
//!                                 ▲                  │ WouldBlock
//!                                 └── wake ◀── reactor: waker stored
//! ```
//!
//! | file | what is in it |
//! |---|---|
//! | `source` | [`Async`]: try, else wait |
//! | `streams` | `AsyncRead` and `AsyncWrite` for what is shared |
//! | `listener`, `tcp`, `udp` | the sockets |
//!
//! Invariants
//!
//! * **IN1** A source is non-blocking from the moment it is handed over: no operation keeps the engine's thread.
//! * **IN2** It is owned, and leaves the reactor before its descriptor is closed or given back (IS4 in `reactor`).
//! * **IN3** Each future that waits does so under a number of its own and withdraws when it is dropped. Poll-style callers have none,
//!   since nobody says when one of them has gone.

mod listener;
mod source;
mod streams;
mod tcp;
mod udp;

pub use listener::{Incoming, TcpListener};
pub use source::Async;
pub use tcp::TcpStream;
pub use udp::UdpSocket;

use std::io::{self, ErrorKind};

/// What is said of a name without an address.
fn no_address() -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, "the name has no address")
}
