//! Panics: in polls, drops, wakers and outputs. One task's panic is its `JoinError` and nobody else's.

mod common;

use common::{Drops, Gate, Keeps, SOON, poll, runtime, tcp_pair, within};
use pinlab::{CountingWaker, JoinError, yield_now};
use std::cell::Cell;
use std::future::{Future, pending};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// Panics when it is dropped.
struct Bomb(&'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic_any(self.0);
        }
    }
}

/// Panics when it is dropped, even as a panic's payload.
struct Grudge;

impl Drop for Grudge {
    fn drop(&mut self) {
        panic!("the payload's own drop");
    }
}

fn text(error: &JoinError) -> &str {
    assert!(error.is_panic() && !error.is_cancelled());
    error.message().expect("the payload is text")
}

/// C24.
#[test]
fn a_task_that_panics_is_a_join_error_and_the_others_go_on() {
    within(SOON, || {
        let rt = runtime();
        let tasks: Vec<_> = (0..3)
            .map(|task| {
                rt.spawn(async move {
                    yield_now().await;
                    assert_ne!(task, 1, "task one panics");
                    task
                })
            })
            .collect();
        let results = rt.block_on(futures::future::join_all(tasks));
        assert_eq!(results[0].as_ref().expect("it returned"), &0);
        assert!(text(results[1].as_ref().expect_err("it panicked")).contains("task one panics"));
        assert_eq!(results[2].as_ref().expect("it returned"), &2);
        assert_eq!(rt.block_on(rt.spawn(async { 4 })).expect("the runtime goes on"), 4);
    });
}

#[test]
fn a_panics_payload_comes_whole() {
    let rt = runtime();
    let error = rt.block_on(rt.spawn(async { panic_any(17_u8) })).expect_err("it panicked");
    assert_eq!(error.message(), None);
    assert_eq!(error.into_panic().downcast_ref::<u8>(), Some(&17));
}

/// A future that panics where it is told to.
struct Panics {
    in_poll: bool,
    ready: bool,
    _bomb: Option<Bomb>,
}

impl Future for Panics {
    type Output = ();
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        assert!(!self.in_poll, "in the poll");
        if self.ready { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// C25: at each point of a task's life where its future is dropped.
#[test]
fn a_future_that_panics_when_dropped_is_a_join_error_wherever_that_happens() {
    within(SOON, || {
        let future = |in_poll, ready| Panics { in_poll, ready, _bomb: Some(Bomb("in the drop")) };
        let rt = runtime();
        // After its last poll.
        let error = rt.block_on(rt.spawn(future(false, true))).expect_err("the drop panicked");
        assert_eq!(text(&error), "in the drop");
        // After a poll that panicked itself: the last panic is the one that is told.
        let error = rt.block_on(rt.spawn(future(true, false))).expect_err("both panicked");
        assert_eq!(text(&error), "in the drop");
        // By abort: before the first poll, and while it waits.
        for polls in 0..2 {
            let task = rt.spawn(future(false, false));
            for _ in 0..polls {
                assert!(rt.tick());
            }
            task.abort();
            assert_eq!(text(&rt.block_on(task).expect_err("the drop panicked")), "in the drop");
        }
        // By abort during its own poll.
        let place: Rc<Cell<Option<pinlab::JoinHandle<()>>>> = Rc::default();
        let own = place.clone();
        let bomb = Bomb("in the drop");
        place.set(Some(rt.spawn(async move {
            let _bomb = bomb;
            let handle = own.take().expect("put there before the first poll");
            handle.abort();
            own.set(Some(handle));
            pending::<()>().await;
        })));
        rt.run_until_stalled();
        assert_eq!(text(&rt.block_on(place.take().expect("put back")).expect_err("the drop panicked")), "in the drop");
        // With the runtime; the others are dropped all the same.
        let drops = Drops::default();
        let mut tasks = Vec::new();
        for _ in 0..3 {
            let token = drops.token();
            drop(rt.spawn(async move {
                let _token = token;
                pending::<()>().await;
            }));
            tasks.push(rt.spawn(future(false, false)));
        }
        rt.run_until_stalled();
        drop(rt);
        drops.expect(3);
        for task in tasks {
            assert_eq!(text(&pinlab::block_on(task).expect_err("the drop panicked")), "in the drop");
        }
        // After the runtime: spawned, and dropped at once.
        let rt = runtime();
        let handle = rt.handle();
        drop(rt);
        assert_eq!(text(&pinlab::block_on(handle.spawn(future(false, false))).expect_err("the drop panicked")), "in the drop");
    });
}

/// C25: the output instead of the future.
#[test]
fn an_output_that_panics_when_dropped_unwanted_stops_nothing() {
    within(SOON, || {
        let rt = runtime();
        drop(rt.spawn(async { Bomb("unwanted") })); // detached: dropped by the engine
        let late = rt.spawn(async { Bomb("dropped with the handle") });
        assert_eq!(rt.run_until_stalled(), 2);
        drop(late);
        // Lost with a future whose own drop panics.
        struct Both(Bomb);
        impl Future for Both {
            type Output = Bomb;
            fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Bomb> {
                let _ = self.0.0;
                Poll::Ready(Bomb("the output"))
            }
        }
        let error = rt.block_on(rt.spawn(Both(Bomb("the future")))).err().expect("the future's drop panicked");
        assert_eq!(text(&error), "the future");
        assert_eq!(rt.block_on(rt.spawn(async { 1 })).expect("all is well"), 1);
        assert_eq!(rt.stats().tasks, 0);
    });
}

/// A payload is dropped by the engine where nobody wants it; that it panics must not reach the loop.
#[test]
fn a_panic_payload_that_panics_when_dropped_stops_nothing() {
    within(SOON, || {
        let rt = runtime();
        drop(rt.spawn(async { panic_any(Grudge) }));
        assert_eq!(rt.run_until_stalled(), 1);
        assert_eq!(rt.stats().tasks, 0);
        // A drop that panics with such a payload, after an output that nobody wants; and such a waker.
        struct Spiteful;
        impl Drop for Spiteful {
            fn drop(&mut self) {
                panic_any(Grudge);
            }
        }
        drop(rt.spawn(async { Spiteful }));
        assert_eq!(rt.run_until_stalled(), 1);
        struct Waking;
        impl Wake for Waking {
            fn wake(self: Arc<Self>) {
                panic_any(Grudge);
            }
        }
        let mut task = pin!(rt.spawn(async {}));
        assert!(poll(task.as_mut(), &Waker::from(Arc::new(Waking))).is_pending());
        assert_eq!(rt.run_until_stalled(), 1);
        assert!(task.is_finished());
        assert_eq!(rt.stats().tasks, 0);
        assert_eq!(rt.block_on(rt.spawn(async { 1 })).expect("all is well"), 1);
    });
}

/// C26.
#[test]
fn a_waker_that_panics_takes_no_other_wake_with_it() {
    struct Panicking;
    impl Wake for Panicking {
        fn wake(self: Arc<Self>) {
            panic!("in the waker");
        }
    }
    within(SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        let bad = Waker::from(Arc::new(Panicking));
        let counting = CountingWaker::new();
        let good = counting.waker();

        let soon = std::time::Instant::now() + Duration::from_secs(1); // slow tools, too, are ready to wait by then
        let mut sleeps: Vec<_> = (0..4).map(|_| Box::pin(handle.sleep_until(soon))).collect();
        let (stream, mut theirs) = tcp_pair(&handle);
        let source: &pinlab::Async<_> = stream.as_ref();
        let mut reads: Vec<_> = (0..4).map(|_| Box::pin(source.readable())).collect();
        for turn in 0..4 {
            let waker = if turn % 2 == 0 { &bad } else { &good };
            assert!(poll(sleeps[turn].as_mut(), waker).is_pending());
            assert!(poll(reads[turn].as_mut(), waker).is_pending());
        }
        let mut joined = pin!(rt.spawn(async {}));
        assert!(poll(joined.as_mut(), &bad).is_pending());
        theirs.write_all(b"x").expect("loopback");
        // Panics are slow to report: by then the last sleep may be over before anybody has looked at the socket.
        while counting.wakes() < 4 {
            rt.block_on(handle.sleep(Duration::from_millis(5)));
        }
        rt.block_on(handle.sleep_until(soon + Duration::from_millis(20)));
        assert_eq!(counting.wakes(), 4);
        assert!(joined.is_finished());
    });
}

/// C27 does not apply: nothing iterates over the user's values. This is the nearest: foreign code that makes the future.
#[test]
fn an_into_future_that_panics_leaves_the_runtime_as_it_was() {
    struct Never;
    impl IntoFuture for Never {
        type Output = ();
        type IntoFuture = std::future::Ready<()>;
        fn into_future(self) -> Self::IntoFuture {
            panic!("in into_future")
        }
    }
    within(SOON, || {
        let rt = runtime();
        assert!(catch_unwind(AssertUnwindSafe(|| rt.block_on(Never))).is_err());
        assert!(catch_unwind(AssertUnwindSafe(|| drop(rt.spawn(Never)))).is_err());
        assert_eq!(rt.block_on(async { 1 }), 1);
        assert_eq!(rt.stats().tasks, 0);
    });
}

/// C28 (the notebook that shows the same on the kernel is a test of its own).
#[test]
fn a_block_on_that_panics_leaves_a_runtime_that_works() {
    within(SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        let (keeps, drops) = (Keeps::default(), Drops::default());
        let (gate, open) = (Gate::default(), Gate::default());
        let other = rt.spawn(futures::future::join(gate.clone(), open.clone()));
        for recorded in [false, true] {
            if recorded {
                rt.record();
            }
            for _ in 0..3 {
                let (sleep, kept, token) = (handle.sleep(Duration::from_millis(1)), keeps.clone(), drops.token());
                let panicked = catch_unwind(AssertUnwindSafe(|| {
                    rt.block_on(async {
                        let _token = token;
                        futures::future::select(kept, sleep).await;
                        panic!("in the cell");
                    })
                }));
                assert!(panicked.is_err());
                // The waker of the dead future is still about: it wakes nobody.
                keeps.take().expect("polled").wake();
                // On a slow machine the sleep was over before the other one had its first turn.
                let first = usize::from(!gate.is_waited_for());
                assert_eq!(rt.run_until_stalled(), first);
            }
        }
        drops.expect(6);
        gate.open();
        open.open();
        rt.block_on(other).expect("it went on through all of that");
        // Nor is such a waker a hope, that would keep the engine from saying that it has stalled.
        let sleep = handle.sleep(Duration::from_millis(1));
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            rt.block_on(async {
                futures::future::select(keeps.clone(), sleep).await;
                panic!("in the cell");
            })
        }));
        assert!(panicked.is_err());
        assert!(rt.try_block_on(pending::<()>()).is_err());
        drop(keeps.take().expect("polled"));
        assert_eq!(rt.stats().timers, 0);
    });
}

#[test]
fn driving_a_runtime_from_inside_its_own_task_panics_there_and_only_there() {
    within(SOON, || {
        let rt = Rc::new(runtime());
        let inner = rt.clone();
        let task = rt.spawn(async move { inner.block_on(async {}) });
        assert!(text(&rt.block_on(task).expect_err("refused")).contains("running already"));
        let inner = rt.clone();
        let task = rt.spawn(async move { inner.run_until_stalled() });
        assert!(text(&rt.block_on(task).expect_err("refused")).contains("running already"));
        let inner = rt.clone();
        let caught = catch_unwind(AssertUnwindSafe(|| rt.block_on(async move { inner.tick() })));
        assert!(caught.is_err());
        assert_eq!(rt.block_on(async { 5 }), 5);
    });
}

#[test]
#[should_panic(expected = "polled again after it gave its output")]
fn a_handle_polled_after_its_end_panics() {
    let rt = runtime();
    let mut task = pin!(rt.spawn(async {}));
    rt.run_until_stalled();
    assert!(poll(task.as_mut(), Waker::noop()).is_ready());
    let _ = poll(task.as_mut(), Waker::noop());
}
