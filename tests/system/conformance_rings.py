# SPDX-License-Identifier: MIT
"""The rings of the conformance cases (proto/clients/conformance/README.md): started when a case
needs them, each node behind a proxy, made whole again after a case that broke something."""

import signal
import time

from chord_dht import ChordError
from kv import RingClient
from ordered_proxy import OrderedProxy, Orders
from ring import Ring, until

NODES = {"three": 3, "lone": 1, "locked": 1}
RING_KEY = b"the key of the ring, of 16 to 64"
NOBODY = "127.0.0.2:9"  # where nothing listens
WHOLE_S = 30


class CaseRing:
    """One of them, and what cases do to it."""

    def __init__(self, name, folder, seed):
        self.key = RING_KEY if name == "locked" else b""
        values = {"M": 32}
        folder.mkdir()
        if self.key:
            path = folder / "ring.key"
            path.write_bytes(self.key + b"\n")
            values["RING_KEY_FILE"] = path
        self.ring = Ring(folder, **values)
        self.slots = range(1, NODES[name] + 1)
        self.orders, self.broken, self.last = Orders(), False, 0
        self.proxies = []
        try:
            self.ring.start(len(self.slots))
            self.proxies = [OrderedProxy(self.port(slot), self.orders, seed, self.key)
                            for slot in self.slots]
        except BaseException:
            self.close()
            raise

    def port(self, slot):
        return self.ring.settings["RPC_PORT"] + slot

    def outer(self, slot):
        """Its address for clients: the proxy's."""
        return f"127.0.0.2:{self.port(slot)}"

    def reader(self):
        return RingClient(*(self.ring.address(slot) for slot in self.slots), timeout=10,
                          key=self.key)

    def leader(self, key):
        """The slot of the node that leads the key, as a node says."""
        with self.reader() as reader:
            kv = reader.messages.kv
            answer = reader.ask("KvService/Get", kv.GetRequest(key=key), kv.GetResponse)
        addresses = {self.ring.address(slot): slot for slot in self.slots}
        return addresses[answer.hint.address]

    # What cases do

    def act(self, action, slot):
        """The next action's node may be named "last"."""
        self.broken, self.last = True, slot
        child = self.ring.supervisor.nodes[slot]
        if action == "pause":
            child.signal(signal.SIGSTOP)
        elif action == "continue":
            child.signal(signal.SIGCONT)
        elif action == "kill":
            self.ring.kill(slot)
        elif action == "restart":
            if child.running:
                self.ring.kill(slot)
            self.start(slot)
        else:
            raise ValueError(f"no node can be told to {action!r}")

    def start(self, slot):
        """Returns when it is a member."""
        self.ring.start_node(slot)

        def is_member():
            with RingClient(self.ring.address(slot), timeout=1, key=self.key) as one:
                try:
                    return one.status().state == one.messages.common.NODE_STATE_MEMBER
                except ChordError:
                    return False
        until(is_member, WHOLE_S, f"node {slot} as a member again")

    def count(self):
        """Requests about keys so far."""
        return sum(proxy.requests for proxy in self.proxies)

    def counts(self):
        return {slot: proxy.requests for slot, proxy in zip(self.slots, self.proxies)}

    # Afterwards

    def mend(self):
        """Raises when it does not become whole, or an order was not carried out."""
        left = self.orders.clear()
        for proxy in self.proxies:
            proxy.connections = 0
            if proxy.node_port != proxy.port:
                proxy.divert(proxy.port)
        if self.broken:
            for slot in self.slots:
                child = self.ring.supervisor.nodes[slot]
                child.signal(signal.SIGCONT)
                if not child.running:
                    self.start(slot)
            if len(self.slots) > 1:
                self.ring.wait_healthy(len(self.slots), WHOLE_S)
            self.wait_writable()
            self.broken = False
        return left

    def wait_writable(self):
        with self.reader() as reader:
            for number in range(8 * len(self.slots)):
                reader.put(f"mended-{number}", b"%d" % time.monotonic_ns())

    def close(self):
        for proxy in self.proxies:
            proxy.close()
        for child in self.ring.supervisor.children():
            if child.running:
                child.signal(signal.SIGCONT)
        self.ring.close()


class CaseRings:
    def __init__(self, folder, seed):
        self.folder, self.seed, self.rings, self.made = folder, seed, {}, 0

    def get(self, name):
        if name not in self.rings:
            self.made += 1
            self.rings[name] = CaseRing(name, self.folder / f"{name}-{self.made}", self.seed)
        return self.rings[name]

    def drop(self, name):
        """It cannot be mended: the next case has a new one."""
        self.rings.pop(name).close()

    def close(self):
        for name in list(self.rings):
            self.drop(name)
