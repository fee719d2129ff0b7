//! Step by step: each step has its room, in order, whatever time it took; what is too wide for the page goes on below.

use super::{
    Lanes, SMALL, brief,
    story::{Fate, Loss, Story},
};
use crate::observe::timeline::{Entry, What};
use crate::show::{Colour, Svg, Type, colour, text::counted};
use std::time::Duration;

const LANE: f64 = 38.0;
const TINY: Type = Type::sans(11.0).fill(colour::FAINT);

/// What a step needs of the width, in pixels.
fn room(what: What) -> f64 {
    match what {
        What::Parked { took } => TINY.width(&asleep(took)) + 18.0,
        What::Polled { took, .. } => 26.0 + if took >= Duration::from_millis(1) { TINY.width(&brief(took)) } else { 0.0 },
        What::Spawned { .. } => 20.0,
        What::Woken { .. } => 22.0,
        What::TimerFired { .. } | What::SocketReady { .. } => 22.0,
    }
}

fn asleep(took: Duration) -> String {
    format!("asleep {}", brief(took))
}

/// Draws the steps in lanes, in bands no wider than `page`; in a single one, however long, where there is none.
pub(super) fn draw(svg: &mut Svg, story: &Story<'_>, lanes: &Lanes, steps: &[usize], top: f64, page: Option<f64>) {
    let entries = story.timeline.entries();
    let right = page.map_or(f64::INFINITY, |page| page - Svg::MARGIN);
    svg.text(Svg::MARGIN, top + 12.0, "step by step", SMALL.bold());
    let mut first = top + 42.0;
    let mut from = 0;
    while from < steps.len() || from == 0 {
        // As many steps as there is room for in this band.
        let (mut x, mut to) = (lanes.left, from);
        let mut places = Vec::new();
        while let Some(&step) = steps.get(to) {
            let gap = (to > 0 && step != steps[to - 1] + 1)
                .then(|| counted(step - steps[to - 1] - 1, "step is left out", "steps are left out"));
            let skip = gap.as_ref().map_or(0.0, |gap| TINY.width(gap) + 24.0);
            let wide = room(entries[step].what);
            if to > from && x + skip + wide > right {
                break;
            }
            if let Some(gap) = gap {
                svg.text(x + skip / 2.0, first + LANE / 2.0 + 4.0, &format!("… {gap} …"), TINY.middle());
            }
            x += skip;
            places.push((step, x, wide));
            x += wide;
            to += 1;
        }
        lanes.draw(svg, first, LANE, if right.is_finite() { right } else { x + 10.0 });
        for &(step, x, wide) in &places {
            one(svg, story, lanes, step, (x, wide), first);
        }
        clock(svg, entries, &places, first + LANE * lanes.reactor() as f64 + 20.0);
        first += LANE * (lanes.reactor() + 1) as f64 + 30.0;
        if to == from {
            break;
        }
        from = to;
    }
}

/// The times under a band, as many as have room.
fn clock(svg: &mut Svg, entries: &[Entry], places: &[(usize, f64, f64)], y: f64) {
    let mut free = f64::NEG_INFINITY;
    for &(step, x, _) in places {
        let text = brief(entries[step].at);
        if x >= free {
            svg.line((x + 2.0, y - 4.0), (x + 2.0, y + 1.0), colour::FAINT);
            svg.text(x + 2.0, y + 13.0, &text, TINY);
            free = x + TINY.width(&text) + 16.0;
        }
    }
}

/// One step: its marks, and the column that stands for it.
fn one(svg: &mut Svg, story: &Story<'_>, lanes: &Lanes, step: usize, (x, wide): (f64, f64), first: f64) {
    let y = |lane: usize| first + LANE * lane as f64;
    let middle = x + wide / 2.0;
    svg.group(&[("class", "e"), ("data-i", &step.to_string())]);
    svg.box_("b", (x, y(0) - 18.0), (wide, LANE * lanes.reactor() as f64 + 36.0), 3.0, None, None);
    match story.timeline.entries()[step].what {
        What::Parked { took } => {
            svg.rect((x + 3.0, y(0) - 10.0), (wide - 6.0, 20.0), 4.0, colour::GREY, colour::FAINT);
            svg.text(middle, y(0) + 4.0, &asleep(took), TINY.middle());
        }
        What::Polled { task, ready, took } => {
            let (letter, ground, ink) =
                if ready { ("R", colour::TEAL_GROUND, colour::TEAL) } else { ("P", colour::AMBER_GROUND, colour::AMBER) };
            let at = y(lanes.task(task));
            svg.rect((x + 3.0, at - 11.0), (wide - 6.0, 22.0), 4.0, ground, ink);
            let long = if took >= Duration::from_millis(1) { format!("{letter} {}", brief(took)) } else { letter.into() };
            svg.text(middle, at + 4.0, &long, Type::sans(11.0).fill(ink).bold().middle());
        }
        What::Spawned { task, by } => {
            let (from, to) = (y(lanes.source(by)), y(lanes.task(task)));
            arrow(svg, middle, from, to, colour::FAINT, false);
            svg.text(middle + 3.0, (from + to) / 2.0 + 4.0, "+", TINY.bold());
        }
        What::Woken { task, by, .. } => {
            let (from, to) = (y(lanes.source(by)), y(lanes.task(task)));
            let fate = story.fate(step).unwrap_or(Fate::Queued);
            let (ink, dashed, mark) = mark(fate);
            arrow(svg, middle, from, to, ink, dashed);
            if !mark.is_empty() {
                let at = if from == to { to - 22.0 } else { (from + to) / 2.0 };
                svg.text(middle + 2.0, at + 4.0, mark, Type::sans(11.0).fill(ink).bold());
            }
        }
        What::TimerFired { .. } => dot(svg, middle, y(lanes.reactor()), "t"),
        What::SocketReady { readable, .. } => dot(svg, middle, y(lanes.reactor()), if readable { "r" } else { "w" }),
    }
    for &(task, _) in story.losses(step) {
        // Below what stands on the lane itself.
        let at = y(lanes.task(task)) + 11.0;
        svg.rect((middle - 8.0, at - 8.0), (16.0, 15.0), 3.0, colour::RED_GROUND, colour::RED);
        svg.text(middle, at + 3.5, "∅", Type::sans(11.0).fill(colour::RED).bold().middle());
    }
    svg.end();
}

/// The colour of a wake, whether it is dashed, and the letter beside it.
fn mark(fate: Fate) -> (Colour, bool, &'static str) {
    match fate {
        Fate::Queued => (colour::BLUE, false, ""),
        Fate::Itself => (colour::BLUE, false, "↺"),
        Fate::Doubled => (colour::AMBER, true, "2"),
        Fate::TooLate => (colour::RED, true, "✗"),
    }
}

/// From one lane to another; to its own lane, a bow.
fn arrow(svg: &mut Svg, x: f64, from: f64, to: f64, ink: Colour, dashed: bool) {
    if from == to {
        svg.arrow((x - 6.0, to - 2.0), ((x - 6.0, to - 22.0), (x + 6.0, to - 22.0)), (x + 6.0, to - 3.0), ink, dashed);
        return;
    }
    let towards = (to - from).signum();
    svg.straight((x, from + 3.0 * towards), (x, to - 3.0 * towards), ink, dashed);
}

fn dot(svg: &mut Svg, x: f64, y: f64, letter: &str) {
    svg.rect((x - 9.0, y - 9.0), (18.0, 18.0), 9.0, colour::BLUE_GROUND, colour::BLUE);
    svg.text(x, y + 4.0, letter, Type::sans(11.0).fill(colour::BLUE).bold().middle());
}

/// What the marks mean: of those that are there.
pub(super) fn legend(svg: &mut Svg, story: &Story<'_>, steps: &[usize]) {
    let entries = story.timeline.entries();
    let has = |test: &dyn Fn(What) -> bool| steps.iter().any(|&step| test(entries[step].what));
    let fated = |fate: Fate| steps.iter().any(|&step| story.fate(step) == Some(fate));
    let mut items: Vec<(&str, Colour, &str)> = Vec::new();
    let mut add = |is: bool, mark, ink, means| {
        if is {
            items.push((mark, ink, means));
        }
    };
    add(has(&|what| matches!(what, What::Polled { ready: false, .. })), "P", colour::AMBER, "polled: Pending");
    add(has(&|what| matches!(what, What::Polled { ready: true, .. })), "R", colour::TEAL, "polled: Ready");
    add(has(&|what| matches!(what, What::Spawned { .. })), "→ +", colour::FAINT, "spawned");
    add(fated(Fate::Queued), "→", colour::BLUE, "woken, and so queued");
    add(fated(Fate::Itself), "→ ↺", colour::BLUE, "wakes itself during its poll");
    add(fated(Fate::Doubled), "⇢ 2", colour::AMBER, "woken, and queued already (dashed)");
    add(fated(Fate::TooLate), "⇢ ✗", colour::RED, "woken, and complete already (dashed)");
    add(has(&|what| matches!(what, What::TimerFired { .. })), "t", colour::BLUE, "a timer fires");
    add(has(&|what| matches!(what, What::SocketReady { readable: true, .. })), "r", colour::BLUE, "a socket is readable");
    add(has(&|what| matches!(what, What::SocketReady { readable: false, .. })), "w", colour::BLUE, "a socket is writable");
    let lost = |loss: Loss| steps.iter().any(|&step| story.losses(step).iter().any(|&(_, one)| one == loss));
    add(lost(Loss::Dropped), "∅", colour::RED, "a waker dropped, never called: lost");
    add(lost(Loss::Nowhere), "∅", colour::RED, "nobody holds its waker");
    let (mut x, mut y) = (Svg::MARGIN, svg.bottom() + 18.0);
    for (mark, ink, means) in items {
        let bold = SMALL.fill(ink).bold();
        let wide = bold.width(mark) + 6.0 + SMALL.width(means) + 20.0;
        if x > Svg::MARGIN && x + wide > super::PAGE {
            (x, y) = (Svg::MARGIN, y + 18.0);
        }
        svg.text(x, y, mark, bold);
        svg.text(x + bold.width(mark) + 6.0, y, means, SMALL);
        x += wide;
    }
}
