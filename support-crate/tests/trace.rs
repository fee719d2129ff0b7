//! What the engine does, step by step: a trace of events beside the one that is expected, with a word on each.

mod common;

use common::{Gate, Keeps, SOON, Trace, runtime, within};
use futures::channel::mpsc;
use futures::{AsyncRead, SinkExt, StreamExt};
use pinlab::{JoinHandle, Source, TaskPhase, WakerPlace, What, yield_now};
use std::cell::RefCell;
use std::future::{Future, pending, poll_fn};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

/// What the engine itself recorded, without times, and without the names of the tasks.
fn steps(rt: &pinlab::Runtime) -> Vec<String> {
    let text = format!("{:#}", rt.trace());
    text.lines()
        .filter(|line| !line.starts_with("  #"))
        .skip(1)
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

#[track_caller]
fn expect(rt: &pinlab::Runtime, expected: &[&str]) {
    assert_eq!(steps(rt), expected);
}

/// A future that says what happens to it.
fn says(trace: &Trace, name: &'static str, polls: usize) -> impl Future<Output = ()> + use<> {
    struct Says(Trace, &'static str, usize);
    impl Future for Says {
        type Output = ();
        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            self.0.say(format!("poll {}", self.1));
            self.2 -= 1;
            if self.2 == 0 {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    }
    impl Drop for Says {
        fn drop(&mut self) {
            self.0.say(format!("drop {}", self.1));
        }
    }
    Says(trace.clone(), name, polls)
}

#[test]
fn a_spawned_task_is_polled_when_the_engine_is_driven_and_dropped_when_it_is_done() {
    let rt = runtime();
    let trace = Trace::default();
    let task = rt.spawn(says(&trace, "a", 1));
    trace.expect(&[]); // spawning polls nothing
    rt.run_until_stalled();
    trace.expect(&[
        "poll a", // once: it is ready
        "drop a", // at once, though its handle is still there
    ]);
    drop(task);
    trace.expect(&[]); // nothing was left to be dropped
}

#[test]
fn two_tasks_that_wake_themselves_take_turns() {
    let rt = runtime();
    let trace = Trace::default();
    let _tasks = [rt.spawn(says(&trace, "a", 2)), rt.spawn(says(&trace, "b", 3))];
    rt.run_until_stalled();
    trace.expect(&[
        "poll a", // wakes itself: behind b
        "poll b", // wakes itself: behind a
        "poll a", // ready
        "drop a", //
        "poll b", // alone now, and once more
        "poll b", // ready
        "drop b",
    ]);
}

#[test]
fn an_aborted_task_is_dropped_without_another_poll() {
    let rt = runtime();
    let trace = Trace::default();
    let task = rt.spawn(says(&trace, "a", 2));
    assert!(rt.tick());
    task.abort();
    trace.say("after abort");
    rt.run_until_stalled();
    trace.expect(&[
        "poll a",      // wakes itself, and so is queued
        "drop a",      // by abort, at once
        "after abort", // its entry in the queue polls nothing
    ]);
}

#[test]
fn a_dropped_runtime_drops_its_tasks_the_youngest_first() {
    let rt = runtime();
    let trace = Trace::default();
    for name in ["a", "b", "c"] {
        drop(rt.spawn(says(&trace, name, 9)));
    }
    rt.tick();
    drop(rt);
    trace.expect(&[
        "poll a", // the only one that was driven
        "drop c", // the list has the youngest first
        "drop b", //
        "drop a",
    ]);
}

#[test]
fn the_engines_own_record_tells_who_woke_whom() {
    let rt = runtime();
    let gate = Gate::default();
    rt.record();
    let open = gate.clone();
    let waits = rt.spawn(gate);
    drop(rt.spawn(async move {
        yield_now().await;
        open.open();
    }));
    rt.block_on(waits).expect("no panic");
    expect(
        &rt,
        &[
            "spawn #0 Gate by code outside any task",
            "spawn #1 the_engines_own_record_tells_who_woke_whom() by code outside any task",
            "poll #2 Pending", // block_on: its waker is with task 0
            "poll #0 Pending", // its waker is in the gate
            "poll #1 Pending", // yields:
            "wake #1 by #1",   // by waking itself
            "poll #1 Ready",   // opens the gate:
            "wake #0 by #1",   // which wakes who waits for it
            "poll #0 Ready",   // its end
            "wake #2 by #0",   // is what block_on waits for
            "poll #2 Ready",
        ],
    );
}

#[test]
fn a_second_wake_is_recorded_and_queues_nothing() {
    let rt = runtime();
    rt.record();
    let mut polls = 0;
    drop(rt.spawn(poll_fn(move |cx| {
        polls += 1;
        if polls == 2 {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        cx.waker().wake_by_ref();
        Poll::Pending
    })));
    rt.run_until_stalled();
    let wakes: Vec<_> = rt
        .trace()
        .entries()
        .iter()
        .filter_map(|entry| match entry.what {
            What::Woken { by, queued, .. } => Some((by, queued)),
            _ => None,
        })
        .collect();
    assert_eq!(wakes, [(Source::Task(0), true), (Source::Task(0), false)]);
    assert_eq!(rt.trace().polls(Some(0)), 2);
}

#[test]
fn a_rendezvous_of_two_tasks_is_a_fixed_dance() {
    let rt = runtime();
    let trace = Trace::default();
    let (mut sender, mut receiver) = mpsc::channel::<u8>(0);
    let (s, r) = (trace.clone(), trace.clone());
    drop(rt.spawn(async move {
        for number in 0..3 {
            sender.send(number).await.expect("it receives");
            s.say(format!("sent {number}"));
        }
    }));
    drop(rt.spawn(async move {
        while let Some(number) = receiver.next().await {
            r.say(format!("got {number}"));
        }
        r.say("end");
    }));
    rt.run_until_stalled();
    trace.expect(&[
        "got 0",  // the channel holds one per sender: 0 was put there at the first poll, and its sender waits
        "sent 0", // woken by the receipt
        "got 1",  //
        "sent 1", //
        "got 2",  //
        "sent 2", // and with it the sender is dropped
        "end",
    ]);
}

#[test]
fn timers_sleeps_and_other_threads_are_recorded_as_what_they_are() {
    within(SOON, || {
        let rt = runtime();
        let keeps = Keeps::default();
        let gate = Gate::default();
        rt.record();
        let theirs = gate.clone();
        rt.block_on(async {
            rt.handle().sleep(Duration::from_millis(5)).await;
            let helper = thread::spawn(move || {
                thread::sleep(Duration::from_millis(20));
                theirs.open();
            });
            gate.await;
            helper.join().expect("no panic");
        });
        drop(keeps);
        expect(
            &rt,
            &[
                "poll #0 Pending",           // the timer is armed
                "sleep",                     // until it is due
                "timer fired",               //
                "wake #0 by a timer",        //
                "poll #0 Pending",           // the gate is shut
                "sleep",                     // no timer, no socket: until the other thread rings
                "wake #0 by another thread", //
                "poll #0 Ready",
            ],
        );
        let timeline = rt.trace();
        assert!(timeline.parked() >= Duration::from_millis(20));
        assert!(timeline.total() >= timeline.parked());
    });
}

#[test]
fn a_poll_comes_before_what_happens_in_it_however_coarse_the_clock() {
    let rt = runtime();
    rt.record();
    for _ in 0..3_000 {
        drop(rt.spawn(yield_now()));
    }
    rt.run_until_stalled();
    let trace = rt.trace();
    let mut polled = vec![0; trace.tasks()];
    for entry in trace.entries() {
        match entry.what {
            What::Polled { task, .. } => polled[task] += 1,
            What::Woken { task, .. } => assert_eq!(polled[task], 1, "woken in the first poll, not before it"),
            _ => {}
        }
    }
}

#[test]
fn nothing_is_recorded_before_record_or_after_it_was_stopped() {
    let rt = runtime();
    rt.block_on(yield_now());
    assert!(rt.trace().entries().is_empty());
    rt.record();
    rt.block_on(yield_now());
    let whole = rt.stop_recording();
    assert_eq!(whole.polls(None), 2);
    rt.block_on(yield_now());
    assert!(rt.trace().entries().is_empty());
}

#[test]
fn a_recording_that_is_forgotten_keeps_no_more_than_its_share() {
    let rt = runtime();
    rt.record();
    for _ in 0..150_000 {
        drop(rt.spawn(async {}));
        rt.run_until_stalled();
    }
    let trace = rt.stop_recording();
    assert_eq!(trace.entries().len(), 100_000);
    assert_eq!(trace.left_out(), 200_000);
    assert_eq!(trace.tasks(), 50_000, "those of the entries, and no other");
}

#[test]
fn steps_of_a_recording_that_is_full_tell_what_was_polled_and_keep_no_names() {
    let rt = runtime();
    rt.record();
    for _ in 0..60_000 {
        drop(rt.spawn(async {}));
        assert!(rt.step().polled.is_some(), "after {} polls", rt.stats().polls);
    }
    let kept = rt.trace().tasks();
    assert_eq!(kept, 50_000, "those of the entries, and no other");
    let tasks = [rt.spawn(pending::<()>()), rt.spawn(pending::<()>())];
    let first = rt.step();
    let numbers: Vec<_> = first.state.tasks.iter().map(|state| state.task).collect();
    assert!(numbers[0] >= kept && numbers[0] < numbers[1], "numbers beyond those of the recording: {numbers:?}");
    assert_eq!(first.polled, Some(numbers[0]));
    assert_eq!(rt.step().polled, Some(numbers[1]), "and the same each time");
    rt.block_on(yield_now());
    assert_eq!(rt.trace().tasks(), kept);
    drop(tasks);
}

#[test]
fn a_step_whose_task_stops_or_restarts_the_recording_tells_what_was_polled() {
    let rt = Rc::new(runtime());
    drop(rt.spawn(async {}));
    rt.step();
    for restart in [true, false] {
        let inside = rt.clone();
        let other = rt.spawn(pending::<()>());
        drop(rt.spawn(async move {
            inside.stop_recording();
            if restart {
                inside.record();
            }
        }));
        assert!(rt.step().polled.is_some());
        let step = rt.step();
        let polled = step.polled.expect("it was ready");
        assert!(step.state.tasks.iter().all(|state| state.task != polled), "that one is over, and it is no other's number");
        drop(other);
    }
}

#[test]
fn a_step_polls_one_task_and_shows_who_is_queued_and_who_holds_whose_waker() {
    let rt = runtime();
    let handle = rt.handle();
    let (send, receive) = futures::channel::oneshot::channel::<()>();
    let waits = rt.spawn(async move { receive.await.is_ok() });
    let sleeps = rt.spawn(async move { handle.sleep(Duration::from_secs(60)).await });
    drop(rt.spawn(async move {
        let _ = waits.await;
    }));
    let first = rt.step();
    assert_eq!(first.polled, Some(0));
    assert_eq!(first.state.queue, [1, 2]);
    assert_eq!(first.state.tasks[0].phase, TaskPhase::Waiting);
    assert_eq!(first.state.tasks[0].wakers, [WakerPlace::Elsewhere(1)], "in the channel");
    assert_eq!(rt.step().polled, Some(1));
    let third = rt.step();
    assert_eq!((third.polled, third.state.queue.len()), (Some(2), 0));
    assert_eq!(third.state.tasks[1].wakers, [WakerPlace::Timer(0)]);
    assert_eq!(third.state.tasks[2].wakers, [WakerPlace::Task(0)], "to be called at the end of #0");
    assert_eq!(third.state.timers[0].wakes, Some(1));
    assert!(third.state.timers[0].due_in > Duration::from_secs(50));
    assert_eq!(rt.step().polled, None);
    send.send(()).expect("it waits");
    assert_eq!(rt.snapshot().queue, [0]);
    let fourth = rt.step();
    assert_eq!(fourth.state.tasks.iter().find(|state| state.task == 0).map(|state| state.phase), Some(TaskPhase::Done));
    assert_eq!(fourth.state.queue, [2], "woken by the end of #0");
    sleeps.abort();
    assert!(rt.snapshot().timers.is_empty());
    let timeline = rt.trace();
    assert_eq!(timeline.snapshots().len(), 4, "one for each poll");
    assert_eq!(timeline.snapshot_after(timeline.entries().len()).expect("there are some").queue, [2]);
}

/// The reference with which a task is polled is no waker.
#[test]
fn a_snapshot_that_is_taken_inside_of_a_poll_shows_no_waker_that_nobody_has() {
    let rt = std::rc::Rc::new(runtime());
    let inside = rt.clone();
    let task = rt.spawn(async move { inside.snapshot().tasks[0].wakers.clone() });
    assert_eq!(rt.block_on(task).expect("it ends"), []);
}

/// The reference with which it was polled is none then either.
#[test]
fn a_snapshot_that_is_taken_while_a_task_that_aborted_itself_is_dropped_shows_no_waker_that_nobody_has() {
    struct Looks(Rc<pinlab::Runtime>, Rc<RefCell<Option<pinlab::Snapshot>>>);
    impl Drop for Looks {
        fn drop(&mut self) {
            self.1.replace(Some(self.0.snapshot()));
        }
    }
    let rt = Rc::new(runtime());
    let (own, seen) = (Rc::new(RefCell::new(None::<JoinHandle<()>>)), Rc::default());
    let (me, looks) = (own.clone(), Looks(rt.clone(), Rc::clone(&seen)));
    own.replace(Some(rt.spawn(async move {
        let _looks = looks;
        me.borrow().as_ref().expect("spawned").abort();
        pending::<()>().await;
    })));
    rt.tick();
    let seen = seen.take().expect("dropped");
    assert_eq!((seen.tasks[0].phase, &seen.tasks[0].wakers[..]), (TaskPhase::Cancelled, &[][..]));
}

#[test]
fn a_sleep_that_never_ends_is_a_timer_like_others() {
    let rt = runtime();
    let handle = rt.handle();
    let tasks = [rt.spawn(handle.sleep(Duration::MAX)), rt.spawn(handle.sleep(Duration::from_secs(60)))];
    rt.run_until_stalled();
    let snapshot = rt.snapshot();
    assert_eq!(snapshot.tasks[0].wakers, [WakerPlace::Timer(1)], "the last one");
    assert_eq!((snapshot.timers[1].due_in, snapshot.timers[1].wakes), (Duration::MAX, Some(0)));
    assert!(snapshot.to_string().contains("its waker is with a timer (never)"), "{snapshot}");
    assert_eq!(rt.stats().timers, 2);
    drop(tasks);
}

#[test]
fn a_recording_that_begins_inside_of_a_poll_knows_who_is_being_polled() {
    let rt = Rc::new(runtime());
    rt.block_on(async {
        yield_now().await; // what is not to be recorded
        rt.record();
        drop(rt.spawn(std::future::ready(())));
        yield_now().await;
    });
    expect(
        &rt,
        &[
            "spawn #0 Ready<()> by #1", // by what block_on drives
            "wake #1 by #1",
            "poll #0 Ready",
            "poll #1 Ready",
        ],
    );
    rt.block_on(async {
        rt.stop_recording();
        rt.record(); // again, in a poll that was recorded
        drop(rt.spawn(std::future::ready(())));
    });
    expect(&rt, &["spawn #0 Ready<()> by #1"]);
    let trace = rt.stop_recording();
    assert!(trace.name(1).starts_with("block_on a_recording_that_begins"), "{}", trace.name(1));

    rt.run_until_stalled();
    let inside = rt.clone();
    let task = rt.spawn(async move {
        inside.record();
        drop(inside.spawn(async {}));
    });
    rt.tick();
    drop(rt.spawn(async {}));
    rt.run_until_stalled();
    let by: Vec<_> = rt.trace().entries().iter().filter_map(|entry| spawner(entry.what)).collect();
    assert!(matches!(by[..], [Source::Task(_), Source::Outside]), "the second one is no longer by that task: {by:?}");
    drop(task);
}

#[test]
fn a_recording_that_begins_after_a_wake_of_the_main_future_tells_of_the_next() {
    let rt = runtime();
    let mut polls = 0;
    rt.block_on(poll_fn(|cx| {
        polls += 1;
        if polls == 2 {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        rt.record();
        cx.waker().wake_by_ref(); // from here on
        Poll::Pending
    }));
    expect(&rt, &["wake #0 by #0 (queued already, or complete)", "poll #0 Ready"]);
    assert_eq!(rt.stats().polls, 2, "it was woken twice, and polled once for that");
}

#[test]
fn a_snapshot_after_the_last_poll_of_the_main_future_says_that_it_is_done() {
    let rt = runtime();
    rt.record();
    rt.block_on(async {});
    let trace = rt.trace();
    let phases: Vec<_> = trace.snapshots()[0].tasks.iter().map(|task| task.phase).collect();
    assert_eq!(phases, [TaskPhase::Done]);
}

/// Where the future given to `block_on` is, only its frame knows.
#[test]
fn a_snapshot_tells_what_becomes_of_the_main_future() {
    thread_local! {
        static RT: RefCell<Option<Rc<pinlab::Runtime>>> = const { RefCell::new(None) };
        static SEEN: RefCell<Vec<(Vec<usize>, TaskPhase)>> = const { RefCell::new(Vec::new()) };
    }
    fn look() {
        let rt = RT.with_borrow(|rt| rt.clone().expect("set"));
        let snapshot = rt.snapshot();
        SEEN.with_borrow_mut(|seen| seen.push((snapshot.queue.clone(), snapshot.tasks[0].phase)));
        rt.stop_recording();
    }
    struct Looks;
    impl Drop for Looks {
        fn drop(&mut self) {
            look();
        }
    }
    struct Woken;
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            look();
        }
    }
    fn keeps(looks: Looks, end: impl Fn() -> Poll<()>) -> impl Future<Output = ()> {
        poll_fn(move |_| {
            let _ = &looks;
            end()
        })
    }
    let rt = Rc::new(runtime());
    RT.set(Some(rt.clone()));
    rt.block_on(keeps(Looks, || Poll::Ready(())));
    assert!(rt.try_block_on(keeps(Looks, || Poll::Pending)).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| rt.block_on(keeps(Looks, || panic!("on purpose"))))).is_err());
    let ends = [TaskPhase::Done, TaskPhase::Cancelled, TaskPhase::Done].map(|phase| (vec![], phase));
    assert_eq!(SEEN.take(), ends);
    // Woken while nobody is queued, it is in no queue, and the first all the same.
    let mut sleep = Box::pin(rt.handle().sleep(Duration::from_millis(5)));
    assert!(common::poll(sleep.as_mut(), &Waker::from(Arc::new(Woken))).is_pending());
    rt.block_on(async {
        while SEEN.with_borrow(|seen| seen.is_empty()) {
            yield_now().await;
        }
    });
    assert_eq!(SEEN.take(), [(vec![0], TaskPhase::Queued)]);
    RT.set(None);
}

/// Which of them begins it does not matter to the others.
#[test]
fn a_recording_that_begins_in_a_waker_knows_that_a_socket_calls_the_next() {
    thread_local! {
        static RT: RefCell<Option<Rc<pinlab::Runtime>>> = const { RefCell::new(None) };
    }
    struct Records;
    impl Wake for Records {
        fn wake(self: Arc<Self>) {
            if let Some(rt) = RT.take() {
                rt.record();
            }
        }
    }
    for by_the_engine in [false, true] {
        let rt = Rc::new(runtime());
        RT.set(Some(rt.clone()));
        let (stream, mut theirs) = common::tcp_pair(&rt.handle());
        let stream = Rc::new(stream);
        let records = Waker::from(Arc::new(Records));
        assert!(Pin::new(&mut &*stream).poll_read(&mut Context::from_waker(&records), &mut [0]).is_pending());
        let shared = stream.clone();
        let mut polls = 0;
        let reads = rt.spawn(poll_fn(move |cx| {
            polls += 1;
            let read = Pin::new(&mut &*shared).poll_read(cx, &mut [0]);
            if polls == 1 { read.map(drop) } else { Poll::Ready(()) }
        }));
        rt.run_until_stalled();
        if !by_the_engine {
            theirs.write_all(b"x").expect("loopback");
        } // else it asks after a second who still waits
        assert!(rt.block_on(reads).is_ok());
        let entries = rt.trace();
        let woken =
            entries.entries().iter().find_map(|entry| if let What::Woken { by, .. } = entry.what { Some(by) } else { None });
        let is_so = if by_the_engine { matches!(woken, Some(Source::Engine)) } else { matches!(woken, Some(Source::Socket)) };
        assert!(is_so, "{woken:?}");
    }
}

#[test]
fn a_late_wake_of_an_earlier_block_on_has_a_name_of_its_own() {
    let rt = runtime();
    let keeps = Keeps::default();
    rt.block_on(futures::future::select(keeps.clone(), yield_now()));
    rt.record();
    rt.block_on(async { keeps.take().expect("polled").wake() });
    expect(&rt, &["poll #0 Ready", "wake #1 by #0 (queued already, or complete)"]);
    assert_eq!(rt.trace().name(1), "block_on an earlier future");
}

fn spawner(what: What) -> Option<Source> {
    if let What::Spawned { by, .. } = what { Some(by) } else { None }
}

#[test]
fn what_follows_a_main_future_that_panicked_is_not_taken_for_its_work() {
    let rt = runtime();
    let result = catch_unwind(AssertUnwindSafe(|| {
        rt.block_on(async {
            rt.record();
            if true {
                panic!("no");
            }
        })
    }));
    assert!(result.is_err());
    drop(rt.spawn(async {}));
    assert_eq!(rt.trace().entries().iter().filter_map(|entry| spawner(entry.what)).next(), Some(Source::Outside));
}

#[test]
fn a_main_future_that_panics_is_over_after_the_time_that_it_took() {
    const BUSY: Duration = Duration::from_millis(20);
    let rt = runtime();
    rt.record();
    let result = catch_unwind(AssertUnwindSafe(|| {
        rt.block_on(async {
            thread::sleep(BUSY);
            if true {
                panic!("no");
            }
        })
    }));
    assert!(result.is_err());
    let trace = rt.trace();
    let What::Polled { took, ready, .. } = trace.entries()[0].what else { panic!("{trace}") };
    assert!(ready && took >= BUSY, "{trace}");
    assert_eq!(trace.snapshots().len(), 1, "as after each poll");
}

/// It returned `Pending`, whatever became of it then; and wakes that come later find it over, not queued.
#[test]
fn a_poll_that_was_aborted_meanwhile_is_none_that_was_ready() {
    let rt = runtime();
    rt.record();
    let own = Rc::new(RefCell::new(None::<JoinHandle<()>>));
    let keeps = Keeps::default();
    let (me, mut waits) = (own.clone(), keeps.clone());
    own.replace(Some(rt.spawn(poll_fn(move |cx| {
        me.borrow().as_ref().expect("spawned").abort();
        Pin::new(&mut waits).poll(cx)
    }))));
    rt.run_until_stalled();
    keeps.take().expect("polled").wake();
    let name = rt.trace().name(0).to_owned();
    expect(
        &rt,
        &[
            &format!("spawn #0 {name} by code outside any task"),
            "poll #0 Pending",
            "wake #0 by code outside any task (queued already, or complete)",
        ],
    );
    let words = rt.trace().figure().html();
    assert!(words.contains("The wake is too late"), "it is not queued: {words}");
}

/// Poll-style waiters do not say when they give up: after a second of silence the engine asks.
#[test]
fn a_wake_by_the_engine_that_asks_who_still_waits_is_recorded_as_its_own() {
    within(SOON, || {
        let rt = runtime();
        let (stream, theirs) = common::tcp_pair(&rt.handle());
        rt.record();
        let mut polls = 0;
        rt.block_on(poll_fn(|cx| {
            polls += 1;
            let read = futures::AsyncRead::poll_read(Pin::new(&mut &stream), cx, &mut [0]);
            if polls == 1 { read.map(drop) } else { Poll::Ready(()) }
        }));
        let mut steps = steps(&rt);
        steps.dedup(); // on a busy machine it may sleep twice
        assert_eq!(steps, ["poll #0 Pending", "sleep", "wake #0 by the engine", "poll #0 Ready"]);
        assert!(rt.trace().entries().iter().any(|entry| matches!(entry.what, What::Woken { by: Source::Engine, .. })));
        drop(theirs);
    });
}

#[test]
fn a_timer_that_is_reset_to_the_past_is_as_late_as_it_is() {
    let rt = runtime();
    let waker = pinlab::CountingWaker::new().waker();
    let past = std::time::Instant::now();
    let mut sleep = rt.handle().sleep(Duration::from_secs(3600));
    assert!(common::poll(Pin::new(&mut sleep), &waker).is_pending());
    thread::sleep(Duration::from_millis(50));
    drop(rt.handle().sleep(Duration::from_millis(1))); // a look at the clock
    rt.record();
    sleep.reset(past);
    rt.run_until_stalled();
    let trace = rt.trace();
    let late =
        trace.entries().iter().find_map(|entry| if let What::TimerFired { late } = entry.what { Some(late) } else { None });
    assert!(late >= Some(Duration::from_millis(50)), "{late:?}");
}

#[test]
fn a_sleep_ends_before_those_are_woken_who_waited_for_an_event() {
    /// Wakes somebody else, and takes its time.
    struct Slow(Waker);
    impl Wake for Slow {
        fn wake(self: Arc<Self>) {
            thread::sleep(Duration::from_millis(300));
            self.0.wake_by_ref();
        }
    }
    within(SOON, || {
        let rt = runtime();
        let (stream, mut theirs) = common::tcp_pair(&rt.handle());
        let helper = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            theirs.write_all(b"x").expect("a connection");
        });
        rt.record();
        rt.block_on(poll_fn(|cx| {
            let slow = Waker::from(Arc::new(Slow(cx.waker().clone())));
            futures::AsyncRead::poll_read(Pin::new(&mut &stream), &mut Context::from_waker(&slow), &mut [0])
        }))
        .expect("a byte");
        assert!(rt.trace().parked() < Duration::from_millis(200), "{}", rt.trace());
        helper.join().expect("no panic");
    });
}

#[test]
fn snapshots_are_kept_while_they_are_small_and_then_no_more() {
    let kept = |tasks: u64, sleeps: u32| {
        let rt = runtime();
        let handle = rt.handle();
        for _ in 0..tasks {
            drop(rt.spawn(pending::<()>()));
        }
        rt.record();
        rt.block_on(async {
            let mut many: Vec<_> = (0..sleeps).map(|_| handle.sleep(SOON * 1000)).collect();
            poll_fn(|cx| {
                assert!(many.iter_mut().all(|sleep| Pin::new(sleep).poll(cx).is_pending()));
                Poll::Ready(())
            })
            .await;
            yield_now().await; // after this poll there are timers
            drop(many);
            yield_now().await;
        });
        let trace = rt.stop_recording();
        // Where none are kept any more, the last one is not taken for what came later.
        let of_the_end = trace.snapshot_after(trace.entries().len()).is_some();
        assert_eq!(of_the_end, tasks <= 64 && sleeps <= 256, "{tasks} tasks, {sleeps} sleeps");
        trace.snapshots().len()
    };
    assert_eq!(kept(0, 0), 3, "one for each poll");
    assert_eq!(kept(63, 100), 3 + 63);
    assert_eq!(kept(65, 0), 0, "tasks that were there before the recording count");
    assert_eq!(kept(0, 300), 0, "and when the timers are gone, none either");
}
