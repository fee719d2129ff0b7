//! Wakers to look at: they count, or log, what is done with them.
//!
//! `std::task::Wake` makes a waker of any `Arc`, and hides two of the four things that can be done with it: the clone and the drop, which are those of the `Arc`. These are
//! made of a vtable by hand, so that all four can be seen.
//!
//! ```text
//!   CountingWaker ──▶ Log: counts, calls ──▶ the waker that it wraps, if any
//!                      ▲   ▲   ▲
//!                      waker, clone, clone: each owns one count of the Arc
//! ```
//!
//! Invariant
//!
//! * **IW1** The data pointer of such a waker is an `Arc<Log>` turned raw, and each waker owns one count of it: `clone` takes one more,
//!   `wake` and `drop` give theirs back, `wake_by_ref` touches none.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{RawWaker, RawWakerVTable, Waker};
use std::thread::{self, ThreadId};

/// What can be done with a waker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WakerCall {
    /// `clone`: somebody keeps it.
    Clone,
    /// `wake`: it was called, and with that used up.
    Wake,
    /// `wake_by_ref`: it was called, and is kept.
    WakeByRef,
    /// It was dropped.
    Drop,
}

impl fmt::Display for WakerCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Clone => "clone",
            Self::Wake => "wake",
            Self::WakeByRef => "wake_by_ref",
            Self::Drop => "drop",
        })
    }
}

/// Called when a waker is cloned, with the number of the clone. What it leaves broken by a panic is its own affair.
type OnClone = AssertUnwindSafe<Box<dyn Fn(usize) + Send + Sync>>;

/// What the wakers of one family share: a count of each call, perhaps a list of them, and what else happens at a wake or at a clone.
#[derive(Default)]
struct Log {
    counts: [AtomicUsize; 4],
    calls: Option<Mutex<Vec<(WakerCall, ThreadId)>>>,
    inner: Option<Waker>,
    on_clone: Option<OnClone>,
}

impl Log {
    fn new(keeps_calls: bool, inner: Option<Waker>) -> Arc<Self> {
        Arc::new(Self { calls: keeps_calls.then(Mutex::default), inner, ..Self::default() })
    }

    fn note(&self, call: WakerCall) {
        let earlier = self.counts[call as usize].fetch_add(1, Relaxed);
        if let Some(calls) = &self.calls {
            calls.lock().unwrap_or_else(PoisonError::into_inner).push((call, thread::current().id()));
        }
        match (call, &self.inner, &self.on_clone) {
            (WakerCall::Wake | WakerCall::WakeByRef, Some(inner), _) => inner.wake_by_ref(),
            (WakerCall::Clone, _, Some(on_clone)) => on_clone(earlier + 1),
            _ => {}
        }
    }

    fn count(&self, call: WakerCall) -> usize {
        self.counts[call as usize].load(Relaxed)
    }

    fn waker(self: &Arc<Self>) -> Waker {
        // SAFETY: the vtable keeps the contract of `RawWaker`: all of it is thread-safe, and IW1 says who owns what.
        unsafe { Waker::from_raw(raw(self.clone())) }
    }
}

fn raw(log: Arc<Log>) -> RawWaker {
    RawWaker::new(Arc::into_raw(log).cast(), &VTABLE)
}

static VTABLE: RawWakerVTable = RawWakerVTable::new(
    |data| {
        // SAFETY: IW1: the waker that is being cloned owns a count, so the log is alive; one more is taken for the clone.
        let log = unsafe {
            Arc::increment_strong_count(data.cast::<Log>());
            Arc::from_raw(data.cast::<Log>())
        };
        log.note(WakerCall::Clone);
        raw(log)
    },
    // SAFETY: IW1: `wake` consumes the waker, and its count with it.
    |data| unsafe { Arc::from_raw(data.cast::<Log>()) }.note(WakerCall::Wake),
    // SAFETY: IW1: the waker stays, and its count keeps the log alive.
    |data| unsafe { &*data.cast::<Log>() }.note(WakerCall::WakeByRef),
    // SAFETY: IW1: the dropped waker's count goes with it.
    |data| unsafe { Arc::from_raw(data.cast::<Log>()) }.note(WakerCall::Drop),
);

macro_rules! family {
    ($name:ident, $keeps_calls:expr, $(#[$doc:meta])*) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(Arc<Log>);

        impl $name {
            /// One whose wakers wake nobody.
            pub fn new() -> Self {
                Self(Log::new($keeps_calls, None))
            }

            /// One whose wakers pass each wake on.
            pub fn wrapping(waker: &Waker) -> Self {
                Self(Log::new($keeps_calls, Some(waker.clone())))
            }

            /// A waker of this family. Making it counts nothing; dropping it does.
            pub fn waker(&self) -> Waker {
                self.0.waker()
            }

            /// How often this was done with wakers of this family.
            pub fn count(&self, call: WakerCall) -> usize {
                self.0.count(call)
            }

            /// How often one of them was cloned.
            pub fn clones(&self) -> usize {
                self.count(WakerCall::Clone)
            }

            /// How often one of them was called: by `wake` and by `wake_by_ref`.
            pub fn wakes(&self) -> usize {
                self.count(WakerCall::Wake) + self.count(WakerCall::WakeByRef)
            }

            /// How often one of them was dropped. `wake` uses a waker up, so it is not counted here.
            pub fn drops(&self) -> usize {
                self.count(WakerCall::Drop)
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }
    };
}

family!(
    CountingWaker,
    false,
    /// Counts what is done with its wakers.
    ///
    /// ```
    /// let counting = pinlab::CountingWaker::new();
    /// let waker = counting.waker();
    /// waker.wake_by_ref();
    /// waker.clone().wake();
    /// assert_eq!((counting.clones(), counting.wakes()), (1, 2));
    /// ```
);

impl CountingWaker {
    /// One that calls `act` whenever a waker of it is cloned: before the clone is there, on the thread that clones, and with the number of the
    /// clone, from 1. So a test can let something happen just when a future takes its waker.
    ///
    /// ```
    /// use std::sync::mpsc;
    /// let (sender, receiver) = mpsc::channel();
    /// let counting = pinlab::CountingWaker::on_clone(move |number| sender.send(number).expect("it is read below"));
    /// let waker = counting.waker();
    /// let clones = [waker.clone(), waker.clone()];
    /// assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [1, 2]);
    /// # drop(clones);
    /// ```
    ///
    /// # Panics
    /// A panic in `act` is one of `Waker::clone`: there is no clone then, but it is counted.
    pub fn on_clone(act: impl Fn(usize) + Send + Sync + 'static) -> Self {
        Self(Arc::new(Log { on_clone: Some(AssertUnwindSafe(Box::new(act))), ..Log::default() }))
    }
}

family!(
    LoggingWaker,
    true,
    /// Logs what is done with its wakers, in order, and on which thread. The log asks for memory under its lock, so an allocator must not use these wakers.
);

impl LoggingWaker {
    /// What was done, in order, and where.
    pub fn calls(&self) -> Vec<(WakerCall, ThreadId)> {
        let calls = self.0.calls.as_ref().expect("a logging waker keeps its calls");
        calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for CountingWaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CountingWaker({self})")
    }
}

impl fmt::Display for CountingWaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |call| self.count(call);
        write!(
            f,
            "clone {}, wake {}, wake_by_ref {}, drop {}",
            count(WakerCall::Clone),
            count(WakerCall::Wake),
            count(WakerCall::WakeByRef),
            count(WakerCall::Drop)
        )
    }
}

impl fmt::Debug for LoggingWaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LoggingWaker({self})")
    }
}

impl fmt::Display for LoggingWaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let here = thread::current().id();
        for (place, (call, thread)) in self.calls().into_iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            let elsewhere = if thread == here { "" } else { " (another thread)" };
            write!(f, "{comma}{call}{elsewhere}")?;
        }
        Ok(())
    }
}
