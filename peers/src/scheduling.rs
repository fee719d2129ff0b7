//! What a task costs: to spawn, to yield, to wake from another one.
//!
//! The floor of each is the same futures in boxes, polled by a loop that knows whose turn it is.

use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures::channel::mpsc;
use futures::{SinkExt, StreamExt};

use crate::meter::{Budget, Sample, measure, measure_cold};
use crate::runtime::{SelfWake, Spawn};
use crate::table::{FLOOR, Table};

pub(crate) fn add<R: Spawn>(table: &mut Table) {
    table.add("spawn-1000", R::NAME, |budget| spawn_and_join::<R>(budget, 1_000));
    table.add("S3", R::NAME, |budget| spawn_and_join::<R>(budget, 25_000));
    table.add("spawn", R::NAME, |budget| spawn_and_join::<R>(budget, 100_000));
    table.add("spawn-million", R::NAME, |budget| spawn_and_join::<R>(budget, million(budget)));
    table.add("spawn-cold", R::NAME, spawn_and_join_cold::<R>);
    table.add("yield", R::NAME, |budget| yields::<R>(budget, 1, 10_000));
    table.add("S5", R::NAME, |budget| yields::<R>(budget, 300, 300));
    table.add("S12", R::NAME, |budget| yields::<R>(budget, 200, 1_000));
    table.add("yield-1000", R::NAME, |budget| yields::<R>(budget, 1_000, 100));
    table.add("S16", R::NAME, |budget| self_wake::<R>(budget, 10_000));
    table.add("S6", R::NAME, |budget| ring::<R>(budget, 300, 300));
    table.add("ping-pong", R::NAME, |budget| ping_pong::<R>(budget, 10_000));
}

pub(crate) fn add_floor(table: &mut Table) {
    table.add("spawn-1000", FLOOR, |budget| floor_of_spawn(budget, 1_000));
    table.add("S3", FLOOR, |budget| floor_of_spawn(budget, 25_000));
    table.add("spawn", FLOOR, |budget| floor_of_spawn(budget, 100_000));
    table.add("spawn-million", FLOOR, |budget| floor_of_spawn(budget, million(budget)));
    table.add("spawn-cold", FLOOR, |budget| measure_cold(budget, 100_000, || boxes(100_000)));
    table.add("yield", FLOOR, |budget| floor_of_yields(budget, 1, 10_000));
    table.add("S5", FLOOR, |budget| floor_of_yields(budget, 300, 300));
    table.add("S12", FLOOR, |budget| floor_of_yields(budget, 200, 1_000));
    table.add("yield-1000", FLOOR, |budget| floor_of_yields(budget, 1_000, 100));
    table.add("S16", FLOOR, |budget| floor_of_yields(budget, 1, 10_000));
    table.add("S6", FLOOR, |budget| floor_of_ring(budget, 300, 300));
    table.add("ping-pong", FLOOR, |budget| floor_of_ping_pong(budget, 10_000));
}

fn million(budget: Budget) -> u64 {
    if budget.quick { 10_000 } else { 1_000_000 }
}

/// Spawns so many tasks that have nothing to do, then awaits each. All are alive at once.
fn spawn_and_join<R: Spawn>(budget: Budget, tasks: u64) -> Sample {
    let mut rt = R::new();
    let spawner = rt.spawner();
    measure(budget, tasks, || crowd(&mut rt, &spawner, tasks))
}

/// The same without a warm-up: every page of memory is touched for the first time.
fn spawn_and_join_cold<R: Spawn>(budget: Budget) -> Sample {
    let mut rt = R::new();
    let spawner = rt.spawner();
    measure_cold(budget, 100_000, || crowd(&mut rt, &spawner, 100_000))
}

fn crowd<R: Spawn>(rt: &mut R, spawner: &R::Spawner, tasks: u64) {
    let sum = rt.block_on(async {
        let mut handles = Vec::with_capacity(tasks as usize);
        for n in 0..tasks {
            handles.push(R::spawn(spawner, async move { n }));
        }
        let mut sum = 0;
        for handle in handles {
            sum += handle.await;
        }
        sum
    });
    assert_eq!(sum, tasks * (tasks - 1) / 2);
}

fn floor_of_spawn(budget: Budget, tasks: u64) -> Sample {
    measure(budget, tasks, || boxes(tasks))
}

fn boxes(tasks: u64) {
    let mut boxes: Vec<Pin<Box<dyn Future<Output = u64>>>> = Vec::with_capacity(tasks as usize);
    for n in 0..tasks {
        boxes.push(Box::pin(async move { n }));
    }
    let mut cx = Context::from_waker(Waker::noop());
    let mut sum = 0;
    for mut future in boxes {
        let Poll::Ready(n) = future.as_mut().poll(&mut cx) else { unreachable!("it waits for nothing") };
        sum += n;
    }
    assert_eq!(sum, tasks * (tasks - 1) / 2);
}

/// So many tasks yield so many times each.
fn yields<R: Spawn>(budget: Budget, tasks: u64, times: u64) -> Sample {
    tasks_that_wait::<R, _>(budget, tasks, times, move || async move {
        for _ in 0..times {
            R::yield_now().await;
        }
    })
}

/// One task wakes itself so many times; no yield of the runtime's own.
fn self_wake<R: Spawn>(budget: Budget, times: u64) -> Sample {
    tasks_that_wait::<R, _>(budget, 1, times, move || SelfWake::times(times as usize))
}

fn tasks_that_wait<R: Spawn, F: Future<Output = ()> + 'static>(
    budget: Budget,
    tasks: u64,
    times: u64,
    task: impl Fn() -> F,
) -> Sample {
    let mut rt = R::new();
    let spawner = rt.spawner();
    measure(budget, tasks * times, || {
        rt.block_on(async {
            let mut handles = Vec::with_capacity(tasks as usize);
            for _ in 0..tasks {
                handles.push(R::spawn(&spawner, task()));
            }
            for handle in handles {
                handle.await;
            }
        });
    })
}

fn floor_of_yields(budget: Budget, tasks: u64, times: u64) -> Sample {
    measure(budget, tasks * times, || {
        let mut boxes: Vec<Pin<Box<dyn Future<Output = ()>>>> = Vec::with_capacity(tasks as usize);
        for _ in 0..tasks {
            boxes.push(Box::pin(async move {
                for _ in 0..times {
                    SelfWake::times(1).await;
                }
            }));
        }
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..times {
            for future in &mut boxes {
                assert!(black_box(future).as_mut().poll(&mut cx).is_pending());
            }
        }
        for future in &mut boxes {
            assert!(future.as_mut().poll(&mut cx).is_ready());
        }
    })
}

/// A task of the ring: takes from the one before, gives to the one after.
async fn pass_on(mut from: mpsc::Receiver<u64>, mut to: mpsc::Sender<u64>, times: u64) {
    for _ in 0..times {
        let token = from.next().await.expect("the ring is closed");
        to.send(token + 1).await.expect("the ring is closed");
    }
}

/// A ring of tasks joined by channels; a token goes round it so many times.
fn ring<R: Spawn>(budget: Budget, tasks: u64, times: u64) -> Sample {
    let mut rt = R::new();
    let spawner = rt.spawner();
    measure(budget, tasks * times, || {
        let token = rt.block_on(async {
            let mut handles = Vec::with_capacity(tasks as usize);
            let (mut first, mut last) = mpsc::channel(0);
            for _ in 0..tasks {
                let (to, from) = mpsc::channel(0);
                handles.push(R::spawn(&spawner, pass_on(std::mem::replace(&mut last, from), to, times)));
            }
            let mut token = 0;
            for _ in 0..times {
                first.send(token).await.expect("the ring is closed");
                token = last.next().await.expect("the ring is closed");
            }
            for handle in handles {
                handle.await;
            }
            token
        });
        assert_eq!(token, tasks * times);
    })
}

fn floor_of_ring(budget: Budget, tasks: u64, times: u64) -> Sample {
    measure(budget, tasks * times, || {
        let mut boxes: Vec<Pin<Box<dyn Future<Output = ()>>>> = Vec::with_capacity(tasks as usize);
        let (mut first, mut last) = mpsc::channel(0);
        for _ in 0..tasks {
            let (to, from) = mpsc::channel(0);
            boxes.push(Box::pin(pass_on(std::mem::replace(&mut last, from), to, times)));
        }
        let mut token = 0;
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..times {
            first.try_send(token).expect("room for the token");
            for future in &mut boxes {
                _ = future.as_mut().poll(&mut cx);
            }
            token = last.try_recv().expect("the token came round");
        }
        assert_eq!(token, tasks * times);
    })
}

/// Two tasks send a number back and forth.
fn ping_pong<R: Spawn>(budget: Budget, times: u64) -> Sample {
    let mut rt = R::new();
    let spawner = rt.spawner();
    measure(budget, times, || {
        let last = rt.block_on(async {
            let (there, from_ping) = mpsc::channel(0);
            let (back, from_pong) = mpsc::channel(0);
            let ping = R::spawn(&spawner, ping(there, from_pong, times));
            let pong = R::spawn(&spawner, pass_on(from_ping, back, times));
            pong.await;
            ping.await
        });
        assert_eq!(last, times);
    })
}

async fn ping(mut there: mpsc::Sender<u64>, mut back: mpsc::Receiver<u64>, times: u64) -> u64 {
    let mut number = 0;
    for _ in 0..times {
        there.send(number).await.expect("the other is gone");
        number = back.next().await.expect("the other is gone");
    }
    number
}

fn floor_of_ping_pong(budget: Budget, times: u64) -> Sample {
    measure(budget, times, || {
        let (there, from_ping) = mpsc::channel(0);
        let (back, from_pong) = mpsc::channel(0);
        let mut ping: Pin<Box<dyn Future<Output = u64>>> = Box::pin(ping(there, from_pong, times));
        let mut pong: Pin<Box<dyn Future<Output = ()>>> = Box::pin(pass_on(from_ping, back, times));
        let mut cx = Context::from_waker(Waker::noop());
        let mut pong_ends = false;
        let last = loop {
            if let Poll::Ready(last) = ping.as_mut().poll(&mut cx) {
                break last;
            }
            if !pong_ends {
                pong_ends = pong.as_mut().poll(&mut cx).is_ready();
            }
        };
        assert_eq!(last, times);
    })
}
