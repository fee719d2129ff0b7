//! The state of an engine now, as a picture: what `rt.step()` shows in a cell of its own.

use super::{
    SMALL,
    story::{LISTED, alive, armed, listed},
};
use crate::observe::snapshot::{Snapshot, Step};
use crate::show::{Figure, Svg, Type, colour};
use std::fmt;

/// Tasks that are listed; more are counted.
const TASKS: usize = 16;
const ROOM: f64 = 700.0;

impl Snapshot {
    /// What there is: a name, and how it stands.
    fn rows(&self) -> Vec<(String, String)> {
        let queue = listed(self.queue.iter().map(|task| format!("#{task}")), self.queue.len(), LISTED, ", then ");
        let mut rows = vec![("queue".to_owned(), queue.unwrap_or_else(|| "empty".into()))];
        let alive = alive(self, TASKS, |task| format!("#{task}"));
        if alive.is_empty() {
            rows.push(("tasks".into(), "none that is not done".into()));
        }
        rows.extend(alive);
        rows.extend(armed(self));
        rows
    }

    fn drawn(&self, heading: &str) -> Figure {
        let rows = self.rows();
        let bold = Type::sans(12.0).bold();
        let left = Svg::MARGIN + 12.0 + rows.iter().map(|(name, _)| bold.width(name)).fold(40.0, f64::max) + 16.0;
        let mut svg = Svg::new();
        svg.timed();
        svg.text(Svg::MARGIN, 30.0, heading, Type::sans(14.0).bold());
        let mut y = 44.0;
        for (name, how) in &rows {
            let lines = SMALL.wrap(how, ROOM);
            let tall = 17.0 * lines.len() as f64 + 9.0;
            let (ground, ink) = match name.as_str() {
                "queue" => (colour::AMBER_GROUND, colour::AMBER),
                "timers" | "sockets" => (colour::BLUE_GROUND, colour::BLUE),
                _ => (colour::PAPER, colour::INK),
            };
            svg.rect((Svg::MARGIN, y), (left - Svg::MARGIN + ROOM, tall), 4.0, ground, colour::LINE);
            svg.text(Svg::MARGIN + 12.0, y + 17.0, name, bold.fill(ink));
            for (i, line) in lines.iter().enumerate() {
                svg.text(left, y + 17.0 + 17.0 * i as f64, line, SMALL.fill(colour::INK));
            }
            y += tall + 3.0;
        }
        let words = format!("{heading}\n{self}");
        let description = words.replace('\n', ". ");
        Figure::new(heading, description.clone(), words, svg.finish(heading, &description))
    }

    /// The state as a picture.
    pub fn figure(&self) -> Figure {
        self.drawn("The engine now")
    }

    /// Shows it in a notebook.
    pub fn evcxr_display(&self) {
        self.figure().evcxr_display();
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<String> = self.rows().into_iter().map(|(name, how)| format!("{name}: {how}")).collect();
        f.write_str(&rows.join("\n"))
    }
}

impl Step {
    fn heading(&self) -> String {
        self.polled.map_or_else(|| "No task was ready: nothing was polled".to_owned(), |task| format!("Task #{task} was polled"))
    }

    /// The step, and the state after it, as a picture.
    pub fn figure(&self) -> Figure {
        self.state.drawn(&self.heading())
    }

    /// Shows it in a notebook.
    pub fn evcxr_display(&self) {
        self.figure().evcxr_display();
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", self.heading(), self.state)
    }
}
