//! Sockets: nothing is lost, nothing is reported early, nothing is left behind, nothing spins.

mod common;

use common::{Count, SOON, poll, runtime, tcp_pair, within, yields_for_ever};
use futures::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use futures::stream::StreamExt;
#[cfg(unix)]
use pinlab::Async;
use pinlab::{CountingWaker, TcpListener, TcpStream, UdpSocket, yield_now};
use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;
#[cfg(unix)]
use std::time::Instant;

const MS: Duration = Duration::from_millis(1);

/// C34: a side's hint is cleared by what was true for that side, and both sides at once.
#[test]
fn reading_and_writing_one_socket_at_once_moves_every_byte_both_ways() {
    const BYTES: usize = 8 << 20;
    within(3 * SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        let (ours, theirs) = tcp_pair(&handle);
        let mut echo = theirs;
        let peer = thread::spawn(move || {
            let mut reader = echo.try_clone().expect("a descriptor is left");
            std::io::copy(&mut reader, &mut echo).expect("loopback");
            echo.shutdown(Shutdown::Write).expect("open");
        });
        let sent: Vec<u8> = (0..BYTES).map(|at| (at * 31 % 251) as u8).collect();
        let got = rt.block_on(async {
            let (mut reader, mut writer) = (&ours, &ours);
            let mut got = Vec::new();
            let write = async {
                writer.write_all(&sent).await.expect("loopback");
                writer.close().await.expect("open");
            };
            futures::join!(write, async { reader.read_to_end(&mut got).await.expect("loopback") });
            got
        });
        assert!(got == sent);
        peer.join().expect("no panic");
    });
}

/// C34: more events than a 16-bit tick could count.
#[test]
fn seventy_thousand_round_trips_on_one_socket_lose_nothing() {
    within(3 * SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        let (a, b) = tcp_pair(&handle);
        let b = TcpStream::from_std(&handle, b).expect("open");
        rt.block_on(async {
            let ping = async {
                let mut byte = [0];
                for _ in 0..70_000 {
                    (&a).write_all(&[1]).await.expect("loopback");
                    (&a).read_exact(&mut byte).await.expect("loopback");
                }
            };
            let pong = async {
                let mut byte = [0];
                for _ in 0..70_000 {
                    (&b).read_exact(&mut byte).await.expect("loopback");
                    (&b).write_all(&byte).await.expect("loopback");
                }
            };
            futures::join!(ping, pong);
        });
    });
}

/// C35.
#[test]
fn data_and_the_end_that_come_together_are_read_one_after_the_other() {
    within(SOON, || {
        for read_before in [false, true] {
            let rt = runtime();
            let handle = rt.handle();
            let (mut ours, mut theirs) = tcp_pair(&handle);
            if read_before {
                // The side has been armed, and knows a short read.
                theirs.write_all(b"ab").expect("loopback");
                assert_eq!(rt.block_on(ours.read(&mut [0; 64])).expect("loopback"), 2);
            }
            theirs.write_all(b"abc").expect("loopback");
            theirs.shutdown(Shutdown::Write).expect("open");
            thread::sleep(5 * MS);
            let mut big = [0; 4096];
            assert_eq!(rt.block_on(ours.read(&mut big)).expect("loopback"), 3);
            assert_eq!(rt.block_on(ours.read(&mut big)).expect("loopback"), 0, "the end");
            assert_eq!(rt.block_on(ours.read(&mut big)).expect("loopback"), 0, "the end stays");
        }
    });
}

/// C36.
#[test]
fn a_new_socket_in_the_place_of_a_closed_one_is_not_taken_for_it() {
    within(SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        for _ in 0..50 {
            let (a, mut a_peer) = tcp_pair(&handle);
            let (b, mut b_peer) = tcp_pair(&handle);
            let b_descriptor = descriptor(b.get_ref());
            let spare = tcp_std_pair();
            let result = rt.block_on(async {
                let mut byte = [0];
                // Both are armed and both get an event in one batch; whoever is first closes the other and takes its place.
                let other = Rc::new(RefCell::new(Some(b)));
                let reader = other.clone();
                let victim = handle.spawn(std::future::poll_fn(move |cx| match &*reader.borrow() {
                    Some(b) => Pin::new(&mut &*b).poll_read(cx, &mut [0]).map(|_| true),
                    None => std::task::Poll::Ready(false),
                }));
                yield_now().await;
                let mut reader = &a;
                let mut read = pin!(reader.read(&mut byte));
                assert!(futures::poll!(read.as_mut()).is_pending());
                a_peer.write_all(b"a").expect("loopback");
                b_peer.write_all(b"b").expect("loopback");
                thread::sleep(MS);
                read.await.expect("loopback");
                drop(other.take());
                // Forced into the same number: the old one was just closed, and this is the lowest free.
                let fresh = spare.0.try_clone().expect("a descriptor is left");
                let same = descriptor(&fresh) == b_descriptor;
                let fresh = TcpStream::from_std(&handle, fresh).expect("open");
                let early = handle.timeout(2 * MS, (&fresh).read(&mut [0])).await;
                drop(victim);
                (same, early.is_err())
            });
            assert!(result.1, "nothing was sent to the new socket (the same number: {})", result.0);
        }
    });
}

#[cfg(unix)]
fn descriptor(stream: &std::net::TcpStream) -> i32 {
    std::os::fd::AsRawFd::as_raw_fd(stream)
}

#[cfg(windows)]
fn descriptor(stream: &std::net::TcpStream) -> u64 {
    std::os::windows::io::AsRawSocket::as_raw_socket(stream)
}

fn tcp_std_pair() -> (std::net::TcpStream, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let one = std::net::TcpStream::connect(listener.local_addr().expect("bound")).expect("loopback");
    (one, listener.accept().expect("just connected").0)
}

/// C37: a second descriptor of the same socket would keep a registration alive that was not taken back.
#[test]
fn a_source_is_taken_out_before_its_descriptor_closes_though_a_clone_lives_on() {
    within(SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        let (ours, mut theirs) = tcp_pair(&handle);
        let clone = ours.get_ref().try_clone().expect("a descriptor is left");
        {
            let mut readable = pin!(ours.as_ref().readable());
            assert!(poll(readable.as_mut(), Waker::noop()).is_pending());
        }
        drop(ours);
        theirs.write_all(b"x").expect("loopback"); // an event, if anybody were still registered
        let (_quiet, peer) = tcp_pair(&handle);
        let before = rt.stats();
        let waits = pin!(_quiet.as_ref().readable());
        rt.block_on(async { handle.timeout(30 * MS, waits).await.expect_err("nothing was sent to this one") });
        let after = rt.stats();
        let waits = after.waits - before.waits; // whole milliseconds first, then what is left of the last one
        assert!(waits <= 2, "the loop slept through, in {waits} waits");
        assert_eq!(after.sources, 1);
        drop((clone, peer));
    });
}

/// C38.
#[test]
fn connect_tells_what_really_happened() {
    within(SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        // A closed port: bound to learn its number, and let go.
        let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback").local_addr().expect("bound");
        let error = rt.block_on(TcpStream::connect(&handle, closed)).expect_err("nobody listens");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        // The second of two addresses.
        let open = TcpListener::bind(&handle, "127.0.0.1:0").expect("loopback");
        let addresses = [closed, open.local_addr().expect("bound")];
        let stream = rt.block_on(TcpStream::connect(&handle, &addresses[..])).expect("the second listens");
        assert_eq!(stream.peer_addr().expect("connected"), addresses[1]);
        // No address at all.
        let error = rt.block_on(TcpStream::connect(&handle, &[][..])).expect_err("no address");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(rt.stats().sources, 2, "no failed attempt is left behind");
    });
}

/// C38: the system neither accepts nor refuses.
#[cfg(target_os = "linux")]
#[test]
fn a_connect_that_the_other_end_never_answers_is_ended_by_a_limit() {
    within(SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        listener.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().expect("an address").into()).expect("loopback");
        listener.listen(0).expect("bound");
        let address = listener.local_addr().expect("bound").as_socket().expect("an address");
        // Nobody accepts: the queue takes one or two, and then the system no longer answers.
        let mut held = Vec::new();
        let full = (0..8).any(|_| {
            match rt.block_on(handle.timeout(100 * MS, TcpStream::connect(&handle, address))) {
                Ok(stream) => held.push(stream.expect("loopback")),
                Err(_) => return true,
            }
            false
        });
        assert!(full, "a connection that nobody took was reported");
        assert_eq!(rt.stats().sources, held.len());
        // C38 again: with room in the queue the next one succeeds.
        listener.accept().expect("one waits");
        rt.block_on(TcpStream::connect(&handle, address)).expect("there is room");
    });
}

/// The queue of a listener is longer than the standard library's, whose 129th client would have to try again a second later.
#[test]
#[cfg(target_os = "linux")]
fn five_hundred_clients_may_come_before_the_first_is_accepted() {
    let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").ok().and_then(|text| text.trim().parse().ok());
    if most.is_none_or(|most: usize| most < 512) {
        return println!("this system's own limit is lower: {most:?}");
    }
    let rt = runtime();
    let listener = TcpListener::bind(&rt.handle(), "127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    let connect = |_| std::net::TcpStream::connect_timeout(&address, Duration::from_millis(900));
    let clients: std::io::Result<Vec<_>> = (0..500).map(connect).collect();
    clients.expect("the queue has room for all of them");
}

/// C39.
#[cfg(unix)]
#[test]
fn a_source_that_cannot_be_watched_says_so_and_leaves_nothing_behind() {
    within(SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        let (ours, theirs) = tcp_std_pair();
        {
            // The same descriptor twice.
            let ours = std::rc::Rc::new(ours);
            let first = Async::new(&handle, ours.clone()).expect("open");
            let mut waits = pin!(first.readable());
            assert!(poll(waits.as_mut(), Waker::noop()).is_pending());
            let error = Async::new(&handle, ours).expect_err("it is registered already");
            assert_eq!(error.kind(), ErrorKind::AlreadyExists);
            // The first registration is not harmed by the second's end.
            (&theirs).write_all(b"x").expect("loopback");
            rt.block_on(waits).expect("watched");
        }
        #[cfg(target_os = "linux")]
        {
            let file = Async::new(&handle, std::fs::File::open("/proc/self/exe").expect("Linux")).expect("open");
            let error = rt.block_on(file.readable()).expect_err("the system does not watch files");
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
            drop(file);
        }
        assert_eq!(rt.stats().sources, 0);
        // A device that some systems do not watch. Whoever gets its number next can wait.
        let device = Async::new(&handle, std::fs::File::open("/dev/null").expect("Unix")).expect("open");
        let _ = poll(pin!(device.readable()), Waker::noop());
        drop(device);
        let socket = UdpSocket::bind(&handle, "127.0.0.1:0").expect("loopback");
        assert!(poll(pin!(socket.recv(&mut [0])), Waker::noop()).is_pending());
    });
}

/// The waker is dropped because storing it failed; its drop uses the reactor.
#[cfg(target_os = "linux")]
#[test]
fn a_waker_that_is_dropped_because_its_source_cannot_be_watched_may_use_the_reactor() {
    use pinlab::Handle;
    use std::{sync::Arc, task::Wake};
    thread_local! {
        static ENGINE: RefCell<Option<(Handle, Option<TcpStream>)>> = const { RefCell::new(None) };
    }
    struct Last;
    impl Wake for Last {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for Last {
        fn drop(&mut self) {
            // After the test's end, when the last one goes, there is no engine.
            drop(ENGINE.with_borrow_mut(|engine| engine.as_mut().and_then(|(_, stream)| stream.take())));
        }
    }
    /// A waker whose clones are new ones, so that each is the last of its kind.
    fn fresh() -> std::task::RawWaker {
        use std::task::{RawWaker, RawWakerVTable};
        static FRESH: RawWakerVTable = RawWakerVTable::new(|_| fresh(), give_back, |_| {}, give_back);
        RawWaker::new(Arc::into_raw(Arc::new(Last)).cast(), &FRESH)
    }
    unsafe fn give_back(data: *const ()) {
        // SAFETY: the data comes from `fresh`, and each waker gives it back once.
        drop(unsafe { Arc::from_raw(data.cast::<Last>()) });
    }
    let rt = runtime();
    let handle = rt.handle();
    let (stream, _theirs) = tcp_pair(&handle);
    ENGINE.set(Some((handle.clone(), Some(stream))));
    let file = Async::new(&handle, std::fs::File::open("/proc/self/exe").expect("Linux")).expect("open");
    // SAFETY: the vtable keeps the contract.
    let waker = unsafe { Waker::from_raw(fresh()) };
    let std::task::Poll::Ready(result) = poll(pin!(file.readable()), &waker) else { panic!("files are not watched") };
    assert!(result.is_err());
    assert_eq!(rt.stats().sources, 1, "the drop has taken the stream out of the reactor");
    ENGINE.set(None);
}

/// C40.
#[test]
fn a_wait_that_is_cancelled_takes_its_waker_back() {
    within(SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        let (ours, mut theirs) = tcp_pair(&handle);
        let udp = UdpSocket::bind(&handle, "127.0.0.1:0").expect("loopback");
        let listener = TcpListener::bind(&handle, "127.0.0.1:0").expect("loopback");
        let counting = CountingWaker::new();
        let waker = counting.waker();
        for _ in 0..10 {
            assert!(poll(pin!(ours.as_ref().readable()), &waker).is_pending());
            assert!(poll(pin!(ours.peek(&mut [0])), &waker).is_pending());
            assert!(poll(pin!(udp.recv(&mut [0])), &waker).is_pending());
            assert!(poll(pin!(listener.accept()), &waker).is_pending());
        }
        assert_eq!(counting.clones(), 40);
        assert_eq!(counting.drops(), 40, "all were given back");
        theirs.write_all(b"x").expect("loopback");
        rt.block_on(handle.sleep(5 * MS));
        assert_eq!(counting.wakes(), 0);
    });
}

/// C41.
#[test]
fn datagrams_and_connections_survive_ten_thousand_cancelled_waits() {
    within(3 * SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        let udp = UdpSocket::bind(&handle, "127.0.0.1:0").expect("loopback");
        let to = udp.local_addr().expect("bound");
        let from = std::net::UdpSocket::bind("127.0.0.1:0").expect("loopback");
        let mut random = fastrand::Rng::with_seed(11);
        rt.block_on(async {
            let (mut sent, mut received) = (0_u32, 0_u32);
            for turn in 0..20_000 {
                if turn < 10_000 && random.bool() && sent - received < 50 {
                    from.send_to(&sent.to_le_bytes(), to).expect("loopback");
                    sent += 1;
                }
                let mut bytes = [0; 4];
                let mut got = false;
                {
                    let mut receive = pin!(udp.recv_from(&mut bytes));
                    for _ in 0..random.u8(0..3) {
                        if let std::task::Poll::Ready(result) = futures::poll!(receive.as_mut()) {
                            assert_eq!(result.expect("loopback").0, 4);
                            got = true;
                            break;
                        }
                        yield_now().await;
                    }
                    // It is dropped here: perhaps armed, perhaps not even polled.
                }
                if got {
                    assert_eq!(u32::from_le_bytes(bytes), received, "in order, and none was lost");
                    received += 1;
                }
            }
            assert_eq!(received, sent);
            assert!(sent > 1_000, "{sent}");
        });

        let listener = TcpListener::bind(&handle, "127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        let accepted = rt.block_on(async {
            let mut clients = Vec::new();
            let mut accepted = 0;
            for turn in 0..2_000 {
                if turn % 20 == 0 {
                    clients.push(std::net::TcpStream::connect(address).expect("loopback"));
                }
                let mut accept = pin!(listener.accept());
                if futures::poll!(accept.as_mut()).is_ready() {
                    accepted += 1;
                }
                yield_now().await;
            }
            while accepted < clients.len() {
                listener.accept().await.expect("it was not lost");
                accepted += 1;
            }
            accepted
        });
        assert_eq!(accepted, 100);
    });
}

/// C43.
#[cfg(unix)]
#[test]
fn a_signal_during_the_wait_neither_ends_it_early_nor_fails_it() {
    extern "C" fn nothing(_: i32) {}
    within(SOON, || {
        // SAFETY: the handler does nothing, and no SA_RESTART: the wait is interrupted.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = nothing as extern "C" fn(i32) as usize;
            assert_eq!(libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()), 0);
        }
        // SAFETY: no preconditions.
        let me = unsafe { libc::pthread_self() } as usize;
        let helper = thread::spawn(move || {
            for _ in 0..20 {
                thread::sleep(5 * MS);
                // SAFETY: that thread waits for this one's end.
                unsafe { libc::pthread_kill(me as libc::pthread_t, libc::SIGUSR1) };
            }
        });
        for armed in [false, true] {
            let rt = runtime();
            let handle = rt.handle();
            let socket = UdpSocket::bind(&handle, "127.0.0.1:0").expect("loopback");
            if armed {
                drop(rt.spawn(async move { drop(socket.recv(&mut [0]).await) }));
            }
            let start = Instant::now();
            rt.block_on(handle.sleep(60 * MS));
            let took = start.elapsed();
            assert!(took >= 60 * MS && took < 200 * MS, "{took:?}");
        }
        helper.join().expect("no panic");
    });
}

/// C44: the buffer of events is as good at the thousandth wait as at the first, and more may be ready than it holds.
#[test]
fn more_sockets_may_be_ready_at_once_than_one_wait_can_tell() {
    within(SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        let seen = Count::default();
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").expect("loopback");
        let sockets: Vec<_> = (0..1_500).map(|_| UdpSocket::bind(&handle, "127.0.0.1:0").expect("loopback")).collect();
        let addresses: Vec<_> = sockets.iter().map(|socket| socket.local_addr().expect("bound")).collect();
        let tasks: Vec<_> = sockets
            .into_iter()
            .map(|socket| {
                let seen = seen.clone();
                rt.spawn(async move {
                    let mut byte = [0];
                    for _ in 0..3 {
                        socket.recv(&mut byte).await.expect("loopback");
                        seen.up();
                    }
                })
            })
            .collect();
        rt.run_until_stalled();
        for _ in 0..3 {
            for address in &addresses {
                sender.send_to(b"x", address).expect("loopback");
            }
            rt.block_on(handle.sleep(MS));
        }
        rt.block_on(futures::future::join_all(tasks));
        assert_eq!(seen.get(), 4_500);
        assert_eq!(rt.stats().sources, 0);
    });
}

/// C33, by a peer that means ill: a byte out of band is "something to read" that no read takes, and no peek passes over.
#[cfg(target_os = "linux")]
#[test]
fn a_byte_out_of_band_makes_neither_a_reader_nor_who_peeks_spin() {
    for peeks in [false, true] {
        within(SOON, move || {
            let rt = runtime();
            let handle = rt.handle();
            let (ours, mut theirs) = tcp_pair(&handle);
            socket2::SockRef::from(&theirs).send_out_of_band(b"!").expect("loopback");
            let before = rt.stats();
            let mut buffer = [0; 16];
            let _ = rt.block_on(handle.timeout(100 * MS, async {
                loop {
                    let got = if peeks { ours.peek(&mut buffer).await } else { (&ours).read(&mut buffer).await };
                    assert_ne!(got.expect("loopback"), 0, "not the end");
                }
            }));
            let waits = rt.stats().waits - before.waits;
            assert!(waits < 10, "{waits} questions to the system in 100 ms with nothing to do, peeks: {peeks}");
            std::io::Write::write_all(&mut theirs, b"more").expect("loopback");
            assert!(rt.block_on(ours.peek(&mut [0; 16])).expect("loopback") > 0);
        });
    }
}

/// An error that waits in the socket's own queue is an event that no read takes away.
#[cfg(target_os = "linux")]
#[test]
fn an_error_in_the_sockets_queue_does_not_make_a_reader_spin() {
    within(SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("loopback");
        let on: libc::c_int = 1;
        // SAFETY: it reads the number that it is given.
        let set = unsafe {
            let size = size_of::<libc::c_int>() as libc::socklen_t;
            libc::setsockopt(
                std::os::fd::AsRawFd::as_raw_fd(&socket),
                libc::SOL_IP,
                libc::IP_RECVERR,
                (&raw const on).cast(),
                size,
            )
        };
        assert_eq!(set, 0);
        let nobody = std::net::UdpSocket::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("loopback");
        let socket = pinlab::Async::new(&handle, socket).expect("it can be watched");
        socket.get_ref().send_to(b"?", nobody).expect("loopback"); // the answer is an error
        let before = rt.stats();
        let waited = rt.block_on(handle.timeout(100 * MS, async {
            loop {
                let mut buffer = [0; 16];
                match socket.read_with(|socket| socket.recv_from(&mut buffer)).await {
                    Ok(_) => panic!("nobody sends"),
                    Err(refused) => assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused),
                }
            }
        }));
        waited.expect_err("nothing comes");
        let after = rt.stats();
        let (waits, polls) = (after.waits - before.waits, after.polls - before.polls);
        assert!(waits < 10 && polls < 10, "{waits} questions to the system and {polls} polls in 100 ms with nothing to do");
    });
}

#[test]
fn a_side_that_nobody_waits_for_is_disarmed_at_its_first_event() {
    within(SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        let (ours, mut theirs) = tcp_pair(&handle);
        assert!(poll(pin!(ours.as_ref().readable()), Waker::noop()).is_pending()); // armed, and given up
        theirs.write_all(b"x").expect("loopback");
        let (quiet, _peer) = tcp_pair(&handle);
        let before = rt.stats().waits;
        rt.block_on(async { handle.timeout(50 * MS, quiet.as_ref().readable()).await.expect_err("nothing came") });
        assert!(rt.stats().waits - before <= 3, "one event, and then peace but for the last fraction of a millisecond");
        let mut byte = [0];
        assert_eq!(rt.block_on((&ours).read(&mut byte)).expect("it is still there"), 1);
    });
}

#[test]
fn a_reader_and_a_hung_up_writer_both_learn_of_it() {
    within(SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        let (ours, theirs) = tcp_pair(&handle);
        let (read, written) = rt.block_on(async {
            let (mut reader, mut writer) = (&ours, &ours);
            let mut byte = [0];
            let chunk = [0; 65_536];
            let write = async {
                loop {
                    if let Err(error) = writer.write_all(&chunk).await {
                        return error;
                    }
                }
            };
            let hang_up = async {
                handle.sleep(5 * MS).await;
                drop(theirs); // with unread data: a reset
            };
            let (read, written, ()) = futures::join!(reader.read(&mut byte), write, hang_up);
            (read, written)
        });
        assert!(matches!(read, Ok(0)) || read.is_err());
        assert!(matches!(written.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{written}");
    });
}

#[test]
fn sources_of_a_runtime_that_is_gone_say_so() {
    let rt = runtime();
    let handle = rt.handle();
    let (ours, mut theirs) = tcp_pair(&handle);
    drop(rt);
    assert_eq!(UdpSocket::bind(&handle, "127.0.0.1:0").expect_err("gone").kind(), ErrorKind::NotConnected);
    theirs.write_all(b"x").expect("loopback");
    let mut byte = [0];
    // What is there can still be read; to wait is what nobody can do any more.
    assert_eq!(pinlab::block_on((&ours).read(&mut byte)).expect("it is there"), 1);
    assert_eq!(pinlab::block_on((&ours).read(&mut byte)).expect_err("gone").kind(), ErrorKind::NotConnected);
    let mut back = ours.into_inner();
    back.write_all(b"y").expect("the socket is whole");
    theirs.read_exact(&mut byte).expect("loopback");
}

#[test]
fn a_source_comes_back_from_into_inner_and_can_be_given_again() {
    within(SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        let (ours, mut theirs) = tcp_pair(&handle);
        assert!(poll(pin!(ours.as_ref().readable()), Waker::noop()).is_pending());
        let again = TcpStream::from_std(&handle, ours.into_inner()).expect("open");
        theirs.write_all(b"x").expect("loopback");
        assert_eq!(rt.block_on((&again).read(&mut [0])).expect("loopback"), 1);
        assert_eq!(rt.stats().sources, 1);
    });
}

#[test]
fn incoming_gives_connection_after_connection() {
    within(SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        let listener = TcpListener::bind(&handle, "127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        let clients: Vec<_> = (0..5).map(|_| std::net::TcpStream::connect(address).expect("loopback")).collect();
        let streams: Vec<_> = rt.block_on(listener.incoming().take(5).collect());
        for (client, stream) in clients.iter().zip(streams) {
            assert_eq!(stream.expect("accepted").peer_addr().expect("connected"), client.local_addr().expect("bound"));
        }
    });
}

#[test]
fn a_task_whose_socket_is_always_ready_lets_others_run() {
    within(SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        let (ours, mut theirs) = tcp_pair(&handle);
        theirs.write_all(&[0; 4096]).expect("loopback");
        thread::sleep(5 * MS);
        let others = yields_for_ever(&rt);
        rt.block_on(async {
            let mut byte = [0];
            for _ in 0..4096 {
                (&ours).read_exact(&mut byte).await.expect("there");
            }
        });
        assert!(others.get() >= 4096 / 128 - 1, "the others ran {} times", others.get());
    });
}

#[test]
fn a_shared_source_can_be_polled_with_any_context() {
    let rt = runtime();
    let (ours, _theirs) = tcp_pair(&rt.handle());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut &ours).poll_read(&mut cx, &mut [0]).is_pending());
}

/// Apple's systems refuse to wait for so long; on others this is only how it must be.
#[test]
fn a_deadline_in_ten_years_is_no_obstacle_to_a_socket() {
    within(SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        let listener = TcpListener::bind(&handle, "127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("bound");
        let client = thread::spawn(move || {
            thread::sleep(20 * MS);
            std::net::TcpStream::connect(address).expect("loopback")
        });
        let ten_years = Duration::from_secs(10 * 365 * 86_400);
        rt.block_on(handle.timeout(ten_years, listener.accept())).expect("in time").expect("a connection");
        drop(client.join().expect("no panic"));
    });
}

/// The same address again and again.
struct Again(std::net::SocketAddr);

impl std::net::ToSocketAddrs for Again {
    type Iter = std::iter::Repeat<std::net::SocketAddr>;
    fn to_socket_addrs(&self) -> std::io::Result<Self::Iter> {
        Ok(std::iter::repeat(self.0))
    }
}

#[test]
fn the_first_address_that_will_do_is_taken_and_no_other_is_asked_for() {
    within(SOON, || {
        let rt = runtime();
        let handle = rt.handle();
        let any = "127.0.0.1:0".parse().expect("an address");
        let listener = TcpListener::bind(&handle, Again(any)).expect("a port is free");
        let there = listener.local_addr().expect("bound");
        rt.block_on(TcpStream::connect(&handle, Again(there))).expect("loopback");
        let none: &[std::net::SocketAddr] = &[];
        assert_eq!(TcpListener::bind(&handle, none).expect_err("nothing to bind to").kind(), ErrorKind::InvalidInput);
        assert_eq!(rt.block_on(TcpStream::connect(&handle, none)).expect_err("nowhere").kind(), ErrorKind::InvalidInput);
    });
}
