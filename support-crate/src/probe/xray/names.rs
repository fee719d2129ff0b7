//! Offsets and types as they are written everywhere.

/// An offset as it is shown everywhere: `+0x08`.
pub(crate) fn offset_label(offset: usize) -> String {
    format!("+{offset:#04x}")
}

/// How many characters the offsets within `size` bytes take.
pub(crate) fn offset_width(size: usize) -> usize {
    offset_label(size.saturating_sub(1)).len()
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
