# SPDX-License-Identifier: MIT
"""chordctl rebalance: members that lead little go where much is led, and nothing is lost by that."""

import threading

import pytest
from ring import until
from test_chordctl import OK, REFUSED, USAGE, Chordctl

KEYS = {f"key-{number}": f"value of {number}" for number in range(200)}


def arcs(ctl):
    """Of each member, as parts of the mean, in the order of the ids."""
    answer = ctl.json("ring")
    ids = sorted(int(node["id"], 16) for node in answer["nodes"] if node["state"] == "member")
    return [(ids[i] - ids[i - 1]) % (1 << 32) / (1 << 32) * len(ids) for i in range(len(ids))]


def make_uneven(new_ring, leavers):
    """Seven members, of which some that stand side by side have left."""
    ring = new_ring(NUM_OF_NODES=7, M=32, N=2, REPLICAS=3).start(7)
    ring.wait_healthy(7)
    for key, value in KEYS.items():
        assert ring.put(key, value) in (201, 204)
    ctl = Chordctl(*(ring.address(slot) for slot in range(1, 8)))
    nodes = sorted(ctl.json("ring")["nodes"], key=lambda node: int(node["id"], 16))
    share = arcs(ctl)
    # Those whose arcs, together with the next one's, are the largest part of the ring.
    first = max(range(7), key=lambda at: sum(share[(at + i) % 7] for i in range(leavers + 1)))
    for i in range(leavers):
        ctl.run("leave", nodes[(first + i) % 7]["address"], "--wait", exits=OK)
    staying = [nodes[(first + i) % 7]["address"] for i in range(leavers, 7)]
    ctl = Chordctl(*staying)
    until(lambda: ctl.json("ring")["ideal"], 30, lambda: ctl.text("ring"))
    ring.ctl = ctl
    return ring


def test_rebalance(new_ring):
    uneven = make_uneven(new_ring, 3)
    ctl = uneven.ctl
    before = arcs(ctl)
    assert len(before) == 4 and max(before) > 2.2
    assert "4 members" in ctl.text("rebalance", "--dry-run")
    plan = ctl.json("rebalance", "--dry-run")
    assert plan["moves"] and plan["moved"] == 0 and arcs(ctl) == before
    assert plan["before"]["largest"] == pytest.approx(max(before))
    assert plan["moves"][-1]["after"]["largest"] < max(before)
    ctl.run("rebalance", exits=USAGE)  # nobody can be asked

    stop, wrong = threading.Event(), []

    def read():
        while not stop.is_set():
            for key, value in list(KEYS.items())[::17]:
                status, body = uneven.get(key)
                if status == 200 and body != value.encode() or status == 404:
                    wrong.append((key, status, body))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        done = ctl.json("rebalance", "--yes", sentences=None)
    finally:
        stop.set()
        reader.join()
    assert not wrong, wrong[:3]
    assert 1 <= done["moved"] <= len(plan["moves"])
    after = arcs(ctl)
    assert max(after) <= 2.2 and max(after) <= 4 * min(after), after
    assert done["after"]["largest"] == pytest.approx(max(after))
    for key, value in KEYS.items():
        assert uneven.get(key) == (200, value.encode())
    again = ctl.json("rebalance", "--yes")
    assert again["moves"] == [] and again["moved"] == 0


def test_rebalance_without_room(new_ring):
    """Three members with three copies each: nobody can go, and the answer says so."""
    ctl = make_uneven(new_ring, 4).ctl
    before = arcs(ctl)
    assert ctl.json("rebalance", "--dry-run")["moves"]
    for words in (["--yes"], []):  # before anybody is asked
        assert "no member to spare" in ctl.run("rebalance", *words, exits=REFUSED)[1].decode()
    assert arcs(ctl) == before
