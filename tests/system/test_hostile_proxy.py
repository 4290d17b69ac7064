# SPDX-License-Identifier: MIT
"""Every client of the project behind a proxy that loses requests and answers, sends late copies and
stands still (hostile_proxy.py): each write takes effect at most once, nobody is told what is not
true. What all were told of a key must be linearizable (tests/sim/check_history.c)."""

import os
import random
import subprocess
import threading
import time

import pytest

from chord_dht import ChordError, Delete, Get, Put
from histories import DONE, FAILED, UNKNOWN, run_history
from hostile_proxy import HostileProxy
from kv import RingClient
from lone_gateway import Gateway
from ring import BUILD, until

SEED = int(os.environ.get("CHORD_TEST_SEED", time.time_ns() % 1_000_000))
SECONDS = 5


class Python:
    """proto/clients/python, single operations and batches."""

    def __init__(self, outer, gateway, seed):
        self.client = RingClient(*outer, timeout=6)
        self.random = random.Random(seed)

    def ask(self, kind, key, value):
        """The outcome (done, UNKNOWN, FAILED), the value that was read, what existed."""
        operation = {"get": Get(key), "put": Put(key, value), "delete": Delete(key)}[kind]
        if self.random.random() < 0.5:
            (result,) = self.client.batch([operation])
            if result.fate != "done":
                return UNKNOWN if result.fate == "maybe done" else FAILED, None, None
            return DONE, result.value, result.existed if kind != "get" else None
        try:
            if kind == "get":
                return DONE, self.client.value(key), None
            written = self.client.put(key, value) if kind == "put" else self.client.delete(key)
            return DONE, None, written.existed
        except ChordError as error:
            return UNKNOWN if error.fate == "maybe done" else FAILED, None, None

    def close(self):
        self.client.close()


class Http:
    """The gateway."""

    def __init__(self, outer, gateway, seed):
        self.gateway = gateway

    def ask(self, kind, key, value):
        method = {"get": "GET", "put": "PUT", "delete": "DELETE"}[kind]
        answer = self.gateway.request(method, f"/api/v1/kv/{key}", value if kind == "put" else None)
        assert answer.status != 409, answer.body
        if kind == "get":
            read = answer.body if answer.status == 200 else None
            return DONE if answer.status in (200, 404) else FAILED, read, None
        if kind == "delete" and answer.status in (204, 404):
            # 204 also where an unknown first attempt may have been the one that found it
            return DONE, None, None if answer.status == 204 else False
        if answer.status in (201, 204):
            return DONE, None, answer.status == 204
        return UNKNOWN if answer.json()["code"] == "UNKNOWN" else FAILED, None, None


class Ctl:
    """chordctl, a process for each operation."""

    def __init__(self, outer, gateway, seed):
        self.command = [BUILD / "node" / "chordctl", "--node", ",".join(outer), "--timeout", "6000"]

    def ask(self, kind, key, value):
        words = {"get": ["get", key], "delete": ["del", key], "put": ["put", key, value or b""]}
        done = subprocess.run([*self.command, *words[kind]], capture_output=True, check=False)
        if kind == "get" and done.returncode in (0, 1):
            return DONE, done.stdout if done.returncode == 0 else None, None
        if done.returncode in (0, 1):
            existed = b"replaced" in done.stdout if kind == "put" else done.returncode == 0
            return DONE, None, existed
        assert done.returncode in (3, 4, 5), done
        return UNKNOWN if done.returncode == 5 else FAILED, None, None


@pytest.fixture
def proxies(new_ring, tmp_path):
    ring = new_ring(M=32).start(3)
    made = [HostileProxy(ring.settings["RPC_PORT"] + slot, SEED) for slot in (1, 2, 3)]
    yield ring, made
    for proxy in made:
        proxy.close()


def gateway_behind(ring, folder):
    """One that knows the nodes by their proxies."""
    folder.mkdir(exist_ok=True)
    gateway = Gateway(folder, "--host", "127.0.0.2", slots=3)
    gateway.host, gateway.rpc_port = "127.0.0.2", ring.settings["RPC_PORT"]
    gateway.start()
    until(lambda: gateway.get("/readyz").status == 200, 30, "a gateway behind the proxies")
    return gateway


@pytest.fixture
def outer_gateway(proxies, tmp_path):
    ring, made = proxies
    gateway = gateway_behind(ring, tmp_path)
    yield gateway
    gateway.close()


@pytest.mark.parametrize("kind", (Python, Http, Ctl))
def test_histories_are_linearizable(kind, proxies, outer_gateway, tmp_path):
    print(f"CHORD_TEST_SEED={SEED}")
    ring, made = proxies
    outer = [f"127.0.0.2:{proxy.port}" for proxy in made]
    with RingClient(ring.address(1)) as reader:
        run_history(lambda number: kind(outer, outer_gateway, SEED + number), made, SEED, SECONDS,
                    reader.value, tmp_path, kind.__name__)


class Writer:
    """Puts one key all the time; counts, and how long it waited at most."""

    def __init__(self, put):
        self.put, self.done, self.longest_s, self.problem = put, 0, 0.0, None

    def run(self, end, start):
        try:
            start.wait()
            while time.monotonic() < end[0]:
                began = time.monotonic()
                self.put(b"%d" % self.done)
                self.longest_s = max(self.longest_s, time.monotonic() - began)
                self.done += 1
        except BaseException as problem:
            self.problem = problem


def http_put(gateway):
    connection = gateway.connect()

    def put(value):
        connection.request("PUT", "/api/v1/kv/hot", value)
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status in (201, 204), (answer.status, text)
    return put


def test_sixteen_writers_of_one_key(new_ring, tmp_path):
    """Over two gateways and the Python client: everybody in turn, nobody is refused, nobody waits,
    and a put is one call."""
    ring = new_ring(M=32).start(3)
    made = [HostileProxy(ring.settings["RPC_PORT"] + slot, SEED, hostile=False) for slot in (1, 2, 3)]
    gateways = [gateway_behind(ring, tmp_path / name) for name in ("one", "other")]
    clients = [RingClient(*(f"127.0.0.2:{proxy.port}" for proxy in made))
               for _ in range(5)]
    try:
        writers = [Writer(http_put(gateways[number % 2])) for number in range(11)]
        writers += [Writer(lambda value, client=client: client.put("hot", value))
                    for client in clients]
        for writer in writers:
            writer.put(b"first")  # connections, and where the key lies
        before = sum(proxy.requests for proxy in made)
        end, start = [0.0], threading.Event()
        threads = [threading.Thread(target=writer.run, args=(end, start)) for writer in writers]
        for thread in threads:
            thread.start()
        end[0] = time.monotonic() + 3
        start.set()
        for thread in threads:
            thread.join()
        calls = sum(proxy.requests for proxy in made) - before
    finally:
        for one in (*gateways, *clients, *made):
            one.close()
    counts = [writer.done for writer in writers]
    print(f"{counts}, {calls / sum(counts):.2f} calls a put, longest wait "
          f"{max(writer.longest_s for writer in writers):.3f} s")
    assert not [writer.problem for writer in writers if writer.problem]
    assert min(counts) * 2 >= sum(counts) / len(counts)
    assert max(writer.longest_s for writer in writers) < 1
    assert calls <= 1.1 * sum(counts)


def test_a_paused_address_costs_a_second(proxies):
    """The first address stands still: the others are asked, long before the timeout."""
    ring, made = proxies
    made[0].still_until = time.monotonic() + 20
    with RingClient(*(f"127.0.0.2:{proxy.port}" for proxy in made), timeout=15) as client:
        began = time.monotonic()
        client.put("paused", "value")
        assert client.value("paused") == b"value"
        assert time.monotonic() - began < 8
    made[0].still_until = 0.0
