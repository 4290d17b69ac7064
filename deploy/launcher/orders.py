# SPDX-License-Identifier: MIT
"""`init.py --start i`, `--stop i`, `--restart i`, `--add K`, `--leave`, `--link`: orders to the init.py
that is running on DATA_DIR."""

import time

from . import control, datadir, login
from .common import Refused

JOIN_TIMEOUT_S = 60
JOIN_TIMEOUT_PER_NODE_S = 2
LEAVE_TIMEOUT_S = 3600
STOP_NODE_TIMEOUT_S = 60
POLL_S = 0.2


def running_address(settings):
    """The dashboard of the init.py that holds DATA_DIR, or None."""
    holder = datadir.Lock(settings["DATA_DIR"]).holder()
    return holder.get("address", "") if holder else None


def wait_members(settings, slots, report):
    """Shows how the slots become members; refuses when one ends or time is up."""
    deadline = time.monotonic() + JOIN_TIMEOUT_S + JOIN_TIMEOUT_PER_NODE_S * len(slots)
    told = None
    while True:
        now = [entry for entry in slots_now(settings) if entry["slot"] in slots]
        joined = sum(entry["member"] for entry in now)
        if joined != told:
            told = joined
            report.event("progress", f"  {joined} of {len(slots)} joined", joined=joined,
                         nodes=len(slots))
        if joined == len(slots):
            return
        if down := [entry for entry in now if entry["state"] == "down"]:
            log = settings.node_dir(down[0]["slot"]) / "stderr.log"
            raise Refused(f"node {down[0]['slot']} {down[0]['ended']} before it joined"
                          f"{': ' + down[0]['why'] if down[0]['why'] else ''}; see {log}")
        if time.monotonic() > deadline:
            raise Refused(f"only {joined} of {len(slots)} nodes joined in time; the others go on "
                          "trying")
        time.sleep(POLL_S)


def slots_now(settings):
    return control.ask(settings["DATA_DIR"], {"command": "status"})["slots"]


def is_running(settings, slot):
    return any(entry["slot"] == slot and entry["state"] == "running" for entry in slots_now(settings))


def start(settings, slot, report, moved=False):
    reply = control.ask(settings["DATA_DIR"], {"command": "start", "slot": slot, "moved": moved})
    report.event("node_started", f"node {slot} is started (pid {reply['pid']})", slot=slot,
                 pid=reply["pid"])
    wait_members(settings, [slot], report)
    return 0


def stop(settings, slot, report):
    """Stops one node as Ctrl-C stops all: it keeps its place and its data."""
    control.ask(settings["DATA_DIR"], {"command": "stop_node", "slot": slot})
    deadline = time.monotonic() + STOP_NODE_TIMEOUT_S
    while is_running(settings, slot):
        if time.monotonic() > deadline:
            raise Refused(f"node {slot} has not stopped within {STOP_NODE_TIMEOUT_S} s; see "
                          f"{settings.node_dir(slot) / 'stderr.log'}")
        time.sleep(POLL_S)
    report.event("node_stopped", f"node {slot} is stopped", slot=slot)
    return 0


def restart(settings, slot, report, moved=False):
    """Also of a node that is down."""
    if is_running(settings, slot):
        stop(settings, slot, report)
    return start(settings, slot, report, moved)


def add(settings, count, report):
    reply = control.ask(settings["DATA_DIR"], {"command": "add", "count": count}, timeout_s=60)
    slots = reply["slots"]
    report.event("nodes_added", "added: node " + ", ".join(map(str, slots)), slots=slots)
    wait_members(settings, slots, report)
    return 0


def wait_stopped(settings, timeout_s):
    deadline = time.monotonic() + timeout_s
    while running_address(settings) is not None:
        if time.monotonic() > deadline:
            raise Refused("it still runs; look at its own output")
        time.sleep(POLL_S)


def leave(settings, report):
    control.ask(settings["DATA_DIR"], {"command": "leave"})
    report.event("leaving", "The running init.py makes its nodes leave and then stops ...")
    wait_stopped(settings, LEAVE_TIMEOUT_S)
    report.event("stopped", "It has stopped.")
    return 0


def link(settings, report):
    answer = control.ask(settings["DATA_DIR"], {"command": "link"})
    report.event("link", login.words(answer["link"]), login_link=answer["link"])
    return 0
