//! To look at the engine: what it did, and what is done with wakers.
//!
//! | file | what is in it |
//! |---|---|
//! | `timeline` | [`Timeline`](crate::Timeline): what an engine did, as data and as text |
//! | `picture` | the same as a picture |
//! | `wakers` | [`CountingWaker`](crate::CountingWaker) and its like: wakers that say what is done with them |

mod picture;
pub(crate) mod timeline;
pub(crate) mod wakers;
