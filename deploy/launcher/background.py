# SPDX-License-Identifier: MIT
"""This host's part of a ring without a terminal: `init.py up|status|down|rolling-restart|upgrade`.

`up` starts an init.py in a session of its own, which outlives the login that began it and writes to
DATA_DIR/init.log. The other verbs talk to that one, or to one on a terminal, over its socket. All of
them look at the ring as this host sees it. `--hosts` (fleet.py) runs them on one host after the other.
"""

import subprocess
import sys
import time

from . import checkout, control, datadir, orders
from .common import ROOT, Refused

HEALTHY_TIMEOUT_S = 600  # from its first answer; what stands before is the build
BUILD_TIMEOUT_S = 3600
STOP_TIMEOUT_S = 150     # two kinds of children, up to a minute each (run.py)
POLL_S = 0.2
UNKNOWN_RING = {"id": "", "state": "unknown", "reason": "it has not been seen yet", "members": 0}


def start_words(options, table):
    """The command line of an init.py that is to run what this one was told."""
    words = ["release"]
    for setting in table:
        value = getattr(options, f"setting_{setting.name}")
        words += [] if value is None else [setting.flag_name, value]
    for flag, value in (("--env-file", options.env_file), ("--build", options.build)):
        words += [flag, value] if value else []
    for flag, given in (("--moved", options.moved), ("--create", options.create)):
        words += [flag] if given else []
    return words


def look(settings):
    """What this host tells of itself. Needs no package beside Python's own: it is asked first."""
    data_dir = settings["DATA_DIR"]
    seen = {"running": orders.running_address(settings) is not None, "phase": "stopped", "ready": False,
            "slots": [], "ring": UNKNOWN_RING, "ring_dashboard": "", "version": "",
            "commit": checkout.commit(),
            "has_data": any(datadir.has_database(settings, slot)
                            for slot in datadir.known_slots(data_dir))}
    if seen["running"]:
        try:
            answer = control.ask(data_dir, {"command": "status"})
            seen.update(answer, ring=answer.get("ring") or UNKNOWN_RING)
        except Refused:  # it checks and builds before it has a socket, and closes that last
            seen["phase"] = "starting or stopping"
    return {**seen, "well": is_well(seen)}


def is_well(seen):
    return seen["phase"] == "running" and seen["ready"] and seen["ring"]["state"] == "healthy" and \
        all(slot["state"] == "running" for slot in seen["slots"])


def in_words(seen):
    if not seen["running"]:
        return "not running" + ("; it has data" if seen["has_data"] else "")
    ring = seen["ring"]
    running = sum(slot["state"] == "running" for slot in seen["slots"])
    waiting = seen.get("waiting_for")
    return (f"{seen['phase']}, {running} of {len(seen['slots'])} nodes run, ring {ring['state']} "
            f"({ring['members']} members)"
            + (f": {ring['reason']}" if ring["state"] != "healthy" and ring["reason"] else "")
            + (f"; waiting for {', '.join(waiting)}" if waiting else ""))


def last_line(settings):
    """Of what the init.py in the background said."""
    try:
        with datadir.open_private(settings["DATA_DIR"] / datadir.INIT_LOG, "r") as log:
            return (log.read().splitlines() or [""])[-1]
    except (OSError, UnicodeDecodeError):
        return ""


def wait(settings, report, enough, child=None):
    """Until enough(what is seen); shows what changes. child: the init.py that was started for it."""
    give_up, told = time.monotonic() + BUILD_TIMEOUT_S, None
    answered = False
    while True:
        ended = child is not None and child.poll() is not None
        seen = look(settings)
        if ended or not seen["running"] and child is None:
            code = f" with exit code {child.returncode}" if ended else ""
            raise Refused(f"its init.py ended{code}: {last_line(settings)} (all of it: "
                          f"{settings['DATA_DIR'] / datadir.INIT_LOG})")
        if enough(seen):
            return seen
        if seen["slots"] and not answered:
            answered, give_up = True, time.monotonic() + HEALTHY_TIMEOUT_S
        if in_words(seen) != told and seen["slots"]:
            told = in_words(seen)
            report.event("progress", f"  {told}", **seen)
        if time.monotonic() > give_up:
            raise Refused(f"not well in time: {in_words(seen)}; nothing was stopped because of it, "
                          "and python3 init.py up waits on")
        time.sleep(POLL_S)


def well_with(members):
    """The whole ring is there again, not only the part that has been seen so far."""
    return lambda seen: is_well(seen) and seen["ring"]["members"] >= members


def launch(settings, words):
    datadir.prepare(settings)
    with datadir.open_private(settings["DATA_DIR"] / datadir.INIT_LOG, "a") as log:
        return subprocess.Popen([sys.executable, str(ROOT / "init.py"), *map(str, words)],
                                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                start_new_session=True)


def up(settings, words, report, wait_for_ring=True, members=1):
    """wait_for_ring: else only until the nodes are started; they wait for the ring themselves."""
    child = None
    if look(settings)["running"]:
        report.say(f"init.py runs on {settings['DATA_DIR']} already")
    else:
        child = launch(settings, words)
        report.event("started", f"init.py is started (pid {child.pid}); it writes to "
                     f"{settings['DATA_DIR'] / datadir.INIT_LOG}", pid=child.pid)
    seen = wait(settings, report, well_with(members) if wait_for_ring else
                lambda seen: bool(seen["slots"]), child)
    return tell(seen, report)


def tell(seen, report):
    page = seen.get("ring_dashboard")
    report.event("host", in_words(seen) + (f"; {page}" if page else ""), **seen)
    return 0


def status(settings, report):
    seen = look(settings)
    tell(seen, report)
    return 0 if seen["well"] else 1


def down(settings, report):
    if not look(settings)["running"]:
        report.say(f"nothing runs on {settings['DATA_DIR']}")
        return 0
    control.ask(settings["DATA_DIR"], {"command": "stop"})
    orders.wait_stopped(settings, STOP_TIMEOUT_S)
    report.event("stopped", "stopped; the data stays")
    return 0


def refuse_unless_well(seen, verb):
    if not seen["well"]:
        raise Refused(f"{verb} takes nodes away for a moment, and this host is not well: "
                      f"{in_words(seen)}; mend that first (chordctl doctor says how)")


def rolling_restart(settings, report):
    seen = look(settings)
    refuse_unless_well(seen, "rolling-restart")
    for slot in (entry["slot"] for entry in seen["slots"]):
        orders.restart(settings, slot, report)
        now = wait(settings, report, well_with(seen["ring"]["members"]))
    return tell(now, report)


def upgrade(settings, words, report, build):
    """build(): called while the old programs still run; what the start is told in addition, so that it
    need not look again. A host that does not run is started."""
    before = look(settings)
    members = 1
    if before["running"]:
        refuse_unless_well(before, "upgrade")
        members = before["ring"]["members"]
    built = build()
    down(settings, report)
    return up(settings, [*words, *built], report, members=members)
