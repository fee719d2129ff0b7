//! Where values live: a column for each kind of memory, and what lies inside something else drawn inside it.

use crate::probe::{Region, XRay};
use crate::show::{Figure, Svg, Type, colour, text::counted};
use std::fmt;

const WIDTH: f64 = 292.0;
const GAP: f64 = 22.0;
const HEAD: f64 = 46.0;
const SMALL: Type = Type::sans(12.0).fill(colour::FAINT);

/// Values with their addresses, to see where each of them lives.
///
/// What lies within another's bytes is drawn inside it; where a value points to another that is there too, an arrow leads to it.
///
/// ```
/// use pinlab::{pictures::Places, prelude::*};
/// let on_the_stack = pin!(async { 7 });
/// let on_the_heap = Box::pin(async { 7 });
/// let places = Places::new()
///     .with("pin!", &*on_the_stack)
///     .with("Box::pin", &*on_the_heap)
///     .with("the box itself", &on_the_heap);
/// println!("{places}");
/// places.evcxr_display(); // in a cell, `places` as the last line does this
/// ```
#[derive(Debug, Clone, Default)]
pub struct Places {
    places: Vec<Place>,
}

#[derive(Debug, Clone)]
struct Place {
    label: String,
    xray: XRay,
}

impl Places {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more, under a name of yours. The value is looked at now; it may move or end later.
    pub fn with<T: ?Sized>(mut self, label: impl Into<String>, value: &T) -> Self {
        self.places.push(Place { label: label.into(), xray: XRay::of(value) });
        self
    }

    fn start(&self, place: usize) -> usize {
        self.places[place].xray.address().usize()
    }

    fn end(&self, place: usize) -> usize {
        self.start(place) + self.places[place].xray.size()
    }

    /// The smallest of the others that a place lies in.
    fn inside(&self, place: usize) -> Option<usize> {
        let holds = |other: usize| {
            let (size, own) = (self.places[other].xray.size(), self.places[place].xray.size());
            let within = self.start(other) <= self.start(place) && self.end(place) <= self.end(other);
            other != place && within && (size > own || (size == own && other < place))
        };
        (0..self.places.len()).filter(|&other| holds(other)).min_by_key(|&other| self.places[other].xray.size())
    }

    fn within(&self, place: Option<usize>, region: Region) -> Vec<usize> {
        let here = |i: &usize| self.inside(*i) == place && (place.is_some() || self.places[*i].xray.address().region() == region);
        let mut here: Vec<usize> = (0..self.places.len()).filter(here).collect();
        here.sort_by_key(|&i| self.start(i));
        here
    }

    fn tall(&self, place: usize) -> f64 {
        let region = self.places[place].xray.address().region();
        HEAD + self.within(Some(place), region).into_iter().map(|inner| self.tall(inner) + 8.0).sum::<f64>() + 8.0
    }

    /// Whether a word of the one is an address in the other.
    fn points(&self, from: usize, to: usize) -> bool {
        let inside = |a: usize, b: usize| self.inside(a) == Some(b);
        from != to
            && !inside(from, to)
            && !inside(to, from)
            && !self.places[from].xray.points_into(&self.places[to].xray).is_empty()
            // The innermost of those that hold the address is what it leads to.
            && !(0..self.places.len()).any(|other| {
                self.inside(other) == Some(to) && !self.places[from].xray.points_into(&self.places[other].xray).is_empty()
            })
    }

    fn draw(&self, svg: &mut Svg, place: usize, (x, y): (f64, f64), width: f64, boxes: &mut Vec<(usize, f64, f64, f64)>) {
        let Place { label, xray } = &self.places[place];
        let tall = self.tall(place);
        let nested = self.inside(place).is_some();
        let (ground, ink) = if nested { (colour::AMBER_GROUND, colour::AMBER) } else { (colour::PAPER, colour::FAINT) };
        svg.rect((x, y), (width, tall), 6.0, ground, ink);
        let bold = Type::sans(13.0).bold();
        let size = counted(xray.size(), "byte", "bytes");
        let room = width - 30.0 - SMALL.width(&size);
        svg.text(x + 10.0, y + 18.0, &bold.fit(label, room), bold);
        svg.text(x + width - 10.0, y + 18.0, &size, SMALL.end());
        let mono = Type::mono(11.0).fill(colour::FAINT);
        let address = format!("{:p}", xray.address());
        svg.text(x + 10.0, y + 36.0, &address, mono);
        let what = SMALL.fit(&xray.what, width - 34.0 - mono.width(&address)).into_owned();
        svg.text(x + width - 10.0, y + 36.0, &what, SMALL.end());
        boxes.push((place, x, y, width));
        let mut inner_y = y + HEAD;
        for inner in self.within(Some(place), xray.address().region()) {
            self.draw(svg, inner, (x + 10.0, inner_y), width - 20.0, boxes);
            inner_y += self.tall(inner) + 8.0;
        }
    }

    /// The picture with all that is known about it.
    pub fn figure(&self) -> Figure {
        let regions = [Region::Stack, Region::Heap, Region::Static, Region::Code, Region::Mapped, Region::Unknown];
        let mut svg = Svg::new();
        let (mut x, mut boxes) = (Svg::MARGIN, Vec::new());
        for region in regions {
            let here = self.within(None, region);
            if here.is_empty() {
                continue;
            }
            svg.text(x, 30.0, &region.to_string(), Type::sans(14.0).bold());
            let mut y = 44.0;
            for place in here {
                self.draw(&mut svg, place, (x, y), WIDTH, &mut boxes);
                y += self.tall(place) + 14.0;
            }
            x += WIDTH + GAP + 20.0;
        }
        for (from, to) in self.pairs() {
            let find = |place: usize| boxes.iter().find(|(one, ..)| *one == place).copied();
            if let (Some((_, x1, y1, w1)), Some((_, x2, y2, w2))) = (find(from), find(to)) {
                let (y1, y2) = (y1 + 30.0, y2 + 14.0);
                if x1 + w1 <= x2 {
                    svg.straight((x1 + w1, y1), (x2 - 1.0, y2), colour::BLUE, false);
                } else if x2 + w2 <= x1 {
                    svg.straight((x1, y1), (x2 + w2 + 1.0, y2), colour::BLUE, false);
                } else {
                    svg.elbow((x1 + w1, y1), x1.max(x2) + w1.max(w2) + 14.0, (x2 + w2 + 1.0, y2), colour::BLUE);
                }
            }
        }
        let title = "Where values live";
        let words = self.to_string();
        let description = words.replace('\n', ". ");
        Figure::new(title, description.clone(), words, svg.finish(title, &description))
    }

    fn pairs(&self) -> Vec<(usize, usize)> {
        let all = 0..self.places.len();
        all.clone().flat_map(|from| all.clone().map(move |to| (from, to))).filter(|&(from, to)| self.points(from, to)).collect()
    }

    /// Shows it in a notebook.
    pub fn evcxr_display(&self) {
        self.figure().evcxr_display();
    }
}

impl fmt::Display for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, Place { label, xray }) in self.places.iter().enumerate() {
            let inside = self.inside(i).map(|outer| {
                let offset = self.start(i) - self.start(outer);
                format!(", inside {} at +{offset:#04x}", self.places[outer].label)
            });
            let leads: Vec<&str> =
                self.pairs().into_iter().filter(|pair| pair.0 == i).map(|pair| self.places[pair.1].label.as_str()).collect();
            let leads = if leads.is_empty() { String::new() } else { format!(", leads to {}", leads.join(", ")) };
            let end = if i + 1 < self.places.len() { "\n" } else { "" };
            let (address, size) = (xray.address(), counted(xray.size(), "byte", "bytes"));
            write!(f, "{label}: {address}, {size}{}{leads}{end}", inside.unwrap_or_default())?;
        }
        Ok(())
    }
}
