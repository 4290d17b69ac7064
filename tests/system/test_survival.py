# SPDX-License-Identifier: MIT
"""What the ring says that it still bears, against the truth: counted here, over every key and every
view that any node ever told of. Page's API, chordctl ring and chordctl doctor must say the same."""

import csv
import hashlib
import itertools
import json
import subprocess
import time
from urllib.parse import quote

import pytest
from kv import RingClient
from ring import BUILD, until

NODES, M, ROWS = 5, 6, 1000
CHORDCTL = BUILD / "node" / "chordctl"


def key_id(key):
    return int.from_bytes(hashlib.sha1(key.encode()).digest(), "big") >> (160 - M)


def inside(view, wanted):
    lo = int.from_bytes(view.range.lo, "big")
    hi = int.from_bytes(view.range.hi, "big")
    return lo < wanted <= hi if lo < hi else wanted > lo or wanted <= hi


def groups(ring):
    """[the addresses of the newest view's members] of each id, by what the nodes tell."""
    views = []
    for slot in ring.running_slots():
        with RingClient(ring.address(slot), timeout=5) as client:
            views += [entry.view for entry in client.status().ranges]
    newest = [max((view for view in views if inside(view, wanted)), key=lambda view: view.epoch)
              for wanted in range(1 << M)]
    return [{member.address for member in view.members} for view in newest]


def lost_keys(by_id, keys, down):
    return [key for key in keys
            if 2 * len(by_id[key_id(key)] - down) <= len(by_id[key_id(key)])]


def chordctl(*arguments):
    run = subprocess.run([CHORDCTL, *arguments], capture_output=True, text=True, timeout=60)
    return run.stdout + run.stderr


@pytest.fixture
def filled(new_ring, tmp_path):
    ring = new_ring(M=M).start(NODES)
    ring.wait_healthy(NODES)
    ring.keys = [f"key {number}" for number in range(ROWS)]
    with open(tmp_path / "rows.csv", "w", encoding="ascii", newline="") as file:
        csv.writer(file).writerows([("key", "value"), *((key, "value") for key in ring.keys)])
    assert ring.import_csv(tmp_path / "rows.csv")["rows_stored"] == ROWS
    until(lambda: ring.ring().get("keys") == ROWS, 10, lambda: f"{ROWS} keys: {ring.ring()}")
    return ring


def test_two_of_five_are_killed(filled):
    ring = filled
    assert ring.ring()["survives_failures"] == 1
    by_id, slots = groups(ring), range(1, NODES + 1)
    # The two whose loss costs most, and who of them brings all of it back.
    pair = max(itertools.combinations(slots, 2), key=lambda two: len(
        lost_keys(by_id, ring.keys, {ring.address(slot) for slot in two})))
    down = {ring.address(slot) for slot in pair}
    lost = len(lost_keys(by_id, ring.keys, down))
    assert lost > ROWS / 10
    enough = sorted(ring.address(slot) for slot in pair
                    if not lost_keys(by_id, ring.keys, down - {ring.address(slot)}))
    sentence = (f"survives 0; {100 * lost / ROWS:.0f} % of the keys have lost their majority; "
                f"start {' or '.join(enough)}")
    ring.kill(*pair)

    def told():
        answer = ring.ring()
        return answer["state"] == "degraded" and answer["state_reason"] == sentence and answer
    answer = until(told, 20, lambda: f"'{sentence}': {ring.ring()['state_reason']}")
    assert answer["survives_failures"] == 0
    assert (answer["keys"], answer["keys_lost"]) == (ROWS, lost)
    assert answer["start"] == enough and answer["start_any"]
    assert sum(part["keys"] for part in answer["lost"]) == lost
    # As many ids as the views say, in the ranges that the picture paints dead.
    dead_ids = sum((int(part["hi"], 16) - int(part["lo"], 16) - 1) % (1 << M) + 1
                   for part in answer["lost"])
    assert dead_ids == sum(2 * len(group - down) <= len(group) for group in by_id)

    # Who asks for one of these keys hears it soon, and whom to start; the others are served.
    gone = lost_keys(by_id, ring.keys, down)
    for key in itertools.islice(gone, 3):
        for method in ("GET", "PUT", "DELETE"):
            began = time.monotonic()
            status, body = ring.raw(method, f"/api/v1/kv/{quote(key)}", b"x" if method == "PUT" else None)
            assert status == 503 and time.monotonic() - began < 3
            assert "no majority" in body.decode() and " or ".join(enough) in body.decode()
    assert ring.get(next(key for key in ring.keys if key not in gone))[0] == 200

    living = ring.address(next(slot for slot in slots if slot not in pair))
    assert sentence in chordctl("--node", living, "ring")
    assert f"FAIL  majorities  {sentence.removeprefix('survives 0; ')}" in \
        chordctl("doctor", living)
    ctl = json.loads(chordctl("--node", living, "-o", "json", "ring"))
    assert (ctl["survives_failures"], ctl["keys"], ctl["keys_lost"]) == (0, ROWS, lost)

    ring.start_node(next(slot for slot in pair if ring.address(slot) == enough[0]))
    until(lambda: ring.ring()["keys_lost"] == 0 and ring.ring()["state"] != "degraded", 30,
          lambda: f"all keys again: {ring.ring()['state_reason']}")


def test_one_after_the_other_is_survived_until_it_is_not(filled):
    """With time between, copies are made whole again; the number says when there is room."""
    ring = filled
    for slot, left in ((5, 4), (4, 3)):
        ring.kill(slot)
        until(lambda: ring.ring()["state"] == "healthy" and
              len(ring.members()) == left, 30, lambda: ring.ring()["state_reason"])
        assert (ring.ring()["keys"], ring.ring()["keys_lost"]) == (ROWS, 0)
        # The picture of the ring is half a second old.
        until(lambda: ring.ring()["survives_failures"] == 1, 20,
              lambda: f"survives 1 with {left}: {ring.ring()['state_reason']}")
    ring.kill(3)
    until(lambda: ring.ring()["survives_failures"] == 0, 20, "survives 0 with two of three")
    assert ring.ring()["keys_lost"] == 0
