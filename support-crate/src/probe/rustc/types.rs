//! What the compiler says of the types in a source: sizes, states, fields and their places.
//!
//! ```text
//! the source file ──▶ rustc -Zprint-type-sizes --emit=mir=- ──▶ types, the types of saved locals ┐
//!                └──▶ rustc -Zunpretty=hir ──────────────────▶ the types of fields (`fields`) ───┴▶ Types
//! ```
//!
//! Invariants:
//! 1. The whole source file is compiled, not a snippet of it: what the function uses (other functions, the reader's
//!    types, other crates) is what it used the first time.
//! 2. An item is known by its whole path, and by the size and alignment that the caller's own compiler gave it. Several that fit are
//!    refused, unless they are alike in every respect. Two of this source with different paths never are: what is in them is spelled
//!    where they stand.
//! 3. Nothing is written, and no code generated.

use super::{
    asked::Asked,
    fields::Structs,
    lowered::{Field, FieldKind, Lowered, LoweredError, Variant},
    names::{alike, future_name, last, outer, same},
    run::{self, Limits, Output},
    site::{Site, compiler},
};
use crate::probe::{
    body::{self, Body},
    xray::short_name,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    ops::Range,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

/// All types in a source.
#[derive(Debug, Default)]
pub(super) struct Types {
    /// By the compiler's name. Blocks may have several of one name.
    types: Vec<(String, TypeSize)>,
    /// The types of saved locals and arguments: by the future's name, then the local's.
    locals: HashMap<String, BTreeMap<String, Vec<String>>>,
    structs: Structs,
    /// Where in the source each state of a future waits, by the future's name.
    bodies: HashMap<String, Arc<Body>>,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct TypeSize {
    size: usize,
    align: usize,
    discriminant: usize,
    variants: Vec<Variant>,
}

/// Whose name for a type it is.
#[derive(Debug, Clone, Copy)]
pub(super) enum By<'a> {
    /// The compiler's: there is one for each type.
    Compiler,
    /// The source's, in the struct of this path.
    Item(&'a str),
    /// The last name of something in std.
    Std,
}

/// The last source that was asked about, and the answer: a cell often asks about several items.
static LAST: Mutex<Option<(PathBuf, String, Arc<Types>)>> = Mutex::new(None);

impl Types {
    pub(super) fn ask(site: &Site) -> Result<Arc<Self>, LoweredError> {
        let source = site.source();
        let text = fs::read_to_string(&source).map_err(|error| LoweredError::Source(source.clone(), error))?;
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((path, known, types)) = &*last
            && (path, known) == (&source, &text)
        {
            return Ok(Arc::clone(types));
        }
        let (sizes, hir) = thread::scope(|scope| {
            let sizes =
                scope.spawn(|| compile(site, &source, &text, &["--emit=mir=-", "-Zprint-type-sizes", "-Zmir-include-spans=on"]));
            let hir = compile(site, &source, &text, &["-Zunpretty=hir"]);
            (sizes.join(), hir)
        });
        let sizes = sizes.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let types = Arc::new(Self::parse(&sizes, &hir?, &text));
        *last = Some((source, text, Arc::clone(&types)));
        Ok(types)
    }

    pub(super) fn parse(sizes: &str, hir: &str, source: &str) -> Self {
        let (types, locals) = (sizes_in(sizes), locals(sizes));
        Self { types, locals, structs: Structs::parse(hir), bodies: body::bodies(sizes, source) }
    }

    /// The layout of what was asked about (invariant 2).
    pub(super) fn find(self: &Arc<Self>, asked: &Asked, site: &Site) -> Result<Lowered, LoweredError> {
        let name = || asked.spelled.to_owned();
        let krate = site.crate_name();
        let printed = |key: &str| match key.strip_prefix("{async fn body of ").and_then(|key| key.strip_suffix("()}")) {
            Some(function) => asked.is_function && same(asked.name, krate, function),
            None => !asked.is_function && same(asked.name, krate, key),
        };
        let fits = |ty: &TypeSize| (ty.size, ty.align) == (asked.size, asked.align);
        let mut fitting = self.types.iter().filter(|(key, ty)| fits(ty) && printed(key));
        let Some((key, ty)) = fitting.next() else {
            let is_here = || asked.name.trim_start_matches(['<', '(', '[', '&']).starts_with(&format!("{krate}::"));
            return Err(match self.types.iter().find(|(key, _)| printed(key)) {
                Some((_, ty)) => LoweredError::OtherSize { name: name(), live: asked.size, printed: ty.size },
                None if asked.is_generic() => LoweredError::Generic(name()),
                None if asked.is_function && !is_here() => LoweredError::Elsewhere(name()),
                None => LoweredError::Missing(name()),
            });
        };
        if fitting.any(|(_, other)| other != ty) {
            return Err(LoweredError::Ambiguous(name()));
        }
        let named_variants = ty.variants.iter().any(|variant| !variant.name.is_empty());
        if !asked.is_function && (named_variants || self.structs.is_union(without_arguments(key))) {
            return Err(LoweredError::NoStruct(name()));
        }
        self.layout(key, ty).ok_or_else(|| LoweredError::Missing(name()))
    }

    fn layout(self: &Arc<Self>, key: &str, ty: &TypeSize) -> Option<Lowered> {
        let mut variants = ty.variants.clone();
        let is_future = key.starts_with("{async");
        if variants.len() > 1 && !is_future {
            return None; // An enum: which variant is alive may be hidden in a niche.
        }
        if !is_future && (self.structs.is_union(without_arguments(key)) || variants.iter().any(overlap)) {
            return None; // A union: nothing says which of its fields is alive.
        }
        for variant in &mut variants {
            let names: Vec<String> = variant.fields.iter().map(|field| field.name.clone()).collect();
            let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
            for field in variant.fields.iter_mut().filter(|field| field.type_name.is_none()) {
                field.type_name = if is_future {
                    let known = self.locals.get(key).and_then(|locals| locals.get(&field.name)).map(Vec::as_slice);
                    if let Some([only]) = known { Some(only.clone()) } else { None }
                } else {
                    self.structs.field_type(without_arguments(key), &names, &field.name).map(str::to_owned)
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
        // Of several with one name, it is not known whose source it is.
        let is_only = self.types.iter().filter(|(other, _)| other == key).count() == 1;
        Some(Lowered {
            name: future_name(key),
            key: key.to_owned(),
            size: ty.size,
            align: ty.align,
            tag,
            variants,
            body: self.bodies.get(key).filter(|_| is_only).cloned(),
            types: Arc::clone(self),
        })
    }

    /// The layout of a type by the name that a field has for it. `None` where that could be several (invariant 2).
    pub(super) fn layout_of(self: &Arc<Self>, ty: &str, size: usize, by: By<'_>) -> Option<Lowered> {
        if let By::Item(item) = by {
            let path = ty.split('<').next().unwrap_or(ty);
            if self.resolve(path, item).is_none() && path.split("::").any(|name| self.structs.is_alias(name)) {
                return None;
            }
        }
        let short = short_name(ty);
        let fits = |key: &str| match by {
            By::Compiler => key == ty,
            By::Item(item) => short_name(key) == short && alike(ty, key, |path, printed| self.means(path, item, printed)),
            By::Std => short_name(key) == short && !self.is_own(key),
        };
        let mut found = self.types.iter().filter(|(key, ty)| ty.size == size && fits(key));
        let (key, ty) = found.next()?;
        let is_one = |other: &str| other == key || !self.is_own(other) && !self.is_own(key);
        found.all(|(other, layout)| layout == ty && is_one(other)).then(|| self.layout(key, ty))?
    }

    /// Whether the source declares this struct, and not another crate.
    pub(super) fn is_own(&self, key: &str) -> bool {
        self.structs.declares(without_arguments(key))
    }

    /// Whether a path in the source, in the struct `item`, can mean the one that the compiler prints. Where an import leads is not looked at: there the
    /// last name decides.
    fn means(&self, path: &str, item: &str, printed: &str) -> bool {
        let is_std = || matches!(path.split("::").next(), Some("std" | "core" | "alloc"));
        match self.resolve(path, item) {
            Some(whole) => whole == printed,
            None => last(path) == last(printed) && !(is_std() && self.structs.declares(printed)),
        }
    }

    /// The whole path of what a path in the struct `item` means, if that is a type in a module of this source.
    fn resolve(&self, path: &str, item: &str) -> Option<String> {
        let mut module = self.structs.module_of(item)?;
        // In a function the names of its blocks come first, and which block it is, no path tells.
        let mut is_known = outer(item) == module;
        let mut rest = path;
        while let Some((first @ ("crate" | "self" | "super"), names)) = rest.split_once("::") {
            module = match first {
                "crate" => "",
                "super" => self.structs.module_of(module)?,
                _ => module,
            };
            (is_known, rest) = (true, names);
        }
        let whole = if module.is_empty() { rest.to_owned() } else { format!("{module}::{rest}") };
        let is_type = || self.types.iter().any(|(key, _)| without_arguments(key) == whole);
        (is_known && self.structs.module_of(&whole) == Some(outer(&whole)) && is_type()).then_some(whole)
    }
}

/// `Keeper<'_, u8>` is declared as `Keeper`.
pub(super) fn without_arguments(key: &str) -> &str {
    let mut depth = 0_usize;
    if !key.ends_with('>') {
        return key;
    }
    let start = key.char_indices().rev().find_map(|(at, c)| {
        match c {
            '>' if !key[..at].ends_with('-') => depth += 1,
            '<' => depth -= 1,
            _ => {}
        }
        (depth == 0).then_some(at)
    });
    &key[..start.unwrap_or(key.len())]
}

/// A whole source is more than a snippet, and a classroom's machine is busy.
const LIMITS: Limits = Limits { time: Duration::from_secs(120), ..run::COMPILER };

/// Compiles a source file, with what was on when it was compiled the first time. Two flags of this are unstable.
fn compile(site: &Site, source: &Path, text: &str, arguments: &[&str]) -> Result<String, LoweredError> {
    let rustc = compiler();
    let mut command = Command::new(&rustc);
    command
        .env("RUSTC_BOOTSTRAP", "1")
        .envs(site.manifest.map(|manifest| ("CARGO_MANIFEST_DIR", manifest)))
        .args(["--crate-type=lib", "--crate-name=lowered", "--cap-lints=allow"])
        .args(arguments)
        .arg(format!("--edition={}", site.edition()))
        .arg(format!("-Cdebug-assertions={}", if site.debug_assertions { "on" } else { "off" }));
    if site.test {
        command.arg("--test");
    }
    site.lend_dependencies(text, &mut command);
    let Output { status, stdout, stderr, stopped } =
        run::run(command.arg(source), "", LIMITS).map_err(|error| LoweredError::Rustc(rustc, error))?;
    match stopped {
        Some(stopped) => Err(LoweredError::Rejected(stopped.to_string())),
        None if !status.success() => Err(LoweredError::Rejected(stderr.trim_end().to_owned())),
        None => Ok(stdout),
    }
}

/// The types in lines such as `print-type-size type: `Pause`: 1 bytes, alignment: 1 bytes`, each followed by its parts.
fn sizes_in(output: &str) -> Vec<(String, TypeSize)> {
    let mut types = Vec::new();
    let mut current: Option<(String, TypeSize)> = None;
    let mut end = 0;
    for line in output.lines().filter_map(|line| line.strip_prefix("print-type-size ")) {
        let line = line.trim();
        if let Some(rest) = line.strip_prefix("type: `") {
            types.extend(current.take());
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
    types.extend(current);
    types
}

/// The bytes of fields, in their order.
fn ranges<'a>(fields: impl Iterator<Item = &'a Field>) -> Vec<Range<usize>> {
    let mut ranges: Vec<_> = fields.filter(|field| field.size > 0).map(|field| field.offset..field.offset + field.size).collect();
    ranges.sort_unstable_by_key(|range| range.start);
    ranges
}

/// Whether two fields have a byte in common: in a union they have.
fn overlap(variant: &Variant) -> bool {
    ranges(variant.fields.iter()).windows(2).any(|pair| pair[0].end > pair[1].start)
}

/// Where the state is kept (invariant 2 of `lowered`).
fn tag_of(ty: &TypeSize) -> Option<Range<usize>> {
    let (len, mut start) = (ty.discriminant, 0);
    if len == 0 {
        return None;
    }
    for field in ranges(ty.variants.iter().flat_map(|variant| &variant.fields)) {
        if field.end > ty.size {
            return None;
        }
        if start + len > field.start {
            start = start.max(field.end.next_multiple_of(len));
        }
    }
    (start + len <= ty.size).then(|| start..start + len)
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
        if let Some(typed) = saved_type(place) {
            let types = all.entry(future.clone()).or_default().entry(name.to_owned()).or_default();
            if !types.iter().any(|known| known == typed) {
                types.push(typed.to_owned());
            }
        }
    }
    all
}

/// `String` in `(((*_9) as variant#3).0: String);`, and in `((*_9).0: String);`, which is an argument. A part of a saved local has more
/// brackets, and is not what is saved.
fn saved_type(place: &str) -> Option<&str> {
    let inside = place.strip_suffix(");")?.strip_prefix('(')?;
    let (owner, rest) = inside.split_once(").")?;
    let (number, typed) = rest.split_once(": ")?;
    number.parse::<usize>().ok()?;
    let variable = |text: &str| text.strip_prefix("(*_").is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let is_whole = match owner.strip_prefix('(').and_then(|owner| owner.split_once(") as variant#")) {
        Some((owner, variant)) => variable(owner) && variant.parse::<usize>().is_ok(),
        None => variable(owner),
    };
    is_whole.then_some(typed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_found_in_a_gap_without_the_memory_of_a_value() {
        // Of fields by their offsets and sizes.
        let tag = |size, discriminant, fields: &[(usize, usize)]| {
            let field = |&(offset, size): &(usize, usize)| Field {
                name: String::new(),
                kind: FieldKind::Local,
                offset,
                size,
                type_name: None,
            };
            let variants = vec![Variant { name: String::new(), fields: fields.iter().map(field).collect() }];
            tag_of(&TypeSize { size, align: 1, discriminant, variants })
        };
        const HUGE: usize = isize::MAX as usize;
        assert_eq!(tag(HUGE, 1, &[(0, HUGE - 1)]), Some(HUGE - 1..HUGE));
        assert_eq!(tag(24, 4, &[(16, 8), (0, 5), (2, 3), (6, 0)]), Some(8..12));
        assert_eq!((tag(8, 4, &[(4, 4)]), tag(8, 4, &[(0, 5)])), (Some(0..4), None));
        assert_eq!((tag(8, 1, &[(0, 8)]), tag(8, 1, &[(0, 9)]), tag(8, 0, &[])), (None, None, None));
    }
}
