//! What the engine's tests share: things that count, and a limit on time, so that a test that hangs fails.
#![allow(dead_code)] // each test file is a crate of its own and uses its part of this

mod miri;

use pinlab::Runtime;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread::{self, ThreadId};
use std::time::Duration;

pub(crate) fn runtime() -> Runtime {
    Runtime::new().expect("the system has a poller left")
}

/// Runs this on a thread of its own and fails if it takes longer than that: what hangs is a failed test, not a hung one.
pub(crate) fn within<T: Send + 'static>(limit: Duration, test: impl FnOnce() -> T + Send + 'static) -> T {
    let limit = patient(limit);
    let (done, finished) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        let _done = done; // dropped at the end, also by a panic
        test()
    });
    match finished.recv_timeout(limit) {
        Err(RecvTimeoutError::Timeout) => panic!("not done within {limit:?}: it hangs"),
        _ => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
    }
}

/// This time; with `PINLAB_PATIENCE=10` ten times as long, for tools that make everything slow.
pub(crate) fn patient(time: Duration) -> Duration {
    time * std::env::var("PINLAB_PATIENCE").ok().and_then(|times| times.parse().ok()).unwrap_or(1)
}

/// The limit for what takes no time at all.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Polls once, with this waker.
pub(crate) fn poll<F: Future + ?Sized>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}

/// A list of what happened, in order.
#[derive(Clone, Default)]
pub(crate) struct Trace(Rc<RefCell<Vec<String>>>);

impl Trace {
    pub(crate) fn say(&self, what: impl Into<String>) {
        self.0.borrow_mut().push(what.into());
    }

    /// Compares with what was expected, entry by entry, and starts afresh.
    #[track_caller]
    pub(crate) fn expect(&self, expected: &[&str]) {
        assert_eq!(self.0.take(), expected);
    }
}

/// Where drops are counted.
#[derive(Clone, Default)]
pub(crate) struct Drops(Arc<Mutex<Vec<ThreadId>>>);

impl Drops {
    /// A value that is counted when it is dropped. Not `Send`, as a future need not be.
    pub(crate) fn token(&self) -> Token {
        Token { drops: self.clone(), local: PhantomData }
    }

    pub(crate) fn count(&self) -> usize {
        self.0.lock().expect("no panic under this lock").len()
    }

    /// So many were dropped, each on this thread.
    #[track_caller]
    pub(crate) fn expect(&self, count: usize) {
        let here = thread::current().id();
        let drops = self.0.lock().expect("no panic under this lock");
        assert_eq!(drops.len(), count, "how many were dropped");
        assert!(drops.iter().all(|&thread| thread == here), "dropped on another thread: {drops:?}, not {here:?}");
    }
}

#[derive(Clone)]
pub(crate) struct Token {
    drops: Drops,
    local: PhantomData<*const ()>,
}

impl Drop for Token {
    fn drop(&mut self) {
        self.drops.0.lock().expect("no panic under this lock").push(thread::current().id());
    }
}

/// Something that other threads may open, and a future that waits for that.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<Mutex<(bool, Option<Waker>)>>);

impl Gate {
    pub(crate) fn open(&self) {
        let waker = {
            let mut state = self.0.lock().expect("no panic under this lock");
            state.0 = true;
            state.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn is_waited_for(&self) -> bool {
        self.0.lock().expect("no panic under this lock").1.is_some()
    }
}

impl Future for Gate {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let former;
        let mut state = self.0.lock().expect("no panic under this lock");
        if state.0 {
            return Poll::Ready(());
        }
        former = state.1.replace(cx.waker().clone());
        drop(state);
        drop(former);
        Poll::Pending
    }
}

/// A place for the waker of whoever awaits it; pending for ever.
#[derive(Clone, Default)]
pub(crate) struct Keeps(Arc<Mutex<Option<Waker>>>);

impl Keeps {
    pub(crate) fn take(&self) -> Option<Waker> {
        self.0.lock().expect("no panic under this lock").take()
    }
}

impl Future for Keeps {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let former = self.0.lock().expect("no panic under this lock").replace(waker);
        drop(former);
        Poll::Pending
    }
}

/// A number that is shared within a thread.
#[derive(Clone, Default)]
pub(crate) struct Count(Rc<Cell<usize>>);

impl Count {
    pub(crate) fn up(&self) -> usize {
        self.0.set(self.0.get() + 1);
        self.0.get()
    }

    pub(crate) fn get(&self) -> usize {
        self.0.get()
    }
}

/// Spawns a task that never has to wait; counts its turns.
pub(crate) fn yields_for_ever(rt: &Runtime) -> Count {
    let count = Count::default();
    let counted = count.clone();
    drop(rt.spawn(async move {
        loop {
            counted.up();
            pinlab::yield_now().await;
        }
    }));
    count
}

/// Runs something when it is dropped.
pub(crate) struct OnDrop<F: FnMut()>(pub(crate) F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// The processor time that this thread has used.
#[cfg(unix)]
pub(crate) fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it writes to the struct that it is given, nothing else.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(result, 0, "the system tells a thread's processor time");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Two ends of a TCP connection: the engine's, and a blocking one.
pub(crate) fn tcp_pair(handle: &pinlab::Handle) -> (pinlab::TcpStream, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let theirs = std::net::TcpStream::connect(listener.local_addr().expect("bound")).expect("loopback");
    let (ours, _) = listener.accept().expect("just connected");
    theirs.set_nodelay(true).expect("a TCP socket");
    (pinlab::TcpStream::from_std(handle, ours).expect("open"), theirs)
}
