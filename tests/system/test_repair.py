# SPDX-License-Identifier: MIT
"""What a disk can do to a copy, and what people do about it: doctor, restore, flipped bytes, and a
node that is destroyed the moment it says that it has left."""

import json
import re
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from urllib.parse import quote

import pytest
from chord_dht import ChordError
from kv import RingClient, read_all
from ring import BUILD, until
from test_chordctl import CHORDCTL, NOT_FOUND, OK, REFUSED, Chordctl

ROWS = 300
PAUSE_S = 1.0
NO_MAJORITY_S = 5


def rows_of(generation, count=ROWS):
    return {f"key {number}": f"generation {generation} of {number} " + "v" * 40
            for number in range(count)}


def put_all(ring, rows):
    for key, value in rows.items():
        assert ring.put(key, value) in (200, 201, 204), key


def assert_rows(ring, rows, slots):
    for slot in slots:
        found = read_all(ring, slot, rows)
        wrong = {key: found.get(key) for key in rows if found.get(key) != rows[key].encode()}
        assert not wrong, f"{len(wrong)} of {len(rows)} wrong through node {slot}: " \
                          f"{list(wrong.items())[:3]}"


def database(ring, slot):
    return ring.data_dir / f"node-{slot}" / "chord.db"


def views_of(ring, slot):
    """What a node says of each range that its database has rows of."""
    ranges = ring.get_json("/nodes/" + quote(ring.address(slot), safe=""))["ranges"]
    return {(each["lo"], each["hi"], each["epoch"]): each for each in ranges}


def views_served(ring, slots):
    """The views that a leader serves with all its copies."""
    return [view for slot in slots for view, each in views_of(ring, slot).items()
            if each["state"] == "open" and each["copies"] == len(each["members"])]


def stored(ring, slot, key):
    """The value in the file of a stopped node; None: no such row."""
    db = sqlite3.connect(f"file:{database(ring, slot)}?immutable=1", uri=True)
    row = db.execute("SELECT value FROM rows WHERE CAST(key AS TEXT) = ?", [key]).fetchone()
    db.close()
    return row and row[0]


def doctor(ctl, *options):
    """What it says, whatever its exit code."""
    return subprocess.run([CHORDCTL, "doctor", *options], capture_output=True, timeout=60,
                          env=ctl.environment).stdout.decode()


def verdicts(ctl, exits=OK):
    answer = ctl.json("doctor", exits=exits)
    return {check["check"]: check for check in answer["checks"]}, answer["verdict"]


def wait_verdict(ctl, wanted, deadline_s=60):
    until(lambda: json.loads(doctor(ctl, "-o", "json") or "{}").get("verdict") == wanted,
          deadline_s, lambda: doctor(ctl))


def test_doctor(new_ring):
    ring = new_ring(NUM_OF_NODES=5).start(5)
    ring.wait_healthy(5)
    put_all(ring, rows_of(1, 40))
    ctl = Chordctl(ring.address(1))
    wait_verdict(ctl, "PASS")
    checks, _ = verdicts(ctl)
    assert {"nodes", "parameters", "members", "lists", "invariant", "leaders", "owners", "views",
            "copies", "majorities", "recovered", "rows", "disk", "clocks", "warnings"} == set(checks)
    assert "3 of 3" in checks["copies"]["reason"]
    assert "PASS  copies" in Chordctl().text("doctor", ring.address(3))

    # One is killed: soon something is short of it, and then again nothing is.
    ring.kill(5)
    text = doctor(ctl)
    assert "WARN  nodes" in text and ring.address(5) in text, text
    wait_verdict(ctl, "PASS", 90)

    # Three of the four that are left are killed: majorities are gone, which somebody must mend.
    # Who has a copy of a key can tell who is missing; which that is depends on the addresses.
    held = ring.get_json(f"/nodes/{ring.address(1)}/keys?limit=1")["keys"][0]["key"]
    ring.kill(2, 3, 4)
    until(lambda: "FAIL" in doctor(ctl), 30, lambda: doctor(ctl))
    assert verdicts(ctl, NOT_FOUND)[1] == "FAIL"
    # Whoever was asked last may not know yet who is missing.
    errors = until(lambda: [text for text in [ctl.run("get", held, "--timeout", "2500",
                                                      exits=REFUSED)[1].decode()]
                            if "Missing:" in text], 30, "chordctl names who is missing")[0]
    assert "127.0.0.1:" in errors.split("Missing:")[1] and "recover" in errors, errors
    # Another sentence while the gateway has not found out yet.
    body = until(lambda: [body for status, body in [ring.get(held)[:2]]
                          if status == 503 and b"no majority" in body], 30, lambda: ring.get(held))[0]
    assert b"start 127.0.0.1:" in body and b"recover" in body, body


def flip(path, marker):
    """One bit of each place where the marker stands in a file."""
    content = bytearray(path.read_bytes())
    at, count = content.find(marker), 0
    while at >= 0:
        content[at + len(marker) // 2] ^= 1
        count += 1
        at = content.find(marker, at + 1)
    path.write_bytes(content)
    return count


def test_a_flipped_byte_in_any_one_copy(new_ring):
    """The copy of the leader and those of the others, one after the other: what is read is right,
    and the copy is replaced by a good one."""
    ring = new_ring(NUM_OF_NODES=3, N=2).start(3)
    ring.wait_healthy(3)
    rows = rows_of(1, 60)
    put_all(ring, rows)
    ctl = Chordctl(ring.address(1), ring.address(2), ring.address(3))
    good = rows["key 7"].encode()
    for slot in (1, 2, 3):
        ring.wait_healthy(3)
        ring.stop(slot)
        assert stored(ring, slot, "key 7") == good
        assert flip(database(ring, slot), good) > 0
        assert stored(ring, slot, "key 7") != good
        ring.start_node(slot)
        ring.wait_healthy(3)
        assert_rows(ring, rows, (1, 2, 3))
        wait_verdict(ctl, "PASS")
        ring.stop(slot)
        assert stored(ring, slot, "key 7") == good  # mended in the file
        ring.start_node(slot)


def test_the_only_copy_is_bad(new_ring):
    """Nobody has a good one: it is told, never given out, and the other rows are there."""
    ring = new_ring(NUM_OF_NODES=1, N=1, REPLICAS=1).start(1)
    ring.wait_ideal(1)
    rows = rows_of(1, 20)
    put_all(ring, rows)
    ctl = Chordctl(ring.address(1))
    bad = rows.pop("key 7")
    ring.stop(1)
    assert flip(database(ring, 1), bad.encode()) > 0
    ring.start_node(1)
    ring.wait_ready()
    until(lambda: "1 row that its disk has changed" in doctor(ctl), 30,
          lambda: doctor(ctl))  # nobody has read it: the scrub found it
    assert verdicts(ctl, NOT_FOUND)[0]["rows"]["verdict"] == "FAIL"
    status, body = ring.get("key 7")
    assert status >= 500 and bad.encode() not in body, (status, body)
    assert_rows(ring, rows, [1])
    assert "damaged" in ctl.text("logs", ring.address(1))
    assert ring.put("key 7", "new") in (200, 201, 204)
    until(lambda: "PASS  rows" in doctor(ctl), 30, lambda: doctor(ctl))


def restore(backup, directory, exits=0):
    """chord-node --restore: what it says."""
    done = subprocess.run([BUILD / "node" / "chord-node", "--restore", backup, "--data", directory],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == exits, done
    return done.stdout + done.stderr


NO_BACKUP, FOLDER_TAKEN = 2, 4


def test_restore(new_ring, tmp_path):
    """An older copy comes back as a new replica: no stale value is ever read."""
    ring = new_ring(NUM_OF_NODES=4, N=3, REPLICAS=3).start(4)
    ring.wait_healthy(4)
    ctl = Chordctl(ring.address(1))
    older = rows_of(1)
    put_all(ring, older)
    deleted = [f"gone {number}" for number in range(20)]
    put_all(ring, {key: "x" for key in deleted})

    # As a snapshot of the file system takes it: the database and its log at one moment.
    node = ring.supervisor.nodes[2]
    backup = tmp_path / "backup"
    backup.mkdir()
    node.signal(signal.SIGSTOP)
    for name in ("chord.db", "chord.db-wal"):
        shutil.copy(database(ring, 2).with_name(name), backup / name)
    node.signal(signal.SIGCONT)

    # Refusals, while its node runs.
    nothing = tmp_path / "nothing.db"
    nothing.write_bytes(b"no database, but some text of a certain length" * 100)
    target = database(ring, 2).parent
    assert "running node" in restore(backup / "chord.db", target, FOLDER_TAKEN)
    assert "running node" in restore(database(ring, 1), tmp_path / "new", NO_BACKUP)
    assert "no database" in restore(nothing, tmp_path / "new", NO_BACKUP)
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE rows (a)")
    other.commit()
    other.close()
    assert "not that of a Chord node" in restore(tmp_path / "other.db", tmp_path / "new", NO_BACKUP)
    assert not (tmp_path / "new").exists()

    newer = rows_of(2)
    put_all(ring, newer)
    for key in deleted:
        assert ring.raw("DELETE", "/api/v1/kv/" + key.replace(" ", "%20"))[0] in (200, 204)
    ring.kill(2)
    shutil.rmtree(target)
    answer = restore(backup / "chord.db", target)
    assert int(re.search(r"has (\d+) rows", answer)[1]) > 0
    assert "database already" in restore(backup / "chord.db", target, FOLDER_TAKEN)

    stop, wrong = threading.Event(), []

    def read():
        while not stop.is_set():
            for key in list(newer)[::29] + deleted[:2]:
                status, body = ring.get(key)
                if status == 200 and body != newer.get(key, "").encode():
                    wrong.append((key, body))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        ring.start_node(2)
        ring.wait_healthy(4, 90)
    finally:
        stop.set()
        reader.join()
    assert not wrong, wrong[:3]
    assert_rows(ring, newer, (1, 2, 3, 4))
    assert not read_all(ring, 2, deleted)
    wait_verdict(ctl, "PASS", 90)
    # Full copies in the file itself, and nothing of the older generation: that goes with the ranges
    # that others took over meanwhile. The ring is healthy before node 2 has heard of all of them.
    until(lambda: set(views_of(ring, 2)) <= set(views_served(ring, (1, 2, 3, 4))), 60,
          "node 2 has copies of what is served now, and nothing else")
    ring.stop(2)
    db = sqlite3.connect(f"file:{database(ring, 2)}?immutable=1", uri=True)
    values = dict(db.execute("SELECT CAST(key AS TEXT), CAST(value AS TEXT) FROM rows"
                             " WHERE kind = 1"))
    db.close()
    held = {key: value for key, value in values.items() if key in newer}
    assert held and all(newer[key] == value for key, value in held.items())


def test_a_restored_copy_has_no_vote(new_ring, tmp_path):
    """Two of three copies are older than what was acknowledged last: one that was down, and one
    from a backup. Together they would be a majority, but the backup's votes no more."""
    ring = new_ring(NUM_OF_NODES=3, N=2, REPLICAS=3).start(3)
    ring.wait_healthy(3)
    put_all(ring, rows_of(1, 50))
    ring.stop(1)
    shutil.copy(database(ring, 1), tmp_path / "backup.db")
    ring.start_node(1)
    ring.wait_healthy(3)
    ring.kill(3)
    newer = rows_of(2, 50)
    for key, value in newer.items():
        until(lambda: ring.put(key, value) in (200, 201, 204), 30, "a write by two of three")
    ring.kill(1, 2)
    shutil.rmtree(database(ring, 1).parent)
    restore(tmp_path / "backup.db", database(ring, 1).parent)
    ring.start_node(1)
    ring.start_node(3)
    end = time.monotonic() + NO_MAJORITY_S
    while time.monotonic() < end:
        for slot in (1, 3):
            with RingClient(ring.address(slot), timeout=1) as client:
                for key in list(newer)[::17]:
                    try:
                        answer = client.value(key)
                    except ChordError:
                        continue
                    assert answer == newer[key].encode(), (slot, key, answer)
    ring.start_node(2)
    ring.wait_healthy(3, 90)
    assert_rows(ring, newer, (1, 2, 3))


def successor(ring, slot):
    """The process after that slot's node on the ring."""
    first = ring.node(slot)["successors"][0]
    address = next(node["address"] for node in ring.ring()["nodes"] if node["id"] == first)
    return next(ring.supervisor.nodes[other] for other in range(1, 6)
                if ring.address(other) == address)


@pytest.mark.parametrize("replicas", [2, 3])
def test_a_leaver_destroyed_when_it_has_left(new_ring, replicas):
    """It says `left`: from then on nobody needs it, though the one that takes its keys stood still
    meanwhile. Five times with each number of copies."""
    ring = new_ring(NUM_OF_NODES=5, N=3, REPLICAS=replicas).start(5)
    ring.wait_healthy(5)
    rows = rows_of(1)
    put_all(ring, rows)
    for slot in range(1, 6):
        ctl = Chordctl(ring.address(slot))
        heir = successor(ring, slot)
        heir.signal(signal.SIGSTOP)
        going_on = threading.Timer(PAUSE_S, heir.signal, [signal.SIGCONT])
        going_on.start()
        try:
            ctl.run("leave", ring.address(slot))
            until(lambda: ctl.json("node", ring.address(slot))["state"] == "left", 60,
                  lambda: ctl.text("node", ring.address(slot)))
            ring.kill(slot)
        finally:
            going_on.join()
        shutil.rmtree(database(ring, slot).parent)
        assert_rows(ring, rows, [other for other in range(1, 6) if other != slot])
        rows.update(rows_of(1 + slot, 30))
        put_all(ring, rows_of(1 + slot, 30))
        ring.start_node(slot)
        ring.wait_healthy(5, 90)
