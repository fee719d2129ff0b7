//! The foreign code: a future, its output, a panic's payload, wakers, a source. Each knows whether it is treated as it must be, and each
//! reaches the cell's point where its plan says so.

use super::world::{Ledger, world};
use pinlab::WakerCall;
use std::fmt;
use std::future::Future;
use std::io::{self, Read};
use std::marker::PhantomPinned;
use std::mem::ManuallyDrop;
use std::panic::panic_any;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};
use std::thread::{self, ThreadId};

const ALIVE: u64 = 0x600D_600D_600D_600D;
const DEAD: u64 = 0xDEAD_DEAD_DEAD_DEAD;

/// A mark that a living value has, and that memory which was freed, or holds something else, has not. And a block on the heap, for the tools.
struct Mark {
    mark: Box<u64>,
    thread: ThreadId,
    ledger: Arc<Ledger>,
}

impl Mark {
    fn new() -> Self {
        let ledger = world().expect("a cell is being played").ledger.clone();
        ledger.made();
        Self { mark: Box::new(ALIVE), thread: thread::current().id(), ledger }
    }

    fn check(&self, what: &str) {
        let alive = *self.mark == ALIVE;
        let at_home = self.thread == thread::current().id();
        if let Some(world) = world()
            && !(alive && at_home)
        {
            world.fault(format!("{what}: alive {alive}, on its thread {at_home}"));
        }
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.check("a value is dropped");
        *self.mark = DEAD;
        self.ledger.dropped();
    }
}

fn strike() {
    if let Some(world) = world() {
        world.strike();
    }
}

// ---- a future, its output, its panic ---------------------------------------------------------------------------

/// Where a guest reaches the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    Nowhere,
    Poll,
    Drop,
    OutputsDrop,
    PayloadsDrop,
}

/// How its last poll ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Last {
    Pending,
    Ready,
    Panic,
}

/// Whose future it is: the point's, or that of another task, which are found by their wakers; or of some third.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Own,
    Other,
    Third,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) at: At,
    /// How many polls come before the last one.
    pub(crate) before: usize,
    pub(crate) last: Last,
    pub(crate) drop_panics: bool,
    pub(crate) output_panics: bool,
    pub(crate) aborts_itself: bool,
    pub(crate) role: Role,
}

impl Plan {
    pub(crate) const fn new(at: At, last: Last) -> Self {
        Self { at, before: 0, last, drop_panics: false, output_panics: false, aborts_itself: false, role: Role::Own }
    }

    pub(crate) const fn other() -> Self {
        Self { before: 1, role: Role::Other, ..Self::new(At::Nowhere, Last::Ready) }
    }

    /// What actions spawn.
    pub(crate) const fn third(last: Last) -> Self {
        Self { role: Role::Third, ..Self::new(At::Nowhere, last) }
    }
}

/// A future that is polled and dropped as it should be, or says so.
pub(crate) struct Guest {
    plan: Plan,
    polls: usize,
    polling: bool,
    dropping: bool,
    place: *const Self,
    mark: ManuallyDrop<Mark>,
    _pinned: PhantomPinned,
}

impl Guest {
    pub(crate) fn new(plan: Plan) -> Self {
        let mark = ManuallyDrop::new(Mark::new());
        Self { plan, polls: 0, polling: false, dropping: false, place: std::ptr::null(), mark, _pinned: PhantomPinned }
    }

    fn fault(what: &str) {
        world().expect("a cell is being played").fault(what);
    }
}

impl Future for Guest {
    type Output = Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Output> {
        // SAFETY: nothing is moved out.
        let this = unsafe { self.get_unchecked_mut() };
        this.mark.check("a future is polled");
        let place = std::ptr::from_ref(this);
        if this.polling || this.dropping || this.polls > this.plan.before || !(this.place.is_null() || this.place == place) {
            Self::fault("a future is polled while it is polled or dropped, after its end, or elsewhere than before");
        }
        this.place = place;
        this.polls += 1;
        this.polling = true;
        let plan = this.plan;
        let is_last = this.polls > plan.before;
        let world = world().expect("a cell is being played");
        match plan.role {
            Role::Own => world.own_waker.put(cx.waker().clone()),
            Role::Other => world.other_waker.put(cx.waker().clone()),
            Role::Third => {}
        }
        /// Also when the poll panics.
        struct Polling<'a>(&'a mut bool);
        impl Drop for Polling<'_> {
            fn drop(&mut self) {
                *self.0 = false;
            }
        }
        let _polling = Polling(&mut this.polling);
        if plan.aborts_itself
            && let Some(own) = world.own.get()
        {
            own.abort();
        }
        if plan.at == At::Poll && is_last {
            world.strike();
        }
        match plan.last {
            _ if !is_last => Poll::Pending,
            Last::Pending => {
                this.polls -= 1; // it may be woken again
                Poll::Pending
            }
            Last::Ready => Poll::Ready(Output::new(plan)),
            Last::Panic => panic_any(Payload { plan, mark: ManuallyDrop::new(Mark::new()) }),
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if self.polling || self.dropping || !(self.place.is_null() || self.place == std::ptr::from_ref(self)) {
            Self::fault("a future is dropped while it is polled or dropped, or elsewhere than it was polled");
        }
        self.dropping = true;
        let (at, panics) = (self.plan.at, self.plan.drop_panics);
        let _mark = DropsLast(&mut self.mark);
        if at == At::Drop {
            strike();
        }
        if panics && !thread::panicking() {
            panic_any(Payload { plan: self.plan, mark: ManuallyDrop::new(Mark::new()) });
        }
    }
}

/// The mark goes when the value's own drop is over, however that ends.
struct DropsLast<'a>(&'a mut ManuallyDrop<Mark>);

impl Drop for DropsLast<'_> {
    fn drop(&mut self) {
        // SAFETY: this is the end of the value's drop: nobody looks at the mark any more.
        unsafe { ManuallyDrop::drop(self.0) };
    }
}

/// What it returns.
pub(crate) struct Output {
    plan: Plan,
    mark: ManuallyDrop<Mark>,
}

impl Output {
    fn new(plan: Plan) -> Self {
        Self { plan, mark: ManuallyDrop::new(Mark::new()) }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        let (at, panics) = (self.plan.at, self.plan.output_panics);
        let _mark = DropsLast(&mut self.mark);
        if at == At::OutputsDrop {
            strike();
        }
        if panics && !thread::panicking() {
            panic_any(Payload { plan: self.plan, mark: ManuallyDrop::new(Mark::new()) });
        }
    }
}

/// What its panic carries.
pub(crate) struct Payload {
    plan: Plan,
    mark: ManuallyDrop<Mark>,
}

impl Payload {
    pub(crate) fn new() -> Self {
        Self { plan: Plan::new(At::Nowhere, Last::Pending), mark: ManuallyDrop::new(Mark::new()) }
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        let at = self.plan.at;
        let _mark = DropsLast(&mut self.mark);
        if at == At::PayloadsDrop {
            strike();
        }
    }
}

// ---- wakers ----------------------------------------------------------------------------------------------------

/// A waker that reaches the point when this is done with it.
struct Spy {
    at: WakerCall,
    panics_at_wake: bool,
    ledger: Arc<Ledger>,
}

pub(crate) fn spy(at: WakerCall) -> Waker {
    new_spy(at, false)
}

/// One whose wake panics, with a payload that reaches the point when it is dropped.
pub(crate) fn panicking_spy() -> Waker {
    new_spy(WakerCall::Clone, true)
}

fn new_spy(at: WakerCall, panics_at_wake: bool) -> Waker {
    let ledger = world().expect("a cell is being played").ledger.clone();
    ledger.made();
    let data = Arc::into_raw(Arc::new(Spy { at, panics_at_wake, ledger })).cast();
    // SAFETY: each function of the table keeps to the contract: a waker owns one count of the `Arc`.
    unsafe { Waker::from_raw(RawWaker::new(data, &SPY)) }
}

impl Spy {
    fn note(&self, call: WakerCall) {
        let wakes = matches!(call, WakerCall::Wake | WakerCall::WakeByRef);
        if let Some(world) = world().filter(|_| wakes) {
            world.woken.set(true);
        }
        if self.panics_at_wake {
            if wakes {
                let plan = Plan::new(At::PayloadsDrop, Last::Pending);
                panic_any(Payload { plan, mark: ManuallyDrop::new(Mark::new()) });
            }
        } else if self.at == call {
            strike();
        }
    }
}

impl Drop for Spy {
    fn drop(&mut self) {
        self.ledger.dropped();
    }
}

static SPY: RawWakerVTable = RawWakerVTable::new(
    |data| {
        // SAFETY: the waker that is cloned owns a count. (Taken after the note, which may panic.)
        unsafe { &*data.cast::<Spy>() }.note(WakerCall::Clone);
        // SAFETY: as above.
        unsafe { Arc::increment_strong_count(data.cast::<Spy>()) };
        RawWaker::new(data, &SPY)
    },
    // SAFETY: the waker's count goes with it.
    |data| unsafe { Arc::from_raw(data.cast::<Spy>()) }.note(WakerCall::Wake),
    // SAFETY: the waker keeps its count.
    |data| unsafe { &*data.cast::<Spy>() }.note(WakerCall::WakeByRef),
    // SAFETY: the waker's count goes with it.
    |data| unsafe { Arc::from_raw(data.cast::<Spy>()) }.note(WakerCall::Drop),
);

// ---- a source --------------------------------------------------------------------------------------------------

/// What a source can do that is not the engine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SourceCall {
    AsFd,
    Read,
    Debug,
    Drop,
}

/// A socket whose every method is foreign code.
pub(crate) struct Source {
    pub(crate) io: std::net::TcpStream,
    pub(crate) at: SourceCall,
}

impl Source {
    fn note(&self, call: SourceCall) {
        if self.at == call {
            strike();
        }
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for Source {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.note(SourceCall::AsFd);
        self.io.as_fd()
    }
}

#[cfg(windows)]
impl std::os::windows::io::AsSocket for Source {
    fn as_socket(&self) -> std::os::windows::io::BorrowedSocket<'_> {
        self.note(SourceCall::AsFd);
        self.io.as_socket()
    }
}

impl Read for &Source {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.note(SourceCall::Read);
        (&self.io).read(buf)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.note(SourceCall::Debug);
        f.write_str("Source")
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.note(SourceCall::Drop);
    }
}
