//! Writes each kind of picture as a page of its own into a folder: `cargo run --example gallery -- /tmp/gallery`.

use pinlab::{lowered, prelude::*};
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
    Ok(())
}
