//! The support crate of the pinning course: probes that show where a value lives, and a small async runtime.

mod block_on;
mod executor;
mod inbox;
pub mod net;
mod reactor;
mod retry;
mod stall;
mod sync;
mod task;
mod timer;
mod trace;
mod waker;
mod yield_now;

pub use block_on::block_on;
pub use executor::{Handle, Runtime, Stats};
pub use net::{Async, TcpListener, TcpStream, UdpSocket};
pub use retry::Retry;
pub use stall::{Stalled, Waiting};
pub use task::{JoinError, JoinHandle};
pub use timer::{Elapsed, Interval, Sleep, Timeout};
pub use trace::{Entry, Source, Timeline, What};
pub use waker::{CountingWaker, LoggingWaker, WakerCall};
pub use yield_now::{YieldNow, yield_now};
pub mod probe;
pub mod show;

/// What the first cell of every notebook imports.
pub mod prelude {
    // The probes.
    pub use crate::probe::{Address, CountingAllocator, FutureSlot, Lowered, Region, Slot, XRay, address_of, count_allocations};
    pub use crate::{assembly, compiles, layout_of, lowered, probe, probe_val, verdicts};
    // The engine.
    pub use crate::{
        Async, CountingWaker, Handle, JoinError, JoinHandle, LoggingWaker, Retry, Runtime, Stalled, TcpListener, TcpStream, Timeline,
        UdpSocket, block_on, yield_now,
    };
    // What every cell of the course needs from elsewhere.
    pub use futures;
    pub use std::{
        future::Future,
        marker::PhantomPinned,
        pin::{Pin, pin},
        task::{Context, Poll, Waker},
        time::{Duration, Instant},
    };
}
