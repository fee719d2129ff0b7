//! To look at the engine: what it did, and what is done with wakers. It knows tasks by their ids, and nothing of the engine.
//!
//! | file | what is in it |
//! |---|---|
//! | `recorder` | puts down what an engine does, while it is told to |
//! | `timeline` | [`Timeline`](crate::Timeline): that, as data and as text |
//! | `snapshot` | [`Snapshot`](crate::Snapshot): its state at one moment, as data |
//! | `picture` | the same as a picture |
//! | `names` | a type's name, shortened |
//! | `wakers` | [`CountingWaker`](crate::CountingWaker) and its like: wakers that say what is done with them |

pub(crate) mod names;
mod picture;
pub(crate) mod recorder;
pub(crate) mod snapshot;
pub(crate) mod timeline;
pub(crate) mod wakers;
