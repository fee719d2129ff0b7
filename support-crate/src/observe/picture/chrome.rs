//! The events in Chrome's trace event format: what existing tools open.

use crate::observe::timeline::{Source, Timeline, What};
use crate::show::json::Json;
use std::time::Duration;

fn micros(time: Duration) -> Json {
    (time.as_nanos() as f64 / 1e3).into()
}

/// The lanes as threads: the engine, the reactor, then the tasks.
fn lane(source: Source) -> usize {
    match source {
        Source::Task(task) => 2 + task,
        Source::Timer | Source::Socket => 1,
        Source::OtherThread | Source::Engine | Source::Outside => 0,
    }
}

/// All of it as one JSON object.
pub(super) fn trace(timeline: &Timeline) -> String {
    let mut events = Vec::new();
    let named = |lane: usize, name: &str| {
        let args = Json::object([("name", Json::from(name))]);
        Json::object([
            ("ph", "M".into()),
            ("name", "thread_name".into()),
            ("pid", 1usize.into()),
            ("tid", lane.into()),
            ("args", args),
        ])
    };
    events.push(named(0, "engine"));
    events.push(named(1, "reactor"));
    events.extend((0..timeline.tasks()).map(|task| named(2 + task, &format!("#{task} {}", timeline.name(task)))));
    for (step, entry) in timeline.entries().iter().enumerate() {
        let event = |name: &str, ph: &str, lane: usize, more: Vec<(&'static str, Json)>| {
            let common = [
                ("name", Json::from(name)),
                ("ph", Json::from(ph)),
                ("ts", micros(entry.at)),
                ("pid", 1usize.into()),
                ("tid", lane.into()),
            ];
            Json::object(common.into_iter().chain(more))
        };
        let lasting = |took: Duration| vec![("dur", micros(took))];
        let instant = || vec![("s", Json::from("t"))];
        match entry.what {
            What::Polled { task, took, ready } => {
                events.push(event(if ready { "poll: Ready" } else { "poll: Pending" }, "X", 2 + task, lasting(took)));
            }
            What::Parked { took } => events.push(event("asleep", "X", 0, lasting(took))),
            What::Spawned { task, by } => {
                events.push(event(&format!("spawns #{task}"), "i", lane(by), instant()));
            }
            What::Woken { task, by, queued } => {
                let name = if queued { format!("wakes #{task}") } else { format!("wakes #{task} for nothing") };
                events.push(event(&name, "i", lane(by), instant()));
                let id = || ("id", Json::from(step));
                events.push(event("wake", "s", lane(by), vec![id()]));
                events.push(event("wake", "f", 2 + task, vec![id(), ("bp", Json::from("e"))]));
            }
            What::TimerFired { .. } => events.push(event("timer", "i", 1, instant())),
            What::SocketReady { source, readable, writable } => {
                let name = format!(
                    "socket {source}{}{}",
                    if readable { " readable" } else { "" },
                    if writable { " writable" } else { "" }
                );
                events.push(event(&name, "i", 1, instant()));
            }
        }
    }
    Json::object([("displayTimeUnit", Json::from("ms")), ("traceEvents", Json::list(events))]).to_string()
}
