//! The bytes of a live value, word by word, and what each word seems to be.
//!
//! ```text
//! offset   bytes              name       meaning
//! +0x10    0000000000000005   val.cap    5
//! +0x18    0000563300ecda20   val.ptr    → heap "Hello"
//! +0x28    00007fff5a62f050   val_ref    → itself +0x10        a self-pointer: it will not follow a move
//! +0x30    ··············03   state      Suspend0              dots: bytes that are not in use
//! ```
//!
//! Invariants:
//! 1. An X-ray is a copy. It stays what it was when the value changes, moves or dies.
//! 2. A word is called a pointer because its value is an address inside a mapping. The bytes do not say whether it was
//!    meant as one. Only a name that the compiler gave, or a reader who knows, can.
//! 3. Text that a pointer leads to is shown only after the operating system has read it without a fault, and only as
//!    far as a length in a neighbouring word says.

mod diff;
mod header;
mod names;
mod rows;
mod word;

pub use diff::{Change, Diff};
pub(crate) use header::Header;
pub(crate) use names::{offset_label, offset_width, short_name};
pub(crate) use rows::Row;
pub use word::{Meaning, Word};

use super::{
    Lowered, Strips,
    address::Address,
    map::{Map, Region},
    memory,
    rustc::Span,
};
use header::{as_text, text_at};
use std::{collections::BTreeMap, fmt, sync::Arc};

/// Bytes in a word.
pub(crate) const WORD: usize = size_of::<usize>();

/// Below this nothing is taken for an address: no system puts a value there.
const NO_ADDRESS: usize = 1 << 20;

/// A copy of a value's bytes, with what can be told about each word.
///
/// In a notebook it shows itself as a memory strip; printed with `{}` it says the same in text.
#[derive(Clone)]
pub struct XRay {
    pub(crate) what: String,
    pub(crate) title: Option<String>,
    pub(crate) address: Address,
    align: usize,
    bytes: Vec<u8>,
    map: Arc<Map>,
    /// What the compiler calls these bytes; empty when nobody asked it.
    spans: Vec<Span>,
    pub(crate) state: Option<String>,
    pub(crate) warning: Option<String>,
    /// Whether nobody lives here: the bytes are what the last tenant left.
    pub(crate) vacant: bool,
    /// Text that pointers lead to, by the offset of the pointer.
    texts: BTreeMap<usize, String>,
}

impl XRay {
    /// Copies the bytes of a value: any value, of any size, padding included.
    ///
    /// The copy is of this moment, and made from outside, as a debugger's is: no rule of the language says what it must be where somebody may write at the
    /// same time. A value that another thread changes meanwhile, or what a lock or a `RefCell` has lent out exclusively, is shown as it was, as it is, or half-way.
    ///
    /// # Panics
    /// On processors for which there is no assembly load (all but x86-64 and AArch64), when the process has no descriptor left.
    pub fn of<T: ?Sized>(value: &T) -> Self {
        // SAFETY: invariant 1 of `memory`: a reference vouches for `size_of_val` allocated bytes for as long as it lives.
        unsafe { Self::of_bytes(std::ptr::from_ref(value).cast(), size_of_val(value), align_of_val(value), type_name(value)) }
    }

    /// Copies the bytes of a value and labels them with the names that the compiler has for them.
    ///
    /// A layout that does not fit the value (another size, another alignment, a state that does not exist) is not
    /// used: the picture says so and shows the words without names.
    ///
    /// ```no_run
    /// # use pinlab::probe::XRay;
    /// async fn greet() {
    ///     let text = String::from("Hello");
    ///     let text_ref = &text;
    ///     std::future::ready(()).await;
    ///     println!("{text_ref}");
    /// }
    /// let layout = pinlab::lowered!(greet);
    /// let future = greet();
    /// println!("{}", XRay::named(&future, &layout));
    /// ```
    pub fn named<T: ?Sized>(value: &T, layout: &Lowered) -> Self {
        Self::of(value).with_names(layout)
    }

    /// Copies the bytes at a place that need not hold a value: one that was moved out of, for example.
    ///
    /// # Safety
    /// The memory must still be allocated: `size_of::<T>()` bytes from `place` on (invariant 1 of `memory`).
    pub unsafe fn of_place<T>(place: *const T) -> Self {
        // SAFETY: caller: it vouches for the place.
        unsafe { Self::of_bytes(place.cast(), size_of::<T>(), align_of::<T>(), short_name(std::any::type_name::<T>())) }
    }

    /// # Safety
    /// `len` bytes from `from` on must be allocated (invariant 1 of `memory`).
    pub(crate) unsafe fn of_bytes(from: *const u8, len: usize, align: usize, what: String) -> Self {
        let map = Arc::new(Map::now());
        let mut xray = Self {
            what,
            title: None,
            address: Address::in_map(from.addr(), &map),
            align,
            // SAFETY: caller: it vouches for the bytes.
            bytes: unsafe { memory::snapshot(from, len) },
            map,
            spans: Vec::new(),
            state: None,
            warning: None,
            vacant: false,
            texts: BTreeMap::new(),
        };
        xray.find_texts();
        xray
    }

    /// The same X-ray with the compiler's names; see [`named`](XRay::named).
    pub fn with_names(mut self, layout: &Lowered) -> Self {
        match layout.spans_of(&self.bytes, self.align) {
            Ok((spans, state)) => {
                self.spans = spans;
                self.state = state;
                self.what = layout.name().to_owned();
            }
            Err(why) => self.warning = Some(why),
        }
        self
    }

    /// The same X-ray under a title of your own, such as `"slot A"`.
    pub fn titled(mut self, title: impl Into<String>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// Several strips side by side, each under its label, with an arrow for every pointer that leads from one into
    /// itself or into another. Where two strips show the same place, the later one is what is there now.
    pub fn beside(strips: &[(&str, &XRay)]) -> Strips {
        Strips::new(strips)
    }

    /// Where the value was.
    pub fn address(&self) -> Address {
        self.address
    }

    /// How many bytes it has.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes themselves, in the order of their addresses.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The state that a state machine was in, by the compiler's name; `None` without a fitting layout.
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// Whether it is of a slot without a tenant: the bytes are what the last one left, and no value.
    pub fn is_vacant(&self) -> bool {
        self.vacant
    }

    /// As an X-ray of a place without a tenant.
    pub(crate) fn vacated(mut self) -> Self {
        self.vacant = true;
        self
    }

    /// Why the layout was not used; `None` when it was, or when there was none.
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    /// Text that pointers lead to: the pointer's offset, the address in it, the text.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (usize, usize, &str)> + '_ {
        self.texts.iter().filter_map(|(at, text)| Some((*at, self.pointer_at(*at)?, text.as_str())))
    }

    /// Every word, from the first to the last.
    pub fn words(&self) -> impl Iterator<Item = Word> + '_ {
        (0..self.bytes.len()).step_by(WORD).map(|offset| self.word(offset))
    }

    /// The word that holds the byte at `address`, if the value reaches so far.
    pub fn at(&self, address: Address) -> Option<Word> {
        let offset = address.usize().checked_sub(self.address.usize())?;
        (offset < self.bytes.len()).then(|| self.word(offset / WORD * WORD))
    }

    /// The words that point into the value itself: those that a move leaves behind.
    pub fn self_pointers(&self) -> Vec<Word> {
        self.points_into(self)
    }

    /// The words that point into the place where `other` was.
    pub fn points_into(&self, other: &XRay) -> Vec<Word> {
        self.pointers().filter(|&(_, value)| other.covers(value)).map(|(offset, _)| self.word(offset)).collect()
    }

    /// What changed between two X-rays, word by word. A word that only one of them has counts as changed.
    pub fn diff(&self, other: &XRay) -> Diff {
        let longer = self.bytes.len().max(other.bytes.len());
        let other_names = self.spans != other.spans;
        let changes = (0..longer)
            .step_by(WORD)
            .filter(|&offset| other_names || self.raw(offset) != other.raw(offset))
            .map(|offset| {
                let word = |xray: &XRay| (offset < xray.bytes.len()).then(|| xray.word(offset));
                Change { offset, before: word(self), after: word(other) }
            })
            .filter(|change| {
                change.before.as_ref().map(|w| (w.hex(), w.name())) != change.after.as_ref().map(|w| (w.hex(), w.name()))
            })
            .collect();
        Diff { words: longer.div_ceil(WORD), changes }
    }

    /// The words that may look otherwise than in `other`: to make one takes much longer than to compare its bytes.
    pub(crate) fn may_differ(&self, other: &XRay) -> impl Iterator<Item = Word> {
        let other_names = self.spans != other.spans;
        let offsets = (0..self.bytes.len()).step_by(WORD);
        offsets.filter(move |&offset| other_names || self.raw(offset) != other.raw(offset)).map(|offset| self.word(offset))
    }

    /// Whether `address` is that of one of the value's bytes.
    pub(crate) fn covers(&self, address: usize) -> bool {
        address.wrapping_sub(self.address.usize()) < self.bytes.len()
    }

    /// Every word that could be a pointer, with its offset.
    pub(crate) fn pointers(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let offsets = (0..self.bytes.len()).step_by(WORD);
        offsets.filter_map(|offset| Some((offset, self.pointer_at(offset)?)))
    }

    /// The word at `offset`, if it could be a pointer: long enough, large enough, and in use.
    pub(crate) fn pointer_at(&self, offset: usize) -> Option<usize> {
        let value = self.value(offset)?;
        (value >= NO_ADDRESS && self.in_use(offset, WORD)).then_some(value)
    }

    /// The span that the byte at `offset` belongs to.
    pub(crate) fn span_at(&self, offset: usize) -> Option<&Span> {
        self.spans.iter().find(|span| span.covers(offset))
    }

    /// The offsets of the field that the byte at `offset` is part of (`val` for `val.cap`); without a layout, its word.
    pub(crate) fn field_at(&self, offset: usize) -> std::ops::Range<usize> {
        let Some(hit) = self.span_at(offset) else {
            return offset / WORD * WORD..offset / WORD * WORD + 1;
        };
        let of_field = || self.spans.iter().filter(|span| span.field == hit.field);
        of_field().map(|s| s.offset).min().unwrap_or(0)..of_field().map(|s| s.offset + s.size).max().unwrap_or(0)
    }

    fn value(&self, offset: usize) -> Option<usize> {
        let word = self.bytes.get(offset..)?.first_chunk::<WORD>()?;
        Some(usize::from_ne_bytes(*word))
    }

    /// The bytes of the word at `offset`, in use or not; none beyond the end.
    fn raw(&self, offset: usize) -> &[u8] {
        self.bytes.get(offset..).map_or(&[], |rest| &rest[..WORD.min(rest.len())])
    }

    fn in_use(&self, offset: usize, len: usize) -> bool {
        let mut at = offset;
        while at < offset + len && !self.spans.is_empty() {
            let Some(span) = self.span_at(at) else {
                return false;
            };
            at = span.offset + span.size;
        }
        true
    }

    pub(crate) fn word(&self, offset: usize) -> Word {
        let len = WORD.min(self.bytes.len() - offset);
        let mut padded = [0; WORD];
        let mut used = [false; WORD];
        for (i, byte) in self.bytes[offset..offset + len].iter().enumerate() {
            used[i] = self.in_use(offset + i, 1);
            if used[i] {
                padded[i] = *byte;
            }
        }
        let mut shown: Vec<String> = (0..len).map(|i| if used[i] { format!("{:02x}", padded[i]) } else { "··".into() }).collect();
        if cfg!(target_endian = "little") {
            shown.reverse();
        }
        let mut names: Vec<&Span> =
            self.spans.iter().filter(|span| span.offset < offset + len && span.offset + span.size > offset).collect();
        names.sort_by_key(|span| span.offset);
        Word {
            offset,
            len,
            value: usize::from_ne_bytes(padded),
            name: names.iter().map(|span| span.name.as_str()).collect::<Vec<_>>().join(", "),
            meaning: self.meaning(offset, &padded[..len], &used[..len]),
            shown: shown.concat(),
        }
    }

    fn meaning(&self, offset: usize, bytes: &[u8], used: &[bool]) -> Meaning {
        let names_state = |byte: usize| self.span_at(byte).is_some_and(|span| span.is_state);
        if let Some(state) = &self.state
            && (offset..offset + bytes.len()).any(names_state)
        {
            return Meaning::State(state.clone());
        }
        let live: Vec<u8> = bytes.iter().zip(used).filter(|(_, used)| **used).map(|(byte, _)| *byte).collect();
        let value = match (live.as_slice(), <[u8; WORD]>::try_from(live.as_slice())) {
            ([], _) => return Meaning::Unused,
            ([only], _) => return Meaning::Number(usize::from(*only)),
            (_, Ok(word)) => usize::from_ne_bytes(word),
            (part, Err(_)) => return as_text(part).map_or(Meaning::Bytes, Meaning::Text),
        };
        if value < NO_ADDRESS {
            return Meaning::Number(value);
        }
        if self.covers(value) {
            return Meaning::Itself { offset: value - self.address.usize() };
        }
        match self.map.region(value) {
            Region::Unknown => as_text(bytes).map_or(Meaning::Bytes, Meaning::Text),
            region => Meaning::Elsewhere { region, text: self.texts.get(&offset).cloned() },
        }
    }

    /// Looks for a pointer with a length beside it, in the order in which this std lays out a `&str` and a `String`.
    fn find_texts(&mut self) {
        const SCANNED: usize = 4096;
        let words: Vec<usize> = (0..self.bytes.len().min(SCANNED)).step_by(WORD).map_while(|o| self.value(o)).collect();
        let mut texts = BTreeMap::new();
        for header in [Header::of_string(), Header::of_str()] {
            for (start, header_words) in words.windows(header.words).enumerate() {
                let (pointer, len) = (header_words[header.ptr], header_words[header.len]);
                let room = header.cap.map_or(len, |cap| header_words[cap]);
                if len == 0 || len > room || room > isize::MAX as usize || pointer < 1 << 20 || self.covers(pointer) {
                    continue;
                }
                if matches!(self.map.region(pointer), Region::Unknown) {
                    continue;
                }
                if let Some(text) = text_at(pointer, len) {
                    texts.entry((start + header.ptr) * WORD).or_insert(text);
                }
            }
        }
        self.texts = texts;
    }

    /// The strip as a picture, with all that is known about it.
    pub fn figure(&self) -> crate::show::Figure {
        Strips::new(&[("", self)]).figure()
    }

    /// Shows the strip in a notebook. The kernel calls it when the X-ray is the last expression of a cell.
    pub fn evcxr_display(&self) {
        self.figure().evcxr_display();
    }
}

impl fmt::Debug for XRay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.headline(&self.address.to_string()))
    }
}

impl fmt::Display for XRay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Strips::new(&[("", self)]).fmt(f)
    }
}

fn type_name<T: ?Sized>(value: &T) -> String {
    short_name(std::any::type_name_of_val(value))
}
