# SPDX-License-Identifier: MIT
"""Tests of init.py's own logic: no process of the ring is started here."""

import contextlib
import socket
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy"))


@contextlib.contextmanager
def listener(hello, host="127.0.0.1", port=0):
    """A port that answers every connection with these bytes."""
    with socket.create_server((host, port)) as server:
        def answer():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        connection.sendall(hello)
                        connection.recv(64)
        threading.Thread(target=answer, daemon=True).start()
        yield f"{host}:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


class Said:
    """A reporter that keeps what it is told."""

    def __init__(self):
        self.events = []

    def event(self, name, text, **fields):
        self.events.append((name, text))

    def say(self, text):
        self.event("message", text)

    def error(self, text):
        self.event("error", text)

    def ask(self, question, wanted):
        self.event("asked", question)
        return False

    def texts(self, name):
        return [text for event, text in self.events if event == name]
