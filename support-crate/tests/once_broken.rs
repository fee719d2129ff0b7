//! Programs of safe code that crashed an engine, let it spin, or hung it. Each ends now as the documentation says.

mod common;

use common::{Drops, Keeps, SOON, poll, runtime, tcp_pair, within};
use futures::future::join_all;
use futures::{AsyncReadExt, StreamExt};
use pinlab::{JoinHandle, Runtime, TcpListener};
use std::cell::RefCell;
use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

// ---- they crashed ----------------------------------------------------------------------------------------------

#[test]
fn a_drop_that_drives_the_engine_does_not_poll_the_future_that_is_being_dropped() {
    struct Ticks(Rc<Runtime>);
    impl Drop for Ticks {
        fn drop(&mut self) {
            assert!(!self.0.tick(), "there is nothing to poll");
        }
    }
    let rt = Rc::new(runtime());
    let drops = Drops::default();
    let (ticks, token) = (Ticks(rt.clone()), drops.token());
    let task = rt.spawn(async move {
        let (_ticks, _token) = (ticks, token);
        unreachable!("it is aborted before its first poll");
    });
    task.abort();
    assert!(task.is_finished());
    drops.expect(1);
    assert!(rt.block_on(task).expect_err("aborted").is_cancelled());
}

#[test]
fn a_task_that_aborts_itself_in_its_poll_and_again_in_its_drop_is_dropped_once() {
    type Place = Rc<RefCell<Option<JoinHandle<()>>>>;
    struct Aborts(Place);
    impl Drop for Aborts {
        fn drop(&mut self) {
            self.0.borrow().as_ref().expect("put there before the first poll").abort();
        }
    }
    let rt = runtime();
    let (place, drops) = (Place::default(), Drops::default());
    let (own, token) = (place.clone(), drops.token());
    let task = rt.spawn(async move {
        let _token = token;
        let _guard = Aborts(own.clone());
        own.borrow().as_ref().expect("put there before the first poll").abort();
        pending::<()>().await;
    });
    *place.borrow_mut() = Some(task);
    assert_eq!(rt.run_until_stalled(), 1);
    drops.expect(1);
    let task = place.take().expect("still there");
    assert!(rt.block_on(task).expect_err("aborted").is_cancelled());
}

thread_local! {
    /// A waker is `Send`, a runtime is not: a waker that wants one finds it here.
    static RUNTIME: RefCell<Option<Rc<Runtime>>> = const { RefCell::new(None) };
}

/// Aborts a task that is queued, whose end this waker is told; what its handle gives then.
fn abort_with_a_joiner(waker: &Waker) -> Result<(), pinlab::JoinError> {
    RUNTIME.set(Some(Rc::new(runtime())));
    let mut task = RUNTIME.with_borrow(|rt| rt.as_ref().expect("just set").spawn(pending::<()>()));
    assert!(poll(Pin::new(&mut task), waker).is_pending());
    task.abort();
    assert!(task.is_finished());
    pinlab::block_on(task)
}

#[test]
fn who_awaits_a_task_may_drive_the_engine_when_its_abortion_wakes_him() {
    struct Drives;
    impl Wake for Drives {
        fn wake(self: Arc<Self>) {
            let rt = RUNTIME.with_borrow(Clone::clone).expect("set by the test");
            assert!(!rt.tick(), "there is nothing to poll");
        }
    }
    assert!(abort_with_a_joiner(&Waker::from(Arc::new(Drives))).expect_err("aborted").is_cancelled());
}

#[test]
fn who_awaits_a_task_may_drop_the_runtime_when_its_abortion_wakes_him() {
    struct Drops;
    impl Wake for Drops {
        fn wake(self: Arc<Self>) {
            drop(RUNTIME.take());
        }
    }
    assert!(abort_with_a_joiner(&Waker::from(Arc::new(Drops))).expect_err("aborted").is_cancelled());
}

// ---- they span -------------------------------------------------------------------------------------------------

/// Polls that an engine makes in this time with nothing but these waiters.
fn polls_while_idle(rt: &Runtime, time: Duration) -> u64 {
    let before = rt.stats().polls;
    rt.block_on(rt.handle().sleep(time));
    rt.stats().polls - before
}

#[test]
#[cfg_attr(miri, ignore = "many sockets")]
fn any_number_of_poll_style_waiters_may_wait_for_one_source_and_none_is_lost() {
    within(6 * SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        for waiters in (1..=100).chain([1000]) {
            let listener = Rc::new(TcpListener::bind(&handle, "127.0.0.1:0").expect("loopback"));
            let tasks: Vec<_> = (0..waiters)
                .map(|_| {
                    let listener = listener.clone();
                    rt.spawn(async move { drop(listener.incoming().next().await) })
                })
                .collect();
            // The first polls, and again for those who were asked whether they still wait, each time their number had doubled.
            let (mut settling, mut idle) = (0, u64::MAX);
            while idle > 2 {
                idle = polls_while_idle(&rt, Duration::from_millis(1)); // two of its own
                settling += idle;
                assert!(settling <= 6 * waiters + 32, "{waiters} waiters were polled {settling} times");
            }
            if waiters <= 100 {
                let peer = listener.local_addr().expect("bound");
                let _peers: Vec<_> = (0..waiters).map(|_| std::net::TcpStream::connect(peer).expect("loopback")).collect();
                rt.block_on(join_all(tasks)).into_iter().for_each(|ended| ended.expect("it returns"));
            }
        }
    });
}

#[test]
#[cfg_attr(miri, ignore = "many sockets")]
fn waiters_of_both_kinds_leave_an_engine_idle() {
    within(SOON, || {
        let rt = runtime();
        let listener = Rc::new(TcpListener::bind(&rt.handle(), "127.0.0.1:0").expect("loopback"));
        for _ in 0..32 {
            let listener = listener.clone();
            drop(rt.spawn(async move { drop(listener.accept().await) }));
        }
        for _ in 0..2 {
            let listener = listener.clone();
            drop(rt.spawn(async move { drop(listener.incoming().next().await) }));
        }
        let polls = polls_while_idle(&rt, Duration::from_millis(50));
        assert!(polls <= 4 * 34 + 8, "{polls}");
    });
}

#[test]
fn sleeps_of_no_length_let_others_run() {
    within(SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        let busy = handle.clone();
        drop(rt.spawn(async move {
            loop {
                busy.sleep(Duration::ZERO).await;
            }
        }));
        let busy = handle.clone();
        drop(rt.spawn(async move {
            let mut interval = busy.interval(Duration::from_nanos(1));
            loop {
                interval.tick().await;
            }
        }));
        rt.block_on(handle.sleep(Duration::from_millis(5)));
    });
}

// ---- they hung -------------------------------------------------------------------------------------------------

#[test]
fn who_awaits_a_sleep_that_another_resets_is_woken_at_the_new_deadline() {
    within(SOON, || {
        let rt = runtime();
        let sleep = Rc::new(RefCell::new(rt.handle().sleep(Duration::from_secs(3600))));
        let shared = sleep.clone();
        let waits = rt.spawn(poll_fn(move |cx| std::future::Future::poll(Pin::new(&mut *shared.borrow_mut()), cx)));
        rt.run_until_stalled();
        let deadline = Instant::now() + Duration::from_millis(5);
        sleep.borrow_mut().reset(deadline);
        rt.block_on(waits).expect("it returns");
        assert!(Instant::now() >= deadline);
    });
}

#[test]
fn any_number_of_stuck_tasks_that_are_awaited_together_is_reported() {
    within(SOON, || {
        for tasks in [1, 2, 29, 30, 31, 32, 100, 1000] {
            let rt = runtime();
            let stuck: Vec<_> = (0..tasks).map(|_| rt.spawn(pending::<()>())).collect();
            let stalled = rt.try_block_on(join_all(stuck)).map(|_| ()).expect_err("nothing can ever happen");
            assert_eq!(stalled.waiting().len(), tasks + 1);
        }
    });
}

#[test]
fn a_wait_for_a_socket_that_has_timed_out_is_no_hope() {
    within(SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        let (mut stream, _theirs) = tcp_pair(&handle);
        let stalled = rt.try_block_on(async {
            let timed_out = handle.timeout(Duration::from_millis(2), stream.read(&mut [0; 4])).await;
            assert!(timed_out.is_err());
            pending::<()>().await;
        });
        assert!(stalled.is_err());

        let listener = TcpListener::bind(&handle, "127.0.0.1:0").expect("loopback");
        let stalled = rt.try_block_on(async {
            assert!(handle.timeout(Duration::from_millis(2), listener.accept()).await.is_err());
            pending::<()>().await;
        });
        assert!(stalled.is_err());
    });
}

#[test]
fn a_waker_in_a_place_that_is_gone_is_no_hope() {
    within(SOON, || {
        let rt = runtime();
        let keeps = Keeps::default();
        let stuck = rt.spawn(keeps.clone());
        rt.run_until_stalled();
        drop(keeps.take());
        drop(keeps);
        assert!(rt.try_block_on(stuck).is_err());
    });
}
