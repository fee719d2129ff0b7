//! Pictures where words are weak: where a value lives, what a projection hands out, the cheat sheet of `Pin`.
//!
//! Each is made from live values or from what the compiler said, and shows itself in a notebook as every
//! [`Figure`](crate::show::Figure) does. (The reactor and the turns of the loop are in [`Timeline`](crate::Timeline), which has seen them:
//! [`Timeline::reactor`](crate::Timeline::reactor) and [`Timeline::turns`](crate::Timeline::turns).)
//!
//! | picture | in a cell |
//! |---|---|
//! | where values live: stack, heap, static, one inside another | `Places::new().with("boxed", &*boxed).with("its box", &boxed)` |
//! | a projection: which fields are handed out pinned | `Projection::of("Retry", &*retry)`, then `.field("attempt", &this.attempt)` |
//! | the cheat sheet: who may move, and the states of a value | `cheat_sheet(&rows)` |

mod cheat_sheet;
mod places;
mod projection;

pub use cheat_sheet::cheat_sheet;
pub use places::Places;
pub use projection::Projection;
