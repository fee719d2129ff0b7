//! Models for loom: the protocol by which other threads reach the engine, under every interleaving within the stated bounds.
//!
//! ```text
//! RUSTFLAGS="--cfg pinlab_loom" cargo test --release --package pinlab --lib --target-dir target/loom models
//! ```
//!
//! Two sorts of model. The [`Inbox`] alone, with something to notify that loom knows, in both kinds of sleep. And the whole engine through its
//! public face, as long as it sleeps in `thread::park`: the system's wait for events is outside of what loom can turn back.
//!
//! Bounds: at most three preemptions in an execution of the engine's models (loom's authors found two or three to show practically
//! every bug); the inbox's are complete, but for the one that says otherwise.

use crate::remote::{self, Asleep};
use crate::{JoinHandle, Runtime, Stalled};
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use loom::sync::{Arc, Mutex, Notify};
use loom::thread;
use std::cell::Cell;
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

fn bounded(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 20_000;
    builder.check(model);
}

// ---- the inbox -------------------------------------------------------------------------------------------------

/// What loom knows of, in the poller's place.
impl remote::Notify for Notify {
    fn notify(&self) {
        Self::notify(self);
    }
}

type Inbox<M> = remote::Inbox<M, Notify>;

/// The reader sleeps until it has so many messages; in a lost wake-up loom finds a deadlock.
fn read(inbox: &Inbox<usize>, expected: usize, how: Asleep, notified: &Notify) -> Vec<usize> {
    let mut got = Vec::new();
    let mut spare = Vec::new();
    while got.len() < expected {
        if inbox.has_mail() {
            inbox.take(&mut spare);
            got.append(&mut spare);
        } else if inbox.fall_asleep(how) {
            match how {
                Asleep::Parked => thread::park(),
                Asleep::Waiting => notified.wait(),
            }
            inbox.wake_up();
        }
    }
    got
}

fn senders_and_reader(senders: usize, messages: usize, how: Asleep) {
    let notify = std::sync::Arc::new(Notify::new());
    let inbox = Arc::new(Inbox::new(notify.clone()));
    let threads: Vec<_> = (0..senders)
        .map(|sender| {
            let inbox = inbox.clone();
            thread::spawn(move || {
                for message in 0..messages {
                    inbox.send(10 * sender + message).expect("it is open");
                }
            })
        })
        .collect();
    let mut got = read(&inbox, senders * messages, how, &notify);
    for sender in 0..senders {
        let from: Vec<_> = got.iter().filter(|&message| message / 10 == sender).collect();
        assert!(from.is_sorted(), "each sender's messages in order");
    }
    got.sort_unstable();
    got.dedup();
    assert_eq!(got.len(), senders * messages, "each message once");
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
}

/// C3 and C4, parked.
#[test]
fn no_message_is_left_behind_a_parked_reader() {
    loom::model(|| senders_and_reader(1, 2, Asleep::Parked));
    bounded(3, || senders_and_reader(2, 1, Asleep::Parked));
}

/// C3 and C4, waiting for events.
#[test]
fn no_message_is_left_behind_a_waiting_reader() {
    loom::model(|| senders_and_reader(1, 2, Asleep::Waiting));
    bounded(3, || senders_and_reader(2, 1, Asleep::Waiting));
}

#[test]
fn a_message_is_read_or_given_back_when_the_inbox_closes_never_both() {
    loom::model(|| {
        let inbox = Arc::new(Inbox::new(std::sync::Arc::new(Notify::new())));
        let theirs = inbox.clone();
        let sender = thread::spawn(move || (0..2).filter(|&message| theirs.send(message).is_err()).count());
        let mut read = Vec::new();
        if inbox.has_mail() {
            inbox.take(&mut read);
        }
        let left = inbox.close();
        let refused = sender.join().expect("no panic");
        assert_eq!(read.len() + left.len() + refused, 2);
    });
}

// ---- the whole engine --------------------------------------------------------------------------------------------

fn runtime() -> Runtime {
    Runtime::new().expect("the system has a poller left")
}

/// Pending until the flag is set; its waker goes to the slot.
struct Flagged {
    flag: Arc<AtomicBool>,
    slot: Arc<Mutex<Option<Waker>>>,
    polls: Rc<Cell<usize>>,
}

impl Future for Flagged {
    type Output = ();
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.polls.set(self.polls.get() + 1);
        let former = self.slot.lock().expect("no panic").replace(cx.waker().clone());
        drop(former);
        if self.flag.load(SeqCst) { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// C3, with the whole engine around it; a lost wake is a deadlock, a false report of a stall an error.
#[test]
fn a_wake_from_another_thread_reaches_the_main_future_at_every_moment() {
    bounded(3, || {
        let rt = runtime();
        let (flag, slot) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(None::<Waker>)));
        let polls = Rc::new(Cell::new(0));
        let mut helper = None;
        let mut future = Flagged { flag: flag.clone(), slot: slot.clone(), polls: polls.clone() };
        rt.try_block_on(poll_fn(|cx| {
            let polled = Pin::new(&mut future).poll(cx);
            if helper.is_none() {
                // From here on the other thread has the waker, by way of a clone of its own.
                let (flag, waker) = (flag.clone(), cx.waker().clone());
                helper = Some(thread::spawn(move || {
                    flag.store(true, SeqCst);
                    waker.wake();
                }));
            }
            polled
        }))
        .expect("the other thread has its waker");
        assert!(polls.get() <= 3, "no needless polls: {}", polls.get());
        helper.expect("spawned").join().expect("no panic");
    });
}

/// C2: two threads, two wakes, one task; whichever comes second must not be lost behind the first.
#[test]
fn two_wakes_from_two_threads_are_both_heard() {
    bounded(2, || {
        let rt = runtime();
        let count = Arc::new(AtomicUsize::new(0));
        let mut helpers = Vec::new();
        rt.try_block_on(poll_fn(|cx| {
            if helpers.is_empty() {
                for _ in 0..2 {
                    let (count, waker) = (count.clone(), cx.waker().clone());
                    helpers.push(thread::spawn(move || {
                        count.fetch_add(1, SeqCst);
                        waker.wake_by_ref();
                    }));
                }
            }
            if count.load(SeqCst) == 2 { Poll::Ready(()) } else { Poll::Pending }
        }))
        .expect("the threads have its waker");
        helpers.into_iter().for_each(|helper| helper.join().expect("no panic"));
    });
}

/// A stall is told only when the last clone, made and dropped by another thread, is gone; and then it is told.
#[test]
fn a_stall_is_told_when_the_last_clone_is_gone_and_not_before() {
    bounded(3, || {
        let rt = runtime();
        let gone = Arc::new(AtomicBool::new(false));
        let mut helper = None;
        let stalled: Result<(), Stalled> = rt.try_block_on(poll_fn(|cx| {
            if helper.is_none() {
                let (gone, waker) = (gone.clone(), cx.waker().clone());
                helper = Some(thread::spawn(move || {
                    let clone = waker.clone();
                    drop(waker);
                    gone.store(true, SeqCst);
                    drop(clone);
                }));
            }
            Poll::Pending
        }));
        assert!(stalled.is_err());
        assert!(gone.load(SeqCst), "told too early");
        helper.expect("spawned").join().expect("no panic");
    });
}

/// C13 and C17: a waker is cloned, called and dropped elsewhere while the runtime is dropped.
#[test]
fn a_runtime_may_be_dropped_at_every_moment_of_what_another_thread_does_with_a_waker() {
    bounded(3, || {
        let rt = runtime();
        let slot = Arc::new(Mutex::new(None::<Waker>));
        let dropped = Rc::new(Cell::new(0));
        struct Counts(Rc<Cell<usize>>);
        impl Drop for Counts {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
            }
        }
        let (counts, future) = (
            Counts(dropped.clone()),
            Flagged { flag: Arc::new(AtomicBool::new(false)), slot: slot.clone(), polls: Rc::default() },
        );
        let handle = rt.spawn(async move {
            let _counts = counts;
            future.await;
        });
        rt.run_until_stalled();
        let waker = slot.lock().expect("no panic").take().expect("polled");
        let helper = thread::spawn(move || {
            let clone = waker.clone();
            waker.wake_by_ref();
            drop(waker);
            clone.wake();
        });
        drop(rt);
        assert_eq!(dropped.get(), 1, "here, and now");
        drop(handle);
        helper.join().expect("no panic");
        assert_eq!(dropped.get(), 1);
    });
}

/// A task that waits, and a waker of it.
fn spawn_flagged(rt: &Runtime) -> (JoinHandle<()>, Waker) {
    let slot = Arc::new(Mutex::new(None::<Waker>));
    let handle = rt.spawn(Flagged { flag: Arc::new(AtomicBool::new(false)), slot: slot.clone(), polls: Rc::default() });
    rt.run_until_stalled();
    let waker = slot.lock().expect("no panic").take().expect("polled");
    (handle, waker)
}

/// C13 with two threads, of which each may find the inbox closed before the engine is (IT4).
#[test]
fn a_runtime_may_be_dropped_while_two_threads_give_their_wakers_back() {
    bounded(2, || {
        let rt = runtime();
        let (handle, waker) = spawn_flagged(&rt);
        let other = waker.clone();
        let helpers = [thread::spawn(move || drop(waker)), thread::spawn(move || other.wake())];
        drop(rt);
        drop(handle);
        helpers.into_iter().for_each(|helper| helper.join().expect("no panic"));
    });
}

/// The count of references in its two parts: clones made on either side are given back on either side.
#[test]
fn references_made_on_one_side_may_be_given_back_on_the_other() {
    bounded(2, || {
        let rt = runtime();
        let (handle, waker) = spawn_flagged(&rt);
        let theirs = waker.clone();
        let helper = thread::spawn(move || {
            let made_there = theirs.clone();
            drop(theirs);
            made_there
        });
        handle.abort();
        drop(handle);
        drop(waker);
        rt.run_until_stalled();
        let made_there = helper.join().expect("no panic");
        made_there.wake_by_ref();
        rt.run_until_stalled();
        drop(made_there); // made there, given back here: the last one
        assert!(rt.try_block_on(pending::<()>()).is_err());
    });
}
