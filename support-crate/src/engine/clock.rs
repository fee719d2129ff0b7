//! When the loop looks at what: the clock, the sockets.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// How many polls between two looks at the clock.
const TURN: u64 = 61;
/// How often a busy engine asks the system for events: often enough for a socket, seldom enough that a system call does
/// not weigh on polls that take nanoseconds.
const IO_EVERY: Duration = Duration::from_micros(100);
/// By more than this no coarse clock lags behind.
const LAG: Duration = Duration::from_millis(20);

/// What a clock says that is a few nanoseconds to read, and lags by up to a tick of the system: only differences of more than [`LAG`] mean anything.
#[cfg(all(target_os = "linux", not(miri)))]
fn coarse() -> Option<Tick> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: FFI: it writes to the struct that it is given, nothing else.
    let told = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &mut time) };
    (told == 0).then_some(Tick { seconds: time.tv_sec as u64, nanoseconds: time.tv_nsec as u32 })
}

/// Elsewhere there is none.
#[cfg(not(all(target_os = "linux", not(miri))))]
fn coarse() -> Option<Tick> {
    None
}

/// A reading of the coarse clock.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Tick {
    seconds: u64,
    nanoseconds: u32,
}

impl Tick {
    fn since(self, other: Self) -> Duration {
        Duration::new(self.seconds, self.nanoseconds).saturating_sub(Duration::new(other.seconds, other.nanoseconds))
    }
}

/// The loop's sense of time.
#[derive(Debug)]
pub(super) struct Clock {
    polls: Cell<u64>,
    /// At so many polls the loop looks at the clock.
    end_of_turn: Cell<u64>,
    /// The last look: never later than now.
    now: Cell<Instant>,
    last_fetch: Cell<Instant>,
    /// The beginning, by both clocks.
    began: (Instant, Tick),
    /// The last tick seen of the coarse clock; and an instant that has not passed as long as that is the last.
    horizon: Cell<(Tick, Instant)>,
}

impl Clock {
    pub(super) fn new() -> Self {
        let tick = coarse().unwrap_or_default(); // first: what comes between the two does not make `horizon` early
        let now = Instant::now();
        Self {
            polls: Cell::new(0),
            end_of_turn: Cell::new(TURN),
            now: Cell::new(now),
            last_fetch: Cell::new(now),
            began: (now, tick),
            horizon: Cell::new((tick, now + LAG)),
        }
    }

    /// A poll begins.
    #[inline(always)]
    pub(super) fn count_poll(&self) {
        self.polls.set(self.polls.get() + 1);
    }

    pub(super) fn polls(&self) -> u64 {
        self.polls.get()
    }

    /// Whether it is time to look at the clock.
    #[inline(always)]
    pub(super) fn is_turn_over(&self) -> bool {
        self.polls.get() >= self.end_of_turn.get()
    }

    /// The next turn begins.
    #[inline]
    pub(super) fn begin_turn(&self) {
        self.end_of_turn.set(self.polls.get() + TURN);
    }

    /// The turn is over.
    pub(super) fn end_turn(&self) {
        self.end_of_turn.set(self.polls.get());
    }

    /// Looks at the clock.
    #[inline]
    pub(super) fn look(&self) -> Instant {
        let now = Instant::now();
        self.now.set(now);
        now
    }

    /// Whether this instant has passed.
    #[inline]
    pub(super) fn has_passed(&self, instant: Instant) -> bool {
        instant <= self.now.get() || !self.is_far(instant) && instant <= self.look()
    }

    /// Whether this instant is still to come, even by a clock that lags: that is cheaper to know.
    #[inline]
    fn is_far(&self, instant: Instant) -> bool {
        let Some(tick) = coarse() else { return false };
        if tick != self.horizon.get().0 {
            let (began, first) = self.began;
            self.horizon.set((tick, began + tick.since(first) + LAG));
        }
        instant > self.horizon.get().1
    }

    /// Whether it is time to ask for events, and if so takes note that it is done. Not in the middle of a round: who is queued because of an event has
    /// not yet read what the next look would report again.
    pub(super) fn may_fetch(&self, now: Instant, is_round_over: bool) -> bool {
        let due = is_round_over && now.saturating_duration_since(self.last_fetch.get()) >= IO_EVERY;
        if due {
            self.last_fetch.set(now);
        }
        due
    }
}
