//! The support crate of the pinning course: probes that show where a value lives, and a small async runtime.

pub mod probe;
pub mod show;

/// What the first cell of every notebook imports.
pub mod prelude {
    // The probes.
    pub use crate::probe::{Address, FutureSlot, Lowered, Region, Slot, XRay, address_of};
    pub use crate::{layout_of, lowered, probe, probe_val};
}
