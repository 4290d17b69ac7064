# SPDX-License-Identifier: MIT
"""What nodes and gateway tell the service manager that started them: READY only when it is true,
whom they wait for, that their loop goes round, and that they stop."""

import os
import signal
import subprocess

import pytest
from notify_socket import NotifySocket
from ports import PortBlock
from ring import BUILD


class Started:
    def __init__(self, folder, arguments, watchdog_s=None, named=True):
        self.manager = NotifySocket(folder if named else None)
        self.process = subprocess.Popen(
            [str(argument) for argument in arguments], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, **self.manager.environment(watchdog_s)})

    def stop(self):
        """SIGTERM; True: it said that it stops, and ended well."""
        self.process.terminate()
        self.manager.wait("STOPPING=1")
        return self.process.wait(60) == 0

    def close(self):
        self.process.kill()
        self.process.wait()
        self.manager.close()


@pytest.fixture
def start(tmp_path):
    ports, started = PortBlock(), []

    def node(slot, *arguments, **options):
        (tmp_path / f"node-{slot}").mkdir(mode=0o700, exist_ok=True)
        started.append(Started(tmp_path, [
            BUILD / "node" / "chord-node", "--listen", f"127.0.0.1:{ports.rpc_port + slot}",
            "--data", tmp_path / f"node-{slot}", *arguments], **options))
        return started[-1]

    def gateway(**options):
        started.append(Started(tmp_path, [
            BUILD / "gateway" / "chord-gateway", "--port", ports.port, "--data",
            tmp_path / "gateway"], **options))
        return started[-1]
    node.address = lambda slot: f"127.0.0.1:{ports.rpc_port + slot}"
    node.gateway = gateway
    yield node
    for it in started:
        it.close()
    ports.close()


def test_a_node_is_ready_when_it_is_a_member_and_says_for_whom_it_waits(start):
    joiner = start(2, "--join", start.address(1))
    waits = joiner.manager.wait(f"STATUS={start.address(2)} waits for {start.address(1)}")
    assert "none is a member of a ring yet" in waits
    assert "READY=1" not in joiner.manager.heard
    first = start(1, "--create")
    first.manager.wait("READY=1")
    joiner.manager.wait("READY=1")
    assert joiner.manager.heard[-2].startswith("STATUS=member of ring "), joiner.manager.heard
    assert joiner.manager.heard[-2].endswith(f"its successor is {start.address(1)}")
    assert joiner.stop()
    again = start(2)
    again.manager.wait("READY=1")
    assert again.stop() and first.stop()


def test_the_loop_itself_says_that_it_goes_round(start):
    node = start(1, "--create", watchdog_s=0.4, named=False)
    node.manager.wait("READY=1")
    for _ in range(3):
        node.manager.wait("WATCHDOG=1", 5)
    node.process.send_signal(signal.SIGSTOP)
    while True:  # what was sent before
        try:
            node.manager.hear(0.6)
        except AssertionError:
            break
    node.process.send_signal(signal.SIGCONT)
    node.manager.wait("WATCHDOG=1", 5)
    assert node.stop()


def test_a_gateway_is_ready_when_it_listens(start):
    gateway = start.gateway(watchdog_s=0.4)
    gateway.manager.wait("READY=1")
    assert any(text.startswith("STATUS=listens at http://127.0.0.1:")
               for text in gateway.manager.heard), gateway.manager.heard
    for _ in range(3):
        gateway.manager.wait("WATCHDOG=1", 5)
    assert gateway.stop()


def test_a_port_that_is_taken_is_not_ready(start):
    first = start(1, "--create")
    first.manager.wait("READY=1")
    second = start.gateway()
    second.manager.wait("READY=1")
    third = start.gateway()
    assert third.process.wait(30) == 3
    with pytest.raises(AssertionError):
        third.manager.wait("READY=1", 0.1)
