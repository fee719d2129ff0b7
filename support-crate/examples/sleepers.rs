//! Ten thousand sleepers on one thread.
//!
//! ```text
//! cargo run --release --example sleepers
//! cargo run --release --example sleepers -- --count 1000000 --longest 5s
//! ```
//!
//! What to look at: a sleeping task is a few hundred bytes and one entry in a heap of deadlines. No thread waits for
//! it. The engine sleeps until the first deadline, and then wakes whoever is due.

use clap::Parser;
use pinlab::Runtime;
use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Many tasks that sleep at once, each for another time. Ctrl-C ends it.
#[derive(Parser)]
struct Arguments {
    /// How many tasks
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    count: u32,
    /// The longest sleep, such as 500ms or 5s
    #[arg(long, value_name = "TIME", default_value = "1s")]
    longest: humantime::Duration,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let count = arguments.count;
    let longest = Duration::from(arguments.longest);
    let rt = Runtime::new()?;
    let handle = rt.handle();
    let start = Instant::now();

    // Each sleeps for its own share of the longest time, and they are spawned in no order: multiplying by a large
    // prime and taking the rest visits every share once.
    let shares = (0..u64::from(count)).map(|number| (number * 2_654_435_761 % u64::from(count)) as u32 + 1);
    let sleepers: Vec<_> = shares
        .map(|share| {
            let time = longest.mul_f64(f64::from(share) / f64::from(count));
            let sleep = handle.sleep(time); // the time counts from here, not from the first poll
            let deadline = sleep.deadline();
            handle.spawn(async move {
                sleep.await;
                (deadline, Instant::now())
            })
        })
        .collect();
    let spawned = start.elapsed();

    let mut late = Vec::new();
    let mut early = 0;
    rt.block_on(async {
        for sleeper in sleepers {
            let (deadline, awake) = sleeper.await?;
            match deadline.map(|deadline| awake.checked_duration_since(deadline)) {
                Some(Some(after)) => late.push(after),
                _ => early += 1,
            }
        }
        Ok::<_, pinlab::JoinError>(())
    })?;
    let took = start.elapsed();
    late.sort();

    let stats = rt.stats();
    println!(
        "sleepers  {count}, for {longest:?} at most, {:.0?} of sleep in all",
        longest.mul_f64((f64::from(count) + 1.0) / 2.0)
    );
    println!("spawned   in {spawned:.2?}");
    println!("awake     {} after {took:.2?}", late.len());
    println!("early     {early}");
    if let (Some(median), Some(worst)) = (late.get(late.len() / 2), late.last()) {
        println!("late      {median:.2?} in the median, {worst:.2?} at worst");
    }
    println!("engine    {} polls, slept {} times, {} timers left", stats.polls, stats.parks, stats.timers);
    if early > 0 {
        return Err("a timer fired before its deadline".into());
    }
    Ok(())
}
