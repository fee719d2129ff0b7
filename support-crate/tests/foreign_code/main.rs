//! The matrix of foreign code: every point at which an engine calls code that is not its own, times everything that such code may do there.
//!
//! Whatever it does, the cell must end in what the documentation says: no value is dropped twice, or not at all, or elsewhere than on its
//! thread; no future is polled while it is dropped, or after its end, or at another place; nothing leaks, no descriptor stays open, nothing
//! hangs; and the engine goes on working. Sanitizers, valgrind and Miri watch the same cells.
//!
//! The engine before the present one (version 0.1.0) failed in 80 of 7,590 such cells: 36 died of a memory fault, 24 polled a future while it was
//! being dropped, the rest leaked or let a panic out. No cell is left out.
//!
//! `PINLAB_CELL="a timer wakes: panics"` plays that cell; without the one half or the other, all of that point or of that action.

#[path = "../common/allocations.rs"]
mod allocations;
#[path = "../common/mod.rs"]
mod common;

mod actions;
mod guests;
mod points;
mod world;

use actions::{ACTIONS, Action};
use points::{HOOK, POINTS, Point};
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Once, atomic::AtomicUsize, atomic::Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};
use world::{Outcome, world};

/// One cell.
#[derive(Clone, Copy)]
struct Cell {
    point: &'static Point,
    action: &'static Action,
    recorded: bool,
}

impl Cell {
    fn name(&self) -> String {
        let recorded = if self.recorded { " (recorded)" } else { "" };
        format!("{}: {}{recorded}", self.point.name, self.action.name)
    }

    fn play(&self) -> Result<Outcome, String> {
        world::play(self.point.lead, self.point.rules, self.action, self.recorded)
    }
}

fn cells() -> Vec<Cell> {
    let wanted = std::env::var("PINLAB_CELL").unwrap_or_default();
    let (wanted_point, wanted_action) = wanted.split_once(": ").unwrap_or_default();
    // Tools that make everything slow see each cell once.
    let recordings: &[bool] = if world::is_watched() { &[false] } else { &[false, true] };
    let mut cells = Vec::new();
    for point in POINTS.iter().filter(|point| wanted_point.is_empty() || point.name == wanted_point) {
        for action in ACTIONS.iter().filter(|action| wanted_action.is_empty() || action.name == wanted_action) {
            cells.extend(recordings.iter().map(|&recorded| Cell { point, action, recorded }));
        }
    }
    cells
}

/// The panics of the cells are not news; and the hook that hears of them is a point, too.
fn set_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| match world() {
            None => usual(panic),
            Some(world) => {
                if HOOK.replace(false) {
                    world.strike();
                }
            }
        }));
    });
}

/// How long a cell may take.
fn limit() -> Duration {
    let patience = std::env::var("PINLAB_PATIENCE").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    Duration::from_secs(10) * patience
}

#[test]
fn whatever_foreign_code_does_wherever_it_is_called_the_engine_stays_sound() {
    set_hook();
    let cells = cells();
    let (mut results, mut next) = (Vec::new(), 0);
    while next < cells.len() {
        // The cells are played on one thread, one after the other. If one hangs, the thread is left alone, and another goes on.
        let (sender, receiver) = mpsc::channel();
        let rest = cells[next..].to_vec();
        let player = thread::spawn(move || {
            for cell in rest {
                if sender.send(cell.play()).is_err() {
                    return;
                }
            }
        });
        loop {
            match receiver.recv_timeout(limit()) {
                Ok(result) => results.push(result),
                Err(RecvTimeoutError::Timeout) => {
                    results.push(Err("hangs".to_owned()));
                    break;
                }
                Err(RecvTimeoutError::Disconnected) => match player.join() {
                    Ok(()) => break,
                    Err(_) => {
                        results.push(Err("panics outside of the point".to_owned()));
                        break;
                    }
                },
            }
        }
        next = results.len();
    }
    let faults: Vec<_> = cells.iter().zip(&results).filter_map(|(cell, result)| Some((cell, result.as_ref().err()?))).collect();
    for (cell, fault) in &faults {
        println!("{}: {fault}", cell.name());
    }
    let mut outcomes: BTreeMap<_, usize> = BTreeMap::new();
    results.iter().flatten().for_each(|outcome| *outcomes.entry(format!("{outcome:?}")).or_default() += 1);
    println!("{} points, {} actions, {} cells: {outcomes:?}", POINTS.len(), ACTIONS.len(), cells.len());
    assert_eq!(faults.len(), 0, "cells that do not end as they should");
}

/// For an engine that crashes: each cell in a process of its own, counted by how it ends.
#[test]
#[ignore = "takes minutes, and is meant for an engine that crashes"]
fn each_cell_in_a_process_of_its_own() {
    let (cells, next) = (cells(), AtomicUsize::new(0));
    let kinds = thread::scope(|scope| {
        let play = || {
            let mut mine = Vec::new();
            while let Some(cell) = cells.get(next.fetch_add(1, Relaxed)) {
                mine.push((cell.name(), play_alone(cell)));
            }
            mine
        };
        let players: Vec<_> = (0..2).map(|_| scope.spawn(play)).collect();
        players.into_iter().flat_map(|player| player.join().expect("no panic")).collect::<Vec<_>>()
    });
    let mut counts: BTreeMap<_, usize> = BTreeMap::new();
    for (name, kind) in &kinds {
        *counts.entry(kind.split(':').next().unwrap_or_default().to_owned()).or_default() += 1;
        if kind != "fine" {
            println!("{name}: {kind}");
        }
    }
    println!("{} cells: {counts:?}", kinds.len());
    assert!(kinds.iter().all(|(_, kind)| kind == "fine"), "cells that do not end as they should");
}

fn play_alone(cell: &Cell) -> String {
    let program = std::env::current_exe().expect("this test");
    let mut child = Command::new(program)
        .args(["--exact", "one_cell", "--ignored", "--nocapture"])
        .env("PINLAB_CELL", format!("{}: {}", cell.point.name, cell.action.name))
        .env("PINLAB_RECORDED", if cell.recorded { "1" } else { "" })
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("this test can be started");
    let start = Instant::now();
    let status = loop {
        match child.try_wait().expect("our child") {
            Some(status) => break status,
            None if start.elapsed() > Duration::from_secs(5) => {
                child.kill().expect("our child");
                child.wait().expect("our child");
                return "hangs".to_owned();
            }
            None => thread::sleep(Duration::from_millis(1)),
        }
    };
    let output = child.wait_with_output().expect("our child");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match text.lines().find_map(|line| line.strip_prefix("FAULT ")) {
        Some(fault) => format!("wrong: {fault}"),
        None if text.contains("FINE") => "fine".to_owned(),
        None => format!("crashes: {status}"),
    }
}

#[test]
#[ignore = "plays one cell for the test above"]
fn one_cell() {
    set_hook();
    let recorded = std::env::var("PINLAB_RECORDED").is_ok_and(|recorded| !recorded.is_empty());
    let cell = cells().into_iter().find(|cell| cell.recorded == recorded).expect("there is such a cell");
    match cell.play() {
        Ok(_) => println!("FINE"),
        Err(fault) => println!("FAULT {fault}"),
    }
}
