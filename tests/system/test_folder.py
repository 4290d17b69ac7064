# SPDX-License-Identifier: MIT
"""Folders and files that go away under running processes: a node stops itself before it acknowledges
what would be found by nobody, and says which file; the gateway goes on and begins a new history."""

import shutil
import sqlite3
import subprocess
import threading

import pytest
from chord_dht import ChordError
from kv import RingClient
from ring import BUILD, until

NODES = 5
DISK_FAILURE = 6  # exit code of chord-node
STOPS_S = 10
WRITERS = 3
CHORDCTL = BUILD / "node" / "chordctl"


class Writer(threading.Thread):
    """Puts one key after another; keeps what was acknowledged, and when its put had begun."""

    def __init__(self, addresses, name):
        super().__init__()
        self.addresses, self.name_of_keys = addresses, name
        self.acknowledged, self.after, self.gone, self.stop = {}, [], False, False

    def run(self):
        with RingClient(*self.addresses, timeout=2) as client:
            number = 0
            while not self.stop:
                key, number = f"{self.name_of_keys} {number}", number + 1
                began_after = self.gone
                try:
                    client.put(key, b"value of " + key.encode())
                    self.acknowledged[key] = b"value of " + key.encode()
                    self.after += [key] if began_after else []
                except ChordError:
                    pass


@pytest.fixture
def written(new_ring):
    """A ring under three writers, which end with the test."""
    ring = new_ring(M=32).start(NODES)
    ring.wait_healthy(NODES)
    addresses = [ring.address(slot) for slot in range(1, NODES + 1)]
    ring.writers = [Writer(addresses, f"writer {number}") for number in range(WRITERS)]
    for writer in ring.writers:
        writer.start()
    until(lambda: all(len(writer.acknowledged) > 20 for writer in ring.writers), 30, "writes")
    yield ring
    for writer in ring.writers:
        writer.stop = True
    for writer in ring.writers:
        writer.join()


def stops_with_its_disk_code(ring, slot, name):
    child = ring.supervisor.nodes[slot]
    until(lambda: not child.running, STOPS_S, f"the end of node {slot}")
    assert child.process.returncode == DISK_FAILURE, child.how_it_ended()
    log = child.stderr_tail()  # goes with the folder
    assert name in log or not child.log_path.exists(), log


def doctor(ring):
    run = subprocess.run([CHORDCTL, "--timeout", "2000", "doctor", ring.address(1)],
                         capture_output=True, text=True, timeout=60)
    return run.returncode, run.stdout + run.stderr


def test_the_whole_data_folder_is_removed(written):
    ring = written
    shutil.rmtree(ring.data_dir)
    for writer in ring.writers:
        writer.gone = True
    for slot in range(1, NODES + 1):
        stops_with_its_disk_code(ring, slot, "chord.db")
    code, text = doctor(ring)
    assert code != 0 and "PASS  disk" not in text, text
    # Not one that was begun after the removal: more than one in flight each would be a lie.
    assert [key for writer in ring.writers for key in writer.after] == []


def test_one_nodes_log_goes_away_and_nothing_is_lost(written):
    """The other ways for a file to go: tests/unit/test_store_files.c."""
    ring, slot = written, 3
    (ring.settings.node_dir(slot) / "chord.db-wal").unlink()
    stops_with_its_disk_code(ring, slot, "removed, renamed or replaced")
    for writer in ring.writers:
        writer.stop = True
        writer.join()
    rows = {key: value for writer in ring.writers for key, value in writer.acknowledged.items()}
    ring.start_node(slot)
    ring.wait_healthy(NODES)
    with RingClient(ring.address(1), timeout=20) as client:
        for key, value in rows.items():
            assert client.value(key) == value, key


def members_saved(path):
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
            return {row[0] for row in database.execute("SELECT address FROM member")}
    except sqlite3.Error:
        return set()


def test_the_gateways_own_file_goes_away(new_ring):
    """History is lost, members are not: they are saved again where the next gateway finds them."""
    ring = new_ring(M=32).start(3)
    ring.wait_ready()
    path = ring.data_dir / "gateway.db"
    all_members = {ring.address(slot) for slot in (1, 2, 3)}
    until(lambda: members_saved(path) == all_members, 10, "members in gateway.db")
    path.rename(ring.data_dir / "aside")
    until(path.exists, 10, "a new gateway.db")
    until(lambda: members_saved(path) == all_members, 10, "members in the new gateway.db")
    assert ring.put("key", b"value") in (201, 204)
    log = (ring.data_dir / "gateway.log").read_text()
    assert "was removed, renamed or replaced under the running gateway" in log
