//! Memory that is bounded by what there is, not by what there was.

#[path = "common/allocations.rs"]
mod allocations;
mod common;

use allocations::held;
use common::{Keeps, SOON, poll, runtime, within};
use std::task::Waker;
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
