//! The picture of a timeline: what happened, step by step and true to time, as a still picture and as a player.
//!
//! ```text
//! times   true to time: a poll of 150 ms fills the picture beside one of 2 µs     steps    each step has its room, in lanes
//! story   what a step means, what led to it, and the engine's state after it      chrome   the same events for other tools
//! ```
//!
//! Invariants:
//! 1. What is left out is counted, on the picture.
//! 2. Each kind of wake has a mark of its own, and only the marks that are there are explained.

mod chrome;
mod reactor;
mod state;
mod steps;
mod story;
mod times;

use super::timeline::{Source, Timeline, What};
use crate::show::{
    Figure, Svg, Type, colour,
    json::Json,
    text::{brief, counted},
};
use std::{io, path::Path, time::Duration};
use story::Story;

/// Steps of the still picture.
const STILL: usize = 80;
/// Steps of the player.
const LIVE: usize = 300;
/// Lanes of tasks; more tasks share the last one.
const LANES: usize = 10;
/// Lines of text beside the picture.
const LINES: usize = 400;
/// How wide a picture may be.
const PAGE: f64 = 980.0;

const SMALL: Type = Type::sans(12.0).fill(colour::FAINT);
const NAME: Type = Type::mono(12.0);

/// The lanes of a picture: the engine, the tasks, the reactor.
struct Lanes {
    names: Vec<String>,
    /// The width of the longest name.
    left: f64,
    tasks: usize,
}

impl Lanes {
    fn of(timeline: &Timeline) -> Self {
        let tasks = timeline.tasks().min(LANES);
        let mut names = vec!["engine".to_owned()];
        for task in 0..tasks {
            let others = timeline.tasks() - task;
            let shared = task + 1 == LANES && others > 1;
            names.push(if shared { format!("{others} more tasks") } else { format!("#{task} {}", timeline.name(task)) });
        }
        names.push("reactor".into());
        let longest = names.iter().map(|name| NAME.width(name)).fold(60.0, f64::max).min(210.0);
        Self { names, left: Svg::MARGIN + longest + 14.0, tasks }
    }

    fn task(&self, task: usize) -> usize {
        1 + task.min(self.tasks.saturating_sub(1))
    }

    fn reactor(&self) -> usize {
        self.names.len() - 1
    }

    fn source(&self, source: Source) -> usize {
        match source {
            Source::Task(task) => self.task(task),
            Source::Timer | Source::Socket => self.reactor(),
            Source::OtherThread | Source::Engine | Source::Outside => 0,
        }
    }

    /// Writes the names, and a line along each lane.
    fn draw(&self, svg: &mut Svg, top: f64, step: f64, right: f64) {
        for (i, name) in self.names.iter().enumerate() {
            let y = top + step * i as f64;
            svg.text(Svg::MARGIN, y + 4.0, &NAME.fit(name, self.left - Svg::MARGIN - 10.0), NAME);
            svg.line((self.left - 4.0, y), (right, y), colour::LINE);
        }
    }
}

/// Which steps are shown: the first and the last, as many as there is room for.
fn shown(count: usize, most: usize) -> Vec<usize> {
    if count <= most {
        return (0..count).collect();
    }
    let tail = most / 4;
    (0..most - tail).chain(count - tail..count).collect()
}

impl Timeline {
    fn heading(&self, svg: &mut Svg, story: &Story<'_>) {
        let bold = Type::sans(14.0).bold();
        svg.text(Svg::MARGIN, 28.0, &self.headline(), bold);
        let slept = format!(
            "{} in all; the engine slept for {} of it.{}",
            brief(self.total()),
            brief(self.parked()),
            story.warning().map(|warning| format!(" {warning}")).unwrap_or_default()
        );
        svg.paragraph(Svg::MARGIN, 47.0, PAGE - 2.0 * Svg::MARGIN, 17.0, &slept, SMALL);
    }

    /// The picture with all that is known about it: true to time and step by step; where there is a script, a player.
    pub fn figure(&self) -> Figure {
        let (story, lanes) = (Story::of(self), Lanes::of(self));
        let title = "Timeline of an engine";
        let description = format!(
            "{}. {} in all, {} of it asleep.{}",
            self.headline(),
            brief(self.total()),
            brief(self.parked()),
            story.warning().map(|warning| format!(" {warning}")).unwrap_or_default()
        );

        let mut still = Svg::new();
        still.timed();
        self.heading(&mut still, &story);
        let top = still.bottom() + 8.0;
        times::draw(&mut still, self, &lanes, top);
        let steps = shown(self.entries().len(), STILL);
        let top = still.bottom() + 10.0;
        steps::draw(&mut still, &story, &lanes, &steps, top, Some(PAGE));
        steps::legend(&mut still, &story, &steps);

        let steps = shown(self.entries().len(), LIVE);
        let mut live = Svg::new();
        steps::draw(&mut live, &story, &lanes, &steps, 4.0, None);
        let mut times = Svg::new();
        self.heading(&mut times, &story);
        let top = times.bottom() + 8.0;
        let scale = times::draw(&mut times, self, &lanes, top);
        let mut legend = Svg::new();
        steps::legend(&mut legend, &story, &steps);

        let moments = steps.iter().map(|&step| story.moment(step));
        let player = Json::object([
            ("times", Json::from(times.finish("True to time", "").as_str())),
            ("steps", Json::from(live.finish("Step by step", "").as_str())),
            ("legend", Json::from(legend.finish("Marks", "").as_str())),
            ("left", Json::from(scale.left)),
            ("width", Json::from(scale.width)),
            ("total", Json::from(self.total().as_secs_f64())),
            ("moments", Json::list(moments)),
        ]);
        Figure::new(title, description.clone(), self.words(), still.finish(title, &description)).with_player(player)
    }

    /// The text, of which a page takes only so much.
    fn words(&self) -> String {
        let text = self.to_string();
        let lines = text.lines().count();
        if lines <= LINES {
            return text;
        }
        let mut head: Vec<&str> = text.lines().take(LINES).collect();
        let more = format!(
            "… and {}: print the timeline, or save_json it and open it in Perfetto",
            counted(lines - LINES, "line", "lines")
        );
        head.push(&more);
        head.join("\n")
    }

    /// The picture, as SVG.
    pub fn svg(&self) -> String {
        self.figure().svg().to_owned()
    }

    /// Shows it in a notebook.
    pub fn evcxr_display(&self) {
        self.figure().evcxr_display();
    }

    /// Writes the player as a page of its own, in one file that fetches nothing.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let rt = pinlab::Runtime::new()?;
    /// rt.record();
    /// rt.block_on(pinlab::yield_now());
    /// # let path = std::env::temp_dir().join(format!("pinlab-{}.html", std::process::id()));
    /// rt.stop_recording().save(&path)?; // "trace.html", say
    /// # std::fs::remove_file(path)
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.figure().save(path)
    }

    /// The events in Chrome's trace event format, which Perfetto (`ui.perfetto.dev`) and `chrome://tracing` open: times in microseconds.
    pub fn to_json(&self) -> String {
        chrome::trace(self)
    }

    /// Writes [`to_json`](Timeline::to_json) to a file: for recordings that are too long for a page.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save_json(&self, path: impl AsRef<Path>) -> io::Result<()> {
        std::fs::write(path, self.to_json())
    }
}

/// How long something took, if it took time.
fn took(what: What) -> Option<Duration> {
    match what {
        What::Polled { took, .. } | What::Parked { took } => Some(took),
        _ => None,
    }
}
