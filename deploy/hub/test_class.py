"""A class, tried: three students run a notebook at the same time to its end, a fourth breaks the kernel again and again.

    sudo /opt/pinlab/hub/bin/python deploy/hub/test_class.py [NOTEBOOK]

It starts the hub of `jupyterhub_config.py` on ports of its own, with passwords of its own, for four users of the system that it makes and
removes (pinlab-test-1 to -4). It prints one line for each thing that must hold, and what each student's processes took.
"""

import json
import os
import pathlib
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid

import requests
import websocket

HERE = pathlib.Path(__file__).resolve().parent
NOTEBOOK = sys.argv[1] if len(sys.argv) > 1 else "02-inside-an-async-fn.ipynb"
USERS = [f"pinlab-test-{number}" for number in (1, 2, 3, 4)]
HUB, API, PROXY = 18000, 18081, 18001
TOKEN = secrets.token_hex(16)
URL = f"http://127.0.0.1:{HUB}"

CONFIG = f"""
exec(open({str(HERE / "jupyterhub_config.py")!r}).read())
c.JupyterHub.bind_url = "{URL}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{API}"
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{PROXY}"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.services = [{{"name": "test", "api_token": "{TOKEN}"}}]
c.JupyterHub.load_roles = [{{"name": "test", "scopes": ["admin:users", "admin:servers", "access:servers"], "services": ["test"]}}]
"""

# What the fourth does. The kernel must answer to each that it has ended, in whatever way, and to the next.
BREAKS = [
    "std::process::abort()",
    "unsafe { std::ptr::null_mut::<u8>().write_volatile(1) }",
    "fn down(n: u64) -> u64 { if n == 0 { 0 } else { 1 + std::hint::black_box(down(std::hint::black_box(n + 1))) } } down(1)",
    "std::process::exit(3)",
    "let all: Vec<Vec<u8>> = (0..).map(|_| vec![1; 1 << 28]).take(2).collect(); panic!(\"{}\", all.len())",
    "this is no Rust",
]

failed = 0


def say(held, what):
    global failed
    failed += not held
    print("ok    " if held else "FAILED", what, flush=True)


def api(method, path, **options):
    answer = requests.request(method, f"{URL}/{path}", headers={"Authorization": f"token {TOKEN}"}, timeout=60, **options)
    answer.raise_for_status()
    return answer.json() if answer.content else None


def wait(what, until, seconds=240):
    started = time.time()
    while time.time() - started < seconds:
        try:
            found = until()
            if found:
                return found
        except requests.RequestException:
            pass
        time.sleep(0.5)
    raise TimeoutError(what)


class Kernel:
    def __init__(self, user):
        self.user = user
        self.id = api("POST", f"user/{user}/api/kernels", json={"name": "rust"})["id"]
        self.session = uuid.uuid4().hex
        self.socket = websocket.create_connection(
            f"ws://127.0.0.1:{HUB}/user/{user}/api/kernels/{self.id}/channels?session_id={self.session}",
            header=[f"Authorization: token {TOKEN}"],
            timeout=600,
        )

    def run(self, code):
        """The status of the reply, and the text of all outputs."""
        request = uuid.uuid4().hex
        header = {"msg_id": request, "msg_type": "execute_request", "username": self.user, "session": self.session, "version": "5.3", "date": ""}
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False, "stop_on_error": False}
        self.socket.send(json.dumps({"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell", "buffers": []}))
        status, idle, text = None, False, ""
        while status is None or not idle:
            message = json.loads(self.socket.recv())
            if message["parent_header"].get("msg_id") != request:
                continue
            content = message["content"]
            if message["msg_type"] == "execute_reply":
                status = content["status"]
            elif message["msg_type"] == "status":
                idle = content["execution_state"] == "idle"
            elif message["msg_type"] == "stream":
                text += content["text"]
            elif message["msg_type"] == "error":
                text += "\n".join(content["traceback"])
            elif "data" in content:
                text += content["data"].get("text/plain", "")
        return status, text


def study(user, results):
    """All cells of the notebook, as the student's own copy has them."""
    started = time.time()
    notebook = api("GET", f"user/{user}/api/contents/{NOTEBOOK}")["content"]
    kernel, wrong, first = Kernel(user), [], None
    for cell in (cell for cell in notebook["cells"] if cell["cell_type"] == "code"):
        status, text = kernel.run(cell["source"])
        first = first or time.time() - started
        meant_to_fail = "raises-exception" in cell["metadata"].get("tags", [])
        if (status == "ok") == meant_to_fail:
            wrong.append(f"{cell['source'].splitlines()[0]}: {status}: {text[:300]}")
    results[user] = (wrong, first, time.time() - started, kernel)


def disturb(user, results, stop):
    kernel, wrong, rounds, breaks = Kernel(user), [], 0, 0
    while not stop.is_set() or rounds == 0:
        for code in BREAKS:
            kernel.run(code)
            breaks += 1
            status, text = kernel.run('println!("{}", 6 * 7);')
            if status != "ok" or "42" not in text:
                wrong.append(f"after {code}: {status}: {text[:200]}")
            if stop.is_set() and rounds:
                break
        rounds += 1
    results[user] = (wrong, breaks, kernel)


def processes(user):
    """Each process of a user: what it is, the most memory that it has had, in MiB, and its number."""
    uid = int(subprocess.check_output(["id", "-u", user]))
    found = []
    for status in pathlib.Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
            if int(re.search(r"^Uid:\s+(\d+)", text, re.M)[1]) != uid:
                continue
            most = int((re.search(r"^VmHWM:\s+(\d+)", text, re.M) or [0, 0])[1]) / 1024
            line = status.with_name("cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            name = "server" if "jupyterhub-singleuser" in line else re.search(r"^Name:\s+(.*)", text, re.M)[1]
            found.append((name, round(most), int(status.parent.name)))
        except OSError:
            pass
    return found


def main():
    for user in USERS:
        subprocess.run(["useradd", "--create-home", "--shell", "/bin/sh", user], check=True)
    state = pathlib.Path(tempfile.mkdtemp(prefix="pinlab-hub."))
    # The hub starts its proxy by name; docs/classroom.md installs both here, and sudo has a search path of its own.
    path = f"/opt/pinlab/hub/bin:/opt/pinlab/proxy/node_modules/.bin:{os.environ['PATH']}"
    (state / "config.py").write_text(CONFIG)
    hub = subprocess.Popen(
        [str(pathlib.Path(sys.executable).with_name("jupyterhub")), "-f", str(state / "config.py")],
        cwd=state,
        env={**os.environ, "PATH": path, "PINLAB_HUB": str(state)},
        stdout=open(state / "log", "w"),
        stderr=subprocess.STDOUT,
    )
    try:
        wait("the hub", lambda: api("GET", "hub/api/"))
        for user in USERS:
            api("POST", f"hub/api/users/{user}")
            requests.post(f"{URL}/hub/api/users/{user}/server", headers={"Authorization": f"token {TOKEN}"}, timeout=60).raise_for_status()
        for user in USERS:
            wait(f"the server of {user}", lambda: api("GET", f"hub/api/users/{user}")["servers"].get("", {}).get("ready"))
            wait(f"the server of {user}", lambda: api("GET", f"user/{user}/api/status"))
        say(True, "four servers are up")

        results, stop = {}, threading.Event()
        last = threading.Thread(target=disturb, args=(USERS[3], results, stop))
        studies = [threading.Thread(target=study, args=(user, results)) for user in USERS[:3]]
        for thread in [*studies, last]:
            thread.start()
        for thread in studies:
            thread.join()
        took = {user: processes(user) for user in USERS}
        stop.set()
        last.join()
        for user in USERS[:3]:
            wrong, first, seconds, _ = results.get(user, (["it did not come to its end"], 0, 0, None))
            say(not wrong, f"{user} has run {NOTEBOOK}: first cell {first:.0f} s, all {seconds:.0f} s")
            print("".join(f"       {line}\n" for line in wrong), end="")
        wrong, breaks, _ = results.get(USERS[3], (["it did not come to its end"], 0, None))
        say(not wrong, f"{USERS[3]} has broken the kernel {breaks} times, and it went on each time")
        print("".join(f"       {line}\n" for line in wrong), end="")

        # Each has a copy of their own, which nobody else may read.
        api("PATCH", f"user/{USERS[0]}/api/contents/{NOTEBOOK}", json={"path": "mine.ipynb"})
        names = [entry["name"] for entry in api("GET", f"user/{USERS[1]}/api/contents/")["content"]]
        say(NOTEBOOK in names and "mine.ipynb" not in names, "what one renames, the others still have")
        spied = subprocess.run(["su", USERS[1], "-c", f"cat ~{USERS[0]}/pinlab/my-notebooks/*"], capture_output=True)
        say(spied.returncode != 0, "nobody reads another one's copy")
        shared = subprocess.run(["su", USERS[0], "-c", "touch /opt/pinlab/course/x || touch /opt/pinlab/store/x"], capture_output=True)
        say(shared.returncode != 0, "nobody writes into what all share")
        for user, found in took.items():
            print(f"       {user}: " + ", ".join(f"{name} {most} MiB" for name, most, _ in sorted(found)))

        for user in USERS:
            requests.delete(f"{URL}/hub/api/users/{user}/server", headers={"Authorization": f"token {TOKEN}"}, timeout=120).raise_for_status()
        gone = wait("the ends", lambda: not any(processes(user) for user in USERS), 60)
        say(gone, "no process of theirs is left when their servers have ended")
    except Exception as error:
        say(False, f"{type(error).__name__}: {error}")
        print((state / "log").read_text()[-4000:])
    finally:
        hub.send_signal(signal.SIGINT)
        try:
            hub.wait(60)
        except subprocess.TimeoutExpired:
            hub.kill()
        for user in USERS:
            left = processes(user)
            if left:
                print(f"       left of {user}: {left}")
                for *_, process in left:
                    os.kill(process, signal.SIGKILL)
                time.sleep(0.5)
            subprocess.run(["userdel", "--remove", user], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(state, ignore_errors=True)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
