//! JSON, written: for what the script of a figure plays, and for files that other tools open.

use std::fmt;

/// A value as JSON text. A `<` in it is escaped, so that it can stand in a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Json(String);

impl Json {
    pub(crate) fn object<'k>(fields: impl IntoIterator<Item = (&'k str, Json)>) -> Self {
        let fields: Vec<String> = fields.into_iter().map(|(key, value)| format!("{}:{value}", Json::from(key))).collect();
        Self(format!("{{{}}}", fields.join(",")))
    }

    pub(crate) fn list(items: impl IntoIterator<Item = Json>) -> Self {
        let items: Vec<String> = items.into_iter().map(|item| item.0).collect();
        Self(format!("[{}]", items.join(",")))
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        use fmt::Write as _;
        let mut out = String::with_capacity(text.len() + 2);
        out.push('"');
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '<' | '\u{2028}' | '\u{2029}' => write!(out, "\\u{:04x}", c as u32).expect("a String takes everything"),
                c if c.is_control() => write!(out, "\\u{:04x}", c as u32).expect("a String takes everything"),
                c => out.push(c),
            }
        }
        out.push('"');
        Self(out)
    }
}

impl From<usize> for Json {
    fn from(number: usize) -> Self {
        Self(number.to_string())
    }
}

impl From<bool> for Json {
    fn from(yes: bool) -> Self {
        Self(yes.to_string())
    }
}

impl From<f64> for Json {
    fn from(number: f64) -> Self {
        Self(if number.is_finite() { number.to_string() } else { "null".into() })
    }
}

impl<T: Into<Json>> From<Option<T>> for Json {
    fn from(value: Option<T>) -> Self {
        value.map_or_else(|| Self("null".into()), Into::into)
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Json;

    #[test]
    fn what_is_written_is_what_the_standard_says() {
        let value = Json::object([
            ("a\"b", Json::from("x\\y\n\u{1}</script>")),
            ("list", Json::list([1.5.into(), 2usize.into(), true.into(), None::<f64>.into()])),
        ]);
        assert_eq!(value.to_string(), "{\"a\\\"b\":\"x\\\\y\\n\\u0001\\u003c/script>\",\"list\":[1.5,2,true,null]}");
    }
}
