//! The engine's own state, put down for somebody to look at.

use super::{Engine, Loop};
use crate::observe::recorder::By;
use crate::observe::snapshot::{SideState, Snapshot, SourceState, TaskPhase, TaskState, TimerState, WakerPlace};
use crate::task::state::Phase;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What is in the engine now. The recorder is on: it numbers the tasks.
pub(super) fn take(engine: &Engine) -> Snapshot {
    let recorder = engine.recorder();
    let current = match recorder.current() {
        By::Task(who) => Some(who.id),
        _ => None,
    };
    let idle_main = engine.main.take();
    // First the numbers, by what their wakers point to.
    let mut numbers = BTreeMap::new();
    let (mut found, mut tasks) = (Vec::new(), Vec::new());
    let mut first = None; // the main task, where it is the next to be polled (IK3)
    engine.tasks.any(|task| {
        let who = task.who();
        if idle_main.as_ref() != Some(task) && !(task.is_main() && task.is_over()) {
            let is_first = task.is_main() && !task.is_over() && engine.tasks.is_main_ready();
            if is_first {
                first = Some(task.address());
            }
            let phase = match task.phase() {
                Phase::Polling => TaskPhase::Polled,
                Phase::Idle if task.is_main() && engine.at.get() == Loop::MainIsOver => TaskPhase::Done,
                Phase::Idle if task.is_main() && engine.at.get() == Loop::MainIsCancelled => TaskPhase::Cancelled,
                Phase::Idle if current == Some(who.id) => TaskPhase::Polled, // the main one: its future is in `block_on`'s frame
                Phase::Idle if is_first => TaskPhase::Queued,
                Phase::Cancelling => TaskPhase::Cancelled,
                Phase::Done | Phase::Empty => TaskPhase::Done,
                Phase::Free | Phase::Idle if task.is_queued() => TaskPhase::Queued,
                Phase::Free | Phase::Idle => TaskPhase::Waiting,
            };
            let wakers = if phase == TaskPhase::Done { 0 } else { task.wakers() };
            found.push((who, phase, task.address(), wakers, task.joiner()));
        }
        false
    });
    found.sort_unstable_by_key(|(who, ..)| who.id);
    for (who, phase, address, wakers, joiner) in found {
        let number = recorder.number(who);
        numbers.insert(address, number);
        tasks.push((TaskState { task: number, phase, wakers: Vec::new() }, wakers, joiner));
    }
    engine.main.set(idle_main);
    let number = |data: *const ()| numbers.get(&data).copied();
    // Then who holds whose waker.
    let mut places: BTreeMap<usize, Vec<WakerPlace>> = BTreeMap::new();
    let mut note = |data: *const (), place| {
        if let Some(task) = number(data) {
            places.entry(task).or_default().push(place);
        }
    };
    let now = Instant::now();
    let timers = engine.timers().waiting();
    for (index, (_, data)) in timers.iter().enumerate() {
        data.iter().for_each(|&data| note(data, WakerPlace::Timer(index)));
    }
    let due_in = |deadline: Option<Instant>| deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(now));
    let timers = timers.into_iter().map(|(deadline, data)| TimerState { due_in: due_in(deadline), wakes: data.and_then(number) });
    let sources = engine.reactor().states(|source, sides| {
        let [read, write] = sides.map(|(ready, armed, waiting)| {
            waiting.iter().for_each(|&data| note(data, WakerPlace::Source(source)));
            SideState { ready, armed, waiting: waiting.into_iter().map(number).collect() }
        });
        SourceState { source, read, write }
    });
    for (state, _, joiner) in &tasks {
        joiner.iter().for_each(|&data| note(data, WakerPlace::Task(state.task)));
    }
    let mut tasks: Vec<_> = tasks
        .into_iter()
        .map(|(mut state, wakers, _)| {
            state.wakers = places.remove(&state.task).unwrap_or_default();
            let elsewhere = wakers.saturating_sub(state.wakers.len());
            if elsewhere > 0 {
                state.wakers.push(WakerPlace::Elsewhere(elsewhere));
            }
            state
        })
        .collect();
    tasks.sort_by_key(|state| state.task);
    let mut queue: Vec<_> = first.and_then(number).into_iter().collect();
    engine.tasks.for_each_queued(|task| queue.extend(number(task.address())));
    let (at, entries) = recorder.now();
    Snapshot { at, entries, queue, tasks, timers: timers.collect(), sources }
}
