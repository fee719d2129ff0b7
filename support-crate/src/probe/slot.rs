//! Places that stay where they are while tenants come and go: what a disaster needs to be repeatable.
//!
//! ```text
//!        slot A                      slot B
//!  1.  ┌ first tenant ┐            ┌  vacant      ┐     polled once: it may point into itself
//!  2.  │ vacant       │  ──move──▶ │ first tenant │     its pointer still says A
//!  3.  │ new tenant   │ ◀─ ─ ─ ─ ─ │ first tenant │     and what it reads there is up to us
//! ```
//!
//! Invariants:
//! 1. A slot's memory is allocated when the slot is made and freed when it is dropped, never in between: a pointer into
//!    it stays a pointer into live memory, whoever is the tenant.
//! 2. A tenant is dropped exactly once: by the slot that holds it, or by whoever took it. A move leaves the old slot
//!    vacant with its bytes in place, as a move in Rust does.
//! 3. Moves are byte copies that the optimiser can neither elide nor see through, at any optimisation level.

use super::{Address, Film, Lowered, XRay, film::Actor, xray::short_name};
use std::{
    alloc::{self, Layout},
    any::type_name,
    fmt,
    future::Future,
    hint::black_box,
    marker::PhantomData,
    pin::Pin,
    ptr::NonNull,
    task::{Context, Poll, Waker},
};

/// Memory with a fixed address (invariant 1).
struct Place {
    start: NonNull<u8>,
    /// How many bytes of it a tenant may have.
    room: usize,
    layout: Layout,
}

impl Place {
    #[track_caller]
    fn new(size: usize, align: usize) -> Self {
        // A place for a value of no size still gets an address of its own.
        let place = Layout::from_size_align(size.max(1), align).ok().and_then(|layout| {
            // SAFETY: invariant 1: the place begins here; its layout is not empty.
            Some((layout, NonNull::new(unsafe { alloc::alloc_zeroed(layout) })?))
        });
        let Some((layout, start)) = place else { panic!("there is no room for {size} bytes") };
        Self { start, room: size, layout }
    }

    fn address(&self) -> Address {
        Address::of_ptr(self.start.as_ptr())
    }

    fn xray(&self, size: usize, align: usize, what: String) -> XRay {
        assert!(size <= self.room);
        // SAFETY: invariant 1: the place is allocated as long as `self` lives, and `size` does not exceed it.
        unsafe { XRay::of_bytes(self.start.as_ptr(), size, align, what) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // SAFETY: invariant 1: allocated with this layout in `new`, and freed only here.
        unsafe { alloc::dealloc(self.start.as_ptr(), self.layout) };
    }
}

#[track_caller]
fn vacant(place: &Place) -> ! {
    panic!("the slot at {} is vacant: put a tenant in first", place.address())
}

/// The move itself: bytes from here to there (invariant 3).
#[inline(never)]
fn copy(from: &Place, to: &Place, size: usize) {
    assert!(size <= from.room && size <= to.room);
    // SAFETY: invariant 1: both places are allocated, `size` exceeds neither, and two allocations do not overlap. Bytes
    // are copied as they are, so padding stays padding.
    unsafe { std::ptr::copy_nonoverlapping(black_box(from.start.as_ptr()), black_box(to.start.as_ptr()), size) };
    black_box((from.start, to.start));
}

/// A place on the heap for one value of type `T`. Its address never changes; its tenant may.
///
/// Moving a tenant out or to another slot is as safe as any move in Rust: the compiler allows it for every type. What a
/// raw pointer inside the tenant reads afterwards is another matter.
///
/// ```
/// # use pinlab::probe::Slot;
/// let mut a = Slot::new();
/// let mut b = Slot::new();
/// a.put(String::from("Hello"));
/// let text = a.get().as_ptr();
/// a.move_to(&mut b);
/// assert_ne!(a.address(), b.address());
/// assert_eq!(b.get().as_ptr(), text); // the header moved, the text did not
/// ```
pub struct Slot<T> {
    place: Place,
    occupied: bool,
    owns: PhantomData<T>,
}

impl<T> Slot<T> {
    /// A vacant slot.
    ///
    /// # Panics
    /// When there is no room in memory for a `T`.
    #[track_caller]
    pub fn new() -> Self {
        Self { place: Place::new(size_of::<T>(), align_of::<T>()), occupied: false, owns: PhantomData }
    }

    /// A slot with its first tenant.
    ///
    /// # Panics
    /// As [`new`](Slot::new) does.
    #[track_caller]
    pub fn with(tenant: T) -> Self {
        let mut slot = Self::new();
        slot.put(tenant);
        slot
    }

    /// Moves a value in. A tenant that is there already is dropped first, in place.
    pub fn put(&mut self, tenant: T) {
        self.evict();
        // SAFETY: invariant 1, and the place has the size and the alignment of a `T`.
        unsafe { black_box(self.as_ptr()).write(tenant) };
        self.occupied = true;
    }

    /// Moves the tenant out. Its bytes stay behind, as after every move.
    ///
    /// # Panics
    /// When the slot is vacant.
    #[track_caller]
    pub fn take(&mut self) -> T {
        self.assert_occupied();
        self.occupied = false;
        // SAFETY: invariant 2: the slot held a tenant, and gives it away with this read.
        unsafe { black_box(self.as_ptr()).read() }
    }

    /// Moves the tenant to another slot, byte by byte. A tenant that is there already is dropped first, in place.
    ///
    /// # Panics
    /// When this slot is vacant.
    #[track_caller]
    pub fn move_to(&mut self, other: &mut Self) {
        self.assert_occupied();
        other.evict();
        copy(&self.place, &other.place, size_of::<T>());
        // Invariant 2: one owner at any time, and nothing between the two lines can panic.
        self.occupied = false;
        other.occupied = true;
    }

    /// Drops the tenant, if there is one, in place.
    pub fn evict(&mut self) {
        if std::mem::take(&mut self.occupied) {
            // SAFETY: invariant 2: the slot held a tenant, which is no longer its own.
            unsafe { self.as_ptr().drop_in_place() };
        }
    }

    /// The tenant.
    ///
    /// # Panics
    /// When the slot is vacant.
    #[track_caller]
    pub fn get(&self) -> &T {
        self.assert_occupied();
        // SAFETY: invariant 2: there is a tenant; the borrow of the slot guards it.
        unsafe { &*black_box(self.as_ptr()) }
    }

    /// The tenant, to change it.
    ///
    /// # Panics
    /// When the slot is vacant.
    #[track_caller]
    pub fn get_mut(&mut self) -> &mut T {
        self.assert_occupied();
        // SAFETY: invariant 2: there is a tenant; the exclusive borrow of the slot guards it.
        unsafe { &mut *black_box(self.as_ptr()) }
    }

    /// A pointer to the place, whether it is let or vacant.
    pub fn as_ptr(&self) -> *mut T {
        self.place.start.as_ptr().cast()
    }

    /// Where the place is: the same for as long as the slot lives, wherever the slot itself is moved.
    pub fn address(&self) -> Address {
        self.place.address()
    }

    /// Whether there is no tenant.
    pub fn is_vacant(&self) -> bool {
        !self.occupied
    }

    /// The bytes in the place. In a vacant slot they are what the last tenant left.
    pub fn xray(&self) -> XRay {
        let xray = self.place.xray(size_of::<T>(), align_of::<T>(), short_name(type_name::<T>()));
        if self.occupied { xray } else { xray.vacated() }
    }

    /// The same with the compiler's names; see [`XRay::named`].
    pub fn named(&self, layout: &Lowered) -> XRay {
        self.xray().with_names(layout)
    }

    #[track_caller]
    fn assert_occupied(&self) {
        if !self.occupied {
            vacant(&self.place);
        }
    }

    /// Shows the strip of what is in the slot in a notebook.
    pub fn evcxr_display(&self) {
        self.xray().evcxr_display();
    }
}

impl<T> Default for Slot<T> {
    /// A vacant slot.
    ///
    /// # Panics
    /// As [`new`](Slot::new) does.
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Drop for Slot<T> {
    fn drop(&mut self) {
        self.evict();
    }
}

impl<T> fmt::Debug for Slot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = short_name(type_name::<T>());
        let what = if self.occupied { what } else { format!("vacant, room for {what}") };
        write!(f, "Slot at {}: {what}", self.address())
    }
}

impl<T> fmt::Display for Slot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A place on the heap for one future of any type that gives an `O`. Its address never changes; its tenant may.
///
/// Futures of `async fn`s have types without names. This slot keeps them without naming them, so that it can be kept from
/// one cell of a notebook to the next, and the tenant polled in one and moved in another.
///
/// Polling a tenant in its slot is safe: the place does not move, and the tenant is dropped in it. The one thing that
/// could break this is [`move_to`](FutureSlot::move_to), and it is `unsafe`.
///
/// ```
/// # use pinlab::probe::FutureSlot;
/// let mut a = FutureSlot::new();
/// let mut b = FutureSlot::new();
/// a.put(async { 7 });
/// // SAFETY: the tenant has never been polled.
/// unsafe { a.move_to(&mut b) };
/// assert!(b.poll().is_ready());
/// ```
pub struct FutureSlot<O> {
    place: Place,
    tenant: Option<Tenant<O>>,
    /// Size, alignment and name of what was here last.
    last: Option<(usize, usize, &'static str)>,
}

/// What is known of a tenant once its type is forgotten.
struct Tenant<O> {
    size: usize,
    align: usize,
    name: &'static str,
    /// Makes a place a `dyn Future` again. It was made where the type was still known.
    see: fn(*mut u8) -> *mut dyn Future<Output = O>,
    polls: usize,
}

impl<O: 'static> FutureSlot<O> {
    /// The room in a slot: bytes.
    const ROOM: usize = 4096;
    /// The alignment of a slot: bytes.
    const ALIGN: usize = 64;

    /// A vacant slot with room for a future of up to 4096 bytes.
    ///
    /// # Panics
    /// As [`with_room`](FutureSlot::with_room) does.
    #[track_caller]
    pub fn new() -> Self {
        Self::with_room(Self::ROOM)
    }

    /// A vacant slot with room for a future of up to `bytes` bytes.
    ///
    /// # Panics
    /// When there is no such room in memory.
    #[track_caller]
    pub fn with_room(bytes: usize) -> Self {
        Self { place: Place::new(bytes, Self::ALIGN), tenant: None, last: None }
    }

    /// A slot with its first tenant.
    ///
    /// # Panics
    /// As [`new`](FutureSlot::new) and [`put`](FutureSlot::put) do.
    #[track_caller]
    pub fn with(tenant: impl Future<Output = O> + 'static) -> Self {
        let mut slot = Self::new();
        slot.put(tenant);
        slot
    }

    /// Moves a future in. A tenant that is there already is dropped first, in place.
    ///
    /// # Panics
    /// When the future is larger than the room, or wants an alignment of more than 64 bytes.
    #[track_caller]
    pub fn put<F: Future<Output = O> + 'static>(&mut self, tenant: F) {
        let (size, align) = (size_of::<F>(), align_of::<F>());
        assert!(
            size <= self.place.room,
            "the future has {size} bytes and the slot room for {}: make it with FutureSlot::with_room({size})",
            self.place.room
        );
        assert!(align <= Self::ALIGN, "the future wants an alignment of {align} bytes, the slot has {}", Self::ALIGN);
        self.evict();
        // SAFETY: invariant 1, with the size and the alignment checked above.
        unsafe { black_box(self.place.start.as_ptr()).cast::<F>().write(tenant) };
        let see = |place: *mut u8| place.cast::<F>() as *mut dyn Future<Output = O>;
        self.last = Some((size, align, type_name::<F>()));
        self.tenant = Some(Tenant { size, align, name: type_name::<F>(), see, polls: 0 });
    }

    /// Polls the tenant once where it is, with a waker that does nothing.
    ///
    /// # Panics
    /// When the slot is vacant, and when the tenant does: an `async fn` panics when polled after it was ready.
    #[track_caller]
    pub fn poll(&mut self) -> Poll<O> {
        self.poll_with(&mut Context::from_waker(Waker::noop()))
    }

    /// Polls the tenant once where it is.
    ///
    /// # Panics
    /// As [`poll`](FutureSlot::poll) does.
    #[track_caller]
    pub fn poll_with(&mut self, context: &mut Context<'_>) -> Poll<O> {
        let Some(tenant) = &mut self.tenant else { vacant(&self.place) };
        tenant.polls += 1;
        let future = (tenant.see)(black_box(self.place.start.as_ptr()));
        // SAFETY: invariant 2: there is a tenant, and `see` knows its type. It is pinned: the place stays (invariant 1), the
        // tenant is dropped in it, and `move_to` is the only way out, whose caller answers for it.
        unsafe { Pin::new_unchecked(&mut *future) }.poll(context)
    }

    /// Moves the tenant to another slot, byte by byte. A tenant that is there already is dropped first, in place.
    ///
    /// This is the move that `Pin` exists to forbid.
    ///
    /// # Safety
    /// The tenant must never have been polled, or be `Unpin`. A future that was polled may hold pointers into itself: they
    /// go on pointing into this slot, and read whatever is there then. By the letter of the language that is undefined.
    ///
    /// Whoever wants to see it breaks the promise knowingly: put a tenant of the same type into this slot, poll it as
    /// often, and only then poll the moved one. What its stale pointers read is then a live value of the right type in
    /// memory that is still allocated (invariant 1), through a call that the optimiser cannot look into (invariant 3).
    ///
    /// # Panics
    /// When this slot is vacant, or the other has not enough room.
    #[track_caller]
    pub unsafe fn move_to(&mut self, other: &mut Self) {
        let Some(tenant) = &self.tenant else { vacant(&self.place) };
        let room = other.place.room;
        assert!(tenant.size <= room, "the future has {} bytes and the other slot room for {room}", tenant.size);
        other.evict();
        copy(&self.place, &other.place, tenant.size);
        other.last = self.last;
        other.tenant = self.tenant.take();
    }

    /// Drops the tenant, if there is one, in place.
    pub fn evict(&mut self) {
        if let Some(tenant) = self.tenant.take() {
            // SAFETY: invariant 2: there was a tenant, which is no longer the slot's; `see` knows its type.
            unsafe { (tenant.see)(black_box(self.place.start.as_ptr())).drop_in_place() };
        }
    }

    /// Where the place is: the same for as long as the slot lives, wherever the slot itself is moved.
    pub fn address(&self) -> Address {
        self.place.address()
    }

    /// Whether there is no tenant.
    pub fn is_vacant(&self) -> bool {
        self.tenant.is_none()
    }

    /// How often the tenant has been polled, wherever it was then.
    pub fn polls(&self) -> usize {
        self.tenant.as_ref().map_or(0, |tenant| tenant.polls)
    }

    /// Polls the tenant until it is done where it is, with an X-ray after each poll: see [`Film::of`].
    ///
    /// # Panics
    /// When the slot is vacant.
    #[track_caller]
    pub fn film(&mut self) -> Film {
        self.roll(None)
    }

    /// The same with the compiler's names, and the line of source after each poll.
    ///
    /// # Panics
    /// When the slot is vacant.
    #[track_caller]
    pub fn film_named(&mut self, layout: &Lowered) -> Film {
        self.roll(Some(layout))
    }

    #[track_caller]
    fn roll(&mut self, layout: Option<&Lowered>) -> Film {
        struct Tenant<'a, O>(&'a mut FutureSlot<O>, Option<&'a Lowered>);
        impl<O: 'static> Actor for Tenant<'_, O> {
            fn poll(&mut self, context: &mut Context<'_>) -> bool {
                self.0.poll_with(context).is_ready()
            }
            fn xray(&self) -> XRay {
                self.1.map_or_else(|| self.0.xray(), |layout| self.0.named(layout))
            }
        }
        if self.is_vacant() {
            vacant(&self.place);
        }
        Film::roll(&mut Tenant(self, layout), layout.and_then(|layout| layout.body.clone()), None)
    }

    /// The bytes of the tenant. In a vacant slot they are what the last one left.
    pub fn xray(&self) -> XRay {
        let (size, align, name) = self.last.unwrap_or((0, 1, "nothing yet"));
        let xray = self.place.xray(size, align, future_name(name));
        if self.tenant.is_some() { xray } else { xray.vacated() }
    }

    /// The same with the compiler's names; see [`XRay::named`].
    pub fn named(&self, layout: &Lowered) -> XRay {
        self.xray().with_names(layout)
    }

    /// Shows the strip of what is in the slot in a notebook.
    pub fn evcxr_display(&self) {
        self.xray().evcxr_display();
    }
}

/// `cell::process_data::{{closure}}` is how the compiler names the future of `process_data`.
fn future_name(name: &str) -> String {
    let function = name.strip_suffix("::{{closure}}").filter(|rest| !rest.ends_with('}'));
    short_name(function.unwrap_or(name))
}

impl<O: 'static> Default for FutureSlot<O> {
    /// A vacant slot.
    ///
    /// # Panics
    /// As [`new`](FutureSlot::new) does.
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}

impl<O> Drop for FutureSlot<O> {
    fn drop(&mut self) {
        if let Some(tenant) = self.tenant.take() {
            // SAFETY: invariant 2: as in `evict`.
            unsafe { (tenant.see)(black_box(self.place.start.as_ptr())).drop_in_place() };
        }
    }
}

impl<O> fmt::Debug for FutureSlot<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FutureSlot at {}: ", self.place.address())?;
        let Some(Tenant { size, align, name, polls, .. }) = &self.tenant else {
            return f.write_str("vacant");
        };
        let times = if *polls == 1 { "once".into() } else { format!("{polls} times") };
        write!(f, "{}, {size} bytes, aligned to {align}, polled {times}", future_name(name))
    }
}

impl<O> fmt::Display for FutureSlot<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
