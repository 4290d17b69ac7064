# SPDX-License-Identifier: MIT
"""The data's promises with real processes: what went in comes out, byte for byte, through every
node, whatever was stopped, killed or left."""

import time

import pytest
from kv import read_all
from readers import Readers
from ring import RELEASE_BUILD
from rows import unicode_rows, write_csv

MANY = 21000
SOME = 3000


def filled(ring, tmp_path, nodes, count):
    """A healthy ring with rows in it; returns the rows."""
    ring.start(nodes)
    ring.wait_healthy(nodes)
    rows = unicode_rows(count)
    operation = ring.import_csv(write_csv(tmp_path / "rows.csv", rows))
    assert operation["state"] == "done", operation
    assert (operation["rows_read"], operation["rows_stored"], operation["rows_failed"]) == \
        (count, count, 0), operation
    return rows


def assert_all_there(ring, rows, slots):
    """Every row through every one of the nodes; a sample over HTTP as well."""
    for slot in slots:
        found = read_all(ring, slot, rows)
        wrong = {key: found.get(key) for key in rows if found.get(key) != rows[key].encode()}
        assert not wrong, f"{len(wrong)} of {len(rows)} rows through node {slot}, for example " \
                          f"{list(wrong.items())[:3]}"
    for key in list(rows)[::max(1, len(rows) // 200)]:
        assert ring.get(key) == (200, rows[key].encode())


def test_many_real_rows_come_out_of_every_node(new_ring, tmp_path):
    ring = new_ring()
    rows = filled(ring, tmp_path, 5, MANY)
    assert_all_there(ring, rows, range(1, 6))
    ring.wait_healthy(5)
    assert ring.ring()["keys"] == MANY

    # The whole path of the issue: one leaves, another is killed.
    ring.leave(2)
    assert_all_there(ring, rows, [1, 3, 4, 5])
    ring.wait_healthy(4, 120)
    ring.kill(4)
    ring.wait_ideal(3)
    assert_all_there(ring, rows, [1, 3, 5])


@pytest.mark.parametrize("slot", [1, 3, *(pytest.param(slot, marks=pytest.mark.slow)
                                         for slot in (2, 4, 5))])
def test_rows_outlive_a_kill_of_any_one_node(new_ring, tmp_path, slot):
    ring = new_ring()
    rows = filled(ring, tmp_path, 5, SOME)
    ring.wait_healthy(5)
    ring.kill(slot)
    ring.wait_ideal(4)
    assert_all_there(ring, rows, [other for other in range(1, 6) if other != slot])
    ring.start_node(slot)
    ring.wait_healthy(5)
    assert_all_there(ring, rows, [slot])


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_rows_outlive_the_end_of_all_nodes(new_ring, tmp_path, how):
    ring = new_ring()
    rows = filled(ring, tmp_path, 5, SOME)
    before = ring.ring()["ring_id"]
    getattr(ring, how)(*range(1, 6))
    ring.supervisor.start_first(5)
    ring.wait_ready()
    ring.wait_healthy(5)
    assert ring.ring()["ring_id"] == before
    assert_all_there(ring, rows, range(1, 6))


def test_kill_right_after_the_import_loses_nothing(new_ring, tmp_path):
    ring = new_ring()
    rows = filled(ring, tmp_path, 5, SOME)
    ring.kill(*range(1, 6))
    ring.end_gateway()
    ring.supervisor.start_first(5)
    ring.supervisor.start_gateway()
    ring.wait_ready()
    assert_all_there(ring, rows, range(1, 6))


def test_three_nodes_down_to_one(new_ring, tmp_path):
    ring = new_ring(NUM_OF_NODES=3)
    rows = filled(ring, tmp_path, 3, SOME)
    ring.wait_healthy(3)
    ring.kill(2)
    ring.wait_ideal(2)
    assert_all_there(ring, rows, [1, 3])
    ring.leave(1)
    ring.wait_ideal(1)
    assert_all_there(ring, rows, [3])


def test_a_closed_loop_of_readers_misses_nothing_on_leave_and_join(new_ring, tmp_path):
    ring = new_ring(build=RELEASE_BUILD)
    rows = filled(ring, tmp_path, 5, SOME)
    ring.wait_healthy(5)
    with Readers(ring, rows) as readers:
        ring.leave(3)
        ring.wait_healthy(4)
        ring.verb(3, "join")
        ring.wait_healthy(5)
        ring.leave(1)
        ring.wait_healthy(4)
    assert readers.counts["right"] > 0
    assert (readers.counts["missing"], readers.counts["wrong"]) == (0, 0), readers.examples
    assert readers.counts["unavailable"] == 0, readers.examples


def test_a_closed_loop_of_readers_sees_nothing_wrong_on_kill(new_ring, tmp_path):
    ring = new_ring(build=RELEASE_BUILD)
    rows = filled(ring, tmp_path, 5, SOME)
    ring.wait_healthy(5)
    with Readers(ring, rows) as readers:
        ring.kill(3)
        ring.wait_healthy(4)
        ring.start_node(3)
        ring.wait_healthy(5)
    assert readers.counts["right"] > 0
    assert (readers.counts["missing"], readers.counts["wrong"]) == (0, 0), readers.examples


def test_an_import_beside_large_values(new_ring, tmp_path):
    """With large values in the rows' own tree, each write near them copied them: 4 to 30 s."""
    ring = new_ring(build=RELEASE_BUILD, M=6)
    ring.start(5)
    ring.wait_healthy(5)
    rows = tmp_path / "rows.csv"
    rows.write_text("key,value\n" + "".join(f"row {i},value {i}\n" for i in range(20_000)))

    def seconds_of_import():
        start = time.monotonic()
        operation = ring.import_csv(rows)
        assert operation["state"] == "done", operation
        return time.monotonic() - start

    alone = min(seconds_of_import() for _ in range(3))
    for i in range(16):
        assert ring.put(f"large {i}", bytes([i]) * (1 << 20)) == 201
    beside = min(seconds_of_import() for _ in range(3))
    print(f"20,000 rows: {alone:.2f} s alone, {beside:.2f} s beside 16 values of 1 MiB")
    assert beside < 3 * alone + 0.5
