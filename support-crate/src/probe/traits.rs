//! What the compiler promises of a type: its size, and the traits that matter to pinning.
//!
//! The questions are asked in the reader's own crate, of concrete types, at compile time: an inherent item whose bounds
//! hold is preferred to a trait's, so `Ask::<T>` answers `true` where `T` has the trait and falls back to `false`.
//!
//! Invariant: the answers are the trait solver's, about the type that stands there. Inside a generic function it would
//! be asked about the parameter, of which it knows nothing: `probe!` refuses that, and `probe_val!`, which cannot, says so.

use super::WIDEST;
use crate::show::{escape, to_notebook};
use std::{fmt, future::Future, marker::PhantomData};

/// A table of what the compiler says about some types; made by [`probe!`](crate::probe!) and [`probe_val!`](crate::probe_val!).
#[derive(Debug, Clone)]
pub struct Traits {
    rows: Vec<TraitsRow>,
}

/// What the compiler says about one type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraitsRow {
    #[doc(hidden)]
    pub name: String,
    #[doc(hidden)]
    pub size: Option<usize>,
    #[doc(hidden)]
    pub align: Option<usize>,
    #[doc(hidden)]
    pub unpin: bool,
    #[doc(hidden)]
    pub future: bool,
    #[doc(hidden)]
    pub send: Option<bool>,
}

impl TraitsRow {
    /// The type, or the expression, as it was written.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its size in bytes; `None` for a type whose values differ in size, such as `str` or `dyn Future`.
    pub fn size(&self) -> Option<usize> {
        self.size
    }

    /// Its alignment in bytes; `None` where it has no size.
    pub fn align(&self) -> Option<usize> {
        self.align
    }

    /// Whether it may be moved even after it was pinned.
    pub fn is_unpin(&self) -> bool {
        self.unpin
    }

    /// Whether it is a `Future`. What is only `IntoFuture` can be awaited, too, and is none.
    pub fn is_future(&self) -> bool {
        self.future
    }

    /// Whether it may go to another thread; `None` for values, whose type the compiler has not finished when it is asked.
    pub fn is_send(&self) -> Option<bool> {
        self.send
    }
}

impl Traits {
    #[doc(hidden)]
    pub fn new(rows: Vec<TraitsRow>) -> Self {
        Self { rows }
    }

    /// One row for each type, in the order of the question.
    pub fn rows(&self) -> &[TraitsRow] {
        &self.rows
    }

    fn cells(&self) -> Vec<[String; 6]> {
        let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
        let number = |number: Option<usize>| number.map_or("–".to_owned(), |n| n.to_string());
        let row = |row: &TraitsRow| {
            [
                row.name.clone(),
                number(row.size),
                number(row.align),
                yes(row.unpin),
                yes(row.future),
                row.send.map_or("–".to_owned(), yes),
            ]
        };
        self.rows.iter().map(row).collect()
    }

    /// Shows the table in a notebook.
    pub fn evcxr_display(&self) {
        let mut html = String::from("<table><thead><tr>");
        for (i, head) in HEAD.iter().enumerate() {
            html += &format!("<th style=\"text-align:{}\">{head}</th>", if i == 0 { "left" } else { "right" });
        }
        html += "</tr></thead><tbody>";
        for cells in self.cells() {
            html += "<tr>";
            for (i, cell) in cells.iter().enumerate() {
                let cell = escape(cell);
                html += &match i {
                    0 => format!("<td style=\"text-align:left\"><code>{cell}</code></td>"),
                    3 if cell == "no" => {
                        format!("<td style=\"text-align:right;font-weight:bold\">{cell}</td>")
                    }
                    _ => format!("<td style=\"text-align:right\">{cell}</td>"),
                };
            }
            html += "</tr>";
        }
        html += "</tbody></table>";
        to_notebook(&[("text/html", &html), ("text/plain", &self.to_string())]);
    }
}

const HEAD: [&str; 6] = ["type", "size", "align", "Unpin", "Future", "Send"];

impl fmt::Display for Traits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cells = self.cells();
        let first = cells.iter().map(|row| row[0].chars().count()).chain([HEAD[0].len()]).max().unwrap_or(0).min(WIDEST);
        let lines = std::iter::once(HEAD).chain(cells.iter().map(|row| row.each_ref().map(String::as_str)));
        for (i, [name, size, align, unpin, future, send]) in lines.enumerate() {
            let start = if i == 0 { "" } else { "\n" };
            write!(f, "{start}{name:<first$}  {size:>8}  {align:>5}  {unpin:>5}  {future:>6}  {send:>4}")?;
        }
        Ok(())
    }
}

/// A table of size, alignment, `Unpin`, `Future` and `Send` for the types given, your own and unsized ones included.
///
/// Closures and async blocks have no name to give: hand values to [`probe_val!`](crate::probe_val!).
///
/// ```
/// # use std::{future::Future, marker::PhantomPinned, pin::Pin};
/// let table = pinlab::probe!(i32, PhantomPinned, Pin<Box<PhantomPinned>>, dyn Future<Output = ()>);
/// println!("{table}");
/// assert!(table.rows()[0].is_unpin());
/// assert!(!table.rows()[1].is_unpin());
/// ```
///
/// In a generic function, a type parameter is refused: the answers would be of no type in particular.
///
/// ```compile_fail,E0401
/// fn about<T>() {
///     println!("{}", pinlab::probe!(T)); // can't use generic parameters from outer item
/// }
/// ```
#[macro_export]
macro_rules! probe {
    ($($what:ty),+ $(,)?) => {{
        // An item of its own knows no type parameters: of one, the answers would be about nothing in particular.
        const _: () = { $(let _ = ::std::marker::PhantomData::<$what>;)+ };
        #[allow(unused_imports)]
        use $crate::probe::hidden::Unanswered as _;
        $crate::probe::Traits::new(::std::vec![$(
            $crate::probe::TraitsRow {
                name: ::std::string::String::from(::std::stringify!($what)),
                size: $crate::probe::hidden::Ask::<$what>::SIZE,
                align: $crate::probe::hidden::Ask::<$what>::ALIGN,
                unpin: $crate::probe::hidden::Ask::<$what>::UNPIN,
                future: $crate::probe::hidden::Ask::<$what>::FUTURE,
                send: ::std::option::Option::Some($crate::probe::hidden::Ask::<$what>::SEND),
            }
        ),+])
    }};
}

/// The same table as [`probe!`](crate::probe!) for the types of values: closures, async blocks, what a function returns.
///
/// The values are only looked at: variables stay yours. `Send` is left out, because what a closure or an async block holds is
/// settled only after the function around it has been compiled. (For the same reason a closure that holds something
/// `!Unpin` is refused with an error that says so.)
///
/// In a generic function do not ask about values of a parameter's type: the compiler answers for the parameter, and says "no" of `u8`.
///
/// ```
/// let number = 7;
/// let table = pinlab::probe_val!(|| number, async { number });
/// assert!(table.rows()[0].is_unpin());
/// assert!(!table.rows()[1].is_unpin());
/// ```
#[macro_export]
macro_rules! probe_val {
    ($($value:expr),+ $(,)?) => {{
        #[allow(unused_imports)]
        use $crate::probe::hidden::Unanswered as _;
        $crate::probe::Traits::new(::std::vec![$({
            let ask = $crate::probe::hidden::ask_about(&$value);
            $crate::probe::TraitsRow {
                name: ::std::string::String::from(::std::stringify!($value)),
                size: ask.size(),
                align: ask.align(),
                unpin: ask.unpin(),
                future: ask.future(),
                send: ::std::option::Option::None,
            }
        }),+])
    }};
}

/// A question about a type.
#[doc(hidden)]
#[derive(Debug)]
pub struct Ask<T: ?Sized>(PhantomData<T>);

/// A question about the type of a value.
#[doc(hidden)]
pub fn ask_about<T: ?Sized>(_: &T) -> Ask<T> {
    Ask(PhantomData)
}

impl<T> Ask<T> {
    pub const SIZE: Option<usize> = Some(size_of::<T>());
    pub const ALIGN: Option<usize> = Some(align_of::<T>());
    pub fn size(&self) -> Option<usize> {
        Self::SIZE
    }
    pub fn align(&self) -> Option<usize> {
        Self::ALIGN
    }
}

impl<T: ?Sized + Unpin> Ask<T> {
    pub const UNPIN: bool = true;
    pub fn unpin(&self) -> bool {
        true
    }
}

impl<T: ?Sized + Future> Ask<T> {
    pub const FUTURE: bool = true;
    pub fn future(&self) -> bool {
        true
    }
}

impl<T: ?Sized + Send> Ask<T> {
    pub const SEND: bool = true;
}

/// The answers where no bound holds.
#[doc(hidden)]
pub trait Unanswered {
    const SIZE: Option<usize> = None;
    const ALIGN: Option<usize> = None;
    const UNPIN: bool = false;
    const FUTURE: bool = false;
    const SEND: bool = false;
    fn size(&self) -> Option<usize> {
        None
    }
    fn align(&self) -> Option<usize> {
        None
    }
    fn unpin(&self) -> bool {
        false
    }
    fn future(&self) -> bool {
        false
    }
}

impl<T: ?Sized> Unanswered for Ask<T> {}
