//! One word of an X-ray, and what it seems to be.

use super::super::map::Region;

/// One word of an [`XRay`](super::XRay). The last may be shorter than a pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    pub(super) offset: usize,
    pub(super) len: usize,
    pub(super) value: usize,
    pub(super) name: String,
    pub(super) meaning: Meaning,
    pub(super) shown: String,
}

/// What a word seems to be. For pointers see invariant 2 of the module: a word is not labelled by what it was meant as.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Meaning {
    /// The compiler says that no live field lies here: padding, or room for another state.
    Unused,
    /// The state of a state machine, by the compiler's name.
    State(String),
    /// A number too small for an address.
    Number(usize),
    /// Printable ASCII.
    Text(String),
    /// The address of a byte of this very value, `offset` bytes from its start.
    Itself {
        /// How far from the start of the value.
        offset: usize,
    },
    /// An address in mapped memory outside this value.
    Elsewhere {
        /// What the memory there is for.
        region: Region,
        /// The text there, when a length stands beside the pointer.
        text: Option<String>,
    },
    /// Nothing of these.
    Bytes,
}

impl Word {
    /// Bytes from the start of the value.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// The bytes as an integer, in this machine's byte order.
    pub fn value(&self) -> usize {
        self.value
    }

    /// How many bytes it has: those of a pointer, or fewer at the end of a value.
    pub fn size(&self) -> usize {
        self.len
    }

    /// The compiler's name for it, such as `val.ptr`; empty without a layout.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it seems to be.
    pub fn meaning(&self) -> &Meaning {
        &self.meaning
    }

    /// The bytes as digits, the most significant first; a dot pair for a byte that is not in use.
    pub fn hex(&self) -> &str {
        &self.shown
    }

    /// The meaning in words, such as `→ itself +0x10`.
    pub(crate) fn says(&self, itself: &str) -> String {
        match &self.meaning {
            Meaning::Unused => "not in use".into(),
            Meaning::State(state) => state.clone(),
            Meaning::Number(n) => n.to_string(),
            Meaning::Text(text) => format!("{text:?}"),
            Meaning::Itself { offset } => format!("→ {itself} +{offset:#04x}"),
            Meaning::Elsewhere { region, text: Some(text) } => format!("→ {region} {text:?}"),
            Meaning::Elsewhere { region, text: None } => format!("→ {region}"),
            Meaning::Bytes => String::new(),
        }
    }
}
