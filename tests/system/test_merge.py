# SPDX-License-Identifier: MIT
"""Two rings that were built apart become one with chordctl merge: every row that was acknowledged
by either is there afterwards, through every node, also when the merge is killed on its way."""

import csv
import json
import os
import random
import subprocess
import threading
import time

import pytest

from chord_dht import ChordError, Get
from kv import RingClient, read_all
from ring import until
from rows import unicode_rows, write_csv
from test_chordctl import CHORDCTL, NO_NODE, NOT_FOUND, OK, REFUSED, USAGE, Chordctl

SIZE = 3
ROWS = 3000


@pytest.fixture
def rings(new_ring):
    return [new_ring(NUM_OF_NODES=SIZE).start(SIZE) for _ in range(2)]


def merge_words(rings, *more):
    return ["merge", "--from", rings[0].address(1), "--into", rings[1].address(2), "--yes", *more]


def fill(ring, rows, path):
    Chordctl(ring.address(1)).run("import", str(write_csv(path, rows)))


def state_of(address):
    """"down" while nobody listens there."""
    done = subprocess.run([CHORDCTL, "node", address, "-o", "json"], capture_output=True, check=False)
    return json.loads(done.stdout)["state"] if done.returncode == 0 else "down"


def check_one_ring(rings, expected):
    ctl = Chordctl(rings[1].address(2))
    until(lambda: ctl.json("ring")["ideal"], 30, lambda: ctl.text("ring"))
    assert ctl.json("ring")["members"] == 2 * SIZE
    for ring in rings:
        ring.wait_healthy(2 * SIZE)  # what the page of each host shows
    for ring in rings:
        for slot in range(1, SIZE + 1):
            found = read_all(ring, slot, expected)
            assert found == {key: value.encode() for key, value in expected.items()}


def split_rows():
    """Two halves of real rows; the second ring has two keys of the first, one with its value."""
    rows = list(unicode_rows(ROWS).items())
    first, second = dict(rows[:ROWS // 2]), dict(rows[ROWS // 2:])
    (same, value), (conflict, _) = list(first.items())[:2]
    second |= {same: value, conflict: "of the second ring"}
    return first, second, conflict


@pytest.mark.parametrize("on_conflict", ["keep", "replace"])
def test_two_rings_become_one(rings, tmp_path, on_conflict):
    first, second, conflict = split_rows()
    fill(rings[0], first, tmp_path / "first.csv")
    fill(rings[1], second, tmp_path / "second.csv")
    lost = tmp_path / "lost.csv"
    keep = on_conflict == "keep"
    answer = Chordctl().json(*merge_words(rings, "--on-conflict", on_conflict,
                                          "--conflicts", str(lost)))
    assert answer == {
        "result": "merged", "members_moved": SIZE, "rows_read": len(first),
        "rows_copied": len(first) - (2 if keep else 1), "rows_same": 1, "conflicts": 1,
        "conflicts_file": str(lost), "members": 2 * SIZE, "keys": len(first) + len(second) - 2}
    check_one_ring(rings, first | second if keep else second | first)
    with open(lost, newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    assert lines[:-1] == [["key", "value", "chord:base64", "chord:expires_at_ms"],
                          [conflict, (first if keep else second)[conflict], "", ""]]
    again = Chordctl().json(*merge_words(rings))
    assert (again["result"], again["members"]) == ("one ring already", 2 * SIZE)


def test_moved_nodes_belong_to_their_new_ring_after_a_restart(rings, tmp_path):
    first, second, _ = split_rows()
    fill(rings[0], first, tmp_path / "first.csv")
    fill(rings[1], second, tmp_path / "second.csv")
    Chordctl().run(*merge_words(rings, "--conflicts", str(tmp_path / "lost.csv")))
    for slot in range(1, SIZE + 1):  # each is started with the seeds of its former ring
        rings[0].kill(slot)
        rings[0].start_node(slot)
        ctl = Chordctl(rings[1].address(1))
        until(lambda: ctl.json("ring")["ideal"] and ctl.json("ring")["members"] == 2 * SIZE, 60,
              lambda: ctl.text("ring"))
    check_one_ring(rings, first | second)


class Writer(threading.Thread):
    """Puts keys of its own through one node until it is told to stop; remembers the acknowledged
    ones."""

    def __init__(self, ring, slot):
        super().__init__(daemon=True)
        self.address, self.name = ring.address(slot), f"{ring.address(slot)}"
        self.acknowledged = {}
        self.ended = threading.Event()

    def run(self):
        number = 0
        with RingClient(self.address, timeout=2) as client:
            while not self.ended.is_set():
                number += 1
                key, value = f"written through {self.name} as {number}", f"value {number}"
                try:
                    client.put(key, value)
                    self.acknowledged[key] = value
                except ChordError:
                    self.ended.wait(0.05)

    def stop(self):
        self.ended.set()
        self.join()
        return self.acknowledged


def test_a_merge_that_is_killed_goes_on_and_no_acknowledged_write_is_lost(rings, tmp_path):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    first, second, _ = split_rows()
    fill(rings[0], first, tmp_path / "first.csv")
    fill(rings[1], second, tmp_path / "second.csv")
    writers = [Writer(ring, slot) for ring in rings for slot in (1, 3)]
    for writer in writers:
        writer.start()
    words = merge_words(rings, "--conflicts", str(tmp_path / "lost.csv"))
    kills = 0
    while True:
        process = subprocess.Popen([CHORDCTL, *words], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        try:  # the moment of the kill is what is tried out; later each time, so that it ends
            assert process.wait(chance.uniform(0.1, 1.0 + 0.3 * kills)) == OK
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
    print(f"killed {kills} times")
    assert Chordctl().json(*words)["result"] == "one ring already"
    expected = first | second
    for writer in writers:
        acknowledged = writer.stop()
        assert acknowledged
        expected |= acknowledged
    check_one_ring(rings, expected)


def test_keys_that_are_made_while_their_rows_are_copied(new_ring, tmp_path):
    """A value that the other ring got between the look and the store stays."""
    rings = [new_ring(NUM_OF_NODES=1).start(1) for _ in range(2)]
    rows = {f"key {i}": f"first {i}" for i in range(20_000)}
    fill(rings[0], rows, tmp_path / "first.csv")
    words = ["merge", "--from", rings[0].address(1), "--into", rings[1].address(1), "--yes",
             "--conflicts", str(tmp_path / "lost.csv")]
    acknowledged = {}

    def write(keys):
        for key in keys:
            if process.poll() is not None:
                break
            if rings[1].put(key, "second") in (201, 204):
                acknowledged[key] = "second"

    process = subprocess.Popen([CHORDCTL, *words], stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True)
    other = Chordctl(rings[1].address(1))
    until(lambda: other.json("ring")["keys"] > 0, 60, "the first rows")
    keys = list(rows)
    random.Random(1).shuffle(keys)
    writers = [threading.Thread(target=write, args=(keys[i::4],)) for i in range(4)]
    for writer in writers:
        writer.start()
    assert process.wait(120) == OK, process.stderr.read()
    for writer in writers:
        writer.join()
    until(lambda: other.json("ring")["ideal"], 30, lambda: other.text("ring"))
    expected = {key: value.encode() for key, value in (rows | acknowledged).items()}
    assert len(acknowledged) > 1000
    assert read_all(rings[1], 1, expected) == expected


def test_the_last_member_can_go_back(rings, tmp_path):
    first, second, conflict = split_rows()
    fill(rings[0], first, tmp_path / "first.csv")
    fill(rings[1], second, tmp_path / "second.csv")
    # It stops when the value that loses cannot be kept: the last member has left, rows are here.
    nowhere = tmp_path / "no such folder" / "lost.csv"
    Chordctl().run(*merge_words(rings, "--conflicts", str(nowhere)), exits=NOT_FOUND)
    last = rings[0].address(1)
    ctl = Chordctl(last)
    assert ctl.json("node", last)["state"] == "left"
    ctl.run("get", conflict, "--timeout", "1000", exits=REFUSED)
    ctl.run("put", conflict, "not taken", "--timeout", "1000", exits=REFUSED)
    rings[0].kill(1)
    rings[0].start_node(1)
    until(lambda: state_of(last) == "left", 30, "left after a restart too")
    ctl.run("join", last, "--wait")
    assert read_all(rings[0], 1, first) == {key: value.encode() for key, value in first.items()}
    Chordctl().run(*merge_words(rings, "--conflicts", str(tmp_path / "lost.csv")))
    check_one_ring(rings, first | second)


HOSTILE = [b"\0", b"\xff\xfe", b"a,b", b'"', b"\r\n", b"=1+1", b"chord:end", b" ", b"k" * 1024,
           "\N{SNOWMAN}".encode(), b"\xef\xbb\xbf", bytes(range(256))]


@pytest.mark.parametrize("on_conflict", ["keep", "replace"])
def test_what_loses_comes_back(new_ring, tmp_path, on_conflict):
    """Any bytes, and when they expire; more than one page of them."""
    rings = [new_ring(NUM_OF_NODES=1).start(1) for _ in range(2)]
    expires = (int(time.time()) + 100000) * 1000
    keys = [*HOSTILE, *(b"plain %d" % number for number in range(600))]
    kept, lost = (1, 0) if on_conflict == "keep" else (0, 1)
    loses = {key: (b"loses \0\xff," + key, expires + at if at % 2 else 0)
             for at, key in enumerate(keys)}
    stays = {key: (b"stays " + key, 0) for key in keys}
    for ring, rows in ((rings[kept], stays), (rings[lost], loses)):
        with RingClient(ring.address(1), timeout=20) as client:
            for key, row in rows.items():
                client.put(key, row[0], expires_at_ms=row[1])
    file = tmp_path / "lost.csv"
    file.write_bytes(b"of another merge")
    words = ["merge", "--from", rings[0].address(1), "--into", rings[1].address(1), "--yes",
             "--on-conflict", on_conflict, "--conflicts", str(file)]
    answer = Chordctl().json(*words)
    assert (answer["conflicts"], answer["rows_read"]) == (len(keys), len(keys))
    assert answer["conflicts_file"] == f"{file}.2"
    assert file.read_bytes() == b"of another merge"
    assert os.stat(f"{file}.2").st_mode & 0o777 == 0o600
    ctl = Chordctl(rings[1].address(1))
    imported = ctl.json("import", f"{file}.2")
    assert (imported["state"], imported["form"]) == ("done", "lossless")
    assert imported["rows_stored"] == len(keys)
    with RingClient(rings[1].address(1), timeout=20) as client:
        for at in range(0, len(keys), 100):
            for key, found in zip(keys[at:], client.batch([Get(key) for key in keys[at:at + 100]])):
                assert (found.value, found.expires_at_ms) == loses[key], key


def test_what_is_refused(new_ring, tmp_path):
    one = new_ring(NUM_OF_NODES=1).start(1)
    other = new_ring(NUM_OF_NODES=1, REPLICAS=2).start(1)
    ctl = Chordctl()
    _, errors = ctl.run("merge", "--from", one.address(1), "--into", other.address(1), "--yes",
                        exits=REFUSED)
    assert b"REPLICAS=3" in errors and b"REPLICAS=2" in errors
    for words in (["--from", one.address(1)], ["--from", "x", "--into", one.address(1)],
                  ["--from", one.address(1), "--into", other.address(1), "--on-conflict", "ask"]):
        ctl.run("merge", *words, exits=USAGE)
    ctl.run("merge", "--from", "127.0.0.1:1", "--into", one.address(1), "--yes", exits=NO_NODE)
    same = ctl.json("merge", "--from", one.address(1), "--into", one.address(1), "--yes")
    assert same["result"] == "one ring already"
