//! The tables that people read, on the terminal and in `BENCHMARKS.md`.

use std::collections::BTreeMap;
use std::fmt::Write;

use comfy_table::{Table, presets::ASCII_MARKDOWN};

use crate::chart::Bar;
use crate::machine;
use crate::meter::Sample;
use crate::sampling::{Place, Results};
use crate::table::{FLOOR, Kind, OURS, Row, SECTIONS, Section};
use crate::{Clock, Options};

/// All tables, as Markdown.
pub(crate) fn tables(results: &Results, columns: &[&'static str], clock: Clock) -> String {
    let mut page = String::new();
    for section in SECTIONS {
        let mut lines = Vec::new();
        for row in section.rows {
            let time = |sample: &Sample| match clock {
                Clock::Cpu if row.kind != Kind::Waits => sample.cpu,
                _ => Some(sample.wall),
            };
            let times = column_values(&results.samples, row, |samples| quantile(samples, time, 0.5));
            let noise = noise(results, row, time);
            lines.push(Line { label: format!("{}: {}", row.id, row.title), values: times, noise });
            if row.kind == Kind::Waits {
                let cpu = column_values(&results.samples, row, |samples| quantile(samples, |sample| sample.cpu, 0.5));
                let label = format!("{}, processor time", row.id);
                lines.push(Line { label, values: cpu, noise: None });
            }
        }
        add_section(&mut page, section, columns, &lines, time);
    }
    let counts: [(&str, Vec<Line>); 4] = [
        ("Allocations per operation", count_lines(&results.allocations, |sample| sample.allocations)),
        ("Bytes allocated per operation", count_lines(&results.allocations, |sample| sample.bytes)),
        ("Instructions per operation", count_lines(&results.instructions, |count| *count)),
        ("System calls per operation", count_lines(&results.syscalls, |count| *count)),
    ];
    for (title, lines) in counts {
        let section = Section { title, rows: &[] };
        add_section(&mut page, &section, columns, &lines, count);
    }
    page
}

/// What the picture shows: every row that ours and a peer have.
pub(crate) fn bars(results: &Results) -> Vec<Bar> {
    let rows = SECTIONS.iter().flat_map(|section| section.rows);
    rows.filter_map(|row| {
        let values = column_values(&results.samples, row, |samples| quantile(samples, |sample| Some(sample.wall), 0.5));
        let line = Line { label: row.id.to_owned(), values, noise: None };
        let (ours, (_, best)) = (line.ours()?, line.best()?);
        Some(Bar { floor: line.values.get(FLOOR).copied(), label: line.label, ours, best })
    })
    .collect()
}

/// The whole of `BENCHMARKS.md`.
pub(crate) fn page(tables: &str, options: &Options) -> String {
    let mut page = include_str!("../intro.md").to_owned();
    _ = writeln!(page, "\n## The run below\n");
    for (name, value) in machine::describe() {
        _ = writeln!(page, "* {name}: {value}");
    }
    _ = writeln!(page, "* versions: {}", machine::versions().join(", "));
    _ = writeln!(
        page,
        "* {} samples of each, of at least {} ms; times of rows that do not wait are {}\n",
        options.rounds,
        options.sample_time,
        match options.clock {
            Clock::Wall => "by the clock",
            Clock::Cpu => "processor time",
        }
    );
    page.push_str("![Ours, the best peer and no runtime, row by row](BENCHMARKS.svg)\n\n");
    page.push_str(tables);
    page.push_str("## What one operation is\n\n");
    for row in SECTIONS.iter().flat_map(|section| section.rows) {
        _ = writeln!(page, "* **{}**, {}: {}", row.id, row.title, row.operation);
    }
    // What `cargo run -p peers --example measure_keyvalue` has measured.
    page + "\n" + include_str!("../keyvalue.md")
}

/// A row of a table of the report.
struct Line {
    label: String,
    values: BTreeMap<&'static str, f64>,
    /// How far the middle half of the samples spreads, relative to the median; the median of that over the runtimes.
    noise: Option<f64>,
}

impl Line {
    /// The best of the others.
    fn best(&self) -> Option<(&'static str, f64)> {
        let peers = self.values.iter().filter(|(column, _)| **column != FLOOR && !OURS.contains(column));
        peers.min_by(|a, b| a.1.total_cmp(b.1)).map(|(column, value)| (*column, *value))
    }

    fn ours(&self) -> Option<f64> {
        OURS.iter().find_map(|column| self.values.get(column)).copied()
    }

    /// A column by another, as a ratio.
    fn ratio(above: Option<f64>, below: Option<f64>) -> String {
        match (above, below) {
            (Some(above), Some(below)) if below > 0.0 => format!("{:.2}", above / below),
            _ => "–".to_owned(),
        }
    }
}

fn column_values(
    samples: &BTreeMap<Place, Vec<Sample>>,
    row: &Row,
    value: impl Fn(&[Sample]) -> Option<f64>,
) -> BTreeMap<&'static str, f64> {
    let of_row = samples.iter().filter(|((id, _), _)| *id == row.id);
    of_row.filter_map(|((_, column), samples)| Some((*column, value(samples)?))).collect()
}

fn count_lines<T>(counts: &BTreeMap<Place, T>, value: impl Fn(&T) -> f64) -> Vec<Line> {
    let rows = SECTIONS.iter().flat_map(|section| section.rows);
    rows.map(|row| {
        let of_row = counts.iter().filter(|((id, _), _)| *id == row.id);
        let values = of_row.map(|((_, column), counted)| (*column, value(counted))).collect();
        Line { label: row.id.to_owned(), values, noise: None }
    })
    .collect()
}

fn add_section(page: &mut String, section: &Section, columns: &[&'static str], lines: &[Line], show: fn(f64) -> String) {
    let lines: Vec<&Line> = lines.iter().filter(|line| !line.values.is_empty()).collect();
    if lines.is_empty() {
        return;
    }
    let shown = |column: &&&'static str| lines.iter().any(|line| line.values.contains_key(**column));
    let columns: Vec<&'static str> = columns.iter().filter(shown).copied().collect();
    let ours = columns.iter().any(|column| OURS.contains(column));
    let noisy = lines.iter().any(|line| line.noise.is_some());

    let mut header = vec![String::new()];
    header.extend(columns.iter().map(|column| (*column).to_owned()));
    if ours {
        header.push("ours ÷ best peer".to_owned());
        header.push("ours ÷ no runtime".to_owned());
    } else {
        header.push("best peer ÷ no runtime".to_owned());
    }
    header.extend(noisy.then(|| "spread".to_owned()));

    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    table.set_header(header);
    for line in lines {
        let best = line.best();
        let floor = line.values.get(FLOOR).copied();
        let mut cells = vec![line.label.clone()];
        for column in &columns {
            cells.push(match line.values.get(column) {
                None => "–".to_owned(),
                Some(value) if best.is_some_and(|(best, _)| best == *column) => {
                    format!("**{}**", show(*value))
                }
                Some(value) => show(*value),
            });
        }
        if ours {
            cells.push(Line::ratio(line.ours(), best.map(|best| best.1)));
            cells.push(Line::ratio(line.ours(), floor));
        } else {
            cells.push(Line::ratio(best.map(|best| best.1), floor));
        }
        cells.extend(noisy.then(|| line.noise.map_or(String::new(), |noise| format!("±{:.0} %", noise * 50.0))));
        table.add_row(cells);
    }
    _ = writeln!(page, "### {}\n\n{table}\n", section.title);
}

/// Nanoseconds, in the unit that suits.
fn time(nanoseconds: f64) -> String {
    let (value, unit) = match nanoseconds {
        n if n < 1e3 => (n, "ns"),
        n if n < 1e6 => (n / 1e3, "µs"),
        n => (n / 1e6, "ms"),
    };
    format!("{} {unit}", three_digits(value))
}

fn count(value: f64) -> String {
    three_digits(value)
}

fn three_digits(value: f64) -> String {
    match value {
        v if v < 0.005 => "0".to_owned(),
        v if v < 10.0 => format!("{v:.2}"),
        v if v < 100.0 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}

fn noise(results: &Results, row: &Row, time: impl Fn(&Sample) -> Option<f64> + Copy) -> Option<f64> {
    let spreads = column_values(&results.samples, row, |samples| {
        let middle_half = quantile(samples, time, 0.75)? - quantile(samples, time, 0.25)?;
        (samples.len() >= 4).then_some(middle_half / quantile(samples, time, 0.5)?)
    });
    let mut spreads: Vec<f64> = spreads.into_values().collect();
    spreads.sort_by(f64::total_cmp);
    spreads.get(spreads.len() / 2).copied()
}

/// The value below which that part of the samples lies.
fn quantile(samples: &[Sample], value: impl Fn(&Sample) -> Option<f64>, part: f64) -> Option<f64> {
    let mut values: Vec<f64> = samples.iter().filter_map(value).collect();
    if values.is_empty() {
        return None;
    }
    values.sort_by(f64::total_cmp);
    let at = part * (values.len() - 1) as f64;
    let (low, high) = (values[at.floor() as usize], values[at.ceil() as usize]);
    Some(low + (high - low) * at.fract())
}
