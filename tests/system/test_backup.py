# SPDX-License-Identifier: MIT
"""`chordctl backup`: copies of a ring that is written to, and a node that comes back from one."""

import shutil
import sqlite3
import stat
import threading
from pathlib import Path

from kv import read_all
from ring import until
from test_chordctl import NOT_FOUND, OK, Chordctl
from test_repair import assert_rows, database, put_all, restore, rows_of


def values_in(path):
    db = sqlite3.connect(f"file:{path}?immutable=1", uri=True)
    try:
        return dict(db.execute("SELECT CAST(key AS TEXT), CAST(value AS TEXT) FROM rows"
                               " WHERE kind = 1"))
    finally:
        db.close()


def test_a_ring_that_is_written_to(new_ring):
    ring = new_ring(NUM_OF_NODES=4, N=3, REPLICAS=3).start(4)
    ring.wait_healthy(4)
    ctl = Chordctl(ring.address(1))
    older = rows_of(1)
    put_all(ring, older)
    ended, refused = threading.Event(), []

    def write():
        number = 0
        while not ended.is_set():
            if ring.put(f"more {number}", "m" * 500) not in (200, 201, 204):
                refused.append(number)
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        answer = ctl.json("backup")
    finally:
        ended.set()
        writer.join()
    assert not refused and answer["steady"]
    made = answer["backups"]
    assert {each["node"] for each in made} == {ring.address(slot) for slot in (1, 2, 3, 4)}
    held = {}
    for each in made:
        path = Path(each["path"])
        values = values_in(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.stat().st_size == each["bytes"] and 0 < len(values) <= each["rows"]
        assert values.items() >= {key: older[key] for key in older if key in values}.items()
        held.update(values)
    assert set(older) <= set(held)  # each was acknowledged before the first copy began

    # How many stay.
    of_two = Path(next(each["path"] for each in made if each["node"] == ring.address(2)))
    ctl.run("backup", ring.address(2), "--keep", "1", exits=OK)
    assert len(list(of_two.parent.iterdir())) == 1 and not of_two.exists()
    said = ctl.run("backup", "--keep", "17", exits=2)[1].decode()
    assert "1 to 16" in said

    # Back from it, after the ring has gone on.
    newer = rows_of(2)
    put_all(ring, newer)
    ring.kill(2)
    folder = database(ring, 2).parent
    put_aside = folder.with_name("node-2.old")
    shutil.move(folder, put_aside)
    restore(next((put_aside / "backup").iterdir()), folder)
    ring.start_node(2)
    ring.wait_healthy(4, 90)
    assert_rows(ring, newer, (1, 2, 3, 4))


def test_a_ring_that_is_lost(new_ring):
    """All nodes come back from copies of different moments: what was acknowledged before the first
    one is there, and whatever came later is one of the values that were written."""
    ring = new_ring(NUM_OF_NODES=4, N=3, REPLICAS=3).start(4)
    ring.wait_healthy(4)
    older, newer = rows_of(1), rows_of(2)
    put_all(ring, older)
    writer = threading.Thread(target=put_all, args=(ring, newer))
    writer.start()
    made = Chordctl(ring.address(1)).json("backup")
    writer.join()
    assert made["steady"]
    ring.kill(1, 2, 3, 4)
    ring.end_gateway()
    for slot in (1, 2, 3, 4):
        path = next(each["path"] for each in made["backups"] if each["node"] == ring.address(slot))
        copy = database(ring, slot).with_name("copy")
        shutil.move(path, copy)
        for name in ("chord.db", "chord.db-wal"):
            database(ring, slot).with_name(name).unlink(missing_ok=True)
        copy.rename(database(ring, slot))
        ring.supervisor.start_node(slot, moved=True)
    ring.supervisor.start_gateway()
    ring.wait_healthy(4, 90)
    for slot in (1, 4):
        found = read_all(ring, slot, older)
        for key in older:
            assert found[key] in (older[key].encode(), newer[key].encode()), (slot, key)
    put_all(ring, newer)
    assert_rows(ring, newer, (1, 2, 3, 4))


def test_who_makes_none_is_named(new_ring):
    ring = new_ring(NUM_OF_NODES=3, N=2, REPLICAS=3).start(3)
    ring.wait_healthy(3)
    ctl = Chordctl(ring.address(1))
    folder = database(ring, 2).parent / "backup"
    folder.write_text("in the way of the folder")
    errors = ctl.run("backup", exits=NOT_FOUND)[1].decode()
    assert ring.address(2) in errors and str(folder) in errors
    for slot, copies in ((1, 1), (3, 1)):
        assert len(list((database(ring, slot).parent / "backup").iterdir())) == copies
    until(lambda: "none was made" in ctl.text("logs", ring.address(2)), 10, "a line in the log")
    ring.kill(3)
    ctl.run("backup", ring.address(3), exits=NOT_FOUND)
