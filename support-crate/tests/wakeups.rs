//! Wakes: none is lost, none polls twice, none polls what has ended; from the engine's thread and from others.

mod common;

use common::{Count, Gate, Keeps, SOON, Trace, poll, runtime, tcp_pair, within};
use futures::io::AsyncRead;
use futures::stream::Stream;
use pinlab::{CountingWaker, TcpListener, UdpSocket, yield_now};
use std::cell::RefCell;
use std::future::{Future, pending, poll_fn};
use std::io::Write;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

/// Wakes itself, and then spends the thread's park token, as code that blocks inside of a poll does.
fn eats_the_token() -> impl Future<Output = ()> {
    let mut polls = 0;
    poll_fn(move |cx| {
        polls += 1;
        if polls == 3 {
            return Poll::Ready(());
        }
        let waker = cx.waker().clone();
        match polls {
            1 => waker.wake(),
            _ => thread::spawn(move || waker.wake()).join().expect("no panic"),
        }
        thread::current().unpark();
        thread::park();
        Poll::Pending
    })
}

/// C1.
#[test]
fn a_future_that_eats_the_threads_park_token_is_polled_again() {
    within(SOON, || pinlab::block_on(eats_the_token()));
    within(SOON, || runtime().block_on(eats_the_token()));
    within(SOON, || {
        let rt = runtime();
        rt.block_on(rt.spawn(eats_the_token())).expect("no panic");
    });
}

/// C2 and C3: wakers on two threads, at every moment that a spin of chance length brings about.
fn hammer(rounds: usize, armed_socket: bool) {
    let rt = runtime();
    let handle = rt.handle();
    let socket = UdpSocket::bind(&handle, "127.0.0.1:0").expect("loopback");
    if armed_socket {
        drop(rt.spawn(async move { drop(socket.recv(&mut [0]).await) }));
    }
    let mut senders = Vec::new();
    let mut threads = Vec::new();
    for seed in 0..2 {
        let (sender, receiver) = mpsc::sync_channel::<(Arc<AtomicUsize>, Waker)>(4);
        senders.push(sender);
        threads.push(thread::spawn(move || {
            let mut random = fastrand::Rng::with_seed(seed);
            for (count, waker) in receiver {
                for _ in 0..random.u32(0..400) {
                    std::hint::spin_loop();
                }
                count.fetch_add(1, SeqCst);
                match random.u8(0..3) {
                    0 => waker.wake(),
                    1 => waker.wake_by_ref(),
                    _ => {
                        let clone = waker.clone();
                        drop(waker);
                        clone.wake();
                    }
                }
            }
        }));
    }
    for _ in 0..rounds {
        let count = Arc::new(AtomicUsize::new(0));
        let mut sent = false;
        rt.block_on(poll_fn(|cx| {
            if count.load(SeqCst) == 2 {
                return Poll::Ready(());
            }
            if !std::mem::replace(&mut sent, true) {
                for sender in &senders {
                    sender.send((count.clone(), cx.waker().clone())).expect("the thread lives");
                }
            }
            Poll::Pending
        }));
    }
    drop(senders);
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
}

/// C2 and C3, asleep in `thread::park`.
#[test]
fn two_wakes_from_other_threads_are_both_heard_by_a_parked_engine() {
    within(SOON, || hammer(4_000, false));
}

/// C2 and C3, asleep in the wait for events.
#[test]
fn two_wakes_from_other_threads_are_both_heard_by_an_engine_that_waits_for_sockets() {
    within(SOON, || hammer(4_000, true));
}

/// C4.
#[test]
fn wakes_before_the_sleep_do_not_silence_one_that_comes_during_it() {
    for armed_socket in [false, true] {
        within(SOON, move || {
            let rt = runtime();
            let handle = rt.handle();
            let socket = UdpSocket::bind(&handle, "127.0.0.1:0").expect("loopback");
            if armed_socket {
                drop(rt.spawn(async move { drop(socket.recv(&mut [0]).await) }));
            }
            for _ in 0..20 {
                let mut polls = 0;
                rt.block_on(poll_fn(|cx| {
                    polls += 1;
                    let waker = cx.waker().clone();
                    match polls {
                        // Twice before the engine sleeps.
                        1 => thread::scope(|scope| {
                            for _ in 0..2 {
                                let waker = waker.clone();
                                scope.spawn(move || waker.wake());
                            }
                        }),
                        // Once while it sleeps.
                        2 => {
                            thread::spawn(move || {
                                thread::sleep(Duration::from_millis(2));
                                waker.wake();
                            });
                        }
                        _ => return Poll::Ready(()),
                    }
                    Poll::Pending
                }));
            }
        });
    }
}

/// C5.
#[test]
fn waking_oneself_twice_is_one_more_poll() {
    let rt = runtime();
    let trace = Trace::default();
    let log = trace.clone();
    let mut polls = 0;
    drop(rt.spawn(poll_fn(move |cx| {
        polls += 1;
        log.say(format!("poll {polls}"));
        if polls == 1 {
            cx.waker().wake_by_ref();
            let clone = cx.waker().clone();
            clone.wake();
        }
        Poll::<()>::Pending
    })));
    assert_eq!(rt.run_until_stalled(), 2);
    trace.expect(&[
        "poll 1", // wakes itself twice
        "poll 2", // once more, not twice
    ]);
}

/// C6.
#[test]
fn a_waker_kept_beyond_its_task_polls_nothing_not_even_the_next_task_of_its_kind() {
    let rt = runtime();
    let polls = Count::default();
    let task = || {
        let (keeps, counted) = (Keeps::default(), polls.clone());
        let kept = keeps.clone();
        let handle = rt.spawn(async move {
            let mut kept = kept;
            poll_fn(|cx| {
                counted.up();
                Pin::new(&mut kept).poll(cx)
            })
            .await;
        });
        rt.run_until_stalled();
        (handle, keeps.take().expect("polled"))
    };
    let (first, old) = task();
    first.abort();
    drop(first);
    let (_second, _waker) = task();
    assert_eq!(polls.get(), 2);
    old.wake_by_ref();
    thread::scope(|scope| {
        scope.spawn(|| old.wake_by_ref());
    });
    old.wake();
    assert_eq!(rt.run_until_stalled(), 0);
    assert_eq!(polls.get(), 2, "nobody was polled for the old waker");
}

/// C6, after the memory has gone and come again.
#[test]
fn a_root_that_has_ended_is_not_woken_for_the_next_one() {
    within(SOON, || {
        let rt = runtime();
        let keeps = Keeps::default();
        rt.block_on(futures::future::select(keeps.clone(), std::future::ready(())));
        let old = keeps.take().expect("polled");
        let mut polls = 0;
        let (handle, mut sleep) = (rt.handle(), None);
        rt.block_on(poll_fn(|cx| {
            polls += 1;
            old.wake_by_ref();
            sleep.get_or_insert_with(|| Box::pin(handle.sleep(Duration::from_millis(5)))).as_mut().poll(cx)
        }));
        assert_eq!(polls, 2, "once to begin with, once for the timer; never for the waker of another block_on");
    });
}

/// C7.
#[test]
fn whoever_polled_last_is_woken() {
    within(SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        let (stream, mut theirs) = tcp_pair(&handle);
        let source: &pinlab::Async<_> = stream.as_ref();
        let gate = Gate::default();
        let listener = TcpListener::bind(&handle, "127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");

        let mut sleep = pin!(handle.sleep(Duration::from_millis(5)));
        let mut limit = pin!(handle.timeout(Duration::from_millis(5), pending::<()>()));
        let mut readable = pin!(source.readable());
        let mut accept = pin!(listener.accept());
        let mut join = pin!(rt.spawn(gate.clone()));
        let mut retry = pin!(pinlab::Retry::new(|| async { Err::<(), ()>(()) }, 1).with_delay(&handle, Duration::from_millis(5)));

        let (first, second) = (CountingWaker::new(), CountingWaker::new());
        for waker in [&first, &second] {
            let waker = waker.waker();
            assert!(poll(sleep.as_mut(), &waker).is_pending());
            assert!(poll(limit.as_mut(), &waker).is_pending());
            assert!(poll(readable.as_mut(), &waker).is_pending());
            assert!(poll(accept.as_mut(), &waker).is_pending());
            assert!(poll(join.as_mut(), &waker).is_pending());
            assert!(poll(retry.as_mut(), &waker).is_pending());
        }
        theirs.write_all(b"x").expect("loopback");
        let _client = std::net::TcpStream::connect(address).expect("loopback");
        gate.open();
        rt.block_on(handle.sleep(Duration::from_millis(40)));
        assert_eq!((first.wakes(), second.wakes()), (0, 6));
        assert_eq!(first.clones(), first.drops() - 1, "all clones of the first are gone, and the one that was passed");
    });
}

/// C7, for poll-style callers, of which there may be several: each is woken.
#[test]
fn poll_style_readers_are_all_woken() {
    within(SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        let (stream, mut theirs) = tcp_pair(&handle);
        let wakers = [CountingWaker::new(), CountingWaker::new()];
        for waker in &wakers {
            let waker = waker.waker();
            let mut cx = std::task::Context::from_waker(&waker);
            assert!(Pin::new(&mut &stream).poll_read(&mut cx, &mut [0]).is_pending());
        }
        theirs.write_all(b"x").expect("loopback");
        rt.block_on(handle.sleep(Duration::from_millis(20)));
        assert!(wakers.iter().all(|waker| waker.wakes() == 1));
    });
}

/// C8.
#[test]
fn a_clone_will_wake_the_same_task_and_no_other() {
    let rt = runtime();
    let (one, other) = (Keeps::default(), Keeps::default());
    let _tasks = [rt.spawn(one.clone()), rt.spawn(other.clone())];
    rt.run_until_stalled();
    let (one, other) = (one.take().expect("polled"), other.take().expect("polled"));
    assert!(one.will_wake(&one.clone()));
    assert!(!one.will_wake(&other));
    assert!(!one.will_wake(Waker::noop()));
}

/// C9.
#[test]
fn wakers_that_are_not_the_engines_own_may_be_given_to_everything() {
    within(SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        let (stream, mut theirs) = tcp_pair(&handle);
        let listener = TcpListener::bind(&handle, "127.0.0.1:0").expect("loopback");
        let udp = UdpSocket::bind(&handle, "127.0.0.1:0").expect("loopback");
        let counting = CountingWaker::new();
        for waker in [Waker::noop().clone(), counting.waker(), Waker::from(Arc::new(Nothing))] {
            let mut cx = std::task::Context::from_waker(&waker);
            assert!(poll(pin!(yield_now()), &waker).is_pending());
            assert!(poll(pin!(handle.sleep(Duration::from_secs(1))), &waker).is_pending());
            assert!(poll(pin!(handle.timeout(Duration::from_secs(1), pending::<()>())), &waker).is_pending());
            assert!(Pin::new(&mut handle.interval(Duration::from_secs(1))).poll_next(&mut cx).is_pending());
            assert!(poll(pin!(listener.accept()), &waker).is_pending());
            assert!(Pin::new(&mut listener.incoming()).poll_next(&mut cx).is_pending());
            assert!(poll(pin!(udp.recv(&mut [0])), &waker).is_pending());
            assert!(Pin::new(&mut &stream).poll_read(&mut cx, &mut [0]).is_pending());
            assert!(poll(pin!(rt.spawn(pending::<()>())), &waker).is_pending());
            rt.run_until_stalled();
        }
        theirs.write_all(b"x").expect("loopback");
        let _client = std::net::TcpStream::connect(listener.local_addr().expect("bound")).expect("loopback");
        rt.block_on(handle.sleep(Duration::from_millis(20)));
        assert!(counting.wakes() >= 2, "itself, the stream; `incoming` has withdrawn");
    });
}

struct Nothing;

impl std::task::Wake for Nothing {
    fn wake(self: Arc<Self>) {}
}

/// C10.
#[test]
fn waking_does_not_poll_on_the_spot() {
    let rt = runtime();
    let needed = Rc::new(RefCell::new(0));
    let keeps = Keeps::default();
    let (kept, borrowed) = (keeps.clone(), needed.clone());
    let mut first = true;
    drop(rt.spawn(poll_fn(move |cx| {
        *borrowed.borrow_mut() += 1; // panics while somebody else has it
        if std::mem::replace(&mut first, false) {
            return Pin::new(&mut kept.clone()).poll(cx);
        }
        Poll::Ready(())
    })));
    let other = needed.clone();
    let wakes = rt.spawn(async move {
        yield_now().await;
        let mut held = other.borrow_mut();
        keeps.take().expect("polled").wake();
        *held += 10;
    });
    rt.block_on(wakes).expect("the task it woke was not polled inside of the wake");
    rt.run_until_stalled();
    assert_eq!(*needed.borrow(), 12);
}

/// C11.
#[test]
fn the_main_future_is_polled_when_it_was_woken_and_only_then() {
    within(SOON, || {
        let rt = runtime();
        let busy = rt.spawn(async {
            for _ in 0..1_000 {
                yield_now().await;
            }
        });
        let mut polls = 0;
        let mut busy = pin!(busy);
        rt.block_on(poll_fn(|cx| {
            polls += 1;
            busy.as_mut().poll(cx)
        }))
        .expect("no panic");
        assert_eq!(polls, 2, "at the start, and when the task had ended");
        assert_eq!(rt.stats().polls, 1_001 + 2);
    });
}

/// C12.
#[test]
fn run_until_stalled_uses_up_every_wake_of_tasks_that_wake_themselves() {
    let rt = runtime();
    let tasks: Vec<_> = (0..3)
        .map(|_| {
            rt.spawn(async {
                for _ in 0..10 {
                    yield_now().await;
                }
            })
        })
        .collect();
    assert_eq!(rt.run_until_stalled(), 33);
    assert!(tasks.iter().all(pinlab::JoinHandle::is_finished));
}

/// A waker whose clone drives the engine: what it waits for happens before it is stored.
#[test]
fn what_happens_while_a_waker_is_cloned_is_not_missed() {
    use std::task::{RawWaker, RawWakerVTable};
    thread_local! {
        static RUNTIME: RefCell<Option<Rc<pinlab::Runtime>>> = const { RefCell::new(None) };
        static TURNS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
        static ALIVE: std::cell::Cell<isize> = const { std::cell::Cell::new(0) };
    }
    static DRIVES: RawWakerVTable = RawWakerVTable::new(
        |_| {
            TURNS.set(TURNS.get() + 1);
            if TURNS.get() == 2 {
                thread::sleep(Duration::from_millis(10));
                RUNTIME.with_borrow(|rt| rt.as_ref().expect("set by the test").run_until_stalled());
            }
            ALIVE.set(ALIVE.get() + 1);
            RawWaker::new(std::ptr::null(), &DRIVES)
        },
        |_| ALIVE.set(ALIVE.get() - 1),
        |_| {},
        |_| ALIVE.set(ALIVE.get() - 1),
    );
    ALIVE.set(1); // the one below
    // SAFETY: the data is not used.
    let waker = unsafe { Waker::new(std::ptr::null(), &DRIVES) };
    let rt = Rc::new(runtime());
    RUNTIME.set(Some(rt.clone()));
    let mut task = Box::pin(rt.spawn(yield_now()));
    TURNS.set(1);
    assert!(poll(task.as_mut(), &waker).is_ready(), "the task ended while the waker was cloned");
    drop(task);
    assert_eq!(ALIVE.get(), 1, "and the clone, which came too late, was given back");

    let mut sleep = pin!(rt.handle().sleep(Duration::from_millis(5)));
    TURNS.set(2);
    assert!(poll(sleep.as_mut(), Waker::noop()).is_pending());
    TURNS.set(1);
    assert!(poll(sleep.as_mut(), &waker).is_ready(), "the timer fired while the waker was cloned");
    assert_eq!(ALIVE.get(), 1);
    RUNTIME.set(None);
}

#[test]
fn a_wake_from_another_thread_brings_what_was_written_before_it() {
    within(SOON, || {
        let rt = runtime();
        let place = Arc::new(Mutex::new(None));
        let (sender, receiver) = mpsc::channel::<Waker>();
        let their_place = place.clone();
        let helper = thread::spawn(move || {
            for (round, waker) in receiver.into_iter().enumerate() {
                *their_place.lock().expect("no panic") = Some(round);
                waker.wake();
            }
        });
        for round in 0..1_000 {
            let mut asked = false;
            let got = rt.block_on(poll_fn(|cx| {
                if !std::mem::replace(&mut asked, true) {
                    sender.send(cx.waker().clone()).expect("the thread lives");
                    return Poll::Pending;
                }
                match place.lock().expect("no panic").take() {
                    Some(got) => Poll::Ready(got),
                    None => Poll::Pending,
                }
            }));
            assert_eq!(got, round);
        }
        drop(sender);
        helper.join().expect("no panic");
    });
}
