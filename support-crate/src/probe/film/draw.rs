//! A film as pictures: the strip of each poll with the source beside it.

use super::{Film, Strips};
use crate::show::{Svg, Type, colour, text::counted};

const LINE: f64 = 19.0;
/// Lines of source that are shown around the one where it stands.
const AROUND: usize = 12;
/// Right of this the source has no room any more, and stands below.
const PAGE: f64 = 1000.0;
const SMALL: Type = Type::sans(12.0).fill(colour::FAINT);
const CODE: Type = Type::mono(12.0);

/// All shots of a film that has been cut, at once.
pub(super) fn still(strips: &Strips, title: &str, summary: &str, left_out: usize) -> String {
    let mut svg = strips.all_at_once();
    let mut y = svg.bottom() + 22.0;
    let room = svg.right().max(500.0) - Svg::MARGIN - 14.0;
    if left_out > 0 {
        let text = format!(
            "{} between them {} left out here.",
            counted(left_out, "poll", "polls"),
            if left_out == 1 { "is" } else { "are" }
        );
        y = svg.paragraph(34.0, y, room, 17.0, &text, SMALL) + 17.0;
    }
    svg.paragraph(34.0, y, room, 17.0, summary, SMALL);
    svg.finish(title, summary)
}

/// Each shot with the source beside it, or below where it would be too wide.
pub(super) fn positions(film: &Film, strips: &Strips) -> Vec<Svg> {
    let mut pictures = strips.positions();
    let Some(body) = &film.body else { return pictures };
    let lines: Vec<(usize, &str)> = body.lines().collect();
    let indent =
        lines.iter().filter(|(_, text)| !text.trim().is_empty()).map(|(_, text)| text.len() - text.trim_start().len()).min();
    let indent = indent.unwrap_or(0);
    let widest = lines.iter().map(|(_, text)| CODE.width(text.get(indent..).unwrap_or(""))).fold(120.0, f64::max).min(460.0);
    let width = 64.0 + widest;
    let (right, below) = pictures.iter().fold((0.0, 0.0), |(x, y): (f64, f64), svg| (x.max(svg.right()), y.max(svg.bottom())));
    let beside = right + width + Svg::MARGIN * 2.0 <= PAGE;
    let (x, top) = if beside { (right + 26.0, 30.0) } else { (34.0, below + 34.0) };
    for (shot, svg) in pictures.iter_mut().enumerate() {
        let state = film.shots[shot].xray.state();
        let here = state.and_then(|state| body.line_of(state));
        let at = here.and_then(|here| lines.iter().position(|(number, _)| *number == here)).unwrap_or(0);
        let from = at.saturating_sub(AROUND / 2).min(lines.len().saturating_sub(AROUND));
        let shown = &lines[from..lines.len().min(from + AROUND)];
        let heading = match (here, state) {
            (Some(_), Some("Unresumed")) => "not begun".to_owned(),
            (Some(_), Some("Returned")) => "returned".to_owned(),
            (Some(line), _) => format!("waits in line {line}"),
            (None, _) => "where it waits is not known".to_owned(),
        };
        let bold = SMALL.fill(colour::INK).bold();
        svg.text(x, top, &bold.fit(&heading, width), bold);
        svg.rect((x, top + 10.0), (width, LINE * shown.len() as f64 + 10.0), 6.0, colour::PAPER, colour::LINE);
        for (i, (number, text)) in shown.iter().enumerate() {
            let y = top + 15.0 + LINE * i as f64;
            let is_here = Some(*number) == here;
            if is_here {
                svg.rect((x + 1.0, y), (width - 2.0, LINE), 0.0, colour::AMBER_GROUND, None);
                svg.text(x + 8.0, y + 14.0, "→", SMALL.fill(colour::AMBER).bold());
            }
            svg.text(x + 48.0, y + 14.0, &number.to_string(), Type::mono(11.0).fill(colour::FAINT).end());
            let ink = if is_here { CODE.fill(colour::AMBER) } else { CODE };
            svg.text(x + 56.0, y + 14.0, &ink.fit(text.get(indent..).unwrap_or(""), widest), ink);
        }
    }
    pictures
}
