# SPDX-License-Identifier: MIT
"""Blocks of TCP ports for tests that run at the same time.

A block is held by a lock on a file in the system's temporary folder, so that two tests, or two test
runs, never choose the same one; the kernel drops the lock however the test ends. The ports lie
below the range that the kernel gives to outgoing connections.
"""

import fcntl
import os
import socket
import tempfile

FIRST, LAST, SIZE = 17100, 23999, 70  # below are the unit tests'
# Not TMPDIR's, which some tests set: then two would hold the same block.
SHARED = "/tmp" if os.access("/tmp", os.W_OK) else tempfile.gettempdir()
FOLDER = os.path.join(SHARED, f"chord-test-ports-{os.getuid()}")


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def own_address():
    """Of this machine's network, which others can reach; None when it has none but loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        try:
            link.connect(("192.0.2.1", 9))  # sends nothing; picks the address
            address = link.getsockname()[0]
        except OSError:
            return None
    return None if address.startswith("127.") else address


class PortBlock:
    """PORT and RPC_PORT with room for up to 33 nodes each."""

    def __init__(self):
        os.makedirs(FOLDER, exist_ok=True)
        for base in range(FIRST, LAST - SIZE, SIZE):
            lock = open(os.path.join(FOLDER, str(base)), "w", encoding="utf-8")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                continue
            if all(is_free(port) for port in range(base, base + SIZE)):
                self.lock, self.port, self.rpc_port = lock, base, base + SIZE // 2 - 1
                return
            lock.close()
        raise RuntimeError(f"no block of {SIZE} free ports in {FIRST}..{LAST}")

    def close(self):
        self.lock.close()
