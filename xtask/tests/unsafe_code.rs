//! Each `unsafe` of the support crate and of the kernel names what it rests on: an invariant by its id or number, or, where no invariant is concerned, one of
//! the two words that the register in ARCHITECTURE.md explains. And the register lists the ids that the files' heads state, no others.

mod common;

use common::{project, sources};
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::LazyLock;

const FOLDERS: [&str; 2] = ["support-crate/src", "kernel/src"];

/// What may be cited.
#[derive(Debug, Default)]
struct Known {
    /// The ids in the register.
    ids: BTreeSet<String>,
    /// The numbers of the invariants at the heads of files, by the files' names: `memory` is `…/memory.rs`.
    numbers: BTreeMap<String, BTreeSet<String>>,
}

/// The lines at a file's top that are its documentation.
fn head(source: &str) -> impl Iterator<Item = &str> {
    source.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim)
}

fn name_of(file: &str) -> &str {
    file.rsplit('/').next().unwrap_or(file).trim_end_matches(".rs")
}

/// The ids of invariants in the register, whose first column has single ones and ranges.
fn register(text: &str) -> BTreeSet<String> {
    let range = Regex::new(r"\bI([A-Z])(\d+)(?:–I[A-Z](\d+))?").unwrap();
    let (_, table) = text.split_once("## The register of ids").expect("the register has a heading");
    let columns = table.lines().filter(|line| line.starts_with("| I")).filter_map(|line| line.split('|').nth(1));
    let mut ids = BTreeSet::new();
    for found in columns.flat_map(|column| range.captures_iter(column)) {
        let number = |group: usize| found.get(group).map(|number| number.as_str().parse::<u32>().unwrap());
        let first = number(2).unwrap();
        ids.extend((first..=number(3).unwrap_or(first)).map(|number| format!("I{}{number}", &found[1])));
    }
    ids
}

fn known(register: BTreeSet<String>, sources: &[(String, String)]) -> Known {
    let numbered = Regex::new(r"^(\d+)\. ").unwrap();
    let mut known = Known { ids: register, ..Known::default() };
    for (file, source) in sources {
        let numbers = head(source).filter_map(|line| Some(numbered.captures(line)?[1].to_owned()));
        known.numbers.entry(name_of(file).to_owned()).or_default().extend(numbers);
    }
    known
}

/// The lines of each `unsafe` that asks for a reason: a block, an item or a block of foreign items. Neither an attribute (`#[unsafe(no_mangle)]`) nor the type of
/// a function pointer, which is a promise only where a function is made or called.
fn find_unsafe(tokens: TokenStream, lines: &mut Vec<usize>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(_) if is_interpreted(&tokens[..at]) => {}
            TokenTree::Group(group) => find_unsafe(group.stream(), lines),
            TokenTree::Ident(word) if word == "unsafe" => {
                // What follows `unsafe extern "C" fn`, or less of that.
                let next = tokens[at + 1..].iter().find(|token| match token {
                    TokenTree::Ident(word) => word != "extern" && word != "fn",
                    TokenTree::Literal(_) => false,
                    _ => true,
                });
                if !matches!(next, Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis) {
                    lines.push(word.span().start().line);
                }
            }
            _ => {}
        }
    }
}

/// Whether this leads to what is given to `miri!`: it is not run here, but interpreted, to be found undefined.
fn is_interpreted(before: &[TokenTree]) -> bool {
    matches!(before, [.., TokenTree::Ident(name), TokenTree::Punct(mark)] if name == "miri" && mark.as_char() == '!')
}

/// The comment right above a line, attributes in between left out: what its `SAFETY:` or `# Safety` says.
fn reason(source: &str, line: usize) -> Option<String> {
    let above: Vec<&str> = source.lines().take(line - 1).map(str::trim).collect();
    let comment = above.iter().rev().skip_while(|line| line.starts_with("#[")).take_while(|line| line.starts_with("//"));
    let mut lines: Vec<&str> = comment.map(|line| line.trim_start_matches('/').trim()).collect();
    lines.reverse();
    let text = lines.join(" ");
    let (_, reason) = text.rsplit_once("SAFETY:").or_else(|| text.rsplit_once("# Safety"))?;
    Some(reason.to_owned())
}

/// What is wrong with a reason; `None` if it names something, and all that it names exists.
fn fault(file: &str, reason: &str, known: &Known) -> Option<String> {
    static ID: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\bI[A-Z]\d+\b").unwrap());
    static NUMBER: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\binvariants? (\d+)(?: and (\d+))?(?: (?:of|in) `(\w+)`)?").unwrap());
    static WORD: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\b(?:FFI|caller): ").unwrap());
    let mut cites = WORD.is_match(reason);
    for found in ID.find_iter(reason) {
        cites = true;
        if !known.ids.contains(found.as_str()) {
            return Some(format!("{} is not in the register", found.as_str()));
        }
    }
    for found in NUMBER.captures_iter(reason) {
        cites = true;
        let of = found.get(3).map_or(name_of(file), |name| name.as_str());
        for number in [found.get(1), found.get(2)].into_iter().flatten() {
            if !known.numbers.get(of).is_some_and(|numbers| numbers.contains(number.as_str())) {
                return Some(format!("the head of `{of}` has no invariant {}", number.as_str()));
            }
        }
    }
    (!cites).then(|| "names neither an invariant nor `FFI:` or `caller:`".to_owned())
}

/// What is wrong with each `unsafe` of a file: `file:line: …`.
fn faults(file: &str, source: &str, known: &Known) -> Vec<String> {
    let tokens: TokenStream = source.parse().unwrap_or_else(|error| panic!("{file}: {error}"));
    let mut lines = Vec::new();
    find_unsafe(tokens, &mut lines);
    let fault_at = |line: usize| match reason(source, line) {
        Some(reason) => fault(file, &reason, known),
        None => Some("has no `SAFETY:` comment and no `# Safety` right above it".to_owned()),
    };
    lines.into_iter().filter_map(|line| Some(format!("{file}:{line}: {}", fault_at(line)?))).collect()
}

#[test]
fn each_unsafe_names_what_it_rests_on() {
    let sources = sources(&FOLDERS);
    let known = known(register(&fs::read_to_string(project().join("ARCHITECTURE.md")).unwrap()), &sources);
    let wrong: Vec<String> = sources.iter().flat_map(|(file, source)| faults(file, source, &known)).collect();
    assert!(wrong.is_empty(), "{} of `unsafe`:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_register_lists_the_ids_that_the_heads_state() {
    let stated = Regex::new(r"^\* \*\*(I[A-Z]\d+)\*\* ").unwrap();
    let listed = register(&fs::read_to_string(project().join("ARCHITECTURE.md")).unwrap());
    let mut heads: BTreeMap<String, String> = BTreeMap::new();
    for (file, source) in &sources(&FOLDERS) {
        for found in head(source).filter_map(|line| stated.captures(line)) {
            let before = heads.insert(found[1].to_owned(), file.clone());
            assert_eq!(before, None, "{} is stated twice, also in {file}", &found[1]);
        }
    }
    assert_eq!(listed, heads.into_keys().collect());
}

#[test]
fn what_cites_nothing_or_nothing_that_exists_is_found_with_its_line() {
    let said = |source: &str| {
        let known = known(
            register("## The register of ids\n| IT1–IT3, IQ1 | x | `task.rs` |\n"),
            &[
                ("a/slot.rs".to_owned(), "//! Invariants:\n//! 1. One.\n//! 2. Two.\n\nfn f() {}\n".to_owned()),
                ("a/other.rs".to_owned(), source.to_owned()),
            ],
        );
        faults("a/other.rs", source, &known).join("\n")
    };
    let block = |comment: &str| said(&format!("fn f() {{\n    {comment}\n    unsafe {{ g() }}\n}}\n"));
    for good in
        ["SAFETY: IT2: so", "SAFETY: so (IQ1)", "SAFETY: FFI: so", "SAFETY: caller: so", "SAFETY: invariant 2 of `slot`: so"]
    {
        assert_eq!(block(&format!("// {good}")), "");
    }
    assert_eq!(block("// SAFETY: so"), "a/other.rs:3: names neither an invariant nor `FFI:` or `caller:`");
    assert_eq!(block("// IT1"), "a/other.rs:3: has no `SAFETY:` comment and no `# Safety` right above it");
    assert_eq!(block("// IT1. SAFETY: so"), block("// SAFETY: so"));
    assert_eq!(block("// SAFETY: IT1 and IT4"), "a/other.rs:3: IT4 is not in the register");
    assert_eq!(block("// SAFETY: invariants 1 and 3 of `slot`"), "a/other.rs:3: the head of `slot` has no invariant 3");
    assert_eq!(block("// SAFETY: invariant 1"), "a/other.rs:3: the head of `other` has no invariant 1");
    assert!(block("// SAFETY: IT1\n\n").contains(":5: has no"), "a blank line parts them");

    assert_eq!(said("/// # Safety\n///\n/// IT1 holds.\n#[inline]\npub(crate) unsafe fn f() {}\n"), "");
    assert!(said("/// IT1.\nunsafe extern \"C\" fn f() {}\n").contains(":2: has no"));
    assert!(said("// SAFETY: so\nunsafe impl Send for X {}\n").contains(":2: names neither"));
    assert!(said("unsafe extern \"C\" {}\n").contains(":1: has no"));
    assert!(said("m! { (|| unsafe { g() }) }\n").contains(":1: has no"));
    let nothing = "/// unsafe { g() }\n#[unsafe(no_mangle)]\nfn f(g: unsafe extern \"C\" fn(u8), h: unsafe fn()) { /* unsafe {} */ \"unsafe {}\"; }\n";
    assert_eq!(said(nothing), "");
    assert_eq!(said("fn f() { pinlab::miri! { unsafe { g() } } }\n"), "");
}
