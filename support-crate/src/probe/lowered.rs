//! What the compiler made of an `async fn`: its states, and what each of them keeps, where.
//!
//! ```text
//! async fn ──▶ rustc ──▶ Unresumed  ┌ s ──────┐
//!                        Suspend0   │ s       │ val ────┬ val_ref ┬ await ┬ state
//!                        Returned   └         ┘                                    live bytes + state byte = names
//! ```
//!
//! Invariants:
//! 1. A layout is applied to a value only if size and alignment agree and the state byte names a state that exists.
//! 2. The state byte is the first one that no state uses for anything else. rustc lays it out that way (what all states
//!    share comes first, larger alignments before smaller); a test compares it with `mem::discriminant`.
//! 3. The numbers of the states are rustc's: 0 unresumed, 1 returned, 2 panicked, 3 the first `.await`.

use super::{
    body::Body,
    layout,
    rustc::{Site, Types},
    xray::{offset_label, offset_width, short_name},
};
use crate::show;
use std::{fmt, ops::Range, path::PathBuf, sync::Arc};

/// The compiler's layout of one type: of an `async fn`'s future ([`lowered!`](crate::lowered!)) or of a struct
/// ([`layout_of!`](crate::layout_of!)).
#[derive(Clone)]
pub struct Lowered {
    pub(crate) name: String,
    pub(crate) size: usize,
    pub(crate) align: usize,
    pub(crate) tag: Option<Range<usize>>,
    pub(crate) variants: Vec<Variant>,
    /// Its source, and where each state waits in it; of an `async fn`.
    pub(crate) body: Option<Arc<Body>>,
    pub(crate) types: Arc<Types>,
}

/// One state of a state machine. A struct has a single one, without a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    pub(crate) name: String,
    pub(crate) fields: Vec<Field>,
}

/// Something that a state keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    pub(crate) name: String,
    pub(crate) kind: FieldKind,
    pub(crate) offset: usize,
    pub(crate) size: usize,
    pub(crate) type_name: Option<String>,
}

/// What a [`Field`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FieldKind {
    /// An argument, as it was passed. The compiler reserves its room in every state, though the body takes it out at the first poll.
    Argument,
    /// A local variable that lives across an `.await`, or a temporary that does.
    Local,
    /// The future that is being awaited.
    Awaited,
    /// A field of a struct.
    Field,
}

/// Why there is no layout.
#[derive(Debug)]
#[non_exhaustive]
pub enum LoweredError {
    /// The source that the caller was compiled from could not be read.
    Source(PathBuf, std::io::Error),
    /// `rustc` could not be started.
    Rustc(PathBuf, std::io::Error),
    /// `rustc` did not accept the source by itself: what it said.
    Rejected(String),
    /// `rustc` said nothing about a type of this name.
    Missing(String),
}

impl fmt::Display for LoweredError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(path, error) => write!(f, "the source of this code is not to be read at {}: {error}", path.display()),
            Self::Rustc(path, error) => write!(
                f,
                "the compiler could not be started ({}: {error}). Put `rustc` on the PATH, or its path into the variable RUSTC.",
                path.display()
            ),
            Self::Rejected(said) => write!(f, "the compiler did not accept this source a second time. It said:\n{said}"),
            Self::Missing(name) => write!(
                f,
                "the compiler gave no layout for `{name}`. It can for an `async fn` or a struct that is written out in this notebook \
                 (in this cell or an earlier one) and has no type parameters."
            ),
        }
    }
}

impl std::error::Error for LoweredError {}

impl Field {
    /// Its name in the source; `__awaitee` for the future that is being awaited.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is.
    pub fn kind(&self) -> FieldKind {
        self.kind
    }

    /// Bytes from the start of the value.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Bytes that it takes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Its type, where the compiler names it.
    pub fn type_name(&self) -> Option<&str> {
        self.type_name.as_deref()
    }

    /// What to call it in a picture.
    pub(crate) fn label(&self) -> String {
        match (self.kind, &self.type_name) {
            (FieldKind::Awaited, Some(what)) => format!("await {}", future_name(what)),
            (FieldKind::Awaited, None) => "await".into(),
            _ if self.name.starts_with("coroutine_field") => "(temporary)".into(),
            _ => self.name.clone(),
        }
    }
}

impl Variant {
    /// `Unresumed` before the first poll, `Suspend0` and so on at each `.await`, `Returned`, `Panicked`; empty for a struct.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is kept, by offset.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Whether nothing is alive in it any more. (The compiler lists the room of the arguments even here.)
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.name.as_str(), "Returned" | "Panicked")
    }

    /// The field of that name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

impl Lowered {
    /// The name of the function or type.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes in a value.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Its alignment in bytes.
    pub fn align(&self) -> usize {
        self.align
    }

    /// The states, in the order in which the code runs through them.
    pub fn variants(&self) -> &[Variant] {
        &self.variants
    }

    /// The state of that name.
    pub fn variant(&self, name: &str) -> Option<&Variant> {
        self.variants.iter().find(|variant| variant.name == name)
    }

    /// Whether a local of that name is kept across any `.await`.
    pub fn saves(&self, local: &str) -> bool {
        self.variants.iter().any(|v| v.fields.iter().any(|field| field.kind == FieldKind::Local && field.name == local))
    }

    /// Asks the compiler for the layout of `name`, in the source at `site`.
    ///
    /// # Errors
    /// When the source or the compiler is not to be had, or the compiler knows no such type.
    #[doc(hidden)]
    pub fn ask(site: &Site, name: &str) -> Result<Self, LoweredError> {
        let types = Arc::new(Types::ask(site)?);
        types.lowered(name).ok_or_else(|| LoweredError::Missing(name.to_owned()))
    }

    /// The same for the macros, which have nobody to hand an error to.
    ///
    /// # Panics
    /// With the error, in words.
    #[doc(hidden)]
    #[track_caller]
    pub fn ask_or_explain(site: &Site, name: &str) -> Self {
        // Not a closure: the panic should point at the reader's line.
        match Self::ask(site, name) {
            Ok(lowered) => lowered,
            Err(error) => panic!("{error}"),
        }
    }

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

    /// Shows the layout in a notebook: a column for each state, with the same in text beside it.
    pub fn evcxr_display(&self) {
        self.figure().evcxr_display();
    }

    /// The picture with all that is known about it.
    pub fn figure(&self) -> show::Figure {
        layout::figure(self)
    }

    /// The picture.
    pub fn svg(&self) -> String {
        layout::draw(self)
    }
}

/// Up to eight bytes as a number, in this machine's byte order.
fn number(bytes: &[u8]) -> u64 {
    let join = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
    if cfg!(target_endian = "little") { bytes.iter().rev().fold(0, join) } else { bytes.iter().fold(0, join) }
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

/// `{async fn body of demo::process_data()}` is `process_data`; other types lose their paths.
pub(crate) fn future_name(ty: &str) -> String {
    let function = ty.strip_prefix("{async fn body of ").and_then(|rest| rest.strip_suffix("()}"));
    match function {
        Some(path) => path.rsplit("::").next().unwrap_or(path).to_owned(),
        None if ty.starts_with("{async block@") => "an async block".into(),
        None => short_name(ty),
    }
}

impl fmt::Debug for Lowered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Lowered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} bytes, aligned to {}", self.name, self.size, self.align)?;
        if let Some(tag) = &self.tag {
            write!(f, ", the state at +{:#04x}", tag.start)?;
        }
        let fields = || self.variants.iter().flat_map(|variant| &variant.fields);
        let state = self.variants.iter().map(|variant| variant.name.len()).max().unwrap_or(0);
        let widest = fields().map(|field| field.label().chars().count()).max().unwrap_or(0);
        let digits = offset_width(self.size);
        for variant in &self.variants {
            let mut name = variant.name.as_str();
            if variant.fields.is_empty() || variant.is_over() {
                write!(f, "\n  {name:<state$}  nothing is kept")?;
                continue;
            }
            for field in &variant.fields {
                let ty = field.type_name.as_deref().map(future_name).unwrap_or_default();
                let what = match field.kind {
                    FieldKind::Argument if ty.is_empty() => "argument".to_owned(),
                    FieldKind::Argument => format!("argument, {ty}"),
                    FieldKind::Awaited => String::new(),
                    FieldKind::Local | FieldKind::Field => ty,
                };
                let bytes = if field.size == 1 { "byte " } else { "bytes" };
                let (offset, size, label) = (field.offset, field.size, field.label());
                let line =
                    format!("  {name:<state$}  {:<digits$}  {size:>5} {bytes}  {label:<widest$}  {what}", offset_label(offset));
                write!(f, "\n{}", line.trim_end())?;
                name = "";
            }
        }
        Ok(())
    }
}

/// The compiler's own state machine of an `async fn`: its states, what each keeps, and where.
///
/// Name an `async fn` that is written out in this source file (in a notebook: in this cell or an earlier one), or write
/// one between the braces to look at it only.
///
/// ```no_run
/// use std::time::Duration;
/// async fn sleeping(beauty: u8) -> u8 {
///     std::future::ready(Duration::ZERO).await;
///     beauty
/// }
/// let layout = pinlab::lowered!(sleeping);
/// println!("{layout}");
///
/// let other = pinlab::lowered! {
///     async fn holds_a_buffer() {
///         let buffer = [0u8; 100];
///         std::future::ready(()).await;
///         println!("{buffer:?}");
///     }
/// };
/// assert!(other.saves("buffer"));
/// ```
///
/// # Panics
/// When `rustc` is not to be found, or does not accept the source by itself, or the function has type parameters: with an explanation.
#[macro_export]
macro_rules! lowered {
    ($($name:ident)::+) => {{
        let _ = $($name)::+;
        $crate::lowered!(@ask [$($name)::+] $($name)::+)
    }};
    ($(#[$meta:meta])* $visibility:vis async fn $name:ident $($rest:tt)*) => {{
        #[allow(dead_code)]
        $(#[$meta])* $visibility async fn $name $($rest)*
        $crate::lowered!(@ask [$name] $name)
    }};
    (@ask [$($name:ident)::+] $last:ident) => {
        $crate::probe::Lowered::ask_or_explain(&$crate::__site!(), ::std::stringify!($last))
    };
    (@ask [$($name:ident)::+] $first:ident :: $($rest:tt)+) => {
        $crate::lowered!(@ask [$($name)::+] $($rest)+)
    };
}

/// The compiler's layout of a struct that is written out in this source file (in a notebook: in this cell or an earlier one).
///
/// ```no_run
/// struct Tangled {
///     text: String,
///     text_ptr: *const String,
/// }
/// println!("{}", pinlab::layout_of!(Tangled));
/// ```
///
/// # Panics
/// As [`lowered!`](crate::lowered!) does.
#[macro_export]
macro_rules! layout_of {
    ($what:ty) => {{
        const _: usize = ::std::mem::size_of::<$what>();
        $crate::probe::Lowered::ask_or_explain(&$crate::__site!(), ::std::stringify!($what))
    }};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __site {
    () => {
        $crate::probe::hidden::Site {
            manifest: ::std::option_env!("CARGO_MANIFEST_DIR"),
            file: ::std::file!(),
            debug_assertions: ::std::cfg!(debug_assertions),
            test: ::std::cfg!(test),
            line: ::std::line!(),
        }
    };
}
