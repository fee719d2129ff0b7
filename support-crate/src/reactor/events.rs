//! The wait for events itself: `polling`'s own, and on Linux a cheaper one on the same epoll instance.

use polling::{Event, Events, Poller};
use std::io;
use std::num::NonZeroUsize;
use std::time::Duration;

/// How many events one wait can bring.
const EVENTS: usize = 1024;

/// How long one wait takes at most. Apple's systems refuse one of more than 100,000,000 seconds.
const LONGEST: Duration = Duration::from_secs(1 << 20);

/// Where the system's events are put.
pub(super) struct EventBuffer {
    portable: Events,
    #[cfg(all(target_os = "linux", not(polling_test_poll_backend)))]
    linux: linux::EventBuffer,
}

impl EventBuffer {
    pub(super) fn new() -> Self {
        Self {
            portable: Events::with_capacity(NonZeroUsize::new(EVENTS).expect("more than none")),
            #[cfg(all(target_os = "linux", not(polling_test_poll_backend)))]
            linux: linux::EventBuffer::new(),
        }
    }

    /// May end before its time: the loop looks at the clock and comes back.
    pub(super) fn wait(&mut self, poller: &Poller, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.map(|timeout| timeout.min(LONGEST));
        self.portable.clear();
        #[cfg(all(target_os = "linux", not(polling_test_poll_backend)))]
        if let Some(notified) = self.linux.wait(poller, timeout)? {
            if notified {
                // Only `polling` can reset its own notification. Its wait may bring other events once more, which is a try in vain (IS3); what has
                // come as an edge (IS5) does not come again, so nothing is thrown away.
                poller.wait(&mut self.portable, Some(Duration::ZERO))?;
            }
            return Ok(());
        }
        match poller.wait(&mut self.portable, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }

    /// Gives each event, and whether every wait will report it until it is read away (IS5).
    pub(super) fn for_each(&mut self, mut each: impl FnMut(Event, bool)) {
        #[cfg(all(target_os = "linux", not(polling_test_poll_backend)))]
        self.linux.drain(&mut each);
        self.portable.iter().for_each(|event| {
            // On Linux an error that stays is seen by the other way, which knows more about it.
            let lasts = !cfg!(all(target_os = "linux", not(polling_test_poll_backend)))
                && event.is_err() == Some(true)
                && !event.is_interrupt();
            each(event, lasts);
        });
    }
}

/// On Linux, `polling` 3.11 makes five system calls a wait: it sets a timer's descriptor, arms it, waits, clears its notification
/// and arms that. Here it is one, on the same epoll instance. The events carry `polling`'s keys, as its documentation of
/// [`Event::key`] and its `AsFd` suggest but do not promise: this project's `Cargo.lock` holds the version, and a test watches it.
#[cfg(all(target_os = "linux", not(polling_test_poll_backend)))]
mod linux {
    use super::{Duration, EVENTS, Event, Poller, io};
    use rustix::buffer::spare_capacity;
    use rustix::event::{Timespec, epoll};
    use rustix::io::Errno;

    pub(super) struct EventBuffer {
        pub(super) list: Vec<epoll::Event>,
    }

    impl EventBuffer {
        pub(super) fn new() -> Self {
            Self { list: Vec::with_capacity(EVENTS) }
        }

        /// `Some(whether there was a notification)`, or `None` where the portable way must be taken.
        ///
        /// This wait counts in whole milliseconds. So it ends in the last one before the deadline; the loop looks at the clock, comes back, and
        /// is sent the portable way, which is exact, for the rest.
        pub(super) fn wait(&mut self, poller: &Poller, timeout: Option<Duration>) -> io::Result<Option<bool>> {
            self.list.clear();
            let timeout = match timeout {
                None => None,
                Some(timeout) if timeout.is_zero() || timeout >= Duration::from_millis(1) => {
                    let whole = timeout.as_millis() as i64;
                    Some(Timespec { tv_sec: whole / 1000, tv_nsec: whole % 1000 * 1_000_000 })
                }
                Some(_) => return Ok(None),
            };
            match epoll::wait(poller, spare_capacity(&mut self.list), timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => Ok(Some(self.list.iter().any(|event| event.data.u64() == usize::MAX as u64))),
                Err(error) => Err(error.into()),
            }
        }

        pub(super) fn drain(&mut self, each: &mut impl FnMut(Event, bool)) {
            use epoll::EventFlags as Flag;
            for event in self.list.drain(..) {
                let flags = event.flags;
                let readable = flags.intersects(Flag::IN | Flag::PRI | Flag::HUP | Flag::ERR);
                let writable = flags.intersects(Flag::OUT | Flag::HUP | Flag::ERR);
                let lasts = flags.intersects(Flag::ERR | Flag::PRI) && !flags.intersects(Flag::IN | Flag::HUP | Flag::OUT);
                // The key of a notification, `usize::MAX`, is beyond every source's.
                each(Event::new(event.data.u64() as usize, readable, writable), lasts);
            }
        }
    }
}
