# SPDX-License-Identifier: MIT
"""`init.py --start i`, `--add K`, `--leave`, `--link`: orders to the init.py that is running on DATA_DIR."""

import time
from urllib.parse import urlsplit

from . import control, datadir, login, ringview
from .common import Refused

JOIN_TIMEOUT_S = 60
JOIN_TIMEOUT_PER_NODE_S = 2
LEAVE_TIMEOUT_S = 3600
POLL_S = 0.2


def running_address(settings):
    """The dashboard of the init.py that holds DATA_DIR, or None."""
    holder = datadir.Lock(settings["DATA_DIR"]).holder()
    return holder.get("address", "") if holder else None


def joined_since(node, began):
    """The gateway may not have seen yet that the life before has ended: that one is older."""
    return node.get("state") == "member" and \
        (node.get("uptime_ms") or 0) <= (time.monotonic() - began) * 1000


def wait_members(settings, slots, report, began):
    """Shows how the slots become members, started since `began` (monotonic); refuses when one ends or
    time is up."""
    address = urlsplit(running_address(settings) or settings.dashboard())
    api = ringview.Api(address.hostname, address.port, settings["API_TOKEN_FILE"])
    deadline = time.monotonic() + JOIN_TIMEOUT_S + JOIN_TIMEOUT_PER_NODE_S * len(slots)
    told = None
    while True:
        nodes = ringview.ring_nodes_by_address(api.ring()).values()
        joined = sum(node.get("slot") in slots and joined_since(node, began) for node in nodes)
        if joined != told:
            told = joined
            report.event("progress", f"  {joined} of {len(slots)} joined", joined=joined,
                         nodes=len(slots))
        if joined == len(slots):
            return
        down = [entry for entry in control.ask(settings["DATA_DIR"], {"command": "status"})["slots"]
                if entry["slot"] in slots and entry["state"] == "down"]
        if down:
            log = settings.node_dir(down[0]["slot"]) / "stderr.log"
            raise Refused(f"node {down[0]['slot']} {down[0]['ended']} before it joined"
                          f"{': ' + down[0]['why'] if down[0]['why'] else ''}; see {log}")
        if time.monotonic() > deadline:
            raise Refused(f"only {joined} of {len(slots)} nodes joined in time; the others go on "
                          "trying")
        time.sleep(POLL_S)


def start(settings, slot, report, moved=False):
    began = time.monotonic()
    reply = control.ask(settings["DATA_DIR"], {"command": "start", "slot": slot, "moved": moved})
    report.event("node_started", f"node {slot} is started (pid {reply['pid']})", slot=slot,
                 pid=reply["pid"])
    wait_members(settings, [slot], report, began)
    return 0


def add(settings, count, report):
    began = time.monotonic()
    reply = control.ask(settings["DATA_DIR"], {"command": "add", "count": count}, timeout_s=60)
    slots = reply["slots"]
    report.event("nodes_added", "added: node " + ", ".join(map(str, slots)), slots=slots)
    wait_members(settings, slots, report, began)
    return 0


def leave(settings, report):
    control.ask(settings["DATA_DIR"], {"command": "leave"})
    report.event("leaving", "The running init.py makes its nodes leave and then stops ...")
    deadline = time.monotonic() + LEAVE_TIMEOUT_S
    while running_address(settings) is not None:
        if time.monotonic() > deadline:
            raise Refused("it still runs; look at its own output")
        time.sleep(POLL_S)
    report.event("stopped", "It has stopped.")
    return 0


def link(settings, report):
    answer = control.ask(settings["DATA_DIR"], {"command": "link"})
    report.event("link", login.words(answer["link"]), login_link=answer["link"])
    return 0
