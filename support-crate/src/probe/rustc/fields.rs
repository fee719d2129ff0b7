//! The fields of the structs in a source, with their types, as the compiler prints them when names are resolved and macros have run
//! (`-Zunpretty=hir`): one way to write each thing, and nothing that only looks like a struct.

use super::{
    names::outer,
    snippet::{Kind, pieces},
};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What the source says of its structs.
#[derive(Debug, Default)]
pub(super) struct Structs {
    /// By path: usually one; blocks may have several of one path.
    structs: HashMap<String, Vec<Declaration>>,
    /// Names that stand for something else: `type Name = …` and `use … as Name`.
    aliases: BTreeSet<String>,
    /// The paths of modules, and those of all else that items can be in: functions, traits, constants, implementations. One path may be of both.
    modules: BTreeSet<String>,
    bodies: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Declaration {
    is_union: bool,
    fields: BTreeMap<String, String>,
}

impl Structs {
    /// The type of a field, if all structs of this path that have just these fields agree on it. `None`, too, where it depends on a
    /// type parameter.
    pub(super) fn field_type(&self, path: &str, all: &BTreeSet<&str>, field: &str) -> Option<&str> {
        let same = |declaration: &&Declaration| declaration.fields.keys().map(String::as_str).eq(all.iter().copied());
        let mut types = self.structs.get(path)?.iter().filter(same).map(|declaration| &declaration.fields[field]);
        let first = types.next()?;
        (!first.is_empty() && types.all(|other| other == first)).then_some(first)
    }

    pub(super) fn is_union(&self, path: &str) -> bool {
        self.structs.get(path).is_some_and(|all| all.iter().any(|declaration| declaration.is_union))
    }

    /// Whether a struct or a union of this path is declared in the source.
    pub(super) fn declares(&self, path: &str) -> bool {
        self.structs.contains_key(path)
    }

    /// The module that an item is in, by their paths: nothing at the root. `None` where a module and a function have one path.
    pub(super) fn module_of(&self, item: &str) -> Option<&str> {
        let mut path = outer(item);
        loop {
            match self.modules.get(path) {
                Some(module) => return (!self.bodies.contains(path)).then_some(module),
                None if path.is_empty() => return Some(""),
                None => path = outer(path),
            }
        }
    }

    /// Whether a name, as the source spells it, may stand for something with another name.
    pub(super) fn is_alias(&self, name: &str) -> bool {
        self.aliases.contains(name)
    }

    pub(super) fn parse(hir: &str) -> Self {
        let code: Vec<&str> =
            pieces(hir).filter(|piece| matches!(piece.kind, Kind::Code | Kind::Literal)).map(|piece| piece.text).collect();
        let mut structs = Self::default();
        Reader { code: &code, at: 0, path: Vec::new(), depth: 0, into: &mut structs }.read();
        structs
    }
}

struct Reader<'a> {
    code: &'a [&'a str],
    at: usize,
    /// What we are inside of: a name, and the depth of the braces around it.
    path: Vec<(String, usize)>,
    depth: usize,
    into: &'a mut Structs,
}

impl<'a> Reader<'a> {
    fn peek(&self, ahead: usize) -> &'a str {
        self.code.get(self.at + ahead).copied().unwrap_or_default()
    }

    fn read(&mut self) {
        // A name whose braces have not opened yet.
        let mut pending: Option<String> = None;
        let mut is_module = false;
        while self.at < self.code.len() {
            let (token, next) = (self.peek(0), self.peek(1));
            self.at += 1;
            is_module = token == "mod" || is_module && pending.is_some();
            match token {
                "macro_rules" if next == "!" => {
                    self.at += 2;
                    self.group();
                }
                "mod" | "trait" | "fn" if is_name(next) => pending = Some(next.to_owned()),
                // A constant's block is part of a path, too; a parameter, and the word before `fn`, is not.
                "const" | "static"
                    if is_name(next) && pending.is_none() && !matches!(next, "fn" | "unsafe" | "mut" | "extern") =>
                {
                    pending = Some(next.to_owned());
                }
                "impl" if matches!(self.before(), "" | "}" | ";" | "]" | "unsafe" | "{") => pending = Some(self.impl_name()),
                "type" if is_name(next) => {
                    self.into.aliases.insert(next.to_owned());
                }
                "use" if next != "<" => {
                    while !matches!(self.peek(0), ";" | "") {
                        if self.peek(0) == "as" {
                            self.into.aliases.insert(self.peek(1).to_owned());
                        }
                        self.at += 1;
                    }
                }
                "struct" | "union" if is_name(next) && self.declares() => self.declaration(token == "union"),
                ";" => pending = None,
                "(" | "[" if pending.is_some() => {
                    // What stands in the arguments of a function is no body.
                    self.at -= 1;
                    self.group();
                }
                "{" => {
                    self.depth += 1;
                    if let Some(name) = pending.take() {
                        self.path.push((name, self.depth));
                        let paths = if is_module { &mut self.into.modules } else { &mut self.into.bodies };
                        paths.insert(join_path(&self.path));
                    }
                }
                "}" => {
                    self.path.pop_if(|(_, depth)| *depth == self.depth);
                    self.depth = self.depth.saturating_sub(1);
                }
                _ => {}
            }
        }
    }

    fn before(&self) -> &'a str {
        self.at.checked_sub(2).map_or("", |at| self.code[at])
    }

    /// `union` is a name, too; a declaration goes on with braces or parameters.
    fn declares(&self) -> bool {
        matches!(self.peek(1), "{" | "<" | "(" | ";" | "where")
    }

    /// The tokens of a group in brackets of any kind, the reader standing on the first, or right before it at a name.
    fn group(&mut self) -> Vec<&'a str> {
        while self.at < self.code.len() && !matches!(self.peek(0), "{" | "(" | "[") {
            self.at += 1;
        }
        let (start, mut depth) = (self.at + 1, 0_usize);
        while self.at < self.code.len() {
            match self.peek(0) {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                break;
            }
        }
        self.code[start.min(self.at)..self.at.saturating_sub(1).max(start.min(self.at))].to_vec()
    }

    /// `impl<T> Trait for Type` is `<Type as Trait>`; the compiler prints paths so.
    fn impl_name(&self) -> String {
        let end = self.code[self.at..].iter().position(|token| *token == "{").unwrap_or(0);
        let head = &self.code[self.at..self.at + end];
        let head = if head.first() == Some(&"<") { &head[angles(head)..] } else { head };
        let end = head.iter().position(|token| *token == "where").unwrap_or(head.len());
        match head[..end].iter().position(|token| *token == "for") {
            Some(at) => format!("<{} as {}>", join(&head[at + 1..end]), join(&head[..at])),
            None => join(&head[..end]),
        }
    }

    fn declaration(&mut self, is_union: bool) {
        let name = self.peek(0);
        self.at += 1;
        let mut parameters = BTreeSet::new();
        if self.peek(0) == "<" {
            let len = angles(&self.code[self.at..]);
            for part in split(&self.code[self.at + 1..self.at + len - 1]) {
                parameters.extend(part.iter().copied().find(|token| is_name(token) && *token != "const"));
            }
            self.at += len;
        }
        while !matches!(self.peek(0), "{" | "(" | ";" | "") {
            self.at += 1;
        }
        let is_tuple = self.peek(0) == "(";
        let mut fields = BTreeMap::new();
        if self.peek(0) != ";" {
            for (number, part) in split(&self.group()).into_iter().enumerate() {
                let part = without_attributes(part);
                let (name, ty) = match part {
                    _ if is_tuple => (number.to_string(), part),
                    ["r", "#", name, ":", ty @ ..] | [name, ":", ty @ ..] => ((*name).to_owned(), ty),
                    _ => continue,
                };
                let depends = ty.iter().any(|token| parameters.contains(token));
                fields.insert(name, if depends { String::new() } else { join(ty) });
            }
        }
        self.path.push((name.to_owned(), self.depth));
        self.into.structs.entry(join_path(&self.path)).or_default().push(Declaration { is_union, fields });
        self.path.pop();
    }
}

fn join_path(path: &[(String, usize)]) -> String {
    path.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join("::")
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// How many tokens a list in angle brackets takes, from its `<` to its `>`.
fn angles(tokens: &[&str]) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match *token {
            "<" => depth += 1,
            ">" if at > 0 && tokens[at - 1] != "-" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

/// What stands between commas that are in no brackets.
fn split<'a, 'b>(tokens: &'b [&'a str]) -> Vec<&'b [&'a str]> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    for (at, token) in tokens.iter().enumerate() {
        match *token {
            "(" | "[" | "{" | "<" => depth += 1,
            ">" if at > 0 && matches!(tokens[at - 1], "-" | "=") => {}
            ")" | "]" | "}" | ">" => depth = depth.saturating_sub(1),
            "," if depth == 0 => {
                parts.push(&tokens[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&tokens[start..]);
    parts.retain(|part| !part.is_empty());
    parts
}

fn without_attributes<'a, 'b>(mut tokens: &'b [&'a str]) -> &'b [&'a str] {
    while let ["#", "[", ..] = tokens {
        let mut depth = 0_usize;
        let end = tokens.iter().position(|token| {
            match *token {
                "[" => depth += 1,
                "]" => depth -= 1,
                _ => {}
            }
            *token == "]" && depth == 0
        });
        tokens = &tokens[end.map_or(tokens.len(), |end| end + 1)..];
    }
    tokens
}

/// Tokens as one would write them.
fn join(tokens: &[&str]) -> String {
    let word = |token: &str| token.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '"' | '\''));
    let mut text = String::new();
    for (at, token) in tokens.iter().copied().enumerate() {
        let back = |by: usize| at.checked_sub(by).map_or("", |at| tokens[at]);
        let after_arrow = (back(2), back(1)) == ("-", ">");
        let gap = match (back(1), token) {
            ("", _) | ("-", ">") => false,
            _ if after_arrow => true,
            (_, "-") => tokens.get(at + 1) == Some(&">"),
            (":", _) => back(2) != ":" && token != ":",
            (";" | "," | "=" | "+" | "{" | "mut" | "dyn" | "impl" | "const" | "as" | "unsafe", _)
            | (_, "=" | "+" | "{" | "}") => true,
            (last, _) if last.starts_with('\'') => matches!(token, "[" | "(" | "<" | "&" | "*") || word(token),
            (last, _) => word(token) && (word(last) || matches!(last, ">" | ")" | "]")),
        };
        if gap {
            text.push(' ');
        }
        text += token;
    }
    text
}

#[cfg(test)]
mod tests;
