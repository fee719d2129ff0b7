//! `Retry`'s builders: how long its pauses are, and which failures it takes for an answer.

mod common;

use common::{SOON, runtime, within};
use pinlab::{Handle, Retry};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);

/// When each attempt was made.
type Made = Rc<RefCell<Vec<Instant>>>;

/// An attempt that always fails.
fn failing() -> (impl FnMut() -> std::future::Ready<Result<(), u32>>, Made) {
    let made = Made::default();
    let times = made.clone();
    let attempt = move || {
        times.borrow_mut().push(Instant::now());
        std::future::ready(Err(times.borrow().len() as u32))
    };
    (attempt, made)
}

/// The pauses between the attempts, of a `Retry` that was built so.
fn pauses<F, Fut>(
    retries: usize,
    build: impl Fn(Retry<F, Fut>, &Handle) -> Retry<F, Fut>,
    (attempt, made): (F, Made),
) -> Vec<Duration>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<(), u32>>,
{
    let rt = runtime();
    let last = rt.block_on(build(Retry::new(attempt, retries), &rt.handle()));
    assert_eq!(last, Err(retries as u32 + 1), "the last failure");
    let made = made.borrow();
    made.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[test]
fn pauses_grow_and_no_further_than_they_may() {
    within(SOON, || {
        let pauses = pauses(4, |retry, handle| retry.with_delay(handle, 20 * MS).growing(3.0).at_most(100 * MS), failing());
        for (pause, least) in pauses.iter().zip([20, 60, 100, 100]) {
            assert!(*pause >= least * MS, "{pauses:?}");
        }
        assert!(pauses[3] < 180 * MS, "without the limit it were 540 ms: {pauses:?}");
    });
}

#[test]
fn jitter_takes_away_a_share_and_never_the_same_one() {
    within(SOON, || {
        let pauses = pauses(8, |retry, handle| retry.with_delay(handle, 40 * MS).with_jitter(0.5), failing());
        assert!(pauses.iter().all(|pause| *pause >= 20 * MS), "{pauses:?}");
        let (least, most) = (pauses.iter().min().expect("eight"), pauses.iter().max().expect("eight"));
        assert!(*most - *least > MS, "eight of one length: {pauses:?}");
    });
}

#[test]
fn a_failure_that_is_not_to_be_tried_again_is_the_result() {
    let rt = runtime();
    let (attempt, made) = failing();
    let mut retry = std::pin::pin!(Retry::new(attempt, 9).retry_if(|failure| *failure < 3));
    assert_eq!(rt.block_on(retry.as_mut()), Err(3));
    assert_eq!((made.borrow().len(), retry.retries_left()), (3, 7));
}

#[test]
fn what_cannot_be_built_says_so() {
    let rt = runtime();
    let delayed = || Retry::new(failing().0, 1).with_delay(&rt.handle(), MS);
    let says = |build: &dyn Fn()| {
        let panic = catch_unwind(AssertUnwindSafe(build)).expect_err("it cannot be built");
        panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .expect("text")
    };
    assert!(says(&|| drop(Retry::new(failing().0, 1).growing(2.0))).contains("call with_delay first"));
    assert!(says(&|| drop(Retry::new(failing().0, 1).at_most(MS))).contains("call with_delay first"));
    assert!(says(&|| drop(Retry::new(failing().0, 1).with_jitter(0.1))).contains("call with_delay first"));
    assert!(says(&|| drop(delayed().growing(0.5))).contains("do not shrink"));
    assert!(says(&|| drop(delayed().growing(f64::NAN))).contains("do not shrink"));
    assert!(says(&|| drop(delayed().with_jitter(1.5))).contains("from 0 to 1"));
}

/// Nothing, however often it is multiplied, is nothing.
#[test]
fn no_pause_does_not_grow() {
    within(SOON, || {
        for factor in [2.0, 1e300, f64::INFINITY] {
            assert_eq!(pauses(4, |retry, handle| retry.with_delay(handle, Duration::ZERO).growing(factor), failing()).len(), 4);
        }
    });
}

/// A pause without an end, as one that has grown beyond all numbers, is one that is waited for.
#[test]
fn a_pause_may_be_longer_than_a_number_of_seconds() {
    within(SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        let retries = [
            Retry::new(failing().0, 3).with_delay(&handle, Duration::MAX),
            Retry::new(failing().0, 3).with_delay(&handle, Duration::MAX).with_jitter(0.5),
            Retry::new(failing().0, 3).with_delay(&handle, Duration::from_nanos(1)).growing(1e30),
            Retry::new(failing().0, 3).with_delay(&handle, Duration::from_nanos(1)).growing(f64::INFINITY),
        ];
        for retry in retries {
            assert!(rt.block_on(handle.timeout(20 * MS, retry)).is_err(), "it waits");
        }
    });
}
