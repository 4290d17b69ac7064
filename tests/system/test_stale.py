# SPDX-License-Identifier: MIT
"""Reads that may be old do not wait for the leader: any member answers, also for a node that has no
copy."""

import signal
import time

from kv import RingClient


def test_stale_reads_through_nodes_without_a_copy(new_ring):
    ring = new_ring(M=32).start(5)
    ring.wait_healthy(5)
    order = sorted(ring.members(), key=lambda node: int(node["id"], 16))
    addresses = [node["address"] for node in order]
    slots = {ring.address(slot): slot for slot in range(1, 6)}
    with RingClient(addresses[0], timeout=5) as client:
        keys = {}  # one that each node owns
        for number in range(200):
            key = f"stale {number}"
            keys.setdefault(client.lookup(key).owner.address, key)
        for key in keys.values():
            client.put(key, b"value")
    assert len(keys) == 5
    owner = addresses[2]
    kv = client.messages.kv
    request = kv.GetRequest(key=keys[owner].encode(), consistency=kv.CONSISTENCY_STALE)
    paused = ring.supervisor.nodes[slots[owner]]
    paused.signal(signal.SIGSTOP)
    try:
        for other in (addresses[0], addresses[1]):  # members are 2, 3 and 4
            with RingClient(other, timeout=5) as client:
                began = time.monotonic()
                answer = client.once("KvService/Get", request, kv.GetResponse, other)
                took_s = time.monotonic() - began
                assert answer.result.value == b"value" and answer.stale
                assert took_s < 1.5, f"{took_s:.2f} s through {other}"
    finally:
        paused.signal(signal.SIGCONT)
