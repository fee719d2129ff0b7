//! Asking the compiler: the reader's own source goes through the same `rustc` once more, and its answers are read.
//!
//! ```text
//! Site ──▶ the source file, the compiled dependencies ──▶ rustc -Zprint-type-sizes --emit=mir=- ──▶ Types
//! ```
//!
//! Invariants:
//! 1. The whole source file is compiled, not a snippet of it: what the function uses (other functions, the reader's
//!    types, other crates) is what it used the first time.
//! 2. Nothing is written: the compiler prints, and generates no code.
//! 3. Both flags are unstable, so `RUSTC_BOOTSTRAP=1` is set for that one process. Lines that this parser does not know are
//!    skipped; what is missing then is an error that says so, never a guess.

pub(crate) mod run;
pub(crate) mod snippet;

use super::{
    body::{self, Body},
    lowered::{Field, FieldKind, Lowered, LoweredError, Span, Variant, future_name},
    xray::{Header, WORD, short_name},
};
use std::{
    collections::{BTreeMap, HashMap},
    env, fs,
    ops::Range,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

/// Where a macro stands: enough to find its source and its crate's dependencies again.
#[doc(hidden)]
#[derive(Debug, Clone)]
pub struct Site {
    /// The folder of the crate's manifest, as cargo tells the compiler.
    pub manifest: Option<&'static str>,
    /// The source file, as the compiler was given it.
    pub file: &'static str,
    /// Whether debug assertions were on: they are code, so they may change what is kept.
    pub debug_assertions: bool,
    /// Whether it is the crate's tests that are being compiled: their functions exist only there.
    pub test: bool,
    /// The line of the macro in that file.
    pub line: u32,
}

impl Site {
    pub(crate) fn source(&self) -> PathBuf {
        let manifest = Path::new(self.manifest.unwrap_or("."));
        // Cargo names files relative to the workspace, which is the manifest's folder or one above it.
        manifest.ancestors().map(|folder| folder.join(self.file)).find(|path| path.is_file()).unwrap_or_else(|| self.file.into())
    }

    /// The folders with the compiled dependencies: beside a program of cargo's, or under the crate that the notebook
    /// kernel builds its cells in.
    fn dependencies(&self) -> Vec<PathBuf> {
        let program = env::current_exe().unwrap_or_default();
        let beside = program.ancestors().skip(1).take(2).flat_map(|at| [at.to_owned(), at.join("deps")]);
        let beside: Vec<PathBuf> = beside.filter(|folder| !rlibs(folder).is_empty()).collect();
        if !beside.is_empty() {
            return beside;
        }
        // `target/<triple>` has what the code links with, `target` itself the procedural macros.
        let target = Path::new(self.manifest.unwrap_or(".")).join("target");
        let triples = fs::read_dir(&target).into_iter().flatten().flatten().map(|entry| entry.path());
        let profiles = triples.chain([target.clone()]).flat_map(|at| ["debug", "release"].map(|profile| at.join(profile)));
        profiles.map(|profile| profile.join("deps")).filter(|folder| folder.is_dir()).collect()
    }

    /// Hands the compiler the crates whose names stand in `source`, as the cell has them.
    pub(crate) fn lend_dependencies(&self, source: &str, command: &mut Command) {
        let mut known = Vec::new();
        for folder in self.dependencies() {
            command.arg("-L").arg(format!("dependency={}", folder.display()));
            for (name, path) in rlibs(&folder) {
                if source.contains(&name) && !known.contains(&name) {
                    command.arg("--extern").arg(format!("{name}={}", path.display()));
                    known.push(name);
                }
            }
        }
    }

    fn edition(&self) -> String {
        let manifest = fs::read_to_string(Path::new(self.manifest.unwrap_or(".")).join("Cargo.toml")).unwrap_or_default();
        let edition = manifest.lines().find_map(|line| line.trim().strip_prefix("edition")?.trim().strip_prefix('='));
        edition.map_or("2024", |edition| edition.trim().trim_matches('"')).to_owned()
    }
}

/// The compiled libraries in a folder: crate name, path, newest first.
fn rlibs(folder: &Path) -> Vec<(String, PathBuf)> {
    let mut found: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let path = entry.path();
            let name = path.file_name()?.to_str()?.strip_prefix("lib")?.strip_suffix(".rlib")?.rsplit_once('-')?.0.to_owned();
            let age = entry.metadata().ok()?.modified().ok()?;
            Some((age, name, path))
        })
        .collect();
    found.sort_by_key(|(age, ..)| std::cmp::Reverse(*age));
    found.into_iter().map(|(_, name, path)| (name, path)).collect()
}

/// All types that the compiler told of, by its name for them.
#[derive(Debug, Default)]
pub(crate) struct Types {
    types: HashMap<String, TypeSize>,
    /// The types of saved locals and arguments: by the future's name, then the local's.
    locals: HashMap<String, BTreeMap<String, Vec<String>>>,
    /// The types of struct fields as the source spells them: by the struct's name, then the field's.
    fields: HashMap<String, BTreeMap<String, String>>,
    /// Where in the source each state of a future waits, by the future's name.
    bodies: HashMap<String, Arc<Body>>,
}

#[derive(Debug, Default, Clone)]
struct TypeSize {
    size: usize,
    align: usize,
    discriminant: usize,
    variants: Vec<Variant>,
}

impl Types {
    pub(crate) fn ask(site: &Site) -> Result<Self, LoweredError> {
        let source = site.source();
        let text = fs::read_to_string(&source).map_err(|error| LoweredError::Source(source.clone(), error))?;
        let rustc = PathBuf::from(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        let mut command = Command::new(&rustc);
        command
            .env("RUSTC_BOOTSTRAP", "1")
            .envs(site.manifest.map(|manifest| ("CARGO_MANIFEST_DIR", manifest)))
            .args([
                "--crate-type=lib",
                "--crate-name=lowered",
                "--emit=mir=-",
                "-Zprint-type-sizes",
                "-Zmir-include-spans=on",
                "--cap-lints=allow",
            ])
            .arg(format!("--edition={}", site.edition()))
            .arg(format!("-Cdebug-assertions={}", if site.debug_assertions { "on" } else { "off" }));
        if site.test {
            command.arg("--test");
        }
        site.lend_dependencies(&text, &mut command);
        let output = command.arg(&source).output().map_err(|error| LoweredError::Rustc(rustc, error))?;
        if !output.status.success() {
            return Err(LoweredError::Rejected(String::from_utf8_lossy(&output.stderr).trim_end().to_owned()));
        }
        Ok(Self::parse(&String::from_utf8_lossy(&output.stdout), &text))
    }

    fn parse(output: &str, source: &str) -> Self {
        let mut types = Self { fields: struct_fields(source), ..Self::default() };
        let mut current: Option<(String, TypeSize)> = None;
        let mut end = 0;
        for line in output.lines().filter_map(|line| line.strip_prefix("print-type-size ")) {
            let line = line.trim();
            if let Some(rest) = line.strip_prefix("type: `") {
                types.types.extend(current.take());
                let Some((name, rest)) = rest.rsplit_once("`: ") else {
                    continue;
                };
                let (size, align) = (number_before(rest, "bytes"), number_after(rest, "alignment: "));
                current = Some((name.to_owned(), TypeSize { size, align: align.unwrap_or(1), ..TypeSize::default() }));
                end = 0;
                continue;
            }
            let Some((_, ty)) = &mut current else {
                continue;
            };
            if let Some(rest) = line.strip_prefix("discriminant: ") {
                ty.discriminant = number_before(rest, "bytes");
            } else if let Some(rest) = line.strip_prefix("variant `") {
                let name = rest.split('`').next().unwrap_or_default().to_owned();
                ty.variants.push(Variant { name, fields: Vec::new() });
                end = ty.discriminant;
            } else if let Some(rest) = line.strip_prefix("padding: ") {
                end += number_before(rest, "bytes");
            } else if let Some((kind, rest)) = line.split_once(" `.") {
                let Some((name, rest)) = rest.split_once("`: ") else {
                    continue;
                };
                let kind = match kind {
                    "upvar" => FieldKind::Argument,
                    "local" if name == "__awaitee" => FieldKind::Awaited,
                    "local" => FieldKind::Local,
                    _ => FieldKind::Field,
                };
                let (size, offset) = (number_before(rest, "bytes"), number_after(rest, "offset: ").unwrap_or(end));
                let type_name = rest.split_once(", type: ").map(|(_, name)| name.to_owned());
                end = offset + size;
                if ty.variants.is_empty() {
                    ty.variants.push(Variant { name: String::new(), fields: Vec::new() });
                }
                let fields = ty.variants.last_mut().map(|variant| &mut variant.fields);
                fields.into_iter().for_each(|fields| {
                    fields.push(Field { name: name.to_owned(), kind, offset, size, type_name: type_name.clone() });
                });
            }
        }
        types.types.extend(current);
        types.locals = locals(output);
        types.bodies = body::bodies(output, source);
        types
    }

    /// The layout of the `async fn` or the type of that name; the one that is nested least deeply when there are several.
    pub(crate) fn lowered(self: &Arc<Self>, name: &str) -> Option<Lowered> {
        let names = self.types.keys().filter(|key| match key.strip_prefix("{async fn body of ") {
            Some(function) => function.split(['<', '(']).next().and_then(|path| path.rsplit("::").next()) == Some(name),
            None => !key.starts_with('{') && short_name(key) == short_name(name),
        });
        let key = names.min_by_key(|key| (key.matches("::").count(), key.len()))?;
        self.lowered_exactly(key)
    }

    fn lowered_exactly(self: &Arc<Self>, key: &str) -> Option<Lowered> {
        let ty = self.types.get(key)?;
        let mut variants = ty.variants.clone();
        let is_future = key.starts_with("{async");
        if variants.len() > 1 && !is_future {
            return None; // An enum: which variant is alive may be hidden in a niche.
        }
        for variant in &mut variants {
            for field in variant.fields.iter_mut().filter(|field| field.type_name.is_none()) {
                field.type_name = match self.locals.get(key).and_then(|locals| locals.get(&field.name)).map(Vec::as_slice) {
                    Some([only]) => Some(only.clone()),
                    _ => self.fields.get(&short_name(key)).and_then(|fields| fields.get(&field.name)).cloned(),
                };
            }
            // Its argument was moved into a local of the same name: the local is what counts.
            let locals: Vec<String> =
                variant.fields.iter().filter(|f| f.kind == FieldKind::Local).map(|f| f.name.clone()).collect();
            variant.fields.retain(|field| field.kind != FieldKind::Argument || !locals.contains(&field.name));
        }
        let tag = is_future.then(|| tag_of(ty)).flatten();
        if is_future && tag.is_none() {
            return None;
        }
        Some(Lowered {
            name: future_name(key),
            size: ty.size,
            align: ty.align,
            tag,
            variants,
            body: self.bodies.get(key).cloned(),
            types: Arc::clone(self),
        })
    }

    /// Names the parts of what lies at `at` as far as the compiler told of its type. All are parts of `field`, unless
    /// they are fields of an `async fn`'s future inside it.
    pub(crate) fn expand(
        self: &Arc<Self>,
        bytes: &[u8],
        at: Range<usize>,
        ty: Option<&str>,
        field: &str,
        label: &str,
        spans: &mut Vec<Span>,
    ) {
        let span = |name: String, at: Range<usize>| Span {
            offset: at.start,
            size: at.len(),
            name,
            field: field.to_owned(),
            is_state: false,
        };
        let whole = span(label.to_owned(), at.clone());
        let Some(ty) = ty else {
            return spans.push(whole);
        };
        if at.len() == 2 * WORD && is_wide_pointer(ty) {
            let header = Header::of_str();
            return spans.extend((0..header.words).map(|i| {
                let part = if ty.contains("dyn ") && i == header.len { "vtable" } else { header.name(i) };
                let start = at.start + i * WORD;
                span(format!("{label}.{part}"), start..start + WORD)
            }));
        }
        let layout = self.key(ty, at.len()).and_then(|key| self.lowered_exactly(key));
        let Some(layout) = layout.filter(|layout| layout.variants.iter().any(|variant| !variant.fields.is_empty())) else {
            return spans.push(whole);
        };
        if layout.tag.is_some() {
            let from = spans.len();
            if layout.add_spans(bytes, at.start, label, spans).is_err() {
                spans.truncate(from);
                spans.push(whole);
            }
            return;
        }
        for part in layout.variants.iter().flat_map(|variant| &variant.fields).filter(|part| part.size > 0) {
            let at = at.start + part.offset..at.start + part.offset + part.size;
            // The layers between a `String` and its three words have names that only std's authors need.
            match std_layer(ty, &part.name) {
                Some(inner) => self.expand(bytes, at, Some(&inner), field, label, spans),
                None => {
                    let label = format!("{label}.{}", part.name);
                    self.expand(bytes, at, part.type_name.as_deref(), field, &label, spans);
                }
            }
        }
    }

    fn key(&self, ty: &str, size: usize) -> Option<&str> {
        let fits = |key: &&String| self.types.get(*key).is_some_and(|found| found.size == size);
        let exact = self.types.get_key_value(ty).map(|(key, _)| key).filter(fits);
        let short = || self.types.keys().filter(|key| short_name(key) == short_name(ty)).find(fits);
        exact.or_else(short).map(String::as_str)
    }
}

/// Where the state is kept (invariant 2 of `lowered`).
fn tag_of(ty: &TypeSize) -> Option<Range<usize>> {
    let mut used = vec![false; ty.size];
    for field in ty.variants.iter().flat_map(|variant| &variant.fields) {
        used.get_mut(field.offset..field.offset + field.size)?.fill(true);
    }
    let len = ty.discriminant;
    let free = |start: &usize| used.get(*start..start + len).is_some_and(|bytes| !bytes.contains(&true));
    (len > 0).then(|| (0..ty.size).step_by(len).find(free)).flatten().map(|start| start..start + len)
}

fn is_wide_pointer(ty: &str) -> bool {
    let target = ["&mut ", "&", "*const ", "*mut "].iter().find_map(|sigil| ty.strip_prefix(sigil));
    let boxed = || ty.strip_prefix("std::boxed::Box<").or_else(|| ty.strip_prefix("Box<"))?.strip_suffix('>');
    target.or_else(boxed).is_some_and(|target| {
        let target =
            target.strip_prefix('\'').and_then(|t| t.split_once(' ')).map_or(target, |(_, t)| t).trim_start_matches("mut ");
        target == "str"
            || target.starts_with("dyn ")
            || target.starts_with("(dyn ")
            || (target.starts_with('[') && !target.contains(';'))
    })
}

/// What is inside a `String`, a `Vec` or its buffer, in std's words: layers that hold nothing else.
fn std_layer(ty: &str, field: &str) -> Option<String> {
    let name = short_name(ty);
    let (outer, arguments) = name.split_at(name.find('<').unwrap_or(name.len()));
    match (outer, field) {
        ("String", "vec") => Some("Vec<u8>".into()),
        ("Vec", "buf") => Some(format!("RawVec{arguments}")),
        ("RawVec", "inner") => Some("RawVecInner".into()),
        _ => None,
    }
}

fn number_before(text: &str, unit: &str) -> usize {
    text.split(unit).next().and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

fn number_after(text: &str, label: &str) -> Option<usize> {
    text.split_once(label)?.1.split(' ').next()?.parse().ok()
}

/// The types of saved locals, out of lines of MIR such as `debug val => (((*_9) as variant#3).0: String);`.
fn locals(mir: &str) -> HashMap<String, BTreeMap<String, Vec<String>>> {
    let mut all: HashMap<String, BTreeMap<String, Vec<String>>> = HashMap::new();
    let mut current = None;
    for line in mir.lines().filter(|line| !line.starts_with("print-type-size")) {
        if let Some(header) = line.strip_prefix("fn ") {
            let body = header.split_once("Pin<&mut {async").and_then(|(_, rest)| rest.split_once("}>"));
            current = body.map(|(rest, _)| format!("{{async{rest}}}"));
        }
        let Some(future) = &current else { continue };
        let Some((name, place)) = line.trim().strip_prefix("debug ").and_then(|rest| rest.split_once(" => ")) else {
            continue;
        };
        let place = place.split_once("//").map_or(place, |(place, _)| place.trim_end());
        let typed = place.match_indices(").").find_map(|(at, _)| {
            let (number, rest) = place[at + 2..].split_once(": ")?;
            number.parse::<usize>().ok()?;
            rest.strip_suffix(");")
        });
        if let Some(typed) = typed {
            let types = all.entry(future.clone()).or_default().entry(name.to_owned()).or_default();
            if !types.iter().any(|known| known == typed) {
                types.push(typed.to_owned());
            }
        }
    }
    all
}

/// The fields of the structs that a source spells out, with their types as written.
fn struct_fields(source: &str) -> HashMap<String, BTreeMap<String, String>> {
    let mut all = HashMap::new();
    let code: String = source.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    for (at, _) in code.match_indices("struct ") {
        let Some((head, body)) = code[at + 7..].split_once('{') else {
            continue;
        };
        let name = head.split(['<', ' ', ';', '(']).next().unwrap_or_default();
        if name.is_empty() || head.contains([';', '(', ')']) {
            continue;
        }
        let mut fields = BTreeMap::new();
        let (mut depth, mut part) = (0usize, String::new());
        for c in body.chars() {
            match c {
                '}' if depth == 0 => break,
                ',' if depth == 0 => add_field(&std::mem::take(&mut part), &mut fields),
                _ => {
                    match c {
                        '<' | '(' | '[' | '{' => depth += 1,
                        '>' | ')' | ']' | '}' => depth = depth.saturating_sub(1),
                        _ => {}
                    }
                    part.push(c);
                }
            }
        }
        add_field(&part, &mut fields);
        all.insert(name.to_owned(), fields);
    }
    all
}

fn add_field(text: &str, fields: &mut BTreeMap<String, String>) {
    if let Some((name, ty)) = text.split_once(':') {
        let name = name.split_whitespace().last().unwrap_or_default();
        fields.insert(name.to_owned(), ty.split_whitespace().collect::<Vec<_>>().join(" "));
    }
}
