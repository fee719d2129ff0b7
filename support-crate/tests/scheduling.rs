//! Fairness, nesting, and driving by hand.

mod common;

use common::{Count, Gate, Keeps, SOON, Trace, patient, poll, runtime, tcp_pair, within, yields_for_ever};
use futures::io::AsyncReadExt;
use futures::task::{LocalSpawn, LocalSpawnExt};
use pinlab::{JoinHandle, TcpListener, yield_now};
use std::cell::RefCell;
use std::future::{Future, pending, poll_fn};
use std::io::Write;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);

/// C29.
#[test]
fn tasks_that_yield_for_ever_starve_neither_timers_nor_sockets_nor_other_threads_nor_tasks() {
    within(SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        let turns: Vec<_> = (0..3).map(|_| yields_for_ever(&rt)).collect();
        let (ours, mut theirs) = tcp_pair(&handle);
        let gate = Gate::default();
        let theirs_gate = gate.clone();
        let helper = thread::spawn(move || {
            thread::sleep(5 * MS);
            theirs.write_all(b"x").expect("loopback");
            theirs_gate.open();
            theirs
        });
        let mut byte = [0];
        let mut reader = &ours;
        let all = async { futures::join!(handle.sleep(10 * MS), reader.read_exact(&mut byte), gate) };
        rt.block_on(all).1.expect("loopback");
        helper.join().expect("no panic");
        let turns: Vec<_> = turns.iter().map(Count::get).collect();
        assert!(turns.iter().max().expect("three") - turns.iter().min().expect("three") <= 1, "in turn: {turns:?}");
    });
}

/// C29: many short `block_on`s, whatever the number of polls in each.
#[test]
fn short_block_ons_do_not_starve_timers_and_sockets_however_many_tasks_yield_beside_them() {
    within(3 * SOON, || {
        for tasks in [0, 1, 29, 30, 58, 59, 60, 61, 120, 121, 122] {
            let rt = runtime();
            let handle = rt.handle();
            for _ in 0..tasks {
                let _ = yields_for_ever(&rt);
            }
            let (ours, mut theirs) = tcp_pair(&handle);
            let (fired, read) = (Rc::new(AtomicBool::new(false)), Rc::new(AtomicBool::new(false)));
            let (sleep, done) = (handle.sleep(2 * MS), fired.clone());
            drop(rt.spawn(async move {
                sleep.await;
                done.store(true, Relaxed);
            }));
            let done = read.clone();
            drop(rt.spawn(async move {
                (&ours).read_exact(&mut [0]).await.expect("loopback");
                done.store(true, Relaxed);
            }));
            rt.block_on(yield_now());
            theirs.write_all(b"x").expect("loopback");
            let start = Instant::now();
            while !(fired.load(Relaxed) && read.load(Relaxed)) {
                rt.block_on(yield_now());
                assert!(start.elapsed() < patient(Duration::from_secs(2)), "{tasks} tasks: {fired:?} {read:?}");
            }
        }
    });
}

/// C29: who was queued and is aborted has no turn, and nobody waits for it.
#[test]
fn sockets_do_not_wait_for_the_turns_of_tasks_that_were_aborted() {
    within(SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        let (ours, mut theirs) = tcp_pair(&handle);
        let reader = rt.spawn(async move { (&ours).read(&mut [0; 1]).await.expect("loopback") });
        let spawn = |count: usize| {
            let yields = || async {
                loop {
                    yield_now().await;
                }
            };
            (0..count).map(|_| handle.spawn(yields())).collect::<Vec<_>>()
        };
        let all: Rc<RefCell<Vec<JoinHandle<()>>>> = Rc::default();
        let mut victims = spawn(98);
        let place = all.clone();
        // Its first poll is the 101st: the sockets were looked at after the 61st, when all of these were queued.
        drop(handle.spawn(async move {
            place.take().iter().for_each(JoinHandle::abort);
            theirs.write_all(b"x").expect("loopback");
            loop {
                thread::sleep(MS);
                yield_now().await;
            }
        }));
        victims.extend(spawn(if cfg!(miri) { 200 } else { 20_000 }));
        all.replace(victims);
        let got = rt.block_on(handle.timeout(patient(Duration::from_secs(3)), reader));
        assert_eq!(got.expect("a byte is there all the time").expect("it reads"), 1);
    });
}

/// C29: wakes from another thread, without end, starve nobody either.
#[test]
fn a_thread_that_wakes_without_end_starves_nobody() {
    within(SOON, || {
        let rt = runtime();
        let keeps = Keeps::default();
        drop(rt.spawn(keeps.clone()));
        rt.run_until_stalled();
        let waker = keeps.take().expect("polled");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let helper = thread::spawn(move || {
            while !stopped.load(Relaxed) {
                waker.wake_by_ref();
            }
        });
        let start = Instant::now();
        rt.block_on(rt.handle().sleep(20 * MS));
        assert!(start.elapsed() < patient(500 * MS));
        stop.store(true, Relaxed);
        helper.join().expect("no panic");
    });
}

#[test]
fn tasks_run_in_the_order_of_their_wakes() {
    let rt = runtime();
    let trace = Trace::default();
    for name in ["a", "b", "c"] {
        let log = trace.clone();
        drop(rt.spawn(async move {
            for turn in 0..2 {
                log.say(format!("{name}{turn}"));
                yield_now().await;
            }
        }));
    }
    rt.run_until_stalled();
    trace.expect(&[
        "a0", "b0", "c0", // as they were spawned
        "a1", "b1", "c1", // as they woke themselves
    ]);
}

/// C30.
#[test]
fn what_one_way_of_driving_leaves_another_way_goes_on_with() {
    within(SOON, || {
        let rt = runtime();
        let trace = Trace::default();
        let spawn = |name: &'static str| {
            let log = trace.clone();
            drop(rt.spawn(async move {
                for _ in 0..3 {
                    log.say(name);
                    yield_now().await;
                }
            }));
        };
        spawn("a");
        rt.block_on(async { spawn("b") }); // ends at its first poll: nobody else was polled
        trace.expect(&[]);
        assert!(rt.tick());
        trace.expect(&["a"]); // by hand, one at a time
        rt.block_on(yield_now());
        trace.expect(&["b", "a"]); // those that were queued before the main future woke itself
        assert!(rt.tick());
        trace.expect(&["b"]);
        rt.run_until_stalled();
        trace.expect(&["a", "b"]);
        assert!(!rt.tick());
        assert_eq!(rt.stats().tasks, 0);
    });
}

#[test]
fn tick_fires_timers_and_fetches_events_without_waiting_for_them() {
    within(SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        let (ours, mut theirs) = tcp_pair(&handle);
        let pause = patient(20 * MS);
        let sleep = handle.sleep(pause); // it is polled before that
        let gate = Gate::default();
        let waits = rt.spawn(gate.clone());
        let slept = rt.spawn(sleep);
        let read = rt.spawn(async move { (&ours).read_exact(&mut [0]).await });
        assert_eq!(rt.run_until_stalled(), 3);
        assert!(!rt.tick());
        theirs.write_all(b"x").expect("loopback");
        thread::spawn(move || gate.open()).join().expect("no panic");
        thread::sleep(pause);
        assert_eq!(rt.run_until_stalled(), 3);
        assert!(waits.is_finished() && slept.is_finished() && read.is_finished());
        assert_eq!(rt.stats().parks, 0, "it never slept");
    });
}

// ---- row 31: nesting (the five cases of async-io's tests/block_on.rs, for both `block_on`s) -------------------------

/// Runs a future with the least executor, or with a runtime of its own.
fn both(test: impl Fn(&dyn Fn(Pin<&mut dyn Future<Output = ()>>))) {
    test(&|future| pinlab::block_on(future));
    test(&|future| runtime().block_on(future));
}

#[test]
fn a_nested_block_on_has_a_waker_of_its_own() {
    both(|block_on| {
        block_on(pin!(async {
            let outer = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
            block_on(pin!(async {
                let inner = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
                assert!(!inner.will_wake(&outer));
            }));
        }));
    });
}

#[test]
fn the_inner_block_on_cannot_use_up_a_wake_of_the_outer() {
    within(SOON, || {
        both(|block_on| {
            let mut polls = 0;
            block_on(pin!(poll_fn(|cx| {
                polls += 1;
                if polls == 2 {
                    return Poll::Ready(());
                }
                cx.waker().wake_by_ref();
                block_on(pin!(yield_now()));
                Poll::Pending
            })));
            assert_eq!(polls, 2);
        });
    });
}

#[test]
fn the_outer_wakers_do_not_wake_the_inner_block_on() {
    within(SOON, || {
        both(|block_on| {
            block_on(pin!(poll_fn(|cx| {
                let outer = cx.waker().clone();
                let mut polls = 0;
                let gate = Gate::default();
                let mut wait = gate.clone();
                let helper = thread::spawn(move || {
                    for _ in 0..5 {
                        outer.wake_by_ref();
                        thread::sleep(2 * MS);
                    }
                    gate.open();
                });
                block_on(pin!(poll_fn(|cx| {
                    polls += 1;
                    Pin::new(&mut wait).poll(cx)
                })));
                helper.join().expect("no panic");
                assert!(polls <= 2, "{polls}");
                Poll::Ready(())
            })));
        });
    });
}

#[test]
fn a_waker_of_the_first_block_on_does_not_wake_the_second() {
    within(SOON, || {
        let rt = runtime();
        let mut first = None;
        rt.block_on(poll_fn(|cx| {
            first = Some(cx.waker().clone());
            Poll::Ready(())
        }));
        let mut polls = 0;
        let mut sleep = pin!(rt.handle().sleep(patient(50 * MS))); // it is polled before that
        rt.block_on(poll_fn(|cx| {
            polls += 1;
            first.as_ref().expect("set").wake_by_ref();
            sleep.as_mut().poll(cx)
        }));
        assert_eq!(polls, 2);
    });
}

#[test]
fn a_future_is_not_polled_after_it_was_ready_though_its_waker_is_called() {
    within(SOON, || {
        both(|block_on| {
            let mut done = false;
            block_on(pin!(poll_fn(|cx| {
                assert!(!std::mem::replace(&mut done, true), "polled after it was ready");
                cx.waker().wake_by_ref();
                Poll::Ready(())
            })));
            block_on(pin!(async {}));
        });
    });
}

#[test]
fn one_runtime_may_be_driven_inside_a_task_of_another() {
    within(SOON, || {
        let (outer, inner) = (runtime(), Rc::new(runtime()));
        let (handle, nested) = (outer.handle(), inner.clone());
        let result = outer.block_on(outer.spawn(async move {
            let other = handle.spawn(async { 3 });
            nested.block_on(nested.handle().sleep(2 * MS));
            other.await.expect("no panic")
        }));
        assert_eq!(result.expect("no panic"), 3);
    });
}

/// C32: an event wakes all who wait for a listener; who comes too late waits again, and no connection is lost.
#[test]
fn two_tasks_that_accept_from_one_listener_share_its_connections() {
    within(SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        let listener = Rc::new(TcpListener::bind(&handle, "127.0.0.1:0").expect("loopback"));
        let address = listener.local_addr().expect("bound");
        let accepted = Count::default();
        let tasks: Vec<_> = (0..2)
            .map(|_| {
                let (listener, accepted) = (listener.clone(), accepted.clone());
                rt.spawn(async move {
                    while accepted.get() < 20 {
                        let (_stream, _) = listener.accept().await.expect("loopback");
                        if accepted.up() == 20 {
                            break;
                        }
                    }
                })
            })
            .collect();
        rt.run_until_stalled();
        let clients: Vec<_> = (0..20)
            .map(|_| {
                let client = std::net::TcpStream::connect(address).expect("loopback");
                rt.run_until_stalled();
                client
            })
            .collect();
        rt.block_on(handle.sleep(5 * MS));
        assert_eq!(accepted.get(), 20);
        assert_eq!(tasks.iter().filter(|task| task.is_finished()).count(), 1, "the other waits for one more");
        drop(clients);
    });
}

#[test]
fn the_futures_crate_spawns_on_a_handle() {
    let rt = runtime();
    let handle = rt.handle();
    let remote = handle.spawn_local_with_handle(async { Rc::new(5) }).expect("open");
    assert_eq!(*rt.block_on(remote), 5);
    drop(rt);
    assert!(handle.status_local().expect_err("gone").is_shutdown());
    assert!(handle.spawn_local(async {}).expect_err("gone").is_shutdown());
}

#[test]
fn stats_count_what_there_is() {
    let rt = runtime();
    let handle = rt.handle();
    let _task = rt.spawn(pending::<()>());
    let _socket = pinlab::TcpListener::bind(&handle, "127.0.0.1:0").expect("loopback");
    let mut sleep = pin!(handle.sleep(Duration::from_secs(60)));
    assert!(poll(sleep.as_mut(), Waker::noop()).is_pending());
    rt.run_until_stalled();
    let stats = rt.stats();
    assert_eq!((stats.polls, stats.parks, stats.tasks, stats.timers, stats.sources), (1, 0, 1, 1, 1));
}

/// A queue of tasks that are over is an empty one: who drives by hand still gets what is due.
#[test]
fn what_is_due_is_found_behind_a_task_that_is_over() {
    let rt = runtime();
    let time = patient(20 * MS);
    let sleeper = rt.spawn(rt.handle().sleep(time));
    rt.run_until_stalled();
    thread::sleep(2 * time);
    rt.spawn(async {}).abort(); // queued, and over
    assert_eq!(rt.run_until_stalled(), 1);
    assert!(sleeper.is_finished());
}

/// Those that leave the queue because they are aborted shorten no round: all who were queued at a look at the sockets have their turn before the next.
#[cfg(not(miri))] // needs time to be short
#[test]
fn all_have_their_turn_between_two_looks_at_the_sockets_beside_many_that_are_aborted() {
    const MANY: u64 = 101;
    within(SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        let (stream, _theirs) = common::tcp_pair(&handle);
        drop(rt.spawn(async move { stream.peek(&mut [0]).await }));
        for _ in 0..MANY {
            let handle = handle.clone();
            drop(rt.spawn(async move {
                loop {
                    (0..33).for_each(|_| handle.spawn(std::future::pending::<()>()).abort());
                    pinlab::yield_now().await;
                }
            }));
        }
        rt.block_on(handle.sleep(Duration::from_millis(20)));
        let before = rt.stats();
        rt.block_on(handle.sleep(Duration::from_millis(200)));
        let after = rt.stats();
        let (polls, waits) = (after.polls - before.polls, after.waits - before.waits);
        assert!(waits > 2, "{waits} looks");
        assert!(polls >= (waits - 1) * MANY, "{polls} polls and {waits} looks");
    });
}
