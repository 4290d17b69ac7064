# SPDX-License-Identifier: MIT
"""Databases of another version under real nodes; a ring goes up to this version and back."""

import io
import shutil
import sqlite3
import subprocess
import tarfile
import threading

import pytest
from ring import ROOT, until

NODE_EXIT_DATA, NODE_EXIT_FORMAT = 4, 8
NODES = 4
WRITERS = 3
KEYS_EACH = 40
# The last commit with each earlier schema, and how its program ends at a database of today's. That of
# schema 6 opens any database, and its records are structs.
BEFORE = {6: ("5bd1b85fef523bbf34dfc28533fb6766213c347a", NODE_EXIT_DATA),
          7: ("edbd7f3d13e203fa9b4ad4c5940f9aa0fb0dbeb5", NODE_EXIT_FORMAT)}
TODAY = 8


def change(database, sql):
    connection = sqlite3.connect(database)
    connection.executescript(sql)
    connection.close()


def schema_of(database):
    connection = sqlite3.connect(database)
    try:
        return connection.execute("PRAGMA user_version").fetchone()[0]
    finally:
        connection.close()


def test_a_database_of_the_future_stops_the_node(new_ring):
    ring = new_ring(M=32)
    ring.start(4)
    ring.put("key", "value")
    ring.stop(2)
    database = ring.data_dir / "node-2" / "chord.db"
    schema = schema_of(database)
    change(database, "PRAGMA user_version=99")
    ring.start_node(2)
    node = ring.supervisor.nodes[2]
    assert node.process.wait(30) == NODE_EXIT_FORMAT
    said = node.stderr_tail()
    assert f"{database}: it has schema 99" in said and "Start the version that wrote it" in said
    change(database, f"PRAGMA user_version={schema}")
    ring.start_node(2)
    ring.wait_healthy(4)
    assert ring.get("key") == (200, b"value")


@pytest.fixture(scope="module", params=BEFORE)
def before(tmp_path_factory, request):
    """An earlier schema, its node program built from git, and how that refuses a later one."""
    folder = tmp_path_factory.mktemp("before")
    commit, refusal = BEFORE[request.param]
    archive = subprocess.run(["git", "-C", ROOT, "archive", commit], capture_output=True)
    if archive.returncode != 0:
        pytest.skip(f"this checkout's git does not have commit {commit}")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(folder)
    for command in (["cmake", "--preset", "release", "-G", "Ninja"],
                    ["cmake", "--build", "build/release", "-j", "2", "--target", "chord-node"]):
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    yield request.param, folder / "build" / "release" / "node" / "chord-node", refusal
    shutil.rmtree(folder)


class Writer(threading.Thread):
    """Writes its own keys round and round; knows what each may hold: the last value that was
    acknowledged, or one that was sent after it."""

    def __init__(self, ring, number):
        super().__init__(daemon=True)
        self.ring, self.number = ring, number
        self.may_hold = {f"writer {number} key {key}": {None} for key in range(KEYS_EACH)}
        self.acknowledged = self.refused = 0
        self.ending = threading.Event()

    def run(self):
        count = 0
        while not self.ending.is_set():
            for key, may_hold in self.may_hold.items():
                count += 1
                value = f"{self.number}.{count}".encode()
                may_hold.add(value)
                try:
                    status = self.ring.put(key, value)
                except OSError:
                    status = 0
                if status in (201, 204):
                    self.may_hold[key] = may_hold = {value}
                    self.acknowledged += 1
                else:
                    self.refused += 1

    def wait_for_more(self):
        """So many more acknowledged writes that each node led some of them."""
        wanted = self.acknowledged + KEYS_EACH
        until(lambda: self.acknowledged >= wanted, 60, f"writes of writer {self.number}")

    def check(self):
        for key, may_hold in self.may_hold.items():
            status, value = self.ring.get(key)
            assert (value if status == 200 else None) in may_hold, (key, status, value, may_hold)


@pytest.mark.slow
@pytest.mark.time_limit(600)
def test_rolling_upgrade_and_one_step_back(new_ring, before):
    """Under load, one node after the other; one of them is killed instead of stopped."""
    schema, program_before, refusal = before
    ring = new_ring(M=32, N=3, REPLICAS=3)
    now = ring.supervisor.programs.node
    database = {slot: ring.data_dir / f"node-{slot}" / "chord.db" for slot in range(1, NODES + 1)}

    def start(slot, program):
        ring.supervisor.programs.node = program
        ring.start_node(slot)
        ring.wait_healthy(NODES)
        for writer in writers:
            writer.wait_for_more()

    def say(what):
        print(f"{what}: {sum(writer.acknowledged for writer in writers)} writes acknowledged, "
              f"{sum(writer.refused for writer in writers)} not")

    writers = []
    ring.supervisor.programs.node = program_before
    ring.start(NODES)
    ring.wait_healthy(NODES)
    writers += [Writer(ring, number) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    for slot in database:  # up
        ring.kill(slot) if slot == 3 else ring.stop(slot)
        start(slot, now)
        assert not database[slot].with_name("chord.db.before-upgrade").exists()
    say("up")
    for slot in database:  # and back
        ring.stop(slot)
        assert schema_of(database[slot]) == TODAY
        if slot == 2:  # without the step: it ends, and nothing has happened
            ring.supervisor.programs.node = program_before
            ring.start_node(slot)
            assert ring.supervisor.nodes[slot].process.wait(30) == refusal
            assert schema_of(database[slot]) == TODAY
        subprocess.run([now, "--data", database[slot].parent, "--downgrade-schema", str(schema)],
                       check=True)
        assert schema_of(database[slot]) == schema
        start(slot, program_before)
    say("back")
    for writer in writers:
        writer.ending.set()
    for writer in writers:
        writer.join(60)
    for writer in writers:
        writer.check()
