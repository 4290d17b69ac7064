"""Hosts of one ring that come and go, and folders that are carried to another place."""

import shutil

import pytest
from init_process import Init
from ports import PortBlock
from ring import until


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
