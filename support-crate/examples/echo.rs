//! An echo server, and a client that tries it.
//!
//! ```text
//! cargo run --example echo                                       serve on a free port, and print the address
//! cargo run --example echo -- 127.0.0.1:7000                     serve there
//! cargo run --example echo -- --try 127.0.0.1:7000 --connections 1000 --messages 100
//! ```
//!
//! What to look at: one task a connection, all on one thread. A task's buffer is a local variable of an `async fn` that lives across
//! `.await`, so it lies in the task's own allocation; the pin on that allocation is what lets the read borrow it.

use clap::Parser;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use pinlab::{Handle, Runtime, TcpListener, TcpStream};
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// An echo server, and a client that tries it. Ctrl-C ends it.
#[derive(Parser)]
struct Arguments {
    /// Where to listen, or whom to try; port 0 lets the system choose one
    #[arg(default_value = "127.0.0.1:0")]
    address: SocketAddr,
    /// Be the client: send messages, and check that they come back
    #[arg(long = "try", requires = "address")]
    client: bool,
    /// How many connections at once
    #[arg(long, value_name = "N", requires = "client", default_value_t = 100)]
    connections: usize,
    /// How many messages on each connection, one after another
    #[arg(long, value_name = "N", requires = "client", default_value_t = 10)]
    messages: usize,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}: {error}", arguments.address);
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let rt = Runtime::new()?;
    let handle = rt.handle();
    if arguments.client {
        rt.block_on(try_it(handle, arguments))
    } else {
        let listener = TcpListener::bind(&handle, arguments.address)?;
        println!("listening on {}", listener.local_addr()?);
        rt.block_on(serve(handle, listener))
    }
}

// ---- the server ----------------------------------------------------------------------------------------------

async fn serve(handle: Handle, listener: TcpListener) -> ! {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let conversation = async move {
                    if let Err(error) = echo(&stream).await {
                        eprintln!("{peer}: {error}");
                    }
                };
                // Dropping a join handle detaches its task: nobody needs to hear of its end.
                drop(handle.spawn(conversation));
            }
            Err(error) => {
                // Most likely there are no descriptors left. Asking again at once would only burn time; some connection has to end first.
                eprintln!("accept: {error}");
                handle.sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn echo(mut stream: &TcpStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let got = stream.read(&mut buffer).await?;
        if got == 0 {
            return Ok(()); // the other end has said all it has to say
        }
        // Until this is written nothing more is read: a client that does not listen is not read from either.
        stream.write_all(&buffer[..got]).await?;
    }
}

// ---- the client ----------------------------------------------------------------------------------------------

async fn try_it(handle: Handle, arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let &Arguments { address, connections, messages, .. } = arguments;
    let start = Instant::now();
    // All are spawned before the first is awaited: that is what makes them run at once.
    let conversations: Vec<_> =
        (0..connections).map(|number| handle.spawn(converse(handle.clone(), address, number, messages))).collect();
    for conversation in conversations {
        // Two results, one in the other: whether the task came to its end, and what it came to.
        conversation.await??;
    }
    let took = start.elapsed();
    println!("{connections} connections, {messages} messages on each: all came back as they were sent");
    println!("{took:.2?}, {:.0} round trips/s", (connections * messages) as f64 / took.as_secs_f64());
    Ok(())
}

async fn converse(handle: Handle, address: SocketAddr, number: usize, messages: usize) -> io::Result<()> {
    let mut stream = TcpStream::connect(&handle, address).await?;
    for message in 0..messages {
        let sent = format!("message {message} on connection {number}\n");
        stream.write_all(sent.as_bytes()).await?;
        let mut back = vec![0; sent.len()];
        stream.read_exact(&mut back).await?;
        if back != sent.as_bytes() {
            let back = String::from_utf8_lossy(&back);
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("sent {sent:?}, and {back:?} came back")));
        }
    }
    Ok(())
}
