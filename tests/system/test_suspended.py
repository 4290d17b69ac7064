# SPDX-License-Identifier: MIT
"""All nodes but one are suspended, a write is made through that one, all go on: for every one of
them (Scalaris, issue 59, lost such a write). Nothing acknowledged is lost; what was not known is
there on every node or on none at last; and the ring is whole again."""

import os
import random
import signal
import time

from chord_dht import ChordError
from kv import RingClient
from ring import until

NODES, KEYS = 4, 8
SUSPENDED_S = (0.2, 2.0)  # shorter and longer than it takes to be given up
SEED = int(os.environ.get("CHORD_TEST_SEED", time.time_ns() % 1_000_000))


def write(client, key, value):
    """Whether it was acknowledged; None: not known."""
    try:
        client.put(key, value)
        return True
    except ChordError as error:
        return None if error.fate == "maybe done" else False


def read(ring, slot, key):
    with RingClient(ring.address(slot), timeout=20) as client:
        return client.value(key)


def test_all_but_one(new_ring):
    print(f"CHORD_TEST_SEED={SEED}")
    draw = random.Random(SEED)
    ring = new_ring(M=32).start(NODES)
    ring.wait_healthy(NODES)
    slots = range(1, NODES + 1)
    possible = {}
    with RingClient(ring.address(1)) as client:
        for number in range(KEYS):
            client.put(f"key-{number}", "first")
            possible[f"key-{number}"] = {b"first"}
    acknowledged = unknown = 0
    for alone in slots:
        suspended = [ring.supervisor.nodes[slot] for slot in slots if slot != alone]
        for child in suspended:
            child.signal(signal.SIGSTOP)
        try:
            end = time.monotonic() + draw.uniform(*SUSPENDED_S)
            with RingClient(ring.address(alone), timeout=0.3) as client:
                for key in draw.sample(sorted(possible), 3):
                    value = f"{key} of {alone}".encode()
                    done = write(client, key, value)
                    acknowledged += done is True
                    unknown += done is None
                    if done is not False:
                        possible[key] = {value} if done else possible[key] | {value}
            while time.monotonic() < end:
                time.sleep(0.02)
        finally:
            for child in suspended:
                child.signal(signal.SIGCONT)
        with RingClient(*(ring.address(slot) for slot in slots), timeout=20) as client:
            client.put(f"after {alone}", "all")  # they work again
        for key, values in possible.items():
            found = {read(ring, slot, key) for slot in slots}
            assert found <= values, (alone, key, found, values)
    ring.wait_healthy(NODES)
    for key, values in possible.items():
        found = {read(ring, slot, key) for slot in slots}
        assert len(found) == 1 and found <= values, (key, found, values)
    print(f"{acknowledged} acknowledged, {unknown} unknown of {3 * NODES} writes")
    assert unknown > 0
