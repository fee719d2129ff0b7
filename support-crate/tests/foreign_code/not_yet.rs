//! Cells that the engine does not stand yet: point and action. Each is a bug; the test leaves them out.

pub(crate) const NOT_YET: &[(&str, &str)] = &[
    // What is returned leaks if a panic comes out of the drop of a local after it.
    ("the future that was blocked on is dropped", "panics"),
    ("the future that was blocked on is dropped", "panics with a value"),
    ("the future that was blocked on is dropped because of a stall", "panics"),
    ("the future that was blocked on is dropped because of a stall", "panics with a value"),
];
