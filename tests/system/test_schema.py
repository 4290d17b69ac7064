"""Databases of another version under real nodes."""

import sqlite3

NODE_EXIT_FORMAT = 8


def change(database, sql):
    connection = sqlite3.connect(database)
    connection.executescript(sql)
    connection.close()


def test_a_database_of_the_future_stops_the_node(new_ring):
    ring = new_ring(M=32)
    ring.start(4)
    ring.put("key", "value")
    ring.stop(2)
    database = ring.data_dir / "node-2" / "chord.db"
    connection = sqlite3.connect(database)
    schema = connection.execute("PRAGMA user_version").fetchone()[0]
    connection.close()
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
