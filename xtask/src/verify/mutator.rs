//! Cells as a reader may make them: a statement deleted, doubled or swapped with the next one, a number or a string changed, or
//! interrupted while they run. Whatever they do, the lab must survive it: they come to an end, the kernel lives, and when
//! it has ended nothing of it is left.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::Result;
use fastrand::Rng;
use pinlab_kernel::session;
use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::judge;
use super::{Tally, outcome};
use crate::jupyter::{Kernel, Server};
use crate::notebook::{Cell, Notebook};
use crate::outputs::End;
use crate::outputs::sections;
use crate::setup;
use crate::ui::Ui;

/// What the server and all that it starts have in their environment, so that strays are found.
const MARK: &str = "PINLAB_MUTATOR";

/// What is done to a cell.
#[derive(Clone, Debug, PartialEq)]
enum Mutation {
    /// Its text is another one.
    Text(&'static str, String),
    /// It is interrupted after this time.
    Interrupt(Duration),
}

/// Runs `times` changed cells in these notebooks (all, if no name is given): one check each, of its cells and of what is left of them.
pub(super) fn run(ui: &Ui, project: &Path, names: &[String], times: usize, seed: u64) -> Result<Tally> {
    let lab = setup::ensure(ui, project)?;
    let paths = super::chosen::course(project, names)?;
    let named: String = names.iter().map(|name| format!("{name} ")).collect();
    ui.say(format!("...   {times} changed cells; the same again: cargo verify mutate {named}--times {times} --seed {seed}"));
    let mut chance = Rng::with_seed(seed);
    let mut tally = Tally::default();
    let temporary = tempfile::tempdir()?;
    let mark = format!("{}-{seed}", std::process::id());
    let environment =
        [(MARK, OsStr::new(&mark)), ("TMPDIR", temporary.path().as_os_str()), ("TMP", temporary.path().as_os_str())];
    let server = Server::start(&lab, project, &environment)?;
    let places = Traces { temporary: temporary.path(), sessions: session::sessions()?, mark, server: server.process() };
    for (position, path) in paths.iter().enumerate() {
        let times = times * (position + 1) / paths.len() - times * position / paths.len();
        if times == 0 {
            continue;
        }
        let notebook = Notebook::read(path)?;
        let what = format!("{} with {times} changed cells", notebook.name);
        let activity = ui.start(&what);
        let before = places.folders();
        let mut wrong = play(&server, &notebook, times, &mut chance, |what| activity.tell(what))?;
        wrong.extend(places.left_behind(&before));
        outcome(ui, wrong.is_empty(), &what, activity.end(), &wrong.join("\n"));
        tally.count(wrong.is_empty());
    }
    Ok(tally)
}

/// Runs a notebook, and changed cells in it; what is wrong.
fn play(server: &Server, notebook: &Notebook, times: usize, chance: &mut Rng, on_cell: impl Fn(&str)) -> Result<Vec<String>> {
    let folder = notebook.path.parent().unwrap_or(Path::new("."));
    let cells: Vec<&Cell> = notebook.code().skip(1).collect();
    let mut chosen: Vec<usize> = (0..times).map(|_| chance.usize(..cells.len())).collect();
    chosen.sort_unstable();
    let mut kernel = server.kernel(folder)?;
    let mut wrong = Vec::new();
    run_one(&mut kernel, notebook.code().next(), &mut wrong)?;
    for (position, cell) in cells.iter().enumerate() {
        on_cell(&cell.label());
        for _ in chosen.iter().filter(|chosen| **chosen == position) {
            let mutation = mutate(&cell.source, chance);
            let (code, after, how) = match &mutation {
                Mutation::Text(how, code) => (code.as_str(), None, format!("{how}:\n{code}")),
                Mutation::Interrupt(after) => (cell.source.as_str(), Some(*after), format!("interrupted after {after:?}")),
            };
            let limit = Duration::from_secs(cell.limit());
            let ran = kernel.run_until(code, &cell.id, limit, |elapsed| after.is_some_and(|after| elapsed >= after))?;
            let place = format!("  {} · {}, {how}", notebook.name, cell.label());
            match ran.end {
                End::Reply => {}
                End::TooLate => wrong.push(format!("{place}\n  does not end within {} s", limit.as_secs())),
                End::Death(why) => {
                    wrong.push(format!("{place}\n  and the kernel is lost: {why}"));
                    return Ok(wrong);
                }
            }
            // An interrupt that comes when the cell has ended must not reach the next one.
            if after.is_some() {
                let said = kernel.run("println!(\"still here\");", "still-here", Duration::from_secs(60))?;
                let text: String = sections(&said.outputs).into_iter().map(|section| section.text).collect();
                if !text.contains("still here") && judge::failure(&sections(&said.outputs)).is_some() {
                    wrong.push(format!("{place}\n  and the cell after it says:\n{}", text.trim()));
                }
            }
        }
        run_one(&mut kernel, Some(cell), &mut wrong)?;
    }
    Ok(wrong)
}

/// Runs a cell as it is. It may fail: who knows what it finds.
fn run_one(kernel: &mut Kernel<'_>, cell: Option<&Cell>, wrong: &mut Vec<String>) -> Result<()> {
    let Some(cell) = cell else { return Ok(()) };
    let ran = kernel.run(&cell.source, &cell.id, Duration::from_secs(cell.limit()))?;
    match ran.end {
        End::Reply => {}
        End::TooLate => wrong.push(format!("  {} does not end, after the changes above it", cell.label())),
        End::Death(why) => wrong.push(format!("  {}: the kernel is lost: {why}", cell.label())),
    }
    Ok(())
}

/// Where the statements, numbers and strings of a text are.
#[derive(Debug, Default, PartialEq)]
struct Parts {
    /// Statements, by block.
    blocks: Vec<Vec<Range<usize>>>,
    numbers: Vec<Range<usize>>,
    strings: Vec<Range<usize>>,
}

impl Parts {
    fn of(code: &str) -> Self {
        let mut parts = Self::default();
        if let Ok(tokens) = TokenStream::from_str(code) {
            parts.block(tokens);
        }
        parts
    }

    fn block(&mut self, tokens: TokenStream) {
        let (mut statements, mut start) = (Vec::new(), None);
        for token in tokens {
            let range = token.span().byte_range();
            let begins = *start.get_or_insert(range.start);
            if matches!(&token, TokenTree::Punct(punct) if punct.as_char() == ';') {
                statements.push(begins..range.end);
                start = None;
            }
            self.token(token);
        }
        self.blocks.push(statements);
    }

    fn token(&mut self, token: TokenTree) {
        match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => self.block(group.stream()),
            TokenTree::Group(group) => group.stream().into_iter().for_each(|token| self.token(token)),
            TokenTree::Literal(literal) => {
                let (text, range) = (literal.to_string(), literal.span().byte_range());
                if text.starts_with('"') {
                    self.strings.push(range);
                } else if text.chars().all(|c| c.is_ascii_digit() || c == '_') {
                    self.numbers.push(range);
                }
            }
            _ => {}
        }
    }
}

/// One change to a cell. Its commands to the kernel stay as they are.
fn mutate(cell: &str, chance: &mut Rng) -> Mutation {
    let at = cell.split_inclusive('\n').take_while(|line| line.starts_with(':')).map(str::len).sum();
    let (commands, code) = cell.split_at(at);
    let parts = Parts::of(code);
    let with = |range: Range<usize>, text: &str| format!("{commands}{}{text}{}", &code[..range.start], &code[range.end..]);
    let blocks: Vec<&Vec<Range<usize>>> = parts.blocks.iter().filter(|block| !block.is_empty()).collect();
    let statement = |chance: &mut Rng| {
        let block = chance.choice(&blocks)?;
        let position = chance.usize(..block.len());
        Some((block[position].clone(), block.get(position + 1).cloned()))
    };
    let pick = |ranges: &[Range<usize>], chance: &mut Rng| chance.choice(ranges).cloned();
    let mutation = match chance.usize(..6) {
        0 => statement(chance).map(|(this, _)| ("deleted", with(this, ""))),
        1 => statement(chance).map(|(this, _)| ("doubled", with(this.clone(), &code[this.clone()].repeat(2)))),
        2 => statement(chance).and_then(|(this, next)| {
            let next = next?;
            let swapped = format!("{}{}{}", &code[next.clone()], &code[this.end..next.start], &code[this.clone()]);
            Some(("swapped", with(this.start..next.end, &swapped)))
        }),
        3 => pick(&parts.numbers, chance).map(|range| {
            let number: u64 = code[range.clone()].replace('_', "").parse().unwrap_or(1);
            let other = [0, number.saturating_add(1), number.saturating_mul(3), number / 2][chance.usize(..4)];
            ("a number changed", with(range, &other.to_string()))
        }),
        4 => pick(&parts.strings, chance).map(|range| {
            let other = ["\"\"", "\"ÄÖ\u{1F600}\"", "\"one\\ntwo\"", "\"a text that is much longer than what was there before\""];
            ("a string changed", with(range, other[chance.usize(..4)]))
        }),
        _ => None,
    };
    match mutation {
        Some((how, text)) => Mutation::Text(how, text),
        None => Mutation::Interrupt(Duration::from_millis(chance.u64(..2_000))),
    }
}

/// Where something may be left.
struct Traces<'a> {
    temporary: &'a Path,
    sessions: PathBuf,
    /// What is in the environment of all that the server starts.
    mark: String,
    server: u32,
}

impl Traces<'_> {
    /// What is in the temporary folder, and the sessions that nobody uses.
    fn folders(&self) -> BTreeSet<PathBuf> {
        let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        entries(self.temporary).chain(entries(&self.sessions).filter(|path| session::is_abandoned(path))).collect()
    }

    /// Folders and processes that were not there before and are there when the kernel has ended.
    fn left_behind(&self, before: &BTreeSet<PathBuf>) -> Vec<String> {
        let mut left = Vec::new();
        for _ in 0..50 {
            let folders = self.folders();
            left = folders.difference(before).map(|path| format!("  left behind: {}", path.display())).collect();
            left.extend(strays(&self.mark, self.server).into_iter().map(|process| format!("  still running: {process}")));
            if left.is_empty() {
                break;
            }
            // The kernel ends in its own time.
            std::thread::sleep(Duration::from_millis(100));
        }
        left
    }
}

/// The processes with the mark in their environment, but for the server; only Linux tells.
fn strays(mark: &str, server: u32) -> Vec<String> {
    let wanted = format!("{MARK}={mark}\0");
    let mut strays = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(id) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        if id != server && environment.windows(wanted.len()).any(|part| part == wanted.as_bytes()) {
            let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            strays.push(String::from_utf8_lossy(&command).replace('\0', " ").trim().to_owned());
        }
    }
    strays
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_numbers_and_strings_are_found_at_any_depth() {
        let code = "let a = 1;\nf(|| { g(\"é\"); h(2_0); });";
        let parts = Parts::of(code);
        let texts = |ranges: &[Range<usize>]| ranges.iter().map(|range| code[range.clone()].to_owned()).collect::<Vec<_>>();
        let blocks: Vec<_> = parts.blocks.iter().map(|block| texts(block)).collect();
        assert_eq!(blocks, [vec!["g(\"é\");", "h(2_0);"], vec!["let a = 1;", "f(|| { g(\"é\"); h(2_0); });"]]);
        assert_eq!(texts(&parts.numbers), ["1", "2_0"]);
        assert_eq!(texts(&parts.strings), ["\"é\""]);
        assert_eq!(Parts::of("let = {"), Parts::default());
    }

    #[test]
    fn every_kind_of_change_comes_up_and_the_commands_stay() {
        let cell = ":dep x = \"1\"\nlet a = 7;\nlet b = \"x\";\nf(a);";
        let mut chance = Rng::with_seed(12345);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..200 {
            match mutate(cell, &mut chance) {
                Mutation::Text(how, text) => {
                    assert!(text.starts_with(":dep x = \"1\"\n") && text != cell, "{text}");
                    seen.insert(how);
                }
                Mutation::Interrupt(after) => {
                    assert!(after < Duration::from_secs(2));
                    seen.insert("interrupted");
                }
            }
        }
        assert_eq!(seen.len(), 6, "{seen:?}");
    }

    #[test]
    fn the_same_beginning_gives_the_same_changes() {
        let all = |seed| {
            let mut chance = Rng::with_seed(seed);
            (0..20).map(|_| format!("{:?}", mutate("f(1);\ng(\"x\");", &mut chance))).collect::<Vec<_>>()
        };
        assert_eq!(all(7), all(7));
        assert_ne!(all(7), all(8));
    }

    #[test]
    fn what_is_left_in_a_folder_is_found() {
        let (temporary, sessions) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(temporary.path().join("before"), "").unwrap();
        let mark = "nobody has this mark".to_owned();
        let traces = Traces { temporary: temporary.path(), sessions: sessions.path().to_owned(), mark, server: 0 };
        let before = traces.folders();
        assert!(traces.left_behind(&before).is_empty());
        fs::create_dir(temporary.path().join("after")).unwrap();
        fs::create_dir(sessions.path().join("kernel-x")).unwrap();
        fs::File::create(sessions.path().join("kernel-x/in-use")).unwrap();
        let left = traces.left_behind(&before);
        assert!(left.len() == 2 && left.iter().all(|line| line.ends_with("after") || line.ends_with("kernel-x")), "{left:?}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_with_the_mark_is_found() {
        let mut child = std::process::Command::new("sleep").arg("60").env(MARK, "found").spawn().unwrap();
        // Until it has become `sleep`, it has our environment.
        let found = (0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(20));
            strays("found", 0).iter().any(|process| process.contains("sleep 60"))
        });
        let none = strays("found", child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found && none.is_empty(), "{none:?}");
    }
}
