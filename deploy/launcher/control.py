# SPDX-License-Identifier: MIT
"""The supervisor's Unix socket: one line of JSON in, one line of JSON out.

Commands: {"command":"start","slot":3} (with "moved":true: its folder was copied here and the original
is gone), {"command":"stop_node","slot":3}, {"command":"add","count":2}, {"command":"status"} (this
host's nodes and the ring as its gateway sees it),
{"command":"stop"} (all), {"command":"leave"} (each node leaves the ring, then all stop),
{"command":"link"} (a one-time link to the page). Who may open the
socket is decided by the file's mode: its owner.
"""

import json
import os
import selectors
import socket

from .common import Refused

LINE_BYTES_MAX = 4096
CONNECTIONS_MAX = 16
SOCKET_NAME = "supervisor.sock"


class ControlServer:
    """Serves the socket from the supervisor's own loop: a child must be started by the thread that
    never ends, since the kernel tells children about the death of the thread that started them."""

    def __init__(self, data_dir, handle):
        """handle(dict) -> dict"""
        self.path = data_dir / SOCKET_NAME
        self.handle = handle
        self.path.unlink(missing_ok=True)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        old_mask = os.umask(0o177)
        try:
            self.listener.bind(str(self.path))
        finally:
            os.umask(old_mask)
        self.listener.listen(CONNECTIONS_MAX)
        self.listener.setblocking(False)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.buffers = {}

    def serve(self, timeout_s):
        """Answers what has arrived; returns after timeout_s at the latest."""
        for key, _ in self.selector.select(timeout_s):
            if key.fileobj is self.listener:
                self.accept()
            else:
                self.receive(key.fileobj)

    def accept(self):
        try:
            connection, _ = self.listener.accept()
        except OSError:
            return
        if len(self.buffers) >= CONNECTIONS_MAX:
            connection.close()
            return
        connection.setblocking(False)
        self.buffers[connection] = b""
        self.selector.register(connection, selectors.EVENT_READ)

    def receive(self, connection):
        try:
            received = connection.recv(LINE_BYTES_MAX)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        line = self.buffers[connection] + received
        self.buffers[connection] = line
        if b"\n" in line:
            self.answer(connection, line.split(b"\n", 1)[0])
        elif received and len(line) < LINE_BYTES_MAX:
            return
        self.drop(connection)

    def answer(self, connection, line):
        try:
            request = json.loads(line)
            reply = self.handle(request) if isinstance(request, dict) else None
        except (ValueError, RecursionError):
            reply = None
        if reply is None:
            reply = {"ok": False, "error": "not one line with a JSON object"}
        try:
            connection.sendall(json.dumps(reply).encode() + b"\n")
        except OSError:
            pass

    def drop(self, connection):
        self.selector.unregister(connection)
        del self.buffers[connection]
        connection.close()

    def close(self):
        for connection in list(self.buffers):
            self.drop(connection)
        self.selector.close()
        self.listener.close()
        self.path.unlink(missing_ok=True)


def ask(data_dir, request, timeout_s=10):
    """Asks the running init.py; raises Refused when none runs or it says no."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout_s)
    try:
        with connection:
            connection.connect(str(data_dir / SOCKET_NAME))
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as lines:
                reply = json.loads(lines.readline() or b"{}")
    except (FileNotFoundError, ConnectionRefusedError):
        raise Refused(f"no init.py is running on {data_dir}: start one with python3 init.py, or "
                      "name its folder with --data-dir") from None
    except (OSError, ValueError) as error:
        raise Refused(f"the running init.py did not answer: {error}") from error
    if not reply.get("ok"):
        raise Refused(reply.get("error") or "the running init.py gave no answer")
    return reply
