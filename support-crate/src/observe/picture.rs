//! The picture of a timeline: a lane for the engine, one for each task, one for the reactor.
//!
//! Polls take microseconds and sleeps take milliseconds: to scale, one or the other would vanish. So each step has its own room, in
//! order, a sleep the more of it the longer it took, and the axis says what time it was.

use super::timeline::{Entry, Source, Timeline, What, milliseconds};
use crate::show::{Colour, Svg, Type, colour, elide};
use std::time::Duration;

/// More steps than this are left to the text.
const MOST_STEPS: usize = 90;
/// More tasks than this share the last lane.
const MOST_TASKS: usize = 10;

const LEFT: f64 = 190.0;
const TOP: f64 = 96.0;
const LANE: f64 = 46.0;

/// What an entry needs of the width, in pixels.
fn room(what: What) -> f64 {
    match what {
        What::Parked { took } => 70.0 + 28.0 * (1.0 + took.as_secs_f64() * 1e3).ln().min(5.0),
        What::Polled { .. } => 24.0,
        What::Spawned { .. } | What::Woken { .. } => 16.0,
        What::TimerFired { .. } | What::SocketReady { .. } => 20.0,
    }
}

/// Draws it.
pub(super) fn draw(timeline: &Timeline) -> String {
    let shown = &timeline.entries()[..timeline.entries().len().min(MOST_STEPS)];
    let tasks = timeline.tasks().clamp(1, MOST_TASKS);
    let reactor = tasks + 1;
    let lane_y = |lane: usize| TOP + LANE * lane as f64;
    let task_y = |task: usize| lane_y(1 + task.min(tasks - 1));
    let source_y = |source: Source| match source {
        Source::Task(task) => task_y(task),
        Source::Timer | Source::Socket => lane_y(reactor),
        Source::OtherThread | Source::Outside => lane_y(0),
    };
    let width = (LEFT + shown.iter().map(|entry| room(entry.what)).sum::<f64>() + 40.0).max(760.0);
    let bottom = lane_y(reactor) + 34.0;

    let mut svg = Svg::new();
    svg.timed();
    let slept = format!(
        "{} in all; the thread slept for {} of it. Each step has its own room: widths are not to scale.",
        milliseconds(timeline.total()),
        milliseconds(timeline.parked())
    );
    svg.text(30.0, 34.0, &timeline.headline(), Type::sans(14.0).bold());
    svg.text(30.0, 53.0, &slept, Type::sans(12.0).fill(colour::FAINT));

    let name = |svg: &mut Svg, lane: usize, text: &str| {
        svg.text(30.0, lane_y(lane) + 4.0, &elide(text, 22), Type::mono(12.0));
        svg.line((LEFT - 8.0, lane_y(lane)), (width - 20.0, lane_y(lane)), colour::LINE);
    };
    name(&mut svg, 0, "engine");
    for task in 0..timeline.tasks().min(tasks) {
        let others = timeline.tasks() - task;
        let is_shared = task == tasks - 1 && others > 1;
        name(
            &mut svg,
            1 + task,
            &if is_shared { format!("{others} more tasks") } else { format!("#{task} {}", timeline.name(task)) },
        );
    }
    name(&mut svg, reactor, "reactor");

    let mut x = LEFT;
    let mut last_label = f64::NEG_INFINITY;
    for &Entry { at, what } in shown {
        let wide = room(what);
        let middle = x + wide / 2.0;
        match what {
            What::Parked { took } => {
                svg.rect((x + 3.0, lane_y(0) - 11.0), (wide - 6.0, 22.0), 4.0, colour::GREY, colour::FAINT);
                let text = format!("asleep {}", brief(took));
                svg.text(middle, lane_y(0) + 4.0, &text, Type::sans(11.0).fill(colour::FAINT).middle());
            }
            What::Polled { task, ready, .. } => {
                let (letter, ground, ink) =
                    if ready { ("R", colour::TEAL_GROUND, colour::TEAL) } else { ("P", colour::AMBER_GROUND, colour::AMBER) };
                svg.rect((x + 3.0, task_y(task) - 12.0), (18.0, 24.0), 4.0, ground, ink);
                svg.text(x + 12.0, task_y(task) + 4.0, letter, Type::sans(12.0).fill(ink).bold().middle());
            }
            What::Spawned { task, by } => arrow(&mut svg, middle, source_y(by), task_y(task), colour::FAINT, false),
            What::Woken { task, by, queued } => {
                arrow(&mut svg, middle, source_y(by), task_y(task), if queued { colour::BLUE } else { colour::FAINT }, !queued);
            }
            What::TimerFired { .. } => mark(&mut svg, middle, lane_y(reactor), "t"),
            What::SocketReady { readable, .. } => mark(&mut svg, middle, lane_y(reactor), if readable { "r" } else { "w" }),
        }
        if x - last_label > 78.0 {
            svg.line((x + 3.0, bottom - 4.0), (x + 3.0, bottom + 2.0), colour::FAINT);
            svg.text(x + 3.0, bottom + 15.0, &milliseconds(at), Type::sans(11.0).fill(colour::FAINT).middle());
            last_label = x;
        }
        x += wide;
    }

    let key = "P polled, Pending    R polled, Ready    → wake (dashed: queued already, or complete)    grey → spawn    t timer    r / w socket readable / writable";
    svg.text(30.0, bottom + 36.0, key, Type::sans(11.0).fill(colour::FAINT));
    let more = timeline.entries().len() - shown.len();
    if more > 0 {
        svg.text(30.0, bottom + 54.0, &format!("… and {more} more steps: print the timeline to read them all"), Type::sans(11.0));
    }
    svg.finish("Timeline of an engine", &timeline.headline())
}

/// From one lane to another at one time; to its own lane, a bow.
fn arrow(svg: &mut Svg, x: f64, from: f64, to: f64, stroke: Colour, dashed: bool) {
    if from == to {
        svg.arrow((x - 6.0, to - 13.0), ((x - 6.0, to - 26.0), (x + 6.0, to - 26.0)), (x + 6.0, to - 13.0), stroke, dashed);
        return;
    }
    let towards = (to - from).signum();
    let (from, to) = (from + 8.0 * towards, to - 13.0 * towards);
    svg.arrow((x, from), ((x, from + (to - from) / 3.0), (x, to - (to - from) / 3.0)), (x, to), stroke, dashed);
}

fn mark(svg: &mut Svg, x: f64, y: f64, letter: &str) {
    svg.rect((x - 8.0, y - 8.0), (16.0, 16.0), 8.0, colour::BLUE_GROUND, colour::BLUE);
    svg.text(x, y + 4.0, letter, Type::sans(11.0).fill(colour::BLUE).bold().middle());
}

fn brief(time: Duration) -> String {
    if time < Duration::from_millis(1) {
        format!("{:.0} µs", time.as_secs_f64() * 1e6)
    } else {
        format!("{:.1} ms", time.as_secs_f64() * 1e3)
    }
}
