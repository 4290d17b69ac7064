# SPDX-License-Identifier: MIT
"""A wall clock that is wrong and jumps, at one member of three: nobody is taken for dead, nothing is
lost, no range changes hands. Only the end of values that expire follows it, and only of the keys
that this member leads (README.md, "What it promises about data")."""

import time

import pytest
from clock import ShimClock
from cluster import Cluster
from kv import RingClient
from network import Loopback
from ports import PortBlock
from ring import BUILD, RELEASE_BUILD, until

SHIM = BUILD / "tests" / "faults" / "libclock_shim.so"
NODES, WRONG = (1, 2, 3), 2
MINUTE_MS = 60 * 1000
JUMPS_MS = (10 * MINUTE_MS, -60 * MINUTE_MS, 365 * 24 * 60 * MINUTE_MS, -10 * MINUTE_MS, 0)


@pytest.fixture
def cluster(tmp_path):
    ports = PortBlock()
    made = Cluster(RELEASE_BUILD / "node" / "chord-node", Loopback(ports.rpc_port), tmp_path, len(NODES))
    yield made
    made.close()
    ports.close()


def views(cluster):
    """What would be others if somebody had been taken for dead: every range's epoch, every life."""
    said = [cluster.status(node) for node in NODES]
    return [(status.self.incarnation, sorted((entry.view.range.lo, entry.view.epoch)
                                             for entry in status.ranges)) for status in said]


def each_leads(cluster):
    return None not in map(cluster.status, NODES) and \
        all(len(ranges) == len(NODES) for _, ranges in views(cluster))


def key_of(client, address, name):
    """One that the member at this address leads (or any that it does not: "not ADDRESS")."""
    wanted = address.removeprefix("not ")
    return next(key for key in (f"{name} {number}" for number in range(1000))
                if (client.lookup(key).owner.address == wanted) == (wanted == address))


def test_a_clock_that_jumps(cluster):
    clock = ShimClock(cluster, WRONG, SHIM)
    clock.set(JUMPS_MS[0])
    cluster.start_all()
    until(lambda: each_leads(cluster), 30, "a range for each")
    cluster.wait_healthy()
    with RingClient(*cluster.addresses(), timeout=10) as client:
        before, rows = views(cluster), {}
        wrong = cluster.address(WRONG)
        for ahead_ms in JUMPS_MS:
            clock.set(ahead_ms)
            now_ms = time.time() * 1000
            assert abs(cluster.status(WRONG).unix_ms - now_ms - ahead_ms) < MINUTE_MS
            for number in range(30):
                key = f"{ahead_ms} {number}"
                client.put(key, key.encode())
                rows[key] = key.encode()
            expires_ms = int(now_ms) + 5 * MINUTE_MS
            own, other = (key_of(client, place, f"expires {ahead_ms}")
                          for place in (wrong, f"not {wrong}"))
            for key in (own, other):
                client.put(key, b"for five minutes", expires_at_ms=expires_ms)
            assert client.value(other) == b"for five minutes"
            assert (client.value(own) is None) == (ahead_ms > 5 * MINUTE_MS), ahead_ms
        for node in NODES:
            with RingClient(cluster.address(node), timeout=10) as through:
                assert {key: through.value(key) for key in rows} == rows
        assert views(cluster) == before
