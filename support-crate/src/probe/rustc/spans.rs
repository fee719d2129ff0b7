//! Names for the bytes of a live value: a layout, applied to it.
//!
//! Invariants:
//! 1. A layout is applied to a value only if size and alignment agree and the state byte names a state that exists.
//! 2. A part is opened up only if its type is none of those that it lies in, by the compiler's name and the size, and not deeper than
//!    [`DEEPEST`]: no type lies in itself, and no mistake about one can go on without end.
//! 3. The numbers of the states are rustc's: 0 unresumed, 1 returned, 2 panicked, 3 the first `.await`.

use super::{
    lowered::{FieldKind, Lowered},
    types::{By, Types, without_arguments},
};
use crate::probe::xray::{Header, WORD, short_name};
use std::{ops::Range, sync::Arc};

/// So deep does the compiler itself follow types, unless it is told otherwise.
const DEEPEST: usize = 128;

/// The types that a part lies in, from the inside out.
#[derive(Clone, Copy)]
struct Inside<'a> {
    of: &'a Lowered,
    outer: Option<&'a Inside<'a>>,
}

impl Inside<'_> {
    /// Invariant 2.
    fn may_open(&self, part: &Lowered) -> bool {
        let all = || std::iter::successors(Some(self), |inside| inside.outer);
        all().count() < DEEPEST && all().all(|inside| (&inside.of.key, inside.of.size) != (&part.key, part.size))
    }
}

/// What a part's type is called, by whom, and what it lies in.
#[derive(Clone, Copy)]
struct Called<'a> {
    ty: &'a str,
    by: By<'a>,
    inside: &'a Inside<'a>,
}

/// A name for some bytes of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) offset: usize,
    pub(crate) size: usize,
    /// Such as `val.ptr`.
    pub(crate) name: String,
    /// The field it is part of, such as `val`.
    pub(crate) field: String,
    pub(crate) is_state: bool,
}

impl Span {
    pub(crate) fn covers(&self, offset: usize) -> bool {
        (self.offset..self.offset + self.size).contains(&offset)
    }
}

impl Lowered {
    /// The names of all bytes in use (invariant 1), and the state; or why the layout does not fit.
    pub(crate) fn spans_of(&self, bytes: &[u8], align: usize) -> Result<(Vec<Span>, Option<String>), String> {
        if (bytes.len(), align) != (self.size, self.align) {
            return Err(format!(
                "this is not a value of {}: the layout has {} bytes aligned to {}, the value {} aligned to {}",
                self.name,
                self.size,
                self.align,
                bytes.len(),
                align
            ));
        }
        let mut spans = Vec::new();
        let state = self.add_spans(bytes, 0, "", None, &mut spans)?;
        Ok((spans, state))
    }

    /// Names the parts of a value that starts `base` bytes into `bytes`; `path` is the field that holds it, empty at the top.
    fn add_spans(
        &self,
        bytes: &[u8],
        base: usize,
        path: &str,
        outer: Option<&Inside<'_>>,
        spans: &mut Vec<Span>,
    ) -> Result<Option<String>, String> {
        let within = |name: &str| {
            if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
        };
        let variant = match &self.tag {
            None => self.variants.first().ok_or_else(|| format!("{} has no fields to name", self.name))?,
            Some(tag) => {
                let number = number(&bytes[base + tag.start..base + tag.end]);
                // Invariant 3.
                let state = match number {
                    0 => "Unresumed".to_owned(),
                    1 => "Returned".to_owned(),
                    2 => "Panicked".to_owned(),
                    n => format!("Suspend{}", n - 3),
                };
                spans.push(Span {
                    offset: base + tag.start,
                    size: tag.len(),
                    name: within("state"),
                    field: within("state"),
                    is_state: path.is_empty(),
                });
                let unknown =
                    || format!("this is not a value of {}: its state byte is {number}, and there is no {state}", self.name);
                self.variant(&state).ok_or_else(unknown)?
            }
        };
        let inside = &Inside { of: self, outer };
        for field in variant.fields.iter().filter(|field| field.size > 0 && !variant.is_over()) {
            let label = within(&field.label());
            // What a leaf future is made of is its own affair; an `async fn` that is awaited is opened up.
            let leaf = |ty: &&str| field.kind != FieldKind::Awaited || ty.starts_with("{async");
            let ty = field.type_name.as_deref().filter(leaf).map(|ty| Called { ty, by: self.names_by(), inside });
            let (from, at) = (spans.len(), base + field.offset..base + field.offset + field.size);
            self.types.expand(bytes, at, ty, &label, &label, spans);
            if field.kind == FieldKind::Argument && variant.name != "Unresumed" {
                spans[from..].iter_mut().for_each(|span| span.name += " (argument)");
            }
        }
        Ok(self.tag.is_some().then(|| variant.name.clone()))
    }

    /// Whose names the types of its fields have.
    fn names_by(&self) -> By<'_> {
        if self.tag.is_some() { By::Compiler } else { By::Item(without_arguments(&self.key)) }
    }
}

impl Types {
    /// Names the parts of what lies at `at` as far as the compiler told of its type. All are parts of `field`, unless
    /// they are fields of an `async fn`'s future inside it.
    fn expand(
        self: &Arc<Self>,
        bytes: &[u8],
        at: Range<usize>,
        called: Option<Called<'_>>,
        field: &str,
        label: &str,
        spans: &mut Vec<Span>,
    ) {
        let span = |name: String, at: Range<usize>| Span {
            offset: at.start,
            size: at.len(),
            name,
            field: field.to_owned(),
            is_state: false,
        };
        let whole = span(label.to_owned(), at.clone());
        let Some(Called { ty, by, inside }) = called else {
            return spans.push(whole);
        };
        if at.len() == 2 * WORD && is_wide_pointer(ty) {
            let header = Header::of_str();
            return spans.extend((0..header.words).map(|i| {
                let part = if ty.contains("dyn ") && i == header.len { "vtable" } else { header.name(i) };
                let start = at.start + i * WORD;
                span(format!("{label}.{part}"), start..start + WORD)
            }));
        }
        let has_parts = |layout: &Lowered| layout.variants.iter().any(|variant| !variant.fields.is_empty());
        let layout = self.layout_of(ty, at.len(), by).filter(|layout| has_parts(layout) && inside.may_open(layout));
        let Some(layout) = layout else {
            return spans.push(whole);
        };
        if layout.tag.is_some() {
            let from = spans.len();
            if layout.add_spans(bytes, at.start, label, Some(inside), spans).is_err() {
                spans.truncate(from);
                spans.push(whole);
            }
            return;
        }
        let (is_own, inside) = (self.is_own(&layout.key), &Inside { of: &layout, outer: Some(inside) });
        for part in layout.variants.iter().flat_map(|variant| &variant.fields).filter(|part| part.size > 0) {
            let at = at.start + part.offset..at.start + part.offset + part.size;
            // The layers between a `String` and its three words have names that only std's authors need.
            match std_layer(ty, &part.name).filter(|_| !is_own) {
                Some(inner) => {
                    self.expand(bytes, at, Some(Called { ty: &inner, by: By::Std, inside }), field, label, spans);
                }
                None => {
                    let label = format!("{label}.{}", part.name);
                    let called = part.type_name.as_deref().map(|ty| Called { ty, by: layout.names_by(), inside });
                    self.expand(bytes, at, called, field, &label, spans);
                }
            }
        }
    }
}

/// Up to eight bytes as a number, in this machine's byte order.
fn number(bytes: &[u8]) -> u64 {
    let join = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
    if cfg!(target_endian = "little") { bytes.iter().rev().fold(0, join) } else { bytes.iter().fold(0, join) }
}

fn is_wide_pointer(ty: &str) -> bool {
    let target = ["&mut ", "&", "*const ", "*mut "].iter().find_map(|sigil| ty.strip_prefix(sigil));
    let boxed = || ty.strip_prefix("std::boxed::Box<").or_else(|| ty.strip_prefix("Box<"))?.strip_suffix('>');
    target.or_else(boxed).is_some_and(|target| {
        let target =
            target.strip_prefix('\'').and_then(|t| t.split_once(' ')).map_or(target, |(_, t)| t).trim_start_matches("mut ");
        target == "str"
            || target.starts_with("dyn ")
            || target.starts_with("(dyn ")
            || (target.starts_with('[') && !target.contains(';'))
    })
}

/// What is inside a `String`, a `Vec` or its buffer, in std's words: layers that hold nothing else.
fn std_layer(ty: &str, field: &str) -> Option<String> {
    let name = short_name(ty);
    let (outer, arguments) = name.split_at(name.find('<').unwrap_or(name.len()));
    match (outer, field) {
        ("String", "vec") => Some("Vec<u8>".into()),
        ("Vec", "buf") => Some(format!("RawVec{arguments}")),
        ("RawVec", "inner") => Some("RawVecInner".into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What types of 8 bytes, each with one field, are called when an `A` is X-rayed.
    fn names(types: &[&str], hir: &str) -> Vec<String> {
        let sizes: String = types
            .iter()
            .map(|ty| {
                format!(
                    "print-type-size type: `{ty}`: 8 bytes, alignment: 8 bytes\nprint-type-size     field `.0`: 8 bytes, offset: 0 bytes\n"
                )
            })
            .collect();
        let types = Arc::new(Types::parse(&sizes, hir, ""));
        let layout = types.layout_of("A", 8, By::Compiler).expect("it is there");
        layout.spans_of(&[0; 8], 8).expect("it fits").0.into_iter().map(|span| span.name).collect()
    }

    /// Invariant 2: no compiler prints such tables. They are what a mistake about a name would look like.
    #[test]
    fn whatever_the_tables_say_it_comes_to_its_end() {
        assert_eq!(names(&["A"], "struct A(A);"), ["0"]);
        assert_eq!(names(&["A", "B", "C"], "struct A(B); struct B(C); struct C(B);"), ["0.0.0"]);
        let many: Vec<String> = (0..5000).map(|number| format!("S{number}")).collect();
        let hir: String = many.windows(2).map(|pair| format!("struct {}({}); ", pair[0], pair[1])).collect();
        let types: Vec<&str> = many.iter().map(String::as_str).chain(["A"]).collect();
        let deep = names(&types, &format!("struct A(S0); {hir}"));
        assert_eq!(deep[0].len(), 2 * DEEPEST - 1, "{deep:?}");
    }

    #[test]
    fn a_path_is_resolved_where_it_stands() {
        // What is opened has one more name.
        for (field, own, is_opened) in [
            ("super::B", "", true),
            ("crate::m::B", "", true),
            ("self::super::B", "", true),
            ("self::B", "struct B(u8);", true),
            ("B", "struct B(u8);", true),
            ("super::B", "type B = u8;", true),
            ("B", "type B = u8;", false),
            // Imports, from anywhere.
            ("B", "", false),
            ("other::B", "", false),
            ("crate::f::B", "", false),
            ("std::B", "", false),
            // Two paths are one.
            ("super::B", "} fn n() {", false),
        ] {
            let hir = format!(
                "struct A(m::n::Of); struct B(u8); mod m {{ struct B(u8); mod n {{ struct Of({field}); {own} }} }} \
                 fn f() {{ struct B(u8); }}"
            );
            let types = ["A", "B", "m::B", "f::B", "m::n::Of", "m::n::B"];
            let names = names(&types[..if own.starts_with("struct") { 6 } else { 5 }], &hir);
            assert_eq!(names == ["0.0.0"], is_opened, "{field} {own} {names:?}");
        }
        // Only one has the name.
        assert_eq!(names(&["A", "m::B"], "struct A(B); use m::B; mod m { struct B(u8); }"), ["0.0"]);
        assert_eq!(names(&["A", "m::B"], "struct A(std::B); mod m { struct B(u8); }"), ["0"]);
    }
}
