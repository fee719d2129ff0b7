//! No two binaries or examples of the workspace have the same name. Cargo puts all of them into the same two folders, whatever their
//! package is: of two with one name, the one that is linked last is there, and who runs it may get the other. Cargo only warns of it.

use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Command;

/// The kinds of target that cargo puts into `target/<profile>`, or into `examples` there, without a hash in their names.
const KINDS: [&str; 2] = ["bin", "example"];

/// What cargo knows of the workspace.
fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo is there: it built this test");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo prints JSON")
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().expect("cargo lists them").iter()
}

/// The targets by kind and name, with the source of each.
fn targets(metadata: &Value) -> BTreeMap<(&str, &str), Vec<&str>> {
    let mut targets = BTreeMap::<_, Vec<_>>::new();
    for target in list(&metadata["packages"]).flat_map(|package| list(&package["targets"])) {
        for kind in list(&target["kind"]).filter_map(Value::as_str).filter(|kind| KINDS.contains(kind)) {
            let text = |field: &str| target[field].as_str().expect("cargo says it as a text");
            targets.entry((kind, text("name"))).or_default().push(text("src_path"));
        }
    }
    targets
}

#[test]
fn no_two_binaries_or_examples_have_the_same_name() {
    let metadata = metadata();
    let targets = targets(&metadata);
    assert!(targets.contains_key(&("bin", "xtask")), "they are not found at all: {targets:?}");
    let shared: Vec<_> = targets.iter().filter(|(_, sources)| sources.len() > 1).collect();
    assert!(shared.is_empty(), "cargo would put these into the same file: {shared:#?}");
}
