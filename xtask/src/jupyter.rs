//! A Jupyter server of our own, and kernels in it: what runs notebooks here is what runs them for readers.
//!
//! ```text
//! runner ── HTTP: start, interrupt, restart, end ──▶ Jupyter server ──▶ kernel
//!        ◀─ WebSocket: cells, and what they show ──▶
//! ```
//!
//! It is the interface that JupyterLab uses, so that limits, interrupts and restarts are the reader's, too.

use std::collections::hash_map::RandomState;
use std::ffi::OsStr;
use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

use crate::installed::Lab;
use crate::outputs::{End, Ran, joined, lines};

/// The longest that a server or a kernel may take to start, or to answer anything but a cell, on a machine with nothing else to do.
const PATIENCE: Duration = Duration::from_secs(180);

/// The server's settings: what it would load for a browser is not needed here.
const SETTINGS: &str = r#"{"ServerApp": {"jpserver_extensions":
    {"jupyterlab": false, "jupyter_lsp": false, "jupyter_server_terminals": false, "notebook_shim": false}}}"#;

/// The longest that an interrupted kernel may take to say that the cell has ended.
const AFTER_INTERRUPT: Duration = Duration::from_secs(30);

/// What a read says that has nothing yet.
const RETRY: [ErrorKind; 3] = [ErrorKind::WouldBlock, ErrorKind::TimedOut, ErrorKind::Interrupted];

/// How often a wait looks at the clock.
const TICK: Duration = Duration::from_millis(100);

/// A Jupyter server that listens on this machine only and ends with this value.
#[derive(Debug)]
pub(crate) struct Server {
    process: Child,
    address: String,
    token: String,
    agent: ureq::Agent,
    root: PathBuf,
    /// What it says: read when it does not start.
    log: PathBuf,
    /// Its settings, its connection files and its log.
    _scratch: tempfile::TempDir,
}

/// A running kernel. It ends with this value.
#[derive(Debug)]
pub(crate) struct Kernel<'a> {
    server: &'a Server,
    id: String,
    session: String,
    socket: WebSocket<TcpStream>,
}

impl Server {
    /// Starts a server whose files are those below `root`, with these variables in its environment and its kernels'.
    pub(crate) fn start(lab: &Lab, root: &Path, environment: &[(&str, &OsStr)]) -> Result<Self> {
        let scratch = tempfile::tempdir()?;
        // Nothing of this user's own settings may change what a notebook shows.
        let folder = |name: &str| -> Result<PathBuf> {
            let folder = scratch.path().join(name);
            std::fs::create_dir(&folder)?;
            Ok(folder)
        };
        let settings = folder("settings")?;
        std::fs::write(settings.join("jupyter_server_config.json"), SETTINGS)?;
        let log = scratch.path().join("log");
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let token = random();
        let mut command = lab.jupyter("jupyter_server");
        command
            .args(["--no-browser", "--ServerApp.ip=127.0.0.1", "--ServerApp.port_retries=0", "--allow-root"])
            .arg(format!("--ServerApp.port={port}"))
            .arg(format!("--ServerApp.root_dir={}", root.display()))
            // Cargo has set it for us. Other programs that start a kernel have not.
            .env_remove("LD_LIBRARY_PATH")
            .env("JUPYTER_TOKEN", &token)
            .env("JUPYTER_CONFIG_DIR", settings)
            .env("JUPYTER_RUNTIME_DIR", folder("runtime")?)
            .env_remove("EVCXR_CONFIG_DIR")
            .env_remove("RUST_BACKTRACE")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?);
        // What Miri says is the same wherever this runs: the verdict that is kept. (`refresh` makes it anew, `check` compares.)
        if std::env::var_os("PINLAB_MIRI").is_none() {
            command.env("PINLAB_MIRI", "kept");
        }
        command.envs(environment.iter().copied());
        let process = command.spawn().context("cannot start a Jupyter server")?;
        let agent = ureq::Agent::config_builder().timeout_global(Some(PATIENCE.mul_f64(crowd()))).build().new_agent();
        let address = format!("127.0.0.1:{port}");
        let mut server = Self { process, address, token, agent, root: root.to_owned(), log, _scratch: scratch };
        server.wait_until_it_answers()?;
        Ok(server)
    }

    /// The number of its process.
    pub(crate) fn process(&self) -> u32 {
        self.process.id()
    }

    fn wait_until_it_answers(&mut self) -> Result<()> {
        let (started, patience) = (Instant::now(), PATIENCE.mul_f64(crowd()));
        while self.get("api/status").is_err() {
            let ended = self.process.try_wait()?;
            if ended.is_some() || started.elapsed() > patience {
                let said = std::fs::read_to_string(&self.log).unwrap_or_default();
                bail!("the Jupyter server did not start:\n{}", said.trim_end());
            }
            thread::sleep(TICK);
        }
        Ok(())
    }

    /// A notebook as a browser gets it.
    pub(crate) fn contents(&self, path: &str) -> Result<Value> {
        self.get(&format!("api/contents/{path}"))
    }

    /// Starts a kernel whose working folder is `folder`, below the server's.
    pub(crate) fn kernel(&self, folder: &Path) -> Result<Kernel<'_>> {
        let below = folder.strip_prefix(&self.root).context("the notebook is not in the server's folder")?;
        // The path is one of a notebook in it: the kernel starts in its folder.
        let path = below.join("a.ipynb").to_string_lossy().replace('\\', "/");
        let answer = self.post("api/kernels", &json!({"name": "rust", "path": path}))?;
        let id = answer["id"].as_str().context("a kernel has an id")?.to_owned();
        let session = random();
        let socket = self.connect(&id, &session)?;
        let mut kernel = Kernel { server: self, id, session, socket };
        kernel.wait_until_ready()?;
        Ok(kernel)
    }

    fn connect(&self, id: &str, session: &str) -> Result<WebSocket<TcpStream>> {
        let url = format!("ws://{}/api/kernels/{id}/channels?session_id={session}", self.address);
        let mut request = url.into_client_request()?;
        request.headers_mut().insert("Authorization", format!("token {}", self.token).parse()?);
        let stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(PATIENCE.mul_f64(crowd())))?;
        let (socket, _) =
            tungstenite::client(request, stream).map_err(|error| anyhow!("no connection to the kernel: {error}"))?;
        socket.get_ref().set_read_timeout(Some(TICK))?;
        Ok(socket)
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    fn get(&self, path: &str) -> Result<Value> {
        let request = self.agent.get(self.url(path)).header("Authorization", format!("token {}", self.token));
        Ok(request.call()?.body_mut().read_json()?)
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let request = self.agent.post(self.url(path)).header("Authorization", format!("token {}", self.token));
        let text = request.send_json(body).with_context(|| format!("the Jupyter server refused {path}"))?;
        let text = text.into_body().read_to_string()?;
        Ok(if text.is_empty() { Value::Null } else { serde_json::from_str(&text)? })
    }

    fn delete(&self, path: &str) -> Result<()> {
        let request = self.agent.delete(self.url(path)).header("Authorization", format!("token {}", self.token));
        request.call()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let asked = self.post("api/shutdown", &json!({}));
        let started = Instant::now();
        while asked.is_ok() && started.elapsed() < Duration::from_secs(10) {
            if !matches!(self.process.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(TICK);
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Kernel<'_> {
    /// Runs a cell to its end, or to its limit. `id` is the one that the cell has in its notebook. The limit is for a machine that has
    /// nothing else to do: on a busy one it is longer.
    pub(crate) fn run(&mut self, code: &str, id: &str, limit: Duration) -> Result<Ran> {
        self.run_until(code, id, limit, |_| false)
    }

    /// The same, and interrupts the cell as soon as `interrupt`, which is given the time that it has run, says so.
    pub(crate) fn run_until(
        &mut self,
        code: &str,
        id: &str,
        limit: Duration,
        mut interrupt: impl FnMut(Duration) -> bool,
    ) -> Result<Ran> {
        let content = json!({
            "code": code, "silent": false, "store_history": true, "user_expressions": {},
            "allow_stdin": false, "stop_on_error": false,
        });
        let request = self.send("execute_request", content, json!({"cellId": id}))?;
        let started = Instant::now();
        let limit = limit.mul_f64(crowd());
        let mut outputs = Outputs::default();
        let (mut replied, mut idle) = (false, false);
        let mut interrupted: Option<Instant> = None;
        let mut end = End::Reply;
        while !(replied && idle) {
            let message = match self.read() {
                Ok(message) => message,
                Err(error) => {
                    end = End::Death(format!("{error:#}"));
                    break;
                }
            };
            match (interrupted, started.elapsed()) {
                (None, elapsed) if elapsed >= limit || interrupt(elapsed) => {
                    if elapsed >= limit {
                        end = End::TooLate;
                    }
                    interrupted = Some(Instant::now());
                    self.interrupt()?;
                }
                (Some(since), _) if since.elapsed() > AFTER_INTERRUPT.mul_f64(crowd()) => {
                    end = End::Death("it was interrupted and did not answer".into());
                    break;
                }
                _ => {}
            }
            let Some(message) = message else { continue };
            let (kind, content) = (message["msg_type"].as_str().unwrap_or_default(), &message["content"]);
            let state = content["execution_state"].as_str().unwrap_or_default();
            if kind == "status" && ["restarting", "autorestarting", "dead"].contains(&state) {
                end = End::Death(format!("the server says that it is {state}"));
                break;
            }
            if message["parent_header"]["msg_id"] != request.as_str() {
                continue;
            }
            match kind {
                "execute_reply" => replied = true,
                "status" if state == "idle" => idle = true,
                _ => outputs.take(kind, content),
            }
        }
        Ok(Ran { outputs: outputs.0, seconds: started.elapsed().as_secs_f64(), end })
    }

    /// What the button ■ does.
    pub(crate) fn interrupt(&self) -> Result<()> {
        self.server.post(&format!("api/kernels/{}/interrupt", self.id), &json!({}))?;
        Ok(())
    }

    /// A fresh kernel in this one's place.
    pub(crate) fn restart(&mut self) -> Result<()> {
        let _ = self.socket.close(None);
        self.server.post(&format!("api/kernels/{}/restart", self.id), &json!({}))?;
        self.session = random();
        self.socket = self.server.connect(&self.id, &self.session)?;
        self.wait_until_ready()
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let request = self.send("kernel_info_request", json!({}), json!({}))?;
        let (started, patience) = (Instant::now(), PATIENCE.mul_f64(crowd()));
        loop {
            let message = self.read()?.unwrap_or_default();
            if message["msg_type"] == "kernel_info_reply" && message["parent_header"]["msg_id"] == request.as_str() {
                return Ok(());
            }
            ensure!(started.elapsed() < patience, "the kernel did not start within {} s", patience.as_secs());
        }
    }

    fn send(&mut self, kind: &str, content: Value, metadata: Value) -> Result<String> {
        let id = random();
        let header = json!({
            "msg_id": id, "msg_type": kind, "username": "verify", "session": self.session,
            "date": humantime::format_rfc3339_micros(SystemTime::now()).to_string(), "version": "5.3",
        });
        let message = json!({
            "header": header, "parent_header": {}, "metadata": metadata, "content": content,
            "channel": "shell", "buffers": [],
        });
        self.socket.send(Message::text(message.to_string()))?;
        Ok(id)
    }

    /// The next message, if there is one within a [`TICK`].
    fn read(&mut self) -> Result<Option<Value>> {
        match self.socket.read() {
            Ok(Message::Text(text)) => Ok(Some(serde_json::from_str(&text)?)),
            Ok(_) => Ok(None),
            Err(tungstenite::Error::Io(error)) if RETRY.contains(&error.kind()) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Kernel<'_> {
    fn drop(&mut self) {
        let _ = self.socket.close(None);
        let _ = self.server.delete(&format!("api/kernels/{}", self.id));
    }
}

/// The outputs of one cell, put together from messages.
#[derive(Debug, Default)]
struct Outputs(Vec<Value>);

impl Outputs {
    fn take(&mut self, kind: &str, content: &Value) {
        match kind {
            "stream" => self.stream(content["name"].as_str().unwrap_or_default(), &joined(&content["text"])),
            "display_data" => self.0.push(json!({
                "output_type": kind, "data": data(&content["data"]), "metadata": content["metadata"],
            })),
            "execute_result" => self.0.push(json!({
                "output_type": kind, "data": data(&content["data"]), "metadata": content["metadata"],
                "execution_count": content["execution_count"],
            })),
            "error" => self.0.push(json!({
                "output_type": kind, "ename": content["ename"], "evalue": content["evalue"], "traceback": content["traceback"],
            })),
            "clear_output" => self.0.clear(),
            _ => {}
        }
    }

    fn stream(&mut self, name: &str, text: &str) {
        match self.0.last_mut() {
            Some(last) if last["output_type"] == "stream" && last["name"] == name => {
                last["text"] = lines(&(joined(&last["text"]) + text));
            }
            _ => self.0.push(json!({"output_type": "stream", "name": name, "text": lines(text)})),
        }
    }
}

/// Texts as lists of lines, which is how notebooks keep them.
fn data(data: &Value) -> Value {
    let entries = data.as_object().into_iter().flatten();
    let kept = |value: &Value| value.as_str().map_or_else(|| value.clone(), lines);
    entries.map(|(mime, value)| (mime.clone(), kept(value))).collect::<serde_json::Map<_, _>>().into()
}

/// How many programs want each core, at least 1; only Linux tells.
pub(crate) fn crowd() -> f64 {
    let load = std::fs::read_to_string("/proc/loadavg").ok().and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    let cores = thread::available_parallelism().map_or(1, usize::from) as f64;
    load.map_or(1.0, |load| (load / cores).clamp(1.0, 20.0))
}

/// A word that nobody else has: of the numbers that the standard library keeps its hash maps safe with.
fn random() -> String {
    let number = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", number(), number())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_become_the_outputs_that_a_notebook_keeps() {
        let mut outputs = Outputs::default();
        for (kind, content) in [
            ("stream", json!({"name": "stdout", "text": "one\ntw"})),
            ("stream", json!({"name": "stdout", "text": "o\n"})),
            ("stream", json!({"name": "stderr", "text": "three\n"})),
            ("execute_result", json!({"data": {"text/plain": "4\n5"}, "metadata": {}, "execution_count": 7, "transient": {}})),
            ("status", json!({"execution_state": "busy"})),
        ] {
            outputs.take(kind, &content);
        }
        let expected = json!([
            {"output_type": "stream", "name": "stdout", "text": ["one\n", "two\n"]},
            {"output_type": "stream", "name": "stderr", "text": ["three\n"]},
            {"output_type": "execute_result", "data": {"text/plain": ["4\n", "5"]}, "metadata": {}, "execution_count": 7},
        ]);
        assert_eq!(Value::Array(outputs.0.clone()), expected);
        outputs.take("clear_output", &json!({}));
        assert!(outputs.0.is_empty());
    }

    #[test]
    fn random_words_differ() {
        assert_ne!(random(), random());
        assert_eq!(random().len(), 32);
    }
}
