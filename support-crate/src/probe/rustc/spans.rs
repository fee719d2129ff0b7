//! Names for the bytes of a live value: a layout, applied to it.
//!
//! Invariants:
//! 1. A layout is applied to a value only if size and alignment agree and the state byte names a state that exists.
//! 2. The numbers of the states are rustc's: 0 unresumed, 1 returned, 2 panicked, 3 the first `.await`.

use super::{
    lowered::{FieldKind, Lowered},
    types::Types,
};
use crate::probe::xray::{Header, WORD, short_name};
use std::{ops::Range, sync::Arc};

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
        let state = self.add_spans(bytes, 0, "", &mut spans)?;
        Ok((spans, state))
    }

    /// Names the parts of a value that starts `base` bytes into `bytes`; `path` is the field that holds it, empty at the top.
    pub(crate) fn add_spans(
        &self,
        bytes: &[u8],
        base: usize,
        path: &str,
        spans: &mut Vec<Span>,
    ) -> Result<Option<String>, String> {
        let within = |name: &str| {
            if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
        };
        let variant = match &self.tag {
            None => self.variants.first().ok_or_else(|| format!("{} has no fields to name", self.name))?,
            Some(tag) => {
                let number = number(&bytes[base + tag.start..base + tag.end]);
                // Invariant 2.
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
        for field in variant.fields.iter().filter(|field| field.size > 0 && !variant.is_over()) {
            let label = within(&field.label());
            // What a leaf future is made of is its own affair; an `async fn` that is awaited is opened up.
            let leaf = |ty: &&str| field.kind != FieldKind::Awaited || ty.starts_with("{async");
            let ty = field.type_name.as_deref().filter(leaf);
            let (from, at) = (spans.len(), base + field.offset..base + field.offset + field.size);
            self.types.expand(bytes, at, ty, &label, &label, spans);
            if field.kind == FieldKind::Argument && variant.name != "Unresumed" {
                spans[from..].iter_mut().for_each(|span| span.name += " (argument)");
            }
        }
        Ok(self.tag.is_some().then(|| variant.name.clone()))
    }
}

impl Types {
    /// Names the parts of what lies at `at` as far as the compiler told of its type. All are parts of `field`, unless
    /// they are fields of an `async fn`'s future inside it.
    fn expand(
        self: &Arc<Self>,
        bytes: &[u8],
        at: Range<usize>,
        ty: Option<&str>,
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
        let Some(ty) = ty else {
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
        let layout = self.layout_of(ty, at.len());
        let Some(layout) = layout.filter(|layout| layout.variants.iter().any(|variant| !variant.fields.is_empty())) else {
            return spans.push(whole);
        };
        if layout.tag.is_some() {
            let from = spans.len();
            if layout.add_spans(bytes, at.start, label, spans).is_err() {
                spans.truncate(from);
                spans.push(whole);
            }
            return;
        }
        for part in layout.variants.iter().flat_map(|variant| &variant.fields).filter(|part| part.size > 0) {
            let at = at.start + part.offset..at.start + part.offset + part.size;
            // The layers between a `String` and its three words have names that only std's authors need.
            match std_layer(ty, &part.name) {
                Some(inner) => self.expand(bytes, at, Some(&inner), field, label, spans),
                None => {
                    let label = format!("{label}.{}", part.name);
                    self.expand(bytes, at, part.type_name.as_deref(), field, &label, spans);
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
