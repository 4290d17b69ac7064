# SPDX-License-Identifier: MIT
"""Five real nodes, each in its own place of the network: starts them, breaks them, looks at them.

Knows processes and what a node says of itself; knows nothing of clients. A node that ends without
having been ended is a finding (`Finding`).
"""

import shutil
import signal
import time

from chord_dht import ChordError
from kv import RingClient
from launcher.supervisor import Child

POLL_S = 0.03
STATUS_TIMEOUT_S = 0.5
REPLICA, OPEN, RETIRED = 1, 3, 5  # RangeState of admin.proto


class Finding(Exception):
    """What must never happen, and where to look."""


class Cluster:
    def __init__(self, program, network, folder, count=5, m=32):
        self.program, self.network, self.folder = program, network, folder
        self.count, self.m = count, m
        self.wrappers = {}  # node -> what its program is started with
        self.children, self.paused, self.ended = {}, set(), set()
        self.looks = {node: RingClient(self.address(node), timeout=STATUS_TIMEOUT_S)
                      for node in self.nodes()}

    def nodes(self):
        return range(1, self.count + 1)

    def address(self, node):
        return self.network.address(node)

    def addresses(self):
        return [self.address(node) for node in self.nodes()]

    def node_of(self, address):
        return next((node for node in self.nodes() if self.address(node) == address), 0)

    def node_folder(self, node):
        return self.folder / f"node-{node}"

    # Processes

    def start(self, node, create=False):
        folder = self.node_folder(node)
        folder.mkdir(parents=True, exist_ok=True)
        others = ",".join(self.address(other) for other in self.nodes() if other != node)
        how = ["--create", "--m", self.m] if create else ["--join", others]
        self.children[node] = Child(
            f"node {node}", [*self.network.words(node), *self.wrappers.get(node, []), self.program,
                             "--listen", self.address(node), "--data", folder,
                             "--exit-with-parent", *how],
            folder / "stderr.log")
        self.ended.discard(node)

    def start_all(self):
        for node in self.nodes():
            self.start(node, create=node == 1)

    def kill(self, node, number=signal.SIGKILL):
        """Ends one; a paused one too."""
        self.ended.add(node)
        self.children[node].signal(number)
        self.children[node].process.wait(30)
        self.paused.discard(node)

    def pause(self, node):
        self.children[node].signal(signal.SIGSTOP)
        self.paused.add(node)

    def resume(self, node):
        if node in self.paused:
            self.children[node].signal(signal.SIGCONT)
            self.paused.discard(node)

    def check_running(self):
        for node, child in self.children.items():
            if node not in self.ended and not child.running:
                raise Finding(f"{child.name} {child.how_it_ended()}:\n{child.stderr_tail()}")

    def close(self):
        for child in self.children.values():
            child.signal(signal.SIGKILL)
        for child in self.children.values():
            child.process.wait()
        for look in self.looks.values():
            look.close()

    def keep_logs(self, target):
        for node in self.nodes():
            for path in self.node_folder(node).glob("*.log*"):
                shutil.copyfile(path, target / f"node-{node}-{path.name}")

    # What the nodes say

    def status(self, node):
        try:
            return self.looks[node].status(self.address(node))
        except ChordError:
            return None

    def why_not_healthy(self):
        """None: every node is a member with exact lists, and every range is led by its owner, whose
        group is itself and its successors, with all copies complete. Else what is missing."""
        said = [self.status(node) for node in self.nodes()]
        if None in said:
            return f"node {said.index(None) + 1} does not answer"
        said.sort(key=lambda status: status.self.id)
        ids = [status.self.id for status in said]
        for place, status in enumerate(said):
            length = min(status.parameters.n, self.count - 1)
            wanted = [ids[(place + step) % self.count] for step in range(1, length + 1)]
            if status.invariant:
                raise Finding(f"{status.self.address}: {status.invariant}")
            if [peer.id for peer in status.successors][:length] != wanted or \
                    status.predecessor.id != ids[place - 1]:
                return f"lists of {status.self.address}"
        return self._why_ranges_are_not_whole(said)

    def _why_ranges_are_not_whole(self, said):
        led = []
        for place, status in enumerate(said):
            copies = min(status.parameters.replicas, self.count)
            group = {said[(place + step) % self.count].self.address for step in range(copies)}
            for entry in status.ranges:
                members = {member.address for member in entry.view.members}
                if entry.view.members[entry.view.leader].address != status.self.address or \
                        entry.state in (REPLICA, RETIRED):
                    continue
                if entry.state != OPEN or members != group or entry.copies < copies:
                    return f"a range of {status.self.address}: state {entry.state}, " \
                           f"{entry.copies} copies in {sorted(members)}"
                led.append((int.from_bytes(entry.view.range.lo, "big"),
                            int.from_bytes(entry.view.range.hi, "big")))
        size = sum((hi - lo - 1) % (1 << self.m) + 1 for lo, hi in led)
        return None if size == 1 << self.m else f"leaders of {size} of {1 << self.m} ids"

    def wait_healthy(self, deadline_s=60):
        """Returns how long it took."""
        began = time.monotonic()
        while True:
            self.check_running()
            reason = self.why_not_healthy()
            if reason is None:
                return time.monotonic() - began
            if time.monotonic() - began > deadline_s:
                raise Finding(f"not healthy after {deadline_s} s: {reason}")
            time.sleep(POLL_S)
