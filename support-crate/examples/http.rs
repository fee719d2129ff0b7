//! An HTTP service: hyper does the HTTP, this engine everything below it.
//!
//! ```text
//! cargo run --example http                        serve on a free port, and print the address
//! cargo run --example http -- 127.0.0.1:8080      serve there
//! curl http://127.0.0.1:8080/
//! curl http://127.0.0.1:8080/sleep/2000 & curl http://127.0.0.1:8080/
//! curl --data 'twice told' http://127.0.0.1:8080/echo
//! ```
//!
//! What to look at: [`Socket`] is all that hyper needs to run on an engine that it has never heard of, because both speak `poll`,
//! `Pin` and `Waker`. And `serve_one` has to pin hyper's connection where it stands, because it calls a method on it
//! (`Pin<&mut Self>`) between two polls.

use clap::Parser;
use futures::future::{Either, select};
use futures::io::{AsyncRead, AsyncWrite};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::rt::ReadBufCursor;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, header};
use pinlab::{Handle, Runtime, TcpListener, TcpStream};
use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::process::ExitCode;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// An HTTP service on this engine. Ctrl-C ends it.
///
/// GET / gives a greeting. GET /sleep/MS answers after MS milliseconds, and serves others meanwhile.
/// POST /echo answers with what was posted, up to 1 MiB.
#[derive(Parser)]
struct Arguments {
    /// Where to listen; port 0 lets the system choose one
    #[arg(default_value = "127.0.0.1:0")]
    address: SocketAddr,
}

/// A connection may stay this long. Then it is asked to end after the response that is under way, and is cut off after as long again.
const STAY: Duration = Duration::from_secs(60);
const MOST_BODY: usize = 1 << 20;

fn main() -> ExitCode {
    let Arguments { address } = Arguments::parse();
    match run(address) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {address}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(address: SocketAddr) -> io::Result<()> {
    let rt = Runtime::new()?;
    let handle = rt.handle();
    let listener = TcpListener::bind(&handle, address)?;
    println!("listening on http://{}/", listener.local_addr()?);
    rt.block_on(async {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let connection = serve_one(handle.clone(), stream);
                    drop(handle.spawn(async move {
                        if let Err(error) = connection.await {
                            eprintln!("{peer}: {error}");
                        }
                    }));
                }
                Err(error) => {
                    // No descriptors left, most likely: wait for a connection to end.
                    eprintln!("accept: {error}");
                    handle.sleep(Duration::from_millis(100)).await;
                }
            }
        }
    })
}

// ---- one connection, and one request -------------------------------------------------------------------------

async fn serve_one(handle: Handle, stream: TcpStream) -> hyper::Result<()> {
    let clock = handle.clone();
    let service = service_fn(move |request| answer(handle.clone(), request));
    let mut connection = pin!(http1::Builder::new().serve_connection(Socket(stream), service));
    // `as_mut` lends the pinned place: the connection stays, and after a time-out it is still ours to talk to.
    if let Either::Left((result, _)) = select(connection.as_mut(), clock.sleep(STAY)).await {
        return result;
    }
    connection.as_mut().graceful_shutdown();
    clock.timeout(STAY, connection).await.unwrap_or(Ok(()))
}

async fn answer(handle: Handle, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let path: Vec<_> = head.uri.path().split('/').skip(1).collect();
    Ok(match (head.method.as_str(), path.as_slice()) {
        ("GET" | "HEAD", [""]) => text(StatusCode::OK, "Hello from an engine that you can read.\n"),
        ("GET" | "HEAD", ["sleep", time]) => sleep(&handle, time).await,
        ("POST", ["echo"]) => echo(body).await,
        (_, [""] | ["sleep", _]) => not_allowed("GET, HEAD"),
        (_, ["echo"]) => not_allowed("POST"),
        _ => text(StatusCode::NOT_FOUND, "There is nothing here. Try /, /sleep/500, or POST to /echo.\n"),
    })
}

async fn sleep(handle: &Handle, time: &str) -> Response<Full<Bytes>> {
    match time.parse().map(Duration::from_millis) {
        Ok(time) if time < STAY => {
            handle.sleep(time).await;
            text(StatusCode::OK, format!("slept {} ms\n", time.as_millis()))
        }
        _ => text(StatusCode::BAD_REQUEST, "/sleep/ wants milliseconds: a number below 60000.\n"),
    }
}

async fn echo(body: Incoming) -> Response<Full<Bytes>> {
    // Some clients say beforehand how much will come. With the others, `Limited` counts.
    if body.size_hint().lower() > MOST_BODY as u64 {
        return text(StatusCode::PAYLOAD_TOO_LARGE, "At most 1 MiB.\n");
    }
    match Limited::new(body, MOST_BODY).collect().await {
        Ok(body) => text(StatusCode::OK, body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => text(StatusCode::PAYLOAD_TOO_LARGE, "At most 1 MiB.\n"),
        Err(error) => text(StatusCode::BAD_REQUEST, format!("{error}\n")),
    }
}

fn not_allowed(allowed: &'static str) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, format!("Only {allowed}.\n"));
    response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static(allowed));
    response
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

// ---- the bridge between hyper and the engine -----------------------------------------------------------------

/// hyper has traits of its own for reading and writing; this hands each call on to the futures crate's.
struct Socket(TcpStream);

impl hyper::rt::Read for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut to: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        // hyper lends memory that nobody has written yet, which a `&mut [u8]` must not point to. Reading into a
        // buffer of our own costs a copy, and needs no `unsafe`.
        let mut buffer = [0; 8192];
        let room = buffer.len().min(to.remaining());
        let got = ready!(Pin::new(&mut self.0).poll_read(cx, &mut buffer[..room]))?;
        to.put_slice(&buffer[..got]);
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }

    // A head and a body then leave in one system call.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, from)
    }
}
