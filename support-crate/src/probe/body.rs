//! Where in the source an `async fn` stands: the compiler's own word on it.
//!
//! MIR with spans says of each suspension where its state is written down: `discriminant((*_37)) = 3; // scope 4 at a.rs:5:15: 5:20`
//! is the `.await` in line 5 as state 3. Where that lies in another file (inside a macro, say), nothing is known.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// The source of one `async fn`, from its opening brace to its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Body {
    /// The number of the first line in its file, counted from one.
    first: usize,
    lines: Vec<String>,
    /// The line in which a state waits.
    waits: BTreeMap<String, usize>,
}

impl Body {
    /// The lines with their numbers, the first being 1: in a notebook nobody sees the file that the compiler saw.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> + '_ {
        self.lines.iter().enumerate().map(|(i, line)| (i + 1, line.as_str()))
    }

    /// The number of the line in which a state waits: before the first poll it is that of the opening brace, after the end that of the
    /// closing one.
    pub(crate) fn line_of(&self, state: &str) -> Option<usize> {
        match state {
            "Unresumed" => Some(1),
            "Returned" => Some(self.lines.len()),
            suspended => Some(self.waits.get(suspended)?.checked_sub(self.first)? + 1),
        }
    }

    /// A line of it, without the room before it.
    pub(crate) fn text(&self, line: usize) -> Option<&str> {
        Some(self.lines.get(line.checked_sub(1)?)?.trim())
    }
}

/// The bodies of all futures that the compiler printed.
pub(crate) fn bodies(mir: &str, source: &str) -> HashMap<String, Arc<Body>> {
    let lines: Vec<&str> = source.lines().collect();
    let mut all: HashMap<String, Body> = HashMap::new();
    let mut current: Option<(String, Option<Span>)> = None;
    for line in mir.lines().filter(|line| !line.starts_with("print-type-size")) {
        if let Some(header) = line.strip_prefix("fn ") {
            let body = header.split_once("Pin<&mut {async").and_then(|(_, rest)| rest.split_once("}>"));
            current = body.map(|(rest, _)| (format!("{{async{rest}}}"), None));
        }
        let Some((future, whole)) = &mut current else { continue };
        let Some((code, span)) = line.split_once("// scope ").and_then(|(code, at)| Some((code.trim(), span(at)?))) else {
            continue;
        };
        if whole.is_none() && code.contains("= discriminant((*") {
            let (first, last) = (span.1, span.2.min(lines.len()));
            if first == 0 || first > last {
                continue;
            }
            let text = lines[first - 1..last].iter().map(|line| (*line).to_owned()).collect();
            all.insert(future.clone(), Body { first, lines: text, waits: BTreeMap::new() });
            *whole = Some(span);
            continue;
        }
        let Some(number) = code.strip_prefix("discriminant((*").and_then(|rest| rest.split_once(")) = ")) else {
            continue;
        };
        let number = number.1.trim_end_matches(';').parse::<usize>().ok();
        let Some((state, (file, first, last))) = number.filter(|&n| n >= 3).map(|n| n - 3).zip(whole.as_ref()) else {
            continue;
        };
        if span.0 == *file
            && (*first..=*last).contains(&span.1)
            && let Some(body) = all.get_mut(future)
        {
            body.waits.insert(format!("Suspend{state}"), span.1);
        }
    }
    all.into_iter().map(|(future, body)| (future, Arc::new(body))).collect()
}

/// A file, the first and the last line in it.
type Span = (String, usize, usize);

/// The span in `4 at src/lib.rs:5:15: 5:20`.
fn span(text: &str) -> Option<Span> {
    let (_, at) = text.split_once(" at ")?;
    let (start, end) = at.trim().rsplit_once(": ")?;
    let last = end.split(':').next()?.parse().ok()?;
    let (start, _column) = start.rsplit_once(':')?;
    let (file, first) = start.rsplit_once(':')?;
    Some((file.to_owned(), first.parse().ok()?, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compilers_spans_become_lines() {
        let source = "use x;\nasync fn f() {\n    a().await;\n    b!();\n}\n";
        let mir = "fn f::{closure#0}(_1: Pin<&mut {async fn body of f()}>, _2: &mut Context<'_>) -> Poll<()> {\n\
                   _36 = discriminant((*_37));  // scope 0 at src/a b.rs:2:14: 5:2\n\
                   discriminant((*_37)) = 3;    // scope 4 at src/a b.rs:3:9: 3:14\n\
                   discriminant((*_37)) = 4;    // scope 4 at /rust/macros.rs:3:9: 3:14\n\
                   discriminant((*_37)) = 1;    // scope 0 at src/a b.rs:5:2: 5:2\n}";
        let all = bodies(mir, source);
        let body = &all["{async fn body of f()}"];
        assert_eq!(body.line_of("Unresumed"), Some(1));
        assert_eq!(body.line_of("Suspend0").and_then(|line| body.text(line)), Some("a().await;"));
        assert_eq!(body.line_of("Suspend1"), None, "inside a macro of somebody else's");
        assert_eq!(body.line_of("Returned"), Some(4));
        assert_eq!(body.lines().count(), 4);
    }
}
