//! What the compiler made of an `async fn`: its states, and what each of them keeps, where.
//!
//! ```text
//! async fn ──▶ rustc ──▶ Unresumed  ┌ s ──────┐
//!                        Suspend0   │ s       │ val ────┬ val_ref ┬ await ┬ state
//!                        Returned   └         ┘                                    live bytes + state byte = names
//! ```
//!
//! Invariants:
//! 1. What is shown is what was named: the whole path, and the size that the caller's compiler gave it (`Asked`). Where the compiler's answer
//!    could be about several items, or about another, there is no answer but why.
//! 2. The state byte is the first one that no state uses for anything else. rustc lays it out that way (what all states
//!    share comes first, larger alignments before smaller); a test compares it with `mem::discriminant`.

use super::{asked::Asked, names::future_name, site::Site, types::Types};
use crate::probe::{
    WIDEST,
    body::Body,
    xray::{offset_label, offset_width},
};
use std::{fmt, ops::Range, path::PathBuf, sync::Arc};

/// The compiler's layout of one type: of an `async fn`'s future ([`lowered!`](crate::lowered!)) or of a struct
/// ([`layout_of!`](crate::layout_of!)).
#[derive(Clone)]
pub struct Lowered {
    pub(crate) name: String,
    /// The compiler's name, with the whole path.
    pub(super) key: String,
    pub(crate) size: usize,
    pub(crate) align: usize,
    pub(crate) tag: Option<Range<usize>>,
    pub(crate) variants: Vec<Variant>,
    /// Its source, and where each state waits in it; of an `async fn`.
    pub(crate) body: Option<Arc<Body>>,
    pub(super) types: Arc<Types>,
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
    /// `rustc` said nothing about it.
    Missing(String),
    /// It has type parameters: it has a layout for each choice of them.
    Generic(String),
    /// It is a function that returns a future, and not an `async fn`: the future's type is another's.
    NotAsync(String),
    /// It is in another crate, whose source is not compiled again.
    Elsewhere(String),
    /// It is an enum or a union: which of its fields are alive is not to be seen from outside.
    NoStruct(String),
    /// Several items have this path (in several blocks of one function) and this size.
    Ambiguous(String),
    /// What `rustc` gives for this path is not the size of what is running: the source has changed since, or it is another item.
    OtherSize {
        /// What was asked about.
        name: String,
        /// Bytes of the value in this program.
        live: usize,
        /// Bytes by the layout.
        printed: usize,
    },
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
            Self::Generic(name) => write!(
                f,
                "`{name}` has type parameters, and the compiler prints layouts only of what has none. Write an `async fn` without them \
                 that awaits it, and ask for that one: the future it awaits is in there."
            ),
            Self::NotAsync(name) => write!(
                f,
                "`{name}` is not an `async fn` but a function that returns a future of another type: that one has the layout."
            ),
            Self::Elsewhere(name) => write!(
                f,
                "`{name}` is in another crate. The compiler prints layouts for the source at hand only: in a notebook, this cell and the \
                 earlier ones."
            ),
            Self::NoStruct(name) => write!(
                f,
                "`{name}` is not a struct but an enum or a union: which of its fields are alive cannot be told from its layout."
            ),
            Self::Ambiguous(name) => write!(
                f,
                "`{name}` could be one of several items with the same path and size, in blocks of one function: the compiler does not \
                 tell them apart by name. Give it a name of its own."
            ),
            Self::OtherSize { name, live, printed } => write!(
                f,
                "what the compiler prints for `{name}` has {printed} bytes, but the one in this program has {live}: it is not the same. \
                 Was the function compiled in an earlier cell, or is there another item of this name in a block?"
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
            // rustc has `.coroutine_field2` for what has no name.
            _ if self.name.contains("coroutine_field") => "(temporary)".into(),
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

    /// Asks the compiler for a layout, in the source at `site`.
    ///
    /// # Errors
    /// When the source or the compiler is not to be had, or there is no answer that is surely about this item.
    #[doc(hidden)]
    pub fn ask(site: &Site, asked: &Asked) -> Result<Self, LoweredError> {
        if asked.is_function && asked.future.strip_prefix(asked.name) != Some("::{{closure}}") {
            return Err(LoweredError::NotAsync(asked.spelled.to_owned()));
        }
        Types::ask(site)?.find(asked, site)
    }

    /// The same for the macros, which have nobody to hand an error to.
    ///
    /// # Panics
    /// With the error, in words.
    #[doc(hidden)]
    #[track_caller]
    pub fn ask_or_explain(site: &Site, asked: &Asked) -> Self {
        // Not a closure: the panic should point at the reader's line.
        match Self::ask(site, asked) {
            Ok(lowered) => lowered,
            Err(error) => panic!("{error}"),
        }
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
        let state = self.variants.iter().map(|variant| variant.name.len()).max().unwrap_or(0).min(WIDEST);
        let widest = fields().map(|field| field.label().chars().count()).max().unwrap_or(0).min(WIDEST);
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
/// A method is named with its type (`lowered!(Client::get)`), that of a trait with both (`lowered!(<Client as Fetch>::get)`).
///
/// # Panics
/// When `rustc` is not to be found, or does not accept the source by itself; and when its answer is not surely about this very function: it
/// has type parameters, is in another crate, or shares path and size with one in another block. With an explanation.
#[macro_export]
macro_rules! lowered {
    ($(#[$meta:meta])* $visibility:vis async fn $name:ident $($rest:tt)*) => {{
        #[allow(dead_code)]
        $(#[$meta])* $visibility async fn $name $($rest)*
        $crate::lowered!($name)
    }};
    ($function:expr) => {
        $crate::probe::Lowered::ask_or_explain(
            &$crate::__site!(),
            &$crate::probe::hidden::ask_function(&$function, ::std::stringify!($function)),
        )
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
/// As [`lowered!`](crate::lowered!) does, and for an enum or a union: which of its fields are alive cannot be told from its layout.
#[macro_export]
macro_rules! layout_of {
    ($what:ty) => {{
        // So that the compiler looks at its layout when it is asked again.
        const _: usize = ::std::mem::size_of::<$what>();
        $crate::probe::Lowered::ask_or_explain(
            &$crate::__site!(),
            &$crate::probe::hidden::ask_type::<$what>(::std::stringify!($what)),
        )
    }};
}
