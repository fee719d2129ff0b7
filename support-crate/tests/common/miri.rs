//! `ppoll` for Miri, which knows `epoll` but not `poll`: it calls a function of that name in the program instead.
#![cfg(miri)]

use std::ffi::c_int;

/// Waits until something is ready, as `ppoll(2)` does, for the flags that the tests can meet.
///
/// Miri's epoll tells of edges, but when a descriptor is added it tells whether that is ready now. So each call makes an instance of its own,
/// and with that sees levels.
#[unsafe(no_mangle)]
extern "C" fn ppoll(
    fds: *mut libc::pollfd,
    count: libc::nfds_t,
    timeout: *const libc::timespec,
    _mask: *const libc::sigset_t,
) -> c_int {
    const PAIRS: [(c_int, i16); 4] = [
        (libc::EPOLLIN, libc::POLLIN | libc::POLLRDNORM),
        (libc::EPOLLOUT, libc::POLLOUT | libc::POLLWRNORM),
        (libc::EPOLLHUP, libc::POLLHUP),
        (libc::EPOLLERR, libc::POLLERR),
    ];
    // SAFETY: `ppoll` is given an array of so many entries, and a time or null.
    let (fds, timeout) = unsafe { (std::slice::from_raw_parts_mut(fds, count as usize), timeout.as_ref()) };
    let milliseconds = timeout.map_or(-1, |time| (time.tv_sec * 1000 + (time.tv_nsec + 999_999) / 1_000_000) as c_int);
    // SAFETY: it has no preconditions.
    let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    for (place, fd) in fds.iter_mut().enumerate() {
        fd.revents = 0;
        let wanted = PAIRS[..2].iter().filter(|(_, poll)| fd.events & poll != 0).fold(0, |all, (epoll, _)| all | epoll);
        let mut event = libc::epoll_event { events: (libc::EPOLLET | wanted) as u32, u64: place as u64 };
        // SAFETY: the event lives as long as the call.
        let added = unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd.fd, &raw mut event) };
        assert_eq!(added, 0, "Miri cannot watch this descriptor");
    }
    let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; fds.len()];
    // SAFETY: there is room for so many events.
    let found = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), events.len() as c_int, milliseconds) };
    for event in &events[..found.max(0) as usize] {
        let (place, flags) = (event.u64 as usize, event.events as c_int);
        for (_, poll) in PAIRS.iter().filter(|(epoll, _)| flags & epoll != 0) {
            fds[place].revents |= poll & (fds[place].events | libc::POLLHUP | libc::POLLERR);
        }
    }
    // SAFETY: it was made here, and is closed once.
    unsafe { libc::close(epoll) };
    found
}
