//! What instructions are made of it?

use super::{
    program::{NAMES, rustc},
    said::{CompileError, errors_in},
    site::Site,
    snippet::{Kind, pieces},
};
use crate::show::to_notebook;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The instructions that the compiler makes of one function; made by [`assembly!`](crate::assembly!).
///
/// Two are equal when the instructions are, one by one. What does not compile is equal to nothing.
#[derive(Debug, Clone)]
pub struct Assembly {
    instructions: Result<Vec<String>, CompileError>,
}

impl Assembly {
    /// Asks for the instructions of the last of these items, a function that is written out and has no type parameters.
    ///
    /// # Panics
    /// When the compiler cannot be asked, or makes no instructions of it.
    #[doc(hidden)]
    #[track_caller]
    pub fn ask(site: &Site, items: &[&str]) -> Self {
        let (function, before) = items.split_last().expect("the macro wants one at least");
        // A small public function would not be compiled by itself but only where it is used; one with a fixed name is.
        let program = format!("{NAMES}\n{}\n#[unsafe(no_mangle)] {function}\n", before.join("\n"));
        // What is written on the way to stdout has the crate's name: two who ask at once must not share it.
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let own_name = format!("-Cextra-filename=-{}-{}", std::process::id(), ASKED.fetch_add(1, Relaxed));
        let options = ["--crate-type=lib", "-Copt-level=2", "-Cdebuginfo=0", "--emit=asm=-", &own_name];
        let output = rustc(site, &program, options);
        if let Some((_, error)) = errors_in(&output.stderr).into_iter().next() {
            return Self { instructions: Err(error) };
        }
        assert!(output.status.success(), "the compiler gave no instructions. It said:\n{}", output.stderr);
        let instructions = instructions_in(&output.stdout, &name_of(function));
        assert!(
            !instructions.is_empty(),
            "the compiler made no instructions of this: it must be a function without type parameters"
        );
        Self { instructions: Ok(instructions) }
    }

    /// The instructions, in this processor's own language; none when the function does not compile.
    pub fn instructions(&self) -> &[String] {
        self.instructions.as_deref().unwrap_or_default()
    }

    /// Shows the instructions in a notebook.
    pub fn evcxr_display(&self) {
        to_notebook(&[("text/plain", &self.to_string())]);
    }
}

impl PartialEq for Assembly {
    fn eq(&self, other: &Self) -> bool {
        matches!((&self.instructions, &other.instructions), (Ok(mine), Ok(theirs)) if mine == theirs)
    }
}

impl fmt::Display for Assembly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.instructions {
            Ok(lines) => f.write_str(&lines.iter().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")),
            Err(error) => write!(f, "    refused, {error}"),
        }
    }
}

/// The instructions that the compiler makes of a function, with the optimisation that cells have. Before it may stand other items that it uses.
///
/// ```
/// use pinlab::assembly;
/// let plain = assembly! { fn bump(n: &mut u64) { *n += 1 } };
/// let pinned = assembly! { fn bump(mut n: Pin<&mut u64>) { *n += 1 } };
/// let other = assembly! { fn bump(n: &mut u64) { *n *= 3 } };
/// assert!(plain == pinned && plain != other);
/// ```
///
/// # Panics
/// When the compiler cannot be asked, or makes no instructions of what stands last.
#[macro_export]
macro_rules! assembly {
    ($($item:item)+) => {
        $crate::probe::Assembly::ask(&$crate::__site!(), &[$(::std::stringify!($item)),+])
    };
}

/// The name of a function: the word after `fn`.
fn name_of(function: &str) -> String {
    let mut words = pieces(function).filter(|piece| piece.kind == Kind::Code).map(|piece| piece.text);
    words.find(|word| *word == "fn");
    words.next().unwrap_or_default().to_owned()
}

/// The instructions of a function in a file of assembly: what is neither a directive, nor a label, nor a comment. All of them, where it has no label:
/// it is the same as another one then.
fn instructions_in(assembly: &str, function: &str) -> Vec<String> {
    let lines: Vec<&str> = assembly.lines().map(str::trim).collect();
    // Some systems put a `_` before each name.
    let is_label =
        |line: &&str| line.strip_suffix(':').is_some_and(|label| label == function || label.strip_prefix('_') == Some(function));
    let start = lines.iter().position(is_label).unwrap_or(0);
    let ends = [".cfi_endproc", ".seh_endproc", ".Lfunc_end", ".section", ".globl"];
    let is_end = |line: &&str| start > 0 && ends.iter().any(|end| line.starts_with(end));
    let end = lines[start..].iter().position(is_end).map_or(lines.len(), |len| start + len);
    let is_instruction = |line: &&str| {
        !(line.is_empty() || line.ends_with(':') || line.starts_with(['.', '#', ';', '@']) || line.starts_with("//"))
    };
    let instructions = lines[start..end].iter().copied().filter(is_instruction);
    instructions.map(|line| without_hash(&line.split_whitespace().collect::<Vec<_>>().join(" "))).collect()
}

/// `.Lanon.8c6b0ae4….1` names a constant by a hash over the whole program; which constant it is, the number at the end says.
fn without_hash(instruction: &str) -> String {
    let Some((before, rest)) = instruction.split_once("anon.") else { return instruction.to_owned() };
    let end = rest.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len());
    format!("{before}anon{}", &rest[end..])
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_of_a_hash_is_left_in_an_instruction() {
        let with = "leaq .Lanon.8c6b0ae4ba3cb4d4716e166d1c1540f0.1(%rip), %rax";
        assert_eq!(super::without_hash(with), "leaq .Lanon.1(%rip), %rax");
    }

    #[test]
    fn the_instructions_of_what_it_calls_are_not_its_own() {
        let calls = crate::assembly! {
            #[inline(never)]
            fn helper(n: u64) -> u64 { n.wrapping_mul(12_345) }
            fn calls(n: u64) -> u64 { helper(n) ^ 1 }
        };
        assert!(!calls.instructions().is_empty() && !calls.to_string().contains("12345"), "{calls}");
    }

    #[test]
    fn items_before_the_function_are_there_for_it() {
        let of = |second: bool| match second {
            false => crate::assembly! { type Pair = (u64, ()); pub fn swap(a: &mut Pair) -> u64 { a.0 += 1; a.0 } },
            true => {
                crate::assembly! { struct Pair(u64); impl Unpin for Pair {} #[inline] fn swap(a: &mut Pair) -> u64 { a.0 *= 3; a.0 } }
            }
        };
        assert!(!of(false).instructions().is_empty() && !of(true).instructions().is_empty());
        assert_ne!(of(false), of(true));
    }

    #[test]
    #[should_panic = "made no instructions of this"]
    fn nothing_is_not_equal_to_nothing() {
        let _ = crate::assembly! { fn generic<T>(a: T) -> T { a } };
    }

    #[test]
    fn constants_and_panics_compare_by_what_they_are() {
        let plain = crate::assembly! { fn pick(from: &mut [u64], i: usize) -> u64 { from[i] } };
        let pinned = crate::assembly! { fn pick(from: Pin<&mut [u64]>, i: usize) -> u64 { from[i] } };
        assert_eq!(plain, pinned);
        assert!(!plain.instructions().is_empty());
    }

    #[test]
    fn a_function_may_say_that_it_is_public_and_have_attributes() {
        let plain = crate::assembly! { fn bump(n: &mut u64) { *n += 1 } };
        let public = crate::assembly! { #[inline(never)] #[allow(unused)] pub(crate) fn bump(n: &mut u64) { *n += 1 } };
        assert!(!plain.instructions().is_empty());
        assert_eq!(plain, public);
        assert_eq!(plain, crate::assembly! { pub fn bump(n: &mut u64) { *n += 1 } });
    }

    #[test]
    fn a_function_that_does_not_compile_has_no_instructions_and_equals_nothing() {
        let refused = crate::assembly! { fn wrong(n: &u64) -> u64 { n } };
        assert!(refused.to_string().contains("refused, E0308"), "{refused}");
        assert_ne!(refused, refused.clone());
    }
}
