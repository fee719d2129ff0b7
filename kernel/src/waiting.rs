//! What a cell waits for that does not end. A program that is blocked cannot say it itself, so the system is asked.
//!
//! Only Linux tells (`proc(5)`: which system call each thread is in, and what its descriptors are). Elsewhere nothing is said.

use std::time::{Duration, Instant};

/// For so long the program must hardly have run before it is said.
pub(crate) const LONG: Duration = Duration::from_secs(10);
/// So often its threads may have run in that time: an engine that waits for sockets looks now and then whether somebody has given up.
const HARDLY: u64 = 5;
/// How often the program is looked at meanwhile.
pub(crate) const OFTEN: Duration = Duration::from_secs(2);

/// What has happened in a program so far.
#[derive(Clone, Copy, Debug)]
struct Activity {
    /// Which threads there are, in it and in what it has started; a hash.
    threads: u64,
    /// How often they have begun to run.
    runs: u64,
}

impl Activity {
    /// Whether a program of which this is seen has hardly run since it was seen like `then`.
    fn is_hardly_more_than(&self, then: &Self) -> bool {
        self.threads == then.threads && self.runs.saturating_sub(then.runs) <= HARDLY
    }
}

/// Looks at the program that runs one cell.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Since when it has hardly run, and what had happened until then.
    quiet: Option<(Instant, Activity)>,
    has_said: bool,
}

impl Watch {
    /// What the cell waits for, once, if the program below this kernel has hardly run for [`LONG`].
    pub(crate) fn look(&mut self, kernel: u32) -> Option<String> {
        if self.has_said {
            return None;
        }
        let Some(activity) = system::activity(kernel) else {
            self.quiet = None;
            return None;
        };
        let is_quiet = |(_, then): &(Instant, Activity)| activity.is_hardly_more_than(then);
        let (since, _) = *self.quiet.insert(self.quiet.filter(is_quiet).unwrap_or((Instant::now(), activity)));
        if since.elapsed() < LONG {
            return None;
        }
        let waits = system::waits(kernel);
        self.has_said = !waits.is_empty();
        self.has_said.then(|| {
            format!(
                "pinlab: this cell has waited for {} s, in which its program has hardly run. It waits\n{}\
                 Interrupt it (■) if that will never come: the notebook goes on.\n",
                since.elapsed().as_secs(),
                waits.iter().map(|wait| format!("  {wait}\n")).collect::<String>()
            )
        })
    }
}

#[cfg(target_os = "linux")]
mod system {
    use super::Activity;
    use std::cell::OnceCell;
    use std::fs;
    use std::hash::{DefaultHasher, Hash, Hasher};
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

    /// The threads that are told of.
    const MOST: usize = 4;

    /// What has happened in the program that runs the cells. `None`: no cell runs, as far as can be seen (it is still being compiled: the program waits
    /// for the kernel, on its input).
    pub(super) fn activity(kernel: u32) -> Option<Activity> {
        let program = program(kernel)?;
        if call(program, program).is_some_and(|call| call.number == libc::SYS_read && call.first == 0) {
            return None;
        }
        let (mut hasher, mut runs) = (DefaultHasher::new(), 0);
        let mut processes = vec![program];
        while let Some(process) = processes.pop() {
            for thread in threads(process) {
                (process, thread).hash(&mut hasher);
                runs += switches(process, thread);
            }
            processes.extend(children(process));
        }
        Some(Activity { threads: hasher.finish(), runs })
    }

    /// What each of its threads waits for, the main thread first.
    pub(super) fn waits(kernel: u32) -> Vec<String> {
        let Some(program) = program(kernel) else { return Vec::new() };
        let threads = threads(program);
        let more = threads.len().saturating_sub(MOST);
        let look = Look::at(program);
        let mut waits: Vec<String> = threads.iter().take(MOST).filter_map(|&thread| look.wait(thread)).collect();
        if more > 0 && !waits.is_empty() {
            waits.push(format!("(and {more} more threads)"));
        }
        waits
    }

    /// The kernel starts itself once more to run the cells.
    fn program(kernel: u32) -> Option<u32> {
        let executable = |process: u32| fs::read_link(format!("/proc/{process}/exe")).ok();
        let own = executable(kernel)?;
        children(kernel).into_iter().find(|&child| executable(child).as_ref() == Some(&own))
    }

    fn children(process: u32) -> Vec<u32> {
        let lists = threads(process).into_iter().map(|thread| format!("/proc/{process}/task/{thread}/children"));
        let lists = lists.filter_map(|list| fs::read_to_string(list).ok()).collect::<Vec<_>>();
        lists.iter().flat_map(|list| list.split_whitespace()).filter_map(|number| number.parse().ok()).collect()
    }

    fn threads(process: u32) -> Vec<u32> {
        let entries = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
        let mut threads: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        threads.sort_unstable();
        threads
    }

    /// How often the thread has begun to run.
    fn switches(process: u32, thread: u32) -> u64 {
        let status = fs::read_to_string(format!("/proc/{process}/task/{thread}/status")).unwrap_or_default();
        let counts = status.lines().filter_map(|line| line.split_once("voluntary_ctxt_switches:")?.1.trim().parse::<u64>().ok());
        counts.sum()
    }

    /// The system call that a thread is in, and its first argument.
    struct Call {
        number: i64,
        first: u64,
    }

    fn call(process: u32, thread: u32) -> Option<Call> {
        let text = fs::read_to_string(format!("/proc/{process}/task/{thread}/syscall")).ok()?;
        let mut words = text.split_whitespace();
        let number = words.next()?.parse().ok()?;
        let first = words.next().and_then(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok());
        Some(Call { number, first: first.unwrap_or_default() })
    }

    /// The tables in which the system has the addresses of sockets.
    pub(super) const TABLES: [&str; 4] = ["tcp", "tcp6", "udp", "udp6"];

    /// One look at a process: each of the tables is read once, since with many sockets that takes a while, in which the front does nothing else.
    pub(super) struct Look {
        pub(super) process: u32,
        pub(super) tables: [OnceCell<String>; 4],
    }

    impl Look {
        pub(super) fn at(process: u32) -> Self {
            Self { process, tables: Default::default() }
        }

        /// What the thread waits for, in words.
        pub(super) fn wait(&self, thread: u32) -> Option<String> {
            let process = self.process;
            let Call { number, first } = call(process, thread)?;
            let target = || self.descriptor(first);
            let (what, name) = match number {
                libc::SYS_read | libc::SYS_readv | libc::SYS_recvfrom | libc::SYS_recvmsg => {
                    (format!("to read from {}", target()), "read")
                }
                libc::SYS_write | libc::SYS_writev | libc::SYS_sendto | libc::SYS_sendmsg => {
                    (format!("to write to {}", target()), "write")
                }
                libc::SYS_accept | libc::SYS_accept4 => (format!("for somebody to connect to {}", target()), "accept"),
                libc::SYS_connect => (format!("for an answer to {}", target()), "connect"),
                libc::SYS_epoll_pwait => (self.events(first), "epoll_wait"),
                #[cfg(target_arch = "x86_64")]
                libc::SYS_epoll_wait => (self.events(first), "epoll_wait"),
                libc::SYS_ppoll | libc::SYS_pselect6 => ("for one of several files or sockets".to_owned(), "poll"),
                #[cfg(target_arch = "x86_64")]
                libc::SYS_poll | libc::SYS_select => ("for one of several files or sockets".to_owned(), "poll"),
                libc::SYS_futex => ("for another thread: its end, a lock, a message".to_owned(), "futex"),
                libc::SYS_nanosleep | libc::SYS_clock_nanosleep => ("for a time to pass".to_owned(), "sleep"),
                libc::SYS_wait4 | libc::SYS_waitid => ("for a program that it has started to end".to_owned(), "wait"),
                _ => (format!("in the system call of number {number}"), ""),
            };
            let who = if thread == process {
                "its main thread".to_owned()
            } else {
                let name = fs::read_to_string(format!("/proc/{process}/task/{thread}/comm")).unwrap_or_default();
                format!("its thread {}", name.trim())
            };
            Some(if name.is_empty() { format!("{what} ({who})") } else { format!("{what} ({who}, in {name})") })
        }

        /// What an `epoll` is armed for.
        fn events(&self, epoll: u64) -> String {
            let info = fs::read_to_string(format!("/proc/{}/fdinfo/{epoll}", self.process)).unwrap_or_default();
            let armed: Vec<(&str, u64)> = info.lines().filter_map(|line| self.armed(line)).collect();
            // Only those that are told are looked up.
            let told = |&(verb, number): &(&str, u64)| format!("{verb} {}", self.descriptor(number));
            match armed.as_slice() {
                [] => "for the call of a waker: no socket is armed".to_owned(),
                [first, rest @ ..] if rest.len() < MOST => {
                    format!("{}{}", told(first), rest.iter().map(|more| format!(", or {}", told(more))).collect::<String>())
                }
                [first, rest @ ..] => format!("{}, or for {} other sockets", told(first), rest.len()),
            }
        }

        /// One line of an `epoll`: `tfd: 5 events: 19 …`; for what it is armed, and its descriptor. What a poller arms for itself, to be woken and for its timers,
        /// is not told.
        fn armed(&self, line: &str) -> Option<(&'static str, u64)> {
            let mut words = line.strip_prefix("tfd:")?.split_whitespace();
            let number: u64 = words.next()?.parse().ok()?;
            let events = u64::from_str_radix(words.nth(1)?, 16).ok()?;
            let (read, write) = (events & 1 != 0, events & 4 != 0);
            let verb = match (read, write) {
                (true, true) => "to read from or write to",
                (true, false) => "to read from",
                (false, true) => "to write to",
                (false, false) => return None,
            };
            let is_its_own = self.link(number).is_some_and(|link| link.starts_with("anon_inode:"));
            (!is_its_own).then_some((verb, number))
        }

        fn link(&self, number: u64) -> Option<String> {
            Some(fs::read_link(format!("/proc/{}/fd/{number}", self.process)).ok()?.display().to_string())
        }

        /// What a descriptor is: the addresses of a socket, the path of a file.
        fn descriptor(&self, number: u64) -> String {
            let Some(text) = self.link(number) else {
                return format!("descriptor {number}");
            };
            match text.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')) {
                Some(inode) => self.socket(inode).unwrap_or_else(|| format!("a socket (descriptor {number})")),
                None if text.starts_with("pipe:") => format!("a pipe (descriptor {number})"),
                None => text,
            }
        }

        fn socket(&self, inode: &str) -> Option<String> {
            for (table, name) in self.tables.iter().zip(TABLES) {
                let text =
                    table.get_or_init(|| fs::read_to_string(format!("/proc/{}/net/{name}", self.process)).unwrap_or_default());
                for line in text.lines().skip(1) {
                    let fields: Vec<&str> = line.split_whitespace().collect();
                    let [_, local, remote, state, ..] = fields[..] else { continue };
                    if fields.get(9) != Some(&inode) {
                        continue;
                    }
                    let (local, remote) = (address(local)?, address(remote)?);
                    return Some(match state {
                        "0A" => format!("the listener at {local}"),
                        _ if remote.port() == 0 => format!("the socket at {local}"),
                        _ => format!("the socket {local}, connected to {remote}"),
                    });
                }
            }
            None
        }
    }

    /// As the tables of the system write it: words of the address in hexadecimal, each as it is in memory, and the port.
    pub(super) fn address(text: &str) -> Option<SocketAddr> {
        let (words, port) = text.split_once(':')?;
        let words: Option<Vec<[u8; 4]>> = (0..words.len() / 8)
            .map(|word| Some(u32::from_str_radix(words.get(word * 8..word * 8 + 8)?, 16).ok()?.to_ne_bytes()))
            .collect();
        let bytes = words?.concat();
        let address = match <[u8; 4]>::try_from(&bytes[..]) {
            Ok(four) => IpAddr::V4(Ipv4Addr::from(four)),
            Err(_) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(&bytes[..]).ok()?)),
        };
        Some(SocketAddr::new(address, u16::from_str_radix(port, 16).ok()?))
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    pub(super) fn activity(_: u32) -> Option<super::Activity> {
        None
    }
    pub(super) fn waits(_: u32) -> Vec<String> {
        Vec::new()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::system::{Look, TABLES, address};
    use super::{Activity, HARDLY};
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    use std::sync::mpsc;
    use std::thread;
    use std::time::{Duration, Instant};

    #[test]
    fn a_look_now_and_then_is_no_work_and_a_new_thread_is() {
        let then = Activity { threads: 7, runs: 100 };
        let is_quiet = |threads, runs| Activity { threads, runs }.is_hardly_more_than(&then);
        assert!(is_quiet(7, 100) && is_quiet(7, 100 + HARDLY));
        assert!(!is_quiet(7, 101 + HARDLY) && !is_quiet(8, 100));
    }

    /// What a thread is said to wait for that does this. It is left alone afterwards: that is what it is for.
    fn waiting(blocks: impl FnOnce() + Send + 'static) -> String {
        let (sender, receiver) = mpsc::channel();
        let thread = thread::Builder::new().name("waits".into()).spawn(move || {
            sender.send(rustix::thread::gettid().as_raw_pid().cast_unsigned()).unwrap();
            blocks();
        });
        thread.unwrap();
        let (id, begin) = (receiver.recv().unwrap(), Instant::now());
        loop {
            // It may still be on its way into the call that is meant.
            thread::sleep(Duration::from_millis(50));
            let said = Look::at(std::process::id()).wait(id);
            if let Some(said) = said.filter(|said| !said.contains("number")) {
                return said;
            }
            assert!(begin.elapsed() < Duration::from_secs(10), "nothing is said");
        }
    }

    #[test]
    fn what_a_thread_waits_for_is_said_with_its_addresses() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let mut client = TcpStream::connect(at).unwrap();
        let (own, (server, _)) = (client.local_addr().unwrap(), listener.accept().unwrap());
        let said = waiting(move || drop(client.read(&mut [0])));
        assert_eq!(said, format!("to read from the socket {own}, connected to {at} (its thread waits, in read)"));
        let said = waiting(move || drop(listener.accept()));
        assert_eq!(said, format!("for somebody to connect to the listener at {at} (its thread waits, in accept)"));
        let said = waiting(|| thread::sleep(Duration::from_secs(3600)));
        assert_eq!(said, "for a time to pass (its thread waits, in sleep)");
        let (_sender, receiver) = mpsc::channel::<()>();
        let said = waiting(move || receiver.recv().unwrap_or_default());
        assert_eq!(said, "for another thread: its end, a lock, a message (its thread waits, in futex)");
        drop(server);
    }

    /// The front stands still while it looks.
    #[test]
    fn with_many_sockets_the_tables_are_read_once() {
        const SOCKETS: usize = 300;
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
            runtime.block_on(async {
                let mut sockets = Vec::new();
                for _ in 0..SOCKETS {
                    sockets.push(tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap());
                }
                sender.send(rustix::thread::gettid().as_raw_pid().cast_unsigned()).unwrap();
                std::future::pending::<()>().await;
            });
        });
        let id = receiver.recv().unwrap();
        let begin = Instant::now();
        let look = || Look::at(std::process::id()).wait(id).unwrap_or_default();
        while !look().contains(" other sockets (its thread") {
            thread::sleep(Duration::from_millis(50));
            assert!(begin.elapsed() < Duration::from_secs(10), "{}", look());
        }
        // A look with tables of its own asks the system for none: it finds nobody's address in these.
        let said =
            Look { process: std::process::id(), tables: TABLES.map(|_| String::new().into()) }.wait(id).unwrap_or_default();
        assert!(said.contains("a socket (descriptor ") && !said.contains("127.0.0.1"), "{said}");
    }

    #[test]
    fn the_systems_tables_are_read() {
        if cfg!(target_endian = "little") {
            assert_eq!(address("0100007F:1F90"), "127.0.0.1:8080".parse().ok());
            assert_eq!(address("00000000000000000000000001000000:0050"), "[::1]:80".parse().ok());
        }
        assert_eq!(address("nothing"), None);
        assert_eq!(address("01:02"), None);
    }
}
