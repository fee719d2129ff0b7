//! Where and on what a run was made.

use std::process::Command;
use std::time::SystemTime;

use cargo_metadata::MetadataCommand;

/// The packages whose versions matter.
const PACKAGES: [&str; 13] = [
    "pinlab",
    "tokio",
    "smol",
    "async-executor",
    "async-io",
    "futures",
    "futures-executor",
    "pollster",
    "compio",
    "compio-runtime",
    "monoio",
    "mio",
    "polling",
];

/// Date, machine, system and compiler, a line each.
pub(crate) fn describe() -> Vec<(&'static str, String)> {
    let unknown = || "unknown".to_owned();
    let cpu = sysinfo::System::new().ok().and_then(|mut system| {
        system.refresh_cpu_all();
        Some(system.cpus().first()?.brand().trim().to_owned())
    });
    let cores = std::thread::available_parallelism().map_or_else(|_| unknown(), |cores| cores.to_string());
    vec![
        ("date", humantime::format_rfc3339_seconds(SystemTime::now()).to_string()),
        ("processor", format!("{}, {cores} cores, {}", cpu.unwrap_or_else(unknown), std::env::consts::ARCH)),
        ("system", sysinfo::System::long_os_version().unwrap_or_else(|_| unknown())),
        ("kernel", sysinfo::System::kernel_version().unwrap_or_else(|_| unknown())),
        ("compiler", rustc()),
    ]
}

fn rustc() -> String {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    match Command::new(rustc).arg("--version").output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        Err(_) => "unknown".to_owned(),
    }
}

/// The versions in `Cargo.lock` of the packages that matter, as `name version`.
pub(crate) fn versions() -> Vec<String> {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    // Not of what other systems need: that was not downloaded.
    let options = ["--locked", "--offline", "--filter-platform", "host-tuple"].map(str::to_owned);
    let metadata = MetadataCommand::new().manifest_path(manifest).other_options(options).exec();
    let Ok(metadata) = metadata else {
        return vec!["unknown: `cargo metadata` failed".to_owned()];
    };
    let mut versions = Vec::new();
    for name in PACKAGES {
        for package in metadata.packages.iter().filter(|package| package.name.as_str() == name) {
            versions.push(format!("{name} {}", package.version));
        }
    }
    versions
}
