//! Jupyter's connection file, and the five sockets that it names.

use std::fs;
use std::future::poll_fn;
use std::net::{Ipv4Addr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::task::Poll;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use zeromq::util::PeerIdentity;
use zeromq::{
    DealerSendHalf, DealerSocket, PubSocket, RepSocket, RouterSendHalf, RouterSocket, Socket, SocketOptions, SocketRecv,
    SocketSend, SubSocket, ZmqMessage,
};

/// Under this name the kernel knows the front, on every channel: it answers on `stdin` to who has asked on `shell`.
const NAME: &str = "front";

/// What a connection file says.
#[derive(Clone, Debug)]
pub(crate) struct File {
    json: Value,
    pub(crate) key: String,
}

impl File {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read the connection file {}", path.display()))?;
        let json: Value = serde_json::from_str(&text).context("the connection file is no JSON")?;
        if json["transport"] != "tcp" {
            bail!("the connection file asks for the transport {}: only tcp is spoken here", json["transport"]);
        }
        let key = json["key"].as_str().unwrap_or_default().to_owned();
        Ok(Self { json, key })
    }

    /// The same with five ports of this machine's own that are free now.
    pub(crate) fn for_kernel(&self) -> Result<Self> {
        let mut json = self.json.clone();
        json["ip"] = json!("127.0.0.1");
        // All are open at once, so that they differ.
        let mut listeners = Vec::new();
        for channel in ["hb", "shell", "control", "stdin", "iopub"] {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port is free")?;
            json[format!("{channel}_port")] = json!(listener.local_addr()?.port());
            listeners.push(listener);
        }
        Ok(Self { json, key: self.key.clone() })
    }

    pub(crate) fn text(&self) -> String {
        self.json.to_string()
    }

    pub(crate) fn endpoint(&self, channel: &str) -> Result<String> {
        let port = self.port(channel)?;
        Ok(format!("tcp://{}:{port}", self.json["ip"].as_str().context("the connection file names no address")?))
    }

    fn port(&self, channel: &str) -> Result<u16> {
        let port = self.json[format!("{channel}_port")].as_u64().and_then(|port| port.try_into().ok());
        port.with_context(|| format!("the connection file names no port for {channel}"))
    }
}

/// A channel of requests and answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Channel {
    Shell,
    Control,
    Stdin,
}

/// What has come in.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// From a client of Jupyter's.
    Client(Channel, ZmqMessage),
    /// From the kernel.
    Kernel(Channel, ZmqMessage),
    /// From the kernel, to all clients.
    Published(ZmqMessage),
}

/// Where what comes in is put.
pub(crate) type Inbox = mpsc::Sender<Incoming>;

/// The side on which Jupyter's clients are.
pub(crate) struct Clients {
    shell: RouterSendHalf,
    control: RouterSendHalf,
    stdin: RouterSendHalf,
    iopub: PubSocket,
}

impl Clients {
    /// Listens on all that the connection file names, and answers the heartbeat.
    pub(crate) async fn listen(file: &File, inbox: &Inbox) -> Result<Self> {
        let mut heartbeat = RepSocket::new();
        heartbeat.bind(&file.endpoint("hb")?).await.context("cannot listen for the heartbeat")?;
        tokio::spawn(async move {
            loop {
                match received(&mut heartbeat).await {
                    Some(message) => drop(heartbeat.send(message).await),
                    None => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        });
        let mut iopub = PubSocket::new();
        iopub.bind(&file.endpoint("iopub")?).await.context("cannot listen on iopub")?;
        Ok(Self {
            shell: router(file, "shell", Channel::Shell, inbox).await?,
            control: router(file, "control", Channel::Control, inbox).await?,
            stdin: router(file, "stdin", Channel::Stdin, inbox).await?,
            iopub,
        })
    }

    /// Answers the client that the message names first; false if it has gone.
    pub(crate) async fn send(&mut self, channel: Channel, message: ZmqMessage) -> bool {
        let socket = match channel {
            Channel::Shell => &mut self.shell,
            Channel::Control => &mut self.control,
            Channel::Stdin => &mut self.stdin,
        };
        socket.send(message).await.is_ok()
    }

    /// To all clients. One that has gone is forgotten by the socket.
    pub(crate) async fn publish(&mut self, message: ZmqMessage) {
        let _ = self.iopub.send(message).await;
    }
}

/// The next message. `None` if a client's connection has ended: by an error, which is none for other clients, or by a panic, which is how the library answers
/// some of what is no message. Anybody on this machine can send that, and it must not make the channel deaf.
async fn received(socket: &mut impl SocketRecv) -> Option<ZmqMessage> {
    let mut receiving = socket.recv();
    poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| receiving.as_mut().poll(context)));
        polled.map_or(Poll::Ready(None), |polled| polled.map(Result::ok))
    })
    .await
}

async fn router(file: &File, name: &str, channel: Channel, inbox: &Inbox) -> Result<RouterSendHalf> {
    let mut socket = RouterSocket::new();
    socket.bind(&file.endpoint(name)?).await.with_context(|| format!("cannot listen on {name}"))?;
    let (sender, mut receiver) = socket.split();
    let inbox = inbox.clone();
    tokio::spawn(async move {
        loop {
            match received(&mut receiver).await {
                Some(message) => {
                    if inbox.send(Incoming::Client(channel, message)).await.is_err() {
                        return;
                    }
                }
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    });
    Ok(sender)
}

/// The side on which the kernel is.
pub(crate) struct Kernel {
    shell: DealerSendHalf,
    control: DealerSendHalf,
    stdin: DealerSendHalf,
    readers: Vec<tokio::task::JoinHandle<()>>,
}

impl Kernel {
    /// Waits until the kernel listens, however long that takes, and connects.
    pub(crate) async fn connect(file: &File, inbox: &Inbox) -> Result<Self> {
        // It listens on iopub last. The socket's own way of trying again waits for more than a second.
        while TcpStream::connect((Ipv4Addr::LOCALHOST, file.port("iopub")?)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let mut readers = Vec::new();
        let mut iopub = SubSocket::new();
        iopub.connect(&file.endpoint("iopub")?).await.context("the kernel does not publish")?;
        iopub.subscribe("").await?;
        let sender = inbox.clone();
        readers.push(tokio::spawn(async move {
            while let Ok(message) = iopub.recv().await {
                if sender.send(Incoming::Published(message)).await.is_err() {
                    return;
                }
            }
        }));
        let shell = dealer(file, "shell", Channel::Shell, inbox, &mut readers).await?;
        let control = dealer(file, "control", Channel::Control, inbox, &mut readers).await?;
        let stdin = dealer(file, "stdin", Channel::Stdin, inbox, &mut readers).await?;
        Ok(Self { shell, control, stdin, readers })
    }

    /// False if the kernel is not there any more.
    pub(crate) async fn send(&mut self, channel: Channel, message: ZmqMessage) -> bool {
        let socket = match channel {
            Channel::Shell => &mut self.shell,
            Channel::Control => &mut self.control,
            Channel::Stdin => &mut self.stdin,
        };
        socket.send(message).await.is_ok()
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        self.readers.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

async fn dealer(
    file: &File,
    name: &str,
    channel: Channel,
    inbox: &Inbox,
    readers: &mut Vec<tokio::task::JoinHandle<()>>,
) -> Result<DealerSendHalf> {
    let mut options = SocketOptions::default();
    options.peer_identity(NAME.parse::<PeerIdentity>().expect("the name is short"));
    let mut socket = DealerSocket::with_options(options);
    socket.connect(&file.endpoint(name)?).await.with_context(|| format!("the kernel does not listen on {name}"))?;
    let (sender, mut receiver) = socket.split();
    let inbox = inbox.clone();
    readers.push(tokio::spawn(async move {
        while let Ok(message) = receiver.recv().await {
            if inbox.send(Incoming::Kernel(channel, message)).await.is_err() {
                return;
            }
        }
    }));
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(json: &Value) -> Result<File> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), json.to_string()).unwrap();
        File::read(file.path())
    }

    #[test]
    fn the_kernel_gets_ports_of_its_own_and_the_same_key() {
        let json = json!({"ip": "0.0.0.0", "transport": "tcp", "key": "secret", "shell_port": 1, "iopub_port": 2, "stdin_port": 3,
                          "control_port": 4, "hb_port": 5, "kernel_name": "rust"});
        let given = file(&json).unwrap();
        let kernel = given.for_kernel().unwrap();
        let ports: std::collections::BTreeSet<u16> =
            ["shell", "iopub", "stdin", "control", "hb"].map(|channel| kernel.port(channel).unwrap()).into();
        assert_eq!(ports.len(), 5);
        assert!(ports.iter().all(|port| *port > 5));
        assert_eq!((kernel.key.as_str(), kernel.json["ip"].as_str()), ("secret", Some("127.0.0.1")));
        assert_eq!(given.endpoint("stdin").unwrap(), "tcp://0.0.0.0:3");
    }

    #[test]
    fn another_transport_is_refused_by_name() {
        assert!(file(&json!({"transport": "ipc"})).unwrap_err().to_string().contains("ipc"));
    }
}
