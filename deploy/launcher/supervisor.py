# SPDX-License-Identifier: MIT
"""The processes that init.py started: starts them, notices their ends, stops them.

Every child runs with --exit-with-parent, so the kernel ends it when init.py is gone however that
happened, and in a process group of its own, so a Ctrl-C on the terminal reaches init.py alone. Only
pids that were started here are ever signalled. Children must be started by the main thread.
"""

import os
import re
import signal
import socket
import subprocess
import time

from . import datadir, settings as settings_module
from .common import Refused

STDERR_TAIL_LINES = 15
SANITIZER = re.compile(r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|: runtime error: ")
SANITIZER_LINES = 40
SEEDS_BESIDE_MAX = 4
NODE_EXIT_COPY = 7
ENDS = {0: "stopped", 2: "bad setting", 3: "cannot listen", 4: "data folder",
        5: "refused by the ring", 6: "disk failure",
        NODE_EXIT_COPY: "a copy of another node's data", 8: "data of another version"}
LISTEN_TIMEOUT_S = 10


class Child:
    """One process: node of a slot, or the gateway."""

    def __init__(self, name, arguments, log_path, environment=None):
        self.name = name
        self.log_path = log_path
        # Appending, so that the file can be cut while the child writes.
        with datadir.open_private(log_path, "a") as log:
            self.log_start = log.tell()
            self.process = subprocess.Popen(
                [str(argument) for argument in arguments], stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, process_group=0, env=environment)
        self.pid = self.process.pid
        self.started_at = time.monotonic()
        self.end_seen = False
        self.words = None

    @property
    def running(self):
        return self.process.poll() is None

    def uptime_s(self):
        return time.monotonic() - self.started_at

    def signal(self, number):
        if self.running:
            self.process.send_signal(number)

    def how_it_ended(self):
        code = self.process.returncode
        if code is not None and code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        meaning = ENDS.get(code)
        return f"ended with exit code {code}" + (f" ({meaning})" if meaning else "")

    @property
    def is_copy(self):
        return self.process.returncode == NODE_EXIT_COPY

    def last_words(self):
        """What it said at its end, if it ended for a reason of its own; else empty."""
        if self.words is None and not self.running:
            lines = self.stderr_tail().splitlines() if self.process.returncode > 0 else []
            self.words = "".join(lines[-1:])
        return self.words or ""

    def stderr_tail(self):
        try:
            with open(self.log_path, "rb") as log:
                size = log.seek(0, os.SEEK_END)
                log.seek(max(min(self.log_start, size), size - 16384))
                text = log.read().decode(errors="replace")
        except OSError:
            return ""
        lines = text.splitlines()
        # A sanitizer says the cause first and a long legend last.
        report = next((place for place, line in enumerate(lines) if SANITIZER.search(line)), None)
        if report is not None:
            return "\n".join(lines[report:report + SANITIZER_LINES])
        return "\n".join(lines[-STDERR_TAIL_LINES:])


class Pauses:
    """When a process that keeps no keys is started again: soon at first, then after pauses that
    double; the count begins anew once it has run well for a while."""

    FIRST_S, LONGEST_S, WELL_AFTER_S = 0.1, 60, 60

    def __init__(self):
        self.next_s = self.FIRST_S
        self.due_at = None

    def died(self, uptime_s):
        """Returns the pause."""
        if uptime_s >= self.WELL_AFTER_S:
            self.next_s = self.FIRST_S
        pause, self.next_s = self.next_s, min(self.next_s * 2, self.LONGEST_S)
        self.due_at = time.monotonic() + pause
        return pause

    def due(self):
        """True once, when the pause is over."""
        if self.due_at is None or time.monotonic() < self.due_at:
            return False
        self.due_at = None
        return True


class Supervisor:
    def __init__(self, settings, programs, say):
        self.settings, self.programs, self.say = settings, programs, say
        self.nodes = {}  # slot -> Child
        self.gateway = None
        self.pauses = Pauses()  # of the gateway
        self.with_data = set()  # slots that had a database before this start

    # Starting

    def parameters(self, creates):
        """--m --n --replicas: the creator fixes them; whoever joins, or comes back with old data,
        insists only on what somebody chose."""
        arguments = []
        for name, flag in (("M", "--m"), ("N", "--n"), ("REPLICAS", "--replicas")):
            if creates or self.settings.explicit(name):
                arguments += [flag, self.settings[name]]
        return arguments

    def secrets(self, names):
        return [part for name in names if self.settings[name]
                for part in ("--" + name.lower().replace("_", "-"), self.settings[name])]

    def seeds(self, slot, beside):
        """Whom the node of a slot asks for its ring: JOIN's addresses, and nodes beside it, since
        JOIN's host may be gone."""
        own = [self.settings.rpc_address(other) for other in beside if other != slot]
        own = own[:SEEDS_BESIDE_MAX]
        join = [peer for peer in self.settings["JOIN"].split(",") if peer and peer not in own]
        return ",".join(join[:settings_module.JOIN_MAX - len(own)] + own)

    def beside(self):
        return [slot for slot, child in sorted(self.nodes.items()) if child.running]

    def node_arguments(self, slot, seeds, creates, moved):
        settings = self.settings
        arguments = [self.programs.node, "--listen", settings.rpc_address(slot),
                     "--data", settings.node_dir(slot), "--exit-with-parent",
                     "--channel-size", settings["DEFAULT_CHANNEL_SIZE"],
                     "--page", settings.dashboard(slot)]
        arguments += ["--create"] if creates else ["--join", seeds] if seeds else []
        arguments += ["--moved"] if moved else []
        arguments += ["--host-id", settings["HOST_ID"]] if settings["HOST_ID"] else []
        return arguments + self.parameters(creates) + self.secrets(settings_module.RING_KEYS)

    def start_node(self, slot, seeds=None, creates=False, moved=False):
        """moved: its folder was copied here, and somebody says that the original is gone."""
        folder = self.settings.node_dir(slot)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        seeds = self.seeds(slot, self.beside()) if seeds is None else seeds
        arguments = self.node_arguments(slot, seeds, creates, moved)
        child = Child(f"node {slot}", arguments, folder / "stderr.log",
                      self.settings.environment())
        self.nodes[slot] = child
        return child

    def start_gateway(self):
        settings = self.settings
        arguments = [self.programs.gateway, "--host", settings["HOST"], "--port",
                     settings["PORT"], "--rpc-port", settings["RPC_PORT"],
                     "--slots", len(self.nodes), "--data", settings["DATA_DIR"],
                     "--exit-with-parent"]
        arguments += ["--join", settings["JOIN"]] if settings["JOIN"] else []
        arguments += ["--host-names", settings["HOST_NAMES"]] if settings["HOST_NAMES"] else []
        arguments += self.secrets(["API_TOKEN_FILE", "RING_KEY_FILE"])
        self.gateway = Child("the gateway", arguments, settings["DATA_DIR"] / "gateway.log",
                             settings.environment())
        return self.gateway

    def start_first(self, count, moved=False):
        """Starts slots 1..count. Node 1 creates the ring only when this host has neither data nor
        a ring to join: a second ring must never be born silently."""
        with_data = [slot for slot in range(1, count + 1)
                     if datadir.has_database(self.settings, slot)]
        self.with_data = set(with_data)
        creates = not self.settings["JOIN"] and not with_data
        for slot in range(1, count + 1):
            self.start_node(slot, self.seeds(slot, with_data or [1]), creates and slot == 1, moved)
            if slot == 1:
                self.wait_listening(1, LISTEN_TIMEOUT_S)  # the others then find it at once

    def wait_listening(self, slot, timeout_s):
        """Until the node of a slot listens, or has ended before."""
        child, deadline = self.nodes[slot], time.monotonic() + timeout_s
        address = (self.settings["HOST"], self.settings["RPC_PORT"] + slot)
        while child.running and time.monotonic() < deadline:
            try:
                socket.create_connection(address, 1).close()
                return
            except OSError:
                time.sleep(0.02)

    # Watching

    def children(self):
        return list(self.nodes.values()) + ([self.gateway] if self.gateway else [])

    def newly_ended(self):
        """Children that ended since the last call."""
        ended = [child for child in self.children() if not child.running and not child.end_seen]
        for child in ended:
            child.end_seen = True
        return ended

    def trim_logs(self):
        for child in self.children():
            datadir.trim_log(child.log_path)
        datadir.trim_log(self.settings["DATA_DIR"] / datadir.INIT_LOG)

    def pids(self):
        return {slot: child.pid for slot, child in self.nodes.items() if child.running}

    def status(self):
        return [{"slot": slot, "pid": child.pid if child.running else None,
                 "state": "running" if child.running else "down",
                 "address": self.settings.rpc_address(slot),
                 "ended": "" if child.running else child.how_it_ended(),
                 "why": "" if child.running else child.last_words()}
                for slot, child in sorted(self.nodes.items())]

    # Orders while running

    def node_of(self, slot):
        child = self.nodes.get(slot)
        if child is None:
            raise Refused(f"there is no node {slot} here: this host has nodes "
                          f"{min(self.nodes)}..{max(self.nodes)}")
        return child

    def stop(self, slot):
        """Asks the node of a slot to stop; newly_ended() tells when it has."""
        child = self.node_of(slot)
        if not child.running:
            raise Refused(f"node {slot} is not running: it {child.how_it_ended()}")
        child.signal(signal.SIGTERM)
        return child

    def restart(self, slot, moved=False):
        child = self.node_of(slot)
        if child.running:
            raise Refused(f"node {slot} is already running (pid {child.pid})")
        return self.start_node(slot, moved=moved)

    # Stopping

    @staticmethod
    def wait(children, timeout_s, each_step):
        """Waits for all of them; each_step(left) may return False to give up. True = all ended."""
        deadline = time.monotonic() + timeout_s
        while left := [child for child in children if child.running]:
            if time.monotonic() > deadline or each_step(left) is False:
                return False
            time.sleep(0.05)
        return True

    def kill_all(self):
        for child in self.children():
            child.signal(signal.SIGKILL)
        for child in self.children():
            child.process.wait()
