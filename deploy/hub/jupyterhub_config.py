# A class on one machine: each student is a user of the system, the lab is installed once. `docs/classroom.md` says how to set it up.
import os

c = get_config()  # noqa: F821

root = "/opt/pinlab"
state = os.environ.get("PINLAB_HUB", "/var/lib/pinlab-hub")

# To be reached from outside, put a proxy with a certificate before it, or set `c.JupyterHub.ssl_key` and `ssl_cert` and another address.
c.JupyterHub.bind_url = os.environ.get("PINLAB_HUB_URL", "http://127.0.0.1:8000")
c.JupyterHub.cookie_secret_file = f"{state}/cookie-secret"
c.JupyterHub.db_url = f"sqlite:///{state}/hub.sqlite"
c.ConfigurableHTTPProxy.pid_file = f"{state}/proxy.pid"

# Who is a user of this system and in the group `students` may come in, with their password.
c.JupyterHub.authenticator_class = "pam"
c.PAMAuthenticator.allowed_groups = {"students"}
c.PAMAuthenticator.open_sessions = False

c.JupyterHub.spawner_class = "localprocess"
c.Spawner.cmd = [f"{root}/course/deploy/student-server"]
c.Spawner.notebook_dir = "~/pinlab/my-notebooks"
c.Spawner.default_url = "/lab/tree/00-start-here.ipynb"
c.Spawner.env_keep = ["PATH", "LANG"]
c.Spawner.start_timeout = 120
c.Spawner.http_timeout = 120

# One open notebook takes two thirds of a gigabyte: servers that nobody has used for an hour end, and with them their kernels.
c.JupyterHub.services = [
    {
        "name": "cull-idle",
        "command": ["python3", "-m", "jupyterhub_idle_culler", "--timeout=3600", "--cull-every=300"],
    }
]
c.JupyterHub.load_roles = [
    {
        "name": "cull-idle",
        "scopes": ["list:users", "read:users:activity", "read:servers", "delete:servers"],
        "services": ["cull-idle"],
    }
]
