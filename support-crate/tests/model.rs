//! Random lives: an engine and a model of it in thirty lines go through the same random steps and must agree after each.
//!
//! A failure prints its seed; `PINLAB_SEED=<seed> cargo test --test model` runs that one again.

mod common;

use common::{Drops, Token, runtime};
use pinlab::{JoinHandle, Runtime};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::thread;

/// What is known of each task: the model.
#[derive(Default)]
struct Model {
    tasks: Vec<Modelled>,
    queue: VecDeque<usize>,
    /// In the order in which the engine must poll.
    polls: Vec<usize>,
    drops: usize,
}

#[derive(Default)]
struct Modelled {
    queued: bool,
    done: bool,
    handle: bool,
    output: bool,
    polls: usize,
    ends_at: usize,
}

impl Model {
    fn spawn(&mut self, ends_at: usize) {
        self.tasks.push(Modelled { handle: true, ends_at, ..Modelled::default() });
        self.wake(self.tasks.len() - 1);
    }

    fn wake(&mut self, task: usize) {
        if !self.tasks[task].done && !std::mem::replace(&mut self.tasks[task].queued, true) {
            self.queue.push_back(task);
        }
    }

    fn tick(&mut self) {
        while let Some(task) = self.queue.pop_front() {
            let state = &mut self.tasks[task];
            state.queued = false;
            if state.done {
                continue;
            }
            self.polls.push(task);
            state.polls += 1;
            if state.polls == state.ends_at {
                (state.done, state.output) = (true, state.handle);
                self.drops += 1 + usize::from(!state.handle);
            } else if wakes_itself(task, state.polls) {
                self.wake(task);
            }
            return;
        }
    }

    fn abort(&mut self, task: usize) {
        if !std::mem::replace(&mut self.tasks[task].done, true) {
            self.drops += 2; // the future, and the output that it carried
        }
    }

    fn drop_handle(&mut self, task: usize) {
        let state = &mut self.tasks[task];
        state.handle = false;
        self.drops += usize::from(std::mem::take(&mut state.output));
    }
}

/// Whether a task wakes itself in this poll.
fn wakes_itself(task: usize, polls: usize) -> bool {
    (task + polls).is_multiple_of(3)
}

struct Subject {
    id: usize,
    polls: usize,
    ends_at: usize,
    wakers: Rc<RefCell<Vec<(usize, Waker)>>>,
    log: Rc<RefCell<Vec<usize>>>,
    output: Option<Token>,
    _token: Token,
}

impl Future for Subject {
    type Output = Token;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Token> {
        self.polls += 1;
        self.log.borrow_mut().push(self.id);
        self.wakers.borrow_mut().push((self.id, cx.waker().clone()));
        if self.polls == self.ends_at {
            return Poll::Ready(self.output.take().expect("ready once"));
        }
        if wakes_itself(self.id, self.polls) {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

/// What the other thread is asked to do with a waker.
enum Away {
    Wake(Waker),
    WakeByRef(Waker),
    CloneAndDrop(Waker),
    Drop(Waker),
}

fn run(seed: u64, steps: usize) {
    let mut random = fastrand::Rng::with_seed(seed);
    let (ask, asked) = mpsc::channel::<Away>();
    let (answer, answers) = mpsc::channel::<Option<Waker>>();
    let helper = thread::spawn(move || {
        for what in asked {
            let back = match what {
                Away::Wake(waker) => {
                    waker.wake();
                    None
                }
                Away::WakeByRef(waker) => {
                    waker.wake_by_ref();
                    Some(waker)
                }
                Away::CloneAndDrop(waker) => {
                    let clone = waker.clone();
                    drop(waker);
                    Some(clone)
                }
                Away::Drop(waker) => {
                    drop(waker);
                    None
                }
            };
            answer.send(back).expect("it listens");
        }
    });

    let drops = Drops::default();
    let (log, wakers) = (Rc::<RefCell<Vec<usize>>>::default(), Rc::<RefCell<Vec<(usize, Waker)>>>::default());
    let mut rt: Option<Runtime> = Some(runtime());
    let mut handles: Vec<Option<JoinHandle<Token>>> = Vec::new();
    let mut model = Model::default();
    // Wakes from the other thread reach the queue at the engine's next look at its inbox: before the next tick.
    let mut away: Vec<usize> = Vec::new();

    for step in 0..steps {
        let pick = |random: &mut fastrand::Rng, from: usize| (from > 0).then(|| random.usize(0..from));
        let waker = pick(&mut random, wakers.borrow().len());
        let task = pick(&mut random, handles.len());
        match (random.u8(0..24), waker, task) {
            (0..=3, ..) => {
                if let Some(rt) = &rt {
                    let (id, ends_at) = (handles.len(), random.usize(1..6));
                    handles.push(Some(rt.spawn(Subject {
                        id,
                        polls: 0,
                        ends_at,
                        wakers: wakers.clone(),
                        log: log.clone(),
                        output: Some(drops.token()),
                        _token: drops.token(),
                    })));
                    model.spawn(ends_at);
                }
            }
            (4..=9, ..) => {
                if let Some(rt) = &rt {
                    // The inbox is looked at first.
                    away.drain(..).for_each(|task| model.wake(task));
                    rt.tick();
                    model.tick();
                }
            }
            (10..=11, Some(waker), _) => {
                let (task, waker) = wakers.borrow_mut().swap_remove(waker);
                waker.wake();
                model.wake(task);
            }
            (12, Some(waker), _) => {
                let (task, waker) = wakers.borrow()[waker].clone();
                wakers.borrow_mut().push((task, waker));
            }
            (13, Some(waker), _) => drop(wakers.borrow_mut().swap_remove(waker)),
            (14..=20, Some(waker), _) => {
                let (task, waker) = wakers.borrow_mut().swap_remove(waker);
                let what = match random.u8(0..4) {
                    0 => Away::Wake(waker),
                    1 => Away::WakeByRef(waker),
                    2 => Away::CloneAndDrop(waker),
                    _ => Away::Drop(waker),
                };
                if matches!(what, Away::Wake(_) | Away::WakeByRef(_)) {
                    away.push(task);
                }
                ask.send(what).expect("the thread lives");
                if let Some(waker) = answers.recv().expect("the thread lives") {
                    wakers.borrow_mut().push((task, waker));
                }
            }
            (21, _, Some(task)) => {
                if let Some(handle) = &handles[task] {
                    handle.abort();
                    model.abort(task);
                }
            }
            (22, _, Some(task)) if handles[task].is_some() => {
                drop(handles[task].take());
                model.drop_handle(task);
            }
            (23, ..) if rt.is_some() && random.u8(0..40) == 0 => {
                drop(rt.take());
                (0..model.tasks.len()).for_each(|task| model.abort(task));
            }
            _ => {}
        }
        assert_eq!(*log.borrow(), model.polls, "the polls, after step {step}");
        assert_eq!(drops.count(), model.drops, "the drops, after step {step}");
        for (task, handle) in handles.iter().enumerate() {
            if let Some(handle) = handle {
                assert_eq!(handle.is_finished(), model.tasks[task].done, "task {task}, after step {step}");
            }
        }
    }
    if random.bool() {
        drop(rt);
        drop(handles);
    } else {
        drop(handles);
        drop(rt);
    }
    drops.expect(2 * model.tasks.len());
    // The wakers are the last; half of them go on the other thread.
    for (place, (_, waker)) in wakers.take().into_iter().enumerate() {
        if place % 2 == 0 {
            ask.send(Away::Wake(waker)).expect("the thread lives");
        }
    }
    drop(ask);
    helper.join().expect("no panic");
    drops.expect(2 * model.tasks.len());
}

fn run_all(seeds: std::ops::Range<u64>, steps: usize) {
    let chosen = std::env::var("PINLAB_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let seeds = chosen.map_or(seeds, |seed| seed..seed + 1);
    for seed in seeds {
        if let Err(panic) = std::panic::catch_unwind(|| run(seed, steps)) {
            eprintln!("the seed was {seed}: PINLAB_SEED={seed} runs it again");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn the_engine_agrees_with_its_model_whatever_happens_in_whatever_order() {
    run_all(0..150, 600);
}

#[test]
#[ignore = "minutes; cargo verify --full"]
fn the_engine_agrees_with_its_model_for_many_more_seeds() {
    run_all(1_000..12_000, 600);
}
