//! Waits that lose nothing: many at one source, sleeps that are reset or long over, and stalls that hide.

mod common;

use common::{SOON, poll, runtime, tcp_pair, within};
#[cfg(unix)]
use futures::AsyncWriteExt;
use futures::stream::FuturesUnordered;
use futures::{AsyncRead, AsyncReadExt, FutureExt, StreamExt};
use pinlab::{Async, Retry, TcpListener, TcpStream};
use socket2::SockRef;
use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn, ready};
use std::io::{Read, Write};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Waker;
use std::time::{Duration, Instant};

const MILLISECOND: Duration = Duration::from_millis(1);

// ---- many at one source ------------------------------------------------------------------------------------------

/// What a read has found out is no reason to leave an operation untried that may have nothing to do with it.
#[test]
fn an_operation_of_ones_own_is_tried_after_a_short_read() {
    within(SOON, || {
        let rt = runtime();
        let (stream, mut theirs) = tcp_pair(&rt.handle());
        theirs.write_all(b"x").expect("loopback");
        rt.block_on(async {
            stream.as_ref().readable().await.expect("loopback");
            assert_eq!((&stream).read(&mut [0; 8]).await.expect("loopback"), 1);
            stream.as_ref().read_with(|stream| stream.peer_addr()).await.expect("it is connected");
        });
    });
}

/// C33. The 33rd waiter used to displace and wake the others, for ever.
#[test]
fn any_number_of_tasks_wait_for_one_source_without_a_poll() {
    for waiters in [31, 33, 200] {
        within(SOON, move || {
            let rt = runtime();
            let (stream, mut theirs) = tcp_pair(&rt.handle());
            let stream = Rc::new(stream);
            let read = Rc::new(Cell::new(0));
            for _ in 0..waiters {
                let (stream, read) = (stream.clone(), read.clone());
                drop(rt.spawn(async move {
                    let got = (&*stream).read(&mut [0]).await;
                    assert!(got.is_ok());
                    read.set(read.get() + 1);
                }));
            }
            rt.run_until_stalled();
            let before = rt.stats().polls;
            rt.block_on(rt.handle().sleep(50 * MILLISECOND));
            assert!(rt.stats().polls - before <= 2, "{} polls while nothing happened", rt.stats().polls - before);
            theirs.write_all(&vec![7; waiters]).expect("loopback");
            let all = async {
                while read.get() < waiters {
                    rt.handle().sleep(MILLISECOND).await;
                }
            };
            rt.block_on(all);
        });
    }
}

/// C33. Whoever was displaced used to be counted before having had a turn, so that the list did not have to double.
#[test]
fn any_number_of_waiters_settle_however_long_their_polls_take() {
    for waiters in [67, 80, 89, 222] {
        within(SOON, move || {
            let rt = runtime();
            let (stream, _theirs) = tcp_pair(&rt.handle());
            let stream = Rc::new(stream);
            for _ in 0..waiters {
                let stream = stream.clone();
                drop(rt.spawn(poll_fn(move |cx| {
                    let start = Instant::now();
                    while start.elapsed() < Duration::from_micros(5) {} // it has something else to do, too
                    Pin::new(&mut &*stream).poll_read(cx, &mut [0]).map(drop)
                })));
            }
            rt.block_on(rt.handle().sleep(50 * MILLISECOND));
            let before = rt.stats().polls;
            rt.block_on(rt.handle().sleep(100 * MILLISECOND));
            assert!(rt.stats().polls - before <= 4, "{waiters}: {} polls while nothing happened", rt.stats().polls - before);
        });
    }
}

/// IS3. Who asks whether there is something must not take it away from others.
#[test]
fn who_watches_a_source_and_does_not_read_starves_no_reader() {
    within(SOON, || {
        let rt = runtime();
        let (stream, mut theirs) = tcp_pair(&rt.handle());
        let stream = Rc::new(stream);
        let watched = stream.clone();
        let _watcher = rt.spawn(async move {
            loop {
                (*watched).as_ref().readable().await.expect("the runtime is there");
                watched.peek(&mut [0]).await.expect("loopback");
            }
        });
        let read = rt.spawn(async move { (&*stream).read(&mut [0; 8]).await.expect("loopback") });
        rt.run_until_stalled(); // both wait, the watcher first
        theirs.write_all(b"x").expect("loopback");
        assert_eq!(rt.block_on(read).expect("it does not panic"), 1);
    });
}

/// IS3. An operation may say `WouldBlock` for itself alone.
#[test]
fn each_event_gives_each_operation_a_try() {
    within(SOON, || {
        let rt = runtime();
        let socket = || std::net::UdpSocket::bind("127.0.0.1:0").expect("loopback");
        let (one, two) = (socket(), socket());
        let shared = Rc::new(Async::new(&rt.handle(), socket()).expect("it is watched by nobody else"));
        let to = shared.get_ref().local_addr().expect("it is bound");
        let from = |peer: std::net::SocketAddr| {
            let shared = shared.clone();
            rt.spawn(async move {
                let received = shared.read_with(|socket| {
                    let mut bytes = [0; 8];
                    let is_mine = socket.peek_from(&mut bytes)?.1 == peer;
                    if is_mine { socket.recv(&mut bytes) } else { Err(std::io::ErrorKind::WouldBlock.into()) }
                });
                received.await.expect("loopback")
            })
        };
        let _first = from(one.local_addr().expect("it is bound"));
        let second = from(two.local_addr().expect("it is bound"));
        rt.run_until_stalled();
        two.send_to(b"x", to).expect("loopback");
        assert_eq!(rt.block_on(second).expect("it does not panic"), 1);
    });
}

/// The same beside one of whom nothing is known but the task.
#[test]
fn an_operation_that_leaves_what_there_is_starves_no_reader() {
    for in_one_task in [false, true] {
        within(SOON, move || {
            let rt = runtime();
            let (stream, mut theirs) = tcp_pair(&rt.handle());
            let stream = Rc::new(stream);
            let (watched, shared) = (stream.clone(), stream.clone());
            let leaves = async move {
                let looks = (*watched).as_ref().read_with(|_| Err::<(), _>(std::io::ErrorKind::WouldBlock.into()));
                looks.await.expect("it never ends");
            };
            let reads = async move { (&*shared).read(&mut [0; 8]).await.expect("loopback") };
            let got = if in_one_task {
                rt.spawn(async move {
                    let (leaves, reads) = (pin!(leaves), pin!(reads));
                    let both = futures::future::select(leaves, reads).await;
                    if let futures::future::Either::Right((got, _)) = both { got } else { 0 }
                })
            } else {
                drop(rt.spawn(leaves));
                rt.spawn(reads)
            };
            rt.run_until_stalled(); // both wait, the one that leaves first
            theirs.write_all(b"x").expect("loopback");
            assert_eq!(rt.block_on(got).expect("it does not panic"), 1);
        });
    }
}

/// IS3. Nobody who is gone is told of an event: so what was found by one that was polled once is no reason not to try. "Is there one now?"
#[test]
fn what_is_polled_once_and_given_up_sees_what_has_come_since() {
    within(SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        let socket = || std::net::UdpSocket::bind("127.0.0.1:0").expect("loopback");
        let (ours, theirs) = (Async::new(&handle, socket()).expect("it is watched by nobody else"), socket());
        let to = ours.get_ref().local_addr().expect("it is bound");
        let receive = || ours.read_with(|socket| socket.recv(&mut [0; 8])).now_or_never();
        assert!(receive().is_none(), "nothing is there");
        theirs.send_to(b"x", to).expect("loopback");
        rt.block_on(handle.sleep(20 * MILLISECOND));
        assert_eq!(receive().expect("it has arrived").expect("loopback"), 1);

        // The same with streams: after less than was asked for, too.
        let (mut ours, mut theirs) = tcp_pair(&handle);
        for asked_before in [false, true] {
            theirs.write_all(b"x").expect("loopback");
            assert_eq!(rt.block_on(ours.read(&mut [0; 8])).expect("loopback"), 1);
            assert!(!asked_before || ours.peek(&mut [0; 8]).now_or_never().is_none(), "nothing is there");
            theirs.write_all(b"yz").expect("loopback");
            rt.block_on(handle.sleep(20 * MILLISECOND));
            assert_eq!(ours.peek(&mut [0; 8]).now_or_never().expect("it has arrived").expect("loopback"), 2);
            assert_eq!(
                rt.block_on(handle.timeout(Duration::ZERO, ours.read(&mut [0; 8]))).expect("in time").expect("loopback"),
                2
            );
        }

        // And in whichever poll it is asked again, also if the last one has left its waker.
        theirs.write_all(b"x").expect("loopback");
        rt.block_on(handle.sleep(20 * MILLISECOND));
        rt.block_on(async {
            assert_eq!(ours.read(&mut [0; 8]).now_or_never().expect("it has arrived").expect("loopback"), 1);
            theirs.write_all(b"yz").expect("loopback");
            std::thread::sleep(20 * MILLISECOND); // work
            assert!(ours.read(&mut [0; 8]).now_or_never().is_none(), "in the same poll it has had less");
            pinlab::yield_now().await;
            assert_eq!(ours.read(&mut [0; 8]).now_or_never().expect("it has arrived").expect("loopback"), 2);
        });

        let listener = TcpListener::bind(&handle, "127.0.0.1:0").expect("loopback");
        assert!(listener.accept().now_or_never().is_none(), "nobody is there");
        let _client = std::net::TcpStream::connect(listener.local_addr().expect("it is bound")).expect("loopback");
        rt.block_on(handle.sleep(20 * MILLISECOND));
        assert!(listener.accept().now_or_never().is_some(), "somebody is there");
    });
}

/// Datagrams, whole or not at all: what does not fit is left where it is.
#[cfg(unix)]
struct Whole(std::net::UdpSocket);

#[cfg(unix)]
impl Read for &Whole {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let fits = self.0.peek(&mut [0; 64])? <= buf.len();
        if fits { self.0.recv(buf) } else { Err(std::io::ErrorKind::WouldBlock.into()) }
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for Whole {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// IS3. Of two poll-style callers in one task the engine knows one.
#[cfg(unix)]
#[test]
fn of_two_poll_style_readers_in_one_task_each_is_given_its_try() {
    within(SOON, || {
        let rt = runtime();
        let socket = || std::net::UdpSocket::bind("127.0.0.1:0").expect("loopback");
        let (ours, theirs) = (socket(), socket());
        let to = ours.local_addr().expect("it is bound");
        let source = Rc::new(Async::new(&rt.handle(), Whole(ours)).expect("it is watched by nobody else"));
        let shared = source.clone();
        let got = rt.spawn(async move {
            let (mut small, mut large) = ([0; 1], [0; 16]);
            let (mut first, mut second) = (&*shared, &*shared);
            let both = futures::future::select(first.read(&mut small), second.read(&mut large)).await;
            matches!(both, futures::future::Either::Right((Ok(4), _)))
        });
        rt.run_until_stalled(); // both wait
        theirs.send_to(b"four", to).expect("loopback");
        assert!(rt.block_on(got).expect("it does not panic"));
    });
}

/// What would block is none of the 128 things that a poll may do: however many are asked, each is given its try, and the engine sleeps.
#[cfg(unix)]
#[test]
fn any_number_of_idle_sources_are_read_in_one_task() {
    const MANY: usize = 200;
    within(SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        let pair = || std::os::unix::net::UnixStream::pair().expect("descriptors are left");
        let watched = |(ours, theirs)| (Async::new(&handle, ours).expect("it is watched by nobody else"), theirs);
        let (mut ours, mut theirs): (Vec<_>, Vec<_>) = (0..MANY).map(|_| watched(pair())).unzip();
        let mut bytes = [[0; 1]; MANY];
        let reads = ours.iter_mut().zip(&mut bytes).map(|(source, byte)| source.read(byte));
        let mut read = futures::future::select_all(reads);
        let before = rt.stats().polls;
        assert!(rt.block_on(handle.timeout(100 * MILLISECOND, &mut read)).is_err(), "nothing is there");
        assert!(rt.stats().polls - before < 10, "{} polls for nothing", rt.stats().polls - before);
        theirs[128].write_all(b"x").expect("it is open");
        assert_eq!(rt.block_on(read).1, 128);

        // "Is there one now?", of each, where there is one for each.
        let mut got = [0; MANY];
        rt.block_on(async {
            for _ in 0..20 {
                theirs.iter_mut().for_each(|theirs| theirs.write_all(b"x").expect("it is open"));
                for (got, source) in got.iter_mut().zip(&ours) {
                    let read = source.read_with(|mut source| source.read(&mut [0; 1])).now_or_never();
                    *got += read.map_or(0, |read| read.expect("it is open"));
                }
                handle.sleep(MILLISECOND).await;
            }
        });
        assert!(got.iter().all(|&got| got > 0), "nobody is refused each time: {got:?}");
        for (source, theirs) in ours.iter().zip(&mut theirs) {
            theirs.write_all(b"x").expect("it is open");
            while source.get_ref().read(&mut [0; 64]).is_ok() {} // what is left
        }
        // The same of each, where there is one for one.
        theirs[128].write_all(b"x").expect("it is open");
        rt.block_on(handle.sleep(20 * MILLISECOND));
        let found = rt.block_on(async {
            let try_one = |source: &Async<std::os::unix::net::UnixStream>| {
                source.read_with(|mut source| source.read(&mut [0; 1])).now_or_never().is_some()
            };
            ours.iter().position(try_one)
        });
        assert_eq!(found, Some(128));
    });
}

/// C33, for streams of connections, which withdraw when they are dropped.
#[test]
fn any_number_of_tasks_wait_for_connections_and_those_who_leave_are_forgotten() {
    within(SOON, || {
        let rt = runtime();
        let listener = Rc::new(TcpListener::bind(&rt.handle(), "127.0.0.1:0").expect("loopback"));
        for waiter in 0..70 {
            let listener = listener.clone();
            drop(rt.spawn(async move {
                if waiter % 2 == 0 {
                    let _ = listener.accept().await;
                } else {
                    let _ = listener.incoming().next().await;
                }
            }));
        }
        rt.run_until_stalled();
        let before = rt.stats().polls;
        rt.block_on(rt.handle().sleep(50 * MILLISECOND));
        assert!(rt.stats().polls - before <= 2);
        // Nobody waits any more when all have gone.
        let gone = TcpListener::bind(&rt.handle(), "127.0.0.1:0").expect("loopback");
        let mut incoming = Box::pin(gone.incoming());
        assert!(poll(pin!(incoming.next()), Waker::noop()).is_pending());
        drop(incoming);
        let state = rt.snapshot();
        assert!(state.sources.iter().all(|source| source.read.waiting.len() == 70 || source.read.waiting.is_empty()));
    });
}

/// C40. Tasks that have ended are not kept by a source that they once waited for.
#[test]
fn a_source_keeps_only_those_who_still_wait() {
    within(SOON, || {
        let rt = runtime();
        let (stream, _theirs) = tcp_pair(&rt.handle());
        let stream = Rc::new(stream);
        for _ in 0..1_000 {
            let stream = stream.clone();
            let reads = rt.spawn(async move { (&*stream).read(&mut [0]).await.is_ok() });
            rt.run_until_stalled();
            reads.abort();
        }
        let waiting = rt.snapshot().sources[0].read.waiting.len();
        assert!(waiting <= 64, "{waiting} wakers of tasks that have ended");
    });
}

// ---- sleeps ------------------------------------------------------------------------------------------------------

#[test]
fn a_sleep_that_is_reset_by_another_task_wakes_the_one_that_awaits_it() {
    for first in [Duration::from_secs(3600), Duration::MAX] {
        within(SOON, move || {
            let rt = runtime();
            let handle = rt.handle();
            let sleep = Rc::new(RefCell::new(handle.sleep(first)));
            let awaited = sleep.clone();
            let waits = rt.spawn(poll_fn(move |cx| Pin::new(&mut *awaited.borrow_mut()).poll(cx)));
            drop(rt.spawn(async move {
                handle.sleep(5 * MILLISECOND).await;
                sleep.borrow_mut().reset(Instant::now() + 10 * MILLISECOND);
            }));
            rt.try_block_on(waits).expect("no stall").expect("no panic");
        });
    }
}

#[test]
fn a_sleep_that_is_polled_after_its_deadline_is_ready_whether_or_not_the_loop_has_looked() {
    within(SOON, || {
        let rt = runtime();
        let mut sleep = pin!(rt.handle().sleep(MILLISECOND));
        std::thread::sleep(3 * MILLISECOND);
        assert!(poll(sleep.as_mut(), Waker::noop()).is_ready());
        // A loop that never lets go, but for its limit.
        let handle = rt.handle();
        rt.block_on(async {
            let mut limit = handle.sleep(5 * MILLISECOND).fuse();
            loop {
                futures::select_biased! {
                    () = limit => break,
                    () = ready(()).fuse() => {}
                }
            }
        });
    });
}

#[test]
fn sleeps_of_no_length_and_the_shortest_interval_let_others_run() {
    within(SOON, || {
        let rt = runtime();
        let (handle, other) = (rt.handle(), rt.handle());
        drop(rt.spawn(async move {
            loop {
                handle.sleep(Duration::ZERO).await;
            }
        }));
        drop(rt.spawn(async move {
            let mut interval = other.interval(Duration::from_nanos(1));
            loop {
                interval.tick().await;
            }
        }));
        rt.block_on(rt.handle().sleep(5 * MILLISECOND));
    });
}

// ---- sources -----------------------------------------------------------------------------------------------------

/// C39. Two registrations of one descriptor would take each other's away.
#[test]
fn a_descriptor_is_watched_once_and_again_when_it_was_taken_back() {
    within(SOON, || {
        let rt = runtime();
        let (stream, _theirs) = tcp_pair(&rt.handle());
        let shared = Rc::new(stream.into_inner());
        let first = Async::new(&rt.handle(), shared.clone()).expect("open");
        assert_eq!(Async::new(&rt.handle(), shared.clone()).expect_err("twice").kind(), std::io::ErrorKind::AlreadyExists);
        drop(first);
        drop(Async::new(&rt.handle(), shared).expect("free again"));
    });
}

/// A reader of its own that gives less than it has: only `WouldBlock` says that there is no more.
#[test]
fn a_source_with_bytes_of_its_own_is_read_until_it_would_block() {
    #[derive(Debug)]
    struct Drip(std::net::TcpStream, RefCell<Vec<u8>>);
    impl std::io::Read for &Drip {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            let mut kept = self.1.borrow_mut();
            if kept.is_empty() {
                let mut bytes = [0; 64];
                let got = (&self.0).read(&mut bytes)?;
                kept.extend(bytes[..got].iter().rev());
            }
            Ok(kept.pop().into_iter().zip(buf).map(|(byte, place)| *place = byte).count())
        }
    }
    #[cfg(unix)]
    impl std::os::fd::AsFd for Drip {
        fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
            self.0.as_fd()
        }
    }
    #[cfg(windows)]
    impl std::os::windows::io::AsSocket for Drip {
        fn as_socket(&self) -> std::os::windows::io::BorrowedSocket<'_> {
            self.0.as_socket()
        }
    }
    within(SOON, || {
        let rt = runtime();
        let (stream, mut theirs) = tcp_pair(&rt.handle());
        let mut drip = Async::new(&rt.handle(), Drip(stream.into_inner(), RefCell::default())).expect("open");
        theirs.write_all(b"four").expect("loopback");
        let waits = rt.stats().waits;
        let mut buf = [0; 4];
        rt.block_on(drip.read_exact(&mut buf[..1])).expect("four bytes");
        // The system has nothing more to tell; who asks it does not make the source forget what it keeps.
        assert!(drip.readable().now_or_never().is_none());
        rt.block_on(drip.read_exact(&mut buf[1..])).expect("four bytes");
        assert_eq!(&buf, b"four");
        assert!(rt.stats().waits - waits <= 1, "one wait for all of them");
    });
}

#[test]
fn options_of_sockets_have_methods_and_the_documented_defaults() {
    within(SOON, || {
        let rt = runtime();
        let (stream, _theirs) = tcp_pair(&rt.handle());
        let check = |stream: &TcpStream| -> std::io::Result<()> {
            assert!(stream.nodelay()?, "off by default");
            stream.set_nodelay(false)?;
            assert!(!stream.nodelay()?);
            stream.set_ttl(7)?;
            assert_eq!(stream.ttl()?, 7);
            assert_eq!(stream.linger()?, None);
            stream.set_linger(Some(Duration::from_secs(2)))?;
            assert_eq!(stream.linger()?, Some(Duration::from_secs(2)));
            stream.set_linger(None)?;
            assert_eq!(stream.linger()?, None);
            stream.set_linger(Some(Duration::ZERO))?;
            assert_eq!(stream.linger()?, Some(Duration::ZERO));
            // Whole seconds, and none that is not asked for: that would be a reset.
            stream.set_linger(Some(MILLISECOND))?;
            assert_eq!(stream.linger()?, Some(Duration::from_secs(1)));
            stream.set_linger(Some(Duration::MAX))?;
            assert!(stream.linger()?.is_some_and(|time| time >= Duration::from_secs(300)));
            stream.set_linger(Some(Duration::from_secs(1 << 32)))?;
            assert!(stream.linger()?.is_some_and(|time| time >= Duration::from_secs(300)));
            stream.set_linger(None)?;
            stream.set_keepalive(Some(Duration::from_secs(30)))?;
            stream.set_recv_buffer_size(1 << 16)?;
            stream.set_send_buffer_size(1 << 16)?;
            // What the system cannot count is no reason to ask it for less.
            let sizes = || {
                Ok::<_, std::io::Error>([SockRef::from(stream).recv_buffer_size()?, SockRef::from(stream).send_buffer_size()?])
            };
            let before = sizes()?;
            for more in
                [1 << 31, u32::MAX as usize, usize::MAX].into_iter().chain(1_usize.checked_shl(32).filter(|more| *more > 1))
            {
                stream.set_recv_buffer_size(more)?;
                stream.set_send_buffer_size(more)?;
                assert!(
                    sizes()?.iter().zip(before).all(|(now, before)| *now >= before),
                    "{more}: {:?} after {before:?}",
                    sizes()
                );
            }
            assert!(stream.take_error()?.is_none());
            Ok(())
        };
        check(&stream).expect("a TCP socket");
        let udp = pinlab::UdpSocket::bind(&rt.handle(), "127.0.0.1:0").expect("loopback");
        assert!(!udp.broadcast().expect("an option"));
        udp.set_broadcast(true).expect("an option");
        assert!(udp.peer_addr().is_err(), "not connected");
    });
}

#[cfg(unix)] // elsewhere the system closes no non-blocking socket that lingers
#[test]
fn a_socket_that_lingers_for_less_than_a_second_loses_nothing() {
    within(SOON, || {
        let rt = runtime();
        let (stream, mut theirs) = tcp_pair(&rt.handle());
        stream.set_linger(Some(500 * MILLISECOND)).expect("a TCP socket");
        rt.block_on((&stream).write_all(&[7; 1 << 16])).expect("there is room");
        let reader = std::thread::spawn(move || {
            let mut got = Vec::new();
            std::thread::sleep(20 * MILLISECOND);
            theirs.read_to_end(&mut got).map(|_| got.len())
        });
        drop(stream);
        assert_eq!(reader.join().expect("no panic").expect("no reset"), 1 << 16);
    });
}

// ---- stalls that hide --------------------------------------------------------------------------------------------

/// `join_all` of more than thirty awaits each through a waker of that one's own.
#[test]
fn stuck_tasks_that_are_awaited_together_are_a_stall_however_many_they_are() {
    use futures::future::{join_all, try_join_all};
    for tasks in [30, 31, 100] {
        within(SOON, move || {
            let rt = runtime();
            let stuck = || (0..tasks).map(|_| rt.spawn(pending::<()>())).collect::<Vec<_>>();
            let stalled = rt.try_block_on(join_all(stuck())).expect_err("none of them ends");
            assert_eq!(stalled.waiting().len(), tasks + 1);
            let stalled = rt.try_block_on(try_join_all(stuck())).expect_err("none of them ends");
            assert_eq!(stalled.waiting().len(), 2 * tasks + 1);
            let spawned = rt.spawn(join_all(stuck()));
            let stalled = rt.try_block_on(spawned).expect_err("nor that one");
            assert_eq!(stalled.waiting().len(), 3 * tasks + 2);
        });
    }
}

/// `FuturesUnordered` does that with any future. From the engine's side they all look the same, but another thread may have one of those wakers: no stall.
#[test]
fn what_a_combinator_holds_may_be_another_thread_s() {
    type Answer = Pin<Box<dyn Future<Output = Option<u32>>>>;
    for stuck in [1, 40] {
        within(SOON, move || {
            let rt = runtime();
            let (send, receive) = futures::channel::oneshot::channel();
            let helper = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(2_500));
                send.send(7)
            });
            let mut all: FuturesUnordered<Answer> = FuturesUnordered::new();
            for _ in 0..stuck {
                let task = rt.spawn(pending::<()>());
                all.push(Box::pin(async move { task.await.ok().map(|()| 0) }));
            }
            all.push(Box::pin(async move { receive.await.ok() }));
            assert_eq!(rt.try_block_on(all.next()).expect("a thread has a waker"), Some(Some(7)));
            helper.join().expect("no panic").expect("received");
        });
    }
}

#[test]
fn a_read_that_was_given_up_is_no_hope() {
    within(SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        let (mut stream, _theirs) = tcp_pair(&handle);
        let stalled = rt.try_block_on(async {
            let _ = handle.timeout(5 * MILLISECOND, stream.read(&mut [0; 4])).await;
            pending::<()>().await;
        });
        assert_eq!(stalled.expect_err("nothing is waited for").waiting().len(), 1);
    });
}

/// Nobody is woken by the look at who still waits: what was known of the sockets before it must not count after it.
#[test]
fn a_read_whose_task_is_over_is_no_hope() {
    within(SOON, || {
        let rt = runtime();
        let (stream, _theirs) = tcp_pair(&rt.handle());
        let stream = Rc::new(stream);
        let (shared, handle) = (stream.clone(), rt.handle());
        let task = rt.spawn(async move {
            let read = handle.timeout(5 * MILLISECOND, (&*shared).read(&mut [0; 4])).await;
            assert!(read.is_err(), "there is nothing to read");
        });
        rt.block_on(task).expect("it does not panic");
        assert!(rt.try_block_on(pending::<()>()).is_err());
        drop(stream);
    });
}

/// One that still waits is polled once more after a second, and then left alone; and it gets what comes.
#[test]
fn a_read_that_waits_for_long_is_not_taken_for_one_that_was_given_up() {
    within(SOON, || {
        let rt = runtime();
        let (mut stream, mut theirs) = tcp_pair(&rt.handle());
        let helper = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(2_500));
            theirs.write_all(b"x")
        });
        let before = rt.stats().polls;
        let read = rt.try_block_on(async { stream.read(&mut [0; 4]).await }).expect("it waits for a socket").expect("open");
        assert_eq!(read, 1);
        assert!(rt.stats().polls - before <= 3, "{} polls", rt.stats().polls - before);
        helper.join().expect("no panic").expect("loopback");
    });
}

// ---- memory ------------------------------------------------------------------------------------------------------

/// A waker or a handle that outlives its runtime holds no descriptor.
#[cfg(target_os = "linux")]
#[test]
fn what_outlives_a_runtime_holds_no_descriptor() {
    let count = || std::fs::read_dir("/proc/self/fd").expect("Linux").count();
    // Other tests of this process open and close sockets: so many runtimes that the sum tells.
    let before = count();
    let kept: Vec<_> = (0..200)
        .map(|_| {
            let rt = runtime();
            let waker = Rc::new(RefCell::new(None));
            let slot = waker.clone();
            let task = rt.spawn(poll_fn(move |cx| {
                *slot.borrow_mut() = Some(cx.waker().clone());
                std::task::Poll::<()>::Pending
            }));
            rt.run_until_stalled();
            (rt.handle(), task, waker)
        })
        .collect();
    let after = count();
    assert!(after < before + 100, "{before} descriptors before, {after} after");
    drop(kept);
}

// ---- Retry -------------------------------------------------------------------------------------------------------

#[test]
fn a_failed_attempt_is_dropped_before_the_pause() {
    within(SOON, || {
        struct Held<'a>(&'a Cell<i32>);
        impl Drop for Held<'_> {
            fn drop(&mut self) {
                self.0.set(self.0.get() - 1);
            }
        }
        let rt = runtime();
        let alive = Cell::new(0);
        let attempt = || {
            alive.set(alive.get() + 1);
            let held = Held(&alive);
            async move {
                let _held = held;
                Err::<(), _>("no")
            }
        };
        let mut retry = Box::pin(Retry::new(attempt, 1).with_delay(&rt.handle(), 20 * MILLISECOND));
        assert!(poll(retry.as_mut(), Waker::noop()).is_pending());
        assert_eq!(alive.get(), 0, "it waits, and holds nothing");
        assert_eq!(rt.block_on(retry.as_mut()), Err("no"));
        let again = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| poll(retry.as_mut(), Waker::noop()).is_ready()));
        assert!(again.is_err(), "as an async fn does");
    });
}

// ---- sources in edge mode ------------------------------------------------------------------------------------------

/// A socket that was told that nobody is there, and is watched in edge mode since (IS5); the other end; and its own address.
#[cfg(target_os = "linux")]
async fn refused_once(handle: &pinlab::Handle) -> (Async<std::net::UdpSocket>, std::net::UdpSocket, std::net::SocketAddr) {
    let theirs = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound"); // closed again
    let ours = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    ours.connect(theirs).expect("loopback");
    let address = ours.local_addr().expect("bound");
    let ours = Async::new(handle, ours).expect("a socket");
    ours.get_ref().send(b"?").expect("sent");
    ours.readable().await.expect("an error is there");
    assert!(ours.get_ref().recv(&mut [0; 8]).is_err(), "refused");
    (ours, std::net::UdpSocket::bind(theirs).expect("it was free just now"), address)
}

/// What comes together with another thread's message is not thrown away: as an edge it would not come again.
#[cfg(target_os = "linux")]
#[test]
fn an_edge_that_comes_with_a_notification_is_not_lost() {
    within(3 * SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        let (ours, theirs, address) = rt.block_on(refused_once(&handle));
        for round in 0..2_000 {
            let (send, receive) = futures::channel::oneshot::channel();
            let theirs = theirs.try_clone().expect("a descriptor");
            let helper = std::thread::spawn(move || {
                std::thread::sleep(MILLISECOND); // the engine sleeps
                theirs.send_to(b"x", address).expect("loopback");
                send.send(()).expect("it is awaited");
            });
            let both = async { futures::join!(receive, ours.read_with(|socket| socket.recv(&mut [0; 8]))) };
            let (told, read) = rt.block_on(handle.timeout(SOON, both)).unwrap_or_else(|_| panic!("lost in round {round}"));
            assert_eq!((told, read.expect("a datagram")), (Ok(()), 1));
            helper.join().expect("no panic");
        }
    });
}

/// Each call asks afresh, in edge mode, too; and one that is given up takes nothing from the next.
#[cfg(target_os = "linux")]
#[test]
fn readable_is_told_again_in_edge_mode() {
    within(SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        rt.block_on(async {
            let (ours, theirs, address) = refused_once(&handle).await;
            for _ in 0..4 {
                theirs.send_to(b"x", address).expect("loopback");
            }
            for _ in 0..2 {
                handle.timeout(SOON, ours.readable()).await.expect("there is one").expect("watched");
                assert_eq!(ours.get_ref().recv(&mut [0; 8]).expect("a datagram"), 1);
            }
            let _ = ours.readable().now_or_never(); // given up
            for _ in 0..2 {
                let read = ours.read_with(|socket| socket.recv(&mut [0; 8]));
                assert_eq!(handle.timeout(SOON, read).await.expect("there is one").expect("a datagram"), 1);
            }
        });
    });
}

/// In edge mode nobody says again that there is something.
#[cfg(target_os = "linux")]
#[test]
fn what_is_left_by_one_is_read_by_another_in_edge_mode() {
    within(SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        let (ours, theirs, address) = rt.block_on(refused_once(&handle));
        let ours = Rc::new(ours);
        let (watched, shared, limit) = (ours.clone(), ours.clone(), handle.clone());
        drop(rt.spawn(async move { watched.read_with(|_| Err::<(), _>(std::io::ErrorKind::WouldBlock.into())).await }));
        let read = rt.spawn(async move {
            for _ in 0..3 {
                let read = shared.read_with(|socket| socket.recv(&mut [0; 8]));
                assert_eq!(limit.timeout(SOON / 4, read).await.expect("there is one").expect("a datagram"), 1);
            }
        });
        rt.run_until_stalled();
        for _ in 0..3 {
            theirs.send_to(b"x", address).expect("loopback");
        }
        rt.block_on(read).expect("all three are read");
        drop(ours);
    });
}

/// IS3. What another one was told holds for that one: who begins later tries, for nobody will say it again.
#[cfg(target_os = "linux")]
#[test]
fn who_begins_after_an_edge_tries() {
    within(SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        let (ours, theirs, address) = rt.block_on(refused_once(&handle));
        let ours = Rc::new(ours);
        let watched = ours.clone();
        drop(rt.spawn(async move { watched.read_with(|_| Err::<(), _>(std::io::ErrorKind::WouldBlock.into())).await }));
        rt.run_until_stalled();
        theirs.send_to(b"x", address).expect("loopback");
        rt.block_on(handle.sleep(20 * MILLISECOND)); // the event has come, and one has said `WouldBlock`
        let read = ours.read_with(|socket| socket.recv(&mut [0; 8]));
        assert_eq!(rt.block_on(handle.timeout(SOON / 4, read)).expect("there is one").expect("a datagram"), 1);
        drop(ours);
    });
}

/// IF1. To clone a waker is foreign code: with it may come the event for which it was to wait.
#[cfg(target_os = "linux")]
#[test]
fn an_edge_that_comes_while_the_waker_is_cloned_is_not_lost() {
    type World = (Rc<pinlab::Runtime>, std::net::UdpSocket, std::net::SocketAddr);
    thread_local! {
        static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
    }
    within(SOON, || {
        let rt = Rc::new(runtime());
        let (ours, theirs, address) = rt.block_on(refused_once(&rt.handle()));
        let ours = Rc::new(ours);
        let shared = ours.clone();
        let first = rt.spawn(async move { shared.read_with(|socket| socket.recv(&mut [0; 8])).await });
        rt.run_until_stalled(); // it waits, so the side stays armed
        WORLD.set(Some((rt.clone(), theirs, address)));
        let counting = pinlab::CountingWaker::on_clone(|_| {
            let Some((rt, theirs, to)) = WORLD.take() else { return };
            theirs.send_to(b"1", to).expect("loopback");
            theirs.send_to(b"2", to).expect("loopback");
            rt.block_on(rt.handle().sleep(20 * MILLISECOND)); // the event: the first one takes its datagram
        });
        let waker = counting.waker();
        let mut second = pin!(ours.read_with(|socket| socket.recv(&mut [0; 8])));
        assert!(matches!(poll(second.as_mut(), &waker), std::task::Poll::Ready(Ok(1))), "it looks again");
        assert!(first.is_finished());
    });
}

// ---- a runtime that is gone ----------------------------------------------------------------------------------------

/// What can be read at once still is, also by one that had to wait before.
#[test]
fn what_is_there_can_be_read_when_the_runtime_is_gone() {
    within(SOON, || {
        let rt = runtime();
        let (mut ours, mut theirs) = tcp_pair(&rt.handle());
        let mut bytes = [0; 4];
        assert!(ours.read(&mut bytes).now_or_never().is_none(), "nothing is there");
        drop(rt);
        theirs.write_all(b"x").expect("loopback");
        std::thread::sleep(20 * MILLISECOND);
        assert_eq!(pinlab::block_on(ours.read(&mut bytes)).expect("one byte is there"), 1);
        let error = pinlab::block_on(ours.read(&mut bytes)).expect_err("it would have to wait");
        assert_eq!(error.kind(), std::io::ErrorKind::NotConnected);
        drop(theirs);
        std::thread::sleep(20 * MILLISECOND);
        assert_eq!(pinlab::block_on(ours.read(&mut bytes)).expect("the end"), 0);
    });
}

/// The same where the runtime goes while the waker is cloned, of one who was told `WouldBlock` before.
#[test]
fn who_cannot_wait_tries() {
    thread_local! {
        static RT: RefCell<Option<pinlab::Runtime>> = const { RefCell::new(None) };
    }
    within(SOON, || {
        let rt = runtime();
        let (ours, mut theirs) = tcp_pair(&rt.handle());
        let mut bytes = [0; 8];
        let mut peek = pin!(ours.peek(&mut bytes));
        assert!(poll(peek.as_mut(), Waker::noop()).is_pending());
        theirs.write_all(b"x").expect("loopback");
        std::thread::sleep(20 * MILLISECOND);
        RT.set(Some(rt));
        let counting = pinlab::CountingWaker::on_clone(|_| drop(RT.take()));
        let waker = counting.waker();
        assert!(matches!(poll(peek, &waker), std::task::Poll::Ready(Ok(1))));
        assert!(RT.take().is_none(), "it was dropped");
    });
}

/// Of two who wait at one side, neither is refused in each poll.
#[test]
fn of_two_at_one_side_neither_is_refused_in_each_poll() {
    within(SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        let (ours, mut theirs) = tcp_pair(&handle);
        theirs.write_all(b"x").expect("loopback");
        rt.block_on(handle.sleep(20 * MILLISECOND));
        let (mut peeked, mut bytes, mut reader) = ([0; 8], [0; 8], &ours);
        let batches = async {
            loop {
                for _ in 0..128 {
                    handle.sleep(Duration::ZERO).await;
                }
                pinlab::yield_now().await;
            }
        };
        let peeks = async {
            loop {
                ours.peek(&mut peeked).await.expect("loopback");
                pinlab::yield_now().await;
            }
        };
        let read = reader.read(&mut bytes);
        let (mut batches, mut peeks, mut read) = (pin!(batches), pin!(peeks), pin!(read));
        let got = rt.block_on(poll_fn(|cx| {
            let _: std::task::Poll<()> = batches.as_mut().poll(cx);
            let _: std::task::Poll<()> = peeks.as_mut().poll(cx);
            read.as_mut().poll(cx)
        }));
        assert_eq!(got.expect("loopback"), 1);
    });
}

/// Tasks of another runtime are woken first: then no foreign waker finds one that looks as if somebody were about to wake it.
#[test]
fn a_waker_that_is_called_for_a_runtime_that_is_gone_may_drive_another_one() {
    thread_local! {
        static THERE: RefCell<Option<Rc<pinlab::Runtime>>> = const { RefCell::new(None) };
    }
    struct Drives;
    impl std::task::Wake for Drives {
        fn wake(self: std::sync::Arc<Self>) {
            let there = THERE.take().expect("once");
            assert!(there.try_block_on(pending::<()>()).is_err(), "nobody can wake it");
        }
    }
    within(SOON, || {
        let (here, there) = (runtime(), Rc::new(runtime()));
        let mut sleep = pin!(here.handle().sleep(Duration::from_secs(3600)));
        assert!(poll(sleep.as_mut(), &Waker::from(std::sync::Arc::new(Drives))).is_pending());
        let (mut stream, _theirs) = tcp_pair(&here.handle());
        let reader = there.spawn(async move { stream.read(&mut [0; 4]).await.map_err(|error| error.kind()) });
        there.run_until_stalled();
        THERE.set(Some(there.clone()));
        drop(here);
        assert!(THERE.take().is_none(), "it was called");
        assert!(reader.is_finished());
    });
}

/// A task of another runtime waits for a socket of this one, and finds that it is gone.
#[test]
fn who_waits_for_a_runtime_that_is_dropped_is_woken() {
    within(SOON, || {
        let (here, there) = (runtime(), runtime());
        let (mut stream, _theirs) = tcp_pair(&there.handle());
        let sleep = there.handle().sleep(Duration::from_secs(3600));
        let reader = here.spawn(async move { stream.read(&mut [0; 4]).await.map_err(|error| error.kind()) });
        let sleeper = here.spawn(sleep);
        here.run_until_stalled();
        drop(there);
        assert_eq!(here.block_on(reader).expect("it ends"), Err(std::io::ErrorKind::NotConnected));
        assert!(here.block_on(sleeper).expect_err("a sleep of a runtime that is gone panics").is_panic());
    });
}

/// A connection that nobody could watch stays with the system, for whoever takes the listener back.
#[test]
fn a_listener_takes_no_connection_when_its_runtime_is_gone() {
    within(SOON, || {
        let rt = runtime();
        let listener = TcpListener::bind(&rt.handle(), "127.0.0.1:0").expect("loopback");
        let mut client = std::net::TcpStream::connect(listener.local_addr().expect("bound")).expect("loopback");
        client.write_all(b"x").expect("loopback");
        std::thread::sleep(20 * MILLISECOND);
        drop(rt);
        let error = pinlab::block_on(listener.accept()).expect_err("nobody could watch it");
        assert_eq!(error.kind(), std::io::ErrorKind::NotConnected);
        let error = pinlab::block_on(listener.incoming().next()).expect("never ends").expect_err("nor here");
        assert_eq!(error.kind(), std::io::ErrorKind::NotConnected);
        let (mut taken, _) = listener.into_inner().accept().expect("it is still there");
        taken.set_nonblocking(false).expect("open");
        taken.read_exact(&mut [0]).expect("one byte");
    });
}

/// Nor does anybody connect for a runtime that is gone.
#[test]
fn nobody_is_called_for_a_runtime_that_is_gone() {
    within(SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        drop(rt);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        let error = pinlab::block_on(TcpStream::connect(&handle, address)).expect_err("nobody could watch it");
        assert_eq!(error.kind(), std::io::ErrorKind::NotConnected);
        listener.set_nonblocking(true).expect("open");
        std::thread::sleep(20 * MILLISECOND);
        assert_eq!(listener.accept().expect_err("nobody").kind(), std::io::ErrorKind::WouldBlock);
    });
}
