//! The house of the support crate, as ARCHITECTURE.md has it: rooms that import downwards only, and files of the engine that one can read at a time.

mod common;

use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};

/// The most lines that a file of the engine has.
const LINES: usize = 400;

/// The rooms that are not the engine's.
const PROBES: [&str; 3] = ["probe", "pictures", "show"];

/// Models that are tests, of a room above them.
const MODELS: &str = "sync/models.rs";

/// Each file by its path in `src`, with its room (the folder, or the file of its name) and its text.
fn files() -> Vec<(String, String, String)> {
    const SOURCE: &str = "support-crate/src";
    let file = |(name, text): (String, String)| {
        let name = name[SOURCE.len() + 1..].to_owned();
        let room = name.split(['/', '.']).next().unwrap().to_owned();
        (name, room, text)
    };
    common::sources(&[SOURCE]).into_iter().map(file).collect()
}

/// For each room, those that it names: by `crate::room`, or by what the crate's root takes from it.
fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let files = files();
    let root = &files.iter().find(|(name, ..)| name == "lib.rs").expect("the root").2;
    let taken = Regex::new(r"(?m)^pub use (\w+)(?:::\w+)*::(?:\{([^}]*)\}|(\w+));").unwrap();
    let mut rooms: BTreeMap<&str, &str> = BTreeMap::new();
    for found in taken.captures_iter(root) {
        let names = found.get(2).or(found.get(3)).unwrap().as_str();
        let names = names.split([',', ' ', '\n']).filter_map(|name| name.rsplit("::").next()).filter(|name| !name.is_empty());
        rooms.extend(names.map(|name| (name, found.get(1).unwrap().as_str())));
    }
    let named = Regex::new(r"\bcrate::(?:(\w+)|\{([^}]*)\})").unwrap();
    let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (_, room, text) in files.iter().filter(|(name, ..)| name != "lib.rs" && name != MODELS) {
        let code = text.split("#[cfg(test)]").next().unwrap();
        let code: String = code.lines().filter_map(|line| line.split("//").next()).collect::<Vec<_>>().join("\n");
        for found in named.captures_iter(&code) {
            let list = found.get(1).or(found.get(2)).unwrap().as_str();
            for word in list.split([',', ' ', '\n']).map(|word| word.split("::").next().unwrap()) {
                let to = if files.iter().any(|(_, room, _)| room == word) { Some(&word) } else { rooms.get(word) };
                if let Some(to) = to.filter(|to| **to != room) {
                    imports.entry(room.clone()).or_default().insert((*to).to_owned());
                }
            }
        }
    }
    imports
}

#[test]
fn rooms_import_downwards_only() {
    let mut imports = imports();
    assert!(imports["runtime"].contains("engine") && imports["engine"].contains("task"), "{imports:?}");
    // Again and again, those go that name nobody who is still there. Who remains is in a circle, or above one.
    while let Some(room) =
        imports.iter().find(|(_, to)| !to.iter().any(|to| imports.contains_key(to))).map(|(room, _)| room.clone())
    {
        imports.remove(&room);
    }
    assert!(imports.is_empty(), "in a circle, or above one: {imports:#?}");
}

#[test]
fn no_file_of_the_engine_is_too_long() {
    let is_too_long =
        |(_, room, text): &&(String, String, String)| !PROBES.contains(&room.as_str()) && text.lines().count() > LINES;
    let files = files();
    let long: Vec<_> = files.iter().filter(is_too_long).map(|(name, ..)| name).collect();
    assert!(long.is_empty(), "more than {LINES} lines: {long:?}");
}
