//! How one sample is taken: the clock, the processor time, and the allocations between two points.
//!
//! A sample runs its workload once to warm up, then over and over until the budget is used. Allocations are counted in samples of
//! their own: while nobody counts, the counting allocator costs one load of a flag that never changes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The system's allocator, with a tally that can be switched on.
#[derive(Debug)]
pub(crate) struct Counting;

static COUNTS: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

#[inline]
fn tally(bytes: usize) {
    if COUNTS.load(Ordering::Relaxed) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

// SAFETY: every method hands its arguments to `System` unchanged and returns what it returns; the tally touches no memory of theirs.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        tally(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`, which is that of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        tally(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        tally(size);
        // SAFETY: as above; `old` came from `System`, since all of ours do.
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(old, layout) }
    }
}

/// Runs `work` with the tally on.
pub(crate) fn counting<T>(work: impl FnOnce() -> T) -> T {
    COUNTS.store(true, Ordering::SeqCst);
    let result = work();
    COUNTS.store(false, Ordering::SeqCst);
    result
}

/// How much a sample does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    pub(crate) length: Length,
    /// Only show that it works: what is a million otherwise may be ten thousand.
    pub(crate) quick: bool,
}

/// How long a sample goes on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Length {
    /// Whole iterations, at least one, until this much time has passed.
    Time(Duration),
    /// So many iterations, whatever they take: what the counts of instructions and allocations want.
    Iterations(u64),
}

/// One measurement of one workload on one runtime, per operation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// Operations measured.
    pub(crate) ops: u64,
    /// Nanoseconds by the clock.
    pub(crate) wall: f64,
    /// Nanoseconds of processor time of the thread that runs the runtime, where the system tells.
    pub(crate) cpu: Option<f64>,
    /// Allocations, when they are counted.
    pub(crate) allocations: f64,
    /// Bytes asked of the allocator, when they are counted.
    pub(crate) bytes: f64,
}

/// Measures `once`, which does `ops` operations.
pub(crate) fn measure(budget: Budget, ops: u64, mut once: impl FnMut()) -> Sample {
    once();
    let mut run = Run::start(budget);
    while run.goes_on() {
        once();
        run.ops += ops;
    }
    run.finish()
}

/// The same for work that is done inside a runtime.
pub(crate) async fn measure_async(budget: Budget, ops: u64, mut once: impl AsyncFnMut()) -> Sample {
    once().await;
    let mut run = Run::start(budget);
    while run.goes_on() {
        once().await;
        run.ops += ops;
    }
    run.finish()
}

/// Measures `once` a single time, cold: what the first of its kind costs a program.
pub(crate) fn measure_cold(budget: Budget, ops: u64, once: impl FnOnce()) -> Sample {
    let mut run = Run::start(budget);
    once();
    run.ops += ops;
    run.finish()
}

struct Run {
    budget: Budget,
    iterations: u64,
    ops: u64,
    allocations: u64,
    bytes: u64,
    cpu: Option<Duration>,
    start: Instant,
}

impl Run {
    fn start(budget: Budget) -> Self {
        Self {
            budget,
            iterations: 0,
            ops: 0,
            allocations: ALLOCATIONS.load(Ordering::Relaxed),
            bytes: BYTES.load(Ordering::Relaxed),
            cpu: cpu_time(),
            start: Instant::now(),
        }
    }

    fn goes_on(&mut self) -> bool {
        let goes_on = match self.budget.length {
            Length::Time(least) => self.iterations == 0 || self.start.elapsed() < least,
            Length::Iterations(all) => self.iterations < all,
        };
        self.iterations += 1;
        goes_on
    }

    fn finish(self) -> Sample {
        let wall = self.start.elapsed();
        let cpu = self.cpu.and_then(|before| Some(cpu_time()? - before));
        let ops = self.ops.max(1) as f64;
        Sample {
            ops: self.ops,
            wall: wall.as_nanos() as f64 / ops,
            cpu: cpu.map(|cpu| cpu.as_nanos() as f64 / ops),
            allocations: (ALLOCATIONS.load(Ordering::Relaxed) - self.allocations) as f64 / ops,
            bytes: (BYTES.load(Ordering::Relaxed) - self.bytes) as f64 / ops,
        }
    }
}

/// Processor time of this thread so far.
pub(crate) fn cpu_time() -> Option<Duration> {
    #[cfg(unix)]
    {
        // Not through rustix, which reads the kernel's own page for it: valgrind has none.
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `now` is a live `timespec` for the call to write to.
        let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut now) } != 0;
        let time = Duration::new(now.tv_sec.try_into().ok()?, now.tv_nsec.try_into().ok()?);
        (!failed).then_some(time)
    }
    #[cfg(not(unix))]
    None
}
