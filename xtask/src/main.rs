//! The two commands of the project.
fn main() {}
