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

use super::{
    Lowered, Strips,
    address::{Address, Region},
    lowered::Span,
    memory::{self, Map},
};
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
    /// Text that pointers lead to, by the offset of the pointer.
    texts: BTreeMap<usize, String>,
}

/// One word of an [`XRay`]. The last may be shorter than a pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    offset: usize,
    len: usize,
    value: usize,
    name: String,
    meaning: Meaning,
    shown: String,
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

impl XRay {
    /// Copies the bytes of a value: any value, of any size, padding included.
    ///
    /// The copy is of this moment. A value that another thread changes meanwhile (through an atomic, say) may be
    /// caught half-way.
    pub fn of<T: ?Sized>(value: &T) -> Self {
        // SAFETY: a reference vouches for `size_of_val` allocated bytes for as long as it lives.
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
    /// The memory must still be allocated: `size_of::<T>()` bytes from `place` on.
    pub unsafe fn of_place<T>(place: *const T) -> Self {
        // SAFETY: the caller vouches for the place.
        unsafe { Self::of_bytes(place.cast(), size_of::<T>(), align_of::<T>(), short_name(std::any::type_name::<T>())) }
    }

    /// # Safety
    /// `len` bytes from `from` on must be allocated.
    pub(crate) unsafe fn of_bytes(from: *const u8, len: usize, align: usize, what: String) -> Self {
        let map = Arc::new(Map::now());
        let mut xray = Self {
            what,
            title: None,
            address: Address::in_map(from.addr(), &map),
            align,
            // SAFETY: the caller vouches for the bytes.
            bytes: unsafe { memory::snapshot(from, len) },
            map,
            spans: Vec::new(),
            state: None,
            warning: None,
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

    /// Why the layout was not used; `None` when it was, or when there was none.
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
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
        let changes = (0..longer)
            .step_by(WORD)
            .filter(|&offset| self.spans != other.spans || self.raw(offset) != other.raw(offset))
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

    /// The rows worth showing: all of them, or the ends and whatever points somewhere, with the rest counted.
    pub(crate) fn rows(&self) -> Vec<Row> {
        const MOST: usize = 24;
        let count = self.bytes.len().div_ceil(WORD);
        let mut keep = vec![count <= MOST; count];
        if count > MOST {
            for (i, keep) in keep.iter_mut().enumerate() {
                *keep = i < 6 || i + 4 >= count;
            }
            for word in self.self_pointers().iter().take(8) {
                keep[word.offset / WORD] = true;
            }
            // The first word of each named field, as far as they fit.
            let named: Vec<usize> = self.spans.iter().map(|span| span.offset / WORD).take(MOST).collect();
            for i in named {
                keep[i] = true;
            }
        }
        let mut rows = Vec::new();
        let mut i = 0;
        while i < count {
            let end = if keep[i] { i } else { (i..count).find(|&j| keep[j]).unwrap_or(count) };
            match end - i {
                0 | 1 => {
                    rows.push(Row::Word(self.word(i * WORD)));
                    i += 1;
                }
                skipped => {
                    // The same as the word above the gap, which is shown; and all part of one field.
                    let same = i > 0 && (i..end).all(|j| self.raw(j * WORD) == self.raw((i - 1) * WORD));
                    let field = |j: usize| self.span_at(j * WORD).map(|span| span.field.as_str());
                    let name = field(i).filter(|name| (i..end).all(|j| field(j) == Some(name)));
                    let name = name.unwrap_or_default().to_owned();
                    let unused = (i..end).all(|j| self.word(j * WORD).meaning == Meaning::Unused);
                    rows.push(Row::Gap { words: skipped, same: same && !unused, unused, name });
                    i = end;
                }
            }
        }
        rows
    }

    /// What it is, how large, where (`place`) and in which state.
    pub(crate) fn headline(&self, place: &str) -> String {
        let title = self.title.as_deref().map(|title| format!("{title}: ")).unwrap_or_default();
        let state = self.state.as_deref().map(|state| format!(", in state {state}")).unwrap_or_default();
        let bytes = if self.size() == 1 { "byte" } else { "bytes" };
        format!("{title}{}, {} {bytes} at {place}{state}", self.what, grouped(self.size()))
    }

    /// The field at `offset` in words, with the text that it leads to: `val "Hello"`; without a layout `+0x10`.
    pub(crate) fn describe(&self, offset: usize) -> String {
        let field = self.field_at(offset);
        let name = self.span_at(offset).map_or_else(|| format!("+{offset:#04x}"), |span| span.field.clone());
        let text = self.texts.range(field).next().map(|(_, text)| format!(" {text:?}")).unwrap_or_default();
        format!("{name}{text}")
    }

    /// Shows the strip in a notebook. The kernel calls it when the X-ray is the last expression of a cell.
    pub fn evcxr_display(&self) {
        Strips::new(&[("", self)]).evcxr_display();
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

/// A line of a strip.
#[derive(Debug, Clone)]
pub(crate) enum Row {
    Word(Word),
    Gap { words: usize, same: bool, unused: bool, name: String },
}

/// What differs between two X-rays; see [`XRay::diff`].
#[derive(Debug, Clone)]
pub struct Diff {
    words: usize,
    changes: Vec<Change>,
}

/// A word that differs between two X-rays.
#[derive(Debug, Clone)]
pub struct Change {
    offset: usize,
    before: Option<Word>,
    after: Option<Word>,
}

impl Change {
    /// Bytes from the start of the value.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// The word as it was; `None` where the first value had already ended.
    pub fn before(&self) -> Option<&Word> {
        self.before.as_ref()
    }

    /// The word as it is; `None` where the second value has already ended.
    pub fn after(&self) -> Option<&Word> {
        self.after.as_ref()
    }
}

impl Diff {
    /// The words that differ.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Shows the differences in a notebook.
    pub fn evcxr_display(&self) {
        crate::show::to_notebook(&[("text/plain", &self.to_string())]);
    }
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 24;
        write!(f, "{} of {} words differ", grouped(self.changes.len()), grouped(self.words))?;
        for change in self.changes.iter().take(MOST) {
            let hex = |word: &Option<Word>| word.as_ref().map_or("(no such word)".to_owned(), |word| word.hex().to_owned());
            write!(f, "\n  +{:#04x}  {:>16} → {:>16}", change.offset, hex(&change.before), hex(&change.after))?;
            if let Some(name) = change.after.as_ref().or(change.before.as_ref()).map(Word::name).filter(|n| !n.is_empty()) {
                write!(f, "  {name}")?;
            }
        }
        if self.changes.len() > MOST {
            write!(f, "\n  … and {} more", grouped(self.changes.len() - MOST))?;
        }
        Ok(())
    }
}

/// Which word of a `String` or a `&str` is which: found by looking at one, not assumed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    pub(crate) words: usize,
    pub(crate) ptr: usize,
    pub(crate) len: usize,
    pub(crate) cap: Option<usize>,
}

impl Header {
    pub(crate) fn of_string() -> Self {
        let mut text = String::with_capacity(1234);
        text.push_str("five!");
        let words = words_of(&text);
        let at = |value: usize| words.iter().position(|word| *word == value);
        Self {
            words: words.len(),
            ptr: at(text.as_ptr().addr()).unwrap_or(0),
            len: at(text.len()).unwrap_or(0),
            cap: at(text.capacity()),
        }
    }

    pub(crate) fn of_str() -> Self {
        let text = "five!";
        let words = words_of(&text);
        let at = |value: usize| words.iter().position(|word| *word == value).unwrap_or(0);
        Self { words: words.len(), ptr: at(text.as_ptr().addr()), len: at(text.len()), cap: None }
    }

    /// The name of word `i`.
    pub(crate) fn name(&self, i: usize) -> &'static str {
        match i {
            i if i == self.ptr => "ptr",
            i if i == self.len => "len",
            i if Some(i) == self.cap => "cap",
            _ => "?",
        }
    }
}

fn words_of<T>(value: &T) -> Vec<usize> {
    // SAFETY: a reference vouches for the bytes of its value.
    let bytes = unsafe { memory::snapshot(std::ptr::from_ref(value).cast(), size_of::<T>()) };
    bytes.chunks_exact(WORD).map(|word| usize::from_ne_bytes(word.try_into().expect("a whole word"))).collect()
}

/// The text at `address`, quoted later, shortened when long; `None` unless all that is looked at reads like text.
fn text_at(address: usize, len: usize) -> Option<String> {
    const SHOWN: usize = 24;
    let looked_at = len.min(SHOWN + 4);
    let bytes = memory::peek(address, looked_at)?;
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text,
        // Cut through the middle of a character: what stands before it is text.
        Err(error) if len > looked_at && error.error_len().is_none() => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let printable = !text.is_empty() && text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\t' | '\r'));
    printable.then(|| {
        let mut shown: String = text.chars().take(SHOWN).collect();
        if len > shown.len() {
            shown.push('…');
        }
        shown
    })
}

/// Printable ASCII, perhaps followed by zeros, at least four characters of it.
fn as_text(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().rposition(|byte| *byte != 0)? + 1;
    let text = &bytes[..end];
    (end >= 4.min(bytes.len()) && end >= 2 && text.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' '))
        .then(|| String::from_utf8_lossy(text).into_owned())
}

/// An offset as it is shown everywhere: `+0x08`.
pub(crate) fn offset_label(offset: usize) -> String {
    format!("+{offset:#04x}")
}

/// How many characters the offsets within `size` bytes take.
pub(crate) fn offset_width(size: usize) -> usize {
    offset_label(size.saturating_sub(1)).len()
}

/// `131072` as `131 072`.
pub(crate) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

fn type_name<T: ?Sized>(value: &T) -> String {
    short_name(std::any::type_name_of_val(value))
}

/// A type's name without the paths: `alloc::boxed::Box<u8>` as `Box<u8>`, `cell::{{closure}}` as `{closure}`.
pub(crate) fn short_name(name: &str) -> String {
    let mut out = String::new();
    let mut word = String::new();
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("::") {
            word.clear();
            rest = after;
            continue;
        }
        if let Some(after) = rest.strip_prefix("{{closure}}") {
            word = "{closure or async body}".into();
            rest = after;
            continue;
        }
        if c.is_alphanumeric() || c == '_' {
            word.push(c);
        } else {
            out.push_str(&word);
            word.clear();
            out.push(c);
        }
        rest = &rest[c.len_utf8()..];
    }
    out + &word
}
