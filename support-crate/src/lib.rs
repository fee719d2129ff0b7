//! The support crate of the pinning course: probes that show where a value lives, and a small async runtime.

/// What the first cell of every notebook imports.
pub mod prelude {}
