//! What a projection hands out: of each field a reference, and of some a pinned one.

use crate::probe::XRay;
use crate::show::{Figure, Svg, Type, colour};
use std::{any, fmt};

const ROW: f64 = 34.0;
const SMALL: Type = Type::sans(12.0).fill(colour::FAINT);

/// A pinned struct, and what its `project()` hands out of it. Nothing is typed in: whether a field is pinned is read off the type of what
/// the projection gave, and where it lies off the reference itself.
///
/// ```
/// use pinlab::{pictures::Projection, prelude::*};
///
/// #[pin_project::pin_project]
/// struct Counted<F> {
///     #[pin]
///     future: F,
///     polls: u32,
/// }
/// let mut counted = Box::pin(Counted { future: async { 7 }, polls: 0 });
/// let picture = Projection::of("Counted", &*counted);
/// let this = counted.as_mut().project();
/// let picture = picture.field("future", &this.future).field("polls", &this.polls);
/// assert!(picture.to_string().contains("future: Pin<&mut"));
/// picture.evcxr_display();
/// ```
#[derive(Debug, Clone)]
pub struct Projection {
    name: String,
    whole: XRay,
    fields: Vec<Field>,
}

#[derive(Debug, Clone)]
struct Field {
    name: String,
    handed_out: String,
    pinned: bool,
    offset: Option<usize>,
}

impl Projection {
    /// Of a value that is pinned, before it is projected.
    pub fn of<T: ?Sized>(name: impl Into<String>, whole: &T) -> Self {
        Self { name: name.into(), whole: XRay::of(whole), fields: Vec::new() }
    }

    /// A field of what `project()` gave: `&this.attempt`.
    pub fn field<R>(mut self, name: impl Into<String>, handed_out: &R) -> Self {
        let full = any::type_name::<R>();
        let pinned = full.starts_with("core::pin::Pin<");
        let address = XRay::of(handed_out).words().next().map(|word| word.value());
        let offset = address.and_then(|address| address.checked_sub(self.whole.address().usize()));
        let offset = offset.filter(|offset| *offset <= self.whole.size());
        self.fields.push(Field { name: name.into(), handed_out: crate::probe::type_in_brief(full), pinned, offset });
        self
    }

    /// The picture with all that is known about it.
    pub fn figure(&self) -> Figure {
        let mut svg = Svg::new();
        let left = Svg::MARGIN;
        let name = |field: &Field| field.name.clone();
        let at = |field: &Field| field.offset.map_or_else(|| "not in here".to_owned(), |offset| format!("+{offset:#04x}"));
        let bold = Type::sans(13.0).bold();
        let widest = |text: &dyn Fn(&Field) -> String, style: Type, least: f64| {
            self.fields.iter().map(|field| style.width(&text(field))).fold(least, f64::max)
        };
        let (at_wide, name_wide) = (widest(&at, Type::mono(11.0), 34.0), widest(&name, bold, 90.0).min(220.0));
        let inside = 12.0 + at_wide + 12.0 + name_wide + 16.0 + 62.0;
        let heading = format!("Pin<&mut {}>", self.name);
        let style = Type::sans(14.0).bold();
        svg.text(left, 30.0, &style.fit(&heading, 420.0), style);
        svg.text(
            left,
            48.0,
            &format!("{}, {} bytes", self.whole.address(), self.whole.size()),
            Type::mono(11.0).fill(colour::FAINT),
        );
        svg.text(left + inside + 76.0, 48.0, "what project() hands out", SMALL);
        let top = 60.0;
        let tall = ROW * self.fields.len().max(1) as f64;
        svg.rect((left, top), (inside, tall), 6.0, colour::PAPER, colour::AMBER);
        for (i, field) in self.fields.iter().enumerate() {
            let y = top + ROW * i as f64;
            let (ground, ink, word) = if field.pinned {
                (colour::AMBER_GROUND, colour::AMBER, "pinned")
            } else {
                (colour::GREY, colour::FAINT, "free")
            };
            svg.rect((left + 2.0, y + 2.0), (inside - 4.0, ROW - 4.0), 4.0, ground, None);
            svg.text(left + 12.0, y + 21.0, &at(field), Type::mono(11.0).fill(colour::FAINT));
            svg.text(left + 24.0 + at_wide, y + 21.0, &bold.fit(&field.name, name_wide), bold);
            svg.text(left + inside - 12.0, y + 21.0, word, SMALL.fill(ink).bold().end());
            svg.straight((left + inside, y + ROW / 2.0), (left + inside + 62.0, y + ROW / 2.0), ink, !field.pinned);
            let mono = Type::mono(12.0).fill(if field.pinned { colour::AMBER } else { colour::INK });
            svg.text(left + inside + 76.0, y + 21.0, &mono.fit(&field.handed_out, 460.0), mono);
        }
        let note = "Pinned (whole arrow): it stays if its type must stay. Free (dashed arrow): a plain &mut, so it may be moved.";
        svg.paragraph(left, top + tall + 24.0, svg.right().max(480.0) - left, 17.0, note, SMALL);
        let title = format!("Projection of {}", self.name);
        let words = self.to_string();
        let description = words.replace('\n', ". ");
        Figure::new(title.clone(), description.clone(), words, svg.finish(&title, &description))
    }

    /// Shows it in a notebook.
    pub fn evcxr_display(&self) {
        self.figure().evcxr_display();
    }
}

impl fmt::Display for Projection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pin<&mut {}> at {}, {} bytes", self.name, self.whole.address(), self.whole.size())?;
        for Field { name, handed_out, pinned, offset } in &self.fields {
            let at = offset.map_or_else(|| "not in here".to_owned(), |offset| format!("+{offset:#04x}"));
            let pinned = if *pinned { "pinned" } else { "free" };
            write!(f, "\n{at} {name}: {handed_out}, {pinned}")?;
        }
        Ok(())
    }
}
