//! Everything that foreign code may do with an engine, from wherever it is called.

use super::common::{poll, runtime, tcp_pair};
use super::guests::{Guest, Last, Payload, Plan, spy};
use super::world::{World, forget_on_purpose};
use pinlab::{WakerCall, yield_now};
use std::future::pending;
use std::panic::panic_any;
use std::rc::Rc;
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

/// Something that foreign code does. `None` from `act`: there was nothing to do it with.
pub(crate) struct Action {
    pub(crate) name: &'static str,
    pub(crate) act: fn(&World) -> Option<()>,
    /// It drives the engine, which refuses that while it is being driven.
    pub(crate) drives: bool,
    pub(crate) panics: bool,
    /// It forgets a value: what that holds is never given back.
    pub(crate) forgets: bool,
    /// It may cancel the own task.
    pub(crate) cancels: bool,
    /// It may drop the runtime.
    pub(crate) ends_runtime: bool,
    pub(crate) needs_socket: bool,
    /// The engine may panic with one of these, as its documentation says.
    pub(crate) refusals: &'static [&'static str],
}

const fn action(name: &'static str, act: fn(&World) -> Option<()>) -> Action {
    Action {
        name,
        act,
        drives: false,
        panics: false,
        forgets: false,
        cancels: false,
        ends_runtime: false,
        needs_socket: false,
        refusals: &[],
    }
}

const fn drives(name: &'static str, act: fn(&World) -> Option<()>) -> Action {
    Action { drives: true, ..action(name, act) }
}

const fn socket(name: &'static str, act: fn(&World) -> Option<()>) -> Action {
    Action { needs_socket: true, ..action(name, act) }
}

const fn forgets(name: &'static str, act: fn(&World) -> Option<()>) -> Action {
    Action { forgets: true, ..action(name, act) }
}

const HOUR: Duration = Duration::from_secs(3600);

pub(crate) const ACTIONS: &[Action] = &[
    action("does nothing", |_| Some(())),
    // ---- drives the engine
    drives("ticks", |w| w.rt.get().map(|rt| rt.tick()).map(|_| ())),
    drives("runs until stalled", |w| w.rt.get().map(|rt| rt.run_until_stalled()).map(|_| ())),
    drives("blocks on a future that is ready", |w| w.rt.get().map(|rt| rt.block_on(async {}))),
    drives("blocks on a future that yields", |w| w.rt.get().map(|rt| rt.block_on(yield_now()))),
    drives("tries to block on a future that times out", |w| {
        let rt = w.rt.get()?;
        let limit = rt.handle().timeout(Duration::from_micros(100), pending::<()>());
        rt.try_block_on(limit).map_or(Some(()), |limited| limited.err().map(drop))
    }),
    drives("blocks on a task that it spawns", |w| {
        w.rt.get().map(|rt| {
            let task = rt.spawn(Guest::new(Plan::third(Last::Ready)));
            rt.block_on(task).map(drop).unwrap_or_default()
        })
    }),
    // ---- spawns
    action("spawns a task that stays pending", |w| w.handle.get().map(|h| drop(h.spawn(Guest::new(Plan::third(Last::Pending)))))),
    action("spawns a task that is ready at once", |w| {
        w.handle.get().map(|h| drop(h.spawn(Guest::new(Plan::third(Last::Ready)))))
    }),
    action("spawns a task that panics", |w| w.handle.get().map(|h| drop(h.spawn(Guest::new(Plan::third(Last::Panic)))))),
    action("spawns a task and aborts it", |w| w.handle.get().map(|h| h.spawn(Guest::new(Plan::third(Last::Pending))).abort())),
    action("spawns many tasks", |w| {
        let handle = w.handle.get()?;
        // Miri takes forty milliseconds for each.
        (0..if cfg!(miri) { 20 } else { 100 }).for_each(|_| drop(handle.spawn(Guest::new(Plan::third(Last::Ready)))));
        Some(())
    }),
    // ---- tasks and their handles
    Action { cancels: true, ..action("aborts its own task", |w| w.own.get().map(|own| own.abort())) },
    Action {
        cancels: true,
        ..action("aborts its own task twice and drops its handle", |w| {
            w.own.get().map(|own| {
                own.abort();
                own.abort();
                drop(own);
                drop(w.own.take());
            })
        })
    },
    action("aborts another task", |w| w.other.get().map(|other| other.abort())),
    action("drops its own task's handle", |w| w.own.take().map(drop)),
    action("drops another task's handle", |w| w.other.take().map(drop)),
    forgets("forgets its own task's handle", |w| w.own.take().map(forget_on_purpose)),
    forgets("forgets another task's handle", |w| w.other.take().map(forget_on_purpose)),
    action("polls its own task's handle", |w| w.poll_own(Waker::noop()).map(drop)),
    action("awaits its own task's end with its own waker", |w| {
        let waker = w.own_waker.take()?;
        w.poll_own(&waker).map(drop)
    }),
    action("awaits another task's end with its own waker", |w| {
        let waker = w.own_waker.take()?;
        let mut other = Rc::into_inner(w.other.take()?)?;
        let _ = poll(std::pin::Pin::new(&mut other), &waker);
        Some(()) // and drops it
    }),
    // ---- the runtime and its handles
    Action { ends_runtime: true, cancels: true, ..action("drops the runtime", |w| w.rt.take().map(drop)) },
    Action {
        ends_runtime: true,
        cancels: true,
        ..action("drops the runtime and every handle", |w| {
            drop(w.handle.take());
            w.rt.take().map(drop)
        })
    },
    forgets("forgets the runtime", |w| w.rt.take().map(forget_on_purpose)),
    action("drops the handle", |w| w.handle.take().map(drop)),
    forgets("forgets the handle", |w| w.handle.take().map(forget_on_purpose)),
    action("makes a handle and keeps it", |w| w.rt.get().map(|rt| w.handle.put(rt.handle()))),
    action("makes another runtime and drives it", |_| {
        let rt = runtime();
        let task = rt.spawn(async { 7 });
        assert_eq!(rt.block_on(task).expect("it returns"), 7);
        assert!(rt.try_block_on(pending::<()>()).is_err());
        Some(())
    }),
    action("blocks on a future without a runtime", |_| pinlab::block_on(async { Some(()) })),
    action("records anew and looks at all there is to look at", |w| {
        let rt = w.rt.get()?;
        rt.record();
        let mut text = format!("{:?} {:?} {:?} {}", rt, rt.stats(), rt.handle(), rt.trace());
        text.extend(w.own.get().map(|own| format!("{own:?}")));
        text.extend(w.sleep.lend(|sleep| format!("{sleep:?}")));
        std::hint::black_box(text);
        Some(())
    }),
    action("stops recording", |w| w.rt.get().map(|rt| drop(rt.stop_recording()))),
    // ---- timers
    action("resets a sleep", |w| w.sleep.lend(|sleep| sleep.as_mut().get_mut().reset(Instant::now() + HOUR))),
    action("resets a sleep to now", |w| w.sleep.lend(|sleep| sleep.as_mut().get_mut().reset(Instant::now()))),
    Action {
        refusals: &["Runtime had been dropped", "polled after its Runtime"],
        ..action("polls a sleep with a waker of another kind", |w| {
            let waker = spy(WakerCall::Clone); // there is no second point
            w.sleep.lend(|sleep| poll(sleep.as_mut(), &waker)).map(|_| ())
        })
    },
    action("drops a sleep", |w| w.sleep.take().map(drop)),
    forgets("forgets a sleep", |w| w.sleep.take().map(forget_on_purpose)),
    Action {
        refusals: &["Runtime had been dropped", "polled after its Runtime"],
        ..action("starts a sleep with its own waker and drops it", |w| {
            let (handle, waker) = (w.handle.get()?, w.own_waker.get()?);
            let mut sleep = Box::pin(handle.sleep(HOUR));
            let _ = poll(sleep.as_mut(), &waker);
            Some(())
        })
    },
    // ---- sockets
    socket("drops a socket and who waits for it", |w| {
        w.reading.take().map(drop)?;
        w.stream.take().map(drop)
    }),
    socket("polls who waits for a socket with its own waker", |w| {
        let waker = w.own_waker.get()?;
        w.reading.lend(|reading| poll(reading.as_mut(), &waker)).map(|_| ())
    }),
    Action { forgets: true, ..socket("forgets who waits for a socket", |w| w.reading.take().map(forget_on_purpose)) },
    socket("lets a socket become readable", |w| w.peer.take().map(drop)),
    socket("makes two sockets and drops them", |w| {
        let handle = w.handle.get()?;
        w.rt.get()?;
        drop(tcp_pair(&handle));
        Some(())
    }),
    // ---- wakers
    action("wakes itself", |w| w.own_waker.take().map(Waker::wake)),
    action("wakes itself by reference, twice", |w| {
        let waker = w.own_waker.get()?;
        waker.wake_by_ref();
        waker.wake_by_ref();
        Some(())
    }),
    action("wakes another", |w| w.other_waker.get().map(Waker::wake)),
    action("drops its own waker", |w| w.own_waker.take().map(drop)),
    forgets("forgets its own waker", |w| w.own_waker.take().map(forget_on_purpose)),
    action("clones its own waker a thousand times", |w| {
        let waker = w.own_waker.get()?;
        drop(vec![waker; 1000]);
        Some(())
    }),
    // ---- another thread
    action("lets another thread wake it", |w| {
        let waker = w.own_waker.get()?;
        thread::spawn(move || waker.wake()).join().ok()
    }),
    action("lets another thread wake it by reference, twice", |w| {
        let waker = w.own_waker.get()?;
        let twice = move || {
            waker.wake_by_ref();
            waker.wake_by_ref();
        };
        thread::spawn(twice).join().ok()
    }),
    action("lets another thread drop its last waker", |w| {
        let waker = w.own_waker.take()?;
        thread::spawn(move || drop(waker)).join().ok()
    }),
    action("lets another thread wake two tasks from now on", |w| {
        let wakers = (w.own_waker.get(), w.other_waker.get());
        let turns = if cfg!(miri) { 3 } else { 100 };
        let busy = move || {
            for _ in 0..turns {
                let (own, other) = wakers.clone();
                own.map(Waker::wake).unwrap_or_default();
                other.iter().for_each(Waker::wake_by_ref);
            }
        };
        w.threads.borrow_mut().push(thread::spawn(busy));
        Some(())
    }),
    // ---- panics
    Action { panics: true, ..action("panics", |_| panic!("in foreign code")) },
    Action { panics: true, ..action("panics with a value", |_| panic_any(Payload::new())) },
];
