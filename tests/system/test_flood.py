# SPDX-License-Identifier: MIT
"""Strangers who want a node's time, memory and slots, against real rings with and without a key:
meanwhile the node stays a member, others are served at once, and its memory has a bound. The figures
of deploy/SECURITY.md are what these tests print (-s)."""

import random
import resource
import select
import socket
import threading
import time

import pytest

from kv import RingClient
from ring import RELEASE_BUILD, until

HELLO = bytes.fromhex("0053500000300000")
KEY = b"a key of some length, for the flood"
PING_MS_MAX = 1000  # the slowest; tests share a machine
PING_MS_P95_MAX = 250
GROWTH_MIB_MAX = 160


def field(number, value):
    """A length-delimited field of protobuf, by hand."""
    length, size = b"", len(value)
    while size >= 0x80:
        length += bytes([size & 0x7f | 0x80])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + value


def frame(method, payload=b""):
    envelope = (b"\x08\x01" + field(2, b"chord.v1." + method) + field(3, b"flod") +
                (field(5, payload) if payload else b""))
    return (len(envelope) + 4).to_bytes(8, "big") + b"\x80\x00\x00\x01" + envelope


def connect(address):
    host, port = address.split(":")
    link = socket.socket()
    link.settimeout(10)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # answers stay at the node
    link.connect((host, int(port)))
    link.sendall(HELLO)
    link.recv(8, socket.MSG_WAITALL)
    return link


def send_unread(link, frames):
    """As much as the node takes while nobody reads; the bytes taken."""
    taken = 0
    link.setblocking(False)
    while taken < len(frames) and select.select([], [link], [], 0.3)[1]:
        try:
            taken += link.send(frames[taken:taken + 1024 * 1024])
        except OSError:
            break
    return taken


def is_closed(link):
    """Whether the node hung up: nothing is read but the end."""
    poll = select.poll()
    poll.register(link, select.POLLRDHUP)
    return bool(poll.poll(0))


class Watch:
    """A node under attack, seen by a client of another connection: how long a request takes at most,
    and how much memory the process has at most."""

    def __init__(self, ring, slot, key):
        self.ring, self.slot = ring, slot
        self.pid = ring.supervisor.nodes[slot].pid
        self.client = RingClient(ring.address(slot), timeout=10, key=key)
        self.client.put("watched", "value")
        self.before = self.memory()
        self.most, self.pings_ms, self.calls, self.failed = self.before, [], 0, []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def memory(self):
        with open(f"/proc/{self.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024

    def cpu_s(self):
        with open(f"/proc/{self.pid}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def run(self):
        while not self.over.is_set():
            began = time.monotonic()
            try:
                info = self.client.messages.meta
                self.client.once("MetaService/GetServerInfo", info.GetServerInfoRequest(),
                                 info.GetServerInfoResponse)
                self.pings_ms.append((time.monotonic() - began) * 1000)
                assert self.client.value("watched") == b"value"
                self.calls += 1
            except Exception as problem:  # told by the test's own thread
                self.failed.append(repr(problem))
            self.most = max(self.most, self.memory())
            self.over.wait(0.02)

    def __enter__(self):
        self.began, self.cpu_before = time.monotonic(), self.cpu_s()
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        self.client.close()
        print(f"\n{self.calls} gets, pings p95 {self.p95():.1f}, at most "
              f"{max(self.pings_ms, default=0):.1f} ms; memory before "
              f"{self.before:.0f}, at most {self.most:.0f}, after {self.memory():.0f} MiB; "
              f"{self.cpu_s() - self.cpu_before:.2f} s of processor in "
              f"{time.monotonic() - self.began:.1f} s")

    def p95(self):
        return sorted(self.pings_ms)[int(len(self.pings_ms) * 0.95)] if self.pings_ms else 0.0

    def check(self):
        assert not self.failed, self.failed[:3]
        assert self.calls > 10
        assert self.p95() < PING_MS_P95_MAX and max(self.pings_ms) < PING_MS_MAX
        assert self.most - self.before < GROWTH_MIB_MAX
        assert self.ring.node(self.slot)["state"] == "member"
        self.ring.wait_healthy(3, deadline_s=10)


@pytest.fixture(params=["no key", "key"])
def target(new_ring, tmp_path, request):
    """(ring, the ring's key)"""
    if request.param == "no key":
        return new_ring(build=RELEASE_BUILD).start(3), b""
    path = tmp_path / "ring.key"
    path.write_bytes(KEY + b"\n")
    path.chmod(0o600)
    return new_ring(build=RELEASE_BUILD, RING_KEY_FILE=path).start(3), KEY


def test_answers_that_nobody_reads(target):
    ring, key = target
    pings = frame(b"RingService/Ping") * 60_000 # more than the sockets hold
    with Watch(ring, 2, key) as watch:
        links = [connect(ring.address(2)) for _ in range(8)]
        for link in links:
            send_unread(link, pings)
        # With a key a few wrong MACs end a connection, else what nobody reads does.
        until(lambda: all(map(is_closed, links)), 2 if key else 15, "the end of the connections")
        while key and time.monotonic() < watch.began + 2:
            send_unread(connect(ring.address(2)), pings[:len(pings) // 100])
    watch.check()


def test_large_values_that_nobody_reads(new_ring):
    ring = new_ring(build=RELEASE_BUILD).start(3)
    with RingClient(ring.address(1), timeout=20) as client:
        client.put("large", random.randbytes(1024 * 1024))
    gets = frame(b"KvService/Get", field(1, b"large")) * 60
    with Watch(ring, 2, b"") as watch:
        links = [connect(ring.address(2)) for _ in range(20)]
        for link in links:
            send_unread(link, gets)
        # Some are held back and closed after a while, the others are refused.
        until(lambda: watch.most > watch.before + 20, 10, "values in the node's memory")
        until(lambda: watch.calls >= 100 and watch.memory() < watch.before + 50, 20,
              lambda: f"{watch.memory()} MiB stay")
    watch.check()


def test_connections_that_say_nothing(target):
    ring, key = target
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4000:
        pytest.skip(f"only {hard} files are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        links = []
        with Watch(ring, 2, key) as watch:
            links = [connect(ring.address(2)) for _ in range(2300)]
            slow = connect(ring.address(2))
            slow_frame = frame(b"RingService/Ping")

            def sends_a_byte(at=iter(range(len(slow_frame)))):
                try:
                    slow.send(slow_frame[(byte := next(at)):byte + 1])
                except OSError:
                    return True
                return is_closed(slow)
            until(sends_a_byte, 5, "the end of who sends a byte at a time")
            # A node that starts now gets in: its connections to this node are new ones.
            ring.stop(3)
            links += [connect(ring.address(2)) for _ in range(20)]  # in the slots that it left
            ring.start_node(3)
            with RingClient(ring.address(3), timeout=20, key=key) as client:
                until(lambda: client.status().state == client.messages.common.NODE_STATE_MEMBER,
                      20, "node 3 back in its ring")
                for number in range(30):  # some of them are led by node 2
                    client.put(f"key {number}", b"value")
        watch.check()
    finally:
        for link in links:
            link.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
