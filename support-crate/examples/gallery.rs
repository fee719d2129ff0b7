//! Writes each kind of picture as a page of its own into a folder: `cargo run --example gallery -- /tmp/gallery`.

use pinlab::{
    lowered,
    pictures::{Places, Projection},
    prelude::*,
};
use std::{fs, path::PathBuf};

struct Pause(bool);

impl Future for Pause {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) { Poll::Ready(()) } else { Poll::Pending }
    }
}

async fn greet(name: &'static str) -> String {
    let val = String::from(name);
    let val_ref = &val;
    Pause(false).await;
    format!("{val_ref}!")
}

async fn nap(handle: Handle, text: String) -> String {
    let text_ref = &text;
    handle.sleep(Duration::from_millis(5)).await;
    let first = text_ref.len();
    yield_now().await;
    let buffer = [7u8; 24];
    Pause(false).await;
    format!("{text_ref} {first} {}", buffer.len())
}

async fn in_turn() -> u8 {
    let first = {
        let one = [1u8; 32];
        Pause(false).await;
        one[0]
    };
    let second = {
        let two = [2u8; 32];
        Pause(false).await;
        two[0]
    };
    first + second
}

/// Two tasks, a timer, a channel and a socket; and one poll that blocks.
fn busy() -> std::io::Result<Timeline> {
    let rt = Runtime::new()?;
    rt.record();
    let handle = rt.handle();
    let listener = TcpListener::bind(&handle, "127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let (send, receive) = futures::channel::oneshot::channel::<u32>();
    let messenger = handle.clone();
    drop(rt.spawn(async move {
        messenger.sleep(Duration::from_millis(20)).await;
        std::thread::sleep(Duration::from_millis(30));
        let _ = send.send(42);
    }));
    let client = handle.clone();
    let connected = rt.spawn(async move { TcpStream::connect(&client, address).await.map(drop) });
    rt.block_on(async {
        let _ = listener.accept().await;
        let _ = connected.await;
        let _ = receive.await;
        yield_now().await;
    });
    Ok(rt.stop_recording())
}

/// A waker that is dropped without being called, one that is called twice, and one that is called too late.
fn faults() -> std::io::Result<Timeline> {
    let rt = Runtime::new()?;
    rt.record();
    let handle = rt.handle();
    let wakers = std::rc::Rc::new(std::cell::RefCell::new(Vec::<Waker>::new()));
    let (kept, limit) = (wakers.clone(), handle.clone());
    drop(rt.spawn(async move {
        let waits = std::future::poll_fn(|cx| {
            kept.borrow_mut().push(cx.waker().clone());
            Poll::<()>::Pending
        });
        let _ = limit.timeout(Duration::from_millis(30), waits).await;
    }));
    rt.block_on(async {
        handle.sleep(Duration::from_millis(5)).await;
        wakers.borrow()[0].wake_by_ref();
        wakers.borrow()[0].wake_by_ref();
        handle.sleep(Duration::from_millis(5)).await;
        wakers.borrow_mut().pop();
        handle.sleep(Duration::from_millis(40)).await;
        wakers.borrow()[0].wake_by_ref();
    });
    Ok(rt.stop_recording())
}

fn places() -> Places {
    struct Outer {
        name: String,
        inner: [u64; 2],
    }
    let on_the_stack = pin!(greet("a"));
    let on_the_heap = Box::pin(greet("b"));
    let outer = Box::new(Outer { name: "c".into(), inner: [1, 2] });
    Places::new()
        .with("pin!", &*on_the_stack)
        .with("Box::pin", &*on_the_heap)
        .with("the box itself", &on_the_heap)
        .with("outer", &*outer)
        .with("outer.inner", &outer.inner)
        .with("outer.name", &outer.name)
        .with("a literal", "text")
}

#[pin_project::pin_project]
struct Counted<F> {
    #[pin]
    future: F,
    polls: u32,
    name: &'static str,
}

fn projection() -> Projection {
    let mut counted = Box::pin(Counted { future: greet("x"), polls: 0, name: "x" });
    let picture = Projection::of("Counted", &*counted);
    let this = counted.as_mut().project();
    picture.field("future", &this.future).field("polls", &this.polls).field("name", &this.name)
}

const SHEET: [[&str; 4]; 4] = [
    ["i32", "Unpin", "not pinned", "yes"],
    ["i32", "Unpin", "Pin<Box<_>>", "yes"],
    ["Tangled", "!Unpin", "not pinned", "yes, and it breaks"],
    ["Tangled", "!Unpin", "Pin<Box<_>>", "no: refused, E0596"],
];

fn stepped() -> std::io::Result<pinlab::show::Figure> {
    let rt = Runtime::new()?;
    let handle = rt.handle();
    drop(rt.spawn(async move { handle.sleep(Duration::from_millis(50)).await }));
    drop(rt.spawn(async { yield_now().await }));
    rt.step();
    Ok(rt.step().figure())
}

fn many() -> std::io::Result<Timeline> {
    let rt = Runtime::new()?;
    rt.record();
    for _ in 0..40 {
        drop(rt.spawn(async {
            for _ in 0..1_000 {
                yield_now().await;
            }
        }));
    }
    rt.run_until_stalled();
    Ok(rt.stop_recording())
}

fn main() -> std::io::Result<()> {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "gallery".into()));
    fs::create_dir_all(&folder)?;
    let layout = lowered!(greet);
    let mut a = FutureSlot::with(greet("Hello"));
    let mut b = FutureSlot::<String>::new();
    let unpolled = a.named(&layout);
    let _ = a.poll();
    let before = a.named(&layout);
    // SAFETY: none; it is the move that the pictures are about. The stale pointer will read a live value of the same type.
    unsafe { a.move_to(&mut b) };
    let after = b.named(&layout);
    let vacant = a.named(&layout);
    a.put(greet("INTRUDER"));
    let _ = a.poll();
    let now = a.named(&layout);
    let rt = Runtime::new()?;
    let film = pinlab::film!(on & rt, nap(rt.handle(), "rested".into()));
    let alone = pinlab::film!(greet("Hello"));
    let figures = [
        ("places", places().figure()),
        ("projection", projection().figure()),
        ("sheet", pinlab::pictures::cheat_sheet(&SHEET)),
        ("reactor", busy()?.reactor()),
        ("turns", many()?.turns()),
        ("now", stepped()?),
        ("busy", busy()?.figure()),
        ("faults", faults()?.figure()),
        ("film", film.figure()),
        ("film-alone", alone.figure()),
        ("one", XRay::beside(&[("", &before)]).figure()),
        ("moved", XRay::beside(&[("A, polled once", &before), ("moved to B", &after), ("A now", &now)]).figure()),
        ("vacant", XRay::beside(&[("A, polled once", &before), ("moved to B", &after), ("A now", &vacant)]).figure()),
        ("polls", XRay::beside(&[("unpolled", &unpolled), ("polled once", &before)]).figure()),
        ("layout", lowered!(in_turn).figure()),
    ];
    for (name, figure) in figures {
        figure.save(folder.join(format!("{name}.html")))?;
        fs::write(folder.join(format!("{name}.svg")), figure.svg())?;
        println!("{name}\n{figure}\n");
    }
    let (timeline, start) = (many()?, Instant::now());
    let figure = timeline.figure();
    println!("{} events: a figure in {:?}", timeline.entries().len(), start.elapsed());
    figure.save(folder.join("many.html"))?;
    timeline.save_json(folder.join("many.json"))
}
