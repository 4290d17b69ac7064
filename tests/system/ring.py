# SPDX-License-Identifier: MIT
"""A ring of real processes for one test: starts them, breaks them, looks at them.

Processes come from the build folder CHORD_BUILD (default build/asan). Everything is awaited by
polling what is observable, with a deadline; nothing sleeps for a fixed time.
"""

import json
import os
import signal
import time
from pathlib import Path
from urllib.parse import quote

from launcher import settings as launcher_settings
from launcher.build import Programs
from launcher.ringview import Api
from launcher.supervisor import Supervisor
from ports import PortBlock

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("CHORD_BUILD", ROOT / "build" / "asan"))
RELEASE_BUILD = Path(os.environ.get("CHORD_RELEASE_BUILD", ROOT / "build" / "release"))
POLL_S = 0.05
SANITIZED = any(word in BUILD.name for word in ("asan", "tsan"))
SANITIZER_WORDS = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:",
                   "WARNING: ThreadSanitizer")


def until(condition, deadline_s, what):
    """Polls until condition() is true and returns its value; fails with what it waited for."""
    deadline = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {deadline_s} s: {what() if callable(what) else what}")
        time.sleep(POLL_S)


class Ring:
    def __init__(self, folder, build=None, **values):
        """values: settings such as M=32."""
        self.ports = PortBlock()
        flags = {"PORT": self.ports.port, "RPC_PORT": self.ports.rpc_port, "HOST": "127.0.0.1",
                 "DATA_DIR": folder / "data", **values}
        self.settings = launcher_settings.choose(flags, {}, folder / "no.env")
        self.data_dir = self.settings["DATA_DIR"]
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        programs = Programs(build or BUILD)
        programs.check()
        self.supervisor = Supervisor(self.settings, programs, print)
        self.api = Api("127.0.0.1", self.ports.port)

    # Processes

    def start(self, count, deadline_s=60):
        """Starts slots 1..count and the gateway; returns when the ring is ready."""
        self.supervisor.start_first(count)
        self.supervisor.start_gateway()
        self.wait_ready(deadline_s)
        return self

    def wait_ready(self, deadline_s=60):
        def check():
            ended = [child for child in self.supervisor.children() if not child.running]
            assert not ended, (f"{ended[0].name} {ended[0].how_it_ended()}:\n"
                               f"{ended[0].stderr_tail()}")
            return self.api.ready()
        until(check, deadline_s, self.api.why_not_ready)

    def address(self, slot):
        return self.settings.rpc_address(slot)

    def start_node(self, slot):
        self.supervisor.start_node(slot)

    def end(self, children, number):
        for child in children:
            child.signal(number)
        for child in children:
            child.process.wait(60)

    def kill(self, *slots):
        self.end([self.supervisor.nodes[slot] for slot in slots], signal.SIGKILL)

    def stop(self, *slots):
        """SIGTERM; a node that stops must end with 0, which also means: no leak."""
        children = [self.supervisor.nodes[slot] for slot in slots]
        self.end(children, signal.SIGTERM)
        for child in children:
            assert child.process.returncode == 0, \
                f"{child.name} {child.how_it_ended()}:\n{child.stderr_tail()}"

    def end_gateway(self, number=signal.SIGTERM):
        self.end([self.supervisor.gateway], number)

    def running_slots(self):
        return [slot for slot, child in self.supervisor.nodes.items() if child.running]

    def close(self):
        try:
            self.end([child for child in self.supervisor.children() if child.running],
                     signal.SIGTERM)
        finally:
            self.supervisor.kill_all()
            self.ports.close()
        self.check_sanitizers()

    def check_sanitizers(self):
        for path in [*self.data_dir.glob("node-*/stderr.log"), self.data_dir / "gateway.log"]:
            text = path.read_text(errors="replace") if path.exists() else ""
            for word in SANITIZER_WORDS:
                if word in text:
                    raise AssertionError(f"{path}:\n" + text[text.index(word):][:6000])

    def print_logs(self):
        """For a failed test: the last lines of every process, and what the ring said."""
        print("ring:", json.dumps(self.api.ring())[:4000])
        for child in self.supervisor.children():
            state = "running" if child.running else child.how_it_ended()
            print(f"--- {child.name} (pid {child.pid}, {state})\n{child.stderr_tail()}")

    # REST

    def get_json(self, path):
        status, body = self.api.request("GET", "/api/v1" + path)
        assert status == 200, (path, status, body[:500])
        return json.loads(body)

    def ring(self):
        return self.api.ring() or {"state": "unknown", "nodes": []}

    def node(self, slot):
        return next((node for node in self.ring()["nodes"]
                     if node["address"] == self.address(slot)), {"state": "unknown"})

    def verb(self, slot, verb, body=None):
        path = f"/api/v1/nodes/{quote(self.address(slot), safe='')}/{verb}"
        status, answer = self.api.request("POST", path, body or {})
        assert status == 202, (path, status, answer[:500])

    def leave(self, slot, deadline_s=60):
        self.verb(slot, "leave")

        def has_left():
            child = self.supervisor.nodes[slot]
            assert child.running, f"{child.name} {child.how_it_ended()}:\n{child.stderr_tail()}"
            return self.node(slot)["state"] == "left"
        until(has_left, deadline_s,
              lambda: f"node {slot} is {self.node(slot)['state']}, not left")

    def put(self, key, value):
        """Bytes or text; returns the HTTP status."""
        connection_path = "/api/v1/kv/" + quote(key, safe="")
        return self.raw("PUT", connection_path, value)[0]

    def get(self, key):
        """(status, bytes)"""
        return self.raw("GET", "/api/v1/kv/" + quote(key, safe=""))

    def raw(self, method, path, body=None, content_type="application/octet-stream", timeout_s=30):
        import http.client
        connection = http.client.HTTPConnection("127.0.0.1", self.ports.port, timeout=timeout_s)
        try:
            headers = {"Content-Type": content_type} if body is not None else {}
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def import_csv(self, path, deadline_s=180):
        """Uploads a CSV; returns the finished operation."""
        status, body = self.raw("POST", "/api/v1/imports", Path(path).read_bytes(), "text/csv",
                                deadline_s)
        assert status == 202, (status, body[:500])
        href = json.loads(body)["href"].removeprefix("/api/v1")
        return until(lambda: (lambda operation: operation["state"] != "running" and operation)(
            self.get_json(href)), deadline_s, "the end of the import")

    # The ring's shape

    def members(self):
        return [node for node in self.ring()["nodes"] if node["state"] == "member"]

    def lists_are_ideal(self, count=None):
        """Every member's predecessor and successor list is what the set of members says."""
        members = sorted(self.members(), key=lambda node: int(node["id"], 16))
        if count is not None and len(members) != count:
            return False
        ids = [node["id"] for node in members]
        length = min(self.settings["N"], len(ids) - 1)
        for place, node in enumerate(members):
            after = [ids[(place + step) % len(ids)] for step in range(1, length + 1)]
            if len(ids) > 1 and node["predecessor"] != ids[place - 1]:
                return False
            if node["successors"][:length] != after or len(node["successors"]) > length:
                return False
        return True

    def wait_ideal(self, count, deadline_s=30):
        until(lambda: self.lists_are_ideal(count), deadline_s,
              lambda: f"ideal lists of {count} members: {json.dumps(self.ring())[:3000]}")

    def wait_healthy(self, count, deadline_s=60):
        """Ideal lists and no range short of copies that could exist."""
        until(lambda: self.ring()["state"] == "healthy" and self.lists_are_ideal(count), deadline_s,
              lambda: f"a healthy ring of {count}: {json.dumps(self.ring())[:3000]}")
