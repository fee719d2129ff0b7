//! Great numbers: connections, timers, tasks; and that descriptors and memory return to where they were.
//!
//! One process counts its descriptors, so these tests run one after another.

#[path = "common/allocations.rs"]
mod allocations;
mod common;

use common::{Count, SOON, runtime, within};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use pinlab::{Runtime, TcpListener, TcpStream, UdpSocket};
use std::future::pending;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);

/// One at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(target_os = "linux")]
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("Linux").count() - 1 // without the directory that is being read
}

#[cfg(not(target_os = "linux"))]
fn descriptors() -> usize {
    0 // not told: the engine's own count of sources is what remains to be checked
}

/// Resident memory in KiB.
#[cfg(target_os = "linux")]
fn resident() -> usize {
    // SAFETY: gives free memory back to the system; no preconditions.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("told by Linux");
    line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
}

#[cfg(not(target_os = "linux"))]
fn resident() -> usize {
    0
}

/// Raises the limit on descriptors as far as it goes, and tells it.
#[cfg(unix)]
fn descriptor_limit() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: they read and write the struct that they are given.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), 0);
        limit.rlim_cur = limit.rlim_max;
        // The system may refuse (macOS has a lower limit of its own): then the old one holds.
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), 0);
    }
    usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX)
}

#[cfg(not(unix))]
fn descriptor_limit() -> usize {
    usize::MAX
}

/// Waits until the system's own bookkeeping has caught up.
fn settles(what: impl Fn() -> bool) -> bool {
    (0..100).any(|_| {
        let settled = what();
        if !settled {
            std::thread::sleep(20 * MS);
        }
        settled
    })
}

/// So many connections at once, both ends here, each echoing twice.
fn echo_over(connections: usize) {
    let rt = runtime();
    let handle = rt.handle();
    let echoed = Count::default();
    rt.block_on(async {
        let listener = TcpListener::bind(&handle, "127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        let mut servers = Vec::new();
        let mut clients = Vec::new();
        for _ in 0..connections {
            let (client, accepted) = futures::join!(TcpStream::connect(&handle, address), listener.accept());
            let server = accepted.expect("a descriptor is left").0;
            clients.push(client.expect("a descriptor is left"));
            servers.push(handle.spawn(async move {
                let mut bytes = [0; 8];
                while (&server).read_exact(&mut bytes).await.is_ok() {
                    (&server).write_all(&bytes).await.expect("loopback");
                }
            }));
        }
        // All are open now, and all speak at once.
        let tasks: Vec<_> = clients
            .into_iter()
            .enumerate()
            .map(|(number, client)| {
                let echoed = echoed.clone();
                handle.spawn(async move {
                    for round in 0..2 {
                        let sent = (number as u64 * 2 + round).to_le_bytes();
                        (&client).write_all(&sent).await.expect("loopback");
                        let mut got = [0; 8];
                        (&client).read_exact(&mut got).await.expect("loopback");
                        assert_eq!(got, sent, "each gets its own bytes back");
                        echoed.up();
                    }
                })
            })
            .collect();
        for task in tasks.into_iter().chain(servers) {
            task.await.expect("no panic");
        }
    });
    assert_eq!(echoed.get(), 2 * connections);
    assert_eq!(rt.stats().tasks, 0);
    assert_eq!(rt.stats().sources, 0);
}

/// From the issue. Each connection takes two descriptors, as both ends are in this process.
#[test]
fn ten_thousand_connections_echo_and_leave_neither_descriptors_nor_memory_behind() {
    let _alone = alone();
    let limit = descriptor_limit();
    let connections = 10_000.min((limit.saturating_sub(descriptors() + 50)) / 2);
    if connections < 10_000 {
        println!("the limit on descriptors is {limit} (`ulimit -n`): this ran with {connections} connections instead of 10000");
    }
    assert!(connections >= 100, "a limit of {limit} descriptors is too low for this test: raise it with `ulimit -n`");
    within(6 * SOON, move || {
        echo_over(100); // what is set up at the first use
        let (before, memory) = (descriptors(), resident());
        echo_over(connections);
        assert!(settles(|| descriptors() == before), "{} descriptors, {before} before", descriptors());
        let after = resident();
        assert!(after < memory + 8 * 1024, "{after} KiB resident, {memory} before");
    });
}

/// 48 bytes beside its future, where tasks share memory, and its part of what no task fits into at the end of a chunk. In debug builds each is alone, and
/// has at most 80 more.
#[test]
fn an_idle_task_costs_48_bytes_beside_its_future() {
    let _alone = alone();
    costs_48_bytes(|| idle([1; 2]));
    costs_48_bytes(|| idle([1; 20]));
}

fn costs_48_bytes<F: Future + 'static>(idle: impl Fn() -> F) {
    const COUNT: u32 = 50_000;
    let rt = runtime();
    let size = size_of::<F>();
    let (before, blocks) = allocations::held();
    for _ in 0..COUNT {
        drop(rt.spawn(idle()));
    }
    rt.run_until_stalled();
    let (after, now) = allocations::held();
    let each = (after - before) as f64 / f64::from(COUNT);
    println!("{each} bytes each for a future of {size}, in {} block", (now - blocks - 1) as f64 / f64::from(COUNT));
    let task = (size + 48) as f64;
    // Of 32 KiB, at most one task's room is lost, and a chunk's head with it.
    let lost = task * (task + 256.0) / f64::from(32 << 10);
    let alone = if cfg!(debug_assertions) { 64.0 + 16.0 } else { lost };
    assert!(each <= task + alone + 1.0, "{each} bytes for a future of {size}");
}

async fn idle<const N: usize>(words: [u64; N]) -> u64 {
    pending::<()>().await;
    words.iter().sum()
}

/// Figures only: `cargo test --release --test many -- --ignored --nocapture tell`.
#[test]
#[ignore = "minutes; cargo verify --full"]
fn tell_what_a_task_costs_among_a_thousand_and_among_a_million() {
    let _alone = alone();
    for count in [1_000, 10_000, 100_000, 1_000_000] {
        let mut best = Duration::MAX;
        for _ in 0..(3_000_000 / count).min(50) {
            let rt = runtime();
            let start = Instant::now();
            let tasks: Vec<_> = (0..count).map(|number| rt.spawn(async move { number })).collect();
            rt.block_on(async {
                for task in tasks {
                    std::hint::black_box(task.await.expect("no panic"));
                }
            });
            best = best.min(start.elapsed());
        }
        println!("{count:>9} tasks: {:.1} ns each to spawn, run and join", best.as_nanos() as f64 / f64::from(count));
    }
}

/// Short-lived sockets without end: one of each kind opened, used and closed.
fn churn(rt: &Runtime, sockets: usize) {
    let handle = rt.handle();
    rt.block_on(async {
        let listener = TcpListener::bind(&handle, "127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        for _ in 0..sockets {
            let (client, accepted) = futures::join!(TcpStream::connect(&handle, address), listener.accept());
            let (client, (server, _)) = (client.expect("loopback"), accepted.expect("loopback"));
            // Reset instead of a polite end: no port is left in TIME_WAIT.
            socket2::SockRef::from(client.get_ref()).set_linger(Some(Duration::ZERO)).expect("open");
            let mut byte = [0];
            (&client).write_all(b"x").await.expect("loopback");
            (&server).read_exact(&mut byte).await.expect("loopback");
            let udp = UdpSocket::bind(&handle, "127.0.0.1:0").expect("loopback");
            assert!(handle.timeout(Duration::ZERO, udp.recv(&mut byte)).await.is_err());
        }
    });
}

fn soak_sockets(rounds: usize, each: usize) {
    let rt = runtime();
    churn(&rt, 200);
    let (before, memory) = (descriptors(), resident());
    for _ in 0..rounds {
        churn(&rt, each);
        assert_eq!(rt.stats().sources, 0);
    }
    assert_eq!(descriptors(), before);
    let after = resident();
    assert!(after < memory + 2 * 1024, "{after} KiB resident, {memory} before");
}

fn soak_timers(rounds: usize, each: usize) {
    let rt = runtime();
    let handle = rt.handle();
    let mut random = fastrand::Rng::with_seed(1);
    let mut round = || {
        let (fired, mut aborted) = (Count::default(), 0);
        for number in 0..each {
            let time = Duration::from_micros(random.u64(1..12_000));
            let (sleep, fired) = (handle.sleep(time), fired.clone());
            let task = rt.spawn(async move {
                sleep.await;
                fired.up();
            });
            if number % 4 == 0 {
                rt.tick();
                // One whose time was over at its first poll has ended: then an abort comes too late.
                aborted += usize::from(!task.is_finished());
                task.abort();
            }
        }
        rt.block_on(handle.sleep(13 * MS));
        rt.run_until_stalled();
        assert_eq!(fired.get(), each - aborted);
        assert!(aborted > each / 5, "{aborted} of {each}");
        assert_eq!((rt.stats().timers, rt.stats().tasks), (0, 0));
    };
    round();
    let (memory, (bytes, _)) = (resident(), allocations::held());
    (0..rounds).for_each(|_| round());
    let (after, more) = (resident(), allocations::held().0 - bytes);
    assert!(after < memory + 2 * 1024, "{after} KiB resident, {memory} before");
    // A list may grow once more, when a busy machine has more timers wait at once. One that leaks grows with each round.
    assert!(more < 256 * 1024, "{more} bytes more are held");
}

#[test]
fn a_thousand_short_lived_connections_leave_nothing_behind() {
    let _alone = alone();
    within(3 * SOON, || soak_sockets(2, 500));
}

#[test]
fn a_hundred_thousand_timers_leave_nothing_behind() {
    let _alone = alone();
    within(3 * SOON, || soak_timers(10, 10_000));
}

/// C20, in great numbers.
#[test]
#[ignore = "minutes; cargo verify --full"]
fn a_million_short_lived_connections_leave_nothing_behind() {
    let _alone = alone();
    within(60 * SOON, || soak_sockets(1_000, 1_000));
}

/// C20, in great numbers.
#[test]
#[ignore = "minutes; cargo verify --full"]
fn ten_million_timers_leave_nothing_behind() {
    let _alone = alone();
    within(60 * SOON, || soak_timers(1_000, 10_000));
}
