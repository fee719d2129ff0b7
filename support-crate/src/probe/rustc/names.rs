//! The names of types: as `type_name` has them, as the compiler prints them, and as a reader can bear them.

use crate::{probe::xray::short_name, show::elide};

/// Whether two names are of one type: `full` as `type_name` gives it in the crate `krate`, and `printed` as the compiler prints it when it
/// compiles that crate. What is the crate's own has the same path in both. What is another's may be reached by several (`alloc::vec::Vec` is
/// `std::vec::Vec`): there the last name decides.
pub(super) fn same(full: &str, krate: &str, printed: &str) -> bool {
    alike(full, printed, |full, printed| match full.strip_prefix(krate).and_then(|rest| rest.strip_prefix("::")) {
        Some(own) => closures(own) == closures(printed),
        None => last(full) == last(printed),
    })
}

/// Whether two names are the same but for their paths, and of those this holds.
pub(super) fn alike(one: &str, other: &str, paths: impl Fn(&str, &str) -> bool) -> bool {
    let (mut one, mut other) = (Tokens(one), Tokens(other));
    loop {
        let same = match (one.next(), other.next()) {
            (None, None) => return true,
            (Some(Token::Path(one)), Some(Token::Path(other))) => paths(one, other),
            (one, other) => one == other,
        };
        if !same {
            return false;
        }
    }
}

/// The last name of a path.
pub(super) fn last(path: &str) -> &str {
    path.rsplit_once("::").map_or(path, |(_, last)| last)
}

/// What is before the last name of a path; nothing for a name alone.
pub(super) fn outer(path: &str) -> &str {
    path.rsplit_once("::").map_or("", |(outer, _)| outer)
}

/// `{closure#0}` and `{{closure}}` are two ways to write one thing.
fn closures(path: &str) -> String {
    let mut out = String::new();
    for (i, part) in path.split("::").enumerate() {
        out += if i == 0 { "" } else { "::" };
        out += if part.starts_with("{closure#") { "{{closure}}" } else { part };
    }
    out
}

#[derive(PartialEq, Eq)]
enum Token<'a> {
    Path(&'a str),
    Sign(char),
}

/// Paths and signs. Lifetimes are left out with the comma after them: the compiler prints them or not.
struct Tokens<'a>(&'a str);

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            self.0 = self.0.trim_start();
            let first = self.0.chars().next()?;
            if let Some(rest) = self.0.strip_prefix('\'') {
                let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
                self.0 = rest[end..].strip_prefix(", ").unwrap_or(&rest[end..]);
                continue;
            }
            // Nothing but lifetimes was between them.
            if self.0.starts_with('<') && Tokens(&self.0[1..]).next() == Some(Token::Sign('>')) {
                self.0 = &self.0[self.0.find('>').map_or(0, |at| at + 1)..];
                continue;
            }
            let (mut end, mut depth) = (0, 0_usize);
            for (at, c) in self.0.char_indices() {
                match c {
                    '{' => depth += 1,
                    '}' if depth > 0 => depth -= 1,
                    _ if depth > 0 || c.is_alphanumeric() || c == '_' => {}
                    ':' if self.0[at..].starts_with("::") || self.0[..at].ends_with(':') => {}
                    _ => break,
                }
                end = at + c.len_utf8();
            }
            let end = if end == 0 { first.len_utf8() } else { end };
            let (token, rest) = self.0.split_at(end);
            self.0 = rest;
            let is_path = token.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '{' | ':'));
            return Some(if is_path { Token::Path(token.trim_start_matches("::")) } else { Token::Sign(first) });
        }
    }
}

/// The most characters that a type takes in a picture or a table.
const MOST: usize = 56;

/// `{async fn body of demo::process_data()}` is `process_data`; other types lose their paths, what has no name its place in a file, and what
/// is still too long its end.
pub(crate) fn future_name(ty: &str) -> String {
    if let Some(path) = ty.strip_prefix("{async fn body of ").and_then(|rest| rest.strip_suffix("()}")) {
        return path.rsplit("::").next().unwrap_or(path).to_owned();
    }
    if ty.starts_with("{async block@") && ty.ends_with('}') && ty.matches('}').count() == 1 {
        return "an async block".into();
    }
    elide(&short_name(&without_places(ty)), MOST).into_owned()
}

/// `PollFn<{closure@/some/file.rs:95:13: 97:14}>` is `PollFn<{closure}>`, and `Fuse<{async fn body of a::greet()}>` is `Fuse<greet>`.
fn without_places(ty: &str) -> String {
    let mut out = String::new();
    let mut rest = ty;
    while let Some(start) = rest.find('{') {
        let mut depth = 0_usize;
        let end = rest[start..].char_indices().find_map(|(at, c)| {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            (depth == 0).then_some(start + at + 1)
        });
        let Some(end) = end else { break };
        out += &rest[..start];
        let inside = &rest[start..end];
        out += &match (
            inside.strip_prefix("{async fn body of ").and_then(|name| name.strip_suffix("()}")),
            inside.split_once('@'),
        ) {
            (Some(path), _) => path.rsplit("::").next().unwrap_or(path).to_owned(),
            (None, Some((what, _))) => format!("{what}}}"),
            (None, None) => inside.to_owned(),
        };
        rest = &rest[end..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_type_has_two_names() {
        for (full, printed) in [
            ("ctx::ya::P", "ya::P"),
            ("alloc::string::String", "std::string::String"),
            ("ctx::Keeper<'_, alloc::vec::Vec<ctx::ya::P>>", "Keeper<std::vec::Vec<ya::P>>"),
            ("ctx::Borrowed<'_>", "Borrowed"),
            ("ctx::Borrowed", "Borrowed<'_>"),
            ("<ctx::T as ctx::Trait>::go", "<T as Trait>::go"),
            ("ctx::main::{{closure}}::work", "main::{closure#1}::work"),
            ("(u8, &str, [ctx::A; 4])", "(u8, &'static str, [A; 4])"),
        ] {
            assert!(same(full, "ctx", printed), "{full} {printed}");
        }
        for (full, printed) in [
            ("ctx::ya::P", "yb::P"),
            ("ctx::P", "ya::P"),
            ("ctx::ya::P", "P"),
            ("ctx::Keeper<ctx::ya::P>", "Keeper<yb::P>"),
            ("ctx::Keeper<u8>", "Keeper<u16>"),
            ("ctx::Keeper<u8>", "Keeper"),
            ("ctx::main::work", "main::{closure#1}::work"),
            ("ctx::T::go", "<T as Trait>::go"),
        ] {
            assert!(!same(full, "ctx", printed), "{full} {printed}");
        }
    }

    #[test]
    fn no_path_of_a_machine_is_in_a_name() {
        let closure = "futures::future::PollFn<{closure@/home/me/.cargo/futures-0.3/src/join_mod.rs:95:13: 97:14}>";
        assert_eq!(future_name(closure), "PollFn<{closure}>");
        assert_eq!(future_name("Fuse<{async fn body of a::greet()}>"), "Fuse<greet>");
        assert_eq!(future_name("MaybeDone<{async block@src/lib.rs:1:2: 3:4}>"), "MaybeDone<{async block}>");
        assert_eq!(future_name("{async block@src/lib.rs:1:2: 3:4}"), "an async block");
        assert!(future_name(&format!("Select<{}>", "Waiting, ".repeat(20))).chars().count() <= MOST);
    }
}
