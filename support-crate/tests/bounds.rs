//! Memory that is bounded by what there is, not by what there was.

#[path = "common/allocations.rs"]
mod allocations;
mod common;

use allocations::held;
use common::{Keeps, SOON, poll, runtime, within};
use pinlab::Runtime;
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

/// Half a million; fewer for who watches each step.
const MANY: usize = if cfg!(miri) { 500 } else { 500_000 };

#[test]
fn half_a_million_timers_that_were_armed_and_dropped_give_their_memory_back() {
    within(3 * SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        rt.block_on(handle.sleep(Duration::from_millis(1))); // what is set up at the first use
        let before = held().0;
        let mut sleeps: Vec<_> = (0..MANY).map(|i| Box::pin(handle.sleep(Duration::from_secs(60 + (i % 977) as u64)))).collect();
        for sleep in &mut sleeps {
            assert!(poll(sleep.as_mut(), Waker::noop()).is_pending());
        }
        let armed = held().0 - before;
        assert!(armed > (MANY * 40) as isize, "{armed} bytes for {MANY} timers");
        drop(sleeps);
        let left = held().0 - before;
        assert!(left < 64 << 10, "{left} of {armed} bytes are kept");
    });
}

/// IQ2. What is over leaves the queue, also if nobody drives the loop: a future that is ready at its first poll does not.
#[test]
fn what_was_queued_and_is_over_gives_its_memory_back_whoever_drives() {
    let rounds = MANY / 10;
    within(3 * SOON, move || {
        let wakes_itself = || {
            poll_fn(|cx| {
                cx.waker().wake_by_ref();
                Poll::Ready(())
            })
        };
        let grown = |rt: &Runtime, mut round: Box<dyn FnMut()>| {
            (0..rounds.min(1_000)).for_each(|_| round());
            let before = held().0;
            (0..rounds).for_each(|_| round());
            let grown = held().0 - before;
            rt.run_until_stalled();
            grown
        };
        // Its waker is queued behind another one.
        let rt = Rc::new(runtime());
        drop(rt.spawn(pending::<()>()));
        let here = rt.clone();
        assert!(grown(&rt, Box::new(move || here.block_on(wakes_itself()))) < 16 << 10);
        // A recording wants it in the queue; and is full.
        rt.record();
        (0..60_000).for_each(|_| rt.block_on(wakes_itself()));
        let here = rt.clone();
        assert!(cfg!(miri) || grown(&rt, Box::new(move || here.block_on(wakes_itself()))) < 16 << 10);
        // Nothing is driven at all.
        let here = rt.clone();
        assert!(grown(&rt, Box::new(move || here.spawn(pending::<()>()).abort())) < 16 << 10);
        // A waker that another thread gives back.
        let rt = Rc::new(runtime());
        let (here, place) = (rt.clone(), Arc::new(Mutex::new(None::<Waker>)));
        let given = Arc::downgrade(&place);
        let other = thread::spawn(move || {
            while let Some(place) = given.upgrade() {
                drop(place.lock().expect("no panic").take());
                thread::yield_now();
            }
        });
        let elsewhere = move || {
            *place.lock().expect("no panic") = Some(here.block_on(poll_fn(|cx| Poll::Ready(cx.waker().clone()))));
            while place.lock().expect("no panic").is_some() {
                thread::yield_now();
            }
        };
        assert!(cfg!(miri) || grown(&rt, Box::new(elsewhere)) < 16 << 10);
        other.join().expect("no panic");
    });
}

/// A source that goes takes with it what is noted about it.
#[cfg(all(unix, not(miri)))]
#[test]
fn sources_that_many_wait_for_and_that_go_leave_nothing() {
    use futures::AsyncRead;
    within(3 * SOON, || {
        let rt = runtime();
        let wakers: Vec<Waker> = (0..33).map(|_| pinlab::CountingWaker::new().waker()).collect();
        let round = || {
            let (ours, _theirs) = std::os::unix::net::UnixStream::pair().expect("descriptors are left");
            let source = pinlab::Async::new(&rt.handle(), ours).expect("it is watched by nobody else");
            for waker in &wakers {
                let mut cx = std::task::Context::from_waker(waker);
                assert!(std::pin::Pin::new(&mut &source).poll_read(&mut cx, &mut [0]).is_pending());
            }
        };
        round();
        let before = held().0;
        (0..10_000).for_each(|_| round());
        assert!(held().0 - before < 16 << 10);
    });
}

#[test]
fn wakes_from_another_thread_cost_nothing_that_grows_while_one_is_pending() {
    within(3 * SOON, || {
        let rt = runtime();
        let keeps = Keeps::default();
        drop(rt.spawn(keeps.clone()));
        rt.run_until_stalled();
        let waker = keeps.take().expect("polled");
        // The list of messages is on the account of who sends one.
        let grown = thread::spawn(move || {
            waker.wake_by_ref();
            let before = held().0;
            for _ in 0..MANY {
                waker.wake_by_ref();
                let clone = waker.clone();
                clone.wake();
            }
            held().0 - before
        });
        assert!(grown.join().expect("no panic") < 16 << 10, "a million wakes are one message");
        rt.run_until_stalled();
        assert_eq!(rt.stats().polls, 2, "and one poll");
    });
}

/// The list of messages of other threads.
#[test]
fn a_burst_of_wakes_from_another_thread_keeps_no_room() {
    const TASKS: usize = if cfg!(miri) { 50 } else { 100_000 };
    within(3 * SOON, || {
        let rt = runtime();
        let burst = |tasks: usize| {
            let wakers = Arc::new(Mutex::new(Vec::with_capacity(tasks)));
            for _ in 0..tasks {
                let (wakers, mut is_woken) = (wakers.clone(), false);
                drop(rt.spawn(poll_fn(move |cx| {
                    if std::mem::replace(&mut is_woken, true) {
                        return Poll::Ready(());
                    }
                    wakers.lock().expect("no panic under this lock").push(cx.waker().clone());
                    Poll::Pending
                })));
            }
            rt.run_until_stalled();
            // The list is the waking thread's, to begin with: what that holds more at its end counts, too.
            let wake = move || {
                let before = held().0;
                wakers.lock().expect("no panic under this lock").iter().for_each(Waker::wake_by_ref);
                let more = held().0 - before;
                drop(wakers);
                more
            };
            let more = thread::spawn(wake).join().expect("wakers do not panic");
            rt.run_until_stalled();
            more
        };
        burst(1);
        let before = held().0;
        let more = burst(TASKS) + (0..40).map(|_| burst(1)).sum::<isize>();
        let left = held().0 - before + more;
        // Chunks for the tasks are kept, up to 16 MiB of them, where tasks share any.
        let chunks = if cfg!(debug_assertions) { 0 } else { 16 << 20 };
        assert!(left < chunks + (128 << 10), "{left} bytes are kept");
    });
}
