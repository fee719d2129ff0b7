//! Measures the key-value server (`support-crate/examples/keyvalue`) beside the same on Tokio, with Redis' own load generator.
//!
//! ```text
//! cargo run --release -p peers --example measure_keyvalue              some rounds; prints the table
//! cargo run --release -p peers --example measure_keyvalue -- --write   and puts it into peers/keyvalue.md, which BENCHMARKS.md ends with
//! ```
//!
//! It wants `redis-benchmark` (Debian: redis-tools) and Linux, whose `/proc` says how much memory a process has used.

use clap::Parser;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Measures the key-value server beside the same on Tokio, with Redis' own load generator: some minutes.
#[derive(Parser)]
struct Arguments {
    /// Put the table into peers/keyvalue.md, and into BENCHMARKS.md
    #[arg(long)]
    write: bool,
}

/// How often each is measured; the medians are reported.
const ROUNDS: usize = 5;

/// What the load generator is told: how many clients, how many requests in all, how many at once on one connection.
const LOADS: [Load; 3] = [
    Load { clients: 1, requests: 50_000, pipeline: 1 },
    Load { clients: 50, requests: 200_000, pipeline: 1 },
    Load { clients: 50, requests: 1_000_000, pipeline: 16 },
];

const SERVERS: [(&str, &str, &str); 2] = [("pinlab", "pinlab", "keyvalue"), ("tokio", "peers", "keyvalue_tokio")];

#[derive(Clone, Copy)]
struct Load {
    clients: usize,
    requests: usize,
    pipeline: usize,
}

/// What one run of the generator says, and what the server has used.
#[derive(Clone, Copy)]
struct Sample {
    /// Requests a second.
    rate: f64,
    /// The 99th percentile of the latency, in milliseconds.
    late: f64,
    /// The most memory that the server had, in KiB.
    memory: f64,
}

/// A server, which ends with this value.
struct Server {
    process: Child,
    address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let Arguments { write } = Arguments::parse();
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("the package is in the workspace's folder")?;
    for (_, package, example) in SERVERS {
        let built = Command::new("cargo")
            .args(["build", "--quiet", "--release", "--package", package, "--example", example])
            .current_dir(project)
            .status()?;
        if !built.success() {
            return Err(format!("{example} does not build").into());
        }
    }
    let mut table = String::from(
        "| clients | in one go | command | server | requests a second | 99th percentile | memory |\n|---|---|---|---|---|---|---|\n",
    );
    for load in LOADS {
        for command in ["SET", "GET"] {
            let mut samples = [Vec::new(), Vec::new()];
            for round in 0..ROUNDS {
                // They take turns, and each round begins with the other one.
                for turn in 0..SERVERS.len() {
                    let which = (round + turn) % SERVERS.len();
                    samples[which].push(measure(project, SERVERS[which].2, load, command)?);
                }
            }
            for ((name, ..), samples) in SERVERS.iter().zip(&samples) {
                let Load { clients, pipeline, .. } = load;
                writeln!(
                    table,
                    "| {clients} | {pipeline} | {command} | {name} | {:.0} | {:.3} ms | {:.1} MiB |",
                    median(samples, |sample| sample.rate),
                    median(samples, |sample| sample.late),
                    median(samples, |sample| sample.memory) / 1024.0,
                )?;
            }
        }
    }
    println!("{table}");
    if write {
        let path = project.join("peers").join("keyvalue.md");
        let text = fs::read_to_string(&path)?;
        let before = text.split("| clients |").next().unwrap_or_default();
        let section = format!("{before}{table}");
        fs::write(&path, &section)?;
        let page = project.join("support-crate").join("BENCHMARKS.md");
        let text = fs::read_to_string(&page)?;
        let title = section.lines().next().unwrap_or_default();
        let before = text.find(title).map_or(text.as_str(), |at| &text[..at]);
        fs::write(&page, format!("{}\n\n{section}", before.trim_end()))?;
    }
    Ok(())
}

/// A fresh server under this load.
fn measure(project: &Path, example: &str, load: Load, command: &str) -> Result<Sample> {
    let server = start(&project.join("target/release/examples").join(example))?;
    let output = Command::new("redis-benchmark")
        .args(["-h", "127.0.0.1", "-p", &server.address.port().to_string(), "--csv", "-d", "64", "-r", "10000"])
        .args(["-t", &command.to_lowercase(), "-c", &load.clients.to_string()])
        .args(["-n", &load.requests.to_string(), "-P", &load.pipeline.to_string()])
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let numbers = figures(&text, command).ok_or_else(|| format!("redis-benchmark says:\n{text}"))?;
    let status = fs::read_to_string(format!("/proc/{}/status", server.process.id()))?;
    let memory = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
    Ok(Sample { rate: numbers.0, late: numbers.1, memory: memory.ok_or("Linux says how much memory it has used")? })
}

fn start(program: &Path) -> Result<Server> {
    let mut process = Command::new(program).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    let stdout = process.stdout.take().ok_or("it is piped")?;
    BufReader::new(stdout).read_line(&mut line)?;
    let address = line.trim().strip_prefix("listening on ").and_then(|address| address.parse().ok());
    Ok(Server { process, address: address.ok_or_else(|| format!("{} does not say where it is", program.display()))? })
}

/// Requests a second and the 99th percentile, found by the names in the first line.
fn figures(csv: &str, command: &str) -> Option<(f64, f64)> {
    let cells = |line: &str| line.split(',').map(|cell| cell.trim_matches('"').to_owned()).collect::<Vec<_>>();
    let head = cells(csv.lines().find(|line| line.starts_with("\"test\""))?);
    let row = cells(csv.lines().find(|line| line.starts_with(&format!("\"{command}")))?);
    let value = |name: &str| row.get(head.iter().position(|cell| cell == name)?)?.parse().ok();
    Some((value("rps")?, value("p99_latency_ms")?))
}

fn median(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
