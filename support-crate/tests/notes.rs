//! What is written to stderr about an engine that sleeps for long: when it was asked for, once, and never otherwise.
//!
//! Each test starts itself as a program of its own and reads what that wrote.
#![cfg(not(miri))] // starts programs

mod common;

use common::{Gate, SOON, runtime, within};
use futures::channel::{mpsc, oneshot};
use futures::{AsyncRead, StreamExt};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::process::Command;
use std::task::Poll;
use std::thread;
use std::time::Duration;

/// What this test writes to stderr as a program of its own, in which `PINLAB_NOTE_AFTER` is set to that.
fn said(test: &'static str, note_after: Option<&'static str>) -> String {
    within(SOON, move || {
        let mut command = Command::new(std::env::current_exe().expect("this test"));
        command.args(["--exact", test, "--nocapture"]).env("PINLAB_NOTES", "").env_remove("PINLAB_NOTE_AFTER");
        if let Some(seconds) = note_after {
            command.env("PINLAB_NOTE_AFTER", seconds);
        }
        let output = command.output().expect("this test can be started");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).expect("text")
    })
}

fn is_the_program() -> bool {
    std::env::var_os("PINLAB_NOTES").is_some()
}

/// Something that only another thread ends, after that long.
fn receives_after(time: Duration) -> oneshot::Receiver<u32> {
    let (sender, receiver) = oneshot::channel();
    thread::spawn(move || {
        thread::sleep(time);
        let _ = sender.send(7);
    });
    receiver
}

const LONG: Duration = Duration::from_millis(700);

#[test]
fn a_runtime_that_was_asked_says_once_who_waits_and_who_could_wake_it() {
    if is_the_program() {
        let rt = runtime();
        rt.note_after(Some(Duration::from_millis(100)));
        let gate = Gate::default();
        drop(rt.spawn(gate.clone()));
        assert_eq!(rt.block_on(receives_after(LONG)), Ok(7));
        assert_eq!(rt.block_on(receives_after(LONG)), Ok(7)); // another silence, and no other note
        return;
    }
    let said = said("a_runtime_that_was_asked_says_once_who_waits_and_who_could_wake_it", None);
    assert_eq!(said.matches("pinlab: asleep for").count(), 1, "{said}");
    for part in
        ["the future given to block_on: 1 of its wakers held", "Gate, spawned at", "Only another thread", "note_after(None)"]
    {
        assert!(said.contains(part), "{part}\n{said}");
    }
}

/// The time in which there was a socket to wait for does not count, nor that of a poll.
#[test]
fn a_silence_begins_when_there_is_nothing_to_wait_for() {
    if is_the_program() {
        let rt = runtime();
        rt.note_after(Some(Duration::from_millis(1_700)));
        let (mut stream, _theirs) = common::tcp_pair(&rt.handle());
        let mut receives = receives_after(Duration::from_millis(2_300));
        let mut polls = 0;
        let waits = poll_fn(|cx| {
            polls += 1;
            match polls {
                1 => assert!(Pin::new(&mut stream).poll_read(cx, &mut [0]).is_pending()),
                2 => thread::sleep(Duration::from_secs(1)), // it was woken to see whether it still reads, and does not
                _ => {}
            }
            Pin::new(&mut receives).poll(cx)
        });
        assert_eq!(rt.block_on(waits), Ok(7));
        return;
    }
    let said = said("a_silence_begins_when_there_is_nothing_to_wait_for", None);
    assert!(!said.contains("pinlab"), "{said}");
}

/// The usual mistake: it has put its waker nowhere, and another one, which could still be woken, hides that from `Stalled`.
#[test]
fn the_future_given_to_block_on_is_listed_also_if_it_waits_for_nothing() {
    if is_the_program() {
        let rt = runtime();
        rt.note_after(Some(Duration::from_millis(100)));
        drop(rt.spawn(receives_after(LONG)));
        assert!(rt.try_block_on(std::future::pending::<()>()).is_err());
        return;
    }
    let said = said("the_future_given_to_block_on_is_listed_also_if_it_waits_for_nothing", None);
    assert!(said.contains("the future given to block_on: nobody holds its waker"), "{said}");
    assert!(said.contains("Receiver<u32>, spawned at"), "{said}");
    assert!(!said.contains("pinlab: asleep for 0 "), "some hundred milliseconds are not 0 s: {said}");
}

#[test]
fn the_variable_asks_every_runtime() {
    if is_the_program() {
        assert_eq!(runtime().block_on(receives_after(LONG)), Ok(7));
        return;
    }
    let said = said("the_variable_asks_every_runtime", Some("0.1"));
    assert_eq!(said.matches("pinlab: asleep for").count(), 1, "{said}");
}

#[test]
fn a_method_silences_what_the_variable_asks_for() {
    if is_the_program() {
        let rt = runtime();
        rt.note_after(None);
        assert_eq!(rt.block_on(receives_after(LONG)), Ok(7));
        return;
    }
    let said = said("a_method_silences_what_the_variable_asks_for", Some("0.1"));
    assert!(!said.contains("pinlab:"), "{said}");
}

#[test]
fn the_free_block_on_names_the_usual_mistake() {
    if is_the_program() {
        assert_eq!(pinlab::block_on(receives_after(LONG)), Ok(7));
        return;
    }
    let said = said("the_free_block_on_names_the_usual_mistake", Some("0.1"));
    assert_eq!(said.matches("pinlab: block_on has slept for").count(), 1, "{said}");
    assert!(said.contains("JoinHandle") && said.contains("Runtime::block_on"), "{said}");
}

#[test]
fn the_free_block_on_says_it_once_however_often_it_sleeps() {
    if is_the_program() {
        let (sender, mut receiver) = mpsc::unbounded();
        thread::spawn(move || {
            for number in 0..4 {
                thread::sleep(Duration::from_millis(300));
                sender.unbounded_send(number).expect("it receives");
            }
        });
        pinlab::block_on(async { while receiver.next().await.is_some() {} });
        return;
    }
    let said = said("the_free_block_on_says_it_once_however_often_it_sleeps", Some("0.1"));
    assert_eq!(said.matches("pinlab: block_on has slept for").count(), 1, "{said}");
    assert!(!said.contains("0 s."), "a tenth of a second is not 0 s: {said}");
}

#[test]
fn nothing_is_said_that_nobody_asked_for() {
    if is_the_program() {
        let long = Duration::from_millis(3_300); // longer than the notebooks' three seconds
        assert_eq!(runtime().block_on(receives_after(long)), Ok(7));
        assert_eq!(pinlab::block_on(receives_after(Duration::from_millis(3_300))), Ok(7));
        return;
    }
    let said = said("nothing_is_said_that_nobody_asked_for", None);
    assert!(!said.contains("pinlab:"), "{said}");
}

/// More stuck tasks than `join_all` awaits with one waker, and it is part of another future: nobody can know that it is not another thread that has those
/// (see `Stalled`).
#[test]
fn stuck_tasks_in_a_combinator_are_told_by_a_note() {
    if is_the_program() {
        let rt = runtime();
        let tasks: Vec<_> = (0..31).map(|_| rt.spawn(std::future::pending::<()>())).collect();
        let all = async {
            futures::future::join_all(tasks).await;
        };
        let end = receives_after(LONG);
        rt.block_on(async {
            futures::pin_mut!(all);
            futures::future::select(all, end).await;
        });
        return;
    }
    let said = said("stuck_tasks_in_a_combinator_are_told_by_a_note", Some("0.1"));
    assert_eq!(said.matches("pinlab: asleep for").count(), 1, "{said}");
    assert!(said.contains("many stuck tasks through one combinator"), "{said}");
}

/// `exit` drops what is in thread-locals, a runtime among it, while that runtime's loop is running.
#[test]
fn a_process_may_end_inside_of_a_task() {
    if is_the_program() {
        thread_local! { static RT: pinlab::Runtime = runtime(); }
        RT.with(|rt| {
            drop(rt.spawn(std::future::pending::<()>()));
            rt.block_on(async { std::process::exit(0) })
        })
    }
    let said = said("a_process_may_end_inside_of_a_task", None);
    assert!(!said.contains("panicked"), "{said}");
}

/// The same in the free `block_on`, while another thread calls the waker that the future was lent: the waker stays as good as the poll.
#[test]
fn a_process_may_end_inside_of_the_free_block_on_while_a_thread_has_its_waker() {
    /// Made before anything of the crate's, so it goes after that. What was given back by then is used again, with what is no address.
    struct Last;
    impl Drop for Last {
        fn drop(&mut self) {
            let used: Vec<_> = (0..64).map(|_| Box::new([0x4141_4141_4141_4100_u64; 4])).collect();
            thread::sleep(Duration::from_millis(200));
            drop(std::hint::black_box(used));
        }
    }
    thread_local! { static LAST: Last = const { Last }; }
    if is_the_program() {
        LAST.with(|_| ());
        pinlab::block_on(poll_fn(|cx| -> Poll<()> {
            let waker = cx.waker();
            thread::scope(|scope| {
                scope.spawn(move || -> () {
                    loop {
                        waker.wake_by_ref();
                        thread::sleep(Duration::from_millis(1));
                    }
                });
                thread::sleep(Duration::from_millis(20));
                std::process::exit(0)
            })
        }));
    }
    let said = said("a_process_may_end_inside_of_the_free_block_on_while_a_thread_has_its_waker", None);
    assert!(!said.contains("panicked"), "{said}");
}
