use super::*;

fn field(hir: &str, path: &str, names: &[&str], field: &str) -> Option<String> {
    let names: BTreeSet<&str> = names.iter().copied().collect();
    Structs::parse(hir).field_type(path, &names, field).map(str::to_owned)
}

const HIR: &str = r##"
extern crate std;
#[attr = PreludeImport]
use std::prelude::rust_2024::*;
use std::collections::HashMap as Map;
macro_rules! make { ($n:ident) => { struct $n { m: u8 } } struct Lie { x: u8 } }
mod ya {
    struct P {
        a: u8,
        b: (fn() -> u8, u8),
        /* c: { */
        s: [u8; { 3 + 4 }],
    }
    impl <T> super::Trait for P<T> {
        fn go<const N: usize>(&self, f: fn(struct_: u8) -> u8)
            ->
                *const u8 {
            struct Inner { z: &'static mut dyn Fn(u8) -> Box<dyn Send + 'static>, }
        }
    }
}
const _: () =
    {
        struct P { hidden: u8 }
    };
struct Tup(u8, (fn() -> u8, u8), Vec<(u8, u16)>);
struct Gen<'a, T = u8, const N: usize> where T: Clone + 'a {
    t: [T; N],
    k: &'a [u8],
    #[doc = "struct Q { z: u8 }"]
    r#type: <Vec<u8> as IntoIterator>::IntoIter,
}
union U { a: u8, b: u32, }
type Alias = ya::P;
fn main() {
    { struct P { inner: [u8; 5], } }
    { struct P { inner: [u8; 6], } let text = "struct P { inner: u8 }"; }
    { struct P { inner: [u8; 6], other: u8, } }
}
"##;

#[test]
fn types_are_those_of_the_declaration_that_is_meant() {
    let p = ["a", "b", "s"];
    assert_eq!(field(HIR, "ya::P", &p, "b").as_deref(), Some("(fn() -> u8, u8)"));
    assert_eq!(field(HIR, "ya::P", &p, "s").as_deref(), Some("[u8; { 3 + 4 }]"));
    assert_eq!(field(HIR, "P", &p, "b"), None);
    assert_eq!(field(HIR, "_::P", &["hidden"], "hidden").as_deref(), Some("u8"));
    assert_eq!(field(HIR, "Tup", &["0", "1", "2"], "1").as_deref(), Some("(fn() -> u8, u8)"));
    assert_eq!(field(HIR, "Tup", &["0", "1", "2"], "2").as_deref(), Some("Vec<(u8, u16)>"));
    assert_eq!(field(HIR, "Gen", &["k", "t", "type"], "k").as_deref(), Some("&'a [u8]"));
    assert_eq!(field(HIR, "Gen", &["k", "t", "type"], "type").as_deref(), Some("<Vec<u8> as IntoIterator>::IntoIter"));
    let inner = "ya::<P<T> as super::Trait>::go::Inner";
    assert_eq!(field(HIR, inner, &["z"], "z").as_deref(), Some("&'static mut dyn Fn(u8) -> Box<dyn Send + 'static>"));
}

#[test]
fn what_could_be_several_or_depends_on_a_parameter_has_no_type() {
    assert_eq!(field(HIR, "main::P", &["inner"], "inner"), None);
    assert_eq!(field(HIR, "main::P", &["inner", "other"], "inner").as_deref(), Some("[u8; 6]"));
    assert_eq!(field(HIR, "Gen", &["k", "t", "type"], "t"), None);
    assert_eq!(field(HIR, "Lie", &["x"], "x"), None);
}

#[test]
fn other_names_and_unions_are_known() {
    let structs = Structs::parse(HIR);
    assert!(structs.is_alias("Alias") && structs.is_alias("Map") && !structs.is_alias("P"));
    assert!(structs.is_union("U") && !structs.is_union("Tup"));
}
