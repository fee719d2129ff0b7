//! Where a `String` and a `&str` keep what, and the text that they lead to.

use super::{WORD, memory};

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
    // SAFETY: invariant 1 of `memory`: a reference vouches for the bytes of its value.
    let bytes = unsafe { memory::snapshot(std::ptr::from_ref(value).cast(), size_of::<T>()) };
    bytes.chunks_exact(WORD).map(|word| usize::from_ne_bytes(word.try_into().expect("a whole word"))).collect()
}

/// The text at `address`, quoted later, shortened when long; `None` unless all that is looked at reads like text.
pub(super) fn text_at(address: usize, len: usize) -> Option<String> {
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
pub(super) fn as_text(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().rposition(|byte| *byte != 0)? + 1;
    let text = &bytes[..end];
    (end >= 4.min(bytes.len()) && end >= 2 && text.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' '))
        .then(|| String::from_utf8_lossy(text).into_owned())
}
