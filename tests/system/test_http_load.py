# SPDX-License-Identifier: MIT
"""Who can shut others out of the gateway: many busy clients, slow ones, idle ones, guessers.

Figures go to deploy/SECURITY.md. A probe asks /livez on a connection of its own all the time.
"""

import http.client
import os
import select
import signal
import socket
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from lone_gateway import soon
from ring import BUILD, ROOT, SANITIZED

sys.path.insert(0, str(ROOT / "tests" / "bench"))
from measure import generate  # noqa: E402

HOST = b"Host: localhost\r\n"
LIVEZ_S_MAX = 1.0


class Probe(threading.Thread):
    """Asks /livez, each time on a fresh connection; keeps the longest time, infinity for a failure."""

    def __init__(self, port):
        super().__init__()
        self.port, self.longest, self.count, self.ended = port, 0.0, 0, threading.Event()

    def run(self):
        while self.count == 0 or not self.ended.wait(0.05):
            began = time.monotonic()
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                connection.request("GET", "/livez")
                status = connection.getresponse().status
                connection.close()
            except OSError:
                status = 0
            self.longest = max(self.longest, time.monotonic() - began if status == 200 else float("inf"))
            self.count += 1


@contextmanager
def livez_answers(gateway):
    probe = Probe(gateway.port)
    probe.start()
    try:
        yield probe
    finally:
        probe.ended.set()
        probe.join()
    print(f"/livez: {probe.count} times, longest {probe.longest * 1000:.0f} ms")
    assert probe.count > 0 and probe.longest < LIVEZ_S_MAX


def link(gateway, data=b""):
    it = socket.create_connection(("127.0.0.1", gateway.port), timeout=30)
    it.sendall(data)
    return it


def memory_mib(gateway):
    with open(f"/proc/{gateway.process.pid}/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def page_and_api_work(gateway):
    began = time.monotonic()
    assert gateway.get("/").status == 200
    assert gateway.get("/readyz").status == 200
    assert gateway.request("PUT", "/api/v1/kv/meanwhile", b"x").status in (201, 204)
    assert gateway.value("meanwhile") == b"x"
    took = time.monotonic() - began
    print(f"page, readyz, put and get: {took * 1000:.0f} ms; memory {memory_mib(gateway):.0f} MiB")
    assert took < (8 if SANITIZED else 2)


def test_busy_keep_alive_clients(gateway):
    """96 clients that ask again at once: none is shut out, none is far below the others."""
    counts, ended = [0] * 96, threading.Event()
    longest = [0.0] * 96

    def ask(i):
        connection = gateway.connect(timeout=20)
        while not ended.is_set():
            began = time.monotonic()
            connection.request("GET", "/api/v1/kv/busy" if i % 2 else "/api/v1/self")
            answer = connection.getresponse()
            answer.read()
            counts[i] += answer.status in (200, 404)
            longest[i] = max(longest[i], time.monotonic() - began)
        connection.close()
    threads = [threading.Thread(target=ask, args=(i,)) for i in range(96)]
    with livez_answers(gateway):
        for thread in threads:
            thread.start()
        time.sleep(2.5)
        ended.set()
        for thread in threads:
            thread.join()
    mean = sum(counts) / len(counts)
    print(f"answers a client: mean {mean:.0f}, least {min(counts)}, most {max(counts)}; "
          f"longest wait {max(longest) * 1000:.0f} ms")
    assert min(counts) > mean / 3, counts


SLOW_BODY = b"PUT /api/v1/kv/slow HTTP/1.1\r\n" + HOST + b"Content-Length: 100000\r\n\r\nx"
SLOW_CHUNKS = b"PUT /api/v1/kv/slow HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n5000\r\nab"
SLOW_HEAD = b"GET /livez HTTP/1.1\r\nHost: loc"


@pytest.mark.parametrize("data, count", [(b"", 400), (SLOW_HEAD, 300), (SLOW_BODY, 600), (SLOW_CHUNKS, 600)],
                         ids=["idle", "head", "body", "chunks"])
def test_slow_clients(gateway, data, count):
    """They give way where threads run short, so the page and the API go on; each is ended after 10 s."""
    with ExitStack() as stack, livez_answers(gateway):
        links = [stack.enter_context(link(gateway, data)) for _ in range(count)]
        page_and_api_work(gateway)
    assert gateway.value("slow") is None


def test_slow_ones_end(gateway):
    """A byte each half second is too slow for a head and for a body: 408, nothing stored."""
    with ExitStack() as stack:
        slow = [stack.enter_context(link(gateway, data)) for data in (SLOW_HEAD, SLOW_BODY, SLOW_CHUNKS)]
        began, got = time.monotonic(), {}
        while len(got) < len(slow) and time.monotonic() < began + 30:
            ready, _, _ = select.select([it for it in slow if it not in got], [], [], 0.5)
            for it in ready:
                got[it] = (it.recv(1000), time.monotonic() - began)
            for it in slow:
                if it not in got:
                    it.sendall(b"x")
        assert len(got) == len(slow)
        for text, took in got.values():
            assert text.startswith(b"HTTP/1.1 408") and 8 < took < 14, (text, took)
    assert gateway.value("slow") is None


def test_slow_uploads(gateway):
    """Uploads are read as they come; more than eight at a time are refused, the rest goes on."""
    with ExitStack() as stack, livez_answers(gateway):
        for _ in range(60):
            stack.enter_context(link(gateway, b"POST /api/v1/imports HTTP/1.1\r\n" + HOST +
                                     b"Content-Type: text/csv\r\nContent-Length: 100000\r\n\r\nk,v\r\n"))
        page_and_api_work(gateway)


def test_unread_answers(gateway):
    """300 clients that do not read a megabyte: bounded memory, and the others are served."""
    value = os.urandom(1024 * 1024)
    assert gateway.request("PUT", "/api/v1/kv/unread", value).status in (201, 204)
    with ExitStack() as stack, livez_answers(gateway):
        for _ in range(300):
            it = socket.socket()
            it.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            it.connect(("127.0.0.1", gateway.port))
            it.sendall(b"GET /api/v1/kv/unread HTTP/1.1\r\n" + HOST + b"\r\n")
            stack.enter_context(it)
        time.sleep(1)
        page_and_api_work(gateway)
        assert gateway.value("unread") == value
        if not SANITIZED:
            assert memory_mib(gateway) < 200
    gateway.request("DELETE", "/api/v1/kv/unread")


def all_threads_are_stopped(pid):
    states = [(task / "stat").read_text().rpartition(")")[2].split()[0]
              for task in Path(f"/proc/{pid}/task").iterdir()]
    return set(states) == {"T"}


def test_old_queue(own):
    """While 640 handlers wait for a node that hangs, the others hear it at once: try again."""
    gateway = own().start_node()
    with ExitStack() as stack, livez_answers(gateway):
        gateway.nodes[1].send_signal(signal.SIGSTOP)
        stack.callback(gateway.nodes[1].send_signal, signal.SIGCONT)
        soon(lambda: all_threads_are_stopped(gateway.nodes[1].pid))
        asked = b"GET /api/v1/kv/hangs HTTP/1.1\r\n" + HOST + b"\r\n"
        links = [stack.enter_context(link(gateway, asked)) for _ in range(800)]
        began = time.monotonic()
        texts = [it.recv(4000) for it in links]
        took = time.monotonic() - began
    late = sum(b"more to do than it can" in text for text in texts)
    print(f"{late} of {len(texts)} were told to try again; all were answered after {took:.1f} s")
    assert late > 0 and took < 12
    other = [text for text in texts if b" 503 " not in text[:20] or b"Retry-After: " not in text]
    assert other == []


def test_more_connections_than_there_is_room_for(gateway):
    """Whoever has been silent for longest gives way to a new one; one that has only just spoken does not."""
    asked = b"GET /livez HTTP/1.1\r\n" + HOST + b"\r\n"
    with ExitStack() as stack, livez_answers(gateway):
        old = [stack.enter_context(link(gateway)) for _ in range(4200)]
        assert old[0].recv(10) == b""
        page_and_api_work(gateway)
        old[-1].sendall(asked)
        assert old[-1].recv(1000).startswith(b"HTTP/1.1 200")


def test_silent_ones_take_no_threads(gateway):
    """2,000 that were answered and are silent: a page that is opened again finds its connection alive."""
    asked = b"GET /livez HTTP/1.1\r\n" + HOST + b"\r\n"
    with ExitStack() as stack, livez_answers(gateway):
        links = [stack.enter_context(link(gateway)) for _ in range(2000)]
        for _ in range(3):
            for it in links:
                it.sendall(asked)
            assert all(it.recv(1000).startswith(b"HTTP/1.1 200") for it in links)
        page_and_api_work(gateway)


def test_twice_the_load(own):
    """Twice and eight times the connections that are of use: about as many answers, nobody is sent away,
    and with more connections than threads each has its turns."""
    gateway = own().start_node()
    load = (BUILD.absolute() / "tests" / "bench" / "http_load", "--address",
            f"127.0.0.1:{gateway.port}", "--kind", "get", "--keys", 100, "--warm-up", 0.3)
    generate(*load, "--fill", "--seconds", 0)
    rates, errors = {}, {}
    for connections in (256, 512, 2048):
        told = generate(*load, "--in-flight", connections, "--seconds", 2)
        rates[connections], errors[connections] = told["per_second"], told["errors"]
    print(rates, errors)
    assert not any(errors.values())
    if BUILD.name != "tsan":
        assert rates[512] > 0.6 * rates[256]  # 0.97 on a machine that does nothing else
        assert rates[2048] > 0.3 * rates[256]


def test_wrong_tokens(own, tmp_path):
    """Guesses are slowed and logged; the right token is never held up."""
    (tmp_path / "token").write_text("a-token-of-16-bytes\n")
    gateway = own("--api-token-file", str(tmp_path / "token")).start_node()
    right = {"Authorization": "Bearer a-token-of-16-bytes"}
    statuses, ended = [], threading.Event()

    def guess():
        while not ended.is_set():
            answer = gateway.request("PUT", "/api/v1/kv/guess", b"x", {"Authorization": f"Bearer {os.urandom(8).hex()}"})
            statuses.append(answer.status)
            if answer.status == 429:
                assert answer.headers["Retry-After"]
    threads = [threading.Thread(target=guess) for _ in range(8)]
    for thread in threads:
        thread.start()
    began = time.monotonic()
    while time.monotonic() < began + 3:
        asked = time.monotonic()
        assert gateway.request("PUT", "/api/v1/kv/right", b"x", right).status in (201, 204)
        assert time.monotonic() - asked < 0.9
        time.sleep(0.05)
    ended.set()
    for thread in threads:
        thread.join()
    print(f"{len(statuses)} guesses in {time.monotonic() - began:.1f} s")
    assert set(statuses) == {401, 429} and len(statuses) < 80
    assert gateway.value("guess") is None
    log = (gateway.folder / "gateway.log").read_text()
    lines = [line for line in log.splitlines() if "wrong API token" in line]
    assert lines and len(lines) <= 7 and "127.0.0.1" in lines[0]
    soon(lambda: gateway.request("PUT", "/api/v1/kv/guess", b"x", {"Authorization": "Bearer wrong"}).status == 401)
