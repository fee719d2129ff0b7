//! A browser that is driven by WebDriver: as much of it as the tests need, in a few requests of JSON.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};

/// The names under which systems have Chromium's driver.
const DRIVERS: [&str; 2] = ["chromedriver", "chromium.chromedriver"];

/// What Chromium is told: no window, nothing that a test does not need, and no look at what this user has.
const ARGUMENTS: [&str; 11] = [
    "--headless=new",
    "--window-size=1440,900",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-device-scale-factor=1",
];

/// The longest that the driver may take to start, or a script to end.
const PATIENCE: Duration = Duration::from_secs(120);

/// A browser with one window. It ends with this value.
#[derive(Debug)]
pub(crate) struct Browser {
    driver: Child,
    agent: ureq::Agent,
    /// The address of its session.
    session: String,
    /// Its profile.
    _profile: tempfile::TempDir,
}

/// The driver's name on this machine, or what is missing.
pub(crate) fn find_driver() -> Option<&'static str> {
    let works = |name: &&str| {
        let mut command = Command::new(name);
        command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    DRIVERS.into_iter().find(works)
}

impl Browser {
    /// Starts a browser.
    pub(crate) fn start(driver: &str) -> Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut command = Command::new(driver);
        command.arg(format!("--port={port}")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let driver = command.spawn().context("cannot start the browser's driver")?;
        let config = ureq::Agent::config_builder().timeout_global(Some(PATIENCE * 2)).http_status_as_error(false);
        let profile = tempfile::tempdir()?;
        let agent = config.build().new_agent();
        let mut browser = Self { driver, agent, session: format!("http://127.0.0.1:{port}"), _profile: profile };
        browser.begin()?;
        Ok(browser)
    }

    fn begin(&mut self) -> Result<()> {
        let started = Instant::now();
        while !self.request("GET", "/status", None).is_ok_and(|status| status["ready"] == true) {
            if started.elapsed() > PATIENCE {
                bail!("the browser's driver did not start");
            }
            thread::sleep(Duration::from_millis(50));
        }
        let mut arguments: Vec<String> = ARGUMENTS.iter().map(|argument| (*argument).to_owned()).collect();
        arguments.push(format!("--user-data-dir={}", self._profile.path().display()));
        // Chromium's own sandbox does not work for root, nor in most containers.
        arguments.push("--no-sandbox".into());
        let capabilities = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": arguments},
            "timeouts": {"script": PATIENCE.as_millis(), "pageLoad": PATIENCE.as_millis()},
            "unhandledPromptBehavior": "accept",
        }}});
        let answer = self.request("POST", "/session", Some(&capabilities)).context("cannot start the browser")?;
        let id = answer["sessionId"].as_str().context("a session has an id")?;
        self.session = format!("{}/session/{id}", self.session);
        Ok(())
    }

    /// Opens an address.
    pub(crate) fn open(&self, url: &str) -> Result<()> {
        self.request("POST", "/url", Some(&json!({"url": url}))).map(drop)
    }

    /// Loads the page again.
    pub(crate) fn reload(&self) -> Result<()> {
        self.request("POST", "/refresh", Some(&json!({}))).map(drop)
    }

    /// What the body of a function returns, or what its promise comes to. It knows `args`.
    pub(crate) fn script(&self, body: &str, arguments: Value) -> Result<Value> {
        // The last argument is what an asynchronous script calls with its result.
        let script = format!(
            "const args = arguments[0]; const done = arguments[1];\
             (async () => {{ {body} }})().then(value => done({{value}}), error => done({{error: String(error && error.stack || error)}}));"
        );
        let answer = self.request("POST", "/execute/async", Some(&json!({"script": script, "args": [arguments]})))?;
        match answer["error"].as_str() {
            Some(error) => Err(anyhow!("in the browser: {error}")),
            None => Ok(answer["value"].clone()),
        }
    }

    /// Presses keys, one after the other. `\u{E008}` holds Shift, and again lets go; `\u{E007}` is Enter.
    pub(crate) fn press(&self, keys: &str) -> Result<()> {
        let (mut actions, mut held) = (Vec::new(), Vec::new());
        for key in keys.chars() {
            let is_modifier = ('\u{E008}'..='\u{E00A}').contains(&key);
            match (is_modifier, held.contains(&key)) {
                (true, false) => {
                    held.push(key);
                    actions.push(json!({"type": "keyDown", "value": key}));
                }
                (true, true) => {
                    held.retain(|other| *other != key);
                    actions.push(json!({"type": "keyUp", "value": key}));
                }
                (false, _) => {
                    actions.push(json!({"type": "keyDown", "value": key}));
                    actions.push(json!({"type": "keyUp", "value": key}));
                }
            }
        }
        self.request("POST", "/actions", Some(&json!({"actions": [{"type": "key", "id": "keys", "actions": actions}]})))?;
        self.request("DELETE", "/actions", None).map(drop)
    }

    /// Gives the page another size, which may be less than a window can have.
    pub(crate) fn resize(&self, width: u32, height: u32) -> Result<()> {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        let command = json!({"cmd": "Emulation.setDeviceMetricsOverride", "params": size});
        self.request("POST", "/goog/cdp/execute", Some(&command)).map(drop)
    }

    /// Writes a picture of the window, for people who look into a failure.
    pub(crate) fn screenshot(&self, path: &Path) -> Result<()> {
        let answer = self.request("GET", "/screenshot", None)?;
        let bytes = data_encoding::BASE64.decode(answer.as_str().unwrap_or_default().as_bytes())?;
        std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
    }

    fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let url = format!("{}{path}", self.session);
        let answer = match (method, body) {
            ("POST", Some(body)) => self.agent.post(&url).send_json(body),
            ("DELETE", _) => self.agent.delete(&url).call(),
            _ => self.agent.get(&url).call(),
        };
        let mut answer = answer.with_context(|| format!("the browser's driver does not answer to {path}"))?;
        let mut value: Value = answer.body_mut().with_config().limit(1 << 30).read_json()?;
        let value = value["value"].take();
        match value["error"].as_str() {
            Some(error) if !answer.status().is_success() => {
                Err(anyhow!("the browser: {error}: {}", value["message"].as_str().unwrap_or_default()))
            }
            _ => Ok(value),
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.request("DELETE", "", None);
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where there is no browser there is nothing to be tested.
    #[test]
    fn a_page_is_opened_asked_and_typed_into() {
        let Some(driver) = find_driver() else { return };
        let browser = Browser::start(driver).unwrap();
        browser.open("data:text/html,<input id='line' autofocus>").unwrap();
        assert_eq!(browser.script("return args.a + 1", json!({"a": 41})).unwrap(), 42);
        assert_eq!(
            browser.script("return await new Promise(done => setTimeout(() => done('late'), 50))", json!(null)).unwrap(),
            "late"
        );
        let error = browser.script("throw new Error('thrown there')", json!(null)).unwrap_err();
        assert!(error.to_string().contains("thrown there"), "{error}");
        browser.script("document.getElementById('line').focus(); return null", json!(null)).unwrap();
        browser.press("a\u{E008}b\u{E008}c").unwrap();
        let typed = browser.script("return document.getElementById('line').value", json!(null)).unwrap();
        assert_eq!(typed.as_str().unwrap().to_lowercase(), "abc");
        let folder = tempfile::tempdir().unwrap();
        browser.screenshot(&folder.path().join("a.png")).unwrap();
        assert!(std::fs::read(folder.path().join("a.png")).unwrap().starts_with(b"\x89PNG"));
    }
}
