//! What `block_on` costs, of a runtime and alone.

use std::future::Future;
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::task::{Context, Poll, Waker};
use std::thread;

use crate::meter::{Budget, Sample, measure};
use crate::runtime::{Rt, SelfWake};
use crate::table::{FLOOR, Table};

pub(crate) fn add<R: Rt>(table: &mut Table) {
    table.add("ready", R::NAME, ready::<R>);
    table.add("K1", R::NAME, one_wait::<R>);
    table.add("K2", R::NAME, many_waits::<R>);
}

/// The runtimes whose wakers may be used on another thread.
pub(crate) fn add_threads<R: Rt>(table: &mut Table) {
    table.add("K3", R::NAME, other_thread::<R>);
}

/// The executors that are a `block_on` and nothing else.
pub(crate) fn add_alone<R: Rt>(table: &mut Table) {
    table.add("ready-alone", R::NAME, ready::<R>);
    table.add("K1-alone", R::NAME, one_wait::<R>);
    table.add("K2-alone", R::NAME, many_waits::<R>);
    table.add("K3-alone", R::NAME, other_thread::<R>);
}

pub(crate) fn add_floor(table: &mut Table) {
    for alone in ["", "-alone"] {
        table.add(format!("ready{alone}"), FLOOR, |budget| floor_of_polls(budget, 1_000, 0));
        table.add(format!("K1{alone}"), FLOOR, |budget| floor_of_polls(budget, 1, WAITS));
        table.add(format!("K2{alone}"), FLOOR, |budget| floor_of_polls(budget, WAITS, 1));
        table.add(format!("K3{alone}"), FLOOR, floor_of_other_thread);
    }
}

const WAITS: u64 = 10_000;
const HOPS: u64 = 1_000;

/// A future that is ready at once.
fn ready<R: Rt>(budget: Budget) -> Sample {
    let mut rt = R::new();
    measure(budget, 1_000, || {
        for n in 0..1_000 {
            assert_eq!(rt.block_on(async { black_box(n) }), n);
        }
    })
}

/// One `block_on` of a future that wakes itself many times.
fn one_wait<R: Rt>(budget: Budget) -> Sample {
    let mut rt = R::new();
    measure(budget, WAITS, || rt.block_on(SelfWake::times(WAITS as usize)))
}

/// Many times `block_on` of a future that wakes itself once.
fn many_waits<R: Rt>(budget: Budget) -> Sample {
    let mut rt = R::new();
    measure(budget, WAITS, || {
        for _ in 0..WAITS {
            rt.block_on(SelfWake::times(1));
        }
    })
}

/// Polls a boxed future that wakes itself `waits` times, `times` over.
fn floor_of_polls(budget: Budget, times: u64, waits: u64) -> Sample {
    measure(budget, times * waits.max(1), || {
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..times {
            let mut future = pin!(SelfWake::times(waits as usize));
            while black_box(future.as_mut()).poll(&mut cx).is_pending() {}
        }
    })
}

/// Many times `block_on` of a future that another thread wakes.
fn other_thread<R: Rt>(budget: Budget) -> Sample {
    let mut rt = R::new();
    let (wakers, theirs) = sync_channel::<(Waker, Arc<AtomicBool>)>(10_000);
    let helper = thread::spawn(move || {
        for (waker, woken) in theirs {
            woken.store(true, Ordering::Release);
            waker.wake();
        }
    });
    let sample = measure(budget, HOPS, || {
        for _ in 0..HOPS {
            rt.block_on(Elsewhere { wakers: &wakers, woken: None });
        }
    });
    drop(wakers);
    helper.join().expect("the helper ends");
    sample
}

/// Gives its waker to the helper thread, and is ready once that has used it.
struct Elsewhere<'a> {
    wakers: &'a SyncSender<(Waker, Arc<AtomicBool>)>,
    woken: Option<Arc<AtomicBool>>,
}

impl Future for Elsewhere<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match &self.woken {
            Some(woken) if woken.load(Ordering::Acquire) => Poll::Ready(()),
            Some(_) => Poll::Pending,
            None => {
                let woken = Arc::new(AtomicBool::new(false));
                self.wakers.send((cx.waker().clone(), woken.clone())).expect("the helper listens");
                self.woken = Some(woken);
                Poll::Pending
            }
        }
    }
}

/// The same hop with `park` and `unpark` only.
fn floor_of_other_thread(budget: Budget) -> Sample {
    let (threads, theirs) = sync_channel::<(thread::Thread, Arc<AtomicBool>)>(10_000);
    let helper = thread::spawn(move || {
        for (thread, woken) in theirs {
            woken.store(true, Ordering::Release);
            thread.unpark();
        }
    });
    let sample = measure(budget, HOPS, || {
        for _ in 0..HOPS {
            let woken = Arc::new(AtomicBool::new(false));
            threads.send((thread::current(), woken.clone())).expect("the helper listens");
            while !woken.load(Ordering::Acquire) {
                thread::park();
            }
        }
    });
    drop(threads);
    helper.join().expect("the helper ends");
    sample
}
