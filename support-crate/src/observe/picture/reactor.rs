//! The reactor's part in a recording: how a wait for a socket or a timer becomes a poll; and how many polls it lets pass.

use super::{PAGE, SMALL, brief, story::Story};
use crate::observe::timeline::{Source, Timeline, What};
use crate::show::{Figure, Svg, Type, colour, text::counted};

const WIDE: f64 = 168.0;
const GAP: f64 = 22.0;

impl Timeline {
    /// The reactor at work, as a picture: who had registered for what, the wait, the event, the wake, and the poll that came of it. It shows the first
    /// time that a socket has queued a task, and the recording tells which socket; where there is none, the first timer that has queued one.
    ///
    /// ```
    /// use pinlab::prelude::*;
    /// # fn main() -> std::io::Result<()> {
    /// let rt = Runtime::new()?;
    /// rt.record();
    /// rt.block_on(rt.handle().sleep(Duration::from_millis(2)));
    /// rt.stop_recording().reactor().evcxr_display();
    /// # Ok(()) }
    /// ```
    pub fn reactor(&self) -> Figure {
        let story = Story::of(self);
        let stages = self.stages(&story);
        let title = "From a wait to a wake";
        let mut svg = Svg::new();
        svg.timed();
        svg.text(Svg::MARGIN, 30.0, title, Type::sans(14.0).bold());
        let bold = Type::sans(13.0).bold();
        let tall = stages.iter().map(|(_, says)| SMALL.wrap(says, WIDE - 24.0).len()).max().unwrap_or(1) as f64 * 17.0 + 44.0;
        let mut at = (Svg::MARGIN, 46.0);
        for (i, (name, says)) in stages.iter().enumerate() {
            let (x, y) = at;
            let (ground, ink) = [
                (colour::PAPER, colour::FAINT),
                (colour::GREY, colour::FAINT),
                (colour::BLUE_GROUND, colour::BLUE),
                (colour::BLUE_GROUND, colour::BLUE),
                (colour::AMBER_GROUND, colour::AMBER),
            ][i.min(4)];
            svg.rect((x, y), (WIDE, tall), 8.0, ground, ink);
            svg.text(
                x + 12.0,
                y + 22.0,
                &format!("{} {name}", i + 1),
                bold.fill(if ink == colour::FAINT { colour::INK } else { ink }),
            );
            svg.paragraph(x + 12.0, y + 42.0, WIDE - 24.0, 17.0, says, SMALL.fill(colour::INK));
            at = (x + WIDE + GAP, y);
            let next_fits = at.0 + WIDE <= PAGE;
            if !next_fits {
                at = (Svg::MARGIN, y + tall + GAP);
            }
            if i + 1 < stages.len() {
                if next_fits {
                    svg.straight((x + WIDE + 1.0, y + tall / 2.0), (at.0 - 2.0, y + tall / 2.0), colour::BLUE, false);
                } else {
                    let (from, to) = ((x + WIDE / 2.0, y + tall + 1.0), (at.0 + WIDE / 2.0, at.1 - 2.0));
                    let half = (from.1 + to.1) / 2.0;
                    svg.arrow(from, ((from.0, half + 10.0), (to.0, half - 10.0)), to, colour::BLUE, false);
                }
            }
        }
        let words: Vec<String> = stages.iter().map(|(name, says)| format!("{name}: {says}")).collect();
        let description = words.join(" ");
        Figure::new(title, description.clone(), words.join("\n"), svg.finish(title, &description))
    }

    fn stages(&self, story: &Story<'_>) -> Vec<(&'static str, String)> {
        let entries = self.entries();
        let woken = |wanted: Source| {
            let is = |what: What| matches!(what, What::Woken { by, queued: true, .. } if by == wanted);
            let told = |wake: usize| wanted != Source::Socket || story.event_of(wake).is_some();
            (0..entries.len()).find(|&step| is(entries[step].what) && told(step))
        };
        let Some(wake) = woken(Source::Socket).or_else(|| woken(Source::Timer)) else {
            return vec![("Nothing of it", "This recording tells of no socket and no timer that has queued a task.".to_owned())];
        };
        let What::Woken { task, by, .. } = entries[wake].what else { unreachable!("it was found as a wake") };
        let event = match by {
            Source::Socket => story.event_of(wake),
            _ => entries[..wake].iter().rposition(|entry| matches!(entry.what, What::TimerFired { .. })),
        };
        let sleep = entries[..event.unwrap_or(wake)].iter().rposition(|entry| matches!(entry.what, What::Parked { .. }));
        let poll = entries[wake..].iter().position(|entry| matches!(entry.what, What::Polled { task: one, .. } if one == task));
        let registered = sleep.map_or_else(
            || "The engine did not sleep before: what it waited for was ready.".to_owned(),
            |sleep| story.waits(sleep).unwrap_or_else(|| "The recording kept no snapshot of this moment.".to_owned()),
        );
        let mut stages = vec![("Registrations", registered)];
        if let Some(sleep) = sleep {
            stages.push(("The wait", story.says(sleep)));
        }
        if let Some(event) = event {
            stages.push(("The event", story.says(event)));
        }
        stages.push(("The wake", story.says(wake)));
        if let Some(poll) = poll {
            stages.push(("The poll", story.says(wake + poll)));
        }
        stages
    }

    /// How many polls there are in a row before a timer, a socket or a sleep has its turn, as a picture: a bar for each time. A loop that
    /// polled for as long as anything is queued would never come to them; its budget of polls makes it look.
    ///
    /// ```
    /// use pinlab::prelude::*;
    /// # fn main() -> std::io::Result<()> {
    /// let rt = Runtime::new()?;
    /// rt.record();
    /// let busy = rt.spawn(async { loop { yield_now().await } });
    /// rt.block_on(rt.handle().sleep(Duration::from_millis(2)));
    /// busy.abort();
    /// rt.stop_recording().turns().evcxr_display();
    /// # Ok(()) }
    /// ```
    pub fn turns(&self) -> Figure {
        const MOST: usize = 24;
        let mut turns: Vec<(usize, &str)> = Vec::new();
        let mut polls = 0;
        for entry in self.entries() {
            let ended = match entry.what {
                What::Polled { .. } => {
                    polls += 1;
                    continue;
                }
                What::TimerFired { .. } => "a timer fired",
                What::SocketReady { .. } => "a socket was ready",
                What::Parked { .. } => "nothing was queued",
                _ => continue,
            };
            if polls > 0 {
                turns.push((std::mem::take(&mut polls), ended));
            }
        }
        if polls > 0 {
            turns.push((polls, "the recording ends"));
        }
        let most = turns.iter().map(|turn| turn.0).max().unwrap_or(0);
        let title = "Polls in a row, before a timer, a socket or a sleep has its turn";
        let mut svg = Svg::new();
        svg.timed();
        svg.text(Svg::MARGIN, 30.0, title, Type::sans(14.0).bold());
        svg.text(
            Svg::MARGIN,
            49.0,
            &format!("{}, {} in all, at most {most} in a row", brief(self.total()), counted(self.polls(None), "poll", "polls")),
            SMALL,
        );
        let mono = Type::mono(12.0).end();
        for (i, (polls, ended)) in turns.iter().take(MOST).enumerate() {
            let y = 64.0 + 24.0 * i as f64;
            svg.text(76.0, y + 15.0, &polls.to_string(), mono);
            let wide = (*polls as f64 / most as f64 * 520.0).max(2.0);
            svg.rect((86.0, y + 2.0), (wide, 18.0), 3.0, colour::AMBER_GROUND, colour::AMBER);
            svg.text(86.0 + wide + 10.0, y + 15.0, ended, SMALL);
        }
        let left = turns.len().saturating_sub(MOST);
        if left > 0 {
            svg.text(Svg::MARGIN, svg.bottom() + 20.0, &format!("… and {} left out here", counted(left, "row", "rows")), SMALL);
        }
        let words: Vec<String> =
            turns.iter().take(200).map(|(polls, ended)| format!("{}, then {ended}", counted(*polls, "poll", "polls"))).collect();
        let description = format!("{} rows of polls; at most {most} in one.", turns.len());
        Figure::new(title, description.clone(), words.join("\n"), svg.finish(title, &description))
    }
}
