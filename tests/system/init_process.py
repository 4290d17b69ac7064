# SPDX-License-Identifier: MIT
"""`init.py --json` as a process of one test, and what it says."""

import json
import signal
import subprocess
import sys
import time

import psutil
from launcher.ringview import Api
from ring import BUILD, ROOT, until

LINE_TIMEOUT_S = 90


class Init:
    """One `init.py --json` and what it said. stdout: its file, a descriptor, or None = closed."""

    def __init__(self, folder, ports, *arguments, nodes=3, stdout="file"):
        self.folder, self.ports = folder, ports
        (folder / ".env").touch()
        self.base = [sys.executable, str(ROOT / "init.py"), "--build", str(BUILD), "--json",
                     "--env-file", str(folder / ".env"), "--data-dir", str(folder / "data"),
                     "--host", "127.0.0.1", "--port", str(ports.port),
                     "--rpc-port", str(ports.rpc_port)]
        self.output = folder / f"init-{time.monotonic_ns()}.jsonl"
        with open(self.output, "wb") as output:
            command = [*self.base, "--nodes", str(nodes), *arguments]
            if stdout is None:
                command = ["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *command]
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output if stdout == "file" else stdout,
                stderr=subprocess.STDOUT, start_new_session=True)
        self.api = Api("127.0.0.1", ports.port)

    def events(self):
        """What it said, as dicts; a last line that is being written is left out."""
        lines = self.output.read_text(errors="replace").split("\n")[:-1]
        return [json.loads(line) for line in lines]

    def wait_event(self, name, count=1):
        def there():
            found = [event for event in self.events() if event["event"] == name]
            if len(found) < count:
                assert self.process.poll() is None, self.output.read_text()
            return found if len(found) >= count else None
        return until(there, LINE_TIMEOUT_S, lambda: f"event {name}: {self.output.read_text()}")[-1]

    def order(self, *arguments):
        return subprocess.run([*self.base, *arguments], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=120)

    def end(self, number=signal.SIGINT):
        self.process.send_signal(number)
        return self.process.wait(LINE_TIMEOUT_S)

    def children(self):
        return psutil.Process(self.process.pid).children(recursive=True)

    def put(self, key, value):
        import http.client
        connection = http.client.HTTPConnection("127.0.0.1", self.ports.port, timeout=30)
        connection.request("PUT", f"/api/v1/kv/{key}", value)
        status = connection.getresponse().status
        connection.close()
        return status

    def get(self, key):
        return self.api.request("GET", f"/api/v1/kv/{key}", timeout_s=30)
