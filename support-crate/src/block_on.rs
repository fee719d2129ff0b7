//! The least executor there is: one future, one thread, no queue.

use std::cell::Cell;
use std::future::{Future, IntoFuture};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// Wakes by setting a flag and unparking.
///
/// The flag is what counts. Parking has a token of its own, but it belongs to the whole thread: the future may call
/// something that parks, too, and that would eat a wake (a bug that several small executors have had).
struct Signal {
    woken: AtomicBool,
    thread: Thread,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::Release) {
            self.thread.unpark();
        }
    }
}

thread_local! {
    /// A signal to use again. Only a saving: in a notebook each cell has one of its own, and that is as good.
    static SPARE: Cell<Option<(Arc<Signal>, Waker)>> = const { Cell::new(None) };
}

/// Runs one future to its end on this thread, which sleeps while the future waits. There are no tasks, no timers and no
/// sockets: something else must wake it. May be nested.
///
/// It cannot tell whether anybody will: a future that nobody wakes blocks for ever. [`Runtime::try_block_on`](crate::Runtime::try_block_on)
/// can.
///
/// ```
/// assert_eq!(pinlab::block_on(async { 6 * 7 }), 42);
/// ```
pub fn block_on<F: IntoFuture>(future: F) -> F::Output {
    let mut future = pin!(future.into_future());
    let (signal, waker) = SPARE.try_with(Cell::take).ok().flatten().unwrap_or_else(|| {
        let signal = Arc::new(Signal { woken: AtomicBool::new(false), thread: thread::current() });
        (signal.clone(), Waker::from(signal))
    });
    let mut cx = Context::from_waker(&waker);
    let output = loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            break output;
        }
        while !signal.woken.swap(false, Ordering::Acquire) {
            thread::park();
        }
    };
    // Only if nobody else has kept it, and no wake is left in it, is it as good as new.
    if Arc::strong_count(&signal) == 2 && !signal.woken.load(Ordering::Relaxed) {
        let _ = SPARE.try_with(|spare| spare.set(Some((signal, waker))));
    }
    output
}
