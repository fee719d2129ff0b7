//! Cells that can be run again.
//!
//! Of a cell that is run again the kernel replaces what has a name, and with it each `impl` below that. An `impl` above the first name it keeps: the second run
//! is refused then, with E0592 or E0119.

/// The first line of an `impl` that no name stands above, if this cell has one.
pub(super) fn kept(cell: &str) -> Option<&str> {
    let has_name = |line: &&str| {
        let words = line.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
        let mut words = words.skip_while(|word| ["pub", "crate", "", "async", "unsafe", "extern", "C"].contains(word));
        words.next().is_some_and(|word| {
            ["fn", "struct", "enum", "trait", "const", "static", "type", "mod", "union", "macro_rules"].contains(&word)
        })
    };
    let is_impl = |line: &&str| line.trim_start_matches("unsafe ").split(['<', ' ']).next() == Some("impl");
    let line = cell.lines().find(|line| has_name(line) || is_impl(line))?;
    is_impl(&line).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::kept;

    #[test]
    fn an_impl_is_replaced_only_below_a_name() {
        assert_eq!(kept("use std::ptr::null;\n\nimpl Node {\n    fn new() {}\n}"), Some("impl Node {"));
        assert_eq!(kept("unsafe impl<T> Send for Own<T> {}\nstruct Own<T>(T);"), Some("unsafe impl<T> Send for Own<T> {}"));
        for named in [
            "struct A;",
            "pub(crate) async fn a() {}",
            "const A: u8 = 1;",
            "type A = u8;",
            "macro_rules! a { () => {} }",
            "unsafe fn a() {}",
        ] {
            assert_eq!(kept(&format!("{named}\nimpl A {{}}")), None, "{named}");
        }
        assert_eq!(kept("let a = 1;\nimplement(a)"), None);
        assert_eq!(kept("fn f() {\n    impl_it();\n}"), None);
    }
}
