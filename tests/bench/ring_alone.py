# SPDX-License-Identifier: MIT
"""What has no reference but time itself: how soon a ring is ready, what it costs when nobody asks,
how long a reader waits when a node is killed."""

import time
from pathlib import Path

from figures import PATIENT
from measure import Failed, generate, generate_finish, generate_start, spread

RECOVERY_RATE = 500     # gets a second, in an open loop: the longest wait is told to 2 ms
RECOVERY_SECONDS = 3
KILL_AFTER_S = 1
WAIT_MS_MAX = 60000
KEYS = 1000


def figures(servers, plan, say):
    for take, much in ((idle, plan.idle_seconds), (recovery, plan.breaks), (restart, plan.breaks)):
        for one in take(servers, much):
            say(f"{one['name']}: {one['median']:.2f} {one['unit']}")
            yield one


def told(name, unit, values):
    return {"name": name, "unit": unit, **spread(values)}


def cpu_seconds(pid):
    """Of all threads that live, from the scheduler's own account in nanoseconds."""
    return sum(int(path.read_text().split()[0])
               for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def idle(servers, seconds):
    """Seconds of processor in a minute, of each process of the ring."""
    children = {child.name: child for child in servers.ring.supervisor.children()}
    before = {name: cpu_seconds(child.pid) for name, child in children.items()}
    began = time.monotonic()
    time.sleep(seconds)
    share = 60 / (time.monotonic() - began)
    spent = {name: (cpu_seconds(child.pid) - before[name]) * share
             for name, child in children.items()}
    gateway = servers.ring.supervisor.gateway.name
    yield told("idle node: processor in a minute", "s",
               [value for name, value in spent.items() if name != gateway])
    yield told("idle gateway: processor in a minute", "s", [spent[gateway]])


def restart(servers, repeats):
    """All processes stop and start again with their data; until /readyz says so."""
    ring, times = servers.ring, []
    for _ in range(repeats):
        slots = ring.running_slots()
        ring.end_gateway()
        ring.stop(*slots)
        began = time.monotonic()
        for slot in slots:
            ring.start_node(slot)
        ring.supervisor.start_gateway()
        ring.wait_ready()
        times.append(time.monotonic() - began)
    yield told("all stopped, all started: until /readyz", "s", times)


def recovery(servers, repeats):
    """The longest that any get had to wait while a node was killed; the others are asked."""
    ring, waits = servers.ring, []
    slots = ring.running_slots()
    program = servers.programs / "load"
    words = ("--keys", KEYS, "--in-flight", 256, "--warm-up", 0)
    generate(program, "--members", servers.members, *words, "--fill", "--seconds", 0, *PATIENT)
    for turn in range(repeats):
        victim = slots[turn % len(slots)]
        members = ",".join(ring.address(slot) for slot in slots if slot != victim)
        load = generate_start(program, "--members", members, *words, "--rate", RECOVERY_RATE,
                              "--seconds", RECOVERY_SECONDS, "--timeout-ms", WAIT_MS_MAX)
        time.sleep(KILL_AFTER_S)
        ring.kill(victim)
        result = generate_finish(load)
        if result["errors"]:
            raise Failed(f"{result['errors']} gets failed while node {victim} was killed: "
                         f"{result['reason']}")
        waits.append(result["max_us"] / 1e6)
        ring.start_node(victim)
        ring.wait_healthy(len(slots))
    yield told(f"kill -9 of one of {len(slots)} nodes: the longest wait of any get", "s", waits)
