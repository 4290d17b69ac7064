# SPDX-License-Identifier: MIT
"""What changes with the number of keys: the same ring of five, with a fifth of the rows and with all of
them. Import, export, a leave, a restart of all, and a node that is killed for good."""

import http.client
import time

from csv_rows import TIMEOUT_S, Rows
from measure import Failed
from ring_alone import told
from servers import Servers

NODES = 5


def figures(build, folder, rows, say):
    for count in (rows // 5, rows):
        say(f"starting a ring of {NODES} nodes for {count:,} rows")
        with Servers(build, folder / str(count), NODES) as servers:
            for what, unit, value in measured(servers, count):
                one = told(f"{count:,} rows, {NODES} nodes: {what}", unit, [value])
                say(f"{one['name']}: {one['median']:.1f} {unit}")
                yield one


def took(work, *arguments):
    began = time.monotonic()
    work(*arguments)
    return time.monotonic() - began


def measured(servers, count):
    ring = servers.ring
    result = Rows(servers, count).into_ring()
    if result["errors"]:
        raise Failed(f"{result['errors']} rows were not imported: {result['reason']}")
    yield "import, rows a second", "/s", result["per_second"]
    yield "export", "s", took(export, servers, count)
    yield "all stopped, all started, until healthy", "s", took(restart, ring)
    yield "kill -9 of one for good, until all copies are whole again", "s", took(kill, ring, 1)
    yield "a leave, until all copies are whole again", "s", took(leave, ring, 2)
    yield "that node's join, until all copies are whole again", "s", took(join, ring, 2)


def export(servers, count):
    host, port = servers.gateway.split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=TIMEOUT_S)
    connection.request("GET", "/api/v1/exports?format=csv")
    answer = connection.getresponse()
    lines = 0
    while chunk := answer.read(1 << 20):
        lines += chunk.count(b"\n")
    connection.close()
    if answer.status != 200 or lines < count + 1:
        raise Failed(f"the export answered {answer.status} with {lines} lines of {count + 1}")


def restart(ring):
    slots = ring.running_slots()
    ring.stop(*slots)
    for slot in slots:
        ring.start_node(slot)
    ring.wait_healthy(len(slots), TIMEOUT_S)


def leave(ring, slot):
    ring.leave(slot, TIMEOUT_S)
    ring.wait_healthy(NODES - 2, TIMEOUT_S)


def join(ring, slot):
    ring.verb(slot, "join")
    ring.wait_healthy(NODES - 1, TIMEOUT_S)


def kill(ring, slot):
    ring.kill(slot)
    ring.wait_healthy(NODES - 1, TIMEOUT_S)
