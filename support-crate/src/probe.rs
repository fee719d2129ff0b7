//! Probes: where a value lives, what its bytes are, what the compiler made of an `async fn`.
//!
//! ```text
//! address_of ───────── where is it?           an address and its region
//! XRay ─────────────── what is in it?         its words, which of them point into itself
//! lowered! ─────────── what did rustc make?   the state machine, its saved locals, their offsets
//! probe! ───────────── what is promised?      size, align, Unpin, Future, Send
//! compiles! ────────── is it allowed?         the compiler's verdict; assembly! has the instructions
//! miri! ────────────── is it undefined?      the interpreter's verdict, live or kept
//! count_allocations ── what does it cost?     how often memory was asked for
//! Slot ─────────────── what if it moves?      a place that stays, for tenants that come and go
//! check ────────────── is the answer right?   an exercise's answer, run apart, with a limit
//! woken_by_a_thread ── is a wake lost?        a future whose wakes come at each moment
//! ```
//!
//! Invariants:
//! 1. A probe owns what it shows. It keeps no borrow of the value, so a picture of the old place outlives the move.
//! 2. Nothing is assumed about a layout: names and offsets come from the compiler that compiled the reader's code,
//!    and are shown only while they agree with the live value.
//! 3. Memory is read as bytes by an assembly load or by the operating system, never as a typed value (see `memory`).

mod address;
mod alloc;
mod body;
mod check;
mod film;
mod layout;
mod map;
mod memory;
mod miri;
mod panic_hook;
mod rustc;
mod slot;
mod strips;
mod traits;
mod woken;
mod xray;

pub use address::{Address, address_of};
pub use alloc::{Allocations, CountingAllocator, count_allocations};
pub use check::{Unfinished, check, in_time};
pub use film::Film;
pub use map::Region;
pub use miri::{BorrowModel, Ending, Finding, Judgement};
pub use rustc::{Assembly, CompileError, Expanded, Field, FieldKind, Lowered, LoweredError, Ran, Variant, Verdict, Verdicts};
pub use slot::{FutureSlot, Slot};
pub use strips::Strips;
pub use traits::{Traits, TraitsRow};
pub use woken::woken_by_a_thread;
pub(crate) use xray::short_name as type_in_brief;
pub use xray::{Change, Diff, Meaning, Word, XRay};

/// The widest column that `format!` pads to; with a greater width it panics.
const WIDEST: usize = u16::MAX as usize;

/// What the macros expand to; not for use by hand.
#[doc(hidden)]
pub mod hidden {
    pub use super::panic_hook::install as install_panic_hook;
    pub use super::rustc::{Asked, AsyncFunction, Site, ask_function, ask_type};
    pub use super::traits::{Ask, Unanswered, ask_about};
}
