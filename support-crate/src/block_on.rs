//! The least executor there is: one future, one thread, no queue.

use crate::engine::quiet;
use crate::show::{self, text::brief};
use std::cell::Cell;
use std::future::{Future, IntoFuture};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

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

impl Signal {
    fn new() -> (Arc<Self>, Waker) {
        let signal = Arc::new(Self { woken: AtomicBool::new(false), thread: thread::current() });
        (signal.clone(), Waker::from(signal))
    }
}

/// A signal to use again and again: in a notebook each cell has one of its own, and that is as good. A waker that somebody has kept from an earlier call wakes
/// this thread once too often, as any waker may.
struct Usual {
    pair: Rc<(Arc<Signal>, Waker)>,
    is_used: Cell<bool>,
}

impl Usual {
    /// Takes it into use, if it is not: a nested call has one of its own, so that neither eats the other's wakes.
    #[inline]
    fn begin(&self) -> Option<impl Drop + '_> {
        struct Used<'a>(&'a Usual);
        impl Drop for Used<'_> {
            #[inline]
            fn drop(&mut self) {
                self.0.is_used.set(false);
            }
        }
        (!self.is_used.replace(true)).then(|| Used(self))
    }
}

impl Drop for Usual {
    fn drop(&mut self) {
        // A poll is lent the waker, and `exit` inside of the poll drops what a thread-local owns, though a thread that the future has started may be calling that
        // waker: it stays.
        if self.is_used.get() {
            std::mem::forget(self.pair.clone());
        }
    }
}

thread_local! {
    static USUAL: Usual = Usual { pair: Rc::new(Signal::new()), is_used: Cell::new(false) };
}

/// Runs one future to its end on this thread, which sleeps while the future waits. There are no tasks, no timers and no
/// sockets: something else must wake it. May be nested.
///
/// It cannot tell whether anybody will: a future that nobody wakes blocks for ever. [`Runtime::try_block_on`](crate::Runtime::try_block_on)
/// can. In a notebook it writes a note to stderr, once, after some seconds of sleep; [`Runtime::note_after`](crate::Runtime::note_after) says more.
///
/// ```
/// assert_eq!(pinlab::block_on(async { 6 * 7 }), 42);
/// ```
#[inline]
pub fn block_on<F: IntoFuture>(future: F) -> F::Output {
    // The output is there before the future is dropped: should that panic, it is not forgotten (rust-lang/rust#47949).
    let output;
    {
        let mut future = pin!(future.into_future());
        let usual = USUAL.try_with(|usual| {
            let _used = usual.begin()?;
            Some(drive(future.as_mut(), &usual.pair.0, &usual.pair.1))
        });
        output = match usual {
            Ok(Some(output)) => output,
            // Nested, or the thread is ending.
            Ok(None) | Err(_) => {
                let (signal, waker) = Signal::new();
                drive(future, &signal, &waker)
            }
        };
    }
    output
}

#[inline]
fn drive<F: Future>(mut future: Pin<&mut F>, signal: &Signal, waker: &Waker) -> F::Output {
    let mut cx = Context::from_waker(waker);
    let mut has_noted = false;
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        if !signal.woken.swap(false, Ordering::Acquire) {
            sleep(signal, &mut has_noted);
        }
    }
}

/// Until woken. If that takes long, a note says what the usual mistake is, once.
#[cold]
fn sleep(signal: &Signal, has_noted: &mut bool) {
    let woken = || signal.woken.swap(false, Ordering::Acquire);
    if !*has_noted && let Some(limit) = quiet::default_note() {
        let since = Instant::now();
        loop {
            // Before each sleep: what runs in between may ask for memory, and an allocator may park for a lock of its own, and so take the wake's token.
            if woken() {
                return;
            }
            let left = limit.saturating_sub(since.elapsed());
            if left.is_zero() {
                break;
            }
            thread::park_timeout(left);
        }
        *has_noted = true;
        show::to_stderr(&format!(
            "pinlab: block_on has slept for {}. It drives one future and nothing else: only another thread can wake it. A JoinHandle or a sleep of a \
             Runtime that nobody drives will not: give those to Runtime::block_on.",
            brief(limit)
        ));
    }
    while !woken() {
        thread::park();
    }
}
