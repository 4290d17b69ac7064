# SPDX-License-Identifier: MIT
"""Hosts of a tailnet that is none (tailnet_hosts.py), driven from one place as an operator does:
`init.py ... --hosts` from a checkout of its own, with an `ssh` that enters their namespaces."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from ring import BUILD, ROOT, until
from tailnet_hosts import Tailnet

VERB_TIMEOUT_S = 600
SECRETS = {"RING_KEY_FILE": "ring.key", "API_TOKEN_FILE": "api.token"}
# A host is a file with two lines: the words that enter it, and its home folder.
SSH = """#!/bin/sh
while [ "$1" = -o ]; do shift 2; done
host={folder}/ssh/$1
[ -f "$host" ] || {{ echo "ssh: connect to host $1 port 22: No route to host" >&2; exit 255; }}
shift
enter=$(sed -n 1p "$host") home=$(sed -n 2p "$host")
cd "$home" && exec $enter env -i HOME="$home" PATH="$home/bin:/usr/sbin:/usr/bin:/sbin:/bin" LANG=C.UTF-8 sh -c "$*"
"""


class Fleet:
    """`count` hosts named host-1, host-2 ..., of which none has anything yet."""

    def __init__(self, folder, count, nodes, addresses):
        self.folder = folder
        self.tailnet = Tailnet(folder, count)
        self.hosts = self.tailnet.hosts
        self.checkout = folder / "operator"
        self.copy_checkout()
        (folder / "bin").mkdir()
        (folder / "ssh").mkdir()
        script = folder / "bin" / "ssh"
        script.write_text(SSH.format(folder=folder))
        script.chmod(0o755)
        for number, name in enumerate(SECRETS.values()):
            (folder / name).write_text(f"{number} some secret of sixteen or more bytes\n")
        for host in self.hosts:
            self.reach(host)
            host.token = (folder / SECRETS["API_TOKEN_FILE"]).read_text().strip()
        self.file = folder / "hosts.toml"
        self.write_file(nodes, addresses)

    def write_file(self, nodes, addresses):
        """addresses: whether hosts.toml has them, else it is Tailscale that tells them."""
        lines = [f"nodes = {nodes}", f'build = "{BUILD.absolute()}"', "[settings]", "M = 32", "[secrets]"]
        lines += [f'{name} = "{file}"' for name, file in SECRETS.items()]
        for host in self.hosts:
            lines += ["[[host]]", f'name = "host-{host.number}"',
                      f'settings.HOST_ID = "host-{host.number}"']  # they share the machine's own
            lines += [f'address = "{host.address}"'] if addresses else []
        self.file.write_text("\n".join(lines) + "\n")

    def copy_checkout(self):
        """What lies here now, as one commit: the launcher alone, since programs are built already."""
        listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard", "-z", "init.py",
                                 ".env", ".gitignore", "deploy"], check=True, capture_output=True)
        for name in filter(None, listed.stdout.decode().split("\0")):
            if (ROOT / name).exists():
                (self.checkout / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.checkout / name)
        self.git("init", "-q")
        self.commit("first")

    def git(self, *words):
        done = subprocess.run(["git", "-C", self.checkout, "-c", "user.name=operator", "-c",
                               "user.email=operator@example.net", *words], check=True,
                              capture_output=True, text=True)
        return done.stdout.strip()

    def commit(self, text):
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", text)
        return self.git("rev-parse", "HEAD")

    def reach(self, host, reachable=True):
        """Whether ssh gets through."""
        place = self.folder / "ssh" / f"host-{host.number}"
        place.unlink(missing_ok=True)
        if reachable:
            place.write_text(f"{shlex.join(host.inside())}\n{host.folder}\n")

    def init(self, verb, *words):
        """`init.py VERB --hosts`, from the operator's checkout; (exit code, what it said)."""
        done = subprocess.run(
            [sys.executable, self.checkout / "init.py", verb, "--hosts", self.file, "--yes",
             *map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=VERB_TIMEOUT_S, check=False,
            env={**os.environ, "PATH": f"{self.folder}/bin:{os.environ['PATH']}"})
        print(done.stdout)
        return done.returncode, done.stdout

    def on(self, host, *words):
        """`init.py` on one host, as who is logged in there."""
        done = host.run("sh", "-c", 'cd "$HOME/chord" && exec python3 init.py "$@"', "sh", *words)
        print(done.stdout, done.stderr)
        return done.returncode, done.stdout + done.stderr

    def seen(self, host):
        """What `init.py status` says there."""
        code, text = self.on(host, "status", "--json")
        return json.loads(text.splitlines()[-1]), code

    def data(self, host):
        return host.folder / "chord" / "data"

    def end(self, host):
        """The init.py that runs there, and with it its nodes."""
        try:
            pid = int((self.data(host) / "init.lock").read_text().split()[1])
        except (FileNotFoundError, IndexError):
            return
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        until(lambda: not Path(f"/proc/{pid}").exists(), 30, f"end of {pid}")

    def close(self):
        for host in self.hosts:
            self.end(host)
        self.tailnet.close()
