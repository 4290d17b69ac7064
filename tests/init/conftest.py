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
