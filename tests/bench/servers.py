# SPDX-License-Identifier: MIT
"""What is asked: a ring of its own on free ports of loopback, and what it is compared with. All of it
ends with the context; all data lies in the one temporary folder."""

import contextlib
import signal

from launcher.supervisor import Child
from measure import Failed
from ring import Ring, until

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
        log = self.folder / f"echo-{offset}.log"
        words = (self.programs / "echo", "--listen", address, "--exit-with-parent", *more)
        child = Child(f"echo {address}", words, log)
        self.keep(child)
        until(lambda: not child.running or "listening" in log.read_text(), 10, f"{address} listens")
        if not child.running:
            raise Failed(f"{child.name} {child.how_it_ended()}: {child.stderr_tail()}")
        return address

    def keep(self, child):
        """It ends with us."""
        self.open.callback(end, child)

    def __enter__(self):
        return self

    def __exit__(self, *problem):
        self.open.close()


def end(child):
    child.signal(signal.SIGTERM)
    child.process.wait(30)
