# SPDX-License-Identifier: MIT
"""Readers in a closed loop while nodes leave and join, one after the other: none of them may miss a
key or see another value. `-k hundred` (init.py test --full) is the long version."""

import random
import time

import pytest
from readers import Readers
from ring import RELEASE_BUILD
from test_data import SOME, assert_all_there, filled

NODES = 5


def leaves_or_joins(ring, order):
    """One change: whoever is out joins again, else somebody leaves."""
    out = [slot for slot in range(1, NODES + 1) if ring.node(slot)["state"] == "left"]
    if out:
        ring.verb(out[0], "join")
        ring.wait_healthy(NODES)
    else:
        ring.leave(order.randint(1, NODES))
        ring.wait_healthy(NODES - 1)


@pytest.mark.parametrize("changes", [
    pytest.param(10, id="ten"),
    pytest.param(100, id="hundred", marks=[pytest.mark.slow, pytest.mark.time_limit(600)])])
def test_readers_miss_nothing_while_nodes_leave_and_join(new_ring, tmp_path, changes):
    seed = random.randrange(10 ** 9)
    print(f"seed {seed}")
    order = random.Random(seed)
    ring = new_ring(build=RELEASE_BUILD, M=32)
    rows = filled(ring, tmp_path, NODES, SOME)
    ring.wait_healthy(NODES)
    began = time.monotonic()
    with Readers(ring, rows) as readers:
        for _ in range(changes):
            leaves_or_joins(ring, order)
    print(f"{changes} joins and leaves in {time.monotonic() - began:.0f} s")
    assert readers.counts["right"] > 10 * changes
    assert (readers.counts["missing"], readers.counts["wrong"]) == (0, 0), readers.examples
    assert readers.counts["unavailable"] == 0, readers.examples
    assert_all_there(ring, rows, [slot for slot in range(1, NODES + 1)
                                  if ring.node(slot)["state"] == "member"])
