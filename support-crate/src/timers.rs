//! Timers: a heap of deadlines, and the wakers that are to be called then. What waits in it is in `time`.
//!
//! ```text
//!   Sleep ──key──▶ slots: [ waker, place ]     place ─┬▶ recent: [ (deadline, order, key) ]  in no order
//!                                                     ├▶ heap:   [ (deadline, order, key) ]  the earliest at the top
//!                                                     └▶ NEVER: beyond what the system can tell
//! ```
//!
//! A timer costs nothing until it is polled and found to be early. It is then put into the heap, and its slot
//! remembers the place, so that a dropped timer is taken out at once. The commonest timer of all, the limit on an
//! operation that ends long before it, often dies before the engine has looked at the clock once more. So a new timer is
//! put beside the heap, and goes into it only when the engine next asks which one is due first.
//!
//! Invariants
//!
//! * **IH1** No entry is later than its children, which for the one at `i` are those at `4i + 1` to `4i + 4`.
//! * **IH2** `slots[heap[i].key].place == i` for each entry of the heap, and `RECENT + i` for the recent one at `i`; a slot without
//!   an entry has fired (`FIRED`), or never will (`NEVER`).
//! * **IH3** Deadlines that are equal fire in the order in which they were put in.
//! * **IH4** Nothing fires before its deadline.
//! * **IH5** What has grown for many timers shrinks when few are left.

use slab::Slab;
use std::task::Waker;
use std::time::Instant;

/// The place of a timer that has fired (IH2).
const FIRED: usize = usize::MAX;
/// The place of one that never will (IH2).
const NEVER: usize = usize::MAX - 1;
/// Added to the place of a timer that is not in the heap yet, but among the recent ones (IH2).
const RECENT: usize = 1 << (usize::BITS - 2);
/// How many children an entry of the heap has: four keep it shallow, and side by side in memory.
const CHILDREN: usize = 4;
/// So much room is kept in any case (IH5).
const KEPT: usize = 1024;

/// All timers of one engine that wait.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: Vec<Entry>,
    recent: Vec<Entry>,
    slots: Slab<Slot>,
    /// How many never fire.
    never: usize,
    /// With fewer than this, shrinking is worth a try (IH5): it is a quarter of the most there were, and half of that after each try.
    shrink_below: usize,
    /// How many were ever put in (IH3).
    count: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    deadline: Instant,
    order: u64,
    key: usize,
}

#[derive(Debug)]
struct Slot {
    place: usize,
    waker: Option<Waker>,
}

impl Timers {
    /// Puts a timer in; the key is the caller's until [`Timers::remove`].
    pub(crate) fn insert(&mut self, deadline: Option<Instant>, waker: Waker) -> usize {
        let place = match deadline {
            Some(_) => RECENT + self.recent.len(),
            None => NEVER,
        };
        let key = self.slots.insert(Slot { place, waker: Some(waker) });
        self.shrink_below = self.shrink_below.max(self.slots.len() / 4);
        match deadline {
            Some(deadline) => {
                self.count += 1;
                self.recent.push(Entry { deadline, order: self.count, key });
            }
            None => self.never += 1,
        }
        key
    }

    /// Takes a timer out, fired or not. The waker is for the caller to drop, outside of any borrow.
    pub(crate) fn remove(&mut self, key: usize) -> Option<Waker> {
        let Slot { place, waker } = self.slots.remove(key);
        match place {
            FIRED => {}
            NEVER => self.never -= 1,
            RECENT.. => {
                let place = place - RECENT;
                self.recent.swap_remove(place);
                if let Some(moved) = self.recent.get(place) {
                    self.slots[moved.key].place = RECENT + place;
                }
            }
            _ => self.remove_entry(place),
        }
        if (self.slots.len() < self.shrink_below || self.slots.is_empty()) && self.slots.capacity() > KEPT {
            self.shrink();
        }
        waker
    }

    /// IH5. The slots in use stay where they are, for their keys are known: a young timer beside many that are gone keeps their room.
    #[cold]
    fn shrink(&mut self) {
        self.shrink_below = self.slots.len() / 2;
        self.slots.shrink_to_fit();
        self.heap.shrink_to(KEPT.max(2 * self.heap.len()));
        self.recent.shrink_to(KEPT.max(2 * self.recent.len()));
    }

    /// Whether the timer has fired.
    pub(crate) fn has_fired(&self, key: usize) -> bool {
        self.slots[key].place == FIRED
    }

    /// The waker to be called is this one; the former one is given back.
    pub(crate) fn set_waker(&mut self, key: usize, waker: Waker) -> Option<Waker> {
        self.slots[key].waker.replace(waker)
    }

    /// Whether the waker to be called would wake the same task.
    pub(crate) fn will_wake(&self, key: usize, waker: &Waker) -> bool {
        self.slots[key].waker.as_ref().is_some_and(|known| known.will_wake(waker))
    }

    /// When the next timer is due.
    pub(crate) fn next_deadline(&mut self) -> Option<Instant> {
        self.gather();
        self.heap.first().map(|entry| entry.deadline)
    }

    /// Puts the recent ones into the heap.
    pub(crate) fn gather(&mut self) {
        while let Some(entry) = self.recent.pop() {
            self.heap.push(entry);
            self.rise(self.heap.len() - 1);
        }
    }

    /// Takes the earliest timer of the heap out if it is due at `now` (IH4): its deadline, and the waker to call. Those that were put in since the last
    /// [`Timers::gather`] stay: a waker that puts in what is due, again and again, lets others have their turn.
    pub(crate) fn fire(&mut self, now: Instant) -> Option<(Instant, Option<Waker>)> {
        let &Entry { deadline, key, .. } = self.heap.first()?;
        if deadline > now {
            return None;
        }
        self.remove_entry(0);
        self.slots[key].place = FIRED;
        Some((deadline, self.slots[key].waker.take()))
    }

    /// Those that wait, the earliest first, and last those that never fire: when, and the data pointer of its waker.
    pub(crate) fn waiting(&self) -> Vec<(Option<Instant>, Option<*const ()>)> {
        let mut entries: Vec<&Entry> = self.heap.iter().chain(&self.recent).collect();
        entries.sort_unstable();
        let data = |key: usize| self.slots[key].waker.as_ref().map(Waker::data);
        let due = entries.into_iter().map(|entry| (Some(entry.deadline), data(entry.key)));
        due.chain(self.never().map(|data| (None, Some(data)))).collect()
    }

    /// The data pointers of the wakers that wait for an instant that never comes.
    pub(crate) fn never(&self) -> impl Iterator<Item = *const ()> {
        let never = self.slots.iter().filter(|(_, slot)| self.never > 0 && slot.place == NEVER);
        never.filter_map(|(_, slot)| slot.waker.as_ref()).map(Waker::data)
    }

    /// How many there are of those.
    pub(crate) fn count_never(&self) -> usize {
        self.never
    }

    /// How many wait that will fire.
    pub(crate) fn len(&self) -> usize {
        self.heap.len() + self.recent.len()
    }

    /// Takes all wakers out: the engine is closing.
    pub(crate) fn clear(&mut self) -> Vec<Waker> {
        self.slots.iter_mut().filter_map(|(_, slot)| slot.waker.take()).collect()
    }

    fn remove_entry(&mut self, place: usize) {
        self.heap.swap_remove(place);
        if place < self.heap.len() {
            // What came from the end belongs further up or further down.
            self.sink(place);
            self.rise(place);
        }
    }

    fn rise(&mut self, mut place: usize) {
        let entry = self.heap[place];
        while place > 0 {
            let parent = (place - 1) / CHILDREN;
            if self.heap[parent] <= entry {
                break;
            }
            self.set(place, self.heap[parent]);
            place = parent;
        }
        self.set(place, entry);
    }

    fn sink(&mut self, mut place: usize) {
        let entry = self.heap[place];
        loop {
            let first = place * CHILDREN + 1;
            let children = first..self.heap.len().min(first + CHILDREN);
            match children.min_by_key(|&child| self.heap[child]) {
                Some(child) if self.heap[child] < entry => {
                    self.set(place, self.heap[child]);
                    place = child;
                }
                _ => break,
            }
        }
        self.set(place, entry);
    }

    /// Writes an entry to its place, and the place to its slot (IH2).
    fn set(&mut self, place: usize, entry: Entry) {
        self.heap[place] = entry;
        self.slots[entry.key].place = place;
    }
}
