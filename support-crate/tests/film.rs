//! The film of a future says what happened to it, and ends, whatever the future does.

use pinlab::{lowered, prelude::*, probe::Film};
use std::{
    future::{pending, poll_fn},
    sync::mpsc,
    thread,
};

struct Pause(bool);

impl Future for Pause {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) { Poll::Ready(()) } else { Poll::Pending }
    }
}

async fn greet(name: &'static str) -> String {
    let val = String::from(name);
    let val_ref = &val;
    Pause(false).await;
    yield_now().await;
    format!("{val_ref}!")
}

#[test]
fn each_poll_has_its_state_its_line_and_its_cause() {
    let film = pinlab::film!(greet("Hello"));
    let states: Vec<Option<&str>> = film.states().collect();
    assert_eq!(states, [Some("Unresumed"), Some("Suspend0"), Some("Suspend1"), Some("Returned")]);
    let text = film.to_string();
    for fact in [
        "(0) before the first poll",
        "① poll 1: Pending",
        "It waits in line 4 of the function: Pause(false).await;",
        "Polled: though nobody has woken it",
        "It waits in line 5 of the function: yield_now().await;",
        "Polled: woken during its last poll",
        "③ poll 3: Ready",
        "→ itself +0x10",
        "3 polls, one address",
        "it is done.",
    ] {
        assert!(text.contains(fact), "no {fact:?} in\n{text}");
    }
}

#[test]
fn it_stays_at_one_address_and_its_pointers_stay_right() {
    let film = Film::named(greet("x"), &lowered!(greet));
    let places: Vec<usize> = film.xrays().map(|xray| xray.address().usize()).collect();
    assert!(places.iter().all(|place| *place == places[0]));
    let pointers: Vec<usize> = film.xrays().map(|xray| xray.self_pointers().len()).collect();
    assert_eq!(pointers, [0, 1, 1, 0]);
}

#[test]
fn without_a_layout_it_says_what_it_does_not_know() {
    let text = Film::of(greet("x")).to_string();
    assert!(text.contains("Where in its source it stands is not known"), "{text}");
}

#[test]
fn as_many_polls_as_were_asked_for() {
    let film = Film::polled(pending::<()>(), 2);
    assert_eq!((film.polls(), film.end()), (2, "2 polls were asked for."));
    assert_eq!(Film::polled(async {}, 5).polls(), 1);
}

#[test]
fn a_future_that_nobody_can_wake_does_not_go_on_for_ever() {
    let film = Film::of(pending::<()>());
    assert!(film.end().contains("nothing can ever wake it"), "{film}");
    let rt = Runtime::new().unwrap();
    let film = Film::on(&rt, pending::<()>());
    assert!(film.end().contains("nothing can ever wake it"), "{film}");
    let spins = Film::of(poll_fn(|cx| {
        cx.waker().wake_by_ref();
        Poll::<()>::Pending
    }));
    assert!(spins.end().contains("64 polls are enough"), "{spins:?}");
}

#[test]
fn a_panic_ends_it() {
    let film = Film::of(async { panic!("on purpose") });
    assert_eq!((film.polls(), film.end()), (1, "it panicked."));
}

/// What a panic carries may panic when it is dropped, and so may the future, when the film is there: neither takes it away.
#[test]
fn a_panic_in_a_drop_does_not_take_the_film_away() {
    struct Breaks;
    impl Drop for Breaks {
        fn drop(&mut self) {
            if !thread::panicking() {
                panic!("in a drop");
            }
        }
    }
    let film = Film::of(async { std::panic::panic_any(Breaks) });
    assert_eq!((film.polls(), film.end()), (1, "it panicked."));
    let rt = Runtime::new().unwrap();
    let future = || {
        let breaks = Breaks;
        poll_fn(move |_| {
            let _here = &breaks;
            Poll::Ready(())
        })
    };
    for film in [Film::of(future()), Film::polled(future(), 3), Film::on(&rt, future())] {
        assert_eq!((film.polls(), film.end()), (1, "it is done. Its drop panicked."));
    }
}

#[test]
fn a_wake_from_another_thread_is_told_as_one() {
    let (send, receive) = mpsc::channel::<Waker>();
    let helper = thread::spawn(move || {
        let waker = receive.recv().unwrap();
        thread::sleep(Duration::from_millis(20));
        waker.wake();
    });
    let mut polls = 0;
    let film = Film::of(poll_fn(move |cx| {
        polls += 1;
        if polls > 1 {
            return Poll::Ready(());
        }
        send.send(cx.waker().clone()).unwrap();
        Poll::Pending
    }));
    helper.join().unwrap();
    assert_eq!(film.polls(), 2);
    assert!(film.to_string().contains("woken by another thread, "), "{film}");
}

#[test]
fn an_engine_drives_what_sleeps() {
    let rt = Runtime::new().unwrap();
    let film = Film::on(&rt, rt.handle().sleep(Duration::from_millis(3)));
    assert_eq!(film.polls(), 2);
    assert!(film.to_string().contains("woken on this thread, between two polls"), "{film}");
}

#[test]
fn a_tenant_is_filmed_where_it_lives() {
    let mut slot = FutureSlot::with(greet("Hello"));
    let place = slot.address();
    let film = slot.film_named(&lowered!(greet));
    assert!(film.xrays().all(|xray| xray.address() == place));
    assert_eq!(film.states().last(), Some(Some("Returned")));
}

#[test]
fn a_long_film_keeps_its_still_picture_small_and_says_so() {
    let mut polls = 0;
    let film = Film::of(poll_fn(move |cx| {
        polls += 1;
        cx.waker().wake_by_ref();
        if polls > 40 { Poll::Ready(()) } else { Poll::Pending }
    }));
    assert_eq!(film.polls(), 41);
    assert!(film.figure().svg().contains("36 polls between them are left out here."), "{}", film.figure().svg());
}

/// What is left out of the still picture keeps its number: those after it have the same there as in the text.
#[test]
fn the_polls_of_a_film_have_one_number_in_the_picture_and_in_the_text() {
    async fn counts() {
        let mut polls = 0_u64;
        while std::hint::black_box(polls) < u64::MAX {
            polls += 1;
            Pause(false).await;
        }
    }
    for polls in [2, 5, 6, 19, 20, 21, 40] {
        let film = Film::polled(counts(), polls);
        let (text, figure) = (film.to_string(), film.figure());
        let headings: Vec<&str> = text.lines().filter(|line| line.ends_with(": Pending")).collect();
        assert_eq!(headings.len(), polls);
        let drawn: Vec<&str> =
            headings.iter().copied().filter(|heading| figure.svg().contains(&format!(">{heading}<"))).collect();
        let kept: Vec<&str> = match polls {
            ..=5 => headings,
            _ => headings[..3].iter().chain(&headings[polls - 2..]).copied().collect(),
        };
        assert_eq!(drawn, kept, "{polls} polls");
        // Each of them changes the count, and is compared with one that is drawn.
        let svg = figure.svg();
        let numbers: Vec<&str> = kept.iter().filter_map(|heading| heading.split(' ').next()).chain(["(0)"]).collect();
        let compared: Vec<&str> =
            svg.split("Changed since ").skip(1).filter_map(|rest| rest.split(". ").next()?.split('.').next()).collect();
        assert!(!compared.is_empty() && compared.iter().all(|number| numbers.contains(number)), "{compared:?} of {numbers:?}");
    }
}
