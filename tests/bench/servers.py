# SPDX-License-Identifier: MIT
"""What is asked: a ring of its own on free ports of loopback, and what it is compared with. All of it
ends with the context; all data lies in the one temporary folder."""

import contextlib
import subprocess

from measure import Failed
from ring import Ring

M = 32
ECHO_PORT, STORE_PORT = 25, 26  # behind the first of the ring's block of ports


class Servers:
    def __init__(self, build, folder, nodes=3):
        self.build, self.folder = build, folder
        self.programs = build / "tests" / "bench"
        self.open = contextlib.ExitStack()
        self.ring = Ring(folder, build=build, M=M, REPLICAS=3)
        self.open.callback(self.ring.close)
        try:
            self.ring.start(nodes)
            self.echo = self.start_echo(ECHO_PORT)
            self.store = self.start_echo(STORE_PORT, "--file", folder / "store")
        except BaseException:
            self.open.close()
            raise
        self.members = self.ring.address(1)
        self.gateway = f"127.0.0.1:{self.ring.ports.port}"

    def start_echo(self, offset, *more):
        address = f"127.0.0.1:{self.ring.ports.port + offset}"
        self.start(self.programs / "echo", "--listen", address, *more)
        return address

    def start(self, *words):
        """A server that says one line when it listens; it ends with us."""
        process = subprocess.Popen([str(word) for word in words], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, text=True)
        self.open.callback(end, process)
        if not process.stdout.readline().startswith("listening"):
            raise Failed(f"{words[0]} did not start: it ended with {process.wait()}")

    def __enter__(self):
        return self

    def __exit__(self, *problem):
        self.open.close()


def end(process):
    process.terminate()
    process.wait(30)
    process.stdout.close()
