# SPDX-License-Identifier: MIT
"""A running program that may open no file more: of a node, who has a connection is answered; of a
gateway, who asks. No processor burns, and with free files everything is as before."""

import os
import resource
import socket
import subprocess
import time

import pytest
from kv import RingClient
from lone_gateway import GATEWAY
from ports import PortBlock
from ring import BUILD, POLL_S, until

FILES = 80  # a node says at its start that it needs 64
MORE = FILES + 20  # the kernel keeps those that are not accepted
SPENT_OVER_S = 2
TICKS = os.sysconf("SC_CLK_TCK")


def limited():
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))


def processor_s(process):
    fields = open(f"/proc/{process.pid}/stat", encoding="ascii").read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def open_files(process):
    return len(os.listdir(f"/proc/{process.pid}/fd"))


class Node:
    def __init__(self, folder, ports):
        self.address = f"127.0.0.1:{ports.rpc_port + 1}"
        self.process = subprocess.Popen(
            [BUILD / "node" / "chord-node", "--listen", self.address, "--data", folder / "node", "--create"],
            stdout=subprocess.PIPE, text=True, preexec_fn=limited)
        self.client = RingClient(self.address, timeout=10)

    def ask(self):
        self.client.put("key", b"value")

    def ask_anew(self):
        with RingClient(self.address, timeout=5) as client:
            return client.value("key") == b"value"

    def close(self):
        self.client.close()


class Gateway:
    def __init__(self, folder, ports):
        self.address = f"127.0.0.1:{ports.port}"
        self.process = subprocess.Popen(
            [GATEWAY, "--port", str(ports.port), "--rpc-port", str(ports.rpc_port), "--slots", "1",
             "--data", folder / "data"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            preexec_fn=limited)

    def ask_anew(self):
        with connect(self.address) as link:
            link.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return b" 200 " in link.recv(4096)

    def ask(self):
        """Anew: whose connection has been silent for longest gives way."""
        assert self.ask_anew()

    def close(self):
        pass


def connect(address):
    host, _, port = address.partition(":")
    return socket.create_connection((host, int(port)), 10)


def tried(call):
    try:
        return call()
    except Exception:  # refused, closed, too late: whatever a client says of it
        return False


@pytest.mark.parametrize("program", [Node, Gateway])
def test_no_file_is_left(tmp_path, program):
    ports = PortBlock()
    served = program(tmp_path, ports)
    links = []
    try:
        assert served.process.stdout.readline().startswith("listening")
        until(lambda: tried(served.ask) is None, 20, "the first answer")
        at_rest = open_files(served.process)
        links = [connect(served.address) for _ in range(MORE)]
        until(lambda: open_files(served.process) >= FILES - 1, 30,
              lambda: f"files used up: {open_files(served.process)}, {at_rest} at rest")
        before, end = processor_s(served.process), time.monotonic() + SPENT_OVER_S
        while time.monotonic() < end:
            served.ask()
            time.sleep(POLL_S)
        assert processor_s(served.process) - before < SPENT_OVER_S / 2, "it burns a processor"
        for link in links:
            link.close()
        until(lambda: tried(served.ask_anew), 20, "an answer on a new connection")
        served.ask()
    finally:
        for link in links:
            link.close()
        served.close()
        served.process.kill()
        served.process.wait()
        served.process.stdout.close()
        ports.close()
