# SPDX-License-Identifier: MIT
"""Between clients and nodes, as hostile_proxy.py, but the harm is ordered: "lose the answer to the
next request about a key" (proto/clients/conformance/README.md lists the orders).

Several proxies share their orders: whichever gets the next request about a key carries out the
first. With the ring's key, answers are signed anew, since their addresses are changed.
"""

import collections
import socket
import struct
import threading

from chord_dht import envelopes, messages
from hostile_proxy import KV, HostileProxy, Link, read_exactly, read_message

HELLO = b"\0SP\0" + struct.pack(">HH", 0x30, 0)
COPY_ID = b"\xff\xff\xff\xfe"
HUGE_BYTES = 1 << 40
LATE_S = 5  # for a node to answer a recorded request
# What becomes of the request, and ...
REQUEST_ORDERS = ("lose request", "send twice", "record", "close")
# ... of its answer.
CHANGES = {"wrong mac": {}, "wrong request id": {"request_id": bytes(16)},
           "wrong ring": {"ring_id": bytes(range(16))}}
ANSWER_ORDERS = ("lose answer", "hold answer", "close in answer", "stray answer", "huge answer",
                 *CHANGES)


class Orders:
    """What is still to be done to requests about keys, and which of these were recorded."""

    def __init__(self):
        self.lock, self.waiting, self.recorded = threading.Lock(), collections.deque(), []

    def give(self, name, count=1, seconds=0.0):
        if name not in REQUEST_ORDERS + ANSWER_ORDERS:
            raise ValueError(f"no proxy knows the order {name!r}")
        with self.lock:
            self.waiting.extend([(name, seconds)] * count)

    def take(self):
        with self.lock:
            return self.waiting.popleft() if self.waiting else ("", 0.0)

    def clear(self):
        """How many were not carried out."""
        with self.lock:
            left = len(self.waiting)
            self.waiting.clear()
            self.recorded.clear()
            return left

    def release(self):
        """Sends each recorded request once more; returns when its node has answered."""
        with self.lock:
            recorded = list(self.recorded)
            self.recorded.clear()
        for port, message in recorded:
            with socket.create_connection(("127.0.0.1", port), LATE_S) as node:
                node.sendall(HELLO)
                read_exactly(node, 8)
                node.sendall(struct.pack(">Q", len(message)) + message)
                read_message(node)
        return len(recorded)


class OrderedLink(Link):
    def __init__(self, proxy, client):
        self.answer_orders = {}  # SP id: (name, seconds)
        super().__init__(proxy, client)

    def hand_on(self, message):
        name, seconds = self.proxy.orders.take() if KV in message else ("", 0.0)
        if not name:
            super().hand_on(message)
            return
        self.proxy.count()
        if name in ANSWER_ORDERS:
            self.answer_orders[message[:4]] = (name, seconds)
        if name == "record":
            self.proxy.orders.recorded.append((self.proxy.node_port, message))
        if name != "lose request":
            self.send(message)
        if name == "send twice":
            self.unanswered.add(COPY_ID)
            self.send(COPY_ID + message[4:])
        if name == "close":
            self.close()

    def answer(self, message):
        name, seconds = self.answer_orders.pop(message[:4], ("", 0.0))
        message = self.proxy.sign(message, CHANGES.get(name, {}), spoiled=name == "wrong mac")
        if name == "lose answer":
            return
        if name == "hold answer":
            self.proxy.later(seconds, lambda: super(OrderedLink, self).answer(message))
            return
        if name == "close in answer":
            self.write(struct.pack(">Q", len(message)) + message[:len(message) // 2])
            self.close()
            return
        if name == "huge answer":
            self.write(struct.pack(">Q", HUGE_BYTES) + message)
            return
        if name == "stray answer":
            super().answer(COPY_ID + message[4:])
        super().answer(message)

    def write(self, data):
        with self.answer_lock:
            self.client.sendall(data)


class OrderedProxy(HostileProxy):
    """In front of the node at a port; harmless without orders."""

    link = OrderedLink

    def __init__(self, port, orders, seed, key=b""):
        self.orders, self.key, self.connections = orders, key, 0
        self.messages = messages.load()
        super().__init__(port, seed, hostile=False)

    def connect(self, client):
        with self.lock:
            self.connections += 1
        super().connect(client)

    def count(self):
        with self.lock:
            self.requests += 1

    def set_hostile(self, hostile):
        with self.lock:
            self.hostile = hostile
            self.lock.notify()

    def divert(self, port):
        """Another node is behind this address from now on."""
        self.node_port = port
        self.cut()

    def cut(self):
        """Every connection closes."""
        for link in self.links:
            link.close()
        self.links = []

    def sign(self, message, changes, spoiled):
        """The answer with other fields, signed anew."""
        if not self.key and not changes:
            return message
        answer = self.messages.envelope.RpcResponse.FromString(message[4:])
        for name, value in changes.items():
            setattr(answer, name, value)
        if self.key:
            mac = envelopes.response_mac(self.key, answer)
            answer.mac = bytes([mac[0] ^ spoiled]) + mac[1:]
        return message[:4] + answer.SerializeToString()
