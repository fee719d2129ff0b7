//! Every point at which an engine calls code that is not its own, and what leads there.

use super::common::{Keeps, poll, tcp_pair};
use super::guests::{At, Guest, Last, Plan, Source, SourceCall, panicking_spy, spy};
use super::world::{End, Rules, World};
use futures::AsyncReadExt;
use futures::io::AsyncRead;
use pinlab::{Async, Retry, TcpListener, WakerCall, yield_now};
use std::future::{IntoFuture, pending};
use std::io::{self, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

pub(crate) struct Point {
    pub(crate) name: &'static str,
    pub(crate) lead: fn(&World),
    pub(crate) rules: Rules,
}

/// A point that belongs to a task: what happens there is the task's business, and so is a panic.
const fn task(name: &'static str, end: End, lead: fn(&World)) -> Point {
    Point { name, lead, rules: Rules { panic_comes_out: false, end: Some(end) } }
}

/// A point where a panic goes no further.
const fn caught(name: &'static str, lead: fn(&World)) -> Point {
    Point { name, lead, rules: Rules { panic_comes_out: false, end: None } }
}

/// A point where a panic comes out of the call that led there.
const fn open(name: &'static str, lead: fn(&World)) -> Point {
    Point { name, lead, rules: Rules { panic_comes_out: true, end: None } }
}

const POLLED: Plan = Plan::new(At::Poll, Last::Ready);
const DROPPED: Plan = Plan::new(At::Drop, Last::Pending);
const HOUR: Duration = Duration::from_secs(3600);

pub(crate) const POINTS: &[Point] = &[
    // ---- polls
    task("a task is polled by run_until_stalled", End::Returned, |w| {
        w.spawn(POLLED);
        w.run();
    }),
    task("a task is polled by tick, for the second time", End::Returned, |w| {
        w.spawn(Plan { before: 1, ..POLLED });
        w.drive(|rt| rt.tick());
        w.own_waker.get().expect("polled").wake();
        w.drive(|rt| rt.tick());
    }),
    task("a task is polled while another is blocked on", End::Returned, |w| {
        w.spawn(POLLED);
        w.drive(|rt| rt.block_on(async { futures::join!(yield_now(), yield_now()) }).0);
    }),
    task("a task that was woken by another thread is polled", End::Returned, |w| {
        w.spawn(Plan { before: 1, ..POLLED });
        w.run();
        let waker = w.own_waker.get().expect("polled");
        std::thread::spawn(move || waker.wake()).join().expect("no panic");
        w.run();
    }),
    open("the future that is blocked on is polled", |w| {
        w.drive(|rt| rt.block_on(Guest::new(POLLED)));
    }),
    open("the future that is blocked on is polled, for the second time", |w| {
        w.drive(|rt| {
            let woken = async {
                let waker = std::future::poll_fn(|cx| std::task::Poll::Ready(cx.waker().clone())).await;
                waker.wake();
            };
            drop(rt.block_on(async { futures::join!(Guest::new(Plan { before: 1, ..POLLED }), woken).0 }));
        });
    }),
    open("the future of the free block_on is polled", |w| w.call(|| drop(pinlab::block_on(Guest::new(POLLED))))),
    open("a future is made of what is spawned", |w| {
        let handle = w.handle.get().expect("set");
        w.call(|| drop(handle.spawn(MadeOf)));
    }),
    open("a future is made of what is blocked on", |w| w.drive(|rt| rt.block_on(MadeOf))),
    // ---- drops of futures
    task("a future that was never polled is aborted", End::Cancelled, |w| {
        w.spawn(DROPPED);
        let own = w.own.get().expect("spawned");
        w.call(|| own.abort());
    }),
    task("a future that is pending is aborted", End::Cancelled, |w| {
        w.spawn(DROPPED);
        w.run();
        let own = w.own.get().expect("spawned");
        w.call(|| own.abort());
    }),
    task("a future whose task is queued again is aborted", End::Cancelled, |w| {
        w.spawn(DROPPED);
        w.run();
        w.own_waker.get().expect("polled").wake();
        let own = w.own.get().expect("spawned");
        w.call(|| own.abort());
    }),
    task("a future that has aborted itself is dropped", End::Cancelled, |w| {
        w.spawn(Plan { aborts_itself: true, ..DROPPED });
        w.run();
    }),
    task("a future is aborted by another task", End::Cancelled, |w| {
        w.spawn(DROPPED);
        let (own, handle) = (w.own.get().expect("spawned"), w.handle.get().expect("set"));
        drop(handle.spawn(async move { own.abort() }));
        w.run();
    }),
    task("a future that is ready is dropped", End::Returned, |w| {
        w.spawn(Plan::new(At::Drop, Last::Ready));
        w.run();
    }),
    task("a future that has panicked is dropped", End::Panicked, |w| {
        w.spawn(Plan::new(At::Drop, Last::Panic));
        w.run();
    }),
    task("a future is dropped with its runtime", End::Cancelled, |w| {
        w.spawn(DROPPED);
        w.run();
        let rt = w.rt.take();
        w.call(|| drop(rt));
    }),
    task("a future that is queued is dropped with its runtime", End::Cancelled, |w| {
        w.spawn(DROPPED);
        let rt = w.rt.take();
        w.call(|| drop(rt));
    }),
    task("a future is spawned on a runtime that is gone", End::Cancelled, |w| {
        drop(w.rt.take());
        w.call(|| w.spawn(DROPPED));
    }),
    caught("a future is spawned while its runtime is dropped", |w| {
        let handle = w.handle.get().expect("set");
        let spawns = OnDrop(Some(move || drop(handle.spawn(Guest::new(DROPPED)))));
        drop(w.handle.get().expect("set").spawn(async move {
            let _spawns = spawns;
            pending::<()>().await;
        }));
        w.run();
        let rt = w.rt.take();
        w.call(|| drop(rt));
    }),
    caught("a future that another thread has woken is dropped, and then the runtime that it owns", |w| {
        own_the_runtime(w, (Guest::new(DROPPED), OnDrop(Some(drop_the_runtime))));
    }),
    caught("a future that another thread has woken is dropped after the runtime that it owns", |w| {
        own_the_runtime(w, (OnDrop(Some(drop_the_runtime)), Guest::new(DROPPED)));
    }),
    open("the future that was blocked on is dropped", |w| {
        w.drive(|rt| rt.block_on(Guest::new(Plan::new(At::Drop, Last::Ready))));
    }),
    open("the future that was blocked on is dropped because of a stall", |w| {
        w.drive(|rt| {
            w.leave_nothing_to_wait_for();
            let stalled = rt.try_block_on(async {
                let _guest = pin!(Guest::new(DROPPED));
                pending::<()>().await;
            });
            drop(stalled);
        });
    }),
    // ---- drops of outputs
    caught("the output of a task without a handle is dropped", |w| {
        let handle = w.handle.get().expect("set");
        drop(handle.spawn(Guest::new(Plan::new(At::OutputsDrop, Last::Ready))));
        w.run();
    }),
    caught("an output is dropped with its handle", |w| {
        w.spawn(Plan::new(At::OutputsDrop, Last::Ready));
        w.run();
        let own = w.own.take();
        w.call(|| drop(own));
    }),
    caught("an output is dropped with its handle, after its runtime", |w| {
        w.spawn(Plan::new(At::OutputsDrop, Last::Ready));
        w.run();
        drop(w.rt.take());
        let own = w.own.take();
        w.call(|| drop(own));
    }),
    task("the output of a future that panics in its drop is dropped", End::Panicked, |w| {
        w.spawn(Plan { drop_panics: true, ..Plan::new(At::OutputsDrop, Last::Ready) });
        w.run();
    }),
    // ---- drops of what panics carry
    caught("what a task without a handle panicked with is dropped", |w| {
        let handle = w.handle.get().expect("set");
        drop(handle.spawn(Guest::new(Plan::new(At::PayloadsDrop, Last::Panic))));
        w.run();
    }),
    caught("what a task panicked with is dropped with its handle", |w| {
        w.spawn(Plan::new(At::PayloadsDrop, Last::Panic));
        w.run();
        let own = w.own.take();
        w.call(|| drop(own));
    }),
    task("the first panic of a future that panics again in its drop is dropped", End::Panicked, |w| {
        w.spawn(Plan { drop_panics: true, ..Plan::new(At::PayloadsDrop, Last::Panic) });
        w.run();
    }),
    caught("what an output's drop panicked with is dropped", |w| {
        let handle = w.handle.get().expect("set");
        drop(handle.spawn(Guest::new(Plan { output_panics: true, ..Plan::new(At::PayloadsDrop, Last::Ready) })));
        w.run();
    }),
    caught("what a waker panicked with is dropped", |w| {
        let waker = panicking_spy();
        w.spawn(Plan::new(At::Nowhere, Last::Ready));
        w.poll_own(&waker);
        drop(waker);
        w.run();
    }),
    // ---- clones of wakers
    open("a waker is cloned to await a task", |w| {
        let waker = spy(WakerCall::Clone);
        w.spawn(Plan::new(At::Nowhere, Last::Pending));
        w.wait(|| w.poll_own(&waker).unwrap_or(Poll::Ready(())));
    }),
    open("a waker is cloned to await a task that is ready to end", |w| {
        let waker = spy(WakerCall::Clone);
        w.spawn(Plan::new(At::Nowhere, Last::Ready));
        w.wait(|| w.poll_own(&waker).unwrap_or(Poll::Ready(())));
    }),
    open("a waker is cloned to await a task in another's place", |w| {
        let waker = spy(WakerCall::Clone);
        w.spawn(Plan::new(At::Nowhere, Last::Pending));
        w.poll_own(Waker::noop());
        w.wait(|| w.poll_own(&waker).unwrap_or(Poll::Ready(())));
    }),
    open("a waker is cloned by a sleep", |w| {
        let waker = spy(WakerCall::Clone);
        let mut sleep = Box::pin(w.handle.get().expect("set").sleep(HOUR));
        w.wait(|| poll(sleep.as_mut(), &waker));
    }),
    open("a waker is cloned by a sleep that waits already", |w| {
        let waker = spy(WakerCall::Clone);
        let mut sleep = Box::pin(w.handle.get().expect("set").sleep(HOUR));
        assert!(poll(sleep.as_mut(), Waker::noop()).is_pending());
        w.wait(|| poll(sleep.as_mut(), &waker));
    }),
    open("a waker is cloned by a limit on time", |w| {
        let waker = spy(WakerCall::Clone);
        let mut limited = Box::pin(w.handle.get().expect("set").timeout(HOUR, pending::<()>()));
        w.wait(|| poll(limited.as_mut(), &waker));
    }),
    open("a waker is cloned to wait for a socket", |w| {
        let waker = spy(WakerCall::Clone);
        let (stream, _theirs) = tcp_pair(&w.handle.get().expect("set"));
        let source: &Async<_> = stream.as_ref();
        let mut readable = pin!(source.readable());
        w.wait(|| poll(readable.as_mut(), &waker));
    }),
    open("a waker is cloned to read from a socket", |w| {
        let waker = spy(WakerCall::Clone);
        let (mut stream, _theirs) = tcp_pair(&w.handle.get().expect("set"));
        let mut cx = std::task::Context::from_waker(&waker);
        w.wait(|| Pin::new(&mut stream).poll_read(&mut cx, &mut [0; 4]));
    }),
    // ---- wakes
    caught("who awaits a task is woken by its end", |w| {
        let waker = spy(WakerCall::Wake);
        w.spawn(Plan::new(At::Nowhere, Last::Ready));
        w.poll_own(&waker);
        drop(waker);
        w.run();
    }),
    caught("who awaits a task is woken by its abortion, before its first poll", |w| {
        let waker = spy(WakerCall::Wake);
        w.spawn(Plan::new(At::Nowhere, Last::Pending));
        w.poll_own(&waker);
        drop(waker);
        let own = w.own.get().expect("spawned");
        w.call(|| own.abort());
    }),
    caught("who awaits a task is woken by its abortion, while it is pending", |w| {
        let waker = spy(WakerCall::Wake);
        w.spawn(Plan::new(At::Nowhere, Last::Pending));
        w.run();
        w.poll_own(&waker);
        drop(waker);
        let own = w.own.get().expect("spawned");
        w.call(|| own.abort());
    }),
    caught("who awaits a task is woken by its abortion, when it is queued again", |w| {
        let waker = spy(WakerCall::Wake);
        w.spawn(Plan::new(At::Nowhere, Last::Pending));
        w.run();
        w.poll_own(&waker);
        drop(waker);
        w.own_waker.get().expect("polled").wake();
        let own = w.own.get().expect("spawned");
        w.call(|| own.abort());
    }),
    caught("who awaits a task is woken by the end of its runtime", |w| {
        let waker = spy(WakerCall::Wake);
        w.spawn(Plan::new(At::Nowhere, Last::Pending));
        w.run();
        w.poll_own(&waker);
        drop(waker);
        let rt = w.rt.take();
        w.call(|| drop(rt));
    }),
    caught("a timer wakes", |w| {
        let waker = spy(WakerCall::Wake);
        let mut sleep = Box::pin(w.handle.get().expect("set").sleep(HOUR));
        let _ = poll(sleep.as_mut(), &waker);
        drop(waker);
        sleep.reset(Instant::now());
        w.run();
    }),
    caught("one of three timers that are due wakes", |w| {
        let mut sleeps: Vec<_> = (0..3).map(|_| Box::pin(w.handle.get().expect("set").sleep(HOUR))).collect();
        let waker = spy(WakerCall::Wake);
        for (place, sleep) in sleeps.iter_mut().enumerate() {
            let _ = poll(sleep.as_mut(), if place == 1 { &waker } else { Waker::noop() });
            sleep.reset(Instant::now());
        }
        drop(waker);
        w.run();
    }),
    caught("a socket wakes", |w| {
        let waker = spy(WakerCall::Wake);
        let (stream, mut theirs) = tcp_pair(&w.handle.get().expect("set"));
        let source: &Async<_> = stream.as_ref();
        let mut readable = Box::pin(source.readable());
        assert!(poll(readable.as_mut(), &waker).is_pending());
        drop(waker);
        theirs.write_all(b"x").expect("loopback");
        w.run_until_reached();
    }),
    caught("a socket wakes two, of whom this is the first", |w| {
        let waker = spy(WakerCall::Wake);
        let (stream, mut theirs) = tcp_pair(&w.handle.get().expect("set"));
        let source: &Async<_> = stream.as_ref();
        let (mut first, mut second) = (Box::pin(source.readable()), Box::pin(source.readable()));
        assert!(poll(first.as_mut(), &waker).is_pending());
        assert!(poll(second.as_mut(), Waker::noop()).is_pending());
        drop(waker);
        theirs.write_all(b"x").expect("loopback");
        w.run_until_reached();
    }),
    open("who yields is woken", |w| {
        let waker = spy(WakerCall::WakeByRef);
        let mut yields = pin!(yield_now());
        w.call(|| poll(yields.as_mut(), &waker));
    }),
    open("who retries is woken", |w| {
        let waker = spy(WakerCall::WakeByRef);
        let mut retry = pin!(Retry::new(|| std::future::ready(Err::<(), ()>(())), 1));
        w.call(|| poll(retry.as_mut(), &waker));
    }),
    open("who has read its share is woken", |w| {
        let waker = spy(WakerCall::WakeByRef);
        let (mut stream, mut theirs) = tcp_pair(&w.handle.get().expect("set"));
        theirs.write_all(&[1; 4096]).expect("loopback");
        let read = std::future::poll_fn(|_| {
            let mut cx = std::task::Context::from_waker(&waker);
            while Pin::new(&mut stream).poll_read(&mut cx, &mut [0; 1]).is_ready() {}
            Poll::Ready(())
        });
        w.drive(|rt| rt.block_on(read)); // only there is it counted
    }),
    // ---- drops of wakers
    caught("a waker that awaits a task is replaced", |w| {
        let waker = spy(WakerCall::Drop);
        w.spawn(Plan::new(At::Nowhere, Last::Pending));
        w.poll_own(&waker);
        drop(waker);
        w.call(|| w.poll_own(Waker::noop()));
    }),
    caught("a waker that awaits a task is dropped with the handle", |w| {
        let waker = spy(WakerCall::Drop);
        w.spawn(Plan::new(At::Nowhere, Last::Pending));
        w.run();
        w.poll_own(&waker);
        drop(waker);
        let own = w.own.take();
        w.call(|| drop(own));
    }),
    caught("a waker that waits for a timer is replaced", |w| {
        let waker = spy(WakerCall::Drop);
        let mut sleep = Box::pin(w.handle.get().expect("set").sleep(HOUR));
        let _ = poll(sleep.as_mut(), &waker);
        drop(waker);
        w.call(|| poll(sleep.as_mut(), Waker::noop()));
    }),
    caught("a waker that waits for a timer is dropped with the sleep", |w| {
        let waker = spy(WakerCall::Drop);
        let mut sleep = Box::pin(w.handle.get().expect("set").sleep(HOUR));
        let _ = poll(sleep.as_mut(), &waker);
        drop(waker);
        w.call(|| drop(sleep));
    }),
    caught("a waker that waits for a socket is replaced", |w| {
        let waker = spy(WakerCall::Drop);
        let (stream, _theirs) = tcp_pair(&w.handle.get().expect("set"));
        let source: &Async<_> = stream.as_ref();
        let mut readable = Box::pin(source.readable());
        assert!(poll(readable.as_mut(), &waker).is_pending());
        drop(waker);
        w.call(|| poll(readable.as_mut(), Waker::noop()));
    }),
    caught("a waker that waits for a socket is dropped with who waits", |w| {
        let waker = spy(WakerCall::Drop);
        let (stream, _theirs) = tcp_pair(&w.handle.get().expect("set"));
        let source: &Async<_> = stream.as_ref();
        let mut readable = Box::pin(source.readable());
        assert!(poll(readable.as_mut(), &waker).is_pending());
        drop(waker);
        w.call(|| drop(readable));
    }),
    caught("a waker that waits for a socket is dropped with the socket", |w| {
        let waker = spy(WakerCall::Drop);
        let (mut stream, _theirs) = tcp_pair(&w.handle.get().expect("set"));
        let mut cx = std::task::Context::from_waker(&waker);
        assert!(Pin::new(&mut stream).poll_read(&mut cx, &mut [0; 4]).is_pending());
        drop(waker);
        w.call(|| drop(stream));
    }),
    caught("a waker that waits for a timer is dropped with the runtime", |w| {
        let waker = spy(WakerCall::Drop);
        let mut sleep = Box::pin(w.handle.get().expect("set").sleep(HOUR));
        let _ = poll(sleep.as_mut(), &waker);
        drop(waker);
        let rt = w.rt.take();
        w.call(|| drop(rt));
    }),
    caught("a waker that waits for a socket is dropped with the runtime", |w| {
        let waker = spy(WakerCall::Drop);
        let (stream, _theirs) = tcp_pair(&w.handle.get().expect("set"));
        let source: &Async<_> = stream.as_ref();
        let mut readable = Box::pin(source.readable());
        assert!(poll(readable.as_mut(), &waker).is_pending());
        drop(waker);
        let rt = w.rt.take();
        w.call(|| drop(rt));
    }),
    // ---- sources, factories, addresses
    open("a source is asked for its descriptor", |w| {
        with_source(w, SourceCall::AsFd, |w, handle, source| w.call(|| drop(Async::new(handle, source))))
    }),
    open("a source is read", |w| {
        with_source(w, SourceCall::Read, |w, handle, source| {
            let mut source = Async::new(handle, source).expect("open");
            let read = async { source.read(&mut [0; 4]).await };
            w.drive(|rt| rt.block_on(handle.timeout(Duration::ZERO, read)));
        });
    }),
    open("an operation on a source is tried", |w| {
        with_source(w, SourceCall::Debug, |w, handle, source| {
            let source = Async::new(handle, source).expect("open");
            let tried = source.read_with(|source| {
                let _ = format!("{source:?}");
                io::Result::Ok(())
            });
            w.drive(|rt| rt.block_on(tried));
        });
    }),
    open("a source is shown", |w| {
        with_source(w, SourceCall::Debug, |w, handle, source| {
            let source = Async::new(handle, source).expect("open");
            w.call(|| drop(format!("{source:?}")));
        });
    }),
    open("a source is dropped", |w| {
        with_source(w, SourceCall::Drop, |w, handle, source| {
            let mut source = Async::new(handle, source).expect("open");
            let mut cx = std::task::Context::from_waker(Waker::noop());
            assert!(Pin::new(&mut source).poll_read(&mut cx, &mut [0; 4]).is_pending());
            w.call(|| drop(source));
        });
    }),
    open("another attempt is made", |w| {
        let mut tries = 0;
        let retry = Retry::new(
            || {
                tries += 1;
                if tries == 2 {
                    super::world::world().expect("playing").strike();
                }
                std::future::ready(Err::<(), ()>(()))
            },
            2,
        );
        w.drive(|rt| rt.block_on(retry));
    }),
    open("an address is looked up", |w| {
        let handle = w.handle.get().expect("set");
        w.call(|| drop(TcpListener::bind(&handle, Address)));
    }),
    // ---- reports
    caught("the panic of a task is reported", |w| {
        w.spawn(Plan::new(At::Nowhere, Last::Panic));
        HOOK.set(true);
        w.run();
        HOOK.set(false);
    }),
    caught("a stall is reported by a panic", |w| {
        w.leave_nothing_to_wait_for();
        let rt = w.rt.get().expect("set");
        HOOK.set(true);
        w.call(|| {
            // When it panics, the loop has ended.
            let stalled = catch_unwind(AssertUnwindSafe(|| rt.block_on(pending::<()>())));
            assert!(stalled.is_err());
        });
        HOOK.set(false);
    }),
];

thread_local! {
    /// Whether the panic hook is a point.
    pub(crate) static HOOK: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Aborts a task whose future owns this, after another thread has woken it: the message is still in the inbox.
fn own_the_runtime<T: 'static>(w: &World, owned: T) {
    let keeps = Keeps::default();
    let kept = keeps.clone();
    let task = w.handle.get().expect("set").spawn(async move {
        let _owned = owned;
        kept.await;
    });
    w.run();
    let waker = keeps.take().expect("polled");
    std::thread::spawn(move || waker.wake()).join().expect("no panic");
    w.call(|| task.abort());
}

fn drop_the_runtime() {
    let rt = super::world::world().expect("playing").rt.take();
    drop(rt);
}

fn with_source(w: &World, at: SourceCall, lead: impl FnOnce(&World, &pinlab::Handle, Source)) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let _theirs = std::net::TcpStream::connect(listener.local_addr().expect("bound")).expect("loopback");
    let (io, _) = listener.accept().expect("just connected");
    let handle = w.handle.get().expect("set");
    lead(w, &handle, Source { io, at });
}

/// Something that a future is made of.
struct MadeOf;

impl IntoFuture for MadeOf {
    type Output = ();
    type IntoFuture = std::future::Ready<()>;

    fn into_future(self) -> Self::IntoFuture {
        super::world::world().expect("playing").strike();
        std::future::ready(())
    }
}

struct Address;

impl ToSocketAddrs for Address {
    type Iter = std::iter::Once<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        super::world::world().expect("playing").strike();
        Ok(std::iter::once(SocketAddr::from(([127, 0, 0, 1], 0))))
    }
}

/// Runs something when it is dropped.
struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(run) = self.0.take() {
            run();
        }
    }
}
