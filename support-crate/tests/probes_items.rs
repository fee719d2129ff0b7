//! `lowered!` and `layout_of!` show the item that was named, whatever else has that name, or say why they cannot.

use pinlab::{
    layout_of, lowered,
    probe::{FutureSlot, Lowered, XRay},
};
use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

struct Pause(bool);

impl Future for Pause {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) { Poll::Ready(()) } else { Poll::Pending }
    }
}

async fn pause() {
    Pause(false).await;
}

/// Bytes of the local `buffer` that is kept.
fn buffer(layout: &Lowered) -> usize {
    layout.variant("Suspend0").and_then(|state| state.field("buffer")).map_or(0, |field| field.size())
}

/// What a probe says when it refuses.
fn refusal(ask: impl FnOnce() -> Lowered) -> String {
    match catch_unwind(AssertUnwindSafe(ask)) {
        Ok(shown) => panic!("it was not refused:\n{shown}"),
        Err(payload) => payload.downcast_ref::<String>().cloned().expect("it panics with a text"),
    }
}

macro_rules! greet {
    ($bytes:literal) => {
        pub(crate) async fn greet() -> usize {
            let buffer = std::hint::black_box([0u8; $bytes]);
            crate::pause().await;
            buffer.len()
        }
    };
}

greet!(10);

mod ma {
    greet!(20);
    pub(crate) mod deep {
        greet!(30);
    }
    #[allow(dead_code)]
    pub(crate) struct P {
        pub(crate) small: u8,
    }
}

mod mb {
    greet!(40);
    #[allow(dead_code)]
    pub(crate) struct P {
        pub(crate) large: [u64; 4],
    }
}

struct Client;

impl Client {
    greet!(50);
}

trait Greet {
    async fn greet() -> usize;
}

impl Greet for Client {
    async fn greet() -> usize {
        let buffer = std::hint::black_box([0u8; 60]);
        pause().await;
        buffer.len()
    }
}

#[test]
fn the_whole_path_counts() {
    let shown = [lowered!(greet), lowered!(ma::greet), lowered!(ma::deep::greet), lowered!(crate::mb::greet)];
    assert_eq!(shown.each_ref().map(buffer), [10, 20, 30, 40]);
    assert_eq!([buffer(&lowered!(Client::greet)), buffer(&lowered!(<Client as Greet>::greet))], [50, 60]);
    assert_eq!([layout_of!(ma::P).size(), layout_of!(mb::P).size()], [1, 32]);
    assert!(layout_of!(mb::P).variants()[0].field("large").is_some());
}

#[test]
fn an_item_in_a_block_is_meant_where_it_stands() {
    greet!(70);
    #[allow(dead_code)]
    struct P {
        inner: [u8; 7],
    }
    assert_eq!(buffer(&lowered!(greet)), 70);
    assert_eq!(layout_of!(P).size(), 7);
    let written_here = lowered! {
        async fn greet() {
            let buffer = std::hint::black_box([0u8; 80]);
            Pause(false).await;
            println!("{}", buffer.len());
        }
    };
    assert_eq!(buffer(&written_here), 80);
}

#[test]
fn imports_and_other_names_lead_to_what_they_stand_for() {
    use mb::{P as Renamed, greet as welcome};
    type Alias = ma::P;
    assert_eq!(buffer(&lowered!(welcome)), 40);
    assert_eq!((layout_of!(Renamed).size(), layout_of!(Alias).size()), (32, 1));
    assert!(layout_of!(Alias).variants()[0].field("small").is_some());
}

#[test]
fn two_of_one_path_and_size_are_refused_and_of_another_size_are_not() {
    #[allow(dead_code)]
    fn with(first: bool) -> (Result<usize, String>, Result<usize, String>) {
        let text = |payload: Box<dyn std::any::Any + Send>| payload.downcast_ref::<String>().cloned().unwrap_or_default();
        if first {
            struct Twin {
                left: u8,
            }
            struct Size {
                one: u8,
            }
            let twin = catch_unwind(|| layout_of!(Twin).size()).map_err(text);
            (twin, catch_unwind(|| layout_of!(Size).size()).map_err(text))
        } else {
            struct Twin {
                right: u8,
            }
            struct Size {
                two: u16,
            }
            let twin = catch_unwind(|| layout_of!(Twin).size()).map_err(text);
            (twin, catch_unwind(|| layout_of!(Size).size()).map_err(text))
        }
    }
    let (twin, size) = with(true);
    assert!(twin.as_ref().unwrap_err().contains("could be one of several items with the same path and size"), "{twin:?}");
    assert_eq!(size, Ok(1));
    assert_eq!(with(false).1, Ok(2));
}

#[test]
fn what_is_generic_elsewhere_or_no_async_fn_is_refused_and_the_words_say_why() {
    async fn generic<T>(value: T) -> T {
        pause().await;
        value
    }
    fn returns_one() -> impl Future<Output = ()> {
        pause()
    }
    #[allow(dead_code)]
    enum Either {
        This(u64),
        That,
    }
    #[allow(dead_code)]
    union Both {
        this: u64,
        that: u8,
    }
    // With its parameters named it has one layout, if anybody uses it so; in no other case.
    assert_eq!(lowered!(generic::<u8>).size(), size_of_val(&generic(7_u8)));
    assert!(refusal(|| lowered!(returns_one)).contains("not an `async fn`"));
    assert!(refusal(|| layout_of!(Either)).contains("not a struct but an enum or a union"));
    assert!(refusal(|| layout_of!(Both)).contains("not a struct but an enum or a union"));
    assert!(refusal(|| lowered!(pinlab::yield_now)).contains("not an `async fn`"));
}

#[test]
fn a_struct_with_parameters_is_shown_with_those_that_were_named() {
    #[allow(dead_code)]
    struct Keeper<T> {
        kept: T,
        count: u8,
    }
    let layout = layout_of!(Keeper<[u8; 9]>);
    assert_eq!(layout.size(), 10);
    let field = |name| layout.variants()[0].field(name).and_then(|field| field.type_name());
    assert_eq!((field("kept"), field("count")), (None, Some("u8")));
}

#[test]
fn what_has_no_name_is_a_temporary_and_no_path_of_this_machine_is_shown() {
    use futures::{FutureExt, join, pin_mut, select};
    async fn temporary() -> usize {
        let text = std::hint::black_box(String::from("x"));
        (text.clone() + "y", pause().await).0.len() + text.len()
    }
    async fn both() {
        let (_, _) = join!(pause(), async { pause().await });
    }
    async fn either() -> u8 {
        let (a, b) = (pause().fuse(), async { pause().await }.fuse());
        pin_mut!(a, b);
        select! { _ = a => 1, _ = b => 2 }
    }
    let text = lowered!(temporary).to_string();
    assert!(text.contains("(temporary)") && !text.contains("coroutine_field"), "{text}");
    for text in [lowered!(both).to_string(), lowered!(either).to_string()] {
        assert!(!text.contains('@') && !text.contains(".rs"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 110), "{text}");
    }
}

/// Layers that each have their own `Id`, and reach the others' by every kind of path.
#[allow(dead_code)]
mod layers {
    pub(crate) mod api {
        pub(crate) struct Id(pub(crate) crate::layers::db::Id);
        pub(crate) struct Up {
            pub(crate) up: super::db::Id,
            pub(crate) list: Vec<super::db::Id>,
            pub(crate) own: Id,
            pub(crate) near: self::deep::Id,
        }
        pub(crate) mod deep {
            pub(crate) struct Id(pub(crate) super::super::db::Id);
        }
    }
    pub(crate) mod db {
        pub(crate) struct Id(pub(crate) u64);
    }
    pub(crate) mod imports {
        use super::db::Id;
        pub(crate) struct Of(pub(crate) Id);
    }
    pub(crate) mod shadows {
        pub(crate) struct Shadow {
            pub(crate) right: u64,
        }
        pub(crate) struct Of(pub(crate) Shadow);
    }
}

#[allow(dead_code)]
struct Shadow {
    wrong: u64,
}

#[allow(non_camel_case_types, dead_code)]
struct c_ulonglong(std::ffi::c_ulonglong);

#[allow(dead_code)]
union Both {
    this: u64,
    that: [u8; 8],
}

#[allow(dead_code)]
union One {
    only: u64,
    none: (),
}

#[allow(dead_code)]
struct Holds {
    both: Both,
    one: One,
}

/// The names of a value's words.
fn names<T>(value: &T, layout: &Lowered) -> Vec<String> {
    let xray = XRay::named(value, layout);
    assert_eq!(xray.warning(), None);
    xray.words().map(|word| word.name().to_owned()).collect()
}

#[test]
fn a_newtype_of_an_equal_name_is_another_type() {
    use layers::{api, db};
    let id = || api::Id(db::Id(7));
    assert_eq!(names(&id(), &layout_of!(api::Id)), ["0.0"]);
    assert_eq!(names(&api::deep::Id(db::Id(7)), &layout_of!(api::deep::Id)), ["0.0"]);
    let up = api::Up { up: db::Id(1), list: vec![db::Id(2)], own: id(), near: api::deep::Id(db::Id(3)) };
    let mut names_of_up = names(&up, &layout_of!(api::Up));
    names_of_up.sort();
    assert_eq!(names_of_up, ["list.cap", "list.len", "list.ptr", "near.0.0", "own.0.0", "up.0"]);
}

#[test]
fn a_field_is_of_the_type_that_is_in_scope_and_what_could_be_several_is_not_opened() {
    use layers::{db, imports, shadows};
    // So that its layout is printed.
    assert_eq!(layout_of!(Shadow).size(), 8);
    assert_eq!(names(&shadows::Of(shadows::Shadow { right: 7 }), &layout_of!(shadows::Of)), ["0.right"]);
    assert_eq!(names(&imports::Of(db::Id(7)), &layout_of!(imports::Of)), ["0"]);
    // What std calls so is a number.
    assert_eq!(names(&c_ulonglong(7), &layout_of!(c_ulonglong)), ["0"]);
}

#[test]
fn which_field_of_a_union_is_alive_is_not_guessed() {
    let mut names = names(&Holds { both: Both { this: 7 }, one: One { only: 7 } }, &layout_of!(Holds));
    names.sort();
    assert_eq!(names, ["both", "one"]);
}

#[test]
fn a_future_that_keeps_such_a_value_has_its_names() {
    async fn keeps(id: layers::api::Id) -> u64 {
        pause().await;
        let other = layers::api::Id(layers::db::Id(id.0.0));
        Pause(false).await;
        other.0.0 + id.0.0
    }
    let mut slot = FutureSlot::with(keeps(layers::api::Id(layers::db::Id(7))));
    while slot.named(&lowered!(keeps)).state() != Some("Suspend1") {
        assert!(slot.poll().is_pending());
    }
    let text = slot.named(&lowered!(keeps)).to_string();
    assert!(text.contains("other.0.0 ") && text.contains("id.0.0 "), "{text}");
}

/// 200 functions and 200 structs of two names, in modules within modules, in functions, and in blocks within those. Each is asked about where it is
/// in scope: what is shown is its own, or it is refused. The program is compiled and run once.
#[test]
fn two_hundred_items_of_equal_names_are_shown_right_or_refused() {
    equal_names(15);
}

/// The same with other ones each time.
#[test]
#[ignore = "a minute; cargo verify --full"]
fn two_hundred_other_items_of_equal_names_are_shown_right_or_refused() {
    equal_names(by_chance());
}

/// Where a random test begins: `PINLAB_SEED`, to do again what has failed, or anywhere.
fn by_chance() -> u64 {
    let seed = std::env::var("PINLAB_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    eprintln!("PINLAB_SEED={seed}");
    seed
}

fn equal_names(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut body, mut count) = (String::new(), 0);
    for number in 0..8 {
        body += &module(&mut random, number, 0, &mut count);
    }
    assert!(count >= 200, "{count}");
    let calls: String = (0..8).map(|number| format!("m{number}::ask();")).collect();
    let program = format!("{PREAMBLE}\n{body}\nfn main() {{ {calls} }}\n");
    let said = support::run(&program);
    let (right, refused) = (said.matches("right\n").count(), said.matches("refused\n").count());
    assert_eq!(right + refused, 2 * count, "{said}");
    assert!(right > count && refused > 0, "{right} right, {refused} refused");
}

/// What the macros expand to, but an error is not a panic: that keeps these programs small.
const PREAMBLE: &str = r#"#![allow(warnings)]
use pinlab::probe::{Lowered, LoweredError, hidden::{ask_function, ask_type}};
pub async fn pause() { std::future::pending::<()>().await }
fn check(layout: Result<Lowered, LoweredError>, state: &str, name: &str, own: usize) {
    match layout {
        Ok(layout) => match layout.variant(state).and_then(|variant| variant.field(name)) {
            Some(field) if field.size() == own => println!("right"),
            other => println!("WRONG: {other:?} for {own} in {layout}"),
        },
        Err(LoweredError::Ambiguous(..)) => println!("refused"),
        Err(error) => println!("{error}"),
    }
}
"#;

/// A function and a struct, and the questions about them. Both are known by the size of something in them, and of the struct by its only field's name.
fn items(random: &mut fastrand::Rng, count: &mut usize) -> (String, String) {
    *count += 1;
    // Few sizes: so that some are of one path and size, which only a refusal answers.
    let (id, bytes) = (*count, random.usize(1..40));
    let item = format!(
        "pub async fn work() {{ let own{id} = std::hint::black_box([0u8; {bytes}]); crate::pause().await; drop(own{id}); }}\n\
         pub struct P {{ f{id}: [u8; {bytes}] }}\n"
    );
    let ask = format!(
        "check(Lowered::ask(&pinlab::__site!(), &ask_function(&work, \"work\")), \"Suspend0\", \"own{id}\", {bytes});\n\
         const SIZE{id}: usize = size_of::<P>();\n\
         check(Lowered::ask(&pinlab::__site!(), &ask_type::<P>(\"P\")), \"\", \"f{id}\", {bytes});\n"
    );
    (item, ask)
}

fn module(random: &mut fastrand::Rng, number: usize, depth: usize, count: &mut usize) -> String {
    let (item, asked) = items(random, count);
    let mut text = format!("pub mod m{number} {{ use super::*;\n{item}");
    let mut ask = asked;
    for inner in 0..if depth < 2 { 2 } else { 0 } {
        text += &module(random, inner, depth + 1, count);
        ask += &format!("m{inner}::ask();\n");
    }
    for _ in 0..random.usize(1..4) {
        let (item, asked) = items(random, count);
        let (deeper, asked_deeper) = if random.bool() { items(random, count) } else { Default::default() };
        ask += &format!("{{ {item} {asked} {{ {deeper} {asked_deeper} }} }}\n");
    }
    text + &format!("pub fn ask() {{ {ask} }}\n}}\n")
}

/// 1,000 structs of random types: sizes and offsets are the compiler's, and the type of each field is the one that it was given.
#[test]
fn the_fields_of_a_thousand_random_structs_have_their_types() {
    random_structs(1000);
}

/// The same with other ones each time.
#[test]
#[ignore = "a minute; cargo verify --full"]
fn the_fields_of_a_thousand_other_structs_have_their_types() {
    random_structs(by_chance());
}

fn random_structs(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut program, mut asks) = (PREAMBLE.to_owned(), String::new());
    for number in 0..1000 {
        let fields: Vec<(String, String)> =
            (0..random.usize(1..6)).map(|field| (format!("f{field}"), random_type(&mut random, 0))).collect();
        let declared: String = fields
            .iter()
            .map(|(name, ty)| {
                format!(
                    "{}{name}: {ty}, ",
                    ["", "/* x: { */ ", "/// struct Q { y: u8 }\n", "#[doc = \"z: }\"] "][random.usize(..4)]
                )
            })
            .collect();
        let (before, after) = if random.bool() { (format!("mod s{number} {{ use super::*;"), "}") } else { (String::new(), "") };
        let path = if after.is_empty() { format!("S{number}") } else { format!("s{number}::S{number}") };
        program +=
            &format!("{before} pub struct S{number}<'a> {{ {declared} life: std::marker::PhantomData<&'a u8> }} {after}\n");
        let expected: String = fields.iter().map(|(name, ty)| format!("({name:?}, {ty:?}), ")).collect();
        asks += &format!("(ask_type::<{path}<'static>>, &[{expected}], size_of::<{path}<'static>>()),\n");
    }
    program += "type Ask = fn(&'static str) -> pinlab::probe::hidden::Asked;\n";
    program += &format!("static ASKS: &[(Ask, &[(&str, &str)], usize)] = &[{asks}];\n");
    program += "fn main() {
        for (ask, expected, _) in ASKS {
            let layout = Lowered::ask(&pinlab::__site!(), &ask(\"\")).unwrap();
            for (name, ty) in *expected {
                let shown = layout.variants()[0].field(name).unwrap().type_name();
                if shown == Some(ty) { println!(\"right\") } else { println!(\"{shown:?} instead of {ty}\") }
            }
        }
    }\n";
    let said = support::run(&program);
    let wrong: Vec<&str> = said.lines().filter(|line| *line != "right").collect();
    assert!(said.lines().count() > 2000 && wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

fn random_type(random: &mut fastrand::Rng, depth: usize) -> String {
    let mut inner = || random_type(random, depth + 1);
    if depth > 2 {
        return ["u8", "bool", "String", "()", "&'a str", "char"][random.usize(..6)].to_owned();
    }
    let (a, b) = (inner(), inner());
    match random.usize(..18) {
        0 => "u16".into(),
        1 => format!("({a}, {b})"),
        2 => format!("Vec<{a}>"),
        3 => format!("Option<Box<{a}>>"),
        4 => format!("fn({a}) -> {b}"),
        5 => format!("(fn() -> {a}, {b})"),
        6 => format!("[{a}; 2]"),
        7 => format!("&'a [{a}]"),
        8 => format!("Box<dyn Fn({a}) -> {b} + 'a>"),
        9 => format!("std::collections::BTreeMap<u8, {a}>"),
        10 => format!("*const {a}"),
        11 => format!("Result<{a}, {b}>"),
        12 => format!("<Vec<{a}> as IntoIterator>::IntoIter"),
        13 => format!("&'a mut {a}"),
        14 => format!("std::pin::Pin<Box<dyn std::future::Future<Output = {a}> + Send + 'a>>"),
        15 => format!("[{a}; {{ 1 + 2 }}]"),
        16 => "unsafe extern \"C\" fn(*mut u8) -> usize".into(),
        _ => format!("std::rc::Rc<std::cell::RefCell<{a}>>"),
    }
}

/// Programs that are linked with the crate as these tests are.
mod support {
    use std::{env, fs, path::Path, process::Command};

    pub(crate) fn run(program: &str) -> String {
        let here = env::current_exe().unwrap();
        let deps = here.parent().unwrap();
        let newest = |name: &str| {
            let libraries = fs::read_dir(deps).unwrap().flatten().map(|entry| entry.path());
            let is_it = |path: &Path| {
                let file = path.file_name().unwrap().to_string_lossy().into_owned();
                file.strip_prefix(&format!("lib{name}-")).is_some_and(|rest| rest.ends_with(".rlib"))
            };
            libraries.filter(|path| is_it(path)).max_by_key(|path| path.metadata().unwrap().modified().unwrap()).unwrap()
        };
        // Beside the other programs, so that the probe finds the crates; and in a folder that looks like a crate.
        let folder = env::temp_dir().join(format!("pinlab-items-{}-{}", std::process::id(), fastrand::u64(..)));
        fs::create_dir(&folder).unwrap();
        let source = folder.join("main.rs");
        fs::write(&source, program).unwrap();
        let built = deps.join(folder.file_name().unwrap());
        let output = Command::new("rustc")
            .args(["--edition=2024", "--crate-name=items", "-Cdebuginfo=0"])
            .arg("-L")
            .arg(format!("dependency={}", deps.display()))
            .args(["--extern".to_owned(), format!("pinlab={}", newest("pinlab").display())])
            .arg("-o")
            .arg(&built)
            .arg(&source)
            .env("CARGO_MANIFEST_DIR", &folder)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let output = Command::new(&built).env("RUST_BACKTRACE", "0").output().unwrap();
        let _ = (fs::remove_file(&built), fs::remove_dir_all(&folder));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}
