//! When futures, outputs, tasks and runtimes end: everything is dropped once, on its own thread, whoever still holds a waker.

#[path = "common/allocations.rs"]
mod allocations;
mod common;

use allocations::leaked;
use common::{Count, Drops, Gate, Keeps, OnDrop, SOON, Token, runtime, within};
use futures::channel::{mpsc, oneshot};
use futures::stream::StreamExt;
use pinlab::{CountingWaker, Handle, JoinHandle, Runtime, yield_now};
use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex, OnceLock};
use std::task::{Poll, RawWaker, Wake, Waker};
use std::thread;
use std::time::Duration;

// ---- what readers of the engine found -------------------------------------------------------------------

#[test]
fn a_detached_task_that_ends_in_its_first_recorded_poll_is_still_there_to_be_named() {
    let rt = runtime();
    drop(rt.spawn(async { std::hint::black_box([0_u64; 64]).len() }));
    rt.record(); // after the spawn: the recorder meets the task at the end of its poll, when nothing refers to it any more
    assert_eq!(rt.run_until_stalled(), 1);
    let trace = rt.trace();
    assert_eq!(trace.tasks(), 1);
    assert!(trace.name(0).starts_with("a_detached_task"), "{}", trace.name(0));
}

#[test]
fn a_recording_that_starts_anew_inside_a_poll_can_name_the_task_that_ends_with_it() {
    let rt = Rc::new(runtime());
    let inner = rt.clone();
    rt.record();
    drop(rt.spawn(async move {
        inner.record();
        drop(inner);
    }));
    rt.run_until_stalled();
    assert_eq!(rt.trace().entries().len(), 0); // the poll began before it
}

#[test]
fn an_output_that_wakes_its_own_task_when_dropped_leaks_nothing() {
    let leak = leaked(|| {
        let rt = runtime();
        drop(rt.spawn(poll_fn(|cx| {
            let waker = cx.waker().clone();
            Poll::Ready(OnDrop(move || waker.wake_by_ref()))
        })));
        rt.run_until_stalled();
    });
    assert_eq!(leak, (0, 0));
}

#[test]
fn a_joiner_that_wakes_the_ended_task_leaks_nothing() {
    /// A foreign waker that passes each wake on to a waker of the very task whose end it is told.
    struct Back(Waker);
    impl Wake for Back {
        fn wake(self: Arc<Self>) {
            self.0.wake_by_ref();
        }
    }
    let leak = leaked(|| {
        let rt = runtime();
        let (keeps, gate) = (Keeps::default(), Gate::default());
        let (kept, open) = (keeps.clone(), gate.clone());
        let mut handle = rt.spawn(async move {
            futures::future::select(kept, open).await;
        });
        rt.run_until_stalled();
        let back = Waker::from(Arc::new(Back(keeps.take().expect("polled"))));
        assert!(common::poll(std::pin::Pin::new(&mut handle), &back).is_pending());
        gate.open();
        rt.run_until_stalled();
        assert!(handle.is_finished());
    });
    assert_eq!(leak, (0, 0));
}

#[test]
fn a_task_spawned_by_a_drop_while_the_runtime_is_dropped_is_cancelled_too() {
    let drops = Drops::default();
    let leak = leaked(|| {
        let rt = runtime();
        let (handle, token) = (rt.handle(), drops.token());
        let mut left = 3;
        let spawns = OnDrop(move || {
            let token = token.clone();
            for _ in 0..left {
                let token = token.clone();
                drop(handle.spawn(async move {
                    let _token = token;
                    pending::<()>().await;
                }));
            }
            left = 0;
        });
        drop(rt.spawn(async move {
            let _spawns = spawns;
            pending::<()>().await;
        }));
        rt.run_until_stalled();
    });
    // Two runs; in each the token, its clone for the loop, and one for each of the three tasks.
    drops.expect(2 * 5);
    assert!(leak.0 <= 256, "only the list of drops may have grown: {leak:?}");
}

#[test]
fn the_handle_of_a_task_spawned_while_the_runtime_is_dropped_says_that_it_was_cancelled() {
    let rt = runtime();
    let handle = rt.handle();
    let result: Rc<RefCell<Option<JoinHandle<()>>>> = Rc::default();
    let place = result.clone();
    let spawns = OnDrop(move || *place.borrow_mut() = Some(handle.spawn(pending())));
    drop(rt.spawn(async move {
        let _spawns = spawns;
        pending::<()>().await;
    }));
    rt.run_until_stalled();
    drop(rt);
    let late = result.take().expect("the drop has run");
    assert!(late.is_finished());
    assert!(pinlab::block_on(late).expect_err("it never ran").is_cancelled());
}

#[test]
fn a_future_may_own_the_runtime_that_runs_it() {
    // Not driven any more, it can only be cancelled, and takes the runtime along.
    let drops = Drops::default();
    let rt = runtime();
    let (token, other) = (drops.token(), drops.token());
    drop(rt.spawn(async move {
        let _other = other;
        pending::<()>().await;
    }));
    let handle = rt.handle();
    let task = handle.spawn(async move {
        let (_token, _rt) = (token, rt);
        pending::<()>().await;
    });
    task.abort();
    assert!(task.is_finished());
    drops.expect(2);
    assert!(pinlab::block_on(task).expect_err("aborted").is_cancelled());
    assert!(pinlab::block_on(handle.spawn(async {})).expect_err("the runtime is gone").is_cancelled());
}

/// Clones that are forgotten count for ever. Those that other threads make are added to the others by a message, which must not carry the count past its
/// end, for then the task would be freed while they are about.
#[test]
#[cfg_attr(miri, ignore = "counts to thirty million")]
fn a_task_with_too_many_wakers_ends_the_process_and_not_its_memory() {
    const MOST: usize = 1 << 24;
    if std::env::var_os("PINLAB_TOO_MANY").is_none() {
        let program = std::env::current_exe().expect("this test");
        let name = "a_task_with_too_many_wakers_ends_the_process_and_not_its_memory";
        let mut command = std::process::Command::new(program);
        command.args(["--exact", name, "--nocapture"]).env("PINLAB_TOO_MANY", "");
        let output = command.output().expect("this test can be started");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("wakers, and room for no more"), "{:?} {said}", output.status);
        // It must end, too, where nothing can be said any more.
        #[cfg(target_os = "linux")]
        {
            use std::os::unix::process::ExitStatusExt;
            let full = std::fs::File::options().write(true).open("/dev/full").expect("Linux has it");
            let status = command.stderr(full).stdout(std::process::Stdio::null()).status().expect("this test can be started");
            assert_eq!(status.signal(), Some(libc::SIGABRT), "{status:?}");
        }
        return;
    }
    let rt = runtime();
    let keeps = Keeps::default();
    drop(rt.spawn(keeps.clone()));
    for _ in 0..3 {
        rt.run_until_stalled();
        let waker = keeps.take().expect("polled");
        let forget_many = move || {
            (1..MOST).for_each(|_| std::mem::forget(waker.clone()));
            waker.wake();
        };
        thread::spawn(forget_many).join().expect("no panic");
    }
    println!("three times {MOST} wakers, and nothing was said");
}

/// As many as there may be, all of another thread's, of a task that is over: the sum is as large as the number that is added.
#[test]
#[cfg_attr(miri, ignore = "counts to seventeen million")]
fn as_many_wakers_as_there_may_be_of_a_task_that_is_over_are_counted_right() {
    within(SOON, || {
        let rt = runtime();
        let keeps = Keeps::default();
        let task = rt.spawn(keeps.clone());
        rt.run_until_stalled();
        let first = keeps.take().expect("polled");
        let (first, kept) = thread::spawn(move || {
            (0..(1_u32 << 24) - 2).for_each(|_| std::mem::forget(first.clone()));
            let kept = first.clone();
            (first, kept)
        })
        .join()
        .expect("no panic");
        task.abort();
        drop((task, first));
        let kept = thread::spawn(move || {
            kept.wake_by_ref();
            kept
        })
        .join()
        .expect("no panic");
        rt.run_until_stalled();
        drop(kept.clone());
        kept.wake_by_ref(); // it is still there
        // Who looks for leaks finds none: the forgotten ones go, too.
        thread::spawn(move || {
            for _ in 0..(1_u32 << 24) - 2 {
                // SAFETY: each of these was forgotten, and so owns one count, which nobody else gives back.
                drop(unsafe { Waker::from_raw(RawWaker::new(kept.data(), kept.vtable())) });
            }
        })
        .join()
        .expect("no panic");
    });
}

// ---- bug classes C13 to C20 ------------------------------------------------------------------------------------

/// C13.
#[test]
fn wakers_may_fire_be_cloned_and_be_dropped_while_the_runtime_is_dropped() {
    within(SOON, || {
        for round in 0..if cfg!(miri) { 4 } else { 400_u32 } {
            let rt = runtime();
            let drops = Drops::default();
            let mut wakers = Vec::new();
            for _ in 0..4 {
                let (keeps, token) = (Keeps::default(), drops.token());
                let kept = keeps.clone();
                drop(rt.spawn(async move {
                    let _token = token;
                    kept.await;
                }));
                rt.run_until_stalled();
                wakers.push(keeps.take().expect("polled"));
            }
            let start = Barrier::new(wakers.len() + 1);
            thread::scope(|scope| {
                for waker in wakers {
                    let start = &start;
                    scope.spawn(move || {
                        start.wait();
                        for turn in 0..20 {
                            let clone = waker.clone();
                            match turn % 3 {
                                0 => clone.wake(),
                                1 => waker.wake_by_ref(),
                                _ => drop(clone),
                            }
                        }
                    });
                }
                start.wait();
                for _ in 0..round % 50 {
                    std::hint::spin_loop();
                }
                if round % 2 == 0 {
                    rt.run_until_stalled();
                }
                drop(rt);
            });
            drops.expect(4);
        }
    });
}

/// C15.
#[test]
fn a_future_whose_drop_wakes_others_and_drops_senders_goes_with_its_runtime() {
    within(SOON, || {
        let drops = Drops::default();
        let rt = runtime();
        let handle = rt.handle();
        let (sender, mut receiver) = mpsc::unbounded::<Token>();
        let (once, wait) = oneshot::channel::<Token>();
        for token in [drops.token(), drops.token()] {
            sender.unbounded_send(token).expect("the receiver lives");
        }
        let token = drops.token();
        drop(rt.spawn(async move {
            let _token = token;
            let sleep = handle.sleep(Duration::from_secs(3600));
            futures::future::select(std::pin::pin!(sleep), wait).await;
        }));
        let keeps = Keeps::default();
        let kept = keeps.clone();
        let token = drops.token();
        drop(rt.spawn(async move {
            let (_token, _once, _sender) = (token, once, sender);
            let _wakes = OnDrop(|| keeps.take().map(Waker::wake).unwrap_or_default());
            pending::<()>().await;
        }));
        let token = drops.token();
        drop(rt.spawn(async move {
            let _token = token;
            while receiver.next().await.is_some() {
                kept.clone().await;
            }
        }));
        rt.run_until_stalled();
        drop(rt);
        drops.expect(5);
    });
}

thread_local! {
    /// A waker is `Send`, a handle is not: a waker that comes back to the engine finds it here.
    static ENGINE: RefCell<Option<Handle>> = const { RefCell::new(None) };
}

/// A waker that uses executor, timers and reactor when it is called, and when it is dropped.
struct Intrudes(AtomicBool);

impl Intrudes {
    fn waker() -> Waker {
        Waker::from(Arc::new(Self(AtomicBool::new(true))))
    }

    fn intrude(&self) {
        if !self.0.load(Relaxed) {
            return;
        }
        ENGINE.with_borrow(|handle| {
            let handle = handle.as_ref().expect("set by the test");
            let mut sleep = std::pin::pin!(handle.sleep(Duration::from_secs(3600)));
            assert!(common::poll(sleep.as_mut(), Waker::noop()).is_pending());
            let (stream, _theirs) = common::tcp_pair(handle);
            let source: &pinlab::Async<_> = stream.as_ref();
            let mut readable = std::pin::pin!(source.readable());
            assert!(common::poll(readable.as_mut(), Waker::noop()).is_pending());
            handle.spawn(pending::<()>()).abort();
        });
    }
}

impl Wake for Intrudes {
    fn wake(self: Arc<Self>) {
        self.intrude();
    }
}

impl Drop for Intrudes {
    fn drop(&mut self) {
        self.intrude();
    }
}

/// C16.
#[test]
fn a_waker_may_use_the_engine_while_it_is_replaced_called_or_dropped() {
    within(SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        ENGINE.set(Some(handle.clone()));
        let (stream, mut theirs) = common::tcp_pair(&handle);
        let source: &pinlab::Async<_> = stream.as_ref();
        let keeps = Gate::default();
        let mut join = rt.spawn(keeps.clone());
        rt.run_until_stalled();

        let mut sleep = Box::pin(handle.sleep(Duration::from_secs(3600)));
        let mut readable = Box::pin(source.readable());
        for _ in 0..3 {
            // Each poll replaces the waker of the one before, which is dropped.
            assert!(common::poll(sleep.as_mut(), &Intrudes::waker()).is_pending());
            assert!(common::poll(readable.as_mut(), &Intrudes::waker()).is_pending());
            assert!(common::poll(std::pin::Pin::new(&mut join), &Intrudes::waker()).is_pending());
        }
        // Called: by the timer, by the socket, by the task's end.
        std::io::Write::write_all(&mut theirs, b"x").expect("loopback");
        keeps.open();
        sleep.reset(std::time::Instant::now() + Duration::from_millis(30));
        rt.block_on(handle.sleep(Duration::from_millis(60)));
        assert!(common::poll(sleep.as_mut(), Waker::noop()).is_ready());
        while common::poll(readable.as_mut(), Waker::noop()).is_pending() {
            rt.run_until_stalled(); // on a slow machine the time is over before the sockets were looked at
        }
        assert!(join.is_finished());

        // Dropped: with the future that waits, and by the runtime's own end.
        let (quiet, _theirs) = common::tcp_pair(&handle);
        let mut futures = Vec::new();
        for _ in 0..2 {
            let sleep = handle.sleep(Duration::from_secs(3600));
            let source = pinlab::Async::new(&handle, quiet.get_ref().try_clone().expect("a descriptor is left")).expect("open");
            futures.push(Box::pin(async move {
                futures::future::join(sleep, source.readable()).await.1.expect("watched");
            }));
        }
        for future in &mut futures {
            assert!(common::poll(future.as_mut(), &Intrudes::waker()).is_pending());
        }
        drop(futures.pop());
        drop(rt);
        ENGINE.set(None); // what is left of the wakers may not come back any more: there is no engine
        drop(futures);
    });
}

/// C16: an allocator is foreign code, too, and another thread's wake may allocate. (On the engine's own thread it leaves the engine alone: see `foreign.rs`.)
#[test]
fn an_allocator_may_call_a_waker_while_another_thread_calls_one() {
    static TOLD: OnceLock<Waker> = OnceLock::new();
    within(SOON, || {
        let rt = runtime();
        let keeps = [Keeps::default(), Keeps::default()];
        keeps.iter().for_each(|keeps| drop(rt.spawn(keeps.clone())));
        rt.run_until_stalled();
        let [first, second] = keeps.map(|keeps| keeps.take().expect("polled"));
        TOLD.set(second).expect("once");
        let wakes = || {
            allocations::at_the_next(|| TOLD.get().expect("set").wake_by_ref());
            first.wake_by_ref();
        };
        thread::scope(|scope| scope.spawn(wakes).join().expect("no panic"));
        assert_eq!(rt.run_until_stalled(), 2, "both were woken");
    });
}

/// C17.
#[test]
fn a_future_that_is_not_send_is_dropped_on_its_own_thread_whoever_drops_the_last_waker() {
    within(SOON, || {
        for round in 0..if cfg!(miri) { 6 } else { 60 } {
            let drops = Drops::default();
            let rt = runtime();
            let keeps = Keeps::default();
            let (token, kept) = (drops.token(), keeps.clone());
            let handle = rt.spawn(async move {
                let token = token;
                futures::future::select(kept, yield_now()).await;
                token
            });
            rt.run_until_stalled();
            let waker = keeps.take().expect("polled");
            assert!(handle.is_finished());
            let away = thread::spawn(move || {
                let second = waker.clone();
                drop(waker);
                if round % 2 == 0 {
                    second.wake();
                }
            });
            match round % 3 {
                0 => drop(handle),                                    // the output with the handle, while the waker is about
                1 => drop(rt.block_on(handle).expect("it returned")), // the output with us
                _ => {
                    drop(rt); // the output with the handle, after the runtime
                    away.join().expect("no panic");
                    drops.expect(0);
                    drop(handle);
                    drops.expect(1);
                    continue;
                }
            }
            away.join().expect("no panic");
            drops.expect(1);
            drop(rt);
            drops.expect(1);
        }
    });
}

/// C17, the future instead of the output.
#[test]
fn a_pending_future_is_dropped_with_its_runtime_though_another_thread_keeps_its_waker() {
    within(SOON, || {
        let drops = Drops::default();
        let rt = runtime();
        let keeps = Keeps::default();
        let (token, kept) = (drops.token(), keeps.clone());
        drop(rt.spawn(async move {
            let _token = token;
            kept.await;
        }));
        rt.run_until_stalled();
        let waker = keeps.take().expect("polled");
        drop(rt);
        drops.expect(1);
        let waker = thread::spawn(move || {
            waker.wake_by_ref();
            let clone = waker.clone();
            clone.wake();
            waker
        });
        waker.join().expect("no panic").wake();
        drops.expect(1);
    });
}

/// C18.
#[test]
fn a_runtime_in_a_thread_local_goes_with_its_thread_and_its_live_tasks() {
    thread_local! {
        static RUNTIME: RefCell<Option<Runtime>> = const { RefCell::new(None) };
    }
    let drops = Drops::default();
    let waker = within(SOON, {
        let drops = drops.clone();
        move || {
            RUNTIME.with_borrow_mut(|place| {
                let rt = place.insert(runtime());
                let keeps = Keeps::default();
                let handle = rt.handle();
                for _ in 0..3 {
                    let (token, kept, handle) = (drops.token(), keeps.clone(), handle.clone());
                    drop(rt.spawn(async move {
                        let _token = token;
                        let sleep = handle.sleep(Duration::from_secs(3600));
                        futures::future::join(sleep, kept).await;
                    }));
                }
                rt.run_until_stalled();
                keeps.take().expect("polled")
            })
        }
    });
    assert_eq!(drops.count(), 3);
    waker.wake();
}

/// C19.
#[test]
fn dropping_a_runtime_ends_whatever_its_tasks_are_about() {
    within(SOON, || {
        let drops = Drops::default();
        let rt = runtime();
        let handle = rt.handle();
        let token = drops.token();
        drop(rt.spawn(async move {
            let _pending = token;
            pending::<()>().await;
        }));
        let token = drops.token();
        drop(rt.spawn(async move {
            let _wakes_itself_for_ever = token;
            loop {
                yield_now().await;
            }
        }));
        let (token, spawner) = (drops.token(), handle.clone());
        drop(rt.spawn(async move {
            let _spawns_when_dropped = (OnDrop(move || drop(spawner.spawn(async {}))), token);
            pending::<()>().await;
        }));
        let token = drops.token();
        drop(rt.spawn(async move {
            let _wakes_itself_when_dropped = token;
            let mut wakes = None;
            poll_fn(|cx| {
                let waker = cx.waker().clone();
                wakes = Some(OnDrop(move || waker.wake_by_ref()));
                Poll::<()>::Pending
            })
            .await;
        }));
        let token = drops.token();
        drop(rt.spawn(async move {
            let _never_polled = token;
        }));
        for _ in 0..4 {
            rt.tick();
        }
        drop(rt);
        drops.expect(5);
        assert!(handle.spawn(async {}).is_finished(), "a runtime that is gone runs nothing");
    });
}

/// C20.
#[test]
#[cfg_attr(miri, ignore = "Miri has no datagrams")]
fn a_runtime_gives_back_every_byte_of_its_tasks_timers_sockets_and_wakers() {
    let leak = leaked(|| {
        let rt = runtime();
        let handle = rt.handle();
        for _ in 0..10 {
            let inner = handle.clone();
            drop(rt.spawn(async move {
                // A task that owns a socket whose reactor owns the task's waker: a circle, but for the order of the drops.
                let socket = pinlab::UdpSocket::bind(&inner, "127.0.0.1:0").expect("loopback");
                let mut byte = [0];
                let limit = inner.timeout(Duration::from_secs(3600), socket.recv(&mut byte));
                let other = inner.spawn(pending::<()>());
                futures::future::join(limit, other).await.1.expect("never");
            }));
        }
        rt.run_until_stalled();
        assert_eq!(rt.stats().tasks, 20);
        assert_eq!(rt.stats().sources, 10);
        assert_eq!(rt.stats().timers, 10);
    });
    assert_eq!(leak, (0, 0));
}

#[test]
fn a_task_gives_back_its_memory_as_soon_as_nothing_refers_to_it() {
    let rt = runtime();
    let run = || {
        let keeps = Keeps::default();
        let (kept, big) = (keeps.clone(), [7_u8; 4096]);
        let handle = rt.spawn(async move {
            futures::future::select(kept, yield_now()).await;
            big
        });
        rt.run_until_stalled();
        drop(keeps.take());
        drop(rt.block_on(handle));
    };
    assert_eq!(leaked(run), (0, 0));
}

// ---- row 22: the order in which executor and handles go (the six cases of async-executor's tests/drop.rs) --------

#[test]
fn dropping_the_runtime_cancels_everything() {
    let drops = Drops::default();
    let rt = runtime();
    let keeps = Keeps::default();
    let (token, kept) = (drops.token(), keeps.clone());
    let handle = rt.spawn(async move {
        let _token = token;
        kept.await;
    });
    assert!(rt.tick());
    drops.expect(0);
    drop(rt);
    drops.expect(1);
    assert!(pinlab::block_on(handle).expect_err("cancelled").is_cancelled());
    keeps.take().expect("the waker outlives all of it").wake();
    drops.expect(1);
}

#[test]
fn a_leaked_runtime_drops_nothing_and_its_wakers_stay_harmless() {
    // The memory that this leaks on purpose stays reachable, so that leak checkers are content.
    static LEAKED: AtomicPtr<Runtime> = AtomicPtr::new(std::ptr::null_mut());
    let drops = Drops::default();
    let rt = Box::new(runtime());
    let keeps = Keeps::default();
    let (token, kept) = (drops.token(), keeps.clone());
    drop(rt.spawn(async move {
        let _token = token;
        kept.await;
    }));
    assert!(rt.tick());
    LEAKED.store(Box::into_raw(rt), SeqCst);
    std::hint::black_box(&LEAKED); // else the optimiser does without a static that nobody reads
    let waker = keeps.take().expect("polled");
    thread::spawn(move || waker.wake()).join().expect("no panic");
    drops.expect(0);
}

#[test]
fn a_handle_awaited_after_the_runtime_gives_the_output_or_says_that_it_was_cancelled() {
    let rt = runtime();
    let done = rt.spawn(async { 7 });
    rt.run_until_stalled();
    let never = rt.spawn(async { 8 });
    drop(rt);
    assert_eq!(pinlab::block_on(done).expect("it had ended"), 7);
    assert!(pinlab::block_on(never).expect_err("it was never polled").is_cancelled());
}

#[test]
fn a_task_in_another_runtime_that_awaits_a_handle_learns_that_the_runtime_has_gone() {
    within(SOON, || {
        let (first, second) = (runtime(), runtime());
        let handle = first.spawn(pending::<()>());
        let waits = second.spawn(handle);
        second.run_until_stalled();
        drop(first);
        assert!(second.block_on(waits).expect("no panic").expect_err("cancelled").is_cancelled());
    });
}

#[test]
fn an_output_outlives_its_runtime_in_the_handle_and_is_dropped_with_it() {
    let drops = Drops::default();
    let rt = runtime();
    let token = drops.token();
    let handle = rt.spawn(async move { token });
    rt.run_until_stalled();
    drop(rt);
    drops.expect(0);
    drop(handle);
    drops.expect(1);
}

#[test]
fn an_output_is_dropped_with_its_handle_while_the_runtime_lives() {
    let drops = Drops::default();
    let rt = runtime();
    let token = drops.token();
    let handle = rt.spawn(async move { token });
    rt.run_until_stalled();
    drop(handle);
    drops.expect(1);
    drop(rt);
    drops.expect(1);
}

// ---- more of the same ------------------------------------------------------------------------------------------

#[test]
fn dropping_a_handle_detaches_the_task_and_its_output_is_dropped_when_it_comes() {
    let drops = Drops::default();
    let rt = runtime();
    let (gate, token) = (Gate::default(), drops.token());
    let open = gate.clone();
    drop(rt.spawn(async move {
        open.await;
        token
    }));
    rt.run_until_stalled();
    assert_eq!(rt.stats().tasks, 1);
    gate.open();
    rt.run_until_stalled();
    drops.expect(1);
    assert_eq!(rt.stats().tasks, 0);
}

#[test]
fn abort_drops_the_future_at_once_or_right_after_the_poll_that_is_going_on() {
    let drops = Drops::default();
    let rt = runtime();
    let token = drops.token();
    let handle = rt.spawn(async move {
        let _token = token;
        pending::<()>().await;
    });
    handle.abort();
    drops.expect(1);
    assert!(handle.is_finished());
    assert_eq!(rt.run_until_stalled(), 0, "an aborted task is not polled");
    assert!(rt.block_on(handle).expect_err("aborted").is_cancelled());

    let place: Rc<RefCell<Option<JoinHandle<()>>>> = Rc::default();
    let (own, token, seen) = (place.clone(), drops.token(), Rc::new(Cell::new(false)));
    let saw = seen.clone();
    let handle = rt.spawn(async move {
        let _token = token;
        own.borrow().as_ref().expect("put there before the first poll").abort();
        saw.set(true); // the poll goes on to its end
        pending::<()>().await;
    });
    *place.borrow_mut() = Some(handle);
    rt.run_until_stalled();
    assert!(seen.get());
    drops.expect(2);
    let handle = place.take().expect("still there");
    assert!(rt.block_on(handle).expect_err("aborted").is_cancelled());
}

#[test]
fn a_task_that_aborts_itself_in_the_poll_that_ends_it_still_gives_its_output() {
    let rt = runtime();
    let place: Rc<RefCell<Option<JoinHandle<u8>>>> = Rc::default();
    let own = place.clone();
    *place.borrow_mut() = Some(rt.spawn(async move {
        own.borrow().as_ref().expect("put there before the first poll").abort();
        3
    }));
    rt.run_until_stalled();
    assert_eq!(rt.block_on(place.take().expect("still there")).expect("it was done"), 3);
}

#[test]
#[cfg_attr(miri, ignore = "Miri has no map of memory")]
fn a_future_stays_where_it_was_pinned_and_as_aligned_as_it_asks() {
    #[repr(align(256))]
    struct Aligned(u8);
    let rt = runtime();
    let polls = Count::default();
    let counted = polls.clone();
    let handle = rt.spawn(async move {
        let value = Aligned(1);
        let first = std::ptr::from_ref(&value).addr();
        for _ in 0..10 {
            counted.up();
            yield_now().await;
            assert_eq!(std::ptr::from_ref(&value).addr(), first);
        }
        (first, value.0)
    });
    let task = handle.task_address();
    let (address, _) = rt.block_on(handle).expect("it stays in place");
    assert_eq!(address % 256, 0);
    assert!((task.usize()..task.usize() + 4096).contains(&address), "inside its task: {task} and {address:#x}");
    assert_eq!(polls.get(), 10);
}

#[test]
fn a_future_is_dropped_before_its_output_is_given() {
    let drops = Drops::default();
    let rt = runtime();
    let (token, seen) = (drops.token(), drops.clone());
    let handle = rt.spawn(async move {
        let _token = token;
        yield_now().await;
    });
    rt.block_on(handle).expect("it returned");
    assert_eq!(seen.count(), 1);
}

// ---- wakers to look at ------------------------------------------------------------------------------------------------

/// IW1, with foreign code in the clone: it gives the family away, clones another waker, and panics.
#[test]
fn whatever_a_counting_waker_does_at_its_clone_each_waker_owns_one_count() {
    let (token, family, other) = (Arc::new(()), Arc::new(Mutex::new(None::<CountingWaker>)), CountingWaker::new());
    let (held, kept, passed_on) = (token.clone(), family.clone(), other.waker());
    let counting = CountingWaker::on_clone(move |number| {
        let _held = &held;
        drop(passed_on.clone());
        match number {
            1 => drop(kept.lock().expect("no panic").take()),
            2 => panic!("in the clone"),
            _ => {}
        }
    });
    let waker = counting.waker();
    *family.lock().expect("no panic") = Some(counting);
    let clone = waker.clone(); // gives away the family itself: from here on the wakers alone hold what they share
    assert!(catch_unwind(AssertUnwindSafe(|| waker.clone())).is_err());
    waker.wake();
    let last = clone.clone();
    drop(clone);
    assert_eq!((other.clones(), Arc::strong_count(&token)), (3, 2), "the last one still holds it");
    last.wake();
    assert_eq!(Arc::strong_count(&token), 1);
}
