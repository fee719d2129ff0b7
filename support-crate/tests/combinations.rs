//! Every way in which a task's life can go, multiplied out: where it panics, what its output does, what becomes of its handle,
//! when it is aborted, where its waker is left. Whatever happens, all is dropped exactly once, on the owner's thread.

mod common;

use common::{Drops, SOON, Token, poll, runtime, within};
use pinlab::{CountingWaker, JoinHandle};
use std::future::Future;
use std::panic::panic_any;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;

/// Where the future panics.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Panics {
    Never,
    InPoll,
    InDrop,
    InBoth,
}

/// What the output does when it is dropped.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Output {
    Quiet,
    Panics,
}

/// Who waits for it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Join {
    Nobody,
    /// Polled once before the end, and then no more.
    Asked,
    /// Awaited to the end.
    Awaited,
}

/// When something is done.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum When {
    BeforePoll,
    DuringPoll,
    WhilePending,
    AfterEnd,
    AfterRuntime,
}
use When::*;

/// Where the task's waker is left.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Left {
    Nowhere,
    Kept,
    InTheFuture,
    AnotherThread,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    panics: Panics,
    output: Output,
    join: Join,
    handle_dropped: When,
    aborted: Option<When>,
    waker: Left,
}

struct Value {
    _token: Token,
    panics: bool,
}

impl Drop for Value {
    fn drop(&mut self) {
        if self.panics && !thread::panicking() {
            panic_any("the output's drop");
        }
    }
}

type Slot = std::rc::Rc<std::cell::RefCell<Option<JoinHandle<Value>>>>;

/// Pending at its first poll, ready at its second.
struct Subject {
    case: Case,
    polls: usize,
    _token: Token,
    output: Option<Value>,
    own: Option<Waker>,
    kept: Arc<Mutex<Vec<Waker>>>,
    handle: Slot,
}

impl Future for Subject {
    type Output = Value;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Value> {
        self.polls += 1;
        assert!(self.polls <= 2, "polled after its end");
        if self.polls == 1 {
            match self.case.waker {
                Left::Nowhere => {}
                Left::Kept | Left::AnotherThread => self.kept.lock().expect("no panic").push(cx.waker().clone()),
                Left::InTheFuture => self.own = Some(cx.waker().clone()),
            }
            if self.case.aborted == Some(DuringPoll)
                && let Some(handle) = &*self.handle.borrow()
            {
                handle.abort();
            }
            if self.case.handle_dropped == DuringPoll {
                let handle = self.handle.take();
                drop(handle);
            }
            return Poll::Pending;
        }
        if matches!(self.case.panics, Panics::InPoll | Panics::InBoth) {
            panic_any("the poll");
        }
        Poll::Ready(self.output.take().expect("ready once"))
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        if matches!(self.case.panics, Panics::InDrop | Panics::InBoth) {
            panic_any("the future's drop");
        }
    }
}

fn run(case: Case) {
    let drops = Drops::default();
    let rt = runtime();
    let joiner = CountingWaker::new();
    let slot = Slot::default();
    let kept: Arc<Mutex<Vec<Waker>>> = Arc::default();
    let subject = Subject {
        case,
        polls: 0,
        _token: drops.token(),
        output: Some(Value { _token: drops.token(), panics: case.output == Output::Panics }),
        own: None,
        kept: kept.clone(),
        handle: slot.clone(),
    };
    *slot.borrow_mut() = Some(rt.spawn(subject));
    let waker = rt.handle().spawn(common::Keeps::default()); // another task beside it, which nothing may disturb

    let at = |when: When| {
        if case.aborted == Some(when)
            && let Some(handle) = &*slot.borrow()
        {
            handle.abort();
        }
        if case.handle_dropped == when {
            let handle = slot.take();
            // Dropping the output that is in it may be what panics: that is the engine's to bear.
            drop(handle);
        }
    };
    let asks = |slot: &Slot| {
        if let Some(handle) = &mut *slot.borrow_mut()
            && !handle.is_finished()
        {
            assert!(poll(Pin::new(handle), &joiner.waker()).is_pending());
        }
    };

    at(BeforePoll);
    if case.join != Join::Nobody {
        asks(&slot);
    }
    rt.run_until_stalled();
    let moved = match case.waker {
        Left::AnotherThread => {
            let wakers = std::mem::take(&mut *kept.lock().expect("no panic"));
            Some(thread::spawn(move || {
                for waker in &wakers {
                    let clone = waker.clone();
                    waker.wake_by_ref();
                    drop(clone);
                }
                wakers
            }))
        }
        _ => None,
    };
    let away = moved.map(|thread| thread.join().expect("no panic"));
    at(WhilePending);
    for waker in kept.lock().expect("no panic").iter() {
        waker.wake_by_ref();
    }
    rt.run_until_stalled();
    let finished = slot.borrow().as_ref().is_some_and(JoinHandle::is_finished);
    at(AfterEnd);
    if case.join == Join::Awaited && finished && case.handle_dropped > AfterEnd {
        let handle = slot.take().expect("not dropped yet");
        match rt.block_on(handle) {
            Ok(value) => {
                let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(value)));
            }
            Err(error) => assert!(error.is_panic() || case.aborted.is_some_and(|when| when < AfterEnd), "{error:?}"),
        }
    }
    assert_eq!(rt.stats().tasks, 1 + usize::from(is_alive(case)), "{case:?}");
    drop(rt);
    assert!(waker.is_finished());
    at(AfterRuntime);
    drop(slot.take());
    // The last wakers go elsewhere, after everything else.
    let left = std::mem::take(&mut *kept.lock().expect("no panic"));
    thread::spawn(move || {
        for waker in left.into_iter().chain(away.into_iter().flatten()) {
            waker.wake_by_ref();
            drop(waker);
        }
    })
    .join()
    .expect("no panic");
    drops.expect(2);
    assert!(joiner.wakes() <= joiner.clones(), "{case:?}");
}

/// Whether the task is still waiting after all was done to it: it was never woken and never aborted.
fn is_alive(case: Case) -> bool {
    let aborted = case.aborted.is_some_and(|when| when <= AfterEnd)
        // Once the handle is gone, nobody can abort.
        && case.aborted.is_some_and(|when| when <= case.handle_dropped);
    let woken = matches!(case.waker, Left::Kept | Left::AnotherThread);
    !aborted && !woken
}

/// All of them take Miri twenty minutes: it gets one in seven. Seven divides no number of choices, so that any three choices meet.
const EVERY: u32 = if cfg!(miri) { 7 } else { 1 };

#[test]
fn everything_is_dropped_once_and_at_home_in_every_combination() {
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        // The panics that are part of the cases have text of their own, and are many: only others are told.
        if !info.payload().downcast_ref::<&str>().is_some_and(|text| text.starts_with("the ")) {
            quiet(info);
        }
    }));
    within(3 * SOON, || {
        let mut cases = 0_u32;
        for panics in [Panics::Never, Panics::InPoll, Panics::InDrop, Panics::InBoth] {
            for output in [Output::Quiet, Output::Panics] {
                for join in [Join::Nobody, Join::Asked, Join::Awaited] {
                    for handle_dropped in [BeforePoll, DuringPoll, WhilePending, AfterEnd, AfterRuntime] {
                        for aborted in
                            [None, Some(BeforePoll), Some(DuringPoll), Some(WhilePending), Some(AfterEnd), Some(AfterRuntime)]
                        {
                            for waker in [Left::Nowhere, Left::Kept, Left::InTheFuture, Left::AnotherThread] {
                                let case = Case { panics, output, join, handle_dropped, aborted, waker };
                                cases += 1;
                                if !cases.is_multiple_of(EVERY) {
                                    continue;
                                }
                                let result = std::panic::catch_unwind(|| run(case));
                                result.unwrap_or_else(|panic| {
                                    eprintln!("in this case: {case:?}");
                                    std::panic::resume_unwind(panic)
                                });
                            }
                        }
                    }
                }
            }
        }
        assert_eq!(cases, 4 * 2 * 3 * 5 * 6 * 4);
    });
}
