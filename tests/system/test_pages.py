# SPDX-License-Identifier: MIT
"""Small things that pages and chordctl say: lists by prefix, clocks, nodes that are gone."""

import json
import re
import signal
import subprocess
from urllib.parse import quote

from ring import BUILD, until

CHORDCTL = BUILD / "node" / "chordctl"
ROWS = 300


def data(ring, query):
    """All keys of /data over its pages."""
    keys, after = [], ""
    while True:
        status, body = ring.raw("GET", f"/data?{query}{after}")
        assert status == 200, body
        page = json.loads(body)
        keys += [entry["key"] for entry in page["keys"]]
        if page["next"] is None:
            return keys
        after = f"&after={page['next']}"


def node_keys(ring, slot, query):
    path = f"/nodes/{quote(ring.address(slot), safe='')}/keys?{query}"
    page = ring.get_json(path)
    assert page["next"] is None
    return [entry["key"] for entry in page["keys"]]


def test_lists_clocks_and_nodes_that_are_gone(new_ring, tmp_path):
    ring = new_ring(M=32).start(3)
    ring.wait_healthy(3)
    rows = tmp_path / "rows.csv"
    rows.write_text("key,value\n" + "".join(f"row {number:03},x\n" for number in range(ROWS)))
    assert ring.import_csv(rows)["rows_stored"] == ROWS

    # By prefix: of the ring, of one node, and of what each leads.
    wanted = [f"row 1{number:02}" for number in range(100)]
    assert sorted(data(ring, "prefix=row+1&limit=30")) == wanted
    assert data(ring, "prefix=nobody") == []
    assert len(data(ring, "limit=70")) == ROWS
    assert sorted(node_keys(ring, 1, "prefix=row+1&limit=1000")) == wanted
    led = [key for slot in (1, 2, 3) for key in node_keys(ring, slot, "prefix=row+1&led=1&limit=1000")]
    assert sorted(led) == wanted

    # One machine has one clock.
    text = subprocess.run([CHORDCTL, "doctor", ring.address(1)], capture_output=True, text=True,
                          timeout=60, check=False).stdout
    apart, error = map(float, re.search(r"differ by ([\d.]+) s, measured to ([\d.]+) s",
                                        text).groups())
    assert apart <= 0.02 + 2 * error, text

    # Three nodes work; nothing is forming. What the machine does is told.
    answer = ring.ring()
    assert answer["state"] == "healthy" and "forming" not in answer["warning"], answer
    assert "fewer members than N+1" in answer["warning"]
    assert answer["cpu"]["cores"] >= 1 and 0 <= answer["cpu"]["percent"] <= 100
    assert all(0 < node["pss_bytes"] for node in answer["nodes"])

    # A node of another host that left and stopped is missed by nobody.
    ring.start_node(4)
    until(lambda: ring.node(4)["state"] == "member", 30, "node 4 as a member")
    ring.leave(4)
    ring.end([ring.supervisor.nodes[4]], signal.SIGTERM)
    until(lambda: ring.node(4)["state"] == "unknown", 20, lambda: f"no node 4: {ring.node(4)}")

    # Of a node that is down nothing is claimed that nobody knows, and its last lines stay.
    ring.kill(3)
    until(lambda: ring.node(3)["state"] == "down", 20, "node 3 is down")
    down = ring.node(3)
    assert (down["cpu_percent"], down["pss_bytes"], down["uptime_ms"]) == (None, None, None)
    lines = ring.get_json(f"/nodes/{quote(ring.address(3), safe='')}/logs")["lines"]
    assert any(line["word"] == "open" for line in lines), lines
