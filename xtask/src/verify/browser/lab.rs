//! JupyterLab with a notebook open in it, and what a reader does there.

use std::cell::RefCell;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::webdriver::Browser;
use crate::installed::Lab;
use crate::jupyter::crowd;
use crate::notebook::Notebook;

/// The longest that JupyterLab, or a kernel, may take to be ready.
const START: Duration = Duration::from_secs(180);

/// The longest that a whole notebook may take.
const RUN: Duration = Duration::from_secs(600);

/// How often a wait looks.
const TICK: Duration = Duration::from_millis(250);

/// JupyterLab on a folder. It ends with this value.
#[derive(Debug)]
pub(super) struct Jupyter {
    process: Child,
    address: String,
    token: String,
    _scratch: tempfile::TempDir,
}

impl Jupyter {
    /// Starts it as `cargo lab` does, but with settings of its own, so that nothing of this user's changes what is seen.
    pub(super) fn start(lab: &Lab, project: &Path, folder: &Path) -> Result<Self> {
        let scratch = tempfile::tempdir()?;
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let token = "browser-test".to_owned();
        let mut command: Command = crate::lab::command(lab, project, folder);
        command
            .args(["--no-browser", "--allow-root", "--LabApp.expose_app_in_browser=True", "--ServerApp.port_retries=0"])
            .arg(format!("--ServerApp.port={port}"))
            .env("JUPYTER_TOKEN", &token)
            .env("JUPYTER_CONFIG_DIR", scratch.path().join("settings"))
            .env("JUPYTER_DATA_DIR", scratch.path().join("data"))
            .env("JUPYTER_RUNTIME_DIR", scratch.path().join("runtime"))
            .env("JUPYTERLAB_SETTINGS_DIR", scratch.path().join("user-settings"))
            .env("JUPYTERLAB_WORKSPACES_DIR", scratch.path().join("workspaces"))
            .env_remove("RUST_BACKTRACE")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = command.spawn().context("cannot start JupyterLab")?;
        Ok(Self { process, address: format!("http://127.0.0.1:{port}"), token, _scratch: scratch })
    }
}

impl Jupyter {
    /// It answers nobody without its token, and nobody who has come by another host's name.
    pub(super) fn refuses_strangers(&self) -> Result<()> {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        let url = format!("{}/api/contents", self.address);
        let own = agent.get(&url).header("Authorization", format!("token {}", self.token)).call()?;
        ensure!(own.status() == 200, "with the token it says {}", own.status());
        let without = agent.get(&url).call()?;
        ensure!(without.status() == 403, "without the token it says {}", without.status());
        let renamed = agent
            .get(&url)
            .header("Authorization", format!("token {}", self.token))
            .header("Host", "somewhere.example")
            .call()?;
        ensure!(renamed.status() == 403, "for another host it says {}", renamed.status());
        Ok(())
    }
}

impl Drop for Jupyter {
    fn drop(&mut self) {
        let url = format!("{}/api/shutdown?token={}", self.address, self.token);
        let asked = ureq::post(&url).header("Authorization", format!("token {}", self.token)).send_empty();
        let started = Instant::now();
        while asked.is_ok() && started.elapsed() < Duration::from_secs(15) {
            if !matches!(self.process.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(TICK);
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The page. Scripts know `app`, which is JupyterLab, and `panel`, which is the open notebook.
#[derive(Debug)]
pub(super) struct Page<'a> {
    browser: &'a Browser,
    jupyter: &'a Jupyter,
    /// The name of the open notebook.
    open: RefCell<String>,
}

impl<'a> Page<'a> {
    /// Opens JupyterLab.
    pub(super) fn new(browser: &'a Browser, jupyter: &'a Jupyter) -> Result<Self> {
        let page = Self { browser, jupyter, open: RefCell::default() };
        page.load()?;
        Ok(page)
    }

    fn load(&self) -> Result<()> {
        let started = Instant::now();
        let url = format!("{}/lab?token={}", self.jupyter.address, self.jupyter.token);
        loop {
            let ready = self.browser.open(&url).and_then(|()| self.browser.script("return !!window.jupyterapp", json!(null)));
            if ready.is_ok_and(|ready| ready == true) {
                break;
            }
            ensure!(started.elapsed() < START.mul_f64(crowd()), "JupyterLab does not open");
            thread::sleep(TICK);
        }
        self.browser.script("await window.jupyterapp.restored; return null", json!(null)).map(drop)
    }

    /// Runs a script that may use `app`, `panel` and `args`.
    pub(super) fn script(&self, body: &str, args: Value) -> Result<Value> {
        let name = self.open.borrow().clone();
        let found = format!(
            "const app = window.jupyterapp;
             let panel = null;
             for (const widget of app.shell.widgets('main')) {{
                if (widget.context && widget.context.path === {} && widget.content && widget.content.model) panel = widget;
             }}
             {body}",
            json!(format!("{name}.ipynb"))
        );
        self.browser.script(&found, args)
    }

    /// Gives the page another width, in CSS pixels.
    pub(super) fn resize(&self, width: u32) -> Result<()> {
        self.browser.resize(width, 1000)
    }

    /// Waits until a script says `true`.
    fn wait(&self, what: &str, limit: Duration, body: &str, args: &Value) -> Result<()> {
        let started = Instant::now();
        let mut last = String::new();
        loop {
            match self.script(body, args.clone()) {
                Ok(Value::Bool(true)) => return Ok(()),
                Ok(_) => {}
                Err(error) => last = format!(": {error:#}"),
            }
            if started.elapsed() > limit.mul_f64(crowd()) {
                bail!("{what} did not happen within {:.0} s{last}", started.elapsed().as_secs_f64());
            }
            thread::sleep(TICK);
        }
    }

    /// Opens a notebook, and waits for its kernel.
    pub(super) fn open(&self, name: &str) -> Result<()> {
        *self.open.borrow_mut() = name.to_owned();
        self.script(
            "await app.commands.execute('docmanager:open', {path: args, factory: 'Notebook'}); return null",
            json!(format!("{name}.ipynb")),
        )?;
        let ready = "if (!panel) return false; await panel.context.ready; await panel.sessionContext.ready; return true";
        self.wait("the opening of the notebook", START, ready, &json!(null))?;
        self.wait_until_idle()
    }

    /// Closes the notebook, and ends its kernel.
    pub(super) fn close(&self) -> Result<()> {
        self.script(
            "if (!panel) return null;
             await panel.context.save();
             await panel.sessionContext.shutdown();
             panel.dispose();
             return null",
            json!(null),
        )
        .map(drop)
    }

    /// Loads the page again, as a reader does who presses F5.
    pub(super) fn reload(&self, name: &str) -> Result<()> {
        self.browser.reload()?;
        self.load()?;
        self.open(name)
    }

    pub(super) fn wait_until_idle(&self) -> Result<()> {
        let idle = "const kernel = panel && panel.sessionContext.session && panel.sessionContext.session.kernel;
                    return !!kernel && kernel.status === 'idle'";
        self.wait("an idle kernel", START, idle, &json!(null))
    }

    /// Whether there is something to be saved.
    pub(super) fn is_dirty(&self) -> Result<bool> {
        // What changes a notebook that is opened comes after a moment: the kernel names its language.
        thread::sleep(Duration::from_secs(1));
        Ok(self.script("return panel.context.model.dirty", json!(null))? == true)
    }

    /// Begins what "Run All Cells" does.
    pub(super) fn start_run_all(&self) -> Result<()> {
        self.script("app.shell.activateById(panel.id); app.commands.execute('notebook:run-all-cells'); return null", json!(null))
            .map(drop)
    }

    /// Runs all cells to their end. JupyterLab's own promise is kept or broken at the first cell that fails, tagged or not, while the others go on: so each
    /// cell is asked for its number.
    pub(super) fn run_all(&self) -> Result<()> {
        self.script("panel.content.widgets.forEach(cell => { if (cell.model.type === 'code') cell.model.sharedModel.execution_count = null }); return null", json!(null))?;
        self.start_run_all()?;
        let all_have_run =
            "return panel.content.widgets.every(cell => cell.model.type !== 'code' || !cell.model.sharedModel.source.trim()
            || (cell.model.sharedModel.execution_count && cell.model.executionState !== 'running'))";
        self.wait("the end of Run All", RUN, all_have_run, &json!(null))?;
        self.wait_until_idle()
    }

    /// The notebook as the page has it.
    pub(super) fn notebook(&self, committed: &Notebook) -> Result<Notebook> {
        let json = self.script("return panel.content.model.toJSON()", json!(null))?;
        Notebook::parse(&committed.path, &json.to_string())
    }

    /// The numbers of those cells that have a picture which is not to be seen.
    pub(super) fn pictures_that_are_not_there(&self) -> Result<Vec<u64>> {
        let missing = self.script(
            "const missing = [];
             let number = 0;
             for (const cell of panel.content.widgets) {
                if (cell.model.type !== 'code') continue;
                number += 1;
                const outputs = cell.model.outputs.toJSON();
                if (!outputs.some(output => output.data && output.data['image/svg+xml'])) continue;
                await panel.content.scrollToCell(cell);
                let there = false;
                for (let tries = 0; tries < 40 && !there; tries++) {
                    const found = cell.node.querySelectorAll('.jp-OutputArea-output img, .jp-OutputArea-output svg');
                    there = [...found].some(picture => {
                        const box = picture.getBoundingClientRect();
                        return box.width > 50 && box.height > 20 && (picture.naturalWidth === undefined || picture.naturalWidth > 0);
                    });
                    if (!there) await new Promise(resolve => setTimeout(resolve, 50));
                }
                if (!there) missing.push(number);
             }
             return missing",
            json!(null),
        )?;
        Ok(missing.as_array().into_iter().flatten().filter_map(Value::as_u64).collect())
    }

    /// Adds a cell at the end, types `code` into it, and runs it with Shift+Enter; what it shows.
    pub(super) fn type_and_run(&self, code: &str) -> Result<String> {
        self.type_new(code)?;
        self.browser.press("\u{E008}\u{E007}\u{E008}")?;
        self.said_at_last()
    }

    /// The same, and interrupts it after a second.
    pub(super) fn type_run_and_interrupt(&self, code: &str) -> Result<String> {
        self.type_new(code)?;
        self.browser.press("\u{E008}\u{E007}\u{E008}")?;
        let busy = "return panel.sessionContext.session.kernel.status === 'busy'";
        self.wait("a busy kernel", START, busy, &json!(null))?;
        // It is compiled first.
        thread::sleep(Duration::from_secs(3));
        self.script("await app.commands.execute('notebook:interrupt-kernel'); return null", json!(null))?;
        self.said_at_last()
    }

    /// Runs cells that are in no notebook, each `[code, stdout, stderr]`; those that show something else, and what.
    pub(super) fn run_aside(&self, cells: Value) -> Result<Value> {
        self.script(
            "const kernel = panel.sessionContext.session.kernel;
             const wrong = [];
             for (const [code, stdout, stderr] of args) {
                const said = {stdout: '', stderr: '', other: ''};
                const future = kernel.requestExecute({code, stop_on_error: false});
                future.onIOPub = message => {
                    const kind = message.header.msg_type;
                    if (kind === 'stream') said[message.content.name] += message.content.text;
                    else if (['error', 'display_data', 'execute_result'].includes(kind)) said.other += JSON.stringify(message.content);
                };
                await future.done;
                if (said.stdout !== stdout || said.stderr !== stderr || said.other !== '') wrong.push({code, said});
             }
             return wrong",
            cells,
        )
    }

    fn type_new(&self, code: &str) -> Result<()> {
        self.script(
            "app.shell.activateById(panel.id);
             panel.content.activeCellIndex = panel.content.widgets.length - 1;
             await app.commands.execute('notebook:insert-cell-below');
             panel.content.mode = 'edit';
             await panel.content.scrollToCell(panel.content.activeCell);
             await panel.content.activeCell.ready;
             panel.content.activeCell.editor.focus();
             window.pinlabCell = panel.content.activeCell.model.id;
             return null",
            json!(null),
        )?;
        self.browser.press(&code.replace('\n', "\u{E007}"))?;
        // Indentation, and brackets that close themselves, are the editor's; what counts here is that keys arrive.
        let typed = self.script("return panel.content.activeCell.model.sharedModel.getSource()", json!(null))?;
        let typed = typed.as_str().unwrap_or_default();
        let bare = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
        ensure!(bare(typed) == bare(code), "typed was\n{code}\nbut the cell has\n{typed}");
        self.script("panel.content.activeCell.model.sharedModel.setSource(args); return null", json!(code)).map(drop)
    }

    /// Takes away what was typed last.
    pub(super) fn empty_last(&self) -> Result<()> {
        let empty = "panel.content.widgets.find(cell => cell.model.id === window.pinlabCell).model.sharedModel.setSource(''); return null";
        self.script(empty, json!(null)).map(drop)
    }

    /// What the cell shows that was typed last, once it has run.
    fn said_at_last(&self) -> Result<String> {
        let cell = "const cell = panel.content.widgets.find(cell => cell.model.id === window.pinlabCell);";
        let done = format!("{cell} return cell.model.executionState === 'idle' && cell.model.executionCount !== null");
        self.wait("the end of the cell", RUN, &done, &json!(null))?;
        let said = self.script(&format!("{cell} return cell.outputArea.node.textContent"), json!(null))?;
        Ok(said.as_str().unwrap_or_default().to_owned())
    }

    /// Runs the cell at `index` of all, with another source if one is given; what it shows.
    pub(super) fn replace_and_run(&self, index: usize, source: Option<&str>) -> Result<String> {
        self.script(
            "app.shell.activateById(panel.id);
             panel.content.activeCellIndex = args.index;
             const cell = panel.content.activeCell;
             if (args.source !== null) cell.model.sharedModel.setSource(args.source);
             window.pinlabCell = cell.model.id;
             cell.model.executionCount = null;
             await app.commands.execute('notebook:run-cell');
             return null",
            json!({"index": index, "source": source}),
        )?;
        self.said_at_last()
    }

    /// "Restart Kernel", and yes.
    pub(super) fn restart(&self) -> Result<()> {
        self.script("await panel.sessionContext.session.kernel.restart(); return null", json!(null))?;
        self.wait_until_idle()
    }

    /// Changes the theme, and waits until it is drawn.
    pub(super) fn set_theme(&self, theme: &str) -> Result<()> {
        self.script(
            "await app.commands.execute('apputils:change-theme', {theme: args});
             for (let tries = 0; tries < 100 && document.body.dataset.jpThemeName !== args; tries++)
                await new Promise(resolve => setTimeout(resolve, 100));
             if (document.body.dataset.jpThemeName !== args) throw new Error('the theme does not change');
             await new Promise(resolve => setTimeout(resolve, 500));
             return null",
            json!(theme),
        )
        .map(drop)
    }
}
