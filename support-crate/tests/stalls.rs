//! A stalled engine says so, with the place; and it never says so while anybody may still wake.

mod common;

use common::{Gate, Keeps, OnDrop, SOON, runtime, tcp_pair, within};
use futures::channel::{mpsc, oneshot};
use futures::{AsyncRead, FutureExt, StreamExt};
use pinlab::{Stalled, TcpListener, UdpSocket, yield_now};
use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

fn lines(stalled: &Stalled) -> Vec<u32> {
    stalled.waiting().iter().map(|waiting| waiting.location().line()).collect()
}

/// From the issue.
#[test]
fn a_future_that_waits_for_nothing_is_reported_at_once_with_its_place() {
    within(SOON, || {
        let rt = runtime();
        let start = Instant::now();
        let line = line!() + 1;
        let stalled = rt.try_block_on(pending::<()>()).expect_err("nothing can wake it");
        assert!(start.elapsed() < Duration::from_secs(1));
        assert_eq!(stalled.waiting().len(), 1);
        let waiting = &stalled.waiting()[0];
        assert!(waiting.is_blocking() && !waiting.awaits_a_task());
        assert_eq!(waiting.name(), "Pending<()>");
        assert_eq!((waiting.location().file(), waiting.location().line()), (file!(), line));
        let text = stalled.to_string();
        assert!(text.contains(&format!("{}:{line}", file!())), "{text}");
        assert_eq!(rt.block_on(async { 1 }), 1, "the runtime goes on");
    });
}

#[test]
fn block_on_panics_with_the_report() {
    let rt = runtime();
    let line = line!() + 1;
    let panic = catch_unwind(AssertUnwindSafe(|| rt.block_on(pending::<()>()))).expect_err("stalled");
    let text = panic.downcast_ref::<String>().expect("the report");
    assert!(text.starts_with("stalled") && text.contains(&format!("{}:{line}", file!())), "{text}");
}

/// From the issue.
#[test]
fn a_waker_in_another_thread_that_fires_after_50_ms_completes_it() {
    within(SOON, || {
        let rt = runtime();
        let gate = Gate::default();
        let theirs = gate.clone();
        let helper = thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            theirs.open();
        });
        rt.try_block_on(gate).expect("the thread has its waker");
        helper.join().expect("no panic");
        assert!(rt.stats().parks <= 3, "it slept, {} times", rt.stats().parks);
    });
}

#[test]
fn every_waiting_task_is_listed_with_where_it_was_spawned_and_why_it_waits() {
    within(SOON, || {
        let rt = runtime();
        let at = line!() + 1;
        let inner = rt.spawn(pending::<()>());
        let outer = rt.spawn(inner.map(drop));
        drop(rt.spawn(async {})); // ends, and is not listed
        let blocked = line!() + 1;
        let stalled = rt.try_block_on(outer).expect_err("nothing can wake the innermost");
        assert_eq!(lines(&stalled), [blocked, at, at + 1]);
        let why: Vec<_> = stalled.waiting().iter().map(|waiting| (waiting.is_blocking(), waiting.awaits_a_task())).collect();
        assert_eq!(why, [(true, true), (false, false), (false, true)]);
        assert_eq!(rt.stats().tasks, 2, "spawned tasks stay");
    });
}

#[test]
fn a_stall_is_found_after_timers_and_wakes_have_been_used_up() {
    within(SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        let stalled = rt.try_block_on(async {
            handle.sleep(Duration::from_millis(5)).await;
            yield_now().await;
            pending::<()>().await;
        });
        assert!(stalled.is_err());
    });
}

#[test]
fn a_sleep_that_never_ends_is_a_stall_too_and_awaits_no_task() {
    within(SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        let sleeps = rt.spawn(handle.sleep(Duration::MAX));
        let both = rt.spawn(futures::future::select(rt.spawn(pending::<()>()), handle.sleep(Duration::MAX)));
        let stalled = rt.try_block_on(handle.timeout(Duration::MAX, pending::<()>())).expect_err("no such time comes");
        let why: Vec<_> = stalled.waiting().iter().map(|waiting| (waiting.awaits_a_task(), waiting.sleeps_for_ever())).collect();
        assert_eq!(why, [(false, true), (false, true), (false, false), (true, false)]);
        assert_eq!(stalled.to_string().matches("waits for a time that never comes").count(), 2, "{stalled}");
        drop((sleeps, both));
    });
}

#[test]
fn a_task_whose_future_is_being_dropped_does_not_wait() {
    within(SOON, || {
        let rt = Rc::new(runtime());
        let (inside, listed) = (rt.clone(), Rc::new(Cell::new(0)));
        let told = listed.clone();
        let drives = OnDrop(move || told.set(inside.try_block_on(pending::<()>()).expect_err("a stall").waiting().len()));
        let task = rt.spawn(async move {
            let _drives = drives;
            pending::<()>().await;
        });
        rt.run_until_stalled();
        task.abort();
        assert_eq!(listed.get(), 1, "the main future, and no other");
    });
}

thread_local! {
    static RT: RefCell<Option<Rc<pinlab::Runtime>>> = const { RefCell::new(None) };
    /// How many waited when [`Drives`] found a stall.
    static WAITED: Cell<usize> = const { Cell::new(0) };
}

/// A waker whose drop drives the engine, which stalls.
struct Drives;

impl Wake for Drives {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Drives {
    fn drop(&mut self) {
        let rt = RT.take().expect("once");
        WAITED.set(rt.try_block_on(pending::<()>()).expect_err("a stall").waiting().len());
    }
}

/// Wakers that the engine is about to drop are nobody's hope.
#[test]
fn wakers_of_a_source_that_is_being_dropped_are_no_hope() {
    use futures::AsyncRead;
    within(SOON, || {
        let rt = Rc::new(runtime());
        let (stream, _theirs) = common::tcp_pair(&rt.handle());
        let stream = Rc::new(stream);
        let waker = Waker::from(Arc::new(Drives));
        assert!(Pin::new(&mut &*stream).poll_read(&mut Context::from_waker(&waker), &mut [0]).is_pending());
        drop(waker); // the source has the last one
        let weak = Rc::downgrade(&stream);
        drop(rt.spawn(poll_fn(move |cx| {
            if let Some(stream) = weak.upgrade() {
                assert!(Pin::new(&mut &*stream).poll_read(cx, &mut [0]).is_pending());
            }
            Poll::<()>::Pending
        })));
        rt.run_until_stalled();
        RT.set(Some(rt.clone()));
        drop(stream);
        assert_eq!(WAITED.get(), 2, "the task, and what was blocked on");
    });
}

/// Its reference is counted as long as it is being dropped, and is no waker's.
#[test]
fn a_join_handle_that_is_being_dropped_is_no_hope() {
    within(SOON, || {
        let rt = Rc::new(runtime());
        RT.set(Some(rt.clone()));
        let mut handle = rt.spawn(pending::<()>());
        rt.run_until_stalled();
        assert!(common::poll(Pin::new(&mut handle), &Waker::from(Arc::new(Drives))).is_pending());
        drop(handle);
        assert_eq!(WAITED.get(), 2, "the task, and what was blocked on");
    });
}

#[test]
fn a_stall_is_found_when_the_last_waker_is_dropped_by_another_thread() {
    within(SOON, || {
        let rt = runtime();
        let keeps = Keeps::default();
        let theirs = keeps.clone();
        let helper = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            let waker = theirs.take().expect("polled");
            let clone = waker.clone();
            drop(waker);
            thread::sleep(Duration::from_millis(20));
            drop(clone);
        });
        assert!(rt.try_block_on(keeps).is_err());
        helper.join().expect("the stall was not told before the last clone was dropped, but it ended");
    });
}

/// Each of these may still happen, so each must be waited for. None is helped along before the engine sleeps.
#[test]
fn there_is_no_stall_while_anything_may_still_happen() {
    within(SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        let later = |what: Box<dyn FnOnce() + Send>| {
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(20));
                what();
            })
        };

        // A channel's other end in another thread.
        let (sender, receiver) = oneshot::channel();
        let helper = later(Box::new(move || sender.send(5).expect("it waits")));
        assert_eq!(rt.try_block_on(receiver).expect("the thread has the sender"), Ok(5));
        helper.join().expect("no panic");

        // ... that is dropped, which is an event too.
        let (sender, mut receiver) = mpsc::channel::<u8>(1);
        let helper = later(Box::new(move || drop(sender)));
        assert_eq!(rt.try_block_on(receiver.next()).expect("the thread has the sender"), None);
        helper.join().expect("no panic");

        // The waker of a spawned task, while the main future waits for that task only.
        let gate = Gate::default();
        let theirs = gate.clone();
        let helper = later(Box::new(move || theirs.open()));
        rt.try_block_on(rt.spawn(rt.spawn(gate))).expect("the thread has the gate").expect("no panic").expect("no panic");
        helper.join().expect("no panic");

        // The waker of a task that nobody awaits, which then opens the way for the main future.
        let (gate, next) = (Gate::default(), Gate::default());
        let (theirs, opens) = (gate.clone(), next.clone());
        drop(rt.spawn(async move {
            gate.await;
            opens.open();
        }));
        let helper = later(Box::new(move || theirs.open()));
        rt.try_block_on(next).expect("the thread has the gate");
        helper.join().expect("no panic");

        // A timer, a socket, a listener.
        rt.try_block_on(handle.sleep(Duration::from_millis(5))).expect("a timer is armed");
        let (stream, theirs) = tcp_pair(&handle);
        let helper = later(Box::new(move || drop(theirs)));
        rt.try_block_on(stream.as_ref().readable()).expect("a socket is armed").expect("watched");
        helper.join().expect("no panic");
        let listener = TcpListener::bind(&handle, "127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        let helper = later(Box::new(move || drop(std::net::TcpStream::connect(address))));
        rt.try_block_on(listener.accept()).expect("a listener is armed").expect("one came");
        helper.join().expect("no panic");
    });
}

#[test]
fn a_wait_for_a_socket_that_was_given_up_is_no_hope() {
    within(SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        let socket = UdpSocket::bind(&handle, "127.0.0.1:0").expect("loopback");
        let result = rt.try_block_on(async {
            let limit = handle.timeout(Duration::from_millis(5), socket.recv(&mut [0])).await;
            assert!(limit.is_err());
            pending::<()>().await;
        });
        assert!(result.is_err());
    });
}

/// Who finds out that a read was given up may give up another one in the same silence.
#[cfg(not(miri))] // it would take long
#[test]
fn reads_that_are_given_up_one_after_the_other_are_no_hope() {
    within(SOON, || {
        let rt = runtime();
        let pairs = [tcp_pair(&rt.handle()), tcp_pair(&rt.handle())];
        let mut left = pairs.iter();
        let result = rt.try_block_on(poll_fn(|cx| {
            if let Some((ours, _theirs)) = left.next() {
                assert!(Pin::new(&mut &*ours).poll_read(cx, &mut [0; 8]).is_pending());
            }
            Poll::<()>::Pending
        }));
        assert!(result.is_err());
    });
}

#[test]
fn wakers_left_by_an_earlier_block_on_are_no_hope() {
    within(SOON, || {
        let rt = runtime();
        let keeps = Keeps::default();
        rt.block_on(futures::future::select(keeps.clone(), yield_now()));
        assert!(rt.try_block_on(pending::<()>()).is_err());
        drop(keeps);
    });
}

#[test]
fn many_clones_given_back_by_many_threads_end_in_a_stall() {
    within(SOON, || {
        let rt = runtime();
        for round in 0..200 {
            let keeps = Keeps::default();
            let theirs = keeps.clone();
            let helper = thread::spawn(move || {
                let waker = loop {
                    match theirs.take() {
                        Some(waker) => break waker,
                        None => thread::yield_now(),
                    }
                };
                thread::scope(|scope| {
                    for thread in 0..3 {
                        let waker = &waker;
                        scope.spawn(move || {
                            let clones: Vec<_> = (0..thread + round % 3).map(|_| waker.clone()).collect();
                            let copies = clones.clone();
                            drop(clones);
                            drop(copies);
                        });
                    }
                });
            });
            assert!(rt.try_block_on(keeps).is_err());
            helper.join().expect("no panic");
        }
    });
}

/// The engine counts wakers and awaited handles against each other; who awaits with a waker that is not the engine's must not spoil the sum.
#[test]
fn handles_awaited_with_foreign_wakers_hide_no_hope() {
    within(SOON, || {
        let rt = runtime();
        let (gate, next) = (Gate::default(), Gate::default());
        let (theirs, opens) = (gate.clone(), next.clone());
        let opener = rt.spawn(async move {
            gate.await;
            opens.open();
        });
        let mut waiting: Vec<_> = vec![opener, rt.spawn(pending()), rt.spawn(pending())];
        for handle in &mut waiting {
            assert!(common::poll(std::pin::Pin::new(handle), std::task::Waker::noop()).is_pending());
        }
        let helper = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            theirs.open();
        });
        rt.try_block_on(next).expect("the thread has the gate, and behind it waits who opens the next one");
        helper.join().expect("no panic");
    });
}
