# SPDX-License-Identifier: MIT
"""Disks that are copied, and nodes whose addresses change: a store votes in one place only, and its
seats follow it to another address."""

import shutil
import subprocess
import time

import pytest
from ring import BUILD, SANITIZED, Ring, until

KEYS = [f"key-{number}" for number in range(100)]
NODE_EXIT_COPY = 7
ALL_BACK_S = 30 if SANITIZED else 10


@pytest.fixture
def elsewhere():
    """elsewhere(ring, **values): the launcher of its data folder, at other ports."""
    rings = []

    def make(ring, **values):
        rings.append(Ring(ring.data_dir.parent, M=32, **values))
        return rings[-1]
    yield make
    for ring in rings:
        ring.close()


@pytest.fixture
def node_at(tmp_path):
    """node_at(address, folder, *flags): a node of nobody's launcher; its log is in `folder`."""
    nodes = []

    def start(address, folder, *flags):
        with open(folder / "stderr.log", "ab") as log:
            nodes.append(subprocess.Popen(
                [BUILD / "node" / "chord-node", "--listen", address, "--data", folder, *flags],
                stdout=subprocess.DEVNULL, stderr=log))
        return nodes[-1]
    yield start
    for node in nodes:
        if node.poll() is None:
            node.terminate()
            node.wait(30)


def put_all(ring):
    for key in KEYS:
        assert ring.put(key, "value of " + key) in (201, 204)


def check_all(ring):
    for key in KEYS:
        assert ring.get(key) == (200, ("value of " + key).encode())


def stop_all(ring):
    ring.stop(*ring.running_slots())
    ring.end_gateway()


def copy_of(ring, slot, folder):
    """As a machine is cloned: while the node runs."""
    shutil.copytree(ring.data_dir / f"node-{slot}", folder)
    (folder / "stderr.log").unlink()
    return folder


def test_all_addresses_change(new_ring, elsewhere):
    before = new_ring(M=32)
    before.start(5)
    put_all(before)
    stop_all(before)
    after = elsewhere(before)
    began = time.monotonic()
    after.start(5, ALL_BACK_S)
    after.wait_healthy(5, ALL_BACK_S)
    check_all(after)
    print(f"all addresses changed, healthy after {time.monotonic() - began:.1f} s")
    assert time.monotonic() - began < ALL_BACK_S


def test_one_hosts_addresses_change(new_ring, elsewhere):
    """A third of the nodes at once: ranges of which most members have moved are among them."""
    ring = new_ring(M=32)
    ring.start(6)
    put_all(ring)
    ring.stop(5, 6)
    host = elsewhere(ring, JOIN=ring.address(1))
    began = time.monotonic()
    for slot in (5, 6):
        host.start_node(slot)
    until(lambda: sum(node["address"] in (host.address(5), host.address(6))
                      for node in ring.members()) == 2, 30, lambda: str(ring.ring()))
    ring.wait_healthy(6, 30)
    check_all(ring)
    print(f"two of six moved, healthy after {time.monotonic() - began:.1f} s")


def test_a_host_with_another_name_is_no_copy_of_itself(new_ring, node_at):
    """Its former address still leads to it."""
    ring = new_ring(M=32)
    ring.start(4)
    put_all(ring)
    ring.stop(2)
    renamed = ring.address(2).replace("127.0.0.1", "localhost")
    node = node_at(renamed, ring.data_dir / "node-2", "--join", ring.address(1))
    until(lambda: node.poll() is not None
          or renamed in [member["address"] for member in ring.members()], 30,
          lambda: str(ring.ring()))
    ring.wait_healthy(4)
    check_all(ring)
    assert node.poll() is None


def test_a_copied_folder_is_refused(new_ring, node_at, tmp_path):
    ring = new_ring(M=32)
    ring.start(4)
    put_all(ring)
    folder = copy_of(ring, 2, tmp_path / "copy")
    copy = node_at(ring.address(9), folder, "--join", ring.address(1))
    assert copy.wait(30) == NODE_EXIT_COPY
    text = (folder / "stderr.log").read_text()
    assert str(folder) in text and str(ring.data_dir / "node-2") in text
    assert ring.address(2) in text and "--moved" in text
    check_all(ring)
    ring.wait_healthy(4)


def test_a_cloned_machine_is_refused(new_ring, node_at, tmp_path):
    """--moved stands for a snapshot of a whole machine: nothing local tells the copy."""
    ring = new_ring(M=32)
    ring.start(4)
    put_all(ring)
    folder = copy_of(ring, 2, tmp_path / "copy")
    copy = node_at(ring.address(9), folder, "--moved", "--join", ring.address(1))
    assert copy.wait(30) == NODE_EXIT_COPY
    text = (folder / "node.log").read_text()
    assert f"at {ring.address(2)}" in text and ring.address(9) in text
    check_all(ring)
    ring.wait_healthy(4)


def test_the_original_comes_back_after_its_copy(new_ring, node_at, tmp_path):
    ring = new_ring(M=32)
    ring.start(4)
    put_all(ring)
    ring.stop(2)
    folder = copy_of(ring, 2, tmp_path / "copy")
    node_at(ring.address(9), folder, "--moved", "--join", ring.address(1))
    until(lambda: ring.address(9) in [node["address"] for node in ring.members()], 30,
          lambda: str(ring.ring()))
    ring.wait_healthy(4)
    check_all(ring)
    ring.start_node(2)
    original = ring.supervisor.nodes[2]
    until(lambda: not original.running, 30, "the end of the original")
    assert original.process.returncode == NODE_EXIT_COPY
    assert ring.address(9) in (ring.data_dir / "node-2" / "node.log").read_text()
    ring.wait_healthy(4)
    check_all(ring)
