//! Questions to the reader's own compiler, asked while a program runs.
//!
//! ```text
//! compiles!{ … }  ──▶ verdict    compiles, or the code of the error; verdicts!{ … } is a table of them (said reads what the compiler says)
//!                        └─ run ──▶ program      what it printed, and how it ended
//! assembly!{ … }  ──▶ assembly   the instructions of one function
//! expanded!{ … }  ──▶ expanded   the code that the macros wrote
//! lowered!(f)     ──▶ lowered    the state machine of an `async fn`, with names for the bytes of a live one (spans)
//! layout_of!(T)   ──▶               └─ types ─▶ fields, names       what the compiler says of all types in a source
//! ```
//!
//! Two kinds of question: about a snippet, which is handed to the compiler as a program of its own; and about an item of the reader's, for
//! which the source file that it stands in (site) is compiled once more.
//!
//! Invariants:
//! 1. An answer is what `rustc` said at this moment. A compiler that cannot be asked is a panic with words for it, never an answer.
//! 2. All processes are started by `run`: each has limits, and ends with the cell.
//! 3. Nothing is left behind: the compiler reads from a pipe and writes to one; a program to run lies in a folder that is removed.
//! 4. Some flags are unstable, so `RUSTC_BOOTSTRAP=1` is set for the processes that are given one. Lines that these parsers do not know are
//!    skipped; what is missing then is an error that says so, never a guess.

mod asked;
mod assembly;
mod expanded;
mod fields;
mod lowered;
mod names;
mod program;
pub(super) mod run;
mod said;
mod site;
pub(super) mod snippet;
mod spans;
mod types;
mod verdict;

pub use asked::{Asked, AsyncFunction, ask_function, ask_type};
pub use assembly::Assembly;
pub use expanded::Expanded;
pub use lowered::{Field, FieldKind, Lowered, LoweredError, Variant};
pub(super) use names::future_name;
pub use program::Ran;
pub use said::CompileError;
pub use site::Site;
pub(super) use spans::Span;
pub use verdict::{Verdict, Verdicts};
