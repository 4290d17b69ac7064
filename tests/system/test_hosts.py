# SPDX-License-Identifier: MIT
"""Hosts of one ring that come and go, and folders that are carried to another place."""

import shutil
import subprocess

import pytest
from init_process import Init
from launcher import memory
from launcher.run import START_TIMEOUT_PER_NODE_S, START_TIMEOUT_S
from ports import PortBlock
from ring import BUILD, until

CHORDCTL = BUILD / "node" / "chordctl"


@pytest.fixture
def other_host(tmp_path):
    """other_host(*arguments, nodes=...): an init.py with a data folder and ports of its own."""
    folder, ports, started = tmp_path / "other-host", PortBlock(), []
    folder.mkdir()

    def start(*arguments, **options):
        started.append(Init(folder, ports, *arguments, **options))
        return started[-1]
    yield start
    for init in started:
        if init.process.poll() is None:
            init.end()
    ports.close()


def node_address(init, slot):
    return f"127.0.0.1:{init.ports.rpc_port + slot}"


def members(init):
    return [node for node in (init.api.ring() or {"nodes": []})["nodes"]
            if node["state"] == "member"]


def doctor(address):
    run = subprocess.run([CHORDCTL, "--timeout", "2000", "doctor", address], capture_output=True,
                         text=True, timeout=60)
    return run.stdout + run.stderr


def log_of(ring, slot):
    return (ring.data_dir / f"node-{slot}" / "node.log").read_text()


def test_two_of_six_wait_for_the_other_host(new_ring):
    """Two know four others at least, so they are no majority: they must wait, and say for whom."""
    first = new_ring(M=32)
    second = new_ring(M=32, JOIN=first.address(1))
    first.start(4)
    second.start(2)
    first.wait_healthy(6)
    keys = [f"key-{number}" for number in range(50)]
    assert all(first.put(key, "of two hosts") in (201, 204) for key in keys)
    others = [first.address(slot) for slot in (1, 2, 3, 4)]
    for host in (first, second):
        host.stop(*host.running_slots())
        host.end_gateway()
    marks = {slot: len(log_of(second, slot)) for slot in (1, 2)}

    second.supervisor.start_first(2)
    second.supervisor.start_gateway()
    for slot in (1, 2):
        def waits():
            lines = [line for line in log_of(second, slot)[marks[slot]:].splitlines()
                     if f"WARN waiting {second.address(slot)} waits for " in line]
            return lines and lines[-1]
        line = until(waits, 30, lambda: log_of(second, slot)[marks[slot]:])
        named = line.split(" waits for ")[1].split(": members")[0]
        assert sum(address in named for address in others) >= 2, line
        assert second.address(3 - slot) not in named, line
    until(lambda: " waits for " in second.ring().get("warning", ""), 30, second.ring)
    ring = second.ring()
    assert ring["m"] == 32 and 0 < ring["ids_lost"] <= 100, ring
    told = doctor(second.address(1))
    waits = next(line for line in told.splitlines() if "warnings" in line)
    assert " waits for " in waits and sum(address in waits for address in others) >= 2, told
    lost = next(line for line in told.splitlines() if "majorities" in line)
    assert lost.startswith("FAIL") and any(address in lost for address in others), told
    pids = second.supervisor.pids()
    assert sorted(pids) == [1, 2]

    first.supervisor.start_first(4)
    first.supervisor.start_gateway()
    first.wait_healthy(6)
    assert all(first.get(key) == (200, b"of two hosts") for key in keys)
    assert second.supervisor.pids() == pids and sorted(first.supervisor.pids()) == [1, 2, 3, 4]
    until(lambda: " waits for " not in second.ring()["warning"], 10, second.ring)


@pytest.mark.slow  # as long as an ordinary start may take, and a bit more
def test_hosts_of_an_old_ring_start_minutes_apart(start_init, other_host, tmp_path):
    first = start_init(nodes=4)
    first.wait_event("ready")
    join = node_address(first, 1)
    second = other_host("--join", join, nodes=2)
    second.wait_event("ready")
    until(second.api.ready, 60, "copies everywhere")
    assert first.put("kept", b"by two hosts") == 201
    data = tmp_path / "other-host" / "data"
    until(lambda: len(memory.recall(data)["members"]) == 6, 30, "what the supervisor remembers")
    assert first.end() == 0 and second.end() == 0

    alone = other_host("--join", join, nodes=2)
    waiting = alone.wait_event("waiting")
    for slot in (1, 2, 3, 4):
        assert node_address(first, slot) in waiting["waiting_for"], waiting
    patience_s = START_TIMEOUT_S + 2 * START_TIMEOUT_PER_NODE_S + 2

    def outlasted():
        status = [event for event in alone.events() if event["event"] == "status"]
        return status and min(node["uptime_s"] for node in status[-1]["nodes"]) > patience_s and \
            status[-1]
    status = until(outlasted, 2 * patience_s, lambda: alone.output.read_text())
    assert join in status["waiting_for"] and join in status["warning"]
    assert [event for event in alone.events() if event["event"] == "node_down"] == []
    again = start_init(nodes=4)
    for host in (alone, again):
        host.wait_event("ready")
    until(lambda: again.get("kept") == (200, b"by two hosts"), 60, "the row")


def test_the_host_named_in_join_is_gone(start_init, other_host):
    """A node that knows nobody yet finds the ring by the nodes beside it."""
    first = start_init(nodes=1)
    first.wait_event("ready")
    join = node_address(first, 1)
    second = other_host("--join", join, nodes=2)
    second.wait_event("ready")
    assert second.put("kept", b"by those who stay") == 201
    assert first.order("--leave").returncode == 0
    until(lambda: len(members(second)) == 2, 30, "the two that stay")
    added = second.order("--add", "1")
    assert added.returncode == 0, added.stdout + added.stderr
    assert len(members(second)) == 3
    assert second.get("kept") == (200, b"by those who stay")


def test_a_folder_that_was_moved_on_purpose(start_init, other_host, tmp_path):
    before = start_init(nodes=1)
    before.wait_event("ready")
    assert before.put("kept", b"in a folder that moves") == 201
    assert before.end() == 0
    shutil.copytree(tmp_path / "data", tmp_path / "other-host" / "data")
    shutil.rmtree(tmp_path / "data")

    unsaid = other_host(nodes=1)
    assert unsaid.process.wait(60) != 0
    text = next(event["text"] for event in unsaid.events() if event["event"] == "error")
    assert str(tmp_path / "data" / "node-") in text and node_address(before, 1)[:-1] in text
    assert str(tmp_path / "other-host" / "data" / "node-") in text
    assert "exit code 7 (a copy" in text and "python3 init.py --moved" in text

    moved = other_host("--moved", nodes=1)
    moved.wait_event("ready")
    assert moved.get("kept") == (200, b"in a folder that moves")


def test_one_node_that_was_restored_on_purpose(start_init, tmp_path):
    """Its start says at once why not, in the order and on the page, and goes with --moved."""
    init = start_init()
    init.wait_event("ready")
    until(init.api.ready, 60, "copies everywhere")
    node = next(child for child in init.children() if node_address(init, 3) in child.cmdline())
    node.kill()
    init.wait_event("node_down")
    folder = tmp_path / "data" / "node-3"
    shutil.copytree(folder, tmp_path / "backup")
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "backup", folder)
    accepted, page = init.api.node_verb(node_address(init, 3), "start")
    order = init.order("--start", "3")
    assert not accepted and order.returncode != 0
    for text in (page, order.stdout):
        assert "node 3 ended with exit code 7 (a copy" in text, text
        assert "is a copy of a node's database" in text and "--moved" in text, text
    moved = init.order("--start", "3", "--moved")
    assert moved.returncode == 0, moved.stdout
    assert len(members(init)) == 3


def test_a_copy_beside_its_original(start_init, other_host, tmp_path):
    """--moved, but the original lives: both sides name both, and say what to do."""
    first = start_init(nodes=3)
    first.wait_event("ready")
    until(first.api.ready, 60, "copies everywhere")
    (tmp_path / "other-host" / "data").mkdir(mode=0o700)
    shutil.copytree(tmp_path / "data" / "node-2", tmp_path / "other-host" / "data" / "node-1")
    copy = other_host("--moved", "--join", node_address(first, 1), nodes=1)
    original, there = node_address(first, 2), f"127.0.0.1:{copy.ports.rpc_port + 1}"
    assert copy.process.wait(60) != 0
    text = next(event["text"] for event in copy.events() if event["event"] == "error")
    assert f"at {original}" in text and there in text and "starts with an empty folder" in text
    words = f"{original}: a copy of its data runs at {there} and is refused"
    until(lambda: words in first.api.ring()["warning"], 10, first.api.ring)
    log = (tmp_path / "data" / "node-2" / "node.log").read_text()
    assert words in log and words in doctor(original), log
    assert first.put("kept", b"by the original") == 201
