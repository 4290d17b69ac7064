# SPDX-License-Identifier: MIT
"""`init.py`: start the nodes and the gateway, watch them, stop them. The main thread does all of it;
only looking at the gateway happens in a thread of its own (ringview.Monitor).

Ready means: this host's nodes are members. Whatever else is ill in the ring, nodes that have joined,
or that hold data, are never stopped because of it: who waits says for whom, and goes on waiting.
"""

import os
import signal
import time

from . import (build, checkout, datadir, joining, login, memory, network, ringview, seeds,
               settings as settings_module)
from .common import Refused
from .control import ControlServer
from .supervisor import Supervisor

START_TIMEOUT_S = 60
START_TIMEOUT_PER_NODE_S = 1
TELL_WAITING_AFTER_S = 10
RESTART_TIMEOUT_S = 3
STOP_TIMEOUT_S = 60
LEAVE_TIMEOUT_S = 600
LOOP_S = 0.1
STATUS_PERIOD_S = 0.5
LOG_TRIM_PERIOD_S = 30
WAITED_FOR_SHOWN = 5
ADD_MAX = 1000


class Interrupted(Exception):
    """Somebody asked to stop while something else was going on."""


class Session:
    """One run on one DATA_DIR, from the first process to the last."""

    def __init__(self, settings, programs, report, leave_on_stop, moved=False):
        """moved: DATA_DIR was copied here and the original is gone, as somebody says."""
        self.settings, self.report = settings, report
        self.leave_on_stop, self.moved = leave_on_stop, moved
        self.supervisor = Supervisor(settings, programs, report.say)
        self.api = ringview.Api(settings["HOST"], settings["PORT"], settings["API_TOKEN_FILE"])
        self.monitor = ringview.Monitor(self.api)
        self.control = None
        self.version = self.commit = ""
        self.memory = memory.Memory(settings["DATA_DIR"])
        self.interrupts = 0
        self.asked_to_join = set()
        self.phase = "starting"
        self.ready = False
        self.joined = None  # how many of this host's nodes were members when it was last told
        self.told, self.tell_at = "", time.monotonic() + TELL_WAITING_AFTER_S

    def on_signal(self, number, frame):
        del number, frame
        self.interrupts += 1

    def picture(self):
        picture = ringview.snapshot(self.settings, self.supervisor.nodes, self.monitor.look())
        return {**picture, "waiting_for": [] if self.ready else self.missing()}

    # Start

    def start(self, count):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self.on_signal)
        datadir.write_slots(self.settings["DATA_DIR"], count)
        # What runs from now on, whatever is checked out or built later.
        self.version, self.commit = self.supervisor.programs.version(), checkout.commit()
        self.control = ControlServer(self.settings["DATA_DIR"], self.handle)
        self.report.event("starting", f"Starting {count} nodes and the gateway; data in "
                          f"{self.settings['DATA_DIR']}", nodes=count)
        self.supervisor.start_first(count, self.moved)
        self.supervisor.start_gateway()
        self.monitor.watch(self.supervisor.pids())
        self.monitor.start()
        self.wait_ready(count)

    def wait_ready(self, count):
        """Returns when the nodes are members, or when only the ring's other nodes are missing;
        refuses while there is nothing here that a stop could harm."""
        deadline = time.monotonic() + START_TIMEOUT_S + START_TIMEOUT_PER_NODE_S * count
        while not self.ready:
            self.control.serve(LOOP_S)
            if self.interrupts:
                raise Interrupted
            for child in self.supervisor.newly_ended():
                if not self.worth_keeping():
                    raise Refused(f"{child.name} {child.how_it_ended()} while the ring was "
                                  f"starting; its last lines:\n{child.stderr_tail()}"
                                  + self.way_back_of_all(child))
                self.show_end(child)
            self.tend_gateway()
            self.monitor.watch(self.supervisor.pids())
            self.tend_start(self.picture())
            if time.monotonic() > deadline:
                if not self.worth_keeping():
                    raise Refused(f"no node of this host could join ({self.joined} of {count} "
                                  f"joined):\n{self.api.why_not_ready()}")
                return

    def worth_keeping(self):
        """Whether a running node is a member already, or holds data that the ring may wait for."""
        return any(node["pid"] and (node["state"] == "member" or
                                    node["slot"] in self.supervisor.with_data)
                   for node in self.picture()["nodes"])

    def tend_start(self, picture):
        """One look at a start that is under way: is it done, and if not, who is missing?"""
        self.join_the_left(picture)
        here = [node for node in picture["nodes"] if node["pid"]]
        joined = sum(node["state"] == "member" for node in here)
        if joined != self.joined:
            self.joined = joined
            self.report.event("progress", f"  {joined} of {len(picture['nodes'])} joined",
                              joined=joined, nodes=len(picture["nodes"]))
        if here and joined == len(here):
            self.ready = True
            self.announce(len(picture["nodes"]))
        elif time.monotonic() >= self.tell_at:
            self.tell_at = time.monotonic() + TELL_WAITING_AFTER_S
            self.tell_waiting(picture)

    def tell_waiting(self, picture):
        waiting = [node["slot"] for node in picture["nodes"]
                   if node["pid"] and node["state"] != "member"]
        missing = picture["waiting_for"]
        nodes = "node " + ", ".join(map(str, waiting))
        text = (f"{nodes} waits for {', '.join(missing)}: start them, or wait" if missing else
                f"{nodes} is not a member yet: {self.api.why_not_ready()}")
        if text != self.told:
            self.told = text
            self.report.event("waiting", "  " + text, slots=waiting, waiting_for=missing)

    def missing(self):
        """Members that were known and do not answer now: of other hosts, or of this one and down."""
        own = {self.settings.rpc_address(slot) for slot in self.supervisor.pids()}
        nodes = ringview.ring_nodes_by_address(self.monitor.look()["ring"])
        known = {address for address, node in nodes.items() if node.get("state") == "down"}
        known |= {member for member in self.memory.known["members"] if member not in nodes}
        known = sorted(known - own)
        more = len(known) - WAITED_FOR_SHOWN
        return known[:WAITED_FOR_SHOWN] + ([f"{more} more"] if more > 0 else [])

    def join_the_left(self, picture):
        """A node that had left before the last stop comes back as left; starting means joining."""
        for node in picture["nodes"]:
            if node["state"] == "left" and node["slot"] not in self.asked_to_join:
                accepted, text = self.api.node_verb(node["address"], "join")
                if accepted:
                    self.asked_to_join.add(node["slot"])
                    self.report.say(f"  node {node['slot']} had left; it joins again")
                elif "gateway" not in text:
                    self.asked_to_join.add(node["slot"])
                    self.report.say(f"  node {node['slot']} had left and cannot join: {text}")

    def announce(self, count):
        settings, say = self.settings, self.report.event
        dashboards = {slot: settings.dashboard(slot) for slot in range(1, count + 1)}
        lines = [f"Ready. Ring dashboard: {settings.dashboard()}"]
        shown = list(dashboards.items())
        if count > 8:
            shown = shown[:3] + [(None, None)] + shown[-1:]
        lines += [f"  node {slot}: {url}" if slot else "  ..." for slot, url in shown]
        if hint := network.reach_hint(settings):
            lines.append(hint)
        link = login.make_link(settings) if settings["API_TOKEN_FILE"] else None
        if link:
            lines.append(login.words(link))
        say("ready", "\n".join(lines), ring_dashboard=settings.dashboard(),
            node_dashboards=list(dashboards.values()), nodes=count, login_link=link)

    # Watch

    def watch(self):
        self.phase = "running"
        status_at = trimmed_at = 0.0
        while not self.interrupts:
            self.control.serve(LOOP_S)
            for child in self.supervisor.newly_ended():
                self.show_end(child)
            self.tend_gateway()
            self.monitor.watch(self.supervisor.pids())
            now = time.monotonic()
            if now - status_at >= STATUS_PERIOD_S:
                status_at = now
                picture = self.picture()
                if not self.ready:
                    self.tend_start(picture)
                self.report.status(picture)
                self.memory.note(self.monitor.look()["ring"])
            if now - trimmed_at >= LOG_TRIM_PERIOD_S:
                trimmed_at = now
                self.supervisor.trim_logs()

    def show_end(self, child):
        if child is self.supervisor.gateway:
            pause = self.supervisor.pauses.died(child.uptime_s())
            last = child.stderr_tail().splitlines()[-1:] if pause > 1 else []
            self.report.event("gateway_restarted", f"the gateway {child.how_it_ended()} and is "
                              f"started again in {pause:.1f} s; the nodes go on"
                              + "".join(f" ({line})" for line in last), pause_s=pause)
            return
        slot = next(slot for slot, other in self.supervisor.nodes.items() if other is child)
        why = f" ({child.last_words()})" if child.last_words() else ""
        self.report.event("node_down", f"node {slot} (pid {child.pid}) {child.how_it_ended()}{why}; "
                          + self.way_back(slot), slot=slot, pid=child.pid,
                          exit_code=child.process.returncode)

    def way_back_of_all(self, child):
        if not (child.is_copy and child is not self.supervisor.gateway):
            return ""
        return ("\nOnly if the originals are gone for good and these are their newest copies: "
                f"python3 init.py --moved{self.settings.same_folder()}")

    def way_back(self, slot):
        """What to do about a node that is down."""
        order = f"python3 init.py --start {slot}{self.settings.same_folder()}"
        if self.supervisor.nodes[slot].is_copy:
            return (f"only if the original is gone for good and this is its newest copy: {order} "
                    f"--moved; for a new member instead move {self.settings.node_dir(slot)} away "
                    f"and: {order}")
        return f"start it again from its page or with: {order}"

    def tend_gateway(self):
        """The gateway keeps no keys: it is started again after growing pauses, for ever."""
        if self.supervisor.pauses.due():
            self.supervisor.start_gateway()

    # Orders from the socket

    def handle(self, request):
        command = request.get("command")
        orders = {"status": self.order_status, "start": self.order_start,
                  "stop_node": self.order_stop_node, "add": self.order_add, "stop": self.order_stop,
                  "leave": self.order_leave, "link": self.order_link}
        if command not in orders:
            return {"ok": False, "error": f"unknown command {str(command)[:40]!r}; there are: "
                    + ", ".join(orders)}
        try:
            return {"ok": True, **orders[command](request)}
        except (Refused, OSError) as problem:
            return {"ok": False, "error": str(problem)}

    def order_status(self, request):
        del request
        picture = self.picture()
        members = {node["slot"] for node in picture["nodes"] if node["state"] == "member"}
        slots = [{**entry, "member": entry["slot"] in members} for entry in self.supervisor.status()]
        return {"phase": self.phase, "slots": slots,
                "ring_dashboard": self.settings.dashboard(), "leaves": self.leave_on_stop,
                "waiting_for": picture["waiting_for"], "ready": self.ready,
                "ring": ringview.in_short(self.monitor.look()["ring"]), "version": self.version,
                "commit": self.commit}

    def refuse_unless_running(self):
        if self.phase != "running":
            raise Refused(f"the ring is {self.phase}: try again later")

    def slot_of(self, request):
        slot = request.get("slot")
        if not isinstance(slot, int) or isinstance(slot, bool):
            raise Refused(f"{request['command']} needs a slot, a whole number")
        self.refuse_unless_running()
        return slot

    def order_stop_node(self, request):
        return {"pid": self.supervisor.stop(self.slot_of(request)).pid}

    def order_start(self, request):
        slot = self.slot_of(request)
        child = self.supervisor.nodes.get(slot)
        if child and not child.running:
            network.check_ports(self.settings, [network.node_port(self.settings, slot)])
        child = self.supervisor.restart(slot, request.get("moved") is True)
        self.supervisor.wait_listening(slot, RESTART_TIMEOUT_S)
        if not child.running:
            raise Refused(f"node {slot} {child.how_it_ended()}: {child.last_words()}")
        self.report.event("node_started", f"node {slot} is started again (pid {child.pid})",
                          slot=slot, pid=child.pid)
        return {"pid": child.pid}

    def order_add(self, request):
        count = request.get("count")
        if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= ADD_MAX:
            raise Refused(f"add needs a count in 1..{ADD_MAX}")
        self.refuse_unless_running()
        first = max(self.supervisor.nodes) + 1
        slots = list(range(first, first + count))
        self.check_room(slots)
        network.check_ports(self.settings, network.slot_ports(self.settings, slots))
        for slot in slots:
            self.supervisor.start_node(slot)
        datadir.write_slots(self.settings["DATA_DIR"], slots[-1])
        names = ", ".join(map(str, slots))
        self.report.event("nodes_added", f"added: node {names}", slots=slots)
        return {"slots": slots}

    def check_room(self, slots):
        ring = self.monitor.look()["ring"] or {}
        bits = ring.get("m") or self.settings["M"]
        there = max(len(self.supervisor.nodes), len(ring.get("nodes", [])))
        if there + len(slots) > 2 ** bits:
            raise Refused(f"{len(slots)} more nodes do not fit: the ring has {there} of the "
                          f"{2 ** bits} ids of M={bits}")
        settings_module.check_ports(self.settings, slots[-1])

    def order_link(self, request):
        del request
        if not self.settings["API_TOKEN_FILE"]:
            raise Refused("no link is needed: this ring was started without API_TOKEN_FILE, so its page "
                          f"asks for no token: {self.settings.dashboard()}")
        return {"link": login.make_link(self.settings)}

    def order_stop(self, request):
        del request
        self.interrupts += 1
        return {}

    def order_leave(self, request):
        del request
        self.refuse_unless_running()
        self.leave_on_stop = True
        self.interrupts += 1
        return {}

    # Stop

    def stop(self):
        """Ends everything; the nodes first, so that the gateway shows it to the last."""
        self.report.close()
        asked = self.interrupts
        if self.leave_on_stop and self.phase == "running":
            self.phase = "leaving"
            self.leave_all(asked)
        self.phase = "stopping"
        if self.interrupts <= max(asked, 1):
            self.stop_children(self.interrupts)
        if any(child.running for child in self.supervisor.children()):
            self.report.say("Killing what still runs ...")
        self.supervisor.kill_all()
        self.monitor.stop()
        self.memory.write_if_gone()
        if self.control:
            self.control.close()
        self.report.event("stopped", "Stopped; the data stays. Start again with: "
                          f"python3 init.py{self.settings.same_folder()}")

    def stop_children(self, asked):
        nodes = list(self.supervisor.nodes.values())
        running = [child for child in nodes if child.running]
        for child in running:
            child.signal(signal.SIGTERM)
        told = 0

        def step(left):
            nonlocal told
            stopped = len(running) - len(left)
            if stopped != told:
                told = stopped
                self.report.event("progress", f"  stopped {stopped} of {len(running)} nodes",
                                  stopped=stopped, nodes=len(running))
            self.control.serve(0)
            return self.interrupts <= asked

        if running:
            self.report.event("stopping", "Stopping (again: at once) ...")
        if not self.supervisor.wait(running, STOP_TIMEOUT_S, step):
            return
        step([])
        if self.supervisor.gateway:
            self.supervisor.gateway.signal(signal.SIGTERM)
            self.supervisor.wait([self.supervisor.gateway], STOP_TIMEOUT_S,
                                 lambda left: self.interrupts <= asked)

    def leave_all(self, asked):
        """Each node hands over and leaves, the highest slot first; the ring's last member just
        stops, since there is nobody to hand over to."""
        self.report.event("leaving", "Leaving the ring (Ctrl-C: stop at once) ...")
        deadline = time.monotonic() + LEAVE_TIMEOUT_S
        for slot in sorted(self.supervisor.nodes, reverse=True):
            if not self.leave_one(slot, asked, deadline):
                return

    def leave_one(self, slot, asked, deadline):
        """False when leaving should not go on."""
        address = self.settings.rpc_address(slot)
        requested = False
        while True:
            self.control.serve(LOOP_S)
            if self.interrupts > asked:
                return False
            child = self.supervisor.nodes[slot]
            ring = self.api.ring()
            nodes = ringview.ring_nodes_by_address(ring)
            state = (nodes.get(address) or {}).get("state")
            if not child.running or state == "left":
                break
            members = [node for node in nodes.values()
                       if node.get("state") in ("member", "leaving")]
            if not requested and members and len(members) == 1 and state == "member":
                self.report.say(f"  node {slot} is the ring's last member: it keeps the data and "
                                "stops")
                return True
            if not requested and state == "member":
                requested, text = self.api.node_verb(address, "leave")
                if text:
                    self.report.say(f"  node {slot}: {text}")
            if time.monotonic() > deadline:
                self.report.say(f"  node {slot} did not leave in time; the rest just stops")
                return False
        self.report.event("left", f"  node {slot} has left" if child.running else
                          f"  node {slot} is down and cannot leave", slot=slot)
        return True


def refuse_second(settings, lock):
    holder = lock.holder() or {}
    raise Refused(f"init.py is already running on {settings['DATA_DIR']}: pid "
                  f"{holder.get('pid', '?')}, {holder.get('address', 'address unknown')}; stop it "
                  "with Ctrl-C there, or choose another DATA_DIR and PORT")


def refuse_forgotten_ring(settings, report):
    """A new ring where an old one is remembered would hide that its data is gone: ask first."""
    if settings["JOIN"]:
        return
    slots = datadir.known_slots(settings["DATA_DIR"])
    if any(datadir.has_database(settings, slot) for slot in slots):
        return
    witnesses = memory.witnesses(settings, slots)
    if not witnesses:
        return
    members = memory.recall(settings["DATA_DIR"])["members"]
    alive = next((member for member in members if joining.problem_of(member) is None), None)
    text = (f"{settings['DATA_DIR']} remembers a ring ({'; '.join(witnesses)}), but no node's "
            "database is there: this start would make a new, empty ring")
    ways = "put the databases back"
    if alive:
        ways += f", or join the old ring, which runs at {alive} (--join {alive})"
    if not report.ask(f"{text}. Either {ways}, or type new to make a new ring: ", "new"):
        raise Refused(f"{text}; {ways}, or forget the old ring first: python3 init.py reset"
                      f"{settings.same_folder()}")


def check_settings(settings, say):
    """What the settings alone, and the nodes that are there, tell; returns the node count."""
    network.choose_host(settings, say)
    settings_module.check_exposure(settings)
    count = datadir.slots_to_start(settings)
    settings_module.check_together(settings, count)
    return count


def check_start(settings, report, create):
    """Everything that can be refused before anything is built; returns the node count."""
    count = check_settings(settings, report.say)
    if count > settings["NUM_OF_NODES"]:
        report.say(f"{settings['DATA_DIR']} holds {count} nodes: all of them start, so that the "
                   "ring comes back whole (NUM_OF_NODES is "
                   f"{settings['NUM_OF_NODES']})")
    ports = network.start_ports(settings, range(1, count + 1))
    network.wait_for_leftovers(settings, ports, report.say)
    network.check_ports(settings, ports)
    fresh = is_fresh(settings, count)
    seeds.choose(settings, fresh, create, report.say)
    joining.check(settings, count, fresh)
    refuse_forgotten_ring(settings, report)
    return count


def is_fresh(settings, count):
    """Whether no node here knows a ring yet: one that does leads the others to it."""
    return not any(datadir.has_database(settings, slot) for slot in range(1, count + 1))


def run(settings, report, preset, programs_folder=None, leave_on_stop=False, moved=False,
        create=False):
    """The whole life of one start; returns the exit code."""
    settings_module.check_secrets(settings)
    datadir.prepare(settings)
    lock = datadir.Lock(settings["DATA_DIR"])
    if not lock.acquire("(starting)"):
        check_settings(settings, report.say)  # their mistakes are told first: the other one may be right to run
        refuse_second(settings, lock)
    try:
        count = check_start(settings, report, create)
        lock.write(settings.dashboard())
        if programs_folder:
            programs = build.Programs(programs_folder)
        else:
            programs = build.build(preset, report.say)
        programs.check()
        joining.check_ring(programs, settings, count, is_fresh(settings, count),
                           memory.recall(settings["DATA_DIR"])["ring_id"])
        os.umask(0o077)
        return live(Session(settings, programs, report, leave_on_stop, moved), count)
    finally:
        report.close()
        lock.release()


def live(session, count):
    try:
        session.start(count)
        session.watch()
    except Interrupted:
        pass
    finally:
        session.stop()
    return 0
