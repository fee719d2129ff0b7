//! What the compiler made of an `async fn`: its states, and what each of them keeps, where.
//!
//! The names and offsets are the compiler's own. `lowered!` hands the source that the reader is running to the same `rustc` once
//! more and asks for the sizes of all types (`-Zprint-type-sizes`) and for its intermediate code (`--emit=mir`), which
//! has the types of the locals. Nothing is generated, so it takes about as long as a `cargo check` of one small file.
//!
//! ```text
//! the cell's source ──▶ rustc ──▶ print-type-size lines ──▶ Types   sizes, names, offsets
//!                             └─▶ MIR                   ──▶ types of the saved locals
//! Lowered + live bytes ──▶ the state byte picks the variant ──▶ a name for every byte in use
//! ```
//!
//! Invariants:
//! 1. A layout is applied to a value only if size and alignment agree and the state byte names a state that exists.
//! 2. The state byte is the first byte that no state uses for anything else. rustc lays it out that way (the fields that all
//!    states share come first, larger alignments before smaller), and a test compares it with `mem::discriminant`.
//! 3. Both flags are unstable, so `RUSTC_BOOTSTRAP=1` is set for that one process. Lines that this parser does not know are
//!    skipped; what is missing then is an error that says so, never a guess.

use super::xray::{Header, WORD, short_name};
use std::{
    collections::{BTreeMap, HashMap},
    env, fmt, fs,
    ops::Range,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

/// The compiler's layout of one type: of an `async fn`'s future ([`lowered!`](crate::lowered!)) or of a struct
/// ([`layout_of!`](crate::layout_of!)).
#[derive(Debug, Clone)]
pub struct Lowered {
    name: String,
    size: usize,
    align: usize,
    tag: Option<Range<usize>>,
    variants: Vec<Variant>,
    types: Arc<Types>,
}

/// One state of a state machine. A struct has a single one, without a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    name: String,
    fields: Vec<Field>,
}

/// Something that a state keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    name: String,
    kind: FieldKind,
    offset: usize,
    size: usize,
    type_name: Option<String>,
}

/// What a [`Field`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FieldKind {
    /// An argument, as it was passed. The compiler reserves its room in every state, though the body takes it out at the first poll.
    Argument,
    /// A local variable that lives across an `.await`, or a temporary that does.
    Local,
    /// The future that is being awaited.
    Awaited,
    /// A field of a struct.
    Field,
}

/// Why there is no layout.
#[derive(Debug)]
#[non_exhaustive]
pub enum LoweredError {
    /// The source that the caller was compiled from could not be read.
    Source(PathBuf, std::io::Error),
    /// `rustc` could not be started.
    Rustc(PathBuf, std::io::Error),
    /// `rustc` did not accept the source by itself: what it said.
    Rejected(String),
    /// `rustc` said nothing about a type of this name.
    Missing(String),
}

impl fmt::Display for LoweredError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(path, error) => write!(f, "the source of this code is not to be read at {}: {error}", path.display()),
            Self::Rustc(path, error) => write!(
                f,
                "the compiler could not be started ({}: {error}). Put `rustc` on the PATH, or its path into the variable RUSTC.",
                path.display()
            ),
            Self::Rejected(said) => write!(f, "the compiler did not accept this source a second time. It said:\n{said}"),
            Self::Missing(name) => write!(
                f,
                "the compiler gave no layout for `{name}`. It can for an `async fn` or a struct that is written out in this notebook \
                 (in this cell or an earlier one) and has no type parameters."
            ),
        }
    }
}

impl std::error::Error for LoweredError {}

impl Field {
    /// Its name in the source; `__awaitee` for the future that is being awaited.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is.
    pub fn kind(&self) -> FieldKind {
        self.kind
    }

    /// Bytes from the start of the value.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Bytes that it takes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Its type, where the compiler names it.
    pub fn type_name(&self) -> Option<&str> {
        self.type_name.as_deref()
    }

    /// What to call it in a picture.
    pub(crate) fn label(&self) -> String {
        match (self.kind, &self.type_name) {
            (FieldKind::Awaited, Some(what)) => format!("await {}", future_name(what)),
            (FieldKind::Awaited, None) => "await".into(),
            _ if self.name.starts_with("coroutine_field") => "(temporary)".into(),
            _ => self.name.clone(),
        }
    }
}

impl Variant {
    /// `Unresumed` before the first poll, `Suspend0` and so on at each `.await`, `Returned`, `Panicked`; empty for a struct.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is kept, by offset.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The field of that name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

impl Lowered {
    /// The name of the function or type.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes in a value.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Its alignment in bytes.
    pub fn align(&self) -> usize {
        self.align
    }

    /// The states, in the order in which the code runs through them.
    pub fn variants(&self) -> &[Variant] {
        &self.variants
    }

    /// The state of that name.
    pub fn variant(&self, name: &str) -> Option<&Variant> {
        self.variants.iter().find(|variant| variant.name == name)
    }

    /// Whether a local of that name is kept across any `.await`.
    pub fn saves(&self, local: &str) -> bool {
        self.variants.iter().any(|v| v.fields.iter().any(|field| field.kind == FieldKind::Local && field.name == local))
    }

    /// Where the state is kept: offset and size in bytes. `None` for a struct.
    pub(crate) fn tag(&self) -> Option<Range<usize>> {
        self.tag.clone()
    }

    /// Asks the compiler for the layout of `name`, in the source at `site`.
    ///
    /// # Errors
    /// When the source or the compiler is not to be had, or the compiler knows no such type.
    #[doc(hidden)]
    pub fn ask(site: &Site, name: &str) -> Result<Self, LoweredError> {
        let types = Arc::new(Types::ask(site)?);
        types.lowered(name).ok_or_else(|| LoweredError::Missing(name.to_owned()))
    }

    /// The same for the macros, which have nobody to hand an error to.
    ///
    /// # Panics
    /// With the error, in words.
    #[doc(hidden)]
    #[track_caller]
    pub fn ask_or_explain(site: &Site, name: &str) -> Self {
        Self::ask(site, name).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The names of all bytes in use (invariant 1), and the state; or why the layout does not fit.
    pub(crate) fn spans_of(&self, bytes: &[u8], align: usize) -> Result<(Vec<Span>, Option<String>), String> {
        if (bytes.len(), align) != (self.size, self.align) {
            return Err(format!(
                "this is not a value of {}: the layout has {} bytes aligned to {}, the value {} aligned to {}",
                self.name,
                self.size,
                self.align,
                bytes.len(),
                align
            ));
        }
        let mut spans = Vec::new();
        let state = self.add_spans(bytes, 0, "", &mut spans)?;
        Ok((spans, state))
    }

    fn add_spans(&self, bytes: &[u8], base: usize, path: &str, spans: &mut Vec<Span>) -> Result<Option<String>, String> {
        let variant = match &self.tag {
            None => self.variants.first().ok_or_else(|| format!("{} has no fields to name", self.name))?,
            Some(tag) => {
                let mut number = [0; 8];
                let tag_bytes = &bytes[base + tag.start..base + tag.end];
                number[..tag_bytes.len()].copy_from_slice(tag_bytes);
                let number = if cfg!(target_endian = "little") {
                    u64::from_le_bytes(number)
                } else {
                    u64::from_be_bytes(number) >> (8 * (8 - tag_bytes.len()))
                };
                let state = match number {
                    0 => "Unresumed".to_owned(),
                    1 => "Returned".to_owned(),
                    2 => "Panicked".to_owned(),
                    n => format!("Suspend{}", n - 3),
                };
                let name = if path.is_empty() { "state".to_owned() } else { format!("{path}.state") };
                spans.push(Span {
                    offset: base + tag.start,
                    size: tag.len(),
                    field: name.clone(),
                    name,
                    is_state: path.is_empty(),
                });
                self.variant(&state).ok_or_else(|| {
                    format!("this is not a value of {}: its state byte is {number}, and there is no {state}", self.name)
                })?
            }
        };
        // After the end nothing is alive, though the compiler lists the room of the arguments.
        let over = matches!(variant.name.as_str(), "Returned" | "Panicked");
        for field in variant.fields.iter().filter(|field| field.size > 0 && !over) {
            let label = field.label();
            let label = if path.is_empty() { label } else { format!("{path}.{label}") };
            let stale = field.kind == FieldKind::Argument && variant.name != "Unresumed";
            let after = if stale { " (argument)" } else { "" };
            let from = spans.len();
            self.types.expand(bytes, base + field.offset, field.size, field.type_name.as_deref(), &label, spans);
            for span in &mut spans[from..] {
                span.name += after;
                if path.is_empty() {
                    span.field.clone_from(&label);
                }
            }
        }
        Ok(self.tag.is_some().then(|| variant.name.clone()))
    }
}

/// A name for some bytes of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) offset: usize,
    pub(crate) size: usize,
    /// Such as `val.ptr`.
    pub(crate) name: String,
    /// The field it is part of, such as `val`.
    pub(crate) field: String,
    pub(crate) is_state: bool,
}

impl Span {
    pub(crate) fn covers(&self, offset: usize) -> bool {
        (self.offset..self.offset + self.size).contains(&offset)
    }
}

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
}

impl Site {
    fn source(&self) -> PathBuf {
        let manifest = Path::new(self.manifest.unwrap_or("."));
        // Cargo names files relative to the workspace, which is the manifest's folder or one above it.
        manifest.ancestors().map(|folder| folder.join(self.file)).find(|path| path.is_file()).unwrap_or_else(|| self.file.into())
    }

    /// The folders with the compiled dependencies: beside a cargo test, or under the crate of a notebook's cell.
    fn dependencies(&self) -> Vec<PathBuf> {
        let mut near_program = Vec::new();
        if let Ok(program) = env::current_exe() {
            near_program.extend(program.ancestors().skip(1).take(2).flat_map(|at| [at.to_owned(), at.join("deps")]));
        }
        near_program.retain(|folder| !rlibs(folder).is_empty());
        if !near_program.is_empty() {
            return near_program;
        }
        let target = Path::new(self.manifest.unwrap_or(".")).join("target");
        let inside = fs::read_dir(&target).into_iter().flatten().flatten().map(|entry| entry.path());
        inside
            .chain([target.clone()])
            .flat_map(|folder| ["debug", "release"].map(|profile| folder.join(profile)))
            .chain(fs::read_dir(&target).into_iter().flatten().flatten().map(|entry| entry.path()))
            .map(|folder| folder.join("deps"))
            .filter(|folder| folder.is_dir())
            .collect()
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
    found.sort_by(|a, b| b.0.cmp(&a.0));
    found.into_iter().map(|(_, name, path)| (name, path)).collect()
}

/// All types that the compiler told of, by its name for them.
#[derive(Debug, Default)]
struct Types {
    types: HashMap<String, TypeSize>,
    /// The types of saved locals and arguments: by the future's name, then the local's.
    locals: HashMap<String, BTreeMap<String, Vec<String>>>,
    /// The types of struct fields as the source spells them: by the struct's name, then the field's.
    fields: HashMap<String, BTreeMap<String, String>>,
}

#[derive(Debug, Default, Clone)]
struct TypeSize {
    size: usize,
    align: usize,
    discriminant: usize,
    variants: Vec<Variant>,
}

impl Types {
    fn ask(site: &Site) -> Result<Self, LoweredError> {
        let source = site.source();
        let text = fs::read_to_string(&source).map_err(|error| LoweredError::Source(source.clone(), error))?;
        let rustc = PathBuf::from(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        let mut command = Command::new(&rustc);
        command
            .env("RUSTC_BOOTSTRAP", "1")
            .envs(site.manifest.map(|manifest| ("CARGO_MANIFEST_DIR", manifest)))
            .args(["--crate-type=lib", "--crate-name=lowered", "--emit=mir=-", "-Zprint-type-sizes", "--cap-lints=allow"])
            .arg(format!("--edition={}", site.edition()))
            .arg(format!("-Cdebug-assertions={}", if site.debug_assertions { "on" } else { "off" }));
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
        types
    }

    /// The layout of the `async fn` or the type of that name; the one that is nested least deeply when there are several.
    fn lowered(self: &Arc<Self>, name: &str) -> Option<Lowered> {
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
        Some(Lowered { name: future_name(key), size: ty.size, align: ty.align, tag, variants, types: Arc::clone(self) })
    }

    /// Names the parts of a field as far as the compiler told of its type.
    fn expand(self: &Arc<Self>, bytes: &[u8], offset: usize, size: usize, ty: Option<&str>, label: &str, spans: &mut Vec<Span>) {
        let mut whole = || spans.push(Span { offset, size, name: label.to_owned(), field: label.to_owned(), is_state: false });
        let Some(ty) = ty else { return whole() };
        if size == 2 * WORD && is_wide_pointer(ty) {
            let header = Header::of_str();
            for i in 0..header.words {
                let part = if ty.contains("dyn ") && i == header.len { "vtable" } else { header.name(i) };
                let name = format!("{label}.{part}");
                spans.push(Span { offset: offset + i * WORD, size: WORD, name, field: label.to_owned(), is_state: false });
            }
            return;
        }
        let key = self.key(ty, size);
        let inner = key.and_then(|key| self.lowered_exactly(key));
        let known =
            |layout: &Lowered| offset.is_multiple_of(layout.align.max(1)) && layout.variants.iter().any(|v| !v.fields.is_empty());
        let Some(layout) = inner.filter(known) else {
            return whole();
        };
        if layout.tag.is_some() {
            let from = spans.len();
            if layout.add_spans(bytes, offset, label, spans).is_err() {
                spans.truncate(from);
                spans.push(Span { offset, size, name: label.to_owned(), field: label.to_owned(), is_state: false });
            }
            return;
        }
        for field in layout.variants.iter().flat_map(|variant| &variant.fields).filter(|field| field.size > 0) {
            // The layers between a `String` and its three words have names that only std's authors need.
            let hidden = matches!(field.name.as_str(), "vec" | "buf" | "inner") && is_std_buffer(ty);
            let name = if hidden { label.to_owned() } else { format!("{label}.{}", field.name) };
            let below = if hidden { std_child(ty, &field.name) } else { field.type_name.clone() };
            self.expand(bytes, offset + field.offset, field.size, below.as_deref(), &name, spans);
        }
    }

    fn key(&self, ty: &str, size: usize) -> Option<&str> {
        let fits = |key: &&String| self.types.get(*key).is_some_and(|found| found.size == size);
        let exact = self.types.get_key_value(ty).map(|(key, _)| key).filter(fits);
        let short = || self.types.keys().filter(|key| short_name(key) == short_name(ty)).find(fits);
        exact.or_else(short).map(String::as_str)
    }
}

/// Where the state is kept (invariant 2).
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

fn is_std_buffer(ty: &str) -> bool {
    let name = short_name(ty);
    name == "String" || ["Vec<", "RawVec<"].iter().any(|start| name.starts_with(start))
}

fn std_child(ty: &str, field: &str) -> Option<String> {
    let name = short_name(ty);
    let arguments = name.split_once('<').map(|(_, rest)| format!("<{rest}"));
    match field {
        "vec" => Some("Vec<u8>".into()),
        "buf" => Some(format!("RawVec{}", arguments?)),
        "inner" => Some("RawVecInner".into()),
        _ => None,
    }
}

/// `{async fn body of demo::process_data()}` is `process_data`; other types lose their paths.
fn future_name(ty: &str) -> String {
    let function = ty.strip_prefix("{async fn body of ").and_then(|rest| rest.strip_suffix("()}"));
    match function {
        Some(path) => path.rsplit("::").next().unwrap_or(path).to_owned(),
        None if ty.starts_with("{async block@") => "an async block".into(),
        None => short_name(ty),
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
            let body = header.split_once("(_1: Pin<&mut {async").and_then(|(_, rest)| rest.split_once("}>"));
            current = body.map(|(rest, _)| format!("{{async{rest}}}"));
        }
        let Some(future) = &current else { continue };
        let Some((name, place)) = line.trim().strip_prefix("debug ").and_then(|rest| rest.split_once(" => ")) else {
            continue;
        };
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

impl fmt::Display for Lowered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} bytes, aligned to {}", self.name, self.size, self.align)?;
        if let Some(tag) = &self.tag {
            write!(f, ", the state at +{:#04x}", tag.start)?;
        }
        let labels = self.variants.iter().flat_map(|v| &v.fields).map(|field| field.label().chars().count());
        let (state, label) = (self.variants.iter().map(|v| v.name.len()).max().unwrap_or(0), labels.max().unwrap_or(0));
        for variant in &self.variants {
            let mut name = variant.name.as_str();
            if variant.fields.is_empty() || matches!(name, "Returned" | "Panicked") {
                write!(f, "\n  {name:<state$}  nothing is kept")?;
                continue;
            }
            for field in &variant.fields {
                write!(f, "\n  {name:<state$}  +{:#04x}  {:>5} bytes  {:<label$}", field.offset, field.size, field.label())?;
                match (field.kind, &field.type_name) {
                    (FieldKind::Argument, Some(ty)) => write!(f, "  argument, {}", short_name(ty))?,
                    (FieldKind::Argument, None) => write!(f, "  argument")?,
                    (FieldKind::Awaited, _) | (_, None) => {}
                    (_, Some(ty)) => write!(f, "  {}", future_name(ty))?,
                }
                name = "";
            }
        }
        Ok(())
    }
}

/// The compiler's own state machine of an `async fn`: its states, what each keeps, and where.
///
/// Name an `async fn` that is written out in this source file (in a notebook: in this cell or an earlier one), or write
/// one between the braces to look at it only.
///
/// ```no_run
/// use std::time::Duration;
/// async fn sleeping(beauty: u8) -> u8 {
///     std::future::ready(Duration::ZERO).await;
///     beauty
/// }
/// let layout = pinlab::lowered!(sleeping);
/// println!("{layout}");
///
/// let other = pinlab::lowered! {
///     async fn holds_a_buffer() {
///         let buffer = [0u8; 100];
///         std::future::ready(()).await;
///         println!("{buffer:?}");
///     }
/// };
/// assert!(other.saves("buffer"));
/// ```
///
/// # Panics
/// When `rustc` is not to be found, or does not accept the source by itself, or the function has type parameters: with an explanation.
#[macro_export]
macro_rules! lowered {
    ($($name:ident)::+) => {{
        let _ = $($name)::+;
        $crate::lowered!(@ask [$($name)::+] $($name)::+)
    }};
    ($(#[$meta:meta])* $visibility:vis async fn $name:ident $($rest:tt)*) => {{
        #[allow(dead_code)]
        $(#[$meta])* $visibility async fn $name $($rest)*
        $crate::lowered!(@ask [$name] $name)
    }};
    (@ask [$($name:ident)::+] $last:ident) => {
        $crate::probe::Lowered::ask_or_explain(&$crate::__site!(), ::std::stringify!($last))
    };
    (@ask [$($name:ident)::+] $first:ident :: $($rest:tt)+) => {
        $crate::lowered!(@ask [$($name)::+] $($rest)+)
    };
}

/// The compiler's layout of a struct that is written out in this source file (in a notebook: in this cell or an earlier one).
///
/// ```no_run
/// struct Tangled {
///     text: String,
///     text_ptr: *const String,
/// }
/// println!("{}", pinlab::layout_of!(Tangled));
/// ```
///
/// # Panics
/// As [`lowered!`](crate::lowered!) does.
#[macro_export]
macro_rules! layout_of {
    ($what:ty) => {{
        const _: usize = ::std::mem::size_of::<$what>();
        $crate::probe::Lowered::ask_or_explain(&$crate::__site!(), ::std::stringify!($what))
    }};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __site {
    () => {
        $crate::probe::hidden::Site {
            manifest: ::std::option_env!("CARGO_MANIFEST_DIR"),
            file: ::std::file!(),
            debug_assertions: ::std::cfg!(debug_assertions),
        }
    };
}
