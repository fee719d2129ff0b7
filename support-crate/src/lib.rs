//! The support crate of the pinning course: probes that show where a value lives, and a small async runtime.
//!
//! # The runtime
//!
//! An executor, its wakers and a reactor, for one thread, as a value. Data walks one way:
//!
//! ```text
//!                spawn                  poll
//!   future ────────────▶ task ─▶ queue ─────▶ future ──▶ leaves its waker with …
//!                                  ▲                       … another task, a timer, a socket, a thread
//!                                  └──────── wake ◀────────┘
//! ```
//!
//! To read it, take the files in this order; each opens with its purpose and its invariants.
//!
//! | file | what is in it |
//! |---|---|
//! | `block_on` | the least executor: one future, one thread |
//! | `task` | one allocation that a future is pinned in: its states, its wakers, [`JoinHandle`]; the queue |
//! | `engine` | the loop: poll, sleep; and [`Stalled`], what it says when nothing can ever happen any more |
//! | `runtime` | [`Runtime`] and [`Handle`]: the engine as you hold it |
//! | `remote` | what other threads may touch: how they reach the loop, and wake it from its sleep |
//! | `foreign` | where the engine calls code that is not ours |
//! | `timers`, `time` | the heap of deadlines; [`Sleep`], [`Timeout`], [`Interval`] |
//! | `reactor` | the operating system's events, turned into wakes |
//! | `net` | [`Async`], and on it TCP and UDP |
//! | `retry` | [`Retry`], the article's future |
//! | `observe` | [`Timeline`]: what the engine did; wakers to look at |
//!
//! `ARCHITECTURE.md`, at the root of the repository, walks through them four times: with a spawn, a wake, a byte and a deadline;
//! and says what the ids mean.
//!
//! # The probes
//!
//! [`probe`](mod@probe) shows where values are and what their bytes say: addresses with their regions, memory strips, the
//! compiler's own layout of an async function, and places whose tenants can be moved. [`show`] draws.
//!
//! ```
//! use pinlab::prelude::*;
//!
//! # fn main() -> std::io::Result<()> {
//! let rt = Runtime::new()?;
//! let handle = rt.handle();
//! let answer = rt.block_on(async {
//!     let task = handle.spawn(async { 6 * 7 });
//!     handle.sleep(Duration::from_millis(1)).await;
//!     task.await.expect("it does not panic")
//! });
//! assert_eq!(answer, 42);
//! # Ok(()) }
//! ```

mod block_on;
mod engine;
mod foreign;
pub mod net;
mod observe;
#[cfg(feature = "probes")]
pub mod pictures;
#[cfg(feature = "probes")]
pub mod probe;
mod reactor;
mod remote;
mod retry;
mod runtime;
pub mod show;
mod sync;
mod task;
mod time;
mod timers;
mod yield_now;

pub use block_on::block_on;
pub use engine::stall::{Stalled, Waiting};
pub use net::{Async, TcpListener, TcpStream, UdpSocket};
pub use observe::snapshot::{SideState, Snapshot, SourceState, Step, TaskPhase, TaskState, TimerState, WakerPlace};
pub use observe::timeline::{Entry, Source, Timeline, What};
pub use observe::wakers::{CountingWaker, LoggingWaker, WakerCall};
pub use retry::Retry;
pub use runtime::{Handle, Runtime, Stats};
pub use task::join::{JoinError, JoinHandle};
pub use time::{Elapsed, Interval, Sleep, Timeout};
pub use yield_now::{YieldNow, yield_now};

/// What the first cell of every notebook imports.
pub mod prelude {
    // The probes.
    #[cfg(feature = "probes")]
    pub use crate::probe::{Address, CountingAllocator, Film, FutureSlot, Slot, XRay, address_of, count_allocations};
    #[cfg(feature = "probes")]
    pub use crate::{assembly, compiles, expanded, film, layout_of, lowered, miri, probe, probe_val, verdicts};

    // The engine.
    pub use crate::{
        Async, CountingWaker, Elapsed, Handle, JoinError, JoinHandle, Retry, Runtime, Sleep, Stalled, TcpListener, TcpStream,
        Timeline, Timeout, block_on, yield_now,
    };

    // The crate of combinators, and what of the standard library every notebook needs.
    pub use futures;
    pub use std::{
        future::Future,
        marker::PhantomPinned,
        pin::{Pin, pin},
        task::{Context, Poll, Waker},
        time::{Duration, Instant},
    };
}
