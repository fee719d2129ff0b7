//! The key-value server of `support-crate/examples/keyvalue`, on Tokio: the same store, the same buffers and limits of time, one
//! thread. `measure_keyvalue` measures one beside the other.
//!
//! It leaves out what is not measured: the limit on clients, what to do without a descriptor for the next one, the end in good order, the trace page.

#[path = "../../support-crate/examples/keyvalue/store.rs"]
mod store;

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use store::{Next, Store};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::task::spawn_local;
use tokio::time::timeout;

const MEMORY: usize = 64 << 20;
const IDLE: Duration = Duration::from_secs(300);
const PATIENCE: Duration = Duration::from_secs(10);
const CHUNK: usize = 16 << 10;

fn main() -> io::Result<()> {
    let address: SocketAddr = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(([127, 0, 0, 1], 0).into());
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await?;
        println!("listening on {}", listener.local_addr()?);
        let store = Rc::new(RefCell::new(Store::new(MEMORY)));
        loop {
            let (stream, peer) = listener.accept().await?;
            let _ = stream.set_nodelay(true);
            let store = store.clone();
            spawn_local(async move {
                if let Err(error) = visit(stream, &store).await {
                    eprintln!("{peer}: {error}");
                }
            });
        }
    })
}

async fn visit(mut stream: TcpStream, store: &RefCell<Store>) -> io::Result<()> {
    let (mut input, mut replies) = (Vec::new(), Vec::new());
    let mut chunk = vec![0; CHUNK].into_boxed_slice();
    loop {
        let next = store.borrow_mut().answer(&mut input, &mut replies);
        if !replies.is_empty() {
            timeout(PATIENCE, stream.write_all(&replies)).await??;
            replies.clear();
        }
        match next {
            Next::Answer => continue,
            Next::Part => return Ok(()),
            Next::Read => {}
        }
        match timeout(IDLE, stream.read(&mut chunk)).await? {
            Ok(0) => return Ok(()),
            Ok(got) => input.extend_from_slice(&chunk[..got]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
