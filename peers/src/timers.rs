//! What a timer costs: to arm and drop, to guard a future that is ready, to fire by the thousand.

use std::future::{Future, ready};
use std::hint::black_box;
use std::pin::pin;
use std::thread;
use std::time::{Duration, Instant};

use futures::poll;

use crate::meter::{Budget, Sample, measure, measure_async};
use crate::runtime::Timers;
use crate::table::{FLOOR, Table};

pub(crate) fn add<R: Timers>(table: &mut Table) {
    table.add("T1", R::NAME, |budget| register::<R>(budget, 0));
    table.add("T1-million", R::NAME, |budget| register::<R>(budget, if budget.quick { 10_000 } else { 1_000_000 }));
    table.add("T2", R::NAME, timeouts::<R>);
    table.add("sleeps", R::NAME, sleepers::<R>);
}

pub(crate) fn add_floor(table: &mut Table) {
    for id in ["T1", "T1-million"] {
        table.add(id, FLOOR, floor_of_register);
    }
    table.add("T2", FLOOR, floor_of_timeouts);
    table.add("sleeps", FLOOR, floor_of_sleepers);
}

/// How many timers a task handles before it lets the runtime turn: tokio gives a task 128 polls before it makes it wait.
const BATCH: usize = 100;
const BATCHES: usize = 10;

/// Makes a timer of a second, polls it once, drops it; with so many others armed meanwhile.
fn register<R: Timers>(budget: Budget, armed: usize) -> Sample {
    let mut rt = R::new();
    let spawner = rt.spawner();
    let spawner = &spawner;
    rt.block_on(async {
        let mut others = Vec::with_capacity(armed);
        for n in 0..armed {
            // One minute to one hour from now, in no order.
            let seconds = 60 + (n * 7_919) % 3_540;
            let mut sleep = Box::pin(R::sleep(spawner, Duration::from_secs(seconds as u64)));
            assert!(poll!(&mut sleep).is_pending());
            others.push(sleep);
            if n % BATCH == 0 {
                R::yield_now().await;
            }
        }
        measure_async(budget, (BATCH * BATCHES) as u64, async || {
            for _ in 0..BATCHES {
                for _ in 0..BATCH {
                    let mut sleep = pin!(R::sleep(spawner, Duration::from_secs(1)));
                    assert!(poll!(&mut sleep).is_pending());
                }
                R::yield_now().await;
            }
        })
        .await
    })
}

/// What every timer has to do: ask for the time.
fn floor_of_register(budget: Budget) -> Sample {
    measure(budget, 1_000, || {
        for _ in 0..1_000 {
            black_box(Instant::now() + black_box(Duration::from_secs(1)));
        }
    })
}

/// A limit of a second on a future that is ready.
fn timeouts<R: Timers>(budget: Budget) -> Sample {
    let mut rt = R::new();
    let spawner = rt.spawner();
    let spawner = &spawner;
    rt.block_on(measure_async(budget, 1_000, async || {
        for n in 0..1_000 {
            let result = R::timeout(spawner, Duration::from_secs(1), ready(black_box(n))).await;
            assert_eq!(result, Some(n));
        }
    }))
}

fn floor_of_timeouts(budget: Budget) -> Sample {
    measure(budget, 1_000, || {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        for n in 0..1_000 {
            let future = pin!(ready(black_box(n)));
            assert!(black_box(future).poll(&mut cx).is_ready());
        }
    })
}

const SLEEPERS: u64 = 10_000;

/// Each its own time, in no order, none above ten milliseconds.
fn nap(n: u64) -> Duration {
    Duration::from_micros((n * 7_919) % 10_000 + 1)
}

/// Ten thousand tasks sleep; all are awaited. One operation is all of them.
fn sleepers<R: Timers>(budget: Budget) -> Sample {
    let mut rt = R::new();
    let spawner = rt.spawner();
    measure(budget, 1, || {
        rt.block_on(async {
            let mut handles = Vec::with_capacity(SLEEPERS as usize);
            for n in 0..SLEEPERS {
                let own = spawner.clone();
                handles.push(R::spawn(&spawner, async move {
                    let start = Instant::now();
                    R::sleep(&own, nap(n)).await;
                    assert!(start.elapsed() >= nap(n), "{} woke a sleeper early", R::NAME);
                }));
            }
            for handle in handles {
                handle.await;
            }
        });
    })
}

fn floor_of_sleepers(budget: Budget) -> Sample {
    measure(budget, 1, || {
        let mut deadlines = Vec::with_capacity(SLEEPERS as usize);
        for n in 0..SLEEPERS {
            deadlines.push(Instant::now() + nap(n));
        }
        deadlines.sort_unstable();
        for deadline in deadlines {
            let now = Instant::now();
            if now < deadline {
                thread::sleep(deadline - now);
            }
        }
    })
}
