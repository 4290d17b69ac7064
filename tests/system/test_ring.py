# SPDX-License-Identifier: MIT
"""The ring's shape with real processes: joining, restarting, small rings, many nodes."""

import time

import psutil
import pytest
from ring import RELEASE_BUILD, until

NODE_PSS_BYTES_MAX = 12_000_000


def test_five_nodes_form_an_ideal_ring(new_ring):
    ring = new_ring()
    ring.start(5)
    ring.wait_healthy(5)
    answer = ring.ring()
    assert (answer["m"], answer["n"], answer["replicas"]) == (6, 3, 3)
    assert answer["formed"] is True
    assert {node["address"] for node in answer["nodes"]} == \
        {ring.address(slot) for slot in range(1, 6)}


def test_every_finger_is_the_successor_of_its_start(new_ring):
    ring = new_ring()
    ring.start(5)
    ring.wait_healthy(5)
    ids = sorted(int(node["id"], 16) for node in ring.members())

    def fingers_right():
        for slot in range(1, 6):
            node = ring.get_json(f"/nodes/{ring.address(slot)}")
            for finger in node["fingers"]:
                start = int(finger["start"], 16)
                owner = next((ident for ident in ids if ident >= start), ids[0])
                if int(finger["node"]["id"], 16) != owner:
                    return False
        return True
    until(fingers_right, 30, "right finger tables")


def test_three_nodes_form_a_ring(new_ring):
    ring = new_ring(NUM_OF_NODES=3)
    ring.start(3)
    ring.wait_healthy(3)


def test_one_node_is_a_ring(new_ring):
    ring = new_ring(NUM_OF_NODES=1)
    ring.start(1)
    assert ring.put("key", b"value") in (201, 204)
    assert ring.get("key") == (200, b"value")


def test_stop_all_and_start_all_is_the_same_ring(new_ring):
    ring = new_ring()
    ring.start(5)
    ring.wait_healthy(5)
    before = ring.ring()["ring_id"]
    ring.stop(*range(1, 6))
    ring.supervisor.start_first(5)
    ring.wait_ready()
    ring.wait_healthy(5)
    assert ring.ring()["ring_id"] == before


@pytest.mark.parametrize("slot", [1, 3])
def test_a_killed_node_comes_back(new_ring, slot):
    ring = new_ring()
    ring.start(5)
    ring.wait_healthy(5)
    ring.kill(slot)
    ring.wait_ideal(4)
    assert ring.node(slot)["state"] == "down"
    ring.start_node(slot)
    ring.wait_healthy(5)


def test_a_node_that_left_joins_again(new_ring):
    ring = new_ring()
    ring.start(5)
    ring.wait_healthy(5)
    ring.leave(2)
    ring.wait_ideal(4)
    ring.verb(2, "join")
    ring.wait_healthy(5)


def test_of_all_that_leave_at_once_one_stays_with_the_rows(new_ring):
    ring = new_ring()
    ring.start(3)
    ring.wait_healthy(3)
    for key in range(20):
        assert ring.put(f"kept {key}", "value") == 201
    for slot in (1, 2, 3):
        ring.verb(slot, "leave")
    until(lambda: sorted(ring.node(slot)["state"] for slot in (1, 2, 3)) == ["left", "left", "member"],
          40, lambda: str([ring.node(slot)["state"] for slot in (1, 2, 3)]))
    assert {ring.get(f"kept {key}") for key in range(20)} == {(200, b"value")}


def test_ring_heals_within_3_s_of_a_kill(new_ring):
    ring = new_ring(build=RELEASE_BUILD)
    ring.start(5)
    ring.wait_healthy(5)
    began = time.monotonic()
    ring.verb(4, "kill", {"confirm": ring.node(4)["id"]})
    ring.wait_ideal(4, 3)
    print(f"healed after {time.monotonic() - began:.2f} s")
    ring.supervisor.nodes[4].process.wait(5)


def test_32_nodes_form_an_ideal_ring_within_15_s_and_stay_small(new_ring):
    ring = new_ring(build=RELEASE_BUILD, M=32)
    began = time.monotonic()
    ring.start(32, 15)
    ring.wait_ideal(32, max(0.1, 15 - (time.monotonic() - began)))
    print(f"ideal after {time.monotonic() - began:.2f} s")
    ring.wait_healthy(32)
    sizes = [psutil.Process(child.pid).memory_full_info().pss
             for child in ring.supervisor.nodes.values()]
    print(f"PSS {min(sizes) / 1e6:.1f}..{max(sizes) / 1e6:.1f} MB")
    assert max(sizes) < NODE_PSS_BYTES_MAX
