//! True to time: each lane a bar as long as what it did, so that one long poll is seen among a thousand short ones.

use super::{Lanes, PAGE, SMALL, brief, took};
use crate::observe::timeline::{Timeline, What};
use crate::show::{Colour, Svg, Type, colour};
use std::time::Duration;

const LANE: f64 = 22.0;
const TALL: f64 = 14.0;
/// Nothing is narrower: it could not be seen.
const LEAST: f64 = 3.0;

/// Where time zero is, and how wide all of it is, in pixels.
pub(super) struct Scale {
    pub(super) left: f64,
    pub(super) width: f64,
}

struct Bar {
    lane: usize,
    from: f64,
    to: f64,
    longest: Duration,
    ground: Colour,
    border: Colour,
}

/// Draws it, and says what its scale is.
pub(super) fn draw(svg: &mut Svg, timeline: &Timeline, lanes: &Lanes, top: f64) -> Scale {
    let total = timeline.total().as_secs_f64().max(1e-9);
    let scale = Scale { left: lanes.left, width: PAGE - lanes.left - Svg::MARGIN };
    let x = |time: Duration| scale.left + (time.as_secs_f64() / total).min(1.0) * scale.width;
    svg.text(Svg::MARGIN, top + 12.0, "true to time", SMALL.bold());
    let first = top + 34.0;
    lanes.draw(svg, first, LANE, scale.left + scale.width);

    for bar in bars(timeline, lanes, x) {
        let y = first + LANE * bar.lane as f64 - TALL / 2.0;
        let wide = (bar.to - bar.from).max(LEAST);
        svg.rect((bar.from, y), (wide, TALL), 2.0, bar.ground, bar.border);
        let text = brief(bar.longest);
        let style = Type::sans(11.0).fill(if bar.ground == colour::GREY { colour::FAINT } else { bar.border });
        if style.width(&text) + 6.0 < wide {
            svg.text((bar.from + bar.to) / 2.0, y + 11.0, &text, style.middle());
        }
    }
    axis(svg, timeline.total(), &scale, first + LANE * lanes.reactor() as f64 + 12.0);
    scale
}

/// The bars, those that would lie on each other as one.
fn bars(timeline: &Timeline, lanes: &Lanes, x: impl Fn(Duration) -> f64) -> Vec<Bar> {
    let mut done: Vec<Bar> = Vec::new();
    let mut open: Vec<Option<Bar>> = (0..=lanes.reactor()).map(|_| None).collect();
    for entry in timeline.entries() {
        let (lane, ground, border) = match entry.what {
            What::Polled { task, ready: true, .. } => (lanes.task(task), colour::TEAL_GROUND, colour::TEAL),
            What::Polled { task, .. } => (lanes.task(task), colour::AMBER_GROUND, colour::AMBER),
            What::Parked { .. } => (0, colour::GREY, colour::FAINT),
            What::TimerFired { .. } | What::SocketReady { .. } => (lanes.reactor(), colour::BLUE_GROUND, colour::BLUE),
            _ => continue,
        };
        let lasted = took(entry.what).unwrap_or_default();
        let (from, to) = (x(entry.at), x(entry.at + lasted));
        let bar = Bar { lane, from, to, longest: lasted, ground, border };
        match &mut open[lane] {
            Some(last) if from < last.from + LEAST && last.to - last.from < LEAST && to - from < LEAST => {
                last.to = last.to.max(to);
                last.longest = last.longest.max(lasted);
            }
            slot => done.extend(slot.replace(bar)),
        }
    }
    done.extend(open.into_iter().flatten());
    done
}

fn axis(svg: &mut Svg, total: Duration, scale: &Scale, y: f64) {
    let seconds = total.as_secs_f64().max(1e-9);
    let rough = seconds / 6.0;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|n| n * power).into_iter().find(|step| *step >= rough).unwrap_or(rough);
    let style = Type::sans(11.0).fill(colour::FAINT);
    let mut at = 0.0;
    while at <= seconds {
        let x = scale.left + at / seconds * scale.width;
        let text = if at == 0.0 { "0".to_owned() } else { label(at, step) };
        svg.line((x, y - 4.0), (x, y + 1.0), colour::FAINT);
        let half = style.width(&text) / 2.0;
        if x + half <= scale.left + scale.width + Svg::MARGIN {
            svg.text(x, y + 13.0, &text, style.middle());
        }
        at += step;
    }
}

fn label(seconds: f64, step: f64) -> String {
    let (unit, size) = if step >= 1.0 {
        ("s", 1.0)
    } else if step >= 1e-3 {
        ("ms", 1e-3)
    } else if step >= 1e-6 {
        ("µs", 1e-6)
    } else {
        ("ns", 1e-9)
    };
    format!("{:.0} {unit}", seconds / size)
}
