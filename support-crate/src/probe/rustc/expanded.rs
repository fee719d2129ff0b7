//! What did the macros write?

use super::{
    program::rustc,
    said::errors_in,
    site::Site,
    snippet::{Kind, indent, lines, pieces},
};
use crate::show::to_notebook;
use std::fmt;

/// Code after its macros have run; made by [`expanded!`](crate::expanded!).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expanded {
    lines: Vec<String>,
}

impl Expanded {
    /// Asks for the items with all macros expanded.
    ///
    /// # Panics
    /// When a macro refuses the items, or the compiler cannot be asked.
    #[doc(hidden)]
    #[track_caller]
    pub fn ask(site: &Site, items: &str) -> Self {
        let output = rustc(site, items, ["--crate-type=lib", "-Zunpretty=expanded"]);
        if let Some((_, error)) = errors_in(&output.stderr).into_iter().next() {
            panic!("there is nothing to show: the snippet is refused. {error}");
        }
        assert!(output.status.success(), "the compiler did not expand the snippet. It said:\n{}", output.stderr);
        Self { lines: code_in(&output.stdout) }
    }

    /// The items whose first line contains these words, with all that is in them; empty where there is none.
    pub fn part(&self, words: &str) -> String {
        let mut part = Vec::new();
        let mut open = None;
        for line in &self.lines {
            match open {
                Some(start) if indent(line) > start => {}
                Some(start) if line.trim_start().starts_with('}') && indent(line) == start => open = None,
                _ if line.contains(words) => open = Some(indent(line)),
                _ => {
                    open = None;
                    continue;
                }
            }
            part.push(line.as_str());
        }
        let margin = part.iter().map(|line| indent(line)).min().unwrap_or(0);
        part.iter().map(|line| &line[margin..]).collect::<Vec<_>>().join("\n")
    }

    /// Shows the code in a notebook.
    pub fn evcxr_display(&self) {
        to_notebook(&[("text/plain", &self.to_string())]);
    }
}

impl fmt::Display for Expanded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("\n"))
    }
}

/// The code that the macros in these items wrote. Attributes, most of them lists of lints, are left out, and so are paths into
/// what a macro keeps private.
///
/// The flag for this is unstable, so `RUSTC_BOOTSTRAP=1` is set for that one process.
///
/// ```
/// let code = pinlab::expanded! { #[derive(Clone)] struct Point { x: i32 } };
/// assert!(code.part("fn clone(").contains("self.x"));
/// ```
///
/// # Panics
/// When a macro refuses the items, or the compiler cannot be asked.
#[macro_export]
macro_rules! expanded {
    ($($items:tt)*) => { $crate::probe::Expanded::ask(&$crate::__site!(), ::std::stringify!($($items)*)) };
}

/// The lines of expanded code that somebody might have written: without attributes, the compiler's own imports, and private paths.
fn code_in(expanded: &str) -> Vec<String> {
    let mut open_brackets = 0;
    let mut shown = Vec::new();
    for line in lines(pieces(expanded.trim_end())) {
        let code = line.trim_start();
        if open_brackets > 0 || code.starts_with("#[") || code.starts_with("#![") {
            let count = |bracket| pieces(code).filter(|piece| piece.kind == Kind::Code && piece.text == bracket).count();
            open_brackets += count("[");
            open_brackets -= count("]").min(open_brackets);
        } else if !(code.starts_with("extern crate") || code.starts_with("use std::prelude::")) {
            shown.push(without_private_paths(&line));
        }
    }
    shown
}

/// `_pin_project::__private::Pin` is `Pin`.
fn without_private_paths(line: &str) -> String {
    let mut parts = line.split("__private::");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let path = text.trim_end_matches(|c: char| c.is_alphanumeric() || c == '_' || c == ':').len();
        text.truncate(path);
        text += part;
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_a_macro_wrote_is_shown_without_its_lints() {
        let code = crate::expanded! { #[pin_project::pin_project] struct Wrapper<F> { #[pin] inner: F, count: u32 } };
        let project = code.part("fn project<");
        assert!(project.contains("inner: Pin::new_unchecked(inner),") && project.ends_with('}'), "{project}");
        assert_eq!(code.part("trait WrapperMustNotImplDrop"), "trait WrapperMustNotImplDrop {}");
        assert!(!code.to_string().contains("clippy") && !code.to_string().contains("__private"), "{code}");
        assert_eq!(code.part("no such words"), "");
    }

    #[test]
    fn a_bracket_in_a_literal_opens_nothing() {
        let lines = super::code_in("#[doc = \"[\"]\nstruct A;\n#[doc = \"of\n    several ] lines [\"]\nstruct B;\n");
        assert_eq!(lines, ["struct A;", "struct B;"]);
        let code = crate::expanded! { #[doc = "["] struct A; struct B; };
        assert!(code.to_string().ends_with("struct A;\nstruct B;"), "{code}");
    }

    #[test]
    fn a_literal_of_several_lines_stays_what_it_is() {
        let literal = "\"one\n　　two\nthree\"";
        let lines = super::code_in(&format!("mod inner {{\n    fn text() -> &'static str {{\n        {literal}\n    }}\n}}\n"));
        let part = super::Expanded { lines }.part("fn text");
        assert_eq!(part, format!("fn text() -> &'static str {{\n    {literal}\n}}"));
    }
}
