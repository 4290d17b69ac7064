# SPDX-License-Identifier: MIT
"""A gateway alone, against a stand-in node that can misbehave (tests/unit/fake_node.c).

Programs come from CHORD_BUILD.
"""

import http.client
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

from ports import PortBlock
from ring import BUILD, SANITIZER_WORDS, until

GATEWAY = Path(os.environ.get("CHORD_GATEWAY", BUILD / "gateway" / "chord-gateway"))
FAKE_NODE = Path(os.environ.get("CHORD_FAKE_NODE", BUILD / "tests" / "fake_node"))
CSV = {"Content-Type": "text/csv"}
PATIENCE_S = 15


def soon(condition):
    return until(condition, PATIENCE_S, "what a gateway shows")


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    def json(self):
        return json.loads(self.body)


class Gateway:
    def __init__(self, folder, *flags, slots=1, **environment):
        self.ports = PortBlock()
        self.port, self.rpc_port, self.folder = self.ports.port, self.ports.rpc_port, folder
        self.flags, self.slots, self.environment = flags, slots, environment
        self.host = "127.0.0.1"
        self.nodes = {}
        self.process = None

    def start(self):
        self.stderr = open(self.folder / "gateway.log", "ab")
        names = ("PATH", "ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS")
        environment = {name: os.environ[name] for name in names if name in os.environ}
        self.process = subprocess.Popen(
            [GATEWAY, "--port", str(self.port), "--rpc-port", str(self.rpc_port), "--slots",
             str(self.slots), "--data", str(self.folder / "data"), *self.flags],
            stdout=subprocess.PIPE, stderr=self.stderr, text=True,
            env={**environment, **self.environment})
        assert self.process.stdout.readline().startswith(f"listening http://{self.host}:")
        return self

    def start_node(self, *flags, slot=1):
        node = subprocess.Popen([FAKE_NODE, self.address(slot), *flags], stdout=subprocess.PIPE,
                                stderr=self.stderr, text=True)
        self.nodes[slot] = node
        assert node.stdout.readline().startswith("listening")
        soon(lambda: self.get("/readyz").status == 200)
        return self

    def address(self, slot=1):
        return f"127.0.0.1:{self.rpc_port + slot}"

    def stop(self):
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(20) == 0
        return time.monotonic() - began

    def close(self):
        for child in [*self.nodes.values(), self.process]:
            if child is not None and child.poll() is None:
                child.send_signal(signal.SIGTERM)
                child.wait(20)
        self.ports.close()
        self.stderr.close()
        text = (self.folder / "gateway.log").read_text(errors="replace")
        for word in SANITIZER_WORDS:
            assert word not in text, text[text.index(word):][:5000]
        assert self.process.returncode == 0

    def connect(self, slot=0, timeout=60):
        return http.client.HTTPConnection(self.host, self.port + slot, timeout=timeout)

    def request(self, method, path, body=None, headers=None, slot=0):
        connection = self.connect(slot)
        try:
            connection.request(method, path, body, headers or {})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def get(self, path, **more):
        return self.request("GET", path, **more)

    def raw(self, data, timeout=15):
        """What comes back for these bytes and no more, until the gateway closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as link:
            link.sendall(data)
            link.shutdown(socket.SHUT_WR)
            got = b""
            try:
                while True:
                    part = link.recv(65536)
                    if not part:
                        return got
                    got += part
            except (TimeoutError, ConnectionResetError):
                return got

    def upload(self, text, query="", headers=CSV):
        data = text if isinstance(text, bytes) else text.encode()
        return self.request("POST", "/api/v1/imports" + query, data, headers)

    def value(self, key):
        answer = self.get("/api/v1/kv/" + quote(key, safe=""))
        return answer.body if answer.status == 200 else None
