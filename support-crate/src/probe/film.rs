//! The film of a future: an X-ray before the first poll and after each, with the line of source where it stands and the wake that led to it.
//!
//! ```text
//! Film::of(future) ──▶ poll ──▶ X-ray ──▶ wait for its wake ──▶ poll ──▶ X-ray … Ready
//! ```
//!
//! Invariants:
//! 1. The future is pinned before the first X-ray and stays where it is until the film is over.
//! 2. A film ends: when the future does, after [`MOST_POLLS`], when nobody wakes it for [`PATIENCE`], or when polls that nobody asked for
//!    change nothing. Which of them it was, it says.
//! 3. What is said of a wake is what its waker saw: on which thread, during the poll or after. Who is behind it is not guessed at.

mod draw;
mod wake;

use super::{Lowered, Strips, XRay, body::Body};
use crate::{Runtime, foreign, show::Figure, show::text::counted};
use std::{
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::{Pin, pin},
    sync::Arc,
    sync::atomic::{Ordering, fence},
    task::{Context, Poll},
    time::Duration,
};
use wake::{Calls, Wakes};

/// After as many polls a film ends.
const MOST_POLLS: usize = 64;
/// A film that waits for a wake waits no longer.
const PATIENCE: Duration = Duration::from_secs(5);
/// As many polls without a wake and without a change are enough.
const IN_VAIN: usize = 3;

const UNASKED: &str = "though nobody has woken it, and nobody could: its waker was left with nobody";
const ALONE: &str = "it left its waker with nobody, and polls change nothing any more: nothing can ever wake it.";

/// A future from its first poll to its last: see [`Film::of`].
///
/// In a notebook it is stepped through, poll by poll; printed with `{}` it is one strip a poll.
#[derive(Clone)]
pub struct Film {
    shots: Vec<Shot>,
    body: Option<Arc<Body>>,
    /// Why there is no more of it.
    end: String,
}

/// The future as it was after one poll, or before the first.
#[derive(Clone)]
struct Shot {
    xray: XRay,
    /// The polls before it.
    polls: usize,
    label: String,
    /// Why it was polled.
    cause: Option<String>,
}

/// What is filmed: something that can be polled and looked at, and does not move.
pub(super) trait Actor {
    /// Whether it is done.
    fn poll(&mut self, context: &mut Context<'_>) -> bool;
    fn xray(&self) -> XRay;
}

struct Pinned<'a, F>(Pin<&'a mut F>, Option<&'a Lowered>);

impl<F: Future> Actor for Pinned<'_, F> {
    fn poll(&mut self, context: &mut Context<'_>) -> bool {
        self.0.as_mut().poll(context).is_ready()
    }

    fn xray(&self) -> XRay {
        let xray = XRay::of(&*self.0);
        match self.1 {
            Some(layout) => xray.with_names(layout),
            None => xray,
        }
    }
}

impl Film {
    /// Polls a future until it is done, 64 times at most, with an X-ray after each poll. Between two polls it waits for a wake, for five seconds at most;
    /// where nobody holds the waker, so that none can come, it polls all the same, until that changes nothing three times, and says so.
    ///
    /// The future is dropped at the end, and so is its output. A panic in a poll ends the film; one in the drop afterwards is told at its end.
    ///
    /// ```
    /// use pinlab::prelude::*;
    /// let film = Film::of(async { yield_now().await });
    /// assert_eq!(film.polls(), 2);
    /// println!("{film}");
    /// ```
    pub fn of<F: Future>(future: F) -> Self {
        Self::pinned(future, None, |actor| Self::roll(actor, None, None))
    }

    /// The same with the compiler's names on the bytes, and the line of source after each poll; [`film!`](crate::film!) writes this.
    ///
    /// ```no_run
    /// # use pinlab::prelude::*;
    /// async fn greet(name: String) -> usize {
    ///     let name_ref = &name;
    ///     yield_now().await;
    ///     name_ref.len()
    /// }
    /// let film = Film::named(greet("Ferris".into()), &pinlab::lowered!(greet));
    /// ```
    pub fn named<F: Future>(future: F, layout: &Lowered) -> Self {
        Self::pinned(future, Some(layout), |actor| Self::roll(actor, layout.body.clone(), None))
    }

    /// Polls a future `times` times (once at least, 64 times at most), woken or not, or to its end if that comes first.
    pub fn polled<F: Future>(future: F, times: usize) -> Self {
        Self::pinned(future, None, |actor| Self::roll(actor, None, Some(times)))
    }

    /// Films a future that sleeps, connects or spawns: an engine drives it.
    ///
    /// # Panics
    ///
    /// As [`Runtime::block_on`] does when it is called inside a task of the same runtime.
    ///
    /// ```
    /// use pinlab::prelude::*;
    /// # fn main() -> std::io::Result<()> {
    /// let rt = Runtime::new()?;
    /// let film = Film::on(&rt, rt.handle().sleep(Duration::from_millis(1)));
    /// assert_eq!(film.polls(), 2);
    /// # Ok(()) }
    /// ```
    pub fn on<F: Future>(rt: &Runtime, future: F) -> Self {
        Self::pinned(future, None, |actor| Self::roll_on(rt, actor, None))
    }

    /// [`on`](Film::on) an engine, and [`named`](Film::named).
    pub fn on_named<F: Future>(rt: &Runtime, future: F, layout: &Lowered) -> Self {
        Self::pinned(future, Some(layout), |actor| Self::roll_on(rt, actor, layout.body.clone()))
    }

    /// Drops the future when the film is there: a panic of that does not take it away.
    fn pinned<F: Future>(future: F, layout: Option<&Lowered>, roll: impl FnOnce(&mut dyn Actor) -> Self) -> Self {
        let mut film = None;
        let played = catch_unwind(AssertUnwindSafe(|| film = Some(roll(&mut Pinned(pin!(future), layout)))));
        match (film, played) {
            (Some(mut film), Err(payload)) => {
                foreign::discard(payload);
                film.end.push_str(" Its drop panicked.");
                film
            }
            (Some(film), Ok(())) => film,
            (None, Err(payload)) => resume_unwind(payload),
            (None, Ok(())) => unreachable!("it was rolled"),
        }
    }

    pub(super) fn roll(actor: &mut dyn Actor, body: Option<Arc<Body>>, times: Option<usize>) -> Self {
        let mut film = Self::start(actor, body);
        let wakes = Wakes::new();
        let waker = Arc::clone(&wakes).into();
        let mut vain = 0;
        let mut calls = Calls::default();
        while film.end.is_empty() {
            let cause = match film.shots.len() {
                1 => None,
                _ if calls.any() => Some(calls.says()),
                _ => Some(UNASKED.to_owned()),
            };
            film.shoot(actor, &mut Context::from_waker(&waker), &wakes, cause);
            if !film.end.is_empty() {
                break;
            }
            if times.is_some_and(|times| film.polls() >= times) {
                film.end = format!("{} were asked for.", counted(film.polls(), "poll", "polls"));
                break;
            }
            let held = Arc::strong_count(&wakes) > 2;
            calls = wakes.take();
            if times.is_none() && !calls.any() && held {
                calls = wakes.wait(PATIENCE);
                if !calls.any() {
                    film.end = format!("somebody holds its waker, and nobody woke it for {} seconds.", PATIENCE.as_secs());
                }
            } else if times.is_none() && !calls.any() {
                vain = if film.changed() { 0 } else { vain + 1 };
                if vain >= IN_VAIN {
                    film.end = ALONE.into();
                }
            }
        }
        film
    }

    fn roll_on(rt: &Runtime, actor: &mut dyn Actor, body: Option<Arc<Body>>) -> Self {
        let mut film = Self::start(actor, body);
        let wakes = Wakes::new();
        let waker = Arc::clone(&wakes).into();
        let (mut patience, mut vain) = (Box::pin(rt.handle().sleep(PATIENCE)), 0);
        rt.block_on(std::future::poll_fn(|engine| {
            wakes.forward_to(engine.waker());
            loop {
                let held = Arc::strong_count(&wakes) > 2; // before the calls: who wakes with the last waker drops it afterwards
                fence(Ordering::Acquire); // what was done before that drop is seen below
                let calls = wakes.take();
                let begun = film.shots.len() > 1;
                if begun && !calls.any() {
                    if held {
                        if patience.as_mut().poll(engine).is_pending() {
                            return Poll::Pending; // the engine looked in, and nobody has woken it
                        }
                        film.end = format!("somebody holds its waker, and nobody woke it for {} seconds.", PATIENCE.as_secs());
                        return Poll::Ready(());
                    }
                    vain = if film.changed() { 0 } else { vain + 1 };
                    if vain >= IN_VAIN {
                        film.end = ALONE.into();
                        return Poll::Ready(());
                    }
                }
                let cause = begun.then(|| if calls.any() { calls.says() } else { UNASKED.to_owned() });
                film.shoot(actor, &mut Context::from_waker(&waker), &wakes, cause);
                if !film.end.is_empty() {
                    return Poll::Ready(());
                }
                patience = Box::pin(rt.handle().sleep(PATIENCE));
                if wakes.any() {
                    return Poll::Pending; // the engine was woken with it
                }
            }
        }));
        film
    }

    fn start(actor: &dyn Actor, body: Option<Arc<Body>>) -> Self {
        let first = Shot { xray: actor.xray(), polls: 0, label: "before the first poll".into(), cause: None };
        Self { shots: vec![first], body, end: String::new() }
    }

    fn shoot(&mut self, actor: &mut dyn Actor, context: &mut Context<'_>, wakes: &Wakes, cause: Option<String>) {
        wakes.polling(true);
        let outcome = catch_unwind(AssertUnwindSafe(|| actor.poll(context)));
        wakes.polling(false);
        let number = self.shots.len();
        let said = match outcome {
            Ok(true) => "Ready",
            Ok(false) => "Pending",
            Err(payload) => {
                foreign::discard(payload);
                "panicked"
            }
        };
        self.shots.push(Shot { xray: actor.xray(), polls: number, label: format!("poll {number}: {said}"), cause });
        self.end = match said {
            "Ready" => "it is done.".into(),
            "panicked" => "it panicked.".into(),
            _ if number >= MOST_POLLS => format!("{MOST_POLLS} polls are enough: the rest is left out."),
            _ => String::new(),
        };
    }

    fn changed(&self) -> bool {
        let bytes = |shot: &Shot| shot.xray.bytes().to_vec();
        matches!(self.shots.as_slice(), [.., before, after] if bytes(before) != bytes(after))
    }

    /// How often it was polled.
    pub fn polls(&self) -> usize {
        self.shots.len() - 1
    }

    /// The X-rays: before the first poll, and after each.
    pub fn xrays(&self) -> impl Iterator<Item = &XRay> + '_ {
        self.shots.iter().map(|shot| &shot.xray)
    }

    /// The state after each poll, by the compiler's name, the one before the first included; `None` without a fitting layout.
    pub fn states(&self) -> impl Iterator<Item = Option<&str>> + '_ {
        self.xrays().map(XRay::state)
    }

    /// Why it ends where it does.
    pub fn end(&self) -> &str {
        &self.end
    }

    /// The line of the function in which it stood, and its text.
    fn line(&self, shot: usize) -> Option<(usize, &str)> {
        let body = self.body.as_ref()?;
        let line = body.line_of(self.shots[shot].xray.state()?)?;
        Some((line, body.text(line)?))
    }

    fn strips(&self) -> Strips {
        let strips = self.shots.iter().map(|shot| (shot.label.clone(), shot.xray.clone())).collect();
        let remarks = (0..self.shots.len()).map(|i| {
            let shot = &self.shots[i];
            let mut remarks: Vec<String> = shot.cause.iter().map(|cause| format!("Polled: {cause}.")).collect();
            remarks.push(match (self.line(i), shot.xray.state(), &self.body) {
                (Some((line, text)), Some("Unresumed" | "Returned"), _) => format!("Line {line} of the function: {text}"),
                (Some((line, text)), _, _) => format!("It waits in line {line} of the function: {text}"),
                (None, Some(state), Some(_)) => {
                    format!("In which line {state} waits, the compiler does not say: inside a macro, perhaps.")
                }
                (None, _, _) => "Where in its source it stands is not known: no layout was given, or it does not fit.".into(),
            });
            remarks
        });
        let remarks = remarks.collect();
        let polls = self.shots.iter().map(|shot| shot.polls).collect();
        Strips::in_time(strips, remarks, polls)
    }

    /// The same film with only some of its shots, for a still picture.
    fn cut(&self) -> (Self, usize) {
        const HEAD: usize = 4;
        const TAIL: usize = 2;
        let mut cut = self.clone();
        let left_out = self.shots.len().saturating_sub(HEAD + TAIL);
        if left_out > 0 {
            cut.shots.drain(HEAD..HEAD + left_out);
        }
        (cut, left_out)
    }

    fn summary(&self) -> String {
        let what = &self.shots[0].xray.what;
        let places: Vec<usize> = self.xrays().map(|xray| xray.address().usize()).collect();
        let place = if places.iter().all(|place| *place == places[0]) { "one address" } else { "several addresses" };
        format!(
            "{what}: {}, {place} ({}). {}",
            counted(self.polls(), "poll", "polls"),
            self.shots[0].xray.address(),
            self.last_word()
        )
    }

    fn last_word(&self) -> String {
        format!("The film ends here: {}", self.end)
    }

    /// The picture with all that is known about it.
    pub fn figure(&self) -> Figure {
        let (cut, left_out) = self.cut();
        let strips = self.strips();
        let title = format!("Film of {}", self.shots[0].xray.what);
        let still = draw::still(&cut.strips(), &title, &self.summary(), left_out);
        let frames = strips.frames(draw::positions(self, &strips));
        Figure::new(title, self.summary(), self.to_string(), still).with_frames(frames).starting_at(0)
    }

    /// Shows it in a notebook.
    pub fn evcxr_display(&self) {
        self.figure().evcxr_display();
    }
}

impl fmt::Display for Film {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n\n{}", self.strips(), self.summary())
    }
}

impl fmt::Debug for Film {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary())
    }
}

/// The film of an `async fn` that is written out in this source file: [`Film::named`] with the layout that [`lowered!`](crate::lowered!)
/// gives. With `on` and an engine before it, that engine drives it.
///
/// ```no_run
/// use pinlab::prelude::*;
/// async fn nap(handle: Handle) -> &'static str {
///     let text = String::from("rested");
///     let text_ref = &text;
///     handle.sleep(Duration::from_millis(5)).await;
///     if text_ref.is_empty() { "tired" } else { "rested" }
/// }
/// # fn main() -> std::io::Result<()> {
/// let rt = Runtime::new()?;
/// pinlab::film!(on &rt, nap(rt.handle())).evcxr_display();
/// # Ok(()) }
/// ```
///
/// # Panics
/// As [`lowered!`](crate::lowered!) does.
#[macro_export]
macro_rules! film {
    (on $rt:expr, $($name:ident)::+ ($($argument:expr),* $(,)?)) => {
        $crate::probe::Film::on_named($rt, $($name)::+($($argument),*), &$crate::lowered!($($name)::+))
    };
    ($($name:ident)::+ ($($argument:expr),* $(,)?)) => {
        $crate::probe::Film::named($($name)::+($($argument),*), &$crate::lowered!($($name)::+))
    };
}
